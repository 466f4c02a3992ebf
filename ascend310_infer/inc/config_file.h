// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

// Throws Error, with the number of the line, for what MindSpore Lite would leave out of a configuration file without a
// message: a line that is neither [section] nor key=value, a setting before the first section, a section or a key that
// appears twice, and the precision mode, which --precision_mode sets.
void CheckConfigFile(const std::filesystem::path &path);
