/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file writer.h
 * Gathers outgoing messages into datagrams of at most HR_OSC_DATAGRAM_MAX
 * bytes: one message goes out plain, several as a bundle to be taken at once.
 *
 * Thread: one at a time.
 */

#ifndef HR_OSC_WRITER_H
#define HR_OSC_WRITER_H

#include "plugin/command.h"

#include <stddef.h>
#include <stdint.h>

/** Fits one Ethernet or Wi-Fi frame with room for the headers of any tunnel. */
#define HR_OSC_DATAGRAM_MAX 1400

/** Values in one outgoing message. */
#define HR_OSC_VALUES_MAX 24

typedef struct {
  void (*send)(void* data, const uint8_t* bytes, size_t size);
  void* data;
  size_t size;  ///< Of `bytes` in use, bundle header included; 0: empty
  size_t count; ///< Messages in `bytes`
  uint8_t bytes[HR_OSC_DATAGRAM_MAX];
} HrOscWriter;

/** Begin; whole datagrams go to `send`. */
void hr_osc_writer_init(HrOscWriter* writer,
                        void (*send)(void* data, const uint8_t* bytes, size_t size), void* data);

/** Add a message. Integers go out as i, those beyond 32 bits and ticks as h,
 * numbers as f, those beyond 2^24 as d, texts as s. Texts too long for a datagram are cut. When out
 * of memory the message is left out. */
void hr_osc_write(HrOscWriter* writer, const char* address, const HrValue* values, size_t count);

/** Send what is gathered. */
void hr_osc_writer_flush(HrOscWriter* writer);

#endif
