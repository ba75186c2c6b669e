/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file zeroconf.h
 * Announces the endpoint as a DNS-SD service (RFC 6763) of the type "_osc._udp", so that
 * controllers find it by themselves: through the Avahi daemon, on a thread of its own, as
 * calls to the daemon may take long. Without the daemon nothing is announced and nothing
 * said; when it comes, or comes again, it is told.
 *
 * It is announced where it can be reached: by what listens on 127.0.0.1 to programs of this
 * machine only, by what listens on an address to the network of that interface.
 *
 * Thread: one at a time.
 */

#ifndef HR_OSC_ZEROCONF_H
#define HR_OSC_ZEROCONF_H

#include <netinet/in.h>

#define HR_OSC_SERVICE_TYPE "_osc._udp"

typedef struct HrOscZeroconf HrOscZeroconf;

/** Announce what listens on `address`. NULL if there is no memory or no thread for it. */
HrOscZeroconf* hr_osc_zeroconf_start(const struct sockaddr_in* address);

/** Take the announcement back. Does not wait for a daemon that hangs. NULL is fine. */
void hr_osc_zeroconf_stop(HrOscZeroconf* zeroconf);

#endif
