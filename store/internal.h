/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file internal.h
 * What the files of store/ share. Not for others. */

#ifndef HR_STORE_INTERNAL_H
#define HR_STORE_INTERNAL_H

#include "store/ancestors.h"
#include "store/chase.h"

#include <lmdb.h>
#include <pthread.h>
#include <signal.h>
#include <sys/types.h>

/** What the ended nodes of a branch, which do not change, leave a synthesizer in. */
typedef struct {
  HrBranchId branch;
  uint32_t nodes; ///< How many have ended
  HrChase* state; ///< NULL: not known
} HrEndedState;

struct HrStoreImpl {
  HrStore* next; ///< Registry of open stores
  unsigned references;
  dev_t device;
  ino_t inode;
  dev_t lock_device; ///< Of the lock file
  ino_t lock_inode;  ///< 0: without one
  MDB_env* env;
  MDB_dbi trees, branches, nodes, names, journal, captures;
  MDB_dbi notes; ///< 0: opened for reading, and there are none
  size_t map_bytes;
  uintptr_t map; ///< Address of the file's first page; 0: not known, as it was just made
  bool read_only;
  _Atomic bool unsynced;
  bool unnamed;                 ///< Being made: nobody else knows of it, and no lock file is needed
  pthread_mutex_t gate;         ///< Guards `transactions`, `bytes`, `room` and `env`
  unsigned transactions;        ///< Open in this process
  off_t bytes;                  ///< Size of the file when last seen: it never shrinks
  off_t room;                   ///< Where what was taken ahead on the disk ends; 0: nothing was
  pthread_mutex_t ended_lock;   ///< Guards `ended`. Within it, no other is taken
  HrEndedState ended;           ///< Where the last appended to came to: the next need not read it
  HrAncestors ancestors;        ///< Of committed branches
  _Atomic bool failed;          ///< A disk error: nothing is believed until hr_store_reopen()
  _Atomic unsigned write_count; ///< Write transactions begun
  _Atomic uint64_t committed;   ///< Number of the last transaction known to be on the disk
  HrStoreHeader header;
  char path[];
};

/** The last node of the branch being appended to, kept out of the map until it
 * is full or the transaction commits. */
typedef struct {
  HrBranch branch; ///< id 0: none open
  HrTempo tempo;   ///< In force at the head
  HrTickKey key;
  HrNodeHeader* node; ///< HR_NODE_SIZE bytes, or more for one long event
  size_t bytes;       ///< Allocated at `node`
  HrChase* state;     ///< What the nodes before leave a synthesizer in, if `state_known`
  bool state_known;
  bool anywhere; ///< The first event may come at any tick
  bool open;     ///< `node` and `key` are set
  bool dirty;
} HrTail;

struct HrTxnImpl {
  HrStore* store;
  MDB_txn* txn;
  HrTxnMode mode;
  MDB_cursor* nodes; ///< Where a writer put the last node; NULL: none yet
  bool nodes_follow; ///< Nodes of younger branches follow those being put
  bool spoilt;       ///< Bad words are in it: it is not committed
  HrTail tail;
};

/** A write past RLIMIT_FSIZE raises SIGXFSZ, which would end the host. */
typedef struct {
  sigset_t before;
  bool pending; ///< One that is not ours
} HrSizeSignal;

/** Around what writes: the signal is taken back, and the write fails with EFBIG. */
void hr_size_signal_hold(HrSizeSignal* held);
void hr_size_signal_drop(const HrSizeSignal* held);

/** After a commit: where the file grows fast, take room on the disk for the next ones, so that the
 * system need not look for each of their blocks. The file's size stays as it is. */
void hr_room_take(HrStore* store);

/** Give back what was taken and not needed, before the store is closed. */
void hr_room_give_back(HrStore* store);

/** The status for an LMDB or errno code; notes a disk error in `store`. */
HrStatus hr_status_from_lmdb(HrStore* store, int code);

/** What a record is: part of its checksum, so that one in a wrong place is found. */
typedef enum {
  HR_RECORD_OTHER,
  HR_RECORD_TREE,
  HR_RECORD_BRANCH,
  HR_RECORD_NAME,
  HR_RECORD_JOURNAL,
  HR_RECORD_CAPTURE,
  HR_RECORD_NOTE,
} HrRecordKind;

