/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Every command there is, through a real socket, to a plugin that plays: in every
 * type that each argument may have, with and without those that may be left out,
 * pressed and let go. A row of the table that is missing here fails. */

#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "osc/osc.h"
#include "osc/socket.h"
#include "osc/table.h"
#include "tests/osc_client.h"
#include "tests/rig.h"
#include "tests/scratch.h"
#include "tests/test_osc_wire.h"

enum { ARGUMENTS = 4, STEPS = 3, NAME = 96 };

/** What to send to an address. A `#` in a text becomes a number that is new each time. */
typedef struct {
  const char* verb;
  const char* arguments[ARGUMENTS]; ///< One for each that the table names
  struct {
    const char* verb;
    const char* text;
  } before[STEPS]; ///< To be sent first, each time
  size_t least;    ///< So many arguments go together, where the table cannot say it
} Case;

static const Case cases[] = {
    {"ping", {NULL}, {{NULL, NULL}}, 0},
    {"instances", {NULL}, {{NULL, NULL}}, 0},
    {"counters", {NULL}, {{NULL, NULL}}, 0},
    {"help", {"fork"}, {{NULL, NULL}}, 0},
    {"subscribe", {"1", "30"}, {{NULL, NULL}}, 0},
    {"unsubscribe", {"1"}, {{"/hr/subscribe", NULL}}, 0},
    {"refresh", {"1"}, {{"/hr/subscribe", NULL}}, 0},
    {"position/rate", {"30", "1"}, {{"/hr/subscribe", NULL}}, 0},
    {"fork", {"fork #"}, {{NULL, NULL}}, 0},
    {"fork/at", {"2", "past #"}, {{"switch", "main"}}, 0},
    {"fork/ago", {"200", "ago #"}, {{"switch", "main"}}, 0},
    {"switch", {"1"}, {{NULL, NULL}}, 0},
    {"slot", {"1"}, {{NULL, NULL}}, 0},
    {"slot/<n>", {NULL}, {{NULL, NULL}}, 0},
    {"slot/replay", {"1"}, {{NULL, NULL}}, 0},
    {"next", {NULL}, {{NULL, NULL}}, 0},
    {"previous", {NULL}, {{NULL, NULL}}, 0},
    {"cancel", {NULL}, {{NULL, NULL}}, 0},
    {"replay", {NULL}, {{"switch", "main"}}, 0},
    {"replay/at", {"2"}, {{"switch", "main"}}, 0},
    {"follow", {"1"}, {{NULL, NULL}}, 0},
    {"stop", {NULL}, {{NULL, NULL}}, 0},
    {"loop", {"1"}, {{NULL, NULL}}, 0},
    {"loop/range", {"1", "2"}, {{NULL, NULL}}, 2},
    {"grab", {"500", "grab #"}, {{"stop", NULL}, {"switch", "main"}}, 0},
    {"record", {"1"}, {{NULL, NULL}}, 0},
    {"thru", {"1"}, {{NULL, NULL}}, 0},
    {"overdub", {"1"}, {{NULL, NULL}}, 0},
    {"quantum", {"now"}, {{NULL, NULL}}, 0},
    {"snap", {"80"}, {{NULL, NULL}}, 0},
    {"standing", {"side"}, {{NULL, NULL}}, 0},
    {"silence", {"2"}, {{NULL, NULL}}, 0},
    {"tempo/source", {"recorded"}, {{NULL, NULL}}, 0},
    {"undo", {NULL}, {{"fork", "undone #"}}, 0},
    {"redo", {NULL}, {{"fork", "redone #"}, {"undo", NULL}}, 0},
    {"merge", {"2", "merged #"}, {{"switch", "main"}}, 0},
    {"mark", {"mark #", "1", "2"}, {{NULL, NULL}}, 0},
    {"unmark", {"gone"}, {{"mark", "gone"}}, 0},
    {"marks", {NULL}, {{"mark", "there #"}}, 0},
    {"note", {"good", "1"}, {{NULL, NULL}}, 0},
    {"rate", {"5", "good"}, {{NULL, NULL}}, 0},
    {"emotion", {"1", "0", "-1", "proud"}, {{NULL, NULL}}, 0},
    {"notes", {NULL}, {{"note", "said"}}, 0},
    {"send", {"144", "9999"}, {{NULL, NULL}}, 0},
    {"rename", {"2", "name #"}, {{NULL, NULL}}, 0},
    {"hide", {"2"}, {{"switch", "main"}}, 0},
    {"restore", {"2"}, {{NULL, NULL}}, 0},
    {"panic", {NULL}, {{NULL, NULL}}, 0},
    {"list", {"1", "100"}, {{NULL, NULL}}, 0},
    {"branch", {"1"}, {{NULL, NULL}}, 0},
    {"trees", {NULL}, {{NULL, NULL}}, 0},
    {"log", {NULL}, {{NULL, NULL}}, 0},
    {"stats", {NULL}, {{NULL, NULL}}, 0},
    {"get", {"tree"}, {{NULL, NULL}}, 0},
    {"tree", {"Stage"}, {{NULL, NULL}}, 0},
};

/* ---- A plugin that plays -------------------------------------------------------- */

static Rig rig;
static pthread_t audio;
static atomic_bool over;
static atomic_uint blocks; ///< Run so far, each with the work after it
static char rows[1 << 20];

