// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vocabulary.h"

// The ids of the categories of a field: a hash table with open addressing, in which a lookup of a value of up to eight
// bytes, as Criteo's are, reads one entry.  The empty text is a missing value.
class CategoryIds {
 public:
  // The beginning of a search.
  struct Query {
    uint64_t head;  // the first eight bytes of the value as a number
    size_t index;   // of the first entry
  };

  // Throws Error if a value is there twice.
  explicit CategoryIds(const FieldVocabulary &field);

  // Prepares the search of a value, and lets the processor fetch the entry where it begins: a program that prepares
  // many before the first Find does not wait for memory.
  Query Prepare(std::string_view value) const;
  // Returns the id of a value, that of OOV if it is unseen.
  int32_t Find(std::string_view value, const Query &query) const { return FindEntry(value, query).id; }
  int32_t Find(std::string_view value) const { return Find(value, Prepare(value)); }

 private:
  struct Entry {
    uint64_t head;
    uint32_t kind;  // the bytes of a short value, kShortKinds and an index of tails_ for a long one, or kFree
    int32_t id;
  };

  const Entry &FindEntry(std::string_view value, const Query &query) const;

  std::vector<Entry> entries_;      // their number is a power of 2
  std::vector<std::string> tails_;  // the bytes of long values after the eighth
};

// The ids of the buckets of a field.
class BucketIds {
 public:
  // Throws Error if a value is not an integer, or there twice.
  explicit BucketIds(const FieldVocabulary &field);

  // Returns the id of a bucket, that of OOV if it is unseen.
  int32_t Find(int64_t bucket) const;
  int32_t MissingId() const { return missing_id_; }

 private:
  int32_t oov_id_;
  int32_t missing_id_;
  std::vector<std::pair<int64_t, int32_t>> ids_;  // by bucket, sorted
};
