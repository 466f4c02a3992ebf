// SPDX-License-Identifier: Apache-2.0
#include "recalibration.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "error.h"

namespace {

constexpr double kProbabilityFloor = 1e-7;  // a probability is clipped so far from 0 and from 1

double LogitOf(float probability) {
  const double clipped = std::clamp(static_cast<double>(probability), kProbabilityFloor, 1 - kProbabilityFloor);
  return std::log(clipped) - std::log1p(-clipped);
}

bool AreKnots(const std::vector<double> &numbers) {
  return std::all_of(numbers.begin(), numbers.end(), [](double number) { return std::isfinite(number); }) &&
         std::adjacent_find(numbers.begin(), numbers.end(), std::greater_equal<>()) == numbers.end();
}

}  // namespace

Recalibration::Recalibration(std::vector<double> logits, std::vector<double> targets, const std::string &where)
    : logits_(std::move(logits)), targets_(std::move(targets)) {
  if (logits_.size() != targets_.size() || logits_.size() < 2 || !AreKnots(logits_) || !AreKnots(targets_)) {
    throw Error(Text(where, ": must have two or more logits and as many targets, finite and strictly increasing"));
  }
  for (size_t piece = 0; piece + 1 < logits_.size(); ++piece) {
    slopes_.push_back((targets_[piece + 1] - targets_[piece]) / (logits_[piece + 1] - logits_[piece]));
    if (!std::isfinite(slopes_.back()) || slopes_.back() <= 0) {
      throw Error(Text(where, ": two knots are too close to each other"));
    }
  }
}

float Recalibration::Apply(float probability) const {
  if (slopes_.empty()) {
    return probability;
  }
  const double logit = LogitOf(probability);
  // The number of knots at or below the logit, without the first and the last one, is the piece.
  const auto next = std::upper_bound(logits_.begin() + 1, logits_.end() - 1, logit);
  const auto piece = static_cast<size_t>(next - logits_.begin()) - 1;
  double target = targets_[piece] + slopes_[piece] * (logit - logits_[piece]);
  if (piece + 1 < slopes_.size()) {
    target = std::min(target, targets_[piece + 1]);  // a piece that ends higher by rounding would break the order
  }
  return static_cast<float>(1 / (1 + std::exp(-target)));
}
