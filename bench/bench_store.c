/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* The store as a keeper of bytes, side by side with what else could keep them:
 * bench_store [ingest|size|scan|replay]...
 *
 *   ingest   Music that lies ready goes into the store, unsynced, in transactions of
 *            2 MiB; the same to the peers (peers.h), in turn, each turn a new file.
 *            Timed until all has been handed to the system. Ours makes nodes of it,
 *            with checksums and checkpoints; the peers keep the bytes as they are.
 *   size     What the file takes an event, all of it, after that; and after the same
 *            is recorded live, 100 events a second and a commit every 0.7 s. And the
 *            MIDI file of that.
 *   scan     A path of 1 GiB is read in place, each event's 8 bytes summed up, with
 *            checksums on, as the plugin and the tool read; and through LMDB alone,
 *            without. Beside it memchr over the file's bytes in memory, which finds
 *            nothing. Warm.
 *   replay   The same path, none of it in memory, is read as the worker does: as much
 *            as a ring holds, and again some time later; with and without asking for
 *            what comes next (hr_path_will_need). Timed: what the worker waits. */

#include "bench/bench.h"
#include "bench/peers.h"
#include "store/internal.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
  BATCH = 512 * PEER_BLOB_WORDS, ///< Events in one transaction: 2 MiB
  BATCHES = 48,
  TURNS = 5,
  TICKS_APART = 4096,
  LIVE_EVENTS = 1000000,
  LIVE_COMMIT = 70,
  SCANS = 15,
  RING_EVENTS = 6500, ///< What a stream's ring holds
  WINDOW_NODES = 32,  ///< Asked for ahead, as the plugin does
  FILLS = 200,        ///< Of a ring, in one cold replay
  ABSENT = 0xfd,
};

enum { OURS = PEERS, CONTENDERS };

/** The branch with the music, as a store of the bench has one. */
#define SCANNED hr_branch_id(1, 1)

static HrWord music[BATCH];
static double rates[CONTENDERS][TURNS]; ///< Million events a second

/** Notes begin and end, with a controller among them now and then. */
static void compose(void)
{
  for (uint32_t i = 0; i < BATCH; ++i) {
    const uint8_t key = (uint8_t)(36 + i / 2 * 7 % 60);
    const uint8_t velocity = (uint8_t)(1 + i * 31 % 127);
    music[i] = i % 8 == 7 ? (HrWord){i * TICKS_APART / 4, 3, {0xb0, 1, velocity}}
                          : (HrWord){i * TICKS_APART / 4, 3, {i % 2 ? 0x80 : 0x90, key, velocity}};
  }
}

static HrTick base_of(unsigned batch)
{
  return (HrTick)batch * BATCH * (TICKS_APART / 4);
}

static double seconds_since(uint64_t begun)
{
  return bench_ns((double)(bench_clock() - begun)) / 1e9;
}

/* ---- Our store --------------------------------------------------------------- */

typedef struct {
  HrStore* store;
  HrBranchId branch;
} Ours;

static HrTxn* begin(HrStore* store, HrTxnMode mode)
{
  HrTxn* txn;
  bench_require(!hr_txn_begin(store, mode, &txn), "No transaction begins.");
  return txn;
}

static void commit(HrTxn* txn)
{
  bench_require(!hr_txn_commit(txn), "A transaction is not committed.");
}

static void* open_ours(const char* path)
{
  static Ours self;
  HrTreeId tree;
  HrError error;
  bench_require(!hr_store_open(path, HR_STORE_CREATE | HR_STORE_UNSYNCED, &self.store, &error),
                error.text);
  HrTxn* const txn = begin(self.store, HR_WRITE);
  bench_require(!hr_tree_create(txn, "music", 0, &tree), "No tree is made.");
  commit(txn);
  self.branch = hr_branch_id(tree, 1);
  return &self;
}

static void append_ours(void* data, HrTick base, const HrWord* words, size_t count)
{
  const Ours* const self = data;
  HrTxn* const txn = begin(self->store, HR_WRITE);
  bench_require(!hr_append_words(txn, self->branch, base, words, count, NULL),
                "The store does not take the music.");
  commit(txn);
}

