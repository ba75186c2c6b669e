#!/bin/bash
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# paper.sh BUILD [PAPER]
# Hold docs/infinite-canvas-storage.md to its word: every block of code is compiled and
# run, every quotation is in the file quoted, the description of the format reads a
# store that the plugin recorded, tables and pictures are what the data give.

set -u
. tests/check.sh

build=$(realpath "$1")
paper=${2:-docs/infinite-canvas-storage.md}
scratch=$(mktemp -d)
runtime=$(mktemp -d -p /dev/shm) # In memory, as a session's is
trap 'rm -rf "$scratch" "$runtime"' EXIT
mkdir -m 700 "$scratch"/{home,examples,sh}
export HOME=$scratch/home XDG_RUNTIME_DIR=$runtime HR_STORE=$scratch/played.hr LC_ALL=C.UTF-8
export PATH=$build:$PATH
unset XDG_DATA_HOME HR_TREE

# ---- The blocks: each in a file, LANGUAGE-LINE, where all lines but its own are empty

mkdir "$scratch/blocks"
awk -v folder="$scratch/blocks" '
  /^```/ && !within { within = 1; name = $0; sub(/^```/, "", name); gsub(/[ \/]/, "~", name)
                      file = folder "/" (name ? name : "none") "-" NR
                      for (i = 0; i < NR; ++i) print "" >file; next }
  /^```$/ { within = 0; close(file); next }
  within { print >file }
  END { if (within) print "" >(folder "/unended-" NR) }' "$paper"

blocks() { # LANGUAGE: the files of its blocks, in order
  find "$scratch/blocks" -name "$1-*" -printf '%f\n' | sort -t- -k2n | sed "s|^|$scratch/blocks/|"
}

# together LANGUAGE: its blocks in one file, each line where it stands in the paper.
together() {
  local file lines=0
  while read -r file; do
    tail -n +$((lines + 1)) "$file"
    lines=$(wc -l <"$file")
  done < <(blocks "$1")
}

known() { ! find "$scratch/blocks" -type f | sed 's/.*\///; s/-[0-9]*$//' |
  grep -vxE 'c|c~.*|rust|sh|fbs|capnp|text'; }

# ---- C and Rust ------------------------------------------------------------------

example='^static void \(example_[a-z0-9_]*\)(HrStore\* store).*'

write_examples() {
  echo "#line 1 \"$paper\""
  together c
  echo '#line 1 "examples"'
  echo 'int main(void) { static const PaperExample examples[] = {'
  together c | sed -n "s/$example/{\"\\1\", \\1},/p"
  echo '{NULL, NULL}}; return paper_run(examples, sizeof examples / sizeof *examples - 1); }'
}

every_example_is_run() {
  local listed
  listed=$(together c | grep -c "$example")
  [ "$listed" -gt 0 ] && [ "$listed" -eq "$(together c | grep -c 'void example_')" ]
}

compile_c() {
  mkdir -p "$build/paper" && rm -f "$build/paper/examples" && write_examples >"$build/paper/examples.c" &&
    make -s BUILD="$build" "$build/paper/examples"
}

run_c() { (cd "$scratch/examples" && "$build/paper/examples"); }

compile_rust() {
  grep -q '#\[test\]' <(together rust) && together rust >"$scratch/paper.rs" || return
  # shellcheck disable=SC2046 # options
  /usr/bin/rustc --edition 2021 --test -D warnings -A dead_code -o "$scratch/rust" "$scratch/paper.rs" \
    $(printf -- '-C link-arg=%s ' "$build"/store/*.o -llmdb -lxxhash) \
    --remap-path-prefix "$scratch/paper.rs=$paper"
}

run_rust() { (cd "$scratch/examples" && "$scratch/rust" -q); }

# ---- Other blocks ------------------------------------------------------------------

run_sh() { (cd "$scratch/sh" && timeout 60 sh -eu "$1" </dev/null); }
compile_fbs() { cp "$1" "$scratch/block.fbs" && flatc --cpp -o "$scratch" "$scratch/block.fbs"; }
compile_capnp() { capnp compile -o- "$1" >/dev/null; }

# quoted FILE: a block's lines stand together in the file that its fence names; "..."
# stands for any lines between.
quoted() {
  local file=${1##*/c~}
  file=${file%-*}
  awk '{ gsub(/^[ \t]+|[ \t]+$/, "") }
    NR == FNR { if ($0 != "") wanted[++count] = $0; next }
    { if (any(wanted[at + 1])) { ++at; loose = 1 }
      if (at < count && $0 == wanted[at + 1]) { ++at; loose = 0 }
      else if (at && !loose && $0 != "" && at < count) { at = 0; if ($0 == wanted[1]) at = 1 } }
    END { exit at != count }
    function any(line) { return line ~ /^(\/\/ |\/\* )?\.\.\.( \*\/)?$/ }' "$1" "${file//\~//}"
}

# ---- The format ----------------------------------------------------------------------

# Music, and all that can be said and done about it, in one store; in another a little, and
# so much of it at once that it lies in an extent.
record() {
  local i
  {
    "$build/tests/paper/play" && halfremembered rename main first &&
      halfremembered note "a good moment" 2.2 && halfremembered rate 4 &&
      halfremembered emotion -- 0.5 -0.25 1 glad &&
      for ((i = 1; i <= 60; ++i)); do
        halfremembered mark "mark $i" "$i" || return
      done &&
      halfremembered fork/at "mark 2" other && halfremembered merge first both &&
      halfremembered undo && halfremembered undo && halfremembered redo &&
      halfremembered export first "$scratch/first.mid" &&
      HR_STORE=$scratch/small.hr halfremembered import tests/music/minuet.mid &&
      HR_STORE=$scratch/small.hr halfremembered import "$scratch/first.mid" &&
      cp "$HR_STORE" "$scratch/killed.hr" &&
      HR_STORE=$scratch/killed.hr HR_TREE=second "$build/tests/paper/play" killed
  } >"$scratch/log" 2>&1 || ! cat "$scratch/log"
}

described() {
  local store files=()
  for store in small killed; do
    "$build/tests/paper/list" "$scratch/$store.hr" >"$scratch/$store.list" || return
    files+=("$scratch/$store.hr" "$scratch/$store.list")
  done
  echo "capture of tree 2" >>"$scratch/killed.list"
  /usr/bin/python3 tests/paper_format.py "$paper" "${files[@]}"
}

# ---- All -------------------------------------------------------------------------------

check "a store is recorded" record
check "the languages of all blocks are known" known
check "every example in C is run" every_example_is_run
check "the C compiles" compile_c
check "the C runs" run_c
if [ -n "$(blocks rust)" ]; then
  check "the Rust compiles" compile_rust
  check "the Rust runs" run_rust
fi
for language in sh fbs capnp; do
  for file in $(blocks $language); do
    what=run
    [ $language = sh ] || what=compile
    check "$language, line ${file##*-}" ${what}_$language "$file"
  done
done
for file in $(blocks 'c~*'); do
  check "quotation, line ${file##*-}" quoted "$file"
done
check "the format is as described" described
check "tables and pictures are what the data give" /usr/bin/python3 docs/figures.py --check "$paper"
exit "$failed"
