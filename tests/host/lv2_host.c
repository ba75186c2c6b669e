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
#include <lv2/presets/presets.h>
#include <lv2/resize-port/resize-port.h>
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
  IN_BYTES = 262144, ///< Of the input port: more than the plugin asks for
  BLOCK_MAX = 8192,
  PORTS_MAX = 32,
  URIDS_MAX = 512,
  PROPERTIES_MAX = 16,
  TEXTS_MAX = 16,
  LOG_BYTES = 65536,
};

/** One for all hosts of the process, so that they can share what is mapped. */
static struct {
  pthread_mutex_t mutex;
  char* uris[URIDS_MAX];
  uint32_t count;
} urids = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/** What the bundle says of the plugin: read once, and kept to the end. */
static struct {
  LilvWorld* world;
  const LilvPlugin* plugin;
  uint32_t port_count;
  const char* symbols[PORTS_MAX];
  float defaults[PORTS_MAX];
  uint32_t out_capacity; ///< That the plugin asks for
} bundle;

/** What every block needs. */
typedef struct {
  LV2_URID atom_Blank, midi_MidiEvent, patch_Set, patch_property, patch_value, state_StateChanged,
      time_Position, time_frame, time_speed, time_bar, time_barBeat, time_beatUnit,
      time_beatsPerBar, time_beatsPerMinute;
} Uris;

typedef struct {
  char* name; ///< Fragment of its URI
  char* value;
} Property;

/** Notes begun and not ended, by channel and key. */
typedef uint8_t Held[16][128];

struct HostImpl {
  HostOptions options;
  const HostTraits* traits;
  Chance chance;
  LilvInstance linked; ///< The instance, if it is that of the linked plugin
  LilvInstance* instance;
  Worker* worker;
  const LV2_Feature* features[7];
  LV2_Feature feature[6];
  LV2_Options_Option option[3];
  int32_t block_max;
  float rate;
  LV2_URID_Map map;
  LV2_URID_Unmap unmap;
  LV2_Log_Log log;
  LV2_Atom_Forge forge;
  Uris uris;
  bool active;

  float controls[PORTS_MAX]; ///< What the plugin reads while it runs
  pthread_mutex_t wanted_mutex;
  float wanted[PORTS_MAX]; ///< What the control ports are to be from the next block on
  float saved;             ///< Lent to whoever saves
  uint8_t* in;
  uint8_t* out;
  uint8_t pending[IN_BYTES]; ///< A 32-bit frame, then an atom, padded; for the next cycle
  size_t pending_size;
  size_t pending_next;   ///< Those before it were given to the plugin
  uint32_t pending_last; ///< Their latest frame
  Held held;             ///< Into the plugin
  Held ending;           ///< To be ended with the next block
  bool ends_held;        ///< There may be such

