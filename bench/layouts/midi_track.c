/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* A track's content as in a Standard MIDI File (RP-001): variable-length delta
 * times, and a status byte only where it is not the one before (running status).
 * Ticks are ours, as a file's 15 bits cannot say their resolution. */

#include "bench/layouts/layouts.h"

#include <string.h>

typedef struct {
  int64_t base_tick, last_tick;
  LayoutNode node;
  uint64_t size; ///< Of `track`
  uint8_t track[];
} Message;

enum { QUANTITY_MAX = 4, EVENT_MAX = QUANTITY_MAX + 3 };

static uint8_t* put_quantity(uint8_t* at, uint32_t value)
{
  for (unsigned shift = 7 * (QUANTITY_MAX - 1); shift; shift -= 7) {
    if (value >> shift) {
      *at++ = (uint8_t)(0x80 | (value >> shift & 0x7f));
    }
  }
  *at++ = value & 0x7f;
  return at;
}

static size_t make(const LayoutEvent* events, size_t count, void* bytes, size_t room, size_t* size)
{
  Message* const message = bytes;
  const uint8_t* const end = (uint8_t*)bytes + room;
  uint8_t* at = message->track;
  uint8_t running = 0;
  int64_t tick = events[0].tick;
  size_t taken = 0;
  for (; taken < count && end - at >= EVENT_MAX; ++taken) {
    const LayoutEvent* const event = &events[taken];
    const unsigned skip = event->bytes[0] == running;
    at = put_quantity(at, (uint32_t)(event->tick - tick));
    for (unsigned i = skip; i < event->length; ++i) {
      *at++ = event->bytes[i];
    }
    running = event->bytes[0];
    tick = event->tick;
  }
  *message = (Message){events[0].tick, tick, layout_node, (uint64_t)(at - message->track)};
  *size = (size_t)(at - (uint8_t*)bytes);
  return taken;
}

/** Where reading has come to; the event there. */
typedef struct {
  const uint8_t* at;
  const uint8_t* end;
  int64_t tick;
  uint8_t length; ///< 0: none was read yet
  uint8_t bytes[3];
} Reader;

static Reader reader_of(const Message* message)
{
  return (Reader){message->track, message->track + message->size, message->base_tick, 0, {0}};
}

/** Channel messages only. Without bounds: for a track that is valid. */
static inline bool next(Reader* reader)
{
  if (reader->at == reader->end) {
    return false;
  }
  uint32_t delta = 0;
  uint8_t byte;
  do {
    byte = *reader->at++;
    delta = delta << 7 | (byte & 0x7f);
  } while (byte & 0x80);
  reader->tick += delta;
  if (*reader->at & 0x80) {
    reader->bytes[0] = *reader->at++;
  }
  reader->length = (reader->bytes[0] & 0xe0) == 0xc0 ? 2 : 3;
  reader->bytes[1] = *reader->at++;
  reader->bytes[2] = reader->length == 3 ? *reader->at++ : 0;
  return true;
}

static uint64_t scan(const void* bytes, size_t size)
{
  Reader reader = reader_of(bytes);
  uint64_t sum = 0;
  (void)size;
  while (next(&reader)) {
    sum +=
        layout_sum(reader.tick, reader.length, reader.bytes[0], reader.bytes[1], reader.bytes[2]);
  }
  return sum;
}

static int64_t seek(const void* bytes, size_t size, int64_t tick)
{
  Reader reader = reader_of(bytes);
  (void)size;
  while (next(&reader)) {
    if (reader.tick >= tick) {
      return reader.tick;
    }
  }
  return INT64_MAX;
}

/** True if a quantity of at most four bytes is there; `*at` moves behind it. */
static bool pass_quantity(const uint8_t** at, const uint8_t* end)
{
  for (unsigned i = 0; i < QUANTITY_MAX && *at < end; ++i) {
    if (!(*(*at)++ & 0x80)) {
      return true;
    }
  }
  return false;
}

static bool validate(const void* bytes, size_t size)
{
  const Message* const message = bytes;
  if (size < sizeof *message || message->size != size - sizeof *message) {
    return false;
  }
  const uint8_t* const end = message->track + message->size;
  uint8_t running = 0;
  for (const uint8_t* at = message->track; at < end;) {
    if (!pass_quantity(&at, end) || at == end) {
      return false;
    }
    running = *at & 0x80 ? *at++ : running;
    const ptrdiff_t data = (running & 0xe0) == 0xc0 ? 1 : 2;
    if (running < 0x80 || running >= 0xf0 || end - at < data || at[0] & 0x80 ||
        at[data - 1] & 0x80) {
      return false;
    }
    at += data;
  }
  return true;
}

const Layout layout_midi_track = {"MIDI file track", NULL, true, make, scan, seek, validate};
