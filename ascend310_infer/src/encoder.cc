// SPDX-License-Identifier: Apache-2.0
#include "encoder.h"

#include <algorithm>
#include <cmath>

#include "buckets.h"

namespace {

constexpr size_t kTableIntegers = 1 << 12;
constexpr int32_t kNoId = -1;
constexpr double kLargestOfFloats = 1e3;  // of the magnitudes of their dense values, to which others are clipped

// Takes the next part that is not empty off the rest of a multi-valued cell; an empty one if there is no other.
std::string_view TakePart(std::string_view *rest, char separator) {
  rest->remove_prefix(std::min(rest->find_first_not_of(separator), rest->size()));
  const std::string_view part = rest->substr(0, rest->find(separator));
  rest->remove_prefix(part.size());
  return part;
}

}  // namespace

RowEncoder::RowEncoder(const RowSchema &schema, const DenseEncoding &encoding, const std::vector<DenseScale> &scales,
                       const std::vector<FieldVocabulary> &vocabulary)
    : schema_(schema),
      encoding_(encoding),
      scales_(scales),
      integer_count_(schema.Count(Kind::kInteger)),
      number_count_(schema.NumberCount()),
      lists_begin_(schema.columns.size() - schema.Count(Kind::kMultiValued)) {
  const size_t bucket_count = encoding.has_buckets ? number_count_ : 0;
  for (const auto &field : vocabulary) {
    if (buckets_.size() < bucket_count) {
      buckets_.emplace_back(field);
    } else {
      categories_.emplace_back(field);
    }
  }
  for (size_t column = 0; column < integer_count_; ++column) {
    for (size_t integer = 0; integer < kTableIntegers; ++integer) {
      table_.push_back(ComputeInteger(column, static_cast<int64_t>(integer)));
    }
  }
  for (size_t column = 0; column < number_count_; ++column) {
    missing_.push_back({0.0F, encoding.has_buckets ? buckets_[column].MissingId() : 0});
  }
  MakeIdColumns(vocabulary);
}

void RowEncoder::MakeIdColumns(const std::vector<FieldVocabulary> &vocabulary) {
  auto field = vocabulary.begin();
  for (size_t column = encoding_.has_buckets ? 0 : number_count_; column < schema_.columns.size(); ++column) {
    const bool is_id = schema_.categories_are_ids && schema_.columns[column].kind == Kind::kCategory;
    const int32_t oov_id = is_id ? kNoId : field++->oov_id;
    id_columns_.insert(id_columns_.end(), schema_.columns[column].list_length, {column, oov_id});
  }
}

RowEncoder::Number RowEncoder::EncodeInteger(size_t column, int64_t integer) const {
  const auto index = static_cast<uint64_t>(integer);  // large for a negative one
  return index < kTableIntegers ? table_[column * kTableIntegers + index] : ComputeInteger(column, integer);
}

RowEncoder::Number RowEncoder::ComputeInteger(size_t column, int64_t integer) const {
  return {static_cast<float>(DenseValue(column, static_cast<double>(integer))),
          encoding_.has_buckets ? buckets_[column].Find(encoding_.has_bins ? BinOf(integer) : BucketOf(integer)) : 0};
}

RowEncoder::Number RowEncoder::ComputeFloat(size_t column, double number) const {
  const std::vector<double> &edges = schema_.columns[column].bucket_edges;
  const auto bucket = std::upper_bound(edges.begin(), edges.end(), number) - edges.begin();
  const double value = std::clamp(DenseValue(column, number), -kLargestOfFloats, kLargestOfFloats);
  return {static_cast<float>(value), encoding_.has_buckets ? buckets_[column].Find(bucket) : 0};
}

double RowEncoder::DenseValue(size_t column, double number) const {
  if (!encoding_.has_values) {
    return 0;
  }
  const double magnitude = encoding_.is_logarithmic ? std::copysign(std::log1p(std::fabs(number)), number) : number;
  return (magnitude - scales_[column].center) / scales_[column].divisor;
}

void RowEncoder::EncodeNumbers(const ParsedRow &row, int32_t *ids, float *values) const {
  const auto put = [&](const Number &number) {
    if (encoding_.has_values) {
      *values++ = number.value;
    }
    if (encoding_.has_buckets) {
      *ids++ = number.id;
    }
  };
  for (size_t column = 0; column < integer_count_; ++column) {
    put(row.cells[column].empty() ? missing_[column] : EncodeInteger(column, row.integers[column]));
  }
  for (size_t column = integer_count_; column < number_count_; ++column) {
    put(row.cells[column].empty() ? missing_[column] : ComputeFloat(column, row.floats[column]));
  }
}

void RowEncoder::EncodeList(size_t column, std::string_view cell, int32_t *ids, EncodedLines *lines) const {
  const Column &list = schema_.columns[column];
  const CategoryIds &values = categories_[categories_.size() - (schema_.columns.size() - column)];
  std::string_view value = TakePart(&cell, list.separator);
  lines->missing[column] += value.empty() ? 1 : 0;
  int32_t *const end = ids + list.list_length;
  std::fill(ids, end, kNoId);
  do {
    *ids++ = values.Find(value);  // a missing value is a value, too
    ++lines->value_counts[column];
    value = TakePart(&cell, list.separator);
  } while (!value.empty() && ids != end);
}

void RowEncoder::EncodeRow(const ParsedRow &row, EncodedLines *lines) const {
  int32_t *id = lines->ids.data() + lines->rows * IdCount();
  for (size_t column = 0; column < lists_begin_; ++column) {
    lines->missing[column] += row.cells[column].empty() ? 1 : 0;
  }
  const std::string_view *const categories = row.cells.data() + number_count_;
  const size_t category_count = schema_.categories_are_ids ? 0 : lists_begin_ - number_count_;
  lines->queries.resize(category_count);
  for (size_t field = 0; field < category_count; ++field) {
    lines->queries[field] = categories_[field].Prepare(categories[field]);
  }
  EncodeNumbers(row, id, lines->values.data() + lines->rows * ValueCount());
  id += buckets_.size();
  for (size_t field = 0; field < category_count; ++field) {
    *id++ = categories_[field].Find(categories[field], lines->queries[field]);
  }
  for (size_t column = number_count_ + category_count; column < lists_begin_; ++column) {  // categories that are ids
    *id++ = static_cast<int32_t>(row.integers[column]);
  }
  for (size_t column = lists_begin_; column < schema_.columns.size(); ++column) {
    EncodeList(column, row.cells[column], id, lines);
    id += schema_.columns[column].list_length;
  }
  ++lines->rows;
}

void RowEncoder::Encode(std::string_view text, const LineForm &form, EncodedLines *lines) const {
  lines->rows = 0;
  lines->reasons.clear();
  lines->missing.assign(schema_.columns.size(), 0);
  lines->value_counts.assign(schema_.columns.size(), 0);
  const RowParser parser(schema_, form);
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
  CountValues(lines);
}

void RowEncoder::CountValues(EncodedLines *lines) const {
  std::fill_n(lines->value_counts.begin(), lists_begin_, lines->rows);
  lines->oov.assign(schema_.columns.size(), 0);
  const int32_t *id = lines->ids.data();
  for (size_t row = 0; row < lines->rows; ++row) {
    for (const IdColumn &id_column : id_columns_) {
      lines->oov[id_column.column] += *id++ == id_column.oov_id ? 1 : 0;
    }
  }
}
