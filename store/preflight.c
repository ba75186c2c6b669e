/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/preflight.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
  PAGE_BRANCH = 0x01,
  PAGE_LEAF = 0x02,
  PAGE_META = 0x08,
  LMDB_VERSION = 1,
  LEAF_IS_BIG = 0x01,
  LEAF_IS_SUBTREE = 0x02,
};

#define LMDB_MAGIC 0xBEEFC0DEu

typedef struct {
  uint64_t number;
  uint16_t pad;
  uint16_t flags;
  uint16_t lower; ///< End of the slot array, from the page's start
  uint16_t upper;
} Page;

typedef struct {
  uint32_t pad; ///< Page size, in the first database of a meta page
  uint16_t flags;
  uint16_t depth;
  uint64_t branch_pages, leaf_pages, overflow_pages, entries;
  uint64_t root;
} Database;

typedef struct {
  uint32_t magic;
  uint32_t version;
  uint64_t address;
  uint64_t map_size;
  Database free_list;
  Database main;
  uint64_t last_page;
  uint64_t transaction;
} Meta;

typedef struct {
  uint16_t size_low;
  uint16_t size_high;
  uint16_t flags;
  uint16_t key_size;
  char key[];
} LeafEntry;

#define NO_PAGE UINT64_MAX

static bool read_page(int fd, uint64_t number, uint8_t page[HR_PAGE_SIZE])
{
  return pread(fd, page, HR_PAGE_SIZE, (off_t)(number * HR_PAGE_SIZE)) == (ssize_t)HR_PAGE_SIZE;
}

static bool database_sane(const Database* database, uint64_t last_page)
{
  return database->root == NO_PAGE
             ? database->entries == 0
             : database->root <= last_page && database->depth > 0 && database->depth < 32;
}

static HrStatus check_meta(const uint8_t* bytes, uint64_t number, uint64_t file_bytes,
                           const char* path, Meta* meta, HrError* error)
{
  Page page;
  memcpy(&page, bytes, sizeof page);
  memcpy(meta, bytes + sizeof page, sizeof *meta);
  if (meta->magic != LMDB_MAGIC || !(page.flags & PAGE_META)) {
    return hr_error(error, HR_ERR_NOT_A_STORE,
                    "%s is not a HalfRemembered store. It was left as it is: choose another path.",
                    path);
  }
  if (meta->version != LMDB_VERSION || meta->free_list.pad != HR_PAGE_SIZE) {
    return hr_error(error, HR_ERR_NEWER,
                    "%s uses a database format unknown to this version (LMDB version %u, pages of "
                    "%u bytes). Update HalfRemembered, or choose another path.",
                    path, meta->version, meta->free_list.pad);
  }
  if (page.number != number || !database_sane(&meta->free_list, meta->last_page) ||
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

/** Find HR_HEADER_KEY in a leaf page, trusting no offset of it. */
static bool find_header(const uint8_t* bytes, HrStoreHeader* header)
{
  Page page;
  memcpy(&page, bytes, sizeof page);
  if (!(page.flags & PAGE_LEAF) || page.lower < sizeof page || page.lower > HR_PAGE_SIZE) {
    return false;
  }
  const size_t key_size = strlen(HR_HEADER_KEY);
  for (size_t slot = sizeof page; slot + 2 <= page.lower; slot += 2) {
    uint16_t offset;
    memcpy(&offset, bytes + slot, sizeof offset);
    LeafEntry entry;
    if (offset + sizeof entry + key_size + sizeof *header > HR_PAGE_SIZE) {
      continue;
    }
    memcpy(&entry, bytes + offset, sizeof entry);
    const uint32_t size = entry.size_low | (uint32_t)entry.size_high << 16;
    if (entry.key_size == key_size && size == sizeof *header &&
        !(entry.flags & (LEAF_IS_BIG | LEAF_IS_SUBTREE)) &&
        !memcmp(bytes + offset + sizeof entry, HR_HEADER_KEY, key_size)) {
      memcpy(header, bytes + offset + sizeof entry + key_size, sizeof *header);
      return !memcmp(header->magic, HR_HEADER_MAGIC, sizeof header->magic);
    }
  }
  return false;
}

/** Our databases are few: the root of the main one is a single leaf. */
static HrStatus check_header(int fd, const Meta* meta, const char* path, HrStoreHeader* header,
                             HrError* error)
{
  uint8_t page[HR_PAGE_SIZE];
  if (meta->main.root == NO_PAGE) {
    return HR_END;
  }
  if (!read_page(fd, meta->main.root, page)) {
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
  uint8_t pages[2][HR_PAGE_SIZE];
  if (fstat(fd, &info)) {
    return hr_error(error, HR_ERR_IO, "Cannot read %s: %s.", path, strerror(errno));
  }
  if (info.st_size == 0) {
    return HR_END;
  }
  if (info.st_size < (off_t)sizeof pages || !read_page(fd, 0, pages[0]) ||
      !read_page(fd, 1, pages[1])) {
    Meta meta;
    ssize_t got = pread(fd, pages[0], sizeof pages[0], 0);
    const bool lmdb = got >= (ssize_t)(sizeof(Page) + sizeof meta) &&
                      (memcpy(&meta, pages[0] + sizeof(Page), sizeof meta), true) &&
                      meta.magic == LMDB_MAGIC;
    return hr_error(error, lmdb ? HR_ERR_TRUNCATED : HR_ERR_NOT_A_STORE,
                    lmdb ? "%s is cut short: not even its first pages are whole. Restore it from a "
                           "backup, or choose another path."
                         : "%s is not a HalfRemembered store. It was left as it is: choose another "
                           "path.",
                    path);
  }

  Meta metas[2];
  const uint64_t size = (uint64_t)info.st_size;
  HrStatus status = check_meta(pages[0], 0, size, path, &metas[0], error);
  if (!status) {
    status = check_meta(pages[1], 1, size, path, &metas[1], error);
  }
  if (status) {
    return status;
  }
  const Meta* newest = &metas[metas[1].transaction > metas[0].transaction];
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
