/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/subscribers.h"
#include "osc/outbox.h"

#include <string.h>

HrOscSubscriber* hr_osc_subscriber_find(HrOscSubscribers* subscribers, const struct sockaddr_in* to)
{
  for (size_t i = 0; i < HR_OSC_SUBSCRIBERS_MAX; ++i) {
    HrOscSubscriber* place = &subscribers->places[i];
    if (place->expires_ns && hr_osc_same_address(&place->to, to)) {
      return place;
    }
  }
  return NULL;
}

static HrOscSubscriber* free_place(HrOscSubscribers* subscribers)
{
  for (size_t i = 0; i < HR_OSC_SUBSCRIBERS_MAX; ++i) {
    if (!subscribers->places[i].expires_ns) {
      return &subscribers->places[i];
    }
  }
  return NULL;
}

HrOscSubscriber* hr_osc_subscribe(HrOscSubscribers* subscribers, const struct sockaddr_in* to,
                                  int64_t lease_seconds, int64_t now_ns)
{
  HrOscSubscriber* place = hr_osc_subscriber_find(subscribers, to);
  if (!place) {
    place = free_place(subscribers);
    if (!place) {
      return NULL;
    }
    *place = (HrOscSubscriber){.to = *to};
    subscribers->count += 1;
  }
  place->expires_ns = now_ns + lease_seconds * 1000000000;
  return place;
}

void hr_osc_unsubscribe(HrOscSubscribers* subscribers, HrOscSubscriber* subscriber)
{
  *subscriber = (HrOscSubscriber){0};
  subscribers->count -= 1;
}

void hr_osc_subscribers_expire(HrOscSubscribers* subscribers, int64_t now_ns)
{
  for (size_t i = 0; i < HR_OSC_SUBSCRIBERS_MAX; ++i) {
    HrOscSubscriber* place = &subscribers->places[i];
    if (place->expires_ns && place->expires_ns <= now_ns) {
      hr_osc_unsubscribe(subscribers, place);
    }
  }
}

void hr_osc_subscriber_owe(HrOscSubscriber* subscriber)
{
  subscriber->owed_from = 1;
  subscriber->begun = false;
  subscriber->lost = false;
}

void hr_osc_subscribers_owe(HrOscSubscribers* subscribers)
{
  for (size_t i = 0; i < HR_OSC_SUBSCRIBERS_MAX; ++i) {
    if (subscribers->places[i].expires_ns) {
      hr_osc_subscriber_owe(&subscribers->places[i]);
    }
  }
}
