// SPDX-License-Identifier: Apache-2.0
#include "metadata.h"

#include <charconv>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <limits>
#include <optional>
#include <vector>

#include "error.h"

namespace fs = std::filesystem;

namespace {

const char kTextName[] = "data_identity.txt";
const char kDigest[] = "data_identity";
// The field of a MindIR's ModelProto that holds pairs, and the fields of a pair.
constexpr uint64_t kUserInfo = 14;
constexpr uint64_t kName = 1;
constexpr uint64_t kValue = 2;
constexpr uint64_t kLargestPair = 1 << 20;
constexpr size_t kMostPairs = 1000;
enum WireType : uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

// Reads the fields of a protobuf message in their order; every read is checked against the end of the message.
class MessageReader {
 public:
  // The message is the next `size` bytes of the stream.
  MessageReader(std::istream *stream, uint64_t size) : stream_(stream), left_(size) {}

  bool AtEnd() const { return left_ == 0; }

  std::optional<uint64_t> ReadVarint() {
    uint64_t number = 0;
    for (int shift = 0; shift < 64 && left_ > 0; shift += 7) {
      const int byte = stream_->get();
      --left_;
      if (byte == std::istream::traits_type::eof()) {
        return std::nullopt;
      }
      number |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if ((byte & 0x80) == 0) {
        return number;
      }
    }
    return std::nullopt;
  }

  std::optional<std::string> ReadBytes(uint64_t size) {
    if (size > left_ || size > kLargestPair) {
      return std::nullopt;
    }
    std::string bytes(size, '\0');
    stream_->read(bytes.data(), static_cast<std::streamsize>(size));
    left_ -= size;
    return stream_->good() ? std::optional(bytes) : std::nullopt;
  }

  // Skips the value of a field; false if the message ends within it or has no such wire type.
  bool Skip(uint64_t wire_type) {
    if (wire_type == kVarint) {
      return ReadVarint().has_value();
    }
    const auto size = wire_type == kBytes     ? ReadVarint()
                      : wire_type == kFixed64 ? std::optional<uint64_t>(8)
                      : wire_type == kFixed32 ? std::optional<uint64_t>(4)
                                              : std::nullopt;
    if (!size || *size > left_) {
      return false;
    }
    stream_->seekg(static_cast<std::streamoff>(*size), std::ios::cur);
    left_ -= *size;
    return stream_->good();
  }

 private:
  std::istream *stream_;
  uint64_t left_;
};

// Parses a pair of name and value and adds it; returns false if `bytes` is no such pair.
bool AddPair(const std::string &bytes, Metadata *metadata) {
  std::istringstream stream(bytes);
  MessageReader reader(&stream, bytes.size());
  std::string name;
  std::string value;
  while (!reader.AtEnd()) {
    const auto tag = reader.ReadVarint();
    if (!tag) {
      return false;
    }
    if (*tag != (kName << 3 | kBytes) && *tag != (kValue << 3 | kBytes)) {
      if (!reader.Skip(*tag & 7)) {
        return false;
      }
      continue;
    }
    const auto size = reader.ReadVarint();
    const auto text = size ? reader.ReadBytes(*size) : std::nullopt;
    if (!text) {
      return false;
    }
    (*tag >> 3 == kName ? name : value) = *text;
  }
  (*metadata)[name] = value;
  return metadata->size() <= kMostPairs;
}

std::string Get(const Metadata &metadata, const std::string &name) {
  const auto found = metadata.find(name);
  return found == metadata.end() ? "" : found->second;
}

void WarnUnknown(const std::string &path) {
  std::cerr << "warning: " << path << " has no data identity, so it is not checked that the model was trained on these "
            << "data" << std::endl;
}

}  // namespace

Metadata ReadModelMetadata(const fs::path &path) {
  std::ifstream file(path, std::ios::binary);
  std::error_code error;
  const auto size = fs::file_size(path, error);
  if (!file || error) {
    return {};
  }
  MessageReader reader(&file, size);
  Metadata metadata;
  while (!reader.AtEnd()) {
    const auto tag = reader.ReadVarint();
    if (!tag) {
      return {};
    }
    if (*tag != (kUserInfo << 3 | kBytes)) {
      if (!reader.Skip(*tag & 7)) {
        return {};
      }
      continue;
    }
    const auto pair_size = reader.ReadVarint();
    const auto pair = pair_size ? reader.ReadBytes(*pair_size) : std::nullopt;
    if (!pair || !AddPair(*pair, &metadata)) {
      return {};
    }
  }
  return metadata.count(kDigest) != 0 ? metadata : Metadata();
}

Metadata ReadFolderMetadata(const fs::path &folder) {
  const fs::path path = folder / kTextName;
  if (!fs::exists(path)) {
    return {};
  }
  std::ifstream file(path);
  Metadata metadata;
  for (std::string line; std::getline(file, line) && metadata.size() < kMostPairs;) {
    if (const size_t equals = line.find('='); equals != std::string::npos) {
      metadata[line.substr(0, equals)] = line.substr(equals + 1);
    }
  }
  if (Get(metadata, kDigest).empty()) {
    throw Error(Text(path.string(), " is damaged: it has no line ", kDigest, "=SHA-256; run preprocess.py again"));
  }
  return metadata;
}

void WriteFolderMetadata(const fs::path &folder, const Metadata &metadata) {
  std::ofstream file(folder / kTextName);
  for (const auto &[name, value] : metadata) {
    file << name << '=' << value << '\n';
  }
  file.close();
  if (!file) {
    throw Error(Text((folder / kTextName).string(), ": cannot be written; is the disk full?"));
  }
}

void CheckSameData(const std::string &model_path, const Metadata &model, const std::string &inputs_path,
                   const Metadata &inputs) {
  const std::string model_digest = Get(model, kDigest);
  const std::string inputs_digest = Get(inputs, kDigest);
  if (model_digest.empty()) {
    WarnUnknown(model_path);
  }
  if (inputs_digest.empty()) {
    WarnUnknown(inputs_path);
  }
  if (model_digest.empty() || inputs_digest.empty() || model_digest == inputs_digest) {
    return;
  }
  std::string different;
  for (const auto &[name, value] : inputs) {
    if (name != kDigest && Get(model, name) != value) {
      different += (different.empty() ? "" : ", ") + name;
    }
  }
  throw Error(Text(model_path, " was trained on other data than ", inputs_path, ": ",
                   different.empty() ? kDigest : different, " differ (", model_digest.substr(0, 12), " and ",
                   inputs_digest.substr(0, 12),
                   "); use the inputs that preprocess.py writes from the data of the model"));
}

int64_t VocabularySize(const Metadata &model) {
  const std::string text = Get(model, "vocabulary_size");
  int64_t size = int64_t{std::numeric_limits<int32_t>::max()} + 1;
  if (text.empty()) {
    return size;
  }
  const char *end = text.data() + text.size();
  const auto [rest, code] = std::from_chars(text.data(), end, size);
  if (code != std::errc() || rest != end || size < 1) {
    throw Error(Text("the model is damaged: its vocabulary_size is ", text, "; export it again"));
  }
  return size;
}
