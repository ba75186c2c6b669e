/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file table.h
 * Rows of text in aligned columns, two spaces apart. Widths are those on the
 * screen, by the locale.
 */

#ifndef HR_TOOLS_TABLE_H
#define HR_TOOLS_TABLE_H

#include "store/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { HR_TABLE_COLUMNS_MAX = 16 };

/** Zero-initialise, then set `columns`. Free with hr_table_free(). */
typedef struct {
  size_t columns;
  bool right[HR_TABLE_COLUMNS_MAX]; ///< Align to the right
  char* text;                       ///< All cells, each with its NUL
  size_t size;
  size_t room;
  size_t width[HR_TABLE_COLUMNS_MAX];
} HrTable;

/** Add the next cell, row by row from left to right; NULL is empty. HR_ERR_NO_MEMORY. */
HrStatus hr_table_add(HrTable* table, const char* cell);

/** Print and forget the rows. */
void hr_table_print(HrTable* table, FILE* file);

void hr_table_free(HrTable* table);

#endif
