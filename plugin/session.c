/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/session_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/** The host is taken to run the plugin if it did so within this time. */
#define RUNNING_NS 500000000

/** How long the engine may take to hear of what it is sent: the longest block of any
 * host, 8192 frames, takes 186 ms at 44.1 kHz. And how often to look whether it has,
 * or whether a mutex is free. */
#define ANSWER_NS 200000000
#define LOOK_NS   500000

/** The host's worker is taken to do the work if it did some within this time. */
#define WORKER_NS 300000000

/** Whoever holds the mutex for longer hangs in a page that its disk does not give. */
#define HANG_NS INT64_C(10000000000)

static pthread_mutex_t numbers_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t numbers_taken[16]; ///< Bits: session numbers in use, from 1

static uint32_t take_number(void)
{
  uint32_t number = 0;
  pthread_mutex_lock(&numbers_lock);
  for (uint32_t i = 0; !number && i < 64 * 16; ++i) {
    if (!(numbers_taken[i / 64] & (uint64_t)1 << i % 64)) {
      numbers_taken[i / 64] |= (uint64_t)1 << i % 64;
      number = i + 1;
    }
  }
  pthread_mutex_unlock(&numbers_lock);
  return number;
}

static void give_back_number(uint32_t number)
{
  pthread_mutex_lock(&numbers_lock);
  if (number) {
    numbers_taken[(number - 1) / 64] &= ~((uint64_t)1 << (number - 1) % 64);
  }
  pthread_mutex_unlock(&numbers_lock);
}

void hr_session_lock(HrSession* session)
{
  pthread_mutex_lock(&session->lock);
  ++session->depth;
}

static bool lock_in_time(HrSession* session)
{
  const int64_t until = hr_monotonic_ns() + HANG_NS;
  while (pthread_mutex_trylock(&session->lock)) {
    if (hr_monotonic_ns() >= until) {
      return false;
    }
    nanosleep(&(struct timespec){0, LOOK_NS}, NULL);
  }
  ++session->depth;
  return true;
}

void hr_session_unlock(HrSession* session)
{
  --session->depth;
  pthread_mutex_unlock(&session->lock);
}

void hr_session_lock_writing(HrSession* session)
{
  pthread_mutex_lock(&session->writing);
  hr_session_lock(session);
}

void hr_session_unlock_writing(HrSession* session)
{
  hr_session_unlock(session);
  pthread_mutex_unlock(&session->writing);
}

unsigned hr_session_release(HrSession* session)
{
  const unsigned depth = session->depth;
  for (unsigned i = 0; i < depth; ++i) {
    hr_session_unlock(session);
  }
  return depth;
}

void hr_session_retake(HrSession* session, unsigned depth)
{
  for (unsigned i = 0; i < depth; ++i) {
    hr_session_lock(session);
  }
}

HrStatus hr_session_begin(HrSession* session, HrTxn** txn)
{
  const unsigned depth = hr_session_release(session);
  const HrStatus status = hr_txn_begin(session->binding.store, HR_WRITE, txn);
  hr_session_retake(session, depth);
  session->counts.failed_commits += status != HR_OK;
  return status;
}

HrStatus hr_session_commit(HrSession* session, HrTxn* txn)
{
  const unsigned depth = hr_session_release(session);
  const HrStatus status = hr_txn_commit(txn);
  hr_session_retake(session, depth);
  session->counts.failed_commits += status != HR_OK;
  return status;
}

HrStatus hr_session_open_store(HrSession* session, const char* path, unsigned flags,
                               HrStore** store, HrError* error)
{
  const unsigned depth = hr_session_release(session);
  const HrStatus status = hr_store_open(path, flags, store, error);
  hr_session_retake(session, depth);
  return status;
}

void hr_session_close_store(HrSession* session, HrStore* store)
{
  const unsigned depth = hr_session_release(session);
  hr_store_close(store);
  hr_session_retake(session, depth);
}

void hr_session_touch(HrSession* session)
{
  session->revision += 1;
  if (session->changed) {
    session->changed(session->changed_data);
  }
}

void hr_session_touch_tree(HrSession* session)
{
  session->tree_revision += 1;
  hr_session_touch(session);
}

