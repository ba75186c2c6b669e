/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/internal.h"
#include "tests/store_rig.h"

static HrTreeId make_tree(HrTxn* txn)
{
  HrTreeId tree;
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  return tree;
}

static HrBranchId fork_at(HrTxn* txn, HrBranchId from, HrTick tick, const char* name, bool go_there)
{
  HrBranchId id;
  assert_ok(
      hr_branch_fork(txn, from, tick, &(HrForkOptions){.name = name, .go_there = go_there}, &id));
  return id;
}

static HrBranchId current(HrTxn* txn, HrTreeId tree)
{
  HrTree record;
  assert_ok(hr_tree_get(txn, tree, &record));
  return record.current;
}

static bool hidden(HrTxn* txn, HrBranchId id)
{
  HrBranch branch;
  assert_ok(hr_branch_get(txn, id, &branch));
  return branch.state == HR_BRANCH_HIDDEN;
}

static void assert_name(HrTxn* txn, HrBranchId id, const char* expected)
{
  char name[HR_NAME_MAX + 1];
  assert_ok(hr_branch_name(txn, id, name));
  assert_string_equal(name, expected);
}

static HrUndo take_step(HrTxn* txn, HrTreeId tree, HrUndoDirection direction)
{
  HrUndo step;
  assert_ok(hr_undo_next(txn, tree, direction, &step));
  assert_ok(hr_undo_apply(txn, &step, 77, 5));
  return step;
}

static HrJournalEntry last_entry(HrTxn* txn, HrTreeId tree)
{
  HrTreeRecord record;
  HrJournalEntry entry;
  assert_ok(hr_tree_record(txn, tree, &record));
  assert_ok(hr_journal_get(txn, tree, record.journal_count, &entry));
  return entry;
}

/* ---- one by one ------------------------------------------------------ */

