/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "bench/scale_growth.h"

#include "bench/scale_cold.h"
#include "bench/scale_print.h"

#include <stdio.h>

enum {
  COMMIT_EVENTS = 35, ///< Played in 0.7 s at 50 a second, which is how often the worker commits
  RING_EVENTS = 6500, ///< What the plugin reads at a time, at the most: its ring holds no more
};

/** What is measured, in a store that is open if it is not opened for the purpose. */
typedef struct {
  const Sized* sized;
  HrStore* store;
  HrBranchId recorded; ///< Forked at the end of the deepest branch
  HrTick head;
} Subject;

static HrBranchId deepest(const Subject* subject)
{
  return scale_nested_branch(subject->sized->shape.depth);
}

static HrTick anywhere(const Subject* subject)
{
  /* The last event of a path is not sought: nothing may come after a tick behind it. */
  const StoreShape* const shape = &subject->sized->shape;
  return scale_random_tick(shape, shape->depth) - MAKER_TICKS_PER_EVENT;
}

static uint64_t since(uint64_t begun)
{
  return bench_clock() - begun;
}

static uint64_t time_open(const Subject* subject)
{
  const uint32_t depth = (uint32_t)(scale_random() % subject->sized->shape.depth);
  const char* const path = scale_made(subject->sized);
  const uint64_t begun = bench_clock();
  HrStore* store = NULL;
  bench_require(!hr_store_open(path, 0, &store, NULL) &&
                    scale_seek(store, scale_nested_branch(depth), 0),
                "The store cannot be opened.");
  const uint64_t clocks = since(begun);
  hr_store_close(store);
  return clocks;
}

static uint64_t open_warm(Subject* subject)
{
  return time_open(subject);
}

static uint64_t open_cold(Subject* subject)
{
  cold_drop(scale_made(subject->sized));
  return time_open(subject);
}

static HrTxn* begin(HrStore* store)
{
  HrTxn* txn = NULL;
  bench_require(!hr_txn_begin(store, HR_WRITE, &txn), "The store cannot be written.");
  return txn;
}

static void commit(HrTxn* txn)
{
  bench_require(!hr_txn_commit(txn), "The store cannot be written.");
}

static uint64_t fork_somewhere(Subject* subject)
{
  const uint64_t begun = bench_clock();
  HrTxn* const txn = begin(subject->store);
  scale_fork(txn, subject->sized);
  commit(txn);
  return since(begun);
}

static void begin_recording(Subject* subject)
{
  const StoreShape* const shape = &subject->sized->shape;
  HrTxn* const txn = begin(subject->store);
  subject->head = maker_fork_tick(shape, shape->depth + 1);
  bench_require(!hr_branch_fork(txn, deepest(subject), subject->head, NULL, &subject->recorded),
                "A fork was refused.");
  commit(txn);
}

static uint64_t record(Subject* subject)
{
  uint8_t bytes[3];
  if (!subject->recorded) {
    begin_recording(subject);
  }
  const uint64_t begun = bench_clock();
  HrTxn* const txn = begin(subject->store);
  for (uint64_t n = 0; n < COMMIT_EVENTS; ++n) {
    const HrEvent event = maker_event(subject->head, n, bytes);
    bench_require(!hr_append(txn, subject->recorded, &event, NULL), "An event was refused.");
  }
  commit(txn);
  subject->head += COMMIT_EVENTS * MAKER_TICKS_PER_EVENT;
  return since(begun);
}

static void seek(const Subject* subject, HrTick tick)
{
  bench_require(scale_seek(subject->store, deepest(subject), tick), "A seek found nothing.");
}

static void replay(const Subject* subject, HrTick tick)
{
  HrTxn* txn = NULL;
  HrPath path = {0};
  HrEvent event = {.tick = tick};
  bench_require(!hr_txn_begin(subject->store, HR_READ, &txn) &&
                    !hr_path_open(txn, deepest(subject), tick, &path),
                "The store cannot be read.");
  for (unsigned i = 0; i < RING_EVENTS && !hr_path_next(&path, &event); ++i) {
  }
  hr_path_close(&path);
  hr_txn_abort(txn);
  bench_require(event.bytes, "A replay found nothing.");
}

/** Anywhere, the second time: where the music is in memory. */
static uint64_t time_again(const Subject* subject, void (*act)(const Subject*, HrTick))
{
  const HrTick tick = anywhere(subject);
  act(subject, tick);
  const uint64_t begun = bench_clock();
  act(subject, tick);
  return since(begun);
}

static uint64_t seek_warm(Subject* subject)
{
  return time_again(subject, seek);
}

static uint64_t replay_warm(Subject* subject)
{
  return time_again(subject, replay);
}

enum { OPEN_WARM, OPEN_COLD = 7, MEASURES };
enum { CLOSED = -1 };

static const struct {
  const char* name;
  int flags; ///< That the store is opened with, or CLOSED
  unsigned count;
  uint64_t (*once)(Subject* subject);
} measures[MEASURES] = {
    [OPEN_WARM] = {"open, and a first event", CLOSED, 300, open_warm},
    {"fork, not synced", HR_STORE_UNSYNCED, 2000, fork_somewhere},
    {"fork, durable", 0, 300, fork_somewhere},
    {"commit of 35 events, not synced", HR_STORE_UNSYNCED, 2000, record},
    {"commit of 35 events, durable", 0, 300, record},
    {"seek", 0, 20000, seek_warm},
    {"replay: 6,500 events read", 0, 500, replay_warm},
    [OPEN_COLD] = {"open, nothing of it in memory", CLOSED, 30, open_cold}, // And then nothing is
};

static double measure(const Sized* sized, unsigned which)
{
  enum { WARM_UP = 10 };
  Subject subject = {.sized = sized};
  BenchTimes times = {0};
  if (measures[which].flags != CLOSED) {
    subject.store = scale_open(sized, (unsigned)measures[which].flags);
  }
  bench_times_begin(&times, measures[which].count);
  for (unsigned i = 0; i < WARM_UP + measures[which].count; ++i) {
    const uint64_t clocks = measures[which].once(&subject);
    if (i >= WARM_UP) {
      bench_times_add(&times, clocks);
    }
  }
  hr_store_close(subject.store);
  bench_times_sort(&times);
  print_times(measures[which].name, &times);
  const double milliseconds = microseconds(&times, 0.5) / 1e3;
  bench_times_free(&times);
  return milliseconds;
}

GrowthOpening growth_measure(const Sized* sized)
{
  double medians[MEASURES];
  char column[64];
  char head[128];
  const double size = scale_megabytes(scale_made(sized));
  snprintf(column, sizeof column, "%.*f %s", size < 1e3 || size > 1e4 ? 0 : 1,
           size < 1e3 ? size : size / 1e3, size < 1e3 ? "MB" : "GB");
  snprintf(head, sizeof head, "%s, %u branches", column, sized->shape.branches);
  print_head(head, "growth", column);
  scale_warm(scale_made(sized));
  for (unsigned i = 0; i < MEASURES; ++i) {
    medians[i] = measure(sized, i);
  }
  return (GrowthOpening){medians[OPEN_WARM], medians[OPEN_COLD]};
}
