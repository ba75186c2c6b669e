/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file test_lv2.c
 * The built bundle in a scripted host (tests/host/lv2_host.h): what goes in,
 * what comes out, what is kept, and what happens when things go wrong.
 */

#include "plugin/command.h"
#include "plugin/plugin.h"
#include "tests/host/lv2_host.h"
#include "tests/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>

#define LENGTH(array) (sizeof(array) / sizeof *(array))

enum { RATE = 48000 };

/* ---- Set-up ------------------------------------------------------------------ */

static int set_up(void** state)
{
  (void)state;
  if (scratch_make()) {
    return -1;
  }
  setenv("XDG_DATA_HOME", scratch, 1);
  setenv("HR_STORE", scratch_path("store.hr"), 1);
  unsetenv("HR_TREE");
  return 0;
}

static int tear_down(void** state)
{
  (void)state;
  scratch_remove();
  return 0;
}

/* ---- Music -------------------------------------------------------------------- */

static uint32_t chance;

static uint32_t choose(uint32_t below)
{
  chance = chance * 1664525u + 1013904223u;
  return (chance >> 8) % below;
}

static void add(EventList* list, uint64_t frame, int status, uint32_t first, uint32_t second)
{
  const uint8_t bytes[] = {(uint8_t)status, (uint8_t)first, (uint8_t)second};
  events_add(list, frame, bytes, (status & 0xe0) == 0xc0 ? 2 : 3);
}

/** Notes and all else that MIDI has, several of them on some frames; every
 * note and the pedal end by themselves. */
static EventList compose(uint32_t seed, uint32_t count)
{
  EventList list = {0};
  uint64_t frame = 0;
  chance = seed;
  for (uint32_t i = 0; i < count; ++i) {
    const int channel = (int)choose(16);
    const uint32_t key = choose(128);
    uint8_t sysex[64] = {0xf0, 0x7d};
    frame += choose(4) ? choose(2000) : 0;
    add(&list, frame, 0x90 | channel, key, 1 + choose(127));
    switch (choose(8)) {
    case 0:
      add(&list, frame, 0xb0 | channel, 1, choose(128));
      break;
    case 1:
      add(&list, frame, 0xe0 | channel, choose(128), choose(128));
      break;
    case 2:
      add(&list, frame, 0xc0 | channel, choose(128), 0);
      break;
    case 3:
      add(&list, frame, 0xd0 | channel, choose(128), 0);
      break;
    case 4:
      for (size_t k = 2; k < sizeof sysex; ++k) {
        sysex[k] = (uint8_t)choose(128);
      }
      sysex[sizeof sysex - 1] = 0xf7;
      events_add(&list, frame, sysex, sizeof sysex);
      break;
    default:
      break;
    }
    frame += 1 + choose(1000);
    add(&list, frame, 0x80 | channel, key, choose(128));
  }
  return list;
}

static uint64_t last_frame(const EventList* list)
{
  return list->count ? list->events[list->count - 1].frame : 0;
}

/** Long enough to play `list` to its end, in whole quarter notes at 120 BPM. */
static uint64_t duration(const EventList* list)
{
  const uint64_t quarter = RATE / 2;
  return (last_frame(list) / quarter + 2) * quarter;
}

static void assert_heard(const EventList* heard, uint64_t start, const EventList* expected)
{
  for (size_t i = 0; i < heard->count && i < expected->count; ++i) {
    const Event* a = &heard->events[i];
    const Event* b = &expected->events[i];
    if (a->frame != b->frame + start || a->size != b->size || memcmp(a->bytes, b->bytes, a->size)) {
      print_error(
          "event %zu: heard %02x %02x, %zu bytes, at %+lld; expected %02x %02x, %zu bytes\n", i,
          a->bytes[0], a->bytes[1], a->size, (long long)(a->frame - start - b->frame), b->bytes[0],
          b->bytes[1], b->size);
      fail();
    }
  }
  assert_int_equal(heard->count, expected->count);
}

/* ---- Driving ------------------------------------------------------------------ */

static const int32_t plain[] = {256, -1};

static const HostTransport stopped = {false, 0, 120.0, 4.0f, 4, 0, 0};
static const HostTransport rolling = {true, 0, 120.0, 4.0f, 4, 0, 0};

/** Stop at the start of the timeline, and let what follows from that happen. It
 * was elsewhere before: jalv does not tell of a transport that has not moved. */
static void rewind_host(Host* host)
{
  HostTransport elsewhere = stopped;
  elsewhere.frame = RATE;
  host_transport(host, &elsewhere);
  host_run(host, 256);
  host_transport(host, &stopped);
  host_run_for(host, RATE / 4, 256);
}

/** Play `list` while the transport rolls from 0; what is put through is the same. */
static void record_list(Host* host, const EventList* list, const int32_t* blocks)
{
  rewind_host(host);
  events_free(host_output(host));
  const uint64_t start = host_frame(host);
  host_transport(host, &rolling);
  host_play(host, list, duration(list), blocks);
  assert_heard(host_output(host), start, list);
  rewind_host(host);
  events_free(host_output(host));
  assert_int_equal(host_faults(host), 0);
}

/** Replay from 0 while the transport rolls, and expect `list`. */
static void replay_list(Host* host, const EventList* list, const int32_t* blocks)
{
  const EventList silence = {0};
  host_control(host, "replay", 1.0f);
  rewind_host(host);
  events_free(host_output(host));
  const uint64_t start = host_frame(host);
  host_transport(host, &rolling);
  host_play(host, &silence, duration(list), blocks);
  assert_heard(host_output(host), start, list);
  host_control(host, "replay", 0.0f);
  rewind_host(host);
  events_free(host_output(host));
  assert_int_equal(host_faults(host), 0);
}

