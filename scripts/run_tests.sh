#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Install the tools and Python packages (into .venv) for testing, then lint and run the tests.
# usage: bash scripts/run_tests.sh [pytest argument ...]
set -euo pipefail

main() {
  cd "$(dirname "${BASH_SOURCE[0]}")/.."
  source scripts/environment.sh
  source scripts/debian.sh
  prepare_environment requirements-dev.txt
  local packages
  mapfile -t packages < <(missing_build_packages; command -v chromium > /dev/null || echo chromium)  # for report.html
  install_packages "${packages[@]}"
  "${python}" -m ruff check .
  "${python}" -m ruff format --check --quiet .
  "${python}" -m mypy
  # All tests of a file run in one process: they share fixtures that are slow to make.
  "${python}" -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder "$@"
}

main "$@"
