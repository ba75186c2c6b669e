/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file test_osc_endpoint.c
 * The endpoint itself: its address, its instances, long answers, many senders. */

#include "osc/feedback.h"
#include "osc/osc.h"
#include "osc/socket.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/osc_rig.h"
#include "tests/test_osc_wire.h"

/* ---- Long answers and many senders ------------------------------------------------- */

static void make_branches(const char* tree, unsigned count)
{
  HrStore* store = NULL;
  HrTxn* txn = NULL;
  HrTreeId id = 0;
  HrTree info;
  assert_int_equal(hr_store_open(scratch_path("music.hr"), 0, &store, NULL), HR_OK);
  assert_int_equal(hr_txn_begin(store, HR_WRITE, &txn), HR_OK);
  if (hr_tree_find(txn, tree, &id)) {
    assert_int_equal(hr_tree_create(txn, tree, 0, &id), HR_OK);
  }
  assert_int_equal(hr_tree_get(txn, id, &info), HR_OK);
  for (unsigned i = 0; i < count; ++i) {
    HrBranchId branch = 0;
    assert_int_equal(hr_branch_fork(txn, info.root, 0, NULL, &branch), HR_OK);
  }
  assert_int_equal(hr_txn_commit(txn), HR_OK);
  hr_store_close(store);
}

/** Datagrams do get lost where a test has to wait long for a processor: long
 * answers are asked for again, a few times. */
enum { TRIES = 5 };

static size_t count_prefix(const char* text, const char* prefix)
{
  size_t count = 0;
  for (const char* at = strstr(text, prefix); at; at = strstr(at + 1, prefix)) {
    ++count;
  }
  return count;
}

static void test_long_answer(void** state)
{
  enum { BRANCHES = 4000, TOO_MANY = 20000 };
  const char* list = "/hr/forest/list";
  Client* client = *state;
  make_branches("forest", BRANCHES);
  third = make_session("forest");
  serve(third);

  size_t told = 0;
  for (unsigned i = 0; i < TRIES && told != BRANCHES + 1; ++i) {
    client->datagrams = 0;
    client_send(client, list, "");
    client_try_answer(client, list, rows, sizeof rows);
    told = count_lines(rows);
  }
  assert_int_equal(told, BRANCHES + 1);
  assert_true(client->datagrams < BRANCHES / 4);

  // A question from another is not kept waiting by the long answer.
  Client* other = client_new();
  client_send(client, list, "");
  const int64_t asked_ms = now_ms();
  client_send(other, "/hr/ping", "");
  client_ok(other, "/hr/ping");
  assert_true(now_ms() - asked_ms < 1000);
  client_free(other);
  client_try_answer(client, list, NULL, 0);

  // One longer than is kept for a receiver ends with an error that says so.
  make_branches("forest", TOO_MANY);
  const char* closing = NULL;
  for (unsigned i = 0; i < TRIES && !closing; ++i) {
    client_send(client, list, "");
    closing = client_try_answer(client, list, NULL, 0);
  }
  assert_non_null(closing);
  assert_non_null(strstr(closing, "too long"));

  // Subscribers are told of the newest.
  char prefix[64];
  snprintf(prefix, sizeof prefix, "/hr/%u/branch ", hr_session_number(third));
  told = 0;
  subscribe(client);
  for (unsigned i = 0; i < TRIES && told != HR_OSC_BRANCHES_MAX; ++i) {
    if (i) {
      client_send(client, "/hr/refresh", "");
    }
    told = try_read_state(client, rows, sizeof rows) ? count_prefix(rows, prefix) : 0;
  }
  assert_int_equal(told, HR_OSC_BRANCHES_MAX);
  snprintf(prefix, sizeof prefix, "/hr/%u/branch %d ", hr_session_number(third),
           BRANCHES + TOO_MANY + 1);
  assert_non_null(strstr(rows, prefix));
}

typedef struct {
  atomic_bool stop;
  struct sockaddr_in to;
  size_t sent;
} Flood;

