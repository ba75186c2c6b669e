/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Power that goes at any instant. All writes and syncs of a session are recorded;
 * files are rebuilt from them in which what was not synced is dropped, reordered
 * and torn. Each must open, verify, and hold what was acknowledged. HR_CASES and
 * HR_SEED say how many and which. */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <cmocka.h>

#include "tests/rig_music.h"

#define EXPORT __attribute__((visibility("default")))

typedef enum { STEP_WRITE, STEP_SYNC, STEP_TRUNCATE, STEP_ACKNOWLEDGE } StepKind;

typedef struct {
  StepKind kind;
  bool synced; ///< A write through an O_DSYNC descriptor
  off_t offset;
  size_t size; ///< ACKNOWLEDGE: messages that are in the store; TRUNCATE: bytes of the file
  uint8_t* bytes;
} Step;

static Step* steps;
static size_t step_count;
static bool recording;

static Step* add_step(StepKind kind)
{
  steps = realloc(steps, (step_count + 1) * sizeof *steps);
  Step* const step = &steps[step_count++];
  *step = (Step){.kind = kind};
  return step;
}

/** Nothing but the store is written to while we record. */
static void record_write(int fd, const void* bytes, ssize_t size, off_t offset)
{
  if (recording && size > 0) {
    Step* const step = add_step(STEP_WRITE);
    step->synced = fcntl(fd, F_GETFL) & O_DSYNC;
    step->offset = offset;
    step->size = (size_t)size;
    step->bytes = malloc(step->size);
    memcpy(step->bytes, bytes, step->size);
  }
}

EXPORT ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset)
{
  const ssize_t done = syscall(SYS_pwrite64, fd, bytes, size, offset);
  record_write(fd, bytes, done, offset);
  return done;
}

EXPORT ssize_t writev(int fd, const struct iovec* parts, int count)
{
  off_t offset = recording ? lseek(fd, 0, SEEK_CUR) : -1;
  const ssize_t done = syscall(SYS_writev, fd, parts, count);
  for (int i = 0; i < count && done > 0 && offset >= 0; ++i) {
    record_write(fd, parts[i].iov_base, (ssize_t)parts[i].iov_len, offset);
    offset += (off_t)parts[i].iov_len;
  }
  return done;
}

EXPORT ssize_t write(int fd, const void* bytes, size_t size)
{
  const off_t offset = recording ? lseek(fd, 0, SEEK_CUR) : 0;
  const ssize_t done = syscall(SYS_write, fd, bytes, size);
  if (offset >= 0) {
    record_write(fd, bytes, done, offset);
  }
  return done;
}

EXPORT int fdatasync(int fd)
{
  const int code = (int)syscall(SYS_fdatasync, fd);
  if (recording && !code) {
    add_step(STEP_SYNC);
  }
  return code;
}

EXPORT int ftruncate(int fd, off_t size)
{
  const int code = (int)syscall(SYS_ftruncate, fd, size);
  if (recording && !code) {
    add_step(STEP_TRUNCATE)->size = (size_t)size;
  }
  return code;
}

/* ---- The session ---------------------------------------------------------------- */

enum { FORKS = 40, NOTES = 50 };

static size_t after_creation; ///< Steps when the first transaction was committed

/** Play, fork and give names; now and then all that was played is in the store. */
static void record_session(void)
{
  size_t played = 0;
  char name[32];
  recording = true;
  const HrAttachment where = place();
  assert_true(rig_open(&rig, &where));
  after_creation = step_count;
  for (int fork = 0; fork < FORKS; ++fork) {
    for (int i = 0; i < NOTES; ++i, ++played) {
      rig_play(&rig, 7, i % 2 ? 0x80 : 0x90, (uint8_t)(played / 2 % 128), 64);
      rig_run(&rig, 256);
      if (rand() % 10 == 0) {
        assert_ok(hr_session_flush(rig.session));
        add_step(STEP_ACKNOWLEDGE)->size = played + 1;
      }
    }
    snprintf(name, sizeof name, "idea %d", fork);
    assert_ok(rig_say(&rig, "quantum", "now"));
    assert_ok(rig_say(&rig, "fork", name));
    rig_run(&rig, 256);
    assert_ok(hr_session_flush(rig.session));
    add_step(STEP_ACKNOWLEDGE)->size = played;
  }
  recording = false;
  rig_close(&rig);
}

/* ---- Images ---------------------------------------------------------------------- */

enum { IMAGE_ROOM = 16 << 20 };

static uint8_t* image;
static size_t image_size;

static void put(const Step* step, size_t from, size_t size)
{
  const size_t at = (size_t)step->offset + from;
  assert_true(at + size <= IMAGE_ROOM);
  memcpy(image + at, step->bytes + from, size);
  image_size = at + size > image_size ? at + size : image_size;
}

