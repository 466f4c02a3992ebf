// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "encoder.h"
#include "recalibration.h"
#include "row_schema.h"

// A file of a package.
struct ListedFile {
  uint64_t bytes;
  std::string sha256;
};

// The rates of a column in the training rows; no OOV rate for a column that has no vocabulary.
struct TrainingRates {
  double missing;
  std::optional<double> oov;
};

// What this program needs of a package.json.
struct Manifest {
  RowSchema rows;
  DenseEncoding encoding;
  std::vector<DenseScale> scales;
  std::vector<std::string> sparse_fields;  // the numbers if they have buckets, then the other columns
  int64_t vocabulary_size = 0;
  std::string vocabulary_sha256;
  std::string data_identity;                // a SHA-256
  std::map<std::string, std::string> data;  // what it is made of: texts, and other values as JSON without spaces
  Recalibration recalibration;
  std::map<std::string, TrainingRates> training_rates;  // by column
  size_t batch_rows = 0;  // of the MindIR
  std::map<std::string, ListedFile> files;

  // The names of the fields in the vocabulary: the sparse ones, without categories that are ids.
  std::vector<std::string> VocabularyFields() const;
};

// Parses a package.json.  Throws Error, with the key, for one that is not JSON, of a newer format, or has a wrong value
// or values that contradict each other.  where: its path, for messages.
Manifest ParseManifest(std::string_view text, const std::string &where);

// Returns a JSON text without spaces between its parts; nothing if it is none, or is nested too deeply.
std::optional<std::string> CompactJson(std::string_view text);
