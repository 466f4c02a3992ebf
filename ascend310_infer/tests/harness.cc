// SPDX-License-Identifier: Apache-2.0
// usage: unit_tests SUBJECT: runs the tests of a subject; status 1 if one fails or there are none.
#include "harness.h"

#include <iostream>

std::vector<Test> &Tests() {
  static std::vector<Test> tests;
  return tests;
}

int main(int argc, char **argv) {
  const std::string subject = argc == 2 ? argv[1] : "";
  int passed = 0;
  int failed = 0;
  for (const Test &test : Tests()) {
    if (test.subject != subject) {
      continue;
    }
    try {
      test.run();
      ++passed;
    } catch (const std::exception &error) {
      ++failed;
      std::cerr << test.name << ": " << error.what() << std::endl;
    }
  }
  std::cout << passed << " passed, " << failed << " failed" << std::endl;
  return passed > 0 && failed == 0 ? 0 : 1;
}
