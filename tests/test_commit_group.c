/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Several instances of a host, one commit (plugin/commit_group.h). */

#include "plugin/commit_group.h"
#include "tests/store_rig.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <unistd.h>

static int sync_error; ///< What fdatasync fails with; 0: it works
static unsigned syncs;

/** LMDB's, counted. */
__attribute__((visibility("default"))) int fdatasync(int fd)
{
  ++syncs;
  errno = sync_error;
  return sync_error ? -1 : (int)syscall(SYS_fdatasync, fd);
}

enum { BATCHES = 8 };

static HrBatch batches[BATCHES];
static int notes_of[BATCHES]; ///< Put by each, and not taken back
static int damaged_batch;     ///< Fails; 0: none. The first is held up
static sem_t held, go;

static HrStatus fill_batch(void* data, HrTxn* txn)
{
  const int number = (int)((HrBatch*)data - batches);
  if (number == 0) {
    sem_post(&held);
    sem_wait(&go);
  }
  if (number && number == damaged_batch) {
    return HR_ERR_DAMAGED;
  }
  const uint8_t bytes[] = {0x90, (uint8_t)number, 100};
  notes_of[number] += 1;
  return hr_append(txn, hr_branch_id(1, 1), &(HrEvent){0, HR_EVENT_MIDI, 3, bytes}, NULL);
}

static void take_batch_back(void* data)
{
  const int number = (int)((HrBatch*)data - batches);
  notes_of[number] = 0;
}

static void* commit_batch(void* data)
{
  hr_commit_together(data);
  return NULL;
}

/** True once all but the first stand in one line. Looks on, without the lock. */
__attribute__((no_sanitize("thread"))) static bool all_wait(void)
{
  int linked = 0;
  for (int i = 1; i < BATCHES; ++i) {
    linked += *(HrBatch* volatile*)&batches[i].next != NULL;
  }
  return linked == BATCHES - 2;
}

static void make_tree(void)
{
  HrTreeId tree;
  HrTxn* const txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, "shared", 0, &tree));
  assert_ok(hr_txn_commit(txn));
}

/** Commit all batches, the others while the first one's transaction is open. Returns
 * how many commits that takes. */
static unsigned commit_all(void)
{
  pthread_t threads[BATCHES];
  sem_init(&held, 0, 0);
  sem_init(&go, 0, 0);
  for (int i = 0; i < BATCHES; ++i) {
    batches[i] = (HrBatch){.store = store,
                           .fill = fill_batch,
                           .reset = take_batch_back,
                           .data = &batches[i],
                           .bytes = 1};
    notes_of[i] = 0;
  }
  syncs = 0;
  pthread_create(&threads[0], NULL, commit_batch, &batches[0]);
  sem_wait(&held);
  for (int i = 1; i < BATCHES; ++i) {
    pthread_create(&threads[i], NULL, commit_batch, &batches[i]);
  }
  while (!all_wait()) {
    usleep(1000);
  }
  sem_post(&go);
  for (int i = 0; i < BATCHES; ++i) {
    pthread_join(threads[i], NULL);
  }
  return syncs;
}

/** Who wants to write while another does shares the next commit with all who do: forty
 * tracks wait for two syncs, not for eighty. */
static void test_instances_share_a_commit(void** state)
{
  (void)state;
  HrTxn* txn;
  HrPath path;
  HrEvent event;
  int count = 0;
  make_tree();
  damaged_batch = 0;
  assert_int_equal(commit_all(), 2);
  for (int i = 0; i < BATCHES; ++i) {
    assert_int_equal(batches[i].status, HR_OK);
    assert_int_equal(notes_of[i], 1);
  }
  /* One that cannot be written keeps no other from it. */
  damaged_batch = 4;
  assert_int_equal(commit_all(), 1 + BATCHES - 2);
  for (int i = 0; i < BATCHES; ++i) {
    assert_int_equal(batches[i].status, i == damaged_batch ? HR_ERR_DAMAGED : HR_OK);
    assert_int_equal(notes_of[i], i != damaged_batch);
  }
  assert_ok(hr_txn_begin(store, HR_READ, &txn));
  assert_ok(hr_path_open(txn, hr_branch_id(1, 1), INT64_MIN, &path));
  while (!hr_path_next(&path, &event)) {
    ++count;
  }
  hr_path_close(&path);
  hr_txn_abort(txn);
  assert_int_equal(count, 2 * BATCHES - 1);
}

/** A disk that fails while they share a commit fails for all, and for none of them later. */
static void test_instances_share_a_failure(void** state)
{
  (void)state;
  make_tree();
  damaged_batch = 0;
  sync_error = EIO;
  commit_all();
  for (int i = 0; i < BATCHES; ++i) {
    assert_int_equal(batches[i].status, HR_ERR_IO);
  }
  sync_error = 0;
  commit_all();
  for (int i = 0; i < BATCHES; ++i) {
    assert_int_equal(batches[i].status, HR_OK);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(test_instances_share_a_commit),
      TEST(test_instances_share_a_failure),
  };
  return cmocka_run_group_tests_name("commit group", tests, NULL, NULL);
}
