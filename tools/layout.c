/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "tools/layout.h"

#include "osc/table.h"

#include <stdlib.h>
#include <string.h>

/* Red begins something, green sounds, blue goes somewhere, amber is a state,
 * violet says something about the music, grey only tells. */
enum {
  RED = 0xFF4030,
  GREEN = 0x30D060,
  BLUE = 0x40A0FF,
  AMBER = 0xFFB020,
  VIOLET = 0xC080FF,
  WHITE = 0xF0F0F0,
  GREY = 0x909090,
};

#define SLOT(n, column, row)                                                                       \
  {                                                                                                \
    "slot" #n, #n, "slot/" #n, NULL, HR_LAYOUT_SLOT_ITEM, "name", GREY, column, row, 2, 2          \
  }
#define SLOT_ROW(a, b, c, d, row) SLOT(a, 0, row), SLOT(b, 2, row), SLOT(c, 4, row), SLOT(d, 6, row)

static const HrControl controls[] = {
    {"branch", "", NULL, NULL, "current", "name", WHITE, 0, 0, 6, 1},
    {"position", "", NULL, NULL, "position", "quarters", WHITE, 6, 0, 2, 1},
    {"pending", "next: ", NULL, NULL, "pending", "name", AMBER, 8, 0, 4, 1},
    {"beats", "in ", NULL, NULL, "pending_beats", "beats", AMBER, 12, 0, 2, 1},
    {"link", "", NULL, NULL, NULL, NULL, WHITE, 14, 0, 2, 1},
    {"trouble", "", NULL, NULL, "trouble", "text", RED, 0, 1, 8, 1},
    {"tree", "", NULL, NULL, "tree", "name", GREY, 8, 1, 4, 1},
    {"tempo", "bpm ", NULL, NULL, "tempo", "bpm", GREY, 12, 1, 2, 1},
    {"quantum", "", NULL, NULL, "quantum", "name", GREY, 14, 1, 2, 1},

    SLOT_ROW(1, 2, 3, 4, 2),
    SLOT_ROW(5, 6, 7, 8, 4),
    SLOT_ROW(9, 10, 11, 12, 6),
    SLOT_ROW(13, 14, 15, 16, 8),

    {"fork", "FORK", "fork", NULL, NULL, NULL, RED, 8, 2, 4, 2},
    {"undo", "UNDO", "undo", NULL, NULL, NULL, BLUE, 12, 2, 2, 2},
    {"redo", "REDO", "redo", NULL, NULL, NULL, BLUE, 14, 2, 2, 2},

    {"replay", "REPLAY", "replay", NULL, "replay", "on", GREEN, 8, 4, 2, 2},
    {"stop", "STOP", "stop", NULL, NULL, NULL, GREEN, 10, 4, 2, 2},
    {"loop", "LOOP", "loop", NULL, "loop", "on", GREEN, 12, 4, 2, 2},
    {"grab", "GRAB", "grab", NULL, NULL, NULL, RED, 14, 4, 2, 2},

    {"record", "RECORD", "record", NULL, "record", "on", RED, 8, 6, 2, 2},
    {"overdub", "OVERDUB", "overdub", NULL, "overdub", "on", RED, 10, 6, 2, 2},
    {"thru", "THRU", "thru", NULL, "thru", "on", AMBER, 12, 6, 2, 2},
    {"cancel", "CANCEL", "cancel", NULL, NULL, NULL, AMBER, 14, 6, 2, 2},

    {"previous", "PREVIOUS", "previous", NULL, NULL, NULL, BLUE, 8, 8, 2, 2},
    {"next", "NEXT", "next", NULL, NULL, NULL, BLUE, 10, 8, 2, 2},
    {"mark", "MARK", "mark", "mark " HR_LAYOUT_TIME, NULL, NULL, VIOLET, 12, 8, 2, 2},
    {"note", "NOTE", "note", "Listen here.", NULL, NULL, VIOLET, 14, 8, 2, 2},

    {"quantum_now", "NOW", "quantum", "now", "quantum", "name", AMBER, 0, 10, 2, 2},
    {"quantum_beat", "BEAT", "quantum", "beat", "quantum", "name", AMBER, 2, 10, 2, 2},
    {"quantum_bar", "BAR", "quantum", "bar", "quantum", "name", AMBER, 4, 10, 2, 2},
    {"quantum_loop", "LOOP END", "quantum", "loop end", "quantum", "name", AMBER, 6, 10, 2, 2},
    {"panic", "PANIC", "panic", NULL, NULL, NULL, RED, 12, 10, 4, 2},
};

