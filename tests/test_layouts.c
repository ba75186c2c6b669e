/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file test_layouts.c
 * The controllers that are shipped (tools/layout.h): they name what the table of
 * addresses has and no more, are in the formats they claim to be in, and the one
 * for TouchOSC, played as TouchOSC would (its messages, and its scripts in Lua
 * 5.1), leads a real plugin to the right state and shows it.
 */

#include "osc/table.h"
#include "tests/host/lv2_host.h"
#include "tests/scratch.h"
#include "tools/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <json.h>
#include <lauxlib.h>
#include <libxml/parser.h>
#include <lo/lo.h>
#include <lualib.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <zlib.h>

#include "osc/packet.h"

#define LENGTH(array) (sizeof(array) / sizeof *(array))

/* ---- What was written -------------------------------------------------------- */

/** Write a layout to memory; the caller's to free. */
static char* write_layout(const char* kind, unsigned instance, size_t* size)
{
  char* text = NULL;
  FILE* const file = open_memstream(&text, size);
  HrError error = {HR_OK, ""};
  assert_int_equal(hr_layout_write(kind, instance, file, &error), HR_OK);
  assert_int_equal(fclose(file), 0);
  return text;
}

/** The XML of the layout for TouchOSC, as text; the caller's to free. */
static char* write_touchosc_xml(unsigned instance)
{
  enum { ROOM = 1 << 20 };
  size_t packed_size = 0;
  char* const packed = write_layout("touchosc", instance, &packed_size);
  char* const xml = malloc(ROOM);
  uLongf size = ROOM - 1;
  assert_int_equal(uncompress((Bytef*)xml, &size, (const Bytef*)packed, packed_size), Z_OK);
  xml[size] = '\0';
  free(packed);
  return xml;
}

static bool find_row(const char* address)
{
  for (size_t i = 0; i < hr_osc_row_count(); ++i) {
    HrOscRow row;
    hr_osc_row(i, &row);
    if (!strcmp(row.address, address)) {
      return true;
    }
  }
  return false;
}

/* ---- The table of controls ---------------------------------------------------- */

static void test_every_control_is_in_the_table(void** state)
{
  (void)state;
  for (size_t i = 0; i < hr_layout_count(); ++i) {
    HrLayoutControl found;
    if (!hr_layout_find(i, 1, &found)) {
      fail_msg("%s is left out", hr_layout_control(i)->name);
    }
  }
}

static void test_every_slot_is_in_the_table(void** state)
{
  (void)state;
  int slots = 0;
  for (size_t i = 0; i < hr_layout_count(); ++i) {
    HrLayoutControl found;
    if (!hr_layout_find(i, 1, &found)) {
      fail_msg("%s is left out", hr_layout_control(i)->name);
    }
    slots += found.slot ? 1 : 0;
    assert_true(!found.slot || found.slot == slots);
  }
  assert_int_equal(slots, 16);
}

static bool overlap(const HrControl* a, const HrControl* b)
{
  return a->column < b->column + b->columns && b->column < a->column + a->columns &&
         a->row < b->row + b->rows && b->row < a->row + a->rows;
}

static void test_fingers_find_room(void** state)
{
  (void)state;
  for (size_t i = 0; i < hr_layout_count(); ++i) {
    const HrControl* const control = hr_layout_control(i);
    assert_true(control->column + control->columns <= HR_LAYOUT_COLUMNS);
    assert_true(control->row + control->rows <= HR_LAYOUT_ROWS);
    assert_true(!control->verb || (control->columns >= 2 && control->rows >= 2));
    for (size_t j = 0; j < i; ++j) {
      assert_string_not_equal(control->name, hr_layout_control(j)->name);
      assert_false(overlap(control, hr_layout_control(j)));
    }
  }
}

/* ---- Addresses ------------------------------------------------------------------ */

/** An address of a layout for an instance as the table has it. */
static void generalise(const char* address, char general[192])
{
  static const char state[] = "state/";
  int size = 0;
  if (sscanf(address, "/hr/%*u/%n", &size) < 0 || !size) {
    snprintf(general, 192, "%s", address);
  } else if (!strncmp(address + size, state, strlen(state))) {
    snprintf(general, 192, "/hr/<number>/%s", address + size);
  } else if (!strncmp(address + size, "slot/", 5) && isdigit(address[size + 5])) {
    snprintf(general, 192, "/hr/<instance>/slot/<n>");
  } else {
    snprintf(general, 192, "/hr/<instance>/%s", address + size);
  }
}

/** Check all that looks like an address in `text`. Returns how many there were. */
static size_t check_addresses(const char* text)
{
  size_t count = 0;
  while ((text = strstr(text, "/hr/"))) {
    char address[128];
    char general[192];
    const size_t size = strspn(text, "abcdefghijklmnopqrstuvwxyz_/0123456789");
    snprintf(address, sizeof address, "%.*s", (int)size, text);
    text += size;
    generalise(address, general);
    if (!find_row(general) && strcmp(address, "/hr/") != 0) { // A prefix that scripts compare with
      fail_msg("%s is in no table", address);
    }
    ++count;
  }
  return count;
}

