/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file slots.h
 * The slots: the first visible branches of an instance, as a grid of pads shows
 * them. /hr/<instance>/slot/<n> is the pad, /hr/<number>/state/slot and
 * /hr/<number>/slot/<n> are what it shows.
 *
 * Thread: one at a time.
 */

#ifndef HR_OSC_SLOTS_H
#define HR_OSC_SLOTS_H

#include "osc/writer.h"
#include "plugin/session.h"

#include <netinet/in.h>

enum {
  HR_OSC_SLOTS = 16,      ///< Pads shown; more can be pressed
  HR_OSC_SLOT_MAX = 9999, ///< The highest
  HR_OSC_PRESSES = 64,    ///< Held at one time; the oldest is forgotten
};

/** Held so long, a pad means replay as well. */
#define HR_OSC_HOLD_NS INT64_C(600000000)

typedef enum {
  HR_OSC_SLOT_EMPTY,
  HR_OSC_SLOT_THERE,
  HR_OSC_SLOT_CURRENT,
  HR_OSC_SLOT_PENDING
} HrOscSlotState;

typedef struct {
  int64_t number; ///< Of the branch; 0: empty
  HrOscSlotState state;
  char name[HR_NAME_MAX + 1];
} HrOscSlot;

/** The columns of /hr/<number>/state/slot. */
#define HR_OSC_SLOT_COLUMNS "slot:i number:i name:s state:i colour:s"

/** Set the state of a slot whose number is known. */
void hr_osc_slot_judge(HrOscSlot* slot, const HrSessionState* state);

/** Tell slot `n`, from 1, of instance `number`. */
void hr_osc_slot_write(HrOscWriter* writer, uint32_t number, unsigned n, const HrOscSlot* slot);

/** The number of a pad, from its verb "slot/<n>"; 0 if it is none. */
unsigned hr_osc_slot_of_verb(const char* verb);

/** A pad that is held. */
typedef struct {
  struct sockaddr_in from;
  uint32_t instance;
  unsigned slot; ///< 0: free
  int64_t pressed_ns;
} HrOscPress;

typedef struct {
  HrOscPress places[HR_OSC_PRESSES];
  size_t next;
} HrOscPresses;

/** Remember that a pad went down. */
void hr_osc_press(HrOscPresses* presses, const HrOscPress* press);

/** Forget it: it is up. Returns how long it was held by `release->pressed_ns`,
 * 0 if nothing is known of it. */
int64_t hr_osc_release(HrOscPresses* presses, const HrOscPress* release);

#endif
