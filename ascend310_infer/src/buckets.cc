// SPDX-License-Identifier: Apache-2.0
#include "buckets.h"

#include <algorithm>
#include <iterator>

namespace {

constexpr int64_t kBucketStarts[] = {
#include "bucket_starts.inc"
};

// Returns the end of the starts that are not above an integer.
const int64_t *StartsEnd(int64_t integer) {
  return std::upper_bound(std::begin(kBucketStarts), std::end(kBucketStarts), integer);
}

}  // namespace

int64_t BucketOf(int64_t integer) {
  return integer <= 2 ? integer : StartsEnd(integer) - std::begin(kBucketStarts);
}

int64_t BinOf(int64_t integer) { return integer <= 2 ? integer : *std::prev(StartsEnd(integer)); }
