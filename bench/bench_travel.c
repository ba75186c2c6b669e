/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What it would take to bring the trees of several musicians together.
 *
 *   exchange  Musicians have a copy of a tree each and play for themselves, then exchange
 *             what is new (bench/travel_bundle.h), twice. What one of them has new is
 *             carried in several ways side by side. All must have the same music
 *             afterwards, whatever was played: each run has its own seed.
 *   size      What the same costs a band, a label and the internet: by arithmetic,
 *             from what was measured and from what is assumed, which is printed.
 *
 * The store takes no part in it: nobody's music travels yet. */

#include "bench/bench.h"
#include "bench/store_maker.h"
#include "bench/travel_git.h"

#include <math.h>
#include <smf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
  RUNS = 3,
  MUSICIANS = 5,
  FIRST_TAKES = 100, ///< In the tree that all have a copy of
  TAKES = 60,        ///< Each plays before they exchange
  SONGS = 8,         ///< The first branches, which everybody likes to play on
  EVENTS_LEAST = 50, ///< In a take
  EVENTS_MOST = 800,
  BUNDLE_NODES = 64, ///< In an object of a store of objects
};

static uint64_t dice;

static uint64_t roll(uint64_t sides)
{
  return maker_random(&dice) % sides;
}

static void must(HrStatus status)
{
  bench_require(!status, hr_strerror(status));
}

/* ---- Music ------------------------------------------------------------------ */

enum { MUSIC_MAX = 4096 };

static struct {
  HrTick tick;
  uint32_t size;
  uint8_t bytes[3];
} music[MUSIC_MAX];

static unsigned music_count;
static double music_seconds;

/** Add a piece behind those before. */
static void load_piece(const char* path)
{
  smf_t* const file = smf_load(path);
  bench_require(file, "tests/music is missing.");
  const HrTick from = music_count ? music[music_count - 1].tick : 0;
  const smf_event_t* event;
  double seconds = 0;
  while ((event = smf_get_next_event(file))) {
    if (event->midi_buffer_length <= 3 && event->midi_buffer[0] < 0xf0) {
      bench_require(music_count < MUSIC_MAX, "MUSIC_MAX is too small.");
      music[music_count].tick =
          from + (HrTick)event->time_pulses * HR_TICKS_PER_QUARTER / file->ppqn;
      music[music_count].size = (uint32_t)event->midi_buffer_length;
      memcpy(music[music_count++].bytes, event->midi_buffer, (size_t)event->midi_buffer_length);
      seconds = event->time_seconds;
    }
  }
  music_seconds += seconds;
  smf_delete(file);
}

static void load_music(void)
{
  load_piece(HR_TEST_DATA "../music/prelude.mid");
  load_piece(HR_TEST_DATA "../music/minuet.mid");
}

/** One after the last event: nobody may fork another's branch further on, or what is
 * played there later would come into the fork's past. */
static HrTick end_of(HrTxn* txn, const HrBranch* branch)
{
  HrPath path;
  HrEvent event;
  must(hr_path_open(txn, branch->id, branch->head_tick, &path));
  const HrStatus status = hr_path_next(&path, &event);
  hr_path_close(&path);
  return branch->head_tick + (status == HR_OK);
}

/** Play some music, in another key and tempo each time. */
static void play(HrTxn* txn, HrBranchId branch, HrTick from)
{
  static const HrAppendOptions options = {.wall_clock_ns = 1};
  const unsigned count = EVENTS_LEAST + (unsigned)roll(EVENTS_MOST - EVENTS_LEAST);
  const unsigned first = (unsigned)roll(music_count);
  const unsigned key = (unsigned)roll(25);
  const HrTick tempo = 900 + (HrTick)roll(200);
  HrTick tick = from;
  for (unsigned i = 0; i < count; ++i) {
    const unsigned at = (first + i) % music_count;
    uint8_t bytes[3];
    memcpy(bytes, music[at].bytes, sizeof bytes);
    if (bytes[0] < 0xa0) {
      bytes[1] = (uint8_t)((bytes[1] + key) & 0x7f);
    }
    tick += i && at ? (music[at].tick - music[at - 1].tick) * tempo / 1000 : 0;
    const HrEvent event = {tick, HR_EVENT_MIDI, music[at].size, bytes};
    must(hr_append(txn, branch, &event, &options));
  }
}

