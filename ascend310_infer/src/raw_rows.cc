// SPDX-License-Identifier: Apache-2.0
#include "raw_rows.h"

#include <algorithm>
#include <cstring>

#include "cells.h"
#include "error.h"

namespace {

constexpr size_t kLongestShown = 60;  // bytes of a cell or a line in a message

size_t CountCells(std::string_view line) {
  return 1 + static_cast<size_t>(std::count(line.begin(), line.end(), '\t'));
}

// Takes the cell at the beginning off the rest of a line; returns false if it is the last one.
bool TakeCell(std::string_view *rest, std::string_view *cell) {
  const void *tab = rest->empty() ? nullptr : std::memchr(rest->data(), '\t', rest->size());
  if (tab == nullptr) {
    *cell = *rest;
    return false;
  }
  const auto size = static_cast<size_t>(static_cast<const char *>(tab) - rest->data());
  *cell = rest->substr(0, size);
  rest->remove_prefix(size + 1);
  return true;
}

// Returns bytes as printable ASCII in quotes, at most kLongestShown of them.
std::string Quoted(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string shown = "\"";
  for (const char byte : bytes.substr(0, kLongestShown)) {
    if (byte >= ' ' && byte <= '~') {
      shown += byte;
    } else if (byte == '\t') {
      shown += "\\t";
    } else {
      const auto number = static_cast<unsigned char>(byte);
      shown += {'\\', 'x', kDigits[number >> 4], kDigits[number & 15]};
    }
  }
  return shown + (bytes.size() > kLongestShown ? "...\"" : "\"");
}

std::string DiagnoseColumns(size_t number, std::string_view line, const RowSchema &schema, bool have_labels) {
  const size_t found = CountCells(line);
  const std::string columns = Text(have_labels ? "1 label, " : "", schema.dense_dim, " integers and ", schema.slot_dim,
                                   " categories, separated by tabs");
  const std::string fault =
      line.empty() ? "is empty" : Text("has ", found, found == 1 ? " column, " : " columns, ", Quoted(line));
  return Text("line ", number, " ", fault, "; a row has ", schema.ColumnCount() + (have_labels ? 1 : 0), ": ", columns);
}

// Returns the number that a cell without carriage returns writes, 0 if it is a missing integer; nothing if it must be a
// number and is none.
std::optional<int64_t> ReadNumber(size_t column, std::string_view cell, const RowSchema &schema) {
  if (column < schema.dense_dim) {
    return cell.empty() ? 0 : ReadInteger(cell);
  }
  const std::optional<int64_t> id = ReadInteger(cell);
  return id && *id >= 0 && *id < schema.category_ids ? id : std::nullopt;
}

bool IsMalformed(size_t column, std::string_view cell, Reason reason, const RowSchema &schema) {
  if (reason == Reason::kEncoding) {
    return !IsUtf8(cell);
  }
  const bool is_integer = column < schema.dense_dim;
  return is_integer == (reason == Reason::kInteger) && !ReadNumber(column, StripReturns(cell), schema);
}

const char *RuleOf(Reason reason) {
  return reason == Reason::kEncoding  ? "it is not UTF-8: convert the file with iconv"
         : reason == Reason::kInteger ? "an integer lies between -2^63 and 2^63, as 3 or 3.0, or is empty if missing"
                                      : "a category of this model is one of its ids, from 0 on, and cannot be missing";
}

}  // namespace

std::optional<bool> HaveLabels(std::string_view text, const RowSchema &schema) {
  size_t with = 0;
  size_t without = 0;
  ForEachLine(text, [&](std::string_view line) {
    const size_t count = CountCells(line);
    with += count == schema.ColumnCount() + 1 ? 1 : 0;
    without += count == schema.ColumnCount() ? 1 : 0;
  });
  return with + without == 0 ? std::nullopt : std::optional(with >= without);
}

bool RowParser::Split(std::string_view line, ParsedRow *row) const {
  // Eight bytes are searched at once: a byte of `found` is 0x80 where the word has a tab, else 0.
  constexpr uint64_t kEach = 0x0101010101010101U;
  constexpr uint64_t kLowBits = 0x7F * kEach;
  row->cells.resize(schema_.ColumnCount());
  std::string_view *cell = have_labels_ ? &row->label : row->cells.data();
  const std::string_view *const last = row->cells.data() + row->cells.size() - 1;
  size_t begin = 0;
  uint64_t all = 0;
  for (size_t offset = 0; offset < line.size(); offset += sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, line.data() + offset, std::min(sizeof(word), line.size() - offset));
    all |= word;
    const uint64_t other = word ^ ('\t' * kEach);
    uint64_t found = ~(((other & kLowBits) + kLowBits) | other | kLowBits);
    for (; found != 0; found &= found - 1) {
      if (cell == last) {
        return false;
      }
      const size_t tab = offset + static_cast<size_t>(__builtin_ctzll(found)) / 8;
      *cell = line.substr(begin, tab - begin);
      cell = cell == &row->label ? row->cells.data() : cell + 1;
      begin = tab + 1;
    }
  }
  *cell = line.substr(begin);
  row->is_ascii = (all & (0x80 * kEach)) == 0;
  return cell == last;
}

Reason RowParser::Parse(std::string_view line, ParsedRow *row) const {
  if (!Split(line, row)) {
    return Reason::kColumns;
  }
  if (have_labels_ && !IsLabel(row->label, schema_.negative_label)) {
    return Reason::kLabel;
  }
  if (!row->is_ascii && !IsUtf8(line)) {
    return Reason::kEncoding;
  }
  if (line.find('\r') != std::string_view::npos) {
    for (auto &cell : row->cells) {
      cell = StripReturns(cell);
    }
  }
  const size_t number_count = schema_.categories_are_ids ? row->cells.size() : schema_.dense_dim;
  row->numbers.resize(number_count);
  for (size_t column = 0; column < number_count; ++column) {
    const std::optional<int64_t> number = ReadNumber(column, row->cells[column], schema_);
    if (!number) {
      return column < schema_.dense_dim ? Reason::kInteger : Reason::kId;
    }
    row->numbers[column] = *number;
  }
  return Reason::kNone;
}

std::string Diagnose(size_t number, std::string_view line, Reason reason, const RowSchema &schema, bool have_labels) {
  if (reason == Reason::kColumns) {
    return DiagnoseColumns(number, line, schema, have_labels);
  }
  std::string_view cell;
  if (have_labels) {
    TakeCell(&line, &cell);
  }
  if (reason == Reason::kLabel) {
    return Text("line ", number, ": the label is ", Quoted(cell), "; a label is ",
                schema.negative_label == 0 ? "0 or 1 (or 0.0, 1.0, false, true)" : "-1 or 1");
  }
  size_t column = 0;
  while (TakeCell(&line, &cell) && !IsMalformed(column, cell, reason, schema)) {
    ++column;
  }
  return Text("line ", number, ": ", schema.ColumnName(column), " is ", Quoted(StripReturns(cell)), "; ", RuleOf(reason));
}
