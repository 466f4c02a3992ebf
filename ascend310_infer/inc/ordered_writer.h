// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstddef>
#include <exception>
#include <map>
#include <mutex>
#include <string>

#include "output_file.h"

// Writes parts in the order of their numbers, from 0, whatever the order in which threads hand them over.  It keeps at
// most `window` parts that wait for an earlier one.
class OrderedWriter {
 public:
  OrderedWriter(OutputFile *output, size_t window) : output_(output), window_(window) {}

  // Hands over a part: a text and, unless it is null, an error behind it, which ends the output.  Waits while the part
  // is too far ahead.  Returns false if nothing more will be written.
  bool Write(size_t number, std::string text, std::exception_ptr error);
  // Throws the error that ended the output, if there is one.
  void ThrowError();

 private:
  struct Part {
    std::string text;
    std::exception_ptr error;
  };

  void WritePart(const Part &part);

  OutputFile *output_;
  size_t window_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<size_t, Part> parts_;
  size_t next_ = 0;
  std::exception_ptr error_;
};
