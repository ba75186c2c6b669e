/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What is salvaged from a damaged store, and what is said of the rest: everything that is not
 * as it was is told of, each record and each page being damaged in turn. */

#include "store/internal.h"
#include "store/survey.h"
#include "tests/damage_rig.h"
#include "tests/scratch_disk.h"

enum { TAKES = 6, TAKE_TICKS = 1000, PLACES_MAX = 500, SENTENCES_MAX = 100 };

static uint8_t* whole;
static size_t whole_size;
static char* original; ///< All that the store says

static HrTreeId tree;
static uint32_t piano, organ;
static uint32_t free_number; ///< Of a branch: those before are set aside

/* ---- The store that is damaged -------------------------------------------------- */

static uint32_t note(HrTxn* txn, HrNoteKind kind, HrBranchId branch, HrTick tick, const char* words)
{
  uint32_t id;
  HrNote made = {.kind = kind, .branch = branch, .tick = tick, .end_tick = tick, .author = organ};
  if (kind == HR_NOTE_MARK) {
    snprintf(made.name, sizeof made.name, "%s", words);
  } else {
    made.text = words;
  }
  assert_ok(hr_note_add(txn, &made, &id));
  return id;
}

/** Some commits, so that older states of most records lie on free pages. */
static void make_take(int number)
{
  const HrTick start = (HrTick)number * TAKE_TICKS;
  char name[32];
  HrBranchId take;
  HrTxn* txn = begin(HR_WRITE);
  snprintf(name, sizeof name, "take nr %d", number);
  const HrForkOptions options = {.name = name, .author = number % 2 ? piano : organ};
  assert_ok(hr_branch_fork(txn, hr_branch_id(tree, 1), start, &options, &take));
  for (HrTick tick = 0; tick < TAKE_TICKS; ++tick) {
    assert_ok(append_note(txn, take, start + tick, (uint8_t)(tick % 128)));
  }
  assert_ok(hr_txn_commit(txn));
  txn = begin(HR_WRITE);
  snprintf(name, sizeof name, "mark %d", number);
  note(txn, HR_NOTE_MARK, take, start + 5, name);
  note(txn, HR_NOTE_TEXT, take, start + 6, "good");
  assert_ok(hr_branch_switch(txn, take, start, piano));
  assert_ok(hr_txn_commit(txn));
}

static void make_store(void)
{
  HrTreeId other;
  HrBranchId late, both;
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_author_id(txn, "piano", &piano));
  assert_ok(hr_author_id(txn, "organ", &organ));
  assert_ok(hr_tree_create(txn, "song", piano, &tree));
  assert_ok(hr_tree_create(txn, "empty", organ, &other));
  assert_ok(hr_txn_commit(txn));
  for (int i = 1; i <= TAKES; ++i) {
    make_take(i);
  }
  txn = begin(HR_WRITE);
  assert_ok(hr_branch_rename(txn, hr_branch_id(tree, 3), "the best", piano));
  assert_ok(hr_note_set_hidden(txn, tree, 3, true, piano));
  assert_ok(hr_branch_set_state(txn, hr_branch_id(tree, 2), HR_BRANCH_HIDDEN, piano));
  assert_ok(hr_branch_fork(txn, hr_branch_id(tree, 1), 0, &(HrForkOptions){.name = "late"}, &late));
  assert_ok(hr_branch_extend(txn, late, 12345)); // Of which no event tells
  assert_ok(
      hr_branch_merge(txn, late, hr_branch_id(tree, 4), &(HrForkOptions){.name = "both"}, &both));
  assert_ok(hr_tree_reserve(txn, tree, 64, &free_number));
  free_number += 64;
  assert_ok(hr_txn_commit(txn));
}

/* ---- All that a store says -------------------------------------------------------- */

