/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What was done is taken back and done again, branches are merged, places get
 * names: all by commands, while music is played. */

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/rig_commands.h"

/* ---- Undo and redo ---------------------------------------------------------------- */

static void test_nothing_to_undo(void** state)
{
  (void)state;
  assert_nothing_to("undo");
  assert_nothing_to("redo");
  assert_int_equal(state_now().tree, 0); // No tree was made for it
  jam(4, 60);
  assert_nothing_to("undo");
  assert_nothing_to("redo");
}

static void test_undo_a_fork(void** state)
{
  (void)state;
  jam(4, 60);
  assert_ok(say("fork", "idea", NULL, NULL));
  jam(2, 70);
  assert_branch("idea");
  assert_step("undo", "fork", "main");
  assert_false(is_visible("idea"));
  assert_nothing_to("undo");
  assert_step("redo", "fork", "idea");
  assert_true(is_visible("idea"));
  assert_nothing_to("redo");
  assert_int_equal(music_of("idea").count, 12);
}

/** One that playing began, which nobody named. */
static void test_undo_playing_over_the_past(void** state)
{
  (void)state;
  jam(8, 60);
  rest();
  assert_ok(say("replay", NULL, NULL, NULL));
  play_note(4 * BEAT + BEAT / 4, 72, BEAT / 8);
  rig_run(&rig, 3 * BAR);
  assert_branch("take 2");
  assert_step("undo", "fork", "main");
  assert_false(is_visible("take 2"));
  assert_step("redo", "fork", "take 2");
  assert_true(is_visible("take 2"));
}

/** A fork in the past and going there are one thing, also when it was made from
 * a branch whose parent has that past. */
static void test_undo_a_fork_in_the_past(void** state)
{
  (void)state;
  jam(8, 60);
  assert_ok(say("fork", "b", NULL, NULL));
  jam(4, 70);
  rest();
  assert_ok(say("fork/at", "2", "c", NULL));
  assert_branch("c");
  assert_step("undo", "fork", "b");
  assert_false(is_visible("c"));
  assert_step("undo", "fork", "main");
  assert_nothing_to("undo");
  assert_step("redo", "fork", "b");
  assert_step("redo", "fork", "c");
}

/** Taken back before the bar at which it was to be gone to. */
static void test_undo_a_fork_before_going_there(void** state)
{
  (void)state;
  jam(9, 60);
  rig_run(&rig, 1024);
  assert_ok(say("fork/at", "2", "c", NULL));
  assert_string_equal(state_now().pending_name, "c");
  assert_ok(say("mark", "x", NULL, NULL));
  assert_step("undo", "mark", "main");
  assert_string_equal(state_now().pending_name, "c");
  assert_step("undo", "fork", "main");
  assert_string_equal(state_now().pending_name, "");
  rig_run(&rig, 2 * BAR);
  assert_branch("main");
  assert_false(is_visible("c"));
  assert_nothing_to("undo");
}

/** A switch that waits for its bar is what was done last. */
static void test_undo_what_waits(void** state)
{
  (void)state;
  jam(4, 60);
  assert_ok(say("fork", "idea", NULL, NULL));
  jam(4, 70);
  assert_ok(say("rename", "main", "first", NULL));
  rig_run(&rig, BEAT);
  assert_ok(say("switch", "first", NULL, NULL));
  assert_string_equal(state_now().pending_name, "first");
  assert_step("undo", "switch", "idea");
  assert_string_equal(state_now().pending_name, "");
  rig_run(&rig, 2 * BAR);
  assert_branch("idea");
  assert_step("undo", "rename", "idea"); // And not before
}

/** What is done again leaves a switch that waits. */
static void test_redo_leaves_what_waits(void** state)
{
  (void)state;
  jam(4, 60);
  assert_ok(say("fork", "idea", NULL, NULL));
  jam(4, 70);
  assert_ok(say("mark", "here", NULL, NULL));
  assert_step("undo", "mark", "idea");
  rig_run(&rig, BEAT);
  assert_ok(say("switch", "main", NULL, NULL));
  assert_string_equal(state_now().pending_name, "main");
  assert_step("redo", "mark", "idea");
  assert_true(has_mark("here"));
  assert_string_equal(state_now().pending_name, "main");
  rig_run(&rig, 2 * BAR);
  assert_branch("main");
}

/** Each kind of operation, all the way back and all the way forth. */
static void test_back_and_forth(void** state)
{
  (void)state;
  jam(8, 60);
  rest();
  assert_ok(say("fork", "a", NULL, NULL));
  jam(2, 70);
  rest();
  assert_ok(say("fork/at", "2", "b", NULL));
  jam(2, 80);
  rest();
  assert_ok(say("switch", "a", NULL, NULL));
  assert_ok(say("hide", "b", NULL, NULL));
  assert_ok(say("restore", "b", NULL, NULL));
  assert_ok(say("rename", "b", "chorus", NULL));
  assert_ok(say("mark", "here", NULL, NULL));
  assert_ok(say("unmark", "here", NULL, NULL));
  assert_ok(say("merge", "chorus", "both", NULL));
  assert_branch("both");
  for (int round = 0; round < 2; ++round) {
    assert_step("undo", "merge", "a");
    assert_false(is_visible("both"));
    assert_false(has_mark("here"));
    assert_step("undo", "hide note", "a");
    assert_true(has_mark("here"));
    assert_step("undo", "mark", "a");
    assert_false(has_mark("here"));
    assert_step("undo", "rename", "a");
    assert_true(is_visible("b"));
    assert_step("undo", "restore", "a");
    assert_false(is_visible("b"));
    assert_step("undo", "hide", "a");
    assert_true(is_visible("b"));
    assert_step("undo", "switch", "b");
    assert_step("undo", "fork", "a");
    assert_step("undo", "fork", "main");
    assert_nothing_to("undo");
    assert_step("redo", "fork", "a");
    assert_step("redo", "fork", "b");
    assert_step("redo", "switch", "a");
    assert_step("redo", "hide", "a");
    assert_false(is_visible("b"));
    assert_step("redo", "restore", "a");
    assert_step("redo", "rename", "a");
    assert_true(is_visible("chorus"));
    assert_step("redo", "mark", "a");
    assert_step("redo", "hide note", "a");
    assert_step("redo", "merge", "both");
    assert_nothing_to("redo");
    assert_true(is_visible("both"));
  }
}