static void* flood(void* data)
{
  Flood* flooding = data;
  static uint8_t bytes[WIRE_SIZE];
  const size_t size = serialise(bytes, "/hr/*/list", "");
  const int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  while (!atomic_load(&flooding->stop)) {
    sendto(descriptor, bytes, size, MSG_DONTWAIT, (struct sockaddr*)&flooding->to,
           sizeof flooding->to);
    flooding->sent += 1;
  }
  close(descriptor);
  return NULL;
}

/** Instances come and go while a sender floods: attach and detach get their
 * turn, and nothing touches a session that is gone. */
static void test_detach_under_flood(void** state)
{
  (void)state;
  Flood flooding = {.to = server_address()};
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, flood, &flooding), 0);
  int64_t longest_ms = 0;
  for (unsigned i = 0; i < 50; ++i) {
    third = make_session("Grand Piano");
    const int64_t begun_ms = now_ms();
    serve(third);
    sleep_ms(5);
    hr_osc_detach(third);
    const int64_t took_ms = now_ms() - begun_ms;
    longest_ms = took_ms > longest_ms ? took_ms : longest_ms;
    hr_session_free(third);
    third = NULL;
  }
  atomic_store(&flooding.stop, true);
  pthread_join(thread, NULL);
  assert_true(flooding.sent > 1000);
  assert_true(longest_ms < 2000);
}

/* ---- The endpoint itself ----------------------------------------------------------- */

static const char* url_file(long pid)
{
  char name[64];
  snprintf(name, sizeof name, "halfremembered/osc-%ld.url", pid);
  return runtime_path(name);
}

static void test_url_file(void** state)
{
  (void)state;
  struct stat info;
  assert_int_equal(stat(runtime_path("halfremembered"), &info), 0);
  assert_int_equal(info.st_mode & 0777, 0700);
  assert_int_equal(stat(url_file(getpid()), &info), 0);
  assert_int_equal(info.st_mode & 0777, 0600);

  char url[128] = "";
  FILE* file = fopen(url_file(getpid()), "r");
  assert_non_null(file);
  assert_non_null(fgets(url, sizeof url, file));
  fclose(file);
  assert_int_equal(strlen(url), strlen(hr_osc_url()) + 1);
  assert_memory_equal(url, hr_osc_url(), strlen(hr_osc_url()));

  // One of a process that is gone, one of one that lives, and one of neither.
  const pid_t child = fork();
  if (child == 0) {
    _exit(0);
  }
  assert_int_equal(waitpid(child, NULL, 0), child);
  const char* const others[] = {url_file(child), url_file(1),
                                runtime_path("halfremembered/osc-x.url")};
  for (size_t i = 0; i < 3; ++i) {
    file = fopen(others[i], "w");
    assert_non_null(file);
    fclose(file);
  }
  for (size_t i = 0; i < 2; ++i) {
    hr_osc_detach(sessions[i]);
  }
  assert_int_equal(access(url_file(getpid()), F_OK), -1);
  for (size_t i = 0; i < 2; ++i) {
    serve(sessions[i]);
  }
  assert_int_equal(access(url_file(getpid()), F_OK), 0);
  assert_int_equal(access(others[0], F_OK), -1);
  assert_int_equal(access(others[1], F_OK), 0);
  assert_int_equal(access(others[2], F_OK), 0);
}

static void stop_all(void)
{
  hr_osc_detach(sessions[0]);
  hr_osc_detach(sessions[1]);
}

/** A folder that is not ours alone is not written to; OSC works all the same. */
static void test_url_folder_of_others(void** state)
{
  Client* client = *state;
  HrError error;
  const char* folder = runtime_path("halfremembered");
  const char* elsewhere = runtime_path("elsewhere");
  stop_all();
  assert_int_equal(rename(folder, elsewhere), 0);
  assert_int_equal(symlink(elsewhere, folder), 0);
  assert_int_equal(hr_osc_attach(sessions[0], &error), HR_OK);
  assert_non_null(strstr(error.text, "0700"));
  assert_non_null(strstr(error.text, hr_osc_url()));
  client_send(client, "/hr/ping", "");
  client_ok(client, "/hr/ping");
  hr_osc_detach(sessions[0]);

  assert_int_equal(unlink(folder), 0);
  assert_int_equal(rename(elsewhere, folder), 0);
  assert_int_equal(chmod(folder, 0755), 0);
  assert_int_equal(hr_osc_attach(sessions[0], &error), HR_OK);
  assert_non_null(strstr(error.text, "0700"));
  assert_int_equal(access(url_file(getpid()), F_OK), -1);
  hr_osc_detach(sessions[0]);
  assert_int_equal(chmod(folder, 0700), 0);
}

