/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* A .tosc file is one zlib stream of XML: nodes with properties, values and
 * messages. Pads send by messages of their own; what is shown is the business of
 * one Lua script at the root, which subscribes and takes what it is told. What a
 * pad shows is only ever what the plugin said, never what was pressed. */

#include "tools/layout.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* ---- The script ------------------------------------------------------ */

static const char script_body[] =
    "local by_address, heard, asked, said_until, sequence = {}, 0, 0, 0, nil\n"
    "\n"
    "local function shade(hex, part)\n"
    "  local function channel(at) return tonumber(hex:sub(at, at + 1), 16) / 255 * part end\n"
    "  return Color(channel(1), channel(3), channel(5), 1)\n"
    "end\n"
    "\n"
    "local function find(name) return self:findByName(name, true) end\n"
    "\n"
    "-- An error stays for a while, whatever the state says meanwhile.\n"
    "local function write(name, text)\n"
    "  if name == 'trouble' and said_until > 0 then return end\n"
    "  find(name).values.text = text\n"
    "end\n"
    "\n"
    "local function light(name, hex, lit)\n"
    "  find(name).color = shade(hex, lit and 1 or 0.3)\n"
    "  find(name .. '_label').textColor = lit and Color(0, 0, 0, 1) or Color(1, 1, 1, 1)\n"
    "end\n"
    "\n"
    "local SLOT_WORDS = {[0] = '', '', 'NOW', 'NEXT'}\n"
    "local SLOT_PARTS = {[0] = 0.1, 0.35, 1, 0.6}\n"
    "\n"
    "local function show_slot(number, name, state, hex)\n"
    "  local slot = 'slot' .. number\n"
    "  if not find(slot) then return end\n"
    "  find(slot).color = shade(hex, SLOT_PARTS[state] or 0.1)\n"
    "  find(slot .. '_label').textColor = state == 2 and Color(0, 0, 0, 1) or Color(1, 1, 1, 1)\n"
    "  write(slot .. '_label', name)\n"
    "  write(slot .. '_state', SLOT_WORDS[state] or '')\n"
    "end\n"
    "\n"
    "local function forget()\n"
    "  for number = 1, SLOTS do show_slot(number, '', 0, '909090') end\n"
    "  for _, shown in ipairs(SHOWN) do\n"
    "    if shown.pad then light(shown.pad, shown.hex, false) else write(shown.label, '') end\n"
    "  end\n"
    "end\n"
    "\n"
    "local function show(shown, value)\n"
    "  if shown.pad and shown.choice then\n"
    "    light(shown.pad, shown.hex, value == shown.choice)\n"
    "  elseif shown.pad then\n"
    "    light(shown.pad, shown.hex, value ~= 0)\n"
    "  elseif value == '' then\n"
    "    write(shown.label, '')\n"
    "  else\n"
    "    write(shown.label, shown.before .. (shown.number and string.format('%.1f', value) or "
    "value))\n"
    "  end\n"
    "end\n"
    "\n"
    "local function subscribe()\n"
    "  asked = getMillis()\n"
    "  sendOSC('/hr/subscribe')\n"
    "end\n"
    "\n"
    "function init()\n"
    "  for _, shown in ipairs(SHOWN) do\n"
    "    by_address[shown.item] = by_address[shown.item] or {}\n"
    "    table.insert(by_address[shown.item], shown)\n"
    "  end\n"
    "  heard = getMillis() - SILENCE\n"
    "  forget()\n"
    "  write('link', 'NO LINK')\n"
    "  subscribe()\n"
    "end\n"
    "\n"
    "function update()\n"
    "  local now = getMillis()\n"
    "  local silent = now - heard >= SILENCE\n"
    "  if silent then write('link', 'NO LINK') end\n"
    "  if said_until > 0 and now >= said_until then\n"
    "    said_until = 0\n"
    "    sendOSC('/hr/refresh')\n"
    "  end\n"
    "  if now - asked >= (silent and SILENCE or RENEW) then subscribe() end\n"
    "end\n"
    "\n"
    "function onReceiveOSC(message, connections)\n"
    "  local address, arguments = message[1], message[2]\n"
    "  local function value(at) return arguments[at] and arguments[at].value end\n"
    "  if address:sub(1, 4) ~= '/hr/' and address ~= '/reply' and address ~= '/error' then\n"
    "    return false\n"
    "  end\n"
    "  if getMillis() - heard >= SILENCE then write('link', 'LINK') end\n"
    "  heard = getMillis()\n"
    "  if address == '/hr/state/begin' then\n"
    "    forget()\n"
    "    write('link', value(2) == 0 and 'NO PLUGIN' or 'LINK')\n"
    "  elseif address == '/hr/state/end' then\n"
    "    sequence = value(1)\n"
    "  elseif address == '/hr/state/heartbeat' and value(1) ~= sequence then\n"
    "    sendOSC('/hr/refresh')\n"
    "  elseif address == SLOT_ITEM then\n"
    "    show_slot(value(1), value(3), value(4), value(5))\n"
    "  elseif address == '/error' then\n"
    "    said_until = 0\n"
    "    write('trouble', value(3))\n"
    "    said_until = heard + SAID\n"
    "  end\n"
    "  for _, shown in ipairs(by_address[address] or {}) do show(shown, value(shown.at)) end\n"
    "  return true\n"
    "end\n";

