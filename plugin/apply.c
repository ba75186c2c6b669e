/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/apply.h"

#include "plugin/commit_group.h"
#include "store/chase.h"

#include <stdio.h>
#include <string.h>

/** Records in one transaction, so that none holds the writer's lock for long. */
#define BATCH_RECORDS 50000u

/** What the record needs is damaged or missing in the store, which may take others. */
static bool is_refusal(HrStatus status)
{
  return status == HR_ERR_DAMAGED || status == HR_ERR_NOT_FOUND;
}

/** Where what was played on branch `number` goes. From that it may have been rescued again. */
static uint32_t rescue_of(const HrRescue rescues[HR_RESCUES], uint32_t number)
{
  for (unsigned i = 0; i < HR_RESCUES; ++i) {
    number = rescues[i].number == number ? rescues[i].fork : number;
  }
  return number;
}

void hr_rescue_remember(HrRescue rescues[HR_RESCUES], uint32_t number, uint32_t fork)
{
  unsigned at = HR_RESCUES - 1;
  if (rescue_of(rescues, number) == fork) {
    return;
  }
  while (at > 0 && rescues[at].number != number) {
    --at;
  }
  memmove(rescues + at, rescues + at + 1, (HR_RESCUES - 1 - at) * sizeof *rescues);
  rescues[HR_RESCUES - 1] = (HrRescue){number, fork};
}

/** The newest rescue is the last: none, if that is none. */
static bool any_rescues(const HrRescueRecord* rescues)
{
  return rescues->rescues[HR_RESCUES - 1].number;
}

/** The numbers to set aside in a tree for those who play there. One that stands in for
 * another is for all that are known from that: none must be given away a second time. */
static uint32_t count_numbers(const HrDrain* drain)
{
  uint32_t highest = drain->session ? drain->session->numbers.end : 1;
  uint64_t position = drain->from;
  const HrRecord* record;
  const HrCaptureHeader* header;
  if (drain->care != HR_FRESH_TREE) {
    return HR_NUMBERS_RESERVED;
  }
  while ((header = hr_capture_next(drain->binding->capture, &position, &record))) {
    highest = header->branch > highest ? header->branch : highest;
  }
  return highest < UINT32_MAX - HR_NUMBERS_RESERVED ? highest + HR_NUMBERS_RESERVED
                                                    : HR_NUMBERS_RESERVED;
}

/** Make the tree that a ring of a new instance waits for. */
static HrStatus make_tree(HrDrain* drain)
{
  const char* const wanted = drain->binding->capture->file->tree_name;
  HrTreeId taken;
  const bool is_free =
      hr_name_valid(wanted) && hr_tree_find(drain->txn, wanted, &taken) == HR_ERR_NOT_FOUND;
  uint32_t first = 0;
  HrStatus status =
      hr_tree_create(drain->txn, is_free ? wanted : NULL, drain->author, &drain->tree);
  drain->tree_changed = true;
  drain->branch = hr_branch_id(drain->tree, 1);
  memset(&drain->rescues, 0, sizeof drain->rescues); // They were of another tree
  return status ? status : hr_tree_reserve(drain->txn, drain->tree, count_numbers(drain), &first);
}

/** The branch `number`, or the tree's first if it cannot be read. */
static HrStatus find_readable(const HrDrain* drain, uint32_t number, HrBranchId* id)
{
  HrBranch branch;
  HrTree tree;
  *id = hr_branch_id(drain->tree, number);
  HrStatus status = hr_branch_get(drain->txn, *id, &branch);
  if (!is_refusal(status)) {
    return status;
  }
  status = hr_tree_get(drain->txn, drain->tree, &tree);
  *id = status ? 0 : tree.root;
  return status;
}

/** The name of a branch that was to be another: not one of those that are counted,
 * where the next may be what is damaged. */
static const char* name_astray(const HrDrain* drain)
{
  return drain->care == HR_RESCUED ? "rescued" : NULL;
}

/** An event that its branch cannot take any more, as when two programs play on
 * it, goes to a fork of it: nothing is lost. */
