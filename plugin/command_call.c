/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/command_call.h"

#include "plugin/timeline.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/** Three hundred years at 120 beats a minute: what is reckoned from there does not overflow. */
#define TICK_BOUND (INT64_C(1) << 55)

/** The same for a place in bars and beats: most of either. */
#define PLACE_BOUND 1e7

void hr_call_row(HrCall* call, const HrValue* values, size_t count)
{
  if (call->answer && call->answer->row) {
    call->answer->row(call->answer->data, values, count);
  }
}

HrStatus hr_call_fail(HrCall* call, HrStatus status)
{
  const char* const advice = hr_advice(status);
  return hr_error(call->error, status, "%s failed: %s.%s%s", call->info->verb, hr_strerror(status),
                  *advice ? " " : "", advice);
}

HrStatus hr_call_no_store(HrCall* call)
{
  const HrError* const trouble = &call->session->trouble;
  return hr_error(call->error, HR_ERR_BUSY, "%s",
                  trouble->status ? trouble->text : "The store is not open yet. Try again.");
}

HrStatus hr_call_not_playing(HrCall* call)
{
  return hr_error(call->error, HR_ERR_BUSY, "%s needs the plugin running in a host.",
                  call->info->verb);
}

/** A whole number, from any kind of number that has no fraction. */
bool hr_call_integer(const HrValue* value, int64_t* integer)
{
  if (value->type == HR_VALUE_NUMBER && fabs(value->number) < 9e18) {
    *integer = (int64_t)value->number;
    return (double)*integer == value->number;
  }
  *integer = value->integer;
  return value->type == HR_VALUE_INTEGER || value->type == HR_VALUE_TICK;
}

bool hr_call_number(const HrValue* value, double* number)
{
  *number = value->type == HR_VALUE_NUMBER ? value->number : (double)value->integer;
  return value->type != HR_VALUE_TEXT && value->type != HR_VALUE_BYTES;
}

/** A number argument that may be left out. */
HrStatus hr_call_count(HrCall* call, size_t index, int64_t otherwise, int64_t* count)
{
  *count = otherwise;
  if (index < call->count && (!hr_call_integer(&call->args[index], count) || *count < 0)) {
    return hr_error(call->error, HR_ERR_ARGUMENT, "%s takes whole numbers.", call->info->verb);
  }
  return HR_OK;
}

/** What a toggle is to become. */
HrStatus hr_call_toggle(HrCall* call, bool now, bool* wanted)
{
  double value = !now;
  if (call->count && !hr_call_number(&call->args[0], &value)) {
    return hr_error(call->error, HR_ERR_ARGUMENT, "%s takes 1 for on, 0 for off.",
                    call->info->verb);
  }
  *wanted = value != 0.0;
  return HR_OK;
}

/** A branch by name, by "#number", or by a text that is a number. */
static HrStatus find_branch(HrCall* call, HrTxn* txn, const char* text, HrBranchId* id)
{
  const HrTreeId tree = call->session->binding.tree;
  char number[HR_NAME_MAX + 2];
  const size_t digits = strspn(text, "0123456789");
  HrStatus status = hr_branch_find(txn, tree, text, id);
  if (status == HR_ERR_NOT_FOUND && digits && !text[digits]) {
    snprintf(number, sizeof number, "#%s", text);
    status = hr_branch_find(txn, tree, number, id);
  }
  return status == HR_ERR_NOT_FOUND
             ? hr_error(call->error, status, "There is no branch \"%s\". `list` shows them all.",
                        text)
         : status ? hr_call_fail(call, status)
                  : HR_OK;
}

HrStatus hr_call_branch(HrCall* call, HrTxn* txn, size_t index, HrBranchId* id)
{
  char text[32];
  int64_t number;
  if (index >= call->count) {
    return hr_error(call->error, HR_ERR_ARGUMENT, "%s needs a branch: its name or number.",
                    call->info->verb);
  }
  const HrValue* const value = &call->args[index];
  if (value->type == HR_VALUE_TEXT) {
    return find_branch(call, txn, value->text, id);
  }
  if (!hr_call_integer(value, &number) || number < 1 || number > UINT32_MAX) {
    return hr_error(call->error, HR_ERR_ARGUMENT, "That is no branch number.");
  }
  snprintf(text, sizeof text, "#%" PRId64, number);
  return find_branch(call, txn, text, id);
}

HrStatus hr_call_visible_branch(HrCall* call, HrTxn* txn, size_t index, HrBranchId* id)
{
  HrBranch branch;
  const HrStatus status = hr_call_branch(call, txn, index, id);
  return !status && !hr_branch_get(txn, *id, &branch) && branch.state == HR_BRANCH_HIDDEN
             ? hr_error(call->error, HR_ERR_ARGUMENT, "That branch is hidden. `restore` it first.")
             : status;
}

