/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Senders take turns: what one asks for, be it ever so much, holds up neither the others nor
 * the host, and all of it is done in its order. */

#include "osc/dispatch.h"
#include "osc/packet.h"
#include "osc/schedule.h"
#include "plugin/plugin.h"
#include "plugin/session_internal.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "tests/osc_rig.h"
#include "tests/rig.h"
#include "tests/test_osc_wire.h"
#include "tests/uri_map.h"

/* ---- A slow disk ---------------------------------------------------- */

static atomic_bool slow; ///< The disk syncs once for each post
static sem_t syncs;

__attribute__((visibility("default"))) int fdatasync(int fd)
{
  while (atomic_load(&slow) && sem_wait(&syncs)) {
  }
  return (int)syscall(SYS_fdatasync, fd);
}

static void slow_down(void)
{
  assert_int_equal(sem_init(&syncs, 0, 0), 0);
  atomic_store(&slow, true);
}

static int speed_up(void)
{
  atomic_store(&slow, false);
  return sem_post(&syncs);
}

/* ---- Turn by turn --------------------------------------------------- */

/** An endpoint that sends from a socket of its own and has its turns given to it. */
static HrOscEndpoint endpoint;
static HrOscInstance instances[2];
static int64_t now_ns;

/** Take the rig's sessions from its endpoint to this one. */
static int setup_turns(void** state)
{
  setup(state);
  const struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  endpoint = (HrOscEndpoint){.socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), .url = ""};
  assert_int_equal(bind(endpoint.socket, (const struct sockaddr*)&own, sizeof own), 0);
  hr_osc_outbox_init(&endpoint.outbox, endpoint.socket);
  for (size_t i = 0; i < 2; ++i) {
    hr_osc_detach(sessions[i]);
    instances[i] = (HrOscInstance){.next = i ? NULL : &instances[1],
                                   .session = sessions[i],
                                   .number = hr_session_number(sessions[i])};
  }
  endpoint.instances = instances;
  now_ns = hr_monotonic_ns();
  return 0;
}

static int teardown_turns(void** state)
{
  hr_osc_inbox_clear(&endpoint.inbox);
  hr_osc_schedule_clear(&endpoint.schedule);
  hr_osc_outbox_clear(&endpoint.outbox);
  close(endpoint.socket);
  return teardown(state);
}

static void take_in(const Client* client, const uint8_t* bytes, size_t size)
{
  static uint8_t padded[WIRE_SIZE + HR_OSC_PADDING];
  const struct sockaddr_in from = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)client_port(client)),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  memcpy(padded, bytes, size);
  memset(padded + size, 0, HR_OSC_PADDING);
  hr_osc_dispatch(&endpoint, &from, padded, size, now_ns);
}

static void ask(const Client* client, const char* path)
{
  uint8_t bytes[256];
  take_in(client, bytes, serialise(bytes, path, ""));
}

/** Give a turn that is over as soon as one command has run. True if more is left. */
static bool turn(void)
{
  now_ns += HR_OSC_BURST_NS; // What is sent is not to be paced
  return hr_osc_dispatch_run(&endpoint, now_ns, 0);
}

/** The next message that came is the closing of this address. */
static void assert_closed(Client* client, const char* path)
{
  char expected[256];
  snprintf(expected, sizeof expected, "/reply \"%s\" \"ok\"", path);
  const char* line = NULL;
  do {
    line = client_next(client, ANSWER_MS);
  } while (line && strstr(line, "\"row\""));
  assert_non_null(line);
  assert_memory_equal(line, expected, strlen(expected));
}

static void assert_silent(Client* client)
{
  assert_null(client_next(client, 0));
}

/** A bundle of as many messages as there are addresses; NULL ends them. */
static size_t bundle(uint8_t* bytes, const char* const* paths)
{
  uint8_t message[256];
  size_t size = 0;
  for (; *paths; ++paths) {
    const size_t one = serialise(message, *paths, "");
    size = size ? append(bytes, size, message, one) : wrap(bytes, 1, message, one);
  }
  return size;
}

/** Each turn runs one command of one sender, the senders one after the other; what one of them
 * sent stays in its order. */
