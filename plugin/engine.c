/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/engine_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_BYTES 16384u
#define REQUEST_BYTES 65536u
#define NOTIFY_BYTES  65536u
#define STREAM_BYTES  ((uint64_t)256 << 10)

/** Seconds between wake-ups of the session when nothing is urgent. */
#define WORK_INTERVAL 0.1

/** Bytes of SysEx from which messages can be taken that stand within it: as many as a
 * port has room for. */
#define APART_BYTES 131072u

enum {
  SYSEX = 0xf0,
  QUARTER_FRAME = 0xf1,
  TIMING_CLOCK = 0xf8, ///< The first of the real-time messages
  ACTIVE_SENSING = 0xfe,
};

const uint32_t hr_setting_defaults[HR_SETTINGS] = {
    [HR_SET_RECORD] = true,
    [HR_SET_THRU] = true,
    [HR_SET_OVERDUB] = false,
    [HR_SET_STANDING] = HR_STANDING_SIDE,
    [HR_SET_SILENCE] = 2,
    [HR_SET_SNAP] = 80,
    [HR_SET_TEMPO_SOURCE] = HR_TEMPO_RECORDED,
};

/** Tell the world, at the end of a block. */
HR_REALTIME static void publish(HrEngine* engine)
{
  HrShared* const shared = &engine->shared;
  const HrRecorder* const recorder = &engine->recorder;
  const HrClock* const clock = &engine->clock;
  const HrTick position = hr_engine_tick(engine, 0);
  const bool waits = engine->pending.what != 0;
  const memory_order order = memory_order_relaxed;
  atomic_store_explicit(&shared->position, position, order);
  atomic_store_explicit(&shared->head, recorder->target.head, order);
  atomic_store_explicit(&shared->bar_tick, clock->bar_tick, order);
  atomic_store_explicit(&shared->tempo, clock->tempo.tempo, order);
  atomic_store_explicit(&shared->meter,
                        (uint32_t)clock->tempo.beats_per_bar << 16 | clock->tempo.beat_unit, order);
  atomic_store_explicit(&shared->rolling, clock->rolling, order);
  atomic_store_explicit(&shared->transport, clock->cued || clock->ever_rolled, order);
  atomic_store_explicit(&shared->running, clock->running, order);
  atomic_store_explicit(&shared->replay, engine->replay, order);
  atomic_store_explicit(
      &shared->pending_number,
      waits && engine->pending.what & HR_GO_SWITCH ? engine->pending.target.number : 0, order);
  atomic_store_explicit(&shared->pending_beats,
                        waits ? (double)(engine->pending_tick - position) /
                                    (double)hr_tempo_beat_length(&clock->tempo)
                              : 0.0,
                        order);
  hr_engine_publish_streams(engine);
  atomic_store_explicit(&shared->numbers_left, recorder->numbers.end - recorder->numbers.next,
                        order);
  atomic_store_explicit(&shared->recorded, recorder->recorded, order);
  atomic_store_explicit(&shared->replayed, engine->player.played, order);
  atomic_store_explicit(&shared->malformed, engine->malformed, order);
  atomic_store_explicit(&shared->unheard, engine->output.unheard, order);
  atomic_store_explicit(&shared->dropped, recorder->dropped, order);
  atomic_store_explicit(&shared->sends_done, engine->sends.done, order);
  atomic_store_explicit(&shared->capture, recorder->capture, memory_order_release);
  atomic_store_explicit(&shared->messages_done, hr_ring_read_position(engine->messages),
                        memory_order_release);
  atomic_store_explicit(&shared->frames, (uint64_t)engine->block, memory_order_release);
}

/* ---- Life -------------------------------------------------------------- */

