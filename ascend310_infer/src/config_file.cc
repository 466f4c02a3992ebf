// SPDX-License-Identifier: Apache-2.0
#include "config_file.h"

#include <fstream>
#include <set>
#include <string>

#include "error.h"

namespace {

std::string Trim(const std::string &text) {
  const char *const spaces = " \t\n\v\f\r";
  const size_t begin = text.find_first_not_of(spaces);
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(spaces) - begin + 1);
}

// Returns the key of a setting.  Throws Error if `line` is none or belongs elsewhere.
std::string ReadKey(const std::string &where, const std::string &line, const std::string &section) {
  const size_t equals = line.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw Error(Text(where, line, ": must be [section] or key=value"));
  }
  if (section.empty()) {
    throw Error(Text(where, line, ": must follow a [section], such as [ascend_context]"));
  }
  const std::string key = Trim(line.substr(0, equals));
  if (key == "precision_mode" || key == "ge.exec.precision_mode") {
    throw Error(Text(where, line, ": the flag --precision_mode sets it; pass that instead"));
  }
  return key;
}

}  // namespace

void CheckConfigFile(const std::filesystem::path &path) {
  std::ifstream file(path);
  if (!std::filesystem::is_regular_file(path) || !file) {
    throw Error(Text("--config_file=", path.string(), ": cannot be read as a file"));
  }
  std::string section;
  std::set<std::string> seen;  // sections, and their keys with the section before them
  std::string line;
  for (size_t number = 1; std::getline(file, line); ++number) {
    const std::string where = Text(path.string(), " line ", number, ": ");
    line = Trim(line);
    if (line.empty() || line.front() == '#') {
      continue;
    }
    std::string name = line;
    if (line.front() == '[' && line.back() == ']') {
      section = line;
    } else {
      name = section + ReadKey(where, line, section);
    }
    if (!seen.insert(name).second) {
      throw Error(Text(where, name, " appears twice; MindSpore Lite would use only the first"));
    }
  }
  if (seen.empty()) {
    throw Error(Text("--config_file=", path.string(), ": holds no [section]"));
  }
}
