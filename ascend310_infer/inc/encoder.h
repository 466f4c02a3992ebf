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

// A dense value is (x - center) / divisor, where x is the number or its logarithm; 0 where it is missing.
struct DenseScale {
  double center;
  double divisor;
};

// How integers and floats enter the network: the values of --dense_encoding.
struct DenseEncoding {
  bool has_values = false;      // each number becomes a dense value
  bool is_logarithmic = false;  // of its logarithm: sign(n) * log(1 + |n|)
  bool has_buckets = false;     // each number becomes the id of its bucket
  bool has_bins = false;        // of its bin, if it is an integer
};

// Lines, encoded: the rows of those that are not malformed, in their order.  There may be more numbers behind those of
// the rows.
struct EncodedLines {
  std::vector<Reason> reasons;         // [lines]
  std::vector<int32_t> ids;            // [rows, S]; -1 where a multi-valued cell has fewer values than may be used
  std::vector<float> values;           // [rows, N]
  std::vector<uint32_t> missing;       // [columns]: rows in which the value is missing
  std::vector<uint32_t> oov;           // [columns]: values whose id is that of OOV; 0 for columns without
  std::vector<uint32_t> value_counts;  // [columns]: all values, known or OOV: as many as rows unless multi-valued
  size_t rows = 0;
  // Of the last row, here so that their memory is used again.
  ParsedRow parsed;
  std::vector<CategoryIds::Query> queries;
};

// From raw rows to sparse ids and dense values, as src/preprocessing/encoder.py does it.
class RowEncoder {
 public:
  // vocabulary: of the numbers if they have buckets, then of the categories unless they are ids, then of the
  // multi-valued columns.  scales: of each number, if it becomes a dense value.
  RowEncoder(const RowSchema &schema, const DenseEncoding &encoding, const std::vector<DenseScale> &scales,
             const std::vector<FieldVocabulary> &vocabulary);

  const RowSchema &Schema() const { return schema_; }
  // S and N: the ids and the dense values of a row.
  size_t IdCount() const { return id_columns_.size(); }
  size_t ValueCount() const { return encoding_.has_values ? number_count_ : 0; }

  // Encodes the lines of a text.
  void Encode(std::string_view text, const LineForm &form, EncodedLines *lines) const;

 private:
  // What an integer or a float becomes.
  struct Number {
    float value;
    int32_t id;
  };
  // The column of which a column of ids is, and its id of OOV; -1 for a category that is an id.
  struct IdColumn {
    size_t column;
    int32_t oov_id;
  };

  void MakeIdColumns(const std::vector<FieldVocabulary> &vocabulary);
  Number EncodeInteger(size_t column, int64_t integer) const;
  Number ComputeInteger(size_t column, int64_t integer) const;
  Number ComputeFloat(size_t column, double number) const;
  double DenseValue(size_t column, double number) const;
  void EncodeRow(const ParsedRow &row, EncodedLines *lines) const;
  void EncodeNumbers(const ParsedRow &row, int32_t *ids, float *values) const;
  void EncodeList(size_t column, std::string_view cell, int32_t *ids, EncodedLines *lines) const;
  void CountValues(EncodedLines *lines) const;

  RowSchema schema_;
  DenseEncoding encoding_;
  std::vector<DenseScale> scales_;
  size_t integer_count_;
  size_t number_count_;
  size_t lists_begin_;  // the first multi-valued column
  std::vector<BucketIds> buckets_;
  std::vector<CategoryIds> categories_;  // unless they are ids, and of the multi-valued columns
  std::vector<Number> missing_;          // of each number
  std::vector<Number> table_;            // [integers, kTableIntegers]: those of small integers
  std::vector<IdColumn> id_columns_;     // [S]
};
