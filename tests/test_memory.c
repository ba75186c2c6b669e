/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* The process does not grow with the store, nor the store with its readers.
 * HR_MEMORY_MB is the size of the store that is scanned (256 megabytes). */

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "store/internal.h"
#include "tests/rig_music.h"

enum { WORDS = 1 << 20, LIVE_EVENTS = 1000000, LIVE_COMMIT = 70, CHUNK = 1000 };

/** The most that opening and scanning a store of any size may take. */
enum { ANONYMOUS_MAX_KB = 1024 };

static HrWord music[WORDS];

static void compose(void)
{
  for (uint32_t i = 0; i < WORDS; ++i) {
    music[i] = (HrWord){i * 1000, 3, {i % 2 ? 0x80 : 0x90, (uint8_t)(i / 2 % 128), 100}};
  }
}

static HrTxn* begin(HrStore* store, HrTxnMode mode)
{
  HrTxn* txn = NULL;
  assert_ok(hr_txn_begin(store, mode, &txn));
  return txn;
}

static HrStore* make_store(const char* path)
{
  HrStore* store = NULL;
  HrTreeId tree;
  assert_ok(hr_store_open(path, HR_STORE_CREATE | HR_STORE_UNSYNCED, &store, NULL));
  HrTxn* const txn = begin(store, HR_WRITE);
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  assert_ok(hr_txn_commit(txn));
  return store;
}

/* ---- The process --------------------------------------------------------------- */

static long anonymous_kilobytes(void)
{
  FILE* const file = fopen("/proc/self/smaps", "r");
  char line[4200];
  long sum = 0;
  long value;
  while (file && fgets(line, sizeof line, file)) {
    sum += sscanf(line, "Anonymous: %ld kB", &value) == 1 ? value : 0;
  }
  fclose(file);
  return sum;
}

/** A program of its own, which has not built the store: 0 if all is well. */
static int scan(const char* path, uint64_t expected)
{
  HrStore* store;
  HrTxn* txn;
  HrPath at;
  HrSpan span;
  uint64_t events = 0;
  const long before = anonymous_kilobytes();
  if (hr_store_open(path, 0, &store, NULL) || hr_txn_begin(store, HR_READ, &txn) ||
      hr_path_open(txn, hr_branch_id(1, 1), INT64_MIN, &at)) {
    return 1;
  }
  while (!hr_path_next_span(&at, &span)) {
    events += span.node->event_count;
  }
  const long grown = anonymous_kilobytes() - before;
  hr_path_close(&at);
  hr_txn_abort(txn);
  hr_store_close(store);
  printf("scan of %llu events: %ld kB more of anonymous memory\n", (unsigned long long)events,
         grown);
  return events != expected ? 2 : grown > ANONYMOUS_MAX_KB ? 3 : 0;
}

static void test_memory_does_not_grow_with_the_store(void** state)
{
  (void)state;
  const char* const wish = getenv("HR_MEMORY_MB");
  const uint64_t runs = (wish ? strtoul(wish, NULL, 10) : 256) * 131072 / WORDS;
  char count[32];
  HrStore* const store = make_store(scratch_path("large.hr"));
  for (uint64_t i = 0; i < runs; ++i) {
    HrTxn* const txn = begin(store, HR_WRITE);
    assert_ok(
        hr_append_words(txn, hr_branch_id(1, 1), (HrTick)i * WORDS * 1000, music, WORDS, NULL));
    assert_ok(hr_txn_commit(txn));
  }
  hr_store_close(store);
  snprintf(count, sizeof count, "%llu", (unsigned long long)runs * WORDS);
  const pid_t child = fork();
  if (child == 0) {
    execl("/proc/self/exe", "test_memory", "scan", scratch_path("large.hr"), count, (char*)NULL);
    _exit(9);
  }
  int result = 0;
  assert_int_equal(waitpid(child, &result, 0), child);
  assert_int_equal(result, 0);
}

/* ---- What will be needed ------------------------------------------------------ */

