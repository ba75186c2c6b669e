/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/request_memory.h"
#include "osc/outbox.h"

#include <string.h>

HrOscRequestRecord* hr_osc_request_find(HrOscRequestMemory* memory, const struct sockaddr_in* from,
                                        const char* id)
{
  for (size_t i = 0; i < HR_OSC_REQUESTS_MAX; ++i) {
    HrOscRequestRecord* record = &memory->records[i];
    if (record->id[0] && hr_osc_same_address(&record->from, from) && !strcmp(record->id, id)) {
      return record;
    }
  }
  return NULL;
}

HrOscRequestRecord* hr_osc_request_remember(HrOscRequestMemory* memory,
                                            const struct sockaddr_in* from, const char* id)
{
  HrOscRequestRecord* record = hr_osc_request_find(memory, from, id);
  if (record) {
    return record;
  }
  record = &memory->records[memory->next];
  memory->next = (memory->next + 1) % HR_OSC_REQUESTS_MAX;

  const size_t size = strnlen(id, HR_OSC_ID_MAX);
  record->from = *from;
  record->size = 0;
  memcpy(record->id, id, size);
  record->id[size] = '\0';
  return record;
}

void hr_osc_request_keep(HrOscRequestRecord* record, const uint8_t* bytes, size_t size)
{
  record->size = size;
  memcpy(record->answer, bytes, size);
}
