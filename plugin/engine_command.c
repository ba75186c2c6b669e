/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What the session sends: what happens at once, and what waits for its time. */

#include "plugin/engine_parts.h"

#include <math.h>
#include <string.h>

void hr_engine_publish_streams(HrEngine* engine)
{
  HrShared* const shared = &engine->shared;
  const uint32_t playing = engine->player.stream.ring;
  const uint32_t waiting = engine->pending.what ? engine->pending.stream.ring : HR_NO_STREAM;
  const uint32_t used = 1u << playing | 1u << waiting | 1u << engine->ahead.ring;
  atomic_store_explicit(&shared->playing, playing, memory_order_release);
  atomic_store_explicit(&shared->streams, used & ((1u << HR_STREAMS) - 1), memory_order_release);
}

/** The tick so many milliseconds of playing before `tick`. */
HR_REALTIME static HrTick earlier(const HrEngine* engine, HrTick tick, uint32_t milliseconds)
{
  return tick - llrint(engine->clock.ticks_per_frame * engine->clock.rate * milliseconds / 1000.0);
}

void hr_engine_schedule(HrEngine* engine, uint32_t frame)
{
  const HrClock* const clock = &engine->clock;
  const HrGoMessage* const go = &engine->pending;
  const HrTick now = hr_engine_tick(engine, frame);
  engine->pending_tick = engine->pending_from = now;
  if (!clock->running || go->quantum == HR_QUANTUM_NOW) {
    return;
  }
  const bool beats = go->quantum == HR_QUANTUM_BEAT;
  const uint32_t bars = go->quantum == HR_QUANTUM_BAR ? go->bars : 1;
  const HrTick length =
      beats ? hr_tempo_beat_length(&clock->tempo) : hr_tempo_bar_length(&clock->tempo) * bars;
  HrTick line = go->quantum == HR_QUANTUM_LOOP_END && hr_engine_looping(engine)
                    ? hr_engine_lap_end(engine)
                : beats ? hr_grid_ceiling(now, clock->bar_tick, length)
                        : hr_clock_bar_ceiling(clock, now, bars);
  engine->pending_tick = engine->pending_from = line;
  if (go->quantum != HR_QUANTUM_LOOP_END && line > now &&
      line - length >= earlier(engine, now, engine->settings[HR_SET_SNAP])) {
    engine->pending_tick = now;
    engine->pending_from = line - length;
  }
}

HR_REALTIME static void start_replay(HrEngine* engine, uint32_t frame, HrGoMessage* go, HrTick tick,
                                     HrTick from)
{
  HrClock* const clock = &engine->clock;
  engine->replay = true;
  if (go->what & HR_GO_FOLLOW && !clock->rolling) {
    hr_engine_look_ahead(engine, engine->host_place);
  } else if (go->what & HR_GO_LOCATE && !clock->rolling) {
    const HrTick since = go->what & HR_GO_PHASE ? tick - go->stream.at : 0;
    const HrTick there = go->stream.tick + since;
    clock->tempo = go->stream.tempo;
    if (go->what & HR_GO_BARS) {
      clock->bar_tick = go->bar_tick;
      clock->bar = go->bar;
    }
    hr_engine_leave_sends(engine, frame, there);
    hr_clock_set(clock, hr_engine_frame(engine, frame), there, true);
    go->stream.at = go->stream.tick;
    if (go->stream.ring == HR_NO_STREAM) {
      hr_engine_ask(engine, there);
    } else {
      hr_engine_play(engine, &go->stream, there);
    }
    engine->last_event = there;
    engine->straight = false;
    engine->pass_start = hr_engine_looping(engine) ? hr_engine_loop(engine)->start : INT64_MIN;
    engine->pass = 1;
  } else if (go->stream.ring != HR_NO_STREAM && go->stream.at <= from) {
    hr_engine_play(engine, &go->stream, from);
  } else {
    hr_player_drop(&engine->player, &go->stream);
    hr_engine_ask(engine, tick);
  }
}

/** Go on at the tempo and in the meter of `target`: where it knows none, as the host said;
 * where a fork in the past has left them open, as before. */
