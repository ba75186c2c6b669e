/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file output.h
 * A file that appears whole or not at all: written beside its place under
 * another name, and renamed when it is on the disk.
 *
 * One thread.
 */

#ifndef HR_TOOLS_OUTPUT_H
#define HR_TOOLS_OUTPUT_H

#include "store/status.h"

#include <stdbool.h>
#include <stdio.h>

typedef struct {
  FILE* file;       ///< Write here
  const char* path; ///< The caller's
  char* temporary;
  bool overwrite;
} HrOutput;

/** Begin to write `path`, which must live on. HR_ERR_EXISTS if there is a file
 * and `overwrite` is false, HR_ERR_ARGUMENT if there is something that is no
 * plain file; else why it cannot be written. `error` says what to do. */
HrStatus hr_output_open(HrOutput* output, const char* path, bool overwrite, HrError* error);

/** Put the file in its place, durably. On failure nothing is left of it. */
HrStatus hr_output_commit(HrOutput* output, HrError* error);

/** Leave nothing. Fine after a failed hr_output_open() or hr_output_commit(). */
void hr_output_discard(HrOutput* output);

#endif
