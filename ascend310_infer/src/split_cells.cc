// SPDX-License-Identifier: Apache-2.0
#include "split_cells.h"

#include <algorithm>

#include "cells.h"

namespace {

constexpr size_t kLongestQuotedCell = 131072;  // Python's csv module refuses longer ones

// Takes the rest of a cell behind its opening quote off a line, up to its closing quote, and writes it to `end`, which
// it moves; false if there is no closing quote.
bool TakeQuotedCell(std::string_view *line, char **end) {
  while (true) {
    const size_t quote = line->find(kQuote);
    if (quote == std::string_view::npos) {
      return false;
    }
    *end = std::copy_n(line->data(), quote, *end);
    line->remove_prefix(quote + 1);
    if (line->empty() || line->front() != kQuote) {
      return true;
    }
    *(*end)++ = kQuote;
    line->remove_prefix(1);
  }
}

// Does the work of TakeQuotedCell for a cell that does not begin with a quote; false if it holds a carriage return.
bool TakePlainCell(std::string_view *line, char separator, char **end) {
  const std::string_view cell = line->substr(0, line->find(separator));
  *end = std::copy(cell.begin(), cell.end(), *end);
  line->remove_prefix(cell.size());
  return cell.find('\r') == std::string_view::npos;
}

std::optional<size_t> SplitQuoted(std::string_view line, char separator, std::string *text,
                                  std::vector<std::string_view> *cells) {
  text->resize(std::max(text->size(), line.size()));  // all cells together are shorter than the line
  char *end = text->data();
  line = StripReturns(line);
  for (size_t count = 0;; line.remove_prefix(1)) {
    const char *const begin = end;
    const bool is_quoted = !line.empty() && line.front() == kQuote;
    line.remove_prefix(is_quoted ? 1 : 0);
    const bool is_cell = is_quoted ? TakeQuotedCell(&line, &end) : TakePlainCell(&line, separator, &end);
    const std::string_view cell(begin, static_cast<size_t>(end - begin));
    if (!is_cell || (!line.empty() && line.front() != separator) || cell.size() > kLongestQuotedCell) {
      return std::nullopt;
    }
    if (count < cells->size()) {
      (*cells)[count] = cell;
    }
    ++count;
    if (line.empty()) {
      return count;
    }
  }
}

}  // namespace

std::optional<size_t> SplitCells(std::string_view line, char separator, std::string *text,
                                 std::vector<std::string_view> *cells) {
  if (MayHaveQuotes(line, separator)) {
    return SplitQuoted(line, separator, text, cells);
  }
  const auto count = 1 + static_cast<size_t>(std::count(line.begin(), line.end(), separator));
  for (size_t index = 0; index < std::min(count, cells->size()); ++index) {
    const size_t size = std::min(line.find(separator), line.size());
    (*cells)[index] = line.substr(0, size);
    line.remove_prefix(std::min(size + 1, line.size()));
  }
  return count;
}

size_t CountCells(std::string_view line, char separator) {
  std::string text;
  std::vector<std::string_view> cells;
  return SplitCells(line, separator, &text, &cells).value_or(0);
}
