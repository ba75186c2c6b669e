/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/internal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

/** It is open, and the file not cut short: reading the map beyond its end would kill the host. */
static HrStatus look_at_file(HrStore* store)
{
  mdb_filehandle_t fd;
  struct stat info;
  if (mdb_env_get_fd(store->env, &fd) || fstat(fd, &info)) {
    return HR_ERR_IO;
  }
  if (info.st_size < store->bytes) {
    return HR_ERR_TRUNCATED;
  }
  store->bytes = info.st_size;
  return HR_OK;
}

/** Count a transaction in, once the store can be believed. */
static HrStatus enter(HrStore* store, HrTxnMode mode)
{
  HrStatus status = HR_OK;
  pthread_mutex_lock(&store->gate);
  /* Readers may hold locks that others wait for: they do not wait for the disk. */
  if (store->failed && mode == HR_WRITE) {
    status = store->transactions ? HR_ERR_IO : hr_store_reopen(store);
  }
  status = status ? status : look_at_file(store);
  store->transactions += !status;
  pthread_mutex_unlock(&store->gate);
  return status;
}

static void leave(HrStore* store)
{
  pthread_mutex_lock(&store->gate);
  --store->transactions;
  pthread_mutex_unlock(&store->gate);
}

/** So often, of the write transactions of a store, dead readers are looked for. */
#define READER_CHECK_INTERVAL 64

/** A reader that was killed keeps its snapshot, and with it every page replaced
 * since, from reuse: LMDB forgets it only when told to look. */
static void forget_dead_readers(HrStore* store)
{
  int dead = 0;
  mdb_reader_check(store->env, &dead);
}

static int begin(HrStore* store, HrTxnMode mode, MDB_txn** txn)
{
  const unsigned flags = mode == HR_READ ? MDB_RDONLY : 0;
  if (mode == HR_WRITE && store->write_count++ % READER_CHECK_INTERVAL == 0) {
    forget_dead_readers(store);
  }
  const int code = mdb_txn_begin(store->env, NULL, flags, txn);
  if (code != MDB_READERS_FULL) {
    return code;
  }
  forget_dead_readers(store);
  return mdb_txn_begin(store->env, NULL, flags, txn);
}

static HrStatus begin_anywhere(HrStore* store, HrTxnMode mode, HrTxn** txn)
{
  *txn = NULL;
  if (mode == HR_WRITE && store->read_only) {
    return HR_ERR_READ_ONLY;
  }
  const HrStatus status = enter(store, mode);
  if (status) {
    return status;
  }
  HrTxn* const self = calloc(1, sizeof *self);
  if (!self) {
    leave(store);
    return HR_ERR_NO_MEMORY;
  }
  self->store = store;
  self->mode = mode;
  const int code = begin(store, mode, &self->txn);
  if (code) {
    free(self);
    leave(store);
    return hr_status_from_lmdb(store, code);
  }
  *txn = self;
  return HR_OK;
}

HrStatus hr_txn_begin(HrStore* store, HrTxnMode mode, HrTxn** txn)
{
  HrStatus status = begin_anywhere(store, mode, txn);
  /* What is written to a deleted file is lost when it is closed. Nobody else writes
   * by now: what was committed before is in the copy that hr_store_relocate() made. */
  if (!status && mode == HR_WRITE && hr_store_is_lost(store)) {
    hr_txn_abort(*txn);
    *txn = NULL;
    status = HR_ERR_NOT_FOUND;
  }
  return status;
}

HrStatus hr_txn_begin_lost(HrStore* store, HrTxn** txn)
{
  return begin_anywhere(store, HR_WRITE, txn);
}

static void close_cursor(HrTxn* txn)
{
  if (txn->nodes) {
    mdb_cursor_close(txn->nodes);
  }
}

static void release(HrTxn* txn)
{
  leave(txn->store);
  hr_tail_free(&txn->tail);
  free(txn);
}

void hr_size_signal_hold(HrSizeSignal* held)
{
  sigset_t file_size, pending;
  sigemptyset(&file_size);
  sigaddset(&file_size, SIGXFSZ);
  sigpending(&pending);
  held->pending = sigismember(&pending, SIGXFSZ);
  pthread_sigmask(SIG_BLOCK, &file_size, &held->before);
}

void hr_size_signal_drop(const HrSizeSignal* held)
{
  const struct timespec at_once = {0, 0};
  sigset_t file_size;
  sigemptyset(&file_size);
  sigaddset(&file_size, SIGXFSZ);
  if (!held->pending) {
    sigtimedwait(&file_size, NULL, &at_once);
  }
  pthread_sigmask(SIG_SETMASK, &held->before, NULL);
}

/** Less room than a commit may take. */
#define LITTLE_ROOM ((uint64_t)1 << 20)

/** True if the disk is full, or the file about as large as this program may make one. */
static bool is_full(const HrStore* store)
{
  mdb_filehandle_t fd;
  struct stat info;
  struct statvfs disk;
  struct rlimit limit;
  if (mdb_env_get_fd(store->env, &fd) || fstat(fd, &info) || fstatvfs(fd, &disk) ||
      getrlimit(RLIMIT_FSIZE, &limit)) {
    return false;
  }
  return (uint64_t)disk.f_bavail * disk.f_frsize < LITTLE_ROOM ||
         (uint64_t)info.st_size + LITTLE_ROOM > limit.rlim_cur;
}

