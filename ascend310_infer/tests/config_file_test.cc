// SPDX-License-Identifier: Apache-2.0
#include "config_file.h"

#include <initializer_list>

#include "harness.h"

namespace {

// Checks a file of this content.
void Check(const std::string &content) {
  const TemporaryFolder folder;
  folder.Write("lite.ini", content);
  CheckConfigFile(folder / "lite.ini");
}

}  // namespace

TEST(config_file, sections_of_settings_are_accepted) {
  Check("[ascend_context]\nop_select_impl_mode=high_precision\n");
  Check("# a comment\n\n \t[ascend_context] \r\n  aoe_mode = subgraph tuning \r\n[ge_session_options]\nge.a=b=c\n#x\n");
  Check("[ascend_context]\nempty=");
  Check("[one]\n[two]\n");
}

TEST(config_file, files_that_cannot_be_read_are_named) {
  const TemporaryFolder folder;
  for (const std::filesystem::path &path : {folder / "none.ini", folder.Path()}) {
    CHECK_ERROR(CheckConfigFile(path), "--config_file=" + path.string() + ": cannot be read as a file");
  }
}

TEST(config_file, a_file_without_a_section_is_refused) {
  for (const std::string content : {"", "\n\n", "# [ascend_context]\n"}) {
    CHECK_ERROR(Check(content), "lite.ini: holds no [section]");
  }
}

TEST(config_file, lines_that_the_runtime_would_skip_are_refused_with_their_number) {
  CHECK_ERROR(Check("[one]\na=b\n\nhigh_precision\n"), "lite.ini line 4: high_precision: must be [section] or key=value");
  CHECK_ERROR(Check("[one]\n=b\n"), "line 2: =b: must be [section] or key=value");
  CHECK_ERROR(Check("[one\na=b\n"), "line 1: [one: must be [section] or key=value");
  CHECK_ERROR(Check("{\"ascend_context\": {}}"), "line 1: {\"ascend_context\": {}}: must be [section] or key=value");
  CHECK_ERROR(Check("a=b\n[one]\n"), "line 1: a=b: must follow a [section], such as [ascend_context]");
}

TEST(config_file, sections_and_keys_that_appear_twice_are_refused) {
  CHECK_ERROR(Check("[one]\na=b\n[two]\nc=d\n [one]\ne=f\n"), "line 5: [one] appears twice");
  CHECK_ERROR(Check("[one]\na=b\nc=d\n a = e\n"), "line 4: [one]a appears twice");
  Check("[one]\na=b\n[two]\na=b\n");
}

TEST(config_file, the_precision_mode_is_left_to_its_flag) {
  CHECK_ERROR(Check("[ascend_context]\nprecision_mode = enforce_fp16\n"),
              "line 2: precision_mode = enforce_fp16: the flag --precision_mode sets it");
  CHECK_ERROR(Check("[ge_session_options]\nge.exec.precision_mode=force_fp16\n"),
              "line 2: ge.exec.precision_mode=force_fp16: the flag --precision_mode sets it");
}
