// SPDX-License-Identifier: Apache-2.0
#include "vocabulary.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <unordered_map>

#include "error.h"
#include "raw_rows.h"

namespace {

constexpr std::string_view kHeader = "field\tvalue\tid\tcount";
constexpr std::string_view kOov = "<OOV>";

enum Column : size_t { kField, kText, kId, kCount, kColumnCount };

using Cells = std::array<std::string_view, kColumnCount>;

std::optional<Cells> SplitColumns(std::string_view line) {
  Cells cells;
  for (size_t column = 0; column < kColumnCount; ++column) {
    const size_t end = line.find('\t');
    if ((end == std::string_view::npos) != (column == kColumnCount - 1)) {
      return std::nullopt;
    }
    cells[column] = line.substr(0, end);
    line.remove_prefix(std::min(end, line.size() - 1) + 1);
  }
  return cells;
}

// Reads the rows of a table in their order.
class TableReader {
 public:
  TableReader(const std::vector<std::string> &fields, int64_t size, const std::string &where)
      : size_(size), where_(where) {
    for (const auto &name : fields) {
      index_of_[name] = fields_.size();
      fields_.push_back({name, 0, {}});
    }
  }

  void Read(std::string_view line) {
    ++line_number_;
    if (line_number_ == 1) {
      Require(line == kHeader, "it is not the header of a vocabulary");
      return;
    }
    const auto cells = SplitColumns(line);
    Require(cells.has_value(), "it has not four columns");
    const int32_t id = ReadId((*cells)[kId]);
    const size_t row = line_number_ - 2;
    if (row < fields_.size()) {
      Require((*cells)[kField] == fields_[row].name && (*cells)[kText] == kOov,
              Text("it is not the OOV id of ", fields_[row].name));
      fields_[row].oov_id = id;
      return;
    }
    const auto index = index_of_.find((*cells)[kField]);
    Require(index != index_of_.end(), "its field is not a sparse field of the model");
    fields_[index->second].values.push_back({(*cells)[kText], id});
  }

  std::vector<FieldVocabulary> Finish() {
    const size_t rows = std::max<size_t>(line_number_, 1) - 1;
    Require(line_number_ > 0 && rows >= fields_.size(), "the text ends before the OOV ids of all fields");
    Require(rows == 0 || next_id_ == size_, Text("its ids end before ", next_id_, ", the model's before ", size_));
    return std::move(fields_);
  }

 private:
  int32_t ReadId(std::string_view text) {
    int32_t id = 0;
    const char *end = text.data() + text.size();
    const auto [rest, code] = std::from_chars(text.data(), end, id);
    Require(code == std::errc() && rest == end && id >= 0, "its id is not a whole number of 31 bits");
    Require(line_number_ == 2 || id == next_id_, "its id does not follow that of the line before");
    next_id_ = int64_t{id} + 1;
    return id;
  }

  void Require(bool holds, const std::string &fault) const {
    if (!holds) {
      throw Error(Text(where_, " line ", line_number_, ": ", fault, "; write the package again"));
    }
  }

  std::vector<FieldVocabulary> fields_;
  std::unordered_map<std::string_view, size_t> index_of_;  // of the names that the caller holds
  int64_t size_;
  std::string where_;
  size_t line_number_ = 0;
  int64_t next_id_ = 0;
};

}  // namespace

int32_t FieldVocabulary::MissingId() const {
  const auto found = std::find_if(values.begin(), values.end(), [](const auto &value) { return value.text.empty(); });
  return found == values.end() ? oov_id : found->id;
}

std::vector<FieldVocabulary> ReadVocabulary(std::string_view text, const std::vector<std::string> &fields, int64_t size,
                                            const std::string &where) {
  TableReader reader(fields, size, where);
  ForEachLine(text, [&](std::string_view line) { reader.Read(line); });
  return reader.Finish();
}