HR_REALTIME static void take_tempo(HrClock* clock, const HrTarget* target)
{
  if (target->tempo_assumed) {
    clock->tempo = hr_clock_said(clock, target->tempo);
    if (!clock->ever_rolled) {
      clock->bar_tick = 0;
      clock->bar = 0;
    }
  } else if (target->tempo.tempo > 0.0) {
    clock->tempo = target->tempo;
  }
}

/** Wait at the end of the branch to be played on. Its bars are counted from its first one in
 * its last meter, until the session has read in which meters it was played. */
HR_REALTIME_SELDOM static void wait_at_end(HrEngine* engine, uint32_t frame, HrTick tick)
{
  const HrTarget* const target = &engine->recorder.target;
  HrBarsRequest* const request = &engine->bars;
  *request = (HrBarsRequest){request->request + 1, target->number, target->head};
  hr_engine_park(engine, frame, tick);
  engine->bars_wait = engine->clock.anchor_tick;
  if (!target->tempo_assumed && !engine->clock.ever_rolled) { // Else there are none, or the host's
    hr_engine_request(engine, HR_REQUEST_BARS, request, sizeof *request);
  }
}

/** Where the clock, which stands, waits once the bars are known: at the end still, if it waits
 * there, and never in the past. */
HR_REALTIME static HrTick wait_tick(const HrEngine* engine)
{
  const HrClock* const clock = &engine->clock;
  const HrTick at = clock->anchor_tick;
  const HrTick end = engine->bars.tick;
  const HrTick head = engine->recorder.target.head;
  if (at <= end) {
    return at; // A branch that has just begun
  }
  const HrTick from = at == engine->bars_wait ? end + 1 : at;
  return hr_clock_bar_ceiling(clock, from > head ? from : head, 1);
}

/** The bars of the music that the own clock goes on from. What waits for a line waits for
 * these. */
HR_REALTIME_SELDOM static void take_bars(HrEngine* engine, const HrBarsMessage* message)
{
  HrClock* const clock = &engine->clock;
  const HrTempo tempo = clock->tempo;
  const bool same_meter = tempo.beats_per_bar == message->tempo.beats_per_bar &&
                          tempo.beat_unit == message->tempo.beat_unit;
  if (message->request != engine->bars.request || clock->ever_rolled ||
      (clock->running && !same_meter)) {
    return;
  }
  clock->tempo.beats_per_bar = message->tempo.beats_per_bar;
  clock->tempo.beat_unit = message->tempo.beat_unit;
  clock->bar_tick = message->bar_tick;
  clock->bar = message->bar;
  if (!clock->running) {
    const HrTick tick = wait_tick(engine);
    if (tick != clock->anchor_tick) {
      hr_engine_park(engine, engine->cursor, tick);
    }
    /* If the host has told another meter by now, a bar of that begins here. */
    hr_clock_set_tempo(clock, hr_engine_frame(engine, engine->cursor), tick, &tempo);
  }
  if (engine->pending.what) {
    hr_engine_schedule(engine, engine->cursor);
  }
}

/** Fork by command: at once, whatever else is pending. */
HR_REALTIME static void fork_now(HrEngine* engine, const HrGoMessage* go)
{
  const HrTick tick = hr_engine_tick(engine, engine->cursor);
  if (hr_engine_fork(engine, tick, go->target.number, true, go->cause)) {
    engine->side = engine->over = false;
    hr_engine_leave_replay(engine, engine->cursor);
  }
}

/** It would go where we are, and what is heard is that branch. */
HR_REALTIME static bool is_there(const HrEngine* engine, const HrGoMessage* go)
{
  return go->what == (HR_GO_SWITCH | HR_GO_REPLAY) &&
         go->target.number == engine->recorder.target.number && engine->replay &&
         hr_player_plays(&engine->player) && !engine->over && !engine->overdubbing &&
         !engine->layered;
}

