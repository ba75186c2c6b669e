/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/chase.h"
#include "store/internal.h"
#include "tests/store_rig.h"

/** An event of a path, and of whom. */
typedef struct {
  HrTick tick;
  HrEventKind kind;
  uint32_t size;
  uint32_t author;
  uint8_t bytes[24]; ///< The first of them
} Event;

typedef struct {
  Event* events;
  size_t count, room;
} Events;

static Event* add(Events* list, Event event)
{
  if (list->count == list->room) {
    list->room = list->room ? 2 * list->room : 1024;
    list->events = realloc(list->events, list->room * sizeof *list->events);
    assert_non_null(list->events);
  }
  list->events[list->count] = event;
  return &list->events[list->count++];
}

static void add_event(Events* list, const HrEvent* event, uint32_t author)
{
  Event* const added = add(list, (Event){event->tick, event->kind, event->size, author, {0}});
  memcpy(added->bytes, event->bytes,
         event->size < sizeof added->bytes ? event->size : sizeof added->bytes);
}

/** The path of a branch from a tick on, without what the store keeps for itself. */
static Events read_path(HrTxn* txn, HrBranchId branch, HrTick from)
{
  Events list = {0};
  HrPath path;
  HrSpan span;
  HrEvent event;
  HrStatus status;
  assert_ok(hr_path_open(txn, branch, from, &path));
  while (!(status = hr_path_next_span(&path, &span))) {
    for (uint32_t index = 0; hr_span_next(&span, &index, &event);) {
      if (event.kind == HR_EVENT_MIDI || event.bytes[0] != HR_META_STATE) {
        add_event(&list, &event, span.node->author);
      }
    }
  }
  assert_int_equal(status, HR_END);
  hr_path_close(&path);
  return list;
}

