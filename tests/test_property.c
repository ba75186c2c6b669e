/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Random performances by random transport scripts in random cycles, in one of the
 * hosts of tests/host/lv2_policy.h. Whatever happens: every note is kept where it
 * was played, and once; what is replayed comes on its frame; what is begun is
 * ended; where the output has little room, it all comes late. HR_CASES says how
 * many (10,000; a tenth with sanitizers), HR_SEED which comes first. They are
 * shared out among as many processes as there are processors. */

#include "plugin/plugin.h"
#include "plugin/session_internal.h"
#include "tests/host/lv2_model.h"
#include "tests/host/lv2_script.h"
#include "tests/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/wait.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CASES 1000
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CASES 1000
#endif
#endif
#ifndef CASES
#define CASES 10000
#endif

static Script script;
static Chance chance; ///< Of what is done after the script
static Host* host;
static char* saved;
static EventList output; ///< Of the instances taken away
static unsigned* found;  ///< How often each event of the script is in the store
static bool* in_place;   ///< ... and whether once where it was played
static bool bypassed;
static unsigned known; ///< Cases of which the model could tell

#define check(condition)                                                                           \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      print_error("case %u (%s, output of %u bytes): %s (line %d)\n", script.seed,                 \
                  host_traits(script.host.policy)->name, script.host.out_capacity, #condition,     \
                  __LINE__);                                                                       \
      scratch_remove();                                                                            \
      _exit(EXIT_FAILURE);                                                                         \
    }                                                                                              \
  } while (0)

/* ---- Playing ------------------------------------------------------------------ */

static HrSession* session_of(const Host* of)
{
  return ((HrPlugin*)host_instance(of))->session;
}

static void command(const char* verb, const HrValue* args, size_t count)
{
  hr_command_run(session_of(host), verb, args, count, "test", NULL, NULL);
}

static void command_text(const char* verb, const char* text)
{
  const HrValue value = hr_value_text(text);
  command(verb, &value, 1);
}

/** The host plays no more: what it said so far must have been right. */
static void check_host(void)
{
  HrSessionState state;
  hr_session_state(session_of(host), &state);
  check(state.dropped == 0);
  check(state.malformed == 0);
  check(state.trouble == HR_OK);
  const HrRescue* const rescues = session_of(host)->binding.capture->file->rescues;
  check(!rescues[HR_RESCUES - 1].number); // The engine knew where each branch ended
  check(host_faults(host) == 0);
  check(host_lost(host) == 0);
}

/** Keep what came out of an instance whose time is over. */
static void keep_output(void)
{
  const EventList* const list = host_output(host);
  const uint64_t from = output.count ? output.events[output.count - 1].frame : 0;
  for (size_t i = 0; i < list->count; ++i) {
    const Event* const event = &list->events[i];
    events_add(&output, from + event->frame, event->bytes, event->size);
  }
}

static void close_host(void)
{
  check_host();
  keep_output();
  host_free(host);
  host = NULL;
}

/** The session is closed and opened again; where it stood the host knows. */
static void reopen(void)
{
  const HostTransport transport = *host_transport_now(host);
  command("stop", NULL, 0);
  for (int i = 0; i < 4 + 60 * script.crowded; ++i) {
    host_run(host, 1024); // Until what it started is ended
  }
  free(saved);
  saved = host_save(host);
  close_host();
  host = host_new(&script.host);
  host_restore(host, saved);
  host_transport(host, &transport);
}

static void make_move(const ScriptMove* move)
{
  switch (move->kind) {
  case SCRIPT_TRANSPORT:
    host_transport(host, &move->transport);
    break;
  case SCRIPT_COMMAND: // Some cannot be done: that is fine
    command(move->verb, move->args, move->count);
    break;
  case SCRIPT_FREEWHEEL:
    host_freewheel(host, move->on);
    break;
  case SCRIPT_SAVE:
    free(saved);
    saved = host_save(host);
    break;
  case SCRIPT_RESTORE:
    host_restore(host, saved);
    host_control(host, "enabled", bypassed ? 0.0f : 1.0f);
    break;
  case SCRIPT_ENABLE:
    bypassed = !move->on;
    host_control(host, "enabled", move->on);
    break;
  case SCRIPT_ACTIVATE:
    host_deactivate(host);
    host_activate(host);
    break;
  case SCRIPT_REOPEN:
    reopen();
    host_control(host, "enabled", bypassed ? 0.0f : 1.0f);
    break;
  }
}

