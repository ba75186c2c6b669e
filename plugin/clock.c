/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/clock.h"

#include <math.h>
#include <stdlib.h>

/** How far a host's beats may be off the frames: Ardour rounds to 1/1920 of a
 * quarter note, single-precision beats to less. Ticks: a 480th of a quarter. */
#define BEAT_TOLERANCE ((HrTick)4032)

/** While the tempo ramps, the beats run off the frames by at most this before
 * the host's word is taken: a 960th of a quarter, above all rounding. */
#define RAMP_TOLERANCE ((HrTick)2016)

/** Frames from the anchor, farther off than what is ever run; more of them could overflow. */
#define FAR 0x1p61

/** Frames a position may be off the predicted one without being a jump. */
#define FRAME_TOLERANCE 2

HR_REALTIME static double ticks_per_frame(const HrClock* clock)
{
  return clock->tempo.tempo * HR_TICKS_PER_QUARTER / (60.0 * clock->rate);
}

HR_REALTIME static void set_rate(HrClock* clock, double ticks)
{
  clock->ticks_per_frame = ticks;
  clock->frames_per_tick = 1.0 / ticks;
}

void hr_clock_init(HrClock* clock, double rate)
{
  *clock = (HrClock){.rate = rate, .speed = 1.0, .tempo = {HR_DEFAULT_TEMPO, 4, 4}};
  set_rate(clock, ticks_per_frame(clock));
}

HrTick hr_tempo_beat_length(const HrTempo* tempo)
{
  return (HrTick)HR_TICKS_PER_QUARTER * 4 / tempo->beat_unit;
}

HrTick hr_tempo_bar_length(const HrTempo* tempo)
{
  return hr_tempo_beat_length(tempo) * tempo->beats_per_bar;
}

HrTick hr_grid_ceiling(HrTick tick, HrTick origin, HrTick length)
{
  const HrTick beyond = (tick - origin) % length;
  return beyond > 0 ? tick + length - beyond : tick - beyond;
}

HrTick hr_clock_bar_ceiling(const HrClock* clock, HrTick tick, uint32_t bars)
{
  const HrTick length = hr_tempo_bar_length(&clock->tempo);
  const HrTick origin = clock->bar_tick - clock->bar % bars * length;
  return hr_grid_ceiling(tick, origin, length * bars);
}

HrTick hr_clock_tick(const HrClock* clock, int64_t frame)
{
  if (!clock->running) {
    return clock->anchor_tick;
  }
  return clock->anchor_tick +
         llrint((double)(frame - clock->anchor_frame) * clock->ticks_per_frame);
}

int64_t hr_clock_frame(const HrClock* clock, HrTick tick)
{
  const double frames = (double)(tick - clock->anchor_tick) * clock->frames_per_tick;
  return clock->anchor_frame + llrint(frames > FAR ? FAR : frames < -FAR ? -FAR : frames);
}

void hr_clock_set(HrClock* clock, int64_t frame, HrTick tick, bool running)
{
  clock->anchor_frame = frame;
  clock->anchor_tick = tick;
  clock->running = running;
  set_rate(clock, ticks_per_frame(clock));
}

void hr_clock_set_tempo(HrClock* clock, int64_t frame, HrTick tick, const HrTempo* tempo)
{
  if (tempo->beats_per_bar != clock->tempo.beats_per_bar ||
      tempo->beat_unit != clock->tempo.beat_unit) {
    const HrTick length = hr_tempo_bar_length(&clock->tempo);
    clock->bar += (hr_grid_ceiling(tick, clock->bar_tick, length) - clock->bar_tick) / length;
    clock->bar_tick = tick;
  }
  clock->tempo = *tempo;
  hr_clock_set(clock, frame, tick, clock->running);
}

