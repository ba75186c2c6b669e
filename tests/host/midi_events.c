/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file midi_events.c
 * Lists MIDI files, makes them of lists, and compares lists, to the frame.
 *
 *   midi_events list FILE.mid RATE [SPEED]
 *     Print the file's messages as an event list (events.h) from frame 0, SPEED
 *     times as fast. Meta events are left out.
 *
 *   midi_events save LIST RATE FILE.mid
 *     Make a file of an event list from frame 0: at 120 BPM, one tick a frame.
 *
 *   midi_events compare [-t FRAMES] [-x] [-n] HEARD EXPECTED...
 *     Each EXPECTED list must be in HEARD, one after the other: every event,
 *     in order, at the frame that follows from where the list's first event
 *     was heard, or at most FRAMES away. Nothing else may be in HEARD, unless
 *     -x: then more is counted, and fine. Prints what was found as a sentence,
 *     or, with -n, as numbers for a script: how many were expected and are
 *     missing, and how many frames the worst is off. Exit status 0 if all is well.
 */

#include "tests/host/events.h"

#include <math.h>
#include <smf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int list_file(const char* path, double rate, double speed)
{
  smf_t* smf = rate > 0.0 && speed > 0.0 ? smf_load(path) : NULL;
  if (!smf) {
    fprintf(stderr, "%s: cannot be read as a MIDI file\n", path);
    return 1;
  }
  EventList list = {0};
  for (smf_event_t* event = smf_get_next_event(smf); event; event = smf_get_next_event(smf)) {
    if (!smf_event_is_metadata(event)) {
      const uint64_t frame = (uint64_t)llround(event->time_seconds * rate / speed);
      events_add(&list, frame, event->midi_buffer, (size_t)event->midi_buffer_length);
    }
  }
  events_write(&list, stdout);
  events_free(&list);
  smf_delete(smf);
  return 0;
}

static int save_file(const char* list_path, int rate, const char* path)
{
  EventList list = {0};
  smf_t* smf = smf_new();
  smf_track_t* track = smf_track_new();
  if (!smf || !track || smf_set_ppqn(smf, rate / 2) || !events_load(&list, list_path)) {
    return 1;
  }
  smf_add_track(smf, track);
  for (size_t i = 0; i < list.count; ++i) {
    const Event* from = &list.events[i];
    smf_event_t* event = smf_event_new_from_pointer(from->bytes, (int)from->size);
    smf_track_add_event_pulses(track, event, (int)from->frame);
  }
  const bool saved = !smf_save(smf, path);
  events_free(&list);
  smf_delete(smf);
  return saved ? 0 : 1;
}

typedef struct {
  size_t expected, missing, extra;
  uint64_t error; ///< Largest distance from where an event should be, in frames
} Result;

/** Find `event` in `heard` at or after `*next`; move `*next` past it. */
static const Event* find(const EventList* heard, size_t* next, const Event* event)
{
  for (size_t i = *next; i < heard->count; ++i) {
    const Event* candidate = &heard->events[i];
    if (candidate->size == event->size && !memcmp(candidate->bytes, event->bytes, event->size)) {
      *next = i + 1;
      return candidate;
    }
  }
  return NULL;
}

static void compare(const EventList* heard, const EventList* expected, size_t* next, Result* result)
{
  bool aligned = false;
  int64_t offset = 0;
  for (size_t i = 0; i < expected->count; ++i) {
    const size_t before = *next;
    const Event* event = &expected->events[i];
    const Event* found = find(heard, next, event);
    if (!found) {
      ++result->missing;
      continue;
    }
    result->extra += *next - before - 1;
    const int64_t distance = (int64_t)(found->frame - event->frame);
    if (!aligned) {
      offset = distance;
      aligned = true;
    }
    const uint64_t error = (uint64_t)llabs(distance - offset);
    result->error = error > result->error ? error : result->error;
  }
  result->expected += expected->count;
}

/** As in "600 MIDI messages played, 600 heard again, none missing, each on its frame". */
static void tell(const Result* result)
{
  const size_t heard = result->expected - result->missing;
  printf("%zu MIDI messages played, %zu heard again, ", result->expected, heard);
  if (result->missing) {
    printf("%zu missing", result->missing);
  } else {
    printf("none missing");
  }
  if (result->extra) {
    printf(", %zu others besides", result->extra);
  }
  if (result->error) {
    printf(", up to %llu frames from their place", (unsigned long long)result->error);
  } else if (heard) {
    printf(", each on its frame");
  }
  putchar('\n');
}

static int compare_files(int argc, char** argv)
{
  uint64_t tolerance = 0;
  bool allow = false;
  bool numbers = false;
  int option = 0;
  while ((option = getopt(argc, argv, "nt:x")) != -1) {
    switch (option) {
    case 'n':
      numbers = true;
      break;
    case 't':
      tolerance = strtoull(optarg, NULL, 10);
      break;
    case 'x':
      allow = true;
      break;
    default:
      return 2;
    }
  }
  EventList heard = {0};
  if (argc - optind < 2 || !events_load(&heard, argv[optind])) {
    return 2;
  }
  Result result = {0};
  size_t next = 0;
  for (int i = optind + 1; i < argc; ++i) {
    EventList expected = {0};
    if (!events_load(&expected, argv[i])) {
      return 2;
    }
    compare(&heard, &expected, &next, &result);
    events_free(&expected);
  }
  result.extra += heard.count - next;
  if (numbers) {
    printf("%zu %zu %llu\n", result.expected, result.missing, (unsigned long long)result.error);
  } else {
    tell(&result);
  }
  events_free(&heard);
  const bool good =
      result.expected && !result.missing && result.error <= tolerance && (allow || !result.extra);
  return good ? 0 : 1;
}

int main(int argc, char** argv)
{
  if (argc >= 4 && !strcmp(argv[1], "list")) {
    return list_file(argv[2], atof(argv[3]), argc > 4 ? atof(argv[4]) : 1.0);
  }
  if (argc == 5 && !strcmp(argv[1], "save")) {
    return save_file(argv[2], atoi(argv[3]), argv[4]);
  }
  if (argc >= 4 && !strcmp(argv[1], "compare")) {
    return compare_files(argc - 1, argv + 1);
  }
  fprintf(stderr, "usage: midi_events list FILE.mid RATE [SPEED]\n"
                  "       midi_events save LIST RATE FILE.mid\n"
                  "       midi_events compare [-t FRAMES] [-x] [-n] HEARD EXPECTED...\n");
  return 2;
}
