#!/bin/bash
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# soak.sh BUILD
# First the long counts of what `make check` does in short: 2,000 hosts killed, 2,000
# files as a power loss may leave them, stores of 10 GB (20 GB free in TMPDIR), OSC
# flooded for 10 s and fuzzed for 10 minutes. Then, for SOAK_SECONDS (600), in turn: the
# demo, killing the host at another moment each time, random cases
# (tests/test_property.c) and damaged stores (tests/test_damage.c, test_damage_large.c) that
# no test has had before. Stops at the first failure, and shows it.

set -u

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# run DESCRIPTION COMMAND...
run() {
  local what=$1
  shift
  if ! timeout --kill-after=10 720 "$@" >"$log" 2>&1; then
    cat "$log"
    echo "round $round failed: $what"
    exit 1
  fi
  echo "round $round passed: $what"
}

round=0
run "2001 power losses" env HR_IMAGES=2001 "$1/tests/test_power_loss"
grep 'images of' "$log"
run "1000 hosts killed" env HR_KILLS=1000 "$1/tests/test_session"
grep ' kills, ' "$log"
run "1000 hosts killed during commands" env HR_KILLS=1000 "$1/tests/test_kills"
grep ' kills, ' "$log"

run "10 GB scanned" env HR_MEMORY_MB=10000 "$1/tests/test_memory"
grep 'scan of' "$log"
run "10 GB opened and replayed with all memory locked" env HR_MEMLOCK_MB=10000 "$1/tests/test_memlock"
grep 'kB' "$log"

run "10 s of flood" env HR_FLOOD_SECONDS=10 "$1/tests/test_osc_network"
grep 'flood of' "$log"
run "10 minutes of fuzzed packets" tests/fuzz/fuzz.sh "$1/fuzzers" 600 osc

SECONDS=0
for ((round = 1; SECONDS < ${SOAK_SECONDS:-600}; ++round)); do
  moment=$((RANDOM % 4)).$((RANDOM % 10))$((RANDOM % 10))
  run "demo, killed $moment s after it began to play" tests/host/demo.sh "$1" "$moment"
  seed=$((100000 + RANDOM * 32768 + RANDOM))
  run "1000 random cases from seed $seed on" \
    env HR_SEED=$seed HR_CASES=1000 "$1/tests/test_property"
  run "2000 damaged stores from seed $seed on" \
    env HR_SEED=$seed HR_CASES=2000 "$1/tests/test_damage"
  run "200 damaged stores of 14 MB from seed $seed on" \
    env HR_SEED=$seed HR_CASES=200 "$1/tests/test_damage_large"
  grep 'damaged copies' "$log"
done
