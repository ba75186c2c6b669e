/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file command_call.h
 * What the commands share: the call being run, its arguments, its answer.
 * command.c has the table, and command_branches.c, command_replay.c and
 * command_queries.c what each row does. All of it runs with the session's
 * `lock` held, on any thread but the audio thread. On failure a function has
 * filled the call's error.
 *
 * A command begins without the session's `writing`, so that it waits for nobody.
 * If it finds that it needs to drain or to write, it says so by
 * hr_call_to_write(), before it has done or told anything, and is run again. */

#ifndef HR_COMMAND_CALL_H
#define HR_COMMAND_CALL_H

#include "plugin/command.h"
#include "plugin/session_internal.h"

typedef struct {
  HrSession* session;
  const HrCommandInfo* info;
  const HrValue* args;
  size_t count;
  const char* author;
  const HrAnswer* answer;
  HrError* error;
  bool writing;  ///< It has the session's `writing` as well
  bool to_write; ///< It turned out to need that: to be run again with it
  bool here;     ///< ... once the engine has gone where it was sent
  bool at_once;  ///< It is to wait for nobody
  bool afresh;   ///< Where it goes is to be heard from its start
} HrCall;

/* ---- Answers ------------------------------------------------------------ */

void hr_call_row(HrCall* call, const HrValue* values, size_t count);

#define HR_CALL_ROW(call, ...)                                                                     \
  hr_call_row(call, (const HrValue[]){__VA_ARGS__},                                                \
              sizeof(const HrValue[]){__VA_ARGS__} / sizeof(HrValue))

/** Say that the command failed with `status`, which it returns. */
HrStatus hr_call_fail(HrCall* call, HrStatus status);
HrStatus hr_call_no_store(HrCall* call);
HrStatus hr_call_not_playing(HrCall* call);

/** Answer with a branch's number and name. */
HrStatus hr_call_tell_branch(HrCall* call, HrBranchId branch);

/* ---- Arguments ----------------------------------------------------------- */

/** A whole number, from any kind of number that has no fraction. */
bool hr_call_integer(const HrValue* value, int64_t* integer);

/** Any number. */
bool hr_call_number(const HrValue* value, double* number);

/** A whole number that may be left out. */
HrStatus hr_call_count(HrCall* call, size_t index, int64_t otherwise, int64_t* count);

/** What a toggle that is `now` is to become. */
HrStatus hr_call_toggle(HrCall* call, bool now, bool* wanted);

/** A branch of the session's tree, by name, number or "#number". */
HrStatus hr_call_branch(HrCall* call, HrTxn* txn, size_t index, HrBranchId* id);

/** The same, if it is not hidden. */
HrStatus hr_call_visible_branch(HrCall* call, HrTxn* txn, size_t index, HrBranchId* id);

/** The same without the store, if it is one that is prepared; 0: it is not. */
HrBranchId hr_call_prepared_branch(const HrCall* call, size_t index);

/** A name; NULL when it is left out and not `needed`. */
HrStatus hr_call_name(HrCall* call, size_t index, bool needed, const char** name);

/** A position: bars as a number or text "bar.beat", both from 1; ticks as
 * HR_VALUE_TICK or text "123t"; a mark by its name. */
HrStatus hr_call_position(HrCall* call, size_t index, HrTick* tick);

/** A name for a mark, which must not read as a position: that would be looked up. */
HrStatus hr_call_mark_name(HrCall* call, size_t index, bool needed, const char** name);

/** A range: two positions, or the name of a mark that is one. */
HrStatus hr_call_range(HrCall* call, size_t index, HrTick* start, HrTick* end);

/** The first event of `branch` at or after `tick`; HR_END if there is none. */
HrStatus hr_call_first_event(HrCall* call, HrBranchId branch, HrTick tick, HrTick* first);

/** Where the music is: without an engine, at the end of the branch. */
HrStatus hr_call_here(HrCall* call, HrTick* tick);

/** Mark a point (`end` == `start`) or a range of the current branch. */
HrStatus hr_call_mark(HrCall* call, const char* name, HrTick start, HrTick end);

/* ---- The session and its engine -------------------------------------------- */

/** True if the command may write; else it is to return HR_ERR_BUSY, and will be
 * run again, when it may. */
bool hr_call_to_write(HrCall* call);

/** Make sure that there is a tree, and that what was played is in it; then the
 * command may write. */
