/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What the command-line program is made of: MIDI files, timelines, and all
 * branches of a tree at once. The program as a whole: test_tool.sh. */

#include "tests/scratch.h"

/* Tests are linked with the plugin's objects, not with the program's.
 * NOLINTBEGIN(bugprone-suspicious-include) */
#include "tools/branches.c"
#include "tools/midi_file.c"
/* NOLINTEND(bugprone-suspicious-include) */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#define assert_ok(call) assert_int_equal((call), HR_OK)

/** Small, fast and the same everywhere: xorshift64 (Marsaglia 2003). */
static uint64_t random_state;

static uint32_t random_below(uint32_t limit)
{
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (uint32_t)(random_state >> 32) % limit;
}

/* ---- MIDI files ------------------------------------------------------ */

enum { EVENTS_MAX = 200, BYTES_MAX = 400 };

typedef struct {
  uint64_t pulse;
  int meta;
  uint32_t size;
  uint8_t bytes[BYTES_MAX];
} Event;

/** A random event that a file can hold as it is. */
static void random_event(Event* event)
{
  static const uint8_t real_time[] = {0xf8, 0xfa, 0xfb, 0xfc, 0xfe, 0xff, 0xf6};
  event->meta = HR_MIDI_MESSAGE;
  for (uint32_t i = 0; i < BYTES_MAX; ++i) {
    event->bytes[i] = (uint8_t)random_below(128);
  }
  switch (random_below(6)) {
  case 0:
    event->meta = HR_MIDI_MARKER;
    event->size = random_below(BYTES_MAX);
    break;
  case 1:
    event->bytes[0] = 0xf0;
    event->size = 2 + random_below(BYTES_MAX - 2);
    event->bytes[event->size - 1] = 0xf7;
    break;
  case 2:
    event->bytes[0] = real_time[random_below(sizeof real_time)];
    event->size = 1;
    break;
  default:
    event->bytes[0] = (uint8_t)(0x80 + random_below(0x70));
    event->size = (event->bytes[0] & 0xe0) == 0xc0 ? 2 : 3; // Program, channel pressure
    break;
  }
}

static void write_events(const char* path, const Event* events, uint32_t count, uint16_t resolution,
                         uint64_t end)
{
  HrMidiWriter writer = {0};
  FILE* const file = fopen(path, "wb");
  assert_non_null(file);
  assert_ok(hr_midi_writer_begin(&writer, file, resolution));
  for (uint32_t i = 0; i < count; ++i) {
    const HrMidiEvent event = {events[i].pulse, events[i].meta, events[i].size, events[i].bytes};
    assert_ok(hr_midi_writer_put(&writer, &event));
  }
  assert_ok(hr_midi_writer_end(&writer, end));
  assert_int_equal(fclose(file), 0);
}

static uint8_t* load(const char* path, size_t* size)
{
  FILE* const file = fopen(path, "rb");
  assert_non_null(file);
  fseek(file, 0, SEEK_END);
  *size = (size_t)ftell(file);
  rewind(file);
  uint8_t* const bytes = malloc(*size + 1);
  assert_non_null(bytes);
  assert_int_equal(fread(bytes, 1, *size, file), *size);
  fclose(file);
  return bytes;
}

