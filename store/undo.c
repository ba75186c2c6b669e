/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* The journal is never cut: what can be undone and redone are two chains through
 * its entries. The tree's record holds the top of each.
 *
 *   an operation    below: what was next to be undone; it is next now, and
 *                   nothing can be redone
 *   UNDO            refers: the operation undone; what lies below that is next.
 *                   below: what was next to be redone; this UNDO is next now
 *   REDO            refers: the UNDO; the operation is next to be undone again,
 *                   and what lies below the UNDO next to be redone
 */

#include "store/internal.h"

#include <string.h>

/** The next step as the journal holds it. */
typedef struct {
  HrTreeRecord tree;
  HrJournalEntry operation;
  HrJournalEntry undo; ///< For a redo: what took the operation back
} Chain;

static HrStatus get_entry(HrTxn* txn, HrTreeId tree, uint32_t sequence, HrJournalEntry* entry)
{
  const HrStatus status = hr_journal_get(txn, tree, sequence, entry);
  return status == HR_ERR_NOT_FOUND ? HR_ERR_DAMAGED : status;
}

static HrStatus read_chain(HrTxn* txn, HrTreeId tree, HrUndoDirection direction, Chain* chain)
{
  HrStatus status = hr_tree_record(txn, tree, &chain->tree);
  uint32_t sequence = direction == HR_UNDO ? chain->tree.undo : chain->tree.redo;
  if (status || !sequence) {
    return status ? status : HR_END;
  }
  if (direction == HR_REDO) {
    status = get_entry(txn, tree, sequence, &chain->undo);
    sequence = chain->undo.refers;
  }
  status = status ? status : get_entry(txn, tree, sequence, &chain->operation);
  const bool sound = !status && hr_operation_undoable(chain->operation.operation) &&
                     (direction == HR_UNDO || chain->undo.operation == HR_OPERATION_UNDO);
  return status ? status : sound ? HR_OK : HR_ERR_DAMAGED;
}

/** Whether the step changes the state of its branch. */
static bool is_about_state(const HrUndo* step)
{
  return step->operation == HR_OPERATION_FORK || step->operation == HR_OPERATION_MERGE ||
         step->operation == HR_OPERATION_HIDE || step->operation == HR_OPERATION_RESTORE;
}

/** Whether what the step hides or restores is hidden after it. */
static bool hides(const HrUndo* step)
{
  const bool hid =
      step->operation == HR_OPERATION_HIDE || step->operation == HR_OPERATION_HIDE_NOTE;
  return hid == (step->direction == HR_REDO);
}

static bool hidden_after(const HrUndo* step, const HrBranch* branch)
{
  return is_about_state(step) && branch->id == step->branch ? hides(step)
                                                            : branch->state == HR_BRANCH_HIDDEN;
}

/** Fill in all but where to go. */
static HrStatus describe(HrTxn* txn, const Chain* chain, HrUndoDirection direction, HrUndo* step)
{
  const HrJournalEntry* const entry = &chain->operation;
  *step = (HrUndo){.direction = direction,
                   .sequence = entry->sequence,
                   .operation = entry->operation,
                   .branch = entry->branch,
                   .tick = entry->tick};
  switch (entry->operation) {
  case HR_OPERATION_RENAME:
  case HR_OPERATION_RENAME_TREE:
    strcpy(step->name, direction == HR_UNDO ? entry->before : entry->text);
    return HR_OK;
  case HR_OPERATION_MARK:
  case HR_OPERATION_NOTE:
    step->note = entry->sequence;
    strcpy(step->name, entry->text);
    return HR_OK;
  case HR_OPERATION_HIDE_NOTE:
  case HR_OPERATION_RESTORE_NOTE:
    step->note = entry->refers;
    strcpy(step->name, entry->text);
    return HR_OK;
  default:
    return hr_branch_name(txn, entry->branch, step->name);
  }
}

/** The branch to be on after the step, were none hidden. */
static HrBranchId wanted_branch(const Chain* chain, const HrUndo* step)
{
  const HrJournalEntry* const entry = &chain->operation;
  const HrBranchId current = chain->tree.current;
  if (step->direction == HR_REDO) {
    return chain->undo.left ? chain->undo.left : current;
  }
  const bool leaves = current == step->branch && is_about_state(step) && hides(step);
  if (step->operation != HR_OPERATION_SWITCH && !leaves) {
    return current;
  }
  return entry->left ? entry->left : entry->other ? entry->other : current;
}

