/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/plugin.h"

#include "osc/osc.h"
#include "plugin/command.h"
#include "plugin/prefault.h"

#include <lv2/atom/util.h>
#include <lv2/core/lv2_util.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/** How long cleanup() waits for a worker call that is inside. */
#define CLEANUP_WAIT_SECONDS 10

/** The control ports that are commands. */
static const HrPort command_ports[] = {HR_PORT_RECORD, HR_PORT_REPLAY,  HR_PORT_LOOP,
                                       HR_PORT_THRU,   HR_PORT_OVERDUB, HR_PORT_QUANTUM,
                                       HR_PORT_BRANCH};

/** What each of them commands. */
static const char* const port_verbs[HR_PORTS] = {
    [HR_PORT_RECORD] = "record", [HR_PORT_REPLAY] = "replay",   [HR_PORT_LOOP] = "loop",
    [HR_PORT_THRU] = "thru",     [HR_PORT_OVERDUB] = "overdub", [HR_PORT_QUANTUM] = "quantum",
    [HR_PORT_BRANCH] = "slot"};

static const float port_defaults[HR_PORTS] = {
    [HR_PORT_RECORD] = 1.0f, [HR_PORT_THRU] = 1.0f, [HR_PORT_QUANTUM] = (float)HR_QUANTUM_BAR};

/* Ardour frees an instance before it has joined that instance's worker, so
 * work() may come with a handle that is gone. Only handles in this list are
 * touched. */
static pthread_mutex_t alive_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t alive_changed = PTHREAD_COND_INITIALIZER;
static HrPlugin* alive;

static bool enter(HrPlugin* plugin)
{
  pthread_mutex_lock(&alive_lock);
  const HrPlugin* found = alive;
  while (found && found != plugin) {
    found = found->next;
  }
  if (found) {
    plugin->working += 1;
  }
  pthread_mutex_unlock(&alive_lock);
  return found;
}

static void leave(HrPlugin* plugin)
{
  pthread_mutex_lock(&alive_lock);
  plugin->working -= 1;
  pthread_cond_broadcast(&alive_changed);
  pthread_mutex_unlock(&alive_lock);
}

static void enlist(HrPlugin* plugin)
{
  pthread_mutex_lock(&alive_lock);
  plugin->next = alive;
  alive = plugin;
  pthread_mutex_unlock(&alive_lock);
}

/** Take the handle out of the list and wait so long for work inside; false if that does not end. */
static bool delist(HrPlugin* plugin, time_t seconds)
{
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until); // The wall clock may be set meanwhile
  until.tv_sec += seconds;
  pthread_mutex_lock(&alive_lock);
  for (HrPlugin** link = &alive; *link; link = &(*link)->next) {
    if (*link == plugin) {
      *link = plugin->next;
      break;
    }
  }
  int code = 0;
  while (plugin->working && !code) {
    code = pthread_cond_clockwait(&alive_changed, &alive_lock, CLOCK_MONOTONIC, &until);
  }
  const bool idle = plugin->working == 0;
  pthread_mutex_unlock(&alive_lock);
  return idle;
}

/* ---- Requests of the audio thread ------------------------------------------ */

/** The replay port follows the host's transport; where there has been none, it
 * starts and stops, unless it was so from the beginning: loading a session must
 * not play. */
static const char* replay_verb(HrPlugin* plugin, const HrPortRequest* request)
{
  HrSessionState state;
  hr_session_state(plugin->session, &state);
  const bool starts = request->value > 0.5f && !state.transport && !request->initial;
  return starts ? "replay" : "follow";
}

/** A port that only stands where it was left, while what was saved says better.
 * The replay port alone says what it shows. */
static bool is_no_wish(const HrPlugin* plugin, const HrPortRequest* request)
{
  return request->initial &&
         (request->port == HR_PORT_BRANCH || (plugin->settled && request->port != HR_PORT_REPLAY));
}

