/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file lv2_plugin.h
 * An LV2 plugin loaded to be measured: its run() is called directly, with
 * nothing around it. Its first two ports are an atom input and an atom output.
 *
 * Threads: as LV2 says of the plugin; the worker is the test host's
 * (tests/host/lv2_worker.h).
 *
 * Errors: end the program with a sentence. */

#ifndef HR_BENCH_LV2_PLUGIN_H
#define HR_BENCH_LV2_PLUGIN_H

#include "tests/host/lv2_worker.h"

#include <lilv/lilv.h>
#include <lv2/atom/atom.h>
#include <lv2/urid/urid.h>

enum { LV2_BUFFER_BYTES = 65536, LV2_CONTROLS_MAX = 32 };

typedef union {
  LV2_Atom_Sequence sequence;
  uint8_t bytes[LV2_BUFFER_BYTES];
} Lv2Buffer;

typedef struct {
  LilvWorld* world;
  const LilvPlugin* description;
  LilvInstance* instance;
  Worker* worker; ///< NULL if the plugin has none
  LV2_Worker_Schedule schedule;
  uint64_t scheduling; ///< bench_clock() units spent in schedule_work() so far: the host's part
  float controls[LV2_CONTROLS_MAX];
  Lv2Buffer* in;
  Lv2Buffer* out;
} Lv2Plugin;

/** Numbers for URIs, the same for all plugins. */
LV2_URID_Map* lv2_map(void);
LV2_URID lv2_urid(const char* uri);

/** Empty a sequence, to be read by a plugin. */
void lv2_clear_input(Lv2Buffer* buffer);

/** Hand the whole buffer to the plugin that will write to it. */
void lv2_clear_output(Lv2Buffer* buffer);

/** Add an event to a sequence. */
void lv2_add_event(Lv2Buffer* buffer, int64_t frame, LV2_URID type, const void* body,
                   uint32_t size);

/** Load, connect, activate; `plugin` stays where it is. `bundle`: path of its bundle; NULL: any of
 * LV2_PATH. `threaded`: its worker has a thread of its own, else it works in
 * worker_after_run(). */
void lv2_plugin_load(Lv2Plugin* plugin, const char* uri, const char* bundle, bool threaded);

/** Deactivate, clean up. */
void lv2_plugin_unload(Lv2Plugin* plugin);

/** The value of a control port. */
float* lv2_plugin_control(Lv2Plugin* plugin, const char* symbol);

#endif
