/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/command_call.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/** Of a quantum, and of a grab. */
enum { BARS_MAX = 1024, GRAB_BARS = 4 };

/** The shortest loop, a 128th note: the audio thread goes round it in moments, and one
 * shorter than a frame would have no end there. */
#define LOOP_MIN ((HrTick)(HR_TICKS_PER_QUARTER / 32))

/** Tell the engine to replay as `go` says, which has a stream. */
static HrStatus send_replay(HrCall* call, const HrGoMessage* go)
{
  const HrStatus status = hr_call_send(call, HR_MESSAGE_GO, go, sizeof *go);
  if (!status) {
    call->session->replay = true;
    hr_session_touch(call->session);
  }
  return status;
}

static HrStatus replay_from(HrCall* call, HrTick tick)
{
  HrSession* const session = call->session;
  HrGoMessage go = {
      .what = HR_GO_REPLAY, .quantum = session->quantum, .bars = session->quantum_bars};
  const HrStatus status =
      hr_call_rolling(session)
          ? hr_call_open_stream(call, session->branch, hr_call_now(session), &go.stream)
          : hr_call_locate(call, session->branch, tick, &go);
  return status ? status : send_replay(call, &go);
}

HrStatus hr_call_first_event(HrCall* call, HrBranchId branch, HrTick tick, HrTick* first)
{
  HrTxn* txn = NULL;
  HrPath path;
  HrEvent event;
  HrStatus status = hr_txn_begin(call->session->binding.store, HR_READ, &txn);
  if (status) {
    return status;
  }
  status = hr_path_open(txn, branch, tick, &path);
  status = status ? status : hr_path_next(&path, &event);
  *first = status ? 0 : event.tick;
  hr_path_close(&path);
  hr_txn_abort(txn);
  return status;
}

HrStatus hr_run_replay(HrCall* call)
{
  HrSession* const session = call->session;
  HrTick first;
  if (!session->engine) {
    return hr_call_not_playing(call);
  }
  HrStatus status = hr_call_prepare(call);
  if (status) {
    return status;
  }
  status = hr_call_first_event(call, session->branch, INT64_MIN, &first);
  if (status == HR_END && !hr_call_rolling(session)) {
    return hr_error(call->error, HR_ERR_NOT_FOUND,
                    "There is nothing to replay on this branch yet. Play something.");
  }
  if (status && status != HR_END) {
    return hr_call_fail(call, status);
  }
  return replay_from(call, session->loop.on ? session->loop.start : first < 0 ? first : 0);
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
  const HrStatus status = hr_call_send(call, HR_MESSAGE_GO, &go, sizeof go);
  call->session->replay = status && call->session->replay;
  return status;
}

/** Find what will be heard as soon as the engine hears of it, by a message it has not taken
 * yet: of which branch, and from where. */
static void find_next_heard(const HrSession* session, HrBranchId* branch, HrTick* tick)
{
  const HrEngine* const engine = session->engine;
  uint64_t position = hr_ring_read_position(engine->messages);
  HrGoMessage next = {.stream.ring = HR_NO_STREAM};
  const HrRecord* record;
  while ((record = hr_ring_next(engine->messages, &position))) {
    const HrGoMessage* const go = (const HrGoMessage*)(record + 1);
    if (record->type == HR_MESSAGE_ATTACH) {
      next.stream.ring = HR_NO_STREAM;
    } else if (record->type == HR_MESSAGE_GO && !(go->what & (HR_GO_FORK | HR_GO_ON))) {
      next = *go;
    }
  }
  const bool at_once = next.quantum == HR_QUANTUM_NOW ||
                       !atomic_load_explicit(&engine->shared.running, memory_order_relaxed);
  if (next.stream.ring == HR_NO_STREAM || !at_once || next.what & HR_GO_PHASE) {
    return;
  }
  *tick = next.stream.at;
  if (next.what & HR_GO_SWITCH) {
    *branch = hr_branch_id(session->binding.tree, next.target.number);
  }
}

