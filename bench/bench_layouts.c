/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Our event and node beside other ways to lay out bytes that are used where they
 * lie (layouts/layouts.h). The same music is written in each of them, in messages
 * that fit a page of the store as our nodes do, and then, where a layout can, in
 * one message. Turn by turn, each has to itself:
 *
 *   build      the music is written, from an array of structs
 *   validate   what it takes before bytes of unknown origin may be read
 *   scan       every event's tick and bytes are summed up; ours verified includes
 *              the checksums, the others' validation is not in it
 *   seek       the first event at or after a tick anywhere in the music: its page
 *              is found in an array of the pages' first ticks, the same for all;
 *              there each searches as it can
 *   damage     how many of a page's bits, flipped one at a time, validation notices
 *
 * The bytes are in memory, and are more than the caches hold. Every sum and every
 * tick found is compared with the music, and none may take a message cut short. */

#include "bench/bench.h"
#include "bench/layouts/layouts.h"
#include "store/format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
  EVENTS = 1 << 24,
  TICKS_APART = 500, ///< At the most: so all of the music's ticks fit an offset of 32 bits
  ROOM_AN_EVENT = 32,
  PAGE_HEADER = HR_PAGE_SIZE - HR_NODE_SIZE, ///< LMDB's
  TURNS = 5,
  SEEKS = 4000, ///< Of each in one turn, unless SEEK_SECONDS are over
};

#define SEEK_SECONDS 0.5

const LayoutNode layout_node = {
    .wall_clock_ns = 1767225600000000000, .tempo = 120.0, .beats_per_bar = 4, .beat_unit = 4};

typedef struct {
  int64_t first_tick;
  size_t at; ///< Where in `buffer` its message is
  size_t size;
} Page;

static LayoutEvent* music;
static uint64_t music_sum;
static uint8_t* buffer;
static Page* pages;
static size_t page_count;

/** What a layout did, turn by turn. */
typedef struct {
  const Layout* layout;
  bool whole; ///< In one message
  char name[64];
  double bytes;   ///< In all
  double noticed; ///< Of the first page's bits, per cent
  double build[TURNS], validate[TURNS], scan[TURNS], gigabytes[TURNS];
  BenchTimes seeks;
} Contender;

/* ---- The music ---------------------------------------------------------------- */

