/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/internal.h"

#include <string.h>

HrStatus hr_path_open(HrTxn* txn, HrBranchId leaf, HrTick from, HrPath* path)
{
  HrNodeCursor* nodes = NULL;
  const HrStatus status = hr_tail_flush(txn);
  *path = (HrPath){.txn = txn, .leaf = leaf, .from = from, .seek = true};
  if (status) {
    return status;
  }
  const int code = hr_nodes_open(txn, &nodes);
  path->nodes = nodes;
  return hr_status_from_lmdb(txn->store, code);
}

void hr_path_close(HrPath* path)
{
  hr_nodes_close(path->nodes);
  path->nodes = NULL;
}

/** Cut the words outside [from, until) off a valid node. */
static void cut(const HrPath* path, const HrNodeHeader* node, HrSpan* span)
{
  *span = (HrSpan){.node = node,
                   .words = (const HrWord*)(node + 1),
                   .count = node->word_count,
                   .base = node->base_tick,
                   .branch = path->owner};
  if (node->base_tick >= path->from && node->last_tick < path->until) {
    return;
  }
  HrEvent event;
  uint32_t start = 0;
  uint32_t index = 0;
  uint32_t end = 0;
  while (hr_span_next(span, &index, &event) && event.tick < path->until) {
    if (event.tick < path->from) {
      start = index;
    }
    end = index;
  }
  span->words += start;
  span->count = end - start;
}

/** Go to the branch that owns `path->from`, and to its node there. */
static HrStatus enter_owner(HrPath* path, int* code)
{
  HrNodeCursor* const nodes = path->nodes;
  const HrStatus status =
      hr_branch_stretch(path->txn, path->leaf, path->from, &path->owner, &path->until);
  if (status) {
    return status;
  }
  path->seek = false;
  /* A node that begins before may reach across. */
  *code = hr_nodes_before(nodes, path->owner, path->from);
  const bool reaches = !*code;
  if (*code == MDB_NOTFOUND) {
    *code = hr_nodes_first(nodes, path->owner);
  }
  /* Unless a node lies before it, the branch begins here. */
  path->ordinal = reaches ? hr_tick_key_ordinal(&nodes->key) : 0;
  return HR_OK;
}

/** Leave a branch whose nodes come to an end before `path->until`. HR_ERR_DAMAGED
 * if it should have had more. */
static HrStatus leave_owner(HrPath* path, const HrTickKey* next, HrSpan* span)
{
  const bool goes_on = next && hr_tick_key_branch(next) == path->owner;
  HrBranch owner = {.head_tick = path->from};
  const HrStatus status = hr_branch_get(path->txn, path->owner, &owner);
  const uint64_t wanted = goes_on ? hr_tick_key_ordinal(next) : owner.node_count;
  const bool missing = status || wanted != path->ordinal;
  *span = (HrSpan){.base = path->until == INT64_MAX ? owner.head_tick : path->until,
                   .branch = path->owner};
  path->ended = path->until == INT64_MAX;
  path->from = path->until;
  path->seek = true;
  return missing ? HR_ERR_DAMAGED : HR_OK;
}

/** Go to the path's next node, whole or not; HR_END after the last. HR_ERR_DAMAGED
 * where nodes are missing. `span` says branch and base tick. */
static HrStatus next_node(HrPath* path, HrSpan* span)
{
  HrNodeCursor* const nodes = path->nodes;
  while (!path->ended) {
    int code = 0;
    HrStatus status = HR_OK;
    if (path->seek) {
      status = enter_owner(path, &code);
    } else if (!path->stay) {
      code = hr_nodes_next(nodes);
    }
    path->stay = false;
    if (status || (code && code != MDB_NOTFOUND)) {
      path->ended = true;
      return status ? status : hr_status_from_lmdb(path->txn->store, code);
    }
    const HrTick tick = hr_tick_key_tick(&nodes->key);
    if (code || !hr_nodes_in(nodes, path->owner) || tick >= path->until) {
      status = leave_owner(path, code ? NULL : &nodes->key, span);
      if (status) {
        return status;
      }
      continue;
    }
    *span = (HrSpan){.base = tick, .branch = path->owner};
    if (hr_tick_key_ordinal(&nodes->key) != path->ordinal) {
      path->ordinal = hr_tick_key_ordinal(&nodes->key);
      path->stay = true;
      return HR_ERR_DAMAGED;
    }
    path->ordinal += 1;
    return HR_OK;
  }
  return HR_END;
}

/** Fetch the page after the node's into the processor's cache, while the node's events are
 * read: where the last two nodes lay side by side, the next one mostly does. The processor
 * by itself fetches ahead within a page only. */
static void fetch_ahead(HrPath* path, const HrNodeHeader* node)
{
  enum { CACHE_LINE = 64 };
  const char* const page = (const char*)node - (uintptr_t)node % HR_PAGE_SIZE;
  const char* const next = page + HR_PAGE_SIZE;
  for (unsigned at = 0; page == path->beside && at < HR_PAGE_SIZE; at += CACHE_LINE) {
    __builtin_prefetch(next + at); // Never a fault, also beyond the map
  }
  path->beside = next;
}

