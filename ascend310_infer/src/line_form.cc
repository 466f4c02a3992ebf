// SPDX-License-Identifier: Apache-2.0
#include "line_form.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "cells.h"
#include "error.h"
#include "split_cells.h"

namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

LineForm MakeForm(std::vector<std::string> names, const RowSchema &schema, bool has_label) {
  const size_t label = schema.columns.size();
  std::map<std::string_view, size_t> positions = {{schema.label_name, label}};
  for (size_t column = 0; column < label; ++column) {
    positions.emplace(schema.columns[column].name, column);
  }
  LineForm form = {schema.text.separator, has_label, std::move(names), {}};
  for (const auto &name : form.names) {
    const auto position = positions.find(name);
    form.positions.push_back(position == positions.end() ? label + 1 : position->second);
  }
  return form;
}

// Returns the names of a header; nothing if its quotes are malformed.
std::optional<std::vector<std::string>> SplitHeader(std::string_view line, char separator) {
  std::string text;
  std::vector<std::string_view> cells(CountCells(line, separator));
  if (cells.empty() || !SplitCells(line, separator, &text, &cells)) {
    return std::nullopt;
  }
  return std::vector<std::string>(cells.begin(), cells.end());
}

// Returns names as text for a message, in one line.
std::string Listed(const std::vector<std::string> &names) {
  std::string text;
  for (const auto &name : names) {
    text += (text.empty() ? "" : ", ") + name;
  }
  std::replace_if(text.begin(), text.end(), [](unsigned char byte) { return byte < ' ' || byte == 0x7F; }, '?');
  return text;
}

void CheckNames(const std::vector<std::string> &names, const RowSchema &schema, const std::string &where) {
  std::multiset<std::string_view> found(names.begin(), names.end());
  for (const auto &name : names) {
    if (found.count(name) > 1) {
      throw Error(Text(where, ": the header has the column '", Listed({name}), "' twice"));
    }
  }
  for (const auto &column : schema.columns) {
    if (found.count(column.name) == 0) {
      throw Error(Text(where, ": there is no column ", column.name, "; the columns are ", Listed(names)));
    }
  }
}

}  // namespace

LineForm FormOf(const RowSchema &schema, bool has_label) {
  std::vector<std::string> names = schema.file_columns;
  if (names.empty()) {
    names.push_back(schema.label_name);
    for (const auto &column : schema.columns) {
      names.push_back(column.name);
    }
  }
  if (!has_label) {
    names.erase(std::remove(names.begin(), names.end(), schema.label_name), names.end());
  }
  return MakeForm(std::move(names), schema, has_label);
}

LineForm ReadHeader(std::string_view line, const RowSchema &schema, const std::string &where) {
  if (!IsUtf8(line)) {
    throw Error(Text(where, ": the header is not UTF-8: convert the file with iconv"));
  }
  if (line.substr(0, kByteOrderMark.size()) == kByteOrderMark) {
    line.remove_prefix(kByteOrderMark.size());
  }
  auto names = SplitHeader(StripReturns(line), schema.text.separator);
  if (!names) {
    throw Error(Text(where, ": the quotes of the header are malformed"));
  }
  CheckNames(*names, schema, where);
  const bool has_label = std::find(names->begin(), names->end(), schema.label_name) != names->end();
  return MakeForm(std::move(*names), schema, has_label);
}

RowSchema SchemaOfFile(const RowSchema &schema, const std::filesystem::path &path) {
  RowSchema of_file = schema;
  const TextFormat &text = schema.text;
  const bool is_criteo = text.separator == '\t' && !text.has_header && text.missing.empty();
  for (auto name = path.filename(); is_criteo && name.has_extension(); name = name.stem()) {
    if (name.extension() == ".csv") {
      of_file.text = {',', true, {}};
    }
  }
  return of_file;
}
