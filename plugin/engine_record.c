/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What is kept, and on which branch. */

#include "plugin/engine_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void hr_engine_park(HrEngine* engine, uint32_t frame, HrTick tick)
{
  HrClock* const clock = &engine->clock;
  const bool follows = clock->ever_rolled && clock->cued && !engine->side;
  const HrTick at = follows ? clock->cue_tick : tick;
  hr_engine_leave_sends(engine, frame, at);
  hr_clock_set(clock, hr_engine_frame(engine, frame), at, false);
  engine->straight = false;
}

HrTick hr_engine_resume_tick(const HrEngine* engine, const HrTarget* target)
{
  return target->fresh ? target->head : hr_clock_bar_ceiling(&engine->clock, target->head + 1, 1);
}

void hr_engine_update_target(HrTarget* target, const HrTarget* left, HrTick tick)
{
  if (target->number == left->number) {
    *target = *left;
  }
  target->head = tick > target->head ? tick : target->head;
  target->empty = false;
}

bool hr_engine_fork(HrEngine* engine, HrTick tick, uint32_t number, bool carry,
                    HrCaptureCause cause)
{
  const HrTarget left = engine->recorder.target;
  if (!hr_recorder_fork(&engine->recorder, tick, number, carry, cause)) {
    return false;
  }
  if (engine->pending.what && !(engine->pending.what & HR_GO_SWITCH)) {
    hr_engine_ask_later(engine); // What it has is of the branch left
  }
  hr_engine_update_target(&engine->pending.target, &left, tick);
  engine->calm = -1;
  hr_engine_update_target(&engine->home, &left, tick);
  return true;
}

void hr_engine_go_to(HrEngine* engine, HrTick tick, const HrTarget* target, HrCaptureCause cause)
{
  hr_recorder_switch(&engine->recorder, tick, target, cause);
  engine->side = engine->over = false;
  engine->straight = false;
  hr_engine_look_ahead_again(engine);
}

/** The new branch has the beginning of what sounds in its past: it gets the end, too. */
HR_REALTIME static void record_releases(HrEngine* engine)
{
  HrRecorder* const recorder = &engine->recorder;
  HrSounding sounding = engine->player.sounding;
  uint8_t bytes[3];
  while (hr_sounding_release(&sounding, bytes)) {
    hr_recorder_append(recorder, recorder->target.head, &recorder->target.tempo, bytes,
                       sizeof bytes);
  }
}

/** A loop is heard along a host, which is elsewhere: it has the sound of its own place. */
HR_REALTIME static bool hears_elsewhere(const HrEngine* engine)
{
  return engine->clock.rolling && hr_engine_looping(engine);
}

/** Play over a branch that goes round: when it begins again, it is the current one again. */
HR_REALTIME static void note_over(HrEngine* engine, const HrTarget* looped)
{
  if (!engine->over && !engine->overdubbing && !engine->side && !engine->clock.rolling &&
      hr_engine_looping(engine)) {
    engine->home = *looped;
    engine->over = true;
  }
}

void hr_engine_leave_replay(HrEngine* engine, uint32_t frame)
{
  if (!engine->replay) {
    return;
  }
  const bool plays = hr_player_plays(&engine->player);
  engine->overdubbing = plays && engine->settings[HR_SET_OVERDUB];
  if (engine->overdubbing) {
    engine->layered = engine->layered || (hr_engine_looping(engine) && !engine->clock.rolling);
    hr_engine_look_ahead_again(engine);
    return;
  }
  if (hears_elsewhere(engine)) {
    return; // Nothing that sounds has its beginning in the record
  }
  record_releases(engine);
  if (plays && hr_engine_looping(engine)) {
    return;
  }
  hr_player_release(&engine->player, frame);
  hr_engine_play_nothing(engine);
  hr_engine_look_ahead_again(engine);
  if (!engine->clock.rolling) {
    hr_engine_replay_is_off(engine);
  }
}

/** The state of the synthesizer that what is played now is heard with. */
HR_REALTIME static const HrChase* state_played_with(const HrEngine* engine)
{
  const bool put_out = engine->settings[HR_SET_THRU] || engine->recorder.sender;
  return put_out ? &engine->output.heard : &engine->played;
}

/** Say which sound what is played at `tick` has. */
HR_REALTIME_SELDOM static void say_sound(HrEngine* engine, HrTick tick)
{
  hr_recorder_state(&engine->recorder, tick, &engine->clock.tempo, state_played_with(engine));
  engine->turned = engine->player.turned;
  engine->unsaid = engine->unkept = false;
}

/** Fork where somebody plays. Unless the music there is `heard`, which has the synthesizer in
 * its state, what is played sounds with what was last played or heard, be that from later on. */
