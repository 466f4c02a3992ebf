// SPDX-License-Identifier: Apache-2.0
#include "manifest.h"

#include "harness.h"
#include "manifest_example.h"

namespace {

const std::string kExample = ExampleManifest(kIdentity, R"("a": {"bytes": 3, "sha256": ")" + std::string(kIdentity) + "\"}");

Manifest ParseText(const std::string &text) { return ParseManifest(text, "p.json"); }

// Checks that the example with another part is refused.
void Refuse(const std::string &part, const std::string &other, const std::string &message) {
  CHECK_ERROR(ParseText(Replaced(kExample, part, other)), "p.json: " + message);
}

}  // namespace

TEST(manifest, everything_that_the_program_needs_is_read) {
  const Manifest manifest = ParseText(kExample);
  CHECK_EQUAL(manifest.rows.Count(Kind::kInteger), 1U);
  CHECK_EQUAL(manifest.rows.Count(Kind::kCategory), 1U);
  CHECK_EQUAL(manifest.encoding.has_values && manifest.encoding.is_logarithmic && manifest.encoding.has_buckets, true);
  CHECK_EQUAL(manifest.encoding.has_bins, true);
  CHECK_EQUAL(manifest.scales[0].center, 2.0);
  CHECK_EQUAL(manifest.scales[0].divisor, 0.5);
  CHECK_EQUAL(Joined(manifest.sparse_fields), "I1,C1");
  CHECK_EQUAL(Joined(manifest.VocabularyFields()), "I1,C1");
  CHECK_EQUAL(manifest.vocabulary_size, 5);
  CHECK_EQUAL(manifest.data_identity, kIdentity);
  CHECK_EQUAL(manifest.data.at("dense_scales"), "[[2.0,0.5]]");
  CHECK_EQUAL(manifest.data.at("dense_encoding"), "log+bin");
  CHECK_EQUAL(manifest.training_rates.at("I1").missing, 0.25);
  CHECK_EQUAL(manifest.training_rates.at("C1").oov.has_value(), false);
  CHECK_EQUAL(manifest.batch_rows, 4U);
  CHECK_EQUAL(manifest.files.at("a").bytes, 3U);
  CHECK_EQUAL(manifest.recalibration.Apply(0.5F) < 0.5F, true);
  const std::string without =
      Replaced(kExample, R"({"method": "platt", "logits": [-1.0, 1.0], "targets": [-2, 0.5]})", "null");
  CHECK_EQUAL(ParseText(without).recalibration.Apply(0.5F), 0.5F);
}

TEST(manifest, what_is_no_json_is_refused) {
  for (const std::string text : {"", "{", "\xFF", "{\"format_version\": 1}}", "nan", "[1", "{\"a\": 1e999}"}) {
    CHECK_ERROR(ParseText(text), "p.json: ");
  }
  CHECK_ERROR(ParseText("{"), "p.json: is not JSON; write the package again");
  CHECK_ERROR(ParseText("[]"), "p.json: the content must be an object");
}

TEST(manifest, deeply_nested_json_is_refused) {
  const auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  const std::string message = "p.json: is JSON nested more than 100 deep; write the package again";
  const std::string rest = Replaced(kExample, "\"dense_encoding\"", "\"other\": NESTED, \"dense_encoding\"");
  CHECK_EQUAL(ParseText(Replaced(rest, "NESTED", nested(90))).data.at("other"), nested(90));
  for (const size_t depth : {110, 4000000}) {
    CHECK_ERROR(ParseText(Replaced(rest, "NESTED", nested(depth))), message);
    CHECK_ERROR(ParseText(nested(depth)), message);
    CHECK_ERROR(ParseText(std::string(depth, '[')), message);
    CHECK_EQUAL(CompactJson(nested(depth)).has_value(), false);
  }
}