static void perform(void)
{
  static uint8_t room[SCRIPT_SYSEX_MAX];
  int64_t frame = 0;
  size_t event = 0;
  size_t move = 0;
  for (size_t i = 0; i < script.cycle_count; ++i) {
    const uint32_t length = script.cycles[i];
    for (; move < script.move_count && script.moves[move].frame == frame; ++move) {
      make_move(&script.moves[move]);
    }
    for (; event < script.event_count && script.events[event].frame < frame + length; ++event) {
      const ScriptEvent* const e = &script.events[event];
      host_midi(host, e->past ? length : (uint32_t)(e->frame - frame), script_bytes(e, room),
                e->size);
    }
    host_run(host, length);
    frame += length;
  }
}

static void run_somehow(int64_t frames)
{
  while (frames > 0) {
    const uint32_t length = script_choose_cycle(&chance, frames);
    host_run(host, length);
    frames -= length;
  }
}

/* ---- Checking ------------------------------------------------------------------- */

static bool is_unique(const uint8_t* bytes)
{
  return (bytes[0] & 0xf0) == 0x90 || bytes[0] == 0xf0;
}

/** The event of the script that a note-on or a SysEx message is. */
static size_t find_played(const uint8_t* bytes, uint32_t size)
{
  for (size_t i = 0; i < script.event_count; ++i) {
    const ScriptEvent* const event = &script.events[i];
    if (event->size == size && !memcmp(event->bytes, bytes, size < 4 ? size : 4)) {
      return i;
    }
  }
  return script.event_count;
}

static HrTick tick_of(int64_t frame)
{
  return llrint((double)frame * HR_TICKS_PER_QUARTER / script.quarter);
}

static void check_kept_event(const HrEvent* kept)
{
  static uint8_t room[SCRIPT_SYSEX_MAX];
  const size_t index = find_played(kept->bytes, kept->size);
  check(index < script.event_count);
  const ScriptEvent* const event = &script.events[index];
  check(!memcmp(script_bytes(event, room), kept->bytes, kept->size));
  in_place[index] =
      in_place[index] || event->host_frame == INT64_MIN || kept->tick == tick_of(event->host_frame);
  ++found[index];
}

/** Every own event of every branch: each note once, at its tick. What is overdubbed may
 * be kept elsewhere as well. */
static void check_kept(HrStore* store, HrTreeId tree)
{
  HrTxn* txn = NULL;
  HrBranch branch = {0};
  check(!hr_txn_begin(store, HR_READ, &txn));
  while (!hr_branch_next(txn, tree, hr_branch_number(branch.id), &branch)) {
    HrPath path;
    HrEvent event;
    HrTick last = INT64_MIN;
    check(!hr_path_open(txn, branch.id, INT64_MIN, &path));
    while (!hr_path_next(&path, &event)) {
      const bool own = path.span.branch == branch.id;
      check(event.tick >= last);
      last = event.tick;
      if (own && event.kind == HR_EVENT_MIDI && is_unique(event.bytes)) {
        check_kept_event(&event);
      }
    }
    hr_path_close(&path);
  }
  hr_txn_abort(txn);
  for (size_t i = 0; i < script.event_count; ++i) {
    if (is_unique(script.events[i].bytes)) {
      const bool bypasses = script.events[i].bypassed;
      check(bypasses ? found[i] == 0 : found[i] == 1 || (found[i] > 1 && script.overdubs));
      check(bypasses || in_place[i]);
    }
  }
}

/* ---- The model ------------------------------------------------------------------ */

/** What a branch is, and its own notes by number and tick: as the model has it, or
 * as the store does. */