static void test_each_has_its_turn(void** state)
{
  Client* const client = *state;
  Client* const other = client_new();
  static uint8_t bytes[WIRE_SIZE];
  const char* const paths[] = {"/hr/ping", "/hr/instances", "/hr/counters", NULL};
  take_in(client, bytes, bundle(bytes, paths));
  ask(client, "/hr/ping");
  ask(other, "/hr/ping");
  ask(other, "/hr/counters");

  assert_true(turn());
  assert_closed(client, "/hr/ping");
  assert_silent(other);
  assert_true(turn());
  assert_closed(other, "/hr/ping");
  assert_silent(client);
  assert_true(turn());
  assert_closed(client, "/hr/instances");
  assert_true(turn());
  assert_closed(other, "/hr/counters");
  assert_true(turn());
  assert_closed(client, "/hr/counters");
  assert_silent(other);
  assert_false(turn());
  assert_closed(client, "/hr/ping");
  assert_false(turn());
  client_free(other);
}

/** The address of a command on one of the instances. */
static const char* on(size_t index, const char* verb)
{
  static char paths[2][64];
  snprintf(paths[index], sizeof paths[0], "/hr/%u/%s", instances[index].number, verb);
  return paths[index];
}

/** A pattern's commands are turns of their own. Between them an instance may go, or its
 * sender's id be one of the last: it is remembered all the same. */
static void test_a_pattern_in_turns(void** state)
{
  Client* const client = *state;
  Client* const other = client_new();
  static uint8_t bytes[WIRE_SIZE];
  take_in(client, bytes, serialise(bytes, "/hr/*/{thru,trees}", "is", 1, "id=1"));
  take_in(other, bytes, serialise(bytes, "/hr/*/{thru,trees}", "is", 1, "id=1"));
  static const char* const verbs[] = {"thru", "trees"};
  for (size_t i = 0; i < 4; ++i) {
    assert_true(turn());
    assert_closed(client, on(i / 2, verbs[i % 2]));
    assert_silent(other);
    assert_true(turn());
    assert_closed(other, on(i / 2, verbs[i % 2]));
    assert_silent(client);
  }
  while (turn()) {
  }
  assert_silent(client);

  // What was done is not done again, but answered as it was the last time.
  take_in(client, bytes, serialise(bytes, "/hr/*/{thru,trees}", "is", 0, "id=1"));
  assert_false(turn());
  assert_closed(client, on(1, "trees"));
  assert_silent(client);
  HrSessionState now;
  hr_session_state(sessions[0], &now);
  assert_true(now.thru);

  take_in(client, bytes, serialise(bytes, "/hr/*/{thru,trees}", ""));
  assert_true(turn());
  assert_closed(client, on(0, "thru"));
  endpoint.instances = &instances[1];
  assert_true(turn());
  assert_closed(client, on(1, "thru"));
  endpoint.instances = NULL;
  assert_false(turn());
  assert_silent(client);
  client_free(other);
}

/** A sender of more than may wait is told so, of each packet; another is not concerned. */
static void test_what_finds_no_room_is_told(void** state)
{
  Client* const client = *state;
  Client* const other = client_new();
  for (unsigned i = 0; i < HR_OSC_LANE_MAX; ++i) {
    ask(client, "/hr/ping");
  }
  assert_silent(client);
  static uint8_t bytes[WIRE_SIZE];
  const char* const paths[] = {"/hr/ping", NULL};
  ask(client, "/hr/counters");
  client_error(client, "/hr/counters", HR_ERR_BUSY, "send it again");
  take_in(client, bytes, bundle(bytes, paths));
  client_error(client, "/", HR_ERR_BUSY, "send it again");
  ask(other, "/hr/ping");
  assert_silent(other);
  assert_true(turn());
  assert_closed(client, "/hr/ping");
  assert_true(turn());
  assert_closed(other, "/hr/ping");
  for (unsigned i = 1; i < HR_OSC_LANE_MAX; ++i) {
    turn();
    assert_closed(client, "/hr/ping");
  }
  assert_false(turn());

  // By their size as well.
  const char* const parts[] = {"/hr/ping", "/hr/ping", NULL};
  size_t size = bundle(bytes, parts);
  while (size + 24 <= HR_OSC_PACKET_MAX / 8) {
    uint8_t ping[64];
    size = append(bytes, size, ping, serialise(ping, "/hr/ping", ""));
  }
  unsigned taken = 0;
  while (!client_next(client, 0)) {
    take_in(client, bytes, size);
    ++taken;
  }
  assert_in_range(taken, HR_OSC_LANE_BYTES_MAX / (HR_OSC_PACKET_MAX / 8) / 2, HR_OSC_LANE_MAX - 1);
  client_free(other);
}

