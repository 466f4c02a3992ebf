// SPDX-License-Identifier: Apache-2.0
#include "raw_rows.h"

#include "harness.h"

namespace {

const RowSchema kTwoAndTwo = RowSchema::Criteo(2, 2);

Reason ReasonOf(const std::string &line, bool have_labels = true, const RowSchema &schema = kTwoAndTwo) {
  const LineForm form = FormOf(schema, have_labels);
  ParsedRow row;
  return RowParser(schema, form).Parse(line, &row);
}

RowSchema WithIds(size_t slot_dim) {
  RowSchema schema = RowSchema::Criteo(1, slot_dim);
  schema.categories_are_ids = true;
  schema.category_ids = 10;
  return schema;
}

// A log with commas: the columns are named in another order than that of the model, and one of them is not used.
RowSchema Clicks() {
  RowSchema schema = RowSchema::Criteo(1, 1);
  schema.label_name = "click";
  schema.clicks = {"1", "yes"};
  schema.file_columns = {"C1", "time", "I1", "click"};
  schema.text = {',', false, {"NA", "-"}};
  return schema;
}

// Returns the cells of the columns of a line of Clicks, joined.
std::string CellsOf(const std::string &line) {
  const RowSchema schema = Clicks();
  const LineForm form = FormOf(schema, true);
  ParsedRow row;
  CHECK_EQUAL(RowParser(schema, form).Parse(line, &row) == Reason::kNone, true);
  return Text(row.cells[0], ";", row.cells[1]);
}

std::string LinesOf(const std::string &text) {
  std::vector<std::string> lines;
  ForEachLine(text, [&](std::string_view line) { lines.emplace_back(line); });
  return Joined(lines);
}

}  // namespace

TEST(raw_rows, lines_end_with_newlines_except_the_last_one) {
  CHECK_EQUAL(LinesOf("a\n\nb\r\nc"), "a,,b\r,c");
  CHECK_EQUAL(LinesOf("a\n"), "a");
  CHECK_EQUAL(LinesOf(""), "");
}

TEST(raw_rows, cells_have_no_carriage_returns_at_their_end) {
  ParsedRow row;
  const LineForm form = FormOf(kTwoAndTwo, true);
  CHECK_EQUAL(RowParser(kTwoAndTwo, form).Parse("1\t-5\r\t\ta\rb\r\t\r\r", &row) == Reason::kNone, true);
  CHECK_EQUAL(row.cells[0], "-5");
  CHECK_EQUAL(row.cells[1], "");
  CHECK_EQUAL(row.cells[2], "a\rb");
  CHECK_EQUAL(row.cells[3], "");
  CHECK_EQUAL(row.integers[0], -5);
  CHECK_EQUAL(row.integers[1], 0);
}

TEST(raw_rows, the_first_reason_that_holds_is_given) {
  CHECK_EQUAL(ReasonOf("1\t5\t\ta") == Reason::kColumns, true);
  CHECK_EQUAL(ReasonOf("1\t5\t\ta\tb\t") == Reason::kColumns, true);
  CHECK_EQUAL(ReasonOf("") == Reason::kColumns, true);
  CHECK_EQUAL(ReasonOf("2\tx\t\ta\t\xFF") == Reason::kLabel, true);
  CHECK_EQUAL(ReasonOf("1\tx\t\ta\t\xFF") == Reason::kEncoding, true);
  CHECK_EQUAL(ReasonOf("1\tx\t\ta\tb") == Reason::kInteger, true);
  CHECK_EQUAL(ReasonOf("1\t3.0\t-1\ta\tb") == Reason::kNone, true);
  CHECK_EQUAL(ReasonOf("\t\t\t", false) == Reason::kNone, true);
  CHECK_EQUAL(ReasonOf("1\t\t\t\t", false) == Reason::kColumns, true);
}

TEST(raw_rows, a_row_may_have_one_column) {
  const RowSchema one = RowSchema::Criteo(0, 1);
  CHECK_EQUAL(ReasonOf("", false, one) == Reason::kNone, true);
  CHECK_EQUAL(ReasonOf("a\tb", false, one) == Reason::kColumns, true);
  CHECK_EQUAL(ReasonOf("1\t", true, one) == Reason::kNone, true);
  CHECK_EQUAL(ReasonOf("1", true, one) == Reason::kColumns, true);
}

