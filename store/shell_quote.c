/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/shell_quote.h"

#include <string.h>

const char* hr_shell_quote(char* text, size_t size, const char* path)
{
  size_t length = 1;
  text[0] = '\'';
  for (; *path; ++path) {
    const char* const written = *path == '\'' ? "'\\''" : path; // Nothing escapes one within two
    const size_t added = *path == '\'' ? strlen(written) : 1;
    if (length + added + sizeof "'" > size) {
      return strcpy(text, "FILE");
    }
    memcpy(text + length, written, added);
    length += added;
  }
  return strcpy(text + length, "'") - length;
}