/** However small the packets are, they take no more memory than is said. */
static void test_small_packets_are_bounded_as_well(void** state)
{
  (void)state;
  HrOscInbox inbox = {0};
  struct sockaddr_in from = {.sin_family = AF_INET};
  HrError error;
  size_t count = 0;
  while (hr_osc_inbox_add(&inbox, &from, 4, 0, &error)) {
    from.sin_addr.s_addr = htonl((uint32_t)++count % 1024); // Of a lane each
  }
  assert_int_equal(error.status, HR_ERR_BUSY);
  assert_in_range(count, 1, HR_OSC_INBOX_BYTES_MAX / sizeof(HrOscPacket) - 1);
  hr_osc_inbox_clear(&inbox);
  assert_int_equal(inbox.bytes, 0);
}

/* ---- With a slow disk ----------------------------------------------- */

enum {
  NOTES = HR_OSC_MESSAGES_MAX, // On each of the rig's two instances
  STEP_MS = 20                 // From one sync to the next
};

static void send_notes(const Client* client)
{
  static uint8_t bytes[WIRE_SIZE];
  uint8_t message[64];
  size_t size = 0;
  for (unsigned i = 0; i < NOTES; ++i) {
    char text[16];
    snprintf(text, sizeof text, "note %02u", i);
    const size_t one = serialise(message, "/hr/*/note", "s", text);
    size = size ? append(bytes, size, message, one) : wrap(bytes, 1, message, one);
  }
  client_send_bytes(client, bytes, size);
}

/** Count the closings that have come of the notes. */
static unsigned count_closings(Client* client, int64_t timeout_ms)
{
  unsigned count = 0;
  const char* line = NULL;
  while ((line = client_next(client, timeout_ms))) {
    count += strstr(line, "/note\" ") && !strstr(line, "\"row\"");
  }
  return count;
}

static int teardown_slow(void** state)
{
  return speed_up() || teardown(state);
}

static atomic_bool detached;

static void* detach_from(void* data)
{
  for (HrSession** session = data; session < sessions + 2; ++session) {
    hr_osc_detach(*session);
  }
  atomic_store(&detached, true);
  return NULL;
}

/** Detach the instances from `first` on while the disk goes on step by step. Returns how many
 * steps that took. */
static unsigned detach_slowly(HrSession** first)
{
  pthread_t thread;
  unsigned steps = 0;
  atomic_store(&detached, false);
  assert_int_equal(pthread_create(&thread, NULL, detach_from, first), 0);
  while (!atomic_load(&detached)) {
    sem_post(&syncs);
    ++steps;
    sleep_ms(STEP_MS);
  }
  pthread_join(thread, NULL);
  return steps;
}

/** While a bundle runs whose commands all wait for the disk, another is answered and an
 * instance can go. All that was asked of the others is done, in its order, and said. */
static void test_a_slow_bundle_holds_up_nobody(void** state)
{
  Client* const client = *state;
  Client* const other = client_new();
  slow_down();
  send_notes(client);
  unsigned given = 0;
  do {
    sem_post(&syncs);
    ++given;
  } while (!count_closings(client, STEP_MS)); // Then it has begun
  client_send(other, "/hr/ping", "");
  while (given < 2 * NOTES && !client_find(other, "/reply \"/hr/ping\" \"ok\"", STEP_MS)) {
    sem_post(&syncs);
    ++given;
  }
  assert_in_range(given, 1, NOTES / 2);
  given += detach_slowly(&sessions[1]);
  assert_in_range(given, 1, NOTES);
  speed_up();

  const char* const notes = path_of("notes");
  client_send(client, notes, ""); // Behind the bundle
  assert_true(is_ok(client_answer(client, notes, rows, sizeof rows)));
  const char* row = rows;
  for (unsigned i = 0; i < NOTES; ++i) {
    char text[16];
    snprintf(text, sizeof text, "\"note %02u\"\n", i);
    row = strstr(row, text);
    assert_non_null(row);
  }
  client_free(other);
}

