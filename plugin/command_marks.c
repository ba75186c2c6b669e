/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/command_call.h"

#include <stdio.h>

static void tell_mark(HrCall* call, const HrNote* mark)
{
  HR_CALL_ROW(call, hr_value_integer(mark->id), hr_value_text(mark->name),
              hr_value_tick(mark->tick), hr_value_tick(mark->end_tick));
}

HrStatus hr_call_mark(HrCall* call, const char* name, HrTick start, HrTick end)
{
  HrSession* const session = call->session;
  HrNote mark = {.kind = HR_NOTE_MARK, .branch = session->branch, .tick = start, .end_tick = end};
  HrTxn* txn = NULL;
  snprintf(mark.name, sizeof mark.name, "%s", name);
  HrStatus status = hr_session_begin(session, &txn);
  status = status ? status : hr_author_id(txn, call->author, &mark.author);
  status = status ? status : hr_note_add(txn, &mark, &mark.id);
  if (status) {
    hr_txn_abort(txn);
    return hr_call_fail(call, status);
  }
  status = hr_session_commit(session, txn);
  if (status) {
    return hr_call_fail(call, status);
  }
  hr_session_touch(session);
  tell_mark(call, &mark);
  return HR_OK;
}

HrStatus hr_call_here(HrCall* call, HrTick* tick)
{
  HrTxn* txn = NULL;
  HrBranch branch;
  if (call->session->engine) {
    *tick = hr_call_now(call->session);
    return HR_OK;
  }
  HrStatus status = hr_txn_begin(call->session->binding.store, HR_READ, &txn);
  status = status ? status : hr_branch_get(txn, call->session->branch, &branch);
  hr_txn_abort(txn);
  *tick = status ? 0 : branch.head_tick;
  return status ? hr_call_fail(call, status) : HR_OK;
}

HrStatus hr_run_mark(HrCall* call)
{
  const char* name;
  HrTick start, end;
  HrStatus status = hr_call_mark_name(call, 0, true, &name);
  status = status ? status : hr_call_prepare_here(call);
  if (status) {
    return status;
  }
  if (call->count > 2) {
    status = hr_call_range(call, 1, &start, &end);
  } else {
    status = call->count > 1 ? hr_call_position(call, 1, &start) : hr_call_here(call, &start);
    end = start;
  }
  return status ? status : hr_call_mark(call, name, start, end);
}

HrStatus hr_run_unmark(HrCall* call)
{
  HrSession* const session = call->session;
  HrTxn* txn = NULL;
  HrNote mark;
  const char* name;
  uint32_t author = 0;
  HrStatus status = hr_call_name(call, 0, true, &name);
  status = status ? status : hr_call_prepare_here(call);
  if (status) {
    return status;
  }
  status = hr_session_begin(session, &txn);
  status = status ? status : hr_mark_find(txn, session->branch, name, &mark);
  status = status ? status : hr_author_id(txn, call->author, &author);
  status = status ? status : hr_note_set_hidden(txn, session->binding.tree, mark.id, true, author);
  if (status) {
    hr_txn_abort(txn);
    return status == HR_ERR_NOT_FOUND
               ? hr_error(call->error, status,
                          "There is no mark \"%s\" on this branch. `marks` tells them all.", name)
               : hr_call_fail(call, status);
  }
  status = hr_session_commit(session, txn);
  if (status) {
    return hr_call_fail(call, status);
  }
  hr_session_touch(session);
  tell_mark(call, &mark);
  return HR_OK;
}

HrStatus hr_run_marks(HrCall* call)
{
  const HrSession* const session = call->session;
  HrTxn* txn = NULL;
  HrNote note = {.tick = INT64_MIN};
  if (!session->binding.store) {
    return hr_call_no_store(call);
  }
  if (hr_call_settle(call)) {
    return HR_ERR_BUSY;
  }
  HrStatus status = session->branch ? hr_txn_begin(session->binding.store, HR_READ, &txn) : HR_END;
  while (!status && !(status = hr_note_next(txn, session->branch, note.tick, note.id, &note))) {
    if (note.kind == HR_NOTE_MARK && !note.hidden) {
      tell_mark(call, &note);
    }
  }
  hr_txn_abort(txn);
  return status == HR_END ? HR_OK : hr_call_fail(call, status);
}
