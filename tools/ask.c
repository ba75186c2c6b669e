/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "tools/ask.h"

#include "osc/address.h"
#include "osc/packet.h"
#include "osc/table.h"
#include "osc/url_file.h"
#include "osc/writer.h"
#include "tools/tool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define URL_BEGIN "osc.udp://"

enum {
  ANSWER_MS = 2000, ///< The longest wait for a part of the answer
  HOSTS_MAX = 16,
  BYTES_OF_MIDI = 3, ///< A message as so many numbers
};

/** Asked right behind a pattern, for which any number of instances answers: what one sends is
 * done in its order, so that the answer to this is the end. */
#define END "/hr/ping"

/** What is asked, and what came of it. */
typedef struct {
  const char* url;
  const char* address;
  int socket;
  bool pattern;  ///< It may mean several instances
  bool answered; ///< By the last closing message
  bool failed;   ///< By one that is an error
} Question;

/* ---- Where to ---------------------------------------------------------------- */

/** Find the host that serves OSC. Complains if there is none, or more than one. */
static bool find_host(char url[HR_OSC_URL_SIZE])
{
  char urls[HOSTS_MAX][HR_OSC_URL_SIZE];
  char all[HOSTS_MAX * (HR_OSC_URL_SIZE + 2)] = "";
  const size_t count = hr_osc_url_files_read(urls, HOSTS_MAX);
  for (size_t i = 0, length = 0; i < count; ++i) {
    length += (size_t)snprintf(all + length, sizeof all - length, "%s%s", i ? ", " : "", urls[i]);
  }
  if (!count) {
    hr_tool_complain("No plugin of yours is there to be asked: load it in a host, or say where it "
                     "is, as in \"halfremembered osc " URL_BEGIN "127.0.0.1:9770/ /hr/ping\".");
  } else if (count > 1) {
    hr_tool_complain("There is more than one host (%s): name one before the address.", all);
  } else {
    strcpy(url, urls[0]);
  }
  return count == 1;
}

static bool read_url(const char* url, struct sockaddr_in* to)
{
  char host[64];
  int port = 0;
  *to = (struct sockaddr_in){.sin_family = AF_INET};
  if (sscanf(url, URL_BEGIN "%63[^:/]:%6d", host, &port) != 2 || port < 1 || port > UINT16_MAX) {
    return false;
  }
  to->sin_port = htons((uint16_t)port);
  return inet_pton(AF_INET, strcmp(host, "localhost") ? host : "127.0.0.1", &to->sin_addr) == 1;
}

static int fail(const Question* question, int reason)
{
  if (reason == ECONNREFUSED || reason == ETIMEDOUT) {
    hr_tool_complain("Nothing answers at %s: start the host, and see there which address the "
                     "plugin shows.",
                     question->url);
  } else {
    hr_tool_complain("Cannot ask %s: %s.", question->url, strerror(reason));
  }
  return HR_EXIT_FAILURE;
}

/* ---- The question ------------------------------------------------------------ */

/** What the table says of the arguments of an address; "" if it does not know it. */
static const char* arguments_of(const char* address)
{
  HrOscRow row;
  HrOscAddress parts;
  if (hr_osc_row_find_own(address, &row)) {
    return row.arguments;
  }
  const HrCommandInfo* const info =
      hr_osc_address_split(address, &parts) ? hr_command_find(parts.verb) : NULL;
  return info ? info->arguments : "";
}

/** The type of the next argument in a row of the table; '\0' behind the last. */
static char next_type(const char** specification)
{
  const char* const begin = *specification + strspn(*specification, " ");
  const size_t length = strcspn(begin, " ");
  const char* const colon = memchr(begin, ':', length);
  *specification = begin + length;
  return *(colon ? colon + 1 : "");
}

static bool read_whole(const char* text, int32_t* number)
{
  char* end;
  errno = 0;
  const long value = strtol(text, &end, 10);
  *number = (int32_t)value;
  return *text && !*end && !errno && value >= INT32_MIN && value <= INT32_MAX;
}

/** Add what was typed, as the type wants it if it can be read so. The plugin says what is wrong
 * with the rest. */
