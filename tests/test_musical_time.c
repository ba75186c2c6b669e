/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Switches, silences, tempo: that music comes where its beat falls, whatever the
 * clock does. */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/rig_commands.h"

/* ---- When switches happen ---------------------------------------------------------- */

/** Two branches of four bars: keys from 60, and on "other" from 80, both
 * rolling from the start with replay on. */
static void roll_with_two_branches(void)
{
  record_beats(4, 60);
  const HrValue at[2] = {hr_value_text("1"), hr_value_text("other")};
  assert_ok(rig_command(&rig, "fork/at", at, 2));
  rig_run(&rig, 512);
  record_beats(4, 80);
  assert_ok(rig_say(&rig, "switch", "main"));
  rig_run(&rig, 512);
  say_number("follow", 1);
  rig_run(&rig, 512);
  rig_transport(&rig, true, 0);
}

static void test_a_late_tap_means_the_bar_just_passed(void** state)
{
  (void)state;
  static const uint8_t other[] = {84, 85, 86, 87};
  roll_with_two_branches();
  const int64_t start = rig.now;
  rig_run(&rig, BAR + 50 * RIG_RATE / 1000);
  rig.output_count = 0;
  assert_ok(rig_say(&rig, "switch", "other"));
  rig_run(&rig, 256);
  const RigEvent* ons[64];
  assert_int_equal(note_ons(ons, 64), 1);
  assert_int_equal(ons[0]->bytes[1], 84); // The note of that bar line, at once
  rig_run(&rig, 3 * BEAT);
  assert_int_equal(note_ons(ons, 64), 4);
  for (size_t i = 1; i < 4; ++i) {
    assert_int_equal(ons[i]->bytes[1], other[i]);
    assert_int_equal(ons[i]->frame - start, BAR + (int64_t)i * BEAT);
  }
  /* Later than the window: the next bar. */
  assert_ok(rig_say(&rig, "switch", "main"));
  rig_run(&rig, 256);
  assert_int_equal(note_ons(ons, 64), 4);
  const HrSessionState now = state_now();
  assert_string_equal(now.pending_name, "main");
  stop_host();
  assert_nothing_hangs(0);
}

static void test_every_so_many_bars(void** state)
{
  (void)state;
  assert_ok(rig_say(&rig, "quantum", "2 bars"));
  roll_with_two_branches();
  rig_run(&rig, BEAT);
  assert_ok(rig_say(&rig, "switch", "other"));
  rig_run(&rig, 2 * BAR - BEAT - 512);
  assert_string_equal(state_now().branch_name, "main");
  rig.output_count = 0;
  rig_run(&rig, 1024);
  assert_string_equal(state_now().branch_name, "other");
  const RigEvent* ons[8];
  assert_int_equal(note_ons(ons, 8), 1);
  assert_int_equal(ons[0]->bytes[1], 88);
  assert_int_not_equal(rig_say(&rig, "quantum", "0 bars"), HR_OK);
  assert_int_not_equal(rig_say(&rig, "quantum", "bars"), HR_OK);
  assert_string_equal(state_now().quantum_name, "2 bars");
}

/** They are counted from the first bar, wherever in the song a replay begins. */
static void test_every_so_many_bars_of_a_replay(void** state)
{
  (void)state;
  make_two_branches(6);
  assert_ok(rig_say(&rig, "quantum", "2 bars"));
  assert_ok(rig_say(&rig, "replay/at", "2"));
  rig_run(&rig, BEAT);
  assert_ok(rig_say(&rig, "switch", "main"));
  rig_run(&rig, BAR - BEAT - 512);
  assert_string_equal(state_now().branch_name, "other");
  rig_run(&rig, 1024);
  assert_string_equal(state_now().branch_name, "main");
}

/** Two bars of four beats and four of three: bar 4 begins at beat 11. Heard from there
 * after the session was opened anew, its bars are those that were played. */
