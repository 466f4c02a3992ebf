#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Build the runner: out/main.
# usage: LITE_HOME=/path/to/mindspore-lite bash build.sh [cmake argument ...]
# LITE_HOME (or MS_LITE_HOME): the unpacked MindSpore Lite, of the version that the board's CANN needs.
set -euo pipefail

err() { echo "error: $*" >&2; }

# Prints the names of the Debian packages that are missing: tools, and headers of libraries.
missing_packages() {
  command -v cmake > /dev/null || echo cmake
  command -v g++ > /dev/null || { echo g++ libssl-dev nlohmann-json3-dev; return; }
  has_header openssl/evp.h || echo libssl-dev
  has_header nlohmann/json.hpp || echo nlohmann-json3-dev
}

# $1: the name of a header.
has_header() { echo "#include <$1>" | g++ -E -x c++ - > /dev/null 2>&1; }

# Installs packages on Debian and its derivatives if the user is root.  $@: their names.
install_packages() {
  if (( EUID != 0 )) || ! command -v apt-get > /dev/null; then
    err "$* missing; on Debian and Ubuntu: apt-get install $*"
    exit 2
  fi
  echo "installing $*"
  apt-get install --yes --quiet "$@"
}

# Refuses characters that have a meaning of their own for CMake or the linker.  $1: a path; $2: its name.
check_path() {
  if [[ "$1" == *[\"\;\|\?\\:,]* ]]; then
    err "$2 $1: CMake cannot build with a path that holds any of the characters \" ; | ? \\ : , so rename it"
    exit 2
  fi
}

main() {
  local home="${LITE_HOME:-${MS_LITE_HOME:-}}"
  if [[ -z "${home}" ]]; then
    err "LITE_HOME is not set. For Ascend: download MindSpore Lite for your CANN, unpack it, export LITE_HOME. For a" \
      "machine without Ascend: export LITE_HOME=\"\$(bash scripts/get_mindspore_lite.sh)\""
    exit 2
  fi
  check_path "$(realpath "${home}")" LITE_HOME
  check_path "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)" "the folder"
  local packages
  read -r -d '' -a packages <<< "$(missing_packages)" || true
  (( ${#packages[@]} == 0 )) || install_packages "${packages[@]}"
  cd "$(dirname "${BASH_SOURCE[0]}")"
  cmake -S . -B out -DLITE_HOME="$(realpath "${home}")" "$@"
  cmake --build out
}

main "$@"