static void test_what_is_new_ends_redo(void** state)
{
  (void)state;
  jam(4, 60);
  rest();
  assert_ok(say("fork", "a", NULL, NULL));
  jam(2, 70);
  rest();
  assert_ok(say("rename", "main", "first", NULL));
  assert_step("undo", "rename", "a");
  assert_step("undo", "fork", "main");
  jam(1, 80); // Playing on is none
  rest();
  assert_step("redo", "fork", "a");
  assert_ok(say("mark", "new", NULL, NULL));
  assert_nothing_to("redo");
  assert_step("undo", "mark", "a");
}

/** The last that came out of a key is its end. */
static void assert_released(uint8_t key)
{
  size_t i = rig.output_count;
  while (i && rig.output[i - 1].bytes[1] != key) {
    --i;
  }
  assert_true(i && (rig.output[i - 1].bytes[0] & 0xf0) == 0x80);
}

/** Along a rolling host the other branch is heard at once, in time, whatever the
 * quantum, with what sounds there already, and nothing hangs. */
static void test_undo_while_rolling(void** state)
{
  (void)state;
  static const uint8_t keys[] = {60, 61, 81, 82, 83, 84, 64, 65, 66};
  static const double beats[] = {0, 1, 1.25, 2, 3, 4, 4.25, 5, 6};
  const RigEvent* ons[64];
  make_two_branches(4);
  assert_ok(say("switch", "main", NULL, NULL));
  say_number("follow", 1);
  rig_run(&rig, 512);
  rig.output_count = 0;
  rig_transport(&rig, true, 0);
  const int64_t start = rig.now;
  rig_run(&rig, BEAT + BEAT / 4); // Its second note sounds
  assert_step("undo", "switch", "other");
  assert_released(61);
  rig_run(&rig, start + 4 * BEAT + BEAT / 4 - rig.now);
  assert_step("redo", "switch", "main");
  assert_released(84);
  rig_run(&rig, 2 * BEAT);
  assert_int_equal(note_ons(ons, 64), sizeof keys);
  for (size_t i = 0; i < sizeof keys; ++i) {
    assert_int_equal(ons[i]->bytes[1], keys[i]);
    assert_int_equal(ons[i]->frame - start, (int64_t)(beats[i] * BEAT));
  }
  rig_transport(&rig, false, 0);
  rig_run(&rig, 512);
  assert_nothing_hangs(0);
}

/** What was played over a host's replay is taken back: the branch below is heard on. */
static void test_undo_playing_over_a_host(void** state)
{
  (void)state;
  record_beats(4, 60);
  say_number("follow", 1);
  rig_run(&rig, 512);
  rig_transport(&rig, true, 0);
  const int64_t start = rig.now;
  rig_play(&rig, BEAT + BEAT / 4, 0x90, 100, 100); // Held when it is taken back
  rig_run(&rig, 2 * BEAT + 3 * BEAT / 4);
  assert_branch("take 2");
  rig.output_count = 0;
  assert_step("undo", "fork", "main");
  rig_run(&rig, 2 * BEAT);
  const RigEvent* ons[64];
  assert_int_equal(note_ons(ons, 64), 2);
  for (int i = 0; i < 2; ++i) {
    assert_int_equal(ons[i]->bytes[1], 63 + i);
    assert_int_equal(ons[i]->frame - start, (3 + i) * BEAT);
  }
  const Music music = music_of("take 2");
  assert_int_equal(music.bytes[music.count - 1][0], 0x80); // It has its end there
  assert_int_equal(music.bytes[music.count - 1][1], 100);
}

/** What nobody asked for is passed over: coming home from a side branch. */
static void test_coming_home_is_passed_over(void** state)
{
  (void)state;
  record_beats(2, 60);
  play_note(0, 90, BEAT / 2); // While it stands
  rig_run(&rig, BEAT);
  assert_branch("take 2");
  rig_transport(&rig, true, 2 * BAR);
  rig_run(&rig, BEAT);
  assert_branch("main");
  assert_int_equal(count_in_log("switch"), 1);
  assert_step("undo", "fork", "main");
  assert_false(is_visible("take 2"));
  assert_nothing_to("undo");
}

/** Nor did anybody ask for the looped branch to be the current one again. */
static void test_a_loop_s_start_is_passed_over(void** state)
{
  (void)state;
  jam(8, 60);
  rest();
  assert_ok(say("loop/range", "1", "2", NULL));
  assert_ok(say("replay", NULL, NULL, NULL));
  play_note(BEAT / 4, 90, BEAT / 4);
  rig_run(&rig, BAR + BEAT);
  assert_branch("main");
  const int forks = count_in_log("fork");
  assert_int_equal(forks, 1);
  assert_int_equal(count_in_log("switch"), 1);
  assert_step("undo", "fork", "main");
  assert_nothing_to("undo");
}

