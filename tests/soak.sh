#!/bin/bash
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# soak.sh BUILD
# Repeat the demo for SOAK_SECONDS (600), killing the host at another moment each
# time. Stops at the first failure, and shows it.

set -u

log=$(mktemp)
trap 'rm -f "$log"' EXIT
for ((run = 1; SECONDS < ${SOAK_SECONDS:-600}; ++run)); do
  moment=$((RANDOM % 4)).$((RANDOM % 10))$((RANDOM % 10))
  if ! timeout --kill-after=10 120 tests/host/demo.sh "$1" "$moment" >"$log" 2>&1; then
    cat "$log"
    echo "run $run failed: killed $moment s after it began to play"
    exit 1
  fi
  echo "run $run passed: killed $moment s after it began to play"
done
