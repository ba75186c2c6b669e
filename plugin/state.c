/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/plugin.h"

#include "plugin/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { PORTABLE = LV2_STATE_IS_POD | LV2_STATE_IS_PORTABLE };

/** Settings that the ports may not show: commands that set them, and what `get` calls them. */
static const char* const settings[] = {"record", "thru",     "overdub", "loop",        "quantum",
                                       "snap",   "standing", "silence", "tempo/source"};
enum { SETTINGS = sizeof settings / sizeof *settings, SETTINGS_TEXT = 512 };

/** The one setting of two values, in ticks. */
#define LOOP_RANGE "loop/range"

static LV2_State_Status save_text(const HrPlugin* plugin, LV2_State_Store_Function store,
                                  LV2_State_Handle state, LV2_URID key, const char* text)
{
  return store(state, key, text, strlen(text) + 1, plugin->uris.atom_String, PORTABLE);
}

static void write_hex(const uint8_t uuid[16], char text[33])
{
  for (unsigned i = 0; i < 16; ++i) {
    snprintf(text + 2 * i, 3, "%02x", uuid[i]);
  }
}

static bool read_hex(const char* text, uint8_t uuid[16])
{
  for (unsigned i = 0; i < 16; ++i) {
    unsigned byte;
    if (sscanf(text + 2 * i, "%2x", &byte) != 1) {
      return false;
    }
    uuid[i] = (uint8_t)byte;
  }
  return true;
}

/** One row of `get`, as a line. */
static void write_setting(void* data, const HrValue* values, size_t count)
{
  char* const lines = data;
  const size_t used = strlen(lines);
  if (count < 2) {
    return;
  }
  if (values[1].type == HR_VALUE_TEXT) {
    snprintf(lines + used, SETTINGS_TEXT - used, "%s %s\n", values[0].text, values[1].text);
  } else {
    snprintf(lines + used, SETTINGS_TEXT - used, "%s %" PRId64 "\n", values[0].text,
             values[1].integer);
  }
}

/** Every setting, as lines "verb value". The loop's range comes first: to set it
 * turns the loop on, and `loop` says whether it is. */
static void write_settings(HrPlugin* plugin, char lines[SETTINGS_TEXT])
{
  HrSessionState now;
  hr_session_state(plugin->session, &now);
  lines[0] = '\0';
  if (now.loop_end > now.loop_start) {
    snprintf(lines, SETTINGS_TEXT, LOOP_RANGE " %" PRId64 "t %" PRId64 "t\n", now.loop_start,
             now.loop_end);
  }
  for (unsigned i = 0; i < SETTINGS; ++i) {
    const HrValue key = hr_value_text(settings[i]);
    hr_command_run(plugin->session, "get", &key, 1, "session", &(HrAnswer){write_setting, lines},
                   NULL);
  }
}

uint64_t hr_state_hash(HrPlugin* plugin)
{
  HrSessionState now;
  char lines[SETTINGS_TEXT];
  char text[sizeof now.store_path + sizeof lines + 64];
  hr_session_state(plugin->session, &now);
  write_settings(plugin, lines);
  const int size = snprintf(text, sizeof text, "%s\n#%u #%u\n%s", now.store_path, now.tree,
                            hr_branch_number(now.branch), lines);
  return XXH3_64bits(text, (size_t)size);
}

/** Find where the session plays, or will as soon as its store can be opened again; false if
 * there is no tree yet. The default store is saved as none, so that the session moves to
 * another machine's. */
static bool find_place(HrPlugin* plugin, HrWhere* place)
{
  HrSessionState now;
  char path[sizeof place->store];
  hr_session_state(plugin->session, &now);
  if (!now.attached || !now.tree) {
    return hr_session_wanted(plugin->session, place) && *place->tree;
  }
  char* const real = hr_store_default_path(path, sizeof path) ? NULL : realpath(path, NULL);
  const bool is_default = real && !strcmp(real, now.store_path);
  free(real);
  snprintf(place->store, sizeof place->store, "%s", is_default ? "" : now.store_path);
  snprintf(place->tree, sizeof place->tree, "#%u", now.tree);
  snprintf(place->branch, sizeof place->branch, "#%u", hr_branch_number(now.branch));
  place->has_uuid = hr_session_store_uuid(plugin->session, place->uuid);
  return true;
}

/* The store's path is saved as text, not as a Path: hosts would copy the live
 * file into the session, byte for byte. */
static LV2_State_Status save_place(const HrPlugin* plugin, LV2_State_Store_Function store,
                                   LV2_State_Handle state, const HrWhere* place)
{
  const HrUris* const uris = &plugin->uris;
  char uuid[33] = "";
  if (place->has_uuid) {
    write_hex(place->uuid, uuid);
  }
  const struct {
    LV2_URID key;
    const char* text;
  } texts[] = {{uris->hr_store, place->store},
               {uris->hr_store_uuid, uuid},
               {uris->hr_tree, place->tree},
               {uris->hr_branch, place->branch}};
  LV2_State_Status status = LV2_STATE_SUCCESS;
  for (unsigned i = 0; !status && i < sizeof texts / sizeof *texts; ++i) {
    status = *texts[i].text ? save_text(plugin, store, state, texts[i].key, texts[i].text) : status;
  }
  return status;
}

