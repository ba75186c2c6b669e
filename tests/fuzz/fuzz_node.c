/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Reads any bytes as a node, a journal entry and a note, with and without a right
 * checksum: nothing outside them may be touched. */

#include "store/internal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

static volatile unsigned sink;

/** Sum of all bytes, so that each is read. */
static unsigned read_span(const HrSpan* span)
{
  uint32_t index = 0;
  unsigned sum = 0;
  HrEvent event;
  HrTempo tempo = {HR_DEFAULT_TEMPO, 4, 4};
  while (hr_span_next(span, &index, &event)) {
    for (uint32_t i = 0; i < event.size; ++i) {
      sum += event.bytes[i];
    }
    if (event.kind == HR_EVENT_META) {
      hr_meta_apply(&tempo, event.bytes, event.size);
    }
  }
  return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
  HrTickKey key;
  HrNodeHeader header;
  HrJournalEntry entry;
  HrNote note;
  if (size < sizeof key) {
    return 0;
  }
  memcpy(&key, data, sizeof key);
  size -= sizeof key;
  void* const value = malloc(size + 1); // Its end is watched; malloc(0) may be NULL
  if (!value) {
    return 0;
  }
  memcpy(value, data + sizeof key, size);
  const MDB_val node = {size, value};
  hr_node_valid(&key, &node);
  if (size >= sizeof header) {
    memcpy(&header, value, sizeof header);
    header.word_count = (uint32_t)((size - sizeof header) / sizeof(HrWord));
    header.magic = HR_NODE_MAGIC;
    header.version = HR_NODE_VERSION;
    header.base_tick = hr_tick_key_tick(&key);
    memcpy(value, &header, sizeof header);
    header.checksum = hr_node_checksum(value, &key);
    memcpy(value, &header, sizeof header);
    if (!hr_node_valid(&key, &(MDB_val){hr_node_bytes(&header), value})) {
      abort();
    }
    const HrSpan span = {.words = (const HrWord*)((const HrNodeHeader*)value + 1),
                         .count = header.word_count,
                         .base = header.base_tick};
    sink = read_span(&span);
  }
  memcpy(value, data + sizeof key, size);
  hr_journal_decode(1, value, size, &entry);
  hr_note_decode(&key, value, size, &note);
  free(value);
  return 0;
}
