/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file request_memory.h
 * The request ids served last, with their answers: a repeated request is
 * answered again but not run again, so that a sender may repeat a packet it
 * believes lost.
 *
 * Thread: one at a time.
 */

#ifndef HR_OSC_REQUEST_MEMORY_H
#define HR_OSC_REQUEST_MEMORY_H

#include "osc/writer.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

enum {
  HR_OSC_REQUESTS_MAX = 64, ///< Remembered in the whole process; the oldest goes first
  HR_OSC_ID_MAX = 64,       ///< Bytes of an id
};

typedef struct {
  struct sockaddr_in from;
  char id[HR_OSC_ID_MAX + 1]; ///< "": unused
  size_t size;                ///< Of the answer; 0 while it is being made
  uint8_t answer[HR_OSC_DATAGRAM_MAX];
} HrOscRequestRecord;

typedef struct {
  HrOscRequestRecord records[HR_OSC_REQUESTS_MAX];
  size_t next;
} HrOscRequestMemory;

/** The record of a request served before; NULL if it is new. */
HrOscRequestRecord* hr_osc_request_find(HrOscRequestMemory* memory, const struct sockaddr_in* from,
                                        const char* id);

/** Remember a request, if that is not done yet. `id` has at most HR_OSC_ID_MAX bytes. */
HrOscRequestRecord* hr_osc_request_remember(HrOscRequestMemory* memory,
                                            const struct sockaddr_in* from, const char* id);

/** Keep one datagram of the answer: the last one counts, which holds the closing message. */
void hr_osc_request_keep(HrOscRequestRecord* record, const uint8_t* bytes, size_t size);

#endif
