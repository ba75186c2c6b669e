/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What the store does must cost the same in a large store as in a small one. Not
 * times are compared here, but what is done: keys looked up, bytes written. And
 * where address space is limited, a store grows as far as that goes. */

#include "tests/store_rig.h"

#include <dlfcn.h>
#include <lmdb.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

/* ---- Counting: these stand before LMDB's and the C library's ------------------- */

static uint64_t lookups;
static uint64_t written;

static void* next_of(const char* name)
{
  void* const next = dlsym(RTLD_NEXT, name);
  if (!next) {
    abort();
  }
  return next;
}

__attribute__((visibility("default"))) int mdb_get(MDB_txn* txn, MDB_dbi dbi, MDB_val* key,
                                                   MDB_val* value)
{
  static int (*next)(MDB_txn*, MDB_dbi, MDB_val*, MDB_val*);
  if (!next) {
    *(void**)&next = next_of("mdb_get");
  }
  ++lookups;
  return next(txn, dbi, key, value);
}

__attribute__((visibility("default"))) int mdb_cursor_get(MDB_cursor* cursor, MDB_val* key,
                                                          MDB_val* value, MDB_cursor_op operation)
{
  static int (*next)(MDB_cursor*, MDB_val*, MDB_val*, MDB_cursor_op);
  if (!next) {
    *(void**)&next = next_of("mdb_cursor_get");
  }
  ++lookups;
  return next(cursor, key, value, operation);
}

__attribute__((visibility("default"))) ssize_t pwrite(int fd, const void* bytes, size_t size,
                                                      off_t offset)
{
  static ssize_t (*next)(int, const void*, size_t, off_t);
  if (!next) {
    *(void**)&next = next_of("pwrite");
  }
  written += size;
  return next(fd, bytes, size, offset);
}

__attribute__((visibility("default"))) ssize_t writev(int fd, const struct iovec* parts, int count)
{
  static ssize_t (*next)(int, const struct iovec*, int);
  if (!next) {
    *(void**)&next = next_of("writev");
  }
  for (int i = 0; i < count; ++i) {
    written += parts[i].iov_len;
  }
  return next(fd, parts, count);
}

/* ---- What does not grow ---------------------------------------------------------- */

enum { SMALL = 100, LARGE = 100000, STEP = 10, NOTE = 5 /* after a fork */ };

/** Play a note on `*leaf` and fork behind it, until the tree is `depth` deep. */
static void deepen(HrBranchId* leaf, uint32_t from, uint32_t depth)
{
  HrTxn* const txn = begin(HR_WRITE);
  for (uint32_t i = from; i < depth; ++i) {
    assert_ok(append_note(txn, *leaf, (HrTick)i * STEP + NOTE, (uint8_t)(i & 0x7f)));
    assert_ok(hr_branch_fork(txn, *leaf, (HrTick)(i + 1) * STEP, NULL, leaf));
  }
  assert_ok(hr_txn_commit(txn));
}

/** Keys looked up for the first event at or after `tick`, which must be there. */
static uint64_t lookups_of_seek(HrBranchId leaf, HrTick tick)
{
  HrPath path;
  HrEvent event;
  HrTxn* const txn = begin(HR_READ);
  lookups = 0;
  assert_ok(hr_path_open(txn, leaf, tick, &path));
  assert_ok(hr_path_next(&path, &event));
  const uint64_t count = lookups;
  assert_true(event.tick == tick);
  hr_path_close(&path);
  hr_txn_abort(txn);
  return count;
}

static uint64_t most_lookups(HrBranchId leaf, uint32_t depth)
{
  uint64_t most = 0;
  for (uint32_t i = 0; i < 1000; ++i) {
    const uint64_t count = lookups_of_seek(leaf, (HrTick)(i * 7919 % depth) * STEP + NOTE);
    most = count > most ? count : most;
  }
  return most;
}

/** Log2, rounded up. */
static uint64_t logarithm(uint64_t number)
{
  uint64_t bits = 0;
  while (number >> bits) {
    ++bits;
  }
  return bits;
}

typedef struct {
  uint64_t lookups, written;
} ForkCost;

/** What a fork at the end of `leaf` costs, committed. */
static ForkCost cost_of_fork(HrBranchId leaf)
{
  HrStoreStats before, after;
  HrBranch branch;
  HrBranchId id;
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_branch_get(txn, leaf, &branch));
  assert_ok(append_note(txn, leaf, branch.head_tick, 60));
  assert_ok(hr_txn_commit(txn));
  assert_ok(hr_store_stats(store, &before));
  txn = begin(HR_WRITE);
  lookups = written = 0;
  assert_ok(hr_branch_fork(txn, leaf, branch.head_tick + 1, NULL, &id));
  assert_ok(hr_txn_commit(txn));
  const ForkCost cost = {lookups, written};
  assert_ok(hr_store_stats(store, &after));
  assert_int_equal(before.node_count, after.node_count);
  return cost;
}