static bool told_tree(Host* host)
{
  host_get(host, "tree");
  const char* tree = host_property(host, "tree");
  return tree && *tree;
}

static bool told_branch(Host* host)
{
  host_get(host, "branch");
  const char* branch = host_property(host, "branch");
  return branch && *branch;
}

static bool told_trouble(Host* host)
{
  host_get(host, "trouble");
  const char* trouble = host_property(host, "trouble");
  return trouble && *trouble;
}

/* ---- Tests -------------------------------------------------------------------- */

static void test_thru(void** state)
{
  (void)state;
  Host* host = host_new(NULL);
  EventList list = compose(1, 200);
  host_play(host, &list, duration(&list), plain);
  assert_heard(host_output(host), 0, &list);
  events_free(host_output(host));

  host_control(host, "thru", 0.0f);
  host_run(host, 256);
  host_play(host, &list, duration(&list), plain);
  assert_int_equal(host_output(host)->count, 0);
  assert_int_equal(host_faults(host), 0);
  events_free(&list);
  host_free(host);
}

/** jalv stamps the events of its window at one past the block, Carla further beyond. */
static void test_event_past_the_block(void** state)
{
  (void)state;
  static const uint8_t on[] = {0x90, 60, 100};
  static const uint8_t off[] = {0x80, 60, 0};
  static const HostPolicy policies[] = {HOST_JALV, HOST_CARLA};
  for (size_t i = 0; i < LENGTH(policies); ++i) {
    Host* host = host_new(&(HostOptions){.linked = true, .policy = policies[i]});
    const HrPlugin* const plugin = host_instance(host);
    const LV2_Atom_Object_Body position = {0, plugin->uris.time_Position};
    host_midi(host, 64, on, sizeof on);
    host_run(host, 64);
    host_midi(host, 64 + 100 * (uint32_t)i, off, sizeof off);
    host_run(host, 64);
    host_atom(host, 64, LV2_ATOM__Object, &position, sizeof position);
    host_midi(host, 64, on, sizeof on);
    host_run(host, 64);
    assert_int_equal(host_output(host)->count, 3);
    assert_int_equal(host_faults(host), 0);
    host_free(host);
  }
}

/** What is recorded at some block lengths comes out at any, on the same frames. */
static void test_block_lengths(void** state)
{
  (void)state;
  static const int32_t small[] = {64, -1};
  static const int32_t large[] = {1024, -1};
  static const int32_t odd[] = {333, -1};
  static const int32_t changing[] = {1, 0, 64, 8192, 17, 0, 0, 1023, 256, 4096, 2, -1};
  static const int32_t* const lengths[] = {small, plain, large, odd, changing};

  EventList list = compose(2, 400);
  for (size_t i = 0; i < LENGTH(lengths); ++i) {
    Host* host = host_new(NULL);
    record_list(host, &list, lengths[i]);
    for (size_t k = 0; k < LENGTH(lengths); ++k) {
      replay_list(host, &list, lengths[k]);
    }
    host_free(host);
  }
  events_free(&list);
}

/** The same at other sample rates, and with positions as other hosts send them. */
static void test_hosts(void** state)
{
  (void)state;
  static const HostOptions hosts[] = {
      {.rate = 44100.0},
      {.rate = 96000.0, .policy = HOST_ARDOUR},
      {.rate = 192000.0, .policy = HOST_CARLA},
      {.policy = HOST_ARDOUR},
      {.policy = HOST_JALV},
      {.policy = HOST_CARLA},
  };
  EventList list = compose(3, 200);
  for (size_t i = 0; i < LENGTH(hosts); ++i) {
    Host* host = host_new(&hosts[i]);
    record_list(host, &list, plain);
    replay_list(host, &list, plain);
    host_free(host);
  }
  events_free(&list);
}

/** A freewheeling host gets everything in time, however long the blocks. */
static void test_freewheel(void** state)
{
  (void)state;
  static const int32_t longest[] = {8192, -1};
  Host* host = host_new(NULL);
  EventList list = compose(4, 2000);
  host_freewheel(host, true);
  record_list(host, &list, longest);
  replay_list(host, &list, longest);
  host_freewheel(host, false);
  replay_list(host, &list, plain);
  events_free(&list);
  host_free(host);
}

/** Many events on one frame do not fit into a small buffer: they follow, in order. */
static void test_small_output(void** state)
{
  (void)state;
  const HostOptions options = {.out_capacity = 1024};
  Host* host = host_new(&options);
  EventList list = {0};
  for (uint32_t i = 0; i < 1000; ++i) {
    add(&list, RATE, 0xb0, 16 + i % 4, i % 128);
  }
  rewind_host(host);
  host_transport(host, &rolling);
  host_play(host, &list, duration(&list) + (uint64_t)2 * RATE, plain);
  assert_int_equal(host_output(host)->count, list.count);
  host_control(host, "replay", 1.0f);
  rewind_host(host);
  events_free(host_output(host));
  host_transport(host, &rolling);
  host_run_for(host, (uint64_t)3 * RATE, 256);

  const EventList* heard = host_output(host);
  assert_int_equal(heard->count, list.count);
  for (size_t i = 0; i < list.count; ++i) {
    assert_memory_equal(heard->events[i].bytes, list.events[i].bytes, 3);
  }
  assert_int_equal(host_faults(host), 0);
  events_free(&list);
  host_free(host);
}

