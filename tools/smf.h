/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file smf.h
 * Branches out to Standard MIDI Files and in again.
 *
 * Times are rounded to the nearest pulse on the way out and to the nearest tick
 * on the way in. A file read, written at the resolution it had (if that divides
 * HR_TICKS_PER_QUARTER) and read again gives the same events at the same ticks,
 * and the same length.
 */

#ifndef HR_TOOLS_SMF_H
#define HR_TOOLS_SMF_H

#include "tools/tool.h"

/** The finest resolution that divides HR_TICKS_PER_QUARTER, fits a file (15
 * bits), and is a multiple of the 960 that sequencers like. */
#define HR_SMF_RESOLUTION 15360

/** True for a resolution at which ticks and pulses fall together. */
bool hr_smf_resolution_valid(uint32_t ppq);

/** Write the whole path of `branch` to `file`, and its marks as markers. What is damaged in the
 * store is left out and named; then the exit status is HR_EXIT_FAILURE although the file was
 * written. Returns an exit status. */
int hr_smf_export(const HrTool* tool, const char* branch, const char* file);

/** Read the file at `path` into a new branch `name` (NULL: the file's), forked from the
 * tree's root at tick 0; the tree, and the store, are made when there are none.
 * All in one transaction. Returns an exit status. */
int hr_smf_import(const HrTool* tool, const char* path, const char* name);

#endif
