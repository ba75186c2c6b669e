/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/sounding.h"

enum {
  NOTE_OFF = 0x80,
  NOTE_ON = 0x90,
  CONTROLLER = 0xb0,
  BEND = 0xe0,
  SUSTAIN = 64,
  SOSTENUTO = 66,
  HOLD_2 = 69,
  FIRST_MODE = 120, ///< Controllers from here on are channel modes
  RESET = 121,
  ALL_OFF = 123,
  BEND_CENTRE = 0x40,
};

static const uint8_t pedals[HR_PEDALS] = {SUSTAIN, SOSTENUTO, HOLD_2};

/** Which of the pedals a controller is; HR_PEDALS: none. */
HR_REALTIME static unsigned find_pedal(uint8_t controller)
{
  unsigned i = 0;
  while (i < HR_PEDALS && pedals[i] != controller) {
    ++i;
  }
  return i;
}

HrSoundKind hr_sound_kind(const uint8_t* bytes, uint32_t size)
{
  if (size != 3) {
    return HR_SOUND_OTHER;
  }
  switch (bytes[0] & 0xf0) {
  case NOTE_ON:
    return bytes[2] ? HR_SOUND_START : HR_SOUND_RELEASE;
  case NOTE_OFF:
    return HR_SOUND_RELEASE;
  case CONTROLLER:
    if (find_pedal(bytes[1]) < HR_PEDALS) {
      return bytes[2] >= 64 ? HR_SOUND_START : HR_SOUND_RELEASE;
    }
    return bytes[1] >= FIRST_MODE ? HR_SOUND_RELEASE : HR_SOUND_OTHER;
  default:
    return HR_SOUND_OTHER;
  }
}

HR_REALTIME static bool set_bit(uint16_t* bits, unsigned channel, bool on)
{
  const uint16_t old = *bits;
  *bits = (uint16_t)(on ? old | 1u << channel : old & ~(1u << channel));
  return *bits != old;
}

HR_REALTIME static bool silence_channel(HrSounding* sounding, unsigned channel)
{
  bool changed = false;
  for (unsigned note = 0; note < 128; ++note) {
    changed = changed || sounding->notes[channel][note];
    sounding->count -= sounding->notes[channel][note];
    sounding->notes[channel][note] = 0;
  }
  return changed;
}

HR_REALTIME static bool follow_controller(HrSounding* sounding, unsigned channel,
                                          const uint8_t* bytes)
{
  const unsigned pedal = find_pedal(bytes[1]);
  if (pedal < HR_PEDALS) {
    return set_bit(&sounding->pedals[pedal], channel, bytes[2] >= 64);
  }
  switch (bytes[1]) {
  case FIRST_MODE: // all sound off
  case ALL_OFF:
    return silence_channel(sounding, channel);
  case RESET: { // Hold 2 stays down
    const bool sustain = set_bit(&sounding->pedals[0], channel, false);
    const bool sostenuto = set_bit(&sounding->pedals[1], channel, false);
    const bool bend = set_bit(&sounding->bends, channel, false);
    return sustain || sostenuto || bend;
  }
  default:
    return false;
  }
}

bool hr_sounding_follow_other(HrSounding* sounding, const uint8_t* bytes, uint32_t size)
{
  if (size != 3) {
    return false;
  }
  const unsigned channel = bytes[0] & 0x0f;
  switch (bytes[0] & 0xf0) {
  case CONTROLLER:
    return follow_controller(sounding, channel, bytes);
  case BEND:
    return set_bit(&sounding->bends, channel, bytes[1] || bytes[2] != BEND_CENTRE);
  default:
    return false;
  }
}

void hr_sounding_of(const HrChase* state, HrSounding* sounding)
{
  *sounding = (HrSounding){0};
  for (unsigned i = 0; i < 16; ++i) {
    const HrChaseChannel* const channel = &state->channels[i];
    for (unsigned note = 0; note < 128; ++note) {
      sounding->notes[i][note] = channel->velocities[note] != 0;
      sounding->count += sounding->notes[i][note];
    }
    for (unsigned pedal = 0; pedal < HR_PEDALS; ++pedal) {
      const uint8_t value = channel->controllers[pedals[pedal]];
      set_bit(&sounding->pedals[pedal], i, value != HR_CHASE_UNSET && value >= 64);
    }
    set_bit(&sounding->bends, i,
            channel->bend_msb != HR_CHASE_UNSET &&
                (channel->bend_lsb || channel->bend_msb != BEND_CENTRE));
  }
}

HR_REALTIME static bool release_bit(uint16_t* bits, uint8_t bytes[3], uint8_t status, uint8_t first,
                                    uint8_t second)
{
  if (!*bits) {
    return false;
  }
  const unsigned channel = (unsigned)__builtin_ctz(*bits);
  *bits = (uint16_t)(*bits & (*bits - 1u));
  bytes[0] = (uint8_t)(status | channel);
  bytes[1] = first;
  bytes[2] = second;
  return true;
}

bool hr_sounding_release(HrSounding* sounding, uint8_t bytes[3])
{
  for (unsigned channel = 0; sounding->count && channel < 16; ++channel) {
    for (unsigned note = 0; note < 128; ++note) {
      if (sounding->notes[channel][note]) {
        --sounding->notes[channel][note];
        --sounding->count;
        bytes[0] = (uint8_t)(NOTE_OFF | channel);
        bytes[1] = (uint8_t)note;
        bytes[2] = 64;
        return true;
      }
    }
  }
  for (unsigned i = 0; i < HR_PEDALS; ++i) {
    if (release_bit(&sounding->pedals[i], bytes, CONTROLLER, pedals[i], 0)) {
      return true;
    }
  }
  return release_bit(&sounding->bends, bytes, BEND, 0, BEND_CENTRE);
}

bool hr_sounding_any(const HrSounding* sounding)
{
  return sounding->count || sounding->pedals[0] || sounding->pedals[1] || sounding->pedals[2] ||
         sounding->bends;
}

bool hr_midi_valid_other(const uint8_t* bytes, uint32_t size)
{
  static const uint8_t channel_sizes[8] = {3, 3, 3, 3, 2, 2, 3, 0};
  static const uint8_t system_sizes[16] = {0, 2, 3, 2, 0, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 1};
  if (!size || bytes[0] < 0x80) {
    return false;
  }
  if (bytes[0] == 0xf0) {
    for (uint32_t i = 1; i + 1 < size; ++i) {
      if (bytes[i] & 0x80) {
        return false;
      }
    }
    return bytes[size - 1] == 0xf7;
  }
  const uint8_t wanted =
      bytes[0] < 0xf0 ? channel_sizes[(bytes[0] >> 4) - 8] : system_sizes[bytes[0] & 0x0f];
  if (size != wanted) {
    return false;
  }
  for (uint32_t i = 1; i < size; ++i) {
    if (bytes[i] & 0x80) {
      return false;
    }
  }
  return true;
}
