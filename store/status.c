/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/status.h"

#include <stdarg.h>
#include <stdio.h>

const char* hr_strerror(HrStatus status)
{
  switch (status) {
  case HR_OK:
    return "success";
  case HR_END:
    return "end of data";
  case HR_ERR_ARGUMENT:
    return "invalid argument";
  case HR_ERR_NOT_FOUND:
    return "not found";
  case HR_ERR_EXISTS:
    return "name already taken";
  case HR_ERR_PAST:
    return "event lies before the head";
  case HR_ERR_NO_MEMORY:
    return "out of memory";
  case HR_ERR_NO_SPACE:
    return "disk full";
  case HR_ERR_IO:
    return "disk error";
  case HR_ERR_PERMISSION:
    return "permission denied";
  case HR_ERR_READ_ONLY:
    return "store is read-only";
  case HR_ERR_NOT_A_STORE:
    return "not a HalfRemembered store";
  case HR_ERR_TRUNCATED:
    return "store is truncated";
  case HR_ERR_DAMAGED:
    return "store is damaged";
  case HR_ERR_NEWER:
    return "store is of a newer format";
  case HR_ERR_BUSY:
    return "busy";
  case HR_ERR_LIMIT:
    return "limit reached";
  case HR_ERR_MAP_FULL:
    return "the store fills the address space that this program may use for it, so raise that "
           "limit (ulimit -v unlimited) and start the program again";
  }
  return "unknown status";
}

const char* hr_advice(HrStatus status)
{
  switch (status) {
  case HR_ERR_NO_MEMORY:
    return "End other programs, or raise the limit of this one.";
  case HR_ERR_NO_SPACE:
    return "Make room on the disk.";
  case HR_ERR_IO:
    return "The disk may be failing: copy the store to another one.";
  case HR_ERR_PERMISSION:
  case HR_ERR_READ_ONLY:
    return "Allow writing to the store's file and its folder, or choose another store.";
  case HR_ERR_DAMAGED:
    return "Run \"halfremembered verify\" to see what is wrong.";
  case HR_ERR_BUSY:
    return "Try again in a moment.";
  default:
    return "";
  }
}

HrStatus hr_error(HrError* error, HrStatus status, const char* format, ...)
{
  if (error) {
    va_list args;
    va_start(args, format);
    error->status = status;
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
  }
  return status;
}
