/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What is heard: asking the session for music, playing it, going round. */

#include "plugin/engine_parts.h"

#include <math.h>

/** How far hosts are off the place they tell before they start, or jump: they add
 * their latency, and end a block late. So much is got ahead on either side. */
#define MARGIN_MS 250

HR_REALTIME static HrTick margin(const HrEngine* engine)
{
  return llrint(engine->clock.tempo.tempo / 60000.0 * HR_TICKS_PER_QUARTER * MARGIN_MS);
}

HR_REALTIME static void send_wish(HrEngine* engine, HrWish wish)
{
  HrWanted* const wanted = &engine->wanted[wish];
  const HrTick at = wanted->at - (wish == HR_WISH_AHEAD ? margin(engine) : 0);
  const HrTick shift = hr_loop_valid(&engine->loop) ? hr_loop_shift(&engine->loop, at) : 0;
  const HrStreamRequest request = {.wish = wish,
                                   .request = wanted->request,
                                   .branch = wanted->branch,
                                   .at = at,
                                   .tick = at - shift,
                                   .loop = engine->loop};
  wanted->unsent = !hr_engine_request(engine, HR_REQUEST_STREAM, &request, sizeof request);
}

void hr_engine_send_wishes(HrEngine* engine)
{
  for (HrWish wish = 0; wish < HR_WISHES; ++wish) {
    if (engine->wanted[wish].unsent) {
      send_wish(engine, wish);
    }
  }
}

HR_REALTIME static void forget_wish(HrEngine* engine, HrWish wish)
{
  engine->wanted[wish].unsent = false;
  ++engine->wanted[wish].request; // An answer still under way is not wanted any more
}

HR_REALTIME static void ask_of(HrEngine* engine, HrWish wish, uint32_t branch, HrTick at)
{
  forget_wish(engine, wish);
  engine->wanted[wish].at = at;
  engine->wanted[wish].branch = branch;
  send_wish(engine, wish);
}

HR_REALTIME static void ask(HrEngine* engine, HrWish wish, HrTick at)
{
  ask_of(engine, wish, engine->recorder.target.number, at);
}

void hr_engine_play_nothing(HrEngine* engine)
{
  hr_player_stop(&engine->player);
  forget_wish(engine, HR_WISH_NOW);
}

void hr_engine_forget_ahead(HrEngine* engine)
{
  forget_wish(engine, HR_WISH_AHEAD);
  hr_player_drop(&engine->player, &engine->ahead);
}

/** Where the next jump leads, as far as can be told: to the loop's start, if the own clock is
 * in one whose next lap is not in the stream already. Before, what leads up to its start may
 * still be to be played. From a side branch, the host calls back. */
HR_REALTIME static HrTick next_place(const HrEngine* engine)
{
  const HrTick start = hr_engine_loop(engine)->start;
  const bool unheard = !hr_player_plays(&engine->player) && !engine->side;
  return (unheard || engine->layered) && !engine->clock.rolling && hr_engine_looping(engine) &&
                 hr_engine_tick(engine, engine->cursor) >= start
             ? start
             : engine->host_place;
}

void hr_engine_look_ahead(HrEngine* engine, HrTick host_place)
{
  hr_engine_forget_ahead(engine);
  engine->host_place = host_place;
  engine->wanted[HR_WISH_AHEAD].at = next_place(engine);
  if (engine->replay && engine->enabled) {
    ask(engine, HR_WISH_AHEAD, next_place(engine));
  }
}

void hr_engine_look_ahead_again(HrEngine* engine)
{
  if (engine->wanted[HR_WISH_AHEAD].branch != engine->recorder.target.number) {
    hr_engine_look_ahead(engine, engine->host_place);
  }
}

void hr_engine_watch_loop(HrEngine* engine)
{
  if (engine->replay && engine->wanted[HR_WISH_AHEAD].at != next_place(engine)) {
    hr_engine_look_ahead(engine, engine->host_place);
  }
}

void hr_engine_forget_later(HrEngine* engine)
{
  forget_wish(engine, HR_WISH_LATER);
  hr_player_drop(&engine->player, &engine->pending.stream);
}

void hr_engine_ask_later(HrEngine* engine)
{
  const HrGoMessage* const go = &engine->pending;
  const HrTick now = hr_engine_tick(engine, engine->cursor);
  hr_engine_forget_later(engine);
  if (go->what & HR_GO_REPLAY && engine->pending_tick > now) {
    ask_of(engine, HR_WISH_LATER,
           go->what & HR_GO_SWITCH ? go->target.number : engine->recorder.target.number,
           go->what & HR_GO_LOCATE ? go->stream.tick : now);
  }
}

/** The position has jumped back: what begins after the line now waited for comes too late. */
HR_REALTIME static void check_later(HrEngine* engine)
{
  const HrGoMessage* const go = &engine->pending;
  const bool late = !(go->what & HR_GO_LOCATE) && go->stream.at > engine->pending_from;
  if (late || go->stream.ring == HR_NO_STREAM) {
    hr_engine_ask_later(engine);
  }
}

void hr_engine_take_later(HrEngine* engine, HrStreamStart* stream)
{
  HrGoMessage* const go = &engine->pending;
  if (go->what & HR_GO_LOCATE && stream->tick != go->stream.tick) {
    hr_player_drop(&engine->player, stream); // It begins in the loop, the replay does not
    return;
  }
  hr_player_drop(&engine->player, &go->stream);
  go->stream = *stream;
}

void hr_engine_ask(HrEngine* engine, HrTick tick)
{
  hr_engine_play_nothing(engine);
  ask(engine, HR_WISH_NOW, tick);
}

