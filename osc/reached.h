/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file reached.h
 * At which of this machine's addresses each peer reaches us. What goes to it comes from
 * that one: with several interfaces the system would choose by its routes, and a peer, or
 * a firewall before it, that waits for an answer from elsewhere drops it.
 *
 * Thread: one at a time.
 */

#ifndef HR_OSC_REACHED_H
#define HR_OSC_REACHED_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** Peers that are remembered: as many as may subscribe. The one not heard of for longest makes
 * room. */
enum { HR_OSC_REACHED_MAX = 64 };

typedef struct {
  struct {
    struct in_addr peer; ///< 0: free
    struct in_addr own;
    uint64_t heard; ///< The n-th packet of all
  } entries[HR_OSC_REACHED_MAX];
  uint64_t heard;
} HrOscReached;

/** Receive as recvfrom() does, without waiting; `own` is where the sender reached us, and
 * `overrun`, if any were so far, how many packets came while the socket was full. The socket
 * has IP_PKTINFO and SO_RXQ_OVFL on. */
ssize_t hr_osc_reached_receive(int socket, void* bytes, size_t size, struct sockaddr_in* from,
                               struct in_addr* own, uint32_t* overrun);

/** Remember that `peer` reached us at `own`. */
void hr_osc_reached_note(HrOscReached* reached, struct in_addr peer, struct in_addr own);

/** Send as sendto() does, without waiting, from where `to` reached us last; from where
 * the system likes, if that is not known. */
ssize_t hr_osc_reached_send(const HrOscReached* reached, int socket, const void* bytes, size_t size,
                            const struct sockaddr_in* to);

#endif
