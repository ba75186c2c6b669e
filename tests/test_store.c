/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/chase.h"
#include "store/internal.h"
#include "store/pages.h"
#include "store/shell_quote.h"
#include "store/store.h"
#include "tests/store_rig.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- what is to be typed --------------------------------------------- */

/** A word is whole, or not there at all: nothing is written beyond `size`. */
static void test_a_path_is_one_word_for_a_shell(void** state)
{
  (void)state;
  static const char path[] = "'/it's a $HOME \\ \"one\";\n-x'";
  char text[100], command[120], heard[sizeof path + 1];
  hr_shell_quote(text, sizeof text, path);
  const size_t whole = strlen(text) + 1;
  snprintf(command, sizeof command, "printf %%s %s", text);
  FILE* const shell = popen(command, "r");
  assert_non_null(shell);
  const size_t size = fread(heard, 1, sizeof heard, shell);
  assert_int_equal(pclose(shell), 0);
  assert_int_equal(size, strlen(path));
  assert_memory_equal(heard, path, size);
  for (size_t room = sizeof "FILE"; room <= whole; ++room) {
    memset(text, 'x', sizeof text);
    hr_shell_quote(text, room, path);
    assert_int_equal(strlen(text) + 1, room < whole ? sizeof "FILE" : whole);
    assert_int_equal(text[room], 'x');
  }
}

/* ---- opening -------------------------------------------------------- */

static void test_open_is_shared_and_private(void** state)
{
  (void)state;
  HrStore* second = NULL;
  struct stat info;
  assert_ok(hr_store_open(scratch_path("a/../a/b/test.hr"), HR_STORE_CREATE, &second, NULL));
  assert_ptr_equal(second, store);
  hr_store_close(second);
  HrStore* other = NULL;
  assert_ok(hr_store_open(scratch_path("other.hr"), HR_STORE_CREATE, &other, NULL));
  assert_ok(hr_store_open(scratch_path("a/b/test.hr"), 0, &second, NULL));
  assert_ptr_equal(second, store);
  hr_store_close(second);
  hr_store_close(other);

  assert_int_equal(stat(hr_store_path(store), &info), 0);
  assert_int_equal(info.st_mode & 0777, 0600);
  assert_int_equal(stat(scratch_path("a"), &info), 0);
  assert_int_equal(info.st_mode & 0777, 0700);
  assert_int_equal(stat(scratch_path("a/b/test.hr-lock"), &info), 0);
  assert_int_equal(info.st_mode & 0777, 0600);

  mdb_filehandle_t fd;
  assert_int_equal(mdb_env_get_fd(store->env, &fd), 0);
  assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

/** Whoever opens it meanwhile has a lock file of its own. */
static void test_a_store_put_back_beside_a_new_lock_file(void** state)
{
  (void)state;
  HrStore* other = NULL;
  HrTxn* txn;
  assert_int_equal(rename(hr_store_path(store), scratch_path("away.hr")), 0);
  assert_ok(hr_store_open(scratch_path("a/b/test.hr"), HR_STORE_CREATE, &other, NULL));
  hr_store_close(other);
  assert_int_equal(rename(scratch_path("away.hr"), hr_store_path(store)), 0);
  assert_int_equal(hr_txn_begin(store, HR_WRITE, &txn), HR_ERR_NOT_FOUND);
}

static void write_file(const char* name, const void* bytes, size_t size)
{
  FILE* const file = fopen(scratch_path(name), "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, size, file), size);
  fclose(file);
}

static size_t read_store_file(uint8_t** bytes)
{
  FILE* const file = fopen(hr_store_path(store), "rb");
  assert_non_null(file);
  fseek(file, 0, SEEK_END);
  const size_t size = (size_t)ftell(file);
  rewind(file);
  *bytes = malloc(size);
  assert_int_equal(fread(*bytes, 1, size, file), size);
  fclose(file);
  return size;
}

/** A file that cannot be opened gives its own status, a sentence, and stays as it is. */
static void assert_refused(const char* name, HrStatus expected)
{
  HrStore* refused = (HrStore*)1;
  HrError error = {0};
  struct stat before, after;
  const int exists = !stat(scratch_path(name), &before);
  assert_int_equal(hr_store_open(scratch_path(name), HR_STORE_CREATE, &refused, &error), expected);
  assert_null(refused);
  assert_int_equal(error.status, expected);
  assert_true(strlen(error.text) > 20);
  if (exists) {
    assert_int_equal(stat(scratch_path(name), &after), 0);
    assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof before.st_mtim);
    assert_int_equal(before.st_size, after.st_size);
  }
}

static void test_bad_files_are_refused(void** state)
{
  (void)state;
  HrTxn* txn = begin(HR_WRITE);
  HrTreeId tree;
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  for (int i = 0; i < 20000; ++i) {
    assert_ok(append_note(txn, hr_branch_id(tree, 1), i, 60));
  }
  assert_ok(hr_txn_commit(txn));

  assert_int_equal(mkdir(scratch_path("folder"), 0700), 0);
  assert_refused("folder", HR_ERR_NOT_A_STORE);
  write_file("text", "dear diary, today I played in C minor", 37);
  assert_refused("text", HR_ERR_NOT_A_STORE);
  assert_int_equal(mkfifo(scratch_path("pipe"), 0600), 0);
  assert_refused("pipe", HR_ERR_NOT_A_STORE);
  HrStore* refused; // Nor waited for
  assert_int_equal(hr_store_open(scratch_path("pipe"), HR_STORE_READ_ONLY, &refused, NULL),
                   HR_ERR_NOT_A_STORE);
  write_file("in-the-way", "x", 1);
  assert_refused("in-the-way/store.hr", HR_ERR_IO); // ENOTDIR

  uint8_t* bytes = NULL;
  const size_t size = read_store_file(&bytes);
  write_file("short", bytes, 1000);
  assert_refused("short", HR_ERR_TRUNCATED);
  write_file("cut", bytes, size - 8192);
  assert_refused("cut", HR_ERR_TRUNCATED);

  bytes[16 + 8 + 8] ^= 1; // nothing that matters: the map address of meta page 0
  bytes[16] ^= 1;         // its magic
  write_file("magic", bytes, size);
  assert_refused("magic", HR_ERR_NOT_A_STORE);
  bytes[16] ^= 1;
  uint8_t* header = memmem(bytes, size, HR_HEADER_MAGIC "\0", 8);
  assert_non_null(header);
  for (uint8_t* at = header; at;
       at = memmem(at + 1, size - (size_t)(at + 1 - bytes), HR_HEADER_MAGIC "\0", 8)) {
    at[8] = HR_FORMAT_VERSION + 1;
  }
  write_file("newer", bytes, size);
  assert_refused("newer", HR_ERR_NEWER);
  for (uint8_t* at = header; at;
       at = memmem(at + 1, size - (size_t)(at + 1 - bytes), HR_HEADER_MAGIC "\0", 8)) {
    at[0] = 'X';
  }
  write_file("foreign", bytes, size);
  assert_refused("foreign", HR_ERR_NOT_A_STORE);
  free(bytes);

  HrStore* missing = NULL;
  assert_int_equal(hr_store_open(scratch_path("missing"), 0, &missing, NULL), HR_ERR_NOT_FOUND);
  assert_int_equal(hr_store_open("", HR_STORE_CREATE, &missing, NULL), HR_ERR_NOT_FOUND);
  assert_int_equal(access(scratch_path("missing"), F_OK), -1);
  symlink("elsewhere", scratch_path("linked.hr-lock"));
  assert_refused("linked.hr", HR_ERR_PERMISSION);
  assert_int_equal(access(scratch_path("elsewhere"), F_OK), -1);
}

/** Make a file as hr_pages_begin() does, which is killed after so many bytes. */
static void begin_file(const char* name, off_t bytes)
{
  write_file(name, "", 0);
  const int fd = open(scratch_path(name), O_RDWR | O_CLOEXEC);
  assert_true(fd >= 0 && hr_pages_begin(fd));
  assert_int_equal(ftruncate(fd, bytes), 0);
  close(fd);
}

/** Made empty by somebody, it can be a store only where it lies. Nothing was in it yet. */
static void test_a_kill_in_the_first_write_leaves_a_file_to_begin(void** state)
{
  (void)state;
  static const off_t sizes[] = {0, 152, HR_PAGE_SIZE, HR_PAGE_SIZE + 1000, 2 * HR_PAGE_SIZE - 1};
  struct stat info;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
    HrStore* begun = NULL;
    HrTxn* txn = NULL;
    HrTreeId tree;
    begin_file("begun", sizes[i]);
    assert_int_equal(hr_store_open(scratch_path("begun"), 0, &begun, NULL), HR_ERR_NOT_FOUND);
    assert_int_equal(hr_store_open(scratch_path("begun"), HR_STORE_READ_ONLY, &begun, NULL),
                     HR_ERR_NOT_FOUND);
    assert_int_equal(stat(scratch_path("begun"), &info), 0);
    assert_int_equal(info.st_size, sizes[i]);
    assert_ok(hr_store_open(scratch_path("begun"), HR_STORE_CREATE, &begun, NULL));
    assert_ok(hr_txn_begin(begun, HR_WRITE, &txn));
    assert_ok(hr_tree_create(txn, NULL, 0, &tree));
    assert_ok(append_note(txn, hr_branch_id(tree, 1), 0, 60));
    assert_ok(hr_txn_commit(txn));
    hr_store_close(begun);
    assert_ok(hr_store_open(scratch_path("begun"), 0, &begun, NULL));
    hr_store_close(begun);
    unlink(scratch_path("begun-lock"));
  }
}

