#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Download MindSpore Lite for the CPU from PyPI to a cache folder, once, and print its path, the value for LITE_HOME.
# usage: bash scripts/get_mindspore_lite.sh
# The cache is ${XDG_CACHE_HOME:-~/.cache}/mindspore-lite-2.0.0; HOME may be unset.  For Ascend use the official package
# that matches your CANN.
set -euo pipefail

VERSION=2.0.0
WHEEL="mindspore_lite-${VERSION}-cp37-cp37m-manylinux1_x86_64.whl"
SHA256=199cd0605cc985b88eddb273db9dfe9000a585ba10ca2292b6b36ebfff07b3ec

source "$(dirname "${BASH_SOURCE[0]}")/output.sh"

main() {
  if (( $# > 0 )); then
    sed -n '/^# usage:/s/^# //p' "$0" >&2
    exit 2
  fi
  if [[ "$(uname -m)" != x86_64 ]]; then
    err "PyPI has MindSpore Lite ${VERSION} for x86_64 only; set LITE_HOME to a package for $(uname -m)"
    exit 1
  fi
  local user_home="${HOME:-$(unset HOME; echo ~)}"  # without HOME, bash reads it from the user database
  local home="${XDG_CACHE_HOME:-${user_home}/.cache}/mindspore-lite-${VERSION}"
  if [[ ! -d "${home}" ]]; then
    { mkdir -p "$(dirname "${home}")" && work="$(mktemp -d "${home}.XXXXXX")"; } \
      || { err "set XDG_CACHE_HOME to a writable folder, or LITE_HOME to MindSpore Lite"; exit 1; }
    trap 'rm -rf "${work}"' EXIT
    echo "downloading MindSpore Lite ${VERSION} (169 MB) to ${home}" >&2
    python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version=3.7 \
      --platform=manylinux1_x86_64 --dest="${work}" "mindspore-lite==${VERSION}" >&2 \
      || { err "pip could not download mindspore-lite ${VERSION}; see its message above"; exit 1; }
    echo "${SHA256}  ${work}/${WHEEL}" | sha256sum --check --status \
      || { err "${WHEEL}: its SHA-256 is not ${SHA256}, so it is not used"; exit 1; }
    python -m zipfile --extract "${work}/${WHEEL}" "${work}/unpacked"
    mv --no-target-directory "${work}/unpacked" "${home}" 2> /dev/null || [[ -d "${home}" ]]
  fi
  echo "${home}/mindspore_lite"
}

main "$@"