static void run_port(HrPlugin* plugin, const HrPortRequest* request)
{
  HrError error = {HR_OK, ""};
  const HrValue value = hr_value_number(round((double)request->value));
  if (is_no_wish(plugin, request)) {
    return;
  }
  const char* const verb =
      request->port == HR_PORT_REPLAY ? replay_verb(plugin, request) : port_verbs[request->port];
  if (hr_command_run(plugin->session, verb, &value, 1, "port", NULL, &error)) {
    lv2_log_warning(&plugin->logger, "HalfRemembered: %s\n", error.text);
  }
}

static void handle_request(void* data, uint32_t type, const void* payload, uint32_t size)
{
  HrPlugin* const plugin = data;
  if (!enter(plugin)) {
    return; // It would speak to a host that is gone
  }
  if (type == HR_REQUEST_PORT && size == sizeof(HrPortRequest)) {
    run_port(plugin, payload);
  } else if (type == HR_REQUEST_PATCH && size >= sizeof(LV2_Atom_Object)) {
    hr_properties_receive(plugin, payload);
  }
  leave(plugin);
}

void hr_plugin_log_trouble(HrPlugin* plugin)
{
  HrSessionState state;
  hr_session_state(plugin->session, &state);
  if (strcmp(state.trouble_text, plugin->logged_trouble)) {
    snprintf(plugin->logged_trouble, sizeof plugin->logged_trouble, "%s", state.trouble_text);
    if (state.trouble) {
      lv2_log_error(&plugin->logger, "HalfRemembered: %s\n", state.trouble_text);
    } else {
      lv2_log_note(&plugin->logger,
                   "HalfRemembered: all is well again: writing failed %llu times so far, %llu "
                   "events are lost.\n",
                   (unsigned long long)state.failed_commits, (unsigned long long)state.dropped);
    }
  }
  if (state.rescued != plugin->logged_rescued) {
    lv2_log_note(&plugin->logger, "HalfRemembered: %llu events were rescued so far.\n",
                 (unsigned long long)state.rescued);
    plugin->logged_rescued = state.rescued;
  }
}

HrStatus hr_plugin_attach(HrPlugin* plugin, const HrAttachment* attachment)
{
  const HrStatus status = hr_session_attach(plugin->session, attachment, NULL);
  plugin->attached = true;
  hr_plugin_log_trouble(plugin);
  return status;
}

/* ---- Life of an instance ----------------------------------------------------- */

static void destroy(HrPlugin* plugin)
{
  hr_session_free(plugin->session);
  hr_engine_free(plugin->engine);
  pthread_mutex_destroy(&plugin->turn);
  free(plugin);
}

static LV2_Handle instantiate(const LV2_Descriptor* descriptor, double rate, const char* bundle,
                              const LV2_Feature* const* features)
{
  (void)descriptor;
  (void)bundle;
  HrError error = {HR_OK, ""};
  HrPlugin* const plugin = malloc(sizeof *plugin);
  if (!plugin) {
    return NULL;
  }
  memset(plugin, 0, sizeof *plugin); // Written, unlike by calloc(): no page is left to fault
  pthread_mutex_init(&plugin->turn, NULL);
  const char* const missing =
      lv2_features_query(features, LV2_URID__map, &plugin->map, true, LV2_WORKER__schedule,
                         &plugin->schedule, true, LV2_LOG__log, &plugin->logger.log, false, NULL);
  lv2_log_logger_set_map(&plugin->logger, plugin->map);
  if (missing) {
    lv2_log_error(&plugin->logger, "HalfRemembered: the host lacks the feature <%s>.\n", missing);
    free(plugin);
    return NULL;
  }
  hr_uris_map(&plugin->uris, plugin->map);
  memcpy(plugin->controls, port_defaults, sizeof port_defaults);
  plugin->engine = rate > 0.0 ? hr_engine_new(rate) : NULL;
  plugin->session = plugin->engine ? hr_session_new(plugin->engine, &error) : NULL;
  if (!plugin->session) {
    lv2_log_error(&plugin->logger, "HalfRemembered: cannot start: %s\n",
                  *error.text ? error.text : "out of memory.");
    hr_engine_free(plugin->engine);
    free(plugin);
    return NULL;
  }
  hr_session_on_request(plugin->session, handle_request, plugin);
  hr_prefault_code();
  enlist(plugin);
  return plugin;
}

