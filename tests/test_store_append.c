/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Music appended many words at once is what it is when appended event by event;
 * and when the store is synced. */

#include "store/chase.h"
#include "tests/store_rig.h"

#include <sys/syscall.h>

enum { WORDS = 200000 };

static HrWord music[WORDS];
static unsigned syncs;

/** LMDB's, counted. */
__attribute__((visibility("default"))) int fdatasync(int fd)
{
  ++syncs;
  return (int)syscall(SYS_fdatasync, fd);
}

/** Notes, controllers, programs; several events at one tick; long silences. */
static void compose(void)
{
  uint32_t offset = 0;
  srand(1);
  for (uint32_t i = 0; i < WORDS; ++i) {
    static const uint8_t kinds[] = {0x80, 0x90, 0x90, 0xb0, 0xc0, 0xe0};
    const uint8_t kind = kinds[(unsigned)rand() % sizeof kinds];
    offset += (unsigned)rand() % 3 ? (unsigned)rand() % 20000 : 0;
    music[i] = (HrWord){offset, kind == 0xc0 ? 2 : 3, {0}};
    music[i].bytes[0] = (uint8_t)(kind | (rand() & 0x0f));
    music[i].bytes[1] = rand() & 0x7f;
    music[i].bytes[2] = kind == 0xc0 ? 0 : rand() & 0x7f;
  }
}

static HrBranchId make_branch(HrTxn* txn)
{
  HrTreeId tree;
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  return hr_branch_id(tree, 1);
}

static uint64_t event_count(HrTxn* txn, HrBranchId id)
{
  HrBranch branch;
  assert_ok(hr_branch_get(txn, id, &branch));
  return branch.event_count;
}

static void append_one_by_one(HrTxn* txn, HrBranchId branch, HrTick base,
                              const HrAppendOptions* options)
{
  const HrSpan span = {.words = music, .count = WORDS, .base = base};
  uint32_t index = 0;
  HrEvent event;
  while (hr_span_next(&span, &index, &event)) {
    assert_ok(hr_append(txn, branch, &event, options));
  }
}

/** In runs of every length, over several transactions. */
static void append_words(HrTxn** txn, HrBranchId branch, HrTick base,
                         const HrAppendOptions* options)
{
  for (uint32_t i = 0; i < WORDS;) {
    const uint32_t longest = rand() % 2 ? 20 : 30000;
    uint32_t count = 1 + (unsigned)rand() % longest;
    count = count < WORDS - i ? count : WORDS - i;
    assert_ok(hr_append_words(*txn, branch, base, music + i, count, options));
    i += count;
    if (rand() % 4 == 0) {
      assert_ok(hr_txn_commit(*txn));
      *txn = begin(HR_WRITE);
    }
  }
}

static void assert_same_nodes(HrTxn* txn, HrBranchId one, HrBranchId other)
{
  HrPath a, b;
  HrSpan x, y;
  HrStatus status;
  assert_ok(hr_path_open(txn, one, INT64_MIN, &a));
  assert_ok(hr_path_open(txn, other, INT64_MIN, &b));
  while ((status = hr_path_next_span(&a, &x)) == HR_OK) {
    assert_ok(hr_path_next_span(&b, &y));
    assert_int_equal(x.count, y.count);
    assert_true(x.base == y.base);
    assert_memory_equal(x.words, y.words, x.count * sizeof *x.words);
    assert_int_equal(x.node->event_count, y.node->event_count);
    assert_true(x.node->last_tick == y.node->last_tick);
  }
  assert_int_equal(status, HR_END);
  assert_int_equal(hr_path_next_span(&b, &y), HR_END);
  hr_path_close(&a);
  hr_path_close(&b);
}

static void test_words_are_appended_as_events_are(void** state)
{
  (void)state;
  const HrAppendOptions options = {.author = 7, .wall_clock_ns = 1};
  compose();
  HrTxn* txn = begin(HR_WRITE);
  const HrBranchId one = make_branch(txn);
  const HrBranchId other = make_branch(txn);
  append_one_by_one(txn, one, -1000, &options);
  append_words(&txn, other, -1000, &options);
  assert_int_equal(event_count(txn, other), WORDS);
  assert_ok(hr_txn_commit(txn));
  txn = begin(HR_READ);
  assert_same_nodes(txn, one, other);
  hr_txn_abort(txn);
  verify_clean();
}

