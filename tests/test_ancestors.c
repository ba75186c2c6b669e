/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What the store remembers of where branches come from is what it says when it is read. */

#include "store/ancestors.h"
#include "tests/store_rig.h"

#include <pthread.h>
#include <stdlib.h>

enum { BRANCHES = 3000, TICKS_APART = 100 };

/** Where the branches were really forked: their parent's number and the tick. */
static uint32_t parents[BRANCHES + 1];
static HrTick fork_ticks[BRANCHES + 1];

static HrTreeId make_tree(void)
{
  HrTreeId tree;
  HrTxn* const txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, NULL, 0, &tree));
  assert_ok(hr_txn_commit(txn));
  return tree;
}

/** Each branch is forked behind where its parent was: mostly from the one before, so that
 * the tree is deep. */
static void grow_tree(HrTreeId tree)
{
  HrTxn* const txn = begin(HR_WRITE);
  srand(3);
  for (uint32_t number = 2; number <= BRANCHES; ++number) {
    HrBranchId id;
    const uint32_t back = rand() % 8 ? 1 : 1 + (unsigned)rand() % (number - 1);
    parents[number] = number - back;
    fork_ticks[number] = fork_ticks[parents[number]] + 1 + rand() % TICKS_APART;
    assert_ok(
        hr_branch_fork(txn, hr_branch_id(tree, parents[number]), fork_ticks[number], NULL, &id));
    assert_true(id == hr_branch_id(tree, number));
  }
  assert_ok(hr_txn_commit(txn));
}

/** Step by step. */
static uint32_t real_owner(uint32_t leaf, HrTick tick)
{
  while (parents[leaf] && tick < fork_ticks[leaf]) {
    leaf = parents[leaf];
  }
  return leaf;
}

static unsigned wrong_owners(HrTreeId tree, unsigned seed)
{
  unsigned wrong = 0;
  HrTxn* txn;
  if (hr_txn_begin(store, HR_READ, &txn)) {
    return 1;
  }
  for (unsigned i = 0; i < 20000; ++i) {
    HrBranch owner;
    const uint32_t leaf = 1 + (unsigned)rand_r(&seed) % BRANCHES;
    const HrTick tick = rand_r(&seed) % (fork_ticks[leaf] + TICKS_APART);
    const HrStatus status = hr_branch_owner(txn, hr_branch_id(tree, leaf), tick, &owner);
    wrong += status || owner.id != hr_branch_id(tree, real_owner(leaf, tick));
  }
  hr_txn_abort(txn);
  return wrong;
}

static void test_owners_are_found_again(void** state)
{
  (void)state;
  const HrTreeId tree = make_tree();
  grow_tree(tree);
  assert_int_equal(wrong_owners(tree, 1), 0);
  assert_int_equal(wrong_owners(tree, 2), 0); // Known now
}

static HrTreeId shared_tree;

static void* look_for_owners(void* wrong)
{
  *(unsigned*)wrong = wrong_owners(shared_tree, *(unsigned*)wrong);
  return NULL;
}

static void test_several_threads_look_at_once(void** state)
{
  (void)state;
  enum { THREADS = 4 };
  pthread_t threads[THREADS];
  unsigned wrong[THREADS];
  shared_tree = make_tree();
  grow_tree(shared_tree);
  for (unsigned i = 0; i < THREADS; ++i) {
    wrong[i] = i + 1;
    assert_int_equal(pthread_create(&threads[i], NULL, look_for_owners, &wrong[i]), 0);
  }
  for (unsigned i = 0; i < THREADS; ++i) {
    pthread_join(threads[i], NULL);
    assert_int_equal(wrong[i], 0);
  }
}

static void assert_owner(HrTxn* txn, HrBranchId leaf, HrTick tick, HrBranchId expected)
{
  HrBranch owner;
  assert_ok(hr_branch_owner(txn, leaf, tick, &owner));
  assert_true(owner.id == expected);
}

