// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

// These return a SHA-256 in lower-case hexadecimal digits.
std::string Sha256(std::string_view bytes);
// Throws Error if the file cannot be read.
std::string Sha256OfFile(const std::filesystem::path &path);
