// SPDX-License-Identifier: Apache-2.0
#include "json_value.h"

namespace {

constexpr int kDeepestNesting = 100;  // JSON is written and copied recursively, and the stack is not endless

}  // namespace

Json ParseJson(std::string_view text, const std::string &where) {
  const auto check_depth = [&](int depth, Json::parse_event_t, const Json &) {
    if (depth > kDeepestNesting) {
      throw Error(Text(where, ": is JSON nested more than ", kDeepestNesting, " deep; write the package again"));
    }
    return true;
  };
  try {
    return Json::parse(text, check_depth);
  } catch (const Json::exception &) {
    throw Error(Text(where, ": is not JSON; write the package again"));
  }
}
