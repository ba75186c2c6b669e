/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/commit_group.h"
#include "plugin/session_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/** How long an event may wait for its transaction: long enough to spare the disk.
 * On a slow disk less, so that the commit, which takes as long as the last one, is
 * done before the second is over that a power cut may cost. The worker looks every
 * tenth of a second, and may be late. */
#define COMMIT_INTERVAL_NS 700000000
#define COMMIT_END_NS      850000000

/** Records in one transaction, so that none holds the writer's lock for long. */
#define BATCH_RECORDS 50000u

#define RETRY_INTERVAL_NS 1000000000

/** What becomes of a record that the store refused, as what it needs there is damaged or
 * missing: the next of these. */
typedef enum {
  AS_TOLD,
  RESCUED,    ///< On a fork of what can be read of the tree; a switch is passed over
  FRESH_TREE, ///< On a tree of its own, with all that follows
} Care;

/** One ring's records on their way into one transaction, which is done without
 * the session's lock: what it takes from the session is a copy, and what becomes
 * of it is the session's when the transaction is committed. */
typedef struct {
  HrSession* session; ///< NULL for a dead process' ring
  HrBinding* binding;
  uint64_t from, until; ///< Positions in the ring: applied after the commit, and known of before it
  HrPendingFork pending_forks[HR_PENDING_FORKS];
  uint64_t messages; ///< What came of these messages to the engine is before `until`
  HrWishes wishes;
  HrRescue rescues[HR_RESCUES]; ///< As in the ring's file

  HrTxn* txn;
  HrTreeId tree;
  uint32_t author;
  HrBranchId branch; ///< Current after the last FORK or SWITCH; 0: unchanged
  bool tree_changed;
  bool stepped;     ///< Back or forth: a branch may have been hidden or restored
  Care care;        ///< For the first record
  bool astray;      ///< The first record did not go where it was to
  bool refused;     ///< The store could not take the record at `taken`: those before it, it could
  uint64_t taken;   ///< Position up to which the store took what the ring holds
  bool cut;         ///< `until` was moved back to before a record that was refused
  bool more;        ///< The transaction had room for no more
  int64_t begun;    ///< When `until` was read: what waits beyond it is younger
  uint64_t saved;   ///< Events rescued: all of a dead process' ring
  HrRescue rescued; ///< The last rescue; number 0: none
} Drain;

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

/** From now on events for `number` go to `fork`; to itself: no longer. What was rescued
 * longest ago is forgotten for it. */
static void remember_rescue(HrRescue rescues[HR_RESCUES], uint32_t number, uint32_t fork)
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

/** The next whole record of a ring, in which nothing else is to be expected. */
static const HrCaptureHeader* next_record(const HrCapture* capture, uint64_t* position,
                                          const HrRecord** record)
{
  while ((*record = hr_ring_next(&capture->ring, position))) {
    if ((*record)->size >= sizeof(HrCaptureHeader)) {
      return (const HrCaptureHeader*)(*record + 1);
    }
  }
  return NULL;
}

/** The numbers to set aside in a tree for those who play there. One that stands in for
 * another is for all that are known from that: none must be given away a second time. */
static uint32_t count_numbers(const Drain* drain)
{
  uint32_t highest = drain->session ? drain->session->numbers.end : 1;
  uint64_t position = drain->from;
  const HrRecord* record;
  const HrCaptureHeader* header;
  if (drain->care != FRESH_TREE) {
    return HR_NUMBERS_RESERVED;
  }
  while ((header = next_record(drain->binding->capture, &position, &record))) {
    highest = header->branch > highest ? header->branch : highest;
  }
  return highest < UINT32_MAX - HR_NUMBERS_RESERVED ? highest + HR_NUMBERS_RESERVED
                                                    : HR_NUMBERS_RESERVED;
}

/** Make the tree that a ring of a new instance waits for. */
static HrStatus make_tree(Drain* drain)
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
  memset(drain->rescues, 0, sizeof drain->rescues); // They were of another tree
  return status ? status : hr_tree_reserve(drain->txn, drain->tree, count_numbers(drain), &first);
}

/** The branch `number`, or the tree's first if it cannot be read. */
static HrStatus find_readable(const Drain* drain, uint32_t number, HrBranchId* id)
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
static const char* name_astray(const Drain* drain)
{
  return drain->care == RESCUED ? "rescued" : NULL;
}

