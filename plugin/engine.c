/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/engine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_BYTES 16384u
#define REQUEST_BYTES 65536u
#define NOTIFY_BYTES  65536u
#define STREAM_BYTES  ((uint64_t)256 << 10)

/** Seconds between wake-ups of the session when nothing is urgent. */
#define WORK_INTERVAL 0.1

enum { ACTIVE_SENSING = 0xfe, TIMING_CLOCK = 0xf8 };

const uint32_t hr_setting_defaults[HR_SETTINGS] = {
    [HR_SET_RECORD] = true,
    [HR_SET_THRU] = true,
    [HR_SET_OVERDUB] = false,
    [HR_SET_STANDING] = HR_STANDING_SIDE,
    [HR_SET_SILENCE] = 2,
    [HR_SET_SNAP] = 80,
    [HR_SET_TEMPO_SOURCE] = HR_TEMPO_RECORDED,
};

/* ---- Where we are ------------------------------------------------------- */

HR_REALTIME static int64_t frame_at(const HrEngine* engine, uint32_t frame)
{
  return engine->block + frame;
}

HR_REALTIME static HrTick position_at(const HrEngine* engine, uint32_t frame)
{
  return hr_clock_tick(&engine->clock, frame_at(engine, frame));
}

/** Replay goes round: the own clock with it; the host's goes straight on. */
HR_REALTIME static bool looping(const HrEngine* engine)
{
  return hr_loop_valid(&engine->loop) && engine->replay && engine->clock.running &&
         (!engine->clock.rolling || hr_player_plays(&engine->player));
}

/** The clock's tick of the end of this lap. */
HR_REALTIME static HrTick lap_end(const HrEngine* engine)
{
  return engine->loop.end + (engine->clock.rolling ? engine->player.shift : 0);
}

/* ---- What the world is told ----------------------------------------------- */

/** Tell which stream rings are in use; before the messages that offered them are released. */
HR_REALTIME static void publish_streams(HrEngine* engine)
{
  HrShared* const shared = &engine->shared;
  const uint32_t playing = engine->player.stream.ring;
  const uint32_t waiting = engine->pending.what ? engine->pending.stream.ring : HR_NO_STREAM;
  const uint32_t used = 1u << playing | 1u << waiting | 1u << engine->ahead.ring;
  atomic_store_explicit(&shared->playing, playing, memory_order_relaxed);
  atomic_store_explicit(&shared->streams, used & ((1u << HR_STREAMS) - 1), memory_order_release);
}

/** Tell the world, at the end of a block. */
HR_REALTIME static void publish(HrEngine* engine)
{
  HrShared* const shared = &engine->shared;
  const HrRecorder* const recorder = &engine->recorder;
  const HrClock* const clock = &engine->clock;
  const HrTick position = position_at(engine, 0);
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
  publish_streams(engine);
  atomic_store_explicit(&shared->numbers_left, recorder->numbers.end - recorder->numbers.next,
                        order);
  atomic_store_explicit(&shared->recorded, recorder->recorded, order);
  atomic_store_explicit(&shared->replayed, engine->player.played, order);
  atomic_store_explicit(&shared->malformed, engine->malformed, order);
  atomic_store_explicit(&shared->unheard, engine->output.unheard, order);
  atomic_store_explicit(&shared->dropped, recorder->dropped, order);
  atomic_store_explicit(&shared->capture, recorder->capture, memory_order_release);
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
  bool complete = engine->messages && engine->requests && engine->notify;
  for (unsigned i = 0; i < HR_STREAMS; ++i) {
    engine->streams[i] = hr_ring_new(STREAM_BYTES);
    complete = complete && engine->streams[i];
  }
  if (!hr_output_init(&engine->output) || !complete) {
    hr_engine_free(engine);
    return NULL;
  }
  hr_player_init(&engine->player, engine->streams, &engine->output);
  memcpy(engine->settings, hr_setting_defaults, sizeof engine->settings);
  engine->enabled = true;
  engine->ahead.ring = HR_NO_STREAM;
  engine->pass_start = INT64_MIN;
  engine->recorder.target.number = 1;
  engine->recorder.target.empty = true;
  engine->recorder.target.fresh = true;
  engine->recorder.target.tempo = engine->clock.tempo;
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
  hr_output_end(&engine->output);
  free(engine);
}

