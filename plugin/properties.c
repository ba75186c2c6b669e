/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/plugin.h"

#include "osc/osc.h"
#include "plugin/command.h"

#include <lv2/atom/forge.h>
#include <lv2/atom/util.h>

#include <stdio.h>
#include <string.h>

enum { STORE, TREE, BRANCH, OSC_URL, TROUBLE, PROPERTIES };

_Static_assert(PROPERTIES == sizeof((HrPlugin*)0)->told / sizeof((HrPlugin*)0)->told[0],
               "as many values as properties");

static LV2_URID property_urid(const HrUris* uris, unsigned property)
{
  const LV2_URID urids[PROPERTIES] = {uris->hr_store, uris->hr_tree, uris->hr_branch,
                                      uris->hr_osc_url, uris->hr_trouble};
  return urids[property];
}

static void get_values(HrPlugin* plugin, const char* values[PROPERTIES], HrSessionState* state)
{
  hr_session_state(plugin->session, state);
  values[STORE] = state->store_path;
  values[TREE] = state->tree_name;
  values[BRANCH] = state->branch_name;
  values[OSC_URL] = hr_osc_url();
  values[TROUBLE] = state->trouble_text;
}

/** Put a patch:Set on the ring for the output port; false if that is full. */
static bool send_set(HrPlugin* plugin, unsigned property, const char* value)
{
  const HrUris* const uris = &plugin->uris;
  uint8_t buffer[4096 + 256];
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
      lv2_atom_forge_string(&forge, value, (uint32_t)strnlen(value, 4095));
  lv2_atom_forge_pop(&forge, &frame);

  const LV2_Atom* const atom = (const LV2_Atom*)buffer;
  const uint32_t size = (uint32_t)sizeof *atom + atom->size;
  void* const room = done ? hr_ring_begin(plugin->engine->notify, 1, size) : NULL;
  if (!room) {
    return false;
  }
  memcpy(room, atom, size);
  hr_ring_end(plugin->engine->notify);
  return true;
}

void hr_properties_tell(HrPlugin* plugin, bool all)
{
  const char* values[PROPERTIES];
  HrSessionState state;
  get_values(plugin, values, &state);
  for (unsigned i = 0; i < PROPERTIES; ++i) {
    const bool news = strncmp(values[i], plugin->told[i], sizeof plugin->told[i] - 1) != 0;
    if ((news || all) && send_set(plugin, i, values[i])) {
      snprintf(plugin->told[i], sizeof plugin->told[i], "%.*s", (int)sizeof plugin->told[i] - 1,
               values[i]);
    }
  }
}

static void tell_one(HrPlugin* plugin, LV2_URID urid)
{
  const char* values[PROPERTIES];
  HrSessionState state;
  get_values(plugin, values, &state);
  for (unsigned i = 0; i < PROPERTIES; ++i) {
    if (property_urid(&plugin->uris, i) == urid) {
      send_set(plugin, i, values[i]);
    }
  }
}

/** The text of a String or Path atom, whose size may or may not count its NUL. */
static bool get_text(const HrUris* uris, const LV2_Atom* atom, char text[4096])
{
  if ((atom->type != uris->atom_String && atom->type != uris->atom_Path) || atom->size >= 4096) {
    return false;
  }
  memcpy(text, atom + 1, atom->size);
  text[atom->size] = '\0';
  return true;
}

static void set_property(HrPlugin* plugin, LV2_URID property, const LV2_Atom* value)
{
  const HrUris* const uris = &plugin->uris;
  const char* verb = NULL;
  char text[4096];
  HrError error = {HR_OK, ""};
  if (!get_text(uris, value, text)) {
    return;
  }
  if (property == uris->hr_store) {
    hr_plugin_attach(plugin, &(HrAttachment){.store = *text ? text : NULL});
  } else if (property == uris->hr_tree) {
    verb = "tree";
  } else if (property == uris->hr_branch) {
    verb = "switch";
  }
  if (verb) {
    const HrValue argument = hr_value_text(text);
    if (hr_command_run(plugin->session, verb, &argument, 1, "property", NULL, &error)) {
      lv2_log_error(&plugin->logger, "HalfRemembered: %s\n", error.text);
      tell_one(plugin, property); // What it still is
    }
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
  if (object->body.otype == uris->patch_Get) {
    if (urid) {
      tell_one(plugin, urid);
    } else {
      hr_properties_tell(plugin, true);
    }
  } else if (object->body.otype == uris->patch_Set && urid && value) {
    set_property(plugin, urid, value);
  }
}
