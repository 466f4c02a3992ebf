// SPDX-License-Identifier: Apache-2.0
#include "raw_rows.h"

#include <algorithm>
#include <cstring>

#include "cells.h"
#include "split_cells.h"

std::optional<bool> HaveLabels(std::string_view text, const LineForm &labelled) {
  size_t with = 0;
  size_t without = 0;
  ForEachLine(text, [&](std::string_view line) {
    const size_t count = CountCells(line, labelled.separator);
    with += count == labelled.positions.size() ? 1 : 0;
    without += count + 1 == labelled.positions.size() ? 1 : 0;
  });
  return with + without == 0 ? std::nullopt : std::optional(with >= without);
}

std::string_view CleanCell(std::string_view cell, const TextFormat &format) {
  cell = StripReturns(cell);
  const bool is_missing = std::find(format.missing.begin(), format.missing.end(), cell) != format.missing.end();
  return is_missing ? std::string_view() : cell;
}

std::optional<int64_t> ReadId(std::string_view cell, const RowSchema &schema) {
  const std::optional<int64_t> id = ReadInteger(cell);
  return id && *id >= 0 && *id < schema.category_ids ? id : std::nullopt;
}

RowParser::RowParser(const RowSchema &schema, const LineForm &form)
    : schema_(schema),
      form_(form),
      integers_end_(schema.Count(Kind::kInteger)),
      floats_end_(schema.NumberCount()),
      ids_end_(floats_end_ + (schema.categories_are_ids ? schema.Count(Kind::kCategory) : 0)) {}

bool RowParser::Split(std::string_view line, ParsedRow *row) const {
  // Eight bytes are searched at once: a byte of `found` is 0x80 where the word has a separator, else 0.
  constexpr uint64_t kEach = 0x0101010101010101U;
  constexpr uint64_t kLowBits = 0x7F * kEach;
  const uint64_t separators = static_cast<unsigned char>(form_.separator) * kEach;
  std::string_view *const cells = row->cells.data();
  const size_t *position = form_.positions.data();
  const size_t *const last = position + form_.positions.size() - 1;
  size_t begin = 0;
  uint64_t all = 0;
  for (size_t offset = 0; offset < line.size(); offset += sizeof(uint64_t)) {
    uint64_t word = separators ^ kEach;  // behind the end of the line there is another ASCII character
    std::memcpy(&word, line.data() + offset, std::min(sizeof(word), line.size() - offset));
    all |= word;
    const uint64_t other = word ^ separators;
    uint64_t found = ~(((other & kLowBits) + kLowBits) | other | kLowBits);
    for (; found != 0; found &= found - 1) {
      if (position == last) {
        return false;
      }
      const size_t end = offset + static_cast<size_t>(__builtin_ctzll(found)) / 8;
      cells[*position++] = line.substr(begin, end - begin);
      begin = end + 1;
    }
  }
  cells[*position] = line.substr(begin);
  row->is_ascii = (all & (0x80 * kEach)) == 0;
  return position == last;
}

bool RowParser::SplitQuotedLine(std::string_view line, ParsedRow *row) const {
  row->is_ascii = false;
  row->quoted_cells.resize(form_.positions.size());
  if (SplitCells(line, form_.separator, &row->text, &row->quoted_cells) != form_.positions.size()) {
    return false;
  }
  for (size_t index = 0; index < form_.positions.size(); ++index) {
    row->cells[form_.positions[index]] = row->quoted_cells[index];
  }
  return true;
}

bool RowParser::IsLabelCell(std::string_view cell) const {
  if (!schema_.clicks.empty()) {
    return !CleanCell(cell, schema_.text).empty();
  }
  const bool is_last = form_.positions.back() == schema_.columns.size();  // returns before the line's end are part of it
  return IsLabel(is_last ? StripReturns(cell) : cell, schema_.negative_label);
}

void RowParser::CleanCells(std::string_view line, ParsedRow *row) const {
  if (schema_.text.missing.empty() && line.find('\r') == std::string_view::npos) {
    return;
  }
  for (size_t column = 0; column < schema_.columns.size(); ++column) {
    row->cells[column] = CleanCell(row->cells[column], schema_.text);
  }
}

Reason RowParser::ReadNumbers(ParsedRow *row) const {
  size_t column = 0;
  for (; column < integers_end_; ++column) {
    const std::string_view cell = row->cells[column];
    const std::optional<int64_t> integer = cell.empty() ? 0 : ReadInteger(cell);
    if (!integer) {
      return Reason::kInteger;
    }
    row->integers[column] = *integer;
  }
  for (; column < floats_end_; ++column) {
    const std::string_view cell = row->cells[column];
    const std::optional<double> number = cell.empty() ? 0 : ReadFloat(cell);
    if (!number) {
      return Reason::kFloat;
    }
    row->floats[column] = *number;
  }
  for (; column < ids_end_; ++column) {
    const std::optional<int64_t> id = ReadId(row->cells[column], schema_);
    if (!id) {
      return Reason::kId;
    }
    row->integers[column] = *id;
  }
  return Reason::kNone;
}

Reason RowParser::Parse(std::string_view line, ParsedRow *row) const {
  const size_t column_count = schema_.columns.size();
  row->cells.resize(column_count + 2);
  row->integers.resize(column_count);
  row->floats.resize(column_count);
  const bool is_split = MayHaveQuotes(line, form_.separator) ? SplitQuotedLine(line, row) : Split(line, row);
  if (!is_split) {
    return Reason::kColumns;
  }
  if (form_.has_label && !IsLabelCell(row->cells[column_count])) {
    return Reason::kLabel;
  }
  if (!row->is_ascii && !IsUtf8(line)) {
    return Reason::kEncoding;
  }
  CleanCells(line, row);
  return ReadNumbers(row);
}
