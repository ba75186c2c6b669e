/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Music appended many words at once lies in extents. Whoever reads, seeks, forks, checks,
 * copies or salvages it finds what is found where the same was appended event by event. */

#include "store/internal.h"
#include "store/survey.h"
#include "tests/store_rig.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
  NODES = 3 * HR_CHECKPOINT_NODES,
  WORDS = NODES * HR_NODE_WORDS,
  STEP = 100,
};

static HrWord music[WORDS];
static HrBranchId bulk, single; ///< The same music, in extents and without

/** Notes, controllers and programs of all channels; at times several events at one tick. */
static void compose(void)
{
  uint32_t offset = 0;
  srand(5);
  for (uint32_t i = 0; i < WORDS; ++i) {
    const uint8_t kind = random_kind();
    offset += rand() % 4 ? STEP : 0;
    music[i] = random_word(kind, offset);
  }
}

static const HrAppendOptions played = {.author = 7, .wall_clock_ns = 1};

static void append_bulk(HrTxn* txn, HrBranchId branch, uint32_t from, uint32_t until)
{
  assert_ok(hr_append_words(txn, branch, 0, music + from, until - from, &played));
}

static int setup_both(void** state)
{
  if (setup(state)) {
    return -1;
  }
  compose();
  HrTxn* const txn = begin(HR_WRITE);
  bulk = make_branch(txn);
  single = make_branch(txn);
  append_bulk(txn, bulk, 0, WORDS);
  append_one_by_one(txn, single, 0, music, WORDS, &played);
  return hr_txn_commit(txn) ? -1 : 0;
}

#define TEST_BOTH(name) cmocka_unit_test_setup_teardown(name, setup_both, teardown)

/** To the n-th node of a branch. */
static void go_to_node(HrNodeCursor* nodes, HrBranchId branch, uint64_t ordinal)
{
  int code = hr_nodes_first(nodes, branch);
  while (!code && hr_nodes_in(nodes, branch) && hr_tick_key_ordinal(&nodes->key) < ordinal) {
    code = hr_nodes_next(nodes);
  }
  assert_int_equal(code, 0);
  assert_true(hr_nodes_in(nodes, branch) && hr_tick_key_ordinal(&nodes->key) == ordinal);
}

static HrNodeCursor* open_nodes(HrTxn* txn)
{
  HrNodeCursor* nodes;
  assert_int_equal(hr_nodes_open(txn, &nodes), 0);
  return nodes;
}

/* ---- The bytes ----------------------------------------------------------------- */

static void test_whole_nodes_lie_in_extents(void** state)
{
  (void)state;
  static const uint8_t gap[HR_PAGE_SIZE - HR_NODE_SIZE];
  HrTxn* const txn = begin(HR_READ);
  HrNodeCursor* const nodes = open_nodes(txn);
  unsigned seen = 0;
  unsigned in_extents = 0;
  uint32_t largest = 0;
  int code = hr_nodes_first(nodes, bulk);
  for (; !code && hr_nodes_in(nodes, bulk); code = hr_nodes_next(nodes)) {
    const uint32_t count = hr_extent_nodes(&nodes->entry_key);
    const uint64_t ordinal = hr_tick_key_ordinal(&nodes->key);
    assert_int_equal(ordinal, seen++);
    assert_true(count % 2 && count <= HR_EXTENT_NODES);
    assert_int_equal(nodes->entry_key.mv_size % 8, 0);
    assert_int_equal((uintptr_t)nodes->node.mv_data % 8, 0);
    assert_true(hr_node_valid(&nodes->key, &nodes->node));
    in_extents += count > 1;
    largest = count > largest ? count : largest;
    if (count > 1) {
      assert_int_equal(nodes->entry.mv_size, hr_extent_bytes(count));
      assert_int_equal((uintptr_t)nodes->node.mv_data % HR_PAGE_SIZE, HR_PAGE_SIZE - HR_NODE_SIZE);
      assert_true(ordinal % HR_CHECKPOINT_NODES > nodes->index); // No checkpoint in it
    }
    if (nodes->index + 1 < count) {
      assert_memory_equal((char*)nodes->node.mv_data + HR_NODE_SIZE, gap, sizeof gap);
    }
  }
  HrBranch branch;
  assert_ok(hr_branch_get(txn, bulk, &branch));
  assert_int_equal(seen, branch.node_count);
  assert_true(in_extents > NODES * 9 / 10);
  assert_int_equal(largest, HR_EXTENT_NODES);
  hr_nodes_close(nodes);
  hr_txn_abort(txn);
  verify_clean();
}

/** Node by node, both ways. */
static void test_every_node_is_what_it_is_by_itself(void** state)
{
  (void)state;
  HrTxn* const txn = begin(HR_READ);
  HrNodeCursor* const a = open_nodes(txn);
  HrNodeCursor* const b = open_nodes(txn);
  unsigned forward = 0;
  unsigned backward = 0;
  assert_int_equal(hr_nodes_first(a, bulk), 0);
  assert_int_equal(hr_nodes_first(b, single), 0);
  do {
    HrNodeHeader left, right;
    assert_int_equal(a->node.mv_size, b->node.mv_size);
    memcpy(&left, a->node.mv_data, sizeof left);
    memcpy(&right, b->node.mv_data, sizeof right);
    left.checksum = right.checksum = 0; // Of the key, too
    assert_memory_equal(&left, &right, sizeof left);
    assert_memory_equal((HrNodeHeader*)a->node.mv_data + 1, (HrNodeHeader*)b->node.mv_data + 1,
                        left.word_count * sizeof(HrWord));
    assert_true(hr_tick_key_tick(&a->key) == hr_tick_key_tick(&b->key));
    ++forward;
  } while (!hr_nodes_next(a) && !hr_nodes_next(b) && hr_nodes_in(a, bulk));
  assert_int_equal(hr_nodes_before(a, bulk, INT64_MAX), 0);
  do {
    ++backward;
    assert_int_equal(hr_tick_key_ordinal(&a->key), forward - backward);
    assert_true(hr_node_valid(&a->key, &a->node));
  } while (!hr_nodes_previous(a));
  assert_int_equal(backward, forward);
  hr_nodes_close(a);
  hr_nodes_close(b);
  hr_txn_abort(txn);
}

