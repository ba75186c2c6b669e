/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file keepers.h
 * Music kept in three ways, behind one face:
 *
 *   ours     By our store, as the plugin keeps it.
 *   store    In nodes as ours (store/format.h), which an engine holds.
 *   index    In nodes appended to a mapped file, the arena; an engine holds
 *            only where each lies. A commit syncs the arena, then the engine. With an
 *            engine that forgets, a log: each node has its checksum, and all are
 *            read again on opening.
 *
 * Only ours, and the log, check nodes against checksums: that is in favour of the rest.
 *
 * Threads: the main one; one is open at a time. Errors end the program with a
 * sentence. */

#ifndef HR_BENCH_KEEPERS_H
#define HR_BENCH_KEEPERS_H

#include "bench/engines.h"

typedef struct {
  const char* name;
  const Engine* engine; ///< NULL: ours
  bool indexed;         ///< The engine is an index
} Keeper;

/** Open what is kept in a folder, which exists. */
void* keeper_open(const Keeper* keeper, const char* folder, EngineMode mode);

/** Append messages of 1 to 3 bytes; their ticks are `base` and the words' offsets. */
void keeper_append(const Keeper* keeper, void* self, HrTick base, const HrWord* words,
                   size_t count);

/** Nothing is promised to be kept before. */
void keeper_commit(const Keeper* keeper, void* self);

/** Fill `span` with words of the node that holds `tick`, where they lie: ours from `tick`
 * on, the others all of it, maybe not aligned. They live until the next call. */
void keeper_find(const Keeper* keeper, void* self, HrTick tick, HrSpan* span);

/** Give all nodes, in order. */
void keeper_each(const Keeper* keeper, void* self, void (*visit)(void* data, const HrSpan* span),
                 void* data);

void keeper_close(const Keeper* keeper, void* self);

#endif