static void close_ours(void* data)
{
  hr_store_close(((Ours*)data)->store);
}

static const Peer ours = {"HalfRemembered", NULL, open_ours, append_ours, NULL, close_ours};

static const Peer* contender(unsigned who)
{
  return who == OURS ? &ours : &peers[who];
}

/* ---- Files -------------------------------------------------------------------- */

static int remove_entry(const char* path, const struct stat* info, int type, struct FTW* where)
{
  (void)info;
  (void)type;
  (void)where;
  return remove(path);
}

/** A path where nothing is any more. */
static const char* fresh_path(const char* name)
{
  char lock[64];
  const char* const path = bench_path(name);
  snprintf(lock, sizeof lock, "%s-lock", name);
  nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
  unlink(bench_path(lock));
  return path;
}

static double file_bytes(const char* path)
{
  struct stat info;
  bench_require(!stat(path, &info), "A file is gone.");
  return (double)info.st_size;
}

/** What the file takes on the disk, or its size if that is more. */
static double disk_bytes(const char* path)
{
  struct stat info;
  bench_require(!stat(path, &info), "A file is gone.");
  const double taken = (double)info.st_blocks * 512;
  return taken > (double)info.st_size ? taken : (double)info.st_size;
}

/* ---- Ingest --------------------------------------------------------------------- */

static double ingest(const Peer* peer)
{
  void* const self = peer->open(fresh_path("ingested"));
  const uint64_t begun = bench_clock();
  for (unsigned batch = 0; batch < BATCHES; ++batch) {
    peer->append(self, base_of(batch), music, BATCH);
  }
  if (peer->finish) {
    peer->finish(self);
  }
  const double seconds = seconds_since(begun);
  peer->close(self);
  return (double)BATCH * BATCHES / seconds / 1e6;
}

/** Ours against `peer`, turn by turn. */
static BenchSpread ratio_to(unsigned peer)
{
  double ratios[TURNS];
  for (unsigned turn = 0; turn < TURNS; ++turn) {
    ratios[turn] = rates[OURS][turn] / rates[peer][turn];
  }
  return bench_spread(ratios, TURNS);
}

static void print_bar(const char* what, unsigned peer, double bar)
{
  const double ratio = ratio_to(peer).median;
  printf("Bar: %s %s at least %.1f: %.2f. %s\n", what, peers[peer].name, bar, ratio,
         ratio >= bar ? "Met." : "Missed.");
}

static void measure_ingest(void)
{
  for (unsigned turn = 0; turn < TURNS; ++turn) {
    for (unsigned i = 0; i < CONTENDERS; ++i) {
      const unsigned who = (turn + i) % CONTENDERS;
      rates[who][turn] = ingest(contender(who));
    }
  }
  printf("Ingest of %u events, %u in a transaction, %u turns\n", BATCH * BATCHES, BATCH, TURNS);
  printf("%-18s %26s %24s  %s\n", "", "million events a second", "ours, times as fast", "");
  for (unsigned i = 0; i < CONTENDERS; ++i) {
    const BenchSpread rate = bench_spread(rates[i], TURNS);
    const BenchSpread ratio = ratio_to(i);
    printf("%-18s %8.1f (%6.1f to %6.1f) %8.2f (%5.2f to %5.2f)  %s\n", contender(i)->name,
           rate.median, rate.least, rate.most, ratio.median, ratio.least, ratio.most,
           contender(i)->package ? bench_package_version(contender(i)->package) : "");
    bench_data("ingest", contender(i)->name, "ingest", "million events/s", rate);
    bench_data("ingest", contender(i)->name, "ours, times as fast", "", ratio);
  }
  const unsigned rocksdb = ratio_to(PEER_ROCKSDB).median < ratio_to(PEER_ROCKSDB_NOLOG).median
                               ? PEER_ROCKSDB
                               : PEER_ROCKSDB_NOLOG;
  print_bar("against", PEER_WRITE, 0.5);
  print_bar("against", PEER_WRITE_BLOBS, 0.5);
  print_bar("against", PEER_SQLITE, 3.0);
  print_bar("against the faster,", rocksdb, 4.0);
  print_bar("against", PEER_LMDB, 8.0);
}

