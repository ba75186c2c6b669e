/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/part.h"

#include "store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_folder(const char* path)
{
  char folder[HR_PART_PATH_SIZE];
  snprintf(folder, sizeof folder, "%s", path);
  char* const slash = strrchr(folder, '/');
  if (slash) {
    slash[slash == folder] = '\0';
  }
  return open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/** An errno. */
static int open_part(HrPart* part, const char* path)
{
  struct stat info, here;
  if (snprintf(part->path, sizeof part->path, "%s.part", path) >= (int)sizeof part->path) {
    return ENAMETOOLONG;
  }
  part->folder = open_folder(path);
  if (part->folder < 0) {
    return errno;
  }
  part->fd = open(part->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
  if (part->fd < 0 || fstat(part->fd, &info)) {
    return errno;
  }
  if (!S_ISREG(info.st_mode) || info.st_uid != geteuid() || info.st_nlink != 1) {
    return EPERM;
  }
  /* Locked, it may still have been renamed by the one that had the lock before. */
  if (flock(part->fd, LOCK_EX | LOCK_NB) || lstat(part->path, &here) ||
      here.st_ino != info.st_ino) {
    return EBUSY;
  }
  return ftruncate(part->fd, 0) || fchmod(part->fd, 0600) ? errno : 0;
}

static void close_files(const HrPart* part)
{
  if (part->fd >= 0) {
    close(part->fd);
  }
  if (part->folder >= 0) {
    close(part->folder);
  }
}

HrStatus hr_part_open(HrPart* part, const char* path, HrError* error)
{
  *part = (HrPart){.fd = -1, .folder = -1};
  const int code = open_part(part, path);
  if (!code) {
    return HR_OK;
  }
  close_files(part);
  return code == EBUSY
             ? hr_error(error, HR_ERR_BUSY, "Another program is writing %s. Wait until it is done.",
                        part->path)
             : hr_error(error, hr_status_from_lmdb(NULL, code),
                        "Cannot write %s: %s. The store was left as it is.", part->path,
                        strerror(code));
}

int hr_part_publish(HrPart* part, const char* path, bool replace)
{
  int code = 0;
  if (!replace) {
    code = hr_store_name_file(part->path, path);
  } else if (rename(part->path, path) || fsync(part->folder)) {
    code = errno;
  }
  if (!code) {
    part->path[0] = '\0';
  }
  return code;
}

void hr_part_close(HrPart* part)
{
  if (part->path[0]) {
    unlink(part->path);
  }
  close_files(part);
}
