/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/prepared.h"

#include <stdlib.h>
#include <string.h>

/** Seconds of music kept behind the playhead, as a switch may snap back to the
 * bar just passed, and before it. */
enum { SECONDS_BEHIND = 2, SECONDS_AHEAD = 8 };

/** Whether there is no event on the path of `branch`. */
static HrStatus is_blank(HrTxn* txn, const HrBranch* branch, bool* blank)
{
  HrPath path;
  HrSpan span;
  *blank = false;
  if (branch->event_count) {
    return HR_OK;
  }
  const HrStatus status = hr_path_open(txn, branch->id, INT64_MIN, &path);
  *blank = !status && hr_path_next_span(&path, &span) == HR_END;
  hr_path_close(&path);
  return status;
}

/** There is only what ends the sound of the past. */
static bool begins_at_its_end(const HrBranch* branch)
{
  return branch->parent && branch->head_tick == branch->fork_tick;
}

HrStatus hr_target_read(HrTxn* txn, HrBranchId id, HrTarget* target)
{
  HrBranch branch;
  HrTempo tempo;
  bool blank;
  HrStatus status = hr_branch_get(txn, id, &branch);
  status = status ? status : hr_tempo_at(txn, id, INT64_MAX, &tempo);
  status = status ? status : is_blank(txn, &branch, &blank);
  if (!status) {
    *target = (HrTarget){.number = hr_branch_number(id),
                         .empty = hr_branch_is_untouched(txn, &branch),
                         .fresh = !branch.event_count || begins_at_its_end(&branch),
                         .head = branch.head_tick,
                         .tempo = tempo,
                         .tempo_assumed = blank};
  }
  return status;
}

HrPrepared* hr_prepared_new(void)
{
  HrPrepared* const prepared = calloc(1, sizeof *prepared);
  if (prepared) {
    for (unsigned i = 0; i < HR_LIKELY_MAX; ++i) {
      prepared->branches[i] = &prepared->memory[i];
    }
    prepared->spare = &prepared->memory[HR_LIKELY_MAX];
  }
  return prepared;
}

void hr_prepared_free(HrPrepared* prepared)
{
  free(prepared);
}

const HrPreparedBranch* hr_prepared_find(const HrPrepared* prepared, HrBranchId branch)
{
  for (unsigned i = 0; branch && i < HR_LIKELY_MAX; ++i) {
    if (prepared->branches[i]->branch == branch) {
      return prepared->branches[i];
    }
  }
  return NULL;
}

const HrPreparedBranch* hr_prepared_named(const HrPrepared* prepared, const char* name)
{
  for (unsigned i = 0; i < HR_LIKELY_MAX; ++i) {
    const HrPreparedBranch* const branch = prepared->branches[i];
    if (branch->branch && !strcmp(branch->name, name)) {
      return branch;
    }
  }
  return NULL;
}

/* ---- Music ------------------------------------------------------------- */

const HrStretch* hr_prepared_stretch(const HrPreparedBranch* branch, HrTick tick)
{
  for (unsigned i = 0; i < branch->stretch_count; ++i) {
    const HrStretch* const stretch = &branch->stretches[i];
    if (tick >= stretch->from && tick < stretch->until) {
      return stretch;
    }
  }
  return NULL;
}

HrSpan hr_prepared_span(const HrPreparedBranch* branch, const HrStretch* stretch)
{
  return (HrSpan){.words = branch->words + stretch->first,
                  .count = stretch->count,
                  .base = stretch->from,
                  .branch = branch->branch};
}

void hr_prepared_state(const HrPreparedBranch* branch, const HrStretch* stretch, HrTick tick,
                       HrChase* state, HrTempo* tempo)
{
  const HrSpan span = hr_prepared_span(branch, stretch);
  uint32_t index = 0;
  HrEvent event;
  *state = stretch->state;
  *tempo = stretch->tempo;
  while (hr_span_next(&span, &index, &event) && event.tick < tick) {
    if (event.kind == HR_EVENT_META) {
      hr_meta_apply(tempo, event.bytes, event.size);
    } else {
      hr_chase_follow(state, event.bytes, event.size);
    }
  }
}

