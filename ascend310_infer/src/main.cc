// SPDX-License-Identifier: Apache-2.0
// From .bin files of sparse ids and dense values to .bin files of click probabilities, by an exported DeepFM.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <set>

#include "checks.h"
#include "error.h"
#include "files.h"
#include "metadata.h"
#include "model.h"
#include "options.h"
#include "timing.h"

namespace {

using Clock = std::chrono::steady_clock;

std::vector<std::string> Folders(const Options &options) {
  std::vector<std::string> folders = {options.input0_path};
  if (!options.input1_path.empty()) {
    folders.push_back(options.input1_path);
  }
  return folders;
}

// Throws Error if a folder has the name that preprocess.py gives to other contents: labels or the other input may have
// rows of the same size.
void CheckFolderName(const char *flag, const std::string &folder, const std::string &wanted) {
  const std::filesystem::path path = std::filesystem::canonical(folder);
  for (const std::string name : {"00_sparse_ids", "01_dense_values", "02_labels"}) {
    if (path.filename() == name && name != wanted) {
      throw Error(Text(flag, "=", folder, ": must be the folder ", wanted, ", not ", name));
    }
  }
}

// Throws Error if the inputs are of other data than the model.
void CheckInputs(const Options &options, const std::vector<std::string> &folders, const Metadata &metadata) {
  CheckFolderName("--input0_path", folders[0], "00_sparse_ids");
  std::set<std::filesystem::path> parents;
  for (const auto &folder : folders) {
    parents.insert(std::filesystem::canonical(folder).parent_path());
  }
  if (folders.size() > 1) {
    CheckFolderName("--input1_path", folders[1], "01_dense_values");
  }
  for (const auto &parent : parents) {
    CheckSameData(options.mindir_path, metadata, parent.string(), ReadFolderMetadata(parent));
  }
}

// Reads one file of each folder; throws Error unless they hold rows that the model knows, the same number of them,
// which is returned.
size_t ReadInputs(const std::vector<std::string> &folders, const std::string &name, const DeepFmModel &model,
                  int64_t vocabulary_size, std::vector<std::vector<char>> *inputs) {
  inputs->clear();
  size_t rows = 0;
  for (size_t place = 0; place < folders.size(); ++place) {
    const auto path = std::filesystem::path(folders[place]) / name;
    inputs->push_back(ReadRows(path, model.RowBytes()[place]));
    const size_t own_rows = inputs->back().size() / model.RowBytes()[place];
    if (place > 0 && own_rows != rows) {
      throw Error(Text(path.string(), " holds ", own_rows, " rows, the file of that name in ", folders[0], " ", rows));
    }
    const size_t width = model.RowBytes()[place] / 4;
    if (place == 0) {
      CheckIds(path, inputs->back(), width, vocabulary_size);
    } else {
      CheckDenseValues(path, inputs->back(), width);
    }
    rows = own_rows;
  }
  return rows;
}

// Predicts the rows of one set of inputs, batch by batch; adds the milliseconds of each batch.
std::vector<float> PredictRows(const std::vector<std::vector<char>> &inputs, size_t rows, DeepFmModel *model,
                               std::vector<double> *milliseconds) {
  std::vector<float> probabilities;
  for (size_t start = 0; start < rows; start += model->BatchRows()) {
    std::vector<const char *> data;
    for (size_t place = 0; place < inputs.size(); ++place) {
      data.push_back(inputs[place].data() + start * model->RowBytes()[place]);
    }
    const auto begin = Clock::now();
    const auto part = model->Predict(data, std::min(model->BatchRows(), rows - start));
    milliseconds->push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
    probabilities.insert(probabilities.end(), part.begin(), part.end());
  }
  return probabilities;
}

void WarmUp(const Options &options, DeepFmModel *model) {
  std::vector<std::vector<char>> zeros;
  for (const size_t row_bytes : model->RowBytes()) {
    zeros.emplace_back(model->BatchRows() * row_bytes);
  }
  std::vector<double> ignored;
  for (int batch = 0; batch < options.warmup; ++batch) {
    PredictRows(zeros, model->BatchRows(), model, &ignored);
  }
}

// On a terminal says how many files are done, and takes that back in the end.
class FileCounter {
 public:
  explicit FileCounter(size_t total) : total_(total), shows_(isatty(STDERR_FILENO) != 0) {}
  ~FileCounter() {
    if (shows_) {
      std::cerr << "\r\033[K" << std::flush;
    }
  }
  FileCounter(const FileCounter &) = delete;
  FileCounter &operator=(const FileCounter &) = delete;

  void Advance() {
    ++done_;
    if (shows_) {
      std::cerr << "\rpredict: " << done_ << " of " << total_ << " files" << std::flush;
    }
  }

 private:
  size_t total_;
  size_t done_ = 0;
  bool shows_;
};

void Run(const Options &options) {
  const auto folders = Folders(options);
  const auto names = ListBinFiles(folders[0]);
  if (folders.size() > 1 && ListBinFiles(folders[1]) != names) {
    throw Error(Text(folders[0], " and ", folders[1], " must hold files of the same names"));
  }
  const Metadata metadata = ReadModelMetadata(options.mindir_path);
  const int64_t vocabulary_size = VocabularySize(metadata);
  DeepFmModel model(options);
  CheckInputs(options, folders, metadata);
  OutputFolder output(options.output_path);
  WarmUp(options, &model);
  std::vector<double> milliseconds;
  std::vector<std::vector<char>> inputs;
  size_t rows = 0;
  FileCounter counter(names.size());
  for (const auto &name : names) {
    const size_t own_rows = ReadInputs(folders, name, model, vocabulary_size, &inputs);
    output.Write(name, PredictRows(inputs, own_rows, &model, &milliseconds));
    rows += own_rows;
    counter.Advance();
  }
  if (!metadata.empty()) {
    WriteFolderMetadata(output.Partial(), metadata);
  }
  output.Commit();
  std::cout << "rows: " << rows << ", files: " << names.size() << "\n"
            << DescribeTimes(milliseconds, model.BatchRows(), rows) << std::endl;
}

// MindSpore Lite logs to stderr unless the environment says otherwise before the program starts; so it starts again.
void SilenceRuntime(char **argv) {
  if (std::getenv("GLOG_v") == nullptr) {
    setenv("GLOG_v", "4", 1);
    execv("/proc/self/exe", argv);
  }
}

}  // namespace

int main(int argc, char **argv) {
  SilenceRuntime(argv);
  try {
    const Options options = ParseOptions(argc, argv);
    if (options.help) {
      std::cout << kUsage;
      return 0;
    }
    Run(options);
  } catch (const std::exception &error) {
    std::cerr << "error: " << error.what() << std::endl;
    return 2;
  }
  return 0;
}
