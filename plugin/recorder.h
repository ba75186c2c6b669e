/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file recorder.h
 * Decides, on the audio thread, what goes where: appends, forks, leaves, and
 * writes each decision into the capture ring. The ring is then a log that
 * needs no further judgement, also when another process drains it after a crash.
 *
 * Every function is HR_REALTIME. */

#ifndef HR_RECORDER_H
#define HR_RECORDER_H

#include "plugin/message.h"
#include "plugin/sounding.h"
#include "store/chase.h"

typedef struct {
  HrCapture* capture;
  HrTarget target;      ///< The current branch; head and tempo as of the last event
  HrNumbers numbers;    ///< For forks
  const char* sender;   ///< Author of what is appended now, not terminated; NULL: the player
  uint32_t sender_size; ///< Bytes of that name
  uint64_t recorded;
  uint64_t dropped; ///< No room in the ring
  bool moved;       ///< A fork or switch was written and the session must hear of it
  HrSounding held;  ///< What is on in the record of the current branch
} HrRecorder;

/** Bring `target` up to what a capture ring says of its branch from a position on. True if
 * there is music of its own. The ring's reader may call it as well as its writer. */
HR_REALTIME bool hr_recorder_follow(const HrRing* ring, uint64_t from, HrTarget* target);

/** Begin to write to another ring, on another branch: whose end may have moved since
 * somebody looked it up. */
HR_REALTIME void hr_recorder_attach(HrRecorder* recorder, const HrAttachMessage* message);

/** Append at `tick`, which is not before the head, with tempo and meter first
 * where they are news to the branch: if nothing is known of those before, from its beginning on,
 * so that bars and the time before its first note are what they were. */
HR_REALTIME void hr_recorder_append(HrRecorder* recorder, HrTick tick, const HrTempo* tempo,
                                    const uint8_t* bytes, uint32_t size);

/** Note a change of tempo or meter at `tick`, if the branch is at or before it
 * and has begun. A small change waits for the next event. */
HR_REALTIME void hr_recorder_tempo(HrRecorder* recorder, HrTick tick, const HrTempo* tempo);

/** End, in the record, what is held on the current branch: at `tick`, or at its head if that is
 * later. */
HR_REALTIME void hr_recorder_close_held(HrRecorder* recorder, HrTick tick);

/** Fork the current branch at `tick` and go there. `number` 0: one of the
 * reserved. What is held ends on the branch left; with `carry` it is still
 * held on the new one, whose past has its beginning. False if no number is left: then nothing
 * happened. */
HR_REALTIME bool hr_recorder_fork(HrRecorder* recorder, HrTick tick, uint32_t number, bool carry,
                                  HrCaptureCause cause);

/** What is played on the current branch from `tick` on, which is not before the head, is heard
 * with a synthesizer in this state, and with no note but those held. Where its past leaves one in
 * another, the difference is recorded there, and the ends of notes. Tempo and meter as with an
 * event. */
HR_REALTIME void hr_recorder_state(HrRecorder* recorder, HrTick tick, const HrTempo* tempo,
                                   const HrChase* state);

/** Go to `target` at `tick`. */
HR_REALTIME void hr_recorder_switch(HrRecorder* recorder, HrTick tick, const HrTarget* target,
                                    HrCaptureCause cause);

#endif
