/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* The power goes while somebody plays. What a session told its disk is traced, and
 * from it files are made as they may be found afterwards: of what was not synced,
 * writes are missing, torn, or there without those before them. Every such store must
 * open and verify, hold all that was played more than a second before, and each name
 * that a command had promised. HR_IMAGES says how many files (300). */

#include "tests/disk_trace.h"
#include "tests/rig.h"
#include "tests/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#define assert_ok(call) assert_int_equal((call), HR_OK)

#define SECOND INT64_C(1000000000)

enum {
  EVENTS_MAX = 1 << 16,
  NAMES_MAX = 256,
  PLAY_SECONDS = 4,
};

/** What was played, and when that was promised to be kept. */
static struct {
  int64_t played_ns[EVENTS_MAX]; ///< Its run had returned
  size_t events;
  struct {
    char name[40];
    int64_t promised_ns;
    bool at_once; ///< By the time the command returned, not a second later
  } names[NAMES_MAX];
  size_t name_count;
} music;

static int64_t monotonic_ns(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * SECOND + now.tv_nsec;
}

/** The n-th message: a controller, as that is neither paired nor answered. */
static void compose(size_t n, uint8_t bytes[3])
{
  bytes[0] = (uint8_t)(0xb0 | (n / (60 * 128)) % 16);
  bytes[1] = (uint8_t)(n / 128 % 60);
  bytes[2] = (uint8_t)(n % 128);
}

static size_t number_of(const uint8_t bytes[3])
{
  return (size_t)(bytes[0] & 0x0f) * 60 * 128 + bytes[1] * 128u + bytes[2];
}

static void promise(const char* name, bool at_once)
{
  snprintf(music.names[music.name_count].name, sizeof music.names[0].name, "%s", name);
  music.names[music.name_count].promised_ns = monotonic_ns();
  music.names[music.name_count].at_once = at_once;
  ++music.name_count;
}

/** Play in real time, with forks and new names, and trace what reaches the disk. */
static void play(unsigned per_second)
{
  const HrAttachment where = {.store = scratch_path("played.hr"), .tree = "power"};
  Rig rig;
  char name[40], other[40];
  assert_true(rig_open(&rig, &where));
  memset(&music, 0, sizeof music);
  rig.block = 480;
  const unsigned blocks = PLAY_SECONDS * 100;
  disk_trace_begin(where.store);
  const int64_t begun = monotonic_ns();
  for (unsigned i = 0; i < blocks; ++i) {
    for (size_t due = (size_t)(i + 1) * per_second / 100; music.events < due;) {
      uint8_t bytes[3];
      compose(music.events, bytes);
      rig_play(&rig, 1, bytes[0], bytes[1], bytes[2]);
      music.played_ns[music.events++] = INT64_MAX;
    }
    rig_run_block(&rig, rig.block);
    for (size_t k = music.events; k > 0 && music.played_ns[k - 1] == INT64_MAX; --k) {
      music.played_ns[k - 1] = monotonic_ns();
    }
    const unsigned changing = i > blocks / 2 ? i % 37 : 0; // At first, events alone
    if (changing == 20) {
      snprintf(name, sizeof name, "fork %u", i);
      assert_ok(rig_say(&rig, "fork", name));
      promise(name, false);
    }
    if (changing == 30) {
      snprintf(other, sizeof other, "named %u", i);
      const HrValue arguments[2] = {hr_value_text(name), hr_value_text(other)};
      if (rig_command(&rig, "rename", arguments, 2) == HR_OK) {
        promise(other, true);
      }
    }
    const int64_t due = begun + (int64_t)(i + 1) * SECOND / 100;
    const struct timespec until = {due / SECOND, due % SECOND};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
  }
  rig_close(&rig);
}

/* ---- Afterwards --------------------------------------------------------------- */

/** What was found in the images. */
static struct {
  unsigned images, refused, unsound, events_missing, events_twice, names_missing;
  DiskTorn torn;
} found;

static void print_problem(void* data, const char* sentence)
{
  (void)data;
  print_message("  %s\n", sentence);
}