HrStatus hr_call_prepare(HrCall* call);

/** The same for what is about this moment on the current branch: a fork or a switch that
 * was sent just before has happened by then. */
HrStatus hr_call_prepare_here(HrCall* call);

/** The same for what only tells: it waits if a fork or switch is on its way, unless it is to be
 * at once, and else for nobody. HR_ERR_BUSY: return that; it will be run again. */
HrStatus hr_call_settle(HrCall* call);

/** Make sure that there is a tree. What was played may still wait in the capture
 * ring, unless the command may write. */
HrStatus hr_call_need_tree(HrCall* call);

HrStatus hr_call_send(HrCall* call, uint32_t type, const void* payload, uint32_t size);
/** Have `go` begin at `tick` of `branch`, on the own clock, in the bars of that music. */
HrStatus hr_call_locate(HrCall* call, HrBranchId branch, HrTick tick, HrGoMessage* go);

/** Open a stream of `branch` to be played at the clock's tick `at`. */
HrStatus hr_call_open_stream(HrCall* call, HrBranchId branch, HrTick at, HrStreamStart* stream);

/** Make `branch` the current one, at the next `quantum`. Fills in the cause's `wish`. */
HrStatus hr_call_go_to(HrCall* call, HrBranchId branch, HrQuantum quantum, HrCaptureCause cause);

/** The same at the session's quantum, and answer with its number and name. */
HrStatus hr_call_go_and_tell(HrCall* call, HrBranchId branch, HrCaptureCauseKind kind);

/** Records of branches have changed. */
void hr_call_touch_branches(const HrCall* call);

/** Where the music is. */
HrTick hr_call_now(const HrSession* session);
bool hr_call_rolling(const HrSession* session);

/** By HrStanding and HrTempoSource. */
extern const char* const hr_standing_names[];
extern const char* const hr_tempo_source_names[];

/* ---- What the rows of the table do ------------------------------------------ */

HrStatus hr_run_fork_at(HrCall* call);
HrStatus hr_run_fork_ago(HrCall* call);
HrStatus hr_run_fork(HrCall* call);
HrStatus hr_run_switch(HrCall* call);
HrStatus hr_run_slot(HrCall* call);
HrStatus hr_run_slot_replay(HrCall* call);
HrStatus hr_run_next(HrCall* call);
HrStatus hr_run_previous(HrCall* call);
HrStatus hr_run_cancel(HrCall* call);
HrStatus hr_run_replay(HrCall* call);
HrStatus hr_run_replay_at(HrCall* call);
HrStatus hr_run_follow(HrCall* call);
HrStatus hr_run_stop(HrCall* call);
HrStatus hr_run_grab(HrCall* call);
HrStatus hr_run_loop_range(HrCall* call);
HrStatus hr_run_loop(HrCall* call);
HrStatus hr_run_record(HrCall* call);
HrStatus hr_run_thru(HrCall* call);
HrStatus hr_run_overdub(HrCall* call);
HrStatus hr_run_quantum(HrCall* call);
HrStatus hr_run_standing(HrCall* call);
HrStatus hr_run_silence(HrCall* call);
HrStatus hr_run_snap(HrCall* call);
HrStatus hr_run_tempo_source(HrCall* call);
HrStatus hr_run_panic(HrCall* call);
HrStatus hr_run_undo(HrCall* call);
HrStatus hr_run_redo(HrCall* call);
HrStatus hr_run_merge(HrCall* call);
HrStatus hr_run_mark(HrCall* call);
HrStatus hr_run_unmark(HrCall* call);
HrStatus hr_run_marks(HrCall* call);
HrStatus hr_run_note(HrCall* call);
HrStatus hr_run_rate(HrCall* call);
HrStatus hr_run_emotion(HrCall* call);
HrStatus hr_run_notes(HrCall* call);
HrStatus hr_run_send(HrCall* call);
HrStatus hr_run_rename(HrCall* call);
HrStatus hr_run_hide(HrCall* call);
HrStatus hr_run_restore(HrCall* call);
HrStatus hr_run_tree(HrCall* call);
HrStatus hr_run_list(HrCall* call);
HrStatus hr_run_branch(HrCall* call);
HrStatus hr_run_stats(HrCall* call);
HrStatus hr_run_trees(HrCall* call);
HrStatus hr_run_log(HrCall* call);
HrStatus hr_run_get(HrCall* call);

#endif