/** Tell the engine of a loop; what plays already goes on within it, and what waits waits on. */
static HrStatus send_loop(HrCall* call, const HrLoopMessage* loop)
{
  HrSession* const session = call->session;
  HrBranchId branch = hr_session_current(session);
  HrTick tick = hr_call_now(session);
  find_next_heard(session, &branch, &tick);
  const HrStatus status = hr_call_send(call, HR_MESSAGE_LOOP, loop, sizeof *loop);
  session->loop = status ? session->loop : *loop;
  if (status || !session->replay || !session->branch) {
    return status;
  }
  HrGoMessage go = {.what = HR_GO_REPLAY | HR_GO_ON,
                    .quantum = HR_QUANTUM_NOW,
                    .target.number = hr_branch_number(branch)};
  const HrStatus opened = hr_call_open_stream(call, branch, tick, &go.stream);
  if (opened == HR_ERR_BUSY || opened == HR_ERR_NOT_FOUND) { // Then the engine asks for the music
    go.stream.ring = HR_NO_STREAM;
    if (call->error) {
      *call->error = (HrError){HR_OK, ""};
    }
  } else if (opened) {
    return opened;
  }
  return hr_call_send(call, HR_MESSAGE_GO, &go, sizeof go);
}

HrStatus hr_run_loop_range(HrCall* call)
{
  HrLoopMessage loop = {.on = true};
  HrStatus status = call->session->engine ? HR_OK : hr_call_not_playing(call);
  status = status ? status : hr_call_range(call, 0, &loop.start, &loop.end);
  if (!status && loop.end - loop.start < LOOP_MIN) {
    return hr_error(call->error, HR_ERR_ARGUMENT, "A loop takes at least a 128th note.");
  }
  return status ? status : send_loop(call, &loop);
}

HrStatus hr_run_loop(HrCall* call)
{
  HrSession* const session = call->session;
  HrLoopMessage loop = session->loop;
  HrStatus status = session->engine ? hr_call_toggle(call, session->loop.on, &loop.on)
                                    : hr_call_not_playing(call);
  if (status) {
    return status;
  }
  if (loop.on && loop.end <= loop.start) { // No range yet: the whole branch, to its last bar line
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
    loop.start = 0;
    loop.end = hr_grid_ceiling(target.head > 0 ? target.head : bar, 0, bar);
  }
  return send_loop(call, &loop);
}

/** True if time goes round in the loop: it does not along a rolling host. */
static bool goes_round(const HrSession* session, HrTick now)
{
  return session->loop.on && session->replay && !hr_call_rolling(session) &&
         now >= session->loop.start && now < session->loop.end;
}

/** The last `bars` whole bars before `now`, as the engine counts them. Those before the loop were
 * not heard just now, where time goes round: the last ones of the loop were. */
static HrLoopMessage last_bars(const HrSession* session, HrTick now, int64_t bars)
{
  const HrShared* const shared = &session->engine->shared;
  const uint32_t meter = atomic_load_explicit(&shared->meter, memory_order_relaxed);
  const HrTick line = atomic_load_explicit(&shared->bar_tick, memory_order_relaxed);
  const HrTempo tempo = {0.0, (uint16_t)(meter >> 16), (uint16_t)meter};
  const HrTick bar = hr_tempo_bar_length(&tempo);
  const HrTick end = hr_grid_ceiling(now + 1, line, bar) - bar;
  HrLoopMessage range = {true, end - bars * bar, end};
  const HrLoopMessage* const loop = &session->loop;
  if (goes_round(session, now) && range.start < loop->start) {
    range.end = loop->end;
    range.start = loop->end - bars * bar;
    range.start = range.start > loop->start ? range.start : loop->start;
  }
  return range;
}

