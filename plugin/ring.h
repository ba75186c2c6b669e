/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file ring.h
 * A lock-free ring of records for one writer and one reader. Records lie
 * whole: neither side copies more than it must.
 *
 * Threads: hr_ring_begin() and hr_ring_end() on the writer's thread,
 * everything under "Reading" on the reader's; "one thread" also means several
 * that exclude each other by a mutex. All of them are HR_REALTIME.
 *
 * Source: the single-producer, single-consumer ring with monotonic positions,
 * as in L. Lamport, "Specifying concurrent program modules" (1983). */

#ifndef HR_RING_H
#define HR_RING_H

#include "plugin/realtime.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/** Bytes ever written and read; each on its own cache line. */
typedef struct {
  alignas(64) _Atomic uint64_t written;
  alignas(64) _Atomic uint64_t read;
} HrRingPositions;

/** Precedes every payload. */
typedef struct {
  uint32_t size; ///< Bytes of payload
  uint32_t type; ///< Not 0, which marks the unused end of the buffer
} HrRecord;

typedef struct {
  HrRingPositions* positions;
  uint8_t* data;
  uint64_t capacity; ///< Bytes, a power of two
  uint64_t next;     ///< Writer's own: where the record begun will end
} HrRing;

/** Use `positions` and `data` (8-aligned, `capacity` bytes, a power of two) as
 * a ring. What is in them already can be read: that is how a ring outlives its process. */
void hr_ring_init(HrRing* ring, HrRingPositions* positions, void* data, uint64_t capacity);

/** A ring in memory of its own, touched so that it never faults. NULL when out of memory. */
HrRing* hr_ring_new(uint64_t capacity);
void hr_ring_free(HrRing* ring);

/** Begin a record of `size` payload bytes; NULL if there is no room. The
 * payload is 8-aligned and not set. */
HR_REALTIME void* hr_ring_begin(HrRing* ring, uint32_t type, uint32_t size);

/** Let the reader see the record begun last. */
HR_REALTIME void hr_ring_end(HrRing* ring);

/* ---- Reading -------------------------------------------------------- */

/** The record at `*position`, which moves to its end; NULL if none is there
 * (yet). `*position` starts at hr_ring_read_position(). A record of an
 * impossible size, as only a damaged file holds, also gives NULL. */
HR_REALTIME const HrRecord* hr_ring_next(const HrRing* ring, uint64_t* position);

/** Give the room up to `position` back to the writer. */
HR_REALTIME void hr_ring_release(HrRing* ring, uint64_t position);

HR_REALTIME uint64_t hr_ring_read_position(const HrRing* ring);
HR_REALTIME uint64_t hr_ring_write_position(const HrRing* ring);

/** Bytes waiting to be read. */
HR_REALTIME uint64_t hr_ring_used(const HrRing* ring);

#endif
