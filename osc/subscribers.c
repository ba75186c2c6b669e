/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/subscribers.h"
#include "osc/outbox.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
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
    *place = (HrOscSubscriber){.to = *to, .position_rate = HR_OSC_POSITION_RATE_DEFAULT};
    subscribers->count += 1;
  }
  if (place->expires_ns != HR_OSC_FOR_EVER) {
    place->expires_ns = now_ns + lease_seconds * 1000000000;
  }
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

bool hr_osc_subscribers_owed(const HrOscSubscribers* subscribers)
{
  bool owed = false;
  for (size_t i = 0; i < HR_OSC_SUBSCRIBERS_MAX && !owed; ++i) {
    owed = subscribers->places[i].expires_ns && subscribers->places[i].owed_from;
  }
  return owed;
}

void hr_osc_subscribers_owe(HrOscSubscribers* subscribers)
{
  for (size_t i = 0; i < HR_OSC_SUBSCRIBERS_MAX; ++i) {
    if (subscribers->places[i].expires_ns) {
      hr_osc_subscriber_owe(&subscribers->places[i]);
    }
  }
}

/** Read "address:port" of `size` bytes; false if it is none. */
static bool read_target(const char* text, size_t size, struct sockaddr_in* to)
{
  char host[INET_ADDRSTRLEN + 8];
  unsigned port = 0;
  char surplus;
  if (size >= sizeof host) {
    return false;
  }
  memcpy(host, text, size);
  host[size] = '\0';
  char* const colon = strchr(host, ':');
  if (!colon || sscanf(colon, ":%5u%c", &port, &surplus) != 1 || !port || port > UINT16_MAX) {
    return false;
  }
  *colon = '\0';
  *to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  return inet_pton(AF_INET, host, &to->sin_addr) == 1;
}

HrStatus hr_osc_subscribe_targets(HrOscSubscribers* subscribers, HrError* error)
{
  const char* text = getenv("HR_OSC_TARGETS");
  while (text && *text) {
    const size_t size = strcspn(text, ",");
    struct sockaddr_in to;
    HrOscSubscriber* const subscriber =
        read_target(text, size, &to) ? hr_osc_subscribe(subscribers, &to, 0, 0) : NULL;
    if (!subscriber) {
      return hr_error(error, HR_ERR_ARGUMENT,
                      "HR_OSC_TARGETS has \"%.*s\": set it to at most %d of address:port, with "
                      "commas between them, as in 10.0.0.5:9000,10.0.0.6:9000.",
                      (int)(size < 60 ? size : 60), text, HR_OSC_SUBSCRIBERS_MAX);
    }
    subscriber->expires_ns = HR_OSC_FOR_EVER;
    hr_osc_subscriber_owe(subscriber);
    text += size + (text[size] == ',');
  }
  return HR_OK;
}
