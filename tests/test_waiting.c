/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What waits for its line, and what is asked for meanwhile: a switch, a replay, a loop. */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/rig_commands.h"

/** A switch and then "replay" is heard on the branch switched to, from its start: in one
 * block, and while the switch waits for its bar. */
static void test_replay_joins_a_switch(void** state)
{
  const RigEvent* ons[32];
  (void)state;
  jam(8, 60);
  rest();
  assert_ok(say("fork/at", "1.2", "b", NULL));
  jam(4, 80);
  rest();
  assert_branch("b");
  assert_ok(say("quantum", "now", NULL, NULL));
  rig.output_count = 0;
  assert_ok(command_by("test", "switch", "main", NULL, NULL));
  assert_ok(say("replay", NULL, NULL, NULL));
  rig_run(&rig, BAR);
  assert_branch("main");
  assert_in_range(note_ons(ons, 32), 2, 5);
  assert_int_equal(ons[0]->bytes[1], 60);
  assert_int_equal(ons[1]->bytes[1], 61);

  assert_ok(say("quantum", "bar", NULL, NULL));
  say_number("snap", 0);
  assert_ok(say("switch", "b", NULL, NULL));
  assert_ok(say("replay", NULL, NULL, NULL));
  assert_string_equal(state_now().pending_name, "b");
  assert_branch("main");
  rig.output_count = 0;
  rig_run(&rig, 3 * BAR);
  assert_branch("b");
  assert_in_range(note_ons(ons, 32), 5, 32);
  size_t first = 0;
  while (ons[first]->bytes[1] != 60) { // What main had left in its bar
    ++first;
  }
  assert_int_equal(ons[first + 1]->bytes[1], 80);
}

/** Two branches from the start, "main" with a note on each beat from 60 on and "other" from
 * 80 on; the own clock replays "other", which began at the frame returned. */
static int64_t replay_other(const char* quantum)
{
  jam(16, 60);
  rest();
  assert_ok(say("fork/at", "1", "other", NULL));
  jam(16, 80);
  rest();
  assert_ok(say("quantum", quantum, NULL, NULL));
  assert_branch("other");
  rig.output_count = 0;
  const int64_t start = rig.now;
  assert_ok(command_by("test", "replay", NULL, NULL, NULL));
  return start;
}

/** A host has rolled from the beginning on for three beats and a half, "other" is heard. */
static int64_t follow_other(const char* quantum)
{
  make_two_branches(4);
  assert_ok(say("quantum", quantum, NULL, NULL));
  say_number("follow", 1);
  rig_run(&rig, 512);
  rig.output_count = 0;
  rig_transport(&rig, true, 0);
  return rig.now;
}

/** Run to so many beats after `start`. */
static void run_to(int64_t start, double beats)
{
  rig_run(&rig, start + llrint(beats * BEAT) - rig.now);
}

/** On each beat from `start` on, on its frame, one of `keys` was begun (0: none), and
 * nothing else; none of them hangs. */
static void assert_keys(int64_t start, const uint8_t* keys, int beats)
{
  const RigEvent* ons[256];
  const size_t count = note_ons(ons, 256);
  size_t next = 0;
  for (int i = 0; i < beats; ++i) {
    if (!keys[i]) {
      continue;
    }
    if (next == count || ons[next]->bytes[1] != keys[i] || ons[next]->frame != start + i * BEAT) {
      fail_msg("beat %d: %d at frame %+lld instead of %d", i,
               next < count ? ons[next]->bytes[1] : 0,
               next < count ? (long long)(ons[next]->frame - start - i * BEAT) : 0LL, keys[i]);
    }
    ++next;
  }
  assert_int_equal(next, count);
  assert_nothing_hangs(0);
}

#define ASSERT_KEYS(start, ...)                                                                    \
  assert_keys(start, (const uint8_t[]){__VA_ARGS__}, (int)sizeof(const uint8_t[]){__VA_ARGS__})

