// SPDX-License-Identifier: Apache-2.0
#include "tally.h"

#include "harness.h"

namespace {

Manifest ExampleManifestOf(const RowSchema &schema) {
  Manifest manifest;
  manifest.rows = schema;
  manifest.training_rates = {{"I1", {0.5, std::nullopt}}, {"C1", {0.0, 0.25}}, {"C2", {0.0, 0.1}}};
  return manifest;
}

Tally ExampleTally() {
  Tally tally;
  tally.rows = 200;
  tally.malformed = {0, 3, 0, 0, 1, 0, 0};
  tally.first_malformed = 7;
  tally.fault = "line 7 is empty";
  tally.missing = {100, 0, 20};
  tally.oov = {0, 150, 21};
  tally.value_counts = {200, 200, 200};
  return tally;
}

}  // namespace

TEST(tally, the_summary_names_counts_and_the_largest_differences) {
  const std::string expected =
      "rows: 200 with a label, s: 0.5, rows/s: 400\n"
      "malformed: 4 (3 columns, 1 integer); line 7 is empty\n"
      "warning: rates that differ most from the training rows': C1 OOV 0.750 instead of 0.250, C2 missing 0.100 instead "
      "of 0.000\n";
  CHECK_EQUAL(DescribeTally(ExampleTally(), ExampleManifestOf(RowSchema::Criteo(1, 2)), 0.5, true), expected);
}

// The cases are those of tests/unit/test_field_tally.py.
TEST(tally, drift_is_a_large_difference_that_chance_does_not_explain) {
  CHECK_EQUAL(IsDrift(0.16, 0.10, 100000), true);
  CHECK_EQUAL(IsDrift(0.14, 0.10, 100000), false);  // less than 0.05 is not worth a warning, however certain it is
  CHECK_EQUAL(IsDrift(0.20, 0.10, 100), false);     // so many or more have the probability 2e-3
  CHECK_EQUAL(IsDrift(0.20, 0.10, 1000), true);
  CHECK_EQUAL(IsDrift(1.0, 0.03, 1), false);  // 0.03
  CHECK_EQUAL(IsDrift(1.0, 0.03, 4), true);   // 0.03^4 is 8e-7
  CHECK_EQUAL(IsDrift(1.0, 0.0, 1), false);
  CHECK_EQUAL(IsDrift(1.0, 0.0, 2), true);
  CHECK_EQUAL(IsDrift(0.0, 0.5, 16), false);  // 0.5^16 is 1.5e-5
  CHECK_EQUAL(IsDrift(0.0, 0.5, 17), true);
}

TEST(tally, few_rows_do_not_differ_from_the_training_rows) {
  Tally two;
  two.rows = 2;
  two.missing = {2, 0, 0};
  two.oov = {0, 2, 0};
  two.value_counts = {2, 2, 2};
  CHECK_EQUAL(DescribeTally(two, ExampleManifestOf(RowSchema::Criteo(1, 2)), 0.5, false),
              "rows: 2 without a label, s: 0.5, rows/s: 4\n");
}

TEST(tally, the_oov_rate_of_a_multi_valued_column_is_that_of_its_values) {
  Manifest manifest;
  manifest.rows.columns = {{"tags", Kind::kMultiValued, {}, '|', 5}};
  manifest.training_rates = {{"tags", {0.5, 0.0}}};
  Tally tally;
  tally.rows = 200;
  tally.missing = {100};
  tally.oov = {300};
  tally.value_counts = {600};
  CHECK_EQUAL(DescribeTally(tally, manifest, 1, true),
              "rows: 200 with a label, s: 1.0, rows/s: 200\n"
              "warning: rates that differ most from the training rows': tags OOV 0.500 instead of 0.000\n");
}

TEST(tally, without_rows_there_are_no_rates) {
  CHECK_EQUAL(DescribeTally(Tally(), ExampleManifestOf(RowSchema::Criteo(1, 2)), 0, {}), "rows: 0, s: 0.0, rows/s: 0\n");
}

TEST(tally, sums_keep_the_first_malformed_line) {
  Tally sum;
  Tally later = ExampleTally();
  later.first_malformed = 9;
  later.fault = "line 9 is empty";
  sum.Add(later);
  sum.Add(ExampleTally());
  sum.Add(Tally());
  CHECK_EQUAL(sum.rows, 400U);
  CHECK_EQUAL(sum.MalformedCount(), 8U);
  CHECK_EQUAL(sum.fault, "line 7 is empty");
  CHECK_EQUAL((sum.oov == std::vector<uint64_t>{0, 300, 42}), true);
}
