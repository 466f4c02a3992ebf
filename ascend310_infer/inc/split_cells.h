// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

constexpr char kQuote = '"';

// Tells whether cells of a line may be in quotes: those of lines with commas, as in RFC 4180, but not a line's end.
inline bool MayHaveQuotes(std::string_view line, char separator) {
  return separator == ',' && line.find(kQuote) != std::string_view::npos;
}

// Splits a line as split_cells of src/preprocessing/raw_cells.py does.  Returns the number of its cells, of which
// `cells` gets the first, as many as it has room for; nothing if its quotes are malformed.  text: takes the cells of a
// line with quotes.
std::optional<size_t> SplitCells(std::string_view line, char separator, std::string *text,
                                 std::vector<std::string_view> *cells);

// Returns the number of cells of a line; 0 if its quotes are malformed.
size_t CountCells(std::string_view line, char separator);
