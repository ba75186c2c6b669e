/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file outbox.h
 * Datagrams on their way out, paced for each destination so that a long answer
 * does not overrun the receiver's socket buffer (the usual one holds some 90 of
 * ours). In order for each destination; bounded in all.
 *
 * Thread: one at a time. Time is CLOCK_MONOTONIC in nanoseconds.
 */

#ifndef HR_OSC_OUTBOX_H
#define HR_OSC_OUTBOX_H

#include "osc/reached.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  HR_OSC_ROUTES_MAX = 128,     ///< Destinations sent to within one burst's time
  HR_OSC_BURST_MAX = 8,        ///< Datagrams to one destination before a pause
  HR_OSC_QUEUE_MAX = 1024,     ///< Datagrams waiting for one destination
  HR_OSC_QUEUED_MAX = 8 << 20, ///< Bytes waiting in all
  HR_OSC_KEPT_FREE = 16,       ///< Of both, in datagrams, for the ends of answers
};

/** Time from one burst to a destination to the next: 1.1 MB/s, which Wi-Fi keeps up with. */
#define HR_OSC_BURST_NS 10000000

typedef struct HrOscDatagram HrOscDatagram;

/** One destination. It is free again once nothing waits and its burst's time is over. */
typedef struct {
  bool used;
  struct sockaddr_in to;
  unsigned sent;    ///< In this burst
  int64_t burst_ns; ///< When the next burst may begin
  HrOscDatagram* first;
  HrOscDatagram* last;
  size_t waiting;
} HrOscRoute;

typedef struct {
  int socket;    ///< Not owned; -1: everything is dropped
  size_t queued; ///< Bytes waiting, over all routes
  uint64_t lost; ///< Datagrams dropped for want of room
  HrOscReached reached;
  HrOscRoute routes[HR_OSC_ROUTES_MAX];
} HrOscOutbox;

void hr_osc_outbox_init(HrOscOutbox* outbox, int socket);

/** Forget what waits. */
void hr_osc_outbox_clear(HrOscOutbox* outbox);

/** Send now, or queue. False if there was no room: it is dropped and counted.
 * `last` says that it ends an answer: for such there is room kept free, so that a
 * receiver learns of an answer that did not fit. */
bool hr_osc_outbox_send(HrOscOutbox* outbox, const struct sockaddr_in* to, const uint8_t* bytes,
                        size_t size, bool last, int64_t now_ns);

/** True if nothing waits for `to`. */
bool hr_osc_outbox_idle(const HrOscOutbox* outbox, const struct sockaddr_in* to);

/** Send what may go by now. Returns when to call again; INT64_MAX: nothing waits. */
int64_t hr_osc_outbox_run(HrOscOutbox* outbox, int64_t now_ns);

static inline bool hr_osc_same_address(const struct sockaddr_in* a, const struct sockaddr_in* b)
{
  return a->sin_addr.s_addr == b->sin_addr.s_addr && a->sin_port == b->sin_port;
}

#endif
