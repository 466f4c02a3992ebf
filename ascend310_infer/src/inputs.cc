// SPDX-License-Identifier: Apache-2.0
#include "inputs.h"

#include <filesystem>
#include <set>

#include "checks.h"
#include "error.h"
#include "files.h"

namespace fs = std::filesystem;

namespace {

constexpr size_t kValueBytes = 4;  // of an int32 and of a float32

// Throws Error if a folder has the name that preprocess.py gives to other contents: rows of labels or of the other
// input may have the same size.
void CheckFolderName(const char *flag, const std::string &folder, const std::string &expected) {
  const fs::path path = fs::canonical(folder);
  for (const std::string name : {"00_sparse_ids", "01_dense_values", "02_labels"}) {
    if (path.filename() == name && name != expected) {
      throw Error(Text(flag, "=", folder, ": must be the folder ", expected, ", not ", name));
    }
  }
}

}  // namespace

InputFolders::InputFolders(const std::string &sparse_ids, const std::string &dense_values)
    : folders_{sparse_ids}, file_names_(ListBinFiles(sparse_ids)) {
  CheckFolderName("--input0_path", sparse_ids, "00_sparse_ids");
  if (!dense_values.empty()) {
    folders_.push_back(dense_values);
    if (ListBinFiles(dense_values) != file_names_) {
      throw Error(Text(sparse_ids, " and ", dense_values, " must hold files of the same names"));
    }
    CheckFolderName("--input1_path", dense_values, "01_dense_values");
  }
}

void InputFolders::CheckData(const std::string &model_path, const Metadata &model) const {
  std::set<fs::path> parents;
  for (const auto &folder : folders_) {
    parents.insert(fs::canonical(folder).parent_path());
  }
  for (const auto &parent : parents) {
    CheckSameData(model_path, model, parent.string(), ReadFolderMetadata(parent));
  }
}

Rows InputFolders::Read(const std::string &name, const std::vector<size_t> &row_bytes, int64_t vocabulary_size) const {
  Rows rows;
  for (size_t input = 0; input < folders_.size(); ++input) {
    const fs::path path = fs::path(folders_[input]) / name;
    const std::vector<char> &bytes = rows.inputs.emplace_back(ReadRows(path, row_bytes[input]));
    const size_t count = bytes.size() / row_bytes[input];
    const size_t width = row_bytes[input] / kValueBytes;
    if (input == 0) {
      rows.count = count;
      CheckIds(path, bytes, width, vocabulary_size);
      continue;
    }
    if (count != rows.count) {
      throw Error(Text(path.string(), " holds ", count, " rows, the file of the same name in ", folders_[0], " holds ",
                       rows.count));
    }
    CheckDenseValues(path, bytes, width);
  }
  return rows;
}
