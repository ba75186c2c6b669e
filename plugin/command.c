/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/command.h"

#include "plugin/session_internal.h"
#include "plugin/timeline.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** A command being run. */
typedef struct {
  HrSession* session;
  const HrCommandInfo* info;
  const HrValue* args;
  size_t count;
  const char* author;
  const HrAnswer* answer;
  HrError* error;
} Call;

typedef HrStatus (*Handler)(Call* call);

static void row(Call* call, const HrValue* values, size_t count)
{
  if (call->answer && call->answer->row) {
    call->answer->row(call->answer->data, values, count);
  }
}

#define ROW(call, ...)                                                                             \
  row(call, (const HrValue[]){__VA_ARGS__}, sizeof(const HrValue[]){__VA_ARGS__} / sizeof(HrValue))

static HrStatus fail(Call* call, HrStatus status)
{
  return hr_error(call->error, status, "%s failed: %s.", call->info->verb, hr_strerror(status));
}

static HrStatus no_store(Call* call)
{
  const HrError* const trouble = &call->session->trouble;
  return hr_error(call->error, HR_ERR_BUSY, "%s",
                  trouble->status ? trouble->text : "The store is not open yet. Try again.");
}

static HrStatus not_playing(Call* call)
{
  return hr_error(call->error, HR_ERR_BUSY, "%s needs the plugin running in a host.",
                  call->info->verb);
}

/* ---- Arguments --------------------------------------------------------- */

/** A whole number, from any kind of number. */
static bool get_integer(const HrValue* value, int64_t* integer)
{
  if (value->type == HR_VALUE_NUMBER && fabs(value->number) < 9e18) {
    *integer = llround(value->number);
    return true;
  }
  *integer = value->integer;
  return value->type == HR_VALUE_INTEGER || value->type == HR_VALUE_TICK;
}

/** A branch by name, by "#number", or by a text that is a number. */
static HrStatus find_branch(Call* call, HrTxn* txn, const char* text, HrBranchId* id)
{
  const HrTreeId tree = call->session->binding.tree;
  char number[HR_NAME_MAX + 2];
  const size_t digits = strspn(text, "0123456789");
  HrStatus status = hr_branch_find(txn, tree, text, id);
  if (status == HR_ERR_NOT_FOUND && digits && !text[digits] && digits < 10) {
    snprintf(number, sizeof number, "#%s", text);
    status = hr_branch_find(txn, tree, number, id);
  }
  return status == HR_ERR_NOT_FOUND
             ? hr_error(call->error, status, "There is no branch \"%s\". `list` shows them all.",
                        text)
         : status ? fail(call, status)
                  : HR_OK;
}

static HrStatus get_branch(Call* call, HrTxn* txn, size_t index, HrBranchId* id)
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
  if (!get_integer(value, &number) || number < 1 || number > UINT32_MAX) {
    return hr_error(call->error, HR_ERR_ARGUMENT, "That is no branch number.");
  }
  snprintf(text, sizeof text, "#%" PRId64, number);
  return find_branch(call, txn, text, id);
}

/** Text argument `index` as a name; NULL when it is left out. */
static HrStatus get_name(Call* call, size_t index, bool needed, const char** name)
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

/** A position: bars as a number or text "bar.beat", both from 1; ticks as
 * HR_VALUE_TICK or text "123t". */
static HrStatus get_position(Call* call, size_t index, HrTick* tick)
{
  if (index >= call->count) {
    return hr_error(call->error, HR_ERR_ARGUMENT, "%s needs a position: a bar, or \"bar.beat\".",
                    call->info->verb);
  }
  const HrValue* const value = &call->args[index];
  double bars = 0.0;
  double beats = 0.0;
  int64_t bar = 0;
  int64_t beat = 1;
  int end = 0;
  if (value->type == HR_VALUE_TICK) {
    *tick = value->integer;
    return HR_OK;
  }
  if (value->type == HR_VALUE_TEXT) {
    if (sscanf(value->text, "%" SCNd64 "t%n", tick, &end) == 1 && end && !value->text[end]) {
      return HR_OK;
    }
    end = 0;
    const bool both = sscanf(value->text, "%" SCNd64 ".%" SCNd64 "%n", &bar, &beat, &end) == 2;
    if (!both && sscanf(value->text, "%" SCNd64 "%n", &bar, &end) != 1) {
      end = 0;
    }
    if (!end || value->text[end] || beat < 1 || llabs(bar) > 10000000) {
      return hr_error(call->error, HR_ERR_ARGUMENT,
                      "\"%s\" is no position. Give a bar, \"bar.beat\", or ticks like \"1920t\".",
                      value->text);
    }
    bars = (double)bar;
    beats = (double)(beat - 1);
  } else {
    bars = (value->type == HR_VALUE_NUMBER ? value->number : (double)value->integer);
  }
  if (!(fabs(bars) < 1e7)) {
    return hr_error(call->error, HR_ERR_ARGUMENT, "That bar is too far away.");
  }
  HrTimeline timeline = {0};
  HrTxn* txn = NULL;
  uint64_t damaged = 0;
  HrStatus status = HR_OK;
  if (call->session->branch) {
    status = hr_txn_begin(call->session->binding.store, HR_READ, &txn);
    status = status ? status
                    : hr_timeline_read(&timeline, txn, call->session->branch, INT64_MIN, &damaged);
    hr_txn_abort(txn);
  }
  *tick = hr_timeline_tick(&timeline, bars, beats);
  hr_timeline_free(&timeline);
  return status ? fail(call, status) : HR_OK;
}

