/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Room on the disk that a store takes ahead while it grows fast. On a disk, unless TMPDIR says
 * otherwise. */

#include "tests/scratch_disk.h"
#include "tests/store_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  BULK = 1 << 18,    ///< Words of 2 MiB
  SLACK = 256 << 10, ///< Bytes a file system may count in addition
  AHEAD = 16 << 20,  ///< At least taken after a first bulk
  WRITERS = 2,
  ROUNDS = 30,
};

static HrWord bulk[BULK];

static void compose(void)
{
  for (uint32_t i = 0; i < BULK; ++i) {
    bulk[i] = (HrWord){i, 3, {i % 2 ? 0x80 : 0x90, (uint8_t)(36 + i / 2 % 60), 64}};
  }
}

/** Append the bulk for the `number`th time, in a transaction of its own. */
static HrStatus append_bulk(HrStore* to, HrBranchId branch, int number)
{
  HrTxn* txn;
  HrStatus status = hr_txn_begin(to, HR_WRITE, &txn);
  if (!status) {
    status = hr_append_words(txn, branch, (HrTick)number * BULK, bulk, BULK, NULL);
    if (status) {
      hr_txn_abort(txn);
    } else {
      status = hr_txn_commit(txn);
    }
  }
  return status;
}

static HrBranchId make_committed_branch(void)
{
  HrTxn* const txn = begin(HR_WRITE);
  const HrBranchId branch = make_branch(txn);
  assert_ok(hr_txn_commit(txn));
  return branch;
}

static uint64_t event_count(HrBranchId branch)
{
  HrBranch info;
  HrTxn* const txn = begin(HR_READ);
  assert_ok(hr_branch_get(txn, branch, &info));
  hr_txn_abort(txn);
  return info.event_count;
}

/** Bytes that the store's file takes on the disk beyond its size. */
static long long beyond(void)
{
  struct stat info;
  assert_int_equal(stat(scratch_path("a/b/test.hr"), &info), 0);
  return (long long)info.st_blocks * 512 - info.st_size;
}

static void close_store(void)
{
  hr_store_close(store);
  store = NULL;
}

static void reopen(void)
{
  assert_ok(hr_store_open(scratch_path("a/b/test.hr"), 0, &store, NULL));
}

static void need_fallocate(void)
{
  const int fd = open(scratch_path("probe"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  const int code = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 4096) ? errno : 0;
  close(fd);
  if (code) {
    print_message("skipped: no room can be taken ahead in %s (%s)\n", scratch_path(""),
                  strerror(code));
    skip();
  }
}

static void test_fast_growth_takes_room_and_gives_it_back(void** state)
{
  (void)state;
  need_fallocate();
  const HrBranchId branch = make_committed_branch();
  for (int i = 0; i < 20; ++i) { // Past what was taken at first
    assert_ok(append_bulk(store, branch, i));
    assert_true(beyond() > 0);
  }
  close_store();
  assert_true(beyond() <= SLACK);
  reopen();
  assert_int_equal(event_count(branch), 20 * BULK);
  verify_clean();
}

static void test_room_is_taken_again_before_it_is_used_up(void** state)
{
  (void)state;
  need_fallocate();
  const HrBranchId branch = make_committed_branch();
  assert_ok(append_bulk(store, branch, 0));
  assert_true(beyond() > AHEAD);
  long long least = AHEAD;
  for (int i = 1; i < 20; ++i) {
    assert_ok(append_bulk(store, branch, i));
    least = beyond() < least ? beyond() : least;
  }
  assert_true(least >= BULK * (long long)sizeof *bulk);
}

static void test_playing_takes_none(void** state)
{
  (void)state;
  const HrBranchId branch = make_committed_branch();
  for (uint32_t i = 0; i < 64; ++i) {
    HrTxn* const txn = begin(HR_WRITE);
    assert_ok(hr_append_words(txn, branch, 0, bulk + (size_t)i * 1024, 1024, NULL));
    assert_ok(hr_txn_commit(txn));
    assert_true(beyond() <= SLACK);
  }
}

static void test_a_disk_is_filled_to_its_end(void** state)
{
  (void)state;
  scratch_mount("20m");
  close_store();
  HrStatus status = hr_store_open(scratch_path("disk/full.hr"), HR_STORE_CREATE, &store, NULL);
  const HrBranchId branch = status ? 0 : make_committed_branch();
  int kept = 0;
  while (!status && kept < 20) {
    status = append_bulk(store, branch, kept);
    kept += !status;
  }
  const uint64_t count = event_count(branch);
  HrVerifyReport report = {0};
  const HrStatus verified = hr_store_verify(store, print_problem, NULL, &report);
  close_store();
  scratch_unmount();
  assert_int_equal(status, HR_ERR_NO_SPACE);
  assert_true(kept >= 8);
  assert_int_equal(count, (uint64_t)kept * BULK);
  assert_ok(verified);
  assert_int_equal(report.problems, 0);
}

/** In a process of its own: append, and close the store each time. */
static int append_and_close(HrBranchId branch)
{
  HrStatus status = HR_OK;
  for (int i = 0; i < ROUNDS && !status; ++i) {
    HrStore* own;
    status = hr_store_open(scratch_path("a/b/test.hr"), HR_STORE_UNSYNCED, &own, NULL);
    status = status ? status : append_bulk(own, branch, i);
    hr_store_close(own);
  }
  return (int)status;
}

static void test_nothing_of_another_writer_is_given_back(void** state)
{
  (void)state;
  HrBranchId branches[WRITERS];
  pid_t writers[WRITERS];
  for (int i = 0; i < WRITERS; ++i) {
    branches[i] = make_committed_branch();
  }
  close_store();
  for (int i = 0; i < WRITERS; ++i) {
    writers[i] = fork();
    if (!writers[i]) {
      _exit(append_and_close(branches[i]));
    }
  }
  int failed = 0;
  for (int i = 0; i < WRITERS; ++i) {
    int status;
    failed += waitpid(writers[i], &status, 0) < 0 || status != 0;
  }
  assert_int_equal(failed, 0);
  reopen();
  for (int i = 0; i < WRITERS; ++i) {
    assert_int_equal(event_count(branches[i]), ROUNDS * BULK);
  }
  verify_clean();
}

/** Whoever has the new lock file may make the file longer at any time. */
static void test_nothing_is_given_back_without_the_lock(void** state)
{
  (void)state;
  need_fallocate();
  assert_ok(append_bulk(store, make_committed_branch(), 0));
  const long long taken = beyond();
  assert_int_equal(unlink(scratch_path("a/b/test.hr-lock")), 0);
  close(open(scratch_path("a/b/test.hr-lock"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  close_store();
  assert_int_equal(beyond(), taken);
}

int main(void)
{
  compose();
  setenv("TMPDIR", "/var/tmp", 0);
  const struct CMUnitTest tests[] = {
      TEST(test_fast_growth_takes_room_and_gives_it_back),
      TEST(test_room_is_taken_again_before_it_is_used_up),
      TEST(test_playing_takes_none),
      TEST(test_a_disk_is_filled_to_its_end),
      TEST(test_nothing_of_another_writer_is_given_back),
      TEST(test_nothing_is_given_back_without_the_lock),
  };
  return cmocka_run_group_tests_name("room", tests, NULL, NULL);
}