  HostTransport transport;
  HostTransport told; ///< Or, for POSITION_ON_CHANGE, where it rolled to from there
  bool jumped;        ///< Back to the loop's start
  uint64_t frame;
  EventList output;
  unsigned faults;
  unsigned lost;
  Property properties[PROPERTIES_MAX];
  unsigned state_changes;

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

static Uris map_uris(void)
{
  return (Uris){.atom_Blank = map_uri(NULL, LV2_ATOM__Blank),
                .midi_MidiEvent = map_uri(NULL, LV2_MIDI__MidiEvent),
                .patch_Set = map_uri(NULL, LV2_PATCH__Set),
                .patch_property = map_uri(NULL, LV2_PATCH__property),
                .patch_value = map_uri(NULL, LV2_PATCH__value),
                .state_StateChanged = map_uri(NULL, LV2_STATE__StateChanged),
                .time_Position = map_uri(NULL, LV2_TIME__Position),
                .time_frame = map_uri(NULL, LV2_TIME__frame),
                .time_speed = map_uri(NULL, LV2_TIME__speed),
                .time_bar = map_uri(NULL, LV2_TIME__bar),
                .time_barBeat = map_uri(NULL, LV2_TIME__barBeat),
                .time_beatUnit = map_uri(NULL, LV2_TIME__beatUnit),
                .time_beatsPerBar = map_uri(NULL, LV2_TIME__beatsPerBar),
                .time_beatsPerMinute = map_uri(NULL, LV2_TIME__beatsPerMinute)};
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

static uint32_t asked_capacity(const LilvPort* port)
{
  LilvNode* key = lilv_new_uri(bundle.world, LV2_RESIZE_PORT__minimumSize);
  LilvNode* value = lilv_port_get(bundle.plugin, port, key);
  require(value, "the plugin asks for no size of its output");
  const int size = lilv_node_as_int(value);
  lilv_node_free(value);
  lilv_node_free(key);
  return (uint32_t)size;
}

static void read_bundle(void)
{
  if (bundle.world) {
    return;
  }
  bundle.world = lilv_world_new();
  LilvNode* path = lilv_new_file_uri(bundle.world, NULL, HR_TEST_BUNDLE);
  LilvNode* uri = lilv_new_uri(bundle.world, PLUGIN_URI);
  lilv_world_load_bundle(bundle.world, path);
  bundle.plugin = lilv_plugins_get_by_uri(lilv_world_get_all_plugins(bundle.world), uri);
  require(bundle.plugin, "the bundle " HR_TEST_BUNDLE " does not hold the plugin");
  lilv_node_free(uri);
  lilv_node_free(path);

  bundle.port_count = lilv_plugin_get_num_ports(bundle.plugin);
  require(bundle.port_count <= PORTS_MAX, "PORTS_MAX is too small");
  lilv_plugin_get_port_ranges_float(bundle.plugin, NULL, NULL, bundle.defaults);
  for (uint32_t i = 0; i < bundle.port_count; ++i) {
    const LilvPort* port = lilv_plugin_get_port_by_index(bundle.plugin, i);
    bundle.symbols[i] = lilv_node_as_string(lilv_port_get_symbol(bundle.plugin, port));
  }
  bundle.out_capacity = asked_capacity(lilv_plugin_get_port_by_index(bundle.plugin, 1));
}

static void instantiate(Host* host)
{
  if (host->options.linked) {
    const LV2_Descriptor* descriptor = lv2_descriptor(0);
    host->linked.lv2_descriptor = descriptor;
    host->linked.lv2_handle =
        descriptor->instantiate(descriptor, host->options.rate, HR_TEST_BUNDLE, host->features);
    host->instance = host->linked.lv2_handle ? &host->linked : NULL;
  } else {
    host->instance = lilv_plugin_instantiate(bundle.plugin, host->options.rate, host->features);
  }
  require(host->instance, "the plugin cannot be instantiated");
}

static void clean_up(Host* host)
{
  if (host->options.linked) {
    host->linked.lv2_descriptor->cleanup(host->linked.lv2_handle);
  } else {
    lilv_instance_free(host->instance);
  }
}

static void connect_ports(Host* host)
{
  memcpy(host->wanted, bundle.defaults, sizeof host->wanted);
  memcpy(host->controls, bundle.defaults, sizeof host->controls);
  host->in = calloc(1, IN_BYTES);
  host->out = calloc(1, host->options.out_capacity);
  require(host->in && host->out, "out of memory");
  lilv_instance_connect_port(host->instance, 0, host->in);
  lilv_instance_connect_port(host->instance, 1, host->out);
  for (uint32_t i = 2; i < bundle.port_count; ++i) {
    lilv_instance_connect_port(host->instance, i, &host->controls[i]);
  }
}

/** Fill in what the options leave to the policy. */
static void choose_options(Host* host, const HostOptions* options)
{
  host->options = options ? *options : (HostOptions){0};
  host->traits = host_traits(host->options.policy);
  host->chance = chance_of(host->options.seed);
  if (host->options.rate <= 0.0) {
    host->options.rate = 48000.0;
  }
  if (!host->options.out_capacity) {
    host->options.out_capacity =
        host->traits->out_capacity ? host->traits->out_capacity : bundle.out_capacity;
  }
}

Host* host_new(const HostOptions* options)
{
  Host* host = calloc(1, sizeof *host);
  require(host, "out of memory");
  read_bundle();
  choose_options(host, options);
  host->transport = (HostTransport){false, 0, 120.0, 4.0f, 4, 0, 0};
  host->told = host->transport;
  host->told.frame = host->traits->position_at_start ? INT64_MIN : 0;
  pthread_mutex_init(&host->log_mutex, NULL);
  pthread_mutex_init(&host->wanted_mutex, NULL);
  host->worker =
      worker_new(host->traits, host->options.seed, host->options.rate, host->options.threaded);
  set_up_features(host);
  lv2_atom_forge_init(&host->forge, &host->map);
  host->uris = map_uris();

  instantiate(host);
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
  if (host->traits->work_outlives) {
    clean_up(host);
    worker_free(host->worker);
  } else {
    worker_free(host->worker);
    clean_up(host);
  }
  host_forget_properties(host);
  events_free(&host->output);
  pthread_mutex_destroy(&host->wanted_mutex);
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

void* host_instance(const Host* host)
{
  require(host->options.linked, "only a linked plugin can be looked into");
  return host->linked.lv2_handle;
}

/** The index of a control port; 0 if there is none of that name. */
static uint32_t find_control(const char* symbol)
{
  for (uint32_t i = 2; i < bundle.port_count; ++i) {
    if (!strcmp(bundle.symbols[i], symbol)) {
      return i;
    }
  }
  return 0;
}

static void set_wanted(Host* host, uint32_t port, float value)
{
  pthread_mutex_lock(&host->wanted_mutex);
  host->wanted[port] = value;
  pthread_mutex_unlock(&host->wanted_mutex);
}

void host_control(Host* host, const char* symbol, float value)
{
  const uint32_t port = find_control(symbol);
  require(port, "no such control port");
  set_wanted(host, port, value);
}

void host_freewheel(Host* host, bool on)
{
  if (host->traits->freewheel) {
    host_control(host, "freewheel", on ? 1.0f : 0.0f);
    worker_freewheel(host->worker, on);
  }
}

void host_stall(Host* host, bool on)
{
  worker_stall(host->worker, on);
}

/** What the player holds down is ended by the host, which has lost its place. */
static void end_held(Host* host)
{
  for (int channel = 0; channel < 16; ++channel) {
    for (int key = 0; key < 128; ++key) {
      host->ending[channel][key] = (uint8_t)(host->ending[channel][key] + host->held[channel][key]);
    }
  }
  memset(host->held, 0, sizeof host->held);
  host->ends_held = true;
}

void host_transport(Host* host, const HostTransport* transport)
{
  const bool stops = host->transport.rolling && !transport->rolling;
  const bool locates = host->transport.frame != transport->frame;
  if (host->traits->ends_notes && (stops || locates)) {
    end_held(host);
  }
  host->transport = *transport;
}

const HostTransport* host_transport_now(const Host* host)
{
  return &host->transport;
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
  host->pending_last = frame > host->pending_last ? frame : host->pending_last;
}

void host_atom(Host* host, uint32_t frame, const char* type, const void* body, uint32_t size)
{
  add_pending(host, frame, &(LV2_Atom){size, map_uri(NULL, type)}, body);
}

void host_midi(Host* host, uint32_t frame, const void* bytes, uint32_t size)
{
  uint8_t tidy[3];
  const uint8_t* message = bytes;
  if (host->traits->tidies_input && size == 1 && message[0] == 0xfe) {
    return; // Active sensing
  }
  if (host->traits->tidies_input && size == 3 && (message[0] & 0xf0) == 0x90 && !message[2]) {
    tidy[0] = (uint8_t)(0x80 | (message[0] & 0x0f));
    tidy[1] = message[1];
    tidy[2] = 64;
    message = tidy;
  }
  if (size == 3 && (message[0] & 0xe0) == 0x80) {
    uint8_t* count = &host->held[message[0] & 0x0f][message[1] & 0x7f];
    if (message[0] & 0x10) {
      ++*count;
    } else if (*count) {
      --*count;
    }
  }
  add_pending(host, frame, &(LV2_Atom){size, host->uris.midi_MidiEvent}, message);
}

static LV2_URID property_urid(const char* property)
{
  char uri[256];
  snprintf(uri, sizeof uri, PROPERTY_PREFIX "%s", property);
  return map_uri(NULL, uri);
}

/** A String as the policy's host sends it; a size that leaves the NUL out is
 * followed by what is none. */
static void forge_text(Host* host, const char* text)
{
  static const char padding[] = "xxxxxxxx";
  LV2_Atom_Forge* forge = &host->forge;
  const uint32_t size = (uint32_t)strlen(text);
  if (host->traits->texts_without_nul) {
    lv2_atom_forge_atom(forge, size, forge->String);
    lv2_atom_forge_raw(forge, text, size);
    require(lv2_atom_forge_raw(forge, padding, lv2_atom_pad_size(size) - size), "value too long");
  } else {
    require(lv2_atom_forge_string(forge, text, size), "value too long");
  }
}

/** A number of any type, known by the end of its URI. */
static void forge_any_number(Host* host, const char* type, double value)
{
  LV2_Atom_Forge* forge = &host->forge;
  if (!strcmp(type, "Int")) {
    lv2_atom_forge_int(forge, (int32_t)value);
  } else if (!strcmp(type, "Long")) {
    lv2_atom_forge_long(forge, (int64_t)value);
  } else if (!strcmp(type, "Float")) {
    lv2_atom_forge_float(forge, (float)value);
  } else if (!strcmp(type, "Double")) {
    lv2_atom_forge_double(forge, value);
  } else {
    require(!strcmp(type, "Bool"), "no such type of number");
    lv2_atom_forge_bool(forge, value != 0.0);
  }
}

/** Build patch:Set or patch:Get. The value is `text`, or a number of type `number`, or none. */
static void add_patch(Host* host, const char* type, const char* property, const char* text,
                      const char* number, double value)
{
  union {
    LV2_Atom atom;
    uint8_t bytes[8192];
  } message;
  LV2_Atom_Forge_Frame object;
  lv2_atom_forge_set_buffer(&host->forge, message.bytes, sizeof message);
  require(lv2_atom_forge_object(&host->forge, &object, 0, map_uri(NULL, type)), "patch message");
  if (property) {
    lv2_atom_forge_key(&host->forge, host->uris.patch_property);
    lv2_atom_forge_urid(&host->forge, property_urid(property));
  }
  if (text || number) {
    lv2_atom_forge_key(&host->forge, host->uris.patch_value);
  }
  if (text) {
    forge_text(host, text);
  } else if (number) {
    forge_any_number(host, number, value);
  }
  lv2_atom_forge_pop(&host->forge, &object);
  add_pending(host, 0, &message.atom, &message.atom + 1);
}

void host_set(Host* host, const char* property, const char* value)
{
  add_patch(host, LV2_PATCH__Set, property, value, NULL, 0.0);
}

void host_set_number(Host* host, const char* property, const char* type, double value)
{
  add_patch(host, LV2_PATCH__Set, property, NULL, type, value);
}

void host_get(Host* host, const char* property)
{
  add_patch(host, LV2_PATCH__Get, property, NULL, NULL, 0.0);
}

static void forge_number(Host* host, LV2_URID key, double value, LV2_URID type)
{
  LV2_Atom_Forge* forge = &host->forge;
  lv2_atom_forge_key(forge, key);
  if (type == forge->Float || host->traits->position_blank) {
    lv2_atom_forge_float(forge, (float)value);
  } else if (type == forge->Double) {
    lv2_atom_forge_double(forge, value);
  } else if (type == forge->Long) {
    lv2_atom_forge_long(forge, (int64_t)value);
  } else {
    lv2_atom_forge_int(forge, (int32_t)value);
  }
}

static double beat_now(const Host* host)
{
  const double beat =
      (double)host->transport.frame / host->options.rate * host->transport.tempo / 60.0;
  const double grid = host->traits->position_grid;
  return grid > 0.0 ? rint(beat * grid) / grid : beat;
}

static void forge_position(Host* host)
{
  LV2_Atom_Forge* forge = &host->forge;
  const HostTransport* transport = &host->transport;
  const double beat = beat_now(host);
  const double bar = floor(beat / (double)transport->beats_per_bar);
  LV2_Atom_Forge_Frame object;
  lv2_atom_forge_frame_time(forge, 0);
  LV2_Atom_Forge_Ref ref = lv2_atom_forge_object(forge, &object, 0, host->uris.time_Position);
  if (host->traits->position_blank) {
    lv2_atom_forge_deref(forge, ref)->type = host->uris.atom_Blank;
  }
  forge_number(host, host->uris.time_frame, (double)transport->frame, forge->Long);
  forge_number(host, host->uris.time_speed, transport->rolling ? 1.0 : 0.0, forge->Float);
  forge_number(host, host->uris.time_bar, bar, forge->Long);
  forge_number(host, host->uris.time_barBeat, beat - bar * (double)transport->beats_per_bar,
               forge->Double);
  forge_number(host, host->uris.time_beatUnit, transport->beat_unit, forge->Int);
  forge_number(host, host->uris.time_beatsPerBar, (double)transport->beats_per_bar, forge->Float);
  forge_number(host, host->uris.time_beatsPerMinute, transport->tempo, forge->Float);
  lv2_atom_forge_pop(forge, &object);
  host->told = *transport;
}

static bool transport_is_news(const Host* host)
{
  const HostTransport* now = &host->transport;
  const HostTransport* told = &host->told;
  return now->rolling != told->rolling || now->frame != told->frame || now->tempo != told->tempo ||
         now->beats_per_bar != told->beats_per_bar || now->beat_unit != told->beat_unit;
}

static bool position_is_due(Host* host)
{
  const bool always = host->traits->position == POSITION_EACH_RUN;
  return transport_is_news(host) || (always && !chance_once_in(&host->chance, 16));
}

/** Write what is pending for frames before `end`, of a block that begins at `start`. */
static void write_events(Host* host, uint32_t start, uint64_t end)
{
  LV2_Atom_Forge* forge = &host->forge;
  while (host->pending_next < host->pending_size) {
    const uint8_t* at = host->pending + host->pending_next;
    uint32_t frame = 0;
    LV2_Atom header;
    memcpy(&frame, at, sizeof frame);
    memcpy(&header, at + sizeof frame, sizeof header);
    if (frame >= end) {
      return;
    }
    const uint32_t size = (uint32_t)sizeof header + header.size;
    lv2_atom_forge_frame_time(forge, frame > start ? frame - start : 0);
    require(lv2_atom_forge_raw(forge, at + sizeof frame, size), "too much input for one block");
    lv2_atom_forge_pad(forge, size);
    host->pending_next += sizeof frame + lv2_atom_pad_size(size);
  }
}

static void write_note_offs(Host* host)
{
  LV2_Atom_Forge* forge = &host->forge;
  if (!host->ends_held) {
    return;
  }
  host->ends_held = false;
  for (int channel = 0; channel < 16; ++channel) {
    for (int key = 0; key < 128; ++key) {
      for (; host->ending[channel][key]; --host->ending[channel][key]) {
        const uint8_t bytes[] = {(uint8_t)(0x80 | channel), (uint8_t)key, 64};
        lv2_atom_forge_frame_time(forge, 0);
        lv2_atom_forge_atom(forge, sizeof bytes, host->uris.midi_MidiEvent);
        require(lv2_atom_forge_write(forge, bytes, sizeof bytes), "too many notes to end");
      }
    }
  }
}

/** The input of one block: the part of the cycle from `start` to before `end`. */
static void write_input(Host* host, uint32_t start, uint64_t end)
{
  LV2_Atom_Forge* forge = &host->forge;
  LV2_Atom_Forge_Frame sequence;
  lv2_atom_forge_set_buffer(forge, host->in, IN_BYTES);
  lv2_atom_forge_sequence_head(forge, &sequence, 0);
  if (host->jumped && host->options.notes_first) {
    write_events(host, start, (uint64_t)start + 1);
  }
  host->jumped = false;
  if (position_is_due(host)) {
    forge_position(host);
  }
  write_note_offs(host);
  write_events(host, start, end);
  lv2_atom_forge_pop(forge, &sequence);
}

/* ---- Output ------------------------------------------------------------------- */

/** A String or an Int as text, to be freed; NULL if it is neither. */
static char* text_of(const Host* host, const LV2_Atom* value)
{
  char* text = NULL;
  if (value->type == host->forge.String) {
    text = strndup((const char*)(value + 1), value->size);
  } else if (value->type == host->forge.Int &&
             asprintf(&text, "%d", ((const LV2_Atom_Int*)value)->body) < 0) {
    text = NULL;
  }
  return text;
}

static void keep_property(Host* host, const LV2_Atom* key, const LV2_Atom* value)
{
  const char* uri = unmap_urid(NULL, ((const LV2_Atom_URID*)key)->body);
  char* text = text_of(host, value);
  if (!uri || strncmp(uri, PROPERTY_PREFIX, strlen(PROPERTY_PREFIX)) || !text) {
    free(text);
    return;
  }
  const char* name = uri + strlen(PROPERTY_PREFIX);
  for (int i = 0; i < PROPERTIES_MAX; ++i) {
    Property* property = &host->properties[i];
    if (!property->name || !strcmp(property->name, name)) {
      free(property->name);
      free(property->value);
      property->name = strdup(name);
      property->value = text;
      return;
    }
  }
  require(false, "PROPERTIES_MAX is too small");
}

static void read_object(Host* host, const LV2_Atom_Object* object)
{
  const LV2_Atom* property = NULL;
  const LV2_Atom* value = NULL;
  host->state_changes += object->body.otype == host->uris.state_StateChanged;
  if (object->body.otype != host->uris.patch_Set) {
    return;
  }
  lv2_atom_object_get(object, host->uris.patch_property, &property, host->uris.patch_value, &value,
                      0);
  if (property && value) {
    keep_property(host, property, value);
  }
}

static void read_output(Host* host, uint32_t frames)
{
  const LV2_Atom_Sequence* sequence = (const LV2_Atom_Sequence*)host->out;
  const LV2_URID midi = host->uris.midi_MidiEvent;
  const uint32_t events_max = host->traits->out_events_max;
  uint32_t count = 0;
  int64_t last = 0;
  if (sequence->atom.type != host->forge.Sequence ||
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
      host->lost += events_max && ++count > events_max;
      events_add(&host->output, host->frame + (uint64_t)frame, (const uint8_t*)(event + 1),
                 event->body.size);
    } else if (event->body.type == host->forge.Object) {
      read_object(host, (const LV2_Atom_Object*)&event->body);
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

unsigned host_lost(const Host* host)
{
  return host->lost;
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

void host_forget_properties(Host* host)
{
  for (int i = 0; i < PROPERTIES_MAX; ++i) {
    free(host->properties[i].name);
    free(host->properties[i].value);
    host->properties[i] = (Property){0};
  }
}

unsigned host_state_changes(const Host* host)
{
  return host->state_changes;
}

const char* host_log(Host* host)
{
  pthread_mutex_lock(&host->log_mutex); // What is there stays where it is
  pthread_mutex_unlock(&host->log_mutex);
  return host->log_text;
}

/* ---- Running ------------------------------------------------------------------ */

static void take_controls(Host* host)
{
  pthread_mutex_lock(&host->wanted_mutex);
  memcpy(host->controls, host->wanted, sizeof host->controls);
  pthread_mutex_unlock(&host->wanted_mutex);
}

static void move_transport(Host* host, uint32_t frames)
{
  HostTransport* transport = &host->transport;
  if (!transport->rolling) {
    return;
  }
  const bool within = transport->frame < transport->loop_end;
  transport->frame += frames;
  if (host->traits->position == POSITION_ON_CHANGE) {
    host->told.frame += frames;
  }
  if (within && transport->frame >= transport->loop_end) {
    transport->frame += transport->loop_start - transport->loop_end;
    host->jumped = true;
  }
}

/** Run the plugin once: from the frame `start` of the cycle, with the events before `end`. */
static void run_block(Host* host, uint32_t start, uint32_t frames, uint64_t end)
{
  take_controls(host);
  write_input(host, start, end);
  LV2_Atom* out = (LV2_Atom*)host->out;
  out->type = host->forge.Chunk;
  out->size = host->options.out_capacity - (uint32_t)sizeof *out;

  lilv_instance_run(host->instance, frames);
  worker_after_run(host->worker, frames);

  read_output(host, frames);
  host->frame += frames;
  move_transport(host, frames);
}

static uint32_t pending_frame(const Host* host)
{
  uint32_t frame = UINT32_MAX;
  if (host->pending_next < host->pending_size) {
    memcpy(&frame, host->pending + host->pending_next, sizeof frame);
  }
  return frame;
}

/** How much of the cycle, of which there are `left` frames from `start` on, is run at once. */
static uint32_t choose_block(Host* host, uint32_t start, uint32_t left)
{
  const HostTransport* transport = &host->transport;
  const int64_t to_loop_end = transport->loop_end - transport->frame;
  uint32_t block = left;
  if (host->traits->loops_within_cycle && transport->rolling && to_loop_end > 0 &&
      to_loop_end < (int64_t)block) {
    block = (uint32_t)to_loop_end;
  }
  if (host->traits->splits_cycles && chance_once_in(&host->chance, 4)) {
    const uint32_t event = pending_frame(host);
    const bool at_event = event > start && event - start < block;
    block = at_event ? event - start : 1 + chance_choose(&host->chance, block);
  }
  return block;
}

void host_run(Host* host, uint32_t frames)
{
  require(frames <= BLOCK_MAX, "block too long");
  require(host->traits->past_the_block || host->pending_last <= (frames ? frames - 1 : 0),
          "this host stamps no event past the block");
  uint32_t start = 0;
  if (host->traits->splits_cycles && chance_once_in(&host->chance, 32)) {
    run_block(host, 0, 0, 0); // Its latency is asked for
  }
  while (start < frames) {
    const uint32_t block = choose_block(host, start, frames - start);
    const bool last = start + block == frames;
    run_block(host, start, block, last ? UINT64_MAX : start + block);
    start += block;
  }
  if (!frames) {
    run_block(host, 0, 0, UINT64_MAX);
  }
  host->pending_size = 0;
  host->pending_next = 0;
  host->pending_last = 0;
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
  const uint32_t port = find_control(symbol);
  *size = port ? sizeof(float) : 0;
  *type = port ? host->forge.Float : 0;
  pthread_mutex_lock(&host->wanted_mutex);
  host->saved = host->wanted[port];
  pthread_mutex_unlock(&host->wanted_mutex);
  return port ? &host->saved : NULL;
}

static void set_port(const char* symbol, void* data, const void* value, uint32_t size,
                     uint32_t type)
{
  Host* host = data;
  const uint32_t port = find_control(symbol);
  if (port && size == sizeof(float) && type == host->forge.Float) {
    set_wanted(host, port, *(const float*)value);
  }
}

char* host_save(Host* host)
{
  LilvState* state = lilv_state_new_from_instance(
      bundle.plugin, host->instance, &host->map, NULL, NULL, NULL, NULL, get_port, host,
      LV2_STATE_IS_POD | LV2_STATE_IS_PORTABLE, host->features);
  require(state, "the plugin cannot save its state");
  char* text =
      lilv_state_to_string(bundle.world, &host->map, &host->unmap, state, "urn:state", NULL);
  lilv_state_free(state);
  return text;
}

/** What the plugin asks for its state goes through here, to be given as the
 * policy's host does. */
typedef struct {
  Host* host;
  LV2_State_Retrieve_Function retrieve;
  LV2_State_Handle state;
  char* texts[TEXTS_MAX]; ///< Lent to the plugin until it is done
  unsigned text_count;
} Retrieval;

static const void* retrieve(LV2_State_Handle handle, uint32_t key, size_t* size, uint32_t* type,
                            uint32_t* flags)
{
  Retrieval* retrieval = handle;
  Host* host = retrieval->host;
  const void* value = retrieval->retrieve(retrieval->state, key, size, type, flags);
  const bool text = value && (*type == host->forge.String || *type == host->forge.Path);
  if (!text || !host->traits->texts_without_nul) {
    return value;
  }
  require(retrieval->text_count < TEXTS_MAX, "TEXTS_MAX is too small");
  char** copy = &retrieval->texts[retrieval->text_count++];
  *size = strnlen(value, *size);
  *copy = malloc(*size ? *size : 1); // Just that, so that reading on is found
  require(*copy, "out of memory");
  memcpy(*copy, value, *size);
  return *copy;
}

/** Stands before the plugin's restore(): the handle is the host's. */
static LV2_State_Status restore_through(LV2_Handle handle, LV2_State_Retrieve_Function from,
                                        LV2_State_Handle state, uint32_t flags,
                                        const LV2_Feature* const* features)
{
  Host* host = handle;
  const LV2_State_Interface* interface =
      lilv_instance_get_extension_data(host->instance, LV2_STATE__interface);
  Retrieval retrieval = {.host = host, .retrieve = from, .state = state};
  const LV2_State_Status status = interface->restore(lilv_instance_get_handle(host->instance),
                                                     retrieve, &retrieval, flags, features);
  while (retrieval.text_count) {
    free(retrieval.texts[--retrieval.text_count]);
  }
  return status;
}

static const void* restore_extension(const char* uri)
{
  static const LV2_State_Interface interface = {NULL, restore_through};
  return strcmp(uri, LV2_STATE__interface) ? NULL : &interface;
}

static void restore(Host* host, const char* text, const LV2_Feature* const* features)
{
  static const LV2_Descriptor descriptor = {.URI = PLUGIN_URI, .extension_data = restore_extension};
  LilvInstance through = {&descriptor, host, NULL};
  LilvState* state = lilv_state_new_from_string(bundle.world, &host->map, text);
  require(state, "malformed state");
  lilv_state_restore(state, &through, set_port, host, 0, features);
  lilv_state_free(state);
}

void host_restore(Host* host, const char* text)
{
  const LV2_Feature* const none[] = {NULL};
  restore(host, text, host->traits->restores_bare ? none : host->features);
}

void host_preset(Host* host, const char* text)
{
  LV2_Worker_Schedule* schedule = worker_restore_schedule(host->worker);
  const LV2_Feature work = {LV2_WORKER__schedule, schedule};
  const LV2_Feature* const features[] = {&host->feature[0], &host->feature[1], &work, NULL};
  if (!host->traits->restores_bare) {
    restore(host, text, host->features);
    return;
  }
  restore(host, text, features);
  const uint32_t wake = 1; // As if the plugin had asked for it
  schedule->schedule_work(schedule->handle, sizeof wake, &wake);
}

char* host_shipped_preset(Host* host, const char* label)
{
  char* text = NULL;
  LilvNode* kind = lilv_new_uri(bundle.world, LV2_PRESETS__Preset);
  LilvNodes* presets = lilv_plugin_get_related(bundle.plugin, kind);
  LILV_FOREACH(nodes, i, presets)
  {
    const LilvNode* uri = lilv_nodes_get(presets, i);
    lilv_world_load_resource(bundle.world, uri);
    LilvState* state = lilv_state_new_from_world(bundle.world, &host->map, uri);
    require(state, "malformed preset");
    if (!strcmp(lilv_state_get_label(state), label)) {
      text =
          lilv_state_to_string(bundle.world, &host->map, &host->unmap, state, "urn:preset", NULL);
    }
    lilv_state_free(state);
  }
  lilv_nodes_free(presets);
  lilv_node_free(kind);
  require(text, "the bundle has no such preset");
  return text;
}
