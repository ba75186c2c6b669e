/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Random performances by random transport scripts in random blocks. Whatever
 * happens: every note is kept where it was played, and once; what is replayed
 * comes on its frame; what is begun is ended. HR_CASES says how many (10,000; a
 * tenth with sanitizers), HR_SEED which comes first. */

#include "plugin/session_internal.h"
#include "tests/rig.h"
#include "tests/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CASES 1000
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CASES 1000
#endif
#endif
#ifndef CASES
#define CASES 10000
#endif

enum { NOTES_MAX = 400, BEAT = RIG_RATE / 2 };

/** A note that was played: told from all others by its channel, key and velocity. */
typedef struct {
  uint8_t channel, key, velocity;
  int64_t host_frame; ///< Where the host was; INT64_MIN: it stood still
  int found;
} Played;

static Rig rig;
static Played notes[NOTES_MAX];
static int note_count;
static uint64_t chance;
static unsigned seed;
static bool busy_host; ///< Its worker comes late, if at all

static uint32_t choose(uint32_t limit)
{
  chance ^= chance << 13;
  chance ^= chance >> 7;
  chance ^= chance << 17;
  return (uint32_t)(chance >> 33) % limit;
}

#define check(condition)                                                                           \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      print_error("case %u: %s (line %d)\n", seed, #condition, __LINE__);                          \
      fail();                                                                                      \
    }                                                                                              \
  } while (0)

/* ---- Playing ------------------------------------------------------------------ */

static void play_something(int64_t frames)
{
  const uint32_t chords = choose(6);
  for (uint32_t i = 0; i < chords; ++i) {
    const int64_t at = choose((uint32_t)frames);
    const uint32_t keys = 1 + (choose(4) ? 0 : choose(5));
    for (uint32_t k = 0; k < keys && note_count < NOTES_MAX; ++k) {
      Played* const note = &notes[note_count];
      *note = (Played){(uint8_t)(note_count % 3), (uint8_t)(note_count / 3 % 128),
                       (uint8_t)(1u + (unsigned)note_count / 384 * 50 + choose(50)),
                       rig.rolling ? rig.host_frame + at : INT64_MIN, 0};
      ++note_count;
      rig_play(&rig, at, (uint8_t)(0x90 | note->channel), note->key, note->velocity);
      rig_play(&rig, at + 1 + (int64_t)choose(3u * BEAT), (uint8_t)(0x80 | note->channel),
               note->key, 64);
    }
    if (choose(3) == 0) {
      rig_play(&rig, at, 0xb0, (uint8_t)(choose(2) ? 64 : 1), (uint8_t)choose(128));
    }
  }
}

static void run_somehow(int64_t frames)
{
  static const uint32_t blocks[] = {1, 16, 64, 100, 256, 333, 1024, 4096, 8192};
  rig.idle = busy_host && choose(4);
  while (frames > 0) {
    uint32_t block = blocks[choose(sizeof blocks / sizeof *blocks)];
    if (block < 64 && choose(10)) {
      block = 512; // Small blocks take long
    }
    block = frames < block ? (uint32_t)frames : block;
    if (choose(20) == 0) {
      rig_run_block(&rig, 0);
    }
    rig_run_block(&rig, block);
    frames -= block;
  }
}

static void give_command(void)
{
  static const struct {
    const char* verb;
    const char* texts[2];
  } commands[] = {
      {"fork", {NULL}},
      {"fork", {"idea"}},
      {"next", {NULL}},
      {"previous", {NULL}},
      {"follow", {NULL}},
      {"overdub", {NULL}},
      {"cancel", {NULL}},
      {"stop", {NULL}},
      {"panic", {NULL}},
      {"replay", {NULL}},
      {"replay/at", {"1.3"}},
      {"fork/at", {"1.2"}},
      {"fork/at", {"2", "old"}},
      {"switch", {"main"}},
      {"switch", {"#18"}},
      {"loop", {NULL}},
      {"loop/range", {"1.2", "2"}},
      {"quantum", {"now"}},
      {"quantum", {"beat"}},
      {"quantum", {"loop end"}},
  };
  const size_t which = choose(sizeof commands / sizeof *commands);
  HrValue args[2];
  size_t count = 0;
  for (; count < 2 && commands[which].texts[count]; ++count) {
    args[count] = hr_value_text(commands[which].texts[count]);
  }
  rig_command(&rig, commands[which].verb, args, count); // Some cannot be done: that is fine
}

