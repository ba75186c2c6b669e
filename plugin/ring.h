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
#include <stddef.h>
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
  uint64_t freed;    ///< Writer's own: the reader was at least here
} HrRing;

/** Of a record in the ring, with its header. */
HR_REALTIME static inline uint64_t hr_record_bytes(uint32_t size)
{
  return sizeof(HrRecord) + (((uint64_t)size + 7) & ~(uint64_t)7);
}

/** Use `positions` and `data` (8-aligned, `capacity` bytes, a power of two) as
 * a ring. What is in them already can be read: that is how a ring outlives its process. */
void hr_ring_init(HrRing* ring, HrRingPositions* positions, void* data, uint64_t capacity);

/** A ring in memory of its own, touched so that it never faults. NULL when out of memory. */
HrRing* hr_ring_new(uint64_t capacity);
void hr_ring_free(HrRing* ring);

/** Bytes that the next record takes, of `size` payload bytes: with those it leaves unused at
 * the end, as it lies in one piece. */
HR_REALTIME static inline uint64_t hr_ring_cost(const HrRing* ring, uint32_t size)
{
  const uint64_t written = atomic_load_explicit(&ring->positions->written, memory_order_relaxed);
  const uint64_t bytes = hr_record_bytes(size);
  const uint64_t to_end = ring->capacity - (written & (ring->capacity - 1));
  return bytes > to_end ? bytes + to_end : bytes;
}

/** Begin a record of `size` payload bytes; NULL if there is no room. The
 * payload is 8-aligned and not set. */
HR_REALTIME static inline void* hr_ring_begin(HrRing* ring, uint32_t type, uint32_t size)
{
  const uint64_t written = atomic_load_explicit(&ring->positions->written, memory_order_relaxed);
  const uint64_t bytes = hr_record_bytes(size);
  const uint64_t offset = written & (ring->capacity - 1);
  const uint64_t to_end = ring->capacity - offset;
  const uint64_t skip = bytes > to_end ? to_end : 0;
  if (bytes + skip > ring->capacity - (written - ring->freed)) {
    ring->freed = atomic_load_explicit(&ring->positions->read, memory_order_acquire);
    if (bytes + skip > ring->capacity - (written - ring->freed)) {
      return NULL;
    }
  }
  if (skip) {
    *(HrRecord*)(ring->data + offset) = (HrRecord){(uint32_t)(skip - sizeof(HrRecord)), 0};
  }
  HrRecord* const record = (HrRecord*)(ring->data + ((written + skip) & (ring->capacity - 1)));
  *record = (HrRecord){size, type};
  ring->next = written + skip + bytes;
  return record + 1;
}

/** Let the reader see the record begun last. */
HR_REALTIME static inline void hr_ring_end(HrRing* ring)
{
  atomic_store_explicit(&ring->positions->written, ring->next, memory_order_release);
}

/* ---- Reading -------------------------------------------------------- */

/** Positions are bytes since the ring began. */
HR_REALTIME static inline uint64_t hr_ring_read_position(const HrRing* ring)
{
  return atomic_load_explicit(&ring->positions->read, memory_order_relaxed);
}

HR_REALTIME static inline uint64_t hr_ring_write_position(const HrRing* ring)
{
  return atomic_load_explicit(&ring->positions->written, memory_order_acquire);
}

/** The record at `*position`, which moves to its end; NULL if none is there
 * (yet). `*position` starts at hr_ring_read_position(). A record of an
 * impossible size and an unused stretch before the end of the buffer, as only a
 * damaged file holds, also give NULL. */
HR_REALTIME static inline const HrRecord* hr_ring_next(const HrRing* ring, uint64_t* position)
{
  const uint64_t written = hr_ring_write_position(ring);
  while (written - *position >= sizeof(HrRecord) && written - *position <= ring->capacity) {
    const uint64_t offset = *position & (ring->capacity - 1);
    const HrRecord* const record = (const HrRecord*)(ring->data + offset);
    if (offset % 8) {
      return NULL; // No position that was ever written
    }
    const uint64_t bytes = hr_record_bytes(record->size);
    const uint64_t to_end = ring->capacity - offset;
    if (bytes > written - *position || bytes > to_end || (!record->type && bytes != to_end)) {
      return NULL;
    }
    *position += bytes;
    if (record->type) {
      return record;
    }
  }
  return NULL;
}

/** Give the room up to `position` back to the writer. */
HR_REALTIME static inline void hr_ring_release(HrRing* ring, uint64_t position)
{
  atomic_store_explicit(&ring->positions->read, position, memory_order_release);
}

/** Bytes waiting to be read; for the writer too, who then also sees what the reader did
 * before it released the others. */
HR_REALTIME static inline uint64_t hr_ring_used(const HrRing* ring)
{
  const uint64_t written = hr_ring_write_position(ring);
  return written - atomic_load_explicit(&ring->positions->read, memory_order_acquire);
}

#endif
