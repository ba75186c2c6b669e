/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Backups that are made, brought up to date and broken off; compact copies. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "store/internal.h"
#include "tests/scratch_disk.h"
#include "tests/store_rig.h"

static HrTreeId tree;
static bool named_meanwhile;

static const char* backup_path(void)
{
  return scratch_path("backup.hr");
}

static const char* part_path(void)
{
  return scratch_path("backup.hr.part");
}

/** Of a backup. */
__attribute__((visibility("default"))) int flock(int fd, int operation)
{
  if (named_meanwhile) {
    named_meanwhile = false;
    rename(part_path(), scratch_path("whole.hr"));
  }
  return (int)syscall(SYS_flock, fd, operation);
}

/** Note-ons from tick `from` on, one a tick; the velocity tells them apart. */
static void play(const char* branch, HrTick from, int count)
{
  HrBranchId id;
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_branch_find(txn, tree, branch, &id));
  for (int i = 0; i < count; ++i) {
    assert_ok(append_note(txn, id, from + i, (uint8_t)((from + i) % 128)));
  }
  assert_ok(hr_txn_commit(txn));
}

static int setup_music(void** state)
{
  if (setup(state)) {
    return -1;
  }
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, "song", 0, &tree));
  assert_ok(hr_txn_commit(txn));
  play("main", 0, 2000);
  return 0;
}

static HrBranchId fork_at(const char* from, HrTick tick, const char* name)
{
  HrBranchId id;
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_branch_find(txn, tree, from, &id));
  assert_ok(hr_branch_fork(txn, id, tick, &(HrForkOptions){.name = name}, &id));
  assert_ok(hr_txn_commit(txn));
  return id;
}

static HrBackupReport back_up(void)
{
  HrBackupReport report;
  HrError error = {0};
  if (hr_store_backup(store, backup_path(), &report, &error)) {
    fail_msg("%s", error.text);
  }
  return report;
}

/** Run `look` on the backup as if it were the store. */
static void in_backup(void (*look)(void))
{
  HrStore* const live = store;
  assert_ok(hr_store_open(backup_path(), 0, &store, NULL));
  look();
  hr_store_close(store);
  store = live;
}

static int compare_value(MDB_cursor* a, MDB_cursor* b, MDB_cursor_op op)
{
  MDB_val key[2], value[2];
  const int code = mdb_cursor_get(a, &key[0], &value[0], op);
  assert_int_equal(mdb_cursor_get(b, &key[1], &value[1], op), code);
  if (!code) {
    assert_int_equal(key[0].mv_size, key[1].mv_size);
    assert_memory_equal(key[0].mv_data, key[1].mv_data, key[0].mv_size);
    assert_int_equal(value[0].mv_size, value[1].mv_size);
    assert_memory_equal(value[0].mv_data, value[1].mv_data, value[0].mv_size);
  }
  return code;
}

/** Every entry of every database is the same, byte for byte. */
static void assert_backup_is_the_store(void)
{
  HrStore* backup;
  HrTxn *a, *b;
  assert_ok(hr_store_open(backup_path(), 0, &backup, NULL));
  assert_ok(hr_txn_begin(store, HR_READ, &a));
  assert_ok(hr_txn_begin(backup, HR_READ, &b));
  const MDB_dbi pairs[][2] = {
      {store->trees, backup->trees},     {store->branches, backup->branches},
      {store->nodes, backup->nodes},     {store->names, backup->names},
      {store->journal, backup->journal}, {store->captures, backup->captures},
      {store->notes, backup->notes},
  };
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; ++i) {
    MDB_cursor* cursors[2];
    assert_int_equal(mdb_cursor_open(a->txn, pairs[i][0], &cursors[0]), 0);
    assert_int_equal(mdb_cursor_open(b->txn, pairs[i][1], &cursors[1]), 0);
    int code = compare_value(cursors[0], cursors[1], MDB_FIRST);
    while (!code) {
      code = compare_value(cursors[0], cursors[1], MDB_NEXT);
    }
    mdb_cursor_close(cursors[0]);
    mdb_cursor_close(cursors[1]);
  }
  hr_txn_abort(a);
  hr_txn_abort(b);
  assert_memory_equal(hr_store_uuid(store), hr_store_uuid(backup), 16);
  hr_store_close(backup);
  in_backup(verify_clean);
}