/** The same along a host: at once, and, on its frame, at the bar. */
static void test_replay_joins_a_switch_along_a_host(void** state)
{
  (void)state;
  const int64_t start = follow_other("now");
  run_to(start, 1.75);
  say_number("follow", 0);
  assert_ok(command_by("test", "switch", "main", NULL, NULL));
  assert_ok(command_by("test", "replay", NULL, NULL, NULL));
  run_to(start, 2.75);
  assert_branch("main");
  say_number("follow", 0);
  assert_ok(say("quantum", "bar", NULL, NULL));
  assert_ok(say("switch", "other", NULL, NULL));
  assert_ok(say("replay", NULL, NULL, NULL));
  assert_branch("main");
  run_to(start, 5.75);
  ASSERT_KEYS(start, 80, 81, 62, 0, 84, 85);
  assert_branch("other");
}

/** The other way round: what a replay that waits is to play is the branch switched to, in one
 * block, and while it waits for its bar. */
static void test_a_switch_joins_a_replay(void** state)
{
  const RigEvent* ons[8];
  (void)state;
  int64_t start = replay_other("now");
  assert_ok(say("switch", "main", NULL, NULL));
  run_to(start, 2.75);
  assert_branch("main");
  assert_int_equal(note_ons(ons, 8), 3);
  for (int i = 0; i < 3; ++i) { // The first comes as soon as it can be got
    assert_int_equal(ons[i]->bytes[1], 60 + i);
  }

  assert_ok(say("stop", NULL, NULL, NULL));
  assert_ok(say("quantum", "bar", NULL, NULL));
  rest();
  start = rig.now;
  jam(1, 100);
  rig.output_count = 0;
  assert_ok(say("replay", NULL, NULL, NULL));
  assert_ok(say("switch", "main", NULL, NULL));
  assert_ok(say("switch", "other", NULL, NULL)); // A second switch takes the first one's place
  assert_branch("main");
  run_to(start, 6.75);
  ASSERT_KEYS(start, 0, 0, 0, 0, 80, 81, 82);
  assert_branch("other");
}

/** An undo does not wait for the bar: what was to be heard from there on is not heard before. */
static void test_undo_joins_no_replay(void** state)
{
  const RigEvent* ons[8];
  (void)state;
  jam(8, 60);
  rest();
  assert_ok(say("fork", "b", NULL, NULL));
  jam(1, 100);
  rig.output_count = 0;
  assert_ok(say("replay", NULL, NULL, NULL));
  assert_ok(say("undo", NULL, NULL, NULL));
  assert_branch("main");
  rig_run(&rig, BEAT);
  assert_int_equal(note_ons(ons, 8), 0);
}

/** What was grabbed is heard, and no other branch at the next bar. */
static void test_grab_takes_the_place_of_a_switch(void** state)
{
  (void)state;
  for (int quantum = 0; quantum < 2; ++quantum) {
    const char* const name = quantum ? "grabbed twice" : "grabbed";
    rig_transport(&rig, true, 0);
    assert_ok(rig_say(&rig, "fork", name));
    jam(8, 60);
    assert_ok(rig_say(&rig, "quantum", quantum ? "now" : "bar"));
    assert_ok(command_by("test", "switch", "main", NULL, NULL));
    const HrValue bars = hr_value_integer(1);
    assert_ok(rig_command(&rig, "grab", &bars, 1));
    const int64_t start = rig.now;
    rig.output_count = 0;
    run_to(start, 4.75);
    ASSERT_KEYS(start, 64, 65, 66, 67, 64);
    assert_branch(name);
    assert_ok(say("stop", NULL, NULL, NULL));
    rig_transport(&rig, false, 0);
    rig_run(&rig, BEAT);
  }
}

