// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "json_value.h"
#include "row_schema.h"

// Returns the schema of a package.json: its "rows", in either form, and of its "data" what each column needs.  Throws
// Error for a wrong value.  have_buckets: whether numbers have buckets.
RowSchema ReadSchema(const Value &rows, const Value &data, bool have_buckets);
