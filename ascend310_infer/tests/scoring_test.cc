// SPDX-License-Identifier: Apache-2.0
#include "scoring.h"

#include <fcntl.h>
#include <unistd.h>

#include "harness.h"
#include "scores.h"

namespace {

const RowSchema kScoredSchema = RowSchema::Criteo(1, 1);
constexpr size_t kBatchRows = 3;

// A model whose probability is its dense value.
std::vector<float> PredictValues(const EncodedLines &rows) {
  return {rows.values.begin(), rows.values.begin() + static_cast<std::ptrdiff_t>(rows.rows)};
}

const RowEncoder &Encoder() {
  static const RowEncoder encoder(kScoredSchema, {true, false, false}, {{0.0, 1000.0}}, {{"C1", 0, {{"a", 1}}}});
  return encoder;
}

struct Result {
  std::string output;
  std::string error;
  Tally tally;
};

Result Score(const std::string &rows, OnBadRow on_bad_row, size_t threads = 2,
             const std::function<std::vector<float>(const EncodedLines &)> &predict = PredictValues,
             const RowSchema &schema = kScoredSchema) {
  const TemporaryFolder folder;
  folder.Write("rows.txt", rows);
  folder.Write("scores.csv", "");
  const int descriptor = open((folder / "rows.txt").c_str(), O_RDONLY | O_CLOEXEC);
  RowReader reader(descriptor, "rows.txt", schema, kBatchRows, std::chrono::milliseconds(0));
  OutputFile output(folder / "scores.csv");
  const Recalibration recalibration;
  Result result;
  try {
    result.tally = ScoreRows({Encoder(), recalibration, predict}, on_bad_row, threads, "rows.txt", &reader, &output);
  } catch (const Error &error) {
    result.error = error.what();
  }
  output.Commit();
  close(descriptor);
  result.output = ReadText(folder / "scores.csv");
  return result;
}

}  // namespace

TEST(scoring, malformed_rows_are_left_out_or_empty) {
  const std::string rows = "250\ta\nx\ta\n500\tb\n750\t\ny\n1000\ta";
  const Result skipped = Score(rows, OnBadRow::kSkip);
  CHECK_EQUAL(skipped.output, "row,probability\n1,0.25000000\n3,0.50000000\n4,0.75000000\n6,1.00000000\n");
  CHECK_EQUAL(skipped.tally.rows, 4U);
  CHECK_EQUAL(skipped.tally.MalformedCount(), 2U);
  CHECK_EQUAL(skipped.tally.first_malformed, 2U);
  CHECK_EQUAL((skipped.tally.missing == std::vector<uint64_t>{0, 1}), true);
  CHECK_EQUAL((skipped.tally.oov == std::vector<uint64_t>{0, 2}), true);
  const Result empty = Score(rows, OnBadRow::kEmpty);
  CHECK_EQUAL(empty.output, "row,probability\n1,0.25000000\n2,\n3,0.50000000\n4,0.75000000\n5,\n6,1.00000000\n");
}

TEST(scoring, the_first_malformed_row_may_end_the_output) {
  for (const size_t threads : {1U, 4U}) {
    const Result failed = Score("1\ta\n2\ta\n3\ta\n4\ta\nx\ta\n6\ta\ny\n", OnBadRow::kFail, threads);
    CHECK_EQUAL(failed.output, "row,probability\n1,0.00100000\n2,0.00200000\n3,0.00300000\n4,0.00400000\n");
    CHECK_EQUAL(failed.error, "rows.txt line 5: I1 is \"x\"; an integer lies between -2^63 and 2^63, as 3 or 3.0, or is "
                              "empty if missing; --on_bad_row=skip leaves such lines out");
  }
}

TEST(scoring, rows_are_numbered_behind_a_header_and_lines_with_it) {
  RowSchema schema = kScoredSchema;
  schema.text.has_header = true;
  const Result scored = Score("C1\tI1\na\t250\nx\na\t500\n", OnBadRow::kSkip, 2, PredictValues, schema);
  CHECK_EQUAL(scored.output, "row,probability\n1,0.25000000\n3,0.50000000\n");
  CHECK_EQUAL(scored.tally.fault.substr(0, 19), "line 3 has 1 column");
}

TEST(scoring, the_order_is_that_of_the_lines_for_any_number_of_threads) {
  std::string rows;
  std::string expected = "row,probability\n";
  for (int number = 0; number < 5000; ++number) {
    rows += std::to_string(number % 1000) + "\ta\n";
    AppendScore(static_cast<size_t>(number) + 1, static_cast<float>(number % 1000 / 1000.0), &expected);
  }
  for (const size_t threads : {1U, 2U, 8U}) {
    CHECK_EQUAL(Score(rows, OnBadRow::kFail, threads).output == expected, true);
  }
}

TEST(scoring, an_error_of_the_model_ends_the_output) {
  const auto fail = [](const EncodedLines &rows) -> std::vector<float> {
    if (rows.values.front() > 0.5F) {
      throw Error("the model fails");
    }
    return PredictValues(rows);
  };
  const Result failed = Score("1\ta\n2\ta\n3\ta\n999\ta\n5\ta\n6\ta\n7\ta\n", OnBadRow::kSkip, 2, fail);
  CHECK_EQUAL(failed.error, "the model fails");
  CHECK_EQUAL(failed.output, "row,probability\n1,0.00100000\n2,0.00200000\n3,0.00300000\n");
}

TEST(scoring, an_empty_input_gives_the_header) {
  CHECK_EQUAL(Score("", OnBadRow::kFail).output, "row,probability\n");
}

TEST(scoring, golden_rows_are_well_formed) {
  const Recalibration recalibration;
  const Scorer scorer = {Encoder(), recalibration, PredictValues};
  CHECK_EQUAL((ScoreText(scorer, "250\ta\n500\tb\n", "golden") == std::vector<float>{0.25F, 0.5F}), true);
  CHECK_ERROR(ScoreText(scorer, "250\ta\nx\tb\n", "golden"), "golden line 2: is malformed; write the package again");
}
