/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What somebody at a keyboard takes for granted. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/rig_commands.h"

/* ---- System messages -------------------------------------------------------------------- */

/** The clock may tick within a SysEx message: both come through, each by itself. */
static void test_real_time_within_sysex(void** state)
{
  (void)state;
  static const uint8_t mixed[] = {0xf0, 0x7d, 0xf8, 1, 0xfa, 2, 0xfd, 0xf7};
  static const uint8_t status_within[] = {0xf0, 0x7d, 0xf8, 0x90, 2, 0xf7};
  play_message(mixed, sizeof mixed);
  assert_int_equal(rig.output_count, 3);
  assert_int_equal(rig.output[0].bytes[0], 0xf8);
  assert_int_equal(rig.output[1].bytes[0], 0xfa);
  assert_int_equal(rig.output[2].size, 5);
  assert_int_equal(state_now().malformed, 1); // 0xfd is no message

  const Music music = music_of("main");
  assert_int_equal(music.count, 2); // No clock
  assert_int_equal(music.bytes[0][0], 0xfa);
  assert_memory_equal(music.bytes[1], ((const uint8_t[]){0xf0, 0x7d, 1}), 3);

  play_message(status_within, sizeof status_within);
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
    play_message((const uint8_t[]){0xf1, (uint8_t)(i % 8 << 4)}, 2);
  }
  assert_true(rig.output_count > 12 * 8); // It is passed on
  assert_int_equal(music_of("main").count, 2);
  play_note(0, 62, BEAT / 2);
  rig_run(&rig, BAR);
  assert_true(music_of("main").tick[2] == ticks(4)); // The silence was shortened
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

/* ---- The sound of what is played after a switch ---------------------------------------- */

/** What a synthesizer that hears "main" from its beginning has when the note `key` begins. */
static HrChaseChannel heard_with(const char* branch, uint8_t key)
{
  static HrChase chase;
  const Music music = music_of(branch);
  int i = 0;
  hr_chase_init(&chase);
  while (i < music.count && (music.bytes[i][0] != 0x90 || music.bytes[i][1] != key)) {
    const uint32_t size = (music.bytes[i][0] & 0xe0) == 0xc0 ? 2 : 3;
    hr_chase_follow(&chase, music.bytes[i++], size);
  }
  assert_true(i < music.count);
  return chase.channels[0];
}

/** A bar of one program, and another one of another, in which the pedal for expression is moved. */
static void play_two_sounds(void)
{
  rig_play(&rig, 0, 0xc0, 1, 0);
  rig_play(&rig, 0, 0xb0, 11, 10);
  play_note(0, 60, BEAT / 2);
  rig_play(&rig, BAR, 0xc0, 2, 0);
  rig_play(&rig, BAR, 0xb0, 11, 120);
  play_note(BAR, 61, BEAT / 2);
  rig_run(&rig, 2 * BAR);
  rest();
}

/** Play a note, and look that the record has it with the sound it had. */
static void assert_heard_with(const char* branch, uint8_t key, uint8_t program, uint8_t expression)
{
  play_note(0, key, BEAT / 2);
  rig_run(&rig, BAR);
  rest();
  const HrChaseChannel channel = heard_with(branch, key);
  assert_int_equal(channel.program, program);
  assert_int_equal(channel.controllers[11], expression);
}

static void test_a_fork_elsewhere_sounds_as_it_was_played(void** state)
{
  (void)state;
  play_two_sounds();
  assert_ok(say("fork/at", "2", "other", NULL));
  assert_heard_with("other", 70, 2, 120);
  assert_int_equal(music_of("other").count, 4 + 4); // Said once
}

static void test_a_switch_sounds_as_it_was_played(void** state)
{
  (void)state;
  play_two_sounds();
  assert_ok(say("fork/at", "2", "other", NULL));
  rig_play(&rig, 0, 0xc0, 3, 0);
  rig_play(&rig, 0, 0xb0, 11, 90);
  assert_heard_with("other", 70, 3, 90);
  assert_ok(say("switch", "main", NULL, NULL));
  assert_heard_with("main", 71, 3, 90);
  assert_ok(say("switch", "other", NULL, NULL));
  const int before = music_of("other").count;
  assert_heard_with("other", 72, 3, 90);
  assert_int_equal(music_of("other").count, before + 2); // Nothing has changed there
}

/** A replay leaves the synthesizer as it was where it was stopped. */
static void test_what_follows_a_replay_sounds_as_it_was_played(void** state)
{
  (void)state;
  play_two_sounds();
  assert_ok(rig_say(&rig, "replay", NULL));
  rig_run(&rig, BEAT);
  assert_ok(rig_say(&rig, "stop", NULL));
  rig_run(&rig, BEAT);
  assert_heard_with("main", 70, 1, 10);
}

