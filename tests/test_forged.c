/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What damage has taken out of a store, or somebody with right checksums has put into
 * one: nobody waits for ever, no note of another branch is heard, what is whole is used. */

#include "store/chase.h"
#include "store/internal.h"
#include "store/pages.h"
#include "tests/damage_rig.h"

#include <endian.h>
#include <stdlib.h>
#include <sys/mman.h>

static HrTreeId make_tree(HrTxn* txn)
{
  HrTreeId tree;
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  return tree;
}

static HrBranchId fork_at(HrTxn* txn, HrBranchId from, HrTick tick)
{
  HrBranchId id;
  assert_ok(hr_branch_fork(txn, from, tick, NULL, &id));
  return id;
}

static void append_controller(HrTxn* txn, HrBranchId branch, HrTick tick, uint8_t value)
{
  const uint8_t bytes[3] = {0xb0, 7, value};
  assert_ok(hr_append(txn, branch, &(HrEvent){tick, HR_EVENT_MIDI, 3, bytes}, NULL));
}

/** Nodes of nothing but volume, from `tick` on. */
static void append_nodes(HrTxn* txn, HrBranchId branch, HrTick tick, unsigned nodes, uint8_t value)
{
  for (unsigned i = 0; i < nodes * HR_NODE_WORDS; ++i) {
    append_controller(txn, branch, tick + i, value);
  }
}

static void find_node(HrTxn* txn, HrBranchId branch, uint64_t ordinal, HrTick tick, HrTickKey* key,
                      MDB_val* value)
{
  MDB_val k = {sizeof *key, key};
  hr_tick_key(key, branch, tick, ordinal);
  assert_int_equal(mdb_get(txn->txn, store->nodes, &k, value), 0);
}

static void remove_node(HrTxn* txn, HrBranchId branch, uint64_t ordinal, HrTick tick)
{
  HrTickKey key;
  MDB_val value;
  find_node(txn, branch, ordinal, tick, &key, &value);
  assert_int_equal(mdb_del(txn->txn, store->nodes, &(MDB_val){sizeof key, &key}, NULL), 0);
}

/** Change a bit of a node. */
static void damage_node(HrTxn* txn, HrBranchId branch, uint64_t ordinal, HrTick tick)
{
  HrTickKey key;
  MDB_val value;
  find_node(txn, branch, ordinal, tick, &key, &value);
  uint8_t* const bytes = malloc(value.mv_size);
  assert_non_null(bytes);
  memcpy(bytes, value.mv_data, value.mv_size);
  bytes[value.mv_size - 1] ^= 1;
  value.mv_data = bytes;
  assert_ok(hr_node_put(txn, (MDB_val){sizeof key, &key}, &value));
  free(bytes);
}

/** The state at a place is that of its branch, also where the node that it begins from was the
 * store's first and is lost. */
static void test_no_other_branch_is_chased(void** state)
{
  (void)state;
  HrChase chase;
  HrTxn* txn = begin(HR_WRITE);
  const HrBranchId branch = hr_branch_id(make_tree(txn), 1);
  const HrBranchId other = hr_branch_id(make_tree(txn), 1);
  append_nodes(txn, branch, 0, 1, 5);
  append_nodes(txn, branch, HR_NODE_WORDS, 1, 100);
  assert_ok(append_note(txn, other, 0, 36));
  assert_ok(hr_tail_close(txn));
  remove_node(txn, branch, 0, 0);
  assert_ok(hr_txn_commit(txn));
  txn = begin(HR_READ);
  assert_ok(hr_chase_at(txn, branch, HR_NODE_WORDS + 10, &chase));
  assert_int_equal(chase.channels[0].controllers[7], 100);
  assert_int_equal(chase.channels[0].velocities[36], 0);
  hr_txn_abort(txn);
}

/** What was played at 90 goes on at 90; where nothing is whole, no other branch says it. */
static void test_the_tempo_is_that_of_the_last_whole_node(void** state)
{
  (void)state;
  HrTempo tempo;
  uint64_t damaged = 0;
  uint8_t bytes[HR_META_TEMPO_SIZE];
  HrTxn* txn = begin(HR_WRITE);
  const HrBranchId other = hr_branch_id(make_tree(txn), 1);
  const HrBranchId branch = hr_branch_id(make_tree(txn), 1);
  hr_meta_tempo(60.0, bytes);
  assert_ok(hr_append(txn, other, &(HrEvent){0, HR_EVENT_META, sizeof bytes, bytes}, NULL));
  hr_meta_tempo(90.0, bytes);
  assert_ok(hr_append(txn, branch, &(HrEvent){0, HR_EVENT_META, sizeof bytes, bytes}, NULL));
  append_nodes(txn, branch, 1, 3, 100);
  assert_ok(hr_tail_close(txn));
  const HrTick second = HR_NODE_WORDS - 2; // The tempo takes three words
  damage_node(txn, branch, 1, second);
  damage_node(txn, branch, 2, second + HR_NODE_WORDS);
  damage_node(txn, branch, 3, second + 2 * (HrTick)HR_NODE_WORDS);
  assert_ok(hr_txn_commit(txn));
  txn = begin(HR_READ);
  assert_ok(hr_tempo_read(txn, branch, INT64_MAX, &tempo, &damaged));
  assert_true(tempo.tempo == 90.0);
  assert_int_equal(damaged, 3);
  assert_ok(hr_tempo_at(txn, branch, 0, &tempo));
  assert_true(tempo.tempo == HR_DEFAULT_TEMPO);
  hr_txn_abort(txn);
  txn = begin(HR_WRITE);
  damage_node(txn, branch, 0, 0);
  assert_ok(hr_tempo_at(txn, branch, INT64_MAX, &tempo));
  assert_true(tempo.tempo == HR_DEFAULT_TEMPO);
  hr_txn_abort(txn);
}

/** The disk fails, and has what it had before. */
static void lose(const uint8_t* before, size_t size)
{
  const int fd = open(scratch_path("a/b/test.hr"), O_WRONLY | O_CLOEXEC);
  assert_int_equal(pwrite(fd, before, size, 0), size);
  close(fd);
  hr_status_from_lmdb(store, EIO);
}