static void test_a_backup_is_the_store(void** state)
{
  (void)state;
  struct stat info;
  umask(0);
  const HrBackupReport report = back_up();
  umask(022);
  assert_true(report.first);
  assert_int_equal(stat(backup_path(), &info), 0);
  assert_int_equal(info.st_mode & 07777, 0600);
  assert_int_equal(report.bytes, info.st_size);
  assert_int_equal(access(part_path(), F_OK), -1);
  assert_backup_is_the_store();
}

static void test_only_what_is_new_is_copied(void** state)
{
  (void)state;
  back_up();
  play("main", 2000, 1000); // Nodes of 501 events each: the last one grows, and two more
  HrBackupReport report = back_up();
  assert_false(report.first);
  assert_in_range(report.nodes, 2, 4);
  assert_int_equal(report.records, report.nodes + 1); // Its branch, and nothing else
  assert_backup_is_the_store();
  report = back_up();
  assert_int_equal(report.records, 0);
  assert_int_equal(report.damaged, 0);
}

static void test_what_is_only_removed_goes_from_the_backup(void** state)
{
  (void)state;
  const uint8_t ring[16] = {1};
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_capture_put(txn, ring, &(HrCaptureRecord){1, tree}));
  assert_ok(hr_txn_commit(txn));
  back_up();
  txn = begin(HR_WRITE);
  assert_ok(hr_capture_delete(txn, ring));
  assert_ok(hr_txn_commit(txn));
  back_up();
  assert_backup_is_the_store();
}

static void test_forks_names_notes_and_states_follow(void** state)
{
  (void)state;
  uint32_t id;
  char name[HR_NAME_MAX + 1];
  const uint8_t ring[16] = {1};
  for (int i = 0; i < 300; ++i) {
    snprintf(name, sizeof name, "%c idea %d", 'a' + i * 7 % 26, i);
    fork_at("main", i, name);
  }
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_capture_put(txn, ring, &(HrCaptureRecord){1, tree}));
  assert_ok(hr_txn_commit(txn));
  back_up();
  const HrBranchId late = fork_at("a idea 0", 0, "late");
  play("late", 0, 700);
  txn = begin(HR_WRITE);
  for (uint32_t i = 2; i < 302; i += 3) {
    snprintf(name, sizeof name, "%c renamed %u", 'a' + (int)(i * 11 % 26), i);
    assert_ok(hr_branch_rename(txn, hr_branch_id(tree, i), name, 0));
  }
  assert_ok(hr_branch_set_state(txn, hr_branch_id(tree, 5), HR_BRANCH_HIDDEN, 0));
  const HrNote note = {
      .kind = HR_NOTE_MARK, .branch = late, .tick = 3, .end_tick = 3, .name = "here"};
  assert_ok(hr_note_add(txn, &note, &id));
  assert_ok(hr_note_set_hidden(txn, tree, id, true, 0));
  assert_ok(hr_capture_delete(txn, ring));
  assert_ok(hr_txn_commit(txn));
  back_up();
  assert_backup_is_the_store();
}

static void test_another_store_is_never_mixed_in(void** state)
{
  (void)state;
  HrStore* other;
  HrBackupReport report;
  HrError error = {0};
  assert_ok(hr_store_open(scratch_path("other.hr"), HR_STORE_CREATE, &other, NULL));
  back_up();
  assert_int_equal(hr_store_backup(other, backup_path(), &report, &error), HR_ERR_ARGUMENT);
  assert_non_null(strstr(error.text, "another store"));
  assert_backup_is_the_store();
  assert_int_equal(hr_store_backup(store, hr_store_path(store), &report, &error), HR_ERR_ARGUMENT);
  hr_store_close(other);
}

static void play_elsewhere(void)
{
  play("main", 2000, 3);
}

static void fork_elsewhere(void)
{
  fork_at("main", 7, "elsewhere");
}