void hr_engine_activate(HrEngine* engine)
{
  engine->release_all = true;
}

/* ---- Asking for music ----------------------------------------------------- */

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

HR_REALTIME static void send_wish(HrEngine* engine, HrWish wish)
{
  HrWanted* const wanted = &engine->wanted[wish];
  const HrTick shift = hr_loop_valid(&engine->loop) ? hr_loop_shift(&engine->loop, wanted->at) : 0;
  const HrStreamRequest request = {.wish = wish,
                                   .request = wanted->request,
                                   .branch = engine->recorder.target.number,
                                   .at = wanted->at,
                                   .tick = wanted->at - shift};
  wanted->unsent = !hr_engine_request(engine, HR_REQUEST_STREAM, &request, sizeof request);
}

HR_REALTIME static void forget_wish(HrEngine* engine, HrWish wish)
{
  engine->wanted[wish].unsent = false;
  ++engine->wanted[wish].request; // An answer still under way is not wanted any more
}

HR_REALTIME static void ask(HrEngine* engine, HrWish wish, HrTick at)
{
  forget_wish(engine, wish);
  engine->wanted[wish].at = at;
  send_wish(engine, wish);
}

HR_REALTIME static void play_nothing(HrEngine* engine)
{
  hr_player_stop(&engine->player);
  forget_wish(engine, HR_WISH_NOW);
  engine->cued = false;
}

HR_REALTIME static void forget_ahead(HrEngine* engine)
{
  forget_wish(engine, HR_WISH_AHEAD);
  hr_player_drop(&engine->player, &engine->ahead);
}

/** Have the music at hand of where the position may jump to: it came from
 * there, and a host that loops says so only when it happens. */
HR_REALTIME static void look_ahead(HrEngine* engine, HrTick at)
{
  forget_ahead(engine);
  engine->wanted[HR_WISH_AHEAD].at = at;
  if (engine->replay && engine->enabled) {
    ask(engine, HR_WISH_AHEAD, at);
  }
}

/** The branch is another one: what was got ahead is not its music. */
HR_REALTIME static void look_ahead_again(HrEngine* engine)
{
  const bool wanted = engine->clock.rolling || engine->layered;
  if (wanted) {
    look_ahead(engine, engine->wanted[HR_WISH_AHEAD].at);
  } else {
    forget_ahead(engine);
  }
}

/** Ask for what follows from `tick`: it was not foreseen. */
HR_REALTIME static void ask_for_stream(HrEngine* engine, HrTick tick)
{
  play_nothing(engine);
  ask(engine, HR_WISH_NOW, tick);
}

/** The host is stopped and will start at `tick`: have the music ready. */
HR_REALTIME static void cue(HrEngine* engine, HrTick tick)
{
  ask_for_stream(engine, tick);
  engine->cued = true;
}

/** Take over the tempo of the music, on the own clock. */
HR_REALTIME static void take_tempo(HrEngine* engine, HrTick tick, HrTempo tempo)
{
  HrClock* const clock = &engine->clock;
  if (engine->settings[HR_SET_TEMPO_SOURCE] == HR_TEMPO_HOST && clock->said_tempo > 0.0) {
    tempo.tempo = clock->said_tempo;
  }
  hr_clock_set_tempo(clock, frame_at(engine, engine->cursor), tick, &tempo);
}

/** Play a stream from the tick `from` on, which is now or a little ago; with
 * the clock standing, when that starts. */
HR_REALTIME static void play(HrEngine* engine, HrStreamStart* stream, HrTick from)
{
  HrClock* const clock = &engine->clock;
  const bool straight = clock->rolling || engine->cued; // The host's clock knows no loop of ours
  const bool loops = hr_loop_valid(&engine->loop) && straight;
  HrTempo tempo;
  forget_wish(engine, HR_WISH_NOW);
  hr_player_start(&engine->player, stream, from, loops ? &engine->loop : NULL, &tempo);
  stream->ring = HR_NO_STREAM;
  if (clock->running) {
    if (!clock->rolling) {
      take_tempo(engine, position_at(engine, engine->cursor), tempo);
    }
    hr_player_chase(&engine->player, engine->cursor);
  }
}

HR_REALTIME static void replay_is_off(HrEngine* engine)
{
  engine->replay = false;
  forget_ahead(engine);
  hr_engine_request(engine, HR_REQUEST_ENDED, NULL, 0);
}