/** What was committed before a disk failed, and is not on it: where a branch came from then
 * says nothing of the one that has its number now. */
static void test_what_a_disk_lost_is_forgotten(void** state)
{
  (void)state;
  HrBranch owner;
  size_t size;
  HrTxn* txn = begin(HR_WRITE);
  const HrBranchId root = hr_branch_id(make_tree(txn), 1);
  assert_ok(append_note(txn, root, 0, 60));
  assert_ok(hr_txn_commit(txn));
  uint8_t* const before = read_file(scratch_path("a/b/test.hr"), &size);
  txn = begin(HR_WRITE);
  const HrBranchId lost = fork_at(txn, root, 1000);
  assert_ok(hr_txn_commit(txn));
  txn = begin(HR_READ);
  assert_ok(hr_branch_owner(txn, lost, 1500, &owner));
  assert_true(owner.id == lost);
  hr_txn_abort(txn);

  lose(before, size);
  free(before);
  txn = begin(HR_WRITE);
  assert_true(fork_at(txn, root, 2000) == lost);
  assert_ok(hr_txn_commit(txn));
  txn = begin(HR_READ);
  assert_ok(hr_branch_owner(txn, lost, 1500, &owner));
  assert_true(owner.id == root);
  hr_txn_abort(begin(HR_WRITE)); // It is open again, once for all
  hr_txn_abort(txn);
}

/** The same of the state that its last nodes left: it is in no checkpoint. */
static void test_the_state_that_a_disk_lost_is_forgotten(void** state)
{
  (void)state;
  HrChase chase;
  size_t size;
  HrTick tick = 1;
  HrTxn* txn = begin(HR_WRITE);
  const HrBranchId branch = hr_branch_id(make_tree(txn), 1);
  append_controller(txn, branch, 0, 5);
  assert_ok(hr_txn_commit(txn));
  uint8_t* const before = read_file(scratch_path("a/b/test.hr"), &size);
  txn = begin(HR_WRITE);
  append_nodes(txn, branch, tick, 1, 5);
  assert_ok(append_note(txn, branch, HR_NODE_WORDS + 1, 36));
  assert_ok(append_note(txn, branch, HR_NODE_WORDS + 2, 36));
  append_nodes(txn, branch, HR_NODE_WORDS + 3, 1, 5);
  assert_ok(hr_txn_commit(txn));
  lose(before, size);
  free(before);
  for (; tick < (HR_CHECKPOINT_NODES + 1) * HR_NODE_WORDS; tick += HR_NODE_WORDS) {
    txn = begin(HR_WRITE);
    append_nodes(txn, branch, tick, 1, 100);
    assert_ok(hr_txn_commit(txn));
  }
  txn = begin(HR_READ);
  assert_ok(hr_chase_at(txn, branch, INT64_MAX, &chase));
  assert_int_equal(chase.channels[0].controllers[7], 100);
  assert_int_equal(chase.channels[0].velocities[36], 0);
  hr_txn_abort(txn);
}

/** A record of another size, its checksum right. */
static void test_a_short_record_is_said(void** state)
{
  (void)state;
  HrBranch branch;
  const uint64_t parent = 0;
  HrTxn* const txn = begin(HR_WRITE);
  const HrBranchId id = hr_branch_id(make_tree(txn), 1);
  assert_ok(hr_put(txn, store->branches, &id, sizeof id, &parent, sizeof parent));
  assert_int_equal(hr_branch_get(txn, id, &branch), HR_ERR_DAMAGED);
  hr_txn_abort(txn);
}

static HrBranchId circled;

static HrStatus tempo_of_circled(HrTxn* txn)
{
  HrTempo tempo;
  return hr_tempo_at(txn, circled, 5000, &tempo);
}

static HrStatus state_of_circled(HrTxn* txn)
{
  HrChase chase;
  return hr_chase_at(txn, circled, 5000, &chase);
}

static HrStatus (*question)(HrTxn* txn);

static int ask(const char* path)
{
  HrTxn* txn;
  (void)path;
  return !hr_txn_begin(store, HR_READ, &txn) && question(txn) == HR_ERR_DAMAGED ? SAID : WRONG;
}

/** Two branches are each other's parent. */
static void test_a_circle_is_said(void** state)
{
  (void)state;
  HrTxn* txn = begin(HR_WRITE);
  HrBranch branch;
  const HrBranchId root = hr_branch_id(make_tree(txn), 1);
  const HrBranchId child = fork_at(txn, root, 1000);
  circled = fork_at(txn, child, 2000);
  assert_ok(hr_branch_get(txn, child, &branch));
  branch.parent = circled;
  assert_ok(hr_branch_put(txn, &branch));
  assert_ok(hr_txn_commit(txn));
  static HrStatus (*const questions[])(HrTxn*) = {tempo_of_circled, state_of_circled};
  for (unsigned i = 0; i < 2; ++i) {
    question = questions[i];
    const int status = apart(ask, NULL);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), SAID);
  }
}

/** An event without a byte: nothing of it is read, least of all its first. */
static void test_an_empty_event_ends_the_span(void** state)
{
  (void)state;
  const HrWord words[] = {{0, 3, {0x90, 60, 1}}, {0, HR_WORD_META, {0}}, {0, 3, {0x90, 61, 1}}};
  const HrSpan span = {.words = words, .count = 3};
  uint32_t index = 0;
  HrEvent event;
  assert_true(hr_span_next(&span, &index, &event));
  assert_false(hr_span_next(&span, &index, &event));
  assert_int_equal(index, 3);
  const HrWord no_bytes[] = {{0, 0, {1}}, {0, 3, {0x90, 61, 1}}};
  const HrSpan short_span = {.words = no_bytes, .count = 2};
  index = 0;
  assert_false(hr_span_next(&short_span, &index, &event));
  assert_int_equal(index, 2);
}

/** A node as it lies in the store. */
typedef struct {
  HrNodeHeader header;
  HrWord words[HR_NODE_WORDS];
} Node;

/** Copy the node at tick 0. */
static Node copy_node(HrBranchId branch)
{
  Node node;
  HrTickKey key;
  MDB_val value;
  HrTxn* const txn = begin(HR_READ);
  find_node(txn, branch, 0, 0, &key, &value);
  memcpy(&node, value.mv_data, value.mv_size);
  hr_txn_abort(txn);
  return node;
}

