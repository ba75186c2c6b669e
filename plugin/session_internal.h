/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file session_internal.h
 * What session.c, attach.c, apply.c, drain.c, read_ahead.c and the commands share.
 *
 * A session has two mutexes. `lock` guards its fields and its ends of the rings
 * that lead to the engine; it is held for moments, and never over a wait for
 * the disk or for another writer. `writing` is held by whoever writes to the
 * store, drains rings or moves to another store: one at a time. It is taken
 * before `lock`. So a command that only reads and sends, as a switch does,
 * waits for nobody.
 *
 * Everything here is called with `lock` held. What is marked "writing" wants
 * both, and lets go of `lock` while it waits for the disk: others may then run
 * commands, but none that drains, writes or moves. */

#ifndef HR_SESSION_INTERNAL_H
#define HR_SESSION_INTERNAL_H

#include "plugin/engine.h"
#include "plugin/prepared.h"
#include "plugin/session.h"
#include "plugin/timeline.h"

#include <pthread.h>

/** A capture ring and where it drains to. */
typedef struct {
  HrCapture* capture;
  HrStore* store;   ///< NULL while no store could be opened
  HrTreeId tree;    ///< 0: made when the first event is drained
  int64_t since;    ///< What waits in the ring was played after this time; 0: nothing waits
  uint64_t rescued; ///< Events of the ring that were
  uint64_t lost;    ///< Records of it that were damaged in memory
  /** Where on the ring of messages the commands end that the pending forks of the ring are from. */
  uint64_t forks_sent[HR_PENDING_FORKS];
} HrBinding;

/** What went wrong since the session began, and was mended. */
typedef struct {
  uint64_t failed_commits; ///< Transactions that the store did not take
  uint64_t rescued;        ///< Events that nobody alive, or their branch no longer, could take
  uint64_t lost;           ///< Records of rings that were damaged in memory
  int64_t longest_ns;      ///< The longest that an event waited until its commit was done
} HrTroubleCounts;

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
  bool damaged;   ///< Something could not be read; to be told
  HrLoopMessage loop;
} HrReader;

/** A path that is read, some of it each round, to count its bars for the engine. */
typedef struct {
  bool open;
  uint32_t request; ///< HrBarsRequest's
  HrBranchId branch;
  HrTick next;  ///< Goes on at this tick ...
  HrTick until; ///< ... and ends with this one
  HrTimeline timeline;
} HrBarCount;

/** Until a commit was timed, the disk is taken for one as slow as can be borne. */
#define HR_COMMIT_SLOW_NS 400000000

enum { HR_RETIRED_MAX = 8, HR_WISHES_KEPT = 32 };

/** Who wished for switches by command, which are on their way through the capture ring. */
typedef struct {
  uint32_t count;                                ///< So far
  char authors[HR_WISHES_KEPT][HR_NAME_MAX + 1]; ///< Of the last of them
} HrWishes;

struct HrSessionImpl {
  pthread_mutex_t writing; ///< Recursive: requests are answered by commands
  pthread_mutex_t lock;    ///< Recursive as well
  unsigned depth;          ///< How often its holder took `lock`
  HrEngine* engine;
  uint32_t number;

  HrBinding binding;
  HrBranchId branch; ///< Current branch as far as drained; 0: none
  HrBinding retired[HR_RETIRED_MAX];
  unsigned retired_count;
  HrNumbers numbers; ///< Branch numbers for forks by command

  uint64_t sends;                 ///< So many messages were sent with a time
  uint32_t settings[HR_SETTINGS]; ///< By HrSetting, as the engine has or will have them
  bool replay;
  HrQuantum quantum;
  uint32_t quantum_bars;
  HrLoopMessage loop;
  HrWishes wishes;
  bool switch_wished; ///< The last one is all that was wished for, not part of something else

  HrReader readers[HR_STREAMS];
  uint32_t offered;     ///< Bits: rings named in messages the engine may not have seen
  uint32_t filling;     ///< Bits: ring being filled from the store, `lock` not held
  HrPrepared* prepared; ///< NULL without an engine
  HrBarCount bars;

  uint64_t scanned;       ///< Position in the capture ring up to which records were looked at
  int64_t looked_at;      ///< When all that waits there was last known ...
  uint64_t looked_frames; ///< ... and how many frames had been run then
  int64_t commit_ns;      ///< How long a commit may take, going by the last ones
  int64_t retry_at;       ///< When to try the store again after trouble
  int64_t worked_at;      ///< When the host's worker last called
  uint64_t frames_seen;
  int64_t frames_seen_at;
  uint64_t move_sent; ///< Where on the ring of messages the last ended that moves the engine

  HrError trouble;
  HrTroubleCounts counts;
  bool fork_failed;     ///< The trouble is that a fork was not made: gone when the next one is
  bool writing_fails;   ///< The trouble is that the store takes no writes: gone when it does
  bool store_lost;      ///< As hr_store_is_lost() said when last asked ...
  int64_t watched_at;   ///< ... which was then
  bool wants;           ///< The last attachment failed: it was for ...
  HrWhere wanted_where; ///< ... this ...
  HrAttachment wanted;  ///< ... whose texts are there, to try again

