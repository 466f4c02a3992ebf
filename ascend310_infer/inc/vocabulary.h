// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// A kept value of a field; the text is a part of the file's.
struct VocabularyValue {
  std::string_view text;
  int32_t id;
};

struct FieldVocabulary {
  std::string name;
  int32_t oov_id = 0;
  std::vector<VocabularyValue> values;

  // Returns the id of a missing value.
  int32_t MissingId() const;
};

// Reads the text of a vocabulary.tsv with these fields: first the row of the OOV id of each, in their order, then the
// kept values; the ids are consecutive and end before `size`.  Throws Error, with the number of the line, for another
// text.  where: the path, for messages.
std::vector<FieldVocabulary> ReadVocabulary(std::string_view text, const std::vector<std::string> &fields, int64_t size,
                                            const std::string &where);
