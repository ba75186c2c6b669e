/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file scratch.h
 * Private folders for a test, gone at its end: one for its stores, in memory unless TMPDIR
 * says otherwise, and one as XDG_RUNTIME_DIR, where rings lie, always in memory: they would
 * lie beside the user's own otherwise. Those of programs that were killed are removed by the
 * next one. */

#ifndef HR_TESTS_SCRATCH_H
#define HR_TESTS_SCRATCH_H

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SCRATCH_PREFIX "hr-test-"

static char scratch[PATH_MAX];
static char runtime[PATH_MAX];

static inline int scratch_remove_entry(const char* path, const struct stat* info, int type,
                                       struct FTW* where)
{
  (void)info;
  (void)type;
  (void)where;
  return remove(path);
}

static inline void scratch_remove_folder(const char* path)
{
  nftw(path, scratch_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void scratch_remove_stale(const char* parent)
{
  DIR* const list = opendir(parent);
  for (const struct dirent* entry = list ? readdir(list) : NULL; entry; entry = readdir(list)) {
    int pid = 0;
    int end = 0;
    sscanf(entry->d_name, SCRATCH_PREFIX "%d-%n", &pid, &end);
    if (end && pid > 0 && kill(pid, 0) && errno == ESRCH) {
      char path[PATH_MAX + sizeof entry->d_name + 1];
      snprintf(path, sizeof path, "%s/%s", parent, entry->d_name);
      scratch_remove_folder(path);
    }
  }
  if (list) {
    closedir(list);
  }
}

/** Make a folder in `parent`; `path` is its real one, as stores tell theirs. */
static inline int scratch_make_folder(const char* parent, char path[PATH_MAX])
{
  char made[PATH_MAX];
  scratch_remove_stale(parent);
  snprintf(made, sizeof made, "%s/" SCRATCH_PREFIX "%d-XXXXXX", parent, (int)getpid());
  return mkdtemp(made) && realpath(made, path) ? 0 : -1;
}

static inline int scratch_make(void)
{
  const char* const tmp = getenv("TMPDIR");
  const char* const memory = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";
  return scratch_make_folder(tmp && *tmp ? tmp : memory, scratch) ||
         scratch_make_folder(memory, runtime) || setenv("XDG_RUNTIME_DIR", runtime, 1);
}

static inline void scratch_remove(void)
{
  scratch_remove_folder(scratch);
  scratch_remove_folder(runtime);
}

/** A path in a folder; the last eight results stay valid. */
static inline const char* scratch_path_in(const char* folder, const char* name)
{
  static char paths[8][4200];
  static unsigned turn;
  char* const path = paths[turn++ % 8];
  snprintf(path, sizeof paths[0], "%s/%s", folder, name);
  return path;
}

static inline const char* scratch_path(const char* name)
{
  return scratch_path_in(scratch, name);
}

static inline const char* runtime_path(const char* name)
{
  return scratch_path_in(runtime, name);
}

#endif
