// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "raw_rows.h"
#include "row_schema.h"
#include "value_ids.h"
#include "vocabulary.h"

// A dense value is (x - center) / divisor, where x is the integer or its logarithm; 0 where it is missing.
struct DenseScale {
  double center;
  double divisor;
};

// How integers enter the network: the values of --dense_encoding.
struct DenseEncoding {
  bool has_values = false;      // each integer becomes a dense value
  bool is_logarithmic = false;  // of its logarithm: sign(n) * log(1 + |n|)
  bool has_buckets = false;     // each integer becomes the id of its bucket
};

// Lines, encoded: the rows of those that are not malformed, in their order.  There may be more numbers behind those of
// the rows.
struct EncodedLines {
  std::vector<Reason> reasons;    // [lines]
  std::vector<int32_t> ids;       // [rows, S]
  std::vector<float> values;      // [rows, N]
  std::vector<uint32_t> missing;  // [columns]: rows in which the value is missing
  std::vector<uint32_t> oov;      // [columns]: rows in which the id is that of OOV; 0 for columns without
  size_t rows = 0;
  // Of the last row, here so that their memory is used again.
  ParsedRow parsed;
  std::vector<CategoryIds::Query> queries;
};

// From raw rows to sparse ids and dense values, as src/preprocessing/encoder.py does it.
class RowEncoder {
 public:
  // vocabulary: of the integers if they have buckets, then of the categories unless they are ids.  scales: of each
  // integer, if it becomes a dense value.
  RowEncoder(const RowSchema &schema, const DenseEncoding &encoding, const std::vector<DenseScale> &scales,
             const std::vector<FieldVocabulary> &vocabulary);

  const RowSchema &Schema() const { return schema_; }
  // S and N: the ids and the dense values of a row.
  size_t IdCount() const { return (encoding_.has_buckets ? schema_.dense_dim : 0) + schema_.slot_dim; }
  size_t ValueCount() const { return encoding_.has_values ? schema_.dense_dim : 0; }

  // Encodes the lines of a text.
  void Encode(std::string_view text, bool have_labels, EncodedLines *lines) const;

 private:
  // What an integer becomes.
  struct Number {
    float value;
    int32_t id;
  };

  Number EncodeInteger(size_t column, int64_t integer) const;
  Number Compute(size_t column, int64_t integer) const;
  void EncodeRow(const ParsedRow &row, EncodedLines *lines) const;
  void CountOov(EncodedLines *lines) const;

  RowSchema schema_;
  DenseEncoding encoding_;
  std::vector<DenseScale> scales_;
  std::vector<int32_t> oov_ids_;
  std::vector<BucketIds> buckets_;
  std::vector<CategoryIds> categories_;
  std::vector<Number> missing_;  // [dense_dim]
  std::vector<Number> table_;    // [dense_dim, kTableIntegers]: those of small integers
};