static void describe_branch(FILE* out, HrTxn* txn, const HrBranch* branch)
{
  char name[HR_NAME_MAX + 1], author[HR_NAME_MAX + 1];
  HrPath path;
  HrEvent event;
  uint64_t music = 0;
  HrNote each = {.tick = INT64_MIN};
  assert_ok(hr_branch_name(txn, branch->id, name));
  assert_ok(hr_author_name(txn, branch->author, author));
  assert_ok(hr_path_open(txn, branch->id, INT64_MIN, &path));
  while (!hr_path_next(&path, &event)) {
    music = digest(digest(music, &event.tick, sizeof event.tick), event.bytes, event.size);
  }
  hr_path_close(&path);
  fprintf(out, "branch %" PRIx64 " %s of %" PRIx64 " at %" PRId64 " to %" PRId64, branch->id, name,
          branch->parent, branch->fork_tick, branch->head_tick);
  fprintf(out, " state %d by %s: %" PRIu64 " %" PRIx64 "\n", (int)branch->state, author,
          branch->event_count, music);
  while (!hr_note_next(txn, branch->id, each.tick, each.id, &each)) {
    assert_ok(hr_author_name(txn, each.author, author));
    fprintf(out, "note at %" PRId64 " %s%s by %s%s\n", each.tick, each.name, each.text, author,
            each.hidden ? ", hidden" : "");
  }
}

static void describe_tree(FILE* out, HrTxn* txn, const HrTree* each)
{
  HrBranch branch = {0};
  HrJournalEntry entry = {0};
  fprintf(out, "tree %s at %" PRIx64 "\n", each->name, each->current);
  while (!hr_branch_next(txn, each->id, hr_branch_number(branch.id), &branch)) {
    describe_branch(out, txn, &branch);
  }
  while (!hr_journal_next(txn, each->id, entry.sequence, &entry)) {
    fprintf(out, "%u: %s %s\n", entry.sequence, hr_operation_name(entry.operation), entry.text);
  }
}

/** Allocated. */
static char* describe(const char* path)
{
  char* text = NULL;
  size_t size;
  HrTxn* txn;
  HrTree each = {0};
  FILE* const out = open_memstream(&text, &size);
  assert_ok(hr_store_open(path, 0, &store, NULL));
  verify_clean();
  txn = begin(HR_READ);
  while (!hr_tree_next(txn, each.id, &each)) {
    describe_tree(out, txn, &each);
  }
  hr_txn_abort(txn);
  hr_store_close(store);
  store = NULL;
  fclose(out);
  return text;
}

/* ---- Damage, and what is said of it ------------------------------------------------ */

static char said[SENTENCES_MAX][512];
static size_t said_count;

static void hear(void* data, const char* sentence)
{
  (void)data;
  assert_true(said_count < SENTENCES_MAX);
  snprintf(said[said_count++], sizeof said[0], "%s", sentence);
}

static bool was_said(const char* words)
{
  for (size_t i = 0; i < said_count; ++i) {
    if (strstr(said[i], words)) {
      return true;
    }
  }
  return false;
}

static void remove_store(const char* path)
{
  char lock[4300];
  snprintf(lock, sizeof lock, "%s-lock", path);
  unlink(lock);
  unlink(path);
}

/** Salvage a file of these bytes; all that the new store says, allocated. */
static char* salvage(const uint8_t* bytes)
{
  HrSalvageReport report;
  const char* const damaged = scratch_path("damaged.hr");
  const char* const rescued = scratch_path("rescued.hr");
  remove_store(damaged);
  remove_store(rescued);
  write_file(damaged, bytes, whole_size);
  said_count = 0;
  assert_ok(hr_store_salvage(damaged, rescued, hear, NULL, &report, NULL));
  assert_int_equal(report.losses, said_count);
  return describe(rescued);
}

static void assert_as_it_was_or_said(const uint8_t* bytes, const char* what, size_t where)
{
  char* const now = salvage(bytes);
  if (strcmp(now, original) != 0 && !said_count) {
    fail_msg("%s %zu is damaged, and nothing is said of it", what, where);
  }
  free(now);
}

/** Where in the file the value of the first record at or after a key is. */
static size_t place_of(MDB_dbi dbi, const void* key_bytes, size_t key_size)
{
  HrTxn* const txn = begin(HR_READ);
  MDB_val key = {key_size, (void*)key_bytes};
  MDB_val value;
  MDB_cursor* cursor;
  assert_int_equal(mdb_cursor_open(txn->txn, dbi, &cursor), 0);
  assert_int_equal(mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE), 0);
  const size_t place = (uintptr_t)value.mv_data - store->map;
  mdb_cursor_close(cursor);
  hr_txn_abort(txn);
  return place;
}

