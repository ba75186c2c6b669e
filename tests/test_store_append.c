/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Music appended many words at once is what it is when appended event by event;
 * and when the store is synced. */

#include "store/chase.h"
#include "tests/store_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS = 200000 };

static HrWord music[WORDS];
static unsigned syncs;
static bool sync_fails;
static bool no_room_for_meta;
static void (*at_write)(void);

/** LMDB's, counted. */
__attribute__((visibility("default"))) int fdatasync(int fd)
{
  ++syncs;
  if (sync_fails) {
    errno = EIO;
    return -1;
  }
  return (int)syscall(SYS_fdatasync, fd);
}

/** LMDB's; its meta pages are the first two. */
__attribute__((visibility("default"))) ssize_t pwrite(int fd, const void* bytes, size_t size,
                                                      off_t offset)
{
  void (*const act)(void) = at_write;
  at_write = NULL;
  if (act) {
    act();
  }
  if (no_room_for_meta && offset < 2 * (off_t)HR_PAGE_SIZE) {
    errno = ENOSPC;
    return -1;
  }
  return syscall(SYS_pwrite64, fd, bytes, size, offset);
}

/** Notes, controllers, programs; several events at one tick; long silences. */
static void compose(void)
{
  uint32_t offset = 0;
  srand(1);
  for (uint32_t i = 0; i < WORDS; ++i) {
    const uint8_t kind = random_kind();
    offset += (unsigned)rand() % 3 ? (unsigned)rand() % 20000 : 0;
    music[i] = random_word(kind, offset);
  }
}

