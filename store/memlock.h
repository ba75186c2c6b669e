/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file memlock.h
 * Keeps the store's map out of RAM in a host that has called
 * mlockall(MCL_CURRENT | MCL_FUTURE), as realtime hosts do. Such a process
 * would otherwise read the whole file in at mmap() and pin it.
 *
 * Thread: any, one at a time (the registry's lock). Between suspend and resume
 * new mappings of other threads are locked only as they are touched. */

#ifndef HR_MEMLOCK_H
#define HR_MEMLOCK_H

#include <lmdb.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct {
  bool active; ///< The process locks its future mappings
} HrMemlock;

/** Find out if future mappings are being locked and, if so, stop them from
 * being read in at once. */
void hr_memlock_suspend(HrMemlock* memlock);

/** Unlock the map of `env`, so that no page of it stays pinned once touched. */
void hr_memlock_release_map(const HrMemlock* memlock, MDB_env* env, size_t map_bytes);

/** Lock future mappings again, as before. */
void hr_memlock_resume(const HrMemlock* memlock);

#endif
