/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "tests/disk_trace.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define INTERPOSED __attribute__((visibility("default")))

typedef enum { WRITE, SYNC } Kind;

typedef struct {
  Kind kind;
  bool durable; ///< At its return
  int64_t returned_ns;
  uint64_t offset;
  size_t size;
  uint8_t* bytes;
} Operation;

/** Written to from the thread that plays; looked at when that is done. */
static struct {
  bool on;
  dev_t device;
  ino_t inode;
  uint8_t* before; ///< What the file held at the beginning
  size_t before_size;
  Operation* operations;
  size_t count, room;
} trace;

static int64_t monotonic_ns(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static bool is_traced(int fd)
{
  struct stat info;
  return trace.on && !fstat(fd, &info) && info.st_dev == trace.device && info.st_ino == trace.inode;
}

static Operation* add(Kind kind)
{
  if (trace.count == trace.room) {
    trace.room = trace.room ? 2 * trace.room : 1024;
    trace.operations = realloc(trace.operations, trace.room * sizeof *trace.operations);
  }
  Operation* const operation = &trace.operations[trace.count++];
  *operation = (Operation){.kind = kind, .returned_ns = monotonic_ns()};
  return operation;
}

static void add_write(int fd, uint64_t offset, const void* bytes, size_t size)
{
  Operation* const operation = add(WRITE);
  operation->durable = fcntl(fd, F_GETFL) & O_DSYNC;
  operation->offset = offset;
  operation->size = size;
  operation->bytes = malloc(size);
  memcpy(operation->bytes, bytes, size);
}

/* ---- The calls that LMDB makes -------------------------------------------------- */

#define REAL(type, name, ...)                                                                      \
  static type (*real)(__VA_ARGS__);                                                                \
  if (!real) {                                                                                     \
    *(void**)&real = dlsym(RTLD_NEXT, name);                                                       \
  }

INTERPOSED ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset)
{
  REAL(ssize_t, "pwrite", int, const void*, size_t, off_t)
  const ssize_t written = real(fd, bytes, size, offset);
  if (written > 0 && is_traced(fd)) {
    add_write(fd, (uint64_t)offset, bytes, (size_t)written);
  }
  return written;
}

INTERPOSED ssize_t writev(int fd, const struct iovec* pieces, int count)
{
  REAL(ssize_t, "writev", int, const struct iovec*, int)
  const bool traced = is_traced(fd);
  uint64_t offset = traced ? (uint64_t)lseek(fd, 0, SEEK_CUR) : 0;
  const ssize_t written = real(fd, pieces, count);
  ssize_t left = traced ? written : 0;
  for (int i = 0; i < count && left > 0; ++i) {
    const size_t size = (ssize_t)pieces[i].iov_len < left ? pieces[i].iov_len : (size_t)left;
    add_write(fd, offset, pieces[i].iov_base, size);
    offset += size;
    left -= (ssize_t)size;
  }
  return written;
}

INTERPOSED ssize_t write(int fd, const void* bytes, size_t size)
{
  REAL(ssize_t, "write", int, const void*, size_t)
  const bool traced = is_traced(fd);
  const uint64_t offset = traced ? (uint64_t)lseek(fd, 0, SEEK_CUR) : 0;
  const ssize_t written = real(fd, bytes, size);
  if (traced && written > 0) {
    add_write(fd, offset, bytes, (size_t)written);
  }
  return written;
}

INTERPOSED int fdatasync(int fd)
{
  REAL(int, "fdatasync", int)
  const int result = real(fd);
  if (!result && is_traced(fd)) {
    add(SYNC);
  }
  return result;
}

INTERPOSED int fsync(int fd)
{
  REAL(int, "fsync", int)
  const int result = real(fd);
  if (!result && is_traced(fd)) {
    add(SYNC);
  }
  return result;
}

/* ---- The trace -------------------------------------------------------------------- */

void disk_trace_begin(const char* path)
{
  struct stat info;
  disk_trace_end();
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &info)) {
    perror(path);
    abort();
  }
  trace.device = info.st_dev;
  trace.inode = info.st_ino;
  trace.before_size = (size_t)info.st_size;
  trace.before = malloc(trace.before_size + 1);
  if (pread(fd, trace.before, trace.before_size, 0) != info.st_size) {
    abort();
  }
  close(fd);
  trace.on = true;
}

void disk_trace_end(void)
{
  for (size_t i = 0; i < trace.count; ++i) {
    free(trace.operations[i].bytes);
  }
  free(trace.operations);
  free(trace.before);
  memset(&trace, 0, sizeof trace);
}

size_t disk_trace_count(void)
{
  return trace.count;
}

int64_t disk_trace_time(size_t operation)
{
  return trace.operations[operation].returned_ns;
}

/* ---- Images ----------------------------------------------------------------------- */

/** The newest sync that had returned before `last`; 0 if none had. */
static size_t last_sync(size_t last)
{
  while (last > 0 && trace.operations[last - 1].kind != SYNC) {
    --last;
  }
  return last;
}

typedef struct {
  uint8_t* bytes;
  size_t size; ///< Of the file
} Image;

static void put(Image* image, uint64_t offset, const uint8_t* bytes, size_t size)
{
  memcpy(image->bytes + offset, bytes, size);
  if (offset + size > image->size) {
    image->size = offset + size;
  }
}

/** The pieces of a write that reached the disk, by themselves. */
static void put_torn(Image* image, const Operation* write, unsigned sector, unsigned* seed)
{
  for (uint64_t at = write->offset; at < write->offset + write->size;) {
    const uint64_t next = (at / sector + 1) * sector;
    const uint64_t end = write->offset + write->size;
    const size_t size = (size_t)((next < end ? next : end) - at);
    if (rand_r(seed) % 2) {
      put(image, at, write->bytes + (at - write->offset), size);
    }
    at += size;
  }
}

static size_t largest(size_t last)
{
  size_t size = trace.before_size;
  for (size_t i = 0; i <= last; ++i) {
    const Operation* const operation = &trace.operations[i];
    const size_t end = (size_t)operation->offset + operation->size;
    size = end > size ? end : size;
  }
  return size;
}

bool disk_trace_image(size_t last, unsigned sector, unsigned seed, const char* path, DiskTorn* torn)
{
  Image image = {calloc(largest(last) + 1, 1), trace.before_size};
  memcpy(image.bytes, trace.before, trace.before_size);
  const size_t synced = last_sync(last);
  *torn = (DiskTorn){0, 0, 0};
  /* The unsynced ones in their order: where two go to one place, either may have
   * come first, so that one that is dropped stands for one overtaken. */
  for (size_t i = 0; i <= last; ++i) {
    const Operation* const operation = &trace.operations[i];
    if (operation->kind != WRITE) {
      continue;
    }
    const unsigned fate = (unsigned)rand_r(&seed) % 3;
    if (i < synced || (operation->durable && i < last) || fate == 0) {
      put(&image, operation->offset, operation->bytes, operation->size);
      torn->kept += i >= synced;
    } else if (fate == 1) {
      put_torn(&image, operation, sector, &seed);
      ++torn->torn;
    } else {
      ++torn->dropped;
    }
  }
  const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const bool written =
      fd >= 0 && pwrite(fd, image.bytes, image.size, 0) == (ssize_t)image.size && !close(fd);
  free(image.bytes);
  return written;
}