/** A backup that was recorded into has music of its own: it is not written over. */
static void test_one_that_has_parted_is_left(void** state)
{
  (void)state;
  HrBackupReport report;
  HrError error = {0};
  back_up();
  in_backup(play_elsewhere);
  play("main", 2010, 5);
  assert_int_equal(hr_store_backup(store, backup_path(), &report, &error), HR_ERR_EXISTS);
  assert_non_null(strstr(error.text, "has music that"));
  unlink(backup_path());
  back_up();
  in_backup(fork_elsewhere);
  assert_int_equal(hr_store_backup(store, backup_path(), &report, &error), HR_ERR_EXISTS);
  in_backup(verify_clean);
}

/** Of all that was done, one thing was another. */
static void test_another_past_has_parted(void** state)
{
  (void)state;
  HrBackupReport report;
  const uint64_t first = (uint64_t)tree << 32 | 1;
  const HrJournalRecord entry = {.branch = hr_branch_id(tree, 1), .time_ns = 1};
  back_up();
  HrTxn* const txn = begin(HR_WRITE);
  assert_ok(hr_put(txn, store->journal, &first, sizeof first, &entry, sizeof entry));
  assert_ok(hr_txn_commit(txn));
  assert_int_equal(hr_store_backup(store, backup_path(), &report, NULL), HR_ERR_EXISTS);
}

/** Damage in the store does not replace what is whole in the backup. */
static void test_a_damaged_node_replaces_no_whole_one(void** state)
{
  (void)state;
  HrTickKey key;
  MDB_val value;
  back_up();
  play("main", 2000, 1);
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_node_last(txn, hr_branch_id(tree, 1), &key, &value));
  uint8_t bytes[HR_NODE_SIZE];
  memcpy(bytes, value.mv_data, value.mv_size);
  bytes[100] ^= 1;
  assert_ok(hr_put(txn, store->nodes, &key, sizeof key, bytes, value.mv_size));
  assert_ok(hr_txn_commit(txn));
  assert_int_equal(back_up().damaged, 1);
  HrStore* backup;
  assert_ok(hr_store_open(backup_path(), 0, &backup, NULL));
  assert_ok(hr_txn_begin(backup, HR_READ, &txn));
  assert_ok(hr_node_last(txn, hr_branch_id(tree, 1), &key, &value));
  assert_true(hr_node_valid(&key, &value));
  hr_txn_abort(txn);
  hr_store_close(backup);
}

/** Change a bit of the first record of a database of `store`. */
static void damage_first(size_t database)
{
  uint8_t bytes[512];
  MDB_dbi dbi;
  MDB_val key, value;
  MDB_cursor* cursor;
  HrTxn* txn = begin(HR_WRITE);
  memcpy(&dbi, (const char*)store + database, sizeof dbi);
  assert_int_equal(mdb_cursor_open(txn->txn, dbi, &cursor), 0);
  assert_int_equal(mdb_cursor_get(cursor, &key, &value, MDB_FIRST), 0);
  assert_true(value.mv_size <= sizeof bytes);
  memcpy(bytes, value.mv_data, value.mv_size);
  bytes[0] ^= 4;
  value.mv_data = bytes;
  assert_int_equal(mdb_cursor_put(cursor, &key, &value, MDB_CURRENT), 0);
  mdb_cursor_close(cursor);
  assert_ok(hr_txn_commit(txn));
}

static void add_mark(void)
{
  uint32_t id;
  const HrNote note = {.kind = HR_NOTE_MARK, .branch = hr_branch_id(tree, 1), .name = "here"};
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_note_add(txn, &note, &id));
  assert_ok(hr_txn_commit(txn));
}

static size_t damaged_database;

static void damage_this(void)
{
  damage_first(damaged_database);
}

/** Nor does a damaged record, whatever it is of; and a whole one replaces a damaged one. */
static void test_a_damaged_record_replaces_no_whole_one(void** state)
{
  (void)state;
  static const size_t records[] = {offsetof(HrStore, trees), offsetof(HrStore, branches),
                                   offsetof(HrStore, names), offsetof(HrStore, journal),
                                   offsetof(HrStore, notes)};
  add_mark();
  back_up();
  for (size_t i = 0; i < sizeof records / sizeof *records; ++i) {
    damaged_database = records[i];
    in_backup(damage_this);
    assert_int_equal(back_up().damaged, 0);
    in_backup(verify_clean);
  }
  for (size_t i = 0; i < sizeof records / sizeof *records; ++i) {
    damage_first(records[i]);
    assert_int_equal(back_up().damaged, i + 1);
    in_backup(verify_clean);
  }
}