HR_REALTIME_SELDOM static bool fork_by_playing(HrEngine* engine, HrTick tick, HrCaptureCause cause,
                                               bool heard)
{
  if (!hr_engine_fork(engine, tick, 0, false, cause)) {
    return false;
  }
  if (!heard) {
    say_sound(engine, tick);
  }
  engine->straight = true;
  return true;
}

/** Where the synthesizer comes from another branch or place, or replay has turned it, the sound
 * is said with the next event. While the music of the place is replayed it is that of the music. */
HR_REALTIME static bool is_sound_due(HrEngine* engine)
{
  const HrPlayer* const player = &engine->player;
  engine->unsaid =
      engine->unsaid || engine->unkept || !engine->straight || engine->turned != player->turned;
  const bool heard = engine->replay && hr_player_plays(player) && !hears_elsewhere(engine);
  return engine->unsaid && !heard;
}

/** Play on while the host stands at `tick`: one tick later, much less than a
 * frame, so that the ends of notes at `tick` are in the new branch's past. */
HR_REALTIME static void begin_side_branch(HrEngine* engine, HrTick tick)
{
  HrTarget home = engine->recorder.target;
  if (fork_by_playing(engine, tick, (HrCaptureCause){HR_CAUSE_PLAYING, 0, 0}, false)) {
    home.head = home.head > tick ? home.head : tick;
    home.empty = false;
    engine->home = home;
    engine->side = true;
  }
}

/** Start the own clock, for somebody plays: at `tick`, or where the settings say. */
HR_REALTIME_SELDOM static HrTick start_own_clock(HrEngine* engine, uint32_t frame, HrTick tick)
{
  HrClock* const clock = &engine->clock;
  const HrTarget* const target = &engine->recorder.target;
  if (clock->ever_rolled && !engine->side) {
    if (engine->settings[HR_SET_STANDING] == HR_STANDING_SIDE) {
      begin_side_branch(engine, ++tick);
    } else if (tick < target->head) {
      tick = hr_engine_resume_tick(engine, target);
    }
  }
  engine->calm = -1;
  hr_clock_set(clock, hr_engine_frame(engine, frame), tick, true);
  return tick;
}

/** Playing before the head: on a branch of its own. Each time round a loop
 * begins at its start, unless the music there was heard and so belongs to it. */
HR_REALTIME_SELDOM static bool fork_from_past(HrEngine* engine, uint32_t frame, HrTick tick)
{
  const bool pass = engine->pass_start != INT64_MIN;
  const bool heard = engine->replay && hr_player_plays(&engine->player);
  const HrCaptureCause cause = {pass ? HR_CAUSE_PASS : HR_CAUSE_PLAYING, pass ? engine->pass : 0,
                                0};
  const HrTick at = pass && !heard && engine->pass_start < tick ? engine->pass_start : tick;
  const bool elsewhere = hears_elsewhere(engine);
  const HrTarget left = engine->recorder.target;
  if (!fork_by_playing(engine, at, cause, heard && !elsewhere)) {
    return false;
  }
  hr_engine_leave_replay(engine, frame);
  engine->turned = engine->player.turned; // Which is in the record as well
  engine->unsaid = false;
  if (engine->unkept && !engine->overdubbing) {
    say_sound(engine, at);
  }
  note_over(engine, &left);
  return true;
}

bool hr_engine_records(const HrEngine* engine)
{
  return engine->enabled && engine->settings[HR_SET_RECORD];
}

/** Hosts end notes when they stop and locate: that ends what is held in the
 * record, where the branch is, and starts nothing. */
HR_REALTIME_SELDOM static void record_release(HrEngine* engine, HrTick tick, const uint8_t* bytes,
                                              uint32_t size)
{
  HrRecorder* const recorder = &engine->recorder;
  HrSounding held = recorder->held;
  if (hr_sounding_follow(&held, bytes, size)) {
    const HrTick head = recorder->target.head;
    hr_recorder_append(recorder, tick > head ? tick : head, &recorder->target.tempo, bytes, size);
  }
}

