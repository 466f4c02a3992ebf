// SPDX-License-Identifier: Apache-2.0
#include "package.h"

#include "harness.h"
#include "manifest_example.h"
#include "sha256.h"

namespace fs = std::filesystem;

namespace {

const std::string kVocabulary =
    "field\tvalue\tid\tcount\nI1\t<OOV>\t0\t0\nC1\t<OOV>\t1\t0\nI1\t950\t2\t1\nC1\ta\t3\t1\nC1\tb\t4\t1\n";

std::string Length(size_t bytes) { return {static_cast<char>((bytes & 0x7F) | 0x80), static_cast<char>(bytes >> 7)}; }

std::string Field(int number, const std::string &content) {
  return static_cast<char>(number << 3 | 2) + Length(content.size()) + content;
}

// Returns the bytes of a MindIR file that has nothing but metadata.
std::string MindirOf(const std::vector<std::pair<std::string, std::string>> &metadata) {
  std::string bytes;
  for (const auto &[name, value] : metadata) {
    bytes += Field(14, Field(1, name) + Field(2, value));
  }
  return bytes;
}

using Pairs = std::vector<std::pair<std::string, std::string>>;

Pairs ExampleMetadata() {
  return {{"data_identity", kIdentity},
          {"vocabulary_sha256", Sha256(kVocabulary)},
          {"sparse_fields", "[\"I1\", \"C1\"]"},
          {"dense_fields", "[\"I1\"]"},
          {"dense_encoding", "log+bin"},
          {"dense_scales", "[[2.0, 0.5]]"},
          {"vocabulary_size", "5"}};
}

std::map<std::string, std::string> ExampleFiles() {
  return {{"model.mindir", MindirOf(ExampleMetadata())},
          {"vocabulary.tsv", kVocabulary},
          {"golden_rows.tsv", "3\ta\n\t\n"},
          {"golden_scores.csv", "row,probability\n1,0.25000000\n2,0.50000000\n"},
          {"model.onnx", "onnx"}};
}

// Writes a package in which all digests are those of the files.
void WritePackage(const TemporaryFolder &folder, const std::map<std::string, std::string> &files) {
  std::string listed;
  for (const auto &[name, content] : files) {
    folder.Write(name, content);
    listed += Text(listed.empty() ? "" : ", ", "\"", name, "\": {\"bytes\": ", content.size(), ", \"sha256\": \"",
                   Sha256(content), "\"}");
  }
  folder.Write("package.json", ExampleManifest(Sha256(kVocabulary), listed));
}

// Checks that a package is refused in which these files differ from the example, with digests that fit.
void RefuseFiles(const std::map<std::string, std::string> &others, const std::string &message) {
  const TemporaryFolder folder;
  auto files = ExampleFiles();
  for (const auto &[name, content] : others) {
    files[name] = content;
  }
  WritePackage(folder, files);
  CHECK_ERROR(ReadPackage(folder.Path()), message);
}

// Checks that a package is refused whose package.json has another part.
void RefuseManifest(const std::string &part, const std::string &other, const std::string &message) {
  const TemporaryFolder folder;
  WritePackage(folder, ExampleFiles());
  folder.Write("package.json", Replaced(ReadText(folder / "package.json"), part, other));
  CHECK_ERROR(ReadPackage(folder.Path()), message);
}

}  // namespace

TEST(package, digests_are_those_of_the_standard) {
  const std::string abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";  // FIPS 180-4
  CHECK_EQUAL(Sha256("abc"), abc);
  const TemporaryFolder folder;
  folder.Write("a", "abc");
  folder.Write("large", std::string(3000000, 'x'));
  CHECK_EQUAL(Sha256OfFile(folder / "a"), abc);
  CHECK_EQUAL(Sha256OfFile(folder / "large"), Sha256(std::string(3000000, 'x')));
  CHECK_ERROR(Sha256OfFile(folder / "none"), "none: cannot be read");
}

TEST(package, a_package_is_read) {
  const TemporaryFolder folder;
  WritePackage(folder, ExampleFiles());
  const Package package = ReadPackage(folder.Path());
  CHECK_EQUAL(package.golden_rows, "3\ta\n\t\n");
  CHECK_EQUAL((package.golden_scores == std::vector<double>{0.25, 0.5}), true);
  EncodedLines lines;
  package.encoder.Encode("1000\tb\n", FormOf(package.encoder.Schema(), false), &lines);
  CHECK_EQUAL(lines.ids[0], 2);
  CHECK_EQUAL(lines.ids[1], 4);
}

