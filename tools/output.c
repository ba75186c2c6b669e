/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "tools/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static HrStatus cannot_write(const char* path, int code, HrError* error)
{
  const HrStatus status = code == ENOSPC || code == EDQUOT ? HR_ERR_NO_SPACE
                          : code == EIO                    ? HR_ERR_IO
                                                           : HR_ERR_PERMISSION;
  return hr_error(error, status, "Cannot write %s: %s. Choose another place for it.", path,
                  strerror(code));
}

static HrStatus taken(const char* path, HrError* error)
{
  return hr_error(error, HR_ERR_EXISTS,
                  "%s exists already. Choose another name, or say --force to replace it.", path);
}

/** Files made here get the rights that a plain open() would give them. */
static void give_usual_rights(int fd)
{
  const mode_t mask = umask(0);
  umask(mask);
  if (fchmod(fd, 0666 & ~mask)) {
    return; // Some file systems have no rights to give
  }
}

HrStatus hr_output_open(HrOutput* output, const char* path, bool overwrite, HrError* error)
{
  struct stat info;
  *output = (HrOutput){.path = path, .overwrite = overwrite};
  if (!stat(path, &info)) {
    if (!S_ISREG(info.st_mode)) {
      return hr_error(error, HR_ERR_ARGUMENT, "%s is not a plain file. Choose another name.", path);
    }
    if (!overwrite) {
      return taken(path, error);
    }
  }
  if (asprintf(&output->temporary, "%s.XXXXXX", path) < 0) {
    output->temporary = NULL;
    return hr_error(error, HR_ERR_NO_MEMORY, "Out of memory.");
  }
  const int fd = mkstemp(output->temporary);
  if (fd < 0) {
    const int code = errno;
    free(output->temporary);
    output->temporary = NULL;
    return cannot_write(path, code, error);
  }
  give_usual_rights(fd);
  output->file = fdopen(fd, "w");
  if (!output->file) {
    close(fd);
    hr_output_discard(output);
    return hr_error(error, HR_ERR_NO_MEMORY, "Out of memory.");
  }
  return HR_OK;
}

/** Rename, but never onto another file unless that was asked for. */
static int put_in_place(const HrOutput* output)
{
  if (!output->overwrite &&
      !renameat2(AT_FDCWD, output->temporary, AT_FDCWD, output->path, RENAME_NOREPLACE)) {
    return 0;
  }
  if (!output->overwrite && errno != EINVAL && errno != ENOSYS) {
    return errno;
  }
  /* Wanted, or a file system that cannot do better than look first. */
  if (!output->overwrite && !access(output->path, F_OK)) {
    return EEXIST;
  }
  return rename(output->temporary, output->path) ? errno : 0;
}

HrStatus hr_output_commit(HrOutput* output, HrError* error)
{
  int code = fflush(output->file) || fsync(fileno(output->file)) ? errno : 0;
  if (fclose(output->file) && !code) {
    code = errno;
  }
  output->file = NULL;
  code = code ? code : put_in_place(output);
  if (code) {
    hr_output_discard(output);
    return code == EEXIST ? taken(output->path, error) : cannot_write(output->path, code, error);
  }
  free(output->temporary);
  output->temporary = NULL;
  return HR_OK;
}

void hr_output_discard(HrOutput* output)
{
  if (output->file) {
    fclose(output->file);
    output->file = NULL;
  }
  if (output->temporary) {
    unlink(output->temporary);
    free(output->temporary);
    output->temporary = NULL;
  }
}