/** Keep a message at `tick`, on a branch that it begins if the tick is past. */
HR_REALTIME static void record_at(HrEngine* engine, uint32_t frame, HrTick tick,
                                  const uint8_t* bytes, uint32_t size)
{
  HrRecorder* const recorder = &engine->recorder;
  const HrTarget* const target = &recorder->target;
  const bool first = target->empty;
  const bool past = tick < target->head && !target->empty;
  const bool sound = is_sound_due(engine);
  if (past && (engine->straight || !fork_from_past(engine, frame, tick))) {
    /* Time goes on, the host's beats were a little off; or no room is left for
     * a new branch. It is kept all the same. */
    tick = target->head;
  } else if (!past && sound) {
    say_sound(engine, tick);
  }
  hr_recorder_append(recorder, tick, &engine->clock.tempo, bytes, size);
  if (first && !target->empty) { // Until now there may have been no tree to read from
    hr_engine_look_ahead(engine, engine->host_place);
  }
  engine->last_event = tick;
  engine->straight = true;
  if (engine->clock.rolling && size <= sizeof engine->recent->bytes) {
    HrRecent* const recent = &engine->recent[engine->recent_count++ % HR_RECENT];
    *recent = (HrRecent){.tick = tick, .size = (uint8_t)size};
    hr_midi_copy(recent->bytes, bytes, size);
  }
}

void hr_engine_record(HrEngine* engine, uint32_t frame, const uint8_t* bytes, uint32_t size)
{
  const HrTarget* const target = &engine->recorder.target;
  HrClock* const clock = &engine->clock;
  HrTick tick = hr_engine_tick(engine, frame);
  const bool past = tick < target->head && !target->empty;
  if ((!clock->running || past) && hr_sound_kind(bytes, size) == HR_SOUND_RELEASE) {
    record_release(engine, tick, bytes, size);
    return;
  }
  if (clock->ever_rolled && !clock->rolling &&
      engine->settings[HR_SET_STANDING] == HR_STANDING_OFF) {
    engine->unkept = true;
    return;
  }
  if (!clock->running) {
    tick = start_own_clock(engine, frame, tick);
  }
  if (engine->settings[HR_SET_OVERDUB] && hears_elsewhere(engine)) {
    engine->overdubbing = true; // Nothing forks where the clock runs straight on
  }
  record_at(engine, frame, tick, bytes, size);
}

/** The beat nearest to `tick`. */
HR_REALTIME static HrTick beat_near(const HrEngine* engine, HrTick tick)
{
  const HrTick beat = hr_tempo_beat_length(&engine->clock.tempo);
  return hr_grid_ceiling(tick - beat / 2, engine->clock.bar_tick, beat);
}

void hr_engine_note_start(HrEngine* engine, HrTick here)
{
  engine->roll_beat = beat_near(engine, here);
  engine->pass_start = INT64_MIN;
}

bool hr_engine_note_pass(HrEngine* engine, HrTick before, HrTick here)
{
  const HrClock* const clock = &engine->clock;
  const HrTick length = before - here;
  const HrTick frame = llrint(clock->ticks_per_frame) + 1;
  const HrTick beat = beat_near(engine, here);
  const HrTick beats = beat_near(engine, clock->bar_tick + length) - clock->bar_tick;
  const bool again =
      engine->pass_start != INT64_MIN && llabs(engine->pass_length - length) <= frame;
  /* Hosts tell of a jump with their next block, and so of a place beyond the loop's start. */
  const bool late = llabs(beats - length) <= frame && here - beat > frame &&
                    (double)(here - beat) <= HR_BLOCK_MAX * clock->ticks_per_frame;
  engine->pass = again ? engine->pass + 1 : 2;
  engine->pass_length = length;
  engine->pass_start = late && clock->rolling ? beat : here;
  return late && (again || beat == engine->roll_beat);
}

void hr_engine_record_again(HrEngine* engine)
{
  const HrTick end = engine->pass_start + engine->pass_length;
  const uint32_t count = engine->recent_count;
  for (uint32_t i = count > HR_RECENT ? count - HR_RECENT : 0; i < count; ++i) {
    const HrRecent recent = engine->recent[i % HR_RECENT];
    if (recent.tick >= end && hr_engine_records(engine)) {
      record_at(engine, engine->cursor, recent.tick - engine->pass_length, recent.bytes,
                recent.size);
    }
  }
}

void hr_engine_return_home(HrEngine* engine, HrTick tick)
{
  const HrTarget left = engine->recorder.target;
  const HrTarget home = engine->home;
  hr_engine_go_to(engine, tick, &home, (HrCaptureCause){HR_CAUSE_QUIET, 0, 0});
  hr_engine_update_target(&engine->pending.target, &left, tick);
}

HrTick hr_engine_silence_tick(const HrEngine* engine)
{
  const HrClock* const clock = &engine->clock;
  const HrTick bars = engine->settings[HR_SET_SILENCE];
  if ((engine->replay && hr_player_plays(&engine->player)) || !bars || clock->rolling ||
      !clock->running || hr_sounding_any(&engine->recorder.held) || engine->sends.count) {
    return INT64_MAX;
  }
  return hr_clock_bar_ceiling(clock, engine->last_event, 1) +
         bars * hr_tempo_bar_length(&clock->tempo);
}
