#!/bin/bash
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# jalv.sh BUILD
# The plugin in jalv, on a JACK server without a sound card: with the transport
# and without, at other block lengths, two hosts on one store, and a second host
# on a tree that is in use.

set -u
. tests/host/lib.sh

list minuet 4 >"$scratch/minuet.list"
list prelude 6 >"$scratch/prelude.list"

transport() { # COMMAND...: one jack_transport command a word group
  printf '%s\n' "$@" quit | jack_transport >>"$scratch/transport.log" 2>&1
}

# hear NAME HOST COMMAND...: record what HOST puts out while COMMAND runs
hear() {
  local name=$1 host=$2
  shift 2
  record "$name" "$host:out"
  "$@"
  finish "$name"
}

halt_all() { # HOST...
  local host
  for host in "$@"; do
    check "$host ends in good order" finish "$host"
  done
  stop_jack
}

# ---- With the transport, recorded at 256 frames a block ---------------------------

roll_and_play() {
  transport 'locate 0' play
  play played song:in "$scratch/minuet.list"
  sleep 0.5
  transport stop 'locate 0'
}

roll() {
  transport 'locate 0' play
  sleep_through "$scratch/minuet.list"
  transport stop 'locate 0'
}

export HR_TREE=song
start_jack 256
start_jalv song
hear thru song roll_and_play
check "what is played comes through on its frame" compare "$scratch/thru.ev" "$scratch/played.ev"
halt_all song

# ---- Another day, at this and at other block lengths ---------------------------------

for period in 256 64 1024; do
  start_jack "$period"
  start_jalv song -c replay=1
  sleep 0.3
  hear "at$period" song roll
  check "it is replayed at $period frames a block, on its frame" \
    compare "$scratch/at$period.ev" "$scratch/played.ev"
  halt_all song
done

# ---- Without the transport: two hosts, one store, a tree each -----------------------

start_jack 128
HR_TREE=left start_jalv left
HR_TREE=right start_jalv right
start_playing left-played left:in "$scratch/minuet.list"
play right-played right:in "$scratch/prelude.list"
finished left-played
replay_jam() {
  osc "$(url "$1")" quantum i 0 # Not at the next bar, but now
  osc "$(url "$1")" replay/at s 0t
  sleep_through "$scratch/$1-played.ev"
}
for host in left right; do
  hear "$host-heard" "$host" replay_jam "$host"
  check "two hosts, one store: the $host one replays its own music, on its frame" \
    compare "$scratch/$host-heard.ev" "$scratch/$host-played.ev"
done

# ---- A second host on the same tree goes to a fork of its own -------------------------

HR_TREE=left start_jalv guest
play guest-played guest:in "$scratch/prelude.list"
hear left-heard left replay_jam left
check "a guest on the tree does not change the first host's branch" \
  compare "$scratch/left-heard.ev" "$scratch/left-played.ev"
halt_all left right guest

"$bin/halfremembered" tree --tree left | tee "$scratch/left.tree"
check "the guest played on a branch of its own" \
  test "$(grep -c ' #[0-9]' "$scratch/left.tree")" -eq 2
check "the store is sound" "$bin/halfremembered" verify
exit "$failed"