static HrStatus commit(HrStore* store, MDB_txn* txn)
{
  HrSizeSignal held;
  hr_size_signal_hold(&held);
  const int code = mdb_txn_commit(txn);
  hr_size_signal_drop(&held);
  const HrStatus status = hr_status_from_lmdb(store, code);
  /* LMDB says EIO, too, where only a part of what it wrote was taken. */
  return code == EIO && is_full(store) ? HR_ERR_NO_SPACE : status;
}

HrStatus hr_txn_commit(HrTxn* txn)
{
  HrStore* const store = txn->store;
  const bool unsynced = store->unsynced;
  HrStatus status = txn->spoilt ? HR_ERR_ARGUMENT : hr_tail_flush(txn);
  close_cursor(txn);
  if (status) {
    mdb_txn_abort(txn->txn);
  } else {
    status = commit(store, txn->txn);
  }
  if (!status && unsynced && !store->unsynced) { // Opened meanwhile by somebody who wants it so
    status = hr_status_from_lmdb(store, mdb_env_sync(store->env, 1));
  }
  if (!status) {
    hr_store_note_committed(store);
    hr_tail_keep_state(txn);
  }
  if (!status && txn->mode == HR_WRITE) {
    hr_room_take(store);
  }
  release(txn);
  return status;
}

void hr_txn_abort(HrTxn* txn)
{
  if (txn) {
    close_cursor(txn);
    mdb_txn_abort(txn->txn);
    release(txn);
  }
}

HrStatus hr_get_record(HrTxn* txn, MDB_dbi dbi, const void* key, size_t key_size, void* record,
                       size_t size)
{
  MDB_val k = {key_size, (void*)key};
  MDB_val v;
  const int code = mdb_get(txn->txn, dbi, &k, &v);
  if (code) {
    return hr_status_from_lmdb(txn->store, code);
  }
  if (hr_record_open(txn, dbi, &k, &v) || v.mv_size != size) {
    return HR_ERR_DAMAGED;
  }
  memcpy(record, v.mv_data, size);
  return HR_OK;
}

static HrRecordKind kind_of(const HrStore* store, MDB_dbi dbi)
{
  return dbi == store->branches   ? HR_RECORD_BRANCH
         : dbi == store->names    ? HR_RECORD_NAME
         : dbi == store->journal  ? HR_RECORD_JOURNAL
         : dbi == store->trees    ? HR_RECORD_TREE
         : dbi == store->captures ? HR_RECORD_CAPTURE
         : dbi == store->notes    ? HR_RECORD_NOTE
                                  : HR_RECORD_OTHER;
}

HrStatus hr_record_open(const HrTxn* txn, MDB_dbi dbi, const MDB_val* key, MDB_val* value)
{
  return hr_record_valid(kind_of(txn->store, dbi), key->mv_data, key->mv_size, value->mv_data,
                         &value->mv_size)
             ? HR_OK
             : HR_ERR_DAMAGED;
}

HrStatus hr_put(HrTxn* txn, MDB_dbi dbi, const void* key, size_t key_size, const void* value,
                size_t size)
{
  if (txn->mode != HR_WRITE) {
    return HR_ERR_READ_ONLY;
  }
  MDB_val k = {key_size, (void*)key};
  MDB_val v = {size, (void*)value};
  const uint32_t checksum =
      hr_record_checksum(kind_of(txn->store, dbi), key, key_size, value, size);
  v.mv_size = size + sizeof checksum;
  const int code = mdb_put(txn->txn, dbi, &k, &v, MDB_RESERVE);
  if (!code) {
    memcpy(v.mv_data, value, size);
    memcpy((char*)v.mv_data + size, &checksum, sizeof checksum);
  }
  return hr_status_from_lmdb(txn->store, code);
}

HrStatus hr_capture_get(HrTxn* txn, const uint8_t uuid[16], HrCaptureRecord* record)
{
  return hr_get_record(txn, txn->store->captures, uuid, 16, record, sizeof *record);
}

HrStatus hr_capture_put(HrTxn* txn, const uint8_t uuid[16], const HrCaptureRecord* record)
{
  return hr_put(txn, txn->store->captures, uuid, 16, record, sizeof *record);
}

typedef struct {
  uint8_t uuid[16];
  uint8_t kind;
} RescueKey;

static RescueKey rescue_key(const uint8_t uuid[16])
{
  RescueKey key = {.kind = 'r'};
  memcpy(key.uuid, uuid, sizeof key.uuid);
  return key;
}

HrStatus hr_capture_get_rescues(HrTxn* txn, const uint8_t uuid[16], HrRescueRecord* record)
{
  const RescueKey key = rescue_key(uuid);
  return hr_get_record(txn, txn->store->captures, &key, sizeof key, record, sizeof *record);
}

HrStatus hr_capture_put_rescues(HrTxn* txn, const uint8_t uuid[16], const HrRescueRecord* record)
{
  const RescueKey key = rescue_key(uuid);
  return hr_put(txn, txn->store->captures, &key, sizeof key, record, sizeof *record);
}

HrStatus hr_capture_delete(HrTxn* txn, const uint8_t uuid[16])
{
  if (txn->mode != HR_WRITE) {
    return HR_ERR_READ_ONLY;
  }
  RescueKey rescues = rescue_key(uuid);
  MDB_val keys[] = {{16, (void*)uuid}, {sizeof rescues, &rescues}};
  int code = 0;
  for (size_t i = 0; i < sizeof keys / sizeof *keys && !code; ++i) {
    code = mdb_del(txn->txn, txn->store->captures, &keys[i], NULL);
    code = code == MDB_NOTFOUND ? 0 : code;
  }
  return hr_status_from_lmdb(txn->store, code);
}
