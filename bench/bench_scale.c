/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What grows with the store, and what does not: bench_scale [seek|fork|open|cold]...
 *
 *   seek   To a random tick of a path, warm: 10^6 forks deep; 10^3 forks deep with as many
 *          events on the path; and in the former's store with a thousandth of them, which
 *          fit the processor's caches. A read transaction is begun, the first event read,
 *          all is closed.
 *   fork   In the music of a random branch, with 10^2 branches and with many. "durable": a
 *          transaction of its own, synced. "unsynced": the same, not synced. "in one": many in
 *          one transaction. Beside git.
 *   open   The store, and the first event of a random branch.
 *   cold   Seeks in a store 16 times larger than the memory that the process may
 *          have, nothing of it in the page cache at the start; and, with neither
 *          structure nor checksum, a random page read from the same file.
 *
 * HR_SCALE=full takes the sizes in full: 10^7 branches, 10^9 events, 8 GB beside
 * 512 MB. HR_SCALE_STORES=FOLDER makes our stores there and leaves them, for the next time. */

#include "bench/bench.h"
#include "bench/scale_cold.h"
#include "bench/scale_git.h"
#include "bench/scale_peers.h"
#include "bench/store_maker.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SHALLOW = 1000, DEEP = 1000000, FEW_BRANCHES = 100, MEMORY_SHARE = 16 };

typedef struct {
  const char* file;
  StoreShape shape;
} Sized;

typedef struct {
  Sized few, many, cold;
  Sized shallow;   ///< The path has as many events as the deepest of `many`
  uint64_t memory; ///< Limit for the cold seeks, in bytes
  unsigned cold_seeks;
} Sizes;

static const Sizes quick = {
    .few = {"few.hr", {FEW_BRANCHES, FEW_BRANCHES - 1, 10000}},
    .many = {"many.hr", {DEEP + 1, DEEP, 4 * (DEEP + 1)}},
    .cold = {"cold.hr", {SHALLOW + 1, SHALLOW, 125000000}},
    .shallow = {"shallow.hr", {SHALLOW + 1, SHALLOW, 4 * (DEEP + 1)}},
    .memory = (uint64_t)1 << 26,
    .cold_seeks = 2000,
};

static const Sizes full = {
    .few = {"few.hr", {FEW_BRANCHES, FEW_BRANCHES - 1, 10000}},
    .many = {"many-full.hr", {10000000, DEEP, 1000000000}},
    .cold = {"cold-full.hr", {SHALLOW + 1, SHALLOW, 1040000000}},
    .shallow = {"shallow-full.hr", {SHALLOW + 1, SHALLOW, 100 * (DEEP + 1)}},
    .memory = (uint64_t)1 << 29,
    .cold_seeks = 5000,
};

static const Sizes* sizes;
static uint64_t dice = 2463534242;

static HrBranchId nested_branch(uint32_t depth)
{
  return hr_branch_id(1, depth + 1);
}

/** A random tick of the path of the nested branch at `depth`. */
static HrTick random_tick(const StoreShape* shape, uint32_t depth)
{
  return (HrTick)(maker_random(&dice) % (uint64_t)maker_fork_tick(shape, depth + 1));
}

/* ---- Stores ------------------------------------------------------------------- */

