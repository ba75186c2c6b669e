/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* A session of Open Stage Control is JSON: a root with widgets in it. A hidden
 * widget of type "variable" listens for each thing shown, and its script hands
 * it on to the widget that shows it. Pads are lit by what the plugin says: those
 * that change over are "decoupled", the others are as bright as their `lit`. */

#include "tools/layout.h"

#include <stdarg.h>
#include <string.h>

typedef struct {
  FILE* file;
  bool first; ///< The next property is the first of its object
} Json;

static void write_string(Json* json, const char* text)
{
  putc('"', json->file);
  for (; *text; ++text) {
    switch (*text) {
    case '"':
    case '\\':
      fprintf(json->file, "\\%c", *text);
      break;
    case '\n':
      fputs("\\n", json->file);
      break;
    default:
      putc(*text, json->file);
    }
  }
  putc('"', json->file);
}

static void begin_property(Json* json, const char* key)
{
  fputs(json->first ? "" : ", ", json->file);
  json->first = false;
  write_string(json, key);
  fputs(": ", json->file);
}

/** A property that is no text: a number, true, false or null. */
static void write_literal(Json* json, const char* key, const char* literal)
{
  begin_property(json, key);
  fputs(literal, json->file);
}

static void write_property(Json* json, const char* key, const char* format, ...)
    __attribute__((format(printf, 3, 4)));

