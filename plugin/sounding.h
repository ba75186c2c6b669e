/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file sounding.h
 * Which notes are on, and which pedals that hold notes are down, on sixteen channels.
 * Every function is HR_REALTIME. */

#ifndef HR_SOUNDING_H
#define HR_SOUNDING_H

#include "plugin/realtime.h"
#include "store/chase.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { HR_PEDALS = 3 }; ///< Sustain, sostenuto and hold 2: CC 64, 66 and 69

typedef struct {
  uint16_t pedals[HR_PEDALS]; ///< A bit a channel: it is down
  uint16_t bends;             ///< A bit a channel: pitch bend is off centre
  uint32_t count;             ///< Sum over `notes`
  uint8_t notes[16][128];     ///< Note-ons less note-offs
} HrSounding;

typedef enum {
  HR_SOUND_OTHER,
  HR_SOUND_START,   ///< Note-on, pedal down
  HR_SOUND_RELEASE, ///< Note-off, pedal up, and what hosts send to silence: all notes off, reset
                    ///< ...
} HrSoundKind;

/** What a message does to sound. */
HR_REALTIME HrSoundKind hr_sound_kind(const uint8_t* bytes, uint32_t size);

/** hr_sounding_follow() of what is no note. */
HR_REALTIME bool hr_sounding_follow_other(HrSounding* sounding, const uint8_t* bytes,
                                          uint32_t size);

/** What sounds in a state: a note once, however often it was begun. */
HR_REALTIME void hr_sounding_of(const HrChase* state, HrSounding* sounding);

/** Follow a message; true if it changed anything that is tracked. Nearly all are
 * notes: for these no call is made. */
HR_REALTIME static inline bool hr_sounding_follow(HrSounding* sounding, const uint8_t* bytes,
                                                  uint32_t size)
{
  if (size != 3 || (bytes[0] & 0xe0) != 0x80) {
    return hr_sounding_follow_other(sounding, bytes, size);
  }
  uint8_t* const count = &sounding->notes[bytes[0] & 0x0f][bytes[1] & 0x7f];
  const bool on = bytes[0] & 0x10 && bytes[2];
  if (*count == (on ? UINT8_MAX : 0)) {
    return on;
  }
  const int step = on ? 1 : -1;
  *count = (uint8_t)(*count + step);
  sounding->count += (uint32_t)step;
  return true;
}

/** Write the next message that silences something into `bytes` and forget
 * that; false when all is silent. Notes first, then pedals, then bends. */
HR_REALTIME bool hr_sounding_release(HrSounding* sounding, uint8_t bytes[3]);

HR_REALTIME bool hr_sounding_any(const HrSounding* sounding);

/** hr_midi_valid() of what is neither note nor controller. */
HR_REALTIME_SELDOM bool hr_midi_valid_other(const uint8_t* bytes, uint32_t size);

/** True if `bytes`, `size` bytes, is one whole, well-formed MIDI message
 * (MIDI 1.0 Detailed Specification, 4.2): a status, then data bytes as many as it takes. */
HR_REALTIME static inline bool hr_midi_valid(const uint8_t* bytes, uint32_t size)
{
  if (size == 3 && (bytes[0] & 0xc0) == 0x80) { // Notes and controllers: nearly all
    return !((bytes[1] | bytes[2]) & 0x80);
  }
  return hr_midi_valid_other(bytes, size);
}

/** Copy a message. Nearly all are of three bytes: for these no call is made. */
HR_REALTIME static inline void hr_midi_copy(void* to, const void* bytes, uint32_t size)
{
  if (size == 3) {
    memcpy(to, bytes, 3);
  } else {
    memcpy(to, bytes, size);
  }
}

#endif
