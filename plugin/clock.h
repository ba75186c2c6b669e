/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file clock.h
 * Frames to ticks and back: by the host's transport while it rolls, on its own
 * otherwise.
 *
 * Thread: audio. Frames are counted by the engine from its start, over all
 * blocks; host frames are the host's timeline. The same host frame always
 * gives the same tick, whatever the block sizes and wherever the transport
 * started: positions are taken from anchors that are kept, not from the host's
 * rounded beats. */

#ifndef HR_CLOCK_H
#define HR_CLOCK_H

#include "plugin/realtime.h"
#include "store/store.h"

/** A time:Position, decoded. Fields the host left out have no bit in `has`. */
enum {
  HR_HAS_FRAME = 1 << 0,
  HR_HAS_SPEED = 1 << 1,
  HR_HAS_BAR = 1 << 2,
  HR_HAS_BAR_BEAT = 1 << 3,
  HR_HAS_BEAT = 1 << 4,
  HR_HAS_BEATS_PER_BAR = 1 << 5,
  HR_HAS_BEAT_UNIT = 1 << 6,
  HR_HAS_TEMPO = 1 << 7, ///< Beats (of the beat unit) a minute
};

typedef struct {
  unsigned has;
  int64_t frame;
  double speed;
  int64_t bar; ///< From 0
  double bar_beat;
  double beat;
  double beats_per_bar;
  int32_t beat_unit;
  double tempo;
} HrPosition;

/** A stretch of the host's timeline at one tempo, as it was met. */
typedef struct {
  int64_t host_frame;
  HrTick tick;
  double ticks_per_frame; ///< At speed 1
  HrTick bar_tick;        ///< A bar line ...
  int64_t bar;            ///< ... where this bar begins, counted from 0
  HrTick bar_length;
} HrTempoSegment;

enum { HR_TEMPO_SEGMENTS = 64 };

typedef struct {
  double rate;   ///< Frames a second
  HrTempo tempo; ///< In force
  bool rolling;  ///< The host's transport rolls
  bool ever_rolled;
  bool running; ///< Position moves: the host rolls, or the own clock runs

  int64_t anchor_frame;
  HrTick anchor_tick;
  double ticks_per_frame;
  double frames_per_tick; ///< The reciprocal
  HrTick bar_tick;        ///< A bar line; others lie whole bars from it
  int64_t bar;            ///< The bar that begins there, counted from 0

  HrTick cue_tick; ///< Where the host would start from, when stopped
  bool cued;       ///< It said so

  HrTempo said; ///< What the host last said; 0 where it said nothing
  double speed;
  int64_t host_frame; ///< The host's frame ...
  int64_t host_at;    ///< ... at this one of ours
  HrTempoSegment segments[HR_TEMPO_SEGMENTS];
  unsigned segment_count;
  unsigned segment_next; ///< Oldest, replaced when full
} HrClock;

void hr_clock_init(HrClock* clock, double rate);

/** What a position did to the clock. */
enum {
  HR_CLOCK_STARTED = 1 << 0,
  HR_CLOCK_STOPPED = 1 << 1,
  HR_CLOCK_LOCATED = 1 << 2, ///< Jumped while rolling
  HR_CLOCK_TEMPO = 1 << 3,   ///< Tempo or meter changed
  HR_CLOCK_CUED = 1 << 4,    ///< Stopped, the host stands at another place: `cue_tick`
};

/** Take in a host position that holds at `frame`. */
HR_REALTIME unsigned hr_clock_host(HrClock* clock, int64_t frame, const HrPosition* position);

/** Place the own clock: at `tick` at `frame`, running or parked. */
HR_REALTIME void hr_clock_set(HrClock* clock, int64_t frame, HrTick tick, bool running);

/** Change the tempo or meter at `frame`, where the clock stands at `tick`, on the own clock. */
HR_REALTIME void hr_clock_set_tempo(HrClock* clock, int64_t frame, HrTick tick,
                                    const HrTempo* tempo);

/** `tempo`, and in its place what the host last said of tempo and meter. */
HR_REALTIME HrTempo hr_clock_said(const HrClock* clock, HrTempo tempo);

HR_REALTIME HrTick hr_clock_tick(const HrClock* clock, int64_t frame);
HR_REALTIME int64_t hr_clock_frame(const HrClock* clock, HrTick tick);

/** The first line at or after `tick` of every `bars`-th bar, counted from the first of all. */
HR_REALTIME HrTick hr_clock_bar_ceiling(const HrClock* clock, HrTick tick, uint32_t bars);

HR_REALTIME HrTick hr_tempo_beat_length(const HrTempo* tempo);
HR_REALTIME HrTick hr_tempo_bar_length(const HrTempo* tempo);

/** The first line of a grid of `length` ticks through `origin` at or after `tick`. */
HR_REALTIME HrTick hr_grid_ceiling(HrTick tick, HrTick origin, HrTick length);

#endif
