/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Several programs on one store: the tool while a host records, two hosts,
 * readers that are killed. */

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "store/internal.h"
#include "store/snapshot.h"
#include "tests/rig_music.h"

/** Run the real tool on the store; its exit status. `file` gets what it prints. */
static int tool(const char* file, const char* const* args)
{
  const char* argv[12] = {HR_TEST_BUNDLE "../halfremembered", "--store", scratch_path("store.hr"),
                          "--force"};
  int count = 4;
  while (*args && count < 11) {
    argv[count++] = *args++;
  }
  const pid_t child = fork();
  if (child == 0) {
    const int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    execv(argv[0], (char* const*)argv);
    _exit(127);
  }
  int result = 0;
  assert_int_equal(waitpid(child, &result, 0), child);
  return WIFEXITED(result) ? WEXITSTATUS(result) : -1;
}

#define run_tool(...) tool(scratch_path("said"), (const char* const[]){__VA_ARGS__, NULL})

static HrStore* open_here(void)
{
  HrStore* store = NULL;
  assert_ok(hr_store_open(scratch_path("store.hr"), 0, &store, NULL));
  return store;
}

/** Note-ons of `key` on the whole path of a branch, or of all branches of the tree. */
static int count_key(const char* name, uint8_t key)
{
  const Music music = music_of(name);
  int count = 0;
  for (int i = 0; i < music.count; ++i) {
    count += music.bytes[i][0] == 0x90 && music.bytes[i][1] == key;
  }
  return count;
}

/* ---- The tool beside a host ---------------------------------------------------- */

static void test_the_tool_works_while_a_host_records(void** state)
{
  (void)state;
  char name[32];
  play_note(0, 60, BEAT / 2);
  rig_run(&rig, BEAT);
  state_now(); // In the store: the tool finds the tree
  const char* const branch = "main";
  enum { ROUNDS = 12 };
  for (int i = 1; i < ROUNDS; ++i) {
    play_note(0, 60, BEAT / 2);
    rig_run(&rig, BEAT / 4);
    snprintf(name, sizeof name, "from outside %d", i);
    assert_int_equal(run_tool("tree"), 0);
    assert_int_equal(run_tool("export", branch, scratch_path("out.mid")), 0);
    assert_int_equal(run_tool("fork", name), 0);
    assert_int_equal(run_tool("rename", name, i % 2 ? "odd" : "even"), i <= 2 ? 0 : 1);
    assert_int_equal(run_tool("backup", scratch_path("backup.hr")), 0);
    rig_run(&rig, BEAT * 3 / 4);
  }
  rig_run(&rig, BAR);
  assert_int_equal(run_tool("verify"), 0);
  assert_int_equal(count_key(state_now().branch_name, 60), ROUNDS);
  assert_int_equal(state_now().dropped, 0);
  assert_int_equal(state_now().trouble, HR_OK);
}

/* ---- Two hosts ---------------------------------------------------------------------- */

enum { NOTES = 400 };

/** Play NOTES notes of `key` into a tree in real blocks, committing now and then. */
static int play_host(const char* store, const char* tree, uint8_t key)
{
  const HrAttachment where = {.store = store, .tree = tree};
  if (!rig_open(&rig, &where)) {
    return 1;
  }
  for (int i = 0; i < NOTES; ++i) {
    play_note(10, key, 200);
    rig_run(&rig, 512);
    if (i % 10 == 0 && hr_session_flush(rig.session)) {
      return 2;
    }
  }
  rig_run(&rig, BAR);
  const HrSessionState now = state_now();
  rig_close(&rig);
  return now.trouble || now.dropped || now.recorded != 2 * NOTES ? 3 : 0;
}

static pid_t start_host(const char* tree, const char* key)
{
  const pid_t child = fork();
  if (child == 0) {
    execl("/proc/self/exe", "test_two_programs", scratch_path("store.hr"), tree, key, (char*)NULL);
    _exit(9);
  }
  return child;
}

static void wait_for(pid_t child)
{
  int result = 0;
  assert_int_equal(waitpid(child, &result, 0), child);
  assert_true(WIFEXITED(result));
  assert_int_equal(WEXITSTATUS(result), 0);
}

