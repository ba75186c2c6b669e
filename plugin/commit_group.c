/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/commit_group.h"

#include <pthread.h>

/** As much as one ring holds, so that nobody has the writer's lock for long. */
#define GROUP_BYTES ((uint64_t)4 << 20)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static HrBatch* waiting; ///< In the order they came, whatever their stores

static void enqueue(HrBatch* batch)
{
  HrBatch** end = &waiting;
  while (*end) {
    end = &(*end)->next;
  }
  batch->next = NULL;
  *end = batch;
}

/** The first for a store leads. */
static bool leads(const HrBatch* batch)
{
  const HrBatch* first = waiting;
  while (first && first->store != batch->store) {
    first = first->next;
  }
  return first == batch;
}

/** Take the batches for a store out of the queue, the first at least. */
static HrBatch* take_group(const HrStore* store)
{
  HrBatch* group = NULL;
  HrBatch** end = &group;
  uint64_t bytes = 0;
  for (HrBatch** link = &waiting; *link;) {
    HrBatch* const batch = *link;
    if (batch->store != store || (group && bytes + batch->bytes > GROUP_BYTES)) {
      link = &batch->next;
      continue;
    }
    bytes += batch->bytes;
    *link = batch->next;
    batch->next = NULL;
    *end = batch;
    end = &batch->next;
  }
  return group;
}

static void set_status(HrBatch* group, HrStatus status)
{
  for (HrBatch* batch = group; batch; batch = batch->next) {
    batch->status = status;
  }
}

/** Fill a transaction with a group, and end it. False if one of them failed: then
 * nothing was written. */
static bool write_group(HrBatch* group, HrTxn* txn)
{
  bool any = false;
  for (HrBatch* batch = group; batch; batch = batch->next) {
    batch->status = batch->fill(batch->data, txn);
    if (batch->status && batch->status != HR_END) {
      hr_txn_abort(txn);
      return false;
    }
    any = any || !batch->status;
  }
  if (!any) {
    hr_txn_abort(txn);
  }
  set_status(group, any ? hr_txn_commit(txn) : HR_OK);
  return true;
}

/** One of several failed, and each gets a transaction of its own. */
static void write_each_alone(HrBatch* group)
{
  for (HrBatch* batch = group; batch; batch = batch->next) {
    batch->reset(batch->data);
  }
  for (HrBatch *batch = group, *next; batch; batch = next) {
    HrTxn* txn = NULL;
    next = batch->next;
    batch->next = NULL;
    batch->status = hr_txn_begin(batch->store, HR_WRITE, &txn);
    if (!batch->status) {
      write_group(batch, txn);
    }
    batch->next = next;
  }
}

/** Write the group of `first`, which is gathered when its transaction has begun. */
static void lead(const HrBatch* first)
{
  HrTxn* txn = NULL;
  const HrStatus status = hr_txn_begin(first->store, HR_WRITE, &txn);
  pthread_mutex_lock(&lock);
  HrBatch* const group = take_group(first->store);
  pthread_cond_broadcast(&changed); // Who comes from now on leads the next
  pthread_mutex_unlock(&lock);
  if (status) {
    set_status(group, status);
  } else if (!write_group(group, txn) && group->next) {
    write_each_alone(group);
  }
  pthread_mutex_lock(&lock);
  for (HrBatch* batch = group; batch; batch = batch->next) {
    batch->done = true;
  }
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

HrStatus hr_commit_together(HrBatch* batch)
{
  batch->done = false;
  pthread_mutex_lock(&lock);
  enqueue(batch);
  while (!batch->done && !leads(batch)) {
    pthread_cond_wait(&changed, &lock);
  }
  const bool written = batch->done;
  pthread_mutex_unlock(&lock);
  if (!written) {
    lead(batch);
  }
  return batch->status;
}