LV2_State_Status hr_state_save(LV2_Handle handle, LV2_State_Store_Function store,
                               LV2_State_Handle state, uint32_t flags,
                               const LV2_Feature* const* features)
{
  (void)flags;
  (void)features;
  HrPlugin* const plugin = handle;
  HrWhere place;
  char lines[SETTINGS_TEXT];
  hr_session_flush(plugin->session);
  LV2_State_Status status =
      find_place(plugin, &place) ? save_place(plugin, store, state, &place) : LV2_STATE_SUCCESS;
  if (!status) {
    write_settings(plugin, lines);
    status = save_text(plugin, store, state, plugin->uris.hr_settings, lines);
  }
  atomic_store(&plugin->state_known, hr_state_hash(plugin));
  return status;
}

/** Copy a saved text out; some hosts leave its NUL uncounted. NULL if there is none. */
static const char* retrieve_text(const HrPlugin* plugin, LV2_State_Retrieve_Function retrieve,
                                 LV2_State_Handle state, LV2_URID key, char* text, size_t size)
{
  size_t length = 0;
  uint32_t type = 0;
  uint32_t flags = 0;
  const void* const value = retrieve(state, key, &length, &type, &flags);
  if (!value || (type != plugin->uris.atom_String && type != plugin->uris.atom_Path) ||
      length >= size) {
    return NULL;
  }
  memcpy(text, value, length);
  text[length] = '\0';
  return text;
}

/** Set the loop's range, if it is another one: what is heard need not begin anew. */
static void restore_loop_range(HrPlugin* plugin, const char* text)
{
  HrSessionState now;
  HrTick start, end;
  hr_session_state(plugin->session, &now);
  if (sscanf(text, "%" SCNd64 "t %" SCNd64 "t", &start, &end) == 2 &&
      (start != now.loop_start || end != now.loop_end)) {
    const HrValue range[] = {hr_value_tick(start), hr_value_tick(end)};
    hr_command_run(plugin->session, LOOP_RANGE, range, 2, "session", NULL, NULL);
  }
}

/** Run "verb value" for each line, if it is a setting. */
static void restore_settings(HrPlugin* plugin, char* text)
{
  char* rest = NULL;
  for (char* line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
    char* const space = strchr(line, ' ');
    unsigned i = SETTINGS;
    if (space) {
      *space = '\0';
      for (i = 0; i < SETTINGS && strcmp(line, settings[i]); ++i) {
      }
    }
    if (space && !strcmp(line, LOOP_RANGE)) {
      restore_loop_range(plugin, space + 1);
    }
    if (i == SETTINGS) {
      continue; // Of a newer version
    }
    char* end;
    const long number = strtol(space + 1, &end, 10);
    const HrValue value = *end ? hr_value_text(space + 1) : hr_value_integer(number);
    HrSessionState now;
    hr_session_state(plugin->session, &now);
    const bool is_loop = !strcmp(line, "loop");
    if (!is_loop || number != now.loop) {
      hr_command_run(plugin->session, line, &value, 1, "session", NULL, NULL);
    }
  }
}

/* Hosts give no features here, not even a map: what instantiate() got is used. */
LV2_State_Status hr_state_restore(LV2_Handle handle, LV2_State_Retrieve_Function retrieve,
                                  LV2_State_Handle state, uint32_t flags,
                                  const LV2_Feature* const* features)
{
  (void)flags;
  (void)features;
  HrPlugin* const plugin = handle;
  const HrUris* const uris = &plugin->uris;
  char store[4096], tree[64], branch[64], hex[64], lines[SETTINGS_TEXT];
  uint8_t uuid[16];
  HrAttachment wish = {
      .store = retrieve_text(plugin, retrieve, state, uris->hr_store, store, sizeof store),
      .tree = retrieve_text(plugin, retrieve, state, uris->hr_tree, tree, sizeof tree),
      .branch = retrieve_text(plugin, retrieve, state, uris->hr_branch, branch, sizeof branch)};
  if (retrieve_text(plugin, retrieve, state, uris->hr_store_uuid, hex, sizeof hex) &&
      strlen(hex) >= 32 && read_hex(hex, uuid)) {
    wish.uuid = uuid;
  }
  /* A state without a tree is that of an instance nothing was played on, or of
   * a preset: it stays where it is. */
  if (wish.tree) {
    hr_plugin_attach(plugin, &wish);
  }
  if (retrieve_text(plugin, retrieve, state, uris->hr_settings, lines, sizeof lines)) {
    restore_settings(plugin, lines);
    plugin->settled = true;
  }
  atomic_store(&plugin->state_known, hr_state_hash(plugin));
  return LV2_STATE_SUCCESS;
}
