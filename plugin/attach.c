/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Where a session plays: its store, tree and branch, and the branch numbers set aside for it. */

#include "plugin/session_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RETRY_INTERVAL_NS 2000000000

/* ---- Branch numbers ----------------------------------------------------- */

/** Share out the numbers from `first` on. */
static void share_numbers(uint32_t first, HrNumbers* engine, HrNumbers* own)
{
  *own = (HrNumbers){first, first + HR_NUMBERS_FOR_COMMANDS};
  *engine = (HrNumbers){first + HR_NUMBERS_FOR_COMMANDS, first + HR_NUMBERS_RESERVED};
}

void hr_session_refill_numbers(HrSession* session)
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

void hr_session_give_back_numbers(HrSession* session)
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

/* ---- Attaching -------------------------------------------------------- */

/** Where an attachment leads, once looked up in the store. */
typedef struct {
  HrTreeId tree; ///< 0: a new one
  char tree_name[HR_NAME_MAX + 1];
  HrBranchId branch;
  bool wished; ///< That branch, and not just the tree
  HrTarget target;
  HrNumbers engine_numbers;
  HrNumbers own_numbers;
} Place;

static void new_tree_place(Place* place)
{
  place->tree = 0;
  place->branch = 0;
  place->wished = false;
  place->target = (HrTarget){.number = 1,
                             .empty = true,
                             .fresh = true,
                             .tempo = {HR_DEFAULT_TEMPO, 4, 4},
                             .tempo_assumed = true};
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
  place->wished = attachment->branch && *attachment->branch &&
                  !hr_branch_find(txn, place->tree, attachment->branch, &place->branch);
  if (!place->wished) {
    place->branch = tree.current;
  }
  return HR_OK;
}

/** Another instance plays there, be it anywhere on the tree if no branch was wished for. */
static bool is_taken(HrStore* store, const Place* place)
{
  return hr_capture_in_use(store, place->tree, place->wished ? hr_branch_number(place->branch) : 0);
}

/** How many branches are looked at, the newest first, for one that was begun beside another. */
enum { BESIDE_SCAN = 256 };

/** No music of the branch, or of its past, is at or after `tick`. */
static bool ends_before(HrTxn* txn, HrBranchId branch, HrTick tick)
{
  HrPath path;
  HrEvent event;
  const bool ends =
      !hr_path_open(txn, branch, tick, &path) && hr_path_next(&path, &event) == HR_END;
  hr_path_close(&path);
  return ends;
}

/** Find a branch that was begun beside `from` at its end and left so, which nobody plays now: else
 * each time a session is loaded would leave one. */
static bool find_beside(HrTxn* txn, HrStore* store, HrBranchId from, uint32_t author,
                        HrBranchId* found)
{
  HrBranch branch = {.id = hr_branch_id(hr_branch_tree(from), UINT32_MAX)};
  for (unsigned looked = 0; looked < BESIDE_SCAN; ++looked) {
    const uint32_t before = hr_branch_number(branch.id);
    if (hr_branch_previous(txn, hr_branch_tree(from), before, &branch)) {
      return false;
    }
    if (branch.parent == from && branch.author == author && hr_branch_is_as_made(txn, &branch) &&
        branch.state == HR_BRANCH_ACTIVE && ends_before(txn, from, branch.fork_tick) &&
        !hr_capture_in_use(store, hr_branch_tree(from), hr_branch_number(branch.id))) {
      *found = branch.id;
      return true;
    }
  }
  return false;
}

/** Another instance plays there: go on beside it. */
static HrStatus fork_beside(HrTxn* txn, HrStore* store, HrBranchId* branch)
{
  HrBranch record;
  HrForkOptions options = {.quiet = true};
  HrStatus status = hr_branch_get(txn, *branch, &record);
  status = status ? status : hr_author_id(txn, "midi", &options.author);
  if (!status && find_beside(txn, store, *branch, options.author, branch)) {
    return HR_OK;
  }
  /* One tick on, much less than a frame, so that its last events are in the fork's past. */
  return status ? status : hr_branch_fork(txn, *branch, record.head_tick + 1, &options, branch);
}

/** Look up tree and branch; where another instance plays, go to a fork of the branch at its
 * end. */
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
  if (!status && session->engine && is_taken(store, place)) {
    status = fork_beside(txn, store, &place->branch);
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
  HrWhere where = {.has_uuid = wish->uuid}; // When it is tried again, the texts are our own
  snprintf(where.store, sizeof where.store, "%s", wish->store ? wish->store : "");
  snprintf(where.tree, sizeof where.tree, "%s", wish->tree ? wish->tree : "");
  snprintf(where.branch, sizeof where.branch, "%s", wish->branch ? wish->branch : "");
  if (wish->uuid) {
    memcpy(where.uuid, wish->uuid, sizeof where.uuid);
  }
  HrWhere* const kept = &session->wanted_where;
  *kept = where;
  session->wanted = (HrAttachment){.store = *kept->store ? kept->store : NULL,
                                   .tree = *kept->tree ? kept->tree : NULL,
                                   .branch = *kept->branch ? kept->branch : NULL,
                                   .uuid = kept->has_uuid ? kept->uuid : NULL};
  session->wants = true;
}

bool hr_session_wanted(HrSession* session, HrWhere* where)
{
  hr_session_lock(session);
  const bool wants = session->wants;
  if (wants) {
    *where = session->wanted_where;
  }
  hr_session_unlock(session);
  return wants;
}

/** Write the path of the store that is wished for. */
static HrStatus wanted_path(const HrAttachment* wish, char* path, size_t size)
{
  if (wish->store) {
    snprintf(path, size, "%s", wish->store);
    return HR_OK;
  }
  return hr_store_default_path(path, size);
}

static HrStatus open_wanted(const HrAttachment* wish, unsigned flags, HrStore** store,
                            HrError* error)
{
  char path[4096];
  if (wanted_path(wish, path, sizeof path)) {
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

/** Say which store the ring waits for, to whoever finds it: from any folder. */
static void ask_for_store(const HrSession* session, HrCaptureFile* file)
{
  char path[4096];
  char folder[4096];
  if (wanted_path(&session->wanted, path, sizeof path)) {
    return;
  }
  const bool relative = *path != '/' && getcwd(folder, sizeof folder);
  const size_t size = sizeof file->store_path;
  if (!relative || snprintf(file->store_path, size, "%s/%s", folder, path) >= (int)size) {
    snprintf(file->store_path, size, "%s", path);
  }
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
  capture->file->branch = place->target.number;
  if (store) {
    hr_capture_bind(capture, store, place->tree);
  } else {
    ask_for_store(session, capture->file);
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
  uint64_t lost;
  const uint64_t rescued = hr_session_recover(store, &lost);
  const HrStatus status = find_place(session, store, wish, place);
  hr_session_retake(session, depth);
  session->counts.rescued += rescued;
  session->counts.lost += lost;
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
  session->scanned = 0;
  session->replay = session->replay && session->engine &&
                    (atomic_load(&session->engine->shared.rolling) ||
                     !atomic_load(&session->engine->shared.running));
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
  if (session->binding.capture && !session->binding.store) {
    ask_for_store(session, session->binding.capture->file); // Perhaps another one than before
  } else if (session->engine && !session->binding.capture &&
             move_engine(session, NULL, &place, &error)) {
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
    session->wants = false;
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
  name = hr_name_valid(name) && hr_tree_find(txn, name, &taken) == HR_ERR_NOT_FOUND ? name : NULL;
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