static void test_bars_are_counted_along_the_music(void** state)
{
  (void)state;
  const HrAttachment again = {.store = scratch_path("store.hr"), .tree = "#1", .branch = "#1"};
  record_beats(2, 60);
  rig.beats_per_bar = 3.0f;
  rig_transport(&rig, true, 2 * BAR);
  for (int i = 0; i < 12; ++i) {
    play_note((int64_t)i * BEAT, (uint8_t)(70 + i), BEAT / 2);
  }
  rig_run(&rig, 12 * BEAT);
  rig_close(&rig);
  assert_true(rig_open(&rig, &again));
  const HrValue at[2] = {hr_value_text("2"), hr_value_text("other")};
  assert_ok(rig_command(&rig, "fork/at", at, 2));
  assert_ok(rig_say(&rig, "switch", "main"));
  rig_run(&rig, 512);
  assert_ok(rig_say(&rig, "replay/at", "4"));
  rig_run(&rig, BEAT);
  assert_ok(rig_say(&rig, "switch", "other"));
  rig_run(&rig, 2 * BEAT - 512);
  assert_string_equal(state_now().branch_name, "main");
  rig_run(&rig, 1024);
  assert_string_equal(state_now().branch_name, "other");

  assert_ok(rig_say(&rig, "quantum", "now"));
  assert_ok(rig_say(&rig, "switch", "main"));
  rig_run(&rig, 512);
  assert_ok(rig_say(&rig, "replay/at", "4"));
  rig_run(&rig, 3 * BEAT + BEAT / 2);
  say_number("grab", 1);
  assert_true(state_now().loop_start == ticks(11) && state_now().loop_end == ticks(14));
}

/** A switch that waits while the host jumps waits for the next bar of there. */
static void test_a_jump_moves_the_line(void** state)
{
  (void)state;
  static const int64_t places[] = {BEAT, 2 * BAR + BEAT};
  roll_with_two_branches();
  for (int i = 0; i < 2; ++i) {
    rig_transport(&rig, true, BAR + BEAT);
    rig_run(&rig, BEAT / 2);
    assert_ok(rig_say(&rig, "switch", i ? "main" : "other"));
    rig_run(&rig, BEAT / 2);
    rig_transport(&rig, true, places[i]);
    rig_run(&rig, 2 * BEAT + BEAT / 2);
    assert_string_equal(state_now().branch_name, i ? "other" : "main");
    rig_run(&rig, BEAT);
    assert_string_equal(state_now().branch_name, i ? "main" : "other");
  }
}

/* ---- While the host stands --------------------------------------------------------- */

static void stand_and_play(const char* what)
{
  record_beats(2, 60);
  assert_ok(rig_say(&rig, "standing", what));
  rig_transport(&rig, false, BAR);
  rig_run(&rig, 512);
  play_note(0, 90, BEAT / 2);
  rig_run(&rig, BAR);
}

static void test_standing_appends(void** state)
{
  (void)state;
  stand_and_play("append");
  const Music music = music_of("main");
  assert_int_equal(music.count, 18);
  assert_int_equal(music.bytes[16][1], 90);
  assert_true(music.tick[16] == ticks(8)); // The bar line after the head
  assert_string_equal(state_now().branch_name, "main");
}

/** A branch that has just begun goes on where it began, be that within a bar. */
static void test_standing_appends_to_a_new_branch(void** state)
{
  (void)state;
  record_beats(2, 60);
  assert_ok(rig_say(&rig, "standing", "append"));
  rig_transport(&rig, true, 0);
  rig_run(&rig, 2 * BEAT + BEAT / 4 * 3);
  assert_ok(rig_say(&rig, "fork", "new"));
  rig_run(&rig, BEAT / 8);
  rig_transport(&rig, false, 0);
  rig_run(&rig, 512);
  play_note(0, 90, BEAT / 2);
  rig_run(&rig, BAR);
  const Music music = music_of("new");
  assert_int_equal(music.count, 8);
  assert_int_equal(music.bytes[6][1], 90);
  assert_true(music.tick[6] > ticks(2.5) && music.tick[6] < ticks(3));
}