/** Put it in the place of the one at tick 0, its checksum to match. */
static void put_node(HrBranchId branch, Node* node)
{
  HrTickKey key;
  HrTxn* const txn = begin(HR_WRITE);
  hr_tick_key(&key, branch, 0, 0);
  node->header.checksum = hr_node_checksum(&node->header, &key);
  MDB_val value = {hr_node_bytes(&node->header), node};
  assert_true(hr_node_valid(&key, &value));
  assert_ok(hr_node_put(txn, (MDB_val){sizeof key, &key}, &value));
  assert_ok(hr_txn_commit(txn));
}

/** Have the node at tick 0 say another tempo and meter. */
static void forge_tempo(HrBranchId branch, double tempo, uint16_t beats, uint16_t unit)
{
  Node node = copy_node(branch);
  node.header.tempo = tempo;
  node.header.beats_per_bar = beats;
  node.header.beat_unit = unit;
  put_node(branch, &node);
}

/** Bars and beats are divided by what a node's header says. */
static void test_no_meter_is_out_of_bounds(void** state)
{
  (void)state;
  HrTempo tempo;
  HrTxn* txn = begin(HR_WRITE);
  const HrBranchId branch = hr_branch_id(make_tree(txn), 1);
  assert_ok(append_note(txn, branch, 0, 60));
  assert_ok(hr_txn_commit(txn));
  static const uint16_t meters[][2] = {{0, 8}, {3, 0}, {3, 1025}};
  for (size_t i = 0; i < sizeof meters / sizeof *meters; ++i) {
    forge_tempo(branch, -1.0, meters[i][0], meters[i][1]);
    txn = begin(HR_READ);
    assert_ok(hr_tempo_at(txn, branch, INT64_MAX, &tempo));
    assert_true(tempo.tempo == HR_DEFAULT_TEMPO);
    assert_int_equal(tempo.beats_per_bar, 4);
    assert_int_equal(tempo.beat_unit, 4);
    hr_txn_abort(txn);
  }
  assert_true(verify_complains("the node at tick 0 has another tempo or meter"));
}

/** A branch goes on at the tempo that its parent left to it, and each node at that of the last. */
static void test_a_tempo_that_does_not_follow_is_said(void** state)
{
  (void)state;
  static const struct {
    double tempo;
    uint16_t beats, unit;
  } others[] = {{HR_DEFAULT_TEMPO, 4, 4}, {90.0, 3, 4}, {90.0, 4, 8}};
  uint8_t bytes[HR_META_TEMPO_SIZE];
  HrTxn* txn = begin(HR_WRITE);
  const HrBranchId root = hr_branch_id(make_tree(txn), 1);
  hr_meta_tempo(90.0, bytes);
  assert_ok(hr_append(txn, root, &(HrEvent){-10, HR_EVENT_META, sizeof bytes, bytes}, NULL));
  append_nodes(txn, root, -9, 3, 100);
  const HrBranchId child = fork_at(txn, root, 0);
  append_nodes(txn, child, 0, 3, 100);
  assert_ok(hr_txn_commit(txn));
  verify_clean();
  for (unsigned i = 0; i < sizeof others / sizeof *others; ++i) {
    forge_tempo(child, others[i].tempo, others[i].beats, others[i].unit);
    assert_true(verify_complains("the node at tick 0 has another tempo or meter"));
  }
  forge_tempo(child, 90.0, 4, 4);
  verify_clean();
}

/** Change the state that a node begins with, its checksum to match. */
static void forge_state(HrBranchId branch, uint64_t ordinal, HrTick tick,
                        void (*change)(uint8_t* state, size_t size, uint8_t value), uint8_t to)
{
  HrTickKey key;
  MDB_val value;
  _Alignas(HrNodeHeader) uint8_t bytes[HR_NODE_SIZE];
  HrWord* const word = (HrWord*)(bytes + sizeof(HrNodeHeader));
  uint8_t* const state = (uint8_t*)(word + 1);
  HrTxn* const txn = begin(HR_WRITE);
  find_node(txn, branch, ordinal, tick, &key, &value);
  memcpy(bytes, value.mv_data, value.mv_size);
  assert_int_equal(state[0], HR_META_STATE);
  change(state + 1, word->bytes[0] - 1U, to);
  const uint64_t checksum = hr_node_checksum((const HrNodeHeader*)bytes, &key);
  memcpy(bytes + offsetof(HrNodeHeader, checksum), &checksum, sizeof checksum);
  value.mv_data = bytes;
  assert_true(hr_node_valid(&key, &value));
  assert_ok(hr_node_put(txn, (MDB_val){sizeof key, &key}, &value));
  assert_ok(hr_txn_commit(txn));
}

static void set_volume(uint8_t* state, size_t size, uint8_t volume)
{
  assert_true(size >= 3);
  assert_memory_equal(state, ((const uint8_t[]){0xb0, 7}), 2);
  state[2] = volume;
}

static void forge_volume(HrBranchId branch, uint64_t ordinal, HrTick tick, uint8_t volume)
{
  forge_state(branch, ordinal, tick, set_volume, volume);
}

/** The state that a node begins with is what the music before it leaves, on its branch or on those
 * that this was forked from. Where some of that cannot be read, it is not doubted. */
static void test_a_state_that_does_not_follow_is_said(void** state)
{
  (void)state;
  static const char other[] = "begins with other programs, controllers or held notes";
  const HrTick second = (HrTick)HR_CHECKPOINT_NODES * HR_NODE_WORDS;
  HrTxn* txn = begin(HR_WRITE);
  const HrBranchId root = hr_branch_id(make_tree(txn), 1);
  append_nodes(txn, root, 0, HR_CHECKPOINT_NODES + 2, 100);
  const HrBranchId child = fork_at(txn, root, second + 10);
  append_nodes(txn, child, second + 10, 1, 90);
  assert_ok(hr_txn_commit(txn));
  verify_clean();
  forge_volume(root, HR_CHECKPOINT_NODES, second, 99);
  assert_true(verify_complains(other));
  forge_volume(root, HR_CHECKPOINT_NODES, second, 100);
  verify_clean();
  forge_volume(child, 0, second + 10, 99);
  assert_true(verify_complains(other));
  txn = begin(HR_WRITE);
  damage_node(txn, root, HR_CHECKPOINT_NODES, second);
  assert_ok(hr_txn_commit(txn));
  assert_false(verify_complains(other));
  forge_volume(child, 0, second + 10, 100);
  forge_volume(root, HR_CHECKPOINT_NODES, second, 99);
  assert_true(verify_complains(other));
  txn = begin(HR_WRITE);
  damage_node(txn, root, 3, 3 * (HrTick)HR_NODE_WORDS);
  assert_ok(hr_txn_commit(txn));
  assert_false(verify_complains(other));
}

