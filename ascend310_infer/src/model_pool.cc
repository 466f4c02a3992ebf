// SPDX-License-Identifier: Apache-2.0
#include "model_pool.h"

#include <algorithm>
#include <filesystem>

namespace {

constexpr uintmax_t kLargestCopies = uintmax_t{1} << 30;

int CountModels(const std::string &path, const Options &options) {
  std::error_code error;
  const uintmax_t bytes = std::max<uintmax_t>(std::filesystem::file_size(path, error), 1);
  const auto copies = static_cast<uintmax_t>(options.threads - 1);
  return options.device_target == "CPU" && !error && copies <= kLargestCopies / bytes ? options.threads : 1;
}

}  // namespace

ModelPool::ModelPool(const std::string &path, const Options &options) {
  const int count = CountModels(path, options);
  Options of_each = options;
  of_each.threads = options.threads / count;
  for (int index = 0; index < count; ++index) {
    models_.push_back(std::make_unique<DeepFmModel>(path, of_each));
    idle_.push_back(models_.back().get());
  }
}

class ModelPool::Lease {
 public:
  explicit Lease(ModelPool *pool) : pool_(pool) {
    std::unique_lock lock(pool_->mutex_);
    pool_->given_back_.wait(lock, [&] { return !pool_->idle_.empty(); });
    model_ = pool_->idle_.back();
    pool_->idle_.pop_back();
  }
  ~Lease() {
    const std::lock_guard lock(pool_->mutex_);
    pool_->idle_.push_back(model_);
    pool_->given_back_.notify_one();
  }
  Lease(const Lease &) = delete;
  Lease &operator=(const Lease &) = delete;

  DeepFmModel *operator->() const { return model_; }

 private:
  ModelPool *pool_;
  DeepFmModel *model_;
};

std::vector<float> ModelPool::Predict(const EncodedLines &rows) {
  const Lease model(this);
  std::vector<float> probabilities;
  for (size_t start = 0; start < rows.rows; start += model->BatchRows()) {
    std::vector<const char *> inputs = {reinterpret_cast<const char *>(rows.ids.data())};
    if (model->RowBytes().size() == 2) {
      inputs.push_back(reinterpret_cast<const char *>(rows.values.data()));
    }
    for (size_t input = 0; input < inputs.size(); ++input) {
      inputs[input] += start * model->RowBytes()[input];
    }
    const auto predicted = model->Predict(inputs, std::min(model->BatchRows(), rows.rows - start));
    probabilities.insert(probabilities.end(), predicted.begin(), predicted.end());
  }
  return probabilities;
}
