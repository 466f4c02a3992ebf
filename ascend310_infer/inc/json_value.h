// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "error.h"

using Json = nlohmann::json;

// A value of the manifest with its position, such as "rows.dense_dim", for messages.
class Value {
 public:
  Value(const Json *json, std::string where, std::string key)
      : json_(json), where_(std::move(where)), key_(std::move(key)) {}

  Value At(const std::string &name) const {
    const std::string key = key_.empty() ? name : key_ + "." + name;
    Require(json_->is_object(), "must be an object");
    const auto found = json_->find(name);
    if (found == json_->end()) {
      throw Error(Text(where_, ": has no ", key, "; write the package again"));
    }
    return {&*found, where_, key};
  }

  std::vector<Value> Items() const {
    Require(json_->is_array(), "must be a list");
    std::vector<Value> items;
    for (const auto &item : *json_) {
      items.emplace_back(&item, where_, Text(key_, "[", items.size(), "]"));
    }
    return items;
  }

  std::map<std::string, Value> Members() const {
    Require(json_->is_object(), "must be an object");
    std::map<std::string, Value> members;
    for (const auto &[name, member] : json_->items()) {
      // As JSON, because a name may have any characters.
      members.emplace(name, Value(&member, where_, key_ + "." + Json(name).dump(-1, ' ', true)));
    }
    return members;
  }

  // Tells whether an object has a value of this name that is not null.
  bool Has(const std::string &name) const {
    return json_->is_object() && json_->contains(name) && !(*json_)[name].is_null();
  }

  bool IsNull() const { return json_->is_null(); }
  bool IsString() const { return json_->is_string(); }

  std::string String() const {
    Require(json_->is_string(), "must be text");
    return json_->get<std::string>();
  }

  bool Boolean() const {
    Require(json_->is_boolean(), "must be true or false");
    return json_->get<bool>();
  }

  int64_t Integer(int64_t least, int64_t most) const {
    const bool fits = json_->is_number_integer() &&
                      (!json_->is_number_unsigned() ||
                       json_->get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()));
    const int64_t number = fits ? json_->get<int64_t>() : 0;
    Require(fits && number >= least && number <= most, Text("must be a whole number from ", least, " to ", most));
    return number;
  }

  double Number(double least, double most) const {
    const double number = json_->is_number() ? json_->get<double>() : std::numeric_limits<double>::quiet_NaN();
    Require(number >= least && number <= most, Text("must be a number from ", least, " to ", most));
    return number;
  }

  double FiniteNumber() const {
    constexpr double kLargest = std::numeric_limits<double>::max();
    return Number(-kLargest, kLargest);
  }

  std::string Sha256Digits() const {
    constexpr size_t kDigits = 64;
    const std::string text = String();
    Require(text.size() == kDigits && text.find_first_not_of("0123456789abcdef") == std::string::npos,
            "must be a SHA-256, 64 digits");
    return text;
  }

  std::vector<std::string> Strings() const {
    std::vector<std::string> texts;
    for (const Value &item : Items()) {
      texts.push_back(item.String());
    }
    return texts;
  }

  std::vector<double> Numbers() const {
    std::vector<double> numbers;
    for (const Value &item : Items()) {
      numbers.push_back(item.FiniteNumber());
    }
    return numbers;
  }

  void Require(bool holds, const std::string &rule) const {
    if (!holds) {
      throw Error(Text(where_, ": ", key_.empty() ? "the content" : key_, " ", rule, "; write the package again"));
    }
  }

 private:
  const Json *json_;
  std::string where_;
  std::string key_;
};

// Parses JSON.  where: its name, for messages.  Throws Error if the text is none, or is nested too deeply.
Json ParseJson(std::string_view text, const std::string &where);
