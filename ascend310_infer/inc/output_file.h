// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string_view>

// A file that is written under a temporary name; Commit gives it its name.  Without Commit it is removed, and an earlier
// file stays.  What is no regular file, as /dev/null or a pipe, is written as it is.
class OutputFile {
 public:
  // path: empty for stdout.  Throws Error if the file cannot be written.
  explicit OutputFile(const std::filesystem::path &path);
  ~OutputFile();
  OutputFile(const OutputFile &) = delete;
  OutputFile &operator=(const OutputFile &) = delete;

  // Writes text at once, without a buffer.
  void Write(std::string_view text);
  void Commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path partial_;  // empty if the file is written as it is
  int descriptor_;
};