static void write_shown(const HrLayoutControl* found, FILE* file)
{
  const HrControl* const control = found->control;
  fprintf(file, "  {item = '%s', at = %u, ", found->item, found->value + 1);
  if (control->verb) {
    fprintf(file, "pad = '%s', hex = '%06x'", control->name, (unsigned)control->colour);
    if (control->text) {
      fprintf(file, ", choice = '%s'", control->text);
    }
  } else {
    fprintf(file, "label = '%s', before = '%s', number = %s", control->name, control->label,
            found->type == 's' ? "false" : "true");
  }
  fputs("},\n", file);
}

static void write_script(unsigned instance, FILE* file)
{
  int slots = 0;
  fputs("local SHOWN = {\n", file);
  for (size_t i = 0; i < hr_layout_count(); ++i) {
    HrLayoutControl found;
    if (hr_layout_find(i, instance, &found)) {
      slots += found.slot != 0;
      if (*found.item && !found.slot) {
        write_shown(&found, file);
      }
    }
  }
  fprintf(file,
          "}\n"
          "local SLOTS, SLOT_ITEM = %d, '/hr/%u/state/" HR_LAYOUT_SLOT_ITEM "'\n"
          "local SILENCE, RENEW, SAID = %d, %d, %d -- Milliseconds\n",
          slots, instance, HR_LAYOUT_SILENCE_S * 1000, HR_LAYOUT_RENEW_S * 1000,
          HR_LAYOUT_SAID_S * 1000);
  fputs(script_body, file);
}

/* ---- XML --------------------------------------------------------------- */

typedef struct {
  FILE* file;
  unsigned nodes; ///< So far; each has a number of its own
} Document;

typedef struct {
  int x, y, w, h;
} Frame;

static void write_property(Document* document, char type, const char* key, const char* value)
{
  fprintf(document->file, "<property type='%c'><key>%s</key><value>", type, key);
  hr_layout_write_xml_text(value, document->file);
  fputs("</value></property>", document->file);
}

static void write_colour(Document* document, const char* key, uint32_t colour, double part)
{
  fprintf(document->file,
          "<property type='c'><key>%s</key><value><r>%.3f</r><g>%.3f</g><b>%.3f</b><a>1</a>"
          "</value></property>",
          key, part * (colour >> 16 & 0xFF) / 255.0, part * (colour >> 8 & 0xFF) / 255.0,
          part * (colour & 0xFF) / 255.0);
}

