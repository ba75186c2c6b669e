/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/allow_list.h"
#include "osc/dispatch.h"
#include "osc/endpoint.h"
#include "osc/feedback.h"
#include "osc/leases.h"
#include "osc/osc.h"
#include "osc/packet.h"
#include "osc/socket.h"
#include "osc/thread.h"
#include "osc/url_file.h"
#include "osc/zeroconf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WORK_NS         INT64_C(250000000)   // Between two works of a session
#define WORK_SOONEST_NS INT64_C(20000000)    // The same after a change
#define GOODBYE_NS      INT64_C(100000000)   // At most, to tell that all is over
#define HANG_NS         INT64_C(10000000000) // A command that takes longer hangs
#define LOOK_NS         INT64_C(1000000)     // From one look whether it is done to the next
#define PACKETS_NS      INT64_C(50000000)    // Packets run before other work has its turn
#define RECEIVE_NS      INT64_C(10000000)    // The same of taking them in

enum { STACK_BYTES = 256 << 10 };

/** The endpoint of the process and the thread that serves it.
 *
 * Whoever holds `inside` may use the endpoint. The thread lets go of it only
 * for an instant when it is busy, which a waiting thread could miss over and
 * over: so both pass through `door`, and who waits inside the door is next. */
static struct {
  pthread_mutex_t lifecycle; ///< Held for the length of attach and detach
  pthread_mutex_t door;
  pthread_mutex_t inside;
  bool started; ///< Under `lifecycle`, like the next four
  pthread_t thread;
  HrOscZeroconf* zeroconf;
  int wake;
  char url_text[64];
  atomic_bool stop;
  _Atomic(const char*) url; ///< `url_text`, or ""
  HrOscEndpoint endpoint;
  uint8_t packet[HR_OSC_PACKET_MAX + 1 + HR_OSC_PADDING]; ///< The thread's own
} server = {
    .lifecycle = PTHREAD_MUTEX_INITIALIZER,
    .door = PTHREAD_MUTEX_INITIALIZER,
    .inside = PTHREAD_MUTEX_INITIALIZER,
    .url = "",
};

static void enter(void)
{
  pthread_mutex_lock(&server.door);
  pthread_mutex_lock(&server.inside);
  pthread_mutex_unlock(&server.door);
}

/** The same for the host, which must not hang with a disk that a command waits for: false if
 * it could not be done in HANG_NS. */
static bool enter_in_time(void)
{
  const struct timespec pause = {.tv_nsec = LOOK_NS};
  const int64_t until_ns = hr_monotonic_ns() + HANG_NS;
  pthread_mutex_lock(&server.door);
  bool inside = !pthread_mutex_trylock(&server.inside);
  while (!inside && hr_monotonic_ns() < until_ns) {
    nanosleep(&pause, NULL);
    inside = !pthread_mutex_trylock(&server.inside);
  }
  pthread_mutex_unlock(&server.door);
  return inside;
}

static void leave(void)
{
  pthread_mutex_unlock(&server.inside);
}

static void wake_up(int wake)
{
  const uint64_t one = 1;
  // It fails only if a wake-up is pending already.
  const ssize_t written = write(wake, &one, sizeof one);
  (void)written;
}

/** Called by a session, on any thread, with its mutex held. */
static void on_change(void* data)
{
  HrOscInstance* instance = data;
  if (!atomic_exchange(&instance->changed, true)) {
    wake_up(instance->wake);
  }
}

/* ---- The thread ----------------------------------------------------- */

/** True if whoever is at this address may ask and be told. */
static bool is_allowed(const HrOscEndpoint* endpoint, struct in_addr address)
{
  // Whoever is reached at the address that is listened on is this machine.
  return address.s_addr == endpoint->address.sin_addr.s_addr ||
         hr_osc_allow_list_admits(&endpoint->allowed, address);
}

/** True if a packet of this sender is to be read. Others are counted and never
 * answered: an answer would go to whomever the sender claims to be. */
static bool is_welcome(HrOscEndpoint* endpoint, const struct sockaddr_in* from, int64_t now_ns)
{
  if (!is_allowed(endpoint, from->sin_addr)) {
    endpoint->foreign += 1;
    return false;
  }
  if (!hr_osc_rate_limit_take(&endpoint->limit, from, now_ns)) {
    endpoint->flooded += 1;
    return false;
  }
  return true;
}

