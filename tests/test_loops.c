/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Loops, and what is played over them, or was played just before: that they begin and end where
 * the beat falls. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/rig_commands.h"

static void assert_notes(int64_t start, const uint8_t* keys, size_t count)
{
  const RigEvent* ons[256];
  assert_int_equal(note_ons(ons, 256), count);
  for (size_t i = 0; i < count; ++i) {
    assert_int_equal(ons[i]->frame - start, (int64_t)i * BEAT);
    assert_int_equal(ons[i]->bytes[1], keys[i]);
  }
}

/** The host goes round and says so only when it happens: not a note is late. */
static void test_a_host_s_loop_is_exact(void** state)
{
  (void)state;
  static const uint8_t keys[] = {60, 61, 62, 63, 60, 61, 62, 63, 60, 61, 62, 63};
  record_beats(2, 60);
  say_number("follow", 1);
  rig_run(&rig, 512);
  rig.output_count = 0;
  const int64_t start = rig.now;
  for (int pass = 0; pass < 3; ++pass) {
    rig_transport(&rig, true, 0);
    rig_run(&rig, BAR);
  }
  stop_host();
  assert_notes(start, keys, 12);
  assert_nothing_hangs(0);
}

static void test_a_loop_along_a_rolling_host(void** state)
{
  (void)state;
  static const uint8_t keys[] = {60, 61, 62, 63, 64, 65, 66, 67, 64, 65,
                                 66, 67, 64, 65, 66, 67, 64, 65, 66, 67};
  record_beats(4, 60);
  say_number("follow", 1);
  const HrValue range[2] = {hr_value_text("2"), hr_value_text("3")};
  assert_ok(rig_command(&rig, "loop/range", range, 2));
  rig_run(&rig, 512);
  rig.output_count = 0;
  const int64_t start = rig.now;
  rig_transport(&rig, true, 0);
  rig_run(&rig, 5 * BAR);
  rig_transport(&rig, true, 2 * BAR); // The host goes elsewhere: still the same phase
  rig_run(&rig, 2);
  stop_host();
  const RigEvent* ons[64];
  assert_int_equal(note_ons(ons, 64), 21);
  assert_int_equal(ons[20]->bytes[1], 64);
  rig.output_count = (size_t)(ons[20] - rig.output);
  assert_notes(start, keys, 20);
}

/** A host that begins to roll, or jumps, far behind the loop is in its middle. */
static void test_a_loop_along_a_host_from_its_middle(void** state)
{
  (void)state;
  static const uint8_t keys[] = {66, 67, 64, 65, 66, 67, 64, 65};
  record_beats(4, 60);
  say_number("follow", 1);
  const HrValue range[2] = {hr_value_text("2"), hr_value_text("3")};
  assert_ok(rig_command(&rig, "loop/range", range, 2));
  rig_transport(&rig, false, 5 * BAR + 2 * BEAT);
  rig_run(&rig, 512);
  for (int jumps = 0; jumps < 2; ++jumps) {
    rig.output_count = 0;
    const int64_t start = rig.now;
    rig_transport(&rig, true, (5 + 30 * jumps) * BAR + 2 * BEAT);
    rig_run(&rig, 2 * BAR);
    const RigEvent* ons[16];
    assert_int_equal(note_ons(ons, 16), 8);
    for (int i = jumps; i < 8; ++i) { // The first note after a jump comes when it can be got
      assert_int_equal(ons[i]->frame - start, i * BEAT);
    }
    for (int i = 0; i < 8; ++i) {
      assert_int_equal(ons[i]->bytes[1], keys[i]);
    }
  }
  stop_host();
  assert_nothing_hangs(0);
}

/** Each lap begins with the sound that the music has there, not that of the end of the lap
 * before. */
static void test_each_lap_begins_as_the_first(void** state)
{
  (void)state;
  static const uint8_t levels[] = {40, 90, 40, 90, 40, 90};
  size_t count = 0;
  rig_play(&rig, BEAT, 0xb0, 11, 40);
  rig_play(&rig, 6 * BEAT, 0xb0, 11, 90);
  jam(8, 60);
  rest();
  const HrValue range[2] = {hr_value_text("2"), hr_value_text("3")};
  assert_ok(rig_command(&rig, "loop/range", range, 2));
  rig.output_count = 0;
  assert_ok(rig_say(&rig, "replay", NULL));
  rig_run(&rig, 3 * BAR - 256);
  for (size_t i = 0; i < rig.output_count; ++i) {
    if (rig.output[i].bytes[0] == 0xb0 && rig.output[i].bytes[1] == 11) {
      assert_true(count < sizeof levels);
      assert_int_equal(rig.output[i].bytes[2], levels[count++]);
    }
  }
  assert_int_equal(count, sizeof levels);
}

