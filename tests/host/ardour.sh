#!/bin/bash
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# ardour.sh BUILD
# The plugin on two MIDI tracks in Ardour, without a display: MIDI goes in while
# the transport rolls; one track is forked over OSC; the session is saved, loaded
# again, and each track replays what was played into it, on the branch it had.

set -u
. tests/host/ardour_lib.sh

list prelude 5 >"$scratch/A1.list"
list minuet 4 >"$scratch/A2.list"
start_jack 1024
make_session "track A1" "track A2"

record_tracks() { # PREFIX
  record "$1-A1" "ardour:A1/midi_out 1"
  record "$1-A2" "ardour:A2/midi_out 1"
}

finish_tracks() {
  finish "$1-A1"
  finish "$1-A2"
}

# subscribe: hear what the plugins tell a controller
subscribe() {
  local port=$((20000 + $$ % 10000))
  spawn oscdump stdbuf -oL oscdump "$port"
  sleep 0.3
  oscsend "$(url ardour)" /hr/subscribe i "$port"
  sleep 1
  finish oscdump TERM
}

# told ITEM: what each has told of it last, as text: while a session is loading, it is told
# more than once
told() {
  sed -n "s:^[^/]*\\(/hr/[0-9]*/state/$1 .*\\):\\1:p" "$scratch/oscdump.log" |
    awk '{last[$1] = $0} END {for (address in last) print last[address]}' | sort
}

# ---- Play ------------------------------------------------------------------------

start_ardour
record_tracks thru
tell_ardour locate 0
tell_ardour roll
start_playing played-A1 "ardour:A1/midi_in 1" "$scratch/A1.list"
start_playing played-A2 "ardour:A2/midi_in 1" "$scratch/A2.list"
sleep 2
oscsend "$(url ardour)" /hr/2/fork s "second thoughts"
finished played-A1
finished played-A2
sleep 0.5
tell_ardour stop
tell_ardour locate 0
finish_tracks thru
for track in A1 A2; do
  check "$track: what is played comes through on its frame" \
    compare -x "$scratch/thru-$track.ev" "$scratch/played-$track.ev"
done

# ---- Save, load ------------------------------------------------------------------

subscribe
told tree >"$scratch/trees"
told current >"$scratch/branches"
cat "$scratch/trees" "$scratch/branches"
check "each track has its own tree" [ "$(cut -d' ' -f2- "$scratch/trees" | sort -u | wc -l)" -eq 2 ]
check "the second track is on its fork" grep -q '/hr/2/.*second thoughts' "$scratch/branches"
tell_ardour save
quit_ardour

start_ardour
sleep 1
subscribe
told tree >"$scratch/trees-again"
told current >"$scratch/branches-again"
check "after loading, each track is on its tree" diff "$scratch/trees" "$scratch/trees-again"
check "after loading, each track is on its branch" diff "$scratch/branches" "$scratch/branches-again"

# ---- Replay --------------------------------------------------------------------------

tell_ardour set A1 Replay 1
tell_ardour set A2 Replay 1
tell_ardour locate 0
record_tracks again
tell_ardour roll
sleep_through "$scratch/A1.list"
sleep 1
tell_ardour stop
finish_tracks again
for track in A1 A2; do
  check "$track: what was recorded is replayed on its frame" \
    compare -x "$scratch/again-$track.ev" "$scratch/played-$track.ev"
done
quit_ardour
check "the store is sound" "$bin/halfremembered" verify
exit "$failed"