void hr_session_set_trouble(HrSession* session, const HrError* error)
{
  static const HrError none = {HR_OK, ""};
  const HrError* const now = error ? error : &none;
  if (now->status != session->trouble.status || strcmp(now->text, session->trouble.text)) {
    session->trouble = *now;
    hr_session_touch(session);
  }
}

HrSession* hr_session_new(HrEngine* engine, HrError* error)
{
  HrSession* const session = calloc(1, sizeof *session);
  HrPrepared* const prepared = session && engine ? hr_prepared_new() : NULL;
  pthread_mutexattr_t attributes;
  if (!session || (engine && !prepared)) {
    free(session);
    hr_error(error, HR_ERR_NO_MEMORY, "Out of memory.");
    return NULL;
  }
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
  pthread_mutex_init(&session->writing, &attributes);
  pthread_mutex_init(&session->lock, &attributes);
  pthread_mutexattr_destroy(&attributes);
  session->engine = engine;
  session->prepared = prepared;
  session->number = take_number();
  memcpy(session->settings, hr_setting_defaults, sizeof session->settings);
  session->quantum = HR_QUANTUM_BAR;
  session->quantum_bars = 1;
  session->commit_ns = HR_COMMIT_SLOW_NS;
  return session;
}

/** At the very end, what was played while the wanted store could not be opened
 * goes to the default one: shared memory does not survive the machine's night. */
static void settle_for_default_store(HrSession* session)
{
  HrBinding* const binding = &session->binding;
  char path[4096];
  if (!binding->store && hr_ring_used(&binding->capture->ring) &&
      !hr_store_default_path(path, sizeof path) &&
      !hr_session_open_store(session, path, HR_STORE_CREATE, &binding->store, NULL)) {
    hr_capture_bind(binding->capture, binding->store, 0);
  }
}

void hr_session_free(HrSession* session)
{
  if (!session) {
    return;
  }
  hr_session_lock_writing(session);
  if (session->binding.capture) {
    hr_engine_finish(session->engine);
    settle_for_default_store(session);
    hr_session_save_lost_store(session);
    hr_session_drain(session, true);
    hr_session_give_back_numbers(session);
    session->retired[session->retired_count++] = session->binding;
    hr_session_drain_retired(session, true);
  } else {
    hr_session_close_store(session, session->binding.store);
  }
  hr_session_unlock_writing(session);
  give_back_number(session->number);
  pthread_mutex_destroy(&session->lock);
  pthread_mutex_destroy(&session->writing);
  hr_prepared_free(session->prepared);
  hr_timeline_free(&session->bars.timeline);
  free(session);
}

HrStatus hr_session_send(HrSession* session, uint32_t type, const void* payload, uint32_t size)
{
  if (!session->engine) {
    return HR_OK;
  }
  void* const room = hr_ring_begin(session->engine->messages, type, size);
  if (!room) {
    return HR_ERR_BUSY;
  }
  if (size) {
    memcpy(room, payload, size);
  }
  hr_ring_end(session->engine->messages);
  if (type == HR_MESSAGE_GO || type == HR_MESSAGE_ATTACH) {
    session->move_sent = hr_ring_write_position(session->engine->messages);
  }
  return HR_OK;
}

/* ---- Work ------------------------------------------------------------- */

/** The music of `branch` is complete in the store. */
static bool is_drained(const HrSession* session, HrBranchId branch)
{
  HrTarget target = {.number = hr_branch_number(branch)};
  return !hr_session_fork_waits(session) && !hr_session_follow_ring(session, &target);
}

static void answer_stream_request(HrSession* session, const HrStreamRequest* request)
{
  HrStreamMessage message = {
      .wish = request->wish,
      .request = request->request,
      .stream = {.tick = request->tick, .at = request->at, .loop = request->loop}};
  const bool ahead = request->wish == HR_WISH_AHEAD;
  HrBranchId branch = hr_branch_id(session->binding.tree, request->branch);
  if (!session->binding.store) {
    return; // Nothing can be read yet
  }
  if (!session->binding.tree || !is_drained(session, branch)) {
    hr_session_drain(session, true);
    branch = hr_branch_id(session->binding.tree, request->branch);
  }
  HrStatus status = hr_session_open_stream(session, branch, ahead, &message.stream);
  if (status == HR_ERR_NOT_FOUND && session->branch) { // Its music was put on a fork
    status = hr_session_open_stream(session, session->branch, ahead, &message.stream);
  }
  if (status) {
    return;
  }
  hr_session_send(session, HR_MESSAGE_STREAM, &message, sizeof message);
}

