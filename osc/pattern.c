/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/pattern.h"

#include <string.h>

enum { ASCII_COUNT = 128, CONTINUATION_FIRST = 0x80, CONTINUATION_LAST = 0xBF, BYTE_LAST = 0xFF };

/** A pattern being read. */
typedef struct {
  HrOscPattern* pattern;
  const char* text;
  const char* end;
  int open;      ///< Place of the { that is open; -1: none
  uint64_t ends; ///< Places after each of its texts
} Reader;

static uint64_t bit(unsigned place)
{
  return UINT64_C(1) << place;
}

static HrStatus malformed(HrError* error, const char* what)
{
  return hr_error(error, HR_ERR_ARGUMENT, "The address pattern is malformed: %s.", what);
}

static void accept_range(Reader* reader, unsigned first, unsigned last)
{
  for (unsigned byte = first; byte <= last; ++byte) {
    reader->pattern->accepts[byte] |= bit(reader->pattern->end);
  }
}

static void repeat(Reader* reader)
{
  HrOscPattern* pattern = reader->pattern;
  pattern->repeats |= bit(pattern->end);
  pattern->skips[pattern->end] |= bit(pattern->end + 1);
}

static HrStatus require_room(const HrOscPattern* pattern, HrError* error)
{
  return pattern->end < HR_OSC_PATTERN_MAX
             ? HR_OK
             : hr_error(error, HR_ERR_LIMIT,
                        "A part of an address pattern may have at most %d characters.",
                        HR_OSC_PATTERN_MAX);
}

/** Take what follows the first byte of a character, as an item of its own. */
static HrStatus read_continuation(Reader* reader, HrError* error)
{
  reader->pattern->end += 1;
  const HrStatus st = require_room(reader->pattern, error);
  if (st) {
    return st;
  }
  accept_range(reader, CONTINUATION_FIRST, CONTINUATION_LAST);
  repeat(reader);
  return HR_OK;
}

/** Take any first byte of a character but "/". */
static void accept_any(Reader* reader)
{
  accept_range(reader, 1, '/' - 1);
  accept_range(reader, '/' + 1, ASCII_COUNT - 1);
  accept_range(reader, CONTINUATION_LAST + 1, BYTE_LAST);
}

/** Read "[...]", whose "[" is read. */
static HrStatus read_set(Reader* reader, HrError* error)
{
  bool in_set[ASCII_COUNT] = {false};
  const char* close = memchr(reader->text, ']', (size_t)(reader->end - reader->text));
  if (!close) {
    return malformed(error, "a [ is not closed");
  }
  const bool negated = *reader->text == '!';
  const char* at = reader->text + negated;
  reader->text = close + 1;
  if (at == close) {
    return malformed(error, "there is nothing between [ and ]");
  }
  for (; at < close; ++at) {
    const bool range = at + 2 < close && at[1] == '-';
    const unsigned char first = (unsigned char)*at;
    const unsigned char last = (unsigned char)(range ? at[2] : *at);
    if (first > last || last >= ASCII_COUNT) {
      return malformed(error, "[ ] takes ASCII characters, and ranges in their order");
    }
    memset(in_set + first, true, (size_t)(last - first) + 1);
    at += range ? 2 : 0;
  }
  for (unsigned byte = 1; byte < ASCII_COUNT; ++byte) {
    if (byte != '/' && in_set[byte] != negated) {
      accept_range(reader, byte, byte);
    }
  }
  if (!negated) {
    return HR_OK;
  }
  accept_range(reader, CONTINUATION_LAST + 1, BYTE_LAST);
  return read_continuation(reader, error);
}

/** Begin the next of the texts in braces at the place after this one. */
static void begin_text(Reader* reader)
{
  reader->pattern->skips[reader->open] |= bit(reader->pattern->end + 1);
}

static void end_texts(Reader* reader)
{
  HrOscPattern* pattern = reader->pattern;
  reader->ends |= bit(pattern->end);
  for (unsigned place = 0; place <= pattern->end; ++place) {
    if (reader->ends & bit(place)) {
      pattern->skips[place] |= bit(pattern->end + 1);
    }
  }
  reader->ends = 0;
  reader->open = -1;
}

/** Read one item at place `end`. */
static HrStatus read_item(Reader* reader, HrError* error)
{
  HrOscPattern* pattern = reader->pattern;
  const char character = *reader->text++;
  const bool in_braces = reader->open >= 0;
  switch (character) {
  case '?':
    accept_any(reader);
    return read_continuation(reader, error);
  case '*':
    accept_any(reader);
    accept_range(reader, CONTINUATION_FIRST, CONTINUATION_LAST);
    repeat(reader);
    return HR_OK;
  case '[':
    return read_set(reader, error);
  case ']':
    return malformed(error, "a ] closes nothing");
  case '{':
    if (in_braces) {
      return malformed(error, "a { stands within { }");
    }
    reader->open = (int)pattern->end;
    begin_text(reader);
    return HR_OK;
  case '}':
    if (!in_braces) {
      return malformed(error, "a } closes nothing");
    }
    end_texts(reader);
    return HR_OK;
  default:
    if (character == ',' && in_braces) {
      reader->ends |= bit(pattern->end);
      begin_text(reader);
    } else {
      accept_range(reader, (unsigned char)character, (unsigned char)character);
    }
    return HR_OK;
  }
}

HrStatus hr_osc_pattern_read(HrOscPattern* pattern, const char* text, size_t size, HrError* error)
{
  Reader reader = {.pattern = pattern, .text = text, .end = text + size, .open = -1};
  memset(pattern, 0, sizeof *pattern);
  while (reader.text < reader.end) {
    HrStatus st = require_room(pattern, error);
    if (!st) {
      st = read_item(&reader, error);
    }
    if (st) {
      return st;
    }
    pattern->end += 1;
  }
  return reader.open < 0 ? HR_OK : malformed(error, "a { is not closed");
}

/** Add the places that are reached for nothing. As these lie ahead, one pass does. */
static uint64_t reached(const HrOscPattern* pattern, uint64_t places)
{
  for (uint64_t left = places; left; left &= left - 1) {
    const uint64_t more = pattern->skips[__builtin_ctzll(left)] & ~places;
    places |= more;
    left |= more;
  }
  return places;
}

bool hr_osc_pattern_matches(const HrOscPattern* pattern, const char* text)
{
  uint64_t places = reached(pattern, bit(0));
  for (; *text && places; ++text) {
    const uint64_t taken = places & pattern->accepts[(unsigned char)*text];
    places = reached(pattern, (taken & pattern->repeats) | (taken & ~pattern->repeats) << 1);
  }
  return places & bit(pattern->end);
}
