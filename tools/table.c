/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "tools/table.h"

#include <stdlib.h>
#include <string.h>
#include <wchar.h>

/** Columns that `text` takes on the screen. */
static size_t screen_width(const char* text)
{
  size_t width = 0;
  mbstate_t state = {0};
  size_t left = strlen(text);
  while (left) {
    wchar_t character;
    size_t size = mbrtowc(&character, text, left, &state);
    int columns = 1;
    if (size == (size_t)-1 || size == (size_t)-2) {
      state = (mbstate_t){0}; // Not of this locale: a byte, a column
      size = 1;
    } else {
      columns = wcwidth(character);
    }
    width += columns > 0 ? (size_t)columns : 0;
    text += size;
    left -= size;
  }
  return width;
}

HrStatus hr_table_add(HrTable* table, const char* cell)
{
  const char* const text = cell ? cell : "";
  const size_t size = strlen(text) + 1;
  if (size > table->room - table->size) {
    const size_t room = 2 * (table->size + size) + 4096;
    char* const grown = realloc(table->text, room);
    if (!grown) {
      return HR_ERR_NO_MEMORY;
    }
    table->text = grown;
    table->room = room;
  }
  memcpy(table->text + table->size, text, size);
  table->size += size;
  return HR_OK;
}

static void measure(HrTable* table)
{
  size_t column = 0;
  memset(table->width, 0, sizeof table->width);
  for (size_t at = 0; at < table->size; at += strlen(table->text + at) + 1) {
    const size_t width = screen_width(table->text + at);
    if (width > table->width[column]) {
      table->width[column] = width;
    }
    column = (column + 1) % table->columns;
  }
}

void hr_table_print(HrTable* table, FILE* file)
{
  size_t column = 0;
  size_t owed = 0; // Spaces due before the next text: none trail at a line's end
  measure(table);
  for (size_t at = 0; at < table->size; at += strlen(table->text + at) + 1) {
    const char* const cell = table->text + at;
    const size_t width = screen_width(cell);
    const size_t padding = table->width[column] - width;
    owed += table->right[column] ? padding : 0;
    if (width) {
      fprintf(file, "%*s%s", (int)owed, "", cell);
      owed = 0;
    }
    owed += (table->right[column] ? 0 : padding) + 2;
    column = (column + 1) % table->columns;
    if (column == 0) {
      fputc('\n', file);
      owed = 0;
    }
  }
  table->size = 0;
}

void hr_table_free(HrTable* table)
{
  free(table->text);
  *table = (HrTable){0};
}
