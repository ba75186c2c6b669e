/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file status.h
 * The one status type of the project, and the error text that goes with it.
 *
 * Thread: any. Nothing here allocates.
 */

#ifndef HR_STATUS_H
#define HR_STATUS_H

typedef enum {
  HR_OK = 0,
  HR_END,             ///< Nothing more to read; not an error
  HR_ERR_ARGUMENT,    ///< A value is malformed or out of range
  HR_ERR_NOT_FOUND,   ///< No such tree, branch or name
  HR_ERR_EXISTS,      ///< The name is taken
  HR_ERR_PAST,        ///< The event lies before the head of its branch
  HR_ERR_NO_MEMORY,   ///< Memory or address space ran out
  HR_ERR_NO_SPACE,    ///< The disk is full
  HR_ERR_IO,          ///< The disk reported an error
  HR_ERR_PERMISSION,  ///< The file may not be opened this way
  HR_ERR_READ_ONLY,   ///< The store was opened for reading only
  HR_ERR_NOT_A_STORE, ///< The file is something else
  HR_ERR_TRUNCATED,   ///< The file is shorter than its own contents say
  HR_ERR_DAMAGED,     ///< A checksum or a structure does not hold
  HR_ERR_NEWER,       ///< Written by a newer version, in a format unknown here
  HR_ERR_BUSY,        ///< Not now: try again
  HR_ERR_LIMIT,       ///< A stated bound was reached
  HR_ERR_MAP_FULL,    ///< The store fills all the address space that was set aside for it
} HrStatus;

/** Return a short description of `status`, a static string. */
const char* hr_strerror(HrStatus status);

/** Return what a person can do about `status`: a sentence, a static string; "" where that depends
 * on what was wanted. */
const char* hr_advice(HrStatus status);

/** A status with a sentence for a person: what happened, to what, what to do. */
typedef struct {
  HrStatus status;
  char text[400];
} HrError;

/** Fill `error` (which may be NULL) and return `status`. */
HrStatus hr_error(HrError* error, HrStatus status, const char* format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
