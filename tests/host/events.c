/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "tests/host/events.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void* checked(void* memory)
{
  if (!memory) {
    perror("event list");
    exit(1);
  }
  return memory;
}

void events_add(EventList* list, uint64_t frame, const uint8_t* bytes, size_t size)
{
  if (list->count == list->capacity) {
    list->capacity = list->capacity ? 2 * list->capacity : 1024;
    list->events = checked(realloc(list->events, list->capacity * sizeof *list->events));
  }
  Event* event = &list->events[list->count++];
  event->frame = frame;
  event->size = size;
  event->bytes = checked(malloc(size ? size : 1));
  memcpy(event->bytes, bytes, size);
}

/** Fill `bytes` from hexadecimal digits; the number of bytes, 0 if malformed. */
static size_t parse_hex(const char* text, uint8_t* bytes, size_t capacity)
{
  size_t size = 0;
  unsigned byte = 0;
  for (; size < capacity && sscanf(text, "%2x", &byte) == 1; text += 2) {
    bytes[size++] = (uint8_t)byte;
  }
  return *text == '\0' || *text == '\n' ? size : 0;
}

bool events_load(EventList* list, const char* path)
{
  FILE* file = fopen(path, "r");
  if (!file) {
    perror(path);
    return false;
  }
  char* line = NULL;
  size_t capacity = 0;
  bool good = true;
  ssize_t length = 0;
  uint64_t last = 0;
  while (good && (length = getline(&line, &capacity, file)) > 0) {
    char* hex = NULL;
    const uint64_t frame = strtoull(line, &hex, 10);
    uint8_t* bytes = checked(malloc((size_t)length));
    const size_t size = *hex == ' ' ? parse_hex(hex + 1, bytes, (size_t)length) : 0;
    if (size && frame >= last) {
      events_add(list, frame, bytes, size);
      last = frame;
    } else {
      fprintf(stderr, "%s: malformed or out of order: %s", path, line);
      good = false;
    }
    free(bytes);
  }
  free(line);
  fclose(file);
  return good;
}

void events_write(const EventList* list, FILE* file)
{
  for (size_t i = 0; i < list->count; ++i) {
    fprintf(file, "%" PRIu64 " ", list->events[i].frame);
    for (size_t k = 0; k < list->events[i].size; ++k) {
      fprintf(file, "%02x", list->events[i].bytes[k]);
    }
    fputc('\n', file);
  }
}

void events_free(EventList* list)
{
  for (size_t i = 0; i < list->count; ++i) {
    free(list->events[i].bytes);
  }
  free(list->events);
  *list = (EventList){0};
}
