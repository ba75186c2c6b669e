/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/session_internal.h"
#include "store/chase.h"

#include <string.h>

/** How often what is prepared is compared with the store, which others write to as well. */
#define CHECK_NS 50000000

/** How often the likely branches are looked for anew where nothing is known to have changed. */
#define RANK_NS 1000000000

/** What was not compared for so long is not trusted. */
#define TRUSTED_NS 2000000000

/** Nodes that the system is asked to read in before they are: twice what a ring holds. */
#define WINDOW_NODES 32

static bool write_event(HrRing* ring, uint32_t type, const HrReader* reader, const HrEvent* event)
{
  HrStreamEvent* const out =
      hr_ring_begin(ring, type, (uint32_t)sizeof *out + (event->bytes ? event->size : 0));
  if (!out) {
    return false;
  }
  *out = (HrStreamEvent){event->tick, reader->lap, event->size};
  if (event->bytes) {
    memcpy(out + 1, event->bytes, event->size);
  }
  hr_ring_end(ring);
  return true;
}

/** Write an event of the path, or that it will not be heard, as the ring could not hold it
 * if it were empty: what comes after it does not wait for that. */
static bool write_music(HrRing* ring, const HrReader* reader, const HrEvent* event)
{
  const uint32_t type = event->kind == HR_EVENT_META ? HR_STREAM_META : HR_STREAM_MIDI;
  const HrEvent unheard = {event->tick, HR_EVENT_MIDI, 0, NULL};
  const bool fits =
      hr_ring_cost(ring, (uint32_t)sizeof(HrStreamEvent) + event->size) <= ring->capacity;
  return fits ? write_event(ring, type, reader, event)
              : write_event(ring, HR_STREAM_UNHEARD, reader, &unheard);
}

/** Where a stream's events come from: the store, or what is prepared. */
typedef struct {
  HrPath* path; ///< NULL: `span`
  HrSpan span;
  uint32_t index;
} Source;

static HrStatus next_event(Source* source, HrEvent* event)
{
  if (source->path) {
    return hr_path_next(source->path, event);
  }
  return hr_span_next(&source->span, &source->index, event) ? HR_OK : HR_END;
}

/** The path is read to its end, or to the loop's: go round, or say so. */
static bool end_of_lap(HrReader* reader, HrRing* ring)
{
  if (reader->live) {
    return false; // More of it may come
  }
  if (reader->looped) {
    if (reader->lap_empty && reader->lap) {
      reader->open = false; // Nothing to hear in the whole loop
      return false;
    }
    reader->lap += 1;
    reader->lap_empty = true;
    reader->next = reader->loop.start;
    reader->skip = 0;
    reader->state_due = true;
    return true;
  }
  const HrEvent end = {reader->limit, HR_EVENT_MIDI, 0, NULL};
  reader->open = !write_event(ring, HR_STREAM_END, reader, &end);
  return false;
}

/** Read events up to a full ring (HR_OK) or the end (HR_END). */
static HrStatus read_lap(HrReader* reader, HrRing* ring, Source* source)
{
  HrEvent event;
  HrStatus status;
  uint32_t skip = reader->skip;
  while ((status = next_event(source, &event)) != HR_END) {
    if (status == HR_ERR_DAMAGED) {
      reader->damaged = true;
      continue; // The path has stepped over the node
    }
    if (status) {
      return status;
    }
    if ((event.tick > reader->limit && !reader->live) ||
        (reader->looped && event.tick >= reader->loop.end)) {
      return HR_END;
    }
    if (event.tick < reader->next) {
      continue; // A stretch that is prepared begins before it is needed
    }
    if (skip && event.tick == reader->next) {
      --skip;
      continue;
    }
    skip = 0;
    if (!write_music(ring, reader, &event)) {
      return HR_OK;
    }
    reader->skip = event.tick == reader->next ? reader->skip + 1 : 1;
    reader->next = event.tick;
    reader->lap_empty = false;
  }
  return HR_END;
}

/** Messages of a state on their way into a ring, or only counted. */
typedef struct {
  HrRing* ring; ///< NULL: count
  const HrReader* reader;
  uint64_t bytes;
} StateWriter;

