#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Train on several GPUs, in the background; with WAIT=1 in the foreground.
# usage: bash scripts/run_distribute_train_gpu.sh DEVICE_NUM DATASET_PATH [--flag=value ...]
# for example: bash scripts/run_distribute_train_gpu.sh 8 /data/mindrecord
# DEVICE_NUM is the number of GPUs per node.  msrun starts the ranks, or with LAUNCHER=mpirun OpenMPI 4.  The variable
# DEVICE_TARGET (GPU) may be CPU.  For several nodes (msrun) run the same command on each, with NODE_NUM, NODE_RANK, and
# MASTER_ADDR and MASTER_PORT of the first node.
# The output goes to log/output.log, that of rank X to logX/output.log, losses and metrics to log/loss.log and
# log/auc.log, checkpoints to checkpoint/.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

main() {
  split_arguments "$@"
  (( ${#positional[@]} == 2 )) || usage
  local device_num="${positional[0]}" dataset="${positional[1]}" target="${DEVICE_TARGET:-GPU}"
  check_number "${device_num}" DEVICE_NUM
  check_target "${target}"
  check_folder "${dataset}" DATASET_PATH
  [[ -d log && ! -L log ]] || ln -sfn log0 log
  launch_ranks "${device_num}" "${target}" "${dataset}" --launcher="${LAUNCHER:-msrun}"
}

main "$@"
