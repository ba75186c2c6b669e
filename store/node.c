/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/internal.h"

#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

void hr_tick_key(HrTickKey* key, HrBranchId branch, HrTick tick, uint64_t ordinal)
{
  const uint64_t b = htobe64(branch);
  const uint64_t t = htobe64((uint64_t)tick ^ (uint64_t)1 << 63);
  const uint64_t o = htobe64(ordinal);
  memcpy(key->branch, &b, sizeof b);
  memcpy(key->tick, &t, sizeof t);
  memcpy(key->ordinal, &o, sizeof o);
}

HrBranchId hr_tick_key_branch(const HrTickKey* key)
{
  uint64_t branch;
  memcpy(&branch, key->branch, sizeof branch);
  return be64toh(branch);
}

HrTick hr_tick_key_tick(const HrTickKey* key)
{
  uint64_t tick;
  memcpy(&tick, key->tick, sizeof tick);
  return (HrTick)(be64toh(tick) ^ (uint64_t)1 << 63);
}

uint64_t hr_tick_key_ordinal(const HrTickKey* key)
{
  uint64_t ordinal;
  memcpy(&ordinal, key->ordinal, sizeof ordinal);
  return be64toh(ordinal);
}

size_t hr_node_bytes(const HrNodeHeader* node)
{
  return sizeof *node + node->word_count * sizeof(HrWord);
}

static uint64_t hash_long(const void* bytes, size_t size, uint64_t seed)
{
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2")) {
    return hr_hash_wide(bytes, size, seed);
  }
#endif
  return XXH3_64bits_withSeed(bytes, size, seed);
}

/** The key goes into the seed: a whole node in a wrong place is found too. */
uint64_t hr_node_checksum(const HrNodeHeader* node, const HrTickKey* key)
{
  HrNodeHeader header = *node;
  header.checksum = 0;
  const uint64_t seed = XXH3_64bits(key, sizeof *key);
  const uint64_t first = XXH3_64bits_withSeed(&header, sizeof header, seed);
  return hash_long(node + 1, node->word_count * sizeof(HrWord), first);
}

uint32_t hr_record_checksum(HrRecordKind kind, const void* key, size_t key_size, const void* value,
                            size_t size)
{
  const uint64_t seed = XXH3_64bits_withSeed(key, key_size, kind);
  return (uint32_t)XXH3_64bits_withSeed(value, size, seed);
}

/** The longest record, that of a note: LMDB takes any size that a damaged page says. */
#define RECORD_SIZE_MAX (sizeof(HrNoteRecord) + HR_NAME_MAX + HR_NOTE_TEXT_MAX + 1)

bool hr_record_valid(HrRecordKind kind, const void* key, size_t key_size, const void* value,
                     size_t* size)
{
  uint32_t checksum;
  if (*size < sizeof checksum || *size > RECORD_SIZE_MAX + sizeof checksum) {
    return false;
  }
  *size -= sizeof checksum;
  memcpy(&checksum, (const char*)value + *size, sizeof checksum);
  return checksum == hr_record_checksum(kind, key, key_size, value, *size);
}

bool hr_node_valid(const HrTickKey* key, const MDB_val* value)
{
  const HrNodeHeader* const node = value->mv_data;
  return value->mv_size >= sizeof *node && node->magic == HR_NODE_MAGIC &&
         node->version == HR_NODE_VERSION && hr_node_bytes(node) == value->mv_size &&
         node->base_tick == hr_tick_key_tick(key) && node->checksum == hr_node_checksum(node, key);
}

void hr_page_run_add(HrPageRun* pages, const MDB_val* value)
{
  const uintptr_t at = (uintptr_t)value->mv_data;
  const uintptr_t start = at / HR_PAGE_SIZE * HR_PAGE_SIZE;
  const uintptr_t end = (at + value->mv_size + HR_PAGE_SIZE - 1) / HR_PAGE_SIZE * HR_PAGE_SIZE;
  if (start > pages->end || end < pages->start) {
    hr_page_run_will_need(pages);
    *pages = (HrPageRun){start, end};
    return;
  }
  pages->start = start < pages->start ? start : pages->start;
  pages->end = end > pages->end ? end : pages->end;
}

void hr_page_run_will_need(const HrPageRun* pages)
{
  if (pages->start < pages->end) {
    /* The system's pages may be larger than ours, and it takes no advice on a part of one.
     * If it takes none, they are read when they are touched. */
    const uintptr_t start = pages->start & ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
    madvise((void*)start, pages->end - start, MADV_WILLNEED); // NOLINT(performance-no-int-to-ptr)
  }
}

/** Put at the end of all nodes, if the key belongs there, as that of the youngest branch does:
 * LMDB then searches for no place, and leaves the pages above the nodes full, not half full. */
