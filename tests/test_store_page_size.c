/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Kernels of ARM machines have memory pages of 4, 16 (Raspberry Pi 5) or 64 KiB. Here sysconf()
 * says that ours has, and what the store asks of the kernel is looked at. */

#include "tests/store_rig.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>

#define EXPORT __attribute__((visibility("default")))

static long claimed; ///< 0: what is true
static unsigned advised, refused;

EXPORT long sysconf(int name)
{
  long (*real)(int);
  *(void**)&real = dlsym(RTLD_NEXT, "sysconf");
  return name == _SC_PAGESIZE && claimed ? claimed : real(name);
}

/** As a kernel of such pages does. */
EXPORT int madvise(void* start, size_t size, int advice)
{
  int (*real)(void*, size_t, int);
  *(void**)&real = dlsym(RTLD_NEXT, "madvise");
  if ((uintptr_t)start % (uintptr_t)sysconf(_SC_PAGESIZE)) {
    ++refused;
    errno = EINVAL;
    return -1;
  }
  ++advised;
  return real(start, size, advice);
}

static void record(const char* path, unsigned flags, int notes)
{
  HrTreeId tree;
  HrStoreStats stats;
  hr_store_close(store);
  assert_ok(hr_store_open(path, flags, &store, NULL));
  assert_ok(hr_store_stats(store, &stats));
  assert_int_equal(stats.page_size, HR_PAGE_SIZE);
  HrTxn* const txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  for (int i = 0; i < notes; ++i) {
    assert_ok(append_note(txn, hr_branch_id(tree, 1), i, (uint8_t)(i % 128)));
  }
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

static void make_empty(const char* path)
{
  const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  assert_true(fd >= 0);
  close(fd);
}

/** A store made on one machine is used on any other. */
static void test_a_store_is_the_same_everywhere(void** state)
{
  (void)state;
  static const long sizes[] = {4096, 16384, 65536};
  enum { SIZES = sizeof sizes / sizeof *sizes };
  for (int i = 0; i < SIZES; ++i) {
    const char* const path = scratch_path("made.hr");
    const char* const filled = scratch_path("filled.hr");
    make_empty(filled);
    claimed = sizes[i];
    record(path, HR_STORE_CREATE, 3000);
    record(filled, HR_STORE_CREATE, 10);
    for (int k = 0; k < SIZES; ++k) {
      claimed = sizes[k];
      record(path, 0, 1000);
    }
    claimed = 0;
    hr_store_close(store);
    store = NULL;
    assert_true(!unlink(path) && !unlink(filled));
  }
}

static void test_copies_are_the_same_everywhere(void** state)
{
  (void)state;
  HrBackupReport report;
  uint64_t bytes;
  claimed = 16384;
  assert_ok(hr_store_backup(store, scratch_path("backup.hr"), &report, NULL));
  assert_ok(hr_store_compact(store, scratch_path("compact.hr"), false, &bytes, NULL));
  record(scratch_path("backup.hr"), 0, 1000);
  record(scratch_path("compact.hr"), 0, 1000);
  claimed = 0;
}

static void test_what_will_be_needed_is_asked_for(void** state)
{
  (void)state;
  claimed = 16384;
  record(scratch_path("asked.hr"), HR_STORE_CREATE, 20000);
  HrTxn* const txn = begin(HR_READ);
  advised = refused = 0;
  for (HrTick from = 0; from < 20000; from += 600) {
    assert_ok(hr_path_will_need(txn, hr_branch_id(1, 1), from, 1));
  }
  hr_txn_abort(txn);
  claimed = 0;
  assert_int_equal(refused, 0);
  assert_true(advised >= 30);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(test_a_store_is_the_same_everywhere),
      TEST(test_copies_are_the_same_everywhere),
      TEST(test_what_will_be_needed_is_asked_for),
  };
  return cmocka_run_group_tests_name("store, page size", tests, NULL, NULL);
}