static uint64_t random_number(void)
{
  static uint64_t state = 88172645463325252u;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

static void* allocate(size_t size)
{
  void* const memory =
      mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  bench_require(memory != MAP_FAILED, "Out of memory.");
  return memory;
}

/** Notes begin and end, with controllers and pressure among them: uneven in time
 * and order, or a reader's branches would be foreseen. */
static void compose(void)
{
  int64_t tick = 0;
  music = allocate(EVENTS * sizeof *music);
  for (size_t i = 0; i < EVENTS; ++i) {
    static const uint8_t kinds[8] = {0x90, 0x80, 0x90, 0x80, 0x90, 0x80, 0xb0, 0xd0};
    const uint64_t random = random_number();
    const uint8_t status = kinds[random % 8];
    const uint8_t length = status == 0xd0 ? 2 : 3;
    music[i] = (LayoutEvent){tick, length, {status, random >> 8 & 0x7f, 0}};
    music[i].bytes[2] = length == 3 ? random >> 16 & 0x7f : 0;
    music_sum += layout_sum(tick, length, music[i].bytes[0], music[i].bytes[1], music[i].bytes[2]);
    tick += (int64_t)(random >> 32) % TICKS_APART;
  }
  bench_require(tick < UINT32_MAX, "The music is too long for offsets of 32 bits.");
}

static int64_t music_tick_at(const void* events, size_t index)
{
  return ((const LayoutEvent*)events)[index].tick;
}

static int64_t music_at_or_after(int64_t tick)
{
  const size_t at = layout_find(music, EVENTS, tick, music_tick_at);
  return at < EVENTS ? music[at].tick : INT64_MAX;
}

/* ---- What is done to each -------------------------------------------------------- */

static double seconds_since(uint64_t begun)
{
  return bench_ns((double)(bench_clock() - begun)) / 1e9;
}

/** Write all of the music; returns the bytes it takes. */
static size_t build(const Contender* one)
{
  const size_t room = one->whole ? (size_t)EVENTS * ROOM_AN_EVENT - PAGE_HEADER : HR_NODE_SIZE;
  size_t at = 0;
  page_count = 0;
  for (size_t done = 0; done < EVENTS;) {
    Page* const page = &pages[page_count++];
    *page = (Page){music[done].tick, at + PAGE_HEADER, 0};
    const size_t taken =
        one->layout->make(music + done, EVENTS - done, buffer + page->at, room, &page->size);
    bench_require(taken && page->size <= room, "A message has no room.");
    done += taken;
    at += one->whole ? page->size : HR_PAGE_SIZE;
  }
  bench_require(!one->whole || page_count == 1, "The music is not in one message.");
  return at;
}

static bool validate(const Layout* layout)
{
  bool valid = true;
  for (size_t i = 0; i < page_count; ++i) {
    valid &= layout->validate(buffer + pages[i].at, pages[i].size);
  }
  return valid;
}

static uint64_t scan(const Layout* layout)
{
  uint64_t sum = 0;
  for (size_t i = 0; i < page_count; ++i) {
    sum += layout->scan(buffer + pages[i].at, pages[i].size);
  }
  return sum;
}

static int64_t page_tick_at(const void* all, size_t index)
{
  return ((const Page*)all)[index].first_tick;
}

/** In the last page that begins before `tick`; if all there is before it, where the
 * next begins. */
static int64_t seek(const Layout* layout, int64_t tick)
{
  const size_t next = layout_find(pages, page_count, tick, page_tick_at);
  const Page* const page = &pages[next ? next - 1 : 0];
  const int64_t found = layout->seek(buffer + page->at, page->size, tick);
  return found < INT64_MAX || next == page_count ? found : pages[next].first_tick;
}

/* ---- Measuring --------------------------------------------------------------------- */

static void measure_build(Contender* one, unsigned turn)
{
  const uint64_t begun = bench_clock();
  one->bytes = (double)build(one);
  one->build[turn] = EVENTS / seconds_since(begun) / 1e6;
}

static void measure_validate(Contender* one, unsigned turn)
{
  const uint64_t begun = bench_clock();
  const bool valid = validate(one->layout);
  one->validate[turn] = seconds_since(begun) / EVENTS * 1e9;
  bench_require(valid, "A layout does not take what it wrote itself.");
  bench_require(!one->layout->validate(buffer + pages[0].at, pages[0].size - 8),
                "A layout takes a message that was cut short.");
}

static void measure_scan(Contender* one, unsigned turn)
{
  const uint64_t begun = bench_clock();
  const uint64_t sum = scan(one->layout);
  const double seconds = seconds_since(begun);
  bench_require(sum == music_sum, "A scan does not see the music as it is.");
  one->scan[turn] = EVENTS / seconds / 1e6;
  one->gigabytes[turn] = one->bytes / seconds / 1e9;
}

static void measure_seeks(Contender* one)
{
  const uint64_t all_begun = bench_clock();
  for (unsigned i = 0; i < SEEKS && seconds_since(all_begun) < SEEK_SECONDS; ++i) {
    const int64_t tick = (int64_t)(random_number() % (uint64_t)music[EVENTS - 1].tick);
    const uint64_t begun = bench_clock();
    const int64_t found = seek(one->layout, tick);
    bench_times_add(&one->seeks, bench_clock() - begun);
    bench_require(found == music_at_or_after(tick), "A seek does not find its event.");
  }
}

/** How many of a page's bits, flipped one at a time, does validation notice? */
static void measure_damage(Contender* one)
{
  uint8_t* const bytes = buffer + pages[0].at;
  const size_t bits = 8 * pages[0].size;
  size_t noticed = 0;
  for (size_t i = 0; i < bits; ++i) {
    bytes[i / 8] ^= (uint8_t)(1u << i % 8);
    noticed += !one->layout->validate(bytes, pages[0].size);
    bytes[i / 8] ^= (uint8_t)(1u << i % 8);
  }
  one->noticed = 100.0 * (double)noticed / (double)bits;
}

static void measure(Contender* one, unsigned turn)
{
  measure_build(one, turn);
  measure_validate(one, turn);
  measure_scan(one, turn);
  measure_seeks(one);
  if (!turn && !one->whole) {
    measure_damage(one);
  }
}

/* ---- Showing ------------------------------------------------------------------------ */

static void show(Contender* one)
{
  const double size = one->bytes / EVENTS;
  const BenchSpread scanned = bench_spread(one->scan, TURNS);
  const BenchSpread gigabytes = bench_spread(one->gigabytes, TURNS);
  const BenchSpread validated = bench_spread(one->validate, TURNS);
  const BenchSpread built = bench_spread(one->build, TURNS);
  bench_times_sort(&one->seeks);
  const BenchSpread sought = bench_times_spread(&one->seeks);
  printf("%-33s %6.2f %5.0f (%4.0f to %4.0f) %5.2f %10.0f (%8.0f) %6.3f (%6.3f to %6.3f) "
         "%5.0f (%4.0f to %4.0f)",
         one->name, size, scanned.median, scanned.least, scanned.most, gigabytes.median,
         sought.median, sought.most, validated.median, validated.least, validated.most,
         built.median, built.least, built.most);
  if (!one->whole) {
    printf(" %6.2f  %s", one->noticed,
           one->layout->package ? bench_package_version(one->layout->package) : "");
    bench_data("layouts", one->name, "flipped bits noticed", "%",
               (BenchSpread){one->noticed, one->noticed, one->noticed});
  }
  printf("\n");
  bench_data("layouts", one->name, "size", "bytes/event", (BenchSpread){size, size, size});
  bench_data("layouts", one->name, "scan", "million events/s", scanned);
  bench_data("layouts", one->name, "scan", "GB/s", gigabytes);
  bench_data("layouts", one->name, "seek", "ns", sought);
  bench_data("layouts", one->name, "validate", "ns/event", validated);
  bench_data("layouts", one->name, "build", "million events/s", built);
  bench_times_free(&one->seeks);
}

enum { LAYOUTS = 10 };

static const Layout* const layouts[LAYOUTS] = {&layout_ours,
                                               &layout_ours_checked,
                                               &layout_struct,
                                               &layout_sbe,
                                               &layout_lv2_atom,
                                               &layout_midi_track,
                                               &layout_flatbuffers_structs,
                                               &layout_flatbuffers_tables,
                                               &layout_capnproto,
                                               &layout_rkyv};

static Contender contenders[2 * LAYOUTS];
static unsigned contender_count;

static void enter(const Layout* layout, bool whole)
{
  Contender* const one = &contenders[contender_count++];
  one->layout = layout;
  one->whole = whole;
  snprintf(one->name, sizeof one->name, "%s%s", layout->name, whole ? ", one message" : "");
  bench_times_begin(&one->seeks, (size_t)TURNS * SEEKS);
}

int main(void)
{
  bench_begin("An event and a node in several layouts");
  compose();
  buffer = allocate((size_t)EVENTS * ROOM_AN_EVENT);
  pages = allocate((size_t)EVENTS * ROOM_AN_EVENT / HR_PAGE_SIZE * sizeof *pages);
  for (unsigned i = 0; i < 2 * LAYOUTS; ++i) {
    const Layout* const layout = layouts[i % LAYOUTS];
    if (i < LAYOUTS || layout->boundless) {
      enter(layout, i >= LAYOUTS);
    }
  }
  for (unsigned turn = 0; turn < TURNS; ++turn) {
    for (unsigned i = 0; i < contender_count; ++i) {
      measure(&contenders[(turn + i) % contender_count], turn);
    }
  }
  printf("%u short events, in messages of a page and in one, %u turns\n", EVENTS, TURNS);
  printf("%-33s %6s %26s %21s %25s %20s %6s\n", "", "bytes/", "scan, million events/s,", "seek, ns",
         "validate,", "build,", "bits");
  printf("%-33s %6s %26s %21s %25s %20s %6s\n", "", "event", "GB/s", "median (99 %)", "ns/event",
         "million events/s", "noticed, %");
  for (unsigned i = 0; i < contender_count; ++i) {
    show(&contenders[i]);
  }
  printf("rkyv compiled by rustc %s\n", bench_package_version("rustc"));
  return 0;
}