/** An event that its branch cannot take any more, as when two programs play on
 * it, goes to a fork of it: nothing is lost. */
static HrStatus rescue(Drain* drain, uint32_t number, const HrEvent* event,
                       const HrAppendOptions* options)
{
  HrBranchId from = 0;
  HrBranchId fork;
  HrStatus status = find_readable(drain, number, &from);
  const HrForkOptions fork_options = {
      .name = name_astray(drain), .author = drain->author, .go_there = true};
  status = status ? status : hr_branch_fork(drain->txn, from, event->tick, &fork_options, &fork);
  if (!status) {
    remember_rescue(drain->rescues, number, hr_branch_number(fork));
    drain->rescued = (HrRescue){number, hr_branch_number(fork)};
    drain->branch = fork;
    drain->tree_changed = true;
    status = hr_append(drain->txn, fork, event, options);
  }
  return status;
}

static HrStatus apply_event(Drain* drain, HrEventKind kind, const HrCaptureHeader* header,
                            uint32_t author)
{
  const HrAppendOptions options = {
      .author = author,
      .wall_clock_ns = drain->session ? 0 : drain->binding->capture->file->wall_clock_ns};
  const HrEvent event = {header->tick, kind, header->size, (const uint8_t*)(header + 1)};
  const uint32_t number = rescue_of(drain->rescues, header->branch);
  const HrBranchId branch = hr_branch_id(drain->tree, number);
  HrStatus status = HR_ERR_PAST;
  if (drain->care != RESCUED) {
    status = hr_append(drain->txn, branch, &event, &options);
    if (status == HR_ERR_PAST) { // Another instance forked at its end, which moved it by a tick
      HrEvent later = event;
      ++later.tick;
      status = hr_append(drain->txn, branch, &later, &options);
    }
  }
  const bool parted = status == HR_ERR_PAST || status == HR_ERR_NOT_FOUND;
  const bool saved = parted || number != header->branch || !drain->session;
  drain->saved += kind == HR_EVENT_MIDI && saved;
  return parted ? rescue(drain, number, &event, &options) : status;
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
static HrStatus apply_fork(Drain* drain, const HrRecord* record)
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
  HrBranchId from = hr_branch_id(drain->tree, rescue_of(drain->rescues, header->size));
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

/** A switch leads to the branch itself, whatever was rescued from it before:
 * the engine was told anew where that branch ends. */
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

static HrStatus apply_switch(Drain* drain, const HrRecord* record)
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
  remember_rescue(drain->rescues, header->branch, header->branch);
  drain->stepped |= cause.kind == HR_CAUSE_UNDO || cause.kind == HR_CAUSE_REDO;
  drain->tree_changed |= drain->stepped;
  drain->branch = hr_branch_id(drain->tree, header->branch);
  return status ? status : hr_note_switch(drain->txn, drain->branch, header->tick, &cause, author);
}

/** Append what somebody sent, as theirs. */
static HrStatus apply_sent(Drain* drain, const HrRecord* record)
{
  const HrCaptureHeader* const header = (const HrCaptureHeader*)(record + 1);
  const size_t size = record->size - sizeof *header - header->size;
  uint32_t author = drain->author;
  char name[HR_NAME_MAX + 1];
  snprintf(name, sizeof name, "%.*s", (int)size, (const char*)(header + 1) + header->size);
  const HrStatus status = hr_name_valid(name) ? hr_author_id(drain->txn, name, &author) : HR_OK;
  return status ? status : apply_event(drain, HR_EVENT_MIDI, header, author);
}

static HrStatus apply(Drain* drain, const HrRecord* record)
{
  const HrCaptureHeader* const header = (const HrCaptureHeader*)(record + 1);
  if (record->size < sizeof *header) {
    return HR_OK;
  }
  if (drain->care == FRESH_TREE) {
    drain->tree = 0;
  }
  const HrStatus status = drain->tree ? HR_OK : make_tree(drain);
  if (status) {
    return status;
  }
  const bool whole = header->size && record->size - sizeof *header >= header->size;
  switch (record->type) {
  case HR_CAPTURE_MIDI:
    return whole ? apply_event(drain, HR_EVENT_MIDI, header, drain->author) : HR_OK;
  case HR_CAPTURE_META:
    return whole ? apply_event(drain, HR_EVENT_META, header, drain->author) : HR_OK;
  case HR_CAPTURE_SENT:
    return whole ? apply_sent(drain, record) : HR_OK;
  case HR_CAPTURE_FORK:
    return apply_fork(drain, record);
  case HR_CAPTURE_SWITCH:
    return apply_switch(drain, record);
  default:
    return HR_OK;
  }
}

