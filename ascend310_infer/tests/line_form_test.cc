// SPDX-License-Identifier: Apache-2.0
#include "line_form.h"

#include "harness.h"

namespace {

RowSchema WithHeader(char separator) {
  RowSchema schema = RowSchema::Criteo(1, 1);
  schema.text.separator = separator;
  schema.text.has_header = true;
  return schema;
}

// Returns the positions of the cells of lines behind a header.
std::string PlacesOf(const std::string &header, char separator = ',') {
  std::vector<std::string> positions;
  for (const size_t position : ReadHeader(header, WithHeader(separator), "rows.csv").positions) {
    positions.push_back(std::to_string(position));
  }
  return Joined(positions);
}

}  // namespace

TEST(line_form, rows_without_a_header_have_the_columns_of_the_file_or_of_the_schema) {
  RowSchema schema = RowSchema::Criteo(1, 1);
  CHECK_EQUAL(Joined(FormOf(schema, true).names), "label,I1,C1");
  CHECK_EQUAL(Joined(FormOf(schema, false).names), "I1,C1");
  schema.file_columns = {"C1", "time", "label", "I1"};
  CHECK_EQUAL(Joined(FormOf(schema, false).names), "C1,time,I1");
  CHECK_EQUAL((FormOf(schema, true).positions == std::vector<size_t>{1, 3, 2, 0}), true);
}

TEST(line_form, columns_are_found_by_their_names) {
  CHECK_EQUAL(PlacesOf("I1,C1"), "0,1");
  CHECK_EQUAL(PlacesOf("\xEF\xBB\xBF\"C1\",\"a,b\",label,I1\r"), "1,3,2,0");
  CHECK_EQUAL(PlacesOf("I1\t\"a\"\tC1", '\t'), "0,3,1");
  CHECK_EQUAL(ReadHeader("label,I1,C1", WithHeader(','), "").has_label, true);
  CHECK_EQUAL(ReadHeader("I1,C1,Label", WithHeader(','), "").has_label, false);
}

TEST(line_form, other_headers_are_refused) {
  CHECK_ERROR(PlacesOf("I1,x\x1B"), "rows.csv: there is no column C1; the columns are I1, x?");
  CHECK_ERROR(PlacesOf("I1,C1,a,a"), "rows.csv: the header has the column 'a' twice");
  CHECK_ERROR(PlacesOf("I1,C1,\xFF"), "rows.csv: the header is not UTF-8: convert the file with iconv");
  CHECK_ERROR(PlacesOf("I1,\"C1"), "rows.csv: the quotes of the header are malformed");
  CHECK_ERROR(PlacesOf(""), "rows.csv: there is no column I1; the columns are ");
}

TEST(line_form, a_csv_file_of_criteos_form_has_commas_and_a_header) {
  RowSchema schema = RowSchema::Criteo(1, 1);
  for (const std::string path : {"rows.csv", "a.csv/rows.csv.1"}) {
    CHECK_EQUAL(SchemaOfFile(schema, path).text.separator, ',');
    CHECK_EQUAL(SchemaOfFile(schema, path).text.has_header, true);
  }
  for (const std::string path : {"rows.tsv", "a.csv/rows", "csv", ".csv", ""}) {
    CHECK_EQUAL(SchemaOfFile(schema, path).text.separator, '\t');
  }
  schema.text.missing = {"NA"};
  CHECK_EQUAL(SchemaOfFile(schema, "rows.csv").text.separator, '\t');
}
