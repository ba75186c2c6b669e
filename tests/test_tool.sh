#!/bin/bash
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# test_tool.sh
# Test the command-line program $HALFREMEMBERED (build/halfremembered) from the
# outside, in a temporary folder. Prints "ok ..." or "not ok ..." for each check.
# Exit status 0 only if all passed.

set -u

tool=$(realpath "${HALFREMEMBERED:-build/halfremembered}")
here=$(dirname "$(realpath "$0")")
music=$here/music
work=$(mktemp -d)
holder=
trap '[ -z "$holder" ] || kill "$holder"; chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work" || exit 1
mkdir run home
chmod 755 "$work"
chmod 700 run

unset HR_STORE HR_TREE XDG_DATA_HOME
export HOME=$work/home XDG_RUNTIME_DIR=$work/run TZ=UTC LC_ALL=C.UTF-8
export LSAN_OPTIONS=detect_leaks=1

passed=0
failed=0

check() { # NAME COMMAND...
  local name=$1
  shift
  if "$@"; then
    echo "ok $name"
    passed=$((passed + 1))
  else
    echo "not ok $name"
    [ ! -s err ] || sed 's/^/  stderr: /' err
    failed=$((failed + 1))
  fi
}

hr() { # what it prints goes to the files out and err
  "$tool" "$@" >out 2>err
}

# gives STATUS COMMAND...: the exit status, with nothing a sanitizer would say.
gives() {
  local wanted=$1 status
  shift
  "$@"
  status=$?
  [ "$status" -eq "$wanted" ] && ! grep -q 'Sanitizer\|runtime error' err
}

# fails_with STATUS PATTERN COMMAND...: says why, in one line, and prints nothing.
fails_with() {
  local status=$1 pattern=$2
  shift 2
  gives "$status" "$@" && grep -q -- "$pattern" err && [ "$(wc -l <err)" -eq 1 ] && [ ! -s out ]
}

says() { # PATTERN...: each is in what was printed
  local pattern
  for pattern in "$@"; do
    grep -q -- "$pattern" out || return 1
  done
}

# ---- MIDI files --------------------------------------------------------------

bytes() { # HEX...
  local hex
  hex=$(printf %s "$*" | tr -d ' \n' | sed 's/../\\x&/g')
  # shellcheck disable=SC2059 # the bytes are the format
  printf "$hex"
}

hex() { od -An -v -tx1 "$1" | tr -d ' \n'; }

