/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file scratch_disk.h
 * A small disk in memory, "disk" in the scratch folder, for a test of what happens when it is
 * full. To be unmounted before anything is asserted: it would be left otherwise. */

#ifndef HR_TESTS_SCRATCH_DISK_H
#define HR_TESTS_SCRATCH_DISK_H

#include "tests/scratch.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/** Mount it, of so many bytes ("256k", "1m"). The test is skipped where nobody may. */
static inline void scratch_mount(const char* bytes)
{
  char options[64];
  snprintf(options, sizeof options, "size=%s", bytes);
  mkdir(scratch_path("disk"), 0700);
  if (mount("none", scratch_path("disk"), "tmpfs", 0, options)) {
    print_message("skipped: no right to mount a file system here (%s)\n", strerror(errno));
    skip();
  }
}

static inline void scratch_unmount(void)
{
  umount2(scratch_path("disk"), MNT_DETACH);
}

/** Fill what is mounted there, until scratch_clear(). */
static inline void scratch_fill(void)
{
  static const char zeros[4096];
  const int fd = open(scratch_path("disk/filler"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  while (write(fd, zeros, sizeof zeros) > 0) {
  }
  close(fd);
}

static inline void scratch_clear(void)
{
  unlink(scratch_path("disk/filler"));
}

#endif
