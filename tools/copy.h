/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file copy.h
 * Copies of the whole store: `backup` and `compact`. Both return an exit status. */

#ifndef HR_TOOLS_COPY_H
#define HR_TOOLS_COPY_H

#include "tools/tool.h"

/** Make the backup at `path`, or bring it up to date. */
int hr_copy_backup(const HrTool* tool, const char* path);

/** Write a compact copy to `path`. */
int hr_copy_compact(const HrTool* tool, const char* path);

#endif