/* ---- Broken off, and beside a recorder --------------------------------------- */

/** Kill a backup at some instant, again and again: the file is never anything
 * but a whole backup, and the next one completes it. */
static void test_a_killed_backup_is_completed(void** state)
{
  (void)state;
  srand(11);
  hr_store_close(store);
  store = NULL;
  int whole = 0;
  for (int i = 0; i < 30; ++i) {
    assert_ok(hr_store_open(scratch_path("a/b/test.hr"), 0, &store, NULL));
    play("main", 2000 + i * 20000, 20000);
    hr_store_close(store);
    const pid_t child = fork();
    if (child == 0) {
      HrBackupReport report;
      HrStore* own;
      _exit(hr_store_open(scratch_path("a/b/test.hr"), 0, &own, NULL) ||
            hr_store_backup(own, backup_path(), &report, NULL));
    }
    usleep((useconds_t)(rand() % 6000));
    kill(child, SIGKILL);
    int result;
    assert_int_equal(waitpid(child, &result, 0), child);
    whole += WIFEXITED(result) && !WEXITSTATUS(result);
    if (!access(backup_path(), F_OK)) {
      in_backup(verify_clean);
    }
  }
  assert_ok(hr_store_open(scratch_path("a/b/test.hr"), 0, &store, NULL));
  back_up();
  assert_backup_is_the_store();
  print_message("30 backups, %d of them not killed\n", whole);
}

static int record_until_killed(_Atomic int* committed)
{
  prctl(PR_SET_PDEATHSIG, SIGKILL); // Else it would fill the disk if the test dies first
  if (hr_store_open(scratch_path("a/b/test.hr"), 0, &store, NULL)) {
    return 1;
  }
  for (int i = 0;; ++i) {
    HrTxn* txn;
    if (hr_txn_begin(store, HR_WRITE, &txn) ||
        append_note(txn, hr_branch_id(tree, 1), 2000 + i, (uint8_t)((2000 + i) % 128)) ||
        hr_txn_commit(txn)) {
      return 1;
    }
    *committed += 1;
  }
}