static void test_every_event_is_written_and_read(void** state)
{
  (void)state;
  static Event events[EVENTS_MAX];
  assert_int_equal(scratch_make(), 0);
  const char* const path = scratch_path("x.mid");
  for (unsigned round = 0; round < 100; ++round) {
    uint64_t pulse = 0;
    random_state = round + 1;
    for (uint32_t i = 0; i < EVENTS_MAX; ++i) {
      static const uint32_t pauses[] = {1, 1, 130, 20000, 3000000, 0x30000000};
      pulse += random_below(pauses[random_below(6)]);
      events[i].pulse = pulse;
      random_event(&events[i]);
    }
    const uint16_t resolution = (uint16_t)(1 + random_below(32767));
    write_events(path, events, EVENTS_MAX, resolution, pulse + round);

    size_t size;
    HrMidiReader* reader;
    HrMidiEvent event;
    uint8_t* const bytes = load(path, &size);
    assert_ok(hr_midi_reader_new(bytes, size, &reader, NULL));
    assert_int_equal(hr_midi_reader_resolution(reader), resolution);
    for (uint32_t i = 0; i < EVENTS_MAX; ++i) {
      do { // Empty texts divide long pauses
        assert_ok(hr_midi_reader_next(reader, &event, NULL));
      } while (event.meta == HR_MIDI_TEXT && !event.size);
      assert_int_equal(event.pulse, events[i].pulse);
      assert_int_equal(event.meta, events[i].meta);
      assert_int_equal(event.size, events[i].size);
      assert_memory_equal(event.bytes, events[i].bytes, event.size);
    }
    assert_int_equal(hr_midi_reader_next(reader, &event, NULL), HR_END);
    assert_int_equal(hr_midi_reader_end(reader), pulse + round);
    assert_int_equal(hr_midi_reader_stray_bytes(reader), 0);
    hr_midi_reader_free(reader);
    free(bytes);
  }
  scratch_remove();
}

/** Read all of a file, which may be anything; returns how that ended. */
static HrStatus read_whole(const uint8_t* bytes, size_t size)
{
  HrMidiReader* reader;
  HrMidiEvent event;
  HrError error = {0};
  uint64_t pulse = 0;
  volatile uint8_t sum = 0;
  HrStatus status = hr_midi_reader_new(bytes, size, &reader, &error);
  for (uint64_t count = 0; !status; ++count) {
    assert_true(count <= size); // It ends
    status = hr_midi_reader_next(reader, &event, &error);
    if (!status) {
      assert_true(event.pulse >= pulse);
      assert_true(event.meta != HR_MIDI_MESSAGE || (event.size && event.bytes[0] >= 0x80));
      pulse = event.pulse;
      for (uint32_t i = 0; i < event.size; ++i) {
        sum = (uint8_t)(sum + event.bytes[i]);
      }
    }
  }
  assert_true(status == HR_END || *error.text);
  hr_midi_reader_free(reader);
  return status;
}

static void test_damaged_files_are_survived(void** state)
{
  (void)state;
  enum { ROUNDS = 20000, COUNT = 20 };
  static Event events[COUNT];
  size_t size;
  assert_int_equal(scratch_make(), 0);
  random_state = 7;
  for (uint32_t i = 0; i < COUNT; ++i) {
    events[i].pulse = i;
    random_event(&events[i]);
  }
  write_events(scratch_path("x.mid"), events, COUNT, 96, 0);
  uint8_t* const whole = load(scratch_path("x.mid"), &size);
  assert_int_equal(read_whole(whole, size), HR_END);

  for (size_t length = 0; length < size; ++length) {
    /* In memory of its own size, where a sanitizer sees what reads beyond. */
    uint8_t* const cut = malloc(length + !length);
    assert_non_null(cut);
    memcpy(cut, whole, length);
    assert_int_not_equal(read_whole(cut, length), HR_END);
    free(cut);
  }
  unsigned read = 0;
  uint8_t* const bytes = malloc(size);
  assert_non_null(bytes);
  for (unsigned round = 0; round < ROUNDS; ++round) {
    static const uint8_t edges[] = {0x00, 0x7f, 0x80, 0xf0, 0xf7, 0xff};
    memcpy(bytes, whole, size);
    for (uint32_t i = 1 + random_below(4); i-- > 0;) {
      const size_t at = random_below(2) ? random_below((uint32_t)size) : random_below(40);
      bytes[at] = random_below(2) ? edges[random_below(6)] : (uint8_t)random_below(256);
    }
    read += read_whole(bytes, size) == HR_END;
  }
  assert_true(read > ROUNDS / 100 && read < ROUNDS);
  free(bytes);
  free(whole);
  scratch_remove();
}