/** A jam: the loop goes on while somebody plays over it, and each time round is kept. */
static void test_playing_over_a_loop(void** state)
{
  (void)state;
  static const uint8_t keys[] = {60, 61, 62, 63, 60, 61, 62, 63, 60, 61, 62, 63};
  for (int i = 0; i < 8; ++i) {
    play_note(i * BEAT, (uint8_t)(60 + i), BEAT / 2);
  }
  rig_run(&rig, 6 * BAR);
  say_number("thru", 0);
  const HrValue range[2] = {hr_value_text("1"), hr_value_text("2")};
  assert_ok(rig_command(&rig, "loop/range", range, 2));
  assert_ok(rig_say(&rig, "replay", NULL));
  rig.output_count = 0;
  const int64_t start = rig.now;
  play_note(1 * BEAT + 1000, 80, 1000);
  play_note(5 * BEAT + 1000, 81, 1000);
  play_note(9 * BEAT + 1000, 82, 1000);
  rig_run(&rig, 3 * BAR - 256);
  assert_ok(rig_say(&rig, "stop", NULL));
  rig_run(&rig, 512);
  assert_notes(start, keys, 12);
  assert_nothing_hangs(0);
  assert_string_equal(state_now().branch_name, "main pass 3");
  for (int pass = 1; pass <= 3; ++pass) {
    char name[40];
    snprintf(name, sizeof name, "main pass %d", pass);
    const Music music = music_of(name);
    /* The note heard until then with its end, and what was played. */
    assert_int_equal(music.bytes[music.count - 2][1], 79 + pass);
    assert_true(llabs(music.tick[music.count - 2] - ticks(1) - ticks(1000.0 / BEAT)) <= 1);
  }
}

/** With overdub the loop grows, and is heard so the next time round, on the frame. */
static void test_overdubbing_a_loop(void** state)
{
  (void)state;
  for (int i = 0; i < 4; ++i) {
    play_note(i * BEAT, (uint8_t)(60 + i), BEAT / 2);
  }
  rig_run(&rig, 6 * BAR);
  say_number("thru", 0);
  say_number("overdub", 1);
  const HrValue range[2] = {hr_value_text("1"), hr_value_text("2")};
  assert_ok(rig_command(&rig, "loop/range", range, 2));
  assert_ok(rig_say(&rig, "replay", NULL));
  rig_run(&rig, BEAT);
  rig.output_count = 0;
  play_note(1000, 80, 1000);
  play_note(BAR + 2000, 81, 1000);
  const int64_t start = rig.now - BEAT;
  rig_run(&rig, 3 * BAR - BEAT - 256);
  assert_ok(rig_say(&rig, "stop", NULL));
  rig_run(&rig, 512);
  static const struct {
    uint8_t key;
    int64_t frame;
  } heard[] = {{61, BEAT},
               {62, 2 * BEAT},
               {63, 3 * BEAT},
               {60, BAR},
               {61, BAR + BEAT},
               {80, BAR + BEAT + 1000},
               {62, BAR + 2 * BEAT},
               {63, BAR + 3 * BEAT},
               {60, 2 * BAR},
               {61, 2 * BAR + BEAT},
               {80, 2 * BAR + BEAT + 1000},
               {81, 2 * BAR + BEAT + 2000},
               {62, 2 * BAR + 2 * BEAT},
               {63, 2 * BAR + 3 * BEAT}};
  enum { HEARD = sizeof heard / sizeof *heard };
  const RigEvent* ons[64];
  assert_int_equal(note_ons(ons, 64), HEARD);
  for (size_t i = 0; i < HEARD; ++i) {
    assert_int_equal(ons[i]->bytes[1], heard[i].key);
    assert_int_equal(ons[i]->frame - start, heard[i].frame);
  }
  assert_nothing_hangs(0);
}

/** Overdub a bar along a host, on the end of two, with a note over the line between them. Then
 * the record has that note where it is heard the last time: from one beat to another. */
