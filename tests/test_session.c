/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What a player meets without a host's transport, and with one: forks,
 * switches, replay, silence, stops. And what is left when the host is killed. */

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/rig_music.h"

/* ---- Jam ------------------------------------------------------------------------ */

static void test_the_first_note_is_at_the_start(void** state)
{
  (void)state;
  rig_run(&rig, 12345);
  play_note(100, 60, BEAT);
  play_note(2 * BEAT + 100, 62, BEAT);
  rig_run(&rig, 4 * BEAT);
  const Music music = music_of("main");
  assert_int_equal(music.count, 4);
  assert_true(music.tick[0] == 0);
  assert_true(music.tick[1] == ticks(1));
  assert_true(music.tick[2] == ticks(2));
}

static void test_long_silence_is_shortened(void** state)
{
  (void)state;
  play_note(0, 60, BEAT);
  play_note(BAR + BEAT, 61, BEAT); // A short pause stays
  rig_run(&rig, 2 * BAR);
  play_note(20 * BAR, 62, BEAT); // A long one ends at a bar line
  rig_run(&rig, 21 * BAR);
  const Music music = music_of("main");
  assert_int_equal(music.count, 6);
  assert_true(music.tick[2] == ticks(5));
  assert_true(music.tick[4] == ticks(8));
}

static void test_replay_is_exact(void** state)
{
  (void)state;
  int64_t frames[200];
  for (int i = 0; i < 100; ++i) {
    frames[2 * i] = i * 1237 + 11;
    frames[2 * i + 1] = frames[2 * i] + 1000;
    play_note(frames[2 * i], (uint8_t)(30 + i % 60), 1000);
  }
  rig.block = 333;
  rig_run(&rig, 130000);
  const uint32_t blocks[] = {64, 256, 1024, 97, 8192};
  for (size_t b = 0; b < sizeof blocks / sizeof *blocks; ++b) {
    rig.block = blocks[b];
    rig_run(&rig, 4 * BAR); // The clock parks: replay begins with the block
    rig.output_count = 0;
    const int64_t start = rig.now;
    assert_ok(rig_say(&rig, "replay", NULL));
    rig_run(&rig, 140000);
    assert_int_equal(rig.output_count, 200);
    for (int i = 0; i < 200; ++i) {
      assert_true(rig.output[i].frame - start == frames[i] - frames[0]);
    }
    assert_false(state_now().replay); // The end of the branch
  }
  assert_true(music_of("main").count == 200); // Hearing it changed nothing
}

static void test_fork_while_playing(void** state)
{
  (void)state;
  play_note(0, 60, BEAT);
  rig_run(&rig, 2 * BEAT);
  rig_play(&rig, 0, 0x90, 61, 100); // Held across the fork
  rig_run(&rig, BEAT);
  assert_ok(rig_say(&rig, "fork", "idea"));
  rig_run(&rig, BEAT);
  rig_play(&rig, 0, 0x80, 61, 64);
  play_note(BEAT, 62, BEAT);
  rig_run(&rig, 3 * BEAT);
  assert_string_equal(state_now().branch_name, "idea");
  Music music = music_of("idea");
  assert_int_equal(music.count, 6);
  assert_int_equal(music.bytes[3][0], 0x80);
  assert_true(music.tick[3] == ticks(4));
  music = music_of("main");
  assert_int_equal(music.count, 4); // And the note ended there, too
  assert_true(music.tick[3] == ticks(3));
}

static void test_playing_over_the_past_forks(void** state)
{
  (void)state;
  for (int i = 0; i < 8; ++i) {
    play_note(i * BEAT, (uint8_t)(60 + i), BEAT / 2);
  }
  rig_run(&rig, 12 * BAR);
  assert_ok(rig_say(&rig, "replay", NULL));
  rig.output_count = 0;
  rig_play(&rig, 2 * BEAT + BEAT / 4, 0x80, 99, 0); // A lone note-off never forks
  play_note(4 * BEAT + BEAT / 4, 72, BEAT / 8);
  rig_run(&rig, 3 * BAR);
  const HrSessionState now = state_now();
  assert_string_equal(now.branch_name, "take 2");
  assert_false(now.replay);
  assert_nothing_hangs(0);
  Music music = music_of("take 2");
  assert_int_equal(music.count, 10 + 2); // Four notes, a fifth cut short, the new one
  assert_int_equal(music.bytes[9][0], 0x80);
  assert_true(music.tick[9] == ticks(4.25));
  assert_true(music.tick[10] == ticks(4.25));
  music = music_of("main");
  assert_int_equal(music.count, 16);
}