static void* play(void* data)
{
  (void)data;
  while (!atomic_load(&over)) {
    rig_run_block(&rig, rig.block);
    rig.output_count = 0;
    atomic_fetch_add(&blocks, 1);
    sleep_ms(2);
  }
  return NULL;
}

/** Let the engine hear of a command, and the store of what came of it. */
static void settle(void)
{
  enum { BLOCKS = 10 };
  const unsigned before = atomic_load(&blocks);
  while (atomic_load(&blocks) - before < BLOCKS) {
    sleep_ms(2);
  }
}

static int setup(void** state)
{
  char port[16];
  HrError error;
  if (scratch_make()) {
    return -1;
  }
  snprintf(port, sizeof port, "%d", 32000 + (int)getpid() % 180 * HR_OSC_PORT_COUNT);
  setenv("HR_OSC_PORT", port, 1);
  setenv("HR_TREE", "Stage", 1);
  if (!rig_open(&rig, &(HrAttachment){.store = scratch_path("music.hr")})) {
    return -1;
  }
  rig_play(&rig, 0, 0x90, 60, 100); // Six bars on main, then a branch beside it
  rig_play(&rig, 6 * 4 * RIG_RATE / 2, 0x80, 60, 0);
  rig_run(&rig, 6 * 4 * RIG_RATE / 2 + RIG_RATE);
  rig_say(&rig, "quantum", "now");
  const HrValue silence = hr_value_integer(0);
  rig_command(&rig, "silence", &silence, 1);
  atomic_store(&over, false);
  pthread_create(&audio, NULL, play, NULL);
  if (hr_osc_attach(rig.session, &error)) {
    return -1;
  }
  *state = client_new();
  return 0;
}

static int teardown(void** state)
{
  client_free(*state);
  hr_osc_detach(rig.session);
  atomic_store(&over, true);
  pthread_join(audio, NULL);
  rig_close(&rig);
  scratch_remove();
  return 0;
}

/* ---- Requests ------------------------------------------------------------------- */

/** An address, types and values, on their way into a message. */
typedef struct {
  char path[128];
  char types[16];
  char texts[ARGUMENTS + 3][NAME];
  size_t count;
} Request;

static void begin(Request* request, const char* verb)
{
  *request = (Request){.count = 0};
  if (*verb == '/') {
    snprintf(request->path, sizeof request->path, "%s", verb);
  } else {
    snprintf(request->path, sizeof request->path, "/hr/%u/%s", hr_session_number(rig.session),
             strcmp(verb, "slot/<n>") ? verb : "slot/1");
  }
}

/** Add an argument of an OSC type; a `#` in its text becomes new. */
static void add(Request* request, char type, const char* text)
{
  static unsigned fresh;
  const char* const mark = strchr(text, '#');
  request->types[request->count] = type;
  if (mark && mark > text) {
    snprintf(request->texts[request->count++], NAME, "%.*s%u", (int)(mark - text), text, ++fresh);
  } else {
    snprintf(request->texts[request->count++], NAME, "%s", text);
  }
}

/** Write a request as a message into `bytes`, of WIRE_SIZE. Returns its size. */
static size_t write_request(uint8_t* bytes, const Request* request)
{
  size_t size = WIRE_SIZE;
  lo_message message = lo_message_new();
  for (size_t i = 0; i < request->count; ++i) {
    if (request->types[i] == 'b') {
      lo_blob blob = lo_blob_new(3, (const uint8_t[]){0x80, 62, 0});
      lo_message_add_blob(message, blob);
      lo_blob_free(blob);
    } else {
      add_argument(message, request->types[i], strtod(request->texts[i], NULL), request->texts[i]);
    }
  }
  lo_message_serialise(message, request->path, bytes, &size);
  lo_message_free(message);
  return size;
}

static const char* answer(Client* client, const Request* request)
{
  static uint8_t bytes[WIRE_SIZE];
  client_send_bytes(client, bytes, write_request(bytes, request));
  return client_answer(client, request->path, rows, sizeof rows);
}

/** Send a request that must be done. That the engine is still busy with the ones
 * before says to try again. */
static void must(Client* client, const Request* request)
{
  const char* closing = answer(client, request);
  for (unsigned tries = 0; tries < 100 && strstr(closing, "\" 15 \""); ++tries) {
    sleep_ms(20);
    closing = answer(client, request);
  }
  if (!is_ok(closing)) {
    fail_msg("%s ,%s \"%s\": %s", request->path, request->types, request->texts[0], closing);
  }
}

/** Do what has to come before a case, and let the engine hear of it. */
static void prepare(Client* client, const Case* item)
{
  for (size_t i = 0; i < STEPS && item->before[i].verb; ++i) {
    Request request;
    begin(&request, item->before[i].verb);
    if (item->before[i].text) {
      add(&request, 's', item->before[i].text);
    }
    must(client, &request);
    settle();
  }
}

/* ---- Arguments ------------------------------------------------------------------ */

/** The OSC types that an argument of the table's type may be sent as. */
static const char* osc_types(char type, HrCommandKind kind)
{
  switch (type) {
  case 'i':
    return kind == HR_COMMAND_TOGGLE ? "ifdTF" : "ifdT";
  case 'f':
    return "fdi";
  case 'b':
    return "sSif";
  case 'p':
    return "ifhs";
  case 'm':
    return "mbi";
  default:
    return "sS";
  }
}

