// SPDX-License-Identifier: Apache-2.0
// A libFuzzer target: the reader and the encoder of raw rows.  The first byte of an input chooses the encoding and the
// lines of a chunk; the others are a file of rows.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <iterator>
#include <stdexcept>

#include "encoder.h"
#include "row_reader.h"

namespace {

constexpr size_t kIntegers = 2;
constexpr size_t kCategories = 2;
constexpr int64_t kIds = 100;  // of categories that are ids; the others follow

const std::vector<FieldVocabulary> kBuckets = {{"I1", 100, {{"1", 104}, {"47", 105}, {"", 106}}}, {"I2", 101, {{"-3", 107}}}};
const std::vector<FieldVocabulary> kTexts = {{"C1", 102, {{"a", 108}, {"05db9164", 109}, {"", 110}}},
                                             {"C2", 103, {{"a longer value", 111}, {"\xC3\xA9", 112}}}};

RowEncoder MakeEncoder(unsigned choice) {
  const DenseEncoding encoding = {(choice & 1) != 0, (choice & 2) != 0, (choice & 4) != 0};
  const RowSchema schema = {kIntegers, kCategories, (choice & 8) != 0, kIds, (choice & 16) != 0 ? -1 : 0};
  std::vector<FieldVocabulary> fields;
  if (encoding.has_buckets) {
    fields = kBuckets;
  }
  if (!schema.categories_are_ids) {
    fields.insert(fields.end(), kTexts.begin(), kTexts.end());
  }
  return {schema, encoding, {{0.5, 2.0}, {0.0, 1e9}}, fields};
}

void Require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

// Checks what holds for any lines: each has a reason or a row, ids are ids, and a fault can be named.
void Check(const RowEncoder &encoder, const Chunk &chunk, const EncodedLines &lines) {
  size_t rows = 0;
  size_t number = 0;
  ForEachLine(chunk.text, [&](std::string_view line) {
    const Reason reason = lines.reasons.at(number++);
    rows += reason == Reason::kNone ? 1 : 0;
    if (reason != Reason::kNone) {
      const std::string fault = Diagnose(number, line, reason, encoder.Schema(), chunk.have_labels);
      Require(!fault.empty() && fault.find('\n') == std::string::npos && fault.size() < 1000);
    }
  });
  Require(rows == lines.rows && number == lines.reasons.size());
  for (size_t index = 0; index < rows * encoder.IdCount(); ++index) {
    Require(lines.ids[index] >= 0 && lines.ids[index] <= 112);
  }
}

// Writes bytes to a file in memory that the caller closes.
int MakeFile(const char *bytes, size_t size) {
  const int descriptor = memfd_create("rows", MFD_CLOEXEC);
  if (descriptor < 0 || write(descriptor, bytes, size) != static_cast<ssize_t>(size) || lseek(descriptor, 0, SEEK_SET) != 0) {
    throw std::runtime_error("no file in memory");
  }
  return descriptor;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const std::vector<RowEncoder> encoders = [] {
    std::vector<RowEncoder> all;
    for (unsigned choice = 0; choice < 32; ++choice) {
      all.push_back(MakeEncoder(choice));
    }
    return all;
  }();
  if (size == 0) {
    return 0;
  }
  const RowEncoder &encoder = encoders[data[0] % encoders.size()];
  const size_t chunk_lines = data[0] < 128 ? 1000 : 2;
  const int descriptor = MakeFile(reinterpret_cast<const char *>(data) + 1, size - 1);
  std::string joined;
  {
    RowReader reader(descriptor, "rows", encoder.Schema(), chunk_lines, std::chrono::milliseconds(0));
    Chunk chunk;
    EncodedLines lines;
    while (reader.Read(&chunk)) {
      encoder.Encode(chunk.text, chunk.have_labels, &lines);
      Check(encoder, chunk, lines);
      joined += chunk.text;
    }
  }
  close(descriptor);
  Require(joined == std::string(reinterpret_cast<const char *>(data) + 1, size - 1));
  return 0;
}
