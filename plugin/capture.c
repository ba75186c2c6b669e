/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/capture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define MAGIC   "HRCAPTR"
#define VERSION 1u
#define PREFIX  "capture-"

/** The ring's bytes begin on a page of their own. */
#define DATA_OFFSET ((sizeof(HrCaptureFile) + 4095) & ~(size_t)4095)
#define FILE_SIZE   (DATA_OFFSET + HR_CAPTURE_CAPACITY)

_Static_assert(DATA_OFFSET == 8192, "rings of older times begin there");

HrStatus hr_runtime_folder(char* path, size_t size, HrError* error)
{
  const char* const runtime = getenv("XDG_RUNTIME_DIR");
  struct statfs system;
  const bool in_memory =
      runtime && *runtime == '/' && !statfs(runtime, &system) && system.f_type == TMPFS_MAGIC;
  const int length = in_memory
                         ? snprintf(path, size, "%s/halfremembered", runtime)
                         : snprintf(path, size, "/dev/shm/halfremembered-%u", (unsigned)geteuid());
  if (length < 0 || (size_t)length >= size) {
    return hr_error(error, HR_ERR_LIMIT, "The path in XDG_RUNTIME_DIR is too long.");
  }
  struct stat info;
  if (mkdir(path, 0700) && errno != EEXIST) {
    return hr_error(error, HR_ERR_PERMISSION, "Cannot make the folder %s: %s.", path,
                    strerror(errno));
  }
  if (lstat(path, &info) || !S_ISDIR(info.st_mode) || info.st_uid != geteuid()) {
    return hr_error(error, HR_ERR_PERMISSION, "%s is not a folder of yours. Remove it.", path);
  }
  if ((info.st_mode & 0777) != 0700 && chmod(path, 0700)) {
    return hr_error(error, HR_ERR_PERMISSION, "Others may look into %s: %s.", path,
                    strerror(errno));
  }
  return HR_OK;
}

static HrCapture* map(int fd, const char* path)
{
  HrCapture* const capture = calloc(1, sizeof *capture);
  if (!capture) {
    return NULL;
  }
  capture->file = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (capture->file == MAP_FAILED) {
    free(capture);
    return NULL;
  }
  capture->fd = fd;
  snprintf(capture->path, sizeof capture->path, "%s", path);
  hr_ring_init(&capture->ring, &capture->file->positions, (uint8_t*)capture->file + DATA_OFFSET,
               HR_CAPTURE_CAPACITY);
  return capture;
}

HrCapture* hr_capture_new(HrError* error)
{
  char folder[3900];
  char path[4096];
  uint8_t uuid[16];
  const HrStatus status = hr_runtime_folder(folder, sizeof folder, error);
  if (status) {
    return NULL;
  }
  if (getrandom(uuid, sizeof uuid, 0) != (ssize_t)sizeof uuid) {
    hr_error(error, HR_ERR_IO, "Cannot get random numbers: %s.", strerror(errno));
    return NULL;
  }
  int length = snprintf(path, sizeof path, "%s/" PREFIX, folder);
  for (size_t i = 0; i < sizeof uuid; ++i) {
    length += snprintf(path + length, sizeof path - (size_t)length, "%02x", uuid[i]);
  }
  const int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) {
    hr_error(error, HR_ERR_PERMISSION, "Cannot make %s: %s.", path, strerror(errno));
    return NULL;
  }
  /* Locked before it has a size: an empty file is nobody's orphan. */
  const int code = flock(fd, LOCK_EX | LOCK_NB) ? errno : posix_fallocate(fd, 0, FILE_SIZE);
  HrCapture* const capture = code ? NULL : map(fd, path);
  if (!capture) {
    hr_error(error, HR_ERR_NO_SPACE, "No room for %llu bytes of shared memory in %s: %s.",
             (unsigned long long)FILE_SIZE, folder, strerror(code ? code : errno));
    unlink(path);
    close(fd);
    return NULL;
  }
  HrCaptureFile* const file = capture->file;
  memset(file, 0, FILE_SIZE); // Once written, a page of shared memory never faults again
  file->version = VERSION;
  file->wall_clock_ns = hr_wall_clock_ns();
  memcpy(file->uuid, uuid, sizeof uuid);
  memcpy(file->magic, MAGIC, sizeof file->magic);
  return capture;
}

