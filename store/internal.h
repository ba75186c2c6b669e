/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file internal.h
 * What the files of store/ share. Not for others. */

#ifndef HR_STORE_INTERNAL_H
#define HR_STORE_INTERNAL_H

#include "store/store.h"

#include <lmdb.h>
#include <pthread.h>
#include <sys/types.h>

struct HrStoreImpl {
  HrStore* next; ///< Registry of open stores
  unsigned references;
  dev_t device;
  ino_t inode;
  MDB_env* env;
  MDB_dbi trees, branches, nodes, names, journal, captures;
  size_t map_bytes;
  bool read_only;
  _Atomic bool failed; ///< A sync reported EIO: what LMDB says later cannot be believed
  HrStoreHeader header;
  char path[];
};

/** The last node of the branch being appended to, kept out of the map until it
 * is full or the transaction commits. */
typedef struct {
  HrBranch branch; ///< id 0: none open
  HrTempo tempo;   ///< In force at the head
  HrNodeKey key;
  HrNodeHeader* node; ///< HR_NODE_SIZE bytes, or more for one long event
  size_t bytes;       ///< Allocated at `node`
  bool open;          ///< `node` and `key` are set
  bool dirty;
} HrTail;

struct HrTxnImpl {
  HrStore* store;
  MDB_txn* txn;
  HrTxnMode mode;
  HrTail tail;
};

/** The status for an LMDB or errno code; notes a disk error in `store`. */
HrStatus hr_status_from_lmdb(HrStore* store, int code);

/** Get a value of exactly `size` bytes: copies it out. HR_ERR_NOT_FOUND, HR_ERR_DAMAGED. */
HrStatus hr_get_record(HrTxn* txn, MDB_dbi dbi, const void* key, size_t key_size, void* record,
                       size_t size);
HrStatus hr_put(HrTxn* txn, MDB_dbi dbi, const void* key, size_t key_size, const void* value,
                size_t size);

HrStatus hr_tree_record(HrTxn* txn, HrTreeId id, HrTreeRecord* record);
HrStatus hr_tree_record_put(HrTxn* txn, HrTreeId id, const HrTreeRecord* record);
HrStatus hr_branch_put(HrTxn* txn, const HrBranch* branch);

/** Which table of names: kind in lower case is text -> id, in upper case id -> text. */
typedef enum { HR_NAMES_TREE = 't', HR_NAMES_BRANCH = 'b', HR_NAMES_AUTHOR = 'a' } HrNameKind;

/** `scope` parts the names that must differ: the tree id for branches, else 0. */
HrStatus hr_name_set(HrTxn* txn, HrNameKind kind, uint64_t scope, uint64_t id, const char* name);
HrStatus hr_name_find(HrTxn* txn, HrNameKind kind, uint64_t scope, const char* name, uint64_t* id);
HrStatus hr_name_get(HrTxn* txn, HrNameKind kind, uint64_t id, char name[HR_NAME_MAX + 1]);
/** Set `wanted`, or the first of "wanted 2", "wanted 3" ... that is free. */
HrStatus hr_name_set_free(HrTxn* txn, HrNameKind kind, uint64_t scope, uint64_t id,
                          const char* wanted);

/** Append an entry to the journal of the branch's tree; `record`'s text size is set here. */
HrStatus hr_journal_append(HrTxn* txn, HrTreeRecord* tree, HrJournalRecord* record,
                           const char* text);

void hr_node_key(HrNodeKey* key, HrBranchId branch, HrTick tick, uint64_t ordinal);
HrBranchId hr_node_key_branch(const HrNodeKey* key);
HrTick hr_node_key_tick(const HrNodeKey* key);
uint64_t hr_node_key_ordinal(const HrNodeKey* key);

size_t hr_node_bytes(const HrNodeHeader* node);
uint64_t hr_node_checksum(const HrNodeHeader* node, const HrNodeKey* key);
/** True if the value is a whole node that belongs at `key`. */
bool hr_node_valid(const HrNodeKey* key, const MDB_val* value);

/** The last node of a branch; HR_ERR_NOT_FOUND if it has none. */
HrStatus hr_node_last(HrTxn* txn, HrBranchId branch, HrNodeKey* key, MDB_val* value);

/** The state at the end of the path of `branch`, as the bytes of an
 * HR_META_STATE; `*size` is 0 if it is empty. The caller frees `*bytes`. */
HrStatus hr_checkpoint_make(HrTxn* txn, HrBranchId branch, uint8_t** bytes, uint32_t* size);

/** Write the open tail and its branch record, if any. */
HrStatus hr_tail_flush(HrTxn* txn);
/** Flush, and forget the tail: its branch's record is about to change. */
HrStatus hr_tail_close(HrTxn* txn);
void hr_tail_free(HrTail* tail);

/** The ancestor of `leaf` (or itself) at `depth`. */
HrStatus hr_branch_at_depth(HrTxn* txn, HrBranchId leaf, uint32_t depth, HrBranch* branch);

#endif