/** Roll, stop, jump; fork, switch, replay in between; play all the time. */
static void perform(void)
{
  for (uint32_t steps = 3 + choose(8); steps > 0; --steps) {
    switch (choose(8)) {
    case 0:
      rig_transport(&rig, false, rig.host_frame);
      break;
    case 1:
    case 2:
      rig_transport(&rig, true, choose(4) ? rig.host_frame : choose(12) * BEAT);
      break;
    case 3:
      rig_transport(&rig, rig.rolling, choose(20) * 11111);
      break;
    case 4:
    case 5:
    case 6:
      give_command();
      break;
    default:
      break;
    }
    const int64_t frames = 1 + choose(3u * BEAT);
    play_something(frames);
    run_somehow(frames);
  }
  /* Let all that is held go. */
  run_somehow(4 * BEAT);
  const HrValue off = hr_value_integer(0);
  rig_say(&rig, "stop", NULL);
  rig_command(&rig, "overdub", &off, 1);
  rig_command(&rig, "loop", &off, 1);
  run_somehow(1000);
}

/* ---- Checking ------------------------------------------------------------------- */

static Played* find_played(const uint8_t* bytes)
{
  for (int i = 0; i < note_count; ++i) {
    if (notes[i].channel == (bytes[0] & 15) && notes[i].key == bytes[1] &&
        notes[i].velocity == bytes[2]) {
      return &notes[i];
    }
  }
  return NULL;
}

/** Every own event of every branch: each note once, at its tick. */
static void check_kept(HrStore* store, HrTreeId tree)
{
  HrTxn* txn = NULL;
  HrBranch branch = {0};
  check(!hr_txn_begin(store, HR_READ, &txn));
  while (!hr_branch_next(txn, tree, hr_branch_number(branch.id), &branch)) {
    HrPath path;
    HrEvent event;
    HrTick last = INT64_MIN;
    check(!hr_path_open(txn, branch.id, INT64_MIN, &path));
    while (!hr_path_next(&path, &event)) {
      check(event.tick >= last);
      last = event.tick;
      const bool own = path.span.branch == branch.id;
      if (!own || event.kind != HR_EVENT_MIDI || (event.bytes[0] & 0xf0) != 0x90) {
        continue;
      }
      Played* const note = find_played(event.bytes);
      check(note);
      ++note->found;
      if (note->host_frame != INT64_MIN && note->found == 1) {
        const double ticks_per_frame = HR_TICKS_PER_QUARTER / (double)BEAT;
        const HrTick wanted = llrint((double)note->host_frame * ticks_per_frame);
        check(event.tick == wanted);
      }
    }
    hr_path_close(&path);
  }
  hr_txn_abort(txn);
  for (int i = 0; i < note_count; ++i) {
    check(notes[i].found >= 1); // More than once where it was overdubbed
  }
}

/** What has come out is in order and in its block; what was begun is ended. */
static void check_output(size_t from)
{
  static int on[16][128];
  memset(on, 0, sizeof on);
  int64_t last = 0;
  for (size_t i = from; i < rig.output_count; ++i) {
    const uint8_t* const bytes = rig.output[i].bytes;
    const int kind = bytes[0] & 0xf0;
    int* const count = &on[bytes[0] & 15][bytes[1] & 127];
    check(rig.output[i].frame >= last);
    last = rig.output[i].frame;
    if (kind == 0x90 && bytes[2]) {
      ++*count;
    } else if ((kind == 0x80 || kind == 0x90) && *count) {
      --*count;
    }
  }
  for (int channel = 0; channel < 16; ++channel) {
    for (int key = 0; key < 128; ++key) {
      check(on[channel][key] == 0);
    }
  }
}

/** An event expected to be heard. */
typedef struct {
  HrTick tick;
  uint8_t bytes[3];
  uint32_t size;
} Expected;

static Expected expected[4 * NOTES_MAX];
static size_t expected_count;

/** What the path of `branch` holds in a range of ticks. */
static void expect(HrStore* store, HrBranchId branch, HrTick from, HrTick until)
{
  HrTxn* txn = NULL;
  HrPath path;
  HrEvent event;
  expected_count = 0;
  check(!hr_txn_begin(store, HR_READ, &txn));
  check(!hr_path_open(txn, branch, from, &path));
  while (!hr_path_next(&path, &event) && event.tick < until) {
    if (event.kind == HR_EVENT_MIDI) {
      check(expected_count < sizeof expected / sizeof *expected);
      Expected* const e = &expected[expected_count++];
      *e = (Expected){.tick = event.tick, .size = event.size};
      memcpy(e->bytes, event.bytes, event.size);
    }
  }
  hr_path_close(&path);
  hr_txn_abort(txn);
}

