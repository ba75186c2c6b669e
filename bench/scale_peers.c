/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "bench/scale_peers.h"

#include "bench/bench.h"

#include <endian.h>
#include <rocksdb/c.h>
#include <sqlite3.h>
#include <string.h>

enum { NODES_A_BATCH = 20000 };

/** Give every node of tree 1, branch by branch, with its key. */
static void each_node(HrStore* store,
                      void (*take)(void* data, HrBranchId branch, HrTick tick, const void* bytes,
                                   size_t size),
                      void* data)
{
  HrBranch branch = {0};
  HrTxn* txn = NULL;
  bench_require(!hr_txn_begin(store, HR_READ, &txn), "The store cannot be read.");
  while (!hr_branch_next(txn, 1, hr_branch_number(branch.id), &branch)) {
    HrPath path;
    HrSpan span;
    bench_require(!hr_path_open(txn, branch.id, branch.fork_tick, &path),
                  "The store cannot be read.");
    while (!hr_path_next_span(&path, &span)) {
      take(data, branch.id, span.base, span.node,
           sizeof *span.node + span.node->word_count * sizeof(HrWord));
    }
    hr_path_close(&path);
  }
  hr_txn_abort(txn);
}

static volatile uint8_t seen; ///< So that what was found is looked at

static bool look(const void* bytes, size_t size)
{
  seen = size ? ((const uint8_t*)bytes)[size - 1] : 0;
  return size > 0;
}

/* ---- SQLite ------------------------------------------------------------------ */

typedef struct {
  sqlite3* database;
  sqlite3_stmt* statement;
  unsigned batched;
} Sqlite;

static void sqlite_do(Sqlite* self, const char* sql)
{
  bench_require(sqlite3_exec(self->database, sql, NULL, NULL, NULL) == SQLITE_OK,
                sqlite3_errmsg(self->database));
}

static Sqlite* sqlite_connect(const char* path, const char* sql)
{
  static Sqlite only; // Of one at a time
  Sqlite* const self = &only;
  *self = (Sqlite){0};
  bench_require(sqlite3_open(path, &self->database) == SQLITE_OK,
                "SQLite's database cannot be opened.");
  sqlite_do(self, "CREATE TABLE IF NOT EXISTS nodes (branch INTEGER, tick INTEGER, node BLOB,"
                  " PRIMARY KEY (branch, tick)) WITHOUT ROWID");
  bench_require(sqlite3_prepare_v2(self->database, sql, -1, &self->statement, NULL) == SQLITE_OK,
                sqlite3_errmsg(self->database));
  return self;
}

static void sqlite_close(void* data)
{
  Sqlite* const self = data;
  sqlite3_finalize(self->statement);
  sqlite3_close(self->database);
}

static void sqlite_take(void* data, HrBranchId branch, HrTick tick, const void* bytes, size_t size)
{
  Sqlite* const self = data;
  if (++self->batched % NODES_A_BATCH == 0) {
    sqlite_do(self, "COMMIT; BEGIN");
  }
  sqlite3_bind_int64(self->statement, 1, (sqlite3_int64)branch);
  sqlite3_bind_int64(self->statement, 2, tick);
  sqlite3_bind_blob(self->statement, 3, bytes, (int)size, SQLITE_STATIC);
  bench_require(sqlite3_step(self->statement) == SQLITE_DONE, sqlite3_errmsg(self->database));
  sqlite3_reset(self->statement);
}

