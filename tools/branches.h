/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file branches.h
 * All branches of one tree, linked and timed, for showing them. A million
 * branches, or a chain of as many forks, take neither recursion nor a walk from
 * the root for each: every branch keeps only its own tempo and meter changes.
 *
 * One thread.
 */

#ifndef HR_TOOLS_BRANCHES_H
#define HR_TOOLS_BRANCHES_H

#include "plugin/timeline.h"
#include "store/store.h"

#include <stddef.h>
#include <stdint.h>

/** No row. */
#define HR_NO_BRANCH SIZE_MAX

typedef struct {
  HrBranch branch;
  size_t parent;       ///< Row, or HR_NO_BRANCH
  size_t first_child;  ///< Row, or HR_NO_BRANCH; in the order to show them
  size_t next;         ///< Next child of the same parent, or HR_NO_BRANCH
  size_t family;       ///< Branches that grew from this one, and itself
  HrTimeline timeline; ///< From the fork on; starts with what its parent left in force
} HrBranchRow;

/** Rows in the order of their numbers. */
typedef struct {
  HrBranchRow* rows;
  size_t count;
  size_t capacity;
  uint64_t damaged; ///< Nodes and branches that cannot be read: times may be off
} HrBranches;

/** Load the branches of `tree`. Children come by fork tick, the one with the
 * largest family last: drawn with that one going straight on, the tree is at
 * most log2(count) deep. Free in any case. Parents that are missing or do not
 * come before their children leave a row without a parent. */
HrStatus hr_branches_load(HrBranches* branches, HrTxn* txn, HrTreeId tree);

/** The row of a branch, or HR_NO_BRANCH. O(log count). */
size_t hr_branches_find(const HrBranches* branches, HrBranchId id);

/** Where `tick` lies on the path of the branch in row `row`. O(log count * log depth). */
HrPlace hr_branches_place(const HrBranches* branches, size_t row, HrTick tick);

void hr_branches_free(HrBranches* branches);

#endif
