/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/internal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/** A commit that makes the file so much longer is taken for one of many. Playing makes it longer by
 * a few pages. */
#define FAST_GROWTH ((off_t)1 << 20)

/** The less at once, the less of the gain is left (docs/infinite-canvas-storage.md, 3.2). */
#define ROOM_AHEAD ((off_t)32 << 20)

void hr_room_take(HrStore* store)
{
  mdb_filehandle_t fd;
  struct stat info;
  if (mdb_env_get_fd(store->env, &fd) || fstat(fd, &info)) {
    return;
  }
  pthread_mutex_lock(&store->gate);
  const off_t grown = info.st_size - store->bytes;
  const bool is_short = grown >= FAST_GROWTH && info.st_size + grown > store->room;
  if (is_short) {
    store->room = info.st_size + ROOM_AHEAD;
  }
  pthread_mutex_unlock(&store->gate);
  if (is_short) {
    /* Nothing depends on it: without, the next commits take what they need, or say that there is
     * none. */
    fallocate(fd, FALLOC_FL_KEEP_SIZE, info.st_size, ROOM_AHEAD);
  }
}

void hr_room_give_back(HrStore* store)
{
  mdb_filehandle_t fd;
  struct stat info;
  MDB_txn* txn;
  if (!store->room || store->failed || hr_store_is_lost(store) ||
      mdb_txn_begin(store->env, NULL, 0, &txn)) {
    return;
  }
  /* While no other writer can make the file longer: to set the size that it has frees what lies
   * beyond. */
  if (mdb_env_get_fd(store->env, &fd) || fstat(fd, &info) || ftruncate(fd, info.st_size)) {
    /* It stays the file's, for what is written to it later. */
  }
  mdb_txn_abort(txn);
}
