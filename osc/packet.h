/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file packet.h
 * OSC packets as they come off the wire (OSC 1.0 specification,
 * opensoundcontrol.org). hr_osc_packet_check() goes first: one pass, linear in
 * the packet's size, that trusts nothing. The other calls rely on it. It also
 * keeps from liblo what liblo 0.31 reads out of bounds for: blobs with a cut
 * size, empty elements of a bundle.
 *
 * Pure functions, any thread.
 */

#ifndef HR_OSC_PACKET_H
#define HR_OSC_PACKET_H

#include "plugin/command.h"
#include "store/status.h"

#include <lo/lo.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  HR_OSC_PACKET_MAX = 8192,  ///< Bytes: no command comes near it
  HR_OSC_DEPTH_MAX = 4,      ///< Bundles inside one another
  HR_OSC_MESSAGES_MAX = 64,  ///< In one packet: bounds the work it can ask for
  HR_OSC_ARGUMENTS_MAX = 32, ///< In one message
  HR_OSC_ADDRESS_MAX = 255,  ///< Bytes
};

/** "#bundle" with its NUL, and the time tag. */
#define HR_OSC_BUNDLE_HEADER_SIZE 16

/** Of an element's size, before each. */
#define HR_OSC_BUNDLE_LENGTH_SIZE 4

/** Zero bytes that must follow a packet in memory, for liblo's sake. */
#define HR_OSC_PADDING 16

/** Check a whole packet: sizes, padding, terminators, type tags against bytes,
 * the bounds above. HR_ERR_ARGUMENT or HR_ERR_LIMIT. */
HrStatus hr_osc_packet_check(const uint8_t* bytes, size_t size, HrError* error);

bool hr_osc_is_bundle(const uint8_t* bytes, size_t size);

/** The NTP time tag of a bundle: 32 bits of seconds since 1900, 32 of fraction. */
uint64_t hr_osc_bundle_time(const uint8_t* bytes);

/** Step through the elements of a bundle; `*offset` begins at 0. False at the end. */
bool hr_osc_bundle_next(const uint8_t* bytes, size_t size, size_t* offset, const uint8_t** element,
                        size_t* element_size);

/** Append an element to a flat bundle that has `size` bytes, 0 if it is to begin: its time tag
 * is "at once". Returns the size with it. */
size_t hr_osc_bundle_append(uint8_t* bytes, size_t size, const uint8_t* element,
                            size_t element_size);

/** The arguments of one message as the command layer takes them. N and I are
 * left out. Texts live until hr_osc_arguments_free(). */
typedef struct {
  HrValue values[HR_OSC_ARGUMENTS_MAX];
  size_t count;
  lo_message message;                       ///< Owns the texts of s and S; NULL when there are none
  char characters[HR_OSC_ARGUMENTS_MAX][2]; ///< Owns those of c
} HrOscArguments;

/** Read the arguments of a checked message. HR_ERR_ARGUMENT for a type that no
 * command takes (t, r, arrays), a number that is not finite, text that is
 * not UTF-8 or holds control characters: then there is nothing to free. */
HrStatus hr_osc_arguments_read(HrOscArguments* arguments, const uint8_t* bytes, size_t size,
                               HrError* error);
void hr_osc_arguments_free(HrOscArguments* arguments);

#endif
