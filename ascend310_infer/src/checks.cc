// SPDX-License-Identifier: Apache-2.0
#include "checks.h"

#include <cmath>
#include <cstring>

#include "error.h"

namespace {

// Returns the number at an index of an array in bytes, which need not be aligned.
template <typename Number>
Number At(const std::vector<char> &bytes, size_t index) {
  Number number;
  std::memcpy(&number, bytes.data() + index * sizeof(Number), sizeof(Number));
  return number;
}

std::string Cell(const std::filesystem::path &path, size_t index, size_t width) {
  return Text(path.string(), ": row ", index / width + 1, ", column ", index % width + 1, ": ");
}

}  // namespace

void CheckIds(const std::filesystem::path &path, const std::vector<char> &bytes, size_t width,
              int64_t vocabulary_size) {
  for (size_t index = 0; index < bytes.size() / sizeof(int32_t); ++index) {
    if (const auto id = At<int32_t>(bytes, index); id < 0 || id >= vocabulary_size) {
      throw Error(Text(Cell(path, index, width), "the id ", id, " is not one of the ", vocabulary_size,
                       " ids of the model's table, from 0 on; is this the folder of sparse ids of the model's data?"));
    }
  }
}

void CheckDenseValues(const std::filesystem::path &path, const std::vector<char> &bytes, size_t width) {
  for (size_t index = 0; index < bytes.size() / sizeof(float); ++index) {
    if (const auto value = At<float>(bytes, index); !std::isfinite(value)) {
      throw Error(Text(Cell(path, index, width), "the dense value ", value, " is not finite; preprocess again"));
    }
  }
}