static void add_argument(lo_message message, char type, const char* text)
{
  char* end;
  int32_t whole;
  const float number = strtof(text, &end);
  if (type == 'f' && *text && !*end) {
    lo_message_add_float(message, number);
  } else if (type != 's' && type != 'p' && read_whole(text, &whole)) {
    lo_message_add_int32(message, whole);
  } else {
    lo_message_add_string(message, text);
  }
}

static void add_arguments(lo_message message, const char* address, char* const* args, size_t count)
{
  const char* specification = arguments_of(address);
  char type = next_type(&specification);
  unsigned bytes = 0;
  int32_t whole;
  for (size_t i = 0; i < count; ++i) {
    if (type == 'm' && (bytes == BYTES_OF_MIDI || !read_whole(args[i], &whole))) {
      type = next_type(&specification);
    }
    add_argument(message, type, args[i]);
    if (type == 'm') {
      ++bytes;
    } else {
      type = next_type(&specification);
    }
  }
}

/** Returns 0 or what errno was. */
static int send_bytes(const Question* question, const uint8_t* bytes, size_t size)
{
  static const uint8_t end[] = END "\0\0\0\0,\0\0";
  uint8_t both[HR_OSC_PACKET_MAX + HR_OSC_BUNDLE_HEADER_SIZE + 2 * HR_OSC_BUNDLE_LENGTH_SIZE +
               sizeof end];
  if (question->pattern) {
    size = hr_osc_bundle_append(both, 0, bytes, size);
    size = hr_osc_bundle_append(both, size, end, sizeof end);
    bytes = both;
  }
  return send(question->socket, bytes, size, 0) < 0 ? errno : 0;
}

/** The same. */
static int send_question(const Question* question, char* const* args, size_t count)
{
  uint8_t bytes[HR_OSC_PACKET_MAX];
  size_t size = sizeof bytes;
  const lo_message message = lo_message_new();
  if (!message) {
    return ENOMEM;
  }
  add_arguments(message, question->address, args, count);
  const bool fits = lo_message_length(message, question->address) <= sizeof bytes &&
                    lo_message_serialise(message, question->address, bytes, &size);
  lo_message_free(message);
  return !fits ? EMSGSIZE : send_bytes(question, bytes, size);
}

/* ---- The answer -------------------------------------------------------------- */

/** Print a value. It may not be read through lo_arg, which is aligned to 8 bytes where OSC
 * knows only 4. */
static void print_value(char type, const void* value)
{
  int32_t whole;
  int64_t tick;
  float number;
  double wide;
  switch (type) {
  case 'i':
    memcpy(&whole, value, sizeof whole);
    printf(" %" PRId32, whole);
    break;
  case 'h':
    memcpy(&tick, value, sizeof tick);
    printf(" %" PRId64, tick);
    break;
  case 'f':
    memcpy(&number, value, sizeof number);
    printf(" %g", (double)number);
    break;
  case 'd':
    memcpy(&wide, value, sizeof wide);
    printf(" %.15g", wide);
    break;
  case 's':
    printf(" \"%s\"", (const char*)value);
    break;
  default: // No answer holds any
    break;
  }
}

/** "/reply" and "/error" begin with the address that is answered; what else may come, as to
 * subscribers, is no answer. */
static bool is_answer(const char* path, const char* types)
{
  return (!strcmp(path, "/reply") && !strncmp(types, "ss", 2)) ||
         (!strcmp(path, "/error") && !strncmp(types, "sis", 3));
}

static void take_error(Question* question, const char* address, const char* text)
{
  hr_tool_complain("%s: %s", address, text);
  question->failed = true;
  question->answered = !question->pattern || !strcmp(address, "/"); // The whole packet
}

static void take_reply(Question* question, const char* types, lo_arg** values)
{
  const char* const address = (const char*)values[0];
  const bool closing = strcmp((const char*)values[1], "row") != 0;
  const bool end = question->pattern && !strcmp(address, END);
  if (!end) {
    printf("/reply %s %s", address, (const char*)values[1]);
    for (size_t i = 2; types[i]; ++i) {
      print_value(types[i], values[i]);
    }
    putchar('\n');
  }
  question->answered = closing && (end || !question->pattern);
}

