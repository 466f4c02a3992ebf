// SPDX-License-Identifier: Apache-2.0
#include "model.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <memory>

#include "include/api/context.h"

#include "config_file.h"
#include "error.h"

namespace {

std::shared_ptr<mindspore::Context> MakeContext(const Options &options) {
  auto context = std::make_shared<mindspore::Context>();
  context->SetThreadNum(options.threads);
  if (options.device_target == "Ascend") {
    auto ascend = std::make_shared<mindspore::AscendDeviceInfo>();
    ascend->SetDeviceID(static_cast<uint32_t>(options.device_id));
    ascend->SetPrecisionMode(options.precision_mode);
    context->MutableDeviceInfo().push_back(ascend);
  } else {
    context->MutableDeviceInfo().push_back(std::make_shared<mindspore::CPUDeviceInfo>());
  }
  return context;
}

// Gives the settings of a configuration file to a model that is not built yet.
void LoadConfigFile(const std::string &path, mindspore::Model *model) {
  CheckConfigFile(path);
  const mindspore::Status status = model->LoadConfig(path);
  if (status.IsError()) {
    throw Error(Text("--config_file=", path, ": MindSpore Lite refuses it (", status.GetErrDescription(),
                     "); GLOG_v=2 shows its own log"));
  }
}

// Returns the index of an input: the one of this name or, as converters rename inputs, the only one of its type.
size_t FindInput(const std::vector<mindspore::MSTensor> &inputs, const std::string &name, mindspore::DataType type) {
  const auto named = std::find_if(inputs.begin(), inputs.end(), [&](const auto &input) { return input.Name() == name; });
  if (named != inputs.end()) {
    return static_cast<size_t>(named - inputs.begin());
  }
  const auto is_typed = [&](const auto &input) { return input.DataType() == type; };
  if (std::count_if(inputs.begin(), inputs.end(), is_typed) != 1) {
    throw Error(Text("the model has no input ", name));
  }
  return static_cast<size_t>(std::find_if(inputs.begin(), inputs.end(), is_typed) - inputs.begin());
}

}  // namespace

DeepFmModel::DeepFmModel(const std::string &path, const Options &options) {
  if (!std::ifstream(path)) {
    throw Error(Text(path, ": cannot be read"));
  }
  if (!options.config_file.empty()) {
    LoadConfigFile(options.config_file, &model_);
  }
  const mindspore::Status status = model_.Build(path, mindspore::kMindIR, MakeContext(options));
  if (status.IsError()) {
    throw Error(Text(path, ": MindSpore Lite cannot build it for --device_target=", options.device_target, " (",
                     status.GetErrDescription(), "). Without an Ascend choose --device_target=CPU; for a runtime older ",
                     "than MindSpore 2.3, as on Ascend 310, export it with export.py --mindir_version=1; GLOG_v=2 ",
                     "shows its own log"));
  }
  const std::vector<mindspore::MSTensor> all = model_.GetInputs();
  if (all.size() != 1 && all.size() != 2) {
    throw Error(Text(path, " has ", all.size(), " inputs instead of sparse ids and perhaps dense values"));
  }
  inputs_.push_back(all[FindInput(all, "sparse_ids", mindspore::DataType::kNumberTypeInt32)]);
  CheckInput(inputs_[0], mindspore::DataType::kNumberTypeInt32, "sparse ids, int32 [B, S]");
  if (all.size() == 2) {
    inputs_.push_back(all[FindInput(all, "dense_values", mindspore::DataType::kNumberTypeFloat32)]);
    CheckInput(inputs_[1], mindspore::DataType::kNumberTypeFloat32, "dense values, float32 [B, N]");
  }
}

void DeepFmModel::CheckInput(const mindspore::MSTensor &input, mindspore::DataType type, const char *expected) {
  const std::vector<int64_t> &shape = input.Shape();
  if (input.DataType() != type || shape.size() != 2) {
    throw Error(Text("the model's input ", input.Name(), " does not take ", expected));
  }
  if (shape[0] < 1 || shape[1] < 1) {
    throw Error("the model's batch size is not fixed; export it with export.py --batch_size=1000 or another number");
  }
  const auto rows = static_cast<size_t>(shape[0]);
  const size_t row_bytes = static_cast<size_t>(shape[1]) * 4;
  if (input.DataSize() != rows * row_bytes || (batch_rows_ != 0 && rows != batch_rows_)) {
    throw Error(Text("the model's input ", input.Name(), " has ", input.DataSize(), " bytes for ", rows, " rows"));
  }
  batch_rows_ = rows;
  row_bytes_.push_back(row_bytes);
}

std::vector<float> DeepFmModel::Predict(const std::vector<const char *> &inputs, size_t row_count) {
  for (size_t index = 0; index < inputs_.size(); ++index) {
    auto *data = static_cast<char *>(inputs_[index].MutableData());
    if (data == nullptr) {
      throw Error(Text("MindSpore Lite has no memory for the input ", inputs_[index].Name()));
    }
    const size_t bytes = row_count * row_bytes_[index];
    std::memcpy(data, inputs[index], bytes);
    std::memset(data + bytes, 0, inputs_[index].DataSize() - bytes);
  }
  const mindspore::Status status = model_.Predict(inputs_, &outputs_);
  if (status.IsError()) {
    throw Error(Text("MindSpore Lite cannot run the model: ", status.GetErrDescription()));
  }
  if (outputs_.size() != 1 || outputs_[0].DataType() != mindspore::DataType::kNumberTypeFloat32 ||
      outputs_[0].DataSize() != batch_rows_ * sizeof(float)) {
    throw Error("the model's output is not float32 [B, 1]");
  }
  std::vector<float> probabilities(row_count);
  std::memcpy(probabilities.data(), outputs_[0].MutableData(), row_count * sizeof(float));
  return probabilities;
}