/** What a toggle is to become. */
static HrStatus get_toggle(Call* call, bool now, bool* wanted)
{
  int64_t value = !now;
  if (call->count && !get_integer(&call->args[0], &value)) {
    return hr_error(call->error, HR_ERR_ARGUMENT, "%s takes 1 for on, 0 for off.",
                    call->info->verb);
  }
  *wanted = value != 0;
  return HR_OK;
}

/* ---- Messages to the engine ---------------------------------------------- */

static HrStatus send(Call* call, uint32_t type, const void* payload, uint32_t size)
{
  const HrStatus status = hr_session_send(call->session, type, payload, size);
  if (status) {
    return hr_error(call->error, status,
                    "The host does not run the plugin just now. Start it, then try again.");
  }
  hr_session_touch(call->session);
  return HR_OK;
}

static HrTick position(const HrSession* session)
{
  return atomic_load_explicit(&session->engine->shared.position, memory_order_relaxed);
}

static bool rolling(const HrSession* session)
{
  return atomic_load_explicit(&session->engine->shared.rolling, memory_order_relaxed);
}

static HrStatus open_stream(Call* call, HrBranchId branch, HrTick tick, HrStreamStart* stream)
{
  const HrStatus status =
      hr_session_open_stream(call->session, branch, tick, !rolling(call->session), stream);
  if (status == HR_ERR_BUSY) {
    return hr_error(call->error, status, "Too many switches at once. Try again.");
  }
  return status ? fail(call, status) : HR_OK;
}

/** Fill in the part of a message that makes `branch` the current one. */
static HrStatus aim_at(Call* call, HrBranchId branch, HrGoMessage* go)
{
  HrSession* const session = call->session;
  HrTxn* txn = NULL;
  HrStatus status = hr_txn_begin(session->binding.store, HR_READ, &txn);
  status = status ? status : hr_session_target(txn, branch, &go->target);
  hr_txn_abort(txn);
  if (status) {
    return fail(call, status);
  }
  go->what |= HR_GO_SWITCH;
  const bool runs = atomic_load_explicit(&session->engine->shared.running, memory_order_relaxed);
  if (session->replay && !runs) {
    go->what |= HR_GO_REPLAY | HR_GO_FOLLOW; // Armed: it is heard when the host starts
  } else if (session->replay) {
    go->what |= HR_GO_REPLAY;
    return open_stream(call, branch, position(session), &go->stream);
  }
  go->what |= HR_GO_PARK;
  const HrTick bar = hr_tempo_bar_length(&go->target.tempo);
  go->park_tick = go->target.fresh ? go->target.head : hr_grid_ceiling(go->target.head + 1, 0, bar);
  return HR_OK;
}

/** Make sure that there is a tree, and that what was played is in it. */
static HrStatus prepare(Call* call)
{
  const HrStatus status = hr_session_need_tree(call->session);
  return !call->session->binding.store ? no_store(call) : status ? fail(call, status) : HR_OK;
}

