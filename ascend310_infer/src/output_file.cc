// SPDX-License-Identifier: Apache-2.0
#include "output_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "error.h"

namespace fs = std::filesystem;

OutputFile::OutputFile(const fs::path &path) : path_(path), descriptor_(STDOUT_FILENO) {
  if (path.empty()) {
    return;
  }
  if (!fs::exists(path) || fs::is_regular_file(path)) {
    partial_ = path;
    partial_ += ".partial";
  }
  const fs::path &opened = partial_.empty() ? path_ : partial_;
  descriptor_ = open(opened.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor_ < 0) {
    throw Error(Text("--output_path=", path.string(), ": cannot be written (", std::strerror(errno), ")"));
  }
}

OutputFile::~OutputFile() {
  if (path_.empty()) {
    return;
  }
  if (descriptor_ >= 0) {
    close(descriptor_);
  }
  if (!partial_.empty()) {
    std::error_code ignored;
    fs::remove(partial_, ignored);
  }
}

void OutputFile::Write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = write(descriptor_, text.data(), text.size());
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      ThrowWriteError();
    }
    text.remove_prefix(static_cast<size_t>(count));
  }
}

void OutputFile::Commit() {
  if (!path_.empty() && close(std::exchange(descriptor_, -1)) != 0) {  // network file systems report a full disk here
    ThrowWriteError();
  }
  if (!partial_.empty()) {
    fs::rename(partial_, path_);
    partial_.clear();
  }
}

void OutputFile::ThrowWriteError() const {
  throw Error(Text(path_.empty() ? "stdout" : path_.string(), ": cannot be written (", std::strerror(errno), ")"));
}
