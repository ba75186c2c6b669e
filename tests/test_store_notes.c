/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/internal.h"
#include "tests/store_rig.h"

#include <math.h>

static HrBranchId make_tree(HrTxn* txn, HrTreeId* tree)
{
  assert_ok(hr_tree_create(txn, NULL, 0, tree));
  return hr_branch_id(*tree, 1);
}

static HrNote mark_at(HrBranchId branch, HrTick tick, const char* name)
{
  HrNote note = {.kind = HR_NOTE_MARK, .branch = branch, .tick = tick, .end_tick = tick};
  snprintf(note.name, sizeof note.name, "%s", name);
  return note;
}

static uint32_t add(HrTxn* txn, HrNote note)
{
  uint32_t id = 0;
  assert_ok(hr_note_add(txn, &note, &id));
  return id;
}

/* ---- one note --------------------------------------------------------- */

static void test_every_field_comes_back(void** state)
{
  (void)state;
  static char longest[HR_NOTE_TEXT_MAX + 1];
  HrTreeId tree;
  HrTxn* txn = begin(HR_WRITE);
  const HrBranchId root = make_tree(txn, &tree);
  memset(longest, 'x', HR_NOTE_TEXT_MAX);
  HrNote range = mark_at(root, -5, "Rückführung");
  range.end_tick = 4000;
  range.author = 3;
  range.time_ns = 12345;
  range.rating = 5;
  range.emotion = (HrEmotion){HR_NOTE_VALENCE | HR_NOTE_AGENCY, -1.0f, 0.0f, 0.25f};
  range.text = longest;
  range.hidden = true; // Not looked at, as is the id
  range.id = 77;
  const HrNote text = {.kind = HR_NOTE_TEXT,
                       .branch = root,
                       .tick = 7,
                       .end_tick = 7,
                       .text = "too fast,\n\tbut alive 🎹"};
  const HrNote rating = {
      .kind = HR_NOTE_TEXT, .branch = root, .tick = 7, .end_tick = 9, .rating = 1};
  const HrNote feeling = {.kind = HR_NOTE_TEXT,
                          .branch = root,
                          .tick = 8,
                          .end_tick = 9,
                          .emotion = {HR_NOTE_AROUSAL, 0, 0.0f, 0}};
  const uint32_t ids[] = {add(txn, range), add(txn, text), add(txn, rating), add(txn, feeling)};
  assert_ok(hr_txn_commit(txn));

  HrNote got;
  txn = begin(HR_READ);
  assert_ok(hr_note_get(txn, tree, ids[0], &got));
  assert_int_equal(got.id, ids[0]);
  assert_int_equal(got.kind, HR_NOTE_MARK);
  assert_true(got.branch == root && got.tick == -5 && got.end_tick == 4000);
  assert_int_equal(got.author, 3);
  assert_int_equal(got.time_ns, 12345);
  assert_int_equal(got.rating, 5);
  assert_int_equal(got.emotion.known, HR_NOTE_VALENCE | HR_NOTE_AGENCY);
  assert_true(got.emotion.valence == -1.0f && got.emotion.agency == 0.25f);
  assert_false(got.hidden);
  assert_string_equal(got.name, "Rückführung");
  assert_string_equal(got.text, longest);
  assert_ok(hr_note_get(txn, tree, ids[1], &got));
  assert_int_equal(got.kind, HR_NOTE_TEXT);
  assert_true(got.time_ns > 1000000000);
  assert_string_equal(got.name, "");
  assert_string_equal(got.text, "too fast,\n\tbut alive 🎹");
  assert_int_equal(got.emotion.known, 0);
  assert_ok(hr_note_get(txn, tree, ids[2], &got));
  assert_int_equal(got.rating, 1);
  assert_string_equal(got.text, "");
  assert_ok(hr_note_get(txn, tree, ids[3], &got));
  assert_int_equal(got.emotion.known, HR_NOTE_AROUSAL);
  assert_int_equal(hr_note_get(txn, tree, 1, &got), HR_ERR_NOT_FOUND); // CREATE
  assert_int_equal(hr_note_get(txn, tree, 99, &got), HR_ERR_NOT_FOUND);
  HrJournalEntry entry;
  assert_ok(hr_journal_get(txn, tree, ids[0], &entry));
  assert_int_equal(entry.operation, HR_OPERATION_MARK);
  assert_true(entry.branch == root && entry.tick == -5);
  assert_string_equal(entry.text, "Rückführung");
  assert_ok(hr_journal_get(txn, tree, ids[1], &entry));
  assert_int_equal(entry.operation, HR_OPERATION_NOTE);
  hr_txn_abort(txn);
  verify_clean();
}