static void overdub_along_a_host(const char* bar, const char* next, HrTick on, HrTick off)
{
  rig_transport(&rig, true, 0);
  play_note(7 * BEAT / 2, 60, BEAT);
  play_note(7 * BEAT, 61, BEAT - 64);
  rig_run(&rig, 2 * BAR);
  rig_transport(&rig, false, 0);
  rig_run(&rig, BEAT);
  const HrValue range[2] = {hr_value_text(bar), hr_value_text(next)};
  assert_ok(rig_command(&rig, "loop/range", range, 2));
  say_number("follow", 1);
  say_number("overdub", 1);
  rig_run(&rig, BEAT);
  rig_transport(&rig, true, BAR);
  rig_run(&rig, BEAT);
  play_note(7 * BEAT / 2, 90, BEAT / 4); // On the end
  rig_run(&rig, 2 * BAR);
  const Music music = music_of("main");
  int at = music.count - 1;
  while (at >= 0 && (music.bytes[at][0] != 0x90 || music.bytes[at][1] != 60)) {
    --at;
  }
  assert_true(at >= 0 && at + 1 < music.count);
  assert_true(music.tick[at] == on);
  assert_int_equal(music.bytes[at + 1][0], 0x80);
  assert_int_equal(music.bytes[at + 1][1], 60);
  assert_true(music.tick[at + 1] == off);
}

/** A note that the loop's end cuts off is as long in the record, */
static void test_overdubbing_what_a_loop_cuts_off(void** state)
{
  (void)state;
  overdub_along_a_host("1", "2", ticks(11) + ticks(1) / 2, ticks(12));
}

/** and one that is held where the loop begins is begun there. */
static void test_overdubbing_what_a_loop_begins_with(void** state)
{
  (void)state;
  overdub_along_a_host("2", "3", ticks(12), ticks(12) + ticks(1) / 2);
}

/** Blocks, and the session works only when the plugin would wake a host's worker. */
static void run_with_a_worker(int64_t frames)
{
  rig.idle = true;
  for (; frames > 0; frames -= rig.block) {
    rig_run_block(&rig, rig.block);
    if (hr_engine_wants_work(rig.engine, false)) {
      hr_session_work(rig.session);
    }
  }
  rig.idle = false;
}

/** The second lap comes in time as well, also if it does so before the next regular round. */
static void test_overdubbing_a_short_loop(void** state)
{
  (void)state;
  enum { LAP = BEAT / 10, LAPS = 40 };
  const HrValue range[2] = {hr_value_text("0t"), hr_value_text("193536t")};
  play_note(0, 60, LAP / 8);
  play_note(3 * LAP / 4, 61, LAP / 8);
  rig_run(&rig, 6 * BAR);
  say_number("thru", 0);
  say_number("overdub", 1);
  assert_ok(rig_say(&rig, "quantum", "now"));
  assert_ok(rig_command(&rig, "loop/range", range, 2));
  assert_ok(rig_say(&rig, "replay", NULL));
  run_with_a_worker(2 * BEAT);
  rig.output_count = 0;
  play_note(LAP / 2, 62, LAP / 4);
  run_with_a_worker(LAPS * LAP);
  const RigEvent* ons[4 * LAPS];
  const size_t count = note_ons(ons, 4 * LAPS);
  int64_t last[3] = {0, 0, 0};
  assert_true(count >= 3 * (LAPS - 2));
  for (size_t i = 0; i < count; ++i) {
    int64_t* const before = &last[ons[i]->bytes[1] - 60];
    assert_true(!*before || ons[i]->frame - *before == LAP);
    *before = ons[i]->frame;
  }
}

/** The bars just played go round at once, in time, though the tap came late. */
static void test_grab(void** state)
{
  (void)state;
  static const uint8_t keys[] = {64, 65, 66, 67, 68, 69, 70, 71, 64, 65, 66, 67};
  for (int i = 0; i < 12; ++i) {
    play_note(i * BEAT, (uint8_t)(60 + i), BEAT / 2);
  }
  rig_run(&rig, 3 * BAR + BEAT / 4);
  say_number("thru", 0);
  rig.output_count = 0;
  say_number("grab", 2);
  rig_run(&rig, 3 * BAR);
  assert_ok(rig_say(&rig, "stop", NULL));
  rig_run(&rig, 512);
  const RigEvent* ons[32];
  const int64_t begins = 3 * BAR; // As if it had begun on the bar line
  assert_int_equal(note_ons(ons, 32), 13);
  assert_int_equal(ons[0]->bytes[1], 64); // Still held there
  for (int i = 1; i < 12; ++i) {
    assert_int_equal(ons[i]->bytes[1], keys[i]);
    assert_int_equal(ons[i]->frame, begins + i * BEAT);
  }
  assert_nothing_hangs(0);
  say_number("grab", 0); // A button let go
}

