/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file rig_commands.h
 * What tests that give commands on a rig share: commands and their answers, and
 * music to give them about. For cmocka programs, after cmocka.h. */

#ifndef HR_TESTS_RIG_COMMANDS_H
#define HR_TESTS_RIG_COMMANDS_H

#include "tests/rig_music.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* ---- Commands -------------------------------------------------------------------- */

enum { ROWS_SIZE = 65536 };
static char rows[ROWS_SIZE]; ///< The last answer: a line a row, "|" around each value

static inline void keep_row(void* data, const HrValue* values, size_t count)
{
  (void)data;
  size_t used = strlen(rows);
  for (size_t i = 0; i < count; ++i) {
    const HrValue* const value = &values[i];
    if (value->type == HR_VALUE_TEXT) {
      snprintf(rows + used, ROWS_SIZE - used, "|%s", value->text);
    } else if (value->type == HR_VALUE_NUMBER) {
      snprintf(rows + used, ROWS_SIZE - used, "|%g", value->number);
    } else {
      snprintf(rows + used, ROWS_SIZE - used, "|%lld", (long long)value->integer);
    }
    used = strlen(rows);
  }
  snprintf(rows + used, ROWS_SIZE - used, "|\n");
}

/** Run a command with text arguments, as somebody, and let the engine hear of it. */
static inline HrStatus command_by(const char* author, const char* verb, const char* first,
                                  const char* second, const char* third)
{
  const HrValue values[3] = {hr_value_text(first), hr_value_text(second), hr_value_text(third)};
  const HrAnswer answer = {keep_row, NULL};
  HrError error = {HR_OK, ""};
  rows[0] = '\0';
  const HrStatus status = hr_command_run(rig.session, verb, values,
                                         third    ? 3
                                         : second ? 2
                                         : first  ? 1
                                                  : 0,
                                         author, &answer, &error);
  snprintf(rig.error, sizeof rig.error, "%s", error.text);
  return status;
}

static inline HrStatus say(const char* verb, const char* first, const char* second,
                           const char* third)
{
  const HrStatus status = command_by("test", verb, first, second, third);
  rig_run(&rig, rig.block);
  return status;
}

static inline void say_number(const char* verb, int64_t number)
{
  const HrValue value = hr_value_integer(number);
  assert_ok(rig_command(&rig, verb, &value, 1));
}

static inline void assert_branch(const char* name)
{
  assert_string_equal(state_now().branch_name, name);
}

/** Take back, or do again, what is an `operation`, which leads to `branch`. */
static inline void assert_step(const char* verb, const char* operation, const char* branch)
{
  char begin[64], end[160];
  assert_ok(say(verb, NULL, NULL, NULL));
  snprintf(begin, sizeof begin, "|%s|", operation);
  snprintf(end, sizeof end, "|%s|\n", branch);
  assert_memory_equal(rows, begin, strlen(begin));
  assert_non_null(strstr(rows, end));
  assert_branch(branch);
}

static inline void assert_nothing_to(const char* verb)
{
  char sentence[64];
  const HrSessionState before = state_now();
  snprintf(sentence, sizeof sentence, "There is nothing to %s.", verb);
  assert_int_equal(say(verb, NULL, NULL, NULL), HR_ERR_NOT_FOUND);
  assert_string_equal(rig.error, sentence);
  assert_int_equal(state_now().branch, before.branch);
}

/** The line of the last answer that has `value` in it; NULL if there is none. */
static inline const char* row_with(const char* value)
{
  static char line[1024];
  char wanted[160];
  snprintf(wanted, sizeof wanted, "|%s|", value);
  const char* const found = strstr(rows, wanted);
  if (!found) {
    return NULL;
  }
  const char* begin = found;
  while (begin > rows && begin[-1] != '\n') {
    --begin;
  }
  snprintf(line, sizeof line, "%.*s", (int)strcspn(begin, "\n"), begin);
  return line;
}

static inline bool is_visible(const char* branch)
{
  state_now();
  assert_ok(command_by("test", "list", NULL, NULL, NULL));
  const char* const line = row_with(branch);
  assert_non_null(line);
  return strstr(line, "|active|") != NULL;
}

static inline bool has_mark(const char* name)
{
  assert_ok(command_by("test", "marks", NULL, NULL, NULL));
  return row_with(name) != NULL;
}

/** How often the journal tells of an operation. */
static inline int count_in_log(const char* operation)
{
  char wanted[64];
  int count = 0;
  state_now();
  assert_ok(command_by("test", "log", NULL, NULL, NULL));
  snprintf(wanted, sizeof wanted, "|%s|", operation);
  for (const char* at = rows; (at = strstr(at, wanted)); ++at) {
    ++count;
  }
  return count;
}

/** What the journal tells last. */
static inline const char* last_in_log(void)
{
  state_now();
  assert_ok(command_by("test", "log", NULL, NULL, NULL));
  char* const end = strrchr(rows, '\n');
  *end = '\0';
  const char* const last = strrchr(rows, '\n');
  return last ? last + 1 : rows;
}

/* ---- Music ----------------------------------------------------------------------- */

static inline void stop_host(void)
{
  rig_transport(&rig, false, 0);
  rig_run(&rig, 512);
}

/** A note on each beat of `bars` bars, along a rolling host, from the start. */
static inline void record_beats(int bars, uint8_t first_key)
{
  rig_transport(&rig, true, 0);
  for (int i = 0; i < bars * 4; ++i) {
    play_note((int64_t)i * BEAT, (uint8_t)(first_key + i), BEAT / 2);
  }
  rig_run(&rig, (int64_t)bars * BAR);
  stop_host();
}

/** Notes on beats, with no host. */
static inline void jam(int beats, uint8_t first_key)
{
  for (int i = 0; i < beats; ++i) {
    play_note(i * BEAT, (uint8_t)(first_key + i), BEAT / 2);
  }
  rig_run(&rig, beats * BEAT);
}

/** Long enough for the own clock to stop: then a switch happens at once. */
static inline void rest(void)
{
  rig_run(&rig, 12 * BAR);
}

/** "main" with keys from 60 and "other" with keys from 80, both from the start. */
static inline void make_two_branches(int bars)
{
  record_beats(bars, 60);
  assert_ok(say("fork/at", "1", "other", NULL));
  record_beats(bars, 80);
  assert_branch("other");
}

/** The note-ons that came out since the output was emptied. */
static inline size_t note_ons(const RigEvent* ons[], size_t room)
{
  size_t count = 0;
  for (size_t i = 0; i < rig.output_count && count < room; ++i) {
    if ((rig.output[i].bytes[0] & 0xf0) == 0x90) {
      ons[count++] = &rig.output[i];
    }
  }
  return count;
}

static inline void assert_loop(HrTick start, HrTick end)
{
  const HrSessionState now = state_now();
  assert_true(now.loop);
  assert_true(now.loop_start == start);
  assert_true(now.loop_end == end);
}

#endif
