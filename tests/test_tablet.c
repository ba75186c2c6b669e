/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file test_tablet.c
 * The controller for TouchOSC, played as TouchOSC would (its messages, and its
 * scripts in Lua 5.1), leads a real plugin to the right state and shows it.
 */

#include "osc/packet.h"
#include "tests/host/lv2_host.h"
#include "tests/layout_rig.h"
#include "tests/scratch.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <lauxlib.h>
#include <lo/lo.h>
#include <lualib.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#define LENGTH(array) (sizeof(array) / sizeof *(array))

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

/** What a function of the tablet says of a control, until it is asked again. */
static const char* ask(const char* function, const char* name)
{
  static char text[256];
  lua_getglobal(tablet.lua, function);
  lua_pushstring(tablet.lua, name);
  call(1, 1);
  snprintf(text, sizeof text, "%s", lua_tostring(tablet.lua, -1));
  lua_pop(tablet.lua, 1);
  return text;
}

static const char* shown(const char* name)
{
  return ask("text_of", name);
}

/** The colour of a pad, as rrggbb. */
static const char* colour_of(const char* name)
{
  return ask("hex_of", name);
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
  setenv("HR_STORE", scratch_path("store.hr"), 1);
  setenv("HR_TREE", "Piano", 1);
  setenv("HR_OSC_PORT", "19770", 1);
  start_host();
  tablet.socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  assert_int_equal(bind(tablet.socket, (const struct sockaddr*)&own, sizeof own), 0);
  tablet.document = read_touchosc(1);
  tablet.nodes.count = 0;
  collect_nodes(root_node(tablet.document), &tablet.nodes);
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