static void test_overdub_keeps_both(void** state)
{
  (void)state;
  for (int i = 0; i < 8; ++i) {
    play_note(i * BEAT, (uint8_t)(60 + i), BEAT / 2);
  }
  rig_run(&rig, 12 * BAR);
  assert_ok(rig_say(&rig, "overdub", NULL));
  assert_ok(rig_say(&rig, "replay", NULL));
  play_note(4 * BEAT + BEAT / 4, 72, BEAT / 8);
  rig_run(&rig, 3 * BAR);
  const Music music = music_of("take 2");
  assert_int_equal(music.count, 18);
  for (int i = 1; i < music.count; ++i) {
    assert_true(music.tick[i] >= music.tick[i - 1]);
  }
}

static void test_switch_keeps_the_place(void** state)
{
  (void)state;
  for (int i = 0; i < 16; ++i) {
    play_note(i * BEAT, (uint8_t)(40 + i), BEAT / 2);
  }
  rig_run(&rig, 8 * BAR);
  const HrValue at[2] = {hr_value_text("1"), hr_value_text("other")};
  assert_ok(rig_command(&rig, "fork/at", at, 2));
  rig_run(&rig, BEAT);
  for (int i = 0; i < 16; ++i) {
    play_note(i * BEAT, (uint8_t)(80 + i), BEAT * 2); // Overlapping
  }
  rig_run(&rig, 8 * BAR);

  assert_ok(rig_say(&rig, "switch", "main"));
  rig_run(&rig, BEAT);
  assert_ok(rig_say(&rig, "replay", NULL));
  rig.output_count = 0;
  const int64_t start = rig.now;
  rig_run(&rig, BAR + BEAT / 2);
  assert_ok(rig_say(&rig, "switch", "other"));
  rig_run(&rig, BEAT);
  HrSessionState now = state_now();
  assert_string_equal(now.pending_name, "other");
  assert_string_equal(now.branch_name, "main");
  assert_true(now.pending_beats > 2.0 && now.pending_beats <= 3.0);
  rig_run(&rig, 4 * BAR);
  now = state_now();
  assert_string_equal(now.branch_name, "other");
  for (size_t i = 0; i < rig.output_count; ++i) {
    const RigEvent* const event = &rig.output[i];
    if ((event->bytes[0] & 0xf0) == 0x90) {
      const int64_t beat = (event->frame - start) / BEAT;
      assert_int_equal((event->frame - start) % BEAT, 0);
      const bool held = beat == 8 && event->bytes[1] == 80 + 7; // Begun before, on the other branch
      assert_true(held || event->bytes[1] == (beat < 8 ? 40 : 80) + beat);
    }
  }
  assert_nothing_hangs(0);
}

/** The last value sent of a controller, and whether a note sounds, at the end. */
static int sent_controller(uint8_t number)
{
  int value = -1;
  for (size_t i = 0; i < rig.output_count; ++i) {
    if (rig.output[i].bytes[0] == 0xb0 && rig.output[i].bytes[1] == number) {
      value = rig.output[i].bytes[2];
    }
  }
  return value;
}

static int sounding_notes(uint8_t key)
{
  int on = 0;
  for (size_t i = 0; i < rig.output_count; ++i) {
    const uint8_t* const bytes = rig.output[i].bytes;
    on += bytes[1] == key && bytes[0] == 0x90 && bytes[2];
    on -= bytes[1] == key && (bytes[0] == 0x80 || (bytes[0] == 0x90 && !bytes[2]));
  }
  return on;
}

