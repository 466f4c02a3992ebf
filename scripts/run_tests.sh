#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Install what testing needs, Python packages into .venv, then lint and run the tests.
# usage: bash scripts/run_tests.sh [pytest argument ...]
set -euo pipefail

# The tests look at report.html in a browser.
install_browser() {
  if command -v chromium > /dev/null; then return; fi
  if (( EUID != 0 )) || ! command -v apt-get > /dev/null; then
    err "chromium is missing; on Debian: apt-get install chromium"
    return 1
  fi
  echo "installing chromium"
  apt-get update --quiet=2
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends chromium > /dev/null
}

main() {
  cd "$(dirname "${BASH_SOURCE[0]}")/.."
  source scripts/environment.sh
  prepare_environment requirements-dev.txt
  install_browser
  "${python}" -m ruff check .
  "${python}" -m ruff format --check --quiet .
  # A test file stays in one process: its tests share what is slow to make.
  "${python}" -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder "$@"
}

main "$@"
