/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Stores of former formats: tests/data/format-N.hr holds the music of
 * write_music(), written when N was the newest format. Never write one anew. */

#include "store/internal.h"
#include "tests/store_rig.h"

#include <fcntl.h>
#include <lmdb.h>
#include <sys/resource.h>

static void append_tempo(HrTxn* txn, HrBranchId branch, HrTick tick, double tempo)
{
  uint8_t bytes[HR_META_TEMPO_SIZE];
  hr_meta_tempo(tempo, bytes);
  assert_ok(hr_append(txn, branch, &(HrEvent){tick, HR_EVENT_META, sizeof bytes, bytes}, NULL));
}

static void append_meter(HrTxn* txn, HrBranchId branch, HrTick tick, uint16_t beats, uint16_t unit)
{
  uint8_t bytes[HR_META_METER_SIZE];
  hr_meta_meter(beats, unit, bytes);
  assert_ok(hr_append(txn, branch, &(HrEvent){tick, HR_EVENT_META, sizeof bytes, bytes}, NULL));
}

static void append_notes(HrTxn* txn, HrBranchId branch, HrTick from, int count)
{
  for (int i = 0; i < count; ++i) {
    const HrTick tick = from + (HrTick)i * HR_TICKS_PER_QUARTER / 4;
    assert_ok(append_note(txn, branch, tick, (uint8_t)(36 + i % 48)));
  }
}

/** Changes before, between and at one tick as events; a branch without a change
 * of its own, one without an event, one that forks right at a change. */
static void write_music(HrTxn* txn)
{
  const HrTick bar = (HrTick)4 * HR_TICKS_PER_QUARTER;
  HrTreeId tree;
  HrBranchId verse, bridge, ending, empty;
  assert_ok(hr_tree_create(txn, "song", 0, &tree));
  const HrBranchId root = hr_branch_id(tree, 1);
  append_tempo(txn, root, 0, 90.0);
  append_notes(txn, root, 0, 32);
  append_tempo(txn, root, 2 * bar, 132.5);
  append_meter(txn, root, 2 * bar, 6, 8);
  append_notes(txn, root, 2 * bar, 600);
  append_meter(txn, root, 40 * bar, 3, 4);
  assert_ok(hr_branch_fork(txn, root, bar, &(HrForkOptions){.name = "verse"}, &verse));
  append_notes(txn, verse, bar, 5);
  append_meter(txn, verse, 2 * bar + 1, 7, 8);
  append_tempo(txn, verse, 3 * bar, 61.0);
  append_notes(txn, verse, 3 * bar, 40);
  assert_ok(hr_branch_fork(txn, root, 2 * bar, &(HrForkOptions){.name = "bridge"}, &bridge));
  append_notes(txn, bridge, 2 * bar, 9);
  assert_ok(hr_branch_fork(txn, verse, 3 * bar + 1, &(HrForkOptions){.name = "ending"}, &ending));
  append_tempo(txn, ending, 4 * bar, 180.0);
  append_notes(txn, ending, 4 * bar, 3);
  assert_ok(hr_branch_fork(txn, ending, 9 * bar, &(HrForkOptions){.name = "empty"}, &empty));
}

static size_t read_file(const char* path, uint8_t* bytes, size_t room)
{
  const int in = open(path, O_RDONLY | O_CLOEXEC);
  assert_true(in >= 0);
  const ssize_t size = read(in, bytes, room);
  assert_true(size > 0 && (size_t)size < room);
  close(in);
  return (size_t)size;
}

/** Copy a store of tests/data to a place where it may be written. */
static void copy_data(const char* name, const char* to)
{
  static uint8_t bytes[1 << 20];
  char from[4096];
  snprintf(from, sizeof from, "%s%s", HR_TEST_DATA, name);
  const size_t size = read_file(from, bytes, sizeof bytes);
  const int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  assert_true(out >= 0);
  assert_int_equal(write(out, bytes, size), (ssize_t)size);
  close(out);
}

static void assert_equal_tempo(HrTxn* a, HrTxn* b, HrBranchId branch, HrTick tick)
{
  HrTempo x, y;
  assert_ok(hr_tempo_at(a, branch, tick, &x));
  assert_ok(hr_tempo_at(b, branch, tick, &y));
  assert_true(x.tempo == y.tempo && x.beats_per_bar == y.beats_per_bar &&
              x.beat_unit == y.beat_unit);
}