/** Salvage with one bit changed at a place. */
static char* salvage_without(size_t place)
{
  uint8_t* const bytes = malloc(whole_size);
  assert_non_null(bytes);
  memcpy(bytes, whole, whole_size);
  bytes[place] ^= 4;
  char* const now = salvage(bytes);
  free(bytes);
  return now;
}

/** Where in the file the value of each record is. */
static size_t each_place(size_t places[PLACES_MAX])
{
  const MDB_dbi databases[] = {store->trees, store->branches, store->nodes,
                               store->names, store->journal,  store->notes};
  size_t count = 0;
  HrTxn* const txn = begin(HR_READ);
  for (size_t i = 0; i < sizeof databases / sizeof *databases; ++i) {
    MDB_cursor* cursor;
    MDB_val key, value;
    assert_int_equal(mdb_cursor_open(txn->txn, databases[i], &cursor), 0);
    while (!mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
      assert_true(count < PLACES_MAX);
      places[count++] = (uintptr_t)value.mv_data - store->map;
    }
    mdb_cursor_close(cursor);
  }
  hr_txn_abort(txn);
  return count;
}

static int setup_takes(void** state)
{
  if (setup(state)) {
    return -1;
  }
  const char* const path = scratch_path("a/b/test.hr");
  make_store();
  hr_store_close(store);
  whole = read_file(path, &whole_size);
  original = describe(path);
  return hr_store_open(path, 0, &store, NULL) ? -1 : 0;
}

static int teardown_takes(void** state)
{
  free(whole);
  free(original);
  return teardown(state);
}

static void close_store(void)
{
  hr_store_close(store);
  store = NULL;
}

static void test_all_that_is_not_as_it_was_is_said(void** state)
{
  (void)state;
  static size_t places[PLACES_MAX];
  const size_t count = each_place(places);
  close_store();
  uint8_t* const bytes = malloc(whole_size);
  assert_non_null(bytes);
  for (size_t i = 0; i < count; ++i) {
    memcpy(bytes, whole, whole_size);
    bytes[places[i]] ^= 4;
    assert_as_it_was_or_said(bytes, "the record at byte", places[i]);
  }
  for (size_t page = 2; page < whole_size / HR_PAGE_SIZE; ++page) {
    memcpy(bytes, whole, whole_size);
    memset(bytes + page * HR_PAGE_SIZE, 0xff, HR_PAGE_SIZE);
    assert_as_it_was_or_said(bytes, "page", page);
  }
  free(bytes);
}

static void test_a_whole_store_is_taken_as_it_is(void** state)
{
  (void)state;
  close_store();
  char* const now = salvage(whole);
  assert_string_equal(now, original);
  assert_int_equal(said_count, 0);
  free(now);
  uint32_t number;
  assert_ok(hr_store_open(scratch_path("rescued.hr"), 0, &store, NULL));
  HrTxn* const txn = begin(HR_WRITE);
  assert_ok(hr_tree_reserve(txn, tree, 1, &number));
  assert_int_equal(number, free_number); // What a ring still holds may have those before
  hr_txn_abort(txn);
}

/** The page that says where nodes are is lost: their checksums say whose they are. */
static void test_nodes_without_a_key_find_their_place(void** state)
{
  (void)state;
  HrTxn* const txn = begin(HR_READ);
  MDB_cursor* cursor;
  MDB_val key, value;
  assert_int_equal(mdb_cursor_open(txn->txn, store->nodes, &cursor), 0);
  assert_int_equal(mdb_cursor_get(cursor, &key, &value, MDB_FIRST), 0);
  const size_t page = ((uintptr_t)key.mv_data - store->map) / HR_PAGE_SIZE;
  assert_int_not_equal(((uintptr_t)value.mv_data - store->map) / HR_PAGE_SIZE, page);
  mdb_cursor_close(cursor);
  hr_txn_abort(txn);
  close_store();
  uint8_t* const bytes = malloc(whole_size);
  assert_non_null(bytes);
  memcpy(bytes, whole, whole_size);
  memset(bytes + page * HR_PAGE_SIZE, 0xff, HR_PAGE_SIZE);
  char* const now = salvage(bytes);
  assert_string_equal(now, original);
  free(now);
  free(bytes);
}

