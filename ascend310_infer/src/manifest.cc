// SPDX-License-Identifier: Apache-2.0
#include "manifest.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "error.h"

namespace {

using Json = nlohmann::json;

constexpr int64_t kFormatVersion = 1;
constexpr int64_t kMostColumns = 10000;
constexpr int64_t kMostBatchRows = 1 << 20;
constexpr int64_t kMostIds = int64_t{std::numeric_limits<int32_t>::max()} + 1;
constexpr int64_t kMostBytes = int64_t{1} << 53;
constexpr size_t kSha256Digits = 64;
constexpr int kDeepestNesting = 100;  // JSON is written and copied recursively, and the stack is not endless

// A value of the manifest with its position, such as "rows.dense_dim", for messages.
class Value {
 public:
  Value(const Json *json, std::string where, std::string key)
      : json_(json), where_(std::move(where)), key_(std::move(key)) {}

  Value At(const std::string &name) const {
    const std::string key = key_.empty() ? name : key_ + "." + name;
    Require(json_->is_object(), "must be an object");
    const auto found = json_->find(name);
    if (found == json_->end()) {
      throw Error(Text(where_, ": has no ", key, "; write the package again"));
    }
    return {&*found, where_, key};
  }

  std::vector<Value> Items() const {
    Require(json_->is_array(), "must be a list");
    std::vector<Value> items;
    for (const auto &item : *json_) {
      items.emplace_back(&item, where_, Text(key_, "[", items.size(), "]"));
    }
    return items;
  }

  std::map<std::string, Value> Members() const {
    Require(json_->is_object(), "must be an object");
    std::map<std::string, Value> members;
    for (const auto &[name, member] : json_->items()) {
      // As JSON, because a name may have any characters.
      members.emplace(name, Value(&member, where_, key_ + "." + Json(name).dump(-1, ' ', true)));
    }
    return members;
  }

  bool IsNull() const { return json_->is_null(); }

  std::string String() const {
    Require(json_->is_string(), "must be text");
    return json_->get<std::string>();
  }

  bool Boolean() const {
    Require(json_->is_boolean(), "must be true or false");
    return json_->get<bool>();
  }

  int64_t Integer(int64_t least, int64_t most) const {
    const bool fits = json_->is_number_integer() &&
                      (!json_->is_number_unsigned() ||
                       json_->get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()));
    const int64_t number = fits ? json_->get<int64_t>() : 0;
    Require(fits && number >= least && number <= most, Text("must be a whole number from ", least, " to ", most));
    return number;
  }

  double Number(double least, double most) const {
    const double number = json_->is_number() ? json_->get<double>() : std::numeric_limits<double>::quiet_NaN();
    Require(number >= least && number <= most, Text("must be a number from ", least, " to ", most));
    return number;
  }

  double FiniteNumber() const {
    constexpr double kLargest = std::numeric_limits<double>::max();
    return Number(-kLargest, kLargest);
  }

  std::string Sha256Digits() const {
    const std::string text = String();
    Require(text.size() == kSha256Digits && text.find_first_not_of("0123456789abcdef") == std::string::npos,
            "must be a SHA-256, 64 digits");
    return text;
  }

  std::vector<std::string> Strings() const {
    std::vector<std::string> texts;
    for (const Value &item : Items()) {
      texts.push_back(item.String());
    }
    return texts;
  }

  std::vector<double> Numbers() const {
    std::vector<double> numbers;
    for (const Value &item : Items()) {
      numbers.push_back(item.FiniteNumber());
    }
    return numbers;
  }

  void Require(bool holds, const std::string &rule) const {
    if (!holds) {
      throw Error(Text(where_, ": ", key_.empty() ? "the content" : key_, " ", rule, "; write the package again"));
    }
  }

 private:
  const Json *json_;
  std::string where_;
  std::string key_;
};

// Parses JSON.  where: its name, for messages.  Throws Error if the text is none, or is nested too deeply.
Json ParseJson(std::string_view text, const std::string &where) {
  const auto check_depth = [&](int depth, Json::parse_event_t, const Json &) {
    if (depth > kDeepestNesting) {
      throw Error(Text(where, ": is JSON nested more than ", kDeepestNesting, " deep; write the package again"));
    }
    return true;
  };
  try {
    return Json::parse(text, check_depth);
  } catch (const Json::exception &) {
    throw Error(Text(where, ": is not JSON; write the package again"));
  }
}

