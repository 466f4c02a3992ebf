// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string_view>

// A file that is written as NAME.partial; Commit gives it its name.  Without Commit it is removed, and an earlier file
// stays.  A signal that ends the program leaves NAME.partial, which the next run replaces.  What is no regular file, as
// /dev/null or a pipe, is written as it is.
class OutputFile {
 public:
  // path: empty for stdout.  Throws Error if the file cannot be written.
  explicit OutputFile(const std::filesystem::path &path);
  ~OutputFile();
  OutputFile(const OutputFile &) = delete;
  OutputFile &operator=(const OutputFile &) = delete;

  // Writes text at once, without a buffer.
  void Write(std::string_view text);
  // Closes the file and gives it its name.  Throws Error if its end cannot be written.
  void Commit();

 private:
  [[noreturn]] void ThrowWriteError() const;

  std::filesystem::path path_;
  std::filesystem::path partial_;  // empty if the file is written as it is
  int descriptor_;  // -1 after Commit
};