/** Replay that begins in the middle sounds as if it had begun before. */
/** The pad of the branch that is heard, once more: what sounds goes on. */
static void test_a_switch_to_the_branch_heard_is_not_heard(void** state)
{
  (void)state;
  play_note(0, 60, 6 * BEAT); // Over the bar line
  play_note(6 * BEAT, 61, 4 * BEAT);
  rig_run(&rig, 3 * BAR);
  rig.output_count = 0;
  assert_ok(rig_say(&rig, "replay", NULL));
  rig_run(&rig, BAR / 2);
  assert_ok(rig_say(&rig, "switch", "main"));
  rig_run(&rig, BAR);
  assert_string_equal(state_now().pending_name, "");
  rig_run(&rig, 2 * BAR);
  assert_int_equal(rig.output_count, 4); // Each note once
  for (int i = 0; i < 4; ++i) {
    assert_int_equal(rig.output[i].bytes[1], 60 + i / 2);
  }
}

static void test_replay_chases(void** state)
{
  (void)state;
  rig_play(&rig, 0, 0xc0, 5, 0);
  rig.input[0].size = 2;
  rig_play(&rig, 0, 0xb0, 7, 90);
  rig_play(&rig, 100, 0x90, 50, 100); // A pedal point, through to bar 5
  rig_play(&rig, 200, 0xe0, 0, 0x50);
  for (int i = 0; i < 16; ++i) {
    play_note(i * BEAT + BEAT / 2, (uint8_t)(60 + i), BEAT / 2);
  }
  rig_play(&rig, 6 * BEAT, 0xb0, 7, 30);
  rig_play(&rig, 16 * BEAT, 0x80, 50, 64);
  rig_play(&rig, 16 * BEAT, 0xe0, 0, 0x40);
  rig_run(&rig, 8 * BAR);
  rig_play(&rig, 0, 0xb0, 7, 1); // The player has turned it down since: thru
  rig_run(&rig, 256);
  assert_ok(rig_say(&rig, "switch", "main"));
  rig_run(&rig, 4 * BAR);

  rig.output_count = 0;
  const HrValue second_bar = hr_value_integer(2);
  assert_ok(rig_command(&rig, "replay/at", &second_bar, 1));
  rig_run(&rig, 256);
  assert_int_equal(sent_controller(7), 90);
  assert_int_equal(sounding_notes(50), 1);
  assert_true(sounding_notes(63) <= 0); // It ended where we begin
  rig_run(&rig, 2 * BEAT + 256);
  assert_int_equal(sent_controller(7), 30);
  const HrValue third_bar = hr_value_integer(3);
  assert_ok(rig_say(&rig, "quantum", "now"));
  assert_ok(rig_command(&rig, "replay/at", &third_bar, 1));
  rig_run(&rig, 256);
  assert_int_equal(sounding_notes(50), 1);
  rig_run(&rig, 4 * BAR);
  assert_int_equal(sounding_notes(50), 0);
  assert_nothing_hangs(0);
}

static void test_a_second_tap_replaces_the_first(void** state)
{
  (void)state;
  play_note(0, 60, 8 * BAR);
  rig_run(&rig, BAR);
  assert_ok(rig_say(&rig, "fork", "a"));
  rig_run(&rig, BAR / 4);
  assert_ok(rig_say(&rig, "fork", "b"));
  rig_run(&rig, BAR / 4);
  assert_ok(rig_say(&rig, "switch", "main"));
  rig_run(&rig, 256);
  assert_ok(rig_say(&rig, "switch", "a"));
  rig_run(&rig, 256);
  assert_string_equal(state_now().pending_name, "a");
  rig_run(&rig, BAR);
  assert_string_equal(state_now().branch_name, "a");
  play_note(0, 61, 8 * BAR); // The clock runs: the switch has to wait
  rig_run(&rig, BAR / 2);
  assert_ok(rig_say(&rig, "switch", "main"));
  rig_run(&rig, 256);
  assert_ok(rig_say(&rig, "cancel", NULL));
  rig_run(&rig, 2 * BAR);
  assert_string_equal(state_now().branch_name, "a");
}

