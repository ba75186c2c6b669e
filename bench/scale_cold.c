/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "bench/scale_cold.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- The page cache ---------------------------------------------------------- */

static uint64_t pages_in_memory;
static uint64_t pages_of_files;

static int drop_file(const char* path, const struct stat* info, int type, struct FTW* where)
{
  (void)info;
  (void)where;
  const int fd = type == FTW_F ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd >= 0) {
    fsync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
  }
  return 0;
}

static int count_file(const char* path, const struct stat* info, int type, struct FTW* where)
{
  (void)where;
  const size_t size = (size_t)info->st_size;
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  const size_t pages = (size + page - 1) / page;
  const int fd = type == FTW_F && size ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) {
    return 0;
  }
  void* const map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
  unsigned char* const in_memory = malloc(pages);
  bench_require(map != MAP_FAILED && in_memory && !mincore(map, size, in_memory),
                "The pages in memory cannot be counted.");
  for (size_t i = 0; in_memory && i < pages; ++i) {
    pages_in_memory += in_memory[i] & 1;
  }
  pages_of_files += pages;
  free(in_memory);
  munmap(map, size);
  close(fd);
  return 0;
}

void cold_drop(const char* path)
{
  nftw(path, drop_file, 16, FTW_PHYS);
}

double cold_share(const char* path)
{
  pages_in_memory = pages_of_files = 0;
  nftw(path, count_file, 16, FTW_PHYS);
  return pages_of_files ? (double)pages_in_memory / (double)pages_of_files : 0.0;
}

/* ---- A limit of memory ------------------------------------------------------- */

static bool write_number(const char* folder, const char* name, uint64_t number)
{
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE* const file = fopen(path, "we");
  if (!file) {
    return false;
  }
  const bool written = fprintf(file, "%llu", (unsigned long long)number) > 0;
  return !fclose(file) && written;
}

/** Make a control group of `bytes`, in either version's hierarchy. */
static bool make_group(uint64_t bytes, char folder[PATH_MAX])
{
  static const struct {
    const char *parent, *limit;
  } versions[] = {{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
                  {"/sys/fs/cgroup", "memory.max"}};
  for (size_t i = 0; i < sizeof versions / sizeof *versions; ++i) {
    snprintf(folder, PATH_MAX, "%s/hr-bench-%ld", versions[i].parent, (long)getpid());
    if (!mkdir(folder, 0700)) {
      if (write_number(folder, versions[i].limit, bytes)) {
        return true;
      }
      rmdir(folder);
    }
  }
  return false;
}

static void run_child(const char* group, void (*measure)(void* data, BenchTimes* times), void* data,
                      size_t room, int result)
{
  BenchTimes times = {0};
  if (group) {
    bench_require(write_number(group, "cgroup.procs", (uint64_t)getpid()),
                  "The child cannot be put into the control group.");
  }
  bench_times_begin(&times, room);
  measure(data, &times);
  const uint8_t* bytes = (const uint8_t*)times.clocks;
  for (size_t left = times.count * sizeof *times.clocks; left;) {
    const ssize_t written = write(result, bytes, left);
    bench_require(written > 0, "The child cannot tell its times.");
    bytes += written;
    left -= (size_t)written;
  }
}

bool cold_run(uint64_t bytes, void (*measure)(void* data, BenchTimes* times), void* data,
              size_t room, BenchTimes* times)
{
  char group[PATH_MAX];
  int result[2];
  int status = 0;
  if (bytes && !make_group(bytes, group)) {
    return false;
  }
  bench_require(!pipe(result), "No pipe could be made.");
  fflush(stdout);
  const pid_t child = fork();
  bench_require(child >= 0, "No child could be started.");
  if (child == 0) {
    close(result[0]);
    run_child(bytes ? group : NULL, measure, data, room, result[1]);
    _exit(EXIT_SUCCESS); // The folders are the parent's to remove
  }
  close(result[1]);
  bench_times_begin(times, room);
  FILE* const told = fdopen(result[0], "r");
  times->count = fread(times->clocks, sizeof *times->clocks, room, told);
  fclose(told);
  waitpid(child, &status, 0);
  if (bytes) {
    rmdir(group);
  }
  bench_require(!status, "The child failed.");
  bench_times_sort(times);
  return true;
}
