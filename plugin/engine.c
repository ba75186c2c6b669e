/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/engine.h"

#include "plugin/session.h"

#include <stdlib.h>
#include <string.h>

#define MESSAGE_BYTES 16384u
#define REQUEST_BYTES 65536u
#define NOTIFY_BYTES  65536u
#define STREAM_BYTES  ((uint64_t)256 << 10)
#define CARRY_BYTES   ((uint64_t)256 << 10)

/** On the own clock a silence longer than this many bars ends at its first bar line. */
#define SILENCE_BARS 2

/** Seconds between wake-ups of the session when nothing is urgent. */
#define WORK_INTERVAL 0.1

enum { ACTIVE_SENSING = 0xfe, TIMING_CLOCK = 0xf8 };

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
  engine->carry = hr_ring_new(CARRY_BYTES);
  bool complete = engine->messages && engine->requests && engine->notify && engine->carry;
  for (unsigned i = 0; i < HR_STREAMS; ++i) {
    engine->streams[i] = hr_ring_new(STREAM_BYTES);
    complete = complete && engine->streams[i];
  }
  if (!complete) {
    hr_engine_free(engine);
    return NULL;
  }
  engine->record = true;
  engine->thru = true;
  engine->enabled = true;
  hr_chase_init(&engine->heard);
  hr_chase_init(&engine->wanted);
  engine->stream.ring = HR_NO_STREAM;
  engine->recorder.target.number = 1;
  engine->recorder.target.empty = true;
  engine->recorder.target.fresh = true;
  engine->recorder.target.tempo = engine->clock.tempo;
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
  hr_ring_free(engine->carry);
  free(engine);
}

void hr_engine_activate(HrEngine* engine)
{
  engine->release_all = true;
}

/* ---- Output ---------------------------------------------------------- */

HR_REALTIME static void emit(HrEngine* engine, uint32_t frame, const uint8_t* bytes, uint32_t size)
{
  hr_chase_follow(&engine->heard, bytes, size);
  if (engine->frames && !hr_ring_used(engine->carry) &&
      engine->output.write(engine->output.handle, frame, bytes, size)) {
    return;
  }
  void* const room = hr_ring_begin(engine->carry, 1, size);
  if (!room) {
    ++engine->recorder.dropped;
    return;
  }
  memcpy(room, bytes, size);
  hr_ring_end(engine->carry);
}

/** Send what the last blocks had no room for, in order. A block of no frames
 * has room for nothing. */
HR_REALTIME static void emit_carried(HrEngine* engine)
{
  if (!engine->frames) {
    return;
  }
  uint64_t position = hr_ring_read_position(engine->carry);
  for (bool first = true;; first = false) {
    const HrRecord* const record = hr_ring_next(engine->carry, &position);
    if (!record) {
      return;
    }
    if (!engine->output.write(engine->output.handle, 0, (const uint8_t*)(record + 1),
                              record->size)) {
      if (!first) {
        return;
      }
      ++engine->recorder.dropped; // Larger than a whole empty block: it will never fit
    }
    hr_ring_release(engine->carry, position);
  }
}

HR_REALTIME static void release_notes(HrEngine* engine, uint32_t frame)
{
  uint8_t bytes[3];
  while (hr_sounding_release(&engine->sounding, bytes)) {
    emit(engine, frame, bytes, sizeof bytes);
  }
}

/* ---- Streams ---------------------------------------------------------- */

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

/** Let the session use the ring of a stream that is not wanted any more. */
HR_REALTIME static void drop_stream(HrEngine* engine, const HrStreamStart* stream)
{
  if (stream->ring != HR_NO_STREAM) {
    HrRing* const ring = engine->streams[stream->ring];
    hr_ring_release(ring, hr_ring_write_position(ring));
  }
}

HR_REALTIME static void play_nothing(HrEngine* engine)
{
  drop_stream(engine, &engine->stream);
  engine->stream.ring = HR_NO_STREAM;
  engine->request_unsent = false;
  engine->cued = false;
  ++engine->request; // An answer still under way is not wanted any more
}

HR_REALTIME static void emit_chased(void* data, const uint8_t* bytes, uint32_t size)
{
  HrEngine* const engine = data;
  emit(engine, engine->cursor, bytes, size);
  hr_sounding_follow(&engine->sounding, bytes, size);
}

/** Bring the synthesizer into the state that the stream asks for. */
HR_REALTIME static void chase(HrEngine* engine)
{
  hr_chase_send(&engine->heard, &engine->wanted, emit_chased, engine);
}

