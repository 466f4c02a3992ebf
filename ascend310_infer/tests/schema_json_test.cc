// SPDX-License-Identifier: Apache-2.0
#include "schema_json.h"

#include "harness.h"
#include "manifest.h"
#include "manifest_example.h"

namespace {

const std::string kRows = R"({"label": {"column": "click", "click": ["1", "yes"]}, "integers": ["age"], "floats": ["price"],
 "categories": ["site"], "multi_valued": {"ads": " ", "tags": "|"}, "columns": [], "separator": ",", "header": true,
 "missing": ["NA"], "weight": null, "time": "hour", "categories_are_ids": false, "negative_label": 0})";
const std::string kData = R"({"sparse_fields": ["age", "price", "site", "tags", "ads"], "bucket_edges": {"price": [0, 1.5]},
 "list_lengths": {"tags": 3, "ads": 2}})";

RowSchema SchemaOf(const std::string &rows, const std::string &data = kData, bool have_buckets = true) {
  const Json rows_json = ParseJson(rows, "p.json");
  const Json data_json = ParseJson(data, "p.json");
  return ReadSchema(Value(&rows_json, "p.json", "rows"), Value(&data_json, "p.json", "data"), have_buckets);
}

// Checks that the rows or the data with another part are refused.
void RefuseRows(const std::string &part, const std::string &other, const std::string &message) {
  CHECK_ERROR(SchemaOf(Replaced(kRows, part, other)), "p.json: " + message);
}

void RefuseData(const std::string &part, const std::string &other, const std::string &message) {
  CHECK_ERROR(SchemaOf(kRows, Replaced(kData, part, other)), "p.json: " + message);
}

std::string NamesOf(const RowSchema &schema) {
  std::vector<std::string> names;
  for (const auto &column : schema.columns) {
    names.push_back(column.name);
  }
  return Joined(names);
}

}  // namespace

TEST(schema_json, the_columns_of_a_log_are_read) {
  const RowSchema schema = SchemaOf(kRows);
  CHECK_EQUAL(NamesOf(schema), "age,price,site,tags,ads");  // the last ones in the order of the sparse fields
  CHECK_EQUAL(schema.label_name, "click");
  CHECK_EQUAL(Joined(schema.clicks), "1,yes");
  CHECK_EQUAL(schema.text.separator, ',');
  CHECK_EQUAL(schema.text.has_header, true);
  CHECK_EQUAL(Joined(schema.text.missing), "NA");
  CHECK_EQUAL((schema.columns[1].bucket_edges == std::vector<double>{0, 1.5}), true);
  CHECK_EQUAL(schema.columns[3].separator, '|');
  CHECK_EQUAL(schema.columns[3].list_length, 3U);
  CHECK_EQUAL(SchemaOf(kRows, Replaced(kData, "bucket_edges", "x"), false).columns[1].bucket_edges.size(), 0U);
}

TEST(schema_json, keys_without_columns_may_be_left_out) {
  const RowSchema schema = SchemaOf(R"({"label": "click", "integers": [], "categories": ["site"], "separator": "\t",
      "columns": ["site", "hour", "click"], "header": false, "missing": [], "categories_are_ids": true})", "{}");
  CHECK_EQUAL(NamesOf(schema), "site");
  CHECK_EQUAL(schema.clicks.size(), 0U);
  CHECK_EQUAL(Joined(schema.file_columns), "site,hour,click");
  CHECK_EQUAL(schema.categories_are_ids, true);
}