/** A replay that waited and is not wanted any more is not on. */
static void test_cancel_a_replay(void** state)
{
  (void)state;
  jam(8, 60);
  rest();
  jam(2, 90);
  assert_ok(say("replay", NULL, NULL, NULL));
  assert_true(state_now().replay);
  assert_ok(say("cancel", NULL, NULL, NULL));
  assert_false(state_now().replay);
  assert_ok(say("replay", NULL, NULL, NULL));
  rig_run(&rig, BAR);
  assert_ok(say("switch", "main", NULL, NULL));
  assert_ok(say("cancel", NULL, NULL, NULL));
  assert_true(state_now().replay); // That did not wait
}

/** A loop that is set while a switch waits for its bar leaves it waiting, and is the loop
 * of the branch switched to: on the own clock, ... */
static void test_loop_leaves_a_switch(void** state)
{
  (void)state;
  const int64_t start = replay_other("bar");
  run_to(start, 1.75);
  assert_ok(say("switch", "main", NULL, NULL));
  assert_ok(say("loop/range", "1", "3", NULL));
  assert_string_equal(state_now().pending_name, "main");
  assert_branch("other");
  run_to(start, 13.75);
  ASSERT_KEYS(start, 80, 81, 82, 83, 64, 65, 66, 67, 60, 61, 62, 63, 64, 65);
  assert_branch("main");
  assert_loop(0, ticks(8));
}

/** ... along a host, also when it is set again and again, ... */
static void test_loop_leaves_a_switch_along_a_host(void** state)
{
  (void)state;
  const int64_t start = follow_other("bar");
  run_to(start, 1.75);
  assert_ok(say("switch", "main", NULL, NULL));
  assert_ok(command_by("test", "loop/range", "1", "2", NULL));
  assert_ok(command_by("test", "loop/range", "1", "4", NULL));
  assert_ok(say("loop/range", "1", "3", NULL));
  assert_string_equal(state_now().pending_name, "main");
  run_to(start, 13.75);
  ASSERT_KEYS(start, 80, 81, 82, 83, 64, 65, 66, 67, 60, 61, 62, 63, 64, 65);
  assert_branch("main");
}

/** ... and when it is turned off. */
static void test_end_of_a_loop_leaves_a_switch(void** state)
{
  (void)state;
  const int64_t start = follow_other("bar");
  run_to(start, 0.75);
  assert_ok(say("loop/range", "1", "3", NULL));
  run_to(start, 9.75);
  assert_ok(say("switch", "main", NULL, NULL));
  say_number("loop", 0);
  run_to(start, 13.75);
  ASSERT_KEYS(start, 80, 81, 82, 83, 84, 85, 86, 87, 80, 81, 90, 91, 72, 73);
  assert_branch("main");
}

/** A switch that waits for the loop's end waits for that of the new loop. */
static void test_switch_at_the_new_loop_s_end(void** state)
{
  (void)state;
  int64_t start = replay_other("loop end");
  run_to(start, 0.75);
  assert_ok(say("loop/range", "1", "5", NULL));
  assert_ok(say("switch", "main", NULL, NULL));
  run_to(start, 1.75);
  assert_ok(say("loop/range", "1", "3", NULL));
  run_to(start, 11.75);
  ASSERT_KEYS(start, 80, 81, 82, 83, 84, 85, 86, 87, 60, 61, 62, 63);
  assert_branch("main");
}

/** A loop behind the place where the music is: that jumps there, and the switch waits for
 * the next line from there on. */
static void test_loop_behind_while_a_switch_waits(void** state)
{
  (void)state;
  const int64_t start = replay_other("bar");
  run_to(start, 9.75);
  assert_ok(say("switch", "main", NULL, NULL));
  const HrValue range[2] = {hr_value_text("1.2"), hr_value_text("3")};
  const int64_t jump = rig.now;
  assert_ok(rig_command(&rig, "loop/range", range, 2));
  rig.output_count = 0;
  run_to(jump, 10.75);
  ASSERT_KEYS(jump, 81, 82, 83, 64, 65, 66, 67, 61, 62, 63, 64);
  assert_branch("main");
}

