/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/command.h"

#include "plugin/command_call.h"

#include <string.h>

typedef HrStatus (*Handler)(HrCall* call);

#define BRANCH_ROW "number:i name:s"

static const HrCommandInfo table[] = {
    {"fork", HR_COMMAND_TRIGGER, "name:s?", BRANCH_ROW,
     "Begin a new branch here and now, and go on playing on it"},
    {"fork/at", HR_COMMAND_VALUE, "position:p name:s?", BRANCH_ROW,
     "Begin a new branch at a place in the past of this one, and go there"},
    {"switch", HR_COMMAND_VALUE, "branch:b", BRANCH_ROW,
     "Go to another branch, at the next quantum"},
    {"slot", HR_COMMAND_VALUE, "slot:i", BRANCH_ROW,
     "Go to the n-th of the visible branches, at the next quantum; 0: stay"},
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
    hr_run_fork,     hr_run_fork_at, hr_run_switch,     hr_run_slot,      hr_run_next,
    hr_run_previous, hr_run_cancel,  hr_run_replay,     hr_run_replay_at, hr_run_follow,
    hr_run_stop,     hr_run_loop,    hr_run_loop_range, hr_run_record,    hr_run_thru,
    hr_run_overdub,  hr_run_quantum, hr_run_rename,     hr_run_hide,      hr_run_restore,
    hr_run_tree,     hr_run_panic,   hr_run_list,       hr_run_trees,     hr_run_log,
    hr_run_get,
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
static bool is_release(HrCall* call)
{
  int64_t value;
  if (call->info->kind != HR_COMMAND_TRIGGER || !call->count ||
      call->args[0].type == HR_VALUE_TEXT) {
    return false;
  }
  const bool released = hr_call_integer(&call->args[0], &value) && value == 0;
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
  HrCall call = {.session = session,
                 .info = info,
                 .args = args,
                 .count = count,
                 .author = author,
                 .answer = answer,
                 .error = error};
  if (is_release(&call)) {
    return HR_OK;
  }
  hr_session_lock(session);
  HrStatus status = handlers[info - table](&call);
  hr_session_unlock(session);
  if (call.to_write) {
    if (error) {
      *error = (HrError){HR_OK, ""};
    }
    hr_session_lock_writing(session);
    call.writing = true;
    status = handlers[info - table](&call);
    hr_session_unlock_writing(session);
  }
  return status;
}