/** Take over the tempo of the music, on the own clock. */
HR_REALTIME_SELDOM static void take_tempo(HrEngine* engine, HrTick tick, HrTempo tempo)
{
  HrClock* const clock = &engine->clock;
  if (engine->recorder.target.tempo_assumed) {
    tempo = hr_clock_said(clock, tempo);
  } else if (engine->settings[HR_SET_TEMPO_SOURCE] == HR_TEMPO_HOST && clock->said.tempo > 0.0) {
    tempo.tempo = clock->said.tempo;
  }
  hr_clock_set_tempo(clock, hr_engine_frame(engine, engine->cursor), tick, &tempo);
}

void hr_engine_play(HrEngine* engine, HrStreamStart* stream, HrTick from)
{
  HrClock* const clock = &engine->clock;
  HrTempo tempo;
  forget_wish(engine, HR_WISH_NOW);
  hr_player_start(&engine->player, stream, from, clock->rolling, &tempo);
  stream->ring = HR_NO_STREAM;
  if (clock->running) {
    if (!clock->rolling) {
      take_tempo(engine, hr_engine_tick(engine, engine->cursor), tempo);
    }
    hr_player_chase(&engine->player, engine->cursor);
  }
}

void hr_engine_replay_is_off(HrEngine* engine)
{
  engine->replay = false;
  hr_engine_forget_ahead(engine);
  hr_engine_request(engine, HR_REQUEST_ENDED, NULL, 0);
}

HR_REALTIME_SELDOM static void replay_ended(HrEngine* engine, uint32_t frame)
{
  hr_player_release(&engine->player, frame);
  hr_engine_play_nothing(engine);
  engine->overdubbing = false;
  engine->last_event = hr_engine_tick(engine, frame);
  if (!engine->clock.rolling) {
    hr_engine_replay_is_off(engine);
  }
}

/** Keep what is heard, if it is overdubbed. */
HR_REALTIME static void overdub(HrEngine* engine, HrTick tick, const uint8_t* bytes, uint32_t size)
{
  if (engine->overdubbing && engine->settings[HR_SET_RECORD]) {
    const HrTick head = engine->recorder.target.head;
    hr_recorder_append(&engine->recorder, tick > head ? tick : head, &engine->clock.tempo, bytes,
                       size);
  }
}

/** The same of what the end of a lap cuts off. */
HR_REALTIME static void overdub_releases(HrEngine* engine, HrTick tick)
{
  HrSounding sounding = engine->player.sounding;
  uint8_t bytes[3];
  while (hr_sounding_release(&sounding, bytes)) {
    overdub(engine, tick, bytes, sizeof bytes);
  }
}

/** Where chased messages are kept. */
typedef struct {
  HrEngine* engine;
  HrTick tick;
} Overdubbed;

HR_REALTIME static void overdub_chased(void* data, const uint8_t* bytes, uint32_t size)
{
  const Overdubbed* const overdubbed = data;
  overdub(overdubbed->engine, overdubbed->tick, bytes, size);
}

void hr_engine_play_event(HrEngine* engine, uint32_t frame, const HrRecord* record, uint64_t after)
{
  const HrStreamEvent* const event = (const HrStreamEvent*)(record + 1);
  const uint8_t* const bytes = (const uint8_t*)(event + 1);
  const HrTick tick = hr_player_tick(&engine->player, event);
  if (record->type == HR_STREAM_MIDI) {
    overdub(engine, tick, bytes, event->size);
  } else if (record->type == HR_STREAM_STATE_END && engine->overdubbing) {
    Overdubbed overdubbed = {engine, tick};
    hr_chase_send(&engine->output.heard, &engine->player.wanted, overdub_chased, &overdubbed);
  } else if (record->type == HR_STREAM_END) {
    replay_ended(engine, frame);
    return;
  } else if (record->type == HR_STREAM_META && !engine->clock.rolling) {
    HrTempo tempo = engine->clock.tempo;
    if (hr_meta_apply(&tempo, bytes, event->size)) {
      take_tempo(engine, tick, tempo);
    }
  }
  hr_player_take(&engine->player, frame, record, after);
}

bool hr_engine_play_ahead(HrEngine* engine, HrTick tick)
{
  const HrWanted* const wanted = &engine->wanted[HR_WISH_AHEAD];
  if (engine->ahead.ring == HR_NO_STREAM || wanted->branch != engine->recorder.target.number ||
      tick < engine->ahead.at || tick > wanted->at + margin(engine)) {
    return false;
  }
  engine->work_wanted = true; // It ends with the lap until the session reads on
  hr_engine_play(engine, &engine->ahead, tick);
  return true;
}

void hr_engine_end_lap(HrEngine* engine, uint32_t frame)
{
  const HrLoopMessage loop = *hr_engine_loop(engine);
  if (engine->clock.rolling) {
    overdub_releases(engine, hr_engine_lap_end(engine));
  }
  hr_player_release(&engine->player, frame);
  if (engine->clock.rolling) {
    hr_player_lap(&engine->player);
    return;
  }
  hr_recorder_close_held(&engine->recorder, loop.end);
  hr_clock_set(&engine->clock, hr_engine_frame(engine, frame), loop.start, true);
  engine->straight = false;
  engine->overdubbing = false;
  if (engine->over) {
    hr_engine_return_home(engine, loop.start);
  }
  hr_engine_note_pass(engine, loop.end, loop.start);
  if (engine->pending.what) {
    hr_engine_schedule(engine, frame); // The line that it waits for comes earlier now
    check_later(engine);
  }
  const bool layered = engine->layered;
  engine->layered = false;
  if (!hr_player_plays(&engine->player) || layered) {
    if (!hr_engine_play_ahead(engine, loop.start)) {
      hr_engine_ask(engine, loop.start);
    }
    return;
  }
  hr_player_lap(&engine->player);
}