/** Who asked for it, also when it happens at the bar, and others asked since. */
static void test_who_asked(void** state)
{
  (void)state;
  jam(4, 60);
  assert_ok(command_by("osc 10.0.0.7", "fork", "a", NULL, NULL));
  rig_run(&rig, 512);
  assert_non_null(strstr(last_in_log(), "|fork|a|main|"));
  assert_non_null(strstr(last_in_log(), "|osc 10.0.0.7|"));
  jam(5, 70);
  assert_ok(command_by("osc 10.0.0.5", "switch", "main", NULL, NULL));
  rig_run(&rig, 512);
  assert_string_equal(state_now().pending_name, "main");
  assert_ok(command_by("osc 10.0.0.6", "rename", "a", "b", NULL));
  rig_run(&rig, 2 * BAR);
  assert_branch("main");
  assert_non_null(strstr(last_in_log(), "|switch|main|b|"));
  assert_non_null(strstr(last_in_log(), "|osc 10.0.0.5|"));
  assert_ok(command_by("osc 10.0.0.8", "undo", NULL, NULL, NULL));
  rig_run(&rig, 512);
  assert_non_null(strstr(last_in_log(), "|undo|"));
  assert_non_null(strstr(last_in_log(), "|osc 10.0.0.8|"));
  double when = 0.0; // In seconds
  assert_int_equal(sscanf(last_in_log(), "|%*d|%lf|", &when), 1);
  assert_true(fabs(when / (double)time(NULL) - 1.0) < 1e-3);
  assert_ok(command_by("osc 10.0.0.7", "mark", "here", NULL, NULL));
  assert_non_null(strstr(last_in_log(), "|osc 10.0.0.7|"));
  assert_ok(command_by("osc 10.0.0.6", "unmark", "here", NULL, NULL));
  assert_non_null(strstr(last_in_log(), "|osc 10.0.0.6|"));
}

/** A fork that is on its way to the store is taken back as any other. */
static void test_undo_a_fork_on_its_way(void** state)
{
  (void)state;
  jam(4, 60);
  state_now();
  rig.idle = true;
  assert_ok(say("fork", "idea", NULL, NULL));
  play_note(0, 70, BEAT / 2);
  rig_run(&rig, BEAT);
  assert_ok(say("undo", NULL, NULL, NULL));
  rig.idle = false;
  rig_run(&rig, 512);
  assert_branch("main");
  assert_false(is_visible("idea"));
  assert_int_equal(music_of("idea").count, 10);
}

/** Subscribers are told of the tree when it has changed, not before. */
static void test_the_change_is_told_when_it_is_there(void** state)
{
  (void)state;
  jam(4, 60);
  assert_ok(say("fork", "idea", NULL, NULL));
  jam(2, 70);
  rest();
  state_now();
  assert_ok(command_by("test", "undo", NULL, NULL, NULL));
  HrSessionState before;
  hr_session_state(rig.session, &before);
  assert_true(is_visible("idea"));
  rig_run(&rig, 512);
  assert_false(is_visible("idea"));
  assert_true(state_now().tree_revision > before.tree_revision);
  assert_int_equal(say("switch", "idea", NULL, NULL), HR_ERR_ARGUMENT);
}

/* ---- Two of us, and none of us ------------------------------------------------------ */

static HrStatus say_to(Rig* other, const char* verb, const char* text)
{
  const HrStatus status = rig_say(other, verb, text);
  rig_run(other, other->block);
  hr_session_flush(other->session);
  return status;
}

static HrSessionState state_of(const Rig* other)
{
  HrSessionState state;
  hr_session_state(other->session, &state);
  return state;
}

/** Two instances on one tree: each takes back what was done last, by whomever,
 * and both play on. */
static void test_undo_beside_another(void** state)
{
  (void)state;
  jam(4, 60);
  rest();
  const HrSessionState first = state_now();
  Rig other;
  const HrAttachment same = {.store = first.store_path, .tree = first.tree_name, .branch = "main"};
  assert_true(rig_open(&other, &same));
  rig_run(&other, 512);
  assert_string_equal(state_of(&other).branch_name, "take 2");
  assert_nothing_to("undo"); // Nobody asked for that branch
  assert_ok(say("fork", "mine", NULL, NULL));
  assert_ok(say_to(&other, "fork", "yours"));
  assert_branch("mine");
  assert_string_equal(state_of(&other).branch_name, "yours");
  assert_ok(say_to(&other, "undo", NULL)); // Its own
  assert_false(is_visible("yours"));
  assert_branch("mine");
  assert_string_not_equal(state_of(&other).branch_name, "yours");
  assert_ok(say("undo", NULL, NULL, NULL)); // And ours
  assert_false(is_visible("mine"));
  assert_branch("main");
  rig_play(&other, 0, 0x90, 90, 100);
  rig_play(&other, BEAT, 0x80, 90, 64);
  rig_run(&other, 2 * BEAT);
  hr_session_flush(other.session);
  jam(2, 100);
  const HrSessionState theirs = state_of(&other);
  char name[HR_NAME_MAX + 1];
  snprintf(name, sizeof name, "%s", theirs.branch_name);
  rig_close(&other);
  const Music yours = music_of(name);
  assert_int_equal(yours.bytes[yours.count - 2][1], 90);
  const Music mine = music_of(state_now().branch_name);
  assert_int_equal(mine.bytes[mine.count - 1][1], 101);
}