/** The objects of the patch that name addresses, as addresses. */
static char* patch_addresses(const char* patch)
{
  static const char sends[] = "oscformat ";
  char* text = NULL;
  size_t size = 0;
  FILE* const file = open_memstream(&text, &size);
  while ((patch = strstr(patch, sends))) {
    for (patch += strlen(sends), putc('/', file); *patch != ';'; ++patch) {
      putc(*patch == ' ' ? '/' : *patch, file);
    }
    putc('\n', file);
  }
  fclose(file);
  return text;
}

static void test_addresses_both_ways(void** state)
{
  (void)state;
  size_t size = 0;
  char* const patch = write_layout("pure-data", 3, &size);
  char* const texts[] = {write_touchosc_xml(3), write_layout("open-stage-control", 3, &size),
                         patch_addresses(patch)};
  for (size_t i = 0; i < LENGTH(texts); ++i) {
    assert_true(check_addresses(texts[i]) > 15);
    for (size_t j = 0; j < hr_layout_count(); ++j) {
      HrLayoutControl found;
      if (hr_layout_find(j, 3, &found) && *found.address) {
        assert_non_null(strstr(texts[i], found.address));
      }
    }
    free(texts[i]);
  }
  free(patch);
}

static char* read_file(const char* path)
{
  enum { ROOM = 1 << 16 };
  char* const text = calloc(1, ROOM);
  FILE* const file = fopen(path, "r");
  assert_non_null(file);
  assert_true(fread(text, 1, ROOM - 1, file) < ROOM - 1);
  fclose(file);
  return text;
}

static void test_addresses_of_examples(void** state)
{
  (void)state;
  static const char* const paths[] = {"examples/osc.sh", "examples/halfremembered.scd"};
  for (size_t i = 0; i < LENGTH(paths); ++i) {
    char* const text = read_file(paths[i]);
    assert_true(check_addresses(text) > 6);
    free(text);
  }
}

/** `make pictures` draws them. */
static void test_pictures_are_true(void** state)
{
  (void)state;
  static const char* const kinds[][2] = {{"picture", "docs/controllers/page.svg"},
                                         {"patch-picture", "docs/controllers/patch.svg"}};
  for (size_t i = 0; i < LENGTH(kinds); ++i) {
    size_t size = 0;
    char* const drawn = write_layout(kinds[i][0], 1, &size);
    char* const kept = read_file(kinds[i][1]);
    assert_string_equal(drawn, kept);
    free(drawn);
    free(kept);
  }
}

static void test_unknown_layout(void** state)
{
  (void)state;
  HrError error = {HR_OK, ""};
  assert_int_equal(hr_layout_write("lemur", 1, stderr, &error), HR_ERR_ARGUMENT);
  assert_non_null(strstr(error.text, "open-stage-control"));
}

/* ---- The format of TouchOSC ------------------------------------------------------ */

/** What the format knows of nodes, from TouchOSC's manual ("Script - Properties
 * and Values") and files saved by its editor. Types: b 0 or 1, i whole number, f
 * number, s text, c colour, r frame. */
static const struct {
  const char* node; ///< NULL: every type
  const char* key;
  char type;
} known_properties[] = {
    {NULL, "name", 's'},          {NULL, "tag", 's'},          {NULL, "script", 's'},
    {NULL, "frame", 'r'},         {NULL, "color", 'c'},        {NULL, "visible", 'b'},
    {NULL, "interactive", 'b'},   {NULL, "background", 'b'},   {NULL, "outline", 'b'},
    {NULL, "outlineStyle", 'i'},  {NULL, "cornerRadius", 'f'}, {"BUTTON", "buttonType", 'i'},
    {"BUTTON", "press", 'b'},     {"BUTTON", "release", 'b'},  {"BUTTON", "valuePosition", 'b'},
    {"LABEL", "font", 'i'},       {"LABEL", "textSize", 'i'},  {"LABEL", "textLength", 'i'},
    {"LABEL", "textColor", 'c'},  {"LABEL", "textClip", 'b'},  {"LABEL", "textAlignH", 'i'},
    {"LABEL", "textAlignV", 'i'},
};

static const struct {
  const char* node;
  const char* key;
} known_values[] = {{NULL, "touch"}, {"BUTTON", "x"}, {"LABEL", "text"}};

static bool is(const xmlNode* node, const char* name)
{
  return node->type == XML_ELEMENT_NODE && !strcmp((const char*)node->name, name);
}

static const xmlNode* child(const xmlNode* node, const char* name)
{
  const xmlNode* found = node->children;
  while (found && !is(found, name)) {
    found = found->next;
  }
  return found;
}

/** The text in a child; "" if it is empty. It stays for the program's life. */
static const char* text_in(const xmlNode* node, const char* name)
{
  const xmlNode* const holder = child(node, name);
  if (!holder) {
    fail_msg("<%s> has no <%s>", (const char*)node->name, name);
    return "";
  }
  return holder->children ? (const char*)holder->children->content : "";
}

static const char* attribute(const xmlNode* node, const char* name)
{
  for (const xmlAttr* each = node->properties; each; each = each->next) {
    if (!strcmp((const char*)each->name, name)) {
      return (const char*)each->children->content;
    }
  }
  fail_msg("<%s> has no %s", (const char*)node->name, name);
  return "";
}