/** What a position says of tempo and meter; 0 where it says nothing sane. */
HR_REALTIME static HrTempo read_tempo(const HrClock* clock, const HrPosition* p)
{
  HrTempo said = {0};
  if (p->has & HR_HAS_BEAT_UNIT && p->beat_unit > 0 && p->beat_unit <= 1024) {
    said.beat_unit = (uint16_t)p->beat_unit;
  }
  if (p->has & HR_HAS_BEATS_PER_BAR && p->beats_per_bar >= 1.0 && p->beats_per_bar <= 1024.0) {
    said.beats_per_bar = (uint16_t)lrint(p->beats_per_bar);
  }
  if (p->has & HR_HAS_TEMPO && p->tempo > 0.1 && p->tempo < 1e5) {
    said.tempo = p->tempo * 4.0 / (said.beat_unit ? said.beat_unit : clock->tempo.beat_unit);
  }
  return said;
}

/** Have `tempo` be as said. */
HR_REALTIME static void apply_said(HrTempo* tempo, const HrTempo* said)
{
  tempo->tempo = said->tempo > 0.0 ? said->tempo : tempo->tempo;
  tempo->beats_per_bar = said->beats_per_bar ? said->beats_per_bar : tempo->beats_per_bar;
  tempo->beat_unit = said->beat_unit ? said->beat_unit : tempo->beat_unit;
}

HrTempo hr_clock_said(const HrClock* clock, HrTempo tempo)
{
  apply_said(&tempo, &clock->said);
  return tempo;
}

/** Note what the position says of tempo and meter. Returns what they are by that. */
HR_REALTIME static HrTempo hear_tempo(HrClock* clock, const HrPosition* p)
{
  const HrTempo said = read_tempo(clock, p);
  HrTempo tempo = clock->tempo;
  apply_said(&clock->said, &said);
  apply_said(&tempo, &said);
  return tempo;
}

HR_REALTIME static bool same_tempo(const HrTempo* a, const HrTempo* b)
{
  return a->tempo == b->tempo && a->beats_per_bar == b->beats_per_bar &&
         a->beat_unit == b->beat_unit;
}

HR_REALTIME static bool within_bar(const HrClock* clock, const HrPosition* p, HrTick tick,
                                   HrTick bar_tick)
{
  if (!(p->has & HR_HAS_BAR_BEAT)) {
    return true;
  }
  const HrTick length = hr_tempo_bar_length(&clock->tempo);
  const double said = p->bar_beat * (double)hr_tempo_beat_length(&clock->tempo);
  const double off = fmod(fabs((double)(tick - bar_tick) - said), (double)length);
  return off <= (double)BEAT_TOLERANCE || (double)(length - BEAT_TOLERANCE) <= off;
}

/** Find the stretch that holds `frame`, if it was met before and still fits. */
HR_REALTIME static const HrTempoSegment* find_segment(const HrClock* clock, const HrPosition* p,
                                                      int64_t frame)
{
  const HrTempoSegment* best = NULL;
  const double rate = ticks_per_frame(clock);
  for (unsigned i = 0; i < clock->segment_count; ++i) {
    const HrTempoSegment* const s = &clock->segments[i];
    if (s->host_frame <= frame && (!best || s->host_frame > best->host_frame)) {
      best = s;
    }
  }
  if (!best || best->ticks_per_frame != rate ||
      best->bar_length != hr_tempo_bar_length(&clock->tempo)) {
    return NULL;
  }
  const HrTick tick = best->tick + llrint((double)(frame - best->host_frame) * rate);
  return within_bar(clock, p, tick, best->bar_tick) ? best : NULL;
}

HR_REALTIME static const HrTempoSegment* add_segment(HrClock* clock, HrTempoSegment segment)
{
  for (unsigned i = 0; i < clock->segment_count; ++i) {
    if (clock->segments[i].host_frame == segment.host_frame) {
      clock->segments[i] = segment;
      return &clock->segments[i];
    }
  }
  HrTempoSegment* const slot = &clock->segments[clock->segment_next];
  *slot = segment;
  clock->segment_next = (clock->segment_next + 1) % HR_TEMPO_SEGMENTS;
  if (clock->segment_count < HR_TEMPO_SEGMENTS) {
    ++clock->segment_count;
  }
  return slot;
}

