/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "tests/osc_client.h"

#include "osc/osc.h"
#include "osc/packet.h"
#include "osc/writer.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/test_osc_wire.h"

int64_t now_ms(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void sleep_ms(long ms)
{
  const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&time, NULL);
}

struct sockaddr_in server_address(void)
{
  uint16_t port = 0;
  assert_int_equal(sscanf(hr_osc_url(), "osc.udp://127.0.0.1:%" SCNu16 "/", &port), 1);
  return (struct sockaddr_in){
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

Client* client_new(void)
{
  Client* client = calloc(1, sizeof *client);
  assert_non_null(client);
  client->socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  assert_int_equal(bind(client->socket, (const struct sockaddr*)&own, sizeof own), 0);
  return client;
}

void client_free(Client* client)
{
  while (client->first < client->end) {
    free(client->lines[client->first++ % LINES_MAX]);
  }
  close(client->socket);
  free(client);
}

int client_port(const Client* client)
{
  struct sockaddr_in own = {0};
  socklen_t size = sizeof own;
  assert_int_equal(getsockname(client->socket, (struct sockaddr*)&own, &size), 0);
  return ntohs(own.sin_port);
}

void client_send_bytes(const Client* client, const void* bytes, size_t size)
{
  const struct sockaddr_in to = server_address();
  assert_int_equal(sendto(client->socket, bytes, size, 0, (const struct sockaddr*)&to, sizeof to),
                   size);
}

void client_send(const Client* client, const char* path, const char* types, ...)
{
  static uint8_t bytes[WIRE_SIZE];
  va_list args;
  va_start(args, types);
  lo_message message = make_message(types, args);
  va_end(args);
  size_t size = sizeof bytes;
  lo_message_serialise(message, path, bytes, &size);
  lo_message_free(message);
  client_send_bytes(client, bytes, size);
}

void client_send_values(const Client* client, const char* path, const char* types, double number,
                        const char* text)
{
  static uint8_t bytes[WIRE_SIZE];
  lo_message message = lo_message_new();
  for (const char* type = types; *type; ++type) {
    add_argument(message, *type, number, text);
  }
  size_t size = sizeof bytes;
  lo_message_serialise(message, path, bytes, &size);
  lo_message_free(message);
  client_send_bytes(client, bytes, size);
}

/** Print one value. It may not be read through lo_arg, which is aligned to 8
 * bytes where OSC knows only 4. */
static size_t print_value(char* text, size_t size, char type, const void* value)
{
  int32_t integer = 0;
  int64_t tick = 0;
  float number = 0.0F;
  double wide = 0.0;
  switch (type) {
  case 'i':
    memcpy(&integer, value, sizeof integer);
    return (size_t)snprintf(text, size, " %d", integer);
  case 'h':
    memcpy(&tick, value, sizeof tick);
    return (size_t)snprintf(text, size, " %lldh", (long long)tick);
  case 'f':
    memcpy(&number, value, sizeof number);
    return (size_t)snprintf(text, size, " %g", (double)number);
  case 'd':
    memcpy(&wide, value, sizeof wide);
    return (size_t)snprintf(text, size, " %.17g", wide);
  case 's':
    return (size_t)snprintf(text, size, " \"%s\"", (const char*)value);
  default:
    fail_msg("the server sent type %c", type);
    return 0;
  }
}

static void take_message(Client* client, const uint8_t* bytes, size_t size)
{
  lo_message message = lo_message_deserialise((void*)bytes, size, NULL);
  assert_non_null(message);
  char line[LINE_SIZE];
  size_t length = (size_t)snprintf(line, sizeof line, "%s", (const char*)bytes);
  const char* types = lo_message_get_types(message);
  for (size_t i = 0; types[i] && length < sizeof line; ++i) {
    length +=
        print_value(line + length, sizeof line - length, types[i], lo_message_get_argv(message)[i]);
  }
  lo_message_free(message);
  assert_true(length < sizeof line);
  assert_true(client->end - client->first < LINES_MAX);
  client->lines[client->end++ % LINES_MAX] = strdup(line);
}

bool client_receive(Client* client, int64_t timeout_ms)
{
  struct pollfd descriptor = {.fd = client->socket, .events = POLLIN};
  if (poll(&descriptor, 1, timeout_ms < 0 ? 0 : (int)timeout_ms) != 1) {
    return false;
  }
  static uint8_t bytes[WIRE_SIZE];
  memset(bytes, 0, HR_OSC_DATAGRAM_MAX + 64);
  struct sockaddr_in from;
  socklen_t from_size = sizeof from;
  const ssize_t size =
      recvfrom(client->socket, bytes, sizeof bytes, 0, (struct sockaddr*)&from, &from_size);
  assert_true(size > 0);
  assert_true(size <= HR_OSC_DATAGRAM_MAX);
  client->drawn = client->drawn * 1103515245u + 12345u;
  if (client->drop && client->drawn / 65536u % 100u < client->drop) {
    client->lost += 1;
    return true;
  }
  client->datagrams += 1;
  if ((size_t)size > client->largest) {
    client->largest = (size_t)size;
  }
  if (!hr_osc_is_bundle(bytes, (size_t)size)) {
    take_message(client, bytes, (size_t)size);
    return true;
  }
  size_t offset = 0;
  const uint8_t* element = NULL;
  size_t element_size = 0;
  while (hr_osc_bundle_next(bytes, (size_t)size, &offset, &element, &element_size)) {
    take_message(client, element, element_size);
  }
  return true;
}

const char* client_next(Client* client, int64_t timeout_ms)
{
  while (client->first == client->end) {
    if (!client_receive(client, timeout_ms)) {
      return NULL;
    }
  }
  char* line = client->lines[client->first++ % LINES_MAX];
  snprintf(client->line, sizeof client->line, "%s", line);
  free(line);
  return client->line;
}

const char* client_find(Client* client, const char* prefix, int64_t timeout_ms)
{
  const int64_t until_ms = now_ms() + timeout_ms;
  for (;;) {
    const char* line = client_next(client, until_ms - now_ms());
    if (!line || !strncmp(line, prefix, strlen(prefix))) {
      return line;
    }
  }
}

const char* client_expect(Client* client, const char* prefix)
{
  const char* line = client_find(client, prefix, ANSWER_MS);
  if (!line) {
    fail_msg("no message began with %s", prefix);
  }
  return line;
}

void client_drain(Client* client)
{
  while (client_next(client, 0)) {
  }
}

const char* client_try_answer(Client* client, const char* path, char* rows_read, size_t rows_size)
{
  char row[512];
  char ok[512];
  char error[512];
  snprintf(row, sizeof row, "/reply \"%s\" \"row\"", path);
  snprintf(ok, sizeof ok, "/reply \"%s\" \"ok\"", path);
  snprintf(error, sizeof error, "/error \"%s\" ", path);
  size_t length = 0;
  if (rows_read) {
    rows_read[0] = '\0';
  }
  for (;;) {
    const char* line = client_next(client, ANSWER_MS);
    if (!line || !strncmp(line, ok, strlen(ok)) || !strncmp(line, error, strlen(error))) {
      return line;
    }
    if (rows_read && !strncmp(line, row, strlen(row))) {
      length +=
          (size_t)snprintf(rows_read + length, rows_size - length, "%s\n", line + strlen(row) + 1);
      assert_true(length < rows_size);
    }
  }
}

const char* client_answer(Client* client, const char* path, char* rows_read, size_t rows_size)
{
  const char* closing = client_try_answer(client, path, rows_read, rows_size);
  if (!closing) {
    fail_msg("%s was not answered", path);
    return "";
  }
  return closing;
}

bool is_ok(const char* closing)
{
  return !strncmp(closing, "/reply ", 7);
}

void client_ok(Client* client, const char* path)
{
  const char* closing = client_answer(client, path, NULL, 0);
  if (!is_ok(closing)) {
    fail_msg("%s", closing);
  }
}

void client_error(Client* client, const char* path, HrStatus code, const char* part)
{
  char prefix[512];
  snprintf(prefix, sizeof prefix, "/error \"%s\" %d \"", path, (int)code);
  const char* closing = client_answer(client, path, NULL, 0);
  if (strncmp(closing, prefix, strlen(prefix)) != 0 || !strstr(closing, part)) {
    fail_msg("expected %s...%s, got %s", prefix, part, closing);
  }
}

bool try_read_state(Client* client, char* text, size_t text_size)
{
  int begun = 0;
  int ended = 0;
  int instances = 0;
  const char* line = client_find(client, "/hr/state/begin", ANSWER_MS);
  if (!line || sscanf(line, "/hr/state/begin %d %d", &begun, &instances) != 2) {
    return false;
  }
  size_t length = 0;
  text[0] = '\0';
  while ((line = client_next(client, ANSWER_MS))) {
    if (sscanf(line, "/hr/state/end %d", &ended) == 1) {
      return begun == ended;
    }
    assert_null(strstr(line, "/hr/state/begin"));
    length += (size_t)snprintf(text + length, text_size - length, "%s\n", line);
    assert_true(length < text_size);
  }
  return false;
}

void read_state(Client* client, char* text, size_t text_size)
{
  assert_true(try_read_state(client, text, text_size));
}

void subscribe(Client* client)
{
  client_send(client, "/hr/subscribe", "");
  client_ok(client, "/hr/subscribe");
}
