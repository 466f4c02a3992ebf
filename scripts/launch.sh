#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# To be sourced by the scripts that start a run: arguments, and the start in the background.

# A signal to all processes of a terminal lets the running one end itself, with a message; then the script ends, too.
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

project="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
source "${project}/scripts/output.sh"

# Prints the lines of the script's head from "# usage:" on; ends with status 2.
usage() {
  sed -n '/^# usage:/,/^[^#]/s/^# //p' "$0" >&2
  exit 2
}

# Sets `positional` and `flags`: arguments that begin with -- are flags for the Python script, at any position.
split_arguments() {
  positional=()
  flags=()
  local argument
  for argument in "$@"; do
    if [[ "${argument}" == --* ]]; then flags+=("${argument}"); else positional+=("${argument}"); fi
  done
}

# $1: a number; $2: its name.
check_number() {
  [[ "$1" =~ ^[0-9]+$ ]] || { err "$2 $1: must be a whole number"; usage; }
}

# $1: a folder; $2: its name.
check_folder() {
  [[ -d "$1" ]] || { err "$2 $1: no such folder"; usage; }
}

# $1: Ascend, GPU or CPU.
check_target() {
  [[ "$1" =~ ^(Ascend|GPU|CPU)$ ]] || { err "DEVICE_TARGET $1: must be Ascend, GPU or CPU"; usage; }
}

# Puts a Python that has MindSpore first on the PATH: the one that is there, else that of .venv.
find_mindspore() {
  local probe='import importlib.util as util, sys; sys.exit(util.find_spec("mindspore") is None)'
  if ! python -c "${probe}" 2> /dev/null; then
    export PATH="${project}/.venv/bin:${PATH}"
    python -c "${probe}" 2> /dev/null || {
      err "python has no mindspore; activate an environment with the packages: pip install -r requirements.txt"
      exit 1
    }
  fi
}

# Starts src/distributed/launch.py in the background, or with WAIT=1 in the foreground.  $1: the folder for launch.log;
# then the arguments of launch.py.
launch() {
  local folder="$1" log="$1/launch.log"
  shift
  find_mindspore
  if [[ "${WAIT:-0}" == 1 ]]; then
    exec python "${project}/src/distributed/launch.py" "$@"
  fi
  mkdir -p "${folder}"
  nohup python "${project}/src/distributed/launch.py" "$@" > "${log}" 2>&1 &
  echo "started in the background; if it fails, ${log} contains the reason"
  echo "to stop it after the current step, with a checkpoint: kill $!"
}

# Starts train.py on several devices.  $1: devices per node; $2: the device target; $3: the MindRecord folder; then
# arguments of launch.py.
launch_ranks() {
  local device_num="$1" target="$2" dataset="$3"
  shift 3
  (( device_num >= 1 )) || { err "DEVICE_NUM ${device_num}: must be at least 1"; usage; }
  echo "output: log0/output.log and so on, losses: log0/loss.log, metrics: log0/auc.log"
  launch log0 --device_num="${device_num}" "$@" --log="log{rank}/output.log" "${project}/train.py" \
    --device_target="${target}" --dataset_path="${dataset}" --loss_file_name=log0/loss.log \
    --eval_file_name=log0/auc.log "${flags[@]}"
}
