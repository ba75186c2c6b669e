/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file ask.h
 * The command "osc": ask a plugin that runs in a host, and show its answer.
 *
 * One thread.
 */

#ifndef HR_TOOLS_ASK_H
#define HR_TOOLS_ASK_H

#include <stddef.h>

/** Send one message, of an address and its arguments, and print each row of the answer. A URL
 * before them, "osc.udp://...", says where to; else it is the one host that serves OSC for
 * this user. Waits two seconds for each part of the answer. HR_EXIT_FAILURE, with a complaint,
 * for an error and where nothing answers. */
int hr_ask(char* const* args, size_t count);

#endif
