// SPDX-License-Identifier: Apache-2.0
#include "value_ids.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>

#include "error.h"

namespace {

constexpr size_t kHeadBytes = sizeof(uint64_t);
constexpr uint32_t kShortKinds = kHeadBytes + 1;
constexpr uint32_t kFree = std::numeric_limits<uint32_t>::max();

// Returns up to eight bytes at the beginning of a text as a number.
uint64_t HeadOf(std::string_view text) {
  uint64_t head = 0;
  if (text.size() >= kHeadBytes) {
    std::memcpy(&head, text.data(), kHeadBytes);
    return head;
  }
  for (const char byte : text) {
    head = head << 8 | static_cast<unsigned char>(byte);
  }
  return head;
}

std::string_view TailOf(std::string_view text) { return text.substr(std::min(kHeadBytes, text.size())); }

uint64_t Mix(uint64_t hash) {
  hash *= 0x9E3779B97F4A7C15U;
  return hash ^ (hash >> 32);
}

Error Twice(const FieldVocabulary &field, int32_t id) {
  return Error(Text("the vocabulary of ", field.name, " has the value of id ", id, " twice; write the package again"));
}

}  // namespace

CategoryIds::CategoryIds(const FieldVocabulary &field) {
  size_t size = 2;
  while (2 * size < 3 * field.values.size()) {
    size *= 2;
  }
  entries_.assign(size, {0, kFree, field.oov_id});
  for (const auto &[text, id] : field.values) {
    const Query query = Prepare(text);
    auto &entry = const_cast<Entry &>(FindEntry(text, query));
    if (entry.kind != kFree) {
      throw Twice(field, id);
    }
    entry = {query.head, static_cast<uint32_t>(text.size()), id};
    if (text.size() > kHeadBytes) {
      entry.kind = kShortKinds + static_cast<uint32_t>(tails_.size());
      tails_.emplace_back(TailOf(text));
    }
  }
}

CategoryIds::Query CategoryIds::Prepare(std::string_view value) const {
  const uint64_t head = HeadOf(value);
  uint64_t hash = Mix(head + value.size());
  for (std::string_view tail = TailOf(value); !tail.empty(); tail = TailOf(tail)) {
    hash = Mix(hash ^ HeadOf(tail));
  }
  const size_t index = hash & (entries_.size() - 1);
  __builtin_prefetch(&entries_[index]);
  return {head, index};
}

const CategoryIds::Entry &CategoryIds::FindEntry(std::string_view value, const Query &query) const {
  const bool is_short = value.size() <= kHeadBytes;
  for (size_t index = query.index;; index = (index + 1) & (entries_.size() - 1)) {
    const Entry &entry = entries_[index];
    const bool is_same = is_short ? entry.kind == value.size()
                                  : entry.kind >= kShortKinds && entry.kind != kFree &&
                                        tails_[entry.kind - kShortKinds] == TailOf(value);
    if (entry.kind == kFree || (entry.head == query.head && is_same)) {
      return entry;
    }
  }
}

BucketIds::BucketIds(const FieldVocabulary &field) : oov_id_(field.oov_id), missing_id_(field.MissingId()) {
  for (const auto &[text, id] : field.values) {
    int64_t bucket = 0;
    const char *end = text.data() + text.size();
    const auto [rest, code] = std::from_chars(text.data(), end, bucket);
    if (text.empty()) {
      continue;
    }
    if (code != std::errc() || rest != end) {
      throw Error(Text("the vocabulary of ", field.name, " has a value that is no bucket; write the package again"));
    }
    ids_.emplace_back(bucket, id);
  }
  std::sort(ids_.begin(), ids_.end());
  const auto is_same = [](const auto &one, const auto &next) { return one.first == next.first; };
  if (const auto twice = std::adjacent_find(ids_.begin(), ids_.end(), is_same); twice != ids_.end()) {
    throw Twice(field, twice->second);
  }
}

int32_t BucketIds::Find(int64_t bucket) const {
  const auto is_before = [](const auto &pair, int64_t wanted) { return pair.first < wanted; };
  const auto found = std::lower_bound(ids_.begin(), ids_.end(), bucket, is_before);
  return found != ids_.end() && found->first == bucket ? found->second : oov_id_;
}
