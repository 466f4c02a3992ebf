// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "encoder.h"
#include "on_bad_row.h"
#include "output_file.h"
#include "recalibration.h"
#include "row_reader.h"
#include "tally.h"

// From lines to scores.
struct Scorer {
  const RowEncoder &encoder;
  const Recalibration &recalibration;
  // Returns the probability that the network gives each row; called by several threads at once.
  std::function<std::vector<float>(const EncodedLines &)> predict;
};

// Returns the recalibrated probabilities of rows without labels.  Throws Error for a malformed one; where: their path.
std::vector<float> ScoreText(const Scorer &scorer, std::string_view text, const std::string &where);

// Scores all lines of a reader in several threads; the output has the order of the lines.  Throws Error, behind the
// scores of the lines before, for the first line that cannot be scored.  name: of the input, for messages.
Tally ScoreRows(const Scorer &scorer, OnBadRow on_bad_row, size_t threads, const std::string &name, RowReader *reader,
                OutputFile *output);
