/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* The parts of the OSC endpoint that need neither a socket nor a session. */

#include "osc/address.h"
#include "osc/leases.h"
#include "osc/outbox.h"
#include "osc/packet.h"
#include "osc/schedule.h"
#include "osc/table.h"
#include "osc/text.h"
#include "osc/writer.h"
#include "tests/scratch.h"
#include "tests/test_osc_wire.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void test_text(void** state)
{
  (void)state;
  assert_true(hr_osc_text_valid(""));
  assert_true(hr_osc_text_valid("Klavier \xC3\xA9 \xE2\x99\xAB \xF0\x9F\x8E\xB9"));
  assert_false(hr_osc_text_valid("a\nb"));
  assert_false(hr_osc_text_valid("\x1F"));
  assert_false(hr_osc_text_valid("\x7F"));
  assert_false(hr_osc_text_valid("\xC2\x85"));         // C1 control
  assert_false(hr_osc_text_valid("\xC0\x80"));         // NUL, too long a form
  assert_false(hr_osc_text_valid("\xE0\x80\xAF"));     // "/", too long a form
  assert_false(hr_osc_text_valid("\xED\xA0\x80"));     // Surrogate
  assert_false(hr_osc_text_valid("\xF4\x90\x80\x80")); // Beyond U+10FFFF
  assert_false(hr_osc_text_valid("\xE2\x99"));         // Cut short
  assert_false(hr_osc_text_valid("\x80"));

  assert_int_equal(hr_osc_text_cut("abc", 5), 3);
  assert_int_equal(hr_osc_text_cut("abc", 3), 3);
  assert_int_equal(hr_osc_text_cut("abc", 2), 2);
  assert_int_equal(hr_osc_text_cut("a\xE2\x99\xAB", 4), 4);
  assert_int_equal(hr_osc_text_cut("a\xE2\x99\xAB", 3), 1);
  assert_int_equal(hr_osc_text_cut("a\xE2\x99", 9), 1);
  assert_int_equal(hr_osc_text_cut("\xE2", 9), 0);
  assert_int_equal(hr_osc_text_cut("", 9), 0);

  assert_int_equal(hr_osc_text_distance("fork", "fork", 3), 0);
  assert_int_equal(hr_osc_text_distance("frok", "fork", 3), 1);
  assert_int_equal(hr_osc_text_distance("forks", "fork", 3), 1);
  assert_int_equal(hr_osc_text_distance("", "fork", 3), 3);
}

static void test_address(void** state)
{
  (void)state;
  HrOscAddress address;
  assert_false(hr_osc_address_split("/", &address));
  assert_false(hr_osc_address_split("/hr", &address));
  assert_false(hr_osc_address_split("/hr/", &address));
  assert_false(hr_osc_address_split("/hr//fork", &address));
  assert_false(hr_osc_address_split("/sl/1/fork", &address));

  assert_true(hr_osc_address_split("/hr/12/fork", &address));
  assert_int_equal(hr_osc_address_number(&address), 12);
  assert_string_equal(address.verb, "fork");
  assert_false(hr_osc_address_is_pattern(&address));

  assert_true(hr_osc_address_split("/hr/4294967297/fork", &address));
  assert_int_equal(hr_osc_address_number(&address), 0);

  static const char* const patterns[] = {"/hr/*/fork",    "/hr/1*/fork",    "/hr/?/fork",
                                         "/hr/[12]/fork", "/hr/{1,2}/fork", "/hr/1/fo*",
                                         "/hr/*/*"};
  for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; ++i) {
    assert_true(hr_osc_address_split(patterns[i], &address));
    assert_true(hr_osc_address_is_pattern(&address));
  }

  assert_true(hr_osc_address_split("/hr/Bass__2_low/fork", &address));
  assert_true(hr_osc_address_is_name(&address, "Bass #2/low"));
  assert_false(hr_osc_address_is_name(&address, "Bass #2/lo"));
  assert_false(hr_osc_address_is_name(&address, ""));
}

