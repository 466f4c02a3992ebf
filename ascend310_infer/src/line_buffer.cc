// SPDX-License-Identifier: Apache-2.0
#include "line_buffer.h"

char *LineBuffer::Room(size_t bytes) {
  if (end_ + bytes > bytes_.size()) {
    bytes_.erase(0, begin_);
    end_ -= begin_;
    lines_end_ -= begin_;
    searched_end_ -= begin_;
    begin_ = 0;
    if (end_ + bytes > bytes_.size()) {
      bytes_.resize(2 * end_ + bytes);
    }
  }
  return bytes_.data() + end_;
}

void LineBuffer::Added(size_t bytes) { end_ += bytes; }

bool LineBuffer::Find(const Limit &limit) {
  while (line_count_ < limit.lines && lines_end_ - begin_ < limit.bytes) {
    const size_t newline = std::string_view(bytes_).substr(0, end_).find('\n', searched_end_);
    if (newline == std::string_view::npos) {
      searched_end_ = end_;
      return false;
    }
    lines_end_ = searched_end_ = newline + 1;
    ++line_count_;
  }
  return true;
}

void LineBuffer::Rewind() {
  lines_end_ = searched_end_ = begin_;
  line_count_ = 0;
}

void LineBuffer::Drop(size_t bytes) {
  begin_ += bytes;
  Rewind();
}
