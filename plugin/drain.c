/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/apply.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/** How long an event may wait for its transaction: long enough to spare the disk.
 * On a slow disk less, so that the commit, which takes as long as the last one, is
 * done before the second is over that a power cut may cost. The worker looks every
 * tenth of a second, and may be late. */
#define COMMIT_INTERVAL_NS 700000000
#define COMMIT_END_NS      850000000

#define RETRY_INTERVAL_NS 1000000000

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
static void forget_applied(const HrDrain* drain)
{
  HrSession* const session = drain->session;
  uint64_t position = drain->from;
  uint32_t last = 0;
  const HrRecord* record;
  const HrCaptureHeader* header;
  while (position < drain->until &&
         (header = hr_capture_next(drain->binding->capture, &position, &record))) {
    if (record->type == HR_CAPTURE_FORK) {
      forget_pending_fork(drain->binding->capture->file, header->branch);
      note_fork(session);
      hr_prepared_forget(session->prepared, hr_branch_id(drain->tree, header->size));
    } else if (record->type != HR_CAPTURE_SWITCH && header->branch != last) {
      hr_prepared_forget(session->prepared, hr_branch_id(drain->tree, header->branch));
      last = header->branch;
    }
  }
  if (drain->rescued.number || drain->stepped || drain->astray || drain->lost) {
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
static void note_durable(const HrDrain* drain)
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
static void drained(const HrDrain* drain)
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
  memcpy(binding->capture->file->rescues, &drain->rescues, sizeof drain->rescues);
  hr_ring_release(&binding->capture->ring, drain->until);
  binding->rescued += drain->saved;
  binding->lost += drain->lost;
  if (session) {
    session->counts.rescued += drain->saved;
    session->counts.lost += drain->lost;
    note_durable(drain);
  }
  if (session && binding == &session->binding && drain->branch) {
    session->branch = drain->branch;
    binding->capture->file->branch = hr_branch_number(drain->branch);
  }
  if (session && drain->rescued.number && drain->tree == session->binding.tree) {
    hr_rescue_remember(session->binding.capture->file->rescues, drain->rescued.number,
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
  HrDrain drain = {.session = session,
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
  memcpy(&drain.rescues, binding->capture->file->rescues, sizeof drain.rescues);
  if (session) {
    drain.wishes = session->wishes;
    if (binding == &session->binding) {
      note_look(session, drain.begun);
    }
    depth = hr_session_release(session);
  }
  const HrStatus status = hr_drain_write(&drain);
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
  walk->header =
      walk->capture ? hr_capture_next(walk->capture, &walk->position, &walk->record) : NULL;
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
  return status != HR_ERR_NOT_FOUND
             ? hr_advice(status)
             : "The file was moved, deleted or replaced. Put it back, or all of it is written anew "
               "in a moment.";
}

void hr_session_note_failure(HrSession* session, HrStatus status)
{
  HrError error;
  const char* const advice = advice_for(status);
  hr_error(&error, status,
           "Cannot write to %s: %s. What is played is kept in memory and written as soon as it "
           "works again.%s%s",
           hr_store_path(session->binding.store), hr_strerror(status), *advice ? " " : "", advice);
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
  uint64_t lost;
} Recovery;

static void drain_orphan(void* data, HrCapture* capture)
{
  Recovery* const recovery = data;
  HrBinding binding = {.capture = capture, .store = recovery->store, .tree = capture->file->tree};
  const HrStatus status = hr_binding_drain(NULL, &binding);
  recovery->events += binding.rescued;
  recovery->lost += binding.lost;
  if (!status && !unlink(capture->path)) {
    forget_ring(recovery->store, capture->file->uuid);
  }
}

uint64_t hr_session_recover(HrStore* store, uint64_t* lost)
{
  Recovery recovery = {store, 0, 0};
  if (!hr_store_read_only(store)) {
    hr_capture_each_orphan(store, drain_orphan, &recovery);
  }
  if (lost) {
    *lost = recovery.lost;
  }
  return recovery.events;
}