static void test_tracks_are_merged_in_order(void** state)
{
  (void)state;
  enum { TRACKS = 500, NOTES = 20, TRACK_SIZE = NOTES * 4, CHUNK = 8 + TRACK_SIZE, HEADER = 14 };
  static uint8_t bytes[HEADER + TRACKS * CHUNK] = "MThd\0\0\0\6\0\1";
  bytes[10] = TRACKS >> 8;
  bytes[11] = TRACKS & 0xff;
  bytes[13] = 96;
  random_state = 3;
  for (uint32_t track = 0; track < TRACKS; ++track) {
    uint8_t* const chunk = bytes + HEADER + track * CHUNK;
    memcpy(chunk, "MTrk\0\0", 6);
    chunk[7] = TRACK_SIZE;
    for (uint32_t i = 0; i < NOTES; ++i) { // The note says which track, the velocity which note
      const uint8_t note[] = {(uint8_t)random_below(4), (uint8_t)(0x90 | (track >> 7)),
                              (uint8_t)(track & 0x7f), (uint8_t)i};
      memcpy(chunk + 8 + i * 4, note, sizeof note);
    }
  }
  HrMidiReader* reader;
  HrMidiEvent event;
  uint64_t pulse = 0;
  uint32_t last_track = 0;
  uint8_t next[TRACKS] = {0};
  assert_ok(hr_midi_reader_new(bytes, sizeof bytes, &reader, NULL));
  for (uint32_t i = 0; i < TRACKS * NOTES; ++i) {
    assert_ok(hr_midi_reader_next(reader, &event, NULL));
    const uint32_t track = (uint32_t)(event.bytes[0] & 0x0f) << 7 | event.bytes[1];
    assert_true(event.pulse > pulse || (event.pulse == pulse && track >= last_track));
    assert_int_equal(event.bytes[2], next[track]++);
    pulse = event.pulse;
    last_track = track;
  }
  assert_int_equal(hr_midi_reader_next(reader, &event, NULL), HR_END);
  hr_midi_reader_free(reader);
}

/* ---- Timelines ------------------------------------------------------- */

#define QUARTER ((HrTick)HR_TICKS_PER_QUARTER)

static void apply_tempo(HrTimeline* timeline, HrTick tick, double tempo)
{
  uint8_t bytes[HR_META_TEMPO_SIZE];
  hr_meta_tempo(tempo, bytes);
  assert_ok(
      hr_timeline_apply(timeline, &(HrEvent){tick, HR_EVENT_META, HR_META_TEMPO_SIZE, bytes}));
}

static void apply_meter(HrTimeline* timeline, HrTick tick, uint16_t beats, uint16_t unit)
{
  uint8_t bytes[HR_META_METER_SIZE];
  hr_meta_meter(beats, unit, bytes);
  assert_ok(
      hr_timeline_apply(timeline, &(HrEvent){tick, HR_EVENT_META, HR_META_METER_SIZE, bytes}));
}

static void assert_place(const HrTimeline* timeline, HrTick tick, int64_t bar, int32_t beat,
                         double seconds)
{
  const HrPlace place = hr_timeline_place(timeline, tick);
  assert_int_equal(place.bar, bar);
  assert_int_equal(place.beat, beat);
  assert_true(fabs(place.seconds - seconds) < 1e-9);
}

static void test_bars_beats_and_seconds(void** state)
{
  (void)state;
  HrTimeline timeline = {0};
  assert_place(&timeline, 0, 1, 1, 0.0);
  assert_place(&timeline, 4 * QUARTER - 1, 1, 4, (4.0 - 1.0 / (double)QUARTER) / 2);
  assert_place(&timeline, 4 * QUARTER, 2, 1, 2.0);
  assert_place(&timeline, -1, 0, 4, -0.5 / (double)QUARTER);
  assert_place(&timeline, -4 * QUARTER, 0, 1, -2.0);

  apply_meter(&timeline, 8 * QUARTER, 3, 4);  // At bar 3
  apply_tempo(&timeline, 11 * QUARTER, 60.0); // At bar 4
  apply_meter(&timeline, 12 * QUARTER, 6, 8); // In bar 4, at its second beat: bar 5 begins
  apply_meter(&timeline, 15 * QUARTER, 6, 8); // Nothing new
  assert_place(&timeline, 8 * QUARTER, 3, 1, 4.0);
  assert_place(&timeline, 11 * QUARTER, 4, 1, 5.5);
  assert_place(&timeline, 12 * QUARTER - 1, 4, 1, 6.5 - 1.0 / (double)QUARTER);
  assert_place(&timeline, 12 * QUARTER, 5, 1, 6.5);
  assert_place(&timeline, 13 * QUARTER, 5, 3, 7.5);
  assert_place(&timeline, 15 * QUARTER, 6, 1, 9.5);
  assert_place(&timeline, 7 * QUARTER, 2, 4, 3.5);
  assert_true(hr_timeline_tick(&timeline, 0.0, 0.0) == -4 * QUARTER);
  assert_true(hr_timeline_tick(&timeline, 3.0, 0.0) == 8 * QUARTER);
  assert_true(hr_timeline_tick(&timeline, 5.0, 0.0) == 12 * QUARTER); // The bar before is cut short
  assert_true(hr_timeline_tick(&timeline, 5.0, 2.0) == 13 * QUARTER);
  hr_timeline_free(&timeline);
}

