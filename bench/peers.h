/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file peers.h
 * Others that could keep music, written to in bulk beside our store: each as its
 * own documentation says of loads, none synced. They get words that are made
 * already (store/format.h), in rising order, and keep them as they are: in blobs
 * of one page, keyed by branch and tick, or one key an event.
 *
 * Threads: the main one; one of a kind is open at a time. Errors end the program with a sentence.
 */

#ifndef HR_BENCH_PEERS_H
#define HR_BENCH_PEERS_H

#include "store/store.h"

/** Words of a blob: what a page of ours holds. */
enum { PEER_BLOB_WORDS = HR_NODE_SIZE / 8 };

typedef struct {
  const char* name;
  const char* package; ///< Debian's; NULL: none
  void* (*open)(const char* path);
  /** Append words in one transaction; their ticks are `base` and the offsets.
   * `count` is a multiple of PEER_BLOB_WORDS. */
  void (*append)(void* self, HrTick base, const HrWord* words, size_t count);
  /** Hand to the system what is still kept in the program; NULL: nothing is. */
  void (*finish)(void* self);
  void (*close)(void* self);
} Peer;

enum {
  PEER_WRITE,         ///< write(), a mebibyte at a time
  PEER_WRITE_BLOBS,   ///< write(), a blob at a time
  PEER_SQLITE,        ///< Rows of a blob
  PEER_ROCKSDB,       ///< Keys with a blob; its log is written, and not synced
  PEER_ROCKSDB_NOLOG, ///< The same set up for loads, without a log: tables written at the end
  PEER_LMDB,          ///< One key an event
  PEERS
};

extern const Peer peers[PEERS];

#endif
