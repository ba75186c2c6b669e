/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/session_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/** The host is taken to run the plugin if it did so within this time. */
#define RUNNING_NS 500000000

#define RETRY_INTERVAL_NS 2000000000

/** How long the engine may take to hear of what it is sent: the longest block of any
 * host, 8192 frames, takes 186 ms at 44.1 kHz. And how often to look whether it has. */
#define ANSWER_NS 200000000
#define LOOK_NS   500000

/** The host's worker is taken to do the work if it did some within this time. */
#define WORKER_NS 300000000

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

/** Give back the branch numbers that no fork took, if they are still the last. */
static void unreserve(HrSession* session)
{
  const HrBinding* const binding = &session->binding;
  HrTxn* txn = NULL;
  if (!binding->store || !binding->tree || !session->engine || hr_session_begin(session, &txn)) {
    return;
  }
  const HrNumbers engine = session->engine->recorder.numbers;
  const HrNumbers own = session->numbers;
  HrStatus status = hr_tree_unreserve(txn, binding->tree, engine.next, engine.end);
  if (!status && own.end <= engine.next) {
    status = hr_tree_unreserve(txn, binding->tree, own.next, own.end);
  }
  if (status) {
    hr_txn_abort(txn);
  } else {
    hr_session_commit(session, txn);
  }
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
    unreserve(session);
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

/* ---- Attaching -------------------------------------------------------- */

/** Share out the numbers from `first` on. */
static void share_numbers(uint32_t first, HrNumbers* engine, HrNumbers* own)
{
  *own = (HrNumbers){first, first + HR_NUMBERS_FOR_COMMANDS};
  *engine = (HrNumbers){first + HR_NUMBERS_FOR_COMMANDS, first + HR_NUMBERS_RESERVED};
}

/** Where an attachment leads, once looked up in the store. */
typedef struct {
  HrTreeId tree; ///< 0: a new one
  char tree_name[HR_NAME_MAX + 1];
  HrBranchId branch;
  HrTarget target;
  HrNumbers engine_numbers;
  HrNumbers own_numbers;
} Place;

static void new_tree_place(Place* place)
{
  place->tree = 0;
  place->branch = 0;
  place->target =
      (HrTarget){.number = 1, .empty = true, .fresh = true, .tempo = {HR_DEFAULT_TEMPO, 4, 4}};
  share_numbers(2, &place->engine_numbers, &place->own_numbers);
}

static HrStatus find_branch(HrTxn* txn, const HrAttachment* attachment, Place* place)
{
  HrTree tree;
  HrStatus status = hr_tree_get(txn, place->tree, &tree);
  if (status) {
    return status;
  }
  snprintf(place->tree_name, sizeof place->tree_name, "%s", tree.name);
  place->branch = tree.current;
  if (attachment->branch && *attachment->branch &&
      hr_branch_find(txn, place->tree, attachment->branch, &place->branch)) {
    place->branch = tree.current;
  }
  return HR_OK;
}

/** Another instance plays on the tree: go on beside it. */
static HrStatus fork_beside(HrTxn* txn, HrBranchId* branch)
{
  HrBranch record;
  HrForkOptions options = {.quiet = true};
  HrStatus status = hr_branch_get(txn, *branch, &record);
  status = status ? status : hr_author_id(txn, "midi", &options.author);
  /* One tick on, much less than a frame, so that its last events are in the fork's past. */
  return status ? status : hr_branch_fork(txn, *branch, record.head_tick + 1, &options, branch);
}

/** Look up tree and branch; on a tree that another instance plays, go to a
 * fork of the branch at its end. */
static HrStatus find_place(HrSession* session, HrStore* store, const HrAttachment* attachment,
                           Place* place)
{
  const char* const environment = getenv("HR_TREE");
  const char* const name = attachment->tree && *attachment->tree ? attachment->tree
                           : environment && *environment         ? environment
                                                                 : NULL;
  HrTxn* txn = NULL;
  new_tree_place(place);
  if (name && hr_name_valid(name)) {
    snprintf(place->tree_name, sizeof place->tree_name, "%s", name);
  }
  HrStatus status = hr_txn_begin(store, session->engine ? HR_WRITE : HR_READ, &txn);
  if (status) {
    return status;
  }
  status = name ? hr_tree_find(txn, name, &place->tree) : HR_ERR_NOT_FOUND;
  if (status == HR_ERR_NOT_FOUND) {
    hr_txn_abort(txn);
    new_tree_place(place);
    return HR_OK;
  }
  status = status ? status : find_branch(txn, attachment, place);
  if (!status && session->engine && hr_capture_tree_in_use(store, place->tree)) {
    status = fork_beside(txn, &place->branch);
  }
  status = status ? status : hr_target_read(txn, place->branch, &place->target);
  if (!session->engine || status) {
    hr_txn_abort(txn);
    return status;
  }
  uint32_t first = 0;
  status = hr_tree_reserve(txn, place->tree, HR_NUMBERS_RESERVED, &first);
  share_numbers(first, &place->engine_numbers, &place->own_numbers);
  if (status) {
    hr_txn_abort(txn);
    return status;
  }
  return hr_txn_commit(txn);
}

/** Keep what was wished for, to try again by ourselves. */
static void remember_wish(HrSession* session, const HrAttachment* wish)
{
  snprintf(session->wanted_store, sizeof session->wanted_store, "%s",
           wish->store ? wish->store : "");
  snprintf(session->wanted_tree, sizeof session->wanted_tree, "%s", wish->tree ? wish->tree : "");
  snprintf(session->wanted_branch, sizeof session->wanted_branch, "%s",
           wish->branch ? wish->branch : "");
  if (wish->uuid) {
    memcpy(session->wanted_uuid, wish->uuid, sizeof session->wanted_uuid);
  }
  session->wanted =
      (HrAttachment){.store = *session->wanted_store ? session->wanted_store : NULL,
                     .tree = *session->wanted_tree ? session->wanted_tree : NULL,
                     .branch = *session->wanted_branch ? session->wanted_branch : NULL,
                     .uuid = wish->uuid ? session->wanted_uuid : NULL};
}

static HrStatus open_wanted(const HrAttachment* wish, unsigned flags, HrStore** store,
                            HrError* error)
{
  char path[4096];
  if (wish->store) {
    snprintf(path, sizeof path, "%s", wish->store);
  } else if (hr_store_default_path(path, sizeof path)) {
    return hr_error(
        error, HR_ERR_NOT_FOUND,
        "No folder for the store is known. Set HR_STORE to a path where you may write.");
  }
  const HrStatus status = hr_store_open(path, flags, store, error);
  if (!status && wish->uuid && memcmp(hr_store_uuid(*store), wish->uuid, 16)) {
    hr_store_close(*store);
    *store = NULL;
    return hr_error(error, HR_ERR_NOT_FOUND,
                    "%s is not the store this session was saved with. Put the right file there, or "
                    "choose another store.",
                    path);
  }
  return status;
}

/** Send the engine to a new ring and place, and retire the ring before. */
static HrStatus move_engine(HrSession* session, HrStore* store, const Place* place, HrError* error)
{
  HrBinding* const binding = &session->binding;
  if (binding->capture && !binding->store && store && !place->tree) {
    /* What was played without a store begins the new tree. */
    snprintf(binding->capture->file->tree_name, sizeof binding->capture->file->tree_name, "%s",
             place->tree_name);
    hr_capture_bind(binding->capture, store, 0);
    binding->store = store;
    return HR_OK;
  }
  if (session->retired_count + 1 >= HR_RETIRED_MAX) {
    return hr_error(error, HR_ERR_BUSY, "The host does not run the plugin: start it first.");
  }
  HrCapture* const capture = hr_capture_new(error);
  if (!capture) {
    return error ? error->status : HR_ERR_NO_MEMORY;
  }
  snprintf(capture->file->author, sizeof capture->file->author, "midi");
  snprintf(capture->file->tree_name, sizeof capture->file->tree_name, "%s", place->tree_name);
  if (store) {
    hr_capture_bind(capture, store, place->tree);
  } else {
    snprintf(capture->file->store_path, sizeof capture->file->store_path, "%s",
             session->wanted_store);
  }
  const bool same_tree =
      binding->capture && binding->store == store && place->tree && place->tree == binding->tree;
  const HrAttachMessage message = {
      .capture = capture,
      .target = place->target,
      .numbers = place->engine_numbers,
      .same_tree = same_tree,
      .known = same_tree ? hr_ring_read_position(&binding->capture->ring) : 0};
  const HrStatus status = hr_session_send(session, HR_MESSAGE_ATTACH, &message, sizeof message);
  if (status) {
    hr_capture_free(capture, true);
    return hr_error(error, status, "The host does not run the plugin: start it first.");
  }
  if (session->binding.capture) {
    session->retired[session->retired_count++] = session->binding;
  }
  session->binding = (HrBinding){.capture = capture, .store = store, .tree = place->tree};
  return HR_OK;
}

static void set_retired(HrSession* session, bool retired)
{
  if (session->binding.capture) {
    session->binding.capture->file->retired = retired;
  }
}

/** Open the store that is wished for; a tool is content to read it. */
static HrStatus open_store(HrSession* session, const HrAttachment* wish, HrStore** store,
                           HrError* error)
{
  const unsigned depth = hr_session_release(session);
  HrStatus status = open_wanted(wish, session->engine ? HR_STORE_CREATE : 0, store, error);
  if (!session->engine && (status == HR_ERR_PERMISSION || status == HR_ERR_READ_ONLY)) {
    status = open_wanted(wish, HR_STORE_READ_ONLY, store, error);
  }
  hr_session_retake(session, depth);
  return status;
}

/** Bring in what others left for the store, and look up the place to go to. */
static HrStatus prepare_place(HrSession* session, HrStore* store, const HrAttachment* wish,
                              Place* place, HrError* error)
{
  set_retired(session, true); // It is no other player to share the tree with
  const unsigned depth = hr_session_release(session);
  const uint64_t rescued = hr_session_recover(store);
  const HrStatus status = find_place(session, store, wish, place);
  hr_session_retake(session, depth);
  session->counts.rescued += rescued;
  return status ? hr_error(error, status, "Cannot use the store %s: %s.", hr_store_path(store),
                           hr_strerror(status))
                : HR_OK;
}

static HrStatus attach(HrSession* session, const HrAttachment* wish, HrError* error)
{
  Place place = {0};
  HrStore* store = NULL;
  HrStore* left = NULL;
  hr_session_save_lost_store(session);
  HrStatus status = open_store(session, wish, &store, error);
  if (!status) {
    hr_session_drain(session, true);
    status = prepare_place(session, store, wish, &place, error);
  }
  if (!status && session->engine) {
    status = move_engine(session, store, &place, error);
  } else if (!status) {
    left = session->binding.store;
    session->binding = (HrBinding){.store = store, .tree = place.tree};
  }
  if (status) {
    set_retired(session, false);
    hr_session_close_store(session, store);
    return status;
  }
  session->branch = place.branch;
  session->numbers = place.own_numbers;
  session->rescue_count = 0;
  session->scanned = 0;
  session->replay =
      session->replay && session->engine && atomic_load(&session->engine->shared.rolling);
  if (session->prepared) {
    hr_prepared_reset(session->prepared);
  }
  hr_session_close_store(session, left);
  return HR_OK;
}

/** Without a store, what is played waits in a ring that is drained later. */
static void record_without_store(HrSession* session)
{
  Place place = {0};
  HrError error;
  new_tree_place(&place);
  if (session->engine && !session->binding.capture && move_engine(session, NULL, &place, &error)) {
    hr_session_set_trouble(session, &error);
  }
}

HrStatus hr_session_attach(HrSession* session, const HrAttachment* attachment, HrError* error)
{
  HrError own = {0};
  hr_session_lock_writing(session);
  const HrAttachment wish = *attachment;
  const HrStatus status = attach(session, &wish, &own);
  if (!status) {
    hr_session_set_trouble(session, NULL);
    session->retry_at = 0;
  } else {
    if (!session->binding.store || session->engine) {
      remember_wish(session, &wish);
      session->retry_at = hr_monotonic_ns() + RETRY_INTERVAL_NS;
    }
    hr_session_set_trouble(session, &own);
    record_without_store(session);
  }
  hr_session_touch_tree(session);
  hr_session_unlock_writing(session);
  if (error) {
    *error = own;
  }
  return status;
}

HrStatus hr_session_need_tree(HrSession* session)
{
  HrBinding* const binding = &session->binding;
  HrStatus status = hr_session_drain(session, true);
  if (!binding->store) {
    return HR_ERR_BUSY;
  }
  if (status || binding->tree) {
    return status;
  }
  HrTxn* txn = NULL;
  HrTreeId tree = 0;
  uint32_t author = 0;
  uint32_t first = 0;
  const char* name = binding->capture ? binding->capture->file->tree_name : "";
  uint32_t taken;
  status = hr_session_begin(session, &txn);
  if (status) {
    return status;
  }
  name = hr_name_valid(name) && hr_tree_find(txn, name, &taken) ? name : NULL;
  status = hr_author_id(txn, "midi", &author);
  status = status ? status : hr_tree_create(txn, name, author, &tree);
  status = status ? status : hr_tree_reserve(txn, tree, HR_NUMBERS_RESERVED, &first);
  if (status) {
    hr_txn_abort(txn);
    return status;
  }
  status = hr_session_commit(session, txn);
  if (!status) {
    binding->tree = tree;
    session->branch = hr_branch_id(tree, 1);
    if (binding->capture) {
      hr_capture_bind(binding->capture, binding->store, tree);
    }
    hr_session_touch_tree(session);
  }
  return status;
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

/** Keep the engine in numbers for the forks it makes by itself. */
static void refill_numbers(HrSession* session)
{
  const HrBinding* const binding = &session->binding;
  const HrShared* const shared = &session->engine->shared;
  const bool arrived =
      atomic_load_explicit(&shared->capture, memory_order_acquire) == binding->capture;
  const bool engine_low =
      arrived &&
      atomic_load_explicit(&shared->numbers_left, memory_order_relaxed) < HR_NUMBERS_RESERVED / 4;
  const bool own_low = session->numbers.end - session->numbers.next < 4;
  HrTxn* txn = NULL;
  HrNumbers engine, own;
  if (!binding->tree || (!engine_low && !own_low) || hr_session_begin(session, &txn)) {
    return;
  }
  uint32_t first = 0;
  if (hr_tree_reserve(txn, binding->tree, HR_NUMBERS_RESERVED, &first)) {
    hr_txn_abort(txn);
    return;
  }
  share_numbers(first, &engine, &own);
  if (!hr_session_commit(session, txn) &&
      !hr_session_send(session, HR_MESSAGE_NUMBERS, &engine, sizeof engine)) {
    session->numbers = own;
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
  }
  hr_session_drain(session, false);
  if (session->binding.store) {
    refill_numbers(session);
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
  state->dropped = atomic_load(&shared->dropped);
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

void hr_session_on_change(HrSession* session, void (*changed)(void* data), void* data)
{
  hr_session_lock(session);
  session->changed = changed;
  session->changed_data = data;
  hr_session_unlock(session);
}

void hr_session_on_request(HrSession* session, HrRequestHandler handler, void* data)
{
  hr_session_lock(session);
  session->handler = handler;
  session->handler_data = data;
  hr_session_unlock(session);
}