static void test_only_such_keys_are_of_nodes(void** state)
{
  (void)state;
  static const uint8_t bytes[2 * sizeof(HrExtentKey)];
  for (size_t size = 0; size <= sizeof bytes; ++size) {
    const bool is_one = size >= sizeof(HrTickKey) && size <= sizeof(HrExtentKey) &&
                        (size - sizeof(HrTickKey)) % 8 == 0;
    assert_int_equal(hr_extent_nodes(&(MDB_val){size, (void*)bytes}),
                     is_one ? 1 + (size - sizeof(HrTickKey)) / sizeof(uint32_t) : 0);
  }
}

/** Where what is kept has no key of a node, it is of no branch, and no node. */
static void test_what_is_no_node_is_stepped_over(void** state)
{
  (void)state;
  struct {
    HrTickKey key;
    uint8_t more[4];
  } behind = {0}; // All of the first branch
  HrTxn* const txn = begin(HR_WRITE);
  hr_tick_key(&behind.key, bulk, INT64_MAX, 0);
  assert_ok(hr_put(txn, store->nodes, &behind, sizeof behind, music, HR_NODE_SIZE));
  HrNodeCursor* const nodes = open_nodes(txn);
  assert_int_equal(hr_nodes_before(nodes, bulk, INT64_MAX), 0);
  assert_int_equal(hr_nodes_next(nodes), 0);
  assert_true(hr_nodes_in(nodes, 0));
  assert_int_equal(nodes->node.mv_size, 0);
  assert_int_equal(hr_nodes_next(nodes), 0);
  assert_true(hr_nodes_in(nodes, single));
  assert_int_equal(hr_nodes_previous(nodes), 0);
  assert_true(hr_nodes_in(nodes, 0));
  assert_int_equal(hr_nodes_previous(nodes), 0);
  assert_true(hr_nodes_in(nodes, bulk));
  hr_nodes_close(nodes);
  hr_txn_abort(txn);
}

/** Of an entry that is too short for its key, the nodes are there that are there whole. */
static void test_an_extent_that_is_cut_off(void** state)
{
  (void)state;
  static uint8_t bytes[2 * HR_PAGE_SIZE + HR_NODE_SIZE];
  const struct {
    size_t bytes;
    unsigned nodes;
  } lengths[] = {{sizeof bytes, 3},      {sizeof bytes - 8, 2}, {2 * HR_PAGE_SIZE, 2},
                 {HR_PAGE_SIZE + 64, 1}, {HR_NODE_SIZE, 1},     {64, 0}};
  HrTxn* const txn = begin(HR_WRITE);
  const HrBranchId branch = make_branch(txn);
  append_bulk(txn, branch, 0, 4 * HR_NODE_WORDS);
  assert_ok(hr_tail_close(txn));
  HrNodeCursor* const nodes = open_nodes(txn);
  for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; ++i) {
    HrExtentKey key;
    go_to_node(nodes, branch, 1);
    MDB_val value = {lengths[i].bytes, bytes};
    const MDB_val key_value = {nodes->entry_key.mv_size, &key};
    memcpy(&key, nodes->entry_key.mv_data, nodes->entry_key.mv_size);
    memcpy(bytes, nodes->entry.mv_data, lengths[i].bytes);
    assert_ok(hr_node_put(txn, key_value, &value)); // In its place: behind it the rest still lies
    for (unsigned n = 0; n < 3; ++n) {
      go_to_node(nodes, branch, 1 + n);
      assert_int_equal(hr_node_valid(&nodes->key, &nodes->node), n < lengths[i].nodes);
      assert_int_equal(nodes->node.mv_size, n < lengths[i].nodes ? HR_NODE_SIZE : 0);
    }
  }
  hr_nodes_close(nodes);
  hr_txn_abort(txn);
}

/** Where one note an hour is played, the last of an extent are far from its first. */
static void test_nodes_far_from_each_other(void** state)
{
  (void)state;
  enum { COUNT = 22 * HR_NODE_WORDS };
  static HrWord sparse[COUNT];
  for (uint32_t i = 0; i < COUNT; ++i) {
    sparse[i] = music[i];
    sparse[i].offset = i * (UINT32_MAX / COUNT);
  }
  HrTxn* txn = begin(HR_WRITE);
  const HrBranchId branch = make_branch(txn);
  assert_ok(hr_append_words(txn, branch, 0, sparse, COUNT, NULL));
  assert_ok(hr_txn_commit(txn));
  txn = begin(HR_READ);
  HrNodeCursor* const nodes = open_nodes(txn);
  assert_int_equal(hr_nodes_before(nodes, branch, INT64_MAX), 0);
  assert_int_equal(nodes->index, HR_EXTENT_NODES - 1);
  assert_true(hr_tick_key_tick(&nodes->key) == sparse[21 * HR_NODE_WORDS].offset);
  hr_nodes_close(nodes);
  hr_txn_abort(txn);
  verify_clean();
}

/* ---- Reading ------------------------------------------------------------------- */

static void assert_same_from(HrTxn* txn, HrBranchId one, HrBranchId other, HrTick tick, int count)
{
  HrPath a, b;
  HrEvent x, y;
  assert_ok(hr_path_open(txn, one, tick, &a));
  assert_ok(hr_path_open(txn, other, tick, &b));
  for (int i = 0; i < count; ++i) {
    const HrStatus status = hr_path_next(&a, &x);
    assert_int_equal(hr_path_next(&b, &y), status);
    if (status) {
      break;
    }
    assert_true(x.tick == y.tick && x.tick >= tick);
    assert_memory_equal(x.bytes, y.bytes, x.size);
  }
  hr_path_close(&a);
  hr_path_close(&b);
}

