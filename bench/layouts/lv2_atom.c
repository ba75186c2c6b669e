/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* An atom:Sequence as ports of LV2 plugins carry it. */

#include "bench/layouts/layouts.h"

#include <lv2/atom/util.h>

#include <string.h>

/** What a host's urid:map gives, say. */
enum { URID_SEQUENCE = 1, URID_MIDI_EVENT = 2 };

typedef struct {
  int64_t base_tick, last_tick;
  LayoutNode node;
  LV2_Atom_Sequence sequence; ///< Its events follow
} Message;

typedef struct {
  LV2_Atom_Event event;
  uint8_t bytes[8];
} ShortEvent;

static size_t make(const LayoutEvent* events, size_t count, void* bytes, size_t room, size_t* size)
{
  Message* const message = bytes;
  const size_t most = (room - sizeof *message) / sizeof(ShortEvent);
  count = count < most ? count : most;
  message->base_tick = events[0].tick;
  message->last_tick = events[count - 1].tick;
  message->node = layout_node;
  message->sequence = (LV2_Atom_Sequence){{sizeof(LV2_Atom_Sequence_Body), URID_SEQUENCE}, {0, 0}};
  const uint32_t capacity = (uint32_t)(room - offsetof(Message, sequence) - sizeof(LV2_Atom));
  for (size_t i = 0; i < count; ++i) {
    ShortEvent written = {{{.frames = events[i].tick}, {events[i].length, URID_MIDI_EVENT}}, {0}};
    memcpy(written.bytes, events[i].bytes, sizeof events[i].bytes);
    lv2_atom_sequence_append_event(&message->sequence, capacity, &written.event);
  }
  *size = offsetof(Message, sequence) + lv2_atom_total_size(&message->sequence.atom);
  return count;
}

/** Padding may hold anything: lv2_atom_sequence_append_event() does not write it. */
static uint64_t event_sum(const LV2_Atom_Event* event)
{
  const uint8_t* const bytes = LV2_ATOM_BODY_CONST(&event->body);
  return layout_sum(event->time.frames, (uint8_t)event->body.size, bytes[0], bytes[1],
                    event->body.size > 2 ? bytes[2] : 0);
}

static uint64_t scan(const void* bytes, size_t size)
{
  const Message* const message = bytes;
  uint64_t sum = 0;
  (void)size;
  LV2_ATOM_SEQUENCE_FOREACH(&message->sequence, event)
  {
    sum += event_sum(event);
  }
  return sum;
}

static int64_t seek(const void* bytes, size_t size, int64_t tick)
{
  const Message* const message = bytes;
  (void)size;
  LV2_ATOM_SEQUENCE_FOREACH(&message->sequence, event)
  {
    if (event->time.frames >= tick) {
      return event->time.frames;
    }
  }
  return INT64_MAX;
}

/** Each event is found by the size of the one before: all have to be walked. */
static bool validate(const void* bytes, size_t size)
{
  const Message* const message = bytes;
  if (size < sizeof *message ||
      message->sequence.atom.size != size - offsetof(Message, sequence) - sizeof(LV2_Atom) ||
      message->sequence.atom.type != URID_SEQUENCE) {
    return false;
  }
  const uint8_t* const end = (const uint8_t*)bytes + size;
  for (const uint8_t* at = (const uint8_t*)(message + 1); at != end;) {
    const LV2_Atom_Event* const event = (const LV2_Atom_Event*)at;
    if ((size_t)(end - at) < sizeof *event || event->body.type != URID_MIDI_EVENT ||
        event->body.size > (size_t)(end - at) - sizeof *event ||
        lv2_atom_pad_size(event->body.size) > (size_t)(end - at) - sizeof *event) {
      return false;
    }
    at += sizeof *event + lv2_atom_pad_size(event->body.size);
  }
  return true;
}

const Layout layout_lv2_atom = {"LV2 atom sequence", "lv2-dev", true, make, scan, seek, validate};
