/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/memlock.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

/** Nothing tells whether mlockall() is in force but its effect: a new page is
 * there before it is touched. */
static bool new_pages_are_resident(void)
{
  unsigned char resident = 0;
  void* const page = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) {
    return false;
  }
  mincore(page, 1, &resident);
  munmap(page, 1);
  return resident & 1;
}

void hr_memlock_suspend(HrMemlock* memlock)
{
  memlock->active = new_pages_are_resident() && !mlockall(MCL_FUTURE | MCL_ONFAULT);
}

/** LMDB does not tell where its map is: look for it around one of its pages. */
static bool find_mapping(const void* inside, uintptr_t* start, uintptr_t* end)
{
  FILE* const maps = fopen("/proc/self/maps", "re");
  bool found = false;
  char line[512];
  while (maps && !found && fgets(line, sizeof line, maps)) {
    found = sscanf(line, "%" SCNxPTR "-%" SCNxPTR, start, end) == 2 &&
            *start <= (uintptr_t)inside && (uintptr_t)inside < *end;
  }
  if (maps) {
    fclose(maps);
  }
  return found;
}

void hr_memlock_release_map(const HrMemlock* memlock, MDB_env* env, size_t map_bytes)
{
  MDB_txn* txn = NULL;
  MDB_dbi dbi;
  uintptr_t start, end;
  if (!memlock->active || mdb_txn_begin(env, NULL, MDB_RDONLY, &txn)) {
    return;
  }
  MDB_cursor* cursor = NULL;
  MDB_val key, value;
  if (!mdb_dbi_open(txn, NULL, 0, &dbi) && !mdb_cursor_open(txn, dbi, &cursor) &&
      !mdb_cursor_get(cursor, &key, &value, MDB_FIRST) && find_mapping(key.mv_data, &start, &end) &&
      end - start <= map_bytes) {
    munlock((void*)start, end - start); // NOLINT(performance-no-int-to-ptr)
  }
  if (cursor) {
    mdb_cursor_close(cursor);
  }
  mdb_txn_abort(txn);
}

void hr_memlock_resume(const HrMemlock* memlock)
{
  if (memlock->active) {
    mlockall(MCL_FUTURE);
  }
}