static int setup_scratch(void** state)
{
  (void)state;
  return scratch_make();
}

static int teardown_scratch(void** state)
{
  (void)state;
  scratch_remove();
  return 0;
}

/** Fork and undo it, with nothing of it in the store, and die. */
static void die_with_an_undo(void)
{
  const HrAttachment where = {.store = scratch_path("store.hr"), .tree = "victim"};
  if (!rig_open(&rig, &where)) {
    _exit(1);
  }
  jam(4, 60);
  rig_say(&rig, "fork", "idea");
  rig_run(&rig, 512);
  jam(4, 70);
  hr_session_flush(rig.session);
  rig.idle = true;
  rig_say(&rig, "undo", NULL);
  rig_run(&rig, 512);
  jam(2, 90);
  raise(SIGKILL);
}

/** The next to open the store finds it undone, and what was played then. */
static void test_an_undo_outlives_its_process(void** state)
{
  (void)state;
  int result = 0;
  const pid_t child = fork();
  if (!child) {
    die_with_an_undo();
  }
  assert_int_equal(waitpid(child, &result, 0), child);
  assert_true(WIFSIGNALED(result));
  const HrAttachment where = {.store = scratch_path("store.hr"), .tree = "victim"};
  assert_true(rig_open(&rig, &where));
  rig_run(&rig, 512);
  assert_branch("main");
  assert_false(is_visible("idea"));
  assert_int_equal(music_of("main").count, 12);
  assert_int_equal(music_of("main").bytes[11][1], 91);
  assert_nothing_to("undo");
  assert_step("redo", "fork", "idea");
  rig_close(&rig);
}

/* ---- Merge ------------------------------------------------------------------------- */

static void test_merge(void** state)
{
  (void)state;
  make_two_branches(2);
  assert_ok(say("switch", "main", NULL, NULL));
  assert_ok(say("merge", "other", "both", NULL));
  assert_branch("both");
  const Music music = music_of("both");
  assert_int_equal(music.count, 32);
  for (int i = 0; i < 8; ++i) {
    assert_true(llabs(music.tick[4 * i] - ticks(i)) <= 1);
    assert_int_equal(music.bytes[4 * i][1] + music.bytes[4 * i + 1][1], 60 + 80 + 2 * i);
  }
  assert_int_equal(music_of("main").count, 16);
  assert_int_equal(music_of("other").count, 16);
  say_number("follow", 1);
  rig_run(&rig, 512);
  rig.output_count = 0;
  const int64_t start = rig.now;
  rig_transport(&rig, true, 0);
  rig_run(&rig, 2 * BAR);
  const RigEvent* ons[64];
  assert_int_equal(note_ons(ons, 64), 16);
  for (int i = 0; i < 16; ++i) {
    assert_true(llabs(ons[i]->frame - start - i / 2 * BEAT) <= 1);
  }
  rig_transport(&rig, false, 0);
  rig_run(&rig, 512);
  assert_nothing_hangs(0);
  assert_step("undo", "merge", "main");
  assert_false(is_visible("both"));
  assert_step("redo", "merge", "both");
}

static void test_what_cannot_be_merged(void** state)
{
  (void)state;
  make_two_branches(1);
  assert_ok(say("fork", "third", NULL, NULL));
  assert_ok(say("hide", "main", NULL, NULL));
  const int before = count_in_log("merge");
  static const struct {
    const char* branch;
    const char* name;
    HrStatus status;
    const char* sentence;
  } cases[] = {
      {"third", NULL, HR_ERR_ARGUMENT,
       "That is the branch you are on. Name another one to merge with it."},
      {"nowhere", NULL, HR_ERR_NOT_FOUND, "There is no branch \"nowhere\". `list` shows them all."},
      {"main", NULL, HR_ERR_ARGUMENT, "That branch is hidden. `restore` it first."},
      {NULL, NULL, HR_ERR_ARGUMENT, "merge needs a branch: its name or number."},
      {"other", "two\nlines", HR_ERR_ARGUMENT,
       "That is no usable name: 1 to 120 bytes of plain text, not starting with #."},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
    assert_int_equal(say("merge", cases[i].branch, cases[i].name, NULL), cases[i].status);
    assert_string_equal(rig.error, cases[i].sentence);
    assert_branch("third");
  }
  assert_int_equal(count_in_log("merge"), before);
}

/** A jam: what was just played goes round, another branch is put to it. */
static void test_grab_then_merge(void** state)
{
  (void)state;
  make_two_branches(2);
  rig_transport(&rig, true, 2 * BAR);
  for (int i = 0; i < 4; ++i) {
    play_note(i * BEAT, (uint8_t)(100 + i), BEAT / 2);
  }
  rig_run(&rig, BAR + BEAT / 2);
  say_number("thru", 0);
  const HrValue grab[2] = {hr_value_integer(1), hr_value_text("riff")};
  assert_ok(rig_command(&rig, "grab", grab, 2));
  rig_run(&rig, 512);
  assert_true(has_mark("riff"));
  assert_ok(say("quantum", "now", NULL, NULL));
  assert_ok(say("merge", "main", "both", NULL));
  assert_branch("both");
  assert_true(state_now().loop);
  rig_run(&rig, BAR);
  rig.output_count = 0;
  rig_run(&rig, BAR);
  const RigEvent* ons[64];
  assert_int_equal(note_ons(ons, 64), 4); // The riff alone: "main" has nothing there
  const Music music = music_of("both");
  assert_int_equal(music.count, 40);
  assert_step("undo", "merge", "other");
  assert_step("undo", "mark", "other");
  rig_transport(&rig, false, 0);
  rig_run(&rig, 512);
  assert_nothing_hangs(rig.output_count);
}

