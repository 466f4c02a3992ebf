// SPDX-License-Identifier: Apache-2.0
// A libFuzzer target: a package.json, and the encoder that it and a vocabulary make.  An input is a package.json; a byte
// 0xFF in it, which no UTF-8 has, ends it, and what follows is a vocabulary.tsv.
#include <cstdlib>
#include <string_view>

#include "error.h"
#include "package.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const std::string_view input(reinterpret_cast<const char *>(data), size);
  const size_t end = input.find('\xFF');
  try {
    const Manifest manifest = ParseManifest(input.substr(0, end), "package.json");
    if (const float probability = manifest.recalibration.Apply(0.25F); !(probability >= 0 && probability <= 1)) {
      std::abort();
    }
    if (end != std::string_view::npos && manifest.rows.Count(Kind::kInteger) < 8) {  // the tables of more integers take long
      MakeEncoder(manifest, input.substr(end + 1), "vocabulary.tsv");
    }
  } catch (const Error &) {  // any other exception is a fault
  }
  return 0;
}
