// SPDX-License-Identifier: Apache-2.0
#include "value_ids.h"

#include "buckets.h"
#include "harness.h"

namespace {

int32_t FindCategory(const CategoryIds &ids, const std::string &value) { return ids.Find(value, ids.Prepare(value)); }

}  // namespace

TEST(value_ids, each_kept_value_has_its_id_and_any_other_that_of_oov) {
  std::vector<std::string> texts = {"", "a", "ab", std::string("a\0", 2), std::string("\0", 1), "12345678", "123456789",
                                    "1234567812345678", std::string(1000, 'x'), std::string(1000, 'x') + "y", "<OOV>"};
  for (int number = 0; number < 5000; ++number) {
    texts.push_back(std::to_string(number * 7919));
    texts.push_back("a value of its own " + std::to_string(number));
  }
  FieldVocabulary field = {"C1", 3, {}};
  for (size_t index = 0; index < texts.size(); ++index) {
    field.values.push_back({texts[index], static_cast<int32_t>(index) + 10});
  }
  const CategoryIds ids(field);
  for (size_t index = 0; index < texts.size(); ++index) {
    CHECK_EQUAL(FindCategory(ids, texts[index]), static_cast<int32_t>(index) + 10);
    CHECK_EQUAL(FindCategory(ids, texts[index] + "?"), 3);
  }
  CHECK_EQUAL(FindCategory(ids, std::string("ab\0", 3)), 3);
  CHECK_EQUAL(FindCategory(ids, "1234567"), 3);
  CHECK_EQUAL(FindCategory(ids, "12345678" + std::string(8, '0')), 3);
}

TEST(value_ids, a_field_without_values_has_only_oov) {
  const CategoryIds ids({"C1", 7, {}});
  CHECK_EQUAL(FindCategory(ids, ""), 7);
  CHECK_EQUAL(FindCategory(ids, "a"), 7);
}

TEST(value_ids, a_value_that_is_there_twice_is_refused) {
  CHECK_ERROR(CategoryIds({"C1", 0, {{"a", 1}, {"b", 2}, {"a", 3}}}), "the vocabulary of C1 has the value of id 3 twice");
  CHECK_ERROR(BucketIds({"I1", 0, {{"5", 1}, {"05", 2}}}), "the vocabulary of I1 has the value of id 1 twice");
  CHECK_ERROR(BucketIds({"I1", 0, {{"x", 1}}}), "the vocabulary of I1 has a value that is no bucket");
}

TEST(value_ids, buckets_are_floors_of_squared_logarithms) {
  // ln(3)^2 = 1.2, ln(5)^2 = 2.6, ln(1000)^2 = 47.7 and ln(2^63 - 1)^2 = 1906.9.
  CHECK_EQUAL(BucketOf(INT64_MIN), INT64_MIN);
  CHECK_EQUAL(BucketOf(-1), -1);
  CHECK_EQUAL(BucketOf(2), 2);
  CHECK_EQUAL(BucketOf(3), 1);
  CHECK_EQUAL(BucketOf(5), 2);
  CHECK_EQUAL(BucketOf(980), 47);  // ln(980)^2 = 47.4
  CHECK_EQUAL(BucketOf(1000), 47);
  CHECK_EQUAL(BucketOf(INT64_MAX), 1906);
}

TEST(value_ids, bins_are_the_smallest_integers_of_buckets_that_begin_at_3) {
  CHECK_EQUAL(BinOf(INT64_MIN), INT64_MIN);
  CHECK_EQUAL(BinOf(2), 2);
  CHECK_EQUAL(BinOf(3), 3);
  CHECK_EQUAL(BinOf(4), 3);
  CHECK_EQUAL(BinOf(5), 5);
  CHECK_EQUAL(BinOf(100), 98);  // ln(97)^2 = 20.9, ln(98)^2 = 21.02
  CHECK_EQUAL(BucketOf(BinOf(INT64_MAX)), 1906);
  CHECK_EQUAL(BucketOf(BinOf(INT64_MAX) - 1), 1905);
}

TEST(value_ids, buckets_have_ids) {
  const BucketIds ids({"I1", 5, {{"47", 6}, {"", 7}, {"-3", 8}}});
  CHECK_EQUAL(ids.Find(47), 6);
  CHECK_EQUAL(ids.Find(48), 5);
  CHECK_EQUAL(ids.Find(-3), 8);
  CHECK_EQUAL(ids.Find(0), 5);
  CHECK_EQUAL(ids.MissingId(), 7);
  CHECK_EQUAL(BucketIds({"I1", 5, {}}).MissingId(), 5);
}