TEST(manifest, other_format_versions_are_refused) {
  Refuse("\"format_version\": 1", "\"format_version\": 2", "was written by a newer version of this project");
  Refuse("\"format_version\": 1", "\"format_version\": 9223372036854775808", "format_version must be a whole number");
  Refuse("\"format_version\": 1", "\"format_version\": 1.0", "format_version must be a whole number");
  Refuse("\"format_version\": 1", "\"format_version\": true", "format_version must be a whole number");
  Refuse("\"format_version\": 1,", "", "has no format_version; write the package again");
}

TEST(manifest, values_of_other_types_and_sizes_are_refused) {
  Refuse("\"dense_dim\": 1", "\"dense_dim\": -1", "rows.dense_dim must be a whole number from 0 to 10000");
  Refuse("\"dense_dim\": 1", "\"dense_dim\": 4000000000", "rows.dense_dim must be a whole number from 0 to 10000");
  Refuse("\"slot_dim\": 1", "\"slot_dim\": \"1\"", "rows.slot_dim must be a whole number");
  Refuse("\"categories_are_ids\": false", "\"categories_are_ids\": 0", "rows.categories_are_ids must be true or false");
  Refuse("\"negative_label\": 0", "\"negative_label\": 2", "rows.negative_label must be a whole number from -1 to 0");
  Refuse("\"log+bin\"", "\"exp\"", "data.dense_encoding must be max, log, bin, log+bin, bucket or log+bucket");
  Refuse("\"log+bin\"", "3", "data.dense_encoding must be text");
  Refuse("[2.0, 0.5]", "[2.0]", "data.dense_scales[0] must be a center and a positive divisor");
  Refuse("[2.0, 0.5]", "[2.0, 0]", "data.dense_scales[0] must be a center and a positive divisor");
  Refuse("[2.0, 0.5]", "[2.0, null]", "data.dense_scales[0][1] must be a number");
  Refuse("[[2.0, 0.5]]", "{}", "data.dense_scales must be a list");
  Refuse("\"mindir_batch_rows\": 4", "\"mindir_batch_rows\": 0", "mindir_batch_rows must be a whole number from 1");
  Refuse("\"bytes\": 3", "\"bytes\": 1e3", "files.\"a\".bytes must be a whole number");
  Refuse("\"bytes\": 3", "\"bytes\": 18446744073709551615", "files.\"a\".bytes must be a whole number");
  Refuse("\"a\": {\"bytes\": 3", "\"\\n\u00e9\": {\"bytes\": -3", "files.\"\\n\\u00e9\".bytes must be a whole number");
  Refuse("\"sha256\": \"11", "\"sha256\": \"1G", "files.\"a\".sha256 must be a SHA-256, 64 digits");
  Refuse("\"missing_rate\": 0.25", "\"missing_rate\": 1.5", "fields[0].missing_rate must be a number from 0 to 1");
  Refuse("\"rows\": {", "\"rows\": [{", "is not JSON");
  Refuse("[-1.0, 1.0]", "[1.0, -1.0]", "recalibration: must have two or more logits");
}

TEST(manifest, values_that_contradict_each_other_are_refused) {
  Refuse("\"slot_dim\": 1", "\"slot_dim\": 2", "data.sparse_fields must be the sparse fields of rows");
  Refuse("[\"I1\", \"C1\"]", "[\"C1\", \"I1\"]", "data.sparse_fields must be the sparse fields of rows");
  Refuse("\"dense_fields\": [\"I1\"]", "\"dense_fields\": []", "data.dense_fields must be the dense fields of rows");
  Refuse("[[2.0, 0.5]]", "[]", "data.dense_scales must be as many as the dense fields");
  Refuse("\"sparse_field_count\": 2", "\"sparse_field_count\": 3", "network.sparse_field_count must be the number of");
  Refuse("\"dense_field_count\": 1", "\"dense_field_count\": 0", "network.dense_field_count must be the number of");
  Refuse("{\"vocabulary_size\": 5", "{\"vocabulary_size\": 6", "network.vocabulary_size must be that of data");
}

TEST(manifest, json_is_compared_without_its_spaces) {
  CHECK_EQUAL(CompactJson("[ 1.50, \"a\" ]").value(), "[1.5,\"a\"]");
  CHECK_EQUAL(CompactJson("[1").has_value(), false);
}
