/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Engines that could hold the music, or an index of it, side by side (keepers.h).
 * In every turn each keeper, in processes of its own:
 *
 *   takes     music that lies ready, unsynced, in transactions of 2 MB, until all is
 *             handed to the system
 *   records   live: 70 events to a commit, each commit synced. How many flushes of
 *             the disk one takes: each is a wait, and between two of them the power may go.
 *   finds     the node that holds a tick at random, and reads its first event, in a
 *             transaction of its own. Warm.
 *   reads     all nodes, each event's 8 bytes summed up. Warm, the second time.
 *   opens     and reads the first event: warm, and with nothing of it in memory.
 *   occupies  on disk, and in memory while it is read, what is mapped left out.
 *
 * HR_ENGINES_MB says how much music there is, in megabytes of events. */

#include "bench/bench.h"
#include "bench/keepers.h"
#include "bench/scale_cold.h"
#include "bench/store_maker.h"
#include "bench/syncs.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  TURNS = 3,
  RUN = 80 * HR_NODE_WORDS, ///< Events appended at once: whole nodes, offsets in 32 bits
  COMMIT_RUNS = 6,          ///< In a transaction: 2 MB
  DEFAULT_MB = 1000,
  LIVE_EVENTS = 70, ///< In a commit
  LIVE_COMMITS = 200,
  SEEKS = 20000,
};

_Static_assert((uint64_t)RUN* MAKER_TICKS_PER_EVENT <= UINT32_MAX, "offsets have 32 bits");

static const Keeper keepers[] = {
    {"HalfRemembered", NULL, false},
    {"LMDB, store", &engines[ENGINE_LMDB], false},
    {"SQLite, store", &engines[ENGINE_SQLITE], false},
    {"RocksDB, store", &engines[ENGINE_ROCKSDB], false},
    {"LevelDB, store", &engines[ENGINE_LEVELDB], false},
    {"LMDB, index", &engines[ENGINE_LMDB], true},
    {"SQLite, index", &engines[ENGINE_SQLITE], true},
    {"RocksDB, index", &engines[ENGINE_ROCKSDB], true},
    {"LevelDB, index", &engines[ENGINE_LEVELDB], true},
    {"log", &engines[ENGINE_ARRAY], true},
};
enum { KEEPERS = sizeof keepers / sizeof *keepers };

typedef enum {
  INGEST,
  COMMIT,
  COMMIT_99,
  FLUSHES,
  SIZE,
  SEEK,
  SEEK_99,
  SCAN,
  OPEN_WARM,
  OPEN_COLD,
  MEMORY,
  MEASURES
} Measure;

static const struct {
  const char *name, *unit;
} measures[MEASURES] = {
    [INGEST] = {"ingest", "million events/s"},
    [COMMIT] = {"live commit, median", "ms"},
    [COMMIT_99] = {"live commit, 99 %", "ms"},
    [FLUSHES] = {"flushes a live commit", ""},
    [SIZE] = {"on disk", "bytes/event"},
    [SEEK] = {"warm seek, median", "us"},
    [SEEK_99] = {"warm seek, 99 %", "us"},
    [SCAN] = {"warm scan", "GB/s"},
    [OPEN_WARM] = {"open and first event, warm", "ms"},
    [OPEN_COLD] = {"open and first event, cold", "ms"},
    [MEMORY] = {"memory of its own", "MB"},
};

static HrWord music[RUN];
static unsigned runs;                      ///< Of the music, in all
static double (*results)[TURNS][MEASURES]; ///< By keeper; shared with the children

static void compose(void)
{
  const char* const megabytes = getenv("HR_ENGINES_MB");
  const uint64_t events = (megabytes ? strtoull(megabytes, NULL, 10) : DEFAULT_MB) * 1000000 / 8;
  runs = (unsigned)(events / RUN / COMMIT_RUNS + 1) * COMMIT_RUNS;
  for (uint32_t i = 0; i < RUN; ++i) {
    const HrEvent event = maker_event(0, i, music[i].bytes);
    music[i].offset = (uint32_t)event.tick;
    music[i].length = 3;
  }
}

static uint64_t event_count(void)
{
  return (uint64_t)runs * RUN;
}

static HrTick base_of(unsigned run)
{
  return (HrTick)run * RUN * MAKER_TICKS_PER_EVENT;
}

static double ns_since(uint64_t begun)
{
  return bench_ns((double)(bench_clock() - begun));
}

/** An empty folder, all that was kept before gone. */
static const char* fresh_folder(void)
{
  const char* const folder = bench_path("kept");
  bench_remove(folder);
  bench_require(!mkdir(folder, 0700), "No folder can be made.");
  return folder;
}

