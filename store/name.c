/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Names are kept both ways. Keys, integers big-endian:
 *
 *   'T' 'B' 'A', u64 id             -> text
 *   't' 'b' 'a', u64 scope, text    -> u64 id
 *
 * A branch's name is unique in its tree (scope: tree id), a tree's and an
 * author's in the store (scope 0). */

#include "store/internal.h"

#include <ctype.h>
#include <endian.h>
#include <stdio.h>
#include <string.h>

typedef struct {
  uint8_t bytes[9 + HR_NAME_MAX];
  size_t size;
} NameKey;

static NameKey id_key(HrNameKind kind, uint64_t id)
{
  NameKey key = {.size = 9};
  const uint64_t big = htobe64(id);
  key.bytes[0] = (uint8_t)toupper((int)kind);
  memcpy(key.bytes + 1, &big, sizeof big);
  return key;
}

static NameKey text_key(HrNameKind kind, uint64_t scope, const char* name)
{
  NameKey key = id_key(kind, scope);
  key.bytes[0] = (uint8_t)kind;
  memcpy(key.bytes + 9, name, strlen(name));
  key.size += strlen(name);
  return key;
}

/** Length of the well-formed UTF-8 sequence at `s` (RFC 3629), 0 if there is none. */
static size_t utf8_sequence(const uint8_t* s)
{
  const size_t length = s[0] < 0x80                   ? 1
                        : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
                        : (s[0] & 0xf0) == 0xe0       ? 3
                        : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                                      : 0;
  for (size_t i = 1; i < length; ++i) {
    if ((s[i] & 0xc0) != 0x80) {
      return 0;
    }
  }
  const bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
  const bool surrogate = s[0] == 0xed && s[1] >= 0xa0;
  const bool beyond = s[0] == 0xf4 && s[1] >= 0x90;
  return overlong || surrogate || beyond ? 0 : length;
}

/** True for U+0000 to U+001F and U+007F to U+009F: a terminal may take either for commands. */
static bool is_control(const uint8_t* sequence)
{
  return sequence[0] < 0x20 || sequence[0] == 0x7f || (sequence[0] == 0xc2 && sequence[1] < 0xa0);
}

bool hr_text_valid(const char* text, size_t size, bool lines)
{
  for (size_t i = 0; i < size;) {
    const uint8_t* const sequence = (const uint8_t*)text + i;
    const size_t length = utf8_sequence(sequence);
    const bool layout = lines && (text[i] == '\n' || text[i] == '\t');
    if (length == 0 || (is_control(sequence) && !layout)) {
      return false;
    }
    i += length;
  }
  return true;
}

size_t hr_text_cut(const char* text, size_t room)
{
  size_t size = strnlen(text, room + 1);
  if (size > room) {
    size = room;
    while (size > 0 && (text[size] & 0xc0) == 0x80) {
      --size;
    }
  }
  return size;
}

bool hr_name_valid(const char* name)
{
  const size_t size = name ? strnlen(name, HR_NAME_MAX + 1) : 0;
  if (size == 0 || size > HR_NAME_MAX || name[0] == '#') {
    return false;
  }
  return hr_text_valid(name, size, false);
}

bool hr_name_number(const char* name, uint32_t* number)
{
  uint64_t value = 0;
  size_t i = 1;
  if (name[0] != '#' || !name[1]) {
    return false;
  }
  for (; name[i] >= '0' && name[i] <= '9' && value <= UINT32_MAX; ++i) {
    value = 10 * value + (uint64_t)(name[i] - '0');
  }
  *number = (uint32_t)value;
  return !name[i] && value <= UINT32_MAX;
}

HrStatus hr_name_find(HrTxn* txn, HrNameKind kind, uint64_t scope, const char* name, uint64_t* id)
{
  if (!hr_name_valid(name)) {
    return HR_ERR_NOT_FOUND;
  }
  const NameKey key = text_key(kind, scope, name);
  return hr_get_record(txn, txn->store->names, key.bytes, key.size, id, sizeof *id);
}

HrStatus hr_name_get(HrTxn* txn, HrNameKind kind, uint64_t id, char name[HR_NAME_MAX + 1])
{
  const NameKey key = id_key(kind, id);
  MDB_val k = {key.size, (void*)key.bytes};
  MDB_val v = {0, NULL};
  const int code = mdb_get(txn->txn, txn->store->names, &k, &v);
  name[0] = '\0';
  if (code) {
    return hr_status_from_lmdb(txn->store, code);
  }
  if (hr_record_open(txn, txn->store->names, &k, &v) || v.mv_size > HR_NAME_MAX) {
    return HR_ERR_DAMAGED;
  }
  memcpy(name, v.mv_data, v.mv_size);
  name[v.mv_size] = '\0';
  return HR_OK;
}

