/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/likely.h"

HrStatus hr_neighbour(HrTxn* txn, HrBranchId from, int step, HrBranch* found)
{
  const HrTreeId tree = hr_branch_tree(from);
  uint32_t number = hr_branch_number(from);
  bool wrapped = false;
  for (unsigned looked = 0; looked < HR_NEIGHBOURS_MAX; ++looked) {
    const HrStatus status = step > 0 ? hr_branch_next(txn, tree, number, found)
                                     : hr_branch_previous(txn, tree, number, found);
    if (status == HR_END && !wrapped) {
      wrapped = true;
      number = step > 0 ? 0 : UINT32_MAX;
      continue;
    }
    if (status) {
      return status;
    }
    if (wrapped && (step > 0 ? found->id >= from : found->id <= from)) {
      return HR_END;
    }
    if (found->state == HR_BRANCH_ACTIVE) {
      return HR_OK;
    }
    number = hr_branch_number(found->id);
  }
  return HR_ERR_LIMIT;
}

static void add(HrLikely* likely, HrBranchId current, HrBranchId branch)
{
  for (unsigned i = 0; i < likely->count; ++i) {
    if (likely->branches[i] == branch) {
      return;
    }
  }
  if (branch && branch != current && likely->count < HR_LIKELY_MAX) {
    likely->branches[likely->count++] = branch;
  }
}

/** Add a branch that may have been hidden, or never been. */
static void add_visible(HrTxn* txn, HrLikely* likely, HrBranchId current, HrBranchId id)
{
  HrBranch branch;
  if (id && !hr_branch_get(txn, id, &branch) && branch.state == HR_BRANCH_ACTIVE) {
    add(likely, current, id);
  }
}

static bool is_family(const HrBranch* branch, const HrBranch* current)
{
  return branch->state == HR_BRANCH_ACTIVE &&
         (branch->parent == current->id || (branch->parent && branch->parent == current->parent));
}

/** The nearest siblings and children on both sides by number, which is by age. */
static HrStatus find_family(HrTxn* txn, const HrBranch* current,
                            HrBranchId family[2 * HR_LIKELY_MAX], unsigned* count)
{
  const HrTreeId tree = hr_branch_tree(current->id);
  HrBranch after = *current;
  HrBranch before = *current;
  HrStatus up = HR_OK;
  HrStatus down = HR_OK;
  *count = 0;
  for (unsigned i = 0; i < HR_LIKELY_SCAN && *count < HR_LIKELY_MAX && !(up && down); ++i) {
    up = up ? up : hr_branch_next(txn, tree, hr_branch_number(after.id), &after);
    if (!up && is_family(&after, current)) {
      family[(*count)++] = after.id;
    }
    down = down ? down : hr_branch_previous(txn, tree, hr_branch_number(before.id), &before);
    if (!down && is_family(&before, current)) {
      family[(*count)++] = before.id;
    }
  }
  return up && up != HR_END ? up : down == HR_END ? HR_OK : down;
}

static HrStatus find_slots(HrTxn* txn, HrTreeId tree, HrLikely* likely)
{
  HrBranch branch = {0};
  HrStatus status = HR_OK;
  for (unsigned i = 0; i < HR_LIKELY_SCAN && likely->slot_count < HR_LIKELY_MAX; ++i) {
    status = hr_branch_next(txn, tree, hr_branch_number(branch.id), &branch);
    if (status) {
      break;
    }
    if (branch.state == HR_BRANCH_ACTIVE) {
      likely->slots[likely->slot_count++] = branch.id;
    }
  }
  return status == HR_END ? HR_OK : status;
}

static HrStatus find_neighbour(HrTxn* txn, HrBranchId current, int step, HrBranchId* neighbour)
{
  HrBranch branch;
  const HrStatus status = hr_neighbour(txn, current, step, &branch);
  *neighbour = status ? 0 : branch.id;
  return status == HR_END || status == HR_ERR_LIMIT ? HR_OK : status;
}

HrStatus hr_likely_find(HrTxn* txn, HrBranchId current, const HrBranchId recent[HR_LIKELY_RECENT],
                        HrLikely* likely)
{
  HrBranchId family[2 * HR_LIKELY_MAX];
  unsigned family_count = 0;
  HrBranch record;
  *likely = (HrLikely){0};
  HrStatus status = hr_branch_get(txn, current, &record);
  status = status ? status : find_neighbour(txn, current, 1, &likely->next);
  status = status ? status : find_neighbour(txn, current, -1, &likely->previous);
  status = status ? status : find_family(txn, &record, family, &family_count);
  status = status ? status : find_slots(txn, hr_branch_tree(current), likely);
  if (status) {
    return status;
  }
  add(likely, current, likely->next);
  add(likely, current, likely->previous);
  add_visible(txn, likely, current, record.parent);
  for (unsigned i = 0; i < HR_LIKELY_RECENT; ++i) {
    add_visible(txn, likely, current, recent[i]);
  }
  for (unsigned i = 0; i < HR_LIKELY_MAX; ++i) {
    add(likely, current, i < family_count ? family[i] : 0);
    add(likely, current, i < likely->slot_count ? likely->slots[i] : 0);
  }
  return HR_OK;
}
