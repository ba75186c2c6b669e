/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file bench.h
 * What the benchmarks share: a clock, times and their percentiles, folders to
 * work in, a line on the machine, and results for tables and pictures.
 *
 * Threads: bench_clock() any; a BenchTimes one at a time; the rest the main one.
 *
 * Errors: whatever keeps a benchmark from measuring ends the program with a
 * sentence. */

#ifndef HR_BENCH_H
#define HR_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Make two folders, gone when the program ends: one on disk for stores, under
 * $TMPDIR or beside the program, and one in memory as XDG_RUNTIME_DIR. Print what is
 * measured and on what machine. */
void bench_begin(const char* title);

/** End the program with `message` unless `condition` holds. */
void bench_require(bool condition, const char* message);

/** A path in the folder on disk; the last eight results stay valid. */
const char* bench_path(const char* name);

/** Remove a file, or a folder with all that is in it. */
void bench_remove(const char* path);

/** The version of an installed Debian package; "unknown version" if it is none. */
const char* bench_package_version(const char* package);

/** What a bench measures by itself when its name is given to the program. */
typedef struct {
  const char* name;
  void (*run)(void);
} BenchPart;

/** Run the parts that the program's arguments name, or all if there are none. */
void bench_run_parts(const BenchPart* parts, size_t count, int argc, char** argv);

/* ---- Time ------------------------------------------------------------- */

/** A cheap clock: the processor's time stamp counter where there is one, read
 * when all that was before is done. All processors share it. */
uint64_t bench_clock(void);

/** Units of bench_clock() as nanoseconds. */
double bench_ns(double clocks);

/** What reading the clock twice costs, in nanoseconds: bench_times_ns() leaves it out. */
double bench_clock_overhead_ns(void);

/** Times measured, in units of bench_clock(). */
typedef struct {
  uint32_t* clocks;
  size_t count;
  size_t room;
} BenchTimes;

/** Make room for `room` times, all memory touched; forget those before. */
void bench_times_begin(BenchTimes* times, size_t room);

/** Keep a time. Beyond the room it is forgotten. */
void bench_times_add(BenchTimes* times, uint64_t clocks);

/** Put the times in order, for bench_times_ns(). */
void bench_times_sort(BenchTimes* times);

/** The time that `share` (0 to 1) of all, sorted, do not exceed, in nanoseconds. */
double bench_times_ns(const BenchTimes* times, double share);

void bench_times_free(BenchTimes* times);

/* ---- Results ------------------------------------------------------------ */

/** A measure's middle, and from where to where it went. */
typedef struct {
  double median, least, most;
} BenchSpread;

/** Of up to 16 values. */
BenchSpread bench_spread(const double* values, size_t count);

/** Of times, sorted, in nanoseconds: from their first to their 99th percentile. */
BenchSpread bench_times_spread(const BenchTimes* times);

/** Keep a result for the tables and pictures of docs/infinite-canvas-storage.md: a
 * line in `table`.tsv, in the folder that HR_BENCH_DATA names, if it is set. */
void bench_data(const char* table, const char* row, const char* measure, const char* unit,
                BenchSpread value);

#endif
