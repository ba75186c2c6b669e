/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file store_maker.h
 * Large stores made fast, through the store's own calls: so many branches, so
 * deep, so many events. The same shape gives the same music.
 *
 * The first `depth` forks are nested, each at the end of the one before. Every
 * other branch forks from the end of one of them, taken at random. So every
 * path of the nested ones can be sought in by number alone: branch `n + 1` of
 * the tree is `n` forks deep, and holds the ticks from maker_fork_tick().
 *
 * Memory: what LMDB keeps of a transaction, some hundred megabytes, whatever
 * the size of the store. Errors end the program with a sentence. */

#ifndef HR_BENCH_STORE_MAKER_H
#define HR_BENCH_STORE_MAKER_H

#include "store/store.h"

typedef struct {
  uint32_t branches; ///< The root too; at least depth + 1
  uint32_t depth;    ///< Forks nested in each other
  uint64_t events;   ///< In all, shared out evenly; at least one to each nested branch
} StoreShape;

enum { MAKER_TICKS_PER_EVENT = 96768 }; ///< A twentieth of a quarter note

/** Make the store at `path`, unsynced, with one tree, whose id is 1. */
void maker_make(const char* path, const StoreShape* shape);

/** Events of each nested branch, the root too; the others have at most as many. */
uint64_t maker_events_each(const StoreShape* shape);

/** Where the nested branch at `depth` forks from the one above it. */
HrTick maker_fork_tick(const StoreShape* shape, uint32_t depth);

/** The `n`-th event of a branch: `bytes` has room for 3. */
HrEvent maker_event(HrTick from, uint64_t n, uint8_t bytes[3]);

/** The next of a row of numbers that look random (xorshift64). */
uint64_t maker_random(uint64_t* state);

#endif