/** Nothing is replayed, and the own clock runs at the end of the branch: somebody plays there. */
HR_REALTIME static bool is_playing_on(const HrEngine* engine)
{
  const HrClock* const clock = &engine->clock;
  return clock->running && !clock->rolling && !hr_player_plays(&engine->player) &&
         hr_engine_tick(engine, engine->cursor) >= engine->recorder.target.head;
}

/** Do what `go` says: at `tick`, as if it had been done from `from` on. */
HR_REALTIME_SELDOM static void do_go(HrEngine* engine, uint32_t frame, HrGoMessage* go, HrTick tick,
                                     HrTick from)
{
  HrClock* const clock = &engine->clock;
  const bool on = is_playing_on(engine);
  if (is_there(engine, go)) {
    hr_player_drop(&engine->player, &go->stream);
    return;
  }
  if (go->what & (HR_GO_SWITCH | HR_GO_REPLAY | HR_GO_STOP)) {
    hr_player_release(&engine->player, frame);
    hr_engine_play_nothing(engine);
    engine->overdubbing = engine->layered = engine->over = false;
    ++engine->bars.request; // An answer still under way is of another place
  }
  if (go->what & HR_GO_STOP) {
    engine->replay = false;
    hr_engine_forget_ahead(engine);
  }
  if (go->what & HR_GO_SWITCH && go->target.number != engine->recorder.target.number) {
    hr_engine_go_to(engine, from, &go->target, go->cause);
  } else if (go->what & HR_GO_SWITCH) {
    engine->side = false; // Here is where to be
  }
  if (go->what & HR_GO_PARK && !clock->rolling) {
    take_tempo(clock, &go->target);
    wait_at_end(engine, frame, go->park_tick);
  } else if (go->what & HR_GO_STOP && !clock->rolling && !on) {
    wait_at_end(engine, frame, hr_engine_resume_tick(engine, &engine->recorder.target));
  }
  if (go->what & HR_GO_REPLAY) {
    const bool begins = !engine->replay;
    start_replay(engine, frame, go, tick, from);
    if (begins && clock->rolling) {
      hr_engine_look_ahead(engine, engine->host_place);
    }
  }
}

void hr_engine_take_effect(HrEngine* engine, uint32_t frame, HrTick tick)
{
  HrGoMessage go = engine->pending;
  engine->pending.stream.ring = HR_NO_STREAM; // It is in `go`
  hr_engine_forget_later(engine);
  engine->pending.what = 0;
  do_go(engine, frame, &go, tick, engine->pending_from);
}

HR_REALTIME static void forget_pending(HrEngine* engine)
{
  if (engine->pending.what) {
    hr_engine_forget_later(engine);
    engine->pending.what = 0;
  }
}

/** What is pending takes effect here and now. */
HR_REALTIME static bool is_due(const HrEngine* engine)
{
  return engine->pending.what && engine->pending_tick <= hr_engine_tick(engine, engine->cursor);
}

/** Do at once what concerns only what is heard: what is pending waits on. */
HR_REALTIME static void do_beside(HrEngine* engine, HrGoMessage go)
{
  const HrTick now = hr_engine_tick(engine, engine->cursor);
  do_go(engine, engine->cursor, &go, now, now);
  if (engine->pending.what) {
    hr_engine_schedule(engine, engine->cursor); // The end of the loop may be elsewhere now
  }
}

/** Nothing is heard on the own clock, which stands, or is where the branch ends: there is
 * music once it goes round. */
HR_REALTIME static bool is_silent(const HrEngine* engine)
{
  const HrClock* const clock = &engine->clock;
  const HrTick now = hr_engine_tick(engine, engine->cursor);
  const bool beyond_loop = hr_loop_valid(&engine->loop) && now >= engine->loop.end;
  return !clock->rolling && !hr_player_plays(&engine->player) &&
         (!clock->running || (now >= engine->recorder.target.head && !beyond_loop));
}

/** The loop is another one: what is heard goes on within it. So does what is about to be
 * heard instead, by this stream if that is at once. */
