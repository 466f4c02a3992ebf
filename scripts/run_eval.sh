#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Evaluate a checkpoint on the test split, in the background; with WAIT=1 in the foreground.
# usage: bash scripts/run_eval.sh DEVICE_ID DEVICE_TARGET DATASET_PATH CHECKPOINT_PATH [--flag=value ...]
# for example: bash scripts/run_eval.sh 0 Ascend /data/mindrecord ./checkpoint
# The output goes to ms_log/eval_output.log, a line with the metrics to auc.log.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

main() {
  split_arguments "$@"
  (( ${#positional[@]} == 4 )) || usage
  local device_id="${positional[0]}" target="${positional[1]}" dataset="${positional[2]}"
  local checkpoint="${positional[3]}"
  check_number "${device_id}" DEVICE_ID
  check_target "${target}"
  check_folder "${dataset}" DATASET_PATH
  echo "output: ms_log/eval_output.log, metrics: auc.log"
  launch ms_log --log=ms_log/eval_output.log "${project}/eval.py" --device_target="${target}" \
    --device_id="${device_id}" --dataset_path="${dataset}" --checkpoint_path="${checkpoint}" "${flags[@]}"
}

main "$@"