/** Keys looked up to make so many branches that are all to be called the same. */
static uint64_t lookups_of_namesakes(HrTreeId tree, unsigned count)
{
  const HrForkOptions options = {.name = "idea"};
  HrTxn* const txn = begin(HR_WRITE);
  lookups = 0;
  for (unsigned i = 0; i < count; ++i) {
    HrBranchId id;
    assert_ok(hr_branch_fork(txn, hr_branch_id(tree, 1), 10, &options, &id));
  }
  assert_ok(hr_txn_commit(txn));
  return lookups;
}

static void test_one_name_for_many_branches(void** state)
{
  (void)state;
  enum { COUNT = 20000 };
  HrTreeId tree;
  HrBranchId id;
  char name[HR_NAME_MAX + 1];
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  assert_ok(hr_txn_commit(txn));
  const uint64_t count = lookups_of_namesakes(tree, COUNT);
  print_message("%.1f keys looked up for each of %d forks of one name\n", (double)count / COUNT,
                COUNT);
  assert_true(count <= COUNT * (2 * logarithm(COUNT) + 12));
  txn = begin(HR_READ);
  for (unsigned number = 2; number <= COUNT; ++number) {
    snprintf(name, sizeof name, "idea %u", number);
    assert_ok(hr_branch_find(txn, tree, name, &id));
    assert_int_equal(hr_branch_number(id), number + 1);
  }
  hr_txn_abort(txn);
}

static void test_costs_do_not_grow(void** state)
{
  (void)state;
  HrTreeId tree;
  HrTxn* const txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  assert_ok(hr_txn_commit(txn));

  HrBranchId leaf = hr_branch_id(tree, 1);
  deepen(&leaf, 0, SMALL);
  const uint64_t small_seek = most_lookups(leaf, SMALL);
  const ForkCost small = cost_of_fork(leaf);
  deepen(&leaf, SMALL, LARGE);
  const uint64_t large_seek = most_lookups(leaf, LARGE);
  const ForkCost large = cost_of_fork(leaf);

  print_message("seek: %llu keys looked up %d deep, %llu %d deep; fork: %llu and %llu, %llu and "
                "%llu bytes written\n",
                (unsigned long long)small_seek, SMALL, (unsigned long long)large_seek, LARGE,
                (unsigned long long)small.lookups, (unsigned long long)large.lookups,
                (unsigned long long)small.written, (unsigned long long)large.written);
  assert_true(small_seek > 0 && small_seek <= 3 * logarithm(SMALL) + 6);
  assert_true(large_seek <= 3 * logarithm(LARGE) + 6);
  assert_true(small.lookups > 0 && large.lookups <= small.lookups + 2);
  /* The trees of pages are deeper by a level or two. */
  assert_true(small.written > 0 && large.written <= 3 * small.written);
}

/* ---- Address space --------------------------------------------------------------- */

#ifndef SANITIZED
enum { MEGABYTE = 1 << 20 };

/** Play a megabyte, in one event, and commit it. */
static HrStatus record_megabyte(HrStore* into, HrBranchId branch)
{
  static uint8_t bytes[MEGABYTE] = {0xf0, [MEGABYTE - 1] = 0xf7};
  HrTxn* txn = NULL;
  HrBranch record;
  HrStatus status = hr_txn_begin(into, HR_WRITE, &txn);
  if (status) {
    return status;
  }
  status = hr_branch_get(txn, branch, &record);
  const HrEvent event = {record.head_tick + 1, HR_EVENT_MIDI, sizeof bytes, bytes};
  status = status ? status : hr_append(txn, branch, &event, NULL);
  if (status) {
    hr_txn_abort(txn);
    return status;
  }
  return hr_txn_commit(txn);
}

/** Run `act` in a child that may have `limit` bytes of address space: its answer. */
static int with_address_space(rlim_t limit, int (*act)(const char* path), const char* path)
{
  int result = 0;
  const pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    const struct rlimit bound = {limit, RLIM_INFINITY}; // The hard one stays free
    _exit(setrlimit(RLIMIT_AS, &bound) ? 99 : act(path));
  }
  assert_int_equal(waitpid(child, &result, 0), child);
  assert_true(WIFEXITED(result));
  return WEXITSTATUS(result);
}

/** The logarithm of the map's size in megabytes, once something was recorded. */
static int megabytes_mapped(const char* path)
{
  HrStore* limited = NULL;
  HrStoreStats stats;
  if (hr_store_open(path, 0, &limited, NULL) || record_megabyte(limited, hr_branch_id(1, 1)) ||
      hr_store_stats(limited, &stats)) {
    return 98;
  }
  hr_store_close(limited);
  int logarithm_of_size = 0;
  while (((uint64_t)MEGABYTE << logarithm_of_size) < stats.map_bytes) {
    ++logarithm_of_size;
  }
  return logarithm_of_size;
}

