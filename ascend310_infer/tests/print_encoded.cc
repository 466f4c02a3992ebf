// SPDX-License-Identifier: Apache-2.0
// usage: print_encoded FOLDER < ROWS: prints how the package in FOLDER encodes each row, for the comparison with Python:
// the reason why it is malformed, or its ids and the bits of its dense values in hexadecimal.  The first line says
// whether the rows have labels.  Of the package it reads package.json and vocabulary.tsv.
#include <unistd.h>

#include <cstring>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>

#include "package.h"
#include "row_reader.h"

namespace {

constexpr size_t kChunkLines = 1000;

std::string ReadText(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void PrintRow(const RowEncoder &encoder, const EncodedLines &lines, size_t row) {
  for (size_t index = 0; index < encoder.IdCount(); ++index) {
    std::cout << std::dec << lines.ids[row * encoder.IdCount() + index] << " ";
  }
  for (size_t index = 0; index < encoder.ValueCount(); ++index) {
    uint32_t bits = 0;
    std::memcpy(&bits, &lines.values[row * encoder.ValueCount() + index], sizeof(bits));
    std::cout << std::hex << bits << " ";
  }
  std::cout << "\n";
}

void PrintRows(const std::string &folder) {
  const Manifest manifest = ParseManifest(ReadText(folder + "/package.json"), "package.json");
  const RowEncoder encoder = MakeEncoder(manifest, ReadText(folder + "/vocabulary.tsv"), "vocabulary.tsv");
  RowReader reader(STDIN_FILENO, "stdin", encoder.Schema(), kChunkLines, std::chrono::milliseconds(0));
  Chunk chunk;
  EncodedLines lines;
  while (reader.Read(&chunk)) {
    if (chunk.number == 0) {
      std::cout << (chunk.form->has_label ? "labels\n" : "no labels\n");
    }
    encoder.Encode(chunk.text, *chunk.form, &lines);
    size_t row = 0;
    for (const Reason reason : lines.reasons) {
      if (reason == Reason::kNone) {
        PrintRow(encoder, lines, row++);
      } else {
        std::cout << kReasonNames[static_cast<size_t>(reason)] << "\n";
      }
    }
  }
}

}  // namespace

int main(int argc, char **argv) {
  std::ios::sync_with_stdio(false);
  try {
    PrintRows(argc == 2 ? argv[1] : ".");
  } catch (const std::exception &error) {
    std::cerr << "error: " << error.what() << std::endl;
    return 2;
  }
  return 0;
}
