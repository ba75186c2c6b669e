/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file store.h
 * The tree of branches over LMDB. Knows nothing of LV2 or OSC.
 *
 * Threads: an HrStore may be used from any thread. An HrTxn belongs to one
 * thread at a time; a write transaction must end on the thread that began it.
 * No call here is for the audio thread: reading touches the map, and a page
 * fault is disk I/O.
 *
 * Ownership: whatever a transaction hands out by pointer (events, spans) lies
 * in the map and lives until that transaction ends, and for a write
 * transaction until its next write. Structs are filled by value.
 *
 * Units: ticks for musical time, nanoseconds since 1970 for the wall clock.
 *
 * Errors: every function returns an HrStatus. Any of them may return
 * HR_ERR_DAMAGED, HR_ERR_IO, HR_ERR_NO_MEMORY or HR_ERR_MAP_FULL, and
 * HR_ERR_NOT_FOUND for an id or a name of nothing; the writing ones
 * HR_ERR_NO_SPACE, HR_ERR_READ_ONLY and, where numbers run out, HR_ERR_LIMIT
 * as well. What else they return is said with each. After an error in a write
 * transaction only hr_txn_abort() is allowed, unless said otherwise; nothing of
 * it reaches the disk.
 */

#ifndef HR_STORE_H
#define HR_STORE_H

#include "store/format.h"
#include "store/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Musical time. 2^11 * 3^3 * 5 * 7 ticks a quarter note: every usual MIDI
 * file resolution divides it, and it exceeds the 576,000 frames of a quarter at
 * 192 kHz and 20 BPM, so that frame -> tick -> frame comes back exactly. */
typedef int64_t HrTick;
#define HR_TICKS_PER_QUARTER 1935360

/** Events and forks lie nearer to tick 0 than this: no sum of ticks overflows. */
#define HR_TICK_BOUND (INT64_C(1) << 62)

static inline bool hr_tick_valid(HrTick tick)
{
  return tick > -HR_TICK_BOUND && tick < HR_TICK_BOUND;
}

typedef uint32_t HrTreeId;
typedef uint64_t HrBranchId;

#define HR_NAME_MAX 120 ///< Bytes of UTF-8 in a name, without the NUL

#define HR_DEFAULT_TEMPO 120.0

static inline HrBranchId hr_branch_id(HrTreeId tree, uint32_t number)
{
  return (HrBranchId)tree << 32 | number;
}

static inline HrTreeId hr_branch_tree(HrBranchId branch)
{
  return (HrTreeId)(branch >> 32);
}

static inline uint32_t hr_branch_number(HrBranchId branch)
{
  return (uint32_t)branch;
}

/* ---- Store ---------------------------------------------------------- */

typedef struct HrStoreImpl HrStore;

enum {
  HR_STORE_CREATE = 1,    ///< Make the file, and its folders, when missing
  HR_STORE_READ_ONLY = 2, ///< Never write, not even a lock where that is impossible
  HR_STORE_UNSYNCED = 4,  ///< Commits are not synced: for what can be made again; closing syncs
};

/** Open the store at `path`, or take another reference to it if this process
 * has it open already (the same device and inode). On failure `*store` is NULL
 * and `error`, which may be NULL, says what to do; the file is untouched.
 *
 * The file is checked with plain reads before it is mapped: not found, a
 * folder, something else, truncated, damaged, newer. One of an older format is
 * brought up to date, all of it or nothing; HR_ERR_READ_ONLY if it may only be read.
 * HR_ERR_BUSY if this process has it open for reading only and it is to be written to,
 * or if its lock file is that of another store which is still open.
 *
 * While a store is open, HR_STORE_UNSYNCED counts only until it is opened for
 * writing without: then what was committed is synced, HR_ERR_IO if that fails, and
 * so is each commit from then on.
 *
 * Address space is set aside once, 64 TiB, or where that is limited (RLIMIT_AS)
 * at most half of the limit, or the file's size if that is more. */
HrStatus hr_store_open(const char* path, unsigned flags, HrStore** store, HrError* error);

/** Give back one reference; the last one closes the file. NULL is fine. */
void hr_store_close(HrStore* store);

/** Absolute path, valid while the reference is held. */
const char* hr_store_path(const HrStore* store);

/** The 16 bytes that tell this store from every other. */
const uint8_t* hr_store_uuid(const HrStore* store);

