// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

// A map of click probabilities to recalibrated ones, strictly increasing and piecewise linear in the logit, as
// src/evaluation/recalibration.py computes it.
class Recalibration {
 public:
  // The identity.
  Recalibration() = default;
  // Takes the logit logits[k] to targets[k], also a logit.  Throws Error unless there are two knots or more, finite and
  // strictly increasing.  where: their name for messages.
  Recalibration(std::vector<double> logits, std::vector<double> targets, const std::string &where);

  float Apply(float probability) const;

 private:
  std::vector<double> logits_;
  std::vector<double> targets_;
  std::vector<double> slopes_;  // of the pieces between the knots; those at the ends continue beyond them
};