/** Apply what the ring held when the batch began. HR_END if that was nothing. */
static HrStatus apply_batch(Drain* drain)
{
  HrCapture* const capture = drain->binding->capture;
  HrCaptureRecord consumed = {0, 0};
  HrStatus status = hr_capture_get(drain->txn, capture->file->uuid, &consumed);
  if (is_refusal(status)) {
    status = HR_OK; // If it is damaged, rather some of it twice than none of it
  } else if (!status && consumed.tree) {
    drain->tree = (HrTreeId)consumed.tree; // Made in the last breath of a dead process
  }
  drain->from = consumed.consumed > drain->from ? consumed.consumed : drain->from;
  const char* const author = hr_name_valid(capture->file->author) ? capture->file->author : "midi";
  status = status ? status : hr_author_id(drain->txn, author, &drain->author);

  uint64_t position = drain->from;
  uint32_t count = 0;
  const HrRecord* record = NULL;
  drain->astray = drain->care != AS_TOLD;
  drain->taken = position;
  while (!status && count < BATCH_RECORDS && position < drain->until &&
         (record = hr_ring_next(&capture->ring, &position))) {
    status = apply(drain, record);
    drain->refused = is_refusal(status);
    drain->taken = status ? drain->taken : position;
    drain->care = AS_TOLD;
    ++count;
  }
  consumed = (HrCaptureRecord){position, drain->tree};
  status = status || !count ? status : hr_capture_put(drain->txn, capture->file->uuid, &consumed);
  drain->more = drain->cut || (record && position < drain->until);
  drain->until = position;
  return status || count ? status : HR_END;
}

/** A batch, and what it was before it was filled. */
typedef struct {
  Drain* drain;
  Drain before;
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
static bool step_aside(Drain* drain, const Drain* before)
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
  return before->care < FRESH_TREE;
}

/** Apply what the ring held when the batch began, and commit it, with the batches of
 * other instances. On failure nothing has changed. */
static HrStatus write_batch(Drain* drain)
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

static void forget_pending_fork(HrCaptureFile* file, uint32_t number)
{
  for (unsigned i = 0; i < HR_PENDING_FORKS; ++i) {
    if (file->pending_forks[i].number == number) {
      file->pending_forks[i].number = 0;
    }
  }
}

/** The engine could not make a fork: its record found no room in the ring. */
static void tell_failed_fork(HrSession* session, const char* name)
{
  HrError error;
  hr_error(&error, HR_ERR_LIMIT,
           "The fork%s%s was not made, as there was no room to note it: what was played since is "
           "on the branch before. Fork again.",
           *name ? " " : "", name);
  hr_session_set_trouble(session, &error);
  session->fork_failed = true;
}

/** Of the forks that the engine has heard of, those that are not in the ring by now never
 * will be. What it did with the messages before `messages` is drained. */
static void forget_failed_forks(HrSession* session, HrBinding* binding, uint64_t messages)
{
  HrPendingFork* const pending = binding->capture->file->pending_forks;
  for (unsigned i = 0; i < HR_PENDING_FORKS; ++i) {
    if (pending[i].number && binding->forks_sent[i] <= messages) {
      pending[i].number = 0;
      tell_failed_fork(session, pending[i].name);
    }
  }
}

/** What the engine has done by now with what it was sent is in its rings. */
static uint64_t messages_done(const HrSession* session)
{
  return atomic_load_explicit(&session->engine->shared.messages_done, memory_order_acquire);
}

static void note_fork(HrSession* session)
{
  if (session->fork_failed && session->trouble.status == HR_ERR_LIMIT) {
    hr_session_set_trouble(session, NULL);
  }
  session->fork_failed = false;
}

/** What is prepared for the branches in a batch is not true any more, and the
 * names of its forks are given. */
static void forget_applied(const Drain* drain)
{
  HrSession* const session = drain->session;
  uint64_t position = drain->from;
  uint32_t last = 0;
  const HrRecord* record;
  const HrCaptureHeader* header;
  while (position < drain->until &&
         (header = next_record(drain->binding->capture, &position, &record))) {
    if (record->type == HR_CAPTURE_FORK) {
      forget_pending_fork(drain->binding->capture->file, header->branch);
      note_fork(session);
      hr_prepared_forget(session->prepared, hr_branch_id(drain->tree, header->size));
    } else if (record->type != HR_CAPTURE_SWITCH && header->branch != last) {
      hr_prepared_forget(session->prepared, hr_branch_id(drain->tree, header->branch));
      last = header->branch;
    }
  }
  if (drain->rescued.number || drain->stepped || drain->astray) {
    hr_prepared_forget(session->prepared, 0);
  }
}

