/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file likely.h
 * Which branches a player is likely to go to next. However large the tree, only
 * a bounded number of records is looked at.
 *
 * Thread: any but the audio thread. */

#ifndef HR_LIKELY_H
#define HR_LIKELY_H

#include "store/store.h"

enum {
  HR_LIKELY_MAX = 16,         ///< As many as a pad grid shows
  HR_LIKELY_RECENT = 4,       ///< Branches visited last that count
  HR_LIKELY_SCAN = 256,       ///< Records looked at on either side of the current branch
  HR_NEIGHBOURS_MAX = 1 << 12 ///< Hidden branches passed over at the most
};

typedef struct {
  HrBranchId branches[HR_LIKELY_MAX]; ///< Visible, the likeliest first, none of them current
  unsigned count;
  HrBranchId next, previous;       ///< The visible neighbours; 0: none
  HrBranchId slots[HR_LIKELY_MAX]; ///< The first visible branches in order, the current one too
  unsigned slot_count;
} HrLikely;

/** Rank the branches around `current`: its visible neighbours, its parent, those
 * in `recent` (0: none), then in turn its nearest siblings and children and the
 * first branches of the tree. */
HrStatus hr_likely_find(HrTxn* txn, HrBranchId current, const HrBranchId recent[HR_LIKELY_RECENT],
                        HrLikely* likely);

/** The visible branch after `from` (`step` 1) or before it (-1), around the end
 * of the tree. HR_END if there is no other; HR_ERR_LIMIT if more than
 * HR_NEIGHBOURS_MAX hidden ones lie between. */
HrStatus hr_neighbour(HrTxn* txn, HrBranchId from, int step, HrBranch* found);

#endif
