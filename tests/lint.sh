#!/bin/bash
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# lint.sh BUILD
# Check the sources as they lie: licence headers, formatting, clang-tidy, shell.

set -u
. tests/check.sh

shopt -s nullglob globstar
c_files=({store,plugin,osc,tools,tests,bench}/**/*.[ch] bench/layouts/*.cc)
sources=({store,plugin,osc,tools,tests,bench}/**/*.c)
scripts=({tools,tests,bench,examples}/**/*.sh .ci/run)
others=(Makefile .clang-tidy tests/.clang-tidy ttl/*.ttl {tests,docs}/**/*.{lua,js,py,supp} examples/*.scd man/*.1
  bench/layouts/**/*.{fbs,capnp,rs,toml})

licensed() {
  ! grep -L 'SPDX-License-Identifier: ISC' "${c_files[@]}" "${scripts[@]}" "${others[@]}" | grep .
}

formatted() {
  local file bad=0
  for file in "${c_files[@]}"; do
    clang-format --dry-run -Werror "$file" 2>/dev/null || {
      echo "$file"
      bad=1
    }
  done
  return "$bad"
}

tidy() {
  flags=$(pkg-config --cflags lv2 lmdb libxxhash liblo avahi-client smf cmocka lilv-0 jack zlib libxml-2.0 json-c lua5.1)
  flags="-std=c11 -D_GNU_SOURCE -DHR_VERSION=__FILE__ -DHR_TEST_BUNDLE=__FILE__ -DHR_TEST_DATA=__FILE__ -I. $flags"
  export flags
  # shellcheck disable=SC2016 # expanded by the inner shell
  printf '%s\n' "${sources[@]}" |
    xargs -P "$(nproc)" -n 3 sh -c 'clang-tidy --quiet "$@" -- $flags 2>/dev/null' tidy
}

# Functions are called by way of check(), and some take arguments that may be left out.
sound() { shellcheck -x -e SC2317,SC2119,SC2120 "${scripts[@]}"; }

check "every file names its licence" licensed
check "C is formatted (make format)" formatted
check "shell scripts are sound" sound
check "clang-tidy finds nothing" tidy
exit "$failed"
