/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/apply.h"
#include "plugin/command_call.h"

#include "plugin/sounding.h"
#include "plugin/timeline.h"
#include "store/chase.h"

#include <math.h>
#include <stdio.h>

/** How far back a switch may be heard from that was asked for a little late. */
static HrTick snap_ticks(const HrSession* session)
{
  const double tempo = atomic_load_explicit(&session->engine->shared.tempo, memory_order_relaxed);
  const double beats = session->settings[HR_SET_SNAP] * tempo / 60000.0;
  return session->quantum == HR_QUANTUM_NOW ? 0 : llrint(beats * HR_TICKS_PER_QUARTER);
}

/** What the engine must know of a branch, with what waits in the capture ring.
 * `*waits`: some of its own music does. */
static HrStatus find_target(HrCall* call, HrBranchId branch, HrTarget* target, bool* waits)
{
  HrSession* const session = call->session;
  const HrPreparedBranch* const prepared = hr_session_prepared(session, branch);
  HrStatus status = HR_OK;
  if (prepared) {
    *target = prepared->target;
  } else {
    HrTxn* txn = NULL;
    status = hr_txn_begin(session->binding.store, HR_READ, &txn);
    status = status ? status : hr_target_read(txn, branch, target);
    hr_txn_abort(txn);
  }
  *waits = !status && hr_session_follow_ring(session, target);
  return status ? hr_call_fail(call, status) : HR_OK;
}

/** Have `branch` heard from its start (or the loop's), or along with the host if that rolls. */
static HrStatus aim_at_start(HrCall* call, HrBranchId branch, HrGoMessage* go)
{
  const HrSession* const session = call->session;
  HrTick first = 0;
  const HrStatus status = hr_call_first_event(call, branch, INT64_MIN, &first);
  if (status && status != HR_END) {
    return hr_call_fail(call, status);
  }
  const bool rolling = hr_call_rolling(session);
  const HrTick start = session->loop.on ? session->loop.start : first < 0 ? first : 0;
  go->what |= HR_GO_REPLAY;
  return rolling ? hr_call_open_stream(call, branch, hr_call_now(session), &go->stream)
                 : hr_call_locate(call, branch, start, go);
}

/** Fill in the part of a message that makes `branch` the current one. */
static HrStatus aim_at(HrCall* call, HrBranchId branch, HrGoMessage* go)
{
  HrSession* const session = call->session;
  bool waits = false;
  const HrStatus status = find_target(call, branch, &go->target, &waits);
  if (status) {
    return status;
  }
  go->what |= HR_GO_SWITCH;
  if (call->afresh) {
    return aim_at_start(call, branch, go);
  }
  const bool runs = atomic_load_explicit(&session->engine->shared.running, memory_order_relaxed);
  if (session->replay && !runs) {
    go->what |= HR_GO_REPLAY | HR_GO_FOLLOW; // Armed: it is heard when the host starts
  } else if (session->replay) {
    go->what |= HR_GO_REPLAY;
    return waits && !hr_call_to_write(
                        call) // It was left a moment ago: not all of it can be read yet
               ? HR_ERR_BUSY
               : hr_call_open_stream(call, branch, hr_call_now(session) - snap_ticks(session),
                                     &go->stream);
  }
  go->what |= HR_GO_PARK;
  const HrTick bar = hr_tempo_bar_length(&go->target.tempo);
  go->park_tick = go->target.fresh ? go->target.head : hr_grid_ceiling(go->target.head + 1, 0, bar);
  return HR_OK;
}

/** Without an engine, going somewhere is a note in the store. */
static HrStatus go_in_store(HrCall* call, HrBranchId branch, const HrCaptureCause* cause)
{
  HrSession* const session = call->session;
  HrTxn* txn = NULL;
  HrBranch record;
  uint32_t author = 0;
  HrStatus status = hr_session_begin(session, &txn);
  status = status ? status : hr_author_id(txn, call->author, &author);
  status = status ? status : hr_branch_get(txn, branch, &record);
  status = status ? status : hr_note_switch(txn, branch, record.head_tick, cause, author);
  if (status) {
    hr_txn_abort(txn);
    return hr_call_fail(call, status);
  }
  status = hr_session_commit(session, txn);
  session->branch = status ? session->branch : branch;
  return status ? hr_call_fail(call, status) : HR_OK;
}

