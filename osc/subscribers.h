/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file subscribers.h
 * Who is to be told what changes: addresses with a lease, keyed by IP and port,
 * so that two controllers behind one IP are two subscribers.
 *
 * Thread: one at a time. Time is CLOCK_MONOTONIC in nanoseconds.
 */

#ifndef HR_OSC_SUBSCRIBERS_H
#define HR_OSC_SUBSCRIBERS_H

#include "store/status.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  HR_OSC_SUBSCRIBERS_MAX = 64,
  HR_OSC_LEASE_DEFAULT = 60,         ///< Seconds
  HR_OSC_LEASE_MAX = 3600,           ///< Seconds
  HR_OSC_POSITION_RATE_DEFAULT = 10, ///< Hertz
  HR_OSC_POSITION_RATE_MAX = 60,     ///< Hertz
};

/** The lease of a target that is configured. */
#define HR_OSC_FOR_EVER INT64_MAX

typedef struct {
  struct sockaddr_in to;
  int64_t expires_ns; ///< 0: this place is free
  /// The whole state is owed from this instance number on; 0: nothing is owed.
  uint64_t owed_from;
  bool begun;                ///< Its begin was sent
  uint32_t sequence;         ///< Of that begin
  bool lost;                 ///< A datagram found no room: the whole state is owed again
  double position_rate;      ///< Hertz; 0: it is told no positions
  int64_t position_due_ns;   ///< When it may be told the next one
  int64_t position_told_ns;  ///< When it was told the last one
  int64_t position_round_ns; ///< When it is told them though nothing moved
} HrOscSubscriber;

typedef struct {
  HrOscSubscriber places[HR_OSC_SUBSCRIBERS_MAX];
  size_t count;
} HrOscSubscribers;

/** Add a subscriber, or renew its lease. NULL if all places are taken. */
HrOscSubscriber* hr_osc_subscribe(HrOscSubscribers* subscribers, const struct sockaddr_in* to,
                                  int64_t lease_seconds, int64_t now_ns);

/** NULL if `to` is no subscriber. */
HrOscSubscriber* hr_osc_subscriber_find(HrOscSubscribers* subscribers,
                                        const struct sockaddr_in* to);

void hr_osc_unsubscribe(HrOscSubscribers* subscribers, HrOscSubscriber* subscriber);

/** Drop those whose lease is over. */
void hr_osc_subscribers_expire(HrOscSubscribers* subscribers, int64_t now_ns);

/** Subscribe for ever those that $HR_OSC_TARGETS names: "address:port", with commas
 * between them, for controllers that cannot subscribe. Addresses are numbers, no
 * names. HR_ERR_ARGUMENT: one is malformed; those before it are subscribed. */
HrStatus hr_osc_subscribe_targets(HrOscSubscribers* subscribers, HrError* error);

/** Owe the subscriber the whole state, from the beginning. */
void hr_osc_subscriber_owe(HrOscSubscriber* subscriber);

/** True if anybody is owed something. */
bool hr_osc_subscribers_owed(const HrOscSubscribers* subscribers);

/** Owe it to all. */
void hr_osc_subscribers_owe(HrOscSubscribers* subscribers);

#endif
