// SPDX-License-Identifier: Apache-2.0
#include "row_reader.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "error.h"
#include "raw_rows.h"

namespace {

constexpr size_t kReadBytes = 1 << 16;
constexpr size_t kLongestLine = size_t{1} << 30;
constexpr size_t kChunkBytes = size_t{4} << 20;  // a chunk that has so many ends with that line
// The lines at the beginning of a file that tell whether its rows have labels.
constexpr LineBuffer::Limit kLabelLines = {1000, size_t{64} << 20};
constexpr LineBuffer::Limit kHeaderLine = {1, kLongestLine};

bool IsStream(int descriptor) {
  struct stat status = {};
  return fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode);
}

}  // namespace

RowReader::RowReader(int descriptor, std::string name, const RowSchema &schema, size_t chunk_lines,
                     std::chrono::milliseconds max_delay)
    : descriptor_(descriptor),
      name_(std::move(name)),
      schema_(schema),
      chunk_limit_{chunk_lines, kChunkBytes},
      max_delay_(max_delay),
      is_stream_(IsStream(descriptor)),
      labelled_(std::make_shared<LineForm>(FormOf(schema, true))) {
  if (pipe2(stop_pipe_, O_CLOEXEC) != 0) {
    throw Error(Text("no pipe can be made: ", std::strerror(errno)));
  }
}

RowReader::~RowReader() {
  close(stop_pipe_[0]);
  close(stop_pipe_[1]);
}

void RowReader::Stop() {
  const char byte = 0;
  [[maybe_unused]] const ssize_t written = write(stop_pipe_[1], &byte, 1);  // an empty pipe takes it
}

// Waits until there is something to read; false at the deadline, or if the reader is stopped.
bool RowReader::Wait(std::optional<Clock::time_point> deadline) {
  pollfd polled[] = {{descriptor_, POLLIN, 0}, {stop_pipe_[0], POLLIN, 0}};
  while (true) {
    int milliseconds = -1;
    if (deadline) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now());
      milliseconds = static_cast<int>(std::max<int64_t>(left.count(), 0));
    }
    const int ready = poll(polled, 2, milliseconds);
    if (ready < 0 && errno == EINTR) {
      continue;
    }
    is_stopped_ = is_stopped_ || polled[1].revents != 0;
    return ready != 0 && !is_stopped_;
  }
}

void RowReader::ReadMore() {
  if (buffer_.LineCount() == 0 && buffer_.All().size() > kLongestLine) {
    throw Error(Text(name_, " line ", header_lines_ + rows_ + 1, " is longer than ", kLongestLine,
                     " bytes; is this a text of rows?"));
  }
  ssize_t count = 0;
  do {
    count = read(descriptor_, buffer_.Room(kReadBytes), kReadBytes);
  } while (count < 0 && errno == EINTR);
  if (count < 0) {
    throw Error(Text(name_, ": cannot be read (", std::strerror(errno), ")"));
  }
  buffer_.Added(static_cast<size_t>(count));
  is_at_end_ = count == 0;
}

void RowReader::Fill(const LineBuffer::Limit &limit) {
  while (!buffer_.Find(limit) && !is_at_end_ && Wait({})) {
    ReadMore();
  }
}

void RowReader::FillFromStream() {
  std::optional<Clock::time_point> deadline;
  while (!buffer_.Find(chunk_limit_) && !is_at_end_) {
    if (buffer_.LineCount() > 0 && !deadline) {
      deadline = Clock::now() + max_delay_;
    }
    // Wait alone would never end where bytes keep arriving.
    if (!Wait(deadline) || (deadline && Clock::now() >= *deadline)) {
      return;
    }
    ReadMore();
  }
}

void RowReader::TakeHeader() {
  Fill(kHeaderLine);
  if (is_stopped_) {
    return;
  }
  const std::string_view line = buffer_.LineCount() > 0 ? buffer_.Lines() : buffer_.All();
  const bool has_end = buffer_.LineCount() > 0;
  form_ = std::make_shared<LineForm>(ReadHeader(line.substr(0, line.size() - (has_end ? 1 : 0)), schema_, name_));
  header_lines_ = 1;
  buffer_.Drop(line.size());
}

void RowReader::DetectLabels(std::string_view lines) {
  if (const std::optional<bool> have_labels = ::HaveLabels(lines, *labelled_)) {
    form_ = *have_labels ? labelled_ : std::make_shared<LineForm>(FormOf(schema_, false));
  }
}

void RowReader::DetectLabelsOfFile() {
  Fill(kLabelLines);
  const bool are_all = is_at_end_ && buffer_.LineCount() < kLabelLines.lines;
  DetectLabels(are_all ? buffer_.All() : buffer_.Lines());
  buffer_.Rewind();
}

void RowReader::DetectLabelsOfStream(std::string_view lines) {
  ForEachLine(lines, [&](std::string_view line) {
    if (!form_) {
      DetectLabels(line);
    }
  });
}

bool RowReader::Read(Chunk *chunk) {
  chunk->number = chunks_;
  if (schema_.text.has_header && !form_) {
    TakeHeader();
  }
  if (is_stream_) {
    FillFromStream();
  } else {
    if (chunks_ == 0 && !form_) {
      DetectLabelsOfFile();
    }
    Fill(chunk_limit_);
  }
  const bool is_last = is_at_end_ && !buffer_.Find(chunk_limit_);  // it may lack the newline of its last line
  const std::string_view lines = is_last ? buffer_.All() : buffer_.Lines();
  if (lines.empty() || is_stopped_) {
    return false;
  }
  if (is_stream_ && !form_) {
    DetectLabelsOfStream(lines);
  }
  chunk->text = lines;
  ++chunks_;
  chunk->first_row = rows_ + 1;
  chunk->first_line = header_lines_ + rows_ + 1;
  chunk->form = form_ ? form_ : labelled_;
  rows_ += buffer_.LineCount();
  buffer_.Drop(lines.size());
  return true;
}
