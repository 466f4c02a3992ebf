#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Build the runner: out/main.
# usage: LITE_HOME=/path/to/mindspore-lite bash build.sh [cmake argument ...]
# LITE_HOME (or MS_LITE_HOME): the unpacked MindSpore Lite, of the version that the board's CANN needs.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/../scripts/debian.sh"

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
  mapfile -t packages < <(missing_build_packages)
  install_packages "${packages[@]}"
  cd "$(dirname "${BASH_SOURCE[0]}")"
  cmake -S . -B out -DLITE_HOME="$(realpath "${home}")" "$@"
  cmake --build out
}

main "$@"
