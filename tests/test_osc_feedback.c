/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What controllers are told without asking: slots, echoes, positions, heartbeats;
 * and that each of them holds the truth again soon after packets were lost. */

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "osc/feedback.h"
#include "osc/slots.h"
#include "osc/subscribers.h"
#include "osc/table.h"
#include "tests/osc_rig.h"

/** Send a command with one text, and see it done. */
static void say(Client* client, const char* verb, const char* text)
{
  if (text) {
    client_send(client, path_of(verb), "s", text);
  } else {
    client_send(client, path_of(verb), "");
  }
  client_ok(client, path_of(verb));
}

/** Wait for the line `/hr/<first instance>/` and what follows. */
static void expect_line(Client* client, const char* rest)
{
  char line[256];
  snprintf(line, sizeof line, "/hr/%u/%s", hr_session_number(sessions[0]), rest);
  client_expect(client, line);
}

/* ---- Pads ------------------------------------------------------------------------ */

/** The colour told of a slot, as rrggbb; it must be one. */
static void read_colour(const char* text, int slot, char colour[8])
{
  char begin[64];
  snprintf(begin, sizeof begin, "/hr/%u/state/slot %d ", hr_session_number(sessions[0]), slot);
  const char* const line = strstr(text, begin);
  assert_non_null(line);
  const char* const end = line + strcspn(line, "\n");
  assert_int_equal(sscanf(end - 8, "\"%7[0-9a-f]\"", colour), 1);
  assert_int_equal(strlen(colour), 6);
}

/** Each branch has a colour of its own, and keeps it wherever one goes. */
static void test_colours(void** state)
{
  Client* client = *state;
  char colours[HR_OSC_SLOTS][8];
  for (int i = 0; i < HR_OSC_SLOTS; ++i) {
    say(client, "fork", NULL);
  }
  subscribe(client);
  read_state(client, rows, sizeof rows);
  for (int i = 0; i < HR_OSC_SLOTS; ++i) {
    read_colour(rows, i + 1, colours[i]);
    for (int j = 0; j < i; ++j) {
      assert_string_not_equal(colours[i], colours[j]);
    }
  }
  say(client, "switch", "main");
  client_send(client, "/hr/refresh", "");
  client_ok(client, "/hr/refresh");
  read_state(client, rows, sizeof rows);
  for (int i = 0; i < HR_OSC_SLOTS; ++i) {
    char again[8];
    read_colour(rows, i + 1, again);
    assert_string_equal(again, colours[i]);
  }
}

static void test_slots(void** state)
{
  Client* client = *state;
  subscribe(client);
  read_state(client, rows, sizeof rows);
  char line[256];
  for (int i = 1; i <= HR_OSC_SLOTS; ++i) {
    snprintf(line, sizeof line, "/hr/%u/state/slot %d ", hr_session_number(sessions[0]), i);
    assert_non_null(strstr(rows, line));
    snprintf(line, sizeof line, "/hr/%u/slot/%d ", hr_session_number(sessions[0]), i);
    assert_non_null(strstr(rows, line));
  }
  assert_non_null(strstr(rows, "/state/slot 1 1 \"main\" 2 \""));
  assert_non_null(strstr(rows, "/state/failed_commits 0"));
  assert_non_null(strstr(rows, "/state/rescued 0"));
  assert_non_null(strstr(rows, "/state/longest_wait "));
  say(client, "fork", "slot two");
  expect_line(client, "state/slot 1 1 \"main\" 1 \"");
  expect_line(client, "slot/1 0.25");
  expect_line(client, "state/slot 2 2 \"slot two\" 2 \"");
  expect_line(client, "slot/2 1");

  client_send(client, path_of("slot/1"), "f", 1.0);
  client_ok(client, path_of("slot/1"));
  expect_line(client, "slot/1 1");
  client_send(client, path_of("slot/1"), "f", 0.0);
  client_ok(client, path_of("slot/1"));
  client_send(client, path_of("slot/2"), "");
  client_ok(client, path_of("slot/2"));
  expect_line(client, "state/current 2 ");
}

/** Do something to the first tree as another program, or another instance, does. */
static void do_elsewhere(const char* verb, const char* first, const char* second)
{
  const HrValue values[] = {hr_value_text(first), hr_value_text(second)};
  HrSession* const other = make_session("Grand Piano");
  assert_int_equal(hr_command_run(other, verb, values, second ? 2 : 1, "tool", NULL, NULL), HR_OK);
  hr_session_free(other);
}

