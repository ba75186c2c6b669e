/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file test_hosts.c
 * The plugin in each of the hosts that tests/host/lv2_policy.h tells of: what a
 * musician must be able to rely on in all of them, whatever their ways.
 */

#include "plugin/command.h"
#include "plugin/plugin.h"
#include "plugin/sounding.h"
#include "tests/host/lv2_host.h"
#include "tests/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <time.h>

#define LENGTH(array) (sizeof(array) / sizeof *(array))

enum { RATE = 48000, QUARTER = RATE / 2, BLOCK = 256 };

static const HostPolicy policies[] = {HOST_ARDOUR, HOST_JALV, HOST_CARLA};

static const int32_t blocks[] = {BLOCK, -1};

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

static Host* host_of(HostPolicy policy, uint32_t seed)
{
  return host_new(&(HostOptions){.policy = policy, .seed = seed, .linked = true});
}

static HrSession* session_of(const Host* host)
{
  return ((HrPlugin*)host_instance(host))->session;
}

static HrSessionState state_of(const Host* host)
{
  HrSessionState state;
  hr_session_state(session_of(host), &state);
  return state;
}

static void command_two(Host* host, const char* verb, const char* first, const char* second)
{
  HrError error = {HR_OK, ""};
  const HrValue args[] = {hr_value_text(first), hr_value_text(second)};
  const size_t count = !first ? 0 : !second ? 1 : 2;
  if (hr_command_run(session_of(host), verb, args, count, "test", NULL, &error)) {
    print_error("%s: %s\n", verb, error.text);
    fail();
  }
}

static void command(Host* host, const char* verb, const char* text)
{
  command_two(host, verb, text, NULL);
}

/** What must be true of a host at any time. */
static void assert_sound(const Host* host)
{
  const HrSessionState state = state_of(host);
  assert_int_equal(host_faults(host), 0);
  assert_int_equal(host_lost(host), 0);
  assert_int_equal(state.dropped, 0);
  assert_int_equal(state.malformed, 0);
  assert_int_equal(state.trouble, HR_OK);
}

/* ---- Music -------------------------------------------------------------------- */

static void add(EventList* list, uint64_t frame, int status, uint32_t first, uint32_t second)
{
  const uint8_t bytes[] = {(uint8_t)status, (uint8_t)first, (uint8_t)second};
  events_add(list, frame, bytes, 3);
}

static void add_sysex(EventList* list, uint64_t frame, uint32_t size)
{
  uint8_t* bytes = malloc(size);
  assert_non_null(bytes);
  for (uint32_t i = 0; i < size; ++i) {
    bytes[i] = (uint8_t)(i * 7 % 128);
  }
  bytes[0] = 0xf0;
  bytes[size - 1] = 0xf7;
  events_add(list, frame, bytes, size);
  free(bytes);
}

/** Chords, a pedal and a bender, all of them ended by themselves within `beats`. */
static EventList compose(uint32_t seed, uint32_t beats)
{
  EventList list = {0};
  Chance chance = chance_of(seed);
  for (uint32_t beat = 0; beat < beats; ++beat) {
    const uint64_t on = (uint64_t)beat * QUARTER + chance_choose(&chance, QUARTER / 4);
    const uint64_t off = on + QUARTER / 2 + chance_choose(&chance, QUARTER / 4);
    const int channel = (int)chance_choose(&chance, 16);
    const uint32_t keys = 1 + chance_choose(&chance, 5);
    const uint32_t lowest = chance_choose(&chance, 100);
    add(&list, on, 0xb0 | channel, 64, 100);
    for (uint32_t key = 0; key < keys; ++key) {
      add(&list, on, 0x90 | channel, lowest + key, 1 + chance_choose(&chance, 127));
    }
    add(&list, off, 0xe0 | channel, 0, 64);
    for (uint32_t key = 0; key < keys; ++key) {
      add(&list, off, 0x80 | channel, lowest + key, 64);
    }
    add(&list, off, 0xb0 | channel, 64, 0);
  }
  return list;
}

static void assert_same(const EventList* heard, uint64_t start, const EventList* expected)
{
  for (size_t i = 0; i < heard->count && i < expected->count; ++i) {
    const Event* a = &heard->events[i];
    const Event* b = &expected->events[i];
    if (a->frame != b->frame + start || a->size != b->size || memcmp(a->bytes, b->bytes, a->size)) {
      print_error("event %zu: heard %02x %02x at %+lld, expected %02x %02x\n", i, a->bytes[0],
                  a->bytes[1], (long long)(a->frame - start - b->frame), b->bytes[0], b->bytes[1]);
      fail();
    }
  }
  assert_int_equal(heard->count, expected->count);
}

