/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* The OSC endpoint through real sockets, over real sessions on a real store. */

#include "osc/endpoint.h"
#include "osc/feedback.h"
#include "osc/osc.h"
#include "osc/packet.h"
#include "osc/schedule.h"
#include "osc/socket.h"
#include "osc/table.h"
#include "osc/writer.h"
#include "plugin/command.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "tests/osc_rig.h"
#include "tests/test_osc_wire.h"

/** Branches and journal length of both sessions' trees as text: what no bad packet may change. */
static const char* music_state(void)
{
  static char text[1 << 18];
  size_t length = 0;
  HrStore* store = NULL;
  HrTxn* txn = NULL;
  HrTree tree;
  HrBranch branch;
  assert_int_equal(hr_store_open(scratch_path("music.hr"), 0, &store, NULL), HR_OK);
  assert_int_equal(hr_txn_begin(store, HR_READ, &txn), HR_OK);
  for (HrTreeId id = 0; !hr_tree_next(txn, id, &tree); id = tree.id) {
    length += (size_t)snprintf(text + length, sizeof text - length, "%s: at %llu\n", tree.name,
                               (unsigned long long)tree.current);
    for (uint32_t number = 0; !hr_branch_next(txn, tree.id, number, &branch);
         number = hr_branch_number(branch.id)) {
      char name[HR_NAME_MAX + 1];
      hr_branch_name(txn, branch.id, name);
      length +=
          (size_t)snprintf(text + length, sizeof text - length, "%s %llu %lld %lld %d\n", name,
                           (unsigned long long)branch.parent, (long long)branch.fork_tick,
                           (long long)branch.head_tick, (int)branch.state);
    }
  }
  hr_txn_abort(txn);
  hr_store_close(store);
  for (size_t i = 0; i < 2; ++i) {
    HrSessionState state;
    hr_session_state(sessions[i], &state);
    length += (size_t)snprintf(text + length, sizeof text - length, "%d%d%d%d%d %u %llu %llu\n",
                               state.record, state.replay, state.loop, state.thru, state.overdub,
                               state.quantum, (unsigned long long)state.branch,
                               (unsigned long long)state.tree_revision);
  }
  assert_true(length < sizeof text);
  return text;
}

/* ---- Questions and commands ----------------------------------------- */

static void test_ping(void** state)
{
  Client* client = *state;
  client_send(client, "/hr/ping", "");
  char expected[256];
  snprintf(expected, sizeof expected,
           "/reply \"/hr/ping\" \"row\" \"halfremembered\" \"%s\" %d 2 \"%s\" \"ready\"",
           HR_VERSION, HR_OSC_PROTOCOL, hr_osc_url());
  assert_string_equal(client_expect(client, "/"), expected);
  assert_string_equal(client_expect(client, "/"), "/reply \"/hr/ping\" \"ok\"");
  assert_null(client_next(client, QUIET_MS));

  static const uint8_t without_types[12] = "/hr/ping";
  client_send_bytes(client, without_types, sizeof without_types);
  client_ok(client, "/hr/ping");
}

static void test_instances(void** state)
{
  Client* client = *state;
  client_send(client, "/hr/instances", "");
  assert_true(is_ok(client_answer(client, "/hr/instances", rows, sizeof rows)));
  char expected[256];
  snprintf(expected, sizeof expected,
           "%u \"Grand Piano\" \"main\" 0\n%u \"Bass #2/low\" \"main\" 0\n",
           hr_session_number(sessions[0]), hr_session_number(sessions[1]));
  assert_string_equal(rows, expected);
}

static size_t count_lines(const char* text)
{
  size_t count = 0;
  for (; *text; ++text) {
    count += *text == '\n';
  }
  return count;
}