HrStatus hr_path_next_span(HrPath* path, HrSpan* span)
{
  const HrNodeCursor* const nodes = path->nodes;
  HrStatus status;
  while (!(status = next_node(path, span))) {
    if (!hr_node_valid(&nodes->key, &nodes->node)) {
      return HR_ERR_DAMAGED;
    }
    fetch_ahead(path, nodes->node.mv_data);
    cut(path, nodes->node.mv_data, span);
    if (span->count) {
      return HR_OK;
    }
  }
  return status;
}

HrStatus hr_path_will_need(HrTxn* txn, HrBranchId leaf, HrTick from, uint32_t nodes)
{
  HrPath path;
  HrSpan span;
  HrPageRun run = {0, 0};
  HrStatus status = hr_path_open(txn, leaf, from, &path);
  while (nodes-- && (!status || status == HR_ERR_DAMAGED)) {
    status = next_node(&path, &span);
    if (!status) {
      hr_page_run_add(&run, &((HrNodeCursor*)path.nodes)->node);
    }
  }
  hr_page_run_will_need(&run);
  hr_path_close(&path);
  return status == HR_END || status == HR_ERR_DAMAGED ? HR_OK : status;
}

HrStatus hr_path_next(HrPath* path, HrEvent* event)
{
  do {
    while (!hr_span_next(&path->span, &path->index, event)) {
      path->index = 0;
      const HrStatus status = hr_path_next_span(path, &path->span);
      if (status) {
        path->span.count = 0;
        return status;
      }
    }
  } while (event->kind == HR_EVENT_META && event->bytes[0] == HR_META_STATE);
  return HR_OK;
}

/** Go to the node that holds the last event of `owner` before `tick`, so far as nodes are
 * whole: MDB_NOTFOUND if there is none. `damaged` counts those that are passed over. */
static int whole_node_before(HrNodeCursor* nodes, HrBranchId owner, HrTick tick, uint64_t* damaged)
{
  int code = hr_nodes_before(nodes, owner, tick);
  while (!code && !hr_node_valid(&nodes->key, &nodes->node)) {
    *damaged += 1;
    code = hr_nodes_previous(nodes);
    code = code || hr_nodes_in(nodes, owner) ? code : MDB_NOTFOUND;
  }
  return code;
}

/** The tempo that a node's events leave at `tick`. */
static void tempo_in_node(const HrNodeHeader* node, HrTick tick, HrTempo* tempo)
{
  const HrSpan span = {
      .words = (const HrWord*)(node + 1), .count = node->word_count, .base = node->base_tick};
  uint32_t index = 0;
  HrEvent event;
  hr_node_tempo(node, tempo);
  while (node->flags & HR_NODE_HAS_LONG && hr_span_next(&span, &index, &event) &&
         event.tick < tick) {
    if (event.kind == HR_EVENT_META) {
      hr_meta_apply(tempo, event.bytes, event.size);
    }
  }
}

/** Find the tempo at `tick` in the events of `owner` before it. */
static HrStatus tempo_in_owner(HrTxn* txn, HrBranchId owner, HrTick tick, HrTempo* tempo,
                               bool* found, uint64_t* damaged)
{
  HrNodeCursor* nodes;
  int code = hr_nodes_open(txn, &nodes);
  code = code ? code : whole_node_before(nodes, owner, tick, damaged);
  *found = !code;
  if (*found) {
    tempo_in_node(nodes->node.mv_data, tick, tempo);
  }
  hr_nodes_close(nodes);
  return code == MDB_NOTFOUND ? HR_OK : hr_status_from_lmdb(txn->store, code);
}

HrStatus hr_tempo_at(HrTxn* txn, HrBranchId branch, HrTick tick, HrTempo* tempo)
{
  uint64_t damaged = 0;
  return hr_tempo_read(txn, branch, tick, tempo, &damaged);
}

HrStatus hr_tempo_read(HrTxn* txn, HrBranchId branch, HrTick tick, HrTempo* tempo,
                       uint64_t* damaged)
{
  HrBranch owner;
  bool found = false;
  HrStatus status = hr_tail_flush(txn);
  status = status ? status : hr_branch_owner(txn, branch, tick, &owner);
  while (!status) {
    status = tempo_in_owner(txn, owner.id, tick, tempo, &found, damaged);
    if (status || found || !owner.parent) {
      break;
    }
    /* Nothing played on it before `tick`: what its parent left in force. */
    tick = owner.fork_tick < tick ? owner.fork_tick : tick;
    status = hr_branch_climb(txn, owner.parent, &owner);
  }
  if (!status && !found) {
    *tempo = (HrTempo){HR_DEFAULT_TEMPO, 4, 4};
  }
  return status;
}
