// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// Returns the bucket of an integer x: floor(ln(x)^2) above 2, else x itself; exact, by a table.
int64_t BucketOf(int64_t integer);

// Returns its bin: the smallest integer of its bucket above 2, else x itself.
int64_t BinOf(int64_t integer);
