/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What a block costs the host's audio thread: our run() side by side with that of
 * a plugin that only puts MIDI through, x42's midifilter passthru, and with a
 * bare loop that copies events.
 *
 * A scene is what a player does with a take:
 *
 *   record   They play, and what they play is put through and kept.
 *   replay   They listen to it (recording is off).
 *   overdub  They hear it again and play to it; both go into a new branch. As
 *            many events are replayed as are played.
 *
 * The take is as long as the measurement, so that nothing but its own music
 * comes along: one fork, at the first note of the overdub. Through all of it a
 * note is held, so that the clock runs also where nothing else is played. All
 * contenders put out the same number of events: those that ours replays are
 * played to the others. They take turns in every order.
 *
 * In the tight loop blocks follow at once, and the worker works between them,
 * outside what is timed, as music comes much faster than in life. In the paced loop each block
 * waits for its time, the worker works when it gets to it, and the caches hold what else the
 * machine did meanwhile.
 *
 * What the host does in schedule_work() is left out and shown by itself: ten times
 * a second of music it is called, and here it wakes a thread, a system call. */

#include "bench/bench.h"
#include "bench/lv2_plugin.h"

#include <lv2/atom/forge.h>
#include <lv2/atom/util.h>
#include <lv2/midi/midi.h>
#include <lv2/time/time.h>

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define OUR_URI  "urn:halfremembered:recorder"
#define PEER_URI "http://gareus.org/oss/lv2/midifilter#passthru"

enum {
  RATE = 48000,
  INPUTS = 8, ///< Blocks of music, over and over
  WARM_UP = 500,
  TIGHT_BLOCKS = 200000,
  PACED_BLOCKS = 3000,
  PATIENCE = 20000, ///< Blocks, for what takes the worker a few
};

#define BAR_RATIO 1.5

typedef enum { RECORD, REPLAY, OVERDUB, ACTIVITIES } Activity;

static const char* const activity_names[ACTIVITIES] = {"record", "replay", "overdub"};

typedef struct {
  uint32_t frames; ///< A block
  unsigned events; ///< Played in a block
  bool rolling;    ///< The host's transport rolls and is told with each block, as by Ardour
  bool paced;
} Scene;

/** Who takes a turn at each block. */
typedef struct {
  void (*run)(LV2_Handle handle, uint32_t frames);
  LV2_Handle handle;
  Lv2Buffer* in;
  Lv2Buffer* out;
  BenchTimes times;
  uint64_t events; ///< Put out
} Contender;

enum { OURS, PEER, BARE, CONTENDERS };

typedef struct {
  double ns[CONTENDERS];
} Medians;

/** The loop that does nothing but forward. */
typedef struct {
  Lv2Buffer in;
  Lv2Buffer out;
  LV2_URID midi_event;
  LV2_URID sequence;
} BareLoop;

static Lv2Plugin ours, peer;
static BareLoop bare;
static Contender contenders[CONTENDERS];
static BenchTimes schedule_times;
static LV2_URID midi_event;
static LV2_Atom_Forge forge;

static const Scene* scene;
static Lv2Buffer inputs[INPUTS];
static Lv2Buffer doubled[INPUTS]; ///< Twice as many events, for the others while ours replays, too
static uint64_t block;            ///< Run so far
static int64_t transport_frame;   ///< Of the transport
static bool transport_rolls;
static struct timespec due; ///< Time of the next block

/* ---- Music --------------------------------------------------------------- */

static void add_midi(Lv2Buffer* buffer, uint32_t frame, uint8_t status, uint8_t first,
                     uint8_t second)
{
  const uint8_t bytes[3] = {status, first, second};
  lv2_add_event(buffer, frame, midi_event, bytes, sizeof bytes);
}

/** Event `index` of the `turn`-th block: of five, two end notes of the block
 * before, two begin notes, one is a controller. */
