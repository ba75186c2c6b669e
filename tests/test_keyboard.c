/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What somebody at a keyboard takes for granted. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/rig_commands.h"

/** Hand the engine a message of any size. */
static void hand(const uint8_t* bytes, uint32_t size)
{
  hr_engine_begin(rig.engine, 64, true, (HrSink){rig_write, &rig});
  hr_engine_midi(rig.engine, 0, bytes, size);
  hr_engine_end(rig.engine);
  rig.now += 64;
}

/* ---- System messages -------------------------------------------------------------------- */

/** The clock may tick within a SysEx message: both come through, each by itself. */
static void test_real_time_within_sysex(void** state)
{
  (void)state;
  static const uint8_t mixed[] = {0xf0, 0x7d, 0xf8, 1, 0xfa, 2, 0xfd, 0xf7};
  static const uint8_t status_within[] = {0xf0, 0x7d, 0xf8, 0x90, 2, 0xf7};
  hand(mixed, sizeof mixed);
  assert_int_equal(rig.output_count, 3);
  assert_int_equal(rig.output[0].bytes[0], 0xf8);
  assert_int_equal(rig.output[1].bytes[0], 0xfa);
  assert_int_equal(rig.output[2].size, 5);
  assert_int_equal(state_now().malformed, 1); // 0xfd is no message

  const Music music = music_of("main");
  assert_int_equal(music.count, 2); // No clock
  assert_int_equal(music.bytes[0][0], 0xfa);
  assert_memory_equal(music.bytes[1], ((const uint8_t[]){0xf0, 0x7d, 1}), 3);

  hand(status_within, sizeof status_within);
  assert_int_equal(state_now().malformed, 2);
  assert_int_equal(music_of("main").count, 2);
}

/** A device may send time code for as long as it is on: that is not playing. */
static void test_time_code_is_no_music(void** state)
{
  (void)state;
  play_note(0, 60, BEAT / 2);
  rig_run(&rig, BAR);
  for (int i = 0; i < 12 * 8; ++i) {
    rig_run(&rig, BAR / 8);
    hand((const uint8_t[]){0xf1, (uint8_t)(i % 8 << 4)}, 2);
  }
  assert_true(rig.output_count > 12 * 8); // It is passed on
  assert_int_equal(music_of("main").count, 2);
  play_note(0, 62, BEAT / 2);
  rig_run(&rig, BAR);
  assert_true(music_of("main").tick[2] == ticks(4)); // The silence was shortened
}

/* ---- Beside the song ---------------------------------------------------------------------- */

/** A bar along the host, and a note when it has stopped. */
static void play_beside(void)
{
  rig_transport(&rig, true, 0);
  play_note(0, 60, BEAT / 2);
  rig_run(&rig, BAR);
  rig_transport(&rig, false, BAR);
  rig_run(&rig, BEAT);
  play_note(0, 70, BEAT / 2);
  rig_run(&rig, BAR);
  assert_branch("take 2");
}

/** Who moves the host goes on in the song, however short a while after the last note. */
static void test_a_host_that_is_moved_calls_back_to_the_song(void** state)
{
  (void)state;
  play_beside();
  rig_transport(&rig, false, BAR); // It is there still
  rig_run(&rig, BEAT);
  assert_branch("take 2");
  rig_transport(&rig, false, 4 * BAR);
  rig_run(&rig, BEAT);
  assert_branch("main");
  play_note(0, 72, BEAT / 2);
  rig_run(&rig, BAR);
  assert_branch("take 3");
  assert_true(music_of("take 3").tick[2] == ticks(16) + 1);
  assert_int_equal(music_of("take 2").count, 4);
}

/** Who switches to a branch that was begun beside the song wants to go on there. */
static void test_a_switch_makes_a_side_branch_the_song(void** state)
{
  (void)state;
  play_beside();
  assert_ok(say("switch", "take 2", NULL, NULL));
  rig_transport(&rig, true, 4 * BAR);
  play_note(0, 72, BEAT / 2);
  rig_run(&rig, BAR);
  assert_branch("take 2");
  assert_int_equal(music_of("take 2").count, 6);
}

/* ---- Stop --------------------------------------------------------------------------------- */

/** Where nothing is replayed there is nothing to stop: the music goes on in time. */
static void test_stop_leaves_a_jam_in_time(void** state)
{
  (void)state;
  for (int follow = 0; follow < 2; ++follow) {
    say_number("follow", follow);
    play_note(0, 60, BEAT / 2);
    rig_run(&rig, BEAT - 512);
    assert_ok(rig_say(&rig, "stop", NULL));
    rig_run(&rig, 512);
    play_note(0, 62, BEAT / 2);
    rig_run(&rig, 6 * BAR);
    const Music music = music_of("main");
    assert_int_equal(music.count, 4 * (follow + 1));
    assert_true(music.tick[music.count - 2] - music.tick[music.count - 4] == ticks(1));
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(test_real_time_within_sysex),
      TEST(test_time_code_is_no_music),
      TEST(test_a_host_that_is_moved_calls_back_to_the_song),
      TEST(test_a_switch_makes_a_side_branch_the_song),
      TEST(test_stop_leaves_a_jam_in_time),
  };
  return cmocka_run_group_tests_name("keyboard", tests, NULL, NULL);
}