bool hr_store_read_only(const HrStore* store);

/** True if the file was moved, deleted or replaced: it can still be read, but not
 * written to. Two stats. */
bool hr_store_is_lost(const HrStore* store);

typedef struct {
  uint64_t file_bytes; ///< Pages in use or free, times the page size
  uint64_t map_bytes;  ///< Address space set aside: the most it can grow to here
  uint64_t tree_count;
  uint64_t branch_count;
  uint64_t node_count;
  uint64_t page_size;
} HrStoreStats;

HrStatus hr_store_stats(HrStore* store, HrStoreStats* stats);

/** Write the default path, $HR_STORE, else $XDG_DATA_HOME/halfremembered/default.hr
 * (~/.local/share where unset). A "~/" at the beginning of $HR_STORE is the home
 * folder. HR_ERR_LIMIT if it does not fit, HR_ERR_NOT_FOUND
 * if no home folder is known. */
HrStatus hr_store_default_path(char* path, size_t size);

/* ---- Transactions --------------------------------------------------- */

typedef struct HrTxnImpl HrTxn;

typedef enum { HR_READ, HR_WRITE } HrTxnMode;

/** Begin. One writer at a time over all processes: HR_WRITE waits for the
 * other to end. Keep readers short: an old reader keeps old pages from reuse.
 * HR_ERR_NOT_FOUND for HR_WRITE if the store is lost, HR_ERR_TRUNCATED if its file
 * became shorter, HR_ERR_BUSY if there are too many readers. */
HrStatus hr_txn_begin(HrStore* store, HrTxnMode mode, HrTxn** txn);

/** Make all of it durable (synced), or nothing. Frees `txn` either way. HR_ERR_ARGUMENT
 * after bad words (hr_append_words). */
HrStatus hr_txn_commit(HrTxn* txn);

/** End without a trace. NULL is fine. */
void hr_txn_abort(HrTxn* txn);

/* ---- Authors and names ---------------------------------------------- */

/** Check a name: 1 to HR_NAME_MAX bytes of UTF-8, no control characters, no
 * leading '#' (that is how numbers are written). */
bool hr_name_valid(const char* name);

/** The number in what is written "#7": digits alone, up to UINT32_MAX. False for all else. */
bool hr_name_number(const char* name, uint32_t* number);

/** The id of an author by name, made on first use (write transaction). 0, unknown, if
 * what the store has of the name is damaged: music is kept whoever plays it. */
HrStatus hr_author_id(HrTxn* txn, const char* name, uint32_t* author);

/** The name of an author, "" for 0 or unknown. */
HrStatus hr_author_name(HrTxn* txn, uint32_t author, char name[HR_NAME_MAX + 1]);

/* ---- Trees ---------------------------------------------------------- */

typedef struct {
  HrTreeId id;
  HrBranchId root;
  HrBranchId current; ///< Branch last switched to
  uint32_t branch_count;
  uint32_t journal_count; ///< Grows with all that is done to the tree, whoever does it
  int64_t created_ns;
  char name[HR_NAME_MAX + 1];
} HrTree;

/** Make a tree with an empty root branch, "main". A NULL name becomes
 * "tree <id>". HR_ERR_EXISTS, HR_ERR_ARGUMENT (name; the transaction goes on). */
HrStatus hr_tree_create(HrTxn* txn, const char* name, uint32_t author, HrTreeId* tree);
HrStatus hr_tree_get(HrTxn* txn, HrTreeId id, HrTree* tree);
HrStatus hr_tree_find(HrTxn* txn, const char* name, HrTreeId* id);
/** The first tree with an id above `after`; HR_END after the last. */
HrStatus hr_tree_next(HrTxn* txn, HrTreeId after, HrTree* tree);
/** HR_ERR_EXISTS, HR_ERR_ARGUMENT: the transaction goes on. */
HrStatus hr_tree_rename(HrTxn* txn, HrTreeId id, const char* name, uint32_t author);

/** Set aside `count` branch numbers for hr_branch_fork(); they stay unused
 * until forked. */
HrStatus hr_tree_reserve(HrTxn* txn, HrTreeId id, uint32_t count, uint32_t* first_number);

/** Give back the unused end of a reservation, from `first_number` to
 * `end_number` (one past), if nothing was reserved since. */
