/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "bench/peers.h"

#include "bench/bench.h"

#include <endian.h>
#include <fcntl.h>
#include <lmdb.h>
#include <rocksdb/c.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

enum { BLOB = PEER_BLOB_WORDS * sizeof(HrWord) };

/** A branch and a tick, so that bytes sort as numbers. */
typedef struct {
  uint64_t branch;
  uint64_t tick;
} Key;

static Key make_key(HrTick tick)
{
  return (Key){htobe64(1), htobe64((uint64_t)tick)};
}

/* ---- write() ------------------------------------------------------------- */

static void* open_file(const char* path)
{
  static int fd;
  fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  bench_require(fd >= 0, "A file cannot be made.");
  return &fd;
}

static void write_pieces(const int* fd, const HrWord* words, size_t count, size_t piece)
{
  const uint8_t* const bytes = (const uint8_t*)words;
  const size_t size = count * sizeof *words;
  for (size_t at = 0; at < size; at += piece) {
    const size_t part = size - at < piece ? size - at : piece;
    bench_require(write(*fd, bytes + at, part) == (ssize_t)part, "A file cannot be written.");
  }
}

static void write_mebibytes(void* self, HrTick base, const HrWord* words, size_t count)
{
  (void)base;
  write_pieces(self, words, count, 1 << 20);
}

static void write_blobs(void* self, HrTick base, const HrWord* words, size_t count)
{
  (void)base;
  write_pieces(self, words, count, BLOB);
}

static void close_file(void* self)
{
  close(*(const int*)self);
}

/* ---- SQLite ------------------------------------------------------------------ */

typedef struct {
  sqlite3* db;
  sqlite3_stmt* insert;
} Sqlite;

static void run_sql(sqlite3* db, const char* sql)
{
  bench_require(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, sqlite3_errmsg(db));
}

/** Pages of 4 KiB: a row is more than a quarter of 16 KiB, and would take another of
 * those for itself. */
static void* open_sqlite(const char* path)
{
  static Sqlite self;
  self = (Sqlite){0};
  bench_require(sqlite3_open(path, &self.db) == SQLITE_OK, "SQLite does not open.");
  run_sql(self.db, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
                   "PRAGMA locking_mode = EXCLUSIVE;"
                   "CREATE TABLE nodes (branch INTEGER, tick INTEGER, words BLOB,"
                   " PRIMARY KEY (branch, tick)) WITHOUT ROWID");
  bench_require(sqlite3_prepare_v2(self.db, "INSERT INTO nodes VALUES (1, ?, ?)", -1, &self.insert,
                                   NULL) == SQLITE_OK,
                sqlite3_errmsg(self.db));
  return &self;
}

static void append_sqlite(void* data, HrTick base, const HrWord* words, size_t count)
{
  const Sqlite* const self = data;
  run_sql(self->db, "BEGIN");
  for (size_t i = 0; i < count; i += PEER_BLOB_WORDS) {
    sqlite3_bind_int64(self->insert, 1, base + words[i].offset);
    sqlite3_bind_blob(self->insert, 2, words + i, BLOB, SQLITE_STATIC);
    bench_require(sqlite3_step(self->insert) == SQLITE_DONE, sqlite3_errmsg(self->db));
    sqlite3_reset(self->insert);
  }
  run_sql(self->db, "COMMIT");
}

static void close_sqlite(void* data)
{
  const Sqlite* const self = data;
  sqlite3_finalize(self->insert);
  sqlite3_close(self->db);
}

/* ---- RocksDB ----------------------------------------------------------------- */

typedef struct {
  rocksdb_t* db;
  rocksdb_options_t* options;
  rocksdb_writeoptions_t* how;
} Rocksdb;

static Rocksdb* open_rocksdb(const char* path, bool load)
{
  static Rocksdb self;
  self = (Rocksdb){0};
  char* error = NULL;
  self.options = rocksdb_options_create();
  self.how = rocksdb_writeoptions_create();
  rocksdb_options_set_create_if_missing(self.options, 1);
  rocksdb_options_increase_parallelism(self.options, (int)sysconf(_SC_NPROCESSORS_ONLN));
  rocksdb_options_set_compression(self.options, rocksdb_no_compression);
  if (load) {
    rocksdb_options_prepare_for_bulk_load(self.options);
    rocksdb_options_set_allow_concurrent_memtable_write(self.options, 0);
    rocksdb_writeoptions_disable_WAL(self.how, 1);
  }
  self.db = rocksdb_open(self.options, path, &error);
  bench_require(!error, error);
  return &self;
}

