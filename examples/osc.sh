#!/bin/bash
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# osc.sh [URL]
# A short session from a shell, with oscsend and oscdump of Debian's liblo-tools:
# see what is told, fork, mark the place, go back, and hear it.

set -eu

url=${1:-osc.udp://127.0.0.1:9770/}
listen=9000

oscdump "$listen" &
trap 'oscsend "$url" /hr/unsubscribe i "$listen"; kill %1' EXIT
sleep 0.2

oscsend "$url" /hr/subscribe i "$listen" # The whole state now, then what changes
oscsend "$url" /hr/1/quantum s now       # Do not wait for the next bar
oscsend "$url" /hr/1/fork s idea         # What is played from here on is "idea"
sleep 1
oscsend "$url" /hr/1/mark s here
oscsend "$url" /hr/1/switch s main # Back to where it came from
oscsend "$url" /hr/1/replay
sleep 1
oscsend "$url" /hr/1/stop
sleep 0.2