/** What others do to the tree is told as well. */
static void test_done_by_others(void** state)
{
  Client* client = *state;
  subscribe(client);
  read_state(client, rows, sizeof rows);
  do_elsewhere("rename", "main", "theirs");
  expect_line(client, "state/slot 1 1 \"theirs\" ");
  do_elsewhere("rename", "theirs", "main");
  expect_line(client, "state/slot 1 1 \"main\" ");

  char branch[64];
  snprintf(branch, sizeof branch, "/hr/%u/branch ", hr_session_number(sessions[0]));
  do_elsewhere("fork", "made by others", NULL);
  while (!strstr(client_expect(client, branch), "\"made by others\"")) {
  }
}

/** Held long enough a pad is to be heard as well, once it is let go: this rig has no
 * host to be heard in, and says so. */
static void test_hold(void** state)
{
  Client* client = *state;
  client_send(client, path_of("slot/1"), "i", 1);
  client_ok(client, path_of("slot/1"));
  sleep_ms(HR_OSC_HOLD_NS / 1000000 + 20);
  client_send(client, path_of("slot/1"), "i", 0);
  client_error(client, path_of("slot/1"), HR_ERR_BUSY, "running in a host");
  client_send(client, path_of("slot/1"), "i", 0);
  client_ok(client, path_of("slot/1"));

  client_send(client, path_of("slot/0"), "i", 1);
  client_error(client, path_of("slot/0"), HR_ERR_NOT_FOUND, "slot");
  client_send(client, path_of("slot/99"), "i", 1);
  client_error(client, path_of("slot/99"), HR_ERR_NOT_FOUND, "not that many");
  client_send(client, path_of("slot/1"), "m");
  client_error(client, path_of("slot/1"), HR_ERR_ARGUMENT, "bytes");
}

static void test_echoes(void** state)
{
  static const char* const echoes[] = {"record 1", "follow 0", "loop 0", "overdub 0", "thru 1"};
  Client* client = *state;
  subscribe(client);
  read_state(client, rows, sizeof rows);
  for (size_t i = 0; i < sizeof echoes / sizeof *echoes; ++i) {
    char line[64];
    snprintf(line, sizeof line, "/hr/%u/%s\n", hr_session_number(sessions[0]), echoes[i]);
    assert_non_null(strstr(rows, line));
  }
}

/* ---- Always ----------------------------------------------------------------------- */

static void test_heartbeat(void** state)
{
  Client* client = *state;
  subscribe(client);
  int sequence = 0;
  assert_int_equal(sscanf(client_expect(client, "/hr/state/end"), "/hr/state/end %d", &sequence),
                   1);
  char beat[64];
  snprintf(beat, sizeof beat, "/hr/state/heartbeat %d 2", sequence);
  assert_string_equal(client_expect(client, "/hr/state/heartbeat"), beat);

  Client* second = client_new();
  subscribe(second);
  client_expect(second, "/hr/state/heartbeat");
  client_free(second);
}

/** What does not change any more comes once a round, on and on. */
static void test_rounds(void** state)
{
  Client* client = *state;
  char line[64];
  int count = 0;
  snprintf(line, sizeof line, "/hr/%u/branch 1 ", hr_session_number(sessions[0]));
  subscribe(client);
  client_send(client, path_of("rename"), "ss", "main", "song");
  client_ok(client, path_of("rename"));
  client_send(client, path_of("rename"), "ss", "song", "main");
  client_ok(client, path_of("rename"));
  client_find(client, "nothing", 2500); // What is new is told more often
  client_drain(client);
  const int64_t until_ms = now_ms() + 2500;
  while (client_find(client, line, until_ms - now_ms())) {
    ++count;
  }
  assert_true(count == 2 || count == 3);
}

/** How many positions of the first instance come within a second and a half. */
static int count_positions(Client* client)
{
  char line[64];
  snprintf(line, sizeof line, "/hr/%u/state/position ", hr_session_number(sessions[0]));
  const int64_t until_ms = now_ms() + 1500;
  int count = 0;
  client_drain(client);
  while (client_find(client, line, until_ms - now_ms())) {
    ++count;
  }
  return count;
}

/** Nothing moves here: the position comes once a round, or not at all. */
static void test_no_positions(void** state)
{
  Client* client = *state;
  client_send(client, "/hr/position/rate", "f", 60.0);
  client_error(client, "/hr/position/rate", HR_ERR_NOT_FOUND, "/hr/subscribe");
  subscribe(client);
  read_state(client, rows, sizeof rows);
  assert_in_range(count_positions(client), 1, 2);
  client_send(client, "/hr/position/rate", "f", 0.0);
  client_ok(client, "/hr/position/rate");
  assert_int_equal(count_positions(client), 0);
  client_send(client, "/hr/position/rate", "f", 61.0);
  client_error(client, "/hr/position/rate", HR_ERR_ARGUMENT, "60");
}

/* ---- Restarts, and those who cannot ask ---------------------------------------------- */

