/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file scale_growth.h
 * What one store's size makes of every thing that is done with it: opening, forking, recording,
 * seeking, replaying. Threads: the main one. Errors end the program with a sentence. */

#ifndef HR_BENCH_SCALE_GROWTH_H
#define HR_BENCH_SCALE_GROWTH_H

#include "bench/scale_stores.h"

/** Medians, in milliseconds, of opening the store and reading a first event. */
typedef struct {
  double warm, cold;
} GrowthOpening;

/** Measure and print all of it. The store has more branches and events after that. */
GrowthOpening growth_measure(const Sized* sized);

#endif
