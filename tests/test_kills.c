/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Hosts that are killed while they fork, rename, undo and merge, and programs that
 * are killed while they bring in what those left: every event whose block was run is
 * there, and every name that was acknowledged. HR_KILLS says how many hosts. */

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "store/internal.h"
#include "tests/rig_music.h"

/** Notes differ in channel, velocity or key. */
enum { IDS = 16 * 127 * 128, BRANCHES = 4096, KILLS = 100 };

/** How far a branch had got when the host was killed. */
typedef enum { UNKNOWN, FORKED, RENAMING, RENAMED, UNDOING, UNDONE } Stage;

/** What the killed process had put through. */
typedef struct {
  _Atomic uint64_t notes; ///< Whose run had returned
  _Atomic int stage[BRANCHES];
  _Atomic bool merged[BRANCHES];
} Progress;

static Progress* progress;
static bool found[2][IDS]; ///< Note-ons and note-offs of the store

/* ---- The victims -------------------------------------------------------------------- */

/** A block with a note, all of it. */
static void play(uint32_t id)
{
  const uint8_t channel = (uint8_t)(id / 128 / 127);
  const uint8_t velocity = (uint8_t)(1 + id / 128 % 127);
  rig_play(&rig, 5, (uint8_t)(0x90 | channel), id % 128, velocity);
  rig_play(&rig, 200, (uint8_t)(0x80 | channel), id % 128, velocity);
  rig_run_block(&rig, 256);
  progress->notes = id + 1;
}

static bool say(const char* verb, const char* first, const char* second)
{
  const HrValue values[] = {hr_value_text(first), hr_value_text(second)};
  return !rig_command(&rig, verb, values, second ? 2 : first ? 1 : 0);
}

static const char* branch_name(char kind, int number)
{
  static char names[2][16];
  static unsigned turn;
  char* const name = names[turn++ % 2];
  snprintf(name, sizeof names[0], "%c%d", kind, number);
  return name;
}

/** The next command of those that make, name and join branch `number`. */
static void command(int step, int number)
{
  _Atomic int* const stage = &progress->stage[number];
  const int before = number ? progress->stage[number - 1] : UNKNOWN;
  switch (step) {
  case 0:
    rig.idle = !say("fork", branch_name('f', number), NULL);
    break;
  case 1:
    *stage = RENAMING;
    *stage = say("rename", branch_name('f', number), branch_name('r', number)) ? RENAMED : *stage;
    break;
  case 2:
    *stage = number % 2 ? UNDOING : *stage;
    *stage = number % 2 && say("undo", NULL, NULL) ? UNDONE : *stage;
    break;
  default:
    progress->merged[number] =
        before && say("merge", branch_name(before == UNDONE ? 'f' : 'r', number - 1),
                      branch_name('m', number));
    break;
  }
}

/** Play, with a command now and then, and after some notes without bringing
 * anything into the store any more. */
static int play_until_killed(const char* store, uint32_t worked)
{
  const HrAttachment where = {.store = store, .tree = "victim"};
  if (!rig_open(&rig, &where) || !say("quantum", "now", NULL)) { // Not in the midst of a note
    return 1;
  }
  for (uint32_t id = 0; id < IDS && id < worked + 50000; ++id) {
    const int number = (int)(id / 40);
    const bool forks = id % 40 == 0 && id < worked && number < BRANCHES;
    if (id % 10 == 0 && id < worked && number < BRANCHES) {
      command((int)(id / 10 % 4), number);
    }
    rig.idle = forks || id >= worked; // Acknowledged before it is in the store
    play(id);
    if (forks) {
      progress->stage[number] = FORKED;
    }
  }
  pause();
  return 0;
}

static int bring_in(const char* path)
{
  HrStore* store;
  if (hr_store_open(path, 0, &store, NULL)) {
    return 1;
  }
  hr_session_recover(store, NULL);
  hr_store_close(store);
  return 0;
}

static pid_t start(const char* what, const char* store, int worked)
{
  char number[16];
  snprintf(number, sizeof number, "%d", worked);
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); // Else it would fill the disk if the test dies first
    execl("/proc/self/exe", "test_kills", what, store, scratch_path("progress"), number,
          (char*)NULL);
    _exit(9);
  }
  return child;
}

static bool end(pid_t child, useconds_t after)
{
  int result = 0;
  usleep(after);
  kill(child, SIGKILL);
  assert_int_equal(waitpid(child, &result, 0), child);
  assert_true(WIFSIGNALED(result) || WEXITSTATUS(result) == 0);
  return WIFSIGNALED(result);
}

/* ---- What is left ------------------------------------------------------------------- */

