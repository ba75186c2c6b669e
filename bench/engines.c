/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "bench/engines.h"

#include "bench/bench.h"

#include <endian.h>
#include <leveldb/c.h>
#include <lmdb.h>
#include <rocksdb/c.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/** A branch and a tick, so that bytes sort as numbers. */
typedef struct {
  uint64_t branch;
  uint64_t tick;
} Key;

static Key make_key(HrBranchId branch, HrTick tick)
{
  return (Key){htobe64(branch), htobe64((uint64_t)tick)};
}

static bool is_of(HrBranchId branch, const void* key)
{
  return !memcmp(key, &(uint64_t){htobe64(branch)}, sizeof branch);
}

static HrTick tick_of(const void* key)
{
  Key copy;
  memcpy(&copy, key, sizeof copy);
  return (HrTick)be64toh(copy.tick);
}

/* ---- LMDB ---------------------------------------------------------------------- */

typedef struct {
  MDB_env* env;
  MDB_dbi dbi;
  MDB_txn* txn; ///< The one that writes, or the one that reads
  MDB_cursor* cursor;
  unsigned how; ///< Keys are put
} Lmdb;

static void require_lmdb(int code)
{
  bench_require(!code, mdb_strerror(code));
}

static void begin_lmdb(Lmdb* self, unsigned flags)
{
  require_lmdb(mdb_txn_begin(self->env, NULL, flags, &self->txn));
  require_lmdb(mdb_dbi_open(self->txn, NULL, 0, &self->dbi));
  require_lmdb(mdb_cursor_open(self->txn, self->dbi, &self->cursor));
}

static void* open_lmdb(const char* path, EngineMode mode)
{
  static const unsigned flags[] = {
      [ENGINE_LOAD] = MDB_NOSYNC, [ENGINE_DURABLE] = 0, [ENGINE_READ] = MDB_RDONLY};
  static Lmdb self;
  self = (Lmdb){.how = mode == ENGINE_LOAD ? MDB_APPEND : 0};
  require_lmdb(mdb_env_create(&self.env));
  require_lmdb(mdb_env_set_mapsize(self.env, (size_t)1 << 40));
  require_lmdb(mdb_env_open(self.env, path, MDB_NOSUBDIR | MDB_NORDAHEAD | flags[mode], 0600));
  if (mode == ENGINE_READ) {
    begin_lmdb(&self, MDB_RDONLY);
  }
  return &self;
}

static void put_lmdb(void* data, HrBranchId branch, HrTick tick, const void* bytes, size_t size)
{
  Lmdb* const self = data;
  Key place = make_key(branch, tick);
  MDB_val key = {sizeof place, &place};
  MDB_val value = {size, (void*)bytes};
  if (!self->txn) {
    begin_lmdb(self, 0);
  }
  require_lmdb(mdb_cursor_put(self->cursor, &key, &value, self->how));
}

static void commit_lmdb(void* data)
{
  Lmdb* const self = data;
  mdb_cursor_close(self->cursor);
  require_lmdb(mdb_txn_commit(self->txn));
  self->txn = NULL;
}

static void renew_lmdb(Lmdb* self)
{
  mdb_txn_reset(self->txn);
  require_lmdb(mdb_txn_renew(self->txn));
  require_lmdb(mdb_cursor_renew(self->txn, self->cursor));
}

static const void* find_lmdb(void* data, HrBranchId branch, HrTick tick, size_t* size)
{
  Lmdb* const self = data;
  const Key place = make_key(branch, tick);
  MDB_val key = {sizeof place, (void*)&place};
  MDB_val value;
  renew_lmdb(self);
  int code = mdb_cursor_get(self->cursor, &key, &value, MDB_SET_RANGE);
  if (code || memcmp(key.mv_data, &place, sizeof place) != 0) {
    code = mdb_cursor_get(self->cursor, &key, &value, code ? MDB_LAST : MDB_PREV);
  }
  *size = value.mv_size;
  return !code && is_of(branch, key.mv_data) ? value.mv_data : NULL;
}

