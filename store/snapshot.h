/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file snapshot.h
 * One state of a store's file, for reading its pages while others write: a
 * reader's slot keeps that state from being written over. LMDB walks nothing.
 *
 * Not for a program that has the store open already. One thread. */

#ifndef HR_STORE_SNAPSHOT_H
#define HR_STORE_SNAPSHOT_H

#include "store/pages.h"

#include <lmdb.h>
#include <stdint.h>

typedef struct {
  int fd;
  MDB_env* env; ///< NULL if the file is so damaged that LMDB cannot hold it
  MDB_txn* txn;
  HrPages pages;
  uint64_t page_count; ///< Whole pages in the file
} HrSnapshot;

/** Open the file at `path` for reading. What hr_preflight() finds is put into
 * `error` and returned; after HR_ERR_TRUNCATED and HR_ERR_DAMAGED the snapshot
 * is open all the same, but held by nothing. Close with hr_snapshot_close(),
 * whatever was returned. */
HrStatus hr_snapshot_open(HrSnapshot* snapshot, const char* path, HrError* error);
/** The pages as a transaction sees them. False if it could not be renewed, or if the
 * lock file is that of another store. */
bool hr_snapshot_pages(MDB_txn* txn, int fd, HrPages* pages);
void hr_snapshot_close(HrSnapshot* snapshot);

#endif