HrStatus hr_tree_unreserve(HrTxn* txn, HrTreeId id, uint32_t first_number, uint32_t end_number);

/* ---- Branches ------------------------------------------------------- */

typedef enum { HR_BRANCH_ACTIVE = 0, HR_BRANCH_HIDDEN = 1 } HrBranchState;

typedef struct {
  HrBranchId id;
  HrBranchId parent; ///< 0 for the root
  HrBranchId jump;
  HrTick fork_tick;
  HrTick head_tick; ///< Where the branch ends: appending goes on from here
  uint64_t event_count;
  uint32_t node_count;
  uint32_t depth;
  uint32_t author;
  HrBranchState state;
  int64_t created_ns;
} HrBranch;

HrStatus hr_branch_get(HrTxn* txn, HrBranchId id, HrBranch* branch);
HrStatus hr_branch_name(HrTxn* txn, HrBranchId id, char name[HR_NAME_MAX + 1]);
/** By name, or by number written "#7". */
HrStatus hr_branch_find(HrTxn* txn, HrTreeId tree, const char* name, HrBranchId* id);
/** The first branch of `tree` with a number above `after`; HR_END after the last. */
HrStatus hr_branch_next(HrTxn* txn, HrTreeId tree, uint32_t after, HrBranch* branch);
/** The last branch of `tree` with a number below `before`; HR_END before the first. */
HrStatus hr_branch_previous(HrTxn* txn, HrTreeId tree, uint32_t before, HrBranch* branch);

typedef struct {
  uint32_t number;  ///< From hr_tree_reserve(), or 0: take the next
  const char* name; ///< NULL: "take <n>"
  uint32_t author;
  int64_t created_ns; ///< 0: now
  bool go_there;      ///< Make it the tree's current branch as well
  bool quiet;         ///< Nobody asked for it: undo passes over it
} HrForkOptions;

/** Make a branch whose path is the path of `from` before `tick`, and then its
 * own events. O(1): no event is copied. The parent is the branch on the path of
 * `from` that holds the music just before `tick`; its head moves up to `tick` if it lay
 * before, so that nothing appended to it later enters the child's past.
 * `options` may be NULL. A
 * name already taken gets a number behind it (" 2", " 3"): a fork never fails
 * for its name. HR_ERR_ARGUMENT for a malformed name or a tick beyond HR_TICK_BOUND,
 * HR_ERR_EXISTS for a used number; the transaction goes on. */
HrStatus hr_branch_fork(HrTxn* txn, HrBranchId from, HrTick tick, const HrForkOptions* options,
                        HrBranchId* id);

/** Make a branch that holds the music of `source` and `into`, which stay as they
 * are. It forks from the path of `into` where the two paths part; from there on
 * come the events of both by tick. At one tick, what begins a note comes last,
 * and what is of `into` first; the events of each path keep their own order.
 * Tempo and meter are those of `into`. Every event keeps its author, so that a
 * node begins wherever the author changes: two authors who take turns note by
 * note fill 112 bytes an event, not 8. The wall clock is kept for the first event of
 * each node, as always.
 *
 * `options` are those of a fork (a NULL name: "into + source", cut to fit).
 * Takes time in proportion to the music after the parting, and no memory but
 * what LMDB keeps of a transaction: each page written, up to 512 MiB.
 * HR_ERR_ARGUMENT for two branches of different trees, one and the same, or a
 * malformed name, HR_ERR_EXISTS for a used number: the transaction goes on.
 * HR_ERR_DAMAGED if not all of the music can be read: a merge leaves nothing out. */
HrStatus hr_branch_merge(HrTxn* txn, HrBranchId source, HrBranchId into,
                         const HrForkOptions* options, HrBranchId* id);

/** HR_ERR_EXISTS, HR_ERR_ARGUMENT: the transaction goes on. */
HrStatus hr_branch_rename(HrTxn* txn, HrBranchId id, const char* name, uint32_t author);
/** Have a branch end no earlier than at `tick`: silence follows its last event. HR_ERR_ARGUMENT
 * for a tick beyond HR_TICK_BOUND: the transaction goes on. */
HrStatus hr_branch_extend(HrTxn* txn, HrBranchId id, HrTick tick);
/** Hide or restore. Nothing is removed. HR_ERR_BUSY for hiding the tree's
 * current branch, which is never hidden: the transaction goes on. */
