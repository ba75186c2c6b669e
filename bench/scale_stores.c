/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "bench/scale_stores.h"

#include "bench/bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

uint64_t scale_random(void)
{
  static uint64_t dice = 2463534242;
  return maker_random(&dice);
}

HrBranchId scale_nested_branch(uint32_t depth)
{
  return hr_branch_id(1, depth + 1);
}

HrTick scale_random_tick(const StoreShape* shape, uint32_t depth)
{
  return (HrTick)(scale_random() % (uint64_t)maker_fork_tick(shape, depth + 1));
}

const char* scale_path(const char* file)
{
  static char paths[8][4096];
  static unsigned last;
  const char* const folder = getenv("HR_SCALE_STORES");
  if (!folder) {
    return bench_path(file);
  }
  last = (last + 1) % 8;
  snprintf(paths[last], sizeof paths[last], "%s/%s", folder, file);
  return paths[last];
}

double scale_megabytes(const char* path)
{
  struct stat info;
  bench_require(!stat(path, &info), "A store is missing.");
  return (double)info.st_size / 1e6;
}

const char* scale_unfinished(const char* path)
{
  static char name[4200];
  snprintf(name, sizeof name, "%s.unfinished", path);
  return name;
}

const char* scale_made(const Sized* sized)
{
  const char* const path = scale_path(sized->file);
  if (access(path, F_OK)) {
    const uint64_t begun = bench_clock();
    maker_make(scale_unfinished(path), &sized->shape);
    bench_require(!rename(scale_unfinished(path), path), "A store cannot be given its name.");
    sync(); // Or it is written while something else is measured
    const double seconds = bench_ns((double)(bench_clock() - begun)) / 1e9;
    printf("made      %s: %u branches, %u deep, %llu events each, %.0f MB in %.1f s\n", sized->file,
           sized->shape.branches, sized->shape.depth,
           (unsigned long long)maker_events_each(&sized->shape), scale_megabytes(path), seconds);
  }
  return path;
}

HrStore* scale_open(const Sized* sized, unsigned flags)
{
  HrStore* store = NULL;
  HrError error = {0};
  const HrStatus status = hr_store_open(scale_made(sized), flags, &store, &error);
  bench_require(!status, error.text);
  return store;
}

void scale_warm(const char* path)
{
  static uint8_t bytes[1 << 20];
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  bench_require(fd >= 0, "A store is missing.");
  while (read(fd, bytes, sizeof bytes) > 0) {
  }
  close(fd);
}

bool scale_seek(HrStore* store, HrBranchId leaf, HrTick tick)
{
  HrTxn* txn = NULL;
  HrPath path = {0};
  HrEvent event;
  HrStatus status = hr_txn_begin(store, HR_READ, &txn);
  status = status ? status : hr_path_open(txn, leaf, tick, &path);
  status = status ? status : hr_path_next(&path, &event);
  hr_path_close(&path);
  hr_txn_abort(txn);
  return !status && event.tick >= tick;
}

void scale_fork(HrTxn* txn, const Sized* sized)
{
  const uint32_t depth = (uint32_t)(scale_random() % sized->shape.depth);
  const uint64_t event = 1 + scale_random() % maker_events_each(&sized->shape);
  const HrTick tick = maker_fork_tick(&sized->shape, depth) + (HrTick)event * MAKER_TICKS_PER_EVENT;
  HrBranchId id = 0;
  bench_require(!hr_branch_fork(txn, scale_nested_branch(depth), tick, NULL, &id),
                "A fork was refused.");
}
