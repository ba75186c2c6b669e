/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What a damaged file does to a program that opens it, reads all of it and goes
 * on recording: it never crashes, and never gets other music than was played
 * without being told. One byte is set to something else, or the file is cut
 * short, at random; HR_CASES (300) files, from HR_SEED (1) on. */

#include "tests/damage_rig.h"

enum {
  BRANCHES = 300,
  EVENTS = 20000,
  NOTES = 40,
};

/** What a branch was before its file was damaged. */
typedef struct {
  HrBranchId id;
  HrBranchId parent;
  HrTick fork_tick;
  uint64_t path; ///< Digest of all events of its path
  uint64_t name;
} Branch;

static Branch originals[BRANCHES + 1];
static size_t original_count;
static uint64_t original_notes; ///< Digest of all marks

static void play(HrTxn* txn, HrBranchId branch, unsigned count)
{
  static uint8_t exclusive[3000];
  HrBranch at;
  assert_ok(hr_branch_get(txn, branch, &at));
  HrTick tick = at.head_tick;
  for (unsigned i = 0; i < count; ++i) {
    tick += (HrTick)draw(HR_TICKS_PER_QUARTER);
    if (draw(400) == 0) {
      exclusive[0] = 0xf0;
      const HrEvent event = {tick, HR_EVENT_MIDI, 100 + (uint32_t)draw(2900), exclusive};
      assert_ok(hr_append(txn, branch, &event, NULL));
    } else {
      assert_ok(append_note(txn, branch, tick, (uint8_t)draw(128)));
    }
  }
}

/** Music that was there already, appended at once: most of it lies in extents. */
static void append_at_once(HrTxn* txn, HrBranchId branch)
{
  static HrWord words[40 * HR_NODE_WORDS];
  HrBranch at;
  assert_ok(hr_branch_get(txn, branch, &at));
  for (uint32_t i = 0; i < sizeof words / sizeof *words; ++i) {
    words[i] = (HrWord){i * 1000, 3, {0x90, (uint8_t)draw(128), (uint8_t)draw(128)}};
  }
  assert_ok(hr_append_words(txn, branch, at.head_tick, words, sizeof words / sizeof *words, NULL));
}

/** A store as a few days of playing leave it: many commits, names and marks. */
static void make_store(void)
{
  HrTreeId tree = 0;
  HrTxn* txn = begin(HR_WRITE);
  assert_ok(hr_tree_create(txn, "song", 0, &tree));
  HrBranchId ids[BRANCHES] = {hr_branch_id(tree, 1)};
  play(txn, ids[0], 2000);
  append_at_once(txn, ids[0]);
  play(txn, ids[0], 100);
  assert_ok(hr_txn_commit(txn));
  for (unsigned i = 1; i < BRANCHES; ++i) {
    HrBranch from;
    txn = begin(HR_WRITE);
    assert_ok(hr_branch_get(txn, ids[draw(i)], &from));
    const HrTick tick =
        from.fork_tick + (HrTick)draw((uint64_t)(from.head_tick - from.fork_tick) + 1);
    assert_ok(hr_branch_fork(txn, from.id, tick, NULL, &ids[i]));
    play(txn, ids[i], 2 * (EVENTS - 2000) / BRANCHES / (1 + (unsigned)draw(3)));
    if (i < NOTES) {
      char name[16];
      uint32_t id;
      snprintf(name, sizeof name, "mark %u", i);
      const HrNote note = {
          .kind = HR_NOTE_MARK, .branch = ids[i], .tick = tick, .end_tick = tick, .name = ""};
      HrNote named = note;
      strcpy(named.name, name);
      assert_ok(hr_note_add(txn, &named, &id));
    }
    if (i % 7 == 0) {
      char name[32];
      snprintf(name, sizeof name, "the one I like, %u", i);
      assert_ok(hr_branch_rename(txn, ids[i], name, 0));
    }
    assert_ok(hr_txn_commit(txn));
  }
}

/** All events of the path of a branch before `until`. */
static HrStatus read_path(HrTxn* txn, HrBranchId id, HrTick until, uint64_t* value)
{
  HrPath path;
  HrEvent event;
  *value = 0;
  HrStatus status = hr_path_open(txn, id, INT64_MIN, &path);
  while (!status && !(status = hr_path_next(&path, &event)) && event.tick < until) {
    *value = digest(*value, &event.tick, sizeof event.tick);
    *value = digest(*value, event.bytes, event.size);
  }
  hr_path_close(&path);
  return status == HR_END ? HR_OK : status;
}

