/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/session_internal.h"
#include "store/chase.h"

#include <string.h>

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

static void tell_damage(HrSession* session)
{
  HrError error;
  hr_error(&error, HR_ERR_DAMAGED,
           "Some notes of this branch are damaged on disk and cannot be replayed. Run "
           "`halfremembered verify` to see which, and restore the store from a backup.");
  hr_session_set_trouble(session, &error);
}

/** Read events up to a full ring (HR_OK) or the end (HR_END). */
static HrStatus read_lap(HrSession* session, HrReader* reader, HrRing* ring, HrPath* path)
{
  HrEvent event;
  HrStatus status;
  uint32_t skip = reader->skip;
  while ((status = hr_path_next(path, &event)) != HR_END) {
    if (status == HR_ERR_DAMAGED) {
      tell_damage(session);
      continue; // The path has stepped over the node
    }
    if (status) {
      return status;
    }
    if ((event.tick > reader->limit && !reader->live) ||
        (reader->looped && event.tick >= reader->loop.end)) {
      return HR_END;
    }
    if (skip && event.tick == reader->next) {
      --skip;
      continue;
    }
    skip = 0;
    const uint32_t type = event.kind == HR_EVENT_META ? HR_STREAM_META : HR_STREAM_MIDI;
    if (!write_event(ring, type, reader, &event)) {
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

static void write_tempo(HrTxn* txn, HrRing* ring, const HrReader* reader)
{
  HrTempo tempo;
  uint8_t bytes[HR_META_TEMPO_SIZE];
  HrEvent event = {reader->next, HR_EVENT_META, HR_META_TEMPO_SIZE, bytes};
  if (hr_tempo_at(txn, reader->branch, reader->next, &tempo)) {
    return;
  }
  hr_meta_tempo(tempo.tempo, bytes);
  write_event(ring, HR_STREAM_META, reader, &event);
  hr_meta_meter(tempo.beats_per_bar, tempo.beat_unit, bytes);
  event.size = HR_META_METER_SIZE;
  write_event(ring, HR_STREAM_META, reader, &event);
}

/** Write the state at the reader's place, all of it or nothing; false if the
 * ring has no room for it now. */
static bool write_state(HrTxn* txn, HrRing* ring, const HrReader* reader)
{
  HrChase none, chase;
  StateWriter counter = {.reader = reader};
  StateWriter writer = {.ring = ring, .reader = reader};
  const HrEvent mark = {reader->next, HR_EVENT_MIDI, 0, NULL};
  hr_chase_init(&none);
  if (hr_chase_at(txn, reader->branch, reader->next, &chase)) {
    hr_chase_init(&chase);
  }
  hr_chase_send(&none, &chase, write_state_message, &counter);
  if (counter.bytes + 1024 > ring->capacity - hr_ring_used(ring)) {
    return false;
  }
  write_event(ring, HR_STREAM_STATE_BEGIN, reader, &mark);
  write_tempo(txn, ring, reader);
  hr_chase_send(&none, &chase, write_state_message, &writer);
  return write_event(ring, HR_STREAM_STATE_END, reader, &mark);
}

static void fill(HrSession* session, unsigned index)
{
  HrReader* const reader = &session->readers[index];
  HrRing* const ring = session->engine->streams[index];
  HrTxn* txn = NULL;
  if (!reader->open || hr_txn_begin(session->binding.store, HR_READ, &txn)) {
    return;
  }
  bool more = true;
  while (more) {
    if (reader->state_due && !write_state(txn, ring, reader)) {
      break;
    }
    reader->state_due = false;
    HrPath path;
    HrStatus status = hr_path_open(txn, reader->branch, reader->next, &path);
    status = status ? status : read_lap(session, reader, ring, &path);
    hr_path_close(&path);
    more = status == HR_END && end_of_lap(reader, ring);
  }
  hr_txn_abort(txn);
}

static uint32_t rings_in_use(HrSession* session)
{
  const HrRing* const messages = session->engine->messages;
  if (!hr_ring_used(messages)) {
    session->offered = 0;
  }
  return session->offered |
         atomic_load_explicit(&session->engine->shared.streams, memory_order_acquire);
}

HrStatus hr_session_open_stream(HrSession* session, HrBranchId branch, HrStreamKind kind,
                                HrStreamStart* start)
{
  const uint32_t used = rings_in_use(session);
  uint32_t index = 0;
  while (index < HR_STREAMS && used & 1u << index) {
    ++index;
  }
  if (index == HR_STREAMS) {
    return HR_ERR_BUSY;
  }
  HrTxn* txn = NULL;
  HrBranch record;
  HrStatus status = hr_txn_begin(session->binding.store, HR_READ, &txn);
  status = status ? status : hr_branch_get(txn, branch, &record);
  status = status ? status : hr_tempo_at(txn, branch, start->tick, &start->tempo);
  hr_txn_abort(txn);
  if (status) {
    return status;
  }
  session->readers[index] =
      (HrReader){.open = true,
                 .branch = branch,
                 .next = start->tick,
                 .state_due = true,
                 .limit = record.head_tick,
                 .live = kind == HR_STREAM_AHEAD,
                 .looped = kind != HR_STREAM_ONCE && hr_loop_valid(&session->loop),
                 .loop = session->loop};
  start->ring = index;
  start->start = hr_ring_write_position(session->engine->streams[index]);
  session->offered |= 1u << index;
  fill(session, index);
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
  const uint32_t used = rings_in_use(session);
  const uint32_t playing =
      atomic_load_explicit(&session->engine->shared.playing, memory_order_relaxed);
  for (unsigned i = 0; i < HR_STREAMS; ++i) {
    HrReader* const reader = &session->readers[i];
    if (!(used & 1u << i)) {
      reader->open = false;
      continue;
    }
    if (reader->open && reader->live && i == playing) {
      end_live_part(session, reader);
    }
    fill(session, i);
  }
}
