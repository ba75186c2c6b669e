/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/items.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

static size_t read_store(const HrSessionState* state, HrValue values[])
{
  values[0] = hr_value_text(state->store_path);
  return 1;
}

static size_t read_tree(const HrSessionState* state, HrValue values[])
{
  values[0] = hr_value_text(state->tree_name);
  return 1;
}

static size_t read_branch(HrBranchId branch, const char* name, HrValue values[])
{
  values[0] = hr_value_integer(hr_branch_number(branch));
  values[1] = hr_value_text(name);
  return 2;
}

static size_t read_current(const HrSessionState* state, HrValue values[])
{
  return read_branch(state->branch, state->branch_name, values);
}

static size_t read_pending(const HrSessionState* state, HrValue values[])
{
  return read_branch(state->pending, state->pending ? state->pending_name : "", values);
}

static size_t read_pending_beats(const HrSessionState* state, HrValue values[])
{
  values[0] = hr_value_number(state->pending ? state->pending_beats : 0.0);
  return 1;
}

static size_t read_loop(const HrSessionState* state, HrValue values[])
{
  values[0] = hr_value_integer(state->loop);
  values[1] = hr_value_tick(state->loop_start);
  values[2] = hr_value_tick(state->loop_end);
  return 3;
}

static size_t read_quantum(const HrSessionState* state, HrValue values[])
{
  values[0] = hr_value_integer(state->quantum);
  values[1] = hr_value_text(state->quantum_name);
  return 2;
}

static size_t read_tempo(const HrSessionState* state, HrValue values[])
{
  values[0] = hr_value_number(state->tempo);
  return 1;
}

static size_t read_meter(const HrSessionState* state, HrValue values[])
{
  values[0] = hr_value_integer(state->beats_per_bar);
  values[1] = hr_value_integer(state->beat_unit);
  return 2;
}

/** Ticks last: Pure Data cannot read what stands behind 64 bits. */
static size_t read_tick(HrTick tick, HrValue values[])
{
  values[0] = hr_value_number((double)tick / HR_TICKS_PER_QUARTER);
  values[1] = hr_value_tick(tick);
  return 2;
}

static size_t read_position(const HrSessionState* state, HrValue values[])
{
  return read_tick(state->position, values);
}

static size_t read_head(const HrSessionState* state, HrValue values[])
{
  return read_tick(state->head, values);
}

static size_t read_count(uint64_t count, HrValue values[])
{
  values[0] = hr_value_integer((int64_t)count);
  return 1;
}

static size_t read_recorded(const HrSessionState* state, HrValue values[])
{
  return read_count(state->recorded, values);
}

static size_t read_replayed(const HrSessionState* state, HrValue values[])
{
  return read_count(state->replayed, values);
}

static size_t read_dropped(const HrSessionState* state, HrValue values[])
{
  return read_count(state->dropped, values);
}

static size_t read_malformed(const HrSessionState* state, HrValue values[])
{
  return read_count(state->malformed, values);
}

static size_t read_failed_commits(const HrSessionState* state, HrValue values[])
{
  return read_count(state->failed_commits, values);
}

static size_t read_rescued(const HrSessionState* state, HrValue values[])
{
  return read_count(state->rescued, values);
}

static size_t read_longest_wait(const HrSessionState* state, HrValue values[])
{
  values[0] = hr_value_number(state->longest_wait);
  return 1;
}

static size_t read_trouble(const HrSessionState* state, HrValue values[])
{
  values[0] = hr_value_integer(state->trouble);
  values[1] = hr_value_text(state->trouble ? state->trouble_text : "");
  return 2;
}

