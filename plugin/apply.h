/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file apply.h
 * From the capture ring into the store: what each record of the ring becomes
 * there, in one transaction. When that is done, and what follows for the session,
 * is drain.c's.
 *
 * Threads: any but the audio thread, and one at a time for a ring: of a session,
 * with `writing` in hand, and without `lock`, as it may wait for the disk.
 *
 * Errors: as HrStatus tells. On failure nothing has changed, in the store or in the ring. */

#ifndef HR_PLUGIN_APPLY_H
#define HR_PLUGIN_APPLY_H

#include "plugin/session_internal.h"

/** What becomes of a record. Where the store refused it, as what it needs there is damaged or
 * missing, the next of these. */
typedef enum {
  HR_AS_TOLD,
  HR_RESCUED,    ///< On a fork of what can be read of the tree; a switch is passed over
  HR_FRESH_TREE, ///< On a tree of its own, with all that follows
} HrCare;

/** One ring's records on their way into one transaction, which is done without
 * the session's lock: what it takes from the session is a copy, and what becomes
 * of it is the session's when the transaction is committed. */
typedef struct {
  HrSession* session; ///< NULL for a dead process' ring
  HrBinding* binding;
  uint64_t from, until; ///< Positions in the ring: applied after the commit, and known of before it
  HrPendingFork pending_forks[HR_PENDING_FORKS];
  uint64_t messages; ///< What came of these messages to the engine is before `until`
  HrWishes wishes;
  HrRescueRecord rescues; ///< As in the ring's file

  HrTxn* txn;
  HrTreeId tree;
  uint32_t author;
  HrBranchId branch; ///< Current after the last FORK or SWITCH; 0: unchanged
  bool tree_changed;
  bool stepped;     ///< Back or forth: a branch may have been hidden or restored
  HrCare care;      ///< For the first record
  bool astray;      ///< The first record did not go where it was to
  bool refused;     ///< The store could not take the record at `taken`: those before it, it could
  uint64_t taken;   ///< Position up to which the store took what the ring holds
  bool cut;         ///< `until` was moved back to before a record that was refused
  bool more;        ///< The transaction had room for no more
  int64_t begun;    ///< When `until` was read: what waits beyond it is younger
  uint64_t saved;   ///< Events rescued: all of a dead process' ring
  uint64_t lost;    ///< Records that were damaged in memory; where many were, about so many
  HrRescue rescued; ///< The last rescue; number 0: none
} HrDrain;

/** Apply what the ring held when `until` was read, or as much of it as one transaction takes,
 * and commit it, with the batches of other instances. `until` is then what was applied. HR_END
 * if that is nothing. What the store refuses, as something in it is damaged, goes elsewhere. */
HrStatus hr_drain_write(HrDrain* drain);

/** From now on events for branch `number` go to `fork`; to itself: no longer. What was rescued
 * longest ago is forgotten for it. */
void hr_rescue_remember(HrRescue rescues[HR_RESCUES], uint32_t number, uint32_t fork);

/** Say in the store that `to` is current now, and why. */
HrStatus hr_note_switch(HrTxn* txn, HrBranchId to, HrTick tick, const HrCaptureCause* cause,
                        uint32_t author);

#endif
