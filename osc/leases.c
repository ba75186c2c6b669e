/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/leases.h"
#include "osc/url_file.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#define SECOND_NS INT64_C(1000000000)

enum { LEASES_NAME_MAX = 32 }; // "osc-<port>.leases.new"

static void file_name(char name[LEASES_NAME_MAX], uint16_t port, const char* suffix)
{
  snprintf(name, LEASES_NAME_MAX, "osc-%" PRIu16 ".leases%s", port, suffix);
}

/** One line a lease: address, port, when it ends, hertz of positions. */
static bool write_leases(int file, const HrOscSubscribers* subscribers)
{
  bool written = true;
  for (size_t i = 0; i < HR_OSC_SUBSCRIBERS_MAX && written; ++i) {
    const HrOscSubscriber* const place = &subscribers->places[i];
    if (place->expires_ns && place->expires_ns != HR_OSC_FOR_EVER) {
      char host[INET_ADDRSTRLEN] = "";
      inet_ntop(AF_INET, &place->to.sin_addr, host, sizeof host);
      written = dprintf(file, "%s %u %" PRId64 " %g\n", host, ntohs(place->to.sin_port),
                        place->expires_ns, place->position_rate) > 0;
    }
  }
  return written;
}

void hr_osc_leases_write(const HrOscSubscribers* subscribers, uint16_t port)
{
  char path[PATH_MAX];
  char name[LEASES_NAME_MAX];
  char fresh[LEASES_NAME_MAX];
  const int folder = hr_osc_folder_open(path, sizeof path);
  if (folder < 0) {
    return;
  }
  file_name(name, port, "");
  file_name(fresh, port, ".new");
  unlinkat(folder, fresh, 0);
  const int file =
      openat(folder, fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (file >= 0) {
    const bool written = write_leases(file, subscribers);
    close(file);
    if (!written || renameat(folder, fresh, folder, name)) {
      unlinkat(folder, fresh, 0);
    }
  }
  close(folder);
}

/** Grant what a line says, if it is a lease that goes on. */
static void take_lease(HrOscSubscribers* subscribers, const char* line, int64_t now_ns)
{
  char host[INET_ADDRSTRLEN];
  uint16_t port = 0;
  int64_t expires_ns = 0;
  double rate = 0.0;
  struct sockaddr_in to = {.sin_family = AF_INET};
  if (sscanf(line, "%15s %" SCNu16 " %" SCNd64 " %lf", host, &port, &expires_ns, &rate) != 4 ||
      inet_pton(AF_INET, host, &to.sin_addr) != 1 || !port || expires_ns <= now_ns ||
      expires_ns - now_ns > HR_OSC_LEASE_MAX * SECOND_NS ||
      !(rate >= 0.0 && rate <= HR_OSC_POSITION_RATE_MAX)) {
    return;
  }
  to.sin_port = htons(port);
  HrOscSubscriber* const subscriber = hr_osc_subscribe(subscribers, &to, 1, now_ns);
  if (subscriber && subscriber->expires_ns != HR_OSC_FOR_EVER) {
    subscriber->expires_ns = expires_ns;
    subscriber->position_rate = rate;
  }
  if (subscriber) {
    hr_osc_subscriber_owe(subscriber);
  }
}

void hr_osc_leases_read(HrOscSubscribers* subscribers, uint16_t port, int64_t now_ns)
{
  char path[PATH_MAX];
  char name[LEASES_NAME_MAX];
  const int folder = hr_osc_folder_open(path, sizeof path);
  if (folder < 0) {
    return;
  }
  file_name(name, port, "");
  const int descriptor = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  FILE* const file = descriptor < 0 ? NULL : fdopen(descriptor, "r");
  if (file) {
    char line[128];
    while (fgets(line, sizeof line, file)) {
      take_lease(subscribers, line, now_ns);
    }
    fclose(file);
  } else if (descriptor >= 0) {
    close(descriptor);
  }
  close(folder);
}