/** Of two parameters, 0 and 1, with values 10 and 11 or more, the other comes first. */
static void swap_parameters(uint8_t* state, size_t size, uint8_t more)
{
  unsigned swapped = 0;
  for (uint8_t* message = state; message + 3 <= state + size; message += 3) {
    const bool number = message[1] == 100 && message[2] <= 1;
    if (number || message[1] == 6) {
      message[2] = number ? 1 - message[2] : (uint8_t)(message[2] == 10 ? 11 + more : 10);
      ++swapped;
    }
  }
  assert_int_equal(swapped, 4);
}

/** In which order parameters were first set is nothing that is heard. */
static void test_parameters_in_another_order_are_no_matter(void** state)
{
  (void)state;
  static const uint8_t set[][2] = {{101, 0}, {100, 0}, {6, 10},    {101, 0},
                                   {100, 1}, {6, 11},  {101, 127}, {100, 127}};
  HrTxn* const txn = begin(HR_WRITE);
  const HrBranchId root = hr_branch_id(make_tree(txn), 1);
  for (size_t i = 0; i < sizeof set / sizeof *set; ++i) {
    const uint8_t bytes[3] = {0xb0, set[i][0], set[i][1]};
    assert_ok(hr_append(txn, root, &(HrEvent){(HrTick)i, HR_EVENT_MIDI, 3, bytes}, NULL));
  }
  const HrBranchId child = fork_at(txn, root, 10);
  assert_ok(append_note(txn, child, 10, 60));
  assert_ok(hr_txn_commit(txn));
  verify_clean();
  forge_state(child, 0, 10, swap_parameters, 0);
  verify_clean();
  forge_state(child, 0, 10, swap_parameters, 1);
  assert_true(verify_complains("begins with other programs"));
}

/** Put a branch's record otherwise than it was, its checksum to match, and back. */
static bool is_noticed(const HrBranch* forged, const char* words)
{
  HrBranch before;
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_branch_get(txn, forged->id, &before));
  assert_ok(hr_branch_put(txn, forged));
  assert_ok(hr_txn_commit(txn));
  const bool noticed = verify_complains(words);
  txn = begin(HR_WRITE);
  assert_ok(hr_branch_put(txn, &before));
  assert_ok(hr_txn_commit(txn));
  return noticed;
}

/** Where a branch begins and ends, the journal and its children say, too. */
static void test_a_wrong_beginning_or_end_is_said(void** state)
{
  (void)state;
  HrBranch parent, child;
  HrBranchId merged;
  HrTxn* txn = begin(HR_WRITE);
  const HrBranchId root = hr_branch_id(make_tree(txn), 1);
  assert_ok(append_note(txn, root, 0, 60));
  const HrBranchId fork = fork_at(txn, root, 1000);
  assert_ok(append_note(txn, fork, 2000, 61));
  assert_ok(hr_branch_merge(txn, fork, root, NULL, &merged));
  assert_ok(hr_branch_get(txn, root, &parent));
  assert_ok(hr_branch_get(txn, fork, &child));
  assert_ok(hr_txn_commit(txn));
  verify_clean();
  parent.head_tick = 999;
  assert_true(is_noticed(&parent, "where it forked from ends before that"));
  HrBranch forged = child;
  forged.fork_tick = 500;
  assert_true(is_noticed(&forged, "begins at tick 500, the journal says 1000"));
  txn = begin(HR_READ);
  assert_ok(hr_branch_get(txn, merged, &forged));
  hr_txn_abort(txn);
  forged.fork_tick = 501;
  assert_true(is_noticed(&forged, "begins at tick 501, the journal says 1000"));
  forged = child;
  forged.head_tick = 999;
  assert_true(is_noticed(&forged, "ends before it begins"));
  verify_clean();
}

/** All else that a branch says of itself. */
static void test_what_contradicts_a_branch_is_said(void** state)
{
  (void)state;
  HrBranch root, fork, forged;
  HrTxn* txn = begin(HR_WRITE);
  const HrBranchId first = hr_branch_id(make_tree(txn), 1);
  assert_ok(append_note(txn, first, 0, 60));
  const HrBranchId second = fork_at(txn, first, 1000);
  assert_ok(append_note(txn, second, 2000, 61));
  assert_ok(hr_branch_get(txn, first, &root));
  assert_ok(hr_branch_get(txn, second, &fork));
  assert_ok(hr_txn_commit(txn));
#define NOTICED(branch, field, value, words)                                                       \
  (forged = (branch), forged.field = (value),                                                      \
   assert_true(is_noticed(&forged, words))) // NOLINT(bugprone-macro-parentheses)
  NOTICED(fork, parent, 99, "the branch it forked from is missing");
  NOTICED(fork, depth, 2, "its depth or fork point contradicts its parent");
  NOTICED(fork, jump, second, "its jump pointer is wrong");
  NOTICED(fork, state, HR_BRANCH_HIDDEN + 1, "unknown state 2");
  NOTICED(fork, node_count, 2, "1 nodes and 1 events found, 2 and 1 recorded");
  NOTICED(fork, event_count, 2, "1 nodes and 1 events found, 1 and 2 recorded");
  NOTICED(fork, head_tick, 1999, "its last event is at tick 2000, its head at 1999");
  NOTICED(root, depth, 1, "a root with ancestors");
  NOTICED(root, jump, second, "a root with ancestors");
  NOTICED(root, jump, 99, "a jump pointer above it leads nowhere");
#undef NOTICED
  verify_clean();
  uint8_t name[9] = {'B', 0, 0, 0, 1, 0, 0, 0, 2};
  txn = begin(HR_WRITE);
  assert_int_equal(mdb_del(txn->txn, store->names, &(MDB_val){sizeof name, name}, NULL), 0);
  assert_ok(hr_put(txn, store->names, "?", 1, "x", 1));
  assert_ok(hr_put(txn, store->notes, "?", 1, "x", 1));
  assert_ok(hr_txn_commit(txn));
  assert_true(verify_complains("Branch #2 of tree 1: its name does not lead back to it"));
  assert_true(verify_complains("There is a name of nothing"));
  assert_true(verify_complains("A note has no place"));
}