/** The table's argument `index`, as its type and whether it may be left out; false if
 * there is none. */
static bool argument(const char* arguments, size_t index, char* type, bool* optional)
{
  const char* at = arguments;
  for (size_t i = 0; i < index && *at; ++i) {
    at += strcspn(at, " ");
    at += strspn(at, " ");
  }
  const char* const colon = strchr(at, ':');
  if (!*at || !colon) {
    return false;
  }
  *type = colon[1];
  *optional = colon[2] == '?';
  return true;
}

/** The value of an argument as the OSC type `osc` wants it. */
static void add_as(Request* request, char type, char osc, const char* value)
{
  char text[NAME];
  snprintf(text, sizeof text, "%s", value);
  if (type == 'b' && strchr("sS", osc)) {
    request->types[request->count] = osc;
    snprintf(request->texts[request->count++], NAME, "#%s", value);
    return;
  }
  if (type == 'i' && osc == 'T' && strcmp(value, "1")) {
    osc = 'i'; // It stands for 1 alone
  }
  if (type == 'p' && osc == 'h') {
    snprintf(text, sizeof text, "%.0f", (strtod(value, NULL) - 1.0) * 4 * HR_TICKS_PER_QUARTER);
  }
  add(request, osc, text);
  if (type == 'm' && osc == 'i') {
    add(request, 'i', "62");
    add(request, 'i', "0");
  }
}

/** The first `count` arguments, number `varied` of them sent as `osc`. */
static void add_arguments(Request* request, const HrOscRow* row, const Case* item, size_t count,
                          size_t varied, char osc)
{
  for (size_t i = 0; i < count; ++i) {
    char type = 's';
    bool optional = false;
    assert_true(argument(row->arguments, i, &type, &optional));
    if (!item->arguments[i]) {
      fail_msg("%s needs a value for argument %zu", row->address, i + 1);
    }
    const char usual = osc_types(type, row->kind)[0];
    add_as(request, type, (char)(i == varied ? osc : usual), item->arguments[i]);
  }
}

/* ---- Answers --------------------------------------------------------------------- */

/** Read one value of a printed row; its type by how it is written. */
static char next_value(const char** at)
{
  *at += strspn(*at, " ");
  if (**at == '"') {
    *at = strchr(*at + 1, '"') + 1;
    return 's';
  }
  const size_t size = strcspn(*at, " \n");
  const bool ticks = (*at)[size - 1] == 'h';
  *at += size;
  return (char)(ticks ? 'h' : 'f');
}

/** Each of `rows` has the values that the table says, of its types. */
static void check_values(const char* address, const char* wanted_values)
{
  for (const char* at = rows; *at; ++at) {
    const char* columns = wanted_values;
    while (*at != '\n') {
      const char* const colon = columns + strcspn(columns, ": ");
      const char wanted = (char)(*colon == ':' ? colon[1] : '*');
      const char found = next_value(&at);
      const bool fits =
          wanted == '*' || wanted == found || (strchr("ifd", wanted) && strchr("hf", found));
      if (!*columns || !fits) {
        fail_msg("%s is to tell \"%s\", not %s", address, wanted_values, rows);
      }
      columns += strcspn(columns, " ");
      columns += strspn(columns, " ");
    }
    if (*columns) {
      fail_msg("%s left out \"%s\": %s", address, columns, rows);
    }
  }
}

static void run(Client* client, const HrOscRow* row, const Case* item, const Request* request)
{
  prepare(client, item);
  must(client, request);
  const bool silent = !*row->answer || (request->count && !strcmp(request->texts[0], "0"));
  if (!silent != (*rows != '\0')) {
    fail_msg("%s ,%s answered \"%s\", where the table says \"%s\"", row->address, request->types,
             rows, row->answer);
  }
  check_values(row->address, row->answer);
}

static void begin_row(Request* request, const HrOscRow* row)
{
  begin(request, row->type == HR_OSC_ROW_OWN ? row->address : row->verb);
}

/** A button: a press may come before the arguments, and letting go does nothing. */
static void press_and_release(Client* client, const HrOscRow* row, const Case* item, size_t count)
{
  static const char types[] = "ifT";
  for (const char* type = types; *type; ++type) {
    Request request;
    begin_row(&request, row);
    add(&request, *type, "1");
    add_arguments(&request, row, item, count, count, 's');
    run(client, row, item, &request);
    begin_row(&request, row);
    add(&request, (char)(*type == 'T' ? 'F' : *type), "0");
    must(client, &request);
    assert_string_equal(rows, "");
  }
}

/** N and I count as nothing, wherever they are; further arguments than it knows are ignored. */
static void nothing_and_surplus(Client* client, const HrOscRow* row, const Case* item, size_t least,
                                size_t most)
{
  Request request;
  begin_row(&request, row);
  add(&request, 'N', "");
  add_arguments(&request, row, item, least, least, 's');
  add(&request, 'I', "");
  run(client, row, item, &request);
  if (most < ARGUMENTS) {
    begin_row(&request, row);
    if (row->kind == HR_COMMAND_TRIGGER) {
      add(&request, 'i', "1");
    }
    add_arguments(&request, row, item, most, most, 's');
    add(&request, 'i', "7");
    add(&request, 's', "more");
    run(client, row, item, &request);
  }
}