HR_REALTIME static void replay_ended(HrEngine* engine, uint32_t frame)
{
  hr_player_release(&engine->player, frame);
  play_nothing(engine);
  engine->overdubbing = false;
  engine->last_event = position_at(engine, frame);
  if (!engine->clock.rolling) {
    replay_is_off(engine);
  }
}

HR_REALTIME static void play_event(HrEngine* engine, uint32_t frame, const HrRecord* record,
                                   uint64_t after)
{
  const HrStreamEvent* const event = (const HrStreamEvent*)(record + 1);
  const uint8_t* const bytes = (const uint8_t*)(event + 1);
  const HrTick tick = hr_player_tick(&engine->player, event);
  HrTempo tempo = engine->clock.tempo;
  if (record->type == HR_STREAM_END) {
    replay_ended(engine, frame);
    return;
  }
  if (record->type == HR_STREAM_META && !engine->clock.rolling &&
      hr_meta_apply(&tempo, bytes, event->size)) {
    take_tempo(engine, tick, tempo);
  } else if (record->type == HR_STREAM_MIDI && engine->overdubbing &&
             engine->settings[HR_SET_RECORD]) {
    const HrTick head = engine->recorder.target.head;
    hr_recorder_append(&engine->recorder, tick > head ? tick : head, &engine->clock.tempo, bytes,
                       event->size);
  }
  hr_player_take(&engine->player, frame, record, after);
}

/* ---- Recording -------------------------------------------------------- */

/** The own clock waits for somebody to play: at `tick`, or, where a host's
 * transport stands still, at the place that it shows. A side branch once begun
 * there goes on by itself. */
HR_REALTIME static void park(HrEngine* engine, uint32_t frame, HrTick tick)
{
  HrClock* const clock = &engine->clock;
  const bool follows = clock->ever_rolled && clock->cued && !engine->side;
  hr_clock_set(clock, frame_at(engine, frame), follows ? clock->cue_tick : tick, false);
  engine->straight = false;
}

/** Where playing goes on: at the start of a branch that has just begun, else on
 * the bar line after its head. */
HR_REALTIME static HrTick resume_tick(const HrEngine* engine, const HrTarget* target)
{
  return target->fresh ? target->head : hr_clock_bar_ceiling(&engine->clock, target->head + 1, 1);
}

/** What is known of a branch to go to later: it ends where we leave it, if it
 * is the one left; and no branch gets music into its children's past, so that
 * after a fork at `tick` any may end there at the earliest. */
HR_REALTIME static void update_target(HrTarget* target, const HrTarget* left, HrTick tick)
{
  if (target->number == left->number) {
    *target = *left;
  }
  target->head = tick > target->head ? tick : target->head;
}

/** Fork the current branch; false if that cannot be. */
HR_REALTIME static bool fork_at(HrEngine* engine, HrTick tick, uint32_t number, bool carry,
                                HrCaptureCause cause)
{
  const HrTarget left = engine->recorder.target;
  if (!hr_recorder_fork(&engine->recorder, tick, number, carry, cause)) {
    return false;
  }
  update_target(&engine->pending.target, &left, tick);
  update_target(&engine->home, &left, tick);
  return true;
}

