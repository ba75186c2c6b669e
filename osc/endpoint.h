/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file endpoint.h
 * What the OSC thread works on. server.c owns the one endpoint of the process
 * and its lock; every function of this folder that takes an HrOscEndpoint is
 * called with that lock held.
 */

#ifndef HR_OSC_ENDPOINT_H
#define HR_OSC_ENDPOINT_H

#include "osc/allow_list.h"
#include "osc/inbox.h"
#include "osc/outbox.h"
#include "osc/rate_limit.h"
#include "osc/request_memory.h"
#include "osc/schedule.h"
#include "osc/slots.h"
#include "osc/subscribers.h"
#include "plugin/session.h"

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#ifndef HR_VERSION
#define HR_VERSION "0.1.0"
#endif

/** Grows when an address, an argument or a reply changes its meaning. */
#define HR_OSC_PROTOCOL 1

/** What subscribers were last told of a branch. */
typedef struct {
  int64_t number;
  uint64_t hash;  ///< Of the whole row
  unsigned again; ///< How often it is to be told again, as it changed lately
} HrOscBranchSeen;

/** One session that is served. */
typedef struct HrOscInstance {
  struct HrOscInstance* next; ///< By number
  HrSession* session;
  uint32_t number;

  atomic_bool changed; ///< Set by the session on any thread
  int wake;            ///< Event descriptor of the OSC thread, not owned

  bool dirty;        ///< Its state is to be looked at
  int64_t worked_ns; ///< When its periodic work was done last
  int64_t work_due_ns;

  bool followed; ///< The fields below are what subscribers know
  HrSessionState told;
  HrSessionState told_paced; ///< For items told at most ten times a second
  HrSessionState moved;      ///< For positions, which each subscriber is told at its own rate
  int64_t moved_ns;          ///< When they changed last
  HrOscBranchSeen* branches; ///< Sorted by number
  size_t branch_count;
  uint32_t journal_count;          ///< Of the tree, when they were looked at last
  size_t round_next;               ///< Of `branches`, where the next round goes on
  int64_t round_due_ns;            ///< When all is told again
  HrOscSlot visible[HR_OSC_SLOTS]; ///< The first visible branches, their states not set
  HrOscSlot slots[HR_OSC_SLOTS];   ///< As told
} HrOscInstance;

typedef struct HrOscEndpoint {
  int socket; ///< -1: none
  struct sockaddr_in address;
  const char* url; ///< "" without a socket
  HrOscAllowList allowed;
  HrOscRateLimit limit;
  uint64_t foreign; ///< Packets dropped unread: their sender is not allowed
  uint64_t flooded; ///< Packets dropped unread: their sender has sent too many
  uint32_t overrun; ///< Packets that the system dropped, as the socket was full
  HrOscInstance* instances;
  uint32_t sequence; ///< Of the whole states sent
  int64_t paced_due_ns;
  int64_t heartbeat_due_ns;
  HrOscInbox inbox;
  HrOscOutbox outbox;
  HrOscSubscribers subscribers;
  HrOscRequestMemory requests;
  HrOscPresses presses;
  HrOscSchedule schedule;
} HrOscEndpoint;

/** True if a packet sent to `address` comes to the endpoint itself. */
static inline bool hr_osc_is_own_address(const HrOscEndpoint* endpoint,
                                         const struct sockaddr_in* address)
{
  const bool everywhere = endpoint->address.sin_addr.s_addr == htonl(INADDR_ANY);
  const bool loopback = ntohl(address->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
  return hr_osc_same_address(address, &endpoint->address) ||
         (everywhere && loopback && address->sin_port == endpoint->address.sin_port);
}

#endif