static void assert_same_state(HrTxn* txn, HrBranchId one, HrBranchId other, HrTick tick)
{
  HrChase x, y;
  HrTempo a, b;
  assert_ok(hr_chase_at(txn, one, tick, &x));
  assert_ok(hr_chase_at(txn, other, tick, &y));
  assert_memory_equal(x.channels, y.channels, sizeof x.channels);
  assert_ok(hr_tempo_at(txn, one, tick, &a));
  assert_ok(hr_tempo_at(txn, other, tick, &b));
  assert_true(a.tempo == b.tempo && a.beats_per_bar == b.beats_per_bar);
}

/** At the first and the last tick of every node, and beside them; and a fork there. */
static void test_every_place_is_found(void** state)
{
  (void)state;
  HrTxn* const txn = begin(HR_WRITE);
  HrNodeCursor* const nodes = open_nodes(txn);
  for (unsigned i = 0; i < NODES; i += 1 + i % 3) {
    go_to_node(nodes, single, i);
    const HrNodeHeader node = *(const HrNodeHeader*)nodes->node.mv_data;
    const HrTick places[] = {node.base_tick - 1, node.base_tick,     node.base_tick + 1,
                             node.last_tick,     node.last_tick + 1, node.last_tick - 2 * STEP};
    for (unsigned p = 0; p < sizeof places / sizeof *places; ++p) {
      HrBranchId x, y;
      assert_same_from(txn, bulk, single, places[p], 3);
      assert_same_state(txn, bulk, single, places[p]);
      if (places[p] > 0 && p % 2) {
        assert_ok(hr_branch_fork(txn, bulk, places[p], NULL, &x));
        assert_ok(hr_branch_fork(txn, single, places[p], NULL, &y));
        assert_same_from(txn, x, y, places[p] - 2 * STEP, 12);
        assert_same_state(txn, x, y, INT64_MAX);
      }
    }
  }
  hr_nodes_close(nodes);
  hr_txn_abort(txn);
}

/** Where events of one tick lie in two nodes, reading begins with the first of them. */
static void test_a_chord_across_two_nodes(void** state)
{
  (void)state;
  HrTxn* const txn = begin(HR_READ);
  HrNodeCursor* const nodes = open_nodes(txn);
  uint32_t first = 0;
  int code = hr_nodes_first(nodes, bulk);
  for (; !code && hr_nodes_in(nodes, bulk); code = hr_nodes_next(nodes)) {
    const HrTick tick = hr_tick_key_tick(&nodes->key);
    HrPath path;
    HrEvent event;
    while (music[first].offset < tick) {
      ++first;
    }
    assert_ok(hr_path_open(txn, bulk, tick, &path));
    for (uint32_t i = first; i < WORDS && music[i].offset == tick; ++i) {
      assert_ok(hr_path_next(&path, &event));
      assert_memory_equal(event.bytes, music[i].bytes, event.size);
    }
    assert_ok(hr_path_next(&path, &event));
    assert_true(event.tick > tick);
    hr_path_close(&path);
  }
  hr_nodes_close(nodes);
  hr_txn_abort(txn);
}

/** In any number of pieces, it is the same music. */
static void test_pieces_of_any_size(void** state)
{
  (void)state;
  srand(9);
  for (int round = 0; round < 6; ++round) {
    HrTxn* txn = begin(HR_WRITE);
    const HrBranchId branch = make_branch(txn);
    for (uint32_t i = 0; i < WORDS;) {
      const uint32_t most = rand() % 2 ? 3 * HR_NODE_WORDS : 40 * HR_NODE_WORDS;
      const uint32_t left = WORDS - i;
      const uint32_t count = 1 + (unsigned)rand() % most;
      append_bulk(txn, branch, i, i + (count < left ? count : left));
      i += count < left ? count : left;
      if (rand() % 3 == 0) {
        assert_ok(hr_txn_commit(txn));
        txn = begin(HR_WRITE);
      }
    }
    assert_ok(hr_txn_commit(txn));
    txn = begin(HR_READ);
    assert_same_from(txn, branch, single, INT64_MIN, WORDS + 1);
    assert_same_state(txn, branch, single, INT64_MAX);
    hr_txn_abort(txn);
  }
  verify_clean();
}

/** A merge reads while it writes into the same transaction. LMDB moves the keys that lie on a page
 * with those it puts, and writes out what was put before: what is read is found again each time. */
static void test_a_merge_reads_extents_while_it_writes(void** state)
{
  (void)state;
  const HrTick half = music[WORDS / 2].offset;
  for (int committed = 0; committed < 2; ++committed) {
    HrBranchId forks[2], merged[2];
    const HrBranchId trees[] = {bulk, single};
    HrTxn* txn = begin(HR_WRITE);
    for (int i = 0; i < 2; ++i) {
      assert_ok(hr_branch_fork(txn, trees[i], half, NULL, &forks[i]));
    }
    append_bulk(txn, forks[0], WORDS / 2, WORDS);
    for (uint32_t i = WORDS / 2; i < WORDS; ++i) {
      assert_ok(hr_append_words(txn, forks[1], 0, &music[i], 1, &(HrAppendOptions){7, 1}));
    }
    if (committed) {
      assert_ok(hr_txn_commit(txn));
      txn = begin(HR_WRITE);
    }
    for (int i = 0; i < 2; ++i) {
      assert_ok(hr_branch_merge(txn, forks[i], trees[i], NULL, &merged[i]));
    }
    assert_ok(hr_txn_commit(txn));
    txn = begin(HR_READ);
    assert_same_from(txn, merged[0], merged[1], INT64_MIN, 2 * WORDS);
    assert_same_state(txn, merged[0], merged[1], INT64_MAX);
    hr_txn_abort(txn);
  }
  verify_clean();
}

