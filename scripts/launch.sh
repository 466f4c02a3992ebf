#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# To be sourced by the scripts that start a run: arguments, and the start in the background.

# A signal to all processes of a terminal lets the one that runs end itself, and say so; the script then ends, too.
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

project="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
source "${project}/scripts/output.sh"

# Prints the lines of the script's head that begin with "# usage:" or come after it; ends with status 2.
usage() {
  sed -n '/^# usage:/,/^[^#]/s/^# //p' "$0" >&2
  exit 2
}

# Sets `positional` and `flags`: arguments that begin with -- are flags for the Python script, wherever they stand.
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
  [[ "$1" =~ ^[0-9]+$ ]] || { echo "error: $2 $1: must be a whole number" >&2; usage; }
}

# $1: a folder; $2: its name.
check_folder() {
  [[ -d "$1" ]] || { echo "error: $2 $1: no such folder" >&2; usage; }
}

# $1: Ascend, GPU or CPU.
check_target() {
  [[ "$1" =~ ^(Ascend|GPU|CPU)$ ]] || { echo "error: DEVICE_TARGET $1: must be Ascend, GPU or CPU" >&2; usage; }
}

# Puts a Python that has MindSpore first on the PATH: the one that is there, else that of .venv.
find_mindspore() {
  local probe='import importlib.util as util, sys; sys.exit(util.find_spec("mindspore") is None)'
  if ! python -c "${probe}" 2> /dev/null; then
    export PATH="${project}/.venv/bin:${PATH}"
    python -c "${probe}" 2> /dev/null || {
      echo "error: python has no mindspore; activate an environment that has: pip install -r requirements.txt" >&2
      exit 1
    }
  fi
}

# Starts src/distributed/launch.py in the background, or with WAIT=1 in the foreground.  $1: the folder for what it says; then its
# arguments.
launch() {
  local folder="$1" log="$1/launch.log"
  shift
  find_mindspore
  if [[ "${WAIT:-0}" == 1 ]]; then
    exec python "${project}/src/distributed/launch.py" "$@"
  fi
  mkdir -p "${folder}"
  nohup python "${project}/src/distributed/launch.py" "$@" > "${log}" 2>&1 &
  echo "started in the background; if it fails, ${log} says why"
  echo "to stop it after its step, with a checkpoint: kill $!"
}

# $1: devices of this machine; $2: what they are; $3: the data; then arguments of src/distributed/launch.py.
launch_ranks() {
  local device_num="$1" target="$2" dataset="$3"
  shift 3
  (( device_num >= 1 )) || { echo "error: DEVICE_NUM ${device_num}: must be at least 1" >&2; usage; }
  echo "output: log0/output.log and so on, losses: log0/loss.log, scores: log0/auc.log"
  launch log0 --device_num="${device_num}" "$@" --log="log{rank}/output.log" "${project}/train.py" \
    --device_target="${target}" --dataset_path="${dataset}" --loss_file_name=log0/loss.log \
    --eval_file_name=log0/auc.log "${flags[@]}"
}
