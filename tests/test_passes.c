/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What is played in the past, or over what is heard, is heard again as it was played. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/rig_commands.h"

typedef struct {
  double beat;
  uint8_t bytes[3];
} Expected;

static void assert_music(const char* name, const Expected* expected, int count)
{
  const Music music = music_of(name);
  assert_int_equal(music.count, count);
  for (int i = 0; i < count; ++i) {
    assert_true(music.tick[i] == ticks(expected[i].beat));
    assert_memory_equal(music.bytes[i], expected[i].bytes,
                        (expected[i].bytes[0] & 0xe0) == 0xc0 ? 2 : 3);
  }
}

/** A bar of a host that loops: a note, and near its end another program and less expression. */
static void play_first_pass(void)
{
  rig_transport(&rig, true, 0);
  play_note(BEAT, 60, BEAT / 2);
  rig_play(&rig, 3 * BEAT, 0xb0, 11, 40);
  rig_play(&rig, 3 * BEAT, 0xc0, 5, 0);
  rig_play(&rig, 3 * BEAT, 0xe0, 0, 80);
  rig_play(&rig, 3 * BEAT, 0xd0, 30, 0);
  rig_run(&rig, BAR);
}

static void assert_passes_sound_alike(void)
{
  static const Expected second[] = {
      {0, {0xc0, 5}},       {0, {0xb0, 11, 40}},   {0, {0xd0, 30}},     {0, {0xe0, 0, 80}},
      {1, {0x90, 61, 100}}, {1.5, {0x80, 61, 64}}, {4, {0xe0, 0, 0x40}}};
  play_first_pass();
  rig_transport(&rig, true, 0);
  play_note(BEAT, 61, BEAT / 2);
  rig_run(&rig, BAR);
  stop_host();
  assert_music("main pass 2", second, 7);

  rig.output_count = 0;
  say_number("follow", 1);
  rig_run(&rig, 512);
  rig_transport(&rig, true, 0);
  rig_run(&rig, BAR);
  static const uint8_t statuses[] = {0xc0, 0xb0, 0xd0, 0xe0, 0x90};
  assert_true(rig.output_count >= sizeof statuses);
  for (size_t i = 0; i < sizeof statuses; ++i) {
    assert_int_equal(rig.output[i].bytes[0], statuses[i]);
  }
}

/** The next pass was played with what the one before left the synthesizer in, and is replayed
 * with that. */
static void test_a_pass_sounds_as_played(void** state)
{
  (void)state;
  assert_passes_sound_alike();
}

/** Whoever puts out what is played. */
static void test_a_pass_sounds_as_played_without_thru(void** state)
{
  (void)state;
  say_number("thru", 0);
  assert_passes_sound_alike();
}

/** A host that tells of its jump a block late: what was played past the loop's end is at the
 * beginning of the next pass, in order. */
static void test_played_before_the_host_tells_of_its_jump(void** state)
{
  (void)state;
  rig_transport(&rig, true, 0);
  play_note(BEAT, 60, BEAT / 2);
  play_note(BAR + 48, 70, 48);
  play_note(BAR + 144, 71, 48);
  rig_run(&rig, BAR + 256);
  rig_transport(&rig, true, 256);
  rig_run(&rig, BEAT);
  stop_host();
  const Music music = music_of("main pass 2");
  assert_int_equal(music.count, 4);
  for (int i = 0; i < 4; ++i) {
    assert_true(llabs(music.tick[i] - ticks((i + 1) * 48.0 / BEAT)) <= 1);
    assert_int_equal(music.bytes[i][1], 70 + i / 2);
  }
}

/** A pedal that is down when the host goes round is down in each pass, and up at its end. */
static void test_a_pedal_held_over_a_jump(void** state)
{
  (void)state;
  static const Expected second[] = {
      {0, {0xb0, 64, 127}}, {1, {0x90, 61, 100}}, {1.5, {0x80, 61, 64}}, {4, {0xb0, 64, 0}}};
  static const Expected third[] = {
      {0, {0xb0, 64, 127}}, {1, {0x90, 62, 100}}, {1.5, {0x80, 62, 64}}, {3, {0xb0, 64, 0}}};
  rig_play(&rig, 2 * BEAT, 0xb0, 64, 127);
  rig_play(&rig, 2 * BAR + 3 * BEAT, 0xb0, 64, 0);
  for (int pass = 0; pass < 3; ++pass) {
    rig_transport(&rig, true, 0);
    play_note(BEAT, (uint8_t)(60 + pass), BEAT / 2);
    rig_run(&rig, BAR);
  }
  stop_host();
  assert_music("main pass 2", second, 4);
  assert_music("main pass 3", third, 4);
}

/** A pass that begins with a change has what was in force up to that. */
static void test_a_pass_that_begins_with_a_change(void** state)
{
  (void)state;
  static const Expected second[] = {{0, {0xb0, 11, 40}}, {2, {0xb0, 11, 90}}};
  rig_transport(&rig, true, 0);
  rig_play(&rig, 3 * BEAT, 0xb0, 11, 40);
  rig_run(&rig, BAR);
  rig_transport(&rig, true, 0);
  rig_play(&rig, 2 * BEAT, 0xb0, 11, 90);
  rig_run(&rig, BAR);
  stop_host();
  assert_music("main pass 2", second, 2);
}

