/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* The tool asks a plugin that runs, over its real endpoint: what it prints, and how it ends. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/osc_rig.h"

#define TOOL HR_TEST_BUNDLE "../halfremembered"

static atomic_uint sync_ms; ///< How long the disk takes to sync

__attribute__((visibility("default"))) int fdatasync(int fd)
{
  sleep_ms(atomic_load(&sync_ms));
  return (int)syscall(SYS_fdatasync, fd);
}

static char* const said = rows;  ///< By the tool the last time
static char complained[1 << 12]; ///< The same

static void read_file(const char* name, char* text, size_t size)
{
  FILE* const file = fopen(scratch_path(name), "r");
  assert_non_null(file);
  text[fread(text, 1, size - 1, file)] = '\0';
  fclose(file);
}

/** Run the tool with "osc" and these arguments, as a shell reads them. Returns its exit status. */
static int ask(const char* arguments)
{
  char command[4096];
  snprintf(command, sizeof command, "'%s' osc %s >'%s' 2>'%s'", TOOL, arguments,
           scratch_path("said"), scratch_path("complained"));
  const int status = system(command); // NOLINT(cert-env33-c)
  read_file("said", rows, sizeof rows);
  read_file("complained", complained, sizeof complained);
  assert_true(WIFEXITED(status));
  return WEXITSTATUS(status);
}

static void assert_asked(const char* arguments, const char* answer)
{
  assert_int_equal(ask(arguments), 0);
  assert_string_equal(said, answer);
  assert_string_equal(complained, "");
}

static void assert_refused(const char* arguments, int status, const char* reason)
{
  assert_int_equal(ask(arguments), status);
  assert_string_equal(said, "");
  if (!strstr(complained, reason)) {
    fail_msg("\"%s\" is not in: %s", reason, complained);
  }
}

static void test_each_row_is_shown(void** state)
{
  (void)state;
  assert_asked("/hr/1/branch", "/reply /hr/1/branch row 1 \"main\" 0 0 0 0 \"active\" 1\n"
                               "/reply /hr/1/branch ok\n");
  assert_int_equal(ask("/hr/help"), 0); // In several datagrams
  assert_non_null(strstr(said, "/reply /hr/help row \"/hr/ping\""));
  assert_non_null(strstr(said, "/reply /hr/help ok\n"));
}

/** A name of digits is a name, a number is one, and a place stays what was typed. */
static void test_arguments_are_what_the_command_takes(void** state)
{
  (void)state;
  char name[HR_NAME_MAX + 1];
  HrTxn* txn = NULL;
  HrStore* store = NULL;
  assert_int_equal(ask("/hr/1/fork/at 1.1 12"), 0);
  assert_int_equal(ask("/hr/1/emotion 0.5 -0.25 1 glad"), 0);
  assert_non_null(strstr(said, " 0.5 -0.25 1 \"glad\"\n"));
  assert_int_equal(ask("/hr/1/emotion -1 -.5 0 -- -s"), 0);
  assert_non_null(strstr(said, " -1 -0.5 0 \"-s\"\n"));
  assert_int_equal(ask("/hr/1/quantum 4"), 0); // One of a list may be told by its number
  assert_asked("/hr/1/get quantum", "/reply /hr/1/get row \"quantum\" \"2 bars\"\n"
                                    "/reply /hr/1/get ok\n");
  assert_int_equal(ask("/hr/1/quantum '4 bars'"), 0);
  assert_int_equal(ask("/hr/1/standing 1"), 0);
  assert_asked("/hr/1/get standing", "/reply /hr/1/get row \"standing\" \"append\"\n"
                                     "/reply /hr/1/get ok\n");
  assert_refused("/hr/1/standing 3", 1, "0 to 2");
  assert_refused("/hr/1/quantum -1", 1, "0 to 6");
  assert_int_equal(ask("/hr/1/switch 1"), 0);
  assert_non_null(strstr(said, "row 1 \"main\""));
  assert_int_equal(hr_store_open(scratch_path("music.hr"), 0, &store, NULL), HR_OK);
  assert_int_equal(hr_txn_begin(store, HR_READ, &txn), HR_OK);
  assert_int_equal(hr_branch_name(txn, hr_branch_id(1, 2), name), HR_OK);
  assert_string_equal(name, "12");
  hr_txn_abort(txn);
  hr_store_close(store);
  assert_refused("/hr/1/send 144 60 100 5.1", 1, "host"); // There is none in this test
  assert_refused("/hr/1/send 192 5 5.1", 1, "host");
  assert_refused("/hr/1/send 144 60 nonsense", 1, "one whole MIDI message");
}

