#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Train on one device, in the background; with WAIT=1 in the foreground.
# usage: bash scripts/run_standalone_train.sh DEVICE_ID DEVICE_TARGET DATASET_PATH [--flag=value ...]
# for example: bash scripts/run_standalone_train.sh 0 Ascend /data/mindrecord --train_epochs=3
# The output goes to ms_log/output.log, losses to loss.log, metrics to auc.log, checkpoints to checkpoint/.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

main() {
  split_arguments "$@"
  (( ${#positional[@]} == 3 )) || usage
  local device_id="${positional[0]}" target="${positional[1]}" dataset="${positional[2]}"
  check_number "${device_id}" DEVICE_ID
  check_target "${target}"
  check_folder "${dataset}" DATASET_PATH
  echo "output: ms_log/output.log, losses: loss.log, metrics: auc.log"
  launch ms_log --log=ms_log/output.log "${project}/train.py" --device_target="${target}" \
    --device_id="${device_id}" --dataset_path="${dataset}" "${flags[@]}"
}

main "$@"
