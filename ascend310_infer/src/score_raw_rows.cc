// SPDX-License-Identifier: Apache-2.0
#include "score_raw_rows.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <iostream>

#include "error.h"
#include "model_pool.h"
#include "output_file.h"
#include "package.h"
#include "row_reader.h"
#include "scores.h"
#include "scoring.h"
#include "tally.h"

namespace {

using Clock = std::chrono::steady_clock;

// The file of --input_path, or stdin.
class InputFile {
 public:
  explicit InputFile(const std::string &path) : path_(path), descriptor_(STDIN_FILENO) {
    if (!path.empty()) {
      descriptor_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    }
    if (descriptor_ < 0) {
      throw Error(Text("--input_path=", path, ": cannot be read (", std::strerror(errno), ")"));
    }
  }
  ~InputFile() {
    if (!path_.empty()) {
      close(descriptor_);
    }
  }
  InputFile(const InputFile &) = delete;
  InputFile &operator=(const InputFile &) = delete;

  int Descriptor() const { return descriptor_; }
  std::string Name() const { return path_.empty() ? "stdin" : path_; }

 private:
  std::string path_;
  int descriptor_;
};

// Throws Error unless the model takes the rows of its package.
void CheckInputs(const DeepFmModel &model, const Package &package) {
  std::vector<size_t> row_bytes = {package.encoder.IdCount() * sizeof(int32_t)};
  if (package.encoder.ValueCount() > 0) {
    row_bytes.push_back(package.encoder.ValueCount() * sizeof(float));
  }
  if (model.RowBytes() != row_bytes || model.BatchRows() != package.manifest.batch_rows) {
    throw Error(Text(package.mindir_path.string(), ": does not take batches of the rows of package.json; write the ",
                     "package again with export.py --file_format=PACKAGE"));
  }
}

}  // namespace

void ScoreRawRows(const Options &options) {
  const InputFile input(options.input_path);
  OutputFile output(options.output_path);
  const Package package = ReadPackage(options.model_path);
  ModelPool models(package.mindir_path.string(), options);
  CheckInputs(models.Any(), package);
  const Scorer scorer = {package.encoder, package.manifest.recalibration,
                         [&](const EncodedLines &rows) { return models.Predict(rows); }};
  const std::string golden = options.model_path + "/golden_rows.tsv";
  CheckGoldenScores(package.golden_scores, ScoreText(scorer, package.golden_rows, golden), options.model_path);
  const bool is_file = std::filesystem::is_regular_file(options.input_path);
  const RowSchema &own = package.encoder.Schema();
  const RowSchema schema = is_file ? SchemaOfFile(own, options.input_path) : own;
  RowReader reader(input.Descriptor(), input.Name(), schema, package.manifest.batch_rows,
                   std::chrono::milliseconds(options.max_delay_ms));
  const auto begin = Clock::now();
  const Tally tally =
      ScoreRows(scorer, options.on_bad_row, static_cast<size_t>(options.threads), input.Name(), &reader, &output);
  output.Commit();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  std::cerr << DescribeTally(tally, package.manifest, seconds, reader.HaveLabels());
}
