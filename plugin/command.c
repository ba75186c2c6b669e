/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/command.h"

#include "plugin/command_call.h"

#include <string.h>

#define BRANCH_ROW "number:i name:s"
#define MARK_ROW   "id:i name:s start:h end:h"
#define NOTE_ROW                                                                                   \
  "id:i start:h end:h author:s rating:i emotion:i valence:f arousal:f agency:f text:s"
#define LIST_ROW "number:i name:s parent:i fork:h head:h events:h state:s current:i"

/** A row of the table, and what it does. */
typedef struct {
  HrCommandInfo info;
  HrStatus (*run)(HrCall* call);
} Command;

static const Command table[] = {
    {{"fork", HR_COMMAND_TRIGGER, "name:s?", BRANCH_ROW,
      "Begin a new branch here and now, and go on playing on it"},
     hr_run_fork},
    {{"fork/at", HR_COMMAND_VALUE, "position:p name:s?", BRANCH_ROW,
      "Begin a new branch at a place in the past of this one, and go there"},
     hr_run_fork_at},
    {{"fork/ago", HR_COMMAND_VALUE, "bars:f name:s?", BRANCH_ROW,
      "Begin a new branch so many bars before the last bar line, and go there"},
     hr_run_fork_ago},
    {{"switch", HR_COMMAND_VALUE, "branch:b", BRANCH_ROW,
      "Go to another branch, at the next quantum"},
     hr_run_switch},
    {{"slot", HR_COMMAND_VALUE, "slot:i", BRANCH_ROW,
      "Go to the n-th of the visible branches, at the next quantum; 0: stay"},
     hr_run_slot},
    {{"slot/replay", HR_COMMAND_VALUE, "slot:i", BRANCH_ROW,
      "Go to the n-th of the visible branches and hear it from its start, at the next quantum"},
     hr_run_slot_replay},
    {{"next", HR_COMMAND_TRIGGER, "", BRANCH_ROW, "Switch to the next visible branch"},
     hr_run_next},
    {{"previous", HR_COMMAND_TRIGGER, "", BRANCH_ROW, "Switch to the visible branch before"},
     hr_run_previous},
    {{"cancel", HR_COMMAND_TRIGGER, "", "", "Forget the switch or replay that waits for its time"},
     hr_run_cancel},
    {{"replay", HR_COMMAND_TRIGGER, "", "",
      "Hear this branch, or the one that a switch waits to go to: from its start (or the loop's), "
      "or along with the host if that rolls"},
     hr_run_replay},
    {{"replay/at", HR_COMMAND_VALUE, "position:p", "", "Hear this branch from a place on it"},
     hr_run_replay_at},
    {{"follow", HR_COMMAND_TOGGLE, "on:i?", "",
      "Hear this branch whenever the host's transport rolls, at the host's place"},
     hr_run_follow},
    {{"stop", HR_COMMAND_TRIGGER, "", "", "Stop replaying"}, hr_run_stop},
    {{"loop", HR_COMMAND_TOGGLE, "on:i?", "", "Replay a range of bars over and over"}, hr_run_loop},
    {{"loop/range", HR_COMMAND_VALUE, "start:p end:p?", "",
      "Set the range, and loop it; a mark that is one will do"},
     hr_run_loop_range},
    {{"grab", HR_COMMAND_VALUE, "bars:i? name:s?", MARK_ROW,
      "Loop the bars just played, at once (4 of them unless you say how many), and mark them"},
     hr_run_grab},
    {{"record", HR_COMMAND_TOGGLE, "on:i?", "",
      "Keep what is played (it always is, unless turned off)"},
     hr_run_record},
    {{"thru", HR_COMMAND_TOGGLE, "on:i?", "", "Pass what is played on to the output"}, hr_run_thru},
    {{"overdub", HR_COMMAND_TOGGLE, "on:i?", "",
      "Keep what is replayed, too, on the branch that playing over it begins"},
     hr_run_overdub},
    {{"quantum", HR_COMMAND_VALUE, "when:s", "",
      "When switches happen: now, beat, bar, loop end, or every so many bars, up to 1024, as in: 4 "
      "bars"},
     hr_run_quantum},
    {{"snap", HR_COMMAND_VALUE, "milliseconds:i", "",
      "A switch asked for so little (0 to 1000 ms) after a beat or bar happens at once, as if it "
      "had "
      "been in time"},
     hr_run_snap},
    {{"standing", HR_COMMAND_VALUE, "what:s", "",
      "What is played while the host's transport stands: side (it goes to a side branch), append "
      "(to the end of this one) or off (it is not kept)"},
     hr_run_standing},
    {{"silence", HR_COMMAND_VALUE, "bars:i", "",
      "With no host rolling, shorten silences longer than so many bars, at most 1000; 0: never"},
     hr_run_silence},
    {{"tempo/source", HR_COMMAND_VALUE, "whose:s", "",
      "With no host rolling, replay at the tempo recorded or at the host's: recorded or host"},
     hr_run_tempo_source},
    {{"undo", HR_COMMAND_TRIGGER, "", "operation:s now_on:i name:s",
      "Take back what was done last: a fork, switch, merge, mark, note, new name or hiding. "
      "Nothing is removed"},
     hr_run_undo},
    {{"redo", HR_COMMAND_TRIGGER, "", "operation:s now_on:i name:s",
      "Do again what was taken back last"},
     hr_run_redo},
    {{"merge", HR_COMMAND_VALUE, "branch:b name:s?", BRANCH_ROW,
      "Begin a branch with the music of this one and of another together, and go there"},
     hr_run_merge},
    {{"mark", HR_COMMAND_VALUE, "name:s start:p? end:p?", MARK_ROW,
      "Give a name, one that does not read as a position, to this moment, to a place or to a "
      "range"},
     hr_run_mark},
    {{"unmark", HR_COMMAND_VALUE, "name:s", MARK_ROW,
      "Put a mark out of sight; nothing is removed"},
     hr_run_unmark},
    {{"marks", HR_COMMAND_QUERY, "", MARK_ROW, "Tell the marks of this branch"}, hr_run_marks},
    {{"note", HR_COMMAND_VALUE, "text:s position:p?", NOTE_ROW,
      "Say something about this moment, or about a place on this branch"},
     hr_run_note},
    {{"rate", HR_COMMAND_VALUE, "rating:i text:s?", NOTE_ROW,
      "Say how good this moment is, from 1 to 5; 0: say nothing"},
     hr_run_rate},
    {{"emotion", HR_COMMAND_VALUE, "valence:f arousal:f agency:f text:s?", NOTE_ROW,
      "Say how this moment feels, from -1 to 1 each: sad to glad, calm to stirred, led to leading"},
     hr_run_emotion},
    {{"notes", HR_COMMAND_QUERY, "", NOTE_ROW,
      "Tell what was said of the music on this branch; rating and emotion are 0 where nobody said"},
     hr_run_notes},
    {{"send", HR_COMMAND_VALUE, "message:m position:p?", "",
      "Play a MIDI message, now or when the music comes to a place: it is put out and kept, by the "
      "one who sends it. What waits is forgotten when the music jumps past its place, and by "
      "panic"},
     hr_run_send},
    {{"rename", HR_COMMAND_VALUE, "branch:b name:s", BRANCH_ROW, "Give a branch another name"},
     hr_run_rename},
    {{"hide", HR_COMMAND_VALUE, "branch:b", BRANCH_ROW,
      "Put a branch out of sight; nothing is removed"},
     hr_run_hide},
    {{"restore", HR_COMMAND_VALUE, "branch:b", BRANCH_ROW, "Bring a hidden branch back"},
     hr_run_restore},
    {{"tree", HR_COMMAND_VALUE, "name:s", "", "Go on with another tree, or begin one"},
     hr_run_tree},
    {{"panic", HR_COMMAND_TRIGGER, "", "",
      "End every note that replay or send has started, and forget what was sent for later"},
     hr_run_panic},
    {{"list", HR_COMMAND_QUERY, "from:i? count:i?", LIST_ROW,
      "Tell all branches, or so many from a number on"},
     hr_run_list},
    {{"branch", HR_COMMAND_QUERY, "branch:b?", LIST_ROW, "Tell one branch, or the one you are on"},
     hr_run_branch},
    {{"trees", HR_COMMAND_QUERY, "", "number:i name:s branches:i current:i",
      "Tell all trees of the store"},
     hr_run_trees},
    {{"log", HR_COMMAND_QUERY, "",
      "sequence:i time:d operation:s branch:s other:s tick:h author:s text:s",
      "Tell what was done, and by whom"},
     hr_run_log},
    {{"stats", HR_COMMAND_QUERY, "", "key:s value",
      "Tell what was counted (unheard: messages that the host's port has no room for), how large "
      "the store is, and how much fits"},
     hr_run_stats},
    {{"get", HR_COMMAND_QUERY, "key:s?", "key:s value", "Tell the state: all of it, or one thing"},
     hr_run_get},
};