HrEngine* hr_engine_new(double rate)
{
  HrEngine* const engine = malloc(sizeof *engine);
  if (!engine) {
    return NULL;
  }
  memset(engine, 0, sizeof *engine); // Written, unlike by calloc(): no page is left to fault
  hr_clock_init(&engine->clock, rate);
  engine->messages = hr_ring_new(MESSAGE_BYTES);
  engine->requests = hr_ring_new(REQUEST_BYTES);
  engine->notify = hr_ring_new(NOTIFY_BYTES);
  engine->apart = malloc(APART_BYTES);
  bool complete = engine->messages && engine->requests && engine->notify && engine->apart;
  for (unsigned i = 0; i < HR_STREAMS; ++i) {
    engine->streams[i] = hr_ring_new(STREAM_BYTES);
    complete = complete && engine->streams[i];
  }
  if (!hr_output_init(&engine->output) || !complete) {
    hr_engine_free(engine);
    return NULL;
  }
  memset(engine->apart, 0, APART_BYTES); // Now its pages are there
  hr_player_init(&engine->player, engine->streams, &engine->output);
  hr_chase_init(&engine->played);
  hr_sends_init(&engine->sends);
  memcpy(engine->settings, hr_setting_defaults, sizeof engine->settings);
  engine->enabled = true;
  engine->ahead.ring = engine->pending.stream.ring = HR_NO_STREAM;
  engine->pass_start = INT64_MIN;
  engine->recorder.target.number = 1;
  engine->recorder.target.empty = true;
  engine->recorder.target.fresh = true;
  engine->recorder.target.tempo = engine->clock.tempo;
  engine->recorder.target.tempo_assumed = true;
  publish(engine);
  return engine;
}

void hr_engine_free(HrEngine* engine)
{
  if (!engine) {
    return;
  }
  for (unsigned i = 0; i < HR_STREAMS; ++i) {
    hr_ring_free(engine->streams[i]);
  }
  hr_ring_free(engine->messages);
  hr_ring_free(engine->requests);
  hr_ring_free(engine->notify);
  free(engine->apart);
  hr_output_end(&engine->output);
  free(engine);
}

void hr_engine_finish(HrEngine* engine)
{
  if (engine->recorder.capture) {
    hr_recorder_close_held(&engine->recorder, hr_engine_tick(engine, 0));
  }
}

void hr_engine_activate(HrEngine* engine)
{
  engine->release_all = true;
}

bool hr_engine_request(HrEngine* engine, uint32_t type, const void* payload, uint32_t size)
{
  void* const room = hr_ring_begin(engine->requests, type, size);
  if (!room) {
    return false;
  }
  if (size) {
    memcpy(room, payload, size);
  }
  hr_ring_end(engine->requests);
  engine->work_wanted = true;
  return true;
}

/* ---- The block --------------------------------------------------------- */

/** The frame of the block at which the clock comes to `tick`; INT64_MIN while it stands. */
HR_REALTIME static int64_t due_frame(const HrEngine* engine, HrTick tick)
{
  return engine->clock.running ? hr_clock_frame(&engine->clock, tick) - engine->block : INT64_MIN;
}

/** Find the earliest of what is pending, the loop's end, the end of a silence and a
 * message that waits. */
HR_REALTIME static void find_turn(HrEngine* engine)
{
  HrAction turn = {.kind = HR_ACTION_NONE, .tick = INT64_MAX, .frame = INT64_MAX};
  if (engine->pending.what) {
    turn.kind = HR_ACTION_TAKE_EFFECT;
    turn.tick = engine->pending_tick;
  }
  if (hr_engine_looping(engine) && hr_engine_lap_end(engine) < turn.tick) {
    turn.kind = HR_ACTION_END_LAP;
    turn.tick = hr_engine_lap_end(engine);
  }
  const HrTick silence = hr_engine_silence_tick(engine);
  if (silence < turn.tick) {
    turn.kind = HR_ACTION_SILENCE;
    turn.tick = silence;
  }
  const HrSendMessage* const sent = hr_sends_first(&engine->sends);
  if (sent && engine->clock.running && sent->at < turn.tick) {
    turn.kind = HR_ACTION_SEND;
    turn.tick = sent->at;
  }
  if (turn.kind != HR_ACTION_NONE) {
    turn.frame = due_frame(engine, turn.tick);
  }
  engine->turn = turn;
}

/** Find what is next: that, or the next event of the music. On one tick, commands and
 * the loop come before what they cut off. */