static void assert_equal_paths(HrTxn* a, HrTxn* b, HrBranchId branch)
{
  HrPath left, right;
  HrEvent x, y;
  HrStatus status;
  assert_ok(hr_path_open(a, branch, INT64_MIN, &left));
  assert_ok(hr_path_open(b, branch, INT64_MIN, &right));
  do {
    status = hr_path_next(&left, &x);
    assert_int_equal(hr_path_next(&right, &y), status);
    if (!status) {
      assert_int_equal(x.tick, y.tick);
      assert_int_equal(x.kind, y.kind);
      assert_int_equal(x.size, y.size);
      assert_memory_equal(x.bytes, y.bytes, x.size);
      assert_equal_tempo(a, b, branch, x.tick);
      assert_equal_tempo(a, b, branch, x.tick + 1);
    }
  } while (!status);
  assert_int_equal(status, HR_END);
  hr_path_close(&left);
  hr_path_close(&right);
}

/** The music of `other` is that of write_music(), branch by branch. */
static void assert_equal_music(HrStore* other)
{
  HrTxn* a = begin(HR_READ);
  HrTxn* b = NULL;
  HrBranch x, y;
  uint32_t number = 0;
  HrStatus status;
  assert_ok(hr_txn_begin(other, HR_READ, &b));
  while (!(status = hr_branch_next(a, 1, number, &x))) {
    assert_ok(hr_branch_next(b, 1, number, &y));
    assert_int_equal(x.id, y.id);
    assert_int_equal(x.head_tick, y.head_tick);
    assert_int_equal(x.event_count, y.event_count);
    assert_equal_paths(a, b, x.id);
    number = hr_branch_number(x.id);
  }
  assert_int_equal(status, HR_END);
  assert_int_equal(number, 5);
  assert_int_equal(hr_branch_next(b, 1, number, &y), HR_END);
  hr_txn_abort(a);
  hr_txn_abort(b);
}

static void assert_holds_the_music(const char* path, unsigned flags)
{
  HrStore* former = NULL;
  HrVerifyReport report;
  assert_ok(hr_store_open(path, flags, &former, NULL));
  assert_equal_music(former);
  assert_ok(hr_store_verify(former, print_problem, NULL, &report));
  assert_int_equal(report.problems, 0);
  assert_int_equal(report.branches, 5);
  hr_store_close(former);
}

static void test_former_formats(void** state)
{
  (void)state;
  HrTxn* const txn = begin(HR_WRITE);
  write_music(txn);
  assert_ok(hr_txn_commit(txn));
  for (unsigned format = 1; format < HR_FORMAT_VERSION; ++format) {
    char name[32];
    snprintf(name, sizeof name, "format-%u.hr", format);
    copy_data(name, scratch_path(name));
    assert_holds_the_music(scratch_path(name), 0);
    assert_holds_the_music(scratch_path(name), HR_STORE_READ_ONLY);
  }
}

static void assert_is_as_it_was(const char* name, const char* path)
{
  static uint8_t was[1 << 20], is[1 << 20];
  char former[4096];
  snprintf(former, sizeof former, "%s%s", HR_TEST_DATA, name);
  const size_t size = read_file(former, was, sizeof was);
  assert_int_equal(read_file(path, is, sizeof is), size);
  assert_memory_equal(is, was, size);
}

static void test_only_read_it_stays_what_it_is(void** state)
{
  (void)state;
  const char* const path = scratch_path("former.hr");
  HrStore* former = NULL;
  HrError error = {HR_OK, ""};
  copy_data("format-1.hr", path);
  assert_int_equal(hr_store_open(path, HR_STORE_READ_ONLY, &former, &error), HR_ERR_READ_ONLY);
  assert_non_null(strstr(error.text, "older format"));
  assert_is_as_it_was("format-1.hr", path);
}

/** What has only less in it than now can be read as it is. */
static void test_format_2_can_be_read_as_it_is(void** state)
{
  (void)state;
  const char* const path = scratch_path("former.hr");
  HrTxn* const txn = begin(HR_WRITE);
  write_music(txn);
  assert_ok(hr_txn_commit(txn));
  copy_data("format-2.hr", path);
  assert_holds_the_music(path, HR_STORE_READ_ONLY);
  assert_is_as_it_was("format-2.hr", path);
}

