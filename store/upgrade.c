/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/upgrade.h"

#include <string.h>

/** No key, and no record but a node, is larger. */
enum { KEY_MAX = 511, RECORD_MAX = 8192 };

/** Put every record of a database again, with its checksum behind it. */
static int seal_records(MDB_txn* txn, MDB_dbi dbi, HrRecordKind kind)
{
  uint8_t place[KEY_MAX], sealed[RECORD_MAX + sizeof(uint32_t)];
  MDB_cursor* cursor = NULL;
  MDB_val key, value;
  int code = mdb_cursor_open(txn, dbi, &cursor);
  if (code) {
    return code;
  }
  for (code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST); !code;
       code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
    if (key.mv_size > sizeof place || value.mv_size > RECORD_MAX) {
      code = MDB_CORRUPTED;
      break;
    }
    const uint32_t checksum =
        hr_record_checksum(kind, key.mv_data, key.mv_size, value.mv_data, value.mv_size);
    /* Both are moved about on their page while the longer one is put in their place. */
    memcpy(place, key.mv_data, key.mv_size);
    memcpy(sealed, value.mv_data, value.mv_size);
    memcpy(sealed + value.mv_size, &checksum, sizeof checksum);
    key.mv_data = place;
    value = (MDB_val){value.mv_size + sizeof checksum, sealed};
    code = mdb_cursor_put(cursor, &key, &value, MDB_CURRENT);
    if (code) {
      break;
    }
  }
  mdb_cursor_close(cursor);
  return code == MDB_NOTFOUND ? 0 : code;
}

/** Format 2 has a checksum behind every record. */
static int upgrade_from_1(HrStore* store, MDB_txn* txn)
{
  const struct {
    MDB_dbi dbi;
    HrRecordKind kind;
  } databases[] = {
      {store->trees, HR_RECORD_TREE},       {store->branches, HR_RECORD_BRANCH},
      {store->names, HR_RECORD_NAME},       {store->journal, HR_RECORD_JOURNAL},
      {store->captures, HR_RECORD_CAPTURE}, {store->notes, HR_RECORD_NOTE},
  };
  int code = 0;
  for (size_t i = 0; i < sizeof databases / sizeof *databases && !code; ++i) {
    code = seal_records(txn, databases[i].dbi, databases[i].kind);
  }
  return code;
}

/** Format 3 has extents too: what is there stays as it is. */
static int upgrade_from_2(HrStore* store, MDB_txn* txn)
{
  (void)store;
  (void)txn;
  return 0;
}

int hr_upgrade(HrStore* store, MDB_txn* txn, uint32_t format)
{
  static int (*const steps[HR_FORMAT_VERSION])(HrStore*, MDB_txn*) = {
      [1] = upgrade_from_1, [2] = upgrade_from_2};
  int code = 0;
  for (; format < HR_FORMAT_VERSION && !code; ++format) {
    code = steps[format](store, txn);
  }
  return code;
}
