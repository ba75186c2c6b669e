/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file feedback.h
 * What subscribers are told: the whole state when they come, changes after it.
 *
 * Called with the endpoint's lock held.
 */

#ifndef HR_OSC_FEEDBACK_H
#define HR_OSC_FEEDBACK_H

#include "osc/endpoint.h"
#include "osc/items.h"

/** Shortest time between two messages of a paced item. */
#define HR_OSC_PACED_NS INT64_C(100000000)

/** All but positions is told again and again, a round of it in this time: who
 * missed a datagram knows the truth again then, without asking. */
#define HR_OSC_ROUND_NS INT64_C(1000000000)

#define HR_OSC_HEARTBEAT_NS INT64_C(2000000000)

/** Of the branches, so many are told in one round, and so many that changed lately. */
enum { HR_OSC_ROUND_BRANCHES = 128, HR_OSC_ROUND_CHANGES = 32, HR_OSC_TOLD_AGAIN = 2 };

/** Branches of one instance that subscribers are told of: the newest. The
 * command `list` gives all. */
#define HR_OSC_BRANCHES_MAX 2048

/** Send what subscribers are owed and what changed. Returns when to call again
 * if nothing happens before; INT64_MAX: only then. */
int64_t hr_osc_feedback_run(HrOscEndpoint* endpoint, int64_t now_ns);

#endif
