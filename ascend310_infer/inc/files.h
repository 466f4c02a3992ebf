// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

// Returns the names of the .bin files in a folder, sorted.  Throws Error if there are none.
std::vector<std::string> ListBinFiles(const std::filesystem::path &folder);

// Reads a complete file of rows of row_bytes bytes each.  Throws Error if it is empty or ends within a row.
std::vector<char> ReadRows(const std::filesystem::path &path, size_t row_bytes);

// A folder that is written under a temporary name; Commit replaces the folder `path` by it.  Without Commit it is
// removed.
class OutputFolder {
 public:
  explicit OutputFolder(std::filesystem::path path);
  ~OutputFolder();
  OutputFolder(const OutputFolder &) = delete;
  OutputFolder &operator=(const OutputFolder &) = delete;

  // The temporary path of the folder.
  const std::filesystem::path &Partial() const { return partial_; }
  void Write(const std::string &name, const std::vector<float> &values) const;
  void Commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path partial_;
};