/** Nodes of a path that is read for its bars at a time: 4 MiB. */
#define BAR_COUNT_NODES 1024

static void begin_bar_count(HrSession* session, const HrBarsRequest* request)
{
  HrBarCount* const count = &session->bars;
  const HrBranchId branch = hr_branch_id(session->binding.tree, request->branch);
  hr_timeline_free(&count->timeline);
  if (!is_drained(session, branch)) {
    hr_session_drain(session, true);
  }
  *count = (HrBarCount){.open = session->binding.tree != 0,
                        .request = request->request,
                        .branch = branch,
                        .next = INT64_MIN,
                        .until = request->tick};
}

/** The meter that is told with the first note is that of the bars before as well: a branch may
 * fork in the middle of one, before anything is played. */
static HrStatus start_bar_count(HrBarCount* count, HrTxn* txn)
{
  HrTimelinePoint start = hr_timeline_origin();
  HrTick first = INT64_MAX;
  HrPath path;
  HrEvent event;
  HrStatus status = hr_path_open(txn, count->branch, INT64_MIN, &path);
  while (!status && !hr_path_next(&path, &event) && event.kind == HR_EVENT_META &&
         event.tick <= first) {
    hr_meta_apply(&start.tempo, event.bytes, event.size);
    first = event.tick;
  }
  hr_path_close(&path);
  return status ? status : hr_timeline_start(&count->timeline, &start);
}

/** Read some of the path, without the lock; at its end, tell the engine. */
static void count_bars(HrSession* session)
{
  HrBarCount* const count = &session->bars;
  HrTxn* txn = NULL;
  uint64_t damaged = 0;
  if (!count->open) {
    return;
  }
  const unsigned depth = hr_session_release(session);
  HrStatus status = hr_txn_begin(session->binding.store, HR_READ, &txn);
  status = status || count->timeline.count ? status : start_bar_count(count, txn);
  status = status ? status
                  : hr_timeline_read_some(&count->timeline, txn, count->branch, &count->next,
                                          count->until, BAR_COUNT_NODES, &damaged);
  hr_txn_abort(txn);
  hr_session_retake(session, depth);
  count->open = !status;
  if (status == HR_END) {
    const HrTimelinePoint there = hr_timeline_at(&count->timeline, count->until);
    const HrBarsMessage message = {count->request, there.tempo, there.bar_tick, there.bar - 1};
    hr_session_send(session, HR_MESSAGE_BARS, &message, sizeof message);
  }
  if (!count->open) {
    hr_timeline_free(&count->timeline);
  }
}

/** The engine has asked again since: it does not wait for this answer any more. */
static bool is_outdated(const HrRing* ring, uint64_t position, const HrStreamRequest* request)
{
  const HrRecord* record;
  while ((record = hr_ring_next(ring, &position))) {
    if (record->type == HR_REQUEST_STREAM &&
        ((const HrStreamRequest*)(record + 1))->wish == request->wish) {
      return true;
    }
  }
  return false;
}

static void handle_requests(HrSession* session)
{
  HrRing* const ring = session->engine->requests;
  uint64_t position = hr_ring_read_position(ring);
  const HrRecord* record;
  while ((record = hr_ring_next(ring, &position))) {
    switch (record->type) {
    case HR_REQUEST_STREAM: {
      const HrStreamRequest* const request = (const HrStreamRequest*)(record + 1);
      if (!is_outdated(ring, position, request)) {
        answer_stream_request(session, request);
      }
      break;
    }
    case HR_REQUEST_BARS:
      begin_bar_count(session, (const HrBarsRequest*)(record + 1));
      break;
    case HR_REQUEST_ENDED:
      session->replay = false;
      hr_session_touch(session);
      break;
    default:
      if (session->handler) {
        session->handler(session->handler_data, record->type, record + 1, record->size);
      }
      break;
    }
    hr_ring_release(ring, position);
  }
}

