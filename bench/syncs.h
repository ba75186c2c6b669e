/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file syncs.h
 * How often this program waits for a disk: the calls of the C library that flush
 * one are interposed, so that those of libraries are seen as well. A write to a
 * synchronous descriptor, as LMDB has for its meta pages, is one.
 *
 * Threads: any. */

#ifndef HR_BENCH_SYNCS_H
#define HR_BENCH_SYNCS_H

#include <stdint.h>

/** Flushes so far. */
uint64_t syncs_count(void);

#endif