/** What comes into the ring from now on was played after this. */
static void note_look(HrSession* session, int64_t now)
{
  session->looked_at = now;
  session->looked_frames = atomic_load(&session->engine->shared.frames);
}

/** When what has come into the ring since the last look was played at the
 * earliest: in one of the blocks since then, which may have begun long after it. */
static int64_t oldest_since(const HrSession* session, int64_t now)
{
  const uint64_t frames = atomic_load(&session->engine->shared.frames) - session->looked_frames;
  const int64_t blocks = now - (int64_t)((double)frames * 1e9 / session->engine->clock.rate);
  return blocks > session->looked_at ? blocks : session->looked_at;
}

/** How long the oldest event of a batch waited, and since when what came meanwhile does. */
static void note_durable(const Drain* drain)
{
  HrSession* const session = drain->session;
  HrBinding* const binding = drain->binding;
  const int64_t now = hr_monotonic_ns();
  const int64_t waited = now - (binding->since ? binding->since : drain->begun);
  /* Sometimes the commit of other instances comes first, sometimes not: after a long one, a
   * short one is not believed at once. */
  const bool known = session->commit_ns != HR_COMMIT_SLOW_NS;
  const int64_t before = known ? session->commit_ns - session->commit_ns / 8 : 0;
  const int64_t took = now - drain->begun;
  session->commit_ns = took > before ? took : before;
  session->counts.longest_ns =
      waited > session->counts.longest_ns ? waited : session->counts.longest_ns;
  binding->since = hr_ring_used(&binding->capture->ring) ? drain->begun : 0;
}

/** Something was put elsewhere than where it was played, and why. */
static void tell_astray(HrSession* session, const HrStore* store)
{
  HrError error;
  hr_error(&error, HR_ERR_DAMAGED,
           "Something in %.110s cannot be read. What was to go there is on a branch or a tree of "
           "its own, and recording goes on. `halfremembered verify` says what is damaged.",
           hr_store_path(store));
  hr_session_set_trouble(session, &error);
}

/** The store takes writes, again perhaps. */
static void note_success(HrSession* session, const HrBinding* binding)
{
  if (session->writing_fails && binding == &session->binding) {
    session->writing_fails = false;
    hr_session_set_trouble(session, NULL);
  }
}

/** After a commit: what the session knows of its branch moves on. */
static void drained(const Drain* drain)
{
  HrSession* const session = drain->session;
  HrBinding* const binding = drain->binding;
  if (drain->tree != binding->tree) {
    binding->tree = drain->tree;
    hr_capture_bind(binding->capture, binding->store, drain->tree);
  }
  if (session) {
    note_success(session, binding);
    forget_applied(drain);
    if (!drain->more) {
      forget_failed_forks(session, binding, drain->messages);
    }
  }
  memcpy(binding->capture->file->rescues, drain->rescues, sizeof drain->rescues);
  hr_ring_release(&binding->capture->ring, drain->until);
  binding->rescued += drain->saved;
  if (session) {
    session->counts.rescued += drain->saved;
    note_durable(drain);
  }
  if (session && binding == &session->binding && drain->branch) {
    session->branch = drain->branch;
    binding->capture->file->branch = hr_branch_number(drain->branch);
  }
  if (session && drain->rescued.number && drain->tree == session->binding.tree) {
    remember_rescue(session->binding.capture->file->rescues, drain->rescued.number,
                    drain->rescued.fork); // It may have been of a ring that was left
    hr_session_send(session, HR_MESSAGE_RESCUE, &drain->rescued, sizeof drain->rescued);
  }
  if (session && drain->tree_changed) {
    hr_session_touch_tree(session);
  }
  if (session && drain->astray) {
    tell_astray(session, binding->store);
  }
}