typedef struct {
  char text[8192];
  size_t used;
} Portrait;

static void describe(Portrait* portrait, const char* format, ...)
    __attribute__((format(printf, 2, 3)));

static void describe(Portrait* portrait, const char* format, ...)
{
  va_list args;
  va_start(args, format);
  const int length = vsnprintf(portrait->text + portrait->used,
                               sizeof portrait->text - portrait->used, format, args);
  va_end(args);
  portrait->used += (size_t)length;
  check(portrait->used < sizeof portrait->text);
}

static void describe_branch(Portrait* portrait, const char* name, const char* parent, HrTick fork)
{
  portrait->used = 0;
  describe(portrait, "\"%s\" from \"%s\" at %.4f:", name, parent,
           (double)fork / HR_TICKS_PER_QUARTER);
}

static void describe_note(Portrait* portrait, size_t index, HrTick tick)
{
  describe(portrait, " %zu@%.7f", index, (double)tick / HR_TICKS_PER_QUARTER);
}

static void describe_known(Portrait* portrait, const Model* model, int index)
{
  const ModelBranch* const branch = &model->branches[index];
  const bool root = branch->parent == MODEL_NOWHERE;
  describe_branch(portrait, branch->name, root ? "" : model->branches[branch->parent].name,
                  branch->fork);
  for (size_t i = 0; i < script.event_count; ++i) {
    if (model->owners[i] == index && is_unique(script.events[i].bytes)) {
      describe_note(portrait, i, model->ticks[i]);
    }
  }
}

static void describe_stored(Portrait* portrait, HrTxn* txn, const HrBranch* branch)
{
  char name[HR_NAME_MAX + 1];
  char parent[HR_NAME_MAX + 1] = "";
  HrPath path;
  HrEvent event;
  check(!hr_branch_name(txn, branch->id, name));
  check(!branch->parent || !hr_branch_name(txn, branch->parent, parent));
  describe_branch(portrait, name, parent, branch->fork_tick);
  check(!hr_path_open(txn, branch->id, branch->parent ? branch->fork_tick : INT64_MIN, &path));
  while (!hr_path_next(&path, &event)) {
    if (path.span.branch == branch->id && event.kind == HR_EVENT_MIDI && is_unique(event.bytes)) {
      describe_note(portrait, find_played(event.bytes, event.size), event.tick);
    }
  }
  hr_path_close(&path);
}

/** Compare the trees, branch by branch, in the order of their numbers; or show them. */
static bool compare_trees(const Model* model, HrTxn* txn, HrTreeId tree, bool show)
{
  static Portrait told;
  static Portrait stored;
  HrBranch branch = {0};
  uint32_t number = 0;
  bool same = true;
  for (bool more = true; more;) {
    const int index = model_next(model, number);
    told.used = stored.used = 0;
    describe(&told, "nothing");
    describe(&stored, "nothing");
    if (index != MODEL_NOWHERE) {
      number = model->branches[index].number;
      describe_known(&told, model, index);
    }
    more = !hr_branch_next(txn, tree, hr_branch_number(branch.id), &branch);
    if (more) {
      describe_stored(&stored, txn, &branch);
    }
    more = more || index != MODEL_NOWHERE;
    const bool equal = !strcmp(told.text, stored.text);
    same = same && equal;
    if (show && more) {
      print_error("  %s %s\n", equal ? "both " : "model", told.text);
      if (!equal) {
        print_error("  store %s\n", stored.text);
      }
    }
  }
  return same;
}

/** The tree is what the model says, if it can say. */
static void check_tree(HrStore* store, HrTreeId tree)
{
  Model model;
  HrTxn* txn = NULL;
  model_make(&model, &script);
  known += model.known;
  if (model.known) {
    check(!hr_txn_begin(store, HR_READ, &txn));
    const bool as_the_model = compare_trees(&model, txn, tree, false);
    if (!as_the_model) {
      compare_trees(&model, txn, tree, true);
    }
    check(as_the_model);
    hr_txn_abort(txn);
  }
  model_free(&model);
}