static void receive_packets(HrOscEndpoint* endpoint)
{
  const int64_t begun_ns = hr_monotonic_ns();
  int64_t now_ns = begun_ns;
  for (; now_ns - begun_ns < RECEIVE_NS; now_ns = hr_monotonic_ns()) {
    struct sockaddr_in from = {0};
    struct in_addr own;
    // One byte more than allowed is asked for, to know a packet that is too long.
    const ssize_t size = hr_osc_reached_receive(
        endpoint->socket, server.packet, HR_OSC_PACKET_MAX + 1, &from, &own, &endpoint->overrun);
    if (size < 0) {
      return;
    }
    if (from.sin_family == AF_INET && from.sin_port && is_welcome(endpoint, &from, now_ns)) {
      hr_osc_reached_note(&endpoint->outbox.reached, from.sin_addr, own);
      memset(server.packet + size, 0, HR_OSC_PADDING);
      hr_osc_dispatch(endpoint, &from, server.packet, (size_t)size, now_ns);
    }
  }
}

/** True if some are left. */
static bool run_packets(HrOscEndpoint* endpoint)
{
  const int64_t now_ns = hr_monotonic_ns();
  return hr_osc_dispatch_run(endpoint, now_ns, now_ns + PACKETS_NS);
}

static void notice_changes(HrOscEndpoint* endpoint)
{
  for (HrOscInstance* instance = endpoint->instances; instance; instance = instance->next) {
    if (atomic_exchange(&instance->changed, false)) {
      const int64_t soonest_ns = instance->worked_ns + WORK_SOONEST_NS;
      instance->dirty = true;
      if (soonest_ns < instance->work_due_ns) {
        instance->work_due_ns = soonest_ns;
      }
    }
  }
}

/** Do the work of the one session that has waited longest: packets come between
 * the works of two sessions, each of which may have to wait for the disk.
 * Returns when the next work is due. */
static int64_t work_one(HrOscEndpoint* endpoint)
{
  HrOscInstance* due = endpoint->instances;
  for (HrOscInstance* instance = due; instance; instance = instance->next) {
    if (instance->work_due_ns < due->work_due_ns) {
      due = instance;
    }
  }
  if (due && due->work_due_ns <= hr_monotonic_ns()) {
    const bool changed = hr_session_tend(due->session);
    // What the work itself changed must not call for more of it.
    const bool told = atomic_exchange(&due->changed, false);
    due->dirty = due->dirty || changed || told;
    due->worked_ns = hr_monotonic_ns();
    due->work_due_ns = due->worked_ns + WORK_NS;
  }

  int64_t next_ns = INT64_MAX;
  for (const HrOscInstance* instance = endpoint->instances; instance; instance = instance->next) {
    if (instance->work_due_ns < next_ns) {
      next_ns = instance->work_due_ns;
    }
  }
  return next_ns;
}

