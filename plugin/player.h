/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file player.h
 * Plays a stream: puts its events out in their order, chases the state at its
 * start and at each lap of a loop, and ends what it began.
 *
 * The clock may run straight on while a loop is heard (along a host that
 * rolls). Then the stream's ticks lie `shift` before the clock's, and further
 * with each lap.
 *
 * Every function is HR_REALTIME. */

#ifndef HR_PLAYER_H
#define HR_PLAYER_H

#include "plugin/message.h"
#include "plugin/output.h"
#include "plugin/sounding.h"

typedef struct {
  HrRing* const* rings; ///< HR_STREAMS of them
  HrOutput* output;
  HrStreamStart stream; ///< Being played; ring HR_NO_STREAM: none
  uint64_t position;    ///< Of the next record in its ring
  uint32_t lap;
  HrTick shift;        ///< Clock tick = stream tick + shift, in this lap
  HrTick step;         ///< What each lap adds to it: 0 where the clock goes back
  uint64_t played;     ///< Events so far
  HrSounding sounding; ///< What it started on the output
  HrChase wanted;      ///< The state that the stream asks for
  uint64_t turned;     ///< Messages put out that change more than notes
} HrPlayer;

HR_REALTIME void hr_player_init(HrPlayer* player, HrRing* const* rings, HrOutput* output);

/** Play `stream` from the clock's tick `from` on. `straight`: the clock runs
 * straight on through its loop. What the stream holds before `from` only counts
 * for the state, and for `tempo`. The state is not sent yet. */
HR_REALTIME void hr_player_start(HrPlayer* player, const HrStreamStart* stream, HrTick from,
                                 bool straight, HrTempo* tempo);

HR_REALTIME bool hr_player_plays(const HrPlayer* player);

/** Bring the synthesizer into the state that the stream asks for. */
HR_REALTIME_SELDOM void hr_player_chase(HrPlayer* player, uint32_t frame);

/** End what it started. */
HR_REALTIME void hr_player_release(HrPlayer* player, uint32_t frame);

/** Let go of the stream. What sounds, sounds on. */
HR_REALTIME void hr_player_stop(HrPlayer* player);

/** Let the session use the ring of a stream that is not wanted. */
HR_REALTIME void hr_player_drop(const HrPlayer* player, HrStreamStart* stream);

/** The next record; NULL if nothing is there (yet), or the output is full.
 * `*after` is where the stream goes on. */
HR_REALTIME const HrRecord* hr_player_next(const HrPlayer* player, uint64_t* after);

/** The clock's tick of an event. */
HR_REALTIME HrTick hr_player_tick(const HrPlayer* player, const HrStreamEvent* event);

/** Take the record from the stream: put out what is to be heard. */
HR_REALTIME void hr_player_take(HrPlayer* player, uint32_t frame, const HrRecord* record,
                                uint64_t after);

/** The next lap begins. */
HR_REALTIME void hr_player_lap(HrPlayer* player);

#endif
