// SPDX-License-Identifier: Apache-2.0
#include "files.h"

#include <algorithm>
#include <fstream>
#include <utility>

#include "error.h"

namespace fs = std::filesystem;

std::vector<std::string> ListBinFiles(const fs::path &folder) {
  if (!fs::is_directory(folder)) {
    throw Error(Text(folder.string(), ": no such folder"));
  }
  std::vector<std::string> names;
  for (const auto &entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file() && entry.path().extension() == ".bin") {
      names.push_back(entry.path().filename().string());
    }
  }
  if (names.empty()) {
    throw Error(Text(folder.string(), " holds no .bin file; preprocess.py writes them"));
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<char> ReadRows(const fs::path &path, size_t row_bytes) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw Error(Text(path.string(), ": cannot be read"));
  }
  std::vector<char> bytes(fs::file_size(path));
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (static_cast<size_t>(file.gcount()) != bytes.size()) {
    throw Error(Text(path.string(), ": cannot be read to its end"));
  }
  if (bytes.empty() || bytes.size() % row_bytes != 0) {
    throw Error(Text(path.string(), " holds ", bytes.size(), " bytes; a row of the model's input has ", row_bytes));
  }
  return bytes;
}

OutputFolder::OutputFolder(fs::path path) : path_(std::move(path)), partial_(path_) {
  if (!partial_.has_filename()) {  // the path ends with a slash
    path_ = partial_ = path_.parent_path();
  }
  partial_ += ".partial";
  fs::remove_all(partial_);
  fs::create_directories(partial_);
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  fs::remove_all(partial_, ignored);
}

void OutputFolder::Write(const std::string &name, const std::vector<float> &values) const {
  const fs::path path = partial_ / name;
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char *>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(float)));
  file.close();
  if (!file) {
    throw Error(Text(path.string(), ": cannot be written; is the disk full?"));
  }
}

void OutputFolder::Commit() {
  fs::remove_all(path_);
  fs::rename(partial_, path_);
}
