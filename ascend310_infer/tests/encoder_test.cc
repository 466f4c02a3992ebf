// SPDX-License-Identifier: Apache-2.0
#include "encoder.h"

#include <cmath>

#include "harness.h"

namespace {

const RowSchema kEncodedSchema = RowSchema::Criteo(1, 1);
const std::vector<FieldVocabulary> kBoth = {{"I1", 0, {{"47", 2}, {"", 3}}}, {"C1", 1, {{"a", 4}}}};
const std::vector<FieldVocabulary> kCategory = {{"C1", 0, {{"a", 1}}}};

EncodedLines Encode(const RowEncoder &encoder, const std::string &text) {
  EncodedLines lines;
  encoder.Encode(text, FormOf(encoder.Schema(), false), &lines);
  return lines;
}

// Returns the ids of the rows.
std::vector<int32_t> IdsOf(const RowEncoder &encoder, const EncodedLines &lines) {
  return {lines.ids.begin(), lines.ids.begin() + static_cast<std::ptrdiff_t>(lines.rows * encoder.IdCount())};
}

}  // namespace

TEST(encoder, integers_become_logarithms_and_buckets) {
  const RowEncoder encoder(kEncodedSchema, {true, true, true}, {{2.0, 0.5}}, kBoth);
  const EncodedLines lines = Encode(encoder, "1000\ta\nx\ta\n\tb\n-100000\t\n4096\ta\n");
  CHECK_EQUAL(lines.rows, 4U);
  CHECK_EQUAL(lines.reasons[1] == Reason::kInteger, true);
  CHECK_EQUAL(lines.values[0], static_cast<float>((std::log1p(1000.0) - 2.0) / 0.5));
  CHECK_EQUAL(lines.values[1], 0.0F);
  CHECK_EQUAL(lines.values[2], static_cast<float>((-std::log1p(100000.0) - 2.0) / 0.5));
  CHECK_EQUAL(lines.values[3], static_cast<float>((std::log1p(4096.0) - 2.0) / 0.5));
  const std::vector<int32_t> ids(lines.ids.begin(), lines.ids.begin() + 8);
  CHECK_EQUAL((ids == std::vector<int32_t>{2, 4, 3, 1, 0, 1, 0, 4}), true);
}

TEST(encoder, missing_values_and_oov_ids_are_counted_by_column) {
  const RowEncoder encoder(kEncodedSchema, {true, true, true}, {{0.0, 1.0}}, kBoth);
  const EncodedLines lines = Encode(encoder, "1000\ta\n\t\n5\tb\n\t\t\n");
  CHECK_EQUAL((lines.missing == std::vector<uint32_t>{1, 1}), true);
  CHECK_EQUAL((lines.oov == std::vector<uint32_t>{1, 2}), true);
  const RowEncoder without_buckets(kEncodedSchema, {true, false, false}, {{0.0, 1.0}}, kCategory);
  CHECK_EQUAL((Encode(without_buckets, "7\tb\n").oov == std::vector<uint32_t>{0, 1}), true);
}

TEST(encoder, integers_become_fractions_of_the_largest_magnitude) {
  const RowEncoder encoder(kEncodedSchema, {true, false, false}, {{0.0, 8.0}}, kCategory);
  const EncodedLines lines = Encode(encoder, "2\ta\n-9223372036854775807\t\n");
  CHECK_EQUAL(encoder.IdCount(), 1U);
  CHECK_EQUAL(lines.values[0], 0.25F);
  CHECK_EQUAL(lines.values[1], -1152921504606846976.0F);
  CHECK_EQUAL(lines.ids[0], 1);
  CHECK_EQUAL(lines.ids[1], 0);
}

TEST(encoder, buckets_alone_have_no_dense_values) {
  const RowEncoder encoder(kEncodedSchema, {false, false, true}, {}, kBoth);
  CHECK_EQUAL(encoder.ValueCount(), 0U);
  CHECK_EQUAL(Encode(encoder, "1000\ta\n").ids[0], 2);
}