/** What a checkpoint says is what all events before it lead to. */
static void test_checkpoints_hold_the_state(void** state)
{
  (void)state;
  compose();
  HrTxn* txn = begin(HR_WRITE);
  const HrBranchId branch = make_branch(txn);
  append_words(&txn, branch, 0, NULL);
  assert_ok(hr_txn_commit(txn));
  txn = begin(HR_READ);
  HrChase followed, found;
  hr_chase_init(&followed);
  for (uint32_t i = 0; i < WORDS; ++i) {
    if (i % 9973 == 0 && i && music[i].offset > music[i - 1].offset) {
      assert_ok(hr_chase_at(txn, branch, music[i].offset, &found));
      for (unsigned c = 0; c < 16; ++c) {
        assert_memory_equal(found.channels[c].velocities, followed.channels[c].velocities, 128);
        assert_int_equal(found.channels[c].program, followed.channels[c].program);
        assert_int_equal(found.channels[c].bend_msb, followed.channels[c].bend_msb);
      }
    }
    hr_chase_follow(&followed, music[i].bytes, music[i].length);
  }
  hr_txn_abort(txn);
}

static void test_bad_words_change_nothing(void** state)
{
  (void)state;
  const HrWord good[2] = {{5, 3, {0x90, 60, 1}}, {6, 3, {0x80, 60, 1}}};
  HrTxn* const txn = begin(HR_WRITE);
  const HrBranchId branch = make_branch(txn);
  for (unsigned length = 0; length <= UINT8_MAX; ++length) {
    const HrWord words[2] = {good[0], {6, (uint8_t)length, {0}}};
    if (length == 0 || length > 3) {
      assert_int_equal(hr_append_words(txn, branch, 0, words, 2, NULL), HR_ERR_ARGUMENT);
    }
  }
  const HrWord falling[2] = {good[1], good[0]};
  assert_int_equal(hr_append_words(txn, branch, 0, falling, 2, NULL), HR_ERR_ARGUMENT);
  assert_ok(hr_append_words(txn, branch, 0, good, 0, NULL));
  assert_int_equal(event_count(txn, branch), 0);
  assert_ok(hr_append_words(txn, branch, 0, good, 2, NULL));
  assert_int_equal(hr_append_words(txn, branch, 0, good, 2, NULL), HR_ERR_PAST);
  assert_int_equal(event_count(txn, branch), 2);
  hr_txn_abort(txn);
}

/** A node's words reach no further than 32 bits from its first. */
static void test_words_far_apart_fill_several_nodes(void** state)
{
  (void)state;
  const HrWord words[3] = {
      {0, 3, {0x90, 60, 1}}, {UINT32_MAX - 1, 3, {0x90, 61, 1}}, {UINT32_MAX, 3, {0x90, 62, 1}}};
  HrTxn* txn = begin(HR_WRITE);
  const HrBranchId branch = make_branch(txn);
  assert_ok(append_note(txn, branch, -1, 59));
  assert_ok(hr_append_words(txn, branch, 0, words, 3, NULL));
  assert_ok(hr_txn_commit(txn));
  txn = begin(HR_READ);
  HrPath path;
  HrEvent event;
  HrBranch record;
  assert_ok(hr_path_open(txn, branch, INT64_MIN, &path));
  assert_ok(hr_path_next(&path, &event));
  for (unsigned i = 0; i < 3; ++i) {
    assert_ok(hr_path_next(&path, &event));
    assert_true(event.tick == words[i].offset);
    assert_int_equal(event.bytes[1], 60 + i);
  }
  assert_int_equal(hr_path_next(&path, &event), HR_END);
  hr_path_close(&path);
  assert_ok(hr_branch_get(txn, branch, &record));
  assert_int_equal(record.node_count, 2);
  hr_txn_abort(txn);
  verify_clean();
}

static void commit_ten(void)
{
  for (int i = 0; i < 10; ++i) {
    HrTxn* const txn = begin(HR_WRITE);
    make_branch(txn);
    assert_ok(hr_txn_commit(txn));
  }
}

static void test_unsynced_is_synced_when_closed(void** state)
{
  (void)state;
  syncs = 0;
  commit_ten();
  assert_true(syncs >= 10);
  hr_store_close(store);
  assert_ok(hr_store_open(scratch_path("a/b/test.hr"), HR_STORE_UNSYNCED, &store, NULL));
  syncs = 0;
  commit_ten();
  assert_int_equal(syncs, 0);
  hr_store_close(store);
  assert_int_equal(syncs, 1);
  assert_ok(hr_store_open(scratch_path("a/b/test.hr"), 0, &store, NULL));
  verify_clean();
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(test_words_are_appended_as_events_are), TEST(test_checkpoints_hold_the_state),
      TEST(test_bad_words_change_nothing),         TEST(test_words_far_apart_fill_several_nodes),
      TEST(test_unsynced_is_synced_when_closed),
  };
  return cmocka_run_group_tests_name("append", tests, NULL, NULL);
}