static HrStatus rescue(HrDrain* drain, uint32_t number, const HrEvent* event,
                       const HrAppendOptions* options)
{
  HrBranchId from = 0;
  HrBranchId fork;
  HrStatus status = find_readable(drain, number, &from);
  const HrForkOptions fork_options = {
      .name = name_astray(drain), .author = drain->author, .go_there = true};
  status = status ? status : hr_branch_fork(drain->txn, from, event->tick, &fork_options, &fork);
  if (!status) {
    hr_rescue_remember(drain->rescues.rescues, number, hr_branch_number(fork));
    drain->rescued = (HrRescue){number, hr_branch_number(fork)};
    drain->branch = fork;
    drain->tree_changed = true;
    status = hr_append(drain->txn, fork, event, options);
  }
  return status;
}

/** The event that a record holds. */
static HrEvent event_of(HrEventKind kind, const HrCaptureHeader* header)
{
  return (HrEvent){header->tick, kind, header->size, (const uint8_t*)(header + 1)};
}

/** Append to the branch of that number, or where its events go now. */
static HrStatus apply_event(HrDrain* drain, uint32_t played, const HrEvent* event, uint32_t author)
{
  const HrAppendOptions options = {
      .author = author,
      .wall_clock_ns = drain->session ? 0 : drain->binding->capture->file->wall_clock_ns};
  const uint32_t number = rescue_of(drain->rescues.rescues, played);
  const HrBranchId branch = hr_branch_id(drain->tree, number);
  HrStatus status = HR_ERR_PAST;
  if (drain->care != HR_RESCUED) {
    status = hr_append(drain->txn, branch, event, &options);
    if (status == HR_ERR_PAST) { // Another instance forked at its end, which moved it by a tick
      HrEvent later = *event;
      ++later.tick;
      status = hr_append(drain->txn, branch, &later, &options);
    }
  }
  const bool parted = status == HR_ERR_PAST || status == HR_ERR_NOT_FOUND;
  const bool saved = parted || number != played || !drain->session;
  drain->saved += event->kind == HR_EVENT_MIDI && saved;
  return parted ? rescue(drain, number, event, &options) : status;
}

/** Why a fork or switch was made; nothing said in a ring of older times. */
static HrCaptureCause cause_of(const HrRecord* record)
{
  const HrCaptureHeader* const header = (const HrCaptureHeader*)(record + 1);
  HrCaptureCause cause = {0};
  if (record->size >= sizeof *header + sizeof cause) {
    memcpy(&cause, header + 1, sizeof cause);
  }
  return cause;
}

/** "verse" is passed again as "verse pass 2", and that as "verse pass 3". False
 * if there is no room in the name. */
static bool name_pass(HrTxn* txn, HrBranchId from, uint32_t pass, char name[HR_NAME_MAX + 1])
{
  char parent[HR_NAME_MAX + 1];
  unsigned before = 0;
  int end = 0;
  if (hr_branch_name(txn, from, parent)) {
    return false;
  }
  for (char* at = strstr(parent, " pass "); at; at = strstr(at + 1, " pass ")) {
    if (sscanf(at, " pass %u%n", &before, &end) == 1 && !at[end]) {
      *at = '\0';
      break;
    }
  }
  return snprintf(name, HR_NAME_MAX + 1, "%s pass %u", parent, pass) <= HR_NAME_MAX;
}

