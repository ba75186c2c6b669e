/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* make_store FILE BRANCHES DEPTH EVENTS
 * Make a large store (bench/store_maker.h): `make_store big.hr 1e7 1e6 1e9`. */

#include "bench/bench.h"
#include "bench/store_maker.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static uint64_t number(const char* text, double most)
{
  char* end = NULL;
  const double value = strtod(text, &end);
  bench_require(*text && !*end && value >= 0 && value <= most, "That is no such number.");
  return (uint64_t)value;
}

int main(int argc, char** argv)
{
  if (argc != 5) {
    fprintf(stderr, "usage: make_store FILE BRANCHES DEPTH EVENTS\n");
    return 2;
  }
  const StoreShape shape = {.branches = (uint32_t)number(argv[2], UINT32_MAX - 1),
                            .depth = (uint32_t)number(argv[3], UINT32_MAX - 1),
                            .events = number(argv[4], 1e12)};
  struct stat info;
  bench_require(stat(argv[1], &info), "That file exists already.");
  const uint64_t begun = bench_clock();
  maker_make(argv[1], &shape);
  const double seconds = bench_ns((double)(bench_clock() - begun)) / 1e9;
  bench_require(!stat(argv[1], &info), "The store is gone.");
  const uint64_t others = shape.branches - shape.depth - 1;
  const uint64_t events = maker_events_each(&shape) * (shape.branches - others) +
                          shape.events / shape.branches * others;
  printf("%s: %u branches, %u deep, %llu events, %.3f GB in %.1f s: %.2f million branches and %.1f "
         "million events a second, %.0f MB/s\n",
         argv[1], shape.branches, shape.depth, (unsigned long long)events,
         (double)info.st_size / 1e9, seconds, shape.branches / seconds / 1e6,
         (double)events / seconds / 1e6, (double)info.st_size / seconds / 1e6);
  return 0;
}