static HrStatus go_to(Call* call, HrBranchId branch)
{
  HrSession* const session = call->session;
  HrGoMessage go = {.quantum = session->quantum, .stream.ring = HR_NO_STREAM};
  if (!session->engine) {
    HrTxn* txn = NULL;
    HrBranch record;
    uint32_t author = 0;
    HrStatus status = hr_txn_begin(session->binding.store, HR_WRITE, &txn);
    status = status ? status : hr_author_id(txn, call->author, &author);
    status = status ? status : hr_branch_get(txn, branch, &record);
    status = status ? status : hr_branch_switch(txn, branch, record.head_tick, author);
    if (status) {
      hr_txn_abort(txn);
      return fail(call, status);
    }
    status = hr_txn_commit(txn);
    session->branch = status ? session->branch : branch;
    return status ? fail(call, status) : HR_OK;
  }
  const HrStatus status = aim_at(call, branch, &go);
  return status ? status : send(call, HR_MESSAGE_GO, &go, sizeof go);
}

/* ---- Forks and switches --------------------------------------------------- */

static HrStatus tell_branch(Call* call, HrBranchId branch)
{
  HrTxn* txn = NULL;
  char name[HR_NAME_MAX + 1] = "";
  if (!hr_txn_begin(call->session->binding.store, HR_READ, &txn)) {
    hr_branch_name(txn, branch, name);
    hr_txn_abort(txn);
  }
  ROW(call, hr_value_integer(hr_branch_number(branch)), hr_value_text(name));
  return HR_OK;
}

/** Fork in the store, at a place that is known. */
static HrStatus fork_in_store(Call* call, HrTick tick, const char* name, HrBranchId* fork)
{
  HrSession* const session = call->session;
  HrTxn* txn = NULL;
  HrForkOptions options = {.name = name};
  HrStatus status = hr_txn_begin(session->binding.store, HR_WRITE, &txn);
  status = status ? status : hr_author_id(txn, call->author, &options.author);
  status = status ? status : hr_branch_fork(txn, session->branch, tick, &options, fork);
  if (status) {
    hr_txn_abort(txn);
    return fail(call, status);
  }
  status = hr_txn_commit(txn);
  hr_session_touch_tree(session);
  return status ? fail(call, status) : HR_OK;
}

static HrStatus run_fork_at(Call* call)
{
  HrSession* const session = call->session;
  const char* name;
  HrTick tick;
  HrBranch branch;
  HrTxn* txn = NULL;
  HrBranchId fork;
  HrStatus status = prepare(call);
  status = status ? status : get_position(call, 0, &tick);
  status = status ? status : get_name(call, 1, false, &name);
  if (status) {
    return status;
  }
  status = hr_txn_begin(session->binding.store, HR_READ, &txn);
  status = status ? status : hr_branch_get(txn, session->branch, &branch);
  hr_txn_abort(txn);
  if (status) {
    return fail(call, status);
  }
  if (tick > branch.head_tick) {
    return hr_error(call->error, HR_ERR_ARGUMENT,
                    "The branch ends before that. Fork where there is music, or use `fork`.");
  }
  status = fork_in_store(call, tick, name, &fork);
  status = status ? status : go_to(call, fork);
  return status ? status : tell_branch(call, fork);
}

static HrPendingFork* free_pending_fork(HrSession* session)
{
  for (unsigned i = 0; i < HR_PENDING_FORKS; ++i) {
    if (!session->pending_forks[i].number) {
      return &session->pending_forks[i];
    }
  }
  return NULL;
}

/** Fork where the music is now. The engine knows where that is: the branch is
 * made when its answer comes through the capture ring. */
static HrStatus fork_now(Call* call, const char* name)
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
  const HrStatus status = send(call, HR_MESSAGE_GO, &go, sizeof go);
  if (!status) {
    pending->number = session->numbers.next++;
    ROW(call, hr_value_integer(pending->number), hr_value_text(pending->name));
  }
  return status;
}

static HrStatus run_fork(Call* call)
{
  const char* name;
  HrBranch branch;
  HrBranchId fork;
  HrTxn* txn = NULL;
  HrStatus status = prepare(call);
  status = status ? status : get_name(call, 0, false, &name);
  if (status || call->session->engine) {
    return status ? status : fork_now(call, name);
  }
  status = hr_txn_begin(call->session->binding.store, HR_READ, &txn);
  status = status ? status : hr_branch_get(txn, call->session->branch, &branch);
  hr_txn_abort(txn);
  status = status ? fail(call, status) : fork_in_store(call, branch.head_tick, name, &fork);
  status = status ? status : go_to(call, fork);
  return status ? status : tell_branch(call, fork);
}

