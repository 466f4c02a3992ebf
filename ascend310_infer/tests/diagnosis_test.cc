// SPDX-License-Identifier: Apache-2.0
#include "diagnosis.h"

#include "harness.h"
#include "raw_rows.h"

namespace {

std::string Fault(const std::string &line, const RowSchema &schema = RowSchema::Criteo(2, 2)) {
  const LineForm form = FormOf(schema, true);
  ParsedRow row;
  return Diagnose(7, line, RowParser(schema, form).Parse(line, &row), schema, form);
}

}  // namespace

TEST(diagnosis, the_fault_of_a_line_is_named) {
  CHECK_EQUAL(Fault("1\ta\x01"), "line 7 has 2 columns, \"1\\ta\\x01\"; a row has 5: 1 label, 2 integers and 2 "
                                 "categories, separated by tabs");
  CHECK_EQUAL(Fault("").substr(0, 16), "line 7 is empty;");
  CHECK_EQUAL(Fault("x\t\t\t\t"), "line 7: the label is \"x\"; a label is 0 or 1 (or 0.0, 1.0, false, true)");
  CHECK_EQUAL(Fault("1\t\t\t\t\xFF"), "line 7: C2 is \"\\xff\"; it is not UTF-8: convert the file with iconv");
  CHECK_EQUAL(Fault("1\t\t" + std::string(100, 'x') + "\r\t\t"),
              "line 7: I2 is \"" + std::string(60, 'x') +
                  "...\"; an integer lies between -2^63 and 2^63, as 3 or 3.0, or is empty if missing");
  RowSchema ids = RowSchema::Criteo(1, 2);
  ids.categories_are_ids = true;
  ids.category_ids = 10;
  ids.negative_label = -1;
  CHECK_EQUAL(Fault("1\t\t3\t10", ids).substr(0, 30), "line 7: C2 is \"10\"; a category");
  CHECK_EQUAL(Fault("0\t\t3\t10", ids), "line 7: the label is \"0\"; a label is -1 or 1");
}

TEST(diagnosis, the_columns_of_a_file_are_named) {
  RowSchema schema = RowSchema::Criteo(1, 0);
  schema.columns.push_back({"price", Kind::kFloat, {}, 0, 1});
  schema.clicks = {"1", "yes"};
  schema.file_columns = {"time", "price", "I1", "label"};
  schema.text = {',', false, {"NA"}};
  CHECK_EQUAL(Fault("a,\"b", schema), "line 7: its quotes are malformed, \"a,\"b\"");
  CHECK_EQUAL(Fault("a,b", schema),
              "line 7 has 2 columns, \"a,b\"; a row has 4 columns, time, price, I1, label, comma-separated");
  CHECK_EQUAL(Fault(",,,NA", schema), "line 7: the label is \"NA\"; a label is 1 or yes for a click, and no missing value");
  CHECK_EQUAL(Fault("x,\"1,5\",NA,1", schema),
              "line 7: price is \"1,5\"; a float is a finite number, as 0.5 or 1e-3, or is empty if missing");
  CHECK_EQUAL(Fault("\xFF,1,5,1", schema).substr(0, 22), "line 7: time is \"\\xff\"");
  schema.file_columns.clear();
  schema.text.separator = '\x01';
  CHECK_EQUAL(Fault("a", schema),
              "line 7 has 1 column, \"a\"; a row has 3 columns, label, I1, price, separated by \"\\x01\"");
}