static void restart(void)
{
  for (size_t i = 0; i < 2; ++i) {
    hr_osc_detach(sessions[i]);
  }
  assert_string_equal(hr_osc_url(), "");
  for (size_t i = 0; i < 2; ++i) {
    serve(sessions[i]);
  }
}

/** Wait for a whole state of so many instances to begin: others, of those that come
 * and go one by one, may be broken off before it. */
static void expect_instances(Client* client, int count)
{
  int sequence = 0;
  int instances = -1;
  while (instances != count) {
    const char* const line = client_expect(client, "/hr/state/begin");
    assert_int_equal(sscanf(line, "/hr/state/begin %d %d", &sequence, &instances), 2);
  }
}

static void test_told_after_a_restart(void** state)
{
  Client* client = *state;
  Client* gone = client_new();
  subscribe(client);
  read_state(client, rows, sizeof rows);
  client_send(gone, "/hr/subscribe", "");
  client_ok(gone, "/hr/subscribe");
  client_send(gone, "/hr/unsubscribe", "");
  client_ok(gone, "/hr/unsubscribe");
  client_drain(gone);
  restart();
  expect_instances(client, 0);
  expect_instances(client, 2);
  expect_line(client, "state/tree \"Grand Piano\"");
  assert_null(client_next(gone, QUIET_MS));
  client_free(gone);
}

/** End the endpoint. Returns the file of what it granted, to be written anew. */
static FILE* end_with_leases(void)
{
  char name[64];
  snprintf(name, sizeof name, "halfremembered/osc-%u.leases", ntohs(server_address().sin_port));
  for (size_t i = 0; i < 2; ++i) {
    hr_osc_detach(sessions[i]);
  }
  FILE* const file = fopen(runtime_path(name), "w");
  assert_non_null(file);
  return file;
}

static void begin_with_leases(FILE* file)
{
  fclose(file);
  for (size_t i = 0; i < 2; ++i) {
    serve(sessions[i]);
  }
}

static void test_leases_of_others(void** state)
{
  Client* client = *state;
  FILE* const file = end_with_leases();
  fprintf(file,
          "127.0.0.1 %d 1 10\n"                     // Over
          "127.0.0.1 %d 9223372036854775806 10\n"   // Longer than any lease
          "nowhere 9 99 10\n\n127.0.0.1 0 99 10\n", // Not from us
          client_port(client), client_port(client));
  begin_with_leases(file);
  assert_null(client_next(client, QUIET_MS));
}

/** What was granted to others when they were allowed is theirs no more. */
static void test_leases_of_those_not_allowed(void** state)
{
  Client* client = *state;
  FILE* const file = end_with_leases();
  for (int i = 0; i < HR_OSC_SUBSCRIBERS_MAX; ++i) {
    fprintf(file, "192.0.2.1 %d %lld 10\n", 9000 + i, (long long)(now_ms() + 60000) * 1000000);
  }
  begin_with_leases(file);
  subscribe(client); // There is room
  read_state(client, rows, sizeof rows);
}

static void test_targets(void** state)
{
  Client* client = *state;
  Client* second = client_new();
  char targets[64];
  snprintf(targets, sizeof targets, "127.0.0.1:%d,127.0.0.1:%d", client_port(client),
           client_port(second));
  setenv("HR_OSC_TARGETS", targets, 1);
  restart();
  expect_instances(client, 2);
  expect_instances(second, 2);
  client_send(client, "/hr/subscribe", "ii", 1, 1); // A lease does not end what is for ever
  client_ok(client, "/hr/subscribe");
  sleep_ms(1100);
  client_drain(client);
  say(second, "fork", "told to targets");
  expect_line(client, "state/current ");
  client_free(second);

  static const char* const bad[] = {"localhost:9000", "10.0.0.5",
                                    "10.0.0.5:0",     "10.0.0.5:70000",
                                    "10.0.0.5:9000x", "10.0.0.5:9000, 10.0.0.6:9000"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
    HrOscSubscribers subscribers = {0};
    HrError error = {0};
    setenv("HR_OSC_TARGETS", bad[i], 1);
    assert_int_equal(hr_osc_subscribe_targets(&subscribers, &error), HR_ERR_ARGUMENT);
    assert_non_null(strstr(error.text, "HR_OSC_TARGETS"));
  }
  unsetenv("HR_OSC_TARGETS");
}

/* ---- Loss --------------------------------------------------------------------------- */

enum { CLIENTS = 16, KEYS_MAX = 1024, KEY_SIZE = 64, CHANGES = 120 };

/** What a controller believes: the last line of each thing it was told. */
typedef struct {
  char keys[KEYS_MAX][KEY_SIZE];
  char lines[KEYS_MAX][512];
  size_t count;
} Belief;

/** What a line is about: its address, and the number of a branch or slot. False for
 * what is no part of the state, or moves by itself. */
