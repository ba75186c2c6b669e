/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/internal.h"

#include <stdio.h>
#include <string.h>

#define ROOT_NAME "main"

HrStatus hr_tree_record(HrTxn* txn, HrTreeId id, HrTreeRecord* record)
{
  const uint64_t key = id;
  return hr_get_record(txn, txn->store->trees, &key, sizeof key, record, sizeof *record);
}

HrStatus hr_tree_record_put(HrTxn* txn, HrTreeId id, const HrTreeRecord* record)
{
  const uint64_t key = id;
  return hr_put(txn, txn->store->trees, &key, sizeof key, record, sizeof *record);
}

static HrStatus fill(HrTxn* txn, HrTreeId id, const HrTreeRecord* record, HrTree* tree)
{
  *tree = (HrTree){.id = id,
                   .root = hr_branch_id(id, record->root_number),
                   .current = record->current,
                   .branch_count = record->branch_count,
                   .journal_count = record->journal_count,
                   .created_ns = record->created_ns};
  const HrStatus status = hr_name_get(txn, HR_NAMES_TREE, id, tree->name);
  return status == HR_ERR_NOT_FOUND ? HR_ERR_DAMAGED : status;
}

HrStatus hr_tree_get(HrTxn* txn, HrTreeId id, HrTree* tree)
{
  HrTreeRecord record;
  const HrStatus status = hr_tree_record(txn, id, &record);
  return status ? status : fill(txn, id, &record, tree);
}

HrStatus hr_tree_find(HrTxn* txn, const char* name, HrTreeId* id)
{
  uint64_t found = 0;
  HrTreeRecord record;
  if (hr_name_number(name, id)) {
    return hr_tree_record(txn, *id, &record);
  }
  const HrStatus status = hr_name_find(txn, HR_NAMES_TREE, 0, name, &found);
  *id = (HrTreeId)found;
  return status;
}

HrStatus hr_tree_next(HrTxn* txn, HrTreeId after, HrTree* tree)
{
  MDB_cursor* cursor = NULL;
  uint64_t wanted = (uint64_t)after + 1;
  MDB_val key = {sizeof wanted, &wanted};
  MDB_val value;
  int code = mdb_cursor_open(txn->txn, txn->store->trees, &cursor);
  if (code) {
    return hr_status_from_lmdb(txn->store, code);
  }
  code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
  mdb_cursor_close(cursor);
  if (code) {
    return code == MDB_NOTFOUND ? HR_END : hr_status_from_lmdb(txn->store, code);
  }
  uint64_t id;
  HrTreeRecord record;
  memcpy(&id, key.mv_data, sizeof id);
  if (hr_record_open(txn, txn->store->trees, &key, &value) || value.mv_size != sizeof record ||
      id > UINT32_MAX) {
    return HR_ERR_DAMAGED;
  }
  memcpy(&record, value.mv_data, sizeof record);
  return fill(txn, (HrTreeId)id, &record, tree);
}

static HrStatus next_tree_id(HrTxn* txn, HrTreeId* id)
{
  MDB_cursor* cursor = NULL;
  MDB_val key, value;
  uint64_t last = 0;
  int code = mdb_cursor_open(txn->txn, txn->store->trees, &cursor);
  if (code) {
    return hr_status_from_lmdb(txn->store, code);
  }
  code = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
  if (!code) {
    memcpy(&last, key.mv_data, sizeof last);
  }
  mdb_cursor_close(cursor);
  *id = (HrTreeId)(last + 1);
  return last >= UINT32_MAX             ? HR_ERR_LIMIT
         : code && code != MDB_NOTFOUND ? hr_status_from_lmdb(txn->store, code)
                                        : HR_OK;
}

HrStatus hr_tree_create(HrTxn* txn, const char* name, uint32_t author, HrTreeId* tree)
{
  char own_name[HR_NAME_MAX + 1];
  HrTreeId id;
  uint64_t taken;
  if (name && !hr_name_valid(name)) {
    return HR_ERR_ARGUMENT;
  }
  if (name && !hr_name_find(txn, HR_NAMES_TREE, 0, name, &taken)) {
    return HR_ERR_EXISTS;
  }
  HrStatus status = next_tree_id(txn, &id);
  if (status) {
    return status;
  }
  snprintf(own_name, sizeof own_name, "tree %u", id);
  const int64_t now = hr_wall_clock_ns();
  HrTreeRecord record = {.current = hr_branch_id(id, 1),
                         .created_ns = now,
                         .root_number = 1,
                         .next_number = 2,
                         .branch_count = 1,
                         .author = author};
  const HrBranch root = {
      .id = hr_branch_id(id, 1), .jump = hr_branch_id(id, 1), .author = author, .created_ns = now};
  HrJournalRecord entry = {
      .time_ns = now, .branch = root.id, .author = author, .operation = HR_OPERATION_CREATE};
  *tree = id;
  status = hr_name_set_free(txn, HR_NAMES_TREE, 0, id, name ? name : own_name);
  status = status ? status : hr_name_set(txn, HR_NAMES_BRANCH, id, root.id, ROOT_NAME);
  status = status ? status : hr_branch_put(txn, &root);
  status = status ? status : hr_journal_append(txn, &record, &entry, ROOT_NAME, NULL);
  return status ? status : hr_tree_record_put(txn, id, &record);
}

HrStatus hr_tree_rename(HrTxn* txn, HrTreeId id, const char* name, uint32_t author)
{
  HrTreeRecord record;
  char before[HR_NAME_MAX + 1];
  HrStatus status = hr_tree_record(txn, id, &record);
  status = status ? status : hr_name_get(txn, HR_NAMES_TREE, id, before);
  status = status ? status : hr_name_set(txn, HR_NAMES_TREE, 0, id, name);
  if (status || !strcmp(name, before)) {
    return status;
  }
  HrJournalRecord entry = {.branch = hr_branch_id(id, record.root_number),
                           .author = author,
                           .operation = HR_OPERATION_RENAME_TREE};
  status = hr_journal_append(txn, &record, &entry, name, before);
  return status ? status : hr_tree_record_put(txn, id, &record);
}

HrStatus hr_tree_reserve(HrTxn* txn, HrTreeId id, uint32_t count, uint32_t* first_number)
{
  HrTreeRecord record;
  HrStatus status = hr_tree_record(txn, id, &record);
  if (status) {
    return status;
  }
  if (count > UINT32_MAX - record.next_number) {
    return HR_ERR_LIMIT;
  }
  *first_number = record.next_number;
  record.next_number += count;
  return hr_tree_record_put(txn, id, &record);
}

HrStatus hr_tree_unreserve(HrTxn* txn, HrTreeId id, uint32_t first_number, uint32_t end_number)
{
  HrTreeRecord record;
  HrStatus status = hr_tree_record(txn, id, &record);
  if (status || record.next_number != end_number || first_number >= end_number) {
    return status;
  }
  record.next_number = first_number;
  return hr_tree_record_put(txn, id, &record);
}