/** Recording goes on behind an extent as behind a node. */
static void test_more_is_appended_behind_an_extent(void** state)
{
  (void)state;
  enum { WHOLE = 4 * HR_NODE_WORDS }; // The first node, then an extent of three that ends it
  const uint8_t note[] = {0x90, 60, 1};
  HrTxn* txn = begin(HR_WRITE);
  const HrBranchId branch = make_branch(txn);
  append_bulk(txn, branch, 0, WHOLE);
  assert_ok(hr_txn_commit(txn));
  txn = begin(HR_WRITE);
  HrTickKey last;
  MDB_val node;
  assert_ok(hr_node_last(txn, branch, &last, &node));
  assert_int_equal(hr_tick_key_ordinal(&last), 3);
  assert_true(hr_node_valid(&last, &node));
  const HrTick tick = music[WHOLE - 1].offset + 5;
  assert_ok(hr_append(txn, branch, &(HrEvent){tick, HR_EVENT_MIDI, 3, note}, NULL));
  assert_ok(hr_txn_commit(txn));
  txn = begin(HR_READ);
  HrBranch record;
  HrTempo tempo;
  assert_ok(hr_branch_get(txn, branch, &record));
  assert_int_equal(record.node_count, 5);
  assert_int_equal(record.event_count, WHOLE + 1);
  assert_ok(hr_tempo_at(txn, branch, INT64_MAX, &tempo));
  assert_ok(hr_node_last(txn, branch, &last, &node));
  assert_int_equal(hr_tick_key_tick(&last), tick);
  hr_txn_abort(txn);
  verify_clean();
}

/** A bad word anywhere in what would be an extent spoils the transaction, and no other. */
static void test_bad_words_are_refused(void** state)
{
  (void)state;
  static HrWord bad[WORDS];
  const uint32_t places[] = {HR_NODE_WORDS, 2 * HR_NODE_WORDS - 1, 7 * HR_NODE_WORDS + 3,
                             20 * HR_NODE_WORDS};
  for (unsigned p = 0; p < 2 * sizeof places / sizeof *places; ++p) {
    const uint32_t at = places[p / 2];
    memcpy(bad, music, sizeof bad);
    if (p % 2) {
      bad[at].length = 4;
    } else {
      bad[at].offset = bad[at - 1].offset - 1;
    }
    HrTxn* const txn = begin(HR_WRITE);
    const HrBranchId branch = make_branch(txn);
    assert_int_equal(hr_append_words(txn, branch, 0, bad, WORDS, NULL), HR_ERR_ARGUMENT);
    assert_int_equal(hr_txn_commit(txn), HR_ERR_ARGUMENT);
  }
  HrTxn* const txn = begin(HR_READ);
  HrBranch record;
  assert_int_equal(hr_branch_get(txn, single + ((uint64_t)1 << 32), &record), HR_ERR_NOT_FOUND);
  hr_txn_abort(txn);
  verify_clean();
}

/* ---- Damage -------------------------------------------------------------------- */

/** Where in the file the n-th node of a branch lies, and its entry's key. */
static off_t place_of_node(uint64_t ordinal, off_t* key, HrTick* tick, uint32_t* index)
{
  HrTxn* const txn = begin(HR_READ);
  HrNodeCursor* const nodes = open_nodes(txn);
  go_to_node(nodes, bulk, ordinal);
  const off_t place = (off_t)((uintptr_t)nodes->node.mv_data - store->map);
  *key = (off_t)((uintptr_t)nodes->entry_key.mv_data - store->map);
  *tick = hr_tick_key_tick(&nodes->key);
  *index = nodes->index;
  hr_nodes_close(nodes);
  hr_txn_abort(txn);
  return place;
}

static void reopen(void)
{
  char path[512];
  snprintf(path, sizeof path, "%s", hr_store_path(store));
  hr_store_close(store);
  assert_ok(hr_store_open(path, 0, &store, NULL));
}

/** Change bits of a byte of the file, which is open. */
static void flip(off_t place, uint8_t bits)
{
  uint8_t byte;
  const int fd = open(hr_store_path(store), O_RDWR | O_CLOEXEC);
  assert_true(fd >= 0);
  assert_int_equal(pread(fd, &byte, 1, place), 1);
  byte ^= bits;
  assert_int_equal(pwrite(fd, &byte, 1, place), 1);
  close(fd);
}

/** Events of the bulk branch that are read, and how many times damage is said. */
static uint64_t read_bulk(unsigned* damaged)
{
  HrTxn* const txn = begin(HR_READ);
  HrPath path;
  HrSpan span;
  HrStatus status;
  uint64_t events = 0;
  *damaged = 0;
  assert_ok(hr_path_open(txn, bulk, INT64_MIN, &path));
  while ((status = hr_path_next_span(&path, &span)) != HR_END) {
    assert_true(status == HR_OK || status == HR_ERR_DAMAGED);
    *damaged += status != HR_OK;
    events += status ? 0 : span.node->event_count;
  }
  hr_path_close(&path);
  hr_txn_abort(txn);
  return events;
}

/** Copy what is left to a new store: events on its first tree's root. */
static uint64_t salvage_events(void)
{
  HrSalvageReport report;
  HrStore* rescued = NULL;
  HrTxn* txn;
  HrBranch branch;
  char path[512];
  snprintf(path, sizeof path, "%s", hr_store_path(store));
  hr_store_close(store);
  assert_ok(hr_store_salvage(path, scratch_path("rescued.hr"), print_problem, NULL, &report, NULL));
  assert_ok(hr_store_open(scratch_path("rescued.hr"), 0, &rescued, NULL));
  assert_ok(hr_txn_begin(rescued, HR_READ, &txn));
  assert_ok(hr_branch_get(txn, bulk, &branch));
  hr_txn_abort(txn);
  HrVerifyReport verified;
  assert_ok(hr_store_verify(rescued, print_problem, NULL, &verified));
  assert_int_equal(verified.problems, 0);
  hr_store_close(rescued);
  unlink(scratch_path("rescued.hr"));
  assert_ok(hr_store_open(path, 0, &store, NULL));
  return branch.event_count;
}

