// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "line_form.h"
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
// for those without; nothing if no line has the number of columns of either.  labelled: the form of rows with a label.
std::optional<bool> HaveLabels(std::string_view text, const LineForm &labelled);

struct ParsedRow {
  // Of the columns of the schema, without carriage returns, empty if missing; then of the label, and of any other
  // column.
  std::vector<std::string_view> cells;
  std::vector<int64_t> integers;  // [columns]: those that integers, and categories that are ids, write; 0 where missing
  std::vector<double> floats;     // [columns]: those that floats write; 0 where missing
  bool is_ascii = false;          // false also for a line with quotes
  // Of a line with quotes.
  std::string text;
  std::vector<std::string_view> quoted_cells;
};

// Returns a cell without carriage returns at its end, empty if it stands for a missing value.
std::string_view CleanCell(std::string_view cell, const TextFormat &format);

// Returns the id that the cell of a category writes; nothing if it is none of the schema's.
std::optional<int64_t> ReadId(std::string_view cell, const RowSchema &schema);

// Parses rows of a schema as src/preprocessing/raw_rows.py does.  It keeps references to both.
class RowParser {
 public:
  RowParser(const RowSchema &schema, const LineForm &form);

  // Parses a line without its newline; the cells are parts of it, or of row->text.  The row is complete only if the
  // reason is kNone.
  Reason Parse(std::string_view line, ParsedRow *row) const;

 private:
  // These split a line into as many cells as a row has; false if it has another number of cells.
  bool Split(std::string_view line, ParsedRow *row) const;
  bool SplitQuotedLine(std::string_view line, ParsedRow *row) const;
  bool IsLabelCell(std::string_view cell) const;
  void CleanCells(std::string_view line, ParsedRow *row) const;
  Reason ReadNumbers(ParsedRow *row) const;

  const RowSchema &schema_;
  const LineForm &form_;
  size_t integers_end_;
  size_t floats_end_;
  size_t ids_end_;
};
