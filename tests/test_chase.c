/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Chasing, as synthesizers hear it: of those that take what MIDI leaves open in one way, and in
 * the other. */

#include "plugin/sounding.h"
#include "store/chase.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void follow(void* data, const uint8_t* bytes, uint32_t size)
{
  hr_chase_follow(data, bytes, size);
}

/** A synthesizer's idea of controllers that have two halves. */
typedef struct {
  bool resets; ///< A coarse half sets the fine one to 0, as MIDI 1.0 wants; many do not
  uint8_t controllers[64];
  uint8_t bank[2];   ///< With which the program was chosen
  uint8_t number[2]; ///< Of the registered parameter that is selected
  uint8_t parameters[2][2];
} Receiver;

static void receive(void* data, const uint8_t* bytes, uint32_t size)
{
  Receiver* const receiver = data;
  const uint8_t number = bytes[1];
  if (size == 2) {
    receiver->bank[0] = receiver->controllers[0];
    receiver->bank[1] = receiver->controllers[32];
  } else if (number == 100 || number == 101) {
    receiver->number[number - 100] = bytes[2];
  } else if (number == 6 || number == 38) {
    uint8_t* const halves = receiver->parameters[receiver->number[0] % 2];
    halves[number == 38] = bytes[2];
    halves[1] = number == 6 && receiver->resets ? 0 : halves[1];
  } else if (number < 64) {
    receiver->controllers[number] = bytes[2];
    if (number < 32 && receiver->resets) {
      receiver->controllers[number + 32] = 0;
    }
  }
}

/** A message to a receiver, of few kinds. */
static uint32_t random_half(uint8_t bytes[3])
{
  static const uint8_t numbers[] = {0, 32, 1, 33, 7, 39, 6, 38};
  bytes[0] = rand() % 12 ? 0xb0 : 0xc0;
  bytes[1] = bytes[0] == 0xc0 ? (uint8_t)(rand() % 2) : numbers[(size_t)rand() % sizeof numbers];
  bytes[2] = (uint8_t)(rand() % 3);
  return bytes[0] == 0xc0 ? 2 : 3;
}

/** Let a synthesizer, and what follows its state, hear music that sets all. */
static void hear_halves(HrChase* chase, Receiver* receiver)
{
  static const uint8_t whole[][3] = {{0xb0, 0, 0},   {0xb0, 32, 0}, {0xc0, 0, 0},  {0xb0, 1, 0},
                                     {0xb0, 33, 0},  {0xb0, 7, 0},  {0xb0, 39, 0}, {0xb0, 101, 0},
                                     {0xb0, 100, 1}, {0xb0, 6, 0},  {0xb0, 38, 0}, {0xb0, 100, 0},
                                     {0xb0, 6, 0},   {0xb0, 38, 0}};
  uint8_t bytes[3];
  hr_chase_init(chase);
  for (size_t i = 0; i < sizeof whole / sizeof *whole; ++i) {
    const uint32_t size = whole[i][0] == 0xc0 ? 2 : 3;
    hr_chase_follow(chase, whole[i], size);
    receive(receiver, whole[i], size);
  }
  for (int k = rand() % 12; k > 0; --k) {
    const uint32_t size = random_half(bytes);
    hr_chase_follow(chase, bytes, size);
    receive(receiver, bytes, size);
  }
}

/** Both halves of a value are what they were, in whichever way a synthesizer takes them. */
static void test_both_halves_are_sent(void** state)
{
  (void)state;
  static HrChase have, want;
  srand(7);
  for (int i = 0; i < 20000; ++i) {
    Receiver heard = {.resets = i % 2}, chased = {.resets = i % 2};
    hear_halves(&want, &heard);
    hear_halves(&have, &chased);
    hr_chase_send(&have, &want, receive, &chased);
    assert_memory_equal(chased.controllers, heard.controllers, 64);
    assert_memory_equal(chased.bank, heard.bank, 2);
    assert_memory_equal(chased.parameters, heard.parameters, sizeof heard.parameters);
  }
}

