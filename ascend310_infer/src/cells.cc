// SPDX-License-Identifier: Apache-2.0
#include "cells.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>

namespace {

constexpr size_t kMostLabelZeros = 20;
constexpr size_t kMostExponentDigits = 18;
constexpr int64_t kLongestIntegerDigits = 19;  // those of 2^63 - 1
constexpr size_t kShortIntegerDigits = 18;     // any integer of so many digits fits

bool IsDigit(char byte) { return byte >= '0' && byte <= '9'; }

bool StartsWith(std::string_view text, std::string_view start) { return text.substr(0, start.size()) == start; }

// Tells whether a cell is `number`, or that with a point and 1 to 20 zeros.
bool IsWholeNumber(std::string_view cell, std::string_view number) {
  if (!StartsWith(cell, number)) {
    return false;
  }
  const std::string_view rest = cell.substr(number.size());
  return rest.empty() || (rest[0] == '.' && rest.size() > 1 && rest.size() <= 1 + kMostLabelZeros &&
                          rest.find_first_not_of('0', 1) == std::string_view::npos);
}

// Tells whether a cell is a word, which is in lower case, in any case.
bool IsWord(std::string_view cell, std::string_view word) {
  const auto is_same = [](char byte, char letter) { return (byte >= 'A' && byte <= 'Z' ? byte + 32 : byte) == letter; };
  return std::equal(cell.begin(), cell.end(), word.begin(), word.end(), is_same);
}

// Takes the digits at the beginning off a text and returns them.
std::string_view TakeDigits(std::string_view *text) {
  const auto end = std::find_if_not(text->begin(), text->end(), IsDigit);
  const std::string_view digits = text->substr(0, static_cast<size_t>(end - text->begin()));
  text->remove_prefix(digits.size());
  return digits;
}

bool TakeSign(std::string_view *text) {
  const bool is_negative = !text->empty() && text->front() == '-';
  if (is_negative || (!text->empty() && text->front() == '+')) {
    text->remove_prefix(1);
  }
  return is_negative;
}

// Reads the exponent at the end of a number, "e5" or nothing.
std::optional<int64_t> ReadExponent(std::string_view text) {
  if (text.empty()) {
    return 0;
  }
  if (text.front() != 'e' && text.front() != 'E') {
    return std::nullopt;
  }
  text.remove_prefix(1);
  const bool is_negative = TakeSign(&text);
  const std::string_view digits = TakeDigits(&text);
  if (digits.empty() || digits.size() > kMostExponentDigits || !text.empty()) {
    return std::nullopt;
  }
  int64_t exponent = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), exponent);
  return is_negative ? -exponent : exponent;
}

// Does the work of ReadInteger for any text.
std::optional<int64_t> ReadAnyInteger(std::string_view text) {
  const bool is_negative = TakeSign(&text);
  std::string digits(TakeDigits(&text));
  size_t digits_after_point = 0;
  if (!text.empty() && text.front() == '.') {
    text.remove_prefix(1);
    const std::string_view after = TakeDigits(&text);
    digits_after_point = after.size();
    digits += after;
  }
  const std::optional<int64_t> exponent = ReadExponent(text);
  if (digits.empty() || !exponent) {
    return std::nullopt;
  }
  const size_t end = digits.find_last_not_of('0') + 1;
  if (end == 0) {
    return 0;
  }
  const size_t begin = digits.find_first_not_of('0');
  const auto trailing_zeros = static_cast<int64_t>(digits.size() - end);
  const int64_t power = *exponent - static_cast<int64_t>(digits_after_point) + trailing_zeros;
  if (power < 0 || static_cast<int64_t>(end - begin) + power > kLongestIntegerDigits) {
    return std::nullopt;
  }
  digits = digits.substr(begin, end - begin).append(static_cast<size_t>(power), '0');
  int64_t number = 0;
  if (std::from_chars(digits.data(), digits.data() + digits.size(), number).ec != std::errc()) {
    return std::nullopt;
  }
  return is_negative ? -number : number;
}