/** The same along a rolling host, which goes on; what is played then goes on the end. */
static void test_grab_while_rolling(void** state)
{
  (void)state;
  rig_transport(&rig, true, 0);
  for (int i = 0; i < 8; ++i) {
    play_note(i * BEAT, (uint8_t)(60 + i), BEAT / 2);
  }
  rig_run(&rig, 2 * BAR + 3 * BEAT / 4);
  say_number("thru", 0);
  rig.output_count = 0;
  const int64_t begins = 2 * BAR;
  say_number("grab", 1);
  play_note(2 * BEAT, 90, BEAT / 2);
  rig_run(&rig, 2 * BAR);
  stop_host();
  const RigEvent* ons[32];
  assert_int_equal(note_ons(ons, 32), 8);
  for (int i = 0; i < 8; ++i) {
    assert_int_equal(ons[i]->bytes[1], 64 + (i + 1) % 4);
    assert_int_equal(ons[i]->frame, begins + (i + 1) * BEAT);
  }
  const Music music = music_of("main");
  assert_int_equal(music.count, 18);
  assert_int_equal(music.bytes[16][1], 90);
  assert_nothing_hangs(0);
}

static void test_nothing_to_grab(void** state)
{
  (void)state;
  const HrValue two = hr_value_integer(2);
  assert_int_equal(rig_command(&rig, "grab", &two, 1), HR_ERR_NOT_FOUND);
  jam(1, 60); // On the line where the bars end
  assert_int_equal(rig_command(&rig, "grab", &two, 1), HR_ERR_NOT_FOUND);
  assert_false(state_now().loop);
}

/** On the bar line itself, the bar that ends there is the last one. */
static void test_grab_on_the_line(void** state)
{
  (void)state;
  jam(8, 60);
  say_number("grab", 1);
  assert_loop(ticks(4), ticks(8));
}

/** In a loop, the bars just heard are the loop's: not what lies before it. */
static void test_grab_in_a_loop(void** state)
{
  (void)state;
  static const uint8_t keys[] = {73, 74, 75, 72, 73, 74, 75};
  jam(16, 60);
  rest();
  say_number("thru", 0);
  assert_ok(say("loop/range", "3", "5", NULL));
  const int64_t begun = rig.now;
  assert_ok(rig_say(&rig, "replay", NULL));
  rig_run(&rig, 3 * BAR + BEAT); // In its second bar, the second time round
  say_number("grab", 2);
  assert_loop(ticks(8), ticks(16));
  say_number("grab", 3); // It has no more
  assert_loop(ticks(8), ticks(16));
  rig_run(&rig, BAR); // In its first bar
  rig.output_count = 0;
  say_number("grab", 1);
  assert_loop(ticks(12), ticks(16));
  rig_run(&rig, 2 * BAR - BEAT);
  assert_ok(rig_say(&rig, "stop", NULL));
  rig_run(&rig, 512);
  assert_notes(begun + 4 * BAR + BEAT, keys, 7);
  assert_nothing_hangs(0);
}

/** More bars than a loop has are as many as it may have, and that is said. */
static void test_grab_too_much(void** state)
{
  (void)state;
  const HrValue many = hr_value_integer(INT64_C(1) << 32);
  assert_int_equal(rig_command(&rig, "grab", &many, 1), HR_ERR_NOT_FOUND);
  assert_non_null(strstr(rig.error, "in the last 1024 bars"));
  jam(5, 60);
  assert_ok(rig_command(&rig, "grab", &many, 1));
  assert_loop(ticks(4 - 1024 * 4), ticks(4));
}

/** The shortest loop there may be, and that of a branch that is still empty. */
static void test_short_loops(void** state)
{
  (void)state;
  char end[32];
  say_number("loop", 1);
  assert_loop(0, ticks(4));
  snprintf(end, sizeof end, "%lldt", (long long)ticks(1) / 32);
  assert_ok(say("loop/range", "0t", end, NULL));
  assert_loop(0, ticks(1) / 32);
  snprintf(end, sizeof end, "%lldt", (long long)ticks(1) / 32 - 1);
  assert_int_equal(say("loop/range", "0t", end, NULL), HR_ERR_ARGUMENT);
  assert_non_null(strstr(rig.error, "at least a 128th note"));
  assert_loop(0, ticks(1) / 32);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(test_a_host_s_loop_is_exact),
      TEST(test_a_loop_along_a_rolling_host),
      TEST(test_a_loop_along_a_host_from_its_middle),
      TEST(test_each_lap_begins_as_the_first),
      TEST(test_playing_over_a_loop),
      TEST(test_overdubbing_a_loop),
      TEST(test_overdubbing_a_short_loop),
      TEST(test_overdubbing_what_a_loop_cuts_off),
      TEST(test_overdubbing_what_a_loop_begins_with),
      TEST(test_grab),
      TEST(test_grab_while_rolling),
      TEST(test_nothing_to_grab),
      TEST(test_grab_on_the_line),
      TEST(test_grab_in_a_loop),
      TEST(test_grab_too_much),
      TEST(test_short_loops),
  };
  return cmocka_run_group_tests_name("musical time", tests, NULL, NULL);
}
