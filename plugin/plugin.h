/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file plugin.h
 * What the files of the LV2 glue share: one instance. plugin.c has the entry
 * points and the block, state.c saving and restoring, properties.c the text
 * properties (patch messages), atoms.c reading and writing atoms. */

#ifndef HR_PLUGIN_H
#define HR_PLUGIN_H

#include "plugin/engine.h"
#include "plugin/session.h"

#include <lv2/atom/atom.h>
#include <lv2/core/lv2.h>
#include <lv2/log/logger.h>
#include <lv2/state/state.h>
#include <lv2/urid/urid.h>
#include <lv2/worker/worker.h>
#include <pthread.h>

#define HR_URI    "urn:halfremembered:recorder"
#define HR_PREFIX HR_URI "#"

/** Port indices, as in ttl/halfremembered.ttl. */
typedef enum {
  HR_PORT_IN,
  HR_PORT_OUT,
  HR_PORT_RECORD,
  HR_PORT_REPLAY,
  HR_PORT_LOOP,
  HR_PORT_THRU,
  HR_PORT_OVERDUB,
  HR_PORT_QUANTUM,
  HR_PORT_ENABLED,
  HR_PORT_FREEWHEEL,
  HR_PORT_BRANCH,
  HR_PORTS
} HrPort;

typedef struct {
  LV2_URID atom_Blank, atom_Object, atom_Sequence, atom_Int, atom_Long, atom_Float, atom_Double,
      atom_Bool, atom_String, atom_Path, atom_URID, atom_Chunk;
  LV2_URID midi_MidiEvent;
  LV2_URID time_Position, time_frame, time_speed, time_bar, time_barBeat, time_beat,
      time_beatsPerBar, time_beatUnit, time_beatsPerMinute;
  LV2_URID patch_Get, patch_Set, patch_Put, patch_property, patch_value, patch_subject;
  LV2_URID hr_plugin, hr_store, hr_store_uuid, hr_tree, hr_branch, hr_standing, hr_silence, hr_snap,
      hr_tempo_source, hr_osc_url, hr_trouble, hr_settings;
  LV2_URID state_StateChanged;
} HrUris;

enum { HR_PROPERTIES = 9 };

typedef struct HrPlugin {
  struct HrPlugin* next; ///< Instances alive, for work that comes late
  unsigned working;      ///< Calls of the worker and of the session inside
  HrUris uris;
  LV2_URID_Map* map;
  LV2_Worker_Schedule* schedule;
  LV2_Log_Logger logger;
  const void* ports[HR_PORTS];
  float controls[HR_PORTS]; ///< Values of the control ports last acted upon
  HrEngine* engine;
  HrSession* session;
  bool ran;      ///< At least one block
  bool attached; ///< Restored, or connected to the default store
  _Atomic bool
      settled; ///< Settings were restored: they count, and not where the ports stand at first
  bool served; ///< By the OSC endpoint
  pthread_mutex_t turn; ///< Of work: a host that begins to freewheel calls it in run() as well
  char logged_trouble[400];
  uint64_t logged_rescued;
  uint64_t seen_revision;        ///< By the audio thread
  uint64_t told_revision;        ///< By the worker
  char told[HR_PROPERTIES][400]; ///< Values of the properties last sent
  _Atomic uint64_t state_known;  ///< Hash of the state that the host knows of; 0: none yet
} HrPlugin;

void hr_uris_map(HrUris* uris, LV2_URID_Map* map);

/* ---- atoms.c ------------------------------------------------------------ */

/** Decode a time:Position object: Object or Blank, any kind of number. False if it is none. */
HR_REALTIME bool hr_atom_position(const HrUris* uris, const LV2_Atom* atom, HrPosition* position);

/** Any kind of number that is finite; false for others. */
HR_REALTIME bool hr_atom_number(const HrUris* uris, const LV2_Atom* atom, double* number);

/** Append an event to an output sequence; false when it does not fit. */
HR_REALTIME bool hr_atom_append(LV2_Atom_Sequence* sequence, uint32_t capacity, uint32_t frame,
                                LV2_URID type, const void* body, uint32_t size);

/* ---- properties.c --------------------------------------------------------- */

/** Handle a patch message that came in (not on the audio thread). */
void hr_properties_receive(HrPlugin* plugin, const LV2_Atom* atom);

/** Send what has changed of the properties to the host; `all` sends the rest too. */
void hr_properties_tell(HrPlugin* plugin, bool all);

/** Tell the host that what it would save has changed, if it has (state:StateChanged). */
void hr_properties_tell_state(HrPlugin* plugin);

/* ---- state.c ---------------------------------------------------------------- */

LV2_State_Status hr_state_save(LV2_Handle handle, LV2_State_Store_Function store,
                               LV2_State_Handle state, uint32_t flags,
                               const LV2_Feature* const* features);
LV2_State_Status hr_state_restore(LV2_Handle handle, LV2_State_Retrieve_Function retrieve,
                                  LV2_State_Handle state, uint32_t flags,
                                  const LV2_Feature* const* features);

/** A hash of everything that is saved. */
uint64_t hr_state_hash(HrPlugin* plugin);

/** Connect to a store and say in the host's log what is wrong, if anything. */
HrStatus hr_plugin_attach(HrPlugin* plugin, const HrAttachment* attachment);

/** Log the session's trouble, once. */
void hr_plugin_log_trouble(HrPlugin* plugin);

#endif