/** Fork as the ring says. Its name and author are those given with the command, if it was one. */
static HrStatus apply_fork(HrDrain* drain, const HrRecord* record)
{
  const HrCaptureHeader* const header = (const HrCaptureHeader*)(record + 1);
  const HrCaptureCause cause = cause_of(record);
  char name[HR_NAME_MAX + 1];
  HrForkOptions options = {.number = header->branch, .author = drain->author, .go_there = true};
  HrStatus status = HR_OK;
  HrBranchId fork;
  for (unsigned i = 0; i < HR_PENDING_FORKS; ++i) {
    const HrPendingFork* const pending = &drain->pending_forks[i];
    if (pending->number == header->branch && hr_name_valid(pending->author)) {
      options.name = hr_name_valid(pending->name) ? pending->name : NULL;
      status = hr_author_id(drain->txn, pending->author, &options.author);
    }
  }
  HrBranchId from = hr_branch_id(drain->tree, rescue_of(drain->rescues.rescues, header->size));
  if (drain->care) {
    status = status ? status : find_readable(drain, hr_branch_number(from), &from);
    options.name = name_astray(drain) ? name_astray(drain) : options.name;
  } else if (cause.kind == HR_CAUSE_PASS && name_pass(drain->txn, from, cause.number, name)) {
    options.name = name;
  }
  status = status ? status : hr_branch_fork(drain->txn, from, header->tick, &options, &fork);
  if (status == HR_ERR_EXISTS) {
    return HR_OK; // Made already by whoever drained before
  }
  drain->branch = fork;
  drain->tree_changed = true;
  return status;
}

HrStatus hr_note_switch(HrTxn* txn, HrBranchId to, HrTick tick, const HrCaptureCause* cause,
                        uint32_t author)
{
  HrUndo step;
  if (cause->kind == HR_CAUSE_UNDO || cause->kind == HR_CAUSE_REDO) {
    const HrUndoDirection direction = cause->kind == HR_CAUSE_UNDO ? HR_UNDO : HR_REDO;
    HrStatus status = hr_undo_next(txn, hr_branch_tree(to), direction, &step);
    if (!status && step.sequence == cause->number) {
      step.go_to = to;
      status = hr_undo_apply(txn, &step, tick, author);
      if (status != HR_ERR_BUSY) {
        return status;
      }
    } // Else something else was done meanwhile: there we are all the same
  }
  return cause->kind == HR_CAUSE_COMMAND ? hr_branch_switch(txn, to, tick, author)
                                         : hr_branch_switch_quietly(txn, to, tick, author);
}

/** A switch leads to the branch itself, whatever was rescued from it before:
 * the engine was told anew where that branch ends. */
static HrStatus apply_switch(HrDrain* drain, const HrRecord* record)
{
  const HrCaptureHeader* const header = (const HrCaptureHeader*)(record + 1);
  const HrCaptureCause cause = cause_of(record);
  const HrWishes* const wishes = &drain->wishes;
  if (drain->care) {
    return HR_OK; // To what cannot be read, nobody goes
  }
  const bool known = cause.wish && wishes->count - cause.wish < HR_WISHES_KEPT;
  uint32_t author = drain->author;
  const HrStatus status =
      known ? hr_author_id(drain->txn, wishes->authors[cause.wish % HR_WISHES_KEPT], &author)
            : HR_OK;
  hr_rescue_remember(drain->rescues.rescues, header->branch, header->branch);
  drain->stepped |= cause.kind == HR_CAUSE_UNDO || cause.kind == HR_CAUSE_REDO;
  drain->tree_changed |= drain->stepped;
  drain->branch = hr_branch_id(drain->tree, header->branch);
  return status ? status : hr_note_switch(drain->txn, drain->branch, header->tick, &cause, author);
}

/** Append what somebody sent, as theirs. */
static HrStatus apply_sent(HrDrain* drain, const HrRecord* record)
{
  const HrCaptureHeader* const header = (const HrCaptureHeader*)(record + 1);
  const size_t size = record->size - sizeof *header - header->size;
  uint32_t author = drain->author;
  char name[HR_NAME_MAX + 1];
  snprintf(name, sizeof name, "%.*s", (int)size, (const char*)(header + 1) + header->size);
  const HrEvent event = event_of(HR_EVENT_MIDI, header);
  const HrStatus status = hr_name_valid(name) ? hr_author_id(drain->txn, name, &author) : HR_OK;
  return status ? status : apply_event(drain, header->branch, &event, author);
}

/** Where the messages go that a branch goes on with. */
typedef struct {
  HrDrain* drain;
  const HrCaptureHeader* header;
  HrStatus status;
} StateWriter;

