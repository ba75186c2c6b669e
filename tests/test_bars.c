/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Whose bars count: along the music, on the host's clock and on the plugin's own. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/rig_commands.h"

/* ---- The host's tempo and meter, where the branch knows none ----------------------- */

enum { BEAT_AT_100 = RIG_RATE * 60 / 100, BAR_AT_100 = 3 * BEAT_AT_100 };

/** A host that stands, and has said so once: 100 beats a minute, three a bar. */
static void stand_at_100(void)
{
  rig.tempo = 100.0;
  rig.beats_per_bar = 3.0f;
  stop_host();
}

/** A note on each beat of two bars, played at the host's tempo: kept so, heard so again. */
static void assert_two_bars_at_100(const char* branch)
{
  for (int i = 0; i < 6; ++i) {
    play_note((int64_t)i * BEAT_AT_100, (uint8_t)(60 + i), BEAT_AT_100 / 2);
  }
  rig_run(&rig, 8 * BAR_AT_100);
  assert_string_equal(state_now().branch_name, branch);
  const Music music = music_of(branch);
  assert_int_equal(music.count, 12);
  for (int i = 0; i < 6; ++i) {
    assert_true(llabs(music.tick[2 * i] - music.tick[0] - ticks(i)) <= 1);
  }
  rig.tempo = 200.0; // The branch knows its own by now
  rig.beats_per_bar = 5.0f;
  stop_host();
  rig.output_count = 0;
  const int64_t start = rig.now;
  assert_ok(rig_say(&rig, "replay", NULL));
  rig_run(&rig, 3 * BAR_AT_100);
  const RigEvent* ons[16];
  assert_int_equal(note_ons(ons, 16), 6);
  for (int i = 0; i < 6; ++i) {
    assert_int_equal(ons[i]->frame - start, (int64_t)i * BEAT_AT_100);
  }
}

static void test_a_fork_at_the_very_beginning(void** state)
{
  (void)state;
  play_note(0, 40, BEAT / 2);
  rig_run(&rig, 4 * BAR);
  stand_at_100();
  const HrValue at[2] = {hr_value_text("1"), hr_value_text("waltz")};
  assert_ok(rig_command(&rig, "fork/at", at, 2));
  rig_run(&rig, 512);
  assert_two_bars_at_100("waltz");
}

static void test_a_new_tree(void** state)
{
  (void)state;
  const HrAttachment other = {.store = scratch_path("store.hr"), .tree = "other"};
  play_note(0, 40, BEAT / 2);
  rig_run(&rig, 4 * BAR);
  stand_at_100();
  assert_ok(hr_session_attach(rig.session, &other, NULL));
  rig_run(&rig, 512);
  assert_two_bars_at_100("main");
}

/** Replay has one note, so many frames after its beginning. */
static void assert_one_note(int64_t frames, uint8_t key)
{
  rig.output_count = 0;
  const int64_t start = rig.now;
  assert_ok(rig_say(&rig, "replay", NULL));
  rig_run(&rig, frames + BAR_AT_100);
  const RigEvent* ons[4];
  assert_int_equal(note_ons(ons, 4), 1);
  assert_int_equal(ons[0]->frame - start, frames);
  assert_int_equal(ons[0]->bytes[1], key);
}

/** Along a host: the first note, in the middle of a bar, begins no bar; and the beats
 * before it are heard as long as they were. */
static void test_before_the_first_note(void** state)
{
  (void)state;
  stand_at_100();
  rig_transport(&rig, true, 0);
  play_note(7 * BEAT_AT_100, 60, BEAT_AT_100 / 2); // The second beat of bar 3
  rig_run(&rig, 12 * BEAT_AT_100);
  stop_host();
  assert_one_note(7 * BEAT_AT_100, 60);
  const HrValue range[2] = {hr_value_text("3.2"), hr_value_text("4")};
  assert_ok(rig_command(&rig, "loop/range", range, 2));
  assert_true(state_now().loop_start == ticks(7) && state_now().loop_end == ticks(9));
}

/** The same of what is played the second time round a host's loop. */
static void test_before_the_first_note_of_a_pass(void** state)
{
  (void)state;
  stand_at_100();
  for (int pass = 0; pass < 2; ++pass) {
    rig_transport(&rig, true, 0);
    play_note(4 * BEAT_AT_100, (uint8_t)(60 + pass), BEAT_AT_100 / 2);
    rig_run(&rig, 2 * BAR_AT_100);
  }
  stop_host();
  assert_string_equal(state_now().branch_name, "main pass 2");
  assert_one_note(4 * BEAT_AT_100, 61);
  const HrValue range[2] = {hr_value_text("2"), hr_value_text("2.3")};
  assert_ok(rig_command(&rig, "loop/range", range, 2));
  assert_true(state_now().loop_start == ticks(3) && state_now().loop_end == ticks(5));
}