/** Sliders may send the numbers of data entry: they are theirs while no parameter is selected. */
static void test_data_without_a_parameter_is_a_slider(void** state)
{
  (void)state;
  static const uint8_t slider[] = {0xb0, 6, 70}, button[] = {0xb0, 38, 127};
  static const uint8_t bend_range[][3] = {{0xb0, 101, 0}, {0xb0, 100, 0}, {0xb0, 6, 12}};
  static HrChase want, have;
  hr_chase_init(&want);
  hr_chase_init(&have);
  hr_chase_follow(&want, slider, sizeof slider);
  hr_chase_follow(&want, button, sizeof button);
  hr_chase_send(&have, &want, follow, &have);
  assert_int_equal(have.channels[0].controllers[6], 70);
  assert_int_equal(have.channels[0].controllers[38], 127);
  assert_int_equal(have.channels[0].parameter_count, 0);

  hr_chase_init(&have);
  for (int i = 0; i < 3; ++i) {
    hr_chase_follow(&have, bend_range[i], 3);
  }
  assert_int_equal(have.channels[0].controllers[6], HR_CHASE_UNSET);
  hr_chase_send(&have, &want, follow, &have);
  assert_int_equal(have.channels[0].controllers[6], 70);
  assert_int_equal(have.channels[0].parameters[0].msb, 12);

  hr_chase_init(&want); // Nothing is wanted of data, and nothing is sent
  hr_chase_follow(&have, slider, sizeof slider);
  hr_chase_follow(&have, bend_range[0], 3);
  hr_chase_follow(&have, bend_range[1], 3);
  hr_chase_send(&have, &want, follow, &have);
  assert_int_equal(have.channels[0].selected, 0);
}

/** Steps from a value that is not known take no room from parameters that have one. */
static void test_a_step_from_the_unknown_is_none(void** state)
{
  (void)state;
  static const uint8_t up[] = {0xb0, 96, 0}, value[] = {0xb0, 6, 5};
  static HrChase chase;
  hr_chase_init(&chase);
  follow(&chase, (const uint8_t[]){0xb0, 99, 1}, 3);
  for (uint8_t i = 0; i < HR_CHASE_PARAMETERS; ++i) {
    follow(&chase, (const uint8_t[]){0xb0, 98, i}, 3);
    follow(&chase, up, sizeof up);
  }
  follow(&chase, (const uint8_t[]){0xb0, 98, 100}, 3);
  follow(&chase, value, sizeof value);
  follow(&chase, up, sizeof up);
  assert_int_equal(chase.channels[0].parameter_count, 1);
  assert_int_equal(chase.channels[0].parameters[0].msb, 5);
  assert_int_equal(chase.channels[0].parameters[0].lsb, 1);
}

/** Keys and pedal of a synthesizer with sostenuto. */
typedef struct {
  bool down, held[128], caught[128];
} Sostenuto;

static void press(void* data, const uint8_t* bytes, uint32_t size)
{
  Sostenuto* const keys = data;
  const bool pedal = (bytes[0] & 0xf0) == 0xb0 && bytes[1] == 66;
  assert_int_equal(size, 3);
  if ((bytes[0] & 0xf0) == 0x90) {
    keys->held[bytes[1]] = bytes[2];
    keys->caught[bytes[1]] = false;
  }
  for (int key = 0; pedal && key < 128; ++key) {
    keys->caught[key] = bytes[2] >= 64 && (keys->down ? keys->caught[key] : keys->held[key]);
  }
  keys->down = pedal ? bytes[2] >= 64 : keys->down;
}

/** The sostenuto pedal holds the notes that it held, and no others. */
static void test_sostenuto_holds_what_it_held(void** state)
{
  (void)state;
  static HrChase none, want;
  srand(5);
  hr_chase_init(&none);
  for (int i = 0; i < 2000; ++i) {
    Sostenuto played = {0}, chased = {0};
    hr_chase_init(&want);
    for (int k = rand() % 30; k > 0; --k) {
      const bool pedal = rand() % 4 == 0;
      const uint8_t bytes[3] = {pedal ? 0xb0 : 0x90, pedal ? 66 : (uint8_t)(60 + rand() % 8),
                                (uint8_t)(rand() % 2 * 100)};
      hr_chase_follow(&want, bytes, sizeof bytes);
      press(&played, bytes, sizeof bytes);
    }
    hr_chase_send(&none, &want, press, &chased);
    assert_int_equal(chased.down, played.down);
    for (int key = 0; key < 128; ++key) {
      assert_int_equal(chased.held[key], played.held[key]);
      assert_int_equal(chased.caught[key], played.caught[key] && played.held[key]);
    }
  }
}

/* ---- What sounds -------------------------------------------------------------------- */

/** A message, and the one that ends what it begins; no status if it begins nothing. */
static const struct {
  uint8_t bytes[3], end[3];
} begun[] = {
    {{0x93, 60, 1}, {0x83, 60, 64}},
    {{0x93, 60, 0}, {0}},
    {{0xb3, 64, 64}, {0xb3, 64, 0}},
    {{0xb3, 64, 63}, {0}},
    {{0xb3, 66, 64}, {0xb3, 66, 0}},
    {{0xb3, 69, 64}, {0xb3, 69, 0}},
    {{0xb3, 67, 127}, {0}},
    {{0xe3, 1, 0x40}, {0xe3, 0, 0x40}},
    {{0xe3, 0, 0x41}, {0xe3, 0, 0x40}},
    {{0xe3, 0, 0x3f}, {0xe3, 0, 0x40}},
    {{0xe3, 0, 0x40}, {0}},
};