static bool same_event(const Event* a, const Event* b)
{
  return a->tick == b->tick && a->kind == b->kind && a->size == b->size && a->author == b->author &&
         !memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

static void assert_events(const Events* got, const Events* expected)
{
  assert_int_equal(got->count, expected->count);
  for (size_t i = 0; i < got->count; ++i) {
    assert_true(same_event(&got->events[i], &expected->events[i]));
  }
}

/** Where two paths part, found by walking to the root. */
static HrTick naive_parting(HrTxn* txn, HrBranchId a, HrBranchId b)
{
  HrTick parting = INT64_MAX;
  HrBranch branches[2];
  assert_ok(hr_branch_get(txn, a, &branches[0]));
  assert_ok(hr_branch_get(txn, b, &branches[1]));
  while (branches[0].id != branches[1].id) {
    HrBranch* const deeper = &branches[branches[1].depth > branches[0].depth];
    parting = deeper->fork_tick < parting ? deeper->fork_tick : parting;
    assert_ok(hr_branch_get(txn, deeper->parent, deeper));
  }
  return parting;
}

static bool starts_note(const Event* event)
{
  return event->kind == HR_EVENT_MIDI && event->bytes[0] >> 4 == 9 && event->bytes[2] > 0;
}

static bool is_time(const Event* event)
{
  return event->kind == HR_EVENT_META && event->bytes[0] <= HR_META_METER;
}

/** Both lists by tick; of a tick, whatever does not start a note while there is
 * such an event at the front of either list, the first list's before the second's. */
static Events naive_merge(const Events* into, const Events* source)
{
  Events merged = {0};
  size_t i = 0, k = 0;
  while (i < into->count || k < source->count) {
    const Event* const a = i < into->count ? &into->events[i] : NULL;
    const Event* const b = k < source->count ? &source->events[k] : NULL;
    if (b && is_time(b)) {
      ++k;
      continue;
    }
    bool first = a && (!b || a->tick < b->tick);
    if (a && b && a->tick == b->tick) {
      first = !starts_note(a) || starts_note(b);
    }
    add(&merged, first ? *a : *b);
    i += first;
    k += !first;
  }
  return merged;
}

static void random_event(HrTxn* txn, HrBranchId branch, HrTick tick, uint32_t author)
{
  static uint8_t bytes[6000];
  HrEvent event = {tick, HR_EVENT_MIDI, 3, bytes};
  const int kind = rand() % 100;
  for (int i = 0; i < 24; ++i) {
    bytes[i] = (uint8_t)(rand() % 128);
  }
  bytes[0] = (uint8_t)((kind < 45 ? 0x90 : kind < 80 ? 0x80 : 0xb0) | rand() % 4);
  if (kind == 96) {
    event.size = (uint32_t)(rand() % 5900 + 4);
    bytes[0] = 0xf0;
  } else if (kind == 97) {
    hr_meta_tempo(60 + rand() % 100, bytes);
    event = (HrEvent){tick, HR_EVENT_META, HR_META_TEMPO_SIZE, bytes};
  } else if (kind == 98) {
    hr_meta_meter((uint16_t)(rand() % 7 + 1), 4, bytes);
    event = (HrEvent){tick, HR_EVENT_META, HR_META_METER_SIZE, bytes};
  } else if (kind == 99) {
    bytes[0] = HR_META_MARK;
    event = (HrEvent){tick, HR_EVENT_META, 8, bytes};
  }
  assert_ok(hr_append(txn, branch, &event, &(HrAppendOptions){.author = author}));
}

/** The state found from checkpoints is what following the whole path gives. */
static void assert_chase(HrTxn* txn, HrBranchId branch)
{
  static HrChase found, followed;
  HrPath path;
  HrEvent event;
  assert_ok(hr_chase_at(txn, branch, INT64_MAX, &found));
  hr_chase_init(&followed);
  assert_ok(hr_path_open(txn, branch, INT64_MIN, &path));
  while (!hr_path_next(&path, &event)) {
    if (event.kind == HR_EVENT_MIDI) {
      hr_chase_follow(&followed, event.bytes, event.size);
    }
  }
  hr_path_close(&path);
  for (int channel = 0; channel < 16; ++channel) {
    assert_memory_equal(found.channels[channel].controllers, followed.channels[channel].controllers,
                        128);
    assert_memory_equal(found.channels[channel].velocities, followed.channels[channel].velocities,
                        128);
  }
}

static void merge_and_compare(HrTxn* txn, HrBranchId source, HrBranchId into, uint32_t number,
                              HrBranchId* id)
{
  HrBranch branch;
  const HrTick parting = naive_parting(txn, source, into);
  Events shared = read_path(txn, into, INT64_MIN);
  while (shared.count && shared.events[shared.count - 1].tick >= parting) {
    --shared.count;
  }
  const Events first = read_path(txn, into, parting);
  const Events second = read_path(txn, source, parting);
  const Events whole_source = read_path(txn, source, INT64_MIN);
  const Events merged = naive_merge(&first, &second);
  assert_ok(hr_branch_merge(txn, source, into, &(HrForkOptions){.number = number}, id));

  assert_ok(hr_branch_get(txn, *id, &branch));
  assert_true(branch.fork_tick == parting);
  assert_int_equal(branch.state, HR_BRANCH_ACTIVE);
  const Events got = read_path(txn, *id, parting);
  assert_events(&got, &merged);
  Events before = read_path(txn, *id, INT64_MIN);
  before.count -= got.count;
  assert_events(&before, &shared);
  assert_chase(txn, *id);
  const Events after = read_path(txn, source, INT64_MIN);
  assert_events(&after, &whole_source);
  const Events lists[] = {shared, first, second, whole_source, merged, got, before, after};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; ++i) {
    free(lists[i].events);
  }
}

