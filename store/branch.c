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
  uint32_t number;
  if (hr_name_number(name, &number)) {
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
  /* A branch whose key is damaged would seem to be another tree's. */
  if (!code && hr_record_open(txn, txn->store->branches, &key, &value)) {
    return HR_ERR_DAMAGED;
  }
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

HrStatus hr_branch_climb(HrTxn* txn, HrBranchId to, HrBranch* branch)
{
  const uint32_t depth = branch->depth;
  const HrStatus status = hr_branch_get(txn, to, branch);
  return status == HR_ERR_NOT_FOUND || (!status && branch->depth >= depth) ? HR_ERR_DAMAGED
                                                                           : status;
}

/** The way up from a leaf. */
typedef struct {
  HrTxn* txn;
  HrAncestors* known; ///< NULL: somebody else has them
  HrBranch jumped;    ///< Where the last jump looked at leads: there, or from below once more
} Climb;

/** A branch as far as it never changes, if it is known. */
static bool find_ancestor(const Climb* climb, HrBranchId id, HrAncestor* found)
{
  return climb->known && hr_ancestors_find(climb->known, id, found);
}

/** Read where the jump of a branch leads. To its parent, or to what is damaged, none is made:
 * from parent to parent one comes up as well. */
static HrStatus get_jump_tick(Climb* climb, const HrBranch* branch, HrTick* tick)
{
  HrAncestor known;
  HrStatus status = HR_OK;
  *tick = INT64_MIN;
  if (branch->jump == branch->parent) {
    return HR_OK;
  }
  if (find_ancestor(climb, branch->jump, &known)) {
    *tick = known.parent ? known.fork_tick : INT64_MIN;
    return HR_OK;
  }
  if (climb->jumped.id != branch->jump) {
    climb->jumped.id = 0;
    status = hr_branch_get(climb->txn, branch->jump, &climb->jumped);
  }
  if (!status && climb->jumped.parent) {
    *tick = climb->jumped.fork_tick;
  }
  return status == HR_ERR_NOT_FOUND || status == HR_ERR_DAMAGED ? HR_OK : status;
}

/** What a writer sees may never be committed: it adds nothing to what is known. */
static HrStatus get_ancestor(Climb* climb, HrBranchId id, HrAncestor* found)
{
  HrBranch branch = climb->jumped;
  HrTick jump_tick = INT64_MIN;
  if (find_ancestor(climb, id, found)) {
    return HR_OK;
  }
  HrStatus status = branch.id == id ? HR_OK : hr_branch_get(climb->txn, id, &branch);
  status = status ? status : get_jump_tick(climb, &branch, &jump_tick);
  if (status) {
    return status;
  }
  *found = (HrAncestor){.id = id,
                        .parent = branch.parent,
                        .jump = branch.jump,
                        .fork_tick = branch.fork_tick,
                        .jump_tick = jump_tick};
  if (climb->known && climb->txn->mode == HR_READ) {
    hr_ancestors_add(climb->known, found);
  }
  return HR_OK;
}

/** Go up from `at`, the leaf, to the ancestor that owns `tick`. */
static HrStatus climb_to_owner(Climb* climb, HrTick tick, HrAncestor* at, HrTick* until)
{
  enum { STEPS_MAX = 3 * 32 }; // Myers: fewer than 3 log2(depth + 1), and a depth has 32 bits
  HrStatus status = HR_OK;
  *until = INT64_MAX;
  for (unsigned steps = 0; !status && at->parent && tick < at->fork_tick; ++steps) {
    /* No jump is to the owner, unless that is the parent: so the last step is from its child. */
    const HrBranchId up = tick < at->jump_tick ? at->jump : at->parent;
    *until = at->fork_tick;
    status = steps < STEPS_MAX ? get_ancestor(climb, up, at) : HR_ERR_DAMAGED;
    status = status == HR_ERR_NOT_FOUND ? HR_ERR_DAMAGED : status;
  }
  return status;
}

HrStatus hr_branch_stretch(HrTxn* txn, HrBranchId leaf, HrTick tick, HrBranchId* owner,
                           HrTick* until)
{
  HrAncestors* const ancestors = &txn->store->ancestors;
  Climb climb = {.txn = txn, .known = hr_ancestors_take(ancestors) ? ancestors : NULL};
  HrAncestor at = {.id = leaf};
  HrStatus status = leaf ? get_ancestor(&climb, leaf, &at) : HR_ERR_NOT_FOUND;
  status = status ? status : climb_to_owner(&climb, tick, &at, until);
  *owner = at.id;
  if (climb.known) {
    hr_ancestors_give_back(climb.known);
  }
  return status;
}

HrStatus hr_branch_owner(HrTxn* txn, HrBranchId leaf, HrTick tick, HrBranch* owner)
{
  HrBranchId id;
  HrTick until;
  const HrStatus status = hr_branch_stretch(txn, leaf, tick, &id, &until);
  return status ? status : hr_branch_get(txn, id, owner);
}

bool hr_branch_is_untouched(HrTxn* txn, const HrBranch* branch)
{
  HrTreeRecord tree;
  return !branch->parent && !branch->event_count &&
         !hr_tree_record(txn, hr_branch_tree(branch->id), &tree) && tree.branch_count == 1;
}

HrStatus hr_branch_at_depth(HrTxn* txn, HrBranchId leaf, uint32_t depth, HrBranch* branch)
{
  HrStatus status = hr_branch_get(txn, leaf, branch);
  while (!status && branch->depth > depth) {
    HrBranch jump = *branch;
    status = hr_branch_climb(txn, branch->jump, &jump);
    if (!status && jump.depth >= depth) {
      *branch = jump;
    } else if (!status) {
      status = hr_branch_climb(txn, branch->parent, branch);
    }
  }
  return status;
}

/** The jump pointer for a child of `parent`: where jumps lead to what is damaged, the parent,
 * which is never wrong. */
static HrStatus jump_for_child(HrTxn* txn, const HrBranch* parent, HrBranchId* jump)
{
  HrBranch first, second;
  HrStatus status = hr_branch_get(txn, parent->jump, &first);
  status = status ? status : hr_branch_get(txn, first.jump, &second);
  if (status == HR_ERR_DAMAGED || status == HR_ERR_NOT_FOUND) {
    *jump = parent->id;
    return HR_OK;
  }
  if (!status) {
    const bool equal = parent->depth - first.depth == first.depth - second.depth;
    *jump = equal && parent->id != first.id ? second.id : parent->id;
  }
  return status;
}

/** Number and link a child of `from`'s path at `tick`. */
static HrStatus link_child(HrTxn* txn, HrBranchId from, HrTick tick, const HrForkOptions* options,
                           const HrTreeRecord* tree, HrBranch* child, HrBranch* parent)
{
  HrBranch taken;
  const uint32_t number = options->number ? options->number : tree->next_number;
  *child = (HrBranch){.id = hr_branch_id(hr_branch_tree(from), number),
                      .fork_tick = tick,
                      .head_tick = tick,
                      .author = options->author,
                      .created_ns = options->created_ns ? options->created_ns : hr_wall_clock_ns()};
  if (number == UINT32_MAX) {
    return HR_ERR_LIMIT;
  }
  /* The tick before: a second fork at the same place becomes a sibling. */
  HrStatus status = hr_branch_owner(txn, from, tick - 1, parent);
  status = status ? status : jump_for_child(txn, parent, &child->jump);
  if (status) {
    return status;
  }
  child->parent = parent->id;
  child->depth = parent->depth + 1;
  status = hr_branch_get(txn, child->id, &taken);
  return status == HR_ERR_NOT_FOUND ? HR_OK : status ? status : HR_ERR_EXISTS;
}

/** The name of a branch that is made without one, as printf() and scanf() have it. */
#define GIVEN_NAME "take %u"

bool hr_branch_is_as_made(HrTxn* txn, const HrBranch* branch)
{
  HrNote note;
  char name[HR_NAME_MAX + 1];
  unsigned count;
  int end = 0;
  return branch->parent && !branch->event_count && branch->head_tick == branch->fork_tick &&
         hr_note_next(txn, branch->id, branch->fork_tick, 0, &note) == HR_END &&
         !hr_branch_name(txn, branch->id, name) &&
         sscanf(name, GIVEN_NAME "%n", &count, &end) == 1 && !name[end];
}

HrStatus hr_branch_make(HrTxn* txn, HrBranchId from, HrTick tick, const HrForkOptions* options,
                        HrTreeRecord* tree, HrJournalRecord* entry)
{
  HrBranch child, parent;
  char name[HR_NAME_MAX + 1];
  if ((options->name && !hr_name_valid(options->name)) || !hr_tick_valid(tick)) {
    return HR_ERR_ARGUMENT;
  }
  HrStatus status = hr_tail_close(txn);
  status = status ? status : hr_tree_record(txn, hr_branch_tree(from), tree);
  status = status ? status : link_child(txn, from, tick, options, tree, &child, &parent);
  if (status) {
    return status;
  }
  if (tick > parent.head_tick) {
    /* What the parent gets later must not slip into its child's past. */
    parent.head_tick = tick;
    status = hr_branch_put(txn, &parent);
  }
  *entry = (HrJournalRecord){.time_ns = child.created_ns,
                             .branch = child.id,
                             .other = from,
                             .left = options->go_there ? tree->current : 0,
                             .tick = tick,
                             .author = options->author,
                             .flags = options->quiet ? HR_JOURNAL_QUIET : 0};
  const uint32_t number = hr_branch_number(child.id);
  tree->branch_count += 1;
  tree->next_number = number < tree->next_number ? tree->next_number : number + 1;
  tree->current = options->go_there ? child.id : tree->current;
  snprintf(name, sizeof name, GIVEN_NAME, tree->branch_count);
  status = status ? status : hr_branch_put(txn, &child);
  return status ? status
                : hr_name_set_free(txn, HR_NAMES_BRANCH, hr_branch_tree(from), child.id,
                                   options->name ? options->name : name);
}

HrStatus hr_branch_extend(HrTxn* txn, HrBranchId id, HrTick tick)
{
  HrBranch branch;
  HrStatus status = hr_tick_valid(tick) ? hr_tail_close(txn) : HR_ERR_ARGUMENT;
  status = status ? status : hr_branch_get(txn, id, &branch);
  if (status || tick <= branch.head_tick) {
    return status;
  }
  branch.head_tick = tick;
  return hr_branch_put(txn, &branch);
}

HrStatus hr_branch_fork(HrTxn* txn, HrBranchId from, HrTick tick, const HrForkOptions* options,
                        HrBranchId* id)
{
  static const HrForkOptions defaults;
  HrTreeRecord tree;
  HrJournalRecord entry;
  char name[HR_NAME_MAX + 1];
  HrStatus status = hr_branch_make(txn, from, tick, options ? options : &defaults, &tree, &entry);
  if (status) {
    return status;
  }
  *id = entry.branch;
  entry.operation = HR_OPERATION_FORK;
  status = hr_branch_name(txn, entry.branch, name);
  status = status ? status : hr_journal_append(txn, &tree, &entry, name, NULL);
  return status ? status : hr_tree_record_put(txn, hr_branch_tree(from), &tree);
}

/** Add an entry to the journal of its branch's tree. */
static HrStatus tell_journal(HrTxn* txn, HrJournalRecord* entry, const char* text,
                             const char* before)
{
  const HrTreeId tree = hr_branch_tree(entry->branch);
  HrTreeRecord record;
  HrStatus status = hr_tree_record(txn, tree, &record);
  status = status ? status : hr_journal_append(txn, &record, entry, text, before);
  return status ? status : hr_tree_record_put(txn, tree, &record);
}

HrStatus hr_branch_rename(HrTxn* txn, HrBranchId id, const char* name, uint32_t author)
{
  char before[HR_NAME_MAX + 1];
  HrStatus status = hr_branch_name(txn, id, before);
  status = status ? status : hr_name_set(txn, HR_NAMES_BRANCH, hr_branch_tree(id), id, name);
  if (status || !strcmp(name, before)) {
    return status;
  }
  return tell_journal(
      txn, &(HrJournalRecord){.branch = id, .author = author, .operation = HR_OPERATION_RENAME},
      name, before);
}

HrStatus hr_branch_put_state(HrTxn* txn, HrBranchId id, HrBranchState state)
{
  HrBranch branch;
  HrStatus status = hr_tail_close(txn);
  status = status ? status : hr_branch_get(txn, id, &branch);
  branch.state = state;
  return status ? status : hr_branch_put(txn, &branch);
}

HrStatus hr_branch_set_state(HrTxn* txn, HrBranchId id, HrBranchState state, uint32_t author)
{
  HrTreeRecord tree;
  HrBranch branch;
  HrStatus status = hr_branch_get(txn, id, &branch);
  status = status ? status : hr_tree_record(txn, hr_branch_tree(id), &tree);
  if (status || branch.state == state) {
    return status;
  }
  if (state == HR_BRANCH_HIDDEN && tree.current == id) {
    return HR_ERR_BUSY;
  }
  HrJournalRecord entry = {.branch = id,
                           .author = author,
                           .operation = state == HR_BRANCH_HIDDEN ? HR_OPERATION_HIDE
                                                                  : HR_OPERATION_RESTORE};
  status = hr_branch_put_state(txn, id, state);
  return status ? status : tell_journal(txn, &entry, NULL, NULL);
}

static HrStatus switch_to(HrTxn* txn, HrBranchId to, HrTick tick, uint32_t author, uint16_t flags)
{
  const HrTreeId tree = hr_branch_tree(to);
  HrTreeRecord record;
  HrBranch branch;
  HrStatus status = hr_tree_record(txn, tree, &record);
  status = status ? status : hr_branch_get(txn, to, &branch);
  if (status || record.current == to) {
    return status;
  }
  HrJournalRecord entry = {.branch = to, .author = author, .flags = flags};
  if (branch.state == HR_BRANCH_HIDDEN) {
    entry.operation = HR_OPERATION_RESTORE;
    status = hr_branch_put_state(txn, to, HR_BRANCH_ACTIVE);
    status = status ? status : hr_journal_append(txn, &record, &entry, NULL, NULL);
  }
  entry.operation = HR_OPERATION_SWITCH;
  entry.other = entry.left = record.current;
  entry.tick = tick;
  record.current = to;
  status = status ? status : hr_journal_append(txn, &record, &entry, NULL, NULL);
  return status ? status : hr_tree_record_put(txn, tree, &record);
}

HrStatus hr_branch_switch(HrTxn* txn, HrBranchId to, HrTick tick, uint32_t author)
{
  return switch_to(txn, to, tick, author, 0);
}

HrStatus hr_branch_switch_quietly(HrTxn* txn, HrBranchId to, HrTick tick, uint32_t author)
{
  return switch_to(txn, to, tick, author, HR_JOURNAL_QUIET);
}
