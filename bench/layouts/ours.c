/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Nodes as the store writes them; see store/format.h. Their keys, which LMDB holds
 * beside them, are those of branch 1 here. */

#include "bench/layouts/layouts.h"
#include "store/internal.h"

#include <string.h>

static HrTickKey key_of(const HrNodeHeader* node)
{
  HrTickKey key;
  hr_tick_key(&key, hr_branch_id(1, 1), node->base_tick, 0);
  return key;
}

static size_t make(const LayoutEvent* events, size_t count, void* bytes, size_t room, size_t* size)
{
  HrNodeHeader* const node = bytes;
  HrWord* const words = (HrWord*)(node + 1);
  const size_t most = (room - sizeof *node) / sizeof *words;
  count = count < most ? count : most;
  *node = (HrNodeHeader){.magic = HR_NODE_MAGIC,
                         .version = HR_NODE_VERSION,
                         .base_tick = events[0].tick,
                         .last_tick = events[count - 1].tick,
                         .event_count = (uint32_t)count,
                         .word_count = (uint32_t)count,
                         .wall_clock_ns = layout_node.wall_clock_ns,
                         .tempo = layout_node.tempo,
                         .beats_per_bar = layout_node.beats_per_bar,
                         .beat_unit = layout_node.beat_unit,
                         .author = layout_node.author};
  for (size_t i = 0; i < count; ++i) {
    words[i].offset = (uint32_t)(events[i].tick - node->base_tick);
    words[i].length = events[i].length;
    memcpy(words[i].bytes, events[i].bytes, sizeof words[i].bytes);
  }
  const HrTickKey key = key_of(node);
  node->checksum = hr_node_checksum(node, &key);
  *size = hr_node_bytes(node);
  return count;
}

static uint64_t scan(const void* bytes, size_t size)
{
  const HrNodeHeader* const node = bytes;
  const HrWord* const words = (const HrWord*)(node + 1);
  uint64_t sum = 0;
  (void)size;
  for (uint32_t i = 0; i < node->word_count; ++i) {
    sum += layout_sum(node->base_tick + words[i].offset, words[i].length, words[i].bytes[0],
                      words[i].bytes[1], words[i].bytes[2]);
  }
  return sum;
}

static int64_t tick_at(const void* bytes, size_t index)
{
  const HrNodeHeader* const node = bytes;
  return node->base_tick + ((const HrWord*)(node + 1))[index].offset;
}

/** By halves, as the node's flags say that it has no long events. */
static int64_t seek(const void* bytes, size_t size, int64_t tick)
{
  const HrNodeHeader* const node = bytes;
  const size_t at = layout_find(bytes, node->word_count, tick, tick_at);
  (void)size;
  return at < node->word_count ? tick_at(bytes, at) : INT64_MAX;
}

/** That words stay within the node; of a node without long events that is all. */
static bool validate(const void* bytes, size_t size)
{
  const HrNodeHeader* const node = bytes;
  return size >= sizeof *node && node->magic == HR_NODE_MAGIC && node->version == HR_NODE_VERSION &&
         !(node->flags & HR_NODE_HAS_LONG) && hr_node_bytes(node) == size;
}

static bool validate_checked(const void* bytes, size_t size)
{
  const HrTickKey key = key_of(bytes);
  return hr_node_valid(&key, &(MDB_val){size, (void*)bytes});
}

static uint64_t scan_checked(const void* bytes, size_t size)
{
  return validate_checked(bytes, size) ? scan(bytes, size) : 0;
}

static int64_t seek_checked(const void* bytes, size_t size, int64_t tick)
{
  return validate_checked(bytes, size) ? seek(bytes, size, tick) : INT64_MAX;
}

const Layout layout_ours = {"ours, checksums unread", NULL, false, make, scan, seek, validate};

const Layout layout_ours_checked = {
    "ours, checksums verified", NULL, false, make, scan_checked, seek_checked, validate_checked};
