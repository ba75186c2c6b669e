/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What a program or person beside the player does by commands: says things of
 * the music, plays messages into it, forks in the past, asks. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/rig_music.h"

static char rows[65536]; ///< The last answer: a line a row, "|" around each value

static void keep_row(void* data, const HrValue* values, size_t count)
{
  (void)data;
  size_t used = strlen(rows);
  for (size_t i = 0; i < count; ++i) {
    const HrValue* const value = &values[i];
    if (value->type == HR_VALUE_TEXT) {
      snprintf(rows + used, sizeof rows - used, "|%s", value->text);
    } else if (value->type == HR_VALUE_NUMBER) {
      snprintf(rows + used, sizeof rows - used, "|%g", value->number);
    } else {
      snprintf(rows + used, sizeof rows - used, "|%lld", (long long)value->integer);
    }
    used = strlen(rows);
  }
  snprintf(rows + used, sizeof rows - used, "|\n");
}

static HrStatus run_by(const char* author, const char* verb, const HrValue* values, size_t count)
{
  const HrAnswer answer = {keep_row, NULL};
  HrError error = {HR_OK, ""};
  rows[0] = '\0';
  const HrStatus status = hr_command_run(rig.session, verb, values, count, author, &answer, &error);
  snprintf(rig.error, sizeof rig.error, "%s", error.text);
  rig_run(&rig, rig.block);
  return status;
}

#define RUN(author, verb, ...)                                                                     \
  run_by(author, verb, (const HrValue[]){__VA_ARGS__},                                             \
         sizeof(const HrValue[]){__VA_ARGS__} / sizeof(HrValue))

static HrStatus ask(const char* verb)
{
  return run_by("test", verb, NULL, 0);
}

static void play_bars(int bars)
{
  for (int i = 0; i < bars; ++i) {
    play_note(i * BAR, 60, BEAT);
  }
  rig_run(&rig, bars * BAR);
}

static void assert_refused(HrStatus status)
{
  assert_int_equal(status, HR_ERR_ARGUMENT);
  assert_string_not_equal(rig.error, "");
}

/* ---- Saying things ---------------------------------------------------------------- */

static void test_notes(void** state)
{
  (void)state;
  play_bars(4);
  assert_ok(RUN("bot", "note", hr_value_text("the chorus begins"), hr_value_integer(3)));
  assert_ok(RUN("bot", "rate", hr_value_integer(5), hr_value_text("keep this")));
  assert_ok(RUN("anna", "rate", hr_value_number(2.0)));
  assert_ok(RUN("anna", "emotion", hr_value_number(0.5), hr_value_number(-0.25),
                hr_value_integer(1), hr_value_text("proud")));
  assert_ok(RUN("anna", "note", hr_value_text("now")));
  assert_ok(ask("notes"));
  char place[64];
  snprintf(place, sizeof place, "|%lld|%lld|bot|0|0|0|0|0|the chorus begins|\n",
           (long long)ticks(8), (long long)ticks(8));
  assert_non_null(strstr(rows, place));
  assert_non_null(strstr(rows, "|bot|5|0|0|0|0|keep this|\n"));
  assert_non_null(strstr(rows, "|anna|2|0|0|0|0||\n"));
  assert_non_null(strstr(rows, "|anna|0|1|0.5|-0.25|1|proud|\n"));
  assert_non_null(strstr(rows, "|anna|0|0|0|0|0|now|\n"));

  // A note is taken back like anything else.
  assert_ok(ask("undo"));
  assert_ok(ask("notes"));
  assert_null(strstr(rows, "|now|"));
  assert_ok(ask("redo"));
  assert_ok(ask("notes"));
  assert_non_null(strstr(rows, "|now|"));
}

