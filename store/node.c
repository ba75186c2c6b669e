/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/internal.h"

#include <endian.h>
#include <stddef.h>
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
