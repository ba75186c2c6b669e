#!/bin/bash
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# fuzz.sh BUILD [SECONDS [TARGET...]]
# Run each fuzzer (all: store node midi osc) over its corpus in tests/fuzz/corpus/, then, if
# SECONDS are given, on with new inputs for so long. New findings go to BUILD/fuzz/, so that
# they can be looked at and, when they show something, be kept. What grows with the inputs
# meets a limit of memory; so that this can be low, the sanitizer keeps few freed blocks.

set -u
. tests/check.sh

export ASAN_OPTIONS=quarantine_size_mb=16

fuzz() { # TARGET BUILD SECONDS
  local work=$2/fuzz/$1 corpus=tests/fuzz/corpus/$1
  mkdir -p "$work"
  if [ "$3" = 0 ]; then
    "$2/tests/fuzz/fuzz_$1" -runs=0 "$corpus" 2>"$work.log"
  else
    "$2/tests/fuzz/fuzz_$1" -max_total_time="$3" -max_len=131072 -timeout=10 \
      -rss_limit_mb=512 -artifact_prefix="$work/" "$work" "$corpus" 2>"$work.log"
  fi || {
    tail -40 "$work.log"
    return 1
  }
  grep '^Done\|INITED\|DONE' "$work.log" | tail -1
}

build=$1
seconds=${2:-0}
shift $(($# < 2 ? $# : 2))
[ $# -gt 0 ] || set -- store node midi osc

for target in "$@"; do
  check "fuzzing of $target finds nothing" fuzz "$target" "$build" "$seconds"
done
exit "$failed"