static void run_case(Client* client, const HrOscRow* row, const Case* item)
{
  char type = 's';
  bool optional = false;
  size_t most = 0;
  size_t least = 0;
  for (; argument(row->arguments, most, &type, &optional); ++most) {
    least += !optional;
  }
  for (size_t count = item->least ? item->least : least; count <= most; ++count) {
    Request request;
    begin_row(&request, row);
    add_arguments(&request, row, item, count, count, 's');
    run(client, row, item, &request);
  }
  nothing_and_surplus(client, row, item, item->least ? item->least : least, most);
  for (size_t i = 0; i < most; ++i) {
    argument(row->arguments, i, &type, &optional);
    for (const char* osc = osc_types(type, row->kind); *osc; ++osc) {
      Request request;
      begin_row(&request, row);
      add_arguments(&request, row, item, most, i, *osc);
      run(client, row, item, &request);
    }
  }
  if (row->kind == HR_COMMAND_TRIGGER) {
    press_and_release(client, row, item, most);
  }
}

static const Case* find_case(const char* verb)
{
  for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
    if (!strcmp(cases[i].verb, verb)) {
      return &cases[i];
    }
  }
  return NULL;
}

static void test_every_command(void** state)
{
  Request request;
  begin(&request, "fork"); // Slot 2, and branch 2
  add(&request, 's', "second");
  must(*state, &request);
  settle();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
    bool known = false;
    for (size_t j = 0; j < hr_osc_row_count() && !known; ++j) {
      HrOscRow row;
      hr_osc_row(j, &row);
      known = row.type != HR_OSC_ROW_FEEDBACK && !strcmp(row.verb, cases[i].verb);
      if (known) {
        run_case(*state, &row, &cases[i]);
      }
    }
    if (!known) {
      fail_msg("there is no %s", cases[i].verb);
    }
  }
}

static void test_nothing_is_missing(void** state)
{
  (void)state;
  for (size_t i = 0; i < hr_osc_row_count(); ++i) {
    HrOscRow row;
    hr_osc_row(i, &row);
    if (row.type != HR_OSC_ROW_FEEDBACK && !find_case(row.verb)) {
      fail_msg("%s is tried by no case here", row.address);
    }
  }
}

/* ---- What must be refused --------------------------------------------------------- */

/** All that a malformed message could change. */
static char* music_now(Client* client)
{
  static const char* const verbs[] = {"list", "log", "marks", "notes", "trees"};
  static const char* const keys[] = {"branch",     "pending",  "record",  "replay",  "loop",
                                     "loop_start", "loop_end", "thru",    "overdub", "quantum",
                                     "snap",       "standing", "silence", "rolling", "tree",
                                     "recorded",   "trouble",  "head"};
  char* const text = calloc(1, 1 << 20);
  size_t used = 0;
  Request request;
  for (size_t i = 0; i < sizeof verbs / sizeof *verbs; ++i) {
    begin(&request, verbs[i]);
    must(client, &request);
    used += (size_t)snprintf(text + used, (1 << 20) - used, "%s", rows);
    assert_true(used < 1 << 20);
  }
  for (size_t i = 0; i < sizeof keys / sizeof *keys; ++i) {
    begin(&request, "get");
    add(&request, 's', keys[i]);
    must(client, &request);
    used += (size_t)snprintf(text + used, (1 << 20) - used, "%s", rows);
    assert_true(used < 1 << 20);
  }
  return text;
}

static void must_not(Client* client, const Request* request)
{
  const char* const closing = answer(client, request);
  if (is_ok(closing) || *rows || !(strstr(closing, "\" 2 \"") || strstr(closing, "\" 3 \""))) {
    fail_msg("%s ,%s \"%s\" was to be refused: %s", request->path, request->types,
             request->texts[0], closing);
  }
}

/** Values of the wrong kind for an argument of the table's type: an OSC type and a text
 * each. Some verbs take a number for each of the words they know. */
static const char* const* wrong_values(char type, const char* verb)
{
  static const char* const whole[] = {"sno number", "f1.5", "d-0.25", NULL};
  static const char* const number[] = {"sno number", NULL};
  static const char* const place[] = {"sno such place", "s1.0", "s1.2.3", "h8e18", "h-8e18", NULL};
  static const char* const branch[] = {"sno such branch", "i0", "f-1", "f1.5", "s#0", NULL};
  static const char* const text[] = {"i7", "f0.5", NULL};
  static const char* const word[] = {"i99", "f0.5", "sno such word", NULL};
  static const char* const midi[] = {"snote", "i1", "f144.5", "i256", NULL};
  const bool words =
      !strcmp(verb, "quantum") || !strcmp(verb, "standing") || !strcmp(verb, "tempo/source");
  switch (type) {
  case 'i':
    return whole;
  case 'f':
    return number;
  case 'p':
    return place;
  case 'b':
    return branch;
  case 'm':
    return midi;
  default:
    return words ? word : text;
  }
}

/** The arguments of a row, with another value for one of them. */
static void refuse_with(Client* client, const HrOscRow* row, const Case* item, size_t count,
                        size_t wrong, char osc, const char* value)
{
  Request request;
  begin_row(&request, row);
  add_arguments(&request, row, item, wrong, wrong, 's');
  add(&request, osc, value);
  for (size_t i = wrong + 1; i < count; ++i) {
    char type = 's';
    bool optional = false;
    argument(row->arguments, i, &type, &optional);
    add_as(&request, type, osc_types(type, row->kind)[0], item->arguments[i]);
  }
  must_not(client, &request);
}

