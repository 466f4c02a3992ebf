// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include <initializer_list>

#include "harness.h"

namespace {

Options Parse(std::initializer_list<std::string> arguments) {
  std::vector<std::string> texts = {"main"};
  texts.insert(texts.end(), arguments);
  std::vector<char *> argv;
  for (auto &text : texts) {
    argv.push_back(text.data());
  }
  return ParseOptions(static_cast<int>(argv.size()), argv.data());
}

}  // namespace

TEST(options, defaults_are_those_of_the_usage) {
  const Options options = Parse({"--mindir_path=a.mindir", "--input0_path=ids"});
  CHECK_EQUAL(options.mindir_path, "a.mindir");
  CHECK_EQUAL(options.input0_path, "ids");
  CHECK_EQUAL(options.input1_path, "");
  CHECK_EQUAL(options.output_path, "./result_Files");
  CHECK_EQUAL(options.device_target, "Ascend");
  CHECK_EQUAL(options.device_id, 0);
  CHECK_EQUAL(options.precision_mode, "preferred_fp32");
  CHECK_EQUAL(options.config_file, "");
  CHECK_EQUAL(options.threads, 2);
  CHECK_EQUAL(options.warmup, 1);
  CHECK_EQUAL(options.help, false);
}

TEST(options, defaults_for_raw_rows_are_stdin_and_stdout) {
  const Options options = Parse({"--model_path=package"});
  CHECK_EQUAL(options.model_path, "package");
  CHECK_EQUAL(options.input_path, "");
  CHECK_EQUAL(options.output_path, "");
  CHECK_EQUAL(options.on_bad_row == OnBadRow::kSkip, true);
  CHECK_EQUAL(options.max_delay_ms, 5);
  const Options dashes = Parse({"--model_path=package", "--input_path=-", "--output_path=-"});
  CHECK_EQUAL(dashes.input_path + dashes.output_path, "");
}

TEST(options, every_argument_for_raw_rows_is_read) {
  const Options options = Parse({"--model_path=a", "--input_path=rows.txt", "--output_path=scores.csv", "--threads=3",
                                 "--on_bad_row=fail", "--max_delay_ms=0", "--device_target=CPU"});
  CHECK_EQUAL(options.input_path, "rows.txt");
  CHECK_EQUAL(options.output_path, "scores.csv");
  CHECK_EQUAL(options.on_bad_row == OnBadRow::kFail, true);
  CHECK_EQUAL(options.max_delay_ms, 0);
  CHECK_EQUAL(options.threads, 3);
  CHECK_EQUAL(Parse({"--model_path=a", "--on_bad_row=empty"}).on_bad_row == OnBadRow::kEmpty, true);
}

TEST(options, the_arguments_of_the_two_modes_exclude_each_other) {
  CHECK_ERROR(Parse({"--model_path=a", "--mindir_path=b"}), "--model_path and --mindir_path exclude each other");
  CHECK_ERROR(Parse({"--model_path=a", "--input0_path=ids"}), "--input0_path belongs to --mindir_path;");
  CHECK_ERROR(Parse({"--model_path=a", "--warmup=2"}), "--warmup belongs to --mindir_path;");
  CHECK_ERROR(Parse({"--mindir_path=a", "--input0_path=b", "--input_path=c"}), "--input_path belongs to --model_path;");
  CHECK_ERROR(Parse({"--model_path=a", "--on_bad_row=drop"}), "--on_bad_row=drop: must be skip, empty or fail");
}

TEST(options, every_argument_is_read) {
  const Options options =
      Parse({"--warmup=0", "--threads=4", "--device_id=7", "--device_target=CPU", "--output_path=out",
             "--input1_path=values", "--input0_path=ids=1", "--mindir_path=a=b.mindir", "--config_file=lite.ini",
             "--precision_mode=enforce_origin"});
  CHECK_EQUAL(options.mindir_path, "a=b.mindir");
  CHECK_EQUAL(options.input0_path, "ids=1");
  CHECK_EQUAL(options.input1_path, "values");
  CHECK_EQUAL(options.output_path, "out");
  CHECK_EQUAL(options.device_target, "CPU");
  CHECK_EQUAL(options.device_id, 7);
  CHECK_EQUAL(options.precision_mode, "enforce_origin");
  CHECK_EQUAL(options.config_file, "lite.ini");
  CHECK_EQUAL(options.threads, 4);
  CHECK_EQUAL(options.warmup, 0);
}

