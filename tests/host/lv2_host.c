/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "tests/host/lv2_host.h"

#include "tests/host/lv2_worker.h"

#include <lilv/lilv.h>
#include <lv2/atom/atom.h>
#include <lv2/atom/forge.h>
#include <lv2/atom/util.h>
#include <lv2/buf-size/buf-size.h>
#include <lv2/log/log.h>
#include <lv2/midi/midi.h>
#include <lv2/options/options.h>
#include <lv2/parameters/parameters.h>
#include <lv2/patch/patch.h>
#include <lv2/state/state.h>
#include <lv2/time/time.h>
#include <lv2/urid/urid.h>

#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PLUGIN_URI      "urn:halfremembered:recorder"
#define PROPERTY_PREFIX PLUGIN_URI "#"

enum {
  BUFFER_BYTES = 65536, ///< Of the atom ports, as the plugin asks for
  BLOCK_MAX = 8192,
  PORTS_MAX = 32,
  URIDS_MAX = 512,
  PROPERTIES_MAX = 16,
  LOG_BYTES = 65536,
};

/** One for all hosts of the process, so that they can share what is mapped. */
static struct {
  pthread_mutex_t mutex;
  char* uris[URIDS_MAX];
  uint32_t count;
} urids = {.mutex = PTHREAD_MUTEX_INITIALIZER};

typedef struct {
  char* name; ///< Fragment of its URI
  char* value;
} Property;

struct HostImpl {
  HostOptions options;
  LilvWorld* world;
  const LilvPlugin* plugin;
  LilvInstance* instance;
  Worker* worker;
  const LV2_Feature* features[8];
  LV2_Feature feature[7];
  LV2_Options_Option option[4];
  int32_t block_max;
  float rate;
  LV2_URID_Map map;
  LV2_URID_Unmap unmap;
  LV2_Log_Log log;
  LV2_Atom_Forge forge;
  bool active;

  float controls[PORTS_MAX];
  uint8_t* in;
  uint8_t* out;
  uint8_t pending[BUFFER_BYTES]; ///< A 32-bit frame, then an atom, padded; for the next block
  size_t pending_size;

  HostTransport transport;
  bool transport_told;
  uint64_t frame;
  EventList output;
  unsigned faults;
  Property properties[PROPERTIES_MAX];

  pthread_mutex_t log_mutex;
  char log_text[LOG_BYTES];
};

static void require(bool condition, const char* message)
{
  if (!condition) {
    fprintf(stderr, "lv2_host: %s\n", message);
    abort();
  }
}

/* ---- Features --------------------------------------------------------------- */

static LV2_URID map_uri(LV2_URID_Map_Handle handle, const char* uri)
{
  (void)handle;
  pthread_mutex_lock(&urids.mutex);
  uint32_t i = 0;
  while (i < urids.count && strcmp(urids.uris[i], uri)) {
    ++i;
  }
  if (i == urids.count) {
    require(i < URIDS_MAX, "URIDS_MAX is too small");
    urids.uris[urids.count++] = strdup(uri);
  }
  pthread_mutex_unlock(&urids.mutex);
  return i + 1;
}

static const char* unmap_urid(LV2_URID_Unmap_Handle handle, LV2_URID urid)
{
  (void)handle;
  pthread_mutex_lock(&urids.mutex);
  const char* uri = urid && urid <= urids.count ? urids.uris[urid - 1] : NULL;
  pthread_mutex_unlock(&urids.mutex);
  return uri;
}

static int log_vprintf(LV2_Log_Handle handle, LV2_URID type, const char* format, va_list args)
{
  (void)type;
  Host* host = handle;
  pthread_mutex_lock(&host->log_mutex);
  const size_t used = strlen(host->log_text);
  const int length = vsnprintf(host->log_text + used, LOG_BYTES - used, format, args);
  pthread_mutex_unlock(&host->log_mutex);
  return length;
}

static int log_printf(LV2_Log_Handle handle, LV2_URID type, const char* format, ...)
{
  va_list args;
  va_start(args, format);
  const int length = log_vprintf(handle, type, format, args);
  va_end(args);
  return length;
}