static void test_random_merges_equal_the_naive_merge(void** state)
{
  (void)state;
  enum { BRANCHES = 14, MERGES = 12 };
  for (unsigned seed = 1; seed <= 10; ++seed) {
    HrBranchId branches[BRANCHES + MERGES];
    HrTick heads[BRANCHES] = {0};
    HrTreeId tree;
    HrTxn* txn = begin(HR_WRITE);
    int count = 1;
    const int events = seed % 2 ? 4000 : 200;
    const unsigned authors = seed % 3 + 1;
    srand(seed);
    assert_ok(hr_tree_create(txn, NULL, 0, &tree));
    branches[0] = hr_branch_id(tree, 1);
    uint32_t reserved;
    assert_ok(hr_tree_reserve(txn, tree, MERGES, &reserved));
    for (int i = 0; i < events; ++i) {
      const int at = rand() % count;
      if (count < BRANCHES && rand() % (events / 20) == 0) {
        heads[count] = rand() % (heads[at] + 4);
        assert_ok(hr_branch_fork(txn, branches[at], heads[count], NULL, &branches[count]));
        heads[at] = heads[at] > heads[count] ? heads[at] : heads[count];
        ++count;
      }
      heads[at] += rand() % 3;
      HrBranch branch;
      assert_ok(hr_branch_get(txn, branches[at], &branch)); // A fork may have moved it
      heads[at] = heads[at] > branch.head_tick ? heads[at] : branch.head_tick;
      random_event(txn, branches[at], heads[at], (uint32_t)rand() % authors);
      if (rand() % 500 == 0) {
        assert_ok(hr_txn_commit(txn));
        txn = begin(HR_WRITE);
      }
    }
    for (int i = 0; i < MERGES; ++i, ++count) { // Merges of merges, too
      const int source = rand() % count;
      const int into = (source + 1 + rand() % (count - 1)) % count;
      const uint32_t number = i % 3 ? reserved + (uint32_t)i : 0;
      merge_and_compare(txn, branches[source], branches[into], number, &branches[count]);
    }
    assert_ok(hr_txn_commit(txn));
  }
  verify_clean();
}

/** What is written lies just before what is read, all of it uncommitted: pages
 * are split and their nodes moved while a span of theirs is in use. */