HrStatus hr_call_go_to(HrCall* call, HrBranchId branch, HrQuantum quantum, HrCaptureCause cause)
{
  HrSession* const session = call->session;
  HrGoMessage go = {.quantum = quantum, .bars = session->quantum_bars, .stream.ring = HR_NO_STREAM};
  if (!session->engine) {
    return go_in_store(call, branch, &cause);
  }
  HrWishes* const wishes = &session->wishes;
  cause.wish = ++wishes->count ? wishes->count : ++wishes->count;
  snprintf(wishes->authors[cause.wish % HR_WISHES_KEPT], HR_NAME_MAX + 1, "%s", call->author);
  go.cause = cause;
  HrStatus status = aim_at(call, branch, &go);
  status = status ? status : hr_call_send(call, HR_MESSAGE_GO, &go, sizeof go);
  session->replay |= !status && call->afresh;
  session->switch_wished = status ? session->switch_wished : cause.kind == HR_CAUSE_COMMAND;
  return status;
}

HrStatus hr_call_go_and_tell(HrCall* call, HrBranchId branch, HrCaptureCauseKind kind)
{
  const HrStatus status =
      hr_call_go_to(call, branch, call->session->quantum, (HrCaptureCause){kind, 0, 0});
  return status ? status : hr_call_tell_branch(call, branch);
}

/** Records of branches have changed. */
void hr_call_touch_branches(const HrCall* call)
{
  if (call->session->prepared) {
    hr_prepared_forget(call->session->prepared, 0);
  }
  hr_session_touch_tree(call->session);
}

/** End what sounds where a branch begins in the past: on it nothing else would. */
static HrStatus end_what_sounds(HrTxn* txn, HrBranchId fork, HrTick tick, uint32_t author)
{
  const HrAppendOptions options = {.author = author};
  HrSounding sounding;
  HrChase past;
  uint8_t bytes[3];
  HrStatus status = hr_chase_at(txn, fork, tick, &past);
  if (status) {
    return status == HR_ERR_DAMAGED ? HR_OK : status; // The fork is worth more
  }
  hr_sounding_of(&past, &sounding);
  while (!status && hr_sounding_release(&sounding, bytes)) {
    const HrEvent event = {tick, HR_EVENT_MIDI, sizeof bytes, bytes};
    status = hr_append(txn, fork, &event, &options);
  }
  return status;
}

/** Fork in the store, at a place that is known. */
static HrStatus fork_in_store(HrCall* call, HrTick tick, const char* name, HrBranchId* fork)
{
  HrSession* const session = call->session;
  HrTxn* txn = NULL;
  HrForkOptions options = {.name = name};
  HrStatus status = hr_session_begin(session, &txn);
  status = status ? status : hr_author_id(txn, call->author, &options.author);
  status = status ? status : hr_branch_fork(txn, session->branch, tick, &options, fork);
  status = status ? status : end_what_sounds(txn, *fork, tick, options.author);
  if (status) {
    hr_txn_abort(txn);
    return hr_call_fail(call, status);
  }
  status = hr_session_commit(session, txn);
  hr_call_touch_branches(call);
  return status ? hr_call_fail(call, status) : HR_OK;
}

/** Fork at a place in the past of the current branch, and go there. */
static HrStatus fork_at(HrCall* call, HrTick tick, const char* name)
{
  HrSession* const session = call->session;
  HrBranch branch;
  HrTxn* txn = NULL;
  HrBranchId fork;
  HrStatus status = hr_txn_begin(session->binding.store, HR_READ, &txn);
  status = status ? status : hr_branch_get(txn, session->branch, &branch);
  hr_txn_abort(txn);
  if (status) {
    return hr_call_fail(call, status);
  }
  if (tick > branch.head_tick) {
    return hr_error(call->error, HR_ERR_ARGUMENT,
                    "The branch ends before that. Fork where there is music, or use `fork`.");
  }
  status = fork_in_store(call, tick, name, &fork);
  return status ? status : hr_call_go_and_tell(call, fork, HR_CAUSE_QUIET);
}

HrStatus hr_run_fork_at(HrCall* call)
{
  const char* name;
  HrTick tick;
  HrStatus status = hr_call_prepare_here(call);
  status = status ? status : hr_call_position(call, 0, &tick);
  status = status ? status : hr_call_name(call, 1, false, &name);
  return status ? status : fork_at(call, tick, name);
}