/* ---- Size ------------------------------------------------------------------------- */

/** Record as the plugin does; returns the bytes on the disk. */
static double record_live(const char* path)
{
  const Ours* const self = open_ours(path);
  for (uint32_t done = 0; done < LIVE_EVENTS;) {
    HrTxn* const txn = begin(self->store, HR_WRITE);
    const uint32_t at = done % BATCH;
    const HrSpan span = {.words = music + at,
                         .count = BATCH - at < LIVE_COMMIT ? BATCH - at : LIVE_COMMIT,
                         .base = base_of(done / BATCH)};
    uint32_t index = 0;
    HrEvent event;
    while (done < LIVE_EVENTS && hr_span_next(&span, &index, &event)) {
      bench_require(!hr_append(txn, self->branch, &event, NULL), "The store does not take it.");
      ++done;
    }
    commit(txn);
  }
  hr_store_close(self->store);
  return disk_bytes(path);
}

/** The tool lies beside the bundle. */
static double export_midi(const char* store)
{
  char command[8192];
  const char* const file = fresh_path("live.mid");
  snprintf(command, sizeof command,
           "%s/../halfremembered --store %s --tree music export main %s >/dev/null", HR_TEST_BUNDLE,
           store, file);
  bench_require(!system(command), "The tool does not export the music.");
  return file_bytes(file);
}

static void measure_size(void)
{
  const char* const bulk = fresh_path("bulk.hr");
  const char* const live = fresh_path("live.hr");
  void* const self = open_ours(bulk);
  for (unsigned batch = 0; batch < BATCHES; ++batch) {
    append_ours(self, base_of(batch), music, BATCH);
  }
  close_ours(self);
  const double in_bulk = disk_bytes(bulk) / ((double)BATCH * BATCHES);
  const double recorded = record_live(live) / LIVE_EVENTS;
  const double midi = export_midi(live) / LIVE_EVENTS;
  printf(
      "\nBytes an event, on the disk, all of it: %.3f in bulk, %.3f of %u recorded live; as a MIDI "
      "file %.3f\n",
      in_bulk, recorded, LIVE_EVENTS, midi);
  bench_data("size", "in bulk", "size", "bytes/event", (BenchSpread){in_bulk, in_bulk, in_bulk});
  bench_data("size", "recorded live", "size", "bytes/event",
             (BenchSpread){recorded, recorded, recorded});
  bench_data("size", "MIDI file of it", "size", "bytes/event", (BenchSpread){midi, midi, midi});
  printf("Bar: at most 8.5. %s\n", in_bulk <= 8.5 && recorded <= 8.5 ? "Met." : "Missed.");
  unlink(bulk);
}

/* ---- Scan --------------------------------------------------------------------------- */

static uint64_t sum_words(const HrWord* words, uint32_t count)
{
  uint64_t sum = 0;
  for (uint32_t i = 0; i < count; ++i) {
    uint64_t word;
    memcpy(&word, words + i, sizeof word);
    sum += word;
  }
  return sum;
}

static uint64_t scan_path(HrStore* store, HrBranchId branch)
{
  HrTxn* const txn = begin(store, HR_READ);
  HrPath path;
  HrSpan span;
  uint64_t sum = 0;
  bench_require(!hr_path_open(txn, branch, INT64_MIN, &path), "A path does not open.");
  while (!hr_path_next_span(&path, &span)) {
    sum += sum_words(span.words, span.count);
  }
  hr_path_close(&path);
  hr_txn_abort(txn);
  return sum;
}