static bool take_message(Question* question, const uint8_t* bytes, size_t size)
{
  const char* const path = (const char*)bytes;
  const lo_message message = lo_message_deserialise((void*)bytes, size, NULL);
  if (!message) {
    return false;
  }
  const char* const types = lo_message_get_types(message);
  lo_arg** const values = lo_message_get_argv(message);
  const bool answer = is_answer(path, types);
  if (answer && !strcmp(path, "/error")) {
    take_error(question, (const char*)values[0], (const char*)values[2]);
  } else if (answer) {
    take_reply(question, types, values);
  }
  lo_message_free(message);
  return answer;
}

static bool take_datagram(Question* question, const uint8_t* bytes, size_t size)
{
  HrError error;
  const uint8_t* element = NULL;
  size_t element_size = 0;
  size_t offset = 0;
  bool answer = false;
  if (hr_osc_packet_check(bytes, size, &error)) {
    return false;
  }
  if (!hr_osc_is_bundle(bytes, size)) {
    return take_message(question, bytes, size);
  }
  while (hr_osc_bundle_next(bytes, size, &offset, &element, &element_size)) {
    answer |=
        !hr_osc_is_bundle(element, element_size) && take_message(question, element, element_size);
  }
  return answer;
}

/** Wait for the next datagram until then: 0, or ETIMEDOUT, or what else errno was. */
static int receive(Question* question, int64_t* until)
{
  uint8_t bytes[HR_OSC_DATAGRAM_MAX + HR_OSC_PADDING] = {0};
  struct pollfd descriptor = {.fd = question->socket, .events = POLLIN};
  const int64_t left = (*until - hr_monotonic_ns() + 999999) / 1000000;
  const int ready = left > 0 ? poll(&descriptor, 1, (int)left) : 0;
  if (ready <= 0) {
    return ready && errno != EINTR ? errno : ready ? 0 : ETIMEDOUT;
  }
  const ssize_t size = recv(question->socket, bytes, HR_OSC_DATAGRAM_MAX, 0);
  if (size < 0) {
    return errno;
  }
  if (take_datagram(question, bytes, (size_t)size)) {
    *until = hr_monotonic_ns() + ANSWER_MS * (int64_t)1000000;
  }
  return 0;
}

/** Read the answer to its end. */
static int read_answer(Question* question)
{
  int64_t until = hr_monotonic_ns() + ANSWER_MS * (int64_t)1000000;
  int reason = 0;
  while (!reason && !question->answered) {
    reason = receive(question, &until);
  }
  if (reason) {
    return fail(question, reason);
  }
  return question->failed ? HR_EXIT_FAILURE : HR_EXIT_OK;
}

int hr_ask(char* const* args, size_t count)
{
  char url[HR_OSC_URL_SIZE];
  struct sockaddr_in to;
  const bool named = !strncmp(args[0], URL_BEGIN, strlen(URL_BEGIN));
  const size_t first = named ? 1 : 0;
  if (first == count || args[first][0] != '/') {
    hr_tool_complain("%s is no address: take one like /hr/1/fork; \"halfremembered osc /hr/help\" "
                     "shows all.",
                     first == count ? "Nothing" : args[first]);
    return HR_EXIT_USAGE;
  }
  if (!named && !find_host(url)) {
    return HR_EXIT_FAILURE;
  }
  HrOscAddress parts;
  Question question = {.url = named ? args[0] : url, .address = args[first]};
  question.pattern =
      hr_osc_address_split(question.address, &parts) && hr_osc_address_is_pattern(&parts);
  if (!read_url(question.url, &to)) {
    hr_tool_complain("%s is no URL of a plugin: take one like " URL_BEGIN "127.0.0.1:9770/.",
                     question.url);
    return HR_EXIT_USAGE;
  }
  question.socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (question.socket < 0) {
    return fail(&question, errno);
  }
  /* Connected, it hears of a port where nobody listens, and of nobody else. */
  int reason = connect(question.socket, (const struct sockaddr*)&to, sizeof to) ? errno : 0;
  reason = reason ? reason : send_question(&question, args + first + 1, count - first - 1);
  const int result = reason ? fail(&question, reason) : read_answer(&question);
  close(question.socket);
  return result;
}
