// SPDX-License-Identifier: Apache-2.0
#include "timing.h"

#include "harness.h"

TEST(timing, mean_percentiles_and_throughput_are_those_worked_by_hand) {
  // Sorted: 1, 2, 3, 4, 10; their sum is 20 ms.  Half of 5 is 2.5, so p50 is the third value; p90 and p99 the fifth.
  // 9 rows in 20 ms are 450 rows/s.
  CHECK_EQUAL(DescribeTimes({10, 1, 4, 2, 3}, 2, 9),
              "batches of 2 rows: 5, ms each: mean 4.000, p50 3.000, p90 10.000, p99 10.000; rows/s 450");
}

TEST(timing, percentiles_are_values_of_the_sample) {
  // Of 1, 2 ... 200 the p50 is the 100th, the p90 the 180th and the p99 the 198th; the mean is 201 / 2.
  std::vector<double> milliseconds;
  for (int value = 200; value >= 1; --value) {
    milliseconds.push_back(value);
  }
  CHECK_EQUAL(DescribeTimes(milliseconds, 1, 201),
              "batches of 1 rows: 200, ms each: mean 100.500, p50 100.000, p90 180.000, p99 198.000; rows/s 10");
}

TEST(timing, a_single_batch_is_its_own_percentile) {
  CHECK_EQUAL(DescribeTimes({0.25}, 1000, 10),
              "batches of 1000 rows: 1, ms each: mean 0.250, p50 0.250, p90 0.250, p99 0.250; rows/s 40000");
}