/** The same words, as LMDB hands them out. */
static uint64_t scan_lmdb(MDB_env* env)
{
  MDB_txn* txn;
  MDB_dbi nodes;
  MDB_cursor* cursor;
  MDB_val key, value;
  uint64_t sum = 0;
  bench_require(!mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) &&
                    !mdb_dbi_open(txn, "nodes", 0, &nodes) && !mdb_cursor_open(txn, nodes, &cursor),
                "LMDB does not read the store.");
  while (!mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
    for (uint32_t i = 0; i < hr_extent_nodes(&key); ++i) {
      const HrNodeHeader* const node = hr_extent_node(&key, &value, i).mv_data;
      sum += sum_words((const HrWord*)(node + 1), node->word_count);
    }
  }
  mdb_cursor_close(cursor);
  mdb_txn_abort(txn);
  return sum;
}

/** The file's bytes in memory, but that ABSENT is not among them. */
static uint8_t* map_without(const char* path, size_t size)
{
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  uint8_t* const bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  bench_require(bytes != MAP_FAILED, "A file cannot be mapped.");
  close(fd);
  for (size_t i = 0; i < size; ++i) {
    if (bytes[i] == ABSENT) {
      bytes[i] = 0;
    }
  }
  return bytes;
}

static MDB_env* open_plain(const char* path)
{
  MDB_env* env;
  bench_require(!mdb_env_create(&env) && !mdb_env_set_maxdbs(env, 8) &&
                    !mdb_env_set_mapsize(env, (size_t)1 << 40) &&
                    !mdb_env_open(env, path, MDB_NOSUBDIR | MDB_RDONLY | MDB_NOLOCK, 0600),
                "LMDB does not open the store.");
  return env;
}

typedef enum { SCAN_PATH, SCAN_LMDB, SCAN_MEMCHR, SCAN_KINDS } ScanKind;

/** The path of a store with 1 GiB of music on one branch, made if it is not there. */
static const char* scanned(void)
{
  const unsigned batches = (1u << 27) / BATCH + 1;
  const char* const path = bench_path("scanned.hr");
  if (access(path, F_OK)) {
    void* const self = open_ours(path);
    for (unsigned batch = 0; batch < batches; ++batch) {
      append_ours(self, base_of(batch), music, BATCH);
    }
    close_ours(self);
  }
  return path;
}

static void measure_scan(void)
{
  static const char* const names[SCAN_KINDS] = {"path, checksums on", "LMDB, no checksums",
                                                "memchr"};
  const char* const path = scanned();
  const char* const copy = fresh_path("scanned-plain.hr");
  double gigabytes[SCAN_KINDS][SCANS];
  double ratios[SCAN_KINDS][SCANS];
  HrStore* store;
  bench_require(!hr_store_open(path, 0, &store, NULL), "The store does not open.");
  const size_t size = (size_t)file_bytes(path);
  uint8_t* const bytes = map_without(path, size);
  /* Another name would be the same file, which LMDB may not open twice: a link is. */
  bench_require(!link(path, copy), "No second name can be given.");
  MDB_env* const env = open_plain(copy);
  const uint64_t expected = scan_path(store, SCANNED);
  bench_require(scan_lmdb(env) >= expected, "The scans do not see the same.");
  for (unsigned i = 0; i < SCANS; ++i) {
    for (unsigned kind = 0; kind < SCAN_KINDS; ++kind) {
      const uint64_t begun = bench_clock();
      bool right = true;
      if (kind == SCAN_PATH) {
        right = scan_path(store, SCANNED) == expected;
      } else if (kind == SCAN_LMDB) {
        right = scan_lmdb(env) > 0;
      } else {
        right = !memchr(bytes, ABSENT, size);
      }
      const double seconds = seconds_since(begun);
      bench_require(right, "A scan does not see what it should.");
      gigabytes[kind][i] = (double)size / seconds / 1e9;
    }
    for (unsigned kind = 0; kind < SCAN_KINDS; ++kind) {
      ratios[kind][i] = gigabytes[kind][i] / gigabytes[SCAN_MEMCHR][i];
    }
  }
  printf("\nWarm scan of %.2f GB, %u times\n", (double)size / 1e9, SCANS);
  for (unsigned kind = 0; kind < SCAN_KINDS; ++kind) {
    const BenchSpread rate = bench_spread(gigabytes[kind], SCANS);
    const BenchSpread ratio = bench_spread(ratios[kind], SCANS);
    printf("%-20s %6.2f GB/s (%5.2f to %5.2f), %5.2f times memchr (%4.2f to %4.2f)\n", names[kind],
           rate.median, rate.least, rate.most, ratio.median, ratio.least, ratio.most);
    bench_data("scan", names[kind], "scan", "GB/s", rate);
    bench_data("scan", names[kind], "of memchr", "times", ratio);
  }
  printf("Bar: at least 0.6 times memchr. With checksums: %s Without: %s\n",
         bench_spread(ratios[SCAN_PATH], SCANS).median >= 0.6 ? "met." : "missed.",
         bench_spread(ratios[SCAN_LMDB], SCANS).median >= 0.6 ? "met." : "missed.");
  mdb_env_close(env);
  munmap(bytes, size);
  hr_store_close(store);
}

