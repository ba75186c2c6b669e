/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file lv2_host.h
 * A scripted LV2 host: runs the plugin block by block with the events it is
 * given, and keeps what comes out. It behaves as one of the hosts in the field
 * does (lv2_policy.h), at its worst where a seed leaves that to chance.
 *
 * Threads: a Host is run by one thread at a time, which is its audio thread;
 * host_save(), host_restore() and host_preset() may be called on another
 * meanwhile, as hosts do. host_new(), host_free(), saving and restoring are for
 * one thread of the process at a time. Several hosts may live at a time: they
 * are several instances in one process.
 *
 * Errors: what can only fail if the test is wrong ends the program with a
 * message.
 */

#ifndef HR_LV2_HOST_H
#define HR_LV2_HOST_H

#include "tests/host/events.h"
#include "tests/host/lv2_policy.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct HostImpl Host;

/** Zero-initialised it is a plain host for the bundle, the same every time. */
typedef struct {
  HostPolicy policy;
  uint32_t seed;    ///< Of what the policy's host leaves to chance; 0: nothing
  bool linked;      ///< Run the plugin that is linked into this program, not the bundle's
  bool threaded;    ///< Work on a thread, in real time; else between the blocks, by frames
  bool inactive;    ///< Do not activate yet
  bool notes_first; ///< Notes on the first frame of a loop precede its position: Ardour, at times
  double rate;      ///< 0: 48000
  uint32_t out_capacity; ///< Bytes of the output buffer; 0: the policy's
} HostOptions;

/** Load, instantiate, connect, activate. */
Host* host_new(const HostOptions* options);

/** Deactivate, clean up. NULL is fine. */
void host_free(Host* host);

void host_activate(Host* host);
void host_deactivate(Host* host);

/** The LV2_Handle of a linked plugin, for tests that look inside. */
void* host_instance(const Host* host);

/** Run as fast as can be from the next block on, or no more, where the policy's
 * host tells plugins of that. */
void host_freewheel(Host* host, bool on);

/** Let the worker get no turn any more, or again: its ring fills. */
void host_stall(Host* host, bool on);

/** Set a control port. */
void host_control(Host* host, const char* symbol, float value);

/** The host's transport. It moves on by itself while `rolling`. */
typedef struct {
  bool rolling;
  int64_t frame;
  double tempo; ///< Of beat units a minute, from frame 0 on
  float beats_per_bar;
  int32_t beat_unit;
  int64_t loop_start; ///< Where it goes on ...
  int64_t loop_end;   ///< ... when it rolls to here; 0: no loop
} HostTransport;

/** Set it, from the next block on. */
void host_transport(Host* host, const HostTransport* transport);

/** Where it is now. */
const HostTransport* host_transport_now(const Host* host);

/* ---- Input for the next block, in order of frames ------------------------- */

/** A message; beyond the block's last frame only where the policy's host does that. */
void host_midi(Host* host, uint32_t frame, const void* bytes, uint32_t size);

/** An atom of any type, known by URI, with any body. */
void host_atom(Host* host, uint32_t frame, const char* type, const void* body, uint32_t size);

/** patch:Set of a text property; `property` is its URI's fragment ("branch"). */
void host_set(Host* host, const char* property, const char* value);

/** The same of a number: an atom of `type`, Int, Long, Float, Double or Bool. */
void host_set_number(Host* host, const char* property, const char* type, double value);

/** patch:Get of a property; NULL: of all. */
void host_get(Host* host, const char* property);

/* ---- Running ----------------------------------------------------------------- */

/** Run one cycle of `frames`, 0 to 8192, in as many blocks as the policy's host
 * makes of it. */
void host_run(Host* host, uint32_t frames);

/** Run `frames` in cycles of `block`, the last one shorter. */
void host_run_for(Host* host, uint64_t frames, uint32_t block);

/** Play a list (frames from now on) while running `frames` in cycles whose
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

/** Events, of those in the output, that the policy's host then loses, because a
 * block has more of them than it takes; longer messages than it takes are not
 * counted. Should stay 0. */
unsigned host_lost(const Host* host);

/** The last value told of a property by patch:Set, an Int as text, or NULL. */
const char* host_property(const Host* host, const char* property);

/** Forget what was told of all properties. */
void host_forget_properties(Host* host);

/** How often the plugin said that what it would save has changed. */
unsigned host_state_changes(const Host* host);

/** All that was logged so far. */
const char* host_log(Host* host);

/* ---- State ---------------------------------------------------------------------- */

/** Save as text, with the control ports. Free it with free(). */
char* host_save(Host* host);

/** Restore from text, as on loading a session. */
void host_restore(Host* host, const char* text);

/** Restore from text, as on choosing a preset while it runs. Ardour has a second
 * worker for it, which calls work() on this thread. */
void host_preset(Host* host, const char* text);

/** The preset that the bundle has under this label, as text. Free it with free(). */
char* host_shipped_preset(Host* host, const char* label);

#endif