/** The same of a tree. */
static void test_what_contradicts_a_tree_is_said(void** state)
{
  (void)state;
  HrTreeRecord tree;
  HrTxn* txn = begin(HR_WRITE);
  const HrTreeId id = make_tree(txn);
  fork_at(txn, hr_branch_id(id, 1), 1000);
  assert_ok(hr_tree_record(txn, id, &tree));
  assert_ok(hr_txn_commit(txn));
  HrTreeRecord forged[6] = {tree, tree, tree, tree, tree, tree};
  forged[0].branch_count = 3;
  forged[1].next_number = 2;
  forged[2].current = 99;
  forged[3].root_number = 2;
  forged[4].root_number = 99;
  forged[5].journal_count = 3;
  static const char* const words[] = {
      "2 branches found, 3 recorded", "2 branches found, 2 recorded", "its current branch does not",
      "its root is missing",          "its root is missing",          "its journal ends at entry 2",
  };
  for (size_t i = 0; i < sizeof words / sizeof *words; ++i) {
    txn = begin(HR_WRITE);
    assert_ok(hr_tree_record_put(txn, id, &forged[i]));
    assert_ok(hr_txn_commit(txn));
    assert_true(verify_complains(words[i]));
  }
  txn = begin(HR_WRITE);
  assert_ok(hr_tree_record_put(txn, id, &tree));
  uint64_t entry = (uint64_t)id << 32 | 1;
  assert_int_equal(mdb_del(txn->txn, store->journal, &(MDB_val){sizeof entry, &entry}, NULL), 0);
  assert_ok(hr_txn_commit(txn));
  assert_true(verify_complains("journal entry 1 is missing"));
}

/** The same of a node, and of what belongs to nobody. */
static void test_what_contradicts_a_node_is_said(void** state)
{
  (void)state;
  HrTxn* txn = begin(HR_WRITE);
  const HrBranchId root = hr_branch_id(make_tree(txn), 1);
  append_nodes(txn, root, 0, 3, 100);
  assert_ok(hr_txn_commit(txn));
  const Node node = copy_node(root);
  Node forged = node;
  forged.header.event_count -= 1;
  put_node(root, &forged);
  assert_true(verify_complains("the node at tick 0 miscounts its events"));
  forged = node;
  forged.header.last_tick += 2;
  put_node(root, &forged);
  assert_true(verify_complains("the node at tick 0 miscounts its events"));
  assert_true(verify_complains("overlaps the one before"));
  forged = node;
  forged.words[1].offset = 0;
  forged.words[0].offset = 1;
  put_node(root, &forged);
  assert_true(verify_complains("events out of order at tick 0"));
  forged = node;
  HrTickKey key;
  hr_tick_key(&key, root, 1, 0);
  forged.header.checksum = hr_node_checksum(&forged.header, &key);
  assert_false(hr_node_valid(&key, &(MDB_val){hr_node_bytes(&forged.header), &forged}));
  put_node(hr_branch_id(9, 1), &forged);
  assert_true(verify_complains("4 nodes and extents found, 3 belong to a branch"));
  txn = begin(HR_WRITE);
  assert_ok(hr_branch_put(txn, &(HrBranch){.id = hr_branch_id(9, 1)}));
  remove_node(txn, root, 1, HR_NODE_WORDS);
  assert_ok(hr_txn_commit(txn));
  assert_true(verify_complains("1 branches belong to no tree"));
  assert_true(verify_complains("music is missing before tick"));
}

/** LMDB gives the pages of a value back by what the first of them says, which in a large store
 * nobody has checked. */
static void damage_page_of(HrTxn* txn, const MDB_val* value)
{
  HrPageHeader header;
  memcpy(&header, (const uint8_t*)value->mv_data - sizeof header, sizeof header);
  assert_int_equal(header.flags, HR_PAGE_OVERFLOW);
  const off_t at = (off_t)(header.number * HR_PAGE_SIZE);
  header.number += 1;
  const int fd = open(scratch_path("a/b/test.hr"), O_WRONLY | O_CLOEXEC);
  assert_int_equal(pwrite(fd, &header, sizeof header, at), sizeof header);
  close(fd);
  hr_txn_abort(txn);
}

static void test_a_value_on_a_damaged_page_is_left(void** state)
{
  (void)state;
  HrTickKey key;
  MDB_val value;
  HrNote note = {.kind = HR_NOTE_TEXT};
  HrBranch branch;
  uint32_t id;
  char text[3000] = "";
  memset(text, 'x', sizeof text - 1);
  HrTxn* txn = begin(HR_WRITE);
  const HrTreeId tree = make_tree(txn);
  note.branch = hr_branch_id(tree, 1);
  note.text = text;
  assert_ok(hr_note_add(txn, &note, &id));
  for (int i = 0; i < 300; ++i) {
    append_controller(txn, note.branch, i, 100);
  }
  assert_ok(hr_txn_commit(txn));
  txn = begin(HR_READ);
  find_node(txn, note.branch, 0, 0, &key, &value);
  damage_page_of(txn, &value);
  txn = begin(HR_READ);
  hr_tick_key(&key, note.branch, 0, id);
  assert_int_equal(mdb_get(txn->txn, store->notes, &(MDB_val){sizeof key, &key}, &value), 0);
  damage_page_of(txn, &value);
  txn = begin(HR_WRITE);
  append_controller(txn, note.branch, 300, 101);
  assert_ok(hr_branch_get(txn, note.branch, &branch));
  assert_int_equal(branch.node_count, 2);
  assert_ok(hr_txn_commit(txn));
  txn = begin(HR_WRITE);
  assert_int_equal(hr_note_set_hidden(txn, tree, id, true, 0), HR_ERR_DAMAGED);
  hr_txn_abort(txn);
}

