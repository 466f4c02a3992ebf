// SPDX-License-Identifier: Apache-2.0
#include "cells.h"

#include <cmath>
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

TEST(cells, floats_are_rounded_correctly) {
  const std::vector<std::pair<std::string, double>> texts = {
      {"0", 0}, {"+1.5", 1.5}, {"-.5", -.5}, {"5.", 5}, {"007", 7}, {"1e3", 1e3}, {"1.E+3", 1e3}, {"1e-3", 1e-3},
      {"0.1", 0.1}, {"1.7976931348623157e308", 1.7976931348623157e308}, {"1e-320", 1e-320}, {"1e-400", 0},
      {"-1e-999999999999999999999", 0}, {"0e999999999999999999999", 0},
      {"9007199254740993", 9007199254740992.0}, {"9007199254740993.0000000000000000000000000001", 9007199254740994.0},
      {"0." + std::string(400, '0') + "1e401", 1}, {std::string(1000, '9') + "e-1000", 1}};
  for (const auto &[text, number] : texts) {
    CHECK_EQUAL(ReadFloat(text).has_value(), true);
    CHECK_EQUAL(*ReadFloat(text), number);
  }
  for (const std::string text : {"-0", "-0.0", "-0e5", "-1e-400"}) {
    CHECK_EQUAL(std::signbit(ReadFloat(text).value()), false);
  }
}

TEST(cells, other_texts_are_no_floats) {
  for (const std::string text : {"", "+", "-", ".", "e5", "1e", "1e+", "1 ", " 1", "1,5", "nan", "inf", "-inf", "0x10", "--1",
                                 "+-1", "1e1e1", "1.0.0", "1e999", "-1e309", "1.7976931348623159e308", "1f", "1_0"}) {
    CHECK_EQUAL(ReadFloat(text).has_value(), false);
  }
  CHECK_EQUAL(ReadFloat(std::string("1\0", 2)).has_value(), false);
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