/* ---- Marks ------------------------------------------------------------------------- */

static void assert_mark(const char* name, HrTick start, HrTick end)
{
  char wanted[160];
  assert_ok(command_by("test", "marks", NULL, NULL, NULL));
  snprintf(wanted, sizeof wanted, "|%s|%lld|%lld|\n", name, (long long)start, (long long)end);
  if (!strstr(rows, wanted)) {
    fail_msg("%sno %s", rows, wanted);
  }
}

static void test_marks(void** state)
{
  (void)state;
  record_beats(4, 60);
  rig_transport(&rig, false, BAR);
  rig_run(&rig, 512);
  assert_ok(say("mark", "here", NULL, NULL));
  assert_mark("here", ticks(4), ticks(4));
  assert_ok(say("mark", "verse", "2", NULL));
  assert_mark("verse", ticks(4), ticks(4));
  assert_ok(say("mark", "bridge", "3.2", NULL));
  assert_mark("bridge", ticks(9), ticks(9));
  assert_ok(say("mark", "chorus", "3", "4"));
  assert_mark("chorus", ticks(8), ticks(12));
  assert_ok(say("loop/range", "chorus", NULL, NULL));
  assert_loop(ticks(8), ticks(12));
  assert_ok(say("loop/range", "verse", "chorus", NULL));
  assert_loop(ticks(4), ticks(8));
  assert_ok(say("mark", "coda", "chorus", NULL)); // By another
  assert_mark("coda", ticks(8), ticks(8));
  assert_int_equal(say("loop/range", "verse", NULL, NULL), HR_ERR_ARGUMENT); // A point
  assert_string_equal(rig.error, "loop/range needs a position: a bar, or \"bar.beat\".");
  assert_int_equal(say("loop/range", "chorus", "verse", NULL), HR_ERR_ARGUMENT);
  assert_string_equal(rig.error, "The end must lie after the start.");
  assert_loop(ticks(4), ticks(8));
  assert_ok(say("unmark", "chorus", NULL, NULL));
  assert_false(has_mark("chorus"));
  assert_int_equal(say("unmark", "chorus", NULL, NULL), HR_ERR_NOT_FOUND);
  assert_int_equal(say("loop/range", "chorus", NULL, NULL), HR_ERR_ARGUMENT);
  assert_step("undo", "hide note", "main");
  assert_mark("chorus", ticks(8), ticks(12));
  assert_step("undo", "mark", "main");
  assert_false(has_mark("coda"));
  assert_step("redo", "mark", "main");
  assert_true(has_mark("coda"));
}

/** What is marked or said is in the journal, and so a change that is told of. */
static void test_a_mark_is_a_change(void** state)
{
  (void)state;
  static const char* const verbs[] = {"mark", "unmark", "note"};
  jam(4, 60);
  rest();
  for (size_t i = 0; i < sizeof verbs / sizeof *verbs; ++i) {
    const HrSessionState before = state_now();
    HrSessionState after;
    assert_ok(command_by("test", verbs[i], "here", NULL, NULL));
    hr_session_state(rig.session, &after);
    assert_int_equal(after.journal_count, before.journal_count + 1);
    assert_true(after.revision > before.revision);
  }
}

/** On its own clock, from the mark on. */
static void test_replay_from_a_mark(void** state)
{
  (void)state;
  jam(8, 60);
  rest();
  assert_ok(say("mark", "chorus", "2.2", NULL));
  rig.output_count = 0;
  const int64_t start = rig.now;
  assert_ok(say("replay/at", "chorus", NULL, NULL));
  rig_run(&rig, 2 * BAR);
  const RigEvent* ons[16];
  assert_int_equal(note_ons(ons, 16), 3);
  for (int i = 0; i < 3; ++i) {
    assert_int_equal(ons[i]->bytes[1], 65 + i);
    assert_int_equal(ons[i]->frame - start, i * BEAT);
  }
  assert_int_equal(say("replay/at", "nowhere", NULL, NULL), HR_ERR_ARGUMENT);
  assert_non_null(strstr(rig.error, "\"nowhere\" is no position."));
}

/** A mark belongs to the paths that run through it, and to no others. */
static void test_marks_and_forks(void** state)
{
  (void)state;
  jam(8, 60);
  rest();
  assert_ok(say("mark", "early", "1.3", NULL));
  assert_ok(say("mark", "late", "2.3", NULL));
  assert_ok(say("fork/at", "2", "b", NULL));
  assert_true(has_mark("early"));
  assert_false(has_mark("late"));
  assert_int_equal(say("replay/at", "late", NULL, NULL), HR_ERR_ARGUMENT);
  assert_ok(say("mark", "late", "2.2", NULL)); // Another one
  assert_mark("late", ticks(5), ticks(5));
  assert_ok(say("switch", "main", NULL, NULL));
  assert_mark("late", ticks(6), ticks(6));
  assert_ok(say("unmark", "early", NULL, NULL)); // It is the same on both
  assert_ok(say("switch", "b", NULL, NULL));
  assert_false(has_mark("early"));
}

