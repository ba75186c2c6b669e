/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file pattern.h
 * One part of an OSC address pattern (OSC 1.0 specification, "OSC Message
 * Dispatching and Pattern Matching"):
 *
 *   ?        any one character
 *   *        any number of them
 *   [a-z1]   one of these, [!a-z1] one that is none of these
 *   {on,off} one of these texts
 *
 * A pattern is a small automaton whose states are the bits of one word (the
 * "bit-parallel" simulation; Navarro and Raffinot, Flexible Pattern Matching in
 * Strings, ch. 4). Each byte of the text costs at most one step for each item of the
 * pattern, whatever both hold: nothing is tried twice, nothing recurs.
 *
 * Pure functions, any thread.
 */

#ifndef HR_OSC_PATTERN_H
#define HR_OSC_PATTERN_H

#include "store/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Items of a pattern: a character, ?, *, [...], {, and the , and } that go with it.
 * A ? and a [!...] count twice. */
enum { HR_OSC_PATTERN_MAX = 63 };

/** Place n is before item n; the last one is the end. Bits are places. */
typedef struct {
  uint64_t accepts[256];                  ///< Items that take this byte
  uint64_t repeats;                       ///< Items that take any number of bytes
  uint64_t skips[HR_OSC_PATTERN_MAX + 1]; ///< Where one gets from a place for nothing: always ahead
  unsigned end;
} HrOscPattern;

/** Read a pattern of `size` bytes of UTF-8. HR_ERR_ARGUMENT: malformed,
 * HR_ERR_LIMIT: too long. */
HrStatus hr_osc_pattern_read(HrOscPattern* pattern, const char* text, size_t size, HrError* error);

/** True if the pattern matches all of `text`. */
bool hr_osc_pattern_matches(const HrOscPattern* pattern, const char* text);

#endif