/* ---- Musicians -------------------------------------------------------------- */

typedef struct {
  TravelCopy copy;
  uint32_t last;     ///< Own branch last played on, 0: none
  uint64_t siblings; ///< Forked to play on at the end of another's branch
  uint32_t songs;    ///< Bits: which of them were played on
} Musician;

static HrBranch get_branch(HrTxn* txn, const TravelCopy* copy, uint32_t number)
{
  HrBranch branch;
  must(hr_branch_get(txn, hr_branch_id(copy->tree, number), &branch));
  return branch;
}

static void play_on_fork(Musician* musician, HrTxn* txn, HrBranchId from, HrTick tick)
{
  HrBranchId id;
  must(hr_branch_fork(txn, from, tick, NULL, &id));
  musician->last = hr_branch_number(id);
  travel_made(&musician->copy, musician->last);
  play(txn, id, tick);
}

/** Play on at the end of a branch: on itself, or if another made it, on a sibling. */
static void play_on(Musician* musician, HrTxn* txn, uint32_t number)
{
  const HrBranch branch = get_branch(txn, &musician->copy, number);
  const HrTick end = end_of(txn, &branch);
  if (travel_is_own(&musician->copy, number)) {
    play(txn, branch.id, end);
  } else {
    play_on_fork(musician, txn, branch.id, end);
    musician->siblings += 1;
  }
}

static void fork_anywhere(Musician* musician, HrTxn* txn)
{
  HrTree tree;
  must(hr_tree_get(txn, musician->copy.tree, &tree));
  const HrBranch branch = get_branch(txn, &musician->copy, 1 + (uint32_t)roll(tree.branch_count));
  const HrTick from = branch.fork_tick > 0 ? branch.fork_tick : 0;
  const HrTick end = end_of(txn, &branch);
  play_on_fork(musician, txn, branch.id,
               from + 1 + (HrTick)roll((uint64_t)(end > from + 1 ? end - from - 1 : 1)));
}

static void perform(Musician* musician, unsigned takes)
{
  HrTxn* txn = NULL;
  must(hr_txn_begin(musician->copy.store, HR_WRITE, &txn));
  musician->siblings = 0;
  musician->songs = 0;
  for (unsigned i = 0; i < takes; ++i) {
    const uint64_t whim = roll(100);
    if (whim < 60 || musician->last <= SONGS) { // Before there are songs, too
      fork_anywhere(musician, txn);
    } else if (whim < 85) {
      play_on(musician, txn, musician->last);
    } else {
      const uint32_t song = (uint32_t)roll(SONGS);
      musician->songs |= 1u << song;
      play_on(musician, txn, 1 + song);
    }
  }
  must(hr_txn_commit(txn));
}

static TravelReplica random_replica(void)
{
  TravelReplica replica;
  for (unsigned i = 0; i < TRAVEL_ID_BYTES; ++i) {
    replica.bytes[i] = (uint8_t)roll(256);
  }
  return replica;
}

static HrStore* open_store(const char* path)
{
  HrStore* store = NULL;
  HrError error = {0};
  const HrStatus status = hr_store_open(path, HR_STORE_CREATE, &store, &error);
  bench_require(!status, error.text);
  return store;
}

/** A path in the bench's folder, for what is the `n`-th musician's. */
static const char* path_of(const char* what, unsigned n)
{
  char name[32];
  snprintf(name, sizeof name, "%s-%u.hr", what, n);
  return bench_path(name);
}

