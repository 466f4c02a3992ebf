#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Install what testing needs into .venv, then lint and run the tests.
# usage: bash scripts/run_tests.sh [pytest argument ...]
set -euo pipefail

main() {
  cd "$(dirname "${BASH_SOURCE[0]}")/.."
  source scripts/environment.sh
  prepare_environment requirements-dev.txt
  "${python}" -m ruff check .
  "${python}" -m ruff format --check --quiet .
  # A test file stays in one process: its tests share what is slow to make.
  "${python}" -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile "$@"
}

main "$@"
