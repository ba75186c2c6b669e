/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file test_osc_wire.h
 * OSC packets for tests: made by liblo, and by hand where liblo would not. */

#ifndef HR_TEST_OSC_WIRE_H
#define HR_TEST_OSC_WIRE_H

#include "osc/packet.h"

#include <lo/lo.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { WIRE_SIZE = 1 << 16 };

static inline void add_argument(lo_message message, char type, double number, const char* text)
{
  uint8_t midi[4] = {0, 0x90, 60, 100};
  lo_blob blob = NULL;
  switch (type) {
  case 'i':
    lo_message_add_int32(message, (int32_t)number);
    break;
  case 'h':
    lo_message_add_int64(message, (int64_t)number);
    break;
  case 'f':
    lo_message_add_float(message, (float)number);
    break;
  case 'd':
    lo_message_add_double(message, number);
    break;
  case 's':
    lo_message_add_string(message, text);
    break;
  case 'S':
    lo_message_add_symbol(message, text);
    break;
  case 'c':
    lo_message_add_char(message, text[0]);
    break;
  case 'T':
    lo_message_add_true(message);
    break;
  case 'F':
    lo_message_add_false(message);
    break;
  case 'N':
    lo_message_add_nil(message);
    break;
  case 'I':
    lo_message_add_infinitum(message);
    break;
  case 'm':
    lo_message_add_midi(message, midi);
    break;
  case 't':
    lo_message_add_timetag(message, LO_TT_IMMEDIATE);
    break;
  case 'b':
    blob = lo_blob_new(3, "abc");
    lo_message_add_blob(message, blob);
    lo_blob_free(blob);
    break;
  default:
    fail_msg("type %c", type);
  }
}

static inline lo_message make_message(const char* types, va_list args)
{
  lo_message message = lo_message_new();
  for (const char* type = types; *type; ++type) {
    if (strchr("sSc", *type)) {
      add_argument(message, *type, 0.0, va_arg(args, const char*));
    } else if (*type == 'i') {
      add_argument(message, *type, va_arg(args, int), NULL);
    } else {
      add_argument(message, *type, strchr("fdh", *type) ? va_arg(args, double) : 0.0, NULL);
    }
  }
  return message;
}

/** Serialise a message into `bytes`, of WIRE_SIZE. */
static inline size_t serialise(uint8_t* bytes, const char* path, const char* types, ...)
{
  va_list args;
  va_start(args, types);
  lo_message message = make_message(types, args);
  va_end(args);
  size_t size = WIRE_SIZE;
  assert_true(lo_message_length(message, path) <= size);
  lo_message_serialise(message, path, bytes, &size);
  lo_message_free(message);
  return size;
}

/** Check the first `size` bytes, in a block of just that size, so that the
 * address sanitizer sees any read beyond. */
static inline HrStatus check_exactly(const uint8_t* bytes, size_t size)
{
  uint8_t* copy = malloc(size ? size : 1);
  memcpy(copy, bytes, size);
  const HrStatus st = hr_osc_packet_check(copy, size, NULL);
  free(copy);
  return st;
}

/** Put `size` bytes as the one element of a bundle. Returns its size. */
static inline size_t wrap(uint8_t* bundle, uint64_t time, const uint8_t* bytes, size_t size)
{
  memmove(bundle + 20, bytes, size);
  memcpy(bundle, "#bundle", 8);
  for (unsigned i = 0; i < 8; ++i) {
    bundle[8 + i] = (uint8_t)(time >> (56 - 8 * i));
  }
  for (unsigned i = 0; i < 4; ++i) {
    bundle[16 + i] = (uint8_t)(size >> (24 - 8 * i));
  }
  return size + 20;
}

/** Add an element to a bundle of `size` bytes. Returns its new size. */
static inline size_t append(uint8_t* bundle, size_t size, const uint8_t* bytes, size_t added)
{
  for (unsigned i = 0; i < 4; ++i) {
    bundle[size + i] = (uint8_t)(added >> (24 - 8 * i));
  }
  memcpy(bundle + size + 4, bytes, added);
  return size + 4 + added;
}

#endif