/** What was not to be recorded was heard all the same. */
static void test_what_follows_a_pause_in_recording_sounds_as_it_was_played(void** state)
{
  (void)state;
  play_two_sounds();
  play_note(0, 62, BEAT / 2);
  rig_run(&rig, BEAT);
  say_number("record", 0);
  rig_play(&rig, 512, 0xc0, 7, 0);
  rig_run(&rig, BEAT);
  say_number("record", 1);
  rig_run(&rig, 512);
  assert_heard_with("main", 70, 7, 120);
}

/** Two bars along the host, each with a program of its own, and notes on the beats. */
static void roll_two_sounds(void)
{
  rig_transport(&rig, true, 0);
  rig_play(&rig, 0, 0xc0, 1, 0);
  rig_play(&rig, BAR, 0xc0, 2, 0);
  for (int i = 0; i < 8; ++i) {
    play_note((int64_t)i * BEAT, (uint8_t)(60 + i), BEAT / 2);
  }
  rig_run(&rig, 2 * BAR);
  rig_transport(&rig, false, 0);
  rig_run(&rig, BEAT);
}

/** Over a replay as well. */
static void test_what_follows_a_pause_over_a_replay_sounds_as_it_was_played(void** state)
{
  (void)state;
  roll_two_sounds();
  say_number("follow", 1);
  rig_run(&rig, BEAT);
  rig_transport(&rig, true, 0);
  rig_run(&rig, BEAT / 4);
  say_number("record", 0);
  rig_play(&rig, 512, 0xc0, 7, 0);
  rig_run(&rig, BEAT);
  say_number("record", 1);
  rig_run(&rig, 512);
  play_note(0, 80, BEAT / 2);
  rig_run(&rig, BEAT);
  assert_int_equal(heard_with("take 2", 80).program, 7);
}

/** What is held when recording is turned off ends there in the record. */
static void test_a_note_held_when_recording_ends(void** state)
{
  (void)state;
  rig_transport(&rig, true, 0);
  play_note(BEAT, 60, 4 * BEAT);
  rig_run(&rig, 2 * BEAT);
  say_number("record", 0);
  rig_run(&rig, BAR);
  stop_host();
  const Music music = music_of("main");
  assert_int_equal(music.count, 2);
  assert_true(music.tick[1] < ticks(2.1));
}

/** A pedal that comes up when the host has stopped starts nothing; a slider does, wherever
 * it is moved to. */
static void test_a_pedal_comes_up_while_the_host_stands(void** state)
{
  (void)state;
  rig_transport(&rig, true, 0);
  rig_play(&rig, BEAT, 0xb0, 64, 127);
  play_note(BEAT, 60, BEAT);
  rig_run(&rig, BAR);
  stop_host();
  rig_play(&rig, 0, 0xb0, 64, 0);
  rig_run(&rig, 512);
  assert_string_equal(state_now().branch_name, "main");
  rig_play(&rig, 0, 0xb0, 11, 20);
  rig_run(&rig, 512);
  assert_string_not_equal(state_now().branch_name, "main");
}

/** Nor was what is played while the host stands, if that is not to be recorded. */
static void test_what_was_turned_while_the_host_stood_sounds_on(void** state)
{
  (void)state;
  record_beats(2, 60);
  say_number("follow", 1);
  assert_ok(say("standing", "off", NULL, NULL));
  rig_run(&rig, BEAT);
  rig_play(&rig, 0, 0xc0, 7, 0);
  rig_run(&rig, BEAT);
  rig_transport(&rig, true, 0);
  rig_run(&rig, BEAT);
  play_note(0, 80, BEAT / 2);
  rig_run(&rig, BEAT);
  assert_int_equal(heard_with("take 2", 80).program, 7);
}

/** A host may reset all channels wherever it goes. What that leaves is said with few messages. */
static void test_a_reset_of_all_channels_is_said_as_such(void** state)
{
  (void)state;
  record_beats(2, 60);
  for (int pass = 0; pass < 2; ++pass) {
    for (uint8_t channel = 0; channel < 16; ++channel) {
      rig_play(&rig, 0, (uint8_t)(0xb0 | channel), 123, 0);
      rig_play(&rig, 0, (uint8_t)(0xb0 | channel), 121, 0);
    }
    rig_run(&rig, BEAT);
    rig_transport(&rig, true, BAR);
    play_note(512, 80, BEAT / 2);
    rig_run(&rig, BAR);
    stop_host();
  }
  assert_int_equal(music_of("take 2").count, 10 + 16 + 2);
}