static void add_played(Lv2Buffer* buffer, uint32_t frame, unsigned turn, unsigned index)
{
  const unsigned before = (turn + INPUTS - 1) % INPUTS;
  const unsigned note = index / 5 * 2 + index % 5 % 2;
  switch (index % 5) {
  case 0:
  case 1:
    add_midi(buffer, frame, 0x80, (uint8_t)((before * 13 + note) % 128), 64);
    break;
  case 2:
  case 3:
    add_midi(buffer, frame, 0x90, (uint8_t)((turn * 13 + note) % 128), 100);
    break;
  default:
    add_midi(buffer, frame, 0xb0, 1, (uint8_t)(turn * 16 + index) & 0x7f);
    break;
  }
}

static void compose(Lv2Buffer blocks[INPUTS], unsigned events)
{
  for (unsigned turn = 0; turn < INPUTS; ++turn) {
    lv2_clear_input(&blocks[turn]);
    for (unsigned i = 0; i < events; ++i) {
      add_played(&blocks[turn], i * scene->frames / events, turn, i);
    }
  }
}

static void forge_number(const char* key, double value, LV2_URID type)
{
  lv2_atom_forge_key(&forge, lv2_urid(key));
  if (type == forge.Long) {
    lv2_atom_forge_long(&forge, (int64_t)value);
  } else if (type == forge.Int) {
    lv2_atom_forge_int(&forge, (int32_t)value);
  } else {
    lv2_atom_forge_float(&forge, (float)value);
  }
}

/** Tell where the transport is: 120 BPM, 4/4. */
static void add_position(Lv2Buffer* buffer)
{
  union {
    LV2_Atom atom;
    uint8_t bytes[512];
  } position;
  LV2_Atom_Forge_Frame object;
  const double beat = (double)transport_frame / RATE * 2.0;
  lv2_atom_forge_set_buffer(&forge, position.bytes, sizeof position);
  lv2_atom_forge_object(&forge, &object, 0, lv2_urid(LV2_TIME__Position));
  forge_number(LV2_TIME__frame, (double)transport_frame, forge.Long);
  forge_number(LV2_TIME__speed, transport_rolls ? 1.0 : 0.0, forge.Float);
  forge_number(LV2_TIME__bar, floor(beat / 4.0), forge.Long);
  forge_number(LV2_TIME__barBeat, fmod(beat, 4.0), forge.Float);
  forge_number(LV2_TIME__beatUnit, 4.0, forge.Int);
  forge_number(LV2_TIME__beatsPerBar, 4.0, forge.Float);
  forge_number(LV2_TIME__beatsPerMinute, 120.0, forge.Float);
  lv2_atom_forge_pop(&forge, &object);
  lv2_add_event(buffer, 0, position.atom.type, &position.atom + 1, position.atom.size);
}

/* ---- Blocks ----------------------------------------------------------------- */

static void run_bare(LV2_Handle handle, uint32_t frames)
{
  BareLoop* const loop = handle;
  LV2_Atom_Sequence* const out = &loop->out.sequence;
  const uint32_t capacity = out->atom.size;
  (void)frames;
  out->atom.type = loop->sequence;
  out->body = (LV2_Atom_Sequence_Body){0};
  lv2_atom_sequence_clear(out);
  LV2_ATOM_SEQUENCE_FOREACH(&loop->in.sequence, event)
  {
    if (event->body.type == loop->midi_event) {
      lv2_atom_sequence_append_event(out, capacity, event);
    }
  }
}

static unsigned count_midi(const Lv2Buffer* buffer)
{
  unsigned count = 0;
  LV2_ATOM_SEQUENCE_FOREACH(&buffer->sequence, event)
  {
    count += event->body.type == midi_event;
  }
  return count;
}

static void set_input(Lv2Buffer* in, const Lv2Buffer* played)
{
  lv2_clear_input(in);
  if (scene->rolling) {
    add_position(in);
  }
  if (played) {
    const LV2_Atom* const atom = &played->sequence.atom;
    const uint32_t size = atom->size - (uint32_t)sizeof(LV2_Atom_Sequence_Body);
    memcpy(in->bytes + sizeof *atom + in->sequence.atom.size, &played->sequence + 1, size);
    in->sequence.atom.size += size;
  }
}

