/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file ancestors.h
 * Where branches come from, as the store said when they were last asked for: so much of a
 * committed branch never changes. The way up a deep tree takes some twenty steps; from here,
 * a step is one read of memory, from the store, a search of several pages.
 *
 * Memory: 32 bytes a branch met, HR_ANCESTORS_MAX at most; none before the first.
 *
 * Thread: any. What is known belongs to whoever took it until it is given back. */

#ifndef HR_ANCESTORS_H
#define HR_ANCESTORS_H

#include "store/store.h"

#include <pthread.h>

enum { HR_ANCESTORS_MAX = 1 << 20 }; ///< Branches remembered: 32 MiB

/** Of a branch, what is needed on the way up. */
typedef struct {
  HrBranchId id;
  HrBranchId parent; ///< 0: the root
  HrBranchId jump;
  HrTick fork_tick;
  HrTick jump_tick; ///< Where the branch that `jump` leads to was forked; INT64_MIN: not to be
                    ///< jumped to
} HrAncestor;

typedef struct HrKnownAncestor HrKnownAncestor;

/** All zero but for the lock: nothing known. */
typedef struct {
  pthread_mutex_t lock;
  HrKnownAncestor* known; ///< By number; a branch has one place
  uint32_t places;        ///< A power of 2, or 0
  uint32_t used;
} HrAncestors;

void hr_ancestors_init(HrAncestors* ancestors);
void hr_ancestors_free(HrAncestors* ancestors);

/** True if they are the caller's now. False if somebody else has them: nobody waits. */
bool hr_ancestors_take(HrAncestors* ancestors);
void hr_ancestors_give_back(HrAncestors* ancestors);

/** For who has taken them: true if the branch is known. */
bool hr_ancestors_find(const HrAncestors* ancestors, HrBranchId id, HrAncestor* found);

/** For who has taken them: remember a committed branch, perhaps instead of another. Out of
 * memory, it is not remembered. */
void hr_ancestors_add(HrAncestors* ancestors, const HrAncestor* ancestor);

/** Forget all. Waits for who has them. */
void hr_ancestors_clear(HrAncestors* ancestors);

#endif
