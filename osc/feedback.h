/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file feedback.h
 * What subscribers are told: the whole state when they come, changes after it.
 *
 * Called with the endpoint's lock held, but for hr_osc_items(), which any
 * thread may call.
 */

#ifndef HR_OSC_FEEDBACK_H
#define HR_OSC_FEEDBACK_H

#include "osc/endpoint.h"
#include "plugin/command.h"

/** Most values of one item. */
#define HR_OSC_ITEM_VALUES_MAX 3

/** Shortest time between two messages of a paced item. */
#define HR_OSC_PACED_NS 100000000

/** Branches of one instance that subscribers are told of: the newest. The
 * command `list` gives all. */
#define HR_OSC_BRANCHES_MAX 2048

/** One item of an instance's state, sent as /hr/<number>/state/<key>. */
typedef struct {
  const char* key;
  const char* values; ///< Like HrCommandInfo::arguments
  const char* summary;
  bool paced; ///< Changes all the time: told at most ten times a second
  size_t (*read)(const HrSessionState* state, HrValue values[HR_OSC_ITEM_VALUES_MAX]);
  size_t flag; ///< Where `read` is NULL: the offset of the bool that it is
} HrOscItem;

const HrOscItem* hr_osc_items(size_t* count);

/** Send what subscribers are owed and what changed. Returns when to call again
 * if nothing happens before; INT64_MAX: only then. */
int64_t hr_osc_feedback_run(HrOscEndpoint* endpoint, int64_t now_ns);

#endif