/** Go to a branch. */
HR_REALTIME static void go_to(HrEngine* engine, HrTick tick, const HrTarget* target,
                              HrCaptureCause cause)
{
  hr_recorder_switch(&engine->recorder, tick, target, cause);
  engine->side = engine->over = false;
  engine->straight = false;
  look_ahead_again(engine);
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

/** Play over a branch that goes round: when it begins again, it is the current one again. */
HR_REALTIME static void note_over(HrEngine* engine, const HrTarget* looped)
{
  if (!engine->over && !engine->overdubbing && !engine->side && !engine->clock.rolling &&
      looping(engine)) {
    engine->home = *looped;
    engine->over = true;
  }
}

/** What was heard of the branch left ends with it, unless it is to be
 * overdubbed, or goes round: that one hears on. */
HR_REALTIME static void leave_replay(HrEngine* engine, uint32_t frame)
{
  if (!engine->replay) {
    return;
  }
  const bool plays = hr_player_plays(&engine->player);
  engine->overdubbing = plays && engine->settings[HR_SET_OVERDUB];
  if (engine->overdubbing) {
    if (looping(engine) && !engine->clock.rolling) {
      engine->layered = true;
      look_ahead(engine, engine->loop.start);
    } else {
      look_ahead_again(engine);
    }
    return;
  }
  record_releases(engine);
  if (plays && looping(engine)) {
    return;
  }
  hr_player_release(&engine->player, frame);
  play_nothing(engine);
  look_ahead_again(engine);
  if (!engine->clock.rolling) {
    replay_is_off(engine);
  }
}

/** Play on while the host stands at `tick`: one tick later, much less than a
 * frame, so that the ends of notes at `tick` are in the new branch's past. */
HR_REALTIME static void begin_side_branch(HrEngine* engine, HrTick tick)
{
  HrTarget home = engine->recorder.target;
  if (fork_at(engine, tick, 0, false, (HrCaptureCause){HR_CAUSE_PLAYING, 0, 0})) {
    home.head = home.head > tick ? home.head : tick;
    engine->home = home;
    engine->side = true;
  }
}

/** Start the own clock, for somebody plays: at `tick`, or where the settings say. */
HR_REALTIME static HrTick start_own_clock(HrEngine* engine, uint32_t frame, HrTick tick)
{
  HrClock* const clock = &engine->clock;
  const HrTarget* const target = &engine->recorder.target;
  if (engine->cued) {
    play_nothing(engine); // That was for the host's start, not for ours
  }
  if (clock->ever_rolled && !engine->side) {
    if (engine->settings[HR_SET_STANDING] == HR_STANDING_SIDE) {
      begin_side_branch(engine, ++tick);
    } else if (tick < target->head) {
      tick = resume_tick(engine, target);
    }
  }
  hr_clock_set(clock, frame_at(engine, frame), tick, true);
  return tick;
}

/** Playing before the head: on a branch of its own. Each time round a loop
 * begins at its start, unless the music there was heard and so belongs to it. */
HR_REALTIME static bool fork_from_past(HrEngine* engine, uint32_t frame, HrTick tick)
{
  const bool pass = engine->pass_start != INT64_MIN;
  const bool heard = engine->replay && hr_player_plays(&engine->player);
  const HrCaptureCause cause = {pass ? HR_CAUSE_PASS : HR_CAUSE_PLAYING, pass ? engine->pass : 0,
                                0};
  const HrTick at = pass && !heard && engine->pass_start < tick ? engine->pass_start : tick;
  HrTarget left = engine->recorder.target;
  if (!fork_at(engine, at, 0, false, cause)) {
    return false;
  }
  left.head = left.head > at ? left.head : at;
  leave_replay(engine, frame);
  note_over(engine, &left);
  return true;
}

/** Whether what is played is kept just now. */
HR_REALTIME static bool records(const HrEngine* engine)
{
  return engine->enabled && engine->settings[HR_SET_RECORD];
}

/** Hosts end notes when they stop and locate: that ends what is held in the
 * record, where the branch is, and starts nothing. */
HR_REALTIME static void record_release(HrEngine* engine, HrTick tick, const uint8_t* bytes,
                                       uint32_t size)
{
  HrRecorder* const recorder = &engine->recorder;
  HrSounding held = recorder->held;
  if (hr_sounding_follow(&held, bytes, size)) {
    const HrTick head = recorder->target.head;
    hr_recorder_append(recorder, tick > head ? tick : head, &recorder->target.tempo, bytes, size);
  }
}

HR_REALTIME static void record(HrEngine* engine, uint32_t frame, const uint8_t* bytes,
                               uint32_t size)
{
  HrRecorder* const recorder = &engine->recorder;
  const HrTarget* const target = &recorder->target;
  HrClock* const clock = &engine->clock;
  HrTick tick = position_at(engine, frame);
  const bool past = tick < target->head && !target->empty;
  if (hr_sound_kind(bytes, size) == HR_SOUND_RELEASE && (!clock->running || past)) {
    record_release(engine, tick, bytes, size);
    return;
  }
  if (clock->ever_rolled && !clock->rolling &&
      engine->settings[HR_SET_STANDING] == HR_STANDING_OFF) {
    return;
  }
  if (!clock->running) {
    tick = start_own_clock(engine, frame, tick);
  }
  if (tick < target->head && !target->empty &&
      (engine->straight || !fork_from_past(engine, frame, tick))) {
    /* Time goes on, the host's beats were a little off; or no room is left for
     * a new branch. It is kept all the same. */
    tick = target->head;
  }
  if (engine->settings[HR_SET_OVERDUB] && clock->rolling && looping(engine)) {
    engine->overdubbing = true; // Nothing forks where the clock runs straight on
  }
  hr_recorder_append(recorder, tick, &clock->tempo, bytes, size);
  engine->last_event = tick;
  engine->straight = true;
}

/* ---- Commands --------------------------------------------------------- */

/** The tick so many milliseconds of playing before `tick`. */
HR_REALTIME static HrTick earlier(const HrEngine* engine, HrTick tick, uint32_t milliseconds)
{
  return tick - llrint(engine->clock.ticks_per_frame * engine->clock.rate * milliseconds / 1000.0);
}

/** When what is pending takes effect, seen from `frame`. A tap that comes a
 * little late means the line just passed. */
HR_REALTIME static void schedule_pending(HrEngine* engine, uint32_t frame)
{
  const HrClock* const clock = &engine->clock;
  const HrGoMessage* const go = &engine->pending;
  const HrTick now = position_at(engine, frame);
  engine->pending_tick = engine->pending_from = now;
  if (!clock->running || go->quantum == HR_QUANTUM_NOW) {
    return;
  }
  const bool beats = go->quantum == HR_QUANTUM_BEAT;
  const uint32_t bars = go->quantum == HR_QUANTUM_BAR ? go->bars : 1;
  const HrTick length =
      beats ? hr_tempo_beat_length(&clock->tempo) : hr_tempo_bar_length(&clock->tempo) * bars;
  HrTick line = go->quantum == HR_QUANTUM_LOOP_END && looping(engine) ? lap_end(engine)
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
    if (clock->cued && !clock->running) {
      cue(engine, clock->cue_tick);
    }
  } else if (go->what & HR_GO_LOCATE && !clock->rolling) {
    const HrTick since = go->what & HR_GO_PHASE ? tick - go->stream.at : 0;
    const HrTick there = go->stream.tick + since;
    clock->tempo = go->stream.tempo;
    hr_clock_set(clock, frame_at(engine, frame), there, true);
    go->stream.at = go->stream.tick;
    play(engine, &go->stream, there);
    engine->last_event = there;
    engine->straight = false;
    engine->pass_start = hr_loop_valid(&engine->loop) ? engine->loop.start : INT64_MIN;
    engine->pass = 1;
  } else if (go->stream.ring != HR_NO_STREAM && go->stream.at <= from) {
    play(engine, &go->stream, from);
  } else {
    hr_player_drop(&engine->player, &go->stream);
    ask_for_stream(engine, tick);
  }
}