static void test_notes_refused(void** state)
{
  (void)state;
  static char endless[HR_NOTE_TEXT_MAX + 2];
  play_bars(1);
  memset(endless, 'a', sizeof endless - 1);
  assert_refused(ask("note"));
  assert_refused(RUN("test", "note", hr_value_text("")));
  assert_refused(RUN("test", "note", hr_value_integer(1)));
  assert_refused(RUN("test", "note", hr_value_text(endless)));
  assert_refused(RUN("test", "note", hr_value_text("x"), hr_value_text("no such place")));
  assert_refused(ask("rate"));
  assert_refused(RUN("test", "rate", hr_value_integer(6)));
  assert_string_equal(rig.error, "rate takes 1 to 5.");
  assert_refused(RUN("test", "rate", hr_value_integer(-1)));
  assert_refused(RUN("test", "rate", hr_value_text("good")));
  assert_refused(RUN("test", "rate", hr_value_integer(3), hr_value_integer(3)));
  assert_refused(RUN("test", "emotion", hr_value_number(0.0), hr_value_number(0.0)));
  assert_refused(
      RUN("test", "emotion", hr_value_number(0.0), hr_value_number(1.1), hr_value_number(0.0)));
  assert_refused(
      RUN("test", "emotion", hr_value_number(0.0), hr_value_number(-1.1), hr_value_number(0.0)));
  assert_non_null(strstr(rig.error, "three numbers from -1 to 1"));
  assert_refused(
      RUN("test", "emotion", hr_value_number(0.0), hr_value_text("calm"), hr_value_number(0.0)));
  assert_refused(RUN("test", "note", hr_value_bytes((const uint8_t*)"abc", 3)));
  assert_ok(RUN("test", "rate", hr_value_integer(0))); // A pad let go
  assert_ok(ask("notes"));
  assert_string_equal(rows, "");
}

/* ---- Playing into a branch ---------------------------------------------------------- */

/** The author of the first event of `branch` with these bytes, "" if there is none. */
static const char* author_of(const char* branch, const uint8_t bytes[3])
{
  static char author[HR_NAME_MAX + 1];
  const HrSessionState state = state_now();
  HrStore* store = NULL;
  HrTxn* txn = NULL;
  HrBranchId id;
  HrPath path;
  HrSpan span;
  author[0] = '\0';
  assert_ok(hr_store_open(state.store_path, 0, &store, NULL));
  assert_ok(hr_txn_begin(store, HR_READ, &txn));
  assert_ok(hr_branch_find(txn, state.tree, branch, &id));
  assert_ok(hr_path_open(txn, id, INT64_MIN, &path));
  while (!*author && !hr_path_next_span(&path, &span)) {
    HrEvent event;
    for (uint32_t i = 0; !*author && hr_span_next(&span, &i, &event);) {
      if (event.kind == HR_EVENT_MIDI && event.size == 3 && !memcmp(event.bytes, bytes, 3)) {
        assert_ok(hr_author_name(txn, span.node->author, author));
      }
    }
  }
  hr_path_close(&path);
  hr_txn_abort(txn);
  hr_store_close(store);
  return author;
}

static bool came_out(size_t from, uint8_t status, uint8_t key)
{
  for (size_t i = from; i < rig.output_count; ++i) {
    if (rig.output[i].bytes[0] == status && rig.output[i].bytes[1] == key) {
      return true;
    }
  }
  return false;
}

static void test_send(void** state)
{
  (void)state;
  const uint8_t on[3] = {0x90, 64, 80};
  const uint8_t off[3] = {0x80, 64, 0};
  play_bars(1);
  const size_t from = rig.output_count;
  assert_ok(RUN("osc 10.0.0.5", "send", hr_value_bytes(on, 3)));
  assert_true(came_out(from, 0x90, 64));
  play_note(0, 67, BEAT);
  rig_run(&rig, BEAT);
  assert_ok(RUN("osc 10.0.0.5", "send", hr_value_integer(128), hr_value_number(64.0),
                hr_value_integer(0)));
  assert_true(came_out(from, 0x80, 64));
  assert_string_equal(author_of("main", on), "osc 10.0.0.5");
  assert_string_equal(author_of("main", off), "osc 10.0.0.5");
  assert_string_equal(author_of("main", (const uint8_t[]){0x90, 67, 100}), "midi");

  // Heard with thru off, too, as nobody else puts it out; two bytes of three that OSC's m has.
  const uint8_t program[3] = {0xc0, 9, 0};
  assert_ok(RUN("test", "thru", hr_value_integer(0)));
  assert_ok(RUN("test", "send", hr_value_bytes(program, 3)));
  assert_true(came_out(from, 0xc0, 9));
  assert_int_equal(rig.output[rig.output_count - 1].size, 2);
}

/** A message that plays over the past forks, as playing does; what sounded in the
 * replay ends in the record by itself. */
static void test_send_over_the_past(void** state)
{
  (void)state;
  const uint8_t on[3] = {0x90, 72, 80};
  play_note(0, 60, 4 * BAR);
  rig_run(&rig, 4 * BAR);
  assert_ok(ask("replay"));
  rig_run(&rig, BAR + BEAT);
  assert_ok(RUN("bot", "send", hr_value_bytes(on, 3)));
  rig_run(&rig, BEAT);
  const HrSessionState over = state_now();
  assert_int_not_equal(hr_branch_number(over.branch), 1);
  assert_string_equal(author_of(over.branch_name, on), "bot");
  assert_ok(RUN("bot", "send", hr_value_integer(128), hr_value_integer(72), hr_value_integer(0)));
  rig_run(&rig, BEAT);
  assert_nothing_hangs(0);
}