static void test_loop_goes_round(void** state)
{
  (void)state;
  for (int i = 0; i < 8; ++i) {
    play_note(i * BEAT, (uint8_t)(60 + i), i == 7 ? 4 * BEAT : BEAT / 2); // One across the end
  }
  rig_run(&rig, 12 * BAR);
  const HrValue range[2] = {hr_value_text("1.3"), hr_value_text("3")};
  assert_ok(rig_command(&rig, "loop/range", range, 2));
  assert_ok(rig_say(&rig, "replay", NULL));
  rig.output_count = 0;
  const int64_t start = rig.now;
  rig_run(&rig, 20 * 6 * BEAT);
  assert_ok(rig_say(&rig, "stop", NULL));
  rig_run(&rig, BEAT);
  int notes = 0;
  for (size_t i = 0; i < rig.output_count; ++i) {
    const RigEvent* const event = &rig.output[i];
    if ((event->bytes[0] & 0xf0) == 0x90) {
      assert_int_equal((event->frame - start) % BEAT, 0);
      assert_int_equal(event->bytes[1], 62 + (event->frame - start) / BEAT % 6);
      ++notes;
    }
  }
  assert_int_equal(notes, 120);
  assert_nothing_hangs(0);
}

/* ---- With a transport --------------------------------------------------------- */

static void test_a_stopped_loop_leaves_room_for_what_follows(void** state)
{
  (void)state;
  static const uint8_t pedal[] = {0xb0, 64, 0};
  const HrValue range[] = {hr_value_tick(0), hr_value_tick(ticks(4))};
  for (int i = 0; i < 16; ++i) {
    play_note(i * BEAT / 4, (uint8_t)(60 + i), BEAT / 8);
  }
  rig_run(&rig, 12 * BAR);
  assert_ok(rig_command(&rig, "loop/range", range, 2));
  assert_ok(rig_say(&rig, "replay", NULL));
  rig_run(&rig, BAR / 2);
  assert_ok(rig_say(&rig, "quantum", "now"));
  assert_ok(rig_say(&rig, "stop", NULL));
  hr_engine_begin(rig.engine, rig.block, true, (HrSink){rig_write, &rig});
  hr_engine_midi(rig.engine, 1, pedal, sizeof pedal); // By now it has stopped ...
  hr_session_work(rig.session);                       // ... but reading ahead goes on
  hr_engine_end(rig.engine);
  rig.now += rig.block;
  rig_run(&rig, BAR);

  rig.output_count = 0;
  const int64_t start = rig.now;
  assert_ok(rig_say(&rig, "replay", NULL));
  rig_run(&rig, BEAT);
  assert_true(rig.output_count > 0);
  assert_int_equal(rig.output[0].bytes[1], 60);
  assert_true(rig.output[0].frame == start);
}

static void test_stop_begins_a_side_branch(void** state)
{
  (void)state;
  rig_transport(&rig, true, 0);
  play_note(BEAT, 60, BEAT);
  rig_play(&rig, 3 * BEAT, 0x90, 61, 100);
  rig_run(&rig, BAR);
  rig_transport(&rig, false, BAR);
  rig_play(&rig, 10, 0x80, 61, 0); // What a host sends when it stops
  for (uint8_t channel = 0; channel < 16; ++channel) {
    rig_play(&rig, 20, (uint8_t)(0xb0 | channel), 123, 0);
  }
  rig_run(&rig, BAR);
  assert_string_equal(state_now().branch_name, "main");
  play_note(0, 70, BEAT);
  rig_run(&rig, BAR);
  assert_string_equal(state_now().branch_name, "take 2");
  rig_transport(&rig, true, BAR);
  play_note(2 * BEAT, 62, BEAT);
  rig_run(&rig, BAR);
  assert_string_equal(state_now().branch_name, "main");
  Music music = music_of("main");
  assert_int_equal(music.count, 6);
  assert_int_equal(music.bytes[3][1], 61);
  assert_true(music.tick[3] == ticks(4)); // It ended where the transport stopped
  assert_true(music.tick[4] == ticks(6));
  music = music_of("take 2");
  assert_true(music.tick[3] == ticks(4) && music.bytes[3][1] == 61);
  assert_true(music.tick[4] == ticks(4) + 1 && music.bytes[4][1] == 70);
}

