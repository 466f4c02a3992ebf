// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "encoder.h"
#include "manifest.h"
#include "row_schema.h"

// The counts of the rows that were scored.
struct Tally {
  uint64_t rows = 0;                                 // without the malformed ones
  std::array<uint64_t, kReasonCount> malformed = {};  // lines by reason
  size_t first_malformed = 0;                        // number of the line, from 1; 0 for none
  std::string fault;                                 // of that line, in words
  std::vector<uint64_t> missing;                     // by column
  std::vector<uint64_t> oov;                         // by column
  std::vector<uint64_t> value_counts;                // by column: of which oov are OOV

  uint64_t MalformedCount() const;
  void Add(const EncodedLines &lines);
  void Add(const Tally &other);
};

// Tells whether a rate of so many rows, or values, is far from that of the training rows, and not by chance, whose
// probability is at most exp(-rows * divergence) (Chernoff's bound).
bool IsDrift(double rate, double expected, uint64_t rows);

// Returns the summary for the user, in lines.  seconds: of all rows; have_labels: nothing if there was no row.
std::string DescribeTally(const Tally &tally, const Manifest &manifest, double seconds, std::optional<bool> have_labels);