HrStatus hr_branch_set_state(HrTxn* txn, HrBranchId id, HrBranchState state, uint32_t author);
/** Say in the tree and in the journal that `to` was switched to at `tick`. A
 * hidden branch is restored thereby. */
HrStatus hr_branch_switch(HrTxn* txn, HrBranchId to, HrTick tick, uint32_t author);
/** The same of a switch that nobody asked for, or that is part of something
 * else: undo passes over it. */
HrStatus hr_branch_switch_quietly(HrTxn* txn, HrBranchId to, HrTick tick, uint32_t author);

/** The branch on the path of `leaf` that owns `tick`: the deepest that forked
 * at or before it. O(log depth). */
HrStatus hr_branch_owner(HrTxn* txn, HrBranchId leaf, HrTick tick, HrBranch* owner);

/** True for a root without events that nothing was forked from: its first event may come at
 * any tick, also before tick 0. */
bool hr_branch_is_untouched(HrTxn* txn, const HrBranch* branch);

/** True for a fork that nobody has played on, written on, gone on from or named. */
bool hr_branch_is_as_made(HrTxn* txn, const HrBranch* branch);

/* ---- Events --------------------------------------------------------- */

typedef enum { HR_EVENT_MIDI, HR_EVENT_META } HrEventKind;

typedef enum {
  HR_META_TEMPO = 1, ///< f64 quarter notes a minute
  HR_META_METER = 2, ///< u16 beats a bar, u16 beat unit
  HR_META_MARK = 3,  ///< UTF-8 text
  HR_META_STATE = 4, ///< MIDI messages, one after the other: the state at a checkpoint
} HrMetaType;

/** One MIDI message, or one meta event whose first byte is its HrMetaType. */
typedef struct {
  HrTick tick;
  HrEventKind kind;
  uint32_t size;
  const uint8_t* bytes;
} HrEvent;

typedef struct {
  double tempo; ///< Quarter notes a minute
  uint16_t beats_per_bar;
  uint16_t beat_unit;
} HrTempo;

/** A meta event's bytes: type and payload. */
enum { HR_META_TEMPO_SIZE = 9, HR_META_METER_SIZE = 5 };
void hr_meta_tempo(double tempo, uint8_t bytes[HR_META_TEMPO_SIZE]);
void hr_meta_meter(uint16_t beats, uint16_t unit, uint8_t bytes[HR_META_METER_SIZE]);

/** Apply a meta event to `tempo`: true if it was a sane tempo or meter. */
bool hr_meta_apply(HrTempo* tempo, const uint8_t* bytes, uint32_t size);

/** What a node says was in force before its first event; 120 in 4/4 where that is not sane. */
void hr_node_tempo(const HrNodeHeader* node, HrTempo* tempo);

typedef struct {
  uint32_t author;
  int64_t wall_clock_ns; ///< When it was played; 0: now
} HrAppendOptions;

/** Append one event at or after the head of `branch`, or anywhere if that is untouched. Runs
 * of events to one branch are fast: its last node stays open within the transaction.
 * HR_ERR_PAST before the head, HR_ERR_ARGUMENT for a size of 0 or beyond
 * HR_EVENT_SIZE_MAX, or a tick beyond HR_TICK_BOUND: the transaction goes on. */
HrStatus hr_append(HrTxn* txn, HrBranchId branch, const HrEvent* event,
                   const HrAppendOptions* options);

/** Append `count` messages of 1 to 3 bytes each, their ticks `base` and the words'
 * offsets, which never fall; unused bytes are 0. For music that is there already: several times as
 * fast as one by one. HR_ERR_PAST before the head: the transaction goes on. HR_ERR_ARGUMENT
 * for other words, which are found while they are written: the transaction can then only be
 * aborted, and hr_txn_commit() does that and says so. */
HrStatus hr_append_words(HrTxn* txn, HrBranchId branch, HrTick base, const HrWord* words,
                         size_t count, const HrAppendOptions* options);

/** Tempo and meter in force on the path of `branch` just before `tick`. */
HrStatus hr_tempo_at(HrTxn* txn, HrBranchId branch, HrTick tick, HrTempo* tempo);

/* ---- Marks and notes -------------------------------------------------- */

