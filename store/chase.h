/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file chase.h
 * The state that MIDI messages leave a synthesizer in, and the messages that
 * bring one from a state to another: what a replay needs that begins in the
 * middle ("chasing").
 *
 * Thread: any; hr_chase_init(), hr_chase_follow() and hr_chase_send() neither
 * allocate nor block and are for the audio thread as well. An HrChase is a
 * plain value.
 *
 * Source: MIDI 1.0 Detailed Specification 4.2; RP-015, "Response to Reset All
 * Controllers". */

#ifndef HR_CHASE_H
#define HR_CHASE_H

#include "store/store.h"

/** In place of a data byte, which is below 0x80: never set. */
#define HR_CHASE_UNSET 0xffu

/** In the velocity of a note held: it was held already when the sostenuto pedal went down. */
#define HR_CHASE_CAUGHT 0x80u

enum { HR_CHASE_PARAMETERS = 16 }; ///< Registered and other parameters kept a channel

/** The value of a registered (RPN) or non-registered (NRPN) parameter. */
typedef struct {
  uint16_t number; ///< 14 bits, HR_CHASE_NRPN set for a non-registered one
  uint8_t msb, lsb;
  uint16_t coarse_last; ///< Bool: the coarse half came last
} HrChaseParameter;

#define HR_CHASE_NRPN        0x4000u
#define HR_CHASE_NO_SELECTED 0xffffu

typedef struct {
  uint8_t controllers[128];
  uint8_t coarse_last[32]; ///< Bool: of controllers n and n + 32, the coarse half came last
  uint8_t velocities[128]; ///< Of notes held; 0: not held
  uint8_t key_pressures[128];
  uint8_t program;
  uint8_t bank_msb, bank_lsb; ///< When the program was chosen
  uint8_t pressure;
  uint8_t bend_lsb, bend_msb;
  uint16_t selected;        ///< Parameter that data entry changes
  uint8_t parameter_count;  ///< No byte is left unused: channels are compared as a whole
  uint8_t bank_coarse_last; ///< `coarse_last` of the bank when the program was chosen
  HrChaseParameter parameters[HR_CHASE_PARAMETERS];
} HrChaseChannel;

typedef struct {
  HrChaseChannel channels[16];
} HrChase;

/** Nothing is set, no note is held. */
void hr_chase_init(HrChase* chase);

/** hr_chase_follow() of what is no note. */
void hr_chase_follow_other(HrChase* chase, const uint8_t* bytes, uint32_t size);

/** Follow one message. Nearly all are notes: for these no call is made. */
static inline void hr_chase_follow(HrChase* chase, const uint8_t* bytes, uint32_t size)
{
  if (size != 3 || (bytes[0] & 0xe0) != 0x80) {
    hr_chase_follow_other(chase, bytes, size);
    return;
  }
  HrChaseChannel* const channel = &chase->channels[bytes[0] & 0x0f];
  const uint8_t note = bytes[1] & 0x7f;
  channel->velocities[note] = bytes[0] & 0x10 ? bytes[2] & 0x7f : 0;
  channel->key_pressures[note] = HR_CHASE_UNSET;
}

/** Follow many short messages, in far less time than one by one. Takes 40 KiB of stack. */
void hr_chase_follow_words(HrChase* chase, const HrWord* words, size_t count);

/** Send what turns `have` into `want`: bank and program, controllers,
 * parameters, pressure, bend, then held notes that do not sound yet, the sostenuto
 * pedal after those that it holds. Both halves of a value of 14 bits go out in the order
 * in which they came: a coarse one sets the fine one to 0 in most receivers, but not in
 * all. Notes of `have` are not ended: that comes first, and is the caller's. */
void hr_chase_send(const HrChase* have, const HrChase* want,
                   void (*send)(void* data, const uint8_t* bytes, uint32_t size), void* data);

/** Send the ends of the notes that are held in `have` and not in `want`; in `have` are held then
 * those of `want`, whose beginnings are not sent. */
void hr_chase_end_notes(HrChase* have, const HrChase* want,
                        void (*send)(void* data, const uint8_t* bytes, uint32_t size), void* data);

/** The state on the path of `branch` just before `tick`. Reads at most
 * HR_CHECKPOINT_NODES nodes, however long the path is. Damaged nodes are passed
 * over. */
HrStatus hr_chase_at(HrTxn* txn, HrBranchId branch, HrTick tick, HrChase* chase);

#endif
