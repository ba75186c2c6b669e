/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/zeroconf.h"
#include "osc/endpoint.h"
#include "osc/thread.h"

#include <avahi-client/client.h>
#include <avahi-client/publish.h>
#include <avahi-common/alternative.h>
#include <avahi-common/domain.h>
#include <avahi-common/error.h>
#include <avahi-common/malloc.h>
#include <avahi-common/simple-watch.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
  RETRY_MS = 5000,  // Between looks for a system without the D-Bus that the daemon is on
  STOP_MS = 500,    // Longest wait for the thread's end
  RENAMES_MAX = 20, // As many processes of one machine
  STACK_BYTES = 128 << 10
};

struct HrOscZeroconf {
  struct sockaddr_in address;
  AvahiSimplePoll* poll;
  pthread_t thread;
  sem_t ended;      ///< The thread has nothing left to do but release()
  atomic_int users; ///< The thread, and who started it: the last one frees all

  /* The thread's own. */
  AvahiClient* client;
  AvahiEntryGroup* group;
  bool broken; ///< The client is of no more use
  char name[AVAHI_LABEL_MAX];
};

/** The interface that has the address; AVAHI_IF_UNSPEC, for all, if none has. */
static AvahiIfIndex interface_of(struct in_addr address)
{
  const bool loopback = ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET;
  AvahiIfIndex index = AVAHI_IF_UNSPEC;
  struct ifaddrs* list = NULL;
  if (address.s_addr == htonl(INADDR_ANY) || getifaddrs(&list)) {
    return index;
  }
  for (const struct ifaddrs* item = list; item; item = item->ifa_next) {
    const struct sockaddr_in* const own = (const void*)item->ifa_addr;
    if (own && own->sin_family == AF_INET &&
        (own->sin_addr.s_addr == address.s_addr || (loopback && item->ifa_flags & IFF_LOOPBACK))) {
      index = (AvahiIfIndex)if_nametoindex(item->ifa_name);
      break;
    }
  }
  freeifaddrs(list);
  return index;
}

/** Take another name, "... #2", as this one is somebody else's. */
static void rename_service(HrOscZeroconf* zeroconf)
{
  char* const other = avahi_alternative_service_name(zeroconf->name);
  if (other) {
    snprintf(zeroconf->name, sizeof zeroconf->name, "%s", other);
    avahi_free(other);
  }
}

static int add_service(HrOscZeroconf* zeroconf)
{
  char protocol[32];
  snprintf(protocol, sizeof protocol, "protocol=%d", HR_OSC_PROTOCOL);
  // `types` is what others who announce OSC tell of the arguments they take.
  return avahi_entry_group_add_service(zeroconf->group, interface_of(zeroconf->address.sin_addr),
                                       AVAHI_PROTO_INET, 0, zeroconf->name, HR_OSC_SERVICE_TYPE,
                                       NULL, NULL, ntohs(zeroconf->address.sin_port), "txtvers=1",
                                       "types=ifsbhdScmTFNI", "program=halfremembered",
                                       "version=" HR_VERSION, protocol, NULL);
}

static void on_group(AvahiEntryGroup* group, AvahiEntryGroupState state, void* data);

static void announce(HrOscZeroconf* zeroconf, AvahiClient* client)
{
  if (!*zeroconf->name) {
    snprintf(zeroconf->name, sizeof zeroconf->name, "HalfRemembered on %s",
             avahi_client_get_host_name(client));
  }
  if (!zeroconf->group) {
    zeroconf->group = avahi_entry_group_new(client, on_group, zeroconf);
  }
  if (!zeroconf->group || !avahi_entry_group_is_empty(zeroconf->group)) {
    return;
  }
  int failed = add_service(zeroconf);
  for (unsigned i = 0; failed == AVAHI_ERR_COLLISION && i < RENAMES_MAX; ++i) {
    rename_service(zeroconf);
    failed = add_service(zeroconf);
  }
  if (!failed) {
    avahi_entry_group_commit(zeroconf->group);
  }
}

