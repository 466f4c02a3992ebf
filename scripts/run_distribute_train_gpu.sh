#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Train on several GPUs, in the background; with WAIT=1 in the foreground.
# usage: bash scripts/run_distribute_train_gpu.sh DEVICE_NUM DATASET_PATH [--flag=value ...]
# for example: bash scripts/run_distribute_train_gpu.sh 8 /data/mindrecord
# The ranks are started by msrun, or with LAUNCHER=mpirun by OpenMPI 4.  Several machines (msrun): run it on each, with
# NODE_NUM, NODE_RANK, and MASTER_ADDR and MASTER_PORT of the first.  DEVICE_TARGET (GPU) may be CPU.
# Output goes to log/output.log, that of rank X to logX/output.log, losses to log/loss.log, scores to log/auc.log,
# checkpoints to checkpoint/.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

split_arguments "$@"
(( ${#positional[@]} == 2 )) || usage
device_num="${positional[0]}" dataset="${positional[1]}" target="${DEVICE_TARGET:-GPU}"
check_number "${device_num}" DEVICE_NUM
check_target "${target}"
check_folder "${dataset}" DATASET_PATH
[[ -d log && ! -L log ]] || ln -sfn log0 log
launch_ranks "${device_num}" "${target}" "${dataset}" --launcher="${LAUNCHER:-msrun}"