static void set_up_features(Host* host)
{
  host->map = (LV2_URID_Map){NULL, map_uri};
  host->unmap = (LV2_URID_Unmap){NULL, unmap_urid};
  host->log = (LV2_Log_Log){host, log_printf, log_vprintf};
  host->block_max = BLOCK_MAX;
  host->rate = (float)host->options.rate;

  const LV2_URID a_float = map_uri(NULL, LV2_ATOM__Float);
  const LV2_URID an_int = map_uri(NULL, LV2_ATOM__Int);
  host->option[0] =
      (LV2_Options_Option){LV2_OPTIONS_INSTANCE, 0,       map_uri(NULL, LV2_PARAMETERS__sampleRate),
                           sizeof host->rate,    a_float, &host->rate};
  host->option[1] = (LV2_Options_Option){
      LV2_OPTIONS_INSTANCE,   0,      map_uri(NULL, LV2_BUF_SIZE__maxBlockLength),
      sizeof host->block_max, an_int, &host->block_max};

  host->feature[0] = (LV2_Feature){LV2_URID__map, &host->map};
  host->feature[1] = (LV2_Feature){LV2_URID__unmap, &host->unmap};
  host->feature[2] = (LV2_Feature){LV2_WORKER__schedule, worker_schedule(host->worker)};
  host->feature[3] = (LV2_Feature){LV2_LOG__log, &host->log};
  host->feature[4] = (LV2_Feature){LV2_OPTIONS__options, host->option};
  host->feature[5] = (LV2_Feature){LV2_STATE__threadSafeRestore, NULL};
  for (int i = 0; i < 6; ++i) {
    host->features[i] = &host->feature[i];
  }
}

/* ---- Life -------------------------------------------------------------------- */

static void load_plugin(Host* host)
{
  host->world = lilv_world_new();
  LilvNode* bundle = lilv_new_file_uri(host->world, NULL, HR_TEST_BUNDLE);
  LilvNode* uri = lilv_new_uri(host->world, PLUGIN_URI);
  lilv_world_load_bundle(host->world, bundle);
  host->plugin = lilv_plugins_get_by_uri(lilv_world_get_all_plugins(host->world), uri);
  require(host->plugin, "the bundle " HR_TEST_BUNDLE " does not hold the plugin");
  lilv_node_free(uri);
  lilv_node_free(bundle);
}

static void connect_ports(Host* host)
{
  const uint32_t count = lilv_plugin_get_num_ports(host->plugin);
  require(count <= PORTS_MAX, "PORTS_MAX is too small");
  lilv_plugin_get_port_ranges_float(host->plugin, NULL, NULL, host->controls);
  host->in = calloc(1, BUFFER_BYTES);
  host->out = calloc(1, host->options.out_capacity);
  require(host->in && host->out, "out of memory");
  lilv_instance_connect_port(host->instance, 0, host->in);
  lilv_instance_connect_port(host->instance, 1, host->out);
  for (uint32_t i = 2; i < count; ++i) {
    lilv_instance_connect_port(host->instance, i, &host->controls[i]);
  }
}

Host* host_new(const HostOptions* options)
{
  Host* host = calloc(1, sizeof *host);
  require(host, "out of memory");
  host->options = options ? *options : (HostOptions){0};
  host->options.rate = host->options.rate > 0.0 ? host->options.rate : 48000.0;
  host->options.out_capacity =
      host->options.out_capacity ? host->options.out_capacity : BUFFER_BYTES;
  host->transport = (HostTransport){false, 0, 120.0, 4.0f, 4};
  pthread_mutex_init(&host->log_mutex, NULL);
  host->worker = worker_new(host->options.worker);
  set_up_features(host);
  lv2_atom_forge_init(&host->forge, &host->map);

  load_plugin(host);
  host->instance = lilv_plugin_instantiate(host->plugin, host->options.rate, host->features);
  require(host->instance, "the plugin cannot be instantiated");
  const LV2_Worker_Interface* worker =
      lilv_instance_get_extension_data(host->instance, LV2_WORKER__interface);
  require(worker, "the plugin has no worker");
  worker_start(host->worker, worker, lilv_instance_get_handle(host->instance));
  connect_ports(host);
  if (!host->options.inactive) {
    host_activate(host);
  }
  return host;
}

void host_free(Host* host)
{
  if (!host) {
    return;
  }
  host_deactivate(host);
  worker_free(host->worker);
  lilv_instance_free(host->instance);
  lilv_world_free(host->world);
  for (int i = 0; i < PROPERTIES_MAX; ++i) {
    free(host->properties[i].name);
    free(host->properties[i].value);
  }
  events_free(&host->output);
  pthread_mutex_destroy(&host->log_mutex);
  free(host->in);
  free(host->out);
  free(host);
}

void host_activate(Host* host)
{
  if (!host->active) {
    lilv_instance_activate(host->instance);
    host->active = true;
  }
}