static void test_help(void** state)
{
  Client* client = *state;
  client_send(client, "/hr/help", "");
  assert_true(is_ok(client_answer(client, "/hr/help", rows, sizeof rows)));
  assert_int_equal(count_lines(rows), hr_osc_row_count());
  for (size_t i = 0; i < hr_osc_row_count(); ++i) {
    HrOscRow row;
    hr_osc_row(i, &row);
    assert_non_null(strstr(rows, row.address));
    assert_non_null(strstr(rows, row.summary));
  }

  client_send(client, "/hr/help", "s", "fork");
  assert_true(is_ok(client_answer(client, "/hr/help", rows, sizeof rows)));
  assert_int_equal(count_lines(rows), 1);
  assert_non_null(strstr(rows, "/hr/<instance>/fork"));

  client_send(client, "/hr/help", "s", "frok");
  client_error(client, "/hr/help", HR_ERR_NOT_FOUND, "did you mean fork");
}

static void test_fork_and_list(void** state)
{
  Client* client = *state;
  const char* fork = path_of("fork");
  const char* list = path_of("list");
  client_send(client, fork, "s", "verse one");
  client_ok(client, fork);
  client_send(client, list, "");
  assert_true(is_ok(client_answer(client, list, rows, sizeof rows)));
  assert_non_null(strstr(rows, "\"verse one\""));
  // By the tree's name as well, and the other tree has none of it.
  client_send(client, "/hr/Grand_Piano/list", "");
  assert_true(is_ok(client_answer(client, "/hr/Grand_Piano/list", rows, sizeof rows)));
  assert_non_null(strstr(rows, "\"verse one\""));
  client_send(client, "/hr/Bass__2_low/list", "");
  assert_true(is_ok(client_answer(client, "/hr/Bass__2_low/list", rows, sizeof rows)));
  assert_null(strstr(rows, "\"verse one\""));
}

/** Send a text to a verb and read its rows, of which there is one that begins so. */
static void expect_row(Client* client, const char* verb, const char* text, const char* begin)
{
  const char* path = path_of(verb);
  client_send(client, path, text ? "s" : "", text);
  const char* closing = client_answer(client, path, rows, sizeof rows);
  if (!is_ok(closing) || strncmp(rows, begin, strlen(begin)) != 0 || count_lines(rows) != 1) {
    fail_msg("%s: %s, expected %s, got %s", verb, closing, begin, rows);
  }
}

static void test_undo_and_marks(void** state)
{
  Client* client = *state;
  char taken_back[LINE_SIZE];
  client_send(client, path_of("switch"), "s", "main");
  client_ok(client, path_of("switch"));
  expect_row(client, "fork", "taken back", "");
  snprintf(taken_back, sizeof taken_back, "\"fork\" %.99s", rows);
  expect_row(client, "undo", NULL, "\"fork\" 1 \"main\"\n");
  expect_row(client, "redo", NULL, taken_back);
  client_send(client, path_of("redo"), "");
  client_error(client, path_of("redo"), HR_ERR_NOT_FOUND, "There is nothing to redo.");
  client_send(client, path_of("undo"), "f", 0.0); // A button let go
  client_ok(client, path_of("undo"));
  expect_row(client, "undo", NULL, "\"fork\" 1 \"main\"\n");

  client_send(client, path_of("mark"), "sii", "chorus", 3, 5);
  assert_true(is_ok(client_answer(client, path_of("mark"), rows, sizeof rows)));
  assert_non_null(strstr(rows, " \"chorus\" 15482880h 30965760h\n"));
  char* mark = strdup(rows);
  expect_row(client, "marks", NULL, mark);
  expect_row(client, "unmark", "chorus", mark);
  client_send(client, path_of("unmark"), "s", "chorus");
  client_error(client, path_of("unmark"), HR_ERR_NOT_FOUND, "There is no mark \"chorus\"");
  client_send(client, path_of("mark"), "s", "5");
  client_error(client, path_of("mark"), HR_ERR_ARGUMENT, "reads as a position");
  expect_row(client, "undo", NULL, "\"hide note\" 1 \"main\"\n");
  expect_row(client, "marks", NULL, mark);
  free(mark);

  client_send(client, path_of("merge"), "s", "main");
  client_error(client, path_of("merge"), HR_ERR_ARGUMENT, "Name another one");
  client_send(client, path_of("merge"), "s", "taken back");
  client_error(client, path_of("merge"), HR_ERR_ARGUMENT, "`restore` it first");
  client_send(client, path_of("log"), "");
  assert_true(is_ok(client_answer(client, path_of("log"), rows, sizeof rows)));
  rows[strlen(rows) - 1] = '\0';
  const char* last = strrchr(rows, '\n');
  assert_non_null(strstr(last, "\"undo\""));
  assert_non_null(strstr(last, "\"osc 127.0.0.1\""));
}

