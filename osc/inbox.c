/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/inbox.h"
#include "osc/outbox.h"
#include "osc/packet.h"

#include <stdlib.h>

/** The lane of a sender; NULL if nothing waits of it. */
static HrOscLane* find_lane(const HrOscInbox* inbox, const struct sockaddr_in* from)
{
  HrOscLane* lane = inbox->first;
  while (lane && !hr_osc_same_address(&lane->from, from)) {
    lane = lane->next;
  }
  return lane;
}

static size_t packet_bytes(size_t room)
{
  return sizeof(HrOscPacket) + room + HR_OSC_PADDING;
}

static void append_lane(HrOscInbox* inbox, HrOscLane* lane)
{
  lane->next = NULL;
  if (inbox->first) {
    inbox->last->next = lane;
  } else {
    inbox->first = lane;
  }
  inbox->last = lane;
}

static void append_packet(HrOscInbox* inbox, HrOscLane* lane, HrOscPacket* packet)
{
  if (lane->first) {
    lane->last->next = packet;
  } else {
    lane->first = packet;
    append_lane(inbox, lane);
    inbox->bytes += sizeof *lane;
  }
  lane->last = packet;
  lane->count += 1;
  lane->bytes += packet_bytes(packet->room);
  inbox->bytes += packet_bytes(packet->room);
}

HrOscPacket* hr_osc_inbox_add(HrOscInbox* inbox, const struct sockaddr_in* from, size_t size,
                              int64_t now_ns, HrError* error)
{
  HrOscLane* lane = find_lane(inbox, from);
  const size_t room = HR_OSC_BUNDLE_HEADER_SIZE + HR_OSC_BUNDLE_LENGTH_SIZE + size;
  const size_t bytes = packet_bytes(room);
  if (inbox->bytes + bytes + (lane ? 0 : sizeof *lane) > HR_OSC_INBOX_BYTES_MAX ||
      (lane && (lane->count == HR_OSC_LANE_MAX || lane->bytes + bytes > HR_OSC_LANE_BYTES_MAX))) {
    hr_error(error, HR_ERR_BUSY,
             "Nothing of this packet was done, as too much that was sent before still waits: "
             "send it again in a moment.");
    return NULL;
  }
  HrOscPacket* const packet = calloc(1, bytes);
  HrOscLane* const fresh = lane || !packet ? NULL : calloc(1, sizeof *fresh);
  lane = lane ? lane : fresh;
  if (!packet || !lane) {
    free(packet);
    hr_error(error, HR_ERR_NO_MEMORY, "Out of memory: the packet was dropped.");
    return NULL;
  }
  lane->from = *from;
  packet->arrived_ns = now_ns;
  packet->room = room;
  append_packet(inbox, lane, packet);
  return packet;
}

static void drop_first(HrOscInbox* inbox, HrOscLane* lane)
{
  HrOscPacket* const packet = lane->first;
  lane->first = packet->next;
  lane->count -= 1;
  lane->bytes -= packet_bytes(packet->room);
  inbox->bytes -= packet_bytes(packet->room);
  free(packet);
}

void hr_osc_inbox_turn(HrOscInbox* inbox, bool done)
{
  HrOscLane* const lane = inbox->first;
  if (done) {
    drop_first(inbox, lane);
  }
  inbox->first = lane->next;
  if (lane->first) {
    append_lane(inbox, lane);
  } else {
    inbox->bytes -= sizeof *lane;
    free(lane);
  }
}

void hr_osc_inbox_clear(HrOscInbox* inbox)
{
  while (inbox->first) {
    hr_osc_inbox_turn(inbox, true);
  }
}
