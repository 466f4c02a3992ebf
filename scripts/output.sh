#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# To be sourced first: printing then never ends a script, as it would under set -e.  A standard stream that is closed
# becomes /dev/null, so that no file gets its number; what cannot be printed, as its reader has gone, is dropped.

{ true <&0; } 2> /dev/null || exec < /dev/null
{ true >&1; } 2> /dev/null || exec > /dev/null
{ true >&2; } 2> /dev/null || exec 2> /dev/null
trap '' PIPE

echo() { builtin echo "$@" 2> /dev/null || true; }