/** Have both, `beats` from `start` on: they are heard from the next frame on, before anybody
 * has read on. */
static void switch_and_loop(int64_t start, int beats)
{
  run_to(start, beats);
  rig.output_count = 0;
  assert_ok(command_by("test", "switch", "main", NULL, NULL));
  assert_ok(command_by("test", "loop/range", "1", "2", NULL));
  rig.idle = true;
  run_to(start, beats + 4.75);
  rig.idle = false;
  ASSERT_KEYS(start + beats * BEAT, 62, 63, 60, 61, 62);
  run_to(start, beats + 5);
  assert_branch("main");
}

/** A switch that waits for nothing, and a loop in the same moment, on the own clock ... */
static void test_switch_and_loop_at_once(void** state)
{
  (void)state;
  switch_and_loop(replay_other("now"), 2);
}

/** ... and along a host. */
static void test_switch_and_loop_at_once_along_a_host(void** state)
{
  (void)state;
  switch_and_loop(follow_other("now"), 6);
}

/** A loop set when the engine has switched, but the store does not know yet. */
static void test_loop_right_behind_a_switch(void** state)
{
  (void)state;
  const int64_t start = replay_other("now");
  run_to(start, 1.75);
  rig.output_count = 0;
  rig.idle = true;
  assert_ok(say("switch", "main", NULL, NULL));
  run_to(start, 2);
  assert_ok(command_by("test", "loop/range", "1", "2", NULL));
  run_to(start, 6.75);
  rig.idle = false;
  ASSERT_KEYS(start + 2 * BEAT, 62, 63, 60, 61, 62);
}

/** A fork, and a loop in the same moment: what goes on is the music of the fork. */
static void test_fork_and_loop_at_once(void** state)
{
  (void)state;
  const int64_t start = follow_other("bar");
  run_to(start, 1.75);
  assert_ok(command_by("test", "fork", "third", NULL, NULL));
  assert_ok(command_by("test", "loop/range", "1", "2", NULL));
  run_to(start, 9.75);
  ASSERT_KEYS(start, 80, 81, 0, 0, 80, 81, 0, 0, 80, 81);
  assert_branch("third");
}

/** A replay that waits is not lost by a loop, and is heard within it. */
static void test_loop_leaves_a_replay(void** state)
{
  (void)state;
  jam(8, 60);
  rest();
  const int64_t start = rig.now;
  jam(1, 90);
  run_to(start, 1.75);
  assert_ok(say("replay", NULL, NULL, NULL));
  assert_ok(say("loop/range", "1", "2", NULL));
  rig.output_count = 0;
  run_to(start, 10.75);
  ASSERT_KEYS(start, 0, 0, 0, 0, 60, 61, 62, 63, 60, 61, 62);
  assert_true(state_now().replay);
}

/** The same in one moment. */
static void test_replay_and_loop_at_once(void** state)
{
  (void)state;
  jam(8, 60);
  rest();
  rig.output_count = 0;
  const int64_t start = rig.now;
  assert_ok(command_by("test", "replay", NULL, NULL, NULL));
  assert_ok(command_by("test", "loop/range", "1", "2", NULL));
  run_to(start, 6.75);
  ASSERT_KEYS(start, 60, 61, 62, 63, 60, 61, 62);
}

/** To follow the host while a switch waits: from now on, and on the branch switched to. */
static void test_follow_leaves_a_switch(void** state)
{
  (void)state;
  int64_t start = follow_other("bar");
  say_number("follow", 0);
  run_to(start, 1.75);
  assert_ok(say("switch", "main", NULL, NULL));
  say_number("follow", 1);
  run_to(start, 5.75);
  ASSERT_KEYS(start, 0, 0, 82, 83, 64, 65);
  assert_branch("main");
  assert_ok(say("switch", "other", NULL, NULL)); // It is heard already
  say_number("follow", 1);
  assert_string_equal(state_now().pending_name, "other");
  run_to(start, 9.75);
  ASSERT_KEYS(start, 0, 0, 82, 83, 64, 65, 66, 67, 88, 89);
  assert_branch("other");
}