static const char* file_path(const char* name)
{
  static char path[4096];
  const char* const folder = getenv("HR_SCALE_STORES");
  if (!folder) {
    return bench_path(name);
  }
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static double megabytes(const char* path)
{
  struct stat info;
  bench_require(!stat(path, &info), "A store is missing.");
  return (double)info.st_size / 1e6;
}

/** Where what is made at `path` lies until it is whole. */
static const char* unfinished(const char* path)
{
  static char name[4200];
  snprintf(name, sizeof name, "%s.unfinished", path);
  return name;
}

/** The store's path; made if it is not there. */
static const char* made(const Sized* sized)
{
  const char* const path = file_path(sized->file);
  if (access(path, F_OK)) {
    const uint64_t begun = bench_clock();
    maker_make(unfinished(path), &sized->shape);
    bench_require(!rename(unfinished(path), path), "A store cannot be given its name.");
    sync(); // Or it is written while something else is measured
    const double seconds = bench_ns((double)(bench_clock() - begun)) / 1e9;
    printf("made      %s: %u branches, %u deep, %llu events each, %.0f MB in %.1f s\n", sized->file,
           sized->shape.branches, sized->shape.depth,
           (unsigned long long)maker_events_each(&sized->shape), megabytes(path), seconds);
  }
  return path;
}

static HrStore* open_made(const Sized* sized, unsigned flags)
{
  HrStore* store = NULL;
  HrError error = {0};
  const HrStatus status = hr_store_open(made(sized), flags, &store, &error);
  bench_require(!status, error.text);
  return store;
}

/** Read the file once, so that it is in memory if that is large enough. */
static void warm(const char* path)
{
  static uint8_t bytes[1 << 20];
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  bench_require(fd >= 0, "A store is missing.");
  while (read(fd, bytes, sizeof bytes) > 0) {
  }
  close(fd);
}

/* ---- Printing ------------------------------------------------------------------ */

static const char* table; ///< Of the data that is kept

static void print_head(const char* what, const char* data)
{
  table = data;
  printf("\n%-40s %9s %9s %9s %9s %9s   us\n", what, "count", "median", "90 %", "99 %", "worst");
}

static void print_times(const char* name, const BenchTimes* times)
{
  printf("%-40s %9zu %9.1f %9.1f %9.1f %9.1f\n", name, times->count,
         bench_times_ns(times, 0.5) / 1e3, bench_times_ns(times, 0.9) / 1e3,
         bench_times_ns(times, 0.99) / 1e3, bench_times_ns(times, 1.0) / 1e3);
  bench_data(table, name, "time", "ns", bench_times_spread(times));
}

static void print_bar(const char* what, double value, double bar, const char* unit)
{
  printf("Bar: %s at most %g %s: %.2f, %.2f of the bar. %s.\n", what, bar, unit, value, value / bar,
         value <= bar ? "Met" : "Missed");
}

static double microseconds(const BenchTimes* times, double share)
{
  return bench_times_ns(times, share) / 1e3;
}

/* ---- Seeks, warm --------------------------------------------------------------- */

static bool seek(HrStore* store, HrBranchId leaf, HrTick tick)
{
  HrTxn* txn = NULL;
  HrPath path = {0};
  HrEvent event;
  HrStatus status = hr_txn_begin(store, HR_READ, &txn);
  status = status ? status : hr_path_open(txn, leaf, tick, &path);
  status = status ? status : hr_path_next(&path, &event);
  hr_path_close(&path);
  hr_txn_abort(txn);
  return !status && event.tick >= tick;
}

static void time_seeks(HrStore* store, const Sized* sized, uint32_t depth, BenchTimes* times)
{
  enum { WARM_UP = 300000, SEEKS = 100000 };
  bench_times_begin(times, SEEKS);
  for (unsigned i = 0; i < WARM_UP + SEEKS; ++i) {
    /* The last event of a path is not sought: nothing may come after a tick behind it. */
    const HrTick tick = random_tick(&sized->shape, depth) - MAKER_TICKS_PER_EVENT;
    const uint64_t begun = bench_clock();
    const bool found = seek(store, nested_branch(depth), tick);
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
  warm(made(&sizes->shallow));
  warm(made(&sizes->many));
  print_head("Seek, warm", "seek");
  for (unsigned i = 0; i < PATHS; ++i) {
    HrStore* const store = open_made(stores[i], 0);
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

/** In the music of a random branch: how deep it is, and the way up from there, is what seeks
 * are for. */
static void fork_somewhere(HrTxn* txn, const Sized* sized)
{
  const uint32_t depth = (uint32_t)(maker_random(&dice) % sized->shape.depth);
  const uint64_t event = 1 + maker_random(&dice) % maker_events_each(&sized->shape);
  const HrTick tick = maker_fork_tick(&sized->shape, depth) + (HrTick)event * MAKER_TICKS_PER_EVENT;
  HrBranchId id = 0;
  bench_require(!hr_branch_fork(txn, nested_branch(depth), tick, NULL, &id), "A fork was refused.");
}

static void time_forks(const Sized* sized, ForkWay way, BenchTimes* times)
{
  enum { WARM_UP = 50 };
  static const unsigned forks[FORK_WAYS] = {500, 2000, 20000};
  HrStoreStats before, after;
  HrStore* const store = open_made(sized, way == UNSYNCED ? HR_STORE_UNSYNCED : 0);
  HrTxn* txn = NULL;
  bench_require(!hr_store_stats(store, &before), "The store cannot be read.");
  bench_times_begin(times, forks[way]);
  for (unsigned i = 0; i < WARM_UP + forks[way]; ++i) {
    const uint64_t begun = bench_clock();
    if (!txn) {
      bench_require(!hr_txn_begin(store, HR_WRITE, &txn), "The store cannot be written.");
    }
    fork_somewhere(txn, sized);
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
  unlink(file_path(sizes->few.file)); // It has more branches after each time
  warm(made(stores[0]));
  warm(made(stores[1]));
  print_head("Fork", "fork");
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

/* ---- Opening ------------------------------------------------------------------- */

static void time_opens(const Sized* sized, bool cold, BenchTimes* times)
{
  const unsigned opens = cold ? 30 : 300;
  const char* const path = made(sized);
  bench_times_begin(times, opens);
  for (unsigned i = 0; i < opens; ++i) {
    HrStore* store = NULL;
    const uint32_t depth = (uint32_t)(maker_random(&dice) % sized->shape.depth);
    if (cold) {
      cold_drop(path);
    }
    const uint64_t begun = bench_clock();
    bench_require(!hr_store_open(path, 0, &store, NULL) && seek(store, nested_branch(depth), 0),
                  "The store cannot be opened.");
    bench_times_add(times, bench_clock() - begun);
    hr_store_close(store);
  }
  bench_times_sort(times);
}

static void bench_opening(void)
{
  const Sized* const stores[] = {&sizes->few, &sizes->cold, &sizes->many};
  BenchTimes times = {0};
  double warm = 0.0;
  double cold = 0.0;
  char name[64];
  unlink(file_path(sizes->few.file)); // Forks may have been made in it
  for (unsigned i = 0; i < 3; ++i) {
    made(stores[i]);
  }
  print_head("Open, and the first event", "open");
  for (unsigned i = 0; i < 6; ++i) {
    const Sized* const store = stores[i / 2];
    time_opens(store, i % 2, &times);
    const double size = megabytes(made(store));
    snprintf(name, sizeof name, "%.*f MB, %s", size < 10.0, size, i % 2 ? "cold" : "warm");
    print_times(name, &times);
    if (store == &sizes->cold) {
      *(i % 2 ? &cold : &warm) = microseconds(&times, 0.5) / 1e3;
    }
  }
  snprintf(name, sizeof name, "%.0f MB, warm", megabytes(made(&sizes->cold)));
  print_bar(name, warm, 1, "ms");
  snprintf(name, sizeof name, "%.0f MB, cold", megabytes(made(&sizes->cold)));
  print_bar(name, cold, 50, "ms");
  bench_times_free(&times);
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
  return seek(store, nested_branch(sizes->cold.shape.depth), tick);
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
  const uint64_t number = maker_random(&dice) % pages->pages;
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
    const HrTick tick = random_tick(shape, shape->depth) - MAKER_TICKS_PER_EVENT;
    const uint32_t depth = tick < 0 ? 0 : (uint32_t)(tick / maker_fork_tick(shape, 1));
    const uint64_t begun = bench_clock();
    const bool found = cold->peer->seek(self, nested_branch(depth), tick < 0 ? 0 : tick);
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
  snprintf(path, sizeof path, "%s", file_path(peer->file));
  if (access(path, F_OK)) {
    HrStore* const store = open_made(&sizes->cold, HR_STORE_READ_ONLY);
    warm(hr_store_path(store));
    const uint64_t begun = bench_clock();
    peer->make(unfinished(path), store);
    bench_require(!rename(unfinished(path), path), "A database cannot be given its name.");
    sync();
    printf("made      %s in %.1f s\n", peer->file, bench_ns((double)(bench_clock() - begun)) / 1e9);
    hr_store_close(store);
  }
}

static void bench_cold(void)
{
  const char* const store = strdup(made(&sizes->cold));
  const ScalePeer ours[] = {
      {"a page of the file, by pread", NULL, NULL, pages_open, pages_seek, pages_close},
      {"HalfRemembered", NULL, NULL, ours_open, ours_seek, ours_close}};
  BenchTimes times = {0};
  double late[2];
  bench_require(store, "Out of memory.");
  print_head("Seek, cold, 16 times the memory", "cold-seek");
  for (unsigned i = 0; i < 2; ++i) {
    time_cold(&ours[i], store, &times);
    late[i] = microseconds(&times, 0.99);
  }
  for (unsigned i = 0; i < SCALE_PEERS; ++i) {
    make_peer(&scale_peers[i]);
    time_cold(&scale_peers[i], file_path(scale_peers[i].file), &times);
    if (i + 1 == SCALE_PEERS || strcmp(scale_peers[i].file, scale_peers[i + 1].file)) {
      bench_remove(file_path(scale_peers[i].file)); // There may be no room for two of them
    }
  }
  printf("%.0f MB, %.0f MB of memory; SQLite %s, ", megabytes(store), (double)sizes->memory / 1e6,
         bench_package_version("libsqlite3-0"));
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
      {"seek", bench_seeks}, {"fork", bench_forks}, {"open", bench_opening}, {"cold", bench_cold}};
  const char* const wanted = getenv("HR_SCALE");
  sizes = wanted && !strcmp(wanted, "full") ? &full : &quick;
  bench_begin("What a larger store costs");
  printf("sizes     %s\n", sizes == &full ? "full" : "reduced: HR_SCALE=full for all");
  bench_run_parts(parts, sizeof parts / sizeof *parts, argc, argv);
  return 0;
}
