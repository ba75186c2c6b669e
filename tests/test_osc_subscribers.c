/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file test_osc_subscribers.c
 * Who subscribes is told the whole state, and everything that changes. */

#include "osc/items.h"
#include "osc/osc.h"
#include "osc/subscribers.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/osc_rig.h"
#include "tests/test_osc_wire.h"

static void test_whole_state(void** state)
{
  Client* client = *state;
  client_send(client, "/hr/subscribe", "ii", 1, 30);
  assert_true(is_ok(client_answer(client, "/hr/subscribe", rows, sizeof rows)));
  char expected[256];
  snprintf(expected, sizeof expected, "%d 30\n", client_port(client));
  assert_string_equal(rows, expected);
  read_state(client, rows, sizeof rows);

  size_t count = 0;
  const HrOscItem* items = hr_osc_items(&count);
  for (size_t i = 0; i < 2; ++i) {
    const unsigned number = hr_session_number(sessions[i]);
    for (size_t j = 0; j < count; ++j) {
      snprintf(expected, sizeof expected, "/hr/%u/state/%s ", number, items[j].key);
      const char* line = strstr(rows, expected);
      assert_non_null(line);
      assert_int_equal(count_values(line + strlen(expected)), count_words(items[j].values));
    }
    snprintf(expected, sizeof expected, "/hr/%u/branch 1 \"main\" ", number);
    assert_non_null(strstr(rows, expected));
  }
  snprintf(expected, sizeof expected, "/hr/%u/state/tree \"Grand Piano\"\n",
           hr_session_number(sessions[0]));
  assert_non_null(strstr(rows, expected));
}

/** Wait for feedback on instance `number` that begins with `begin` and ends with `end`. */
static void expect_change(Client* client, unsigned number, const char* begin, const char* end)
{
  char prefix[256];
  snprintf(prefix, sizeof prefix, "/hr/%u/%s", number, begin);
  const char* line = client_expect(client, prefix);
  if (strcmp(line + strlen(line) - strlen(end), end) != 0) {
    fail_msg("%s does not end with \"%s\"", line, end);
  }
}

static void test_changes(void** state)
{
  Client* client = *state;
  Client* other = client_new();
  const unsigned number = hr_session_number(sessions[0]);
  char expected[256];
  subscribe(client);
  read_state(client, rows, sizeof rows);
  subscribe(other);
  read_state(other, rows, sizeof rows);

  // Both controllers of one IP hear of it, the one that asked included: of the new
  // branch, and of the one that is no longer the current one.
  client_send(client, path_of("fork"), "s", "heard by both");
  client_ok(client, path_of("fork"));
  snprintf(expected, sizeof expected, "/hr/%u/branch ", number);
  for (unsigned i = 0; i < 2; ++i) {
    Client* told = i ? other : client;
    expect_change(told, number, "branch ", " 0");
    assert_non_null(strstr(client_expect(told, expected), "\"heard by both\""));
  }

  client_send(client, path_of("rename"), "ss", "heard by both", "heard again");
  client_ok(client, path_of("rename"));
  assert_non_null(strstr(client_expect(other, expected), "\"heard again\""));

  client_send(client, path_of("switch"), "s", "main");
  client_ok(client, path_of("switch"));
  expect_change(other, number, "state/current 1 \"main\"", "");
  expect_change(other, number, "branch 1 \"main\" ", " 1");
  expect_change(other, number, "branch ", " 0");
  client_send(client, path_of("quantum"), "s", "beat");
  client_ok(client, path_of("quantum"));
  expect_change(other, number, "state/quantum 1 \"beat\"", "");
  client_send(client, path_of("quantum"), "s", "bar");
  client_ok(client, path_of("quantum"));
  expect_change(other, number, "state/quantum 2 \"bar\"", "");

  client_send(client, "/hr/unsubscribe", "");
  client_ok(client, "/hr/unsubscribe");
  client_drain(client);
  client_send(other, path_of("fork"), "s", "heard by one");
  client_expect(other, expected);
  assert_null(client_next(client, QUIET_MS));
  client_send(client, "/hr/unsubscribe", "");
  client_error(client, "/hr/unsubscribe", HR_ERR_NOT_FOUND, "/hr/subscribe");
  client_free(other);
}

/** A store that cannot be opened is told to those who ask and to those who listen. */
static void test_trouble_is_told(void** state)
{
  Client* client = *state;
  char path[128];
  HrError error = {0};
  assert_int_equal(mkdir(scratch_path("no-store"), 0700), 0);
  third = hr_session_new(NULL, &error);
  assert_non_null(third);
  assert_int_equal(
      hr_session_attach(third, &(HrAttachment){.store = scratch_path("no-store")}, &error),
      HR_ERR_NOT_A_STORE);
  serve(third);
  client_send(client, "/hr/ping", "");
  assert_true(is_ok(client_answer(client, "/hr/ping", rows, sizeof rows)));
  assert_non_null(strstr(rows, "no-store"));
  client_send(client, "/hr/subscribe", "i", 1);
  assert_true(is_ok(client_answer(client, "/hr/subscribe", rows, sizeof rows)));
  snprintf(path, sizeof path, "/hr/%u/state/trouble ", hr_session_number(third));
  const char* told = client_find(client, path, ANSWER_MS);
  assert_non_null(told);
  assert_non_null(strstr(told, "no-store"));
  client_drain(client);

  snprintf(path, sizeof path, "/hr/%u/get", hr_session_number(third));
  client_send(client, path, "s", "trouble");
  assert_true(is_ok(client_answer(client, path, rows, sizeof rows)));
  assert_non_null(strstr(rows, "no-store"));
  snprintf(path, sizeof path, "/hr/%u/fork", hr_session_number(third));
  client_send(client, path, "");
  client_error(client, path, HR_ERR_BUSY, "no-store");
  rmdir(scratch_path("no-store"));
}

