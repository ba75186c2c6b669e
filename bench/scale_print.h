/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file scale_print.h
 * Times and bars as bench_scale prints them. Threads: the main one. */

#ifndef HR_BENCH_SCALE_PRINT_H
#define HR_BENCH_SCALE_PRINT_H

#include "bench/bench.h"

/** Begin a table. In the data that is kept (bench_data()) it is called `data`, and the times'
 * column `column`, which stays valid until the next call. */
void print_head(const char* what, const char* data, const char* column);

/** A row of it, from sorted times. */
void print_times(const char* name, const BenchTimes* times);

void print_bar(const char* what, double value, double bar, const char* unit);

/** The time that `share` (0 to 1) of all do not exceed. */
double microseconds(const BenchTimes* times, double share);

#endif
