// SPDX-License-Identifier: Apache-2.0
#include "diagnosis.h"

#include <algorithm>
#include <vector>

#include "cells.h"
#include "error.h"
#include "raw_rows.h"
#include "split_cells.h"

namespace {

constexpr size_t kLongestShown = 60;  // bytes of a cell or a line in a message
constexpr size_t kListedColumns = 10;

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

std::string Join(const std::vector<std::string> &texts, const char *separator) {
  std::string joined;
  for (const auto &text : texts) {
    joined += (joined.empty() ? "" : separator) + text;
  }
  return joined;
}

std::string NameOfSeparator(char separator) {
  return separator == '\t'  ? "tab-separated"
         : separator == ',' ? "comma-separated"
         : separator == ' ' ? "separated by blanks"
         : separator > ' ' && separator <= '~' ? Text("separated by ", separator)
                                               : Text("separated by ", Quoted({&separator, 1}));
}

// Tells whether the columns can be described by their numbers, as Criteo's.
bool IsLikeCriteo(const RowSchema &schema, const LineForm &form) {
  return form.separator == '\t' && !schema.text.has_header && schema.text.missing.empty() &&
         schema.file_columns.empty() &&
         schema.Count(Kind::kInteger) + schema.Count(Kind::kCategory) == schema.columns.size();
}

std::string DescribeColumns(const RowSchema &schema, const LineForm &form) {
  if (IsLikeCriteo(schema, form)) {
    return Text(form.names.size(), ": ", form.has_label ? "1 label, " : "", schema.Count(Kind::kInteger),
                " integers and ", schema.Count(Kind::kCategory), " categories, separated by tabs");
  }
  std::vector<std::string> names = form.names;
  if (names.size() > kListedColumns) {
    names.resize(kListedColumns);
    names.emplace_back("...");
  }
  return Text(form.names.size(), " columns, ", Join(names, ", "), ", ", NameOfSeparator(form.separator));
}

std::string DiagnoseColumns(std::string_view line, const RowSchema &schema, const LineForm &form) {
  const size_t found = CountCells(line, form.separator);
  if (found == 0) {
    return Text(": its quotes are malformed, ", Quoted(line));
  }
  const std::string fault =
      line.empty() ? "is empty" : Text("has ", found, found == 1 ? " column, " : " columns, ", Quoted(line));
  return Text(" ", fault, "; a row has ", DescribeColumns(schema, form));
}

std::string LabelRule(const RowSchema &schema) {
  if (!schema.clicks.empty()) {
    return Join(schema.clicks, " or ") + " for a click, and no missing value";
  }
  return schema.negative_label == 0 ? "0 or 1 (or 0.0, 1.0, false, true)" : "-1 or 1";
}

const char *RuleOf(Reason reason) {
  return reason == Reason::kEncoding  ? "it is not UTF-8: convert the file with iconv"
         : reason == Reason::kInteger ? "an integer lies between -2^63 and 2^63, as 3 or 3.0, or is empty if missing"
         : reason == Reason::kFloat   ? "a float is a finite number, as 0.5 or 1e-3, or is empty if missing"
                                      : "a category of this model is one of its ids, from 0 on, and cannot be missing";
}

// Tells whether a cell at a position in a ParsedRow is malformed for this reason.
bool IsMalformed(size_t position, std::string_view cell, Reason reason, const RowSchema &schema) {
  if (reason == Reason::kEncoding) {
    return !IsUtf8(cell);
  }
  if (position >= schema.columns.size()) {
    return false;
  }
  const Kind kind = schema.columns[position].kind;
  const std::string_view clean = CleanCell(cell, schema.text);
  return (reason == Reason::kInteger && kind == Kind::kInteger && !clean.empty() && !ReadInteger(clean)) ||
         (reason == Reason::kFloat && kind == Kind::kFloat && !clean.empty() && !ReadFloat(clean)) ||
         (reason == Reason::kId && kind == Kind::kCategory && !ReadId(clean, schema));
}

// Returns the index of the cell of a line that is malformed for this reason.
size_t FindMalformedCell(const std::vector<std::string_view> &cells, Reason reason, const RowSchema &schema,
                         const LineForm &form) {
  size_t index = 0;
  while (index + 1 < cells.size() &&
         (reason == Reason::kLabel ? form.positions[index] != schema.columns.size()
                                   : !IsMalformed(form.positions[index], cells[index], reason, schema))) {
    ++index;
  }
  return index;
}

}  // namespace

std::string Diagnose(size_t number, std::string_view line, Reason reason, const RowSchema &schema,
                     const LineForm &form) {
  const std::string position = Text("line ", number);
  if (reason == Reason::kColumns) {
    return position + DiagnoseColumns(line, schema, form);
  }
  std::string text;
  std::vector<std::string_view> cells(form.positions.size());
  SplitCells(line, form.separator, &text, &cells);
  const size_t index = FindMalformedCell(cells, reason, schema, form);
  if (reason == Reason::kLabel) {
    return Text(position, ": the label is ", Quoted(cells[index]), "; a label is ", LabelRule(schema));
  }
  return Text(position, ": ", form.names[index], " is ", Quoted(StripReturns(cells[index])), "; ", RuleOf(reason));
}
