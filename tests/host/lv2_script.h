/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file lv2_script.h
 * What a random case does, all of it known before it is run: which host, what
 * is played, how its transport moves, what is commanded, how long its cycles
 * are. So a model can tell from the script alone what must come of it.
 *
 * Frames are those that the host has run since the script began, unless they
 * are said to be of the transport. */

#ifndef HR_LV2_SCRIPT_H
#define HR_LV2_SCRIPT_H

#include "plugin/command.h"
#include "tests/host/lv2_host.h"

enum {
  SCRIPT_RATE = 48000,
  SCRIPT_MOVES_MAX = 64,
  SCRIPT_SYSEX_MAX = 65536,
};

/** A message that is played. Note-ons and SysEx messages are each unlike all others. */
typedef struct {
  int64_t frame;
  int64_t host_frame; ///< Where the transport is then; INT64_MIN: it stands still, or may not tell
  bool bypassed;      ///< It only passes through
  bool past;          ///< Stamped one past the cycle, of which `frame` is the last
  uint32_t size;
  uint8_t bytes[8];  ///< The message, or the start of a longer one
  uint32_t sequence; ///< The seed of the rest of it, see script_bytes()
} ScriptEvent;

typedef enum {
  SCRIPT_TRANSPORT, ///< `transport` from now on
  SCRIPT_COMMAND,   ///< `verb` with `count` texts: may fail
  SCRIPT_FREEWHEEL, ///< `on`
  SCRIPT_SAVE,      ///< Save the state
  SCRIPT_RESTORE,   ///< Restore what was saved last
  SCRIPT_ENABLE,    ///< `on`, or bypassed
  SCRIPT_ACTIVATE,  ///< Deactivate and activate
  SCRIPT_REOPEN,    ///< Save, take the instance away, restore into a new one
} ScriptMoveKind;

typedef struct {
  int64_t frame; ///< The first of a cycle
  ScriptMoveKind kind;
  HostTransport transport;
  const char* verb;
  HrValue args[2];
  size_t count;
  bool on;
} ScriptMove;

typedef struct {
  uint32_t seed;
  bool song; ///< Nothing but what tests/host/lv2_model.h knows of
  HostOptions host;
  double tempo; ///< Of quarter notes
  float beats_per_bar;
  double quarter; ///< Its length in frames

  ScriptEvent* events; ///< In order; past ones after the others of their frame
  size_t event_count, event_room;
  ScriptMove moves[SCRIPT_MOVES_MAX]; ///< In order
  size_t move_count;
  uint32_t* cycles; ///< Lengths; some are 0
  size_t cycle_count, cycle_room;
  int64_t frames; ///< Of all cycles

  bool overdubs; ///< Some message may be kept more than once
  bool crowded;  ///< The output buffer is so small that music may come late
} Script;

/** Make up the script of a seed. */
void script_make(Script* script, uint32_t seed);

void script_free(Script* script);

/** The bytes of an event, of which the long ones are written to `room`. */
const uint8_t* script_bytes(const ScriptEvent* event, uint8_t room[SCRIPT_SYSEX_MAX]);

/** The length of a cycle, of `left` frames at the most; now and then 0. */
uint32_t script_choose_cycle(Chance* chance, int64_t left);

#endif