/* ---- All branches ---------------------------------------------------- */

static HrStore* store;
static HrTxn* txn;
static HrTreeId tree;

static int setup(void** state)
{
  (void)state;
  return scratch_make() || hr_store_open(scratch_path("test.hr"), HR_STORE_CREATE, &store, NULL) ||
         hr_txn_begin(store, HR_WRITE, &txn) || hr_tree_create(txn, NULL, 0, &tree);
}

static int teardown(void** state)
{
  (void)state;
  hr_txn_abort(txn);
  hr_store_close(store);
  scratch_remove();
  return 0;
}

static HrBranchId fork_at(HrBranchId from, HrTick tick, uint32_t number)
{
  HrBranchId id = 0;
  assert_ok(hr_branch_fork(txn, from, tick, &(HrForkOptions){.number = number}, &id));
  return id;
}

/** Play a few random events on a branch: notes, tempo, meter. */
static void play(HrBranchId id)
{
  HrBranch branch;
  assert_ok(hr_branch_get(txn, id, &branch));
  HrTick tick = branch.head_tick;
  for (uint32_t i = random_below(6); i-- > 0;) {
    uint8_t bytes[16] = {0x90, 60, 100};
    HrEvent event = {tick += random_below(20) * QUARTER / 3, HR_EVENT_MIDI, 3, bytes};
    const uint32_t kind = random_below(3);
    if (kind) {
      event.kind = HR_EVENT_META;
      event.size = kind == 1 ? HR_META_TEMPO_SIZE : HR_META_METER_SIZE;
      if (kind == 1) {
        hr_meta_tempo(40.0 + random_below(200), bytes);
      } else {
        hr_meta_meter((uint16_t)(1 + random_below(7)), (uint16_t)(1u << random_below(5)), bytes);
      }
    }
    assert_ok(hr_append(txn, id, &event, NULL));
  }
}

/** The levels that drawing the tree takes (show.c), and that it shows all. */
static size_t drawn_levels(const HrBranches* branches)
{
  size_t next[64] = {branches->rows[0].first_child};
  size_t level = 0;
  size_t deepest = 0;
  size_t shown = 1;
  while (level || next[0] != HR_NO_BRANCH) {
    const size_t row = next[level];
    if (row == HR_NO_BRANCH) {
      --level;
      continue;
    }
    shown += 1;
    if (branches->rows[row].next == HR_NO_BRANCH) {
      next[level] = branches->rows[row].first_child;
      continue;
    }
    next[level] = branches->rows[row].next;
    next[++level] = branches->rows[row].first_child;
    deepest = level > deepest ? level : deepest;
  }
  assert_int_equal(shown, branches->count);
  return deepest;
}

