/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file events.h
 * Lists of MIDI events as text, one "FRAME HEX" a line: what the test tools
 * play, record and compare. Frames count from anywhere; lists are in order.
 */

#ifndef HR_TEST_EVENTS_H
#define HR_TEST_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct {
  uint64_t frame;
  size_t size;
  uint8_t* bytes;
} Event;

/** Grows as needed; zero-initialised it is empty. */
typedef struct {
  Event* events;
  size_t count;
  size_t capacity;
} EventList;

/** Append a copy of one event. Ends the program when out of memory. */
void events_add(EventList* list, uint64_t frame, const uint8_t* bytes, size_t size);

/** Read a list; says what is wrong on stderr and returns false on failure. */
bool events_load(EventList* list, const char* path);

void events_write(const EventList* list, FILE* file);

void events_free(EventList* list);

#endif