typedef enum {
  HR_NOTE_MARK = 1, ///< A named point or range of the music
  HR_NOTE_TEXT = 2, ///< What somebody says of it: text, rating, emotion
} HrNoteKind;

enum {
  HR_NOTE_TEXT_MAX = 4000, ///< Bytes of UTF-8 in a note's text, without the NUL
  HR_NOTE_RATING_MAX = 5,
};

/** From -1 to 1 each; what `known` leaves out is 0. */
typedef struct {
  uint8_t known; ///< HR_NOTE_VALENCE, HR_NOTE_AROUSAL, HR_NOTE_AGENCY
  float valence, arousal, agency;
} HrEmotion;

/** Something said about a point or a range of a branch's path. */
typedef struct {
  uint32_t id; ///< Within the tree: the sequence of the journal entry that tells of it
  HrNoteKind kind;
  HrBranchId branch; ///< The one that owns `tick`
  HrTick tick;
  HrTick end_tick; ///< The range is [tick, end_tick); `tick` itself for a point
  int64_t time_ns;
  uint32_t author;
  uint32_t rating; ///< 1 to HR_NOTE_RATING_MAX, 0: none
  HrEmotion emotion;
  bool hidden;
  char name[HR_NAME_MAX + 1]; ///< Of a mark; "" for the others
  const char* text;           ///< In the map; lines may end. Never NULL when read
} HrNote;

/** Add a note; its id is put into `*id`. A NULL text is none, a time of 0 is now;
 * id and hidden are not looked at. Nothing replaces an older note: of two marks
 * of one name on a path, the newer counts.
 *
 * A note belongs to the branch that owns its `tick` on the path of `branch`, and
 * so to every path that goes through there: a mark set on what was before a fork
 * is the parent's as well, and all its children's, wherever its range ends.
 *
 * HR_ERR_ARGUMENT for a mark without a valid name, another note with one or
 * with nothing to say, text that is too long, no UTF-8 or has control characters
 * other than line ends and tabulators, an end before the tick, values out of
 * range: the transaction goes on. */
HrStatus hr_note_add(HrTxn* txn, const HrNote* note, uint32_t* id);

/** HR_ERR_NOT_FOUND if there is no note of that id. */
HrStatus hr_note_get(HrTxn* txn, HrTreeId tree, uint32_t id, HrNote* note);

/** The first note on the path of `leaf`, hidden ones too, in the order of ticks
 * and, at one tick, of ids: at `tick` with an id above `after`, or later. HR_END
 * after the last. Damaged ones are passed over. */
HrStatus hr_note_next(HrTxn* txn, HrBranchId leaf, HrTick tick, uint32_t after, HrNote* note);

/** The newest mark called `name` on the path of `leaf` that is not hidden. Reads
 * the notes of this path, and no others. HR_ERR_NOT_FOUND. */
HrStatus hr_mark_find(HrTxn* txn, HrBranchId leaf, const char* name, HrNote* note);

/** Hide or restore. Nothing is removed. */
HrStatus hr_note_set_hidden(HrTxn* txn, HrTreeId tree, uint32_t id, bool hidden, uint32_t author);

/* ---- Reading a path ------------------------------------------------- */

/** A run of events of one node, as they lie in the map: words[0..count), the
 * first of each event's words says its tick as an offset from `base`. */
typedef struct {
  const HrNodeHeader* node;
  const HrWord* words;
  uint32_t count;
  HrTick base;
  HrBranchId branch;
} HrSpan;

/** A reader of a branch's whole path, ancestors first. Opaque but for size. */
typedef struct {
  HrTxn* txn;
  void* nodes; ///< HrNodeCursor
  HrBranchId leaf;
  HrBranchId owner; ///< Branch being read
  HrTick from;      ///< Nothing before this tick is given any more
  HrTick until;     ///< Where `owner` ends on this path
  bool seek;        ///< The cursor has still to be placed
  bool stay; ///< The node under the cursor was not given yet: what comes before it is missing
  uint64_t ordinal; ///< Of the next node of `owner`
  bool ended;
  const char* beside; ///< Where the page after the last node's begins
  HrSpan span;        ///< For hr_path_next()
  uint32_t index;     ///< Next word of `span`
} HrPath;

/** Begin to read the path of `leaf` at the first event at or after `from`.
 * Close with hr_path_close() before the transaction ends. */