/** The first musician makes a tree, and all others take a copy of it. */
static void begin_band(Musician band[MUSICIANS])
{
  HrTxn* txn = NULL;
  HrTreeId tree;
  HrError error;
  uint64_t bytes;
  HrStore* const store = open_store(path_of("store", 0));
  must(hr_txn_begin(store, HR_WRITE, &txn));
  must(hr_tree_create(txn, "song", 0, &tree));
  play(txn, hr_branch_id(tree, 1), 0);
  must(hr_txn_commit(txn));
  TravelReplica self = random_replica();
  band[0] = (Musician){0};
  travel_begin(&band[0].copy, store, tree, &self, NULL);
  perform(&band[0], FIRST_TAKES);
  for (unsigned n = 1; n < MUSICIANS; ++n) {
    must(hr_store_compact(store, path_of("store", n), false, &bytes, &error));
    self = random_replica();
    band[n] = (Musician){0};
    travel_begin(&band[n].copy, open_store(path_of("store", n)), tree, &self, &band[0].copy);
  }
}

static void end_band(Musician band[MUSICIANS])
{
  for (unsigned n = 0; n < MUSICIANS; ++n) {
    travel_end(&band[n].copy);
    for (unsigned i = 0; i < 2; ++i) {
      char lock[4096];
      const char* const path = path_of(i ? "backup" : "store", n);
      snprintf(lock, sizeof lock, "%s-lock", path);
      bench_remove(path);
      bench_remove(lock);
    }
  }
}

/** Everybody plays, each for themselves. */
static void perform_all(Musician band[MUSICIANS])
{
  for (unsigned n = 0; n < MUSICIANS; ++n) {
    perform(&band[n], TAKES);
  }
}

/** Everybody takes in what each of the others has new, beginning with another one. */
static void exchange(Musician band[MUSICIANS])
{
  TravelHave have;
  TravelBundle bundles[MUSICIANS];
  travel_have(&band[0].copy, &have);
  for (unsigned n = 1; n < MUSICIANS; ++n) {
    travel_make(&band[n].copy, &have, &bundles[n]);
  }
  travel_have_free(&have);
  travel_have(&band[1].copy, &have);
  travel_make(&band[0].copy, &have, &bundles[0]);
  travel_have_free(&have);
  for (unsigned n = 0; n < MUSICIANS; ++n) {
    for (unsigned i = 1; i < MUSICIANS; ++i) {
      travel_apply(&band[n].copy, &bundles[(n + i) % MUSICIANS]);
    }
    bench_require(!travel_apply(&band[n].copy, &bundles[(n + 1) % MUSICIANS]),
                  "A bundle that came twice changed something.");
  }
  for (unsigned n = 0; n < MUSICIANS; ++n) {
    travel_bundle_free(&bundles[n]);
  }
}

/** How many of the others have the music that the first one has. */
static unsigned agreeing(Musician band[MUSICIANS])
{
  const XXH128_hash_t first = travel_music(&band[0].copy);
  unsigned count = 0;
  for (unsigned n = 1; n < MUSICIANS; ++n) {
    count += XXH128_isEqual(first, travel_music(&band[n].copy)) != 0;
  }
  return count;
}

static void print_problem(void* data, const char* sentence)
{
  (void)data;
  fprintf(stderr, "%s\n", sentence);
}

static void require_agreement(Musician band[MUSICIANS])
{
  bench_require(agreeing(band) == MUSICIANS - 1, "Not all have the same music.");
  for (unsigned n = 0; n < MUSICIANS; ++n) {
    HrVerifyReport report;
    must(hr_store_verify(band[n].copy.store, print_problem, NULL, &report));
    bench_require(!report.problems, "A store is damaged after the exchange.");
  }
}

/* ---- What was measured ------------------------------------------------------ */

typedef enum {
  WHOLE,
  BACKUP,
  BUNDLE,
  BUNDLE_SMALL,
  GIT_MIDI,
  GIT_NODES,
  OBJECTS,
  OBJECTS_BUNDLED,
  ROWS,
  LOG_ROWS,
  CARRIERS
} Carrier;

