#!/bin/bash
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# ardour_automation.sh BUILD
# An automation lane in Ardour switches branches: its points lie in mid-bar, the
# switches are heard, and kept in the log, at the bar lines that follow.

set -u
. tests/host/ardour_lib.sh

export HR_TREE=song
end=$((4 * bar + rate))

# tune KEY OFFSET: quarter notes that sound over every bar line, and a long one below
# that all tunes share
tune() {
  awk -v key="$1" -v start="$2" -v beat="$((bar / 4))" -v end="$((6 * bar))" 'BEGIN {
    printf "%d 903030\n", start - 1000
    for (on = start; on < end; on += beat) {
      printf "%d 90%02x40\n%d 80%02x40\n", on, key, on + beat - 500, key
      ++key
    }
    printf "%d 803040\n", end + beat
  }'
}

tune 60 7000 >"$scratch/first"
tune 80 13000 >"$scratch/second"
import_list "$scratch/first" first # Slot 2: slot 1 is the root
import_list "$scratch/second" second
hr switch first
start_jack 1024
make_session "track A1" "set A1 Replay 1" "automate A1 Branch 0 0" \
  "automate A1 Branch $((bar / 2 + 1234)) 3" "automate A1 Branch $((2 * bar + bar / 4)) 2"

# ---- Listen --------------------------------------------------------------------------

start_ardour
tell_ardour locate 0
record heard "ardour:A1/midi_out 1"
tell_ardour roll
between 0 "$end" <"$scratch/first" >"$scratch/time"
sleep_through "$scratch/time"
tell_ardour stop
finish heard
quit_ardour

# ---- Judge ---------------------------------------------------------------------------

# sounding PLACE LIST: the notes that sound there, as if they began there
sounding() {
  awk -v place="$1" '
    $1 >= place { exit }
    { key = substr($2, 3, 2) }
    $2 ~ /^90/ { on[key] = $2 }
    $2 ~ /^80/ { delete on[key] }
    END { for (key in on) print place, on[key] }' "$2"
}

# part FROM TO LIST: what is heard of a branch that is switched to at FROM, and left at TO
part() {
  sounding "$1" "$3"
  between "$1" "$2" <"$3"
  sounding "$2" "$3" | sed 's/ 90\(..\).*/ 80\140/'
}

by_frame() { sort -k 1,1n -k 2,2; }

{
  part 0 "$bar" "$scratch/first"
  part "$bar" $((3 * bar)) "$scratch/second"
  part $((3 * bar)) "$end" "$scratch/first"
} | between 0 "$end" | by_frame >"$scratch/expected"

# From the first note on, at its place: the transport may start anywhere in a block.
heard_notes() {
  awk -v place="$(first_frame "$scratch/expected")" '
    $2 !~ /^[89]/ { next }
    !found { found = 1; shift = place - $1 }
    { print $1 + shift, $2 }' "$scratch/heard.ev"
}

# No note begins twice or ends twice, and all have ended at last.
well_ended() {
  awk '{ key = substr($2, 3, 2) }
    $2 ~ /^9/ { bad += key in on; on[key] }
    $2 ~ /^8/ { bad += !(key in on); delete on[key] }
    END { for (key in on) ++bad; exit bad > 0 }' "$1"
}

switches() { hr log | sed -n '/  tool  /d; s/.*switched to "\(.*\)" (#[0-9]*) from "\(.*\)" at \(.*\)/\2 to \1 at \3/p'; }

heard_notes >"$scratch/notes"
between 0 "$end" <"$scratch/notes" | by_frame >"$scratch/heard"
check "a point of the lane switches branches at the bar line after it, both times" \
  diff "$scratch/heard" "$scratch/expected"
check "no note hangs" well_ended "$scratch/notes"
check "the log tells the bars" \
  diff <(switches) <(printf '%s\n' "first to second at 2.1" "second to first at 4.1")
check "the store is sound" hr verify
exit "$failed"
