/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file test_osc_packets.c
 * What is no OSC must do nothing. */

#include "osc/packet.h"
#include "osc/rate_limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/osc_rig.h"
#include "tests/test_osc_wire.h"

/** Send what the packet check refuses; count what it does not. */
static size_t send_if_malformed(Client* client, const uint8_t* bytes, size_t size)
{
  if (!hr_osc_packet_check(bytes, size, NULL)) {
    return 0;
  }
  client_send_bytes(client, bytes, size);
  return 1;
}

static void test_truncated_packets(void** state)
{
  Client* client = *state;
  static uint8_t packets[4][WIRE_SIZE];
  size_t sizes[4];
  sizes[0] = serialise(packets[0], path_of("fork"), "s", "truncated");
  sizes[1] = serialise(packets[1], path_of("fork"), "sidhTFNIm", "truncated", 1, 1.0, 1.0);
  sizes[2] = wrap(packets[2], 1, packets[0], sizes[0]);
  sizes[2] = append(packets[2], sizes[2], packets[1], sizes[1]);
  sizes[3] = wrap(packets[3], 1, packets[2], sizes[2]);

  char* before = strdup(music_state());
  for (size_t i = 0; i < 4; ++i) {
    assert_int_equal(hr_osc_packet_check(packets[i], sizes[i], NULL), HR_OK);
    for (size_t size = 0; size < sizes[i]; ++size) {
      check_exactly(packets[i], size);
      // What is left of a bundle, or of a message, can be a whole one.
      if (send_if_malformed(client, packets[i], size)) {
        client_error(client, "/", HR_ERR_ARGUMENT, "Not an OSC");
      }
    }
  }
  assert_string_equal(before, music_state());
  free(before);
}

static void test_liblo_over_reads(void** state)
{
  Client* client = *state;
  static const uint8_t blob[] = "/a\0\0,b\0";
  static const uint8_t bundle[] = "#bundle\0\0\0\0\0\0\0\0\1\0\0\0";
  client_send_bytes(client, blob, sizeof blob);
  client_error(client, "/", HR_ERR_ARGUMENT, "argument 1");
  client_send_bytes(client, bundle, sizeof bundle);
  client_error(client, "/", HR_ERR_ARGUMENT, "size of an element");
}

/** A packet of noise, or a whole one with a few bytes wrong, which gets further. */
static size_t make_random(uint8_t* bytes, unsigned turn)
{
  size_t size = (size_t)rand() % 64 * 4;
  if (turn % 2 == 0) {
    for (size_t i = 0; i < size; ++i) {
      bytes[i] = (uint8_t)rand();
    }
    return size;
  }
  size = serialise(bytes, path_of("fork"), "sih", "random", 3, 5.0);
  size = turn % 4 == 1 ? size : wrap(bytes, 1, bytes, size);
  for (int wrong = rand() % 4; wrong >= 0; --wrong) {
    bytes[(size_t)rand() % size] = (uint8_t)rand();
  }
  return size;
}

/** What was sent before has been taken in: it is not to be more than a socket holds. */
static void wait_for_server(Client* client)
{
  client_send(client, "/hr/ping", "");
  client_ok(client, "/hr/ping");
}

static void test_random_packets(void** state)
{
  enum {
    AT_ONCE = 32,
    OF_ONE_SENDER = HR_OSC_RATE_BURST_MAX / 2 // Beyond its rate they would be dropped unread
  };
  Client* const other = *state;
  Client* client = client_new();
  static uint8_t bytes[WIRE_SIZE];
  char* before = strdup(music_state());
  size_t refused = 0;
  unsigned flooded = 1;
  srand(20260101);
  for (unsigned i = 0; i < 20000; ++i) {
    const size_t size = make_random(bytes, i);
    check_exactly(bytes, size);
    refused += send_if_malformed(client, bytes, size);
    if (i % AT_ONCE == 0) {
      wait_for_server(other);
    }
    if (i % OF_ONE_SENDER == 0) {
      client_free(client);
      client = client_new();
    }
  }
  client_free(client);
  assert_true(refused > 10000);
  client_send(other, "/hr/counters", "");
  assert_true(is_ok(client_answer(other, "/hr/counters", rows, sizeof rows)));
  assert_int_equal(sscanf(rows, "%*d %u", &flooded), 1);
  assert_int_equal(flooded, 0);
  assert_string_equal(before, music_state());
  free(before);
}

static void test_oversized_packet(void** state)
{
  Client* client = *state;
  static uint8_t bytes[60000];
  bytes[0] = '/';
  client_send_bytes(client, bytes, sizeof bytes);
  client_error(client, "/", HR_ERR_LIMIT, "8192");
  client_send_bytes(client, bytes, HR_OSC_PACKET_MAX + 1);
  client_error(client, "/", HR_ERR_LIMIT, "8192");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
#define SERVED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
      SERVED(test_truncated_packets),
      SERVED(test_liblo_over_reads),
      SERVED(test_random_packets),
      SERVED(test_oversized_packet),
  };
  return cmocka_run_group_tests_name("osc packets", tests, group_setup, group_teardown);
}
