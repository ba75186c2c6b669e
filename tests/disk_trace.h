/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file disk_trace.h
 * What a program told its disk: every write and sync of one file, in order, and
 * what the file may hold if the power goes at some instant of it.
 *
 * The calls of the C library are interposed, so that LMDB's own are seen. A
 * write is durable once a sync of the file that began after it has returned, or
 * at its return if its descriptor is a synchronous one (O_DSYNC), as that of
 * LMDB's meta pages is. All others may be on the disk, wholly, in pieces, or not.
 *
 * Threads: one at a time.
 *
 * Source: T. Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014:
 * file data of a system that promises no order between syncs. */

#ifndef HR_TESTS_DISK_TRACE_H
#define HR_TESTS_DISK_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Trace what is done to the file at `path`, which exists, from here on; what it
 * holds now is on the disk. */
void disk_trace_begin(const char* path);
void disk_trace_end(void);

/** Writes, syncs and changes of size so far. */
size_t disk_trace_count(void);

/** Monotonic nanoseconds at which an operation returned. */
int64_t disk_trace_time(size_t operation);

/** What is made of a write that was not yet synced. */
typedef struct {
  unsigned kept, dropped, torn;
} DiskTorn;

/** Write a file as it may be found when the power went just after the operation
 * `last` was called, and before it returned: what was synced before is there; of
 * the rest each piece of `sector` bytes, or each write as a whole, may be missing,
 * and so may the last change of the size. `seed` decides. False if the file
 * cannot be written. */
bool disk_trace_image(size_t last, unsigned sector, unsigned seed, const char* path,
                      DiskTorn* torn);

#endif
