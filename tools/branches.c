/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "tools/branches.h"

#include <stdlib.h>

static HrStatus add_row(HrBranches* branches, const HrBranch* branch)
{
  if (branches->count == branches->capacity) {
    const size_t capacity = branches->capacity ? branches->capacity * 2 : 64;
    HrBranchRow* const rows = realloc(branches->rows, capacity * sizeof *rows);
    if (!rows) {
      return HR_ERR_NO_MEMORY;
    }
    branches->rows = rows;
    branches->capacity = capacity;
  }
  branches->rows[branches->count++] = (HrBranchRow){.branch = *branch,
                                                    .parent = HR_NO_BRANCH,
                                                    .first_child = HR_NO_BRANCH,
                                                    .next = HR_NO_BRANCH,
                                                    .family = 1};
  return HR_OK;
}

size_t hr_branches_find(const HrBranches* branches, HrBranchId id)
{
  size_t low = 0;
  size_t high = branches->count;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (branches->rows[middle].branch.id < id) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < branches->count && branches->rows[low].branch.id == id ? low : HR_NO_BRANCH;
}

/** Rows by depth: parents before children, whatever their numbers (reserved
 * ones are used late). NULL when out of memory. */
static size_t* order_by_depth(const HrBranches* branches)
{
  const size_t count = branches->count;
  size_t* const order = calloc(count + 1, sizeof *order);
  size_t* const starts = calloc(count + 2, sizeof *starts);
  if (!order || !starts) {
    free(order);
    free(starts);
    return NULL;
  }
  /* A counting sort: a depth beyond the number of branches is damage. */
  for (size_t i = 0; i < count; ++i) {
    const size_t depth = branches->rows[i].branch.depth;
    starts[(depth < count ? depth : count - 1) + 1] += 1;
  }
  for (size_t i = 1; i <= count; ++i) {
    starts[i] += starts[i - 1];
  }
  for (size_t i = 0; i < count; ++i) {
    const size_t depth = branches->rows[i].branch.depth;
    order[starts[depth < count ? depth : count - 1]++] = i;
  }
  free(starts);
  return order;
}

static void find_parent(HrBranches* branches, size_t row)
{
  HrBranchRow* const self = &branches->rows[row];
  const size_t parent = hr_branches_find(branches, self->branch.parent);
  if (parent != HR_NO_BRANCH && branches->rows[parent].branch.depth < self->branch.depth) {
    self->parent = parent;
  }
}

/** True if `a` is to be shown before `b`, both children of one parent. */
static bool shown_before(const HrBranchRow* a, const HrBranchRow* b)
{
  return a->branch.fork_tick != b->branch.fork_tick ? a->branch.fork_tick < b->branch.fork_tick
                                                    : a->branch.id < b->branch.id;
}

/** Merge two lists of children. */
static size_t merge(HrBranchRow* rows, size_t a, size_t b)
{
  size_t first = HR_NO_BRANCH;
  size_t* link = &first;
  while (a != HR_NO_BRANCH && b != HR_NO_BRANCH) {
    size_t* const lesser = shown_before(&rows[b], &rows[a]) ? &b : &a;
    *link = *lesser;
    link = &rows[*lesser].next;
    *lesser = *link;
  }
  *link = a != HR_NO_BRANCH ? a : b;
  return first;
}

/** Sort a list of children: merge sort from the bottom up. */
static size_t sort_children(HrBranchRow* rows, size_t first)
{
  size_t sorted[64]; // sorted[n]: a list of 2^n rows
  size_t result = HR_NO_BRANCH;
  size_t used = 0;
  while (first != HR_NO_BRANCH) {
    size_t list = first;
    size_t level = 0;
    first = rows[first].next;
    rows[list].next = HR_NO_BRANCH;
    for (; level < used && sorted[level] != HR_NO_BRANCH; ++level) {
      list = merge(rows, sorted[level], list);
      sorted[level] = HR_NO_BRANCH;
    }
    used = level == used ? used + 1 : used;
    sorted[level] = list;
  }
  for (size_t level = 0; level < used; ++level) {
    result = merge(rows, sorted[level], result);
  }
  return result;
}

