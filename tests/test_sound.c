/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Whatever is done, each note is in the record with the sound that it was heard with, and is
 * replayed with that. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/rig_commands.h"

enum { NOTES = 4000, STEPS = 60, PERFORMANCES = 100 };

/** What a note was heard with; known by its key and velocity. */
static HrChaseChannel heard_with[NOTES];
static bool alone[NOTES]; ///< Nothing was replayed meanwhile
static int notes;
static HrChase heard;
static size_t listened;

static uint8_t key_of(int note)
{
  return (uint8_t)(note % 128);
}

static uint8_t velocity_of(int note)
{
  return (uint8_t)(1 + note / 128);
}

/** Take in what has come out, up to the note-on of `note`; false if that has not. */
static bool listen_to(int note)
{
  for (; listened < rig.output_count; ++listened) {
    const RigEvent* const event = &rig.output[listened];
    if (event->bytes[0] == 0x90 && event->bytes[1] == key_of(note) &&
        event->bytes[2] == velocity_of(note)) {
      return true;
    }
    hr_chase_follow(&heard, event->bytes, event->size);
  }
  return false;
}

/** A note, held for a while or through what comes next. */
static void play_one(void)
{
  const int note = notes++;
  rig_play(&rig, 0, 0x90, key_of(note), velocity_of(note));
  rig_play(&rig, rand() % 2 ? BEAT : 300, 0x80, key_of(note), 64);
  alone[note] = !rig.engine->replay || !hr_player_plays(&rig.engine->player);
  rig_run(&rig, rig.block);
  assert_true(listen_to(note));
  heard_with[note] = heard.channels[0];
}

static void turn_something(void)
{
  static const uint8_t numbers[] = {1, 33, 7, 11, 64, 66, 74};
  const uint8_t number = numbers[(size_t)rand() % sizeof numbers];
  switch (rand() % 4) {
  case 0:
    rig_play(&rig, 0, 0xc0, (uint8_t)(rand() % 4), 0);
    break;
  case 1:
    rig_play(&rig, 0, 0xe0, 0, (uint8_t)(60 + rand() % 8));
    break;
  default:
    rig_play(&rig, 0, 0xb0, number, (uint8_t)(rand() % 2 * 127));
    break;
  }
  rig_run(&rig, rig.block);
}

/** Nothing is left open: what was never set is what a synthesizer begins with, whoever heard it. */
static void set_all(void)
{
  static const uint8_t all[][3] = {{0xc0, 0, 0},  {0xe0, 0, 0x40}, {0xb0, 1, 0},
                                   {0xb0, 33, 0}, {0xb0, 7, 127},  {0xb0, 11, 127},
                                   {0xb0, 64, 0}, {0xb0, 66, 0},   {0xb0, 74, 0}};
  for (size_t i = 0; i < sizeof all / sizeof *all; ++i) {
    rig_play(&rig, 0, all[i][0], all[i][1], all[i][2]);
  }
  rig_run(&rig, rig.block);
}

static void give_a_command(void)
{
  static const char* const verbs[] = {"fork",   "next",    "previous", "replay", "stop",
                                      "record", "follow",  "undo",     "redo",   "loop",
                                      "slot",   "fork/at", "replay/at"};
  const size_t verb = (size_t)rand() % (sizeof verbs / sizeof *verbs);
  const HrValue place = hr_value_integer(2 + rand() % 3);
  rig_command(&rig, verbs[verb], &place, verb >= 10); // Those before do without
}

static void do_something(void)
{
  switch (rand() % 5) {
  case 0:
    rig_transport(&rig, rand() % 2, rand() % 8 * BEAT);
    break;
  case 1:
    rig_run(&rig, rand() % 3 * BAR);
    break;
  default:
    give_a_command();
    break;
  }
  rig_run(&rig, (int64_t)rig.block * (1 + rand() % 20));
}

static bool sounds_alike(const HrChaseChannel* kept, const HrChaseChannel* played)
{
  return kept->program == played->program && kept->bend_msb == played->bend_msb &&
         !memcmp(kept->controllers, played->controllers, sizeof kept->controllers);
}

/** Look at the notes that a branch has of its own. */
static void check_branch(HrTxn* txn, const HrBranch* branch, int performance)
{
  static HrChase kept;
  HrPath path;
  HrEvent event;
  hr_chase_init(&kept);
  assert_ok(hr_path_open(txn, branch->id, INT64_MIN, &path));
  while (!hr_path_next(&path, &event)) {
    if (event.kind == HR_EVENT_MIDI && event.bytes[0] == 0x90 && path.span.branch == branch->id) {
      const int note = event.bytes[1] + 128 * (event.bytes[2] - 1);
      if (alone[note] && !sounds_alike(&kept.channels[0], &heard_with[note])) {
        print_error("performance %d: note %d, on branch %u\n", performance, note,
                    hr_branch_number(branch->id));
        fail();
      }
    }
    if (event.kind == HR_EVENT_MIDI) {
      hr_chase_follow(&kept, event.bytes, event.size);
    }
  }
  hr_path_close(&path);
}

