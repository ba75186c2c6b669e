/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/url_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_NAME_MAX = 40 }; // "osc-<pid>.url.new"

static void file_name(char name[FILE_NAME_MAX], const char* suffix)
{
  snprintf(name, FILE_NAME_MAX, "osc-%ld.url%s", (long)getpid(), suffix);
}

int hr_osc_folder_open(char* path, size_t size)
{
  const char* runtime = getenv("XDG_RUNTIME_DIR");
  const int length = runtime && runtime[0] == '/'
                         ? snprintf(path, size, "%s/halfremembered", runtime)
                         : snprintf(path, size, "/tmp/halfremembered-%lu", (unsigned long)getuid());
  if (length < 0 || (size_t)length >= size) {
    errno = ENAMETOOLONG;
    return -1;
  }
  if (mkdir(path, 0700) && errno != EEXIST) {
    return -1;
  }

  const int folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (folder < 0) {
    return -1;
  }
  struct stat info;
  if (fstat(folder, &info) || info.st_uid != geteuid() || info.st_mode & 077) {
    close(folder);
    errno = EPERM;
    return -1;
  }
  return folder;
}

/** True for the URL file of a process that is no more. */
static bool is_stale(const char* name)
{
  if (strncmp(name, "osc-", 4) || name[4] < '1' || name[4] > '9') {
    return false;
  }
  char* end = NULL;
  const long pid = strtol(name + 4, &end, 10);
  if (pid > INT_MAX || (strcmp(end, ".url") && strcmp(end, ".url.new"))) {
    return false;
  }
  return kill((pid_t)pid, 0) && errno == ESRCH;
}

/** A list of what is in the folder; NULL if it cannot be had. */
static DIR* list_folder(int folder)
{
  const int copy = fcntl(folder, F_DUPFD_CLOEXEC, 0);
  DIR* const list = copy < 0 ? NULL : fdopendir(copy);
  if (!list && copy >= 0) {
    close(copy);
  }
  return list;
}

static void remove_stale(int folder)
{
  DIR* const list = list_folder(folder);
  if (!list) {
    return;
  }
  for (const struct dirent* entry = readdir(list); entry; entry = readdir(list)) {
    if (is_stale(entry->d_name)) {
      unlinkat(folder, entry->d_name, 0);
    }
  }
  closedir(list);
}

/** Written under another name first: a reader never sees half of it. */
static bool write_file(int folder, const char* url)
{
  char name[FILE_NAME_MAX];
  char fresh[FILE_NAME_MAX];
  file_name(name, "");
  file_name(fresh, ".new");

  unlinkat(folder, fresh, 0);
  const int file =
      openat(folder, fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (file < 0) {
    return false;
  }
  const bool written = dprintf(file, "%s\n", url) > 0;
  const int reason = errno;
  close(file);
  if (!written || renameat(folder, fresh, folder, name)) {
    const int kept = written ? errno : reason;
    unlinkat(folder, fresh, 0);
    errno = kept;
    return false;
  }
  return true;
}

HrStatus hr_osc_url_file_write(const char* url, HrError* error)
{
  char path[PATH_MAX];
  const int folder = hr_osc_folder_open(path, sizeof path);
  if (folder < 0) {
    return hr_error(error, HR_ERR_IO,
                    "The OSC address %s could not be written to %s (%s): make this a folder of "
                    "yours with mode 0700, or give controllers the address by hand.",
                    url, path, strerror(errno));
  }
  remove_stale(folder);
  const bool written = write_file(folder, url);
  const int reason = errno;
  close(folder);
  if (!written) {
    return hr_error(error, HR_ERR_IO,
                    "The OSC address %s could not be written to %s (%s): give controllers the "
                    "address by hand.",
                    url, path, strerror(reason));
  }
  return HR_OK;
}

void hr_osc_url_file_remove(void)
{
  char path[PATH_MAX];
  const int folder = hr_osc_folder_open(path, sizeof path);
  if (folder < 0) {
    return;
  }
  char name[FILE_NAME_MAX];
  file_name(name, "");
  unlinkat(folder, name, 0);
  close(folder);
}

/** True for the URL file of a process that is there. */
static bool is_current(const char* name)
{
  const size_t length = strlen(name);
  return length > 8 && !strncmp(name, "osc-", 4) && !strcmp(name + length - 4, ".url") &&
         !is_stale(name);
}

static bool read_file(int folder, const char* name, char url[HR_OSC_URL_SIZE])
{
  const int file = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  const ssize_t size = file < 0 ? -1 : read(file, url, HR_OSC_URL_SIZE - 1);
  if (file >= 0) {
    close(file);
  }
  url[size < 0 ? 0 : size] = '\0';
  url[strcspn(url, "\n")] = '\0';
  return *url;
}

size_t hr_osc_url_files_read(char urls[][HR_OSC_URL_SIZE], size_t room)
{
  char path[PATH_MAX];
  size_t count = 0;
  const int folder = hr_osc_folder_open(path, sizeof path);
  DIR* const list = folder < 0 ? NULL : list_folder(folder);
  if (list) {
    for (const struct dirent* entry = readdir(list); entry && count < room; entry = readdir(list)) {
      count += is_current(entry->d_name) && read_file(folder, entry->d_name, urls[count]);
    }
    closedir(list);
  }
  if (folder >= 0) {
    close(folder);
  }
  return count;
}
