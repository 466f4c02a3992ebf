// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

// Returns a line with the mean and the percentiles of the batch times, and rows/s.  milliseconds: of each batch, one or
// more; batch_rows: the rows of a full batch; row_count: the rows of all batches.
std::string DescribeTimes(std::vector<double> milliseconds, size_t batch_rows, size_t row_count);