/** The tempo at each place is what it would be without the damage. */
static void assert_tempo_from(HrTick tick)
{
  HrTxn* const txn = begin(HR_READ);
  for (int i = 0; i < 2; ++i) {
    HrTempo tempo;
    assert_ok(hr_tempo_at(txn, bulk, tick + 1 + i * (HrTick)(HR_NODE_WORDS * STEP), &tempo));
    assert_true(tempo.tempo == HR_DEFAULT_TEMPO);
  }
  hr_txn_abort(txn);
}

/** A damaged node is lost, and no other of its extent. */
static void test_a_damaged_node_is_lost_alone(void** state)
{
  (void)state;
  const uint64_t ordinals[] = {1, 2, 15, 21, 22, 70};
  for (unsigned i = 0; i < sizeof ordinals / sizeof *ordinals; ++i) {
    off_t key;
    HrTick tick;
    uint32_t index;
    unsigned damaged;
    char words[80];
    const off_t node = place_of_node(ordinals[i], &key, &tick, &index);
    const off_t place = node + (off_t)offsetof(HrNodeHeader, tempo) + 6;
    flip(place, 4);
    assert_tempo_from(tick);
    assert_int_equal(read_bulk(&damaged), WORDS - HR_NODE_WORDS);
    assert_int_equal(damaged, 1);
    snprintf(words, sizeof words, "the node at tick %lld is damaged", (long long)tick);
    assert_true(verify_complains(words));
    assert_in_range(salvage_events(), WORDS - HR_NODE_WORDS, WORDS - 1); // And what stands for them
    flip(place, 4);
  }
  verify_clean();
  assert_int_equal(salvage_events(), WORDS);
}

/** Damage behind the place where a branch forked is none of its own. */
static void test_damage_behind_a_fork_is_not_on_its_path(void** state)
{
  (void)state;
  off_t key;
  HrTick tick;
  uint32_t index;
  unsigned damaged;
  flip(place_of_node(70, &key, &tick, &index) + 1000, 4);
  HrTxn* const txn = begin(HR_WRITE);
  assert_ok(hr_branch_fork(txn, bulk, tick, NULL, &bulk));
  assert_ok(hr_txn_commit(txn));
  read_bulk(&damaged);
  assert_int_equal(damaged, 0);
}

/** Where an extent is gone as a whole, that is said once, and what follows is read. */
static void test_a_lost_extent_is_said_once(void** state)
{
  (void)state;
  unsigned damaged;
  HrChase chase;
  HrTxn* txn = begin(HR_WRITE);
  HrNodeCursor* const nodes = open_nodes(txn);
  go_to_node(nodes, bulk, 30);
  const uint32_t count = hr_extent_nodes(&nodes->entry_key);
  assert_true(count > 1);
  assert_int_equal(mdb_cursor_del(nodes->entries, 0), 0);
  hr_nodes_close(nodes);
  assert_ok(hr_txn_commit(txn));
  assert_int_equal(read_bulk(&damaged), WORDS - count * HR_NODE_WORDS);
  assert_int_equal(damaged, 1);
  assert_true(verify_complains("music is missing before tick"));
  HrVerifyReport report;
  assert_ok(hr_store_verify(store, NULL, NULL, &report));
  assert_int_equal(report.problems, 2); // And the count of events
  txn = begin(HR_READ);
  uint64_t lost = 0;
  assert_ok(hr_chase_read(txn, bulk, music[60 * HR_NODE_WORDS].offset, &chase, &lost));
  assert_int_equal(lost, count);
  hr_txn_abort(txn);
}

/** Without its checkpoint, the state is followed from what is there of the branch. */
static void test_a_lost_checkpoint(void** state)
{
  (void)state;
  HrChase chase;
  uint64_t lost = 0;
  HrTxn* const txn = begin(HR_WRITE);
  HrNodeCursor* const nodes = open_nodes(txn);
  go_to_node(nodes, single, 0); // The other branch lies before it
  assert_int_equal(mdb_cursor_del(nodes->entries, 0), 0);
  hr_nodes_close(nodes);
  assert_ok(hr_chase_read(txn, single, music[10 * HR_NODE_WORDS].offset, &chase, &lost));
  assert_int_equal(lost, 1);
  hr_txn_abort(txn);
}

/** So is a node whose place in the key is damaged; salvage finds it by its own checksum. */
static void test_a_damaged_key_of_an_extent(void** state)
{
  (void)state;
  off_t key;
  HrTick tick;
  uint32_t index;
  unsigned damaged;
  place_of_node(9, &key, &tick, &index);
  assert_true(index > 0);
  const off_t place = key + (off_t)offsetof(HrExtentKey, later[index - 1]);
  flip(place, 1);
  reopen();
  assert_int_equal(read_bulk(&damaged), WORDS - HR_NODE_WORDS);
  assert_int_equal(damaged, 1);
  HrVerifyReport report;
  assert_ok(hr_store_verify(store, NULL, NULL, &report));
  assert_true(report.problems);
  assert_int_equal(salvage_events(), WORDS);
  flip(place, 1);
  verify_clean();
}

/** By a key out of order, a node lies far behind where it does: nobody leaves the path there, nor
 * begins to read behind what is whole. */
