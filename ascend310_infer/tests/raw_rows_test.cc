// SPDX-License-Identifier: Apache-2.0
#include "raw_rows.h"

#include "harness.h"

namespace {

const RowSchema kTwoAndTwo = {2, 2, false, 0, 0};

Reason ReasonOf(const std::string &line, bool have_labels = true, const RowSchema &schema = kTwoAndTwo) {
  ParsedRow row;
  return RowParser(schema, have_labels).Parse(line, &row);
}

std::string Fault(const std::string &line, const RowSchema &schema = kTwoAndTwo) {
  return Diagnose(7, line, ReasonOf(line, true, schema), schema, true);
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
  CHECK_EQUAL(RowParser(kTwoAndTwo, true).Parse("1\t-5\r\t\ta\rb\r\t\r\r", &row) == Reason::kNone, true);
  CHECK_EQUAL(row.cells.size(), 4U);
  CHECK_EQUAL(row.cells[0], "-5");
  CHECK_EQUAL(row.cells[1], "");
  CHECK_EQUAL(row.cells[2], "a\rb");
  CHECK_EQUAL(row.cells[3], "");
  CHECK_EQUAL(row.numbers[0], -5);
  CHECK_EQUAL(row.numbers[1], 0);
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
  const RowSchema one = {0, 1, false, 0, 0};
  CHECK_EQUAL(ReasonOf("", false, one) == Reason::kNone, true);
  CHECK_EQUAL(ReasonOf("a\tb", false, one) == Reason::kColumns, true);
  CHECK_EQUAL(ReasonOf("1\t", true, one) == Reason::kNone, true);
  CHECK_EQUAL(ReasonOf("1", true, one) == Reason::kColumns, true);
}

TEST(raw_rows, categories_that_are_ids_lie_below_their_number) {
  const RowSchema ids = {1, 1, true, 10, 0};
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
  CHECK_EQUAL(HaveLabels(with + without + with, kTwoAndTwo) == true, true);
  CHECK_EQUAL(HaveLabels(with + without + without, kTwoAndTwo) == false, true);
  CHECK_EQUAL(HaveLabels(without + with, kTwoAndTwo) == true, true);
  CHECK_EQUAL(HaveLabels("a\n\t\t\t\t\t\n", kTwoAndTwo).has_value(), false);
  CHECK_EQUAL(HaveLabels("", kTwoAndTwo).has_value(), false);
}

TEST(raw_rows, the_fault_of_a_line_is_named) {
  CHECK_EQUAL(Fault("1\ta\x01"), "line 7 has 2 columns, \"1\\ta\\x01\"; a row has 5: 1 label, 2 integers and 2 "
                                 "categories, separated by tabs");
  CHECK_EQUAL(Fault("").substr(0, 16), "line 7 is empty;");
  CHECK_EQUAL(Fault("x\t\t\t\t"), "line 7: the label is \"x\"; a label is 0 or 1 (or 0.0, 1.0, false, true)");
  CHECK_EQUAL(Fault("1\t\t\t\t\xFF"), "line 7: C2 is \"\\xff\"; it is not UTF-8: convert the file with iconv");
  CHECK_EQUAL(Fault("1\t\t" + std::string(100, 'x') + "\r\t\t"),
              "line 7: I2 is \"" + std::string(60, 'x') +
                  "...\"; an integer lies between -2^63 and 2^63, as 3 or 3.0, or is empty if missing");
  const RowSchema ids = {1, 2, true, 10, -1};
  CHECK_EQUAL(Fault("1\t\t3\t10", ids).substr(0, 30), "line 7: C2 is \"10\"; a category");
  CHECK_EQUAL(Fault("0\t\t3\t10", ids), "line 7: the label is \"0\"; a label is -1 or 1");
}