/** Any one argument wrong, or one that is needed left out: an error, and no change. */
static void refuse_case(Client* client, const HrOscRow* row, const Case* item)
{
  char type = 's';
  bool optional = false;
  size_t needed = item->least;
  for (size_t i = 0; argument(row->arguments, i, &type, &optional); ++i) {
    needed = !optional && i >= needed ? i + 1 : needed;
  }
  for (size_t count = 0; count < needed; ++count) {
    Request request;
    begin_row(&request, row);
    add_arguments(&request, row, item, count, count, 's');
    must_not(client, &request);
  }
  for (size_t i = 0; argument(row->arguments, i, &type, &optional); ++i) {
    const size_t count = i < needed ? needed : i + 1;
    refuse_with(client, row, item, count, i, 't', "");
    refuse_with(client, row, item, count, i, 's', "two\nlines");
    if (type != 'm') {
      refuse_with(client, row, item, count, i, 'm', "");
    }
    const bool any = type == 's' && optional; // What is no text there is another one's, or surplus
    for (const char* const* wrong = wrong_values(type, row->verb); !any && *wrong; ++wrong) {
      if (row->kind != HR_COMMAND_TOGGLE || **wrong == 's') {
        refuse_with(client, row, item, count, i, **wrong, *wrong + 1);
      }
    }
  }
}

static void test_wrong_arguments(void** state)
{
  Client* const client = *state;
  Request request;
  begin(&request, "fork");
  must(client, &request);
  settle();
  for (size_t i = 0; i < hr_osc_row_count(); ++i) {
    HrOscRow row;
    hr_osc_row(i, &row);
    if (row.type == HR_OSC_ROW_FEEDBACK) {
      continue;
    }
    char* const before = music_now(client);
    refuse_case(client, &row, find_case(row.verb));
    char* const after = music_now(client);
    if (strcmp(before, after)) {
      fail_msg("%s changed something that it refused:\n%s\n%s", row.address, before, after);
    }
    free(before);
    free(after);
  }
}

/* ---- Long texts ------------------------------------------------------------------ */

/** Put together the last texts of all rows that are like the first. */
static void join_texts(char* text, size_t size)
{
  static char line[4096];
  const char* const begins = strstr(rows, " \"\xC3");
  assert_non_null(begins);
  const size_t same = (size_t)(begins - rows) + 2;
  size_t used = 0;
  for (const char* at = rows; *at; at += strcspn(at, "\n") + 1) {
    snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
    assert_memory_equal(line, rows, same);
    line[strlen(line) - 1] = '\0'; // The quote
    used += (size_t)snprintf(text + used, size - used, "%s", line + same);
    assert_true(used < size);
  }
}

/** The longest note there may be goes in by one packet and comes back in several rows,
 * cut between characters; a longer one is refused. */
static void test_long_note(void** state)
{
  static uint8_t bytes[WIRE_SIZE];
  static char text[HR_NOTE_TEXT_MAX + 3];
  static char joined[HR_NOTE_TEXT_MAX + 3];
  Client* const client = *state;
  Request request;
  for (size_t i = 0; i < HR_NOTE_TEXT_MAX; i += 2) {
    memcpy(text + i, i % 14 ? "\xC3\xA9" : "\xC3\xA0", 3);
  }
  begin(&request, "note");
  client_send_bytes(client, bytes, serialise(bytes, request.path, "s", text));
  assert_true(is_ok(client_answer(client, request.path, rows, sizeof rows)));
  join_texts(joined, sizeof joined);
  assert_string_equal(joined, text);
  begin(&request, "notes");
  must(client, &request);
  join_texts(joined, sizeof joined);
  assert_string_equal(joined, text);
  assert_in_range(client->largest, 100, 1400);

  char* const before = music_now(client);
  strcat(text, "\xC3\xA9");
  begin(&request, "note");
  client_send_bytes(client, bytes, serialise(bytes, request.path, "s", text));
  client_error(client, request.path, HR_ERR_ARGUMENT, "1 to 4000 bytes");
  char* const after = music_now(client);
  assert_string_equal(before, after);
  free(before);
  free(after);
}

/* ---- What is told ------------------------------------------------------------------ */

/** An address of the table as it begins a line: of this instance, and of the first slot. */
static void feedback_address(char* address, size_t size, const char* pattern)
{
  const char* const own = strstr(pattern, "<number>");
  char start[16] = "";
  if (own) {
    snprintf(start, sizeof start, "/hr/%u", hr_session_number(rig.session));
    pattern = own + strlen("<number>");
  }
  const size_t length = strcspn(pattern, "<");
  snprintf(address, size, "\n%s%.*s%s ", start, (int)length, pattern, pattern[length] ? "1" : "");
}