/** The place so many bars before the last bar line. */
static HrStatus find_ago(HrCall* call, double bars, HrTick* tick)
{
  HrTimeline timeline = {0};
  HrTxn* txn = NULL;
  uint64_t damaged = 0;
  HrTick now = 0;
  HrStatus status = hr_call_here(call, &now);
  if (status) {
    return status;
  }
  status = hr_txn_begin(call->session->binding.store, HR_READ, &txn);
  status = status
               ? status
               : hr_timeline_read(&timeline, txn, call->session->branch, INT64_MIN, now, &damaged);
  hr_txn_abort(txn);
  *tick = hr_timeline_tick(&timeline, (double)hr_timeline_place(&timeline, now).bar - bars, 0.0);
  hr_timeline_free(&timeline);
  return status ? hr_call_fail(call, status) : HR_OK;
}

HrStatus hr_run_fork_ago(HrCall* call)
{
  const char* name;
  double bars = -1.0;
  HrTick tick;
  if (!call->count || !hr_call_number(&call->args[0], &bars) || !(bars >= 0.0 && bars <= 1e6)) {
    return hr_error(call->error, HR_ERR_ARGUMENT, "fork/ago needs a number of bars, 0 or more.");
  }
  HrStatus status = hr_call_name(call, 1, false, &name);
  status = status ? status : hr_call_prepare_here(call);
  status = status ? status : find_ago(call, bars, &tick);
  return status ? status : fork_at(call, tick, name);
}

static HrPendingFork* free_pending_fork(HrSession* session)
{
  HrPendingFork* const pending = session->binding.capture->file->pending_forks;
  for (unsigned i = 0; i < HR_PENDING_FORKS; ++i) {
    if (!pending[i].number) {
      return &pending[i];
    }
  }
  return NULL;
}

/** Fork where the music is now. The engine knows where that is: the branch is
 * made when its answer comes through the capture ring. */
static HrStatus fork_now(HrCall* call, const char* name)
{
  HrSession* const session = call->session;
  HrPendingFork* const pending = free_pending_fork(session);
  if (!pending || session->numbers.next >= session->numbers.end) {
    return hr_error(call->error, HR_ERR_BUSY, "Too many forks at once. Try again.");
  }
  const HrGoMessage go = {.what = HR_GO_FORK,
                          .quantum = HR_QUANTUM_NOW,
                          .target.number = session->numbers.next,
                          .stream.ring = HR_NO_STREAM};
  snprintf(pending->name, sizeof pending->name, "%s", name ? name : "");
  snprintf(pending->author, sizeof pending->author, "%.*s", HR_NAME_MAX, call->author);
  const HrStatus status = hr_call_send(call, HR_MESSAGE_GO, &go, sizeof go);
  if (!status) {
    session->binding.forks_sent[pending - session->binding.capture->file->pending_forks] =
        session->move_sent;
    pending->number = session->numbers.next++;
    HR_CALL_ROW(call, hr_value_integer(pending->number), hr_value_text(pending->name));
  }
  return status;
}

HrStatus hr_run_fork(HrCall* call)
{
  const char* name;
  HrBranch branch;
  HrBranchId fork;
  HrTxn* txn = NULL;
  HrStatus status = hr_call_need_tree(call);
  status = status ? status : hr_call_name(call, 0, false, &name);
  if (status || call->session->engine) {
    return status ? status : fork_now(call, name);
  }
  status = hr_txn_begin(call->session->binding.store, HR_READ, &txn);
  status = status ? status : hr_branch_get(txn, call->session->branch, &branch);
  hr_txn_abort(txn);
  status = status ? hr_call_fail(call, status) : fork_in_store(call, branch.head_tick, name, &fork);
  return status ? status : hr_call_go_and_tell(call, fork, HR_CAUSE_QUIET);
}

/** The branch named first, which must not be hidden. */
static HrStatus find_visible(HrCall* call, HrBranchId* branch)
{
  HrTxn* txn = NULL;
  HrStatus status = hr_txn_begin(call->session->binding.store, HR_READ, &txn);
  if (status) {
    return hr_call_fail(call, status);
  }
  status = hr_call_visible_branch(call, txn, 0, branch);
  hr_txn_abort(txn);
  return status;
}

/** True if a fork that was asked for is not in the store yet: the engine may not even have
 * heard of it. */
