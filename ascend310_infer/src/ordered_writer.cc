// SPDX-License-Identifier: Apache-2.0
#include "ordered_writer.h"

#include <utility>

bool OrderedWriter::Write(size_t number, std::string text, std::exception_ptr error) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return error_ || number < next_ + window_; });
  parts_[number] = {std::move(text), std::move(error)};
  while (!error_ && !parts_.empty() && parts_.begin()->first == next_) {
    WritePart(parts_.begin()->second);
    parts_.erase(parts_.begin());
    ++next_;
  }
  changed_.notify_all();
  return !error_;
}

void OrderedWriter::WritePart(const Part &part) {
  try {
    output_->Write(part.text);
    error_ = part.error;
  } catch (...) {
    error_ = std::current_exception();
  }
}

void OrderedWriter::ThrowError() {
  if (error_) {
    std::rethrow_exception(error_);
  }
}
