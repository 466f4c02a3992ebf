// SPDX-License-Identifier: Apache-2.0
#include "scores.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>

#include "harness.h"

namespace {

std::string ScoreLine(size_t row, float probability) {
  std::string text;
  AppendScore(row, probability, &text);
  return text;
}

}  // namespace

TEST(scores, a_probability_is_printed_as_printf_does) {
  CHECK_EQUAL(ScoreLine(1, 0.0F), "1,0.00000000\n");
  CHECK_EQUAL(ScoreLine(12345678901U, 1.0F), "12345678901,1.00000000\n");
  CHECK_EQUAL(ScoreLine(3, 0.001953125F / 1024), "3,0.00000191\n");  // 2^-19 = 0.0000019073
  std::mt19937 random(1);
  for (int repeat = 0; repeat < 200000; ++repeat) {
    uint32_t bits = random() % 0x3F800001U;  // of any number from 0 to 1
    float probability = 0;
    std::memcpy(&probability, &bits, sizeof(bits));
    char expected[32];
    std::snprintf(expected, sizeof(expected), "7,%.8f\n", static_cast<double>(probability));
    CHECK_EQUAL(ScoreLine(7, probability), expected);
  }
}

TEST(scores, halves_are_rounded_to_even) {
  CHECK_EQUAL(ScoreLine(1, 1.0F / 512), "1,0.00195312\n");  // 195312.5 units
  CHECK_EQUAL(ScoreLine(1, 3.0F / 512), "1,0.00585938\n");  // 585937.5 units
}

TEST(scores, what_is_no_probability_is_refused) {
  for (const float number : {-0.1F, 1.1F, std::nanf("")}) {
    CHECK_ERROR(ScoreLine(4, number), "row 4: the model's output is ");
  }
}

TEST(scores, scores_are_read_as_they_are_written) {
  std::string text(kScoresHeader);
  AppendScore(1, 0.25F, &text);
  AppendScore(2, 1.0F, &text);
  const std::vector<double> scores = ReadScores(text, "s.csv");
  CHECK_EQUAL((scores == std::vector<double>{0.25, 1.0}), true);
  CHECK_EQUAL(ReadScores(std::string(kScoresHeader), "s.csv").size(), 0U);
}

TEST(scores, other_scores_are_refused) {
  CHECK_ERROR(ReadScores("row,score\n", "s.csv"), "s.csv line 1: is not the header row,probability");
  for (const std::string line : {"", "2,0.25000000", "1,0.2500000", "1,0.250000000", "1,0.2500000x", "1,0.-2500000",
                                 "1,1.25000000", "1,0.", "1", "1,nan"}) {
    CHECK_ERROR(ReadScores(std::string(kScoresHeader) + line + "\n", "s.csv"), "s.csv line 2: is not 1,0. and eight digits");
  }
}

TEST(scores, golden_scores_must_be_reproduced) {
  CheckGoldenScores({0.25, 0.5}, {0.25F, 0.50009F}, "package");
  CHECK_ERROR(CheckGoldenScores({0.25, 0.5}, {0.25F, 0.5002F}, "package"), "package: the score of golden row 2 is ");
  CHECK_ERROR(CheckGoldenScores({0.25}, {std::nanf("")}, "package"), "package: the score of golden row 1 is nan");
  CHECK_ERROR(CheckGoldenScores({0.25}, {0.25F, 0.5F}, "package"), "package: has 2 golden rows and 1 scores");
}