/** Everything that the table says is told comes, with the values it says. */
static void test_every_feedback(void** state)
{
  enum { HEARTBEAT_MS = 2500 };
  Client* const client = *state;
  static char told[1 << 20];
  size_t used = 0;
  subscribe(client);
  const int64_t until_ms = now_ms() + HEARTBEAT_MS;
  const char* line;
  while ((line = client_next(client, until_ms - now_ms()))) {
    used += (size_t)snprintf(told + used, sizeof told - used, "\n%s", line);
    assert_true(used < sizeof told);
  }
  for (size_t i = 0; i < hr_osc_row_count(); ++i) {
    HrOscRow row;
    hr_osc_row(i, &row);
    if (row.type != HR_OSC_ROW_FEEDBACK) {
      continue;
    }
    char address[80];
    feedback_address(address, sizeof address, row.address);
    const char* const found = strstr(told, address);
    if (!found) {
      fail_msg("%s was not told", row.address);
    }
    const char* const values = found + strlen(address);
    snprintf(rows, sizeof rows, "%.*s\n", (int)strcspn(values, "\n"), values);
    check_values(row.address, row.arguments);
  }
}

/** True if a line for this instance that begins so comes soon. */
static bool is_told(Client* client, const char* rest, int64_t until_ms)
{
  char line[64];
  snprintf(line, sizeof line, "/hr/%u/%s", hr_session_number(rig.session), rest);
  return client_find(client, line, until_ms - now_ms()) != NULL;
}

/** What changes is told at once, and echoed to its control: all that would come only with
 * the next round, up to a second later, comes too late here. */
static void test_changes_are_told_at_once(void** state)
{
  enum { TURNS = 6, SOON_MS = 300 };
  static const struct {
    const char* verb;
    const char* item;
    int first; ///< It is the other one before
  } changes[] = {{"record", "state/record", 0},
                 {"thru", "state/thru", 0},
                 {"overdub", "state/overdub", 1},
                 {"follow", "state/replay", 1},
                 {"loop", "state/loop", 1}};
  enum { ALL = TURNS * sizeof changes / sizeof *changes };
  Client* const client = *state;
  unsigned soon = 0;
  subscribe(client);
  for (unsigned i = 0; i < ALL; ++i) {
    const int on = (changes[i / TURNS].first + (int)i % TURNS) % 2;
    char item[32];
    char echo[32];
    char value[4];
    Request request;
    snprintf(value, sizeof value, "%d", on);
    snprintf(item, sizeof item, "%s %d", changes[i / TURNS].item, on);
    snprintf(echo, sizeof echo, "%s %d", changes[i / TURNS].verb, on);
    begin(&request, changes[i / TURNS].verb);
    add(&request, 'i', value);
    must(client, &request);
    const int64_t until_ms = now_ms() + SOON_MS;
    soon += is_told(client, item, until_ms) && is_told(client, echo, until_ms);
  }
  assert_in_range(soon, ALL * 3 / 4, ALL); // A loaded machine may be late now and then
}

/** A switch that waits is told, with fewer and fewer beats left, and then that it took place. */
static void test_pending_is_told(void** state)
{
  static const char* const steps[][2] = {{"fork", "beside"}, {"switch", "main"},
                                         {"quantum", "bar"}, {"snap", NULL},
                                         {"replay", NULL},   {"switch", "beside"}};
  Client* const client = *state;
  subscribe(client);
  for (size_t i = 0; i < sizeof steps / sizeof *steps; ++i) {
    Request request;
    begin(&request, steps[i][0]);
    if (steps[i][1]) {
      add(&request, 's', steps[i][1]);
    } else if (!strcmp(steps[i][0], "snap")) {
      add(&request, 'i', "0");
    }
    must(client, &request);
    settle();
  }
  assert_true(is_told(client, "state/pending 2 \"beside\"", now_ms() + ANSWER_MS));
  unsigned times = 0;
  double left = 5.0;
  char current[64];
  snprintf(current, sizeof current, "/hr/%u/state/current 2 \"beside\"",
           hr_session_number(rig.session));
  const char* line = client_next(client, ANSWER_MS);
  for (; line && strcmp(line, current) != 0; line = client_next(client, ANSWER_MS)) {
    double beats = 0.0;
    if (sscanf(line, "/hr/%*u/state/pending_beats %lf", &beats) == 1 && beats > 0.0) {
      assert_true(beats <= left);
      times += beats < left;
      left = beats;
    }
  }
  assert_non_null(line);
  assert_true(times > 1);
  assert_true(is_told(client, "state/pending 0 \"\"", now_ms() + ANSWER_MS));
}

/** What a program plays moves the head, and is counted. */
static void test_playing_is_told(void** state)
{
  Client* const client = *state;
  Request request;
  uint64_t before = 0;
  uint64_t after = 0;
  double quarters = 0.0;
  char head[64];
  begin(&request, "get");
  add(&request, 's', "recorded");
  must(client, &request);
  assert_int_equal(sscanf(rows, "\"recorded\" %" SCNu64, &before), 1);
  subscribe(client);
  read_state(client, rows, sizeof rows);
  snprintf(head, sizeof head, "/hr/%u/state/head ", hr_session_number(rig.session));
  const char* line = strstr(rows, head);
  assert_non_null(line);
  const double head_before = strtod(line + strlen(head), NULL);
  begin(&request, "send");
  add(&request, 'i', "144");
  add(&request, 'i', "60");
  add(&request, 'i', "100");
  must(client, &request);
  while (quarters <= head_before) {
    quarters = strtod(client_expect(client, head) + strlen(head), NULL);
  }
  begin(&request, "get");
  add(&request, 's', "recorded");
  must(client, &request);
  assert_int_equal(sscanf(rows, "\"recorded\" %" SCNu64, &after), 1);
  assert_int_equal(after, before + 1);
}

