/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file sends.h
 * Messages that somebody sends to be played: those that wait for their time, and what
 * sounds of those that have been played.
 *
 * Every function is HR_REALTIME. */

#ifndef HR_SENDS_H
#define HR_SENDS_H

#include "plugin/message.h"
#include "plugin/realtime.h"
#include "plugin/sounding.h"

/** A message that waits, as it came: HrSendMessage, then its bytes. */
typedef struct {
  HrSendMessage head;
  uint8_t bytes[HR_SEND_MAX + HR_NAME_MAX];
} HrSend;

typedef struct {
  uint32_t count; ///< That wait
  uint64_t done;  ///< Have waited, and do no more
  uint8_t
      order[HR_SENDS_MAX]; ///< Of all places: first those that wait, as they come, then the free
  HrSounding sounding;
  HrSend places[HR_SENDS_MAX];
} HrSends;

HR_REALTIME void hr_sends_init(HrSends* sends);

/** Have a message wait, behind those of the same tick. With no room it counts as done. */
HR_REALTIME void hr_sends_add(HrSends* sends, const HrSendMessage* message);

/** The one to be played next; NULL if none waits. */
HR_REALTIME static inline const HrSendMessage* hr_sends_first(const HrSends* sends)
{
  return sends->count ? &sends->places[sends->order[0]].head : NULL;
}

/** Let go of that one. */
HR_REALTIME void hr_sends_drop_first(HrSends* sends);

/** Let go of all that were to be played before `tick`. */
HR_REALTIME void hr_sends_forget(HrSends* sends, HrTick tick);

#endif
