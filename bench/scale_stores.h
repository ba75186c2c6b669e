/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file scale_stores.h
 * The stores that bench_scale measures: made when first asked for, and sought in.
 *
 * Threads: the main one. Errors end the program with a sentence. */

#ifndef HR_BENCH_SCALE_STORES_H
#define HR_BENCH_SCALE_STORES_H

#include "bench/store_maker.h"

/** A store by its file's name and its shape (store_maker.h). */
typedef struct {
  const char* file;
  StoreShape shape;
} Sized;

/** Where a file of this name lies: in the folder that HR_SCALE_STORES names, to be found there
 * the next time, or in the bench's own. The last eight results stay valid. */
const char* scale_path(const char* file);

/** Where what is made at `path` lies until it is whole; valid until the next call. */
const char* scale_unfinished(const char* path);

/** The store's path; made if it is not there. */
const char* scale_made(const Sized* sized);

/** The store, opened; made if it is not there. */
HrStore* scale_open(const Sized* sized, unsigned flags);

double scale_megabytes(const char* path);

/** Read the file once, so that it is in memory if that is large enough. */
void scale_warm(const char* path);

/** The next of a row of numbers that look random. */
uint64_t scale_random(void);

HrBranchId scale_nested_branch(uint32_t depth);

/** A random tick of the path of the nested branch at `depth`. */
HrTick scale_random_tick(const StoreShape* shape, uint32_t depth);

/** Begin a read transaction, read the first event from `tick` on, and close all. False if there
 * is none. */
bool scale_seek(HrStore* store, HrBranchId leaf, HrTick tick);

/** Fork in the music of a random branch: how deep it is, and the way up from there, is what seeks
 * are for. */
void scale_fork(HrTxn* txn, const Sized* sized);

#endif