/** Make out where on the timeline an unknown place is. */
HR_REALTIME static const HrTempoSegment* new_segment(HrClock* clock, const HrPosition* p,
                                                     int64_t frame)
{
  const double rate = ticks_per_frame(clock);
  const HrTick beat = hr_tempo_beat_length(&clock->tempo);
  const HrTick bar = hr_tempo_bar_length(&clock->tempo);
  const HrTick from_zero = llrint((double)frame * rate);
  HrTick said = from_zero;
  if (p->has & HR_HAS_BAR && p->has & HR_HAS_BAR_BEAT) {
    said = p->bar * bar + llrint(p->bar_beat * (double)beat);
  } else if (p->has & HR_HAS_BEAT) {
    said = llrint(p->beat * (double)beat);
  }
  HrTempoSegment segment = {.ticks_per_frame = rate, .bar_length = bar};
  if (llabs(said - from_zero) > BEAT_TOLERANCE) {
    segment.host_frame = frame;
    segment.tick = said;
    segment.bar_tick = p->has & HR_HAS_BAR_BEAT ? said - llrint(p->bar_beat * (double)beat) : 0;
    segment.bar = p->has & HR_HAS_BAR ? p->bar : 0;
  }
  return add_segment(clock, segment);
}

/** The tick at a host frame, as `segment` has it. */
HR_REALTIME static HrTick segment_tick(const HrTempoSegment* segment, int64_t host_frame)
{
  return segment->tick +
         llrint((double)(host_frame - segment->host_frame) * segment->ticks_per_frame);
}

HR_REALTIME static void anchor_to_segment(HrClock* clock, const HrTempoSegment* segment,
                                          int64_t frame, int64_t host_frame)
{
  clock->bar_tick = segment->bar_tick;
  clock->bar = segment->bar;
  set_rate(clock, segment->ticks_per_frame * clock->speed);
  if (clock->speed == 1.0) {
    clock->anchor_frame = frame - (host_frame - segment->host_frame);
    clock->anchor_tick = segment->tick;
  } else {
    clock->anchor_frame = frame;
    clock->anchor_tick = segment_tick(segment, host_frame);
  }
}

/** The bar line that the host says it is past, by so many beats. */
HR_REALTIME static HrTick said_bar_line(const HrClock* clock, const HrPosition* p, HrTick here)
{
  return here - llrint(p->bar_beat * (double)hr_tempo_beat_length(&clock->tempo));
}

/** Tempo, meter or speed changed under way: go on from where the clock is,
 * unless the host says, with a ramp behind it, that it is a little elsewhere. */
HR_REALTIME static void change_under_way(HrClock* clock, const HrPosition* p, int64_t frame,
                                         int64_t host_frame, HrTick here, HrTick old_bar_length)
{
  HrTempoSegment segment = {.host_frame = host_frame,
                            .tick = here,
                            .ticks_per_frame = ticks_per_frame(clock),
                            .bar_tick = clock->bar_tick,
                            .bar = clock->bar,
                            .bar_length = hr_tempo_bar_length(&clock->tempo)};
  if (p->has & HR_HAS_BAR_BEAT) {
    const HrTick line = said_bar_line(clock, p, here);
    const int64_t bars = llrint((double)(line - clock->bar_tick) / (double)old_bar_length);
    const HrTick known = clock->bar_tick + bars * old_bar_length;
    const HrTick off = known - line;
    segment.bar = p->has & HR_HAS_BAR ? p->bar : clock->bar + bars;
    segment.bar_tick = known;
    if (llabs(off) >= hr_tempo_beat_length(&clock->tempo) / 8) {
      segment.bar_tick = line; // The meter changed in mid-bar
    } else if (llabs(off) > RAMP_TOLERANCE) {
      segment.tick += off;
    }
  }
  anchor_to_segment(clock, add_segment(clock, segment), frame, host_frame);
}

