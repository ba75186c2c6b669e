/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file timeline.h
 * From ticks to bars, beats and seconds, along the path of a branch.
 *
 * Bar 1 begins at tick 0, and each bar beats_per_bar beats after the one
 * before. Where the meter changes in the middle of a bar, a bar begins there.
 * Before tick 0 bars count 0, -1, -2 ... and seconds are negative.
 *
 * One thread. Units: ticks (store.h), seconds, quarter notes a minute.
 */

#ifndef HR_TIMELINE_H
#define HR_TIMELINE_H

#include "store/store.h"

#include <stddef.h>
#include <stdint.h>

/** Tempo and meter in force from a tick on. */
typedef struct {
  HrTick tick;
  double seconds; ///< From tick 0 to `tick`
  HrTempo tempo;
  HrTick bar_tick; ///< A bar line: the others are counted from it
  int64_t bar;     ///< The bar that begins there
} HrTimelinePoint;

/** Points by tick, one for each; the first holds for all before it as well.
 * Zero-initialised it is empty: 120 quarter notes a minute in 4/4. */
typedef struct {
  HrTimelinePoint* points;
  size_t count;
  size_t capacity;
} HrTimeline;

typedef struct {
  int64_t bar;  ///< From 1
  int32_t beat; ///< From 1
  double seconds;
} HrPlace;

/** What is in force at tick 0 where nothing was said. */
HrTimelinePoint hr_timeline_origin(void);

/** Start `timeline`, which is empty, with `point`. HR_ERR_NO_MEMORY. */
HrStatus hr_timeline_start(HrTimeline* timeline, const HrTimelinePoint* point);

/** Apply a meta event; others than tempo and meter are ignored. Its tick must
 * not lie before the last point's. HR_ERR_NO_MEMORY. */
HrStatus hr_timeline_apply(HrTimeline* timeline, const HrEvent* event);

/** Tempo and meter in force before the first event of a span. */
void hr_timeline_span_tempo(const HrSpan* span, HrTempo* tempo);

/** Append the tempo and meter changes on the path of `branch` from `from` to
 * `until`, maybe some later ones, and count the nodes that fail their checksum in `damaged`; behind
 * such a node the next one says what was in force. */
HrStatus hr_timeline_read(HrTimeline* timeline, HrTxn* txn, HrBranchId branch, HrTick from,
                          HrTick until, uint64_t* damaged);

/** The same of so many nodes, from `*from` on, which is moved to where the next call goes on.
 * HR_END when there is no more. */
HrStatus hr_timeline_read_some(HrTimeline* timeline, HrTxn* txn, HrBranchId branch, HrTick* from,
                               HrTick until, uint32_t nodes, uint64_t* damaged);

/** What is in force at `tick`, moved there: its `tick` and `seconds` are those
 * of `tick`. O(log points). */
HrTimelinePoint hr_timeline_at(const HrTimeline* timeline, HrTick tick);

/** The same without a change at `tick` itself: what a branch that forks there begins with. */
HrTimelinePoint hr_timeline_before(const HrTimeline* timeline, HrTick tick);

/** O(log points). */
HrPlace hr_timeline_place(const HrTimeline* timeline, HrTick tick);

/** The tick of a bar, which may have a fraction, and so many beats after it
 * (from 0). What hr_timeline_place() says, the other way round. */
HrTick hr_timeline_tick(const HrTimeline* timeline, double bar, double beats);

void hr_timeline_free(HrTimeline* timeline);

#endif