static void drop_from_memory(const char* path)
{
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  assert_true(fd >= 0 && !fdatasync(fd) && !posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
  close(fd);
}

/** Of the next nodes of the path, how many are in memory. Looks at none. */
static unsigned nodes_in_memory(HrTxn* txn, HrTick from, unsigned count)
{
  HrNodeCursor* nodes;
  unsigned resident = 0;
  assert_int_equal(hr_nodes_open(txn, &nodes), 0);
  int code = hr_nodes_before(nodes, hr_branch_id(1, 1), from + 1);
  for (unsigned i = 0; i < count && !code; ++i) {
    unsigned char is_there = 0;
    const uintptr_t page = (uintptr_t)nodes->node.mv_data & ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
    assert_int_equal(mincore((void*)page, 1, &is_there), 0);
    resident += is_there & 1;
    code = hr_nodes_next(nodes);
  }
  hr_nodes_close(nodes);
  return resident;
}

/** What the system was told of the map of a file: two letters each, as in proc(5). */
static bool map_has_flag(const char* path, const char* flag)
{
  FILE* const file = fopen("/proc/self/smaps", "re");
  char line[4300];
  bool ours = false;
  bool has = false;
  assert_non_null(file);
  while (fgets(line, sizeof line, file)) {
    if (strchr(line, '/')) {
      ours = strstr(line, path) && !strstr(line, "-lock");
    } else if (ours && !strncmp(line, "VmFlags:", 8)) {
      has = strstr(line, flag) != NULL;
    }
  }
  fclose(file);
  return has;
}

/** A seek reads the pages that it needs, and none beside them. */
static void test_nothing_is_read_ahead_unasked(void** state)
{
  (void)state;
  HrStore* store = make_store(scratch_path("seek.hr"));
  assert_true(map_has_flag(hr_store_path(store), " rr"));
  hr_store_close(store);
}

static void test_what_will_be_needed_is_read_in(void** state)
{
  (void)state;
  enum { NODES = 500, ASKED = 100 };
  const HrTick from = (HrTick)WORDS / 2 * 1000; // Far from what opening the store reads
  const char* const path = scratch_path("cold.hr");
  HrStore* store = make_store(path);
  HrTxn* txn = begin(store, HR_WRITE);
  assert_ok(hr_append_words(txn, hr_branch_id(1, 1), 0, music, WORDS, NULL));
  assert_ok(hr_txn_commit(txn));
  hr_store_close(store);
  drop_from_memory(path);
  assert_ok(hr_store_open(path, 0, &store, NULL));
  txn = begin(store, HR_READ);
  const unsigned before = nodes_in_memory(txn, from, ASKED);
  if (before > ASKED / 2) {
    hr_txn_abort(txn);
    hr_store_close(store);
    skip(); // The folder is in memory itself, or the system keeps what it should not
  }
  /* The first one of them began before. */
  assert_ok(hr_path_will_need(txn, hr_branch_id(1, 1), from, ASKED + 1));
  unsigned after = 0;
  for (int i = 0; i < 200 && after < ASKED; ++i) { // It is read while we do something else
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    after = nodes_in_memory(txn, from, ASKED);
  }
  print_message("of %d nodes %u were in memory, %u after they were asked for\n", ASKED, before,
                after);
  assert_int_equal(after, ASKED);
  assert_true(nodes_in_memory(txn, from, NODES) < NODES);
  hr_txn_abort(txn);
  hr_store_close(store);
}

/* ---- The store ------------------------------------------------------------------ */

/** Read some of what is there, as the worker does: a transaction for each ring full. */
static void replay_some(HrTxn* txn, HrTick* from)
{
  HrPath path;
  HrEvent event = {.tick = *from};
  HrStatus status = hr_path_open(txn, hr_branch_id(1, 1), *from, &path);
  for (int i = 0; i < CHUNK && !status; ++i) {
    status = hr_path_next(&path, &event);
  }
  *from = status == HR_END ? 0 : event.tick + 1;
  hr_path_close(&path);
  hr_txn_abort(txn);
}

/** Bytes of the store with LIVE_EVENTS in it, which another reads meanwhile if `replayed`. */
static uint64_t record(const char* name, bool replayed)
{
  HrStore* const store = make_store(scratch_path(name));
  HrTick from = 0;
  for (uint32_t i = 0; i < LIVE_EVENTS;) {
    HrTxn* const txn = begin(store, HR_WRITE);
    const uint32_t end = i + LIVE_COMMIT < LIVE_EVENTS ? i + LIVE_COMMIT : LIVE_EVENTS;
    for (; i < end; ++i) {
      const HrEvent event = {music[i].offset, HR_EVENT_MIDI, 3, music[i].bytes};
      assert_ok(hr_append(txn, hr_branch_id(1, 1), &event, NULL));
    }
    HrTxn* const reader = replayed ? begin(store, HR_READ) : NULL;
    assert_ok(hr_txn_commit(txn));
    if (reader) {
      replay_some(reader, &from); // What it sees is older than what was just written
    }
  }
  HrStoreStats stats;
  assert_ok(hr_store_stats(store, &stats));
  hr_store_close(store);
  return stats.file_bytes;
}

static void test_a_store_replayed_while_recorded_does_not_bloat(void** state)
{
  (void)state;
  const uint64_t alone = record("alone.hr", false);
  const uint64_t replayed = record("replayed.hr", true);
  print_message("%u events: %llu bytes recorded alone, %llu while replayed\n", LIVE_EVENTS,
                (unsigned long long)alone, (unsigned long long)replayed);
  assert_true(replayed <= alone + alone / 20);
}

/* ---- The session ----------------------------------------------------------------- */

static int count_readers(const char* line, void* data)
{
  unsigned* const lines = data;
  ++*lines;
  return strstr(line, "no active readers") ? 0 : -1;
}

/** Between two calls of the worker nothing is held that keeps pages from reuse. */
static void assert_no_reader(HrStore* store)
{
  unsigned lines = 0;
  assert_true(mdb_reader_list(store->env, count_readers, &lines) >= 0);
  assert_true(lines > 0);
}

static void test_a_session_keeps_no_reader(void** state)
{
  (void)state;
  HrStore* store = NULL;
  const HrAttachment where = place();
  assert_true(rig_open(&rig, &where));
  assert_ok(hr_store_open(scratch_path("store.hr"), 0, &store, NULL));
  for (int i = 0; i < 400; ++i) {
    play_note(i * BEAT / 4, (uint8_t)(36 + i % 48), BEAT / 8);
  }
  rig_run(&rig, 110 * BEAT);
  assert_ok(rig_say(&rig, "overdub", NULL));
  assert_ok(rig_say(&rig, "replay", NULL));
  for (int i = 0; i < 300; ++i) {
    play_note(i * BEAT / 4, (uint8_t)(36 + i % 48), BEAT / 8);
  }
  for (int i = 0; i < 400; ++i) {
    rig_run(&rig, BEAT / 4);
    assert_no_reader(store);
  }
  assert_true(rig.output_count > 1000); // It was replayed
  assert_true(music_of("take 2").count > 1000);
  hr_store_close(store);
  rig_close(&rig);
}

static int setup_scratch(void** state)
{
  (void)state;
  return scratch_make();
}

/** For what cannot be seen in memory. */
static int setup_on_disk(void** state)
{
  setenv("TMPDIR", "/var/tmp", 0);
  return setup_scratch(state);
}

static int teardown_scratch(void** state)
{
  (void)state;
  scratch_remove();
  return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_scratch, teardown_scratch)

int main(int argc, char** argv)
{
  if (argc == 4 && !strcmp(argv[1], "scan")) {
    return scan(argv[2], strtoull(argv[3], NULL, 10));
  }
  compose();
  const struct CMUnitTest tests[] = {
      TEST(test_memory_does_not_grow_with_the_store),
      TEST(test_a_store_replayed_while_recorded_does_not_bloat),
      TEST(test_a_session_keeps_no_reader),
      TEST(test_nothing_is_read_ahead_unasked),
      cmocka_unit_test_setup_teardown(test_what_will_be_needed_is_read_in, setup_on_disk,
                                      teardown_scratch),
  };
  return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
