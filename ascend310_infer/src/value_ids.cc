// SPDX-License-Identifier: Apache-2.0
#include "value_ids.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>

#include "buckets.h"
#include "error.h"

namespace {

constexpr uint32_t kFree = std::numeric_limits<uint32_t>::max();
constexpr size_t kHeadBytes = sizeof(uint64_t);

// Returns up to eight bytes at the beginning of a text as a number.
uint64_t HeadOf(std::string_view text) {
  uint64_t head = 0;
  if (text.size() >= kHeadBytes) {
    std::memcpy(&head, text.data(), kHeadBytes);
  } else if (!text.empty()) {
    std::memcpy(&head, text.data(), text.size());
  }
  return head;
}

std::string_view TailOf(std::string_view text) { return text.substr(std::min(kHeadBytes, text.size())); }

uint64_t Mix(uint64_t hash) {
  hash *= 0x9E3779B97F4A7C15U;
  return hash ^ (hash >> 32);
}

uint64_t HashOf(std::string_view text) {
  uint64_t hash = Mix(HeadOf(text) + text.size());
  for (text = TailOf(text); !text.empty(); text = TailOf(text)) {
    hash = Mix(hash ^ HeadOf(text));
  }
  return hash;
}

Error Twice(const FieldVocabulary &field, std::string_view value) {
  return Error(Text("the vocabulary of ", field.name, " has the value \"", value, "\" twice; write the package again"));
}

}  // namespace

CategoryIds::CategoryIds(const FieldVocabulary &field) : oov_id_(field.oov_id) {
  size_t size = 2;
  while (size < 2 * field.values.size()) {
    size *= 2;
  }
  entries_.assign(size, {0, kFree, oov_id_, 0});
  for (const auto &[text, id] : field.values) {
    if (text.size() >= kFree) {
      throw Error(Text("the vocabulary of ", field.name, " has a value of ", text.size(), " bytes"));
    }
    auto &entry = const_cast<Entry &>(FindEntry(text));
    if (entry.bytes != kFree) {
      throw Twice(field, text);
    }
    entry = {HeadOf(text), static_cast<uint32_t>(text.size()), id, tails_.size()};
    tails_ += TailOf(text);
  }
}

const CategoryIds::Entry &CategoryIds::FindEntry(std::string_view value) const {
  const uint64_t head = HeadOf(value);
  for (size_t index = HashOf(value);; ++index) {
    const Entry &entry = entries_[index & (entries_.size() - 1)];
    if (entry.bytes == kFree) {
      return entry;
    }
    if (entry.head == head && entry.bytes == value.size()) {
      const std::string_view tail = TailOf(value);
      if (tail.empty() || std::string_view(tails_).substr(entry.tail, tail.size()) == tail) {
        return entry;
      }
    }
  }
}

int32_t CategoryIds::Find(std::string_view value) const { return FindEntry(value).id; }

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
    throw Twice(field, std::to_string(twice->first));
  }
}

int32_t BucketIds::Find(int64_t integer) const {
  const int64_t bucket = BucketOf(integer);
  const auto is_before = [](const auto &pair, int64_t wanted) { return pair.first < wanted; };
  const auto found = std::lower_bound(ids_.begin(), ids_.end(), bucket, is_before);
  return found != ids_.end() && found->first == bucket ? found->second : oov_id_;
}