// Tells whether a text is a number in the form of ReadFloat.
bool IsFloat(std::string_view text) {
  TakeSign(&text);
  size_t digits = TakeDigits(&text).size();
  if (!text.empty() && text.front() == '.') {
    text.remove_prefix(1);
    digits += TakeDigits(&text).size();
  }
  if (digits == 0 || text.empty()) {
    return digits > 0;
  }
  if (text.front() != 'e' && text.front() != 'E') {
    return false;
  }
  text.remove_prefix(1);
  TakeSign(&text);
  return !TakeDigits(&text).empty() && text.empty();
}

// Returns the bytes of the UTF-8 character at the beginning of a text that is not empty; 0 if there is none.
size_t CharacterBytes(std::string_view text) {
  const auto byte = [&](size_t index) {
    return index < text.size() ? static_cast<unsigned char>(text[index]) : 0U;  // 0 continues no character
  };
  const auto continues = [&](size_t index) { return (byte(index) & 0xC0U) == 0x80U; };
  const unsigned first = byte(0);
  const unsigned second = byte(1);
  if (first < 0x80) {
    return 1;
  }
  if (first < 0xC2 || first > 0xF4 || !continues(1)) {
    return 0;
  }
  if (first < 0xE0) {
    return 2;
  }
  const unsigned least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;  // below it a shorter form exists
  const unsigned most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;   // above it surrogates, or U+110000
  if (second < least || second > most || !continues(2)) {
    return 0;
  }
  return first < 0xF0 ? 3 : continues(3) ? 4 : 0;
}

// Returns the number of bytes at the beginning that are ASCII for certain; a multiple of 8.
size_t AsciiBytes(std::string_view bytes) {
  size_t count = 0;
  for (uint64_t word = 0; count + sizeof(word) <= bytes.size(); count += sizeof(word)) {
    std::memcpy(&word, bytes.data() + count, sizeof(word));
    if ((word & 0x8080808080808080U) != 0) {
      break;
    }
  }
  return count;
}

}  // namespace

bool IsLabel(std::string_view cell, int negative_label) {
  if (negative_label == -1) {
    return IsWholeNumber(cell, "-1") || IsWholeNumber(cell, "1") || IsWholeNumber(cell, "+1");
  }
  return IsWholeNumber(cell, "0") || IsWholeNumber(cell, "1") || IsWord(cell, "false") || IsWord(cell, "true");
}

std::optional<int64_t> ReadInteger(std::string_view text) {
  const bool is_negative = StartsWith(text, "-");
  const std::string_view digits = text.substr(is_negative ? 1 : 0);
  if (digits.empty() || digits.size() > kShortIntegerDigits) {
    return ReadAnyInteger(text);
  }
  int64_t number = 0;
  for (const char digit : digits) {
    if (!IsDigit(digit)) {
      return ReadAnyInteger(text);
    }
    number = number * 10 + (digit - '0');
  }
  return is_negative ? -number : number;
}

std::optional<double> ReadFloat(std::string_view text) {
  if (!IsFloat(text)) {
    return std::nullopt;
  }
  text.remove_prefix(text.front() == '+' ? 1 : 0);  // which from_chars does not read
  double number = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), number).ec != std::errc()) {
    number = std::strtod(std::string(text).c_str(), nullptr);  // tells numbers that are too large from tiny ones
  }
  return std::isfinite(number) ? std::optional(number + 0.0) : std::nullopt;  // -0.0 + 0.0 is 0.0
}

bool IsUtf8(std::string_view bytes) {
  for (bytes.remove_prefix(AsciiBytes(bytes)); !bytes.empty();) {
    const size_t size = CharacterBytes(bytes);
    if (size == 0) {
      return false;
    }
    bytes.remove_prefix(size);
  }
  return true;
}
