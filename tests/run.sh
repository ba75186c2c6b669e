#!/bin/bash
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# run.sh BUILD [SUITE...]
# Run the tests of the suites (all: lint bundle paper unit asan tsan fuzz hosts), each with
# a time limit, and count. A cmocka program counts with each of its tests, a
# script with each line "ok ..." or "not ok ...", or as one by its exit status.
# A test's output is shown only if it fails. "N passed, M failed" comes last.

set -u

build=$1
shift
[ $# -gt 0 ] || set -- lint bundle paper unit asan tsan fuzz hosts

export TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp ${TSAN_OPTIONS:-}"
log=$(mktemp)
trap 'rm -f "$log" "$log.lane" "$log.waiting"' EXIT
passed=0
failed=0

count() { grep -c "$1" "$log"; }

skipped() { grep '^\[  SKIPPED \] [^0-9]' "$log" | sort -u; }

# run NAME SECONDS COMMAND...: one program or script, and its tests.
run() {
  local name=$1 limit=$2 status=0 good bad begun began=$SECONDS note=
  shift 2
  { timeout --kill-after=10 "$limit" "$@" >"$log" 2>&1 </dev/null; } 2>/dev/null || status=$?
  good=$(($(count '^ok ') + $(count '^\[       OK \]')))
  begun=$(count '^\[ RUN      \]') # A script begins none, and may skip some
  [ "$begun" -eq 0 ] || begun=$((begun - $(count '^\[       OK \]') - $(skipped | wc -l)))
  bad=$(($(count '^not ok ') + begun))
  if [ "$status" -eq 0 ] && [ "$((good + bad))" -eq 0 ] && [ -z "$(skipped)" ]; then
    good=1
  elif [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
    bad=1
  fi
  passed=$((passed + good))
  failed=$((failed + bad))
  [ "$status" -ne 124 ] || note=", ended after $limit s"
  printf '%-28s %4d passed, %d failed (%d s%s)\n' \
    "$name" "$good" "$bad" $((SECONDS - began)) "$note"
  skipped
  if [ "$bad" -ne 0 ]; then
    sed 's/^/  | /' "$log"
  fi
}

waits() { # Mostly for what comes over a network
  case $1 in
  */test_osc* | */test_zeroconf) true ;;
  *) false ;;
  esac
}

lane() { # LOG LABEL TEST...
  local log=$1 label=$2 test
  shift 2
  for test in "$@"; do
    run "$label$(basename "$test")" 300 "$test"
  done
}

units() { # FOLDER LABEL
  local test good bad before=$((passed + failed)) busy=() waiting=()
  for test in "$1"/tests/test_*; do
    case $test in *.[do]) continue ;; esac
    [ -x "$test" ] || continue
    # One thread each, or processes side by side: nothing that the thread sanitizer could see.
    case "$2${test##*/test_}" in
    'tsan backup' | 'tsan damage'* | 'tsan faults' | 'tsan mem'* | 'tsan osc_clock' | 'tsan osc_network' | \
      'tsan power_loss' | 'tsan salvage' | 'tsan security' | 'tsan smf' | 'tsan store'* | 'tsan two_programs') continue ;;
    esac
    if waits "$test"; then waiting+=("$test"); else busy+=("$test"); fi
  done
  # Those that wait take no time from the others.
  lane "$log.waiting" "$2" "${waiting[@]}" >"$log.lane" &
  lane "$log" "$2" "${busy[@]}"
  wait $!
  cat "$log.lane"
  while read -r good bad; do
    passed=$((passed + good))
    failed=$((failed + bad))
  done < <(sed -n 's/^[^ ].* \([0-9]*\) passed, \([0-9]*\) failed (.*/\1 \2/p' "$log.lane")
  [ $((passed + failed)) -gt "$before" ] || run "${2}unit tests in $1" 1 false
}

for suite in "$@"; do
  case $suite in
  lint) run lint 600 tests/lint.sh "$build" ;;
  bundle) run bundle 60 tests/bundle.sh "$build" ;;
  paper) run paper 120 tests/paper.sh "$build" ;;
  unit)
    units "$build" ''
    for script in tests/test_*.sh; do
      HALFREMEMBERED=$build/halfremembered run "$(basename "$script" .sh)" 300 "$script"
    done
    ;;
  fuzz)
    run fuzz 300 tests/fuzz/fuzz.sh "$build/fuzzers"
    run 'fuzz osc' 120 tests/fuzz/fuzz.sh "$build/fuzzers" 30 osc
    ;;
  asan | tsan) units "$build/$suite" "$suite " ;;
  hosts)
    for script in tests/host/{jalv,osc_clients,make_run,demo,ardour,ardour_loop,ardour_export,ardour_automation}.sh; do
      run "$(basename "$script" .sh)" 300 "$script" "$build"
    done
    ;;
  *)
    echo "run.sh: no suite \"$suite\"" >&2
    exit 2
    ;;
  esac
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