static HrBranchId any_branch(HrStore* store, HrTreeId tree)
{
  HrTxn* txn = NULL;
  HrTree record;
  HrBranch branch = {0};
  check(!hr_txn_begin(store, HR_READ, &txn));
  check(!hr_tree_get(txn, tree, &record));
  for (uint32_t skip = choose(record.branch_count); skip != UINT32_MAX; --skip) {
    check(!hr_branch_next(txn, tree, hr_branch_number(branch.id), &branch));
  }
  hr_txn_abort(txn);
  return branch.id;
}

/** Replay a branch along the host's transport from somewhere: each of its
 * events comes, on its frame. */
static void check_replay(HrStore* store, HrTreeId tree)
{
  const HrBranchId branch = any_branch(store, tree);
  const int64_t start = choose(8) * 12345;
  const HrValue on = hr_value_integer(1);
  char number[16];
  snprintf(number, sizeof number, "#%u", hr_branch_number(branch));
  rig_transport(&rig, false, start);
  rig_run_block(&rig, 256);
  rig_say(&rig, "quantum", "now");
  rig_say(&rig, "switch", number);
  rig_run_block(&rig, 256);
  rig_command(&rig, "follow", &on, 1);
  rig_run_block(&rig, 256);
  rig_run_block(&rig, 256);

  const double ticks_per_frame = HR_TICKS_PER_QUARTER / (double)BEAT;
  const HrTick from = llrint((double)start * ticks_per_frame);
  expect(store, branch, from, llrint((double)(start + 16 * BEAT) * ticks_per_frame));
  rig.output_count = 0;
  const int64_t began = rig.now;
  rig_transport(&rig, true, start);
  run_somehow(16 * BEAT);
  rig_transport(&rig, false, rig.host_frame);
  rig_run_block(&rig, 256);
  rig_run_block(&rig, 256);
  check_output(0);

  size_t at = 0;
  for (size_t i = 0; i < expected_count; ++i) {
    const Expected* const e = &expected[i];
    const int64_t frame = began + llrint((double)(e->tick - from) / ticks_per_frame);
    /* Chased messages come on the first frame, before the others. */
    while (at < rig.output_count && rig.output[at].frame == began &&
           (frame != began || memcmp(rig.output[at].bytes, e->bytes, e->size))) {
      ++at;
    }
    check(at < rig.output_count);
    check(rig.output[at].frame == frame);
    check(!memcmp(rig.output[at].bytes, e->bytes, e->size));
    ++at;
  }
}

static void run_case(HrStore* store)
{
  const HrAttachment where = {.store = hr_store_path(store)};
  chance = seed * 0x9e3779b97f4a7c15u + 1;
  busy_host = seed % 2;
  note_count = 0;
  check(rig_open(&rig, &where));
  perform();
  check_output(0);
  hr_session_flush(rig.session);
  HrSessionState state;
  hr_session_state(rig.session, &state);
  check(state.dropped == 0 && state.malformed == 0);
  check(state.trouble == HR_OK);
  check(rig.session->rescue_count == 0); // The engine knew where each branch ended
  busy_host = rig.idle = false;
  if (state.tree) {
    check_kept(store, state.tree);
    check_replay(store, state.tree);
  }
  rig_close(&rig);
}

static void test_whatever_happens(void** state)
{
  (void)state;
  const char* const wanted = getenv("HR_CASES");
  const char* const first = getenv("HR_SEED");
  const unsigned cases = wanted ? (unsigned)atoi(wanted) : CASES;
  HrStore* store = NULL;
  HrVerifyReport report;
  assert_int_equal(scratch_make(), 0);
  setenv("XDG_RUNTIME_DIR", scratch, 1);
  assert_int_equal(hr_store_open(scratch_path("store.hr"), HR_STORE_CREATE, &store, NULL), HR_OK);
  uint64_t played = 0;
  for (unsigned i = 0; i < cases; ++i) {
    seed = (first ? (unsigned)atoi(first) : 1) + i;
    run_case(store);
    played += (uint64_t)note_count;
  }
  assert_int_equal(hr_store_verify(store, NULL, NULL, &report), HR_OK);
  assert_int_equal(report.problems, 0);
  hr_store_close(store);
  scratch_remove();
  print_message("%u cases, %llu notes on %llu branches: each kept, replayed and ended\n", cases,
                (unsigned long long)played, (unsigned long long)report.branches);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_whatever_happens)};
  return cmocka_run_group_tests_name("property", tests, NULL, NULL);
}