/** Take the last events, of `tick`, off a stretch: not all of that tick fit. */
static void cut(HrPreparedBranch* branch, HrStretch* stretch, HrTick tick)
{
  const HrSpan span = hr_prepared_span(branch, stretch);
  uint32_t index = 0;
  HrEvent event;
  uint32_t kept = 0;
  while (hr_span_next(&span, &index, &event) && event.tick < tick) {
    kept = index;
  }
  stretch->count = kept;
  stretch->until = tick;
}

/** Read a stretch, as much as there is room for below `room` words. */
static HrStatus read_stretch(HrPreparedBranch* branch, HrTxn* txn, HrTick from, HrTick until,
                             uint32_t room)
{
  HrStretch* const stretch = &branch->stretches[branch->stretch_count];
  HrPath path;
  HrEvent event;
  stretch->from = from;
  stretch->until = until;
  stretch->first = branch->word_count;
  stretch->count = 0;
  HrStatus status = hr_chase_at(txn, branch->branch, from, &stretch->state);
  status = status ? status : hr_tempo_at(txn, branch->branch, from, &stretch->tempo);
  if (status) {
    return status;
  }
  status = hr_path_open(txn, branch->branch, from, &path);
  while (!status && !(status = hr_path_next(&path, &event)) && event.tick < until) {
    const uint32_t words = hr_event_words(&event);
    if (stretch->first + stretch->count + words > room || event.tick - from > (HrTick)UINT32_MAX) {
      cut(branch, stretch, event.tick);
      break;
    }
    hr_event_put(branch->words + stretch->first + stretch->count, from, &event);
    stretch->count += words;
  }
  hr_path_close(&path);
  if (status == HR_END) {
    stretch->until = INT64_MAX;
    status = HR_OK;
  }
  if (!status) {
    branch->word_count += stretch->count;
    branch->stretch_count += 1;
  }
  return status;
}

/** The end of what a stretch from `tick` may be asked for: a loop's, and a little
 * more, as the playhead is told between blocks, where it may stand on the end. */
static HrTick end_of_plan(const HrPlan* plan, HrTick tick)
{
  const HrTick end = tick + SECONDS_AHEAD * plan->second;
  const HrTick loop_end = plan->loop.end + plan->second / 10;
  return plan->loop.on && tick < loop_end && loop_end < end ? loop_end : end;
}

static HrStatus read_music(HrPreparedBranch* branch, HrTxn* txn, const HrPlan* plan)
{
  const HrTick playhead = plan->playhead;
  const HrTick end = end_of_plan(plan, playhead);
  const uint32_t room = plan->loop.on ? HR_PREPARED_WORDS * 3 / 4 : HR_PREPARED_WORDS;
  HrStretch* const here = &branch->stretches[0];
  HrStatus status = read_stretch(branch, txn, playhead - SECONDS_BEHIND * plan->second, end, room);
  if (!status && here->until <= playhead) { // Too dense to look back
    branch->stretch_count = 0;
    branch->word_count = 0;
    status = read_stretch(branch, txn, playhead, end, room);
  }
  if (status) {
    return status;
  }
  const bool goes_round =
      plan->loop.on && playhead <= plan->loop.end && here->until > plan->loop.end;
  branch->from = here->from;
  if (goes_round || here->until == INT64_MAX) { // From which no playhead may be subtracted
    branch->renew = INT64_MAX;
  } else {
    const HrTick half = playhead + (here->until - playhead) / 2;
    branch->renew = half > branch->renew ? half : branch->renew;
  }
  const HrTick start = plan->loop.start;
  if (!plan->loop.on || (here->from <= start && end_of_plan(plan, start) <= here->until)) {
    return HR_OK;
  }
  return read_stretch(branch, txn, start, end_of_plan(plan, start), HR_PREPARED_WORDS);
}

static bool same_loop(const HrLoopMessage* a, const HrLoopMessage* b)
{
  return a->on == b->on && (!a->on || (a->start == b->start && a->end == b->end));
}

