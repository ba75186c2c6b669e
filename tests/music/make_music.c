/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file make_music.c
 * Writes the two pieces that the tests play, from their notes (README.md):
 *
 *   make_music FOLDER    writes FOLDER/prelude.mid and FOLDER/minuet.mid
 *
 * The notes are the composers'. Touch, pedal and the small unevenness of a
 * hand are computed, the same every time.
 */

#include <smf.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { PPQ = 480, SIXTEENTH = PPQ / 4, EIGHTH = PPQ / 2, EVENTS_MAX = 2000 };

typedef struct {
  int tick;
  int order; ///< Of writing, to keep what falls together in order
  uint8_t bytes[3];
  int size;
} Note;

typedef struct {
  Note events[EVENTS_MAX];
  int count;
  uint32_t chance;
} Piece;

/** A small number within -most..most, from a fixed sequence. */
static int uneven(Piece* piece, int most)
{
  piece->chance = piece->chance * 1664525u + 1013904223u;
  return (int)(piece->chance >> 16) % (2 * most + 1) - most;
}

static void add(Piece* piece, int tick, int size, int status, int first, int second)
{
  if (piece->count == EVENTS_MAX) {
    fprintf(stderr, "make_music: EVENTS_MAX is too small\n");
    exit(1);
  }
  Note* event = &piece->events[piece->count];
  *event = (Note){tick > 0 ? tick : 0, piece->count, {0}, size};
  event->bytes[0] = (uint8_t)status;
  event->bytes[1] = (uint8_t)first;
  event->bytes[2] = (uint8_t)second;
  ++piece->count;
}

/** Play `key` at `tick`, as long as written less a breath. */
static void play(Piece* piece, int tick, int length, int key, int velocity)
{
  const int start = tick + uneven(piece, 7);
  const int end = tick + length - 12 + uneven(piece, 6);
  add(piece, start, 3, 0x90, key, velocity + uneven(piece, 4));
  add(piece, end, 3, 0x80, key, 64);
}

static int by_time(const void* a, const void* b)
{
  const Note* left = a;
  const Note* right = b;
  return left->tick != right->tick ? left->tick - right->tick : left->order - right->order;
}

static bool save(Piece* piece, const char* folder, const char* name, double tempo, int beats)
{
  char path[4096];
  snprintf(path, sizeof path, "%s/%s.mid", folder, name);
  qsort(piece->events, (size_t)piece->count, sizeof *piece->events, by_time);

  smf_t* smf = smf_new();
  smf_track_t* track = smf_track_new();
  const bool divided = !smf_set_ppqn(smf, PPQ); // Before any event: libsmf times them by it
  smf_add_track(smf, track);
  const int microseconds = (int)(60e6 / tempo + 0.5);
  uint8_t set_tempo[] = {0xff, 0x51, 3, 0, 0, 0};
  for (int i = 0; i < 3; ++i) {
    set_tempo[3 + i] = (uint8_t)(microseconds >> (16 - 8 * i));
  }
  uint8_t set_meter[] = {0xff, 0x58, 4, (uint8_t)beats, 2, 24, 8};
  smf_track_add_event_pulses(track, smf_event_new_from_pointer(set_tempo, sizeof set_tempo), 0);
  smf_track_add_event_pulses(track, smf_event_new_from_pointer(set_meter, sizeof set_meter), 0);
  for (int i = 0; i < piece->count; ++i) {
    Note* event = &piece->events[i];
    smf_track_add_event_pulses(track, smf_event_new_from_pointer(event->bytes, event->size),
                               event->tick);
  }
  const bool saved = divided && !smf_save(smf, path);
  smf_delete(smf);
  if (!saved) {
    fprintf(stderr, "make_music: cannot write %s\n", path);
  }
  return saved;
}

/** J. S. Bach, Prelude in C major BWV 846, bars 1 to 11. Each bar is one broken
 * chord, twice: two held notes in the left hand, three in the right. */
static const uint8_t prelude[][5] = {
    {60, 64, 67, 72, 76}, {60, 62, 69, 74, 77}, {59, 62, 67, 74, 77}, {60, 64, 67, 72, 76},
    {60, 64, 69, 76, 81}, {60, 62, 66, 69, 74}, {59, 62, 67, 74, 79}, {59, 60, 64, 67, 72},
    {57, 60, 64, 67, 72}, {50, 57, 62, 66, 72}, {55, 59, 62, 67, 71},
};