static bool fork_waits(const HrSession* session)
{
  const HrCapture* const capture = session->binding.capture;
  bool waits = hr_session_fork_waits(session);
  for (unsigned i = 0; capture && !waits && i < HR_PENDING_FORKS; ++i) {
    waits = capture->file->pending_forks[i].number;
  }
  return waits;
}

/** Make sure of a tree, and that every branch of it is in the store. */
static HrStatus need_branches(HrCall* call)
{
  const HrStatus status = hr_call_need_tree(call);
  if (status || !fork_waits(call->session)) {
    return status;
  }
  call->here = true;
  return hr_call_to_write(call) ? HR_OK : HR_ERR_BUSY;
}

HrStatus hr_run_switch(HrCall* call)
{
  HrStatus status = hr_call_need_tree(call);
  if (status) {
    return status;
  }
  HrBranchId branch = hr_call_prepared_branch(call, 0);
  if (!branch) {
    status = need_branches(call);
    status = status ? status : find_visible(call, &branch);
  }
  return status ? status : hr_call_go_and_tell(call, branch, HR_CAUSE_COMMAND);
}

/** What is known of the branches around the current one; NULL if it may not be true. */
static const HrLikely* likely(const HrSession* session)
{
  return hr_session_prepared_is_fresh(session) && !session->prepared->stale
             ? &session->prepared->likely
             : NULL;
}

static HrStatus find_slot(HrCall* call, int64_t slot, HrBranchId* id)
{
  const HrSession* const session = call->session;
  const HrLikely* const known = likely(session);
  HrTxn* txn = NULL;
  HrBranch branch = {0};
  if (known && slot <= (int64_t)known->slot_count) {
    *id = known->slots[slot - 1];
    return HR_OK;
  }
  HrStatus status = hr_txn_begin(session->binding.store, HR_READ, &txn);
  while (!status && slot) {
    status = hr_branch_next(txn, session->binding.tree, hr_branch_number(branch.id), &branch);
    slot -= !status && branch.state == HR_BRANCH_ACTIVE;
  }
  hr_txn_abort(txn);
  *id = branch.id;
  return status == HR_END
             ? hr_error(call->error, HR_ERR_NOT_FOUND, "There are not that many branches yet.")
         : status ? hr_call_fail(call, status)
                  : HR_OK;
}

HrStatus hr_run_slot_replay(HrCall* call)
{
  call->afresh = true;
  return !call->session->engine ? hr_call_not_playing(call)
         : call->writing        ? hr_run_slot(call)
                                : hr_call_prepare(call);
}

HrStatus hr_run_slot(HrCall* call)
{
  HrBranchId branch = 0;
  int64_t slot;
  if (!call->count) {
    return hr_error(call->error, HR_ERR_ARGUMENT, "%s needs the number of a slot.",
                    call->info->verb);
  }
  HrStatus status = hr_call_count(call, 0, 0, &slot);
  if (status || !slot) {
    return status;
  }
  status = need_branches(call);
  status = status ? status : find_slot(call, slot, &branch);
  return status ? status : hr_call_go_and_tell(call, branch, HR_CAUSE_COMMAND);
}

static HrStatus find_neighbour(HrCall* call, int step, HrBranchId* id)
{
  const HrSession* const session = call->session;
  const HrBranchId current = hr_session_current(session);
  const HrLikely* const known = likely(session);
  HrTxn* txn = NULL;
  HrBranch branch = {0};
  *id = !known || session->prepared->origin != current ? 0
        : step > 0                                     ? known->next
                                                       : known->previous;
  if (*id) {
    return HR_OK;
  }
  HrStatus status = hr_txn_begin(session->binding.store, HR_READ, &txn);
  status = status ? status : hr_neighbour(txn, current, step, &branch);
  hr_txn_abort(txn);
  *id = branch.id;
  return status == HR_END ? hr_error(call->error, HR_ERR_NOT_FOUND,
                                     "There is no other branch yet. `fork` makes one.")
         : status == HR_ERR_LIMIT
             ? hr_error(call->error, status,
                        "The next %d branches are hidden. `switch` to one by name.",
                        HR_NEIGHBOURS_MAX)
         : status ? hr_call_fail(call, status)
                  : HR_OK;
}