HR_REALTIME static void find_next(HrEngine* engine)
{
  const HrPlayer* const player = &engine->player;
  uint64_t after = 0;
  const HrRecord* const record = engine->clock.running && engine->enabled && engine->replay
                                     ? hr_player_next(player, &after)
                                     : NULL;
  if (record) {
    const HrStreamEvent* const event = (const HrStreamEvent*)(record + 1);
    const HrTick tick = hr_player_tick(player, event);
    const bool late = event->lap < player->lap;
    if (late || (event->lap == player->lap && tick < engine->turn.tick)) {
      const int64_t frame = late ? INT64_MIN : due_frame(engine, tick);
      engine->next = (HrAction){HR_ACTION_PLAY, tick, frame, record, after};
      return;
    }
  }
  engine->next = engine->turn;
}

/** Devices send these for as long as they are on, whether anybody plays or not. */
HR_REALTIME static bool is_music(uint8_t status)
{
  return status != TIMING_CLOCK && status != QUARTER_FRAME && status != ACTIVE_SENSING;
}

/** Record a message that is music. */
HR_REALTIME static void keep(HrEngine* engine, const uint8_t* bytes, uint32_t size)
{
  if (!is_music(bytes[0])) {
    return;
  }
  if (hr_engine_records(engine)) {
    hr_engine_record(engine, engine->cursor, bytes, size);
  } else {
    engine->unkept = true;
  }
}

/** Put out and keep, at the cursor, a message that somebody sends. */
HR_REALTIME static void send_now(HrEngine* engine, const HrSendMessage* message)
{
  const uint8_t* const bytes = (const uint8_t*)(message + 1);
  engine->recorder.sender = (const char*)bytes + message->size;
  engine->recorder.sender_size = message->author_size;
  keep(engine, bytes, message->size);
  engine->recorder.sender = NULL;
  hr_output_put(&engine->output, engine->cursor, bytes, message->size);
  hr_sounding_follow(&engine->sends.sounding, bytes, message->size);
}

void hr_engine_leave_sends(HrEngine* engine, uint32_t frame, HrTick tick)
{
  uint8_t bytes[3];
  while (hr_sounding_release(&engine->sends.sounding, bytes)) {
    hr_output_put(&engine->output, frame, bytes, sizeof bytes);
  }
  hr_sends_forget(&engine->sends, tick);
}

HR_REALTIME static void act(HrEngine* engine, uint32_t frame, const HrAction* action)
{
  switch (action->kind) {
  case HR_ACTION_TAKE_EFFECT:
    hr_engine_take_effect(engine, frame, action->tick);
    break;
  case HR_ACTION_END_LAP:
    hr_engine_end_lap(engine, frame);
    break;
  case HR_ACTION_SILENCE:
    hr_engine_park(engine, frame, hr_clock_bar_ceiling(&engine->clock, engine->last_event + 1, 1));
    break;
  case HR_ACTION_SEND:
    send_now(engine, hr_sends_first(&engine->sends));
    hr_sends_drop_first(&engine->sends);
    break;
  case HR_ACTION_PLAY:
    hr_engine_play_event(engine, frame, action->record, action->after);
    break;
  case HR_ACTION_NONE:
    break;
  }
}

/** Do what happens by itself before the frame `to`, and find what is next. A message
 * that is played leaves all else where it was. */
HR_REALTIME static void act_until(HrEngine* engine, uint32_t to)
{
  if (engine->calm < 0 || engine->next.kind != HR_ACTION_PLAY) {
    find_turn(engine);
    find_next(engine);
  }
  while (engine->next.frame < (int64_t)to) {
    const HrAction action = engine->next;
    const bool message = action.kind == HR_ACTION_PLAY && action.record->type == HR_STREAM_MIDI;
    if (action.frame > (int64_t)engine->cursor) {
      engine->cursor = (uint32_t)action.frame;
    }
    act(engine, engine->cursor, &action);
    if (!message) {
      find_turn(engine);
    }
    find_next(engine);
  }
  engine->calm = engine->next.frame;
}

