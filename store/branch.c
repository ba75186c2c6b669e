/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Ancestors are found in O(log depth) steps by one more pointer a branch:
 * E. W. Myers, "An applicative random-access stack", Information Processing
 * Letters 17 (1983). */

#include "store/internal.h"

#include <stdio.h>
#include <string.h>

HrStatus hr_branch_get(HrTxn* txn, HrBranchId id, HrBranch* branch)
{
  if (txn->tail.branch.id == id && id) {
    *branch = txn->tail.branch; // Newer than the record in the map
    return HR_OK;
  }
  HrBranchRecord record;
  const HrStatus status =
      hr_get_record(txn, txn->store->branches, &id, sizeof id, &record, sizeof record);
  if (status) {
    return status;
  }
  *branch = (HrBranch){.id = id,
                       .parent = record.parent,
                       .jump = record.jump,
                       .fork_tick = record.fork_tick,
                       .head_tick = record.head_tick,
                       .event_count = record.event_count,
                       .node_count = record.node_count,
                       .depth = record.depth,
                       .author = record.author,
                       .state = (HrBranchState)record.state,
                       .created_ns = record.created_ns};
  return HR_OK;
}

HrStatus hr_branch_put(HrTxn* txn, const HrBranch* branch)
{
  const HrBranchRecord record = {.parent = branch->parent,
                                 .jump = branch->jump,
                                 .fork_tick = branch->fork_tick,
                                 .head_tick = branch->head_tick,
                                 .event_count = branch->event_count,
                                 .created_ns = branch->created_ns,
                                 .depth = branch->depth,
                                 .node_count = branch->node_count,
                                 .author = branch->author,
                                 .state = (uint16_t)branch->state};
  return hr_put(txn, txn->store->branches, &branch->id, sizeof branch->id, &record, sizeof record);
}

HrStatus hr_branch_name(HrTxn* txn, HrBranchId id, char name[HR_NAME_MAX + 1])
{
  return hr_name_get(txn, HR_NAMES_BRANCH, id, name);
}

HrStatus hr_branch_find(HrTxn* txn, HrTreeId tree, const char* name, HrBranchId* id)
{
  unsigned number;
  char surplus;
  if (sscanf(name, "#%u%c", &number, &surplus) == 1) {
    HrBranch branch;
    *id = hr_branch_id(tree, number);
    return hr_branch_get(txn, *id, &branch);
  }
  return hr_name_find(txn, HR_NAMES_BRANCH, tree, name, id);
}

/** The first branch of `tree` from `number` on, or, `below` it, the last. */
static HrStatus find_record(HrTxn* txn, HrTreeId tree, uint32_t number, bool below,
                            HrBranch* branch)
{
  MDB_cursor* cursor = NULL;
  HrBranchId wanted = hr_branch_id(tree, number);
  MDB_val key = {sizeof wanted, &wanted};
  MDB_val value;
  int code = mdb_cursor_open(txn->txn, txn->store->branches, &cursor);
  if (code) {
    return hr_status_from_lmdb(txn->store, code);
  }
  code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
  if (below && (!code || code == MDB_NOTFOUND)) {
    code = mdb_cursor_get(cursor, &key, &value, code ? MDB_LAST : MDB_PREV);
  }
  HrBranchId found = 0;
  if (!code) {
    memcpy(&found, key.mv_data, sizeof found);
  }
  mdb_cursor_close(cursor);
  if (code == MDB_NOTFOUND || (!code && hr_branch_tree(found) != tree)) {
    return HR_END;
  }
  return code ? hr_status_from_lmdb(txn->store, code) : hr_branch_get(txn, found, branch);
}

HrStatus hr_branch_next(HrTxn* txn, HrTreeId tree, uint32_t after, HrBranch* branch)
{
  return after == UINT32_MAX ? HR_END : find_record(txn, tree, after + 1, false, branch);
}

HrStatus hr_branch_previous(HrTxn* txn, HrTreeId tree, uint32_t before, HrBranch* branch)
{
  return find_record(txn, tree, before, true, branch);
}

/** Move to the parent, or to where the jump pointer leads, which a damaged
 * record must not turn into a circle. */
static HrStatus climb(HrTxn* txn, HrBranchId to, HrBranch* branch)
{
  const uint32_t depth = branch->depth;
  const HrStatus status = hr_branch_get(txn, to, branch);
  return status == HR_ERR_NOT_FOUND || (!status && branch->depth >= depth) ? HR_ERR_DAMAGED
                                                                           : status;
}

HrStatus hr_branch_owner(HrTxn* txn, HrBranchId leaf, HrTick tick, HrBranch* owner)
{
  HrStatus status = hr_branch_get(txn, leaf, owner);
  while (!status && owner->parent && tick < owner->fork_tick) {
    HrBranch jump = *owner;
    status = climb(txn, owner->jump, &jump);
    if (!status && jump.parent && tick < jump.fork_tick) {
      *owner = jump;
    } else if (!status) {
      status = climb(txn, owner->parent, owner);
    }
  }
  return status;
}

HrStatus hr_branch_at_depth(HrTxn* txn, HrBranchId leaf, uint32_t depth, HrBranch* branch)
{
  HrStatus status = hr_branch_get(txn, leaf, branch);
  while (!status && branch->depth > depth) {
    HrBranch jump = *branch;
    status = climb(txn, branch->jump, &jump);
    if (!status && jump.depth >= depth) {
      *branch = jump;
    } else if (!status) {
      status = climb(txn, branch->parent, branch);
    }
  }
  return status;
}