void hr_capture_free(HrCapture* capture, bool remove)
{
  if (!capture) {
    return;
  }
  if (remove) {
    unlink(capture->path);
  }
  munmap(capture->file, FILE_SIZE);
  close(capture->fd);
  free(capture);
}

const HrCaptureHeader* hr_capture_next(const HrCapture* capture, uint64_t* position,
                                       const HrRecord** record)
{
  while ((*record = hr_ring_next(&capture->ring, position))) {
    if ((*record)->size >= sizeof(HrCaptureHeader)) {
      return (const HrCaptureHeader*)(*record + 1);
    }
  }
  return NULL;
}

/** What lies among the bytes of a record looks like another now and then, but not like several. */
enum { RECORDS_IN_A_ROW = 4 };

/** Numbers beyond it leave too few for others: none was ever set aside. */
#define HIGHEST_NUMBER ((uint32_t)INT32_MAX)

static bool is_fork(const HrCaptureHeader* header)
{
  return header->branch && header->branch <= HIGHEST_NUMBER;
}

/** In rings of older times no cause was said. */
static bool has_cause(uint32_t rest)
{
  return !rest || rest == sizeof(HrCaptureCause);
}

bool hr_capture_is_whole(const HrRecord* record)
{
  const HrCaptureHeader* const header = (const HrCaptureHeader*)(record + 1);
  if (record->size < sizeof *header) {
    return false;
  }
  const uint32_t rest = record->size - (uint32_t)sizeof *header;
  switch (record->type) {
  case HR_CAPTURE_MIDI:
  case HR_CAPTURE_META:
    return header->size && header->size == rest;
  case HR_CAPTURE_SENT:
    return header->size && header->size <= rest;
  case HR_CAPTURE_STATE:
    return header->size == rest;
  case HR_CAPTURE_FORK:
    return is_fork(header) && has_cause(rest);
  case HR_CAPTURE_SWITCH:
    return has_cause(rest);
  default:
    return true;
  }
}

static bool is_known(const HrRecord* record)
{
  const HrCaptureHeader* const header = (const HrCaptureHeader*)(record + 1);
  return record->type <= HR_CAPTURE_STATE && hr_capture_is_whole(record) &&
         hr_tick_valid(header->tick);
}

static bool has_records(const HrRing* ring, uint64_t position, uint64_t end)
{
  for (unsigned i = 0; i < RECORDS_IN_A_ROW && position != end; ++i) {
    const HrRecord* const record = hr_ring_next(ring, &position);
    if (!record || !is_known(record)) {
      return false;
    }
  }
  return true;
}

void hr_capture_step_over(const HrCapture* capture, uint64_t* position, uint64_t end)
{
  const HrRing* const ring = &capture->ring;
  uint64_t next = (*position | 7) + 1;
  if (end - *position > ring->capacity) {
    next = end; // The positions themselves are damaged
  }
  while (next < end && !has_records(ring, next, end)) {
    next += 8;
  }
  *position = next < end ? next : end;
}

void hr_capture_bind(HrCapture* capture, HrStore* store, HrTreeId tree)
{
  snprintf(capture->file->store_path, sizeof capture->file->store_path, "%s", hr_store_path(store));
  memcpy(capture->file->store, hr_store_uuid(store), 16);
  capture->file->tree = tree;
}

/** A ring that nobody else can have made, reached or changed. */
static bool is_ours_alone(const struct stat* info)
{
  return S_ISREG(info->st_mode) && info->st_uid == geteuid() && !(info->st_mode & 077) &&
         info->st_size == (off_t)FILE_SIZE;
}

/** Open a ring file of ours; NULL if it is none. */
static HrCapture* open_ring(const char* folder, const char* name)
{
  char path[4096];
  struct stat info;
  if (strncmp(name, PREFIX, strlen(PREFIX)) ||
      snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) {
    return NULL;
  }
  const int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) {
    return NULL;
  }
  HrCapture* const capture = !fstat(fd, &info) && is_ours_alone(&info) ? map(fd, path) : NULL;
  if (!capture) {
    close(fd);
    return NULL;
  }
  HrCaptureFile* const file = capture->file;
  if (memcmp(file->magic, MAGIC, sizeof file->magic) || file->version != VERSION) {
    hr_capture_free(capture, false);
    return NULL;
  }
  file->store_path[sizeof file->store_path - 1] = '\0';
  file->tree_name[HR_NAME_MAX] = '\0';
  file->author[HR_NAME_MAX] = '\0';
  for (unsigned i = 0; i < HR_PENDING_FORKS; ++i) {
    file->pending_forks[i].name[HR_NAME_MAX] = '\0';
    file->pending_forks[i].author[HR_NAME_MAX] = '\0';
  }
  return capture;
}

