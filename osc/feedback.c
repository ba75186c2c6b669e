/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/feedback.h"
#include "osc/writer.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
  unsigned slot_count; ///< Visible branches met
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
    instance->branches[index].again = changed ? HR_OSC_TOLD_AGAIN : instance->branches[index].again;
    return changed;
  }
  if (instance->branch_count == HR_OSC_BRANCHES_MAX) {
    if (!index) {
      return false;
    }
    // The oldest makes room for the newest.
    memmove(instance->branches, instance->branches + 1, (index - 1) * sizeof *instance->branches);
    instance->branches[index - 1] = (HrOscBranchSeen){number, hash, HR_OSC_TOLD_AGAIN};
    return true;
  }
  memmove(instance->branches + index + 1, instance->branches + index,
          (instance->branch_count - index) * sizeof *instance->branches);
  instance->branches[index] = (HrOscBranchSeen){number, hash, HR_OSC_TOLD_AGAIN};
  instance->branch_count += 1;
  return true;
}

/** Note a row of a visible branch as the next slot. */
static void note_slot(BranchWalk* walk, int64_t number, const char* name)
{
  if (walk->slot_count < HR_OSC_SLOTS) {
    HrOscSlot* const slot = &walk->instance->visible[walk->slot_count++];
    slot->number = number;
    snprintf(slot->name, sizeof slot->name, "%s", name);
  }
}

static void on_branch_row(void* data, const HrValue* values, size_t count)
{
  enum { NUMBER, NAME, STATE = 6 }; // Columns of `list`
  BranchWalk* walk = data;
  HrOscInstance* instance = walk->instance;
  if (count <= STATE) {
    return;
  }
  const int64_t number = values[NUMBER].integer;
  const size_t index = find_branch(instance, number);
  const bool noted = index < instance->branch_count && instance->branches[index].number == number;
  const bool send = walk->action == BRANCHES_TOLD
                        ? noted
                        : note_branch(instance, number, hash_row(values, count)) &&
                              walk->action == BRANCHES_CHANGED;
  if (walk->action != BRANCHES_TOLD && !strcmp(values[STATE].text, "active")) {
    note_slot(walk, number, values[NAME].text);
  }
  if (send) {
    char address[64];
    snprintf(address, sizeof address, "/hr/%u/branch", instance->number);
    hr_osc_write(walk->writer, address, values, count);
  }
}

/** Walk `count` branches from the number `from` on, as they are in the store: what is on its
 * way there changes the tree when it arrives, and to wait for it could be to wait for the disk. */
static void walk_some(BranchWalk* walk, int64_t from, int64_t count)
{
  const HrValue range[] = {hr_value_integer(from), hr_value_integer(count)};
  const HrAnswer answer = {on_branch_row, walk};
  hr_command_peek(walk->instance->session, "list", range, 2, &answer);
}

static void walk_branches(HrOscInstance* instance, HrOscWriter* writer, BranchAction action)
{
  if (!instance->branches) {
    instance->branches = malloc(HR_OSC_BRANCHES_MAX * sizeof *instance->branches);
    if (!instance->branches) {
      return;
    }
  }
  BranchWalk walk = {.instance = instance, .writer = writer, .action = action};
  if (action != BRANCHES_TOLD) {
    memset(instance->visible, 0, sizeof instance->visible);
  }
  walk_some(&walk, 1, UINT32_MAX);
}

/** Tell a round of the branches: those that changed lately, and the next few. */
static void tell_branches_again(HrOscInstance* instance, HrOscWriter* writer)
{
  BranchWalk walk = {.instance = instance, .writer = writer, .action = BRANCHES_TOLD};
  unsigned changes = 0;
  for (size_t i = 0; i < instance->branch_count && changes < HR_OSC_ROUND_CHANGES; ++i) {
    if (instance->branches[i].again) {
      instance->branches[i].again -= 1;
      walk_some(&walk, instance->branches[i].number, 1);
      ++changes;
    }
  }
  if (instance->round_next >= instance->branch_count) {
    instance->round_next = 0;
  }
  if (instance->branch_count) {
    walk_some(&walk, instance->branches[instance->round_next].number, HR_OSC_ROUND_BRANCHES);
    instance->round_next += HR_OSC_ROUND_BRANCHES;
  }
}

/* ---- Slots ---------------------------------------------------------- */

/** Bring the slots up to `state`, and tell those that changed, or all. */
static void update_slots(HrOscInstance* instance, HrOscWriter* writer, const HrSessionState* state,
                         bool all)
{
  for (unsigned i = 0; i < HR_OSC_SLOTS; ++i) {
    HrOscSlot slot = instance->visible[i];
    HrOscSlot* const told = &instance->slots[i];
    hr_osc_slot_judge(&slot, state);
    const bool changed = slot.number != told->number || slot.state != told->state ||
                         strcmp(slot.name, told->name) != 0;
    if (writer && (changed || all)) {
      hr_osc_slot_write(writer, instance->number, i + 1, &slot);
    }
    *told = slot;
  }
}