/** Some of the sectors of a write, if any. */
static void put_torn(const Step* step)
{
  const size_t sector = rand() % 2 ? 512 : 4096;
  const int kept = rand() % 4; // In three: all, none, or a third or two of its sectors
  size_t from = 0;
  while (from < step->size) {
    const size_t to_edge = sector - ((size_t)step->offset + from) % sector;
    const size_t size = to_edge < step->size - from ? to_edge : step->size - from;
    if (rand() % 3 < kept) {
      put(step, from, size);
    }
    from += size;
  }
}

static void apply(const Step* step)
{
  if (step->kind == STEP_WRITE) {
    put(step, 0, step->size);
  } else if (step->kind == STEP_TRUNCATE) {
    image_size = step->size;
  }
}

static void put_unsynced(const Step** writes, size_t count)
{
  while (count) { // In any order
    const size_t at = (size_t)rand() % count;
    put_torn(writes[at]);
    writes[at] = writes[--count];
  }
}

/** What the disk holds when power goes before step `end`. Returns how many
 * messages were acknowledged by then. */
static size_t build_image(size_t end)
{
  const Step** const unsynced = calloc(end + 1, sizeof(Step*));
  size_t acknowledged = 0, durable = 0, count = 0;
  for (size_t i = 0; i < end; ++i) {
    durable = steps[i].kind == STEP_SYNC ? i : durable;
  }
  memset(image, 0, IMAGE_ROOM);
  image_size = 0;
  for (size_t i = 0; i < end; ++i) {
    if (i < durable || (steps[i].kind == STEP_WRITE && steps[i].synced)) {
      apply(&steps[i]);
    } else if (steps[i].kind == STEP_WRITE) {
      unsynced[count++] = &steps[i];
    }
    acknowledged = steps[i].kind == STEP_ACKNOWLEDGE ? steps[i].size : acknowledged;
  }
  if (end < step_count && steps[end].kind == STEP_WRITE) {
    unsynced[count++] = &steps[end]; // Under way
  }
  put_unsynced(unsynced, count);
  free(unsynced);
  return acknowledged;
}

static void print_problem(void* data, const char* sentence)
{
  (void)data;
  print_message("  %s\n", sentence);
}

/** Messages on the path to the newest branch: that is all that was played. */
static size_t count_messages(HrStore* store)
{
  HrTxn* txn = NULL;
  HrTree tree;
  HrPath path;
  HrEvent event;
  char name[HR_NAME_MAX + 1];
  char expected[32];
  size_t count = 0;
  assert_ok(hr_txn_begin(store, HR_READ, &txn));
  if (!hr_tree_next(txn, 0, &tree)) {
    assert_ok(hr_path_open(txn, tree.current, INT64_MIN, &path));
    while (!hr_path_next(&path, &event)) {
      if (event.kind == HR_EVENT_MIDI) {
        assert_int_equal(event.bytes[0], count % 2 ? 0x80 : 0x90);
        assert_int_equal(event.bytes[1], count / 2 % 128);
        ++count;
      }
    }
    hr_path_close(&path);
    for (uint32_t number = 2; number <= hr_branch_number(tree.current); ++number) {
      HrBranch branch;
      if (!hr_branch_next(txn, tree.id, number - 1, &branch)) {
        assert_ok(hr_branch_name(txn, branch.id, name));
        assert_true(sscanf(name, "idea %31s", expected) == 1);
      }
    }
  }
  hr_txn_abort(txn);
  return count;
}

static size_t check_image(const char* path)
{
  HrStore* store = NULL;
  HrError error = {HR_OK, ""};
  HrVerifyReport report;
  const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  assert_int_equal(write(fd, image, image_size), (ssize_t)image_size);
  close(fd);
  if (hr_store_open(path, HR_STORE_CREATE, &store, &error)) {
    fail_msg("%s", error.text);
  }
  assert_ok(hr_store_verify(store, print_problem, NULL, &report));
  assert_int_equal(report.problems, 0);
  const size_t count = count_messages(store);
  hr_store_close(store);
  unlink(path);
  return count;
}

static void test_power_loss_at_any_instant(void** state)
{
  (void)state;
  const char* const cases = getenv("HR_CASES");
  const char* const seed = getenv("HR_SEED");
  const int wanted = cases ? atoi(cases) : 100;
  srand(seed ? (unsigned)atoi(seed) : 1);
  assert_int_equal(scratch_make(), 0);
  setenv("XDG_RUNTIME_DIR", scratch, 1);
  record_session();
  image = malloc(IMAGE_ROOM);
  size_t found = 0;
  for (int i = 0; i < wanted; ++i) {
    const size_t end = after_creation + (size_t)rand() % (step_count - after_creation + 1);
    const size_t acknowledged = build_image(end);
    const size_t here = check_image(scratch_path("image.hr"));
    assert_true(here >= acknowledged);
    found += here;
  }
  free(image);
  scratch_remove();
  print_message("%d images of %zu steps, %zu messages, 0 acknowledged ones missing, 0 unreadable\n",
                wanted, step_count, found);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_power_loss_at_any_instant)};
  return cmocka_run_group_tests_name("power loss", tests, NULL, NULL);
}
