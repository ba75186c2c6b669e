/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file disk.h
 * A disk of its own for a benchmark: an ext4 file system on a loop device, so
 * that the device's count is of this benchmark's writes and no others.
 *
 * Threads: the main one. Errors end the program with a sentence. */

#ifndef HR_BENCH_DISK_H
#define HR_BENCH_DISK_H

#include <stdbool.h>
#include <stdint.h>

/** Make and mount it, gone when the program ends. False where that is not
 * allowed: it takes root. */
bool disk_make(uint64_t megabytes);

/** A path on it; the last result stays valid. */
const char* disk_path(const char* name);

/** Bytes written to the device so far, after all that waits has been. */
uint64_t disk_written(void);

#endif
