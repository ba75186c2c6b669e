/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Disks that fail for a while: nothing played is lost, and recording goes on by
 * itself. The calls of the C library are stood in for here. */

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "plugin/plugin.h"
#include "tests/host/lv2_host.h"
#include "tests/rig_music.h"
#include "tests/scratch_disk.h"

#define EXPORT __attribute__((visibility("default")))

static int sync_error;  ///< What fdatasync fails with; 0: it works
static int write_error; ///< What writes at an offset fail with

static _Atomic unsigned sync_ms; ///< How long the disk takes to sync
static _Atomic unsigned syncs_begun;

static void be_slow(void)
{
  syncs_begun += 1;
  const struct timespec time = {sync_ms / 1000, sync_ms % 1000 * 1000000};
  nanosleep(&time, NULL);
}

EXPORT int fdatasync(int fd)
{
  be_slow();
  errno = sync_error;
  return sync_error ? -1 : (int)syscall(SYS_fdatasync, fd);
}

static mode_t unsyncable; ///< What kind of file fsync fails for

EXPORT int fsync(int fd)
{
  struct stat info;
  const bool fails = unsyncable && !fstat(fd, &info) && (info.st_mode & S_IFMT) == unsyncable;
  errno = EIO;
  return fails ? -1 : (int)syscall(SYS_fsync, fd);
}

static int writes_to_live; ///< The program is killed within this write, half done; 0: never

EXPORT ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset)
{
  if (writes_to_live && --writes_to_live == 0) {
    syscall(SYS_pwrite64, fd, bytes, size / 2, offset);
    raise(SIGKILL);
  }
  if (sync_ms && fcntl(fd, F_GETFL) & O_DSYNC) {
    be_slow();
  }
  errno = write_error;
  return write_error ? -1 : syscall(SYS_pwrite64, fd, bytes, size, offset);
}

EXPORT ssize_t writev(int fd, const struct iovec* parts, int count)
{
  errno = write_error;
  return write_error ? -1 : syscall(SYS_writev, fd, parts, count);
}

static int64_t wall_step;      ///< Seconds the wall clock was set on by
static int64_t monotonic_step; ///< Seconds that pass without waiting for them

EXPORT int clock_gettime(clockid_t clock, struct timespec* now)
{
  const int result = (int)syscall(SYS_clock_gettime, clock, now);
  now->tv_sec += clock == CLOCK_REALTIME ? wall_step : monotonic_step;
  return result;
}

enum { NOTES = 500 };

static void play_notes(void)
{
  for (int i = 0; i < NOTES; ++i) {
    play_note(i * 200, (uint8_t)(i % 128), 100);
  }
  rig_run(&rig, NOTES * 200 + BEAT);
}

/** The trouble is told, and the music of before, during and after is there. */
static void assert_trouble_told(HrStatus expected)
{
  const HrSessionState now = state_now();
  assert_int_equal(now.trouble, expected);
  assert_true(strlen(now.trouble_text) > 40);
  assert_int_equal(now.dropped, 0);
}

static int64_t failed_commits_told;

static void read_told(void* data, const HrValue* values, size_t count)
{
  (void)data;
  if (count == 2 && !strcmp(values[0].text, "failed_commits")) {
    failed_commits_told = values[1].integer;
  }
}

static void assert_told(const char* query, uint64_t failed_commits)
{
  const HrAnswer answer = {read_told, NULL};
  failed_commits_told = -1;
  assert_ok(hr_command_run(rig.session, query, NULL, 0, "test", &answer, NULL));
  assert_int_equal(failed_commits_told, failed_commits);
}

static void assert_recovered(int notes)
{
  rig_run(&rig, BAR);
  const HrSessionState now = state_now();
  assert_int_equal(now.trouble, HR_OK);
  assert_true(now.failed_commits > 0);
  assert_told("get", now.failed_commits);
  assert_told("stats", now.failed_commits);
  assert_int_equal(music_of("main").count, 2 * notes);
}

/** What the player is told, by itself and in answer to a command, ends with what to do. */
static void assert_advice(HrStatus expected)
{
  const HrValue name = hr_value_text("chorus");
  const HrSessionState now = state_now();
  HrError error;
  assert_non_null(strstr(now.trouble_text, hr_advice(expected)));
  assert_int_equal(hr_command_run(rig.session, "mark", &name, 1, "test", NULL, &error), expected);
  assert_non_null(strstr(error.text, hr_advice(expected)));
}

static void fail_for_a_while(int* error, int code, HrStatus expected)
{
  play_notes();
  assert_int_equal(state_now().trouble, HR_OK);
  assert_int_equal(state_now().failed_commits, 0);
  *error = code;
  play_notes();
  assert_trouble_told(expected);
  assert_advice(expected);
  *error = 0;
  play_notes();
  assert_recovered(3 * NOTES);
}

static void test_a_failed_sync_is_recovered_from(void** state)
{
  (void)state;
  fail_for_a_while(&sync_error, EIO, HR_ERR_IO);
}