static void test_nearest(void** state)
{
  (void)state;
  assert_string_equal(hr_osc_row_nearest("frok"), "fork");
  assert_string_equal(hr_osc_row_nearest("lists"), "list");
  assert_string_equal(hr_osc_row_nearest("fork-at"), "fork/at");
  assert_string_equal(hr_osc_row_nearest("subcribe"), "subscribe");
  assert_null(hr_osc_row_nearest(""));
  assert_null(hr_osc_row_nearest("xyzzy"));
  assert_null(hr_osc_row_nearest("go")); // Not get
  assert_null(hr_osc_row_nearest("a word that is longer than any command could be"));
}

/** A lease is the same after a restart, unless it is over by then. */
static void test_leases(void** state)
{
  (void)state;
  enum { PORT = 9999 };
  const int64_t second = 1000000000;
  static HrOscSubscribers before, after;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  assert_int_equal(scratch_make(), 0);
  to.sin_port = htons(2000);
  hr_osc_subscribe(&before, &to, 30, second);
  to.sin_port = htons(2001);
  hr_osc_subscribe(&before, &to, 60, second)->position_rate = 7.0;
  hr_osc_leases_write(&before, PORT);
  hr_osc_leases_read(&after, PORT, 40 * second);
  assert_int_equal(after.count, 1);
  const HrOscSubscriber* const found = hr_osc_subscriber_find(&after, &to);
  assert_non_null(found);
  assert_true(found->expires_ns == 61 * second);
  assert_true(found->position_rate == 7.0);
  assert_true(hr_osc_subscribers_owed(&after));
  scratch_remove();
}

static void test_schedule(void** state)
{
  (void)state;
  static HrOscSchedule schedule;
  const struct sockaddr_in from = {.sin_family = AF_INET};
  const uint64_t now = hr_osc_schedule_now();
  const uint64_t second = UINT64_C(1) << 32;
  HrError error;

  assert_in_range(now / second - UINT64_C(2208988800), time(NULL) - 1, time(NULL) + 1); // 1900
  assert_int_equal(hr_osc_schedule_wait_ns(&schedule, now), INT64_MAX);
  // Out of order, and with pairs at one time; each names its place in its byte.
  for (unsigned i = 0; i < HR_OSC_SCHEDULE_MAX; ++i) {
    const uint8_t place = (uint8_t)(i * 37 % 128);
    assert_int_equal(
        hr_osc_schedule_add(&schedule, now + (place + 1) * second, now, &from, &place, 1, &error),
        HR_OK);
  }
  const uint8_t byte = 0;
  assert_int_equal(hr_osc_schedule_add(&schedule, now, now, &from, &byte, 1, &error), HR_ERR_LIMIT);
  assert_int_equal(hr_osc_schedule_wait_ns(&schedule, now), 1000000001);
  assert_null(hr_osc_schedule_take(&schedule, now));

  uint64_t order = 0;
  for (unsigned i = 0; i < HR_OSC_SCHEDULE_MAX; ++i) {
    HrOscPending* pending = hr_osc_schedule_take(&schedule, now + 200 * second);
    assert_non_null(pending);
    assert_int_equal(pending->bytes[0], i / 2);
    assert_true(i % 2 == 0 || pending->order > order);
    order = pending->order;
    free(pending);
  }
  assert_null(hr_osc_schedule_take(&schedule, now + 200 * second));
  assert_int_equal(schedule.bytes, 0);
  assert_int_equal(
      hr_osc_schedule_add(&schedule, now + 3601 * second, now, &from, &byte, 1, &error),
      HR_ERR_LIMIT);
  static const uint8_t big[HR_OSC_SCHEDULE_BYTES_MAX + 1];
  assert_int_equal(hr_osc_schedule_add(&schedule, now, now, &from, big, sizeof big, &error),
                   HR_ERR_LIMIT);
  hr_osc_schedule_clear(&schedule);
}