static void test_a_lost_name_is_said(void** state)
{
  (void)state;
  static const uint8_t song[] = {'T', 0, 0, 0, 0, 0, 0, 0, 1};
  static const uint8_t late[] = {'B', 0, 0, 0, 1, 0, 0, 0, TAKES + 2};
  const size_t places[] = {place_of(store->names, song, sizeof song),
                           place_of(store->names, late, sizeof late)};
  close_store();
  free(salvage_without(places[0]));
  assert_true(was_said("Tree 1: only an older state of its name is readable."));
  free(salvage_without(places[1]));
  assert_true(was_said("Branch #8 of tree 1: its name is lost."));
}

/** Who plays next does not get what was played by the one whose name is lost. */
static void test_a_lost_author_is_nobody_else(void** state)
{
  (void)state;
  static const uint8_t last[] = {'A', 0, 0, 0, 0, 0, 0, 0, 2};
  uint32_t author;
  const size_t place = place_of(store->names, last, sizeof last);
  close_store();
  free(salvage_without(place));
  assert_true(was_said("The name of author 2 is lost."));
  assert_ok(hr_store_open(scratch_path("rescued.hr"), 0, &store, NULL));
  HrTxn* const txn = begin(HR_WRITE);
  assert_ok(hr_author_id(txn, "drums", &author));
  assert_true(author > organ);
  hr_txn_abort(txn);
}

static void test_a_lost_note_is_said(void** state)
{
  (void)state;
  HrTickKey key;
  hr_tick_key(&key, hr_branch_id(tree, 3), 2 * TAKE_TICKS, 0);
  const size_t place = place_of(store->notes, &key, sizeof key);
  close_store();
  free(salvage_without(place));
  assert_true(was_said("\"the best\" (#3 of tree 1): the mark \"mark 2\" at tick 2005 is "));
}

/** An older record of a tree counts less entries than there are: they are not left out
 * without a word, and what they tell of is as sound as all. */
static void test_an_older_tree_is_said(void** state)
{
  (void)state;
  const uint64_t id = tree;
  const size_t place = place_of(store->trees, &id, sizeof id);
  close_store();
  free(salvage_without(place));
  assert_true(was_said("Tree 1: only an older state of its record is readable."));
  assert_true(was_said("Tree 1: its journal begins anew"));
}

/** Between the last event before and the first behind, and no further. */
static void test_a_stretch_is_said_exactly(void** state)
{
  (void)state;
  HrTickKey key;
  const HrTick first = TAKE_TICKS + HR_NODE_WORDS;
  hr_tick_key(&key, hr_branch_id(tree, 2), first, 1);
  const size_t place = place_of(store->nodes, &key, sizeof key);
  char words[100];
  close_store();
  free(salvage_without(place));
  snprintf(words, sizeof words, "lost from tick %" PRId64 " to tick %d (1 nodes)", first - 1,
           2 * TAKE_TICKS - 1);
  assert_true(was_said(words));
}

/** Of a tempo that is lost nobody can say that it is another. */
static void assert_only_music_is_damaged(void)
{
  HrVerifyReport report;
  said_count = 0;
  assert_ok(hr_store_open(scratch_path("damaged.hr"), 0, &store, NULL));
  assert_ok(hr_store_verify(store, hear, NULL, &report));
  assert_true(was_said("is damaged; its notes are lost"));
  assert_false(was_said("tempo"));
  close_store();
}