/** A name that reads as a position would never be looked up. */
static void test_names_of_marks(void** state)
{
  (void)state;
  jam(4, 60);
  rest();
  const int before = count_in_log("mark");
  static const char* const positions[] = {"5", "-1", "3.2", "1920t", " 7"};
  for (size_t i = 0; i < sizeof positions / sizeof *positions; ++i) {
    char sentence[160];
    assert_int_equal(say("mark", positions[i], NULL, NULL), HR_ERR_ARGUMENT);
    snprintf(sentence, sizeof sentence,
             "\"%s\" reads as a position. Give the mark a name that does not.", positions[i]);
    assert_string_equal(rig.error, sentence);
  }
  static const char* const bad[] = {"", "#3", "two\nlines"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
    assert_int_equal(say("mark", bad[i], NULL, NULL), HR_ERR_ARGUMENT);
    assert_non_null(strstr(rig.error, "no usable name"));
  }
  assert_int_equal(say("mark", NULL, NULL, NULL), HR_ERR_ARGUMENT);
  assert_int_equal(say("mark", "fine", "soon", NULL), HR_ERR_ARGUMENT);
  assert_int_equal(say("mark", "fine", "2", "1"), HR_ERR_ARGUMENT);
  const HrValue grab[2] = {hr_value_integer(1), hr_value_text("5")};
  assert_int_equal(rig_command(&rig, "grab", grab, 2), HR_ERR_ARGUMENT);
  assert_false(state_now().loop);
  assert_int_equal(count_in_log("mark"), before);
  assert_ok(say("mark", "5th", NULL, NULL));
  assert_ok(say("replay/at", "5th", NULL, NULL));
}

/** A beat is no nearer than its bar. */
static void test_places_too_far(void** state)
{
  (void)state;
  jam(4, 60);
  rest();
  static const char* const far[] = {
      "1.9223372036854775807", "1.9000000000000000",    "10000001",
      "-9223372036854775808",  "99999999999999999999t", "-99999999999999999999t"};
  const int before = count_in_log("mark");
  for (size_t i = 0; i < sizeof far / sizeof *far; ++i) {
    assert_int_equal(say("mark", "far", far[i], NULL), HR_ERR_ARGUMENT);
    assert_int_equal(say("note", "far", far[i], NULL), HR_ERR_ARGUMENT);
    assert_int_equal(say("replay/at", far[i], NULL, NULL), HR_ERR_ARGUMENT);
    assert_non_null(strstr(rig.error, "too far away"));
    assert_int_equal(say("mark", far[i], NULL, NULL), HR_ERR_ARGUMENT); // Nor is it a name
  }
  assert_int_equal(say("replay/at", "1.0", NULL, NULL), HR_ERR_ARGUMENT); // Beats are from 1
  assert_int_equal(say("replay/at", "1.-9223372036854775808", NULL, NULL), HR_ERR_ARGUMENT);
  assert_int_equal(count_in_log("mark"), before);
}

/** `count` branches from number `from` on, as rows. */
static void list(int64_t from, int64_t count)
{
  const HrValue range[2] = {hr_value_integer(from), hr_value_integer(count)};
  const HrAnswer answer = {keep_row, NULL};
  rows[0] = '\0';
  assert_ok(hr_command_run(rig.session, "list", range, 2, "test", &answer, NULL));
}

/** The branches from a number on, and which is the current one. */
static void test_list_from(void** state)
{
  (void)state;
  jam(4, 60);
  rest();
  assert_ok(say("fork", "other", NULL, NULL));
  state_now();
  list(1, 1);
  assert_non_null(strstr(rows, "|1|main|"));
  assert_non_null(strstr(rows, "|active|0|\n"));
  assert_null(strstr(rows, "|other|"));
  list(2, 1);
  assert_non_null(strstr(rows, "|2|other|"));
  assert_non_null(strstr(rows, "|active|1|\n"));
  assert_null(strstr(rows, "|main|"));
  list(0, 2);
  assert_non_null(strstr(rows, "|1|main|"));
  assert_non_null(strstr(rows, "|2|other|"));
}

/** A number that no branch can have does not begin the list anew, nor is it another's. */
static void test_list_beyond_the_last(void** state)
{
  (void)state;
  static const int64_t beyond[] = {2, UINT32_MAX, (int64_t)UINT32_MAX + 2, INT64_MAX};
  jam(4, 60);
  rest();
  assert_branch("main");
  for (size_t i = 0; i < sizeof beyond / sizeof *beyond; ++i) {
    list(beyond[i], 2);
    assert_string_equal(rows, "");
  }
  assert_int_equal(say("switch", "4294967297", NULL, NULL), HR_ERR_NOT_FOUND);
  assert_ok(say("switch", "0000000001", NULL, NULL));
}

/* ---- What is refused -------------------------------------------------------------- */

/** With no room for another message to the engine, as a host that stands leaves it. */
static void fill_messages(void)
{
  while (!rig_command(&rig, "panic", NULL, 0)) {
  }
}

static void test_refused_changes_nothing(void** state)
{
  (void)state;
  jam(4, 60);
  rest();
  assert_ok(say("loop/range", "1", "2", NULL));
  assert_ok(say("replay", NULL, NULL, NULL));
  const HrSessionState before = state_now();
  assert_true(before.loop && before.replay);
  fill_messages();
  assert_int_equal(command_by("test", "loop/range", "1", "3", NULL), HR_ERR_BUSY);
  assert_int_equal(command_by("test", "loop", NULL, NULL, NULL), HR_ERR_BUSY);
  assert_int_equal(command_by("test", "stop", NULL, NULL, NULL), HR_ERR_BUSY);
  const HrSessionState after = state_now();
  assert_int_equal(after.loop_end, before.loop_end);
  assert_true(after.loop);
  assert_true(after.replay);
}

