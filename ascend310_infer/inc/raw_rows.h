// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "row_schema.h"

// Calls take(line) for each line of a text, without its newline; the last one may have none.
template <typename Take>
void ForEachLine(std::string_view text, const Take &take) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    take(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
}

// Tells which rows of a text are more frequent: true for those with a label, also if both are equally frequent; false
// for those without; nothing if no line has the number of columns of either.
std::optional<bool> HaveLabels(std::string_view text, const RowSchema &schema);

struct ParsedRow {
  std::string_view label;
  std::vector<std::string_view> cells;  // of all columns but the label, without carriage returns; empty if missing
  std::vector<int64_t> numbers;         // those that integers, and categories that are ids, write; 0 where missing
  bool is_ascii = false;
};

// Parses rows of a schema as src/preprocessing/raw_rows.py does.
class RowParser {
 public:
  RowParser(const RowSchema &schema, bool have_labels) : schema_(schema), have_labels_(have_labels) {}

  // Parses a line without its newline; the cells are parts of it.  The row is complete only if the reason is kNone.
  Reason Parse(std::string_view line, ParsedRow *row) const;

 private:
  // Splits a line into as many cells as a row has; false if it has another number of cells.
  bool Split(std::string_view line, ParsedRow *row) const;

  RowSchema schema_;
  bool have_labels_;
};

// Returns the fault of a line, without its newline, that is malformed for this reason, in words.  number: from 1.
std::string Diagnose(size_t number, std::string_view line, Reason reason, const RowSchema &schema, bool have_labels);