static void* open_rocksdb_with_log(const char* path)
{
  return open_rocksdb(path, false);
}

static void* open_rocksdb_for_load(const char* path)
{
  return open_rocksdb(path, true);
}

static void append_rocksdb(void* data, HrTick base, const HrWord* words, size_t count)
{
  const Rocksdb* const self = data;
  char* error = NULL;
  rocksdb_writebatch_t* const batch = rocksdb_writebatch_create();
  for (size_t i = 0; i < count; i += PEER_BLOB_WORDS) {
    const Key key = make_key(base + words[i].offset);
    rocksdb_writebatch_put(batch, (const char*)&key, sizeof key, (const char*)(words + i), BLOB);
  }
  rocksdb_write(self->db, self->how, batch, &error);
  bench_require(!error, error);
  rocksdb_writebatch_destroy(batch);
}

static void flush_rocksdb(void* data)
{
  const Rocksdb* const self = data;
  char* error = NULL;
  rocksdb_flushoptions_t* const options = rocksdb_flushoptions_create();
  rocksdb_flush(self->db, options, &error);
  bench_require(!error, error);
  rocksdb_flushoptions_destroy(options);
}

static void close_rocksdb(void* data)
{
  const Rocksdb* const self = data;
  rocksdb_close(self->db);
  rocksdb_writeoptions_destroy(self->how);
  rocksdb_options_destroy(self->options);
}

/* ---- LMDB ---------------------------------------------------------------------- */

typedef struct {
  MDB_env* env;
  uint64_t next; ///< Tells events of one tick apart
} Lmdb;

static void require_lmdb(int code)
{
  bench_require(!code, mdb_strerror(code));
}

static void* open_lmdb(const char* path)
{
  static Lmdb self;
  self = (Lmdb){0};
  require_lmdb(mdb_env_create(&self.env));
  require_lmdb(mdb_env_set_mapsize(self.env, (size_t)1 << 40));
  require_lmdb(mdb_env_open(self.env, path, MDB_NOSUBDIR | MDB_NOSYNC | MDB_NORDAHEAD, 0600));
  return &self;
}

static void append_lmdb(void* data, HrTick base, const HrWord* words, size_t count)
{
  Lmdb* const self = data;
  MDB_txn* txn;
  MDB_dbi dbi;
  MDB_cursor* cursor;
  require_lmdb(mdb_txn_begin(self->env, NULL, 0, &txn));
  require_lmdb(mdb_dbi_open(txn, NULL, 0, &dbi));
  require_lmdb(mdb_cursor_open(txn, dbi, &cursor));
  for (size_t i = 0; i < count; ++i) {
    struct {
      Key key;
      uint64_t ordinal;
    } event = {make_key(base + words[i].offset), htobe64(self->next++)};
    MDB_val key = {sizeof event, &event};
    MDB_val value = {sizeof *words, (void*)(words + i)};
    require_lmdb(mdb_cursor_put(cursor, &key, &value, MDB_APPEND));
  }
  mdb_cursor_close(cursor);
  require_lmdb(mdb_txn_commit(txn));
}

static void close_lmdb(void* data)
{
  const Lmdb* const self = data;
  mdb_env_close(self->env);
}

const Peer peers[PEERS] = {
    [PEER_WRITE] = {"write(), 1 MiB", NULL, open_file, write_mebibytes, NULL, close_file},
    [PEER_WRITE_BLOBS] = {"write(), a page", NULL, open_file, write_blobs, NULL, close_file},
    [PEER_SQLITE] = {"SQLite, blobs", "libsqlite3-dev", open_sqlite, append_sqlite, NULL,
                     close_sqlite},
    [PEER_ROCKSDB] = {"RocksDB, blobs", "librocksdb-dev", open_rocksdb_with_log, append_rocksdb,
                      NULL, close_rocksdb},
    [PEER_ROCKSDB_NOLOG] = {"RocksDB, no log", "librocksdb-dev", open_rocksdb_for_load,
                            append_rocksdb, flush_rocksdb, close_rocksdb},
    [PEER_LMDB] = {"LMDB, events", "liblmdb-dev", open_lmdb, append_lmdb, NULL, close_lmdb},
};
