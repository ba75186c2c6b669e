/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file format.h
 * The store's bytes on disk, format version 3. All integers little-endian.
 *
 * A store is one LMDB 0.9 file (MDB_NOSUBDIR) with 4096-byte pages. Its main
 * database holds one record of ours, HR_HEADER_KEY -> HrStoreHeader, and these
 * named databases:
 *
 * | name     | key                                    | value            |
 * | -------- | -------------------------------------- | ---------------- |
 * | trees    | u64 tree id                            | HrTreeRecord     |
 * | branches | u64 branch id                          | HrBranchRecord   |
 * | nodes    | HrTickKey of its first event           | node, see below  |
 * |          | HrExtentKey of several                 | extent of nodes, see below |
 * | notes    | HrTickKey of its tick                  | HrNoteRecord, name, text, a NUL |
 * | names    | kind byte, then id or text (name.c)    | text or u64 id   |
 * | journal  | u64: tree id << 32 + sequence          | HrJournalRecord, texts |
 * | captures | 16-byte UUID of a capture ring         | HrCaptureRecord  |
 * |          | the same and the byte 'r'              | HrRescueRecord   |
 *
 * A node holds its own checksum. Every other value, but the header, ends with
 * that of its key and its bytes, hr_record_checksum(), a u32 not counted below.
 *
 * A branch id is its tree's id in the upper 32 bits and its number within the
 * tree, counted from 1, in the lower: the branches of a tree, and their nodes,
 * lie side by side.
 *
 * A node is an HrNodeHeader and `word_count` words. A short MIDI message (1 to
 * 3 bytes) is one HrWord. A longer one is an HrWord with length HR_WORD_LONG,
 * its `bytes` the 24-bit size, followed by ceil(size / 8) words of raw bytes,
 * zero padded. A meta event is the same with HR_WORD_META, and its first byte
 * is an HrMetaType.
 *
 * An extent is 3 to HR_EXTENT_NODES whole nodes that follow one another in their branch
 * and were made at once: each fills a page (HR_NODE_SIZE), as it would alone, with 16 bytes
 * of zero between. Its key says where each of them begins, so that none needs to be read to
 * find another. Their number is odd: the key is then a multiple of 8 bytes long.
 */

#ifndef HR_FORMAT_H
#define HR_FORMAT_H

#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "The store is used where it lies in memory: little-endian machines only"
#endif

#if UINTPTR_MAX < UINT64_MAX
#error "This needs a 64-bit system (getconf LONG_BIT says 64): on 32, LMDB's files are others"
#endif

#define HR_FORMAT_VERSION 3u

/** The oldest that can be read as it is: 3 has extents more than 2, and nothing else. */
#define HR_FORMAT_READABLE 2u

#define HR_HEADER_KEY   "halfremembered"
#define HR_HEADER_MAGIC "HALFREM"
#define HR_PAGE_SIZE    4096u

/** The most that LMDB keeps in one overflow page: 4096 less its 16-byte header. */
#define HR_NODE_SIZE  4080u
#define HR_NODE_WORDS ((HR_NODE_SIZE - (uint32_t)sizeof(HrNodeHeader)) / 8u)
#define HR_NODE_MAGIC 0x444e5248u // "HRND"

/** Of the node alone, which a new HR_FORMAT_VERSION may well leave as it was. */
#define HR_NODE_VERSION 1u

/** The first of so many nodes of a branch begins with the state there
 * (HR_META_STATE), unless that is empty. Such events are not counted. */
#define HR_CHECKPOINT_NODES 64u

/** The most nodes of an extent: a third of those between two checkpoints. */
#define HR_EXTENT_NODES 21u

#define HR_WORD_META 254u
#define HR_WORD_LONG 255u

/** The longest message kept, as its size has 24 bits. */
#define HR_EVENT_SIZE_MAX 0xffffffu

typedef struct {
  char magic[8];
  uint32_t format;
  uint32_t page_size;
  uint8_t uuid[16];
  int64_t created_ns;
  uint64_t reserved[3];
} HrStoreHeader;

typedef struct {
  uint64_t current;      ///< Branch last switched to
  int64_t created_ns;    ///< Wall clock, nanoseconds since 1970
  uint32_t root_number;  ///< Number of the root branch
  uint32_t next_number;  ///< Next free branch number
  uint32_t branch_count; ///< Branches, hidden ones too
  uint32_t journal_count;
  uint32_t author;
  uint32_t undo; ///< Journal entry that an undo is about, 0: none (undo.c)
  uint32_t redo; ///< Journal entry, an undo, that a redo is about, 0: none
  uint32_t reserved[5];
} HrTreeRecord;

typedef struct {
  uint64_t parent; ///< Branch id, 0 for the root
  uint64_t jump;   ///< Ancestor to skip to (Myers 1983, skew-binary), self for the root
  int64_t fork_tick;
  int64_t head_tick; ///< Where it ends; the fork tick at first
  uint64_t event_count;
  int64_t created_ns;
  uint32_t depth; ///< Ancestors
  uint32_t node_count;
  uint32_t author;
  uint16_t state; ///< HrBranchState
  uint16_t reserved;
} HrBranchRecord;