/** A held note that ends just where the replay begins is not begun again. */
HR_REALTIME static void drop_ending_notes(HrEngine* engine)
{
  const HrRing* const ring = engine->streams[engine->stream.ring];
  uint64_t position = engine->stream_position;
  const HrRecord* record;
  while ((record = hr_ring_next(ring, &position))) {
    const HrStreamEvent* const event = (const HrStreamEvent*)(record + 1);
    const uint8_t* const bytes = (const uint8_t*)(event + 1);
    if (event->lap || event->tick != engine->skip_until) {
      break;
    }
    if (record->type == HR_STREAM_MIDI && event->size == 3 &&
        hr_sound_kind(bytes, 3) == HR_SOUND_RELEASE && (bytes[0] & 0xe0) == 0x80) {
      hr_chase_follow(&engine->wanted, bytes, 3);
    }
  }
}

/** Take from the stream what only counts for the state: what lies before
 * `skip_until`. Then it is at what there is to play. */
HR_REALTIME static void take_state(HrEngine* engine, HrTempo* tempo)
{
  HrRing* const ring = engine->streams[engine->stream.ring];
  uint64_t position = engine->stream_position;
  const HrRecord* record;
  bool in_state = false;
  hr_chase_init(&engine->wanted);
  while ((record = hr_ring_next(ring, &position))) {
    const HrStreamEvent* const event = (const HrStreamEvent*)(record + 1);
    in_state =
        (in_state || record->type == HR_STREAM_STATE_BEGIN) && record->type != HR_STREAM_STATE_END;
    const bool to_play = event->tick >= engine->skip_until && record->type <= HR_STREAM_META;
    if (event->lap || record->type == HR_STREAM_END || (to_play && !in_state)) {
      break;
    }
    if (record->type == HR_STREAM_META) {
      hr_meta_apply(tempo, (const uint8_t*)(event + 1), event->size);
    } else if (event->size) {
      hr_chase_follow(&engine->wanted, (const uint8_t*)(event + 1), event->size);
    }
    engine->stream_position = position;
  }
  hr_ring_release(ring, engine->stream_position);
  drop_ending_notes(engine);
}

/** Play a stream from the tick `from` on, which is now, or, with the clock
 * standing, when it starts. */
HR_REALTIME static void play(HrEngine* engine, const HrStreamStart* stream, HrTick from)
{
  HrClock* const clock = &engine->clock;
  HrTempo tempo = stream->tempo;
  play_nothing(engine);
  engine->stream = *stream;
  engine->stream_position = stream->start;
  engine->skip_until = from;
  engine->lap = 0;
  take_state(engine, &tempo);
  if (clock->running) {
    const int64_t frame = engine->block + engine->cursor;
    if (!clock->rolling) {
      hr_clock_set_tempo(clock, frame, hr_clock_tick(clock, frame), &tempo);
    }
    chase(engine);
  }
}

HR_REALTIME static void send_request(HrEngine* engine)
{
  const HrStreamRequest request = {engine->request, engine->request_tick};
  engine->request_unsent = !hr_engine_request(engine, HR_REQUEST_STREAM, &request, sizeof request);
}

/** Ask for what follows from `tick`: it was not foreseen. */
HR_REALTIME static void ask_for_stream(HrEngine* engine, HrTick tick)
{
  play_nothing(engine);
  engine->request_tick = tick;
  send_request(engine);
}

/** The host is stopped and will start at `tick`: have the music ready. */
HR_REALTIME static void cue(HrEngine* engine, HrTick tick)
{
  ask_for_stream(engine, tick);
  engine->cued = true;
}

/** The next of the stream; NULL if nothing is there (yet). */
HR_REALTIME static const HrRecord* next_streamed(const HrEngine* engine, uint64_t* after)
{
  if (engine->stream.ring == HR_NO_STREAM || !engine->replay || hr_ring_used(engine->carry)) {
    return NULL;
  }
  *after = engine->stream_position;
  return hr_ring_next(engine->streams[engine->stream.ring], after);
}

HR_REALTIME static void replay_ended(HrEngine* engine, uint32_t frame)
{
  release_notes(engine, frame);
  play_nothing(engine);
  engine->overdubbing = false;
  engine->last_event = hr_clock_tick(&engine->clock, engine->block + frame);
  if (!engine->clock.rolling) {
    engine->replay = false;
    hr_engine_request(engine, HR_REQUEST_ENDED, NULL, 0);
  }
}