/** Hear the first bar as a loop along a host that rolls from the second, and play to it then. */
static void play_over_a_loop(int64_t frames)
{
  assert_ok(say("loop/range", "1", "2", NULL));
  say_number("follow", 1);
  rig_run(&rig, BEAT);
  rig_transport(&rig, true, BAR);
  rig_run(&rig, frames);
  play_note(0, 80, BEAT / 2);
  rig_run(&rig, BEAT);
}

/** A loop that is heard along a host has the sound of its own place, not of the host's. */
static void test_what_is_played_over_a_loop_along_a_host_sounds_so(void** state)
{
  (void)state;
  roll_two_sounds();
  play_over_a_loop(5 * BEAT / 2);
  assert_int_equal(heard_with("take 2", 80).program, 1);
}

/** The same of what goes on the end of the song, or is overdubbed there. */
static void append_over_a_loop(int overdub)
{
  roll_two_sounds();
  say_number("overdub", overdub);
  play_over_a_loop(9 * BEAT / 2);
  assert_int_equal(heard_with("main", 80).program, 1);
}

static void test_what_is_appended_over_a_loop_along_a_host_sounds_so(void** state)
{
  (void)state;
  append_over_a_loop(0);
}

static void test_what_is_overdubbed_on_a_loop_along_a_host_sounds_so(void** state)
{
  (void)state;
  append_over_a_loop(1);
}

/** The pedal that a loop has down along a host is down in the record of what is played to it. */
static void test_a_loop_s_pedal_along_a_host(void** state)
{
  (void)state;
  rig_transport(&rig, true, 0);
  play_note(0, 60, BEAT / 2);
  rig_play(&rig, BEAT, 0xb0, 64, 127);
  rig_play(&rig, 4 * BEAT - 64, 0xb0, 64, 0);
  play_note(4 * BEAT, 61, 4 * BEAT - 64);
  rig_run(&rig, 2 * BAR);
  rig_transport(&rig, false, 0);
  rig_run(&rig, BEAT);
  play_over_a_loop(5 * BEAT / 2);
  assert_int_equal(heard_with("take 2", 80).controllers[64], 127);
}

/** What is held while a replay ends, and leaves the synthesizer otherwise, is held on. */
static void test_a_key_held_over_the_end_of_a_replay(void** state)
{
  (void)state;
  rig_transport(&rig, true, 0);
  rig_play(&rig, 0, 0xe0, 0, 0x50);
  play_note(0, 60, BEAT / 2);
  rig_run(&rig, BAR);
  rig_transport(&rig, false, 0);
  rig_run(&rig, BEAT);
  assert_ok(say("loop/range", "1", "2", NULL));
  say_number("follow", 1);
  rig_run(&rig, BEAT);
  rig_transport(&rig, true, 4 * BAR);
  rig_run(&rig, BEAT);
  play_note(0, 70, 2 * BEAT);
  rig_run(&rig, BEAT / 2);
  assert_ok(say("stop", NULL, NULL, NULL));
  rig_run(&rig, BEAT / 2);
  play_note(0, 72, BEAT / 2);
  rig_run(&rig, BAR);
  const Music music = music_of("main");
  int ends = 0;
  HrTick begun = 0, ended = 0;
  for (int i = 0; i < music.count; ++i) {
    const bool held = music.bytes[i][1] == 70;
    begun = held && music.bytes[i][0] == 0x90 ? music.tick[i] : begun;
    ended = held && music.bytes[i][0] == 0x80 ? music.tick[i] : ended;
    ends += held && music.bytes[i][0] == 0x80;
  }
  assert_int_equal(ends, 1);
  assert_true(ended - begun == ticks(2));
}

/** What the record says already where somebody goes on is not said again. */
static void test_nothing_is_said_twice(void** state)
{
  (void)state;
  rig_transport(&rig, true, 0);
  play_note(0, 60, BAR);
  rig_play(&rig, BAR, 0xc0, 3, 0);
  rig_run(&rig, BAR + 256);
  rig_transport(&rig, false, BAR);
  rig_run(&rig, 512);
  rig_transport(&rig, true, BAR);
  play_note(0, 61, BEAT / 2);
  rig_run(&rig, BAR);
  assert_int_equal(music_of("main").count, 5);
}

/* ---- Several tracks -------------------------------------------------------------------- */

enum { TRACKS = 3 };

/** Load tracks that play on the tree beside the one that is there. */
static void open_tracks(Rig tracks[TRACKS])
{
  const HrSessionState now = state_now();
  for (int i = 0; i < TRACKS; ++i) {
    assert_true(
        rig_open(&tracks[i], &(HrAttachment){.store = now.store_path, .tree = now.tree_name}));
    rig_run(&tracks[i], 512);
  }
}