static void assert_ends(HrSounding* sounding, const uint8_t end[3])
{
  uint8_t bytes[3];
  assert_int_equal(hr_sounding_any(sounding), end[0] != 0);
  assert_int_equal(hr_sounding_release(sounding, bytes), end[0] != 0);
  if (end[0]) {
    assert_memory_equal(bytes, end, 3);
  }
  assert_false(hr_sounding_any(sounding));
}

/** What a message begins is ended, whether it was followed or is part of a state. */
static void test_what_is_begun_is_ended(void** state)
{
  (void)state;
  static HrSounding sounding;
  static HrChase chase;
  for (size_t i = 0; i < sizeof begun / sizeof *begun; ++i) {
    sounding = (HrSounding){0};
    hr_sounding_follow(&sounding, begun[i].bytes, 3);
    assert_ends(&sounding, begun[i].end);
    hr_chase_init(&chase);
    hr_chase_follow(&chase, begun[i].bytes, 3);
    hr_sounding_of(&chase, &sounding);
    assert_ends(&sounding, begun[i].end);
  }
}

/** A reset takes back the bender, the sustain and the sostenuto pedal, and of its channel only. */
static void test_a_reset_leaves_hold_2(void** state)
{
  (void)state;
  static HrSounding sounding;
  static const uint8_t down[][3] = {
      {0xb3, 64, 127}, {0xb3, 66, 127}, {0xe3, 0, 0}, {0xb3, 69, 127}};
  for (size_t i = 0; i < sizeof down / sizeof *down; ++i) {
    sounding = (HrSounding){0};
    hr_sounding_follow(&sounding, down[i], 3);
    assert_false(hr_sounding_follow(&sounding, (const uint8_t[]){0xb4, 121, 0}, 3));
    assert_int_equal(hr_sounding_follow(&sounding, (const uint8_t[]){0xb3, 121, 0}, 3), i < 3);
    assert_int_equal(hr_sounding_any(&sounding), i == 3);
  }
}

static void test_kinds_of_messages(void** state)
{
  (void)state;
  static const struct {
    uint8_t bytes[3];
    HrSoundKind kind;
  } kinds[] = {{{0x90, 60, 1}, HR_SOUND_START},    {{0x90, 60, 0}, HR_SOUND_RELEASE},
               {{0x80, 60, 64}, HR_SOUND_RELEASE}, {{0xb0, 64, 64}, HR_SOUND_START},
               {{0xb0, 64, 63}, HR_SOUND_RELEASE}, {{0xb0, 119, 0}, HR_SOUND_OTHER},
               {{0xb0, 120, 0}, HR_SOUND_RELEASE}, {{0xb0, 123, 0}, HR_SOUND_RELEASE},
               {{0xe0, 0, 64}, HR_SOUND_OTHER}};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i) {
    assert_int_equal(hr_sound_kind(kinds[i].bytes, 3), kinds[i].kind);
  }
  assert_int_equal(hr_sound_kind(kinds[0].bytes, 2), HR_SOUND_OTHER);
}

/** Of each status, messages of as many bytes as it takes are whole, and no others. */
static void test_whole_messages(void** state)
{
  (void)state;
  static const uint8_t channel[] = {3, 3, 3, 3, 2, 2, 3};
  static const uint8_t system[] = {2, 2, 3, 2, 0, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 1}; // F0 F7
  for (unsigned status = 0; status < 0x100; ++status) {
    const uint8_t whole = status < 0x80   ? 0
                          : status < 0xf0 ? channel[(status >> 4) - 8]
                                          : system[status & 15];
    for (uint32_t size = 1; size <= 4; ++size) {
      uint8_t bytes[4] = {(uint8_t)status, 0x7f, 0x7f, 0x7f};
      if (status == 0xf0) {
        bytes[size - 1] = size == 1 ? 0xf0 : 0xf7;
      }
      const bool expected = status == 0xf0 ? size > 1 : size == whole;
      assert_int_equal(hr_midi_valid(bytes, size), expected);
      for (uint32_t i = 1; i + (status == 0xf0) < size; ++i) {
        bytes[i] = 0x80; // No data
        assert_false(hr_midi_valid(bytes, size));
        bytes[i] = 0x7f;
      }
    }
  }
  assert_false(hr_midi_valid((const uint8_t[]){0xf0, 1, 2}, 3));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_both_halves_are_sent),
      cmocka_unit_test(test_data_without_a_parameter_is_a_slider),
      cmocka_unit_test(test_a_step_from_the_unknown_is_none),
      cmocka_unit_test(test_sostenuto_holds_what_it_held),
      cmocka_unit_test(test_what_is_begun_is_ended),
      cmocka_unit_test(test_a_reset_leaves_hold_2),
      cmocka_unit_test(test_kinds_of_messages),
      cmocka_unit_test(test_whole_messages),
  };
  return cmocka_run_group_tests_name("chase", tests, NULL, NULL);
}
