/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file show.h
 * What is in the store, and what was done to it, as text on stdout. All of
 * these open the store for reading only, and return an exit status.
 */

#ifndef HR_TOOLS_SHOW_H
#define HR_TOOLS_SHOW_H

#include "tools/tool.h"

/** The branches of the tree that was named, or of all trees, oldest first. */
int hr_show_tree(const HrTool* tool);

/** The journal of the tree that was named, or of all trees, newest entry last. */
int hr_show_log(const HrTool* tool);

/** Check the whole store: its pages, then, if those are sound, all that they
 * hold, in a child process: not even a structure that makes LMDB crash ends this
 * one. HR_EXIT_OK only if there is no problem. */
int hr_show_verify(const HrTool* tool);

/** Take all that can be read in the store `damaged` into a new one at `path`, and
 * list what cannot. HR_EXIT_OK only if nothing is lost. */
int hr_show_salvage(const char* damaged, const char* path);

#endif
