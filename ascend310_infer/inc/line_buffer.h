// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

// Bytes that have been read, from which complete lines are taken.
class LineBuffer {
 public:
  // Some complete lines at the beginning: up to `lines`, fewer if they have `bytes` bytes or more.
  struct Limit {
    size_t lines;
    size_t bytes;
  };

  // Returns room for so many bytes behind the others; Added tells how many have been written there.
  char *Room(size_t bytes);
  void Added(size_t bytes);

  // Finds lines up to a limit; returns whether it is reached.
  bool Find(const Limit &limit);
  // Forgets the lines that were found, but keeps their bytes.
  void Rewind();
  // Drops the bytes at the beginning, and with them the lines that were found.
  void Drop(size_t bytes);

  size_t LineCount() const { return line_count_; }
  // The lines that were found.
  std::string_view Lines() const { return All().substr(0, lines_end_ - begin_); }
  std::string_view All() const { return std::string_view(bytes_).substr(begin_, end_ - begin_); }

 private:
  std::string bytes_;
  size_t begin_ = 0;
  size_t end_ = 0;
  size_t lines_end_ = 0;
  size_t searched_end_ = 0;
  size_t line_count_ = 0;
};
