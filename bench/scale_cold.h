/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file scale_cold.h
 * Measuring with little memory: in a child process of a control group of its
 * own, with the files out of the page cache at the start.
 *
 * Threads: the main one. Errors end the program with a sentence. */

#ifndef HR_BENCH_SCALE_COLD_H
#define HR_BENCH_SCALE_COLD_H

#include "bench/bench.h"

/** Write out what is dirty of a file, or of all files in a folder, and take it
 * out of the page cache. Pages that a process maps stay. */
void cold_drop(const char* path);

/** The share of a file, or of all files in a folder, that is in the page cache, 0 to 1. */
double cold_share(const char* path);

/** Run `measure` in a child that may use `bytes` of memory, its page cache
 * counted, and hand its times over to `times`, at most `room`. `bytes` 0: no
 * limit. False if this process may not limit memory: nothing was run. */
bool cold_run(uint64_t bytes, void (*measure)(void* data, BenchTimes* times), void* data,
              size_t room, BenchTimes* times);

#endif
