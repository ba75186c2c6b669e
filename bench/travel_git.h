/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file travel_git.h
 * The same music carried by git: a commit for each branch, on top of its parent's, and
 * one more when it grew; what is new in one pack, taken in by another repository.
 *
 * Threads: the main one. Errors end the program with a sentence. */

#ifndef HR_BENCH_TRAVEL_GIT_H
#define HR_BENCH_TRAVEL_GIT_H

#include "bench/travel_bundle.h"

typedef enum {
  TRAVEL_GIT_MIDI,  ///< The whole path as one MIDI file
  TRAVEL_GIT_NODES, ///< The branch's own nodes, a file each
} TravelGitKind;

typedef struct {
  uint64_t bytes;   ///< Of the pack
  uint64_t objects; ///< In it
  uint64_t commits; ///< And so the references to be told
  double make_ms;   ///< To write the objects and the pack
  double apply_ms;  ///< To index it in the other repository
} TravelGitCost;

/** Commit what `copy` has as far as `have` has it too, untimed; then the rest, and carry
 * that. Works in a folder `path`, which is removed. */
TravelGitCost travel_git(const char* path, TravelGitKind kind, const TravelCopy* copy,
                         const TravelHave* have);

#endif
