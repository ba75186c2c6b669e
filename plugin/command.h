/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file command.h
 * The command layer: the only way to change what an instance does. Control
 * ports, patch properties, OSC and the command-line tool all come through
 * hr_command_run(), so they cannot disagree.
 *
 * Threads: any but the audio thread. Commands of one session are serialised by
 * its mutex, which the audio thread never takes; what concerns it travels
 * there as a message on a ring. Those that write to the store wait for others
 * who do; of these, what is about this moment on the current branch, as a mark
 * or undo is, also waits for the engine's next block if something is on its way
 * to it. So do those that tell of branches, and of what is on them. Those that
 * only read and send, as a switch does, wait for nobody, unless a fork is on its
 * way: it may be where they are to go.
 */

#ifndef HR_COMMAND_H
#define HR_COMMAND_H

#include "plugin/session.h"
#include "store/status.h"

#include <stddef.h>
#include <stdint.h>

typedef enum {
  HR_VALUE_INTEGER, ///< `integer`; OSC i, T (1), F (0)
  HR_VALUE_TICK,    ///< `integer`, a position in ticks; OSC h
  HR_VALUE_NUMBER,  ///< `number`; OSC f, d
  HR_VALUE_TEXT,    ///< `text`, UTF-8, owned by the caller; OSC s
  HR_VALUE_BYTES,   ///< `integer` bytes at `bytes`, owned by the caller; OSC m, b
} HrValueType;

typedef struct {
  HrValueType type;
  int64_t integer;
  double number;
  const char* text;
  const uint8_t* bytes;
} HrValue;

/** Longest argument list that means anything; the rest is ignored. */
#define HR_COMMAND_ARGS_MAX 8

/** What a number in first place means. */
typedef enum {
  HR_COMMAND_TRIGGER, ///< A button: 0 is its release and does nothing; other numbers are the press,
                      ///< then come the arguments
  HR_COMMAND_TOGGLE,  ///< 0 off, else on; no argument: the other way round
  HR_COMMAND_VALUE,   ///< The value itself
  HR_COMMAND_QUERY,   ///< Like VALUE, and changes nothing
} HrCommandKind;

/** One row of the command table. `arguments` is for people and for the
 * generated documentation: names in order, "?" behind the optional ones,
 * "name:type" with type s (text), i (whole number), f (number), b (a branch:
 * name, number or "#number"), p (a position: bar as a number or text
 * "bar.beat", ticks as OSC h or text "123t") or m (a MIDI message: its bytes,
 * or each of them as a whole number). `answer` names the columns of
 * the rows it gives, empty if none. */
typedef struct {
  const char* verb;
  HrCommandKind kind;
  const char* arguments;
  const char* answer;
  const char* summary;
} HrCommandInfo;

/** The rows of the table, from 0. */
size_t hr_command_count(void);
const HrCommandInfo* hr_command_info(size_t index);

/** Find a row by verb; NULL if there is none. */
const HrCommandInfo* hr_command_find(const char* verb);

/** Where the rows of an answer go. `row` may be NULL; values live for the call. */
typedef struct {
  void (*row)(void* data, const HrValue* values, size_t count);
  void* data;
} HrAnswer;

/** Run one command as `author` ("osc 10.0.0.5", "tool", "port"). `answer` may
 * be NULL. On failure nothing has changed and `error` (may be NULL) says why
 * and what to do. Returns HR_OK also for an ignored button release. */
HrStatus hr_command_run(HrSession* session, const char* verb, const HrValue* args, size_t count,
                        const char* author, const HrAnswer* answer, HrError* error);

/** Run a question that only tells, at once: a fork or switch that is under way, for which
 * hr_command_run() waits, may be missing in its answer. */
HrStatus hr_command_peek(HrSession* session, const char* verb, const HrValue* args, size_t count,
                         const HrAnswer* answer);

static inline HrValue hr_value_integer(int64_t integer)
{
  return (HrValue){.type = HR_VALUE_INTEGER, .integer = integer};
}

static inline HrValue hr_value_tick(int64_t tick)
{
  return (HrValue){.type = HR_VALUE_TICK, .integer = tick};
}

static inline HrValue hr_value_number(double number)
{
  return (HrValue){.type = HR_VALUE_NUMBER, .number = number};
}

static inline HrValue hr_value_text(const char* text)
{
  return (HrValue){.type = HR_VALUE_TEXT, .text = text};
}

static inline HrValue hr_value_bytes(const uint8_t* bytes, size_t size)
{
  return (HrValue){.type = HR_VALUE_BYTES, .integer = (int64_t)size, .bytes = bytes};
}

#endif