/** A branch that is heard is left for one on which there is nothing yet. */
static void test_from_music_to_none(void** state)
{
  (void)state;
  const HrValue at[2] = {hr_value_text("1"), hr_value_text("waltz")};
  for (int i = 0; i < 8; ++i) {
    play_note(i * BEAT, (uint8_t)(40 + i), BEAT / 2);
  }
  rig_run(&rig, 6 * BAR);
  assert_ok(rig_command(&rig, "fork/at", at, 2));
  rig_run(&rig, 512);
  assert_ok(rig_say(&rig, "switch", "main"));
  rig_run(&rig, 512);
  stand_at_100();
  assert_ok(rig_say(&rig, "replay", NULL));
  rig_run(&rig, BEAT);
  assert_true(state_now().tempo == 120.0); // Its own
  assert_ok(rig_say(&rig, "switch", "waltz"));
  rig_run(&rig, BAR);
  const HrSessionState now = state_now();
  assert_string_equal(now.branch_name, "waltz");
  assert_true(now.tempo == 100.0);
  assert_int_equal(now.beats_per_bar, 3);
}

/** A branch forked in the past, and forked again before it was played on: its tempo is
 * not looked up, and so not taken. */
static void test_back_to_a_branch_without_a_note(void** state)
{
  (void)state;
  record_beats(8, 40);
  rig_transport(&rig, true, 4 * BAR);
  rig_run(&rig, BEAT);
  assert_ok(rig_say(&rig, "fork", "idea"));
  rig_run(&rig, BEAT);
  assert_ok(rig_say(&rig, "switch", "idea"));
  rig_run(&rig, 256);
  rig_transport(&rig, true, BAR + BEAT);
  play_note(1000, 90, 1000);
  rig_run(&rig, 4096);
  assert_string_equal(state_now().pending_name, "idea");
  rig_transport(&rig, false, BAR + BEAT);
  rig_run(&rig, 512);
  const HrSessionState now = state_now();
  assert_string_equal(now.branch_name, "idea");
  assert_true(now.tempo == 120.0 && now.beats_per_bar == 4 && now.beat_unit == 4);
}

/** A switch waits for the bar line that the host would have. */
static void test_the_next_bar_is_the_host_s(void** state)
{
  (void)state;
  const HrValue at[2] = {hr_value_text("1"), hr_value_text("waltz")};
  play_note(0, 40, BEAT / 2);
  rig_run(&rig, 4 * BAR);
  stand_at_100();
  assert_ok(rig_command(&rig, "fork/at", at, 2));
  rig_run(&rig, 512);
  play_note(0, 60, BEAT_AT_100 / 2);
  rig_run(&rig, BAR_AT_100 + BEAT_AT_100);
  assert_ok(rig_say(&rig, "switch", "main"));
  rig_run(&rig, 2 * BEAT_AT_100 - 512);
  assert_string_equal(state_now().branch_name, "waltz");
  rig_run(&rig, 1024);
  assert_string_equal(state_now().branch_name, "main");
}

/* ---- Whose bars, on the own clock -------------------------------------------------- */

/** Beats from now on, and a pause, after which the clock waits on a bar line. */
static void jam_and_rest(int beats)
{
  for (int i = 0; i < beats; ++i) {
    play_note((int64_t)i * BEAT, 60, BEAT / 2);
  }
  rig_run(&rig, 8 * BAR);
}

static HrTick tick_of_last(const char* branch)
{
  const Music music = music_of(branch);
  return music.tick[music.count - 2];
}

/** A host that stands has told of three beats a bar, then, when a bar was played, of four. */
static void jam_in_two_meters(void)
{
  rig.beats_per_bar = 3.0f;
  rig_transport(&rig, false, 0);
  jam_and_rest(3);
  rig.beats_per_bar = 4.0f;
  rig_transport(&rig, false, 0);
  jam_and_rest(4);
}

static void test_bars_from_a_change_of_meter_on(void** state)
{
  (void)state;
  jam_in_two_meters();
  jam_and_rest(1);
  assert_true(tick_of_last("main") == ticks(3 + 4));
}

/** In a host that has rolled, they are the host's, also where it was moved to another meter. */
static void test_bars_of_a_host_moved_to_another_meter(void** state)
{
  (void)state;
  rig_transport(&rig, true, 0);
  rig_run(&rig, BAR + BEAT);
  rig_transport(&rig, false, BAR + BEAT);
  rig_run(&rig, 512);
  rig.beats_per_bar = 3.0f;
  rig_transport(&rig, false, 6 * BEAT);
  rig_run(&rig, 512);
  jam_and_rest(3);
  jam_and_rest(1);
  assert_true(tick_of_last(state_now().branch_name) == ticks(9));
}

