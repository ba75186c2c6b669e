/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file table.h
 * The one table of addresses: the endpoint's own commands, the command layer's
 * as /hr/<instance>/<verb>, and the feedback. The dispatcher, /hr/help and
 * docs/osc.md are all made from it.
 *
 * Any thread; nothing here changes.
 */

#ifndef HR_OSC_TABLE_H
#define HR_OSC_TABLE_H

#include "plugin/command.h"
#include "store/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct HrOscRequest;

typedef enum {
  HR_OSC_ROW_OWN,      ///< The endpoint's own; has `run`
  HR_OSC_ROW_COMMAND,  ///< The command layer's; `verb` is its name there
  HR_OSC_ROW_FEEDBACK, ///< Sent by us
} HrOscRowType;

typedef struct {
  HrOscRowType type;
  char address[64];      ///< With <instance> or <number> where that stands
  const char* verb;      ///< Its last part
  HrCommandKind kind;    ///< Not for feedback
  const char* arguments; ///< As in HrCommandInfo; the values of feedback
  const char* answer;
  const char* summary;
  HrStatus (*run)(struct HrOscRequest* request, HrError* error);
} HrOscRow;

size_t hr_osc_row_count(void);

/** Fill in the row at `index`, below hr_osc_row_count(). */
void hr_osc_row(size_t index, HrOscRow* row);

/** Find an own command by its whole address. */
bool hr_osc_row_find_own(const char* address, HrOscRow* row);

/** What the addresses of pads, slot/<n>, are in the table. */
const HrCommandInfo* hr_osc_row_pad(void);

/** The verb most like `verb`, for a hint; NULL if none is. */
const char* hr_osc_row_nearest(const char* verb);

/** Write docs/osc.md. HR_ERR_IO. */
HrStatus hr_osc_write_documentation(FILE* file);

#endif
