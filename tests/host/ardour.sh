#!/bin/bash
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# ardour.sh BUILD
# The plugin on two MIDI tracks in Ardour, without a display: MIDI goes in while
# the transport rolls; one track is forked over OSC; the session is saved, loaded
# again, and each track replays what was played into it, on the branch it had.

set -u
. tests/host/lib.sh

list prelude 5 >"$scratch/A1.list"
list minuet 4 >"$scratch/A2.list"
mkfifo "$scratch/commands"
start_jack 1024

# Ardour and this JACK server lose each other at about one start in six: try again.
start_ardour() {
  local try
  for try in 1 2 3 4 5 6; do
    stdbuf -oL ardour7-lua tests/host/ardour.lua "$scratch/session" "$uri" 2 \
      <"$scratch/commands" >"$scratch/ardour.log" 2>&1 &
    pids[ardour]=$!
    exec 7>"$scratch/commands"
    wait_for 60 grep -q 'ready\|FAILED\|HALTED' "$scratch/ardour.log"
    sleep 0.5
    if running ardour && ! grep -q 'FAILED\|HALTED' "$scratch/ardour.log"; then
      return
    fi
    echo "Ardour did not start (try $try)"
    tail -n 3 "$scratch/ardour.log"
    finish ardour
    [ -e "$scratch/session/plugins" ] || rm -rf "$scratch/session"
  done
  die "Ardour starts"
}

answers() { grep -c '^done' "$scratch/ardour.log"; }

command() { # WORD...: have Ardour do it
  local before
  before=$(answers)
  echo "$*" >&7
  answered() { [ "$(answers)" -gt "$before" ]; }
  wait_for 20 answered || die "Ardour obeys: $*"
}

quit_ardour() {
  echo quit >&7
  wait_for 30 grep -q closed "$scratch/ardour.log" || die "Ardour closes the session"
  finished ardour
}

record_tracks() { # PREFIX
  record "$1-A1" "ardour:A1/midi_out 1"
  record "$1-A2" "ardour:A2/midi_out 1"
}

finish_tracks() {
  finish "$1-A1"
  finish "$1-A2"
}

# told: what the plugins tell a controller that subscribes, as text
told() {
  local port=$((20000 + $$ % 10000))
  spawn oscdump stdbuf -oL oscdump "$port"
  sleep 0.3
  oscsend "$(url ardour)" /hr/subscribe i "$port"
  sleep 1
  finish oscdump TERM
  sed -n "s:^[^/]*\(/hr/[0-9]*/state/$1 .*\):\1:p" "$scratch/oscdump.log" | sort
}

# ---- Play ------------------------------------------------------------------------

start_ardour
record_tracks thru
command locate 0
command roll
start_playing played-A1 "ardour:A1/midi_in 1" "$scratch/A1.list"
start_playing played-A2 "ardour:A2/midi_in 1" "$scratch/A2.list"
sleep 2
oscsend "$(url ardour)" /hr/2/fork s "second thoughts"
finished played-A1
finished played-A2
sleep 0.5
command stop
command locate 0
finish_tracks thru
for track in A1 A2; do
  check "$track: what is played comes through on its frame" \
    compare -x "$scratch/thru-$track.ev" "$scratch/played-$track.ev"
done

# ---- Save, load ------------------------------------------------------------------

told tree >"$scratch/trees"
told current >"$scratch/branches"
cat "$scratch/trees" "$scratch/branches"
check "each track has its own tree" [ "$(cut -d' ' -f2- "$scratch/trees" | sort -u | wc -l)" -eq 2 ]
check "the second track is on its fork" grep -q '/hr/2/.*second thoughts' "$scratch/branches"
command save
quit_ardour

start_ardour
sleep 1
told tree >"$scratch/trees-again"
told current >"$scratch/branches-again"
check "after loading, each track is on its tree" diff "$scratch/trees" "$scratch/trees-again"
check "after loading, each track is on its branch" diff "$scratch/branches" "$scratch/branches-again"

# ---- Replay --------------------------------------------------------------------------

command set A1 Replay 1
command set A2 Replay 1
command locate 0
record_tracks again
command roll
sleep_through "$scratch/A1.list"
sleep 1
command stop
finish_tracks again
for track in A1 A2; do
  check "$track: what was recorded is replayed on its frame" \
    compare -x "$scratch/again-$track.ev" "$scratch/played-$track.ev"
done
quit_ardour
check "the store is sound" "$bin/halfremembered" verify
exit "$failed"