HrStatus hr_path_open(HrTxn* txn, HrBranchId leaf, HrTick from, HrPath* path);

/** The next span; HR_END after the last. HR_ERR_DAMAGED for a node that fails
 * its checksum, and where nodes are missing: `span` then says only its branch
 * and base tick (that of the node behind those missing, or where the branch
 * ends); the next call goes on after it. */
HrStatus hr_path_next_span(HrPath* path, HrSpan* span);

/** The next event, over hr_path_next_span(): use one or the other. What the
 * store keeps for itself (HR_META_STATE) is passed over. */
HrStatus hr_path_next(HrPath* path, HrEvent* event);

void hr_path_close(HrPath* path);

/** Have the system read in the next `nodes` nodes of a path, from the one that
 * holds `from` on, all at once and without waiting for them: who reads them
 * later waits for few. */
HrStatus hr_path_will_need(HrTxn* txn, HrBranchId leaf, HrTick from, uint32_t nodes);

/** Step through a span: fill `event` from the word at `*index` and move
 * `*index` past it. False at the end of the span, or where a size does not fit
 * (a checksummed node never has one). */
static inline bool hr_span_next(const HrSpan* span, uint32_t* index, HrEvent* event)
{
  if (*index >= span->count) {
    return false;
  }
  const HrWord* word = &span->words[*index];
  event->tick = (HrTick)((uint64_t)span->base + word->offset); // Wraps, where a checksum is forged
  if (word->length - 1u < 3u) {
    event->kind = HR_EVENT_MIDI;
    event->size = word->length;
    event->bytes = word->bytes;
    *index += 1;
    return true;
  }
  const uint32_t size =
      word->bytes[0] | (uint32_t)word->bytes[1] << 8 | (uint32_t)word->bytes[2] << 16;
  const uint32_t words = (size + 7) / 8;
  if (!word->length || !size || words > span->count - *index - 1) {
    *index = span->count; // No event was ever written so
    return false;
  }
  event->kind = word->length == HR_WORD_META ? HR_EVENT_META : HR_EVENT_MIDI;
  event->size = size;
  event->bytes = (const uint8_t*)(word + 1);
  *index += 1 + words;
  return true;
}

/** How many words an event takes. */
uint32_t hr_event_words(const HrEvent* event);

/** Put an event where hr_span_next() finds it again: hr_event_words() words at
 * `word`, its tick at most UINT32_MAX after `base`. */
void hr_event_put(HrWord* word, HrTick base, const HrEvent* event);

/* ---- Journal -------------------------------------------------------- */

typedef enum {
  HR_OPERATION_CREATE = 1, ///< Tree made; branch is its root
  HR_OPERATION_FORK,       ///< branch made from other at tick; text is its name
  HR_OPERATION_SWITCH,     ///< branch switched to, from other, at tick
  HR_OPERATION_RENAME,     ///< text is the new name, before the old
  HR_OPERATION_HIDE,
  HR_OPERATION_RESTORE,
  HR_OPERATION_RENAME_TREE, ///< text is the new name, before the old; branch is the root
  HR_OPERATION_MERGE, ///< Music of other went into branch, from tick on; one entry for each source
  HR_OPERATION_MARK,  ///< Mark made on branch at tick; text is its name
  HR_OPERATION_NOTE,  ///< Note made on branch at tick
  HR_OPERATION_HIDE_NOTE,    ///< Note or mark hidden: refers is its id
  HR_OPERATION_RESTORE_NOTE, ///< The same restored
  HR_OPERATION_UNDO,         ///< refers is the entry undone, branch what it was about
  HR_OPERATION_REDO,         ///< refers is the entry of the undo that is taken back
} HrOperation;

typedef struct {
  uint32_t sequence;
  int64_t time_ns;
  HrOperation operation;
  HrBranchId branch;
  HrBranchId other;
  HrBranchId left; ///< The current branch before, if another became current; else 0
  HrTick tick;
  uint32_t author;
  uint32_t refers; ///< Sequence of an entry: what was undone, what made a note
  uint32_t below;  ///< The entry that was next to be undone (UNDO: redone) before
  bool quiet;      ///< Undo passes over it
  char text[HR_NAME_MAX + 1];
  char before[HR_NAME_MAX + 1];
} HrJournalEntry;

const char* hr_operation_name(HrOperation operation);