/** Close the store in this process, so that a child may open it. */
static const char* leave_store(void)
{
  static char path[4096];
  HrTreeId tree;
  HrTxn* const txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  assert_int_equal(tree, 1);
  assert_ok(hr_txn_commit(txn));
  snprintf(path, sizeof path, "%s", hr_store_path(store));
  hr_store_close(store);
  store = NULL;
  return path;
}

static void test_address_space_is_taken_as_far_as_it_goes(void** state)
{
  (void)state;
  const char* const path = leave_store();
  assert_int_equal(with_address_space(RLIM_INFINITY, megabytes_mapped, path), 26); // 64 TiB
  assert_int_equal(with_address_space((rlim_t)1 << 40, megabytes_mapped, path), 19);
  assert_int_equal(with_address_space((rlim_t)5 << 30, megabytes_mapped, path), 11);
  assert_int_equal(with_address_space((rlim_t)512 << 20, megabytes_mapped, path), 8);
}

/** Record until no more goes in; 0 if that is said, and all else is whole. */
static int fill_map(const char* path)
{
  HrStore* limited = NULL;
  HrVerifyReport report;
  unsigned recorded = 0;
  if (hr_store_open(path, 0, &limited, NULL)) {
    return 1;
  }
  HrStatus status = HR_OK;
  while (recorded < 300 && !(status = record_megabyte(limited, hr_branch_id(1, 1)))) {
    ++recorded;
  }
  if (status != HR_ERR_MAP_FULL || recorded < 200 || !strstr(hr_strerror(status), "ulimit -v")) {
    return 2;
  }
  if (record_megabyte(limited, hr_branch_id(1, 1)) != HR_ERR_MAP_FULL) {
    return 3;
  }
  if (hr_store_verify(limited, print_problem, NULL, &report) || report.problems ||
      report.events != recorded) {
    return 4;
  }
  hr_store_close(limited);
  return 0;
}

/** Opening says what to do; 0 if so. */
static int find_no_room(const char* path)
{
  HrStore* limited = NULL;
  HrError error = {0};
  return hr_store_open(path, 0, &limited, &error) == HR_ERR_NO_MEMORY && !limited &&
                 strstr(error.text, "ulimit -v")
             ? 0
             : 1;
}

static void test_a_full_map_is_said(void** state)
{
  (void)state;
  const char* const path = leave_store();
  assert_int_equal(with_address_space((rlim_t)512 << 20, fill_map, path), 0);
  assert_int_equal(with_address_space((rlim_t)256 << 20, find_no_room, path), 0);
  /* With more address space it goes on. */
  assert_int_equal(with_address_space(RLIM_INFINITY, megabytes_mapped, path), 26);
}

/** Another process makes the store larger than our map: 0 if that is said. */
static int be_outgrown(const char* path)
{
  HrStore* limited = NULL;
  HrTxn* txn = NULL;
  const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
  if (hr_store_open(path, 0, &limited, NULL)) {
    return 1;
  }
  const pid_t child = fork();
  if (child == 0) {
    /* A process of its own: LMDB must not see the store that was inherited. */
    setrlimit(RLIMIT_AS, &none);
    execl("/proc/self/exe", "test_store_scale", "grow", path, (char*)NULL);
    _exit(9);
  }
  int result = 0;
  if (waitpid(child, &result, 0) != child || result) {
    return 2;
  }
  return hr_txn_begin(limited, HR_READ, &txn) == HR_ERR_MAP_FULL ? 0 : 3;
}

static int grow(const char* path)
{
  HrStore* larger = NULL;
  HrStatus status = hr_store_open(path, 0, &larger, NULL);
  for (unsigned i = 0; i < 300 && !status; ++i) {
    status = record_megabyte(larger, hr_branch_id(1, 1));
  }
  hr_store_close(larger);
  return status ? 1 : 0;
}

static void test_being_outgrown_is_said(void** state)
{
  (void)state;
  assert_int_equal(with_address_space((rlim_t)512 << 20, be_outgrown, leave_store()), 0);
}
#endif

int main(int argc, char** argv)
{
#ifndef SANITIZED
  if (argc == 3 && !strcmp(argv[1], "grow")) {
    return grow(argv[2]);
  }
#endif
  (void)argc;
  (void)argv;
  const struct CMUnitTest tests[] = {
      TEST(test_costs_do_not_grow),
      TEST(test_one_name_for_many_branches),
#ifndef SANITIZED // Their own address space is unlimited
      TEST(test_address_space_is_taken_as_far_as_it_goes),
      TEST(test_a_full_map_is_said),
      TEST(test_being_outgrown_is_said),
#endif
  };
  return cmocka_run_group_tests_name("store, large", tests, NULL, NULL);
}