/* ---- Positions ------------------------------------------------------------------- */

/** How many positions come a second, by those of two. */
static double count_positions(Client* client, double hertz)
{
  char line[64];
  int count = 0;
  client_send(client, "/hr/position/rate", "f", hertz);
  client_ok(client, "/hr/position/rate");
  client_drain(client);
  snprintf(line, sizeof line, "/hr/%u/state/position ", hr_session_number(rig.session));
  const int64_t begun_ms = now_ms();
  while (client_find(client, line, begun_ms + 2000 - now_ms())) {
    ++count;
  }
  return count * 1000.0 / (double)(now_ms() - begun_ms);
}

static void assert_rate(double rate, double least, double most)
{
  if (!(rate >= least && rate <= most)) {
    fail_msg("%.1f a second is not from %.1f to %.1f", rate, least, most);
  }
}

/** The clock moves: each subscriber is told as often as it wishes. */
static void test_position_rate(void** state)
{
  Client* const slow = client_new();
  Request request;
  begin(&request, "replay");
  must(*state, &request);
  subscribe(*state);
  subscribe(slow);
  client_send(slow, "/hr/position/rate", "i", 2);
  client_ok(slow, "/hr/position/rate");
  assert_rate(count_positions(*state, 60.0), 20.0, 63.0); // A loaded machine leaves some out
  assert_rate(count_positions(*state, 5.0), 3.0, 6.0);
  assert_rate(count_positions(slow, 2.0), 1.0, 3.0);
  assert_rate(count_positions(slow, 0.0), 0.0, 0.0);
  client_free(slow);
}

/** A pad held for long is heard from its start, once it is let go. */
static void test_hold_to_replay(void** state)
{
  Client* const client = *state;
  Request request;
  begin(&request, "fork");
  add(&request, 's', "beside");
  must(client, &request);
  subscribe(client);
  begin(&request, "slot/1");
  add(&request, 'f', "1");
  must(client, &request);
  sleep_ms(620);
  begin(&request, "slot/1");
  add(&request, 'f', "0");
  must(client, &request);
  char line[64];
  snprintf(line, sizeof line, "/hr/%u/state/replay 1", hr_session_number(rig.session));
  client_expect(client, line);
  snprintf(line, sizeof line, "/hr/%u/follow 1", hr_session_number(rig.session));
  client_expect(client, line); // The echo of the control
}

/* ---- At one moment ---------------------------------------------------------------- */

/** A verb and a text, or NULL; a text that is a number is sent as one. */
typedef struct {
  const char* verb;
  const char* text;
} Word;

/** Send commands in one bundle, all of which must be done, and let the engine hear of them.
 * `rows` is what the last one answered. */
static void send_at_once(Client* client, const Word* words, size_t count)
{
  static uint8_t bytes[WIRE_SIZE], message[WIRE_SIZE];
  size_t size = 0;
  Request request;
  for (size_t i = 0; i < count; ++i) {
    begin(&request, words[i].verb);
    if (words[i].text) {
      add(&request, strspn(words[i].text, "0123456789") ? 'i' : 's', words[i].text);
    }
    const size_t added = write_request(message, &request);
    size = i ? append(bytes, size, message, added) : wrap(bytes, 1, message, added);
  }
  client_send_bytes(client, bytes, size);
  for (size_t i = 0; i < count; ++i) {
    begin(&request, words[i].verb);
    const char* const closing = client_answer(client, request.path, rows, sizeof rows);
    if (!is_ok(closing)) {
      fail_msg("%s", closing);
    }
  }
  settle();
}

#define SEND_AT_ONCE(client, ...)                                                                  \
  send_at_once(client, (const Word[]){__VA_ARGS__},                                                \
               sizeof(const Word[]){__VA_ARGS__} / sizeof(Word))

/** Whether `query` tells of `text` on `branch`. */
static bool is_told_on(Client* client, const char* branch, const char* query, const char* text)
{
  char wanted[NAME + 4];
  Request request;
  begin(&request, "switch");
  add(&request, 's', branch);
  must(client, &request);
  settle();
  begin(&request, query);
  must(client, &request);
  snprintf(wanted, sizeof wanted, "\"%s\"", text);
  return strstr(rows, wanted) != NULL;
}

/** What is said in the same breath as a fork is about the new branch; what was said
 * before it, about the old one. */
static void test_fork_and_mark(void** state)
{
  enum { TIMES = 5 };
  Client* const client = *state;
  for (int i = 0; i < TIMES; ++i) {
    char fork[16], before[16], after[16];
    snprintf(fork, sizeof fork, "fork %c", 'a' + i);
    snprintf(before, sizeof before, "before %c", 'a' + i);
    snprintf(after, sizeof after, "after %c", 'a' + i);
    SEND_AT_ONCE(client, {"mark", before}, {"fork", fork}, {"mark", after}, {"note", after});
    assert_true(is_told_on(client, fork, "marks", after));
    assert_true(is_told_on(client, fork, "notes", after));
    assert_true(is_told_on(client, "main", "marks", before));
    assert_false(is_told_on(client, "main", "marks", after));
    assert_false(is_told_on(client, "main", "notes", after));
  }
}

