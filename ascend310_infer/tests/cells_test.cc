// SPDX-License-Identifier: Apache-2.0
#include "cells.h"

#include <utility>

#include "harness.h"

TEST(cells, labels_are_those_of_python) {
  for (const std::string cell : {"0", "1", "0.0", "1.00000000000000000000", "false", "TRUE", "tRue"}) {
    CHECK_EQUAL(IsLabel(cell, 0), true);
  }
  for (const std::string cell : {"", "2", "-1", "+1", "01", "1.", "0.5", "1.000000000000000000000", "1 ", "1\r", "truex",
                                 "fals", "\xEF\xBB\xBF"}) {
    CHECK_EQUAL(IsLabel(cell, 0), false);
  }
  CHECK_EQUAL(IsLabel(std::string("1\0", 2), 0), false);
  for (const std::string cell : {"-1", "1", "+1", "-1.0", "+1.00"}) {
    CHECK_EQUAL(IsLabel(cell, -1), true);
  }
  for (const std::string cell : {"0", "true", "--1", "+-1", "-1.", ""}) {
    CHECK_EQUAL(IsLabel(cell, -1), false);
  }
}

TEST(cells, integers_are_read_exactly) {
  const std::vector<std::pair<std::string, int64_t>> texts = {
      {"0", 0}, {"-0", 0}, {"+7", 7}, {"007", 7}, {"-5", -5}, {"3.0", 3}, {"3.", 3}, {".0", 0}, {"1e+16", 10000000000000000},
      {"12e0", 12}, {"1.5e1", 15}, {"150E-1", 15}, {"0e999999999999999999", 0}, {"0.00e-5", 0},
      {"9007199254740993.0", 9007199254740993}, {"9223372036854775807", INT64_MAX},
      {"-9223372036854775807", -INT64_MAX}, {"922337203685477580700e-2", INT64_MAX},
      {"00000000000000000000000000012", 12}, {"123456789012345678", 123456789012345678}};
  for (const auto &[text, number] : texts) {
    CHECK_EQUAL(ReadInteger(text).has_value(), true);
    CHECK_EQUAL(*ReadInteger(text), number);
  }
}

TEST(cells, other_texts_are_no_integers) {
  for (const std::string text :
       {"", "+", "-", ".", "e5", "1e", "1e+", "1 ", " 1", "1,0", "1.5", "15e-2", "nan", "0x10", "--1", "1e1e1", "1.0.0",
        "9223372036854775808", "-9223372036854775808", "10000000000000000000", "1e19", "1e400", "1e9999999999999999999",
        "-9223372036854775808.0", "99999999999999999999", "\xD9\xA1"}) {
    CHECK_EQUAL(ReadInteger(text).has_value(), false);
  }
  CHECK_EQUAL(ReadInteger(std::string("1\0", 2)).has_value(), false);
}

TEST(cells, text_is_utf8_in_its_shortest_form) {
  for (const std::string text : {"", "abc", "abcdefgh\xC3\xA9", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF",
                                 "\xEE\x80\x80", "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    CHECK_EQUAL(IsUtf8(text), true);
  }
  for (const std::string text : {"\x80", "\xC1\xBF", "\xC3", "abcdefgh\xC3", "\xE0\x9F\xBF", "\xE2\x82", "\xED\xA0\x80",
                                 "\xF0\x8F\xBF\xBF", "\xF0\x90\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF",
                                 "\xC3\xA9\xA9"}) {
    CHECK_EQUAL(IsUtf8(text), false);
  }
  CHECK_EQUAL(IsUtf8(std::string("a\0b", 3)), true);
}

TEST(cells, carriage_returns_at_the_end_are_no_part_of_a_cell) {
  CHECK_EQUAL(StripReturns("a\rb\r\r"), "a\rb");
  CHECK_EQUAL(StripReturns("\r\r"), "");
  CHECK_EQUAL(StripReturns(""), "");
}
