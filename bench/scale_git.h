/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file scale_git.h
 * What a fork costs in git: the MIDI file of the music as it is then, committed
 * on a new branch.
 *
 * Threads: the main one. Errors end the program with a sentence. */

#ifndef HR_BENCH_SCALE_GIT_H
#define HR_BENCH_SCALE_GIT_H

#include "bench/bench.h"

/** Time `count` forks of music of `events` events, each with one note more than
 * the one before, in a bare repository at `path` that has `branches` branches:
 * by git's library, or by four runs of the program `git`, without syncing. */
void git_forks(const char* path, bool program, unsigned branches, unsigned count, unsigned events,
               BenchTimes* times);

/** Bytes of the MIDI file of so many events. */
size_t git_music_bytes(unsigned events);

#endif