/** Nor is the song heard on while somebody plays beside it. */
static void test_standing_hears_no_song(void** state)
{
  const RigEvent* ons[16];
  (void)state;
  record_beats(4, 60);
  say_number("follow", 1);
  rig_run(&rig, 512);
  rig_transport(&rig, true, 0);
  rig_run(&rig, BAR + BEAT / 2);
  rig_transport(&rig, false, rig.host_frame);
  rig_run(&rig, 512);
  rig.output_count = 0;
  play_note(0, 90, BEAT / 2);
  rig_run(&rig, 2 * BAR);
  assert_int_equal(note_ons(ons, 16), 1);
  assert_int_equal(ons[0]->bytes[1], 90);
}

static void test_standing_off(void** state)
{
  (void)state;
  rig.output_count = 0;
  stand_and_play("off");
  const RigEvent* ons[16];
  assert_int_equal(note_ons(ons, 16), 9); // Heard, not kept
  assert_int_equal(music_of("main").count, 16);
  assert_int_equal(state_now().branch, hr_branch_id(state_now().tree, 1));
}

/** Tell, while a branch is heard on the own clock at another tempo, that the host was moved to the
 * second beat. */
static void move_host_during_replay(void)
{
  record_beats(2, 60);
  rig_transport(&rig, false, BAR);
  rig_run(&rig, 512);
  assert_ok(rig_say(&rig, "quantum", "now"));
  assert_ok(rig_say(&rig, "replay/at", "1"));
  rig_run(&rig, BEAT / 2);
  rig.tempo = 90.0;
  rig_transport(&rig, false, 2 * RIG_RATE / 3);
  rig_run(&rig, 512);
}

/** What is played after the replay belongs to where the host stands now. */
static void test_moved_during_a_replay(void** state)
{
  (void)state;
  move_host_during_replay();
  assert_ok(rig_say(&rig, "stop", NULL));
  rig_run(&rig, 512);
  play_note(0, 90, BEAT / 2);
  rig_run(&rig, BEAT);
  const Music music = music_of(state_now().branch_name);
  assert_int_equal(music.bytes[4][1], 90);
  assert_true(music.tick[4] == ticks(1) + 1);
}

/** The host starts there: what is there is heard at once. */
static void test_started_during_a_replay(void** state)
{
  (void)state;
  move_host_during_replay();
  rig.output_count = 0;
  rig_transport(&rig, true, rig.host_frame);
  const int64_t begun = rig.now;
  rig_run(&rig, 512);
  const RigEvent* ons[16];
  assert_int_equal(note_ons(ons, 16), 1);
  assert_int_equal(ons[0]->bytes[1], 61);
  assert_true(ons[0]->frame == begun);
}

static void test_silences_as_wished(void** state)
{
  (void)state;
  say_number("silence", 0);
  play_note(0, 60, BEAT);
  play_note(10 * BAR, 61, BEAT);
  rig_run(&rig, 11 * BAR);
  assert_true(music_of("main").tick[2] == ticks(40)); // As long as it was
  say_number("silence", 5);
  play_note(2 * BAR, 62, BEAT);
  rig_run(&rig, 4 * BAR);
  assert_true(music_of("main").tick[4] == ticks(52));
  play_note(8 * BAR, 63, BEAT);
  rig_run(&rig, 9 * BAR);
  assert_true(music_of("main").tick[6] == ticks(56)); // On the bar line after the last note
}

/* ---- Tempo ------------------------------------------------------------------------- */

