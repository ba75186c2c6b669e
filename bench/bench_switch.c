/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* From the OSC packet to the first changed output: how long a musician waits
 * who taps another branch on a tablet, quantum "now".
 *
 * Two branches, "a" and "b", are recorded first: five minutes of twenty notes a second
 * each over a held one, on a channel of its own. Then a host's audio thread runs
 * the plugin in real time, 64 frames a block, while one of them is replayed and
 * twenty notes a second are played in on a third channel. At random moments
 * `/hr/1/switch` is sent from a UDP socket. The time is from just before sendto()
 * until run() returns that put out the first event of the other branch: as a
 * note is held, its chase sends one at once. On average half a block of it is
 * waiting for the next block.
 *
 *   liblo      No plugin: a bare liblo server thread of this process that sends each
 *              message back, to know what loopback and a thread's waking take.
 *   ping       No switch: the answer to /hr/ping, to know what waking the OSC
 *              thread and coming back takes.
 *   thru       What is played is not recorded (record off).
 *   overdub    What is played and what is replayed is recorded; so each switch is
 *              followed by a fork, and finds events that are not in the store yet.
 *   cold       Overdub, with nothing of the store in memory: before each switch
 *              its pages are taken out of this process and the page cache is
 *              dropped. Only as root.
 *
 * "answer" is the time until the answer to the command is in: the command is done by then,
 * and only the next block is missing. */

#include "bench/bench.h"
#include "bench/lv2_plugin.h"
#include "osc/writer.h"

#include <lo/lo.h>
#include <lv2/atom/util.h>
#include <lv2/midi/midi.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define OUR_URI    "urn:halfremembered:recorder"
#define STORE_NAME "switch.hr"

enum {
  RATE = 48000,
  BLOCK = 64,
  NOTE_FRAMES = RATE / 20, ///< From one note to the next
  RECORDED_PAUSE_US = 300, ///< For the worker, after each
  RECORDED_BLOCK = 2400,   ///< While branches are recorded, not in real time
  RECORDED_FRAMES = 300 * RATE,
  PLAYED_CHANNEL = 2,
  PATIENCE_MS = 2000, ///< For an answer, and for the other branch to be heard
  WARM_SWITCHES = 1000,
  COLD_SWITCHES = 100,
};

#define BAR_MS (1e3 * BLOCK / RATE + 1.0)

static Lv2Plugin plugin;
static LV2_URID midi_event;
static int client; ///< Socket, connected to the plugin's
static uint64_t frame;

/* Between the audio thread and this one. */
static atomic_bool playing;       ///< Twenty notes a second
static atomic_bool finished;      ///< The audio thread ends
static atomic_int listen_for;     ///< Channel whose first event is waited for; -1: none
static _Atomic uint64_t heard_at; ///< bench_clock() when it was put out; 0: not yet
static atomic_bool realtime;      ///< The audio thread was given its priority

/* ---- The host ---------------------------------------------------------------- */

static void add_note(uint32_t at, unsigned channel, bool on, unsigned key)
{
  const uint8_t bytes[3] = {(uint8_t)((on ? 0x90u : 0x80u) | channel), (uint8_t)key, 100};
  lv2_add_event(plugin.in, at, midi_event, bytes, sizeof bytes);
}

/** Twenty notes a second, each half as long, in the next `frames`. */
static void add_notes(uint32_t frames, unsigned channel)
{
  for (uint32_t at = 0; at < frames; ++at) {
    const uint64_t phase = (frame + at) % NOTE_FRAMES;
    const unsigned key = 60 + (unsigned)((frame + at) / NOTE_FRAMES % 24);
    if (phase == 0 || phase == NOTE_FRAMES / 2) {
      add_note(at, channel, phase == 0, key);
    }
  }
}

static bool puts_out_channel(int channel)
{
  LV2_ATOM_SEQUENCE_FOREACH(&plugin.out->sequence, event)
  {
    const uint8_t* const bytes = (const uint8_t*)(event + 1);
    if (event->body.type == midi_event && (bytes[0] & 0xf0) == 0x90 &&
        (bytes[0] & 0x0f) == channel) {
      return true;
    }
  }
  return false;
}

/** Run a block with what is in the input, and empty that. */
static void run_block(uint32_t frames)
{
  lv2_clear_output(plugin.out);
  lilv_instance_run(plugin.instance, frames);
  const uint64_t done = bench_clock();
  const int channel = atomic_load(&listen_for);
  if (channel >= 0 && puts_out_channel(channel)) {
    atomic_store(&listen_for, -1);
    atomic_store(&heard_at, done);
  }
  worker_after_run(plugin.worker, frames);
  lv2_clear_input(plugin.in);
  frame += frames;
}

