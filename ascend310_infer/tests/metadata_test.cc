// SPDX-License-Identifier: Apache-2.0
// The reading of MindIR files is compared with protobuf in tests/unit/test_runner.py.
#include "metadata.h"

#include <iostream>
#include <sstream>

#include "harness.h"

namespace {

// Collects the text that is written to stderr.
class ErrorStream {
 public:
  ErrorStream() : earlier_(std::cerr.rdbuf(text_.rdbuf())) {}
  ~ErrorStream() { std::cerr.rdbuf(earlier_); }
  ErrorStream(const ErrorStream &) = delete;
  ErrorStream &operator=(const ErrorStream &) = delete;
  std::string Text() const { return text_.str(); }

 private:
  std::ostringstream text_;
  std::streambuf *earlier_;
};

const std::string kUnknown =
    " has no data identity, so it is not checked that the model was trained on these data\n";

}  // namespace

TEST(metadata, a_folder_gives_back_what_was_written) {
  const TemporaryFolder folder;
  CHECK_EQUAL(ReadFolderMetadata(folder.Path()).empty(), true);
  const Metadata metadata = {{"data_identity", "ab12"}, {"sparse_fields", "[\"C1\", \"x=y\"]"}, {"empty", ""}};
  WriteFolderMetadata(folder.Path(), metadata);
  CHECK_EQUAL(ReadFolderMetadata(folder.Path()) == metadata, true);
}

TEST(metadata, a_file_without_digest_is_refused) {
  const TemporaryFolder folder;
  folder.Write("data_identity.txt", "vocabulary_size=20\n");
  CHECK_ERROR(ReadFolderMetadata(folder.Path()), "data_identity.txt is damaged: it has no line data_identity=SHA-256");
}

TEST(metadata, the_same_digest_passes_without_a_warning) {
  const ErrorStream errors;
  CheckSameData("a.mindir", {{"data_identity", "aa"}}, "inputs", {{"data_identity", "aa"}});
  CHECK_EQUAL(errors.Text(), "");
}

TEST(metadata, an_unknown_identity_gives_a_warning_for_each_side) {
  const ErrorStream errors;
  CheckSameData("a.mindir", {}, "inputs", {{"data_identity", "aa"}});
  CheckSameData("b.mindir", {{"data_identity", "aa"}}, "others", {});
  CHECK_EQUAL(errors.Text(), "warning: a.mindir" + kUnknown + "warning: others" + kUnknown);
}

TEST(metadata, the_entries_that_differ_are_named) {
  const Metadata model = {{"data_identity", "0123456789abcdef"}, {"dense_scales", "1"}, {"vocabulary_size", "20"}};
  const Metadata inputs = {{"data_identity", "fedcba9876543210"}, {"dense_scales", "2"}, {"vocabulary_size", "21"}};
  CHECK_ERROR(CheckSameData("a.mindir", model, "inputs", inputs),
              "a.mindir was trained on other data than inputs: dense_scales, vocabulary_size differ (0123456789ab and "
              "fedcba987654)");
}

TEST(metadata, the_vocabulary_size_is_a_positive_integer_or_not_known) {
  CHECK_EQUAL(VocabularySize({{"vocabulary_size", "20"}}), 20);
  CHECK_EQUAL(VocabularySize({}), int64_t{1} << 31);
  for (const std::string text : {"x", "20x", "0", "-1", "1.5", "99999999999999999999"}) {
    CHECK_ERROR(VocabularySize({{"vocabulary_size", text}}), "its vocabulary_size is " + text + "; export it again");
  }
}

TEST(metadata, a_model_without_a_digest_or_of_other_bytes_has_none) {
  const TemporaryFolder folder;
  folder.Write("junk.mindir", "junk");
  folder.Write("empty.mindir", "");
  // A pair of field 14 with the name (field 1) "a" and the value (field 2) "b".
  folder.Write("no_digest.mindir", "\x72\x06\x0a\x01" "a\x12\x01" "b");
  for (const std::string name : {"junk.mindir", "empty.mindir", "no_digest.mindir", "none.mindir"}) {
    CHECK_EQUAL(ReadModelMetadata(folder / name).empty(), true);
  }
  folder.Write("digest.mindir", "\x72\x12\x0a\x0d" "data_identity\x12\x01" "b");
  CHECK_EQUAL(ReadModelMetadata(folder / "digest.mindir") == Metadata({{"data_identity", "b"}}), true);
}
