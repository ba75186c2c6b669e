/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/outbox.h"
#include "osc/writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct HrOscDatagram {
  HrOscDatagram* next;
  size_t size;
  uint8_t bytes[];
};

void hr_osc_outbox_init(HrOscOutbox* outbox, int socket)
{
  memset(outbox, 0, sizeof *outbox);
  outbox->socket = socket;
}

static void drop_first(HrOscOutbox* outbox, HrOscRoute* route)
{
  HrOscDatagram* datagram = route->first;
  route->first = datagram->next;
  route->waiting -= 1;
  outbox->queued -= datagram->size;
  free(datagram);
}

void hr_osc_outbox_clear(HrOscOutbox* outbox)
{
  for (size_t i = 0; i < HR_OSC_ROUTES_MAX; ++i) {
    while (outbox->routes[i].first) {
      drop_first(outbox, &outbox->routes[i]);
    }
  }
}

static HrOscRoute* find_route(HrOscOutbox* outbox, const struct sockaddr_in* to)
{
  for (size_t i = 0; i < HR_OSC_ROUTES_MAX; ++i) {
    HrOscRoute* route = &outbox->routes[i];
    if (route->used && hr_osc_same_address(&route->to, to)) {
      return route;
    }
  }
  return NULL;
}

static HrOscRoute* take_route(HrOscOutbox* outbox, const struct sockaddr_in* to, int64_t now_ns)
{
  for (size_t i = 0; i < HR_OSC_ROUTES_MAX; ++i) {
    HrOscRoute* route = &outbox->routes[i];
    if (!route->used || (!route->first && route->burst_ns <= now_ns)) {
      *route = (HrOscRoute){.used = true, .to = *to};
      return route;
    }
  }
  return NULL;
}

/** True if `route` may send one more now. */
static bool begin_send(HrOscRoute* route, int64_t now_ns)
{
  if (route->burst_ns <= now_ns) {
    route->sent = 0;
    route->burst_ns = now_ns + HR_OSC_BURST_NS;
  }
  return route->sent < HR_OSC_BURST_MAX;
}

/** Send one datagram; false if it must wait for our own socket buffer. Any other
 * failure is the network's, where datagrams get lost without notice too. */
static bool send_one(const HrOscOutbox* outbox, HrOscRoute* route, const uint8_t* bytes,
                     size_t size)
{
  const ssize_t sent =
      hr_osc_reached_send(&outbox->reached, outbox->socket, bytes, size, &route->to);
  if (sent < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS)) {
    return false;
  }
  route->sent += 1;
  return true;
}

static bool enqueue(HrOscOutbox* outbox, HrOscRoute* route, const uint8_t* bytes, size_t size,
                    bool last)
{
  const size_t free_count = last ? 0 : HR_OSC_KEPT_FREE;
  if (route->waiting + free_count >= HR_OSC_QUEUE_MAX ||
      outbox->queued + size + free_count * HR_OSC_DATAGRAM_MAX > HR_OSC_QUEUED_MAX) {
    return false;
  }
  HrOscDatagram* datagram = malloc(sizeof *datagram + size);
  if (!datagram) {
    return false;
  }
  datagram->next = NULL;
  datagram->size = size;
  memcpy(datagram->bytes, bytes, size);

  if (route->first) {
    route->last->next = datagram;
  } else {
    route->first = datagram;
  }
  route->last = datagram;
  route->waiting += 1;
  outbox->queued += size;
  return true;
}

bool hr_osc_outbox_send(HrOscOutbox* outbox, const struct sockaddr_in* to, const uint8_t* bytes,
                        size_t size, bool last, int64_t now_ns)
{
  HrOscRoute* route = outbox->socket < 0 ? NULL : find_route(outbox, to);
  if (!route && outbox->socket >= 0) {
    route = take_route(outbox, to, now_ns);
  }
  if (!route) {
    outbox->lost += 1;
    return false;
  }
  if (!route->first && begin_send(route, now_ns) && send_one(outbox, route, bytes, size)) {
    return true;
  }
  if (!enqueue(outbox, route, bytes, size, last)) {
    outbox->lost += 1;
    return false;
  }
  return true;
}

bool hr_osc_outbox_idle(const HrOscOutbox* outbox, const struct sockaddr_in* to)
{
  for (size_t i = 0; i < HR_OSC_ROUTES_MAX; ++i) {
    const HrOscRoute* route = &outbox->routes[i];
    if (route->used && hr_osc_same_address(&route->to, to)) {
      return !route->first;
    }
  }
  return true;
}

int64_t hr_osc_outbox_run(HrOscOutbox* outbox, int64_t now_ns)
{
  int64_t next_ns = INT64_MAX;
  if (!outbox->queued) {
    return next_ns;
  }
  for (size_t i = 0; i < HR_OSC_ROUTES_MAX; ++i) {
    HrOscRoute* route = &outbox->routes[i];
    while (route->first && begin_send(route, now_ns) &&
           send_one(outbox, route, route->first->bytes, route->first->size)) {
      drop_first(outbox, route);
    }
    if (route->first && route->burst_ns < next_ns) {
      next_ns = route->burst_ns;
    }
  }
  return next_ns;
}