TEST(options, help_needs_no_other_argument) {
  CHECK_EQUAL(Parse({"--help"}).help, true);
  CHECK_EQUAL(Parse({"--threads=3", "--help", "--unknown"}).help, true);
}

TEST(options, missing_paths_are_named) {
  CHECK_ERROR(Parse({}), "--model_path is missing, or --mindir_path for files of encoded rows; --help lists");
  CHECK_ERROR(Parse({"--mindir_path=a"}), "--input0_path is missing");
  CHECK_ERROR(Parse({"--mindir_path=a", "--input0_path="}), "--input0_path is missing");
  CHECK_ERROR(Parse({"--mindir_path=a", "--input0_path=b", "--output_path"}), "--output_path is missing");
}

TEST(options, unknown_arguments_are_named) {
  CHECK_ERROR(Parse({"--batch=3"}), "unknown argument --batch; --help lists the arguments");
  CHECK_ERROR(Parse({"--mindir_path=a", "ids"}), "unknown argument ids");
  CHECK_ERROR(Parse({"-h"}), "unknown argument -h");
  CHECK_ERROR(Parse({""}), "unknown argument ;");
}

TEST(options, numbers_must_be_integers_in_their_range) {
  CHECK_ERROR(Parse({"--threads=0"}), "--threads=0: must be an integer of at least 1");
  CHECK_ERROR(Parse({"--threads=257"}), "--threads=257: must be an integer of at most 256");
  CHECK_ERROR(Parse({"--max_delay_ms=-1"}), "--max_delay_ms=-1: must be an integer of at least 0");
  CHECK_ERROR(Parse({"--device_id=-1"}), "--device_id=-1: must be an integer of at least 0");
  for (const std::string value : {"", "x", "1x", "1.5", " 1", "+1", "99999999999"}) {
    CHECK_ERROR(Parse({"--warmup=" + value}), "--warmup=" + value + ": must be an integer of at least 0");
  }
}

TEST(options, the_device_target_is_one_of_two) {
  CHECK_ERROR(Parse({"--mindir_path=a", "--input0_path=b", "--device_target=GPU"}),
              "--device_target=GPU: must be Ascend or CPU");
}

TEST(options, the_precision_mode_is_one_that_the_runtime_and_the_usage_know) {
  const std::vector<std::string> modes = {"enforce_fp32", "preferred_fp32", "enforce_fp16", "enforce_origin",
                                          "preferred_optimal"};  // of AscendDeviceInfo in include/api/context.h
  for (const std::string &mode : modes) {
    const Options options = Parse({"--mindir_path=a", "--input0_path=b", "--precision_mode=" + mode});
    CHECK_EQUAL(options.precision_mode, mode);
    CHECK_EQUAL(std::string(kUsage).find(mode) != std::string::npos, true);
  }
  for (const std::string mode : {"", "fp32", "must_keep_origin_dtype", "ENFORCE_FP32"}) {
    CHECK_ERROR(Parse({"--mindir_path=a", "--input0_path=b", "--precision_mode=" + mode}),
                "--precision_mode=" + mode +
                    ": must be one of enforce_fp32, preferred_fp32, enforce_fp16, enforce_origin, preferred_optimal");
  }
}

TEST(options, the_usage_lists_every_argument) {
  for (const std::string name : {"model_path", "input_path", "on_bad_row", "max_delay_ms", "mindir_path", "input0_path",
                                 "input1_path", "output_path", "device_target", "device_id", "precision_mode",
                                 "config_file", "threads", "warmup"}) {
    CHECK_EQUAL(std::string(kUsage).find("\n  --" + name + " ") != std::string::npos, true);
  }
}
