/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file layouts.h
 * One event and one node, written out in each of several layouts: what
 * bench_layouts compares. Every layout's message holds what a node of ours does
 * (store/format.h): LayoutNode, and a run of events. Whoever reads one uses it
 * where it lies, and gets the same from all of them.
 *
 * Threads: one. Ownership: all memory is the caller's. Messages lie 16-aligned.
 *
 * Written for C, C++ and Rust: bench/layouts/rkyv repeats these types.
 *
 * Errors: make() takes 0 events if it cannot write any. */

#ifndef HR_BENCH_LAYOUTS_H
#define HR_BENCH_LAYOUTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What all are made of. The tick is at least 0, none is before the one before it. */
typedef struct {
  int64_t tick;
  uint8_t length;   ///< 1 to 3
  uint8_t bytes[3]; ///< Zero beyond `length`
} LayoutEvent;

/** What a node says of itself, beside its first and last tick. */
typedef struct {
  int64_t wall_clock_ns;
  double tempo;
  uint16_t beats_per_bar, beat_unit;
  uint32_t author;
} LayoutNode;

extern const LayoutNode layout_node;

typedef struct {
  const char* name;
  const char* package; ///< Debian's; NULL: the layout is written by hand here

  /** Whether a message may hold all of the music, not only a page of it. */
  bool boundless;

  /** Write a message of at most `room` bytes, with as many of the events as fit
   * it. Returns how many, and its size. */
  size_t (*make)(const LayoutEvent* events, size_t count, void* bytes, size_t room, size_t* size);

  /** Look at every byte of every event: the sum of layout_sum(). */
  uint64_t (*scan)(const void* bytes, size_t size);

  /** The tick of the first event at or after `tick`; INT64_MAX if there is none. */
  int64_t (*seek)(const void* bytes, size_t size, int64_t tick);

  /** True if nothing in bytes of unknown origin leads a reader out of them, as far
   * as the layout has means to tell, and all its checksums are right. What an
   * event says is not judged, unless the next one is found by it. */
  bool (*validate)(const void* bytes, size_t size);
} Layout;

/** An event as a number, in which every byte counts, and where it stands. */
static inline uint64_t layout_sum(int64_t tick, uint8_t length, uint8_t byte_0, uint8_t byte_1,
                                  uint8_t byte_2)
{
  const uint32_t message =
      (uint32_t)length | (uint32_t)byte_0 << 8 | (uint32_t)byte_1 << 16 | (uint32_t)byte_2 << 24;
  return (uint64_t)tick + message;
}

/** Search by halves: the first of `count` things in the order of their ticks that is
 * at or after `tick`; `count` if there is none. */
static inline size_t layout_find(const void* things, size_t count, int64_t tick,
                                 int64_t (*tick_at)(const void* things, size_t index))
{
  size_t from = 0;
  size_t until = count;
  while (from < until) {
    const size_t middle = from + (until - from) / 2;
    if (tick_at(things, middle) < tick) {
      from = middle + 1;
    } else {
      until = middle;
    }
  }
  return from;
}

extern const Layout layout_ours;         ///< Nodes of store/format.h, checksums not looked at
extern const Layout layout_ours_checked; ///< The same, checksums verified before each reading
extern const Layout layout_struct;       ///< An array of LayoutEvent
extern const Layout layout_sbe;          ///< FIX Simple Binary Encoding 1.0
extern const Layout layout_lv2_atom;     ///< lv2:atom sequences
extern const Layout layout_midi_track;   ///< A track of a Standard MIDI File
extern const Layout layout_flatbuffers_structs;
extern const Layout layout_flatbuffers_tables;
extern const Layout layout_capnproto;
extern const Layout layout_rkyv;

#ifdef __cplusplus
}
#endif

#endif