static void append_state_message(void* data, const uint8_t* bytes, uint32_t size)
{
  StateWriter* const writer = data;
  const HrEvent event = {writer->header->tick, HR_EVENT_MIDI, size, bytes};
  if (!writer->status) {
    writer->status =
        apply_event(writer->drain, writer->header->branch, &event, writer->drain->author);
  }
}

/** Where a reset is all that has changed a channel, as hosts reset all of them when they locate, it
 * is one message instead of one for each thing that it sets. */
static void reset_channels(StateWriter* writer, HrChase* past, const HrChase* state)
{
  HrChase reset = *past;
  for (unsigned channel = 0; channel < 16; ++channel) {
    const uint8_t bytes[3] = {(uint8_t)(0xb0 | channel), 121, 0};
    HrChaseChannel* const from = &past->channels[channel];
    const HrChaseChannel* const to = &state->channels[channel];
    hr_chase_follow(&reset, bytes, sizeof bytes);
    if (memcmp(from, to, sizeof *to) && !memcmp(&reset.channels[channel], to, sizeof *to)) {
      append_state_message(writer, bytes, sizeof bytes);
      *from = *to;
    }
  }
}

/** Let a branch go on with what of the state is not in its past. Where that cannot be read it is
 * left out: no music is lost by it. */
static HrStatus apply_state(HrDrain* drain, const HrCaptureHeader* header)
{
  const uint8_t* const bytes = (const uint8_t*)(header + 1);
  const uint32_t number = rescue_of(drain->rescues.rescues, header->branch);
  StateWriter writer = {drain, header, HR_OK};
  HrChase past, state;
  if (drain->care) {
    return HR_OK;
  }
  const HrStatus status =
      hr_chase_at(drain->txn, hr_branch_id(drain->tree, number), header->tick + 1, &past);
  if (status) {
    return is_refusal(status) ? HR_OK : status;
  }
  hr_chase_init(&state);
  for (uint32_t at = 0, size; at < header->size; at += size) {
    size = (bytes[at] & 0xe0) == 0xc0 ? 2 : 3;
    hr_chase_follow(&state, bytes + at, size <= header->size - at ? size : 0);
  }
  hr_chase_end_notes(&past, &state, append_state_message, &writer); // Nobody holds them there
  reset_channels(&writer, &past, &state);
  hr_chase_send(&past, &state, append_state_message, &writer);
  return writer.status;
}

static HrStatus apply(HrDrain* drain, const HrRecord* record)
{
  const HrCaptureHeader* const header = (const HrCaptureHeader*)(record + 1);
  if (!hr_tick_valid(header->tick)) {
    ++drain->lost;
    return HR_OK;
  }
  if (drain->care == HR_FRESH_TREE) {
    drain->tree = 0;
  }
  const HrStatus status = drain->tree ? HR_OK : make_tree(drain);
  if (status) {
    return status;
  }
  const bool meta = record->type == HR_CAPTURE_META;
  const HrEvent event = event_of(meta ? HR_EVENT_META : HR_EVENT_MIDI, header);
  switch (record->type) {
  case HR_CAPTURE_MIDI:
  case HR_CAPTURE_META:
    return apply_event(drain, header->branch, &event, drain->author);
  case HR_CAPTURE_SENT:
    return apply_sent(drain, record);
  case HR_CAPTURE_STATE:
    return apply_state(drain, header);
  case HR_CAPTURE_FORK:
    return apply_fork(drain, record);
  case HR_CAPTURE_SWITCH:
    return apply_switch(drain, record);
  default:
    ++drain->lost;
    return HR_OK;
  }
}

/** Begin where the last batch ended, by what the store says: who applied that may have been
 * killed before it could note it in the ring. */
static HrStatus begin_after_last(HrDrain* drain)
{
  const uint8_t* const uuid = drain->binding->capture->file->uuid;
  HrCaptureRecord consumed = {0, 0};
  HrStatus status = hr_capture_get(drain->txn, uuid, &consumed);
  if (is_refusal(status)) {
    return HR_OK; // If it is damaged, rather some of it twice than none of it
  }
  if (!status && consumed.tree) {
    drain->tree = (HrTreeId)consumed.tree; // Made in the last breath of a dead process
  }
  if (!status && consumed.consumed > drain->from) {
    drain->from = consumed.consumed;
    status = hr_capture_get_rescues(drain->txn, uuid, &drain->rescues);
  }
  return is_refusal(status) ? HR_OK : status;
}

