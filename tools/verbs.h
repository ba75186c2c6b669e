/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file verbs.h
 * The commands of the command layer (plugin/command.h) that make sense without
 * a running host, as commands of this program: what OSC does and what this
 * program does cannot differ.
 */

#ifndef HR_TOOLS_VERBS_H
#define HR_TOOLS_VERBS_H

#include "plugin/command.h"
#include "tools/tool.h"

#include <stddef.h>
#include <stdio.h>

/** The verb's row, or NULL if there is none or it needs a running host. */
const HrCommandInfo* hr_verbs_find(const char* verb);

/** True for a verb that only a plugin in a host can carry out. */
bool hr_verbs_needs_host(const char* verb);

/** Print what there is: a line for the usage, and what it does. */
void hr_verbs_print_help(FILE* file);

/** The known verb most like `verb`, or NULL. */
const char* hr_verbs_nearest(const char* verb);

/** Run a verb with arguments as typed: read as the row's types say. Rows of an
 * answer are printed in columns. Returns an exit status. */
int hr_verbs_run(const HrTool* tool, const HrCommandInfo* info, char* const* args, size_t count);

#endif
