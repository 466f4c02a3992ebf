// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

// A mistake that the user can fix: the message names the file or the argument, the rule and the fix.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Joins text and numbers to a message.
template <typename... Parts>
std::string Text(const Parts &...parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}
