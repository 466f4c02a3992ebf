// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "include/api/model.h"

#include "options.h"

// An exported DeepFM on a device.  Its inputs are sparse ids int32 [B, S] and, unless N is 0, dense values float32
// [B, N]; its output is probabilities float32 [B, 1].
class DeepFmModel {
 public:
  // path: of the MindIR; options: of the device.  Throws Error if the model or the configuration file cannot be read, or
  // if the model has other inputs.
  DeepFmModel(const std::string &path, const Options &options);

  size_t BatchRows() const { return batch_rows_; }
  // The bytes of a row of each input: the sparse ids, then the dense values if the model takes them.
  const std::vector<size_t> &RowBytes() const { return row_bytes_; }

  // Returns the probabilities of `row_count` rows, at most BatchRows().  inputs: for each input the bytes of its rows.
  // The batch is padded with zeros.
  std::vector<float> Predict(const std::vector<const char *> &inputs, size_t row_count);

 private:
  void CheckInput(const mindspore::MSTensor &input, mindspore::DataType type, const char *expected);

  mindspore::Model model_;
  std::vector<mindspore::MSTensor> inputs_;
  std::vector<mindspore::MSTensor> outputs_;
  std::vector<size_t> row_bytes_;
  size_t batch_rows_ = 0;
};