static int64_t sooner(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

/** Everything there is to do now. Returns when there is more, by the monotonic clock. */
static int64_t serve(HrOscEndpoint* endpoint)
{
  receive_packets(endpoint);
  hr_osc_dispatch_due(endpoint, hr_monotonic_ns());
  const bool more = run_packets(endpoint);
  notice_changes(endpoint);
  int64_t next_ns = work_one(endpoint);
  next_ns = more ? 0 : next_ns;
  next_ns = sooner(next_ns, hr_osc_feedback_run(endpoint, hr_monotonic_ns()));
  next_ns = sooner(next_ns, hr_osc_outbox_run(&endpoint->outbox, hr_monotonic_ns()));

  const uint64_t now = hr_osc_schedule_clock(&endpoint->schedule, hr_monotonic_ns());
  const int64_t wait_ns = hr_osc_schedule_wait_ns(&endpoint->schedule, now);
  return wait_ns == INT64_MAX ? next_ns : sooner(next_ns, hr_monotonic_ns() + wait_ns);
}

static void wait_until(int socket, int64_t next_ns)
{
  struct pollfd descriptors[2] = {{.fd = socket, .events = POLLIN},
                                  {.fd = server.wake, .events = POLLIN}};
  int64_t wait_ns = next_ns - hr_monotonic_ns();
  if (wait_ns < 0) {
    wait_ns = 0;
  }
  if (wait_ns > WORK_NS) {
    wait_ns = WORK_NS; // Less than a second, so that nanoseconds say it
  }
  const struct timespec timeout = {.tv_nsec = (long)wait_ns};
  ppoll(descriptors, 2, &timeout, NULL);

  uint64_t count = 0;
  const ssize_t size = read(server.wake, &count, sizeof count);
  (void)size;
}

/** What waits to be run is answered, as there is no instance left; subscribers hear of that.
 * The last of it goes out a little later, as datagrams are paced. */
static void say_goodbye(HrOscEndpoint* endpoint)
{
  const int64_t until_ns = hr_monotonic_ns() + GOODBYE_NS;
  bool more = true;
  while (more) {
    enter();
    const bool waits = run_packets(endpoint);
    const int64_t now_ns = hr_monotonic_ns();
    hr_osc_feedback_run(endpoint, now_ns);
    hr_osc_outbox_run(&endpoint->outbox, now_ns);
    more = (waits || endpoint->outbox.queued || hr_osc_subscribers_owed(&endpoint->subscribers)) &&
           now_ns < until_ns;
    leave();
    if (more) {
      const struct timespec pause = {.tv_nsec = HR_OSC_BURST_NS};
      nanosleep(&pause, NULL);
    }
  }
}

static void* run(void* data)
{
  (void)data;
  pthread_setname_np(pthread_self(), "hr-osc");
  while (!atomic_load(&server.stop)) {
    enter();
    const int64_t next_ns = serve(&server.endpoint);
    const int socket = server.endpoint.socket;
    leave();
    wait_until(socket, next_ns);
  }
  say_goodbye(&server.endpoint);
  return NULL;
}

/* ---- Starting and stopping ------------------------------------------ */

static HrStatus start(HrError* error)
{
  HrOscEndpoint* endpoint = &server.endpoint;
  server.wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (server.wake < 0) {
    return hr_error(error, HR_ERR_LIMIT,
                    "OSC is off: no event descriptor (%s). Raise the limit of open files.",
                    strerror(errno));
  }
  memset(endpoint, 0, sizeof *endpoint);
  endpoint->socket = -1;
  endpoint->url = "";
  hr_osc_outbox_init(&endpoint->outbox, -1);
  atomic_store(&server.stop, false);

  const int failed = hr_osc_thread_start(&server.thread, STACK_BYTES, run, NULL);
  if (failed) {
    close(server.wake);
    return hr_error(error, HR_ERR_LIMIT, "OSC is off: its thread could not be started (%s).",
                    strerror(failed));
  }
  server.started = true;
  return HR_OK;
}

static void stop(void)
{
  atomic_store(&server.stop, true);
  wake_up(server.wake);
  pthread_join(server.thread, NULL);

  HrOscEndpoint* endpoint = &server.endpoint;
  hr_osc_zeroconf_stop(server.zeroconf);
  server.zeroconf = NULL;
  if (endpoint->socket >= 0) {
    hr_osc_url_file_remove();
    close(endpoint->socket);
  }
  atomic_store(&server.url, "");
  hr_osc_inbox_clear(&endpoint->inbox);
  hr_osc_schedule_clear(&endpoint->schedule);
  hr_osc_outbox_clear(&endpoint->outbox);
  close(server.wake);
  server.started = false;
}

/** The URL for programs of this machine. */
static void write_url(const struct sockaddr_in* address)
{
  const bool everywhere = address->sin_addr.s_addr == htonl(INADDR_ANY);
  const struct in_addr reached = {everywhere ? htonl(INADDR_LOOPBACK) : address->sin_addr.s_addr};
  char host[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, &reached, host, sizeof host);
  snprintf(server.url_text, sizeof server.url_text, "osc.udp://%s:%u/", host,
           ntohs(address->sin_port));
}

/** Subscribe those of the last process, unless they were allowed then and are not now. */
static void take_leases(HrOscEndpoint* endpoint)
{
  HrOscSubscribers* const subscribers = &endpoint->subscribers;
  hr_osc_leases_read(subscribers, ntohs(endpoint->address.sin_port), hr_monotonic_ns());
  for (size_t i = 0; i < HR_OSC_SUBSCRIBERS_MAX; ++i) {
    HrOscSubscriber* const place = &subscribers->places[i];
    if (place->expires_ns && !is_allowed(endpoint, place->to.sin_addr)) {
      hr_osc_unsubscribe(subscribers, place);
    }
  }
}

/** Open the socket if there is none. A configuration that does not let it be reached
 * from elsewhere and a URL file that cannot be written are only worth a warning. */
static HrStatus open_socket(HrError* error)
{
  if (server.endpoint.socket >= 0) {
    return HR_OK;
  }
  int descriptor = -1;
  struct sockaddr_in address;
  struct in_addr listen;
  HrOscAllowList allowed;
  const bool warned = hr_osc_allow_list_configured(&allowed, &listen, error) != HR_OK;
  const HrStatus st = hr_osc_socket_open(listen, &descriptor, &address, error);
  if (st) {
    return st;
  }
  write_url(&address);

  enter();
  server.endpoint.allowed = allowed;
  server.endpoint.socket = descriptor;
  server.endpoint.address = address;
  server.endpoint.url = server.url_text;
  hr_osc_outbox_init(&server.endpoint.outbox, descriptor);
  take_leases(&server.endpoint);
  hr_osc_subscribe_targets(&server.endpoint.subscribers, error);
  leave();
  atomic_store(&server.url, server.url_text);
  hr_osc_url_file_write(server.url_text, warned ? NULL : error);
  server.zeroconf = hr_osc_zeroconf_start(&address);
  return HR_OK;
}

static bool is_served(const HrSession* session)
{
  for (const HrOscInstance* instance = server.endpoint.instances; instance;
       instance = instance->next) {
    if (instance->session == session) {
      return true;
    }
  }
  return false;
}

static HrStatus add_instance(HrSession* session, HrError* error)
{
  HrOscInstance* instance = calloc(1, sizeof *instance);
  if (!instance) {
    return hr_error(error, HR_ERR_NO_MEMORY, "OSC is off for this instance: out of memory.");
  }
  instance->session = session;
  instance->number = hr_session_number(session);
  instance->wake = server.wake;

  if (!enter_in_time()) {
    free(instance);
    return hr_error(error, HR_ERR_BUSY,
                    "OSC is off for this instance: a command to another one hangs, as its disk "
                    "does not answer. Load the plugin again when it does.");
  }
  HrOscInstance** place = &server.endpoint.instances;
  while (*place && (*place)->number < instance->number) {
    place = &(*place)->next;
  }
  instance->next = *place;
  *place = instance;
  hr_osc_subscribers_owe(&server.endpoint.subscribers);
  leave();

  hr_session_on_change(session, on_change, instance);
  return HR_OK;
}

/** Take the instance of a session, which is in the list, out of it; false if that cannot be
 * done in time. */
static bool remove_instance(HrSession* session, HrOscInstance** removed)
{
  if (!hr_session_on_change(session, NULL, NULL) || !enter_in_time()) {
    return false;
  }
  HrOscInstance** place = &server.endpoint.instances;
  while ((*place)->session != session) {
    place = &(*place)->next;
  }
  *removed = *place;
  *place = (*removed)->next;
  hr_osc_subscribers_owe(&server.endpoint.subscribers);
  leave();
  return true;
}

static HrStatus attach(HrSession* session, HrError* error)
{
  // Only attach and detach change the list, and they hold `lifecycle`.
  if (server.started && is_served(session)) {
    return hr_error(error, HR_ERR_EXISTS, "This instance is served over OSC already.");
  }
  HrStatus st = server.started ? HR_OK : start(error);
  if (st) {
    return st;
  }
  st = add_instance(session, error);
  if (st) {
    if (!server.endpoint.instances) {
      stop();
    }
    return st;
  }
  st = open_socket(error);
  wake_up(server.wake);
  return st;
}

HrStatus hr_osc_attach(HrSession* session, HrError* error)
{
  if (error) {
    *error = (HrError){.status = HR_OK};
  }
  pthread_mutex_lock(&server.lifecycle);
  const HrStatus st = attach(session, error);
  pthread_mutex_unlock(&server.lifecycle);
  return st;
}

bool hr_osc_detach(HrSession* session)
{
  HrOscInstance* instance = NULL;
  pthread_mutex_lock(&server.lifecycle);
  const bool removed =
      !server.started || !is_served(session) || remove_instance(session, &instance);
  if (instance) {
    if (server.endpoint.instances) {
      wake_up(server.wake);
    } else {
      stop();
    }
    free(instance->branches);
    free(instance);
  }
  pthread_mutex_unlock(&server.lifecycle);
  return removed;
}

const char* hr_osc_url(void)
{
  return atomic_load(&server.url);
}
