/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file prefault.h
 * Brings the code that the audio thread runs into memory, so that it does not
 * wait for the disk the first time it comes along a path: the plugin's own, and
 * the C and mathematics libraries'. */

#ifndef HR_PREFAULT_H
#define HR_PREFAULT_H

/** Touch every page of these modules. Any thread but audio's. */
void hr_prefault_code(void);

#endif