static const char* const carrier_names[CARRIERS] = {
    [WHOLE] = "the whole file",
    [BACKUP] = "backup: new nodes, by branch",
    [BUNDLE] = "bundle",
    [BUNDLE_SMALL] = "bundle, deflated",
    [GIT_MIDI] = "git, a MIDI file a branch",
    [GIT_NODES] = "git, a file a node",
    [OBJECTS] = "an object a node",
    [OBJECTS_BUNDLED] = "an object for 64 nodes",
    [ROWS] = "a row an event, PostgreSQL",
    [LOG_ROWS] = "an entry an event, CRDT log",
};

typedef enum { BYTES, PARTS, TRIPS, MAKE, APPLY, MEASURES } Measure;

static const char* const measure_names[MEASURES] = {"bytes an event", "objects", "requests", "make",
                                                    "apply"};
static const char* const measure_units[MEASURES] = {"B", "", "", "ms", "ms"};

/** Bytes that an HTTP request and its answer have beside the body: assumed. */
static const double request_bytes = 1000;

/** A row: 23 bytes of header filled up to 24, 4 of item pointer (PostgreSQL manual, "Database
 * Page Layout"); replica 16, branch 4, sequence 8, tick 8, message 4: 40. Its entry in the
 * index of the primary key (replica, branch, sequence): 8 of header, 4 of pointer, 28 of key,
 * filled up to 44. Pages are taken as full. */
static const double row_bytes = 24 + 4 + 40 + 44;

/** An operation of a log that is merged entry by entry, before compression: replica as a
 * number, counter, branch, tick as differences in 1 to 5 bytes each (9 together), message 3,
 * and 20 of what the log says of the order of operations: the upper bound that Yjs' author
 * gives (discuss.yjs.dev, 598). */
static const double log_bytes = 9 + 3 + 20;

typedef struct {
  double carried[CARRIERS][MEASURES][RUNS];
  double events[RUNS];   ///< One musician's new ones
  double branches[RUNS]; ///< New, and grown
  double nodes[RUNS];
  double collisions[RUNS];    ///< Branch numbers that stand for other branches elsewhere
  double numbers[RUNS];       ///< New branch numbers in use
  double siblings[RUNS];      ///< Of all musicians
  double contested[RUNS];     ///< Songs that two or more went on with
  double have_bytes[RUNS];    ///< To say what one has
  double branch_bytes[RUNS];  ///< Records, names and journal: a branch's, without nodes
  double tree_branches[RUNS]; ///< In the end
} Results;

static Results results;
static unsigned run;

static double median(const double values[RUNS])
{
  return bench_spread(values, RUNS).median;
}

static void carried(Carrier carrier, double bytes, double parts, double trips, double make_ms,
                    double apply_ms)
{
  const double values[MEASURES] = {bytes / results.events[run], parts, trips, make_ms, apply_ms};
  for (unsigned i = 0; i < MEASURES; ++i) {
    results.carried[carrier][i][run] = values[i];
  }
}

static double milliseconds(uint64_t begun)
{
  return bench_ns((double)(bench_clock() - begun)) / 1e6;
}

/* ---- The ways to carry it ----------------------------------------------------- */

static void carry_file(const TravelCopy* copy)
{
  HrError error;
  HrBackupReport report;
  uint64_t bytes;
  const char* const path = bench_path("whole.hr");
  uint64_t begun = bench_clock();
  must(hr_store_compact(copy->store, path, false, &bytes, &error));
  carried(WHOLE, (double)bytes, 1, 1, milliseconds(begun), 0);
  bench_remove(path);
  begun = bench_clock();
  must(hr_store_backup(copy->store, path_of("backup", 1), &report, &error));
  bench_require(!report.first && report.nodes, "A backup was not brought up to date.");
  carried(BACKUP, (double)report.bytes, (double)report.records, 1, milliseconds(begun), 0);
  const HrStatus refused = hr_store_backup(copy->store, path_of("backup", 2), &report, &error);
  bench_require(refused == HR_ERR_EXISTS, "A backup took two musics for one.");
}

