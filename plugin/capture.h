/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file capture.h
 * The capture ring: everything the audio thread wants kept, in order, on its
 * way to the store. It is a file in shared memory, so it outlives the process:
 * after a SIGKILL the next program that opens the store drains it.
 *
 * Threads: hr_capture_*() any but the audio thread; the ring as ring.h says.
 * A capture's file is locked (flock) by the process that plays into it, so
 * that a living one is never taken for an orphan. */

#ifndef HR_CAPTURE_H
#define HR_CAPTURE_H

#include "plugin/ring.h"
#include "store/store.h"

/** Kinds of record in the ring. */
enum {
  HR_CAPTURE_MIDI = 1, ///< HrCaptureHeader, then `size` bytes of a MIDI message
  HR_CAPTURE_META,     ///< The same of a meta event
  HR_CAPTURE_FORK,     ///< Branch `branch` forks from branch number `size` at `tick`; it is current
                       ///< now. HrCaptureCause follows
  HR_CAPTURE_SWITCH,   ///< `branch` is current now, at `tick`. HrCaptureCause follows
  HR_CAPTURE_SENT,     ///< HR_CAPTURE_MIDI by somebody else than the player: whose name follows,
                       ///< up to the end of the record
  HR_CAPTURE_STATE,    ///< What `branch` was played with from `tick` on, whatever its past says:
                       ///< `size` bytes of MIDI messages; of notes, those that are held. Programs
                       ///< of older times pass it over
};

/** Why a fork or a switch was made. */
typedef enum {
  HR_CAUSE_PLAYING, ///< By what was played, or by the fork command
  HR_CAUSE_PASS,    ///< Fork: the n-th time round a loop; `number` is n
  HR_CAUSE_COMMAND, ///< Switch: somebody wished so
  HR_CAUSE_QUIET,   ///< Switch: part of something else, as coming back from a side branch
  HR_CAUSE_UNDO,    ///< Switch: journal entry `number` is undone
  HR_CAUSE_REDO,    ///< Switch: journal entry `number` is redone
} HrCaptureCauseKind;

typedef struct {
  HrCaptureCauseKind kind;
  uint32_t number;
  uint32_t wish; ///< Number of the command, for the session to know its author; 0: the player
} HrCaptureCause;

/** Branches are numbers within the ring's tree. */
typedef struct {
  uint32_t branch;
  uint32_t size;
  HrTick tick;
} HrCaptureHeader;

/** Bytes of ring: 131,000 short events, three quarters of an hour of dense
 * playing with a store that cannot be written. */
#define HR_CAPTURE_CAPACITY ((uint64_t)4 << 20)

/** A fork by command, whose record is still on its way through the ring. Kept with
 * that, so that its name outlives the process as well. */
typedef struct {
  uint32_t number; ///< 0: free
  char name[HR_NAME_MAX + 1];
  char author[HR_NAME_MAX + 1];
} HrPendingFork;

/** So many have room in the pages before the ring. */
#define HR_PENDING_FORKS 14

/** The start of the file. Fields but the positions change under the session's mutex only. */
typedef struct {
  char magic[8];
  uint32_t version;
  uint32_t tree;     ///< Tree id; 0: not made yet, its root is branch 1
  uint32_t retired;  ///< Its player has moved on to another ring
  uint32_t branch;   ///< Number of the one played on when last drained; 0 in a ring of older times
  uint8_t uuid[16];  ///< Of this ring
  uint8_t store[16]; ///< UUID of the store, zero while unknown
  int64_t wall_clock_ns; ///< When last looked at by its process
  char author[HR_NAME_MAX + 8];
  char tree_name[HR_NAME_MAX + 8]; ///< For a tree not made yet; empty: any
  char store_path[4096];
  HrRingPositions positions;
  HrPendingFork pending_forks[HR_PENDING_FORKS]; ///< None in a ring of older times
  HrRescue rescues[HR_RESCUES]; ///< For what is still in the ring, as in HrRescueRecord
} HrCaptureFile;

typedef struct {
  HrRing ring;
  HrCaptureFile* file; ///< Mapped, shared
  int fd;
  char path[4096];
} HrCapture;

/** Make a new ring, prefaulted. NULL on failure, and `error` says why. */
HrCapture* hr_capture_new(HrError* error);

/** Forget the ring; `remove` its file too, when nothing in it is needed any more. */
void hr_capture_free(HrCapture* capture, bool remove);

/** The next record of a ring from `*position` on, which is moved beyond it; NULL if there
 * is none. `*record` is what it lies in. */
const HrCaptureHeader* hr_capture_next(const HrCapture* capture, uint64_t* position,
                                       const HrRecord** record);

/** False if the size of a record contradicts what it holds, as others may lie in it, or if it
 * makes a branch of an impossible number. */
bool hr_capture_is_whole(const HrRecord* record);

/** Move `*position`, where no whole record lies, to where the next ones do; to `end`, where the
 * last one ends, if there are none. */
void hr_capture_step_over(const HrCapture* capture, uint64_t* position, uint64_t end);

/** Say which store and tree the ring is for. */
void hr_capture_bind(HrCapture* capture, HrStore* store, HrTreeId tree);

/** Open every ring that was left behind by a dead process and belongs to
 * `store`, and hand it to `drain`, which removes its file once nothing in it is needed. */
void hr_capture_each_orphan(HrStore* store, void (*drain)(void* data, HrCapture* capture),
                            void* data);

/** True if somebody alive plays into `tree` of `store`: on the branch of this number, or on any
 * if that is 0. */
bool hr_capture_in_use(HrStore* store, HrTreeId tree, uint32_t branch);

/** The folder for files that live as long as the session of the user:
 * $XDG_RUNTIME_DIR/halfremembered if that is memory (tmpfs), else
 * /dev/shm/halfremembered-<uid>, made for this user only. HR_ERR_PERMISSION if it is somebody
 * else's. */
HrStatus hr_runtime_folder(char* path, size_t size, HrError* error);

#endif
