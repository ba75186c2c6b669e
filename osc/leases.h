/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file leases.h
 * Subscriptions outlive the process that granted them: they stand in the file
 * osc-<port>.leases beside the URL file. A host that is started again, and gets
 * the same port, goes on telling its controllers, which need to do nothing: not
 * all can notice that it was gone. Leases end when they would have.
 *
 * Times are CLOCK_MONOTONIC, which all processes share until the next boot, as
 * they do the folder.
 *
 * Thread: one at a time.
 */

#ifndef HR_OSC_LEASES_H
#define HR_OSC_LEASES_H

#include "osc/subscribers.h"

#include <stdint.h>

/** Note who is subscribed at `port`. That it cannot be written costs no more
 * than the restart it is for: there is no error to tell. */
void hr_osc_leases_write(const HrOscSubscribers* subscribers, uint16_t port);

/** Subscribe those of the last process at `port` whose leases go on, and owe
 * them the whole state. */
void hr_osc_leases_read(HrOscSubscribers* subscribers, uint16_t port, int64_t now_ns);

#endif
