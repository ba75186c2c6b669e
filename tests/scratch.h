/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file scratch.h
 * A private folder for a test, gone at its end: in memory, as a runtime folder
 * is, unless TMPDIR says otherwise. */

#ifndef HR_TESTS_SCRATCH_H
#define HR_TESTS_SCRATCH_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char scratch[4096];

static inline int scratch_make(void)
{
  const char* const tmp = getenv("TMPDIR");
  const char* const memory = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";
  snprintf(scratch, sizeof scratch, "%s/hr-test-XXXXXX", tmp ? tmp : memory);
  return mkdtemp(scratch) ? 0 : -1;
}

static inline int scratch_remove_entry(const char* path, const struct stat* info, int type,
                                       struct FTW* where)
{
  (void)info;
  (void)type;
  (void)where;
  return remove(path);
}

static inline void scratch_remove(void)
{
  nftw(scratch, scratch_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/** A path in the folder; the last eight results stay valid. */
static inline const char* scratch_path(const char* name)
{
  static char paths[8][4200];
  static unsigned turn;
  char* const path = paths[turn++ % 8];
  snprintf(path, sizeof paths[0], "%s/%s", scratch, name);
  return path;
}

#endif
