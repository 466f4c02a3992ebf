// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

// The columns of a raw row: perhaps a label, then dense_dim integers, then slot_dim categories.
struct RowSchema {
  size_t dense_dim = 0;
  size_t slot_dim = 0;
  bool categories_are_ids = false;
  int64_t category_ids = 0;  // if they are ids, the number of these, from 0 on
  int negative_label = 0;

  // The integers and the categories.
  size_t ColumnCount() const { return dense_dim + slot_dim; }
  // Counts columns from 0, without the label: "I1" is that of 0.
  std::string ColumnName(size_t column) const {
    return column < dense_dim ? "I" + std::to_string(column + 1) : "C" + std::to_string(column - dense_dim + 1);
  }
};

// Why a line is malformed; the first reason in this order that holds is given.
enum class Reason : uint8_t { kNone, kColumns, kLabel, kEncoding, kInteger, kId };

constexpr size_t kReasonCount = 6;
constexpr std::array<const char *, kReasonCount> kReasonNames = {"", "columns", "label", "encoding", "integer", "id"};