/** Render up to the frame `to`: everything that replay, commands and the clock do before it. */
HR_REALTIME static inline void advance(HrEngine* engine, uint32_t to)
{
  if (to > engine->calm) {
    act_until(engine, to);
  }
  engine->cursor = to;
}

void hr_engine_begin(HrEngine* engine, uint32_t frames, bool enabled, HrSink sink)
{
  engine->frames = frames;
  engine->cursor = 0;
  engine->calm = -1;
  hr_output_begin(&engine->output, frames, sink);
  if (engine->release_all || (engine->enabled && !enabled)) {
    hr_player_release(&engine->player, 0);
    hr_engine_leave_sends(engine, 0, INT64_MAX);
    hr_recorder_close_held(&engine->recorder, hr_engine_tick(engine, 0));
    engine->release_all = false;
  }
  const bool again = enabled && !engine->enabled && engine->replay;
  engine->enabled = enabled;
  if (again) {
    hr_engine_ask(engine, hr_engine_tick(engine, 0));
    hr_engine_look_ahead(engine, engine->host_place);
  }
  hr_engine_take_messages(engine);
  hr_engine_send_wishes(engine);
}

/** The host started or jumped: what sounds, and is held, ends at `before`, and
 * the music goes on at `here`, as foreseen if possible. */
HR_REALTIME_SELDOM static void jump(HrEngine* engine, unsigned what, HrTick before, HrTick here)
{
  const bool starts = what & HR_CLOCK_STARTED;
  const bool round = !starts && here < before;
  hr_player_release(&engine->player, engine->cursor);
  hr_engine_leave_sends(engine, engine->cursor, here);
  hr_recorder_close_held(&engine->recorder, before);
  engine->overdubbing = engine->layered = engine->over = false;
  engine->straight = false;
  hr_engine_play_nothing(engine);
  if (starts && engine->side) {
    hr_engine_return_home(engine, here);
  }
  if (!round) {
    hr_engine_note_start(engine, here);
  } else if (hr_engine_note_pass(engine, before, here)) {
    hr_engine_record_again(engine);
  }
  engine->recent_count = 0;
  if (engine->replay && engine->enabled && !hr_engine_play_ahead(engine, here)) {
    hr_engine_ask(engine, here);
  }
  hr_engine_look_ahead(engine, here);
}

HR_REALTIME_SELDOM static void stop(HrEngine* engine, HrTick before)
{
  hr_player_release(&engine->player, engine->cursor);
  hr_engine_leave_sends(engine, engine->cursor, before);
  hr_recorder_close_held(&engine->recorder, before);
  engine->overdubbing = engine->layered = engine->over = false;
  engine->straight = false;
  engine->pass_start = INT64_MIN;
  hr_engine_play_nothing(engine);
  hr_engine_forget_ahead(engine);
}

/** The host, which stands, is moved while somebody plays beside the song on the own clock: that
 * is over. */
HR_REALTIME_SELDOM static void leave_side(HrEngine* engine, const HrPosition* position)
{
  const HrClock* const clock = &engine->clock;
  const HrTick here = hr_engine_tick(engine, engine->cursor);
  if (position->has & HR_HAS_FRAME && position->frame != clock->host_frame &&
      !hr_player_plays(&engine->player)) {
    hr_engine_return_home(engine, here);
    hr_engine_park(engine, engine->cursor, here);
  }
}

