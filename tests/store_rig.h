/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file store_rig.h
 * What the tests of the store share: one store in a scratch folder, made before
 * each test and gone after it. */

#ifndef HR_TESTS_STORE_RIG_H
#define HR_TESTS_STORE_RIG_H

#include "store/store.h"
#include "tests/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define assert_ok(call) assert_int_equal((call), HR_OK)

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static HrStore* store;

static inline int setup(void** state)
{
  (void)state;
  return scratch_make() ||
         hr_store_open(scratch_path("a/b/test.hr"), HR_STORE_CREATE, &store, NULL);
}

static inline int teardown(void** state)
{
  (void)state;
  hr_store_close(store);
  store = NULL;
  scratch_remove();
  return 0;
}

static inline HrTxn* begin(HrTxnMode mode)
{
  HrTxn* txn = NULL;
  assert_ok(hr_txn_begin(store, mode, &txn));
  return txn;
}

static inline void print_problem(void* data, const char* sentence)
{
  (void)data;
  print_message("  %s\n", sentence);
}

static inline void verify_clean(void)
{
  HrVerifyReport report;
  assert_ok(hr_store_verify(store, print_problem, NULL, &report));
  assert_int_equal(report.problems, 0);
}

/** A new tree's first branch. */
static inline HrBranchId make_branch(HrTxn* txn)
{
  HrTreeId id;
  assert_ok(hr_tree_create(txn, NULL, 0, &id));
  return hr_branch_id(id, 1);
}

/** The status of a note, a controller, a program or a bend, by rand(). */
static inline uint8_t random_kind(void)
{
  static const uint8_t kinds[] = {0x80, 0x90, 0x90, 0xb0, 0xc0, 0xe0};
  return kinds[(unsigned)rand() % sizeof kinds];
}

/** A message of this kind, on a channel and with data by rand(). */
static inline HrWord random_word(uint8_t kind, uint32_t offset)
{
  HrWord word = {offset, kind == 0xc0 ? 2 : 3, {0}};
  word.bytes[0] = (uint8_t)(kind | (rand() & 0x0f));
  word.bytes[1] = rand() & 0x7f;
  word.bytes[2] = kind == 0xc0 ? 0 : rand() & 0x7f;
  return word;
}

/** Append words as events, one by one. */
static inline void append_one_by_one(HrTxn* txn, HrBranchId branch, HrTick base,
                                     const HrWord* words, uint32_t count,
                                     const HrAppendOptions* options)
{
  const HrSpan span = {.words = words, .count = count, .base = base};
  uint32_t index = 0;
  HrEvent event;
  while (hr_span_next(&span, &index, &event)) {
    assert_ok(hr_append(txn, branch, &event, options));
  }
}

/** True if a verification complains in these words. */
typedef struct {
  const char* words;
  bool found;
} Complaint;

static inline void hear_problem(void* data, const char* sentence)
{
  Complaint* const complaint = data;
  complaint->found = complaint->found || strstr(sentence, complaint->words);
}

static inline bool verify_complains(const char* words)
{
  Complaint complaint = {words, false};
  HrVerifyReport report;
  assert_ok(hr_store_verify(store, hear_problem, &complaint, &report));
  return complaint.found && report.problems;
}

static inline HrStatus append_note(HrTxn* txn, HrBranchId branch, HrTick tick, uint8_t note)
{
  const uint8_t bytes[3] = {0x90, note, 100};
  return hr_append(txn, branch, &(HrEvent){tick, HR_EVENT_MIDI, 3, bytes}, NULL);
}

#endif