static HrStatus run_switch(Call* call)
{
  HrTxn* txn = NULL;
  HrBranchId branch = 0;
  HrBranch record;
  HrStatus status = prepare(call);
  if (status) {
    return status;
  }
  status = hr_txn_begin(call->session->binding.store, HR_READ, &txn);
  if (status) {
    return fail(call, status);
  }
  status = get_branch(call, txn, 0, &branch);
  if (!status && !hr_branch_get(txn, branch, &record) && record.state == HR_BRANCH_HIDDEN) {
    status = hr_error(call->error, HR_ERR_ARGUMENT, "That branch is hidden. `restore` it first.");
  }
  hr_txn_abort(txn);
  status = status ? status : go_to(call, branch);
  return status ? status : tell_branch(call, branch);
}

/** The visible branch before or after the current one, around the end. */
static HrStatus neighbour(Call* call, int step)
{
  HrSession* const session = call->session;
  HrTxn* txn = NULL;
  HrBranch branch = {0};
  HrBranchId first = 0, last = 0, before = 0, after = 0;
  HrStatus status = prepare(call);
  if (status) {
    return status;
  }
  status = hr_txn_begin(session->binding.store, HR_READ, &txn);
  while (!status && !(status = hr_branch_next(txn, session->binding.tree,
                                              hr_branch_number(branch.id), &branch))) {
    if (branch.state != HR_BRANCH_ACTIVE || branch.id == session->branch) {
      continue;
    }
    first = first ? first : branch.id;
    last = branch.id;
    before = branch.id < session->branch ? branch.id : before;
    after = branch.id > session->branch && !after ? branch.id : after;
  }
  hr_txn_abort(txn);
  if (status != HR_END) {
    return fail(call, status);
  }
  const HrBranchId target = step > 0 ? (after ? after : first) : (before ? before : last);
  if (!target) {
    return hr_error(call->error, HR_ERR_NOT_FOUND,
                    "There is no other branch yet. `fork` makes one.");
  }
  status = go_to(call, target);
  return status ? status : tell_branch(call, target);
}

static HrStatus run_next(Call* call)
{
  return neighbour(call, 1);
}

static HrStatus run_previous(Call* call)
{
  return neighbour(call, -1);
}

static HrStatus run_cancel(Call* call)
{
  const HrGoMessage go = {.what = HR_GO_CANCEL, .stream.ring = HR_NO_STREAM};
  return call->session->engine ? send(call, HR_MESSAGE_GO, &go, sizeof go) : HR_OK;
}

/* ---- Replay ---------------------------------------------------------------- */

static HrStatus replay_from(Call* call, HrTick tick)
{
  HrSession* const session = call->session;
  HrGoMessage go = {.what = HR_GO_REPLAY, .quantum = session->quantum};
  if (!rolling(session)) {
    go.what |= HR_GO_LOCATE;
  } else {
    tick = position(session);
  }
  HrStatus status = open_stream(call, session->branch, tick, &go.stream);
  status = status ? status : send(call, HR_MESSAGE_GO, &go, sizeof go);
  if (!status) {
    session->replay = true;
    hr_session_touch(session);
  }
  return status;
}

static HrStatus run_replay(Call* call)
{
  HrSession* const session = call->session;
  HrTxn* txn = NULL;
  HrPath path;
  HrEvent event = {0};
  if (!session->engine) {
    return not_playing(call);
  }
  HrStatus status = prepare(call);
  if (status) {
    return status;
  }
  status = hr_txn_begin(session->binding.store, HR_READ, &txn);
  if (status) {
    return fail(call, status);
  }
  status = hr_path_open(txn, session->branch, INT64_MIN, &path);
  status = status ? status : hr_path_next(&path, &event);
  hr_path_close(&path);
  hr_txn_abort(txn);
  if (status == HR_END && !rolling(session)) {
    return hr_error(call->error, HR_ERR_NOT_FOUND,
                    "There is nothing to replay on this branch yet. Play something.");
  }
  const HrTick start = session->loop.on ? session->loop.start : event.tick < 0 ? event.tick : 0;
  return replay_from(call, start);
}

static HrStatus run_replay_at(Call* call)
{
  HrTick tick;
  if (!call->session->engine) {
    return not_playing(call);
  }
  HrStatus status = prepare(call);
  status = status ? status : get_position(call, 0, &tick);
  return status ? status : replay_from(call, tick);
}

/** Like a tape machine in sync: heard whenever the host rolls, silent while it
 * stands. */
static HrStatus run_follow(Call* call)
{
  HrSession* const session = call->session;
  bool on = session->replay;
  HrGoMessage go = {
      .what = HR_GO_REPLAY | HR_GO_FOLLOW, .quantum = HR_QUANTUM_NOW, .stream.ring = HR_NO_STREAM};
  HrStatus status = session->engine ? get_toggle(call, on, &on) : not_playing(call);
  if (!status && !on) {
    go.what = HR_GO_STOP;
  }
  status = status ? status : send(call, HR_MESSAGE_GO, &go, sizeof go);
  if (!status) {
    session->replay = on;
    hr_session_touch(session);
  }
  return status;
}