static void write_state_message(void* data, const uint8_t* bytes, uint32_t size)
{
  StateWriter* const writer = data;
  const HrEvent event = {writer->reader->next, HR_EVENT_MIDI, size, bytes};
  writer->bytes += sizeof(HrRecord) + sizeof(HrStreamEvent) + 8;
  if (writer->ring) {
    write_event(writer->ring, HR_STREAM_STATE, writer->reader, &event);
  }
}

static void write_tempo(HrRing* ring, const HrReader* reader, const HrTempo* tempo)
{
  uint8_t bytes[HR_META_TEMPO_SIZE];
  HrEvent event = {reader->next, HR_EVENT_META, HR_META_TEMPO_SIZE, bytes};
  hr_meta_tempo(tempo->tempo, bytes);
  write_event(ring, HR_STREAM_META, reader, &event);
  hr_meta_meter(tempo->beats_per_bar, tempo->beat_unit, bytes);
  event.size = HR_META_METER_SIZE;
  write_event(ring, HR_STREAM_META, reader, &event);
}

/** Write the state at the reader's place, all of it or nothing; false if the
 * ring has no room for it now. */
static bool write_state(HrRing* ring, HrReader* reader, const HrChase* state, const HrTempo* tempo)
{
  HrChase none;
  StateWriter counter = {.reader = reader};
  StateWriter writer = {.ring = ring, .reader = reader};
  const HrEvent mark = {reader->next, HR_EVENT_MIDI, 0, NULL};
  hr_chase_init(&none);
  hr_chase_send(&none, state, write_state_message, &counter);
  if (counter.bytes + 1024 > ring->capacity - hr_ring_used(ring)) {
    return false;
  }
  write_event(ring, HR_STREAM_STATE_BEGIN, reader, &mark);
  write_tempo(ring, reader, tempo);
  hr_chase_send(&none, state, write_state_message, &writer);
  reader->state_due = !write_event(ring, HR_STREAM_STATE_END, reader, &mark);
  return !reader->state_due;
}

/* ---- From the store ------------------------------------------------------ */

static bool write_state_from_store(HrTxn* txn, HrReader* reader, HrRing* ring)
{
  HrChase state;
  HrTempo tempo = {HR_DEFAULT_TEMPO, 4, 4};
  if (hr_chase_at(txn, reader->branch, reader->next, &state)) {
    hr_chase_init(&state);
  }
  hr_tempo_at(txn, reader->branch, reader->next, &tempo);
  return write_state(ring, reader, &state, &tempo);
}

static void fill_from_store(HrStore* store, HrReader* reader, HrRing* ring)
{
  HrTxn* txn = NULL;
  if (!reader->open || hr_txn_begin(store, HR_READ, &txn)) {
    return;
  }
  bool more = true;
  while (more && (!reader->state_due || write_state_from_store(txn, reader, ring))) {
    HrPath path;
    Source source = {.path = &path};
    hr_path_will_need(txn, reader->branch, reader->next, WINDOW_NODES);
    HrStatus status = hr_path_open(txn, reader->branch, reader->next, &path);
    status = status ? status : read_lap(reader, ring, &source);
    hr_path_close(&path);
    more = status == HR_END && end_of_lap(reader, ring);
  }
  hr_txn_abort(txn);
}

/** What could not be read is told once, by somebody who has the lock. */
static void tell_damage(HrSession* session, HrReader* reader)
{
  HrError error;
  if (reader->damaged) {
    reader->damaged = false;
    hr_error(&error, HR_ERR_DAMAGED,
             "Some notes of this branch are damaged on disk and cannot be replayed. Run "
             "`halfremembered verify` to see which, and restore the store from a backup.");
    hr_session_set_trouble(session, &error);
  }
}

/* ---- From what is prepared ------------------------------------------------- */

/** The last tick of a lap. */
static HrTick end_of_music(const HrReader* reader)
{
  return reader->looped && reader->loop.end <= reader->limit ? reader->loop.end - 1 : reader->limit;
}

