// SPDX-License-Identifier: Apache-2.0
#include "package.h"

#include <algorithm>
#include <fstream>
#include <utility>

#include "error.h"
#include "metadata.h"
#include "scores.h"
#include "sha256.h"
#include "vocabulary.h"

namespace fs = std::filesystem;

namespace {

constexpr char kManifestName[] = "package.json";
constexpr char kMindirName[] = "model.mindir";
constexpr char kVocabularyName[] = "vocabulary.tsv";
constexpr char kGoldenRowsName[] = "golden_rows.tsv";
constexpr char kGoldenScoresName[] = "golden_scores.csv";
constexpr uintmax_t kLargestManifest = 16 << 20;
constexpr char kCopyAgain[] = "; copy the package again, or write it again with export.py --file_format=PACKAGE";

std::string ReadFile(const fs::path &path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(fs::file_size(path), '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(text.size()))) {
    throw Error(Text(path.string(), ": cannot be read"));
  }
  return text;
}

std::string ReadManifestText(const fs::path &folder) {
  if (!fs::is_directory(folder)) {
    throw Error(Text("--model_path=", folder.string(), ": no such folder"));
  }
  const fs::path path = folder / kManifestName;
  if (!fs::is_regular_file(path)) {
    throw Error(Text("--model_path=", folder.string(), ": holds no ", kManifestName, ", so it is no model package; ",
                     "export.py --file_format=PACKAGE writes one"));
  }
  if (fs::file_size(path) > kLargestManifest) {
    throw Error(Text(path.string(), ": is larger than ", kLargestManifest, " bytes, so it is no ", kManifestName));
  }
  return ReadFile(path);
}

// Returns the path of a listed file of the folder; throws Error if it is not in the folder, or has another size.
fs::path FindListed(const fs::path &folder, const std::string &name, const ListedFile &file) {
  const bool is_plain = std::all_of(name.begin(), name.end(), [](char byte) {
    return byte > ' ' && byte <= '~' && byte != '/' && byte != '\\';
  });
  if (!is_plain || name.empty() || name == "." || name == "..") {
    throw Error(Text((folder / kManifestName).string(), ": lists a file that is no plain name of this folder",
                     kCopyAgain));
  }
  const fs::path path = folder / name;
  std::error_code error;
  if (fs::is_symlink(path, error)) {
    throw Error(Text(path.string(), ": is a link instead of a file of the folder itself", kCopyAgain));
  }
  if (!fs::is_regular_file(path, error)) {
    throw Error(Text(path.string(), ": no such file", kCopyAgain));
  }
  if (fs::file_size(path) != file.bytes) {
    throw Error(Text(path.string(), ": holds ", fs::file_size(path), " bytes instead of ", file.bytes, kCopyAgain));
  }
  return path;
}

void RequireDigest(const fs::path &path, const std::string &found, const std::string &expected) {
  if (found != expected) {
    throw Error(Text(path.string(), ": its SHA-256 is not that of ", kManifestName, kCopyAgain));
  }
}

const ListedFile &Listed(const fs::path &folder, const Manifest &manifest, const char *name) {
  const auto file = manifest.files.find(name);
  if (file == manifest.files.end()) {
    throw Error(Text((folder / kManifestName).string(), ": lists no ", name, kCopyAgain));
  }
  return file->second;
}

// Reads a listed file and verifies the bytes that it returns.
std::string ReadListed(const fs::path &folder, const Manifest &manifest, const char *name) {
  const ListedFile &file = Listed(folder, manifest, name);
  std::string text = ReadFile(FindListed(folder, name, file));
  RequireDigest(folder / name, Sha256(text), file.sha256);
  return text;
}

void CheckFiles(const fs::path &folder, const Manifest &manifest) {
  for (const auto &[name, file] : manifest.files) {
    RequireDigest(folder / name, Sha256OfFile(FindListed(folder, name, file)), file.sha256);
  }
}

// Throws Error unless the metadata of the model are the data of the manifest.
void CheckIdentity(const fs::path &path, const Manifest &manifest) {
  const Metadata metadata = ReadModelMetadata(path);
  const auto identity = metadata.find("data_identity");
  if (identity == metadata.end() || identity->second != manifest.data_identity) {
    throw Error(Text(path.string(), ": its data identity is not that of ", kManifestName, ", so it is of another model",
                     kCopyAgain));
  }
  for (const auto &[name, value] : manifest.data) {
    const auto entry = metadata.find(name);
    if (entry == metadata.end() || (entry->second != value && CompactJson(entry->second) != value)) {
      throw Error(Text(path.string(), ": its ", name, " is not that of ", kManifestName, ", so it is of another model",
                       kCopyAgain));
    }
  }
}

}  // namespace

RowEncoder MakeEncoder(const Manifest &manifest, std::string_view vocabulary, const std::string &where) {
  const std::vector<std::string> names = manifest.VocabularyFields();
  const auto fields = ReadVocabulary(vocabulary, names, manifest.vocabulary_size, where);
  RowSchema schema = manifest.rows;
  schema.category_ids = fields.empty() ? manifest.vocabulary_size : fields.front().oov_id;
  return {schema, manifest.encoding, manifest.scales, fields};
}

Package ReadPackage(const fs::path &folder) {
  Manifest manifest = ParseManifest(ReadManifestText(folder), (folder / kManifestName).string());
  CheckFiles(folder, manifest);
  const std::string vocabulary = ReadListed(folder, manifest, kVocabularyName);
  if (Sha256(vocabulary) != manifest.vocabulary_sha256) {
    throw Error(Text((folder / kVocabularyName).string(), ": is not the vocabulary of the model", kCopyAgain));
  }
  const fs::path mindir = folder / kMindirName;
  if (manifest.files.count(kMindirName) == 0) {
    throw Error(Text(folder.string(), ": holds no ", kMindirName, ", as the model is large; predict.py scores with it"));
  }
  CheckIdentity(mindir, manifest);
  RowEncoder encoder = MakeEncoder(manifest, vocabulary, (folder / kVocabularyName).string());
  std::string golden_rows = ReadListed(folder, manifest, kGoldenRowsName);
  auto golden_scores = ReadScores(ReadListed(folder, manifest, kGoldenScoresName), (folder / kGoldenScoresName).string());
  return {std::move(manifest), std::move(encoder), mindir, std::move(golden_rows), std::move(golden_scores)};
}