static void take_turn(Contender* contender, const Lv2Buffer* played)
{
  set_input(contender->in, played);
  lv2_clear_output(contender->out);
  const uint64_t scheduling = ours.scheduling;
  const uint64_t begun = bench_clock();
  contender->run(contender->handle, scene->frames);
  const uint64_t whole = bench_clock() - begun;
  const uint64_t scheduled = ours.scheduling - scheduling;
  bench_times_add(&contender->times, whole - scheduled);
  if (scheduled) {
    bench_times_add(&schedule_times, scheduled);
  }
  contender->events += count_midi(contender->out);
}

static void wait_for_block(void)
{
  due.tv_nsec += (long)(1e9 * scene->frames / RATE);
  due.tv_sec += due.tv_nsec / 1000000000;
  due.tv_nsec %= 1000000000;
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL)) {
  }
}

/** One block of all contenders. `to_ours` is what is played to our plugin,
 * `to_others` to the others; NULL: nothing. */
static void run_block(const Lv2Buffer* to_ours, const Lv2Buffer* to_others)
{
  if (scene->paced) {
    wait_for_block();
  }
  for (unsigned turn = 0; turn < CONTENDERS; ++turn) {
    const unsigned who = (unsigned)((block + turn) % CONTENDERS);
    take_turn(&contenders[who], who == OURS ? to_ours : to_others);
  }
  worker_after_run(ours.worker, scene->frames);
  transport_frame += transport_rolls ? scene->frames : 0;
  ++block;
}

static void run_idle(unsigned blocks)
{
  while (blocks--) {
    run_block(NULL, NULL);
  }
}

/** Run until our plugin has put out an event. */
static void run_until_heard(void)
{
  const uint64_t before = contenders[OURS].events;
  for (unsigned i = 0; contenders[OURS].events == before; ++i) {
    bench_require(i < PATIENCE, "The plugin does not replay.");
    run_block(NULL, NULL);
  }
}

/* ---- A scene ------------------------------------------------------------------ */

static void set_control(const char* symbol, bool on)
{
  *lv2_plugin_control(&ours, symbol) = on ? 1.0f : 0.0f;
  run_idle(100);
}

static void roll_from_start(void)
{
  transport_frame = 0;
  transport_rolls = scene->rolling;
}

static void stop_rolling(void)
{
  transport_rolls = false;
  run_idle(1);
  transport_frame = 0;
  run_idle(100);
}

static void play_one(uint8_t status, uint8_t key)
{
  Lv2Buffer input;
  lv2_clear_input(&input);
  add_midi(&input, 0, status, key, 100);
  run_block(&input, &input);
}

static void begin(Activity activity)
{
  set_control("record", activity != REPLAY);
  set_control("overdub", activity == OVERDUB);
  *lv2_plugin_control(&ours, "replay") = activity == RECORD ? 0.0f : 1.0f;
  if (scene->rolling) {
    run_idle(100);
    roll_from_start();
  }
  if (activity == RECORD) {
    play_one(0x9f, 1);
  } else {
    run_until_heard();
  }
  if (activity == OVERDUB) {
    play_one(0x9f, 2);
  }
}

static void run_music(Activity activity, unsigned blocks)
{
  for (unsigned i = 0; i < blocks; ++i) {
    const Lv2Buffer* const played = &inputs[block % INPUTS];
    run_block(activity == REPLAY ? NULL : played,
              activity == OVERDUB ? &doubled[block % INPUTS] : played);
  }
}

static void end(Activity activity)
{
  if (activity == RECORD) {
    run_music(activity, WARM_UP); // The take is a little longer than what is heard of it
    play_one(0x8f, 1);
  } else if (activity == OVERDUB) {
    play_one(0x8f, 2);
  }
  stop_rolling();
  set_control("replay", false);
}