std::string Compact(const Json &json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

void CheckFormat(const Value &version, const std::string &where) {
  if (version.Integer(1, std::numeric_limits<int64_t>::max()) > kFormatVersion) {
    throw Error(Text(where, ": was written by a newer version of this project (a format_version above ", kFormatVersion,
                     "); update this program"));
  }
}

RowSchema ReadRows(const Value &rows) {
  RowSchema schema;
  schema.dense_dim = static_cast<size_t>(rows.At("dense_dim").Integer(0, kMostColumns));
  schema.slot_dim = static_cast<size_t>(rows.At("slot_dim").Integer(0, kMostColumns));
  schema.categories_are_ids = rows.At("categories_are_ids").Boolean();
  schema.negative_label = static_cast<int>(rows.At("negative_label").Integer(-1, 0));
  rows.Require(schema.ColumnCount() > 0, "must have columns");
  return schema;
}

DenseEncoding ReadEncoding(const Value &name) {
  const std::string text = name.String();
  name.Require(text == "max" || text == "log" || text == "bucket" || text == "log+bucket",
               "must be max, log, bucket or log+bucket");
  return {text != "bucket", text == "log" || text == "log+bucket", text == "bucket" || text == "log+bucket"};
}

std::vector<DenseScale> ReadScales(const Value &scales) {
  std::vector<DenseScale> read;
  for (const Value &scale : scales.Items()) {
    const std::vector<double> numbers = scale.Numbers();
    scale.Require(numbers.size() == 2 && numbers[1] > 0, "must be a center and a positive divisor");
    read.push_back({numbers[0], numbers[1]});
  }
  return read;
}

Recalibration ReadRecalibration(const Value &recalibration, const std::string &where) {
  if (recalibration.IsNull()) {
    return {};
  }
  return {recalibration.At("logits").Numbers(), recalibration.At("targets").Numbers(), where + ": recalibration"};
}

std::map<std::string, TrainingRates> ReadTrainingRates(const Value &fields) {
  std::map<std::string, TrainingRates> rates;
  for (const Value &field : fields.Items()) {
    const Value oov = field.At("oov_rate");
    rates[field.At("name").String()] = {field.At("missing_rate").Number(0, 1),
                                        oov.IsNull() ? std::nullopt : std::optional(oov.Number(0, 1))};
  }
  return rates;
}

std::map<std::string, ListedFile> ReadFiles(const Value &files) {
  std::map<std::string, ListedFile> read;
  for (const auto &[name, file] : files.Members()) {
    read[name] = {static_cast<uint64_t>(file.At("bytes").Integer(0, kMostBytes)), file.At("sha256").Sha256Digits()};
  }
  return read;
}

std::vector<std::string> ColumnNames(const RowSchema &schema, size_t begin, size_t end) {
  std::vector<std::string> names;
  for (size_t column = begin; column < end; ++column) {
    names.push_back(schema.ColumnName(column));
  }
  return names;
}

// Checks that the fields, the scales and the sizes of the network are those of the rows and their encoding.
void CheckFields(const Value &manifest, const Manifest &read) {
  const Value data = manifest.At("data");
  const Value network = manifest.At("network");
  const RowSchema &rows = read.rows;
  const size_t first = read.encoding.has_buckets ? 0 : rows.dense_dim;
  const size_t dense_count = read.encoding.has_values ? rows.dense_dim : 0;
  const auto is = [](const Value &value, size_t number) {
    return value.Integer(0, kMostIds) == static_cast<int64_t>(number);
  };
  data.At("sparse_fields").Require(read.sparse_fields == ColumnNames(rows, first, rows.ColumnCount()),
                                   "must be the sparse fields of rows");
  data.At("dense_fields").Require(data.At("dense_fields").Strings() == ColumnNames(rows, 0, dense_count),
                                  "must be the dense fields of rows");
  data.At("dense_scales").Require(read.scales.size() == dense_count, "must be as many as the dense fields");
  network.At("sparse_field_count").Require(is(network.At("sparse_field_count"), read.sparse_fields.size()),
                                           "must be the number of sparse fields");
  network.At("dense_field_count").Require(is(network.At("dense_field_count"), dense_count),
                                          "must be the number of dense fields");
  network.At("vocabulary_size").Require(is(network.At("vocabulary_size"), static_cast<size_t>(read.vocabulary_size)),
                                        "must be that of data");
}

}  // namespace

std::vector<std::string> Manifest::VocabularyFields() const {
  return {sparse_fields.begin(), sparse_fields.end() - static_cast<std::ptrdiff_t>(
                                                           rows.categories_are_ids ? rows.slot_dim : 0)};
}

Manifest ParseManifest(std::string_view text, const std::string &where) {
  const Json json = ParseJson(text, where);
  const Value root(&json, where, "");
  CheckFormat(root.At("format_version"), where);
  const Value data = root.At("data");
  Manifest manifest;
  manifest.rows = ReadRows(root.At("rows"));
  manifest.encoding = ReadEncoding(data.At("dense_encoding"));
  manifest.scales = ReadScales(data.At("dense_scales"));
  manifest.sparse_fields = data.At("sparse_fields").Strings();
  manifest.vocabulary_size = data.At("vocabulary_size").Integer(1, kMostIds);
  manifest.vocabulary_sha256 = data.At("vocabulary_sha256").Sha256Digits();
  manifest.data_identity = root.At("data_identity").Sha256Digits();
  for (const auto &[name, value] : json["data"].items()) {
    manifest.data[name] = value.is_string() ? value.get<std::string>() : Compact(value);
  }
  manifest.recalibration = ReadRecalibration(root.At("recalibration"), where);
  manifest.training_rates = ReadTrainingRates(root.At("fields"));
  manifest.batch_rows = static_cast<size_t>(root.At("mindir_batch_rows").Integer(1, kMostBatchRows));
  manifest.files = ReadFiles(root.At("files"));
  CheckFields(root, manifest);
  return manifest;
}

std::optional<std::string> CompactJson(std::string_view text) {
  try {
    return Compact(ParseJson(text, "the text"));
  } catch (const Error &) {
    return std::nullopt;
  }
}
