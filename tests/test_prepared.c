/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* An immediate switch waits for nobody: what is prepared for it is what the
 * store holds, it touches neither the store's map nor its file, and commits
 * under way are no matter to it. LMDB's calls are counted, and its commits made
 * slow, by functions of their names that stand in front of them. */

#include "plugin/engine_parts.h"
#include "plugin/session_internal.h"
#include "tests/rig.h"
#include "tests/scratch.h"

#include <dlfcn.h>
#include <lmdb.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>

#include <cmocka.h>

#define assert_ok(call) assert_int_equal((call), HR_OK)

enum { BEAT = RIG_RATE / 2, BAR = 4 * BEAT, QUARTER = HR_TICKS_PER_QUARTER };

/* ---- Standing in front of LMDB --------------------------------------------- */

typedef struct {
  unsigned begun, writers, commits, looks;
} Calls;

static _Thread_local Calls calls;   ///< Of this thread
static _Atomic unsigned commit_ms;  ///< How long a commit takes at least
static _Atomic unsigned committing; ///< Commits under way

static void sleep_ms(unsigned ms)
{
  nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL);
}

static int64_t now_ms(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int mdb_txn_begin(MDB_env* env, MDB_txn* parent, unsigned flags, MDB_txn** txn)
{
  int (*real)(MDB_env*, MDB_txn*, unsigned, MDB_txn**);
  *(void**)&real = dlsym(RTLD_NEXT, "mdb_txn_begin");
  calls.begun += 1;
  calls.writers += !(flags & MDB_RDONLY);
  return real(env, parent, flags, txn);
}

int mdb_txn_commit(MDB_txn* txn)
{
  int (*real)(MDB_txn*);
  *(void**)&real = dlsym(RTLD_NEXT, "mdb_txn_commit");
  calls.commits += 1;
  ++committing;
  sleep_ms(commit_ms);
  const int code = real(txn);
  --committing;
  return code;
}

int mdb_get(MDB_txn* txn, MDB_dbi dbi, MDB_val* key, MDB_val* data)
{
  int (*real)(MDB_txn*, MDB_dbi, MDB_val*, MDB_val*);
  *(void**)&real = dlsym(RTLD_NEXT, "mdb_get");
  calls.looks += 1;
  return real(txn, dbi, key, data);
}

/* ---- A store with music -------------------------------------------------------- */

static Rig rig;
static HrStore* store;
static HrTreeId tree;
static uint64_t chance;

static uint32_t choose(uint32_t limit)
{
  chance ^= chance << 13;
  chance ^= chance >> 7;
  chance ^= chance << 17;
  return (uint32_t)(chance >> 33) % limit;
}

static int setup(void** state)
{
  (void)state;
  commit_ms = 0;
  chance = 0x9e3779b97f4a7c15u;
  if (scratch_make()) {
    return -1;
  }
  HrTxn* txn = NULL;
  return hr_store_open(scratch_path("store.hr"), HR_STORE_CREATE, &store, NULL) ||
         hr_txn_begin(store, HR_WRITE, &txn) || hr_tree_create(txn, "music", 0, &tree) ||
         hr_txn_commit(txn);
}

static int teardown(void** state)
{
  (void)state;
  hr_store_close(store);
  scratch_remove();
  return 0;
}

static void open_rig(void)
{
  const HrAttachment where = {.store = hr_store_path(store), .tree = "music", .branch = "main"};
  assert_true(rig_open(&rig, &where));
}

static HrBranchId number(uint32_t branch)
{
  return hr_branch_id(tree, branch);
}

static HrTxn* begin(HrTxnMode mode)
{
  HrTxn* txn = NULL;
  assert_ok(hr_txn_begin(store, mode, &txn));
  return txn;
}

static void append(HrTxn* txn, HrBranchId branch, HrTick tick, HrEventKind kind,
                   const uint8_t* bytes, uint32_t size)
{
  const HrEvent event = {tick, kind, size, bytes};
  assert_ok(hr_append(txn, branch, &event, NULL));
}

/** Anything that a stream may have to carry. */
static void append_something(HrTxn* txn, HrBranchId branch, HrTick tick)
{
  const uint8_t key = (uint8_t)choose(128);
  const uint8_t value = (uint8_t)choose(128);
  const uint8_t channel = (uint8_t)choose(4);
  uint8_t bytes[300] = {0xf0};
  switch (choose(40)) {
  case 0:
    hr_meta_tempo(60.0 + choose(120), bytes);
    append(txn, branch, tick, HR_EVENT_META, bytes, HR_META_TEMPO_SIZE);
    break;
  case 1:
    hr_meta_meter((uint16_t)(2 + choose(5)), 4, bytes);
    append(txn, branch, tick, HR_EVENT_META, bytes, HR_META_METER_SIZE);
    break;
  case 2:
    bytes[sizeof bytes - 1] = 0xf7;
    append(txn, branch, tick, HR_EVENT_MIDI, bytes, sizeof bytes);
    break;
  case 3:
    append(txn, branch, tick, HR_EVENT_MIDI, (uint8_t[]){(uint8_t)(0xc0 | channel), key}, 2);
    break;
  case 4:
  case 5:
  case 6:
    append(txn, branch, tick, HR_EVENT_MIDI,
           (uint8_t[]){(uint8_t)(0xb0 | channel), (uint8_t)(key % 96), value}, 3);
    break;
  case 7:
    append(txn, branch, tick, HR_EVENT_MIDI, (uint8_t[]){(uint8_t)(0xe0 | channel), key, value}, 3);
    break;
  default:
    append(txn, branch, tick, HR_EVENT_MIDI,
           (uint8_t[]){(uint8_t)((choose(2) ? 0x90 : 0x80) | channel), key, value}, 3);
    break;
  }
}

/** Branches of branches, some dense, some sparse, some without events. */
static void make_random_tree(uint32_t branches, HrTick length)
{
  HrTxn* const txn = begin(HR_WRITE);
  for (uint32_t i = 1; i <= branches; ++i) {
    HrBranchId id = number(1);
    if (i > 1) {
      const HrTick from = (HrTick)choose(1000) * length / 1500;
      assert_ok(hr_branch_fork(txn, number(1 + choose(i - 1)), from, NULL, &id));
    }
    HrBranch branch;
    assert_ok(hr_branch_get(txn, id, &branch));
    const HrTick step = 2 * (HrTick[]){QUARTER / 500, QUARTER / 50, QUARTER}[choose(3)];
    HrTick tick = branch.head_tick;
    while (i % 7 && tick < length) {
      tick += choose(3) ? choose((uint32_t)step) : 0;
      append_something(txn, id, tick);
    }
  }
  assert_ok(hr_txn_commit(txn));
}

/* ---- What is prepared is what the store holds ------------------------------------ */

typedef struct {
  HrStatus status;
  HrTempo tempo;
  uint32_t size;
  uint8_t bytes[300000];
} Stream;

/** Open a stream, read ahead once, and take what is in its ring. */
static void take_stream(Stream* stream, HrBranchId branch, HrTick tick, bool looped)
{
  HrSession* const session = rig.session;
  HrRing* const messages = rig.engine->messages;
  HrStreamStart start = {.tick = tick, .at = tick};
  hr_session_lock_writing(session);
  for (unsigned i = 0; i < HR_STREAMS; ++i) { // Streams are cut where their ring is full
    rig.engine->streams[i]->positions->written = 0;
    rig.engine->streams[i]->positions->read = 0;
  }
  memset(stream, 0, sizeof *stream);
  if (looped) {
    start.loop = session->loop;
  }
  stream->status = hr_session_open_stream(session, branch, false, &start);
  assert_ok(stream->status);
  assert_ok(hr_session_send(session, HR_MESSAGE_PANIC, NULL, 0)); // So the ring stays offered
  hr_session_read_ahead(session);
  const HrRing* const ring = rig.engine->streams[start.ring];
  uint64_t position = start.start;
  const HrRecord* record;
  while ((record = hr_ring_next(ring, &position))) {
    assert_true(stream->size + sizeof *record + record->size <= sizeof stream->bytes);
    memcpy(stream->bytes + stream->size, record, sizeof *record + record->size);
    stream->size += (uint32_t)sizeof *record + record->size;
  }
  stream->tempo = start.tempo;
  hr_ring_release(messages, hr_ring_write_position(messages));
  hr_session_unlock_writing(session);
}

static void test_prepared_music_is_the_stores(void** state)
{
  (void)state;
  static Stream remembered, read;
  const HrTick length = 64 * (HrTick)QUARTER;
  unsigned from_memory = 0;
  make_random_tree(12, length);
  open_rig();
  HrSession* const session = rig.session;
  HrPrepared* const prepared = session->prepared;
  for (int i = 0; i < 300; ++i) {
    const HrBranchId branch = number(1 + choose(12));
    const HrTick second = QUARTER / 2 * (HrTick)(1 + choose(6));
    HrPlan plan = {.music = true, .playhead = (HrTick)choose(70) * QUARTER, .second = second};
    plan.loop.on = choose(2);
    plan.loop.start = (HrTick)choose(60) * QUARTER;
    plan.loop.end = plan.loop.start + (HrTick)(1 + choose(20)) * QUARTER;
    session->loop = plan.loop;
    HrTxn* const txn = begin(HR_READ);
    hr_prepared_reset(prepared);
    assert_true(hr_prepared_read(prepared, txn, branch, &plan));
    hr_prepared_show(prepared);
    assert_false(hr_prepared_read(prepared, txn, branch, &plan)); // There already
    assert_true(hr_prepared_covers(prepared, &plan));
    hr_txn_abort(txn);
    for (int k = 0; k < 6; ++k) {
      const HrTick around = k % 2 ? plan.loop.start : plan.playhead;
      const HrTick tick = around + ((HrTick)choose(800) - 250) * second / 100;
      calls = (Calls){0};
      prepared->checked_at = hr_monotonic_ns();
      from_memory += hr_prepared_stretch(hr_prepared_find(prepared, branch), tick) != NULL;
      take_stream(&remembered, branch, tick, true);
      prepared->checked_at = 0; // Not to be trusted
      take_stream(&read, branch, tick, true);
      assert_true(remembered.tempo.tempo == read.tempo.tempo);
      assert_int_equal(remembered.tempo.beats_per_bar, read.tempo.beats_per_bar);
      assert_int_equal(remembered.size, read.size);
      assert_memory_equal(remembered.bytes, read.bytes, read.size);
    }
  }
  print_message("%u of 1800 streams began from memory\n", from_memory);
  assert_true(from_memory > 600);
  rig_close(&rig);
}

/* ---- Who is prepared --------------------------------------------------------------- */

static void test_the_likely_branches(void** state)
{
  (void)state;
  HrTxn* const txn = begin(HR_WRITE);
  const HrBranchId never[HR_LIKELY_RECENT] = {0};
  HrLikely likely;
  HrBranchId id;
  assert_ok(hr_likely_find(txn, number(1), never, &likely));
  assert_int_equal(likely.count, 0); // There is no other
  assert_true(!likely.next && !likely.previous);
  assert_int_equal(likely.slot_count, 1);

  /* 2 to 40 from main, 41 to 50 from 20, 51 to 100 from 50. */
  for (uint32_t i = 2; i <= 100; ++i) {
    const uint32_t parent = i <= 40 ? 1 : i <= 50 ? 20 : 50;
    assert_ok(hr_branch_fork(txn, number(parent), parent, NULL, &id));
    append(txn, id, parent + 1, HR_EVENT_MIDI, (uint8_t[]){0x90, 60, 1}, 3);
    assert_true(id == number(i));
  }
  assert_ok(hr_branch_set_state(txn, number(44), HR_BRANCH_HIDDEN, 0));
  assert_ok(hr_branch_set_state(txn, number(3), HR_BRANCH_HIDDEN, 0));
  const HrBranchId recent[HR_LIKELY_RECENT] = {number(77), number(44), number(45), number(20)};
  assert_ok(hr_likely_find(txn, number(45), recent, &likely));
  const uint32_t first[] = {46, 43, 20, 77, 1, 47, 2, 4, 48, 5};
  for (unsigned i = 0; i < sizeof first / sizeof *first; ++i) {
    assert_int_equal(hr_branch_number(likely.branches[i]), first[i]);
  }
  assert_int_equal(likely.count, HR_LIKELY_MAX);
  assert_true(likely.next == number(46) && likely.previous == number(43));
  assert_int_equal(likely.slot_count, HR_LIKELY_MAX);
  assert_true(likely.slots[0] == number(1) && likely.slots[2] == number(4));

  HrBranch branch;
  assert_ok(hr_neighbour(txn, number(100), 1, &branch)); // Around the end
  assert_true(branch.id == number(1));
  assert_ok(hr_neighbour(txn, number(1), -1, &branch));
  assert_true(branch.id == number(100));
  assert_ok(hr_neighbour(txn, number(4), -1, &branch)); // Over the hidden one
  assert_true(branch.id == number(2));
  hr_txn_abort(txn);
}

static void test_a_large_tree_costs_no_more(void** state)
{
  (void)state;
  HrTxn* const txn = begin(HR_WRITE);
  const HrBranchId never[HR_LIKELY_RECENT] = {0};
  HrLikely likely;
  HrBranch branch;
  HrBranchId id;
  unsigned looks[2];
  for (uint32_t i = 2; i <= 20000; ++i) {
    assert_ok(hr_branch_fork(txn, number(i == 500 ? 2 : 1), i == 500 ? 2 : 1, NULL, &id));
    if (i == 2) {
      append(txn, id, 2, HR_EVENT_MIDI, (uint8_t[]){0x90, 60, 1}, 3);
    }
    if (i > 10000 && i < 10000 + 2 * HR_NEIGHBOURS_MAX) {
      assert_ok(hr_branch_set_state(txn, id, HR_BRANCH_HIDDEN, 0));
    }
    if (i == 1000 || i == 20000) {
      calls.looks = 0;
      assert_ok(hr_likely_find(txn, number(500), never, &likely));
      looks[i == 20000] = calls.looks;
      assert_int_equal(hr_branch_number(likely.branches[2]), 2); // It has no siblings
    }
  }
  assert_int_equal(looks[0], looks[1]);
  calls.looks = 0;
  assert_ok(hr_likely_find(txn, number(10000), never, &likely)); // All before it are visible
  assert_true(calls.looks < 2 * HR_NEIGHBOURS_MAX);
  assert_int_equal(hr_neighbour(txn, number(10000), 1, &branch), HR_ERR_LIMIT);
  hr_txn_abort(txn);
}

/* ---- Switching ------------------------------------------------------------------------- */

/** Make the store's map unreadable, or readable again: who touches it dies. */
static void set_map_readable(bool readable)
{
  FILE* const file = fopen("/proc/self/maps", "r");
  char line[4200];
  unsigned found = 0;
  assert_non_null(file);
  while (fgets(line, sizeof line, file)) {
    unsigned long from, to;
    if (strstr(line, hr_store_path(store)) && !strstr(line, "-lock") &&
        sscanf(line, "%lx-%lx", &from, &to) == 2) {
      assert_int_equal(mprotect((void*)from, to - from, readable ? PROT_READ : PROT_NONE), 0);
      ++found;
    }
  }
  fclose(file);
  assert_int_equal(found, 1);
}

/** Branches 2 to 40 of main; on branch n there is a note n on every beat for ten minutes. */
static void make_takes(void)
{
  HrTxn* const txn = begin(HR_WRITE);
  for (uint32_t i = 1; i <= 40; ++i) {
    HrBranchId id = number(1);
    if (i > 1) {
      assert_ok(hr_branch_fork(txn, number(1), 0, NULL, &id));
    }
    for (HrTick beat = 0; beat < 1200; ++beat) {
      append(txn, id, beat * QUARTER, HR_EVENT_MIDI, (uint8_t[]){0x90, (uint8_t)i, 100}, 3);
      append(txn, id, beat * QUARTER + QUARTER / 2, HR_EVENT_MIDI,
             (uint8_t[]){0x80, (uint8_t)i, 64}, 3);
    }
  }
  assert_ok(hr_txn_commit(txn));
}

/** The key of the one note that begins in the next beat; what begins at once
 * was held. */
static uint8_t next_key(void)
{
  uint8_t key = 0;
  rig_run(&rig, 64);
  const size_t from = rig.output_count;
  rig_run(&rig, BEAT - 64);
  for (size_t i = from; i < rig.output_count; ++i) {
    if ((rig.output[i].bytes[0] & 0xf0) == 0x90) {
      key = rig.output[i].bytes[1];
    }
  }
  return key;
}

/** Run a command that must not touch the store; its note must be next, before
 * anybody has read on. */
static void assert_immediate(const char* verb, HrValue value, bool has_value, uint8_t key)
{
  calls = (Calls){0};
  set_map_readable(false);
  const HrStatus status = rig_command(&rig, verb, &value, has_value);
  set_map_readable(true);
  assert_ok(status);
  assert_int_equal(calls.begun, 0);
  rig.idle = true;
  assert_int_equal(next_key(), key);
  rig.idle = false;
  rig_run(&rig, 64);
}

static void test_a_switch_touches_no_store(void** state)
{
  (void)state;
  make_takes();
  open_rig();
  rig.block = 64;
  assert_ok(rig_say(&rig, "quantum", "now"));
  assert_ok(rig_say(&rig, "replay", NULL));
  rig_run(&rig, BAR + 100);
  assert_immediate("switch", hr_value_integer(5), true, 5);
  assert_immediate("switch", hr_value_text("take 9"), true, 9);
  assert_immediate("switch", hr_value_text("#2"), true, 2);
  assert_immediate("next", hr_value_integer(1), true, 3);
  assert_immediate("previous", hr_value_integer(1), false, 2);
  assert_immediate("slot", hr_value_integer(12), true, 12);
  assert_immediate("switch", hr_value_text("main"), true, 1);
  for (int i = 0; i < 50; ++i) { // What is prepared keeps up with the music
    const uint8_t key = (uint8_t)(2 + i % 2 * 11 + i % 3);
    assert_immediate("slot", hr_value_integer(key), true, key);
    rig_run(&rig, BEAT * (int64_t)(i % 9));
  }
  /* So it does round a loop, and when the host has the clock. */
  const HrValue range[2] = {hr_value_integer(2), hr_value_integer(7)};
  assert_ok(rig_say(&rig, "replay/at", "2"));
  rig_run(&rig, BEAT + 100);
  assert_ok(rig_command(&rig, "loop/range", range, 2));
  rig_run(&rig, BEAT);
  for (int i = 0; i < 45; ++i) {
    const uint8_t key = (uint8_t)(2 + i % 8);
    assert_immediate("slot", hr_value_integer(key), true, key);
  }
  rig_transport(&rig, true, 40 * BEAT);
  rig_run(&rig, BAR + 100);
  assert_immediate("switch", hr_value_integer(3), true, 3);
  rig_transport(&rig, true, 400 * BEAT);
  rig_run(&rig, BAR + 100);
  assert_immediate("switch", hr_value_integer(4), true, 4);
  rig_close(&rig);
}

/** One that is not prepared is read; nothing is committed for it, although
 * something waits. */
static void test_no_switch_commits(void** state)
{
  (void)state;
  make_takes();
  open_rig();
  assert_ok(rig_say(&rig, "quantum", "now"));
  rig_transport(&rig, true, 1300 * BEAT); // Beyond the end: what is played is appended
  rig_run(&rig, BAR);
  assert_ok(rig_say(&rig, "follow", NULL));
  rig_run(&rig, BAR);
  rig.idle = true;
  rig_play(&rig, 0, 0xb0, 1, 1);
  rig_run(&rig, 256);
  assert_true(hr_ring_used(&rig.session->binding.capture->ring) > 0);
  assert_false(hr_session_fork_waits(rig.session));
  assert_null(hr_session_prepared(rig.session, number(37)));
  assert_true(rig.session->replay);
  calls = (Calls){0};
  assert_ok(rig_command(&rig, "switch", &(HrValue){.type = HR_VALUE_INTEGER, .integer = 37}, 1));
  rig_run(&rig, 256);
  assert_int_equal(rig.engine->recorder.target.number, 37);
  assert_ok(rig_say(&rig, "switch", "take 30"));
  rig_run(&rig, 256);
  assert_ok(rig_say(&rig, "next", NULL)); // After where the ring says that we are
  rig_run(&rig, 256);
  assert_int_equal(rig.engine->recorder.target.number, 31);
  assert_ok(rig_say(&rig, "previous", NULL));
  assert_int_equal(calls.writers, 0);
  assert_int_equal(calls.commits, 0);
  rig_close(&rig);
}

/** Names and ends change: a switch never goes by what was true before. */
static void test_nothing_stale_is_gone_by(void** state)
{
  (void)state;
  make_takes();
  open_rig();
  assert_ok(rig_say(&rig, "quantum", "now"));
  rig_run(&rig, BAR);
  const HrValue names[2] = {hr_value_text("take 5"), hr_value_text("chorus")};
  assert_ok(rig_command(&rig, "rename", names, 2));
  assert_int_equal(rig_say(&rig, "switch", "take 5"), HR_ERR_NOT_FOUND);
  assert_ok(rig_say(&rig, "switch", "chorus"));
  rig_run(&rig, BEAT);
  assert_ok(rig_say(&rig, "hide", "take 6"));
  assert_int_equal(rig_say(&rig, "switch", "take 6"), HR_ERR_ARGUMENT);
  assert_ok(rig_say(&rig, "next", NULL));
  rig_run(&rig, BEAT);
  assert_true(hr_session_current(rig.session) == number(7));

  /* What others did to the store is seen soon. */
  HrTxn* const txn = begin(HR_WRITE);
  const HrTick far = 5000 * (HrTick)QUARTER;
  assert_ok(hr_branch_rename(txn, number(9), "bridge", 0));
  append(txn, number(9), far, HR_EVENT_MIDI, (uint8_t[]){0x90, 9, 1}, 3);
  assert_ok(hr_txn_commit(txn));
  sleep_ms(60);
  rig_run(&rig, 256);
  assert_int_equal(rig_say(&rig, "switch", "take 9"), HR_ERR_NOT_FOUND);
  assert_ok(rig_say(&rig, "switch", "bridge"));
  rig_run(&rig, 256);
  assert_true(rig.engine->recorder.target.head == far);

  /* Another tree has other branches of the same number. */
  assert_ok(rig_say(&rig, "tree", "another"));
  rig_run(&rig, 256);
  assert_int_equal(rig_say(&rig, "switch", "bridge"), HR_ERR_NOT_FOUND);
  rig_close(&rig);
}

/** Nobody drains: where a branch ends is found in the ring, and its forks as well. */
static void test_the_ring_is_reckoned_with(void** state)
{
  (void)state;
  open_rig();
  rig.idle = true;
  assert_ok(rig_say(&rig, "quantum", "now"));
  rig_play(&rig, 0, 0x90, 60, 1);
  rig_play(&rig, BEAT, 0x80, 60, 1);
  rig_run(&rig, BAR);
  assert_ok(rig_say(&rig, "fork", "side"));
  rig_run(&rig, 256);
  rig_play(&rig, 0, 0x90, 61, 1);
  rig_play(&rig, BEAT, 0x80, 61, 1);
  rig_run(&rig, BAR);
  const HrTarget side = rig.engine->recorder.target;
  calls = (Calls){0};
  assert_ok(rig_say(&rig, "switch", "main"));
  rig_run(&rig, 256);
  const HrTick home = rig.engine->recorder.target.head;
  rig_play(&rig, 0, 0x90, 62, 1);
  rig_play(&rig, BEAT, 0x80, 62, 1);
  rig_run(&rig, BAR);
  const HrTarget at_home = rig.engine->recorder.target;
  assert_true(at_home.head > home);
  assert_ok(rig_say(&rig, "switch", "side")); // In the ring still, but by name
  rig_run(&rig, 256);
  assert_int_equal(rig.engine->recorder.target.number, side.number);
  assert_true(rig.engine->recorder.target.head == side.head);
  calls = (Calls){0};
  rig_play(&rig, 0, 0x90, 63, 1);
  rig_play(&rig, BEAT, 0x80, 63, 1);
  rig_run(&rig, BAR);
  const HrTarget again = rig.engine->recorder.target;
  assert_ok(rig_say(&rig, "switch", "main"));
  rig_run(&rig, 256);
  assert_true(rig.engine->recorder.target.head == at_home.head);
  assert_ok(
      rig_command(&rig, "switch", &(HrValue){.type = HR_VALUE_INTEGER, .integer = side.number}, 1));
  rig_run(&rig, 256);
  assert_true(rig.engine->recorder.target.head == again.head);
  assert_int_equal(calls.commits, 0);
  assert_ok(hr_session_flush(rig.session));
  assert_int_equal(rig.session->counts.rescued, 0);
  HrTree record;
  HrTxn* const txn = begin(HR_READ);
  assert_ok(hr_tree_get(txn, tree, &record));
  hr_txn_abort(txn);
  assert_int_equal(record.branch_count, 2);
  rig_close(&rig);
}

/** A branch ends no earlier than its children begin, also those in the ring. */
static void test_a_fork_in_the_ring_moves_the_end(void** state)
{
  (void)state;
  open_rig();
  assert_ok(rig_say(&rig, "quantum", "now"));
  rig_play(&rig, 0, 0x90, 60, 1);
  rig_play(&rig, BEAT, 0x80, 60, 1);
  rig_run(&rig, BAR);
  assert_ok(rig_say(&rig, "fork", "side"));
  rig_run(&rig, BAR);
  rig.idle = true;
  calls = (Calls){0};
  assert_ok(rig_say(&rig, "switch", "main"));
  rig_run(&rig, 256);
  rig_play(&rig, 0, 0x90, 61, 1);
  rig_play(&rig, BEAT, 0x80, 61, 1);
  rig_run(&rig, BAR);
  const HrTick end = rig.engine->recorder.target.head;
  assert_ok(rig_say(&rig, "fork", "late"));
  rig_run(&rig, 256);
  const HrTick begins = rig.engine->recorder.target.head;
  assert_true(begins > end);
  assert_ok(rig_say(&rig, "switch", "main")); // It is prepared: nothing is drained
  rig_run(&rig, 256);
  assert_int_equal(calls.commits, 0);
  assert_int_equal(rig.engine->recorder.target.number, 1);
  assert_true(rig.engine->recorder.target.head == begins);
  rig_close(&rig);
}

/** Play at the host's beginning, on main, which has no music: what comes there comes before a
 * branch that left main, and is no part of that one's past. */
static void play_before_a_fork(void)
{
  HrBranch main_branch;
  assert_int_equal(rig.engine->recorder.target.number, 1);
  rig_transport(&rig, false, 0);
  rig_run(&rig, 256);
  rig_transport(&rig, true, 0);
  rig_play(&rig, BEAT, 0x90, 60, 1);
  rig_play(&rig, 2 * BEAT, 0x80, 60, 1);
  rig_run(&rig, BAR);
  assert_int_not_equal(rig.engine->recorder.target.number, 1);
  assert_ok(hr_session_flush(rig.session));
  assert_int_equal(rig.session->counts.rescued, 0);
  HrTxn* const txn = begin(HR_READ);
  assert_ok(hr_branch_get(txn, number(1), &main_branch));
  hr_txn_abort(txn);
  assert_int_equal(main_branch.event_count, 0);
}

static void test_nothing_enters_the_past_of_a_fork(void** state)
{
  (void)state;
  HrTarget in_ring = {.number = 1, .empty = true};
  HrTarget to_go_to = in_ring;
  open_rig();
  assert_ok(rig_say(&rig, "quantum", "now"));
  rig_transport(&rig, true, 8 * BAR);
  rig_run(&rig, BAR);
  rig.idle = true;
  assert_ok(rig_say(&rig, "fork", "side"));
  rig_run(&rig, 256);
  assert_int_not_equal(rig.engine->recorder.target.number, 1);
  hr_session_follow_ring(rig.session, &in_ring);
  assert_false(in_ring.empty);
  hr_engine_update_target(&to_go_to, &rig.engine->recorder.target, 0);
  assert_false(to_go_to.empty);
  rig.idle = false;
  assert_ok(rig_say(&rig, "switch", "main"));
  rig_run(&rig, 256);
  play_before_a_fork();
  rig_close(&rig);
}

/* ---- While somebody commits ------------------------------------------------------------- */

static void* work_once(void* unused)
{
  (void)unused;
  hr_session_work(rig.session);
  return NULL;
}

static void test_a_commit_keeps_nobody_waiting(void** state)
{
  (void)state;
  HrSessionState now;
  pthread_t worker;
  make_takes();
  open_rig();
  assert_ok(rig_say(&rig, "quantum", "now"));
  assert_ok(rig_say(&rig, "replay", NULL));
  rig_run(&rig, BAR);
  rig.idle = true;
  rig_play(&rig, 0, 0x90, 100, 1); // Over the past: a fork waits to be committed
  rig_run(&rig, 256);
  assert_ok(rig_say(&rig, "switch", "main"));
  rig_run(&rig, 256);
  commit_ms = 1000;
  const int64_t began = now_ms();
  assert_int_equal(pthread_create(&worker, NULL, work_once, NULL), 0);
  while (!committing) {
    sleep_ms(1);
  }
  assert_ok(rig_command(&rig, "switch", &(HrValue){.type = HR_VALUE_INTEGER, .integer = 7}, 1));
  assert_ok(rig_say(&rig, "fork", "in between"));
  assert_ok(rig_say(&rig, "stop", NULL));
  assert_ok(rig_say(&rig, "get", NULL));
  hr_session_state(rig.session, &now);
  assert_false(hr_session_tend(rig.session));
  assert_true(committing);
  assert_true(now_ms() - began < 1000);
  commit_ms = 0;
  assert_int_equal(rig_say(&rig, "rename", NULL), HR_ERR_ARGUMENT); // This one waits
  assert_true(now_ms() - began >= 1000);
  assert_int_equal(pthread_join(worker, NULL), 0);
  rig_close(&rig);
}

/* ---- All at once ------------------------------------------------------------------------ */

static _Atomic bool over;
static uint32_t played;

static bool write_nowhere(void* handle, uint32_t frame, const uint8_t* bytes, uint32_t size)
{
  (void)handle;
  (void)frame;
  (void)bytes;
  (void)size;
  return true;
}

/** Every note is another: 21 bits of channel, key and velocity. */
static void* play(void* unused)
{
  (void)unused;
  while (!over) {
    hr_engine_begin(rig.engine, 256, true, (HrSink){write_nowhere, NULL});
    if (played < 16u * 128 * 127) {
      const uint8_t channel = (uint8_t)(played % 16);
      const uint8_t key = (uint8_t)(played / 16 % 128);
      hr_engine_midi(rig.engine, 1, (uint8_t[]){0x90 | channel, key, (uint8_t)(1 + played / 2048)},
                     3);
      hr_engine_midi(rig.engine, 100, (uint8_t[]){0x80 | channel, key, 64}, 3);
      ++played;
    }
    hr_engine_end(rig.engine);
    nanosleep(&(struct timespec){0, 200000}, NULL);
  }
  return NULL;
}

static void* work(void* unused)
{
  (void)unused;
  while (!over) {
    hr_session_work(rig.session);
    sleep_ms(1);
  }
  return NULL;
}

static void* command(void* unused)
{
  static const char* const commands[][2] = {
      {"fork", NULL},     {"next", NULL},       {"previous", NULL},   {"switch", "main"},
      {"replay", NULL},   {"stop", NULL},       {"get", NULL},        {"list", NULL},
      {"loop", NULL},     {"switch", "take 2"}, {"switch", "#18"},    {"quantum", "now"},
      {"quantum", "bar"}, {"hide", "take 3"},   {"restore", "take 3"}};
  unsigned turn = 1;
  (void)unused;
  while (!over) {
    turn = turn * 1103515245u + 12345u;
    const char* const* const words = commands[turn / 65536 % (sizeof commands / sizeof *commands)];
    const HrValue value = hr_value_text(words[1]);
    hr_command_run(rig.session, words[0], &value, words[1] != NULL, "test", NULL, NULL);
    hr_session_tend(rig.session);
    sleep_ms(turn / 65536 % 4);
  }
  return NULL;
}

static void test_all_at_once(void** state)
{
  (void)state;
  static uint8_t found[16][128][128];
  static void* (*const threads[])(void*) = {play, work, work, command, command};
  enum { THREADS = sizeof threads / sizeof *threads };
  pthread_t ids[THREADS];
  HrSessionState last;
  open_rig();
  over = false;
  played = 0;
  memset(found, 0, sizeof found);
  commit_ms = 3;
  for (int i = 0; i < THREADS; ++i) {
    assert_int_equal(pthread_create(&ids[i], NULL, threads[i], NULL), 0);
  }
  for (int i = 0; i < 20; ++i) {
    sleep_ms(100);
    const HrAttachment where = {.store = hr_store_path(store), .tree = i % 3 ? "other" : "music"};
    hr_session_attach(rig.session, &where, NULL);
  }
  over = true;
  for (int i = 0; i < THREADS; ++i) {
    pthread_join(ids[i], NULL);
  }
  commit_ms = 0;
  hr_session_state(rig.session, &last);
  assert_int_equal(last.dropped, 0);
  assert_int_equal(last.trouble, HR_OK);
  rig_close(&rig);

  uint32_t kept = 0;
  HrTxn* const txn = begin(HR_READ);
  for (HrTree each = {0}; !hr_tree_next(txn, each.id, &each);) {
    for (HrBranch branch = {0};
         !hr_branch_next(txn, each.id, hr_branch_number(branch.id), &branch);) {
      HrPath path;
      HrEvent event;
      assert_ok(hr_path_open(txn, branch.id, branch.parent ? branch.fork_tick : INT64_MIN, &path));
      while (!hr_path_next(&path, &event)) {
        if (path.span.branch == branch.id && event.kind == HR_EVENT_MIDI &&
            (event.bytes[0] & 0xf0) == 0x90) {
          assert_int_equal(found[event.bytes[0] & 15][event.bytes[1]][event.bytes[2]]++, 0);
          ++kept;
        }
      }
      hr_path_close(&path);
    }
  }
  hr_txn_abort(txn);
  assert_int_equal(kept, played);
  HrVerifyReport report;
  assert_ok(hr_store_verify(store, NULL, NULL, &report));
  assert_int_equal(report.problems, 0);
  print_message("%u notes on %llu branches: each kept once\n", kept,
                (unsigned long long)report.branches);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(test_prepared_music_is_the_stores),
      TEST(test_the_likely_branches),
      TEST(test_a_large_tree_costs_no_more),
      TEST(test_a_switch_touches_no_store),
      TEST(test_no_switch_commits),
      TEST(test_nothing_stale_is_gone_by),
      TEST(test_the_ring_is_reckoned_with),
      TEST(test_a_fork_in_the_ring_moves_the_end),
      TEST(test_nothing_enters_the_past_of_a_fork),
      TEST(test_a_commit_keeps_nobody_waiting),
      TEST(test_all_at_once),
  };
  return cmocka_run_group_tests_name("prepared", tests, NULL, NULL);
}