static void write_frame(Document* document, Frame frame)
{
  fprintf(document->file,
          "<property type='r'><key>frame</key><value><x>%d</x><y>%d</y><w>%d</w><h>%d</h></value>"
          "</property>",
          frame.x, frame.y, frame.w, frame.h);
}

static void begin_node(Document* document, const char* type, const char* name, Frame frame)
{
  fprintf(document->file, "<node ID='48616c66-0000-4000-8000-%012x' type='%s'><properties>",
          ++document->nodes, type);
  write_frame(document, frame);
  write_property(document, 's', "name", name);
}

static void write_value(Document* document, const char* key, const char* initial)
{
  fprintf(document->file,
          "<value><key>%s</key><locked>0</locked><lockedDefaultCurrent>0</lockedDefaultCurrent>"
          "<default>",
          key);
  hr_layout_write_xml_text(initial, document->file);
  fputs("</default><defaultPull>0</defaultPull></value>", document->file);
}

static void write_partial(Document* document, const char* type, const char* conversion,
                          const char* value)
{
  fprintf(document->file, "<partial><type>%s</type><conversion>%s</conversion><value>", type,
          conversion);
  hr_layout_write_xml_text(value, document->file);
  fputs("</value><scaleMin>0</scaleMin><scaleMax>1</scaleMax></partial>", document->file);
}

/** What a press sends: buttons their press and release, what takes a value that
 * value, all else the bare address, once. */
static void write_message(Document* document, const HrLayoutControl* found)
{
  const bool button = found->kind == HR_COMMAND_TRIGGER;
  fprintf(document->file,
          "<messages><osc><enabled>1</enabled><send>1</send><receive>0</receive>"
          "<feedback>0</feedback><noDuplicates>0</noDuplicates>"
          "<connections>1111111111</connections><triggers><trigger><var>x</var>"
          "<condition>%s</condition></trigger></triggers><path>",
          button ? "ANY" : "RISE");
  write_partial(document, "CONSTANT", "STRING", found->address);
  fputs("</path><arguments>", document->file);
  if (button) {
    write_partial(document, "VALUE", "FLOAT", "x");
  } else if (found->control->text) {
    write_partial(document, "CONSTANT", "STRING", found->control->text);
  }
  fputs("</arguments></osc></messages>", document->file);
}

static void write_label(Document* document, const char* name, const char* text, Frame frame,
                        unsigned size, uint32_t colour)
{
  char number[16];
  snprintf(number, sizeof number, "%u", size);
  begin_node(document, "LABEL", name, frame);
  write_property(document, 'b', "background", "0");
  write_property(document, 'b', "interactive", "0");
  write_property(document, 'b', "outline", "0");
  write_property(document, 'i', "textSize", number);
  write_colour(document, "color", 0, 1.0);
  write_colour(document, "textColor", colour, 1.0);
  fputs("</properties><values>", document->file);
  write_value(document, "text", text);
  write_value(document, "touch", "false");
  fputs("</values></node>", document->file);
}

/** A pad whose argument holds the time has a script send it. */
static bool tells_time(const HrControl* control)
{
  return control->text && strstr(control->text, HR_LAYOUT_TIME);
}

static void write_time_script(Document* document, const HrLayoutControl* found)
{
  char script[512];
  const char* const text = found->control->text;
  snprintf(script, sizeof script,
           "function onValueChanged(key)\n"
           "  if key == 'x' and self.values.x == 1 then\n"
           "    local hour, minute, second = getTime()\n"
           "    sendOSC('%s', '%.*s' .. string.format('%%02d:%%02d:%%02d', hour, minute, second))\n"
           "  end\n"
           "end\n",
           found->address, (int)(strstr(text, HR_LAYOUT_TIME) - text), text);
  write_property(document, 's', "script", script);
}