static const xmlNode* find_property(const xmlNode* node, const char* key)
{
  const xmlNode* found = child(node, "properties")->children;
  while (found && strcmp(text_in(found, "key"), key) != 0) {
    found = found->next;
  }
  return found;
}

static bool is_number(const char* text)
{
  char* end = NULL;
  strtod(text, &end);
  return *text && !*end;
}

static void check_parts(const xmlNode* value, const char* const names[], size_t count, double most)
{
  const xmlNode* part = value->children;
  for (size_t i = 0; i < count; ++i, part = part->next) {
    assert_non_null(part);
    assert_true(is(part, names[i]));
    assert_true(is_number((const char*)part->children->content));
    const double number = strtod((const char*)part->children->content, NULL);
    assert_true(number >= 0.0 && number <= most);
  }
  assert_null(part);
}

static void check_property_value(const xmlNode* property, char type)
{
  static const char* const colour[] = {"r", "g", "b", "a"};
  static const char* const frame[] = {"x", "y", "w", "h"};
  const xmlNode* const value = child(property, "value");
  const char* const text = type == 'c' || type == 'r' ? "" : text_in(property, "value");
  switch (type) {
  case 'b':
    assert_true(!strcmp(text, "0") || !strcmp(text, "1"));
    break;
  case 'i':
    assert_int_equal(strspn(text, "0123456789"), strlen(text));
    break;
  case 'f':
    assert_true(is_number(text));
    break;
  case 'c':
    check_parts(value, colour, 4, 1.0);
    break;
  case 'r':
    check_parts(value, frame, 4, HR_LAYOUT_COLUMNS * HR_LAYOUT_UNIT);
    break;
  default:
    break;
  }
}

static void check_property(const xmlNode* property, const char* node_type)
{
  const char* const key = text_in(property, "key");
  for (size_t i = 0; i < LENGTH(known_properties); ++i) {
    if (!strcmp(key, known_properties[i].key) &&
        (!known_properties[i].node || !strcmp(known_properties[i].node, node_type))) {
      assert_int_equal(attribute(property, "type")[0], known_properties[i].type);
      check_property_value(property, known_properties[i].type);
      return;
    }
  }
  fail_msg("a %s has no property %s", node_type, key);
}

static void check_value(const xmlNode* value, const char* node_type)
{
  const char* const key = text_in(value, "key");
  for (size_t i = 0; i < LENGTH(known_values); ++i) {
    if (!strcmp(key, known_values[i].key) &&
        (!known_values[i].node || !strcmp(known_values[i].node, node_type))) {
      assert_string_equal(text_in(value, "locked"), "0");
      assert_string_equal(text_in(value, "lockedDefaultCurrent"), "0");
      assert_string_equal(text_in(value, "defaultPull"), "0");
      text_in(value, "default");
      return;
    }
  }
  fail_msg("a %s has no value %s", node_type, key);
}

static bool one_of(const char* text, const char* const choices[])
{
  while (*choices && strcmp(*choices, text) != 0) {
    ++choices;
  }
  return *choices != NULL;
}

static void check_partial(const xmlNode* partial)
{
  static const char* const types[] = {"CONSTANT", "INDEX", "VALUE", "PROPERTY", NULL};
  static const char* const conversions[] = {"BOOLEAN", "INTEGER", "FLOAT", "STRING", NULL};
  assert_true(is(partial, "partial"));
  assert_true(one_of(text_in(partial, "type"), types));
  assert_true(one_of(text_in(partial, "conversion"), conversions));
  text_in(partial, "value");
  assert_true(is_number(text_in(partial, "scaleMin")));
  assert_true(is_number(text_in(partial, "scaleMax")));
}

static void check_message(const xmlNode* message)
{
  static const char* const flags[] = {"enabled", "send", "receive", "feedback", "noDuplicates"};
  static const char* const conditions[] = {"ANY", "RISE", "FALL", NULL};
  assert_true(is(message, "osc"));
  for (size_t i = 0; i < LENGTH(flags); ++i) {
    const char* const flag = text_in(message, flags[i]);
    assert_true(!strcmp(flag, "0") || !strcmp(flag, "1"));
  }
  assert_string_equal(text_in(message, "connections"), "1111111111");
  const xmlNode* const trigger = child(child(message, "triggers"), "trigger");
  assert_string_equal(text_in(trigger, "var"), "x");
  assert_true(one_of(text_in(trigger, "condition"), conditions));
  assert_non_null(child(message, "path")->children);
  for (const xmlNode* part = child(message, "path")->children; part; part = part->next) {
    check_partial(part);
  }
  for (const xmlNode* part = child(message, "arguments")->children; part; part = part->next) {
    check_partial(part);
  }
}

enum { NODES_MAX = 256 };

typedef struct {
  const xmlNode* nodes[NODES_MAX];
  size_t count;
} Nodes;

static const char* name_of(const xmlNode* node)
{
  return text_in(find_property(node, "name"), "value");
}