/** How many note-ons of `key` the nodes of a tree hold, each event counted once. */
static int count_in_tree(const char* name, uint8_t key)
{
  HrStore* const store = open_here();
  HrTxn* txn;
  HrTreeId tree;
  HrNodeCursor* nodes;
  int count = 0;
  assert_ok(hr_txn_begin(store, HR_READ, &txn));
  assert_ok(hr_tree_find(txn, name, &tree));
  assert_int_equal(hr_nodes_open(txn, &nodes), 0);
  while (!hr_nodes_next(nodes)) {
    const HrNodeHeader* const node = nodes->node.mv_data;
    const HrSpan span = {node, (const HrWord*)(node + 1), node->word_count, node->base_tick, 0};
    HrEvent event;
    uint32_t index = 0;
    while (hr_branch_tree(hr_tick_key_branch(&nodes->key)) == tree &&
           hr_span_next(&span, &index, &event)) {
      count += event.kind == HR_EVENT_MIDI && event.bytes[0] == 0x90 && event.bytes[1] == key;
    }
  }
  hr_nodes_close(nodes);
  hr_txn_abort(txn);
  HrVerifyReport report;
  assert_ok(hr_store_verify(store, NULL, NULL, &report));
  assert_int_equal(report.problems, 0);
  hr_store_close(store);
  return count;
}

static void test_two_hosts_with_a_tree_each(void** state)
{
  (void)state;
  const pid_t one = start_host("one", "61");
  const pid_t two = start_host("two", "62");
  wait_for(one);
  wait_for(two);
  assert_int_equal(count_in_tree("one", 61), NOTES);
  assert_int_equal(count_in_tree("two", 62), NOTES);
  assert_int_equal(count_in_tree("one", 62), 0);
}

/** The second goes to a fork: nothing of either is lost. */
static void test_two_hosts_on_one_branch(void** state)
{
  (void)state;
  HrStore* const store = open_here();
  HrTxn* txn;
  HrTreeId tree;
  assert_ok(hr_txn_begin(store, HR_WRITE, &txn));
  assert_ok(hr_tree_create(txn, "shared", 0, &tree)); // Else each would begin one of its own
  assert_ok(hr_txn_commit(txn));
  hr_store_close(store);
  const pid_t one = start_host("shared", "61");
  const pid_t two = start_host("shared", "62");
  wait_for(one);
  wait_for(two);
  assert_int_equal(count_in_tree("shared", 61), NOTES);
  assert_int_equal(count_in_tree("shared", 62), NOTES);
}

/* ---- Readers that are killed ---------------------------------------------------- */

/** A process that holds `count` read transactions until it is killed. */
static pid_t start_reader(int count)
{
  int ready[2];
  char byte;
  assert_int_equal(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    execl("/proc/self/exe", "test_two_programs", scratch_path("store.hr"),
          (char[12]){(char)('0' + ready[1] / 10), (char)('0' + ready[1] % 10)},
          count > 1 ? "many" : "few", "read", (char*)NULL);
    _exit(9);
  }
  close(ready[1]);
  assert_int_equal(read(ready[0], &byte, 1), 1);
  close(ready[0]);
  return child;
}

static void end_reader(pid_t child)
{
  kill(child, SIGKILL);
  assert_int_equal(waitpid(child, NULL, 0), child);
}

static int hold_readers(const char* path, int ready, bool many)
{
  HrStore* store = NULL;
  HrTxn* txn;
  if (hr_store_open(path, HR_STORE_READ_ONLY, &store, NULL) || hr_txn_begin(store, HR_READ, &txn)) {
    return 1;
  }
  while (many && !hr_txn_begin(store, HR_READ, &txn)) {
  }
  if (write(ready, "r", 1) != 1) {
    return 2;
  }
  pause();
  return 0;
}

static void commit_often(HrStore* store, int times)
{
  for (int i = 0; i < times; ++i) {
    HrTxn* txn;
    const uint8_t ring[16] = {(uint8_t)i};
    assert_ok(hr_txn_begin(store, HR_WRITE, &txn));
    assert_ok(hr_capture_put(txn, ring, &(HrCaptureRecord){(uint64_t)i, 1}));
    assert_ok(hr_txn_commit(txn));
  }
}

static uint64_t file_bytes(HrStore* store)
{
  HrStoreStats stats;
  assert_ok(hr_store_stats(store, &stats));
  return stats.file_bytes;
}

