// SPDX-License-Identifier: Apache-2.0
#include "scores.h"

#include <charconv>
#include <cmath>

#include "error.h"
#include "raw_rows.h"

namespace {

constexpr size_t kDecimals = 8;
constexpr double kUnits = 1e8;  // of the last decimal in 1
constexpr double kGoldenTolerance = 1e-4;  // below the difference of two trainings, above that of two runtimes

void AppendNumber(size_t number, std::string *text) {
  char digits[20];
  const auto [end, code] = std::to_chars(digits, digits + sizeof(digits), number);
  text->append(digits, code == std::errc() ? end : digits);
}

// Reads "K,0.12345678"; throws Error unless K is the number of this row.
double ReadScore(std::string_view line, size_t row, const std::string &where) {
  const std::string start = std::to_string(row) + ",0.";
  const std::string_view digits = line.substr(std::min(start.size(), line.size()));
  int64_t units = 0;
  const auto [rest, code] = std::from_chars(digits.data(), digits.data() + digits.size(), units);
  if (line == std::to_string(row) + ",1.00000000") {
    return 1;
  }
  if (line.substr(0, start.size()) != start || digits.size() != kDecimals || digits[0] == '-' ||
      code != std::errc() || rest != digits.data() + digits.size()) {
    throw Error(Text(where, " line ", row + 1, ": is not ", row, ",0. and eight digits; write the package again"));
  }
  return static_cast<double>(units) / kUnits;
}

}  // namespace

void AppendScore(size_t row, float probability, std::string *text) {
  if (!(probability >= 0 && probability <= 1)) {
    throw Error(Text("row ", row, ": the model's output is ", probability, ", which is no probability"));
  }
  // A float32 has 24 bits and the odd part of 1e8, 5^8, has 19: the product is exact, and so is the rounding, half to
  // even, to the decimals that printf prints.
  auto units = static_cast<uint64_t>(std::llrint(static_cast<double>(probability) * kUnits));
  char decimals[2 + kDecimals] = {units < static_cast<uint64_t>(kUnits) ? '0' : '1', '.'};
  for (size_t index = sizeof(decimals) - 1; index > 1; --index) {
    decimals[index] = static_cast<char>('0' + units % 10);
    units /= 10;
  }
  AppendNumber(row, text);
  *text += ',';
  text->append(decimals, sizeof(decimals));
  *text += '\n';
}

void AppendEmptyScore(size_t row, std::string *text) {
  AppendNumber(row, text);
  *text += ",\n";
}

std::vector<double> ReadScores(std::string_view text, const std::string &where) {
  if (text.substr(0, kScoresHeader.size()) != kScoresHeader) {
    throw Error(Text(where, " line 1: is not the header row,probability; write the package again"));
  }
  std::vector<double> scores;
  ForEachLine(text.substr(kScoresHeader.size()),
              [&](std::string_view line) { scores.push_back(ReadScore(line, scores.size() + 1, where)); });
  return scores;
}

void CheckGoldenScores(const std::vector<double> &expected, const std::vector<float> &found, const std::string &where) {
  if (expected.size() != found.size()) {
    throw Error(Text(where, ": has ", found.size(), " golden rows and ", expected.size(),
                     " scores; write the package again"));
  }
  for (size_t index = 0; index < expected.size(); ++index) {
    if (!(std::fabs(expected[index] - static_cast<double>(found[index])) <= kGoldenTolerance)) {
      throw Error(Text(where, ": the score of golden row ", index + 1, " is ", found[index], " instead of ",
                       expected[index], ", so the model does not compute here what it was exported for; write the ",
                       "package again, or report this with the versions of the runtime"));
    }
  }
}