/** Say in the store how far the ring is applied, and where the rest of it goes that was to
 * go elsewhere. `rescues`: that was said before. */
static HrStatus note_applied(const HrDrain* drain, uint64_t position, bool rescues)
{
  const uint8_t* const uuid = drain->binding->capture->file->uuid;
  const HrCaptureRecord consumed = {position, drain->tree};
  const HrStatus status = hr_capture_put(drain->txn, uuid, &consumed);
  return status || !(rescues || any_rescues(&drain->rescues))
             ? status
             : hr_capture_put_rescues(drain->txn, uuid, &drain->rescues);
}

/** Step over what is no record, and count what it hides: as many short events as there is room
 * for, one at least. */
static void step_over(HrDrain* drain, uint64_t* position)
{
  const uint64_t event = hr_record_bytes(sizeof(HrCaptureHeader) + 3);
  const uint64_t begin = *position;
  hr_capture_step_over(drain->binding->capture, position, drain->until);
  const uint64_t bytes = *position - begin;
  const bool known = bytes >= event && bytes <= HR_CAPTURE_CAPACITY; // Else a position is damaged
  drain->lost += known ? bytes / event : 1;
}

/** Apply what the ring held when the batch began. HR_END if that was nothing. */
static HrStatus apply_batch(HrDrain* drain)
{
  HrCapture* const capture = drain->binding->capture;
  HrStatus status = begin_after_last(drain);
  const bool rescues = any_rescues(&drain->rescues);
  const char* const author = hr_name_valid(capture->file->author) ? capture->file->author : "midi";
  status = status ? status : hr_author_id(drain->txn, author, &drain->author);

  uint64_t position = drain->from;
  uint32_t count = 0;
  drain->astray = drain->care != HR_AS_TOLD;
  drain->taken = position;
  while (!status && count < BATCH_RECORDS && position < drain->until) {
    const uint64_t begin = position;
    const HrRecord* const record = hr_ring_next(&capture->ring, &position);
    if (record && hr_capture_is_whole(record)) {
      status = apply(drain, record);
    } else {
      position = begin;
      step_over(drain, &position);
    }
    drain->refused = is_refusal(status);
    drain->taken = status ? drain->taken : position;
    drain->care = HR_AS_TOLD;
    ++count;
  }
  status = status || !count ? status : note_applied(drain, position, rescues);
  drain->more = drain->cut || position < drain->until;
  drain->until = position;
  return status || count ? status : HR_END;
}

/** A batch, and what it was before it was filled. */
typedef struct {
  HrDrain* drain;
  HrDrain before;
} Attempt;

static HrStatus fill(void* data, HrTxn* txn)
{
  Attempt* const attempt = data;
  attempt->drain->txn = txn;
  return apply_batch(attempt->drain);
}

static void reset(void* data)
{
  Attempt* const attempt = data;
  *attempt->drain = attempt->before;
}

/** Make ready to try a batch again of which a record was refused: what comes before that
 * by itself, or else the record in the next way that there is. False if there is none. */
static bool step_aside(HrDrain* drain, const HrDrain* before)
{
  const uint64_t taken = drain->taken;
  const bool first = taken == drain->from;
  *drain = *before;
  if (!first) {
    drain->until = taken;
    drain->cut = true;
    return true;
  }
  drain->care = before->care + 1;
  return before->care < HR_FRESH_TREE;
}

HrStatus hr_drain_write(HrDrain* drain)
{
  HrStatus status;
  Attempt attempt = {.drain = drain};
  do {
    attempt.before = *drain;
    HrBatch batch = {.store = drain->binding->store,
                     .fill = fill,
                     .reset = reset,
                     .data = &attempt,
                     .bytes = drain->until - drain->from};
    status = hr_commit_together(&batch);
  } while (drain->refused && step_aside(drain, &attempt.before));
  return status;
}