static void each_lmdb(void* data, HrBranchId branch, EngineVisit visit, void* visitor)
{
  Lmdb* const self = data;
  const Key place = make_key(branch, 0);
  MDB_val key = {sizeof place, (void*)&place};
  MDB_val value;
  renew_lmdb(self);
  int code = mdb_cursor_get(self->cursor, &key, &value, MDB_SET_RANGE);
  while (!code && is_of(branch, key.mv_data)) {
    visit(visitor, tick_of(key.mv_data), value.mv_data, value.mv_size);
    code = mdb_cursor_get(self->cursor, &key, &value, MDB_NEXT);
  }
}

static void close_lmdb(void* data)
{
  Lmdb* const self = data;
  if (self->txn) {
    mdb_cursor_close(self->cursor);
    mdb_txn_abort(self->txn);
  }
  mdb_env_close(self->env);
}

/* ---- SQLite ------------------------------------------------------------------ */

typedef struct {
  sqlite3* db;
  sqlite3_stmt *put, *find, *each;
  bool begun;
} Sqlite;

static void run_sql(sqlite3* db, const char* sql)
{
  bench_require(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, sqlite3_errmsg(db));
}

static sqlite3_stmt* prepare(sqlite3* db, const char* sql)
{
  sqlite3_stmt* statement;
  bench_require(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK, sqlite3_errmsg(db));
  return statement;
}

#define MAKE_TABLE                                                                                 \
  "CREATE TABLE kept (branch INTEGER, tick INTEGER, bytes BLOB, PRIMARY KEY (branch, tick))"       \
  " WITHOUT ROWID"

/** Pages of 4 KiB: a row with a node is more than a quarter of 16 KiB, and would
 * take another of those for itself. */
static void* open_sqlite(const char* path, EngineMode mode)
{
  static const char* const pragmas[] = {
      [ENGINE_LOAD] = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = "
                      "EXCLUSIVE;" MAKE_TABLE,
      [ENGINE_DURABLE] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;" MAKE_TABLE,
      [ENGINE_READ] = "PRAGMA mmap_size = 1099511627776" // As much as it was built to allow
  };
  static Sqlite self;
  self = (Sqlite){0};
  bench_require(sqlite3_open(path, &self.db) == SQLITE_OK, "SQLite does not open.");
  run_sql(self.db, pragmas[mode]);
  self.put = prepare(self.db, "INSERT OR REPLACE INTO kept VALUES (?, ?, ?)");
  self.find = prepare(self.db, "SELECT bytes FROM kept WHERE branch = ? AND tick <= ?"
                               " ORDER BY tick DESC LIMIT 1");
  self.each = prepare(self.db, "SELECT tick, bytes FROM kept WHERE branch = ? ORDER BY tick");
  return &self;
}

static void put_sqlite(void* data, HrBranchId branch, HrTick tick, const void* bytes, size_t size)
{
  Sqlite* const self = data;
  if (!self->begun) {
    run_sql(self->db, "BEGIN");
    self->begun = true;
  }
  sqlite3_bind_int64(self->put, 1, (sqlite3_int64)branch);
  sqlite3_bind_int64(self->put, 2, tick);
  sqlite3_bind_blob(self->put, 3, bytes, (int)size, SQLITE_STATIC);
  bench_require(sqlite3_step(self->put) == SQLITE_DONE, sqlite3_errmsg(self->db));
  sqlite3_reset(self->put);
}

static void commit_sqlite(void* data)
{
  Sqlite* const self = data;
  run_sql(self->db, "COMMIT");
  self->begun = false;
}

