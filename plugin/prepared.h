/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file prepared.h
 * What an immediate switch needs of the branches a player is likely to go to,
 * in plain memory: which branch it is, where it ends, and the music around the
 * playhead. So a switch needs no disk.
 *
 * Threads: any but the audio thread. One writer at a time, who may read without
 * a lock; what readers see changes in the functions marked "locked" alone,
 * which exclude the readers by a mutex of the caller's. */

#ifndef HR_PREPARED_H
#define HR_PREPARED_H

#include "plugin/likely.h"
#include "plugin/message.h"
#include "store/chase.h"

/** Events of a branch kept in memory, in words of 8 bytes: seconds of the
 * densest playing, minutes of most. With the states, all branches take 690 KiB. */
enum { HR_PREPARED_WORDS = 3072 };

/** A run of a path: the state at its beginning, and every event in [from, until). */
typedef struct {
  HrTick from;
  HrTick until; ///< INT64_MAX: all that follows is here
  HrTempo tempo;
  HrChase state;
  uint32_t first, count; ///< Its words
} HrStretch;

/** What is to be in memory of each branch's music. */
typedef struct {
  bool music;         ///< Any at all
  HrTick playhead;    ///< Around here
  HrTick second;      ///< Ticks that the playhead moves in a second
  HrLoopMessage loop; ///< If on, its start as well
} HrPlan;

typedef struct {
  HrBranchId branch;
  uint64_t event_count;
  char name[HR_NAME_MAX + 1];
  HrTarget target;
  bool music;         ///< What follows was read, or tried
  HrLoopMessage loop; ///< The plan's
  HrTick from, renew; ///< It will do while the playhead is in [from, renew)
  HrStretch stretches[2];
  unsigned stretch_count;
  uint32_t word_count;
  HrWord words[HR_PREPARED_WORDS];
} HrPreparedBranch;

typedef struct {
  HrPreparedBranch* branches[HR_LIKELY_MAX]; ///< Not all are in use: `branch` 0 is free
  HrPreparedBranch* spare;                   ///< Where the writer reads to
  HrBranchId origin;                         ///< The branch that `likely` is about; 0: none
  HrLikely likely;                           ///< Not to be relied on when `stale`
  HrBranchId recent[HR_LIKELY_RECENT];       ///< Visited before `origin`, the latest first
  int64_t checked_at;                        ///< When all was as in the store; 0: never
  int64_t ranked_at;                         ///< When `likely` was found
  bool stale;                                ///< Something was forgotten since
  HrPreparedBranch memory[HR_LIKELY_MAX + 1];
} HrPrepared;

/** Describe a branch for the engine. */
HrStatus hr_target_read(HrTxn* txn, HrBranchId id, HrTarget* target);

/** NULL when out of memory. */
HrPrepared* hr_prepared_new(void);
void hr_prepared_free(HrPrepared* prepared);

/** NULL if nothing is prepared for it. */
const HrPreparedBranch* hr_prepared_find(const HrPrepared* prepared, HrBranchId branch);
const HrPreparedBranch* hr_prepared_named(const HrPrepared* prepared, const char* name);

/** The stretch that has the music at `tick`; NULL if none has. */
const HrStretch* hr_prepared_stretch(const HrPreparedBranch* branch, HrTick tick);

/** The words of a stretch. */
HrSpan hr_prepared_span(const HrPreparedBranch* branch, const HrStretch* stretch);

/** State and tempo just before `tick`, which the stretch has. */
void hr_prepared_state(const HrPreparedBranch* branch, const HrStretch* stretch, HrTick tick,
                       HrChase* state, HrTempo* tempo);

/** Read what the plan wants of a branch, where it is not there already. True if
 * `prepared->spare` is new and to be shown. */
bool hr_prepared_read(HrPrepared* prepared, HrTxn* txn, HrBranchId branch, const HrPlan* plan);

/** True if the music that the plan wants of all branches is there. */
bool hr_prepared_covers(const HrPrepared* prepared, const HrPlan* plan);

/** Locked: `origin` is the current branch now. */
void hr_prepared_visit(HrPrepared* prepared, HrBranchId origin);

/** Locked: from now on these are prepared, and no others. */
void hr_prepared_rank(HrPrepared* prepared, const HrLikely* likely);

/** Locked: let the spare take the place of its branch. */
void hr_prepared_show(HrPrepared* prepared);

/** Locked: a branch has changed, or (0) any may have. */
void hr_prepared_forget(HrPrepared* prepared, HrBranchId branch);

/** Locked: it is another tree. */
void hr_prepared_reset(HrPrepared* prepared);

#endif