/** Where what is prepared ends, or a loop goes round for the second time, the
 * reader goes on from the store later. */
static void fill_from_memory(const HrPreparedBranch* branch, HrReader* reader, HrRing* ring)
{
  const HrStretch* stretch;
  bool more = true;
  while (more && reader->lap < 2 && (stretch = hr_prepared_stretch(branch, reader->next))) {
    HrChase state;
    HrTempo tempo;
    hr_prepared_state(branch, stretch, reader->next, &state, &tempo);
    if (reader->state_due && !write_state(ring, reader, &state, &tempo)) {
      return;
    }
    Source source = {.span = hr_prepared_span(branch, stretch)};
    more = read_lap(reader, ring, &source) == HR_END;
    if (more && stretch->until <= end_of_music(reader)) {
      reader->next = stretch->until;
      reader->skip = 0;
    } else {
      more = more && end_of_lap(reader, ring);
    }
  }
}

bool hr_session_prepared_is_fresh(const HrSession* session)
{
  return session->prepared && session->prepared->checked_at &&
         hr_monotonic_ns() - session->prepared->checked_at < TRUSTED_NS;
}

const HrPreparedBranch* hr_session_prepared(const HrSession* session, HrBranchId branch)
{
  return hr_session_prepared_is_fresh(session) ? hr_prepared_find(session->prepared, branch) : NULL;
}

/** What the likely branches need, as things are. */
static HrPlan make_plan(const HrSession* session)
{
  const HrShared* const shared = &session->engine->shared;
  const double tempo = atomic_load_explicit(&shared->tempo, memory_order_relaxed);
  const double quarters = (tempo > 1.0 ? tempo : HR_DEFAULT_TEMPO) / 60.0;
  HrPlan plan = {.music = session->replay,
                 .playhead = atomic_load_explicit(&shared->position, memory_order_relaxed),
                 .second = (HrTick)(quarters * HR_TICKS_PER_QUARTER),
                 .loop = session->loop};
  plan.loop.on = hr_loop_valid(&session->loop);
  if (plan.loop.on && atomic_load_explicit(&shared->rolling, memory_order_relaxed)) {
    plan.playhead -= hr_loop_shift(&plan.loop, plan.playhead);
  }
  return plan;
}

static void rank(HrSession* session, HrTxn* txn, int64_t now)
{
  HrPrepared* const prepared = session->prepared;
  HrLikely likely;
  if (!hr_likely_find(txn, prepared->origin, prepared->recent, &likely)) {
    hr_session_lock(session);
    hr_prepared_rank(prepared, &likely);
    prepared->ranked_at = now;
    prepared->stale = false;
    hr_session_unlock(session);
  }
}

/** Bring what is prepared up to date, without the lock but to show it. */
static void prepare(HrSession* session, const HrPlan* plan, int64_t now)
{
  HrPrepared* const prepared = session->prepared;
  HrTxn* txn = NULL;
  if (hr_txn_begin(session->binding.store, HR_READ, &txn)) {
    return;
  }
  if (prepared->stale || now < prepared->ranked_at || now - prepared->ranked_at >= RANK_NS) {
    rank(session, txn, now);
  }
  for (unsigned i = 0; i < prepared->likely.count; ++i) {
    if (hr_prepared_read(prepared, txn, prepared->likely.branches[i], plan)) {
      hr_session_lock(session);
      hr_prepared_show(prepared);
      hr_session_unlock(session);
    }
  }
  hr_txn_abort(txn);
  hr_session_lock(session);
  prepared->checked_at = now;
  hr_session_unlock(session);
}

void hr_session_prepare(HrSession* session)
{
  HrPrepared* const prepared = session->prepared;
  if (!prepared || !session->branch) {
    return;
  }
  const HrPlan plan = make_plan(session);
  const int64_t now = hr_monotonic_ns();
  hr_prepared_visit(prepared, session->branch);
  if (prepared->stale || now - prepared->checked_at >= CHECK_NS ||
      !hr_prepared_covers(prepared, &plan)) {
    const unsigned depth = hr_session_release(session);
    prepare(session, &plan, now);
    hr_session_retake(session, depth);
  }
}