/** Where no long event is said to be, nobody looks for a change of tempo. */
static void test_a_hidden_tempo_is_said(void** state)
{
  (void)state;
  uint8_t tempo[HR_META_TEMPO_SIZE];
  HrTxn* const txn = begin(HR_WRITE);
  const HrBranchId root = hr_branch_id(make_tree(txn), 1);
  hr_meta_tempo(90.0, tempo);
  assert_ok(hr_append(txn, root, &(HrEvent){0, HR_EVENT_META, sizeof tempo, tempo}, NULL));
  assert_ok(hr_txn_commit(txn));
  verify_clean();
  Node node = copy_node(root);
  node.header.flags = 0;
  put_node(root, &node);
  assert_true(verify_complains("the node at tick 0 hides its long events"));
}

static void damage_record(HrTxn* txn, HrBranchId id)
{
  uint8_t bytes[128];
  MDB_val key = {sizeof id, &id};
  MDB_val value;
  assert_int_equal(mdb_get(txn->txn, store->branches, &key, &value), 0);
  assert_true(value.mv_size <= sizeof bytes);
  memcpy(bytes, value.mv_data, value.mv_size);
  bytes[value.mv_size - 1] ^= 1;
  value.mv_data = bytes;
  assert_int_equal(mdb_put(txn->txn, store->branches, &key, &value, 0), 0);
}

/** A fork needs its parent; where jumps would lead, it does without. */
/** What is played next goes behind it. */
static void test_a_branch_that_lost_its_nodes_goes_on(void** state)
{
  (void)state;
  HrTxn* const txn = begin(HR_WRITE);
  const HrBranchId root = hr_branch_id(make_tree(txn), 1);
  append_nodes(txn, root, 0, 1, 100);
  assert_ok(hr_tail_close(txn));
  remove_node(txn, root, 0, 0);
  assert_ok(append_note(txn, root, HR_NODE_WORDS, 60));
  hr_txn_abort(txn);
}

/** It seems to be another tree's, and its own seems to end. */
static void test_a_branch_with_a_damaged_key_is_said(void** state)
{
  (void)state;
  HrBranch branch;
  HrTxn* const txn = begin(HR_WRITE);
  const HrBranchId root = hr_branch_id(make_tree(txn), 1);
  HrBranchId key = hr_branch_id(9, 1);
  uint8_t bytes[sizeof(HrBranchRecord) + sizeof(uint32_t)] = {1};
  assert_int_equal(mdb_put(txn->txn, store->branches, &(MDB_val){sizeof key, &key},
                           &(MDB_val){sizeof bytes, bytes}, 0),
                   0);
  assert_int_equal(hr_branch_next(txn, hr_branch_tree(root), 1, &branch), HR_ERR_DAMAGED);
  hr_txn_abort(txn);
}

static void test_a_damaged_root_hinders_no_fork(void** state)
{
  (void)state;
  HrBranch owner;
  HrTxn* txn = begin(HR_WRITE);
  const HrBranchId root = hr_branch_id(make_tree(txn), 1);
  const HrBranchId played = fork_at(txn, root, 1000);
  assert_ok(append_note(txn, played, 1000, 60));
  assert_ok(append_note(txn, played, 3000, 61));
  assert_ok(hr_tail_close(txn));
  damage_record(txn, root);
  assert_ok(hr_txn_commit(txn));
  txn = begin(HR_WRITE);
  const HrBranchId fork = fork_at(txn, played, 2000);
  assert_ok(append_note(txn, fork, 2000, 62));
  assert_ok(hr_txn_commit(txn));
  txn = begin(HR_READ);
  assert_ok(hr_branch_owner(txn, fork, 1500, &owner));
  assert_true(owner.id == played);
  assert_int_equal(hr_branch_owner(txn, fork, 500, &owner), HR_ERR_DAMAGED);
  hr_txn_abort(txn);
}

/** Sums of ticks do not overflow, as none is far enough away. */
static void test_no_tick_is_out_of_bounds(void** state)
{
  (void)state;
  static const HrTick beyond[] = {INT64_MIN, -HR_TICK_BOUND, HR_TICK_BOUND, INT64_MAX - 5,
                                  INT64_MAX};
  HrBranchId id;
  HrTxn* txn = begin(HR_WRITE);
  const HrBranchId root = hr_branch_id(make_tree(txn), 1);
  assert_ok(append_note(txn, root, 1 - HR_TICK_BOUND, 60));
  for (unsigned i = 0; i < sizeof beyond / sizeof *beyond; ++i) {
    assert_int_equal(append_note(txn, root, beyond[i], 60), HR_ERR_ARGUMENT);
    assert_int_equal(hr_branch_fork(txn, root, beyond[i], NULL, &id), HR_ERR_ARGUMENT);
  }
  assert_ok(append_note(txn, root, HR_TICK_BOUND - 1, 61));
  assert_ok(hr_branch_fork(txn, root, HR_TICK_BOUND - 1, NULL, &id));
  assert_ok(hr_txn_commit(txn));
  verify_clean();
  const HrWord word = {0, 3, {0x90, 62, 1}};
  txn = begin(HR_WRITE);
  assert_int_equal(hr_append_words(txn, root, INT64_MAX, &word, 1, NULL), HR_ERR_ARGUMENT);
  assert_int_equal(hr_txn_commit(txn), HR_ERR_ARGUMENT);
}

