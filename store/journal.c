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
  }
  return "unknown";
}

HrStatus hr_journal_append(HrTxn* txn, HrTreeRecord* tree, HrJournalRecord* record,
                           const char* text)
{
  struct {
    HrJournalRecord record;
    char text[HR_NAME_MAX + 1];
  } entry;
  const size_t size = text ? strlen(text) : 0;
  if (size > HR_NAME_MAX) {
    return HR_ERR_ARGUMENT;
  }
  if (!record->time_ns) {
    record->time_ns = hr_wall_clock_ns();
  }
  record->text_size = (uint16_t)size;
  entry.record = *record;
  if (size) {
    memcpy(entry.text, text, size);
  }
  tree->journal_count += 1;
  const uint64_t key = (uint64_t)hr_branch_tree(record->branch) << 32 | tree->journal_count;
  return hr_put(txn, txn->store->journal, &key, sizeof key, &entry, sizeof *record + size);
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
  if (code == MDB_NOTFOUND || (!code && found >> 32 != tree)) {
    return HR_END;
  }
  if (code) {
    return hr_status_from_lmdb(txn->store, code);
  }
  HrJournalRecord record;
  if (value.mv_size < sizeof record) {
    return HR_ERR_DAMAGED;
  }
  memcpy(&record, value.mv_data, sizeof record);
  if (record.text_size > HR_NAME_MAX || value.mv_size != sizeof record + record.text_size) {
    return HR_ERR_DAMAGED;
  }
  *entry = (HrJournalEntry){.sequence = (uint32_t)found,
                            .time_ns = record.time_ns,
                            .operation = (HrOperation)record.operation,
                            .branch = record.branch,
                            .other = record.other,
                            .tick = record.tick,
                            .author = record.author};
  memcpy(entry->text, (const char*)value.mv_data + sizeof record, record.text_size);
  return HR_OK;
}