HR_REALTIME static void play_event(HrEngine* engine, uint32_t frame, const HrRecord* record,
                                   uint64_t after)
{
  const HrStreamEvent* const event = (const HrStreamEvent*)(record + 1);
  const uint8_t* const bytes = (const uint8_t*)(event + 1);
  HrRing* const ring = engine->streams[engine->stream.ring];
  HrTempo tempo = engine->clock.tempo;
  engine->stream_position = after;
  switch (record->type) {
  case HR_STREAM_MIDI:
    emit(engine, frame, bytes, event->size);
    hr_sounding_follow(&engine->sounding, bytes, event->size);
    ++engine->replayed;
    if (engine->overdubbing && engine->record) {
      const HrTick head = engine->recorder.target.head;
      hr_recorder_append(&engine->recorder, event->tick > head ? event->tick : head,
                         &engine->clock.tempo, bytes, event->size);
    }
    break;
  case HR_STREAM_META:
    if (!engine->clock.rolling && hr_meta_apply(&tempo, bytes, event->size)) {
      hr_clock_set_tempo(&engine->clock, engine->block + frame, event->tick, &tempo);
    }
    break;
  case HR_STREAM_STATE_BEGIN:
    hr_chase_init(&engine->wanted);
    break;
  case HR_STREAM_STATE:
    hr_chase_follow(&engine->wanted, bytes, event->size);
    break;
  case HR_STREAM_STATE_END:
    chase(engine);
    break;
  default:
    replay_ended(engine, frame);
    return;
  }
  hr_ring_release(ring, after);
}

/* ---- Recording -------------------------------------------------------- */

/** The own clock waits for somebody to play: at `tick`, or, where a host's
 * transport stands still, at the place that it shows. A side branch once begun
 * there goes on by itself. */
HR_REALTIME static void park(HrEngine* engine, uint32_t frame, HrTick tick)
{
  HrClock* const clock = &engine->clock;
  const bool follows = clock->ever_rolled && clock->cued && !engine->side;
  hr_clock_set(clock, engine->block + frame, follows ? clock->cue_tick : tick, false);
}

/** Where playing goes on: at the start of a branch that has just begun, else on
 * the bar line after its head. */