static void test_send_refused(void** state)
{
  (void)state;
  static uint8_t long_message[HR_SEND_MAX + 1];
  memset(long_message, 1, sizeof long_message);
  long_message[0] = 0xf0;
  long_message[HR_SEND_MAX] = 0xf7;
  play_bars(1);
  const HrSessionState before = state_now();
  const size_t from = rig.output_count;
  assert_refused(ask("send"));
  assert_refused(RUN("test", "send", hr_value_text("on")));
  assert_refused(RUN("test", "send", hr_value_integer(0)));
  assert_refused(RUN("test", "send", hr_value_integer(144)));
  assert_refused(RUN("test", "send", hr_value_integer(144), hr_value_integer(200)));
  assert_refused(
      RUN("test", "send", hr_value_integer(144), hr_value_integer(256), hr_value_integer(1)));
  assert_refused(RUN("test", "send", hr_value_bytes(long_message, 0)));
  assert_refused(RUN("test", "send", hr_value_bytes(long_message, sizeof long_message)));
  assert_int_equal(rig.output_count, from);
  assert_int_equal(state_now().recorded, before.recorded);
  long_message[HR_SEND_MAX - 1] = 0xf7;
  assert_ok(RUN("test", "send", hr_value_bytes(long_message, HR_SEND_MAX)));
  assert_int_equal(state_now().recorded, before.recorded + 1);
}

/* ---- Later ---------------------------------------------------------------------------- */

/** The frame at which a message came out; fails if it did not. */
static int64_t frame_of(size_t from, uint8_t status, uint8_t key)
{
  for (size_t i = from; i < rig.output_count; ++i) {
    if (rig.output[i].bytes[0] == status && rig.output[i].bytes[1] == key) {
      return rig.output[i].frame;
    }
  }
  fail_msg("%02x %d did not come out", status, key);
  return 0;
}

static HrStatus send_note(uint8_t status, uint8_t key, HrValue when)
{
  return RUN("bot", "send", hr_value_integer(status), hr_value_integer(key), hr_value_integer(80),
             when);
}

/** Messages come when the music is at their place, to the frame, whatever the order they
 * were sent in. */
static void test_send_later(void** state)
{
  (void)state;
  const uint8_t on[3] = {0x90, 64, 80};
  const uint8_t bytes[3] = {0x90, 65, 80};
  play_bars(1);
  const int64_t start = frame_of(0, 0x90, 60); // Bar 1
  const size_t from = rig.output_count;
  assert_ok(send_note(0x80, 64, hr_value_text("3.2")));
  assert_ok(send_note(0x90, 64, hr_value_integer(3)));
  assert_ok(RUN("bot", "send", hr_value_bytes(bytes, 3), hr_value_tick(ticks(10))));
  assert_ok(send_note(0x80, 65, hr_value_text("21288960t"))); // ticks(11)
  assert_ok(RUN("bot", "send", hr_value_integer(0xc0), hr_value_integer(7), hr_value_text("2.3")));
  assert_ok(
      RUN("bot", "send", hr_value_integer(0xc0), hr_value_integer(8), hr_value_tick(ticks(12))));
  assert_int_equal(rig.output_count, from);
  rig_run(&rig, 4 * BAR);
  assert_int_equal(frame_of(from, 0xc0, 7) - start, BAR + 2 * BEAT);
  assert_int_equal(frame_of(from, 0x90, 64) - start, 2 * BAR);
  assert_int_equal(frame_of(from, 0x80, 64) - start, 2 * BAR + BEAT);
  assert_int_equal(frame_of(from, 0x90, 65) - start, 2 * BAR + 2 * BEAT);
  assert_int_equal(frame_of(from, 0x80, 65) - start, 2 * BAR + 3 * BEAT);
  assert_int_equal(frame_of(from, 0xc0, 8) - start, 3 * BAR);
  assert_string_equal(author_of("main", on), "bot");
  assert_nothing_hangs(0);
}

/** Nothing is played late: a place that is past is refused, and one that the music jumps
 * over forgotten. */