/** The bar lines of the branch that is left are not those of the one that comes. */
static void test_bars_of_another_branch(void** state)
{
  (void)state;
  const HrValue at[2] = {hr_value_text("1"), hr_value_text("other")};
  jam_in_two_meters();
  assert_ok(rig_say(&rig, "replay/at", "2"));
  rig_run(&rig, BEAT);
  assert_ok(rig_say(&rig, "stop", NULL));
  rig_run(&rig, 512);
  assert_ok(rig_command(&rig, "fork/at", at, 2));
  rig_run(&rig, 512);
  jam_and_rest(4);
  jam_and_rest(1);
  assert_true(tick_of_last("other") == ticks(4));
}

/** Far into a branch, in a session opened anew, every so many bars are counted from bar 1. */
static void test_bars_of_a_branch_opened_anew(void** state)
{
  (void)state;
  const HrAttachment again = {.store = scratch_path("store.hr"), .tree = "#1", .branch = "#1"};
  record_beats(17, 20);
  rig_close(&rig);
  assert_true(rig_open(&rig, &again));
  assert_ok(rig_say(&rig, "quantum", "4 bars"));
  say_number("silence", 0);
  rig_run(&rig, 512);
  const HrValue at[2] = {hr_value_text("2"), hr_value_text("other")};
  assert_ok(rig_command(&rig, "fork/at", at, 2));
  assert_ok(rig_say(&rig, "switch", "main"));
  rig_run(&rig, 512);
  play_note(0, 60, BEAT / 2);
  rig_run(&rig, BEAT);
  assert_true(tick_of_last("main") == ticks(17 * 4));
  assert_ok(rig_say(&rig, "switch", "other"));
  rig_run(&rig, 3 * BAR - BEAT - 512);
  assert_string_equal(state_now().branch_name, "main");
  rig_run(&rig, 1024);
  assert_string_equal(state_now().branch_name, "other"); // At bar 21
}

/** A bar of four beats and four of three, on "main", from which "other" forks at bar 2. */
static void record_in_two_meters(void)
{
  const HrValue at[2] = {hr_value_text("2"), hr_value_text("other")};
  record_beats(1, 60);
  rig.beats_per_bar = 3.0f;
  rig_transport(&rig, true, BAR);
  for (int i = 0; i < 12; ++i) {
    play_note((int64_t)i * BEAT, 64, BEAT / 2);
  }
  rig_run(&rig, 12 * BEAT);
  assert_ok(rig_command(&rig, "fork/at", at, 2));
  rig_run(&rig, 512);
}

/** Where a session opened anew goes on, it waits on a bar line of the music: at beat 16, the
 * beginning of bar 6. So bar 7, the next with an odd number, begins at beat 19. */
static void test_bars_of_a_branch_in_two_meters_opened_anew(void** state)
{
  (void)state;
  const HrAttachment again = {.store = scratch_path("store.hr"), .tree = "#1", .branch = "#1"};
  record_in_two_meters();
  rig_close(&rig);
  assert_true(rig_open(&rig, &again));
  assert_ok(rig_say(&rig, "quantum", "2 bars"));
  rig_run(&rig, 512);
  play_note(0, 60, BEAT / 2);
  rig_run(&rig, BEAT);
  assert_true(tick_of_last("main") == ticks(16));
  assert_ok(rig_say(&rig, "switch", "other"));
  rig_run(&rig, 2 * BEAT - 512);
  assert_string_equal(state_now().branch_name, "main");
  rig_run(&rig, 1024);
  assert_string_equal(state_now().branch_name, "other");
}

/** The same where the host has told of four beats a bar by then: they begin there. */
static void test_bars_of_a_host_of_another_meter_after_opening(void** state)
{
  (void)state;
  const HrAttachment again = {.store = scratch_path("store.hr"), .tree = "#1", .branch = "#1"};
  record_in_two_meters();
  rig_close(&rig);
  assert_true(rig_open(&rig, &again));
  stop_host();
  jam_and_rest(1);
  assert_true(tick_of_last("main") == ticks(16));
  jam_and_rest(1);
  assert_true(tick_of_last("main") == ticks(20));
}