static void* audio(void* unused)
{
  const struct sched_param parameters = {.sched_priority = 70};
  struct timespec due;
  (void)unused;
  atomic_store(&realtime, !pthread_setschedparam(pthread_self(), SCHED_FIFO, &parameters));
  clock_gettime(CLOCK_MONOTONIC, &due);
  while (!atomic_load(&finished)) {
    due.tv_nsec += INT64_C(1000000000) * BLOCK / RATE;
    due.tv_sec += due.tv_nsec / 1000000000;
    due.tv_nsec %= 1000000000;
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL)) {
    }
    if (atomic_load(&playing)) {
      add_notes(BLOCK, PLAYED_CHANNEL);
    }
    run_block(BLOCK);
  }
  return NULL;
}

/* ---- The controller ----------------------------------------------------------- */

static void sleep_us(long us)
{
  const struct timespec time = {us / 1000000, us % 1000000 * 1000};
  nanosleep(&time, NULL);
}

static void send_packet(void* data, const uint8_t* bytes, size_t size)
{
  const int* const to = data;
  bench_require(send(*to, bytes, size, 0) == (ssize_t)size, "The OSC packet cannot be sent.");
}

/** Send a message; `argument` NULL: without one. Returns the time just before. */
static uint64_t send_message(int* to, const char* address, const HrValue* argument)
{
  HrOscWriter writer;
  hr_osc_writer_init(&writer, send_packet, to);
  hr_osc_write(&writer, address, argument, argument ? 1 : 0);
  const uint64_t now = bench_clock();
  hr_osc_writer_flush(&writer);
  return now;
}

static uint64_t send_command(const char* address, const HrValue* argument)
{
  return send_message(&client, address, argument);
}

/** Take the answer in, if it comes within `ms`; an error ends the program. */
static bool take_answer(int ms)
{
  struct pollfd descriptor = {.fd = client, .events = POLLIN};
  char bytes[HR_OSC_DATAGRAM_MAX];
  while (poll(&descriptor, 1, ms) == 1) {
    const ssize_t size = recv(client, bytes, sizeof bytes, 0);
    bench_require(size > 0, "The plugin does not listen.");
    bench_require(!memmem(bytes, (size_t)size, "/error", 6), "A command was refused.");
    if (memmem(bytes, (size_t)size, "ok\0", 3)) {
      return true;
    }
  }
  return false;
}

/** Do a command and wait until it is answered and a block was run since; `run`:
 * there is no audio thread yet to run any. */
static void command(const char* address, const HrValue* argument, bool run)
{
  send_command(address, argument);
  for (unsigned i = 0; !take_answer(1); ++i) {
    bench_require(i < PATIENCE_MS, "A command was not answered.");
  }
  if (run) {
    run_block(BLOCK);
  } else {
    sleep_us(20000);
  }
}

static void command_text(const char* address, const char* text, bool run)
{
  const HrValue value = hr_value_text(text);
  command(address, &value, run);
}

static void command_number(const char* address, int64_t number, bool run)
{
  const HrValue value = hr_value_integer(number);
  command(address, &value, run);
}