static void test_send_too_late(void** state)
{
  (void)state;
  rig_transport(&rig, true, 0);
  rig_run(&rig, BAR);
  const size_t from = rig.output_count;
  assert_refused(send_note(0x90, 64, hr_value_integer(1)));
  assert_refused(send_note(0x90, 64, hr_value_text("nowhere")));
  assert_ok(send_note(0x90, 65, hr_value_integer(3)));
  assert_ok(send_note(0x90, 66, hr_value_text("6.1")));
  assert_ok(send_note(0x80, 66, hr_value_text("6.2")));
  rig_transport(&rig, true, 4 * BAR);
  rig_run(&rig, 3 * BAR);
  assert_false(came_out(from, 0x90, 64));
  assert_false(came_out(from, 0x90, 65));
  assert_true(came_out(from, 0x90, 66));
  assert_nothing_hangs(0);
}

/** A note that was sent ends where the music goes on elsewhere. */
static void test_replay_ends_what_was_sent(void** state)
{
  (void)state;
  const uint8_t on[3] = {0x90, 64, 80};
  play_bars(2);
  assert_ok(RUN("bot", "send", hr_value_bytes(on, 3)));
  const size_t from = rig.output_count;
  assert_ok(RUN("test", "replay/at", hr_value_integer(1)));
  rig_run(&rig, BEAT);
  assert_true(came_out(from, 0x80, 64));
}

/** What waits for its place waits on while the host stands. */
static void test_send_waits_for_the_host(void** state)
{
  (void)state;
  rig_transport(&rig, true, 0);
  rig_run(&rig, BAR);
  const size_t from = rig.output_count;
  assert_ok(send_note(0x80, 64, hr_value_integer(3)));
  rig_transport(&rig, false, rig.host_frame);
  rig_run(&rig, 2 * BAR);
  assert_int_equal(rig.output_count, from);
  rig_transport(&rig, true, rig.host_frame);
  const int64_t start = rig.now - rig.host_frame;
  rig_run(&rig, 2 * BAR);
  assert_int_equal(frame_of(from, 0x80, 64) - start, 2 * BAR);
}

/** Only so many wait, and the next is told so. */
static void test_send_too_many(void** state)
{
  (void)state;
  play_bars(1);
  for (unsigned i = 0; i < HR_SENDS_MAX; ++i) {
    assert_ok(send_note(0x80, (uint8_t)i, hr_value_integer(3)));
  }
  assert_int_equal(send_note(0x80, 1, hr_value_integer(3)), HR_ERR_LIMIT);
  assert_non_null(strstr(rig.error, "64 messages wait"));
  rig_run(&rig, 2 * BAR);
  assert_true(came_out(0, 0x80, HR_SENDS_MAX - 1));
  assert_ok(send_note(0x80, 1, hr_value_integer(9)));
  for (unsigned i = 0; i < HR_SENDS_MAX; ++i) { // These wait for nothing
    assert_ok(RUN("bot", "send", hr_value_integer(0xc0), hr_value_integer(7)));
  }
  assert_ok(send_note(0x80, 2, hr_value_integer(9)));
}

/** Panic ends what somebody has sent, for the ear and in the record, and what waits. */
static void test_panic_ends_what_was_sent(void** state)
{
  (void)state;
  const uint8_t on[3] = {0x90, 64, 80};
  const uint8_t pedal[3] = {0xb0, 64, 127};
  play_bars(1);
  const size_t from = rig.output_count;
  assert_ok(RUN("bot", "send", hr_value_bytes(on, 3)));
  assert_ok(RUN("bot", "send", hr_value_bytes(pedal, 3)));
  assert_ok(send_note(0x90, 70, hr_value_integer(3)));
  assert_ok(ask("panic"));
  rig_run(&rig, 3 * BAR);
  assert_true(came_out(from, 0x80, 64));
  assert_true(came_out(from, 0xb0, 64));
  assert_int_equal(rig.output[rig.output_count - 1].bytes[2], 0); // The pedal is up
  assert_false(came_out(from, 0x90, 70));
  assert_nothing_hangs(from);
  assert_string_equal(author_of("main", on), "bot");
  assert_ok(ask("replay"));
  rig_run(&rig, 3 * BAR);
  assert_nothing_hangs(0);
}

/* ---- Forks in the past, slots -------------------------------------------------------- */

