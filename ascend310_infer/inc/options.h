// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

// The command line of the runner.
struct Options {
  std::string mindir_path;
  std::string input0_path;  // folder of sparse ids
  std::string input1_path;  // folder of dense values; empty for a model that takes none
  std::string output_path = "./result_Files";
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
