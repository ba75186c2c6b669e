/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/command_call.h"

#include <stdio.h>
#include <string.h>

static const char* state_name(HrBranchState state)
{
  return state == HR_BRANCH_HIDDEN ? "hidden" : "active";
}

/** Answer with a branch as `list` does. */
static void tell_record(HrCall* call, HrTxn* txn, const HrBranch* branch)
{
  char name[HR_NAME_MAX + 1] = "";
  hr_branch_name(txn, branch->id, name);
  HR_CALL_ROW(call, hr_value_integer(hr_branch_number(branch->id)), hr_value_text(name),
              hr_value_integer(hr_branch_number(branch->parent)), hr_value_tick(branch->fork_tick),
              hr_value_tick(branch->head_tick), hr_value_tick((int64_t)branch->event_count),
              hr_value_text(state_name(branch->state)),
              hr_value_integer(branch->id == call->session->branch));
}

HrStatus hr_run_list(HrCall* call)
{
  HrSession* const session = call->session;
  HrTxn* txn = NULL;
  int64_t from, count;
  HrStatus status = session->binding.store ? HR_OK : hr_call_no_store(call);
  status = status ? status : hr_call_count(call, 0, 1, &from);
  status = status ? status : hr_call_count(call, 1, UINT32_MAX, &count);
  status = status ? status : hr_call_settle(call);
  if (status || !session->binding.tree) {
    return status;
  }
  status = hr_txn_begin(session->binding.store, HR_READ, &txn);
  uint32_t number = from > UINT32_MAX ? UINT32_MAX : from > 0 ? (uint32_t)from - 1 : 0;
  while (!status && count-- > 0) {
    HrBranch branch;
    status = hr_branch_next(txn, session->binding.tree, number, &branch);
    if (status) {
      break;
    }
    number = hr_branch_number(branch.id);
    tell_record(call, txn, &branch);
  }
  hr_txn_abort(txn);
  return !status || status == HR_END ? HR_OK : hr_call_fail(call, status);
}

HrStatus hr_run_branch(HrCall* call)
{
  HrSession* const session = call->session;
  HrTxn* txn = NULL;
  HrBranch branch;
  if (!session->binding.store) {
    return hr_call_no_store(call);
  }
  if (hr_call_settle(call)) {
    return HR_ERR_BUSY;
  }
  HrBranchId id = session->branch;
  if (!id) {
    return hr_error(call->error, HR_ERR_NOT_FOUND, "There is no branch yet. Play something.");
  }
  HrStatus status = hr_txn_begin(session->binding.store, HR_READ, &txn);
  if (status) {
    return hr_call_fail(call, status);
  }
  status = call->count ? hr_call_branch(call, txn, 0, &id) : HR_OK;
  if (!status) {
    status = hr_branch_get(txn, id, &branch);
    status = status ? hr_call_fail(call, status) : HR_OK;
  }
  if (!status) {
    tell_record(call, txn, &branch);
  }
  hr_txn_abort(txn);
  return status;
}

HrStatus hr_run_trees(HrCall* call)
{
  HrSession* const session = call->session;
  HrTxn* txn = NULL;
  HrTree tree = {0};
  if (!session->binding.store) {
    return hr_call_no_store(call);
  }
  HrStatus status = hr_txn_begin(session->binding.store, HR_READ, &txn);
  while (!status && !(status = hr_tree_next(txn, tree.id, &tree))) {
    HR_CALL_ROW(call, hr_value_integer(tree.id), hr_value_text(tree.name),
                hr_value_integer(tree.branch_count),
                hr_value_integer(tree.id == session->binding.tree));
  }
  hr_txn_abort(txn);
  return status == HR_END ? HR_OK : hr_call_fail(call, status);
}

HrStatus hr_run_log(HrCall* call)
{
  HrSession* const session = call->session;
  HrTxn* txn = NULL;
  HrJournalEntry entry = {0};
  if (!session->binding.store) {
    return hr_call_no_store(call);
  }
  if (hr_call_settle(call)) {
    return HR_ERR_BUSY;
  }
  HrStatus status =
      session->binding.tree ? hr_txn_begin(session->binding.store, HR_READ, &txn) : HR_END;
  while (!status &&
         !(status = hr_journal_next(txn, session->binding.tree, entry.sequence, &entry))) {
    char name[HR_NAME_MAX + 1] = "", other[HR_NAME_MAX + 1] = "", author[HR_NAME_MAX + 1] = "";
    hr_branch_name(txn, entry.branch, name);
    hr_branch_name(txn, entry.other, other);
    hr_author_name(txn, entry.author, author);
    HR_CALL_ROW(call, hr_value_integer(entry.sequence),
                hr_value_number((double)entry.time_ns / 1e9),
                hr_value_text(hr_operation_name(entry.operation)), hr_value_text(name),
                hr_value_text(other), hr_value_tick(entry.tick), hr_value_text(author),
                hr_value_text(entry.text));
  }
  hr_txn_abort(txn);
  return status == HR_END ? HR_OK : hr_call_fail(call, status);
}