/** Stopping, locating, bypassing or turning replay off in mid-note ends the note. */
static void test_notes_end(void** state)
{
  (void)state;
  EventList list = {0};
  add(&list, 1000, 0xb3, 64, 127);
  add(&list, 1000, 0x93, 60, 100);
  add(&list, 3 * RATE, 0x83, 60, 64);
  add(&list, 3 * RATE, 0xb3, 64, 0);
  Host* host = host_new(NULL);
  record_list(host, &list, plain);

  for (int way = 0; way < 4; ++way) {
    host_control(host, "replay", 1.0f);
    host_control(host, "enabled", 1.0f);
    rewind_host(host);
    events_free(host_output(host));
    host_transport(host, &rolling);
    host_run_for(host, RATE, 256);
    assert_int_equal(host_output(host)->count, 2);

    switch (way) {
    case 0:
      host_transport(host, &stopped);
      break;
    case 1:
      host_transport(host, &(HostTransport){true, (int64_t)20 * RATE, 120.0, 4.0f, 4, 0, 0});
      break;
    case 2:
      host_control(host, "replay", 0.0f);
      break;
    default:
      host_control(host, "enabled", 0.0f);
      break;
    }
    host_run_for(host, RATE, 256);
    const EventList* heard = host_output(host);
    bool ended = false;
    bool lifted = false;
    for (size_t i = 2; i < heard->count; ++i) {
      const uint8_t* bytes = heard->events[i].bytes;
      ended |= bytes[0] == 0x83 && bytes[1] == 60 && bytes[2] == 64;
      lifted |= bytes[0] == 0xb3 && bytes[1] == 64 && bytes[2] < 64;
    }
    assert_true(ended);
    assert_true(lifted);
  }
  assert_int_equal(host_faults(host), 0);
  events_free(&list);
  host_free(host);
}

/** While bypassed, nothing is replayed; after that it is, from where the host is by then. */
static void test_bypass_is_silent(void** state)
{
  (void)state;
  EventList list = {0};
  for (uint64_t beat = 0; beat < 8; ++beat) {
    add(&list, beat * RATE / 2 + RATE / 4, 0x90, 60 + (uint32_t)beat, 100);
    add(&list, beat * RATE / 2 + RATE / 4 + 1000, 0x80, 60 + (uint32_t)beat, 64);
  }
  Host* host = host_new(NULL);
  record_list(host, &list, plain);
  host_control(host, "replay", 1.0f);
  rewind_host(host);
  events_free(host_output(host));
  host_transport(host, &rolling);
  host_run_for(host, RATE, 256);
  assert_int_equal(host_output(host)->count, 4);
  host_control(host, "enabled", 0.0f);
  host_run_for(host, RATE, 256);
  assert_int_equal(host_output(host)->count, 4);
  host_control(host, "enabled", 1.0f);
  host_run_for(host, RATE, 256);
  assert_int_equal(host_output(host)->count, 8);
  assert_int_equal(host_output(host)->events[4].bytes[1], 64);
  assert_int_equal(host_faults(host), 0);
  events_free(&list);
  host_free(host);
}

/** What is no MIDI message, or no message at all, changes nothing. */
static void test_malformed_input(void** state)
{
  (void)state;
  static const struct {
    uint32_t size;
    uint8_t bytes[8];
  } malformed[] = {
      {0, {0}},
      {1, {0x90}},                   // Cut short
      {2, {0x90, 60}},               // Cut short
      {3, {60, 100, 0}},             // No status
      {4, {0x90, 60, 100, 0}},       // Too long
      {3, {0x90, 0x80, 100}},        // Data with the top bit set
      {3, {0x90, 60, 0xff}},         // The same
      {3, {0xc0, 1, 2}},             // Too long
      {1, {0xf0}},                   // SysEx without an end
      {4, {0xf0, 1, 2, 3}},          // The same
      {4, {0xf0, 0x90, 2, 0xf7}},    // A status inside
      {1, {0xf7}},                   // An end without a SysEx
      {1, {0xf4}},                   // Undefined
      {8, {0x90, 1, 2, 0x80, 1, 2}}, // Two messages in one
  };
  static const uint8_t zeroes[64] = {0};

  Host* host = host_new(NULL);
  EventList list = compose(5, 50);
  rewind_host(host);
  events_free(host_output(host));
  host_transport(host, &rolling);
  host_run(host, 256);
  for (size_t i = 0; i < LENGTH(malformed); ++i) {
    host_midi(host, 3, malformed[i].bytes, malformed[i].size);
    host_run(host, 256);
  }
  host_atom(host, 0, "http://lv2plug.in/ns/ext/atom#Object", zeroes, 0);
  host_atom(host, 0, "http://lv2plug.in/ns/ext/atom#Object", zeroes, 8);
  host_atom(host, 0, "http://lv2plug.in/ns/ext/atom#Blank", zeroes, 64);
  host_atom(host, 0, "http://lv2plug.in/ns/ext/atom#Sequence", zeroes, 64);
  host_atom(host, 0, "urn:unheard-of", zeroes, 64);
  host_set(host, "store", "");
  host_set(host, "branch", "no such branch");
  host_set(host, "unheardOf", "value");
  host_run(host, 256);
  assert_int_equal(host_output(host)->count, 0);

  record_list(host, &list, plain); // From the start: had any of it been kept, this would fork
  replay_list(host, &list, plain);
  events_free(&list);
  host_free(host);
}