/** The path in a ring is that of the store, or leads to it over links. */
static bool leads_to(const HrCaptureFile* file, HrStore* store)
{
  char* const real = realpath(file->store_path, NULL);
  const bool same = !strcmp(real ? real : file->store_path, hr_store_path(store));
  free(real);
  return same;
}

/** A ring belongs to the store at the path that its process had open, not to a
 * backup or another copy of it, which has the same UUID. Only where nothing is
 * left at that path was the store moved. One whose process died before it knew
 * its store belongs to the store it asked for: links are followed now, as they
 * could not be while nothing was there. */
static bool belongs_to(const HrCaptureFile* file, HrStore* store)
{
  static const uint8_t unknown[16];
  const bool known = memcmp(file->store, unknown, sizeof unknown) != 0;
  if (known && memcmp(file->store, hr_store_uuid(store), 16) != 0) {
    return false;
  }
  return leads_to(file, store) || (known && access(file->store_path, F_OK) != 0);
}

/** Visit every ring file; `visit` owns the capture it is given and says to go on. */
static void each_ring(bool (*visit)(void* data, HrCapture* capture), void* data)
{
  char folder[3900];
  if (hr_runtime_folder(folder, sizeof folder, NULL)) {
    return;
  }
  DIR* const dir = opendir(folder);
  if (!dir) {
    return;
  }
  bool more = true;
  struct dirent* entry;
  while (more && (entry = readdir(dir))) {
    HrCapture* const capture = open_ring(folder, entry->d_name);
    if (capture) {
      more = visit(data, capture);
    }
  }
  closedir(dir);
}

typedef struct {
  HrStore* store;
  void (*drain)(void* data, HrCapture* capture);
  void* data;
} OrphanVisit;

/** Nobody's loss, whosever ring it is. */
static bool is_empty(const HrCapture* capture)
{
  return !hr_ring_used(&capture->ring);
}

static bool visit_orphan(void* data, HrCapture* capture)
{
  const OrphanVisit* const visit = data;
  struct stat here;
  bool remove = false;
  if ((belongs_to(capture->file, visit->store) || is_empty(capture)) &&
      !flock(capture->fd, LOCK_EX | LOCK_NB) && !fstat(capture->fd, &here) && here.st_nlink > 0) {
    /* Not removed by another program while we waited to look, and now nobody's. Until then
     * its owner may have played on: what it is, is seen only now. */
    if (belongs_to(capture->file, visit->store)) {
      visit->drain(visit->data, capture);
    } else {
      remove = is_empty(capture);
    }
  }
  hr_capture_free(capture, remove);
  return true;
}

void hr_capture_each_orphan(HrStore* store, void (*drain)(void* data, HrCapture* capture),
                            void* data)
{
  OrphanVisit visit = {store, drain, data};
  each_ring(visit_orphan, &visit);
}

typedef struct {
  HrStore* store;
  HrTreeId tree;
  uint32_t branch; ///< 0: any
  bool found;
} UseVisit;

static bool plays_there(const HrCaptureFile* file, const UseVisit* visit)
{
  const bool same_branch = !visit->branch || !file->branch || file->branch == visit->branch;
  return file->tree == visit->tree && same_branch && !file->retired &&
         belongs_to(file, visit->store);
}

static bool visit_use(void* data, HrCapture* capture)
{
  UseVisit* const visit = data;
  if (plays_there(capture->file, visit)) {
    visit->found = flock(capture->fd, LOCK_EX | LOCK_NB) != 0;
  }
  hr_capture_free(capture, false);
  return !visit->found;
}

bool hr_capture_in_use(HrStore* store, HrTreeId tree, uint32_t branch)
{
  UseVisit visit = {store, tree, branch, false};
  each_ring(visit_use, &visit);
  return visit.found;
}