void host_deactivate(Host* host)
{
  if (host->active) {
    lilv_instance_deactivate(host->instance);
    host->active = false;
  }
}

void host_worker(Host* host, HostWorker worker)
{
  worker_change(host->worker, worker);
}

static float* find_control(Host* host, const char* symbol)
{
  LilvNode* node = lilv_new_string(host->world, symbol);
  const LilvPort* port = lilv_plugin_get_port_by_symbol(host->plugin, node);
  lilv_node_free(node);
  return port ? &host->controls[lilv_port_get_index(host->plugin, port)] : NULL;
}

void host_control(Host* host, const char* symbol, float value)
{
  float* control = find_control(host, symbol);
  require(control, "no such control port");
  *control = value;
}

void host_transport(Host* host, const HostTransport* transport)
{
  host->transport = *transport;
  host->transport_told = false;
}

/* ---- Input -------------------------------------------------------------------- */

static void add_pending(Host* host, uint32_t frame, const LV2_Atom* header, const void* body)
{
  const size_t padded = lv2_atom_pad_size((uint32_t)sizeof *header + header->size);
  const size_t space = sizeof host->pending - host->pending_size;
  require(sizeof frame + padded <= space, "too much input for one block");
  uint8_t* at = host->pending + host->pending_size;
  memset(at, 0, sizeof frame + padded);
  memcpy(at, &frame, sizeof frame);
  memcpy(at + sizeof frame, header, sizeof *header);
  memcpy(at + sizeof frame + sizeof *header, body, header->size);
  host->pending_size += sizeof frame + padded;
}

void host_atom(Host* host, uint32_t frame, const char* type, const void* body, uint32_t size)
{
  const LV2_Atom header = {size, map_uri(NULL, type)};
  add_pending(host, frame, &header, body);
}

void host_midi(Host* host, uint32_t frame, const void* bytes, uint32_t size)
{
  host_atom(host, frame, LV2_MIDI__MidiEvent, bytes, size);
}

static LV2_URID property_urid(const char* property)
{
  char uri[256];
  snprintf(uri, sizeof uri, PROPERTY_PREFIX "%s", property);
  return map_uri(NULL, uri);
}

/** Build patch:Set (with a value) or patch:Get. */
static void add_patch(Host* host, const char* type, const char* property, const char* value)
{
  union {
    LV2_Atom atom;
    uint8_t bytes[8192];
  } message;
  LV2_Atom_Forge_Frame object;
  lv2_atom_forge_set_buffer(&host->forge, message.bytes, sizeof message);
  require(lv2_atom_forge_object(&host->forge, &object, 0, map_uri(NULL, type)), "patch message");
  if (property) {
    lv2_atom_forge_key(&host->forge, map_uri(NULL, LV2_PATCH__property));
    lv2_atom_forge_urid(&host->forge, property_urid(property));
  }
  if (value) {
    lv2_atom_forge_key(&host->forge, map_uri(NULL, LV2_PATCH__value));
    require(lv2_atom_forge_string(&host->forge, value, (uint32_t)strlen(value)), "value too long");
  }
  lv2_atom_forge_pop(&host->forge, &object);
  add_pending(host, 0, &message.atom, &message.atom + 1);
}

void host_set(Host* host, const char* property, const char* value)
{
  add_patch(host, LV2_PATCH__Set, property, value);
}

void host_get(Host* host, const char* property)
{
  add_patch(host, LV2_PATCH__Get, property, NULL);
}

static void forge_number(Host* host, const char* key, double value, LV2_URID type)
{
  LV2_Atom_Forge* forge = &host->forge;
  lv2_atom_forge_key(forge, map_uri(NULL, key));
  if (type == forge->Float || host->options.blank) {
    lv2_atom_forge_float(forge, (float)value);
  } else if (type == forge->Double) {
    lv2_atom_forge_double(forge, value);
  } else if (type == forge->Long) {
    lv2_atom_forge_long(forge, (int64_t)value);
  } else {
    lv2_atom_forge_int(forge, (int32_t)value);
  }
}

