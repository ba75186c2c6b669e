# shellcheck shell=bash
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# Source me; the script's first argument is the build folder. A private place for runs in real hosts: scratch
# folders, a JACK server of our own without a sound card, and processes that are
# ended, each by its own id, when the script ends. Nothing of the user's is touched.

. tests/check.sh

uri=urn:halfremembered:recorder
rate=48000
bin=$(realpath "${1:?usage: ${0##*/} BUILD}")
tools=$bin/tests/host
scratch=$(mktemp -d)
runtime=$(mktemp -d -p /dev/shm) # In memory, as a session's is

export HOME=$scratch/home
export XDG_CONFIG_HOME=$HOME/.config XDG_CACHE_HOME=$HOME/.cache XDG_DATA_HOME=$HOME/.local/share
export XDG_RUNTIME_DIR=$runtime
export LV2_PATH=$scratch/lv2:/usr/lib/lv2
export JACK_DEFAULT_SERVER=hr$$ JACK_NO_START_SERVER=1 JACK_NO_AUDIO_RESERVATION=1
unset HR_STORE HR_TREE
(umask 077 && mkdir -p "$XDG_CONFIG_HOME" "$XDG_CACHE_HOME" "$XDG_DATA_HOME")
mkdir "$scratch/lv2"
ln -s "$bin/halfremembered.lv2" "$scratch/lv2"

# ---- Processes ---------------------------------------------------------------

declare -A pids=()

# spawn NAME COMMAND...: start it in the background; what it says goes to $scratch/NAME.log
spawn() {
  local name=$1
  shift
  "$@" >"$scratch/$name.log" 2>&1 </dev/null &
  pids[$name]=$!
}

running() { kill -0 "${pids[$1]}" 2>/dev/null; }

# finish NAME [SIGNAL]: end it, by force after 10 s; its exit status
finish() {
  local pid=${pids[$1]} signal=${2:-INT} status=0
  kill -"$signal" "$pid" 2>/dev/null
  [ "$signal" = KILL ] || wait_for 10 gone "$pid" || kill -KILL "$pid" 2>/dev/null
  wait "$pid" 2>/dev/null || status=$?
  unset "pids[$1]"
  return "$status"
}

# A process is gone when it is no more, or waits to be reaped.
gone() { ! grep -qs '^State:[[:space:]]*[^Z]' "/proc/$1/status"; }

# wait_for SECONDS COMMAND...: until it succeeds
wait_for() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -le "$end" ] || return 1
    sleep 0.05
  done
}

clean_up() {
  local name
  for name in "${!pids[@]}"; do
    [ "$name" = jackd ] || finish "$name"
  done
  [ -z "${pids[jackd]:-}" ] || stop_jack
  rm -rf "$scratch" "$runtime"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

die() {
  local log
  echo "not ok $*"
  for log in "$scratch"/*.log; do
    echo "--- ${log##*/}"
    tail -n 20 "$log"
  done
  exit 1
}

# ---- JACK --------------------------------------------------------------------

# Synchronous (-S): else a loaded machine loses events, which no plugin can help.
start_jack() { # [PERIOD]
  spawn jackd jackd --name "$JACK_DEFAULT_SERVER" --no-realtime -S --timeout 5000 \
    -d dummy --rate "$rate" --period "${1:-256}"
  jack_wait --wait --timeout 20 >/dev/null 2>&1 || die "the JACK server starts"
}

# stop_jack [SIGNAL]: by KILL if one of its clients was killed, for it would wait
# for that client for a minute; then its own files have to be seen to.
stop_jack() {
  finish jackd "${1:-TERM}"
  rm -f /dev/shm/jack_*"$JACK_DEFAULT_SERVER"_*
}

has_port() { jack_lsp 2>/dev/null | grep -qxF "$1"; }
wait_port() { wait_for 20 has_port "$1" || die "the port $1 appears"; }

# start_jalv NAME [OPTION...]: the plugin in jalv, with ports NAME:in and NAME:out
start_jalv() {
  local name=$1
  shift
  spawn "$name" jalv -i -n "$name" "$@" "$uri"
  wait_port "$name:out"
}

# record NAME PORT: what comes out of PORT, until `finish NAME`, to $scratch/NAME.ev
record() {
  spawn "$1" "$tools/jack_midi" record "$1" "$2" "$scratch/$1.ev"
  wait_for 10 grep -qs ready "$scratch/$1.log" || die "$1 records $2"
}

# play NAME PORT LIST: into PORT; as it was played, in server frames, to $scratch/NAME.ev
play() {
  start_playing "$@"
  finished "$1" || die "$1 plays into $2"
}

start_playing() { # The same, in the background
  spawn "$1" "$tools/jack_midi" play "$1" "$2" "$3" "$scratch/$1.ev"
}

# finished NAME: wait for its own end, at most two minutes; its exit status
finished() {
  local pid=${pids[$1]}
  wait_for 120 gone "$pid" || return
  unset "pids[$1]"
  wait "$pid"
}

# list PIECE [SPEED]: a piece of tests/music as an event list
list() { "$tools/midi_events" list "tests/music/$1.mid" "$rate" "${2:-1}"; }

# sleep_through LIST: as long as it lasts by the server's clock, and a little longer
sleep_through() {
  local frames
  frames=$(awk -v more="$rate" 'NR == 1 { first = $1 } END { print $1 - first + int(more / 2) }' "$1")
  timeout 120 "$tools/jack_midi" wait clock "$frames" >>"$scratch/clock.log" 2>&1
}

compare() { "$tools/midi_events" compare "$@"; }

# ---- OSC ---------------------------------------------------------------------

# url NAME: the OSC address of a host started by `spawn NAME`
url() {
  local file=$XDG_RUNTIME_DIR/halfremembered/osc-${pids[$1]}.url
  wait_for 10 test -s "$file" || die "$1 writes its OSC address"
  cat "$file"
}

# osc URL VERB [TYPES ARGUMENT...]: a command to the first instance
osc() {
  local to=$1 verb=$2
  shift 2
  oscsend "$to" "/hr/1/$verb" "$@"
}
