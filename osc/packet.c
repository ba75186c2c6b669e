/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/packet.h"
#include "osc/text.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { MIDI_SIZE = 3 }; // Bytes of an argument m behind its port

static uint32_t read_u32(const uint8_t* bytes)
{
  return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static size_t padded(size_t size)
{
  return (size + 3) & ~(size_t)3;
}

/** Bytes that the OSC string at `bytes` takes with its padding, 0 if it is malformed. */
static size_t string_size(const uint8_t* bytes, size_t size)
{
  const uint8_t* end = memchr(bytes, 0, size);
  if (!end) {
    return 0;
  }
  const size_t whole = padded((size_t)(end - bytes) + 1);
  if (whole > size) {
    return 0;
  }
  for (const uint8_t* pad = end; pad < bytes + whole; ++pad) {
    if (*pad) {
      return 0;
    }
  }
  return whole;
}

/** Bytes that an argument takes, 0 for those that are all in their type; false if
 * the type is unknown or the bytes are not there. */
static bool argument_size(char type, const uint8_t* bytes, size_t size, size_t* taken)
{
  switch (type) {
  case 'i':
  case 'f':
  case 'c':
  case 'r':
  case 'm':
    *taken = 4;
    return size >= 4;
  case 'h':
  case 'd':
  case 't':
    *taken = 8;
    return size >= 8;
  case 's':
  case 'S':
    *taken = string_size(bytes, size);
    return *taken > 0;
  case 'b':
    if (size < 4 || read_u32(bytes) > size - 4) {
      return false;
    }
    *taken = 4 + padded(read_u32(bytes));
    return *taken <= size;
  case 'T':
  case 'F':
  case 'N':
  case 'I':
  case '[':
  case ']':
    *taken = 0;
    return true;
  default:
    return false;
  }
}

static HrStatus check_message(const uint8_t* bytes, size_t size, HrError* error)
{
  const size_t address_size = string_size(bytes, size);
  if (!address_size || bytes[0] != '/' || !hr_osc_text_valid((const char*)bytes)) {
    return hr_error(error, HR_ERR_ARGUMENT, "Not an OSC message: its address is malformed.");
  }
  if (strlen((const char*)bytes) > HR_OSC_ADDRESS_MAX) {
    return hr_error(error, HR_ERR_LIMIT, "The address is longer than %d bytes.",
                    HR_OSC_ADDRESS_MAX);
  }
  if (address_size == size) {
    return HR_OK; // Old senders leave out the types when there are no arguments
  }

  const uint8_t* types = bytes + address_size;
  const size_t types_size = string_size(types, size - address_size);
  if (!types_size || types[0] != ',') {
    return hr_error(error, HR_ERR_ARGUMENT, "Not an OSC message: its type tags are malformed.");
  }
  if (strlen((const char*)types + 1) > HR_OSC_ARGUMENTS_MAX) {
    return hr_error(error, HR_ERR_LIMIT, "A message may have at most %d arguments.",
                    HR_OSC_ARGUMENTS_MAX);
  }

  size_t offset = address_size + types_size;
  for (const uint8_t* type = types + 1; *type; ++type) {
    size_t taken = 0;
    if (!argument_size((char)*type, bytes + offset, size - offset, &taken)) {
      return hr_error(error, HR_ERR_ARGUMENT,
                      "Not an OSC message: argument %d is of an unknown type or cut short.",
                      (int)(type - types));
    }
    offset += taken;
  }
  if (offset != size) {
    return hr_error(error, HR_ERR_ARGUMENT,
                    "Not an OSC message: more bytes than its type tags say.");
  }
  return HR_OK;
}

static HrStatus check_element(const uint8_t* bytes, size_t size, unsigned depth, size_t* messages,
                              HrError* error)
{
  if (!hr_osc_is_bundle(bytes, size)) {
    if (++*messages > HR_OSC_MESSAGES_MAX) {
      return hr_error(error, HR_ERR_LIMIT, "A bundle may hold at most %d messages.",
                      HR_OSC_MESSAGES_MAX);
    }
    return check_message(bytes, size, error);
  }
  if (depth == HR_OSC_DEPTH_MAX) {
    return hr_error(error, HR_ERR_LIMIT, "Bundles may lie at most %d deep in one another.",
                    HR_OSC_DEPTH_MAX);
  }

  size_t offset = HR_OSC_BUNDLE_HEADER_SIZE;
  while (offset < size) {
    const size_t left = size - offset;
    if (left < 4) {
      return hr_error(error, HR_ERR_ARGUMENT, "Not an OSC bundle: it is cut short.");
    }
    const uint32_t element = read_u32(bytes + offset);
    if (element < 4 || element % 4 || element > left - 4) {
      return hr_error(error, HR_ERR_ARGUMENT,
                      "Not an OSC bundle: the size of an element is wrong.");
    }
    const HrStatus st = check_element(bytes + offset + 4, element, depth + 1, messages, error);
    if (st) {
      return st;
    }
    offset += 4 + element;
  }
  return HR_OK;
}

HrStatus hr_osc_packet_check(const uint8_t* bytes, size_t size, HrError* error)
{
  if (size > HR_OSC_PACKET_MAX) {
    return hr_error(error, HR_ERR_LIMIT, "A packet may have at most %d bytes.", HR_OSC_PACKET_MAX);
  }
  if (size < 4 || size % 4) {
    return hr_error(error, HR_ERR_ARGUMENT,
                    "Not an OSC packet: its size is not a multiple of 4 bytes.");
  }
  size_t messages = 0;
  return check_element(bytes, size, 0, &messages, error);
}

bool hr_osc_is_bundle(const uint8_t* bytes, size_t size)
{
  return size >= HR_OSC_BUNDLE_HEADER_SIZE && !memcmp(bytes, "#bundle", 8);
}

uint64_t hr_osc_bundle_time(const uint8_t* bytes)
{
  return (uint64_t)read_u32(bytes + 8) << 32 | read_u32(bytes + 12);
}

bool hr_osc_bundle_next(const uint8_t* bytes, size_t size, size_t* offset, const uint8_t** element,
                        size_t* element_size)
{
  if (!*offset) {
    *offset = HR_OSC_BUNDLE_HEADER_SIZE;
  }
  if (*offset >= size) {
    return false;
  }
  *element_size = read_u32(bytes + *offset);
  *element = bytes + *offset + 4;
  *offset += 4 + *element_size;
  return true;
}

size_t hr_osc_bundle_append(uint8_t* bytes, size_t size, const uint8_t* element,
                            size_t element_size)
{
  static const uint8_t header[HR_OSC_BUNDLE_HEADER_SIZE] = "#bundle\0\0\0\0\0\0\0\0\1";
  if (!size) {
    memcpy(bytes, header, sizeof header);
    size = sizeof header;
  }
  const uint32_t length = htonl((uint32_t)element_size);
  memcpy(bytes + size, &length, sizeof length);
  memcpy(bytes + size + sizeof length, element, element_size);
  return size + sizeof length + element_size;
}

static HrStatus read_number(HrOscArguments* arguments, double number, HrError* error)
{
  if (!isfinite(number)) {
    return hr_error(error, HR_ERR_ARGUMENT, "Argument %zu is not a finite number.",
                    arguments->count + 1);
  }
  arguments->values[arguments->count++] = hr_value_number(number);
  return HR_OK;
}

static HrStatus read_text(HrOscArguments* arguments, const char* text, HrError* error)
{
  if (!hr_osc_text_valid(text)) {
    return hr_error(error, HR_ERR_ARGUMENT,
                    "Argument %zu must be UTF-8 text without control characters.",
                    arguments->count + 1);
  }
  arguments->values[arguments->count++] = hr_value_text(text);
  return HR_OK;
}

static HrStatus read_argument(HrOscArguments* arguments, char type, const lo_arg* arg,
                              HrError* error)
{
  // liblo leaves the arguments where the wire had them, at multiples of 4 bytes,
  // so none may be read through the union lo_arg, which is aligned to 8.
  int32_t integer = 0;
  int64_t tick = 0;
  float single = 0.0F;
  double number = 0.0;

  switch (type) {
  case 'T':
  case 'F':
    arguments->values[arguments->count++] = hr_value_integer(type == 'T');
    return HR_OK;
  case 'i':
    memcpy(&integer, arg, sizeof integer);
    arguments->values[arguments->count++] = hr_value_integer(integer);
    return HR_OK;
  case 'h':
    memcpy(&tick, arg, sizeof tick);
    arguments->values[arguments->count++] = hr_value_tick(tick);
    return HR_OK;
  case 'f':
    memcpy(&single, arg, sizeof single);
    return read_number(arguments, (double)single, error);
  case 'd':
    memcpy(&number, arg, sizeof number);
    return read_number(arguments, number, error);
  case 'c':
    memcpy(&integer, arg, sizeof integer);
    arguments->characters[arguments->count][0] = (char)(integer & 0xFF);
    arguments->characters[arguments->count][1] = '\0';
    return read_text(arguments, arguments->characters[arguments->count], error);
  case 'm': // A port, then the message
    arguments->values[arguments->count++] = hr_value_bytes((const uint8_t*)arg + 1, MIDI_SIZE);
    return HR_OK;
  case 'b':
    memcpy(&integer, arg, sizeof integer);
    arguments->values[arguments->count++] =
        hr_value_bytes((const uint8_t*)arg + sizeof integer, (size_t)integer);
    return HR_OK;
  default:
    return read_text(arguments, (const char*)arg, error);
  }
}

static HrStatus check_types(const char* types, HrError* error)
{
  for (const char* type = types; *type; ++type) {
    if (!strchr("ifhdTFsScNImb", *type)) {
      return hr_error(error, HR_ERR_ARGUMENT,
                      "Argument %d has OSC type '%c', which no command takes; send i, f, h, d, s, "
                      "T or F.",
                      (int)(type - types) + 1, *type);
    }
  }
  return HR_OK;
}

HrStatus hr_osc_arguments_read(HrOscArguments* arguments, const uint8_t* bytes, size_t size,
                               HrError* error)
{
  arguments->count = 0;
  arguments->message = NULL;

  const size_t address_size = string_size(bytes, size);
  if (address_size == size) {
    return HR_OK;
  }
  const char* types = (const char*)bytes + address_size + 1;
  HrStatus st = check_types(types, error);
  if (st) {
    return st;
  }

  arguments->message = lo_message_deserialise((void*)bytes, size, NULL);
  if (!arguments->message) {
    return hr_error(error, HR_ERR_NO_MEMORY, "The message could not be read: out of memory.");
  }
  lo_arg** args = lo_message_get_argv(arguments->message);
  for (size_t i = 0; types[i] && !st; ++i) {
    if (types[i] != 'N' && types[i] != 'I') {
      st = read_argument(arguments, types[i], args[i], error);
    }
  }
  if (st) {
    hr_osc_arguments_free(arguments);
  }
  return st;
}

void hr_osc_arguments_free(HrOscArguments* arguments)
{
  if (arguments->message) {
    lo_message_free(arguments->message);
  }
  arguments->message = NULL;
}