/** What has come out is in order; what was begun is ended. */
static void check_output(const EventList* list)
{
  int on[16][128] = {0};
  uint64_t last = 0;
  for (size_t i = 0; i < list->count; ++i) {
    const uint8_t* const bytes = list->events[i].bytes;
    const int kind = bytes[0] & 0xf0;
    int* const count = &on[bytes[0] & 15][bytes[1] & 127];
    check(list->events[i].frame >= last);
    last = list->events[i].frame;
    if (kind == 0x90 && bytes[2]) {
      ++*count;
    } else if ((kind == 0x80 || kind == 0x90) && *count) {
      --*count;
    }
  }
  for (int channel = 0; channel < 16; ++channel) {
    for (int key = 0; key < 128; ++key) {
      check(on[channel][key] == 0);
    }
  }
}

/** The pedals that were put down are up again. */
static void check_pedals(const EventList* list)
{
  bool down[16] = {false};
  for (size_t i = 0; i < list->count; ++i) {
    const uint8_t* const bytes = list->events[i].bytes;
    if ((bytes[0] & 0xf0) == 0xb0 && bytes[1] == 64) {
      down[bytes[0] & 15] = bytes[2] >= 64;
    }
  }
  for (int channel = 0; channel < 16; ++channel) {
    check(!down[channel]);
  }
}

/** What the path of `branch` holds from a frame of the transport on, for so many frames. */
static void expect(EventList* list, HrStore* store, HrBranchId branch, int64_t from, int64_t frames)
{
  HrTxn* txn = NULL;
  HrPath path;
  HrEvent event;
  check(!hr_txn_begin(store, HR_READ, &txn));
  check(!hr_path_open(txn, branch, tick_of(from), &path));
  while (!hr_path_next(&path, &event)) {
    const int64_t at = llrint((double)event.tick * script.quarter / HR_TICKS_PER_QUARTER) - from;
    if (at >= frames) {
      break;
    }
    if (event.kind == HR_EVENT_MIDI) {
      events_add(list, (uint64_t)at, event.bytes, event.size);
    }
  }
  hr_path_close(&path);
  hr_txn_abort(txn);
}

static HrBranchId any_branch(HrStore* store, HrTreeId tree)
{
  HrTxn* txn = NULL;
  HrTree record;
  HrBranch branch = {0};
  check(!hr_txn_begin(store, HR_READ, &txn));
  check(!hr_tree_get(txn, tree, &record));
  for (uint32_t skip = chance_choose(&chance, record.branch_count); skip != UINT32_MAX; --skip) {
    check(!hr_branch_next(txn, tree, hr_branch_number(branch.id), &branch));
  }
  hr_txn_abort(txn);
  return branch.id;
}

static bool same_bytes(const Event* a, const Event* b)
{
  return a->size == b->size && !memcmp(a->bytes, b->bytes, a->size);
}

/** Each expected event is among those heard, in order: on its frame, or, where
 * there is little room, not before it. The others are chased, on the first frame,
 * or end what sounds. */
static void check_heard(const EventList* heard, uint64_t began, const EventList* expected)
{
  size_t at = 0;
  for (size_t i = 0; i < expected->count; ++i) {
    const Event* const event = &expected->events[i];
    while (at < heard->count && (script.crowded || heard->events[at].frame == began) &&
           (heard->events[at].frame < began + event->frame ||
            !same_bytes(&heard->events[at], event))) {
      ++at;
    }
    check(at < heard->count);
    check(same_bytes(&heard->events[at], event));
    check(script.crowded || heard->events[at].frame == began + event->frame);
    ++at;
  }
}

/** Replay a branch along the host's transport from somewhere: each of its
 * events comes, on its frame. */
