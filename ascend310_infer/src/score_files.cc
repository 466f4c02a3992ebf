// SPDX-License-Identifier: Apache-2.0
#include "score_files.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <iostream>

#include "error.h"
#include "files.h"
#include "inputs.h"
#include "metadata.h"
#include "model.h"
#include "timing.h"

namespace {

using Clock = std::chrono::steady_clock;

// Predicts rows batch by batch; appends the milliseconds of each batch.
std::vector<float> PredictRows(const Rows &rows, DeepFmModel *model, std::vector<double> *milliseconds) {
  std::vector<float> probabilities;
  for (size_t start = 0; start < rows.count; start += model->BatchRows()) {
    std::vector<const char *> batch;
    for (size_t input = 0; input < rows.inputs.size(); ++input) {
      batch.push_back(rows.inputs[input].data() + start * model->RowBytes()[input]);
    }
    const auto begin = Clock::now();
    const auto predicted = model->Predict(batch, std::min(model->BatchRows(), rows.count - start));
    milliseconds->push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
    probabilities.insert(probabilities.end(), predicted.begin(), predicted.end());
  }
  return probabilities;
}

// Predicts a number of batches of zeros before the timing starts.
void WarmUp(int batches, DeepFmModel *model) {
  Rows zeros;
  zeros.count = model->BatchRows();
  for (const size_t row_bytes : model->RowBytes()) {
    zeros.inputs.emplace_back(zeros.count * row_bytes);
  }
  std::vector<double> ignored;
  for (int batch = 0; batch < batches; ++batch) {
    PredictRows(zeros, model, &ignored);
  }
}

// Shows on a terminal how many files are complete, and clears that line at the end.
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

}  // namespace

void ScoreFiles(const Options &options) {
  const InputFolders inputs(options.input0_path, options.input1_path);
  const Metadata metadata = ReadModelMetadata(options.mindir_path);
  const int64_t vocabulary_size = VocabularySize(metadata);
  DeepFmModel model(options.mindir_path, options);
  if (model.RowBytes().size() != inputs.Count()) {
    throw Error(Text(options.mindir_path, " has ", model.RowBytes().size(),
                     " inputs, but the number of input folders is ", inputs.Count()));
  }
  inputs.CheckData(options.mindir_path, metadata);
  OutputFolder output(options.output_path);
  WarmUp(options.warmup, &model);
  std::vector<double> milliseconds;
  size_t row_count = 0;
  FileCounter counter(inputs.FileNames().size());
  for (const auto &name : inputs.FileNames()) {
    const Rows rows = inputs.Read(name, model.RowBytes(), vocabulary_size);
    output.Write(name, PredictRows(rows, &model, &milliseconds));
    row_count += rows.count;
    counter.Advance();
  }
  if (!metadata.empty()) {
    WriteFolderMetadata(output.Partial(), metadata);
  }
  output.Commit();
  std::cout << "rows: " << row_count << ", files: " << inputs.FileNames().size() << "\n"
            << DescribeTimes(milliseconds, model.BatchRows(), row_count) << std::endl;
}
