/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/ring.h"

#include <stdlib.h>
#include <string.h>

static uint64_t record_bytes(uint32_t size)
{
  return sizeof(HrRecord) + (((uint64_t)size + 7) & ~(uint64_t)7);
}

void hr_ring_init(HrRing* ring, HrRingPositions* positions, void* data, uint64_t capacity)
{
  *ring = (HrRing){.positions = positions, .data = data, .capacity = capacity};
}

HrRing* hr_ring_new(uint64_t capacity)
{
  HrRing* const ring = calloc(1, sizeof *ring);
  HrRingPositions* const positions = aligned_alloc(64, sizeof *positions);
  void* const data = aligned_alloc(64, capacity);
  if (!ring || !positions || !data) {
    free(ring);
    free(positions);
    free(data);
    return NULL;
  }
  memset(positions, 0, sizeof *positions);
  memset(data, 0, capacity);
  hr_ring_init(ring, positions, data, capacity);
  return ring;
}

void hr_ring_free(HrRing* ring)
{
  if (ring) {
    free(ring->positions);
    free(ring->data);
    free(ring);
  }
}

void* hr_ring_begin(HrRing* ring, uint32_t type, uint32_t size)
{
  const uint64_t written = atomic_load_explicit(&ring->positions->written, memory_order_relaxed);
  const uint64_t read = atomic_load_explicit(&ring->positions->read, memory_order_acquire);
  const uint64_t bytes = record_bytes(size);
  const uint64_t offset = written & (ring->capacity - 1);
  const uint64_t to_end = ring->capacity - offset;
  const uint64_t skip = bytes > to_end ? to_end : 0;
  if (bytes + skip > ring->capacity - (written - read)) {
    return NULL;
  }
  if (skip) {
    *(HrRecord*)(ring->data + offset) = (HrRecord){(uint32_t)(skip - sizeof(HrRecord)), 0};
  }
  HrRecord* const record = (HrRecord*)(ring->data + ((written + skip) & (ring->capacity - 1)));
  *record = (HrRecord){size, type};
  ring->next = written + skip + bytes;
  return record + 1;
}

void hr_ring_end(HrRing* ring)
{
  atomic_store_explicit(&ring->positions->written, ring->next, memory_order_release);
}

const HrRecord* hr_ring_next(const HrRing* ring, uint64_t* position)
{
  const uint64_t written = hr_ring_write_position(ring);
  while (written - *position >= sizeof(HrRecord) && written - *position <= ring->capacity) {
    const uint64_t offset = *position & (ring->capacity - 1);
    const HrRecord* const record = (const HrRecord*)(ring->data + offset);
    if (offset % 8) {
      return NULL; // No position that was ever written
    }
    const uint64_t bytes = record_bytes(record->size);
    if (bytes > written - *position || bytes > ring->capacity - offset) {
      return NULL;
    }
    *position += bytes;
    if (record->type) {
      return record;
    }
  }
  return NULL;
}

void hr_ring_release(HrRing* ring, uint64_t position)
{
  atomic_store_explicit(&ring->positions->read, position, memory_order_release);
}

uint64_t hr_ring_read_position(const HrRing* ring)
{
  return atomic_load_explicit(&ring->positions->read, memory_order_relaxed);
}

uint64_t hr_ring_write_position(const HrRing* ring)
{
  return atomic_load_explicit(&ring->positions->written, memory_order_acquire);
}

uint64_t hr_ring_used(const HrRing* ring)
{
  return hr_ring_write_position(ring) - hr_ring_read_position(ring);
}
