// SPDX-License-Identifier: Apache-2.0
#include "checks.h"

#include <cmath>
#include <cstring>

#include "error.h"

namespace {

// Returns the number at a place of an array in bytes, which need not be aligned.
template <typename Number>
Number At(const std::vector<char> &bytes, size_t place) {
  Number number;
  std::memcpy(&number, bytes.data() + place * sizeof(Number), sizeof(Number));
  return number;
}

std::string Cell(const std::filesystem::path &path, size_t place, size_t width) {
  return Text(path.string(), ": row ", place / width + 1, ", column ", place % width + 1, ": ");
}

}  // namespace

void CheckIds(const std::filesystem::path &path, const std::vector<char> &bytes, size_t width,
              int64_t vocabulary_size) {
  for (size_t place = 0; place < bytes.size() / sizeof(int32_t); ++place) {
    if (const auto id = At<int32_t>(bytes, place); id < 0 || id >= vocabulary_size) {
      throw Error(Text(Cell(path, place, width), "the id ", id, " is not one of the ", vocabulary_size,
                       " ids of the model's table, from 0 on; is this the folder of sparse ids of the model's data?"));
    }
  }
}

void CheckDenseValues(const std::filesystem::path &path, const std::vector<char> &bytes, size_t width) {
  for (size_t place = 0; place < bytes.size() / sizeof(float); ++place) {
    if (const auto value = At<float>(bytes, place); !std::isfinite(value)) {
      throw Error(Text(Cell(path, place, width), "the dense value ", value, " is not finite; preprocess again"));
    }
  }
}
