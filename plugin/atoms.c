/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/plugin.h"

#include <lv2/atom/util.h>
#include <lv2/midi/midi.h>
#include <lv2/patch/patch.h>
#include <lv2/time/time.h>

#include <math.h>
#include <string.h>

void hr_uris_map(HrUris* uris, LV2_URID_Map* map)
{
  const struct {
    LV2_URID* urid;
    const char* uri;
  } table[] = {
      {&uris->atom_Blank, LV2_ATOM__Blank},
      {&uris->atom_Object, LV2_ATOM__Object},
      {&uris->atom_Sequence, LV2_ATOM__Sequence},
      {&uris->atom_Int, LV2_ATOM__Int},
      {&uris->atom_Long, LV2_ATOM__Long},
      {&uris->atom_Float, LV2_ATOM__Float},
      {&uris->atom_Double, LV2_ATOM__Double},
      {&uris->atom_Bool, LV2_ATOM__Bool},
      {&uris->atom_String, LV2_ATOM__String},
      {&uris->atom_Path, LV2_ATOM__Path},
      {&uris->atom_URID, LV2_ATOM__URID},
      {&uris->atom_Chunk, LV2_ATOM__Chunk},
      {&uris->midi_MidiEvent, LV2_MIDI__MidiEvent},
      {&uris->time_Position, LV2_TIME__Position},
      {&uris->time_frame, LV2_TIME__frame},
      {&uris->time_speed, LV2_TIME__speed},
      {&uris->time_bar, LV2_TIME__bar},
      {&uris->time_barBeat, LV2_TIME__barBeat},
      {&uris->time_beat, LV2_TIME__beat},
      {&uris->time_beatsPerBar, LV2_TIME__beatsPerBar},
      {&uris->time_beatUnit, LV2_TIME__beatUnit},
      {&uris->time_beatsPerMinute, LV2_TIME__beatsPerMinute},
      {&uris->patch_Get, LV2_PATCH__Get},
      {&uris->patch_Set, LV2_PATCH__Set},
      {&uris->patch_Put, LV2_PATCH__Put},
      {&uris->patch_property, LV2_PATCH__property},
      {&uris->patch_value, LV2_PATCH__value},
      {&uris->patch_subject, LV2_PATCH__subject},
      {&uris->hr_plugin, HR_URI},
      {&uris->hr_store, HR_PREFIX "store"},
      {&uris->hr_store_uuid, HR_PREFIX "storeUUID"},
      {&uris->hr_tree, HR_PREFIX "tree"},
      {&uris->hr_branch, HR_PREFIX "branch"},
      {&uris->hr_standing, HR_PREFIX "standing"},
      {&uris->hr_silence, HR_PREFIX "silence"},
      {&uris->hr_snap, HR_PREFIX "snap"},
      {&uris->hr_tempo_source, HR_PREFIX "tempoSource"},
      {&uris->hr_osc_url, HR_PREFIX "oscURL"},
      {&uris->hr_trouble, HR_PREFIX "trouble"},
      {&uris->hr_settings, HR_PREFIX "settings"},
      {&uris->state_StateChanged, LV2_STATE__StateChanged},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; ++i) {
    *table[i].urid = map->map(map->handle, table[i].uri);
  }
}

bool hr_atom_number(const HrUris* uris, const LV2_Atom* atom, double* number)
{
  const void* const body = atom + 1;
  if (atom->type == uris->atom_Float && atom->size >= sizeof(float)) {
    float value;
    memcpy(&value, body, sizeof value);
    *number = (double)value;
  } else if (atom->type == uris->atom_Double && atom->size >= sizeof(double)) {
    memcpy(number, body, sizeof *number);
  } else if (atom->type == uris->atom_Long && atom->size >= sizeof(int64_t)) {
    int64_t value;
    memcpy(&value, body, sizeof value);
    *number = (double)value;
  } else if ((atom->type == uris->atom_Int || atom->type == uris->atom_Bool) &&
             atom->size >= sizeof(int32_t)) {
    int32_t value;
    memcpy(&value, body, sizeof value);
    *number = (double)value;
  } else {
    return false;
  }
  return fabs(*number) < 1e15; // also false for a NaN
}