static const HrOscItem items[] = {
    {"current", "number:i name:s",
     "The branch that is recorded to and replayed; 0 before the "
     "first event.",
     HR_OSC_AT_ONCE, read_current, 0, NULL},
    {"pending", "number:i name:s", "The branch armed to be switched to; 0 if none.", HR_OSC_AT_ONCE,
     read_pending, 0, NULL},
    {"pending_beats", "beats:f", "Beats left until that switch.", HR_OSC_POSITION,
     read_pending_beats, 0, NULL},
    {"record", "on:i", "Whether what is played is kept.", HR_OSC_AT_ONCE, NULL,
     offsetof(HrSessionState, record), "record"},
    {"replay", "on:i", "Whether the branch is heard.", HR_OSC_AT_ONCE, NULL,
     offsetof(HrSessionState, replay), "follow"},
    {"loop", "on:i start:h end:h", "Whether a range is replayed over and over, and its ticks.",
     HR_OSC_AT_ONCE, read_loop, 0, "loop"},
    {"overdub", "on:i", "Whether what is replayed is recorded with what is played.", HR_OSC_AT_ONCE,
     NULL, offsetof(HrSessionState, overdub), "overdub"},
    {"thru", "on:i", "Whether what comes in goes out as well.", HR_OSC_AT_ONCE, NULL,
     offsetof(HrSessionState, thru), "thru"},
    {"quantum", "quantum:i name:s",
     "When a switch takes effect: 0 now, 1 beat, 2 bar or so many bars as the name says, 3 loop "
     "end.",
     HR_OSC_AT_ONCE, read_quantum, 0, NULL},
    {"rolling", "on:i", "Whether the host's transport rolls.", HR_OSC_AT_ONCE, NULL,
     offsetof(HrSessionState, rolling), NULL},
    {"transport", "on:i", "Whether the host has one, and tells where it stands.", HR_OSC_AT_ONCE,
     NULL, offsetof(HrSessionState, transport), NULL},
    {"tempo", "bpm:f", "Quarter notes a minute.", HR_OSC_PACED, read_tempo, 0, NULL},
    {"meter", "beats:i unit:i", "Beats a bar, and which note is a beat.", HR_OSC_AT_ONCE,
     read_meter, 0, NULL},
    {"position", "quarters:f ticks:h", "Where the music is, in quarter notes and in ticks.",
     HR_OSC_POSITION, read_position, 0, NULL},
    {"head", "quarters:f ticks:h", "The end of the current branch.", HR_OSC_PACED, read_head, 0,
     NULL},
    {"tree", "name:s", "The tree, which is also the instance's name.", HR_OSC_AT_ONCE, read_tree, 0,
     NULL},
    {"store", "path:s", "The file everything is kept in.", HR_OSC_AT_ONCE, read_store, 0, NULL},
    {"attached", "on:i", "Whether that file is open.", HR_OSC_AT_ONCE, NULL,
     offsetof(HrSessionState, attached), NULL},
    {"running", "on:i", "Whether the host runs the plugin.", HR_OSC_AT_ONCE, NULL,
     offsetof(HrSessionState, running), NULL},
    {"recorded", "events:i", "Events kept since the plugin was loaded.", HR_OSC_PACED,
     read_recorded, 0, NULL},
    {"replayed", "events:i", "Events replayed since the plugin was loaded.", HR_OSC_PACED,
     read_replayed, 0, NULL},
    {"dropped", "events:i",
     "Events lost, for want of room or in damaged memory: 0, or the disk needs you.", HR_OSC_PACED,
     read_dropped, 0, NULL},
    {"malformed", "events:i", "Input that was no MIDI message.", HR_OSC_PACED, read_malformed, 0,
     NULL},
    {"failed_commits", "count:i",
     "Writes that the disk did not take, and that were made again since or will be.", HR_OSC_PACED,
     read_failed_commits, 0, NULL},
    {"rescued", "events:i",
     "Events brought in from a host that was killed, or put on a branch of their own as another "
     "program had gone on with theirs.",
     HR_OSC_PACED, read_rescued, 0, NULL},
    {"longest_wait", "seconds:f",
     "The longest that an event waited until it was safe on the disk: beyond 1, the disk is slow.",
     HR_OSC_PACED, read_longest_wait, 0, NULL},
    {"trouble", "code:i text:s", "What keeps the store from working and what to do; 0 if nothing.",
     HR_OSC_AT_ONCE, read_trouble, 0, NULL},
};

const HrOscItem* hr_osc_items(size_t* count)
{
  *count = sizeof items / sizeof items[0];
  return items;
}

static size_t read_item(const HrOscItem* item, const HrSessionState* state,
                        HrValue values[HR_OSC_ITEM_VALUES_MAX])
{
  if (item->read) {
    return item->read(state, values);
  }
  values[0] = hr_value_integer(*(const bool*)((const char*)state + item->flag));
  return 1;
}

static bool same_value(const HrValue* a, const HrValue* b)
{
  switch (a->type) {
  case HR_VALUE_TEXT:
    return a->text && b->text && !strcmp(a->text, b->text);
  case HR_VALUE_NUMBER:
    return a->number == b->number;
  default:
    return a->integer == b->integer;
  }
}

bool hr_osc_item_same(const HrOscItem* item, const HrSessionState* a, const HrSessionState* b)
{
  HrValue a_values[HR_OSC_ITEM_VALUES_MAX];
  HrValue b_values[HR_OSC_ITEM_VALUES_MAX];
  const size_t count = read_item(item, a, a_values);
  read_item(item, b, b_values);
  for (size_t i = 0; i < count; ++i) {
    if (!same_value(&a_values[i], &b_values[i])) {
      return false;
    }
  }
  return true;
}

void hr_osc_item_write(HrOscWriter* writer, uint32_t number, const HrOscItem* item,
                       const HrSessionState* state)
{
  char address[64];
  snprintf(address, sizeof address, "/hr/%u/state/%s", number, item->key);
  HrValue values[HR_OSC_ITEM_VALUES_MAX];
  hr_osc_write(writer, address, values, read_item(item, state, values));
  if (item->echo) {
    const HrValue on = hr_value_number((double)values[0].integer);
    snprintf(address, sizeof address, "/hr/%u/%s", number, item->echo);
    hr_osc_write(writer, address, &on, 1);
  }
}