TEST(raw_rows, categories_that_are_ids_lie_below_their_number) {
  const RowSchema ids = WithIds(1);
  CHECK_EQUAL(ReasonOf("1\t\t9", true, ids) == Reason::kNone, true);
  CHECK_EQUAL(ReasonOf("1\t\t9.0\r", true, ids) == Reason::kNone, true);
  for (const std::string cell : {"10", "-1", "", "x", "9223372036854775807"}) {
    CHECK_EQUAL(ReasonOf("1\t\t" + cell, true, ids) == Reason::kId, true);
  }
  CHECK_EQUAL(ReasonOf("1\tx\t-1", true, ids) == Reason::kInteger, true);
}

TEST(raw_rows, the_more_frequent_number_of_columns_tells_whether_rows_have_labels) {
  const std::string with = "1\t\t\t\t\n";
  const std::string without = "\t\t\t\n";
  CHECK_EQUAL(HaveLabels(with + without + with, FormOf(kTwoAndTwo, true)) == true, true);
  CHECK_EQUAL(HaveLabels(with + without + without, FormOf(kTwoAndTwo, true)) == false, true);
  CHECK_EQUAL(HaveLabels(without + with, FormOf(kTwoAndTwo, true)) == true, true);
  CHECK_EQUAL(HaveLabels("a\n\t\t\t\t\t\n", FormOf(kTwoAndTwo, true)).has_value(), false);
  CHECK_EQUAL(HaveLabels("", FormOf(kTwoAndTwo, true)).has_value(), false);
}

TEST(raw_rows, cells_of_any_form_are_those_of_the_columns) {
  CHECK_EQUAL(CellsOf("a,x,5,no"), "5;a");
  CHECK_EQUAL(CellsOf("\"a,\"\"b\",x,\"5\",yes\r"), "5;a,\"b");
  CHECK_EQUAL(CellsOf("-,NA,NA\r,1\r\r"), ";");
}

TEST(raw_rows, the_reasons_are_those_of_any_form) {
  CHECK_EQUAL(ReasonOf("a,x,5,\"yes", true, Clicks()) == Reason::kColumns, true);
  CHECK_EQUAL(ReasonOf("a,x,5,NA", true, Clicks()) == Reason::kLabel, true);
  CHECK_EQUAL(ReasonOf("a,x,5,\r", true, Clicks()) == Reason::kLabel, true);
  CHECK_EQUAL(ReasonOf("a,\xFF,5,1", true, Clicks()) == Reason::kEncoding, true);
  CHECK_EQUAL(ReasonOf("a,\"\xFF\",5,1", true, Clicks()) == Reason::kEncoding, true);
  CHECK_EQUAL(ReasonOf("a,x,b,1", true, Clicks()) == Reason::kInteger, true);
  CHECK_EQUAL(ReasonOf("a,,-", false, Clicks()) == Reason::kNone, true);
  RowSchema floats = RowSchema::Criteo(1, 0);
  floats.columns.push_back({"price", Kind::kFloat, {}, 0, 1});
  CHECK_EQUAL(ReasonOf("1\t5\t1e-3", true, floats) == Reason::kNone, true);
  CHECK_EQUAL(ReasonOf("1\t5\t1e999", true, floats) == Reason::kFloat, true);
  CHECK_EQUAL(ReasonOf("1\tx\tx", true, floats) == Reason::kInteger, true);
}

TEST(raw_rows, returns_at_the_end_of_a_line_are_no_part_of_the_label) {
  RowSchema schema = RowSchema::Criteo(1, 0);
  schema.file_columns = {"I1", "label"};
  CHECK_EQUAL(ReasonOf("5\t1\r\r", true, schema) == Reason::kNone, true);
  CHECK_EQUAL(ReasonOf("1\r\t5", true, RowSchema::Criteo(1, 0)) == Reason::kLabel, true);
}