/** What is as short may have been more, or be something else. */
static void test_no_other_short_file_is_begun(void** state)
{
  (void)state;
  HrTreeId tree;
  uint64_t size;
  uint8_t* bytes = NULL;
  static const uint8_t zeros[HR_PAGE_SIZE];
  write_file("zeros", zeros, sizeof zeros);
  assert_refused("zeros", HR_ERR_NOT_A_STORE);
  begin_file("bytes", 151); // Not even the first page's record of the database
  assert_refused("bytes", HR_ERR_NOT_A_STORE);
  assert_ok(hr_store_compact(store, scratch_path("copy"), false, &size, NULL));
  assert_int_equal(truncate(scratch_path("copy"), HR_PAGE_SIZE), 0);
  assert_refused("copy", HR_ERR_TRUNCATED);
  HrTxn* const txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  assert_ok(hr_txn_commit(txn));
  read_store_file(&bytes);
  write_file("cut", bytes, HR_PAGE_SIZE);
  assert_refused("cut", HR_ERR_TRUNCATED);
  free(bytes);
  for (off_t at = HR_PAGE_SIZE - 1; at > 0; at -= 50) {
    begin_file("changed", HR_PAGE_SIZE);
    const int fd = open(scratch_path("changed"), O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "x", 1, at), 1);
    close(fd);
    assert_refused("changed", at == 16 || at == 17 ? HR_ERR_NOT_A_STORE : HR_ERR_TRUNCATED);
  }
}

static void test_another_process_writes_too(void** state)
{
  (void)state;
  HrTreeId tree;
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, "shared", 0, &tree));
  assert_ok(hr_txn_commit(txn));

  /* A fresh program, as a forked child may not use LMDB's environment. */
  const pid_t child = fork();
  if (child == 0) {
    execl("/proc/self/exe", "test_store", "append", hr_store_path(store), (char*)NULL);
    _exit(9);
  }
  for (int i = 0; i < 50; ++i) {
    txn = begin(HR_WRITE);
    HrBranchId branch;
    assert_ok(hr_branch_fork(txn, hr_branch_id(tree, 1), 0, NULL, &branch));
    assert_ok(append_note(txn, branch, i, 61));
    assert_ok(hr_txn_commit(txn));
  }
  int result = 0;
  assert_int_equal(waitpid(child, &result, 0), child);
  assert_int_equal(result, 0);
  HrBranch root;
  txn = begin(HR_READ);
  assert_ok(hr_branch_get(txn, hr_branch_id(tree, 1), &root));
  assert_int_equal(root.event_count, 50);
  hr_txn_abort(txn);
  verify_clean();
}