static const void* find_sqlite(void* data, HrBranchId branch, HrTick tick, size_t* size)
{
  Sqlite* const self = data;
  sqlite3_reset(self->find);
  sqlite3_bind_int64(self->find, 1, (sqlite3_int64)branch);
  sqlite3_bind_int64(self->find, 2, tick);
  if (sqlite3_step(self->find) != SQLITE_ROW) {
    return NULL;
  }
  *size = (size_t)sqlite3_column_bytes(self->find, 0);
  return sqlite3_column_blob(self->find, 0);
}

static void each_sqlite(void* data, HrBranchId branch, EngineVisit visit, void* visitor)
{
  Sqlite* const self = data;
  sqlite3_reset(self->each);
  sqlite3_bind_int64(self->each, 1, (sqlite3_int64)branch);
  while (sqlite3_step(self->each) == SQLITE_ROW) {
    visit(visitor, sqlite3_column_int64(self->each, 0), sqlite3_column_blob(self->each, 1),
          (size_t)sqlite3_column_bytes(self->each, 1));
  }
}

static void close_sqlite(void* data)
{
  const Sqlite* const self = data;
  sqlite3_finalize(self->put);
  sqlite3_finalize(self->find);
  sqlite3_finalize(self->each);
  sqlite3_close(self->db);
}

/* ---- RocksDB ----------------------------------------------------------------- */

typedef struct {
  rocksdb_t* db;
  rocksdb_options_t* options;
  rocksdb_writeoptions_t* writing;
  rocksdb_readoptions_t* reading;
  rocksdb_writebatch_t* batch;
  rocksdb_iterator_t* found;
  EngineMode mode;
} Rocks;

/** Its log is written, and not synced unless asked to. */
static void* open_rocks(const char* path, EngineMode mode)
{
  static Rocks self;
  char* error = NULL;
  self = (Rocks){.mode = mode,
                 .options = rocksdb_options_create(),
                 .writing = rocksdb_writeoptions_create(),
                 .reading = rocksdb_readoptions_create(),
                 .batch = rocksdb_writebatch_create()};
  rocksdb_options_set_create_if_missing(self.options, 1);
  rocksdb_options_increase_parallelism(self.options, (int)sysconf(_SC_NPROCESSORS_ONLN));
  rocksdb_options_set_compression(self.options, rocksdb_no_compression);
  rocksdb_writeoptions_set_sync(self.writing, mode == ENGINE_DURABLE);
  self.db = rocksdb_open(self.options, path, &error);
  bench_require(!error, error);
  return &self;
}

static void put_rocks(void* data, HrBranchId branch, HrTick tick, const void* bytes, size_t size)
{
  const Rocks* const self = data;
  const Key key = make_key(branch, tick);
  rocksdb_writebatch_put(self->batch, (const char*)&key, sizeof key, bytes, size);
}

static void commit_rocks(void* data)
{
  const Rocks* const self = data;
  char* error = NULL;
  rocksdb_write(self->db, self->writing, self->batch, &error);
  bench_require(!error, error);
  rocksdb_writebatch_clear(self->batch);
}

static rocksdb_iterator_t* iterate_rocks(Rocks* self)
{
  if (self->found) {
    rocksdb_iter_destroy(self->found);
  }
  self->found = rocksdb_create_iterator(self->db, self->reading);
  return self->found;
}

static const void* rocks_key(const rocksdb_iterator_t* iterator)
{
  size_t size;
  return rocksdb_iter_key(iterator, &size);
}

static const void* find_rocks(void* data, HrBranchId branch, HrTick tick, size_t* size)
{
  const Key key = make_key(branch, tick);
  rocksdb_iterator_t* const found = iterate_rocks(data);
  rocksdb_iter_seek_for_prev(found, (const char*)&key, sizeof key);
  return rocksdb_iter_valid(found) && is_of(branch, rocks_key(found))
             ? rocksdb_iter_value(found, size)
             : NULL;
}