/** The jump pointer for a child of `parent`. */
static HrStatus jump_for_child(HrTxn* txn, const HrBranch* parent, HrBranchId* jump)
{
  HrBranch first, second;
  HrStatus status = hr_branch_get(txn, parent->jump, &first);
  status = status ? status : hr_branch_get(txn, first.jump, &second);
  if (!status) {
    const bool equal = parent->depth - first.depth == first.depth - second.depth;
    *jump = equal && parent->id != first.id ? second.id : parent->id;
  }
  return status;
}

HrStatus hr_branch_fork(HrTxn* txn, HrBranchId from, HrTick tick, const HrForkOptions* options,
                        HrBranchId* id)
{
  static const HrForkOptions defaults;
  const HrForkOptions* const o = options ? options : &defaults;
  const HrTreeId tree = hr_branch_tree(from);
  HrTreeRecord record;
  HrBranch parent, taken;
  HrBranchId jump = 0;
  if (o->name && !hr_name_valid(o->name)) {
    return HR_ERR_ARGUMENT;
  }
  HrStatus status = hr_tail_close(txn);
  status = status ? status : hr_tree_record(txn, tree, &record);
  /* The tick before: a second fork at the same place becomes a sibling. */
  status = status ? status : hr_branch_owner(txn, from, tick - 1, &parent);
  status = status ? status : jump_for_child(txn, &parent, &jump);
  if (status) {
    return status;
  }

  const uint32_t number = o->number ? o->number : record.next_number;
  const HrBranch child = {.id = hr_branch_id(tree, number),
                          .parent = parent.id,
                          .jump = jump,
                          .fork_tick = tick,
                          .head_tick = tick,
                          .depth = parent.depth + 1,
                          .author = o->author,
                          .created_ns = o->created_ns ? o->created_ns : hr_wall_clock_ns()};
  if (number == UINT32_MAX) {
    return HR_ERR_LIMIT;
  }
  if (!hr_branch_get(txn, child.id, &taken)) {
    return HR_ERR_EXISTS;
  }
  if (number >= record.next_number) {
    record.next_number = number + 1;
  }
  record.branch_count += 1;
  if (tick > parent.head_tick) {
    /* What the parent gets later must not slip into its child's past. */
    parent.head_tick = tick;
    status = hr_branch_put(txn, &parent);
  }

  char name[HR_NAME_MAX + 1];
  snprintf(name, sizeof name, "take %u", record.branch_count);
  HrJournalRecord entry = {.time_ns = child.created_ns,
                           .branch = child.id,
                           .other = from,
                           .tick = tick,
                           .author = o->author,
                           .operation = HR_OPERATION_FORK};
  *id = child.id;
  status = status ? status : hr_branch_put(txn, &child);
  status = status
               ? status
               : hr_name_set_free(txn, HR_NAMES_BRANCH, tree, child.id, o->name ? o->name : name);
  status = status ? status : hr_branch_name(txn, child.id, name);
  record.current = o->go_there ? child.id : record.current;
  status = status ? status : hr_journal_append(txn, &record, &entry, name);
  return status ? status : hr_tree_record_put(txn, tree, &record);
}

/** Add a journal entry about `branch` to its tree. */
static HrStatus note(HrTxn* txn, HrOperation operation, HrBranchId branch, uint32_t author,
                     const char* text)
{
  HrTreeRecord record;
  HrStatus status = hr_tree_record(txn, hr_branch_tree(branch), &record);
  HrJournalRecord entry = {.branch = branch, .author = author, .operation = (uint16_t)operation};
  status = status ? status : hr_journal_append(txn, &record, &entry, text);
  return status ? status : hr_tree_record_put(txn, hr_branch_tree(branch), &record);
}

HrStatus hr_branch_rename(HrTxn* txn, HrBranchId id, const char* name, uint32_t author)
{
  HrBranch branch;
  HrStatus status = hr_branch_get(txn, id, &branch);
  status = status ? status : hr_name_set(txn, HR_NAMES_BRANCH, hr_branch_tree(id), id, name);
  return status ? status : note(txn, HR_OPERATION_RENAME, id, author, name);
}

HrStatus hr_branch_set_state(HrTxn* txn, HrBranchId id, HrBranchState state, uint32_t author)
{
  HrBranch branch;
  HrStatus status = hr_tail_flush(txn);
  status = status ? status : hr_branch_get(txn, id, &branch);
  if (status || branch.state == state) {
    return status;
  }
  branch.state = state;
  if (txn->tail.branch.id == id) {
    txn->tail.branch.state = state;
  }
  status = hr_branch_put(txn, &branch);
  return status ? status
                : note(txn, state == HR_BRANCH_HIDDEN ? HR_OPERATION_HIDE : HR_OPERATION_RESTORE,
                       id, author, NULL);
}

HrStatus hr_branch_switch(HrTxn* txn, HrBranchId to, HrTick tick, uint32_t author)
{
  const HrTreeId tree = hr_branch_tree(to);
  HrTreeRecord record;
  HrBranch branch;
  HrStatus status = hr_tree_record(txn, tree, &record);
  status = status ? status : hr_branch_get(txn, to, &branch);
  if (status || record.current == to) {
    return status;
  }
  HrJournalRecord entry = {.branch = to,
                           .other = record.current,
                           .tick = tick,
                           .author = author,
                           .operation = HR_OPERATION_SWITCH};
  record.current = to;
  status = hr_journal_append(txn, &record, &entry, NULL);
  return status ? status : hr_tree_record_put(txn, tree, &record);
}
