/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/schedule.h"
#include "osc/packet.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NTP_UNIX_SECONDS 2208988800U // From 1900 to 1970

uint64_t hr_osc_schedule_now(void)
{
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  const uint64_t fraction = ((uint64_t)now.tv_nsec << 32) / 1000000000U;
  return ((uint64_t)now.tv_sec + NTP_UNIX_SECONDS) << 32 | fraction;
}

static uint64_t steady(int64_t now_ns)
{
  const uint64_t ns = (uint64_t)now_ns;
  return ns / 1000000000U << 32 | (ns % 1000000000U << 32) / 1000000000U;
}

uint64_t hr_osc_schedule_clock(HrOscSchedule* schedule, int64_t now_ns)
{
  if (!schedule->count) {
    /* Both now: on a busy machine `now_ns` is of a while ago. */
    schedule->offset = hr_osc_schedule_now() - steady(hr_monotonic_ns());
  }
  return steady(now_ns) + schedule->offset;
}

static bool earlier(const HrOscPending* a, const HrOscPending* b)
{
  return a->time != b->time ? a->time < b->time : a->order < b->order;
}

static void swap(HrOscPending** a, HrOscPending** b)
{
  HrOscPending* const kept = *a;
  *a = *b;
  *b = kept;
}

HrStatus hr_osc_schedule_add(HrOscSchedule* schedule, uint64_t time, uint64_t now,
                             const struct sockaddr_in* from, const uint8_t* bytes, size_t size,
                             HrError* error)
{
  if (time > now && (time - now) >> 32 >= HR_OSC_AHEAD_SECONDS_MAX) {
    return hr_error(error, HR_ERR_LIMIT,
                    "The bundle's time tag is more than an hour ahead: set the sender's clock, or "
                    "send it without a time.");
  }
  if (schedule->count == HR_OSC_SCHEDULE_MAX ||
      schedule->bytes + size > HR_OSC_SCHEDULE_BYTES_MAX) {
    return hr_error(error, HR_ERR_LIMIT, "Too many bundles wait for their time: send them later.");
  }
  HrOscPending* pending = calloc(1, sizeof *pending + size + HR_OSC_PADDING);
  if (!pending) {
    return hr_error(error, HR_ERR_NO_MEMORY, "Out of memory: the bundle was dropped.");
  }
  pending->time = time;
  pending->order = schedule->order++;
  pending->from = *from;
  pending->size = size;
  memcpy(pending->bytes, bytes, size);

  HrOscPending** heap = schedule->heap;
  size_t index = schedule->count++;
  heap[index] = pending;
  schedule->bytes += size;
  while (index && earlier(heap[index], heap[(index - 1) / 2])) {
    swap(&heap[index], &heap[(index - 1) / 2]);
    index = (index - 1) / 2;
  }
  return HR_OK;
}

HrOscPending* hr_osc_schedule_take(HrOscSchedule* schedule, uint64_t now)
{
  HrOscPending** heap = schedule->heap;
  if (!schedule->count || heap[0]->time > now) {
    return NULL;
  }
  HrOscPending* first = heap[0];
  schedule->bytes -= first->size;
  schedule->count -= 1;
  heap[0] = heap[schedule->count];

  for (size_t index = 0;;) {
    size_t least = index;
    const size_t left = 2 * index + 1;
    if (left < schedule->count && earlier(heap[left], heap[least])) {
      least = left;
    }
    if (left + 1 < schedule->count && earlier(heap[left + 1], heap[least])) {
      least = left + 1;
    }
    if (least == index) {
      return first;
    }
    swap(&heap[index], &heap[least]);
    index = least;
  }
}

int64_t hr_osc_schedule_wait_ns(const HrOscSchedule* schedule, uint64_t now)
{
  if (!schedule->count) {
    return INT64_MAX;
  }
  const uint64_t time = schedule->heap[0]->time;
  if (time <= now) {
    return 0;
  }
  // At most an hour ahead when added; a clock set back must not overflow this.
  const uint64_t ahead = time - now;
  const uint64_t seconds = ahead >> 32;
  const uint64_t rest = (ahead & UINT32_MAX) * 1000000000U >> 32;
  return seconds > HR_OSC_AHEAD_SECONDS_MAX ? HR_OSC_AHEAD_SECONDS_MAX * INT64_C(1000000000)
                                            : (int64_t)(seconds * 1000000000U + rest) + 1;
}

void hr_osc_schedule_clear(HrOscSchedule* schedule)
{
  for (size_t i = 0; i < schedule->count; ++i) {
    free(schedule->heap[i]);
  }
  schedule->count = 0;
  schedule->bytes = 0;
}
