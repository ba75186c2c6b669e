/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file text.h
 * Text from and to the network. Pure functions, any thread.
 */

#ifndef HR_OSC_TEXT_H
#define HR_OSC_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/** True for well-formed UTF-8 (RFC 3629) without control characters: no byte
 * below 0x20, no DEL, no C1. */
bool hr_osc_text_valid(const char* text);

/** The most bytes of `text`, at most `limit`, that end at a whole character.
 * `text` must be UTF-8, but may have been cut within its last character. */
size_t hr_osc_text_cut(const char* text, size_t limit);

/** How many times a letter must be added, removed, changed or swapped with the
 * next to get from `a` to `b` (optimal string alignment); `limit` if that many or
 * more, or if a text is longer than 31 bytes. */
size_t hr_osc_text_distance(const char* a, const char* b, size_t limit);

#endif