static void test_a_key_out_of_order_hides_nothing(void** state)
{
  (void)state;
  const uint8_t high[] = {0x80, 0x04};
  off_t key;
  HrTick tick;
  uint32_t index;
  HrBranchId x, y;
  place_of_node(9, &key, &tick, &index);
  assert_true(index > 1);
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_branch_fork(txn, bulk, music[40 * HR_NODE_WORDS].offset, NULL, &x));
  assert_ok(hr_branch_fork(txn, single, music[40 * HR_NODE_WORDS].offset, NULL, &y));
  assert_ok(hr_txn_commit(txn));
  for (unsigned i = 0; i < 2; ++i) {
    /* The node moves beyond all others; then the one before it, by seven nodes. */
    place_of_node(9, &key, &tick, &index);
    const off_t place = key + (off_t)offsetof(HrExtentKey, later[index - 1 - i]) + (i ? 2 : 3);
    flip(place, high[i]);
    reopen();
    txn = begin(HR_READ);
    assert_same_from(txn, x, y, INT64_MIN, WORDS + 1);
    for (unsigned node = 0; node < 40; ++node) {
      const HrTick from = music[node * HR_NODE_WORDS + 7].offset;
      assert_same_from(txn, x, y, from, 600);
      assert_same_state(txn, x, y, from);
    }
    hr_txn_abort(txn);
    assert_true(verify_complains("the key of the nodes from tick"));
    flip(place, high[i]);
    reopen();
    verify_clean();
  }
}

/** An ordinal that is too small asks for fewer nodes than are found: what is missing is counted
 * nevertheless. */
static void test_a_damaged_ordinal_is_counted(void** state)
{
  (void)state;
  off_t key;
  HrTick tick;
  uint32_t index;
  HrChase chase;
  uint64_t damaged = 0;
  place_of_node(25, &key, &tick, &index);
  assert_true(index > 0);
  flip(key + (off_t)sizeof(HrTickKey) - 1, 0x10); // Of 22 becomes 6
  reopen();
  HrTxn* const txn = begin(HR_READ);
  assert_ok(hr_chase_read(txn, bulk, tick + STEP, &chase, &damaged));
  assert_in_range(damaged, 1, HR_CHECKPOINT_NODES);
  hr_txn_abort(txn);
}

/** Many whole nodes at the same ticks do not keep the lost ones from being found. */
static void test_whole_nodes_are_not_tried(void** state)
{
  (void)state;
  enum { BRANCHES = 8000, LOST_PAGES = 16 };
  uint8_t nothing[HR_PAGE_SIZE];
  off_t lost[LOST_PAGES];
  unsigned pages = 0;
  HrSalvageReport report;
  HrBranchId fork;
  memset(nothing, 0xff, sizeof nothing);
  compose();
  HrTxn* txn = begin(HR_WRITE);
  const HrBranchId root = make_branch(txn);
  for (unsigned i = 0; i < BRANCHES; ++i) {
    assert_ok(hr_branch_fork(txn, root, 0, NULL, &fork));
    append_bulk(txn, fork, 0, HR_NODE_WORDS);
  }
  assert_ok(hr_txn_commit(txn));
  txn = begin(HR_READ);
  HrNodeCursor* const nodes = open_nodes(txn);
  for (int code = hr_nodes_first(nodes, root + BRANCHES / 2); !code && pages < LOST_PAGES;
       code = hr_nodes_next(nodes)) {
    const off_t key = (off_t)((uintptr_t)nodes->entry_key.mv_data - store->map);
    const off_t page = key / HR_PAGE_SIZE * HR_PAGE_SIZE;
    if (!pages || page != lost[pages - 1]) {
      lost[pages++] = page;
    }
  }
  hr_nodes_close(nodes);
  hr_txn_abort(txn);
  char path[512];
  snprintf(path, sizeof path, "%s", hr_store_path(store));
  hr_store_close(store);
  store = NULL;
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  assert_true(fd >= 0);
  for (unsigned i = 0; i < pages; ++i) {
    assert_int_equal(pwrite(fd, nothing, sizeof nothing, lost[i]), sizeof nothing);
  }
  close(fd);
  assert_ok(hr_store_salvage(path, scratch_path("rescued.hr"), NULL, NULL, &report, NULL));
  assert_int_equal(report.events, (uint64_t)BRANCHES * HR_NODE_WORDS);
}

/** The page with the keys is lost: all nodes find their place by their checksum. */
static void test_extents_without_keys_find_their_place(void** state)
{
  (void)state;
  off_t key;
  HrTick tick;
  uint32_t index;
  uint8_t page[HR_PAGE_SIZE];
  place_of_node(100, &key, &tick, &index);
  const off_t start = key / HR_PAGE_SIZE * HR_PAGE_SIZE;
  const int fd = open(hr_store_path(store), O_RDWR | O_CLOEXEC);
  assert_true(fd >= 0);
  memset(page, 0xff, sizeof page);
  assert_int_equal(pwrite(fd, page, sizeof page, start), sizeof page);
  close(fd);
  char path[512];
  HrSalvageReport report;
  HrStore* rescued = NULL;
  HrTxn* txn;
  HrBranch branch;
  snprintf(path, sizeof path, "%s", hr_store_path(store));
  assert_ok(hr_store_salvage(path, scratch_path("rescued.hr"), print_problem, NULL, &report, NULL));
  assert_ok(hr_store_open(scratch_path("rescued.hr"), 0, &rescued, NULL));
  assert_ok(hr_txn_begin(rescued, HR_READ, &txn));
  assert_ok(hr_branch_get(txn, bulk, &branch));
  assert_int_equal(branch.event_count, WORDS);
  hr_txn_abort(txn);
  hr_store_close(rescued);
}