static void refuse(HrTxn* txn, HrNote note)
{
  uint32_t id;
  assert_int_equal(hr_note_add(txn, &note, &id), HR_ERR_ARGUMENT);
}

static void test_bad_notes_are_refused(void** state)
{
  (void)state;
  static char too_long[HR_NOTE_TEXT_MAX + 2];
  HrTreeId tree;
  uint32_t id;
  HrTxn* const txn = begin(HR_WRITE);
  const HrBranchId root = make_tree(txn, &tree);
  const HrNote mark = mark_at(root, 5, "verse");
  HrNote bad = mark;
  bad.end_tick = 4;
  refuse(txn, bad);
  refuse(txn, mark_at(root, 5, ""));
  refuse(txn, mark_at(root, 5, "#1"));
  bad = mark;
  bad.kind = 0;
  refuse(txn, bad);
  bad.kind = HR_NOTE_TEXT; // with a name
  bad.text = "text";
  refuse(txn, bad);
  bad.name[0] = '\0'; // sound
  bad.text = "";      // but says nothing
  refuse(txn, bad);
  const char* const texts[] = {"a \x1b[31m colour", "\xff", "cut \xf0\x9f\x8e", "\x7f", "a\rb"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; ++i) {
    bad.text = texts[i];
    refuse(txn, bad);
  }
  memset(too_long, 'x', HR_NOTE_TEXT_MAX + 1);
  bad.text = too_long;
  refuse(txn, bad);
  bad = mark;
  bad.rating = 6;
  refuse(txn, bad);
  const HrEmotion emotions[] = {{HR_NOTE_VALENCE, 1.5f, 0, 0},   {HR_NOTE_AROUSAL, 0, -1.01f, 0},
                                {HR_NOTE_AGENCY, 0, 0, NAN},     {HR_NOTE_VALENCE, 0, 0.5f, 0},
                                {HR_NOTE_VALENCE, 0, 0, NAN},    {8, 0, 0, 0},
                                {HR_NOTE_AGENCY, 0, 0, INFINITY}};
  for (size_t i = 0; i < sizeof emotions / sizeof *emotions; ++i) {
    bad = mark;
    bad.emotion = emotions[i];
    refuse(txn, bad);
  }
  assert_int_equal(
      hr_note_add(txn, &(HrNote){.kind = HR_NOTE_MARK, .branch = 77, .name = "x"}, &id),
      HR_ERR_NOT_FOUND);
  HrTreeRecord record;
  assert_ok(hr_tree_record(txn, tree, &record));
  assert_int_equal(record.journal_count, 1);
  add(txn, mark);
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

static void test_notes_are_hidden_and_restored(void** state)
{
  (void)state;
  HrTreeId tree;
  HrNote note;
  HrUndo step;
  HrTxn* const txn = begin(HR_WRITE);
  const HrBranchId root = make_tree(txn, &tree);
  HrNote mark = mark_at(root, 5, "verse");
  mark.text = "as it was";
  const uint32_t old = add(txn, mark);
  const uint32_t new = add(txn, mark_at(root, 9, "verse"));
  assert_ok(hr_mark_find(txn, root, "verse", &note));
  assert_int_equal(note.id, new);
  assert_ok(hr_note_set_hidden(txn, tree, new, true, 2));
  assert_ok(hr_note_set_hidden(txn, tree, new, true, 2)); // already
  assert_ok(hr_mark_find(txn, root, "verse", &note));
  assert_int_equal(note.id, old);
  assert_ok(hr_note_next(txn, root, 9, 0, &note));
  assert_true(note.id == new&& note.hidden);

  assert_ok(hr_undo_next(txn, tree, HR_UNDO, &step));
  assert_int_equal(step.operation, HR_OPERATION_HIDE_NOTE);
  assert_true(step.note == new&& step.branch == root&& step.tick == 9 && !step.go_to);
  assert_string_equal(step.name, "verse");
  assert_ok(hr_undo_apply(txn, &step, 0, 0));
  assert_ok(hr_mark_find(txn, root, "verse", &note));
  assert_int_equal(note.id, new);
  for (int i = 0; i < 2; ++i) { // Both marks go
    assert_ok(hr_undo_next(txn, tree, HR_UNDO, &step));
    assert_int_equal(step.operation, HR_OPERATION_MARK);
    assert_ok(hr_undo_apply(txn, &step, 0, 0));
  }
  assert_int_equal(hr_mark_find(txn, root, "verse", &note), HR_ERR_NOT_FOUND);
  assert_ok(hr_undo_next(txn, tree, HR_REDO, &step));
  assert_ok(hr_undo_apply(txn, &step, 0, 0));
  assert_ok(hr_mark_find(txn, root, "verse", &note));
  assert_int_equal(note.id, old);
  assert_string_equal(note.text, "as it was");
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

/* ---- paths ------------------------------------------------------------ */

static void test_a_mark_of_the_past_is_everybodys(void** state)
{
  (void)state;
  HrTreeId tree;
  HrBranchId child, sibling;
  HrNote note;
  HrTxn* const txn = begin(HR_WRITE);
  const HrBranchId root = make_tree(txn, &tree);
  assert_ok(hr_branch_fork(txn, root, 100, NULL, &child));
  assert_ok(hr_branch_fork(txn, root, 200, NULL, &sibling));
  HrNote range = mark_at(child, 99, "intro");
  range.end_tick = 150;
  add(txn, range);                        // begins before the fork: on the root
  add(txn, mark_at(child, 100, "verse")); // the child's own
  add(txn, mark_at(root, 100, "bridge")); // not on the child's path
  add(txn, (HrNote){.kind = HR_NOTE_TEXT, .branch = root, .rating = 1}); // has no name
  assert_ok(hr_mark_find(txn, sibling, "intro", &note));
  assert_true(note.branch == root && note.end_tick == 150);
  assert_ok(hr_mark_find(txn, child, "verse", &note));
  assert_true(note.branch == child);
  assert_int_equal(hr_mark_find(txn, root, "verse", &note), HR_ERR_NOT_FOUND);
  assert_int_equal(hr_mark_find(txn, child, "bridge", &note), HR_ERR_NOT_FOUND);
  assert_ok(hr_mark_find(txn, sibling, "bridge", &note));
  assert_int_equal(hr_mark_find(txn, root, "", &note), HR_ERR_NOT_FOUND);
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

enum { BRANCHES = 40, NOTES = 1500, NAMES = 6 };

typedef struct {
  uint32_t id;
  HrBranchId branch;
  HrTick tick;
  bool hidden;
  int name; ///< -1: a text
} ModelNote;

static ModelNote notes[NOTES];

static int by_place(const void* left, const void* right)
{
  const ModelNote* const a = left;
  const ModelNote* const b = right;
  return a->tick != b->tick ? (a->tick < b->tick ? -1 : 1) : (a->id > b->id) - (a->id < b->id);
}

/** Whether the music at `tick` of `branch` is heard on the path of `leaf`:
 * found by walking up from the leaf. */
static bool is_on_path(HrTxn* txn, HrBranchId leaf, HrBranchId branch, HrTick tick)
{
  HrBranch each;
  assert_ok(hr_branch_get(txn, leaf, &each));
  while (each.parent && tick < each.fork_tick) {
    assert_ok(hr_branch_get(txn, each.parent, &each));
  }
  return each.id == branch;
}

static void check_path(HrTxn* txn, HrBranchId leaf, HrTick from)
{
  HrNote got = {.tick = from};
  uint32_t newest[NAMES] = {0};
  char name[16];
  for (int i = 0; i < NOTES; ++i) {
    if (!is_on_path(txn, leaf, notes[i].branch, notes[i].tick)) {
      continue;
    }
    if (notes[i].tick >= from) {
      assert_ok(hr_note_next(txn, leaf, got.tick, got.id, &got));
      assert_int_equal(got.id, notes[i].id);
      assert_true(got.tick == notes[i].tick && got.branch == notes[i].branch);
      assert_int_equal(got.hidden, notes[i].hidden);
    }
    if (notes[i].name >= 0 && !notes[i].hidden && notes[i].id > newest[notes[i].name]) {
      newest[notes[i].name] = notes[i].id;
    }
  }
  assert_int_equal(hr_note_next(txn, leaf, got.tick, got.id, &got), HR_END);
  for (int i = 0; i < NAMES; ++i) {
    snprintf(name, sizeof name, "mark %d", i);
    assert_int_equal(hr_mark_find(txn, leaf, name, &got), newest[i] ? HR_OK : HR_ERR_NOT_FOUND);
    assert_true(!newest[i] || got.id == newest[i]);
  }
}

static void test_random_paths_equal_the_model(void** state)
{
  (void)state;
  for (unsigned seed = 1; seed <= 5; ++seed) {
    HrTreeId tree;
    HrBranchId branches[BRANCHES];
    HrTxn* const txn = begin(HR_WRITE);
    uint32_t count = 1;
    srand(seed);
    branches[0] = make_tree(txn, &tree);
    for (int i = 0; i < NOTES; ++i) {
      if (count < BRANCHES && rand() % 20 == 0) {
        assert_ok(hr_branch_fork(txn, branches[(uint32_t)rand() % count], rand() % 500, NULL,
                                 &branches[count]));
        ++count;
      }
      const HrBranchId branch = branches[(uint32_t)rand() % count];
      ModelNote* const model = &notes[i];
      *model = (ModelNote){.tick = rand() % 600 - 20, .name = rand() % (NAMES + 1) - 1};
      HrNote note = mark_at(branch, model->tick, "");
      snprintf(note.name, sizeof note.name, "mark %d", model->name);
      if (model->name < 0) {
        note.kind = HR_NOTE_TEXT;
        note.name[0] = '\0';
        note.text = "mark 1"; // A text is no mark, whatever it says
      }
      model->id = add(txn, note);
      assert_ok(hr_note_get(txn, tree, model->id, &note));
      model->branch = note.branch;
      assert_true(is_on_path(txn, branch, model->branch, model->tick));
      model->hidden = rand() % 4 == 0;
      assert_ok(hr_note_set_hidden(txn, tree, model->id, model->hidden, 0));
    }
    qsort(notes, NOTES, sizeof *notes, by_place);
    for (uint32_t i = 0; i < count; ++i) {
      check_path(txn, branches[i], INT64_MIN);
      check_path(txn, branches[i], rand() % 600);
    }
    assert_ok(hr_txn_commit(txn));
  }
  verify_clean();
}

/* ---- older stores, damage -------------------------------------------- */

static void reopen(unsigned flags)
{
  char path[4096];
  snprintf(path, sizeof path, "%s", hr_store_path(store));
  hr_store_close(store);
  store = NULL;
  assert_ok(hr_store_open(path, flags, &store, NULL));
}

static void test_a_store_without_notes_is_read(void** state)
{
  (void)state;
  HrTreeId tree;
  HrNote note;
  HrTxn* txn = begin(HR_WRITE);
  const HrBranchId root = make_tree(txn, &tree);
  assert_int_equal(mdb_drop(txn->txn, store->notes, 1), 0);
  assert_ok(hr_txn_commit(txn));

  reopen(HR_STORE_READ_ONLY);
  txn = begin(HR_READ);
  assert_int_equal(hr_note_next(txn, root, INT64_MIN, 0, &note), HR_END);
  assert_int_equal(hr_mark_find(txn, root, "verse", &note), HR_ERR_NOT_FOUND);
  assert_int_equal(hr_note_get(txn, tree, 1, &note), HR_ERR_NOT_FOUND);
  hr_txn_abort(txn);
  verify_clean();

  reopen(0);
  txn = begin(HR_WRITE);
  add(txn, mark_at(root, 5, "verse"));
  assert_ok(hr_txn_commit(txn));
  reopen(HR_STORE_READ_ONLY);
  txn = begin(HR_READ);
  assert_ok(hr_mark_find(txn, root, "verse", &note));
  hr_txn_abort(txn);
  verify_clean();
}

/** A value as it may lie in the map. */
typedef struct {
  HrNoteRecord record;
  char texts[32];
} Value;

static void put_value(const HrTickKey* key, const void* value, size_t size)
{
  HrTxn* const txn = begin(HR_WRITE);
  assert_ok(hr_put(txn, store->notes, key, sizeof *key, value, size));
  assert_ok(hr_txn_commit(txn));
}

static void assert_damaged(HrTreeId tree, uint32_t id, const HrTickKey* key, const Value* value,
                           size_t size)
{
  HrNote note;
  HrUndo step;
  put_value(key, value, size);
  HrTxn* const txn = begin(HR_WRITE);
  const HrBranchId root = hr_branch_id(tree, 1);
  assert_int_equal(hr_note_get(txn, tree, id, &note), HR_ERR_DAMAGED);
  assert_ok(hr_note_next(txn, root, INT64_MIN, 0, &note)); // Passed over
  assert_string_equal(note.name, "after");
  assert_int_equal(hr_mark_find(txn, root, "verse", &note), HR_ERR_NOT_FOUND);
  assert_ok(hr_undo_next(txn, tree, HR_UNDO, &step));
  assert_int_equal(hr_undo_apply(txn, &step, 0, 0), HR_ERR_DAMAGED);
  hr_txn_abort(txn);
  assert_true(verify_complains("the note at tick 5 is damaged"));
}

static void test_damaged_notes_are_passed_over_and_said(void** state)
{
  (void)state;
  HrTreeId tree;
  HrTxn* const txn = begin(HR_WRITE);
  const HrBranchId root = make_tree(txn, &tree);
  add(txn, mark_at(root, 6, "after"));
  const uint32_t id = add(txn, mark_at(root, 5, "verse"));
  assert_ok(hr_txn_commit(txn));
  HrTickKey key;
  hr_tick_key(&key, root, 5, id);
  const Value sound = {
      .record = {.end_tick = 5, .time_ns = 1, .kind = HR_NOTE_MARK, .name_size = 5, .text_size = 4},
      .texts = "versetext"};
  const size_t size = sizeof sound.record + 10;
  put_value(&key, &sound, size);
  verify_clean();

  assert_damaged(tree, id, &key, &sound, 0);
  assert_damaged(tree, id, &key, &sound, sizeof sound.record);
  assert_damaged(tree, id, &key, &sound, size - 1);
  assert_damaged(tree, id, &key, &sound, size + 1);
  Value bad = sound;
  bad.record.name_size = 4;
  assert_damaged(tree, id, &key, &bad, size);
  bad.record.name_size = 60000;
  assert_damaged(tree, id, &key, &bad, size);
  bad = sound;
  bad.texts[2] = '\0';
  assert_damaged(tree, id, &key, &bad, size);
  bad = sound;
  bad.texts[7] = '\0';
  assert_damaged(tree, id, &key, &bad, size);
  bad.texts[7] = '\xff';
  assert_damaged(tree, id, &key, &bad, size);
  bad = sound;
  bad.texts[9] = 'x';
  assert_damaged(tree, id, &key, &bad, size);
  bad = sound;
  bad.texts[0] = '\n';
  assert_damaged(tree, id, &key, &bad, size);
  bad = sound;
  bad.record.kind = 3;
  assert_damaged(tree, id, &key, &bad, size);
  bad = sound;
  bad.record.end_tick = 4;
  assert_damaged(tree, id, &key, &bad, size);
  bad = sound;
  bad.record.hidden = 2;
  assert_damaged(tree, id, &key, &bad, size);
  bad = sound;
  bad.record.rating = 6;
  assert_damaged(tree, id, &key, &bad, size);
  bad = sound;
  bad.record.known = HR_NOTE_AGENCY;
  bad.record.agency = NAN;
  assert_damaged(tree, id, &key, &bad, size);

  put_value(&key, &sound, size);
  verify_clean();
}

static void test_notes_in_wrong_places_are_said(void** state)
{
  (void)state;
  HrTreeId tree;
  HrBranchId child;
  HrTxn* txn = begin(HR_WRITE);
  const HrBranchId root = make_tree(txn, &tree);
  assert_ok(hr_branch_fork(txn, root, 100, NULL, &child));
  const uint32_t id = add(txn, mark_at(root, 5, "verse"));
  assert_ok(hr_txn_commit(txn));
  const Value sound = {.record = {.end_tick = 200, .kind = HR_NOTE_MARK, .name_size = 5},
                       .texts = "verse"};
  const size_t size = sizeof sound.record + 6;
  HrTickKey key;
  hr_tick_key(&key, hr_branch_id(tree, 9), 5, id);
  put_value(&key, &sound, size);
  assert_true(verify_complains("is on branch #9, which does not exist"));
  hr_tick_key(&key, child, 99, id);
  put_value(&key, &sound, size);
  assert_true(verify_complains("the note at tick 99 lies before the branch"));
  hr_tick_key(&key, child, 110, id);
  put_value(&key, &sound, size);
  assert_true(verify_complains("the journal does not tell of the note at tick 110"));

  hr_tick_key(&key, root, 5, id);
  MDB_val wanted = {sizeof key, &key};
  txn = begin(HR_WRITE);
  assert_int_equal(mdb_del(txn->txn, store->notes, &wanted, NULL), 0);
  assert_ok(hr_txn_commit(txn));
  assert_true(verify_complains("the note that journal entry 3 tells of is missing"));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(test_every_field_comes_back),
      TEST(test_bad_notes_are_refused),
      TEST(test_notes_are_hidden_and_restored),
      TEST(test_a_mark_of_the_past_is_everybodys),
      TEST(test_random_paths_equal_the_model),
      TEST(test_a_store_without_notes_is_read),
      TEST(test_damaged_notes_are_passed_over_and_said),
      TEST(test_notes_in_wrong_places_are_said),
  };
  return cmocka_run_group_tests_name("notes", tests, NULL, NULL);
}
