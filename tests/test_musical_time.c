/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Loops, tempo, bars: that music comes where its beat falls, whatever the
 * clock does. */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/rig_music.h"

static void stop_host(void)
{
  rig_transport(&rig, false, 0);
  rig_run(&rig, 512);
}

/** A note on each beat of `bars` bars, along a rolling host, from frame 0. */
static void record_beats(int bars, uint8_t first_key)
{
  rig_transport(&rig, true, 0);
  for (int i = 0; i < bars * 4; ++i) {
    play_note((int64_t)i * BEAT, (uint8_t)(first_key + i), BEAT / 2);
  }
  rig_run(&rig, (int64_t)bars * BAR);
  stop_host();
}

static void say_number(const char* verb, int64_t number)
{
  const HrValue value = hr_value_integer(number);
  assert_ok(rig_command(&rig, verb, &value, 1));
}

/** The note-ons that came out since the output was emptied. */
static size_t note_ons(const RigEvent* ons[], size_t room)
{
  size_t count = 0;
  for (size_t i = 0; i < rig.output_count && count < room; ++i) {
    if ((rig.output[i].bytes[0] & 0xf0) == 0x90) {
      ons[count++] = &rig.output[i];
    }
  }
  return count;
}

static void assert_notes(int64_t start, const uint8_t* keys, size_t count)
{
  const RigEvent* ons[256];
  assert_int_equal(note_ons(ons, 256), count);
  for (size_t i = 0; i < count; ++i) {
    assert_int_equal(ons[i]->frame - start, (int64_t)i * BEAT);
    assert_int_equal(ons[i]->bytes[1], keys[i]);
  }
}

/* ---- Loops ---------------------------------------------------------------------- */

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
  assert_false(state_now().loop);
}

/* ---- When switches happen --------------------------------------------------------- */

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

/* ---- While the host stands ----------------------------------------------------------- */

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

/* ---- Tempo ------------------------------------------------------------------------ */

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

/* ---- The host's tempo and meter, where the branch knows none ------------------------- */

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

/* ---- Whose bars, on the own clock --------------------------------------------------- */

/** Beats from now on, and a pause, after which the clock waits on a bar line. */
static void jam(int beats)
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
  jam(3);
  rig.beats_per_bar = 4.0f;
  rig_transport(&rig, false, 0);
  jam(4);
}

static void test_bars_from_a_change_of_meter_on(void** state)
{
  (void)state;
  jam_in_two_meters();
  jam(1);
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
  jam(3);
  jam(1);
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
  jam(4);
  jam(1);
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
  jam(1);
  assert_true(tick_of_last("main") == ticks(16));
  jam(1);
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
  jam(1);
  assert_true(tick_of_last("main") == ticks(16));
  assert_ok(rig_say(&rig, "replay/at", "1"));
  rig_run(&rig, BEAT);
  assert_ok(rig_say(&rig, "stop", NULL));
  rig_run(&rig, 512);
  jam(1);
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
  jam(1);
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

/* ---- System exclusive ---------------------------------------------------------------- */

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
  hr_engine_begin(rig.engine, 64, true, (HrSink){rig_write, &rig});
  hr_engine_midi(rig.engine, 0, bytes, sizeof bytes);
  hr_engine_end(rig.engine);
  rig.now += 64;
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

/* ---- The sound of what was played ----------------------------------------------- */

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
  hr_engine_begin(rig.engine, 64, true, (HrSink){rig_write, &rig});
  hr_engine_midi(rig.engine, 0, bytes, sizeof bytes);
  hr_engine_end(rig.engine);
  rig.now += 64;
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(test_a_host_s_loop_is_exact),
      TEST(test_a_loop_along_a_rolling_host),
      TEST(test_playing_over_a_loop),
      TEST(test_overdubbing_a_loop),
      TEST(test_overdubbing_a_short_loop),
      TEST(test_grab),
      TEST(test_grab_while_rolling),
      TEST(test_nothing_to_grab),
      TEST(test_a_late_tap_means_the_bar_just_passed),
      TEST(test_every_so_many_bars),
      TEST(test_bars_are_counted_along_the_music),
      TEST(test_standing_appends),
      TEST(test_standing_off),
      TEST(test_silences_as_wished),
      TEST(test_slower),
      TEST(test_faster),
      TEST(test_varispeed),
      TEST(test_a_tempo_ramp),
      TEST(test_whose_tempo),
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
      TEST(test_long_messages),
      TEST(test_a_pass_sounds_as_played),
      TEST(test_a_pass_sounds_as_played_without_thru),
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
