/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file test_osc.c
 * Questions, commands and bundles over OSC, by a client of plain sockets: what is answered, and
 * that what is documented is what is there. */

#include "osc/endpoint.h"
#include "osc/osc.h"
#include "osc/request_memory.h"
#include "osc/schedule.h"
#include "osc/table.h"
#include "plugin/command.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/osc_rig.h"
#include "tests/test_osc_wire.h"

/* ---- Questions and commands -------------------------------------------------------- */

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
  client_send_values(client, path, form->types, form->number, form->text);
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

/** A name that two instances share is refused, and says which they are. */
static void test_a_shared_name(void** state)
{
  Client* client = *state;
  char text[128];
  third = make_session("Grand Piano");
  serve(third);
  snprintf(text, sizeof text, "Instances %u and %u are both called Grand_Piano",
           hr_session_number(sessions[0]), hr_session_number(third));
  char* const before = strdup(music_state());
  client_send(client, "/hr/Grand_Piano/fork", "s", "whose");
  client_error(client, "/hr/Grand_Piano/fork", HR_ERR_ARGUMENT, text);
  assert_string_equal(before, music_state());
  free(before);
}

/* ---- Bundles ----------------------------------------------------------------------- */

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

/* ---- Requests sent twice ----------------------------------------------------------- */

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

/* ---- Documentation ----------------------------------------------------------------- */

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
      SERVED(test_a_shared_name),
      SERVED(test_bundle_in_order),
      SERVED(test_bundle_ahead),
      SERVED(test_request_id),
  };
  return cmocka_run_group_tests_name("osc", tests, group_setup, group_teardown);
}