/** The same messages in the same order, none before its time. */
static void assert_complete(const EventList* heard, uint64_t start, const EventList* expected)
{
  assert_int_equal(heard->count, expected->count);
  for (size_t i = 0; i < heard->count; ++i) {
    const Event* a = &heard->events[i];
    const Event* b = &expected->events[i];
    assert_true(a->frame >= b->frame + start);
    assert_int_equal(a->size, b->size);
    assert_memory_equal(a->bytes, b->bytes, a->size);
  }
}

/** No note and no pedal that holds notes is left on, and none began while it still sounded. */
static void assert_silent(const EventList* heard)
{
  HrSounding sounding = {0};
  uint8_t controllers[16][128] = {{0}};
  for (size_t i = 0; i < heard->count; ++i) {
    const uint8_t* const bytes = heard->events[i].bytes;
    hr_sounding_follow(&sounding, bytes, (uint32_t)heard->events[i].size);
    assert_true((bytes[0] & 0xf0) != 0x90 || sounding.notes[bytes[0] & 15][bytes[1]] <= 1);
    if ((bytes[0] & 0xf0) == 0xb0) {
      controllers[bytes[0] & 15][bytes[1]] = bytes[2];
    }
  }
  assert_int_equal(sounding.count, 0);
  for (int channel = 0; channel < 16; ++channel) {
    assert_true(controllers[channel][64] < 64); // Sustain
    assert_true(controllers[channel][66] < 64); // Sostenuto
    assert_true(controllers[channel][69] < 64); // Hold 2
  }
}

/* ---- The store ----------------------------------------------------------------- */

/** What is on the path of a branch, at frames of the timeline at 120 BPM. */
static EventList kept_on(uint32_t tree, uint32_t branch)
{
  EventList list = {0};
  HrStore* store = NULL;
  HrTxn* txn = NULL;
  HrPath path;
  HrEvent event;
  assert_int_equal(hr_store_open(scratch_path("store.hr"), 0, &store, NULL), HR_OK);
  assert_int_equal(hr_txn_begin(store, HR_READ, &txn), HR_OK);
  assert_int_equal(hr_path_open(txn, hr_branch_id(tree, branch), INT64_MIN, &path), HR_OK);
  while (!hr_path_next(&path, &event)) {
    if (event.kind == HR_EVENT_MIDI) {
      const double frame = (double)event.tick * QUARTER / HR_TICKS_PER_QUARTER;
      events_add(&list, (uint64_t)llrint(frame), event.bytes, event.size);
    }
  }
  hr_path_close(&path);
  hr_txn_abort(txn);
  hr_store_close(store);
  return list;
}

static void assert_kept(uint32_t tree, uint32_t branch, const EventList* expected)
{
  EventList kept = kept_on(tree, branch);
  assert_same(&kept, 0, expected);
  events_free(&kept);
}

/* ---- Driving ------------------------------------------------------------------ */

/** Stand at a frame of the timeline, and let what follows from that happen. */
static void stand_at(Host* host, int64_t frame)
{
  HostTransport transport = {false, frame + 1, 120.0, 4.0f, 4, 0, 0};
  host_transport(host, &transport); // jalv does not tell of a transport that has not moved
  host_run_for(host, RATE / 8, BLOCK);
  transport.frame = frame;
  host_transport(host, &transport);
  host_run_for(host, RATE / 8, BLOCK);
}

static void roll_from(Host* host, int64_t frame)
{
  host_transport(host, &(HostTransport){true, frame, 120.0, 4.0f, 4, 0, 0});
}

static uint64_t duration(const EventList* list)
{
  return (list->events[list->count - 1].frame / QUARTER + 2) * QUARTER;
}

/** Play `list` along the timeline from its start. */
static void record_list(Host* host, const EventList* list)
{
  stand_at(host, 0);
  roll_from(host, 0);
  host_play(host, list, duration(list), blocks);
  stand_at(host, 0);
  events_free(host_output(host));
}

/** Begin to hear the branch from the start of the timeline; the frame when that was. */
static uint64_t begin_replay(Host* host)
{
  host_control(host, "replay", 1.0f);
  stand_at(host, 0);
  events_free(host_output(host));
  roll_from(host, 0);
  return host_frame(host);
}

static void replay_list(Host* host, const EventList* list)
{
  const uint64_t start = begin_replay(host);
  host_run_for(host, duration(list), BLOCK);
  assert_same(host_output(host), start, list);
  host_control(host, "replay", 0.0f);
  stand_at(host, 0);
  assert_sound(host);
}

/* ---- What was played is heard again ------------------------------------------- */

static void test_record_and_replay(void** state)
{
  (void)state;
  for (size_t i = 0; i < LENGTH(policies); ++i) {
    for (uint32_t seed = 0; seed < 8; ++seed) {
      Host* host = host_of(policies[i], seed);
      EventList list = compose(100 + seed, 16);
      record_list(host, &list);
      replay_list(host, &list);
      host_free(host);
      events_free(&list);
    }
  }
}

