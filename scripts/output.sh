#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# To be sourced first: makes printing harmless, which would otherwise end a script under set -e.  A closed standard
# stream becomes /dev/null, so that no file gets its descriptor; text that cannot be written, as its reader has gone, is
# dropped.

{ true <&0; } 2> /dev/null || exec < /dev/null
{ true >&1; } 2> /dev/null || exec > /dev/null
{ true >&2; } 2> /dev/null || exec 2> /dev/null
trap '' PIPE

echo() { builtin echo "$@" 2> /dev/null || true; }

err() { echo "error: $*" >&2; }
