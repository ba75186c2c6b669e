/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/plugin.h"

#include "osc/osc.h"
#include "plugin/command.h"

#include <lv2/atom/forge.h>
#include <lv2/atom/util.h>

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** What can be asked for, and set, by patch messages. */
typedef struct {
  size_t urid;      ///< Offset in HrUris
  const char* key;  ///< What `get` calls it
  const char* verb; ///< The command that sets it; NULL: it cannot be set so
  bool number;      ///< Else text
} Property;

static const Property properties[] = {
    {offsetof(HrUris, hr_store), "store", NULL, false}, // Set by attaching
    {offsetof(HrUris, hr_tree), "tree", "tree", false},
    {offsetof(HrUris, hr_branch), "branch", "switch", false},
    {offsetof(HrUris, hr_standing), "standing", "standing", false},
    {offsetof(HrUris, hr_silence), "silence", "silence", true},
    {offsetof(HrUris, hr_snap), "snap", "snap", true},
    {offsetof(HrUris, hr_tempo_source), "tempo/source", "tempo/source", false},
    {offsetof(HrUris, hr_osc_url), NULL, NULL, false},
    {offsetof(HrUris, hr_trouble), "trouble", NULL, false},
};

_Static_assert(sizeof properties / sizeof *properties == HR_PROPERTIES, "as many as are told");

enum { VALUE_SIZE = 4096 };

static LV2_URID property_urid(const HrUris* uris, const Property* property)
{
  LV2_URID urid;
  memcpy(&urid, (const char*)uris + property->urid, sizeof urid);
  return urid;
}

/** The row that `get` answers, as text. */
static void take_row(void* data, const HrValue* values, size_t count)
{
  char* const text = data;
  if (count > 1 && values[1].type == HR_VALUE_TEXT) {
    snprintf(text, VALUE_SIZE, "%s", values[1].text);
  } else if (count > 1) {
    snprintf(text, VALUE_SIZE, "%" PRId64, values[1].integer);
  }
}

static void get_value(HrPlugin* plugin, const Property* property, char text[VALUE_SIZE])
{
  const HrAnswer answer = {take_row, text};
  *text = '\0';
  if (property->key) {
    const HrValue key = hr_value_text(property->key);
    hr_command_run(plugin->session, "get", &key, 1, "property", &answer, NULL);
  } else {
    snprintf(text, VALUE_SIZE, "%s", hr_osc_url());
  }
}

/** Put an atom on the ring for the output port; false if that is full. */
static bool send(HrPlugin* plugin, const LV2_Atom* atom)
{
  const uint32_t size = (uint32_t)sizeof *atom + atom->size;
  void* const room = hr_ring_begin(plugin->engine->notify, 1, size);
  if (!room) {
    return false;
  }
  memcpy(room, atom, size);
  hr_ring_end(plugin->engine->notify);
  return true;
}

/** Tell of a property by patch:Set. */
static bool send_set(HrPlugin* plugin, const Property* property, const char* value)
{
  const HrUris* const uris = &plugin->uris;
  uint8_t buffer[VALUE_SIZE + 256];
  LV2_Atom_Forge forge;
  LV2_Atom_Forge_Frame frame;
  lv2_atom_forge_init(&forge, plugin->map);
  lv2_atom_forge_set_buffer(&forge, buffer, sizeof buffer);
  lv2_atom_forge_object(&forge, &frame, 0, uris->patch_Set);
  lv2_atom_forge_key(&forge, uris->patch_subject);
  lv2_atom_forge_urid(&forge, uris->hr_plugin);
  lv2_atom_forge_key(&forge, uris->patch_property);
  lv2_atom_forge_urid(&forge, property_urid(uris, property));
  lv2_atom_forge_key(&forge, uris->patch_value);
  const LV2_Atom_Forge_Ref done =
      property->number ? lv2_atom_forge_int(&forge, (int32_t)strtol(value, NULL, 10))
                       : lv2_atom_forge_string(&forge, value, (uint32_t)strlen(value));
  lv2_atom_forge_pop(&forge, &frame);
  return done && send(plugin, (const LV2_Atom*)buffer);
}

void hr_properties_tell(HrPlugin* plugin, bool all)
{
  for (unsigned i = 0; i < HR_PROPERTIES; ++i) {
    char value[VALUE_SIZE];
    char* const told = plugin->told[i];
    get_value(plugin, &properties[i], value);
    const bool news = strncmp(value, told, sizeof plugin->told[i] - 1) != 0;
    if ((news || all) && send_set(plugin, &properties[i], value)) {
      snprintf(told, sizeof plugin->told[i], "%.*s", (int)sizeof plugin->told[i] - 1, value);
    }
  }
}

