// SPDX-License-Identifier: Apache-2.0
#include "split_cells.h"

#include "harness.h"

namespace {

// Returns the cells of a line, joined; "malformed" for one whose quotes are malformed.
std::string Split(const std::string &line, char separator = ',') {
  std::string text;
  std::vector<std::string_view> cells(CountCells(line, separator));
  if (!SplitCells(line, separator, &text, &cells)) {
    return "malformed";
  }
  std::string joined;
  for (const auto &cell : cells) {
    joined += Text("[", cell, "]");
  }
  return joined;
}

}  // namespace

// The expected cells are those of Python's csv module.
TEST(split_cells, a_cell_in_quotes_may_hold_separators_and_doubled_quotes) {
  CHECK_EQUAL(Split("a,\"b,c\",\"\"\"d\"\"\",\"\""), "[a][b,c][\"d\"][]");
  CHECK_EQUAL(Split("a\"b\",c\""), "[a\"b\"][c\"]");
  CHECK_EQUAL(Split("\"a\",\r\r"), "[a][]");
  CHECK_EQUAL(Split("\"a\r\"\r"), "[a\r]");
  CHECK_EQUAL(Split(" \"a\",b"), "[ \"a\"][b]");
}

TEST(split_cells, malformed_quotes_are_found) {
  for (const std::string line : {"\"a", "a,\"", "\"a\"b", "\"a\" ,b", "\"a\"\"", "a\rb,\"c\"", "\"a\"\rb", "\"a\r"}) {
    CHECK_EQUAL(Split(line), "malformed");
    CHECK_EQUAL(CountCells(line, ','), 0U);
  }
}

TEST(split_cells, lines_with_quotes_have_no_longer_cells_than_python_reads) {
  const std::string longest(131072, 'x');
  CHECK_EQUAL(CountCells("\"\"," + longest, ','), 2U);
  CHECK_EQUAL(CountCells("\"\"," + longest + "x", ','), 0U);
  CHECK_EQUAL(CountCells("\"x" + longest + "\"", ','), 0U);
  CHECK_EQUAL(CountCells("," + longest + "x", ','), 2U);
}

TEST(split_cells, other_lines_have_no_quotes) {
  CHECK_EQUAL(Split("\"a\tb\"", '\t'), "[\"a][b\"]");
  CHECK_EQUAL(Split("a,b\r,"), "[a][b\r][]");
  CHECK_EQUAL(Split(""), "[]");
}

TEST(split_cells, there_may_be_less_room_than_cells) {
  std::string text;
  std::vector<std::string_view> cells(1);
  CHECK_EQUAL(SplitCells("a,\"b\",c", ',', &text, &cells).value(), 3U);
  CHECK_EQUAL(SplitCells("a,b,c", ',', &text, &cells).value(), 3U);
  CHECK_EQUAL(cells[0], "a");
}
