#!/bin/bash
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# bundle.sh BUILD
# Check what was built from outside: the bundle's description, its symbols, that
# it installs and uninstalls without a trace; and the music the tests play.

set -u
. tests/check.sh

build=$1
bundle=$build/halfremembered.lv2
uri=urn:halfremembered:recorder
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

valid() {
  lv2_validate "$bundle"/*.ttl >"$scratch/validate" 2>&1
  grep -q '^Found 0 errors' "$scratch/validate" && ! grep -i 'warning\|error:' "$scratch/validate"
}

listed() {
  mkdir "$scratch/lv2"
  ln -s "$(realpath "$bundle")" "$scratch/lv2"
  LV2_PATH=$scratch/lv2:/usr/lib/lv2 lv2info "$uri" | grep -q 'Name: *HalfRemembered'
}

presets_listed() {
  LV2_PATH=$scratch/lv2:/usr/lib/lv2 lv2info "$uri" | sed -n '/Presets:/,/^$/{/Presets:/d;s/^\t *//p}' | sort >"$scratch/presets"
  diff - "$scratch/presets" <<'END'
Layers
Listen
Song
Tape
END
}

exports_only_the_descriptor() {
  local symbols
  symbols=$(nm -D --defined-only "$bundle/halfremembered.so" | awk '{ print $3 }')
  [ "$symbols" = lv2_descriptor ] || {
    echo "exported: $symbols"
    false
  }
}

never_unloaded() { readelf -d "$bundle/halfremembered.so" | grep -q NODELETE; }

optimised_across_files() { # where its objects were compiled for that: what each event calls is inlined
  ! readelf -SW "$build/plugin/clock.o" | grep -q gnu.lto ||
    ! nm "$bundle/halfremembered.so" | grep -q ' hr_clock_frame$'
}

same_version() { # of the Makefile, the plugin's description and NEWS
  local version minor micro
  version=$(sed -n 's/^VERSION := //p' Makefile)
  minor=$(sed -n 's/.*lv2:minorVersion \([0-9]*\).*/\1/p' ttl/halfremembered.ttl)
  micro=$(sed -n 's/.*lv2:microVersion \([0-9]*\).*/\1/p' ttl/halfremembered.ttl)
  [ "$version" = "0.$minor.$micro" ] && head -n 1 NEWS | grep -qF "$version"
}

installs() {
  local make=(make -s BUILD="$build" DESTDIR="$scratch/root" PREFIX=/usr)
  "${make[@]}" install || return
  (cd "$scratch/root" && find . -type f | sort) >"$scratch/installed"
  diff - "$scratch/installed" <<'END' || return
./usr/bin/halfremembered
./usr/lib/lv2/halfremembered.lv2/halfremembered.json
./usr/lib/lv2/halfremembered.lv2/halfremembered.pd
./usr/lib/lv2/halfremembered.lv2/halfremembered.scd
./usr/lib/lv2/halfremembered.lv2/halfremembered.so
./usr/lib/lv2/halfremembered.lv2/halfremembered.tosc
./usr/lib/lv2/halfremembered.lv2/halfremembered.ttl
./usr/lib/lv2/halfremembered.lv2/manifest.ttl
./usr/lib/lv2/halfremembered.lv2/osc.sh
./usr/lib/lv2/halfremembered.lv2/presets.ttl
./usr/share/man/man1/halfremembered.1
END
  "${make[@]}" uninstall && ! find "$scratch/root" -type f | grep .
}

tells_how_to_install() { # where one may not
  : >"$scratch/file"
  ! make -s BUILD="$build" PREFIX="$scratch/file" install >"$scratch/said" 2>&1 &&
    grep -q 'sudo make install' "$scratch/said" && ! grep -q '^install:' "$scratch/said"
}

tells_where_hosts_look() {
  make -s BUILD="$build" PREFIX="$scratch/own" install | grep -qF "if its LV2_PATH names $scratch/own/lib/lv2" &&
    make -s BUILD="$build" PREFIX="$scratch/own" HOME="$scratch" LV2DIR="$scratch/.lv2" install |
    grep -q 'Look for it among the MIDI plugins'
}

same_music() {
  "$build/tests/music/make_music" "$scratch" &&
    cmp "$scratch/prelude.mid" tests/music/prelude.mid &&
    cmp "$scratch/minuet.mid" tests/music/minuet.mid
}

# What pkg-config is asked for while GOAL is made is of packages that are installed for it.
# Nothing is made: both programs only note what they are asked for, or know of nothing. Of what is
# not on this machine, as the benches' peers may be, nobody can tell whose it is.
compiles_with_what_is_installed() { # GOAL
  local list name file
  : >"$scratch/asked"
  make -n BUILD="$scratch/none" PKG_CONFIG="$scratch/noting-pkg-config" "$1" >"$scratch/commands" || return
  list=$(sed -n 's/.*install-deps.sh //p' "$scratch/commands" | head -n 1)
  PATH=$scratch/nothing-installed:$PATH HR_NO_INSTALL=1 tools/install-deps.sh "${list:-build}" 2>&1 |
    sed -n 's/^Missing Debian packages://p' | tr ' ' '\n' >"$scratch/installed"
  tr ' ' '\n' <"$scratch/asked" | grep -v '^-' | sort -u >"$scratch/names"
  [ "$(wc -l <"$scratch/names")" -gt 1 ] || return
  while read -r name; do
    file=$(pkg-config --variable=pcfiledir "$name" 2>/dev/null)/$name.pc
    [ -e "$file" ] || continue
    dpkg-query -S "$(realpath "$file")" | cut -d: -f1 | grep -qxFf - "$scratch/installed" || {
      echo "make $1 asks for $name, which nothing in $(tr '\n' ' ' <"$scratch/installed")brings"
      return 1
    }
  done <"$scratch/names"
}

mkdir "$scratch/nothing-installed"
echo 'exit 1' >"$scratch/nothing-installed/dpkg-query"
printf 'echo "$@" >>"%s"\n' "$scratch/asked" >"$scratch/noting-pkg-config"
chmod +x "$scratch/nothing-installed/dpkg-query" "$scratch/noting-pkg-config"

check "lv2_validate: no errors, no warnings" valid
check "lv2info lists $uri" listed
check "the presets are listed" presets_listed
check "only lv2_descriptor is exported" exports_only_the_descriptor
check "the plugin stays loaded" never_unloaded
check "the plugin is optimised across its files" optimised_across_files
check "one version everywhere" same_version
check "install and uninstall" installs
check "without the right to install, it is said what to do" tells_how_to_install
check "installed, it is said whether hosts find it" tells_where_hosts_look
for goal in all demo run bench paper-figures check; do
  check "make $goal compiles with the packages that it installs" compiles_with_what_is_installed "$goal"
done
check "tests/music holds what make_music writes" same_music
exit "$failed"