TEST(package, a_folder_that_is_no_package_is_refused) {
  const TemporaryFolder folder;
  CHECK_ERROR(ReadPackage(folder / "none"), "none: no such folder");
  CHECK_ERROR(ReadPackage(folder.Path()), "holds no package.json, so it is no model package");
  fs::create_directory(folder / "package.json");
  CHECK_ERROR(ReadPackage(folder.Path()), "holds no package.json, so it is no model package");
}

TEST(package, each_file_must_be_there_complete_and_unchanged) {
  for (const auto &[name, content] : ExampleFiles()) {
    const TemporaryFolder folder;
    WritePackage(folder, ExampleFiles());
    const std::string path = (folder / name).string();
    folder.Write(name, content.substr(1));
    CHECK_ERROR(ReadPackage(folder.Path()), Text(path, ": holds ", content.size() - 1, " bytes instead of "));
    folder.Write(name, "x" + content.substr(1));
    CHECK_ERROR(ReadPackage(folder.Path()), path + ": its SHA-256 is not that of package.json; copy the package again");
    fs::remove(folder / name);
    CHECK_ERROR(ReadPackage(folder.Path()), path + ": no such file; copy the package again");
    fs::create_directory(folder / name);
    CHECK_ERROR(ReadPackage(folder.Path()), path + ": no such file; copy the package again");
  }
}

TEST(package, a_file_outside_the_folder_is_refused) {
  const std::string rule = "lists a file that is no plain name of this folder";
  for (const std::string name : {"../model.onnx", "/etc/passwd", "a/model.onnx", "..", ".", "", "model.onnx\\u0000", "model\\nonnx", "a\\\\b"}) {
    RefuseManifest("\"model.onnx\"", "\"" + name + "\"", rule);
  }
  const TemporaryFolder folder;
  WritePackage(folder, ExampleFiles());
  fs::rename(folder / "vocabulary.tsv", folder / "other.tsv");
  fs::create_symlink(folder / "other.tsv", folder / "vocabulary.tsv");
  CHECK_ERROR(ReadPackage(folder.Path()), "vocabulary.tsv: is a link instead of a file of the folder itself");
}

TEST(package, a_package_without_one_of_its_files_is_refused) {
  RefuseManifest("\"model.mindir\"", "\"model.onnx\"", "holds no model.mindir, as the model is large; predict.py scores");
  for (const std::string name : {"vocabulary.tsv", "golden_rows.tsv", "golden_scores.csv"}) {
    const TemporaryFolder folder;
    auto files = ExampleFiles();
    files.erase(name);
    WritePackage(folder, files);
    CHECK_ERROR(ReadPackage(folder.Path()), "package.json: lists no " + name);
  }
}

TEST(package, the_vocabulary_must_be_that_of_the_model) {
  RefuseFiles({{"vocabulary.tsv", Replaced(kVocabulary, "\ta\t", "\tc\t")}}, "vocabulary.tsv: is not the vocabulary of the");
}

TEST(package, the_model_must_be_that_of_the_package) {
  RefuseFiles({{"model.mindir", "x"}}, "model.mindir: its data identity is not that of package.json, so it is of another");
  RefuseFiles({{"model.mindir", MindirOf({{"data_identity", std::string(64, '2')}})}}, "model.mindir: its data identity is");
  Pairs metadata = ExampleMetadata();
  metadata[5].second = "[[2.0, 0.25]]";
  RefuseFiles({{"model.mindir", MindirOf(metadata)}}, "model.mindir: its dense_scales is not that of package.json");
  metadata.erase(metadata.begin() + 5);
  RefuseFiles({{"model.mindir", MindirOf(metadata)}}, "model.mindir: its dense_scales is not that of package.json");
}

TEST(package, golden_scores_must_be_scores) {
  RefuseFiles({{"golden_scores.csv", "row,probability\nx\n"}}, "golden_scores.csv line 2: is not 1,0. and eight digits");
}

TEST(package, an_absurdly_large_manifest_is_not_read) {
  const TemporaryFolder folder;
  folder.Write("package.json", "{}");
  fs::resize_file(folder / "package.json", uintmax_t{1} << 40);
  CHECK_ERROR(ReadPackage(folder.Path()), "package.json: is larger than 16777216 bytes");
}
