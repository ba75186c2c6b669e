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
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "plugin/session_internal.h"
#include "store/internal.h"
#include "tests/rig_music.h"

enum { NOTES = 50, EVENTS = 2 * NOTES };

/** Where stores are, beside the folder of the rings. */
static char data[4200];

static int setup_apart(void** state)
{
  (void)state;
  if (scratch_make()) {
    return -1;
  }
  snprintf(data, sizeof data, "%s", scratch_path("data"));
  unsetenv("HR_STORE");
  return mkdir(data, 0700) || setenv("XDG_DATA_HOME", data, 1);
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
  const bool none = glob(runtime_path("halfremembered/capture-*"), 0, NULL, &found);
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

/* ---- A ring that is damaged ------------------------------------------------------- */

static uint64_t events_in_ring;

enum { DAMAGED = 8 };

/** Have records of the ring be none, each in another way. All are of events. */
static void damage_ring(void* unused, HrCapture* capture)
{
  HrRecord* records[EVENTS];
  uint64_t position = hr_ring_read_position(&capture->ring);
  const HrRecord* record;
  (void)unused;
  events_in_ring = 0;
  while ((record = hr_ring_next(&capture->ring, &position))) {
    if (record->type == HR_CAPTURE_MIDI || record->type == HR_CAPTURE_META) {
      if (events_in_ring < EVENTS) {
        records[events_in_ring] = (HrRecord*)record;
      }
      ++events_in_ring;
    }
  }
  assert_true(events_in_ring >= EVENTS);
  records[20]->size = UINT32_MAX;
  ((HrCaptureHeader*)(records[40] + 1))->tick = INT64_MIN;
  memset(records[60], 0, hr_record_bytes(records[60]->size));
  records[80]->size += 2 * (uint32_t)hr_record_bytes(records[80]->size); // With others in it
  records[90]->type = UINT32_MAX;
  memset(records[50], 0, (size_t)((uint8_t*)records[53] - (uint8_t*)records[50]));
}

static void play_into_memory(const void* path)
{
  rig_open(&rig, &(HrAttachment){.store = path});
  play_notes(1);
  rig.idle = true;
  play_notes(NOTES);
}

/** What comes behind what is damaged is kept, and the rest is counted. */
static void test_a_damaged_ring_of_a_killed_host(void** state)
{
  (void)state;
  HrStore* store = NULL;
  uint64_t lost = 0;
  const char* const path = in_data("store.hr");
  apart(play_into_memory, path, true);
  assert_ok(hr_store_open(path, 0, &store, NULL));
  hr_capture_each_orphan(store, damage_ring, NULL);
  const uint64_t before = events_in(path);
  assert_int_equal(hr_session_recover(store, &lost), events_in_ring - DAMAGED);
  assert_int_equal(lost, DAMAGED);
  assert_int_equal(events_in(path), before + events_in_ring - DAMAGED);
  assert_int_equal(rings(), 0);
  hr_store_close(store);
}

static void test_a_ring_damaged_while_played_into(void** state)
{
  (void)state;
  const char* const path = in_data("store.hr");
  play_into_memory(path);
  const uint64_t before = events_in(path);
  damage_ring(NULL, rig.session->binding.capture);
  assert_ok(hr_session_flush(rig.session));
  assert_int_equal(state_now().dropped, DAMAGED);
  assert_int_equal(events_in(path), before + events_in_ring - DAMAGED);
  play_notes(1);
  assert_ok(hr_session_flush(rig.session));
  assert_int_equal(events_in(path), before + events_in_ring - DAMAGED + 2);
  rig_close(&rig);
}

/** What a fork's record says that no recorder writes. */
static void number_impossibly(HrRecord* record)
{
  ((HrCaptureHeader*)(record + 1))->branch = UINT32_MAX;
}

static void lengthen(HrRecord* record)
{
  record->size += (uint32_t)hr_record_bytes(sizeof(HrCaptureHeader) + 3); // With an event in it
}

/** What was played on a fork whose record is damaged is on another one. */
static void assert_kept_without_fork(void (*damage_fork)(HrRecord* record))
{
  const HrRecord* record;
  HrRecord* fork_record = NULL;
  uint64_t events = 0;
  const char* const path = in_data("store.hr");
  play_into_memory(path);
  assert_ok(rig_say(&rig, "fork", "x"));
  play_notes(NOTES);
  const uint64_t before = events_in(path);
  const HrRing* const ring = &rig.session->binding.capture->ring;
  for (uint64_t position = hr_ring_read_position(ring); (record = hr_ring_next(ring, &position));) {
    fork_record = record->type == HR_CAPTURE_FORK ? (HrRecord*)record : fork_record;
    events += record->type == HR_CAPTURE_MIDI || record->type == HR_CAPTURE_META;
  }
  assert_true(fork_record && events >= EVENTS);
  damage_fork(fork_record);
  assert_ok(hr_session_flush(rig.session));
  assert_int_equal(state_now().dropped, 1);
  assert_int_equal(events_in(path), before + events);
  rig_close(&rig);
}

static void test_a_damaged_fork_in_a_ring(void** state)
{
  (void)state;
  assert_kept_without_fork(number_impossibly);
}

static void test_a_fork_in_a_ring_that_hides_others(void** state)
{
  (void)state;
  assert_kept_without_fork(lengthen);
}

/** The search for a record ends, also where there is nothing for as long as the ring is. */
static void test_a_ring_of_zeros(void** state)
{
  (void)state;
  HrError error;
  HrCapture* const capture = hr_capture_new(&error);
  uint64_t position = 0;
  assert_non_null(capture);
  atomic_store(&capture->ring.positions->written, HR_CAPTURE_CAPACITY);
  hr_capture_step_over(capture, &position, HR_CAPTURE_CAPACITY);
  assert_int_equal(position, HR_CAPTURE_CAPACITY);
  hr_capture_free(capture, true);
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

/* ---- A store that is damaged, or older than the ring -------------------------------- */

static const char* damaged_store(void)
{
  return in_data("damaged.hr");
}

/** A store with a tree "t", whose main has a second of music. */
static void make_store(void)
{
  assert_true(rig_open(&rig, &(HrAttachment){.store = damaged_store(), .tree = "t"}));
  play_notes(NOTES);
  hr_session_flush(rig.session);
  rig_close(&rig);
  assert_int_equal(events_in(damaged_store()), EVENTS);
}

/** Flip a bit of a record. */
static void damage(MDB_dbi (*database)(const HrStore* store), const void* key, size_t size)
{
  HrStore* store = NULL;
  HrTxn* txn = NULL;
  uint8_t bytes[200];
  MDB_val k = {size, (void*)key};
  MDB_val v;
  assert_ok(hr_store_open(damaged_store(), 0, &store, NULL));
  assert_ok(hr_txn_begin(store, HR_WRITE, &txn));
  assert_int_equal(mdb_get(txn->txn, database(store), &k, &v), 0);
  assert_true(v.mv_size <= sizeof bytes);
  memcpy(bytes, v.mv_data, v.mv_size);
  bytes[0] ^= 1;
  v.mv_data = bytes;
  assert_int_equal(mdb_put(txn->txn, database(store), &k, &v, 0), 0);
  assert_ok(hr_txn_commit(txn));
  hr_store_close(store);
}

static MDB_dbi names(const HrStore* store)
{
  return store->names;
}

static MDB_dbi branches(const HrStore* store)
{
  return store->branches;
}

static MDB_dbi trees(const HrStore* store)
{
  return store->trees;
}

static MDB_dbi captures(const HrStore* store)
{
  return store->captures;
}

static void damage_branch(uint32_t number)
{
  const HrBranchId id = hr_branch_id(1, number);
  damage(branches, &id, sizeof id);
}

/** `kind`, a scope of eight bytes, and a name. */
static void damage_name(char kind, uint8_t scope, const char* name)
{
  uint8_t key[9 + HR_NAME_MAX] = {(uint8_t)kind, 0, 0, 0, 0, 0, 0, 0, scope};
  snprintf((char*)key + 9, HR_NAME_MAX, "%s", name);
  damage(names, key, 9 + strlen(name));
}

static HrSessionState state_of_rig(void)
{
  rig_run(&rig, BAR);
  return state_now();
}

/** A session plays on, and all of it is in the store, with what was there before. */
static void assert_plays_on(uint64_t before, bool told)
{
  assert_true(rig_open(&rig, &(HrAttachment){.store = damaged_store(), .tree = "t"}));
  play_notes(NOTES);
  const HrSessionState now = state_of_rig();
  assert_int_equal(now.dropped, 0);
  assert_int_equal(now.trouble, told ? HR_ERR_DAMAGED : HR_OK);
  play_notes(NOTES);
  hr_session_flush(rig.session);
  rig_close(&rig);
  assert_int_equal(events_in(damaged_store()), before + 2 * EVENTS);
  assert_int_equal(rings(), 0);
}

static void test_the_name_of_the_player_is_damaged(void** state)
{
  (void)state;
  make_store();
  damage_name('a', 0, "midi");
  assert_plays_on(EVENTS, false);
}

/** Somebody plays on a branch, with what is left in the ring. */
static void play_and_leave(const void* with)
{
  (void)with;
  rig_open(&rig, &(HrAttachment){.store = damaged_store(), .tree = "t"});
  rig_run(&rig, BAR);
  rig.idle = true;
  play_notes(NOTES);
}

/** The same after a fork, which is left there as well. */
static void fork_and_leave(const void* with)
{
  rig_open(&rig, &(HrAttachment){.store = damaged_store(), .tree = "t"});
  rig_run(&rig, BAR);
  rig.idle = true;
  rig_say(&rig, "fork", with);
  play_notes(NOTES);
}

/** The same after a fork, which is in the store, and a switch back and forth again. */
static void switch_and_leave(const void* with)
{
  (void)with;
  rig_open(&rig, &(HrAttachment){.store = damaged_store(), .tree = "t"});
  rig_say(&rig, "quantum", "now");
  rig_say(&rig, "fork", "b");
  rig_run(&rig, BAR);
  rig_say(&rig, "switch", "main");
  rig_run(&rig, BAR);
  hr_session_flush(rig.session);
  rig.idle = true;
  rig_say(&rig, "switch", "b");
  play_notes(NOTES);
}

/** Rings of which the store knows how far they were drained. */
static size_t known_rings(void)
{
  HrStore* store = NULL;
  HrTxn* txn = NULL;
  MDB_stat known;
  assert_ok(hr_store_open(damaged_store(), HR_STORE_READ_ONLY, &store, NULL));
  assert_ok(hr_txn_begin(store, HR_READ, &txn));
  assert_int_equal(mdb_stat(txn->txn, store->captures, &known), 0);
  hr_txn_abort(txn);
  hr_store_close(store);
  return known.ms_entries;
}

static void assert_recovered(uint64_t rescued, uint64_t in_store)
{
  HrStore* store = NULL;
  assert_ok(hr_store_open(damaged_store(), 0, &store, NULL));
  assert_int_equal(hr_session_recover(store, NULL), rescued);
  assert_int_equal(hr_session_recover(store, NULL), 0);
  hr_store_close(store);
  assert_int_equal(events_in(damaged_store()), in_store);
  assert_int_equal(rings(), 0);
  assert_int_equal(known_rings(), 0);
}

static void test_the_branch_of_a_ring_is_damaged(void** state)
{
  (void)state;
  make_store();
  apart(play_and_leave, NULL, true);
  damage_branch(1);
  assert_recovered(EVENTS, EVENTS); // What was in the store is behind the damage
}

static void test_what_a_fork_leads_from_is_damaged(void** state)
{
  (void)state;
  make_store();
  apart(fork_and_leave, "idea", true);
  damage_branch(1);
  assert_recovered(EVENTS, EVENTS);
}

static void test_what_a_switch_leads_to_is_damaged(void** state)
{
  (void)state;
  make_store();
  apart(switch_and_leave, NULL, true);
  HrStore* store = NULL;
  HrTxn* txn = NULL;
  HrBranchId branch;
  assert_ok(hr_store_open(damaged_store(), 0, &store, NULL));
  assert_ok(hr_txn_begin(store, HR_READ, &txn));
  assert_ok(hr_branch_find(txn, 1, "b", &branch));
  hr_txn_abort(txn);
  hr_store_close(store);
  damage_branch(hr_branch_number(branch));
  assert_recovered(EVENTS, 2 * EVENTS); // On a fork of main
}

static void test_the_name_of_the_next_branch_is_damaged(void** state)
{
  (void)state;
  make_store();
  apart(switch_and_leave, NULL, true);
  assert_recovered(EVENTS, 2 * EVENTS);
  apart(fork_and_leave, "b", true); // Its name is taken, and that is damaged
  damage_name('b', 1, "b");
  assert_recovered(EVENTS, 3 * EVENTS);
}

static void test_the_tree_is_damaged(void** state)
{
  (void)state;
  const uint64_t tree = 1;
  make_store();
  apart(fork_and_leave, NULL, true);
  damage(trees, &tree, sizeof tree);
  assert_recovered(EVENTS, 2 * EVENTS);
}

/** The store's only ring of which it knows. */
static void damage_capture(void)
{
  HrStore* store = NULL;
  HrTxn* txn = NULL;
  MDB_cursor* cursor;
  MDB_val key, value;
  uint8_t uuid[16];
  assert_ok(hr_store_open(damaged_store(), 0, &store, NULL));
  assert_ok(hr_txn_begin(store, HR_READ, &txn));
  assert_int_equal(mdb_cursor_open(txn->txn, store->captures, &cursor), 0);
  assert_int_equal(mdb_cursor_get(cursor, &key, &value, MDB_FIRST), 0);
  memcpy(uuid, key.mv_data, sizeof uuid);
  mdb_cursor_close(cursor);
  hr_txn_abort(txn);
  hr_store_close(store);
  damage(captures, uuid, sizeof uuid);
}

static void test_how_far_a_ring_was_drained_is_damaged(void** state)
{
  (void)state;
  make_store();
  apart(switch_and_leave, NULL, true);
  damage_capture();
  assert_recovered(EVENTS, 2 * EVENTS);
}

static void test_the_root_is_damaged_while_somebody_plays(void** state)
{
  (void)state;
  make_store();
  assert_true(rig_open(&rig, &(HrAttachment){.store = damaged_store(), .tree = "t"}));
  rig_run(&rig, BAR);
  damage_branch(1);
  play_notes(NOTES);
  HrSessionState now = state_of_rig();
  assert_int_equal(now.dropped, 0);
  assert_int_equal(now.trouble, HR_ERR_DAMAGED);
  assert_true(strlen(now.trouble_text) > 40);
  assert_int_equal(now.failed_commits, 0);
  const HrTreeId tree = now.tree;
  assert_ok(rig_say(&rig, "fork", "on"));
  play_notes(NOTES);
  now = state_of_rig();
  assert_int_equal(now.tree, tree);
  assert_string_equal(now.branch_name, "on");
  rig_close(&rig);
  assert_int_equal(events_in(damaged_store()), 2 * EVENTS);
  assert_int_equal(rings(), 0);
}

/** Play over the past of a branch whose ancestor is damaged, and at its end. */
static void test_an_ancestor_is_damaged(void** state)
{
  (void)state;
  make_store();
  apart(fork_and_leave, "b", true);
  assert_recovered(EVENTS, 2 * EVENTS);
  damage_branch(1);
  assert_true(rig_open(&rig, &(HrAttachment){.store = damaged_store(), .tree = "t"}));
  rig_transport(&rig, true, 4000);
  play_notes(NOTES);
  assert_int_equal(state_of_rig().dropped, 0);
  rig_transport(&rig, true, 100 * BAR);
  play_notes(NOTES);
  const HrSessionState now = state_of_rig();
  assert_int_equal(now.dropped, 0);
  assert_int_equal(now.failed_commits, 0);
  rig_close(&rig);
  assert_true(events_in(damaged_store()) >= 3 * EVENTS); // And what was held at the forks
  assert_int_equal(rings(), 0);
}

static void copy_file(const char* from, const char* to)
{
  char command[9000];
  snprintf(command, sizeof command, "cp '%s' '%s.part' && mv '%s.part' '%s'", from, to, to, to);
  assert_int_equal(system(command), 0);
}

static void test_an_older_store_is_put_back(void** state)
{
  (void)state;
  HrStore* store = NULL;
  assert_ok(hr_store_open(damaged_store(), HR_STORE_CREATE, &store, NULL));
  hr_store_close(store);
  copy_file(damaged_store(), in_data("older.hr"));
  make_store();
  apart(fork_and_leave, "idea", true);
  copy_file(in_data("older.hr"), damaged_store());
  assert_recovered(EVENTS, EVENTS);
  assert_plays_on(EVENTS, false); // On the tree of that name
}

/* ---- Rings of others ------------------------------------------------------------- */

/** What a host does that another program meets in the midst of something. */
typedef enum { STARTS, RUNS, PLAYS, HAS_PLAYED } Doing;

static _Atomic Doing* doing; ///< Shared with the host
static pid_t host;           ///< To be killed as somebody is about to take its ring; 0: nobody

static void wait_for(Doing what)
{
  while (*doing != what) {
    usleep(100);
  }
}

/** Stands in for the C library's: just before a ring is locked, its host plays and dies. */
__attribute__((visibility("default"))) int flock(int fd, int operation)
{
  struct stat info;
  if (host && !fstat(fd, &info) && info.st_size > (off_t)HR_CAPTURE_CAPACITY) {
    *doing = PLAYS;
    wait_for(HAS_PLAYED);
    kill(host, SIGKILL);
    waitpid(host, NULL, 0);
    host = 0;
  }
  return (int)syscall(SYS_flock, fd, operation);
}

static void play_when_told(const char* store)
{
  rig_open(&rig, &(HrAttachment){.store = store, .tree = "t"});
  rig_run(&rig, BAR);
  rig.idle = true;
  *doing = RUNS;
  wait_for(PLAYS);
  play_notes(NOTES);
  *doing = HAS_PLAYED;
  pause();
}

static uint64_t recovered_by(const char* path)
{
  HrStore* store = NULL;
  assert_ok(hr_store_open(path, HR_STORE_CREATE, &store, NULL));
  const uint64_t count = hr_session_recover(store, NULL);
  hr_store_close(store);
  return count;
}

/** Somebody opens another store and finds a ring with nothing in it, whose host goes on. */
static void test_an_empty_ring_is_played_into(void** state)
{
  (void)state;
  doing = mmap(NULL, sizeof *doing, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_true(doing != MAP_FAILED);
  const pid_t child = fork();
  if (child == 0) {
    play_when_told(in_data("mine.hr"));
    _exit(0);
  }
  wait_for(RUNS);
  host = child;
  assert_int_equal(recovered_by(in_data("other.hr")), 0);
  assert_int_equal(host, 0);
  assert_int_equal(recovered_by(in_data("mine.hr")), EVENTS);
  assert_int_equal(events_in(in_data("mine.hr")), EVENTS);
  assert_int_equal(events_in(in_data("other.hr")), 0);
  assert_int_equal(rings(), 0);
  munmap((void*)doing, sizeof *doing);
}

/* ---- Others go on with a branch --------------------------------------------------- */

/** Somebody else plays on a branch, without a ring. */
static void play_elsewhere(const char* path, uint32_t number, double beat)
{
  static const uint8_t bytes[] = {0x9f, 1, 1};
  const HrEvent event = {ticks(beat), HR_EVENT_MIDI, sizeof bytes, bytes};
  HrStore* store = NULL;
  HrTxn* txn = NULL;
  assert_ok(hr_store_open(path, 0, &store, NULL));
  assert_ok(hr_txn_begin(store, HR_WRITE, &txn));
  assert_ok(hr_append(txn, hr_branch_id(1, number), &event, NULL));
  assert_ok(hr_txn_commit(txn));
  hr_store_close(store);
}

/** Main ends with what somebody else played, and the rest is on a fork, and on a fork of that. */
static void assert_on_forks(uint64_t on_main, uint64_t on_fork, uint64_t on_next)
{
  const uint64_t counts[] = {on_main, on_fork, on_next};
  HrStore* store = NULL;
  HrTxn* txn = NULL;
  HrBranch branch;
  uint32_t number = 0;
  assert_ok(hr_store_open(damaged_store(), HR_STORE_READ_ONLY, &store, NULL));
  assert_ok(hr_txn_begin(store, HR_READ, &txn));
  for (int i = 0; i < 3 && counts[i]; ++i) {
    assert_ok(hr_branch_next(txn, 1, number, &branch));
    assert_int_equal(branch.event_count, counts[i]);
    number = hr_branch_number(branch.id);
  }
  assert_int_equal(hr_branch_next(txn, 1, number, &branch), HR_END);
  hr_txn_abort(txn);
  hr_store_close(store);
}

enum { MANY = 50000 };

static bool dies_in_commit; ///< The process is killed as soon as a commit is in the file

/** Stands in for the C library's. LMDB's last write of a commit goes to one of two pages. */
__attribute__((visibility("default"))) ssize_t pwrite(int fd, const void* bytes, size_t size,
                                                      off_t offset)
{
  const ssize_t written = syscall(SYS_pwrite64, fd, bytes, size, offset);
  if (dies_in_commit && size < HR_PAGE_SIZE && offset < 2 * (off_t)HR_PAGE_SIZE) {
    kill(getpid(), SIGKILL);
  }
  return written;
}

static void play_much_and_leave(const void* store)
{
  rig_open(&rig, &(HrAttachment){.store = store, .tree = "t"});
  rig_run(&rig, BAR);
  rig.idle = true;
  play_notes(MANY);
}

static void go_round_and_leave(const void* store)
{
  rig_open(&rig, &(HrAttachment){.store = store, .tree = "loop"});
  rig.idle = true;
  rig_play(&rig, 3 * BEAT, 0xb0, 11, 40);
  for (int pass = 0; pass < 2; ++pass) {
    rig_transport(&rig, true, 0);
    play_note(BEAT, 60, BEAT);
    rig_run(&rig, BAR);
  }
}

/** What a pass was played with is in the ring as well: nobody alive knows it. */
static void test_a_pass_sounds_as_played_after_a_rescue(void** state)
{
  (void)state;
  apart(go_round_and_leave, damaged_store(), true);
  assert_true(rig_open(&rig, &(HrAttachment){.store = damaged_store(), .tree = "loop"}));
  const Music music = music_of("main pass 2");
  rig_close(&rig);
  assert_int_equal(music.count, 3);
  assert_int_equal(music.tick[0], 0);
  assert_memory_equal(music.bytes[0], ((uint8_t[]){0xb0, 11, 40}), 3);
}

/** What a ring holds takes more than one transaction, and somebody else's event lies in
 * the midst of it. */
static void test_a_rescue_of_much(void** state)
{
  (void)state;
  make_store();
  apart(play_much_and_leave, damaged_store(), true);
  play_elsewhere(damaged_store(), 1, 120.0); // Of 208
  assert_recovered(2 * MANY, EVENTS + 1 + 2 * MANY);
  assert_on_forks(EVENTS + 1, 2 * MANY, 0);
}

static void recover_and_die(const void* path)
{
  HrStore* store = NULL;
  assert_ok(hr_store_open(path, 0, &store, NULL));
  dies_in_commit = true;
  hr_session_recover(store, NULL);
}

/** Who brings that in is killed after the first transaction: the next one knows where the
 * rest goes, although on its branch it would find room again. */
static void test_a_rescue_outlives_who_made_it(void** state)
{
  (void)state;
  make_store();
  apart(play_much_and_leave, damaged_store(), true);
  play_elsewhere(damaged_store(), 1, 60.0);
  apart(recover_and_die, damaged_store(), true);
  assert_recovered(MANY + 1, EVENTS + 1 + 2 * MANY); // The first record is no event, but a state
  assert_on_forks(EVENTS + 1, 2 * MANY, 0);
}

/** A rescue happens during a block, before whose end the engine does not hear of it.
 * Others may go on with the fork as well. */
static void play_past_others_and_leave(const void* others_follow)
{
  rig_open(&rig, &(HrAttachment){.store = damaged_store(), .tree = "t"});
  rig_run(&rig, BAR);
  rig.idle = true;
  play_notes(NOTES);
  play_elsewhere(damaged_store(), 1, 12.0);
  rig_run(&rig, 8 * BEAT);
  hr_engine_begin(rig.engine, rig.block, true, (HrSink){rig_write, &rig});
  hr_session_flush(rig.session);
  if (others_follow) {
    HrSessionState now;
    hr_session_state(rig.session, &now);
    play_elsewhere(damaged_store(), hr_branch_number(now.branch), 20.0);
  }
  for (uint32_t i = 0; i < 10; ++i) {
    const uint8_t note[] = {i % 2 ? 0x80 : 0x90, 60, 100};
    hr_engine_midi(rig.engine, i, note, sizeof note);
  }
  hr_engine_end(rig.engine);
}

static void test_a_rescue_outlives_its_host(void** state)
{
  (void)state;
  make_store();
  apart(play_past_others_and_leave, NULL, true);
  assert_recovered(10, 2 * EVENTS + 1 + 10);
  assert_on_forks(EVENTS + 1, EVENTS + 10, 0);
}

static void test_a_rescue_from_a_rescue(void** state)
{
  (void)state;
  make_store();
  apart(play_past_others_and_leave, "they do", true);
  assert_recovered(10, 2 * EVENTS + 2 + 10);
  assert_on_forks(EVENTS + 1, EVENTS + 1, 10);
}

/* ---- A ring that is full ---------------------------------------------------------- */

/** Forks for whose records there is no room are said not to have been made, and are in
 * nobody's way. */
static void test_forks_beyond_a_full_ring(void** state)
{
  (void)state;
  int taken = 0;
  make_store();
  assert_true(rig_open(&rig, &(HrAttachment){.store = damaged_store(), .tree = "t"}));
  rig_run(&rig, BAR);
  rig.idle = true;
  play_notes(70000);
  assert_true(rig.engine->recorder.dropped > 0);
  while (!rig_say(&rig, "fork", "lost") && taken < 2 * HR_PENDING_FORKS) {
    rig_run(&rig, 512);
    ++taken;
  }
  assert_int_equal(taken, HR_PENDING_FORKS);
  rig.idle = false;
  HrSessionState now = state_of_rig();
  assert_int_equal(now.trouble, HR_ERR_LIMIT);
  assert_non_null(strstr(now.trouble_text, "lost"));
  assert_string_equal(now.branch_name, "main");
  for (int i = 0; i < 2 * HR_PENDING_FORKS; ++i) {
    assert_ok(rig_say(&rig, "fork", i % 2 ? NULL : "made"));
    rig_run(&rig, 4800);
  }
  assert_ok(rig_say(&rig, "fork", "last"));
  now = state_of_rig();
  assert_string_equal(now.branch_name, "last");
  assert_int_equal(now.trouble, HR_OK);
  rig_close(&rig);
}

/** One that the engine has not heard of yet is not taken for lost, however much is drained. */
static void test_a_fork_waits_for_the_next_block(void** state)
{
  (void)state;
  make_store();
  assert_true(rig_open(&rig, &(HrAttachment){.store = damaged_store(), .tree = "t"}));
  rig_run(&rig, BAR);
  rig.idle = true;
  play_notes(NOTES);
  assert_ok(rig_say(&rig, "fork", "idea"));
  assert_int_equal(state_now().trouble, HR_OK); // What was played is drained
  assert_int_equal(state_now().trouble, HR_OK); // Nothing is left to be drained
  rig_run_block(&rig, 256);
  assert_string_equal(state_now().branch_name, "idea");
  rig_close(&rig);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_apart, teardown_apart)
  const struct CMUnitTest tests[] = {
      TEST(test_a_damaged_ring_of_a_killed_host),
      TEST(test_a_ring_damaged_while_played_into),
      TEST(test_a_damaged_fork_in_a_ring),
      TEST(test_a_fork_in_a_ring_that_hides_others),
      TEST(test_a_ring_of_zeros),
      TEST(test_the_default_store_comes_later),
      TEST(test_the_default_store_comes_after_the_host),
      TEST(test_another_store_is_wished_for),
      TEST(test_a_store_behind_a_link_comes_later),
      TEST(test_a_store_named_from_here_comes_later),
      TEST(test_the_name_of_the_player_is_damaged),
      TEST(test_the_branch_of_a_ring_is_damaged),
      TEST(test_what_a_fork_leads_from_is_damaged),
      TEST(test_what_a_switch_leads_to_is_damaged),
      TEST(test_the_name_of_the_next_branch_is_damaged),
      TEST(test_the_tree_is_damaged),
      TEST(test_how_far_a_ring_was_drained_is_damaged),
      TEST(test_the_root_is_damaged_while_somebody_plays),
      TEST(test_an_ancestor_is_damaged),
      TEST(test_an_older_store_is_put_back),
      TEST(test_an_empty_ring_is_played_into),
      TEST(test_a_rescue_of_much),
      TEST(test_a_rescue_outlives_who_made_it),
      TEST(test_a_pass_sounds_as_played_after_a_rescue),
      TEST(test_a_rescue_outlives_its_host),
      TEST(test_a_rescue_from_a_rescue),
      TEST(test_forks_beyond_a_full_ring),
      TEST(test_a_fork_waits_for_the_next_block),
  };
  return cmocka_run_group_tests_name("rescue", tests, NULL, NULL);
}