/** Bytes of a bundle deflated; how long that takes, and to inflate it again. */
static uint64_t deflated(const TravelBundle* bundle, double* deflate_ms, double* inflate_ms)
{
  uLongf small = compressBound(bundle->size);
  uLongf size = bundle->size;
  uint8_t* const bytes = malloc(small);
  uint8_t* const again = malloc(size);
  uint64_t begun = bench_clock();
  bench_require(bytes && again && compress2(bytes, &small, bundle->bytes, size, 6) == Z_OK,
                "Out of memory.");
  *deflate_ms = milliseconds(begun);
  begun = bench_clock();
  bench_require(uncompress(again, &size, bytes, small) == Z_OK, "A bundle cannot be inflated.");
  *inflate_ms = milliseconds(begun);
  free(bytes);
  free(again);
  return small;
}

static void carry_bundle(Musician band[MUSICIANS], TravelBundle* bundle)
{
  TravelHave have;
  uint64_t begun = bench_clock();
  travel_have(&band[2].copy, &have);
  travel_make(&band[1].copy, &have, bundle);
  const double make_ms = milliseconds(begun);
  double deflate_ms, inflate_ms;
  const uint64_t small = deflated(bundle, &deflate_ms, &inflate_ms);
  begun = bench_clock();
  const uint64_t added = travel_apply(&band[2].copy, bundle);
  const double apply_ms = milliseconds(begun);
  bench_require(added == bundle->events, "A bundle was not taken in whole.");
  results.events[run] = (double)bundle->events;
  results.branches[run] = (double)bundle->branches;
  results.nodes[run] = (double)bundle->nodes;
  results.have_bytes[run] = (double)have.bytes;
  results.branch_bytes[run] =
      (double)(bundle->size - bundle->node_bytes) / (double)bundle->branches;
  carried(BUNDLE, (double)(bundle->size + have.bytes), 1, 2, make_ms, apply_ms);
  carried(BUNDLE_SMALL, (double)(small + have.bytes), 1, 2, make_ms + deflate_ms,
          inflate_ms + apply_ms);
  bench_require(travel_content_names(bundle) == bundle->nodes, "Two nodes are the same.");
  travel_have_free(&have);
}

static void carry_git(Musician band[MUSICIANS], const TravelHave* have)
{
  for (unsigned i = 0; i < 2; ++i) {
    const TravelGitCost cost =
        travel_git(bench_path("git"), i ? TRAVEL_GIT_NODES : TRAVEL_GIT_MIDI, &band[1].copy, have);
    carried(i ? GIT_NODES : GIT_MIDI, (double)cost.bytes, (double)cost.objects, 3, cost.make_ms,
            cost.apply_ms);
  }
}

/** What is only counted: requests of who gives and who takes one copy. */
static void carry_elsewhere(const TravelBundle* bundle)
{
  const double nodes = (double)bundle->nodes;
  const double branches = (double)bundle->branches;
  const double each = nodes + branches + 1; // And one that says what is new
  const double bundled = ceil(nodes / BUNDLE_NODES) + 1;
  const double events = (double)bundle->events;
  carried(OBJECTS, (double)bundle->size + 2 * each * request_bytes, each, 2 * each, 0, 0);
  carried(OBJECTS_BUNDLED, (double)bundle->size + 2 * bundled * request_bytes, bundled, 2 * bundled,
          0, 0);
  carried(ROWS, events * row_bytes, events, 2, 0, 0);
  carried(LOG_ROWS, events * log_bytes, events, 2, 0, 0);
}

/* ---- Ids and siblings ----------------------------------------------------------- */