static void test_packet_check(void** state)
{
  (void)state;
#define CHECK(bytes) check_exactly((const uint8_t*)(bytes), sizeof(bytes) - 1)
  assert_int_equal(CHECK("/a\0\0"), HR_OK); // No type tags
  assert_int_equal(CHECK("/a\0\0,\0\0\0"), HR_OK);
  assert_int_equal(CHECK("/a\0\0,i\0\0\0\0\0\1"), HR_OK);
  assert_int_equal(CHECK("/a\0\0,b\0\0\0\0\0\1x\0\0\0"), HR_OK);
  assert_int_equal(CHECK("#bundle\0\0\0\0\0\0\0\0\1"), HR_OK);

  // The two over-reads of liblo 0.31.
  assert_int_equal(CHECK("/a\0\0,b\0\0"), HR_ERR_ARGUMENT);
  assert_int_equal(CHECK("#bundle\0\0\0\0\0\0\0\0\1\0\0\0\0"), HR_ERR_ARGUMENT);

  assert_int_equal(CHECK(""), HR_ERR_ARGUMENT);
  assert_int_equal(CHECK("/a\0"), HR_ERR_ARGUMENT);
  assert_int_equal(CHECK("/abc"), HR_ERR_ARGUMENT);
  assert_int_equal(CHECK("/a\0x"), HR_ERR_ARGUMENT);
  assert_int_equal(CHECK("a\0\0\0"), HR_ERR_ARGUMENT);
  assert_int_equal(CHECK("/\x80\0\0"), HR_ERR_ARGUMENT);
  assert_int_equal(CHECK("/a\0\0i\0\0\0"), HR_ERR_ARGUMENT);
  assert_int_equal(CHECK("/a\0\0,i\0\0"), HR_ERR_ARGUMENT);
  assert_int_equal(CHECK("/a\0\0,z\0\0"), HR_ERR_ARGUMENT);
  assert_int_equal(CHECK("/a\0\0,\0\0\0\0\0\0\0"), HR_ERR_ARGUMENT);
  assert_int_equal(CHECK("/a\0\0,d\0\0\0\0\0\1"), HR_ERR_ARGUMENT);
  assert_int_equal(CHECK("/a\0\0,s\0\0abcd"), HR_ERR_ARGUMENT);
  assert_int_equal(CHECK("/a\0\0,b\0\0\xFF\xFF\xFF\xFF"), HR_ERR_ARGUMENT);
  assert_int_equal(CHECK("/a\0\0,b\0\0\xFF\xFF\xFF\xFD"
                         "abcd"),
                   HR_ERR_ARGUMENT);
  assert_int_equal(CHECK("/a\0\0,b\0\0\0\0\0\5abcd"), HR_ERR_ARGUMENT);
  assert_int_equal(CHECK("#bundle\0\0\0\0\0"), HR_ERR_ARGUMENT);
  assert_int_equal(CHECK("#bundle\0\0\0\0\0\0\0\0\1\0\0\0\4"), HR_ERR_ARGUMENT);
  assert_int_equal(CHECK("#bundle\0\0\0\0\0\0\0\0\1\0\0\0\3/a\0\0"), HR_ERR_ARGUMENT);
  assert_int_equal(CHECK("#bundle\0\0\0\0\0\0\0\0\1\xFF\xFF\xFF\xFC/a\0\0"), HR_ERR_ARGUMENT);
  assert_int_equal(CHECK("#bundlf\0\0\0\0\0\0\0\0\1"), HR_ERR_ARGUMENT);
#undef CHECK
}

static void test_packet_bounds(void** state)
{
  (void)state;
  static uint8_t bytes[WIRE_SIZE];
  static uint8_t message[WIRE_SIZE];

  size_t size = serialise(bytes, "/hr/ping", "");
  for (unsigned depth = 1; depth <= HR_OSC_DEPTH_MAX; ++depth) {
    size = wrap(bytes, 1, bytes, size);
    assert_int_equal(check_exactly(bytes, size), HR_OK);
  }
  size = wrap(bytes, 1, bytes, size);
  assert_int_equal(check_exactly(bytes, size), HR_ERR_LIMIT);

  const size_t message_size = serialise(message, "/hr/ping", "");
  size = wrap(bytes, 1, message, message_size);
  for (unsigned i = 1; i < HR_OSC_MESSAGES_MAX; ++i) {
    size = append(bytes, size, message, message_size);
  }
  assert_int_equal(check_exactly(bytes, size), HR_OK);
  size = append(bytes, size, message, message_size);
  assert_int_equal(check_exactly(bytes, size), HR_ERR_LIMIT);

  char types[HR_OSC_ARGUMENTS_MAX + 2];
  memset(types, 'T', sizeof types);
  types[HR_OSC_ARGUMENTS_MAX] = '\0';
  size = serialise(bytes, "/a", types);
  assert_int_equal(check_exactly(bytes, size), HR_OK);
  types[HR_OSC_ARGUMENTS_MAX] = 'T';
  types[HR_OSC_ARGUMENTS_MAX + 1] = '\0';
  size = serialise(bytes, "/a", types);
  assert_int_equal(check_exactly(bytes, size), HR_ERR_LIMIT);

  char path[HR_OSC_ADDRESS_MAX + 2];
  memset(path, '/', sizeof path);
  path[HR_OSC_ADDRESS_MAX] = '\0';
  size = serialise(bytes, path, "");
  assert_int_equal(check_exactly(bytes, size), HR_OK);
  path[HR_OSC_ADDRESS_MAX] = '/';
  path[HR_OSC_ADDRESS_MAX + 1] = '\0';
  size = serialise(bytes, path, "");
  assert_int_equal(check_exactly(bytes, size), HR_ERR_LIMIT);

  memset(bytes, 0, sizeof bytes);
  bytes[0] = '/';
  assert_int_equal(check_exactly(bytes, HR_OSC_PACKET_MAX + 4), HR_ERR_LIMIT);
}

