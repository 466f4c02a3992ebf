// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "encoder.h"
#include "manifest.h"

// A model package, the folder that export.py --file_format=PACKAGE writes, with all files verified.
struct Package {
  Manifest manifest;
  RowEncoder encoder;
  std::filesystem::path mindir_path;
  std::string golden_rows;            // text of raw rows without labels
  std::vector<double> golden_scores;  // their probabilities, recalibrated
};

// Reads a package.  Throws Error unless each file that package.json lists is a file of the folder with its size and
// SHA-256, the vocabulary is that of package.json, and the MindIR has its data identity.
Package ReadPackage(const std::filesystem::path &folder);

// Returns the encoder of a manifest and the text of a vocabulary.tsv.  where: the path of the text, for messages.
RowEncoder MakeEncoder(const Manifest &manifest, std::string_view vocabulary, const std::string &where);