HrStatus hr_undo_next(HrTxn* txn, HrTreeId tree, HrUndoDirection direction, HrUndo* step)
{
  Chain chain;
  HrBranch branch;
  HrStatus status = read_chain(txn, tree, direction, &chain);
  status = status ? status : describe(txn, &chain, direction, step);
  status = status ? status : hr_branch_get(txn, wanted_branch(&chain, step), &branch);
  while (!status && hidden_after(step, &branch)) {
    if (!branch.parent) {
      return HR_ERR_BUSY;
    }
    status = hr_branch_climb(txn, branch.parent, &branch);
  }
  if (!status) {
    step->go_to = branch.id == chain.tree.current ? 0 : branch.id;
  }
  return status;
}

static HrStatus change(HrTxn* txn, const HrUndo* step)
{
  const HrTreeId tree = hr_branch_tree(step->branch);
  switch (step->operation) {
  case HR_OPERATION_FORK:
  case HR_OPERATION_MERGE:
  case HR_OPERATION_HIDE:
  case HR_OPERATION_RESTORE:
    return hr_branch_put_state(txn, step->branch,
                               hides(step) ? HR_BRANCH_HIDDEN : HR_BRANCH_ACTIVE);
  case HR_OPERATION_RENAME:
    return hr_name_set_free(txn, HR_NAMES_BRANCH, tree, step->branch, step->name);
  case HR_OPERATION_RENAME_TREE:
    return hr_name_set_free(txn, HR_NAMES_TREE, 0, tree, step->name);
  case HR_OPERATION_MARK:
  case HR_OPERATION_NOTE:
  case HR_OPERATION_HIDE_NOTE:
  case HR_OPERATION_RESTORE_NOTE:
    return hr_note_put_hidden(txn, tree, step->note, hides(step));
  case HR_OPERATION_SWITCH:
    return HR_OK;
  case HR_OPERATION_CREATE:
  case HR_OPERATION_UNDO:
  case HR_OPERATION_REDO:
    break;
  }
  return HR_ERR_DAMAGED;
}

/** Write the step into the journal, and move the tops of the chains. */
static HrStatus record(HrTxn* txn, const HrUndo* step, Chain* chain, HrTick tick, uint32_t author)
{
  const bool undo = step->direction == HR_UNDO;
  HrTreeRecord* const tree = &chain->tree;
  HrJournalRecord entry = {.branch = step->branch,
                           .left = step->go_to ? tree->current : 0,
                           .tick = tick,
                           .author = author,
                           .refers = undo ? chain->operation.sequence : chain->undo.sequence,
                           .below = undo ? tree->redo : 0,
                           .operation = undo ? HR_OPERATION_UNDO : HR_OPERATION_REDO};
  tree->current = step->go_to ? step->go_to : tree->current;
  const HrStatus status = hr_journal_append(txn, tree, &entry, NULL, NULL);
  tree->undo = undo ? chain->operation.below : chain->operation.sequence;
  tree->redo = undo ? tree->journal_count : chain->undo.below;
  return status ? status : hr_tree_record_put(txn, hr_branch_tree(step->branch), tree);
}

HrStatus hr_undo_apply(HrTxn* txn, const HrUndo* step, HrTick tick, uint32_t author)
{
  const HrTreeId tree = hr_branch_tree(step->branch);
  Chain chain;
  HrUndo next;
  HrBranch branch;
  HrStatus status = read_chain(txn, tree, step->direction, &chain);
  if (status == HR_END || (!status && chain.operation.sequence != step->sequence)) {
    return HR_ERR_BUSY;
  }
  status = status ? status : describe(txn, &chain, step->direction, &next);
  if (status) {
    return status;
  }
  const HrBranchId place = step->go_to ? step->go_to : chain.tree.current;
  next.go_to = place == chain.tree.current ? 0 : place;
  if (hr_branch_tree(place) != tree) {
    return HR_ERR_ARGUMENT;
  }
  status = hr_branch_get(txn, place, &branch);
  if (!status && hidden_after(&next, &branch)) {
    return HR_ERR_BUSY;
  }
  status = status ? status : change(txn, &next);
  return status ? status : record(txn, &next, &chain, tick, author);
}
