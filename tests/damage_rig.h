/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file damage_rig.h
 * What the tests that damage files share: chance that comes again, files whole in
 * memory, and a process for each look at one, which may crash. */

#ifndef HR_TESTS_DAMAGE_RIG_H
#define HR_TESTS_DAMAGE_RIG_H

#include "tests/store_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { CASE_SECONDS = 20 };

/** How a case ends; the numbers are no exit status of a sanitizer. */
enum { INTACT = 40, SAID, WRONG };

static uint64_t seed;

/** xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift
 * generators, scrambled" (2016). */
static inline uint64_t draw(uint64_t below)
{
  seed ^= seed >> 12;
  seed ^= seed << 25;
  seed ^= seed >> 27;
  return (seed * 0x2545f4914f6cdd1du >> 11) % below;
}

/** FNV-1a. */
static inline uint64_t digest(uint64_t value, const void* bytes, size_t size)
{
  for (size_t i = 0; i < size; ++i) {
    value = (value ^ ((const uint8_t*)bytes)[i]) * 0x100000001b3u;
  }
  return value;
}

/** Do something with a file in a process of its own, as it may crash; its wait status. */
static inline int apart(int (*act)(const char* path), const char* path)
{
  int status = 0;
  fflush(NULL);
  const pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(nowhere, STDERR_FILENO);
    for (int number = 1; number < NSIG; ++number) {
      signal(number, SIG_DFL); // cmocka would go on with the tests here
    }
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    alarm(CASE_SECONDS);
    _exit(act(path));
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  return status;
}

static inline void write_file(const char* path, const uint8_t* bytes, size_t size)
{
  const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, bytes, size), (ssize_t)size);
  close(fd);
}

static inline uint8_t* read_file(const char* path, size_t* size)
{
  struct stat info;
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  assert_true(fd >= 0 && !fstat(fd, &info));
  *size = (size_t)info.st_size;
  uint8_t* const bytes = malloc(*size);
  assert_non_null(bytes);
  assert_int_equal(read(fd, bytes, *size), info.st_size);
  close(fd);
  return bytes;
}

/** INTACT, SAID, WRONG or a crash, counted from 0. */
static inline size_t end_of(int status)
{
  const bool exited =
      WIFEXITED(status) && WEXITSTATUS(status) >= INTACT && WEXITSTATUS(status) <= WRONG;
  return exited ? (size_t)(WEXITSTATUS(status) - INTACT) : 3;
}

static inline uint64_t setting(const char* name, uint64_t otherwise)
{
  const char* const text = getenv(name);
  return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

#endif
