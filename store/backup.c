/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* A first backup, and a compaction, is LMDB's own copy of one snapshot. What is
 * new since then is found by branch: whose record is as it was has no new node,
 * and of the others only the last node of before can have grown. It all goes
 * into one transaction of the backup: that is either the old or the new one. */

#include "store/internal.h"
#include "store/part.h"
#include "store/preflight.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* ---- Which databases ------------------------------------------------------ */

typedef enum {
  COPY_NODES,  ///< By branch
  COPY_MIRROR, ///< Entries come, change and go
  COPY_KEEP,   ///< Entries come and change
  COPY_ADD,    ///< Entries come, and stay as they are
} CopyRule;

/** The journal comes first: it tells whether the two have parted. Branches come
 * before their nodes' database, which is filled along with them. */
static const struct {
  size_t dbi; ///< Where in HrStore its handle is
  CopyRule rule;
} databases[] = {
    {offsetof(HrStore, journal), COPY_ADD},     {offsetof(HrStore, trees), COPY_KEEP},
    {offsetof(HrStore, branches), COPY_KEEP},   {offsetof(HrStore, nodes), COPY_NODES},
    {offsetof(HrStore, notes), COPY_KEEP},      {offsetof(HrStore, names), COPY_MIRROR},
    {offsetof(HrStore, captures), COPY_MIRROR},
};

enum { DATABASES = sizeof databases / sizeof *databases };

static MDB_dbi dbi_of(const HrStore* store, size_t index)
{
  MDB_dbi dbi;
  memcpy(&dbi, (const char*)store + databases[index].dbi, sizeof dbi);
  return dbi;
}

/* ---- The whole store into a new file -------------------------------------- */

/** Bytes of a compact copy: what is in use, without the free pages. */
static HrStatus bytes_in_use(HrTxn* txn, uint64_t* bytes)
{
  HrStore* const store = txn->store;
  MDB_stat stat;
  int code = mdb_env_stat(store->env, &stat);
  uint64_t pages = 2 + stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
  for (size_t i = 0; i < DATABASES && !code; ++i) {
    const MDB_dbi dbi = dbi_of(store, i);
    if (dbi) {
      code = mdb_stat(txn->txn, dbi, &stat);
      pages += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
    }
  }
  *bytes = pages * HR_PAGE_SIZE;
  return hr_status_from_lmdb(store, code);
}

static bool is_same_file(const HrStore* store, const char* path)
{
  struct stat info;
  return !stat(path, &info) && info.st_dev == store->device && info.st_ino == store->inode;
}

static HrStatus cannot_write(HrError* error, const char* path, int code, uint64_t needed)
{
  const HrStatus status = hr_status_from_lmdb(NULL, code);
  if (status == HR_ERR_NO_SPACE) {
    const unsigned long long megabytes = needed / 1000000 + 1;
    return hr_error(error, status,
                    "No room for %s: it needs %llu MB. Free that much, or choose another disk.",
                    path, megabytes);
  }
  return hr_error(error, status, "Cannot write %s: %s. The store was left as it is.", path,
                  code < 0 ? mdb_strerror(code) : strerror(code));
}

static int write_part(HrStore* store, const HrPart* part)
{
  HrSizeSignal held; // LMDB writes in a thread of its own, which holds what this one does
  hr_size_signal_hold(&held);
  const int code = mdb_env_copyfd2(store->env, part->fd, MDB_CP_COMPACT);
  hr_size_signal_drop(&held);
  if (code) {
    return code;
  }
  return fsync(part->fd) ? errno : 0;
}

/** Write the copy where it may be. `*bytes` is how much room it needs. */
static HrStatus write_copy(HrStore* store, const char* path, bool replace, uint64_t* bytes,
                           HrError* error)
{
  struct stat info;
  struct statvfs disk;
  HrPart part;
  const HrStatus status = hr_part_open(&part, path, error);
  if (status) {
    return status;
  }
  int code = !fstatvfs(part.fd, &disk) && disk.f_bavail * disk.f_frsize < *bytes ? ENOSPC : 0;
  code = code ? code : write_part(store, &part);
  code = code ? code : hr_part_publish(&part, path, replace);
  if (!code && !fstat(part.fd, &info)) {
    *bytes = (uint64_t)info.st_size;
  }
  hr_part_close(&part);
  return code ? cannot_write(error, path, code, *bytes) : HR_OK;
}

