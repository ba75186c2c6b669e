/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file rate_limit.h
 * How much of the endpoint's time each sender gets: a token bucket for each IP and
 * port. A bucket is kept as the one time at which it is full again (the "virtual
 * scheduling" form of the generic cell rate algorithm, ITU-T I.371), so one that is
 * full need not be kept at all, and its place is free.
 *
 * Thread: one at a time. Time is CLOCK_MONOTONIC in nanoseconds.
 */

#ifndef HR_OSC_RATE_LIMIT_H
#define HR_OSC_RATE_LIMIT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

enum {
  HR_OSC_RATE_MAX = 2000,       ///< Packets a second: ten fingers on a 120 Hz tablet send 1200
  HR_OSC_RATE_BURST_MAX = 1000, ///< Packets at once
  HR_OSC_SENDERS_MAX = 256,     ///< With a bucket of their own; further ones share one
};

typedef struct {
  struct sockaddr_in from;
  int64_t full_ns; ///< When the bucket is full again; past: this place is free
} HrOscBucket;

typedef struct {
  HrOscBucket buckets[HR_OSC_SENDERS_MAX];
  HrOscBucket shared; ///< Of those that found no place
} HrOscRateLimit;

/** Take a token of the sender's; false if it has none left. */
bool hr_osc_rate_limit_take(HrOscRateLimit* limit, const struct sockaddr_in* from, int64_t now_ns);

#endif
