/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file lv2_host.h
 * A scripted LV2 host: loads the built bundle, runs the plugin block by block
 * with the events it is given, and keeps what comes out. It behaves like the
 * hosts in the field, at their worst where that is asked for.
 *
 * Threads: a Host belongs to the thread that made it, which is its audio
 * thread; the worker has one of its own (HOST_WORKER_THREAD). Several hosts
 * may live at a time: they are several instances in one process.
 *
 * Errors: what can only fail if the test is wrong ends the program with a
 * message.
 */

#ifndef HR_LV2_HOST_H
#define HR_LV2_HOST_H

#include "tests/host/events.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct HostImpl Host;

typedef enum {
  HOST_WORKER_LOCKSTEP, ///< On its own thread; host_run() waits for what it asked for
  HOST_WORKER_THREAD,   ///< On its own thread, whenever that gets to it
  HOST_WORKER_INLINE,   ///< In schedule_work(), response too: Ardour freewheeling
  HOST_WORKER_LOST,     ///< Never, though schedule_work() says otherwise: jalv 1.6.6 when full
} HostWorker;

typedef enum {
  HOST_POSITION_ON_CHANGE, ///< As jalv does
  HOST_POSITION_EACH_RUN,  ///< As Ardour does
  HOST_POSITION_NEVER,
} HostPosition;

/** Zero-initialised it is a plain host. */
typedef struct {
  HostWorker worker;
  HostPosition position;
  double rate;           ///< 0: 48000
  uint32_t out_capacity; ///< Bytes of the output buffer; 0: 65536
  bool blank;            ///< Positions are atom:Blank and all float: Carla
  bool inactive;         ///< Do not activate yet
} HostOptions;

/** Load, instantiate, connect, activate. */
Host* host_new(const HostOptions* options);

/** Deactivate, clean up. NULL is fine. */
void host_free(Host* host);

void host_activate(Host* host);
void host_deactivate(Host* host);

/** Let the worker work another way from now on. */
void host_worker(Host* host, HostWorker worker);

/** Set a control port. */
void host_control(Host* host, const char* symbol, float value);

/** The host's transport. It moves on by itself while `rolling`. */
typedef struct {
  bool rolling;
  int64_t frame;
  double tempo; ///< Of beat units a minute, from frame 0 on
  float beats_per_bar;
  int32_t beat_unit;
} HostTransport;

/** Set it, from the next block on. */
void host_transport(Host* host, const HostTransport* transport);

/* ---- Input for the next block, in order of frames ------------------------- */

void host_midi(Host* host, uint32_t frame, const void* bytes, uint32_t size);

/** An atom of any type, known by URI, with any body. */
void host_atom(Host* host, uint32_t frame, const char* type, const void* body, uint32_t size);

/** patch:Set of a text property; `property` is its URI's fragment ("branch"). */
void host_set(Host* host, const char* property, const char* value);

/** patch:Get of a property; NULL: of all. */
void host_get(Host* host, const char* property);

/* ---- Running ----------------------------------------------------------------- */

/** Run one block of `frames`, 0 to 8192. */
void host_run(Host* host, uint32_t frames);

/** Run `frames` in blocks of `block`, the last one shorter. */
void host_run_for(Host* host, uint64_t frames, uint32_t block);

/** Play a list (frames from now on) while running `frames` in blocks whose
 * lengths are taken in turn from `blocks`, which ends with a negative one. */
void host_play(Host* host, const EventList* list, uint64_t frames, const int32_t* blocks);

/** Run empty blocks in real time until `done(host)`, at most `seconds`; false
 * if it never was. For what depends on another thread. */
bool host_run_until(Host* host, bool (*done)(Host* host), double seconds);

/** Frames run so far. */
uint64_t host_frame(const Host* host);

/* ---- Output ------------------------------------------------------------------- */

/** MIDI that came out, at host_frame() frames. The host's own; it may be
 * emptied with events_free(). */
EventList* host_output(Host* host);

/** Events that were unsorted or outside their block, so far. Should stay 0. */
unsigned host_faults(const Host* host);

/** The last value told of a text property by patch:Set, or NULL. */
const char* host_property(const Host* host, const char* property);

/** All that was logged so far. */
const char* host_log(Host* host);

/* ---- State ---------------------------------------------------------------------- */

/** Save as text, with the control ports. Free it with free(). */
char* host_save(Host* host);

/** Restore from text; with the features that hosts usually give, or as bare as
 * Ardour does on loading a session. */
void host_restore(Host* host, const char* text, bool bare);

#endif
