/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file text.h
 * Numbers as a musician reads them, and text as the store keeps it.
 */

#ifndef HR_TOOLS_TEXT_H
#define HR_TOOLS_TEXT_H

#include "plugin/timeline.h"

#include <stddef.h>
#include <stdint.h>

/** Room for any of the texts below, with the NUL. */
enum { HR_TEXT_SIZE = 40 };

/** "5.2": bar and beat. Returns `text`. */
const char* hr_text_place(char text[HR_TEXT_SIZE], const HrPlace* place);

/** "1:04", "1:02:03", "-0:01": rounded to the second. Returns `text`. */
const char* hr_text_duration(char text[HR_TEXT_SIZE], double seconds);

/** "2026-11-22 18:42:03" in local time, or without the seconds. Returns `text`. */
const char* hr_text_wall_clock(char text[HR_TEXT_SIZE], int64_t nanoseconds, bool with_seconds);

/** "49.8 kB", "1.2 MB". Returns `text`. */
const char* hr_text_size(char text[HR_TEXT_SIZE], uint64_t bytes);

/** Copy `size` bytes of text as UTF-8 and end it with a NUL: as it is if it is
 * UTF-8, else taken for Latin-1, as old files have it. `out` has room for
 * 2 * size + 1 bytes. Returns the bytes written, without the NUL. */
size_t hr_text_to_utf8(const uint8_t* text, size_t size, char* out);

/** Make a valid name (store.h) of any text; `otherwise` if nothing remains. */
void hr_text_to_name(const char* text, const char* otherwise, char name[HR_NAME_MAX + 1]);

#endif