static void forge_position(Host* host)
{
  LV2_Atom_Forge* forge = &host->forge;
  const HostTransport* transport = &host->transport;
  const double beat = (double)transport->frame / host->options.rate * transport->tempo / 60.0;
  const double bar = floor(beat / (double)transport->beats_per_bar);
  LV2_Atom_Forge_Frame object;
  lv2_atom_forge_frame_time(forge, 0);
  LV2_Atom_Forge_Ref ref =
      lv2_atom_forge_object(forge, &object, 0, map_uri(NULL, LV2_TIME__Position));
  if (host->options.blank) {
    lv2_atom_forge_deref(forge, ref)->type = map_uri(NULL, LV2_ATOM__Blank);
  }
  forge_number(host, LV2_TIME__frame, (double)transport->frame, forge->Long);
  forge_number(host, LV2_TIME__speed, transport->rolling ? 1.0 : 0.0, forge->Float);
  forge_number(host, LV2_TIME__bar, bar, forge->Long);
  forge_number(host, LV2_TIME__barBeat, beat - bar * (double)transport->beats_per_bar,
               forge->Double);
  forge_number(host, LV2_TIME__beatUnit, transport->beat_unit, forge->Int);
  forge_number(host, LV2_TIME__beatsPerBar, (double)transport->beats_per_bar, forge->Float);
  forge_number(host, LV2_TIME__beatsPerMinute, transport->tempo, forge->Float);
  lv2_atom_forge_pop(forge, &object);
}

static void write_input(Host* host)
{
  LV2_Atom_Forge* forge = &host->forge;
  LV2_Atom_Forge_Frame sequence;
  lv2_atom_forge_set_buffer(forge, host->in, BUFFER_BYTES);
  lv2_atom_forge_sequence_head(forge, &sequence, 0);
  const HostPosition policy = host->options.position;
  if (policy != HOST_POSITION_NEVER &&
      (!host->transport_told || policy == HOST_POSITION_EACH_RUN)) {
    forge_position(host);
    host->transport_told = true;
  }
  for (size_t at = 0; at < host->pending_size;) {
    uint32_t frame = 0;
    LV2_Atom header;
    memcpy(&frame, host->pending + at, sizeof frame);
    memcpy(&header, host->pending + at + sizeof frame, sizeof header);
    const uint32_t size = (uint32_t)sizeof header + header.size;
    lv2_atom_forge_frame_time(forge, frame);
    require(lv2_atom_forge_raw(forge, host->pending + at + sizeof frame, size),
            "too much input for one block");
    lv2_atom_forge_pad(forge, size);
    at += sizeof frame + lv2_atom_pad_size(size);
  }
  host->pending_size = 0;
  lv2_atom_forge_pop(forge, &sequence);
}

/* ---- Output ------------------------------------------------------------------- */

static void keep_property(Host* host, const LV2_Atom* key, const LV2_Atom* value)
{
  const char* uri = unmap_urid(NULL, ((const LV2_Atom_URID*)key)->body);
  if (!uri || strncmp(uri, PROPERTY_PREFIX, strlen(PROPERTY_PREFIX)) ||
      value->type != host->forge.String) {
    return;
  }
  const char* name = uri + strlen(PROPERTY_PREFIX);
  for (int i = 0; i < PROPERTIES_MAX; ++i) {
    Property* property = &host->properties[i];
    if (!property->name || !strcmp(property->name, name)) {
      free(property->name);
      free(property->value);
      property->name = strdup(name);
      property->value = strndup((const char*)(value + 1), value->size);
      return;
    }
  }
  require(false, "PROPERTIES_MAX is too small");
}

static void read_patch(Host* host, const LV2_Atom_Object* object)
{
  const LV2_Atom* property = NULL;
  const LV2_Atom* value = NULL;
  if (object->body.otype != map_uri(NULL, LV2_PATCH__Set)) {
    return;
  }
  lv2_atom_object_get(object, map_uri(NULL, LV2_PATCH__property), &property,
                      map_uri(NULL, LV2_PATCH__value), &value, 0);
  if (property && value) {
    keep_property(host, property, value);
  }
}

static void read_output(Host* host, uint32_t frames)
{
  const LV2_Atom_Sequence* sequence = (const LV2_Atom_Sequence*)host->out;
  const LV2_URID midi = map_uri(NULL, LV2_MIDI__MidiEvent);
  int64_t last = 0;
  if (sequence->atom.type != map_uri(NULL, LV2_ATOM__Sequence) ||
      sequence->atom.size + sizeof(LV2_Atom) > host->options.out_capacity) {
    ++host->faults;
    return;
  }
  LV2_ATOM_SEQUENCE_FOREACH(sequence, event)
  {
    const int64_t frame = event->time.frames;
    host->faults += frame < last || frame >= frames;
    last = frame;
    if (event->body.type == midi) {
      events_add(&host->output, host->frame + (uint64_t)frame, (const uint8_t*)(event + 1),
                 event->body.size);
    } else if (event->body.type == host->forge.Object) {
      read_patch(host, (const LV2_Atom_Object*)&event->body);
    }
  }
}