static void test_refresh(void** state)
{
  Client* client = *state;
  client_send(client, "/hr/refresh", "");
  client_error(client, "/hr/refresh", HR_ERR_NOT_FOUND, "/hr/subscribe");
  subscribe(client);
  read_state(client, rows, sizeof rows);
  char* first = strdup(rows);
  client_send(client, "/hr/refresh", "f", 1.0);
  client_ok(client, "/hr/refresh");
  read_state(client, rows, sizeof rows);
  assert_string_equal(rows, first);
  client_send(client, "/hr/refresh", "f", 0.0);
  client_ok(client, "/hr/refresh");
  assert_null(client_find(client, "/hr/state/begin", QUIET_MS));
  free(first);
}

static void test_lease(void** state)
{
  Client* client = *state;
  Client* other = client_new();
  client_send(client, "/hr/subscribe", "ii", 1, 1);
  client_ok(client, "/hr/subscribe");
  read_state(client, rows, sizeof rows);
  client_send(other, "/hr/subscribe", "ii", 1, 1);
  client_ok(other, "/hr/subscribe");
  sleep_ms(600);
  client_send(other, "/hr/subscribe", "ii", 1, 5); // Renewed in time
  client_ok(other, "/hr/subscribe");
  sleep_ms(700);
  client_drain(client);
  client_drain(other);

  client_send(other, path_of("fork"), "s", "after the lease");
  assert_null(client_next(client, QUIET_MS));
  char expected[64];
  snprintf(expected, sizeof expected, "/hr/%u/branch ", hr_session_number(sessions[0]));
  client_expect(other, expected);
  client_free(other);
}

static void test_subscribe_for_another_port(void** state)
{
  Client* client = *state;
  Client* display = client_new();
  client_send(client, "/hr/subscribe", "f", (double)client_port(display));
  client_ok(client, "/hr/subscribe");
  read_state(display, rows, sizeof rows);
  assert_null(client_next(client, QUIET_MS));
  client_send(client, "/hr/unsubscribe", "i", client_port(display));
  client_ok(client, "/hr/unsubscribe");
  client_free(display);

  static const struct {
    const char* types;
    double port;
  } bad[] = {{"i", 80}, {"i", -1}, {"i", 65536}, {"f", 1e30}, {"i", 2}};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
    client_send_values(client, "/hr/subscribe", bad[i].types, bad[i].port, "");
    client_error(client, "/hr/subscribe", HR_ERR_ARGUMENT, "port");
  }
  client_send(client, "/hr/subscribe", "s", "10.0.0.5");
  client_error(client, "/hr/subscribe", HR_ERR_ARGUMENT, "port");
  client_send(client, "/hr/subscribe", "ii", 1, 0);
  client_error(client, "/hr/subscribe", HR_ERR_ARGUMENT, "lease");
  client_send(client, "/hr/subscribe", "i", ntohs(server_address().sin_port));
  client_error(client, "/hr/subscribe", HR_ERR_ARGUMENT, "itself");
}

static void test_too_many_subscribers(void** state)
{
  Client* client = *state;
  const int first = 61001; // No port that the system gives to a client by itself
  for (int i = 0; i < HR_OSC_SUBSCRIBERS_MAX; ++i) {
    client_send(client, "/hr/subscribe", "i", first + i);
    client_ok(client, "/hr/subscribe");
  }
  client_send(client, "/hr/subscribe", "");
  client_error(client, "/hr/subscribe", HR_ERR_LIMIT, "64 places");
  client_send(client, "/hr/subscribe", "i", first); // Renewed, not new
  client_ok(client, "/hr/subscribe");
  client_send(client, "/hr/unsubscribe", "i", first);
  client_ok(client, "/hr/unsubscribe");
  subscribe(client);
}

/** Instances that come and go bring the whole state again. */
static void test_instances_come_and_go(void** state)
{
  Client* client = *state;
  char last[64];
  snprintf(last, sizeof last, "/hr/%u/state/", hr_session_number(sessions[1]));
  subscribe(client);
  read_state(client, rows, sizeof rows);
  assert_non_null(strstr(rows, last));

  hr_osc_detach(sessions[1]);
  read_state(client, rows, sizeof rows);
  assert_null(strstr(rows, last));
  serve(sessions[1]);
  read_state(client, rows, sizeof rows);
  assert_non_null(strstr(rows, last));

  hr_osc_detach(sessions[1]);
  read_state(client, rows, sizeof rows);
  hr_osc_detach(sessions[0]);
  read_state(client, rows, sizeof rows);
  assert_string_equal(rows, "");
  assert_string_equal(hr_osc_url(), "");

  serve(sessions[0]);
  serve(sessions[1]);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
#define SERVED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
      SERVED(test_whole_state),
      SERVED(test_changes),
      SERVED(test_trouble_is_told),
      SERVED(test_refresh),
      SERVED(test_lease),
      SERVED(test_subscribe_for_another_port),
      SERVED(test_too_many_subscribers),
      SERVED(test_instances_come_and_go),
  };
  return cmocka_run_group_tests_name("osc subscribers", tests, group_setup, group_teardown);
}
