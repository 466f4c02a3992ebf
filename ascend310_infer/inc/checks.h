// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

// These checks throw Error for values that a model would accept without an error.  `path` is the file of the values and
// `width` the number of values in a row; messages count rows and columns from 1.

// Ids, int32, must be rows of the embedding table: from 0 to vocabulary_size - 1.
void CheckIds(const std::filesystem::path &path, const std::vector<char> &bytes, size_t width, int64_t vocabulary_size);

// Dense values, float32, must be finite.
void CheckDenseValues(const std::filesystem::path &path, const std::vector<char> &bytes, size_t width);
