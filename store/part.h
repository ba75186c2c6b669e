/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file part.h
 * A new file that is called FILE.part until it is whole: whatever ends its writing, nothing that
 * is not whole bears its name.
 *
 * Thread: any, one at a time for each HrPart.
 */

#ifndef HR_STORE_PART_H
#define HR_STORE_PART_H

#include "store/status.h"

#include <stdbool.h>

enum { HR_PART_PATH_SIZE = 4096 + 8 };

typedef struct {
  char path[HR_PART_PATH_SIZE]; ///< "" once the file has its name
  int fd;
  int folder;
} HrPart;

/** Open `path`.part, empty, for us alone and locked: what a killed run left is overwritten.
 * HR_ERR_BUSY while another program writes it, HR_ERR_PERMISSION where it is not a plain file of
 * this user's. To be closed only after HR_OK. */
HrStatus hr_part_open(HrPart* part, const char* path, HrError* error);

/** Give the whole file its name: EEXIST if something has that, unless `replace`. An errno. */
int hr_part_publish(HrPart* part, const char* path, bool replace);

/** Close it, and remove it unless it was published. */
void hr_part_close(HrPart* part);

#endif