static void test_spans_outlive_the_pages_they_were_in(void** state)
{
  (void)state;
  enum { COUNT = 200 };
  HrTreeId tree;
  HrBranchId source, into, both;
  uint32_t reserved;
  HrTxn* const txn = begin(HR_WRITE);
  srand(9);
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  assert_ok(hr_tree_reserve(txn, tree, 1, &reserved));
  assert_ok(hr_branch_fork(txn, hr_branch_id(tree, 1), 0, NULL, &source));
  assert_ok(hr_branch_fork(txn, hr_branch_id(tree, 1), 0, NULL, &into));
  for (int i = 0; i < COUNT; ++i) {
    assert_ok(append_note(txn, source, i, (uint8_t)(i % 128)));
  }
  for (uint32_t i = 0; i < COUNT; ++i) {
    random_event(txn, into, i, i % 2 + 1);
  }
  merge_and_compare(txn, source, into, reserved, &both);
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

static void test_long_merges_cross_checkpoints(void** state)
{
  (void)state;
  enum { COUNT = 60000 };
  HrTreeId tree;
  HrBranchId one, two, both;
  HrTxn* const txn = begin(HR_WRITE);
  srand(4);
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  assert_ok(hr_branch_fork(txn, hr_branch_id(tree, 1), 10, NULL, &one));
  assert_ok(hr_branch_fork(txn, hr_branch_id(tree, 1), 7, NULL, &two));
  for (int i = 0; i < COUNT; ++i) {
    random_event(txn, one, 10 + i, 1);
  }
  for (int i = 0; i < COUNT; ++i) {
    random_event(txn, two, 7 + i / 2 * 3, 1);
  }
  merge_and_compare(txn, two, one, 0, &both);
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

static void append_bytes(HrTxn* txn, HrBranchId branch, HrTick tick, uint8_t status, uint8_t note)
{
  const uint8_t bytes[3] = {status, note, 64};
  assert_ok(hr_append(txn, branch, &(HrEvent){tick, HR_EVENT_MIDI, 3, bytes}, NULL));
}

static void test_at_one_tick_notes_begin_last(void** state)
{
  (void)state;
  HrTreeId tree;
  HrBranchId into, source, both;
  HrPath path;
  HrEvent event;
  HrTxn* const txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  assert_ok(hr_branch_fork(txn, hr_branch_id(tree, 1), 0, NULL, &into));
  assert_ok(hr_branch_fork(txn, hr_branch_id(tree, 1), 0, NULL, &source));
  append_bytes(txn, source, 0, 0x90, 60);
  append_bytes(txn, into, 10, 0x90, 60);
  append_bytes(txn, into, 10, 0xb0, 1);
  append_bytes(txn, source, 10, 0xb0, 2);
  append_bytes(txn, source, 10, 0x80, 60);
  append_bytes(txn, source, 10, 0x90, 62);
  append_bytes(txn, into, 20, 0x80, 60);
  assert_ok(hr_branch_merge(txn, source, into, NULL, &both));
  const uint8_t expected[][2] = {{0x90, 60}, {0xb0, 2},  {0x80, 60}, {0x90, 60},
                                 {0xb0, 1},  {0x90, 62}, {0x80, 60}};
  assert_ok(hr_path_open(txn, both, 0, &path));
  for (size_t i = 0; i < sizeof expected / sizeof *expected; ++i) {
    assert_ok(hr_path_next(&path, &event));
    assert_int_equal(event.bytes[0], expected[i][0]);
    assert_int_equal(event.bytes[1], expected[i][1]);
  }
  assert_int_equal(hr_path_next(&path, &event), HR_END);
  hr_path_close(&path);
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

/** Who played what and when is kept where authors change. */
static void test_provenance_is_kept(void** state)
{
  (void)state;
  enum { COUNT = 40 };
  HrTreeId tree;
  HrBranchId branches[2], both;
  HrPath path;
  HrSpan span;
  HrEvent event;
  HrTxn* const txn = begin(HR_WRITE);
  const uint8_t bytes[3] = {0x90, 60, 1};
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  for (uint32_t i = 0; i < 2; ++i) {
    assert_ok(hr_branch_fork(txn, hr_branch_id(tree, 1), 0, NULL, &branches[i]));
    for (int k = 0; k < COUNT; ++k) {
      const HrAppendOptions options = {.author = i + 7, .wall_clock_ns = 1000 + i};
      assert_ok(hr_append(txn, branches[i], &(HrEvent){2 * k + (int)i, HR_EVENT_MIDI, 3, bytes},
                          &options));
    }
  }
  assert_ok(hr_branch_merge(txn, branches[1], branches[0], NULL, &both));
  int count = 0;
  assert_ok(hr_path_open(txn, both, 0, &path));
  while (!hr_path_next_span(&path, &span)) {
    for (uint32_t index = 0; hr_span_next(&span, &index, &event);) {
      if (event.kind == HR_EVENT_MIDI) {
        assert_true(event.tick == count++);
        assert_int_equal(span.node->author, event.tick % 2 + 7);
        assert_int_equal(span.node->wall_clock_ns, 1000 + event.tick % 2);
      }
    }
  }
  assert_int_equal(count, 2 * COUNT);
  hr_path_close(&path);

  HrJournalEntry entry = {0};
  assert_ok(hr_journal_get(txn, tree, 4, &entry));
  assert_int_equal(entry.operation, HR_OPERATION_MERGE);
  assert_true(entry.branch == both && entry.other == branches[1] && entry.quiet);
  assert_ok(hr_journal_get(txn, tree, 5, &entry));
  assert_int_equal(entry.operation, HR_OPERATION_MERGE);
  assert_true(entry.branch == both && entry.other == branches[0] && !entry.quiet);
  assert_string_equal(entry.text, "take 2 + take 3");
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

static void test_names_of_merges(void** state)
{
  (void)state;
  HrTreeId tree;
  HrBranchId one, two, both;
  char name[HR_NAME_MAX + 1];
  char long_name[HR_NAME_MAX + 1] = "";
  HrTxn* const txn = begin(HR_WRITE);
  for (int i = 0; i < HR_NAME_MAX / 2 - 2; ++i) {
    strcat(long_name, "ü"); // 116 bytes; then " + x" and the first half of an ö
  }
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  const HrBranchId root = hr_branch_id(tree, 1);
  assert_ok(hr_branch_fork(txn, root, 0, &(HrForkOptions){.name = long_name}, &one));
  assert_ok(hr_branch_fork(txn, root, 0, &(HrForkOptions){.name = "ö"}, &two));
  assert_ok(hr_branch_merge(txn, two, one, NULL, &both));
  assert_ok(hr_branch_name(txn, both, name));
  assert_int_equal(strlen(name), 119);
  assert_memory_equal(name, long_name, 116);
  assert_string_equal(name + 116, " + ");
  assert_ok(hr_branch_merge(txn, two, root, NULL, &both));
  assert_ok(hr_branch_name(txn, both, name));
  assert_string_equal(name, "main + ö");
  assert_ok(hr_branch_merge(txn, two, root, NULL, &both));
  assert_ok(hr_branch_name(txn, both, name));
  assert_string_equal(name, "main + ö 2");
  assert_ok(
      hr_branch_merge(txn, two, root, &(HrForkOptions){.name = "all", .go_there = true}, &both));
  HrTree record;
  assert_ok(hr_tree_get(txn, tree, &record));
  assert_true(record.current == both);
  assert_ok(hr_branch_find(txn, tree, "all", &one));
  assert_true(one == both);
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

static void test_bad_merges_change_nothing(void** state)
{
  (void)state;
  HrTreeId tree, other;
  HrBranchId branch, both;
  HrTxn* const txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  assert_ok(hr_tree_create(txn, NULL, 0, &other));
  const HrBranchId root = hr_branch_id(tree, 1);
  assert_ok(hr_branch_fork(txn, root, 0, NULL, &branch));
  assert_int_equal(hr_branch_merge(txn, root, root, NULL, &both), HR_ERR_ARGUMENT);
  assert_int_equal(hr_branch_merge(txn, root, hr_branch_id(other, 1), NULL, &both),
                   HR_ERR_ARGUMENT);
  assert_int_equal(hr_branch_merge(txn, root, hr_branch_id(tree, 9), NULL, &both),
                   HR_ERR_NOT_FOUND);
  assert_int_equal(hr_branch_merge(txn, root, branch, &(HrForkOptions){.name = "#1"}, &both),
                   HR_ERR_ARGUMENT);
  assert_int_equal(hr_branch_merge(txn, root, branch, &(HrForkOptions){.number = 2}, &both),
                   HR_ERR_EXISTS);
  HrTree record;
  assert_ok(hr_tree_get(txn, tree, &record));
  assert_int_equal(record.branch_count, 2);
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

static void test_a_merge_leaves_nothing_damaged_out(void** state)
{
  (void)state;
  HrTreeId tree;
  HrBranchId branch, both;
  HrTickKey key;
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  const HrBranchId root = hr_branch_id(tree, 1);
  assert_ok(hr_branch_fork(txn, root, 0, NULL, &branch));
  for (int i = 0; i < 2000; ++i) {
    assert_ok(append_note(txn, branch, i, 60));
  }
  assert_ok(hr_tail_close(txn));
  hr_tick_key(&key, branch, (HrTick)HR_NODE_WORDS, 1);
  const HrNodeHeader header = {.magic = HR_NODE_MAGIC};
  assert_ok(hr_put(txn, store->nodes, &key, sizeof key, &header, sizeof header));
  assert_ok(hr_txn_commit(txn));
  txn = begin(HR_WRITE);
  assert_int_equal(hr_branch_merge(txn, branch, root, NULL, &both), HR_ERR_DAMAGED);
  hr_txn_abort(txn);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(test_random_merges_equal_the_naive_merge),
      TEST(test_spans_outlive_the_pages_they_were_in),
      TEST(test_long_merges_cross_checkpoints),
      TEST(test_at_one_tick_notes_begin_last),
      TEST(test_provenance_is_kept),
      TEST(test_names_of_merges),
      TEST(test_bad_merges_change_nothing),
      TEST(test_a_merge_leaves_nothing_damaged_out),
  };
  return cmocka_run_group_tests_name("merge", tests, NULL, NULL);
}
