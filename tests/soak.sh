#!/bin/bash
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# soak.sh BUILD
# For SOAK_SECONDS (600), in turn: the demo, killing the host at another moment
# each time, and random cases (tests/test_property.c) that no test has had before.
# Stops at the first failure, and shows it.

set -u

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# run DESCRIPTION COMMAND...
run() {
  local what=$1
  shift
  if ! timeout --kill-after=10 120 "$@" >"$log" 2>&1; then
    cat "$log"
    echo "round $round failed: $what"
    exit 1
  fi
  echo "round $round passed: $what"
}

for ((round = 1; SECONDS < ${SOAK_SECONDS:-600}; ++round)); do
  moment=$((RANDOM % 4)).$((RANDOM % 10))$((RANDOM % 10))
  run "demo, killed $moment s after it began to play" tests/host/demo.sh "$1" "$moment"
  seed=$((100000 + RANDOM * 32768 + RANDOM))
  run "1000 random cases from seed $seed on" \
    env HR_SEED=$seed HR_CASES=1000 "$1/tests/test_property"
  run "2000 power losses from seed $seed on" \
    env HR_SEED=$seed HR_CASES=2000 "$1/tests/test_power_loss"
done
