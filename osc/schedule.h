/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file schedule.h
 * Bundles whose time tag lies ahead, kept until then: a binary heap by time,
 * bounded in count, bytes and how far ahead. Bundles of one time come out in
 * the order they went in.
 *
 * Thread: one at a time. Times are NTP time tags.
 */

#ifndef HR_OSC_SCHEDULE_H
#define HR_OSC_SCHEDULE_H

#include "store/status.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

enum {
  HR_OSC_SCHEDULE_MAX = 256,             ///< Bundles
  HR_OSC_SCHEDULE_BYTES_MAX = 256 << 10, ///< In all
  HR_OSC_AHEAD_SECONDS_MAX = 3600,       ///< A tag further ahead is a clock set wrong
};

typedef struct {
  uint64_t time;
  uint64_t order;
  struct sockaddr_in from;
  size_t size;
  uint8_t bytes[]; ///< Followed by HR_OSC_PADDING zeros
} HrOscPending;

typedef struct {
  HrOscPending* heap[HR_OSC_SCHEDULE_MAX];
  size_t count;
  size_t bytes;
  uint64_t order;
  uint64_t offset; ///< Of its clock from the monotonic one
} HrOscSchedule;

/** The time tag of now, by the wall clock. */
uint64_t hr_osc_schedule_now(void);

/** The time tag of now as the schedule counts: by the wall clock, but that while anything
 * waits it goes on steadily where that is set on or back. `now_ns` is CLOCK_MONOTONIC. */
uint64_t hr_osc_schedule_clock(HrOscSchedule* schedule, int64_t now_ns);

/** Keep a copy of a bundle until `time`. HR_ERR_LIMIT, HR_ERR_NO_MEMORY. */
HrStatus hr_osc_schedule_add(HrOscSchedule* schedule, uint64_t time, uint64_t now,
                             const struct sockaddr_in* from, const uint8_t* bytes, size_t size,
                             HrError* error);

/** Take the first bundle if it is due, for the caller to free(); else NULL. */
HrOscPending* hr_osc_schedule_take(HrOscSchedule* schedule, uint64_t now);

/** Nanoseconds until the first one is due, 0 if it is; INT64_MAX without any. */
int64_t hr_osc_schedule_wait_ns(const HrOscSchedule* schedule, uint64_t now);

/** Forget all. */
void hr_osc_schedule_clear(HrOscSchedule* schedule);

#endif