/** Big-endian, the tick with its sign bit flipped, so that bytes sort as numbers.
 * As this and a node are multiples of 8 bytes, LMDB keeps every node 8-aligned,
 * also a small one within a leaf page. */
typedef struct {
  uint8_t branch[8];
  uint8_t tick[8];
  uint8_t ordinal[8]; ///< n-th node of the branch, from 0; a note's id
} HrTickKey;

/** As long as it has nodes; that of one is an HrTickKey. Ordinals count on from the first's. */
typedef struct {
  HrTickKey first;
  uint32_t later[HR_EXTENT_NODES - 1]; ///< Ticks from the first node's base to each other's
} HrExtentKey;

typedef struct {
  uint32_t offset; ///< Ticks after the node's base tick
  uint8_t length;  ///< 1 to 3, HR_WORD_META or HR_WORD_LONG
  uint8_t bytes[3];
} HrWord;

enum { HR_NODE_HAS_LONG = 1 }; ///< Some events take more than one word

typedef struct {
  uint32_t magic;
  uint16_t version;
  uint16_t flags;
  int64_t base_tick; ///< Tick of the first event
  int64_t last_tick; ///< Tick of the last event
  uint32_t event_count;
  uint32_t word_count;
  int64_t wall_clock_ns;  ///< When the first event was played
  double tempo;           ///< In force before the first event, quarter notes a minute
  uint16_t beats_per_bar; ///< Meter in force before the first event
  uint16_t beat_unit;
  uint32_t author;
  uint64_t checksum; ///< XXH3_64 of all of the node, this field zero, seeded by its key
} HrNodeHeader;

enum { HR_JOURNAL_QUIET = 1 }; ///< Undo passes over it

typedef struct {
  int64_t time_ns;
  uint64_t branch; ///< The branch the operation made or changed
  uint64_t other;  ///< Where it came from: parent, source, or the branch left
  uint64_t left;   ///< The branch that was current before, 0 if none became current
  int64_t tick;
  uint32_t author;
  uint32_t refers;      ///< UNDO, REDO: the entry undone or redone; a note's: its id
  uint32_t below;       ///< What was next to be undone (UNDO: redone) before this entry
  uint16_t operation;   ///< HrOperation
  uint16_t flags;       ///< HR_JOURNAL_QUIET
  uint16_t text_size;   ///< Bytes of text that follow the record
  uint16_t before_size; ///< Bytes that follow the text: the name before
  uint32_t reserved;
} HrJournalRecord;

enum {
  HR_NOTE_VALENCE = 1,
  HR_NOTE_AROUSAL = 2,
  HR_NOTE_AGENCY = 4,
}; ///< What is known of an emotion

typedef struct {
  int64_t end_tick; ///< At or after the key's tick
  int64_t time_ns;
  uint32_t author;
  uint8_t kind;                   ///< HrNoteKind
  uint8_t hidden;                 ///< 0 or 1
  uint8_t rating;                 ///< 1 to 5, 0: none
  uint8_t known;                  ///< Which of these three are set
  float valence, arousal, agency; ///< -1 to 1
  uint16_t name_size;
  uint16_t text_size;
} HrNoteRecord;

typedef struct {
  uint64_t consumed; ///< Bytes of the ring that are in the store
  uint64_t tree;     ///< Tree id the ring belongs to
} HrCaptureRecord;

/** The branch `number` turned out to be ahead of what was played on it: that
 * goes to its fork `fork` instead. */
typedef struct {
  uint32_t number; ///< 0: none
  uint32_t fork;
} HrRescue;

enum { HR_RESCUES = 16 };

typedef struct {
  HrRescue rescues[HR_RESCUES]; ///< The last of them, newest last
} HrRescueRecord;

_Static_assert(sizeof(HrStoreHeader) == 64, "header is 64 bytes");
_Static_assert(sizeof(HrTreeRecord) == 64, "tree record is 64 bytes");
_Static_assert(sizeof(HrBranchRecord) == 64, "branch record is 64 bytes");
_Static_assert(sizeof(HrTickKey) == 24, "node key is 24 bytes");
_Static_assert(sizeof(HrExtentKey) % 8 == 0, "nodes beside it stay 8-aligned");
_Static_assert(sizeof(HrWord) == 8, "a word is 8 bytes");
_Static_assert(sizeof(HrNodeHeader) == 64, "node header is 64 bytes");
_Static_assert(sizeof(HrNoteRecord) == 40, "note record is 40 bytes");
_Static_assert(sizeof(HrJournalRecord) == 64, "journal record is 64 bytes");
_Static_assert(sizeof(HrRescueRecord) == 128, "rescue record is 128 bytes");

#endif