TEST(schema_json, wrong_rows_are_refused) {
  RefuseRows("\"label\"", "\"labels\"", "has no rows.label");
  RefuseRows("\"column\"", "\"columns\"", "has no rows.label.column");
  RefuseRows("[\"1\", \"yes\"]", "\"1\"", "rows.label.click must be a list");
  RefuseRows("[\"age\"]", "[\"\"]", "rows.integers[0] must be the name of a column");
  RefuseRows("[\"age\"]", "[\"<key>\"]", "rows.integers[0] must be the name of a column");
  RefuseRows("[\"age\"]", "[\"site\"]", "rows must not name a column twice");
  RefuseRows("[\"age\"]", "[\"click\"]", "rows must not name a column twice");
  RefuseRows("\"columns\": []", "\"columns\": [\"age\"]", "rows must not have columns and a header");
  RefuseRows("\"columns\": [], \"separator\": \",\", \"header\": true",
             "\"columns\": [\"age\", \"age\"], \"separator\": \",\", \"header\": false", "rows must not name a column twice");
  RefuseRows("\"columns\": [], \"separator\": \",\", \"header\": true",
             "\"columns\": [\"age\"], \"separator\": \",\", \"header\": false", "rows must have all columns in columns");
  for (const std::string separator : {"", "\\n", "\\r", "\\\"", ",,", "\u00e9"}) {
    RefuseRows("\"separator\": \",\"", "\"separator\": \"" + separator + "\"", "rows.separator must be one ASCII character");
  }
  RefuseRows("\"|\"}, \"columns\": [], \"separator\": \",\"", "\";\"}, \"columns\": [], \"separator\": \";\"",
             "rows.multi_valued.tags must not be the separator of the file");
  CHECK_EQUAL(SchemaOf(Replaced(kRows, "\"|\"", "\",\"")).columns[3].separator, ',');  // as cells may be in quotes
  RefuseRows("\"categories_are_ids\": false", "\"categories_are_ids\": true",
             "rows.multi_valued must be empty where categories are ids");
  CHECK_ERROR(SchemaOf(R"({"label": "click", "separator": ",", "header": true, "missing": [], "categories_are_ids": false})"),
              "rows must have columns");
}

TEST(schema_json, wrong_data_are_refused) {
  RefuseData("\"price\": [0, 1.5]", "\"age\": [0, 1.5]", "has no data.bucket_edges.price");
  RefuseData("[0, 1.5]", "[1.5, 1.5]", "data.bucket_edges.price must increase");
  RefuseData("\"tags\": 3", "\"tag\": 3", "has no data.list_lengths.tags");
  RefuseData("\"tags\": 3", "\"tags\": 0", "data.list_lengths.tags must be a whole number from 1 to 10000");
  RefuseData("\"ads\": 2", "\"ads\": 9998", "data.list_lengths.ads must be a whole number from 1 to 9997");
  RefuseData("\"tags\", \"ads\"]", "\"tags\", \"tags\"]", "rows must not name a column twice");
  RefuseData("[\"age\", \"price\", \"site\", \"tags\", \"ads\"]", "[\"ads\"]", "data.sparse_fields must be the sparse");
}

TEST(schema_json, the_network_has_all_fields_of_a_row) {
  std::string manifest = ExampleManifest(kIdentity);
  manifest = Replaced(manifest, R"({"dense_dim": 1, "slot_dim": 1, "categories_are_ids": false, "negative_label": 0})", kRows);
  manifest = Replaced(manifest, R"("sparse_fields": ["I1", "C1"])", kData.substr(1, kData.size() - 2));
  manifest = Replaced(manifest, R"("dense_fields": ["I1"])", R"("dense_fields": ["age", "price"])");
  manifest = Replaced(manifest, "[[2.0, 0.5]]", "[[2.0, 0.5], [0.0, 1.0]]");
  manifest = Replaced(manifest, "\"dense_field_count\": 1", "\"dense_field_count\": 2");
  CHECK_ERROR(ParseManifest(manifest, "p.json"), "network.sparse_field_count must be the number of sparse fields");
  manifest = Replaced(manifest, "\"sparse_field_count\": 2", "\"sparse_field_count\": 5");
  CHECK_EQUAL(Joined(ParseManifest(manifest, "p.json").VocabularyFields()), "age,price,site,tags,ads");
}
