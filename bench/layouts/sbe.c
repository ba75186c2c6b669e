/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Simple Binary Encoding 1.0 of the FIX community, by hand what a generated codec
 * does: a message header, a root block, and a repeating group, all with the
 * recommended encodings (section 3, Message Structure) and without padding. A
 * reader strides by the block lengths in the message, not by its own: so a newer
 * writer may append fields (section 5, Schema Extension). Of this schema:
 *
 *   <sbe:message name="Node" id="1">
 *     <field name="baseTick" id="1" type="int64"/>
 *     <field name="lastTick" id="2" type="int64"/>
 *     <field name="wallClockNs" id="3" type="int64"/>
 *     <field name="tempo" id="4" type="double"/>
 *     <field name="beatsPerBar" id="5" type="uint16"/>
 *     <field name="beatUnit" id="6" type="uint16"/>
 *     <field name="author" id="7" type="uint32"/>
 *     <group name="Events" id="8" dimensionType="groupSizeEncoding">
 *       <field name="tick" id="9" type="int64"/>
 *       <field name="length" id="10" type="uint8"/>
 *       <field name="bytes" id="11" type="threeBytes"/>
 *     </group>
 *   </sbe:message>
 */

#include "bench/layouts/layouts.h"

#include <string.h>

enum { SCHEMA_ID = 1, SCHEMA_VERSION = 0, TEMPLATE_ID = 1 };

typedef struct __attribute__((packed)) {
  uint16_t block_length, template_id, schema_id, version;
} MessageHeader;

typedef struct __attribute__((packed)) {
  int64_t base_tick, last_tick, wall_clock_ns;
  double tempo;
  uint16_t beats_per_bar, beat_unit;
  uint32_t author;
} RootBlock;

typedef struct __attribute__((packed)) {
  uint16_t block_length, num_in_group;
} GroupSize;

typedef struct __attribute__((packed)) {
  int64_t tick;
  uint8_t length;
  uint8_t bytes[3];
} Entry;

_Static_assert(sizeof(MessageHeader) == 8 && sizeof(GroupSize) == 4, "as recommended");
_Static_assert(sizeof(Entry) == 12, "no padding by default");

enum { ENTRIES_AT = sizeof(MessageHeader) + sizeof(RootBlock) + sizeof(GroupSize) };

static size_t make(const LayoutEvent* events, size_t count, void* bytes, size_t room, size_t* size)
{
  const size_t fit = (room - ENTRIES_AT) / sizeof(Entry);
  const size_t most = fit < UINT16_MAX ? fit : UINT16_MAX;
  count = count < most ? count : most;
  MessageHeader* const header = bytes;
  RootBlock* const root = (RootBlock*)(header + 1);
  GroupSize* const group = (GroupSize*)(root + 1);
  Entry* const entries = (Entry*)(group + 1);
  *header = (MessageHeader){sizeof *root, TEMPLATE_ID, SCHEMA_ID, SCHEMA_VERSION};
  *root = (RootBlock){events[0].tick,    events[count - 1].tick,    layout_node.wall_clock_ns,
                      layout_node.tempo, layout_node.beats_per_bar, layout_node.beat_unit,
                      layout_node.author};
  *group = (GroupSize){sizeof *entries, (uint16_t)count};
  for (size_t i = 0; i < count; ++i) {
    entries[i].tick = events[i].tick;
    entries[i].length = events[i].length;
    memcpy(entries[i].bytes, events[i].bytes, sizeof entries[i].bytes);
  }
  *size = ENTRIES_AT + count * sizeof *entries;
  return count;
}

static const GroupSize* group_of(const void* bytes)
{
  const MessageHeader* const header = bytes;
  return (const GroupSize*)((const uint8_t*)(header + 1) + header->block_length);
}

static const Entry* entry_at(const GroupSize* group, size_t index)
{
  return (const Entry*)((const uint8_t*)(group + 1) + index * group->block_length);
}

static uint64_t scan(const void* bytes, size_t size)
{
  const GroupSize* const group = group_of(bytes);
  uint64_t sum = 0;
  (void)size;
  for (size_t i = 0; i < group->num_in_group; ++i) {
    const Entry* const entry = entry_at(group, i);
    sum +=
        layout_sum(entry->tick, entry->length, entry->bytes[0], entry->bytes[1], entry->bytes[2]);
  }
  return sum;
}

static int64_t tick_at(const void* group, size_t index)
{
  return entry_at(group, index)->tick;
}

static int64_t seek(const void* bytes, size_t size, int64_t tick)
{
  const GroupSize* const group = group_of(bytes);
  const size_t at = layout_find(group, group->num_in_group, tick, tick_at);
  (void)size;
  return at < group->num_in_group ? tick_at(group, at) : INT64_MAX;
}

static bool validate(const void* bytes, size_t size)
{
  const MessageHeader* const header = bytes;
  if (size < sizeof *header || header->template_id != TEMPLATE_ID ||
      header->schema_id != SCHEMA_ID || header->block_length < sizeof(RootBlock) ||
      size < sizeof *header + header->block_length + sizeof(GroupSize)) {
    return false;
  }
  const GroupSize* const group = group_of(bytes);
  const size_t entries = size - sizeof *header - header->block_length - sizeof *group;
  return group->block_length >= sizeof(Entry) &&
         (size_t)group->block_length * group->num_in_group <= entries;
}

const Layout layout_sbe = {"SBE group", NULL, false, make, scan, seek, validate};