/** What still waits when the last instance goes is answered. */
static void test_what_waits_at_the_end_is_answered(void** state)
{
  Client* const client = *state;
  slow_down();
  send_notes(client);
  do {
    sem_post(&syncs);
  } while (!client_receive(client, STEP_MS)); // Then it has begun
  assert_in_range(detach_slowly(sessions), 1, NOTES);
  const unsigned answered = count_closings(client, QUIET_MS);
  assert_in_range(answered, NOTES, 2 * NOTES);
}

/** With a disk that does not answer a command the host does not hang: the instance is served
 * on, and goes when the command is done. */
static void test_a_command_that_hangs_does_not_hang_the_host(void** state)
{
  Client* const client = *state;
  slow_down();
  send_notes(client);
  do {
    sem_post(&syncs);
  } while (!client_receive(client, STEP_MS)); // Then it has begun, and now waits
  assert_false(hr_osc_detach(sessions[1]));
  speed_up();
  client_drain(client);
  client_send(client, "/hr/instances", "");
  assert_true(is_ok(client_answer(client, "/hr/instances", rows, sizeof rows)));
  assert_non_null(strstr(rows, "Bass"));
  assert_true(hr_osc_detach(sessions[1]));
}

/** What comes while a command waits for the disk and the socket is full is lost, and counted. */
static void test_what_the_socket_cannot_hold_is_counted(void** state)
{
  enum { PACKETS = 2048, TRIES = 20 }; // More bytes than a socket may have
  Client* const client = *state;
  Client* const other = client_new();
  static uint8_t bytes[WIRE_SIZE];
  unsigned flooded = 0;
  unsigned overrun = 0;
  slow_down();
  send_notes(other);
  do {
    sem_post(&syncs);
  } while (!client_receive(other, STEP_MS)); // Then it has begun, and now waits
  for (unsigned i = 0; i < PACKETS; ++i) {
    client_send_bytes(client, bytes, HR_OSC_PACKET_MAX); // None that is answered by much
  }
  speed_up();
  const char* row = NULL;
  for (unsigned i = 0; i < TRIES && !row; ++i) { // The question may find no room, too
    client_send(other, "/hr/counters", "");
    row = client_find(other, "/reply \"/hr/counters\" \"row\"", QUIET_MS);
  }
  assert_non_null(row);
  assert_int_equal(sscanf(row, "%*s %*s %*s %*d %u %*d %u", &flooded, &overrun), 2);
  assert_in_range(overrun, 1, PACKETS - flooded);
  client_free(other);
}

/* ---- A disk that hangs ---------------------------------------------- */

enum { HELD_MS = 15000 }; // The host waits ten seconds

static Rig rig;
static atomic_bool over;

static void* play(void* unused)
{
  (void)unused;
  while (!atomic_load(&over)) {
    rig_run_block(&rig, rig.block);
    sleep_ms(2);
  }
  return NULL;
}

static void* work(void* unused)
{
  (void)unused;
  while (!atomic_load(&over)) {
    hr_session_work(rig.session);
    sleep_ms(5);
  }
  return NULL;
}

/** Whoever is told what changes does not wait for the disk that a fork is on its way to, and
 * nobody else does. */