/* ---- Writing --------------------------------------------------------------------- */

static void ingest(const Keeper* keeper, const char* folder, double values[MEASURES])
{
  void* const self = keeper_open(keeper, folder, ENGINE_LOAD);
  const uint64_t begun = bench_clock();
  for (unsigned run = 0; run < runs; ++run) {
    keeper_append(keeper, self, base_of(run), music, RUN);
    if (run % COMMIT_RUNS == COMMIT_RUNS - 1) {
      keeper_commit(keeper, self);
    }
  }
  values[INGEST] = (double)event_count() * 1e3 / ns_since(begun);
  keeper_close(keeper, self);
}

static void record_live(const Keeper* keeper, const char* folder, double values[MEASURES])
{
  BenchTimes times = {0};
  bench_times_begin(&times, LIVE_COMMITS);
  void* const self = keeper_open(keeper, folder, ENGINE_DURABLE);
  const uint64_t syncs = syncs_count();
  for (unsigned i = 0; i < LIVE_COMMITS; ++i) {
    const uint64_t begun = bench_clock();
    keeper_append(keeper, self, 0, music + i * LIVE_EVENTS, LIVE_EVENTS);
    keeper_commit(keeper, self);
    bench_times_add(&times, bench_clock() - begun);
  }
  values[FLUSHES] = (double)(syncs_count() - syncs) / LIVE_COMMITS;
  keeper_close(keeper, self);
  bench_times_sort(&times);
  values[COMMIT] = bench_times_ns(&times, 0.5) / 1e6;
  values[COMMIT_99] = bench_times_ns(&times, 0.99) / 1e6;
  bench_times_free(&times);
}

/* ---- Reading --------------------------------------------------------------------- */

/** End the program if a span does not begin with an event of the music, at or before
 * `tick` and within one node of it. */
static void check_found(const HrSpan* span, HrTick tick)
{
  HrWord word;
  uint8_t bytes[3];
  memcpy(&word, span->words, sizeof word);
  const HrTick found = span->base + word.offset;
  const uint64_t n = (uint64_t)found / MAKER_TICKS_PER_EVENT;
  maker_event(0, n % RUN, bytes);
  bench_require(found <= tick && tick - found < (HrTick)HR_NODE_WORDS * MAKER_TICKS_PER_EVENT &&
                    !memcmp(word.bytes, bytes, sizeof bytes),
                "What was found is not the music.");
}

static void seek(const Keeper* keeper, void* self, double values[MEASURES])
{
  BenchTimes times = {0};
  uint64_t random = 88172645463325252;
  bench_times_begin(&times, SEEKS);
  for (unsigned i = 0; i < 2 * SEEKS; ++i) {
    HrSpan span;
    const HrTick tick = (HrTick)(maker_random(&random) % event_count()) * MAKER_TICKS_PER_EVENT;
    const uint64_t begun = bench_clock();
    keeper_find(keeper, self, tick, &span);
    check_found(&span, tick);
    if (i >= SEEKS) {
      bench_times_add(&times, bench_clock() - begun);
    }
  }
  bench_times_sort(&times);
  values[SEEK] = bench_times_ns(&times, 0.5) / 1e3;
  values[SEEK_99] = bench_times_ns(&times, 0.99) / 1e3;
  bench_times_free(&times);
}

typedef struct {
  uint64_t words, sum;
} Sum;

static void add_up(void* data, const HrSpan* span)
{
  Sum* const total = data;
  uint64_t sum = 0;
  for (uint32_t i = 0; i < span->count; ++i) {
    uint64_t word;
    memcpy(&word, span->words + i, sizeof word);
    sum += word;
  }
  total->words += span->count;
  total->sum += sum;
}

static void scan(const Keeper* keeper, void* self, double values[MEASURES])
{
  Sum first = {0};
  Sum second = {0};
  keeper_each(keeper, self, add_up, &first);
  const uint64_t begun = bench_clock();
  keeper_each(keeper, self, add_up, &second);
  values[SCAN] = (double)(second.words * sizeof(HrWord)) / ns_since(begun);
  bench_require(second.words >= event_count() && second.sum == first.sum,
                "Not all of the music was read.");
}

/** Milliseconds; `*self` is open. */
static double open_to_first(const Keeper* keeper, const char* folder, void** self)
{
  HrSpan span;
  const uint64_t begun = bench_clock();
  *self = keeper_open(keeper, folder, ENGINE_READ);
  keeper_find(keeper, *self, 0, &span);
  check_found(&span, 0);
  return ns_since(begun) / 1e6;
}

/* ---- Room ------------------------------------------------------------------------ */

static double disk_bytes;