static int open_part(const char* text)
{
  const int fd = open(part_path(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  assert_int_equal(pwrite(fd, text, strlen(text), 0), strlen(text));
  return fd;
}

/** A backup is refused, and a file is still what open_part() made it. */
static void assert_left(HrStatus expected, const char* path, const char* text)
{
  HrBackupReport report;
  char read_back[64] = "";
  assert_int_equal(hr_store_backup(store, backup_path(), &report, NULL), expected);
  assert_int_equal(access(backup_path(), F_OK), -1);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  assert_true(read(fd, read_back, sizeof read_back - 1) >= 0);
  close(fd);
  assert_string_equal(read_back, text);
}

/** What another program writes, or has just given its name, is not written over. */
static void test_two_backups_at_once(void** state)
{
  (void)state;
  int fd = open_part("written by another");
  assert_int_equal(flock(fd, LOCK_EX), 0);
  assert_left(HR_ERR_BUSY, part_path(), "written by another");
  close(fd);
  named_meanwhile = true;
  assert_left(HR_ERR_BUSY, scratch_path("whole.hr"), "written by another");
  back_up();
  assert_backup_is_the_store();
}

static void test_what_only_bears_the_name_of_a_part(void** state)
{
  (void)state;
  close(open_part("another file"));
  assert_int_equal(link(part_path(), scratch_path("linked")), 0);
  assert_left(HR_ERR_PERMISSION, scratch_path("linked"), "another file");
  unlink(scratch_path("linked"));
  if (!chown(part_path(), 1, 1)) {
    assert_left(HR_ERR_PERMISSION, part_path(), "another file");
  }
}

/** Nothing of it is left in the next one. */
static void test_a_killed_backup_was_longer(void** state)
{
  (void)state;
  struct stat info;
  const int fd = open_part("longer");
  assert_int_equal(ftruncate(fd, 10000000), 0);
  close(fd);
  back_up();
  assert_int_equal(stat(backup_path(), &info), 0);
  assert_true(info.st_size < 10000000);
  assert_backup_is_the_store();
}

static void assert_no_hole(void)
{
  HrTxn* txn = begin(HR_READ);
  HrPath path;
  HrEvent event;
  HrTick tick = 0;
  assert_ok(hr_path_open(txn, hr_branch_id(tree, 1), 0, &path));
  while (!hr_path_next(&path, &event)) {
    assert_true(event.tick == tick++);
  }
  hr_path_close(&path);
  hr_txn_abort(txn);
  verify_clean();
}

static void test_backups_while_somebody_records(void** state)
{
  (void)state;
  _Atomic int* const committed =
      mmap(NULL, sizeof *committed, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  hr_store_close(store);
  const pid_t child = fork();
  if (child == 0) {
    _exit(record_until_killed(committed));
  }
  HrError error = {0};
  if (hr_store_open(scratch_path("a/b/test.hr"), 0, &store, &error)) {
    fail_msg("%s", error.text);
  }
  int before = 0;
  for (int i = 0; i < 20; ++i) {
    while (*committed <= before) {
      usleep(100);
    }
    before = *committed;
    back_up();
    in_backup(assert_no_hole);
  }
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  assert_no_hole();
  back_up();
  assert_backup_is_the_store();
  print_message("20 backups beside %d commits\n", *committed);
  munmap((void*)committed, sizeof *committed);
}

static void test_no_room_is_said(void** state)
{
  (void)state;
  HrBackupReport report;
  HrError error = {0};
  play("main", 2000, 200000);
  scratch_mount("1m");
  const HrStatus status = hr_store_backup(store, scratch_path("disk/b.hr"), &report, &error);
  const bool left =
      !access(scratch_path("disk/b.hr.part"), F_OK) || !access(scratch_path("disk/b.hr"), F_OK);
  scratch_unmount();
  assert_int_equal(status, HR_ERR_NO_SPACE);
  assert_non_null(strstr(error.text, "it needs 2 MB"));
  assert_false(left);
}

/** That the disk is full is said of it, not that it is failing, also where a part of what is
 * new could be written. The backup is as it was. */
static void test_no_room_for_what_is_new_is_said(void** state)
{
  (void)state;
  HrBackupReport report;
  scratch_mount("256k");
  assert_int_equal(symlink(scratch_path("disk/b.hr"), backup_path()), 0);
  const HrStatus first = hr_store_backup(store, scratch_path("disk/b.hr"), &report, NULL);
  play("main", 2000, 200000);
  const HrStatus second = hr_store_backup(store, scratch_path("disk/b.hr"), &report, NULL);
  in_backup(verify_clean);
  scratch_unmount();
  assert_ok(first);
  assert_int_equal(second, HR_ERR_NO_SPACE);
}

/** With SIGXFSZ as it is by default: it ends the program, which may be a host. */
static void test_a_file_size_limit_is_said(void** state)
{
  (void)state;
  struct rlimit old;
  HrBackupReport report;
  getrlimit(RLIMIT_FSIZE, &old);
  setrlimit(RLIMIT_FSIZE, &(struct rlimit){8192, old.rlim_max});
  const HrStatus status = hr_store_backup(store, backup_path(), &report, NULL);
  setrlimit(RLIMIT_FSIZE, &old);
  assert_int_equal(status, HR_ERR_NO_SPACE);
  assert_int_equal(access(backup_path(), F_OK), -1);
  assert_int_equal(access(part_path(), F_OK), -1);
  report = back_up();
  assert_backup_is_the_store();
  play("main", 2000, 20000);
  setrlimit(RLIMIT_FSIZE, &(struct rlimit){(rlim_t)report.bytes + 6000, old.rlim_max});
  const HrStatus again = hr_store_backup(store, backup_path(), &report, NULL);
  setrlimit(RLIMIT_FSIZE, &old);
  assert_int_equal(again, HR_ERR_NO_SPACE);
  back_up();
  assert_backup_is_the_store();
}

/** One that was on its way before is left to whom it belongs. */
static void test_anothers_signal_is_left(void** state)
{
  (void)state;
  sigset_t file_size, before, pending;
  sigemptyset(&file_size);
  sigaddset(&file_size, SIGXFSZ);
  sigprocmask(SIG_BLOCK, &file_size, &before);
  raise(SIGXFSZ);
  play("main", 2000, 1);
  sigpending(&pending);
  const int number = sigtimedwait(&file_size, NULL, &(struct timespec){0, 0});
  sigprocmask(SIG_SETMASK, &before, NULL);
  assert_true(sigismember(&pending, SIGXFSZ));
  assert_int_equal(number, SIGXFSZ);
}

/* ---- Compact copies -------------------------------------------------------------- */

static void test_compact_never_replaces_unasked(void** state)
{
  (void)state;
  uint64_t bytes;
  HrError error = {0};
  assert_ok(hr_store_compact(store, backup_path(), false, &bytes, NULL));
  assert_backup_is_the_store();
  play("main", 2000, 10);
  assert_int_equal(hr_store_compact(store, backup_path(), false, &bytes, &error), HR_ERR_EXISTS);
  assert_non_null(strstr(error.text, "--force"));
  assert_ok(hr_store_compact(store, backup_path(), true, &bytes, NULL));
  assert_backup_is_the_store();
  assert_int_equal(hr_store_compact(store, hr_store_path(store), true, &bytes, &error),
                   HR_ERR_ARGUMENT);
}

static atomic_bool compacted;

static void* compact(void* status)
{
  uint64_t bytes;
  *(HrStatus*)status = hr_store_compact(store, backup_path(), true, &bytes, NULL);
  atomic_store(&compacted, true);
  return NULL;
}

/** After a disk error the store is closed and opened again as soon as nobody uses it: not under
 * a copy. */
static void test_a_copy_is_not_closed_under(void** state)
{
  (void)state;
  pthread_t thread;
  HrStatus status = HR_ERR_IO;
  play("main", 2000, 1000000);
  atomic_store(&compacted, false);
  assert_int_equal(pthread_create(&thread, NULL, compact, &status), 0);
  while (!atomic_load(&compacted)) {
    HrTxn* txn;
    store->failed = true;
    if (!hr_txn_begin(store, HR_WRITE, &txn)) {
      hr_txn_abort(txn);
    }
  }
  pthread_join(thread, NULL);
  assert_ok(status);
  assert_backup_is_the_store();
}

static void test_no_link_is_followed(void** state)
{
  (void)state;
  uint64_t bytes;
  struct stat info;
  HrBackupReport report;
  assert_int_equal(symlink(scratch_path("victim"), part_path()), 0);
  assert_int_equal(hr_store_backup(store, backup_path(), &report, NULL), HR_ERR_PERMISSION);
  assert_int_equal(access(scratch_path("victim"), F_OK), -1);
  unlink(part_path());
  assert_int_equal(symlink(scratch_path("victim"), backup_path()), 0);
  assert_int_equal(hr_store_compact(store, backup_path(), true, &bytes, NULL), HR_ERR_EXISTS);
  assert_int_equal(access(scratch_path("victim"), F_OK), -1);
  assert_int_equal(lstat(backup_path(), &info), 0);
  assert_true(S_ISLNK(info.st_mode));
}

int main(void)
{
#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_music, teardown)
  const struct CMUnitTest tests[] = {
      TEST(test_a_backup_is_the_store),
      TEST(test_only_what_is_new_is_copied),
      TEST(test_what_is_only_removed_goes_from_the_backup),
      TEST(test_forks_names_notes_and_states_follow),
      TEST(test_another_store_is_never_mixed_in),
      TEST(test_one_that_has_parted_is_left),
      TEST(test_another_past_has_parted),
      TEST(test_a_damaged_node_replaces_no_whole_one),
      TEST(test_a_damaged_record_replaces_no_whole_one),
      TEST(test_a_killed_backup_is_completed),
      TEST(test_two_backups_at_once),
      TEST(test_what_only_bears_the_name_of_a_part),
      TEST(test_a_killed_backup_was_longer),
      TEST(test_backups_while_somebody_records),
      TEST(test_no_room_is_said),
      TEST(test_no_room_for_what_is_new_is_said),
      TEST(test_a_file_size_limit_is_said),
      TEST(test_anothers_signal_is_left),
      TEST(test_compact_never_replaces_unasked),
      TEST(test_a_copy_is_not_closed_under),
      TEST(test_no_link_is_followed),
  };
  return cmocka_run_group_tests_name("backup", tests, NULL, NULL);
}
