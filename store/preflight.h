/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file preflight.h
 * Looks at a file with plain reads before LMDB maps it. A truncated or foreign
 * file that is mapped ends the host with SIGBUS, SIGFPE or an abort; this turns
 * all of those into a sentence.
 *
 * Source of the layout: LMDB 0.9 data format version 1 (mdb.c, "Page structures"). */

#ifndef HR_PREFLIGHT_H
#define HR_PREFLIGHT_H

#include "store/format.h"
#include "store/status.h"

/** Check the open file `fd`, named `path` in messages. HR_END if it is empty,
 * or no more than begun: a store can be made there. HR_ERR_NOT_A_STORE, HR_ERR_TRUNCATED,
 * HR_ERR_DAMAGED, HR_ERR_NEWER, HR_ERR_IO. Fills `header` on HR_OK. */
HrStatus hr_preflight(int fd, const char* path, HrStoreHeader* header, HrError* error);

#endif
