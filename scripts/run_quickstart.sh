#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# From nothing to a trained and evaluated DeepFM: environment, data, preprocessing, training, evaluation, summary.
# usage: bash scripts/run_quickstart.sh [train.txt | train.txt.gz | dac.tar.gz]
# Without a file it makes 200,000 Criteo-like rows.  Results go to quickstart/.
set -euo pipefail

# A signal to all processes of the terminal lets the one that runs end itself, and say so; the script then ends, too.
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

usage() {
  sed -n '4,5s/^# //p' "$0" >&2
  exit 2
}

# Prints the name under which preprocessing looks for a raw file.  $1: the file.
raw_name() {
  case "$1" in
    *.tar.gz | *.tgz) echo dac.tar.gz ;;
    *.gz) echo train.txt.gz ;;
    *) echo train.txt ;;
  esac
}

main() {
  if (( $# > 1 )) || [[ "${1:-}" == -* ]]; then usage; fi
  local raw_file=""
  if (( $# == 1 )); then
    raw_file="$(realpath -- "$1")"
    [[ -f "${raw_file}" ]] || { echo "error: $1: no such file" >&2; exit 2; }
  fi
  cd "$(dirname "${BASH_SOURCE[0]}")/.."
  source scripts/environment.sh
  prepare_environment requirements.txt

  local work="quickstart/${raw_file:+own-data}"
  [[ -n "${raw_file}" ]] || work="quickstart/generated"
  local origin="${work}/data/origin_data"
  rm -rf "${work}"
  mkdir -p "${origin}"
  if [[ -n "${raw_file}" ]]; then
    ln -s "${raw_file}" "${origin}/$(raw_name "${raw_file}")"
  else
    "${python}" -m src.criteo_like --rows=200000 --seed=1 --out="${origin}/train.txt"
  fi
  local flags=(--config_path=config/quickstart.yaml --dataset_path="${work}/data/mindrecord"
               --eval_file_name="${work}/auc.log" --report_path="${work}/report.html")
  "${python}" src/preprocess_data.py "${flags[@]}" --data_path="${work}/data"
  "${python}" train.py "${flags[@]}" --ckpt_path="${work}/checkpoint" --loss_file_name="${work}/loss.log"
  "${python}" eval.py "${flags[@]}" --checkpoint_path="${work}/checkpoint"
  "${python}" -m src.report.quickstart "${work}"
}

main "$@"