static bool host_runs(const HrSession* session)
{
  return session->frames_seen_at && hr_monotonic_ns() - session->frames_seen_at < RUNNING_NS;
}

static void retry_store(HrSession* session)
{
  const int64_t now = hr_monotonic_ns();
  if (!session->binding.store && session->binding.capture && now >= session->retry_at) {
    const HrAttachment wish = session->wanted;
    hr_session_attach(session, &wish, NULL);
  }
}

static void watch_frames(HrSession* session)
{
  const uint64_t frames =
      atomic_load_explicit(&session->engine->shared.frames, memory_order_acquire);
  if (frames != session->frames_seen) {
    session->frames_seen = frames;
    session->frames_seen_at = hr_monotonic_ns();
  }
}

/** A host runs the engine, which has not yet gone where it was sent. */
static bool is_engine_behind(HrSession* session)
{
  if (!session->engine) {
    return false;
  }
  watch_frames(session);
  return host_runs(session) && atomic_load_explicit(&session->engine->shared.messages_done,
                                                    memory_order_acquire) < session->move_sent;
}

bool hr_session_move_waits(HrSession* session)
{
  return is_engine_behind(session) || hr_session_fork_waits(session) ||
         hr_session_current(session) != session->branch;
}

void hr_session_await_engine(HrSession* session)
{
  const int64_t until = hr_monotonic_ns() + ANSWER_NS;
  uint64_t sent = 0;
  if (!session->engine) {
    return;
  }
  hr_session_lock(session);
  watch_frames(session);
  if (host_runs(session)) {
    sent = hr_ring_write_position(session->engine->messages);
  }
  hr_session_unlock(session);
  while (atomic_load_explicit(&session->engine->shared.messages_done, memory_order_acquire) <
             sent &&
         hr_monotonic_ns() < until) {
    nanosleep(&(struct timespec){0, LOOK_NS}, NULL);
  }
}

/** What the engine waits for comes first, what waits for the disk later.
 * Returns true if anything changed. */
static bool work(HrSession* session)
{
  const uint64_t before = session->revision;
  watch_frames(session);
  retry_store(session);
  handle_requests(session);
  if (session->binding.store) {
    hr_session_watch_store(session);
    hr_session_read_ahead(session);
    count_bars(session);
  }
  hr_session_drain(session, false);
  if (session->binding.store) {
    hr_session_refill_numbers(session);
    hr_session_prepare(session);
  }
  return session->revision != before;
}

bool hr_session_work(HrSession* session)
{
  if (!session->engine) {
    return false;
  }
  hr_session_lock_writing(session);
  session->worked_at = hr_monotonic_ns();
  const bool changed = work(session);
  hr_session_unlock_writing(session);
  return changed;
}

bool hr_session_tend(HrSession* session)
{
  if (!session->engine || pthread_mutex_trylock(&session->writing)) {
    return false; // Somebody is at it
  }
  hr_session_lock(session);
  const int64_t idle = hr_monotonic_ns() - session->worked_at;
  const bool changed = idle >= WORKER_NS && work(session);
  hr_session_unlock_writing(session);
  return changed;
}

HrStatus hr_session_flush(HrSession* session)
{
  hr_session_lock_writing(session);
  const HrStatus status = hr_session_drain(session, true);
  hr_session_unlock_writing(session);
  return status;
}

/* ---- State ------------------------------------------------------------ */

static void fill_names(HrSession* session, HrSessionState* state)
{
  HrTxn* txn = NULL;
  HrTree tree;
  HrBranch branch;
  if (!state->tree || hr_txn_begin(session->binding.store, HR_READ, &txn)) {
    return;
  }
  if (!hr_tree_get(txn, state->tree, &tree)) {
    memcpy(state->tree_name, tree.name, sizeof state->tree_name);
    state->journal_count = tree.journal_count;
  }
  if (state->branch) {
    hr_branch_name(txn, state->branch, state->branch_name);
    if (!hr_branch_get(txn, state->branch, &branch) && branch.head_tick > state->head) {
      state->head = branch.head_tick;
    }
  }
  if (state->pending) {
    hr_branch_name(txn, state->pending, state->pending_name);
  }
  hr_txn_abort(txn);
}

