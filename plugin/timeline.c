/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/timeline.h"

#include "plugin/clock.h"

#include <math.h>
#include <stdlib.h>

/** Nodes that the system is asked to read in at a time: 1 MiB. */
enum { ASKED_NODES = 256 };

/** Division that rounds towards minus infinity; `divisor` is positive. */
static int64_t floor_divide(int64_t number, int64_t divisor)
{
  const int64_t quotient = number / divisor;
  return number % divisor < 0 ? quotient - 1 : quotient;
}

HrTimelinePoint hr_timeline_origin(void)
{
  return (HrTimelinePoint){.tempo = {HR_DEFAULT_TEMPO, 4, 4}, .bar = 1};
}

/** `point` carried on to `tick`, nothing changing in between. */
static HrTimelinePoint carry(const HrTimelinePoint* point, HrTick tick)
{
  HrTimelinePoint moved = *point;
  const double quarters = (double)(tick - point->tick) / HR_TICKS_PER_QUARTER;
  moved.tick = tick;
  moved.seconds = point->seconds + quarters * 60.0 / point->tempo.tempo;
  return moved;
}

static HrStatus append(HrTimeline* timeline, const HrTimelinePoint* point)
{
  if (!timeline->points || timeline->count == timeline->capacity) {
    const size_t capacity = timeline->capacity ? timeline->capacity * 2 : 1;
    HrTimelinePoint* const points = realloc(timeline->points, capacity * sizeof *points);
    if (!points) {
      return HR_ERR_NO_MEMORY;
    }
    timeline->points = points;
    timeline->capacity = capacity;
  }
  timeline->points[timeline->count++] = *point;
  return HR_OK;
}

HrStatus hr_timeline_start(HrTimeline* timeline, const HrTimelinePoint* point)
{
  return append(timeline, point);
}

/** Have `tempo` in force from `tick` on, which is not before the last point. */
static HrStatus change(HrTimeline* timeline, HrTick tick, const HrTempo* tempo)
{
  const HrTimelinePoint origin = hr_timeline_origin();
  const HrTimelinePoint* const last =
      timeline->count ? &timeline->points[timeline->count - 1] : NULL;
  HrTimelinePoint point = carry(last ? last : &origin, tick);
  const HrTempo before = point.tempo;
  point.tempo = *tempo;
  if (tempo->beats_per_bar != before.beats_per_bar || tempo->beat_unit != before.beat_unit) {
    /* The bar that was cut short counts: round up. */
    point.bar -= floor_divide(point.bar_tick - tick, hr_tempo_bar_length(&before));
    point.bar_tick = tick;
  }
  if (!last && tick > 0) {
    /* What was in force before the first change stays so. */
    const HrStatus status = append(timeline, &origin);
    if (status) {
      return status;
    }
  }
  return append(timeline, &point);
}

HrStatus hr_timeline_apply(HrTimeline* timeline, const HrEvent* event)
{
  HrTempo tempo =
      timeline->count ? timeline->points[timeline->count - 1].tempo : hr_timeline_origin().tempo;
  if (event->kind != HR_EVENT_META || !hr_meta_apply(&tempo, event->bytes, event->size)) {
    return HR_OK;
  }
  return change(timeline, event->tick, &tempo);
}

void hr_timeline_span_tempo(const HrSpan* span, HrTempo* tempo)
{
  const HrNodeHeader* const node = span->node;
  HrSpan before = *span;
  HrEvent event;
  uint32_t index = 0;
  before.words = (const HrWord*)(node + 1);
  before.count = (uint32_t)(span->words - before.words);
  hr_node_tempo(node, tempo);
  while (hr_span_next(&before, &index, &event)) {
    if (event.kind == HR_EVENT_META) {
      hr_meta_apply(tempo, event.bytes, event.size);
    }
  }
}

