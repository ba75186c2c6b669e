# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

# The music in Cap'n Proto, for bench/layouts/capnproto.cc.

@0xa92c9f0c1d4e6b37;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("layouts");

struct Event {
  offset @0 :UInt32; # Ticks after the node's base tick
  length @1 :UInt8;  # 1 to 3
  byte0 @2 :UInt8;   # A list would be a pointer and 16 bytes more
  byte1 @3 :UInt8;
  byte2 @4 :UInt8;
}

struct Node {
  baseTick @0 :Int64;
  lastTick @1 :Int64;
  wallClockNs @2 :Int64;
  tempo @3 :Float64;
  beatsPerBar @4 :UInt16;
  beatUnit @5 :UInt16;
  author @6 :UInt32;
  events @7 :List(Event);
}