static int append_from_child(const char* path)
{
  HrStore* shared = NULL;
  if (hr_store_open(path, 0, &shared, NULL)) {
    return 1;
  }
  for (int i = 0; i < 50; ++i) {
    HrTxn* txn = NULL;
    if (hr_txn_begin(shared, HR_WRITE, &txn) || append_note(txn, hr_branch_id(1, 1), i, 60) ||
        hr_txn_commit(txn)) {
      return 2;
    }
  }
  hr_store_close(shared);
  return 0;
}

/* ---- names ---------------------------------------------------------- */

/** Remove what is found by a text, or put it back. */
static void keep_text(char kind, const char* name, bool there)
{
  uint64_t id = 1;
  char bytes[32] = {kind};
  const size_t size = 9 + strlen(name);
  MDB_val key = {size, bytes};
  HrTxn* txn = begin(HR_WRITE);
  snprintf(bytes + 9, sizeof bytes - 9, "%s", name);
  if (there) {
    assert_ok(hr_put(txn, txn->store->names, bytes, size, &id, sizeof id));
  } else {
    assert_int_equal(mdb_del(txn->txn, txn->store->names, &key, NULL), 0);
  }
  assert_ok(hr_txn_commit(txn));
}

static void test_names_lead_both_ways(void** state)
{
  (void)state;
  HrTreeId tree;
  uint32_t author;
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, "song", 0, &tree));
  assert_ok(hr_author_id(txn, "piano", &author));
  assert_ok(hr_txn_commit(txn));
  verify_clean();
  keep_text('t', "song", false);
  assert_true(verify_complains("Tree 1: its name does not lead back to it."));
  keep_text('t', "song", true);
  keep_text('a', "piano", false);
  assert_true(verify_complains("Author 1: its name does not lead back to it."));
  keep_text('a', "piano", true);
  verify_clean();
  keep_text('a', "organ", true);
  assert_true(verify_complains("The name \"organ\" leads to nothing that is called so."));
}

