// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

// The scores that every scorer writes: a header, and for each row its number, from 1, and its probability with eight
// decimals.
constexpr std::string_view kScoresHeader = "row,probability\n";

// Appends the line of a row.  Throws Error for a number that is not a probability.
void AppendScore(size_t row, float probability, std::string *text);

// Appends the line of a row that has no score.
void AppendEmptyScore(size_t row, std::string *text);

// Reads scores of the rows 1, 2, 3 and so on.  Throws Error for any other text.  where: the path, for messages.
std::vector<double> ReadScores(std::string_view text, const std::string &where);

// Throws Error if a probability differs from the expected one by more than 1e-4.  where: the path of the package.
void CheckGoldenScores(const std::vector<double> &expected, const std::vector<float> &found, const std::string &where);
