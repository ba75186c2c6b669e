/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/output.h"

#include <string.h>

#define CARRY_BYTES ((uint64_t)256 << 10)

bool hr_output_init(HrOutput* output)
{
  hr_chase_init(&output->heard);
  output->carry = hr_ring_new(CARRY_BYTES);
  return output->carry;
}

void hr_output_end(HrOutput* output)
{
  hr_ring_free(output->carry);
}

void hr_output_begin(HrOutput* output, uint32_t frames, HrSink sink)
{
  output->sink = sink;
  output->open = frames > 0;
  if (!output->open || !output->full) {
    return;
  }
  uint64_t position = hr_ring_read_position(output->carry);
  output->full = false;
  for (bool first = true;; first = false) {
    const HrRecord* const record = hr_ring_next(output->carry, &position);
    if (!record) {
      return;
    }
    if (!sink.write(sink.handle, 0, (const uint8_t*)(record + 1), record->size)) {
      if (!first) {
        output->full = true;
        return;
      }
      ++output->unheard; // Larger than a whole empty block: it will never fit
    }
    hr_ring_release(output->carry, position);
  }
}

void hr_output_carry(HrOutput* output, const uint8_t* bytes, uint32_t size)
{
  void* const room = hr_ring_begin(output->carry, 1, size);
  if (!room) {
    ++output->unheard;
    return;
  }
  memcpy(room, bytes, size);
  hr_ring_end(output->carry);
  output->full = true;
}
