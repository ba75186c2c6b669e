#!/bin/bash
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# ardour_loop.sh BUILD
# Loop recording in Ardour: four passes of a loop of two bars, each with notes of
# its own. Each pass is a branch, with its own notes at their places in the loop,
# after what was played before the loop.

set -u
. tests/host/ardour_lib.sh

export HR_TREE=song
passes=(1 2 3 4)
loop_start=$((2 * bar))
loop=$((2 * bar))

# chords FRAME KEY GAP: three chords of two notes from FRAME on, so many frames apart
chords() {
  awk -v start="$1" -v key="$2" -v gap="$3" 'BEGIN {
    for (i = 0; i < 3; ++i) {
      on = start + i * gap
      printf "%d 90%02x40\n%d 90%02x50\n", on, key + i, on, key + 12 + i
      printf "%d 80%02x40\n%d 80%02x40\n", on + gap - 100, key + i, on + gap - 100, key + 12 + i
    }
  }'
}

# The passes begin and end at different places: a branch forked from another pass
# at its own first note would have notes of both. No note lies at the loop's edges:
# where the output has latency, Ardour tells of its jump back up to a block too late.
chords 0 36 12000 >"$scratch/before.list"
{
  chords 4000 40 20000
  chords $((1 * loop)) 44 22000
  chords $((2 * loop + 9001)) 48 17001
  chords $((3 * loop + 20003)) 52 12345
} >"$scratch/passes.list"

# ---- Play --------------------------------------------------------------------------

start_jack 1024
make_session "track A1" "range loop $loop_start $((loop_start + loop))"
start_ardour
tell_ardour locate 0
tell_ardour roll
play before "ardour:A1/midi_in 1" "$scratch/before.list"
sleep 0.3
tell_ardour stop
tell_ardour loop
play played "ardour:A1/midi_in 1" "$scratch/passes.list"
sleep 0.3
tell_ardour stop
quit_ardour

# ---- Judge ---------------------------------------------------------------------------

# What the passes were played as, a list each: they lie a loop apart, from the first on.
split_passes() {
  local pass start
  start=$(($(first_frame "$scratch/played.ev") - 4000))
  for pass in "${passes[@]}"; do
    between $((start + (pass - 1) * loop)) $((start + pass * loop)) $((-(pass - 1) * loop)) \
      <"$scratch/played.ev" >"$scratch/played-$pass"
  done
}

# What each branch has before the loop, and after that; branches are numbered as they are made.
split_branches() {
  local pass number
  for pass in "${passes[@]}"; do
    number=$(hr list | awk -v nth="$pass" 'NR == 1 + nth { print $1 }')
    branch_list "#$number" >"$scratch/branch-$pass"
    between 0 "$loop_start" <"$scratch/branch-$pass" >"$scratch/before-$pass"
    sed "1,$(wc -l <"$scratch/before-$pass")d" "$scratch/branch-$pass" >"$scratch/after-$pass"
  done
}

# How far each pass lies in the record from where it was played, moved back by whole
# loops: one distance for all, and all of it within the loop
in_place() {
  local pass
  for pass in "${passes[@]}"; do
    echo $(($(first_frame "$scratch/after-$pass") - $(first_frame "$scratch/played-$pass")))
  done | sort -u | awk 'END { exit NR != 1 }' &&
    sort -n "$scratch"/after-* | awk -v end=$((loop_start + loop)) 'END { exit $1 >= end }'
}

forks() { sed -n 's/^[├└]─ \(.*[^ ]\) *#[0-9]* *\(.* at [0-9.]*\) .*/\1, from \2/p' "$scratch/tree"; }

forks_as_named() {
  diff <(forks) <(printf 'main pass %d, from main at 3.1\n' 2 3 4)
}

hr tree | tee "$scratch/tree"
split_passes
split_branches
check "four passes of a loop are four branches" [ "$(grep -c ' #[0-9]' "$scratch/tree")" -eq 4 ]
check "the passes are branches of the first, from the loop's start, named by their number" forks_as_named
for pass in "${passes[@]}"; do
  check "pass $pass: its branch has what was played before the loop" \
    compare "$scratch/before-$pass" "$scratch/before.ev"
  check "pass $pass: its branch has its own notes, to the frame, and no others" \
    compare "$scratch/after-$pass" "$scratch/played-$pass"
done
check "each pass is at its place in the loop" in_place
check "the store is sound" hr verify
exit "$failed"
