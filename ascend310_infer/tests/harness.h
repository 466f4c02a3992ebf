// SPDX-License-Identifier: Apache-2.0
// A minimal test harness.  TEST(subject, name) { ... } registers a test, and the program runs the tests of a subject.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "error.h"

struct Test {
  std::string subject;
  std::string name;
  void (*run)();
};

// All tests of the program.
std::vector<Test> &Tests();

struct Registration {
  Registration(const char *subject, const char *name, void (*run)()) { Tests().push_back({subject, name, run}); }
};

// A check that failed; it ends its test.
class Failure : public std::exception {
 public:
  explicit Failure(std::string text) : text_(std::move(text)) {}
  const char *what() const noexcept override { return text_.c_str(); }

 private:
  std::string text_;
};

template <typename Found, typename Expected>
void CheckEqual(const char *file, int line, const Found &found, const Expected &expected) {
  if (!(found == expected)) {
    throw Failure(Text(file, ":", line, ": found ", found, ", expected ", expected));
  }
}

// Checks that a call throws Error and that `part` is a part of its message.
template <typename Call>
void CheckError(const char *file, int line, const Call &call, const std::string &part) {
  try {
    call();
  } catch (const Error &error) {
    if (std::string(error.what()).find(part) == std::string::npos) {
      throw Failure(Text(file, ":", line, ": the error is: ", error.what(), "\nexpected in it: ", part));
    }
    return;
  }
  throw Failure(Text(file, ":", line, ": no error, expected: ", part));
}

#define TEST(subject, name)                                                                              \
  static void subject##_##name();                                                                        \
  static const Registration subject##_##name##_registration(#subject, #name, subject##_##name);          \
  static void subject##_##name()
#define CHECK_EQUAL(found, expected) CheckEqual(__FILE__, __LINE__, (found), (expected))
#define CHECK_ERROR(expression, part) CheckError(__FILE__, __LINE__, [&] { (void)(expression); }, (part))

// A new folder that is removed at the end of its scope.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "deepfm-test-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) {
      throw std::runtime_error("mkdtemp failed");
    }
    path_ = name;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder &) = delete;
  TemporaryFolder &operator=(const TemporaryFolder &) = delete;

  std::filesystem::path operator/(const std::string &name) const { return path_ / name; }
  const std::filesystem::path &Path() const { return path_; }

  // Writes a file, and the folders above it.
  void Write(const std::string &name, const std::string &content) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << content;
  }

 private:
  std::filesystem::path path_;
};

// Returns the bytes of numbers as a text.
template <typename Number>
std::string Bytes(const std::vector<Number> &numbers) {
  return {reinterpret_cast<const char *>(numbers.data()), numbers.size() * sizeof(Number)};
}

// Returns the content of a file.
inline std::string ReadText(const std::filesystem::path &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Joins texts with commas, so that they can be compared and shown.
inline std::string Joined(const std::vector<std::string> &texts) {
  std::string joined;
  for (const auto &text : texts) {
    joined += (joined.empty() ? "" : ",") + text;
  }
  return joined;
}