/** Fork by command: at once, whatever else is pending. */
HR_REALTIME static void fork_now(HrEngine* engine, const HrGoMessage* go)
{
  const HrTick tick = position_at(engine, engine->cursor);
  if (fork_at(engine, tick, go->target.number, true, go->cause)) {
    engine->side = engine->over = false;
    leave_replay(engine, engine->cursor);
  }
}

/** Do what was pending, at `tick`. */
HR_REALTIME static void take_effect(HrEngine* engine, uint32_t frame, HrTick tick)
{
  HrGoMessage go = engine->pending;
  HrClock* const clock = &engine->clock;
  engine->pending.what = 0;
  if (go.what & (HR_GO_SWITCH | HR_GO_REPLAY | HR_GO_STOP)) {
    hr_player_release(&engine->player, frame);
    play_nothing(engine);
    engine->overdubbing = engine->layered = engine->over = false;
  }
  if (go.what & HR_GO_STOP) {
    engine->replay = false;
    forget_ahead(engine);
  }
  if (go.what & HR_GO_SWITCH && go.target.number != engine->recorder.target.number) {
    go_to(engine, engine->pending_from, &go.target, go.cause);
  }
  if (go.what & HR_GO_REPLAY) {
    const bool begins = !engine->replay;
    start_replay(engine, frame, &go, tick, engine->pending_from);
    if (begins && clock->rolling) {
      look_ahead_again(engine);
    }
  }
  if (go.what & HR_GO_PARK && !clock->rolling) {
    clock->tempo = go.target.tempo;
    park(engine, frame, go.park_tick);
  } else if (go.what & HR_GO_STOP && !clock->rolling) {
    park(engine, frame, resume_tick(engine, &engine->recorder.target));
  }
}

