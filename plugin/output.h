/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file output.h
 * MIDI on its way out. What does not fit its block is carried over to the
 * next, in order; the state that all of it leaves the synthesizer in is followed.
 *
 * Threads: hr_output_init() and hr_output_end() while no block is being run, the
 * HR_REALTIME functions on the audio thread. */

#ifndef HR_OUTPUT_H
#define HR_OUTPUT_H

#include "plugin/ring.h"
#include "store/chase.h"

/** Where a block's output goes. `write` returns false when there is no room. */
typedef struct {
  bool (*write)(void* handle, uint32_t frame, const uint8_t* bytes, uint32_t size);
  void* handle;
} HrSink;

typedef struct {
  HrSink sink;
  bool open;        ///< The block has frames to put events at
  bool full;        ///< Something in `carry` still waits for room: nothing new should be begun
  HrRing* carry;    ///< What did not fit its block
  uint64_t unheard; ///< Messages that could not be put out at all
  HrChase heard;    ///< What the synthesizer has been told
} HrOutput;

/** False when out of memory. */
bool hr_output_init(HrOutput* output);
void hr_output_end(HrOutput* output);

/** Begin a block of `frames`: what was carried over goes first. A block of no
 * frames has room for nothing. */
HR_REALTIME void hr_output_begin(HrOutput* output, uint32_t frames, HrSink sink);

/** Keep a message for the next block. */
HR_REALTIME_SELDOM void hr_output_carry(HrOutput* output, const uint8_t* bytes, uint32_t size);

/** Put a message out at `frame`, which is not before that of the last one. */
HR_REALTIME static inline void hr_output_put(HrOutput* output, uint32_t frame, const uint8_t* bytes,
                                             uint32_t size)
{
  hr_chase_follow(&output->heard, bytes, size);
  if (!output->open || output->full ||
      !output->sink.write(output->sink.handle, frame, bytes, size)) {
    hr_output_carry(output, bytes, size);
  }
}

#endif