HR_REALTIME static const HrTempoSegment* segment_at(HrClock* clock, const HrPosition* p,
                                                    int64_t host_frame)
{
  const HrTempoSegment* const known = find_segment(clock, p, host_frame);
  return known ? known : new_segment(clock, p, host_frame);
}

/** Note where the host stands, by its own tempo: the own clock may be at another. */
HR_REALTIME static unsigned note_cue(HrClock* clock, const HrPosition* p)
{
  const HrTempo own = clock->tempo;
  clock->tempo = hr_clock_said(clock, own);
  const HrTempoSegment* const segment = segment_at(clock, p, p->frame);
  clock->tempo = own;
  const HrTick cue = segment_tick(segment, p->frame);
  const bool moved = !clock->cued || cue != clock->cue_tick;
  clock->cued = true;
  clock->cue_tick = cue;
  if (clock->ever_rolled && !clock->running) { // Then it is where the clock goes
    clock->bar_tick = segment->bar_tick;
    clock->bar = segment->bar;
  }
  return moved ? HR_CLOCK_CUED : 0;
}

/** The host stands still: note where, and the tempo it will have. Where that changes the meter,
 * a bar begins. */
HR_REALTIME static unsigned stand(HrClock* clock, const HrPosition* p, bool was_rolling,
                                  HrTick here, int64_t frame)
{
  unsigned what = 0;
  clock->rolling = false;
  if (was_rolling) {
    hr_clock_set(clock, frame, here, false);
    what |= HR_CLOCK_STOPPED;
  }
  clock->host_frame = p->has & HR_HAS_FRAME ? p->frame : clock->host_frame;
  /* Its tempo is the one to play at, but not while a branch is heard at its own. */
  const HrTempo tempo = hear_tempo(clock, p);
  if (!clock->running && !same_tempo(&tempo, &clock->tempo)) {
    hr_clock_set_tempo(clock, frame, here, &tempo);
    what |= HR_CLOCK_TEMPO;
  }
  return p->has & HR_HAS_FRAME ? what | note_cue(clock, p) : what;
}

unsigned hr_clock_host(HrClock* clock, int64_t frame, const HrPosition* p)
{
  const bool was_rolling = clock->rolling;
  const bool rolls = p->has & HR_HAS_SPEED ? p->speed > 0.0 : was_rolling;
  const double speed = rolls && p->has & HR_HAS_SPEED ? p->speed : clock->speed;
  const HrTick here = hr_clock_tick(clock, frame);
  const HrTick bar_length = hr_tempo_bar_length(&clock->tempo);
  if (!rolls) {
    return stand(clock, p, was_rolling, here, frame);
  }

  const int64_t predicted =
      clock->host_frame + llrint((double)(frame - clock->host_at) * clock->speed);
  const int64_t host_frame = p->has & HR_HAS_FRAME ? p->frame : predicted;
  const bool jumped = was_rolling && llabs(host_frame - predicted) > FRAME_TOLERANCE;
  const HrTempo said = hear_tempo(clock, p);
  const bool tempo = !same_tempo(&said, &clock->tempo);
  const bool varied = speed != clock->speed;
  unsigned what = (was_rolling ? 0u : HR_CLOCK_STARTED) | (jumped ? HR_CLOCK_LOCATED : 0u) |
                  (tempo ? HR_CLOCK_TEMPO : 0u);
  clock->tempo = said;
  clock->speed = speed;
  clock->cued = false;
  clock->rolling = true;
  clock->running = true;
  clock->ever_rolled = true;
  if (what & (HR_CLOCK_STARTED | HR_CLOCK_LOCATED)) {
    anchor_to_segment(clock, segment_at(clock, p, host_frame), frame, host_frame);
  } else if (tempo || varied) {
    change_under_way(clock, p, frame, host_frame, here, bar_length);
  }
  clock->host_frame = host_frame;
  clock->host_at = frame;
  return what;
}