HrStatus hr_run_get(HrCall* call)
{
  HrSessionState state;
  HrStoreStats stats = {0};
  hr_session_state(call->session, &state);
  if (call->session->binding.store) {
    hr_store_stats(call->session->binding.store, &stats);
  }
  char meter[16];
  snprintf(meter, sizeof meter, "%u/%u", state.beats_per_bar, state.beat_unit);
  const struct {
    const char* key;
    HrValue value;
  } rows[] = {
      {"store", hr_value_text(state.store_path)},
      {"store/bytes", hr_value_tick((int64_t)stats.file_bytes)},
      {"store/limit", hr_value_tick((int64_t)stats.map_bytes)},
      {"tree", hr_value_text(state.tree_name)},
      {"branch", hr_value_text(state.branch_name)},
      {"number", hr_value_integer(hr_branch_number(state.branch))},
      {"pending", hr_value_text(state.pending_name)},
      {"pending_beats", hr_value_number(state.pending_beats)},
      {"record", hr_value_integer(state.record)},
      {"replay", hr_value_integer(state.replay)},
      {"loop", hr_value_integer(state.loop)},
      {"loop_start", hr_value_tick(state.loop_start)},
      {"loop_end", hr_value_tick(state.loop_end)},
      {"thru", hr_value_integer(state.thru)},
      {"overdub", hr_value_integer(state.overdub)},
      {"quantum", hr_value_text(state.quantum_name)},
      {"snap", hr_value_integer(state.snap_ms)},
      {"standing", hr_value_text(hr_standing_names[state.standing])},
      {"silence", hr_value_integer(state.silence_bars)},
      {"tempo/source", hr_value_text(hr_tempo_source_names[state.tempo_source])},
      {"rolling", hr_value_integer(state.rolling)},
      {"running", hr_value_integer(state.running)},
      {"tempo", hr_value_number(state.tempo)},
      {"meter", hr_value_text(meter)},
      {"position", hr_value_tick(state.position)},
      {"head", hr_value_tick(state.head)},
      {"recorded", hr_value_tick((int64_t)state.recorded)},
      {"replayed", hr_value_tick((int64_t)state.replayed)},
      {"dropped", hr_value_tick((int64_t)state.dropped)},
      {"malformed", hr_value_tick((int64_t)state.malformed)},
      {"unheard", hr_value_tick((int64_t)state.unheard)},
      {"failed_commits", hr_value_tick((int64_t)state.failed_commits)},
      {"rescued", hr_value_tick((int64_t)state.rescued)},
      {"longest_wait", hr_value_number(state.longest_wait)},
      {"trouble", hr_value_text(state.trouble_text)},
  };
  const char* const key =
      call->count && call->args[0].type == HR_VALUE_TEXT ? call->args[0].text : NULL;
  bool found = false;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
    if (!key || !strcmp(key, rows[i].key)) {
      HR_CALL_ROW(call, hr_value_text(rows[i].key), rows[i].value);
      found = true;
    }
  }
  return found ? HR_OK
               : hr_error(call->error, HR_ERR_NOT_FOUND,
                          "There is nothing called \"%s\". `get` alone shows all.", key);
}

HrStatus hr_run_stats(HrCall* call)
{
  HrSession* const session = call->session;
  const HrCapture* const capture = session->binding.capture;
  HrStoreStats store;
  HrSessionState state;
  if (!session->binding.store) {
    return hr_call_no_store(call);
  }
  const HrStatus status = hr_store_stats(session->binding.store, &store);
  if (status) {
    return hr_call_fail(call, status);
  }
  hr_session_state(session, &state);
  const struct {
    const char* key;
    uint64_t value;
  } rows[] = {
      {"recorded", state.recorded},
      {"replayed", state.replayed},
      {"dropped", state.dropped},
      {"malformed", state.malformed},
      {"unheard", state.unheard},
      {"failed_commits", state.failed_commits},
      {"rescued", state.rescued},
      {"longest_wait_ms", (uint64_t)(state.longest_wait * 1e3)},
      {"waiting_bytes", capture ? hr_ring_used(&capture->ring) : 0},
      {"waiting_bytes_max", capture ? HR_CAPTURE_CAPACITY : 0},
      {"store_bytes", store.file_bytes},
      {"store_bytes_max", store.map_bytes},
      {"trees", store.tree_count},
      {"branches", store.branch_count},
      {"nodes", store.node_count},
      {"name_bytes_max", HR_NAME_MAX},
      {"note_bytes_max", HR_NOTE_TEXT_MAX},
      {"message_bytes_max", HR_SEND_MAX},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
    HR_CALL_ROW(call, hr_value_text(rows[i].key), hr_value_tick((int64_t)rows[i].value));
  }
  return HR_OK;
}