HrStatus hr_store_compact(HrStore* store, const char* path, bool replace, uint64_t* bytes,
                          HrError* error)
{
  struct stat info;
  HrTxn* held = NULL; // After a disk error the store is opened again: not under the copy
  if (is_same_file(store, path)) {
    return hr_error(error, HR_ERR_ARGUMENT,
                    "%s is the store itself: it is never written in place. Name another file.",
                    path);
  }
  if (!lstat(path, &info) && (!replace || !S_ISREG(info.st_mode))) {
    return hr_error(error, HR_ERR_EXISTS, "%s exists, and was left as it is. Name another file%s.",
                    path, S_ISREG(info.st_mode) ? ", or use --force to replace it" : "");
  }
  HrStatus status = hr_txn_begin(store, HR_READ, &held);
  status = status ? status : bytes_in_use(held, bytes);
  status = status ? hr_error(error, status, "Cannot read %s: %s.", store->path, hr_strerror(status))
                  : write_copy(store, path, replace, bytes, error);
  hr_txn_abort(held);
  return status;
}

/* ---- What is new into an older backup -------------------------------------- */

typedef struct {
  HrTxn* from;
  HrTxn* to;
  HrBackupReport* report;
  bool parted; ///< The backup has what the store has not
} Update;

static HrStatus have_parted(Update* update)
{
  update->parted = true;
  return HR_ERR_EXISTS;
}

static void count(Update* update, const MDB_val* key, const MDB_val* value)
{
  update->report->records += 1;
  update->report->bytes += key->mv_size + value->mv_size;
}

static bool is_whole_node(const HrNodeCursor* nodes, uint32_t index)
{
  HrTickKey key;
  hr_extent_key(&nodes->entry_key, index, &key);
  const MDB_val node = hr_extent_node(&nodes->entry_key, &nodes->entry, index);
  return hr_node_valid(&key, &node);
}

/** How many of an entry's nodes are damaged. */
static uint64_t damaged_nodes(const HrNodeCursor* nodes)
{
  uint64_t damaged = 0;
  for (uint32_t i = 0; i < hr_extent_nodes(&nodes->entry_key); ++i) {
    damaged += !is_whole_node(nodes, i);
  }
  return damaged;
}

/** Of two entries at one place: whether a node is whole in `then` only. */
static bool has_lost_one(const HrNodeCursor* now, const HrNodeCursor* then)
{
  bool lost = false;
  for (uint32_t i = 0; i < hr_extent_nodes(&now->entry_key); ++i) {
    lost = lost || (is_whole_node(then, i) && !is_whole_node(now, i));
  }
  return lost;
}

static bool is_same_value(const MDB_val* a, const MDB_val* b)
{
  return a->mv_size == b->mv_size && !memcmp(a->mv_data, b->mv_data, a->mv_size);
}

/** Whether two entries are to hold the same nodes. Where those behind the first begin may be
 * damaged in the key of one. */
static bool is_same_place(const MDB_val* a, const MDB_val* b)
{
  return a->mv_size == b->mv_size && !memcmp(a->mv_data, b->mv_data, sizeof(HrTickKey));
}

/** Of the last of a branch: whether it only grew, as a node may and an extent does not. */
static bool has_grown_from(const HrNodeCursor* now, const HrNodeCursor* then)
{
  const HrNodeHeader* const node = now->entry.mv_data;
  const HrNodeHeader* const old = then->entry.mv_data;
  return hr_extent_nodes(&now->entry_key) > 1
             ? is_same_value(&now->entry, &then->entry)
             : node->word_count >= old->word_count &&
                   !memcmp(node + 1, old + 1, old->word_count * sizeof(HrWord));
}

/** Remove the backup's entry if its key is a damaged one: that which is put would not replace it,
 * but come beside it. */
static HrStatus make_way(Update* update, const HrNodeCursor* from, HrNodeCursor* to)
{
  const bool stays = !to->is_mended && is_same_value(&from->entry_key, &to->entry_key);
  return stays ? HR_OK : hr_status_from_lmdb(update->to->store, mdb_cursor_del(to->entries, 0));
}

/** Find the first node to copy: the last one that the backup has, or the first of the extent that
 * it is in; else the branch's first. */
static HrStatus find_new_nodes(Update* update, HrBranchId branch, HrNodeCursor* from,
                               HrNodeCursor* to, int* code)
{
  const int found = hr_nodes_before(to, branch, INT64_MAX);
  if (found) {
    *code = hr_nodes_first(from, branch);
    return found == MDB_NOTFOUND ? HR_OK : hr_status_from_lmdb(update->to->store, found);
  }
  HrTickKey first;
  memcpy(&first, to->entry_key.mv_data, sizeof first);
  *code = hr_nodes_from(from, &first);
  if (!hr_value_replaceable(update->to->store, &to->entry)) {
    return HR_ERR_DAMAGED;
  }
  const uint64_t damaged = damaged_nodes(to);
  if (*code || !is_same_place(&from->entry_key, &to->entry_key)) {
    return damaged || (*code && *code != MDB_NOTFOUND) ? HR_OK : have_parted(update);
  }
  if (has_lost_one(from, to)) {
    update->report->damaged += damaged_nodes(from); // The backup's is the better one
    do {
      *code = hr_nodes_next(from);
    } while (!*code && from->index);
    return HR_OK;
  }
  return damaged || has_grown_from(from, to) ? make_way(update, from, to) : have_parted(update);
}