static void test_a_disk_that_hangs_holds_up_nobody(void** state)
{
  Client* const client = *state;
  Client* const other = client_new();
  pthread_t threads[2];
  assert_true(rig_open(&rig, &(HrAttachment){.store = scratch_path("hangs.hr")}));
  rig.idle = true; // The worker has a thread of its own
  rig_play(&rig, 0, 0x90, 60, 100);
  rig_play(&rig, 100, 0x80, 60, 0);
  rig_run(&rig, RIG_RATE);
  hr_session_work(rig.session);
  atomic_store(&over, false);
  assert_int_equal(pthread_create(&threads[0], NULL, play, NULL), 0);
  assert_int_equal(pthread_create(&threads[1], NULL, work, NULL), 0);
  serve(rig.session);
  subscribe(client);
  client_expect(client, "/hr/state/end");

  slow_down();
  char path[64];
  snprintf(path, sizeof path, "/hr/%u/fork", hr_session_number(rig.session));
  client_send(other, path, "s", "hangs");
  client_ok(other, path);
  const char* told = NULL;
  for (unsigned i = 0; i < 3; ++i) { // All of it was told again meanwhile
    told = client_find(client, "/hr/state/heartbeat", ANSWER_MS);
  }
  client_send(other, "/hr/ping", "");
  const char* const answer = client_find(other, "/reply \"/hr/ping\" \"ok\"", ANSWER_MS);
  speed_up();
  snprintf(path, sizeof path, "/hr/%u/branch 2 \"hangs\" ", hr_session_number(rig.session));
  const char* const fork = client_find(client, path, ANSWER_MS);
  hr_osc_detach(rig.session);
  atomic_store(&over, true);
  pthread_join(threads[0], NULL);
  pthread_join(threads[1], NULL);
  rig_close(&rig);
  client_free(other);
  assert_non_null(told);
  assert_non_null(answer);
  assert_non_null(fork);
}

static LV2_Worker_Status schedule(LV2_Worker_Schedule_Handle unused, uint32_t size,
                                  const void* data)
{
  (void)unused;
  (void)size;
  (void)data;
  return LV2_WORKER_SUCCESS;
}

static HrSession* held;
static atomic_bool holds;

/** As a command that meets a page of the store that the disk does not give. */
static void* hold(void* unused)
{
  (void)unused;
  hr_session_lock(held);
  atomic_store(&holds, true);
  sleep_ms(HELD_MS);
  hr_session_unlock(held);
  return NULL;
}

/** Neither does the host when it removes an instance of which a page does not come. */
static void test_a_page_that_does_not_come_does_not_hang_the_host(void** state)
{
  (void)state;
  LV2_URID_Map map = {NULL, map_uri};
  LV2_Worker_Schedule worker = {NULL, schedule};
  const LV2_Feature map_feature = {LV2_URID__map, &map};
  const LV2_Feature worker_feature = {LV2_WORKER__schedule, &worker};
  const LV2_Feature* const features[] = {&map_feature, &worker_feature, NULL};
  const LV2_Descriptor* const descriptor = lv2_descriptor(0);
  setenv("HR_STORE", scratch_path("page.hr"), 1);
  HrPlugin* const plugin = descriptor->instantiate(descriptor, 48000.0, "", features);
  assert_non_null(plugin);
  descriptor->activate(plugin);
  held = plugin->session;
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, hold, NULL), 0);
  while (!atomic_load(&holds)) {
    sleep_ms(1);
  }
  const int64_t begun_ns = hr_monotonic_ns();
  descriptor->cleanup(plugin);
  const int64_t took_ns = hr_monotonic_ns() - begun_ns;
  pthread_join(thread, NULL);
  descriptor->cleanup(plugin); // Now it can go
  assert_in_range(took_ns / 1000000, 0, HELD_MS - 1000);
}

int main(void)
{
#define SLOW(test)  cmocka_unit_test_setup_teardown(test, setup, teardown_slow)
#define TURNS(test) cmocka_unit_test_setup_teardown(test, setup_turns, teardown_turns)
  const struct CMUnitTest tests[] = {
      TURNS(test_each_has_its_turn),
      TURNS(test_a_pattern_in_turns),
      TURNS(test_what_finds_no_room_is_told),
      cmocka_unit_test(test_small_packets_are_bounded_as_well),
      SLOW(test_a_slow_bundle_holds_up_nobody),
      SLOW(test_what_waits_at_the_end_is_answered),
      SLOW(test_a_command_that_hangs_does_not_hang_the_host),
      SLOW(test_what_the_socket_cannot_hold_is_counted),
      SLOW(test_a_disk_that_hangs_holds_up_nobody),
      SLOW(test_a_page_that_does_not_come_does_not_hang_the_host),
  };
  return cmocka_run_group_tests_name("osc turns", tests, group_setup, group_teardown);
}
