/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
  PORT_HIGHEST = 65535,
  // Room for a burst of commands while the thread waits for the disk. The kernel's
  // own limit (net.core.rmem_max) may grant less.
  RECEIVE_BUFFER = 1 << 20
};

static HrStatus first_port(int* port, HrError* error)
{
  *port = HR_OSC_PORT_DEFAULT;
  const char* text = getenv("HR_OSC_PORT");
  if (!text || !*text) {
    return HR_OK;
  }
  char* end = NULL;
  const long value = strtol(text, &end, 10);
  if (*end || value < HR_OSC_PORT_LOWEST || value > PORT_HIGHEST) {
    return hr_error(error, HR_ERR_ARGUMENT,
                    "HR_OSC_PORT is \"%.40s\": set it to a port from %d to %d, or not at all.",
                    text, HR_OSC_PORT_LOWEST, PORT_HIGHEST);
  }
  *port = (int)value;
  return HR_OK;
}

static HrStatus bind_first_free(int descriptor, struct in_addr listen, struct sockaddr_in* address,
                                int first, HrError* error)
{
  char host[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, &listen, host, sizeof host);
  int port = first;
  for (; port < first + HR_OSC_PORT_COUNT && port <= PORT_HIGHEST; ++port) {
    *address = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = listen};
    if (!bind(descriptor, (const struct sockaddr*)address, sizeof *address)) {
      return HR_OK;
    }
    if (errno != EADDRINUSE && errno != EACCES) {
      return hr_error(error, HR_ERR_IO, "OSC is off: port %d of %s cannot be used (%s).", port,
                      host, strerror(errno));
    }
  }
  return hr_error(
      error, HR_ERR_BUSY,
      "OSC is off: UDP ports %d to %d of %s are all taken. Close what uses them, or set "
      "HR_OSC_PORT to another port and load the plugin again.",
      first, port - 1, host);
}

HrStatus hr_osc_socket_open(struct in_addr listen, int* descriptor, struct sockaddr_in* address,
                            HrError* error)
{
  *descriptor = -1;
  int first = 0;
  HrStatus st = first_port(&first, error);
  if (st) {
    return st;
  }
  const int opened = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (opened < 0) {
    return hr_error(error, HR_ERR_IO, "OSC is off: no socket (%s).", strerror(errno));
  }
  const int size = RECEIVE_BUFFER;
  setsockopt(opened, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  // With it comes at which of our addresses each packet was sent: reached.h.
  const int on = 1;
  setsockopt(opened, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
  setsockopt(opened, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on); // And how many found no room

  st = bind_first_free(opened, listen, address, first, error);
  if (st) {
    close(opened);
    return st;
  }
  *descriptor = opened;
  return HR_OK;
}