/** What lies behind a lost change of tempo and meter goes on as it did. */
static void test_the_tempo_behind_a_lost_stretch_is_kept(void** state)
{
  (void)state;
  const HrBranchId take = hr_branch_id(tree, TAKES + 1);
  const HrTick begin_tick = (HrTick)(TAKES + 1) * TAKE_TICKS;
  uint8_t tempo_bytes[HR_META_TEMPO_SIZE], meter_bytes[HR_META_METER_SIZE];
  HrTickKey key;
  HrTempo tempo;
  HrBranchId child;
  HrTxn* txn = begin(HR_WRITE);
  hr_meta_tempo(90.0, tempo_bytes);
  hr_meta_meter(7, 8, meter_bytes);
  for (HrTick tick = begin_tick; tick < begin_tick + 2 * TAKE_TICKS; ++tick) {
    if (tick == begin_tick + HR_NODE_WORDS) {
      const HrEvent events[] = {{tick, HR_EVENT_META, sizeof tempo_bytes, tempo_bytes},
                                {tick, HR_EVENT_META, sizeof meter_bytes, meter_bytes}};
      assert_ok(hr_append(txn, take, &events[0], NULL));
      assert_ok(hr_append(txn, take, &events[1], NULL));
    }
    assert_ok(append_note(txn, take, tick, 60));
  }
  assert_ok(hr_branch_fork(txn, take, begin_tick + HR_NODE_WORDS + 100, NULL, &child));
  assert_ok(append_note(txn, child, begin_tick + HR_NODE_WORDS + 100, 60));
  assert_ok(hr_txn_commit(txn));
  hr_tick_key(&key, take, begin_tick + HR_NODE_WORDS, 0);
  const size_t place = place_of(store->nodes, &key, sizeof key);
  close_store();
  free(whole);
  whole = read_file(scratch_path("a/b/test.hr"), &whole_size);
  free(salvage_without(place));
  assert_true(said_count);
  assert_only_music_is_damaged();
  assert_ok(hr_store_open(scratch_path("rescued.hr"), 0, &store, NULL));
  txn = begin(HR_READ);
  const HrBranchId branches[] = {take, child};
  for (size_t i = 0; i < sizeof branches / sizeof *branches; ++i) {
    assert_ok(hr_tempo_at(txn, branches[i], INT64_MAX, &tempo));
    assert_true(tempo.tempo == 90.0);
    assert_int_equal(tempo.beats_per_bar, 7);
    assert_int_equal(tempo.beat_unit, 8);
  }
  hr_txn_abort(txn);
}

/** A program and a pedal that were set in a lost stretch, and a note that ended in it, are so from
 * the next checkpoint on. */
static void test_the_state_behind_a_lost_stretch_is_restored(void** state)
{
  (void)state;
  static const uint8_t messages[][3] = {
      {0xc0, 12, 0}, {0xb0, 64, 127}, {0x80, 50, 0}, {0x90, 51, 9}};
  HrBranchId take;
  const HrTick begin_tick = (HrTick)(TAKES + 1) * TAKE_TICKS;
  const HrTick lost = begin_tick + 2 * (HrTick)HR_NODE_WORDS;
  HrTickKey key;
  HrChase chase;
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_branch_fork(txn, hr_branch_id(tree, 1), begin_tick, NULL, &take));
  for (HrTick tick = begin_tick;
       tick < begin_tick + (HrTick)HR_NODE_WORDS * (HR_CHECKPOINT_NODES + 2); ++tick) {
    const HrTick nth = tick - lost - 1;
    if (nth >= 0 && nth < 4) {
      const HrEvent event = {tick, HR_EVENT_MIDI, nth ? 3 : 2, messages[nth]};
      assert_ok(hr_append(txn, take, &event, NULL));
    } else {
      assert_ok(append_note(txn, take, tick, tick < lost ? 50 : 60));
    }
  }
  assert_ok(hr_txn_commit(txn));
  hr_tick_key(&key, take, lost, 2);
  const size_t place = place_of(store->nodes, &key, sizeof key);
  close_store();
  free(whole);
  whole = read_file(scratch_path("a/b/test.hr"), &whole_size);
  free(salvage_without(place));
  assert_true(was_said("that were set in lost music are set from tick"));
  assert_ok(hr_store_open(scratch_path("rescued.hr"), 0, &store, NULL));
  txn = begin(HR_READ);
  assert_ok(hr_chase_at(txn, take, INT64_MAX, &chase));
  assert_int_equal(chase.channels[0].program, 12);
  assert_int_equal(chase.channels[0].controllers[64], 127);
  assert_int_equal(chase.channels[0].velocities[50], 0);
  assert_int_equal(chase.channels[0].velocities[51], 0);
  assert_true(chase.channels[0].velocities[60]);
  hr_txn_abort(txn);
}