uint32_t hr_record_checksum(HrRecordKind kind, const void* key, size_t key_size, const void* value,
                            size_t size);
/** Check a record as it lies on a page and cut its checksum off `*size`. */
bool hr_record_valid(HrRecordKind kind, const void* key, size_t key_size, const void* value,
                     size_t* size);
/** The same of one that LMDB found: HR_ERR_DAMAGED. */
HrStatus hr_record_open(const HrTxn* txn, MDB_dbi dbi, const MDB_val* key, MDB_val* value);

/** False if LMDB must not replace this value: the head of its own page is damaged. To read it
 * LMDB needs no head, but it would free as many pages as that says, or write to it where it
 * lies. */
bool hr_value_replaceable(const HrStore* store, const MDB_val* value);

/** What is committed by now is on the disk: note how far that goes. */
void hr_store_note_committed(HrStore* store);

/** After a disk error, with no transaction open and `gate` held: believe only
 * what lies on the disk. HR_ERR_IO as long as that cannot be synced and read. */
HrStatus hr_store_reopen(HrStore* store);

/** Make the lock file of the store at `path`, which is no link, unless it is there. LMDB would
 * follow a link at its place, also to read: that is refused. It can do without the file where
 * none may be made, unless it is to write. HR_ERR_NO_SPACE on a full disk, also to read: LMDB
 * would make one there all the same. */
HrStatus hr_prepare_lock_file(const char* path, bool read_only, HrError* error);

/** Make every missing folder above `path`, for this user only. */
HrStatus hr_make_folders(const char* path, HrError* error);

/** Give a whole store, written under another name, its own, unless something has
 * that: EEXIST. A lock file that lies there is removed, as those who still have the
 * store before it open go on to use theirs. Both are on the disk afterwards. An errno. */
int hr_store_name_file(const char* from, const char* path);

/** Begin to write where hr_txn_begin() does not, as the store is lost. */
HrStatus hr_txn_begin_lost(HrStore* store, HrTxn** txn);

/** The largest map that there is room for, in bytes; where address space is limited, the
 * program is left half of it. It is tried here: LMDB, where it fails to map the file, takes
 * the lock file from under whoever opens it at the same moment. */
size_t hr_largest_map(void);

/** True if `newer` has all that a write transaction sees in `older`'s store: it is
 * that store, or a copy that was recorded into since. Changes neither. */
bool hr_store_is_continued(HrTxn* older, HrStore* newer);

/** Get a value of exactly `size` bytes: copies it out. HR_ERR_NOT_FOUND, HR_ERR_DAMAGED. */
HrStatus hr_get_record(HrTxn* txn, MDB_dbi dbi, const void* key, size_t key_size, void* record,
                       size_t size);
/** Put a record, with its checksum behind it. */
HrStatus hr_put(HrTxn* txn, MDB_dbi dbi, const void* key, size_t key_size, const void* value,
                size_t size);

HrStatus hr_tree_record(HrTxn* txn, HrTreeId id, HrTreeRecord* record);
HrStatus hr_tree_record_put(HrTxn* txn, HrTreeId id, const HrTreeRecord* record);
HrStatus hr_branch_put(HrTxn* txn, const HrBranch* branch);
/** Make a branch as hr_branch_fork() says. `tree` and `entry` are filled in for
 * the caller to complete, add to the journal and write. */
HrStatus hr_branch_make(HrTxn* txn, HrBranchId from, HrTick tick, const HrForkOptions* options,
                        HrTreeRecord* tree, HrJournalRecord* entry);
/** Set the state of a branch, and nothing else. */
HrStatus hr_branch_put_state(HrTxn* txn, HrBranchId id, HrBranchState state);

/** Which table of names: kind in lower case is text -> id, in upper case id -> text. */
typedef enum { HR_NAMES_TREE = 't', HR_NAMES_BRANCH = 'b', HR_NAMES_AUTHOR = 'a' } HrNameKind;

