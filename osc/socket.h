/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file socket.h
 * The endpoint's UDP socket. Any thread.
 */

#ifndef HR_OSC_SOCKET_H
#define HR_OSC_SOCKET_H

#include "store/status.h"

#include <netinet/in.h>

enum {
  HR_OSC_PORT_DEFAULT = 9770,
  HR_OSC_PORT_COUNT = 64, ///< Ports tried, one after the other
  HR_OSC_PORT_LOWEST = 1024,
};

/** Open a socket on the first free port of the address `listen`, from $HR_OSC_PORT or
 * HR_OSC_PORT_DEFAULT up; non-blocking and close-on-exec. HR_ERR_ARGUMENT: the
 * variable is no port, HR_ERR_BUSY: all ports are taken, HR_ERR_IO: no socket. */
HrStatus hr_osc_socket_open(struct in_addr listen, int* descriptor, struct sockaddr_in* address,
                            HrError* error);

#endif