/** A store that stays open for days: a reader that dies in between must not keep
 * every page that is replaced from then on. */
static void test_a_dead_reader_does_not_bloat_the_store(void** state)
{
  (void)state;
  HrStore* const store = open_here();
  commit_often(store, 200);
  const pid_t reader = start_reader(1);
  commit_often(store, 10);
  end_reader(reader);
  commit_often(store, 64); // At most so many until it is found out
  const uint64_t before = file_bytes(store);
  commit_often(store, 2000);
  const uint64_t after = file_bytes(store);
  print_message("%llu kB after the reader died, %llu kB after 2000 commits more\n",
                (unsigned long long)before / 1024, (unsigned long long)after / 1024);
  assert_true(after <= before + before / 20);
  hr_store_close(store);
}

/** Check the store by a link to it; `turn` is a byte for each step. */
static int check_by_link(const int turn[2])
{
  HrSnapshot snapshot;
  char byte = 0;
  if (hr_snapshot_open(&snapshot, scratch_path("near.hr"), NULL) || write(turn[1], "s", 1) != 1 ||
      read(turn[0], &byte, 1) != 1) {
    return 1;
  }
  return hr_pages_check(&snapshot.pages, HR_PAGES_ALL, NULL) ? 2 : 0;
}

/** What a check looks at stays as it is while others record, also where the store is
 * reached by a link: no damage is seen where none is. */
static void test_a_check_by_a_link_holds_its_pages(void** state)
{
  (void)state;
  int to[2], from[2], result;
  char byte;
  HrStore* const store = open_here();
  commit_often(store, 200);
  assert_int_equal(symlink(scratch_path("store.hr"), scratch_path("near.hr")), 0);
  assert_int_equal(pipe(to) | pipe(from), 0);
  const pid_t child = fork();
  if (child == 0) {
    _exit(check_by_link((const int[]){to[0], from[1]}));
  }
  close(from[1]);
  assert_int_equal(read(from[0], &byte, 1), 1);
  commit_often(store, 200);
  assert_int_equal(write(to[1], "g", 1), 1);
  assert_int_equal(waitpid(child, &result, 0), child);
  close(from[0]);
  close(to[0]);
  close(to[1]);
  assert_true(WIFEXITED(result));
  assert_int_equal(WEXITSTATUS(result), 0);
  assert_int_equal(access(scratch_path("near.hr-lock"), F_OK), -1);
  hr_store_close(store);
}

/** All places for readers are taken by one that was killed. */
static void test_dead_readers_make_room(void** state)
{
  (void)state;
  HrStore* const store = open_here();
  HrTxn* txn;
  commit_often(store, 1);
  end_reader(start_reader(2));
  assert_int_equal(hr_txn_begin(store, HR_READ, &txn), HR_OK);
  hr_txn_abort(txn);
  hr_store_close(store);
}

/** All places for readers are taken: the host goes on recording, and says nothing
 * is lost; the tool says what to do, and works when they have gone. */
static void test_no_place_for_a_reader(void** state)
{
  (void)state;
  play_note(0, 60, BEAT / 2);
  rig_run(&rig, BEAT);
  state_now();
  const pid_t reader = start_reader(2);
  assert_int_not_equal(run_tool("tree"), 0);
  play_note(0, 60, BEAT / 2);
  rig_run(&rig, BAR);
  hr_session_flush(rig.session);
  end_reader(reader);
  assert_int_equal(run_tool("tree"), 0);
  assert_int_equal(count_key("main", 60), 2);
  assert_int_equal(state_now().dropped, 0);
}

int main(int argc, char** argv)
{
  if (argc == 4) {
    return play_host(argv[1], argv[2], (uint8_t)atoi(argv[3]));
  }
  if (argc == 5) {
    return hold_readers(argv[1], atoi(argv[2]), !strcmp(argv[3], "many"));
  }
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(test_the_tool_works_while_a_host_records),
      TEST(test_two_hosts_with_a_tree_each),
      TEST(test_two_hosts_on_one_branch),
      TEST(test_a_dead_reader_does_not_bloat_the_store),
      TEST(test_a_check_by_a_link_holds_its_pages),
      TEST(test_dead_readers_make_room),
      TEST(test_no_place_for_a_reader),
  };
  return cmocka_run_group_tests_name("two programs", tests, NULL, NULL);
}