static void test_unknown(void** state)
{
  Client* client = *state;
  const char* before = strdup(music_state());
  static const struct {
    const char* path;
    HrStatus code;
    const char* part;
  } cases[] = {
      {"/hr/*/frok", HR_ERR_NOT_FOUND, "did you mean fork"},
      {"/hr/*/qqqqqq", HR_ERR_NOT_FOUND, "/hr/help lists all"},
      {"/hr/pin", HR_ERR_NOT_FOUND, "did you mean ping"},
      {"/hr/fork", HR_ERR_NOT_FOUND, "/hr/1/fork"},
      {"/hr/*", HR_ERR_NOT_FOUND, "/hr/help lists all"},
      {"/hr/999/fork", HR_ERR_NOT_FOUND, "/hr/instances"},
      {"/hr/nobody/fork", HR_ERR_NOT_FOUND, "/hr/instances"},
      {"/", HR_ERR_NOT_FOUND, "/hr/help"},
      {"/hr", HR_ERR_NOT_FOUND, "/hr/help"},
      {"/hr/", HR_ERR_NOT_FOUND, "/hr/help"},
      {"/fork", HR_ERR_NOT_FOUND, "/hr/help"},
      {"/hr/x?/fork", HR_ERR_NOT_FOUND, "/hr/instances"},
      {"/hr/*/*", HR_ERR_LIMIT, "more than 8"},
      {"/hr/[/fork", HR_ERR_ARGUMENT, "not closed"},
      {"/*", HR_ERR_NOT_FOUND, "/hr/help"},
      {"/hr/*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b/fork", HR_ERR_NOT_FOUND, "instance"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
    client_send(client, cases[i].path, "");
    client_error(client, cases[i].path, cases[i].code, cases[i].part);
  }
  assert_string_equal(before, music_state());
  free((void*)before);
}

static void test_answers_are_not_answered(void** state)
{
  Client* client = *state;
  client_send(client, "/reply", "ss", "/hr/ping", "ok");
  client_send(client, "/error", "sis", "/hr/ping", 3, "no");
  assert_null(client_next(client, QUIET_MS));
}

static void test_all_instances(void** state)
{
  Client* client = *state;
  client_send(client, "/hr/*/fork", "s", "everywhere");
  char path[64];
  for (size_t i = 0; i < 2; ++i) {
    snprintf(path, sizeof path, "/hr/%u/fork", hr_session_number(sessions[i]));
    client_ok(client, path);
  }
  for (size_t i = 0; i < 2; ++i) {
    snprintf(path, sizeof path, "/hr/%u/list", hr_session_number(sessions[i]));
    client_send(client, path, "");
    assert_true(is_ok(client_answer(client, path, rows, sizeof rows)));
    assert_non_null(strstr(rows, "\"everywhere\""));
  }
}

/** Count the values of a row as the table writes them. */
static size_t count_words(const char* text)
{
  size_t count = 0;
  for (const char* at = text; *at; ++at) {
    count += *at != ' ' && (at == text || at[-1] == ' ');
  }
  return count;
}

/** Count the values of one line of `rows`; texts have no quotes in them here. */
static size_t count_values(const char* line)
{
  size_t count = 0;
  bool quoted = false;
  for (const char* at = line; *at && *at != '\n'; ++at) {
    if (*at == '"') {
      quoted = !quoted;
      count += quoted;
    } else if (!quoted && *at != ' ' && (at == line || at[-1] == ' ')) {
      count += 1;
    }
  }
  return count;
}

/** A way to send arguments: `number` and `text` stand for each number and text. */
typedef struct {
  const char* types;
  double number;
  const char* text;
  enum { TAKEN, REFUSED, RELEASE, RELEASE_AFTER_TEXT } outcome;
} Form;

static const Form forms[] = {
    {"", 0, "", TAKEN},
    {"i", 1, "", TAKEN},
    {"f", 1, "", TAKEN},
    {"d", 1, "", TAKEN},
    {"T", 0, "", TAKEN},
    {"i", 0, "", RELEASE},
    {"f", 0, "", RELEASE},
    {"d", 0, "", RELEASE},
    {"F", 0, "", RELEASE},
    {"NF", 0, "", RELEASE},
    {"h", 960, "", TAKEN},
    {"f", -3, "", TAKEN},
    {"f", 1e30, "", TAKEN},
    {"h", -1e18, "", TAKEN},
    {"s", 0, "main", TAKEN},
    {"S", 0, "main", TAKEN},
    {"c", 0, "m", TAKEN},
    {"s", 0, "", TAKEN},
    {"N", 0, "", TAKEN},
    {"I", 0, "", TAKEN},
    {"is", 1, "form", TAKEN},
    {"fsf", 1, "form", TAKEN},
    {"sf", 1, "main", TAKEN},
    {"sf", 0, "main", RELEASE_AFTER_TEXT},
    {"si", 0, "main", RELEASE_AFTER_TEXT},
    {"ssF", 0, "main", RELEASE_AFTER_TEXT},
    {"siiiiiiiiiiiiiiiiiiiiiiiiiiiiiii", 1, "main", TAKEN},
    {"b", 0, "", REFUSED},
    {"im", 1, "", REFUSED},
    {"t", 0, "", REFUSED},
    {"f", INFINITY, "", REFUSED},
    {"d", NAN, "", REFUSED},
    {"s", 0, "bad \xFF", REFUSED},
    {"s", 0, "bad \n", REFUSED},
    {"c", 0, "\x80", REFUSED},
};

static void send_form(const Client* client, const char* path, const Form* form)
{
  static uint8_t bytes[WIRE_SIZE];
  lo_message message = lo_message_new();
  for (const char* type = form->types; *type; ++type) {
    add_argument(message, *type, form->number, form->text);
  }
  size_t size = sizeof bytes;
  lo_message_serialise(message, path, bytes, &size);
  lo_message_free(message);
  client_send_bytes(client, bytes, size);
}

/** True if a row of that kind must do nothing on `form`. */
static bool is_release(const Form* form, HrCommandKind kind)
{
  return (form->outcome == RELEASE && kind == HR_COMMAND_TRIGGER) ||
         (form->outcome == RELEASE_AFTER_TEXT &&
          (kind == HR_COMMAND_TRIGGER || kind == HR_COMMAND_VALUE));
}

static void check_form(Client* client, const char* path, const HrOscRow* row, const Form* form)
{
  const bool release = is_release(form, row->kind);
  char* const before = strdup(music_state());
  send_form(client, path, form);
  const char* closing = client_answer(client, path, rows, sizeof rows);

  if (release && (!is_ok(closing) || rows[0])) {
    fail_msg("release by %s: %s", form->types, closing);
  }
  if (form->outcome == REFUSED && (is_ok(closing) || !strstr(closing, "\" 2 \""))) {
    fail_msg("%s was not refused: %s", form->types, closing);
  }
  for (const char* line = rows; *line; line = strchr(line, '\n') + 1) {
    if (count_values(line) != count_words(row->answer)) {
      fail_msg("%s is to answer \"%s\", not %s", path, row->answer, line);
    }
  }
  if (release || !is_ok(closing) || row->kind == HR_COMMAND_QUERY) {
    assert_string_equal(before, music_state());
  }
  free(before);
}

/** Every argument form there is, to every address there is: each gets exactly one
 * closing message, and rows as the table says. */
static void test_every_address_in_every_form(void** state)
{
  Client* client = *state;
  for (size_t i = 0; i < hr_osc_row_count(); ++i) {
    HrOscRow row;
    hr_osc_row(i, &row);
    if (row.type == HR_OSC_ROW_FEEDBACK) {
      continue;
    }
    const char* path = row.type == HR_OSC_ROW_OWN
                           ? row.address
                           : path_of(!strcmp(row.verb, "slot/<n>") ? "slot/1" : row.verb);
    for (size_t j = 0; j < sizeof forms / sizeof forms[0]; ++j) {
      check_form(client, path, &row, &forms[j]);
    }
  }
  // No second closing came for any of them.
  assert_null(client_find(client, "/reply", QUIET_MS));
  assert_null(client_find(client, "/error", 0));
}

/** A name may be so long and no longer; and what looks like a path is only ever a name. */
static void test_names(void** state)
{
  Client* client = *state;
  char name[HR_NAME_MAX + 2];
  memset(name, 'x', sizeof name);
  name[HR_NAME_MAX + 1] = '\0';
  char* const before = strdup(music_state());
  client_send(client, path_of("rename"), "ss", "main", name);
  client_error(client, path_of("rename"), HR_ERR_ARGUMENT, "");
  client_send(client, path_of("fork"), "s", name);
  client_error(client, path_of("fork"), HR_ERR_ARGUMENT, "");
  assert_string_equal(before, music_state());
  free(before);
  name[HR_NAME_MAX] = '\0';
  client_send(client, path_of("fork"), "s", name);
  client_ok(client, path_of("fork"));

  char store[LINE_SIZE];
  snprintf(store, sizeof store, "\"store\" \"%s\"\n", scratch_path("music.hr"));
  client_send(client, path_of("tree"), "s", "../elsewhere.hr");
  client_ok(client, path_of("tree"));
  expect_row(client, "get", "store", store);
}

/* ---- What must do nothing ------------------------------------------- */

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

/* ---- Bundles -------------------------------------------------------- */

static void test_bundle_in_order(void** state)
{
  Client* client = *state;
  static uint8_t bytes[WIRE_SIZE];
  static uint8_t message[WIRE_SIZE];
  const char* fork = path_of("fork");
  size_t size = serialise(message, fork, "s", "first of two");
  size = wrap(bytes, 1, message, size);
  size = append(bytes, size, message, serialise(message, fork, "s", "second of two"));
  // A time that is past is now, too.
  size =
      append(bytes, size, message,
             wrap(message, hr_osc_schedule_now() - 1, message, serialise(message, "/hr/ping", "")));
  client_send_bytes(client, bytes, size);
  client_ok(client, fork);
  client_ok(client, fork);
  client_ok(client, "/hr/ping");

  client_send(client, path_of("list"), "");
  assert_true(is_ok(client_answer(client, path_of("list"), rows, sizeof rows)));
  const char* first = strstr(rows, "first of two");
  assert_non_null(first);
  assert_non_null(strstr(first, "second of two"));
}

static void test_bundle_ahead(void** state)
{
  Client* client = *state;
  static uint8_t bytes[WIRE_SIZE];
  const uint64_t second = UINT64_C(1) << 32;
  const int64_t sent_ms = now_ms();
  size_t size = serialise(bytes, "/hr/ping", "");
  size = wrap(bytes, hr_osc_schedule_now() + second / 2, bytes, size);
  client_send_bytes(client, bytes, size);
  client_ok(client, "/hr/ping");
  const int64_t waited_ms = now_ms() - sent_ms;
  assert_true(waited_ms >= 499);
  assert_true(waited_ms < 1500);

  size = serialise(bytes, "/hr/ping", "");
  size = wrap(bytes, hr_osc_schedule_now() + 7200 * second, bytes, size);
  client_send_bytes(client, bytes, size);
  client_error(client, "/", HR_ERR_LIMIT, "more than an hour");

  // More than may wait: refused, and forgotten when the endpoint stops.
  size = serialise(bytes, "/hr/ping", "");
  size = wrap(bytes, hr_osc_schedule_now() + 600 * second, bytes, size);
  for (unsigned i = 0; i < HR_OSC_SCHEDULE_MAX; ++i) {
    client_send_bytes(client, bytes, size);
    if (i % 16 == 0) {
      client_send(client, "/hr/ping", ""); // Do not run ahead of it
      client_ok(client, "/hr/ping");
    }
  }
  client_send_bytes(client, bytes, size);
  client_error(client, "/", HR_ERR_LIMIT, "Too many bundles");
}

/* ---- Requests sent twice -------------------------------------------- */

static size_t branch_count(Client* client)
{
  const char* list = path_of("list");
  client_send(client, list, "");
  assert_true(is_ok(client_answer(client, list, rows, sizeof rows)));
  return count_lines(rows);
}

static void test_request_id(void** state)
{
  Client* client = *state;
  Client* other = client_new();
  const char* fork = path_of("fork");
  const size_t before = branch_count(client);
  char first[LINE_SIZE];

  client_send(client, fork, "ss", "once", "id=7");
  snprintf(first, sizeof first, "%s", client_answer(client, fork, rows, sizeof rows));
  assert_true(is_ok(first));
  assert_non_null(strstr(first, "\"id=7\""));
  char* first_rows = strdup(rows);
  for (unsigned i = 0; i < 3; ++i) {
    client_send(client, fork, "ss", "once", "id=7");
    assert_string_equal(client_answer(client, fork, rows, sizeof rows), first);
    assert_string_equal(rows, first_rows);
  }
  free(first_rows);
  assert_int_equal(branch_count(client), before + 1);

  // Another sender's ids are its own, and an id alone is no argument.
  client_send(other, fork, "s", "id=7");
  client_ok(other, fork);
  assert_int_equal(branch_count(client), before + 2);

  // An error is repeated as well; a question is asked again, and answered with its id.
  client_send(client, path_of("switch"), "ss", "no such branch", "id=8");
  snprintf(first, sizeof first, "%s", client_answer(client, path_of("switch"), NULL, 0));
  assert_false(is_ok(first));
  client_send(client, path_of("switch"), "ss", "main", "id=8");
  assert_string_equal(client_answer(client, path_of("switch"), NULL, 0), first);
  client_send(client, "/hr/ping", "s", "id=9");
  const char* row = client_expect(client, "/reply \"/hr/ping\" \"row\"");
  assert_string_equal(row + strlen(row) - strlen(" \"id=9\""), " \"id=9\"");
  client_ok(client, "/hr/ping");
  const char* list = path_of("list");
  client_send(client, list, "s", "id=10");
  client_answer(client, list, rows, sizeof rows);
  assert_int_equal(count_lines(rows), before + 2);
  client_send(client, fork, "");
  client_ok(client, fork);
  client_send(client, list, "s", "id=10");
  client_answer(client, list, rows, sizeof rows);
  assert_int_equal(count_lines(rows), before + 3);

  // The oldest is forgotten after as many others as are remembered: 3 above and these.
  for (unsigned i = 0; i + 3 < HR_OSC_REQUESTS_MAX; ++i) {
    char other_id[16];
    snprintf(other_id, sizeof other_id, "id=n%u", i);
    client_send(client, fork, "ss", "once", "id=7");
    client_ok(client, fork);
    client_send(client, "/hr/unsubscribe", "s", other_id);
    client_answer(client, "/hr/unsubscribe", NULL, 0);
  }
  assert_int_equal(branch_count(client), before + 3);
  client_send(client, "/hr/unsubscribe", "s", "id=last");
  client_answer(client, "/hr/unsubscribe", NULL, 0);
  client_send(client, fork, "ss", "once", "id=7");
  client_ok(client, fork);
  assert_int_equal(branch_count(client), before + 4);

  char id[HR_OSC_ID_MAX + 2];
  memset(id, 'x', sizeof id);
  memcpy(id, "id=", 3);
  id[HR_OSC_ID_MAX + 1] = '\0';
  client_send(client, fork, "ss", "once", id);
  client_error(client, fork, HR_ERR_LIMIT, "64");
  client_free(other);
}

/* ---- Subscribers ---------------------------------------------------- */

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
    const Form form = {bad[i].types, bad[i].port, "", TAKEN};
    send_form(client, "/hr/subscribe", &form);
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

/* ---- Long answers and many senders ---------------------------------- */

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

/* ---- The endpoint itself -------------------------------------------- */

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

static void test_attach_and_detach(void** state)
{
  (void)state;
  HrError error;
  assert_int_equal(hr_osc_attach(sessions[0], &error), HR_ERR_EXISTS);
  assert_int_equal(hr_osc_attach(sessions[0], NULL), HR_ERR_EXISTS);
  stop_all();
  stop_all(); // Fine for sessions that are not served
  assert_string_equal(hr_osc_url(), "");
  for (unsigned i = 0; i < 100; ++i) {
    assert_int_equal(hr_osc_attach(sessions[i % 2], NULL), HR_OK);
    assert_string_not_equal(hr_osc_url(), "");
    hr_osc_detach(sessions[i % 2]);
  }
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

/* ---- Documentation -------------------------------------------------- */

static void test_documentation(void** state)
{
  (void)state;
  const char* path = scratch_path("osc.md");
  FILE* file = fopen(path, "w");
  assert_non_null(file);
  assert_int_equal(hr_osc_write_documentation(file), HR_OK);
  fclose(file);
  char command[8192];
  snprintf(command, sizeof command, "diff -u docs/osc.md '%s'", path);
  if (system(command)) {
    fail_msg("build/halfremembered osc-doc >docs/osc.md brings it up to date");
  }
}

/** Whatever a command may fail with. */
static void test_documentation_has_every_code(void** state)
{
  (void)state;
  char text[1 << 16] = "";
  FILE* const file = fmemopen(text, sizeof text - 1, "w");
  assert_non_null(file);
  assert_int_equal(hr_osc_write_documentation(file), HR_OK);
  fclose(file);
  int code = HR_ERR_ARGUMENT;
  for (; strcmp(hr_strerror((HrStatus)code), "unknown status") != 0; ++code) {
    char row[256];
    snprintf(row, sizeof row, "| %d | %s |\n", code, hr_strerror((HrStatus)code));
    if (!strstr(text, row)) {
      fail_msg("There is no row %s", row);
    }
  }
  assert_true(code > HR_ERR_LIMIT);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_documentation),
      cmocka_unit_test(test_documentation_has_every_code),
#define SERVED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
      SERVED(test_ping),
      SERVED(test_instances),
      SERVED(test_help),
      SERVED(test_fork_and_list),
      SERVED(test_undo_and_marks),
      SERVED(test_unknown),
      SERVED(test_answers_are_not_answered),
      SERVED(test_all_instances),
      SERVED(test_every_address_in_every_form),
      SERVED(test_names),
      SERVED(test_truncated_packets),
      SERVED(test_liblo_over_reads),
      SERVED(test_random_packets),
      SERVED(test_oversized_packet),
      SERVED(test_bundle_in_order),
      SERVED(test_bundle_ahead),
      SERVED(test_request_id),
      SERVED(test_whole_state),
      SERVED(test_changes),
      SERVED(test_trouble_is_told),
      SERVED(test_refresh),
      SERVED(test_lease),
      SERVED(test_subscribe_for_another_port),
      SERVED(test_too_many_subscribers),
      SERVED(test_instances_come_and_go),
      SERVED(test_long_answer),
      SERVED(test_detach_under_flood),
      SERVED(test_url_file),
      SERVED(test_url_folder_of_others),
      SERVED(test_ports_taken),
      SERVED(test_attach_and_detach),
      SERVED(test_loopback_only),
  };
  return cmocka_run_group_tests_name("osc", tests, group_setup, group_teardown);
}