static HrStatus run_stop(Call* call)
{
  const HrGoMessage go = {
      .what = HR_GO_STOP, .quantum = HR_QUANTUM_NOW, .stream.ring = HR_NO_STREAM};
  if (!call->session->engine) {
    return not_playing(call);
  }
  call->session->replay = false;
  return send(call, HR_MESSAGE_GO, &go, sizeof go);
}

/** Tell the engine of the loop; what plays already goes on within it. */
static HrStatus send_loop(Call* call)
{
  HrSession* const session = call->session;
  const HrStatus status = send(call, HR_MESSAGE_LOOP, &session->loop, sizeof session->loop);
  if (status || !session->replay || rolling(session) || !session->branch) {
    return status;
  }
  HrGoMessage go = {.what = HR_GO_REPLAY, .quantum = HR_QUANTUM_NOW};
  const HrStatus opened = open_stream(call, session->branch, position(session), &go.stream);
  return opened ? opened : send(call, HR_MESSAGE_GO, &go, sizeof go);
}

static HrStatus run_loop_range(Call* call)
{
  HrTick start, end;
  HrStatus status = call->session->engine ? HR_OK : not_playing(call);
  status = status ? status : get_position(call, 0, &start);
  status = status ? status : get_position(call, 1, &end);
  if (!status && end <= start) {
    status = hr_error(call->error, HR_ERR_ARGUMENT, "A loop's end must lie after its start.");
  }
  if (!status) {
    call->session->loop = (HrLoopMessage){true, start, end};
    status = send_loop(call);
  }
  return status;
}

/* ---- Switches of the plugin -------------------------------------------------- */

static HrStatus run_loop(Call* call)
{
  HrSession* const session = call->session;
  HrLoopMessage* const loop = &session->loop;
  bool on = loop->on;
  HrStatus status = session->engine ? get_toggle(call, loop->on, &on) : not_playing(call);
  if (status) {
    return status;
  }
  if (on && loop->end <= loop->start) { // No range yet: the whole branch, to its last bar line
    HrTxn* txn = NULL;
    HrTarget target;
    status = prepare(call);
    status = status ? status : hr_txn_begin(session->binding.store, HR_READ, &txn);
    status = status ? status : hr_session_target(txn, session->branch, &target);
    hr_txn_abort(txn);
    if (status) {
      return status;
    }
    const HrTick bar = hr_tempo_bar_length(&target.tempo);
    loop->start = 0;
    loop->end = hr_grid_ceiling(target.head > 0 ? target.head : bar, 0, bar);
  }
  loop->on = on;
  return send_loop(call);
}

static HrStatus set(Call* call, HrSetting setting, bool* value)
{
  bool wanted = *value;
  HrStatus status = get_toggle(call, *value, &wanted);
  if (!status) {
    const HrSetMessage message = {setting, wanted};
    status = send(call, HR_MESSAGE_SET, &message, sizeof message);
    *value = status ? *value : wanted;
  }
  return status;
}

static HrStatus run_record(Call* call)
{
  return set(call, HR_SET_RECORD, &call->session->record);
}

static HrStatus run_thru(Call* call)
{
  return set(call, HR_SET_THRU, &call->session->thru);
}

static HrStatus run_overdub(Call* call)
{
  return set(call, HR_SET_OVERDUB, &call->session->overdub);
}

static const char* const quantum_names[] = {"now", "beat", "bar", "loop end"};

static HrStatus run_quantum(Call* call)
{
  int64_t value = -1;
  for (unsigned i = 0; call->count && i < 4; ++i) {
    if (call->args[0].type == HR_VALUE_TEXT && !strcmp(call->args[0].text, quantum_names[i])) {
      value = i;
    }
  }
  if (value < 0 && call->count) {
    get_integer(&call->args[0], &value);
  }
  if (!call->count || value < 0 || value > 3 ||
      (call->args[0].type == HR_VALUE_TEXT && strcmp(call->args[0].text, quantum_names[value]))) {
    return hr_error(call->error, HR_ERR_ARGUMENT,
                    "quantum takes now, beat, bar or loop end (or 0 to 3).");
  }
  call->session->quantum = (uint32_t)value;
  hr_session_touch(call->session);
  return HR_OK;
}