/** The same with a switch that waits for nothing. */
static void test_switch_and_mark(void** state)
{
  enum { TIMES = 5 };
  Client* const client = *state;
  SEND_AT_ONCE(client, {"fork", "beside"});
  for (int i = 0; i < TIMES; ++i) {
    char there[16], back[16];
    snprintf(there, sizeof there, "there %c", 'a' + i);
    snprintf(back, sizeof back, "back %c", 'a' + i);
    SEND_AT_ONCE(client, {"switch", "main"}, {"mark", back}, {"rate", "5"});
    SEND_AT_ONCE(client, {"switch", "beside"}, {"mark", there});
    assert_true(is_told_on(client, "main", "marks", back));
    assert_false(is_told_on(client, "main", "marks", there));
    assert_true(is_told_on(client, "beside", "marks", there));
    assert_false(is_told_on(client, "beside", "marks", back));
  }
}

/** A query sent in the same breath as a fork, or a switch, tells of the branch gone to: what
 * was said of a place that is still to come is not on a fork. */
static void test_fork_and_ask(void** state)
{
  enum { TIMES = 5 };
  static const char* const told[] = {"marks", "notes", "branch", "list", "log"};
  Client* const client = *state;
  Request request;
  begin(&request, "mark");
  add(&request, 's', "later");
  add(&request, 'i', "999");
  must(client, &request);
  begin(&request, "note");
  add(&request, 's', "later");
  add(&request, 'i', "999");
  must(client, &request);
  for (int i = 0; i < TIMES; ++i) {
    for (size_t j = 0; j < sizeof told / sizeof *told; ++j) {
      char name[32], wanted[40];
      snprintf(name, sizeof name, "%s %d", told[j], i);
      snprintf(wanted, sizeof wanted, "\"%s\"", name);
      const bool of_places = j < 2;
      SEND_AT_ONCE(client, {"fork", name}, {told[j], NULL});
      const bool right = of_places ? !strstr(rows, "\"later\"") : strstr(rows, wanted) != NULL;
      if (!right) {
        fail_msg("%s in one bundle with fork tells of the branch left: %s", told[j], rows);
      }
      SEND_AT_ONCE(client, {"switch", "main"}, {told[j], NULL});
      if (of_places && !strstr(rows, "\"later\"")) {
        fail_msg("%s in one bundle with switch tells of the branch left: %s", told[j], rows);
      }
    }
  }
}

/** The state of a branch, as `list` tells it. */
static bool is_listed(Client* client, const char* branch, const char* in_state)
{
  char line[4 * NAME];
  Request request;
  begin(&request, "branch");
  add(&request, 's', branch);
  must(client, &request);
  snprintf(line, sizeof line, "\"%s\"", in_state);
  return strstr(rows, line) != NULL;
}

/** A branch can be gone to in the packet that makes it, before the engine has heard of it. */
static void test_fork_and_go(void** state)
{
  enum { TIMES = 5 };
  Client* const client = *state;
  for (int i = 0; i < TIMES; ++i) {
    char name[16];
    snprintf(name, sizeof name, "new %d", i);
    SEND_AT_ONCE(client, {"fork", name}, {"switch", "main"}, {"switch", name});
    SEND_AT_ONCE(client, {"branch", NULL});
    assert_non_null(strstr(rows, name));
  }
}

/** A fork, or a switch away, is what they find who come right behind it. */
static void test_change_at_once(void** state)
{
  Client* const client = *state;
  SEND_AT_ONCE(client, {"fork", "kept"});
  settle();
  SEND_AT_ONCE(client, {"fork", "undone"}, {"undo", NULL});
  settle();
  assert_true(is_listed(client, "undone", "hidden"));
  assert_true(is_listed(client, "kept", "active"));
  SEND_AT_ONCE(client, {"fork", "thrown away"}, {"switch", "main"}, {"hide", "thrown away"});
  assert_true(is_listed(client, "thrown away", "hidden"));
  SEND_AT_ONCE(client, {"switch", "main"}, {"merge", "kept"});
  assert_true(is_listed(client, "main + kept", "active"));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_nothing_is_missing),
      cmocka_unit_test_setup_teardown(test_every_command, setup, teardown),
      cmocka_unit_test_setup_teardown(test_wrong_arguments, setup, teardown),
      cmocka_unit_test_setup_teardown(test_long_note, setup, teardown),
      cmocka_unit_test_setup_teardown(test_every_feedback, setup, teardown),
      cmocka_unit_test_setup_teardown(test_changes_are_told_at_once, setup, teardown),
      cmocka_unit_test_setup_teardown(test_pending_is_told, setup, teardown),
      cmocka_unit_test_setup_teardown(test_playing_is_told, setup, teardown),
      cmocka_unit_test_setup_teardown(test_position_rate, setup, teardown),
      cmocka_unit_test_setup_teardown(test_hold_to_replay, setup, teardown),
      cmocka_unit_test_setup_teardown(test_fork_and_mark, setup, teardown),
      cmocka_unit_test_setup_teardown(test_switch_and_mark, setup, teardown),
      cmocka_unit_test_setup_teardown(test_fork_and_ask, setup, teardown),
      cmocka_unit_test_setup_teardown(test_fork_and_go, setup, teardown),
      cmocka_unit_test_setup_teardown(test_change_at_once, setup, teardown),
  };
  return cmocka_run_group_tests_name("osc commands", tests, NULL, NULL);
}
