/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What a recording writes to the disk: 50 events a second, in real time, through
 * the plugin and its worker, on a file system of its own whose device counts. All
 * that comes along is in it: LMDB's pages and the file system's journal.
 *
 * HR_BENCH_SECONDS says for how long (60 seconds; 600 are the bar's). */

#include "bench/bench.h"
#include "bench/disk.h"
#include "bench/lv2_plugin.h"
#include "store/store.h"

#include <lv2/midi/midi.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { RATE = 48000, FRAMES = 256, EVENTS_A_SECOND = 50, DISK_MEGABYTES = 512 };

#define BAR_KIB 64.0

static Lv2Plugin plugin;
static uint64_t played;

static void wait_until(const struct timespec* begun, uint64_t frame)
{
  struct timespec due = *begun;
  const uint64_t ns = (uint64_t)due.tv_nsec + frame % RATE * 1000000000 / RATE;
  due.tv_sec += (time_t)(frame / RATE + ns / 1000000000);
  due.tv_nsec = (long)(ns % 1000000000);
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL)) {
  }
}

/** Notes begin and end in turn. */
static void play_what_is_due(uint64_t frame)
{
  const LV2_URID midi_event = lv2_urid(LV2_MIDI__MidiEvent);
  lv2_clear_input(plugin.in);
  while (played * RATE / EVENTS_A_SECOND < frame + FRAMES) {
    const uint8_t bytes[3] = {played % 2 ? 0x80 : 0x90, (uint8_t)(36 + played / 2 % 48), 100};
    const int64_t offset = (int64_t)(played * RATE / EVENTS_A_SECOND - frame);
    lv2_add_event(plugin.in, offset, midi_event, bytes, sizeof bytes);
    ++played;
  }
}

static void record(unsigned seconds)
{
  struct timespec begun;
  clock_gettime(CLOCK_MONOTONIC, &begun);
  played = 0;
  for (uint64_t frame = 0; frame < (uint64_t)seconds * RATE; frame += FRAMES) {
    wait_until(&begun, frame);
    play_what_is_due(frame);
    lv2_clear_output(plugin.out);
    lilv_instance_run(plugin.instance, FRAMES);
    worker_after_run(plugin.worker, FRAMES);
  }
}

/** What is not in the store has not been written. */
static uint64_t events_in_store(void)
{
  HrStore* store;
  HrTxn* txn;
  HrTree tree;
  HrBranch branch;
  bench_require(!hr_store_open(getenv("HR_STORE"), HR_STORE_READ_ONLY, &store, NULL) &&
                    !hr_txn_begin(store, HR_READ, &txn) && !hr_tree_next(txn, 0, &tree) &&
                    !hr_branch_get(txn, tree.root, &branch),
                "The recording cannot be read.");
  hr_txn_abort(txn);
  hr_store_close(store);
  return branch.event_count;
}

int main(void)
{
  enum { WARM_UP_SECONDS = 3 };
  const char* const wish = getenv("HR_BENCH_SECONDS");
  const unsigned seconds = wish ? (unsigned)strtoul(wish, NULL, 10) : 60;
  bench_require(seconds, "HR_BENCH_SECONDS must be a number of seconds.");
  bench_begin("What a recording writes to the disk");
  if (!disk_make(DISK_MEGABYTES)) {
    printf("Not measured: only root can mount a disk of its own.\n");
    return 0;
  }
  setenv("HR_STORE", disk_path("recorded.hr"), 1);
  lv2_plugin_load(&plugin, "urn:halfremembered:recorder", HR_TEST_BUNDLE, true);
  *lv2_plugin_control(&plugin, "record") = 1.0f;
  record(WARM_UP_SECONDS); // The store is made, the first pages are
  const uint64_t before = disk_written();
  record(seconds);
  const double written = (double)(disk_written() - before);
  lv2_plugin_unload(&plugin);
  bench_require(events_in_store() >= played, "Not everything was recorded.");
  const double kib = written / 1024 / seconds;
  printf("%u events a second for %u s: %.1f KiB/s written to the device, %.0f bytes an event\n",
         EVENTS_A_SECOND, seconds, kib, written / (double)played);
  bench_data("disk", "50 events a second", "written", "KiB/s", (BenchSpread){kib, kib, kib});
  printf("Bar: at most %.0f KiB/s. %s\n", BAR_KIB, kib <= BAR_KIB ? "Met." : "Missed.");
  return 0;
}