/** Damage a record of a tree that was made in one commit, so that no older state of it is left. */
static void salvage_tree_without(MDB_dbi dbi, uint64_t id)
{
  const size_t place = place_of(dbi, &id, sizeof id);
  close_store();
  free(whole);
  whole = read_file(scratch_path("a/b/test.hr"), &whole_size);
  free(salvage_without(place));
  assert_ok(hr_store_open(scratch_path("rescued.hr"), 0, &store, NULL));
}

/** One that lies before tick 0 gets no silence behind it. */
static void test_a_branch_without_a_record_ends_with_its_music(void** state)
{
  (void)state;
  HrTreeId third;
  HrBranchId early;
  HrBranch branch;
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, "third", piano, &third));
  assert_ok(append_note(txn, hr_branch_id(third, 1), -5000, 60));
  assert_ok(hr_branch_fork(txn, hr_branch_id(third, 1), -4000, NULL, &early));
  assert_ok(append_note(txn, early, -3000, 60));
  assert_ok(hr_txn_commit(txn));
  salvage_tree_without(store->branches, early);
  assert_true(was_said("its record is lost"));
  txn = begin(HR_READ);
  assert_ok(hr_branch_get(txn, early, &branch));
  assert_int_equal(branch.head_tick, -3000);
  hr_txn_abort(txn);
}

/** Where it is not known which branch was current, the first is, and that is not hidden then. */
static void test_a_tree_without_a_record_has_a_current_branch(void** state)
{
  (void)state;
  HrTreeId third;
  HrBranchId fork;
  HrTxn* const txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, "third", piano, &third));
  assert_ok(
      hr_branch_fork(txn, hr_branch_id(third, 1), 0, &(HrForkOptions){.go_there = true}, &fork));
  assert_ok(hr_branch_set_state(txn, hr_branch_id(third, 1), HR_BRANCH_HIDDEN, piano));
  assert_ok(hr_txn_commit(txn));
  salvage_tree_without(store->trees, third);
  assert_true(was_said("its record is lost, and which branch was current"));
  verify_clean();
}

/** Overwrite the pages that say where nodes are, all of them. */
static void damage_node_keys(uint8_t* bytes, size_t size)
{
  for (uint8_t* page = bytes + 2 * HR_PAGE_SIZE; page < bytes + size; page += HR_PAGE_SIZE) {
    HrPageHeader header;
    HrPageEntry entry;
    memcpy(&header, page, sizeof header);
    if (header.flags == HR_PAGE_LEAF && hr_page_entries(page) && hr_page_entry(page, 0, &entry) &&
        entry.key_size == sizeof(HrTickKey) && !entry.value) {
      memset(page, 0xff, HR_PAGE_SIZE);
    }
  }
}

/** Thousands of nodes find their places as well. */
static void test_many_nodes_without_a_key_find_their_place(void** state)
{
  (void)state;
  enum { NODES = 6000 };
  HrTreeId third;
  HrBranch branch;
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, "third", piano, &third));
  for (HrTick tick = 0; tick < (HrTick)NODES * HR_NODE_WORDS; ++tick) {
    assert_ok(append_note(txn, hr_branch_id(third, 1), tick, 60));
  }
  assert_ok(hr_txn_commit(txn));
  close_store();
  free(whole);
  whole = read_file(scratch_path("a/b/test.hr"), &whole_size);
  damage_node_keys(whole, whole_size);
  free(salvage(whole));
  assert_ok(hr_store_open(scratch_path("rescued.hr"), 0, &store, NULL));
  txn = begin(HR_READ);
  assert_ok(hr_branch_get(txn, hr_branch_id(third, 1), &branch));
  assert_true(branch.event_count > (uint64_t)(NODES - 1) * HR_NODE_WORDS); // The last may lie there
  hr_txn_abort(txn);
}

