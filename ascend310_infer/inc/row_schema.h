// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

// The kinds of columns that a model uses.
enum class Kind : uint8_t { kInteger, kFloat, kCategory, kMultiValued };

// A column that a model uses.
struct Column {
  std::string name;
  Kind kind = Kind::kCategory;
  std::vector<double> bucket_edges;  // of a float with buckets: a bucket is the number of edges that are not above it
  char separator = 0;                // of the values in a multi-valued cell
  size_t list_length = 1;            // values of a multi-valued cell that are used, the first ones
};

// How rows are written as text.
struct TextFormat {
  char separator = '\t';
  bool has_header = false;           // whether the first line of an input names its columns
  std::vector<std::string> missing;  // texts that, like an empty cell, stand for a missing value
};

// The columns of a raw row, as src/preprocessing/schema.py has them.
struct RowSchema {
  std::vector<Column> columns;  // in the order of their kinds
  std::string label_name = "label";
  std::vector<std::string> clicks;  // the labels that are a click, any other is none
  int negative_label = 0;           // without `clicks`, the label of a row without a click; 1 is that of one with it
  std::vector<std::string> file_columns;  // of an input without a header; if it is empty, the label and the columns
  TextFormat text;
  bool categories_are_ids = false;
  int64_t category_ids = 0;  // if they are ids, the number of these, from 0 on

  // Criteo's rows: a label, integers I1, I2 ... and categories C1, C2 ..., separated by tabs.
  static RowSchema Criteo(size_t dense_dim, size_t slot_dim) {
    RowSchema schema;
    for (size_t number = 1; number <= dense_dim; ++number) {
      schema.columns.push_back({"I" + std::to_string(number), Kind::kInteger, {}, 0, 1});
    }
    for (size_t number = 1; number <= slot_dim; ++number) {
      schema.columns.push_back({"C" + std::to_string(number), Kind::kCategory, {}, 0, 1});
    }
    return schema;
  }

  size_t Count(Kind kind) const {
    size_t count = 0;
    for (const auto &column : columns) {
      count += column.kind == kind ? 1 : 0;
    }
    return count;
  }
  // Integers and floats.
  size_t NumberCount() const { return Count(Kind::kInteger) + Count(Kind::kFloat); }
};

// Why a line is malformed; the first reason in this order that holds is given.
enum class Reason : uint8_t { kNone, kColumns, kLabel, kEncoding, kInteger, kFloat, kId };

constexpr size_t kReasonCount = 7;
constexpr std::array<const char *, kReasonCount> kReasonNames = {"",        "columns", "label", "encoding",
                                                                 "integer", "float",   "id"};