/** The number of a branch that was never committed goes to another one. */
static void test_what_is_given_up_is_not_remembered(void** state)
{
  (void)state;
  const HrTreeId tree = make_tree();
  const HrBranchId root = hr_branch_id(tree, 1);
  HrBranchId early, late, given_up, child;
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_branch_fork(txn, root, 100, NULL, &early));
  assert_ok(hr_branch_fork(txn, root, 900, NULL, &late));
  assert_ok(hr_txn_commit(txn));
  txn = begin(HR_WRITE);
  assert_ok(hr_branch_fork(txn, early, 200, NULL, &given_up));
  assert_ok(hr_branch_fork(txn, given_up, 1000, NULL, &child));
  assert_owner(txn, child, 150, early);
  hr_txn_abort(txn);
  txn = begin(HR_WRITE);
  HrBranchId other;
  assert_ok(hr_branch_fork(txn, late, 950, NULL, &other));
  assert_true(other == given_up);
  assert_ok(hr_branch_fork(txn, other, 1000, NULL, &child));
  assert_ok(hr_txn_commit(txn));
  txn = begin(HR_READ);
  assert_owner(txn, child, 970, other);
  assert_owner(txn, child, 920, late);
  assert_owner(txn, child, 150, root);
  hr_txn_abort(txn);
}

static HrAncestor made_up(HrTreeId tree, uint32_t number)
{
  return (HrAncestor){.id = hr_branch_id(tree, number),
                      .parent = number > 1 ? hr_branch_id(tree, number / 2) : 0,
                      .jump = hr_branch_id(tree, number / 3 + 1),
                      .fork_tick = -(HrTick)number * 1000,
                      .jump_tick = (HrTick)number * 700};
}

static void assert_known(const HrAncestors* known, HrTreeId tree, uint32_t number)
{
  const HrAncestor expected = made_up(tree, number);
  HrAncestor found;
  if (hr_ancestors_find(known, expected.id, &found)) {
    assert_true(found.parent == expected.parent && found.jump == expected.jump &&
                found.fork_tick == expected.fork_tick && found.jump_tick == expected.jump_tick);
  } else {
    fail_msg("Branch %u of tree %u is forgotten.", number, (unsigned)tree);
  }
}

/** As many as there is room for are all remembered; more take the places of others. */
static void test_it_grows_up_to_its_bound(void** state)
{
  (void)state;
  HrAncestors known;
  HrAncestor found;
  hr_ancestors_init(&known);
  assert_true(hr_ancestors_take(&known));
  assert_false(hr_ancestors_take(&known));
  for (uint32_t number = 1; number <= HR_ANCESTORS_MAX; ++number) {
    const HrAncestor ancestor = made_up(7, number);
    hr_ancestors_add(&known, &ancestor);
    assert_true(known.places <= 256 || known.places <= 4 * number);
  }
  for (uint32_t number = 1; number <= HR_ANCESTORS_MAX; ++number) {
    assert_known(&known, 7, number);
  }
  assert_int_equal(known.places, HR_ANCESTORS_MAX);
  for (uint32_t number = 1; number <= HR_ANCESTORS_MAX / 2; ++number) {
    const HrAncestor ancestor = made_up(8, number);
    hr_ancestors_add(&known, &ancestor);
    assert_known(&known, 8, number);
  }
  assert_int_equal(known.places, HR_ANCESTORS_MAX);
  hr_ancestors_give_back(&known);
  hr_ancestors_clear(&known);
  assert_false(hr_ancestors_find(&known, hr_branch_id(8, 1), &found));
  hr_ancestors_free(&known);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(test_owners_are_found_again),
      TEST(test_several_threads_look_at_once),
      TEST(test_what_is_given_up_is_not_remembered),
      cmocka_unit_test(test_it_grows_up_to_its_bound),
  };
  return cmocka_run_group_tests_name("ancestors", tests, NULL, NULL);
}
