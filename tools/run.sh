#!/bin/bash
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# run.sh BUILD
# Start the plugin in jalv for a person to play: on the JACK or PipeWire server
# that runs, else on a JACK server of its own without a sound card.

set -eu

build=$(realpath "${1:?usage: run.sh BUILD}")
uri=urn:halfremembered:recorder
export HR_TREE=${HR_TREE:-jam}

folder=$(mktemp -d)
mkdir "$folder/lv2"
ln -s "$build/halfremembered.lv2" "$folder/lv2"
export LV2_PATH=$folder/lv2:${LV2_PATH:-/usr/lib/lv2}
jackd_pid=
jalv_pid=

clean_up() {
  [ -z "$jalv_pid" ] || kill -INT "$jalv_pid" 2>/dev/null || true
  [ -z "$jalv_pid" ] || wait "$jalv_pid" 2>/dev/null || true
  [ -z "$jackd_pid" ] || kill "$jackd_pid" 2>/dev/null || true
  [ -z "$jackd_pid" ] || wait "$jackd_pid" 2>/dev/null || true
  rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 0' HUP INT TERM

# ---- A server ------------------------------------------------------------------

with= # pw-jack where JACK is PipeWire's
if JACK_NO_START_SERVER=1 jack_lsp >/dev/null 2>&1; then
  echo "Using the JACK server that runs."
elif command -v pw-jack >/dev/null && pw-jack jack_lsp >/dev/null 2>&1; then
  echo "Using PipeWire."
  with=pw-jack
else
  echo "No JACK or PipeWire server runs: starting a JACK server without a sound card."
  export JACK_DEFAULT_SERVER=halfremembered$$ JACK_NO_START_SERVER=1
  jackd --name "$JACK_DEFAULT_SERVER" --no-realtime -S -d dummy --rate 48000 --period 256 \
    >"$folder/jackd.log" 2>&1 &
  jackd_pid=$!
  jack_wait --wait --timeout 20 >/dev/null 2>&1
  echo "To connect to it: export JACK_DEFAULT_SERVER=$JACK_DEFAULT_SERVER"
fi

# ---- The plugin -------------------------------------------------------------------

$with jalv -i -n halfremembered "$uri" >"$folder/jalv.log" 2>&1 &
jalv_pid=$!

if [ -n "${XDG_RUNTIME_DIR:-}" ]; then
  runtime=$XDG_RUNTIME_DIR/halfremembered
else
  runtime=/tmp/halfremembered-$(id -u)
fi
url_file=$runtime/osc-$jalv_pid.url
for ((i = 0; i < 100; ++i)); do
  [ ! -s "$url_file" ] || break
  kill -0 "$jalv_pid" 2>/dev/null || break
  sleep 0.1
done
if [ ! -s "$url_file" ]; then
  echo "The plugin did not start:" >&2
  cat "$folder/jalv.log" >&2
  exit 1
fi
url=$(cat "$url_file")

cat <<END

HalfRemembered runs. Everything you play is kept, in the tree "$HR_TREE".

  Play:    connect your keyboard to the JACK port halfremembered:in
           and halfremembered:out to an instrument
           (jack_lsp lists the ports, jack_connect connects two)
  OSC:     $url

  Fork:    oscsend $url /hr/1/fork s "take two"
  Go back: oscsend $url /hr/1/switch s main
  Hear it: oscsend $url /hr/1/replay/at s 1
  Look:    $build/halfremembered tree --tree "$HR_TREE"

Ctrl-C ends it.
END
wait "$jalv_pid"
