/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file pages.h
 * Reads the pages of a store's file without LMDB, by plain reads, and trusts
 * nothing in them: what is out of bounds is said and not followed. It decides
 * whether LMDB may walk the file, finds what is readable when it may not, and
 * shows a truncated file as such where a map would end the program.
 *
 * Source of the layout: LMDB 0.9 data format version 1 (mdb.c, "Page structures").
 *
 * Thread: any; a file may be read by several. Nothing is written but by hr_pages_begin().
 */

#ifndef HR_STORE_PAGES_H
#define HR_STORE_PAGES_H

#include "store/format.h"
#include "store/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HR_PAGE_BRANCH = 0x01, HR_PAGE_LEAF = 0x02, HR_PAGE_OVERFLOW = 0x04, HR_PAGE_META = 0x08 };

#define HR_PAGES_MAGIC   0xBEEFC0DEu
#define HR_PAGES_VERSION 1u
#define HR_NO_PAGE       UINT64_MAX

/** LMDB itself gives up beyond this depth. */
enum { HR_PAGES_DEPTH_MAX = 32 };

/** The first bytes of every page but those of an overflow chain behind its first. */
typedef struct {
  uint64_t number;
  uint16_t pad;
  uint16_t flags;
  uint16_t lower; ///< End of the slot array, from the page's start
  uint16_t upper; ///< Begin of the entries; an overflow page has a u32 count here
} HrPageHeader;

/** LMDB's record of one database. */
typedef struct {
  uint32_t pad; ///< Page size, in the first database of a meta page
  uint16_t flags;
  uint16_t depth;
  uint64_t branch_pages, leaf_pages, overflow_pages, entries;
  uint64_t root;
} HrPageTree;

/** A meta page behind its header. */
typedef struct {
  uint32_t magic;
  uint32_t version;
  uint64_t address;
  uint64_t map_size;
  HrPageTree free_list; ///< u64 transaction -> u64 count, so many page numbers, descending
  HrPageTree main;
  uint64_t last_page;
  uint64_t transaction;
} HrPageMeta;

/** One entry of a branch or leaf page; points into the page. */
typedef struct {
  const uint8_t* key;
  size_t key_size;
  const uint8_t* value; ///< NULL if it lies on overflow pages, or in a branch page
  uint32_t size;        ///< Of the value
  bool is_tree;         ///< The value is an HrPageTree
  uint64_t page;        ///< The child; first of the overflow pages; 0 if neither
} HrPageEntry;

/** Make a file into an empty database. LMDB by itself would give it pages of the
 * system's size, which on some ARM machines is 16 or 64 KiB. False if it cannot be written,
 * and errno says why: it is empty still. */
bool hr_pages_begin(int fd);

/** Whether a file of so many bytes is empty, or what hr_pages_begin() leaves that is killed: byte
 * for byte as it writes them, up to within the second page. The second transaction writes over the
 * first page, and what LMDB makes or copies begins otherwise: so nothing was ever kept there. */
bool hr_pages_to_begin(int fd, uint64_t bytes);

/** Read a page. False if the file ends before it or cannot be read. */
bool hr_page_read(int fd, uint64_t number, uint8_t page[HR_PAGE_SIZE]);

/** Read a meta page without judging it. False if it cannot be read. */
bool hr_page_read_meta(int fd, uint64_t number, HrPageHeader* header, HrPageMeta* meta);

/** How many entries a branch or leaf page says it has, at most what fits; 0 for others. */
unsigned hr_page_entries(const uint8_t page[HR_PAGE_SIZE]);

/** The entry at `index`. False if it does not lie within the page. */
bool hr_page_entry(const uint8_t page[HR_PAGE_SIZE], unsigned index, HrPageEntry* entry);

/** Pages that a value on overflow pages takes. */
uint64_t hr_page_overflow_count(uint32_t size);

/** Copy a value on overflow pages to `value`, `entry->size` bytes. False if the
 * pages are not those of such a value, or cannot be read. */
bool hr_page_read_value(int fd, const HrPageEntry* entry, void* value);

/** Something that does not hold. Pointers are valid during the call. */
typedef struct {
  uint64_t page;        ///< 0 if it is about no page in particular
  const char* database; ///< Which of them; "" for the one that lists them, "free pages"
  const char* what;     ///< "its entries overlap"
  /** The keys that are to be found from there on and below, [low, high); NULL is no bound. */
  const uint8_t *low, *high;
  size_t low_size, high_size;
} HrPageFault;

/** A file, or one state of it that a reader's slot keeps from being written over. */
typedef struct {
  int fd;
  HrPageMeta meta;
  void (*fault)(void* data, const HrPageFault* fault); ///< May be NULL
  /** Called for each entry of each sound leaf page of a database; may be NULL. */
  void (*entry)(void* data, const char* database, const HrPageEntry* entry);
  void* data;
} HrPages;

/** Begin at the state that `transaction` left, or, for UINT64_MAX, the newest.
 * False if the file does not hold it (any more). */
bool hr_pages_open(HrPages* pages, int fd, uint64_t transaction);

/** What a page is used for. */
typedef enum { HR_PAGE_UNUSED, HR_PAGE_IN_TREE, HR_PAGE_FREE } HrPageUse;

typedef enum {
  HR_PAGES_SPINES, ///< The way to the first and to the last key of each database
  HR_PAGES_KEYS,   ///< Every page with keys, but none of those that only hold a value
  HR_PAGES_ALL,
} HrPagesScope;

/** Pages that hr_pages_check() would look at, of all or of those with keys: what the counts in
 * the file say, which may be damaged, but never more than there are. */
uint64_t hr_pages_count(const HrPages* pages, HrPagesScope scope);

/** Check structure: numbers, flags, bounds, order of keys within and across
 * pages, depths, counts, overflow chains, and, unless only the spines are looked
 * at, that no page is used twice; of all, that each page of the file is in one tree
 * or among the free ones. `uses` gets, unless it is NULL, an HrPageUse for each page
 * up to the last, NULL from HR_PAGES_SPINES (caller frees). HR_OK, HR_ERR_DAMAGED
 * after any fault, HR_ERR_NO_MEMORY. */
HrStatus hr_pages_check(const HrPages* pages, HrPagesScope scope, uint8_t** uses);

#endif