static HrStatus run_panic(Call* call)
{
  return call->session->engine ? send(call, HR_MESSAGE_PANIC, NULL, 0) : HR_OK;
}

/* ---- Names and states ----------------------------------------------------------- */

/** Do `change` to the branch named first, in a transaction. */
static HrStatus change_branch(Call* call, HrStatus (*change)(Call* call, HrTxn* txn, HrBranchId id,
                                                             uint32_t author))
{
  HrTxn* txn = NULL;
  HrBranchId branch = 0;
  uint32_t author = 0;
  HrStatus status = prepare(call);
  if (status) {
    return status;
  }
  status = hr_txn_begin(call->session->binding.store, HR_WRITE, &txn);
  if (status) {
    return fail(call, status);
  }
  status = get_branch(call, txn, 0, &branch);
  if (!status) {
    status = hr_author_id(txn, call->author, &author);
    status = status ? fail(call, status) : change(call, txn, branch, author);
  }
  if (status) {
    hr_txn_abort(txn);
    return status;
  }
  status = hr_txn_commit(txn);
  if (status) {
    return fail(call, status);
  }
  hr_session_touch_tree(call->session);
  return tell_branch(call, branch);
}

static HrStatus change_name(Call* call, HrTxn* txn, HrBranchId id, uint32_t author)
{
  const char* name;
  HrStatus status = get_name(call, 1, true, &name);
  if (status) {
    return status;
  }
  status = hr_branch_rename(txn, id, name, author);
  return status == HR_ERR_EXISTS
             ? hr_error(call->error, status,
                        "Another branch is called \"%s\". Choose another name.", name)
         : status ? fail(call, status)
                  : HR_OK;
}

static HrStatus change_to_hidden(Call* call, HrTxn* txn, HrBranchId id, uint32_t author)
{
  if (id == call->session->branch) {
    return hr_error(call->error, HR_ERR_ARGUMENT,
                    "That is the branch you are on. Switch to another one first.");
  }
  const HrStatus status = hr_branch_set_state(txn, id, HR_BRANCH_HIDDEN, author);
  return status ? fail(call, status) : HR_OK;
}

static HrStatus change_to_active(Call* call, HrTxn* txn, HrBranchId id, uint32_t author)
{
  const HrStatus status = hr_branch_set_state(txn, id, HR_BRANCH_ACTIVE, author);
  return status ? fail(call, status) : HR_OK;
}

static HrStatus run_rename(Call* call)
{
  return change_branch(call, change_name);
}

static HrStatus run_hide(Call* call)
{
  return change_branch(call, change_to_hidden);
}

static HrStatus run_restore(Call* call)
{
  return change_branch(call, change_to_active);
}

static HrStatus run_tree(Call* call)
{
  HrSession* const session = call->session;
  const char* name;
  char path[4096];
  if (!session->binding.store) {
    return no_store(call);
  }
  HrStatus status = get_name(call, 0, true, &name);
  if (!status) {
    snprintf(path, sizeof path, "%s", hr_store_path(session->binding.store));
    status = hr_session_attach(session, &(HrAttachment){.store = path, .tree = name}, call->error);
  }
  return status;
}

/* ---- Queries ---------------------------------------------------------------------- */

static const char* state_name(HrBranchState state)
{
  return state == HR_BRANCH_HIDDEN ? "hidden" : state == HR_BRANCH_MERGED ? "merged" : "active";
}

/** A number argument that may be left out. */
static HrStatus get_count(Call* call, size_t index, int64_t otherwise, int64_t* count)
{
  *count = otherwise;
  if (index < call->count && (!get_integer(&call->args[index], count) || *count < 0)) {
    return hr_error(call->error, HR_ERR_ARGUMENT, "%s takes whole numbers.", call->info->verb);
  }
  return HR_OK;
}

