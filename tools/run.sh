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

has_own_server() { # jackd says why it died before anybody waits for it in vain
  local tries
  for ((tries = 0; tries < 200; ++tries)); do
    kill -0 "$jackd_pid" 2>/dev/null || return
    ! jack_lsp >/dev/null 2>&1 || return 0
    sleep 0.1
  done
  return 1
}

with= # "pw-jack " where JACK is PipeWire's
silent=
if JACK_NO_START_SERVER=1 jack_lsp >/dev/null 2>&1; then
  echo "Using the JACK server that runs."
elif command -v pw-jack >/dev/null && pw-jack jack_lsp >/dev/null 2>&1; then
  echo "Using PipeWire."
  with='pw-jack '
else
  if [ -S "${XDG_RUNTIME_DIR:-}/pipewire-0" ] && ! command -v pw-jack >/dev/null; then
    echo "PipeWire runs, but not for JACK programs: to play with sound, end this, install the package"
    echo "pipewire-jack, and start again. Until then: a JACK server without a sound card."
  else
    echo "No JACK or PipeWire server runs: starting a JACK server without a sound card."
  fi
  silent=yes
  export JACK_DEFAULT_SERVER=halfremembered$$ JACK_NO_START_SERVER=1
  jackd --name "$JACK_DEFAULT_SERVER" --no-realtime -S -d dummy --rate 48000 --period 256 \
    >"$folder/jackd.log" 2>&1 &
  jackd_pid=$!
  has_own_server || {
    echo "The JACK server did not start:" >&2
    cat "$folder/jackd.log" >&2
    exit 1
  }
fi

# ---- The plugin -------------------------------------------------------------------

# shellcheck disable=SC2086 # a word, or none
${with}jalv -i -n halfremembered "$uri" >"$folder/jalv.log" 2>&1 &
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

# What the plugin has to complain of, if there is something.
trouble() {
  local answer
  answer=$("$build/halfremembered" osc "$url" /hr/1/get trouble 2>&1) || echo "$answer"
  sed -n 's/^.* row "trouble" "\(.*\)"$/\1/p' <<<"$answer"
}

why_not=$(trouble)
if [ -n "$why_not" ]; then
  echo "HalfRemembered runs, but cannot keep what you play: $why_not" >&2
  exit 1
fi

# Where another host runs, it has to be said which one is meant.
tool=$(printf %q "$build/halfremembered")
ask="$tool osc"
"$build/halfremembered" osc /hr/ping >/dev/null 2>&1 || ask="$ask $url"

# ---- What to do with it ---------------------------------------------------------

echo
echo "HalfRemembered runs. Everything you play is kept, in the tree \"$HR_TREE\"."
echo
if [ -n "$silent" ]; then
  cat <<END
  Play:    there is no sound and no keyboard here: play by OSC, as below. To connect
           other JACK programs: export JACK_DEFAULT_SERVER=$JACK_DEFAULT_SERVER
           (then jack_lsp lists the ports, jack_connect connects two)
END
else
  cat <<END
  Play:    connect your keyboard to the JACK port halfremembered:in
           and halfremembered:out to an instrument
           (${with}jack_lsp lists the ports, ${with}jack_connect connects two)
END
fi
cat <<END
  A note:  $ask /hr/1/send 144 60 100
  its end: $ask /hr/1/send 128 60 0

  Fork:    $ask /hr/1/fork "take two"
  Go back: $ask /hr/1/switch main
  Hear it: $ask /hr/1/replay/at 1
  Look:    $tool tree --tree "$HR_TREE"

Ctrl-C ends it.
END
wait "$jalv_pid"
