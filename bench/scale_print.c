/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "bench/scale_print.h"

#include <stdio.h>

static const char* table; ///< Of the data that is kept
static const char* measured;

void print_head(const char* what, const char* data, const char* column)
{
  table = data;
  measured = column;
  printf("\n%-40s %9s %9s %9s %9s %9s   us\n", what, "count", "median", "90 %", "99 %", "worst");
}

void print_times(const char* name, const BenchTimes* times)
{
  printf("%-40s %9zu %9.1f %9.1f %9.1f %9.1f\n", name, times->count,
         bench_times_ns(times, 0.5) / 1e3, bench_times_ns(times, 0.9) / 1e3,
         bench_times_ns(times, 0.99) / 1e3, bench_times_ns(times, 1.0) / 1e3);
  bench_data(table, name, measured, "ns", bench_times_spread(times));
}

void print_bar(const char* what, double value, double bar, const char* unit)
{
  printf("Bar: %s at most %g %s: %.2f, %.2f of the bar. %s.\n", what, bar, unit, value, value / bar,
         value <= bar ? "Met" : "Missed");
}

double microseconds(const BenchTimes* times, double share)
{
  return bench_times_ns(times, share) / 1e3;
}