/** A state brings back tree and branch, also when the tree went on elsewhere
 * since: here on the fork that playing over the past made. */
static void add_message(void* data, const uint8_t* bytes, uint32_t size)
{
  events_add(data, 0, bytes, size);
}

/** `list`, played over the past of `before`: with the state that this leaves behind. */
static EventList with_state_of(const EventList* before, const EventList* list)
{
  EventList both = {0};
  HrChase none, left;
  hr_chase_init(&none);
  hr_chase_init(&left);
  for (size_t i = 0; i < before->count; ++i) {
    hr_chase_follow(&left, before->events[i].bytes, (uint32_t)before->events[i].size);
  }
  hr_chase_send(&none, &left, add_message, &both);
  for (size_t i = 0; i < both.count; ++i) {
    both.events[i].frame = list->events[0].frame;
  }
  for (size_t i = 0; i < list->count; ++i) {
    events_add(&both, list->events[i].frame, list->events[i].bytes, list->events[i].size);
  }
  return both;
}

static void test_state(void** state)
{
  (void)state;
  Host* host = host_new(NULL);
  EventList lists[] = {compose(6, 300), compose(7, 200)};
  EventList kept[] = {with_state_of(&(EventList){0}, &lists[0]),
                      with_state_of(&lists[0], &lists[1])};
  char* saved[2];
  char* branch[2];
  for (int i = 0; i < 2; ++i) {
    host_control(host, "quantum", (float)i);
    record_list(host, &lists[i], plain);
    assert_true(host_run_until(host, told_branch, 5.0));
    branch[i] = strdup(host_property(host, "branch"));
    saved[i] = host_save(host);
    char* again = host_save(host);
    assert_string_equal(saved[i], again);
    free(again);
  }
  assert_string_not_equal(branch[0], branch[1]);
  assert_true(host_run_until(host, told_tree, 5.0));
  char* tree = strdup(host_property(host, "tree"));
  host_free(host);

  for (unsigned way = 0; way < 4 * HOST_POLICIES; ++way) {
    const unsigned i = way & 1;
    const HostOptions options = {.inactive = way & 2, .policy = way / 4};
    host = host_new(&options);
    host_restore(host, saved[i]);
    host_activate(host);
    assert_true(host_run_until(host, told_tree, 5.0));
    assert_true(host_run_until(host, told_branch, 5.0));
    assert_string_equal(host_property(host, "tree"), tree);
    assert_string_equal(host_property(host, "branch"), branch[i]);
    replay_list(host, &kept[i], plain);
    char* again = host_save(host);
    assert_string_equal(saved[i], again);
    free(again);
    host_free(host);
  }
  for (int i = 0; i < 2; ++i) {
    free(saved[i]);
    free(branch[i]);
    events_free(&lists[i]);
    events_free(&kept[i]);
  }
  free(tree);
}

/** Each instance plays into a tree of its own; a copy of one goes to a fork. */
static void test_instances(void** state)
{
  (void)state;
  enum { COUNT = 4 };
  Host* hosts[COUNT];
  EventList lists[COUNT];
  for (uint32_t i = 0; i < COUNT; ++i) {
    hosts[i] = host_new(NULL);
    lists[i] = compose(10 + i, 100);
  }
  for (int i = 0; i < COUNT; ++i) {
    record_list(hosts[i], &lists[i], plain);
  }
  for (int i = 0; i < COUNT; ++i) {
    replay_list(hosts[i], &lists[i], plain);
    assert_true(host_run_until(hosts[i], told_tree, 5.0));
    for (int k = 0; k < i; ++k) {
      assert_string_not_equal(host_property(hosts[i], "tree"), host_property(hosts[k], "tree"));
    }
  }

  char* saved = host_save(hosts[0]);
  Host* copy = host_new(NULL);
  host_restore(copy, saved);
  assert_true(host_run_until(copy, told_branch, 5.0));
  assert_true(host_run_until(hosts[0], told_branch, 5.0));
  assert_string_not_equal(host_property(copy, "branch"), host_property(hosts[0], "branch"));
  replay_list(copy, &lists[0], plain);
  free(saved);
  host_free(copy);

  for (int i = 0; i < COUNT; ++i) {
    host_free(hosts[i]);
    events_free(&lists[i]);
  }
}

/** With a worker that never comes, what was played is still kept. */
static void test_lost_worker(void** state)
{
  (void)state;
  setenv("HR_TREE", "lost", 1);
  Host* host = host_new(&(HostOptions){.policy = HOST_JALV});
  host_stall(host, true);
  EventList list = compose(7, 300);
  record_list(host, &list, plain);
  host_free(host);

  host = host_new(NULL);
  assert_true(host_run_until(host, told_tree, 5.0));
  assert_string_equal(host_property(host, "tree"), "lost");
  replay_list(host, &list, plain);
  host_free(host);
  events_free(&list);
  unsetenv("HR_TREE");
}

/* ---- Ports that command ---------------------------------------------------------- */

/** Run until what was asked for has happened, and expect to be on a branch. */
static void assert_on_branch(Host* host, const char* branch)
{
  host_run_for(host, RATE / 4, 256);
  host_get(host, "branch");
  host_run_for(host, RATE / 4, 256);
  assert_string_equal(host_property(host, "branch"), branch);
}

