// SPDX-License-Identifier: Apache-2.0
#include "buckets.h"

#include <algorithm>
#include <iterator>

namespace {

constexpr int64_t kBucketStarts[] = {
#include "bucket_starts.inc"
};

}  // namespace

int64_t BucketOf(int64_t integer) {
  if (integer <= 2) {
    return integer;
  }
  return std::upper_bound(std::begin(kBucketStarts), std::end(kBucketStarts), integer) - std::begin(kBucketStarts);
}