/** Print a line and return the medians, in nanoseconds. */
static Medians print_result(Activity activity)
{
  const double tail = scene->paced ? 0.999 : 0.9999;
  Medians median;
  printf("%3u + %-3u  %-8s", activity == REPLAY ? 0 : scene->events,
         activity == RECORD ? 0 : scene->events, activity_names[activity]);
  for (unsigned i = 0; i < CONTENDERS; ++i) {
    bench_times_sort(&contenders[i].times);
    median.ns[i] = bench_times_ns(&contenders[i].times, 0.5);
    printf(" %8.0f %8.0f", median.ns[i], bench_times_ns(&contenders[i].times, tail));
  }
  printf(" %9.2f %8.2f", median.ns[OURS] / median.ns[PEER], median.ns[OURS] / median.ns[BARE]);
  if (schedule_times.count) {
    bench_times_sort(&schedule_times);
    printf(" %9.0f %8.0f\n", bench_times_ns(&schedule_times, 0.5),
           bench_times_ns(&schedule_times, 1.0));
  } else {
    printf(" %9s %8s\n", "-", "-");
  }
  return median;
}

/** All that was to come out must have come out: else something else was measured. */
static void check_events(Activity activity, uint64_t blocks)
{
  const uint64_t expected = blocks * scene->events * (activity == OVERDUB ? 2 : 1);
  for (unsigned i = 0; i < CONTENDERS; ++i) {
    bench_require(contenders[i].events == expected,
                  "Not all events came out that should: something else was measured.");
  }
}

static Medians measure(Activity activity)
{
  const unsigned blocks = scene->paced ? PACED_BLOCKS : TIGHT_BLOCKS;
  clock_gettime(CLOCK_MONOTONIC, &due);
  begin(activity);
  run_music(activity, WARM_UP);
  for (unsigned i = 0; i < CONTENDERS; ++i) {
    bench_times_begin(&contenders[i].times, blocks);
    contenders[i].events = 0;
  }
  bench_times_begin(&schedule_times, blocks);
  clock_gettime(CLOCK_MONOTONIC, &due);
  run_music(activity, blocks);
  check_events(activity, blocks);
  const Medians medians = print_result(activity);
  clock_gettime(CLOCK_MONOTONIC, &due);
  end(activity);
  return medians;
}

static Contender contender_of(Lv2Plugin* plugin)
{
  return (Contender){.run = plugin->instance->lv2_descriptor->run,
                     .handle = plugin->instance->lv2_handle,
                     .in = plugin->in,
                     .out = plugin->out};
}

static void set_up(void)
{
  setenv("HR_STORE", bench_path("run.hr"), 1);
  block = 0;
  transport_frame = 0;
  transport_rolls = false;
  compose(inputs, scene->events);
  compose(doubled, 2 * scene->events);
  lv2_plugin_load(&ours, OUR_URI, HR_TEST_BUNDLE, scene->paced);
  lv2_plugin_load(&peer, PEER_URI, NULL, false);
  bare.midi_event = midi_event;
  bare.sequence = lv2_urid(LV2_ATOM__Sequence);
  contenders[OURS] = contender_of(&ours);
  contenders[PEER] = contender_of(&peer);
  contenders[BARE] =
      (Contender){.run = run_bare, .handle = &bare, .in = &bare.in, .out = &bare.out};
}

static void tear_down(void)
{
  lv2_plugin_unload(&ours);
  lv2_plugin_unload(&peer);
  for (unsigned i = 0; i < CONTENDERS; ++i) {
    bench_times_free(&contenders[i].times);
  }
  bench_times_free(&schedule_times);
  unlink(bench_path("run.hr"));
  unlink(bench_path("run.hr-lock"));
}

/** This thread's priority, as a host gives it to its audio thread. The plugin's
 * own threads are ordinary ones. */