static int add_file(const char* path, const struct stat* info, int type, struct FTW* where)
{
  enum { BLOCK = 512 };
  (void)path;
  (void)type;
  (void)where;
  disk_bytes += (double)info->st_blocks * BLOCK;
  return 0;
}

/** What of this process's memory is of no file, in megabytes. */
static double own_memory(void)
{
  char line[256];
  unsigned long kilobytes = 0;
  FILE* const file = fopen("/proc/self/smaps_rollup", "re");
  while (file && fgets(line, sizeof line, file) &&
         sscanf(line, "Anonymous: %lu", &kilobytes) != 1) {
  }
  bench_require(file, "The system does not tell what memory is used.");
  fclose(file);
  return (double)kilobytes / 1e3;
}

/* ---- A turn ---------------------------------------------------------------------- */

static void measure_writing(const Keeper* keeper, double values[MEASURES])
{
  record_live(keeper, fresh_folder(), values);
  ingest(keeper, fresh_folder(), values);
}

static void measure_reading(const Keeper* keeper, double values[MEASURES])
{
  const char* const folder = bench_path("kept");
  const double before = own_memory();
  void* self;
  values[OPEN_WARM] = open_to_first(keeper, folder, &self);
  seek(keeper, self, values);
  scan(keeper, self, values);
  values[MEMORY] = own_memory() - before;
  keeper_close(keeper, self);
  cold_drop(folder);
  bench_require(cold_share(folder) < 0.01, "The files do not leave memory.");
  values[OPEN_COLD] = open_to_first(keeper, folder, &self);
  keeper_close(keeper, self);
  disk_bytes = 0.0;
  nftw(folder, add_file, 16, FTW_PHYS);
  values[SIZE] = disk_bytes / (double)event_count();
}

/** No keeper finds memory that another left behind, or itself when it wrote. */
static void in_process_of_its_own(void (*what)(const Keeper* keeper, double values[MEASURES]),
                                  unsigned who, unsigned turn)
{
  int status = 0;
  const pid_t child = fork();
  if (child == 0) {
    what(&keepers[who], results[who][turn]);
    _exit(EXIT_SUCCESS);
  }
  bench_require(child > 0 && waitpid(child, &status, 0) == child && !status,
                "A keeper did not come to an end.");
}

/* ---- Results --------------------------------------------------------------------- */

static BenchSpread spread_of(unsigned who, Measure measure)
{
  double values[TURNS];
  for (unsigned turn = 0; turn < TURNS; ++turn) {
    values[turn] = results[who][turn][measure];
  }
  return bench_spread(values, TURNS);
}

static void print_table(Measure from, Measure until)
{
  printf("\n%-15s", "");
  for (unsigned i = from; i < until; ++i) {
    printf(" %27s", measures[i].name);
  }
  printf("\n%-15s", "");
  for (unsigned i = from; i < until; ++i) {
    printf(" %27s", measures[i].unit);
  }
  for (unsigned who = 0; who < KEEPERS; ++who) {
    printf("\n%-15s", keepers[who].name);
    for (unsigned i = from; i < until; ++i) {
      const BenchSpread value = spread_of(who, i);
      printf(" %9.3f (%6.3f to %6.3f)", value.median, value.least, value.most);
    }
  }
  printf("\n");
}

static void print_results(void)
{
  print_table(INGEST, SIZE);
  print_table(SIZE, OPEN_WARM);
  print_table(OPEN_WARM, MEASURES);
  for (unsigned who = 0; who < KEEPERS; ++who) {
    for (unsigned i = 0; i < MEASURES; ++i) {
      bench_data("engines", keepers[who].name, measures[i].name, measures[i].unit,
                 spread_of(who, i));
    }
  }
}

int main(void)
{
  bench_begin("Engines that could hold the music, or an index of it");
  compose();
  results = mmap(NULL, KEEPERS * sizeof *results, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  bench_require(results != MAP_FAILED, "Out of memory.");
  for (unsigned turn = 0; turn < TURNS; ++turn) {
    for (unsigned i = 0; i < KEEPERS; ++i) {
      in_process_of_its_own(measure_writing, (turn + i) % KEEPERS, turn);
      in_process_of_its_own(measure_reading, (turn + i) % KEEPERS, turn);
    }
  }
  printf("%llu events, %u turns; %u commits of %u events; %u seeks\n",
         (unsigned long long)event_count(), TURNS, LIVE_COMMITS, LIVE_EVENTS, SEEKS);
  for (unsigned i = 0; i < ENGINES; ++i) {
    if (engines[i].package) {
      printf("%-10s %s\n", engines[i].name, bench_package_version(engines[i].package));
    }
  }
  print_results();
  return 0;
}
