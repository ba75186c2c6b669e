/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* A C struct as it lies in memory, 16 bytes of which 4 are padding. */

#include "bench/layouts/layouts.h"

#include <string.h>

typedef struct {
  int64_t base_tick, last_tick;
  LayoutNode node;
  uint64_t count;
  LayoutEvent events[];
} Message;

_Static_assert(sizeof(LayoutEvent) == 16, "an event is 16 bytes");
_Static_assert(sizeof(Message) % sizeof(LayoutEvent) == 0, "events are 16-aligned");

static size_t make(const LayoutEvent* events, size_t count, void* bytes, size_t room, size_t* size)
{
  Message* const message = bytes;
  const size_t most = (room - sizeof *message) / sizeof *events;
  count = count < most ? count : most;
  *message = (Message){events[0].tick, events[count - 1].tick, layout_node, count};
  memcpy(message->events, events, count * sizeof *events);
  *size = sizeof *message + count * sizeof *events;
  return count;
}

static uint64_t scan(const void* bytes, size_t size)
{
  const Message* const message = bytes;
  uint64_t sum = 0;
  (void)size;
  for (uint64_t i = 0; i < message->count; ++i) {
    const LayoutEvent* const event = &message->events[i];
    sum +=
        layout_sum(event->tick, event->length, event->bytes[0], event->bytes[1], event->bytes[2]);
  }
  return sum;
}

static int64_t tick_at(const void* bytes, size_t index)
{
  return ((const Message*)bytes)->events[index].tick;
}

static int64_t seek(const void* bytes, size_t size, int64_t tick)
{
  const Message* const message = bytes;
  const size_t at = layout_find(bytes, message->count, tick, tick_at);
  (void)size;
  return at < message->count ? tick_at(bytes, at) : INT64_MAX;
}

static bool validate(const void* bytes, size_t size)
{
  const Message* const message = bytes;
  return size >= sizeof *message &&
         message->count == (size - sizeof *message) / sizeof(LayoutEvent) &&
         (size - sizeof *message) % sizeof(LayoutEvent) == 0;
}

const Layout layout_struct = {"plain struct", NULL, true, make, scan, seek, validate};
