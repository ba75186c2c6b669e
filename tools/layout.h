/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file layout.h
 * Controllers ready to use: one table of controls, written as a layout for
 * TouchOSC, a session for Open Stage Control, a patch for Pure Data, and as the
 * pictures of the manual.
 *
 * What a control sends and shows is looked up in osc/table.h: a control that
 * names no address of that table is left out, so that no layout asks for what
 * does not exist. tests/test_layouts.c sees that none is.
 *
 * One thread. Nothing here changes.
 */

#ifndef HR_TOOLS_LAYOUT_H
#define HR_TOOLS_LAYOUT_H

#include "plugin/command.h"
#include "store/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/** The page, in units of which a finger in a glove needs two by two. */
enum { HR_LAYOUT_COLUMNS = 16, HR_LAYOUT_ROWS = 12, HR_LAYOUT_UNIT = 64 };

/** Stands for the time of day in HrControl.text. */
#define HR_LAYOUT_TIME "<time>"

/** Seconds of silence after which a controller subscribes again. */
#define HR_LAYOUT_SILENCE_S 5

/** Seconds after which it does so anyway, well within the lease. */
#define HR_LAYOUT_RENEW_S 25

/** Seconds for which an error is shown. */
#define HR_LAYOUT_SAID_S 8

/** A control: a pad if it has a verb, else a label. */
typedef struct {
  const char* name;  ///< Unique
  const char* label; ///< What is written on a pad; stands before what a label shows
  const char* verb;  ///< Of /hr/<instance>/<verb>; NULL: a label
  const char* text;  ///< The one argument, where the verb takes a value; NULL: none
  const char* item;  ///< Of /hr/<number>/state/<item>, what it shows; NULL: nothing of that
  const char*
      value;       ///< Which value of that. A pad is lit while it is `text`, or, if no text, not 0
  uint32_t colour; ///< 0xRRGGBB
  uint8_t column, row, columns, rows; ///< In units
} HrControl;

/** The slots show by name, state and colour what `state/slot` says of theirs. */
#define HR_LAYOUT_SLOT_ITEM "slot"

/** What `state` says in there. */
enum { HR_LAYOUT_SLOT_EMPTY, HR_LAYOUT_SLOT_THERE, HR_LAYOUT_SLOT_CURRENT, HR_LAYOUT_SLOT_PENDING };

/** A control with what osc/table.h knows of it. */
typedef struct {
  const HrControl* control;
  HrCommandKind kind; ///< Of its verb
  int slot;           ///< From 1; 0: it is no slot
  char address[64];   ///< Where it sends to; empty: nowhere
  char item[64];      ///< What it listens to; empty: nothing
  unsigned value;     ///< Which value of that, from 0
  char type;          ///< And its type, as in HrCommandInfo
  bool after_ticks;   ///< It comes behind a 64-bit value, which Pure Data cannot read past
} HrLayoutControl;

size_t hr_layout_count(void);

const HrControl* hr_layout_control(size_t index);

/** Look a control up, for the plugin's instance of that number. False if it
 * names an address or a value that osc/table.h does not have. */
bool hr_layout_find(size_t index, unsigned instance, HrLayoutControl* found);

/** The names of what can be written, for a person. */
#define HR_LAYOUT_KINDS "touchosc, open-stage-control, pure-data, picture or patch-picture"

/** Write one of HR_LAYOUT_KINDS for the plugin's instance of that number.
 * HR_ERR_ARGUMENT, HR_ERR_NO_MEMORY, HR_ERR_IO. */
HrStatus hr_layout_write(const char* kind, unsigned instance, FILE* file, HrError* error);

/** The parts of hr_layout_write(). HR_ERR_NO_MEMORY; errors of `file` are left
 * in it. */
HrStatus hr_layout_write_touchosc(unsigned instance, FILE* file);
HrStatus hr_layout_write_open_stage_control(unsigned instance, FILE* file);
HrStatus hr_layout_write_pure_data(unsigned instance, FILE* file);
HrStatus hr_layout_write_picture(unsigned instance, FILE* file);
HrStatus hr_layout_write_patch_picture(unsigned instance, FILE* file);

/** Write `text` with what XML keeps for itself escaped. */
void hr_layout_write_xml_text(const char* text, FILE* file);

#endif