HR_REALTIME static void go_on(HrEngine* engine, const HrGoMessage* message)
{
  HrGoMessage* const pending = &engine->pending;
  HrGoMessage go = *message;
  const bool due = is_due(engine);
  const bool instead = pending->what & HR_GO_REPLAY && (!engine->replay || due);
  const bool silent = !instead && is_silent(engine);
  const uint32_t heard = instead && pending->what & HR_GO_SWITCH ? pending->target.number
                                                                 : engine->recorder.target.number;
  if (go.target.number != heard || silent || (instead && !due)) {
    hr_player_drop(&engine->player, &go.stream);
  }
  go.what = silent ? 0 : go.what;
  if (!instead) {
    do_beside(engine, go);
  } else if (go.stream.ring != HR_NO_STREAM) {
    hr_engine_take_later(engine, &go.stream);
  }
}

/** Follow the host while a switch waits: at once, and on the branch switched to as well.
 * False if none does. */
HR_REALTIME static bool follow_switch(HrEngine* engine, const HrGoMessage* go)
{
  HrGoMessage* const pending = &engine->pending;
  if (!(go->what & HR_GO_FOLLOW) || !(pending->what & HR_GO_SWITCH)) {
    return false;
  }
  const bool heard = pending->what & HR_GO_REPLAY && !(pending->what & HR_GO_LOCATE);
  pending->what = (pending->what & (HR_GO_SWITCH | HR_GO_PARK)) | go->what;
  if (!heard) {
    hr_engine_ask_later(engine);
  }
  if (!is_due(engine)) {
    do_beside(engine, *go);
  }
  return true;
}

/** Have a replay that comes while a switch waits heard on the branch switched to: a pad and
 * then "replay", or both in a bundle, mean that. False if it is no such replay. The stream
 * it brings is one of the branch that is left. */
HR_REALTIME static bool join_switch(HrEngine* engine, const HrGoMessage* go)
{
  HrGoMessage* const pending = &engine->pending;
  const unsigned what = go->what & ~(unsigned)HR_GO_BARS;
  const bool replay = what == HR_GO_REPLAY || what == (HR_GO_REPLAY | HR_GO_LOCATE);
  if (!replay || !(pending->what & HR_GO_SWITCH)) {
    return false;
  }
  const bool heard = pending->what & HR_GO_REPLAY && !(go->what & HR_GO_LOCATE);
  HrStreamStart stream = go->stream;
  hr_player_drop(&engine->player, &stream);
  pending->what = HR_GO_SWITCH | go->what;
  if (!heard) {
    hr_engine_forget_later(engine);
    pending->stream = stream;
    pending->bar_tick = go->bar_tick;
    pending->bar = go->bar;
    hr_engine_ask_later(engine);
  }
  return true;
}

/** Have a switch that comes while a replay waits heard from where that was to begin, as
 * in the other order, if both wait for the same line. False if that is not so. */
HR_REALTIME static bool join_replay(HrEngine* engine, const HrGoMessage* go)
{
  const unsigned from_a_place = HR_GO_REPLAY | HR_GO_LOCATE;
  HrGoMessage replay = engine->pending;
  if ((replay.what & (from_a_place | HR_GO_PHASE)) != from_a_place ||
      (go->what & (HR_GO_SWITCH | HR_GO_LOCATE)) != HR_GO_SWITCH ||
      (go->quantum != replay.quantum && !is_due(engine))) {
    return false;
  }
  replay.what &= ~(unsigned)HR_GO_SWITCH;
  engine->pending = *go;
  hr_engine_schedule(engine, engine->cursor);
  return join_switch(engine, &replay);
}

/** A fork happens, and what is heard goes on; anything else waits for its time, in place
 * of what waited before. */
HR_REALTIME static void take_go(HrEngine* engine, const HrGoMessage* go)
{
  if (go->what & HR_GO_FORK) {
    fork_now(engine, go);
    return;
  }
  if (go->what & HR_GO_ON) {
    go_on(engine, go);
    return;
  }
  if (join_switch(engine, go) || join_replay(engine, go) || follow_switch(engine, go)) {
    return;
  }
  const bool off = engine->pending.what & HR_GO_REPLAY && !engine->replay;
  forget_pending(engine);
  if (!(go->what & HR_GO_CANCEL)) {
    engine->pending = *go;
    hr_engine_schedule(engine, engine->cursor);
  } else if (off) {
    hr_engine_replay_is_off(engine); // The session took it for on
  }
}