/** The same before the host rolls: what is heard of it then is the other branch. */
static void test_follow_before_the_host_rolls(void** state)
{
  (void)state;
  make_two_branches(2);
  say_number("snap", 0);
  int64_t start = rig.now;
  jam(1, 100); // On a side branch; the own clock runs
  assert_ok(say("switch", "main", NULL, NULL));
  assert_string_equal(state_now().pending_name, "main");
  say_number("follow", 1);
  run_to(start, 5.0);
  assert_branch("main");
  rig.output_count = 0;
  rig_transport(&rig, true, 0);
  start = rig.now;
  run_to(start, 4.75);
  ASSERT_KEYS(start, 60, 61, 62, 63, 64);
  assert_branch("main");
}

/** To stop ends what waits. */
static void test_stop_ends_a_switch(void** state)
{
  (void)state;
  const int64_t start = follow_other("bar");
  run_to(start, 1.75);
  assert_ok(say("switch", "main", NULL, NULL));
  say_number("follow", 0);
  rig_run(&rig, 256);
  assert_string_equal(state_now().pending_name, "");
  run_to(start, 5.75);
  ASSERT_KEYS(start, 80, 81);
  assert_branch("other");
}

/* ---- Replay that is on before there is music ------------------------------------- */

/** Play a note on each beat, from `first_key` on, and let the worker have its time before the
 * last of them: it takes that by the wall clock, which the rig outruns. */
static void jam_slowly(int beats, uint8_t first_key)
{
  const int64_t start = rig.now;
  for (int i = 0; i < beats; ++i) {
    play_note(i * BEAT, (uint8_t)(first_key + i), BEAT / 2);
  }
  run_to(start, beats - 1);
  state_now();
  run_to(start, beats);
}

/** The host rolls over what was played meanwhile, ... */
static void test_follow_before_there_is_music(void** state)
{
  (void)state;
  say_number("follow", 1);
  rig_run(&rig, 512);
  jam(8, 60);
  rest();
  rig.output_count = 0;
  rig_transport(&rig, true, 0);
  const int64_t start = rig.now;
  run_to(start, 7.75);
  ASSERT_KEYS(start, 60, 61, 62, 63, 64, 65, 66, 67);
}

/** ... or jumps back to where it began to roll, a little beside it. */
static void test_first_jump_over_the_first_music(void** state)
{
  (void)state;
  say_number("follow", 1);
  rig_run(&rig, 512);
  rig_transport(&rig, true, 0);
  rig_run(&rig, BEAT / 8);
  jam_slowly(4, 60);
  rig.output_count = 0;
  rig_transport(&rig, true, BEAT / 8);
  const int64_t start = rig.now;
  run_to(start, 3.75);
  ASSERT_KEYS(start, 60, 61, 62, 63);
}

/** The own clock comes to the end of a loop that was set before there was music: it lies at
 * the start, or elsewhere. */
static void test_first_lap_of_the_first_music(void** state)
{
  (void)state;
  say_number("follow", 1);
  assert_ok(say("loop/range", "1", "3", NULL));
  const int64_t start = rig.now;
  jam(8, 60);
  rig.output_count = 0;
  run_to(start, 19.75);
  ASSERT_KEYS(start + 8 * BEAT, 60, 61, 62, 63, 64, 65, 66, 67, 60, 61, 62, 63);
}

static void test_first_lap_of_a_later_bar(void** state)
{
  (void)state;
  say_number("follow", 1);
  assert_ok(say("loop/range", "2", "3", NULL));
  const int64_t start = rig.now;
  jam_slowly(8, 60);
  rig.output_count = 0;
  run_to(start, 15.75);
  ASSERT_KEYS(start + 8 * BEAT, 64, 65, 66, 67, 64, 65, 66, 67);
}