static int read_beyond(const char* path)
{
  size_t size = (size_t)1 << 30;
  char* const pages =
      mmap(NULL, 2 * HR_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  (void)path;
  return pages != MAP_FAILED && !mprotect(pages + HR_PAGE_SIZE, HR_PAGE_SIZE, PROT_NONE) &&
                 !hr_record_valid(HR_RECORD_JOURNAL, pages, 8, pages, &size)
             ? SAID
             : WRONG;
}

/** Whatever size a damaged page gives to a record, nothing is read beyond the end of the file. */
static void test_no_record_is_longer_than_any(void** state)
{
  (void)state;
  const int status = apart(read_beyond, NULL);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), SAID);
  char text[HR_NOTE_TEXT_MAX + 1] = "";
  memset(text, 'x', HR_NOTE_TEXT_MAX);
  HrNote note = {.kind = HR_NOTE_TEXT, .text = text};
  HrTxn* const txn = begin(HR_WRITE);
  note.branch = hr_branch_id(make_tree(txn), 1);
  assert_ok(hr_note_add(txn, &note, &note.id));
  assert_ok(hr_note_get(txn, hr_branch_tree(note.branch), note.id, &note));
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

static int salvage(const char* path)
{
  HrSalvageReport report;
  return !hr_store_salvage(path, scratch_path("rescued.hr"), NULL, NULL, &report, NULL) &&
                 report.losses
             ? SAID
             : WRONG;
}

/** The nodes that would lie before one of an impossible number are not looked for one by one. */
static void test_a_gap_without_end_is_said(void** state)
{
  (void)state;
  HrTickKey key;
  MDB_val value;
  _Alignas(HrNodeHeader) uint8_t bytes[HR_NODE_SIZE];
  HrTxn* txn = begin(HR_WRITE);
  const HrBranchId root = hr_branch_id(make_tree(txn), 1);
  append_nodes(txn, root, 0, 1, 100);
  assert_ok(append_note(txn, root, HR_NODE_WORDS, 60));
  assert_ok(hr_tail_close(txn));
  find_node(txn, root, 0, 0, &key, &value);
  memcpy(bytes, value.mv_data, value.mv_size);
  assert_ok(hr_txn_commit(txn));
  txn = begin(HR_WRITE);
  remove_node(txn, root, 0, 0); // Its page, which is free now, might be that of a lost one
  hr_tick_key(&key, root, 0, (uint64_t)1 << 60);
  ((HrNodeHeader*)bytes)->checksum = hr_node_checksum((const HrNodeHeader*)bytes, &key);
  value = (MDB_val){HR_NODE_SIZE, bytes};
  assert_ok(hr_node_put(txn, (MDB_val){sizeof key, &key}, &value));
  assert_ok(hr_txn_commit(txn));
  hr_store_close(store);
  store = NULL;
  const int status = apart(salvage, scratch_path("a/b/test.hr"));
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), SAID);
}

/** Commit, close the store, and look at its file page by page. */
static int close_and_open_pages(HrTxn* txn, HrPages* pages)
{
  assert_ok(hr_txn_commit(txn));
  hr_store_close(store);
  store = NULL;
  const int fd = open(scratch_path("a/b/test.hr"), O_RDWR | O_CLOEXEC);
  assert_true(fd >= 0 && hr_pages_open(pages, fd, UINT64_MAX));
  return fd;
}

/** Read as other keys than they are, those of the free list would lead beyond their page. */
static void test_keys_of_another_kind_are_refused(void** state)
{
  (void)state;
  HrPages pages;
  HrError error;
  HrTxn* const txn = begin(HR_WRITE);
  make_tree(txn);
  const int fd = close_and_open_pages(txn, &pages);
  const off_t meta = (off_t)(pages.meta.transaction % 2 * HR_PAGE_SIZE + sizeof(HrPageHeader));
  pages.meta.free_list.flags = 0;
  assert_int_equal(pwrite(fd, &pages.meta, sizeof pages.meta, meta), sizeof pages.meta);
  close(fd);
  assert_int_equal(hr_store_open(scratch_path("a/b/test.hr"), 0, &store, &error), HR_ERR_DAMAGED);
}

/** Where the record of a database lies in the file. */
static off_t find_database(const HrPages* pages, const char* name, HrPageTree* tree)
{
  uint8_t page[HR_PAGE_SIZE];
  assert_true(hr_page_read(pages->fd, pages->meta.main.root, page));
  for (unsigned i = 0; i < hr_page_entries(page); ++i) {
    HrPageEntry entry;
    assert_true(hr_page_entry(page, i, &entry));
    if (entry.is_tree && entry.key_size == strlen(name) && !memcmp(entry.key, name, strlen(name))) {
      memcpy(tree, entry.value, sizeof *tree);
      return (off_t)(pages->meta.main.root * HR_PAGE_SIZE) + (entry.value - page);
    }
  }
  fail_msg("there is no database %s", name);
  return 0;
}

/** A small store is looked at whole, whatever it says of its size. */
static void test_no_count_hides_damage(void** state)
{
  (void)state;
  HrPages pages;
  HrPageTree names;
  HrPageEntry middle;
  HrError error;
  uint8_t page[HR_PAGE_SIZE];
  static const uint8_t nothing[HR_PAGE_SIZE];
  HrTxn* const txn = begin(HR_WRITE);
  const HrBranchId root = hr_branch_id(make_tree(txn), 1);
  for (int i = 0; i < 500; ++i) {
    fork_at(txn, root, i);
  }
  const int fd = close_and_open_pages(txn, &pages);
  const off_t record = find_database(&pages, "names", &names);
  assert_true(hr_page_read(fd, names.root, page));
  assert_true(hr_page_entries(page) > 4);
  assert_true(hr_page_entry(page, hr_page_entries(page) / 2, &middle));
  names.overflow_pages = names.leaf_pages = UINT64_MAX / 4;
  assert_int_equal(pwrite(fd, &names, sizeof names, record), sizeof names);
  assert_int_equal(pwrite(fd, nothing, sizeof nothing, (off_t)(middle.page * HR_PAGE_SIZE)),
                   sizeof nothing);
  close(fd);
  assert_int_equal(hr_store_open(scratch_path("a/b/test.hr"), 0, &store, &error), HR_ERR_DAMAGED);
  assert_non_null(strstr(error.text, "bears another number"));
}

static bool pages_complain(const char* words)
{
  Complaint complaint = {words, false};
  HrVerifyReport report;
  assert_ok(hr_store_verify_pages(scratch_path("a/b/test.hr"), HR_VERIFY_PAGES, hear_problem,
                                  &complaint, &report, NULL));
  return complaint.found && report.problems;
}

