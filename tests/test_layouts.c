/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file test_layouts.c
 * The controllers that are shipped (tools/layout.h): they name what the table of
 * addresses has and no more, and are in the formats they claim to be in.
 * test_tablet.c plays one.
 */

#include "osc/table.h"
#include "tests/layout_rig.h"

#include <ctype.h>
#include <json.h>

#define LENGTH(array) (sizeof(array) / sizeof *(array))

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

static void check_node(const xmlNode* node)
{
  static const char* const parts[] = {"properties", "values", "messages", "children", NULL};
  static const char* const types[] = {"GROUP", "BUTTON", "LABEL", NULL};
  const char* const type = attribute(node, "type");
  assert_true(is(node, "node"));
  assert_true(one_of(type, types));
  assert_int_equal(strlen(attribute(node, "ID")), 36);
  for (const xmlNode* part = node->children; part; part = part->next) {
    assert_true(one_of((const char*)part->name, parts));
    for (const xmlNode* each = part->children; each; each = each->next) {
      if (is(part, "properties")) {
        check_property(each, type);
      } else if (is(part, "values")) {
        check_value(each, type);
      } else if (is(part, "messages")) {
        check_message(each);
      }
    }
  }
}

static void test_touchosc_format(void** state)
{
  (void)state;
  Nodes nodes = {{NULL}, 0};
  xmlDoc* const document = read_touchosc(1);
  collect_nodes(root_node(document), &nodes);
  assert_true(nodes.count > 40);
  for (size_t i = 0; i < nodes.count; ++i) {
    check_node(nodes.nodes[i]);
    for (size_t j = 0; j < i; ++j) {
      assert_string_not_equal(attribute(nodes.nodes[i], "ID"), attribute(nodes.nodes[j], "ID"));
      assert_string_not_equal(name_of(nodes.nodes[i]), name_of(nodes.nodes[j]));
    }
  }
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

int main(void)
{
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
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
