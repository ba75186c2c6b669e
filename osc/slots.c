/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/slots.h"
#include "osc/outbox.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void hr_osc_slot_judge(HrOscSlot* slot, const HrSessionState* state)
{
  slot->state = !slot->number                                      ? HR_OSC_SLOT_EMPTY
                : slot->number == hr_branch_number(state->pending) ? HR_OSC_SLOT_PENDING
                : slot->number == hr_branch_number(state->branch)  ? HR_OSC_SLOT_CURRENT
                                                                   : HR_OSC_SLOT_THERE;
}

/** Colours that differ most for numbers that follow each other: the hue goes on
 * by the golden angle. */
static void write_colour(char text[8], int64_t number)
{
  const double golden = 0.6180339887498949;
  const double hue = 6.0 * fmod((double)number * golden, 1.0);
  unsigned parts[3];
  for (unsigned i = 0; i < 3; ++i) { // Red, green and blue are two sixths apart
    const double distance = fabs(fmod(hue + 6.0 - 2.0 * i + 3.0, 6.0) - 3.0);
    const double full = distance <= 1.0 ? 1.0 : distance >= 2.0 ? 0.0 : 2.0 - distance;
    parts[i] = (unsigned)lround(80.0 + 160.0 * full);
  }
  snprintf(text, 8, "%02x%02x%02x", parts[0] & 255u, parts[1] & 255u, parts[2] & 255u);
}

void hr_osc_slot_write(HrOscWriter* writer, uint32_t number, unsigned n, const HrOscSlot* slot)
{
  static const double lights[] = {0.0, 0.25, 1.0, 0.5}; // By state
  char address[64];
  char colour[8] = "303030";
  if (slot->number) {
    write_colour(colour, slot->number);
  }
  const HrValue values[] = {hr_value_integer(n), hr_value_integer(slot->number),
                            hr_value_text(slot->name), hr_value_integer(slot->state),
                            hr_value_text(colour)};
  snprintf(address, sizeof address, "/hr/%u/state/slot", number);
  hr_osc_write(writer, address, values, sizeof values / sizeof *values);
  const HrValue light = hr_value_number(lights[slot->state]);
  snprintf(address, sizeof address, "/hr/%u/slot/%u", number, n);
  hr_osc_write(writer, address, &light, 1);
}

unsigned hr_osc_slot_of_verb(const char* verb)
{
  static const char prefix[] = "slot/";
  const char* const digits = verb + sizeof prefix - 1;
  if (strncmp(verb, prefix, sizeof prefix - 1) || *digits < '1' || *digits > '9' ||
      strlen(digits) > 4 || digits[strspn(digits, "0123456789")]) {
    return 0;
  }
  return (unsigned)strtoul(digits, NULL, 10);
}

static HrOscPress* find_press(HrOscPresses* presses, const HrOscPress* press)
{
  for (size_t i = 0; i < HR_OSC_PRESSES; ++i) {
    HrOscPress* const place = &presses->places[i];
    if (place->slot == press->slot && place->instance == press->instance &&
        hr_osc_same_address(&place->from, &press->from)) {
      return place;
    }
  }
  return NULL;
}

void hr_osc_press(HrOscPresses* presses, const HrOscPress* press)
{
  HrOscPress* const known = find_press(presses, press);
  *(known ? known : &presses->places[presses->next++ % HR_OSC_PRESSES]) = *press;
}

int64_t hr_osc_release(HrOscPresses* presses, const HrOscPress* release)
{
  HrOscPress* const known = find_press(presses, release);
  if (!known) {
    return 0;
  }
  const int64_t held_ns = release->pressed_ns - known->pressed_ns;
  *known = (HrOscPress){0};
  return held_ns;
}
