/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/ancestors.h"

#include <stdlib.h>

enum { FIRST_PLACES = 256 };

/** Half a line of the processor's cache. Parent and jump are of the same tree. */
struct HrKnownAncestor {
  HrBranchId id; ///< 0: the place is free
  HrTick fork_tick;
  HrTick jump_tick;
  uint32_t parent;
  uint32_t jump;
};

_Static_assert(sizeof(HrKnownAncestor) == 32, "two to a cache line");

void hr_ancestors_init(HrAncestors* ancestors)
{
  *ancestors = (HrAncestors){.known = NULL};
  pthread_mutex_init(&ancestors->lock, NULL);
}

void hr_ancestors_free(HrAncestors* ancestors)
{
  free(ancestors->known);
  pthread_mutex_destroy(&ancestors->lock);
}

bool hr_ancestors_take(HrAncestors* ancestors)
{
  return !pthread_mutex_trylock(&ancestors->lock);
}

void hr_ancestors_give_back(HrAncestors* ancestors)
{
  pthread_mutex_unlock(&ancestors->lock);
}

void hr_ancestors_clear(HrAncestors* ancestors)
{
  pthread_mutex_lock(&ancestors->lock);
  free(ancestors->known);
  ancestors->known = NULL;
  ancestors->places = 0;
  ancestors->used = 0;
  pthread_mutex_unlock(&ancestors->lock);
}

/** The numbers of a tree's branches lie side by side, and so do their places. */
static HrKnownAncestor* place_of(const HrAncestors* ancestors, HrTreeId tree, uint32_t number)
{
  const uint32_t golden = 0x9e3779b1; // Trees begin far from each other
  return &ancestors->known[((uint32_t)tree * golden + number) & (ancestors->places - 1)];
}

bool hr_ancestors_find(const HrAncestors* ancestors, HrBranchId id, HrAncestor* found)
{
  const HrTreeId tree = hr_branch_tree(id);
  if (!ancestors->places) {
    return false;
  }
  const HrKnownAncestor* const known = place_of(ancestors, tree, hr_branch_number(id));
  if (known->id != id) {
    return false;
  }
  /* Next, one of these is asked for. */
  __builtin_prefetch(place_of(ancestors, tree, known->jump));
  __builtin_prefetch(place_of(ancestors, tree, known->parent));
  *found = (HrAncestor){.id = id,
                        .parent = known->parent ? hr_branch_id(tree, known->parent) : 0,
                        .jump = hr_branch_id(tree, known->jump),
                        .fork_tick = known->fork_tick,
                        .jump_tick = known->jump_tick};
  return true;
}

/** Twice the places, unless there are enough, or no memory for them. */
static void grow(HrAncestors* ancestors)
{
  const uint32_t places = ancestors->places ? 2 * ancestors->places : FIRST_PLACES;
  HrAncestors larger = {.places = places};
  if (ancestors->used < ancestors->places / 2 || places > HR_ANCESTORS_MAX) {
    return;
  }
  larger.known = calloc(places, sizeof *larger.known);
  if (!larger.known) {
    return;
  }
  for (uint32_t i = 0; i < ancestors->places; ++i) {
    const HrKnownAncestor* const known = &ancestors->known[i];
    if (known->id) {
      *place_of(&larger, hr_branch_tree(known->id), hr_branch_number(known->id)) = *known;
    }
  }
  free(ancestors->known);
  ancestors->known = larger.known;
  ancestors->places = places;
}

void hr_ancestors_add(HrAncestors* ancestors, const HrAncestor* ancestor)
{
  const HrTreeId tree = hr_branch_tree(ancestor->id);
  const bool one_tree = (!ancestor->parent || hr_branch_tree(ancestor->parent) == tree) &&
                        hr_branch_tree(ancestor->jump) == tree;
  grow(ancestors);
  if (!ancestors->places || !one_tree) {
    return;
  }
  HrKnownAncestor* const place = place_of(ancestors, tree, hr_branch_number(ancestor->id));
  ancestors->used += !place->id;
  *place = (HrKnownAncestor){.id = ancestor->id,
                             .fork_tick = ancestor->fork_tick,
                             .jump_tick = ancestor->jump_tick,
                             .parent = hr_branch_number(ancestor->parent),
                             .jump = hr_branch_number(ancestor->jump)};
}