/** Where no key is damaged, a survey takes every node by it, and tries none elsewhere. */
static void test_a_survey_goes_by_the_keys(void** state)
{
  (void)state;
  HrSurvey survey;
  HrBranch first, second;
  HrTxn* const txn = begin(HR_READ);
  assert_ok(hr_branch_get(txn, bulk, &first));
  assert_ok(hr_branch_get(txn, single, &second));
  hr_txn_abort(txn);
  const int fd = open(hr_store_path(store), O_RDONLY | O_CLOEXEC);
  assert_true(fd >= 0);
  const uint64_t pages = (uint64_t)lseek(fd, 0, SEEK_END) / HR_PAGE_SIZE;
  uint8_t* const uses = malloc(pages);
  assert_non_null(uses);
  memset(uses, HR_PAGE_IN_TREE, pages);
  assert_ok(hr_survey(&survey, fd, uses, false, pages, pages - 1));
  unsigned nodes = 0;
  for (size_t i = 0; i < survey.count; ++i) {
    const HrFound* const found = &survey.found[i];
    if (found->kind == HR_SURVEY_NODE) {
      size_t size;
      HrNodeHeader* const node = hr_survey_value(&survey, found, &size);
      assert_non_null(node);
      assert_true(found->weight == node->event_count && found->author == 7);
      assert_true(found->tick == node->base_tick && found->last == node->last_tick);
      free(node);
      ++nodes;
    }
  }
  assert_int_equal(nodes, first.node_count + second.node_count);
  hr_survey_free(&survey);
  free(uses);
  close(fd);
}

/* ---- Backup -------------------------------------------------------------------- */

static HrBackupReport back_up(void)
{
  HrBackupReport report;
  assert_ok(hr_store_backup(store, scratch_path("backup.hr"), &report, NULL));
  return report;
}

/** What the backup's branch says, and that so many of its nodes are damaged. */
static uint64_t events_of_backup(unsigned damaged)
{
  HrStore* backup = NULL;
  HrTxn* txn;
  HrBranch branch;
  HrVerifyReport report;
  assert_ok(hr_store_open(scratch_path("backup.hr"), 0, &backup, NULL));
  assert_ok(hr_store_verify(backup, print_problem, NULL, &report));
  assert_int_equal(report.problems, damaged ? damaged + 1 : 0); // And the count of events
  assert_ok(hr_txn_begin(backup, HR_READ, &txn));
  assert_ok(hr_branch_get(txn, bulk, &branch));
  hr_txn_abort(txn);
  hr_store_close(backup);
  return branch.event_count;
}

/** What is new is copied, extents as a whole; the last one of before is looked at again. */
static void test_a_backup_takes_extents_as_they_are(void** state)
{
  (void)state;
  enum { MORE = 30 * HR_NODE_WORDS };
  HrTxn* txn = begin(HR_WRITE);
  bulk = make_branch(txn);
  append_bulk(txn, bulk, 0, 4 * HR_NODE_WORDS); // Ends with an extent
  assert_ok(hr_txn_commit(txn));
  back_up();
  assert_int_equal(back_up().nodes, 0);
  txn = begin(HR_WRITE);
  append_bulk(txn, bulk, 4 * HR_NODE_WORDS, MORE);
  assert_ok(hr_txn_commit(txn));
  const HrBackupReport report = back_up();
  assert_in_range(report.nodes, 26, 30);
  assert_int_equal(report.damaged, 0);
  assert_int_equal(events_of_backup(0), MORE);
}

/** Change a bit of a node of the backup. */
static void damage_backup(uint64_t ordinal)
{
  HrStore* const own = store;
  off_t key;
  HrTick tick;
  uint32_t index;
  assert_ok(hr_store_open(scratch_path("backup.hr"), 0, &store, NULL));
  flip(place_of_node(ordinal, &key, &tick, &index) + 500, 1);
  hr_store_close(store);
  store = own;
}

/** Append an extent of three, and back up. */
static void back_up_an_extent(void)
{
  HrTxn* const txn = begin(HR_WRITE);
  bulk = make_branch(txn);
  append_bulk(txn, bulk, 0, 4 * HR_NODE_WORDS);
  append_bulk(txn, make_branch(txn), 0, 4 * HR_NODE_WORDS); // In which nothing is new
  assert_ok(hr_txn_commit(txn));
  back_up();
}

/** Append more behind it, and back up again. */
static HrBackupReport back_up_more(void)
{
  HrTxn* const txn = begin(HR_WRITE);
  append_bulk(txn, bulk, 4 * HR_NODE_WORDS, 9 * HR_NODE_WORDS);
  assert_ok(hr_txn_commit(txn));
  return back_up();
}

/** Meanwhile damage nodes of it in the store and in the backup (bit n: the n-th). */
static HrBackupReport back_up_damaged(unsigned own, unsigned theirs)
{
  off_t key;
  HrTick tick;
  uint32_t index;
  back_up_an_extent();
  reopen();
  for (unsigned n = 1; n < 4; ++n) {
    if (own >> n & 1) {
      flip(place_of_node(n, &key, &tick, &index) + 500, 1);
      assert_int_equal(index, n - 1);
    }
    if (theirs >> n & 1) {
      damage_backup(n);
    }
  }
  return back_up_more();
}

/** The same where only the key of either is damaged: in order, or out of it. The backup is not
 * taken for another's, nor does it get the extent twice. */
static void test_a_backup_with_a_damaged_key_of_an_extent(void** state)
{
  for (unsigned i = 0; i < 4; ++i) {
    char path[512];
    snprintf(path, sizeof path, "%s", hr_store_path(store));
    const bool in_backup = i % 2;
    off_t key;
    HrTick tick;
    uint32_t index;
    back_up_an_extent();
    if (in_backup) {
      hr_store_close(store);
      assert_ok(hr_store_open(scratch_path("backup.hr"), 0, &store, NULL));
    }
    place_of_node(2, &key, &tick, &index);
    flip(key + (off_t)offsetof(HrExtentKey, later[0]) + (i < 2 ? 0 : 3), 1);
    if (in_backup) {
      hr_store_close(store);
      assert_ok(hr_store_open(path, 0, &store, NULL));
    }
    assert_int_equal(back_up_more().damaged, i == 0); // Out of order, nothing is lost
    assert_int_equal(events_of_backup(0), 9 * HR_NODE_WORDS);
    assert_int_equal(teardown(state) || setup(state), 0);
  }
}

