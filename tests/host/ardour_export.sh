#!/bin/bash
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# ardour_export.sh BUILD
# A branch is replayed in Ardour in real time, from its middle; then Ardour exports
# the same range, freewheeling. Behind the plugin MIDI becomes audio, one sample a
# message (midi_to_audio.lua), so that the exported file tells what MIDI there was
# on each of its frames.

set -u
. tests/host/ardour_lib.sh

export HR_TREE=song
start=$((bar + 1000))
length=$((2 * bar))

list prelude 2 >"$scratch/music.list"
between "$start" $((start + length)) -"$start" <"$scratch/music.list" >"$scratch/range"
import_list "$scratch/music.list" prelude
hr switch prelude
start_jack 1024
make_session "track A1" "audible A1" "set A1 Replay 1" "range session $start $((start + length))"

# ---- In real time ------------------------------------------------------------------

start_ardour
tell_ardour locate "$start"
record heard "ardour:A1/midi_out 1"
tell_ardour roll
sleep_through "$scratch/range"
tell_ardour stop
finish heard
quit_ardour

# What was heard from the range's first event on, at its place. Before it comes what
# brings the synthesizer into its state.
heard_in_range() {
  awk -v end="$length" '
    NR == FNR { if (FNR == 1) { place = $1; event = $2 } next }
    !found && $2 == event { found = 1; shift = place - $1 }
    found && $1 + shift < end { print $1 + shift, $2 }' "$scratch/range" "$scratch/heard.ev"
}

heard_in_range >"$scratch/heard"
check "in real time, the range is heard as it is on the branch, on its frames" \
  diff "$scratch/heard" "$scratch/range"

# ---- Exported ----------------------------------------------------------------------

# One event on a frame, as in the audio
spread() { awk '{ last = NR == 1 || $1 > last ? $1 : last + 1; print last, $2 }'; }

began=$SECONDS
spawn export ardour7-export --bitdepth float --output "$scratch/export.wav" "$session" s
finished export || die "Ardour exports the session"
echo "exported $((length / rate)) s within $((SECONDS - began + 1)) s"
"$tools/wav_events" "$scratch/export.wav" >"$scratch/exported" || die "the exported audio is MIDI"
spread <"$scratch/heard" >"$scratch/heard-spread"
check "exported freewheeling, it is what was heard in real time, on its frames" \
  diff "$scratch/exported" "$scratch/heard-spread"
check "the store is sound" hr verify
exit "$failed"
