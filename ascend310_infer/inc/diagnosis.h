// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "line_form.h"
#include "row_schema.h"

// Returns the fault of a line, without its newline, that is malformed for this reason, in words.  number: from 1.
std::string Diagnose(size_t number, std::string_view line, Reason reason, const RowSchema &schema,
                     const LineForm &form);
