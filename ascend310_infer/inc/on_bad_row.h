// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a malformed row does: its line is left out, has no probability, or ends the program.
enum class OnBadRow { kSkip, kEmpty, kFail };