void hr_properties_tell_state(HrPlugin* plugin)
{
  const LV2_Atom_Object changed = {{sizeof(LV2_Atom_Object_Body), plugin->uris.atom_Object},
                                   {0, plugin->uris.state_StateChanged}};
  const uint64_t now = hr_state_hash(plugin);
  const uint64_t known = atomic_load(&plugin->state_known);
  /* At first nothing was saved that could differ. */
  if (now != known && (!known || send(plugin, &changed.atom))) {
    atomic_store(&plugin->state_known, now);
  }
}

static const Property* find_property(const HrUris* uris, LV2_URID urid)
{
  for (unsigned i = 0; i < HR_PROPERTIES; ++i) {
    if (property_urid(uris, &properties[i]) == urid) {
      return &properties[i];
    }
  }
  return NULL;
}

static void tell_one(HrPlugin* plugin, const Property* property)
{
  char value[VALUE_SIZE];
  get_value(plugin, property, value);
  send_set(plugin, property, value);
}

/** The text of a String or Path atom, whose size may or may not count its NUL. */
static bool get_text(const HrUris* uris, const LV2_Atom* atom, char text[VALUE_SIZE])
{
  if ((atom->type != uris->atom_String && atom->type != uris->atom_Path) ||
      atom->size >= VALUE_SIZE) {
    return false;
  }
  memcpy(text, atom + 1, atom->size);
  text[atom->size] = '\0';
  return true;
}

/** Set a property; what is wrong with the value is in `error`. */
static HrStatus set(HrPlugin* plugin, const Property* property, const LV2_Atom* atom,
                    HrError* error)
{
  const HrUris* const uris = &plugin->uris;
  char text[VALUE_SIZE];
  double number = 0.0;
  const bool is_text = get_text(uris, atom, text);
  if (!is_text && !hr_atom_number(uris, atom, &number)) {
    return hr_error(error, HR_ERR_ARGUMENT, "A property takes a text or a number.");
  }
  if (property->verb) {
    const HrValue value = is_text ? hr_value_text(text) : hr_value_number(round(number));
    return hr_command_run(plugin->session, property->verb, &value, 1, "property", NULL, error);
  }
  if (property->urid != offsetof(HrUris, hr_store)) {
    return hr_error(error, HR_ERR_ARGUMENT, "That property can only be read.");
  }
  return is_text ? hr_plugin_attach(plugin, &(HrAttachment){.store = *text ? text : NULL})
                 : hr_error(error, HR_ERR_ARGUMENT, "The store is the path of a file.");
}

static void set_property(HrPlugin* plugin, const Property* property, const LV2_Atom* atom)
{
  HrError error = {HR_OK, ""};
  if (set(plugin, property, atom, &error)) {
    if (*error.text) {
      lv2_log_error(&plugin->logger, "HalfRemembered: %s\n", error.text);
    }
    tell_one(plugin, property); // What it still is
  }
}

void hr_properties_receive(HrPlugin* plugin, const LV2_Atom* atom)
{
  const HrUris* const uris = &plugin->uris;
  const LV2_Atom_Object* const object = (const LV2_Atom_Object*)atom;
  const LV2_Atom* property = NULL;
  const LV2_Atom* value = NULL;
  uint32_t offset = sizeof object->body;
  while (atom->size >= offset && atom->size - offset >= sizeof(LV2_Atom_Property_Body)) {
    const LV2_Atom_Property_Body* const entry =
        (const LV2_Atom_Property_Body*)((const char*)(atom + 1) + offset);
    if (entry->value.size > atom->size - offset - sizeof *entry) {
      return; // A size that is a lie: nothing of it is believed
    }
    property = entry->key == uris->patch_property ? &entry->value : property;
    value = entry->key == uris->patch_value ? &entry->value : value;
    offset += (uint32_t)sizeof *entry + lv2_atom_pad_size(entry->value.size);
  }
  LV2_URID urid = 0;
  if (property && property->type == uris->atom_URID && property->size >= sizeof urid) {
    memcpy(&urid, property + 1, sizeof urid);
  }
  const Property* const known = find_property(uris, urid);
  if (object->body.otype == uris->patch_Get && !urid) {
    hr_properties_tell(plugin, true);
  } else if (object->body.otype == uris->patch_Get && known) {
    tell_one(plugin, known);
  } else if (object->body.otype == uris->patch_Set && known && value) {
    set_property(plugin, known, value);
  }
}
