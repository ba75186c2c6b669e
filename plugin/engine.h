/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file engine.h
 * The realtime half of an instance: takes MIDI and positions in, puts MIDI
 * through, records into the capture ring, replays from the streams.
 *
 * Threads: hr_engine_new(), hr_engine_free() and hr_engine_activate() while no
 * block is being run. The HR_REALTIME functions on the audio thread, a block
 * at a time: begin, then positions and messages in frame order, then end. The
 * rings and `shared` belong to both sides, as each says. */

#ifndef HR_ENGINE_H
#define HR_ENGINE_H

#include "plugin/clock.h"
#include "plugin/message.h"
#include "plugin/recorder.h"
#include "plugin/ring.h"
#include "plugin/sounding.h"
#include "store/chase.h"

#include <stdatomic.h>

/** What the engine tells the world, each value by itself. */
typedef struct {
  _Atomic uint64_t frames; ///< Run so far
  _Atomic int64_t position;
  _Atomic int64_t head;
  _Atomic double tempo;
  _Atomic uint32_t meter; ///< Beats a bar << 16 + beat unit
  _Atomic bool rolling;
  _Atomic bool transport; ///< The host tells of one
  _Atomic bool running;   ///< The position moves
  _Atomic bool replay;
  _Atomic uint32_t pending_number; ///< Branch to switch to; 0: none
  _Atomic double pending_beats;
  _Atomic uint32_t streams;      ///< Bits: rings being played or waiting to be
  _Atomic uint32_t numbers_left; ///< For forks
  _Atomic uint64_t recorded, replayed, dropped, malformed;
  _Atomic(HrCapture*) capture; ///< Ring being written to
} HrShared;

/** Where a block's output goes. `write` returns false when there is no room. */
typedef struct {
  bool (*write)(void* handle, uint32_t frame, const uint8_t* bytes, uint32_t size);
  void* handle;
} HrOutput;

typedef struct HrEngine {
  HrRing* messages; ///< From the session
  HrRing* requests; ///< To the session
  HrRing* notify;   ///< LV2 atoms for the output port, from the session
  HrRing* streams[HR_STREAMS];
  HrShared shared;

  /* The audio thread's own. */
  HrClock clock;
  HrRecorder recorder;
  HrSounding sounding; ///< What replay started on the output
  HrChase heard;       ///< The state that our output left its synthesizer in
  HrChase wanted;      ///< The state that the stream asks for
  HrRing* carry;       ///< Output that did not fit its block
  HrOutput output;
  int64_t block;   ///< First frame of the block
  uint32_t cursor; ///< Frame within the block that is rendered up to
  uint32_t frames; ///< In the block
  bool enabled;
  bool record, thru, overdub;
  uint64_t malformed, replayed;
  bool overdubbing; ///< Replayed events go into the new branch too

  bool replay;
  HrStreamStart stream; ///< Being played; ring HR_NO_STREAM: none
  uint64_t stream_position;
  uint32_t lap;
  HrTick skip_until; ///< Events of the stream before it only count for the state
  uint32_t request;  ///< Number of the stream last asked for
  bool request_unsent;
  bool cued; ///< The stream, there or asked for, is for when the host starts
  HrTick request_tick;
  bool release_all; ///< At the next block: the host may have lost our note-offs

  HrLoopMessage loop;
  HrGoMessage pending; ///< what 0: none
  HrTick pending_tick;

  HrTick last_event; ///< On the own clock: when something was last recorded
  bool side;         ///< On a branch begun while the host was stopped
  HrTarget home;     ///< Where to return when it rolls again

  bool work_wanted;    ///< Something waits for the session
  uint64_t work_frame; ///< Frame when it was last woken
} HrEngine;

/** NULL when out of memory. Without a capture ring (HR_MESSAGE_ATTACH) nothing is recorded. */
HrEngine* hr_engine_new(double rate);
void hr_engine_free(HrEngine* engine);

/** Before the first block, and again after a pause: what sounded then is ended. */
void hr_engine_activate(HrEngine* engine);

HR_REALTIME void hr_engine_begin(HrEngine* engine, uint32_t frames, bool enabled, HrOutput output);
HR_REALTIME void hr_engine_position(HrEngine* engine, uint32_t frame, const HrPosition* position);
HR_REALTIME void hr_engine_midi(HrEngine* engine, uint32_t frame, const uint8_t* bytes,
                                uint32_t size);
HR_REALTIME void hr_engine_end(HrEngine* engine);

/** Take what the session sent meanwhile, in mid-block: when work is done synchronously. */
HR_REALTIME void hr_engine_poll(HrEngine* engine);

/** True if the session should be woken now; the next wake-up is then due some
 * time later, also if this one is lost. `synchronous`: whenever there is anything to do. */
HR_REALTIME bool hr_engine_wants_work(HrEngine* engine, bool synchronous);

/** Hand a request to the session; false if the ring is full. */
HR_REALTIME bool hr_engine_request(HrEngine* engine, uint32_t type, const void* payload,
                                   uint32_t size);

#endif
