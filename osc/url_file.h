/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file url_file.h
 * The file that tells local programs where this process listens:
 * $XDG_RUNTIME_DIR/halfremembered/osc-<pid>.url, or, where there is none,
 * /tmp/halfremembered-<uid>/osc-<pid>.url. Readable by this user only; a folder
 * or file of anybody else's making is not followed.
 *
 * Thread: one at a time.
 */

#ifndef HR_OSC_URL_FILE_H
#define HR_OSC_URL_FILE_H

#include "store/status.h"

#include <stddef.h>

/** Write `url` and a newline, and remove the files of processes that are gone. */
HrStatus hr_osc_url_file_write(const char* url, HrError* error);

void hr_osc_url_file_remove(void);

/** Room for a URL, with the NUL. */
enum { HR_OSC_URL_SIZE = 64 };

/** Read the URLs of this user's processes that serve OSC now, as many as there is room for.
 * Returns how many those are. */
size_t hr_osc_url_files_read(char urls[][HR_OSC_URL_SIZE], size_t room);

/** Open the folder that the file is in, made if missing, and write its name to
 * `path`. -1, with errno, if it is not this user's alone. */
int hr_osc_folder_open(char* path, size_t size);

#endif
