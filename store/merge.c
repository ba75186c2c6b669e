/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** A reader of a path, one event ahead. Its span is a copy: what lies in the
 * map is good only until the next write of this transaction. */
typedef struct {
  HrPath path;
  HrSpan span;
  uint32_t index;
  HrWord* words;
  size_t room;  ///< Words allocated
  bool no_time; ///< Tempo and meter are left out
  bool ended;
  HrEvent event;
  HrAppendOptions origin; ///< Of the node that `event` is from
} Voice;

static HrStatus copy_span(Voice* voice, const HrSpan* span)
{
  if (span->count > voice->room) {
    HrWord* const words = realloc(voice->words, span->count * sizeof *words);
    if (!words) {
      return HR_ERR_NO_MEMORY;
    }
    voice->words = words;
    voice->room = span->count;
  }
  memcpy(voice->words, span->words, span->count * sizeof *span->words);
  voice->origin = (HrAppendOptions){span->node->author, span->node->wall_clock_ns};
  voice->span = *span;
  voice->span.node = NULL;
  voice->span.words = voice->words;
  voice->index = 0;
  return HR_OK;
}

static bool is_left_out(const Voice* voice)
{
  const HrEvent* const event = &voice->event;
  const uint8_t type = event->bytes[0];
  return event->kind == HR_EVENT_META &&
         (type == HR_META_STATE ||
          (voice->no_time && (type == HR_META_TEMPO || type == HR_META_METER)));
}

static HrStatus advance(Voice* voice)
{
  HrSpan span;
  do {
    while (!hr_span_next(&voice->span, &voice->index, &voice->event)) {
      HrStatus status = hr_path_next_span(&voice->path, &span);
      if (status == HR_END) {
        voice->ended = true;
        return HR_OK;
      }
      status = status ? status : copy_span(voice, &span);
      if (status) {
        return status;
      }
    }
  } while (is_left_out(voice));
  return HR_OK;
}

static bool begins_note(const HrEvent* event)
{
  return event->kind == HR_EVENT_MIDI && event->size == 3 && (event->bytes[0] & 0xf0) == 0x90 &&
         event->bytes[2];
}

/** Whose event comes next. What one path ends or changes at a tick must not
 * touch a note that the other begins there. */
static Voice* next_voice(Voice* into, Voice* source)
{
  if (into->ended || source->ended) {
    return into->ended ? source : into;
  }
  if (into->event.tick != source->event.tick) {
    return into->event.tick < source->event.tick ? into : source;
  }
  return begins_note(&into->event) && !begins_note(&source->event) ? source : into;
}

static HrStatus append_both(HrTxn* txn, HrBranchId branch, Voice* into, Voice* source)
{
  HrStatus status = advance(into);
  status = status ? status : advance(source);
  while (!status && !(into->ended && source->ended)) {
    Voice* const voice = next_voice(into, source);
    status = hr_append(txn, branch, &voice->event, &voice->origin);
    status = status ? status : advance(voice);
  }
  return status;
}

/** Where the path of `leaf` leaves its ancestor `shared`. */
static HrStatus leaving_tick(HrTxn* txn, HrBranchId leaf, const HrBranch* shared, HrTick* tick)
{
  HrBranch child;
  *tick = INT64_MAX;
  if (leaf == shared->id) {
    return HR_OK;
  }
  const HrStatus status = hr_branch_at_depth(txn, leaf, shared->depth + 1, &child);
  *tick = child.fork_tick;
  return status;
}

