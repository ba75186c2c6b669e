/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/internal.h"

#include <string.h>

const char* hr_operation_name(HrOperation operation)
{
  switch (operation) {
  case HR_OPERATION_CREATE:
    return "create";
  case HR_OPERATION_FORK:
    return "fork";
  case HR_OPERATION_SWITCH:
    return "switch";
  case HR_OPERATION_RENAME:
    return "rename";
  case HR_OPERATION_HIDE:
    return "hide";
  case HR_OPERATION_RESTORE:
    return "restore";
  case HR_OPERATION_RENAME_TREE:
    return "rename tree";
  case HR_OPERATION_MERGE:
    return "merge";
  case HR_OPERATION_MARK:
    return "mark";
  case HR_OPERATION_NOTE:
    return "note";
  case HR_OPERATION_HIDE_NOTE:
    return "hide note";
  case HR_OPERATION_RESTORE_NOTE:
    return "restore note";
  case HR_OPERATION_UNDO:
    return "undo";
  case HR_OPERATION_REDO:
    return "redo";
  }
  return "unknown";
}

bool hr_operation_undoable(HrOperation operation)
{
  return operation != HR_OPERATION_CREATE && operation != HR_OPERATION_UNDO &&
         operation != HR_OPERATION_REDO;
}

HrStatus hr_journal_append(HrTxn* txn, HrTreeRecord* tree, HrJournalRecord* record,
                           const char* text, const char* before)
{
  struct {
    HrJournalRecord record;
    char texts[2 * HR_NAME_MAX];
  } entry;
  const size_t text_size = text ? strlen(text) : 0;
  const size_t before_size = before ? strlen(before) : 0;
  if (text_size > HR_NAME_MAX || before_size > HR_NAME_MAX) {
    return HR_ERR_ARGUMENT;
  }
  tree->journal_count += 1;
  if (hr_operation_undoable((HrOperation)record->operation) &&
      !(record->flags & HR_JOURNAL_QUIET)) {
    record->below = tree->undo;
    tree->undo = tree->journal_count;
    tree->redo = 0;
  }
  record->time_ns = record->time_ns ? record->time_ns : hr_wall_clock_ns();
  record->text_size = (uint16_t)text_size;
  record->before_size = (uint16_t)before_size;
  entry.record = *record;
  if (text_size) {
    memcpy(entry.texts, text, text_size);
  }
  if (before_size) {
    memcpy(entry.texts + text_size, before, before_size);
  }
  const uint64_t key = (uint64_t)hr_branch_tree(record->branch) << 32 | tree->journal_count;
  return hr_put(txn, txn->store->journal, &key, sizeof key, &entry,
                sizeof *record + text_size + before_size);
}

HrStatus hr_journal_decode(uint32_t sequence, const void* value, size_t size, HrJournalEntry* entry)
{
  HrJournalRecord record;
  if (size < sizeof record) {
    return HR_ERR_DAMAGED;
  }
  memcpy(&record, value, sizeof record);
  if (record.text_size > HR_NAME_MAX || record.before_size > HR_NAME_MAX ||
      size != sizeof record + record.text_size + record.before_size) {
    return HR_ERR_DAMAGED;
  }
  *entry = (HrJournalEntry){.sequence = sequence,
                            .time_ns = record.time_ns,
                            .operation = (HrOperation)record.operation,
                            .branch = record.branch,
                            .other = record.other,
                            .left = record.left,
                            .tick = record.tick,
                            .author = record.author,
                            .refers = record.refers,
                            .below = record.below,
                            .quiet = record.flags & HR_JOURNAL_QUIET};
  const char* const texts = (const char*)value + sizeof record;
  memcpy(entry->text, texts, record.text_size);
  memcpy(entry->before, texts + record.text_size, record.before_size);
  return HR_OK;
}

/** Read an entry as it lies in the map. */
static HrStatus read_entry(const HrTxn* txn, uint64_t place, const MDB_val* value,
                           HrJournalEntry* entry)
{
  const MDB_val key = {sizeof place, &place};
  MDB_val record = *value;
  const HrStatus status = hr_record_open(txn, txn->store->journal, &key, &record);
  return status ? status
                : hr_journal_decode((uint32_t)place, record.mv_data, record.mv_size, entry);
}

HrStatus hr_journal_get(HrTxn* txn, HrTreeId tree, uint32_t sequence, HrJournalEntry* entry)
{
  uint64_t wanted = (uint64_t)tree << 32 | sequence;
  MDB_val key = {sizeof wanted, &wanted};
  MDB_val value;
  const int code = mdb_get(txn->txn, txn->store->journal, &key, &value);
  HrTreeRecord record;
  if (code == MDB_NOTFOUND && !hr_tree_record(txn, tree, &record)) {
    return sequence && sequence <= record.journal_count ? HR_ERR_DAMAGED : HR_ERR_NOT_FOUND;
  }
  return code ? hr_status_from_lmdb(txn->store, code) : read_entry(txn, wanted, &value, entry);
}

HrStatus hr_journal_next(HrTxn* txn, HrTreeId tree, uint32_t after, HrJournalEntry* entry)
{
  MDB_cursor* cursor = NULL;
  uint64_t wanted = ((uint64_t)tree << 32 | after) + 1;
  MDB_val key = {sizeof wanted, &wanted};
  MDB_val value;
  int code = mdb_cursor_open(txn->txn, txn->store->journal, &cursor);
  if (code) {
    return hr_status_from_lmdb(txn->store, code);
  }
  code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
  mdb_cursor_close(cursor);
  uint64_t found = 0;
  if (!code) {
    memcpy(&found, key.mv_data, sizeof found);
  }
  if (code) {
    return code == MDB_NOTFOUND ? HR_END : hr_status_from_lmdb(txn->store, code);
  }
  /* An entry whose key is damaged would seem to be another tree's. */
  const HrStatus status = read_entry(txn, found, &value, entry);
  return status ? status : found >> 32 == tree ? HR_OK : HR_END;
}