/** A host's loop: each time round is a branch that says so, with nothing of the
 * others, as they were not heard. Nobody plays in the third. */
static void test_each_pass_of_a_loop_is_a_branch(void** state)
{
  (void)state;
  for (int pass = 1; pass <= 4; ++pass) {
    rig_transport(&rig, true, 0); // Located while it rolls
    for (int i = 0; i < 4 && pass != 3; ++i) {
      play_note(i * BEAT + 100, (uint8_t)(60 + pass), BEAT / 2);
    }
    rig_run(&rig, BAR);
  }
  static const char* const names[] = {"main", "main pass 2", NULL, "main pass 4"};
  for (int pass = 1; pass <= 4; ++pass) {
    if (names[pass - 1]) {
      const Music music = music_of(names[pass - 1]);
      assert_int_equal(music.count, 8);
      assert_int_equal(music.bytes[0][1], 60 + pass);
      assert_int_equal(music.bytes[7][1], 60 + pass);
    }
  }
}

static void test_tempo_is_remembered(void** state)
{
  (void)state;
  rig.tempo = 90.0;
  rig_transport(&rig, true, 0);
  const int64_t beat = RIG_RATE * 60 / 90;
  for (int i = 0; i < 4; ++i) {
    play_note(i * beat, (uint8_t)(60 + i), beat / 2);
  }
  rig_run(&rig, 4 * beat);
  rig.tempo = 180.0;
  rig_transport(&rig, true, 4 * beat);
  for (int i = 0; i < 4; ++i) {
    play_note(i * beat / 2, (uint8_t)(64 + i), beat / 4);
  }
  rig_run(&rig, 2 * beat);
  rig_transport(&rig, false, 6 * beat);
  rig_run(&rig, BAR);
  const Music music = music_of("main");
  assert_int_equal(music.count, 16);
  for (int i = 0; i < 8; ++i) {
    assert_true(llabs(music.tick[2 * i] - ticks(i)) <= 1);
  }
  rig.output_count = 0;
  const int64_t start = rig.now;
  assert_ok(rig_say(&rig, "replay", NULL)); // On its own clock, at the tempo it had
  rig_run(&rig, 8 * beat);
  assert_int_equal(rig.output_count, 16);
  for (int i = 0; i < 8; ++i) {
    const int64_t expected = i < 4 ? i * beat : 4 * beat + (i - 4) * beat / 2;
    assert_int_equal(rig.output[2 * i].frame - start, expected);
  }
}

/* ---- Commands -------------------------------------------------------------------- */

