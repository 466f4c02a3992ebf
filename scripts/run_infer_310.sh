#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Predict the test split with the C++ runner and MindSpore Lite, and compute the AUC of the predictions.
# usage: bash scripts/run_infer_310.sh MINDIR_PATH DATASET_PATH NEED_PREPROCESS [DEVICE_ID] [--flag=value ...]
# for example: bash scripts/run_infer_310.sh deepfm.mindir /data/mindrecord y 0 --precision_mode=enforce_fp16
# NEED_PREPROCESS: y to write the test split to preprocess_Result/, n to use the files there.  DEVICE_ID: default 0.
# Flags, such as --precision_mode, --config_file and --threads, are passed on to the runner.
# LITE_HOME names MindSpore Lite.  With DEVICE_TARGET=CPU no Ascend is needed, and without LITE_HOME it is downloaded.
# The AUC is written to acc.log, predictions to result_Files/, and all other output to infer.log.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
trap 'echo "stopped by SIGINT" >&2; exit 130' INT  # the running step says so in infer.log only
trap 'echo "stopped by SIGTERM" >&2; exit 143' TERM

# Runs a step with its output in infer.log.  Shows its warnings and, if it fails, its error or the end of infer.log.
# $1: the name of the step; then the command.  On a terminal stderr is not redirected, as it has the progress.
step() {
  local name="$1" status=0 begin
  shift
  echo "${name} ..."
  begin="$(( $(wc -l < infer.log) + 1 ))"
  if [[ -t 2 ]]; then
    "$@" >> infer.log || status=$?
  else
    "$@" >> infer.log 2>&1 || status=$?
    tail -n "+${begin}" infer.log | sed -n '/^warning: /p' >&2
  fi
  (( status != 0 )) || return 0
  if [[ ! -t 2 ]]; then
    tail -n 1 infer.log | grep '^error: ' >&2 || {
      echo "error: ${name} failed; the end of infer.log:" >&2
      tail -n 5 infer.log >&2
    }
  fi
  exit "${status}"
}

# Writes the AUC to acc.log.
evaluate() {
  local status=0
  python "${project}/postprocess.py" --result_path=./result_Files --label_path=./preprocess_Result/02_labels \
    > acc.log || status=$?
  (( status == 0 )) || rm acc.log
  return "${status}"
}

main() {
  split_arguments "$@"
  (( ${#positional[@]} == 3 || ${#positional[@]} == 4 )) || usage
  local mindir="${positional[0]}" dataset="${positional[1]}" need_preprocess="${positional[2]}"
  local device_id="${positional[3]:-0}" target="${DEVICE_TARGET:-Ascend}"
  [[ -f "${mindir}" ]] || { echo "error: MINDIR_PATH ${mindir}: no such file" >&2; usage; }
  check_folder "${dataset}" DATASET_PATH
  [[ "${need_preprocess}" =~ ^[yn]$ ]] || { echo "error: NEED_PREPROCESS ${need_preprocess}: must be y or n" >&2; usage; }
  check_number "${device_id}" DEVICE_ID
  [[ "${target}" =~ ^(Ascend|CPU)$ ]] || { echo "error: DEVICE_TARGET ${target}: must be Ascend or CPU" >&2; usage; }
  find_mindspore
  rm -rf infer.log acc.log result_Files
  touch infer.log
  if [[ -z "${LITE_HOME:-${MS_LITE_HOME:-}}" && "${target}" == CPU ]]; then
    LITE_HOME="$(bash "${project}/scripts/get_mindspore_lite.sh")"
    export LITE_HOME
  fi
  if [[ "${need_preprocess}" == y ]]; then
    step "preprocess" python "${project}/preprocess.py" --dataset_path="${dataset}" --result_path=./preprocess_Result
  fi
  step "build" bash "${project}/ascend310_infer/build.sh"
  local inputs=(--input0_path=./preprocess_Result/00_sparse_ids)
  [[ ! -d preprocess_Result/01_dense_values ]] || inputs+=(--input1_path=./preprocess_Result/01_dense_values)
  step "infer" "${project}/ascend310_infer/out/main" --mindir_path="${mindir}" "${inputs[@]}" \
    --output_path=./result_Files --device_target="${target}" --device_id="${device_id}" "${flags[@]}"
  local times
  times="$(tail -n 1 infer.log)"
  echo "${times}"
  step "evaluate" evaluate
  echo "$(< acc.log)"
}

main "$@"