/** The first tick at which the paths of `a` and `b` may differ. O(log depth). */
static HrStatus parting_tick(HrTxn* txn, HrBranchId a, HrBranchId b, HrTick* tick)
{
  HrBranch on_a, on_b;
  HrTick tick_a, tick_b;
  HrStatus status = hr_branch_get(txn, a, &on_a);
  status = status ? status : hr_branch_get(txn, b, &on_b);
  if (status) {
    return status;
  }
  const uint32_t depth = on_a.depth < on_b.depth ? on_a.depth : on_b.depth;
  status = hr_branch_at_depth(txn, a, depth, &on_a);
  status = status ? status : hr_branch_at_depth(txn, b, depth, &on_b);
  while (!status && on_a.id != on_b.id) {
    const bool jump = on_a.jump != on_b.jump; // Equal depths: their jumps are as long
    status = hr_branch_climb(txn, jump ? on_a.jump : on_a.parent, &on_a);
    status = status ? status : hr_branch_climb(txn, jump ? on_b.jump : on_b.parent, &on_b);
  }
  status = status ? status : leaving_tick(txn, a, &on_a, &tick_a);
  status = status ? status : leaving_tick(txn, b, &on_a, &tick_b);
  if (!status) {
    *tick = tick_a < tick_b ? tick_a : tick_b;
  }
  return status;
}

/** "into + source", cut to the length of a name. */
static HrStatus default_name(HrTxn* txn, HrBranchId source, HrBranchId into,
                             char name[HR_NAME_MAX + 1])
{
  char first[HR_NAME_MAX + 1];
  char second[HR_NAME_MAX + 1];
  char both[2 * HR_NAME_MAX + 4];
  HrStatus status = hr_branch_name(txn, into, first);
  status = status ? status : hr_branch_name(txn, source, second);
  if (!status) {
    snprintf(both, sizeof both, "%s + %s", first, second);
    snprintf(name, HR_NAME_MAX + 1, "%.*s", (int)hr_text_cut(both, HR_NAME_MAX), both);
  }
  return status;
}

/** Tell the journal of each path that went in. The one forked from comes last,
 * and is the entry that undo is about. */
static HrStatus tell_journal(HrTxn* txn, HrTreeRecord* tree, HrJournalRecord entry,
                             HrBranchId source, const char* name)
{
  HrJournalRecord first = entry;
  first.other = source;
  first.flags = HR_JOURNAL_QUIET;
  const HrStatus status = hr_journal_append(txn, tree, &first, name, NULL);
  return status ? status : hr_journal_append(txn, tree, &entry, name, NULL);
}

/** Make the branch, empty as yet. */
static HrStatus make_branch(HrTxn* txn, HrBranchId source, HrBranchId into, HrTick tick,
                            const HrForkOptions* options, HrBranchId* id)
{
  char name[HR_NAME_MAX + 1];
  HrForkOptions named = *options;
  HrTreeRecord tree;
  HrJournalRecord entry;
  HrStatus status = named.name ? HR_OK : default_name(txn, source, into, name);
  named.name = named.name ? named.name : name;
  status = status ? status : hr_branch_make(txn, into, tick, &named, &tree, &entry);
  if (status) {
    return status;
  }
  *id = entry.branch;
  entry.operation = HR_OPERATION_MERGE;
  status = hr_branch_name(txn, entry.branch, name);
  status = status ? status : tell_journal(txn, &tree, entry, source, name);
  return status ? status : hr_tree_record_put(txn, hr_branch_tree(into), &tree);
}

HrStatus hr_branch_merge(HrTxn* txn, HrBranchId source, HrBranchId into,
                         const HrForkOptions* options, HrBranchId* id)
{
  static const HrForkOptions defaults;
  Voice voices[2] = {{.no_time = false}, {.no_time = true}};
  HrTick tick;
  if (source == into || hr_branch_tree(source) != hr_branch_tree(into)) {
    return HR_ERR_ARGUMENT;
  }
  HrStatus status = parting_tick(txn, into, source, &tick);
  status =
      status ? status : make_branch(txn, source, into, tick, options ? options : &defaults, id);
  if (status) {
    return status;
  }
  status = hr_path_open(txn, into, tick, &voices[0].path);
  status = status ? status : hr_path_open(txn, source, tick, &voices[1].path);
  status = status ? status : append_both(txn, *id, &voices[0], &voices[1]);
  for (int i = 0; i < 2; ++i) {
    hr_path_close(&voices[i].path);
    free(voices[i].words);
  }
  return status;
}