static void test_names(void** state)
{
  (void)state;
  assert_true(hr_name_valid("verse"));
  assert_true(hr_name_valid("Stück in a♭ 🎹"));
  assert_false(hr_name_valid(""));
  assert_false(hr_name_valid(NULL));
  assert_false(hr_name_valid("#7"));
  assert_false(hr_name_valid("two\nlines"));
  assert_false(hr_name_valid("\x1b[31mred"));
  assert_false(hr_name_valid("\xc2\x9b"
                             "31mred"));
  assert_true(hr_name_valid("no\xc2\xa0"
                            "break"));
  assert_false(hr_name_valid("\xc0\xaf"));
  assert_false(hr_name_valid("\xed\xa0\x80"));
  assert_false(hr_name_valid("cut \xf0\x9f\x8e"));
  assert_false(hr_name_valid("\x80\x80\x80\x80"));
  assert_false(hr_name_valid("\xf5\x80\x80\x80"));
  char name[HR_NAME_MAX + 2];
  memset(name, 'a', sizeof name);
  name[HR_NAME_MAX + 1] = '\0';
  assert_false(hr_name_valid(name));
  name[HR_NAME_MAX] = '\0';
  assert_true(hr_name_valid(name));

  HrTxn* txn = begin(HR_WRITE);
  HrTreeId tree, other;
  HrTree next;
  HrBranchId one, two, found;
  assert_ok(hr_tree_create(txn, "song", 0, &tree));
  assert_ok(hr_tree_find(txn, "#1", &other));
  assert_int_equal(other, tree);
  assert_ok(hr_tree_next(txn, 0, &next));
  assert_int_equal(next.root, hr_branch_id(tree, 1));
  assert_int_equal(next.current, next.root);
  assert_int_equal(hr_tree_create(txn, "song", 0, &other), HR_ERR_EXISTS);
  assert_int_equal(hr_tree_create(txn, "#song", 0, &other), HR_ERR_ARGUMENT);
  assert_ok(hr_branch_fork(txn, hr_branch_id(tree, 1), 0, &(HrForkOptions){.name = name}, &one));
  assert_ok(hr_branch_fork(txn, hr_branch_id(tree, 1), 0, &(HrForkOptions){.name = name}, &two));
  char taken[HR_NAME_MAX + 1];
  assert_ok(hr_branch_name(txn, two, taken));
  assert_string_equal(taken + HR_NAME_MAX - 3, "a 2");
  assert_int_equal(hr_branch_rename(txn, two, "main", 0), HR_ERR_EXISTS);
  assert_ok(hr_branch_rename(txn, two, "chorus", 0));
  assert_ok(hr_branch_find(txn, tree, "chorus", &found));
  assert_true(found == two);
  assert_int_equal(hr_branch_find(txn, tree, taken, &found), HR_ERR_NOT_FOUND);
  assert_ok(hr_branch_find(txn, tree, "#3", &found));
  assert_true(found == two);
  assert_int_equal(hr_branch_find(txn, tree, "#99", &found), HR_ERR_NOT_FOUND);
  static const char* const no_numbers[] = {"#",    "#-1",          "#+1",
                                           "# 1",  "#1 ",          "#4294967297",
                                           "#0x1", "#-4294967295", "#99999999999999999999"};
  for (size_t i = 0; i < sizeof no_numbers / sizeof *no_numbers; ++i) {
    HrTreeId id;
    assert_int_equal(hr_branch_find(txn, tree, no_numbers[i], &found), HR_ERR_NOT_FOUND);
    assert_int_equal(hr_tree_find(txn, no_numbers[i], &id), HR_ERR_NOT_FOUND);
  }

  uint32_t author, again;
  assert_ok(hr_author_id(txn, "tablet", &author));
  assert_ok(hr_author_id(txn, "piano", &again));
  assert_int_not_equal(author, again);
  assert_ok(hr_author_id(txn, "tablet", &again));
  assert_int_equal(author, again);
  assert_ok(hr_author_name(txn, author, name));
  assert_string_equal(name, "tablet");
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

/* ---- events --------------------------------------------------------- */

static void test_every_event_comes_back(void** state)
{
  (void)state;
  enum { COUNT = 5000 };
  HrTreeId tree;
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  const HrBranchId root = hr_branch_id(tree, 1);
  static uint8_t sysex[70000];
  for (int i = 0; i < COUNT; ++i) {
    const uint32_t size = i % 97 == 0 ? (uint32_t)(i * 13 % 69000 + 4) : (uint32_t)(i % 3 + 1);
    memset(sysex, i & 0x7f, size);
    /* Ten events at each tick, and once a gap longer than a word's offset. */
    const HrTick tick = i / 10 * 10 + (i > 3000 ? (HrTick)1 << 40 : 0) - 50;
    assert_ok(hr_append(txn, root, &(HrEvent){tick, HR_EVENT_MIDI, size, sysex}, NULL));
    if (i % 1000 == 999) {
      assert_ok(hr_txn_commit(txn));
      txn = begin(HR_WRITE);
    }
  }
  assert_int_equal(append_note(txn, root, 0, 60), HR_ERR_PAST);
  assert_int_equal(hr_append(txn, root, &(HrEvent){(HrTick)1 << 41, HR_EVENT_MIDI, 0, sysex}, NULL),
                   HR_ERR_ARGUMENT);
  assert_ok(hr_txn_commit(txn));

  for (int from = 0; from < COUNT; from += 613) {
    HrPath path;
    HrEvent event;
    int i = from / 10 * 10;
    txn = begin(HR_READ);
    assert_ok(hr_path_open(txn, root, i + (i > 3000 ? (HrTick)1 << 40 : 0) - 50, &path));
    for (; i < COUNT; ++i) {
      assert_ok(hr_path_next(&path, &event));
      const uint32_t size = i % 97 == 0 ? (uint32_t)(i * 13 % 69000 + 4) : (uint32_t)(i % 3 + 1);
      assert_int_equal(event.size, size);
      assert_true(event.tick == i / 10 * 10 + (i > 3000 ? (HrTick)1 << 40 : 0) - 50);
      assert_int_equal(event.bytes[0], i & 0x7f);
      assert_int_equal(event.bytes[size - 1], i & 0x7f);
    }
    assert_int_equal(hr_path_next(&path, &event), HR_END);
    hr_path_close(&path);
    hr_txn_abort(txn);
  }
  verify_clean();
}

static void test_dense_playing_is_small(void** state)
{
  (void)state;
  enum { COUNT = 200000 };
  HrTreeId tree;
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  for (int i = 0; i < COUNT; ++i) {
    assert_ok(append_note(txn, hr_branch_id(tree, 1), i * 1000, 60));
  }
  assert_ok(hr_txn_commit(txn));
  HrStoreStats stats;
  assert_ok(hr_store_stats(store, &stats));
  const double bytes = (double)stats.file_bytes / COUNT;
  print_message("%.2f bytes an event on disk\n", bytes);
  assert_true(bytes < 8.5);
}

static void test_tempo(void** state)
{
  (void)state;
  HrTreeId tree;
  HrTempo tempo;
  uint8_t bytes[HR_META_TEMPO_SIZE];
  HrBranchId child, grandchild;
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  const HrBranchId root = hr_branch_id(tree, 1);
  assert_ok(hr_tempo_at(txn, root, 100, &tempo));
  assert_true(tempo.tempo == 120.0 && tempo.beats_per_bar == 4 && tempo.beat_unit == 4);
  for (int i = 0; i < 3000; ++i) {
    if (i == 1000) {
      hr_meta_tempo(97.25, bytes);
      assert_ok(
          hr_append(txn, root, &(HrEvent){i, HR_EVENT_META, HR_META_TEMPO_SIZE, bytes}, NULL));
      hr_meta_meter(6, 8, bytes);
      assert_ok(
          hr_append(txn, root, &(HrEvent){i, HR_EVENT_META, HR_META_METER_SIZE, bytes}, NULL));
    }
    assert_ok(append_note(txn, root, i, 60));
  }
  assert_ok(hr_tempo_at(txn, root, 1000, &tempo));
  assert_true(tempo.tempo == 120.0 && tempo.beats_per_bar == 4);
  assert_ok(hr_tempo_at(txn, root, 1001, &tempo));
  assert_true(tempo.tempo == 97.25 && tempo.beats_per_bar == 6 && tempo.beat_unit == 8);
  assert_ok(hr_tempo_at(txn, root, 9000, &tempo));
  assert_true(tempo.tempo == 97.25);
  assert_ok(hr_branch_fork(txn, root, 500, NULL, &child));
  assert_ok(hr_branch_fork(txn, root, 2500, NULL, &grandchild));
  assert_ok(hr_tempo_at(txn, child, 9000, &tempo));
  assert_true(tempo.tempo == 120.0);
  assert_ok(hr_branch_fork(txn, grandchild, 9999, NULL, &grandchild));
  assert_ok(hr_tempo_at(txn, grandchild, 99999, &tempo));
  assert_true(tempo.tempo == 97.25);
  assert_false(hr_meta_apply(&tempo, (const uint8_t*)"\1\0\0\0\0\0\0\xf8\x7f", 9)); // NaN
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

/* ---- the tree against a model that copies everything ----------------- */

enum { MODEL_BRANCHES = 300, MODEL_EVENTS = 400 };

typedef struct {
  int count;
  HrTick ticks[MODEL_EVENTS];
  uint8_t notes[MODEL_EVENTS];
  HrTick head;
} ModelBranch;

static ModelBranch model[MODEL_BRANCHES + 1];

static void check_against_model(HrTxn* txn, HrTreeId tree, uint32_t number, HrTick from)
{
  const ModelBranch* const expected = &model[number];
  HrPath path;
  HrEvent event;
  assert_ok(hr_path_open(txn, hr_branch_id(tree, number), from, &path));
  for (int i = 0; i < expected->count; ++i) {
    if (expected->ticks[i] >= from) {
      assert_ok(hr_path_next(&path, &event));
      assert_true(event.tick == expected->ticks[i]);
      assert_int_equal(event.bytes[1], expected->notes[i]);
    }
  }
  assert_int_equal(hr_path_next(&path, &event), HR_END);
  hr_path_close(&path);
}

static void test_random_trees_equal_the_model(void** state)
{
  (void)state;
  for (unsigned seed = 1; seed <= 6; ++seed) {
    HrTreeId tree;
    HrTxn* txn = begin(HR_WRITE);
    uint32_t branches = 1;
    srand(seed);
    assert_ok(hr_tree_create(txn, NULL, 0, &tree));
    model[1] = (ModelBranch){0};
    for (int step = 0; step < 4000; ++step) {
      const uint32_t number = (uint32_t)rand() % branches + 1;
      ModelBranch* branch = &model[number];
      if (rand() % 12 == 0 && branches < MODEL_BRANCHES) {
        HrBranchId id;
        const HrTick tick = rand() % (branch->head + 5);
        assert_ok(hr_branch_fork(txn, hr_branch_id(tree, number), tick, NULL, &id));
        assert_int_equal(hr_branch_number(id), ++branches);
        ModelBranch* const child = &model[branches];
        *child = *branch;
        while (child->count && child->ticks[child->count - 1] >= tick) {
          --child->count;
        }
        child->head = tick;
        if (branch->head < tick) {
          branch->head = tick; // and, on the path before it, nothing moves: it owns the tick before
        }
      } else if (branch->count < MODEL_EVENTS) {
        branch->head += rand() % 4;
        branch->ticks[branch->count] = branch->head;
        branch->notes[branch->count] = (uint8_t)(rand() % 128);
        assert_ok(append_note(txn, hr_branch_id(tree, number), branch->head,
                              branch->notes[branch->count]));
        branch->count += 1;
      }
      if (rand() % 200 == 0) {
        assert_ok(hr_txn_commit(txn));
        txn = begin(HR_WRITE);
      }
    }
    for (uint32_t number = 1; number <= branches; ++number) {
      check_against_model(txn, tree, number, INT64_MIN);
      check_against_model(txn, tree, number, rand() % (model[number].head + 3));
    }
    assert_ok(hr_txn_commit(txn));
  }
  verify_clean();
}

/** A root without music begins anywhere, and, once a branch has left it, not before that. */
static void test_nothing_enters_a_childs_past(void** state)
{
  (void)state;
  static const HrTick places[] = {1000, -1000};
  const HrWord word = {0, 3, {0x90, 60, 1}};
  HrTxn* txn = begin(HR_WRITE);
  for (unsigned i = 0; i < sizeof places / sizeof *places; ++i) {
    HrTreeId tree;
    HrBranchId child;
    assert_ok(hr_tree_create(txn, NULL, 0, &tree));
    const HrBranchId root = hr_branch_id(tree, 1);
    assert_ok(hr_branch_fork(txn, root, places[i], NULL, &child));
    assert_ok(append_note(txn, child, places[i], 60));
    assert_int_equal(append_note(txn, root, places[i] - 1, 61), HR_ERR_PAST);
    assert_int_equal(hr_append_words(txn, root, places[i] - 1, &word, 1, NULL), HR_ERR_PAST);
    assert_ok(append_note(txn, root, 1000, 62));
  }
  HrTreeId tree;
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  assert_ok(append_note(txn, hr_branch_id(tree, 1), -5, 63));
  assert_int_equal(append_note(txn, hr_branch_id(tree, 1), -6, 64), HR_ERR_PAST);
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

/** Silence at the end of a branch is part of it. */
static void test_a_branch_ends_in_silence(void** state)
{
  (void)state;
  HrTreeId tree;
  HrBranch branch;
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  const HrBranchId root = hr_branch_id(tree, 1);
  assert_ok(append_note(txn, root, 10, 60));
  assert_ok(hr_branch_extend(txn, root, 1000));
  assert_ok(hr_branch_extend(txn, root, 500));
  assert_int_equal(hr_branch_extend(txn, root, HR_TICK_BOUND), HR_ERR_ARGUMENT);
  assert_int_equal(append_note(txn, root, 999, 61), HR_ERR_PAST);
  assert_ok(hr_branch_get(txn, root, &branch));
  assert_int_equal(branch.head_tick, 1000);
  assert_int_equal(branch.event_count, 1);
  assert_ok(append_note(txn, root, 1000, 62));
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

static void test_deep_forks_are_found_fast(void** state)
{
  (void)state;
  enum { DEPTH = 20000 };
  HrTreeId tree;
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  HrBranchId branch = hr_branch_id(tree, 1);
  for (int i = 1; i <= DEPTH; ++i) {
    assert_ok(append_note(txn, branch, i * 10, (uint8_t)(i & 0x7f)));
    assert_ok(hr_branch_fork(txn, branch, i * 10 + 5, NULL, &branch));
  }
  HrBranch owner;
  for (int i = 1; i <= DEPTH; i += 97) {
    assert_ok(hr_branch_owner(txn, branch, i * 10, &owner));
    assert_int_equal(owner.depth, i - 1);
  }
  HrPath path;
  HrEvent event;
  assert_ok(hr_path_open(txn, branch, 0, &path));
  for (int i = 1; i <= DEPTH; ++i) {
    assert_ok(hr_path_next(&path, &event));
    assert_true(event.tick == i * 10);
  }
  assert_int_equal(hr_path_next(&path, &event), HR_END);
  hr_path_close(&path);
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

/* ---- chasing -------------------------------------------------------------- */

/** A random message of those that leave a state behind. */
static uint32_t random_message(uint8_t bytes[3])
{
  static const uint8_t kinds[] = {0x90, 0x80, 0xa0, 0xb0, 0xb0, 0xb0, 0xc0, 0xd0, 0xe0};
  static const uint8_t controllers[] = {0,  1,  6,  7,  11,  32,  38,  64,  66,
                                        96, 97, 98, 99, 100, 101, 120, 121, 123};
  bytes[0] = (uint8_t)(kinds[(size_t)rand() % sizeof kinds] | rand() % 3);
  bytes[1] = (uint8_t)(rand() % 128);
  bytes[2] = (uint8_t)(rand() % 128);
  if ((bytes[0] & 0xf0) == 0xb0 && rand() % 2) {
    bytes[1] = controllers[(size_t)rand() % sizeof controllers];
    bytes[2] = (uint8_t)(rand() % 3);
  }
  return (bytes[0] & 0xe0) == 0xc0 ? 2 : 3;
}

static void follow(void* data, const uint8_t* bytes, uint32_t size)
{
  hr_chase_follow(data, bytes, size);
}

/** Whatever is left out has left nothing behind. */
static void test_many_are_followed_as_one_by_one(void** state)
{
  enum { MANY = 20000, COMMON = 12 };
  (void)state;
  static HrWord words[MANY];
  static HrChase at_once, one_by_one;
  srand(11);
  for (int round = 0; round < 60; ++round) {
    HrWord common[COMMON];
    for (int i = 0; i < COMMON; ++i) {
      common[i] = (HrWord){0};
      common[i].length = (uint8_t)random_message(common[i].bytes);
    }
    for (int i = 0; i < MANY; ++i) {
      /* Few are rare, but for the last round's, which are too many to leave out. */
      words[i] = common[(size_t)rand() % COMMON];
      if (round == 59 || rand() % 40 == 0) {
        words[i].length = (uint8_t)random_message(words[i].bytes);
        words[i].length = (uint8_t)(rand() % 50 ? words[i].length : 1 + rand() % 3);
      }
      words[i].bytes[2] = words[i].length == 3 ? (uint8_t)(rand() % 128) : 0;
    }
    hr_chase_init(&at_once);
    hr_chase_init(&one_by_one);
    hr_chase_follow_words(&at_once, words, MANY);
    for (int i = 0; i < MANY; ++i) {
      hr_chase_follow(&one_by_one, words[i].bytes, words[i].length);
    }
    for (int channel = 0; channel < 16; ++channel) {
      assert_memory_equal(&at_once.channels[channel], &one_by_one.channels[channel],
                          sizeof(HrChaseChannel));
    }
  }
}

static void test_a_state_can_be_sent(void** state)
{
  (void)state;
  static HrChase have, want;
  uint8_t bytes[3];
  srand(3);
  hr_chase_init(&have);
  for (int i = 0; i < 2000; ++i) {
    hr_chase_init(&want);
    for (int k = rand() % 60; k > 0; --k) {
      const uint32_t size = random_message(bytes);
      hr_chase_follow(&want, bytes, size);
    }
    /* To a fresh synthesizer, and to one that has been played. */
    static HrChase fresh;
    hr_chase_init(&fresh);
    hr_chase_send(&fresh, &want, follow, &fresh);
    for (int channel = 0; channel < 16; ++channel) {
      HrChaseChannel* const got = &fresh.channels[channel];
      const HrChaseChannel* const wanted = &want.channels[channel];
      assert_memory_equal(got->controllers, wanted->controllers, 128);
      assert_memory_equal(got->velocities, wanted->velocities, 128);
      assert_memory_equal(got->coarse_last, wanted->coarse_last, sizeof got->coarse_last);
      assert_int_equal(got->program, wanted->program);
      assert_int_equal(got->pressure, wanted->pressure);
      assert_int_equal(got->bend_msb, wanted->bend_msb);
      assert_int_equal(got->bend_lsb, wanted->bend_lsb);
      for (int k = 0; k < wanted->parameter_count; ++k) {
        const HrChaseParameter* const parameter = &wanted->parameters[k];
        if (parameter->msb == HR_CHASE_UNSET && parameter->lsb == HR_CHASE_UNSET) {
          continue; // Selected, but never given a value
        }
        bool found = false;
        for (int m = 0; m < got->parameter_count; ++m) {
          found = found || !memcmp(&got->parameters[m], parameter, sizeof *parameter);
        }
        assert_true(found);
      }
    }
    hr_chase_send(&have, &want, follow, &have);
    for (int channel = 0; channel < 16; ++channel) {
      for (int k = 0; k < 120; ++k) {
        const uint8_t wanted = want.channels[channel].controllers[k];
        assert_true(wanted == HR_CHASE_UNSET || have.channels[channel].controllers[k] == wanted);
      }
    }
  }
}

/** What is found from a checkpoint is what following the whole path gives. */
static void test_chasing_equals_playing(void** state)
{
  (void)state;
  enum { BRANCHES = 12, EVENTS = 90000 };
  static HrChase found, followed;
  HrTreeId tree;
  HrBranchId branches[BRANCHES];
  HrTick heads[BRANCHES] = {0};
  HrTxn* txn = begin(HR_WRITE);
  srand(11);
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  branches[0] = hr_branch_id(tree, 1);
  int count = 1;
  for (int i = 0; i < EVENTS; ++i) {
    const int at = i < EVENTS / 2 ? 0 : rand() % count;
    if (i > EVENTS / 2 && count < BRANCHES && rand() % 40 == 0) {
      heads[count] = rand() % (heads[at] + 1);
      assert_ok(hr_branch_fork(txn, branches[at], heads[count], NULL, &branches[count]));
      ++count;
    }
    uint8_t bytes[3];
    const uint32_t size = random_message(bytes);
    heads[at] += rand() % 3;
    const HrEvent event = {heads[at], HR_EVENT_MIDI, size, bytes};
    assert_ok(hr_append(txn, branches[at], &event, NULL));
  }
  for (int i = 0; i < 60; ++i) {
    const int at = rand() % count;
    const HrTick tick = i % 5 ? rand() % (heads[at] + 2) : heads[at] + 1;
    HrPath path;
    HrEvent event;
    assert_ok(hr_chase_at(txn, branches[at], tick, &found));
    hr_chase_init(&followed);
    assert_ok(hr_path_open(txn, branches[at], INT64_MIN, &path));
    while (!hr_path_next(&path, &event) && event.tick < tick) {
      hr_chase_follow(&followed, event.bytes, event.size);
    }
    hr_path_close(&path);
    for (int channel = 0; channel < 16; ++channel) {
      const HrChaseChannel* const a = &found.channels[channel];
      const HrChaseChannel* const b = &followed.channels[channel];
      assert_memory_equal(a->controllers, b->controllers, 128);
      assert_memory_equal(a->velocities, b->velocities, 128);
      assert_int_equal(a->program, b->program);
      assert_int_equal(a->pressure, b->pressure);
      assert_int_equal(a->bend_msb, b->bend_msb);
    }
  }
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

/* ---- journal, state, damage ------------------------------------------ */

static void test_journal_tells_all(void** state)
{
  (void)state;
  HrTreeId tree;
  HrBranchId child;
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, "t", 3, &tree));
  assert_ok(
      hr_branch_fork(txn, hr_branch_id(tree, 1), 7, &(HrForkOptions){.name = "idea"}, &child));
  assert_ok(hr_branch_switch(txn, child, 7, 0));
  assert_ok(hr_branch_switch(txn, child, 8, 0)); // already there: nothing to tell
  assert_ok(hr_branch_rename(txn, child, "bridge", 0));
  assert_ok(hr_branch_rename(txn, child, "bridge", 0)); // its name already
  assert_int_equal(hr_branch_set_state(txn, child, HR_BRANCH_HIDDEN, 0), HR_ERR_BUSY);
  assert_ok(hr_branch_switch_quietly(txn, hr_branch_id(tree, 1), 9, 0));
  assert_ok(hr_branch_set_state(txn, child, HR_BRANCH_HIDDEN, 0));
  assert_ok(hr_branch_set_state(txn, child, HR_BRANCH_HIDDEN, 0)); // hidden already
  assert_ok(hr_branch_switch(txn, child, 10, 0));                  // brings it back
  assert_ok(hr_tree_rename(txn, tree, "song", 0));
  assert_ok(hr_txn_commit(txn));
  const struct {
    HrOperation operation;
    bool quiet, moves;
    const char *text, *before;
  } expected[] = {
      {HR_OPERATION_CREATE, false, false, "main", ""},
      {HR_OPERATION_FORK, false, false, "idea", ""},
      {HR_OPERATION_SWITCH, false, true, "", ""},
      {HR_OPERATION_RENAME, false, false, "bridge", "idea"},
      {HR_OPERATION_SWITCH, true, true, "", ""},
      {HR_OPERATION_HIDE, false, false, "", ""},
      {HR_OPERATION_RESTORE, false, false, "", ""},
      {HR_OPERATION_SWITCH, false, true, "", ""},
      {HR_OPERATION_RENAME_TREE, false, false, "song", "t"},
  };
  HrJournalEntry entry = {0};
  HrJournalEntry same;
  txn = begin(HR_READ);
  for (size_t i = 0; i < sizeof expected / sizeof *expected; ++i) {
    assert_ok(hr_journal_next(txn, tree, entry.sequence, &entry));
    assert_int_equal(entry.sequence, i + 1);
    assert_int_equal(entry.operation, expected[i].operation);
    assert_int_equal(entry.quiet, expected[i].quiet);
    assert_int_equal(entry.left != 0, expected[i].moves);
    assert_string_equal(entry.text, expected[i].text);
    assert_string_equal(entry.before, expected[i].before);
    assert_ok(hr_journal_get(txn, tree, entry.sequence, &same));
    assert_int_equal(same.sequence, entry.sequence);
    assert_int_equal(same.time_ns, entry.time_ns);
    assert_string_equal(same.before, entry.before);
  }
  assert_int_equal(hr_journal_next(txn, tree, entry.sequence, &entry), HR_END);
  assert_int_equal(hr_journal_get(txn, tree, entry.sequence + 1, &same), HR_ERR_NOT_FOUND);
  HrTree record;
  assert_ok(hr_tree_get(txn, tree, &record));
  assert_true(record.current == child);
  hr_txn_abort(txn);
  verify_clean();
}

static void test_an_aborted_transaction_leaves_nothing(void** state)
{
  (void)state;
  HrTreeId tree;
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, "kept", 0, &tree));
  assert_ok(append_note(txn, hr_branch_id(tree, 1), 5, 60));
  assert_ok(hr_txn_commit(txn));
  txn = begin(HR_WRITE);
  assert_ok(append_note(txn, hr_branch_id(tree, 1), 6, 60));
  hr_txn_abort(txn);
  HrBranch branch;
  txn = begin(HR_READ);
  assert_ok(hr_branch_get(txn, hr_branch_id(tree, 1), &branch));
  assert_int_equal(branch.event_count, 1);
  assert_int_equal(append_note(txn, hr_branch_id(tree, 1), 7, 60), HR_ERR_READ_ONLY);
  hr_txn_abort(txn);
}

static void test_a_damaged_node_is_said_and_stepped_over(void** state)
{
  (void)state;
  HrTreeId tree;
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  const HrBranchId root = hr_branch_id(tree, 1);
  for (int i = 0; i < 3 * (int)HR_NODE_WORDS; ++i) {
    assert_ok(append_note(txn, root, i, 60));
  }
  assert_ok(hr_tail_flush(txn));
  HrTickKey key;
  hr_tick_key(&key, root, HR_NODE_WORDS, 1);
  MDB_val k = {sizeof key, &key};
  MDB_val v;
  assert_int_equal(mdb_get(txn->txn, store->nodes, &k, &v), 0);
  ((uint8_t*)v.mv_data)[1000] ^= 1; // a dirty page: still ours to write to
  assert_ok(hr_txn_commit(txn));

  HrPath path;
  HrSpan span;
  uint32_t events = 0;
  int damaged = 0;
  HrStatus status;
  txn = begin(HR_READ);
  assert_ok(hr_path_open(txn, root, 0, &path));
  while ((status = hr_path_next_span(&path, &span)) != HR_END) {
    damaged += status == HR_ERR_DAMAGED;
    events += span.count;
  }
  assert_int_equal(damaged, 1);
  assert_int_equal(events, 2 * HR_NODE_WORDS);
  hr_path_close(&path);
  hr_txn_abort(txn);
  HrVerifyReport report;
  assert_ok(hr_store_verify(store, print_problem, NULL, &report));
  assert_true(report.problems > 0);
}

static void test_reserved_numbers(void** state)
{
  (void)state;
  HrTreeId tree;
  uint32_t first, second, unused;
  HrBranchId branch;
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  assert_ok(hr_tree_reserve(txn, tree, 100, &first));
  assert_ok(hr_tree_reserve(txn, tree, 100, &second));
  assert_int_equal(second, first + 100);
  assert_int_equal(hr_tree_reserve(txn, tree, UINT32_MAX - 100, &unused), HR_ERR_LIMIT);
  assert_ok(hr_tree_unreserve(txn, tree, first, second)); // Not the last: they stay taken
  assert_ok(hr_tree_reserve(txn, tree, 1, &unused));
  assert_int_equal(unused, second + 100);
  assert_ok(hr_tree_unreserve(txn, tree, second + 40, second + 101));
  assert_ok(hr_tree_reserve(txn, tree, 60, &unused));
  assert_int_equal(unused, second + 40);
  assert_ok(hr_branch_fork(txn, hr_branch_id(tree, 1), 0, NULL, &branch));
  assert_int_equal(hr_branch_number(branch), second + 100);
  assert_ok(hr_branch_fork(txn, hr_branch_id(tree, 1), 0, &(HrForkOptions){.number = first + 5},
                           &branch));
  assert_int_equal(
      hr_branch_fork(txn, hr_branch_id(tree, 1), 0, &(HrForkOptions){.number = first + 5}, &branch),
      HR_ERR_EXISTS);
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

/** Both ways through a tree, over the numbers that nobody took, and not into the trees beside it.
 */
static void test_branches_before_and_after(void** state)
{
  (void)state;
  HrTxn* const txn = begin(HR_WRITE);
  HrTreeId trees[3];
  HrBranchId ids[4];
  HrBranch branch;
  for (int i = 0; i < 3; ++i) {
    assert_ok(hr_tree_create(txn, NULL, 0, &trees[i]));
    assert_ok(hr_branch_fork(txn, hr_branch_id(trees[i], 1), 0, NULL, &ids[0]));
  }
  ids[1] = hr_branch_id(trees[1], 1);
  ids[2] = hr_branch_id(trees[1], 2);
  const HrForkOptions far = {.number = 1000};
  assert_ok(hr_branch_fork(txn, ids[1], 0, &far, &ids[3]));
  uint32_t number = UINT32_MAX;
  for (int i = 3; i >= 1; --i) {
    assert_ok(hr_branch_previous(txn, trees[1], number, &branch));
    assert_true(branch.id == ids[i]);
    number = hr_branch_number(branch.id);
  }
  assert_int_equal(hr_branch_previous(txn, trees[1], number, &branch), HR_END);
  assert_int_equal(hr_branch_previous(txn, trees[1], 0, &branch), HR_END);
  assert_ok(hr_branch_previous(txn, trees[1], 999, &branch));
  assert_true(branch.id == ids[2]);
  assert_ok(hr_branch_next(txn, trees[1], 2, &branch));
  assert_true(branch.id == ids[3]);
  assert_int_equal(hr_branch_next(txn, trees[1], 1000, &branch), HR_END);
  assert_ok(hr_branch_previous(txn, trees[2], UINT32_MAX, &branch)); // The last of all
  assert_true(branch.id == hr_branch_id(trees[2], 2));
  hr_txn_abort(txn);
}

static void test_captures(void** state)
{
  (void)state;
  const uint8_t uuid[16] = {1, 2, 3};
  HrCaptureRecord record = {77, 1};
  HrTxn* txn = begin(HR_WRITE);
  assert_int_equal(hr_capture_get(txn, uuid, &record), HR_ERR_NOT_FOUND);
  assert_ok(hr_capture_put(txn, uuid, &record));
  record.consumed = 0;
  assert_ok(hr_capture_get(txn, uuid, &record));
  assert_int_equal(record.consumed, 77);
  assert_ok(hr_capture_delete(txn, uuid));
  assert_ok(hr_capture_delete(txn, uuid));
  assert_ok(hr_txn_commit(txn));
  txn = begin(HR_READ);
  assert_int_equal(hr_capture_put(txn, uuid, &record), HR_ERR_READ_ONLY);
  assert_int_equal(hr_capture_delete(txn, uuid), HR_ERR_READ_ONLY);
  hr_txn_abort(txn);
}

static void test_read_only(void** state)
{
  (void)state;
  HrTreeId tree;
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, "song", 0, &tree));
  assert_ok(hr_txn_commit(txn));
  char path[4096];
  snprintf(path, sizeof path, "%s", hr_store_path(store));
  hr_store_close(store);
  assert_ok(hr_store_open(path, HR_STORE_READ_ONLY, &store, NULL));
  assert_int_equal(hr_txn_begin(store, HR_WRITE, &txn), HR_ERR_READ_ONLY);
  HrStore* writable = NULL;
  assert_int_equal(hr_store_open(path, 0, &writable, NULL), HR_ERR_BUSY);
  txn = begin(HR_READ);
  assert_ok(hr_tree_find(txn, "song", &tree));
  hr_txn_abort(txn);
}

int main(int argc, char** argv)
{
  if (argc == 3 && !strcmp(argv[1], "append")) {
    return append_from_child(argv[2]);
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_path_is_one_word_for_a_shell),
      TEST(test_open_is_shared_and_private),
      TEST(test_a_store_put_back_beside_a_new_lock_file),
      TEST(test_bad_files_are_refused),
      TEST(test_a_kill_in_the_first_write_leaves_a_file_to_begin),
      TEST(test_no_other_short_file_is_begun),
      TEST(test_another_process_writes_too),
      TEST(test_names),
      TEST(test_names_lead_both_ways),
      TEST(test_every_event_comes_back),
      TEST(test_dense_playing_is_small),
      TEST(test_tempo),
      TEST(test_random_trees_equal_the_model),
      TEST(test_nothing_enters_a_childs_past),
      TEST(test_a_branch_ends_in_silence),
      TEST(test_deep_forks_are_found_fast),
      cmocka_unit_test(test_a_state_can_be_sent),
      cmocka_unit_test(test_many_are_followed_as_one_by_one),
      TEST(test_chasing_equals_playing),
      TEST(test_journal_tells_all),
      TEST(test_an_aborted_transaction_leaves_nothing),
      TEST(test_a_damaged_node_is_said_and_stepped_over),
      TEST(test_reserved_numbers),
      TEST(test_branches_before_and_after),
      TEST(test_captures),
      TEST(test_read_only),
  };
  return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