/** Where the store's last extent of before is damaged, the backup's stays. */
static void test_a_backup_keeps_the_better_extent(void** state)
{
  (void)state;
  const HrBackupReport report = back_up_damaged(1 << 2 | 1 << 3, 0);
  assert_int_equal(report.damaged, 2);
  assert_int_equal(report.nodes, 5);
  assert_int_equal(report.records, 2); // One extent, and the branch
  assert_int_equal(events_of_backup(0), 9 * HR_NODE_WORDS);
}

/** Where the backup's is, it is replaced. */
static void test_a_better_extent_replaces_the_backups(void** state)
{
  (void)state;
  const HrBackupReport report = back_up_damaged(0, 1 << 2);
  assert_int_equal(report.damaged, 0);
  assert_int_equal(report.nodes, 8);
  assert_int_equal(events_of_backup(0), 9 * HR_NODE_WORDS);
}

/** Where both are, the backup's stays if it has a node that the store's has lost. */
static void test_of_two_damaged_extents_the_backups_stays(void** state)
{
  (void)state;
  assert_int_equal(back_up_damaged(1 << 3, 1 << 1 | 1 << 2).damaged, 1);
  assert_int_equal(events_of_backup(2), 9 * HR_NODE_WORDS);
}

static void test_of_two_damaged_extents_the_better_is_taken(void** state)
{
  (void)state;
  assert_int_equal(back_up_damaged(1 << 1, 1 << 1 | 1 << 2).damaged, 1);
  assert_int_equal(events_of_backup(1), 9 * HR_NODE_WORDS);
}

/** Append the same words to a branch of the store and of its backup, each from its base on; some
 * bits of one are others in the store. */
static void assert_parted(HrTick own, HrTick theirs, uint32_t count, uint8_t bits)
{
  const HrAppendOptions options = {.wall_clock_ns = 1};
  HrBackupReport report;
  HrError error;
  HrTxn* txn = begin(HR_WRITE);
  bulk = make_branch(txn);
  assert_ok(hr_txn_commit(txn));
  unlink(scratch_path("backup.hr"));
  back_up();
  HrStore* other = NULL;
  assert_ok(hr_store_open(scratch_path("backup.hr"), 0, &other, NULL));
  assert_ok(hr_txn_begin(other, HR_WRITE, &txn));
  assert_ok(hr_append_words(txn, bulk, theirs, music, count, &options));
  assert_ok(hr_txn_commit(txn));
  hr_store_close(other);
  music[count / 2].bytes[1] ^= bits;
  for (int i = 0; i < 2; ++i) {
    txn = begin(HR_WRITE);
    assert_ok(
        hr_append_words(txn, bulk, own + i * (HrTick)music[count].offset, music, count, &options));
    assert_ok(hr_txn_commit(txn));
  }
  assert_int_equal(hr_store_backup(store, scratch_path("backup.hr"), &report, &error),
                   HR_ERR_EXISTS);
  compose();
}

/** Two stores whose nodes differ, or the places of these, have parted. */
static void test_a_backup_of_other_extents_is_refused(void** state)
{
  (void)state;
  assert_parted(0, 0, 4 * HR_NODE_WORDS, 1);
  assert_parted(STEP, 0, 4 * HR_NODE_WORDS, 0);
  assert_parted(0, STEP, 1, 0);
  assert_parted(STEP, 0, 1, 0);
}

int main(void)
{
  mallopt(M_PERTURB, 0xa5); // So that bytes that nobody writes are not zero by chance
  const struct CMUnitTest tests[] = {
      TEST_BOTH(test_whole_nodes_lie_in_extents),
      TEST_BOTH(test_every_node_is_what_it_is_by_itself),
      TEST(test_only_such_keys_are_of_nodes),
      TEST_BOTH(test_what_is_no_node_is_stepped_over),
      TEST_BOTH(test_an_extent_that_is_cut_off),
      TEST_BOTH(test_nodes_far_from_each_other),
      TEST_BOTH(test_every_place_is_found),
      TEST_BOTH(test_a_chord_across_two_nodes),
      TEST_BOTH(test_pieces_of_any_size),
      TEST_BOTH(test_a_merge_reads_extents_while_it_writes),
      TEST_BOTH(test_more_is_appended_behind_an_extent),
      TEST_BOTH(test_bad_words_are_refused),
      TEST_BOTH(test_a_damaged_node_is_lost_alone),
      TEST_BOTH(test_damage_behind_a_fork_is_not_on_its_path),
      TEST_BOTH(test_a_lost_extent_is_said_once),
      TEST_BOTH(test_a_lost_checkpoint),
      TEST_BOTH(test_a_damaged_key_of_an_extent),
      TEST_BOTH(test_a_key_out_of_order_hides_nothing),
      TEST_BOTH(test_extents_without_keys_find_their_place),
      TEST_BOTH(test_a_damaged_ordinal_is_counted),
      TEST(test_whole_nodes_are_not_tried),
      TEST(test_a_backup_takes_extents_as_they_are),
      TEST(test_a_backup_keeps_the_better_extent),
      TEST(test_a_backup_with_a_damaged_key_of_an_extent),
      TEST_BOTH(test_a_survey_goes_by_the_keys),
      TEST(test_a_better_extent_replaces_the_backups),
      TEST(test_of_two_damaged_extents_the_backups_stays),
      TEST(test_of_two_damaged_extents_the_better_is_taken),
      TEST(test_a_backup_of_other_extents_is_refused),
  };
  return cmocka_run_group_tests_name("extents", tests, NULL, NULL);
}