static void write_button(Document* document, const HrLayoutControl* found, Frame frame)
{
  const HrControl* const control = found->control;
  begin_node(document, "BUTTON", control->name, frame);
  write_property(document, 'i', "buttonType", "0");
  write_property(document, 'b', "press", "1");
  write_property(document, 'b', "release", "1");
  // What shows nothing is as bright as its colour; the script does the others.
  write_colour(document, "color", control->colour, *found->item ? 0.3 : 0.7);
  if (tells_time(control)) {
    write_time_script(document, found);
  }
  fputs("</properties><values>", document->file);
  write_value(document, "x", "0");
  write_value(document, "touch", "false");
  fputs("</values>", document->file);
  if (!tells_time(control)) {
    write_message(document, found);
  }
  fputs("</node>", document->file);
}

static void write_control(Document* document, const HrLayoutControl* found)
{
  enum { GAP = 4, WHITE = 0xFFFFFF };
  const HrControl* const control = found->control;
  const Frame frame = {control->column * HR_LAYOUT_UNIT + GAP, control->row * HR_LAYOUT_UNIT + GAP,
                       control->columns * HR_LAYOUT_UNIT - 2 * GAP,
                       control->rows * HR_LAYOUT_UNIT - 2 * GAP};
  if (!control->verb) {
    write_label(document, control->name, "", frame, control->row ? 16 : 24, control->colour);
    return;
  }
  char name[32];
  write_button(document, found, frame);
  const Frame middle = {frame.x, frame.y + frame.h / 4, frame.w, frame.h / 2};
  snprintf(name, sizeof name, "%s_label", control->name);
  write_label(document, name, found->slot ? "" : control->label, middle, 22, WHITE);
  if (found->slot) {
    const Frame below = {frame.x, frame.y + frame.h * 3 / 4, frame.w, frame.h / 4};
    snprintf(name, sizeof name, "%s_state", control->name);
    write_label(document, name, "", below, 18, WHITE);
  }
}

static HrStatus write_document(unsigned instance, FILE* file)
{
  char* script = NULL;
  size_t size = 0;
  FILE* const memory = open_memstream(&script, &size);
  if (!memory) {
    return HR_ERR_NO_MEMORY;
  }
  write_script(instance, memory);
  if (fclose(memory)) {
    free(script);
    return HR_ERR_NO_MEMORY;
  }
  Document document = {file, 0};
  fputs("<?xml version='1.0' encoding='UTF-8'?><lexml version='6'>", file);
  begin_node(&document, "GROUP", "halfremembered",
             (Frame){0, 0, HR_LAYOUT_COLUMNS * HR_LAYOUT_UNIT, HR_LAYOUT_ROWS * HR_LAYOUT_UNIT});
  write_colour(&document, "color", 0, 1.0);
  write_property(&document, 's', "script", script);
  fputs("</properties><values>", file);
  write_value(&document, "touch", "false");
  fputs("</values><children>", file);
  for (size_t i = 0; i < hr_layout_count(); ++i) {
    HrLayoutControl found;
    if (hr_layout_find(i, instance, &found)) {
      write_control(&document, &found);
    }
  }
  fputs("</children></node></lexml>", file);
  free(script);
  return HR_OK;
}

static HrStatus write_compressed(const char* xml, size_t size, FILE* file)
{
  uLongf packed_size = compressBound(size);
  Bytef* const packed = malloc(packed_size);
  if (!packed || compress2(packed, &packed_size, (const Bytef*)xml, size, Z_BEST_COMPRESSION)) {
    free(packed);
    return HR_ERR_NO_MEMORY;
  }
  fwrite(packed, 1, packed_size, file);
  free(packed);
  return HR_OK;
}

HrStatus hr_layout_write_touchosc(unsigned instance, FILE* file)
{
  char* xml = NULL;
  size_t size = 0;
  FILE* const memory = open_memstream(&xml, &size);
  if (!memory) {
    return HR_ERR_NO_MEMORY;
  }
  HrStatus status = write_document(instance, memory);
  if (fclose(memory)) {
    status = HR_ERR_NO_MEMORY;
  }
  status = status ? status : write_compressed(xml, size, file);
  free(xml);
  return status;
}
