# shellcheck shell=bash
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# Source me in place of lib.sh. Ardour without a display: a session is made with
# Ardour's own dummy backend, then played in as a client of our JACK server.
# Music is at Ardour's 120 BPM and 4/4, where a bar is $bar frames.

. tests/host/lib.sh

# shellcheck disable=SC2034 # for whoever sources this
bar=$((2 * rate))
session=$scratch/session
scripts=$XDG_CONFIG_HOME/ardour7/scripts
mkdir -p "$scripts"
cp tests/host/midi_to_audio.lua "$scripts"
mkfifo "$scratch/commands"

run_ardour() { # BACKEND
  exec stdbuf -oL ardour7-lua tests/host/ardour.lua "$1" "$session" "$uri"
}

# make_session COMMAND...: a new one; the commands are those of ardour.lua
make_session() {
  printf '%s\n' "$@" save quit | run_ardour "None (Dummy)" >"$scratch/make.log" 2>&1 &
  pids[make]=$!
  { finished make && grep -q closed "$scratch/make.log"; } || die "Ardour makes a session"
}

# Ardour and this JACK server lose each other at about one start in four: try again.
start_ardour() {
  local try
  for try in 1 2 3 4 5 6; do
    run_ardour JACK <"$scratch/commands" >"$scratch/ardour.log" 2>&1 &
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
  done
  die "Ardour starts"
}

answers() { grep -c '^done' "$scratch/ardour.log"; }

tell_ardour() { # WORD...: a command of ardour.lua, obeyed when this returns
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

# ---- The store, and event lists ---------------------------------------------------

hr() { "$bin/halfremembered" "$@"; }

# branch_list BRANCH: of the tree $HR_TREE, from its root, as an event list; in the
# file, ticks are a little finer than frames
branch_list() {
  hr --force --ppq 30240 export "$1" "$scratch/branch.mid" >>"$scratch/export.log" 2>&1 &&
    "$tools/midi_events" list "$scratch/branch.mid" "$rate"
}

# import_list LIST NAME: into a new branch of the tree $HR_TREE
import_list() {
  "$tools/midi_events" save "$1" "$rate" "$scratch/import.mid" || die "$1 is saved as a MIDI file"
  hr import "$scratch/import.mid" "$2" || die "$2 is imported"
}

# between FIRST END [SHIFT]: the events of a list from frame FIRST to before END, then moved by SHIFT
between() { awk -v first="$1" -v end="$2" -v shift="${3:-0}" '$1 >= first && $1 < end { print $1 + shift, $2 }'; }

first_frame() { awk '{ print $1; exit }' "$1"; }