/** `scope` parts the names that must differ: the tree id for branches, else 0. */
HrStatus hr_name_set(HrTxn* txn, HrNameKind kind, uint64_t scope, uint64_t id, const char* name);
HrStatus hr_name_find(HrTxn* txn, HrNameKind kind, uint64_t scope, const char* name, uint64_t* id);
HrStatus hr_name_get(HrTxn* txn, HrNameKind kind, uint64_t id, char name[HR_NAME_MAX + 1]);
/** True for `size` bytes of UTF-8 and a NUL behind them, without control
 * characters but, if `lines`, those that end a line and tabulators. */
bool hr_text_valid(const char* text, size_t size, bool lines);
/** Bytes of the longest beginning of `text` that has at most `room` and does
 * not cut a character in two. */
size_t hr_text_cut(const char* text, size_t room);

/** Set `wanted`, or the first of "wanted 2", "wanted 3" ... that is free. */
HrStatus hr_name_set_free(HrTxn* txn, HrNameKind kind, uint64_t scope, uint64_t id,
                          const char* wanted);

/** Append an entry to the journal of the branch's tree, and make it the next to
 * be undone if it can be. Sizes of the texts, which may be NULL, and what lies
 * below are set here, and a time of 0 becomes now; the caller writes `tree`. */
HrStatus hr_journal_append(HrTxn* txn, HrTreeRecord* tree, HrJournalRecord* record,
                           const char* text, const char* before);

/** Read an entry's value whose checksum was found right, and cut off. HR_ERR_DAMAGED. */
HrStatus hr_journal_decode(uint32_t sequence, const void* value, size_t size,
                           HrJournalEntry* entry);

/** Read a note as it lies in the map; its key has the right size. HR_ERR_DAMAGED
 * for one that hr_note_add() would not have written. */
HrStatus hr_note_read(const HrTxn* txn, const MDB_val* key, const MDB_val* value, HrNote* note);
/** The same of a value whose checksum was found right, and cut off. */
HrStatus hr_note_decode(const HrTickKey* place, const void* value, size_t size, HrNote* note);
/** Hide or restore a note, and nothing else. */
HrStatus hr_note_put_hidden(HrTxn* txn, HrTreeId tree, uint32_t id, bool hidden);

/** Whether an operation can be undone, unless its entry is quiet. */
bool hr_operation_undoable(HrOperation operation);

void hr_tick_key(HrTickKey* key, HrBranchId branch, HrTick tick, uint64_t ordinal);
HrBranchId hr_tick_key_branch(const HrTickKey* key);
HrTick hr_tick_key_tick(const HrTickKey* key);
uint64_t hr_tick_key_ordinal(const HrTickKey* key);

/** XXH3_64, fast for some hundred bytes or more. Needs a processor with AVX2. */
uint64_t hr_hash_wide(const void* bytes, size_t size, uint64_t seed);

size_t hr_node_bytes(const HrNodeHeader* node);
uint64_t hr_node_checksum(const HrNodeHeader* node, const HrTickKey* key);
/** True if the value is a whole node that belongs at `key`. */
bool hr_node_valid(const HrTickKey* key, const MDB_val* value);

/** Pages of the map that lie side by side and will be needed; none if empty. */
typedef struct {
  uintptr_t start, end; ///< Addresses
} HrPageRun;

/** Add a value's. Where they lie apart from the others, those are asked for now. */
void hr_page_run_add(HrPageRun* pages, const MDB_val* value);
/** Have the system read them in, without waiting. */
void hr_page_run_will_need(const HrPageRun* pages);

/** Put a node, or an extent, as it is. Without data (NULL), room for one of that size: the caller
 * writes it there before anything else is done with `txn`. */
HrStatus hr_node_put(HrTxn* txn, MDB_val key, MDB_val* value);

/** The last node of a branch; HR_ERR_NOT_FOUND if it has none. */
HrStatus hr_node_last(HrTxn* txn, HrBranchId branch, HrTickKey* key, MDB_val* node);

/** How many nodes an entry has that is kept under this key; 0 if it is none of a node. */
uint32_t hr_extent_nodes(const MDB_val* key);
/** Bytes of so many full nodes in one value. */
size_t hr_extent_bytes(uint32_t nodes);
/** The key of one of an entry's nodes. */
void hr_extent_key(const MDB_val* key, uint32_t index, HrTickKey* node_key);
/** Its bytes; of size 0 if the entry is too short. */
MDB_val hr_extent_node(const MDB_val* key, const MDB_val* value, uint32_t index);