static bool key_of(const char* line, char key[KEY_SIZE])
{
  if (strncmp(line, "/hr/", 4) != 0 || line[4] < '0' || line[4] > '9' ||
      strstr(line, "/state/position ") || strstr(line, "/state/pending_beats ")) {
    return false;
  }
  const size_t address = strcspn(line, " ");
  const bool many = strstr(line, "/branch ") || strstr(line, "/state/slot ");
  const size_t size = many ? address + 1 + strcspn(line + address + 1, " ") : address;
  snprintf(key, KEY_SIZE, "%.*s", (int)size, line);
  return true;
}

static void believe(Belief* belief, const char* line)
{
  char key[KEY_SIZE];
  size_t index = 0;
  if (!strncmp(line, "/hr/state/begin", 15)) {
    belief->count = 0;
  }
  if (!key_of(line, key)) {
    return;
  }
  while (index < belief->count && strcmp(belief->keys[index], key) != 0) {
    ++index;
  }
  assert_true(index < KEYS_MAX);
  belief->count += index == belief->count;
  snprintf(belief->keys[index], KEY_SIZE, "%s", key);
  snprintf(belief->lines[index], sizeof belief->lines[index], "%s", line);
}

static void take_all(Client* client, Belief* belief)
{
  const char* line;
  while ((line = client_next(client, 0))) {
    believe(belief, line);
  }
}

/** Count what `belief` has otherwise than `truth`, and say what. */
static size_t count_errors(const Belief* belief, const Belief* truth)
{
  size_t errors = 0;
  for (size_t i = 0; i < truth->count; ++i) {
    size_t j = 0;
    while (j < belief->count && strcmp(belief->keys[j], truth->keys[i]) != 0) {
      ++j;
    }
    if (j == belief->count || strcmp(belief->lines[j], truth->lines[i]) != 0) {
      print_error("%s, not %s\n", truth->lines[i],
                  j < belief->count ? belief->lines[j] : "nothing");
      ++errors;
    }
  }
  return errors;
}

/** Sixteen controllers lose one datagram in twenty while there is much to tell. Two
 * seconds after that ends, each believes the truth, and none had to ask. */
static void test_loss(void** state)
{
  static Client* clients[CLIENTS];
  static Belief beliefs[CLIENTS];
  static Belief truth;
  Client* player = *state;
  for (size_t i = 0; i < CLIENTS; ++i) {
    clients[i] = client_new();
    beliefs[i].count = 0;
    subscribe(clients[i]);
    clients[i]->drop = 5;
    clients[i]->drawn = (unsigned)i * 7919u;
  }
  for (int i = 0; i < CHANGES; ++i) {
    char name[32];
    snprintf(name, sizeof name, "change %d", i % 24);
    if (i < 24) {
      say(player, "fork", name);
    } else {
      say(player, "switch", name);
      say(player, "quantum", i % 2 ? "bar" : "4 bars");
      client_send(player, path_of("rename"), "ss", name, name);
      client_ok(player, path_of("rename"));
    }
    for (size_t j = 0; j < CLIENTS; ++j) {
      take_all(clients[j], &beliefs[j]);
    }
    sleep_ms(5);
  }
  size_t lost = 0;
  for (size_t i = 0; i < CLIENTS; ++i) {
    lost += clients[i]->lost;
    clients[i]->drop = 0;
  }
  assert_true(lost > CLIENTS);

  const int64_t until_ms = now_ms() + 1900;
  while (now_ms() < until_ms) {
    for (size_t i = 0; i < CLIENTS; ++i) {
      take_all(clients[i], &beliefs[i]);
    }
    sleep_ms(5);
  }
  subscribe(player);
  read_state(player, rows, sizeof rows);
  truth.count = 0;
  for (char* line = strtok(rows, "\n"); line; line = strtok(NULL, "\n")) {
    believe(&truth, line);
  }
  assert_true(truth.count > 100);
  size_t errors = 0;
  for (size_t i = 0; i < CLIENTS; ++i) {
    errors += count_errors(&beliefs[i], &truth);
    client_free(clients[i]);
  }
  print_message("%zu datagrams lost, %zu things believed by each, %zu of them wrong\n", lost,
                truth.count, errors);
  assert_int_equal(errors, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
#define SERVED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
      SERVED(test_slots),
      SERVED(test_colours),
      SERVED(test_done_by_others),
      SERVED(test_hold),
      SERVED(test_echoes),
      SERVED(test_heartbeat),
      SERVED(test_rounds),
      SERVED(test_no_positions),
      SERVED(test_told_after_a_restart),
      SERVED(test_leases_of_others),
      SERVED(test_leases_of_those_not_allowed),
      SERVED(test_targets),
      SERVED(test_loss),
  };
  return cmocka_run_group_tests_name("osc feedback", tests, group_setup, group_teardown);
}