/** What was found is given only if it is still there: who records may have used its page again. */
static void test_a_page_is_used_again(void** state)
{
  (void)state;
  HrSurvey survey;
  const char* const path = scratch_path("again.hr");
  write_file(path, whole, whole_size);
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  const uint64_t pages = whole_size / HR_PAGE_SIZE;
  assert_ok(hr_survey(&survey, fd, NULL, true, pages, pages - 1));
  for (size_t i = 0; i < survey.count; ++i) {
    const HrFound* const found = &survey.found[i];
    const HrFound* const other = &survey.found[(i + survey.count / 2) % survey.count];
    const uint8_t* const page = whole + found->page * HR_PAGE_SIZE;
    size_t before_size = 0, size = 0;
    void* const before = hr_survey_value(&survey, found, &before_size);
    assert_non_null(before);
    assert_int_equal(pwrite(fd, whole + other->page * HR_PAGE_SIZE, HR_PAGE_SIZE,
                            (off_t)(found->page * HR_PAGE_SIZE)),
                     HR_PAGE_SIZE);
    void* const after = hr_survey_value(&survey, found, &size);
    assert_true(!after || (size == before_size && !memcmp(before, after, size)));
    assert_int_equal(pwrite(fd, page, HR_PAGE_SIZE, (off_t)(found->page * HR_PAGE_SIZE)),
                     HR_PAGE_SIZE);
    free(before);
    free(after);
  }
  hr_survey_free(&survey);
  close(fd);
}

/* ---- Where there is no room ------------------------------------------------------- */

/** How many files there are in a folder. */
static size_t count_files(const char* folder)
{
  size_t count = 0;
  DIR* const list = opendir(folder);
  assert_non_null(list);
  for (const struct dirent* entry = readdir(list); entry; entry = readdir(list)) {
    count += entry->d_name[0] != '.';
  }
  closedir(list);
  return count;
}

/** Salvage on a disk of so many pages. Whatever happens there is asserted when it is gone. */
static HrStatus salvage_onto(unsigned pages, HrError* error)
{
  HrSalvageReport report;
  char size[32];
  snprintf(size, sizeof size, "%u", pages * HR_PAGE_SIZE);
  scratch_mount(size);
  const HrStatus status = hr_store_salvage(scratch_path("damaged.hr"), scratch_path("disk/new.hr"),
                                           NULL, NULL, &report, error);
  const size_t files = count_files(scratch_path("disk"));
  scratch_unmount();
  assert_int_equal(files, !status);
  assert_true(!status || status == HR_ERR_NO_SPACE);
  return status;
}

/** Wherever the disk is full, nothing is left on it that could be taken for what was salvaged. */
static void test_what_finds_no_room_leaves_nothing(void** state)
{
  (void)state;
  unsigned pages = 1;
  HrError error = {0};
  close_store();
  write_file(scratch_path("damaged.hr"), whole, whole_size);
  while (salvage_onto(pages, &error)) {
    ++pages;
  }
  assert_non_null(strstr(error.text, "nothing of it was kept: disk full"));
  assert_in_range(pages, 10, 2 * whole_size / HR_PAGE_SIZE);
}

int main(void)
{
#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_takes, teardown_takes)
  const struct CMUnitTest tests[] = {
      TEST(test_all_that_is_not_as_it_was_is_said),
      TEST(test_a_whole_store_is_taken_as_it_is),
      TEST(test_nodes_without_a_key_find_their_place),
      TEST(test_a_lost_name_is_said),
      TEST(test_a_lost_author_is_nobody_else),
      TEST(test_a_lost_note_is_said),
      TEST(test_an_older_tree_is_said),
      TEST(test_a_stretch_is_said_exactly),
      TEST(test_the_tempo_behind_a_lost_stretch_is_kept),
      TEST(test_the_state_behind_a_lost_stretch_is_restored),
      TEST(test_a_branch_without_a_record_ends_with_its_music),
      TEST(test_a_tree_without_a_record_has_a_current_branch),
      TEST(test_many_nodes_without_a_key_find_their_place),
      TEST(test_a_page_is_used_again),
      TEST(test_what_finds_no_room_leaves_nothing),
  };
  return cmocka_run_group_tests_name("salvage", tests, NULL, NULL);
}