/** One transaction's worth. `*more` says that the ring held more than that. */
static HrStatus drain_batch(HrSession* session, HrBinding* binding, bool* more)
{
  const HrRing* const ring = &binding->capture->ring;
  const uint64_t messages = session ? messages_done(session) : 0; // Before `until` is read
  Drain drain = {.session = session,
                 .binding = binding,
                 .messages = messages,
                 .begun = hr_monotonic_ns(),
                 .from = hr_ring_read_position(ring),
                 .until = hr_ring_write_position(ring),
                 .tree = binding->tree};
  unsigned depth = 0;
  /* The name of a fork, and the author of a switch, are known before the engine
   * hears of it, so that none before `until` is missing. */
  memcpy(drain.pending_forks, binding->capture->file->pending_forks, sizeof drain.pending_forks);
  memcpy(drain.rescues, binding->capture->file->rescues, sizeof drain.rescues);
  if (session) {
    drain.wishes = session->wishes;
    if (binding == &session->binding) {
      note_look(session, drain.begun);
    }
    depth = hr_session_release(session);
  }
  const HrStatus status = write_batch(&drain);
  if (session) {
    hr_session_retake(session, depth);
    session->counts.failed_commits += status != HR_OK;
  }
  if (!status) {
    drained(&drain);
  }
  *more = drain.more;
  return status;
}

HrStatus hr_binding_drain(HrSession* session, HrBinding* binding)
{
  bool more = true;
  HrStatus status = HR_OK;
  while (!status && more && hr_ring_used(&binding->capture->ring)) {
    status = binding->store ? drain_batch(session, binding, &more) : HR_ERR_BUSY;
  }
  return status;
}

/* ---- What waits ---------------------------------------------------------- */

/** Walks through what the session's ring holds. */
typedef struct {
  const HrCapture* capture;
  uint64_t position;
  const HrRecord* record;
  const HrCaptureHeader* header;
} Walk;

static Walk begin_walk(const HrSession* session)
{
  const HrCapture* const capture = session->binding.capture;
  return (Walk){.capture = capture,
                .position = capture ? hr_ring_read_position(&capture->ring) : 0};
}

static bool step(Walk* walk)
{
  walk->header = walk->capture ? next_record(walk->capture, &walk->position, &walk->record) : NULL;
  return walk->header != NULL;
}

HrBranchId hr_session_current(const HrSession* session)
{
  HrBranchId current = session->branch;
  for (Walk walk = begin_walk(session); step(&walk);) {
    if (walk.record->type == HR_CAPTURE_FORK || walk.record->type == HR_CAPTURE_SWITCH) {
      current = hr_branch_id(session->binding.tree, walk.header->branch);
    }
  }
  return current;
}

bool hr_session_fork_waits(const HrSession* session)
{
  bool waits = false;
  for (Walk walk = begin_walk(session); !waits && step(&walk);) {
    waits = walk.record->type == HR_CAPTURE_FORK;
  }
  return waits;
}

bool hr_session_follow_ring(const HrSession* session, HrTarget* target)
{
  const HrCapture* const capture = session->binding.capture;
  return capture &&
         hr_recorder_follow(&capture->ring, hr_ring_read_position(&capture->ring), target);
}

/** Is there a fork or a switch among what came since the last look? */
static bool structure_waits(HrSession* session)
{
  const HrRing* const ring = &session->binding.capture->ring;
  const HrRecord* record;
  if (session->scanned < hr_ring_read_position(ring)) {
    session->scanned = hr_ring_read_position(ring);
  }
  while ((record = hr_ring_next(ring, &session->scanned))) {
    if (record->type == HR_CAPTURE_FORK || record->type == HR_CAPTURE_SWITCH) {
      return true;
    }
  }
  return false;
}

static bool commit_is_due(HrSession* session, int64_t now)
{
  const uint64_t used = hr_ring_used(&session->binding.capture->ring);
  const int64_t wait = COMMIT_END_NS - session->commit_ns;
  return structure_waits(session) || used > HR_CAPTURE_CAPACITY / 8 ||
         now - session->binding.since >= (wait < COMMIT_INTERVAL_NS ? wait : COMMIT_INTERVAL_NS);
}

/** What to do about a store that takes no writes. */
static const char* advice_for(HrStatus status)
{
  switch (status) {
  case HR_ERR_NO_SPACE:
    return ": free some space on the disk";
  case HR_ERR_NOT_FOUND:
    return ": the file was moved, deleted or replaced. Put it back, or all of it is written anew "
           "in "
           "a moment";
  default:
    return "";
  }
}

