/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/snapshot.h"

#include "store/internal.h"
#include "store/preflight.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int take_slot(HrSnapshot* snapshot, const char* path, unsigned flags)
{
  int code = mdb_env_create(&snapshot->env);
  if (code) {
    return code;
  }
  mdb_env_set_mapsize(snapshot->env, hr_largest_map()); // Not that of the last who wrote
  code = mdb_env_open(snapshot->env, path, MDB_NOSUBDIR | MDB_NOTLS | MDB_RDONLY | flags, 0600);
  code = code ? code : mdb_txn_begin(snapshot->env, NULL, MDB_RDONLY, &snapshot->txn);
  if (code) {
    mdb_env_close(snapshot->env);
    snapshot->env = NULL;
  }
  return code;
}

/** Take a reader's slot; where there can be no lock file nobody writes. Those who write look
 * for it beside the file, not beside a link to it. */
static HrStatus hold(HrSnapshot* snapshot, const char* path, HrError* error)
{
  char* const file = realpath(path, NULL);
  if (!file) {
    return hr_error(error, HR_ERR_IO, "Cannot open %s: %s.", path, strerror(errno));
  }
  HrStatus status = hr_prepare_lock_file(file, true, error);
  if (!status) {
    int code = take_slot(snapshot, file, 0);
    code = code == EROFS || code == EACCES ? take_slot(snapshot, file, MDB_NOLOCK) : code;
    status =
        code ? hr_error(error, HR_ERR_IO, "Cannot open %s: %s.", path, mdb_strerror(code)) : HR_OK;
  }
  free(file);
  return status;
}

bool hr_snapshot_pages(MDB_txn* txn, int fd, HrPages* pages)
{
  size_t seen = SIZE_MAX;
  while (!hr_pages_open(pages, fd, mdb_txn_id(txn))) {
    /* Two commits since it began have written over its meta page. If there were none, the lock
     * file, which says what the newest is, belongs to another store. */
    const bool newer = mdb_txn_id(txn) != seen;
    seen = mdb_txn_id(txn);
    mdb_txn_reset(txn);
    if (!newer || mdb_txn_renew(txn)) {
      return false;
    }
  }
  return true;
}

HrStatus hr_snapshot_open(HrSnapshot* snapshot, const char* path, HrError* error)
{
  struct stat info;
  HrStoreHeader header;
  *snapshot = (HrSnapshot){.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (snapshot->fd < 0 || fstat(snapshot->fd, &info) || !S_ISREG(info.st_mode)) {
    const bool missing = snapshot->fd < 0 && errno == ENOENT;
    return hr_error(error, missing ? HR_ERR_NOT_FOUND : HR_ERR_IO, "Cannot read %s: %s.%s", path,
                    snapshot->fd < 0 ? strerror(errno) : "it is not a plain file",
                    missing ? " Nothing has been recorded there yet." : "");
  }
  snapshot->page_count = (uint64_t)info.st_size / HR_PAGE_SIZE;
  HrStatus status = hr_preflight(snapshot->fd, path, &header, error);
  if (status == HR_END) {
    return hr_error(error, HR_ERR_NOT_FOUND, "%s is empty: nothing was recorded there.", path);
  }
  if (!status) {
    const HrStatus held = hold(snapshot, path, error);
    if (held) {
      return held;
    }
  }
  if (snapshot->txn && !hr_snapshot_pages(snapshot->txn, snapshot->fd, &snapshot->pages)) {
    return hr_error(error, HR_ERR_IO, "Cannot read %s.", path);
  }
  if (!snapshot->txn && !hr_pages_open(&snapshot->pages, snapshot->fd, UINT64_MAX)) {
    /* Both first pages are lost: nothing is known of the rest but what it says itself. */
    snapshot->pages.meta.main.root = HR_NO_PAGE;
    snapshot->pages.meta.free_list.root = HR_NO_PAGE;
  }
  if (snapshot->pages.meta.last_page >= snapshot->page_count) {
    snapshot->pages.meta.last_page = snapshot->page_count ? snapshot->page_count - 1 : 0;
  }
  return status;
}

void hr_snapshot_close(HrSnapshot* snapshot)
{
  if (snapshot->env) {
    mdb_txn_abort(snapshot->txn);
    mdb_env_close(snapshot->env);
  }
  if (snapshot->fd >= 0) {
    close(snapshot->fd);
  }
  *snapshot = (HrSnapshot){.fd = -1};
}