static uint64_t event_count(HrTxn* txn, HrBranchId id)
{
  HrBranch branch;
  assert_ok(hr_branch_get(txn, id, &branch));
  return branch.event_count;
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
  append_one_by_one(txn, one, -1000, music, WORDS, &options);
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

/** What a transaction knows of a branch's end serves the next one, if that goes on there:
 * not after other music that was given up, nor for another branch. */
static void test_each_branch_goes_on_from_its_own_end(void** state)
{
  (void)state;
  enum { PIECE = 9973 };
  const HrAppendOptions options = {.author = 7, .wall_clock_ns = 1};
  compose();
  HrTxn* txn = begin(HR_WRITE);
  const HrBranchId whole = make_branch(txn);
  const HrBranchId branches[] = {make_branch(txn), make_branch(txn)};
  assert_ok(hr_append_words(txn, whole, 0, music, WORDS, &options));
  assert_ok(hr_txn_commit(txn));
  for (uint32_t i = 0; i < WORDS; i += PIECE) {
    const uint32_t count = WORDS - i < PIECE ? WORDS - i : PIECE;
    for (unsigned b = 0; b < 2; ++b) {
      txn = begin(HR_WRITE);
      assert_ok(hr_append_words(txn, branches[b], (HrTick)1 << 40, music, WORDS / 2, &options));
      hr_txn_abort(txn);
      for (unsigned half = 0; half < 2; ++half) {
        const uint32_t from = half ? count / 2 : 0;
        const uint32_t until = half ? count : count / 2;
        txn = begin(HR_WRITE);
        assert_ok(hr_append_words(txn, branches[b], 0, music + i + from, until - from, &options));
        assert_ok(hr_txn_commit(txn));
      }
    }
  }
  txn = begin(HR_READ);
  assert_same_nodes(txn, whole, branches[0]);
  assert_same_nodes(txn, whole, branches[1]);
  hr_txn_abort(txn);
  verify_clean();
}

/** Another program appends the part of the music from one word to another. */
static int append_elsewhere(const char* path, HrBranchId branch, uint32_t from, uint32_t until)
{
  const HrAppendOptions options = {.author = 7, .wall_clock_ns = 1};
  HrTxn* txn;
  compose();
  return hr_store_open(path, 0, &store, NULL) || hr_txn_begin(store, HR_WRITE, &txn) ||
         hr_append_words(txn, branch, 0, music + from, until - from, &options) ||
         hr_txn_commit(txn);
}

static void run_elsewhere(HrBranchId branch, uint32_t from, uint32_t until)
{
  int status = -1;
  const pid_t child = fork();
  if (!child) {
    char numbers[3][24];
    snprintf(numbers[0], sizeof numbers[0], "%llu", (unsigned long long)branch);
    snprintf(numbers[1], sizeof numbers[1], "%u", from);
    snprintf(numbers[2], sizeof numbers[2], "%u", until);
    execl("/proc/self/exe", "test_store_append", hr_store_path(store), numbers[0], numbers[1],
          numbers[2], (char*)NULL);
    _exit(127);
  }
  assert_true(child > 0 && waitpid(child, &status, 0) == child && !status);
}

/** What this program knows of a branch's end is not true any more when another has been there. */
static void test_a_branch_goes_on_from_where_another_program_left_it(void** state)
{
  (void)state;
  enum { PIECE = 40000 };
  const HrAppendOptions options = {.author = 7, .wall_clock_ns = 1};
  compose();
  HrTxn* txn = begin(HR_WRITE);
  const HrBranchId whole = make_branch(txn);
  const HrBranchId shared = make_branch(txn);
  assert_ok(hr_append_words(txn, whole, 0, music, WORDS, &options));
  assert_ok(hr_txn_commit(txn));
  for (uint32_t i = 0; i < WORDS; i += 2 * PIECE) {
    txn = begin(HR_WRITE);
    assert_ok(hr_append_words(txn, shared, 0, music + i, PIECE, &options));
    assert_ok(hr_txn_commit(txn));
    if (i + PIECE < WORDS) {
      run_elsewhere(shared, i + PIECE, i + 2 * PIECE);
    }
  }
  txn = begin(HR_READ);
  assert_same_nodes(txn, whole, shared);
  hr_txn_abort(txn);
  verify_clean();
}

/** One bad word among many good ones: nothing of the transaction is kept. */
static void refuse(const HrWord* words, uint32_t count)
{
  HrTxn* txn = begin(HR_WRITE);
  HrTree tree;
  const HrBranchId branch = make_branch(txn);
  assert_int_equal(hr_append_words(txn, branch, 0, words, count, NULL), HR_ERR_ARGUMENT);
  assert_int_equal(hr_txn_commit(txn), HR_ERR_ARGUMENT);
  txn = begin(HR_READ);
  assert_int_equal(hr_tree_next(txn, 0, &tree), HR_END);
  hr_txn_abort(txn);
}

static void test_bad_words_change_nothing(void** state)
{
  (void)state;
  enum { MANY = 3000 };
  static HrWord words[MANY];
  static const uint32_t places[] = {0, 1, 500, 501, 502, 503, 1003, 1004, MANY - 1};
  for (uint32_t i = 0; i < MANY; ++i) {
    words[i] = (HrWord){i * 10, 3, {0x90, 60, 1}};
  }
  for (unsigned p = 0; p < sizeof places / sizeof *places; ++p) {
    HrWord* const bad = &words[places[p]];
    const HrWord good = *bad;
    for (unsigned length = 0; length <= UINT8_MAX; length = length ? length + 1 : 4) {
      bad->length = (uint8_t)length;
      refuse(words, MANY);
    }
    *bad = good;
    if (places[p]) {
      bad->offset = words[places[p] - 1].offset - 1;
      refuse(words, MANY);
      *bad = good;
    }
  }
  HrTxn* const txn = begin(HR_WRITE);
  const HrBranchId branch = make_branch(txn);
  const uint8_t byte = 0xf0;
  const HrEvent sizes[] = {{0, HR_EVENT_MIDI, 0, &byte},
                           {0, HR_EVENT_MIDI, HR_EVENT_SIZE_MAX + 1, &byte}};
  assert_int_equal(hr_append(txn, branch, &sizes[0], NULL), HR_ERR_ARGUMENT);
  assert_int_equal(hr_append(txn, branch, &sizes[1], NULL), HR_ERR_ARGUMENT);
  assert_ok(hr_append_words(txn, branch, 0, words, 0, NULL));
  assert_int_equal(event_count(txn, branch), 0);
  assert_ok(hr_append_words(txn, branch, 0, words, 2, NULL));
  assert_int_equal(hr_append_words(txn, branch, 0, words, 2, NULL), HR_ERR_PAST);
  assert_int_equal(event_count(txn, branch), 2);
  assert_ok(hr_txn_commit(txn));
  verify_clean();
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

static void append_controllers(HrTxn* txn, HrBranchId branch, HrTick from, uint32_t count,
                               uint8_t number)
{
  for (uint32_t i = 0; i < count; ++i) {
    const uint8_t bytes[3] = {0xb0, number, 1};
    assert_ok(hr_append(txn, branch, &(HrEvent){from + i, HR_EVENT_MIDI, 3, bytes}, NULL));
  }
}

/** What was not committed is in no checkpoint. */
static void test_a_failed_commit_leaves_no_state(void** state)
{
  (void)state;
  const HrWord bad = {0, 0, {0}};
  enum { LOST = 20, KEPT = 21, CHECKPOINT = HR_NODE_WORDS * HR_CHECKPOINT_NODES };
  HrChase chase;
  HrTxn* txn = begin(HR_WRITE);
  const HrBranchId branch = make_branch(txn);
  append_controllers(txn, branch, 0, 1, 7);
  assert_ok(hr_txn_commit(txn));
  txn = begin(HR_WRITE);
  append_controllers(txn, branch, 1, HR_NODE_WORDS, LOST);
  assert_int_equal(hr_append_words(txn, branch, 10000, &bad, 1, NULL), HR_ERR_ARGUMENT);
  assert_int_equal(hr_txn_commit(txn), HR_ERR_ARGUMENT);
  for (HrTick tick = 1; tick < CHECKPOINT + 10; tick += HR_NODE_WORDS) {
    txn = begin(HR_WRITE);
    append_controllers(txn, branch, tick, HR_NODE_WORDS, KEPT);
    assert_ok(hr_txn_commit(txn));
  }
  txn = begin(HR_READ);
  assert_ok(hr_chase_at(txn, branch, INT64_MAX, &chase));
  assert_int_equal(chase.channels[0].controllers[KEPT], 1);
  assert_int_equal(chase.channels[0].controllers[LOST], HR_CHASE_UNSET);
  hr_txn_abort(txn);
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

/** Who opens it to keep something has it kept, and what was written before as well. */
static void test_unsynced_is_synced_once_opened_so(void** state)
{
  (void)state;
  HrStore* others[3];
  hr_store_close(store);
  assert_ok(hr_store_open(scratch_path("a/b/test.hr"), HR_STORE_UNSYNCED, &store, NULL));
  assert_ok(hr_store_open(scratch_path("a/b/test.hr"), HR_STORE_UNSYNCED, &others[0], NULL));
  assert_ok(hr_store_open(scratch_path("a/b/test.hr"), HR_STORE_READ_ONLY, &others[1], NULL));
  commit_ten();
  HrTxn* const txn = begin(HR_WRITE);
  make_branch(txn);
  syncs = 0;
  assert_ok(hr_store_open(scratch_path("a/b/test.hr"), 0, &others[2], NULL));
  assert_int_equal(syncs, 1);
  assert_ok(hr_txn_commit(txn)); // Begun before
  assert_true(syncs >= 2);
  syncs = 0;
  commit_ten();
  assert_true(syncs >= 10);
  for (int i = 0; i < 3; ++i) {
    hr_store_close(others[i]);
  }
  syncs = 0;
  commit_ten();
  assert_true(syncs >= 10);
}

static HrStore* keeper;

static void open_to_keep(void)
{
  assert_ok(hr_store_open(scratch_path("a/b/test.hr"), 0, &keeper, NULL));
  syncs = 0;
}

/** Also what is on its way to the disk unsynced at that moment. */
static void test_a_commit_under_way_is_synced_once_opened_so(void** state)
{
  (void)state;
  hr_store_close(store);
  assert_ok(hr_store_open(scratch_path("a/b/test.hr"), HR_STORE_UNSYNCED, &store, NULL));
  HrTxn* const txn = begin(HR_WRITE);
  make_branch(txn);
  at_write = open_to_keep;
  assert_ok(hr_txn_commit(txn));
  assert_non_null(keeper);
  assert_true(syncs > 0);
  hr_store_close(keeper);
}

/** If what was written before cannot be synced, it is not promised. */
static void test_what_cannot_be_synced_is_not_opened_so(void** state)
{
  (void)state;
  HrStore* other = NULL;
  HrError error;
  hr_store_close(store);
  assert_ok(hr_store_open(scratch_path("a/b/test.hr"), HR_STORE_UNSYNCED, &store, NULL));
  commit_ten();
  sync_fails = true;
  assert_int_equal(hr_store_open(scratch_path("a/b/test.hr"), 0, &other, &error), HR_ERR_IO);
  assert_null(other);
  assert_non_null(strstr(error.text, "test.hr"));
  assert_int_equal(hr_store_open(scratch_path("a/b/test.hr"), 0, &other, NULL), HR_ERR_IO);
  sync_fails = false;
  hr_store_close(store); // The only reference
  assert_ok(hr_store_open(scratch_path("a/b/test.hr"), HR_STORE_READ_ONLY, &store, NULL));
  assert_true(hr_store_read_only(store));
}

/** LMDB then takes no more commits: it is opened again. */
static void test_a_meta_page_that_has_no_room_is_recovered_from(void** state)
{
  (void)state;
  HrTree tree;
  HrTxn* txn = begin(HR_WRITE);
  make_branch(txn);
  no_room_for_meta = true;
  const HrStatus full = hr_txn_commit(txn);
  no_room_for_meta = false;
  assert_int_equal(full, HR_ERR_NO_SPACE);
  assert_int_equal(hr_txn_begin(store, HR_WRITE, &txn), HR_ERR_IO);
  txn = begin(HR_WRITE);
  assert_int_equal(hr_tree_next(txn, 0, &tree), HR_END);
  make_branch(txn);
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

int main(int argc, char** argv)
{
  if (argc == 5) {
    return append_elsewhere(argv[1], strtoull(argv[2], NULL, 10),
                            (uint32_t)strtoul(argv[3], NULL, 10),
                            (uint32_t)strtoul(argv[4], NULL, 10));
  }
  const struct CMUnitTest tests[] = {
      TEST(test_words_are_appended_as_events_are),
      TEST(test_checkpoints_hold_the_state),
      TEST(test_each_branch_goes_on_from_its_own_end),
      TEST(test_a_branch_goes_on_from_where_another_program_left_it),
      TEST(test_bad_words_change_nothing),
      TEST(test_words_far_apart_fill_several_nodes),
      TEST(test_a_failed_commit_leaves_no_state),
      TEST(test_unsynced_is_synced_when_closed),
      TEST(test_unsynced_is_synced_once_opened_so),
      TEST(test_a_commit_under_way_is_synced_once_opened_so),
      TEST(test_what_cannot_be_synced_is_not_opened_so),
      TEST(test_a_meta_page_that_has_no_room_is_recovered_from),
  };
  return cmocka_run_group_tests_name("append", tests, NULL, NULL);
}