static int occupy(int port)
{
  const int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  // Taken already is as good.
  (void)!bind(descriptor, (const struct sockaddr*)&address, sizeof address);
  return descriptor;
}

static void test_ports_taken(void** state)
{
  Client* client = *state;
  HrError error;
  int taken[HR_OSC_PORT_COUNT];
  const int first = (int)strtol(base_port, NULL, 10);
  stop_all();

  for (int i = 0; i < HR_OSC_PORT_COUNT; ++i) {
    taken[i] = occupy(first + i);
  }
  assert_int_equal(hr_osc_attach(sessions[0], &error), HR_ERR_BUSY);
  assert_non_null(strstr(error.text, "HR_OSC_PORT"));
  assert_string_equal(hr_osc_url(), "");
  assert_int_equal(hr_osc_attach(sessions[0], &error), HR_ERR_EXISTS);
  sleep_ms(QUIET_MS); // The thread works without a socket

  close(taken[HR_OSC_PORT_COUNT - 1]);
  serve(sessions[1]); // It tries again, and finds the last port
  assert_int_equal(ntohs(server_address().sin_port), first + HR_OSC_PORT_COUNT - 1);
  client_send(client, "/hr/instances", "");
  assert_true(is_ok(client_answer(client, "/hr/instances", rows, sizeof rows)));
  assert_int_equal(count_lines(rows), 2);
  for (int i = 0; i < HR_OSC_PORT_COUNT - 1; ++i) {
    close(taken[i]);
  }
  stop_all();

  static const char* const wrong[] = {"80", "65536", "9770x", "x", "-1"};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
    setenv("HR_OSC_PORT", wrong[i], 1);
    assert_int_equal(hr_osc_attach(sessions[0], &error), HR_ERR_ARGUMENT);
    assert_non_null(strstr(error.text, wrong[i]));
    hr_osc_detach(sessions[0]);
  }
  setenv("HR_OSC_PORT", base_port, 1);
}

static unsigned count_descriptors(void)
{
  unsigned count = 0;
  DIR* const folder = opendir("/proc/self/fd");
  assert_non_null(folder);
  while (readdir(folder)) {
    ++count;
  }
  closedir(folder);
  return count;
}

static void test_attach_and_detach(void** state)
{
  (void)state;
  HrError error;
  assert_int_equal(hr_osc_attach(sessions[0], &error), HR_ERR_EXISTS);
  assert_int_equal(hr_osc_attach(sessions[0], NULL), HR_ERR_EXISTS);
  stop_all();
  stop_all(); // Fine for sessions that are not served
  assert_string_equal(hr_osc_url(), "");
  const unsigned descriptors = count_descriptors();
  for (unsigned i = 0; i < 100; ++i) {
    assert_int_equal(hr_osc_attach(sessions[i % 2], NULL), HR_OK);
    assert_string_not_equal(hr_osc_url(), "");
    hr_osc_detach(sessions[i % 2]);
  }
  assert_int_equal(count_descriptors(), descriptors);
}

/** Only 127.0.0.1: not even the machine's other loopback addresses. */
static void test_loopback_only(void** state)
{
  Client* client = *state;
  static uint8_t bytes[WIRE_SIZE];
  struct sockaddr_in to = server_address();
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
  const size_t size = serialise(bytes, "/hr/ping", "");
  sendto(client->socket, bytes, size, 0, (const struct sockaddr*)&to, sizeof to);
  assert_null(client_next(client, QUIET_MS));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
#define SERVED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
      SERVED(test_long_answer),   SERVED(test_detach_under_flood),
      SERVED(test_url_file),      SERVED(test_url_folder_of_others),
      SERVED(test_ports_taken),   SERVED(test_attach_and_detach),
      SERVED(test_loopback_only),
  };
  return cmocka_run_group_tests_name("osc endpoint", tests, group_setup, group_teardown);
}