HrStatus hr_run_grab(HrCall* call)
{
  HrSession* const session = call->session;
  HrGoMessage go = {.what = HR_GO_REPLAY | HR_GO_PHASE, .quantum = HR_QUANTUM_NOW};
  const char* name;
  int64_t bars;
  HrTick first;
  HrStatus status = session->engine ? HR_OK : hr_call_not_playing(call);
  status = status ? status : hr_call_count(call, 0, GRAB_BARS, &bars);
  status = status ? status : hr_call_mark_name(call, 1, false, &name);
  status = status || !bars ? status : hr_call_prepare(call);
  if (status || !bars) {
    return status;
  }
  bars = bars < BARS_MAX ? bars : BARS_MAX;
  const HrTick now = hr_call_now(session);
  const HrLoopMessage range = last_bars(session, now, bars);
  status = hr_call_first_event(call, session->branch, range.start, &first);
  if (status == HR_END || (!status && first >= range.end)) {
    return hr_error(call->error, HR_ERR_NOT_FOUND,
                    "Nothing was played in the last %d bars. Play something, then grab it.",
                    (int)bars);
  }
  status = status ? hr_call_fail(call, status)
                  : hr_call_send(call, HR_MESSAGE_LOOP, &range, sizeof range);
  if (status) {
    return status;
  }
  session->loop = range;
  HrTick from = now;
  if (!hr_call_rolling(session)) { // Where the loop is now, had it begun when the range ended
    go.what |= HR_GO_LOCATE;
    const HrTick length = range.end - range.start;
    from = range.start + now - (hr_grid_ceiling(now + 1, range.end, length) - length);
  }
  status = hr_call_open_stream(call, session->branch, from, &go.stream);
  go.stream.at = now;
  status = status ? status : send_replay(call, &go);
  return status ? status : hr_call_mark(call, name ? name : "grab", range.start, range.end);
}

/* ---- Settings -------------------------------------------------------------- */

static HrStatus set(HrCall* call, HrSetting setting, uint32_t value)
{
  const HrSetMessage message = {setting, value};
  const HrStatus status = hr_call_send(call, HR_MESSAGE_SET, &message, sizeof message);
  if (!status) {
    call->session->settings[setting] = value;
  }
  return status;
}

static HrStatus toggle(HrCall* call, HrSetting setting)
{
  bool wanted = false;
  const HrStatus status = hr_call_toggle(call, call->session->settings[setting], &wanted);
  return status ? status : set(call, setting, wanted);
}

HrStatus hr_run_record(HrCall* call)
{
  return toggle(call, HR_SET_RECORD);
}

HrStatus hr_run_thru(HrCall* call)
{
  return toggle(call, HR_SET_THRU);
}

HrStatus hr_run_overdub(HrCall* call)
{
  return toggle(call, HR_SET_OVERDUB);
}

/** The number of a choice, also as the text that a shell or a text field sends; -1: it is none. */
static int64_t choice_number(const HrValue* value)
{
  int64_t number = -1;
  int end = 0;
  if (value->type != HR_VALUE_TEXT) {
    return hr_call_integer(value, &number) ? number : -1;
  }
  return sscanf(value->text, "%" SCNd64 "%n", &number, &end) == 1 && !value->text[end] ? number
                                                                                       : -1;
}

/** The first argument as one of `names`, by name or number; `count` if it is none. */
static uint32_t choice(const HrCall* call, const char* const* names, uint32_t count)
{
  const HrValue* const value = call->args;
  const int64_t number = call->count ? choice_number(value) : -1;
  if (number >= 0 && number < count) {
    return (uint32_t)number;
  }
  uint32_t index = call->count && value->type == HR_VALUE_TEXT ? 0 : count;
  while (index < count && strcmp(value->text, names[index])) {
    ++index;
  }
  return index;
}

const char* const hr_standing_names[] = {"side", "append", "off"};
const char* const hr_tempo_source_names[] = {"recorded", "host"};

HrStatus hr_run_standing(HrCall* call)
{
  const uint32_t value = choice(call, hr_standing_names, 3);
  return value < 3 ? set(call, HR_SET_STANDING, value)
                   : hr_error(call->error, HR_ERR_ARGUMENT,
                              "standing takes side, append or off (or 0 to 2).");
}