static HrStatus run_list(Call* call)
{
  HrSession* const session = call->session;
  HrTxn* txn = NULL;
  int64_t from, count;
  HrStatus status = session->binding.store ? HR_OK : no_store(call);
  status = status ? status : get_count(call, 0, 1, &from);
  status = status ? status : get_count(call, 1, UINT32_MAX, &count);
  if (status || !session->binding.tree) {
    return status;
  }
  hr_session_drain(session, true);
  status = hr_txn_begin(session->binding.store, HR_READ, &txn);
  uint32_t number = from > 0 && from <= UINT32_MAX ? (uint32_t)from - 1 : 0;
  while (!status && count-- > 0) {
    HrBranch branch;
    status = hr_branch_next(txn, session->binding.tree, number, &branch);
    if (status) {
      break;
    }
    number = hr_branch_number(branch.id);
    char name[HR_NAME_MAX + 1] = "";
    hr_branch_name(txn, branch.id, name);
    ROW(call, hr_value_integer(number), hr_value_text(name),
        hr_value_integer(hr_branch_number(branch.parent)), hr_value_tick(branch.fork_tick),
        hr_value_tick(branch.head_tick), hr_value_tick((int64_t)branch.event_count),
        hr_value_text(state_name(branch.state)), hr_value_integer(branch.id == session->branch));
  }
  hr_txn_abort(txn);
  return !status || status == HR_END ? HR_OK : fail(call, status);
}

static HrStatus run_trees(Call* call)
{
  HrSession* const session = call->session;
  HrTxn* txn = NULL;
  HrTree tree = {0};
  if (!session->binding.store) {
    return no_store(call);
  }
  HrStatus status = hr_txn_begin(session->binding.store, HR_READ, &txn);
  while (!status && !(status = hr_tree_next(txn, tree.id, &tree))) {
    ROW(call, hr_value_integer(tree.id), hr_value_text(tree.name),
        hr_value_integer(tree.branch_count), hr_value_integer(tree.id == session->binding.tree));
  }
  hr_txn_abort(txn);
  return status == HR_END ? HR_OK : fail(call, status);
}

static HrStatus run_log(Call* call)
{
  HrSession* const session = call->session;
  HrTxn* txn = NULL;
  HrJournalEntry entry = {0};
  if (!session->binding.store) {
    return no_store(call);
  }
  HrStatus status =
      session->binding.tree ? hr_txn_begin(session->binding.store, HR_READ, &txn) : HR_END;
  while (!status &&
         !(status = hr_journal_next(txn, session->binding.tree, entry.sequence, &entry))) {
    char name[HR_NAME_MAX + 1] = "", other[HR_NAME_MAX + 1] = "", author[HR_NAME_MAX + 1] = "";
    hr_branch_name(txn, entry.branch, name);
    hr_branch_name(txn, entry.other, other);
    hr_author_name(txn, entry.author, author);
    ROW(call, hr_value_integer(entry.sequence), hr_value_number((double)entry.time_ns / 1e9),
        hr_value_text(hr_operation_name(entry.operation)), hr_value_text(name),
        hr_value_text(other), hr_value_tick(entry.tick), hr_value_text(author),
        hr_value_text(entry.text));
  }
  hr_txn_abort(txn);
  return status == HR_END ? HR_OK : fail(call, status);
}

static HrStatus run_get(Call* call)
{
  HrSessionState state;
  hr_session_state(call->session, &state);
  char meter[16];
  snprintf(meter, sizeof meter, "%u/%u", state.beats_per_bar, state.beat_unit);
  const struct {
    const char* key;
    HrValue value;
  } rows[] = {
      {"store", hr_value_text(state.store_path)},
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
      {"quantum", hr_value_text(quantum_names[state.quantum])},
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
      {"trouble", hr_value_text(state.trouble_text)},
  };
  const char* const key =
      call->count && call->args[0].type == HR_VALUE_TEXT ? call->args[0].text : NULL;
  bool found = false;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
    if (!key || !strcmp(key, rows[i].key)) {
      ROW(call, hr_value_text(rows[i].key), rows[i].value);
      found = true;
    }
  }
  return found ? HR_OK
               : hr_error(call->error, HR_ERR_NOT_FOUND,
                          "There is nothing called \"%s\". `get` alone shows all.", key);
}

/* ---- The table -------------------------------------------------------------------- */

#define BRANCH_ROW "number:i name:s"

