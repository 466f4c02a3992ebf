// SPDX-License-Identifier: Apache-2.0
// A package.json of rows with an integer and a category, for several tests.
#pragma once

#include <string>

constexpr char kIdentity[] = "1111111111111111111111111111111111111111111111111111111111111111";

// files: the content of the object of this name.
inline std::string ExampleManifest(const std::string &vocabulary_sha256, const std::string &files = "") {
  return R"({"format_version": 1,
 "network": {"vocabulary_size": 5, "sparse_field_count": 2, "dense_field_count": 1, "embedding_size": 4,
             "hidden_sizes": [5]},
 "rows": {"dense_dim": 1, "slot_dim": 1, "categories_are_ids": false, "negative_label": 0},
 "data": {"vocabulary_sha256": ")" + vocabulary_sha256 + R"(", "sparse_fields": ["I1", "C1"], "dense_fields": ["I1"],
          "dense_encoding": "log+bin", "dense_scales": [[2.0, 0.5]], "vocabulary_size": 5},
 "data_identity": ")" + kIdentity + R"(",
 "recalibration": {"method": "platt", "logits": [-1.0, 1.0], "targets": [-2, 0.5]},
 "fields": [{"name": "I1", "missing_rate": 0.25, "oov_rate": 0.0},
            {"name": "C1", "missing_rate": 0, "oov_rate": null}],
 "mindir_batch_rows": 4,
 "files": {)" + files + "}}";
}

// Returns a text in which one part is replaced.
inline std::string Replaced(std::string text, const std::string &part, const std::string &other) {
  return text.replace(text.find(part), part.size(), other);
}