static void test_arguments(void** state)
{
  (void)state;
  static uint8_t bytes[WIRE_SIZE];
  HrOscArguments arguments;
  HrError error;
  size_t size = serialise(bytes, "/a", "NihfdTFsSc", -5, 1e15, 0.5, 1e300, "\xC3\xA9", "x", "y");
  assert_int_equal(hr_osc_arguments_read(&arguments, bytes, size, &error), HR_OK);
  const HrValue* values = arguments.values;
  assert_int_equal(arguments.count, 9);
  assert_true(values[0].type == HR_VALUE_INTEGER && values[0].integer == -5);
  assert_true(values[1].type == HR_VALUE_TICK && values[1].integer == 1000000000000000);
  assert_true(values[2].type == HR_VALUE_NUMBER && values[2].number == 0.5);
  assert_true(values[3].type == HR_VALUE_NUMBER && values[3].number == 1e300);
  assert_true(values[4].type == HR_VALUE_INTEGER && values[4].integer == 1);
  assert_true(values[5].type == HR_VALUE_INTEGER && values[5].integer == 0);
  assert_string_equal(values[6].text, "\xC3\xA9");
  assert_string_equal(values[7].text, "x");
  assert_string_equal(values[8].text, "y");
  hr_osc_arguments_free(&arguments);

  static const uint8_t array[] = "/a\0\0,[i]\0\0\0\0\0\0\0";
  assert_int_equal(hr_osc_packet_check(array, sizeof array, NULL), HR_OK);
  assert_int_equal(hr_osc_arguments_read(&arguments, array, sizeof array, &error), HR_ERR_ARGUMENT);
  assert_non_null(strstr(error.text, "'['"));
}

typedef struct {
  size_t datagrams;
  size_t largest;
  size_t bundles;
} Written;

static void count_datagram(void* data, const uint8_t* bytes, size_t size)
{
  Written* written = data;
  assert_int_equal(check_exactly(bytes, size), HR_OK);
  written->datagrams += 1;
  written->bundles += hr_osc_is_bundle(bytes, size);
  written->largest = size > written->largest ? size : written->largest;
}

static void test_writer(void** state)
{
  (void)state;
  Written written = {0};
  HrOscWriter writer;
  hr_osc_writer_init(&writer, count_datagram, &written);
  hr_osc_writer_flush(&writer);
  assert_int_equal(written.datagrams, 0);

  const HrValue one = hr_value_integer(1);
  hr_osc_write(&writer, "/a", &one, 1);
  hr_osc_writer_flush(&writer);
  assert_int_equal(written.datagrams, 1);
  assert_int_equal(written.bundles, 0);
  hr_osc_write(&writer, "/a", &one, 1);
  hr_osc_write(&writer, "/a", &one, 1);
  hr_osc_writer_flush(&writer);
  assert_int_equal(written.datagrams, 2);
  assert_int_equal(written.bundles, 1);

  char text[4097];
  for (size_t i = 0; i + 3 < sizeof text; i += 3) {
    memcpy(text + i, "\xE2\x99\xAB", 4); // Cut anywhere else it is no UTF-8
  }
  const HrValue values[] = {hr_value_text(text), hr_value_text(text), hr_value_text(text),
                            hr_value_integer(INT64_MAX), hr_value_number(0.5)};
  for (size_t count = 0; count <= 5; ++count) {
    hr_osc_write(&writer, "/reply", values, count);
  }
  hr_osc_writer_flush(&writer);
  assert_true(written.datagrams > 1);
  assert_true(written.largest <= HR_OSC_DATAGRAM_MAX);

  written = (Written){0};
  for (unsigned i = 0; i < 1000; ++i) {
    hr_osc_write(&writer, "/reply", &values[3], 2);
  }
  hr_osc_writer_flush(&writer);
  assert_int_equal(written.datagrams, 1 + 1000 * (4 + 8 + 4 + 8 + 4) / (HR_OSC_DATAGRAM_MAX - 16));
}