static void check_replay(HrStore* store, HrTreeId tree)
{
  const HrBranchId branch = any_branch(store, tree);
  const HrValue on = hr_value_integer(1);
  const int64_t start = chance_choose(&chance, 8) * 12345;
  const int64_t length = llrint(16 * script.quarter);
  HostTransport transport = script.moves[0].transport;
  EventList expected = {0};
  char number[16];
  snprintf(number, sizeof number, "#%u", hr_branch_number(branch));
  command_text("quantum", "now");
  command_text("switch", number); // Then the own clock does not run on, and listens to the host
  run_somehow(4096);
  transport.frame = start + 1; // jalv does not tell of a transport that has not moved
  host_transport(host, &transport);
  run_somehow(1024);
  transport.frame = start;
  host_transport(host, &transport);
  run_somehow(4096);
  command("follow", &on, 1);
  run_somehow(8192);
  host_freewheel(host, chance_once_in(&chance, 4));

  expect(&expected, store, branch, start, length);
  events_free(host_output(host));
  const uint64_t began = host_frame(host);
  transport.rolling = true;
  host_transport(host, &transport);
  run_somehow(script.crowded ? 2 * length : length);
  transport.rolling = false;
  transport.frame = host_transport_now(host)->frame;
  host_transport(host, &transport);
  run_somehow(script.crowded ? 40000 : 512);
  check_output(host_output(host));
  check_pedals(host_output(host));
  check_heard(host_output(host), began, &expected);
  events_free(&expected);
}

static void run_case(HrStore* store, unsigned seed)
{
  HrSessionState state;
  script_make(&script, seed);
  chance = chance_of(seed);
  found = calloc(script.event_count + 1, sizeof *found);
  in_place = calloc(script.event_count + 1, sizeof *in_place);
  host = host_new(&script.host);
  perform();
  hr_session_flush(session_of(host));
  hr_session_state(session_of(host), &state);
  keep_output();
  check_output(&output);
  if (state.tree) {
    check_kept(store, state.tree);
    check_tree(store, state.tree);
    check_replay(store, state.tree);
  }
  check_host();
  host_free(host);
  free(saved);
  saved = NULL;
  free(found);
  free(in_place);
  events_free(&output);
}

/** Run `count` cases, from `first` on and every `step`-th, in a store of their own. */
static void run_cases(unsigned first, unsigned step, unsigned count)
{
  HrStore* store = NULL;
  HrVerifyReport report;
  uint64_t played = 0;
  check(scratch_make() == 0);
  setenv("HR_STORE", scratch_path("store.hr"), 1);
  unsetenv("HR_TREE");
  check(!hr_store_open(scratch_path("store.hr"), HR_STORE_CREATE, &store, NULL));
  for (unsigned i = 0; i < count; ++i) {
    run_case(store, first + i * step);
    played += script.event_count;
    script_free(&script);
  }
  check(!hr_store_verify(store, NULL, NULL, &report));
  check(report.problems == 0);
  check(count < 100 || 2 * known >= count); // The model must not shirk
  hr_store_close(store);
  scratch_remove();
  print_message("%u cases, %llu messages on %llu branches: each kept, replayed and ended; "
                "%u trees as the model has them\n",
                count, (unsigned long long)played, (unsigned long long)report.branches, known);
}

static unsigned number(const char* name, unsigned otherwise)
{
  const char* const text = getenv(name);
  return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static void test_whatever_happens(void** state)
{
  (void)state;
  const unsigned cases = number("HR_CASES", CASES);
  const unsigned first = number("HR_SEED", 1);
  const unsigned processors = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
  const unsigned shares = cases < processors ? cases : processors;
  fflush(NULL);
  for (unsigned share = 0; share < shares; ++share) {
    const pid_t child = fork();
    assert_int_not_equal(child, -1);
    if (!child) {
      run_cases(first + share, shares, (cases - share + shares - 1) / shares);
      exit(EXIT_SUCCESS);
    }
  }
  bool good = true;
  for (unsigned share = 0; share < shares; ++share) {
    int status = 0;
    assert_int_not_equal(wait(&status), -1);
    good = good && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
  }
  assert_true(good);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_whatever_happens)};
  return cmocka_run_group_tests_name("property", tests, NULL, NULL);
}
