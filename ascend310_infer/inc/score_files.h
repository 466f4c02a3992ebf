// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "options.h"

// The mode of --mindir_path: from .bin files of a model's inputs to .bin files of probabilities.
void ScoreFiles(const Options &options);