static void test_a_fork_is_undone_and_redone(void** state)
{
  (void)state;
  HrTxn* const txn = begin(HR_WRITE);
  const HrTreeId tree = make_tree(txn);
  const HrBranchId root = hr_branch_id(tree, 1);
  HrUndo step;
  assert_int_equal(hr_undo_next(txn, tree, HR_UNDO, &step), HR_END);
  assert_int_equal(hr_undo_next(txn, tree, HR_REDO, &step), HR_END);
  const HrBranchId fork = fork_at(txn, root, 40, "idea", true);

  step = take_step(txn, tree, HR_UNDO);
  assert_int_equal(step.direction, HR_UNDO);
  assert_int_equal(step.operation, HR_OPERATION_FORK);
  assert_int_equal(step.sequence, 2);
  assert_true(step.branch == fork && step.go_to == root && step.tick == 40);
  assert_string_equal(step.name, "idea");
  assert_true(hidden(txn, fork) && current(txn, tree) == root);
  HrJournalEntry entry = last_entry(txn, tree);
  assert_int_equal(entry.operation, HR_OPERATION_UNDO);
  assert_int_equal(entry.refers, 2);
  assert_true(entry.branch == fork && entry.left == fork && entry.tick == 77 && entry.author == 5);
  assert_int_equal(hr_undo_next(txn, tree, HR_UNDO, &step), HR_END);

  step = take_step(txn, tree, HR_REDO);
  assert_int_equal(step.operation, HR_OPERATION_FORK);
  assert_true(step.branch == fork && step.go_to == fork);
  assert_true(!hidden(txn, fork) && current(txn, tree) == fork);
  entry = last_entry(txn, tree);
  assert_int_equal(entry.operation, HR_OPERATION_REDO);
  assert_int_equal(entry.refers, 3);
  assert_int_equal(hr_undo_next(txn, tree, HR_REDO, &step), HR_END);

  /* Not on it: nobody is moved. */
  assert_ok(hr_branch_switch_quietly(txn, root, 50, 0));
  step = take_step(txn, tree, HR_UNDO);
  assert_true(step.go_to == 0 && hidden(txn, fork) && current(txn, tree) == root);
  step = take_step(txn, tree, HR_REDO);
  assert_true(step.go_to == 0 && !hidden(txn, fork) && current(txn, tree) == root);
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

static void test_a_fork_without_going_there_leads_back_to_its_origin(void** state)
{
  (void)state;
  HrTxn* const txn = begin(HR_WRITE);
  const HrTreeId tree = make_tree(txn);
  const HrBranchId root = hr_branch_id(tree, 1);
  const HrBranchId fork = fork_at(txn, root, 40, "idea", false);
  assert_ok(hr_branch_switch_quietly(txn, fork, 41, 0));
  const HrUndo step = take_step(txn, tree, HR_UNDO);
  assert_true(step.go_to == root && current(txn, tree) == root && hidden(txn, fork));
  take_step(txn, tree, HR_REDO);
  assert_true(current(txn, tree) == fork && !hidden(txn, fork));

  /* Also when that is not its parent. */
  const HrBranchId early = fork_at(txn, fork, 20, "early", false);
  HrBranch branch;
  assert_ok(hr_branch_get(txn, early, &branch));
  assert_true(branch.parent == root);
  assert_ok(hr_branch_switch_quietly(txn, early, 42, 0));
  take_step(txn, tree, HR_UNDO);
  assert_true(current(txn, tree) == fork && hidden(txn, early));
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

static void test_switches_names_and_states_go_back_and_forth(void** state)
{
  (void)state;
  HrTxn* const txn = begin(HR_WRITE);
  const HrTreeId tree = make_tree(txn);
  const HrBranchId root = hr_branch_id(tree, 1);
  const HrBranchId one = fork_at(txn, root, 10, "one", false);
  HrTree record;
  assert_ok(hr_branch_switch(txn, one, 20, 0));
  assert_ok(hr_branch_rename(txn, one, "verse", 0));
  assert_ok(hr_tree_rename(txn, tree, "song", 0));
  assert_ok(hr_branch_set_state(txn, root, HR_BRANCH_HIDDEN, 0));
  assert_ok(hr_branch_set_state(txn, root, HR_BRANCH_ACTIVE, 0));

  assert_int_equal(take_step(txn, tree, HR_UNDO).operation, HR_OPERATION_RESTORE);
  assert_true(hidden(txn, root));
  assert_int_equal(take_step(txn, tree, HR_UNDO).operation, HR_OPERATION_HIDE);
  assert_false(hidden(txn, root));
  HrUndo step = take_step(txn, tree, HR_UNDO);
  assert_int_equal(step.operation, HR_OPERATION_RENAME_TREE);
  assert_string_equal(step.name, "tree 1");
  assert_ok(hr_tree_get(txn, tree, &record));
  assert_string_equal(record.name, "tree 1");
  step = take_step(txn, tree, HR_UNDO);
  assert_string_equal(step.name, "one");
  assert_name(txn, one, "one");
  step = take_step(txn, tree, HR_UNDO);
  assert_int_equal(step.operation, HR_OPERATION_SWITCH);
  assert_true(step.branch == one && step.go_to == root && current(txn, tree) == root);
  assert_int_equal(take_step(txn, tree, HR_UNDO).operation, HR_OPERATION_FORK);
  assert_int_equal(hr_undo_next(txn, tree, HR_UNDO, &step), HR_END);

  take_step(txn, tree, HR_REDO);
  assert_true(!hidden(txn, one) && current(txn, tree) == root);
  take_step(txn, tree, HR_REDO);
  assert_true(current(txn, tree) == one);
  step = take_step(txn, tree, HR_REDO);
  assert_string_equal(step.name, "verse");
  assert_name(txn, one, "verse");
  take_step(txn, tree, HR_REDO);
  assert_ok(hr_tree_get(txn, tree, &record));
  assert_string_equal(record.name, "song");
  take_step(txn, tree, HR_REDO);
  assert_true(hidden(txn, root));

  /* Something new: what was undone stays so. */
  assert_ok(hr_branch_rename(txn, one, "chorus", 0));
  assert_int_equal(hr_undo_next(txn, tree, HR_REDO, &step), HR_END);
  assert_int_equal(take_step(txn, tree, HR_UNDO).operation, HR_OPERATION_RENAME);
  assert_name(txn, one, "verse");
  assert_int_equal(take_step(txn, tree, HR_UNDO).operation, HR_OPERATION_HIDE);
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

static void test_a_name_taken_meanwhile_gets_a_number(void** state)
{
  (void)state;
  HrTxn* const txn = begin(HR_WRITE);
  const HrTreeId tree = make_tree(txn);
  const HrBranchId root = hr_branch_id(tree, 1);
  const HrBranchId one = fork_at(txn, root, 10, "idea", false);
  assert_ok(hr_branch_rename(txn, one, "verse", 0));
  fork_at(txn, root, 20, "idea", false);
  take_step(txn, tree, HR_UNDO);
  take_step(txn, tree, HR_UNDO);
  assert_name(txn, one, "idea 2"); // A hidden branch keeps its name
  take_step(txn, tree, HR_REDO);
  assert_name(txn, one, "verse");
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

static void test_quiet_switches_are_passed_over(void** state)
{
  (void)state;
  HrTxn* const txn = begin(HR_WRITE);
  const HrTreeId tree = make_tree(txn);
  const HrBranchId root = hr_branch_id(tree, 1);
  const HrBranchId home = fork_at(txn, root, 10, "home", true);
  const HrBranchId side = fork_at(txn, home, 30, "side", true);
  assert_ok(hr_branch_switch_quietly(txn, home, 30, 0)); // The host starts again
  assert_true(last_entry(txn, tree).quiet);
  HrUndo step = take_step(txn, tree, HR_UNDO);
  assert_true(step.branch == side && step.go_to == 0 && current(txn, tree) == home);
  assert_ok(hr_branch_switch_quietly(txn, root, 40, 0)); // Does not end what can be redone
  step = take_step(txn, tree, HR_REDO);
  assert_true(step.branch == side && step.go_to == 0 && !hidden(txn, side));
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

static void test_a_merge_is_one_step(void** state)
{
  (void)state;
  HrTxn* const txn = begin(HR_WRITE);
  const HrTreeId tree = make_tree(txn);
  const HrBranchId root = hr_branch_id(tree, 1);
  const HrBranchId one = fork_at(txn, root, 10, "one", false);
  const HrBranchId two = fork_at(txn, root, 10, "two", true);
  HrBranchId both;
  assert_ok(hr_branch_merge(txn, two, one, &(HrForkOptions){.go_there = true}, &both));
  HrUndo step = take_step(txn, tree, HR_UNDO);
  assert_int_equal(step.operation, HR_OPERATION_MERGE);
  assert_true(step.branch == both &&
              step.go_to == two); // Where one was, not what it was forked from
  assert_string_equal(step.name, "one + two");
  assert_true(hidden(txn, both) && !hidden(txn, one) && !hidden(txn, two));
  step = take_step(txn, tree, HR_REDO);
  assert_true(step.go_to == both && !hidden(txn, both));
  take_step(txn, tree, HR_UNDO);
  assert_true(take_step(txn, tree, HR_UNDO).branch == two);
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

/** What `halfremembered log` prints of it. */
static void test_the_log_tells_of_undo(void** state)
{
  (void)state;
  static const char* const expected[] = {
      "made the tree",
      "forked \"one\" (#2)",
      "switched to \"one\" (#2) from \"main\" at 1.1, unasked",
      "merged \"main\" into \"one + main\" (#3) at 1.1",
      "merged \"one\" into \"one + main\" (#3) at 1.1",
      "marked \"verse\" on \"one\" (#2) at 1.1",
      "hid the mark \"verse\" on \"one\" (#2) at 1.1",
      "noted something on \"one\" (#2) at 1.1",
      "undid: noted something on \"one\"",
      "undid: hid the mark \"verse\"",
      "redid: hid the mark \"verse\"",
      "brought back a note on \"one\"",
  };
  HrTxn* const txn = begin(HR_WRITE);
  const HrTreeId tree = make_tree(txn);
  const HrBranchId one = fork_at(txn, hr_branch_id(tree, 1), 0, "one", false);
  HrBranchId both;
  uint32_t mark, text;
  assert_ok(hr_branch_switch_quietly(txn, one, 0, 0));
  assert_ok(hr_branch_merge(txn, hr_branch_id(tree, 1), one, NULL, &both));
  assert_ok(
      hr_note_add(txn, &(HrNote){.kind = HR_NOTE_MARK, .branch = one, .name = "verse"}, &mark));
  assert_ok(hr_note_set_hidden(txn, tree, mark, true, 0));
  assert_ok(hr_note_add(txn, &(HrNote){.kind = HR_NOTE_TEXT, .branch = one, .rating = 2}, &text));
  take_step(txn, tree, HR_UNDO);
  take_step(txn, tree, HR_UNDO);
  take_step(txn, tree, HR_REDO);
  assert_ok(hr_note_set_hidden(txn, tree, text, false, 0));
  assert_ok(hr_txn_commit(txn));

  char command[9000];
  char line[1000];
  snprintf(command, sizeof command, "'%s' -s '%s' log", HR_TEST_BUNDLE "../halfremembered",
           hr_store_path(store));
  FILE* const output = popen(command, "r"); // NOLINT(cert-env33-c)
  assert_non_null(output);
  assert_non_null(fgets(line, sizeof line, output)); // The tree
  for (size_t i = 0; i < sizeof expected / sizeof *expected; ++i) {
    assert_non_null(fgets(line, sizeof line, output));
    if (!strstr(line, expected[i])) {
      fail_msg("%s where \"%s\" was expected", line, expected[i]);
    }
  }
  assert_null(fgets(line, sizeof line, output));
  assert_int_equal(pclose(output), 0);
  verify_clean();
}

/* ---- the current branch ---------------------------------------------- */

static void test_the_current_branch_is_never_hidden(void** state)
{
  (void)state;
  HrTxn* const txn = begin(HR_WRITE);
  const HrTreeId tree = make_tree(txn);
  const HrBranchId root = hr_branch_id(tree, 1);
  const HrBranchId one = fork_at(txn, root, 10, "one", false);
  const HrBranchId two = fork_at(txn, one, 20, "two", false);
  assert_ok(hr_branch_set_state(txn, two, HR_BRANCH_HIDDEN, 0));
  take_step(txn, tree, HR_UNDO);
  assert_ok(hr_branch_switch_quietly(txn, two, 30, 0));
  HrUndo step = take_step(txn, tree, HR_REDO); // hides where one is now: to its parent
  assert_true(step.go_to == one && current(txn, tree) == one && hidden(txn, two));
  step = take_step(txn, tree, HR_UNDO);
  assert_true(step.go_to == 0);
  take_step(txn, tree, HR_UNDO);
  assert_ok(hr_branch_switch_quietly(txn, root, 40, 0));
  step = take_step(txn, tree, HR_REDO);
  assert_true(step.go_to == 0);
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

static void test_with_nowhere_to_go_nothing_changes(void** state)
{
  (void)state;
  HrTxn* const txn = begin(HR_WRITE);
  const HrTreeId tree = make_tree(txn);
  const HrBranchId root = hr_branch_id(tree, 1);
  const HrBranchId one = fork_at(txn, root, 10, "one", false);
  HrUndo step;
  assert_ok(hr_branch_set_state(txn, one, HR_BRANCH_HIDDEN, 0));
  assert_ok(hr_branch_set_state(txn, one, HR_BRANCH_ACTIVE, 0));
  assert_ok(hr_branch_switch_quietly(txn, one, 0, 0));
  HrBranch branch;
  assert_ok(hr_branch_get(txn, root, &branch));
  branch.state = HR_BRANCH_HIDDEN; // As another program might have left it
  assert_ok(hr_branch_put(txn, &branch));
  assert_int_equal(hr_undo_next(txn, tree, HR_UNDO, &step), HR_ERR_BUSY);
  assert_string_equal(step.name, "one");
  const uint32_t before = last_entry(txn, tree).sequence;
  assert_int_equal(hr_undo_apply(txn, &step, 0, 0), HR_ERR_BUSY);
  step.go_to = root;
  assert_int_equal(hr_undo_apply(txn, &step, 0, 0), HR_ERR_BUSY);
  assert_int_equal(last_entry(txn, tree).sequence, before);
  assert_true(!hidden(txn, one) && current(txn, tree) == one);

  branch.state = HR_BRANCH_ACTIVE;
  assert_ok(hr_branch_put(txn, &branch));
  take_step(txn, tree, HR_UNDO);
  assert_true(hidden(txn, one) && current(txn, tree) == root);
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

static void test_a_step_that_came_too_late_changes_nothing(void** state)
{
  (void)state;
  HrTxn* const txn = begin(HR_WRITE);
  const HrTreeId tree = make_tree(txn);
  const HrBranchId root = hr_branch_id(tree, 1);
  const HrBranchId one = fork_at(txn, root, 10, "one", true);
  HrUndo step, redo;
  assert_ok(hr_undo_next(txn, tree, HR_UNDO, &step));
  const HrBranchId two = fork_at(txn, one, 20, "two", true);
  const uint32_t before = last_entry(txn, tree).sequence;
  assert_int_equal(hr_undo_apply(txn, &step, 0, 0), HR_ERR_BUSY);
  assert_int_equal(last_entry(txn, tree).sequence, before);
  assert_true(!hidden(txn, one) && !hidden(txn, two) && current(txn, tree) == two);

  take_step(txn, tree, HR_UNDO);
  assert_ok(hr_undo_next(txn, tree, HR_REDO, &redo));
  assert_ok(hr_undo_apply(txn, &step, 0, 0)); // It is next again
  assert_int_equal(hr_undo_apply(txn, &step, 0, 0), HR_ERR_BUSY);
  assert_int_equal(hr_undo_apply(txn, &redo, 0, 0), HR_ERR_BUSY);
  take_step(txn, tree, HR_REDO);
  assert_ok(hr_undo_apply(txn, &redo, 0, 0));
  assert_int_equal(hr_undo_apply(txn, &redo, 0, 0), HR_ERR_BUSY);

  /* Where to go may be said anew, but not to what is hidden or elsewhere. */
  assert_ok(hr_undo_next(txn, tree, HR_UNDO, &step));
  step.go_to = two;
  assert_int_equal(hr_undo_apply(txn, &step, 0, 0), HR_ERR_BUSY);
  step.go_to = hr_branch_id(tree, 99);
  assert_int_equal(hr_undo_apply(txn, &step, 0, 0), HR_ERR_NOT_FOUND);
  step.go_to = hr_branch_id(make_tree(txn), 1);
  assert_int_equal(hr_undo_apply(txn, &step, 0, 0), HR_ERR_ARGUMENT);
  step.go_to = root;
  assert_ok(hr_undo_apply(txn, &step, 0, 0));
  assert_true(current(txn, tree) == root && hidden(txn, two));
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

/* ---- random operations against a list of states ---------------------- */

enum { BRANCHES = 60, NOTES = 60, STEPS = 3000, NAME = 24 };

/** All that operations change. What was not made yet is not visible. */
typedef struct {
  uint32_t current;
  char tree_name[NAME];
  char names[BRANCHES + 1][NAME]; ///< "": not made yet
  bool visible[BRANCHES + 1];
  bool note_visible[NOTES];
} State;

typedef struct {
  HrTxn* txn;
  HrTreeId tree;
  uint32_t branches;
  uint32_t notes;
  uint32_t ids[NOTES];
  unsigned names_given;
  State* states; ///< states[0..last]; undo and redo move `at`
  int at, last;
} Model;

static uint32_t any_branch(const Model* model, const State* now, bool visible)
{
  for (;;) {
    const uint32_t number = (uint32_t)rand() % model->branches + 1;
    if (now->visible[number] == visible || rand() % 50 == 0) {
      return number;
    }
  }
}

static void name_made(Model* model, State* next, HrBranchId id, bool go_there)
{
  char name[HR_NAME_MAX + 1];
  model->branches = hr_branch_number(id);
  assert_ok(hr_branch_name(model->txn, id, name));
  snprintf(next->names[model->branches], NAME, "%.20s", name);
  next->visible[model->branches] = true;
  next->current = go_there ? model->branches : next->current;
}

/** Do something to the store and to `next`. False if it would change nothing. */
static bool do_something(Model* model, State* next)
{
  HrTxn* const txn = model->txn;
  const uint32_t number = any_branch(model, next, rand() % 4 != 0);
  const uint32_t other = any_branch(model, next, true);
  const HrBranchId branch = hr_branch_id(model->tree, number);
  HrForkOptions options = {.go_there = rand() % 2};
  char name[NAME];
  const HrTick tick = rand() % 100;
  HrBranchId id;
  switch (rand() % 8) {
  case 0:
  case 1:
    if (model->branches == BRANCHES) {
      return false;
    }
    assert_ok(hr_branch_fork(txn, branch, tick, &options, &id));
    name_made(model, next, id, options.go_there);
    return true;
  case 2:
    if (model->branches == BRANCHES || number == other) {
      return false;
    }
    snprintf(name, sizeof name, "merge %u", ++model->names_given);
    options.name = name; // Its own, as hidden branches keep theirs
    assert_ok(hr_branch_merge(txn, hr_branch_id(model->tree, other), branch, &options, &id));
    name_made(model, next, id, options.go_there);
    return true;
  case 3:
    if (!next->visible[number] || number == next->current) {
      return false;
    }
    assert_ok(hr_branch_switch(txn, branch, tick, 0));
    next->current = number;
    return true;
  case 4:
    if (number == next->current) {
      assert_int_equal(hr_branch_set_state(txn, branch, HR_BRANCH_HIDDEN, 0), HR_ERR_BUSY);
      return false;
    }
    next->visible[number] = !next->visible[number];
    assert_ok(hr_branch_set_state(txn, branch,
                                  next->visible[number] ? HR_BRANCH_ACTIVE : HR_BRANCH_HIDDEN, 0));
    return true;
  case 5:
    if (!next->names[number][0]) {
      return false;
    }
    snprintf(next->names[number], NAME, "name %u", ++model->names_given);
    assert_ok(hr_branch_rename(txn, branch, next->names[number], 0));
    return true;
  case 6:
    snprintf(next->tree_name, NAME, "song %u of %u", ++model->names_given, model->tree);
    assert_ok(hr_tree_rename(txn, model->tree, next->tree_name, 0));
    return true;
  default:
    if (model->notes < NOTES && (model->notes == 0 || rand() % 2)) {
      const HrNote mark = {
          .kind = HR_NOTE_MARK, .branch = branch, .tick = tick, .end_tick = tick, .name = "mark"};
      assert_ok(hr_note_add(txn, &mark, &model->ids[model->notes]));
      next->note_visible[model->notes++] = true;
    } else {
      const uint32_t note = (uint32_t)rand() % model->notes;
      next->note_visible[note] = !next->note_visible[note];
      assert_ok(
          hr_note_set_hidden(txn, model->tree, model->ids[note], !next->note_visible[note], 0));
    }
    return true;
  }
}

static void assert_state(const Model* model, const State* expected, bool same_branch)
{
  HrTree tree;
  HrNote note;
  assert_ok(hr_tree_get(model->txn, model->tree, &tree));
  assert_string_equal(tree.name, expected->tree_name);
  assert_false(hidden(model->txn, tree.current));
  if (same_branch) {
    assert_int_equal(hr_branch_number(tree.current), expected->current);
  }
  for (uint32_t number = 1; number <= model->branches; ++number) {
    const HrBranchId id = hr_branch_id(model->tree, number);
    assert_int_equal(!hidden(model->txn, id), expected->visible[number]);
    if (expected->names[number][0]) {
      assert_name(model->txn, id, expected->names[number]);
    }
  }
  for (uint32_t i = 0; i < model->notes; ++i) {
    assert_ok(hr_note_get(model->txn, model->tree, model->ids[i], &note));
    assert_int_equal(!note.hidden, expected->note_visible[i]);
  }
}

/** Step if the model says that there is a step; with quiet switches in between
 * it may be impossible, and is then left. */
static void step_in_model(Model* model, HrUndoDirection direction, bool quiet)
{
  HrUndo step;
  const int to = direction == HR_UNDO ? model->at - 1 : model->at + 1;
  const HrStatus status = hr_undo_next(model->txn, model->tree, direction, &step);
  if (to < 0 || to > model->last) {
    assert_int_equal(status, HR_END);
  } else if (!quiet || status != HR_ERR_BUSY) {
    assert_ok(status);
    assert_ok(hr_undo_apply(model->txn, &step, 0, 0));
    model->at = to;
  }
}

static void run_model(unsigned seed, bool quiet)
{
  Model model = {.branches = 1, .txn = begin(HR_WRITE)};
  HrTree tree;
  srand(seed);
  model.states = calloc(STEPS + 1, sizeof *model.states);
  assert_non_null(model.states);
  model.tree = make_tree(model.txn);
  assert_ok(hr_tree_get(model.txn, model.tree, &tree));
  model.states[0] = (State){.current = 1, .names = {"", "main"}, .visible = {false, true}};
  snprintf(model.states[0].tree_name, NAME, "%.20s", tree.name);
  uint32_t entries = 1;
  for (int i = 0; i < STEPS; ++i) {
    const int kind = rand() % 10;
    if (kind < 6 && !(i / 100 % 2)) {
      State next = model.states[model.at];
      next.current = hr_branch_number(current(model.txn, model.tree));
      if (do_something(&model, &next)) {
        model.states[++model.at] = next;
        model.last = model.at;
      }
    } else if (kind == 9 && quiet) {
      const uint32_t number = any_branch(&model, &model.states[model.at], true);
      const HrBranchId id = hr_branch_id(model.tree, number);
      if (!hidden(model.txn, id)) {
        assert_ok(hr_branch_switch_quietly(model.txn, id, 0, 0));
      }
    } else {
      step_in_model(&model, rand() % 5 < 3 ? HR_UNDO : HR_REDO, quiet);
    }
    assert_state(&model, &model.states[model.at], !quiet);
    assert_true(last_entry(model.txn, model.tree).sequence >= entries); // Nothing is removed
    entries = last_entry(model.txn, model.tree).sequence;
    if (rand() % 100 == 0) {
      assert_ok(hr_txn_commit(model.txn));
      model.txn = begin(HR_WRITE);
    }
  }
  free(model.states);
  assert_ok(hr_txn_commit(model.txn));
}

static void test_random_undo_equals_the_states_before(void** state)
{
  (void)state;
  for (unsigned seed = 1; seed <= 8; ++seed) {
    run_model(seed, false);
  }
  verify_clean();
}

static void test_random_undo_among_quiet_switches(void** state)
{
  (void)state;
  for (unsigned seed = 1; seed <= 8; ++seed) {
    run_model(seed, true);
  }
  verify_clean();
}

static void test_long_chains(void** state)
{
  (void)state;
  enum { COUNT = 50000 };
  HrTxn* const txn = begin(HR_WRITE);
  const HrTreeId tree = make_tree(txn);
  const HrBranchId root = hr_branch_id(tree, 1);
  const HrBranchId other = fork_at(txn, root, 10, NULL, false);
  HrUndo step;
  for (int i = 0; i < COUNT; ++i) {
    assert_ok(hr_branch_switch(txn, i % 2 ? root : other, i, 0));
  }
  for (int i = 0; i < COUNT; ++i) {
    step = take_step(txn, tree, HR_UNDO);
    assert_true(step.tick == COUNT - 1 - i);
  }
  for (int i = 0; i < COUNT; ++i) {
    step = take_step(txn, tree, HR_REDO);
    assert_true(step.tick == i);
  }
  assert_int_equal(hr_undo_next(txn, tree, HR_REDO, &step), HR_END);
  assert_ok(hr_txn_commit(txn));
  verify_clean();
}

/* ---- damage ---------------------------------------------------------- */

/** A journal that says "main, fork, undo", and the tree's record. */
static HrTreeId make_undone(HrTreeRecord* record)
{
  HrTxn* const txn = begin(HR_WRITE);
  const HrTreeId tree = make_tree(txn);
  fork_at(txn, hr_branch_id(tree, 1), 10, "one", true);
  take_step(txn, tree, HR_UNDO);
  assert_ok(hr_tree_record(txn, tree, record));
  assert_ok(hr_txn_commit(txn));
  return tree;
}

static void put_tops(HrTreeId tree, HrTreeRecord record, uint32_t undo, uint32_t redo)
{
  HrTxn* const txn = begin(HR_WRITE);
  record.undo = undo;
  record.redo = redo;
  assert_ok(hr_tree_record_put(txn, tree, &record));
  assert_ok(hr_txn_commit(txn));
}

static void assert_both_damaged(HrTreeId tree)
{
  HrUndo step;
  HrTxn* const txn = begin(HR_READ);
  assert_int_equal(hr_undo_next(txn, tree, HR_UNDO, &step), HR_ERR_DAMAGED);
  assert_int_equal(hr_undo_next(txn, tree, HR_REDO, &step), HR_ERR_DAMAGED);
  hr_txn_abort(txn);
}

static void test_damaged_chains_are_said(void** state)
{
  (void)state;
  HrTreeRecord record;
  const HrTreeId tree = make_undone(&record);
  put_tops(tree, record, 99, 99); // Beyond the end
  assert_both_damaged(tree);
  assert_true(verify_complains("are next to be undone"));
  put_tops(tree, record, 1, 1); // CREATE is neither
  assert_both_damaged(tree);
  put_tops(tree, record, 3, 2); // The wrong way round
  assert_both_damaged(tree);
  put_tops(tree, record, record.undo, record.redo);
  verify_clean();

  /* An entry that refers to another, but is no undo. */
  uint32_t mark;
  HrUndo step;
  HrTxn* txn = begin(HR_WRITE);
  const HrNote note = {.kind = HR_NOTE_MARK, .branch = hr_branch_id(tree, 1), .name = "verse"};
  assert_ok(hr_note_add(txn, &note, &mark));
  assert_ok(hr_note_set_hidden(txn, tree, mark, true, 0));
  assert_ok(hr_tree_record(txn, tree, &record));
  assert_ok(hr_txn_commit(txn));
  put_tops(tree, record, record.undo, record.journal_count);
  txn = begin(HR_READ);
  assert_int_equal(hr_undo_next(txn, tree, HR_REDO, &step), HR_ERR_DAMAGED);
  hr_txn_abort(txn);
}

/** Write an entry with `texts` bytes behind it. */
static void put_entry(HrTreeId tree, uint32_t sequence, const HrJournalRecord* record, size_t texts)
{
  uint8_t value[sizeof *record + 1000] = {0};
  HrTxn* const txn = begin(HR_WRITE);
  const uint64_t key = (uint64_t)tree << 32 | sequence;
  memcpy(value, record, sizeof *record);
  assert_ok(hr_put(txn, store->journal, &key, sizeof key, value, sizeof *record + texts));
  assert_ok(hr_txn_commit(txn));
}

static void test_damaged_entries_are_said(void** state)
{
  (void)state;
  HrTreeRecord tree_record;
  const HrTreeId tree = make_undone(&tree_record);
  const HrJournalRecord sound = {.branch = hr_branch_id(tree, 2),
                                 .left = hr_branch_id(tree, 2),
                                 .refers = 2,
                                 .operation = HR_OPERATION_UNDO};
  put_entry(tree, 3, &sound, 0);
  verify_clean();
  HrJournalRecord bad = sound;
  bad.refers = 3;
  put_entry(tree, 3, &bad, 0);
  assert_true(verify_complains("entry 3 does not undo or redo"));
  bad.refers = 1;
  put_entry(tree, 3, &bad, 0);
  assert_true(verify_complains("entry 3 does not undo or redo"));
  bad = sound;
  bad.below = 2;
  put_entry(tree, 3, &bad, 0);
  assert_true(verify_complains("entry 3 does not undo or redo"));
  bad = sound;
  bad.left = hr_branch_id(tree, 9);
  put_entry(tree, 3, &bad, 0);
  assert_true(verify_complains("entry 3 is about a branch that does not exist"));
  bad = sound;
  bad.before_size = 1;
  put_entry(tree, 3, &bad, 0);
  assert_true(verify_complains("entry 3 is damaged"));
  bad.before_size = HR_NAME_MAX + 1;
  put_entry(tree, 3, &bad, HR_NAME_MAX + 1);
  assert_true(verify_complains("entry 3 is damaged"));
  put_entry(tree, 3, &sound, 0);
  verify_clean();
  const HrJournalRecord fork = {.branch = hr_branch_id(tree, 2),
                                .other = hr_branch_id(tree, 1),
                                .left = hr_branch_id(tree, 1),
                                .tick = 10,
                                .below = 1,
                                .operation = HR_OPERATION_FORK};
  put_entry(tree, 2, &fork, 0);
  assert_true(verify_complains("entry 2 does not undo or redo what came before"));
}

static void test_a_hidden_current_branch_is_said(void** state)
{
  (void)state;
  HrTxn* const txn = begin(HR_WRITE);
  const HrTreeId tree = make_tree(txn);
  assert_ok(hr_branch_put_state(txn, hr_branch_id(tree, 1), HR_BRANCH_HIDDEN));
  assert_ok(hr_txn_commit(txn));
  assert_true(verify_complains("its current branch is hidden"));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(test_a_fork_is_undone_and_redone),
      TEST(test_a_fork_without_going_there_leads_back_to_its_origin),
      TEST(test_switches_names_and_states_go_back_and_forth),
      TEST(test_a_name_taken_meanwhile_gets_a_number),
      TEST(test_quiet_switches_are_passed_over),
      TEST(test_a_merge_is_one_step),
      TEST(test_the_log_tells_of_undo),
      TEST(test_the_current_branch_is_never_hidden),
      TEST(test_with_nowhere_to_go_nothing_changes),
      TEST(test_a_step_that_came_too_late_changes_nothing),
      TEST(test_random_undo_equals_the_states_before),
      TEST(test_random_undo_among_quiet_switches),
      TEST(test_long_chains),
      TEST(test_damaged_chains_are_said),
      TEST(test_damaged_entries_are_said),
      TEST(test_a_hidden_current_branch_is_said),
  };
  return cmocka_run_group_tests_name("undo", tests, NULL, NULL);
}
