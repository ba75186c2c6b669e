/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file session_internal.h
 * What session.c, drain.c, read_ahead.c and the commands share. Everything here
 * is called with the session's mutex held. */

#ifndef HR_SESSION_INTERNAL_H
#define HR_SESSION_INTERNAL_H

#include "plugin/engine.h"
#include "plugin/session.h"

#include <pthread.h>

/** A capture ring and where it drains to. */
typedef struct {
  HrCapture* capture;
  HrStore* store; ///< NULL while no store could be opened
  HrTreeId tree;  ///< 0: made when the first event is drained
} HrBinding;

/** A fork whose record is still on its way through the capture ring. */
typedef struct {
  uint32_t number; ///< 0: free
  char name[HR_NAME_MAX + 1];
  char author[HR_NAME_MAX + 1];
} HrPendingFork;

/** What is being read ahead into one stream ring. */
typedef struct {
  bool open;
  HrBranchId branch;
  HrTick next;   ///< Goes on at this tick ...
  uint32_t skip; ///< ... after so many events there
  HrTick limit;  ///< The path's end when the stream began: later events are live playing
  uint32_t lap;
  bool looped;
  bool lap_empty; ///< Nothing was found in this lap so far
  bool state_due; ///< The state at `next` comes before its events
  bool live;      ///< Of music that is still being recorded: it ends only once it is played
  HrLoopMessage loop;
} HrReader;

/** How a stream goes on at the end of the music. */
typedef enum {
  HR_STREAM_ONCE,
  HR_STREAM_LOOPED, ///< Round the session's loop, if that is on
  HR_STREAM_AHEAD,  ///< The same, of music that is still being recorded
} HrStreamKind;

enum { HR_RETIRED_MAX = 8, HR_PENDING_FORKS = 32, HR_WISHES_KEPT = 32, HR_RESCUES = 16 };

struct HrSessionImpl {
  pthread_mutex_t lock; ///< Recursive: requests are answered by commands
  HrEngine* engine;
  uint32_t number;

  HrBinding binding;
  HrBranchId branch; ///< Current branch as far as drained; 0: none
  HrBinding retired[HR_RETIRED_MAX];
  unsigned retired_count;
  HrNumbers numbers; ///< Branch numbers for forks by command

  uint32_t settings[HR_SETTINGS]; ///< By HrSetting, as the engine has or will have them
  bool replay;
  HrQuantum quantum;
  uint32_t quantum_bars;
  HrLoopMessage loop;
  HrPendingFork pending_forks[HR_PENDING_FORKS];
  uint32_t wishes;                                    ///< Switches wished for by command, counted
  char wish_authors[HR_WISHES_KEPT][HR_NAME_MAX + 1]; ///< Of the last of them
  HrRescue rescues[HR_RESCUES];
  unsigned rescue_count;

  HrReader readers[HR_STREAMS];
  uint32_t offered; ///< Bits: rings named in messages the engine may not have seen

  uint64_t scanned;      ///< Position in the capture ring up to which records were looked at
  int64_t waiting_since; ///< When the oldest record not in the store was first seen; 0: none
  int64_t retry_at;      ///< When to try the store again after trouble
  uint64_t frames_seen;
  int64_t frames_seen_at;

  HrError trouble;
  bool writing_fails;  ///< The trouble is that the store takes no writes: gone when it does
  HrAttachment wanted; ///< To try again; strings are copies below
  char wanted_store[4096], wanted_tree[HR_NAME_MAX + 8], wanted_branch[HR_NAME_MAX + 8];
  uint8_t wanted_uuid[16];

  uint64_t revision, tree_revision;
  void (*changed)(void* data);
  void* changed_data;
  HrRequestHandler handler;
  void* handler_data;
};

void hr_session_lock(HrSession* session);
void hr_session_unlock(HrSession* session);

/** Count a change and tell who listens. */
void hr_session_touch(HrSession* session);
void hr_session_touch_tree(HrSession* session);

/** Remember what is wrong, or (HR_OK) that nothing is. */
void hr_session_set_trouble(HrSession* session, const HrError* error);

/** Bring what the capture ring holds into the store: when `now` is set, when
 * something waits long enough, or when a fork or switch is among it. */
HrStatus hr_session_drain(HrSession* session, bool now);

/** Drain a ring into its store to the end. Names and authors of forks come
 * from `session`, which may be NULL for another process' ring. */
HrStatus hr_binding_drain(HrSession* session, HrBinding* binding);

/** Drain retired rings and free those that the engine has left. */
void hr_session_drain_retired(HrSession* session, bool engine_is_done);

/** Write what the command "quantum" takes for this one: "bar", "4 bars". */
void hr_quantum_text(HrQuantum quantum, uint32_t bars, char text[HR_QUANTUM_TEXT]);

/** Make the session's tree, if it has none yet. */
HrStatus hr_session_need_tree(HrSession* session);

/** Open a stream of `branch` in a free ring and fill it. `start` says from
 * which `tick`, and what it is for (`at`); the rest of it is filled in.
 * HR_ERR_BUSY if every ring is in use. */
HrStatus hr_session_open_stream(HrSession* session, HrBranchId branch, HrStreamKind kind,
                                HrStreamStart* start);

/** Read ahead for all streams in use. */
void hr_session_read_ahead(HrSession* session);

/** Send a message to the engine. HR_ERR_BUSY if the ring is full, as when the
 * host does not run the plugin. */
HrStatus hr_session_send(HrSession* session, uint32_t type, const void* payload, uint32_t size);

/** Describe a branch for the engine. */
HrStatus hr_session_target(HrTxn* txn, HrBranchId id, HrTarget* target);

#endif