enum { COMMANDS = sizeof table / sizeof *table };

size_t hr_command_count(void)
{
  return COMMANDS;
}

const HrCommandInfo* hr_command_info(size_t index)
{
  return &table[index].info;
}

static const Command* find(const char* verb)
{
  for (size_t i = 0; i < COMMANDS; ++i) {
    if (!strcmp(table[i].info.verb, verb)) {
      return &table[i];
    }
  }
  return NULL;
}

const HrCommandInfo* hr_command_find(const char* verb)
{
  const Command* const command = find(verb);
  return command ? &command->info : NULL;
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

/** True if a value is of bytes, which `command` takes none of. */
static bool has_surplus_bytes(const Command* command, const HrValue* args, size_t count)
{
  for (size_t i = 0; i < count; ++i) {
    if (args[i].type == HR_VALUE_BYTES && !strstr(command->info.arguments, ":m")) {
      return true;
    }
  }
  return false;
}

HrStatus hr_command_run(HrSession* session, const char* verb, const HrValue* args, size_t count,
                        const char* author, const HrAnswer* answer, HrError* error)
{
  const Command* const command = find(verb);
  if (!command) {
    return hr_error(error, HR_ERR_NOT_FOUND, "There is no command \"%s\".", verb);
  }
  if (has_surplus_bytes(command, args, count)) {
    return hr_error(error, HR_ERR_ARGUMENT, "%s takes numbers and texts, no bytes.", verb);
  }
  HrCall call = {.session = session,
                 .info = &command->info,
                 .args = args,
                 .count = count,
                 .author = author,
                 .answer = answer,
                 .error = error};
  if (is_release(&call)) {
    return HR_OK;
  }
  hr_session_lock(session);
  HrStatus status = command->run(&call);
  hr_session_unlock(session);
  if (call.to_write) {
    if (error) {
      *error = (HrError){HR_OK, ""};
    }
    if (call.here) {
      hr_session_await_engine(session);
    }
    hr_session_lock_writing(session);
    call.writing = true;
    status = command->run(&call);
    hr_session_unlock_writing(session);
  }
  return status;
}

HrStatus hr_command_peek(HrSession* session, const char* verb, const HrValue* args, size_t count,
                         const HrAnswer* answer)
{
  const Command* const command = find(verb);
  HrCall call = {.session = session,
                 .info = &command->info,
                 .args = args,
                 .count = count,
                 .answer = answer,
                 .at_once = true};
  hr_session_lock(session);
  const HrStatus status = command->run(&call);
  hr_session_unlock(session);
  return status;
}
