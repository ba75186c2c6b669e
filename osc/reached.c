/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/reached.h"

#include <string.h>
#include <sys/socket.h>

/** Room for the one control message that is sent, aligned as such. */
typedef union {
  struct cmsghdr header;
  uint8_t bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
} Control;

/** The same for the two that are received. */
typedef union {
  struct cmsghdr header;
  uint8_t bytes[CMSG_SPACE(sizeof(struct in_pktinfo)) + CMSG_SPACE(sizeof(uint32_t))];
} ControlReceived;

ssize_t hr_osc_reached_receive(int socket, void* bytes, size_t size, struct sockaddr_in* from,
                               struct in_addr* own, uint32_t* overrun)
{
  ControlReceived control;
  struct iovec part = {.iov_base = bytes, .iov_len = size};
  struct msghdr message = {.msg_name = from,
                           .msg_namelen = sizeof *from,
                           .msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = control.bytes,
                           .msg_controllen = sizeof control};
  own->s_addr = htonl(INADDR_ANY);
  const ssize_t received = recvmsg(socket, &message, MSG_DONTWAIT);
  if (received < 0) {
    return received;
  }
  for (struct cmsghdr* item = CMSG_FIRSTHDR(&message); item; item = CMSG_NXTHDR(&message, item)) {
    if (item->cmsg_level == IPPROTO_IP && item->cmsg_type == IP_PKTINFO) {
      struct in_pktinfo info;
      memcpy(&info, CMSG_DATA(item), sizeof info);
      *own = info.ipi_spec_dst;
    } else if (item->cmsg_level == SOL_SOCKET && item->cmsg_type == SO_RXQ_OVFL) {
      memcpy(overrun, CMSG_DATA(item), sizeof *overrun);
    }
  }
  return received;
}

void hr_osc_reached_note(HrOscReached* reached, struct in_addr peer, struct in_addr own)
{
  size_t place = 0;
  for (size_t i = 0; i < HR_OSC_REACHED_MAX; ++i) {
    if (reached->entries[i].peer.s_addr == peer.s_addr) {
      place = i;
      break;
    }
    if (reached->entries[i].heard < reached->entries[place].heard) {
      place = i;
    }
  }
  reached->entries[place].peer = peer;
  reached->entries[place].own = own;
  reached->entries[place].heard = ++reached->heard;
}

ssize_t hr_osc_reached_send(const HrOscReached* reached, int socket, const void* bytes, size_t size,
                            const struct sockaddr_in* to)
{
  Control control = {0};
  struct sockaddr_in name = *to;
  struct iovec part = {.iov_base = (void*)bytes, .iov_len = size};
  struct msghdr message = {
      .msg_name = &name, .msg_namelen = sizeof name, .msg_iov = &part, .msg_iovlen = 1};
  for (size_t i = 0; i < HR_OSC_REACHED_MAX; ++i) {
    if (reached->entries[i].peer.s_addr == to->sin_addr.s_addr) {
      const struct in_pktinfo info = {.ipi_spec_dst = reached->entries[i].own};
      control.header = (struct cmsghdr){
          .cmsg_len = CMSG_LEN(sizeof info), .cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO};
      message.msg_control = control.bytes;
      message.msg_controllen = sizeof control;
      memcpy(CMSG_DATA(&control.header), &info, sizeof info);
      break;
    }
  }
  return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}