/** Where the pass before is heard, its state is that of the music. */
static void test_a_pass_over_what_is_heard_adds_nothing(void** state)
{
  (void)state;
  static const Expected second[] = {
      {1, {0x90, 60, 100}}, {1.5, {0x80, 60, 64}}, {2, {0x90, 61, 100}}, {2.5, {0x80, 61, 64}}};
  play_first_pass();
  stop_host();
  say_number("follow", 1);
  rig_run(&rig, 512);
  for (int pass = 0; pass < 2; ++pass) {
    rig_transport(&rig, true, 0);
    if (pass) {
      play_note(2 * BEAT, 61, BEAT / 2);
    }
    rig_run(&rig, BAR);
  }
  stop_host();
  assert_music("main pass 2", second, 4);
}

/** So it is with what is played beside the music, while the host stands further back. */
static void test_beside_the_music_sounds_as_played(void** state)
{
  (void)state;
  static const uint8_t beside[][3] = {{0xb0, 11, 40}, {0x90, 61, 100}};
  rig_transport(&rig, true, 0);
  rig_play(&rig, 3 * BEAT, 0xb0, 11, 40);
  rig_run(&rig, BAR);
  rig_transport(&rig, false, 2 * BEAT);
  rig_run(&rig, 512);
  rig_play(&rig, 0, 0x90, 61, 100);
  rig_run(&rig, 512);
  const Music music = music_of(state_now().branch_name);
  assert_int_equal(music.count, 2);
  for (int i = 0; i < 2; ++i) {
    assert_true(music.tick[i] == ticks(2) + 1);
    assert_memory_equal(music.bytes[i], beside[i], 3);
  }
}

/** A key that replay holds, played over, is ended before it begins anew. */
static void test_over_a_held_key(void** state)
{
  (void)state;
  rig_transport(&rig, true, 0);
  play_note(BEAT, 60, 2 * BEAT);
  rig_run(&rig, BAR);
  stop_host();
  say_number("follow", 1);
  rig_run(&rig, 512);
  rig.output_count = 0;
  rig_transport(&rig, true, 0);
  play_note(2 * BEAT, 60, 3 * BEAT);
  rig_run(&rig, BAR);
  static const uint8_t statuses[] = {0x90, 0x80, 0x90};
  assert_int_equal(rig.output_count, sizeof statuses);
  for (size_t i = 0; i < sizeof statuses; ++i) {
    assert_int_equal(rig.output[i].bytes[0], statuses[i]);
  }
}

/** What sounds where it is played over ends there: on the new branch nothing else would end it. */
static void test_a_note_that_sounds_where_it_is_played_over(void** state)
{
  (void)state;
  static const Expected second[] = {
      {1, {0x90, 60, 100}}, {2, {0x80, 60, 64}}, {3, {0x90, 62, 100}}, {4, {0x80, 62, 64}}};
  rig_transport(&rig, true, 0);
  play_note(BEAT, 60, 4 * BEAT);
  rig_run(&rig, 2 * BAR);
  rig_transport(&rig, true, 2 * BEAT);
  play_note(BEAT, 62, BEAT);
  rig_run(&rig, 2 * BAR);
  assert_music("main pass 2", second, 4);
}

/** One so long that it cannot be read ahead is kept; it is counted, and what follows is heard. */
static void test_a_message_too_long_to_be_heard(void** state)
{
  (void)state;
  static uint8_t bytes[300000];
  memset(bytes, 0x55, sizeof bytes);
  bytes[0] = 0xf0;
  bytes[sizeof bytes - 1] = 0xf7;
  play_note(0, 60, BEAT / 2);
  rig_run(&rig, BEAT);
  play_message(bytes, sizeof bytes);
  play_note(BEAT - 64, 61, BEAT / 2);
  rig_run(&rig, 6 * BAR);
  assert_int_equal(music_of("main").count, 5);
  rig.output_count = 0;
  const int64_t start = rig.now;
  const uint64_t unheard = state_now().unheard;
  assert_ok(rig_say(&rig, "replay", NULL));
  rig_run(&rig, BAR);
  assert_int_equal(rig.output_count, 4);
  assert_int_equal(rig.output[2].bytes[1], 61);
  assert_int_equal(rig.output[2].frame - start, 2 * BEAT);
  assert_int_equal(state_now().unheard, unheard + 1);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(test_a_pass_sounds_as_played),
      TEST(test_a_pass_sounds_as_played_without_thru),
      TEST(test_played_before_the_host_tells_of_its_jump),
      TEST(test_a_pedal_held_over_a_jump),
      TEST(test_a_pass_that_begins_with_a_change),
      TEST(test_a_pass_over_what_is_heard_adds_nothing),
      TEST(test_beside_the_music_sounds_as_played),
      TEST(test_over_a_held_key),

      TEST(test_a_note_that_sounds_where_it_is_played_over),
      TEST(test_a_message_too_long_to_be_heard),
  };
  return cmocka_run_group_tests_name("musical time", tests, NULL, NULL);
}