static HrStatus read_notes(HrTxn* txn, uint64_t* value)
{
  HrStatus status = HR_OK;
  for (uint32_t id = 0; id <= 3 * BRANCHES && (!status || status == HR_ERR_NOT_FOUND); ++id) {
    HrNote note;
    status = hr_note_get(txn, 1, id, &note);
    if (!status) {
      *value = digest(*value, &note.tick, sizeof note.tick);
      *value = digest(*value, note.name, strlen(note.name));
    }
  }
  return status == HR_ERR_NOT_FOUND ? HR_OK : status;
}

/** Read every branch into `branches`, and what is said of the music. */
static HrStatus read_store(HrTxn* txn, Branch* branches, size_t* count, uint64_t* notes)
{
  HrTree tree;
  HrBranch branch = {0};
  *count = 0;
  *notes = 0;
  HrStatus status = hr_tree_get(txn, 1, &tree);
  while (!status && *count <= BRANCHES &&
         !(status = hr_branch_next(txn, 1, hr_branch_number(branch.id), &branch))) {
    char name[HR_NAME_MAX + 1];
    Branch* const each = &branches[(*count)++];
    *each = (Branch){.id = branch.id, .parent = branch.parent, .fork_tick = branch.fork_tick};
    status = read_path(txn, branch.id, INT64_MAX, &each->path);
    status = status ? status : hr_branch_name(txn, branch.id, name);
    each->name = digest(0, name, strlen(name));
  }
  return status == HR_END ? read_notes(txn, notes) : status ? status : HR_ERR_LIMIT;
}

/** Go on playing on some branches, and fork one more. */
static HrStatus go_on(void)
{
  HrTxn* txn = NULL;
  HrBranchId fork = 0;
  HrStatus status = hr_txn_begin(store, HR_WRITE, &txn);
  for (size_t i = 0; i < original_count && !status; i += 50) {
    HrBranch branch;
    status = hr_branch_get(txn, originals[i].id, &branch);
    for (unsigned event = 0; event < 600 && !status; ++event) {
      status = append_note(txn, branch.id, branch.head_tick + 1 + event, 60);
    }
  }
  status = status ? status : hr_branch_fork(txn, originals[0].id, 1, NULL, &fork);
  if (status) {
    hr_txn_abort(txn);
    return status;
  }
  return hr_txn_commit(txn);
}

/** The music that was there before `go_on()` must be there still. */
static HrStatus read_again(bool* wrong)
{
  HrTxn* txn = NULL;
  HrStatus status = hr_txn_begin(store, HR_READ, &txn);
  for (size_t i = 1; i < original_count && !status; ++i) {
    uint64_t path;
    if (i % 50) {
      status = read_path(txn, originals[i].id, INT64_MAX, &path);
      *wrong = *wrong || (!status && path != originals[i].path);
    }
  }
  hr_txn_abort(txn);
  return status;
}

/** What a host does with a store. */
static int live(const char* path)
{
  static Branch branches[BRANCHES + 1];
  HrTxn* txn = NULL;
  size_t count;
  uint64_t notes;
  bool wrong = false;
  if (hr_store_open(path, 0, &store, NULL)) {
    return SAID;
  }
  HrStatus status = hr_txn_begin(store, HR_READ, &txn);
  status = status ? status : read_store(txn, branches, &count, &notes);
  hr_txn_abort(txn);
  if (!status && (count != original_count || notes != original_notes ||
                  memcmp(branches, originals, count * sizeof *branches))) {
    return WRONG;
  }
  /* A host goes on also where something was damaged. */
  const HrStatus first = status;
  status = go_on();
  status = status ? status : read_again(&wrong);
  hr_store_close(store);
  return first || status ? SAID : wrong ? WRONG : INTACT;
}