static bool set_priority(bool realtime)
{
  const struct sched_param parameters = {.sched_priority = realtime ? 70 : 0};
  return !sched_setscheduler(0, realtime ? SCHED_FIFO : SCHED_OTHER, &parameters);
}

/** Measure all activities of a scene. */
static void play(const Scene* what, Medians medians[ACTIVITIES])
{
  scene = what;
  set_up();
  set_priority(true);
  for (unsigned activity = 0; activity < ACTIVITIES; ++activity) {
    medians[activity] = measure((Activity)activity);
  }
  set_priority(false);
  tear_down();
}

static void print_head(const Scene* what)
{
  const char* const tail = what->paced ? "99.9 %" : "99.99 %";
  printf("\n%s loop, blocks of %u frames, %s\n", what->paced ? "Paced" : "Tight", what->frames,
         what->rolling ? "the host's transport rolls and is told with each block"
                       : "no transport: the plugin's own clock");
  printf("%-9s  %-8s %17s %17s %17s %18s %18s\n", "played +", "", "HalfRemembered", "passthru",
         "bare loop", "median, times", "schedule_work");
  printf("%-9s  %-8s", "replayed", "");
  for (unsigned i = 0; i < CONTENDERS; ++i) {
    printf(" %8s %8s", "median", tail);
  }
  printf(" %9s %8s %9s %8s\n", "passthru", "bare", "median", "worst");
}

static void print_bar(const char* what, double ours_ns, double peer_ns)
{
  const double ratio = ours_ns / peer_ns;
  printf("%s: %.2f times the passthru with 10. %s\n", what, ratio,
         ratio <= BAR_RATIO ? "Met." : "Missed.");
}

int main(void)
{
  enum { HALF_BAR = 1, BAR = 2, SCENES = 11 };
  static const Scene scenes[SCENES] = {
      {.frames = 256, .events = 0},
      [HALF_BAR] = {.frames = 256, .events = 5},
      [BAR] = {.frames = 256, .events = 10},
      {.frames = 256, .events = 100},
      {.frames = 256, .events = 0, .rolling = true},
      {.frames = 256, .events = 5, .rolling = true},
      {.frames = 256, .events = 10, .rolling = true},
      {.frames = 64, .events = 0},
      {.frames = 64, .events = 5},
      {.frames = 256, .events = 0, .paced = true},
      {.frames = 256, .events = 5, .paced = true},
  };
  static Medians medians[SCENES][ACTIVITIES];
  bench_begin("What a block costs: run(), in nanoseconds, at 48 kHz");
  printf("peer      midifilter passthru, x42-plugins %s\n", bench_package_version("x42-plugins"));
  printf("priority  %s\n", set_priority(true) ? "realtime" : "ordinary: realtime is not allowed");
  set_priority(false);
  midi_event = lv2_urid(LV2_MIDI__MidiEvent);
  lv2_atom_forge_init(&forge, lv2_map());
  for (unsigned i = 0; i < SCENES; ++i) {
    const Scene* const what = &scenes[i];
    const Scene* const before = i ? what - 1 : NULL;
    if (!before || before->frames != what->frames || before->rolling != what->rolling ||
        before->paced != what->paced) {
      print_head(what);
    }
    play(what, medians[i]);
  }
  const double peer_ns = medians[BAR][RECORD].ns[PEER];
  printf("\nBar: within %.1f times the passthru at 10 events a block, 256 frames.\n", BAR_RATIO);
  print_bar("10 recorded", medians[BAR][RECORD].ns[OURS], peer_ns);
  print_bar("10 replayed", medians[BAR][REPLAY].ns[OURS], medians[BAR][REPLAY].ns[PEER]);
  print_bar("5 recorded, 5 replayed", medians[HALF_BAR][OVERDUB].ns[OURS],
            medians[HALF_BAR][OVERDUB].ns[PEER]);
  print_bar("10 recorded, 10 replayed", medians[BAR][OVERDUB].ns[OURS], peer_ns);
  return 0;
}