/** An export hears what the ear hears. */
static void test_freewheel(void** state)
{
  (void)state;
  for (size_t i = 0; i < LENGTH(policies); ++i) {
    Host* host = host_of(policies[i], 3);
    EventList list = compose(200, 64);
    record_list(host, &list);
    const uint64_t start = begin_replay(host);
    host_run_for(host, duration(&list), BLOCK);
    EventList heard = *host_output(host);
    *host_output(host) = (EventList){0};

    host_freewheel(host, true);
    const uint64_t exported = begin_replay(host);
    host_run_for(host, duration(&list), 8192);
    assert_int_equal(host_output(host)->count, heard.count);
    for (size_t k = 0; k < heard.count; ++k) {
      heard.events[k].frame -= start;
    }
    assert_same(host_output(host), exported, &heard);
    host_freewheel(host, false);
    replay_list(host, &list);
    host_free(host);
    events_free(&list);
    events_free(&heard);
  }
}

/** With the worker where it is in real hosts, on a thread, while the state is
 * saved and the host begins and ends to freewheel: what overlaps harms nothing. */
static void* save_often(void* data)
{
  Host* host = data;
  for (int i = 0; i < 20; ++i) {
    free(host_save(host));
    nanosleep(&(struct timespec){0, 2000000}, NULL);
  }
  return NULL;
}

static void test_overlap(void** state)
{
  (void)state;
  for (size_t i = 0; i < LENGTH(policies); ++i) {
    Host* host = host_new(
        &(HostOptions){.policy = policies[i], .seed = 4, .linked = true, .threaded = true});
    EventList list = compose(300, 32);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, save_often, host), 0);
    stand_at(host, 0);
    roll_from(host, 0);
    host_control(host, "replay", 1.0f);
    for (int beat = 0; beat < 16; ++beat) {
      host_freewheel(host, beat & 1);
      host_play(host, &list, 2 * QUARTER, blocks);
      nanosleep(&(struct timespec){0, 5000000}, NULL);
    }
    pthread_join(thread, NULL);
    host_freewheel(host, false);
    host_run_for(host, (uint64_t)2 * RATE, BLOCK);
    assert_sound(host);
    host_free(host);
    events_free(&list);
  }
}

/* ---- State ---------------------------------------------------------------------- */

/** A state saved in mid-run and restored into the same running instance: it goes
 * on where it was, on the same branch, and a held note ends in the record. */
static void test_restore_in_mid_run(void** state)
{
  (void)state;
  static const uint8_t on[] = {0x90, 60, 100};
  static const uint8_t next_on[] = {0x91, 62, 100};
  static const uint8_t next_off[] = {0x81, 62, 64};
  for (size_t i = 0; i < LENGTH(policies); ++i) {
    Host* host = host_of(policies[i], 0);
    EventList list = compose(400, 8);
    record_list(host, &list);
    char* saved = host_save(host);
    const HrSessionState before = state_of(host);
    roll_from(host, (int64_t)duration(&list));
    host_midi(host, 0, on, sizeof on);
    host_run(host, BLOCK);
    host_restore(host, saved);
    host_midi(host, BLOCK / 2, next_on, sizeof next_on);
    host_run(host, BLOCK);
    host_midi(host, 0, next_off, sizeof next_off);
    host_run_for(host, RATE, BLOCK);
    hr_session_flush(session_of(host));
    const HrSessionState after = state_of(host);
    assert_int_equal(after.tree, before.tree);
    assert_int_equal(after.branch, before.branch);
    EventList kept = kept_on(after.tree, hr_branch_number(after.branch));
    assert_int_equal(kept.count, list.count + 4);
    assert_silent(&kept);
    assert_sound(host);
    free(saved);
    host_free(host);
    events_free(&kept);
    events_free(&list);
  }
}

/** A duplicated track: two instances from one state play on two branches. */
static void test_duplicated_state(void** state)
{
  (void)state;
  for (size_t i = 0; i < LENGTH(policies); ++i) {
    Host* first = host_of(policies[i], 5);
    EventList list = compose(500, 8);
    EventList more = compose(501, 4);
    record_list(first, &list);
    char* saved = host_save(first);
    Host* second = host_of(policies[i], 6);
    host_restore(second, saved);
    host_run_for(second, RATE / 4, BLOCK);
    assert_int_not_equal(state_of(second).branch, state_of(first).branch);
    Host* const both[] = {first, second};
    for (int k = 0; k < 2; ++k) {
      roll_from(both[k], (int64_t)duration(&list));
      host_play(both[k], &more, duration(&more), blocks);
      stand_at(both[k], 0);
      hr_session_flush(session_of(both[k]));
    }
    const HrSessionState a = state_of(first);
    const HrSessionState b = state_of(second);
    assert_int_equal(a.tree, b.tree);
    assert_int_not_equal(a.branch, b.branch);
    for (int k = 0; k < 2; ++k) {
      EventList kept = kept_on(a.tree, hr_branch_number(k ? b.branch : a.branch));
      assert_in_range(kept.count, more.count, list.count + more.count);
      EventList own = {.events = kept.events + kept.count - more.count, .count = more.count};
      assert_same(&own, duration(&list), &more);
      events_free(&kept);
      assert_sound(both[k]);
      host_free(both[k]);
    }
    free(saved);
    events_free(&list);
    events_free(&more);
  }
}