HR_REALTIME static void forget_pending(HrEngine* engine)
{
  if (engine->pending.what) {
    hr_player_drop(&engine->player, &engine->pending.stream);
    engine->pending.what = 0;
  }
}

/** A fork happens; anything else waits for its time, in place of what waited before. */
HR_REALTIME static void take_go(HrEngine* engine, const HrGoMessage* go)
{
  if (go->what & HR_GO_FORK) {
    fork_now(engine, go);
    return;
  }
  forget_pending(engine);
  if (!(go->what & HR_GO_CANCEL)) {
    engine->pending = *go;
    schedule_pending(engine, engine->cursor);
  }
}

HR_REALTIME static void attach(HrEngine* engine, uint32_t frame, const HrAttachMessage* message)
{
  hr_player_release(&engine->player, frame);
  play_nothing(engine);
  hr_recorder_attach(&engine->recorder, message);
  engine->side = engine->over = false;
  engine->straight = false;
  engine->overdubbing = engine->layered = false;
  forget_pending(engine);
  if (!engine->clock.rolling) {
    engine->clock.tempo = message->target.tempo;
    engine->clock.bar_tick = 0;
    engine->clock.bar = 0;
    engine->replay = false;
    forget_ahead(engine);
    park(engine, frame, resume_tick(engine, &message->target));
  } else if (engine->replay) {
    ask_for_stream(engine, position_at(engine, frame));
    look_ahead_again(engine);
  }
}

HR_REALTIME static void take_stream(HrEngine* engine, const HrStreamMessage* message)
{
  HrStreamStart stream = message->stream;
  if (message->request != engine->wanted[message->wish].request || !engine->replay) {
    hr_player_drop(&engine->player, &stream);
  } else if (message->wish == HR_WISH_AHEAD) {
    hr_player_drop(&engine->player, &engine->ahead);
    engine->ahead = stream;
  } else {
    play(engine, &stream, stream.at);
  }
}

HR_REALTIME static void take_setting(HrEngine* engine, const HrSetMessage* message)
{
  engine->settings[message->setting] = message->value;
  if (message->setting == HR_SET_RECORD && !message->value) {
    hr_recorder_close_held(&engine->recorder, position_at(engine, engine->cursor));
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
  case HR_MESSAGE_LOOP:
    memcpy(&engine->loop, payload, sizeof engine->loop);
    look_ahead_again(engine);
    break;
  default:
    engine->release_all = true;
    break;
  }
}

HR_REALTIME static void take_messages(HrEngine* engine)
{
  uint64_t position = hr_ring_read_position(engine->messages);
  const HrRecord* record;
  while ((record = hr_ring_next(engine->messages, &position))) {
    take_message(engine, record);
    publish_streams(engine);
    hr_ring_release(engine->messages, position);
  }
}

/* ---- The block --------------------------------------------------------- */

/** The position is to jump to `tick` and the music of there is at hand: play it. */
HR_REALTIME static bool play_ahead(HrEngine* engine, HrTick tick)
{
  if (engine->ahead.ring == HR_NO_STREAM || engine->ahead.at != tick) {
    return false;
  }
  play(engine, &engine->ahead, tick);
  return true;
}

HR_REALTIME static void note_pass(HrEngine* engine, HrTick start)
{
  engine->pass = engine->pass_start == start ? engine->pass + 1 : 2;
  engine->pass_start = start;
}

/** Leave the branch that was begun beside another one. */
HR_REALTIME static void return_home(HrEngine* engine, HrTick tick)
{
  const HrTarget left = engine->recorder.target;
  const HrTarget home = engine->home;
  go_to(engine, tick, &home, (HrCaptureCause){HR_CAUSE_HOME, 0, 0});
  update_target(&engine->pending.target, &left, tick);
}

HR_REALTIME static void end_lap(HrEngine* engine, uint32_t frame)
{
  const HrTick start = engine->loop.start;
  hr_player_release(&engine->player, frame);
  if (engine->clock.rolling) {
    hr_player_lap(&engine->player, engine->loop.end - start);
    return;
  }
  hr_recorder_close_held(&engine->recorder, engine->loop.end);
  hr_clock_set(&engine->clock, frame_at(engine, frame), start, true);
  engine->straight = false;
  engine->overdubbing = false;
  if (engine->over) {
    return_home(engine, start);
  }
  note_pass(engine, start);
  const bool layered = engine->layered;
  engine->layered = false;
  if (!hr_player_plays(&engine->player) || layered) {
    if (!play_ahead(engine, start)) {
      ask_for_stream(engine, start);
    }
    return;
  }
  hr_player_lap(&engine->player, 0);
}

