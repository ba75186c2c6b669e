/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file osc_rig.h
 * Two sessions without a host, served over OSC, for tests: of the trees "Grand
 * Piano" and "Bass #2/low". A test's state is a client. */

#ifndef HR_TESTS_OSC_RIG_H
#define HR_TESTS_OSC_RIG_H

#include "osc/osc.h"
#include "osc/socket.h"
#include "plugin/session.h"
#include "tests/osc_client.h"
#include "tests/scratch.h"

static HrSession* sessions[2];
static HrSession* third; ///< For tests that need one; teardown frees it
static char base_port[16];
static char rows[1 << 20]; ///< Of the last answer

static inline void make_tree(const char* name)
{
  HrStore* store = NULL;
  HrTxn* txn = NULL;
  HrTreeId tree = 0;
  HrError error = {0};
  if (hr_store_open(scratch_path("music.hr"), HR_STORE_CREATE, &store, &error)) {
    fail_msg("%s", error.text);
  }
  assert_int_equal(hr_txn_begin(store, HR_WRITE, &txn), HR_OK);
  assert_int_equal(hr_tree_create(txn, name, 0, &tree), HR_OK);
  assert_int_equal(hr_txn_commit(txn), HR_OK);
  hr_store_close(store);
}

static inline HrSession* make_session(const char* tree)
{
  HrError error = {0};
  HrSession* session = hr_session_new(NULL, &error);
  if (!session) {
    fail_msg("%s", error.text);
  }
  const HrAttachment attachment = {.store = scratch_path("music.hr"), .tree = tree};
  if (hr_session_attach(session, &attachment, &error)) {
    fail_msg("%s", error.text);
  }
  return session;
}

static inline void serve(HrSession* session)
{
  HrError error;
  if (hr_osc_attach(session, &error)) {
    fail_msg("%s", error.text);
  }
  assert_string_equal(error.text, "");
}

/** Subscriptions outlive the endpoint: here they must not outlive their test. */
static inline void forget_leases(void)
{
  for (int i = 0; i < HR_OSC_PORT_COUNT; ++i) {
    char name[64];
    snprintf(name, sizeof name, "halfremembered/osc-%d.leases", atoi(base_port) + i);
    unlink(runtime_path(name));
  }
}

static inline int group_setup(void** state)
{
  (void)state;
  if (scratch_make()) {
    return -1;
  }
  // Ports apart from a real one's, and from other runs of this test at the same time.
  snprintf(base_port, sizeof base_port, "%d", 20000 + (int)getpid() % 180 * HR_OSC_PORT_COUNT);
  setenv("HR_OSC_PORT", base_port, 1);
  make_tree("Grand Piano");
  make_tree("Bass #2/low");
  return 0;
}

static inline int group_teardown(void** state)
{
  (void)state;
  scratch_remove();
  return 0;
}

static inline int setup(void** state)
{
  sessions[0] = make_session("Grand Piano");
  sessions[1] = make_session("Bass #2/low");
  serve(sessions[0]);
  serve(sessions[1]);
  *state = client_new();
  return 0;
}

static inline int teardown(void** state)
{
  client_free(*state);
  for (size_t i = 0; i < 2; ++i) {
    hr_osc_detach(sessions[i]);
    hr_session_free(sessions[i]);
  }
  forget_leases();
  if (third) {
    hr_osc_detach(third);
    hr_session_free(third);
    third = NULL;
  }
  return 0;
}

/** An address of the first session. Good until 32 others were asked for. */
static inline const char* path_of(const char* verb)
{
  static char paths[32][256];
  static unsigned turn;
  char path[256];
  snprintf(path, sizeof path, "/hr/%u/%s", hr_session_number(sessions[0]), verb);
  for (unsigned i = 0; i < 32; ++i) {
    if (!strcmp(paths[i], path)) {
      return paths[i];
    }
  }
  char* fresh = paths[turn++ % 32];
  memcpy(fresh, path, sizeof path);
  return fresh;
}

/* ---- What is there, and what came back -------------------------------------- */

/** Branches and journal length of both sessions' trees as text: what no bad packet may change. */
static inline const char* music_state(void)
{
  static char text[1 << 18];
  size_t length = 0;
  HrStore* store = NULL;
  HrTxn* txn = NULL;
  HrTree tree;
  HrBranch branch;
  assert_int_equal(hr_store_open(scratch_path("music.hr"), 0, &store, NULL), HR_OK);
  assert_int_equal(hr_txn_begin(store, HR_READ, &txn), HR_OK);
  for (HrTreeId id = 0; !hr_tree_next(txn, id, &tree); id = tree.id) {
    length += (size_t)snprintf(text + length, sizeof text - length, "%s: at %llu\n", tree.name,
                               (unsigned long long)tree.current);
    for (uint32_t number = 0; !hr_branch_next(txn, tree.id, number, &branch);
         number = hr_branch_number(branch.id)) {
      char name[HR_NAME_MAX + 1];
      hr_branch_name(txn, branch.id, name);
      length +=
          (size_t)snprintf(text + length, sizeof text - length, "%s %llu %lld %lld %d\n", name,
                           (unsigned long long)branch.parent, (long long)branch.fork_tick,
                           (long long)branch.head_tick, (int)branch.state);
    }
  }
  hr_txn_abort(txn);
  hr_store_close(store);
  for (size_t i = 0; i < 2; ++i) {
    HrSessionState state;
    hr_session_state(sessions[i], &state);
    length += (size_t)snprintf(text + length, sizeof text - length, "%d%d%d%d%d %u %llu %llu\n",
                               state.record, state.replay, state.loop, state.thru, state.overdub,
                               state.quantum, (unsigned long long)state.branch,
                               (unsigned long long)state.tree_revision);
  }
  assert_true(length < sizeof text);
  return text;
}

static inline size_t count_lines(const char* text)
{
  size_t count = 0;
  for (; *text; ++text) {
    count += *text == '\n';
  }
  return count;
}

/** Count the values of a row as the table writes them. */
static inline size_t count_words(const char* text)
{
  size_t count = 0;
  for (const char* at = text; *at; ++at) {
    count += *at != ' ' && (at == text || at[-1] == ' ');
  }
  return count;
}

/** Count the values of one line of `rows`; texts have no quotes in them here. */
static inline size_t count_values(const char* line)
{
  size_t count = 0;
  bool quoted = false;
  for (const char* at = line; *at && *at != '\n'; ++at) {
    if (*at == '"') {
      quoted = !quoted;
      count += quoted;
    } else if (!quoted && *at != ' ' && (at == line || at[-1] == ' ')) {
      count += 1;
    }
  }
  return count;
}

#endif