static unsigned count_switches(const char* store)
{
  HrStore* opened = NULL;
  HrTxn* txn = NULL;
  HrJournalEntry entry = {0};
  unsigned count = 0;
  assert_int_equal(hr_store_open(store, 0, &opened, NULL), HR_OK);
  assert_int_equal(hr_txn_begin(opened, HR_READ, &txn), HR_OK);
  while (!hr_journal_next(txn, 1, entry.sequence, &entry)) {
    count += entry.operation == HR_OPERATION_SWITCH && !entry.quiet;
  }
  hr_txn_abort(txn);
  hr_store_close(opened);
  return count;
}

/** A lane of automation switches branches: the n-th that can be seen. Hosts draw
 * lines between its points, and leave it anywhere. */
static void test_branch_port(void** state)
{
  (void)state;
  Host* host = host_new(&(HostOptions){.linked = true});
  EventList lists[] = {compose(20, 50), compose(21, 50)};
  host_control(host, "quantum", HR_QUANTUM_NOW);
  record_list(host, &lists[0], plain);
  record_list(host, &lists[1], plain); // Over the past: a fork
  assert_on_branch(host, "take 2");

  host_control(host, "branch", 1.0f);
  assert_on_branch(host, "main");
  static const struct {
    float value;
    const char* branch;
  } points[] = {{1.3f, "main"},   {1.49f, "main"},  {1.51f, "take 2"}, {2.4f, "take 2"},
                {0.3f, "take 2"}, {0.0f, "take 2"}, {1.0f, "main"}};
  const unsigned before = count_switches(getenv("HR_STORE"));
  for (size_t i = 0; i < LENGTH(points); ++i) {
    host_control(host, "branch", points[i].value);
    assert_on_branch(host, points[i].branch);
  }
  assert_int_equal(count_switches(getenv("HR_STORE")), before + 2);
  assert_null(strstr(host_log(host), "not that many"));
  host_control(host, "branch", 99.0f);
  assert_on_branch(host, "main");
  assert_non_null(strstr(host_log(host), "There are not that many branches yet."));
  host_control(host, "branch", 2.0f);
  assert_on_branch(host, "take 2");
  host_control(host, "branch", 1.0f);
  char* saved = host_save(host); // Not told yet: on "take 2", and the port at 1
  host_free(host);

  for (int policy = 0; policy < HOST_POLICIES; ++policy) {
    host = host_new(&(HostOptions){.linked = true, .inactive = true, .policy = (HostPolicy)policy});
    host_restore(host, saved);
    host_activate(host);
    assert_on_branch(host, "take 2"); // What stood there is no wish
    host_control(host, "branch", 2.0f);
    assert_on_branch(host, "take 2");
    host_control(host, "branch", 1.0f);
    assert_on_branch(host, "main");
    host_control(host, "branch", 2.0f);
    assert_on_branch(host, "take 2");
    assert_int_equal(host_faults(host), 0);
    host_free(host);
  }
  setenv("HR_TREE", "#1", 1); // Nor is it one where no state was saved
  host = host_new(&(HostOptions){.linked = true, .inactive = true});
  host_control(host, "branch", 1.0f);
  host_activate(host);
  assert_on_branch(host, "take 2");
  host_free(host);
  unsetenv("HR_TREE");
  free(saved);
  for (size_t i = 0; i < LENGTH(lists); ++i) {
    events_free(&lists[i]);
  }
}

/* ---- Settings ----------------------------------------------------------------------- */

static HrSession* session_of(const Host* host)
{
  return ((const HrPlugin*)host_instance(host))->session;
}

static HrSessionState state_of(const Host* host)
{
  HrSessionState state;
  hr_session_state(session_of(host), &state);
  return state;
}

static void command(const Host* host, const char* verb, HrValue value)
{
  HrError error = {HR_OK, ""};
  hr_command_run(session_of(host), verb, &value, 1, "test", NULL, &error);
  assert_string_equal(error.text, "");
}

static void test_quantum_port(void** state)
{
  (void)state;
  static const char* const names[] = {"now",    "beat",   "bar",   "loop end",
                                      "2 bars", "4 bars", "8 bars"};
  Host* host = host_new(&(HostOptions){.linked = true});
  for (size_t i = LENGTH(names); i-- > 0;) {
    host_control(host, "quantum", (float)i);
    host_run_for(host, RATE / 4, 256);
    assert_string_equal(state_of(host).quantum_name, names[i]);
  }
  host_free(host);
}

/** A property is set, or what it still is is told. `type` NULL: by text. */
static void assert_property(Host* host, const char* property, const char* type, const char* text,
                            double number, const char* expected)
{
  host_forget_properties(host);
  if (type) {
    host_set_number(host, property, type, number);
  } else {
    host_set(host, property, text);
  }
  host_run_for(host, RATE / 4, 256);
  const char* const told = host_property(host, property);
  if (!told || strcmp(told, expected)) {
    fail_msg("%s set to %s %g is \"%s\", not \"%s\"", property, text ? text : type, number,
             told ? told : "(not told)", expected);
  }
}