/** And where somebody goes back to the branch, or stops a replay in the middle of it. */
static void test_bars_of_a_branch_in_two_meters_gone_back_to(void** state)
{
  (void)state;
  const HrAttachment again = {.store = scratch_path("store.hr"), .tree = "#1", .branch = "other"};
  record_in_two_meters();
  rig_close(&rig);
  assert_true(rig_open(&rig, &again));
  rig_run(&rig, 512);
  assert_ok(rig_say(&rig, "switch", "main"));
  rig_run(&rig, 512);
  jam_and_rest(1);
  assert_true(tick_of_last("main") == ticks(16));
  assert_ok(rig_say(&rig, "replay/at", "1"));
  rig_run(&rig, BEAT);
  assert_ok(rig_say(&rig, "stop", NULL));
  rig_run(&rig, 512);
  jam_and_rest(1);
  assert_true(tick_of_last("main") == ticks(19));
}

/** A branch forked in the middle of a bar, before anything is played: its bars are the host's. */
static void test_bars_of_a_branch_forked_before_the_first_note(void** state)
{
  (void)state;
  const HrAttachment again = {.store = scratch_path("store.hr"), .tree = "#1"};
  rig.beats_per_bar = 3.0f;
  rig_transport(&rig, true, 0);
  rig_run(&rig, BEAT + BEAT / 2);
  assert_ok(rig_say(&rig, "fork", "idea"));
  play_note(BEAT / 2, 60, BEAT / 2);
  rig_run(&rig, 2 * BEAT);
  rig_close(&rig);
  assert_true(rig_open(&rig, &again));
  rig_run(&rig, 512);
  jam_and_rest(1);
  assert_true(tick_of_last("idea") == ticks(3));
}

/** What was said of the meter long ago counts as well: the path is read bit by bit. */
static void test_bars_of_a_long_branch_opened_anew(void** state)
{
  (void)state;
  enum { WORDS = 5000, RUNS = 400 }; // 3,970 nodes
  static HrWord words[WORDS];
  const HrAttachment again = {.store = scratch_path("store.hr"), .tree = "long"};
  const HrAppendOptions options = {.author = 1};
  uint8_t meter[HR_META_METER_SIZE];
  HrStore* store = NULL;
  HrTxn* txn = NULL;
  HrTreeId tree;
  for (uint32_t i = 0; i < WORDS; ++i) {
    words[i] = (HrWord){i, 3, {i % 2 ? 0x80 : 0x90, 60, 64}};
  }
  hr_meta_meter(3, 4, meter);
  const HrEvent change = {ticks(4), HR_EVENT_META, sizeof meter, meter};
  assert_ok(hr_store_open(again.store, 0, &store, NULL));
  assert_ok(hr_txn_begin(store, HR_WRITE, &txn));
  assert_ok(hr_tree_create(txn, "long", 1, &tree));
  for (int run = 0; run < RUNS; ++run) {
    const HrBranchId branch = hr_branch_id(tree, 1);
    if (run == 80) {
      assert_ok(hr_append(txn, branch, &change, &options));
    }
    assert_ok(hr_append_words(txn, branch, ticks(run * 0.05), words, WORDS, &options));
  }
  assert_ok(hr_txn_commit(txn));
  hr_store_close(store);
  rig_close(&rig);
  assert_true(rig_open(&rig, &again));
  rig_run(&rig, RIG_RATE);
  assert_true(state_now().position == ticks(4 + 6 * 3));
}

/** Who goes to a branch that ends on a bar line waits at the next one, clear of what is there. */
static void test_going_to_what_ends_on_the_line(void** state)
{
  (void)state;
  play_note(0, 40, BAR);
  rig_run(&rig, 6 * BAR);
  assert_true(state_now().head == ticks(4));
  const HrValue at[2] = {hr_value_text("1"), hr_value_text("other")};
  assert_ok(rig_command(&rig, "fork/at", at, 2));
  rig_run(&rig, 512);
  assert_ok(rig_say(&rig, "switch", "main"));
  rig_run(&rig, 512);
  assert_true(state_now().position == ticks(8));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(test_a_fork_at_the_very_beginning),
      TEST(test_a_new_tree),
      TEST(test_before_the_first_note),
      TEST(test_before_the_first_note_of_a_pass),
      TEST(test_from_music_to_none),
      TEST(test_back_to_a_branch_without_a_note),
      TEST(test_the_next_bar_is_the_host_s),
      TEST(test_bars_from_a_change_of_meter_on),
      TEST(test_bars_of_a_host_moved_to_another_meter),
      TEST(test_bars_of_another_branch),
      TEST(test_bars_of_a_branch_opened_anew),
      TEST(test_bars_of_a_branch_in_two_meters_opened_anew),
      TEST(test_bars_of_a_host_of_another_meter_after_opening),
      TEST(test_bars_of_a_branch_in_two_meters_gone_back_to),
      TEST(test_bars_of_a_branch_forked_before_the_first_note),
      TEST(test_bars_of_a_long_branch_opened_anew),
      TEST(test_going_to_what_ends_on_the_line),

  };
  return cmocka_run_group_tests_name("musical time", tests, NULL, NULL);
}
