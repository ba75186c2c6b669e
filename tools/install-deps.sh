#!/bin/sh
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# install-deps.sh build|demo|bench|check
# Install the Debian packages that building, the demo, the benchmarks or the tests need. Says
# first what is missing; with HR_NO_INSTALL=1 that is all, and it is an error.

set -eu

build='pkg-config liblmdb-dev libxxhash-dev liblo-dev libavahi-client-dev lv2-dev libsmf-dev zlib1g-dev'
demo="$build libjack-jackd2-dev jackd2 jalv liblo-tools"
bench="$build libcmocka-dev liblilv-dev x42-plugins libsqlite3-dev librocksdb-dev libleveldb-dev libgit2-dev git
       g++ libflatbuffers-dev flatbuffers-compiler libcapnp-dev capnproto
       rustc cargo librust-rkyv-dev librust-rkyv-derive-dev librust-bytecheck-dev"
check="$demo libcmocka-dev liblilv-dev lilv-utils sordi ardour
       libxml2-dev libjson-c-dev liblua5.1-0-dev puredata-core nodejs avahi-daemon avahi-utils dbus
       clang clang-format clang-tidy libclang-rt-dev shellcheck iproute2
       python3 python3-xxhash rustc flatbuffers-compiler capnproto"

# Debian's nodejs comes without npm, others' with it.
command -v npm >/dev/null || check="$check npm"

case ${1:-} in
build) wanted=$build ;;
demo) wanted=$demo ;;
bench) wanted=$bench ;;
check) wanted=$check ;;
*)
  echo "usage: install-deps.sh build|demo|bench|check" >&2
  exit 2
  ;;
esac

if ! command -v dpkg-query >/dev/null; then
  echo "This is not a Debian system: see to it yourself that these are installed, by whatever names:"
  # shellcheck disable=SC2086 # a list of words
  echo $wanted
  exit 0
fi

missing=
for package in $wanted; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

echo "Missing Debian packages:$missing"
if [ -n "${HR_NO_INSTALL:-}" ]; then
  echo "HR_NO_INSTALL is set, so nothing is installed. To install them: apt-get install$missing" >&2
  exit 1
fi

as_root=
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || {
    echo "Only root can install them: apt-get install$missing" >&2
    exit 1
  }
  as_root=sudo
fi
echo "Installing them now (HR_NO_INSTALL=1 would only have listed them)"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# shellcheck disable=SC2086 # a list of words
$as_root apt-get install -y -qq --no-install-recommends $missing
