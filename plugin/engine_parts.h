/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file engine_parts.h
 * What the files of the engine share: engine.c has its life and the block,
 * engine_record.c what is kept, engine_replay.c what is heard, engine_command.c
 * what the session sends.
 *
 * Every function is HR_REALTIME. */

#ifndef HR_ENGINE_PARTS_H
#define HR_ENGINE_PARTS_H

#include "plugin/engine.h"

/** The longest block of any host, in frames. */
#define HR_BLOCK_MAX 8192.0

/** A frame of the block as one since the start. */
HR_REALTIME static inline int64_t hr_engine_frame(const HrEngine* engine, uint32_t frame)
{
  return engine->block + frame;
}

/** The position at a frame of the block. */
HR_REALTIME static inline HrTick hr_engine_tick(const HrEngine* engine, uint32_t frame)
{
  return hr_clock_tick(&engine->clock, hr_engine_frame(engine, frame));
}

/** The loop of the music that plays; while none does, the one it will have. */
HR_REALTIME static inline const HrLoopMessage* hr_engine_loop(const HrEngine* engine)
{
  return hr_player_plays(&engine->player) ? &engine->player.stream.loop : &engine->loop;
}

/** Replay goes round: the own clock with it; the host's goes straight on. */
HR_REALTIME static inline bool hr_engine_looping(const HrEngine* engine)
{
  return hr_loop_valid(hr_engine_loop(engine)) && engine->replay && engine->clock.running &&
         (!engine->clock.rolling || hr_player_plays(&engine->player));
}

/** The clock's tick of the end of this lap. */
HR_REALTIME static inline HrTick hr_engine_lap_end(const HrEngine* engine)
{
  return hr_engine_loop(engine)->end + (engine->clock.rolling ? engine->player.shift : 0);
}

/* ---- engine.c --------------------------------------------------------------- */

/** Take a message that somebody sends, which is valid: put it out and keep it, now or
 * when the music has come to its place. */
HR_REALTIME void hr_engine_send(HrEngine* engine, const HrSendMessage* message);

/** The music goes on at `tick`: end what sounds of the messages sent, and forget those
 * that were to come before. */
HR_REALTIME void hr_engine_leave_sends(HrEngine* engine, uint32_t frame, HrTick tick);

/* ---- engine_replay.c ------------------------------------------------------ */

/** Send the requests that found no room before. */
HR_REALTIME void hr_engine_send_wishes(HrEngine* engine);

/** Let go of the music, there or asked for. */
HR_REALTIME void hr_engine_play_nothing(HrEngine* engine);

/** The same of what was got ahead. */
HR_REALTIME void hr_engine_forget_ahead(HrEngine* engine);

/** Have the music at hand around `host_place`, where the host will start, or may jump
 * to: it came from there, and a host that loops says so only when it happens. While the own
 * clock is in a loop that is not heard yet, have the loop's start instead. */
HR_REALTIME void hr_engine_look_ahead(HrEngine* engine, HrTick host_place);

/** The branch is another one: what was got ahead is not its music. */
HR_REALTIME void hr_engine_look_ahead_again(HrEngine* engine);

/** Time has gone on: the own clock may have come into a loop, or left it. */
HR_REALTIME void hr_engine_watch_loop(HrEngine* engine);

/** Let go of the music that what is pending will play, there or asked for. */
HR_REALTIME void hr_engine_forget_later(HrEngine* engine);

/** The same, and ask for it anew, if there is time: it is of another loop, place or
 * branch now. */
HR_REALTIME void hr_engine_ask_later(HrEngine* engine);

/** That music has come. */
HR_REALTIME void hr_engine_take_later(HrEngine* engine, HrStreamStart* stream);

/** Ask for what follows from `tick`: it was not foreseen. */
HR_REALTIME void hr_engine_ask(HrEngine* engine, HrTick tick);

/** Play a stream from the tick `from` on, which is now or a little ago; with
 * the clock standing, when that starts. */