/** Mark the events of all branches; each branch has only its own. */
static void look_for_events(HrTxn* txn, HrTreeId tree, uint8_t* seen)
{
  HrBranch branch;
  for (uint32_t after = 0; !hr_branch_next(txn, tree, after, &branch);
       after = hr_branch_number(branch.id)) {
    HrPath path;
    HrSpan span;
    assert_ok(hr_path_open(txn, branch.id, INT64_MIN, &path));
    while (!hr_path_next_span(&path, &span)) {
      HrEvent event;
      for (uint32_t i = 0; span.branch == branch.id && hr_span_next(&span, &i, &event);) {
        if (event.kind == HR_EVENT_MIDI && event.size == 3 && number_of(event.bytes) < EVENTS_MAX) {
          ++seen[number_of(event.bytes)];
        }
      }
    }
    hr_path_close(&path);
  }
}

static void check_music(HrStore* store, int64_t cut_ns)
{
  static uint8_t seen[EVENTS_MAX];
  HrTxn* txn = NULL;
  HrTreeId tree = 0;
  HrBranchId branch;
  memset(seen, 0, sizeof seen);
  assert_ok(hr_txn_begin(store, HR_READ, &txn));
  if (!hr_tree_find(txn, "power", &tree)) { // It is made with its first event
    look_for_events(txn, tree, seen);
  }
  for (size_t i = 0; i < music.events; ++i) {
    found.events_missing += !seen[i] && music.played_ns[i] < cut_ns - SECOND;
    found.events_twice += seen[i] > 1;
  }
  for (size_t i = 0; i < music.name_count; ++i) {
    const int64_t late = music.names[i].at_once ? 0 : SECOND;
    const bool renamed = i + 1 < music.name_count && music.names[i + 1].at_once;
    if (music.names[i].promised_ns < cut_ns - late && !renamed) {
      found.names_missing += hr_branch_find(txn, tree, music.names[i].name, &branch) != HR_OK;
    }
  }
  hr_txn_abort(txn);
}

static void check_image(size_t last, unsigned seed)
{
  const char* const path = scratch_path("image.hr");
  const unsigned sector = seed % 2 ? 512 : 4096;
  HrStore* store = NULL;
  HrError error = {HR_OK, ""};
  HrVerifyReport report = {0};
  DiskTorn torn;
  assert_true(disk_trace_image(last, sector, seed, path, &torn));
  ++found.images;
  found.torn.kept += torn.kept;
  found.torn.dropped += torn.dropped;
  found.torn.torn += torn.torn;
  if (hr_store_open(path, 0, &store, &error)) {
    print_message("  %s\n", error.text);
    ++found.refused;
  } else {
    found.unsound +=
        hr_store_verify(store, print_problem, NULL, &report) != HR_OK || report.problems;
    check_music(store, disk_trace_time(last));
    hr_store_close(store);
  }
  unlink(path);
}

static void test_what_is_older_than_a_second_is_there(void** state)
{
  (void)state;
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  skip(); // Sanitizers interpose the same calls
#endif
#endif
  static const unsigned rates[] = {2, 50, 1500};
  enum { RATES = sizeof rates / sizeof *rates };
  const char* const wanted = getenv("HR_IMAGES");
  const unsigned images = wanted ? (unsigned)atoi(wanted) : 300;
  unsigned seed = 1;
  size_t operations = 0;
  for (unsigned i = 0; i < RATES; ++i) {
    play(rates[i]);
    const size_t count = disk_trace_count();
    assert_true(count > 8); // Making the store, and a commit: no more where the machine stalls
    operations += count;
    for (unsigned k = 0; k < images / RATES; ++k, ++seed) {
      unsigned draw = seed;
      check_image((size_t)rand_r(&draw) % count, seed);
    }
    disk_trace_end();
    unlink(scratch_path("played.hr"));
    unlink(scratch_path("played.hr-lock"));
  }
  print_message(
      "%u images of %zu writes and syncs; of those not synced %u kept, %u dropped, "
      "%u torn: %u refused, %u unsound, %u events and %u names missing, %u events twice\n",
      found.images, operations, found.torn.kept, found.torn.dropped, found.torn.torn, found.refused,
      found.unsound, found.events_missing, found.names_missing, found.events_twice);
  assert_int_equal(found.refused + found.unsound + found.events_missing + found.names_missing +
                       found.events_twice,
                   0);
}

static int setup(void** state)
{
  (void)state;
  if (scratch_make()) {
    return -1;
  }
  return 0;
}

static int teardown(void** state)
{
  (void)state;
  scratch_remove();
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_what_is_older_than_a_second_is_there, setup, teardown),
  };
  return cmocka_run_group_tests_name("power loss", tests, NULL, NULL);
}
