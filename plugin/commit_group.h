/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file commit_group.h
 * The instances of a host that write to one store at the same time do so in one
 * transaction: a sync takes a slow disk as long for forty tracks as for one, and
 * one after the other they would be seconds behind. Whoever is first begins the
 * transaction; who comes while that waits for the one before goes with it.
 *
 * After: LevelDB's queue of writers (db_impl.cc, DBImpl::BuildBatchGroup).
 *
 * Thread: any but the audio thread; it blocks. A batch is filled by the thread that
 * leads, while the one that brought it waits.
 */

#ifndef HR_COMMIT_GROUP_H
#define HR_COMMIT_GROUP_H

#include "store/store.h"

/** What one instance has to write. The caller's. */
typedef struct HrBatchImpl HrBatch;
struct HrBatchImpl {
  HrStore* store;
  /** Put everything into a transaction, which is ended elsewhere. HR_END: there was nothing. */
  HrStatus (*fill)(void* data, HrTxn* txn);
  /** Take back what fill() did to `data`: its transaction is not. It may be filled again. */
  void (*reset)(void* data);
  void* data;
  uint64_t bytes; ///< To be read for it: bounds what goes into one transaction

  HrStatus status; ///< What follows is for commit_group.c
  bool done;
  HrBatch* next;
};

/** Write a batch, alone or with others, and return when it is durable. On failure
 * nothing of it is written; that of another is none of its. As hr_txn_begin(),
 * `fill` and hr_txn_commit() say; HR_END is HR_OK. */
HrStatus hr_commit_together(HrBatch* batch);

#endif
