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
#include "plugin/output.h"
#include "plugin/player.h"
#include "plugin/recorder.h"
#include "plugin/ring.h"
#include "plugin/sends.h"

#include <stdatomic.h>

/** What the engine tells the world, each value by itself. */
typedef struct {
  _Atomic uint64_t frames; ///< Run so far
  _Atomic int64_t position;
  _Atomic int64_t head;
  _Atomic int64_t bar_tick; ///< A bar line: others lie whole bars from it
  _Atomic double tempo;
  _Atomic uint32_t meter; ///< Beats a bar << 16 + beat unit
  _Atomic bool rolling;
  _Atomic bool transport; ///< The host tells of one
  _Atomic bool running;   ///< The position moves
  _Atomic bool replay;
  _Atomic uint32_t pending_number; ///< Branch to switch to; 0: none
  _Atomic double pending_beats;
  _Atomic uint32_t streams;      ///< Bits: rings being played or waiting to be
  _Atomic uint32_t playing;      ///< The ring being played, HR_NO_STREAM: none; what was recorded
                                 ///< before it began is in the capture ring
  _Atomic uint32_t numbers_left; ///< For forks
  _Atomic uint64_t recorded, replayed, dropped, malformed, unheard;
  _Atomic uint64_t sends_done;    ///< Of the messages sent with a time
  _Atomic uint64_t messages_done; ///< Position in `messages`: what came of those before is told
  _Atomic(HrCapture*) capture;    ///< Ring being written to
} HrShared;

/** A stream asked for, or got ahead of its time. */
typedef struct {
  uint32_t request; ///< Number of the last request: other answers come too late
  uint32_t branch;  ///< Of which
  HrTick at;        ///< The clock's tick that it is for
  bool unsent;
} HrWanted;

/** A message that was recorded a moment ago. */
typedef struct {
  HrTick tick;
  uint8_t size;
  uint8_t bytes[3];
} HrRecent;

enum { HR_RECENT = 64 };

typedef enum {
  HR_ACTION_NONE,
  HR_ACTION_TAKE_EFFECT, ///< What is pending
  HR_ACTION_END_LAP,
  HR_ACTION_SILENCE, ///< It ends
  HR_ACTION_SEND,    ///< A message that waited
  HR_ACTION_PLAY,
} HrActionKind;

/** What comes next by itself, and when. */
typedef struct {
  HrActionKind kind;
  HrTick tick;
  int64_t frame;          ///< Of the block; INT64_MIN: at once
  const HrRecord* record; ///< To play
  uint64_t after;         ///< Where the stream goes on after it
} HrAction;

typedef struct HrEngine {
  HrRing* messages; ///< From the session
  HrRing* requests; ///< To the session
  HrRing* notify;   ///< LV2 atoms for the output port, from the session
  HrRing* streams[HR_STREAMS];
  HrShared shared;

  /* The audio thread's own. */
  HrClock clock;
  HrRecorder recorder;
  HrOutput output;
  HrChase played; ///< What was played leaves a synthesizer in this state; notes are not followed
  HrPlayer player;
  int64_t block;   ///< First frame of the block
  uint32_t cursor; ///< Frame within the block that is rendered up to
  uint32_t frames; ///< In the block
  int64_t calm;    ///< Before this frame of it nothing happens by itself; -1: that is not known
  HrAction next;   ///< What happens then
  HrAction turn;   ///< The same without the music's next event
  bool enabled;
  uint32_t settings[HR_SETTINGS]; ///< By HrSetting
  uint64_t malformed;
  uint8_t* apart;   ///< Room for SysEx without what stands within it
  bool release_all; ///< At the next block: the host may have lost our note-offs

  bool replay;
  HrWanted wanted[HR_WISHES];
  HrTick host_place;   ///< Where the host stands, or began to roll or last jumped to
  HrStreamStart ahead; ///< Of HR_WISH_AHEAD, once it is there
  bool overdubbing;    ///< Replayed events go into the new branch too
  bool layered;        ///< ... and the next lap is heard from there

  HrLoopMessage loop;
  HrGoMessage pending; ///< what 0: none
  HrTick pending_tick; ///< When it takes effect ...
  HrTick pending_from; ///< ... as if it had from here on

  HrBarsRequest bars; ///< The last request for bars: other answers come too late
  HrTick bars_wait;   ///< Where the clock was to wait for it

  HrTick last_event;  ///< On the own clock: when something was last recorded
  bool straight;      ///< The position has not jumped since then
  bool unsaid;        ///< The record may not have the sound of what is played now ...
  bool unkept;        ///< ... as something was played, and heard, that is not in it
  uint64_t turned;    ///< Of the player, when the record was told that sound
  HrTick pass_start;  ///< Where the position jumped back to; INT64_MIN: it has not
  HrTick pass_length; ///< By so much
  uint32_t pass;      ///< n-th time round from there
  HrTick roll_beat;   ///< The beat nearest to where the host began to roll
  bool side;          ///< On a branch begun while the host was stopped
  bool over;          ///< On a branch begun while another one goes round in a loop
  HrTarget home;      ///< Where to return to when the host rolls again, or the loop begins again

  bool work_wanted;    ///< Something waits for the session
  uint64_t work_frame; ///< Frame when it was last woken

  HrSends sends; ///< By somebody else than the player
  uint32_t recent_count;
  HrRecent recent[HR_RECENT]; ///< Recorded since the last jump, in a circle
} HrEngine;

/** NULL when out of memory. Without a capture ring (HR_MESSAGE_ATTACH) nothing is recorded. */
HrEngine* hr_engine_new(double rate);
void hr_engine_free(HrEngine* engine);

/** After the last block: what is held in the record is ended. */
void hr_engine_finish(HrEngine* engine);

/** Before the first block, and again after a pause: what sounded then is ended. */
void hr_engine_activate(HrEngine* engine);

HR_REALTIME void hr_engine_begin(HrEngine* engine, uint32_t frames, bool enabled, HrSink sink);
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
