/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file rig.h
 * An engine and its session without a host around them: blocks are run one by
 * one, the session works after each, and what comes out is kept. One thread. */

#ifndef HR_TESTS_RIG_H
#define HR_TESTS_RIG_H

#include "plugin/command.h"
#include "plugin/engine.h"
#include "plugin/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RIG_RATE 48000

typedef struct {
  int64_t frame; ///< From the rig's start
  uint32_t size;
  uint8_t bytes[4]; ///< The first of them
} RigEvent;

typedef struct {
  HrEngine* engine;
  HrSession* session;
  uint32_t block;  ///< Frames a block
  int64_t now;     ///< First frame of the next block
  RigEvent* input; ///< To come, in order
  size_t input_count, input_next, input_room;
  RigEvent* output;
  size_t output_count, output_room;
  bool rolling;
  int64_t host_frame;
  double tempo;
  float beats_per_bar;
  double speed; ///< Of the host's transport while it rolls
  bool tell;    ///< Send the position with the next block
  bool idle;    ///< The session does not work: what is captured waits
  char error[400];
} Rig;

static inline bool rig_write(void* handle, uint32_t frame, const uint8_t* bytes, uint32_t size)
{
  Rig* const rig = handle;
  if (rig->output_count == rig->output_room) {
    rig->output_room = rig->output_room ? 2 * rig->output_room : 1024;
    rig->output = realloc(rig->output, rig->output_room * sizeof *rig->output);
  }
  RigEvent* const event = &rig->output[rig->output_count++];
  *event = (RigEvent){.frame = rig->now + frame, .size = size};
  memcpy(event->bytes, bytes, size < 4 ? size : 4);
  return true;
}

static inline bool rig_open(Rig* rig, const HrAttachment* where)
{
  *rig = (Rig){.block = 256, .tempo = 120.0, .beats_per_bar = 4.0f, .speed = 1.0};
  rig->engine = hr_engine_new(RIG_RATE);
  rig->session = hr_session_new(rig->engine, NULL);
  HrError error = {HR_OK, ""};
  const HrStatus status = hr_session_attach(rig->session, where, &error);
  if (status) {
    fprintf(stderr, "%s\n", error.text);
  }
  hr_engine_activate(rig->engine);
  return !status;
}

static inline void rig_close(Rig* rig)
{
  hr_session_free(rig->session);
  hr_engine_free(rig->engine);
  free(rig->input);
  free(rig->output);
}

/** Play a message at a frame from now. */
static inline void rig_play(Rig* rig, int64_t in_frames, uint8_t status, uint8_t first,
                            uint8_t second)
{
  if (rig->input_next == rig->input_count) {
    rig->input_next = rig->input_count = 0;
  }
  if (rig->input_count == rig->input_room) {
    rig->input_room = rig->input_room ? 2 * rig->input_room : 1024;
    rig->input = realloc(rig->input, rig->input_room * sizeof *rig->input);
  }
  size_t at = rig->input_count++;
  for (; at > rig->input_next && rig->input[at - 1].frame > rig->now + in_frames; --at) {
    rig->input[at] = rig->input[at - 1];
  }
  const uint32_t size = (status & 0xe0) == 0xc0 ? 2 : 3; // Program and channel pressure
  rig->input[at] = (RigEvent){rig->now + in_frames, size, {status, first, second, 0}};
}

static inline void rig_run_block(Rig* rig, uint32_t frames)
{
  hr_engine_begin(rig->engine, frames, true, (HrSink){rig_write, rig});
  if (rig->tell) {
    const HrPosition position = {.has = HR_HAS_FRAME | HR_HAS_SPEED | HR_HAS_TEMPO |
                                        HR_HAS_BEATS_PER_BAR | HR_HAS_BEAT_UNIT,
                                 .frame = rig->host_frame,
                                 .speed = rig->rolling ? rig->speed : 0.0,
                                 .tempo = rig->tempo,
                                 .beats_per_bar = rig->beats_per_bar,
                                 .beat_unit = 4};
    hr_engine_position(rig->engine, 0, &position);
    rig->tell = false;
  }
  while (rig->input_next < rig->input_count &&
         rig->input[rig->input_next].frame < rig->now + frames) {
    const RigEvent* const event = &rig->input[rig->input_next++];
    hr_engine_midi(rig->engine, (uint32_t)(event->frame - rig->now), event->bytes, event->size);
  }
  hr_engine_end(rig->engine);
  rig->now += frames;
  rig->host_frame += rig->rolling ? (int64_t)(frames * rig->speed) : 0;
  if (!rig->idle && hr_engine_wants_work(rig->engine, true)) {
    hr_session_work(rig->session);
  }
}

static inline void rig_run(Rig* rig, int64_t frames)
{
  while (frames > 0) {
    const uint32_t block = frames < rig->block ? (uint32_t)frames : rig->block;
    rig_run_block(rig, block);
    frames -= block;
  }
}

static inline void rig_transport(Rig* rig, bool rolling, int64_t host_frame)
{
  rig->rolling = rolling;
  rig->host_frame = host_frame;
  rig->tell = true;
}

static inline HrStatus rig_command(Rig* rig, const char* verb, const HrValue* args, size_t count)
{
  HrError error = {HR_OK, ""};
  const HrStatus status = hr_command_run(rig->session, verb, args, count, "test", NULL, &error);
  snprintf(rig->error, sizeof rig->error, "%s", error.text);
  return status;
}

static inline HrStatus rig_say(Rig* rig, const char* verb, const char* text)
{
  const HrValue value = hr_value_text(text);
  return rig_command(rig, verb, &value, text ? 1 : 0);
}

#endif
