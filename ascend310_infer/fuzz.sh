#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Fuzz the reader and encoder of raw rows, and the parser of package.json, with libFuzzer and sanitizers.
# usage: bash fuzz.sh [SECONDS]
# SECONDS: of each of the two, 60 by default.  Inputs begin with those of tests/corpus/; new ones go to out_fuzz/, where
# an input that fails stays, too.  The last lines tell how much of the code the inputs of tests/corpus/ reach.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/../scripts/debian.sh"

BUILD=out_fuzz
TARGETS=(rows manifest)

has_fuzzer() {
  command -v clang++ > /dev/null && command -v llvm-cov > /dev/null && command -v llvm-profdata > /dev/null \
    && echo 'extern "C" int LLVMFuzzerTestOneInput(const char *, unsigned long) { return 0; }' \
      | clang++ -fsanitize=fuzzer -x c++ - -o /dev/null 2> /dev/null
}

# Runs a target for a time, and prints its speed.  $1: rows or manifest; $2: seconds.
fuzz() {
  mkdir -p "${BUILD}/corpus/$1"
  echo "fuzz $1 for $2 s ..."
  LLVM_PROFILE_FILE=/dev/null "${BUILD}/fuzz_$1" -max_total_time="$2" -max_len=4096 -timeout=10 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix="${BUILD}/failed-$1-" "${BUILD}/corpus/$1" "tests/corpus/$1" 2> "${BUILD}/$1.log" \
    || { tail -n 40 "${BUILD}/$1.log" >&2; err "the fuzzer of $1 found a fault; its input is in $(pwd)/${BUILD}"; exit 1; }
  sed -n 's/^stat::\(number_of_executed_units\|average_exec_per_sec\): */  \1 /p' "${BUILD}/$1.log"
}

# Prints how much of the code the inputs of tests/corpus/ reach, by file: the same in every run.  $1: rows or manifest;
# then the sources.
report_coverage() {
  local target="$1" profile="${BUILD}/$1"
  shift
  LLVM_PROFILE_FILE="${profile}.profraw" "${BUILD}/fuzz_${target}" -runs=0 "tests/corpus/${target}" 2> /dev/null
  llvm-profdata merge -o "${profile}.profdata" "${profile}.profraw"
  llvm-cov report "${BUILD}/fuzz_${target}" -instr-profile="${profile}.profdata" "$@"
}

main() {
  local seconds="${1:-60}"
  [[ $# -le 1 && "${seconds}" =~ ^[1-9][0-9]*$ ]] || { sed -n '/^# usage:/s/^# //p' "$0" >&2; exit 2; }
  local packages
  mapfile -t packages < <(missing_build_packages)
  has_fuzzer || packages+=(clang llvm --install-recommends)  # clang only recommends the runtime of its fuzzer
  install_packages "${packages[@]}"
  cd "$(dirname "${BASH_SOURCE[0]}")"
  cmake -S . -B "${BUILD}" -DFUZZ=ON -DCMAKE_CXX_COMPILER=clang++ > /dev/null
  cmake --build "${BUILD}" > "${BUILD}/build.log" || { tail -n 20 "${BUILD}/build.log" >&2; exit 1; }
  local target
  for target in "${TARGETS[@]}"; do
    fuzz "${target}" "${seconds}"
  done
  report_coverage rows src/{buckets,cells,diagnosis,encoder,line_buffer,line_form,raw_rows,row_reader,split_cells,value_ids}.cc
  report_coverage manifest src/{json_value,manifest,recalibration,schema_json,value_ids,vocabulary}.cc
}

main "$@"
