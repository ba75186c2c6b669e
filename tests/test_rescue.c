/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What cannot go where it was played: the store is not there, is damaged, is an older
 * one, or others went on with the branch. All of it is kept somewhere, and nothing of it
 * in anybody else's music. Hosts are killed for it. */

#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/rig_music.h"

enum { NOTES = 50, EVENTS = 2 * NOTES };

/** Where stores are, beside the folder of the rings. */
static char data[4200];

static int setup_apart(void** state)
{
  (void)state;
  unsetenv("TMPDIR"); // Rings are counted: in memory, or they would lie beside those of others
  if (scratch_make()) {
    return -1;
  }
  snprintf(data, sizeof data, "%s", scratch_path("data"));
  unsetenv("HR_STORE");
  return mkdir(data, 0700) || setenv("XDG_RUNTIME_DIR", scratch, 1) ||
         setenv("XDG_DATA_HOME", data, 1);
}

static int teardown_apart(void** state)
{
  (void)state;
  scratch_remove();
  return 0;
}

static const char* in_data(const char* name)
{
  static char paths[4][4300];
  static unsigned turn;
  char* const path = paths[turn++ % 4];
  snprintf(path, sizeof paths[0], "%s/%s", data, name);
  return path;
}

static void play_notes(int count)
{
  for (int i = 0; i < count; ++i) {
    play_note(i * 100, (uint8_t)(i % 128), 50);
  }
  rig_run(&rig, count * 100 + 4800);
}

/** Rings that somebody left. */
static size_t rings(void)
{
  glob_t found;
  const bool none = glob(scratch_path("halfremembered/capture-*"), 0, NULL, &found);
  const size_t count = none ? 0 : found.gl_pathc;
  if (!none) {
    globfree(&found);
  }
  return count;
}

/** Events of all branches that can be read, in all trees. */
static uint64_t events_in(const char* path)
{
  HrStore* store = NULL;
  HrTxn* txn = NULL;
  uint64_t count = 0;
  assert_ok(hr_store_open(path, HR_STORE_READ_ONLY, &store, NULL));
  assert_ok(hr_txn_begin(store, HR_READ, &txn));
  for (HrTreeId id = 1; id < 10; ++id) {
    for (uint32_t number = 1; number < 1000; ++number) {
      HrBranch branch;
      count += hr_branch_get(txn, hr_branch_id(id, number), &branch) ? 0 : branch.event_count;
    }
  }
  hr_txn_abort(txn);
  hr_store_close(store);
  return count;
}

/** Do something in a process of its own, which does not end well if it is to be killed. */
static void apart(void (*act)(const void* with), const void* with, bool killed)
{
  int result = 0;
  fflush(NULL);
  const pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    act(with);
    if (killed) {
      kill(getpid(), SIGKILL);
    }
    _exit(0);
  }
  assert_int_equal(waitpid(child, &result, 0), child);
  assert_true(killed ? WIFSIGNALED(result) && WTERMSIG(result) == SIGKILL
                     : WIFEXITED(result) && WEXITSTATUS(result) == 0);
}

/* ---- A store that is not there ---------------------------------------------------- */

typedef struct {
  const char* first; ///< Asked for as the host starts; NULL: the default store
  const char* then;  ///< Asked for when its session is restored; NULL: nothing more
  bool leaves;       ///< The host ends well
} Asked;

static void play_nowhere(const void* with)
{
  const Asked* const asked = with;
  rig_open(&rig, &(HrAttachment){.store = asked->first});
  if (asked->then) {
    hr_session_attach(rig.session, &(HrAttachment){.store = asked->then}, NULL);
  }
  play_notes(NOTES);
  if (asked->leaves) {
    rig_close(&rig);
  }
}

/** Play while `missing` bars the way to the store, then open it where it is. */
static void assert_brought_in(const Asked* asked, const char* missing, const char* store)
{
  const int fd = open(missing, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  assert_true(fd >= 0);
  close(fd);
  apart(play_nowhere, asked, !asked->leaves);
  assert_int_equal(rings(), 1);
  assert_int_equal(unlink(missing) || mkdir(missing, 0700), 0);
  assert_true(rig_open(&rig, &(HrAttachment){.store = asked->then ? asked->then : asked->first}));
  assert_int_equal(state_now().rescued, EVENTS);
  rig_close(&rig);
  assert_int_equal(events_in(store), EVENTS);
  assert_int_equal(rings(), 0);
}

static void test_the_default_store_comes_later(void** state)
{
  (void)state;
  const char* const store = in_data("halfremembered/default.hr");
  assert_brought_in(&(Asked){0}, in_data("halfremembered"), store);
}

static void test_the_default_store_comes_after_the_host(void** state)
{
  (void)state;
  const char* const store = in_data("halfremembered/default.hr");
  assert_brought_in(&(Asked){.leaves = true}, in_data("halfremembered"), store);
}

static void test_another_store_is_wished_for(void** state)
{
  (void)state;
  char store[4300];
  snprintf(store, sizeof store, "%s", in_data("halfremembered/mine.hr"));
  assert_brought_in(&(Asked){.then = store}, in_data("halfremembered"), store);
}

static void test_a_store_behind_a_link_comes_later(void** state)
{
  (void)state;
  char real[4300];
  snprintf(real, sizeof real, "%s", in_data("real"));
  assert_int_equal(symlink(real, in_data("link")), 0);
  assert_brought_in(&(Asked){.first = in_data("link/mine.hr")}, real, in_data("real/mine.hr"));
}

static void test_a_store_named_from_here_comes_later(void** state)
{
  (void)state;
  char here[4096];
  assert_non_null(getcwd(here, sizeof here));
  assert_int_equal(chdir(data), 0);
  const char* const store = in_data("sub/mine.hr");
  const int fd = open("sub", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  close(fd);
  apart(play_nowhere, &(Asked){.first = "sub/mine.hr"}, true);
  unlink("sub");
  assert_int_equal(chdir(here), 0); // Who comes later is elsewhere
  assert_true(rig_open(&rig, &(HrAttachment){.store = store}));
  rig_close(&rig);
  assert_int_equal(events_in(store), EVENTS);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_apart, teardown_apart)
  const struct CMUnitTest tests[] = {
      TEST(test_the_default_store_comes_later),
      TEST(test_the_default_store_comes_after_the_host),
      TEST(test_another_store_is_wished_for),
      TEST(test_a_store_behind_a_link_comes_later),
      TEST(test_a_store_named_from_here_comes_later),
  };
  return cmocka_run_group_tests_name("rescue", tests, NULL, NULL);
}