/** The first entry of `tree` with a sequence above `after` (they count from
 * 1); HR_END after the last. Entries are written by the calls they tell of. */
HrStatus hr_journal_next(HrTxn* txn, HrTreeId tree, uint32_t after, HrJournalEntry* entry);

/** One entry. HR_ERR_NOT_FOUND. */
HrStatus hr_journal_get(HrTxn* txn, HrTreeId tree, uint32_t sequence, HrJournalEntry* entry);

/* ---- Undo and redo --------------------------------------------------- */

typedef enum { HR_UNDO, HR_REDO } HrUndoDirection;

/** A step back, or forth again. */
typedef struct {
  HrUndoDirection direction;
  uint32_t sequence;          ///< Journal entry of the operation to undo or to redo
  HrOperation operation;      ///< What it was
  HrBranchId branch;          ///< The branch it was about
  HrBranchId go_to;           ///< Becomes the tree's current branch; 0: the current one stays
  HrTick tick;                ///< Where it was
  uint32_t note;              ///< Id of the mark or note it was about, or 0
  char name[HR_NAME_MAX + 1]; ///< Of the branch, tree or mark; when renaming, the name it gets
} HrUndo;

/** What an undo, or a redo, would do now, in any transaction: O(1), however long
 * the journal and whatever was undone before.
 *
 * Undo steps back over the entries of the journal from the last on, but those
 * that are quiet: a fork, merge, restored branch, mark or note is hidden, a
 * hidden one restored, a new name replaced by the one before (with a number
 * behind it if somebody else has it by now), a switch taken back. Redo steps
 * forth again, until the next operation that is not quiet. Each step is itself
 * written into the journal.
 *
 * The current branch changes as the operation changed it, backwards for undo.
 * It is never hidden: when a step hides it, `go_to` is where it was forked from,
 * or the nearest ancestor of that which is not hidden.
 *
 * HR_END if there is nothing to undo or redo. HR_ERR_BUSY if the step would
 * leave no branch to go to (`step` is filled in, for people). */
HrStatus hr_undo_next(HrTxn* txn, HrTreeId tree, HrUndoDirection direction, HrUndo* step);

/** Take a step that hr_undo_next() gave, perhaps in an earlier transaction;
 * `go_to` may have been changed to any branch of the tree. `tick` is where the
 * music is. HR_ERR_BUSY if it is not the next step any more, or would leave the
 * current branch hidden, HR_ERR_NOT_FOUND and HR_ERR_ARGUMENT for a branch that
 * does not exist or is of another tree: nothing changes, the transaction goes on. */
HrStatus hr_undo_apply(HrTxn* txn, const HrUndo* step, HrTick tick, uint32_t author);

/* ---- Capture rings -------------------------------------------------- */

/** How much of the capture ring `uuid` is in the store. Written in the same
 * transaction as the events, so that a ring left by a killed process is
 * drained exactly once. HR_ERR_NOT_FOUND if nothing of it is. */
HrStatus hr_capture_get(HrTxn* txn, const uint8_t uuid[16], HrCaptureRecord* record);
HrStatus hr_capture_put(HrTxn* txn, const uint8_t uuid[16], const HrCaptureRecord* record);

/** Where the rest of the ring goes that was to go elsewhere: as of the same transaction.
 * HR_ERR_NOT_FOUND if nothing was said. */
HrStatus hr_capture_get_rescues(HrTxn* txn, const uint8_t uuid[16], HrRescueRecord* record);
HrStatus hr_capture_put_rescues(HrTxn* txn, const uint8_t uuid[16], const HrRescueRecord* record);

/** Forget both. */
HrStatus hr_capture_delete(HrTxn* txn, const uint8_t uuid[16]);

/* ---- Copies ----------------------------------------------------------- */

typedef struct {
  bool first;       ///< There was none: the rest but `bytes` is 0
  uint64_t nodes;   ///< Nodes copied
  uint64_t records; ///< Entries copied, nodes among them
  uint64_t bytes;   ///< Written of either, or the size of the new file
  uint64_t damaged; ///< Of the store, among what is new or differs; a whole one in the backup stays
} HrBackupReport;

