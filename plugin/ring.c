/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/ring.h"

#include <stdlib.h>
#include <string.h>

void hr_ring_init(HrRing* ring, HrRingPositions* positions, void* data, uint64_t capacity)
{
  *ring = (HrRing){.positions = positions,
                   .data = data,
                   .capacity = capacity,
                   .freed = atomic_load_explicit(&positions->read, memory_order_acquire)};
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