/** Take in what came: datagrams whose first byte counts on from `*next`. */
static size_t receive_all(int receiver, uint8_t* next)
{
  uint8_t bytes[HR_OSC_DATAGRAM_MAX];
  size_t count = 0;
  while (recv(receiver, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
    assert_int_equal(bytes[0], *next);
    *next += 1;
    ++count;
  }
  return count;
}

/** Bursts, order, bounds, and room for the end of an answer; by a clock of the test's. */
static void test_outbox(void** state)
{
  (void)state;
  const int sender = socket(AF_INET, SOCK_DGRAM, 0);
  const int receiver = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t to_size = sizeof to;
  assert_int_equal(bind(receiver, (struct sockaddr*)&to, sizeof to), 0);
  assert_int_equal(getsockname(receiver, (struct sockaddr*)&to, &to_size), 0);

  static HrOscOutbox outbox;
  hr_osc_outbox_init(&outbox, sender);
  uint8_t bytes[4] = {0};
  size_t taken = 0;
  while (hr_osc_outbox_send(&outbox, &to, bytes, sizeof bytes, false, 1)) {
    bytes[0] = (uint8_t)++taken;
  }
  assert_int_equal(taken, HR_OSC_BURST_MAX + HR_OSC_QUEUE_MAX - HR_OSC_KEPT_FREE);
  for (unsigned i = 0; i < HR_OSC_KEPT_FREE; ++i) {
    assert_true(hr_osc_outbox_send(&outbox, &to, bytes, sizeof bytes, true, 1));
    bytes[0] = (uint8_t)++taken;
  }
  assert_false(hr_osc_outbox_send(&outbox, &to, bytes, sizeof bytes, true, 1));
  assert_int_equal(outbox.lost, 2);
  assert_false(hr_osc_outbox_idle(&outbox, &to));

  // Another destination does not wait for the first.
  struct sockaddr_in other = to;
  other.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
  assert_true(hr_osc_outbox_send(&outbox, &other, bytes, sizeof bytes, false, 1));
  assert_true(hr_osc_outbox_idle(&outbox, &other));

  uint8_t next = 0;
  size_t received = 0;
  for (int64_t now_ns = 1; now_ns != INT64_MAX; now_ns = hr_osc_outbox_run(&outbox, now_ns)) {
    const size_t burst = receive_all(receiver, &next);
    assert_true(burst <= HR_OSC_BURST_MAX);
    received += burst;
  }
  assert_int_equal(received + receive_all(receiver, &next), taken);
  assert_int_equal(outbox.queued, 0);
  assert_true(hr_osc_outbox_idle(&outbox, &to));

  // More destinations than there are routes, at one moment: refused, not mixed up.
  size_t sent = 0;
  for (unsigned port = 1; port <= 2 * HR_OSC_ROUTES_MAX; ++port) {
    other.sin_port = htons((uint16_t)port);
    sent += hr_osc_outbox_send(&outbox, &other, bytes, sizeof bytes, false, INT64_MAX / 2);
  }
  assert_int_equal(sent, HR_OSC_ROUTES_MAX);
  hr_osc_outbox_clear(&outbox);
  close(sender);
  close(receiver);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_text),          cmocka_unit_test(test_address),
      cmocka_unit_test(test_nearest),       cmocka_unit_test(test_leases),
      cmocka_unit_test(test_schedule),      cmocka_unit_test(test_packet_check),
      cmocka_unit_test(test_packet_bounds), cmocka_unit_test(test_arguments),
      cmocka_unit_test(test_writer),        cmocka_unit_test(test_outbox),
  };
  return cmocka_run_group_tests_name("osc parts", tests, NULL, NULL);
}
