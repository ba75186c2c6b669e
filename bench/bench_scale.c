/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What grows with the store, and what does not: bench_scale [seek|fork|cold|sizes]...
 *
 *   seek   To a random tick of a path, warm: 10^6 forks deep; 10^3 forks deep with as many
 *          events on the path; and in the former's store with a thousandth of them, which
 *          fit the processor's caches. A read transaction is begun, the first event read,
 *          all is closed.
 *   fork   In the music of a random branch, with 10^2 branches and with many. "durable": a
 *          transaction of its own, synced. "unsynced": the same, not synced. "in one": many in
 *          one transaction. Beside git.
 *   cold   Seeks in a store 16 times larger than the memory that the process may
 *          have, nothing of it in the page cache at the start; and, with neither
 *          structure nor checksum, a random page read from the same file.
 *   sizes  What opening, forking, recording, seeking and replaying take in stores of a megabyte
 *          to many gigabytes, what is read being in memory except where it says otherwise.
 *
 * HR_SCALE=full takes the sizes in full: 10^7 branches, 10^9 events, 8 GB beside 512 MB, 48 GB.
 * HR_SCALE_STORES=FOLDER makes our stores there and leaves them, for the next time. */

#include "bench/bench.h"
#include "bench/scale_cold.h"
#include "bench/scale_git.h"
#include "bench/scale_growth.h"
#include "bench/scale_peers.h"
#include "bench/scale_print.h"
#include "bench/scale_stores.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { SHALLOW = 1000, DEEP = 1000000, FEW_BRANCHES = 100 };

typedef struct {
  Sized few, many, cold;
  Sized shallow; ///< The path has as many events as the deepest of `many`
  Sized small, medium, large;
  uint64_t memory; ///< Limit for the cold seeks, in bytes
  unsigned cold_seeks;
} Sizes;

static const Sizes quick = {
    .few = {"few.hr", {FEW_BRANCHES, FEW_BRANCHES - 1, 10000}},
    .many = {"many.hr", {DEEP + 1, DEEP, 4 * (DEEP + 1)}},
    .cold = {"cold.hr", {SHALLOW + 1, SHALLOW, 125000000}},
    .shallow = {"shallow.hr", {SHALLOW + 1, SHALLOW, 4 * (DEEP + 1)}},
    .small = {"small.hr", {SHALLOW + 1, SHALLOW, 100000}},
    .medium = {"medium.hr", {SHALLOW + 1, SHALLOW, 25000000}},
    .large = {"large.hr", {SHALLOW + 1, SHALLOW, 500000000}},
    .memory = (uint64_t)1 << 26,
    .cold_seeks = 2000,
};

static const Sizes full = {
    .few = {"few.hr", {FEW_BRANCHES, FEW_BRANCHES - 1, 10000}},
    .many = {"many-full.hr", {10000000, DEEP, 1000000000}},
    .cold = {"cold-full.hr", {SHALLOW + 1, SHALLOW, 1040000000}},
    .shallow = {"shallow-full.hr", {SHALLOW + 1, SHALLOW, 100 * (DEEP + 1)}},
    .small = {"small.hr", {SHALLOW + 1, SHALLOW, 100000}},
    .medium = {"medium-full.hr", {SHALLOW + 1, SHALLOW, 125000000}},
    .large = {"large-full.hr", {SHALLOW + 1, SHALLOW, 5800000000}},
    .memory = (uint64_t)1 << 29,
    .cold_seeks = 5000,
};

static const Sizes* sizes;

/* ---- Seeks, warm --------------------------------------------------------------- */

static void time_seeks(HrStore* store, const Sized* sized, uint32_t depth, BenchTimes* times)
{
  enum { WARM_UP = 300000, SEEKS = 100000 };
  bench_times_begin(times, SEEKS);
  for (unsigned i = 0; i < WARM_UP + SEEKS; ++i) {
    /* The last event of a path is not sought: nothing may come after a tick behind it. */
    const HrTick tick = scale_random_tick(&sized->shape, depth) - MAKER_TICKS_PER_EVENT;
    const uint64_t begun = bench_clock();
    const bool found = scale_seek(store, scale_nested_branch(depth), tick);
    if (i >= WARM_UP) {
      bench_times_add(times, bench_clock() - begun);
    }
    bench_require(found, "A seek found nothing.");
  }
  bench_times_sort(times);
}