/** Settings are taken up to their bounds, as numbers or as whole texts of them. */
static void test_bounds_of_settings(void** state)
{
  (void)state;
  say_number("snap", 1000);
  say_number("silence", 1000);
  assert_ok(say("quantum", "1024 bars", NULL, NULL));
  assert_ok(say("standing", "1", NULL, NULL));
  const HrValue most = hr_value_integer(1001);
  assert_int_equal(rig_command(&rig, "snap", &most, 1), HR_ERR_ARGUMENT);
  assert_int_equal(rig_command(&rig, "silence", &most, 1), HR_ERR_ARGUMENT);
  static const char* const quanta[] = {"1025 bars", "0 bars", "4 bars or so", "4 bar", "7", "2x"};
  for (size_t i = 0; i < sizeof quanta / sizeof *quanta; ++i) {
    assert_int_equal(say("quantum", quanta[i], NULL, NULL), HR_ERR_ARGUMENT);
  }
  assert_int_equal(say("standing", "2x", NULL, NULL), HR_ERR_ARGUMENT);
  const HrSessionState now = state_now();
  assert_int_equal(now.snap_ms, 1000);
  assert_int_equal(now.silence_bars, 1000);
  assert_string_equal(now.quantum_name, "1024 bars");
  assert_int_equal(now.standing, 1);
}

/** A tree that cannot be gone to just now is no trouble with the one that is there. */
static void test_a_tree_refused_is_no_trouble(void** state)
{
  (void)state;
  jam(4, 60);
  rest();
  char name[16] = "";
  HrStatus status = HR_OK;
  for (int i = 0; !status; ++i) { // With no block between them
    snprintf(name, sizeof name, "tree %d", i);
    status = rig_say(&rig, "tree", name);
  }
  assert_int_equal(status, HR_ERR_BUSY);
  const HrSessionState now = state_now();
  assert_string_not_equal(now.tree_name, name);
  assert_string_equal(now.trouble_text, "");
  assert_ok(now.trouble);
}

/* ---- Where replay begins --------------------------------------------------------- */

/** In the next beat and a half `key` begins, then the one above it, and nothing else. */
static void assert_heard_from(uint8_t key)
{
  const RigEvent* ons[8];
  rig_run(&rig, BEAT + BEAT / 2);
  assert_int_equal(note_ons(ons, 8), 2);
  assert_int_equal(ons[0]->bytes[1], key);
  assert_int_equal(ons[1]->bytes[1], key + 1);
  rig.output_count = 0;
}

/** Along a host that rolls, what is to be heard may still be to come. */
static void test_replay_before_there_is_music(void** state)
{
  (void)state;
  assert_int_equal(say("replay", NULL, NULL, NULL), HR_ERR_NOT_FOUND);
  assert_false(state_now().replay);
  rig_transport(&rig, true, 0);
  rig_run(&rig, 512);
  assert_ok(say("replay", NULL, NULL, NULL));
  assert_true(state_now().replay);
}

/** A branch is heard from its start, also if that lies before the first bar, or from the
 * loop's, if there is one. */
static void test_start_of_a_branch(void** state)
{
  (void)state;
  rig_transport(&rig, true, -BAR);
  for (int i = 0; i < 12; ++i) {
    play_note(i * BEAT, (uint8_t)(60 + i), BEAT / 2);
  }
  rig_run(&rig, 3 * BAR);
  stop_host();
  assert_ok(say("quantum", "now", NULL, NULL));
  rig.output_count = 0;
  say_number("slot/replay", 1);
  assert_heard_from(60);
  assert_ok(rig_say(&rig, "replay", NULL));
  assert_heard_from(60);
  assert_ok(rig_say(&rig, "stop", NULL));
  assert_false(state_now().replay);
  const HrValue range[2] = {hr_value_text("2"), hr_value_text("3")};
  assert_ok(rig_command(&rig, "loop/range", range, 2));
  say_number("slot/replay", 1);
  assert_heard_from(68);
  assert_ok(rig_say(&rig, "replay", NULL));
  assert_heard_from(68);
}

/** A branch that was left a moment ago is heard with all that was played there, also what
 * still waits for the store. */
static void test_back_to_what_was_just_played(void** state)
{
  (void)state;
  const RigEvent* ons[8];
  record_beats(2, 60);
  assert_ok(say("quantum", "now", NULL, NULL));
  say_number("follow", 1);
  rig_transport(&rig, true, 2 * BAR);
  rig_run(&rig, BEAT);
  assert_ok(say("fork", "b", NULL, NULL));
  state_now();
  rig.idle = true;
  play_note(0, 90, BEAT / 2);
  rig_run(&rig, BEAT);
  assert_ok(command_by("test", "switch", "main", NULL, NULL));
  rig_transport(&rig, true, 2 * BAR);
  rig_run(&rig, 512);
  rig.output_count = 0;
  assert_ok(command_by("test", "switch", "b", NULL, NULL));
  rig_run(&rig, 2 * BEAT);
  assert_int_equal(note_ons(ons, 8), 1);
  assert_int_equal(ons[0]->bytes[1], 90);
}

/* ---- Hiding ------------------------------------------------------------------------- */