static HrStatus read_span(HrTimeline* timeline, const HrSpan* span)
{
  HrStatus status = HR_OK;
  HrEvent event;
  uint32_t index = 0;
  if (!(span->node->flags & HR_NODE_HAS_LONG)) {
    return HR_OK; // A meta event takes more than one word
  }
  while (!status && hr_span_next(span, &index, &event)) {
    if (event.kind == HR_EVENT_META) {
      status = hr_timeline_apply(timeline, &event);
    }
  }
  return status;
}

HrStatus hr_timeline_read_some(HrTimeline* timeline, HrTxn* txn, HrBranchId branch, HrTick* from,
                               HrTick until, uint32_t nodes, uint64_t* damaged)
{
  HrPath path;
  HrTempo tempo;
  HrTick next = *from;
  bool after_damage = false;
  HrStatus status = hr_path_open(txn, branch, next, &path);
  for (uint32_t spans = 0; !status; ++spans) {
    HrSpan span = {0};
    if (spans % ASKED_NODES == ASKED_NODES / 2) { // Short paths are not worth the asking
      hr_path_will_need(txn, branch, next, ASKED_NODES + ASKED_NODES / 2);
    }
    status = hr_path_next_span(&path, &span);
    next = span.base;
    if (status == HR_ERR_DAMAGED && span.branch) {
      *damaged += 1;
      after_damage = true;
      status = HR_OK;
      continue;
    }
    const HrTick first = status ? 0 : span.base + span.words->offset;
    if (!status && first > until) {
      status = HR_END;
    }
    if (!status && after_damage) {
      hr_timeline_span_tempo(&span, &tempo);
      status = change(timeline, first, &tempo);
      after_damage = false;
    }
    if (!status && spans >= nodes && first > *from) {
      *from = first;
      break;
    }
    status = status ? status : read_span(timeline, &span);
  }
  hr_path_close(&path);
  return status;
}

HrStatus hr_timeline_read(HrTimeline* timeline, HrTxn* txn, HrBranchId branch, HrTick from,
                          HrTick until, uint64_t* damaged)
{
  const HrStatus status =
      hr_timeline_read_some(timeline, txn, branch, &from, until, UINT32_MAX, damaged);
  return status == HR_END ? HR_OK : status;
}

/** The last point at or before `tick`, or the first. */
static HrTimelinePoint find(const HrTimeline* timeline, HrTick tick)
{
  size_t low = 0;
  size_t high = timeline->count;
  while (high - low > 1) {
    const size_t middle = low + (high - low) / 2;
    if (timeline->points[middle].tick <= tick) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return timeline->count ? timeline->points[low] : hr_timeline_origin();
}

HrTimelinePoint hr_timeline_at(const HrTimeline* timeline, HrTick tick)
{
  const HrTimelinePoint point = find(timeline, tick);
  return carry(&point, tick);
}

HrTimelinePoint hr_timeline_before(const HrTimeline* timeline, HrTick tick)
{
  const HrTimelinePoint point = find(timeline, tick - 1);
  return carry(&point, tick);
}

HrPlace hr_timeline_place(const HrTimeline* timeline, HrTick tick)
{
  const HrTimelinePoint point = hr_timeline_at(timeline, tick);
  const HrTick bar_ticks = hr_tempo_bar_length(&point.tempo);
  const HrTick since = tick - point.bar_tick;
  const int64_t bars = floor_divide(since, bar_ticks);
  return (HrPlace){
      .bar = point.bar + bars,
      .beat = (int32_t)((since - bars * bar_ticks) / hr_tempo_beat_length(&point.tempo)) + 1,
      .seconds = point.seconds};
}

HrTick hr_timeline_tick(const HrTimeline* timeline, double bar, double beats)
{
  HrTimelinePoint point = hr_timeline_origin();
  for (size_t i = 0; i < timeline->count && (i == 0 || (double)timeline->points[i].bar <= bar);
       ++i) {
    point = timeline->points[i];
  }
  return point.bar_tick +
         llround((bar - (double)point.bar) * (double)hr_tempo_bar_length(&point.tempo) +
                 beats * (double)hr_tempo_beat_length(&point.tempo));
}

void hr_timeline_free(HrTimeline* timeline)
{
  free(timeline->points);
  *timeline = (HrTimeline){0};
}