static void test_a_failed_write_is_recovered_from(void** state)
{
  (void)state;
  fail_for_a_while(&write_error, EIO, HR_ERR_IO);
}

static void test_a_quota_is_survived(void** state)
{
  (void)state;
  fail_for_a_while(&write_error, EDQUOT, HR_ERR_NO_SPACE);
}

/** As after an error of the disk, when the kernel takes no more writes to it; it
 * does so by order only of a disk without files open for writing. */
static void test_a_disk_gone_read_only_is_recovered_from(void** state)
{
  (void)state;
  fail_for_a_while(&write_error, EROFS, HR_ERR_READ_ONLY);
}

/** What the session says by itself, without being asked to write. */
static HrSessionState worked_state(void)
{
  HrSessionState state;
  rig_run(&rig, BEAT);
  hr_session_state(rig.session, &state);
  return state;
}

/** Set back by an hour, as by the network or by hand: neither commits nor their
 * retries wait for it to be then again. */
static void test_a_clock_set_back_delays_nothing(void** state)
{
  (void)state;
  play_notes();
  sync_error = EIO;
  play_notes();
  assert_trouble_told(HR_ERR_IO);
  sync_error = 0;
  wall_step = -3600;
  monotonic_step += 2;
  const HrStatus after_retry = worked_state().trouble;
  play_note(0, 60, 100);
  rig_run(&rig, BEAT);
  monotonic_step += 1;
  worked_state();
  const size_t waiting = hr_ring_used(&atomic_load(&rig.engine->shared.capture)->ring);
  wall_step = 0;
  assert_int_equal(after_retry, HR_OK);
  assert_int_equal(waiting, 0);
}

static HrStatus rename_branch(const char* from, const char* to)
{
  const HrValue values[] = {hr_value_text(from), hr_value_text(to)};
  return hr_command_run(rig.session, "rename", values, 2, "test", NULL, NULL);
}

/** What the journal tells, its operations in their order, and when. */
static size_t read_journal(HrOperation operations[32], int64_t times[32])
{
  const HrSessionState now = state_now();
  HrStore* store = NULL;
  HrTxn* txn = NULL;
  HrJournalEntry entry = {0};
  size_t count = 0;
  assert_ok(hr_store_open(now.store_path, 0, &store, NULL));
  assert_ok(hr_txn_begin(store, HR_READ, &txn));
  while (count < 32 && !hr_journal_next(txn, now.tree, entry.sequence, &entry)) {
    operations[count] = entry.operation;
    times[count++] = entry.time_ns;
  }
  hr_txn_abort(txn);
  hr_store_close(store);
  return count;
}

/** Set on by years while recording, as on a machine whose clock has lost its battery, when the
 * network is there; and back again. It is written down as it is, and nothing else goes by it:
 * no note waits, none is lost or in another order, nor is what was commanded. */
static void test_a_clock_set_on_is_only_written_down(void** state)
{
  (void)state;
  static const int64_t steps[] = {0, INT64_C(50) * 365 * 86400, 0};
  static const char* const names[] = {"main", "before", "while", "after"};
  HrOperation operations[32];
  int64_t times[32];
  for (size_t i = 0; i < 3; ++i) {
    wall_step = steps[i];
    rig.idle = true; // Captured under one clock, drained under the next
    play_notes();
    wall_step = steps[(i + 1) % 3];
    rig.idle = false;
    rig_run(&rig, BEAT);
    monotonic_step += 1;
    assert_int_equal(worked_state().trouble, HR_OK);
    assert_int_equal(hr_ring_used(&atomic_load(&rig.engine->shared.capture)->ring), 0);
    wall_step = steps[i];
    assert_ok(rename_branch(names[i], names[i + 1]));
  }
  wall_step = 0;
  const Music music = music_of("after");
  assert_int_equal(music.count, 3 * 2 * NOTES);
  for (int i = 1; i < music.count; ++i) {
    assert_true(music.tick[i] >= music.tick[i - 1]);
  }
  const size_t count = read_journal(operations, times);
  assert_true(count >= 4);
  for (size_t i = 0; i < 3; ++i) {
    assert_int_equal(operations[count - 3 + i], HR_OPERATION_RENAME);
    const int64_t off = times[count - 3 + i] - hr_wall_clock_ns() - steps[i] * 1000000000;
    assert_true(llabs(off) < INT64_C(3600) * 1000000000);
  }
  /* Undo goes by the journal's order, not by its times. */
  assert_ok(hr_command_run(rig.session, "undo", NULL, 0, "test", NULL, NULL));
  assert_int_equal(music_of("while").count, music.count);
  assert_int_equal(state_now().dropped, 0);
}

/** A commit that fails is tried again in time, however far the clock was set on. */
static void test_a_clock_set_on_hastens_no_retry(void** state)
{
  (void)state;
  play_notes();
  sync_error = EIO;
  play_notes();
  assert_trouble_told(HR_ERR_IO);
  const HrSessionState before = worked_state();
  wall_step = INT64_C(50) * 365 * 86400;
  const HrSessionState at_once = worked_state();
  sync_error = 0;
  monotonic_step += 2;
  const HrSessionState later = worked_state();
  wall_step = 0;
  assert_int_equal(at_once.failed_commits, before.failed_commits);
  assert_int_equal(later.trouble, HR_OK);
  assert_recovered(2 * NOTES);
}

