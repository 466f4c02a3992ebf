// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "encoder.h"
#include "model.h"
#include "options.h"

// Equal models, each of which one thread at a time may run: MindSpore Lite does not promise more.
class ModelPool {
 public:
  // Builds a model for each thread of the options, with one thread of the runtime each; on Ascend, and if the copies of
  // the file would have more than 1 GiB, a single one with all threads.
  ModelPool(const std::string &path, const Options &options);

  // One of the models, for its sizes.
  const DeepFmModel &Any() const { return *models_.front(); }

  // Returns the probability of each row.  Waits for a model that no other thread runs.
  std::vector<float> Predict(const EncodedLines &rows);

 private:
  // A model that a thread has for itself until the end of its scope.
  class Lease;

  std::vector<std::unique_ptr<DeepFmModel>> models_;
  std::vector<DeepFmModel *> idle_;
  std::mutex mutex_;
  std::condition_variable given_back_;
};