static void connect_port(LV2_Handle handle, uint32_t port, void* data)
{
  HrPlugin* const plugin = handle;
  if (port < HR_PORTS) {
    plugin->ports[port] = data;
  }
}

/* Hosts also activate while playing, before an export: whatever takes time here
 * happens the first time only. */
static void activate(LV2_Handle handle)
{
  HrPlugin* const plugin = handle;
  HrError error = {HR_OK, ""};
  if (!plugin->attached) {
    hr_plugin_attach(plugin, &(HrAttachment){0});
  }
  if (!plugin->served) {
    plugin->served = true;
    hr_osc_attach(plugin->session, &error);
    if (*error.text) {
      lv2_log_warning(&plugin->logger, "HalfRemembered: %s\n", error.text);
    }
  }
  hr_engine_activate(plugin->engine);
}

static void cleanup(LV2_Handle handle)
{
  HrPlugin* const plugin = handle;
  const bool left = hr_osc_detach(plugin->session);
  if (delist(plugin, left ? CLEANUP_WAIT_SECONDS : 0) && left) {
    destroy(plugin);
  } // else a disk hangs inside a worker call or an OSC command: a leak is better than a
    // crash, and what was captured waits in shared memory
}

/* ---- The block ------------------------------------------------------------- */

HR_REALTIME static bool port_is_on(const HrPlugin* plugin, HrPort port, bool otherwise)
{
  const float* const value = plugin->ports[port];
  return value ? *value > 0.5f : otherwise;
}

/** Where run() writes to, for the engine. */
typedef struct {
  LV2_Atom_Sequence* sequence;
  uint32_t capacity;
  LV2_URID midi_event;
  uint32_t last;   ///< Frame of the block
  uint32_t events; ///< Written so far
} Output;

/** Carla takes so many events of a block and drops the others, however large
 * its buffer is. What is over goes out with the next block. */
enum { EVENTS_MAX = 512 };

HR_REALTIME static bool write_midi(void* handle, uint32_t frame, const uint8_t* bytes,
                                   uint32_t size)
{
  Output* const output = handle;
  const uint32_t at = frame < output->last ? frame : output->last; // A position may be told past it
  if (output->events >= EVENTS_MAX ||
      !hr_atom_append(output->sequence, output->capacity, at, output->midi_event, bytes, size)) {
    return false;
  }
  ++output->events;
  return true;
}

HR_REALTIME static void write_notifications(HrPlugin* plugin, Output* output)
{
  HrRing* const ring = plugin->engine->notify;
  uint64_t position = hr_ring_read_position(ring);
  const HrRecord* record;
  while ((record = hr_ring_next(ring, &position))) {
    const LV2_Atom* const atom = (const LV2_Atom*)(record + 1);
    if (!hr_atom_append(output->sequence, output->capacity, 0, atom->type, atom + 1, atom->size)) {
      return; // Next block
    }
    ++output->events;
    hr_ring_release(ring, position);
  }
}

HR_REALTIME_SELDOM static void take_control(HrPlugin* plugin, HrPort port, float told)
{
  const float value = rintf(told); // Hosts draw lines between the points of a lane
  if (isfinite(value) && value != plugin->controls[port]) {
    const HrPortRequest request = {port, value, !plugin->ran};
    if (hr_engine_request(plugin->engine, HR_REQUEST_PORT, &request, sizeof request)) {
      plugin->controls[port] = value;
    }
  }
}

HR_REALTIME static void watch_ports(HrPlugin* plugin)
{
  for (unsigned i = 0; i < sizeof command_ports / sizeof *command_ports; ++i) {
    const HrPort port = command_ports[i];
    const float* const told = plugin->ports[port];
    if (told && *told != plugin->controls[port]) {
      take_control(plugin, port, *told);
    }
  }
}

