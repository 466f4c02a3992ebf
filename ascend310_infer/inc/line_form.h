// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "row_schema.h"

// The form of the lines of an input.
struct LineForm {
  char separator = '\t';
  bool has_label = true;
  std::vector<std::string> names;  // of the columns, in the order of a line
  std::vector<size_t> positions;      // of each cell among those of a ParsedRow
};

// Returns the form of the lines of an input without a header, with a label or without.
LineForm FormOf(const RowSchema &schema, bool has_label);

// Returns the form of the lines behind a header.  Throws Error if it is none of the schema.  where: the input.
LineForm ReadHeader(std::string_view line, const RowSchema &schema, const std::string &where);

// Returns the schema of a file: if it is of Criteo's form, a .csv has commas and a header instead.
RowSchema SchemaOfFile(const RowSchema &schema, const std::filesystem::path &path);