static const HrCommandInfo table[] = {
    {"fork", HR_COMMAND_TRIGGER, "name:s?", BRANCH_ROW,
     "Begin a new branch here and now, and go on playing on it"},
    {"fork/at", HR_COMMAND_VALUE, "position:p name:s?", BRANCH_ROW,
     "Begin a new branch at a place in the past of this one, and go there"},
    {"switch", HR_COMMAND_VALUE, "branch:b", BRANCH_ROW,
     "Go to another branch, at the next quantum"},
    {"next", HR_COMMAND_TRIGGER, "", BRANCH_ROW, "Switch to the next visible branch"},
    {"previous", HR_COMMAND_TRIGGER, "", BRANCH_ROW, "Switch to the visible branch before"},
    {"cancel", HR_COMMAND_TRIGGER, "", "", "Forget the switch or replay that waits for its time"},
    {"replay", HR_COMMAND_TRIGGER, "", "",
     "Hear this branch: from its start (or the loop's), or along with the host if that rolls"},
    {"replay/at", HR_COMMAND_VALUE, "position:p", "", "Hear this branch from a place on it"},
    {"follow", HR_COMMAND_TOGGLE, "on:i?", "",
     "Hear this branch whenever the host's transport rolls, at the host's place"},
    {"stop", HR_COMMAND_TRIGGER, "", "", "Stop replaying"},
    {"loop", HR_COMMAND_TOGGLE, "on:i?", "", "Replay a range of bars over and over"},
    {"loop/range", HR_COMMAND_VALUE, "start:p end:p", "", "Set the range, and loop it"},
    {"record", HR_COMMAND_TOGGLE, "on:i?", "",
     "Keep what is played (it always is, unless turned off)"},
    {"thru", HR_COMMAND_TOGGLE, "on:i?", "", "Pass what is played on to the output"},
    {"overdub", HR_COMMAND_TOGGLE, "on:i?", "",
     "Keep what is replayed, too, on the branch that playing over it begins"},
    {"quantum", HR_COMMAND_VALUE, "when:s", "",
     "When switches happen: now, beat, bar or loop end (or 0 to 3)"},
    {"rename", HR_COMMAND_VALUE, "branch:b name:s", BRANCH_ROW, "Give a branch another name"},
    {"hide", HR_COMMAND_VALUE, "branch:b", BRANCH_ROW,
     "Put a branch out of sight; nothing is removed"},
    {"restore", HR_COMMAND_VALUE, "branch:b", BRANCH_ROW, "Bring a hidden branch back"},
    {"tree", HR_COMMAND_VALUE, "name:s", "", "Go on with another tree, or begin one"},
    {"panic", HR_COMMAND_TRIGGER, "", "", "End every note that replay has started"},
    {"list", HR_COMMAND_QUERY, "from:i? count:i?",
     "number:i name:s parent:i fork:h head:h events:h state:s current:i",
     "Tell all branches, or so many from a number on"},
    {"trees", HR_COMMAND_QUERY, "", "number:i name:s branches:i current:i",
     "Tell all trees of the store"},
    {"log", HR_COMMAND_QUERY, "",
     "sequence:i time:d operation:s branch:s other:s tick:h author:s text:s",
     "Tell what was done, and by whom"},
    {"get", HR_COMMAND_QUERY, "key:s?", "key:s value", "Tell the state: all of it, or one thing"},
};

static const Handler handlers[] = {
    run_fork,      run_fork_at, run_switch, run_next, run_previous,   run_cancel, run_replay,
    run_replay_at, run_follow,  run_stop,   run_loop, run_loop_range, run_record, run_thru,
    run_overdub,   run_quantum, run_rename, run_hide, run_restore,    run_tree,   run_panic,
    run_list,      run_trees,   run_log,    run_get,
};

_Static_assert(sizeof handlers / sizeof *handlers == sizeof table / sizeof *table,
               "a handler for each row");

const HrCommandInfo* hr_command_table(size_t* count)
{
  *count = sizeof table / sizeof *table;
  return table;
}

const HrCommandInfo* hr_command_find(const char* verb)
{
  for (size_t i = 0; i < sizeof table / sizeof *table; ++i) {
    if (!strcmp(table[i].verb, verb)) {
      return &table[i];
    }
  }
  return NULL;
}

/** Take the button value off a trigger's arguments; true if it is a release. */
static bool is_release(Call* call)
{
  int64_t value;
  if (call->info->kind != HR_COMMAND_TRIGGER || !call->count ||
      call->args[0].type == HR_VALUE_TEXT) {
    return false;
  }
  const bool released = get_integer(&call->args[0], &value) && value == 0;
  call->args += 1;
  call->count -= 1;
  return released;
}

HrStatus hr_command_run(HrSession* session, const char* verb, const HrValue* args, size_t count,
                        const char* author, const HrAnswer* answer, HrError* error)
{
  const HrCommandInfo* const info = hr_command_find(verb);
  if (!info) {
    return hr_error(error, HR_ERR_NOT_FOUND, "There is no command \"%s\".", verb);
  }
  Call call = {session, info, args, count, author, answer, error};
  if (is_release(&call)) {
    return HR_OK;
  }
  hr_session_lock(session);
  const HrStatus status = handlers[info - table](&call);
  hr_session_unlock(session);
  return status;
}