void hr_engine_position(HrEngine* engine, uint32_t frame, const HrPosition* position)
{
  HrClock* const clock = &engine->clock;
  const uint32_t last = frame < engine->frames ? frame : engine->frames;
  advance(engine, last > engine->cursor ? last : engine->cursor);
  if (engine->side && clock->running && !clock->rolling) {
    leave_side(engine, position);
  }
  const HrTick before = hr_engine_tick(engine, engine->cursor);
  const unsigned what = hr_clock_host(clock, hr_engine_frame(engine, engine->cursor), position);
  const HrTick here = hr_engine_tick(engine, engine->cursor);
  engine->calm = -1;
  if (what & (HR_CLOCK_STARTED | HR_CLOCK_LOCATED)) {
    jump(engine, what, before, here);
  } else if (what & HR_CLOCK_STOPPED) {
    stop(engine, before);
  }
  if (what & HR_CLOCK_CUED && clock->ever_rolled && !clock->running) {
    if (engine->side) {
      hr_engine_return_home(engine, here); // The host was moved: what is played next belongs there
    }
    hr_engine_park(engine, engine->cursor, clock->cue_tick);
  }
  if (what & (HR_CLOCK_STOPPED | HR_CLOCK_CUED)) {
    hr_engine_look_ahead(engine, clock->cued ? clock->cue_tick : here);
  }
  if (what & HR_CLOCK_TEMPO && clock->rolling && hr_engine_records(engine)) {
    hr_recorder_tempo(&engine->recorder, here, &clock->tempo);
  }
  if (engine->pending.what && what) {
    hr_engine_schedule(engine, engine->cursor);
  }
}

/** Real-time messages may stand within SysEx, by MIDI 1.0: take them first, then the SysEx
 * without them. False if what is left is no message. */
HR_REALTIME_SELDOM static bool take_apart(HrEngine* engine, uint32_t frame, const uint8_t* bytes,
                                          uint32_t size)
{
  uint32_t left = 0;
  if (!size || bytes[0] != SYSEX || size > APART_BYTES) {
    return false;
  }
  for (uint32_t i = 0; i < size; ++i) {
    if (bytes[i] < TIMING_CLOCK) {
      engine->apart[left++] = bytes[i];
    }
  }
  if (!hr_midi_valid(engine->apart, left)) {
    return false;
  }
  for (uint32_t i = 0; i < size; ++i) {
    if (bytes[i] >= TIMING_CLOCK) {
      hr_engine_midi(engine, frame, &bytes[i], 1);
    }
  }
  hr_engine_midi(engine, frame, engine->apart, left);
  return true;
}

void hr_engine_midi(HrEngine* engine, uint32_t frame, const uint8_t* bytes, uint32_t size)
{
  const uint32_t last = engine->frames ? engine->frames - 1 : 0;
  const uint32_t at = frame < last ? frame : last; // Some hosts stamp one past the block
  if (!hr_midi_valid(bytes, size)) {
    engine->malformed += !take_apart(engine, frame, bytes, size);
    return;
  }
  advance(engine, at > engine->cursor ? at : engine->cursor);
  /* First: a replay that ends with it may hold the same key, and what a fork begins with was
   * heard before it. */
  keep(engine, bytes, size);
  if (engine->settings[HR_SET_THRU] || !engine->enabled) {
    hr_output_put(&engine->output, engine->cursor, bytes, size);
  }
  if ((bytes[0] & 0xe0) != 0x80) { // No note
    hr_chase_follow(&engine->played, bytes, size);
  }
}

void hr_engine_send(HrEngine* engine, const HrSendMessage* message)
{
  if (message->at == HR_SEND_NOW) {
    send_now(engine, message);
  } else {
    hr_sends_add(&engine->sends, message);
    engine->calm = -1;
  }
}

void hr_engine_poll(HrEngine* engine)
{
  engine->calm = -1;
  hr_engine_take_messages(engine);
}

void hr_engine_end(HrEngine* engine)
{
  advance(engine, engine->frames);
  hr_engine_watch_loop(engine);
  engine->block += engine->frames;
  publish(engine);
}

bool hr_engine_wants_work(HrEngine* engine, bool synchronous)
{
  HrRecorder* const recorder = &engine->recorder;
  const uint64_t now = (uint64_t)engine->block;
  const uint64_t interval = (uint64_t)(engine->clock.rate * WORK_INTERVAL);
  const bool urgent = engine->work_wanted || recorder->moved;
  const bool idle =
      !urgent && !engine->replay && !(recorder->capture && hr_ring_used(&recorder->capture->ring));
  /* What was asked for in vain is asked for again: some hosts lose a message
   * and call that success. */
  if (!synchronous && (idle || (!urgent && now - engine->work_frame < interval))) {
    return false;
  }
  engine->work_wanted = false;
  recorder->moved = false;
  engine->work_frame = now;
  return true;
}
