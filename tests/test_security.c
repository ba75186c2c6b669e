/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What others on the machine, or bytes from outside, could do to a store. */

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "plugin/capture.h"
#include "tests/rig_music.h"

static mode_t mode_of(const char* path)
{
  struct stat info;
  assert_int_equal(lstat(path, &info), 0);
  return info.st_mode & 07777;
}

static int files_in(const char* path)
{
  DIR* const dir = opendir(path);
  int count = 0;
  while (readdir(dir)) {
    ++count;
  }
  closedir(dir);
  return count;
}

/* ---- Files ---------------------------------------------------------------------- */

static void test_files_are_private_whatever_the_umask(void** state)
{
  (void)state;
  static const mode_t masks[] = {0, 022, 0277};
  char name[64];
  for (size_t i = 0; i < sizeof masks / sizeof *masks; ++i) {
    HrStore* store;
    snprintf(name, sizeof name, "new%zu/folder/store.hr", i);
    const mode_t before = umask(masks[i]);
    const HrStatus status = hr_store_open(scratch_path(name), HR_STORE_CREATE, &store, NULL);
    umask(before);
    assert_ok(status);
    assert_int_equal(mode_of(scratch_path(name)), 0600);
    strcat(name, "-lock");
    assert_int_equal(mode_of(scratch_path(name)), 0600);
    *strrchr(name, '/') = '\0';
    assert_int_equal(files_in(scratch_path(name)), 4); // With "." and ".."
    assert_int_equal(mode_of(scratch_path(name)), 0700);
    *strrchr(name, '/') = '\0';
    assert_int_equal(mode_of(scratch_path(name)), 0700);
    hr_store_close(store);
  }
}

static void test_no_link_is_followed_to_make_a_file(void** state)
{
  (void)state;
  static const unsigned flags[] = {HR_STORE_CREATE, HR_STORE_READ_ONLY};
  HrStore* store;
  const char* const victim = scratch_path("victim");
  assert_int_equal(symlink(victim, scratch_path("new.hr")), 0);
  assert_int_equal(hr_store_open(scratch_path("new.hr"), HR_STORE_CREATE, &store, NULL),
                   HR_ERR_PERMISSION);
  assert_int_equal(access(victim, F_OK), -1);

  assert_ok(hr_store_open(scratch_path("mine.hr"), HR_STORE_CREATE, &store, NULL));
  hr_store_close(store);
  unlink(scratch_path("mine.hr-lock"));
  assert_int_equal(symlink(victim, scratch_path("mine.hr-lock")), 0);
  for (size_t i = 0; i < 2; ++i) {
    assert_int_equal(hr_store_open(scratch_path("mine.hr"), flags[i], &store, NULL),
                     HR_ERR_PERMISSION);
    assert_int_equal(access(victim, F_OK), -1);
  }
}

static void test_no_link_is_followed_to_check_a_store(void** state)
{
  (void)state;
  HrStore* store;
  HrVerifyReport verified;
  HrSalvageReport salvaged;
  const char* const victim = scratch_path("victim");
  const char* const path = scratch_path("mine.hr");
  assert_ok(hr_store_open(path, HR_STORE_CREATE, &store, NULL));
  hr_store_close(store);
  unlink(scratch_path("mine.hr-lock"));
  assert_int_equal(symlink(victim, scratch_path("mine.hr-lock")), 0);
  assert_int_equal(hr_store_verify_pages(path, HR_VERIFY_PAGES, NULL, NULL, &verified, NULL),
                   HR_ERR_PERMISSION);
  assert_int_equal(access(victim, F_OK), -1);
  assert_int_equal(hr_store_salvage(path, scratch_path("new.hr"), NULL, NULL, &salvaged, NULL),
                   HR_ERR_PERMISSION);
  assert_int_equal(access(victim, F_OK), -1);
}

/** People keep a store on another disk so. */
static void test_a_link_to_a_store_is_followed(void** state)
{
  (void)state;
  HrStore* store;
  assert_ok(hr_store_open(scratch_path("far.hr"), HR_STORE_CREATE, &store, NULL));
  hr_store_close(store);
  assert_int_equal(symlink(scratch_path("far.hr"), scratch_path("near.hr")), 0);
  assert_ok(hr_store_open(scratch_path("near.hr"), 0, &store, NULL));
  assert_string_equal(hr_store_path(store), scratch_path("far.hr"));
  hr_store_close(store);
}

/** With a store open and a ring at work, a program that the host starts gets
 * none of our files. */
static void test_no_descriptor_is_inherited(void** state)
{
  (void)state;
  play_note(0, 60, BEAT / 2);
  rig_run(&rig, BEAT);
  state_now();
  DIR* const dir = opendir("/proc/self/fd");
  const struct dirent* entry;
  int ours = 0;
  while ((entry = readdir(dir))) {
    char target[4200] = "";
    const int fd = atoi(entry->d_name);
    const ssize_t length = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
    if (length > 0 && (!strncmp(target, scratch, strlen(scratch)) ||
                       !strncmp(target, runtime, strlen(runtime)))) {
      ++ours;
      if (!(fcntl(fd, F_GETFD) & FD_CLOEXEC)) {
        fail_msg("%s is left open across exec", target);
      }
    }
  }
  closedir(dir);
  assert_in_range(ours, 4, 8); // Data, synced data, lock, ring
}

