// SPDX-License-Identifier: Apache-2.0
#include "encoder.h"

#include <cmath>

namespace {

constexpr size_t kTableIntegers = 1 << 12;

}  // namespace

RowEncoder::RowEncoder(const RowSchema &schema, const DenseEncoding &encoding, const std::vector<DenseScale> &scales,
                       const std::vector<FieldVocabulary> &vocabulary)
    : schema_(schema), encoding_(encoding), scales_(scales) {
  const size_t bucket_count = encoding.has_buckets ? schema.dense_dim : 0;
  for (const auto &field : vocabulary) {
    oov_ids_.push_back(field.oov_id);
    if (oov_ids_.size() <= bucket_count) {
      buckets_.emplace_back(field);
    } else {
      categories_.emplace_back(field);
    }
  }
  for (size_t column = 0; column < schema.dense_dim; ++column) {
    for (size_t integer = 0; integer < kTableIntegers; ++integer) {
      table_.push_back(Compute(column, static_cast<int64_t>(integer)));
    }
    missing_.push_back({0.0F, encoding.has_buckets ? buckets_[column].MissingId() : 0});
  }
}

RowEncoder::Number RowEncoder::EncodeInteger(size_t column, int64_t integer) const {
  const auto index = static_cast<uint64_t>(integer);  // large for a negative one
  return index < kTableIntegers ? table_[column * kTableIntegers + index] : Compute(column, integer);
}

RowEncoder::Number RowEncoder::Compute(size_t column, int64_t integer) const {
  Number number = {0.0F, 0};
  if (encoding_.has_values) {
    const auto plain = static_cast<double>(integer);
    const double magnitude = encoding_.is_logarithmic ? std::copysign(std::log1p(std::fabs(plain)), plain) : plain;
    number.value = static_cast<float>((magnitude - scales_[column].center) / scales_[column].divisor);
  }
  if (encoding_.has_buckets) {
    number.id = buckets_[column].Find(integer);
  }
  return number;
}

void RowEncoder::EncodeRow(const ParsedRow &row, EncodedLines *lines) const {
  int32_t *id = lines->ids.data() + lines->rows * IdCount();
  float *value = lines->values.data() + lines->rows * ValueCount();
  for (size_t column = 0; column < row.cells.size(); ++column) {
    lines->missing[column] += row.cells[column].empty() ? 1 : 0;
  }
  const std::string_view *const categories = row.cells.data() + schema_.dense_dim;
  lines->queries.resize(categories_.size());
  for (size_t field = 0; field < categories_.size(); ++field) {
    lines->queries[field] = categories_[field].Prepare(categories[field]);
  }
  for (size_t column = 0; column < schema_.dense_dim; ++column) {
    const Number number = row.cells[column].empty() ? missing_[column] : EncodeInteger(column, row.numbers[column]);
    if (encoding_.has_values) {
      *value++ = number.value;
    }
    if (encoding_.has_buckets) {
      *id++ = number.id;
    }
  }
  for (size_t field = 0; field < categories_.size(); ++field) {
    *id++ = categories_[field].Find(categories[field], lines->queries[field]);
  }
  for (size_t column = schema_.dense_dim; column < row.numbers.size(); ++column) {  // categories that are ids
    *id++ = static_cast<int32_t>(row.numbers[column]);
  }
  ++lines->rows;
}

void RowEncoder::Encode(std::string_view text, bool have_labels, EncodedLines *lines) const {
  lines->rows = 0;
  lines->reasons.clear();
  lines->missing.assign(schema_.ColumnCount(), 0);
  const RowParser parser(schema_, have_labels);
  ForEachLine(text, [&](std::string_view line) {
    const Reason reason = parser.Parse(line, &lines->parsed);
    lines->reasons.push_back(reason);
    if (reason == Reason::kNone) {
      // Grows to the size of the largest text and keeps it.
      const size_t rows = lines->rows + 1;
      if (lines->ids.size() < rows * IdCount() || lines->values.size() < rows * ValueCount()) {
        lines->ids.resize(2 * rows * IdCount());
        lines->values.resize(2 * rows * ValueCount());
      }
      EncodeRow(lines->parsed, lines);
    }
  });
  CountOov(lines);
}

void RowEncoder::CountOov(EncodedLines *lines) const {
  lines->oov.assign(schema_.ColumnCount(), 0);
  uint32_t *counts = lines->oov.data() + (encoding_.has_buckets ? 0 : schema_.dense_dim);
  for (size_t row = 0; row < lines->rows; ++row) {
    const int32_t *ids = lines->ids.data() + row * IdCount();
    for (size_t field = 0; field < oov_ids_.size(); ++field) {
      counts[field] += ids[field] == oov_ids_[field] ? 1 : 0;
    }
  }
}