midi() { # FILE FORMAT DIVISION TRACK..., all hexadecimal but FILE
  local file=$1 all track
  all=$(printf '4d54686400000006%04x%04x%04x' "0x$2" $(($# - 3)) "0x$3")
  shift 3
  for track; do
    track=$(printf %s "$track" | tr -d ' \n')
    all+=$(printf '4d54726b%08x%s' $((${#track} / 2)) "$track")
  done
  bytes "$all" >"$file"
}

repeat() { # COUNT TEXT
  local text
  printf -v text '%*s' "$1" ''
  printf %s "${text// /$2}"
}

end=00ff2f00
notes='00903c40 60803c40 00904040 60804040'

# An independent reader: one line an event, "PULSE HEX".
cat >dump.c <<'C'
#include <smf.h>
#include <stdio.h>

int main(int argc, char** argv)
{
  smf_t* smf = argc > 1 ? smf_load(argv[1]) : NULL;
  if (!smf) {
    return 1;
  }
  printf("ppq %d\n", smf->ppqn);
  for (smf_event_t* e = smf_get_next_event(smf); e; e = smf_get_next_event(smf)) {
    printf("%d ", e->time_pulses);
    for (int i = 0; i < e->midi_buffer_length; ++i) {
      printf("%02x", e->midi_buffer[i]);
    }
    putchar('\n');
  }
  return 0;
}
C

# Another process that has a store open: it says "open", and holds its
# transaction until it is killed or, writing, for a second.
cat >hold.c <<'C'
#include <lmdb.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char** argv)
{
  MDB_env* env;
  MDB_txn* txn;
  const unsigned write = argc > 2;
  if (argc < 2 || mdb_env_create(&env) || mdb_env_set_mapsize(env, (size_t)1 << 40) ||
      mdb_env_open(env, argv[1], MDB_NOSUBDIR | MDB_NOTLS, 0600) ||
      mdb_txn_begin(env, NULL, write ? 0 : MDB_RDONLY, &txn)) {
    return 1;
  }
  puts("open");
  fflush(stdout);
  sleep(write ? 1 : 1000);
  mdb_txn_abort(txn);
  return 0;
}
C

# shellcheck disable=SC2046 # several flags
if ! ${CC:-cc} dump.c -o dump $(pkg-config --cflags --libs smf) ||
  ! ${CC:-cc} hold.c -o hold $(pkg-config --cflags --libs lmdb); then
  echo "not ok the test's own programs compile"
  exit 1
fi

hold() { # STORE [write]
  : >holding
  ./hold "$@" >holding &
  holder=$!
  while ! grep -q open holding; do
    kill -0 "$holder" || return 1
    sleep 0.02
  done
}

release() {
  kill "$holder" 2>/dev/null
  wait "$holder" 2>/dev/null
  holder=
}

# same_music A.mid B.mid: the same events in order, each time within half a pulse
# of B, as libsmf reads them. Ends of tracks, and of what A has no use for, apart.
same_music() {
  ./dump "$1" 2>/dev/null | grep -v ' ff\(2f\|03\|04\|59\|7f\)' >a.list || return 1
  ./dump "$2" 2>/dev/null | grep -v ' ff2f' >b.list || return 1
  [ "$(wc -l <b.list)" -gt 1 ] || return 1
  paste -d' ' a.list b.list | awk '
    NR == 1 { a = $2; b = $4; next }
    NF != 4 || $2 != $4 { bad = 1 }
    { off = $1 * b / a - $3; if (off < 0) off = -off; if (off > 0.51) bad = 1 }
    END { exit bad }'
}

unchanged() { # STORE, which was copied to before.hr
  cmp -s "$1" before.hr
}

# ---- A real piece, in and out ------------------------------------------------

check "import makes store, tree and branch" gives 0 hr import "$music/minuet.mid"
check "import says what it did" says 'branch "minuet" (#2) of tree "minuet": 205 events, 0:19'
default=$HOME/.local/share/halfremembered/default.hr
check "the store is at its default place" [ -f "$default" ]
export HR_STORE=$work/s.hr
mv "$default" s.hr

check "import into the tree there is" gives 0 hr import "$music/prelude.mid" "Prélude in C"
check "tree shows the branches" gives 0 hr tree
check "tree: names, numbers, forks, heads, lengths, events, authors" says \
  '^Tree "minuet" (#1), 3 branches$' \
  '^main  *#1  *1\.1  *0:00  *0  20..-..-.. ..:..  tool  current$' \
  '^├─ minuet  *#2  *main at 1\.1  *16\.3  *0:19  *205  20..-..-.. ..:..  tool$' \
  '^└─ Prélude in C  #3  *main at 1\.1  *11\.4  *0:20  *399 '
columns_align() { # the EVENTS column ends where its heading does, also behind "é"
  local line ends=
  while read -r line; do
    [[ $line =~ ^(.*(EVENTS|205|399))\ \ (MADE|20) ]] && ends+=" ${#BASH_REMATCH[1]}"
  done <out
  [[ $ends =~ ^\ ([0-9]+)\ ([0-9]+)\ ([0-9]+)$ ]] &&
    [ "${BASH_REMATCH[1]}" = "${BASH_REMATCH[2]}" ] &&
    [ "${BASH_REMATCH[2]}" = "${BASH_REMATCH[3]}" ]
}
check "tree: columns are aligned" columns_align
LC_ALL=C hr tree
check "tree: plain ASCII where the locale is" says '^|- minuet ' '^`- Pr'
check "stats counts" gives 0 hr stats
check "stats: what failed, and was rescued" says '^failed_commits  *0$' '^rescued  *0$'
# shellcheck disable=SC2088 # not the shell is to find it
at_home() { env HR_STORE='~/s.hr' "$tool" "$@" >out 2>err; }
mv s.hr "$HOME"
check "a store in the home folder, as people write it" gives 0 at_home tree
check "there it is" says '^main  '
mv "$HOME/s.hr" .
check "backup" gives 0 hr backup "$work/b.hr"
check "backup says how much: kilobytes where there is no megabyte" says ' [1-9][0-9.]* kB\.$'
check "log shows what was done" gives 0 hr log
check "log: plain words, newest last" says \
  '^20..-..-.. ..:..:..  tool  made the tree with its first branch "main" (#1)$' \
  '  tool  forked "minuet" (#2) from "main" at 1\.1$'
check "log: newest last, indeed" [ "$(tail -1 out | grep -c 'forked "Prélude in C" (#3)')" = 1 ]
check "verify finds no fault" gives 0 hr verify
check "verify counts" says '^1 tree, 3 branches, 604 events in 2 nodes, 3 journal entries, 0 notes: no problems'

check "export" gives 0 hr export minuet m.mid
check "export says what it did" says '^Wrote "minuet" to m.mid: 205 events, 0:19\.$'
check "export: every event, every byte, every time" same_music "$music/minuet.mid" m.mid
hr export 3 p480.mid --ppq 480
check "export by number, at the file's own resolution" same_music "$music/prelude.mid" p480.mid
hr export '#3' p96.mid -p 96
check "export rounds to the nearest pulse" same_music "$music/prelude.mid" p96.mid
hr import m.mid again
hr export again m2.mid
check "in and out again: the same file" cmp m.mid m2.mid
hr tree
check "in and out again: the same length" says 'again .* 16\.3  *0:19  *205 '
hr import "$music/minuet.mid" again
check "a name that is taken gets a number" says 'branch "again 2"'
umask 027
hr export minuet rights.mid
check "exported files have the usual rights" [ "$(stat -c %a rights.mid)" = 640 ]
umask 022

# ---- What MIDI files may hold ------------------------------------------------

export HR_STORE=$work/t.hr
# Two bars of 4/4 at 120, two of 3/4 at 60, one of 6/8 at 120, a note.
midi changes.mid 1 60 "00ff510307a120 8600 ff580403021808 00ff51030f4240 8440 ff580406030c08
  00ff510307a120 $end" "00903c40 60803c40 8c00 903c40 10803c40 $end"
check "tempo and meter changes" gives 0 hr import changes.mid
hr tree
# 8 quarters at 120 (4 s), 6 at 60 (6 s), 3 at 120 (1.5 s), and a sixth of one.
check "bars and seconds follow tempo and meter" says 'changes .* 6\.1  *0:12  *9 '
hr export changes c.mid
check "tempo and meter come out again" same_music changes.mid c.mid
check "meter: beats, unit, clicks" [ "$(hex c.mid | grep -c 'ff580403021808.*ff580406030c08')" = 1 ]

midi tracks.mid 1 60 "00ff0304736f6e67 00904040 40804040 $end" "00913c40 20813c40 20923d41 $end" "$end"
hr import tracks.mid
hr export tracks tracks0.mid -p 96
check "tracks are merged in time order" [ "$(hex tracks0.mid)" = \
  "4d546864000000060000000100604d54726b0000001800904040""00913c40""20813c40""20804040""00923d41""00ff2f00" ]

for ppq in 1 61 3e8 7fff; do # hexadecimal: 1, 97, 1000, 32767
  midi odd.mid 0 $ppq "00903c40 01803c40 03903d41 05803d41 0d903e42 7f803e42 $end"
  hr import odd.mid "odd $ppq"
  hr export -f "odd $ppq" odd-out.mid
  check "resolution 0x$ppq comes out to the pulse" same_music odd.mid odd-out.mid
done

midi run.mid 0 60 "60903c40 603c00 00ff01016a 603d40 603d00 $end"
hr import run.mid
hr export run run-out.mid -p 96
check "running status" [ "$(hex run-out.mid)" = \
  "4d546864000000060000000100604d54726b00000019""60903c40""60903c00""00ff06016a""60903d40""60903d00""00ff2f00" ]

long=$(repeat 300 15)
midi sysex.mid 0 60 "00f082 2d ${long}f7 10f0 03 430102 10f7 02 0304 10f7 02 05f7 10f0 02 4311
  00903c40 10f7 01 fa 00f7 04 f21122f8 $end"
check "SysEx, whole and in pieces, and escaped messages" gives 0 hr import sysex.mid
hr export sysex sysex-out.mid -p 96
sysex="00f0822d${long}f7""10f007430102030405f7""30f0034311f7""00903c40""10f701fa""00f703f21122""00f701f8""00ff2f00"
check "SysEx: each byte comes out again" [ "$(hex sysex-out.mid)" = \
  "4d546864000000060000000100604d54726b$(printf %08x $((${#sysex} / 2)))$sysex" ]
hr import sysex-out.mid sysex2
hr export sysex2 sysex3.mid -p 96
check "SysEx: in and out again, the same file" cmp sysex-out.mid sysex3.mid
midi stray.mid 0 60 "00f7 03 123456 00903c40 $end"
check "escaped bytes that are no message are counted" gives 0 hr import stray.mid
check "escaped bytes: it is said" grep -q '3 bytes that are no MIDI messages' err

text=$(repeat 300 61)
midi text.mid 0 60 "00ff01822c$text 00ff0605 63616ff165 00ff0504 c3a93132 00ff0102 0000 00ff0203 286329
  00ff0904 706f7274 00903c40 $end"
hr import text.mid
hr export text text-out.mid -p 96
text="00ff06822c${text}00ff0606""63616fc3b165""00ff0604""c3a93132""00ff0603""286329""00903c40""00ff2f00"
check "texts are kept as markers, in UTF-8, of any length" [ "$(hex text-out.mid)" = \
  "4d546864000000060000000100604d54726b$(printf %08x $((${#text} / 2)))$text" ]

midi pause.mid 0 60 "00903c40 ffffff7f 803c40 ffffff7f 903c40 $end"
hr import pause.mid
hr export pause pause-out.mid
hr import pause-out.mid pause2
hr export pause2 pause3.mid -p 96
hr export pause pause4.mid -p 96
check "pauses longer than a file's numbers" cmp pause3.mid pause4.mid
hr tree
check "pauses: no event is added" says 'pause  .*  3  20' 'pause2 .*  3  20'

midi silence.mid 1 60 "00903c40 60803c40 8360ff2f00" "00ff01016a 8300ff2f00"
check "silence behind the last event" gives 0 hr import silence.mid
check "silence counts in the length" says '"silence" .* 3 events, 0:03'
hr export silence silence-out.mid -p 96
check "silence comes out again" [ "$(hex silence-out.mid)" = \
  "4d546864000000060000000100604d54726b00000012""00903c40""00ff06016a""60803c40""8360ff2f00" ]
midi hush.mid 0 60 "8700ff2f00"
hr import hush.mid
hr export hush hush-out.mid -p 96
check "nothing but silence" cmp hush.mid hush-out.mid

midi empty.mid 0 60 "$end"
check "a file without a note" gives 0 hr import empty.mid
hr export empty empty-out.mid -p 96
check "a branch without a note" cmp empty.mid empty-out.mid
midi after.mid 0 60 "00903c40 60803c40 $end 60903c40"
hr import after.mid
check "what follows the end of a track is not music" says '"after" .* 2 events'
midi slow.mid 0 60 "00ff5103ffffff 00903c40 00ff510300003d $end"
hr import slow.mid
hr export slow slow-out.mid -p 96
check "the slowest and the fastest tempo" [ "$(hex slow-out.mid | grep -c 'ff5103ffffff.*ff510300003d')" = 1 ]
midi nonsense.mid 0 60 "00ff5103000000 00ff510107 00ff58020020 00903c40 $end"
hr import nonsense.mid
check "tempo and meter without a meaning are left out, and that is said" \
  grep -q '3 tempo or meter changes have no meaning' err
cp "$music/minuet.mid" "$(printf 'caf\xe9 #1.mid')"
check "a file name in Latin-1" gives 0 hr import "$(printf 'caf\xe9 #1.mid')"
check "a file name in Latin-1 becomes a name" says 'branch "café #1"'
cp "$music/minuet.mid" "$(printf 'it\x92s.mid')"
check "what a terminal could take for a command is left out" gives 0 hr import "$(printf 'it\x92s.mid')"
check "what is left is the name" says 'branch "its"'
check "all of this left the store sound" gives 0 hr verify

# ---- Files that are none -----------------------------------------------------

cp t.hr before.hr
bad() { # NAME PATTERN FILE
  check "$1 is refused" fails_with 1 "$2" hr import "$3"
  check "$1 changes nothing" unchanged t.hr
}
: >bad.mid
bad "an empty file" 'not a MIDI file' bad.mid
echo "Dear diary" >bad.mid
bad "a text" 'not a MIDI file' bad.mid
bad "a folder" 'not a plain file' run
bad "a file that is not there" 'No such file' nowhere.mid
mkfifo pipe.mid
bad "a pipe" 'not a plain file' pipe.mid
midi bad.mid 2 60 "$notes $end" "$notes $end"
bad "format 2" 'independent pieces' bad.mid
midi bad.mid 9 60 "$notes $end"
bad "an unknown format" 'format 9 is unknown' bad.mid
midi bad.mid 0 e728 "$notes $end"
bad "SMPTE time" 'film frames' bad.mid
midi bad.mid 0 0 "$notes $end"
bad "resolution 0" 'resolution is 0' bad.mid
midi bad.mid 0 60
bad "no tracks" 'no track' bad.mid
midi bad.mid 0 60 "003c40 $end"
bad "a message without a status" 'without a status' bad.mid
midi bad.mid 0 60 "00903cc0 $end"
bad "a data byte above 127" 'above 127' bad.mid
midi bad.mid 0 60 "00f004 43ff01f7 $end"
bad "a SysEx with a byte above 127" 'above 127' bad.mid
midi bad.mid 0 60 "8080808000 903c40 $end"
bad "a time of five bytes" 'more than four bytes' bad.mid
midi bad.mid 0 60 "00ff01ffffff7f 41 $end"
bad "a text longer than its track" 'beyond the track' bad.mid
midi bad.mid 0 60 "00f0ffffff7f 41 $end"
bad "a SysEx longer than its track" 'beyond the track' bad.mid
midi bad.mid 1 60 "00903c" "$notes $end"
bad "a message longer than its track" 'within a message' bad.mid
midi bad.mid 0 60 "00f8 $end"
bad "a bare real time message" 'not escaped' bad.mid
bytes 4d546864 00000006 0001 0002 0060 4d54726b 00000004 $end >bad.mid
bad "a track too few" 'of 2 tracks it holds 1' bad.mid
bytes 4d546864 00000006 0000 0001 0060 4d54726b ffffffff $end >bad.mid
bad "a track longer than the file" 'breaks off within track 1' bad.mid
bytes 4d546864 ffffffff 0000 0001 0060 >bad.mid
bad "a header longer than the file" 'within its header' bad.mid
long=$(repeat 70000 'ffffff7f903c40')
midi bad.mid 0 1 "$long$long $end"
bad "a piece of more than 2^40 pulses" 'too long in time' bad.mid

cut_everywhere() { # all but the last byte, which is of the end-of-track event
  local size
  for ((size = 0; size < $(stat -c %s "$music/minuet.mid"); size += 7)); do
    head -c "$size" "$music/minuet.mid" >bad.mid
    fails_with 1 'was not imported' hr import bad.mid || return 1
  done
  unchanged t.hr
}
check "a file cut off anywhere is refused" cut_everywhere
mangle() { # flip bytes all over: any answer but a crash
  local i at size
  size=$(stat -c %s "$music/minuet.mid")
  RANDOM=42
  for ((i = 0; i < 200; ++i)); do
    cp "$music/minuet.mid" bad.mid
    at=$((14 + RANDOM % (size - 14)))
    bytes "$(printf %02x $((RANDOM % 256)))" |
      dd of=bad.mid bs=1 seek=$at conv=notrunc status=none
    hr -s mangled.hr import bad.mid
    [ $? -le 1 ] || return 1
    ! grep -q 'Sanitizer\|runtime error' err || return 1
  done
  gives 0 hr -s mangled.hr verify
}
check "no damaged file crashes it" mangle
echo "Dear diary" >bad.mid
check "a bad file makes no store" fails_with 1 'not a MIDI file' hr -s none.hr import bad.mid
check "a bad file makes no store, indeed" [ ! -e none.hr ]
check "a bad name" fails_with 2 'is no name for a branch' hr import "$music/minuet.mid" '#3'

# ---- Where an export goes ----------------------------------------------------

export HR_STORE=$work/s.hr
echo precious >there.mid
check "export replaces no file" fails_with 1 'there.mid exists already' hr export minuet there.mid
check "export replaces no file, indeed" [ "$(cat there.mid)" = precious ]
check "export --force does" gives 0 hr export --force minuet there.mid
check "export --force does, indeed" same_music "$music/minuet.mid" there.mid
cp "$HR_STORE" before.hr
ln -s "$HR_STORE" link.hr
for file in "$HR_STORE" link.hr; do
  check "export --force never replaces the store" fails_with 1 'is the store itself' hr export -f minuet "$file"
  check "the store stays as it was" unchanged "$HR_STORE"
done
check "export onto a folder" fails_with 1 'not a plain file' hr export -f minuet run
check "export onto a device" fails_with 1 'not a plain file' hr export -f minuet /dev/null
check "export into no folder" fails_with 1 'Cannot write' hr export minuet nowhere/x.mid
mkdir small
cp there.mid small/there.mid
no_room() {
  (
    trap '' XFSZ
    ulimit -f 1
    "$tool" export -f Prélude\ in\ C small/there.mid
  ) 2>err | cat >out # the limit must not hit what is printed
  grep -q 'was not written\|Cannot write' err
}
hr import "$music/prelude.mid" filler
check "export onto a full disk fails" no_room
check "export that fails leaves the old file" cmp -s there.mid small/there.mid
check "export that fails leaves nothing else" [ "$(ls small)" = there.mid ]
check "export of no such branch" fails_with 1 'has no branch "nobody"' hr export nobody x.mid
check "export of no such branch leaves nothing" [ ! -e x.mid ]

# ---- Stores that are none ----------------------------------------------------

each_look() { # PATTERN [COMMANDS]: every command that looks fails with it
  local command
  for command in ${2:-tree log verify list}; do
    fails_with 1 "$1" hr "$command" || return 1
  done
  fails_with 1 "$1" hr export main x.mid && [ ! -e x.mid ]
}
mkdir nothing
export HR_STORE=$work/nothing/none.hr
check "looking at a store that is not there" each_look 'Nothing has been recorded there yet'
check "and what to do" fails_with 1 'Play into the plugin, or name another store with --store' hr tree
check "looking makes no store" [ -z "$(ls nothing)" ]
check "a store whose disk is not there" fails_with 1 'Plug in its disk, or choose a path' \
  hr -s /proc/none/my.hr import "$music/minuet.mid"
export HR_STORE=$work/garbage.hr
head -c 100000 /dev/urandom >garbage.hr
cp garbage.hr before.hr
check "looking at garbage" each_look garbage.hr
check "importing into garbage" fails_with 1 garbage.hr hr import "$music/minuet.mid"
check "garbage stays as it was" unchanged garbage.hr
yes "Dear diary" | head -c 20000 >garbage.hr
check "looking at a text" each_look garbage.hr
: >garbage.hr
check "looking at an empty file" each_look 'empty'
check "an empty file stays empty" [ ! -s garbage.hr ]
export HR_STORE=$work/run
check "looking at a folder" each_look 'plain file\|folder'
export HR_STORE=$work/cut.hr
head -c 20480 s.hr >cut.hr
check "looking at a store cut short" each_look cut.hr 'tree log list'
check "verify of a store cut short" gives 1 hr verify
check "verify says so, and what is lost" says 'is cut short' 'music is lost'
homeless() {
  env -u HOME -u HR_STORE "$tool" "$@" >out 2>err
}
check "nobody's home" fails_with 1 'No home folder' homeless tree

# ---- Damage ------------------------------------------------------------------

# A node is full after 502 events: a piece of 3000 notes has a dozen.
# Its sixth node holds a change of tempo.
many=$(repeat 1500 '10903c4010803c40')
midi many.mid 0 60 "00ff51030927c0 $many 00ff510307a120 $many $end"
export HR_STORE=$work/d.hr
hr import many.mid
mapfile -t nodes < <(grep -obUa HRND d.hr | cut -d: -f1 | sort -n)
check "the piece takes a dozen nodes" [ "${#nodes[@]}" -ge 12 ]
cp d.hr whole.hr
bytes ff | dd of=d.hr bs=1 seek=$((nodes[5] + 1000)) conv=notrunc status=none
check "verify finds a damaged node" gives 1 hr verify
check "verify says which" says 'Branch "many" (#2 of tree 1): the node at tick' ' problems\.$'
check "tree shows the rest" gives 1 hr tree
check "tree: it is said" grep -q 'damaged' err
check "tree: the rest is there" says 'many '
check "export writes the rest" gives 1 hr export many rest.mid -p 96
check "export says what is missing" grep -q 'Missing: what was played on "many" from [0-9.]* ([0-9:]*) to ' err
check "export says where it ends" [ "$(grep -c ' to 251\.1 ' err)" = 0 ]
check "tempo is known behind the damage" [ "$(hex rest.mid | grep -c ff510307a120)" = 1 ]
./dump rest.mid 2>/dev/null | wc -l >count
check "export: all but one node's events" [ "$(cat count)" -ge 5490 ] && [ "$(cat count)" -le 5600 ]
cp whole.hr d.hr
bytes ff | dd of=d.hr bs=1 seek=$((nodes[0] + 1000)) conv=notrunc status=none
hr export many rest2.mid -p 96
check "tempo is known behind a damaged beginning" [ "$(hex rest2.mid | grep -c ff51030927c0)" = 1 ]
cp whole.hr d.hr
head -c 2096 /dev/zero | tr '\0' '\377' >ones
wipe() { # the end of each page in turn but the first two: verify never ends by a signal
  local page pages status
  broken=0
  pages=$(($(stat -c %s d.hr) / 4096))
  for ((page = 2; page < pages; ++page)); do
    cp whole.hr d.hr
    dd if=ones of=d.hr bs=1 seek=$((page * 4096 + 2000)) conv=notrunc status=none
    ASAN_OPTIONS=handle_segv=0:handle_sigbus=0:handle_abort=0 "$tool" verify >out 2>err
    status=$?
    [ $status -le 1 ] || return 1
    ! grep -q 'the check broke off' err || broken=$((broken + 1))
  done
}
check "verify outlives any damage" wipe
check "verify never breaks off" [ "$broken" -eq 0 ]
rescue() { # what is left of a store whose pages are damaged, each in turn, is a store
  local page pages
  pages=$(($(stat -c %s whole.hr) / 4096))
  for ((page = 2; page < pages; ++page)); do
    cp whole.hr d.hr
    dd if=ones of=d.hr bs=1 seek=$((page * 4096 + 2000)) conv=notrunc status=none
    rm -f new.hr
    hr salvage d.hr new.hr
    gives 0 hr -s new.hr verify || return 1
  done
}
check "salvage makes a sound store of any" rescue
check "salvage replaces no file" fails_with 1 'new.hr exists already' hr salvage d.hr new.hr
rm -f new.hr
cp whole.hr d.hr
check "salvage of a sound store loses nothing" gives 0 hr salvage d.hr new.hr
check "salvage says so" says 'nothing is lost'
hr -s new.hr export many new.mid -p 96
hr -s whole.hr export many whole.mid -p 96
check "salvage: the music is the same" cmp -s new.mid whole.mid
bytes ff | dd of=d.hr bs=1 seek=$((nodes[5] + 1000)) conv=notrunc status=none
rm -f new.hr
check "salvage without one node" gives 1 hr salvage d.hr new.hr
check "salvage says what is lost" says 'Branch "many" (#2 of tree 1): music is lost from tick' '1 loss\.$'
quoted="d d's.hr"
typed() { # COMMAND: what it says to type of a damaged store, one with a space and a quote in its name
  local page
  for ((page = 2; page < 20; ++page)); do
    cp whole.hr "$quoted"
    dd if=ones of="$quoted" bs=1 seek=$((page * 4096)) count=16 conv=notrunc status=none
    hr -s "$quoted" "$1"
    ! grep -q ' NEW"' err || break
  done
  rm -f new.hr
  eval "hr $(sed -n 's/.*"halfremembered \(.*\) NEW".*/\1 new.hr/p' err)"
  [ -s new.hr ]
}
check "verify says what to type" typed verify
check "so does what is refused a store" typed tree
long=$(repeat 130 x).hr
mv "$quoted" "$long"
check "a path that there is no room for is not typed in part" \
  fails_with 1 '"halfremembered salvage FILE NEW" takes all' hr -s "$long" tree
cp whole.hr "$quoted"
moved() { # what compact says to type puts the copy in the store's place
  gives 0 hr -s "$quoted" compact "new $quoted" || return 1
  eval "$(sed -n 's/.*and: //p' out)"
  [ ! -e "new $quoted" ] && gives 0 hr -s "$quoted" verify
}
check "so does compact" moved
check "salvage of nothing" fails_with 1 'nothing was recorded there' hr salvage garbage.hr other.hr
check "salvage of nothing leaves nothing" [ ! -e other.hr ]

# ---- Several trees -----------------------------------------------------------

export HR_STORE=$work/s.hr
hr --tree Bass import "$music/minuet.mid" low
check "import makes the tree that was named" says 'branch "low" (#2) of tree "Bass"'
check "several trees: say which" fails_with 1 'several trees: "minuet", "Bass"' hr export low x.mid
check "several trees: trees lists them" gives 0 hr trees
check "several trees: none is in use unless one is named" says '  minuet  .* 0$' '  Bass  .* 0$'
hr -t Bass trees
check "several trees: the one that is named is in use" says '  minuet  .* 0$' '  Bass  .* 1$'
check "several trees: stats is of the store" gives 0 hr stats
check "a tree that is not there" fails_with 1 'No tree is called "Drums"' hr -t Drums log
check "a tree by name" gives 0 hr --tree Bass export low bass.mid
check "a tree by number" gives 0 hr -t 2 export low bass.mid -f
export HR_TREE=Bass
check "a tree by HR_TREE" gives 0 hr export low bass.mid --force
unset HR_TREE
hr tree
check "tree shows all" says '^Tree "minuet" (#1)' '^Tree "Bass" (#2)'
hr tree -t Bass
check "tree shows the one" [ "$(grep -c '^Tree' out)" = 1 ]

# ---- By the command layer ----------------------------------------------------

export HR_STORE=$work/v.hr
hr import "$music/minuet.mid"
hr log
entries=$(wc -l <out)
check "list" gives 0 hr list
check "list shows the branches" says main minuet
check "get" gives 0 hr get
check "get tells how large the store is" says 'store/bytes *[1-9][0-9]*$'
check "get tells how large it can become" says 'store/limit *70368744177664$'
limited() ( # COMMAND...: with little address space
  ulimit -v 1048576 && "$@"
)
hr_limited() { limited hr "$@"; }
check "with little address space" gives 0 hr_limited get store/limit
check "the limit is told" says 'store/limit *536870912$'
check "verify with little address space" gives 0 hr_limited verify
hr log
check "looking writes no journal" [ "$(wc -l <out)" = "$entries" ]
check "rename" gives 0 hr rename minuet "Menuett"
hr tree
check "rename is seen" says '─ Menuett '
check "rename to a name that is taken" fails_with 1 . hr rename Menuett main
check "hide" gives 0 hr hide Menuett
hr tree
check "hide is seen" says 'Menuett .* hidden$'
check "restore" gives 0 hr restore Menuett
hr tree
check "restore is seen" [ "$(grep -c hidden out)" = 0 ]
check "a branch by plain number" gives 0 hr switch 2
hr tree
check "switch is seen" says 'Menuett .* current$'
hr switch main
check "no such branch" fails_with 1 . hr hide Trio
hr log
check "log tells of it" says 'renamed #2 to "Menuett"' 'hid "Menuett" (#2)' 'brought back "Menuett" (#2)'
for verb in replay follow grab quantum snap standing silence tempo/source; do
  check "$verb is for a running host" fails_with 2 'needs the plugin in a running host' hr $verb
done
check "an argument where none is taken" fails_with 2 'Usage: halfremembered tree; a tree is named by --tree, ' hr tree jam
check "to a verb, too" fails_with 2 'Usage: halfremembered undo$' hr undo it
check "too few arguments" fails_with 2 'Usage: halfremembered rename' hr rename
check "too many arguments" fails_with 2 'Usage: halfremembered hide' hr hide a b c d e f g h i
check "the store is sound" gives 0 hr verify

# ---- Marks, merges and undo --------------------------------------------------

check "import another" gives 0 hr import "$music/prelude.mid" prelude
hr switch Menuett
check "mark the end" gives 0 hr mark coda
check "mark a place" gives 0 hr mark verse 3
check "mark a range" gives 0 hr mark chorus 5 9.2
check "mark tells of it" says '  chorus  *5\.1  *9\.2$'
check "marks" gives 0 hr marks
check "marks shows them in time" says '  verse  *3\.1  *3\.1$' '  chorus  *5\.1  *9\.2$' '  coda  *16\.3  *16\.3$'
check "fork at a mark" gives 0 hr fork/at chorus there
hr list
check "fork at a mark is seen" says '  there  *2  *5\.1 '
check "undo" gives 0 hr undo
check "undo says what, and where that leads" says '^OPERATION  NOW_ON  NAME' '^fork  *2  Menuett$'
hr list
check "undo is seen" says '  there .* hidden  *0$' '  Menuett .* active  *1$'
check "redo" gives 0 hr redo
check "redo says what" says '^fork  .*  there$'
hr undo
check "unmark" gives 0 hr unmark verse
hr marks
check "unmark is seen" [ "$(grep -c verse out)" = 0 ]
check "no such mark" fails_with 1 'There is no mark "verse" on this branch' hr unmark verse
check "undo of unmark" gives 0 hr undo
hr marks
check "undo of unmark is seen" says '  verse  *3\.1 '
midi marked.mid 0 60 "00903c40 60803c40 $end"
hr import marked.mid marked
hr switch marked
hr mark beat 1.2
hr mark gone 1.2
hr mark bar 1 2
hr unmark gone
hr export marked marked-out.mid -p 96
marks="00ff0603""62617200903c40""60ff0604""6265617400803c40""8220ff0609""62617220""28656e6429""00ff2f00"
check "marks are markers of the file, each before what is played there" [ "$(hex marked-out.mid)" = \
  "4d546864000000060000000100604d54726b$(printf %08x $((${#marks} / 2)))$marks" ]
hr import marked.mid upbeat
hr switch upbeat
hr mark early 0.1
hr export upbeat upbeat-out.mid -p 96
early="00ff0605""6561726c798300903c40""60803c40""00ff2f00"
check "a mark before bar 1 is as far from the music as it was" [ "$(hex upbeat-out.mid)" = \
  "4d546864000000060000000100604d54726b$(printf %08x $((${#early} / 2)))$early" ]
check "and where bar 1 is, is said" says 'bar 1 is 0:02 into the file'
hr unmark early # It is on the path of every branch
hr switch Menuett
check "a name that reads as a position" fails_with 1 '"5" reads as a position' hr mark 5
check "no name" fails_with 1 'no usable name' hr mark ''
check "a place that is none" fails_with 1 '"soon" is no position' hr mark x soon
check "a range that is none" fails_with 1 'end must lie after the start' hr mark x 5 4
check "merge" gives 0 hr merge prelude both
hr list
check "merge is seen" says '  both .* 602  active  *1$'
check "merge with itself" fails_with 1 'Name another one' hr merge both
hr undo
check "merge with a hidden branch" fails_with 1 'restore' hr merge both
while hr undo; do :; done
check "nothing to undo" fails_with 1 '^halfremembered: There is nothing to undo\.$' hr undo
while hr redo; do :; done
check "nothing to redo" fails_with 1 '^halfremembered: There is nothing to redo\.$' hr redo
hr list
check "all is back" says '  both .* 602  active  *1$'
hr log
check "log tells of undo and redo" says '  undid: forked "there"' '  redid: merged '
check "the store is sound after that" gives 0 hr verify

# ---- Beside another process, and where nothing may be written ----------------

hold v.hr
check "import while another process reads" gives 0 hr import "$music/prelude.mid"
check "looking while another process has it open" gives 0 hr tree
check "another process' transaction is no trouble" says prelude
release
hold v.hr write
check "import waits for another writer" gives 0 hr import "$music/prelude.mid" waited
release
check "it is there" gives 0 hr export waited waited.mid

mkdir readonly
cp v.hr readonly/v.hr
chmod 444 readonly/v.hr
chmod 555 readonly
chmod 777 .
plainly() { # as somebody to whom the rights apply
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
  else
    "$@"
  fi
}
reads_plainly() { # COMMAND...
  gives 0 plainly env HR_STORE="$work/readonly/v.hr" XDG_RUNTIME_DIR="$work/other" "$tool" "$@" \
    >out 2>err
}
for command in tree log verify; do
  check "$command in a read-only folder" reads_plainly $command
done
check "export from a read-only folder" reads_plainly export waited readonly.mid
check "export from a read-only folder, indeed" same_music "$music/prelude.mid" readonly.mid
check "nothing was written there" [ "$(ls readonly)" = v.hr ]
writes_plainly() {
  plainly env HR_STORE="$work/readonly/$1" "$tool" import "$music/minuet.mid" >out 2>err
}
check "import there is refused" fails_with 1 . writes_plainly v.hr
check "so is a new store, and what to do is said" fails_with 1 'Choose a path where you may write' writes_plainly new.hr

# ---- Options -----------------------------------------------------------------

check "--version" gives 0 hr --version
check "--version says it" says '^halfremembered [0-9]'
check "--help" gives 0 hr --help
check "--help lists the commands" says '^  tree ' '^  import FILE.mid \[NAME\] ' '^  rename '
check "help" gives 0 hr help
check "help needs no home" gives 0 homeless help
check "no command" gives 2 hr
check "an unknown command" fails_with 2 'lists them' hr frobnicate
check "a mistyped command" fails_with 2 'did you mean "export"' hr exprot a b
check "an unknown option" gives 2 hr --frobnicate
check "too few for export" fails_with 2 'Usage: halfremembered export BRANCH FILE.mid' hr export main
check "too many for tree" fails_with 2 'Usage: halfremembered tree' hr tree x
for ppq in 0 11 1000 32768 -1 4294967776 9x ''; do
  check "resolution \"$ppq\" is refused" fails_with 2 'is no resolution' hr export main x.mid --ppq="$ppq"
done
check "osc-doc" gives 0 hr osc-doc
check "osc-doc prints it" says '/hr/'
full() { # COMMAND...: said once
  "$tool" "$@" >/dev/full 2>err
  [ $? -eq 1 ] && grep -q 'could not be written: No space' err && [ "$(wc -l <err)" -eq 1 ]
}
check "a full disk behind the output" full tree
check "a full disk behind osc-doc" full osc-doc

echo "[  PASSED  ] $passed test(s)."
if [ "$failed" -ne 0 ]; then
  echo "[  FAILED  ] $failed test(s)."
  exit 1
fi