EventList* host_output(Host* host)
{
  return &host->output;
}

unsigned host_faults(const Host* host)
{
  return host->faults;
}

const char* host_property(const Host* host, const char* property)
{
  for (int i = 0; i < PROPERTIES_MAX && host->properties[i].name; ++i) {
    if (!strcmp(host->properties[i].name, property)) {
      return host->properties[i].value;
    }
  }
  return NULL;
}

const char* host_log(Host* host)
{
  pthread_mutex_lock(&host->log_mutex); // What is there stays where it is
  pthread_mutex_unlock(&host->log_mutex);
  return host->log_text;
}

/* ---- Running ------------------------------------------------------------------ */

void host_run(Host* host, uint32_t frames)
{
  require(frames <= BLOCK_MAX, "block too long");
  write_input(host);
  memset(host->out, 0xaa, host->options.out_capacity);
  LV2_Atom* out = (LV2_Atom*)host->out;
  out->type = map_uri(NULL, LV2_ATOM__Chunk);
  out->size = host->options.out_capacity - (uint32_t)sizeof *out;

  lilv_instance_run(host->instance, frames);
  worker_respond(host->worker);
  worker_settle(host->worker);

  read_output(host, frames);
  host->frame += frames;
  host->transport.frame += host->transport.rolling ? frames : 0;
}

void host_run_for(Host* host, uint64_t frames, uint32_t block)
{
  while (frames) {
    const uint32_t now = frames < block ? (uint32_t)frames : block;
    host_run(host, now);
    frames -= now;
  }
}

void host_play(Host* host, const EventList* list, uint64_t frames, const int32_t* blocks)
{
  uint64_t start = 0;
  size_t next = 0;
  for (size_t i = 0; start < frames; i = blocks[i + 1] < 0 ? 0 : i + 1) {
    const uint64_t left = frames - start;
    const uint32_t length = left < (uint64_t)blocks[i] ? (uint32_t)left : (uint32_t)blocks[i];
    for (; next < list->count && list->events[next].frame < start + length; ++next) {
      const Event* event = &list->events[next];
      host_midi(host, (uint32_t)(event->frame - start), event->bytes, (uint32_t)event->size);
    }
    host_run(host, length);
    start += length;
  }
}

static double seconds_now(void)
{
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

bool host_run_until(Host* host, bool (*done)(Host* host), double seconds)
{
  const uint32_t block = 256;
  const struct timespec nap = {0, (long)(1e9 * block / host->options.rate)};
  const double end = seconds_now() + seconds;
  while (!done(host)) {
    if (seconds_now() > end) {
      return false;
    }
    nanosleep(&nap, NULL);
    host_run(host, block);
  }
  return true;
}

uint64_t host_frame(const Host* host)
{
  return host->frame;
}

/* ---- State -------------------------------------------------------------------- */

static const void* get_port(const char* symbol, void* data, uint32_t* size, uint32_t* type)
{
  Host* host = data;
  const float* control = find_control(host, symbol);
  *size = control ? sizeof *control : 0;
  *type = control ? host->forge.Float : 0;
  return control;
}

static void set_port(const char* symbol, void* data, const void* value, uint32_t size,
                     uint32_t type)
{
  Host* host = data;
  float* control = find_control(host, symbol);
  if (control && size == sizeof *control && type == host->forge.Float) {
    memcpy(control, value, sizeof *control);
  }
}

char* host_save(Host* host)
{
  LilvState* state = lilv_state_new_from_instance(
      host->plugin, host->instance, &host->map, NULL, NULL, NULL, NULL, get_port, host,
      LV2_STATE_IS_POD | LV2_STATE_IS_PORTABLE, host->features);
  require(state, "the plugin cannot save its state");
  char* text =
      lilv_state_to_string(host->world, &host->map, &host->unmap, state, "urn:state", NULL);
  lilv_state_free(state);
  return text;
}

void host_restore(Host* host, const char* text, bool bare)
{
  const LV2_Feature* const none[] = {NULL};
  LilvState* state = lilv_state_new_from_string(host->world, &host->map, text);
  require(state, "malformed state");
  lilv_state_restore(state, host->instance, set_port, host, 0, bare ? none : host->features);
  lilv_state_free(state);
}
