/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/preflight.h"

#include "store/pages.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static bool database_sane(const HrPageTree* database, uint64_t last_page)
{
  return database->root == HR_NO_PAGE ? database->entries == 0
                                      : database->root <= last_page && database->depth > 0 &&
                                            database->depth < HR_PAGES_DEPTH_MAX;
}

static HrStatus check_meta(const HrPageHeader* page, const HrPageMeta* meta, uint64_t number,
                           uint64_t file_bytes, const char* path, HrError* error)
{
  if (meta->magic != HR_PAGES_MAGIC || !(page->flags & HR_PAGE_META)) {
    return hr_error(error, HR_ERR_NOT_A_STORE,
                    "%s is not a HalfRemembered store. It was left as it is: choose another path.",
                    path);
  }
  if (meta->version != HR_PAGES_VERSION || meta->free_list.pad != HR_PAGE_SIZE) {
    return hr_error(error, HR_ERR_NEWER,
                    "%s uses a database format unknown to this version (LMDB version %u, pages of "
                    "%u bytes). Update HalfRemembered, or choose another path.",
                    path, meta->version, meta->free_list.pad);
  }
  /* Transactions write the two in turn. */
  if (page->number != number || (meta->transaction && meta->transaction % 2 != number) ||
      !database_sane(&meta->free_list, meta->last_page) ||
      !database_sane(&meta->main, meta->last_page)) {
    return hr_error(error, HR_ERR_DAMAGED,
                    "%s is damaged in its first pages. Restore it from a backup, or choose "
                    "another path.",
                    path);
  }
  if (meta->last_page >= file_bytes / HR_PAGE_SIZE) {
    return hr_error(error, HR_ERR_TRUNCATED,
                    "%s is cut short: %llu bytes where %llu are needed. Restore it from a backup, "
                    "or choose another path.",
                    path, (unsigned long long)file_bytes,
                    (unsigned long long)(meta->last_page + 1) * HR_PAGE_SIZE);
  }
  return HR_OK;
}

/** Find HR_HEADER_KEY in a leaf page. */
static bool find_header(const uint8_t* page, HrStoreHeader* header)
{
  const size_t key_size = strlen(HR_HEADER_KEY);
  for (unsigned i = 0; i < hr_page_entries(page); ++i) {
    HrPageEntry entry;
    if (hr_page_entry(page, i, &entry) && entry.value && entry.key_size == key_size &&
        entry.size == sizeof *header && !memcmp(entry.key, HR_HEADER_KEY, key_size)) {
      memcpy(header, entry.value, sizeof *header);
      return !memcmp(header->magic, HR_HEADER_MAGIC, sizeof header->magic);
    }
  }
  return false;
}

/** Our databases are few: the root of the main one is a single leaf. */
static HrStatus check_header(int fd, const HrPageMeta* meta, const char* path,
                             HrStoreHeader* header, HrError* error)
{
  uint8_t page[HR_PAGE_SIZE];
  if (meta->main.root == HR_NO_PAGE) {
    return HR_END;
  }
  if (!hr_page_read(fd, meta->main.root, page)) {
    return hr_error(error, HR_ERR_IO, "Cannot read %s: %s.", path, strerror(errno));
  }
  if (!find_header(page, header)) {
    return hr_error(error, HR_ERR_NOT_A_STORE,
                    "%s is a database of another program. It was left as it is: choose another "
                    "path.",
                    path);
  }
  if (header->format > HR_FORMAT_VERSION) {
    return hr_error(error, HR_ERR_NEWER,
                    "%s was written by a newer HalfRemembered (format %u, this one knows %u). "
                    "Update HalfRemembered, or choose another path.",
                    path, header->format, HR_FORMAT_VERSION);
  }
  if (header->format == 0 || header->page_size != HR_PAGE_SIZE) {
    return hr_error(error, HR_ERR_DAMAGED,
                    "%s has a damaged header. Restore it from a backup, or choose another path.",
                    path);
  }
  return HR_OK;
}

static HrStatus check_once(int fd, const char* path, HrStoreHeader* header, HrError* error)
{
  struct stat info;
  HrPageHeader pages[2];
  HrPageMeta metas[2];
  if (fstat(fd, &info)) {
    return hr_error(error, HR_ERR_IO, "Cannot read %s: %s.", path, strerror(errno));
  }
  if (hr_pages_to_begin(fd, (uint64_t)info.st_size)) {
    return HR_END;
  }
  const bool first = hr_page_read_meta(fd, 0, &pages[0], &metas[0]);
  if (info.st_size < 2 * (off_t)HR_PAGE_SIZE || !first ||
      !hr_page_read_meta(fd, 1, &pages[1], &metas[1])) {
    const bool lmdb = first && metas[0].magic == HR_PAGES_MAGIC;
    return hr_error(error, lmdb ? HR_ERR_TRUNCATED : HR_ERR_NOT_A_STORE,
                    lmdb ? "%s is cut short: not even its first pages are whole. Restore it from a "
                           "backup, or choose another path."
                         : "%s is not a HalfRemembered store. It was left as it is: choose another "
                           "path.",
                    path);
  }
  HrStatus status = HR_OK;
  for (unsigned i = 0; i < 2 && !status; ++i) {
    status = check_meta(&pages[i], &metas[i], i, (uint64_t)info.st_size, path, error);
  }
  if (status) {
    return status;
  }
  const HrPageMeta* const newest = &metas[metas[1].transaction > metas[0].transaction];
  return check_header(fd, newest, path, header, error);
}

HrStatus hr_preflight(int fd, const char* path, HrStoreHeader* header, HrError* error)
{
  /* Another process may be writing a meta page, or may have moved the root on
   * and reused the page, between two of our reads: a fault counts only when it
   * stays. */
  HrStatus status = HR_OK;
  for (int attempt = 0; attempt < 5; ++attempt) {
    status = check_once(fd, path, header, error);
    if (status == HR_OK || status == HR_END || status == HR_ERR_NEWER) {
      return status;
    }
    nanosleep(&(struct timespec){0, 2000000}, NULL);
  }
  return status;
}
