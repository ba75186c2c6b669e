/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* The OSC endpoint on a machine whose wall clock is set on or back: subscriptions
 * hold, and what waits for its time waits no longer and no shorter for that. The call
 * that tells the time is stood in for here. */

#include "osc/endpoint.h"
#include "osc/schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>

#include <cmocka.h>

#include "tests/osc_rig.h"
#include "tests/test_osc_wire.h"

#define DAY (INT64_C(24) * 3600)

static _Atomic int64_t wall_step; ///< Seconds the wall clock was set on by
static _Atomic long busy_ns;      ///< So long others run before it is read

__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, struct timespec* now)
{
  if (clock == CLOCK_REALTIME && busy_ns) {
    nanosleep(&(struct timespec){.tv_nsec = busy_ns}, NULL);
  }
  const int result = (int)syscall(SYS_clock_gettime, clock, now);
  now->tv_sec += clock == CLOCK_REALTIME ? wall_step : 0;
  return result;
}

static int restore_clock(void** state)
{
  wall_step = 0;
  busy_ns = 0;
  return teardown(state);
}

/** The time tag of so many milliseconds from now, by the clock as it is set. */
static uint64_t in_ms(unsigned ms)
{
  return hr_osc_schedule_now() + ((uint64_t)ms << 32) / 1000;
}

static void send_later(Client* client, uint64_t time, const char* name)
{
  static uint8_t bytes[WIRE_SIZE];
  size_t size = serialise(bytes, path_of("fork"), "s", name);
  /* One in another, as some senders do it. */
  size = wrap(bytes, time, bytes, size);
  size = wrap(bytes, time, bytes, size);
  client_send_bytes(client, bytes, size);
  client_send(client, "/hr/ping", ""); // What was sent is taken in
  client_ok(client, "/hr/ping");
}

/** Three bundles, two of them sent before the clock is set, come in time and order. */
static void assert_bundles_hold(Client* client, int64_t step)
{
  char names[3][32];
  for (size_t i = 0; i < 3; ++i) {
    snprintf(names[i], sizeof names[i], "%zu of step %lld", i, (long long)step);
  }
  const int64_t begun_ms = now_ms();
  const uint64_t first = in_ms(700);
  send_later(client, first, names[0]);
  send_later(client, first, names[1]);
  wall_step += step;
  send_later(client, in_ms(900), names[2]);
  for (size_t i = 0; i < 3; ++i) {
    client_ok(client, path_of("fork"));
    assert_true(now_ms() - begun_ms >= (i < 2 ? 699 : 899));
  }
  client_send(client, path_of("list"), "");
  assert_true(is_ok(client_answer(client, path_of("list"), rows, sizeof rows)));
  const char* row = rows;
  for (size_t i = 0; i < 3; ++i) {
    row = strstr(row, names[i]);
    assert_non_null(row);
  }
}

static void test_bundles_wait_as_long_as_they_were_to(void** state)
{
  Client* client = *state;
  assert_bundles_hold(client, 365 * DAY);
  assert_bundles_hold(client, -2 * 365 * DAY);
  assert_bundles_hold(client, 2);
}

static void test_on_a_busy_machine_they_are_not_early(void** state)
{
  Client* client = *state;
  static uint8_t bytes[WIRE_SIZE];
  const int64_t begun_ms = now_ms();
  size_t size = serialise(bytes, "/hr/ping", "");
  size = wrap(bytes, in_ms(500), bytes, size);
  busy_ns = 100000000;
  client_send_bytes(client, bytes, size);
  client_ok(client, "/hr/ping");
  assert_true(now_ms() - begun_ms >= 499);
}

static void test_subscriptions_hold(void** state)
{
  static const int64_t steps[] = {365 * DAY, -2 * 365 * DAY, 365 * DAY};
  Client* client = *state;
  Client* other = client_new();
  char expected[64];
  snprintf(expected, sizeof expected, "/hr/%u/branch ", hr_session_number(sessions[0]));
  client_send(client, "/hr/subscribe", "ii", 1, 60);
  client_ok(client, "/hr/subscribe");
  read_state(client, rows, sizeof rows);
  for (size_t i = 0; i < 3; ++i) {
    char name[16];
    wall_step += steps[i];
    snprintf(name, sizeof name, "fork %zu", i);
    client_send(other, path_of("fork"), "s", name);
    client_ok(other, path_of("fork"));
    while (!strstr(client_expect(client, expected), name)) {
    }
  }
  client_free(other);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
#define SERVED(test) cmocka_unit_test_setup_teardown(test, setup, restore_clock)
      SERVED(test_bundles_wait_as_long_as_they_were_to),
      SERVED(test_on_a_busy_machine_they_are_not_early),
      SERVED(test_subscriptions_hold),
  };
  return cmocka_run_group_tests_name("osc clock", tests, group_setup, group_teardown);
}