static void test_a_pattern_asks_all(void** state)
{
  (void)state;
  assert_int_equal(ask("'/hr/*/branch'"), 0);
  assert_non_null(strstr(said, "/reply /hr/1/branch ok\n"));
  assert_non_null(strstr(said, "/reply /hr/2/branch ok\n"));
}

/** However long each of them takes: the answers of all are waited for. */
static void test_a_pattern_asks_all_on_a_slow_disk(void** state)
{
  (void)state;
  atomic_store(&sync_ms, 400);
  assert_int_equal(ask("'/hr/*/note' slow"), 0);
  atomic_store(&sync_ms, 0);
  assert_non_null(strstr(said, "/reply /hr/1/note ok\n"));
  assert_non_null(strstr(said, "/reply /hr/2/note ok\n"));
  assert_null(strstr(said, "ping"));
  assert_refused("'/hr/[9/note' slow", 1, "/hr/[9/note: ");
}

static void test_an_error_is_one(void** state)
{
  (void)state;
  assert_refused("/hr/1/swich main", 1, "switch");
  assert_refused("/hr/1/switch nowhere", 1, "/hr/1/switch: ");
  assert_refused("fork", 2, "/hr/1/fork");
  assert_refused("osc.tcp://127.0.0.1:9770/ /hr/ping", 2, "no address");
  assert_refused("osc.udp://somewhere:9770/ /hr/ping", 2, "no URL");
  assert_refused("osc.udp://127.0.0.1:75306/ /hr/ping", 2, "no URL"); // 9770 and 65536
  assert_refused("osc.udp://127.0.0.1:-1/ /hr/ping", 2, "no URL");
}

/** A port where nobody listens, or where somebody does and says nothing. */
static void test_nobody_answers(void** state)
{
  Client* const client = *state;
  char silent[64];
  snprintf(silent, sizeof silent, "osc.udp://127.0.0.1:%d/ /hr/ping", client_port(client));
  assert_refused(silent, 1, "Nothing answers");
  assert_refused("osc.udp://127.0.0.1:1/ /hr/ping", 1, "Nothing answers");
}

/** Put a file beside the URL file. */
static void put_url(const char* name, const char* url)
{
  FILE* const file = fopen(runtime_path(name), "w");
  assert_non_null(file);
  fprintf(file, "%s\n", url);
  fclose(file);
}

static void test_which_host(void** state)
{
  (void)state;
  char gone[64];
  char two[64];
  const pid_t child = fork();
  if (child == 0) {
    _exit(0);
  }
  assert_int_equal(waitpid(child, NULL, 0), child);
  snprintf(gone, sizeof gone, "halfremembered/osc-%ld.url", (long)child);
  put_url(gone, "osc.udp://127.0.0.1:1/");
  assert_int_equal(ask("/hr/1/branch"), 0);
  snprintf(two, sizeof two, "halfremembered/osc-%ld.url", (long)getppid());
  put_url(two, "osc.udp://127.0.0.1:2/");
  assert_refused("/hr/1/branch", 1, "osc.udp://127.0.0.1:2/");
  snprintf(two, sizeof two, "%s /hr/1/branch", hr_osc_url());
  assert_int_equal(ask(two), 0);
  snprintf(two, sizeof two, "halfremembered/osc-%ld.url", (long)getppid());
  unlink(runtime_path(two));
  setenv("XDG_RUNTIME_DIR", scratch_path("elsewhere"), 1);
  assert_int_equal(mkdir(scratch_path("elsewhere"), 0700), 0);
  assert_refused("/hr/1/branch", 1, "load it in a host");
  setenv("XDG_RUNTIME_DIR", runtime, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(test_each_row_is_shown),  TEST(test_arguments_are_what_the_command_takes),
      TEST(test_a_pattern_asks_all), TEST(test_a_pattern_asks_all_on_a_slow_disk),
      TEST(test_an_error_is_one),    TEST(test_nobody_answers),
      TEST(test_which_host),
  };
  return cmocka_run_group_tests_name("ask", tests, group_setup, group_teardown);
}
