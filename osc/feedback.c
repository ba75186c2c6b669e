/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/feedback.h"
#include "osc/writer.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Items ---------------------------------------------------------- */

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

static size_t read_tick(HrTick tick, HrValue values[])
{
  values[0] = hr_value_tick(tick);
  values[1] = hr_value_number((double)tick / HR_TICKS_PER_QUARTER);
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
     false, read_current, 0},
    {"pending", "number:i name:s", "The branch armed to be switched to; 0 if none.", false,
     read_pending, 0},
    {"pending_beats", "beats:f", "Beats left until that switch.", true, read_pending_beats, 0},
    {"record", "on:i", "Whether what is played is kept.", false, NULL,
     offsetof(HrSessionState, record)},
    {"replay", "on:i", "Whether the branch is heard.", false, NULL,
     offsetof(HrSessionState, replay)},
    {"loop", "on:i start:h end:h", "Whether a range is replayed over and over, and its ticks.",
     false, read_loop, 0},
    {"overdub", "on:i", "Whether what is replayed is recorded with what is played.", false, NULL,
     offsetof(HrSessionState, overdub)},
    {"thru", "on:i", "Whether what comes in goes out as well.", false, NULL,
     offsetof(HrSessionState, thru)},
    {"quantum", "quantum:i name:s", "When a switch takes effect: 0 now, 1 beat, 2 bar, 3 loop end.",
     false, read_quantum, 0},
    {"rolling", "on:i", "Whether the host's transport rolls.", false, NULL,
     offsetof(HrSessionState, rolling)},
    {"transport", "on:i", "Whether the host has one, and tells where it stands.", false, NULL,
     offsetof(HrSessionState, transport)},
    {"tempo", "bpm:f", "Quarter notes a minute.", true, read_tempo, 0},
    {"meter", "beats:i unit:i", "Beats a bar, and which note is a beat.", false, read_meter, 0},
    {"position", "ticks:h quarters:f", "Where the music is, in ticks and in quarter notes.", true,
     read_position, 0},
    {"head", "ticks:h quarters:f", "The end of the current branch.", true, read_head, 0},
    {"tree", "name:s", "The tree, which is also the instance's name.", false, read_tree, 0},
    {"store", "path:s", "The file everything is kept in.", false, read_store, 0},
    {"attached", "on:i", "Whether that file is open.", false, NULL,
     offsetof(HrSessionState, attached)},
    {"running", "on:i", "Whether the host runs the plugin.", false, NULL,
     offsetof(HrSessionState, running)},
    {"recorded", "events:i", "Events kept since the plugin was loaded.", true, read_recorded, 0},
    {"replayed", "events:i", "Events replayed since the plugin was loaded.", true, read_replayed,
     0},
    {"dropped", "events:i", "Events lost for want of room: 0, or the disk needs you.", true,
     read_dropped, 0},
    {"malformed", "events:i", "Input that was no MIDI message.", true, read_malformed, 0},
    {"trouble", "code:i text:s", "What keeps the store from working and what to do; 0 if nothing.",
     false, read_trouble, 0},
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

/** True if two states read the same through `item`. */
static bool same_item(const HrOscItem* item, const HrSessionState* a, const HrSessionState* b)
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

static void write_item(HrOscWriter* writer, uint32_t number, const HrOscItem* item,
                       const HrSessionState* state)
{
  char address[64];
  snprintf(address, sizeof address, "/hr/%u/state/%s", number, item->key);
  HrValue values[HR_OSC_ITEM_VALUES_MAX];
  hr_osc_write(writer, address, values, read_item(item, state, values));
}

/* ---- Branches ------------------------------------------------------- */

/** What to do with the rows of `list`. */
typedef enum {
  BRANCHES_NOTE,    ///< Note them as told
  BRANCHES_CHANGED, ///< Send those that differ from what was told, and note them
  BRANCHES_TOLD,    ///< Send those noted
} BranchAction;

typedef struct {
  HrOscInstance* instance;
  HrOscWriter* writer;
  BranchAction action;
} BranchWalk;

static uint64_t hash_bytes(uint64_t hash, const void* data, size_t size)
{
  const uint8_t* bytes = data; // FNV-1a, 64 bits
  for (size_t i = 0; i < size; ++i) {
    hash = (hash ^ bytes[i]) * UINT64_C(0x100000001B3);
  }
  return hash;
}

