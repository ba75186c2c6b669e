/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file engines.h
 * Others that keep bytes in the order of their keys, behind one face: (branch,
 * tick) -> bytes. Each is set up as its own documentation says.
 *
 * Threads: the main one; one of a kind is open at a time. Ticks are not negative.
 * Errors end the program with a sentence. */

#ifndef HR_BENCH_ENGINES_H
#define HR_BENCH_ENGINES_H

#include "store/store.h"

typedef enum {
  ENGINE_LOAD,    ///< Make it; nothing is synced; keys come in rising order
  ENGINE_DURABLE, ///< Make it; what is committed is synced
  ENGINE_READ,    ///< Of what was made
} EngineMode;

/** What is shown to who asked for all of a branch. */
typedef void (*EngineVisit)(void* data, HrTick tick, const void* bytes, size_t size);

typedef struct {
  const char* name;
  const char* package; ///< Debian's; NULL: none
  bool forgets;        ///< It is in memory only, empty when opened
  void* (*open)(const char* path, EngineMode mode);
  /** Keep bytes, in place of what was there before. */
  void (*put)(void* self, HrBranchId branch, HrTick tick, const void* bytes, size_t size);
  /** End a transaction; the next put begins another. */
  void (*commit)(void* self);
  /** The last of a branch at or before a tick, newest version; NULL if there is
   * none. It lives until the next call. */
  const void* (*find)(void* self, HrBranchId branch, HrTick tick, size_t* size);
  void (*each)(void* self, HrBranchId branch, EngineVisit visit, void* data);
  void (*close)(void* self);
} Engine;

enum { ENGINE_LMDB, ENGINE_SQLITE, ENGINE_ROCKSDB, ENGINE_LEVELDB, ENGINE_ARRAY, ENGINES };

extern const Engine engines[ENGINES];

#endif
