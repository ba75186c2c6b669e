/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file lv2_policy.h
 * In what the hosts differ, as read in their sources: a table, one row a host.
 * What is left to chance in a real host (when a worker gets its turn, where a
 * cycle is split) is left to a seed here. */

#ifndef HR_LV2_POLICY_H
#define HR_LV2_POLICY_H

#include <lv2/worker/worker.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
  HOST_PLAIN,  ///< As the specifications would have it
  HOST_ARDOUR, ///< Ardour 7 to 9
  HOST_JALV,   ///< jalv 1.6.6
  HOST_CARLA,  ///< Carla 2.6
  HOST_POLICIES
} HostPolicy;

/** When a host tells where its transport is. */
typedef enum {
  POSITION_ON_CHANGE,  ///< When it is not where it would have rolled to
  POSITION_WHEN_MOVED, ///< When it is not where it was last told to be: every cycle that rolls
  POSITION_EACH_RUN,   ///< Nearly always
} PositionWhen;

typedef struct {
  const char* name;

  PositionWhen position;
  bool position_at_start;  ///< Told with the first block, whatever it is
  bool position_blank;     ///< atom:Blank, and every value a float
  double position_grid;    ///< Beats are rounded to so many parts of one; 0: they are not
  bool splits_cycles;      ///< At the end of a loop, at events, anywhere; and run(0)
  bool loops_within_cycle; ///< The transport jumps at the loop's last frame, not a cycle's
  bool ends_notes;         ///< Held notes are ended in the input, on stop and locate
  bool tidies_input;       ///< Velocity 0 becomes a note-off, active sensing goes
  bool past_the_block;     ///< Input may be stamped beyond the last frame
  bool texts_without_nul;  ///< Sizes of String and Path do not count it

  uint32_t out_capacity;   ///< Bytes of the output buffer; 0: what the plugin asks for
  uint32_t out_events_max; ///< The events of a block beyond these are lost; 0: none are
  uint32_t out_bytes_max;  ///< Longer messages are lost; 0: none are

  size_t work_ring;            ///< Bytes
  LV2_Worker_Status work_full; ///< Returned for what does not fit, and is lost
  bool work_empty_fails;       ///< A request of no bytes is refused
  double work_interval;        ///< Seconds between batches; 0: when it gets its turn
  bool work_outlives;          ///< The instance is freed before its worker is joined
  bool freewheel;              ///< Told to the plugin, and work() runs inside schedule_work()
  bool freewheel_responds;     ///< work_response() does so too
  bool restores_bare;          ///< A session's state is restored without features
} HostTraits;

const HostTraits* host_traits(HostPolicy policy);

/** Random numbers from a seed: xorshift, by Marsaglia. */
typedef struct {
  uint64_t state; ///< 0: nothing ever happens by chance
} Chance;

/** What a seed begins with; 0 gives none. */
Chance chance_of(uint32_t seed);

/** A number below `limit`; 0 without chance. */
uint32_t chance_choose(Chance* chance, uint32_t limit);

/** True once in `times`; never without chance. */
bool chance_once_in(Chance* chance, uint32_t times);

#endif