/** Tell all items but positions. */
static void write_items(const HrOscInstance* instance, HrOscWriter* writer,
                        const HrSessionState* state)
{
  size_t count = 0;
  const HrOscItem* const items = hr_osc_items(&count);
  for (size_t i = 0; i < count; ++i) {
    if (items[i].pace != HR_OSC_POSITION) {
      hr_osc_item_write(writer, instance->number, &items[i], state);
    }
  }
}

static void write_positions(const HrOscInstance* instance, HrOscWriter* writer,
                            const HrSessionState* state)
{
  size_t count = 0;
  const HrOscItem* const items = hr_osc_items(&count);
  for (size_t i = 0; i < count; ++i) {
    if (items[i].pace == HR_OSC_POSITION) {
      hr_osc_item_write(writer, instance->number, &items[i], state);
    }
  }
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

static int64_t instance_count(const HrOscEndpoint* endpoint)
{
  int64_t count = 0;
  for (const HrOscInstance* instance = endpoint->instances; instance; instance = instance->next) {
    ++count;
  }
  return count;
}

static void write_begin(HrOscEndpoint* endpoint, HrOscWriter* writer)
{
  // A new number every time; positive, for controllers that know no other.
  endpoint->sequence = (endpoint->sequence + 1) & INT32_MAX;
  const HrValue values[] = {hr_value_integer(endpoint->sequence),
                            hr_value_integer(instance_count(endpoint))};
  hr_osc_write(writer, "/hr/state/begin", values, 2);
}

static void write_instance(HrOscInstance* instance, HrOscWriter* writer)
{
  HrSessionState state;
  hr_session_state(instance->session, &state);
  write_items(instance, writer, &state);
  write_positions(instance, writer, &state);
  for (unsigned i = 0; i < HR_OSC_SLOTS; ++i) {
    hr_osc_slot_write(writer, instance->number, i + 1, &instance->slots[i]);
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
static void follow(HrOscInstance* instance, int64_t now_ns)
{
  hr_session_state(instance->session, &instance->told);
  instance->told_paced = instance->told;
  instance->moved = instance->told;
  instance->branch_count = 0;
  instance->journal_count = instance->told.journal_count;
  instance->round_next = 0;
  instance->round_due_ns = now_ns + HR_OSC_ROUND_NS;
  instance->followed = true;
  walk_branches(instance, NULL, BRANCHES_NOTE);
  for (size_t i = 0; i < instance->branch_count; ++i) {
    instance->branches[i].again = 0; // None is new
  }
  update_slots(instance, NULL, &instance->told, false);
}

static bool same_tree(const HrSessionState* a, const HrSessionState* b)
{
  return a->tree == b->tree && !strcmp(a->store_path, b->store_path);
}

/** Tell the items that changed: those told at once, and the paced ones when it is their time. */
static void write_changed_items(HrOscInstance* instance, HrOscWriter* writer,
                                const HrSessionState* state, bool paced)
{
  size_t count = 0;
  const HrOscItem* const items = hr_osc_items(&count);
  for (size_t i = 0; i < count; ++i) {
    const bool at_once = items[i].pace == HR_OSC_AT_ONCE;
    const HrSessionState* told = at_once ? &instance->told : &instance->told_paced;
    if (items[i].pace != HR_OSC_POSITION && (paced || at_once) &&
        !hr_osc_item_same(&items[i], told, state)) {
      hr_osc_item_write(writer, instance->number, &items[i], state);
    }
  }
}

static void send_changes(HrOscEndpoint* endpoint, HrOscInstance* instance, bool paced,
                         int64_t now_ns)
{
  HrSessionState state;
  hr_session_state(instance->session, &state);
  if (!same_tree(&state, &instance->told)) {
    follow(instance, now_ns);
    hr_osc_subscribers_owe(&endpoint->subscribers);
    return;
  }

  Audience audience = {endpoint, NULL, now_ns};
  HrOscWriter writer;
  hr_osc_writer_init(&writer, send_to_audience, &audience);
  const bool round = now_ns >= instance->round_due_ns;
  // A row also says whether its branch is the current one. What others did to the tree
  // shows in its journal, where much stands that is not about branches: once a round will do.
  const bool walk = state.tree_revision != instance->told.tree_revision ||
                    state.branch != instance->told.branch ||
                    (round && state.journal_count != instance->journal_count);
  if (round) {
    write_items(instance, &writer, &state);
    instance->round_due_ns = now_ns + HR_OSC_ROUND_NS;
  } else {
    write_changed_items(instance, &writer, &state, paced);
  }
  if (walk) {
    walk_branches(instance, &writer, BRANCHES_CHANGED);
    instance->journal_count = state.journal_count;
  } else if (round) {
    tell_branches_again(instance, &writer);
  }
  update_slots(instance, &writer, &state, round);
  hr_osc_writer_flush(&writer);

  instance->told = state;
  if (paced || round) {
    instance->told_paced = state;
  }
}

static bool same_positions(const HrSessionState* a, const HrSessionState* b)
{
  size_t count = 0;
  const HrOscItem* const items = hr_osc_items(&count);
  bool same = true;
  for (size_t i = 0; i < count && same; ++i) {
    same = items[i].pace != HR_OSC_POSITION || hr_osc_item_same(&items[i], a, b);
  }
  return same;
}

static void notice_moves(HrOscEndpoint* endpoint, int64_t now_ns)
{
  for (HrOscInstance* instance = endpoint->instances; instance; instance = instance->next) {
    HrSessionState state;
    hr_session_state(instance->session, &state);
    if (!same_positions(&state, &instance->moved)) {
      instance->moved_ns = now_ns;
    }
    instance->moved = state;
  }
}

/** Tell one subscriber the positions that moved since it was told; all, once a round. */
static void send_positions(HrOscEndpoint* endpoint, HrOscSubscriber* subscriber, int64_t now_ns)
{
  Audience audience = {endpoint, subscriber, now_ns};
  HrOscWriter writer;
  hr_osc_writer_init(&writer, send_to_audience, &audience);
  const bool round = now_ns >= subscriber->position_round_ns;
  for (const HrOscInstance* instance = endpoint->instances; instance; instance = instance->next) {
    if (instance->moved_ns > subscriber->position_told_ns || round) {
      write_positions(instance, &writer, &instance->moved);
    }
  }
  hr_osc_writer_flush(&writer);
  subscriber->position_told_ns = now_ns;
  subscriber->position_round_ns = round ? now_ns + HR_OSC_ROUND_NS : subscriber->position_round_ns;
}

/** Tell positions to those who are due. Returns when the next one is. */
static int64_t send_all_positions(HrOscEndpoint* endpoint, int64_t now_ns)
{
  int64_t next_ns = INT64_MAX;
  bool noticed = false;
  for (size_t i = 0; i < HR_OSC_SUBSCRIBERS_MAX; ++i) {
    HrOscSubscriber* const subscriber = &endpoint->subscribers.places[i];
    if (!subscriber->expires_ns || subscriber->position_rate <= 0.0 || subscriber->owed_from) {
      continue; // The whole state tells it, too
    }
    if (now_ns >= subscriber->position_due_ns) {
      const int64_t period_ns = (int64_t)(1e9 / subscriber->position_rate);
      const int64_t due_ns = subscriber->position_due_ns + period_ns;
      subscriber->position_due_ns = due_ns > now_ns ? due_ns : now_ns + period_ns;
      if (!noticed) {
        notice_moves(endpoint, now_ns);
        noticed = true;
      }
      send_positions(endpoint, subscriber, now_ns);
    }
    if (subscriber->position_due_ns < next_ns) {
      next_ns = subscriber->position_due_ns;
    }
  }
  return next_ns;
}

/** Tell each subscriber that we are there, and the number of its last whole state. */
static void send_heartbeats(HrOscEndpoint* endpoint, int64_t now_ns)
{
  for (size_t i = 0; i < HR_OSC_SUBSCRIBERS_MAX; ++i) {
    HrOscSubscriber* const subscriber = &endpoint->subscribers.places[i];
    if (subscriber->expires_ns && !subscriber->owed_from) {
      Audience audience = {endpoint, subscriber, now_ns};
      HrOscWriter writer;
      hr_osc_writer_init(&writer, send_to_audience, &audience);
      const HrValue values[] = {hr_value_integer(subscriber->sequence),
                                hr_value_integer(instance_count(endpoint))};
      hr_osc_write(&writer, "/hr/state/heartbeat", values, 2);
      hr_osc_writer_flush(&writer);
    }
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
      follow(instance, now_ns);
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
  const int64_t position_ns = send_all_positions(endpoint, now_ns);
  if (now_ns >= endpoint->heartbeat_due_ns) {
    endpoint->heartbeat_due_ns = now_ns + HR_OSC_HEARTBEAT_NS;
    send_heartbeats(endpoint, now_ns);
  }
  return position_ns < endpoint->paced_due_ns ? position_ns : endpoint->paced_due_ns;
}