HR_REALTIME void hr_engine_play(HrEngine* engine, HrStreamStart* stream, HrTick from);

/** Nothing is replayed any more, and the session is to know. */
HR_REALTIME void hr_engine_replay_is_off(HrEngine* engine);

/** Take the stream's next record, whose time has come. */
HR_REALTIME void hr_engine_play_event(HrEngine* engine, uint32_t frame, const HrRecord* record,
                                      uint64_t after);

/** The position has jumped to `tick`: if the music of there is at hand, play it. */
HR_REALTIME bool hr_engine_play_ahead(HrEngine* engine, HrTick tick);

/** The loop has come to its end: go round. */
HR_REALTIME_SELDOM void hr_engine_end_lap(HrEngine* engine, uint32_t frame);

/* ---- engine_record.c ------------------------------------------------------ */

/** The own clock waits for somebody to play: at `tick`, or, where a host's
 * transport stands still, at the place that it shows. A side branch once begun
 * there goes on by itself. */
HR_REALTIME_SELDOM void hr_engine_park(HrEngine* engine, uint32_t frame, HrTick tick);

/** Where playing goes on: at the start of a branch that has just begun, else on
 * the bar line after its head. */
HR_REALTIME HrTick hr_engine_resume_tick(const HrEngine* engine, const HrTarget* target);

/** What is known of a branch to go to later: it ends where we leave it, if it
 * is the one left; and no branch gets music into its children's past, so that
 * after a fork at `tick` any may end there at the earliest. */
HR_REALTIME void hr_engine_update_target(HrTarget* target, const HrTarget* left, HrTick tick);

/** Fork the current branch; false if that cannot be. */
HR_REALTIME bool hr_engine_fork(HrEngine* engine, HrTick tick, uint32_t number, bool carry,
                                HrCaptureCause cause);

/** Go to a branch. */
HR_REALTIME void hr_engine_go_to(HrEngine* engine, HrTick tick, const HrTarget* target,
                                 HrCaptureCause cause);

/** What was heard of the branch left ends with it, unless it is to be
 * overdubbed, or goes round: that one hears on. */
HR_REALTIME void hr_engine_leave_replay(HrEngine* engine, uint32_t frame);

/** Whether what is played is kept just now. */
HR_REALTIME bool hr_engine_records(const HrEngine* engine);

/** Keep a message, where it belongs. */
HR_REALTIME void hr_engine_record(HrEngine* engine, uint32_t frame, const uint8_t* bytes,
                                  uint32_t size);

/** The host begins to roll, or jumps, to `here`. */
HR_REALTIME void hr_engine_note_start(HrEngine* engine, HrTick here);

/** The position has jumped back from `before` to `here`: that is one more time
 * round. True if it surely is a loop, from a beat at or before `here` on. */
HR_REALTIME bool hr_engine_note_pass(HrEngine* engine, HrTick before, HrTick here);

/** What was recorded past the loop's end, as the host told of its jump late,
 * belongs to this pass as well. */
HR_REALTIME void hr_engine_record_again(HrEngine* engine);

/** Leave the branch that was begun beside another one. */
HR_REALTIME void hr_engine_return_home(HrEngine* engine, HrTick tick);

/** Where a long silence on the own clock ends; INT64_MAX if it does not. */
HR_REALTIME HrTick hr_engine_silence_tick(const HrEngine* engine);

/* ---- engine_command.c ----------------------------------------------------- */

/** Tell which stream rings are in use; before the messages that offered them are released. */
HR_REALTIME void hr_engine_publish_streams(HrEngine* engine);

/** When what is pending takes effect, seen from `frame`. A tap that comes a
 * little late means the line just passed. */
HR_REALTIME void hr_engine_schedule(HrEngine* engine, uint32_t frame);

/** Do what was pending, at `tick`. */
HR_REALTIME_SELDOM void hr_engine_take_effect(HrEngine* engine, uint32_t frame, HrTick tick);

/** Do, or note, what the session has sent. */
HR_REALTIME void hr_engine_take_messages(HrEngine* engine);

#endif