/** Move the child with the largest family to the end; of equals, the last. */
static void put_main_line_last(HrBranchRow* rows, HrBranchRow* parent)
{
  size_t* largest = NULL;
  size_t* link = &parent->first_child;
  for (; *link != HR_NO_BRANCH; link = &rows[*link].next) {
    if (!largest || rows[*link].family >= rows[*largest].family) {
      largest = link;
    }
  }
  if (largest && rows[*largest].next != HR_NO_BRANCH) {
    const size_t moved = *largest;
    *largest = rows[moved].next;
    *link = moved;
    rows[moved].next = HR_NO_BRANCH;
  }
}

static void link_families(HrBranches* branches, const size_t* order)
{
  HrBranchRow* const rows = branches->rows;
  for (size_t i = branches->count; i-- > 0;) {
    HrBranchRow* const self = &rows[order[i]];
    self->first_child = sort_children(rows, self->first_child);
    put_main_line_last(rows, self);
    if (self->parent != HR_NO_BRANCH) {
      HrBranchRow* const parent = &rows[self->parent];
      self->next = parent->first_child;
      parent->first_child = order[i];
      parent->family += self->family;
    }
  }
}

/** The row on the path of `row` that holds `tick`. */
static size_t owner(const HrBranches* branches, size_t row, HrTick tick)
{
  const HrBranchRow* self = &branches->rows[row];
  while (self->parent != HR_NO_BRANCH && tick < self->branch.fork_tick) {
    const size_t jump = hr_branches_find(branches, self->branch.jump);
    const HrBranchRow* const far = jump == HR_NO_BRANCH ? self : &branches->rows[jump];
    const bool leap = far->branch.depth < self->branch.depth && tick < far->branch.fork_tick;
    row = leap ? jump : self->parent;
    self = &branches->rows[row];
  }
  return row;
}

HrPlace hr_branches_place(const HrBranches* branches, size_t row, HrTick tick)
{
  return hr_timeline_place(&branches->rows[owner(branches, row, tick)].timeline, tick);
}

static HrStatus load_timeline(HrBranches* branches, HrTxn* txn, size_t row)
{
  HrBranchRow* const self = &branches->rows[row];
  HrTick from = INT64_MIN;
  if (self->parent != HR_NO_BRANCH) {
    from = self->branch.fork_tick;
    /* A fork before its parent's own beginning is damage: owner() copes. */
    const HrTimelinePoint start =
        hr_timeline_before(&branches->rows[owner(branches, self->parent, from - 1)].timeline, from);
    const HrStatus status = hr_timeline_start(&self->timeline, &start);
    if (status) {
      return status;
    }
  }
  return hr_timeline_read(&self->timeline, txn, self->branch.id, from, INT64_MAX,
                          &branches->damaged);
}

HrStatus hr_branches_load(HrBranches* branches, HrTxn* txn, HrTreeId tree)
{
  HrBranch branch = {0};
  HrStatus status;
  *branches = (HrBranches){0};
  while (!(status = hr_branch_next(txn, tree, hr_branch_number(branch.id), &branch))) {
    status = add_row(branches, &branch);
    if (status) {
      return status;
    }
  }
  if (status != HR_END) {
    return status;
  }
  status = HR_OK;
  size_t* const order = order_by_depth(branches);
  if (!order) {
    return HR_ERR_NO_MEMORY;
  }
  for (size_t i = 0; i < branches->count && !status; ++i) {
    find_parent(branches, order[i]);
    status = load_timeline(branches, txn, order[i]);
    if (status == HR_ERR_DAMAGED) {
      branches->damaged += 1; // Show the rest all the same
      status = HR_OK;
    }
  }
  link_families(branches, order);
  free(order);
  return status;
}

void hr_branches_free(HrBranches* branches)
{
  for (size_t i = 0; branches->rows && i < branches->count; ++i) {
    hr_timeline_free(&branches->rows[i].timeline);
  }
  free(branches->rows);
  *branches = (HrBranches){0};
}
