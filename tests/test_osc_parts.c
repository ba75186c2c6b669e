/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* The parts of the OSC endpoint that need neither a socket nor a session. */

#include "osc/address.h"
#include "osc/feedback.h"
#include "osc/leases.h"
#include "osc/outbox.h"
#include "osc/packet.h"
#include "osc/schedule.h"
#include "osc/slots.h"
#include "osc/table.h"
#include "osc/text.h"
#include "osc/url_file.h"
#include "osc/writer.h"
#include "tests/scratch.h"
#include "tests/test_osc_wire.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
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

/** A lease is the same after a restart, unless it is over by then or says what none can. */
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
  to.sin_port = htons(2002);
  hr_osc_subscribe(&before, &to, 60, second)->position_rate = HR_OSC_POSITION_RATE_MAX + 1.0;
  to.sin_port = htons(2003);
  hr_osc_subscribe(&before, &to, 60, second)->expires_ns = HR_OSC_FOR_EVER;
  hr_osc_leases_write(&before, PORT);
  hr_osc_leases_read(&after, PORT, 31 * second);
  assert_int_equal(after.count, 1);
  to.sin_port = htons(2001);
  const HrOscSubscriber* const found = hr_osc_subscriber_find(&after, &to);
  assert_non_null(found);
  assert_true(found->expires_ns == 61 * second);
  assert_true(found->position_rate == 7.0);
  assert_true(hr_osc_subscribers_owed(&after));
  hr_osc_subscribers_expire(&after, 61 * second);
  assert_int_equal(after.count, 0);
  scratch_remove();
}