HrStatus hr_name_set(HrTxn* txn, HrNameKind kind, uint64_t scope, uint64_t id, const char* name)
{
  if (!hr_name_valid(name)) {
    return HR_ERR_ARGUMENT;
  }
  uint64_t owner = 0;
  HrStatus status = hr_name_find(txn, kind, scope, name, &owner);
  if (status == HR_OK) {
    return owner == id ? HR_OK : HR_ERR_EXISTS;
  }
  if (status != HR_ERR_NOT_FOUND) {
    return status;
  }
  char old[HR_NAME_MAX + 1];
  if (!hr_name_get(txn, kind, id, old)) {
    const NameKey key = text_key(kind, scope, old);
    MDB_val k = {key.size, (void*)key.bytes};
    mdb_del(txn->txn, txn->store->names, &k, NULL);
  }
  const NameKey by_id = id_key(kind, id);
  const NameKey by_text = text_key(kind, scope, name);
  status = hr_put(txn, txn->store->names, by_text.bytes, by_text.size, &id, sizeof id);
  return status ? status
                : hr_put(txn, txn->store->names, by_id.bytes, by_id.size, name, strlen(name));
}

/** `wanted` with a number behind it, cut to fit. */
static void number_name(const char* wanted, uint64_t number, char name[HR_NAME_MAX + 1])
{
  char suffix[24];
  const int size = snprintf(suffix, sizeof suffix, " %llu", (unsigned long long)number);
  const size_t room = hr_text_cut(wanted, HR_NAME_MAX - (size_t)size);
  snprintf(name, HR_NAME_MAX + 1, "%.*s%s", (int)room, wanted, suffix);
}

/** HR_ERR_EXISTS if "wanted number" is the name of another than `id`. */
static HrStatus number_free(HrTxn* txn, HrNameKind kind, uint64_t scope, uint64_t id,
                            const char* wanted, uint64_t number)
{
  char name[HR_NAME_MAX + 1];
  uint64_t owner = 0;
  number_name(wanted, number, name);
  const HrStatus status = hr_name_find(txn, kind, scope, name, &owner);
  return status == HR_ERR_NOT_FOUND ? HR_OK : !status && owner != id ? HR_ERR_EXISTS : status;
}

/* However many have the name: numbers are doubled until one is free, and below that
 * one is sought that is free behind one that is taken. */
HrStatus hr_name_set_free(HrTxn* txn, HrNameKind kind, uint64_t scope, uint64_t id,
                          const char* wanted)
{
  char name[HR_NAME_MAX + 1];
  HrStatus status = hr_name_set(txn, kind, scope, id, wanted);
  if (status != HR_ERR_EXISTS) {
    return status;
  }
  uint64_t taken = 1;
  uint64_t open = 2;
  while ((status = number_free(txn, kind, scope, id, wanted, open)) == HR_ERR_EXISTS) {
    taken = open;
    open *= 2;
  }
  while (!status && open - taken > 1) {
    const uint64_t middle = taken + (open - taken) / 2;
    status = number_free(txn, kind, scope, id, wanted, middle);
    *(status ? &taken : &open) = middle;
    status = status == HR_ERR_EXISTS ? HR_OK : status;
  }
  number_name(wanted, open, name);
  return status ? status : hr_name_set(txn, kind, scope, id, name);
}

HrStatus hr_author_id(HrTxn* txn, const char* name, uint32_t* author)
{
  uint64_t id = 0;
  HrStatus status = hr_name_find(txn, HR_NAMES_AUTHOR, 0, name, &id);
  if (status == HR_ERR_NOT_FOUND) {
    /* The newest author is the last key under 'A'. */
    MDB_cursor* cursor = NULL;
    NameKey after = id_key(HR_NAMES_AUTHOR, UINT64_MAX);
    MDB_val k = {after.size, after.bytes};
    MDB_val v;
    int code = mdb_cursor_open(txn->txn, txn->store->names, &cursor);
    if (!code) {
      code = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
      code = mdb_cursor_get(cursor, &k, &v, code == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
      if (!code && k.mv_size == 9 && *(const char*)k.mv_data == 'A') {
        memcpy(&id, (const char*)k.mv_data + 1, sizeof id);
        id = be64toh(id);
      }
      mdb_cursor_close(cursor);
    }
    id += 1;
    status = id > UINT32_MAX ? HR_ERR_LIMIT : hr_name_set(txn, HR_NAMES_AUTHOR, 0, id, name);
  }
  const bool unknown = status == HR_ERR_DAMAGED || status == HR_ERR_LIMIT; // Nothing was written
  *author = unknown ? 0 : (uint32_t)id;
  return unknown ? HR_OK : status;
}

HrStatus hr_author_name(HrTxn* txn, uint32_t author, char name[HR_NAME_MAX + 1])
{
  const HrStatus status = hr_name_get(txn, HR_NAMES_AUTHOR, author, name);
  return status == HR_ERR_NOT_FOUND ? HR_OK : status;
}