static void each_rocks(void* data, HrBranchId branch, EngineVisit visit, void* visitor)
{
  const Key key = make_key(branch, 0);
  rocksdb_iterator_t* const at = iterate_rocks(data);
  rocksdb_iter_seek(at, (const char*)&key, sizeof key);
  while (rocksdb_iter_valid(at) && is_of(branch, rocks_key(at))) {
    size_t size;
    const char* const bytes = rocksdb_iter_value(at, &size);
    visit(visitor, tick_of(rocks_key(at)), bytes, size);
    rocksdb_iter_next(at);
  }
}

/** After a load, so that who opens it need not read the log again. */
static void flush_rocks(const Rocks* self)
{
  char* error = NULL;
  rocksdb_flushoptions_t* const options = rocksdb_flushoptions_create();
  rocksdb_flush(self->db, options, &error);
  bench_require(!error, error);
  rocksdb_flushoptions_destroy(options);
}

static void close_rocks(void* data)
{
  const Rocks* const self = data;
  if (self->found) {
    rocksdb_iter_destroy(self->found);
  }
  if (self->mode == ENGINE_LOAD) {
    flush_rocks(self);
  }
  rocksdb_close(self->db);
  rocksdb_writebatch_destroy(self->batch);
  rocksdb_readoptions_destroy(self->reading);
  rocksdb_writeoptions_destroy(self->writing);
  rocksdb_options_destroy(self->options);
}

/* ---- LevelDB ------------------------------------------------------------------ */

typedef struct {
  leveldb_t* db;
  leveldb_options_t* options;
  leveldb_writeoptions_t* writing;
  leveldb_readoptions_t* reading;
  leveldb_writebatch_t* batch;
  leveldb_iterator_t* found;
  EngineMode mode;
} Level;

static void* open_level(const char* path, EngineMode mode)
{
  static Level self;
  char* error = NULL;
  self = (Level){.mode = mode,
                 .options = leveldb_options_create(),
                 .writing = leveldb_writeoptions_create(),
                 .reading = leveldb_readoptions_create(),
                 .batch = leveldb_writebatch_create()};
  leveldb_options_set_create_if_missing(self.options, 1);
  leveldb_options_set_compression(self.options, leveldb_no_compression);
  leveldb_writeoptions_set_sync(self.writing, mode == ENGINE_DURABLE);
  self.db = leveldb_open(self.options, path, &error);
  bench_require(!error, error);
  return &self;
}

static void put_level(void* data, HrBranchId branch, HrTick tick, const void* bytes, size_t size)
{
  const Level* const self = data;
  const Key key = make_key(branch, tick);
  leveldb_writebatch_put(self->batch, (const char*)&key, sizeof key, bytes, size);
}

static void commit_level(void* data)
{
  const Level* const self = data;
  char* error = NULL;
  leveldb_write(self->db, self->writing, self->batch, &error);
  bench_require(!error, error);
  leveldb_writebatch_clear(self->batch);
}

static leveldb_iterator_t* iterate_level(Level* self, Key from)
{
  if (self->found) {
    leveldb_iter_destroy(self->found);
  }
  self->found = leveldb_create_iterator(self->db, self->reading);
  leveldb_iter_seek(self->found, (const char*)&from, sizeof from);
  return self->found;
}

static const void* level_key(const leveldb_iterator_t* iterator)
{
  size_t size;
  return leveldb_iter_key(iterator, &size);
}

/** It seeks forwards only. */
static const void* find_level(void* data, HrBranchId branch, HrTick tick, size_t* size)
{
  const Key key = make_key(branch, tick);
  leveldb_iterator_t* const found = iterate_level(data, key);
  if (!leveldb_iter_valid(found)) {
    leveldb_iter_seek_to_last(found);
  } else if (memcmp(level_key(found), &key, sizeof key) != 0) {
    leveldb_iter_prev(found);
  }
  return leveldb_iter_valid(found) && is_of(branch, level_key(found))
             ? leveldb_iter_value(found, size)
             : NULL;
}

