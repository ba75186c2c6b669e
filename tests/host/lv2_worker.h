/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file lv2_worker.h
 * The host's side of the LV2 worker extension, as the policy's host does it.
 *
 * Without a thread of its own it works after the blocks, when so many frames
 * have gone by as the policy or chance have it: a test comes out the same every
 * time. With one it works in real time, as hosts do.
 *
 * Threads: all calls are for the audio thread, but for the schedule of
 * worker_restore_schedule(), which is for the thread that restores.
 */

#ifndef HR_LV2_WORKER_H
#define HR_LV2_WORKER_H

#include "tests/host/lv2_policy.h"

typedef struct WorkerImpl Worker;

Worker* worker_new(const HostTraits* traits, uint32_t seed, double rate, bool threaded);

/** End the thread and drop what is queued. Where the policy has the worker
 * outlive its instance, work() is called once more, with a handle that is gone. */
void worker_free(Worker* worker);

/** For the features. */
LV2_Worker_Schedule* worker_schedule(Worker* worker);

/** For the features of a restore: a second worker, which works, and responds,
 * inside its schedule_work(), whatever the first is doing. */
LV2_Worker_Schedule* worker_restore_schedule(Worker* worker);

/** Say whom to call, and begin. */
void worker_start(Worker* worker, const LV2_Worker_Interface* interface, LV2_Handle plugin);

/** Work inside schedule_work() from now on, or no more. What is queued stays
 * queued, and may be worked on at the same time. */
void worker_freewheel(Worker* worker, bool on);

/** Get no turn any more, as on a machine that is too busy; or again. */
void worker_stall(Worker* worker, bool on);

/** After a run() of so many frames: work if it is due (without a thread), pass
 * the responses on, end the cycle. */
void worker_after_run(Worker* worker, uint32_t frames);

#endif
