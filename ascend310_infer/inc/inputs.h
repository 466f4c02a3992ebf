// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "metadata.h"

// Some rows of each input, in the order of InputFolders, as raw bytes.
struct Rows {
  std::vector<std::vector<char>> inputs;
  size_t count = 0;
};

// The folders of a model's inputs: sparse ids int32 [n, S] and, if the model takes them, dense values float32 [n, N].
// Both hold files of the same names.
class InputFolders {
 public:
  // dense_values: empty for a model that takes none.  Throws Error if a folder holds no .bin file or has the name that
  // preprocess.py gives to other contents, or if the names of the files differ.
  InputFolders(const std::string &sparse_ids, const std::string &dense_values);

  size_t Count() const { return folders_.size(); }
  const std::vector<std::string> &FileNames() const { return file_names_; }

  // Throws Error if the inputs are of other data than the model, as CheckSameData does.
  void CheckData(const std::string &model_path, const Metadata &model) const;

  // Reads the file of this name in each folder.  row_bytes: the bytes of a row of each input.  Throws Error unless the
  // files hold the same number of complete rows, with ids below vocabulary_size and finite dense values.
  Rows Read(const std::string &name, const std::vector<size_t> &row_bytes, int64_t vocabulary_size) const;

 private:
  std::vector<std::string> folders_;
  std::vector<std::string> file_names_;
};
