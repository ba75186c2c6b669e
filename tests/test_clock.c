/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/clock.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static const double rates[] = {22050, 44100, 48000, 88200, 96000, 176400, 192000};
static const double tempos[] = {20, 33.3, 60, 97.123, 120, 128, 199.99, 300};

#define COUNT(array) (sizeof(array) / sizeof *(array))

/** What store.h promises of the tick. */
static void test_frames_come_back_exactly(void** state)
{
  (void)state;
  for (size_t r = 0; r < COUNT(rates); ++r) {
    for (size_t t = 0; t < COUNT(tempos); ++t) {
      HrClock clock;
      hr_clock_init(&clock, rates[r]);
      hr_clock_set_tempo(&clock, 0, 0, &(HrTempo){tempos[t], 4, 4});
      hr_clock_set(&clock, 1000, 77, true);
      for (int64_t frame = 1000; frame < 2000000000; frame += 1 + frame / 50) {
        assert_true(hr_clock_frame(&clock, hr_clock_tick(&clock, frame)) == frame);
      }
    }
  }
}

static HrPosition rolling_at(int64_t frame, double tempo)
{
  return (HrPosition){.has = HR_HAS_FRAME | HR_HAS_SPEED | HR_HAS_TEMPO | HR_HAS_BEATS_PER_BAR |
                             HR_HAS_BEAT_UNIT,
                      .frame = frame,
                      .speed = 1.0,
                      .tempo = tempo,
                      .beats_per_bar = 4.0,
                      .beat_unit = 4};
}

/** The same host frame gives the same tick, wherever the roll began and
 * however often the host repeats itself, rounding its beats as it does. */
static void test_a_place_is_a_place(void** state)
{
  (void)state;
  const double tempo = 97.123;
  HrClock first, second;
  hr_clock_init(&first, 48000);
  hr_clock_init(&second, 48000);
  HrPosition p = rolling_at(0, tempo);
  hr_clock_host(&first, 500, &p);
  p = rolling_at(123457, tempo);
  assert_int_equal(hr_clock_host(&second, 9000, &p), HR_CLOCK_STARTED | HR_CLOCK_TEMPO);
  for (int64_t frame = 123457; frame < 500000; frame += 1023) {
    HrPosition told = rolling_at(frame, tempo);
    const double beats = (double)frame * tempo / 60.0 / 48000.0;
    told.has |= HR_HAS_BAR | HR_HAS_BAR_BEAT;
    told.bar = (int64_t)(beats / 4);
    told.bar_beat = (double)(float)(floor((beats - (double)told.bar * 4) * 1920.0) / 1920.0);
    assert_int_equal(hr_clock_host(&second, frame - 123457 + 9000, &told), 0);
    assert_true(hr_clock_tick(&first, frame + 500) ==
                hr_clock_tick(&second, frame - 123457 + 9000));
  }
}

static void test_tempo_changes_go_on_from_where_they_are(void** state)
{
  (void)state;
  HrClock clock;
  hr_clock_init(&clock, 48000);
  HrPosition p = rolling_at(0, 120);
  hr_clock_host(&clock, 0, &p);
  assert_true(hr_clock_tick(&clock, 48000) == 2 * HR_TICKS_PER_QUARTER);
  p = rolling_at(48000, 60);
  assert_int_equal(hr_clock_host(&clock, 48000, &p), HR_CLOCK_TEMPO);
  assert_true(hr_clock_tick(&clock, 48000) == 2 * HR_TICKS_PER_QUARTER);
  assert_true(hr_clock_tick(&clock, 96000) == 3 * HR_TICKS_PER_QUARTER);
  /* Back into the slow part, and into the fast one: both are known by now. */
  p = rolling_at(72000, 60);
  assert_int_equal(hr_clock_host(&clock, 200000, &p), HR_CLOCK_LOCATED);
  assert_true(hr_clock_tick(&clock, 200000) == 5 * HR_TICKS_PER_QUARTER / 2);
  p = rolling_at(24000, 120);
  assert_int_equal(hr_clock_host(&clock, 300000, &p), HR_CLOCK_LOCATED | HR_CLOCK_TEMPO);
  assert_true(hr_clock_tick(&clock, 300000) == HR_TICKS_PER_QUARTER);
}

