/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file rig_music.h
 * What tests that play on a rig share: a scratch store under it, notes in, and
 * the music of a branch out of the store. For cmocka programs, after cmocka.h. */

#ifndef HR_TESTS_RIG_MUSIC_H
#define HR_TESTS_RIG_MUSIC_H

#include "tests/rig.h"
#include "tests/scratch.h"

#define assert_ok(call) assert_int_equal((call), HR_OK)

enum { BEAT = RIG_RATE / 2, BAR = 4 * BEAT };

static Rig rig;

static inline HrAttachment place(void)
{
  return (HrAttachment){.store = scratch_path("store.hr")};
}

static inline int setup(void** state)
{
  (void)state;
  if (scratch_make()) {
    return -1;
  }
  const HrAttachment where = place();
  return rig_open(&rig, &where) ? 0 : -1;
}

static inline int teardown(void** state)
{
  (void)state;
  rig_close(&rig);
  scratch_remove();
  return 0;
}

static inline void play_note(int64_t in_frames, uint8_t key, int64_t length)
{
  rig_play(&rig, in_frames, 0x90, key, 100);
  rig_play(&rig, in_frames + length, 0x80, key, 64);
}

/** Play a message of any size, now; in a block of 64 frames. */
static inline void play_message(const uint8_t* bytes, uint32_t size)
{
  hr_engine_begin(rig.engine, 64, true, (HrSink){rig_write, &rig});
  hr_engine_midi(rig.engine, 0, bytes, size);
  hr_engine_end(rig.engine);
  rig.now += 64;
}

static inline HrSessionState state_now(void)
{
  HrSessionState state;
  hr_session_flush(rig.session);
  hr_session_state(rig.session, &state);
  return state;
}

typedef struct {
  HrTick tick[4096];
  uint8_t bytes[4096][3];
  int count;
} Music;

/** The whole path of a branch, as it is in the store. */
static inline Music music_of(const char* name)
{
  static Music music;
  HrStore* store = NULL;
  HrTxn* txn = NULL;
  HrPath path;
  HrEvent event;
  HrBranchId branch;
  const HrSessionState state = state_now();
  assert_ok(hr_store_open(state.store_path, 0, &store, NULL));
  assert_ok(hr_txn_begin(store, HR_READ, &txn));
  assert_ok(hr_branch_find(txn, state.tree, name, &branch));
  assert_ok(hr_path_open(txn, branch, INT64_MIN, &path));
  music.count = 0;
  while (!hr_path_next(&path, &event)) {
    if (event.kind == HR_EVENT_MIDI && music.count < 4096) {
      music.tick[music.count] = event.tick;
      memcpy(music.bytes[music.count++], event.bytes, event.size < 3 ? event.size : 3);
    }
  }
  hr_path_close(&path);
  hr_txn_abort(txn);
  HrVerifyReport report;
  assert_ok(hr_store_verify(store, NULL, NULL, &report));
  assert_int_equal(report.problems, 0);
  hr_store_close(store);
  return music;
}

static inline HrTick ticks(double beats)
{
  return (HrTick)(beats * HR_TICKS_PER_QUARTER);
}

/** Every note-on that came out since `from` has its end. */
static inline void assert_nothing_hangs(size_t from)
{
  int on[16][128] = {{0}};
  for (size_t i = from; i < rig.output_count; ++i) {
    const uint8_t* const bytes = rig.output[i].bytes;
    const int kind = bytes[0] & 0xf0;
    int* const count = &on[bytes[0] & 15][bytes[1] & 127];
    *count += kind == 0x90 && bytes[2] ? 1 : 0;
    *count -= (kind == 0x80 || (kind == 0x90 && !bytes[2])) && *count ? 1 : 0;
  }
  for (int channel = 0; channel < 16; ++channel) {
    for (int key = 0; key < 128; ++key) {
      assert_int_equal(on[channel][key], 0);
    }
  }
}

#endif