/** What changed from elsewhere, as by OSC, is to be told also while nothing else
 * is to be done. */
HR_REALTIME static void watch_session(HrPlugin* plugin)
{
  const uint64_t revision = hr_session_revision(plugin->session);
  if (revision != plugin->seen_revision) {
    plugin->seen_revision = revision;
    plugin->engine->work_wanted = true;
  }
}

HR_REALTIME static void wake_session(HrPlugin* plugin, bool synchronous)
{
  static const uint32_t wake = 1; // Hosts reject an empty message
  if (hr_engine_wants_work(plugin->engine, synchronous) &&
      plugin->schedule->schedule_work(plugin->schedule->handle, sizeof wake, &wake)) {
    plugin->engine->work_wanted = true; // The host's ring is full: again with the next block
  }
}

HR_REALTIME static void take_position(HrPlugin* plugin, uint32_t frame, const HrPosition* position,
                                      bool freewheeling)
{
  hr_engine_position(plugin->engine, frame, position);
  if (freewheeling && plugin->engine->work_wanted) {
    wake_session(plugin, true); // Comes back with the music of the new place
    hr_engine_poll(plugin->engine);
  }
}

/** What is no position is for the session. */
HR_REALTIME static void take_object(HrPlugin* plugin, const LV2_Atom* body)
{
  const HrUris* const uris = &plugin->uris;
  HrPosition position;
  if ((body->type == uris->atom_Object || body->type == uris->atom_Blank) &&
      body->size >= sizeof(LV2_Atom_Object_Body) && !hr_atom_position(uris, body, &position)) {
    hr_engine_request(plugin->engine, HR_REQUEST_PATCH, body, (uint32_t)sizeof *body + body->size);
  }
}

/** A place in the input, whose sizes are not trusted to stay inside the port's buffer. */
typedef struct {
  const LV2_Atom_Event* event; ///< NULL after the last
  uint32_t room;               ///< Bytes from there to the end
} Input;

HR_REALTIME static Input input_at(const void* place, uint32_t room)
{
  const LV2_Atom_Event* const event = place;
  const bool whole = room >= sizeof *event && event->body.size <= room - sizeof *event;
  return (Input){whole ? event : NULL, room};
}

HR_REALTIME static Input input_after(Input input)
{
  const uint32_t padded = lv2_atom_pad_size((uint32_t)sizeof *input.event + input.event->body.size);
  const uint32_t size = padded < input.room ? padded : input.room;
  return input_at((const char*)input.event + size, input.room - size);
}

/** The frame of the event there within the block; hosts stamp some before or
 * after it. -1 at the end. */
HR_REALTIME static int64_t frame_in(Input input, uint32_t frames)
{
  if (!input.event) {
    return -1;
  }
  const int64_t frame = input.event->time.frames;
  return frame < 0 ? 0 : frame > frames ? frames : frame;
}

/** Take the positions told at a frame, from `input` on: hosts put notes before
 * them that are played there already. */
HR_REALTIME static void take_positions(HrPlugin* plugin, Input input, int64_t frame,
                                       uint32_t frames, bool freewheeling)
{
  HrPosition position;
  for (; frame_in(input, frames) == frame; input = input_after(input)) {
    if (hr_atom_position(&plugin->uris, &input.event->body, &position)) {
      take_position(plugin, (uint32_t)frame, &position, freewheeling);
    }
  }
}