/** Recorded at one tempo and replayed at another: within half a frame of where its beat falls. */
static void replay_at(double tempo)
{
  rig_transport(&rig, true, 0);
  int64_t played[64];
  for (int i = 0; i < 64; ++i) {
    played[i] = i * 5987 + i * i; // On no beat
    rig_play(&rig, played[i], 0x90, (uint8_t)(20 + i), 100);
    rig_play(&rig, played[i] + 2500, 0x80, (uint8_t)(20 + i), 64);
  }
  rig_run(&rig, 64 * 6100 + 10000);
  rig_transport(&rig, false, 0);
  rig.tempo = tempo;
  rig_run(&rig, 512);
  say_number("follow", 1);
  rig_run(&rig, 512);
  rig.output_count = 0;
  const int64_t start = rig.now;
  rig_transport(&rig, true, 0);
  rig_run(&rig, (int64_t)(64 * 6300 * 120.0 / tempo));
  const RigEvent* ons[80];
  assert_int_equal(note_ons(ons, 80), 64);
  for (int i = 0; i < 64; ++i) {
    const double wanted = (double)played[i] * 120.0 / tempo;
    assert_true(fabs((double)(ons[i]->frame - start) - wanted) <= 0.5);
  }
}

static void test_slower(void** state)
{
  (void)state;
  replay_at(90.0);
}

static void test_faster(void** state)
{
  (void)state;
  replay_at(140.0);
}

/** A host at half speed and more: music at twice the length, on the frame. */
static void test_varispeed(void** state)
{
  (void)state;
  record_beats(2, 60);
  say_number("follow", 1);
  rig.speed = 0.5;
  rig_run(&rig, 512);
  rig.output_count = 0;
  const int64_t start = rig.now;
  rig_transport(&rig, true, 0);
  rig_run(&rig, 2 * BAR);
  rig.speed = 2.0; // Under way, in the middle of the first bar's last beat
  rig.tell = true;
  rig_run(&rig, BAR / 2);
  stop_host();
  const RigEvent* ons[16];
  assert_int_equal(note_ons(ons, 16), 8);
  for (int i = 0; i < 8; ++i) {
    const int64_t wanted = i < 4 ? 2 * i * BEAT : 2 * BAR + (i - 4) * BEAT / 2;
    assert_true(llabs(ons[i]->frame - start - wanted) <= 1);
  }
  assert_nothing_hangs(0);
}

/** Positions as of a host whose tempo ramps, a new one with each block, its
 * beats rounded as Ardour rounds them. */
static double roll_a_ramp(uint32_t block, double seconds, double from, double to)
{
  double beats = 0.0;
  const int64_t frames = (int64_t)(seconds * RIG_RATE);
  for (int64_t frame = 0; frame < frames; frame += block) {
    const double tempo = from + (to - from) * (double)frame / (double)frames;
    const double next = from + (to - from) * (double)(frame + block) / (double)frames;
    const double rounded = round(beats * 1920.0) / 1920.0;
    const HrPosition position = {.has = 0xff,
                                 .frame = frame,
                                 .speed = 1.0,
                                 .bar = (int64_t)floor(rounded / 4.0),
                                 .bar_beat = fmod(rounded, 4.0),
                                 .beat = rounded,
                                 .beats_per_bar = 4.0,
                                 .beat_unit = 4,
                                 .tempo = tempo};
    hr_engine_begin(rig.engine, block, true, (HrSink){rig_write, &rig});
    hr_engine_position(rig.engine, 0, &position);
    if (frame / block % 50 == 0) {
      const uint8_t on[3] = {0x90, 60, 100};
      const uint8_t off[3] = {0x80, 60, 64};
      hr_engine_midi(rig.engine, 0, on, 3);
      hr_engine_midi(rig.engine, 1, off, 3);
    }
    hr_engine_end(rig.engine);
    rig.now += block;
    if (hr_engine_wants_work(rig.engine, true)) {
      hr_session_work(rig.session);
    }
    beats += (tempo + next) / 2.0 / 60.0 * block / RIG_RATE;
  }
  return beats;
}

/** Where the tempo ramps, notes are kept within a millisecond of the host's
 * beats, in order, on one branch. */
