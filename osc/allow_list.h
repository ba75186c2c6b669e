/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file allow_list.h
 * Whom the endpoint answers. This machine always; others only where the user
 * has said both where to listen and to whom:
 *
 *   HR_OSC_LISTEN   an IPv4 address of this machine, or 0.0.0.0 for all of them
 *   HR_OSC_ALLOW    addresses and prefixes, as in "192.168.1.0/24,10.0.0.7"
 *
 * Pure functions but for the one that reads the environment; any thread.
 */

#ifndef HR_OSC_ALLOW_LIST_H
#define HR_OSC_ALLOW_LIST_H

#include "store/status.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HR_OSC_ALLOWED_MAX = 64 }; ///< Entries of HR_OSC_ALLOW

/** An address and which of its bits count, both in host byte order. */
typedef struct {
  uint32_t address;
  uint32_t mask;
} HrOscPrefix;

typedef struct {
  HrOscPrefix prefixes[HR_OSC_ALLOWED_MAX];
  size_t count;
} HrOscAllowList;

/** Read a list of addresses and prefixes, separated by commas; spaces around them
 * do not matter. HR_ERR_ARGUMENT, HR_ERR_LIMIT: then the list is empty. */
HrStatus hr_osc_allow_list_read(HrOscAllowList* list, const char* text, HrError* error);

/** True for this machine's own loopback addresses and for what the list holds. */
bool hr_osc_allow_list_admits(const HrOscAllowList* list, struct in_addr from);

/** Read both variables. `listen` is 127.0.0.1 and the list empty unless both are
 * set and right; an error says which is not, and that nothing but this machine
 * is answered. HR_OK without an error where neither is set. */
HrStatus hr_osc_allow_list_configured(HrOscAllowList* list, struct in_addr* listen, HrError* error);

#endif