static void sqlite_make(const char* path, HrStore* store)
{
  Sqlite* const self = sqlite_connect(path, "INSERT INTO nodes VALUES (?, ?, ?)");
  sqlite_do(self, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN");
  each_node(store, sqlite_take, self);
  sqlite_do(self, "COMMIT");
  sqlite_close(self);
}

static void* sqlite_open(const char* path)
{
  return sqlite_connect(path, "SELECT node FROM nodes WHERE branch = ? AND tick <= ?"
                              " ORDER BY tick DESC LIMIT 1");
}

static void* sqlite_open_mapped(const char* path)
{
  Sqlite* const self = sqlite_open(path);
  sqlite_do(self, "PRAGMA mmap_size = 1099511627776"); // As much as it was built to allow
  return self;
}

static bool sqlite_seek(void* data, HrBranchId branch, HrTick tick)
{
  Sqlite* const self = data;
  sqlite3_bind_int64(self->statement, 1, (sqlite3_int64)branch);
  sqlite3_bind_int64(self->statement, 2, tick);
  const bool found = sqlite3_step(self->statement) == SQLITE_ROW &&
                     look(sqlite3_column_blob(self->statement, 0),
                          (size_t)sqlite3_column_bytes(self->statement, 0));
  sqlite3_reset(self->statement);
  return found;
}

/* ---- RocksDB ----------------------------------------------------------------- */

typedef struct {
  rocksdb_t* database;
  rocksdb_options_t* options;
  rocksdb_writeoptions_t* unlogged;
  rocksdb_readoptions_t* reading;
} Rocks;

/** Keys that sort as (branch, tick). No tick of these stores is negative. */
static void rocks_key(char key[16], HrBranchId branch, HrTick tick)
{
  const uint64_t b = htobe64(branch);
  const uint64_t t = htobe64((uint64_t)tick);
  memcpy(key, &b, sizeof b);
  memcpy(key + 8, &t, sizeof t);
}

/** Its defaults, and a Bloom filter. */
static void* rocks_open(const char* path)
{
  char* error = NULL;
  static Rocks only; // Of one at a time
  Rocks* const self = &only;
  rocksdb_block_based_table_options_t* const table = rocksdb_block_based_options_create();
  rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(10));
  self->options = rocksdb_options_create();
  rocksdb_options_set_create_if_missing(self->options, 1);
  rocksdb_options_set_block_based_table_factory(self->options, table);
  rocksdb_block_based_options_destroy(table);
  self->unlogged = rocksdb_writeoptions_create();
  rocksdb_writeoptions_disable_WAL(self->unlogged, 1);
  self->reading = rocksdb_readoptions_create();
  self->database = rocksdb_open(self->options, path, &error);
  bench_require(!error, error);
  return self;
}

static void rocks_close(void* data)
{
  Rocks* const self = data;
  rocksdb_close(self->database);
  rocksdb_readoptions_destroy(self->reading);
  rocksdb_writeoptions_destroy(self->unlogged);
  rocksdb_options_destroy(self->options);
}

static void rocks_take(void* data, HrBranchId branch, HrTick tick, const void* bytes, size_t size)
{
  Rocks* const self = data;
  char* error = NULL;
  char key[16];
  rocks_key(key, branch, tick);
  rocksdb_put(self->database, self->unlogged, key, sizeof key, bytes, size, &error);
  bench_require(!error, error);
}

static void rocks_make(const char* path, HrStore* store)
{
  Rocks* const self = rocks_open(path);
  char* error = NULL;
  each_node(store, rocks_take, self);
  rocksdb_flushoptions_t* const wait = rocksdb_flushoptions_create();
  rocksdb_flush(self->database, wait, &error);
  bench_require(!error, error);
  rocksdb_flushoptions_destroy(wait);
  rocks_close(self);
}

static bool rocks_seek(void* data, HrBranchId branch, HrTick tick)
{
  Rocks* const self = data;
  char key[16];
  size_t size = 0;
  rocks_key(key, branch, tick);
  rocksdb_iterator_t* const iterator = rocksdb_create_iterator(self->database, self->reading);
  rocksdb_iter_seek_for_prev(iterator, key, sizeof key);
  const void* const bytes =
      rocksdb_iter_valid(iterator) ? rocksdb_iter_value(iterator, &size) : NULL;
  const bool found = bytes && look(bytes, size);
  rocksdb_iter_destroy(iterator);
  return found;
}

const ScalePeer scale_peers[SCALE_PEERS] = {
    {"SQLite", "cold.sqlite", sqlite_make, sqlite_open, sqlite_seek, sqlite_close},
    {"SQLite, mapped", "cold.sqlite", sqlite_make, sqlite_open_mapped, sqlite_seek, sqlite_close},
    {"RocksDB", "cold.rocksdb", rocks_make, rocks_open, rocks_seek, rocks_close},
};