/** True if the branch has the music that the plan wants, as far as it can be had. */
static bool covers(const HrPreparedBranch* branch, const HrPlan* plan)
{
  return !plan->music || (branch->music && same_loop(&branch->loop, &plan->loop) &&
                          plan->playhead >= branch->from && plan->playhead < branch->renew);
}

bool hr_prepared_covers(const HrPrepared* prepared, const HrPlan* plan)
{
  bool all = true;
  for (unsigned i = 0; i < HR_LIKELY_MAX; ++i) {
    all = all && (!prepared->branches[i]->branch || covers(prepared->branches[i], plan));
  }
  return all;
}

/* ---- The branches ------------------------------------------------------ */

bool hr_prepared_read(HrPrepared* prepared, HrTxn* txn, HrBranchId id, const HrPlan* plan)
{
  const HrPreparedBranch* const old = hr_prepared_find(prepared, id);
  HrPreparedBranch* const spare = prepared->spare;
  HrBranch record;
  char name[HR_NAME_MAX + 1];
  if (hr_branch_get(txn, id, &record) || hr_branch_name(txn, id, name)) {
    return false;
  }
  if (old && old->event_count == record.event_count && old->target.head == record.head_tick &&
      !strcmp(old->name, name) && covers(old, plan)) {
    return false;
  }
  spare->branch = id;
  spare->event_count = record.event_count;
  memcpy(spare->name, name, sizeof name);
  spare->music = plan->music;
  spare->loop = plan->loop;
  spare->from = plan->playhead;
  spare->renew = plan->playhead + plan->second / 2;
  spare->stretch_count = 0;
  spare->word_count = 0;
  if (hr_target_read(txn, id, &spare->target)) {
    return false;
  }
  if (plan->music && read_music(spare, txn, plan)) {
    spare->stretch_count = 0; // It is damaged, say: to be told when it is played
  }
  return true;
}

static bool is_among(HrBranchId branch, const HrLikely* likely)
{
  for (unsigned i = 0; i < likely->count; ++i) {
    if (likely->branches[i] == branch) {
      return true;
    }
  }
  return false;
}

void hr_prepared_visit(HrPrepared* prepared, HrBranchId origin)
{
  HrBranchId* const recent = prepared->recent;
  if (prepared->origin && prepared->origin != origin) {
    unsigned last = 0; // Where the one left stood already, or the oldest
    while (last < HR_LIKELY_RECENT - 1 && recent[last] != prepared->origin) {
      ++last;
    }
    memmove(recent + 1, recent, last * sizeof *recent);
    recent[0] = prepared->origin;
  }
  prepared->stale = prepared->stale || prepared->origin != origin;
  prepared->origin = origin;
}

void hr_prepared_rank(HrPrepared* prepared, const HrLikely* likely)
{
  prepared->likely = *likely;
  for (unsigned i = 0; i < HR_LIKELY_MAX; ++i) {
    if (!is_among(prepared->branches[i]->branch, likely)) {
      prepared->branches[i]->branch = 0;
    }
  }
}

void hr_prepared_show(HrPrepared* prepared)
{
  HrPreparedBranch* const shown = prepared->spare;
  unsigned place = 0;
  for (unsigned i = 0; i < HR_LIKELY_MAX; ++i) {
    const HrBranchId branch = prepared->branches[i]->branch;
    if (branch == shown->branch) {
      place = i;
      break;
    }
    if (!branch) {
      place = i;
    }
  }
  prepared->spare = prepared->branches[place];
  prepared->branches[place] = shown;
}

void hr_prepared_forget(HrPrepared* prepared, HrBranchId branch)
{
  for (unsigned i = 0; i < HR_LIKELY_MAX; ++i) {
    if (!branch || prepared->branches[i]->branch == branch) {
      prepared->branches[i]->branch = 0;
    }
  }
  prepared->stale = true;
}

void hr_prepared_reset(HrPrepared* prepared)
{
  hr_prepared_forget(prepared, 0);
  memset(prepared->recent, 0, sizeof prepared->recent);
  prepared->origin = 0;
  prepared->checked_at = 0;
}