static bool make_prelude(const char* folder)
{
  static const uint8_t pattern[8] = {0, 1, 2, 3, 4, 2, 3, 4};
  static const uint8_t touch[8] = {14, 4, 0, 2, 8, 0, 1, 5};

  Piece piece = {.chance = 846};
  const int bars = sizeof prelude / sizeof prelude[0];
  add(&piece, 0, 2, 0xc0, 0, 0); // Piano
  for (int half = 0; half < 2 * bars; ++half) {
    const uint8_t* chord = prelude[half / 2];
    const int tick = half * 8 * SIXTEENTH;
    const int swell = half < bars ? half : 2 * bars - half; // Up to the middle, and back
    const int volume = 48 + swell + (half % 2 ? -4 : 0);
    add(&piece, tick + 20, 3, 0xb0, 64, 127);
    for (int i = 0; i < 8; ++i) {
      const int length = i < 2 ? (8 - i) * SIXTEENTH : SIXTEENTH;
      play(&piece, tick + i * SIXTEENTH, length, chord[pattern[i]], volume + touch[i]);
    }
    add(&piece, tick + 8 * SIXTEENTH - 40, 3, 0xb0, 64, 0);
  }
  return save(&piece, folder, "prelude", 132.0, 4);
}

/** One note of a voice. */
typedef struct {
  uint8_t key;
  uint8_t eighths; ///< Length
} Step;

/** C. Petzold, Minuet in G major BWV Anh. 114, bars 1 to 16. */
static const Step minuet_right[] = {
    {74, 2}, {67, 1}, {69, 1}, {71, 1}, {72, 1}, // 1
    {74, 2}, {67, 2}, {67, 2},                   // 2
    {76, 2}, {72, 1}, {74, 1}, {76, 1}, {78, 1}, // 3
    {79, 2}, {67, 2}, {67, 2},                   // 4
    {72, 2}, {74, 1}, {72, 1}, {71, 1}, {69, 1}, // 5
    {71, 2}, {72, 1}, {71, 1}, {69, 1}, {67, 1}, // 6
    {66, 2}, {67, 1}, {69, 1}, {71, 1}, {67, 1}, // 7
    {69, 6},                                     // 8
    {74, 2}, {67, 1}, {69, 1}, {71, 1}, {72, 1}, // 9
    {74, 2}, {67, 2}, {67, 2},                   // 10
    {76, 2}, {72, 1}, {74, 1}, {76, 1}, {78, 1}, // 11
    {79, 2}, {67, 2}, {67, 2},                   // 12
    {72, 2}, {74, 1}, {72, 1}, {71, 1}, {69, 1}, // 13
    {71, 2}, {72, 1}, {71, 1}, {69, 1}, {67, 1}, // 14
    {69, 2}, {71, 1}, {69, 1}, {67, 1}, {66, 1}, // 15
    {67, 6},                                     // 16
};

static const Step minuet_left[] = {
    {55, 4}, {57, 2},                            // 1
    {59, 6},                                     // 2
    {60, 6},                                     // 3
    {59, 6},                                     // 4
    {57, 6},                                     // 5
    {55, 6},                                     // 6
    {62, 2}, {59, 2}, {55, 2},                   // 7
    {62, 2}, {50, 1}, {60, 1}, {59, 1}, {57, 1}, // 8
    {59, 4}, {57, 2},                            // 9
    {55, 2}, {59, 2}, {55, 2},                   // 10
    {60, 6},                                     // 11
    {59, 2}, {60, 1}, {59, 1}, {57, 1}, {55, 1}, // 12
    {57, 4}, {54, 2},                            // 13
    {55, 4}, {59, 2},                            // 14
    {60, 2}, {62, 2}, {50, 2},                   // 15
    {55, 4}, {43, 2},                            // 16
};

static void play_voice(Piece* piece, const Step* steps, size_t count, int volume)
{
  int eighth = 0;
  for (size_t i = 0; i < count; ++i) {
    const int accent = eighth % 6 == 0 ? 14 : eighth % 2 == 0 ? 5 : 0;
    const int arc = 8 - abs(eighth % 48 - 24) / 3; // Eight-bar phrases
    play(piece, eighth * EIGHTH, steps[i].eighths * EIGHTH, steps[i].key, volume + accent + arc);
    eighth += steps[i].eighths;
  }
}

static bool make_minuet(const char* folder)
{
  Piece piece = {.chance = 114};
  add(&piece, 0, 2, 0xc0, 6, 0); // Harpsichord
  play_voice(&piece, minuet_right, sizeof minuet_right / sizeof *minuet_right, 66);
  play_voice(&piece, minuet_left, sizeof minuet_left / sizeof *minuet_left, 54);
  play(&piece, 0, 4 * EIGHTH, 59, 60); // The rest of bar 1's chord
  play(&piece, 0, 4 * EIGHTH, 62, 60);
  return save(&piece, folder, "minuet", 150.0, 3);
}

int main(int argc, char** argv)
{
  if (argc != 2) {
    fprintf(stderr, "usage: make_music FOLDER\n");
    return 2;
  }
  return make_prelude(argv[1]) && make_minuet(argv[1]) ? 0 : 1;
}