HR_REALTIME static void attach(HrEngine* engine, uint32_t frame, const HrAttachMessage* message)
{
  const bool follows = engine->replay && !engine->clock.running; // The host, when it rolls
  hr_player_release(&engine->player, frame);
  hr_engine_play_nothing(engine);
  hr_recorder_attach(&engine->recorder, message);
  engine->work_wanted = true; // The ring left has got its last
  engine->side = engine->over = false;
  engine->straight = false;
  engine->overdubbing = engine->layered = false;
  forget_pending(engine);
  if (!engine->clock.rolling) {
    const HrTarget* const target = &engine->recorder.target;
    take_tempo(&engine->clock, target);
    engine->clock.bar_tick = 0;
    engine->clock.bar = 0;
    engine->replay = follows;
    wait_at_end(engine, frame, hr_engine_resume_tick(engine, target));
    hr_engine_look_ahead(engine, engine->host_place);
  } else if (engine->replay) {
    hr_engine_ask(engine, hr_engine_tick(engine, frame));
    hr_engine_look_ahead(engine, engine->host_place);
  }
}

HR_REALTIME static void take_stream(HrEngine* engine, const HrStreamMessage* message)
{
  HrStreamStart stream = message->stream;
  if (message->request != engine->wanted[message->wish].request ||
      (!engine->replay && message->wish != HR_WISH_LATER)) {
    hr_player_drop(&engine->player, &stream);
  } else if (message->wish == HR_WISH_LATER) {
    hr_engine_take_later(engine, &stream);
  } else if (message->wish == HR_WISH_AHEAD) {
    hr_player_drop(&engine->player, &engine->ahead);
    engine->ahead = stream;
  } else {
    hr_engine_play(engine, &stream, stream.at);
  }
}

HR_REALTIME static void take_setting(HrEngine* engine, const HrSetMessage* message)
{
  engine->settings[message->setting] = message->value;
  if (message->setting == HR_SET_RECORD && !message->value) {
    hr_recorder_close_held(&engine->recorder, hr_engine_tick(engine, engine->cursor));
    engine->unkept = true; // A pedal that is held is so on
  }
}

HR_REALTIME static void take_message(HrEngine* engine, const HrRecord* record)
{
  const void* const payload = record + 1;
  switch (record->type) {
  case HR_MESSAGE_ATTACH:
    attach(engine, engine->cursor, payload);
    break;
  case HR_MESSAGE_GO:
    take_go(engine, payload);
    break;
  case HR_MESSAGE_STREAM:
    take_stream(engine, payload);
    break;
  case HR_MESSAGE_SET:
    take_setting(engine, payload);
    break;
  case HR_MESSAGE_RESCUE: {
    const HrRescue* const rescue = payload;
    if (engine->recorder.target.number == rescue->number) {
      engine->recorder.target.number = rescue->fork;
    }
    break;
  }
  case HR_MESSAGE_NUMBERS:
    memcpy(&engine->recorder.numbers, payload, sizeof engine->recorder.numbers);
    break;
  case HR_MESSAGE_BARS:
    take_bars(engine, payload);
    break;
  case HR_MESSAGE_SEND:
    hr_engine_send(engine, payload);
    break;
  case HR_MESSAGE_LOOP:
    memcpy(&engine->loop, payload, sizeof engine->loop);
    hr_engine_look_ahead(engine, engine->host_place);
    hr_engine_ask_later(engine);
    break;
  default:
    engine->release_all = true;
    break;
  }
}

void hr_engine_take_messages(HrEngine* engine)
{
  uint64_t position = hr_ring_read_position(engine->messages);
  const HrRecord* record;
  while ((record = hr_ring_next(engine->messages, &position))) {
    take_message(engine, record);
    hr_engine_publish_streams(engine);
    hr_ring_release(engine->messages, position);
  }
}