/** What is salvaged is a sound store, and the same music where nothing is said to be lost. */
static int salvage(const char* path)
{
  static Branch branches[BRANCHES + 1];
  HrSalvageReport report;
  HrVerifyReport verified;
  HrTxn* txn = NULL;
  size_t count = 0;
  uint64_t notes = 0;
  const char* const rescued = scratch_path("rescued.hr");
  unlink(rescued);
  unlink(scratch_path("rescued.hr-lock"));
  if (hr_store_salvage(path, rescued, NULL, NULL, &report, NULL)) {
    return access(rescued, F_OK) ? SAID : WRONG; // Nothing is readable
  }
  HrStatus status = hr_store_open(rescued, 0, &store, NULL);
  status = status ? status : hr_store_verify(store, NULL, NULL, &verified);
  if (status || verified.problems) {
    return WRONG;
  }
  status = hr_txn_begin(store, HR_READ, &txn);
  status = status ? status : read_store(txn, branches, &count, &notes);
  hr_txn_abort(txn);
  hr_store_close(store);
  const bool same = count == original_count && notes == original_notes &&
                    !memcmp(branches, originals, count * sizeof *branches);
  return status || (!report.losses && !same) ? WRONG : report.losses ? SAID : INTACT;
}

/** Write a file in which one byte is another, and forget who had it open. */
static void put_damaged(const char* path, uint8_t* bytes, size_t size, size_t at, uint8_t byte)
{
  char lock[4300];
  const uint8_t before = bytes[at];
  snprintf(lock, sizeof lock, "%s-lock", path);
  unlink(lock);
  bytes[at] = byte;
  write_file(path, bytes, size);
  bytes[at] = before;
}

/** Say which file it was, so that it can be made again. */
static void complain(const char* what, size_t index, bool cut, size_t at, unsigned before,
                     unsigned after)
{
  if (cut) {
    print_message("case %zu: %s: cut to %zu bytes\n", index, what, at);
  } else {
    print_message("case %zu: %s: byte %zu (page %zu, byte %zu) %02x -> %02x\n", index, what, at,
                  at / HR_PAGE_SIZE, at % HR_PAGE_SIZE, before, after);
  }
}

static void test_damaged_files_are_intact_or_said(void** state)
{
  (void)state;
  seed = setting("HR_SEED", 1);
  make_store();
  HrTxn* const txn = begin(HR_READ);
  assert_ok(read_store(txn, originals, &original_count, &original_notes));
  hr_txn_abort(txn);
  hr_store_close(store);
  store = NULL;

  size_t size;
  size_t counts[4] = {0}; // intact, said, wrong, crashed
  size_t salvaged[4] = {0};
  static const char* const words[] = {"intact", "said", "silently wrong", "crashed"};
  const uint64_t cases = setting("HR_CASES", 300);
  uint8_t* const bytes = read_file(scratch_path("a/b/test.hr"), &size);
  const char* const path = scratch_path("damaged.hr");
  write_file(path, bytes, size);
  assert_int_equal(WEXITSTATUS(apart(live, path)), INTACT);
  for (size_t i = 0; i < cases; ++i) {
    const bool cut = i % 10 == 0;
    const size_t at = draw(size);
    const uint8_t before = bytes[at];
    const uint8_t after = i % 2 ? before ^ (uint8_t)(1u << draw(8)) : (uint8_t)draw(256);
    put_damaged(path, bytes, cut ? at : size, cut ? 0 : at, cut ? bytes[0] : after);
    const size_t end = end_of(apart(live, path));
    counts[end] += 1;
    if (end >= 2) {
      complain(words[end], i, cut, at, before, after);
    }
    if (end == 1) {
      put_damaged(path, bytes, cut ? at : size, cut ? 0 : at, cut ? bytes[0] : after);
      const size_t saved = end_of(apart(salvage, path));
      salvaged[saved] += 1;
      if (saved >= 2) {
        complain("salvaged wrongly", i, cut, at, before, after);
      }
    }
  }
  free(bytes);
  print_message("%" PRIu64 " damaged copies of %zu bytes, %zu branches: %zu intact, %zu said, "
                "%zu silently wrong, %zu crashed\n",
                cases, size, original_count, counts[0], counts[1], counts[2], counts[3]);
  print_message("of those said, salvaged: %zu without a loss, %zu with what is lost said, %zu "
                "wrongly\n",
                salvaged[0], salvaged[1], salvaged[2] + salvaged[3]);
  assert_int_equal(counts[2] + counts[3] + salvaged[2] + salvaged[3], 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(test_damaged_files_are_intact_or_said),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