/** Write `text` to a file in the folder of URL files. */
static void put_url_file(const char* format, long pid, const char* text)
{
  char name[64];
  snprintf(name, sizeof name, format, pid);
  FILE* const file = fopen(runtime_path(name), "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

/** What killed processes left is in nobody's way, and nothing that lies there holds up a reader. */
static void test_url_files(void** state)
{
  (void)state;
  char urls[4][HR_OSC_URL_SIZE];
  char name[64];
  assert_int_equal(scratch_make(), 0);
  assert_int_equal(hr_osc_url_files_read(urls, 4), 0);
  const pid_t gone = fork();
  if (gone == 0) {
    _exit(0);
  }
  assert_int_equal(waitpid(gone, NULL, 0), gone);
  put_url_file("halfremembered/osc-%ld.url.new", gone, "half");
  put_url_file("halfremembered/osc-%ld.url.new", getpid(), "half of one with our number");
  assert_int_equal(hr_osc_url_file_write("osc.udp://127.0.0.1:1/", NULL), HR_OK);
  snprintf(name, sizeof name, "halfremembered/osc-%ld.url.new", (long)gone);
  assert_int_equal(access(runtime_path(name), F_OK), -1);

  put_url_file("halfremembered/osc-%ld.url", gone, "osc.udp://127.0.0.1:2/\n");
  assert_int_equal(mkfifo(runtime_path("halfremembered/osc-1.url"), 0600), 0);
  assert_int_equal(hr_osc_url_files_read(urls, 4), 1);
  assert_string_equal(urls[0], "osc.udp://127.0.0.1:1/");
  hr_osc_url_file_remove();
  assert_int_equal(hr_osc_url_files_read(urls, 4), 0);
  scratch_remove();
}

/** Where the URL files are is not where a relative path leads, nor in a folder of somebody else's
 * making, which only root could write to. */
static void test_url_folder(void** state)
{
  (void)state;
  char path[PATH_MAX];
  assert_int_equal(scratch_make(), 0);
  const int folder = hr_osc_folder_open(path, sizeof path);
  assert_true(folder >= 0);
  close(folder);
  if (geteuid() == 0) {
    assert_int_equal(chown(path, 65534, (gid_t)-1), 0);
    assert_int_equal(hr_osc_folder_open(path, sizeof path), -1);
    assert_int_equal(errno, EPERM);
  }
  setenv("XDG_RUNTIME_DIR", "here", 1);
  assert_int_equal(hr_osc_folder_open(path, sizeof "/tmp"), -1); // Too long, so none is made
  assert_int_equal(errno, ENAMETOOLONG);
  assert_string_equal(path, "/tmp");
  setenv("XDG_RUNTIME_DIR", runtime, 1);
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
      hr_osc_schedule_add(&schedule, now + 3600 * second, now, &from, &byte, 1, &error),
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

static void keep_types(void* data, const uint8_t* bytes, size_t size)
{
  const uint8_t* const types = memchr(bytes, ',', size);
  assert_non_null(types);
  snprintf(data, HR_OSC_VALUES_MAX + 2, "%s", (const char*)types + 1);
}

/** Each value goes out as the narrowest type that holds it, and no more than there may be. */
static void test_written_types(void** state)
{
  (void)state;
  char types[HR_OSC_VALUES_MAX + 2];
  HrOscWriter writer;
  const HrValue values[] = {hr_value_integer(INT32_MAX),
                            hr_value_integer(INT64_C(1) << 31),
                            hr_value_integer(INT32_MIN),
                            hr_value_integer(INT32_MIN - INT64_C(1)),
                            hr_value_tick(0),
                            hr_value_number(16777215.0),
                            hr_value_number(16777216.0),
                            hr_value_number(-16777216.0),
                            hr_value_text("")};
  hr_osc_writer_init(&writer, keep_types, types);
  hr_osc_write(&writer, "/a", values, sizeof values / sizeof *values);
  hr_osc_writer_flush(&writer);
  assert_string_equal(types, "ihihhfdds");

  HrValue many[HR_OSC_VALUES_MAX + 1];
  for (size_t i = 0; i < HR_OSC_VALUES_MAX + 1; ++i) {
    many[i] = hr_value_integer(0);
  }
  hr_osc_write(&writer, "/a", many, HR_OSC_VALUES_MAX + 1);
  hr_osc_writer_flush(&writer);
  assert_int_equal(strlen(types), HR_OSC_VALUES_MAX);
}

/** Of the pads that are held, the oldest is forgotten if there are too many. */
static void test_presses(void** state)
{
  (void)state;
  static HrOscPresses presses;
  HrOscPress press = {.from = {.sin_family = AF_INET}, .instance = 1};
  for (press.slot = 1; press.slot <= HR_OSC_PRESSES + 1; ++press.slot) {
    press.pressed_ns = press.slot;
    hr_osc_press(&presses, &press);
  }
  press.pressed_ns = 1000;
  press.slot = 1;
  assert_int_equal(hr_osc_release(&presses, &press), 0);
  press.slot = 2;
  press.instance = 2;
  assert_int_equal(hr_osc_release(&presses, &press), 0); // That of another instance
  press.instance = 1;
  assert_int_equal(hr_osc_release(&presses, &press), 998);
  assert_int_equal(hr_osc_release(&presses, &press), 0); // It is up already
  press.slot = HR_OSC_PRESSES + 1;
  assert_int_equal(hr_osc_release(&presses, &press), 1000 - press.slot);
}

/** A socket at some port of this machine's own, which becomes `to`. */
static int bind_any(int type, struct sockaddr_in* to)
{
  const int descriptor = socket(AF_INET, type, 0);
  socklen_t size = sizeof *to;
  *to = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  assert_int_equal(bind(descriptor, (struct sockaddr*)to, sizeof *to), 0);
  assert_int_equal(getsockname(descriptor, (struct sockaddr*)to, &size), 0);
  return descriptor;
}

/** An outbox that sends from the socket returned, and who is sent to. */
static int open_outbox(HrOscOutbox* outbox, int* receiver, struct sockaddr_in* to)
{
  const int sender = socket(AF_INET, SOCK_DGRAM, 0);
  *receiver = bind_any(SOCK_DGRAM, to);
  hr_osc_outbox_init(outbox, sender);
  return sender;
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
  static HrOscOutbox outbox;
  struct sockaddr_in to;
  int receiver;
  const int sender = open_outbox(&outbox, &receiver, &to);
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
  assert_int_equal(outbox.lost, 2 + HR_OSC_ROUTES_MAX);
  hr_osc_outbox_clear(&outbox);
  close(sender);
  close(receiver);
}

/** What is sent goes behind what waits, also when its burst's time is over; nothing takes its
 * route. */
static void test_outbox_order(void** state)
{
  (void)state;
  static HrOscOutbox outbox;
  struct sockaddr_in to;
  int receiver;
  const int sender = open_outbox(&outbox, &receiver, &to);
  uint8_t bytes[4] = {0};
  for (; bytes[0] <= HR_OSC_BURST_MAX; ++bytes[0]) {
    assert_true(hr_osc_outbox_send(&outbox, &to, bytes, sizeof bytes, false, 1));
  }
  const int64_t later = 1 + HR_OSC_BURST_NS;
  struct sockaddr_in other = to;
  other.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
  assert_true(hr_osc_outbox_send(&outbox, &other, bytes, sizeof bytes, false, later));
  assert_true(hr_osc_outbox_send(&outbox, &to, bytes, sizeof bytes, false, later));
  hr_osc_outbox_run(&outbox, later);
  uint8_t next = 0;
  assert_int_equal(receive_all(receiver, &next), HR_OSC_BURST_MAX + 2);
  close(sender);
  close(receiver);
}

/** However many they are for, no more bytes wait than there is room for. */
static void test_outbox_bytes(void** state)
{
  (void)state;
  const int sender = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  static HrOscOutbox outbox;
  static const uint8_t bytes[HR_OSC_DATAGRAM_MAX];
  hr_osc_outbox_init(&outbox, sender);
  for (unsigned port = 1; port <= HR_OSC_ROUTES_MAX; ++port) {
    to.sin_port = htons((uint16_t)port);
    while (hr_osc_outbox_send(&outbox, &to, bytes, sizeof bytes, true, 1)) {
    }
  }
  assert_in_range(outbox.queued, HR_OSC_QUEUED_MAX - sizeof bytes + 1, HR_OSC_QUEUED_MAX);
  hr_osc_outbox_clear(&outbox);
  assert_int_equal(outbox.queued, 0);
  close(sender);
}

/** What our own socket has no room for is not lost. A TCP socket, as only such a one can be
 * filled at will; it takes no notice of the destination. */
static void test_outbox_waits_for_the_socket(void** state)
{
  (void)state;
  struct sockaddr_in to;
  const int listener = bind_any(SOCK_STREAM, &to);
  const int sender = socket(AF_INET, SOCK_STREAM, 0);
  assert_int_equal(listen(listener, 1), 0);
  assert_int_equal(connect(sender, (struct sockaddr*)&to, sizeof to), 0);
  const int receiver = accept(listener, NULL, NULL);
  assert_true(receiver >= 0);

  static HrOscOutbox outbox;
  uint8_t bytes[4096] = {0};
  hr_osc_outbox_init(&outbox, sender);
  while (send(sender, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
  }
  assert_true(hr_osc_outbox_send(&outbox, &to, bytes, 4, false, 1));
  assert_false(hr_osc_outbox_idle(&outbox, &to));
  close(receiver);
  hr_osc_outbox_run(&outbox, 2); // Its peer has gone: no room is waited for
  assert_true(hr_osc_outbox_idle(&outbox, &to));
  hr_osc_outbox_clear(&outbox);
  close(sender);
  close(listener);
}

/** Count the datagrams that came, and those of them with the end of a whole state. */
static size_t receive_states(int receiver, size_t* ends)
{
  uint8_t bytes[HR_OSC_DATAGRAM_MAX];
  size_t count = 0;
  for (ssize_t size; (size = recv(receiver, bytes, sizeof bytes, MSG_DONTWAIT)) > 0; ++count) {
    *ends += memmem(bytes, (size_t)size, "/hr/state/end", 13) != NULL;
  }
  return count;
}

/** Who could not be told something is told the whole state, once. */
static void test_what_was_lost_is_owed(void** state)
{
  (void)state;
  static HrOscEndpoint endpoint;
  struct sockaddr_in to;
  size_t ends = 0;
  const int sender = socket(AF_INET, SOCK_DGRAM, 0);
  const int receiver = bind_any(SOCK_DGRAM, &to);
  int64_t now_ns = HR_OSC_HEARTBEAT_NS;
  hr_osc_outbox_init(&endpoint.outbox, -1); // All that is sent is lost: a heartbeat
  hr_osc_subscribe(&endpoint.subscribers, &to, 60, now_ns);
  hr_osc_feedback_run(&endpoint, now_ns);
  hr_osc_outbox_init(&endpoint.outbox, sender);
  for (unsigned i = 0; i < 3; ++i) {
    now_ns += HR_OSC_PACED_NS;
    hr_osc_feedback_run(&endpoint, now_ns);
  }
  assert_int_equal(receive_states(receiver, &ends), 1);
  assert_int_equal(ends, 1);
  close(sender);
  close(receiver);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_text),
      cmocka_unit_test(test_address),
      cmocka_unit_test(test_nearest),
      cmocka_unit_test(test_leases),
      cmocka_unit_test(test_schedule),
      cmocka_unit_test(test_packet_check),
      cmocka_unit_test(test_packet_bounds),
      cmocka_unit_test(test_arguments),
      cmocka_unit_test(test_writer),
      cmocka_unit_test(test_outbox),
      cmocka_unit_test(test_outbox_order),
      cmocka_unit_test(test_outbox_bytes),
      cmocka_unit_test(test_outbox_waits_for_the_socket),
      cmocka_unit_test(test_written_types),
      cmocka_unit_test(test_presses),
      cmocka_unit_test(test_url_files),
      cmocka_unit_test(test_url_folder),
      cmocka_unit_test(test_what_was_lost_is_owed),
  };
  return cmocka_run_group_tests_name("osc parts", tests, NULL, NULL);
}
