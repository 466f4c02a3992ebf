// SPDX-License-Identifier: Apache-2.0
#include "encoder.h"

#include <cmath>

#include "harness.h"

namespace {

const RowSchema kEncodedSchema = {1, 1, false, 0, 0};
const std::vector<FieldVocabulary> kBoth = {{"I1", 0, {{"47", 2}, {"", 3}}}, {"C1", 1, {{"a", 4}}}};
const std::vector<FieldVocabulary> kCategory = {{"C1", 0, {{"a", 1}}}};

EncodedLines Encode(const RowEncoder &encoder, const std::string &text) {
  EncodedLines lines;
  encoder.Encode(text, false, &lines);
  return lines;
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
  const RowEncoder encoder({1, 2, true, 10, 0}, {false, false, true}, {}, {{"I1", 10, {{"47", 11}}}});
  const EncodedLines lines = Encode(encoder, "1000\t3\t9.0\n5\t0\t10\n");
  CHECK_EQUAL(lines.rows, 1U);
  const std::vector<int32_t> ids(lines.ids.begin(), lines.ids.begin() + 3);
  CHECK_EQUAL((ids == std::vector<int32_t>{11, 3, 9}), true);
  CHECK_EQUAL(lines.reasons[1] == Reason::kId, true);
}
