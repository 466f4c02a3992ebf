// SPDX-License-Identifier: Apache-2.0
// A libFuzzer target: the reader and the encoder of raw rows.  The first byte of an input chooses the schema, the
// encoding and the lines of a chunk; the others are a file of rows.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

#include "diagnosis.h"
#include "encoder.h"
#include "error.h"
#include "row_reader.h"

namespace {

constexpr unsigned kChoices = 64;  // of a schema and an encoding
constexpr int64_t kIds = 100;      // of categories that are ids; the others follow
constexpr int32_t kLargestId = 112;

const std::vector<FieldVocabulary> kBuckets = {{"I1", 100, {{"1", 104}, {"47", 105}, {"", 106}}}, {"I2", 101, {{"-3", 107}}}};
const std::vector<FieldVocabulary> kTexts = {{"C1", 102, {{"a", 108}, {"05db9164", 109}, {"", 110}}},
                                             {"C2", 103, {{"a longer value", 111}, {"\xC3\xA9", 112}}}};

// Two integers and two categories.
RowSchema MakeCriteo(unsigned choice) {
  RowSchema schema = RowSchema::Criteo(2, 2);
  schema.categories_are_ids = (choice & 8) != 0;
  schema.category_ids = kIds;
  schema.negative_label = (choice & 16) != 0 ? -1 : 0;
  return schema;
}

// A column of each kind, in a file with commas or bars, with a header or without.
RowSchema MakeLog(unsigned choice) {
  RowSchema schema = RowSchema::Criteo(1, 1);
  schema.columns.insert(schema.columns.begin() + 1, {"F1", Kind::kFloat, {-1.5, 0.0, 1e10}, 0, 1});
  schema.columns.push_back({"M1", Kind::kMultiValued, {}, ' ', 3});
  schema.label_name = "click";
  schema.clicks = {"1", "yes"};
  schema.text = {(choice & 16) != 0 ? '|' : ',', (choice & 8) != 0, {"NA", "-"}};
  if (!schema.text.has_header) {
    schema.file_columns = {"C1", "time", "F1", "click", "M1", "I1"};
  }
  return schema;
}

RowEncoder MakeEncoder(unsigned choice) {
  const DenseEncoding encoding = {(choice & 1) != 0, (choice & 2) != 0, (choice & 4) != 0, (choice & 1) != 0};
  const RowSchema schema = choice < 32 ? MakeCriteo(choice) : MakeLog(choice);
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
      const std::string fault = Diagnose(number, line, reason, encoder.Schema(), *chunk.form);
      Require(!fault.empty() && fault.find('\n') == std::string::npos);
    }
  });
  Require(rows == lines.rows && number == lines.reasons.size());
  for (size_t index = 0; index < rows * encoder.IdCount(); ++index) {
    Require(lines.ids[index] >= -1 && lines.ids[index] <= kLargestId);
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

// Reads and encodes a file; returns the text of its chunks.
std::string EncodeFile(int descriptor, const RowEncoder &encoder, size_t chunk_lines) {
  RowReader reader(descriptor, "rows", encoder.Schema(), chunk_lines, std::chrono::milliseconds(0));
  std::string joined;
  Chunk chunk;
  EncodedLines lines;
  while (reader.Read(&chunk)) {
    encoder.Encode(chunk.text, *chunk.form, &lines);
    Check(encoder, chunk, lines);
    joined += chunk.text;
  }
  return joined;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const std::vector<RowEncoder> encoders = [] {
    std::vector<RowEncoder> all;
    for (unsigned choice = 0; choice < kChoices; ++choice) {
      all.push_back(MakeEncoder(choice));
    }
    return all;
  }();
  if (size == 0) {
    return 0;
  }
  const RowEncoder &encoder = encoders[data[0] % kChoices];
  const std::string_view content(reinterpret_cast<const char *>(data) + 1, size - 1);
  const int descriptor = MakeFile(content.data(), content.size());
  try {
    const std::string joined = EncodeFile(descriptor, encoder, data[0] < 128 ? 1000 : 2);
    const bool has_header = encoder.Schema().text.has_header;
    const size_t header_end = has_header ? std::min(content.find('\n'), content.size() - 1) + 1 : 0;
    Require(joined == content.substr(header_end));
  } catch (const Error &) {
    Require(encoder.Schema().text.has_header);  // any other file is read
  }
  close(descriptor);
  return 0;
}
