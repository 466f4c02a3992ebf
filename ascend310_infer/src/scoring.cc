// SPDX-License-Identifier: Apache-2.0
#include "scoring.h"

#include <algorithm>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "diagnosis.h"
#include "error.h"
#include "ordered_writer.h"
#include "scores.h"

namespace {

constexpr size_t kPartsPerThread = 4;  // that wait for an earlier one to be written

std::string_view LineAt(std::string_view text, size_t wanted) {
  std::string_view found;
  size_t index = 0;
  ForEachLine(text, [&](std::string_view line) { found = index++ == wanted ? line : found; });
  return found;
}

// Returns the index of the first malformed line, the number of lines if there is none.
size_t FindMalformed(const std::vector<Reason> &reasons) {
  const auto found = std::find_if(reasons.begin(), reasons.end(), [](Reason reason) { return reason != Reason::kNone; });
  return static_cast<size_t>(found - reasons.begin());
}

// The threads of ScoreRows.
class Workers {
 public:
  Workers(const Scorer &scorer, OnBadRow on_bad_row, size_t threads, const std::string &name, RowReader *reader,
          OutputFile *output)
      : scorer_(scorer),
        on_bad_row_(on_bad_row),
        name_(name),
        reader_(reader),
        writer_(output, kPartsPerThread * threads) {
    output->Write(kScoresHeader);
    for (size_t thread = 0; thread < threads; ++thread) {
      threads_.emplace_back([this] { Work(); });
    }
  }

  Tally Finish() {
    for (auto &thread : threads_) {
      thread.join();
    }
    writer_.ThrowError();
    return tally_;
  }

 private:
  // Scores chunk after chunk until the input ends or something fails.
  void Work() {
    Chunk chunk;
    EncodedLines lines;
    Tally tally;
    while (true) {
      std::string text;
      std::exception_ptr error;
      try {
        if (!Read(&chunk)) {
          break;
        }
        Score(chunk, &lines, &tally, &text);
      } catch (...) {
        error = std::current_exception();
      }
      if (!writer_.Write(chunk.number, std::move(text), error)) {
        reader_->Stop();
        break;
      }
    }
    const std::lock_guard lock(mutex_);
    tally_.Add(tally);
  }

  bool Read(Chunk *chunk) {
    const std::lock_guard lock(mutex_);
    const bool had_ended = std::exchange(has_ended_, true);  // it stays if the reader throws
    has_ended_ = had_ended || !reader_->Read(chunk);
    return !has_ended_;
  }

  // Appends the scores of a chunk to a text; throws behind those of the lines before an error.
  void Score(const Chunk &chunk, EncodedLines *lines, Tally *tally, std::string *text) const {
    scorer_.encoder.Encode(chunk.text, *chunk.form, lines);
    tally->Add(*lines);
    const size_t malformed = FindMalformed(lines->reasons);
    const bool is_malformed = malformed < lines->reasons.size();
    if (is_malformed && tally->first_malformed == 0) {
      tally->first_malformed = chunk.first_line + malformed;
      tally->fault = Diagnose(tally->first_malformed, LineAt(chunk.text, malformed), lines->reasons[malformed],
                              scorer_.encoder.Schema(), *chunk.form);
    }
    const bool fails = is_malformed && on_bad_row_ == OnBadRow::kFail;
    if (fails) {
      lines->reasons.resize(malformed);
      lines->rows = malformed;
    }
    AppendScores(chunk.first_row, *lines, text);
    if (fails) {
      throw Error(Text(name_, " ", tally->fault, "; --on_bad_row=skip leaves such lines out"));
    }
  }

  void AppendScores(size_t first_row, const EncodedLines &lines, std::string *text) const {
    const std::vector<float> probabilities = lines.rows > 0 ? scorer_.predict(lines) : std::vector<float>();
    auto probability = probabilities.begin();
    for (size_t index = 0; index < lines.reasons.size(); ++index) {
      if (lines.reasons[index] == Reason::kNone) {
        AppendScore(first_row + index, scorer_.recalibration.Apply(*probability++), text);
      } else if (on_bad_row_ == OnBadRow::kEmpty) {
        AppendEmptyScore(first_row + index, text);
      }
    }
  }

  const Scorer &scorer_;
  OnBadRow on_bad_row_;
  const std::string &name_;
  RowReader *reader_;
  OrderedWriter writer_;
  std::mutex mutex_;  // of what follows, and of the reader
  bool has_ended_ = false;
  Tally tally_;
  std::vector<std::thread> threads_;
};

}  // namespace

std::vector<float> ScoreText(const Scorer &scorer, std::string_view text, const std::string &where) {
  EncodedLines lines;
  scorer.encoder.Encode(text, FormOf(scorer.encoder.Schema(), false), &lines);
  if (lines.rows != lines.reasons.size()) {
    throw Error(Text(where, " line ", FindMalformed(lines.reasons) + 1, ": is malformed; write the package again"));
  }
  std::vector<float> probabilities = scorer.predict(lines);
  for (float &probability : probabilities) {
    probability = scorer.recalibration.Apply(probability);
  }
  return probabilities;
}

Tally ScoreRows(const Scorer &scorer, OnBadRow on_bad_row, size_t threads, const std::string &name, RowReader *reader,
                OutputFile *output) {
  return Workers(scorer, on_bad_row, threads, name, reader, output).Finish();
}
