/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "bench/store_maker.h"

#include "bench/bench.h"

enum {
  COMMIT_EVENTS = 1 << 23,               ///< 64 MiB of events in one transaction
  WORDS_AT_ONCE = 3 * HR_NODE_WORDS - 1, ///< Too few for an extent: nodes lie as when recorded
  BRANCH_EVENTS = 64, ///< A branch with its name and journal entry is so many events' bytes
};

typedef struct {
  const StoreShape* shape;
  HrStore* store;
  HrTxn* txn;
  HrTreeId tree;
  uint64_t uncommitted; ///< Events, and branches as BRANCH_EVENTS
} Maker;

uint64_t maker_random(uint64_t* state)
{
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

uint64_t maker_events_each(const StoreShape* shape)
{
  const uint64_t each = shape->events / shape->branches;
  return each ? each : 1;
}

HrTick maker_fork_tick(const StoreShape* shape, uint32_t depth)
{
  return (HrTick)(depth * maker_events_each(shape) * MAKER_TICKS_PER_EVENT);
}

HrEvent maker_event(HrTick from, uint64_t n, uint8_t bytes[3])
{
  bytes[0] = n % 2 ? 0x80 : 0x90;
  bytes[1] = (uint8_t)(36 + n / 2 % 48);
  bytes[2] = (uint8_t)(1 + n / 96 % 127);
  return (HrEvent){from + (HrTick)(n * MAKER_TICKS_PER_EVENT), HR_EVENT_MIDI, 3, bytes};
}

static void begin(Maker* maker)
{
  maker->uncommitted = 0;
  bench_require(!hr_txn_begin(maker->store, HR_WRITE, &maker->txn), "The store cannot be written.");
}

static void commit(Maker* maker)
{
  bench_require(!hr_txn_commit(maker->txn), "The store cannot be written: is the disk full?");
}

/** Count what was written, and commit when it is much. */
static void wrote(Maker* maker, uint64_t events)
{
  maker->uncommitted += events;
  if (maker->uncommitted >= COMMIT_EVENTS) {
    commit(maker);
    begin(maker);
  }
}

static void play(Maker* maker, HrBranchId branch, HrTick from, uint64_t count)
{
  static const HrAppendOptions options = {.wall_clock_ns = 1};
  HrWord words[WORDS_AT_ONCE];
  for (uint64_t n = 0; n < count;) {
    const HrTick base = from + (HrTick)n * MAKER_TICKS_PER_EVENT;
    uint32_t some = 0;
    for (; some < WORDS_AT_ONCE && n < count; ++some, ++n) {
      words[some] = (HrWord){.offset = some * MAKER_TICKS_PER_EVENT, .length = 3};
      maker_event(from, n, words[some].bytes);
    }
    bench_require(!hr_append_words(maker->txn, branch, base, words, some, &options),
                  "Events were refused.");
    wrote(maker, some);
  }
}

static HrBranchId fork_at(Maker* maker, HrBranchId from, HrTick tick)
{
  HrBranchId id = 0;
  bench_require(!hr_branch_fork(maker->txn, from, tick, NULL, &id), "A fork was refused.");
  wrote(maker, BRANCH_EVENTS);
  return id;
}

/** The nested ones: branch 1 is the root. */
static void make_nested(Maker* maker)
{
  const uint64_t each = maker_events_each(maker->shape);
  HrBranchId branch = hr_branch_id(maker->tree, 1);
  play(maker, branch, 0, each);
  for (uint32_t depth = 1; depth <= maker->shape->depth; ++depth) {
    const HrTick tick = maker_fork_tick(maker->shape, depth);
    branch = fork_at(maker, branch, tick);
    play(maker, branch, tick, each);
  }
}

static void make_others(Maker* maker)
{
  const StoreShape* const shape = maker->shape;
  const uint64_t each = shape->events / shape->branches;
  uint64_t random = 88172645463325252;
  for (uint64_t made = (uint64_t)shape->depth + 1; made < shape->branches; ++made) {
    const uint32_t depth = (uint32_t)(maker_random(&random) % ((uint64_t)shape->depth + 1));
    const HrTick tick = maker_fork_tick(shape, depth + 1);
    const HrBranchId branch = fork_at(maker, hr_branch_id(maker->tree, depth + 1), tick);
    play(maker, branch, tick, each);
  }
}

void maker_make(const char* path, const StoreShape* shape)
{
  Maker maker = {.shape = shape};
  HrError error = {0};
  bench_require(shape->branches > shape->depth, "A store has more branches than it is deep.");
  const HrStatus status =
      hr_store_open(path, HR_STORE_CREATE | HR_STORE_UNSYNCED, &maker.store, &error);
  bench_require(!status, error.text);
  begin(&maker);
  bench_require(!hr_tree_create(maker.txn, NULL, 0, &maker.tree), "No tree could be made.");
  bench_require(maker.tree == 1, "The store is not new.");
  make_nested(&maker);
  make_others(&maker);
  commit(&maker);
  hr_store_close(maker.store);
}
