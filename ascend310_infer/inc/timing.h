// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

// Returns a line on how long batches took.  milliseconds: of each batch; rows: in all of them.
std::string DescribeTimes(std::vector<double> milliseconds, size_t batch_rows, size_t rows);