/** Goes from node to node, within extents too. What it says lies in the map, and there only until
 * something is put in its transaction; a step finds its way from there too. Where an entry's key
 * is none, it says branch 0. */
typedef struct {
  MDB_cursor* entries;
  bool may_move;            ///< Its transaction writes: what was found may lie elsewhere later
  MDB_val entry_key, entry; ///< The node's own, or the extent that it is in
  uint32_t index;           ///< In that
  HrTickKey key;            ///< The node's
  MDB_val node;             ///< As hr_extent_node() says
  bool is_mended;           ///< The extent's key is damaged: `entry_key` is `mended` instead
  HrExtentKey mended;
} HrNodeCursor;

/* Each returns an LMDB code, and places the cursor only if that is 0. */

/** Before the first node of all. Free with hr_nodes_close(), also after an error. */
int hr_nodes_open(HrTxn* txn, HrNodeCursor** nodes);
void hr_nodes_close(HrNodeCursor* nodes);
/** To the first node that is kept under a key at or after `place`: none further back in an extent.
 */
int hr_nodes_from(HrNodeCursor* nodes, const HrTickKey* place);
/** To the first node of `branch`, or where it has none, of the next. */
int hr_nodes_first(HrNodeCursor* nodes, HrBranchId branch);
/** To the last node of `branch` that begins before `tick`; MDB_NOTFOUND if it has none. */
int hr_nodes_before(HrNodeCursor* nodes, HrBranchId branch, HrTick tick);
/** To the next node of all, or the one before; MDB_NOTFOUND behind the last and before the first.
 */
int hr_nodes_next(HrNodeCursor* nodes);
int hr_nodes_previous(HrNodeCursor* nodes);
/** Whether the cursor is on a node of `branch`. */
bool hr_nodes_in(const HrNodeCursor* nodes, HrBranchId branch);

/** hr_tempo_at(), adding to `damaged` the count of damaged nodes that may have said otherwise. */
HrStatus hr_tempo_read(HrTxn* txn, HrBranchId branch, HrTick tick, HrTempo* tempo,
                       uint64_t* damaged);

/** Follow the events of a valid node before `tick`. */
void hr_chase_node(HrChase* chase, const HrNodeHeader* node, HrTick tick);
/** hr_chase_at(), adding to `damaged` the count of nodes that are damaged or missing. */
HrStatus hr_chase_read(HrTxn* txn, HrBranchId branch, HrTick tick, HrChase* chase,
                       uint64_t* damaged);
/** The state that a valid node begins with, if one is due there. */
void hr_checkpoint_read(const HrNodeHeader* node, HrChase* state);
/** A state as the bytes of an HR_META_STATE; `*size` is 0 if it is empty. The
 * caller frees `*bytes`, also after an error. */
HrStatus hr_checkpoint_make(const HrChase* state, uint8_t** bytes, uint32_t* size);

/** Write the open tail and its branch record, if any. */
HrStatus hr_tail_flush(HrTxn* txn);
/** Flush, and forget the tail: its branch's record is about to change. */
HrStatus hr_tail_close(HrTxn* txn);
void hr_tail_free(HrTail* tail);
/** Keep for the next transaction what this one, which is committed, knows of its tail. */
void hr_tail_keep_state(HrTxn* txn);

/** Move `branch` to an ancestor: its parent, or where its jump pointer leads.
 * HR_ERR_DAMAGED if there is none, or if it would lead in a circle. */
HrStatus hr_branch_climb(HrTxn* txn, HrBranchId to, HrBranch* branch);

/** The ancestor of `leaf` (or itself) at `depth`. */
HrStatus hr_branch_at_depth(HrTxn* txn, HrBranchId leaf, uint32_t depth, HrBranch* branch);

/** The branch on the path of `leaf` that owns `tick`, and the tick where the
 * path leaves it (INT64_MAX for the leaf itself). */
HrStatus hr_branch_stretch(HrTxn* txn, HrBranchId leaf, HrTick tick, HrBranchId* owner,
                           HrTick* until);

#endif
