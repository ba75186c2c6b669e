/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* A store whose file was moved, deleted or replaced while it is open: all of it is
 * still there to be read. */

#include "store/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/** So many names beside the old one are tried. */
#define PLACES_MAX 100u

enum { PATH_SIZE = 4096 };

/** The old path, then names beside it. */
static HrStatus name_place(const char* path, unsigned turn, char place[PATH_SIZE], HrError* error)
{
  const size_t size = strlen(path);
  const bool suffixed = size > 3 && !strcmp(path + size - 3, ".hr");
  const int stem = (int)(suffixed ? size - 3 : size);
  const char* const suffix = suffixed ? ".hr" : "";
  const int length =
      turn == 0   ? snprintf(place, PATH_SIZE, "%s", path)
      : turn == 1 ? snprintf(place, PATH_SIZE, "%.*s-rescued%s", stem, path, suffix)
                  : snprintf(place, PATH_SIZE, "%.*s-rescued-%u%s", stem, path, turn, suffix);
  return length < PATH_SIZE ? HR_OK
                            : hr_error(error, HR_ERR_ARGUMENT, "The store's path is too long.");
}

/** Write the store to a place where nothing is. HR_ERR_EXISTS if something is. */
static HrStatus write_to(HrStore* lost, const char* place, HrError* error)
{
  struct stat info;
  uint64_t bytes;
  if (!lstat(place, &info) || errno != ENOENT) {
    return HR_ERR_EXISTS;
  }
  const HrStatus status = hr_make_folders(place, error);
  return status ? status : hr_store_compact(lost, place, false, &bytes, error);
}

/** What lies at a place is the store, with all that was committed, or not. */
static bool open_continued(HrTxn* held, const char* place, HrStore** store)
{
  if (hr_store_open(place, 0, store, NULL)) {
    return false;
  }
  if (*store != held->store && hr_store_is_continued(held, *store)) {
    return true;
  }
  hr_store_close(*store);
  *store = NULL;
  return false;
}

/** The disk was taken away, and is back as another device: all that was committed is there. */
static bool open_returned(const HrStore* lost, HrStore** store)
{
  if (hr_store_open(lost->path, 0, store, NULL)) {
    return false;
  }
  if (*store != lost && (*store)->committed >= lost->committed &&
      !memcmp((*store)->header.uuid, lost->header.uuid, sizeof lost->header.uuid)) {
    return true;
  }
  hr_store_close(*store);
  *store = NULL;
  return false;
}

HrStatus hr_store_relocate(HrStore* lost, HrStore** store, HrError* error)
{
  char place[PATH_SIZE];
  HrTxn* held = NULL; // Whoever would commit to the lost file waits, and finds it lost then
  *store = NULL;
  HrStatus status = hr_txn_begin_lost(lost, &held);
  if (status == HR_ERR_IO && open_returned(lost, store)) {
    return HR_OK;
  }
  if (status) {
    return hr_error(error, status, "Cannot write %s anew: %s.", lost->path, hr_strerror(status));
  }
  for (unsigned turn = 0; turn < PLACES_MAX && !status && !*store; ++turn) {
    status = name_place(lost->path, turn, place, error);
    status = status ? status : write_to(lost, place, error);
    if (!status) {
      status = hr_store_open(place, 0, store, error);
    } else if (status == HR_ERR_EXISTS) {
      status = HR_OK;
      open_continued(held, place, store);
    }
  }
  hr_txn_abort(held);
  return status || *store
             ? status
             : hr_error(error, HR_ERR_EXISTS, "All names beside %s are taken: remove some files.",
                        lost->path);
}