/** The same, set where a branch ends, with the own clock waiting for somebody to play. */
static void test_first_lap_behind_a_branch(void** state)
{
  (void)state;
  jam(4, 50);
  rest();
  state_now();
  say_number("follow", 1);
  rig_run(&rig, 256);
  assert_ok(say("loop/range", "2", "3", NULL));
  const int64_t start = rig.now;
  jam_slowly(4, 60);
  rig.output_count = 0;
  run_to(start, 11.75);
  ASSERT_KEYS(start + 4 * BEAT, 60, 61, 62, 63, 60, 61, 62, 63);
}

/** A loop set in mid-loop: what is played after that belongs to it as well. */
static void test_loop_set_while_playing(void** state)
{
  (void)state;
  say_number("follow", 1);
  rig_run(&rig, 256);
  const int64_t start = rig.now;
  jam_slowly(6, 60);
  assert_ok(command_by("test", "loop/range", "1", "3", NULL));
  jam(2, 66);
  rig.output_count = 0;
  run_to(start, 19.75);
  ASSERT_KEYS(start + 8 * BEAT, 60, 61, 62, 63, 64, 65, 66, 67, 60, 61, 62, 63);
}

/** Turned off while nothing is heard, it leaves replay on. */
static void test_end_of_a_loop_leaves_replay_on(void** state)
{
  (void)state;
  say_number("follow", 1);
  assert_ok(say("loop/range", "1", "3", NULL));
  jam_slowly(4, 60);
  say_number("loop", 0);
  jam(1, 64);
  assert_true(state_now().replay);
}

/** Turned on while the host rolls, replay is ready for the jump back to where that began. */
static void test_follow_from_the_middle(void** state)
{
  (void)state;
  record_beats(2, 60);
  rig_run(&rig, BAR);
  rig_transport(&rig, true, BAR);
  rig_run(&rig, 2 * BEAT);
  say_number("follow", 1);
  rig_run(&rig, 2 * BEAT);
  rig.output_count = 0;
  rig_transport(&rig, true, BAR);
  const int64_t start = rig.now;
  run_to(start, 3.75);
  ASSERT_KEYS(start, 64, 65, 66, 67);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(test_replay_joins_a_switch),
      TEST(test_replay_joins_a_switch_along_a_host),
      TEST(test_a_switch_joins_a_replay),
      TEST(test_undo_joins_no_replay),
      TEST(test_grab_takes_the_place_of_a_switch),
      TEST(test_cancel_a_replay),
      TEST(test_loop_leaves_a_switch),
      TEST(test_loop_leaves_a_switch_along_a_host),
      TEST(test_end_of_a_loop_leaves_a_switch),
      TEST(test_switch_at_the_new_loop_s_end),
      TEST(test_loop_behind_while_a_switch_waits),
      TEST(test_switch_and_loop_at_once),
      TEST(test_switch_and_loop_at_once_along_a_host),
      TEST(test_loop_right_behind_a_switch),
      TEST(test_fork_and_loop_at_once),
      TEST(test_loop_leaves_a_replay),
      TEST(test_replay_and_loop_at_once),
      TEST(test_follow_leaves_a_switch),
      TEST(test_follow_before_the_host_rolls),
      TEST(test_stop_ends_a_switch),
      TEST(test_follow_before_there_is_music),
      TEST(test_first_jump_over_the_first_music),
      TEST(test_first_lap_of_the_first_music),
      TEST(test_first_lap_of_a_later_bar),
      TEST(test_first_lap_behind_a_branch),
      TEST(test_loop_set_while_playing),
      TEST(test_end_of_a_loop_leaves_replay_on),
      TEST(test_follow_from_the_middle),
  };
  return cmocka_run_group_tests_name("waiting", tests, NULL, NULL);
}