static void test_bars_are_believed_where_frames_cannot_know(void** state)
{
  (void)state;
  HrClock clock;
  hr_clock_init(&clock, 48000);
  HrPosition p = rolling_at(1000000, 90); // After changes that we never saw
  p.has |= HR_HAS_BAR | HR_HAS_BAR_BEAT;
  p.bar = 7;
  p.bar_beat = 2.5;
  hr_clock_host(&clock, 0, &p);
  assert_true(hr_clock_tick(&clock, 0) == (HrTick)(30.5 * HR_TICKS_PER_QUARTER));
  assert_true(clock.bar_tick % hr_tempo_bar_length(&clock.tempo) == 0);
  p.beat_unit = 8; // Tempo counts eighths then
  p.frame = 1000512;
  hr_clock_host(&clock, 512, &p);
  assert_true(clock.tempo.tempo == 45.0);
}

static void test_stops_pre_roll_and_speed(void** state)
{
  (void)state;
  HrClock clock;
  hr_clock_init(&clock, 48000);
  HrPosition p = rolling_at(-1008, 120);
  hr_clock_host(&clock, 0, &p);
  assert_true(hr_clock_tick(&clock, 0) < 0);
  assert_true(hr_clock_tick(&clock, 1008) == 0);
  p = rolling_at(24000 - 1008, 120);
  p.speed = 0.0;
  assert_true(hr_clock_host(&clock, 24000, &p) & HR_CLOCK_STOPPED);
  assert_false(clock.running);
  const HrTick stopped = hr_clock_tick(&clock, 24000);
  assert_true(hr_clock_tick(&clock, 90000) == stopped);
  p = rolling_at(0, 120);
  p.speed = 0.5;
  assert_int_equal(hr_clock_host(&clock, 100000, &p), HR_CLOCK_STARTED);
  assert_true(hr_clock_tick(&clock, 148000) == HR_TICKS_PER_QUARTER);
  p.speed = -1.0; // Backwards is no music that can be kept
  assert_int_equal(hr_clock_host(&clock, 148000, &p) & HR_CLOCK_STOPPED, HR_CLOCK_STOPPED);
}

static void test_nonsense_is_ignored(void** state)
{
  (void)state;
  HrClock clock;
  hr_clock_init(&clock, 48000);
  HrPosition p = rolling_at(0, -5);
  p.beats_per_bar = 0.0;
  p.beat_unit = 0;
  hr_clock_host(&clock, 0, &p);
  assert_true(clock.tempo.tempo == 120.0);
  assert_int_equal(clock.tempo.beats_per_bar, 4);
  assert_int_equal(clock.tempo.beat_unit, 4);
  assert_true(hr_clock_tick(&clock, 24000) == HR_TICKS_PER_QUARTER);
}

/** A transport that all but stands comes to a later tick later, not at once. */
static void test_a_crawling_host(void** state)
{
  (void)state;
  for (double speed = 1.0; speed > 1e-15; speed /= 10.0) {
    HrClock clock;
    hr_clock_init(&clock, 48000);
    HrPosition p = rolling_at(0, 120);
    p.speed = speed;
    hr_clock_host(&clock, 1000, &p);
    assert_true(hr_clock_frame(&clock, (HrTick)1 << 55) > 1000);
    assert_true(hr_clock_frame(&clock, -((HrTick)1 << 55)) < 1000);
  }
}

static void test_grid(void** state)
{
  (void)state;
  assert_true(hr_grid_ceiling(0, 0, 10) == 0);
  assert_true(hr_grid_ceiling(1, 0, 10) == 10);
  assert_true(hr_grid_ceiling(-1, 0, 10) == 0);
  assert_true(hr_grid_ceiling(-11, 0, 10) == -10);
  assert_true(hr_grid_ceiling(14, 3, 10) == 23);
  assert_true(hr_grid_ceiling(13, 3, 10) == 13);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_frames_come_back_exactly),
      cmocka_unit_test(test_a_place_is_a_place),
      cmocka_unit_test(test_tempo_changes_go_on_from_where_they_are),
      cmocka_unit_test(test_bars_are_believed_where_frames_cannot_know),
      cmocka_unit_test(test_stops_pre_roll_and_speed),
      cmocka_unit_test(test_nonsense_is_ignored),
      cmocka_unit_test(test_a_crawling_host),
      cmocka_unit_test(test_grid),
  };
  return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
