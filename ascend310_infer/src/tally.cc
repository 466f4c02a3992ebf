// SPDX-License-Identifier: Apache-2.0
#include "tally.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <sstream>

namespace {

// As in src/scoring/field_tally.py:
constexpr double kDrift = 0.05;   // difference of a rate from that of the training rows that is worth a warning,
constexpr double kChance = 1e-5;  // if chance explains it with less than this probability
constexpr double kRarest = 1e-3;  // rate that counts as expected where the training rows have none
constexpr size_t kMostDifferences = 3;

// A rate of a column that differs from that of the training rows.
struct Difference {
  std::string name;
  double found;
  double expected;

  double Size() const { return std::fabs(found - expected); }
};

template <typename Count>
void AddCounts(const std::vector<Count> &counts, std::vector<uint64_t> *sums) {
  sums->resize(std::max(sums->size(), counts.size()));
  for (size_t index = 0; index < counts.size(); ++index) {
    (*sums)[index] += counts[index];
  }
}

// Returns a term of the divergence of two rates.
double DivergenceTerm(double rate, double expected) { return rate > 0 ? rate * std::log(rate / expected) : 0; }

// Returns the largest differences that are drift.
std::vector<Difference> FindDifferences(const Tally &tally, const Manifest &manifest) {
  std::vector<Difference> differences;
  const auto add = [&](const std::string &name, uint64_t count, uint64_t all, double expected) {
    const Difference difference = {name, static_cast<double>(count) / static_cast<double>(all), expected};
    if (IsDrift(difference.found, expected, all)) {
      differences.push_back(difference);
    }
  };
  for (size_t column = 0; column < tally.missing.size() && tally.rows > 0; ++column) {
    const std::string &name = manifest.rows.columns[column].name;
    if (const auto rates = manifest.training_rates.find(name); rates != manifest.training_rates.end()) {
      add(name + " missing", tally.missing[column], tally.rows, rates->second.missing);
      if (rates->second.oov) {
        add(name + " OOV", tally.oov[column], tally.value_counts[column], *rates->second.oov);
      }
    }
  }
  std::stable_sort(differences.begin(), differences.end(),
                   [](const auto &one, const auto &other) { return one.Size() > other.Size(); });
  differences.resize(std::min(differences.size(), kMostDifferences));
  return differences;
}

}  // namespace

bool IsDrift(double rate, double expected, uint64_t rows) {
  if (std::fabs(rate - expected) <= kDrift) {
    return false;
  }
  expected = std::clamp(expected, kRarest, 1 - kRarest);
  const double divergence = DivergenceTerm(rate, expected) + DivergenceTerm(1 - rate, 1 - expected);
  return static_cast<double>(rows) * divergence > -std::log(kChance);
}

uint64_t Tally::MalformedCount() const {
  uint64_t count = 0;
  for (const uint64_t of_reason : malformed) {
    count += of_reason;
  }
  return count;
}

void Tally::Add(const EncodedLines &lines) {
  rows += lines.rows;
  for (const Reason reason : lines.reasons) {
    malformed[static_cast<size_t>(reason)] += reason == Reason::kNone ? 0 : 1;
  }
  AddCounts(lines.missing, &missing);
  AddCounts(lines.oov, &oov);
  AddCounts(lines.value_counts, &value_counts);
}

void Tally::Add(const Tally &other) {
  rows += other.rows;
  for (size_t reason = 0; reason < kReasonCount; ++reason) {
    malformed[reason] += other.malformed[reason];
  }
  if (other.first_malformed != 0 && (first_malformed == 0 || other.first_malformed < first_malformed)) {
    first_malformed = other.first_malformed;
    fault = other.fault;
  }
  AddCounts(other.missing, &missing);
  AddCounts(other.oov, &oov);
  AddCounts(other.value_counts, &value_counts);
}

std::string DescribeTally(const Tally &tally, const Manifest &manifest, double seconds,
                          std::optional<bool> have_labels) {
  std::ostringstream text;
  text << std::fixed << "rows: " << tally.rows;
  if (have_labels) {
    text << (*have_labels ? " with a label" : " without a label");
  }
  text << std::setprecision(1) << ", s: " << seconds << std::setprecision(0)
       << ", rows/s: " << static_cast<double>(tally.rows) / std::max(seconds, 1e-9) << "\n";
  if (tally.first_malformed != 0) {
    text << "malformed: " << tally.MalformedCount() << " (";
    const char *separator = "";
    for (size_t reason = 0; reason < kReasonCount; ++reason) {
      if (tally.malformed[reason] > 0) {
        text << separator << tally.malformed[reason] << " " << kReasonNames[reason];
        separator = ", ";
      }
    }
    text << "); " << tally.fault << "\n";
  }
  const auto differences = FindDifferences(tally, manifest);
  if (!differences.empty()) {
    text << std::setprecision(3) << "warning: rates that differ most from the training rows':";
    const char *separator = " ";
    for (const auto &[name, found, expected] : differences) {
      text << separator << name << " " << found << " instead of " << expected;
      separator = ", ";
    }
    text << "\n";
  }
  return text.str();
}