/** A preset has settings and ports and no tree: the music stays where it is. */
static void test_preset(void** state)
{
  (void)state;
  for (size_t i = 0; i < LENGTH(policies); ++i) {
    Host* host = host_of(policies[i], 0);
    host_control(host, "quantum", (float)HR_QUANTUM_LOOP_END);
    host_control(host, "overdub", 1.0f);
    host_run_for(host, RATE / 4, BLOCK);
    char* preset = host_save(host);
    host_free(host);

    host = host_of(policies[i], 0);
    EventList list = compose(600, 8);
    record_list(host, &list);
    const HrSessionState before = state_of(host);
    assert_int_equal(before.quantum, HR_QUANTUM_BAR);
    roll_from(host, 0);
    host_run_for(host, RATE, BLOCK);
    host_preset(host, preset);
    host_run_for(host, RATE, BLOCK);
    const HrSessionState after = state_of(host);
    assert_int_equal(after.quantum, HR_QUANTUM_LOOP_END);
    assert_true(after.overdub);
    assert_int_equal(after.tree, before.tree);
    assert_int_equal(after.branch, before.branch);
    replay_list(host, &list);
    free(preset);
    host_free(host);
    events_free(&list);
  }
}

/** Those that come with it set what they say, and leave the music where it is. */
static void test_shipped_presets(void** state)
{
  static const struct {
    const char* label;
    bool record, replay, overdub;
    HrQuantum quantum;
  } presets[] = {{"Layers", true, true, true, HR_QUANTUM_LOOP_END},
                 {"Song", true, true, false, HR_QUANTUM_BAR},
                 {"Listen", false, true, false, HR_QUANTUM_BAR},
                 {"Tape", true, false, false, HR_QUANTUM_BAR}};
  (void)state;
  for (size_t i = 0; i < LENGTH(policies); ++i) {
    Host* host = host_of(policies[i], 0);
    EventList list = compose(600, 8);
    record_list(host, &list);
    command(host, "mark", "here"); // Brings what waits into the store
    const HrSessionState before = state_of(host);
    for (size_t k = 0; k < LENGTH(presets); ++k) {
      char* preset = host_shipped_preset(host, presets[k].label);
      host_preset(host, preset);
      roll_from(host, 0);
      host_run_for(host, RATE / 4, BLOCK);
      const HrSessionState after = state_of(host);
      assert_int_equal(after.record, presets[k].record);
      assert_int_equal(after.replay, presets[k].replay);
      assert_int_equal(after.overdub, presets[k].overdub);
      assert_int_equal(after.quantum, presets[k].quantum);
      assert_int_equal(after.tree, before.tree);
      assert_int_equal(after.branch, before.branch);
      free(preset);
    }
    host_free(host);
    events_free(&list);
  }
}

/** Carla's texts have no NUL, in messages as in states. */
static void test_texts_without_nul(void** state)
{
  (void)state;
  static const char* const names[] = {"a longer name, as people give", "eightlet", "seventh", "a"};
  Host* host = host_of(HOST_CARLA, 0);
  EventList list = compose(700, 4);
  record_list(host, &list);
  command(host, "quantum", "now");
  for (size_t i = 0; i < LENGTH(names); ++i) {
    command(host, "fork", names[i]);
    host_run_for(host, RATE / 8, BLOCK);
  }
  for (size_t i = 0; i < LENGTH(names); ++i) {
    host_set(host, "branch", names[i]);
    host_run_for(host, RATE / 8, BLOCK);
    assert_string_equal(state_of(host).branch_name, names[i]);
  }
  char* saved = host_save(host);
  host_free(host);
  host = host_of(HOST_CARLA, 0);
  host_restore(host, saved);
  host_run_for(host, RATE / 8, BLOCK);
  assert_string_equal(state_of(host).branch_name, names[LENGTH(names) - 1]);
  assert_sound(host);
  free(saved);
  host_free(host);
  events_free(&list);
}

/* ---- The end --------------------------------------------------------------------- */

/** The worker gets no turn, its ring fills, requests are refused or lost, and the
 * instance is taken away: all is in the store. */
static void test_teardown_with_work_queued(void** state)
{
  (void)state;
  for (size_t i = 0; i < LENGTH(policies); ++i) {
    for (int threaded = 0; threaded < 2; ++threaded) {
      Host* host = host_new(
          &(HostOptions){.policy = policies[i], .seed = 7, .linked = true, .threaded = threaded});
      EventList list = compose(800, 120);
      host_stall(host, true);
      record_list(host, &list);
      host_free(host);
      assert_kept(1 + (uint32_t)(2 * i) + (uint32_t)threaded, 1, &list);
      events_free(&list);
    }
  }
}