/** Check a node and those in it, and take note of them. */
static void check_node(const xmlNode* node, Nodes* seen)
{
  static const char* const parts[] = {"properties", "values", "messages", "children", NULL};
  static const char* const types[] = {"GROUP", "BUTTON", "LABEL", NULL};
  const char* const type = attribute(node, "type");
  assert_true(is(node, "node"));
  assert_true(one_of(type, types));
  assert_int_equal(strlen(attribute(node, "ID")), 36);
  for (size_t i = 0; i < seen->count; ++i) {
    assert_string_not_equal(attribute(node, "ID"), attribute(seen->nodes[i], "ID"));
    assert_string_not_equal(name_of(node), name_of(seen->nodes[i]));
  }
  assert_true(seen->count < NODES_MAX);
  seen->nodes[seen->count++] = node;
  for (const xmlNode* part = node->children; part; part = part->next) {
    assert_true(one_of((const char*)part->name, parts));
    for (const xmlNode* each = part->children; each; each = each->next) {
      if (is(part, "properties")) {
        check_property(each, type);
      } else if (is(part, "values")) {
        check_value(each, type);
      } else if (is(part, "messages")) {
        check_message(each);
      } else {
        check_node(each, seen);
      }
    }
  }
}

static xmlDoc* read_touchosc(unsigned instance)
{
  char* const xml = write_touchosc_xml(instance);
  xmlDoc* const document = xmlReadMemory(xml, (int)strlen(xml), "layout", NULL, XML_PARSE_NONET);
  free(xml);
  assert_non_null(document);
  return document;
}

static const xmlNode* root_node(const xmlDoc* document)
{
  const xmlNode* const root = xmlDocGetRootElement((xmlDoc*)document);
  assert_true(is(root, "lexml"));
  assert_string_equal(attribute(root, "version"), "6");
  assert_ptr_equal(root->children, root->last);
  return root->children;
}

static void test_touchosc_format(void** state)
{
  (void)state;
  Nodes nodes = {{NULL}, 0};
  xmlDoc* const document = read_touchosc(1);
  check_node(root_node(document), &nodes);
  assert_true(nodes.count > 40);
  xmlFreeDoc(document);
}

/* ---- The format of Open Stage Control ------------------------------------------------ */

/** From the program's properties reference. */
static const char* const known_widget_properties[] = {
    "type",        "id",   "left",  "top",    "width",     "height",  "colorText",
    "colorWidget", "wrap", "label", "bypass", "address",   "preArgs", "alphaFillOff",
    "alphaFillOn", "mode", "on",    "off",    "decoupled", "onValue", NULL};

static void test_open_stage_control_format(void** state)
{
  (void)state;
  static const char* const types[] = {"button", "text", "variable", NULL};
  static const char* const modes[] = {"push", "toggle", "tap", "momentary", NULL};
  size_t size = 0;
  char* const text = write_layout("open-stage-control", 1, &size);
  json_object* const session = json_tokener_parse(text);
  assert_non_null(session);
  json_object* const root = json_object_object_get(session, "content");
  assert_string_equal(json_object_get_string(json_object_object_get(root, "id")), "root");
  json_object* const widgets = json_object_object_get(root, "widgets");
  const size_t count = json_object_array_length(widgets);
  assert_true(count > 40);
  for (size_t i = 0; i < count; ++i) {
    json_object* const widget = json_object_array_get_idx(widgets, i);
    const char* const id = json_object_get_string(json_object_object_get(widget, "id"));
    assert_true(one_of(json_object_get_string(json_object_object_get(widget, "type")), types));
    json_object_object_foreach(widget, key, value)
    {
      assert_true(one_of(key, known_widget_properties));
      assert_true(strcmp(key, "mode") != 0 || one_of(json_object_get_string(value), modes));
    }
    for (size_t j = 0; j < i; ++j) {
      json_object* const other = json_object_array_get_idx(widgets, j);
      assert_string_not_equal(id, json_object_get_string(json_object_object_get(other, "id")));
    }
  }
  json_object_put(session);
  free(text);
}

/* ---- A tablet ------------------------------------------------------------------------- */

/** TouchOSC with our layout on it, and the plugin it plays. One of each. */
static struct {
  xmlDoc* document;
  Nodes nodes;
  lua_State* lua;
  int socket;
  struct sockaddr_in plugin;
  double ahead_ms;     ///< Of the true time
  char mark[64];       ///< The mark told last
  char colours[17][8]; ///< Told of each slot, from 1
  Host* host;
} tablet;

