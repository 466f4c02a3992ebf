// SPDX-License-Identifier: Apache-2.0
#include "files.h"

#include "harness.h"

namespace fs = std::filesystem;

TEST(files, bin_files_are_listed_in_the_order_of_their_names) {
  const TemporaryFolder folder;
  for (const std::string name : {"b.bin", "a10.bin", "a2.bin", "B.bin", "notes.txt", "bin", "inner.bin/c.bin"}) {
    folder.Write(name, "x");
  }
  CHECK_EQUAL(Joined(ListBinFiles(folder.Path())), "B.bin,a10.bin,a2.bin,b.bin");
}

TEST(files, a_folder_without_bin_files_is_refused) {
  const TemporaryFolder folder;
  CHECK_ERROR(ListBinFiles(folder / "none"), "none: no such folder");
  folder.Write("notes.txt", "x");
  CHECK_ERROR(ListBinFiles(folder.Path()), folder.Path().string() + " holds no .bin file; preprocess.py writes them");
  CHECK_ERROR(ListBinFiles(folder / "notes.txt"), "notes.txt: no such folder");
}

TEST(files, the_bytes_of_complete_rows_are_read) {
  const TemporaryFolder folder;
  const std::string content = Bytes<int32_t>({1, -2, 3, 4, 5, 6});  // two rows of 12 bytes
  folder.Write("a.bin", content);
  const std::vector<char> bytes = ReadRows(folder / "a.bin", 12);
  CHECK_EQUAL(std::string(bytes.begin(), bytes.end()) == content, true);
}

TEST(files, incomplete_rows_are_refused) {
  const TemporaryFolder folder;
  folder.Write("a.bin", std::string(119, 'x'));
  folder.Write("empty.bin", "");
  CHECK_ERROR(ReadRows(folder / "a.bin", 12), "a.bin holds 119 bytes; a row of the model's input has 12");
  CHECK_ERROR(ReadRows(folder / "empty.bin", 12), "empty.bin holds 0 bytes; a row of the model's input has 12");
  CHECK_ERROR(ReadRows(folder / "none.bin", 12), "none.bin: cannot be read");
}

TEST(files, a_committed_folder_replaces_an_earlier_one) {
  const TemporaryFolder folder;
  folder.Write("out/old.bin", "old");
  folder.Write("out.partial/left.bin", "of a killed run");
  const fs::path path = folder / "out";
  {
    OutputFolder output(path.string() + "/");  // as a shell completes it
    output.Write("a.bin", {0.25F, 0.5F});
    CHECK_EQUAL(fs::exists(path / "a.bin"), false);
    output.Commit();
  }
  CHECK_EQUAL(Joined(ListBinFiles(path)), "a.bin");
  const std::vector<char> bytes = ReadRows(path / "a.bin", 4);
  CHECK_EQUAL(std::string(bytes.begin(), bytes.end()) == Bytes<float>({0.25F, 0.5F}), true);
  CHECK_EQUAL(fs::exists(folder / "out.partial"), false);
}

TEST(files, without_a_commit_an_earlier_folder_stays) {
  const TemporaryFolder folder;
  folder.Write("out/old.bin", "old");
  {
    OutputFolder output(folder / "out");
    output.Write("a.bin", {0.25F});
  }
  CHECK_EQUAL(Joined(ListBinFiles(folder / "out")), "old.bin");
  CHECK_EQUAL(fs::exists(folder / "out.partial"), false);
}

TEST(files, a_file_that_cannot_be_written_is_named) {
  const TemporaryFolder folder;
  const OutputFolder output(folder / "out");
  fs::create_directory(output.Partial() / "a.bin");
  CHECK_ERROR(output.Write("a.bin", {0.25F}), "a.bin: cannot be written; is the disk full?");
}
