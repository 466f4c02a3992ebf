// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "on_bad_row.h"

// The command line of the runner, which has two modes: files of encoded rows with --mindir_path, raw rows with
// --model_path.
struct Options {
  std::string model_path;    // folder of a model package
  std::string input_path;    // raw rows; empty for stdin
  OnBadRow on_bad_row = OnBadRow::kSkip;
  int max_delay_ms = 5;
  std::string mindir_path;
  std::string input0_path;  // folder of sparse ids
  std::string input1_path;  // folder of dense values; empty for a model that takes none
  std::string output_path;  // of raw rows, empty for stdout
  std::string device_target = "Ascend";
  int device_id = 0;
  std::string precision_mode = "preferred_fp32";
  std::string config_file;  // settings of MindSpore Lite; empty for none
  int threads = 2;
  int warmup = 1;
  bool help = false;
};

extern const char kUsage[];

// Parses arguments --name=value.  Throws Error for one that is unknown, missing or out of range.
Options ParseOptions(int argc, char **argv);