/** How many there are on the path of the nested branch at `depth`. */
static const char* rounded_events(const StoreShape* shape, uint32_t depth)
{
  static char text[32];
  const double events = (double)maker_events_each(shape) * (depth + 1);
  const bool many = events >= 1e6;
  snprintf(text, sizeof text, "%.0f %s events", events / (many ? 1e6 : 1e3),
           many ? "million" : "thousand");
  return text;
}

static void bench_seeks(void)
{
  enum { SAME_MUSIC, SAME_STORE, DEEPEST, PATHS };
  static const uint32_t depths[PATHS] = {SHALLOW, SHALLOW, DEEP};
  const Sized* const stores[PATHS] = {&sizes->shallow, &sizes->many, &sizes->many};
  BenchTimes times[PATHS] = {0};
  double medians[PATHS];
  char name[64];
  scale_warm(scale_made(&sizes->shallow));
  scale_warm(scale_made(&sizes->many));
  print_head("Seek, warm", "seek", "time");
  for (unsigned i = 0; i < PATHS; ++i) {
    HrStore* const store = scale_open(stores[i], 0);
    time_seeks(store, stores[i], depths[i], &times[i]);
    hr_store_close(store);
    medians[i] = microseconds(&times[i], 0.5);
    snprintf(name, sizeof name, "%u forks deep, %s", depths[i],
             rounded_events(&stores[i]->shape, depths[i]));
    print_times(name, &times[i]);
  }
  print_bar("10^6 forks deep, median", medians[DEEPEST], 25, "us");
  print_bar("10^6 forks deep, 99 %", microseconds(&times[DEEPEST], 0.99), 60, "us");
  print_bar("10^6 against 10^3 forks deep, as many events on the path",
            medians[DEEPEST] / medians[SAME_MUSIC], 3, "times");
  print_bar("10^6 against 10^3 forks deep, a thousand times the events",
            medians[DEEPEST] / medians[SAME_STORE], 3, "times");
  for (unsigned i = 0; i < PATHS; ++i) {
    bench_times_free(&times[i]);
  }
}

/* ---- Forks --------------------------------------------------------------------- */

typedef enum { DURABLE, UNSYNCED, IN_ONE, FORK_WAYS } ForkWay;

static const char* const fork_ways[FORK_WAYS] = {"durable", "unsynced", "in one transaction"};

static void time_forks(const Sized* sized, ForkWay way, BenchTimes* times)
{
  enum { WARM_UP = 50 };
  static const unsigned forks[FORK_WAYS] = {500, 2000, 20000};
  HrStoreStats before, after;
  HrStore* const store = scale_open(sized, way == UNSYNCED ? HR_STORE_UNSYNCED : 0);
  HrTxn* txn = NULL;
  bench_require(!hr_store_stats(store, &before), "The store cannot be read.");
  bench_times_begin(times, forks[way]);
  for (unsigned i = 0; i < WARM_UP + forks[way]; ++i) {
    const uint64_t begun = bench_clock();
    if (!txn) {
      bench_require(!hr_txn_begin(store, HR_WRITE, &txn), "The store cannot be written.");
    }
    scale_fork(txn, sized);
    if (way != IN_ONE) {
      bench_require(!hr_txn_commit(txn), "The store cannot be written.");
      txn = NULL;
    }
    if (i >= WARM_UP) {
      bench_times_add(times, bench_clock() - begun);
    }
  }
  bench_require(!txn || !hr_txn_commit(txn), "The store cannot be written.");
  bench_require(!hr_store_stats(store, &after), "The store cannot be read.");
  bench_require(before.node_count == after.node_count, "A fork copied events.");
  hr_store_close(store);
  bench_times_sort(times);
}

static void print_git(void)
{
  enum { FORKS = 200 };
  const unsigned events = (unsigned)sizes->few.shape.events;
  char name[64];
  BenchTimes times = {0};
  for (unsigned program = 0; program < 2; ++program) {
    git_forks(bench_path(program ? "program.git" : "library.git"), program, FEW_BRANCHES, FORKS,
              events, &times);
    snprintf(name, sizeof name, "git %s, %u branches", program ? "as programs" : "in process",
             FEW_BRANCHES);
    print_times(name, &times);
  }
  bench_times_free(&times);
}