static uint64_t hash_row(const HrValue* values, size_t count)
{
  uint64_t hash = UINT64_C(0xCBF29CE484222325);
  for (size_t i = 0; i < count; ++i) {
    const HrValue* value = &values[i];
    if (value->type == HR_VALUE_TEXT) {
      hash = hash_bytes(hash, value->text, strlen(value->text) + 1);
    } else if (value->type == HR_VALUE_NUMBER) {
      hash = hash_bytes(hash, &value->number, sizeof value->number);
    } else {
      hash = hash_bytes(hash, &value->integer, sizeof value->integer);
    }
  }
  return hash;
}

/** Where `number` is, or belongs. */
static size_t find_branch(const HrOscInstance* instance, int64_t number)
{
  size_t low = 0;
  size_t high = instance->branch_count;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (instance->branches[middle].number < number) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/** Note a row as told; false if it was told just so before. */
static bool note_branch(HrOscInstance* instance, int64_t number, uint64_t hash)
{
  const size_t index = find_branch(instance, number);
  if (index < instance->branch_count && instance->branches[index].number == number) {
    const bool changed = instance->branches[index].hash != hash;
    instance->branches[index].hash = hash;
    return changed;
  }
  if (instance->branch_count == HR_OSC_BRANCHES_MAX) {
    if (!index) {
      return false;
    }
    // The oldest makes room for the newest.
    memmove(instance->branches, instance->branches + 1, (index - 1) * sizeof *instance->branches);
    instance->branches[index - 1] = (HrOscBranchSeen){number, hash};
    return true;
  }
  memmove(instance->branches + index + 1, instance->branches + index,
          (instance->branch_count - index) * sizeof *instance->branches);
  instance->branches[index] = (HrOscBranchSeen){number, hash};
  instance->branch_count += 1;
  return true;
}

static void on_branch_row(void* data, const HrValue* values, size_t count)
{
  BranchWalk* walk = data;
  if (!count || values[0].type == HR_VALUE_TEXT) {
    return;
  }
  HrOscInstance* instance = walk->instance;
  const int64_t number = values[0].integer;
  const size_t index = find_branch(instance, number);
  const bool noted = index < instance->branch_count && instance->branches[index].number == number;
  const bool send = walk->action == BRANCHES_TOLD
                        ? noted
                        : note_branch(instance, number, hash_row(values, count)) &&
                              walk->action == BRANCHES_CHANGED;
  if (send) {
    char address[64];
    snprintf(address, sizeof address, "/hr/%u/branch", instance->number);
    hr_osc_write(walk->writer, address, values, count);
  }
}

static void walk_branches(HrOscInstance* instance, HrOscWriter* writer, BranchAction action)
{
  if (!instance->branches) {
    instance->branches = malloc(HR_OSC_BRANCHES_MAX * sizeof *instance->branches);
    if (!instance->branches) {
      return;
    }
  }
  BranchWalk walk = {instance, writer, action};
  const HrAnswer answer = {on_branch_row, &walk};
  hr_command_run(instance->session, "list", NULL, 0, "osc", &answer, NULL);
}

/* ---- Whole states --------------------------------------------------- */

/** Where the datagrams for one subscriber, or for all, go. */
typedef struct {
  HrOscEndpoint* endpoint;
  HrOscSubscriber* subscriber; ///< NULL: all
  int64_t now_ns;
} Audience;

static void send_to(const Audience* audience, HrOscSubscriber* subscriber, const uint8_t* bytes,
                    size_t size)
{
  if (!hr_osc_outbox_send(&audience->endpoint->outbox, &subscriber->to, bytes, size, false,
                          audience->now_ns)) {
    subscriber->lost = true;
  }
}

static void send_to_audience(void* data, const uint8_t* bytes, size_t size)
{
  const Audience* audience = data;
  if (audience->subscriber) {
    send_to(audience, audience->subscriber, bytes, size);
    return;
  }
  HrOscSubscriber* places = audience->endpoint->subscribers.places;
  for (size_t i = 0; i < HR_OSC_SUBSCRIBERS_MAX; ++i) {
    if (places[i].expires_ns) {
      send_to(audience, &places[i], bytes, size);
    }
  }
}

static void write_begin(HrOscEndpoint* endpoint, HrOscWriter* writer)
{
  int64_t count = 0;
  for (const HrOscInstance* instance = endpoint->instances; instance; instance = instance->next) {
    ++count;
  }
  // A new number every time; positive, for controllers that know no other.
  endpoint->sequence = (endpoint->sequence + 1) & INT32_MAX;
  const HrValue values[] = {hr_value_integer(endpoint->sequence), hr_value_integer(count)};
  hr_osc_write(writer, "/hr/state/begin", values, 2);
}

static void write_instance(HrOscInstance* instance, HrOscWriter* writer)
{
  HrSessionState state;
  hr_session_state(instance->session, &state);
  for (size_t i = 0; i < sizeof items / sizeof items[0]; ++i) {
    write_item(writer, instance->number, &items[i], &state);
  }
  walk_branches(instance, writer, BRANCHES_TOLD);
}

/** Send the next part of the whole state: its begin, one instance, or its end. */
static void send_owed(HrOscEndpoint* endpoint, HrOscSubscriber* subscriber, int64_t now_ns)
{
  Audience audience = {endpoint, subscriber, now_ns};
  HrOscWriter writer;
  hr_osc_writer_init(&writer, send_to_audience, &audience);

  if (!subscriber->begun) {
    write_begin(endpoint, &writer);
    subscriber->begun = true;
    subscriber->sequence = endpoint->sequence;
  }
  HrOscInstance* instance = endpoint->instances;
  while (instance && instance->number < subscriber->owed_from) {
    instance = instance->next;
  }
  if (instance) {
    write_instance(instance, &writer);
    subscriber->owed_from = (uint64_t)instance->number + 1;
  } else {
    const HrValue sequence = hr_value_integer(subscriber->sequence);
    hr_osc_write(&writer, "/hr/state/end", &sequence, 1);
    subscriber->owed_from = 0;
  }
  hr_osc_writer_flush(&writer);
}

static void send_all_owed(HrOscEndpoint* endpoint, int64_t now_ns)
{
  for (size_t i = 0; i < HR_OSC_SUBSCRIBERS_MAX; ++i) {
    HrOscSubscriber* subscriber = &endpoint->subscribers.places[i];
    if (!subscriber->expires_ns) {
      continue;
    }
    // One instance at a time, so that no more than one waits to be sent.
    while ((subscriber->owed_from || subscriber->lost) &&
           hr_osc_outbox_idle(&endpoint->outbox, &subscriber->to)) {
      if (subscriber->lost) {
        hr_osc_subscriber_owe(subscriber);
      }
      send_owed(endpoint, subscriber, now_ns);
      if (subscriber->lost) {
        break;
      }
    }
  }
}

/* ---- Changes -------------------------------------------------------- */

/** Take what is true now as told. */
static void follow(HrOscInstance* instance)
{
  hr_session_state(instance->session, &instance->told);
  instance->told_paced = instance->told;
  instance->branch_count = 0;
  instance->followed = true;
  walk_branches(instance, NULL, BRANCHES_NOTE);
}

static bool same_tree(const HrSessionState* a, const HrSessionState* b)
{
  return a->tree == b->tree && !strcmp(a->store_path, b->store_path);
}

static void send_changes(HrOscEndpoint* endpoint, HrOscInstance* instance, bool paced,
                         int64_t now_ns)
{
  HrSessionState state;
  hr_session_state(instance->session, &state);
  if (!same_tree(&state, &instance->told)) {
    follow(instance);
    hr_osc_subscribers_owe(&endpoint->subscribers);
    return;
  }

  Audience audience = {endpoint, NULL, now_ns};
  HrOscWriter writer;
  hr_osc_writer_init(&writer, send_to_audience, &audience);
  for (size_t i = 0; i < sizeof items / sizeof items[0]; ++i) {
    const HrSessionState* told = items[i].paced ? &instance->told_paced : &instance->told;
    if ((paced || !items[i].paced) && !same_item(&items[i], told, &state)) {
      write_item(&writer, instance->number, &items[i], &state);
    }
  }
  // A row also says whether its branch is the current one.
  if (state.tree_revision != instance->told.tree_revision ||
      state.branch != instance->told.branch) {
    walk_branches(instance, &writer, BRANCHES_CHANGED);
  }
  hr_osc_writer_flush(&writer);

  instance->told = state;
  if (paced) {
    instance->told_paced = state;
  }
}

int64_t hr_osc_feedback_run(HrOscEndpoint* endpoint, int64_t now_ns)
{
  hr_osc_subscribers_expire(&endpoint->subscribers, now_ns);
  const bool followed = endpoint->subscribers.count > 0;
  const bool paced = now_ns >= endpoint->paced_due_ns;

  for (HrOscInstance* instance = endpoint->instances; instance; instance = instance->next) {
    if (!followed) {
      instance->followed = false;
    } else if (!instance->followed) {
      follow(instance);
    } else if (paced || instance->dirty) {
      send_changes(endpoint, instance, paced, now_ns);
    }
    instance->dirty = false;
  }
  if (!followed) {
    return INT64_MAX;
  }
  if (paced) {
    endpoint->paced_due_ns = now_ns + HR_OSC_PACED_NS;
  }
  send_all_owed(endpoint, now_ns);
  return endpoint->paced_due_ns;
}
