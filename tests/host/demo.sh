#!/bin/bash
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# demo.sh BUILD [SECONDS]
# The main job on real input, without a sound card or a display: a piece is
# played into the plugin in jalv, forked over OSC while it plays, another piece
# goes on from there, both branches are replayed; the host is killed SECONDS (2)
# into more playing, started again, and every note has to be there, in its frame.

set -u
. tests/host/lib.sh

kill_after=${2:-2}
speed=5 # Five times the written tempo, so that it is over in a minute
export HR_TREE=demo

say() { printf '%2d s  %s\n' "$SECONDS" "$*"; }

start_plugin() {
  start_jalv demo
  url=$(url demo)
  osc "$url" quantum i 0 # Switch at once
}

count() { wc -l <"$1"; }

halfremembered() { "$bin/halfremembered" "$@"; }

# stored BRANCH: what the store holds on its path, as an event list. The plugin
# writes once a second or so: wait for what may be under way.
stored() {
  sleep 1.5
  halfremembered export --tree demo --force "$1" "$scratch/export.mid" >/dev/null &&
    "$tools/midi_events" list "$scratch/export.mid" "$rate" >"$scratch/$1.stored"
}

# replay BRANCH WHEN: switch, and record a replay from its start to $scratch/BRANCH-WHEN.ev
replay() {
  osc "$url" switch s "$1"
  sleep 0.2
  record "$1-$2" demo:out
  osc "$url" replay/at s 0t
  sleep_through "$scratch/$1.stored"
  finish "$1-$2"
  osc "$url" stop
}

# table WHEN: of what was played, list by list in $scratch/BRANCH.played*, what is
# in the store, and what was replayed. The store may hold more: where a branch
# ends in mid-note, the note's end is added. Frames in the store are those of a
# MIDI file's pulses, one or two off.
table_good=true
table() {
  local branch stored replayed
  printf '       %-8s %7s %7s %9s %8s %13s\n' branch played stored replayed missing 'timing error'
  for branch in minuet main; do
    stored=$(compare -n -x -t 2 "$scratch/$branch.stored" "$scratch/$branch".played*) || table_good=false
    replayed=$(compare -n -x "$scratch/$branch-$1.ev" "$scratch/$branch".played*) || table_good=false
    # Each says how many were played, how many of them are missing, and the timing error
    echo "$stored $replayed" | awk -v branch="$branch" '{
      printf "       %-8s %7d %7d %9d %8d %6d frames\n", branch, $1, $1 - $2, $4 - $5, $2 + $5, $6
    }'
  done
}

start_jack
say "a JACK server without a sound card runs, $rate Hz; starting the plugin in jalv"
start_plugin
say "it listens for OSC at $url"

# ---- Play, fork, play on, switch back -----------------------------------------

list prelude $speed >"$scratch/prelude.list"
list minuet $speed >"$scratch/minuet.list"

record thru demo:out
say "playing Bach's prelude"
start_playing first demo:in "$scratch/prelude.list"
sleep 1.7
osc "$url" fork s minuet
say "forked over OSC while it plays: what follows goes to the new branch, \"minuet\""
finished first || die "the prelude is played"
say "playing Petzold's minuet on that branch"
play second demo:in "$scratch/minuet.list"
finish thru
cat "$scratch/first.ev" "$scratch/second.ev" >"$scratch/minuet.played"
check "all that was played came through, on its frame" \
  compare "$scratch/thru.ev" "$scratch/minuet.played"

# The two branches are the same up to the fork.
stored minuet
stored main
shared=$(cmp "$scratch/minuet.stored" "$scratch/main.stored" | sed 's/.*line //')
head -n $((shared - 1)) "$scratch/first.ev" >"$scratch/main.played"
say "\"main\" holds the first $(count "$scratch/main.played") of the prelude's $(count "$scratch/first.ev") events"
check "the fork took effect while the prelude was playing" \
  [ "$(count "$scratch/main.played")" -lt "$(count "$scratch/first.ev")" ]

# ---- Replay both ---------------------------------------------------------------

say "replaying \"minuet\", then \"main\", into a recorder"
replay minuet before
replay main before
table before

# ---- Kill, and start again --------------------------------------------------------

say "playing the prelude again, on \"main\""
before=$(count "$scratch/main.stored")
record last demo:out
start_playing third demo:in "$scratch/prelude.list"
sleep "$kill_after"
finish demo KILL
stop_jack KILL
say "the host is killed in mid-play (SIGKILL)"
finish last
finish third

start_jack
start_plugin
say "the host runs again"
stored minuet
stored main

# Whatever was heard has to be there; the block being worked on when the host died may be.
more=$(($(count "$scratch/main.stored") - before))
heard=$(count "$scratch/last.ev")
check "\"main\" holds all that was heard until then, $heard events" [ "$more" -ge "$heard" ]
head -n $((more > heard ? more : heard)) "$scratch/third.ev" >"$scratch/main.played-again"
say "replaying both again"
replay minuet after
replay main after
table after

# ---- The tree ------------------------------------------------------------------------

say "the tree (where a branch stops in mid-note, the note ends are added and counted):"
halfremembered tree --tree demo | sed 's/^/       /'
say "checking the store"
check "the store is sound" halfremembered verify
check "nothing is missing, and every event is on its frame" $table_good
exit "$failed"
