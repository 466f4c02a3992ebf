// SPDX-License-Identifier: Apache-2.0
// Predicts click probabilities with an exported DeepFM: of raw rows, or of .bin files of encoded rows.
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <iostream>

#include "options.h"
#include "score_files.h"
#include "score_raw_rows.h"

namespace {

// MindSpore Lite logs to stderr unless GLOG_v is set when the program starts, so the program restarts itself with it.
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
    options.model_path.empty() ? ScoreFiles(options) : ScoreRawRows(options);
  } catch (const std::exception &error) {
    std::cerr << "error: " << error.what() << std::endl;
    return 2;
  }
  return 0;
}