static void test_bad_commands_change_nothing(void** state)
{
  (void)state;
  play_note(0, 60, BEAT);
  rig_run(&rig, BAR);
  assert_ok(rig_say(&rig, "fork", "other"));
  rig_run(&rig, BAR);
  HrSessionState before = state_now();
  assert_int_equal(rig_say(&rig, "switch", "nowhere"), HR_ERR_NOT_FOUND);
  assert_int_equal(rig_say(&rig, "switch", NULL), HR_ERR_ARGUMENT);
  assert_int_equal(rig_say(&rig, "hide", "other"), HR_ERR_ARGUMENT); // We are on it
  assert_int_equal(rig_say(&rig, "fork", "two\nlines"), HR_ERR_ARGUMENT);
  assert_int_equal(rig_say(&rig, "fork/at", "soon"), HR_ERR_ARGUMENT);
  assert_int_equal(rig_say(&rig, "fork/at", "99"), HR_ERR_ARGUMENT);
  assert_int_equal(rig_say(&rig, "quantum", "later"), HR_ERR_ARGUMENT);
  assert_int_equal(rig_say(&rig, "record", "maybe"), HR_ERR_ARGUMENT);
  assert_int_equal(rig_say(&rig, "rename", "main"), HR_ERR_ARGUMENT);
  assert_int_equal(rig_say(&rig, "explode", NULL), HR_ERR_NOT_FOUND);
  const HrValue names[2] = {hr_value_text("main"), hr_value_text("other")};
  assert_int_equal(rig_command(&rig, "rename", names, 2), HR_ERR_EXISTS);
  const HrValue backwards[2] = {hr_value_integer(3), hr_value_integer(2)};
  assert_int_equal(rig_command(&rig, "loop/range", backwards, 2), HR_ERR_ARGUMENT);
  const HrValue short_range[2] = {hr_value_tick(0), hr_value_tick(1)}; // Many laps a frame
  assert_int_equal(rig_command(&rig, "loop/range", short_range, 2), HR_ERR_ARGUMENT);
  const HrValue release = hr_value_number(0.0);
  assert_ok(rig_command(&rig, "fork", &release, 1)); // A button let go
  rig_run(&rig, BAR);
  HrSessionState after = state_now();
  after.position = before.position;
  after.revision = before.revision;
  assert_memory_equal(&before, &after, sizeof before);
  assert_ok(rig_say(&rig, "hide", "main"));
  assert_int_equal(rig_say(&rig, "switch", "main"), HR_ERR_ARGUMENT);
  assert_ok(rig_say(&rig, "restore", "main"));
  assert_ok(rig_say(&rig, "switch", "main"));
}

/* ---- Two of us, and none of us ------------------------------------------------- */

static void test_a_copy_plays_on_a_fork(void** state)
{
  (void)state;
  play_note(0, 60, BEAT);
  rig_run(&rig, BAR);
  const HrSessionState first = state_now();
  Rig copy;
  const HrAttachment same = {.store = first.store_path, .tree = first.tree_name, .branch = "main"};
  assert_true(rig_open(&copy, &same));
  HrSessionState second;
  hr_session_state(copy.session, &second);
  assert_int_equal(second.tree, first.tree);
  assert_true(second.branch != first.branch);
  rig_close(&copy);
  assert_true(rig_open(&copy, &same)); // Gone again: but it was a fork that stays
  rig_close(&copy);
}

/** A track and its copy, saved and loaded again: each is on its branch, and no new one is made. */
static void test_a_copy_comes_back_to_its_branch(void** state)
{
  (void)state;
  play_note(0, 60, BEAT);
  rig_run(&rig, BAR);
  const HrSessionState first = state_now();
  HrAttachment where = {.store = first.store_path, .tree = first.tree_name, .branch = "main"};
  Rig copy;
  HrSessionState second, again;
  assert_true(rig_open(&copy, &where));
  hr_session_state(copy.session, &second);
  rig_close(&copy);

  where.branch = second.branch_name;
  for (int i = 0; i < 2; ++i) {
    assert_true(rig_open(&copy, &where));
    hr_session_state(copy.session, &again);
    assert_true(again.branch == second.branch);
    rig_close(&copy);
  }
  assert_ok(rig_say(&rig, "quantum", "now"));
  assert_ok(rig_say(&rig, "switch", second.branch_name)); // There, it is not alone
  rig_run(&rig, BEAT);
  assert_true(state_now().branch == second.branch);
  assert_true(rig_open(&copy, &where));
  hr_session_state(copy.session, &again);
  assert_true(again.branch != second.branch);
  rig_close(&copy);
  where.branch = "main"; // And that is free now
  assert_true(rig_open(&copy, &where));
  hr_session_state(copy.session, &again);
  assert_true(again.branch == first.branch);
  rig_close(&copy);
}

/** Have the session restored, as the host does: on the same branch. */
static void restore_on(const char* branch)
{
  HrSessionState now;
  hr_session_state(rig.session, &now);
  const HrAttachment same = {.store = now.store_path, .tree = now.tree_name, .branch = branch};
  assert_ok(hr_session_attach(rig.session, &same, NULL));
}

