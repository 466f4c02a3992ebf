// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include <charconv>
#include <map>
#include <string_view>

#include "error.h"

const char kUsage[] =
    "usage: main --mindir_path=FILE --input0_path=DIR [--input1_path=DIR] [--output_path=DIR]\n"
    "  --mindir_path     exported model with a fixed batch size\n"
    "  --input0_path     folder of .bin files of sparse ids, int32 [n, S]\n"
    "  --input1_path     folder of .bin files of dense values, float32 [n, N], with the same names and row counts\n"
    "  --output_path     folder for the probabilities, float32 [n]; replaced if it exists (default: ./result_Files)\n"
    "  --device_target   Ascend or CPU (default: Ascend)\n"
    "  --device_id       index of the Ascend device; without effect on CPU (default: 0)\n"
    "  --precision_mode  enforce_fp32, preferred_fp32, enforce_fp16, enforce_origin or preferred_optimal: precision on\n"
    "                    Ascend; without effect on CPU (default: preferred_fp32)\n"
    "  --config_file     settings of MindSpore Lite, lines of [section] and key=value (default: none)\n"
    "  --threads         threads of the runtime (default: 2)\n"
    "  --warmup          batches that run before the timing starts (default: 1)\n";

namespace {

constexpr const char *kPrecisionModes[] = {"enforce_fp32", "preferred_fp32", "enforce_fp16", "enforce_origin",
                                           "preferred_optimal"};

// Throws Error for a mode that MindSpore Lite does not know, which would only log it and compute in float16.
void CheckPrecisionMode(const std::string &mode) {
  std::string names;
  for (const char *name : kPrecisionModes) {
    if (mode == name) {
      return;
    }
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  throw Error(Text("--precision_mode=", mode, ": must be one of ", names));
}

int ParseNumber(const std::string &name, const std::string &text, int least) {
  int number = 0;
  const char *end = text.data() + text.size();
  const auto [rest, code] = std::from_chars(text.data(), end, number);
  if (code != std::errc() || rest != end || number < least) {
    throw Error(Text(name, "=", text, ": must be an integer of at least ", least));
  }
  return number;
}

}  // namespace

Options ParseOptions(int argc, char **argv) {
  Options options;
  const std::map<std::string, std::string *> texts = {
      {"--mindir_path", &options.mindir_path}, {"--input0_path", &options.input0_path},
      {"--input1_path", &options.input1_path}, {"--output_path", &options.output_path},
      {"--device_target", &options.device_target}, {"--precision_mode", &options.precision_mode},
      {"--config_file", &options.config_file}};
  const std::map<std::string, int *> numbers = {
      {"--device_id", &options.device_id}, {"--threads", &options.threads}, {"--warmup", &options.warmup}};
  for (int index = 1; index < argc; ++index) {
    const std::string argument = argv[index];
    if (argument == "--help") {
      options.help = true;
      return options;
    }
    const size_t equals = argument.find('=');
    const std::string name = argument.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : argument.substr(equals + 1);
    if (const auto text = texts.find(name); text != texts.end()) {
      *text->second = value;
    } else if (const auto number = numbers.find(name); number != numbers.end()) {
      *number->second = ParseNumber(name, value, name == "--threads" ? 1 : 0);
    } else {
      throw Error(Text("unknown argument ", name, "; --help lists the arguments"));
    }
  }
  for (const char *name : {"--mindir_path", "--input0_path", "--output_path"}) {
    if (texts.at(name)->empty()) {
      throw Error(Text(name, " is missing; --help lists the arguments"));
    }
  }
  if (options.device_target != "Ascend" && options.device_target != "CPU") {
    throw Error(Text("--device_target=", options.device_target, ": must be Ascend or CPU"));
  }
  CheckPrecisionMode(options.precision_mode);
  return options;
}
