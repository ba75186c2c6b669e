/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file inbox.h
 * Packets on their way in. Those of one sender wait in a lane, in their order; the lanes
 * take turns, and a packet that has had its turn goes on with the next one. So whoever asks
 * for much, or for what has to wait for the disk, holds up nobody else. Bounded.
 *
 * Thread: one at a time.
 */

#ifndef HR_OSC_INBOX_H
#define HR_OSC_INBOX_H

#include "store/status.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  HR_OSC_LANE_MAX = 1024,            ///< Packets of one sender: a burst, as rate_limit.h has it
  HR_OSC_LANE_BYTES_MAX = 512 << 10, ///< Of memory for the packets of one sender
  HR_OSC_INBOX_BYTES_MAX = 8 << 20,  ///< In all
};

/** A packet that has been checked, as one flat bundle of the messages that are to be run. */
typedef struct HrOscPacket {
  struct HrOscPacket* next;
  int64_t arrived_ns;
  size_t offset;     ///< Of the message that is next, as hr_osc_bundle_next() has it
  uint32_t instance; ///< By a pattern, that goes on with this one ...
  size_t match;      ///< ... and there with this command
  size_t room;       ///< Of `bytes`
  size_t size;       ///< In use
  uint8_t bytes[];   ///< Followed by HR_OSC_PADDING zeros
} HrOscPacket;

/** What waits of one sender: a packet at least. */
typedef struct HrOscLane {
  struct HrOscLane* next;
  struct sockaddr_in from;
  HrOscPacket* first;
  HrOscPacket* last;
  size_t count;
  size_t bytes;
} HrOscLane;

typedef struct {
  HrOscLane* first; ///< Whose turn it is
  HrOscLane* last;
  size_t bytes;
} HrOscInbox;

/** Put a packet behind what waits of its sender, with room for the messages of one of `size`
 * bytes, which the caller fills in. NULL with `error`: HR_ERR_BUSY if too much waits, of its
 * sender or in all, HR_ERR_NO_MEMORY. */
HrOscPacket* hr_osc_inbox_add(HrOscInbox* inbox, const struct sockaddr_in* from, size_t size,
                              int64_t now_ns, HrError* error);

/** End the turn of the first lane. Its first packet is freed if it is `done`, else that goes
 * on when its turn comes again. */
void hr_osc_inbox_turn(HrOscInbox* inbox, bool done);

/** Forget all. */
void hr_osc_inbox_clear(HrOscInbox* inbox);

#endif
