#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Install the tools and Python packages (into .venv) for testing, then lint and run the tests.
# usage: bash scripts/run_tests.sh [pytest argument ...]
set -euo pipefail

# Installs the Debian package of a command that is missing; both have the same name.  $1: the command.
install_if_missing() {
  if command -v "$1" > /dev/null; then return; fi
  if (( EUID != 0 )) || ! command -v apt-get > /dev/null; then
    err "$1 is missing; on Debian: apt-get install $1"
    return 1
  fi
  echo "installing $1"
  apt-get update --quiet=2
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends "$1" > /dev/null
}

main() {
  cd "$(dirname "${BASH_SOURCE[0]}")/.."
  source scripts/environment.sh
  prepare_environment requirements-dev.txt
  local tool
  for tool in chromium cmake make g++; do install_if_missing "${tool}"; done  # for report.html and the C++ runner
  "${python}" -m ruff check .
  "${python}" -m ruff format --check --quiet .
  "${python}" -m mypy
  # All tests of a file run in one process: they share fixtures that are slow to make.
  "${python}" -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder "$@"
}

main "$@"