static int connect_to(unsigned port)
{
  const struct sockaddr_in server = {.sin_family = AF_INET,
                                     .sin_port = htons((uint16_t)port),
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  const int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  bench_require(!connect(descriptor, (const struct sockaddr*)&server, sizeof server),
                "The OSC address cannot be reached.");
  return descriptor;
}

static void connect_client(void)
{
  char name[4200];
  unsigned port = 0;
  snprintf(name, sizeof name, "%s/halfremembered/osc-%ld.url", getenv("XDG_RUNTIME_DIR"),
           (long)getpid());
  FILE* const file = fopen(name, "r");
  bench_require(file && fscanf(file, "osc.udp://127.0.0.1:%u/", &port) == 1,
                "The plugin does not tell its OSC address.");
  fclose(file);
  client = connect_to(port);
}

/* ---- The music ---------------------------------------------------------------- */

static void record_branch(unsigned channel)
{
  add_note(0, channel, true, 36);
  for (uint64_t done = 0; done < RECORDED_FRAMES; done += RECORDED_BLOCK) {
    if (done) { // Not in the block of the held note, whose frame would be passed
      add_notes(RECORDED_BLOCK, channel);
    }
    run_block(RECORDED_BLOCK);
    usleep(RECORDED_PAUSE_US);
  }
  add_note(0, channel, false, 36);
  run_block(RECORDED_BLOCK);
}

/** Both fork from a first note. */
static void record_branches(void)
{
  add_note(0, 0, true, 60);
  run_block(RECORDED_BLOCK);
  add_note(0, 0, false, 60);
  run_block(RECORDED_BLOCK);
  command_text("/hr/1/quantum", "now", true);
  command_text("/hr/1/fork", "a", true);
  record_branch(0);
  command_text("/hr/1/switch", "main", true);
  command_text("/hr/1/fork", "b", true);
  record_branch(1);
}

/** Replay "a" from where both branches have begun. */
static void start(bool record)
{
  atomic_store(&playing, false);
  command("/hr/1/stop", NULL, false);
  command_number("/hr/1/record", record, false);
  command_number("/hr/1/overdub", record, false);
  command_text("/hr/1/switch", "a", false);
  command_number("/hr/1/replay/at", 3, false);
  sleep_us(100000);
  atomic_store(&playing, true);
  sleep_us(200000);
}

/* ---- A cold store ------------------------------------------------------------- */

/** The store's mapping in this process. */
typedef struct {
  uint8_t* start;
  size_t size; ///< Of the part that the file fills
} Mapping;

static Mapping store_mapping(void)
{
  char line[4600];
  const char* const store = bench_path(STORE_NAME);
  Mapping found = {NULL, 0};
  FILE* const maps = fopen("/proc/self/maps", "r");
  while (maps && !found.start && fgets(line, sizeof line, maps)) {
    const char* const path = strchr(line, '/');
    void* begin = NULL;
    if (path && !strncmp(path, store, strlen(store)) && sscanf(line, "%p", &begin) == 1) {
      found.start = begin;
    }
  }
  if (maps) {
    fclose(maps);
  }
  struct stat info;
  bench_require(found.start && !stat(store, &info), "The store's mapping is not found.");
  found.size = (size_t)info.st_size;
  return found;
}

/** Pages of the mapping in memory. */
static size_t resident(const Mapping* mapping)
{
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  const size_t pages = (mapping->size + page - 1) / page;
  unsigned char* const in_memory = calloc(pages, 1);
  size_t count = 0;
  bench_require(in_memory && !mincore(mapping->start, mapping->size, in_memory),
                "The store's pages cannot be counted.");
  for (size_t i = 0; in_memory && i < pages; ++i) {
    count += in_memory[i] & 1;
  }
  free(in_memory);
  return count;
}

/** Take the store out of memory; false if that is not allowed. Pages that this
 * process maps survive the dropping of caches: so they are let go of first. */
static bool drop_caches(size_t* pages_left)
{
  const int file = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
  if (file < 0) {
    return false;
  }
  const Mapping mapping = store_mapping();
  madvise(mapping.start, mapping.size, MADV_DONTNEED);
  const bool dropped = write(file, "3", 1) == 1;
  close(file);
  *pages_left = resident(&mapping);
  return dropped;
}

/* ---- Measuring ---------------------------------------------------------------- */

static void print_head(void)
{
  printf("%-10s %8s %29s %29s\n", "", "", "until heard, ms", "until answered, ms");
  printf("%-10s %8s", "", "switches");
  for (unsigned i = 0; i < 2; ++i) {
    printf(" %9s %9s %9s", "median", "99 %", "worst");
  }
  putchar('\n');
}

static void print_times(BenchTimes* times)
{
  bench_times_sort(times);
  printf(" %9.3f %9.3f %9.3f", bench_times_ns(times, 0.5) / 1e6, bench_times_ns(times, 0.99) / 1e6,
         bench_times_ns(times, 1.0) / 1e6);
}

/** Print the times of round trips, which end with the answer. */
static void print_round_trips(const char* name, BenchTimes* answered)
{
  printf("%-10s %8zu %29s", name, answered->count, "");
  print_times(answered);
  putchar('\n');
  bench_times_free(answered);
}

static int echo(const char* path, const char* types, lo_arg** values, int count, lo_message message,
                void* server)
{
  (void)types;
  (void)values;
  (void)count;
  return lo_send_message_from(lo_message_get_source(message), server, path, message);
}

static void measure_liblo(void)
{
  BenchTimes answered = {0};
  char bytes[HR_OSC_DATAGRAM_MAX];
  lo_server_thread thread = lo_server_thread_new(NULL, NULL);
  bench_require(thread, "liblo's server cannot be started.");
  lo_server_thread_add_method(thread, NULL, NULL, echo, lo_server_thread_get_server(thread));
  lo_server_thread_start(thread);
  int bare = connect_to((unsigned)lo_server_thread_get_port(thread));
  bench_times_begin(&answered, WARM_SWITCHES);
  for (unsigned i = 0; i < WARM_SWITCHES; ++i) {
    sleep_us(20000 + random() % 10000);
    const uint64_t begun = send_message(&bare, "/echo", NULL);
    bench_require(recv(bare, bytes, sizeof bytes, 0) > 0, "liblo did not answer.");
    bench_times_add(&answered, bench_clock() - begun);
  }
  close(bare);
  lo_server_thread_stop(thread);
  lo_server_thread_free(thread);
  print_round_trips("liblo", &answered);
}

static void measure_ping(void)
{
  BenchTimes answered = {0};
  bench_times_begin(&answered, WARM_SWITCHES);
  for (unsigned i = 0; i < WARM_SWITCHES; ++i) {
    sleep_us(20000 + random() % 10000);
    const uint64_t begun = send_command("/hr/ping", NULL);
    bench_require(take_answer(PATIENCE_MS), "A ping was not answered.");
    bench_times_add(&answered, bench_clock() - begun);
  }
  print_round_trips("ping", &answered);
}

/** Switch to `branch`, of which the first event on `channel` is waited for. */
static void switch_to(const char* branch, int channel, BenchTimes* heard, BenchTimes* answered)
{
  const HrValue value = hr_value_text(branch);
  atomic_store(&heard_at, 0);
  atomic_store(&listen_for, channel);
  const uint64_t begun = send_command("/hr/1/switch", &value);
  bench_require(take_answer(PATIENCE_MS), "A switch was not answered.");
  bench_times_add(answered, bench_clock() - begun);
  for (unsigned i = 0; !atomic_load(&heard_at); ++i) {
    bench_require(i < 10 * PATIENCE_MS, "The other branch was not heard.");
    sleep_us(100);
  }
  bench_times_add(heard, atomic_load(&heard_at) - begun);
}

/** Returns the 99th percentile until heard, in milliseconds. */
static double measure(const char* name, bool record, bool cold)
{
  const unsigned switches = cold ? COLD_SWITCHES : WARM_SWITCHES;
  BenchTimes heard = {0};
  BenchTimes answered = {0};
  size_t pages_left = 0;
  size_t most_left = 0;
  bench_times_begin(&heard, switches);
  bench_times_begin(&answered, switches);
  start(record);
  for (unsigned i = 0; i < switches; ++i) {
    sleep_us(20000 + random() % 40000);
    if (cold && !drop_caches(&pages_left)) {
      printf("%-10s not measured: only root may drop the page cache\n", name);
      break;
    }
    most_left = pages_left > most_left ? pages_left : most_left;
    switch_to(i % 2 ? "a" : "b", i % 2 ? 0 : 1, &heard, &answered);
  }
  double late_ms = 0.0;
  if (heard.count) {
    printf("%-10s %8zu", name, heard.count);
    print_times(&heard);
    print_times(&answered);
    putchar('\n');
    late_ms = bench_times_ns(&heard, 0.99) / 1e6;
  }
  if (heard.count && cold) {
    const Mapping mapping = store_mapping();
    printf("%-10s %8s (at most %zu of %zu pages of the store were still in memory)\n", "", "",
           most_left, mapping.size / (size_t)sysconf(_SC_PAGESIZE));
  }
  bench_times_free(&heard);
  bench_times_free(&answered);
  return late_ms;
}

int main(void)
{
  pthread_t thread;
  bench_begin("From an OSC packet to the first changed output, blocks of 64 frames at 48 kHz");
  setenv("HR_STORE", bench_path(STORE_NAME), 1);
  midi_event = lv2_urid(LV2_MIDI__MidiEvent);
  atomic_store(&listen_for, -1);
  lv2_plugin_load(&plugin, OUR_URI, HR_TEST_BUNDLE, true);
  lv2_clear_input(plugin.in);
  connect_client();
  record_branches();
  bench_require(!pthread_create(&thread, NULL, audio, NULL), "No thread could be started.");
  print_head();
  start(true); // Both have the same music beside them
  measure_liblo();
  measure_ping();
  measure("thru", false, false);
  const double warm_ms = measure("overdub", true, false);
  measure("cold", true, true);
  atomic_store(&finished, true);
  pthread_join(thread, NULL);
  lv2_plugin_unload(&plugin);
  close(client);
  printf("\nThe audio thread had %s priority.\n", atomic_load(&realtime) ? "realtime" : "ordinary");
  printf("Bar: %.2f ms at the 99th percentile of \"overdub\": one block and 1 ms. %s: %.2f ms.\n",
         BAR_MS, warm_ms <= BAR_MS ? "Met" : "Missed", warm_ms);
  return 0;
}