static void each_level(void* data, HrBranchId branch, EngineVisit visit, void* visitor)
{
  leveldb_iterator_t* const at = iterate_level(data, make_key(branch, 0));
  while (leveldb_iter_valid(at) && is_of(branch, level_key(at))) {
    size_t size;
    const char* const bytes = leveldb_iter_value(at, &size);
    visit(visitor, tick_of(level_key(at)), bytes, size);
    leveldb_iter_next(at);
  }
}

static void close_level(void* data)
{
  const Level* const self = data;
  if (self->found) {
    leveldb_iter_destroy(self->found);
  }
  if (self->mode == ENGINE_LOAD) { // As with RocksDB: to compact no keys flushes all the same
    leveldb_compact_range(self->db, "", 0, "", 0);
  }
  leveldb_close(self->db);
  leveldb_writebatch_destroy(self->batch);
  leveldb_readoptions_destroy(self->reading);
  leveldb_writeoptions_destroy(self->writing);
  leveldb_options_destroy(self->options);
}

/* ---- A sorted array --------------------------------------------------------------- */

enum { ITEM_SIZE = 16 };

typedef struct {
  HrTick tick;
  uint8_t bytes[ITEM_SIZE];
} Item;

/** Of one branch; its items come in rising order. */
typedef struct {
  Item* items;
  size_t count, room;
} Array;

static void* open_array(const char* path, EngineMode mode)
{
  static Array self;
  (void)path;
  (void)mode;
  self = (Array){0};
  return &self;
}

static void put_array(void* data, HrBranchId branch, HrTick tick, const void* bytes, size_t size)
{
  Array* const self = data;
  (void)branch;
  bench_require(size == ITEM_SIZE && (!self->count || tick > self->items[self->count - 1].tick),
                "The array takes small items in rising order.");
  if (self->count == self->room) {
    self->room = self->room ? 2 * self->room : 1024;
    self->items = realloc(self->items, self->room * sizeof *self->items);
    bench_require(self->items, "Out of memory.");
  }
  Item* const item = &self->items[self->count++];
  item->tick = tick;
  memcpy(item->bytes, bytes, ITEM_SIZE);
}

static void commit_array(void* data)
{
  (void)data;
}

static const void* find_array(void* data, HrBranchId branch, HrTick tick, size_t* size)
{
  const Array* const self = data;
  size_t from = 0;
  size_t until = self->count;
  (void)branch;
  while (from < until) {
    const size_t middle = from + (until - from) / 2;
    if (self->items[middle].tick <= tick) {
      from = middle + 1;
    } else {
      until = middle;
    }
  }
  *size = ITEM_SIZE;
  return from ? self->items[from - 1].bytes : NULL;
}

static void each_array(void* data, HrBranchId branch, EngineVisit visit, void* visitor)
{
  const Array* const self = data;
  (void)branch;
  for (size_t i = 0; i < self->count; ++i) {
    visit(visitor, self->items[i].tick, self->items[i].bytes, ITEM_SIZE);
  }
}

static void close_array(void* data)
{
  free(((Array*)data)->items);
}

const Engine engines[ENGINES] = {
    [ENGINE_LMDB] = {"LMDB", "liblmdb-dev", false, open_lmdb, put_lmdb, commit_lmdb, find_lmdb,
                     each_lmdb, close_lmdb},
    [ENGINE_SQLITE] = {"SQLite", "libsqlite3-dev", false, open_sqlite, put_sqlite, commit_sqlite,
                       find_sqlite, each_sqlite, close_sqlite},
    [ENGINE_ROCKSDB] = {"RocksDB", "librocksdb-dev", false, open_rocks, put_rocks, commit_rocks,
                        find_rocks, each_rocks, close_rocks},
    [ENGINE_LEVELDB] = {"LevelDB", "libleveldb-dev", false, open_level, put_level, commit_level,
                        find_level, each_level, close_level},
    [ENGINE_ARRAY] = {"array", NULL, true, open_array, put_array, commit_array, find_array,
                      each_array, close_array},
};