static void bench_forks(void)
{
  BenchTimes times[2][FORK_WAYS] = {0};
  const Sized* const stores[2] = {&sizes->few, &sizes->many};
  char name[64];
  unlink(scale_path(sizes->few.file)); // It has more branches after each time
  scale_warm(scale_made(stores[0]));
  scale_warm(scale_made(stores[1]));
  print_head("Fork", "fork", "time");
  for (unsigned way = 0; way < FORK_WAYS; ++way) {
    for (unsigned i = 0; i < 2; ++i) {
      time_forks(stores[i], (ForkWay)way, &times[i][way]);
      snprintf(name, sizeof name, "%s, %u branches", fork_ways[way], stores[i]->shape.branches);
      print_times(name, &times[i][way]);
    }
  }
  print_git();
  printf(
      "git commits the MIDI file of %llu events (%zu bytes), without syncing; no event was copied "
      "by our forks.\n",
      (unsigned long long)sizes->few.shape.events,
      git_music_bytes((unsigned)sizes->few.shape.events));
  printf("%u branches against %u, medians:", stores[1]->shape.branches, stores[0]->shape.branches);
  double ratios[FORK_WAYS];
  for (unsigned way = 0; way < FORK_WAYS; ++way) {
    ratios[way] = microseconds(&times[1][way], 0.5) / microseconds(&times[0][way], 0.5);
    printf(" %s %.2f%s", fork_ways[way], ratios[way], way + 1 < FORK_WAYS ? "," : ".\n");
    bench_times_free(&times[0][way]);
    bench_times_free(&times[1][way]);
  }
  print_bar("a durable fork, many branches against few", ratios[DURABLE], 2, "times");
}

/* ---- Sizes ---------------------------------------------------------------------- */

/** True if a store can be there: it is, or there is room to make it and to spare. */
static bool has_room(const Sized* sized)
{
  struct statvfs disk;
  const char* const path = scale_path(sized->file);
  const double wanted = (double)sized->shape.events * 8.25 + 1e9;
  const char* const folder = dirname(strdupa(path));
  return !access(path, F_OK) ||
         (!statvfs(folder, &disk) && (double)disk.f_bavail * (double)disk.f_frsize > wanted);
}

static void bench_sizes(void)
{
  enum { STORES = 5 };
  const Sized* const stores[STORES] = {&sizes->small, &sizes->medium, &sizes->cold, &sizes->many,
                                       &sizes->large};
  GrowthOpening opening = {0};
  char name[64];
  for (unsigned i = 0; i < STORES; ++i) {
    if (!has_room(stores[i])) {
      printf("\nNo room on the disk for a store of %.0f GB: left out.\n",
             (double)stores[i]->shape.events * 8.25 / 1e9);
      continue;
    }
    const GrowthOpening its = growth_measure(stores[i]);
    opening = stores[i] == &sizes->cold ? its : opening;
  }
  bench_remove(scale_path(sizes->large.file));
  snprintf(name, sizeof name, "%.0f MB, warm", scale_megabytes(scale_made(&sizes->cold)));
  print_bar(name, opening.warm, 1, "ms");
  snprintf(name, sizeof name, "%.0f MB, cold", scale_megabytes(scale_made(&sizes->cold)));
  print_bar(name, opening.cold, 50, "ms");
}

/* ---- Seeks, cold --------------------------------------------------------------- */

static void* ours_open(const char* path)
{
  HrStore* store = NULL;
  bench_require(!hr_store_open(path, 0, &store, NULL), "The store cannot be opened.");
  return store;
}

static bool ours_seek(void* store, HrBranchId branch, HrTick tick)
{
  (void)branch; // It is found from the deepest one
  return scale_seek(store, scale_nested_branch(sizes->cold.shape.depth), tick);
}

static void ours_close(void* store)
{
  hr_store_close(store);
}

typedef struct {
  int fd;
  uint64_t pages;
} Pages;

static void* pages_open(const char* path)
{
  static Pages pages;
  struct stat info;
  pages.fd = open(path, O_RDONLY | O_CLOEXEC);
  bench_require(pages.fd >= 0 && !fstat(pages.fd, &info), "The store cannot be read.");
  pages.pages = (uint64_t)info.st_size / HR_PAGE_SIZE;
  posix_fadvise(pages.fd, 0, 0, POSIX_FADV_RANDOM); // No reading ahead
  return &pages;
}

static bool pages_seek(void* self, HrBranchId branch, HrTick tick)
{
  const Pages* const pages = self;
  uint8_t page[HR_PAGE_SIZE];
  (void)branch;
  (void)tick;
  const uint64_t number = scale_random() % pages->pages;
  return pread(pages->fd, page, sizeof page, (off_t)(number * sizeof page)) == sizeof page;
}

static void pages_close(void* self)
{
  close(((Pages*)self)->fd);
}

typedef struct {
  const ScalePeer* peer;
  const char* path;
  bool reopen; ///< Memory is not limited: everything is dropped before each seek
} ColdSeeks;

