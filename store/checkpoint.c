/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Every HR_CHECKPOINT_NODES-th node of a branch, the first among them, begins
 * with the messages that make up the state there (HR_META_STATE). So the state
 * at any place is found from a few nodes before it. */

#include "store/chase.h"
#include "store/internal.h"

#include <stdlib.h>
#include <string.h>

/** Bytes of a MIDI message by its status, as a state holds only these. */
static uint32_t message_size(uint8_t status)
{
  return (status & 0xe0) == 0xc0 ? 2 : 3;
}

static void follow_state(HrChase* chase, const HrEvent* event)
{
  hr_chase_init(chase);
  for (uint32_t at = 1; at < event->size;) {
    const uint32_t size = message_size(event->bytes[at]);
    if (size > event->size - at) {
      return;
    }
    hr_chase_follow(chase, event->bytes + at, size);
    at += size;
  }
}

void hr_chase_node(HrChase* chase, const HrNodeHeader* node, HrTick tick)
{
  const HrSpan span = {
      .words = (const HrWord*)(node + 1), .count = node->word_count, .base = node->base_tick};
  if (!(node->flags & HR_NODE_HAS_LONG) && node->last_tick < tick) {
    for (uint32_t i = 0; i < span.count; ++i) {
      hr_chase_follow(chase, span.words[i].bytes, span.words[i].length);
    }
    return;
  }
  uint32_t index = 0;
  HrEvent event;
  while (hr_span_next(&span, &index, &event) && event.tick < tick) {
    if (event.kind == HR_EVENT_MIDI) {
      hr_chase_follow(chase, event.bytes, event.size);
    } else if (event.bytes[0] == HR_META_STATE) {
      follow_state(chase, &event);
    }
  }
}

void hr_checkpoint_read(const HrNodeHeader* node, HrChase* state)
{
  const HrSpan span = {
      .words = (const HrWord*)(node + 1), .count = node->word_count, .base = node->base_tick};
  uint32_t index = 0;
  HrEvent event;
  hr_chase_init(state);
  if (hr_span_next(&span, &index, &event) && event.kind == HR_EVENT_META &&
      event.bytes[0] == HR_META_STATE) {
    follow_state(state, &event);
  }
}

/** From the node under the cursor back to its checkpoint, then forward. */
static int follow_from_checkpoint(HrNodeCursor* nodes, HrTick tick, HrChase* chase,
                                  uint64_t* damaged)
{
  const HrTickKey last = nodes->key;
  const HrBranchId branch = hr_tick_key_branch(&last);
  int code = 0;
  HrPageRun pages = {0, 0};
  hr_page_run_add(&pages, &nodes->node);
  while (!code && hr_tick_key_ordinal(&nodes->key) % HR_CHECKPOINT_NODES) {
    code = hr_nodes_previous(nodes);
    if (code || !hr_nodes_in(nodes, branch)) {
      /* The checkpoint is gone: from what is there. */
      code = hr_nodes_first(nodes, branch);
      break;
    }
    hr_page_run_add(&pages, &nodes->node);
  }
  hr_page_run_will_need(&pages);
  uint64_t whole = 0;
  while (!code && hr_nodes_in(nodes, branch)) {
    if (hr_node_valid(&nodes->key, &nodes->node)) {
      hr_chase_node(chase, nodes->node.mv_data, tick);
      whole += 1;
    }
    if (!memcmp(&nodes->key, &last, sizeof last)) {
      break;
    }
    code = hr_nodes_next(nodes);
  }
  /* More than there should be: the last one's key is damaged. */
  const uint64_t wanted = hr_tick_key_ordinal(&last) % HR_CHECKPOINT_NODES + 1;
  *damaged += wanted < whole ? 1 : wanted - whole;
  return code;
}

HrStatus hr_chase_at(HrTxn* txn, HrBranchId branch, HrTick tick, HrChase* chase)
{
  uint64_t damaged = 0;
  return hr_chase_read(txn, branch, tick, chase, &damaged);
}

HrStatus hr_chase_read(HrTxn* txn, HrBranchId branch, HrTick tick, HrChase* chase,
                       uint64_t* damaged)
{
  HrBranch owner;
  HrNodeCursor* nodes = NULL;
  hr_chase_init(chase);
  HrStatus status = hr_tail_flush(txn);
  status = status ? status : hr_branch_owner(txn, branch, tick, &owner);
  if (status) {
    return status;
  }
  int code = hr_nodes_open(txn, &nodes);
  while (!code && !status) {
    code = hr_nodes_before(nodes, owner.id, tick);
    if (!code) {
      code = follow_from_checkpoint(nodes, tick, chase, damaged);
      break;
    }
    if (code != MDB_NOTFOUND || !owner.parent) {
      break;
    }
    /* Nothing played on it before `tick`: what its parent left. */
    code = 0;
    tick = owner.fork_tick < tick ? owner.fork_tick : tick;
    status = hr_branch_climb(txn, owner.parent, &owner);
  }
  hr_nodes_close(nodes);
  return status ? status : code == MDB_NOTFOUND ? HR_OK : hr_status_from_lmdb(txn->store, code);
}

typedef struct {
  uint8_t* bytes;
  size_t size;
  size_t room;
} Buffer;

static void add_message(void* data, const uint8_t* bytes, uint32_t size)
{
  Buffer* const buffer = data;
  if (buffer->size + size <= buffer->room) {
    memcpy(buffer->bytes + buffer->size, bytes, size);
    buffer->size += size;
  }
}

HrStatus hr_checkpoint_make(const HrChase* state, uint8_t** bytes, uint32_t* size)
{
  /* The most there can be: every field of every channel as a message of 3. */
  Buffer buffer = {.room = 3 * sizeof(HrChase), .size = 1};
  HrChase* const none = malloc(sizeof *none);
  buffer.bytes = malloc(buffer.room);
  *bytes = buffer.bytes;
  *size = 0;
  if (!none || !buffer.bytes) {
    free(none);
    return HR_ERR_NO_MEMORY;
  }
  hr_chase_init(none);
  buffer.bytes[0] = HR_META_STATE;
  hr_chase_send(none, state, add_message, &buffer);
  *size = buffer.size > 1 ? (uint32_t)buffer.size : 0;
  free(none);
  return HR_OK;
}