static void test_properties(void** state)
{
  (void)state;
  static const struct {
    const char* property;
    const char* type; ///< NULL: text
    const char* text;
    double number;
    const char* expected;
  } cases[] = {
      {"standing", NULL, "append", 0, "append"},
      {"standing", NULL, "sideways", 0, "append"},
      {"standing", "Int", NULL, 2, "off"},
      {"standing", "Int", NULL, 3, "off"},
      {"standing", "Int", NULL, -1, "off"},
      {"standing", "Float", NULL, 1, "append"},
      {"standing", NULL, "side", 0, "side"},
      {"standing", NULL, "", 0, "side"},
      {"silence", "Int", NULL, 3, "3"},
      {"silence", "Long", NULL, 4, "4"},
      {"silence", "Float", NULL, 5, "5"},
      {"silence", "Double", NULL, 0, "0"},
      {"silence", "Int", NULL, -1, "0"},
      {"silence", "Int", NULL, 1001, "0"},
      {"silence", "Float", NULL, (double)NAN, "0"},
      {"silence", NULL, "long", 0, "0"},
      {"snap", "Int", NULL, 250, "250"},
      {"snap", "Float", NULL, 99.6, "100"},
      {"snap", "Double", NULL, 1e300, "100"},
      {"snap", "Int", NULL, 1001, "100"},
      {"tempoSource", NULL, "host", 0, "host"},
      {"tempoSource", NULL, "mine", 0, "host"},
      {"tempoSource", "Int", NULL, 0, "recorded"},
      {"tempoSource", "Float", NULL, 1, "host"},
      {"tempoSource", "Int", NULL, 2, "host"},
      {"trouble", NULL, "none whatever", 0, ""}, // Only to be read
      {"tree", "Int", NULL, 1, ""},
  };
  for (int policy = 0; policy < HOST_POLICIES; ++policy) {
    Host* host = host_new(&(HostOptions){.policy = (HostPolicy)policy});
    host_run_for(host, RATE / 4, 256);
    for (size_t i = 0; i < LENGTH(cases); ++i) {
      assert_property(host, cases[i].property, cases[i].type, cases[i].text, cases[i].number,
                      cases[i].expected);
    }
    host_forget_properties(host);
    host_get(host, NULL);
    host_run_for(host, RATE / 4, 256);
    static const struct {
      const char* name;
      const char* value; ///< NULL: any
    } all[] = {{"store", NULL},  {"tree", ""},         {"branch", ""},
               {"silence", "0"}, {"standing", "side"}, {"snap", "100"},
               {"trouble", ""},  {"oscURL", NULL},     {"tempoSource", "host"}};
    for (size_t i = 0; i < LENGTH(all); ++i) {
      const char* const told = host_property(host, all[i].name);
      assert_non_null(told);
      assert_true(!all[i].value || !strcmp(told, all[i].value));
    }
    assert_int_equal(host_faults(host), 0);
    host_free(host);
  }
}

enum { LOOP_START = 4 * HR_TICKS_PER_QUARTER, LOOP_END = 10 * HR_TICKS_PER_QUARTER };

static void change_settings(const Host* host, bool loop)
{
  command(host, "record", hr_value_integer(0));
  command(host, "thru", hr_value_integer(0));
  command(host, "overdub", hr_value_integer(1));
  command(host, "quantum", hr_value_text("4 bars"));
  command(host, "snap", hr_value_integer(77));
  command(host, "standing", hr_value_text("append"));
  command(host, "silence", hr_value_integer(3));
  command(host, "tempo/source", hr_value_text("host"));
  const HrValue range[] = {hr_value_tick(LOOP_START), hr_value_tick(LOOP_END)};
  assert_int_equal(hr_command_run(session_of(host), "loop/range", range, 2, "test", NULL, NULL),
                   HR_OK);
  command(host, "loop", hr_value_integer(loop));
}

static void assert_changed_settings(const Host* host, bool loop)
{
  const HrSessionState now = state_of(host);
  assert_false(now.record);
  assert_false(now.thru);
  assert_true(now.overdub);
  assert_string_equal(now.quantum_name, "4 bars");
  assert_int_equal(now.snap_ms, 77);
  assert_int_equal(now.standing, HR_STANDING_APPEND);
  assert_int_equal(now.silence_bars, 3);
  assert_int_equal(now.tempo_source, HR_TEMPO_HOST);
  assert_int_equal(now.loop, loop);
  assert_int_equal(now.loop_start, LOOP_START);
  assert_int_equal(now.loop_end, LOOP_END);
}

/** What was set from elsewhere is saved, and restored, whatever the ports show. */
static void test_saved_settings(void** state)
{
  (void)state;
  for (int way = 0; way < 2; ++way) {
    Host* host = host_new(&(HostOptions){.linked = true});
    if (way) { // The ports have been elsewhere
      host_control(host, "record", 0.0f);
      host_control(host, "thru", 0.0f);
      host_run_for(host, RATE / 4, 256);
      host_control(host, "record", 1.0f);
      host_control(host, "thru", 1.0f);
      host_control(host, "overdub", 0.0f);
      host_control(host, "quantum", 1.0f);
      host_run_for(host, RATE / 4, 256);
    }
    change_settings(host, way);
    char* saved = host_save(host);
    host_free(host);
    for (int policy = 0; policy < HOST_POLICIES; ++policy) {
      host =
          host_new(&(HostOptions){.linked = true, .inactive = true, .policy = (HostPolicy)policy});
      host_restore(host, saved);
      host_activate(host);
      host_run_for(host, RATE / 2, 256);
      assert_changed_settings(host, way);
      char* again = host_save(host);
      assert_string_equal(saved, again);
      free(again);
      host_control(host, "quantum", 3.0f); // From now on they count
      host_run_for(host, RATE / 4, 256);
      assert_string_equal(state_of(host).quantum_name, "loop end");
      host_free(host);
    }
    free(saved);
  }
}

