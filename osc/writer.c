/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/writer.h"
#include "osc/text.h"

#include <lo/lo.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

enum {
  HEADER_SIZE = 16, // "#bundle" and the time tag
  LENGTH_SIZE = 4,  // Before each element
  MESSAGE_MAX = HR_OSC_DATAGRAM_MAX - HEADER_SIZE - LENGTH_SIZE,
  TEXT_MAX = 1000, // Bytes of one text, at first; all of ours but paths fit
  TEXT_TOO_LOW = 8 // Below it the fault cannot be the texts
};

/** Beyond it a 32-bit float no longer tells whole numbers apart. */
#define FLOAT_EXACT 16777216.0

static const uint8_t bundle_header[HEADER_SIZE] = "#bundle\0\0\0\0\0\0\0\0\1";

void hr_osc_writer_init(HrOscWriter* writer,
                        void (*send)(void* data, const uint8_t* bytes, size_t size), void* data)
{
  writer->send = send;
  writer->data = data;
  writer->size = 0;
  writer->count = 0;
}

static int add_text(lo_message message, const char* text, size_t limit)
{
  char copy[TEXT_MAX + 1];
  const size_t size = hr_osc_text_cut(text, limit);
  memcpy(copy, text, size);
  copy[size] = '\0';
  return lo_message_add_string(message, copy);
}

static int add_value(lo_message message, const HrValue* value, size_t text_limit)
{
  switch (value->type) {
  case HR_VALUE_INTEGER:
    return value->integer >= INT32_MIN && value->integer <= INT32_MAX
               ? lo_message_add_int32(message, (int32_t)value->integer)
               : lo_message_add_int64(message, value->integer);
  case HR_VALUE_TICK:
    return lo_message_add_int64(message, value->integer);
  case HR_VALUE_NUMBER:
    return fabs(value->number) < FLOAT_EXACT ? lo_message_add_float(message, (float)value->number)
                                             : lo_message_add_double(message, value->number);
  case HR_VALUE_TEXT:
    return add_text(message, value->text, text_limit);
  case HR_VALUE_BYTES: // No answer holds any
    break;
  }
  return 0;
}

/** Make a message whose texts have at most `text_limit` bytes; NULL when out of memory. */
static lo_message make_message(const HrValue* values, size_t count, size_t text_limit)
{
  lo_message message = lo_message_new();
  for (size_t i = 0; message && i < count; ++i) {
    if (add_value(message, &values[i], text_limit) < 0) {
      lo_message_free(message);
      message = NULL;
    }
  }
  return message;
}

/** Make a message that fits a datagram, cutting its texts as far as needed. */
static lo_message make_fitting(const char* address, const HrValue* values, size_t count,
                               size_t* size)
{
  for (size_t limit = TEXT_MAX; limit >= TEXT_TOO_LOW; limit /= 2) {
    lo_message message = make_message(values, count, limit);
    if (!message) {
      return NULL;
    }
    *size = lo_message_length(message, address);
    if (*size <= MESSAGE_MAX) {
      return message;
    }
    lo_message_free(message);
  }
  return NULL;
}

static void write_length(uint8_t* bytes, size_t length)
{
  bytes[0] = (uint8_t)(length >> 24);
  bytes[1] = (uint8_t)(length >> 16);
  bytes[2] = (uint8_t)(length >> 8);
  bytes[3] = (uint8_t)length;
}

void hr_osc_write(HrOscWriter* writer, const char* address, const HrValue* values, size_t count)
{
  if (count > HR_OSC_VALUES_MAX) {
    count = HR_OSC_VALUES_MAX;
  }
  size_t size = 0;
  lo_message message = make_fitting(address, values, count, &size);
  if (!message) {
    return;
  }

  if (writer->size + LENGTH_SIZE + size > HR_OSC_DATAGRAM_MAX) {
    hr_osc_writer_flush(writer);
  }
  if (!writer->size) {
    memcpy(writer->bytes, bundle_header, HEADER_SIZE);
    writer->size = HEADER_SIZE;
  }
  write_length(writer->bytes + writer->size, size);
  lo_message_serialise(message, address, writer->bytes + writer->size + LENGTH_SIZE, NULL);
  writer->size += LENGTH_SIZE + size;
  writer->count += 1;
  lo_message_free(message);
}

void hr_osc_writer_flush(HrOscWriter* writer)
{
  // Some controllers take no bundles: a lone message goes without one.
  const size_t skip = writer->count == 1 ? HEADER_SIZE + LENGTH_SIZE : 0;
  if (writer->count) {
    writer->send(writer->data, writer->bytes + skip, writer->size - skip);
  }
  writer->size = 0;
  writer->count = 0;
}