static double now_ms(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void send_message(const char* path, lo_message message)
{
  static uint8_t bytes[2048];
  size_t size = sizeof bytes;
  assert_non_null(lo_message_serialise(message, path, bytes, &size));
  assert_int_equal(
      sendto(tablet.socket, bytes, size, 0, (struct sockaddr*)&tablet.plugin, sizeof tablet.plugin),
      size);
}

static int lua_send(lua_State* lua)
{
  lo_message message = lo_message_new();
  for (int i = 2; i <= lua_gettop(lua); ++i) {
    if (lua_type(lua, i) == LUA_TNUMBER) {
      lo_message_add_float(message, (float)lua_tonumber(lua, i));
    } else {
      lo_message_add_string(message, luaL_checkstring(lua, i));
    }
  }
  send_message(luaL_checkstring(lua, 1), message);
  lo_message_free(message);
  return 0;
}

static int lua_millis(lua_State* lua)
{
  lua_pushnumber(lua, now_ms() + tablet.ahead_ms);
  return 1;
}

static int lua_time(lua_State* lua)
{
  lua_pushnumber(lua, 21);
  lua_pushnumber(lua, 7);
  lua_pushnumber(lua, 30);
  lua_pushnumber(lua, 0);
  return 4;
}

static void call(int arguments, int results)
{
  if (lua_pcall(tablet.lua, arguments, results, 0)) {
    fail_msg("%s", lua_tostring(tablet.lua, -1));
  }
}

/** Hand the controls to Lua in the order they were seen in, then the scripts. */
static void load_controls(void)
{
  for (size_t i = 0; i < tablet.nodes.count; ++i) {
    const xmlNode* const node = tablet.nodes.nodes[i];
    lua_getglobal(tablet.lua, "add");
    if (i) {
      lua_pushinteger(tablet.lua, 1);
    } else {
      lua_pushnil(tablet.lua);
    }
    lua_pushstring(tablet.lua, attribute(node, "type"));
    lua_pushstring(tablet.lua, name_of(node));
    lua_pushstring(tablet.lua, "");
    call(4, 0);
  }
  for (size_t i = 0; i < tablet.nodes.count; ++i) {
    const xmlNode* const script = find_property(tablet.nodes.nodes[i], "script");
    if (script) {
      lua_getglobal(tablet.lua, "run");
      lua_pushinteger(tablet.lua, (lua_Integer)i + 1);
      lua_pushstring(tablet.lua, text_in(script, "value"));
      call(2, 0);
    }
  }
}

static void call_by_name(const char* name)
{
  lua_getglobal(tablet.lua, name);
  call(0, 0);
}

static void push_arguments(lo_message message)
{
  const char* const types = lo_message_get_types(message);
  lua_newtable(tablet.lua);
  for (int i = 0; types[i]; ++i) {
    const void* const value = lo_message_get_argv(message)[i];
    int32_t whole = 0;
    int64_t wide = 0;
    float number = 0.0F;
    lua_newtable(tablet.lua);
    switch (types[i]) {
    case 'i':
      memcpy(&whole, value, sizeof whole);
      lua_pushnumber(tablet.lua, whole);
      break;
    case 'h':
      memcpy(&wide, value, sizeof wide);
      lua_pushnumber(tablet.lua, (lua_Number)wide);
      break;
    case 'f':
      memcpy(&number, value, sizeof number);
      lua_pushnumber(tablet.lua, (lua_Number)number);
      break;
    default:
      assert_int_equal(types[i], 's');
      lua_pushstring(tablet.lua, value);
    }
    lua_setfield(tablet.lua, -2, "value");
    lua_rawseti(tablet.lua, -2, i + 1);
  }
}

/** Marks are rows of an answer: the path, "row", id, name, start, end. */
static void take_mark(const char* path, lo_message message)
{
  lo_arg** const values = lo_message_get_argv(message);
  if (!strcmp(path, "/reply") && !strcmp(lo_message_get_types(message), "ssishh") &&
      !strcmp((const char*)values[0], "/hr/1/marks")) {
    snprintf(tablet.mark, sizeof tablet.mark, "%s", (const char*)values[3]);
  }
}

static void take_colour(const char* path, lo_message message)
{
  lo_arg** const values = lo_message_get_argv(message);
  if (!strcmp(path, "/hr/1/state/slot")) {
    int32_t slot;
    assert_string_equal(lo_message_get_types(message), "iisis");
    memcpy(&slot, values[0], sizeof slot); // On a multiple of 4, where an lo_arg is of 8
    assert_in_range(slot, 1, LENGTH(tablet.colours) - 1);
    snprintf(tablet.colours[slot], sizeof tablet.colours[0], "%s", (const char*)values[4]);
  }
}

static void take_message(const uint8_t* bytes, size_t size)
{
  lo_message message = lo_message_deserialise((void*)bytes, size, NULL);
  assert_non_null(message);
  take_mark((const char*)bytes, message);
  take_colour((const char*)bytes, message);
  lua_getglobal(tablet.lua, "receive");
  lua_pushstring(tablet.lua, (const char*)bytes);
  push_arguments(message);
  call(2, 0);
  lo_message_free(message);
}

static void take_packets(void)
{
  struct pollfd descriptor = {.fd = tablet.socket, .events = POLLIN};
  static uint8_t bytes[4096];
  while (poll(&descriptor, 1, 0) == 1) {
    const ssize_t size = recv(tablet.socket, bytes, sizeof bytes, 0);
    if (size < 0) {
      continue; // Refused: the plugin is gone
    }
    if (!hr_osc_is_bundle(bytes, (size_t)size)) {
      take_message(bytes, (size_t)size);
      continue;
    }
    size_t offset = 0;
    size_t element_size = 0;
    const uint8_t* element = NULL;
    while (hr_osc_bundle_next(bytes, (size_t)size, &offset, &element, &element_size)) {
      take_message(element, element_size);
    }
  }
}

/** A moment passes, on the tablet and in the host. */
static void pass_moment(void)
{
  const struct timespec millisecond = {0, 1000000};
  if (tablet.host) {
    host_run(tablet.host, 48);
  }
  take_packets();
  call_by_name("update");
  nanosleep(&millisecond, NULL);
}

static const char* shown(const char* name)
{
  static char text[256];
  lua_getglobal(tablet.lua, "text_of");
  lua_pushstring(tablet.lua, name);
  call(1, 1);
  snprintf(text, sizeof text, "%s", lua_tostring(tablet.lua, -1));
  lua_pop(tablet.lua, 1);
  return text;
}

/** The colour of a pad, as rrggbb. */
static const char* colour_of(const char* name)
{
  static char text[8];
  lua_getglobal(tablet.lua, "hex_of");
  lua_pushstring(tablet.lua, name);
  call(1, 1);
  snprintf(text, sizeof text, "%s", lua_tostring(tablet.lua, -1));
  lua_pop(tablet.lua, 1);
  return text;
}

static bool lit(const char* name)
{
  lua_getglobal(tablet.lua, "brightness_of");
  lua_pushstring(tablet.lua, name);
  call(1, 1);
  const bool bright = lua_tonumber(tablet.lua, -1) > 0.75;
  lua_pop(tablet.lua, 1);
  return bright;
}

enum { PATIENCE_MS = 5000 };

static void wait_shown(const char* name, const char* text)
{
  const double until = now_ms() + PATIENCE_MS;
  while (strcmp(shown(name), text) != 0) {
    if (now_ms() > until) {
      fail_msg("%s shows \"%s\", not \"%s\"", name, shown(name), text);
    }
    pass_moment();
  }
}

static void wait_lit(const char* name, bool on)
{
  const double until = now_ms() + PATIENCE_MS;
  while (lit(name) != on) {
    if (now_ms() > until) {
      fail_msg("%s is%s lit", name, on ? " not" : "");
    }
    pass_moment();
  }
}

/** Send what a control's own messages say of its x going to 1 or 0. */
static void send_own_messages(const xmlNode* node, bool down)
{
  const xmlNode* const messages = child(node, "messages");
  const xmlNode* each = messages ? messages->children : NULL;
  for (; each; each = each->next) {
    const xmlNode* const trigger = child(child(each, "triggers"), "trigger");
    if (!down && !strcmp(text_in(trigger, "condition"), "RISE")) {
      continue;
    }
    lo_message message = lo_message_new();
    for (const xmlNode* part = child(each, "arguments")->children; part; part = part->next) {
      if (!strcmp(text_in(part, "type"), "VALUE")) {
        lo_message_add_float(message, down ? 1.0F : 0.0F);
      } else {
        lo_message_add_string(message, text_in(part, "value"));
      }
    }
    send_message(text_in(child(child(each, "path"), "partial"), "value"), message);
    lo_message_free(message);
  }
}

/** The controls that were pressed so far, by hr_layout_control(). */
static bool pressed[256];

static void note_press(const char* name)
{
  for (size_t i = 0; i < hr_layout_count(); ++i) {
    pressed[i] = pressed[i] || !strcmp(hr_layout_control(i)->name, name);
  }
}

static void touch(const char* name, bool down)
{
  note_press(name);
  for (size_t i = 0; i < tablet.nodes.count; ++i) {
    if (!strcmp(name_of(tablet.nodes.nodes[i]), name)) {
      send_own_messages(tablet.nodes.nodes[i], down);
      lua_getglobal(tablet.lua, "press");
      lua_pushstring(tablet.lua, name);
      lua_pushnumber(tablet.lua, down ? 1 : 0);
      call(2, 0);
      return;
    }
  }
  fail_msg("there is no %s", name);
}

static void tap(const char* name)
{
  touch(name, true);
  pass_moment();
  touch(name, false);
  pass_moment();
}

/** Long enough for what a release wrongly did to be seen. */
static void settle(void)
{
  for (int i = 0; i < 200; ++i) {
    pass_moment();
  }
}

static void send_bare(const char* path)
{
  lo_message message = lo_message_new();
  send_message(path, message);
  lo_message_free(message);
}

static void read_plugin_address(void)
{
  uint16_t port = 0;
  const char* const url = host_property(tablet.host, "oscURL");
  assert_non_null(url);
  assert_int_equal(sscanf(url, "osc.udp://127.0.0.1:%" SCNu16, &port), 1);
  tablet.plugin = (struct sockaddr_in){
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void start_host(void)
{
  const HostOptions options = {.threaded = true};
  tablet.host = host_new(&options);
  host_get(tablet.host, "oscURL");
  const double until = now_ms() + PATIENCE_MS;
  while (!host_property(tablet.host, "oscURL") && now_ms() < until) {
    host_run(tablet.host, 48);
  }
  read_plugin_address();
}

static void play_note(uint8_t key)
{
  const uint8_t on[] = {0x90, key, 100};
  const uint8_t off[] = {0x80, key, 0};
  host_midi(tablet.host, 0, on, 3);
  host_run(tablet.host, 4800);
  host_midi(tablet.host, 0, off, 3);
  host_run(tablet.host, 4800);
}

static int switch_on(void** state)
{
  (void)state;
  if (scratch_make()) {
    return -1;
  }
  setenv("XDG_RUNTIME_DIR", scratch, 1);
  setenv("HR_STORE", scratch_path("store.hr"), 1);
  setenv("HR_TREE", "Piano", 1);
  setenv("HR_OSC_PORT", "19770", 1);
  start_host();
  tablet.socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  assert_int_equal(bind(tablet.socket, (const struct sockaddr*)&own, sizeof own), 0);
  tablet.document = read_touchosc(1);
  tablet.nodes.count = 0;
  check_node(root_node(tablet.document), &tablet.nodes);
  tablet.ahead_ms = 0.0;
  tablet.lua = luaL_newstate();
  luaL_openlibs(tablet.lua);
  lua_register(tablet.lua, "sendOSC", lua_send);
  lua_register(tablet.lua, "getMillis", lua_millis);
  lua_register(tablet.lua, "getTime", lua_time);
  if (luaL_dofile(tablet.lua, "tests/touchosc.lua")) {
    fail_msg("%s", lua_tostring(tablet.lua, -1));
  }
  load_controls();
  call_by_name("init");
  return 0;
}

static int switch_off(void** state)
{
  (void)state;
  lua_close(tablet.lua);
  xmlFreeDoc(tablet.document);
  close(tablet.socket);
  host_free(tablet.host);
  scratch_remove();
  return 0;
}

/** What the store says of a branch, by the tree it is in. */
static const char* branch_of_plugin(void)
{
  host_forget_properties(tablet.host);
  host_get(tablet.host, "branch");
  const double until = now_ms() + PATIENCE_MS;
  while (!host_property(tablet.host, "branch") && now_ms() < until) {
    pass_moment();
  }
  return host_property(tablet.host, "branch");
}

static void test_tablet_shows_what_is_there(void** state)
{
  (void)state;
  assert_string_equal(shown("link"), "NO LINK");
  wait_shown("tree", "Piano");
  assert_string_equal(shown("link"), "LINK");
  wait_lit("record", true);
  wait_lit("quantum_bar", true);
  assert_false(lit("quantum_now"));
  assert_false(lit("overdub"));
  play_note(60);
  wait_shown("branch", "main");
}

static void test_tablet_forks_and_goes_back(void** state)
{
  (void)state;
  play_note(60);
  wait_shown("branch", "main");
  tap("quantum_now");
  wait_lit("quantum_now", true);
  tap("fork");
  const double until = now_ms() + PATIENCE_MS;
  while (!strcmp(shown("branch"), "main") && now_ms() < until) {
    pass_moment();
  }
  char name[256];
  snprintf(name, sizeof name, "%s", shown("branch"));
  assert_string_not_equal(name, "main");
  assert_string_equal(branch_of_plugin(), name);
  tap("previous");
  wait_shown("branch", "main");
  assert_string_equal(branch_of_plugin(), "main");
  tap("next");
  wait_shown("branch", name);
  // Undo takes back the going, and then the fork: one press, one step.
  tap("undo");
  wait_shown("branch", "main");
}

static void test_tablet_lamps(void** state)
{
  (void)state;
  static const char* const names[] = {"record", "overdub", "thru"};
  play_note(60);
  wait_lit("record", true);
  for (size_t i = 0; i < LENGTH(names); ++i) {
    const bool before = lit(names[i]);
    tap(names[i]);
    wait_lit(names[i], !before);
    settle();
    assert_int_equal(lit(names[i]), !before);
    tap(names[i]);
    wait_lit(names[i], before);
  }
  tap("quantum_now");
  tap("replay");
  wait_lit("replay", true);
  tap("stop");
  wait_lit("replay", false);
}

static void test_tablet_says_what_went_wrong(void** state)
{
  (void)state;
  wait_shown("tree", "Piano");
  wait_shown("trouble", "");
  tap("redo"); // There is nothing to be done again
  const double until = now_ms() + PATIENCE_MS;
  while (!*shown("trouble") && now_ms() < until) {
    pass_moment();
  }
  assert_true(strlen(shown("trouble")) > 0);
  tap("panic"); // Neither what goes right meanwhile hides it nor the whole state
  send_bare("/hr/refresh");
  settle();
  assert_true(strlen(shown("trouble")) > 0);
  tablet.ahead_ms += 1000.0 * HR_LAYOUT_SAID_S;
  wait_shown("trouble", "");
}

static void test_tablet_finds_the_plugin_again(void** state)
{
  (void)state;
  play_note(60);
  wait_shown("branch", "main");
  send_bare("/hr/unsubscribe"); // A new process knows no subscribers
  settle();
  host_free(tablet.host);
  tablet.host = NULL;
  tablet.ahead_ms += 1000.0 * HR_LAYOUT_SILENCE_S;
  wait_shown("link", "NO LINK");
  start_host();
  tablet.ahead_ms += 1000.0 * HR_LAYOUT_SILENCE_S;
  wait_shown("link", "LINK");
  wait_shown("branch", "main");
  wait_lit("record", true);
}

static void test_tablet_marks(void** state)
{
  (void)state;
  play_note(60);
  wait_shown("branch", "main");
  tablet.mark[0] = '\0';
  tap("mark");
  send_bare("/hr/1/marks");
  const double until = now_ms() + PATIENCE_MS;
  while (!*tablet.mark && now_ms() < until) {
    pass_moment();
  }
  assert_string_equal(tablet.mark, "mark 21:07:30");
}

static void test_tablet_slots(void** state)
{
  (void)state;
  play_note(60);
  wait_shown("slot1_label", "main");
  wait_shown("slot1_state", "NOW");
  wait_shown("slot2_state", "");
  tap("quantum_now");
  tap("fork");
  wait_shown("slot2_state", "NOW");
  wait_shown("slot1_state", "");
  tap("slot1");
  wait_shown("slot1_state", "NOW");
  wait_shown("branch", "main");
  assert_string_equal(branch_of_plugin(), "main");
  tap("note");
  wait_shown("trouble", "");
}

/** A full grid: every slot leads to its branch, says so, and has the branch's colour. */
static void test_tablet_every_slot(void** state)
{
  enum { SLOTS = 16 };
  char label[32];
  (void)state;
  play_note(60);
  wait_shown("slot1_state", "NOW");
  tap("quantum_now");
  wait_lit("quantum_now", true);
  for (int slot = 2; slot <= SLOTS; ++slot) {
    tap("fork");
    snprintf(label, sizeof label, "slot%d_state", slot);
    wait_shown(label, "NOW");
  }
  for (int slot = 1; slot <= SLOTS; ++slot) {
    char name[256];
    snprintf(label, sizeof label, "slot%d", slot);
    tap(label);
    snprintf(label, sizeof label, "slot%d_state", slot);
    wait_shown(label, "NOW");
    snprintf(label, sizeof label, "slot%d", slot);
    assert_string_equal(colour_of(label), tablet.colours[slot]);
    for (int other = 1; other < slot; ++other) {
      assert_string_not_equal(tablet.colours[other], tablet.colours[slot]);
    }
    snprintf(label, sizeof label, "slot%d_label", slot);
    snprintf(name, sizeof name, "%s", shown(label));
    wait_shown("branch", name);
    assert_string_equal(branch_of_plugin(), name);
  }
}

/** What waits is shown, and can be called off; each quantum is lit while it holds. */
static void test_tablet_waits_and_cancels(void** state)
{
  (void)state;
  static const char* const quanta[] = {"quantum_beat", "quantum_loop", "quantum_now",
                                       "quantum_bar"};
  play_note(60);
  wait_shown("branch", "main");
  for (size_t i = 0; i < LENGTH(quanta); ++i) {
    tap(quanta[i]);
    wait_lit(quanta[i], true);
  }
  tap("fork");
  wait_shown("slot2_state", "NOW");
  play_note(62);
  settle(); // Past the moment in which a tap means the bar line just passed
  tap("slot1");
  wait_shown("slot1_state", "NEXT");
  tap("cancel");
  wait_shown("slot1_state", "");
  wait_shown("slot2_state", "NOW");
}

static void test_tablet_loops_and_redoes(void** state)
{
  (void)state;
  for (int bar = 0; bar < 5; ++bar) {
    play_note(60);
    for (int block = 0; block < 18; ++block) { // With that a bar at 120 beats a minute
      host_run(tablet.host, 4800);
    }
  }
  wait_shown("branch", "main");
  tap("grab");
  wait_lit("loop", true);
  tap("loop");
  wait_lit("loop", false);
  tap("loop");
  wait_lit("loop", true);
  tap("stop");
  wait_lit("replay", false);
  tap("quantum_now");
  tap("fork");
  wait_shown("slot2_state", "NOW");
  tap("undo");
  wait_shown("slot1_state", "NOW");
  tap("redo");
  wait_shown("slot2_state", "NOW");
  wait_shown("trouble", "");
}

/** The tests before have pressed everything there is to press. */
static void test_every_control_was_pressed(void** state)
{
  (void)state;
  assert_in_range(hr_layout_count(), 1, LENGTH(pressed));
  for (size_t i = 0; i < hr_layout_count(); ++i) {
    if (hr_layout_control(i)->verb && !pressed[i]) {
      fail_msg("nobody pressed %s", hr_layout_control(i)->name);
    }
  }
}

int main(void)
{
#define ON_TABLET(test) cmocka_unit_test_setup_teardown(test, switch_on, switch_off)
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_control_is_in_the_table),
      cmocka_unit_test(test_every_slot_is_in_the_table),
      cmocka_unit_test(test_fingers_find_room),
      cmocka_unit_test(test_addresses_both_ways),
      cmocka_unit_test(test_addresses_of_examples),
      cmocka_unit_test(test_pictures_are_true),
      cmocka_unit_test(test_unknown_layout),
      cmocka_unit_test(test_touchosc_format),
      cmocka_unit_test(test_open_stage_control_format),
      ON_TABLET(test_tablet_shows_what_is_there),
      ON_TABLET(test_tablet_forks_and_goes_back),
      ON_TABLET(test_tablet_lamps),
      ON_TABLET(test_tablet_says_what_went_wrong),
      ON_TABLET(test_tablet_finds_the_plugin_again),
      ON_TABLET(test_tablet_marks),
      ON_TABLET(test_tablet_slots),
      ON_TABLET(test_tablet_every_slot),
      ON_TABLET(test_tablet_waits_and_cancels),
      ON_TABLET(test_tablet_loops_and_redoes),
      cmocka_unit_test(test_every_control_was_pressed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
