/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file dispatch.h
 * From a packet to commands, and from their outcome to answers.
 *
 * Every message that is not itself an answer gets exactly one closing message,
 * `/reply <path> "ok"` or `/error <path> <code> <text>`, after the rows it asked
 * for, `/reply <path> "row" <values>`. With a pattern each command of each instance
 * it stands for answers so for itself, under its own number. An id sent along is the last value of
 * each.
 *
 * Called with the endpoint's lock held.
 */

#ifndef HR_OSC_DISPATCH_H
#define HR_OSC_DISPATCH_H

#include "osc/endpoint.h"
#include "osc/writer.h"

/** Commands that one pattern may stand for: "*" in place of a command would be
 * everything at once, which nobody means. */
enum { HR_OSC_MATCHES_MAX = 8 };

/** A message being served. */
typedef struct HrOscRequest {
  HrOscEndpoint* endpoint;
  const struct sockaddr_in* from;
  int64_t now_ns;
  int64_t until_ns;    ///< Then its packet's turn is over
  HrOscPacket* packet; ///< That it is part of
  const char* path;    ///< As the answer names it
  const char* verb;    ///< Of a command for instances: the last part of the path
  const HrValue* values;
  size_t count;
  const char* id;             ///< NULL: none was sent
  HrOscRequestRecord* record; ///< Keeps the answer; NULL: not to be kept
  bool lost;                  ///< Part of the answer found no room
  bool closing;               ///< What is sent now holds the closing message
  HrOscWriter writer;
} HrOscRequest;

/** Take in one datagram: it is refused, or waits for its turn. HR_OSC_PADDING zeros follow
 * `bytes` in memory. */
void hr_osc_dispatch(HrOscEndpoint* endpoint, const struct sockaddr_in* from, const uint8_t* bytes,
                     size_t size, int64_t now_ns);

/** Take in the bundles whose time has come. */
void hr_osc_dispatch_due(HrOscEndpoint* endpoint, int64_t now_ns);

/** Run what was taken in, the senders in turns, until `until_ns` by the monotonic clock: some
 * of it at least, and a command that has begun to its end. True if some is left. */
bool hr_osc_dispatch_run(HrOscEndpoint* endpoint, int64_t now_ns, int64_t until_ns);

/** Bytes of a row's last text that go out in one message: with all else that a row holds it
 * fits a datagram. */
enum { HR_OSC_PIECE_MAX = 700 };

/** Add one row to the answer of a request; several, if its last text is longer. */
void hr_osc_answer_row(HrOscRequest* request, const HrValue* values, size_t count);

#endif
