/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file message.h
 * What the session and the engine tell each other over rings.
 *
 * Replay reaches the engine as *streams*: a stream is a run of a branch's
 * path, read ahead into one of HR_STREAMS rings. The session opens a stream in
 * a ring that is not in use, fills it, and names it in the message that needs
 * it; so a switch finds its music waiting. */

#ifndef HR_MESSAGE_H
#define HR_MESSAGE_H

#include "plugin/capture.h"
#include "plugin/ring.h"
#include "plugin/session.h"
#include "store/store.h"

enum { HR_STREAMS = 4, HR_NO_STREAM = HR_STREAMS };

/** What the engine asks streams for. */
typedef enum {
  HR_WISH_NOW,   ///< To play at once
  HR_WISH_AHEAD, ///< To play when the position jumps, as it does where a loop ends
  HR_WISH_LATER, ///< To play when what is pending takes effect
  HR_WISHES,
} HrWish;

/** Session to engine, on the command ring. */
enum {
  HR_MESSAGE_ATTACH = 1, ///< HrAttachMessage
  HR_MESSAGE_GO,         ///< HrGoMessage
  HR_MESSAGE_STREAM,     ///< HrStreamMessage
  HR_MESSAGE_SET,        ///< HrSetMessage
  HR_MESSAGE_NUMBERS,    ///< HrNumbers
  HR_MESSAGE_LOOP,       ///< HrLoopMessage
  HR_MESSAGE_RESCUE,     ///< HrRescue
  HR_MESSAGE_PANIC,      ///< no payload: end every note now
  HR_MESSAGE_BARS,       ///< HrBarsMessage
  HR_MESSAGE_SEND,       ///< HrSendMessage, the MIDI message, the name of its author
};

/** Bytes of a message that somebody sends: the ring holds some of the longest. And how
 * many may wait for their time. */
enum { HR_SEND_MAX = 1024, HR_SENDS_MAX = 64 };

/** When a message is to be played that does not wait. */
#define HR_SEND_NOW INT64_MIN

/** A MIDI message that did not come from the input port. */
typedef struct {
  HrTick at;            ///< When the music is there; HR_SEND_NOW: at once
  uint32_t size;        ///< Of the message
  uint32_t author_size; ///< Of the name behind it, which is not terminated
} HrSendMessage;

/** Branch numbers set aside for forks that the engine makes by itself. */
typedef struct {
  uint32_t next;
  uint32_t end; ///< One past the last
} HrNumbers;

/** How many numbers an instance sets aside at a time: the lower part for forks
 * by command, the others for those the engine makes by itself. A new tree's
 * begin at 2. Few, as what is not used when a host is killed leaves a gap. */
enum { HR_NUMBERS_RESERVED = 64, HR_NUMBERS_FOR_COMMANDS = 16 };

/** A branch to play on, and what the engine must know of it. */
typedef struct {
  uint32_t number;
  bool empty; ///< hr_branch_is_untouched(): its first event may come at any tick
  bool fresh; ///< No event of its own yet, but at its very beginning
  HrTick head;
  HrTempo tempo;      ///< In force at the head; 0 after a fork in the past: not looked up
  bool tempo_assumed; ///< ... as there is no event on its path that would tell
} HrTarget;

typedef struct {
  bool on;
  HrTick start;
  HrTick end;
} HrLoopMessage;

static inline bool hr_loop_valid(const HrLoopMessage* loop)
{
  return loop->on && loop->end > loop->start;
}

/** How far the clock, running straight on, is ahead of the loop's ticks at
 * `tick`: whole laps, none before the loop's end is reached for the first time. */
static inline HrTick hr_loop_shift(const HrLoopMessage* loop, HrTick tick)
{
  const HrTick length = loop->end - loop->start;
  return tick < loop->end ? 0 : (tick - loop->start) / length * length;
}

/** A stream opened for the engine. */
typedef struct {
  uint32_t ring;      ///< Index, HR_NO_STREAM for none
  uint64_t start;     ///< Position in that ring where it begins
  HrTick tick;        ///< Where on the path it begins
  HrTick at;          ///< The clock's tick that this is for: another one in a loop
  HrLoopMessage loop; ///< That it goes round, if any
  HrTempo tempo;      ///< In force there
} HrStreamStart;

typedef struct {
  HrCapture* capture; ///< Ring to write to from now on
  HrTarget target;
  HrNumbers numbers;
  bool same_tree; ///< The ring left is for the same tree ...
  uint64_t known; ///< ... and up to this position in it, `target` has what it says
} HrAttachMessage;