static void on_group(AvahiEntryGroup* group, AvahiEntryGroupState state, void* data)
{
  HrOscZeroconf* const zeroconf = data;
  if (state == AVAHI_ENTRY_GROUP_COLLISION) {
    rename_service(zeroconf);
    avahi_entry_group_reset(group);
    announce(zeroconf, avahi_entry_group_get_client(group));
  }
}

/** Also called before avahi_client_new() has returned. */
static void on_client(AvahiClient* client, AvahiClientState state, void* data)
{
  HrOscZeroconf* const zeroconf = data;
  switch (state) {
  case AVAHI_CLIENT_S_RUNNING:
    announce(zeroconf, client);
    break;
  case AVAHI_CLIENT_S_REGISTERING:
  case AVAHI_CLIENT_S_COLLISION: // The machine gets another name
    if (zeroconf->group) {
      avahi_entry_group_reset(zeroconf->group);
    }
    break;
  case AVAHI_CLIENT_FAILURE: // The daemon has gone
    zeroconf->broken = true;
    break;
  case AVAHI_CLIENT_CONNECTING:
    break;
  }
}

static void disconnect(HrOscZeroconf* zeroconf)
{
  if (zeroconf->client) {
    avahi_client_free(zeroconf->client); // And its groups
  }
  zeroconf->client = NULL;
  zeroconf->group = NULL;
  zeroconf->broken = false;
}

static void release(HrOscZeroconf* zeroconf)
{
  if (atomic_fetch_sub(&zeroconf->users, 1) == 1) {
    avahi_simple_poll_free(zeroconf->poll);
    sem_destroy(&zeroconf->ended);
    free(zeroconf);
  }
}

static void* run(void* data)
{
  HrOscZeroconf* const zeroconf = data;
  pthread_setname_np(pthread_self(), "hr-zeroconf");
  int ended = 0;
  while (!ended) {
    if (!zeroconf->client) {
      zeroconf->client = avahi_client_new(avahi_simple_poll_get(zeroconf->poll),
                                          AVAHI_CLIENT_NO_FAIL, on_client, zeroconf, NULL);
    }
    const bool connected = zeroconf->client && !zeroconf->broken;
    ended = avahi_simple_poll_iterate(zeroconf->poll, connected ? -1 : RETRY_MS);
    if (zeroconf->broken) {
      disconnect(zeroconf);
    }
  }
  disconnect(zeroconf);
  sem_post(&zeroconf->ended);
  release(zeroconf);
  return NULL;
}

HrOscZeroconf* hr_osc_zeroconf_start(const struct sockaddr_in* address)
{
  HrOscZeroconf* const zeroconf = calloc(1, sizeof *zeroconf);
  if (!zeroconf) {
    return NULL;
  }
  zeroconf->address = *address;
  zeroconf->poll = avahi_simple_poll_new();
  sem_init(&zeroconf->ended, 0, 0);
  atomic_store(&zeroconf->users, 2);
  if (!zeroconf->poll || hr_osc_thread_start(&zeroconf->thread, STACK_BYTES, run, zeroconf)) {
    if (zeroconf->poll) {
      avahi_simple_poll_free(zeroconf->poll);
    }
    sem_destroy(&zeroconf->ended);
    free(zeroconf);
    return NULL;
  }
  return zeroconf;
}

/** Wait for the thread's end, STOP_MS at most; false if it has not come. Not by a join with
 * a time limit, which sanitizers do not know: for them the thread would go on. */
static bool wait_for_end(HrOscZeroconf* zeroconf)
{
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_nsec += STOP_MS * 1000000L;
  until.tv_sec += until.tv_nsec / 1000000000;
  until.tv_nsec %= 1000000000;
  int failed;
  do {
    failed = sem_clockwait(&zeroconf->ended, CLOCK_MONOTONIC, &until);
  } while (failed && errno == EINTR);
  return !failed;
}

void hr_osc_zeroconf_stop(HrOscZeroconf* zeroconf)
{
  if (!zeroconf) {
    return;
  }
  avahi_simple_poll_quit(zeroconf->poll);
  if (wait_for_end(zeroconf)) {
    pthread_join(zeroconf->thread, NULL);
  } else {
    pthread_detach(zeroconf->thread); // It waits for the daemon, and ends when that answers
  }
  release(zeroconf);
}
