/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/rate_limit.h"
#include "osc/outbox.h"

#define TOKEN_NS (INT64_C(1000000000) / HR_OSC_RATE_MAX)

static HrOscBucket* find_bucket(HrOscRateLimit* limit, const struct sockaddr_in* from,
                                int64_t now_ns)
{
  HrOscBucket* free_place = NULL;
  for (unsigned i = 0; i < HR_OSC_SENDERS_MAX; ++i) {
    HrOscBucket* bucket = &limit->buckets[i];
    if (bucket->full_ns <= now_ns) {
      free_place = bucket;
    } else if (hr_osc_same_address(&bucket->from, from)) {
      return bucket;
    }
  }
  if (!free_place) {
    return &limit->shared;
  }
  free_place->from = *from;
  return free_place;
}

bool hr_osc_rate_limit_take(HrOscRateLimit* limit, const struct sockaddr_in* from, int64_t now_ns)
{
  HrOscBucket* bucket = find_bucket(limit, from, now_ns);
  const int64_t full_ns = (bucket->full_ns > now_ns ? bucket->full_ns : now_ns) + TOKEN_NS;
  if (full_ns - now_ns > HR_OSC_RATE_BURST_MAX * TOKEN_NS) {
    return false;
  }
  bucket->full_ns = full_ns;
  return true;
}