static int put_last(HrTxn* txn, MDB_val* key, MDB_val* value, unsigned reserve)
{
  MDB_val last_key, last_value;
  const int code = mdb_cursor_put(txn->nodes, key, value, MDB_APPEND | reserve);
  if (code == MDB_KEYEXIST) {
    /* The cursor is on the last of all: this node once more, or a younger branch's. */
    txn->nodes_follow = mdb_cursor_get(txn->nodes, &last_key, &last_value, MDB_GET_CURRENT) ||
                        mdb_cmp(txn->txn, txn->store->nodes, key, &last_key);
  }
  return code;
}

HrStatus hr_node_put(HrTxn* txn, MDB_val key, MDB_val* value)
{
  const unsigned reserve = value->mv_data ? 0 : MDB_RESERVE;
  int code = txn->nodes ? 0 : mdb_cursor_open(txn->txn, txn->store->nodes, &txn->nodes);
  if (!code) {
    code = txn->nodes_follow ? MDB_KEYEXIST : put_last(txn, &key, value, reserve);
  }
  if (code == MDB_KEYEXIST) {
    /* The next node mostly goes beside the last, which the cursor finds without a search. */
    code = mdb_cursor_put(txn->nodes, &key, value, reserve);
  }
  return hr_status_from_lmdb(txn->store, code);
}

/* ---- Extents --------------------------------------------------------- */

uint32_t hr_extent_nodes(const MDB_val* key)
{
  const size_t later = key->mv_size - sizeof(HrTickKey); // Wraps where it is too short
  return later % 8 == 0 && later <= sizeof(HrExtentKey) - sizeof(HrTickKey)
             ? 1 + (uint32_t)(later / sizeof(uint32_t))
             : 0;
}

size_t hr_extent_bytes(uint32_t nodes)
{
  return (size_t)(nodes - 1) * HR_PAGE_SIZE + HR_NODE_SIZE;
}

void hr_extent_key(const MDB_val* key, uint32_t index, HrTickKey* node_key)
{
  memcpy(node_key, key->mv_data, sizeof *node_key);
  if (index) {
    uint32_t later;
    memcpy(&later, (const char*)key->mv_data + offsetof(HrExtentKey, later[index - 1]),
           sizeof later);
    const uint64_t tick = (uint64_t)hr_tick_key_tick(node_key) + later; // Wraps, where it is forged
    hr_tick_key(node_key, hr_tick_key_branch(node_key), (HrTick)tick,
                hr_tick_key_ordinal(node_key) + index);
  }
}

MDB_val hr_extent_node(const MDB_val* key, const MDB_val* value, uint32_t index)
{
  const size_t at = (size_t)index * HR_PAGE_SIZE;
  if (hr_extent_nodes(key) == 1) {
    return *value;
  }
  return at + HR_NODE_SIZE <= value->mv_size ? (MDB_val){HR_NODE_SIZE, (char*)value->mv_data + at}
                                             : (MDB_val){0, value->mv_data};
}

/* ---- From node to node ------------------------------------------------ */

int hr_nodes_open(HrTxn* txn, HrNodeCursor** nodes)
{
  *nodes = calloc(1, sizeof **nodes);
  return *nodes ? mdb_cursor_open(txn->txn, txn->store->nodes, &(*nodes)->entries) : ENOMEM;
}

void hr_nodes_close(HrNodeCursor* nodes)
{
  if (nodes && nodes->entries) {
    mdb_cursor_close(nodes->entries);
  }
  free(nodes);
}

static int at_index(HrNodeCursor* nodes, uint32_t index)
{
  nodes->index = index;
  if (hr_extent_nodes(&nodes->entry_key)) {
    hr_extent_key(&nodes->entry_key, index, &nodes->key);
    nodes->node = hr_extent_node(&nodes->entry_key, &nodes->entry, index);
  } else {
    nodes->key = (HrTickKey){0};
    nodes->node = (MDB_val){0, nodes->entry.mv_data};
  }
  return 0;
}

static uint32_t last_index(const HrNodeCursor* nodes)
{
  const uint32_t count = hr_extent_nodes(&nodes->entry_key);
  return count ? count - 1 : 0;
}

static bool is_in_order(const MDB_val* key)
{
  HrExtentKey places;
  const uint32_t count = hr_extent_nodes(key);
  bool in_order = true;
  memcpy(&places, key->mv_data, count ? key->mv_size : 0);
  for (uint32_t i = 2; i < count; ++i) {
    in_order = in_order && places.later[i - 2] <= places.later[i - 1];
  }
  return in_order;
}

/** A key that is out of order would lead past nodes that are whole. Each of them says itself where
 * it begins; one that is damaged is taken to begin where the one before does. */