/** What a HR_MESSAGE_GO does when its time has come. */
enum {
  HR_GO_SWITCH = 1 << 0, ///< Make `target` the current branch
  HR_GO_FORK = 1 << 1,   ///< Fork at once: `target.number` is the new branch; nothing else
  HR_GO_REPLAY = 1 << 2, ///< Replay on, by `stream`
  HR_GO_STOP = 1 << 3,   ///< Replay off
  HR_GO_LOCATE = 1 << 4, ///< With the own clock: move to `stream.tick`
  HR_GO_PARK = 1 << 5,   ///< With the own clock: wait at `park_tick` for the next note
  HR_GO_CANCEL = 1 << 6, ///< Nothing: only replaces what is pending
  HR_GO_FOLLOW = 1 << 7, ///< Replay on, but only once the host rolls
  HR_GO_PHASE = 1 << 8,  ///< The replay is of this branch and no other; with HR_GO_LOCATE it
                         ///< goes on from there as if it had been heard since `stream.at`
  HR_GO_BARS = 1 << 9,   ///< With HR_GO_LOCATE: bars are counted from `bar_tick`
  HR_GO_ON = 1 << 10,    ///< At once: what is replayed of `target.number` goes on by `stream`
};

typedef struct {
  unsigned what;
  HrQuantum quantum; ///< When
  uint32_t bars;     ///< With HR_QUANTUM_BAR: every so many
  HrTarget target;
  HrStreamStart stream;
  HrTick bar_tick; ///< With HR_GO_BARS: a bar line ...
  int64_t bar;     ///< ... and which bar begins there, from 0
  HrTick park_tick;
  HrCaptureCause cause; ///< Of the switch, for the journal
} HrGoMessage;

/** A stream that the engine asked for with HR_REQUEST_STREAM. */
typedef struct {
  HrWish wish;
  uint32_t request;
  HrStreamStart stream;
} HrStreamMessage;

/** The bars at the end of a branch's path, which the engine asked for with HR_REQUEST_BARS. */
typedef struct {
  uint32_t request;
  HrTempo tempo;   ///< In force there; only its meter counts
  HrTick bar_tick; ///< A bar line ...
  int64_t bar;     ///< ... and which bar begins there, from 0
} HrBarsMessage;

typedef enum {
  HR_SET_RECORD,       ///< Bool
  HR_SET_THRU,         ///< Bool
  HR_SET_OVERDUB,      ///< Bool
  HR_SET_STANDING,     ///< HrStanding
  HR_SET_SILENCE,      ///< Bars; 0: silences stay as they are
  HR_SET_SNAP,         ///< Milliseconds that a tap may come late
  HR_SET_TEMPO_SOURCE, ///< HrTempoSource
  HR_SETTINGS,
} HrSetting;

extern const uint32_t hr_setting_defaults[HR_SETTINGS];

typedef struct {
  HrSetting setting;
  uint32_t value;
} HrSetMessage;

/** In a stream ring. A stream, and each lap of a loop, begins with the state
 * that the synthesizer should be in there (chasing). */
enum {
  HR_STREAM_MIDI = 1,    ///< HrStreamEvent, bytes
  HR_STREAM_META,        ///< The same
  HR_STREAM_END,         ///< HrStreamEvent: the path ends at `tick`
  HR_STREAM_STATE_BEGIN, ///< HrStreamEvent: forget the state before
  HR_STREAM_STATE,       ///< HrStreamEvent, bytes of a message that is part of the state
  HR_STREAM_STATE_END,   ///< HrStreamEvent: the state is complete
  HR_STREAM_UNHEARD,     ///< HrStreamEvent: in place of a message that the ring cannot hold
};

typedef struct {
  HrTick tick;
  uint32_t lap; ///< n-th time round the loop, from 0
  uint32_t size;
} HrStreamEvent;

/** Engine to session, on the request ring. */
enum {
  HR_REQUEST_STREAM = 1, ///< HrStreamRequest
  HR_REQUEST_ENDED,      ///< no payload: replay came to the end of the path and is off
  HR_REQUEST_BARS,       ///< HrBarsRequest
  HR_REQUEST_PORT,       ///< HrPortRequest: a control port was moved
  HR_REQUEST_PATCH,      ///< an LV2 atom: a patch message from the input port
};

typedef struct {
  HrWish wish;
  uint32_t request; ///< Number, echoed by the answer
  uint32_t branch;  ///< Of which
  HrTick at;        ///< HrStreamStart's
  HrTick tick;
  HrLoopMessage loop;
} HrStreamRequest;

typedef struct {
  uint32_t request; ///< Number, echoed by the answer
  uint32_t branch;  ///< Of which
  HrTick tick;      ///< Its end, as the engine knows it
} HrBarsRequest;

typedef struct {
  uint32_t port; ///< Port index
  float value;
  bool initial; ///< It stood there when the first block was run
} HrPortRequest;

#endif
