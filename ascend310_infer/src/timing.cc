// SPDX-License-Identifier: Apache-2.0
#include "timing.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <numeric>
#include <sstream>

namespace {

// Returns the smallest value that is not exceeded by at least this fraction of the sorted values (the nearest rank).
double Percentile(const std::vector<double> &sorted, double fraction) {
  const auto rank = static_cast<size_t>(std::ceil(fraction * static_cast<double>(sorted.size())));
  return sorted[std::max<size_t>(rank, 1) - 1];
}

}  // namespace

std::string DescribeTimes(std::vector<double> milliseconds, size_t batch_rows, size_t row_count) {
  std::sort(milliseconds.begin(), milliseconds.end());
  const double total = std::accumulate(milliseconds.begin(), milliseconds.end(), 0.0);
  std::ostringstream line;
  line << std::fixed << std::setprecision(3) << "batches of " << batch_rows << " rows: " << milliseconds.size()
       << ", ms each: mean " << total / static_cast<double>(milliseconds.size()) << ", p50 "
       << Percentile(milliseconds, 0.5) << ", p90 " << Percentile(milliseconds, 0.9) << ", p99 "
       << Percentile(milliseconds, 0.99) << "; rows/s " << std::setprecision(0)
       << static_cast<double>(row_count) / total * 1e3;
  return line.str();
}