/** Of the numbers above `shared`: how many two or more musicians gave to a branch. */
static void count_collisions(Musician band[MUSICIANS], uint32_t shared)
{
  uint64_t used = 0, collisions = 0;
  for (uint32_t number = shared + 1;; ++number) {
    unsigned users = 0;
    for (unsigned n = 0; n < MUSICIANS; ++n) {
      const TravelCopy* const copy = &band[n].copy;
      users += number < copy->room && copy->ids[number].number != 0;
    }
    if (!users) {
      break;
    }
    used += 1;
    collisions += users > 1;
  }
  results.numbers[run] = (double)used;
  results.collisions[run] = (double)collisions;
}

static void count_siblings(Musician band[MUSICIANS])
{
  for (unsigned n = 0; n < MUSICIANS; ++n) {
    results.siblings[run] += (double)band[n].siblings;
  }
  for (unsigned song = 0; song < SONGS; ++song) {
    unsigned players = 0;
    for (unsigned n = 0; n < MUSICIANS; ++n) {
      players += band[n].songs >> song & 1;
    }
    results.contested[run] += players > 1;
  }
}

static uint32_t branch_count(const TravelCopy* copy)
{
  HrTxn* txn = NULL;
  HrTree tree;
  must(hr_txn_begin(copy->store, HR_READ, &txn));
  must(hr_tree_get(txn, copy->tree, &tree));
  hr_txn_abort(txn);
  return tree.branch_count;
}

/* ---- Exchange ------------------------------------------------------------------- */

static void exchange_run(void)
{
  Musician band[MUSICIANS];
  HrError error;
  HrBackupReport report;
  TravelHave have;
  TravelBundle bundle;
  dice = 88172645463325252u + run;
  begin_band(band);
  const uint32_t shared = branch_count(&band[0].copy);
  perform_all(band);
  count_collisions(band, shared);
  exchange(band);
  require_agreement(band);
  for (unsigned n = 1; n <= 2; ++n) {
    must(hr_store_backup(band[n].copy.store, path_of("backup", n), &report, &error));
  }
  travel_have(&band[2].copy, &have);
  perform_all(band);
  bench_require(!agreeing(band), "They have the same music before they exchange it.");
  must(hr_store_backup(band[2].copy.store, path_of("backup", 2), &report, &error));
  count_siblings(band);
  carry_bundle(band, &bundle);
  carry_file(&band[1].copy);
  carry_git(band, &have);
  carry_elsewhere(&bundle);
  exchange(band);
  require_agreement(band);
  results.tree_branches[run] = branch_count(&band[0].copy);
  travel_bundle_free(&bundle);
  travel_have_free(&have);
  end_band(band);
}

static void print_carriers(void)
{
  printf("%-30s %9s %9s %9s %9s %9s\n", "one musician's new music", "bytes/", "objects", "requests",
         "make", "apply");
  printf("%-30s %9s %9s %9s %9s %9s\n", "to one other", "event", "", "", "ms", "ms");
  for (unsigned c = 0; c < CARRIERS; ++c) {
    printf("%-30s", carrier_names[c]);
    for (unsigned m = 0; m < MEASURES; ++m) {
      const BenchSpread spread = bench_spread(results.carried[c][m], RUNS);
      if (spread.most > 0) {
        printf(" %9.*f", m == BYTES || m >= MAKE ? 1 : 0, spread.median);
        bench_data("travel", carrier_names[c], measure_names[m], measure_units[m], spread);
      } else {
        printf(" %9s", "-");
      }
    }
    printf("\n");
  }
}

static void print_count(const char* what, const double values[RUNS])
{
  const BenchSpread spread = bench_spread(values, RUNS);
  printf("%-58s %8.0f (%.0f to %.0f)\n", what, spread.median, spread.least, spread.most);
  bench_data("travel", "exchange", what, "", spread);
}