static LV2_Handle hung; ///< A plugin

static void* work_on_a_slow_disk(void* data)
{
  const LV2_Worker_Interface* const worker =
      lv2_descriptor(0)->extension_data(LV2_WORKER__interface);
  worker->work(hung, NULL, NULL, 0, NULL);
  return data;
}

/** One for each instance that has not ended, or was left without being emptied. */
static size_t ring_count(void)
{
  char folder[256], rings[320];
  glob_t found;
  assert_ok(hr_runtime_folder(folder, sizeof folder, NULL));
  snprintf(rings, sizeof rings, "%s/capture-*", folder);
  glob(rings, 0, NULL, &found);
  const size_t count = found.gl_pathc;
  globfree(&found);
  return count;
}

/** A host that ends a plugin waits for what the plugin is writing. Here the clock is set on
 * by a minute just as that wait begins: what is read is a minute behind the kernel's. */
static void test_a_clock_set_on_cuts_no_goodbye_short(void** state)
{
  (void)state;
  pthread_t thread;
  const size_t before = ring_count();
  setenv("HR_STORE", scratch_path("other.hr"), 1);
  Host* const host = host_new(&(HostOptions){.linked = true});
  host_run_for(host, BAR, 512);
  assert_int_equal(ring_count(), before + 1);
  host_stall(host, true);
  for (int i = 0; i < 20; ++i) {
    host_midi(host, 0, (const uint8_t[]){0x90, 60, 100}, 3);
    host_run(host, 512);
  }
  hung = host_instance(host);
  sync_ms = 300;
  monotonic_step += 1;
  syncs_begun = 0;
  pthread_create(&thread, NULL, work_on_a_slow_disk, NULL);
  while (!syncs_begun) {
    usleep(1000);
  }
  wall_step = -60;
  host_free(host);
  wall_step = 0;
  sync_ms = 0;
  pthread_join(thread, NULL);
  unsetenv("HR_STORE");
  assert_int_equal(ring_count(), before);
}

/* ---- How long it takes until what was played is safe --------------------------- */

static struct {
  sem_t wanted;
  _Atomic bool done;
} worker;

static void* work(void* data)
{
  (void)data;
  while (!sem_wait(&worker.wanted) && !worker.done) {
    hr_session_work(rig.session);
  }
  return NULL;
}