/** Nor is it touched where a backup was to be. */
static void test_no_backup_is_made_in_its_place(void** state)
{
  (void)state;
  const char* const path = scratch_path("former.hr");
  HrBackupReport report;
  copy_data("format-1.hr", path);
  assert_int_equal(hr_store_backup(store, path, &report, NULL), HR_ERR_ARGUMENT);
  assert_is_as_it_was("format-1.hr", path);
}

/** No file may grow: the upgrade fails, and what was there is there. */
static void test_an_upgrade_is_whole_or_nothing(void** state)
{
  (void)state;
  const char* const path = scratch_path("former.hr");
  HrStore* former = NULL;
  struct rlimit old;
  copy_data("format-1.hr", path);
  getrlimit(RLIMIT_FSIZE, &old);
  setrlimit(RLIMIT_FSIZE, &(struct rlimit){4096, old.rlim_max});
  const HrStatus status = hr_store_open(path, 0, &former, NULL);
  setrlimit(RLIMIT_FSIZE, &old);
  assert_int_not_equal(status, HR_OK);
  assert_null(former);
  assert_is_as_it_was("format-1.hr", path);
  assert_ok(hr_store_open(path, 0, &former, NULL));
  hr_store_close(former);
}

/** A record that is larger than any of that format. */
static void test_no_record_is_too_long(void** state)
{
  (void)state;
  static const uint8_t bytes[9000];
  const char* const path = scratch_path("former.hr");
  HrStore* former = NULL;
  MDB_env* env;
  MDB_txn* txn;
  MDB_dbi names;
  copy_data("format-1.hr", path);
  assert_int_equal(mdb_env_create(&env), 0);
  mdb_env_set_maxdbs(env, 8);
  mdb_env_set_mapsize(env, (size_t)1 << 24);
  assert_int_equal(mdb_env_open(env, path, MDB_NOSUBDIR, 0600), 0);
  assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
  assert_int_equal(mdb_dbi_open(txn, "names", 0, &names), 0);
  assert_int_equal(
      mdb_put(txn, names, &(MDB_val){1, (void*)bytes}, &(MDB_val){sizeof bytes, (void*)bytes}, 0),
      0);
  assert_int_equal(mdb_txn_commit(txn), 0);
  mdb_env_close(env);
  assert_int_equal(hr_store_open(path, 0, &former, NULL), HR_ERR_DAMAGED);
}

/** What was begun in a former format goes on, with what is new in this one too. */
static void test_former_formats_go_on(void** state)
{
  (void)state;
  enum { WORDS = 8 * HR_NODE_WORDS };
  static HrWord words[WORDS];
  for (uint32_t i = 0; i < WORDS; ++i) {
    words[i] = (HrWord){i, 3, {0x90, (uint8_t)(i % 128), 100}};
  }
  for (unsigned format = 1; format < HR_FORMAT_VERSION; ++format) {
    char name[32];
    HrBranch branch;
    HrTempo tempo;
    snprintf(name, sizeof name, "format-%u.hr", format);
    copy_data(name, scratch_path(name));
    hr_store_close(store);
    assert_ok(hr_store_open(scratch_path(name), 0, &store, NULL));
    HrTxn* txn = begin(HR_WRITE);
    const HrBranchId root = hr_branch_id(1, 1);
    assert_ok(hr_branch_get(txn, root, &branch));
    append_tempo(txn, root, branch.head_tick, 75.0);
    append_notes(txn, root, branch.head_tick, 10);
    assert_ok(hr_branch_get(txn, root, &branch));
    assert_ok(hr_append_words(txn, root, branch.head_tick, words, WORDS, NULL));
    assert_ok(hr_txn_commit(txn));
    verify_clean();
    hr_store_close(store);
    assert_ok(hr_store_open(scratch_path(name), 0, &store, NULL));
    assert_int_equal(store->header.format, HR_FORMAT_VERSION); // A former program leaves it alone
    txn = begin(HR_READ);
    assert_ok(hr_tempo_at(txn, root, INT64_MAX, &tempo));
    assert_true(tempo.tempo == 75.0 && tempo.beats_per_bar == 3 && tempo.beat_unit == 4);
    hr_txn_abort(txn);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(test_former_formats),
      TEST(test_only_read_it_stays_what_it_is),
      TEST(test_format_2_can_be_read_as_it_is),
      TEST(test_no_backup_is_made_in_its_place),
      TEST(test_an_upgrade_is_whole_or_nothing),
      TEST(test_no_record_is_too_long),
      TEST(test_former_formats_go_on),
  };
  return cmocka_run_group_tests_name("formats", tests, NULL, NULL);
}