static void mend_key(HrNodeCursor* nodes)
{
  memcpy(&nodes->mended, nodes->entry_key.mv_data, nodes->entry_key.mv_size);
  nodes->entry_key.mv_data = &nodes->mended;
  nodes->is_mended = true;
  const HrTickKey* const first = &nodes->mended.first;
  uint32_t last = 0;
  for (uint32_t i = 1; i < hr_extent_nodes(&nodes->entry_key); ++i) {
    const MDB_val node = hr_extent_node(&nodes->entry_key, &nodes->entry, i);
    HrNodeHeader header = {0};
    HrTickKey own;
    memcpy(&header, node.mv_data, node.mv_size ? sizeof header : 0);
    hr_tick_key(&own, hr_tick_key_branch(first), header.base_tick, hr_tick_key_ordinal(first) + i);
    const uint64_t later = (uint64_t)header.base_tick - (uint64_t)hr_tick_key_tick(first);
    if (later >= last && later <= UINT32_MAX && hr_node_valid(&own, &node)) {
      last = (uint32_t)later;
    }
    nodes->mended.later[i - 1] = last;
  }
}

static int get_entry(HrNodeCursor* nodes, MDB_cursor_op where)
{
  const int code = mdb_cursor_get(nodes->entries, &nodes->entry_key, &nodes->entry, where);
  nodes->is_mended = false;
  if (!code && !is_in_order(&nodes->entry_key)) {
    mend_key(nodes);
  }
  return code;
}

/** To the first entry that is not before a place. */
static int find_entry(HrNodeCursor* nodes, const HrTickKey* place)
{
  nodes->entry_key = (MDB_val){sizeof *place, (void*)place};
  return get_entry(nodes, MDB_SET_RANGE);
}

int hr_nodes_from(HrNodeCursor* nodes, const HrTickKey* place)
{
  const int code = find_entry(nodes, place);
  return code ? code : at_index(nodes, 0);
}

int hr_nodes_first(HrNodeCursor* nodes, HrBranchId branch)
{
  HrTickKey first;
  hr_tick_key(&first, branch, INT64_MIN, 0);
  return hr_nodes_from(nodes, &first);
}

/** To the last node before a place, of the place's branch. */
static int find_before(HrNodeCursor* nodes, const HrTickKey* place)
{
  int code = find_entry(nodes, place);
  if (!code || code == MDB_NOTFOUND) {
    code = get_entry(nodes, code ? MDB_LAST : MDB_PREV);
  }
  if (code) {
    return code;
  }
  uint32_t index = last_index(nodes);
  at_index(nodes, index);
  while (index && memcmp(&nodes->key, place, sizeof *place) >= 0) {
    at_index(nodes, --index);
  }
  return hr_nodes_in(nodes, hr_tick_key_branch(place)) ? 0 : MDB_NOTFOUND;
}

int hr_nodes_before(HrNodeCursor* nodes, HrBranchId branch, HrTick tick)
{
  HrTickKey place;
  hr_tick_key(&place, branch, tick, 0);
  return find_before(nodes, &place);
}

/** To another node of the same extent. Who writes in this transaction has moved its key and its
 * bytes by now, but not the cursor off it. */
static int step_within(HrNodeCursor* nodes, uint32_t index)
{
  const int code = get_entry(nodes, MDB_GET_CURRENT);
  return code ? code : at_index(nodes, index);
}

int hr_nodes_next(HrNodeCursor* nodes)
{
  if (nodes->index < last_index(nodes)) {
    return step_within(nodes, nodes->index + 1);
  }
  const int code = get_entry(nodes, MDB_NEXT);
  return code ? code : at_index(nodes, 0);
}

int hr_nodes_previous(HrNodeCursor* nodes)
{
  if (nodes->index) {
    return step_within(nodes, nodes->index - 1);
  }
  const int code = get_entry(nodes, MDB_PREV);
  return code ? code : at_index(nodes, last_index(nodes));
}

bool hr_nodes_in(const HrNodeCursor* nodes, HrBranchId branch)
{
  return hr_tick_key_branch(&nodes->key) == branch;
}

HrStatus hr_node_last(HrTxn* txn, HrBranchId branch, HrTickKey* key, MDB_val* node)
{
  HrNodeCursor* nodes;
  HrTickKey beyond;
  hr_tick_key(&beyond, branch, INT64_MAX, UINT64_MAX);
  int code = hr_nodes_open(txn, &nodes);
  code = code ? code : find_before(nodes, &beyond);
  if (!code) {
    *key = nodes->key;
    *node = nodes->node;
  }
  hr_nodes_close(nodes);
  return hr_status_from_lmdb(txn->store, code);
}