static int count_branches(void)
{
  int count = 0;
  state_now();
  assert_ok(command_by("test", "list", NULL, NULL, NULL));
  for (const char* at = rows; (at = strchr(at, '\n')); ++at) {
    ++count;
  }
  return count;
}

static void close_tracks(Rig tracks[TRACKS])
{
  for (int i = 0; i < TRACKS; ++i) {
    rig_close(&tracks[i]);
  }
}

/** Each has a branch of its own, and loading them again makes no more. */
static void test_loading_leaves_no_branches(void** state)
{
  (void)state;
  Rig tracks[TRACKS];
  jam(4, 60);
  rest();
  for (int load = 0; load < 3; ++load) {
    open_tracks(tracks);
    for (int i = 0; i < TRACKS; ++i) {
      HrSessionState one, other;
      hr_session_state(tracks[i].session, &one);
      hr_session_state(tracks[(i + 1) % TRACKS].session, &other);
      assert_true(one.branch != other.branch);
      assert_true(one.branch != state_now().branch);
      assert_int_equal(count_branches(), 1 + TRACKS);
    }
    close_tracks(tracks);
  }
}

/** What was played on, or where the song has gone on since, is left as it is. */
static void test_loading_goes_on_at_the_end(void** state)
{
  (void)state;
  Rig tracks[TRACKS];
  HrSessionState first, again;
  jam(4, 60);
  rest();
  open_tracks(tracks);
  hr_session_state(tracks[0].session, &first);
  rig_play(&tracks[0], 0, 0x90, 80, 100);
  rig_play(&tracks[0], BEAT, 0x80, 80, 64);
  rig_run(&tracks[0], BAR);
  close_tracks(tracks);
  open_tracks(tracks);
  for (int i = 0; i < TRACKS; ++i) {
    hr_session_state(tracks[i].session, &again);
    assert_true(again.branch != first.branch);
    assert_int_equal(count_branches(), 2 + TRACKS);
  }
  close_tracks(tracks);
  jam(4, 60);
  rest();
  open_tracks(tracks);
  assert_int_equal(count_branches(), 2 + 2 * TRACKS);
  close_tracks(tracks);
}

/** What somebody has named, written on or gone on from is theirs, with or without music. */
static void test_loading_leaves_what_is_somebody_s(void** state)
{
  (void)state;
  Rig tracks[TRACKS];
  const HrValue words = hr_value_text("verse");
  jam(4, 60);
  rest();
  open_tracks(tracks);
  HrSessionState third;
  hr_session_state(tracks[2].session, &third);
  const HrValue name[2] = {hr_value_text(third.branch_name), words};
  assert_ok(rig_command(&tracks[0], "mark", &words, 1));
  assert_ok(rig_command(&tracks[1], "note", &words, 1));
  assert_ok(rig_command(&tracks[2], "rename", name, 2));
  close_tracks(tracks);
  open_tracks(tracks);
  assert_int_equal(count_branches(), 1 + 2 * TRACKS);
  close_tracks(tracks);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(test_real_time_within_sysex),
      TEST(test_time_code_is_no_music),
      TEST(test_stop_leaves_a_jam_in_time),
      TEST(test_a_host_that_is_moved_calls_back_to_the_song),
      TEST(test_a_switch_makes_a_side_branch_the_song),
      TEST(test_a_fork_elsewhere_sounds_as_it_was_played),
      TEST(test_a_switch_sounds_as_it_was_played),
      TEST(test_what_follows_a_replay_sounds_as_it_was_played),
      TEST(test_what_follows_a_pause_in_recording_sounds_as_it_was_played),
      TEST(test_what_follows_a_pause_over_a_replay_sounds_as_it_was_played),
      TEST(test_what_is_played_over_a_loop_along_a_host_sounds_so),
      TEST(test_what_is_appended_over_a_loop_along_a_host_sounds_so),
      TEST(test_what_is_overdubbed_on_a_loop_along_a_host_sounds_so),
      TEST(test_a_loop_s_pedal_along_a_host),
      TEST(test_a_note_held_when_recording_ends),
      TEST(test_a_pedal_comes_up_while_the_host_stands),
      TEST(test_what_was_turned_while_the_host_stood_sounds_on),
      TEST(test_a_reset_of_all_channels_is_said_as_such),
      TEST(test_a_key_held_over_the_end_of_a_replay),
      TEST(test_nothing_is_said_twice),
      TEST(test_loading_leaves_no_branches),
      TEST(test_loading_goes_on_at_the_end),
      TEST(test_loading_leaves_what_is_somebody_s),
  };
  return cmocka_run_group_tests_name("keyboard", tests, NULL, NULL);
}