/** Copy the nodes of a branch from where the cursor is; extents as a whole. */
static HrStatus copy_from(Update* update, HrBranchId branch, HrNodeCursor* from, int* code)
{
  HrStatus status = HR_OK;
  while (!status && !*code && hr_nodes_in(from, branch)) {
    update->report->damaged += !hr_node_valid(&from->key, &from->node);
    update->report->nodes += 1;
    if (!from->index) {
      count(update, &from->entry_key, &from->entry);
      status = hr_node_put(update->to, from->entry_key, &from->entry);
    }
    *code = hr_nodes_next(from);
  }
  return status;
}

static HrStatus copy_nodes(Update* update, HrBranchId branch)
{
  HrNodeCursor* from = NULL;
  HrNodeCursor* to = NULL;
  int code = hr_nodes_open(update->from, &from);
  HrStatus status = hr_status_from_lmdb(update->from->store, code);
  status = status ? status : hr_status_from_lmdb(update->to->store, hr_nodes_open(update->to, &to));
  status = status ? status : find_new_nodes(update, branch, from, to, &code);
  hr_nodes_close(to);
  status = status ? status : copy_from(update, branch, from, &code);
  hr_nodes_close(from);
  return status || !code || code == MDB_NOTFOUND ? status
                                                 : hr_status_from_lmdb(update->from->store, code);
}

/** Two cursors that go through the same database of both stores in step. */
typedef struct {
  MDB_cursor* from;
  MDB_cursor* to;
  MDB_val key, value;     ///< Of the store
  MDB_val old_key, old;   ///< Of the backup: the first not before `key`
  int from_code, to_code; ///< MDB_NOTFOUND: no more there
} Walk;

static HrStatus begin_walk(const Update* update, size_t index, Walk* walk)
{
  *walk = (Walk){0};
  int code = mdb_cursor_open(update->from->txn, dbi_of(update->from->store, index), &walk->from);
  code =
      code ? code : mdb_cursor_open(update->to->txn, dbi_of(update->to->store, index), &walk->to);
  if (!code) {
    walk->from_code = mdb_cursor_get(walk->from, &walk->key, &walk->value, MDB_FIRST);
    walk->to_code = mdb_cursor_get(walk->to, &walk->old_key, &walk->old, MDB_FIRST);
  }
  return hr_status_from_lmdb(NULL, code);
}

static void end_walk(Walk* walk)
{
  mdb_cursor_close(walk->from);
  mdb_cursor_close(walk->to);
}

/** Below 0: the store has an entry that the backup has not; above: the other way round. */
static int compare(const Update* update, const Walk* walk, MDB_dbi dbi)
{
  if (walk->from_code || walk->to_code) {
    return walk->to_code ? -1 : 1;
  }
  return mdb_cmp(update->from->txn, dbi, &walk->key, &walk->old_key);
}

/** Put the store's entry before, or in the place of, the backup's. */
static HrStatus put_entry(Update* update, Walk* walk, bool branch)
{
  HrBranchId id = 0;
  if (branch && walk->key.mv_size == sizeof id) {
    memcpy(&id, walk->key.mv_data, sizeof id);
    const HrStatus status = copy_nodes(update, id);
    if (status) {
      return status;
    }
  }
  count(update, &walk->key, &walk->value);
  return hr_status_from_lmdb(update->to->store, mdb_cursor_put(walk->to, &walk->key, &walk->value,
                                                               walk->to_code ? MDB_APPEND : 0));
}

static bool is_whole(const HrTxn* txn, size_t index, const MDB_val* key, MDB_val value)
{
  return !hr_record_open(txn, dbi_of(txn->store, index), key, &value);
}

/** Whether the store's entry is to be put, which the backup has not or has otherwise. A damaged
 * one replaces no whole one: a branch's nodes then stay as they are, too. */
static bool is_to_be_put(Update* update, const Walk* walk, size_t index, bool is_new)
{
  const bool damaged = !is_whole(update->from, index, &walk->key, walk->value);
  update->report->damaged += damaged;
  return !damaged || is_new || !is_whole(update->to, index, &walk->old_key, walk->old);
}