HrBranchId hr_call_prepared_branch(const HrCall* call, size_t index)
{
  const HrSession* const session = call->session;
  const HrTreeId tree = session->binding.tree;
  const HrPreparedBranch* found = NULL;
  int64_t number = 0;
  if (index >= call->count || !hr_session_prepared_is_fresh(session)) {
    return 0;
  }
  const HrValue* const value = &call->args[index];
  if (value->type == HR_VALUE_TEXT && *value->text != '#') {
    found = hr_prepared_named(session->prepared, value->text);
  } else if (value->type == HR_VALUE_TEXT) {
    uint32_t digits;
    number = hr_name_number(value->text, &digits) ? digits : 0;
  } else if (!hr_call_integer(value, &number)) {
    return 0;
  }
  if (number > 0 && number <= UINT32_MAX) {
    found = hr_prepared_find(session->prepared, hr_branch_id(tree, (uint32_t)number));
  }
  return found ? found->branch : 0;
}

/** Text argument `index` as a name; NULL when it is left out. */
HrStatus hr_call_name(HrCall* call, size_t index, bool needed, const char** name)
{
  *name = NULL;
  if (index < call->count && call->args[index].type == HR_VALUE_TEXT) {
    *name = call->args[index].text;
    return hr_name_valid(*name)
               ? HR_OK
               : hr_error(
                     call->error, HR_ERR_ARGUMENT,
                     "That is no usable name: 1 to %d bytes of plain text, not starting with #.",
                     HR_NAME_MAX);
  }
  return needed ? hr_error(call->error, HR_ERR_ARGUMENT, "%s needs a name.", call->info->verb)
                : HR_OK;
}

/** Where a mark of the current branch is. */
static HrStatus find_mark(const HrCall* call, const char* name, HrTick* start, HrTick* end)
{
  const HrSession* const session = call->session;
  HrTxn* txn = NULL;
  HrNote mark;
  if (!session->branch || hr_txn_begin(session->binding.store, HR_READ, &txn)) {
    return HR_ERR_NOT_FOUND;
  }
  const HrStatus status = hr_mark_find(txn, session->branch, name, &mark);
  if (!status) {
    *start = mark.tick;
    *end = mark.end_tick;
  }
  hr_txn_abort(txn);
  return status;
}

HrStatus hr_call_range(HrCall* call, size_t index, HrTick* start, HrTick* end)
{
  if (index + 1 == call->count && call->args[index].type == HR_VALUE_TEXT &&
      !find_mark(call, call->args[index].text, start, end) && *end > *start) {
    return HR_OK;
  }
  HrStatus status = hr_call_position(call, index, start);
  status = status ? status : hr_call_position(call, index + 1, end);
  return !status && *end <= *start
             ? hr_error(call->error, HR_ERR_ARGUMENT, "The end must lie after the start.")
             : status;
}

/** A position as it was given: ticks, or bars and beats from 1. */
typedef struct {
  bool in_ticks;
  HrTick tick;
  double bars, beats;
} Position;

/** Read "3", "3.2" or "1920t"; false if it is none of these. */
static bool read_position(const char* text, Position* position)
{
  int64_t bar = 0;
  int64_t beat = 1;
  int end = 0;
  if (sscanf(text, "%" SCNd64 "t%n", &position->tick, &end) == 1 && end && !text[end]) {
    position->in_ticks = true;
    return true;
  }
  end = 0;
  const bool both = sscanf(text, "%" SCNd64 ".%" SCNd64 "%n", &bar, &beat, &end) == 2;
  if (!both && sscanf(text, "%" SCNd64 "%n", &bar, &end) != 1) {
    end = 0;
  }
  position->bars = (double)bar;
  position->beats = (double)beat - 1.0;
  return end && !text[end] && beat >= 1;
}

HrStatus hr_call_mark_name(HrCall* call, size_t index, bool needed, const char** name)
{
  Position position = {0};
  const HrStatus status = hr_call_name(call, index, needed, name);
  return !status && *name && read_position(*name, &position)
             ? hr_error(call->error, HR_ERR_ARGUMENT,
                        "\"%s\" reads as a position. Give the mark a name that does not.", *name)
             : status;
}

/** The tick of bars and beats on the current branch. */
static HrStatus find_tick(HrCall* call, const Position* position, HrTick* tick)
{
  const HrSession* const session = call->session;
  HrTimeline timeline = {0};
  HrTxn* txn = NULL;
  uint64_t damaged = 0;
  HrStatus status = HR_OK;
  if (!(fabs(position->bars) < PLACE_BOUND && position->beats < PLACE_BOUND)) {
    return hr_error(call->error, HR_ERR_ARGUMENT, "That place is too far away.");
  }
  if (session->branch) {
    status = hr_txn_begin(session->binding.store, HR_READ, &txn);
    status =
        status ? status
               : hr_timeline_read(&timeline, txn, session->branch, INT64_MIN, INT64_MAX, &damaged);
    hr_txn_abort(txn);
  }
  *tick = hr_timeline_tick(&timeline, position->bars, position->beats);
  hr_timeline_free(&timeline);
  return status ? hr_call_fail(call, status) : HR_OK;
}