/* ---- Streams --------------------------------------------------------------- */

static uint32_t rings_in_use(HrSession* session)
{
  const HrRing* const messages = session->engine->messages;
  if (!hr_ring_used(messages)) {
    session->offered = 0;
  }
  return session->offered | session->filling |
         atomic_load_explicit(&session->engine->shared.streams, memory_order_acquire);
}

/** Where a branch ends and which tempo it has at `tick`. */
static HrStatus look_up(HrSession* session, HrBranchId branch, HrTick tick, HrTick* end,
                        HrTempo* tempo)
{
  HrTxn* txn = NULL;
  HrBranch record;
  HrStatus status = hr_txn_begin(session->binding.store, HR_READ, &txn);
  status = status ? status : hr_branch_get(txn, branch, &record);
  status = status ? status : hr_tempo_at(txn, branch, tick, tempo);
  hr_txn_abort(txn);
  *end = status ? 0 : record.head_tick;
  return status;
}

HrStatus hr_session_open_stream(HrSession* session, HrBranchId branch, bool ahead,
                                HrStreamStart* start)
{
  const HrPreparedBranch* const prepared = hr_session_prepared(session, branch);
  const HrStretch* const stretch = prepared ? hr_prepared_stretch(prepared, start->tick) : NULL;
  const uint32_t used = rings_in_use(session);
  HrChase state;
  HrTick end;
  HrStatus status = HR_OK;
  uint32_t index = 0;
  while (index < HR_STREAMS && used & 1u << index) {
    ++index;
  }
  if (index == HR_STREAMS) {
    return HR_ERR_BUSY;
  }
  if (stretch) {
    end = prepared->target.head;
    hr_prepared_state(prepared, stretch, start->tick, &state, &start->tempo);
  } else {
    status = look_up(session, branch, start->tick, &end, &start->tempo);
  }
  if (status) {
    return status;
  }
  HrReader* const reader = &session->readers[index];
  HrRing* const ring = session->engine->streams[index];
  *reader = (HrReader){.open = true,
                       .branch = branch,
                       .next = start->tick,
                       .state_due = true,
                       .limit = end,
                       .live = ahead,
                       .looped = hr_loop_valid(&start->loop),
                       .loop = start->loop};
  start->ring = index;
  start->start = hr_ring_write_position(ring);
  hr_ring_release(ring, start->start); // What was read ahead after the engine had let go of it
  session->offered |= 1u << index;
  if (stretch) {
    fill_from_memory(prepared, reader, ring);
  } else {
    fill_from_store(session->binding.store, reader, ring);
    tell_damage(session, reader);
  }
  return HR_OK;
}

/** The engine plays what was read ahead of its time: what was recorded until
 * then belongs to it, and nothing later. */
static void end_live_part(HrSession* session, HrReader* reader)
{
  HrTxn* txn = NULL;
  HrBranch record;
  hr_session_drain(session, true);
  if (!hr_txn_begin(session->binding.store, HR_READ, &txn) &&
      !hr_branch_get(txn, reader->branch, &record)) {
    reader->limit = record.head_tick;
    reader->live = false;
  }
  hr_txn_abort(txn);
}

void hr_session_read_ahead(HrSession* session)
{
  const uint32_t playing =
      atomic_load_explicit(&session->engine->shared.playing, memory_order_acquire);
  for (unsigned i = 0; i < HR_STREAMS; ++i) {
    HrReader* const reader = &session->readers[i];
    if (!(rings_in_use(session) & 1u << i)) {
      reader->open = false;
    }
    if (!reader->open) {
      continue;
    }
    if (reader->live && i == playing) {
      end_live_part(session, reader);
    }
    HrReader own = *reader;
    session->filling = 1u << i;
    const unsigned depth = hr_session_release(session);
    fill_from_store(session->binding.store, &own, session->engine->streams[i]);
    hr_session_retake(session, depth);
    session->filling = 0;
    tell_damage(session, &own);
    *reader = own;
  }
}
