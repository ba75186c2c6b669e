/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "bench/lv2_plugin.h"

#include "bench/bench.h"
#include "tests/uri_map.h"

#include <lv2/atom/util.h>
#include <lv2/midi/midi.h>

#include <stdio.h>
#include <stdlib.h>

#define RATE 48000.0

LV2_URID_Map* lv2_map(void)
{
  static LV2_URID_Map map = {NULL, map_uri};
  return &map;
}

LV2_URID lv2_urid(const char* uri)
{
  return map_uri(NULL, uri);
}

void lv2_clear_input(Lv2Buffer* buffer)
{
  static LV2_URID sequence;
  sequence = sequence ? sequence : lv2_urid(LV2_ATOM__Sequence);
  buffer->sequence = (LV2_Atom_Sequence){.atom = {sizeof(LV2_Atom_Sequence_Body), sequence}};
}

void lv2_clear_output(Lv2Buffer* buffer)
{
  static LV2_URID chunk;
  chunk = chunk ? chunk : lv2_urid(LV2_ATOM__Chunk);
  buffer->sequence.atom = (LV2_Atom){LV2_BUFFER_BYTES - sizeof(LV2_Atom), chunk};
}

void lv2_add_event(Lv2Buffer* buffer, int64_t frame, LV2_URID type, const void* body, uint32_t size)
{
  LV2_Atom* const atom = &buffer->sequence.atom;
  LV2_Atom_Event* const event = (LV2_Atom_Event*)(buffer->bytes + sizeof *atom + atom->size);
  const uint32_t padded = lv2_atom_pad_size((uint32_t)sizeof *event + size);
  bench_require(sizeof *atom + atom->size + padded <= LV2_BUFFER_BYTES, "Too much for one block.");
  event->time.frames = frame;
  event->body = (LV2_Atom){size, type};
  memcpy(event + 1, body, size);
  atom->size += padded;
}

static void find(Lv2Plugin* plugin, const char* uri, const char* bundle)
{
  plugin->world = lilv_world_new();
  LilvNode* const name = lilv_new_uri(plugin->world, uri);
  if (bundle) {
    LilvNode* const folder = lilv_new_file_uri(plugin->world, NULL, bundle);
    lilv_world_load_bundle(plugin->world, folder);
    lilv_node_free(folder);
  } else {
    lilv_world_load_all(plugin->world);
  }
  plugin->description = lilv_plugins_get_by_uri(lilv_world_get_all_plugins(plugin->world), name);
  lilv_node_free(name);
  if (!plugin->description) {
    fprintf(stderr, "No plugin <%s> in %s.\n", uri, bundle ? bundle : "LV2_PATH");
    exit(EXIT_FAILURE);
  }
}

static void connect_ports(Lv2Plugin* plugin)
{
  const uint32_t count = lilv_plugin_get_num_ports(plugin->description);
  bench_require(count <= LV2_CONTROLS_MAX, "LV2_CONTROLS_MAX is too small.");
  lilv_plugin_get_port_ranges_float(plugin->description, NULL, NULL, plugin->controls);
  plugin->in = calloc(1, sizeof *plugin->in);
  plugin->out = calloc(1, sizeof *plugin->out);
  bench_require(plugin->in && plugin->out, "Out of memory.");
  lilv_instance_connect_port(plugin->instance, 0, plugin->in);
  lilv_instance_connect_port(plugin->instance, 1, plugin->out);
  for (uint32_t i = 2; i < count; ++i) {
    lilv_instance_connect_port(plugin->instance, i, &plugin->controls[i]);
  }
}

static LV2_Worker_Status schedule_work(LV2_Worker_Schedule_Handle handle, uint32_t size,
                                       const void* data)
{
  Lv2Plugin* const plugin = handle;
  const LV2_Worker_Schedule* const host = worker_schedule(plugin->worker);
  const uint64_t begun = bench_clock();
  const LV2_Worker_Status status = host->schedule_work(host->handle, size, data);
  plugin->scheduling += bench_clock() - begun;
  return status;
}

void lv2_plugin_load(Lv2Plugin* plugin, const char* uri, const char* bundle, bool threaded)
{
  const LV2_Feature map = {LV2_URID__map, lv2_map()};
  *plugin = (Lv2Plugin){0};
  find(plugin, uri, bundle);
  plugin->worker = worker_new(host_traits(HOST_PLAIN), 0, RATE, threaded);
  plugin->schedule = (LV2_Worker_Schedule){plugin, schedule_work};
  const LV2_Feature schedule = {LV2_WORKER__schedule, &plugin->schedule};
  const LV2_Feature* const features[] = {&map, &schedule, NULL};
  plugin->instance = lilv_plugin_instantiate(plugin->description, RATE, features);
  bench_require(plugin->instance, "A plugin cannot be instantiated.");
  const LV2_Worker_Interface* const interface =
      lilv_instance_get_extension_data(plugin->instance, LV2_WORKER__interface);
  if (interface) {
    worker_start(plugin->worker, interface, lilv_instance_get_handle(plugin->instance));
  } else {
    worker_free(plugin->worker);
    plugin->worker = NULL;
  }
  connect_ports(plugin);
  lilv_instance_activate(plugin->instance);
}

void lv2_plugin_unload(Lv2Plugin* plugin)
{
  lilv_instance_deactivate(plugin->instance);
  if (plugin->worker) {
    worker_free(plugin->worker);
  }
  lilv_instance_free(plugin->instance);
  lilv_world_free(plugin->world);
  free(plugin->in);
  free(plugin->out);
}

float* lv2_plugin_control(Lv2Plugin* plugin, const char* symbol)
{
  LilvNode* const name = lilv_new_string(plugin->world, symbol);
  const LilvPort* const port = lilv_plugin_get_port_by_symbol(plugin->description, name);
  lilv_node_free(name);
  bench_require(port, "The plugin lacks a control port.");
  return &plugin->controls[lilv_port_get_index(plugin->description, port)];
}
