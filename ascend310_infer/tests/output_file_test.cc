// SPDX-License-Identifier: Apache-2.0
#include "output_file.h"

#include <unistd.h>

#include "harness.h"

namespace fs = std::filesystem;

TEST(output_file, a_committed_file_replaces_an_earlier_one) {
  const TemporaryFolder folder;
  folder.Write("scores.csv", "old");
  folder.Write("scores.csv.partial", "of a killed run, which was longer");
  {
    OutputFile output(folder / "scores.csv");
    output.Write("a");
    output.Write("b\n");
    CHECK_EQUAL(ReadText(folder / "scores.csv"), "old");
    output.Commit();
  }
  CHECK_EQUAL(ReadText(folder / "scores.csv"), "ab\n");
  CHECK_EQUAL(fs::exists(folder / "scores.csv.partial"), false);
}

TEST(output_file, a_file_whose_end_cannot_be_written_does_not_replace_an_earlier_one) {
  const TemporaryFolder folder;
  folder.Write("scores.csv", "old");
  const int next = dup(STDIN_FILENO);  // the descriptor that the file gets
  close(next);
  {
    OutputFile output(folder / "scores.csv");
    output.Write("new");
    CHECK_EQUAL(close(next), 0);  // so that Commit cannot close it
    CHECK_ERROR(output.Commit(), "scores.csv: cannot be written (Bad file descriptor)");
  }
  CHECK_EQUAL(ReadText(folder / "scores.csv"), "old");
}

TEST(output_file, without_a_commit_an_earlier_file_stays) {
  const TemporaryFolder folder;
  folder.Write("scores.csv", "old");
  OutputFile(folder / "scores.csv").Write("new");
  CHECK_EQUAL(ReadText(folder / "scores.csv"), "old");
  CHECK_EQUAL(fs::exists(folder / "scores.csv.partial"), false);
}

TEST(output_file, a_device_is_written_as_it_is) {
  OutputFile output("/dev/null");
  output.Write("a");
  output.Commit();
  CHECK_EQUAL(fs::is_character_file("/dev/null"), true);
}

TEST(output_file, a_path_that_cannot_be_written_is_refused) {
  const TemporaryFolder folder;
  CHECK_ERROR(OutputFile(folder / "none/scores.csv"), "scores.csv: cannot be written (No such file or directory)");
  CHECK_ERROR(OutputFile(folder.Path()), "cannot be written (Is a directory)");
  OutputFile full("/dev/full");
  CHECK_ERROR(full.Write("a"), "/dev/full: cannot be written (No space left on device)");
}