/** jalv calls a request that it loses a success; once the worker gets its turn
 * again, so does the music. */
static void test_lost_requests(void** state)
{
  (void)state;
  Host* host = host_of(HOST_JALV, 0);
  EventList list = compose(900, 160);
  host_stall(host, true);
  record_list(host, &list);
  host_stall(host, false);
  host_run_for(host, RATE, BLOCK);
  replay_list(host, &list);
  host_free(host);
  events_free(&list);
}

/** Another program writes to the store, until a while after it is told to end. */
typedef struct {
  HrStore* store;
  atomic_bool holds;
  atomic_bool ends;
} Writer;

static void* hold_the_store(void* data)
{
  Writer* writer = data;
  HrTxn* txn = NULL;
  hr_txn_begin(writer->store, HR_WRITE, &txn);
  atomic_store(&writer->holds, true);
  while (!atomic_load(&writer->ends)) {
    nanosleep(&(struct timespec){0, 1000000}, NULL);
  }
  nanosleep(&(struct timespec){0, 200000000}, NULL);
  hr_txn_abort(txn);
  return NULL;
}

/** work() is inside, and waits for the disk, while the instance is taken away. */
static void test_teardown_while_working(void** state)
{
  (void)state;
  for (size_t i = 0; i < LENGTH(policies); ++i) {
    Host* host = host_new(&(HostOptions){.policy = policies[i], .linked = true, .threaded = true});
    EventList list = compose(1000, 16);
    Writer writer = {0};
    pthread_t thread;
    assert_int_equal(hr_store_open(scratch_path("store.hr"), 0, &writer.store, NULL), HR_OK);
    assert_int_equal(pthread_create(&thread, NULL, hold_the_store, &writer), 0);
    while (!atomic_load(&writer.holds)) {
      nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    stand_at(host, 0);
    roll_from(host, 0);
    host_play(host, &list, duration(&list), blocks);
    host_control(host, "replay", 1.0f); // For which it must write what it has
    for (int k = 0; k < 50; ++k) {
      host_run(host, BLOCK);
      nanosleep(&(struct timespec){0, 2000000}, NULL); // The worker gets to it meanwhile
    }
    atomic_store(&writer.ends, true);
    host_free(host);
    pthread_join(thread, NULL);
    hr_store_close(writer.store);
    assert_kept(1 + (uint32_t)i, 1, &list);
    events_free(&list);
  }
}

/* ---- Many ------------------------------------------------------------------------ */

enum { INSTANCES = 16, THREADS = 4, GROUP = INSTANCES / THREADS };

/** One of the host's audio threads, with the instances it runs. */
typedef struct {
  Host* hosts[GROUP];
  EventList* lists;
} Group;

static void* record_group(void* data)
{
  Group* group = data;
  for (size_t i = 0; i < GROUP; ++i) {
    record_list(group->hosts[i], &group->lists[i]);
  }
  return NULL;
}

/** Sixteen tracks, run by four threads: each has its own tree, and all its music. */
static void test_many_instances(void** state)
{
  (void)state;
  for (size_t p = 0; p < LENGTH(policies); ++p) {
    Group groups[THREADS];
    EventList lists[INSTANCES];
    pthread_t threads[THREADS];
    bool taken[LENGTH(policies) * INSTANCES + 1] = {false};
    for (uint32_t i = 0; i < INSTANCES; ++i) {
      Group* group = &groups[i / GROUP];
      group->hosts[i % GROUP] = host_new(
          &(HostOptions){.policy = policies[p], .seed = 8 + i, .linked = true, .threaded = i & 1});
      lists[i] = compose(1100 + i, 8);
    }
    for (size_t i = 0; i < THREADS; ++i) {
      groups[i].lists = &lists[i * GROUP];
      assert_int_equal(pthread_create(&threads[i], NULL, record_group, &groups[i]), 0);
    }
    for (int i = 0; i < THREADS; ++i) {
      pthread_join(threads[i], NULL);
    }
    for (uint32_t i = 0; i < INSTANCES; ++i) {
      Host* host = groups[i / GROUP].hosts[i % GROUP];
      hr_session_flush(session_of(host));
      const HrSessionState now = state_of(host);
      assert_in_range(now.tree, 1, LENGTH(taken) - 1);
      assert_false(taken[now.tree]);
      taken[now.tree] = true;
      assert_sound(host);
      host_free(host);
      assert_kept(now.tree, 1, &lists[i]);
      events_free(&lists[i]);
    }
  }
}

/* ---- Nothing hangs ---------------------------------------------------------------- */

typedef enum {
  EDGE_FORK,
  EDGE_FORK_COMMAND,
  EDGE_UNDO,
  EDGE_MERGE,
  EDGE_GRAB,
  EDGE_SWITCH,
  EDGE_LOOP,
  EDGE_HOST_LOOP,
  EDGE_LOCATE,
  EDGE_STOP,
  EDGE_REPLAY_OFF,
  EDGE_BYPASS,
  EDGE_END,
  EDGE_REACTIVATE,
  EDGE_RESTORE,
  EDGES
} Edge;

/** While a note and the pedals are held in the replay, with the transport at 4 s. */
static void come_to(Host* host, Edge edge, const char* saved)
{
  static const uint8_t on[] = {0x91, 40, 100};
  static const uint8_t off[] = {0x81, 40, 64};
  switch (edge) {
  case EDGE_FORK: // By playing over it
    host_midi(host, 0, on, sizeof on);
    host_run(host, BLOCK);
    host_midi(host, 0, off, sizeof off);
    break;
  case EDGE_FORK_COMMAND:
    command(host, "fork", NULL);
    break;
  case EDGE_UNDO: // Of the switch that led here
    command(host, "undo", NULL);
    break;
  case EDGE_MERGE:
    command(host, "merge", "other");
    break;
  case EDGE_GRAB:
    command(host, "grab", NULL);
    break;
  case EDGE_SWITCH:
    command(host, "switch", "other");
    break;
  case EDGE_LOOP:
    host_transport(host, &(HostTransport){false, 0, 120.0, 4.0f, 4, 0, 0});
    host_run_for(host, RATE / 4, BLOCK);
    command_two(host, "loop/range", "1", "2"); // It ends in mid-note
    command(host, "replay", NULL);
    break;
  case EDGE_HOST_LOOP:
    host_transport(host,
                   &(HostTransport){true, (int64_t)4 * RATE, 120.0, 4.0f, 4, 0, (int64_t)5 * RATE});
    break;
  case EDGE_LOCATE:
    roll_from(host, (int64_t)60 * RATE);
    break;
  case EDGE_STOP:
    stand_at(host, (int64_t)5 * RATE);
    break;
  case EDGE_REPLAY_OFF:
    host_control(host, "replay", 0.0f);
    break;
  case EDGE_BYPASS:
    host_control(host, "enabled", 0.0f);
    break;
  case EDGE_REACTIVATE:
    host_deactivate(host);
    host_activate(host);
    host_control(host, "replay", 0.0f);
    break;
  case EDGE_RESTORE:
    host_restore(host, saved);
    host_control(host, "replay", 0.0f);
    break;
  case EDGE_END: // Just goes on
  case EDGES:
    break;
  }
}

static void test_nothing_hangs(void** state)
{
  (void)state;
  EventList list = {0};
  add(&list, RATE, 0xb3, 64, 127);
  add(&list, RATE, 0x93, 60, 100);
  add(&list, RATE, 0x93, 64, 100);
  add(&list, RATE, 0xb3, 66, 127);
  add(&list, RATE, 0xb3, 69, 127);
  add(&list, (uint64_t)8 * RATE, 0x83, 60, 64); // The other and the pedals are never let go
  for (size_t i = 0; i < LENGTH(policies); ++i) {
    for (Edge edge = 0; edge < EDGES; ++edge) {
      Host* host = host_of(policies[i], 9 + edge);
      command(host, "quantum", "now");
      record_list(host, &list);
      stand_at(host, (int64_t)6 * RATE);
      command(host, "fork", "other"); // Its path ends in mid-note
      host_run_for(host, RATE / 4, BLOCK);
      command(host, "switch", edge == EDGE_END ? "other" : "main");
      host_run_for(host, RATE / 4, BLOCK);
      char* saved = host_save(host);

      begin_replay(host);
      host_run_for(host, (uint64_t)4 * RATE, BLOCK);
      HrSounding sounding = {0};
      for (size_t k = 0; k < host_output(host)->count; ++k) {
        const Event* event = &host_output(host)->events[k];
        hr_sounding_follow(&sounding, event->bytes, (uint32_t)event->size);
      }
      assert_int_equal(sounding.count, 2);
      assert_true(hr_sounding_any(&sounding));
      come_to(host, edge, saved);
      host_run_for(host, (uint64_t)8 * RATE, BLOCK);
      if (edge == EDGE_LOOP || edge == EDGE_HOST_LOOP || edge == EDGE_GRAB) {
        command(host, "stop", NULL);
        stand_at(host, 0);
      }
      assert_silent(host_output(host));
      assert_sound(host);
      free(saved);
      host_free(host);
    }
  }
  events_free(&list);
}

/* ---- Little room -------------------------------------------------------------------- */

/** A thousand messages on one frame, and what else is played: all of it comes
 * out, in order, late. */
static void test_small_output(void** state)
{
  (void)state;
  static const uint32_t capacities[] = {300, 8192, 16 + 512 * 24};
  EventList list = {0};
  for (uint32_t i = 0; i < 1000; ++i) {
    add(&list, RATE, 0xb0 | (int)(i % 16), 16 + i % 3, i % 128);
  }
  for (size_t i = 0; i < LENGTH(policies); ++i) {
    for (size_t k = 0; k < LENGTH(capacities); ++k) {
      Host* host = host_new(&(HostOptions){
          .policy = policies[i], .seed = 10, .linked = true, .out_capacity = capacities[k]});
      stand_at(host, 0);
      events_free(host_output(host));
      uint64_t start = host_frame(host);
      roll_from(host, 0);
      host_play(host, &list, duration(&list), blocks);
      host_run_for(host, RATE, BLOCK);
      assert_complete(host_output(host), start, &list);
      stand_at(host, 0);

      start = begin_replay(host);
      host_run_for(host, duration(&list) + RATE, BLOCK);
      assert_complete(host_output(host), start, &list);
      assert_sound(host);
      host_free(host);
    }
  }
  events_free(&list);
}

/** SysEx of 64 KiB: recorded and replayed where the port has room for it; where
 * it has none, counted, kept, and the rest is heard. */
static void test_large_sysex(void** state)
{
  (void)state;
  EventList list = {0};
  add(&list, RATE, 0x90, 60, 100);
  add_sysex(&list, RATE, 65536);
  add(&list, 2 * RATE, 0x80, 60, 64);
  for (uint32_t i = 0; i < LENGTH(policies); ++i) {
    Host* host =
        host_new(&(HostOptions){.policy = policies[i], .linked = true, .out_capacity = 131072});
    record_list(host, &list);
    replay_list(host, &list);
    host_free(host);
    assert_kept(1 + 2 * i, 1, &list);

    host = host_new(&(HostOptions){.policy = policies[i], .linked = true, .out_capacity = 8192});
    record_list(host, &list);
    assert_int_equal(state_of(host).unheard, 1);
    begin_replay(host);
    host_run_for(host, duration(&list), BLOCK);
    assert_int_equal(host_output(host)->count, 2);
    assert_int_equal(state_of(host).unheard, 2);
    assert_int_equal(host_faults(host), 0);
    host_free(host);
    assert_kept(2 + 2 * i, 1, &list);
  }
  events_free(&list);
}

/** Notes may precede the position at a loop's start; they are of the next pass. */
static void test_notes_before_the_position(void** state)
{
  (void)state;
  static const uint8_t on[] = {0x90, 60, 100};
  static const uint8_t off[] = {0x80, 60, 64};
  Host* host = host_new(&(HostOptions){.policy = HOST_ARDOUR, .linked = true, .notes_first = true});
  stand_at(host, 0);
  host_transport(host, &(HostTransport){true, 0, 120.0, 4.0f, 4, 0, RATE});
  host_run_for(host, RATE, 1000);
  host_midi(host, 0, on, sizeof on); // On the first frame of the next pass
  host_run(host, 1000);
  host_midi(host, 0, off, sizeof off);
  host_run(host, 1000);
  stand_at(host, 0);
  hr_session_flush(session_of(host));
  const HrSessionState now = state_of(host);
  EventList kept = kept_on(now.tree, hr_branch_number(now.branch));
  assert_int_equal(kept.count, 2);
  assert_int_equal(kept.events[0].frame, 0);
  assert_int_equal(kept.events[1].frame, 1000);
  events_free(&kept);
  host_free(host);
}

/** A copy plays on from all of the music, its last events as well. */
static void test_a_copy_has_the_last_events(void** state)
{
  (void)state;
  Host* first = host_of(HOST_CARLA, 0);
  EventList list = compose(500, 8);
  record_list(first, &list);
  char* saved = host_save(first);
  Host* second = host_of(HOST_CARLA, 0);
  host_restore(second, saved);
  host_run_for(second, RATE / 4, BLOCK);
  const HrSessionState now = state_of(second);
  EventList kept = kept_on(now.tree, hr_branch_number(now.branch));
  assert_silent(&kept);
  assert_same(&kept, 0, &list);
  free(saved);
  events_free(&kept);
  host_free(second);
  host_free(first);
  events_free(&list);
}

static void test_no_more_events_than_carla_takes(void** state)
{
  (void)state;
  Host* host = host_of(HOST_CARLA, 0);
  EventList list = {0};
  for (uint32_t i = 0; i < 1000; ++i) {
    add(&list, RATE, 0xb0 | (int)(i % 16), 16 + i % 3, i % 128);
  }
  stand_at(host, 0);
  events_free(host_output(host));
  roll_from(host, 0);
  host_play(host, &list, duration(&list), blocks);
  assert_sound(host);
  events_free(&list);
  host_free(host);
}

/** A note that is held when the instance goes has its end in the record. */
static void test_a_session_ends_in_mid_note(void** state)
{
  (void)state;
  static const uint8_t on[] = {0x90, 60, 100};
  Host* host = host_of(HOST_CARLA, 0);
  stand_at(host, 0);
  roll_from(host, 0);
  host_midi(host, 0, on, sizeof on);
  host_run_for(host, RATE, BLOCK);
  host_free(host);
  EventList kept = kept_on(1, 1);
  assert_silent(&kept);
  events_free(&kept);
}

/** A host with latency does not split its block where the loop ends, and tells
 * of the jump with the next one: a downbeat in between is of the next pass. */
static void test_a_jump_told_late(void** state)
{
  (void)state;
  static const uint8_t on[] = {0x90, 60, 100};
  static const uint8_t off[] = {0x80, 60, 64};
  Host* host = host_of(HOST_JALV, 0);
  stand_at(host, 0);
  roll_from(host, 0);
  host_midi(host, 0, off, sizeof off);
  host_run_for(host, 2 * RATE - 500, 500); // A loop of four beats
  host_midi(host, 700, on, sizeof on);     // 200 frames after its end
  host_run(host, 1000);
  host_transport(host, &(HostTransport){true, 500, 120.0, 4.0f, 4, 0, 0});
  host_midi(host, 300, off, sizeof off);
  host_run(host, 1000);
  stand_at(host, 0);
  hr_session_flush(session_of(host));
  const HrSessionState now = state_of(host);
  assert_string_equal(now.branch_name, "main pass 2");
  EventList kept = kept_on(now.tree, hr_branch_number(now.branch));
  assert_int_equal(kept.count, 2);
  assert_int_equal(kept.events[0].frame, 200);
  assert_int_equal(kept.events[1].frame, 800);
  events_free(&kept);
  host_free(host);
}

static void print_problem(void* data, const char* sentence)
{
  (void)data;
  print_message("  %s\n", sentence);
}

/** A host that says nonsense of where it is still has its notes kept, at ticks that can be. */
static void test_places_that_cannot_be(void** state)
{
  (void)state;
  static const int64_t frames[] = {999999999999999, -999999999999999, 999999999999, 0};
  static const uint8_t on[] = {0x90, 60, 100};
  static const uint8_t off[] = {0x80, 60, 64};
  Host* host = host_of(HOST_JALV, 0);
  for (unsigned i = 0; i < sizeof frames / sizeof *frames; ++i) {
    host_transport(host, &(HostTransport){true, frames[i], 99999.0, 1024.0f, 1, 0, 0});
    host_midi(host, 10, on, sizeof on);
    host_midi(host, 20, off, sizeof off);
    host_run_for(host, 4 * BLOCK, BLOCK);
  }
  host_free(host);
  HrStore* store;
  HrTxn* txn;
  HrTree tree = {0};
  HrBranch branch = {0};
  uint64_t events = 0;
  assert_int_equal(hr_store_open(scratch_path("store.hr"), 0, &store, NULL), HR_OK);
  assert_int_equal(hr_txn_begin(store, HR_READ, &txn), HR_OK);
  assert_int_equal(hr_tree_next(txn, 0, &tree), HR_OK);
  for (uint32_t after = 0; !hr_branch_next(txn, tree.id, after, &branch);) {
    after = hr_branch_number(branch.id);
    assert_true(llabs(branch.head_tick) < HR_TICK_BOUND / 2);
    events += branch.event_count;
  }
  assert_true(events >= 2 * sizeof frames / sizeof *frames);
  hr_txn_abort(txn);
  HrVerifyReport report;
  assert_int_equal(hr_store_verify(store, print_problem, NULL, &report), HR_OK);
  assert_int_equal(report.problems, 0);
  hr_store_close(store);
}

int main(void)
{
#define HOSTS_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      HOSTS_TEST(test_record_and_replay),
      HOSTS_TEST(test_freewheel),
      HOSTS_TEST(test_overlap),
      HOSTS_TEST(test_restore_in_mid_run),
      HOSTS_TEST(test_duplicated_state),
      HOSTS_TEST(test_preset),
      HOSTS_TEST(test_shipped_presets),
      HOSTS_TEST(test_texts_without_nul),
      HOSTS_TEST(test_teardown_with_work_queued),
      HOSTS_TEST(test_lost_requests),
      HOSTS_TEST(test_teardown_while_working),
      HOSTS_TEST(test_many_instances),
      HOSTS_TEST(test_nothing_hangs),
      HOSTS_TEST(test_small_output),
      HOSTS_TEST(test_large_sysex),
      HOSTS_TEST(test_notes_before_the_position),
      HOSTS_TEST(test_a_copy_has_the_last_events),
      HOSTS_TEST(test_no_more_events_than_carla_takes),
      HOSTS_TEST(test_a_session_ends_in_mid_note),
      HOSTS_TEST(test_a_jump_told_late),
      HOSTS_TEST(test_places_that_cannot_be),
  };
  return cmocka_run_group_tests_name("hosts", tests, NULL, NULL);
}
