// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "options.h"

// The mode of --model_path: from raw rows to scores.
void ScoreRawRows(const Options &options);
