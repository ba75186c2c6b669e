/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "tools/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

const char* hr_text_place(char text[HR_TEXT_SIZE], const HrPlace* place)
{
  snprintf(text, HR_TEXT_SIZE, "%" PRId64 ".%" PRId32, place->bar, place->beat);
  return text;
}

const char* hr_text_duration(char text[HR_TEXT_SIZE], double seconds)
{
  const int64_t total = llround(fabs(seconds));
  const char* const sign = seconds < 0.0 && total ? "-" : "";
  const int64_t minutes = total / 60 % 60;
  if (total >= 3600) {
    snprintf(text, HR_TEXT_SIZE, "%s%" PRId64 ":%02" PRId64 ":%02" PRId64, sign, total / 3600,
             minutes, total % 60);
  } else {
    snprintf(text, HR_TEXT_SIZE, "%s%" PRId64 ":%02" PRId64, sign, minutes, total % 60);
  }
  return text;
}

const char* hr_text_wall_clock(char text[HR_TEXT_SIZE], int64_t nanoseconds, bool with_seconds)
{
  const time_t seconds = (time_t)(nanoseconds / 1000000000);
  struct tm local;
  if (!localtime_r(&seconds, &local) ||
      !strftime(text, HR_TEXT_SIZE, with_seconds ? "%Y-%m-%d %H:%M:%S" : "%Y-%m-%d %H:%M",
                &local)) {
    snprintf(text, HR_TEXT_SIZE, "unknown");
  }
  return text;
}

const char* hr_text_size(char text[HR_TEXT_SIZE], uint64_t bytes)
{
  const bool small = bytes < 1000000;
  snprintf(text, HR_TEXT_SIZE, "%.1f %s", (double)bytes / (small ? 1e3 : 1e6), small ? "kB" : "MB");
  return text;
}

/** Size of the UTF-8 sequence that `text` starts with, 0 if it is none. The
 * store checks names more strictly (overlong forms); here it tells encodings apart. */
static size_t utf8_sequence(const uint8_t* text, size_t room)
{
  const size_t size = text[0] < 0x80                       ? 1
                      : text[0] >= 0xc2 && text[0] <= 0xdf ? 2
                      : text[0] >= 0xe0 && text[0] <= 0xef ? 3
                      : text[0] >= 0xf0 && text[0] <= 0xf4 ? 4
                                                           : 0;
  if (size > room) {
    return 0;
  }
  for (size_t i = 1; i < size; ++i) {
    if ((text[i] & 0xc0) != 0x80) {
      return 0;
    }
  }
  return size;
}

static bool is_utf8(const uint8_t* text, size_t size)
{
  for (size_t i = 0; i < size;) {
    const size_t step = utf8_sequence(text + i, size - i);
    if (!step) {
      return false;
    }
    i += step;
  }
  return true;
}

size_t hr_text_to_utf8(const uint8_t* text, size_t size, char* out)
{
  const bool as_it_is = is_utf8(text, size);
  size_t used = 0;
  for (size_t i = 0; i < size; ++i) {
    if (as_it_is || text[i] < 0x80) {
      out[used++] = (char)text[i];
    } else {
      out[used++] = (char)(0xc0 | text[i] >> 6);
      out[used++] = (char)(0x80 | (text[i] & 0x3f));
    }
  }
  out[used] = '\0';
  return used;
}

void hr_text_to_name(const char* text, const char* otherwise, char name[HR_NAME_MAX + 1])
{
  char whole[2 * 4 * HR_NAME_MAX + 1];
  size_t used = 0;
  text += strspn(text, "# ");
  hr_text_to_utf8((const uint8_t*)text, strnlen(text, sizeof whole / 2 - 1), whole);
  for (const char* c = whole; *c && used < HR_NAME_MAX;) {
    const size_t size = utf8_sequence((const uint8_t*)c, strlen(c));
    if (!size || used + size > HR_NAME_MAX) {
      break;
    }
    const bool control =
        (uint8_t)*c < 0x20 || *c == 0x7f || ((uint8_t)*c == 0xc2 && (uint8_t)c[1] < 0xa0);
    if (!control) {
      memcpy(name + used, c, size);
      used += size;
    }
    c += size;
  }
  name[used] = '\0';
  if (!hr_name_valid(name)) {
    snprintf(name, HR_NAME_MAX + 1, "%s", otherwise);
  }
}