HR_REALTIME static void take_input(HrPlugin* plugin, uint32_t frames, bool freewheeling)
{
  const LV2_Atom_Sequence* const in = plugin->ports[HR_PORT_IN];
  if (!in || in->atom.type != plugin->uris.atom_Sequence || in->atom.size < sizeof in->body) {
    return;
  }
  int64_t told = -1; // The positions up to this frame are taken
  Input input = input_at(in + 1, in->atom.size - (uint32_t)sizeof in->body);
  int64_t frame = frame_in(input, frames);
  while (input.event) {
    const Input next = input_after(input);
    const int64_t next_frame = frame_in(next, frames);
    const bool midi = input.event->body.type == plugin->uris.midi_MidiEvent;
    if (frame > told && (!midi || next_frame == frame)) {
      take_positions(plugin, input, frame, frames, freewheeling);
      told = frame;
    }
    if (midi) {
      hr_engine_midi(plugin->engine, (uint32_t)frame, (const uint8_t*)(input.event + 1),
                     input.event->body.size);
    } else {
      take_object(plugin, &input.event->body);
    }
    input = next;
    frame = next_frame;
  }
}

HR_REALTIME static void run(LV2_Handle handle, uint32_t frames)
{
  HrPlugin* const plugin = handle;
  LV2_Atom_Sequence* const out = (LV2_Atom_Sequence*)plugin->ports[HR_PORT_OUT];
  const bool freewheeling = port_is_on(plugin, HR_PORT_FREEWHEEL, false);
  if (!out) {
    return;
  }
  Output output = {out, out->atom.size, plugin->uris.midi_MidiEvent, frames ? frames - 1 : 0, 0};
  out->atom.type = plugin->uris.atom_Sequence;
  out->atom.size = sizeof(LV2_Atom_Sequence_Body);
  out->body.unit = 0;
  out->body.pad = 0;

  watch_ports(plugin);
  plugin->ran = true;
  if (freewheeling) {
    wake_session(plugin, true);
  }
  if (frames && !plugin->engine->output.full) { // Music goes first
    write_notifications(plugin, &output);
  }
  hr_engine_begin(plugin->engine, frames, port_is_on(plugin, HR_PORT_ENABLED, true),
                  (HrSink){write_midi, &output});
  take_input(plugin, frames, freewheeling);
  hr_engine_end(plugin->engine);
  watch_session(plugin);
  wake_session(plugin, false);
}

/* ---- The worker --------------------------------------------------------------- */

static LV2_Worker_Status work(LV2_Handle handle, LV2_Worker_Respond_Function respond,
                              LV2_Worker_Respond_Handle respond_handle, uint32_t size,
                              const void* data)
{
  (void)respond;
  (void)respond_handle;
  (void)size;
  (void)data;
  HrPlugin* const plugin = handle;
  if (!enter(plugin)) {
    return LV2_WORKER_SUCCESS;
  }
  pthread_mutex_lock(&plugin->turn);
  hr_session_work(plugin->session);
  const uint64_t revision = hr_session_revision(plugin->session);
  if (revision != plugin->told_revision) { // Whoever changed it
    plugin->told_revision = revision;
    hr_plugin_log_trouble(plugin);
    hr_properties_tell(plugin, false);
    hr_properties_tell_state(plugin);
  }
  pthread_mutex_unlock(&plugin->turn);
  leave(plugin);
  return LV2_WORKER_SUCCESS;
}

static LV2_Worker_Status work_response(LV2_Handle handle, uint32_t size, const void* body)
{
  (void)handle;
  (void)size;
  (void)body;
  return LV2_WORKER_SUCCESS; // Answers come over our own rings
}

static const void* extension_data(const char* uri)
{
  static const LV2_Worker_Interface worker = {work, work_response, NULL};
  static const LV2_State_Interface state = {hr_state_save, hr_state_restore};
  return !strcmp(uri, LV2_WORKER__interface)  ? (const void*)&worker
         : !strcmp(uri, LV2_STATE__interface) ? (const void*)&state
                                              : NULL;
}

LV2_SYMBOL_EXPORT const LV2_Descriptor* lv2_descriptor(uint32_t index)
{
  static const LV2_Descriptor descriptor = {HR_URI, instantiate, connect_port, activate,
                                            run,    NULL,        cleanup,      extension_data};
  return index == 0 ? &descriptor : NULL;
}
