#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# To be sourced: functions that install the Debian packages of tools and headers.

source "$(dirname "${BASH_SOURCE[0]}")/output.sh"

# Installs packages on Debian and its derivatives if the user is root; otherwise refuses, status 2.
# $@: names, and options of apt-get; nothing is installed if there are none.
install_packages() {
  (( $# > 0 )) || return 0
  if (( EUID != 0 )) || ! command -v apt-get > /dev/null; then
    err "packages are missing; on Debian and Ubuntu: apt-get install $*"
    exit 2
  fi
  echo "installing $*"
  apt-get update --quiet=2
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends "$@" > /dev/null
}

# Prints the names of the packages that are missing to build the C++ runner.
missing_build_packages() {
  local tool
  for tool in cmake make g++; do
    command -v "${tool}" > /dev/null || echo "${tool}"
  done
  has_header openssl/evp.h || echo libssl-dev
  has_header nlohmann/json.hpp || echo nlohmann-json3-dev
}

# $1: the name of a C++ header.
has_header() { echo "#include <$1>" | g++ -E -x c++ - > /dev/null 2>&1; }
