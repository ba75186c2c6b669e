/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/command_call.h"

/** What undo did, and where that leads. */
static HrStatus tell_step(HrCall* call, const HrUndo* step, HrBranchId branch)
{
  HrTxn* txn = NULL;
  char name[HR_NAME_MAX + 1] = "";
  if (!hr_txn_begin(call->session->binding.store, HR_READ, &txn)) {
    hr_branch_name(txn, branch, name);
    hr_txn_abort(txn);
  }
  HR_CALL_ROW(call, hr_value_text(hr_operation_name(step->operation)),
              hr_value_integer(hr_branch_number(branch)), hr_value_text(name));
  return HR_OK;
}

/** A step that leaves the current branch as it is. */
static HrStatus apply_here(HrCall* call, const HrUndo* step)
{
  HrSession* const session = call->session;
  HrTxn* txn = NULL;
  uint32_t author = 0;
  const HrTick tick = session->engine ? hr_call_now(session) : step->tick;
  HrStatus status = hr_session_begin(session, &txn);
  status = status ? status : hr_author_id(txn, call->author, &author);
  status = status ? status : hr_undo_apply(txn, step, tick, author);
  if (status) {
    hr_txn_abort(txn);
    return hr_call_fail(call, status);
  }
  status = hr_session_commit(session, txn);
  return status ? hr_call_fail(call, status) : HR_OK;
}

static HrStatus nothing_to_do(HrCall* call)
{
  return hr_error(call->error, HR_ERR_NOT_FOUND, "There is nothing to %s.", call->info->verb);
}

static HrStatus find_step(HrCall* call, HrUndoDirection direction, HrUndo* step)
{
  HrTxn* txn = NULL;
  HrStatus status = hr_txn_begin(call->session->binding.store, HR_READ, &txn);
  status = status ? status : hr_undo_next(txn, call->session->binding.tree, direction, step);
  hr_txn_abort(txn);
  return status == HR_END ? nothing_to_do(call)
         : status == HR_ERR_BUSY
             ? hr_error(call->error, status,
                        "That would leave no branch to play on. `restore` one first.")
         : status ? hr_call_fail(call, status)
                  : HR_OK;
}

/** The number of the branch whose switch waits for its time; 0: none. */
static uint32_t waiting_number(const HrSession* session)
{
  return session->engine
             ? atomic_load_explicit(&session->engine->shared.pending_number, memory_order_relaxed)
             : 0;
}

/** Step back or forth. Where that leads to another branch, the engine goes there
 * first, at once; the journal follows when it has. A switch that waits for its
 * time is not in the journal yet: to take it back, or the fork or merge that it
 * is part of, is to forget it. */
static HrStatus step(HrCall* call, HrUndoDirection direction)
{
  HrSession* const session = call->session;
  HrUndo next = {.operation = HR_OPERATION_SWITCH};
  const uint32_t waiting = direction == HR_UNDO ? waiting_number(session) : 0;
  if (!hr_session_current(session)) {
    return nothing_to_do(call);
  }
  HrStatus status = hr_call_prepare_here(call);
  if (!status && waiting && session->switch_wished) {
    status = hr_run_cancel(call);
    return status ? status : tell_step(call, &next, session->branch);
  }
  status = status ? status : find_step(call, direction, &next);
  if (!status && hr_branch_number(next.branch) == waiting) {
    status = hr_run_cancel(call);
  }
  if (status) {
    return status;
  }
  const bool goes = next.go_to && next.go_to != session->branch;
  if (goes) {
    const HrCaptureCause cause = {direction == HR_UNDO ? HR_CAUSE_UNDO : HR_CAUSE_REDO,
                                  next.sequence, 0};
    status = hr_call_go_to(call, next.go_to, HR_QUANTUM_NOW, cause);
  } else {
    status = apply_here(call, &next);
  }
  hr_call_touch_branches(call);
  return status ? status : tell_step(call, &next, goes ? next.go_to : session->branch);
}

HrStatus hr_run_undo(HrCall* call)
{
  return step(call, HR_UNDO);
}

HrStatus hr_run_redo(HrCall* call)
{
  return step(call, HR_REDO);
}

HrStatus hr_run_merge(HrCall* call)
{
  HrSession* const session = call->session;
  HrForkOptions options = {0};
  HrTxn* txn = NULL;
  HrBranchId source, merged;
  HrStatus status = hr_call_name(call, 1, false, &options.name);
  status = status ? status : hr_call_prepare_here(call);
  if (status) {
    return status;
  }
  status = hr_session_begin(session, &txn);
  if (status) {
    return hr_call_fail(call, status);
  }
  status = hr_call_visible_branch(call, txn, 0, &source);
  if (!status && source == session->branch) {
    status = hr_error(call->error, HR_ERR_ARGUMENT,
                      "That is the branch you are on. Name another one to merge with it.");
  } else if (!status) {
    status = hr_author_id(txn, call->author, &options.author);
    status = status ? status : hr_branch_merge(txn, source, session->branch, &options, &merged);
    status = status ? hr_call_fail(call, status) : HR_OK;
  }
  if (status) {
    hr_txn_abort(txn);
    return status;
  }
  status = hr_session_commit(session, txn);
  hr_call_touch_branches(call);
  return status ? hr_call_fail(call, status) : hr_call_go_and_tell(call, merged, HR_CAUSE_QUIET);
}
