// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

// These throw Error for numbers that a model would take and score without an error.  `path` is the file that holds the
// numbers, `width` how many of them make a row; rows and columns are counted from 1.

// Ids, int32, must be rows of the embedding table: from 0 to vocabulary_size - 1.
void CheckIds(const std::filesystem::path &path, const std::vector<char> &bytes, size_t width, int64_t vocabulary_size);

// Dense values, float32, must be finite.
void CheckDenseValues(const std::filesystem::path &path, const std::vector<char> &bytes, size_t width);