/** Go to the visible branch before or after the current one, around the end. */
static HrStatus go_to_neighbour(HrCall* call, int step)
{
  HrBranchId branch = 0;
  HrStatus status = need_branches(call);
  status = status ? status : find_neighbour(call, step, &branch);
  return status ? status : hr_call_go_and_tell(call, branch, HR_CAUSE_COMMAND);
}

HrStatus hr_run_next(HrCall* call)
{
  return go_to_neighbour(call, 1);
}

HrStatus hr_run_previous(HrCall* call)
{
  return go_to_neighbour(call, -1);
}

HrStatus hr_run_cancel(HrCall* call)
{
  const HrGoMessage go = {.what = HR_GO_CANCEL, .stream.ring = HR_NO_STREAM};
  return call->session->engine ? hr_call_send(call, HR_MESSAGE_GO, &go, sizeof go) : HR_OK;
}

/** Do `change` to the branch named first, in a transaction. */
static HrStatus change_branch(HrCall* call, HrStatus (*change)(HrCall* call, HrTxn* txn,
                                                               HrBranchId id, uint32_t author))
{
  HrTxn* txn = NULL;
  HrBranchId branch = 0;
  uint32_t author = 0;
  HrStatus status = hr_call_prepare_here(call);
  if (status) {
    return status;
  }
  status = hr_session_begin(call->session, &txn);
  if (status) {
    return hr_call_fail(call, status);
  }
  status = hr_call_branch(call, txn, 0, &branch);
  if (!status) {
    status = hr_author_id(txn, call->author, &author);
    status = status ? hr_call_fail(call, status) : change(call, txn, branch, author);
  }
  if (status) {
    hr_txn_abort(txn);
    return status;
  }
  status = hr_session_commit(call->session, txn);
  if (status) {
    return hr_call_fail(call, status);
  }
  hr_call_touch_branches(call);
  return hr_call_tell_branch(call, branch);
}

static HrStatus change_name(HrCall* call, HrTxn* txn, HrBranchId id, uint32_t author)
{
  const char* name;
  HrStatus status = hr_call_name(call, 1, true, &name);
  if (status) {
    return status;
  }
  status = hr_branch_rename(txn, id, name, author);
  return status == HR_ERR_EXISTS
             ? hr_error(call->error, status,
                        "Another branch is called \"%s\". Choose another name.", name)
         : status ? hr_call_fail(call, status)
                  : HR_OK;
}

static HrStatus change_to_hidden(HrCall* call, HrTxn* txn, HrBranchId id, uint32_t author)
{
  if (id == call->session->branch) {
    return hr_error(call->error, HR_ERR_ARGUMENT,
                    "That is the branch you are on. Switch to another one first.");
  }
  const HrStatus status = hr_branch_set_state(txn, id, HR_BRANCH_HIDDEN, author);
  return status == HR_ERR_BUSY
             ? hr_error(call->error, status,
                        "The tree was last on that branch, perhaps by another instance. Switch "
                        "there and away again first.")
         : status ? hr_call_fail(call, status)
                  : HR_OK;
}

static HrStatus change_to_active(HrCall* call, HrTxn* txn, HrBranchId id, uint32_t author)
{
  const HrStatus status = hr_branch_set_state(txn, id, HR_BRANCH_ACTIVE, author);
  return status ? hr_call_fail(call, status) : HR_OK;
}

HrStatus hr_run_rename(HrCall* call)
{
  return change_branch(call, change_name);
}

HrStatus hr_run_hide(HrCall* call)
{
  return change_branch(call, change_to_hidden);
}

HrStatus hr_run_restore(HrCall* call)
{
  return change_branch(call, change_to_active);
}

HrStatus hr_run_tree(HrCall* call)
{
  HrSession* const session = call->session;
  const char* name;
  char path[4096];
  if (!hr_call_to_write(call)) {
    return HR_ERR_BUSY;
  }
  if (!session->binding.store) {
    return hr_call_no_store(call);
  }
  HrStatus status = hr_call_name(call, 0, true, &name);
  if (!status) {
    snprintf(path, sizeof path, "%s", hr_store_path(session->binding.store));
    const HrError before = session->trouble;
    status = hr_session_attach(session, &(HrAttachment){.store = path, .tree = name}, call->error);
    if (status) { // It is told to who asked; the tree that is there is as it was
      hr_session_set_trouble(session, &before);
    }
  }
  return status;
}
