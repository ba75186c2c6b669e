/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "bench/disk.h"

#include "bench/bench.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static char device[64]; ///< "/dev/loop3"
static char folder[PATH_MAX];

static void unmount(void)
{
  char command[128];
  umount(folder);
  snprintf(command, sizeof command, "losetup -d %s", device);
  bench_require(!system(command), "The loop device cannot be given back.");
}

static bool attach(const char* image)
{
  char command[PATH_MAX + 64];
  snprintf(command, sizeof command, "losetup --find --show %s 2>/dev/null", image);
  FILE* const output = popen(command, "re");
  const bool read = output && fgets(device, sizeof device, output);
  if (output) {
    pclose(output);
  }
  device[strcspn(device, "\n")] = '\0';
  return read && !strncmp(device, "/dev/loop", strlen("/dev/loop"));
}

bool disk_make(uint64_t megabytes)
{
  const char* const image = bench_path("disk");
  char command[128];
  const int fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  bench_require(fd >= 0 && !ftruncate(fd, (off_t)(megabytes << 20)), "No room for a disk.");
  close(fd);
  snprintf(folder, sizeof folder, "%s", bench_path("mounted"));
  if (geteuid() != 0 || mkdir(folder, 0700) || !attach(image)) {
    return false;
  }
  atexit(unmount);
  snprintf(command, sizeof command, "mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 %s",
           device);
  return !system(command) && !mount(device, folder, "ext4", 0, NULL);
}

const char* disk_path(const char* name)
{
  static char path[PATH_MAX + 256];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

uint64_t disk_written(void)
{
  enum { SECTOR = 512 };
  char path[128];
  unsigned long long sectors = 0;
  const int fd = open(folder, O_RDONLY | O_CLOEXEC);
  bench_require(fd >= 0 && !syncfs(fd), "The disk cannot be synced.");
  close(fd);
  snprintf(path, sizeof path, "/sys/block/%s/stat", device + strlen("/dev/"));
  FILE* const file = fopen(path, "re");
  bench_require(file && fscanf(file, "%*u %*u %*u %*u %*u %*u %llu", &sectors) == 1,
                "The device does not tell what was written to it.");
  fclose(file);
  return sectors * SECTOR;
}