static void write_property(Json* json, const char* key, const char* format, ...)
{
  char text[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  begin_property(json, key);
  write_string(json, text);
}

static void begin_widget(Json* json, const char* type, const char* id)
{
  json->first = true;
  fputs("      {", json->file);
  write_property(json, "type", "%s", type);
  write_property(json, "id", "%s", id);
}

static void end_widget(Json* json)
{
  fputs("},\n", json->file);
}

/** In parts of the page, so that it fits a telephone as well as a wall. */
static void write_place(Json* json, const HrControl* control)
{
  write_property(json, "left", "%.4g%%", 100.0 * control->column / HR_LAYOUT_COLUMNS);
  write_property(json, "top", "%.4g%%", 100.0 * control->row / HR_LAYOUT_ROWS);
  write_property(json, "width", "%.4g%%", 100.0 * control->columns / HR_LAYOUT_COLUMNS);
  write_property(json, "height", "%.4g%%", 100.0 * control->rows / HR_LAYOUT_ROWS);
}

static void write_label(Json* json, const HrControl* control)
{
  begin_widget(json, "text", control->name);
  write_place(json, control);
  write_property(json, "colorText", "#%06x", (unsigned)control->colour);
  write_literal(json, "bypass", "true");
  end_widget(json);
}

/** What a press sends, as in the layout for TouchOSC. */
static void write_pressing(Json* json, const HrLayoutControl* found)
{
  const char* const text = found->control->text;
  const char* const time = text ? strstr(text, HR_LAYOUT_TIME) : NULL;
  if (time) {
    write_property(json, "mode", "momentary");
    write_literal(json, "bypass", "true");
    write_property(json, "onValue", "send('%s', '%.*s' + new Date().toTimeString().slice(0, 8))",
                   found->address, (int)(time - text), text);
    return;
  }
  write_property(json, "address", "%s", found->address);
  if (text) {
    write_property(json, "mode", "tap");
    write_property(json, "on", "%s", text);
  } else if (found->kind == HR_COMMAND_TRIGGER) {
    write_property(json, "mode", "push");
    write_literal(json, "on", "1");
    write_literal(json, "off", "0");
  } else if (found->kind == HR_COMMAND_TOGGLE) {
    write_property(json, "mode", "toggle");
    write_literal(json, "decoupled", "true");
    write_literal(json, "on", "1");
    write_literal(json, "off", "0");
  } else {
    write_property(json, "mode", "momentary");
  }
}

static void write_pad(Json* json, const HrLayoutControl* found)
{
  const HrControl* const control = found->control;
  begin_widget(json, "button", control->name);
  write_place(json, control);
  write_property(json, "colorWidget", "VAR{colour, #%06x}", (unsigned)control->colour);
  write_property(json, "label", "VAR{label, %s}", found->slot ? "" : control->label);
  write_property(json, "wrap", "soft");
  if (*found->item && found->kind != HR_COMMAND_TOGGLE) {
    write_property(json, "alphaFillOff", "VAR{lit, 0.15}");
    write_property(json, "alphaFillOn", "VAR{lit, 0.15}");
  }
  write_pressing(json, found);
  end_widget(json);
}

static void begin_listener(Json* json, const char* name, const char* address)
{
  char id[64];
  snprintf(id, sizeof id, "%s_state", name);
  begin_widget(json, "variable", id);
  write_property(json, "address", "%s", address);
  write_literal(json, "bypass", "true");
}

static void write_listener(Json* json, const HrLayoutControl* found)
{
  const HrControl* const control = found->control;
  begin_listener(json, control->name, found->item);
  if (found->slot) {
    begin_property(json, "preArgs");
    fprintf(json->file, "[%d]", found->slot);
    write_property(json, "onValue",
                   "globals.heard = Date.now()\n"
                   "setVar('%s', 'label', value[1] + ['', '', '\\nNOW', '\\nNEXT'][value[2]])\n"
                   "setVar('%s', 'colour', '#' + value[3])\n"
                   "setVar('%s', 'lit', [0.02, 0.2, 0.9, 0.5][value[2]])",
                   control->name, control->name, control->name);
  } else if (!control->verb) {
    const char* const shown = found->type == 's' ? "v" : "v.toFixed(1)";
    write_property(json, "onValue",
                   "globals.heard = Date.now()\n"
                   "var v = [].concat(value)[%u]\n"
                   "set('%s', v === '' ? ' ' : '%s' + %s)",
                   found->value, control->name, control->label, shown);
  } else if (found->kind == HR_COMMAND_TOGGLE) {
    write_property(json, "onValue",
                   "globals.heard = Date.now()\n"
                   "set('%s', [].concat(value)[%u] ? 1 : 0, {external: true})",
                   control->name, found->value);
  } else {
    write_property(json, "onValue",
                   "globals.heard = Date.now()\n"
                   "setVar('%s', 'lit', [].concat(value)[%u]%s%s%s ? 0.9 : 0.15)",
                   control->name, found->value, control->text ? " === '" : "",
                   control->text ? control->text : "", control->text ? "'" : "");
  }
  end_widget(json);
}

/** What tells that the plugin is there, and forgets what is no more. */
static void write_link(Json* json, int slots)
{
  begin_listener(json, "begin", "/hr/state/begin");
  write_property(json, "onValue",
                 "globals.heard = Date.now()\n"
                 "set('link', value[1] ? 'LINK' : 'NO PLUGIN')\n"
                 "for (var n = 1; n <= %d; n++) {\n"
                 "  setVar('slot' + n, 'label', '')\n"
                 "  setVar('slot' + n, 'lit', 0.02)\n"
                 "}",
                 slots);
  end_widget(json);
  begin_listener(json, "heartbeat", "/hr/state/heartbeat");
  write_property(json, "onValue",
                 "globals.heard = Date.now()\n"
                 "globals.missed = [].concat(value)[0] !== globals.sequence");
  end_widget(json);
  begin_listener(json, "end", "/hr/state/end");
  write_property(json, "onValue", "globals.sequence = value");
  end_widget(json);
  begin_listener(json, "error", "/error");
  write_property(json, "onValue",
                 "globals.said = Date.now()\n"
                 "set('trouble', value[2])");
  // The last one: no comma behind it.
  fputs("}\n", json->file);
}

HrStatus hr_layout_write_open_stage_control(unsigned instance, FILE* file)
{
  Json json = {file, true};
  int slots = 0;
  fputs("{\n  \"createdWith\": \"Open Stage Control\",\n  \"version\": \"1.20.0\",\n"
        "  \"type\": \"session\",\n  \"content\": {\n    ",
        file);
  write_property(&json, "type", "root");
  write_property(&json, "id", "root");
  write_property(&json, "colorBg", "#000000");
  write_property(&json, "onCreate",
                 "globals.heard = 0\n"
                 "globals.asked = Date.now()\n"
                 "send('/hr/subscribe')\n"
                 "setInterval(function() {\n"
                 "  var now = Date.now(), silent = now - globals.heard >= %d\n"
                 "  if (silent) set('link', 'NO LINK')\n"
                 "  else if (get('link') === 'NO LINK') set('link', 'LINK')\n"
                 "  if (globals.said && now - globals.said >= %d) {\n"
                 "    globals.said = 0\n"
                 "    globals.missed = true\n"
                 "  }\n"
                 "  if (globals.missed) send('/hr/refresh')\n"
                 "  globals.missed = false\n"
                 "  if (now - globals.asked < (silent ? %d : %d)) return\n"
                 "  globals.asked = now\n"
                 "  send('/hr/subscribe')\n"
                 "}, 1000)",
                 HR_LAYOUT_SILENCE_S * 1000, HR_LAYOUT_SAID_S * 1000, HR_LAYOUT_SILENCE_S * 1000,
                 HR_LAYOUT_RENEW_S * 1000);
  fputs(",\n    \"tabs\": [],\n    \"widgets\": [\n", file);
  for (size_t i = 0; i < hr_layout_count(); ++i) {
    HrLayoutControl found;
    if (!hr_layout_find(i, instance, &found)) {
      continue;
    }
    slots += found.slot != 0;
    if (found.control->verb) {
      write_pad(&json, &found);
    } else {
      write_label(&json, found.control);
    }
    if (*found.item) {
      write_listener(&json, &found);
    }
  }
  write_link(&json, slots);
  fputs("    ]\n  }\n}\n", file);
  return HR_OK;
}