static void note_found(HrTxn* txn)
{
  HrNodeCursor* nodes;
  memset(found, 0, sizeof found);
  assert_int_equal(hr_nodes_open(txn, &nodes), 0);
  while (!hr_nodes_next(nodes)) {
    const HrNodeHeader* const node = nodes->node.mv_data;
    const HrSpan span = {node, (const HrWord*)(node + 1), node->word_count, node->base_tick, 0};
    HrEvent event;
    uint32_t index = 0;
    while (hr_span_next(&span, &index, &event)) {
      const uint8_t* const bytes = event.bytes;
      if (event.kind == HR_EVENT_MIDI && event.size == 3 && bytes[2]) {
        found[bytes[0] >> 4 == 9][((bytes[0] & 15) * 127 + bytes[2] - 1) * 128 + bytes[1]] = true;
      }
    }
  }
  hr_nodes_close(nodes);
}

static bool has_branch(HrTxn* txn, HrTreeId tree, char kind, int number)
{
  HrBranchId branch;
  return !hr_branch_find(txn, tree, branch_name(kind, number), &branch);
}

static void assert_named(HrTxn* txn, HrTreeId tree, int number)
{
  const bool forked = has_branch(txn, tree, 'f', number);
  const bool renamed = has_branch(txn, tree, 'r', number);
  switch ((Stage)progress->stage[number]) {
  case FORKED:
  case UNDONE:
    assert_true(forked && !renamed);
    break;
  case RENAMING:
  case UNDOING:
    assert_true(forked != renamed);
    break;
  case RENAMED:
    assert_true(renamed && !forked);
    break;
  default:
    break;
  }
  assert_true(!progress->merged[number] || has_branch(txn, tree, 'm', number));
}

/** Returns how many commands were found to have been carried out. */
static int assert_nothing_is_lost(const char* path)
{
  HrStore* store;
  HrTxn* txn;
  HrTreeId tree;
  HrVerifyReport report;
  int commands = 0;
  assert_ok(hr_store_open(path, 0, &store, NULL));
  hr_session_recover(store, NULL);
  assert_ok(hr_store_verify(store, NULL, NULL, &report));
  assert_int_equal(report.problems, 0);
  assert_ok(hr_txn_begin(store, HR_READ, &txn));
  note_found(txn);
  for (uint64_t id = 0; id < progress->notes; ++id) {
    assert_true(found[0][id] && found[1][id]);
  }
  if (progress->notes) {
    assert_ok(hr_tree_find(txn, "victim", &tree));
    for (int i = 0; i < BRANCHES && progress->stage[i]; ++i) {
      assert_named(txn, tree, i);
      commands += 1 + (progress->stage[i] >= RENAMED) + (progress->stage[i] == UNDONE) +
                  progress->merged[i];
    }
  }
  hr_txn_abort(txn);
  hr_store_close(store);
  return commands;
}

static void test_kills_during_commands_and_recovery(void** state)
{
  (void)state;
  const char* const wanted = getenv("HR_KILLS");
  const int kills = wanted ? atoi(wanted) : KILLS;
  uint64_t notes = 0;
  int commands = 0, recoveries = 0;
  srand(17);
  for (int i = 0; i < kills; ++i) {
    char path[4200];
    memset(progress, 0, sizeof *progress);
    snprintf(path, sizeof path, "%s/kill-%d.hr", scratch, i);
    const pid_t victim = start("play", path, rand() % 4000);
    while (!progress->notes) {
      usleep(200);
    }
    end(victim, (useconds_t)(rand() % 60000));
    for (int again = rand() % 4; again > 0; --again) {
      recoveries += end(start("recover", path, 0), (useconds_t)(rand() % 8000));
    }
    commands += assert_nothing_is_lost(path);
    notes += progress->notes;
    unlink(path);
  }
  print_message("%d kills, %llu notes and %d commands acknowledged, %d recoveries killed, 0 lost\n",
                kills, (unsigned long long)notes, commands, recoveries);
}

static void map_progress(const char* path)
{
  const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, sizeof *progress)) {
    _exit(8);
  }
  progress = mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (progress == MAP_FAILED) {
    _exit(8);
  }
}

static int setup_progress(void** state)
{
  const int code = setup(state);
  map_progress(scratch_path("progress"));
  return code;
}

int main(int argc, char** argv)
{
  if (argc == 5) {
    map_progress(argv[3]);
    return strcmp(argv[1], "play") ? bring_in(argv[2])
                                   : play_until_killed(argv[2], (uint32_t)atoi(argv[4]));
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_kills_during_commands_and_recovery, setup_progress,
                                      teardown),
  };
  return cmocka_run_group_tests_name("kills", tests, NULL, NULL);
}
