// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

// These read the cells of raw rows exactly as src/preprocessing/raw_cells.py does.

// Tells whether a cell writes a label.  negative_label: the label of a row without a click, 0 or -1.
bool IsLabel(std::string_view cell, int negative_label);

// Returns the integer n that a text such as "-5", "3.0" or "1e+16" writes; nothing unless -(2^63) < n < 2^63.
std::optional<int64_t> ReadInteger(std::string_view text);

// Returns the number, correctly rounded, that a text such as "-.5" or "1e-3" writes, 0 for "-0"; nothing for another
// text and for a number that is too large.
std::optional<double> ReadFloat(std::string_view text);

// Tells whether bytes are UTF-8: the shortest form of each character, no surrogates.
bool IsUtf8(std::string_view bytes);

// Returns a cell without the carriage returns at its end, which are not part of it.
inline std::string_view StripReturns(std::string_view cell) {
  while (!cell.empty() && cell.back() == '\r') {
    cell.remove_suffix(1);
  }
  return cell;
}