void hr_session_note_failure(HrSession* session, HrStatus status)
{
  HrError error;
  hr_error(&error, status,
           "Cannot write to %s: %s. What is played is kept in memory and written as soon as it "
           "works again%s.",
           hr_store_path(session->binding.store), hr_strerror(status), advice_for(status));
  session->retry_at = hr_monotonic_ns() + RETRY_INTERVAL_NS;
  session->writing_fails = true;
  if (status != HR_ERR_NOT_FOUND || !session->store_lost) { // Else more was said already
    hr_session_set_trouble(session, &error);
  }
}

HrStatus hr_session_drain(HrSession* session, bool now)
{
  HrBinding* const binding = &session->binding;
  const int64_t time = hr_monotonic_ns();
  /* Looked at before the rings that the engine has left: what it holds now is
   * younger than all that is in them, and may be for the same branch. */
  const uint64_t messages = binding->capture ? messages_done(session) : 0;
  const bool waits = binding->capture && hr_ring_used(&binding->capture->ring);
  hr_session_drain_retired(session, false);
  if (!binding->capture || !binding->store) {
    return binding->capture ? HR_ERR_BUSY : HR_OK;
  }
  binding->capture->file->wall_clock_ns = hr_wall_clock_ns();
  if (!waits) {
    forget_failed_forks(session, binding, messages);
    binding->since = 0;
    note_look(session, time);
    return HR_OK;
  }
  if (!binding->since) {
    binding->since = oldest_since(session, time);
  }
  if (!now &&
      (!commit_is_due(session, time) || (session->writing_fails && time < session->retry_at))) {
    return HR_OK;
  }
  const HrStatus status = hr_binding_drain(session, binding);
  if (status) {
    hr_session_note_failure(session, status);
    return status;
  }
  hr_session_touch(session);
  return HR_OK;
}

/** Have the store forget how far a ring was drained: only when its file is gone. */
static void forget_ring(HrStore* store, const uint8_t uuid[16])
{
  HrTxn* txn = NULL;
  if (!hr_txn_begin(store, HR_WRITE, &txn)) {
    if (hr_capture_delete(txn, uuid)) {
      hr_txn_abort(txn);
    } else {
      hr_txn_commit(txn);
    }
  }
}

/** Free a ring that is empty and written to by nobody. */
static void free_binding(HrSession* session, HrBinding* binding, bool remove)
{
  uint8_t uuid[16];
  const unsigned depth = hr_session_release(session);
  memcpy(uuid, binding->capture->file->uuid, sizeof uuid);
  const bool known = binding->tree != 0;
  hr_capture_free(binding->capture, remove);
  if (remove && known && binding->store) {
    forget_ring(binding->store, uuid);
  }
  hr_store_close(binding->store);
  hr_session_retake(session, depth);
}

void hr_session_drain_retired(HrSession* session, bool engine_is_done)
{
  unsigned kept = 0;
  for (unsigned i = 0; i < session->retired_count; ++i) {
    HrBinding* const binding = &session->retired[i];
    HrCapture* const in_use =
        atomic_load_explicit(&session->engine->shared.capture, memory_order_acquire);
    /* The engine reaches the newest ring through every one before it. */
    const bool left = engine_is_done || in_use == session->binding.capture;
    if (!binding->store && session->binding.store && hr_ring_used(&binding->capture->ring) &&
        !hr_session_open_store(session, hr_store_path(session->binding.store), 0, &binding->store,
                               NULL)) {
      hr_capture_bind(binding->capture, binding->store, 0);
    }
    const bool empty = !hr_binding_drain(session, binding);
    if (left && (empty || engine_is_done)) {
      free_binding(session, binding, empty);
    } else {
      session->retired[kept++] = *binding;
    }
  }
  session->retired_count = kept;
}

typedef struct {
  HrStore* store;
  uint64_t events;
} Recovery;

static void drain_orphan(void* data, HrCapture* capture)
{
  Recovery* const recovery = data;
  HrBinding binding = {.capture = capture, .store = recovery->store, .tree = capture->file->tree};
  const HrStatus status = hr_binding_drain(NULL, &binding);
  recovery->events += binding.rescued;
  if (!status && !unlink(capture->path)) {
    forget_ring(recovery->store, capture->file->uuid);
  }
}

uint64_t hr_session_recover(HrStore* store)
{
  Recovery recovery = {store, 0};
  if (!hr_store_read_only(store)) {
    hr_capture_each_orphan(store, drain_orphan, &recovery);
  }
  return recovery.events;
}
