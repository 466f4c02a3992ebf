// SPDX-License-Identifier: Apache-2.0
#include "schema_json.h"

#include <algorithm>
#include <functional>
#include <set>

#include "split_cells.h"

namespace {

constexpr int64_t kMostColumns = 10000;
constexpr int64_t kMostValues = 10000;  // of all multi-valued cells of a row that are used

std::string ReadName(const Value &value) {
  const std::string name = value.String();
  const bool is_printable = std::none_of(name.begin(), name.end(), [](unsigned char byte) { return byte < ' '; });
  value.Require(!name.empty() && name.front() != '<' && is_printable, "must be the name of a column");
  return name;
}

std::vector<std::string> ReadNames(const Value &rows, const char *key) {
  std::vector<std::string> names;
  if (rows.Has(key)) {
    for (const Value &name : rows.At(key).Items()) {
      names.push_back(ReadName(name));
    }
    rows.At(key).Require(names.size() <= static_cast<size_t>(kMostColumns), Text("must be at most ", kMostColumns));
  }
  return names;
}

char ReadSeparator(const Value &value) {
  const std::string text = value.String();
  const bool is_ascii = text.size() == 1 && static_cast<unsigned char>(text[0]) < 0x80;
  value.Require(is_ascii && text != "\n" && text != "\r" && text[0] != kQuote, "must be one ASCII character");
  return text[0];
}

void ReadLabel(const Value &label, RowSchema *schema) {
  schema->label_name = ReadName(label.IsString() ? label : label.At("column"));
  if (!label.IsString()) {
    schema->clicks = label.At("click").Strings();
  }
}

void AddColumns(const Value &rows, const char *key, Kind kind, RowSchema *schema) {
  for (auto &name : ReadNames(rows, key)) {
    schema->columns.push_back({std::move(name), kind, {}, 0, 1});
  }
}

// Adds the multi-valued columns, whose order is that of the last sparse fields: an object of JSON has none.
void AddLists(const Value &rows, const Value &data, RowSchema *schema) {
  if (!rows.Has("multi_valued")) {
    return;
  }
  const Value lists = rows.At("multi_valued");
  const Value sparse_fields = data.At("sparse_fields");
  const std::vector<std::string> names = sparse_fields.Strings();
  const size_t count = lists.Members().size();
  sparse_fields.Require(names.size() >= count, "must be the sparse fields of rows");
  lists.Require(count == 0 || !schema->categories_are_ids, "must be empty where categories are ids");
  int64_t left = kMostValues;
  for (size_t index = names.size() - count; index < names.size(); ++index) {
    const Value separator = lists.At(names[index]);
    const int64_t length = data.At("list_lengths").At(names[index]).Integer(1, left);
    left -= length;
    const bool is_quoted = schema->text.separator == ',';  // then a cell may hold the separator of the file
    separator.Require(is_quoted || ReadSeparator(separator) != schema->text.separator,
                      "must not be the separator of the file");
    schema->columns.push_back(
        {names[index], Kind::kMultiValued, {}, ReadSeparator(separator), static_cast<size_t>(length)});
  }
}

void ReadEdges(const Value &data, RowSchema *schema) {
  for (auto &column : schema->columns) {
    if (column.kind == Kind::kFloat) {
      const Value edges = data.At("bucket_edges").At(column.name);
      column.bucket_edges = edges.Numbers();
      const auto end = column.bucket_edges.end();
      const bool increases = std::adjacent_find(column.bucket_edges.begin(), end, std::greater_equal<>()) == end;
      edges.Require(increases, "must increase");
    }
  }
}

// Checks that no column is named twice, and that the columns of a file without a header are among its columns.
void CheckColumns(const Value &rows, const RowSchema &schema) {
  const std::set<std::string> file_columns(schema.file_columns.begin(), schema.file_columns.end());
  std::set<std::string> names;
  rows.Require(file_columns.size() == schema.file_columns.size(), "must not name a column twice");
  rows.Require(file_columns.empty() || !schema.text.has_header, "must not have columns and a header");
  const auto check = [&](const std::string &name) {
    rows.Require(names.insert(name).second, "must not name a column twice");
    rows.Require(file_columns.empty() || file_columns.count(name) > 0, "must have all columns in columns");
  };
  check(schema.label_name);
  for (const auto &column : schema.columns) {
    check(column.name);
  }
}

RowSchema ReadCriteo(const Value &rows) {
  const auto count = [&](const char *key) { return static_cast<size_t>(rows.At(key).Integer(0, kMostColumns)); };
  RowSchema schema = RowSchema::Criteo(count("dense_dim"), count("slot_dim"));
  schema.categories_are_ids = rows.At("categories_are_ids").Boolean();
  schema.negative_label = static_cast<int>(rows.At("negative_label").Integer(-1, 0));
  return schema;
}

RowSchema ReadAny(const Value &rows, const Value &data) {
  RowSchema schema;
  ReadLabel(rows.At("label"), &schema);
  schema.text = {ReadSeparator(rows.At("separator")), rows.At("header").Boolean(), rows.At("missing").Strings()};
  schema.file_columns = ReadNames(rows, "columns");
  schema.categories_are_ids = rows.At("categories_are_ids").Boolean();
  if (rows.Has("negative_label")) {
    schema.negative_label = static_cast<int>(rows.At("negative_label").Integer(-1, 0));
  }
  AddColumns(rows, "integers", Kind::kInteger, &schema);
  AddColumns(rows, "floats", Kind::kFloat, &schema);
  AddColumns(rows, "categories", Kind::kCategory, &schema);
  AddLists(rows, data, &schema);
  CheckColumns(rows, schema);
  return schema;
}

}  // namespace

RowSchema ReadSchema(const Value &rows, const Value &data, bool have_buckets) {
  RowSchema schema = rows.Has("dense_dim") ? ReadCriteo(rows) : ReadAny(rows, data);
  rows.Require(!schema.columns.empty(), "must have columns");
  if (have_buckets) {
    ReadEdges(data, &schema);
  }
  return schema;
}