enum { CONTROLS = sizeof controls / sizeof *controls };

size_t hr_layout_count(void)
{
  return CONTROLS;
}

const HrControl* hr_layout_control(size_t index)
{
  return &controls[index];
}

static bool find_row(const char* address, HrOscRow* row)
{
  const size_t count = hr_osc_row_count();
  for (size_t i = 0; i < count; ++i) {
    hr_osc_row(i, row);
    if (!strcmp(row->address, address)) {
      return true;
    }
  }
  return false;
}

static int slot_number(const char* verb)
{
  static const char prefix[] = "slot/";
  return strncmp(verb, prefix, strlen(prefix)) ? 0 : atoi(verb + strlen(prefix));
}

static bool find_address(const HrControl* control, unsigned instance, HrLayoutControl* found)
{
  HrOscRow row;
  char general[64];
  found->slot = slot_number(control->verb);
  snprintf(general, sizeof general, "/hr/<instance>/%s", found->slot ? "slot/<n>" : control->verb);
  if (!find_row(general, &row) || row.type != HR_OSC_ROW_COMMAND) {
    return false;
  }
  found->kind = row.kind;
  snprintf(found->address, sizeof found->address, "/hr/%u/%s", instance, control->verb);
  return true;
}

/** Find `name` among values such as "number:i name:s". */
static bool find_value(const char* values, const char* name, HrLayoutControl* found)
{
  const size_t size = strlen(name);
  for (found->value = 0; *values; ++found->value) {
    if (!strncmp(values, name, size) && values[size] == ':') {
      found->type = values[size + 1];
      return true;
    }
    found->after_ticks = found->after_ticks || values[strcspn(values, ":") + 1] == 'h';
    values += strcspn(values, " ");
    values += *values == ' ';
  }
  return false;
}

static bool find_item(const HrControl* control, unsigned instance, HrLayoutControl* found)
{
  HrOscRow row;
  char general[64];
  snprintf(general, sizeof general, "/hr/<number>/state/%s", control->item);
  snprintf(found->item, sizeof found->item, "/hr/%u/state/%s", instance, control->item);
  return find_row(general, &row) && row.type == HR_OSC_ROW_FEEDBACK &&
         find_value(row.arguments, control->value, found);
}

bool hr_layout_find(size_t index, unsigned instance, HrLayoutControl* found)
{
  const HrControl* const control = &controls[index];
  *found = (HrLayoutControl){.control = control};
  return (!control->verb || find_address(control, instance, found)) &&
         (!control->item || find_item(control, instance, found));
}

void hr_layout_write_xml_text(const char* text, FILE* file)
{
  for (; *text; ++text) {
    switch (*text) {
    case '&':
      fputs("&amp;", file);
      break;
    case '<':
      fputs("&lt;", file);
      break;
    case '>':
      fputs("&gt;", file);
      break;
    default:
      putc(*text, file);
    }
  }
}

static const struct {
  const char* name;
  HrStatus (*write)(unsigned instance, FILE* file);
} kinds[] = {
    {"touchosc", hr_layout_write_touchosc},
    {"open-stage-control", hr_layout_write_open_stage_control},
    {"pure-data", hr_layout_write_pure_data},
    {"picture", hr_layout_write_picture},
    {"patch-picture", hr_layout_write_patch_picture},
};

HrStatus hr_layout_write(const char* kind, unsigned instance, FILE* file, HrError* error)
{
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i) {
    if (!strcmp(kind, kinds[i].name)) {
      const HrStatus status = kinds[i].write(instance, file);
      if (status) {
        return hr_error(error, status, "The layout could not be written: %s.", hr_strerror(status));
      }
      return fflush(file) || ferror(file)
                 ? hr_error(error, HR_ERR_IO, "The layout could not be written: make room for it.")
                 : HR_OK;
    }
  }
  return hr_error(error, HR_ERR_ARGUMENT, "There is no layout \"%s\": take " HR_LAYOUT_KINDS ".",
                  kind);
}
