/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/command_call.h"

#include <string.h>

const char* const hr_quantum_names[4] = {"now", "beat", "bar", "loop end"};

static HrStatus replay_from(HrCall* call, HrTick tick)
{
  HrSession* const session = call->session;
  HrGoMessage go = {.what = HR_GO_REPLAY, .quantum = session->quantum};
  if (!hr_call_rolling(session)) {
    go.what |= HR_GO_LOCATE;
  } else {
    tick = hr_call_now(session);
  }
  HrStatus status = hr_call_open_stream(call, session->branch, tick, &go.stream);
  status = status ? status : hr_call_send(call, HR_MESSAGE_GO, &go, sizeof go);
  if (!status) {
    session->replay = true;
    hr_session_touch(session);
  }
  return status;
}

HrStatus hr_run_replay(HrCall* call)
{
  HrSession* const session = call->session;
  HrTxn* txn = NULL;
  HrPath path;
  HrEvent event = {0};
  if (!session->engine) {
    return hr_call_not_playing(call);
  }
  HrStatus status = hr_call_prepare(call);
  if (status) {
    return status;
  }
  status = hr_txn_begin(session->binding.store, HR_READ, &txn);
  if (status) {
    return hr_call_fail(call, status);
  }
  status = hr_path_open(txn, session->branch, INT64_MIN, &path);
  status = status ? status : hr_path_next(&path, &event);
  hr_path_close(&path);
  hr_txn_abort(txn);
  if (status == HR_END && !hr_call_rolling(session)) {
    return hr_error(call->error, HR_ERR_NOT_FOUND,
                    "There is nothing to replay on this branch yet. Play something.");
  }
  const HrTick start = session->loop.on ? session->loop.start : event.tick < 0 ? event.tick : 0;
  return replay_from(call, start);
}

HrStatus hr_run_replay_at(HrCall* call)
{
  HrTick tick;
  if (!call->session->engine) {
    return hr_call_not_playing(call);
  }
  HrStatus status = hr_call_prepare(call);
  status = status ? status : hr_call_position(call, 0, &tick);
  return status ? status : replay_from(call, tick);
}

/** Like a tape machine in sync: heard whenever the host rolls, silent while it
 * stands. */
HrStatus hr_run_follow(HrCall* call)
{
  HrSession* const session = call->session;
  bool on = session->replay;
  HrGoMessage go = {
      .what = HR_GO_REPLAY | HR_GO_FOLLOW, .quantum = HR_QUANTUM_NOW, .stream.ring = HR_NO_STREAM};
  HrStatus status = session->engine ? hr_call_toggle(call, on, &on) : hr_call_not_playing(call);
  if (!status && !on) {
    go.what = HR_GO_STOP;
  }
  status = status ? status : hr_call_send(call, HR_MESSAGE_GO, &go, sizeof go);
  if (!status) {
    session->replay = on;
    hr_session_touch(session);
  }
  return status;
}

HrStatus hr_run_stop(HrCall* call)
{
  const HrGoMessage go = {
      .what = HR_GO_STOP, .quantum = HR_QUANTUM_NOW, .stream.ring = HR_NO_STREAM};
  if (!call->session->engine) {
    return hr_call_not_playing(call);
  }
  call->session->replay = false;
  return hr_call_send(call, HR_MESSAGE_GO, &go, sizeof go);
}

/** Tell the engine of the loop; what plays already goes on within it. */
static HrStatus send_loop(HrCall* call)
{
  HrSession* const session = call->session;
  const HrStatus status = hr_call_send(call, HR_MESSAGE_LOOP, &session->loop, sizeof session->loop);
  if (status || !session->replay || hr_call_rolling(session) || !session->branch) {
    return status;
  }
  HrGoMessage go = {.what = HR_GO_REPLAY, .quantum = HR_QUANTUM_NOW};
  const HrStatus opened =
      hr_call_open_stream(call, session->branch, hr_call_now(session), &go.stream);
  return opened ? opened : hr_call_send(call, HR_MESSAGE_GO, &go, sizeof go);
}

HrStatus hr_run_loop_range(HrCall* call)
{
  HrTick start, end;
  HrStatus status = call->session->engine ? HR_OK : hr_call_not_playing(call);
  status = status ? status : hr_call_position(call, 0, &start);
  status = status ? status : hr_call_position(call, 1, &end);
  if (!status && end <= start) {
    status = hr_error(call->error, HR_ERR_ARGUMENT, "A loop's end must lie after its start.");
  }
  if (!status) {
    call->session->loop = (HrLoopMessage){true, start, end};
    status = send_loop(call);
  }
  return status;
}

HrStatus hr_run_loop(HrCall* call)
{
  HrSession* const session = call->session;
  HrLoopMessage* const loop = &session->loop;
  bool on = loop->on;
  HrStatus status =
      session->engine ? hr_call_toggle(call, loop->on, &on) : hr_call_not_playing(call);
  if (status) {
    return status;
  }
  if (on && loop->end <= loop->start) { // No range yet: the whole branch, to its last bar line
    HrTxn* txn = NULL;
    HrTarget target;
    status = hr_call_prepare(call);
    status = status ? status : hr_txn_begin(session->binding.store, HR_READ, &txn);
    status = status ? status : hr_target_read(txn, session->branch, &target);
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

static HrStatus set(HrCall* call, HrSetting setting, bool* value)
{
  bool wanted = *value;
  HrStatus status = hr_call_toggle(call, *value, &wanted);
  if (!status) {
    const HrSetMessage message = {setting, wanted};
    status = hr_call_send(call, HR_MESSAGE_SET, &message, sizeof message);
    *value = status ? *value : wanted;
  }
  return status;
}

HrStatus hr_run_record(HrCall* call)
{
  return set(call, HR_SET_RECORD, &call->session->record);
}

HrStatus hr_run_thru(HrCall* call)
{
  return set(call, HR_SET_THRU, &call->session->thru);
}

HrStatus hr_run_overdub(HrCall* call)
{
  return set(call, HR_SET_OVERDUB, &call->session->overdub);
}

HrStatus hr_run_quantum(HrCall* call)
{
  int64_t value = -1;
  for (unsigned i = 0; call->count && i < 4; ++i) {
    if (call->args[0].type == HR_VALUE_TEXT && !strcmp(call->args[0].text, hr_quantum_names[i])) {
      value = i;
    }
  }
  if (value < 0 && call->count) {
    hr_call_integer(&call->args[0], &value);
  }
  if (!call->count || value < 0 || value > 3 ||
      (call->args[0].type == HR_VALUE_TEXT &&
       strcmp(call->args[0].text, hr_quantum_names[value]))) {
    return hr_error(call->error, HR_ERR_ARGUMENT,
                    "quantum takes now, beat, bar or loop end (or 0 to 3).");
  }
  call->session->quantum = (uint32_t)value;
  hr_session_touch(call->session);
  return HR_OK;
}

HrStatus hr_run_panic(HrCall* call)
{
  return call->session->engine ? hr_call_send(call, HR_MESSAGE_PANIC, NULL, 0) : HR_OK;
}