static void print_ids(void)
{
  static const struct {
    const char* name;
    double bytes; ///< Of a branch's id
  } ids[] = {{"tree and number, as today", 8},
             {"replica (in a list) and number", sizeof(TravelId)},
             {"replica in full, 128 bits, and number", TRAVEL_ID_BYTES + 4},
             {"hash of the content, 128 bits", 16},
             {"hash of the content, 256 bits", 32}};
  const double events = median(results.events) / median(results.branches);
  const double nodes = median(results.nodes) / median(results.branches);
  printf("\n%-40s %10s %10s\n", "ids: a branch's and its parent's", "bytes/", "and nodes");
  printf("%-40s %10s %10s\n", "", "event", "by it");
  for (unsigned i = 0; i < sizeof ids / sizeof *ids; ++i) {
    const double branch = 2 * ids[i].bytes / events;
    const double node = branch + nodes * ids[i].bytes / events;
    printf("%-40s %10.3f %10.3f\n", ids[i].name, branch, node);
    bench_data("travel-ids", ids[i].name, "bytes an event", "B",
               (BenchSpread){branch, branch, branch});
    bench_data("travel-ids", ids[i].name, "bytes an event, nodes too", "B",
               (BenchSpread){node, node, node});
  }
}

static void bench_exchange(void)
{
  load_music();
  printf("Exchange: %d musicians, %d takes each, twice, on a tree of %d takes; %d runs\n\n",
         MUSICIANS, TAKES, FIRST_TAKES, RUNS);
  for (run = 0; run < RUNS; ++run) {
    exchange_run();
  }
  print_carriers();
  printf("To make a backup or a file is to write it there as well. ");
  printf("An object, row or log is counted, not made: %.0f bytes a request, %.0f a row, %.0f a log "
         "entry are assumed.\n\n",
         request_bytes, row_bytes, log_bytes);
  print_count("events of one musician that are new", results.events);
  print_count("branches with them", results.branches);
  print_count("nodes with them", results.nodes);
  print_count("bytes to say what one has", results.have_bytes);
  print_count("bytes of a branch without its nodes", results.branch_bytes);
  print_count("branch numbers that were given", results.numbers);
  print_count("of these by two or more: they collide", results.collisions);
  print_count("siblings, as somebody else's branch was played on", results.siblings);
  print_count("songs that two or more went on with", results.contested);
  print_count("branches that all have in the end", results.tree_branches);
  print_ids();
  printf(
      "\nAfter each of %d exchanges all %d had the same music, and no store a fault: as only who "
      "made a branch plays on it, there was nothing to merge.\n",
      2 * RUNS, MUSICIANS);
}

/* ---- Size ------------------------------------------------------------------------- */

static const double hours_a_week = 10;
static const double hours_a_sitting = 2; ///< And a bundle after each
static const double peak_share = 0.1;    ///< Of all who play at once, at most
static const double price_put = 5e-6, price_get = 4e-7, price_gb_month = 0.02, price_gb_out = 0.05;

typedef struct {
  const char* name;
  double people;
  double readers; ///< Who take in each one's music
} Crowd;

static const Crowd crowds[] = {{"a band", 5, 4}, {"a label", 1000, 10}, {"the internet", 1e8, 10}};

enum { CROWDS = sizeof crowds / sizeof *crowds };

static void print_size(const char* what, const char* unit, const double values[CROWDS])
{
  printf("%-46s", what);
  for (unsigned i = 0; i < CROWDS; ++i) {
    printf(" %12.4g", values[i]);
    bench_data("travel-size", crowds[i].name, what, unit,
               (BenchSpread){values[i], values[i], values[i]});
  }
  printf("  %s\n", unit);
}

/** One line: `each` for every person. */
static void print_each(const char* what, const char* unit, double each)
{
  double values[CROWDS];
  for (unsigned i = 0; i < CROWDS; ++i) {
    values[i] = crowds[i].people * each;
  }
  print_size(what, unit, values);
}

/** What a day costs: requests to put and, for each reader, to get; a year's storage and
 * what readers take out, as a month of each. */