/** The branch goes on after its end, wherever that has come to meanwhile. */
static void assert_goes_on(HrTick tick)
{
  play_note(BEAT, 64, BEAT);
  rig_run(&rig, BAR);
  assert_int_equal(state_now().rescued, 0);
  const Music music = music_of("main");
  assert_true(music.tick[music.count - 2] == tick);
  assert_true(music.tick[music.count - 1] == tick + ticks(1));
}

static void test_a_fork_on_its_way_to_a_restored_session(void** state)
{
  (void)state;
  play_note(0, 60, BEAT);
  rig_run(&rig, BAR + BEAT); // Into the second bar; what was played ends in the first
  state_now();
  assert_ok(rig_say(&rig, "fork", "idea"));
  restore_on("main"); // Before the next block, which forks
  assert_goes_on(ticks(8));
}

static void test_a_note_on_its_way_to_a_restored_session(void** state)
{
  (void)state;
  static const uint8_t on[] = {0x90, 62, 100};
  static const uint8_t off[] = {0x80, 62, 64};
  play_note(0, 60, BEAT);
  rig_run(&rig, BAR + BEAT);
  state_now();
  hr_engine_begin(rig.engine, rig.block, true, (HrSink){rig_write, &rig});
  restore_on("main"); // While a block is run, which plays on
  hr_engine_midi(rig.engine, 0, on, sizeof on);
  hr_engine_midi(rig.engine, rig.block - 1, off, sizeof off);
  hr_engine_end(rig.engine);
  rig.now += rig.block;
  assert_goes_on(ticks(8));
}

/** What the killed process had put through when it died. */
typedef struct {
  _Atomic uint64_t blocks;
  _Atomic uint64_t events; ///< Whose run had returned
} Progress;

static int play_until_killed(const char* store, const char* progress_file)
{
  const HrAttachment where = {.store = store, .tree = "victim"};
  const int fd = open(progress_file, O_RDWR);
  prctl(PR_SET_PDEATHSIG, SIGKILL); // Else it would fill memory and disk if the test dies first
  Progress* const progress =
      mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (progress == MAP_FAILED || !rig_open(&rig, &where)) {
    return 1;
  }
  for (uint64_t i = 0;; ++i) {
    rig_play(&rig, 5, 0x90, (uint8_t)(i % 128), (uint8_t)(1 + i / 128 % 127));
    rig_play(&rig, 200, 0x80, (uint8_t)(i % 128), 64);
    if (i % 300 == 299) {
      rig_say(&rig, "fork", NULL);
    }
    rig_run_block(&rig, 256);
    progress->events += 2;
    progress->blocks += 1;
  }
}

/** Count the notes of a whole tree, and check that none is missing or twice. */
static uint64_t count_notes(const char* store_path)
{
  HrStore* store = NULL;
  HrTxn* txn = NULL;
  HrTreeId tree;
  HrTree record;
  HrPath path;
  HrEvent event;
  uint64_t notes = 0;
  assert_ok(hr_store_open(store_path, 0, &store, NULL));
  hr_session_recover(store, NULL);
  HrVerifyReport report;
  assert_ok(hr_store_verify(store, NULL, NULL, &report));
  assert_int_equal(report.problems, 0);
  assert_ok(hr_txn_begin(store, HR_READ, &txn));
  assert_ok(hr_tree_find(txn, "victim", &tree));
  assert_ok(hr_tree_get(txn, tree, &record));
  /* Forks only ever go on from the newest branch: its path is everything. */
  assert_ok(hr_path_open(txn, record.current, INT64_MIN, &path));
  while (!hr_path_next(&path, &event)) {
    const uint64_t number = notes / 2;
    if (event.kind == HR_EVENT_MIDI) {
      assert_int_equal(event.bytes[0], notes % 2 ? 0x80 : 0x90);
      assert_int_equal(event.bytes[1], number % 128);
      ++notes;
    }
  }
  hr_path_close(&path);
  hr_txn_abort(txn);
  hr_store_close(store);
  return notes;
}