static void check_tree(int performance)
{
  const HrSessionState state = state_now();
  HrStore* store = NULL;
  HrTxn* txn = NULL;
  HrBranch branch = {0};
  assert_ok(hr_store_open(state.store_path, 0, &store, NULL));
  assert_ok(hr_txn_begin(store, HR_READ, &txn));
  while (!hr_branch_next(txn, state.tree, hr_branch_number(branch.id), &branch)) {
    check_branch(txn, &branch, performance);
  }
  hr_txn_abort(txn);
  hr_store_close(store);
}

static void perform(int performance)
{
  srand((unsigned)performance);
  hr_chase_init(&heard);
  notes = 0;
  listened = 0;
  assert_ok(rig_say(&rig, "quantum", "now"));
  set_all();
  for (int i = 0; i < STEPS; ++i) {
    switch (rand() % 3) {
    case 0:
      do_something();
      break;
    case 1:
      turn_something();
      break;
    default:
      play_one();
      break;
    }
  }
  rig_run(&rig, 8 * BAR);
}

static void test_each_note_sounds_as_it_was_heard(void** state)
{
  for (int performance = 1; performance <= PERFORMANCES; ++performance) {
    assert_int_equal(setup(state), 0);
    perform(performance);
    check_tree(performance);
    teardown(state);
  }
}

/** What a branch holds from a tick on, each note with what a synthesizer has when it begins. */
typedef struct {
  int count;
  uint8_t notes[NOTES][2];
  HrChaseChannel sounds[NOTES];
} Expected;

static void expect(Expected* expected, HrTxn* txn, HrBranchId branch, HrTick from)
{
  static HrChase kept;
  HrPath path;
  HrEvent event;
  expected->count = 0;
  hr_chase_init(&kept);
  assert_ok(hr_path_open(txn, branch, INT64_MIN, &path));
  while (!hr_path_next(&path, &event)) {
    if (event.kind == HR_EVENT_MIDI && event.bytes[0] == 0x90 && event.tick >= from) {
      memcpy(expected->notes[expected->count], event.bytes + 1, 2);
      expected->sounds[expected->count++] = kept.channels[0];
    }
    if (event.kind == HR_EVENT_MIDI) {
      hr_chase_follow(&kept, event.bytes, event.size);
    }
  }
  hr_path_close(&path);
}

/** Each note that comes out is one that is expected, in order, and sounds so. Those that are
 * chased come first. */
static void check_replay(const Expected* expected, int performance, uint32_t branch)
{
  int at = 0;
  for (; listened < rig.output_count; ++listened) {
    const RigEvent* const event = &rig.output[listened];
    if (event->bytes[0] == 0x90 && at < expected->count &&
        !memcmp(event->bytes + 1, expected->notes[at], 2)) {
      if (!sounds_alike(&heard.channels[0], &expected->sounds[at])) {
        print_error("performance %d: branch %u, replayed note %d\n", performance, branch, at);
        fail();
      }
      ++at;
    }
    hr_chase_follow(&heard, event->bytes, event->size);
  }
  assert_int_equal(at, expected->count);
}

/** Replay a branch on the own clock, from somewhere. */
static void replay(HrTxn* txn, HrBranchId branch, int performance)
{
  static Expected expected;
  char name[16];
  const HrTick from = ticks(rand() % 8 / 2.0);
  const HrValue place = hr_value_tick(from);
  snprintf(name, sizeof name, "#%u", hr_branch_number(branch));
  expect(&expected, txn, branch, from);
  assert_ok(rig_say(&rig, "switch", name));
  rig_run(&rig, BEAT);
  listen_to(NOTES); // Which is none: to all
  assert_ok(rig_command(&rig, "replay/at", &place, 1));
  for (int bar = 0; bar < 2 || rig.engine->replay; ++bar) { // It may wait for a bar line
    rig_run(&rig, BAR);
  }
  check_replay(&expected, performance, hr_branch_number(branch));
}

static void test_each_note_is_replayed_as_it_is_kept(void** state)
{
  for (int performance = 1; performance <= PERFORMANCES; ++performance) {
    HrStore* store = NULL;
    HrTxn* txn = NULL;
    HrBranch branch = {0};
    assert_int_equal(setup(state), 0);
    perform(performance);
    rig_transport(&rig, false, 0);
    rig_run(&rig, 4096);
    const HrSessionState now = state_now();
    say_number("record", 0);
    say_number("loop", 0);
    assert_ok(hr_store_open(now.store_path, 0, &store, NULL));
    assert_ok(hr_txn_begin(store, HR_READ, &txn));
    while (!hr_branch_next(txn, now.tree, hr_branch_number(branch.id), &branch)) {
      if (branch.state == HR_BRANCH_ACTIVE) {
        replay(txn, branch.id, performance);
      }
    }
    hr_txn_abort(txn);
    hr_store_close(store);
    teardown(state);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_note_sounds_as_it_was_heard),
                                     cmocka_unit_test(test_each_note_is_replayed_as_it_is_kept)};
  return cmocka_run_group_tests_name("sound", tests, NULL, NULL);
}