/** The branch that somebody plays on is never hidden, and the sentence says what to do. */
static void test_hide_the_current_branch(void** state)
{
  (void)state;
  jam(4, 60);
  rest();
  assert_int_equal(say("hide", "main", NULL, NULL), HR_ERR_ARGUMENT);
  assert_string_equal(rig.error, "That is the branch you are on. Switch to another one first.");
  const HrSessionState first = state_now();
  Rig other;
  const HrAttachment same = {.store = first.store_path, .tree = first.tree_name, .branch = "main"};
  assert_true(rig_open(&other, &same));
  rig_run(&other, 512);
  assert_ok(say_to(&other, "fork", "theirs"));
  assert_int_equal(say("hide", "theirs", NULL, NULL), HR_ERR_BUSY);
  assert_string_equal(rig.error, "The tree was last on that branch, perhaps by another instance. "
                                 "Switch there and away again first.");
  rig_close(&other);
  assert_ok(say("switch", "theirs", NULL, NULL));
  assert_branch("theirs");
  assert_ok(say("switch", "main", NULL, NULL));
  assert_ok(say("hide", "theirs", NULL, NULL));
}

/** A branch can be forked where it ends, and no further on. */
static void test_fork_at_the_end(void** state)
{
  (void)state;
  char at[32];
  jam(4, 60);
  rest();
  const HrTick head = state_now().head;
  snprintf(at, sizeof at, "%lldt", (long long)head + 1);
  assert_int_equal(say("fork/at", at, "beyond", NULL), HR_ERR_ARGUMENT);
  assert_non_null(strstr(rig.error, "The branch ends before that."));
  assert_branch("main");
  snprintf(at, sizeof at, "%lldt", (long long)head);
  assert_ok(say("fork/at", at, "on", NULL));
  assert_branch("on");
  assert_int_equal(music_of("on").count, 8);
}

/** What sounds where it is forked ends there, and playing begins there all the same. */
static void test_fork_in_a_note(void** state)
{
  (void)state;
  static const uint8_t statuses[] = {0x90, 0xb0, 0xb0, 0x80, 0x90, 0x80};
  play_note(0, 60, 6 * BEAT);
  rig_play(&rig, BEAT, 0xb0, 64, 127);
  rig_play(&rig, 7 * BEAT, 0xb0, 64, 0);
  rig_run(&rig, 2 * BAR);
  assert_ok(say("fork/at", "2", "b", NULL));
  play_note(0, 62, BEAT);
  rig_run(&rig, BAR);
  const Music music = music_of("b");
  assert_int_equal(music.count, sizeof statuses);
  assert_true(music.tick[2] == ticks(4) && music.tick[3] == ticks(4));
  assert_true(music.tick[4] == ticks(4) && music.bytes[4][1] == 62);
}

/** A fork ends the replay of what is left, and the notes that sound of it, for the ear and in
 * the record. */
static void test_fork_ends_a_replay(void** state)
{
  (void)state;
  static const uint8_t statuses[] = {0x90, 0x80, 0x90, 0x80};
  for (int i = 0; i < 8; ++i) {
    play_note(i * BEAT, (uint8_t)(60 + i), BEAT);
  }
  rest();
  assert_ok(say("replay", NULL, NULL, NULL));
  rig_run(&rig, BEAT + BEAT / 2);
  assert_ok(say("fork", "b", NULL, NULL));
  rig.output_count = 0;
  rig_run(&rig, BAR);
  assert_int_equal(rig.output_count, 0);
  const Music music = music_of("b");
  assert_int_equal(music.count, sizeof statuses);
  for (int i = 0; i < music.count; ++i) {
    assert_int_equal(music.bytes[i][0], statuses[i]);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(test_nothing_to_undo),
      TEST(test_undo_a_fork),
      TEST(test_undo_playing_over_the_past),
      TEST(test_undo_a_fork_in_the_past),
      TEST(test_undo_a_fork_before_going_there),
      TEST(test_undo_what_waits),
      TEST(test_redo_leaves_what_waits),
      TEST(test_back_and_forth),
      TEST(test_what_is_new_ends_redo),
      TEST(test_undo_while_rolling),
      TEST(test_undo_playing_over_a_host),
      TEST(test_coming_home_is_passed_over),
      TEST(test_a_loop_s_start_is_passed_over),
      TEST(test_who_asked),
      TEST(test_undo_a_fork_on_its_way),
      TEST(test_the_change_is_told_when_it_is_there),
      TEST(test_undo_beside_another),
      cmocka_unit_test_setup_teardown(test_an_undo_outlives_its_process, setup_scratch,
                                      teardown_scratch),
      TEST(test_merge),
      TEST(test_what_cannot_be_merged),
      TEST(test_grab_then_merge),
      TEST(test_marks),
      TEST(test_a_mark_is_a_change),
      TEST(test_replay_from_a_mark),
      TEST(test_marks_and_forks),
      TEST(test_names_of_marks),
      TEST(test_places_too_far),
      TEST(test_list_from),
      TEST(test_list_beyond_the_last),
      TEST(test_refused_changes_nothing),
      TEST(test_bounds_of_settings),
      TEST(test_a_tree_refused_is_no_trouble),
      TEST(test_replay_before_there_is_music),
      TEST(test_start_of_a_branch),
      TEST(test_back_to_what_was_just_played),
      TEST(test_hide_the_current_branch),
      TEST(test_fork_at_the_end),
      TEST(test_fork_in_a_note),
      TEST(test_fork_ends_a_replay),
  };
  return cmocka_run_group_tests_name("commands", tests, NULL, NULL);
}