/** The host is told once when what it would save has changed, and not of what it
 * did itself by saving and restoring. */
static void test_state_changes(void** state)
{
  (void)state;
  for (int policy = 0; policy < HOST_POLICIES; ++policy) {
    const HostOptions options = {.linked = true, .policy = (HostPolicy)policy};
    Host* host = host_new(&options);
    host_run_for(host, RATE, 256);
    assert_int_equal(host_state_changes(host), 0); // Loaded
    static const struct {
      const char* verb;
      int64_t value;
      unsigned changes;
    } commands[] = {{"thru", 0, 1},    {"thru", 0, 1},  {"snap", 50, 2},
                    {"silence", 3, 3}, {"panic", 1, 3}, {"quantum", 5, 4}};
    for (size_t i = 0; i < LENGTH(commands); ++i) {
      command(host, commands[i].verb, hr_value_integer(commands[i].value));
      host_run_for(host, RATE / 2, 256);
      assert_int_equal(host_state_changes(host), commands[i].changes);
    }
    EventList list = compose(30, 50);
    host_play(host, &list, duration(&list), plain);
    hr_session_flush(session_of(host));
    host_run_for(host, RATE, 256);
    assert_int_equal(host_state_changes(host), 5); // It has a tree now
    host_play(host, &list, duration(&list), plain);
    hr_session_flush(session_of(host));
    host_run_for(host, RATE, 256);
    assert_int_equal(host_state_changes(host), 5); // More of the same music
    command(host, "fork", hr_value_integer(1));
    host_run_for(host, RATE, 256);
    assert_int_equal(host_state_changes(host), 6); // Another branch
    command(host, "snap", hr_value_integer(60));
    char* saved = host_save(host); // Before it could be told
    host_run_for(host, RATE, 256);
    assert_int_equal(host_state_changes(host), 6);
    command(host, "snap", hr_value_integer(70));
    host_run_for(host, RATE, 256);
    assert_int_equal(host_state_changes(host), 7);
    host_preset(host, saved);
    host_run_for(host, RATE, 256);
    assert_int_equal(host_state_changes(host), 7);
    host_free(host);

    host = host_new(&(HostOptions){.linked = true, .inactive = true, .policy = options.policy});
    host_restore(host, saved);
    host_activate(host);
    host_run_for(host, RATE, 256);
    assert_int_equal(host_state_changes(host), 0);
    assert_int_equal(host_faults(host), 0);
    host_free(host);
    free(saved);
    events_free(&list);
  }
}

/* ---- Bad stores ------------------------------------------------------------------ */

static char* read_whole(const char* path, size_t* size)
{
  FILE* file = fopen(path, "rb");
  char* bytes = malloc(1 << 22);
  assert_non_null(bytes);
  *size = file ? fread(bytes, 1, 1 << 22, file) : 0;
  if (file) {
    fclose(file);
  }
  return bytes;
}

static void write_whole(const char* path, const char* bytes, size_t size)
{
  FILE* file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, size, file), size);
  fclose(file);
}

/** With this store the plugin still loads, passes MIDI, and says what is wrong. */
static void assert_bad_store(const char* path)
{
  size_t size = 0;
  char* before = read_whole(path, &size);
  setenv("HR_STORE", path, 1);

  Host* host = host_new(NULL);
  EventList list = compose(8, 50);
  record_list(host, &list, plain);
  assert_true(host_run_until(host, told_trouble, 5.0));
  assert_non_null(strstr(host_property(host, "trouble"), path));
  assert_non_null(strstr(host_log(host), path));
  free(host_save(host));
  host_free(host);
  events_free(&list);

  size_t size_after = 0;
  char* after = read_whole(path, &size_after);
  assert_int_equal(size_after, size);
  assert_memory_equal(after, before, size);
  free(before);
  free(after);
}

static void test_store_is_a_folder(void** state)
{
  (void)state;
  assert_int_equal(mkdir(scratch_path("folder"), 0700), 0);
  assert_bad_store(scratch_path("folder"));
}

static void test_store_cannot_be_made(void** state)
{
  (void)state;
  assert_bad_store("/proc/halfremembered/store.hr");
}

static void test_store_is_a_text_file(void** state)
{
  (void)state;
  static const char text[] = "Dear diary, today I played the piano.\n";
  write_whole(scratch_path("diary.txt"), text, sizeof text - 1);
  assert_bad_store(scratch_path("diary.txt"));
}

/** The bytes of a store with some music in it. */
static char* make_store(size_t* size)
{
  Host* host = host_new(NULL);
  EventList list = compose(9, 300);
  record_list(host, &list, plain);
  host_free(host);
  events_free(&list);
  return read_whole(scratch_path("store.hr"), size);
}

static void test_store_is_truncated(void** state)
{
  (void)state;
  size_t size = 0;
  char* bytes = make_store(&size);
  assert_true(size > 4 * 4096);
  const size_t lengths[] = {1, 100, 4096, 8191, 3 * 4096, size - 4096, size - 1};
  for (size_t i = 0; i < LENGTH(lengths); ++i) {
    write_whole(scratch_path("short.hr"), bytes, lengths[i]);
    assert_bad_store(scratch_path("short.hr"));
  }
  free(bytes);
}

