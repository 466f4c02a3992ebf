#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Train on several devices, in the background; with WAIT=1 in the foreground.
# usage: bash scripts/run_distribute_train.sh DEVICE_NUM DATASET_PATH [RANK_TABLE_FILE] [--flag=value ...]
# for example: bash scripts/run_distribute_train.sh 8 /data/mindrecord /rank_table_8p.json
# DEVICE_NUM is the number of devices per node.  msrun starts the ranks, on the devices of the rank table if there is one.
# The variable DEVICE_TARGET (Ascend) may be CPU or GPU.  For several nodes run the same command on each, with NODE_NUM,
# NODE_RANK, and MASTER_ADDR and MASTER_PORT of the first node; a rank table tells all of these, too.
# The output of rank X goes to logX/output.log, losses and metrics to log0/loss.log and log0/auc.log, checkpoints to
# checkpoint/.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

main() {
  split_arguments "$@"
  (( ${#positional[@]} == 2 || ${#positional[@]} == 3 )) || usage
  local device_num="${positional[0]}" dataset="${positional[1]}" rank_table="${positional[2]:-}"
  local target="${DEVICE_TARGET:-Ascend}" launcher=(--launcher=msrun)
  check_number "${device_num}" DEVICE_NUM
  check_target "${target}"
  check_folder "${dataset}" DATASET_PATH
  [[ -z "${rank_table}" ]] || launcher+=(--rank_table="${rank_table}")
  launch_ranks "${device_num}" "${target}" "${dataset}" "${launcher[@]}"
}

main "$@"