static void fill_from_engine(HrSession* session, HrSessionState* state)
{
  HrShared* const shared = &session->engine->shared;
  const uint32_t meter = atomic_load(&shared->meter);
  const uint32_t pending = atomic_load(&shared->pending_number);
  state->rolling = atomic_load(&shared->rolling);
  state->transport = atomic_load(&shared->transport);
  state->tempo = atomic_load(&shared->tempo);
  state->beats_per_bar = (uint16_t)(meter >> 16);
  state->beat_unit = (uint16_t)meter;
  state->position = atomic_load(&shared->position);
  state->recorded = atomic_load(&shared->recorded);
  state->replayed = atomic_load(&shared->replayed);
  state->dropped = atomic_load(&shared->dropped) + session->counts.lost;
  state->malformed = atomic_load(&shared->malformed);
  state->unheard = atomic_load(&shared->unheard);
  state->running = host_runs(session);
  if (pending && state->tree) {
    state->pending = hr_branch_id(state->tree, pending);
    state->pending_beats = atomic_load(&shared->pending_beats);
  }
  if (atomic_load(&shared->capture) == session->binding.capture) {
    state->head = atomic_load(&shared->head); // Some of it may not be in the store yet
  }
}

void hr_session_state(HrSession* session, HrSessionState* state)
{
  hr_session_lock(session);
  *state = (HrSessionState){.revision = session->revision,
                            .tree_revision = session->tree_revision,
                            .attached = session->binding.store != NULL,
                            .record = session->settings[HR_SET_RECORD],
                            .replay = session->replay,
                            .loop = session->loop.on,
                            .thru = session->settings[HR_SET_THRU],
                            .overdub = session->settings[HR_SET_OVERDUB],
                            .quantum = session->quantum,
                            .standing = session->settings[HR_SET_STANDING],
                            .tempo_source = session->settings[HR_SET_TEMPO_SOURCE],
                            .silence_bars = session->settings[HR_SET_SILENCE],
                            .snap_ms = session->settings[HR_SET_SNAP],
                            .tempo = HR_DEFAULT_TEMPO,
                            .beats_per_bar = 4,
                            .beat_unit = 4,
                            .loop_start = session->loop.start,
                            .loop_end = session->loop.end,
                            .tree = session->binding.tree,
                            .branch = session->branch,
                            .failed_commits = session->counts.failed_commits,
                            .rescued = session->counts.rescued,
                            .longest_wait = (double)session->counts.longest_ns / 1e9,
                            .trouble = session->trouble.status};
  hr_quantum_text(session->quantum, session->quantum_bars, state->quantum_name);
  memcpy(state->trouble_text, session->trouble.text, sizeof state->trouble_text);
  if (session->engine) {
    fill_from_engine(session, state);
    if (session->binding.capture && !state->tree) {
      snprintf(state->tree_name, sizeof state->tree_name, "%.*s", HR_NAME_MAX,
               session->binding.capture->file->tree_name);
    }
  }
  if (session->binding.store) {
    snprintf(state->store_path, sizeof state->store_path, "%s",
             hr_store_path(session->binding.store));
    fill_names(session, state);
  }
  hr_session_unlock(session);
}

uint64_t hr_session_revision(const HrSession* session)
{
  return atomic_load_explicit(&session->revision, memory_order_relaxed);
}

bool hr_session_store_uuid(HrSession* session, uint8_t uuid[16])
{
  hr_session_lock(session);
  const bool known = session->binding.store != NULL;
  if (known) {
    memcpy(uuid, hr_store_uuid(session->binding.store), 16);
  }
  hr_session_unlock(session);
  return known;
}

uint32_t hr_session_number(const HrSession* session)
{
  return session->number;
}

bool hr_session_on_change(HrSession* session, void (*changed)(void* data), void* data)
{
  if (!lock_in_time(session)) {
    return false;
  }
  session->changed = changed;
  session->changed_data = data;
  hr_session_unlock(session);
  return true;
}

void hr_session_on_request(HrSession* session, HrRequestHandler handler, void* data)
{
  hr_session_lock(session);
  session->handler = handler;
  session->handler_data = data;
  hr_session_unlock(session);
}
