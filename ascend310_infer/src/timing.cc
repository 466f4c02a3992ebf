// SPDX-License-Identifier: Apache-2.0
#include "timing.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <numeric>
#include <sstream>

namespace {

// The smallest value that `share` of the sorted values do not exceed.
double Percentile(const std::vector<double> &sorted, double share) {
  const auto place = static_cast<size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::max<size_t>(place, 1) - 1];
}

}  // namespace

std::string DescribeTimes(std::vector<double> milliseconds, size_t batch_rows, size_t rows) {
  std::sort(milliseconds.begin(), milliseconds.end());
  const double total = std::accumulate(milliseconds.begin(), milliseconds.end(), 0.0);
  std::ostringstream line;
  line << std::fixed << std::setprecision(3) << "batches of " << batch_rows << " rows: " << milliseconds.size()
       << ", ms each: mean " << total / static_cast<double>(milliseconds.size()) << ", p50 "
       << Percentile(milliseconds, 0.5) << ", p90 " << Percentile(milliseconds, 0.9) << ", p99 "
       << Percentile(milliseconds, 0.99) << "; rows/s " << std::setprecision(0)
       << static_cast<double>(rows) / total * 1e3;
  return line.str();
}
