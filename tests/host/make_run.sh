#!/bin/bash
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# make_run.sh BUILD
# What `make run` says: that it runs, if it does, and why not, if it does not.

set -u
. tests/host/lib.sh

said=$scratch/run.log

# start COMMAND...: until it has said what to do, or ended
start() {
  rm -f "$said"
  spawn run "$@"
  wait_for 30 told || die "it says something"
}
told() { grep -qs "^Ctrl-C ends it" "$said" || gone "${pids[run]}"; }
says() { grep -qF -- "$1" "$said"; }
ends_badly() { ! finish run TERM; }

# ---- Well, without a sound card ------------------------------------------------

start env -u JACK_DEFAULT_SERVER tools/run.sh "$bin"
check "it runs" says 'HalfRemembered runs. Everything you play is kept'
check "without sound or keyboard, as it says" says 'there is no sound and no keyboard here'
check "what to connect to is told beside how" says 'export JACK_DEFAULT_SERVER=halfremembered'
has_no_tree() { "$bin/halfremembered" --tree jam list 2>&1 | grep -q 'holds no tree yet'; }
check "before a note there is no tree, which the tool says" has_no_tree
obey() { sed -n "s/^ *$1: *//p" "$said" | grep . >"$scratch/line" && sh "$scratch/line"; }
check "a note is played as it says" obey 'A note'
check "and ended" obey 'its end'
kept() { "$bin/halfremembered" --tree jam list 2>/dev/null | grep -q '  main .* [1-9][0-9]*  active '; }
check "and kept" wait_for 10 kept
check "it ends when told to" finish run TERM

# ---- Where nothing can be kept ---------------------------------------------------

: >"$scratch/file"
start env -u JACK_DEFAULT_SERVER HR_STORE="$scratch/file/x.hr" tools/run.sh "$bin"
check "nothing can be kept: it does not say that all is" eval "! says 'Everything you play is kept'"
check "it says why" says "Cannot open $scratch/file/x.hr: Not a directory"
check "and ends badly" ends_badly

# ---- With servers that are not as they should be -------------------------------------

mkdir "$scratch/bin"
printf '#!/bin/sh\necho "no place for it"\nexit 1\n' >"$scratch/bin/jackd"
chmod +x "$scratch/bin/jackd"
start env -u JACK_DEFAULT_SERVER PATH="$scratch/bin:$PATH" tools/run.sh "$bin"
check "no JACK server: it says so" says 'The JACK server did not start'
check "and what that said" says 'no place for it'
check "and ends badly, too" ends_badly

if command -v pw-jack >/dev/null; then
  echo "PipeWire's JACK is here: what is said without it is not tested"
else
  /usr/bin/python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$XDG_RUNTIME_DIR/pipewire-0"
  start env -u JACK_DEFAULT_SERVER tools/run.sh "$bin"
  check "PipeWire without its JACK: what to install" says 'pipewire-jack'
  check "and that there is no sound until then" says 'there is no sound and no keyboard here'
  finish run TERM
fi
exit "$failed"