TEST(encoder, categories_that_are_ids_come_after_the_buckets) {
  RowSchema schema = RowSchema::Criteo(1, 2);
  schema.categories_are_ids = true;
  schema.category_ids = 10;
  const RowEncoder encoder(schema, {false, false, true}, {}, {{"I1", 10, {{"47", 11}}}});
  const EncodedLines lines = Encode(encoder, "1000\t3\t9.0\n5\t0\t10\n");
  CHECK_EQUAL(lines.rows, 1U);
  const std::vector<int32_t> ids(lines.ids.begin(), lines.ids.begin() + 3);
  CHECK_EQUAL((ids == std::vector<int32_t>{11, 3, 9}), true);
  CHECK_EQUAL(lines.reasons[1] == Reason::kId, true);
}

TEST(encoder, floats_become_dense_values_and_the_number_of_edges_that_are_not_above_them) {
  RowSchema schema = RowSchema::Criteo(1, 0);
  schema.columns.push_back({"price", Kind::kFloat, {-0.5, 0.0, 1e300}, 0, 1});
  const std::vector<FieldVocabulary> fields = {{"I1", 0, {}},
                                               {"price", 1, {{"0", 2}, {"1", 3}, {"2", 4}, {"3", 5}, {"", 6}}}};
  const RowEncoder encoder(schema, {true, true, true}, {{0.0, 1.0}, {2.0, 0.5}}, fields);
  const EncodedLines lines = Encode(encoder, "\t-1\n\t-.5\n\t-0.0\n\t-1e-320\n\t1e300\r\n\t\n\tnan\n");
  CHECK_EQUAL((IdsOf(encoder, lines) == std::vector<int32_t>{0, 2, 0, 3, 0, 4, 0, 3, 0, 5, 0, 6}), true);
  CHECK_EQUAL(lines.values[1], static_cast<float>((-std::log1p(1.0) - 2.0) / 0.5));
  CHECK_EQUAL(lines.values[5], -4.0F);
  CHECK_EQUAL(lines.values[11], 0.0F);
  CHECK_EQUAL(lines.reasons[6] == Reason::kFloat, true);
  const RowEncoder plain(schema, {true, false, false}, {{0.0, 1.0}, {1.0, 2.0}}, {});
  CHECK_EQUAL(Encode(plain, "\t0.25\n").values[1], -0.375F);
  CHECK_EQUAL(Encode(plain, "\t1e300\n").values[1], 1e3F);  // of a float it is clipped, of an integer not
  CHECK_EQUAL(Encode(plain, "\t-1e300\n").values[1], -1e3F);
  CHECK_EQUAL(Encode(plain, "1000000000000\t\n").values[0], 1e12F);
}

TEST(encoder, the_first_values_of_a_multi_valued_cell_become_ids) {
  RowSchema schema = RowSchema::Criteo(0, 1);
  schema.columns.push_back({"tags", Kind::kMultiValued, {}, '|', 3});
  schema.columns.push_back({"ads", Kind::kMultiValued, {}, ' ', 1});
  schema.text.missing = {"-"};
  const std::vector<FieldVocabulary> fields = {
      {"C1", 0, {}}, {"tags", 1, {{"a", 3}, {"b", 4}, {"", 5}}}, {"ads", 2, {{"a", 6}}}};
  const RowEncoder encoder(schema, {true, false, false}, {}, fields);
  const EncodedLines lines = Encode(encoder, "x\t|b||x|a|b\r\ta b\nx\ta\t \nx\t-\t-\nx\t||\t\nx\t-|a\tb\n");
  CHECK_EQUAL((IdsOf(encoder, lines) == std::vector<int32_t>{0, 4, 1, 3, 6, 0, 3, -1, -1, 2, 0, 5, -1, -1, 2,  //
                                                             0, 5, -1, -1, 2, 0, 1, 3, -1, 2}),
              true);
  CHECK_EQUAL((lines.missing == std::vector<uint32_t>{0, 2, 3}), true);
  CHECK_EQUAL((lines.oov == std::vector<uint32_t>{5, 2, 4}), true);
  CHECK_EQUAL((lines.value_counts == std::vector<uint32_t>{5, 8, 5}), true);
}