/** Bring the backup at `path` up to date, or make it: a store of the same UUID,
 * as the store was at one moment. May be called while others record. Only what is
 * new is copied, in one transaction: a backup that is not finished is as it was
 * before. No music is ever removed from it.
 *
 * Holds one read transaction: until it ends, the pages that recorders replace are
 * not used again. A first backup costs the room of the store in use, and is
 * written as `path`.part. HR_ERR_ARGUMENT for the store itself or a backup of
 * another, HR_ERR_EXISTS for one with music that the store has not: nothing changes.
 * HR_ERR_NO_SPACE, HR_ERR_BUSY. `error` may be NULL. */
HrStatus hr_store_backup(HrStore* store, const char* path, HrBackupReport* report, HrError* error);

/** Write a copy without free pages to `path`, which may exist only if `replace`.
 * The store is not touched. The file has mode 0600, is on the disk when this
 * returns, and is called `path`.part until it is whole. Puts its size into
 * `*bytes`. Errors as for hr_store_backup(). */
HrStatus hr_store_compact(HrStore* store, const char* path, bool replace, uint64_t* bytes,
                          HrError* error);

/** Write a lost store, as this process still has it open, to its path anew, and
 * open that; folders that are missing are made. If something else lies there, it is
 * left as it is, and the store is written beside it: my.hr as my-rescued.hr,
 * my-rescued-2.hr and so on. What a program that had it open as well has written
 * so already is not written again. All that was ever committed is in it, and
 * nobody writes to the lost one meanwhile, or after that. Of a lost store that
 * cannot be read, as its disk was pulled out, nothing is written: it is opened once
 * it lies at its path again. Until then: HR_ERR_IO.
 *
 * `*store` is to be closed like any, `lost` as well. Takes as long as
 * hr_store_compact(). Errors as of that: nothing has changed then. */
HrStatus hr_store_relocate(HrStore* lost, HrStore** store, HrError* error);

/* ---- Verification --------------------------------------------------- */

typedef struct {
  uint64_t trees, branches, nodes, events, journal_entries, notes, problems;
} HrVerifyReport;

/** Check everything this layer knows: records, parents, depths, jump pointers,
 * where branches begin and end, ticks in order, tempos, checksums, counts, names,
 * journal. Calls `problem` with a sentence for each fault found. HR_OK if the whole
 * store was read, whatever was found. */
HrStatus hr_store_verify(HrStore* store, void (*problem)(void* data, const char* sentence),
                         void* data, HrVerifyReport* report);

typedef enum {
  HR_VERIFY_PAGES,   ///< What they hold only if a page is damaged
  HR_VERIFY_CONTENTS ///< What they hold in any case
} HrVerifyDepth;

/** Check the pages of the file at `path`, without LMDB: whatever is wrong in it,
 * this returns. Calls `problem` for each fault, and for each stretch of music and
 * each record that is lost; `report` counts only the problems. HR_OK if the file
 * could be read, whatever was found; hr_store_verify() may follow if nothing was.
 * Others may write meanwhile; this program must not have it open. */
HrStatus hr_store_verify_pages(const char* path, HrVerifyDepth depth,
                               void (*problem)(void* data, const char* sentence), void* data,
                               HrVerifyReport* report, HrError* error);

typedef struct {
  uint64_t trees, branches, events;
  uint64_t losses; ///< Sentences that `lost` was called with
} HrSalvageReport;

/** Take everything that can be read in the file `damaged` into a new store at
 * `path`; the damaged file is only read, and this program must not have it open. Calls `lost` with
 * a sentence for everything that cannot: stretches of music, records, names. A branch whose record
 * is lost is forked where the journal says, or hung on its tree's first. Programs, controllers and
 * pedals that were set in a lost stretch are set again where the store has noted the state, at the
 * next node of HR_CHECKPOINT_NODES, and the notes end there that ended in it; tempo and meter at
 * its end. What capture rings have still to be drained is not taken over. HR_ERR_EXISTS if there is
 * anything at `path`. The new store is called `path`.part until it is whole, and removed if it
 * cannot be. */
HrStatus hr_store_salvage(const char* damaged, const char* path,
                          void (*lost)(void* data, const char* sentence), void* data,
                          HrSalvageReport* report, HrError* error);

/** Nanoseconds since 1970: for what is written. It may be set back. */
int64_t hr_wall_clock_ns(void);

/** Nanoseconds of a clock that never goes back: for how long things take. */
int64_t hr_monotonic_ns(void);

#endif
