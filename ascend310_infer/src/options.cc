// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include <charconv>
#include <map>
#include <set>
#include <string_view>

#include "error.h"

const char kUsage[] =
    "usage: main --model_path=DIR [--input_path=FILE] [--output_path=FILE]\n"
    "       main --mindir_path=FILE --input0_path=DIR [--input1_path=DIR] [--output_path=DIR]\n"
    "The first form scores raw rows with a model package, the second one .bin files of encoded rows.\n"
    "  --model_path      model package, the folder that export.py --file_format=PACKAGE writes\n"
    "  --input_path      text of raw rows, with or without labels; - for stdin, whose rows are answered as they arrive\n"
    "                    (default: -)\n"
    "  --on_bad_row      skip, empty or fail: a malformed row is left out, has no probability, or ends the program\n"
    "                    (default: skip)\n"
    "  --max_delay_ms    milliseconds in which rows of a stream are gathered for a batch (default: 5)\n"
    "  --mindir_path     exported model with a fixed batch size\n"
    "  --input0_path     folder of .bin files of sparse ids, int32 [n, S]\n"
    "  --input1_path     folder of .bin files of dense values, float32 [n, N], with the same names and row counts\n"
    "  --output_path     file for the scores of raw rows, - or nothing for stdout; with --mindir_path the folder for the\n"
    "                    probabilities, float32 [n]; replaced if it exists (default: ./result_Files)\n"
    "  --device_target   Ascend or CPU (default: Ascend)\n"
    "  --device_id       index of the Ascend device; without effect on CPU (default: 0)\n"
    "  --precision_mode  enforce_fp32, preferred_fp32, enforce_fp16, enforce_origin or preferred_optimal: precision on\n"
    "                    Ascend; without effect on CPU (default: preferred_fp32)\n"
    "  --config_file     settings of MindSpore Lite, lines of [section] and key=value (default: none)\n"
    "  --threads         threads of the runtime, or for raw rows of everything (default: 2)\n"
    "  --warmup          batches that run before the timing starts (default: 1)\n";

namespace {

constexpr int kMostThreads = 256;
constexpr const char *kPrecisionModes[] = {"enforce_fp32", "preferred_fp32", "enforce_fp16", "enforce_origin",
                                           "preferred_optimal"};
// The arguments of one mode alone.
constexpr const char *kRawArguments[] = {"--input_path", "--on_bad_row", "--max_delay_ms"};
constexpr const char *kFilesArguments[] = {"--input0_path", "--input1_path", "--warmup"};

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

OnBadRow ParseOnBadRow(const std::string &text) {
  const std::map<std::string, OnBadRow> choices = {
      {"skip", OnBadRow::kSkip}, {"empty", OnBadRow::kEmpty}, {"fail", OnBadRow::kFail}};
  const auto choice = choices.find(text);
  if (choice == choices.end()) {
    throw Error(Text("--on_bad_row=", text, ": must be skip, empty or fail"));
  }
  return choice->second;
}

int ParseNumber(const std::string &name, const std::string &text, int least) {
  int number = 0;
  const char *end = text.data() + text.size();
  const auto [rest, code] = std::from_chars(text.data(), end, number);
  if (code != std::errc() || rest != end || number < least) {
    throw Error(Text(name, "=", text, ": must be an integer of at least ", least));
  }
  if (name == "--threads" && number > kMostThreads) {
    throw Error(Text(name, "=", text, ": must be an integer of at most ", kMostThreads));
  }
  return number;
}

// Throws Error unless the arguments, which are given by name, are those of one mode.
void CheckMode(const Options &options, const std::set<std::string> &given) {
  const bool is_raw = !options.model_path.empty();
  if (is_raw == !options.mindir_path.empty()) {
    throw Error(is_raw ? "--model_path and --mindir_path exclude each other; --help lists the arguments"
                       : "--model_path is missing, or --mindir_path for files of encoded rows; --help lists the arguments");
  }
  for (const char *name : is_raw ? kFilesArguments : kRawArguments) {
    if (given.count(name) != 0) {
      throw Error(Text(name, " belongs to ", is_raw ? "--mindir_path" : "--model_path", "; --help lists the arguments"));
    }
  }
  if (!is_raw && options.input0_path.empty()) {
    throw Error("--input0_path is missing; --help lists the arguments");
  }
}

// Replaces the paths of stdin and stdout by empty ones, and a missing path of a folder by its default.
void SetPaths(bool has_output_path, Options *options) {
  if (!options->mindir_path.empty()) {
    if (!has_output_path) {
      options->output_path = "./result_Files";
    } else if (options->output_path.empty()) {
      throw Error("--output_path is missing; --help lists the arguments");
    }
    return;
  }
  for (std::string *path : {&options->input_path, &options->output_path}) {
    if (*path == "-") {
      path->clear();
    }
  }
}

}  // namespace

Options ParseOptions(int argc, char **argv) {
  Options options;
  std::string on_bad_row = "skip";
  const std::map<std::string, std::string *> texts = {
      {"--model_path", &options.model_path},       {"--input_path", &options.input_path},
      {"--mindir_path", &options.mindir_path},     {"--input0_path", &options.input0_path},
      {"--input1_path", &options.input1_path},     {"--output_path", &options.output_path},
      {"--device_target", &options.device_target}, {"--precision_mode", &options.precision_mode},
      {"--config_file", &options.config_file},     {"--on_bad_row", &on_bad_row}};
  const std::map<std::string, int *> numbers = {{"--device_id", &options.device_id},
                                                {"--threads", &options.threads},
                                                {"--warmup", &options.warmup},
                                                {"--max_delay_ms", &options.max_delay_ms}};
  std::set<std::string> given;
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
    given.insert(name);
  }
  CheckMode(options, given);
  SetPaths(given.count("--output_path") != 0, &options);
  options.on_bad_row = ParseOnBadRow(on_bad_row);
  if (options.device_target != "Ascend" && options.device_target != "CPU") {
    throw Error(Text("--device_target=", options.device_target, ": must be Ascend or CPU"));
  }
  CheckPrecisionMode(options.precision_mode);
  return options;
}
