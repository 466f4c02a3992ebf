// SPDX-License-Identifier: Apache-2.0
// usage: print_metadata FILE ...: prints the metadata of each MindIR file in a line, pairs of names and values in
// hexadecimal, for the comparison with protobuf.
#include <iomanip>
#include <iostream>
#include <sstream>

#include "metadata.h"

namespace {

std::string Hexadecimal(const std::string &text) {
  std::ostringstream digits;
  digits << std::hex << std::setfill('0');
  for (const unsigned char byte : text) {
    digits << std::setw(2) << int{byte};
  }
  return digits.str();
}

}  // namespace

int main(int argc, char **argv) {
  for (int file = 1; file < argc; ++file) {
    for (const auto &[name, value] : ReadModelMetadata(argv[file])) {
      std::cout << Hexadecimal(name) << "=" << Hexadecimal(value) << " ";
    }
    std::cout << "\n";
  }
  return 0;
}
