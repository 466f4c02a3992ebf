// SPDX-License-Identifier: Apache-2.0
#include "inputs.h"

#include <cmath>
#include <limits>

#include "harness.h"

namespace {

const std::vector<size_t> kRowBytes = {8, 4};  // two ids and one dense value in a row
constexpr int64_t kVocabularySize = 10;

// Two rows of each input in the files a.bin, and one in b.bin.
void WriteInputs(const TemporaryFolder &folder) {
  folder.Write("00_sparse_ids/a.bin", Bytes<int32_t>({1, 2, 3, 4}));
  folder.Write("01_dense_values/a.bin", Bytes<float>({0.5F, 0.25F}));
  folder.Write("00_sparse_ids/b.bin", Bytes<int32_t>({5, 6}));
  folder.Write("01_dense_values/b.bin", Bytes<float>({2.0F}));
}

InputFolders Open(const TemporaryFolder &folder) {
  return {(folder / "00_sparse_ids").string(), (folder / "01_dense_values").string()};
}

std::string Content(const std::vector<char> &bytes) { return {bytes.begin(), bytes.end()}; }

}  // namespace

TEST(inputs, the_rows_of_both_inputs_are_read_file_by_file) {
  const TemporaryFolder folder;
  WriteInputs(folder);
  const InputFolders inputs = Open(folder);
  CHECK_EQUAL(Joined(inputs.FileNames()), "a.bin,b.bin");
  const Rows first = inputs.Read("a.bin", kRowBytes, kVocabularySize);
  CHECK_EQUAL(first.count, 2U);
  CHECK_EQUAL(Content(first.inputs[0]) == Bytes<int32_t>({1, 2, 3, 4}), true);
  CHECK_EQUAL(Content(first.inputs[1]) == Bytes<float>({0.5F, 0.25F}), true);
  CHECK_EQUAL(inputs.Read("b.bin", kRowBytes, kVocabularySize).count, 1U);
}

TEST(inputs, a_model_without_dense_values_has_one_folder) {
  const TemporaryFolder folder;
  WriteInputs(folder);
  const InputFolders inputs((folder / "00_sparse_ids").string(), "");
  CHECK_EQUAL(inputs.Read("a.bin", {8}, kVocabularySize).inputs.size(), 1U);
}

TEST(inputs, a_file_without_its_partner_is_refused) {
  const TemporaryFolder folder;
  WriteInputs(folder);
  std::filesystem::remove(folder / "01_dense_values/b.bin");
  CHECK_ERROR(Open(folder), "must hold files of the same names");
  folder.Write("01_dense_values/c.bin", Bytes<float>({2.0F}));
  CHECK_ERROR(Open(folder), "must hold files of the same names");
  std::filesystem::remove_all(folder / "01_dense_values");
  CHECK_ERROR(Open(folder), "01_dense_values: no such folder");
  std::filesystem::create_directory(folder / "01_dense_values");
  CHECK_ERROR(Open(folder), "01_dense_values holds no .bin file");
}

TEST(inputs, files_of_different_row_counts_are_refused) {
  const TemporaryFolder folder;
  WriteInputs(folder);
  folder.Write("01_dense_values/a.bin", Bytes<float>({0.5F}));
  CHECK_ERROR(Open(folder).Read("a.bin", kRowBytes, kVocabularySize),
              "a.bin holds 1 rows, the file of the same name in " + (folder / "00_sparse_ids").string() + " holds 2");
}

TEST(inputs, ids_and_dense_values_are_checked) {
  const TemporaryFolder folder;
  WriteInputs(folder);
  CHECK_ERROR(Open(folder).Read("a.bin", kRowBytes, 4), "00_sparse_ids/a.bin: row 2, column 2: the id 4 is not");
  folder.Write("01_dense_values/b.bin", Bytes<float>({std::numeric_limits<float>::quiet_NaN()}));
  CHECK_ERROR(Open(folder).Read("b.bin", kRowBytes, kVocabularySize),
              "01_dense_values/b.bin: row 1, column 1: the dense value nan is not finite");
}

TEST(inputs, folders_of_other_contents_are_refused_by_their_names) {
  const TemporaryFolder folder;
  WriteInputs(folder);
  folder.Write("02_labels/a.bin", Bytes<float>({0, 1}));
  folder.Write("02_labels/b.bin", Bytes<float>({1}));
  const std::string ids = (folder / "00_sparse_ids").string();
  const std::string values = (folder / "01_dense_values").string();
  const std::string labels = (folder / "02_labels").string();
  CHECK_ERROR(InputFolders(values, ids),
              "--input0_path=" + values + ": must be the folder 00_sparse_ids, not 01_dense_values");
  CHECK_ERROR(InputFolders(ids, labels),
              "--input1_path=" + labels + ": must be the folder 01_dense_values, not 02_labels");
  std::filesystem::rename(folder / "00_sparse_ids", folder / "ids");  // names of the user's own are not checked
  CHECK_EQUAL(InputFolders((folder / "ids").string(), values).FileNames().size(), 2U);
}

TEST(inputs, inputs_of_other_data_than_the_model_are_refused) {
  const TemporaryFolder folder;
  WriteInputs(folder);
  folder.Write("data_identity.txt", "data_identity=aa\nvocabulary_size=10\n");
  Open(folder).CheckData("a.mindir", {{"data_identity", "aa"}, {"vocabulary_size", "10"}});
  CHECK_ERROR(Open(folder).CheckData("a.mindir", {{"data_identity", "bb"}, {"vocabulary_size", "11"}}),
              "a.mindir was trained on other data than " + folder.Path().string() + ": vocabulary_size differ");
}
