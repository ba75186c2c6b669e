/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file session.h
 * A session: everything about one instance that is not realtime. It owns the
 * reference to the store, the tree and branch in use, and the worker's ends of
 * the rings; it applies what the audio thread captured, reads ahead for replay,
 * and carries commands to the audio thread.
 *
 * Threads: any but the audio thread. Calls exclude each other by a mutex that
 * is never held over a wait for the disk, for another writer or for another
 * session. Those that write to the store (attach, flush, work, free) exclude
 * each other for their whole length by a second one.
 */

#ifndef HR_SESSION_H
#define HR_SESSION_H

#include "plugin/realtime.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct HrEngine;

typedef struct HrSessionImpl HrSession;

/** Make a session. `engine` is the realtime half it serves, or NULL for a
 * program that works on a store without playing (the tool). No file is
 * touched but the capture ring. NULL when out of memory or shared memory; then
 * `error` says why. */
HrSession* hr_session_new(struct HrEngine* engine, HrError* error);

/** Drain what was captured, end the session, free it. The audio thread must be
 * done with the engine. */
void hr_session_free(HrSession* session);

typedef struct {
  const char* store; ///< Path; NULL: the default store
  const char* tree; ///< Name or "#number"; NULL: $HR_TREE, else a new tree, made at the first event
  const char* branch; ///< Name or "#number"; NULL: the tree's current branch
  /// The store's UUID when the rest was saved; NULL: any will do. With it, a
  /// store that is another one is refused.
  const uint8_t* uuid;
} HrAttachment;

/** Connect to a store, tree and branch, leaving the ones before (whose captured
 * events are drained first). If another live instance is on the branch asked for, or, where none
 * is, anywhere on the tree, this one goes to a fork of the branch at its head. On failure nothing
 * changes but the session's trouble, which keeps the sentence in `error`; recording goes on into
 * the ring. */
HrStatus hr_session_attach(HrSession* session, const HrAttachment* attachment, HrError* error);

/** An attachment as a plain value; what is empty is not given. */
typedef struct {
  char store[4096];
  char tree[HR_NAME_MAX + 8];
  char branch[HR_NAME_MAX + 8];
  uint8_t uuid[16];
  bool has_uuid;
} HrWhere;

/** What was asked for by the last hr_session_attach(), if that failed; false if it did not. */
bool hr_session_wanted(HrSession* session, HrWhere* where);

/** Bring into `store` what killed hosts left in shared memory for it. Every
 * hr_session_attach() does so; a program that reads a store without a session
 * calls it itself. Nothing happens to a store opened read-only. Returns how many
 * events there were, and in `*lost`, which may be NULL, how many
 * more were damaged in memory: of a damaged stretch, how many short ones it has room for. */
uint64_t hr_session_recover(HrStore* store, uint64_t* lost);

/** The periodic work: answer the engine, read ahead, drain, commit when due,
 * prepare for a switch. Called by the LV2 worker, and done when it returns.
 * Returns true if anything a subscriber can see changed. */
bool hr_session_work(HrSession* session);

/** The same, should the host lose its worker's messages: only if the worker has
 * not called lately and is not inside. For the OSC thread, which must not wait
 * for the disk while somebody else can. */
bool hr_session_tend(HrSession* session);

/** Drain and commit now. */
HrStatus hr_session_flush(HrSession* session);

enum { HR_QUANTUM_TEXT = 24 };

/** When a switch takes effect. */
typedef enum {
  HR_QUANTUM_NOW,
  HR_QUANTUM_BEAT,
  HR_QUANTUM_BAR, ///< Or every so many bars
  HR_QUANTUM_LOOP_END,
} HrQuantum;

/** What becomes of what is played while the host's transport stands, having rolled. */
typedef enum {
  HR_STANDING_SIDE,   ///< A side branch, forked where the transport stands
  HR_STANDING_APPEND, ///< It goes on at the end of the branch
  HR_STANDING_OFF,    ///< It is heard, and not kept
} HrStanding;

/** Whose tempo a replay on the own clock has. */
typedef enum {
  HR_TEMPO_RECORDED,
  HR_TEMPO_HOST, ///< What the host's transport says, if it has said any
} HrTempoSource;

typedef struct {
  uint64_t revision;      ///< Grows with every change below
  uint64_t tree_revision; ///< Grows when a branch is made, renamed, hidden or restored
  bool attached;          ///< A store is open
  bool running;           ///< The host called run() within the last half second
  bool record, replay, loop, thru, overdub;
  HrQuantum quantum;
  char quantum_name[HR_QUANTUM_TEXT]; ///< "bar", "4 bars"
  HrStanding standing;
  HrTempoSource tempo_source;
  uint32_t silence_bars; ///< Longer silences are shortened; 0: never
  uint32_t snap_ms;      ///< A tap so late still means the beat or bar just passed
  bool rolling;          ///< The host's transport rolls
  bool transport;        ///< The host has one, and tells where it stands
  double tempo;
  uint16_t beats_per_bar, beat_unit;
  HrTick position;
  HrTick head; ///< End of the current branch's path
  HrTick loop_start, loop_end;
  HrTreeId tree;               ///< 0: none yet
  uint32_t journal_count;      ///< Of the tree: grows with what other programs do to it, too
  HrBranchId branch;           ///< 0: none yet
  HrBranchId pending;          ///< Branch to switch to; 0: none
  double pending_beats;        ///< Until then
  uint64_t recorded, replayed; ///< Events since the session began
  uint64_t dropped;            ///< Events lost as no room was left, or as they were damaged in
                               ///< memory: should stay 0
  uint64_t malformed;          ///< Input that was no MIDI message
  uint64_t unheard;            ///< Messages that the host's port has no room for at all
  uint64_t failed_commits;     ///< Transactions that the store did not take: tried again
  uint64_t rescued;            ///< Events brought in from a killed host, or put on a fork as
                               ///< another program had gone on with their branch
  double longest_wait;         ///< Seconds from an event's block to its commit's end, at most
  HrStatus trouble;            ///< HR_OK, or what keeps the store from working
  char trouble_text[400];
  char tree_name[HR_NAME_MAX + 1];
  char branch_name[HR_NAME_MAX + 1];
  char pending_name[HR_NAME_MAX + 1];
  char store_path[4096];
} HrSessionState;

/** Grows with every change that a subscriber can see. Any thread, the audio
 * thread as well. */
HR_REALTIME uint64_t hr_session_revision(const HrSession* session);

void hr_session_state(HrSession* session, HrSessionState* state);

/** The UUID of the store in use; false if none is. */
bool hr_session_store_uuid(HrSession* session, uint8_t uuid[16]);

/** A number for this process, counted from 1: how OSC addresses it. */
uint32_t hr_session_number(const HrSession* session);

/** Called from hr_session_work() for what the engine hands on that is the
 * plugin's to understand: HR_REQUEST_PORT and HR_REQUEST_PATCH of message.h.
 * It may run commands on the session. */
typedef void (*HrRequestHandler)(void* data, uint32_t type, const void* payload, uint32_t size);
void hr_session_on_request(HrSession* session, HrRequestHandler handler, void* data);

/** Have `changed` called after every change that a subscriber can see, on
 * whatever thread made it, with the session's mutex held: it may only wake
 * somebody. NULL ends it. False, and nothing is changed, if the mutex was not to be
 * had within ten seconds, as its holder waits for a disk that does not answer. */
bool hr_session_on_change(HrSession* session, void (*changed)(void* data), void* data);

#endif