static void test_a_tempo_ramp(void** state)
{
  (void)state;
  static const uint32_t blocks[] = {64, 1024};
  for (unsigned i = 0; i < 2; ++i) {
    const double beats = roll_a_ramp(blocks[i], 10.0, 90.0, 140.0);
    const HrTick position = atomic_load(&rig.engine->shared.position);
    const double off = (double)position / HR_TICKS_PER_QUARTER - beats;
    print_message("blocks of %u: %.2f ms off after the ramp\n", blocks[i],
                  fabs(off) / 140.0 * 60000.0);
    assert_true(fabs(off) < 0.001 / 60.0 * 140.0);
    const HrPosition stop = {.has = HR_HAS_SPEED | HR_HAS_FRAME, .speed = 0.0};
    hr_engine_begin(rig.engine, 64, true, (HrSink){rig_write, &rig});
    hr_engine_position(rig.engine, 0, &stop);
    hr_engine_end(rig.engine);
    if (!i) {
      const HrSessionState now = state_now();
      assert_string_equal(now.branch_name, "main");
      assert_int_equal(hr_branch_number(now.branch), 1);
    }
  }
}

/** On the own clock, at the host's tempo instead of the recorded one. */
static void test_whose_tempo(void** state)
{
  (void)state;
  record_beats(2, 60);
  rig.tempo = 60.0;
  stop_host();
  for (int host = 0; host < 2; ++host) {
    assert_ok(rig_say(&rig, "tempo/source", host ? "host" : "recorded"));
    rig.output_count = 0;
    const int64_t start = rig.now;
    assert_ok(rig_say(&rig, "replay", NULL));
    rig_run(&rig, (host ? 2 : 1) * 2 * BAR + 512);
    const RigEvent* ons[16];
    assert_int_equal(note_ons(ons, 16), 8);
    for (int i = 0; i < 8; ++i) {
      assert_int_equal(ons[i]->frame - start, (host ? 2 : 1) * i * BEAT);
    }
    rig_run(&rig, BAR);
  }
}

/* ---- System exclusive -------------------------------------------------------------- */

static void test_long_messages(void** state)
{
  (void)state;
  static uint8_t bytes[65536];
  const HrTick wanted = ticks(1);
  memset(bytes, 0x55, sizeof bytes);
  bytes[0] = 0xf0;
  bytes[sizeof bytes - 1] = 0xf7;
  play_note(0, 60, BEAT / 2);
  rig_run(&rig, BEAT);
  play_message(bytes, sizeof bytes);
  rig_run(&rig, 6 * BAR);
  const Music music = music_of("main");
  assert_int_equal(music.count, 3);
  assert_true(music.tick[2] == wanted);
  rig.output_count = 0;
  const int64_t start = rig.now;
  assert_ok(rig_say(&rig, "replay", NULL));
  rig_run(&rig, BAR);
  assert_int_equal(rig.output_count, 3);
  assert_int_equal(rig.output[2].size, sizeof bytes);
  assert_int_equal(rig.output[2].frame - start, BEAT);
  assert_int_equal(state_now().unheard, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(test_a_late_tap_means_the_bar_just_passed),
      TEST(test_every_so_many_bars),
      TEST(test_every_so_many_bars_of_a_replay),
      TEST(test_a_jump_moves_the_line),
      TEST(test_bars_are_counted_along_the_music),
      TEST(test_standing_appends),
      TEST(test_standing_appends_to_a_new_branch),
      TEST(test_standing_hears_no_song),
      TEST(test_standing_off),
      TEST(test_moved_during_a_replay),
      TEST(test_started_during_a_replay),
      TEST(test_silences_as_wished),
      TEST(test_slower),
      TEST(test_faster),
      TEST(test_varispeed),
      TEST(test_a_tempo_ramp),
      TEST(test_whose_tempo),
      TEST(test_long_messages),

  };
  return cmocka_run_group_tests_name("musical time", tests, NULL, NULL);
}
