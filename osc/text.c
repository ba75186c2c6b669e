/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/text.h"

#include <stdint.h>
#include <string.h>

enum { DISTANCE_TEXT_MAX = 31 };

/** Bytes of the character that begins with `first`; 0 if none does. */
static size_t character_size(uint8_t first)
{
  return first < 0x80           ? 1
         : (first >> 5) == 0x06 ? 2
         : (first >> 4) == 0x0E ? 3
         : (first >> 3) == 0x1E ? 4
                                : 0;
}

static bool is_continuation(uint8_t byte)
{
  return (byte & 0xC0) == 0x80;
}

/** Read one character of `bytes`: its size, 0 if it is malformed. A NUL stops
 * it like any other byte that is no continuation. */
static size_t read_character(const uint8_t* bytes, uint32_t* code)
{
  static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};

  const size_t size = character_size(bytes[0]);
  *code = size <= 1 ? bytes[0] : bytes[0] & (0x7FU >> size);
  for (size_t i = 1; i < size; ++i) {
    if (!is_continuation(bytes[i])) {
      return 0;
    }
    *code = *code << 6 | (bytes[i] & 0x3FU);
  }

  const bool surrogate = *code >= 0xD800 && *code <= 0xDFFF;
  return *code < smallest[size] || *code > 0x10FFFF || surrogate ? 0 : size;
}

bool hr_osc_text_valid(const char* text)
{
  const uint8_t* bytes = (const uint8_t*)text;
  while (*bytes) {
    uint32_t code = 0;
    const size_t size = read_character(bytes, &code);
    if (!size || code < 0x20 || (code >= 0x7F && code < 0xA0)) {
      return false;
    }
    bytes += size;
  }
  return true;
}

size_t hr_osc_text_cut(const char* text, size_t limit)
{
  const uint8_t* bytes = (const uint8_t*)text;
  const size_t size = strnlen(text, limit);
  size_t last = size;
  while (last && is_continuation(bytes[last - 1])) {
    --last;
  }
  return last && last - 1 + character_size(bytes[last - 1]) > size ? last - 1 : size;
}

static size_t least(size_t a, size_t b)
{
  return a < b ? a : b;
}

size_t hr_osc_text_distance(const char* a, const char* b, size_t limit)
{
  const size_t a_size = strlen(a);
  const size_t b_size = strlen(b);
  if (a_size > DISTANCE_TEXT_MAX || b_size > DISTANCE_TEXT_MAX) {
    return limit;
  }

  // Three rows of the usual matrix: the one before last serves for swaps.
  size_t matrix[3][DISTANCE_TEXT_MAX + 1] = {{0}};
  for (size_t j = 0; j <= b_size; ++j) {
    matrix[0][j] = j;
  }
  for (size_t i = 1; i <= a_size; ++i) {
    const size_t* before_last = matrix[(i + 1) % 3];
    const size_t* last = matrix[(i + 2) % 3];
    size_t* row = matrix[i % 3];
    row[0] = i;
    for (size_t j = 1; j <= b_size; ++j) {
      const size_t changed = last[j - 1] + (a[i - 1] != b[j - 1]);
      row[j] = least(changed, least(last[j], row[j - 1]) + 1);
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = least(row[j], before_last[j - 2] + 1);
      }
    }
  }
  return least(matrix[a_size % 3][b_size], limit);
}
