// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "line_buffer.h"
#include "line_form.h"
#include "row_schema.h"

// Some lines of the input.
struct Chunk {
  std::string text;
  size_t number = 0;      // of the chunk, from 0
  size_t first_row = 0;   // of the input, from 1
  size_t first_line = 0;  // of the input, from 1: a header comes before the rows
  std::shared_ptr<const LineForm> form;
};

// Reads lines from a file descriptor that its owner closes, in chunks of chunk_lines lines.
//
// A file gives chunks of exactly so many lines, except the last one and those of very long lines, and its first 1,000
// lines tell whether its rows have labels, as HaveLabels does.  A stream (a pipe, a socket, a terminal) gives the lines
// that have arrived within max_delay, and its first line that has the columns of a row with or without a label decides.
// A header, if the schema has one, comes before all of this and tells it instead.
class RowReader {
 public:
  // name: of the input, for messages.
  RowReader(int descriptor, std::string name, const RowSchema &schema, size_t chunk_lines,
            std::chrono::milliseconds max_delay);
  ~RowReader();
  RowReader(const RowReader &) = delete;
  RowReader &operator=(const RowReader &) = delete;

  // Reads the next chunk, waiting for its first line; false at the end.  Throws Error if the input cannot be read, or has
  // a line that no memory should be spent on, or no header where one must be; the chunk then has its number.
  bool Read(Chunk *chunk);
  // Makes Read return false from now on, also where it waits in another thread.
  void Stop();

  // Tells whether the rows have labels; nothing as long as this is not known.
  std::optional<bool> HaveLabels() const { return form_ ? std::optional(form_->has_label) : std::nullopt; }

 private:
  using Clock = std::chrono::steady_clock;

  bool Wait(std::optional<Clock::time_point> deadline);
  void ReadMore();
  void Fill(const LineBuffer::Limit &limit);
  void FillFromStream();
  void TakeHeader();
  void DetectLabels(std::string_view lines);
  void DetectLabelsOfFile();
  void DetectLabelsOfStream(std::string_view lines);

  int descriptor_;
  std::string name_;
  RowSchema schema_;
  LineBuffer::Limit chunk_limit_;
  std::chrono::milliseconds max_delay_;
  bool is_stream_;
  int stop_pipe_[2];
  LineBuffer buffer_;
  bool is_at_end_ = false;
  bool is_stopped_ = false;
  size_t chunks_ = 0;
  size_t rows_ = 0;
  size_t header_lines_ = 0;
  std::shared_ptr<const LineForm> labelled_;
  std::shared_ptr<const LineForm> form_;  // null as long as it is not known
};