/* ---- Rings ---------------------------------------------------------------------- */

static void count_ring(void* data, HrCapture* capture)
{
  (void)capture;
  ++*(int*)data;
}

/** Leave a ring with one event in it, as a killed host does. Its path. */
static const char* leave_ring(HrStore* store)
{
  static char path[4096];
  HrCapture* const capture = hr_capture_new(NULL);
  assert_non_null(capture);
  hr_capture_bind(capture, store, 1);
  snprintf(path, sizeof path, "%s", capture->path);
  capture->file->positions.written = 64;
  hr_capture_free(capture, false);
  return path;
}

static int orphans(HrStore* store)
{
  int count = 0;
  hr_capture_each_orphan(store, count_ring, &count);
  return count;
}

static void test_rings_of_others_are_not_drained(void** state)
{
  (void)state;
  HrStore* store;
  assert_ok(hr_store_open(scratch_path("store.hr"), 0, &store, NULL));
  const char* const ring = leave_ring(store);
  assert_int_equal(orphans(store), 1);
  assert_int_equal(mode_of(ring), 0600);
  assert_int_equal(chmod(ring, 0620), 0); // Others may have written into it
  assert_int_equal(orphans(store), 0);
  assert_int_equal(chmod(ring, 0600), 0);
  assert_int_equal(truncate(ring, 8192), 0); // Its positions point beyond it
  assert_int_equal(orphans(store), 0);
  unlink(ring);
  if (geteuid() == 0) {
    const char* const foreign = leave_ring(store);
    assert_int_equal(chown(foreign, 65534, 65534), 0);
    assert_int_equal(orphans(store), 0);
    unlink(foreign);
  } else {
    print_message("not root: rings of another user were not tried\n");
  }
  hr_store_close(store);
}

static void test_the_folder_of_rings_is_private(void** state)
{
  (void)state;
  char path[4096];
  assert_ok(hr_runtime_folder(path, sizeof path, NULL));
  assert_int_equal(chmod(path, 0777), 0);
  assert_ok(hr_runtime_folder(path, sizeof path, NULL));
  assert_int_equal(mode_of(path), 0700);
}

/** A copy of the store has its UUID, but what is in memory is the store's. */
static void test_a_copy_takes_no_ring_of_the_store(void** state)
{
  (void)state;
  HrStore* store;
  HrStore* copy;
  HrBackupReport report;
  assert_ok(hr_store_open(scratch_path("store.hr"), 0, &store, NULL));
  assert_ok(hr_store_backup(store, scratch_path("backup.hr"), &report, NULL));
  assert_ok(hr_store_open(scratch_path("backup.hr"), 0, &copy, NULL));
  const char* const ring = leave_ring(store);
  assert_int_equal(orphans(copy), 0);
  assert_int_equal(orphans(store), 1);
  assert_int_equal(rename(scratch_path("store.hr"), scratch_path("moved.hr")), 0);
  assert_int_equal(orphans(copy), 1); // Nothing is left where the store was: this is it now
  assert_int_equal(rename(scratch_path("moved.hr"), scratch_path("store.hr")), 0);
  unlink(ring);
  hr_store_close(copy);
  hr_store_close(store);
}

/* ---- Names from outside ------------------------------------------------------------- */

/** Every verb that OSC can send, with a path wherever it takes a text: no file comes of it. */
static void test_no_path_from_outside_reaches_the_files(void** state)
{
  (void)state;
  play_note(0, 60, BEAT / 2);
  rig_run(&rig, BEAT);
  state_now();
  const int before = files_in(scratch);
  const size_t verbs = hr_command_count();
  assert_true(verbs > 10);
  for (size_t i = 0; i < verbs; ++i) {
    for (size_t count = 0; count <= 2; ++count) {
      const HrValue values[2] = {hr_value_text(scratch_path("stolen")),
                                 hr_value_text("../../stolen")};
      rig_command(&rig, hr_command_info(i)->verb, values, count);
    }
    rig_run(&rig, BEAT);
  }
  state_now();
  assert_int_equal(files_in(scratch), before);
  assert_int_equal(access(scratch_path("stolen"), F_OK), -1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(test_files_are_private_whatever_the_umask),
      TEST(test_no_link_is_followed_to_make_a_file),
      TEST(test_no_link_is_followed_to_check_a_store),
      TEST(test_a_link_to_a_store_is_followed),
      TEST(test_no_descriptor_is_inherited),
      TEST(test_rings_of_others_are_not_drained),
      TEST(test_the_folder_of_rings_is_private),
      TEST(test_a_copy_takes_no_ring_of_the_store),
      TEST(test_no_path_from_outside_reaches_the_files),
  };
  return cmocka_run_group_tests_name("security", tests, NULL, NULL);
}