static void test_places_equal_those_of_the_whole_path(void** state)
{
  (void)state;
  enum { COUNT = 300 };
  HrBranchId ids[COUNT] = {hr_branch_id(tree, 1)};
  HrBranches branches;
  random_state = 5;
  play(ids[0]);
  for (uint32_t i = 1; i < COUNT; ++i) {
    const HrBranchId from = ids[random_below(i)];
    HrBranch branch;
    assert_ok(hr_branch_get(txn, from, &branch));
    /* Numbers out of order, as reserved ones are: 7 i modulo 307. */
    ids[i] = fork_at(from, (HrTick)((double)branch.head_tick * random_below(100) / 90.0),
                     1 + 7 * i % 307);
    play(ids[i]);
  }
  assert_ok(hr_branches_load(&branches, txn, tree));
  assert_int_equal(branches.count, COUNT);
  assert_int_equal(branches.damaged, 0);
  assert_true(drawn_levels(&branches) <= 8); // log2(300)
  for (uint32_t i = 0; i < COUNT; ++i) {
    HrTimeline timeline = {0};
    HrBranch branch;
    uint64_t damaged = 0;
    const size_t row = hr_branches_find(&branches, ids[i]);
    assert_ok(hr_branch_get(txn, ids[i], &branch));
    assert_int_not_equal(row, HR_NO_BRANCH);
    assert_ok(hr_timeline_read(&timeline, txn, ids[i], INT64_MIN, INT64_MAX, &damaged));
    for (uint32_t n = 0; n < 20; ++n) {
      const HrTick tick = (HrTick)((double)branch.head_tick * n / 18.0);
      const HrPlace whole = hr_timeline_place(&timeline, tick);
      const HrPlace place = hr_branches_place(&branches, row, tick);
      assert_int_equal(place.bar, whole.bar);
      assert_int_equal(place.beat, whole.beat);
      assert_true(fabs(place.seconds - whole.seconds) < 1e-6);
    }
    hr_timeline_free(&timeline);
  }
  hr_branches_free(&branches);
}

static void test_children_come_in_order(void** state)
{
  (void)state;
  const HrBranchId root = hr_branch_id(tree, 1);
  HrBranches branches;
  fork_at(root, 3 * QUARTER, 2);
  const HrBranchId busy = fork_at(root, 1 * QUARTER, 3);
  fork_at(root, 2 * QUARTER, 4);
  fork_at(root, 2 * QUARTER, 5);
  fork_at(busy, 2 * QUARTER, 6);
  assert_ok(hr_branches_load(&branches, txn, tree));
  assert_int_equal(branches.count, 6);
  static const uint32_t wanted[] = {4, 5, 2, 3}; // By place, the largest family last
  size_t seen = 0;
  size_t row = branches.rows ? branches.rows[0].first_child : HR_NO_BRANCH;
  for (; row != HR_NO_BRANCH && seen < 4; row = branches.rows[row].next) {
    assert_int_equal(hr_branch_number(branches.rows[row].branch.id), wanted[seen++]);
  }
  assert_int_equal(seen, 4);
  assert_int_equal(row, HR_NO_BRANCH);
  hr_branches_free(&branches);
}

static double seconds_now(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void test_a_chain_of_many_forks(void** state)
{
  (void)state;
  enum { COUNT = 100000 };
  HrBranches branches;
  HrBranchId id = hr_branch_id(tree, 1);
  for (uint32_t i = 1; i < COUNT; ++i) {
    fork_at(id, i * QUARTER, 0);
    id = fork_at(id, i * QUARTER, 0);
  }
  const double began = seconds_now();
  assert_ok(hr_branches_load(&branches, txn, tree));
  assert_int_equal(branches.count, 2 * COUNT - 1);
  assert_int_equal(drawn_levels(&branches), 1);
  for (uint32_t i = 0; i < COUNT; ++i) {
    const HrPlace place = hr_branches_place(&branches, branches.count - 1, i * QUARTER);
    assert_int_equal(place.bar, 1 + i / 4);
  }
  /* Without a walk from the root for each; a hundred times as much as it takes. */
  assert_true(seconds_now() - began < 60.0);
  hr_branches_free(&branches);
}

int main(void)
{
#define TEST(name)      cmocka_unit_test(name)
#define TREE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(test_every_event_is_written_and_read),
      TEST(test_damaged_files_are_survived),
      TEST(test_tracks_are_merged_in_order),
      TEST(test_bars_beats_and_seconds),
      TREE_TEST(test_places_equal_those_of_the_whole_path),
      TREE_TEST(test_children_come_in_order),
      TREE_TEST(test_a_chain_of_many_forks),
  };
  return cmocka_run_group_tests_name("smf", tests, NULL, NULL);
}