static void measure_cold(void* data, BenchTimes* times)
{
  const ColdSeeks* const cold = data;
  const StoreShape* const shape = &sizes->cold.shape;
  void* self = NULL;
  for (unsigned i = 0; i < times->room; ++i) {
    if (self && cold->reopen) {
      cold->peer->close(self);
      cold_drop(cold->path);
      self = NULL;
    }
    self = self ? self : cold->peer->open(cold->path);
    const HrTick tick = scale_random_tick(shape, shape->depth) - MAKER_TICKS_PER_EVENT;
    const uint32_t depth = tick < 0 ? 0 : (uint32_t)(tick / maker_fork_tick(shape, 1));
    const uint64_t begun = bench_clock();
    const bool found = cold->peer->seek(self, scale_nested_branch(depth), tick < 0 ? 0 : tick);
    bench_times_add(times, bench_clock() - begun);
    bench_require(found, "A seek found nothing.");
  }
  cold->peer->close(self);
}

static void time_cold(const ScalePeer* peer, const char* path, BenchTimes* times)
{
  static const unsigned reopened_seeks = 100;
  ColdSeeks cold = {.peer = peer, .path = path};
  char name[64];
  cold_drop(path);
  const double share = cold_share(path);
  if (!cold_run(sizes->memory, measure_cold, &cold, sizes->cold_seeks, times)) {
    cold.reopen = true;
    cold_run(0, measure_cold, &cold, reopened_seeks, times);
  }
  snprintf(name, sizeof name, "%s%s", peer->name, cold.reopen ? ", dropped each time" : "");
  print_times(name, times);
  bench_require(share < 0.02, "The store could not be taken out of the page cache.");
}

static void make_peer(const ScalePeer* peer)
{
  char path[4096];
  snprintf(path, sizeof path, "%s", scale_path(peer->file));
  if (access(path, F_OK)) {
    HrStore* const store = scale_open(&sizes->cold, HR_STORE_READ_ONLY);
    scale_warm(hr_store_path(store));
    const uint64_t begun = bench_clock();
    peer->make(scale_unfinished(path), store);
    bench_require(!rename(scale_unfinished(path), path), "A database cannot be given its name.");
    sync();
    printf("made      %s in %.1f s\n", peer->file, bench_ns((double)(bench_clock() - begun)) / 1e9);
    hr_store_close(store);
  }
}

static void bench_cold(void)
{
  const char* const store = strdup(scale_made(&sizes->cold));
  const ScalePeer ours[] = {
      {"a page of the file, by pread", NULL, NULL, pages_open, pages_seek, pages_close},
      {"HalfRemembered", NULL, NULL, ours_open, ours_seek, ours_close}};
  BenchTimes times = {0};
  double late[2];
  bench_require(store, "Out of memory.");
  print_head("Seek, cold, 16 times the memory", "cold-seek", "time");
  for (unsigned i = 0; i < 2; ++i) {
    time_cold(&ours[i], store, &times);
    late[i] = microseconds(&times, 0.99);
  }
  for (unsigned i = 0; i < SCALE_PEERS; ++i) {
    make_peer(&scale_peers[i]);
    time_cold(&scale_peers[i], scale_path(scale_peers[i].file), &times);
    if (i + 1 == SCALE_PEERS || strcmp(scale_peers[i].file, scale_peers[i + 1].file)) {
      bench_remove(scale_path(scale_peers[i].file)); // There may be no room for two of them
    }
  }
  printf("%.0f MB, %.0f MB of memory; SQLite %s, ", scale_megabytes(store),
         (double)sizes->memory / 1e6, bench_package_version("libsqlite3-0"));
  printf("RocksDB %s\n", bench_package_version("librocksdb7.8"));
  print_bar("99 %, cold", late[1] / 1e3, 1, "ms");
  printf("The disk's own 99 %% for one page is %.2f ms: ours is %.2f times that.\n", late[0] / 1e3,
         late[1] / late[0]);
  free((void*)store);
  bench_times_free(&times);
}

int main(int argc, char** argv)
{
  static const BenchPart parts[] = {
      {"seek", bench_seeks}, {"fork", bench_forks}, {"cold", bench_cold}, {"sizes", bench_sizes}};
  const char* const wanted = getenv("HR_SCALE");
  sizes = wanted && !strcmp(wanted, "full") ? &full : &quick;
  bench_begin("What a larger store costs");
  printf("sizes     %s\n", sizes == &full ? "full" : "reduced: HR_SCALE=full for all");
  bench_run_parts(parts, sizeof parts / sizeof *parts, argc, argv);
  return 0;
}
