/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file scale_peers.h
 * The nodes of a store in SQLite and RocksDB, as one would keep them there, to
 * be sought in beside ours. Both are told the branch that owns the tick, which
 * the store has to find: that is in their favour.
 *
 * Threads: the main one. Errors end the program with a sentence. */

#ifndef HR_BENCH_SCALE_PEERS_H
#define HR_BENCH_SCALE_PEERS_H

#include "store/store.h"

typedef struct {
  const char* name;
  const char* file; ///< Or folder: where its data lies
  /** Copy every node of tree 1 of `store`. */
  void (*make)(const char* path, HrStore* store);
  void* (*open)(const char* path);
  /** Find the node of `branch` that holds `tick`, and look at its last byte. */
  bool (*seek)(void* self, HrBranchId branch, HrTick tick);
  void (*close)(void* self);
} ScalePeer;

enum { SCALE_PEERS = 3 };
extern const ScalePeer scale_peers[SCALE_PEERS];

#endif