static void test_a_killed_host_loses_nothing(void** state)
{
  (void)state;
  const char* const wanted = getenv("HR_KILLS");
  const int kills = wanted ? atoi(wanted) : 20;
  uint64_t total = 0;
  srand(7);
  for (int i = 0; i < kills; ++i) {
    char store[4200], file[4200];
    snprintf(store, sizeof store, "%s/kill-%d.hr", scratch, i);
    snprintf(file, sizeof file, "%s/progress-%d", scratch, i);
    const int fd = open(file, O_RDWR | O_CREAT, 0600);
    assert_int_equal(ftruncate(fd, sizeof(Progress)), 0);
    Progress* const progress =
        mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    const pid_t child = fork();
    if (child == 0) {
      execl("/proc/self/exe", "test_session", "victim", store, file, (char*)NULL);
      _exit(9);
    }
    while (!progress->blocks) {
      usleep(200);
    }
    usleep((useconds_t)(rand() % 60000));
    kill(child, SIGKILL);
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFSIGNALED(result));
    const uint64_t promised = progress->events;
    const uint64_t found = count_notes(store);
    assert_true(found >= promised); // A block under way may have got in as well
    assert_true(found <= promised + 2);
    total += found;
    munmap(progress, sizeof *progress);
    assert_int_equal(count_notes(store), found); // Drained once, not twice
    unlink(store);
  }
  print_message("%d kills, %llu events, 0 lost\n", kills, (unsigned long long)total);
}

static void test_a_full_disk_is_survived(void** state)
{
  (void)state;
  char path[4200];
  snprintf(path, sizeof path, "%s/readonly", scratch);
  play_note(0, 60, BEAT);
  rig_run(&rig, BAR);
  assert_int_equal(state_now().trouble, HR_OK);
  struct sigaction ignore = {.sa_handler = SIG_IGN};
  sigaction(SIGXFSZ, &ignore, NULL);
  struct rlimit old;
  getrlimit(RLIMIT_FSIZE, &old);
  struct stat info;
  stat(scratch_path("store.hr"), &info);
  /* No file may grow: the store's writes fail as on a full disk. */
  setrlimit(RLIMIT_FSIZE, &(struct rlimit){4096, old.rlim_max});
  for (int i = 0; i < 1000; ++i) {
    play_note(i * 200, (uint8_t)(i % 128), 100);
  }
  rig_run(&rig, 1000 * 200 + BEAT);
  const HrSessionState full = state_now();
  setrlimit(RLIMIT_FSIZE, &old);
  assert_int_not_equal(full.trouble, HR_OK);
  assert_true(strlen(full.trouble_text) > 20);
  assert_int_equal(full.dropped, 0);
  rig_run(&rig, BAR);
  const HrSessionState after = state_now();
  assert_int_equal(after.trouble, HR_OK);
  assert_int_equal(music_of("main").count, 2002);
}

int main(int argc, char** argv)
{
  if (argc == 4 && !strcmp(argv[1], "victim")) {
    return play_until_killed(argv[2], argv[3]);
  }
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(test_the_first_note_is_at_the_start),
      TEST(test_long_silence_is_shortened),
      TEST(test_replay_is_exact),
      TEST(test_fork_while_playing),
      TEST(test_playing_over_the_past_forks),
      TEST(test_overdub_keeps_both),
      TEST(test_switch_keeps_the_place),
      TEST(test_a_switch_to_the_branch_heard_is_not_heard),
      TEST(test_replay_chases),
      TEST(test_a_second_tap_replaces_the_first),
      TEST(test_loop_goes_round),
      TEST(test_a_stopped_loop_leaves_room_for_what_follows),
      TEST(test_stop_begins_a_side_branch),
      TEST(test_each_pass_of_a_loop_is_a_branch),
      TEST(test_tempo_is_remembered),
      TEST(test_bad_commands_change_nothing),
      TEST(test_a_copy_plays_on_a_fork),
      TEST(test_a_copy_comes_back_to_its_branch),
      TEST(test_a_fork_on_its_way_to_a_restored_session),
      TEST(test_a_note_on_its_way_to_a_restored_session),
      TEST(test_a_killed_host_loses_nothing),
      TEST(test_a_full_disk_is_survived),
  };
  return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