/** One step: an entry is dealt with. */
static HrStatus step(Update* update, Walk* walk, size_t index)
{
  const CopyRule rule = databases[index].rule;
  const bool branches = databases[index].dbi == offsetof(HrStore, branches);
  const int order = compare(update, walk, dbi_of(update->from->store, index));
  const bool differs = order < 0 || (!order && !is_same_value(&walk->value, &walk->old));
  const bool changed = differs && is_to_be_put(update, walk, index, order < 0);
  HrStatus status = HR_OK;
  if (order > 0 && rule == COPY_MIRROR) {
    status = hr_status_from_lmdb(update->to->store, mdb_cursor_del(walk->to, 0));
  } else if (order > 0 || (!order && changed && rule == COPY_ADD &&
                           is_whole(update->to, index, &walk->old_key, walk->old))) {
    return have_parted(update);
  } else if (changed) {
    status = put_entry(update, walk, branches);
  }
  if (!status && order <= 0) {
    walk->from_code = mdb_cursor_get(walk->from, &walk->key, &walk->value, MDB_NEXT);
  }
  if (!status && !walk->to_code) {
    walk->to_code = mdb_cursor_get(walk->to, &walk->old_key, &walk->old, MDB_NEXT);
  }
  return status;
}

static HrStatus update_database(Update* update, size_t index)
{
  Walk walk;
  if (databases[index].rule == COPY_NODES || !dbi_of(update->from->store, index)) {
    return HR_OK;
  }
  HrStatus status = begin_walk(update, index, &walk);
  while (!status && (!walk.from_code || !walk.to_code)) {
    if ((walk.from_code && walk.from_code != MDB_NOTFOUND) ||
        (walk.to_code && walk.to_code != MDB_NOTFOUND)) {
      status = HR_ERR_DAMAGED;
    } else {
      status = step(update, &walk, index);
    }
  }
  end_walk(&walk);
  return status;
}

static HrStatus update_databases(HrStore* store, Update* update)
{
  HrStatus status = hr_txn_begin(store, HR_READ, &update->from);
  for (size_t i = 0; i < DATABASES && !status; ++i) {
    status = update_database(update, i);
  }
  hr_txn_abort(update->from);
  return status;
}

static HrStatus update_all(HrStore* store, HrStore* backup, Update* update)
{
  HrStatus status = hr_txn_begin(backup, HR_WRITE, &update->to);
  status = status ? status : update_databases(store, update);
  if (status) {
    hr_txn_abort(update->to);
    return status;
  }
  return hr_txn_commit(update->to);
}

static bool is_of(const HrStore* store, const HrStoreHeader* header)
{
  return !memcmp(header->uuid, store->header.uuid, sizeof header->uuid);
}

/** Look without opening it as a store: that would bring one of an older format up to date. */
static bool is_another_store(const HrStore* store, const char* path)
{
  HrStoreHeader header;
  const int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  const bool known = fd >= 0 && !hr_preflight(fd, path, &header, NULL);
  if (fd >= 0) {
    close(fd);
  }
  return known && !is_of(store, &header);
}

static HrStatus refuse_another(const HrStore* store, const char* path, HrError* error)
{
  return hr_error(error, HR_ERR_ARGUMENT,
                  "%s is no backup of %s, but another store or a backup of one. It was left as "
                  "it is: name another file.",
                  path, store->path);
}

static HrStatus update_backup(HrStore* store, const char* path, HrBackupReport* report,
                              HrError* error)
{
  HrStore* backup = NULL;
  Update update = {.report = report};
  if (is_another_store(store, path)) {
    return refuse_another(store, path, error);
  }
  HrStatus status = hr_store_open(path, 0, &backup, error);
  if (status) {
    return status;
  }
  if (!is_of(store, &backup->header)) {
    status = refuse_another(store, path, error); // It came just now
  } else {
    status = update_all(store, backup, &update);
    if (update.parted) {
      hr_error(
          error, status,
          "%s has music that %s has not: it was recorded into, or the store was put back to an "
          "earlier state. It was left as it is: name another file.",
          path, store->path);
    } else if (status) {
      hr_error(error, status, "The backup %s could not be brought up to date: %s. It is as it was.",
               path, hr_strerror(status));
    }
  }
  hr_store_close(backup);
  return status;
}

HrStatus hr_store_backup(HrStore* store, const char* path, HrBackupReport* report, HrError* error)
{
  struct stat info;
  *report = (HrBackupReport){0};
  if (is_same_file(store, path)) {
    return hr_error(error, HR_ERR_ARGUMENT, "%s is the store itself. Name another file.", path);
  }
  report->first = lstat(path, &info) && errno == ENOENT;
  return report->first ? hr_store_compact(store, path, false, &report->bytes, error)
                       : update_backup(store, path, report, error);
}

bool hr_store_is_continued(HrTxn* older, HrStore* newer)
{
  HrBackupReport report = {0};
  HrTxn trial = {.store = older->store, .mode = HR_WRITE};
  Update update = {.to = &trial, .report = &report};
  if (!is_of(older->store, &newer->header) ||
      mdb_txn_begin(older->store->env, older->txn, 0, &trial.txn)) {
    return false;
  }
  const HrStatus status = update_databases(newer, &update);
  mdb_txn_abort(trial.txn);
  return !status && !report.damaged;
}
