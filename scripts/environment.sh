#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# To be sourced: prepare_environment creates .venv in the project's folder and installs the packages of a requirements
# file.

source "$(dirname "${BASH_SOURCE[0]}")/output.sh"

# Sets `python` to the interpreter of .venv.  $1: the requirements file.
prepare_environment() {
  local requirements="$1" stamp=".venv/installed-$1.sha256" wanted
  python="${PWD}/.venv/bin/python"
  if ! "${python}" -m pip --version > /dev/null 2>&1; then
    create_environment
  fi
  wanted="$(cat requirements*.txt | sha256sum)"
  if [[ ! -f "${stamp}" || "$(< "${stamp}")" != "${wanted}" ]]; then
    echo "installing ${requirements} into .venv (MindSpore alone is 1 GB on disk; this takes a minute or more)"
    "${python}" -m pip install --quiet --disable-pip-version-check --requirement "${requirements}" \
      || { err "pip could not install ${requirements}; see its message above"; return 1; }
    echo "${wanted}" > "${stamp}"
  fi
}

create_environment() {
  local base
  base="$(find_python)" || return 1
  rm -rf .venv
  "${base}" -m venv .venv \
    || { rm -rf .venv; err "${base} -m venv failed; on Debian and Ubuntu: apt-get install python3-venv"; return 1; }
}

# Prints the first of $PYTHON, python3, python3.11, python3.12, python3.10 whose version MindSpore 2.10 supports.
find_python() {
  local candidate
  for candidate in ${PYTHON:+"${PYTHON}"} python3 python3.11 python3.12 python3.10; do
    if "${candidate}" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2> /dev/null; then
      echo "${candidate}"
      return
    fi
  done
  err "no Python 3.10, 3.11 or 3.12 found; set PYTHON=/path/to/python3.11"
  return 1
}
