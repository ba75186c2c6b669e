/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* From node to node, as if each had a key of its own. */

#include "store/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int hr_nodes_open(HrTxn* txn, HrNodeCursor** nodes)
{
  *nodes = calloc(1, sizeof **nodes);
  if (!*nodes) {
    return ENOMEM;
  }
  (*nodes)->may_move = txn->mode == HR_WRITE;
  return mdb_cursor_open(txn->txn, txn->store->nodes, &(*nodes)->entries);
}

void hr_nodes_close(HrNodeCursor* nodes)
{
  if (nodes && nodes->entries) {
    mdb_cursor_close(nodes->entries);
  }
  free(nodes);
}

static int at_index(HrNodeCursor* nodes, uint32_t index)
{
  nodes->index = index;
  if (hr_extent_nodes(&nodes->entry_key)) {
    hr_extent_key(&nodes->entry_key, index, &nodes->key);
    nodes->node = hr_extent_node(&nodes->entry_key, &nodes->entry, index);
  } else {
    nodes->key = (HrTickKey){0};
    nodes->node = (MDB_val){0, nodes->entry.mv_data};
  }
  return 0;
}

static uint32_t last_index(const HrNodeCursor* nodes)
{
  const uint32_t count = hr_extent_nodes(&nodes->entry_key);
  return count ? count - 1 : 0;
}

static bool is_in_order(const MDB_val* key)
{
  HrExtentKey places;
  const uint32_t count = hr_extent_nodes(key);
  bool in_order = true;
  memcpy(&places, key->mv_data, count ? key->mv_size : 0);
  for (uint32_t i = 2; i < count; ++i) {
    in_order = in_order && places.later[i - 2] <= places.later[i - 1];
  }
  return in_order;
}

/** A key that is out of order would lead past nodes that are whole. Each of them says itself where
 * it begins; one that is damaged is taken to begin where the one before does. */
static void mend_key(HrNodeCursor* nodes)
{
  memcpy(&nodes->mended, nodes->entry_key.mv_data, nodes->entry_key.mv_size);
  nodes->entry_key.mv_data = &nodes->mended;
  nodes->is_mended = true;
  const HrTickKey* const first = &nodes->mended.first;
  uint32_t last = 0;
  for (uint32_t i = 1; i < hr_extent_nodes(&nodes->entry_key); ++i) {
    const MDB_val node = hr_extent_node(&nodes->entry_key, &nodes->entry, i);
    HrNodeHeader header = {0};
    HrTickKey own;
    memcpy(&header, node.mv_data, node.mv_size ? sizeof header : 0);
    hr_tick_key(&own, hr_tick_key_branch(first), header.base_tick, hr_tick_key_ordinal(first) + i);
    const uint64_t later = (uint64_t)header.base_tick - (uint64_t)hr_tick_key_tick(first);
    if (later >= last && later <= UINT32_MAX && hr_node_valid(&own, &node)) {
      last = (uint32_t)later;
    }
    nodes->mended.later[i - 1] = last;
  }
}

static int get_entry(HrNodeCursor* nodes, MDB_cursor_op where)
{
  const int code = mdb_cursor_get(nodes->entries, &nodes->entry_key, &nodes->entry, where);
  nodes->is_mended = false;
  if (!code && !is_in_order(&nodes->entry_key)) {
    mend_key(nodes);
  }
  return code;
}

/** To the first entry that is not before a place. */
static int find_entry(HrNodeCursor* nodes, const HrTickKey* place)
{
  nodes->entry_key = (MDB_val){sizeof *place, (void*)place};
  return get_entry(nodes, MDB_SET_RANGE);
}

int hr_nodes_from(HrNodeCursor* nodes, const HrTickKey* place)
{
  const int code = find_entry(nodes, place);
  return code ? code : at_index(nodes, 0);
}

int hr_nodes_first(HrNodeCursor* nodes, HrBranchId branch)
{
  HrTickKey first;
  hr_tick_key(&first, branch, INT64_MIN, 0);
  return hr_nodes_from(nodes, &first);
}

/** To the last node before a place, of the place's branch. */
static int find_before(HrNodeCursor* nodes, const HrTickKey* place)
{
  int code = find_entry(nodes, place);
  if (!code || code == MDB_NOTFOUND) {
    code = get_entry(nodes, code ? MDB_LAST : MDB_PREV);
  }
  if (code) {
    return code;
  }
  uint32_t index = last_index(nodes);
  at_index(nodes, index);
  while (index && memcmp(&nodes->key, place, sizeof *place) >= 0) {
    at_index(nodes, --index);
  }
  return hr_nodes_in(nodes, hr_tick_key_branch(place)) ? 0 : MDB_NOTFOUND;
}

int hr_nodes_before(HrNodeCursor* nodes, HrBranchId branch, HrTick tick)
{
  HrTickKey place;
  hr_tick_key(&place, branch, tick, 0);
  return find_before(nodes, &place);
}

/** To another node of the same extent. Who writes in this transaction may have moved its key and
 * its bytes by now, but not the cursor off it. */
static int step_within(HrNodeCursor* nodes, uint32_t index)
{
  const int code = nodes->may_move ? get_entry(nodes, MDB_GET_CURRENT) : 0;
  return code ? code : at_index(nodes, index);
}

int hr_nodes_next(HrNodeCursor* nodes)
{
  if (nodes->index < last_index(nodes)) {
    return step_within(nodes, nodes->index + 1);
  }
  const int code = get_entry(nodes, MDB_NEXT);
  return code ? code : at_index(nodes, 0);
}

int hr_nodes_previous(HrNodeCursor* nodes)
{
  if (nodes->index) {
    return step_within(nodes, nodes->index - 1);
  }
  const int code = get_entry(nodes, MDB_PREV);
  return code ? code : at_index(nodes, last_index(nodes));
}

bool hr_nodes_in(const HrNodeCursor* nodes, HrBranchId branch)
{
  return hr_tick_key_branch(&nodes->key) == branch;
}

HrStatus hr_node_last(HrTxn* txn, HrBranchId branch, HrTickKey* key, MDB_val* node)
{
  HrNodeCursor* nodes;
  HrTickKey beyond;
  hr_tick_key(&beyond, branch, INT64_MAX, UINT64_MAX);
  int code = hr_nodes_open(txn, &nodes);
  code = code ? code : find_before(nodes, &beyond);
  if (!code) {
    *key = nodes->key;
    *node = nodes->node;
  }
  hr_nodes_close(nodes);
  return hr_status_from_lmdb(txn->store, code);
}
