# shellcheck shell=bash
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# Source me. Checks for scripts: each prints one line that tests/run.sh counts.

failed=0

# check DESCRIPTION COMMAND...
check() {
  local name=$1
  shift
  if "$@"; then
    echo "ok $name"
  else
    echo "not ok $name"
    # shellcheck disable=SC2034 # whoever sources this exits with it
    failed=1
  fi
}