/* ---- Replay ------------------------------------------------------------------------ */

static void drop_from_memory(const char* path)
{
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  bench_require(fd >= 0 && !fdatasync(fd) && !posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED),
                "A file cannot be dropped from memory.");
  close(fd);
}

/** Fill a ring once; returns the tick to go on from. */
static HrTick read_ring_full(HrStore* store, HrTick from, bool ask)
{
  HrTxn* const txn = begin(store, HR_READ);
  HrPath path;
  HrEvent event = {.tick = from};
  if (ask) {
    hr_path_will_need(txn, SCANNED, from, WINDOW_NODES);
  }
  bench_require(!hr_path_open(txn, SCANNED, from, &path), "A path does not open.");
  for (unsigned i = 0; i < RING_EVENTS; ++i) {
    bench_require(!hr_path_next(&path, &event), "A path ends early.");
  }
  hr_path_close(&path);
  hr_txn_abort(txn);
  return event.tick;
}

static void replay_cold(const char* path, HrTick from, bool ask, BenchTimes* times)
{
  const struct timespec pause = {.tv_nsec = 5000000};
  HrStore* store;
  drop_from_memory(path);
  bench_require(!hr_store_open(path, 0, &store, NULL), "The store does not open.");
  for (unsigned i = 0; i < FILLS; ++i) {
    const uint64_t begun = bench_clock();
    from = read_ring_full(store, from, ask);
    bench_times_add(times, bench_clock() - begun);
    nanosleep(&pause, NULL);
  }
  hr_store_close(store);
}

static void measure_cold_replay(void)
{
  enum { REPLAYS = 4 };
  const char* const path = scanned();
  BenchTimes times[2] = {{0}, {0}};
  bench_times_begin(&times[0], (size_t)REPLAYS * FILLS);
  bench_times_begin(&times[1], (size_t)REPLAYS * FILLS);
  for (unsigned i = 0; i < 2 * REPLAYS; ++i) {
    replay_cold(path, base_of(8 + 40 * i), i % 2, &times[i % 2]);
  }
  printf("\nCold replay: reading %u events, %u times, while nothing of the file is in memory\n",
         RING_EVENTS, REPLAYS * FILLS);
  for (unsigned ask = 0; ask < 2; ++ask) {
    bench_times_sort(&times[ask]);
    printf("%-20s median %6.0f us, 99 %% %6.0f us, worst %6.0f us\n",
           ask ? "asked for ahead" : "not asked for", bench_times_ns(&times[ask], 0.5) / 1e3,
           bench_times_ns(&times[ask], 0.99) / 1e3, bench_times_ns(&times[ask], 1.0) / 1e3);
    bench_data("cold-replay", ask ? "asked for ahead" : "not asked for", "fill a ring", "ns",
               bench_times_spread(&times[ask]));
    bench_times_free(&times[ask]);
  }
}

int main(int argc, char** argv)
{
  static const BenchPart parts[] = {{"ingest", measure_ingest},
                                    {"size", measure_size},
                                    {"scan", measure_scan},
                                    {"replay", measure_cold_replay}};
  bench_begin("The store, beside what else could keep the music");
  compose();
  bench_run_parts(parts, sizeof parts / sizeof *parts, argc, argv);
  return 0;
}