HR_REALTIME static HrTick resume_tick(const HrEngine* engine, const HrTarget* target)
{
  const HrTick bar = hr_tempo_bar_length(&engine->clock.tempo);
  return target->fresh ? target->head
                       : hr_grid_ceiling(target->head + 1, engine->clock.bar_tick, bar);
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
HR_REALTIME static bool fork_at(HrEngine* engine, HrTick tick, uint32_t number, bool carry)
{
  const HrTarget left = engine->recorder.target;
  if (!hr_recorder_fork(&engine->recorder, tick, number, carry)) {
    return false;
  }
  update_target(&engine->pending.target, &left, tick);
  update_target(&engine->home, &left, tick);
  return true;
}

/** What was heard of the branch left ends with it, unless it is to be overdubbed. */
HR_REALTIME static void leave_replay(HrEngine* engine, uint32_t frame)
{
  engine->overdubbing = engine->overdub && engine->replay && engine->stream.ring != HR_NO_STREAM;
  if (engine->overdubbing || !engine->replay) {
    return;
  }
  /* The new branch has the beginning of what sounds in its past: it gets the end, too. */
  HrRecorder* const recorder = &engine->recorder;
  uint8_t bytes[3];
  while (hr_sounding_release(&engine->sounding, bytes)) {
    emit(engine, frame, bytes, sizeof bytes);
    hr_recorder_append(recorder, recorder->target.head, &recorder->target.tempo, bytes,
                       sizeof bytes);
  }
  play_nothing(engine);
  if (!engine->clock.rolling && !engine->loop.on) {
    engine->replay = false;
    hr_engine_request(engine, HR_REQUEST_ENDED, NULL, 0);
  }
}

/** Play on while the host stands at `tick`: one tick later, much less than a
 * frame, so that the ends of notes at `tick` are in the new branch's past. */
HR_REALTIME static void begin_side_branch(HrEngine* engine, HrTick tick)
{
  HrTarget home = engine->recorder.target;
  if (fork_at(engine, tick, 0, false)) {
    home.head = home.head > tick ? home.head : tick;
    engine->home = home;
    engine->side = true;
  }
}

HR_REALTIME static void record(HrEngine* engine, uint32_t frame, const uint8_t* bytes,
                               uint32_t size)
{
  HrRecorder* const recorder = &engine->recorder;
  HrClock* const clock = &engine->clock;
  const bool releasing = hr_sound_kind(bytes, size) == HR_SOUND_RELEASE;
  HrTick tick = hr_clock_tick(clock, engine->block + frame);
  if (releasing && (!clock->running || tick < recorder->target.head)) {
    /* Hosts end notes when they stop and locate: that ends what is held in the
     * record, where the branch is, and starts nothing. */
    HrSounding held = recorder->held;
    if (hr_sounding_follow(&held, bytes, size)) {
      const HrTick head = recorder->target.head;
      hr_recorder_append(recorder, tick > head ? tick : head, &recorder->target.tempo, bytes, size);
    }
    return;
  }
  if (!clock->running) {
    if (engine->cued) {
      play_nothing(engine); // That was for the host's start, not for ours
    }
    if (clock->ever_rolled && !engine->side) {
      begin_side_branch(engine, ++tick);
    }
    hr_clock_set(clock, engine->block + frame, tick, true);
  }
  if (tick < recorder->target.head && !recorder->target.empty) {
    if (fork_at(engine, tick, 0, false)) {
      leave_replay(engine, frame);
    } else {
      tick = recorder->target.head; // No room for a new branch: kept all the same
    }
  }
  hr_recorder_append(recorder, tick, &clock->tempo, bytes, size);
  engine->last_event = tick;
}

/* ---- Commands --------------------------------------------------------- */

HR_REALTIME static HrTick position_at(const HrEngine* engine, uint32_t frame)
{
  return hr_clock_tick(&engine->clock, engine->block + frame);
}

HR_REALTIME static bool looping(const HrEngine* engine)
{
  return engine->loop.on && engine->loop.end > engine->loop.start && engine->replay &&
         !engine->clock.rolling && engine->clock.running;
}

/** When what is pending takes effect, seen from `frame`. */
HR_REALTIME static void schedule_pending(HrEngine* engine, uint32_t frame)
{
  const HrClock* const clock = &engine->clock;
  const HrTick now = position_at(engine, frame);
  engine->pending_tick = now;
  if (!clock->running || engine->pending.quantum == HR_QUANTUM_NOW) {
    return;
  }
  if (engine->pending.quantum == HR_QUANTUM_LOOP_END && looping(engine)) {
    engine->pending_tick = engine->loop.end;
    return;
  }
  const HrTick length = engine->pending.quantum == HR_QUANTUM_BEAT
                            ? hr_tempo_beat_length(&clock->tempo)
                            : hr_tempo_bar_length(&clock->tempo);
  engine->pending_tick = hr_grid_ceiling(now, clock->bar_tick, length);
}

HR_REALTIME static void start_replay(HrEngine* engine, uint32_t frame, const HrGoMessage* go,
                                     HrTick tick)
{
  engine->replay = true;
  engine->overdubbing = false;
  if (go->what & HR_GO_FOLLOW && !engine->clock.rolling) {
    if (engine->clock.cued && !engine->clock.running) {
      cue(engine, engine->clock.cue_tick);
    }
  } else if (go->what & HR_GO_LOCATE && !engine->clock.rolling) {
    engine->clock.tempo = go->stream.tempo;
    hr_clock_set(&engine->clock, engine->block + frame, go->stream.tick, true);
    play(engine, &go->stream, go->stream.tick);
    engine->last_event = go->stream.tick;
  } else if (go->stream.ring != HR_NO_STREAM && go->stream.tick <= tick) {
    play(engine, &go->stream, tick);
  } else {
    drop_stream(engine, &go->stream);
    ask_for_stream(engine, tick);
  }
}

/** Fork by command: at once, whatever else is pending. */
HR_REALTIME static void fork_now(HrEngine* engine, const HrGoMessage* go)
{
  if (fork_at(engine, position_at(engine, engine->cursor), go->target.number, true)) {
    engine->side = false;
    leave_replay(engine, engine->cursor);
  }
}

/** Do what was pending, at `tick`. */
HR_REALTIME static void take_effect(HrEngine* engine, uint32_t frame, HrTick tick)
{
  const HrGoMessage go = engine->pending;
  HrClock* const clock = &engine->clock;
  engine->pending.what = 0;
  if (go.what & (HR_GO_SWITCH | HR_GO_REPLAY | HR_GO_STOP)) {
    release_notes(engine, frame);
    play_nothing(engine);
    engine->overdubbing = false;
  }
  if (go.what & HR_GO_SWITCH && go.target.number != engine->recorder.target.number) {
    hr_recorder_switch(&engine->recorder, tick, &go.target);
    engine->side = false;
  }
  if (go.what & HR_GO_STOP) {
    engine->replay = false;
  }
  if (go.what & HR_GO_REPLAY) {
    start_replay(engine, frame, &go, tick);
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
    drop_stream(engine, &engine->pending.stream);
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
  release_notes(engine, frame);
  play_nothing(engine);
  hr_recorder_attach(&engine->recorder, message);
  engine->side = false;
  engine->overdubbing = false;
  engine->work_wanted = true; // The ring left has got its last
  forget_pending(engine);
  if (!engine->clock.rolling) {
    engine->clock.tempo = message->target.tempo;
    engine->clock.bar_tick = 0;
    engine->replay = false;
    park(engine, frame, resume_tick(engine, &message->target));
  } else if (engine->replay) {
    ask_for_stream(engine, position_at(engine, frame));
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
  case HR_MESSAGE_STREAM: {
    const HrStreamMessage* const message = payload;
    if (message->request == engine->request && engine->replay) {
      const bool cued = engine->cued;
      play(engine, &message->stream, message->stream.tick);
      engine->cued = cued;
    } else {
      drop_stream(engine, &message->stream);
    }
    break;
  }
  case HR_MESSAGE_SET: {
    const HrSetMessage* const message = payload;
    bool* const settings[] = {[HR_SET_RECORD] = &engine->record,
                              [HR_SET_THRU] = &engine->thru,
                              [HR_SET_OVERDUB] = &engine->overdub};
    *settings[message->setting] = message->value;
    if (message->setting == HR_SET_RECORD && !message->value) {
      hr_recorder_close_held(&engine->recorder, position_at(engine, engine->cursor));
    }
    break;
  }
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
    break;
  default:
    engine->release_all = true;
    break;
  }
}

/** Tell which stream rings are in use; before the messages that offered them are released. */
HR_REALTIME static void publish_streams(HrEngine* engine)
{
  const uint32_t playing = 1u << engine->stream.ring;
  const uint32_t waiting = engine->pending.what ? 1u << engine->pending.stream.ring : 0;
  atomic_store_explicit(&engine->shared.streams, (playing | waiting) & ((1u << HR_STREAMS) - 1),
                        memory_order_release);
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

HR_REALTIME static void wrap(HrEngine* engine, uint32_t frame)
{
  release_notes(engine, frame);
  hr_recorder_close_held(&engine->recorder, engine->loop.end);
  hr_clock_set(&engine->clock, engine->block + frame, engine->loop.start, true);
  ++engine->lap;
  if (engine->stream.ring == HR_NO_STREAM) {
    ask_for_stream(engine, engine->loop.start); // A fork ended the old one: its own music is next
  }
}

/** Where a long silence on the own clock ends; INT64_MAX if it does not. */
HR_REALTIME static HrTick silence_tick(const HrEngine* engine)
{
  if (engine->clock.rolling || !engine->clock.running ||
      (engine->replay && engine->stream.ring != HR_NO_STREAM) ||
      hr_sounding_any(&engine->recorder.held)) {
    return INT64_MAX;
  }
  const HrTick bar = hr_tempo_bar_length(&engine->clock.tempo);
  return hr_grid_ceiling(engine->last_event, engine->clock.bar_tick, bar) + SILENCE_BARS * bar;
}

typedef enum { NOTHING, TAKE_EFFECT, WRAP, SILENCE, PLAY } ActionKind;

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
  Action next = {.kind = NOTHING, .tick = INT64_MAX};
  if (engine->pending.what) {
    next.kind = TAKE_EFFECT;
    next.tick = engine->pending_tick;
  }
  if (looping(engine) && engine->loop.end < next.tick) {
    next.kind = WRAP;
    next.tick = engine->loop.end;
  }
  const HrTick silence = silence_tick(engine);
  if (silence < next.tick) {
    next.kind = SILENCE;
    next.tick = silence;
  }
  uint64_t after = 0;
  const HrRecord* const record =
      engine->clock.running && engine->enabled ? next_streamed(engine, &after) : NULL;
  if (record) {
    const HrStreamEvent* const event = (const HrStreamEvent*)(record + 1);
    const bool late = event->lap < engine->lap;
    if (late || (event->lap == engine->lap && event->tick < next.tick)) {
      next = (Action){PLAY, late ? INT64_MIN : event->tick, record, after};
    }
  }
  return next;
}

HR_REALTIME static void act(HrEngine* engine, uint32_t frame, const Action* action)
{
  const HrClock* const clock = &engine->clock;
  switch (action->kind) {
  case TAKE_EFFECT:
    take_effect(engine, frame, action->tick);
    break;
  case WRAP:
    wrap(engine, frame);
    break;
  case SILENCE:
    park(engine, frame,
         hr_grid_ceiling(engine->last_event + 1, clock->bar_tick,
                         hr_tempo_bar_length(&clock->tempo)));
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

void hr_engine_begin(HrEngine* engine, uint32_t frames, bool enabled, HrOutput output)
{
  engine->output = output;
  engine->frames = frames;
  engine->cursor = 0;
  emit_carried(engine);
  if (engine->release_all || (engine->enabled && !enabled)) {
    release_notes(engine, 0);
    hr_recorder_close_held(&engine->recorder, position_at(engine, 0));
    engine->release_all = false;
  }
  if (enabled && !engine->enabled && engine->replay) {
    ask_for_stream(engine, position_at(engine, 0));
  }
  engine->enabled = enabled;
  take_messages(engine);
  if (engine->request_unsent) {
    send_request(engine);
  }
}

/** Leave the side branch, if on one. */
HR_REALTIME static void return_home(HrEngine* engine, HrTick tick)
{
  if (engine->side) {
    const HrTarget left = engine->recorder.target;
    hr_recorder_switch(&engine->recorder, tick, &engine->home);
    update_target(&engine->pending.target, &left, tick);
    engine->side = false;
  }
}

void hr_engine_position(HrEngine* engine, uint32_t frame, const HrPosition* position)
{
  HrClock* const clock = &engine->clock;
  const uint32_t last = frame < engine->frames ? frame : engine->frames;
  const uint32_t at = last > engine->cursor ? last : engine->cursor;
  advance(engine, at);
  const HrTick before = position_at(engine, at);
  const unsigned what = hr_clock_host(clock, engine->block + at, position);
  const HrTick here = position_at(engine, at);
  const bool foreseen = what & HR_CLOCK_STARTED && engine->cued && engine->request_tick == here;
  if (what & (HR_CLOCK_STARTED | HR_CLOCK_STOPPED | HR_CLOCK_LOCATED)) {
    release_notes(engine, at);
    hr_recorder_close_held(&engine->recorder, before);
    engine->overdubbing = false;
    engine->cued = false;
    if (foreseen) {
      chase(engine);
    } else {
      play_nothing(engine);
    }
  }
  if (what & HR_CLOCK_STARTED) {
    return_home(engine, here);
  }
  if (engine->replay && engine->enabled) {
    if (what & (HR_CLOCK_STARTED | HR_CLOCK_LOCATED) && !foreseen) {
      ask_for_stream(engine, here);
    } else if (what & (HR_CLOCK_STOPPED | HR_CLOCK_CUED) && !clock->running) {
      cue(engine, clock->cued ? clock->cue_tick : here);
    }
  }
  if (what & HR_CLOCK_CUED && clock->ever_rolled && !clock->running) {
    return_home(engine, here); // The host was moved: what is played next belongs there
    park(engine, at, clock->cue_tick);
  }
  if (what & HR_CLOCK_TEMPO && clock->rolling && engine->record && engine->enabled) {
    hr_recorder_tempo(&engine->recorder, here, &clock->tempo);
  }
  if (engine->pending.what && what) {
    schedule_pending(engine, at);
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
  if (engine->thru || !engine->enabled) {
    emit(engine, engine->cursor, bytes, size);
  }
  const bool music = bytes[0] != ACTIVE_SENSING && bytes[0] != TIMING_CLOCK;
  if (engine->record && engine->enabled && music) {
    record(engine, engine->cursor, bytes, size);
  }
}

void hr_engine_poll(HrEngine* engine)
{
  take_messages(engine);
}

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
  atomic_store_explicit(&shared->replayed, engine->replayed, order);
  atomic_store_explicit(&shared->malformed, engine->malformed, order);
  atomic_store_explicit(&shared->dropped, recorder->dropped, order);
  atomic_store_explicit(&shared->capture, recorder->capture, memory_order_release);
  atomic_store_explicit(&shared->frames, (uint64_t)engine->block, memory_order_release);
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
