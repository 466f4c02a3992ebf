// SPDX-License-Identifier: Apache-2.0
#include "recalibration.h"

#include <cmath>

#include "harness.h"

TEST(recalibration, without_knots_a_probability_stays) {
  CHECK_EQUAL(Recalibration().Apply(0.0F), 0.0F);
  CHECK_EQUAL(Recalibration().Apply(0.3F), 0.3F);
}

TEST(recalibration, the_logit_is_mapped_piece_by_piece_and_beyond_the_ends) {
  const Recalibration map({-1.0, 1.0, 3.0}, {-2.0, 0.0, 1.0}, "r");
  const auto expected = [](double target) { return static_cast<float>(1 / (1 + std::exp(-target))); };
  const auto near = [](float found, float wanted) { return std::fabs(found - wanted) <= 1e-6F; };
  CHECK_EQUAL(near(map.Apply(0.5F), expected(-1.0)), true);                          // a logit of 0
  CHECK_EQUAL(near(map.Apply(expected(2.0)), expected(0.5)), true);                  // in the second piece
  CHECK_EQUAL(near(map.Apply(expected(-4.0)), expected(-5.0)), true);                // with the first slope, 1
  CHECK_EQUAL(near(map.Apply(expected(5.0)), expected(2.0)), true);                  // with the last slope, 1/2
  CHECK_EQUAL(near(map.Apply(0.0F), expected(std::log(1e-7) - std::log1p(-1e-7) - 1)), true);  // clipped
  CHECK_EQUAL(near(map.Apply(1.0F), map.Apply(std::nextafter(1.0F, 0.0F))), true);
}

TEST(recalibration, other_knots_are_refused) {
  const std::string rule = "r: must have two or more logits and as many targets, finite and strictly increasing";
  CHECK_ERROR(Recalibration({}, {}, "r"), rule);
  CHECK_ERROR(Recalibration({1.0}, {1.0}, "r"), rule);
  CHECK_ERROR(Recalibration({0.0, 1.0}, {0.0, 1.0, 2.0}, "r"), rule);
  CHECK_ERROR(Recalibration({0.0, 0.0}, {0.0, 1.0}, "r"), rule);
  CHECK_ERROR(Recalibration({0.0, 1.0}, {1.0, 0.0}, "r"), rule);
  CHECK_ERROR(Recalibration({0.0, std::nan("")}, {0.0, 1.0}, "r"), rule);
  CHECK_ERROR(Recalibration({0.0, 1e-300}, {0.0, 1e300}, "r"), "r: two knots are too close to each other");
}