/** Where the damage is, and what music lay there. */
static void test_damaged_pages_are_said(void** state)
{
  (void)state;
  HrPages pages;
  HrPageTree tree;
  HrPageEntry middle;
  char words[160];
  uint8_t page[HR_PAGE_SIZE];
  static const uint8_t nothing[HR_PAGE_SIZE];
  HrTxn* const txn = begin(HR_WRITE);
  append_nodes(txn, hr_branch_id(make_tree(txn), 1), 0, 300, 100);
  const int fd = close_and_open_pages(txn, &pages);
  assert_false(pages_complain(""));
  find_database(&pages, "nodes", &tree);
  assert_true(hr_page_read(fd, tree.root, page));
  assert_true(hr_page_entries(page) > 2);
  assert_true(hr_page_entry(page, 1, &middle));
  assert_int_equal(pwrite(fd, nothing, sizeof nothing, (off_t)(middle.page * HR_PAGE_SIZE)),
                   sizeof nothing);
  snprintf(words, sizeof words,
           "Page %" PRIu64 " of the nodes is damaged: it bears another number. It holds what lies "
           "from branch #1 of tree 1, tick ",
           middle.page);
  assert_true(pages_complain(words));
  off_t record = find_database(&pages, "trees", &tree);
  tree.root = pages.meta.last_page + 1;
  assert_int_equal(pwrite(fd, &tree, sizeof tree, record), sizeof tree);
  assert_true(pages_complain("of the trees is damaged: it is referred to, and lies outside"));
  record = find_database(&pages, "names", &tree);
  tree.flags = 0x08;
  assert_int_equal(pwrite(fd, &tree, sizeof tree, record), sizeof tree);
  assert_true(pages_complain("In the names: its keys are of another kind"));
  pages.meta.last_page = UINT64_MAX / 2;
  record = (off_t)(pages.meta.transaction % 2 * HR_PAGE_SIZE + sizeof(HrPageHeader));
  assert_int_equal(pwrite(fd, &pages.meta, sizeof pages.meta, record), sizeof pages.meta);
  assert_true(pages_complain("is cut short"));
  close(fd);
}

/** Overwrite a page of names, the first of those whose first key is of a kind and size. */
static HrPageEntry damage_names(int fd, const uint8_t root[HR_PAGE_SIZE], char kind, size_t size)
{
  HrPageEntry entry = {0};
  const unsigned count = hr_page_entries(root);
  for (unsigned i = 1; i < count; ++i) {
    assert_true(hr_page_entry(root, i, &entry));
    if (*entry.key == (uint8_t)kind && entry.key_size == size) {
      static const uint8_t nothing[HR_PAGE_SIZE];
      assert_int_equal(pwrite(fd, nothing, sizeof nothing, (off_t)(entry.page * HR_PAGE_SIZE)),
                       sizeof nothing);
      return entry;
    }
  }
  fail_msg("no page begins with %c", kind);
  return entry;
}

/** With the number that it is kept with, a name of 15 bytes is as long as a place in the music. */
static void test_a_damaged_page_of_names_is_said(void** state)
{
  (void)state;
  HrPages pages;
  HrPageTree tree;
  HrBranchId branch;
  uint64_t id;
  char words[160];
  uint8_t page[HR_PAGE_SIZE];
  HrTxn* const txn = begin(HR_WRITE);
  const HrBranchId root = make_branch(txn);
  for (int i = 0; i < 500; ++i) {
    char name[16];
    snprintf(name, sizeof name, "take number %03d", i);
    assert_ok(hr_branch_fork(txn, root, 0, &(HrForkOptions){.name = name}, &branch));
  }
  const int fd = close_and_open_pages(txn, &pages);
  find_database(&pages, "names", &tree);
  assert_true(hr_page_read(fd, tree.root, page));
  const HrPageEntry text = damage_names(fd, page, 'b', sizeof(HrTickKey));
  snprintf(words, sizeof words,
           "Page %" PRIu64 " of the names is damaged: it bears another number. It holds what lies "
           "from the name \"%.15s\" to ",
           text.page, (const char*)text.key + 9);
  assert_true(pages_complain(words));
  const HrPageEntry bearer = damage_names(fd, page, 'B', 9);
  memcpy(&id, bearer.key + 1, sizeof id);
  snprintf(words, sizeof words,
           "Page %" PRIu64 " of the names is damaged: it bears another number. It holds what lies "
           "from the name of branch #%u of tree 1 to ",
           bearer.page, hr_branch_number(be64toh(id)));
  assert_true(pages_complain(words));
  close(fd);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(test_no_other_branch_is_chased),
      TEST(test_the_tempo_is_that_of_the_last_whole_node),
      TEST(test_what_a_disk_lost_is_forgotten),
      TEST(test_the_state_that_a_disk_lost_is_forgotten),
      TEST(test_a_short_record_is_said),
      TEST(test_a_circle_is_said),
      TEST(test_an_empty_event_ends_the_span),
      TEST(test_no_meter_is_out_of_bounds),
      TEST(test_a_tempo_that_does_not_follow_is_said),
      TEST(test_a_state_that_does_not_follow_is_said),
      TEST(test_parameters_in_another_order_are_no_matter),
      TEST(test_a_wrong_beginning_or_end_is_said),
      TEST(test_what_contradicts_a_branch_is_said),
      TEST(test_what_contradicts_a_tree_is_said),
      TEST(test_what_contradicts_a_node_is_said),
      TEST(test_a_value_on_a_damaged_page_is_left),
      TEST(test_a_hidden_tempo_is_said),
      TEST(test_a_branch_that_lost_its_nodes_goes_on),
      TEST(test_a_branch_with_a_damaged_key_is_said),
      TEST(test_a_damaged_root_hinders_no_fork),
      TEST(test_no_tick_is_out_of_bounds),
      TEST(test_no_record_is_longer_than_any),
      TEST(test_a_gap_without_end_is_said),
      TEST(test_keys_of_another_kind_are_refused),
      TEST(test_no_count_hides_damage),
      TEST(test_damaged_pages_are_said),
      TEST(test_a_damaged_page_of_names_is_said),
  };
  return cmocka_run_group_tests_name("forged", tests, NULL, NULL);
}