/** Some day's version has written it: it is neither read nor touched. */
static void test_store_is_newer(void** state)
{
  (void)state;
  static const char magic[8] = "HALFREM";
  size_t size = 0;
  char* bytes = make_store(&size);
  int headers = 0;
  for (char* at = bytes; (at = memmem(at, size - (size_t)(at - bytes), magic, sizeof magic));
       ++at) {
    at[sizeof magic] = 99; // The format version
    ++headers;
  }
  assert_true(headers > 0);
  write_whole(scratch_path("newer.hr"), bytes, size);
  free(bytes);
  assert_bad_store(scratch_path("newer.hr"));
}

/** While the way to the store is barred there is nothing to replay, and to ask for it does no harm.
 */
static void test_replay_without_a_store(void** state)
{
  (void)state;
  setenv("HR_STORE", "/proc/halfremembered/store.hr", 1);
  for (int policy = 0; policy < HOST_POLICIES; ++policy) {
    Host* host = host_new(&(HostOptions){.policy = (HostPolicy)policy});
    EventList list = compose(13, 20);
    host_control(host, "replay", 1.0f);
    record_list(host, &list, plain);
    record_list(host, &list, plain); // From where it has looked ahead
    host_free(host);
    events_free(&list);
  }
}

/** While the host stands, another tree is moved to: replay, as its port shows, is on there too. */
static void test_replay_follows_to_another_tree(void** state)
{
  (void)state;
  const EventList silence = {0};
  for (int policy = 0; policy < HOST_POLICIES; ++policy) {
    Host* host = host_new(&(HostOptions){.linked = true, .policy = (HostPolicy)policy});
    EventList list = compose(15, 20);
    record_list(host, &list, plain);
    hr_session_flush(session_of(host));
    char tree[HR_NAME_MAX + 1];
    snprintf(tree, sizeof tree, "%s", state_of(host).tree_name);
    host_control(host, "replay", 1.0f);
    rewind_host(host);
    host_set(host, "tree", "another");
    host_run_for(host, RATE / 2, 256);
    host_set(host, "tree", tree);
    host_run_for(host, RATE / 2, 256);
    assert_true(state_of(host).replay);
    rewind_host(host);
    events_free(host_output(host));
    const uint64_t start = host_frame(host);
    host_transport(host, &rolling);
    host_play(host, &silence, duration(&list), plain);
    assert_heard(host_output(host), start, &list);
    assert_int_equal(host_faults(host), 0);
    host_free(host);
    events_free(&list);
  }
}

/** A session that is saved while its store is away still leads there when that is back. */
static void test_saved_while_the_store_is_away(void** state)
{
  (void)state;
  char given[4200];
  snprintf(given, sizeof given, "%s", scratch_path("given.hr"));
  for (int way = 0; way < 4; ++way) {
    const HostOptions options = {.inactive = way & 1};
    const char* const path = way & 2 ? given : scratch_path("store.hr");
    Host* host = host_new(NULL);
    host_set(host, "store", path);
    host_run_for(host, RATE / 2, 256);
    EventList list = compose(14 + (uint32_t)way, 20);
    record_list(host, &list, plain);
    char* saved = host_save(host);
    host_free(host);

    assert_int_equal(rename(path, scratch_path("away")), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    host = host_new(&options);
    host_restore(host, saved);
    host_activate(host);
    assert_true(host_run_until(host, told_trouble, 5.0));
    char* again = host_save(host);
    assert_string_equal(again, saved);
    host_free(host);
    free(saved);

    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rename(scratch_path("away"), path), 0);
    host = host_new(&options);
    host_restore(host, again);
    host_activate(host);
    replay_list(host, &list, plain);
    host_free(host);
    free(again);
    events_free(&list);
  }
}

/** After trouble, another store can be chosen while the plugin runs; what was
 * played meanwhile is not lost. */
static void test_store_chosen_after_trouble(void** state)
{
  (void)state;
  char good[4200];
  snprintf(good, sizeof good, "%s", scratch_path("good.hr"));
  assert_int_equal(mkdir(scratch_path("folder"), 0700), 0);
  setenv("HR_STORE", scratch_path("folder"), 1);
  Host* host = host_new(NULL);
  EventList list = compose(12, 100);
  record_list(host, &list, plain);
  host_set(host, "store", good);
  host_run_for(host, RATE / 2, 256);
  assert_true(host_run_until(host, told_branch, 5.0));
  replay_list(host, &list, plain);
  events_free(&list);
  host_free(host);
}

int main(void)
{
#define LV2_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      LV2_TEST(test_thru),
      LV2_TEST(test_event_past_the_block),
      LV2_TEST(test_block_lengths),
      LV2_TEST(test_hosts),
      LV2_TEST(test_freewheel),
      LV2_TEST(test_small_output),
      LV2_TEST(test_notes_end),
      LV2_TEST(test_bypass_is_silent),
      LV2_TEST(test_malformed_input),
      LV2_TEST(test_state),
      LV2_TEST(test_instances),
      LV2_TEST(test_lost_worker),
      LV2_TEST(test_branch_port),
      LV2_TEST(test_quantum_port),
      LV2_TEST(test_properties),
      LV2_TEST(test_saved_settings),
      LV2_TEST(test_state_changes),
      LV2_TEST(test_store_is_a_folder),
      LV2_TEST(test_store_cannot_be_made),
      LV2_TEST(test_store_is_a_text_file),
      LV2_TEST(test_store_is_truncated),
      LV2_TEST(test_store_is_newer),
      LV2_TEST(test_store_chosen_after_trouble),
      LV2_TEST(test_replay_without_a_store),
      LV2_TEST(test_saved_while_the_store_is_away),
      LV2_TEST(test_replay_follows_to_another_tree),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
