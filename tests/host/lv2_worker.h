/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file lv2_worker.h
 * The host's side of the LV2 worker extension, in the ways that hosts do it
 * (HostWorker in lv2_host.h). Room for requests and for responses is 4096
 * bytes each, as in jalv; what does not fit is refused, as is an empty request.
 *
 * Threads: all calls are for the audio thread.
 */

#ifndef HR_LV2_WORKER_H
#define HR_LV2_WORKER_H

#include "tests/host/lv2_host.h"

#include <lv2/worker/worker.h>

typedef struct WorkerImpl Worker;

Worker* worker_new(HostWorker mode);

/** Stop the thread, dropping what is queued, as jalv and Ardour do. */
void worker_free(Worker* worker);

/** For the features. */
LV2_Worker_Schedule* worker_schedule(Worker* worker);

/** Say whom to call, and begin. */
void worker_start(Worker* worker, const LV2_Worker_Interface* interface, LV2_Handle plugin);

/** Change the way. What is queued stays with the thread, which may then work
 * at the same time as an inline call, as when a host begins to freewheel. */
void worker_change(Worker* worker, HostWorker mode);

/** Lockstep: wait until all that is queued is done. Else nothing. */
void worker_settle(Worker* worker);

/** After run(): pass the responses on, and end the cycle. */
void worker_respond(Worker* worker);

#endif
