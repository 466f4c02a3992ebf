// SPDX-License-Identifier: Apache-2.0
#include "manifest.h"

#include <limits>
#include <map>

#include "error.h"
#include "json_value.h"
#include "schema_json.h"

namespace {

constexpr int64_t kFormatVersion = 1;
constexpr int64_t kMostBatchRows = 1 << 20;
constexpr int64_t kMostIds = int64_t{std::numeric_limits<int32_t>::max()} + 1;
constexpr int64_t kMostBytes = int64_t{1} << 53;

std::string Compact(const Json &json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

void CheckFormat(const Value &version, const std::string &where) {
  if (version.Integer(1, std::numeric_limits<int64_t>::max()) > kFormatVersion) {
    throw Error(Text(where, ": was written by a newer version of this project (a format_version above ", kFormatVersion,
                     "); update this program"));
  }
}

const std::map<std::string, DenseEncoding> kEncodings = {
    {"max", {true, false, false, false}},       {"log", {true, true, false, false}},
    {"bin", {false, false, true, true}},        {"log+bin", {true, true, true, true}},
    {"bucket", {false, false, true, false}},    {"log+bucket", {true, true, true, false}},
};

DenseEncoding ReadEncoding(const Value &name) {
  const std::string text = name.String();
  const auto found = kEncodings.find(text);
  name.Require(found != kEncodings.end(), "must be max, log, bin, log+bin, bucket or log+bucket");
  return found->second;
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

// Returns the names of the columns from `begin` on, before `end`.
std::vector<std::string> ColumnNames(const RowSchema &schema, size_t begin, size_t end) {
  std::vector<std::string> names;
  for (size_t column = begin; column < end; ++column) {
    names.push_back(schema.columns[column].name);
  }
  return names;
}

// Checks that the fields, the scales and the sizes of the network are those of the rows and their encoding.
void CheckFields(const Value &manifest, const Manifest &read) {
  const Value data = manifest.At("data");
  const Value network = manifest.At("network");
  const RowSchema &rows = read.rows;
  const size_t first = read.encoding.has_buckets ? 0 : rows.NumberCount();
  const size_t dense_count = read.encoding.has_values ? rows.NumberCount() : 0;
  const auto is = [](const Value &value, size_t number) {
    return value.Integer(0, kMostIds) == static_cast<int64_t>(number);
  };
  data.At("sparse_fields").Require(read.sparse_fields == ColumnNames(rows, first, rows.columns.size()),
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
  const size_t id_count = rows.categories_are_ids ? rows.Count(Kind::kCategory) : 0;
  return {sparse_fields.begin(), sparse_fields.end() - static_cast<std::ptrdiff_t>(id_count)};
}

Manifest ParseManifest(std::string_view text, const std::string &where) {
  const Json json = ParseJson(text, where);
  const Value root(&json, where, "");
  CheckFormat(root.At("format_version"), where);
  const Value data = root.At("data");
  Manifest manifest;
  manifest.encoding = ReadEncoding(data.At("dense_encoding"));
  manifest.rows = ReadSchema(root.At("rows"), data, manifest.encoding.has_buckets);
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