HrStatus hr_call_position(HrCall* call, size_t index, HrTick* tick)
{
  Position position = {0};
  HrTick end;
  if (index >= call->count) {
    return hr_error(call->error, HR_ERR_ARGUMENT, "%s needs a position: a bar, or \"bar.beat\".",
                    call->info->verb);
  }
  const HrValue* const value = &call->args[index];
  if (value->type == HR_VALUE_TEXT && !read_position(value->text, &position)) {
    return find_mark(call, value->text, tick, &end)
               ? hr_error(call->error, HR_ERR_ARGUMENT,
                          "\"%s\" is no position. Give a bar, \"bar.beat\", the name of a mark, or "
                          "ticks like \"1920t\".",
                          value->text)
               : HR_OK;
  }
  if (value->type == HR_VALUE_TICK || position.in_ticks) {
    *tick = value->type == HR_VALUE_TICK ? value->integer : position.tick;
    return *tick > -TICK_BOUND && *tick < TICK_BOUND
               ? HR_OK
               : hr_error(call->error, HR_ERR_ARGUMENT, "That tick is too far away.");
  }
  if (value->type != HR_VALUE_TEXT) {
    position.bars = value->type == HR_VALUE_NUMBER ? value->number : (double)value->integer;
  }
  return find_tick(call, &position, tick);
}

bool hr_call_to_write(HrCall* call)
{
  call->to_write = !call->writing;
  return call->writing;
}

HrStatus hr_call_prepare(HrCall* call)
{
  if (!hr_call_to_write(call)) {
    return HR_ERR_BUSY;
  }
  const HrStatus status = hr_session_need_tree(call->session);
  return !call->session->binding.store ? hr_call_no_store(call)
         : status                      ? hr_call_fail(call, status)
                                       : HR_OK;
}

HrStatus hr_call_prepare_here(HrCall* call)
{
  call->here = true;
  return hr_call_prepare(call);
}

HrStatus hr_call_settle(HrCall* call)
{
  HrSession* const session = call->session;
  if (call->writing) {
    hr_session_drain(session, true);
    return HR_OK;
  }
  if (call->at_once || !hr_session_move_waits(session)) {
    return HR_OK;
  }
  call->here = true;
  hr_call_to_write(call);
  return HR_ERR_BUSY;
}

HrStatus hr_call_need_tree(HrCall* call)
{
  const HrSession* const session = call->session;
  return session->engine && session->binding.tree && !call->writing ? HR_OK : hr_call_prepare(call);
}

HrStatus hr_call_tell_branch(HrCall* call, HrBranchId branch)
{
  const HrPreparedBranch* const prepared = hr_session_prepared(call->session, branch);
  HrTxn* txn = NULL;
  char name[HR_NAME_MAX + 1] = "";
  if (prepared) {
    memcpy(name, prepared->name, sizeof name);
  } else if (!hr_txn_begin(call->session->binding.store, HR_READ, &txn)) {
    hr_branch_name(txn, branch, name);
    hr_txn_abort(txn);
  }
  HR_CALL_ROW(call, hr_value_integer(hr_branch_number(branch)), hr_value_text(name));
  return HR_OK;
}

HrStatus hr_call_send(HrCall* call, uint32_t type, const void* payload, uint32_t size)
{
  const HrStatus status = hr_session_send(call->session, type, payload, size);
  if (status) {
    return hr_error(call->error, status,
                    "The host does not run the plugin just now. Start it, then try again.");
  }
  hr_session_touch(call->session);
  return HR_OK;
}

HrTick hr_call_now(const HrSession* session)
{
  return atomic_load_explicit(&session->engine->shared.position, memory_order_relaxed);
}

bool hr_call_rolling(const HrSession* session)
{
  return atomic_load_explicit(&session->engine->shared.rolling, memory_order_relaxed);
}

HrStatus hr_call_open_stream(HrCall* call, HrBranchId branch, HrTick at, HrStreamStart* stream)
{
  const HrLoopMessage* const loop = &call->session->loop;
  const bool straight = hr_call_rolling(call->session) && hr_loop_valid(loop);
  stream->at = at;
  stream->tick = at - (straight ? hr_loop_shift(loop, at) : 0);
  stream->loop = *loop;
  const HrStatus status = hr_session_open_stream(call->session, branch, false, stream);
  if (status == HR_ERR_BUSY) {
    return hr_error(call->error, status, "Too many switches at once. Try again.");
  }
  return status ? hr_call_fail(call, status) : HR_OK;
}

HrStatus hr_call_locate(HrCall* call, HrBranchId branch, HrTick tick, HrGoMessage* go)
{
  HrTimeline timeline = {0};
  HrTxn* txn = NULL;
  uint64_t damaged = 0;
  HrStatus status = hr_txn_begin(call->session->binding.store, HR_READ, &txn);
  status = status ? status : hr_timeline_read(&timeline, txn, branch, INT64_MIN, tick, &damaged);
  hr_txn_abort(txn);
  const HrTimelinePoint there = hr_timeline_at(&timeline, tick);
  hr_timeline_free(&timeline);
  go->what |= HR_GO_LOCATE | HR_GO_BARS;
  go->bar_tick = there.bar_tick;
  go->bar = there.bar - 1;
  return status ? hr_call_fail(call, status) : hr_call_open_stream(call, branch, tick, &go->stream);
}