static void test_fork_ago(void** state)
{
  (void)state;
  play_bars(6);
  play_note(0, 62, BEAT);
  rig_run(&rig, BAR / 2); // In the seventh bar
  assert_ok(RUN("test", "fork/ago", hr_value_integer(4), hr_value_text("again")));
  rig_run(&rig, 2 * BAR);
  assert_string_equal(state_now().branch_name, "again");
  const Music music = music_of("again");
  for (int i = 0; i < music.count; ++i) {
    assert_true(music.tick[i] <= ticks(8)); // Bar 3 begins there
  }
  assert_ok(ask("branch"));
  char fork[64];
  snprintf(fork, sizeof fork, "|again|1|%lld|", (long long)ticks(8));
  assert_non_null(strstr(rows, fork));
  assert_refused(ask("fork/ago"));
  assert_refused(RUN("test", "fork/ago", hr_value_integer(-1)));
  assert_refused(RUN("test", "fork/ago", hr_value_text("two")));
  assert_refused(RUN("test", "fork/ago", hr_value_number(1e300)));
  assert_non_null(strstr(rig.error, "needs a number of bars"));
}

static void test_slot_replay(void** state)
{
  (void)state;
  play_bars(2);
  assert_ok(RUN("test", "fork", hr_value_integer(1), hr_value_text("other")));
  play_note(0, 72, BEAT);
  rig_run(&rig, BAR);
  const size_t from = rig.output_count;
  assert_ok(RUN("test", "slot/replay", hr_value_integer(1)));
  rig_run(&rig, BAR + BEAT);
  assert_string_equal(state_now().branch_name, "main");
  assert_true(state_now().replay);
  rig_run(&rig, BAR);
  assert_true(came_out(from, 0x90, 60));
  assert_false(came_out(from, 0x90, 72));
  assert_int_equal(RUN("test", "slot/replay", hr_value_integer(9)), HR_ERR_NOT_FOUND);
}

/* ---- A host that stopped ------------------------------------------------------------ */

/** Nobody takes the fork: what is said then is about the branch of before, and nobody is
 * kept waiting for long. */
static void test_mark_without_a_host(void** state)
{
  (void)state;
  play_bars(1);
  assert_ok(rig_say(&rig, "fork", "later"));
  const int64_t asked = hr_monotonic_ns();
  assert_ok(rig_say(&rig, "mark", "now"));
  assert_true(hr_monotonic_ns() - asked < 1000000000);
  assert_ok(ask("marks"));
  assert_non_null(strstr(rows, "|now|"));
  state_now();
  assert_ok(ask("marks")); // The host goes on: the fork is there, at the place of the mark
  assert_null(strstr(rows, "|now|"));
}

/* ---- Questions ------------------------------------------------------------------------ */

static void test_branch(void** state)
{
  (void)state;
  assert_int_equal(ask("branch"), HR_ERR_NOT_FOUND); // Nothing was played
  play_bars(1);
  assert_ok(RUN("test", "fork", hr_value_integer(1), hr_value_text("other")));
  assert_ok(ask("branch"));
  assert_non_null(strstr(rows, "|2|other|1|"));
  assert_ok(RUN("test", "branch", hr_value_text("main")));
  assert_memory_equal(rows, "|1|main|0|", 10);
  assert_int_equal(RUN("test", "branch", hr_value_text("none")), HR_ERR_NOT_FOUND);
}

static void test_stats(void** state)
{
  (void)state;
  play_bars(2);
  state_now();
  assert_ok(ask("stats"));
  assert_non_null(strstr(rows, "|recorded|4|\n"));
  assert_non_null(strstr(rows, "|dropped|0|\n"));
  assert_non_null(strstr(rows, "|failed_commits|0|\n"));
  assert_non_null(strstr(rows, "|rescued|0|\n"));
  assert_non_null(strstr(rows, "|longest_wait_ms|"));
  assert_non_null(strstr(rows, "|waiting_bytes|0|\n"));
  assert_non_null(strstr(rows, "|branches|1|\n"));
  assert_null(strstr(rows, "|store_bytes|0|"));
  assert_non_null(strstr(rows, "|replayed|0|\n"));
  assert_ok(ask("replay"));
  rig_run(&rig, 4 * BAR);
  assert_ok(ask("stats"));
  assert_non_null(strstr(rows, "|replayed|4|\n"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(test_notes),
      TEST(test_notes_refused),
      TEST(test_send),
      TEST(test_send_over_the_past),
      TEST(test_send_refused),
      TEST(test_send_later),
      TEST(test_send_too_late),
      TEST(test_send_waits_for_the_host),
      TEST(test_replay_ends_what_was_sent),
      TEST(test_send_too_many),
      TEST(test_panic_ends_what_was_sent),
      TEST(test_fork_ago),
      TEST(test_slot_replay),
      TEST(test_mark_without_a_host),
      TEST(test_branch),
      TEST(test_stats),
  };
  return cmocka_run_group_tests_name("companions", tests, NULL, NULL);
}
