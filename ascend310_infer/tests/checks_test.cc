// SPDX-License-Identifier: Apache-2.0
#include "checks.h"

#include <limits>

#include "harness.h"

namespace {

template <typename Number>
std::vector<char> BytesOf(const std::vector<Number> &numbers) {
  const std::string bytes = Bytes(numbers);
  return {bytes.begin(), bytes.end()};
}

}  // namespace

TEST(checks, ids_of_the_table_pass) {
  CheckIds("a.bin", BytesOf<int32_t>({0, 19, 7, 19}), 2, 20);
  constexpr int32_t largest = std::numeric_limits<int32_t>::max();
  CheckIds("a.bin", BytesOf<int32_t>({largest}), 1, int64_t{largest} + 1);
}

TEST(checks, the_first_id_outside_the_table_is_named_with_row_and_column) {
  const auto check = [](int32_t id) { CheckIds("ids/a.bin", BytesOf<int32_t>({0, 1, 2, 3, id, -5}), 3, 20); };
  CHECK_ERROR(check(20), "ids/a.bin: row 2, column 2: the id 20 is not one of the 20 ids of the model's table");
  CHECK_ERROR(check(-1), "row 2, column 2: the id -1 is not");
  CHECK_ERROR(check(std::numeric_limits<int32_t>::max()), "row 2, column 2: the id 2147483647 is not");
  CHECK_ERROR(check(std::numeric_limits<int32_t>::min()), "row 2, column 2: the id -2147483648 is not");
  CHECK_ERROR(check(19), "row 2, column 3: the id -5 is not");
}

TEST(checks, finite_dense_values_pass) {
  CheckDenseValues("a.bin", BytesOf<float>({0.0F, -1.5F, 3e38F, 1e-45F}), 2);
}

TEST(checks, the_first_dense_value_that_is_not_finite_is_named_with_row_and_column) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const auto check = [](float value) { CheckDenseValues("a.bin", BytesOf<float>({0, 1, value, 3, infinity}), 1); };
  CHECK_ERROR(check(std::numeric_limits<float>::quiet_NaN()),
              "a.bin: row 3, column 1: the dense value nan is not finite");
  CHECK_ERROR(check(infinity), "row 3, column 1: the dense value inf is not finite");
  CHECK_ERROR(check(-infinity), "row 3, column 1: the dense value -inf is not finite");
  CHECK_ERROR(check(2), "row 5, column 1: the dense value inf is not finite");
}
