/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/shell_quote.h"

#include <stdbool.h>
#include <string.h>

const char* hr_shell_quote(char* text, size_t size, const char* path)
{
  static const char escaped[] = "'\\''"; // Nothing escapes a ' between two of them
  size_t length = 1;
  text[0] = '\'';
  for (; *path; ++path) {
    const bool is_quote = *path == '\'';
    const size_t added = is_quote ? sizeof escaped - 1 : 1;
    if (length + added + sizeof "'" > size) {
      return strcpy(text, "FILE");
    }
    memcpy(text + length, is_quote ? escaped : path, added);
    length += added;
  }
  return strcpy(text + length, "'") - length;
}