static void print_price(const char* what, double puts, double bytes)
{
  double values[CROWDS];
  for (unsigned i = 0; i < CROWDS; ++i) {
    const double month = 365.0 / 12;
    const double readers = crowds[i].readers;
    const double gb = bytes * month / 1e9;
    values[i] = crowds[i].people * (puts * month * (price_put + readers * price_get) +
                                    12 * gb * price_gb_month + readers * gb * price_gb_out);
  }
  print_size(what, "a month", values);
}

static void bench_size(void)
{
  bench_require(results.events[0] > 0, "The size is reckoned from the exchange: run that too.");
  const double rate = music_count / music_seconds;
  const double day_events = rate * hours_a_week * 3600 / 7;
  const double sittings = hours_a_week / 7 / hours_a_sitting;
  const double nodes = day_events * median(results.nodes) / median(results.events);
  const double branches = day_events * median(results.branches) / median(results.events);
  double day_bytes[CARRIERS];
  for (unsigned c = 0; c < CARRIERS; ++c) {
    day_bytes[c] = day_events * median(results.carried[c][BYTES]);
  }
  const double bundles = sittings * 2 + nodes / BUNDLE_NODES;
  printf("\nSize, reckoned\n");
  printf("assumed   %.1f events a second (tests/music), %.0f h a week each, %.0f h a sitting, "
         "at most %.0f %% at once\n",
         rate, hours_a_week, hours_a_sitting, 100 * peak_share);
  printf("assumed   %g a PUT, %g a GET, %g a GB kept for a month, %g a GB taken out\n", price_put,
         price_get, price_gb_month, price_gb_out);
  printf("%-46s %12s %12s %12s\n", "", crowds[0].name, crowds[1].name, crowds[2].name);
  print_size("people", "", (double[]){crowds[0].people, crowds[1].people, crowds[2].people});
  print_size("who take in each one's music", "",
             (double[]){crowds[0].readers, crowds[1].readers, crowds[2].readers});
  print_each("events, on average", "1/s", day_events / 86400);
  print_each("events, at most", "1/s", rate * peak_share);
  print_each("bytes a day, bundles", "B", day_bytes[BUNDLE]);
  print_each("bytes a day, bundles, deflated", "B", day_bytes[BUNDLE_SMALL]);
  print_each("bytes a day, git, a MIDI file a branch", "B", day_bytes[GIT_MIDI]);
  print_each("bytes a day, git, a file a node", "B", day_bytes[GIT_NODES]);
  print_each("bytes a day, an object a node", "B", day_bytes[OBJECTS]);
  print_each("bytes a day, rows", "B", day_bytes[ROWS]);
  print_each("bytes a day, CRDT log", "B", day_bytes[LOG_ROWS]);
  print_each("PUTs a day, an object a node", "", nodes + branches + sittings);
  print_each("PUTs a day, an object for 64 nodes", "", bundles);
  print_each("PUTs a second, an object a node", "1/s", (nodes + branches + sittings) / 86400);
  print_each("PUTs a second, an object for 64 nodes", "1/s", bundles / 86400);
  print_each("transactions a second, a row an event", "1/s", day_events / 86400);
  print_each("bytes kept a year, bundles, deflated", "B", 365 * day_bytes[BUNDLE_SMALL]);
  print_each("index of a year, 24 + 8 bytes a bundle", "B", 365 * bundles * 32);
  print_each("index of a year, 24 + 8 bytes a node", "B", 365 * nodes * 32);
  print_each("index of a year, 44 bytes a row", "B", 365 * day_events * 44);
  print_price("price after a year, an object a node", nodes + branches + sittings,
              day_bytes[OBJECTS]);
  print_price("price after a year, an object for 64 nodes", bundles, day_bytes[BUNDLE_SMALL]);
}

int main(int argc, char** argv)
{
  static const BenchPart parts[] = {{"exchange", bench_exchange}, {"size", bench_size}};
  bench_begin("How trees could travel");
  bench_run_parts(parts, sizeof parts / sizeof *parts, argc, argv);
  return 0;
}