static double now_s(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

typedef struct {
  double safe;  ///< From a block's end until its note was in the store
  double block; ///< To run a block
} Longest;

/** Play a note in every block of 10 ms for as long as said, a worker beside it. */
static Longest play_in_real_time(double seconds)
{
  enum { BLOCKS_MAX = 2000 };
  static double played[BLOCKS_MAX];
  static uint64_t position[BLOCKS_MAX];
  const unsigned blocks = (unsigned)(seconds * 100);
  const HrRing* const ring = &atomic_load(&rig.engine->shared.capture)->ring;
  const double begun = now_s();
  Longest longest = {0, 0};
  unsigned durable = 0;
  pthread_t thread;
  rig.idle = true;
  rig.block = RIG_RATE / 100;
  worker.done = false;
  sem_init(&worker.wanted, 0, 0);
  pthread_create(&thread, NULL, work, NULL);
  for (unsigned i = 0; i < blocks || durable < blocks; ++i) {
    if (i < blocks) {
      play_note(10, (uint8_t)(i % 128), 200);
    }
    const double start = now_s();
    rig_run(&rig, rig.block);
    longest.block = fmax(longest.block, now_s() - start);
    if (i < blocks) {
      played[i] = now_s();
      position[i] = hr_ring_write_position(ring);
    }
    for (; durable < blocks && durable <= i && hr_ring_read_position(ring) >= position[durable];
         ++durable) {
      longest.safe = fmax(longest.safe, now_s() - played[durable]);
    }
    if (hr_engine_wants_work(rig.engine, false)) {
      sem_post(&worker.wanted);
    }
    const double left = begun + (i + 1) / 100.0 - now_s();
    usleep(left > 0 ? (useconds_t)(left * 1e6) : 0);
  }
  worker.done = true;
  sem_post(&worker.wanted);
  pthread_join(thread, NULL);
  sem_destroy(&worker.wanted);
  return longest;
}

/** A commit is two syncs. As long as both take 0.4 s together, what a power cut can
 * cost is less than a second; a slower disk is told of, loses nothing, and holds up
 * no block. */
static void test_a_slow_disk(void** state)
{
  (void)state;
  static const unsigned syncs[] = {0, 50, 200, 1500};
  for (size_t i = 0; i < sizeof syncs / sizeof *syncs; ++i) {
    teardown(NULL);
    assert_int_equal(setup(NULL), 0);
    rig_run(&rig, BEAT);
    sync_ms = syncs[i];
    const Longest longest = play_in_real_time(2.0);
    sync_ms = 0;
    const HrSessionState now = state_now();
    print_message(
        "a sync takes %u ms: safe after %.2f s at the latest, told as %.2f s; a block took "
        "%.2f ms at most\n",
        syncs[i], longest.safe, now.longest_wait, longest.block * 1e3);
    assert_true(syncs[i] > 200 ? longest.safe > 3.0 : longest.safe < 1.0);
    assert_true(now.longest_wait > longest.safe - 0.03 && now.longest_wait < longest.safe + 0.15);
    assert_true(syncs[i] < 200 || longest.block < 0.1); // Half the shortest wait for the disk
    assert_int_equal(now.failed_commits, 0);
    assert_int_equal(music_of("main").count, 2 * 200);
  }
}

/** A file gets its name only when it is whole on the disk; and that it has it is made sure of. */
static void test_what_does_not_reach_the_disk_gets_no_name(void** state)
{
  (void)state;
  static const mode_t kinds[] = {S_IFREG, S_IFDIR};
  HrStore* store = NULL;
  HrStore* made = NULL;
  HrBackupReport report;
  uint64_t bytes;
  assert_ok(hr_store_open(scratch_path("store.hr"), 0, &store, NULL));
  for (unsigned i = 0; i < 2; ++i) {
    unsyncable = kinds[i];
    unlink(scratch_path("backup.hr"));
    assert_int_equal(hr_store_backup(store, scratch_path("backup.hr"), &report, NULL), HR_ERR_IO);
    assert_int_equal(hr_store_compact(store, scratch_path("copy.hr"), true, &bytes, NULL),
                     HR_ERR_IO);
    assert_int_equal(hr_store_open(scratch_path("new.hr"), HR_STORE_CREATE, &made, NULL),
                     HR_ERR_IO);
    if (kinds[i] == S_IFREG) {
      assert_int_not_equal(access(scratch_path("backup.hr"), F_OK), 0);
      assert_int_not_equal(access(scratch_path("copy.hr"), F_OK), 0);
      assert_int_not_equal(access(scratch_path("new.hr"), F_OK), 0);
    }
  }
  unsyncable = 0;
  hr_store_close(store);
}

/** With SIGXFSZ as it is by default: it ends the program. */
static void test_a_file_size_limit_ends_nobody(void** state)
{
  (void)state;
  struct rlimit old;
  play_notes();
  state_now();
  getrlimit(RLIMIT_FSIZE, &old);
  setrlimit(RLIMIT_FSIZE, &(struct rlimit){4096, old.rlim_max});
  play_notes();
  const HrSessionState full = state_now();
  setrlimit(RLIMIT_FSIZE, &old);
  assert_int_equal(full.trouble, HR_ERR_NO_SPACE);
  assert_recovered(2 * NOTES);
}

static void test_a_store_moved_away_and_back(void** state)
{
  (void)state;
  char path[4200], away[4200];
  snprintf(path, sizeof path, "%s", scratch_path("store.hr"));
  snprintf(away, sizeof away, "%s", scratch_path("away.hr"));
  play_notes();
  state_now();
  assert_int_equal(rename(path, away), 0);
  play_notes();
  assert_trouble_told(HR_ERR_NOT_FOUND);
  assert_non_null(strstr(state_now().trouble_text, "Put it back"));
  assert_int_equal(rename(away, path), 0);
  assert_recovered(2 * NOTES);
}

/** Open a new store in another process, which may be killed in it. */
static pid_t begin_making(const char* path, const char* tree, int writes)
{
  const pid_t child = fork();
  if (child == 0) {
    HrStore* store = NULL;
    HrTxn* txn = NULL;
    HrTreeId id;
    writes_to_live = writes;
    const bool opened = !hr_store_open(path, HR_STORE_CREATE, &store, NULL);
    writes_to_live = 0;
    const bool made = opened && !hr_txn_begin(store, HR_WRITE, &txn) &&
                      !hr_tree_create(txn, tree, 1, &id) && !hr_txn_commit(txn);
    _exit(made ? 0 : 1);
  }
  return child;
}

static bool was_killed(pid_t child)
{
  int result = 0;
  assert_int_equal(waitpid(child, &result, 0), child);
  assert_true(WIFSIGNALED(result) || WEXITSTATUS(result) == 0);
  return WIFSIGNALED(result);
}

/* ---- A store that is taken away ------------------------------------------------- */

/** Play until it is noticed, told, and set right. What follows goes the usual way. */
static HrSessionState played_through(void)
{
  play_notes();
  assert_trouble_told(HR_ERR_NOT_FOUND);
  for (int i = 0; i < 3; ++i) {
    monotonic_step += 1;
    play_note(0, 60, 100);
    rig_run(&rig, BEAT);
  }
  return state_now();
}

enum { PLAYED_THROUGH = 2 * (2 * NOTES + 3) };

static void assert_all_is_in(const char* name)
{
  const HrSessionState now = state_now();
  assert_string_equal(now.store_path, scratch_path(name));
  assert_int_equal(now.dropped, 0);
  assert_int_equal(music_of("main").count, PLAYED_THROUGH);
}

static HrStatus rename_scratch(const char* from, const char* to)
{
  return rename(scratch_path(from), scratch_path(to)) ? HR_ERR_IO : HR_OK;
}

/** A store of its own, or a copy of another, under a name. */
static void copy_store(const char* from, const char* to)
{
  uint64_t bytes;
  HrStore* store;
  assert_ok(hr_store_open(scratch_path(from), HR_STORE_CREATE, &store, NULL));
  assert_ok(hr_store_compact(store, scratch_path(to), true, &bytes, NULL));
  hr_store_close(store);
}

static void test_a_deleted_store_is_written_anew(void** state)
{
  (void)state;
  play_notes();
  state_now();
  assert_int_equal(unlink(scratch_path("store.hr")), 0);
  assert_int_equal(played_through().trouble, HR_OK);
  assert_all_is_in("store.hr");
}

static void test_a_store_whose_folder_is_removed_is_written_anew(void** state)
{
  (void)state;
  char command[8600];
  const HrAttachment there = {.store = scratch_path("a/b/deep.hr")};
  assert_ok(hr_session_attach(rig.session, &there, NULL));
  rig_run(&rig, BEAT);
  play_notes();
  state_now();
  snprintf(command, sizeof command, "rm -r '%s'", scratch_path("a"));
  assert_int_equal(system(command), 0);
  assert_int_equal(played_through().trouble, HR_OK);
  assert_all_is_in("a/b/deep.hr");
}

static void assert_replaced_and_told(HrSessionState now)
{
  assert_int_equal(now.trouble, HR_ERR_EXISTS);
  assert_non_null(strstr(now.trouble_text, scratch_path("store.hr")));
  assert_non_null(strstr(now.trouble_text, scratch_path("store-rescued.hr")));
  assert_all_is_in("store-rescued.hr");
}

static void test_a_store_replaced_by_another_goes_on_beside_it(void** state)
{
  (void)state;
  HrStore* store;
  struct stat before, after;
  copy_store("other.hr", "copy.hr");
  play_notes();
  state_now();
  assert_ok(rename_scratch("copy.hr", "store.hr"));
  stat(scratch_path("store.hr"), &before);
  assert_replaced_and_told(played_through());
  stat(scratch_path("store.hr"), &after);
  assert_int_equal(after.st_ino, before.st_ino);
  assert_int_equal(after.st_size, before.st_size);
  assert_int_equal(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
  assert_ok(hr_store_open(scratch_path("store.hr"), 0, &store, NULL));
  hr_store_close(store);
}

static void test_a_store_replaced_by_something_else_goes_on_beside_it(void** state)
{
  (void)state;
  char text[8] = "";
  play_notes();
  state_now();
  unlink(scratch_path("store.hr"));
  FILE* const file = fopen(scratch_path("store.hr"), "w");
  fputs("my text", file);
  fclose(file);
  assert_replaced_and_told(played_through());
  FILE* const again = fopen(scratch_path("store.hr"), "r");
  assert_non_null(fgets(text, sizeof text, again));
  fclose(again);
  assert_string_equal(text, "my text");
}

/** It has the UUID of the store, but not all of its music. */
static void test_a_store_replaced_by_an_old_backup_goes_on_beside_it(void** state)
{
  (void)state;
  play_note(0, 60, 100);
  rig_run(&rig, BEAT);
  state_now();
  copy_store("store.hr", "old.hr");
  unlink(scratch_path("store.hr-lock"));
  for (int i = 0; i < NOTES - 1; ++i) {
    play_note(i * 200, 60, 100);
  }
  rig_run(&rig, NOTES * 200 + BEAT);
  state_now();
  assert_ok(rename_scratch("old.hr", "store.hr"));
  assert_replaced_and_told(played_through());
}

/** As by a program that writes a file anew and puts it in the old one's place: the
 * first backup of it, moved there, has everything. */
static void test_a_store_replaced_by_its_copy_goes_on_there(void** state)
{
  (void)state;
  char lock[4200];
  snprintf(lock, sizeof lock, "%s", scratch_path("store.hr-lock"));
  play_notes();
  state_now();
  copy_store("store.hr", "copy.hr");
  unlink(lock); // As a move of the whole folder would
  assert_ok(rename_scratch("copy.hr", "store.hr"));
  assert_int_equal(played_through().trouble, HR_OK);
  assert_all_is_in("store.hr");
}

/** A disk that is pulled out in mid-play, and back later as another device: nothing of the
 * store can be read meanwhile. What is not all of it, is not gone on with. */
static void test_a_store_on_a_disk_pulled_out_goes_on_when_that_is_back(void** state)
{
  (void)state;
  char command[12800];
  const char* const copy = "cp '%s' '%s'";
  play_note(0, 60, 100);
  rig_run(&rig, BEAT);
  state_now();
  snprintf(command, sizeof command, copy, scratch_path("store.hr"), scratch_path("old.hr"));
  assert_int_equal(system(command), 0);
  play_notes();
  state_now();
  snprintf(command, sizeof command, copy, scratch_path("store.hr"), scratch_path("back.hr"));
  assert_int_equal(system(command), 0);
  sync_error = write_error = EIO;
  play_notes();
  assert_trouble_told(HR_ERR_IO);
  unlink(scratch_path("store.hr"));
  unlink(scratch_path("store.hr-lock"));
  sync_error = write_error = 0;
  for (int i = 0; i < 3; ++i) {
    monotonic_step += 1;
    rig_run(&rig, BEAT);
  }
  assert_trouble_told(HR_ERR_IO);
  assert_ok(rename_scratch("old.hr", "store.hr"));
  monotonic_step += 1;
  rig_run(&rig, BEAT);
  assert_trouble_told(HR_ERR_IO);
  assert_ok(rename_scratch("back.hr", "store.hr"));
  monotonic_step += 1;
  rig_run(&rig, BEAT);
  const HrSessionState now = state_now();
  assert_int_equal(now.trouble, HR_OK);
  assert_string_equal(now.store_path, scratch_path("store.hr"));
  assert_int_equal(now.dropped, 0);
  assert_int_equal(music_of("main").count, 2 * (2 * NOTES + 1));
}

/** Two instances that have the store open find it in the same place again, and a
 * third that comes in between does not take it away from them. */
static void test_a_deleted_store_is_written_anew_once(void** state)
{
  (void)state;
  static Rig first;
  HrSessionState other;
  const HrAttachment where = place();
  play_notes();
  state_now();
  first = rig;
  assert_true(rig_open(&rig, &where));
  play_note(0, 61, 100);
  rig_run(&rig, BEAT);
  state_now();
  unlink(scratch_path("store.hr"));
  Rig second = rig;
  rig = first;
  assert_int_equal(played_through().trouble, HR_OK);
  assert_all_is_in("store.hr");
  first = rig;
  rig = second;
  play_note(0, 62, 100);
  for (int i = 0; i < 3; ++i) {
    monotonic_step += 1;
    rig_run(&rig, BEAT);
  }
  hr_session_state(rig.session, &other);
  const int count = music_of("main").count;
  rig_close(&rig);
  rig = first;
  assert_int_equal(other.trouble, HR_OK);
  assert_string_equal(other.store_path, scratch_path("store.hr"));
  assert_int_equal(count, 4);
  assert_all_is_in("store.hr");
}

/** The host ends before anything could be done: it is done then. */
static void test_a_deleted_store_is_there_after_the_end(void** state)
{
  (void)state;
  const HrAttachment where = place();
  play_notes();
  state_now();
  unlink(scratch_path("store.hr"));
  play_notes();
  rig_close(&rig);
  assert_true(rig_open(&rig, &where));
  rig_run(&rig, BEAT);
  HrStore* store;
  HrStoreStats stats;
  assert_ok(hr_store_open(where.store, 0, &store, NULL));
  assert_ok(hr_store_stats(store, &stats));
  hr_store_close(store);
  assert_int_equal(stats.tree_count, 1);
}

/** Somebody begins a new store where the old one was: they have nothing in common,
 * above all no lock file. */
static void test_a_new_store_in_the_place_of_a_lost_one(void** state)
{
  (void)state;
  play_notes();
  state_now();
  unlink(scratch_path("store.hr"));
  char path[4200];
  snprintf(path, sizeof path, "%s", scratch_path("store.hr"));
  assert_false(was_killed(begin_making(path, "new", 0)));
  assert_replaced_and_told(played_through());
  assert_false(was_killed(begin_making(path, "newer", 0)));
}

/** Another store is put over one that is open: until all have let go of that, their
 * common lock file would have each write over what the other wrote. */
static void test_two_stores_never_share_a_lock_file(void** state)
{
  (void)state;
  HrStore* store;
  HrError error;
  char path[4200];
  snprintf(path, sizeof path, "%s", scratch_path("store.hr"));
  play_notes();
  state_now();
  copy_store("other.hr", "copy.hr");
  assert_ok(rename_scratch("copy.hr", "store.hr"));
  assert_int_equal(hr_store_open(path, 0, &store, &error), HR_ERR_BUSY);
  assert_non_null(strstr(error.text, "took the place"));
  const pid_t child = fork();
  if (child == 0) {
    execl("/proc/self/exe", "test_faults", path, (char*)NULL);
    _exit(99);
  }
  int result = 0;
  assert_int_equal(waitpid(child, &result, 0), child);
  assert_true(WIFEXITED(result));
  assert_int_equal(WEXITSTATUS(result), HR_ERR_BUSY);
}

static void test_a_truncated_store_ends_nobody(void** state)
{
  (void)state;
  play_notes();
  state_now();
  assert_int_equal(truncate(scratch_path("store.hr"), 8192), 0);
  play_notes();
  assert_trouble_told(HR_ERR_TRUNCATED);
}

/** Record onto a disk that somebody else fills, and clears again. It is
 * unmounted before anything is asserted. */
static void fill_for_a_while(void)
{
  const HrAttachment there = {.store = scratch_path("disk/full.hr")};
  const HrStatus attached = hr_session_attach(rig.session, &there, NULL);
  play_notes();
  state_now();
  scratch_fill();
  for (int i = 0; i < 3; ++i) {
    play_notes();
  }
  const HrSessionState full = state_now();
  scratch_clear();
  monotonic_step += 2;
  const HrSessionState after = worked_state();
  const int count = music_of("main").count;
  const HrAttachment back = place();
  hr_session_attach(rig.session, &back, NULL);
  rig_run(&rig, BEAT);
  hr_session_flush(rig.session);
  scratch_unmount();
  assert_int_equal(attached, HR_OK);
  assert_int_equal(full.trouble, HR_ERR_NO_SPACE);
  assert_int_equal(full.dropped, 0);
  assert_int_equal(after.trouble, HR_OK);
  assert_int_equal(count, 2 * 4 * NOTES);
}

static void test_a_full_file_system_is_survived(void** state)
{
  (void)state;
  scratch_mount("1m");
  fill_for_a_while();
}

/** LMDB writes to the lock file by a map. */
static void test_a_store_on_a_full_disk_is_not_opened(void** state)
{
  (void)state;
  static const unsigned flags[] = {0, HR_STORE_READ_ONLY};
  const char* const path = scratch_path("disk/whole.hr");
  HrStore* store = NULL;
  HrStatus opened[2];
  scratch_mount("256k");
  const HrStatus made = hr_store_open(path, HR_STORE_CREATE, &store, NULL);
  hr_store_close(store);
  unlink(scratch_path("disk/whole.hr-lock"));
  scratch_fill();
  for (size_t i = 0; i < 2; ++i) {
    opened[i] = hr_store_open(path, flags[i], &store, NULL);
    hr_store_close(store);
  }
  scratch_clear();
  const HrStatus after = hr_store_open(path, 0, &store, NULL);
  hr_store_close(store);
  scratch_unmount();
  assert_int_equal(made, HR_OK);
  assert_int_equal(opened[0], HR_ERR_NO_SPACE);
  assert_int_equal(opened[1], HR_ERR_NO_SPACE);
  assert_int_equal(after, HR_OK);
}

/** Make an ext4 in a file, and mount that as scratch_mount() does a tmpfs. */
static void mount_ext4(void)
{
  char command[12800];
  const char* const image = scratch_path("disk.img");
  mkdir(scratch_path("disk"), 0700);
  snprintf(command, sizeof command,
           "truncate -s 8M '%s' && mkfs.ext4 -q -F -m 0 '%s' && mount -o loop,errors=remount-ro "
           "'%s' '%s'",
           image, image, image, scratch_path("disk"));
  if (system(command)) {
    print_message("skipped: no ext4 can be made and mounted here\n");
    skip();
  }
}

/** Unlike a tmpfs it keeps blocks of its own back, and its files have holes. */
static void test_a_full_ext4_is_survived(void** state)
{
  (void)state;
  mount_ext4();
  fill_for_a_while();
}

/** Have the kernel find an error in a mounted ext4: it makes it read-only. False
 * where it cannot be asked to. */
static bool fail_ext4(const char* folder)
{
  struct stat info;
  char link[64], device[256] = "", trigger[400];
  stat(folder, &info);
  snprintf(link, sizeof link, "/sys/dev/block/%u:%u", major(info.st_dev), minor(info.st_dev));
  const char* const name =
      readlink(link, device, sizeof device - 1) > 0 ? strrchr(device, '/') : "";
  snprintf(trigger, sizeof trigger, "/sys/fs/ext4%s/trigger_fs_error", name);
  const int fd = strncmp(name, "/loop", 5) ? -1 : open(trigger, O_WRONLY | O_CLOEXEC);
  const bool failed = fd >= 0 && write(fd, "1", 1) == 1;
  if (fd >= 0) {
    close(fd);
  }
  return failed;
}

/** Nobody can order that of a file system in use: it is busy as long as a file is open
 * for writing. But the kernel does so after an error; then the disk is taken away,
 * checked, and mounted anew. Nothing is asserted before all is unmounted. */
static void test_a_file_system_gone_read_only(void** state)
{
  (void)state;
  char folder[4200], store[4300], command[12800];
  snprintf(folder, sizeof folder, "%s", scratch_path("disk"));
  snprintf(store, sizeof store, "%s/there.hr", folder);
  mount_ext4();
  const HrAttachment there = {.store = store};
  const HrStatus attached = hr_session_attach(rig.session, &there, NULL);
  play_notes();
  state_now();
  const bool busy = mount("none", folder, NULL, MS_REMOUNT | MS_RDONLY, NULL) && errno == EBUSY;
  sync(); // So that no page of the lock file is left that could still be written
  const bool failed = fail_ext4(folder);
  play_notes();
  const HrSessionState read_only = state_now();
  scratch_unmount();
  snprintf(command, sizeof command,
           "cp '%s' '%s' && (e2fsck -fy '%s' >'%s' 2>&1; mount -o loop '%s' '%s')",
           scratch_path("disk.img"), scratch_path("again.img"), scratch_path("again.img"),
           scratch_path("said"), scratch_path("again.img"), folder);
  const bool again = !system(command);
  for (int i = 0; i < 3; ++i) {
    monotonic_step += 1;
    rig_run(&rig, BEAT);
  }
  const HrSessionState after = state_now();
  const int count = music_of("main").count;
  const HrAttachment back = place();
  hr_session_attach(rig.session, &back, NULL);
  rig_run(&rig, BEAT);
  hr_session_flush(rig.session);
  scratch_unmount();
  assert_int_equal(attached, HR_OK);
  assert_true(busy);
  if (!failed) {
    print_message("skipped: this kernel lets no error be made in an ext4\n");
    skip();
  }
  assert_int_equal(read_only.trouble, HR_ERR_READ_ONLY);
  assert_int_equal(read_only.dropped, 0);
  assert_true(again);
  assert_int_equal(after.trouble, HR_OK);
  assert_string_equal(after.store_path, store);
  assert_int_equal(count, 2 * 2 * NOTES);
}

static void test_a_kill_while_a_store_is_made(void** state)
{
  (void)state;
  char path[4200];
  int kills = 0;
  bool killed = true;
  for (; killed && kills < 100; ++kills) {
    HrStore* store = NULL;
    snprintf(path, sizeof path, "%s/made-%d.hr", scratch, kills);
    killed = was_killed(begin_making(path, "mine", kills + 1));
    assert_ok(hr_store_open(path, HR_STORE_CREATE, &store, NULL));
    hr_store_close(store);
  }
  assert_false(killed);
  assert_true(kills > 1);
  print_message("%d kills\n", kills - 1);
}

static void test_two_programs_make_one_store(void** state)
{
  (void)state;
  for (int i = 0; i < 50; ++i) {
    HrStore* store = NULL;
    HrTxn* txn = NULL;
    HrTreeId tree;
    char path[4200];
    snprintf(path, sizeof path, "%s/both-%d.hr", scratch, i);
    const pid_t first = begin_making(path, "first", 0);
    const pid_t second = begin_making(path, "second", 0);
    was_killed(first);
    was_killed(second);
    assert_ok(hr_store_open(path, 0, &store, NULL));
    assert_ok(hr_txn_begin(store, HR_READ, &txn));
    assert_ok(hr_tree_find(txn, "first", &tree));
    assert_ok(hr_tree_find(txn, "second", &tree));
    hr_txn_abort(txn);
    hr_store_close(store);
  }
}

int main(int argc, char** argv)
{
  if (argc == 2) {
    HrStore* store;
    alarm(10);
    return (int)hr_store_open(argv[1], 0, &store, NULL);
  }
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(test_a_failed_sync_is_recovered_from),
      TEST(test_a_failed_write_is_recovered_from),
      TEST(test_a_quota_is_survived),
      TEST(test_a_disk_gone_read_only_is_recovered_from),
      TEST(test_a_clock_set_back_delays_nothing),
      TEST(test_a_clock_set_on_is_only_written_down),
      TEST(test_a_clock_set_on_hastens_no_retry),
      TEST(test_a_clock_set_on_cuts_no_goodbye_short),
      TEST(test_a_slow_disk),
      TEST(test_what_does_not_reach_the_disk_gets_no_name),
      TEST(test_a_file_size_limit_ends_nobody),
      TEST(test_a_store_moved_away_and_back),
      TEST(test_a_deleted_store_is_written_anew),
      TEST(test_a_store_whose_folder_is_removed_is_written_anew),
      TEST(test_a_store_replaced_by_another_goes_on_beside_it),
      TEST(test_a_store_replaced_by_something_else_goes_on_beside_it),
      TEST(test_a_store_replaced_by_an_old_backup_goes_on_beside_it),
      TEST(test_a_store_replaced_by_its_copy_goes_on_there),
      TEST(test_a_store_on_a_disk_pulled_out_goes_on_when_that_is_back),
      TEST(test_a_deleted_store_is_written_anew_once),
      TEST(test_a_deleted_store_is_there_after_the_end),
      TEST(test_a_new_store_in_the_place_of_a_lost_one),
      TEST(test_two_stores_never_share_a_lock_file),
      TEST(test_a_truncated_store_ends_nobody),
      TEST(test_a_full_file_system_is_survived),
      TEST(test_a_store_on_a_full_disk_is_not_opened),
      TEST(test_a_full_ext4_is_survived),
      TEST(test_a_file_system_gone_read_only),
      TEST(test_a_kill_while_a_store_is_made),
      TEST(test_two_programs_make_one_store),
  };
  return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