  _Atomic uint64_t revision; ///< Changed with `lock` held
  uint64_t tree_revision;
  void (*changed)(void* data);
  void* changed_data;
  HrRequestHandler handler;
  void* handler_data;
};

void hr_session_lock(HrSession* session);
void hr_session_unlock(HrSession* session);

/** Take `writing`, then `lock`. Not with `lock` alone in hand. */
void hr_session_lock_writing(HrSession* session);
void hr_session_unlock_writing(HrSession* session);

/** Writing. Let go of `lock`, however often it was taken, for a wait; returns
 * what hr_session_retake() needs. */
unsigned hr_session_release(HrSession* session);
void hr_session_retake(HrSession* session, unsigned depth);

/** Writing. Begin a write transaction, and commit one, without `lock`. Failures are counted. */
HrStatus hr_session_begin(HrSession* session, HrTxn** txn);
HrStatus hr_session_commit(HrSession* session, HrTxn* txn);

/** Writing. Open a store, and give one back, without `lock`. */
HrStatus hr_session_open_store(HrSession* session, const char* path, unsigned flags,
                               HrStore** store, HrError* error);
void hr_session_close_store(HrSession* session, HrStore* store);

/** Count a change and tell who listens. */
void hr_session_touch(HrSession* session);
void hr_session_touch_tree(HrSession* session);

/** Remember what is wrong, or (HR_OK) that nothing is. */
void hr_session_set_trouble(HrSession* session, const HrError* error);

/** Writing. Bring what the capture ring holds into the store: when `now` is
 * set, when something waits long enough, or when a fork or switch is among it. */
HrStatus hr_session_drain(HrSession* session, bool now);

/** Writing. Tell that the store takes no writes. */
void hr_session_note_failure(HrSession* session, HrStatus status);

/** Writing. Look now and then whether the store is still where it was. If it is
 * not, and not put back within a moment, it is written anew, and used there. */
void hr_session_watch_store(HrSession* session);
/** Writing. The same at once, as it is about to be closed: what is in it would be gone. */
void hr_session_save_lost_store(HrSession* session);

/** Writing. Drain a ring into its store, up to what it holds now. Names and
 * authors of forks come from `session`, which is NULL for another process' ring. */
HrStatus hr_binding_drain(HrSession* session, HrBinding* binding);

/** Writing. Drain retired rings and free those that the engine has left. */
void hr_session_drain_retired(HrSession* session, bool engine_is_done);

/** Wait until the engine has done what it was sent, and what came of that can be drained:
 * to the end of its next block, or for a fifth of a second if there is none. At once if
 * the host does not run. With neither mutex in hand. */
void hr_session_await_engine(HrSession* session);

/** Write what the command "quantum" takes for this one: "bar", "4 bars". */
void hr_quantum_text(HrQuantum quantum, uint32_t bars, char text[HR_QUANTUM_TEXT]);

/** Writing. Make the session's tree, if it has none yet. */
HrStatus hr_session_need_tree(HrSession* session);

/** Writing. Keep the engine in numbers for the forks it makes by itself. */
void hr_session_refill_numbers(HrSession* session);
/** Writing. Give back the branch numbers that no fork took, if they are still the last. The
 * engine makes no fork any more. */
void hr_session_give_back_numbers(HrSession* session);

/** The current branch, also if the store does not know of it yet; 0: none. */
HrBranchId hr_session_current(const HrSession* session);

/** True if a branch that the store does not know waits in the capture ring. */
bool hr_session_fork_waits(const HrSession* session);

/** True if something that the engine has still to take, or that waits in the capture ring,
 * may change which branches there are, or which is current. */
bool hr_session_move_waits(HrSession* session);

/** Bring `target`, as the store knows it, up to what waits in the capture ring.
 * True if music of its own does, which nothing read from the store has. */
bool hr_session_follow_ring(const HrSession* session, HrTarget* target);

/** What is prepared for a branch; NULL if nothing is, or if it is too old to be
 * trusted. Lives as long as `lock` is held. */
const HrPreparedBranch* hr_session_prepared(const HrSession* session, HrBranchId branch);

/** True if what is prepared can be trusted now. */
bool hr_session_prepared_is_fresh(const HrSession* session);

/** Open a stream of `branch` in a free ring and fill it: without the store, if
 * the music there is prepared. `start` says from which `tick`, what it is for
 * (`at`) and which `loop` it goes round; the rest of it is filled in. `ahead`:
 * its music may still be being recorded. HR_ERR_BUSY if every ring is in use. */
HrStatus hr_session_open_stream(HrSession* session, HrBranchId branch, bool ahead,
                                HrStreamStart* start);

/** Writing. Read ahead for all streams in use. */
void hr_session_read_ahead(HrSession* session);

/** Writing. Prepare for the branches a player is likely to go to. */
void hr_session_prepare(HrSession* session);

/** Send a message to the engine. HR_ERR_BUSY if the ring is full, as when the
 * host does not run the plugin. */
HrStatus hr_session_send(HrSession* session, uint32_t type, const void* payload, uint32_t size);

#endif