HrStatus hr_run_tempo_source(HrCall* call)
{
  const uint32_t value = choice(call, hr_tempo_source_names, 2);
  return value < 2 ? set(call, HR_SET_TEMPO_SOURCE, value)
                   : hr_error(call->error, HR_ERR_ARGUMENT,
                              "tempo/source takes recorded or host (or 0 and 1).");
}

/** Set a number, which must be given. */
static HrStatus set_number(HrCall* call, HrSetting setting, int64_t most, const char* unit)
{
  int64_t value = -1;
  if (!call->count || !hr_call_integer(&call->args[0], &value) || value < 0 || value > most) {
    return hr_error(call->error, HR_ERR_ARGUMENT, "%s takes 0 to %d %s.", call->info->verb,
                    (int)most, unit);
  }
  return set(call, setting, (uint32_t)value);
}

HrStatus hr_run_silence(HrCall* call)
{
  return set_number(call, HR_SET_SILENCE, 1000, "bars");
}

HrStatus hr_run_snap(HrCall* call)
{
  return set_number(call, HR_SET_SNAP, 1000, "milliseconds");
}

/** By number, as on a control port: those with a name, then 2, 4 and 8 bars. */
static const struct {
  const char* name;
  HrQuantum quantum;
  uint32_t bars;
} quanta[] = {{"now", HR_QUANTUM_NOW, 1},    {"beat", HR_QUANTUM_BEAT, 1},
              {"bar", HR_QUANTUM_BAR, 1},    {"loop end", HR_QUANTUM_LOOP_END, 1},
              {"2 bars", HR_QUANTUM_BAR, 2}, {"4 bars", HR_QUANTUM_BAR, 4},
              {"8 bars", HR_QUANTUM_BAR, 8}};
enum { QUANTA = sizeof quanta / sizeof *quanta };

void hr_quantum_text(HrQuantum quantum, uint32_t bars, char text[HR_QUANTUM_TEXT])
{
  if (quantum == HR_QUANTUM_BAR && bars > 1) {
    snprintf(text, HR_QUANTUM_TEXT, "%u bars", bars);
  } else {
    snprintf(text, HR_QUANTUM_TEXT, "%s", quanta[quantum].name);
  }
}

static bool find_quantum(const HrValue* value, HrQuantum* quantum, uint32_t* bars)
{
  const bool text = value->type == HR_VALUE_TEXT;
  int64_t number = -1;
  int end = 0;
  if (text && sscanf(value->text, "%" SCNd64 " bars%n", &number, &end) == 1 && end &&
      !value->text[end]) {
    *quantum = HR_QUANTUM_BAR;
    *bars = number > 0 && number <= BARS_MAX ? (uint32_t)number : 0;
    return *bars;
  }
  number = choice_number(value);
  for (unsigned i = 0; i < QUANTA; ++i) {
    if (number == i || (text && !strcmp(value->text, quanta[i].name))) {
      *quantum = quanta[i].quantum;
      *bars = quanta[i].bars;
      return true;
    }
  }
  return false;
}

HrStatus hr_run_quantum(HrCall* call)
{
  HrQuantum quantum;
  uint32_t bars;
  if (!call->count || !find_quantum(&call->args[0], &quantum, &bars)) {
    return hr_error(call->error, HR_ERR_ARGUMENT,
                    "quantum takes now, beat, bar, loop end or so many bars, as in \"4 bars\" (or "
                    "0 to 6: these, then 2, 4 and 8 bars).");
  }
  call->session->quantum = quantum;
  call->session->quantum_bars = bars;
  hr_session_touch(call->session);
  return HR_OK;
}

HrStatus hr_run_panic(HrCall* call)
{
  return call->session->engine ? hr_call_send(call, HR_MESSAGE_PANIC, NULL, 0) : HR_OK;
}