/** Where a long silence on the own clock ends; INT64_MAX if it does not. */
HR_REALTIME static HrTick silence_tick(const HrEngine* engine)
{
  const HrClock* const clock = &engine->clock;
  const HrTick bars = engine->settings[HR_SET_SILENCE];
  if (!bars || clock->rolling || !clock->running ||
      (engine->replay && hr_player_plays(&engine->player)) ||
      hr_sounding_any(&engine->recorder.held)) {
    return INT64_MAX;
  }
  return hr_clock_bar_ceiling(clock, engine->last_event, 1) +
         bars * hr_tempo_bar_length(&clock->tempo);
}

typedef enum { NOTHING, TAKE_EFFECT, END_LAP, SILENCE, PLAY } ActionKind;

/** What comes next by itself, and when. */
typedef struct {
  ActionKind kind;
  HrTick tick;            ///< INT64_MIN: it is late
  const HrRecord* record; ///< To play
  uint64_t after;         ///< Where the stream goes on after it
} Action;

/** The earliest of what is pending, the loop's end, the end of a silence and
 * the next event. On one tick, commands and the loop come before what they cut off. */
HR_REALTIME static Action next_action(const HrEngine* engine)
{
  const HrPlayer* const player = &engine->player;
  Action next = {.kind = NOTHING, .tick = INT64_MAX};
  if (engine->pending.what) {
    next.kind = TAKE_EFFECT;
    next.tick = engine->pending_tick;
  }
  if (looping(engine) && lap_end(engine) < next.tick) {
    next.kind = END_LAP;
    next.tick = lap_end(engine);
  }
  const HrTick silence = silence_tick(engine);
  if (silence < next.tick) {
    next.kind = SILENCE;
    next.tick = silence;
  }
  uint64_t after = 0;
  const HrRecord* const record = engine->clock.running && engine->enabled && engine->replay
                                     ? hr_player_next(player, &after)
                                     : NULL;
  if (record) {
    const HrStreamEvent* const event = (const HrStreamEvent*)(record + 1);
    const HrTick tick = hr_player_tick(player, event);
    const bool late = event->lap < player->lap;
    if (late || (event->lap == player->lap && tick < next.tick)) {
      next = (Action){PLAY, late ? INT64_MIN : tick, record, after};
    }
  }
  return next;
}

HR_REALTIME static void act(HrEngine* engine, uint32_t frame, const Action* action)
{
  switch (action->kind) {
  case TAKE_EFFECT:
    take_effect(engine, frame, action->tick);
    break;
  case END_LAP:
    end_lap(engine, frame);
    break;
  case SILENCE:
    park(engine, frame, hr_clock_bar_ceiling(&engine->clock, engine->last_event + 1, 1));
    break;
  case PLAY:
    play_event(engine, frame, action->record, action->after);
    break;
  case NOTHING:
    break;
  }
}

/** Render up to the frame `to`: everything that replay, commands and the clock do before it. */
HR_REALTIME static void advance(HrEngine* engine, uint32_t to)
{
  for (Action action = next_action(engine); action.kind != NOTHING; action = next_action(engine)) {
    if (action.tick != INT64_MIN && engine->clock.running) {
      const int64_t frame = hr_clock_frame(&engine->clock, action.tick) - engine->block;
      if (frame >= (int64_t)to) {
        break;
      }
      engine->cursor = frame > (int64_t)engine->cursor ? (uint32_t)frame : engine->cursor;
    }
    act(engine, engine->cursor, &action);
  }
  engine->cursor = to;
}

void hr_engine_begin(HrEngine* engine, uint32_t frames, bool enabled, HrSink sink)
{
  engine->frames = frames;
  engine->cursor = 0;
  hr_output_begin(&engine->output, frames, sink);
  if (engine->release_all || (engine->enabled && !enabled)) {
    hr_player_release(&engine->player, 0);
    hr_recorder_close_held(&engine->recorder, position_at(engine, 0));
    engine->release_all = false;
  }
  if (enabled && !engine->enabled && engine->replay) {
    ask_for_stream(engine, position_at(engine, 0));
  }
  engine->enabled = enabled;
  take_messages(engine);
  for (HrWish wish = 0; wish < HR_WISHES; ++wish) {
    if (engine->wanted[wish].unsent) {
      send_wish(engine, wish);
    }
  }
}