/** Whether a session may have got so far: with what is beyond, sums of ticks would overflow. */
static bool can_be(const HrUris* uris, LV2_URID key, double number)
{
  const double bound = key == uris->time_frame ? 1e12 : key == uris->time_speed ? 1e3 : 1e8;
  return fabs(number) < bound;
}

static void take_number(const HrUris* uris, LV2_URID key, double number, HrPosition* position)
{
  if (!can_be(uris, key, number)) {
    return;
  }
  if (key == uris->time_frame) {
    position->frame = llrint(number);
    position->has |= HR_HAS_FRAME;
  } else if (key == uris->time_speed) {
    position->speed = number;
    position->has |= HR_HAS_SPEED;
  } else if (key == uris->time_bar) {
    position->bar = llrint(number);
    position->has |= HR_HAS_BAR;
  } else if (key == uris->time_barBeat) {
    position->bar_beat = number;
    position->has |= HR_HAS_BAR_BEAT;
  } else if (key == uris->time_beat) {
    position->beat = number;
    position->has |= HR_HAS_BEAT;
  } else if (key == uris->time_beatsPerBar) {
    position->beats_per_bar = number;
    position->has |= HR_HAS_BEATS_PER_BAR;
  } else if (key == uris->time_beatUnit) {
    position->beat_unit = (int32_t)fmax(fmin(number, 32768.0), -1.0);
    position->has |= HR_HAS_BEAT_UNIT;
  } else if (key == uris->time_beatsPerMinute) {
    position->tempo = number;
    position->has |= HR_HAS_TEMPO;
  }
}

bool hr_atom_position(const HrUris* uris, const LV2_Atom* atom, HrPosition* position)
{
  const LV2_Atom_Object* const object = (const LV2_Atom_Object*)atom;
  if ((atom->type != uris->atom_Object && atom->type != uris->atom_Blank) ||
      atom->size < sizeof object->body || object->body.otype != uris->time_Position) {
    return false;
  }
  *position = (HrPosition){0};
  /* Walked by hand: a property whose size is a lie must not lead us outside. */
  uint32_t offset = sizeof object->body;
  while (atom->size - offset >= sizeof(LV2_Atom_Property_Body)) {
    const LV2_Atom_Property_Body* const property =
        (const LV2_Atom_Property_Body*)((const char*)(atom + 1) + offset);
    const uint32_t room = atom->size - offset - (uint32_t)sizeof *property;
    double number;
    if (property->value.size > room) {
      break;
    }
    if (hr_atom_number(uris, &property->value, &number)) {
      take_number(uris, property->key, number, position);
    }
    const uint32_t size = (uint32_t)sizeof *property + lv2_atom_pad_size(property->value.size);
    if (size > atom->size - offset) {
      break;
    }
    offset += size;
  }
  return true;
}

bool hr_atom_append(LV2_Atom_Sequence* sequence, uint32_t capacity, uint32_t frame, LV2_URID type,
                    const void* body, uint32_t size)
{
  const uint32_t used = lv2_atom_pad_size(sequence->atom.size);
  const uint32_t total = (uint32_t)sizeof(LV2_Atom_Event) + size;
  if (used > capacity || lv2_atom_pad_size(total) > capacity - used) {
    return false;
  }
  LV2_Atom_Event* const event = (LV2_Atom_Event*)((char*)(&sequence->atom + 1) + used);
  event->time.frames = frame;
  event->body.type = type;
  event->body.size = size;
  hr_midi_copy(event + 1, body, size);
  sequence->atom.size = used + lv2_atom_pad_size(total);
  return true;
}
