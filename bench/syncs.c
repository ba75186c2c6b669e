/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "bench/syncs.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define INTERPOSED __attribute__((visibility("default")))

static atomic_ullong syncs;

uint64_t syncs_count(void)
{
  return atomic_load(&syncs);
}

/* The parameters are named as the C library does. */

INTERPOSED int fsync(int fd)
{
  atomic_fetch_add(&syncs, 1);
  return (int)syscall(SYS_fsync, fd);
}

INTERPOSED int fdatasync(int fildes)
{
  atomic_fetch_add(&syncs, 1);
  return (int)syscall(SYS_fdatasync, fildes);
}

INTERPOSED int msync(void* addr, size_t len, int flags)
{
  atomic_fetch_add(&syncs, (flags & MS_SYNC) != 0);
  return (int)syscall(SYS_msync, addr, len, flags);
}

INTERPOSED ssize_t pwrite(int fd, const void* buf, size_t n, off_t offset)
{
  atomic_fetch_add(&syncs, (fcntl(fd, F_GETFL) & O_DSYNC) != 0);
  return syscall(SYS_pwrite64, fd, buf, n, offset);
}