/** The host started or jumped: what sounds, and is held, ends at `before`, and
 * the music goes on at `here`, as foreseen if possible. */
HR_REALTIME static void jump(HrEngine* engine, unsigned what, HrTick before, HrTick here)
{
  const bool starts = what & HR_CLOCK_STARTED;
  const bool cued = starts && engine->cued && engine->wanted[HR_WISH_NOW].at == here;
  hr_player_release(&engine->player, engine->cursor);
  hr_recorder_close_held(&engine->recorder, before);
  engine->overdubbing = engine->layered = engine->over = false;
  engine->straight = false;
  engine->cued = false;
  if (starts || here > before) {
    engine->pass_start = INT64_MIN;
  } else {
    note_pass(engine, here);
  }
  if (!cued) {
    play_nothing(engine);
  } else if (hr_player_plays(&engine->player)) {
    hr_player_chase(&engine->player, engine->cursor);
  }
  if (starts && engine->side) {
    return_home(engine, here);
  }
  if (engine->replay && engine->enabled) {
    if (!cued && !play_ahead(engine, here)) {
      ask_for_stream(engine, here);
    }
    look_ahead(engine, here);
  }
}

HR_REALTIME static void stop(HrEngine* engine, HrTick before)
{
  hr_player_release(&engine->player, engine->cursor);
  hr_recorder_close_held(&engine->recorder, before);
  engine->overdubbing = engine->layered = engine->over = false;
  engine->straight = false;
  engine->pass_start = INT64_MIN;
  play_nothing(engine);
  forget_ahead(engine);
}

void hr_engine_position(HrEngine* engine, uint32_t frame, const HrPosition* position)
{
  HrClock* const clock = &engine->clock;
  const uint32_t last = frame < engine->frames ? frame : engine->frames;
  advance(engine, last > engine->cursor ? last : engine->cursor);
  const HrTick before = position_at(engine, engine->cursor);
  const unsigned what = hr_clock_host(clock, frame_at(engine, engine->cursor), position);
  const HrTick here = position_at(engine, engine->cursor);
  if (what & (HR_CLOCK_STARTED | HR_CLOCK_LOCATED)) {
    jump(engine, what, before, here);
  } else if (what & HR_CLOCK_STOPPED) {
    stop(engine, before);
  }
  if (what & HR_CLOCK_CUED && clock->ever_rolled && !clock->running) {
    if (engine->side) {
      return_home(engine, here); // The host was moved: what is played next belongs there
    }
    park(engine, engine->cursor, clock->cue_tick);
  }
  if (what & (HR_CLOCK_STOPPED | HR_CLOCK_CUED) && !clock->running && engine->replay &&
      engine->enabled) {
    cue(engine, clock->cued ? clock->cue_tick : here);
  }
  if (what & HR_CLOCK_TEMPO && clock->rolling && records(engine)) {
    hr_recorder_tempo(&engine->recorder, here, &clock->tempo);
  }
  if (engine->pending.what && what) {
    schedule_pending(engine, engine->cursor);
  }
}

void hr_engine_midi(HrEngine* engine, uint32_t frame, const uint8_t* bytes, uint32_t size)
{
  const uint32_t last = engine->frames ? engine->frames - 1 : 0;
  const uint32_t at = frame < last ? frame : last; // Some hosts stamp one past the block
  if (!hr_midi_valid(bytes, size)) {
    ++engine->malformed;
    return;
  }
  advance(engine, at > engine->cursor ? at : engine->cursor);
  if (engine->settings[HR_SET_THRU] || !engine->enabled) {
    hr_output_put(&engine->output, engine->cursor, bytes, size);
  }
  const bool music = bytes[0] != ACTIVE_SENSING && bytes[0] != TIMING_CLOCK;
  if (music && records(engine)) {
    record(engine, engine->cursor, bytes, size);
  }
}

void hr_engine_poll(HrEngine* engine)
{
  take_messages(engine);
}

void hr_engine_end(HrEngine* engine)
{
  advance(engine, engine->frames);
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
