#!/bin/bash
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# osc_clients.sh BUILD
# Controllers as people have them, with the plugin in jalv: the example for a shell, oscsend
# and oscdump, the patch that is shipped in Pure Data, and the session for Open Stage Control
# over npm's "osc". Each of the last three renames as well, and finds the plugin again
# after the host was started anew; what it shows then is what the store holds.

set -u
. tests/host/lib.sh

dump_port=19811
pd_port=19812
export HR_TREE=song HR_OSC_PORT=19820

start_plugin() {
  start_jalv song
  url=$(url song)
  port=${url##*:}
  port=${port%/}
}

store() { "$bin/halfremembered" --tree song "$@"; }

# current: the branch the store goes on with
current() { store get branch | sed -n 's/^branch *//p'; }

# names: of all branches of the store, in the order of their numbers
names() { store list | awk 'NR > 1 { print $2 }'; }

# ---- What each of them holds -------------------------------------------------------

# last FILE PATTERN: what follows the pattern in the last line that has it
last() { sed -n "s|.*$2 *||p" "$1" | tail -n 1; }

# told FILE PATTERN: of "NUMBER NAME ..." the last name of each number, in their order
told() {
  sed -n "s|.*$2 *||p" "$1" | tr -d '"' |
    awk '{ name[$1] = $2 } END { for (n = 1; n in name; n++) print name[n] }'
}

dump_current() { last "$scratch/oscdump.log" '/hr/1/state/current is [0-9]*' | tr -d '"'; }
dump_replay() { last "$scratch/oscdump.log" '/hr/1/state/replay i'; }
# Of each branch: number, name, parent, state, and whether it is the current one.
dump_branches() {
  sed -n 's|.*/hr/1/branch [a-z]* *||p' "$scratch/oscdump.log" | tr -d '"' |
    awk '{ row[$1] = $1 " " $2 " " $3 " " $(NF - 1) " " $NF } END { for (n = 1; n in row; n++) print row[n] }'
}
branches() { store list | awk 'NR > 1 { print $1 " " $2 " " $3 " " $(NF - 1) " " $NF }'; }

dump_names() { told "$scratch/oscdump.log" '/hr/1/branch [a-z]*'; }

# Pure Data prints spaces in names as "\ ".
pd_current() { last "$scratch/pd.log" 'state: hr 1 state current [0-9]*' | tr -d '\134'; }
pd_replay() { last "$scratch/pd.log" 'state: hr 1 state replay '; }
pd_names() { told "$scratch/pd.log" 'state: hr 1 branch' | tr -d '\134'; }

stage_current() { last "$scratch/stage.log" 'shows branch'; }
stage_replay() { [ "$(last "$scratch/stage.log" 'shows replay.lit')" = 0.9 ] && echo 1 || echo 0; }

stage_lit() { last "$scratch/stage.log" "shows $1.lit"; }

is_hidden() { branches | grep -q "^$1 .* hidden 0\$"; }

# ---- What each of them does -----------------------------------------------------------

dump_press() { osc "$url" "$1"; }
dump_rename() { osc "$url" rename is "$1" "$2"; }
dump_subscribe() { oscsend "$url" /hr/subscribe i "$dump_port"; }

pd_say() { echo "to $*;" >"/dev/udp/127.0.0.1/$pd_port"; }
pd_press() { pd_say "hr-$1" bang; }
pd_rename() { pd_say test-rename "$1" "$2"; }
pd_subscribe() { pd_say hr-connect connect 127.0.0.1 "$port"; }

stage_press() {
  echo "press $1" >&"$stage"
  echo "release $1" >&"$stage"
}
stage_rename() { dump_rename "$@"; } # Nothing to type with: another does it
stage_subscribe() { :; }             # By itself

# ---- A session -----------------------------------------------------------------------------

is() { [ "$("$1")" = "$2" ]; }
same() { [ -n "$("$1")" ] && [ "$("$1")" = "$("$2")" ]; }
stored() { [ "$(current)" = "$1" ]; }
differs() { [ -n "$("$1")" ] && [ "$("$1")" != "$2" ]; }

# session CLIENT [WHO...]: with the words for the checks
session() {
  local client=$1 name=$2 before branch number
  "${client}_subscribe"
  check "$name is told the branch" wait_for 10 same "${client}_current" current
  before=$(current)
  "${client}_press" fork
  check "$name forks" wait_for 10 differs current "$before"
  check "$name is told the new branch" wait_for 10 same "${client}_current" current
  branch=$(current)
  "${client}_press" previous
  check "$name goes to another branch" wait_for 10 differs current "$branch"
  check "$name is told of that" wait_for 10 same "${client}_current" current
  "${client}_press" replay
  check "$name replays" wait_for 10 is "${client}_replay" 1
  "${client}_press" stop
  check "$name stops" wait_for 10 is "${client}_replay" 0
  number=$(store list | awk 'NR > 1 && $NF == 1 { print $1 }')
  "${client}_rename" "$number" "$client-song"
  check "$name gives a branch another name" wait_for 10 stored "$client-song"
  check "$name is told the name" wait_for 10 is "${client}_current" "$client-song"
}

# again CLIENT NAME: after the host was started anew
again() {
  "${1}_press" fork
  check "$2 forks after the host's new start" wait_for 20 differs current "$3"
  check "$2 holds what the store holds" wait_for 20 same "${1}_current" current
}

# ---- Every pad ---------------------------------------------------------------------------------

# pads FILE: the names of all pads of the session
pads() {
  node -e 'const s = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8"))
    for (const w of s.content.widgets) if (w.type === "button") console.log(w.id)' "$1"
}

is_lit() { [ "$(stage_lit "$1")" = "$2" ]; }
is_dark() { ! is_lit "$1" 0.9; }
is_on() { [ "$(last "$scratch/stage.log" "shows $1 ")" = "$2" ]; } # A pad that changes over
in_slot() { [ "$(store get number | sed -n 's/^number *//p')" = "$(numbers | sed -n "${1}p")" ]; }
numbers() { store list | awk 'NR > 1 { print $1 }'; }
entries() { store "$1" | awk 'NR > 1' | wc -l; }
more() { [ "$(entries "$1")" -gt "$2" ]; }

# does PAD CONDITION...: pressed, it does what it is for
does() {
  local pad=$1
  shift
  pressed="$pressed $pad"
  stage_press "$pad"
  check "Open Stage Control's $pad does what it is for" wait_for 2 "$@"
}

stage_every_pad() {
  local pad slot before count pressed=
  for pad in quantum_beat quantum_bar quantum_loop quantum_now; do
    does "$pad" is_lit "$pad" 0.9
  done
  for pad in record thru; do
    does "$pad" is_on "$pad" 0
    does "$pad" is_on "$pad" 1
  done
  for pad in overdub loop; do
    does "$pad" is_on "$pad" 1
    does "$pad" is_on "$pad" 0
  done
  before=$(current)
  does fork differs current "$before"
  count=$(entries list)
  for ((slot = 1; slot <= 16; ++slot)); do # An empty one does nothing
    does "slot$slot" in_slot $((slot < count ? slot : count))
  done
  does previous in_slot $((count - 1))
  does next in_slot "$count"
  does undo in_slot $((count - 1))
  does redo in_slot "$count"
  does slot1 in_slot 1
  does grab is_on loop 1
  does replay is_lit replay 0.9
  does stop is_dark replay
  for pad in mark note; do
    does "$pad" more "${pad}s" "$(entries "${pad}s")"
  done
  for pad in cancel panic; do
    does "$pad" is_on record 1 # Nothing to be seen: at least nothing goes wrong
  done
  check "every pad of Open Stage Control was pressed" \
    test "$(pads "$bin/halfremembered.lv2/halfremembered.json" | sort)" = \
    "$(tr ' ' '\n' <<<"${pressed# }" | sort -u)"
}

# ---- The example for a shell --------------------------------------------------------------------

example_told() { grep -q "/hr/1/state/$1" "$scratch/example.log"; }

marked_here() { store log | grep -q 'marked "here" on "idea"'; }

run_example() { timeout 20 bash "$bin/halfremembered.lv2/osc.sh" "$url" >"$scratch/example.log" 2>&1; }

shell_example() {
  check "the example for a shell runs" run_example
  check "it is told the new branch" example_told 'current is [0-9]* "idea"'
  check "it hears a branch" example_told 'replay i 1'
  check "its branch is in the store" test "$(names | grep -cx idea)" = 1
  check "its mark is in the store" marked_here
  check "it goes back to where it came from" wait_for 5 stored main
}

# ---- All of them ----------------------------------------------------------------------------------

start_jack
start_plugin
list minuet 8 >"$scratch/minuet.list"
play played song:in "$scratch/minuet.list"
shell_example
osc "$url" quantum s now

spawn oscdump stdbuf -oL oscdump "$dump_port"
sleep 0.3
session dump "oscsend with oscdump"
check "oscdump holds the names of all branches" wait_for 10 same dump_names names

sed "s/PORT;/$pd_port;/" tests/host/osc_driver.pd >"$scratch/driver.pd"
spawn pd pd -nogui -noaudio -nomidi -stderr -open "$scratch/driver.pd" \
  -open "$bin/halfremembered.lv2/halfremembered.pd"
sleep 1
session pd "Pure Data"
check "Pure Data holds the names of all branches" wait_for 10 same pd_names names

# Without its optional serial port, which would have to be compiled.
modules=$scratch/npm
mkdir "$modules"
clients=(dump pd)
if ! npm install --prefix "$modules" --silent --no-audit --no-fund --ignore-scripts \
  --omit=optional osc@2.4.5 >"$scratch/npm.log" 2>&1; then
  echo "[  SKIPPED ] Open Stage Control over npm's osc: npm could not install it"
else
  mkfifo "$scratch/stage.in"
  exec {stage}<>"$scratch/stage.in"
  node tests/host/open_stage_control.js "$modules" "$bin/halfremembered.lv2/halfremembered.json" \
    "$port" <"$scratch/stage.in" >"$scratch/stage.log" 2>&1 &
  pids[stage]=$!
  session stage "Open Stage Control"
  stage_press slot1
  check "Open Stage Control goes to the first branch by its slot" \
    wait_for 10 stored "$(names | head -n 1)"
  check "and shows that it is there" wait_for 10 is_lit slot1 0.9
  clients+=(stage)
fi

[ "${#clients[@]}" -lt 3 ] || stage_every_pad

# ---- The host is started anew -------------------------------------------------------------------

finish song
start_plugin
dump_subscribe # The others do so by themselves
for client in "${clients[@]}"; do
  check "$client finds the plugin again" wait_for 20 same "${client}_current" current
  again "$client" "$client" "$(current)"
done
osc "$url" hide i 2
check "a branch is hidden in the end" wait_for 10 is_hidden 2
check "oscdump holds all branches as the store does" wait_for 10 same dump_branches branches
check "Pure Data holds all names in the end" wait_for 10 same pd_names names
finish song
stop_jack
check "the store is sound" "$bin/halfremembered" verify
exit "$failed"
