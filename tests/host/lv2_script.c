/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "tests/host/lv2_script.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
  NOTES_MAX = 400, ///< More would not be unlike each other
  SMALLEST_PORT = 300,
};

/** The script being made, and where its transport and its music are. */
typedef struct {
  Script* script;
  Chance chance;
  HostTransport transport;
  uint32_t notes;
  uint32_t sysexes;
  uint32_t sysex_max;
  bool saved;
  bool bypassed;
} Maker;

static void* grow(void* array, size_t* room, size_t count, size_t size)
{
  if (count == *room) {
    *room = *room ? 2 * *room : 256;
    array = realloc(array, *room * size);
    if (!array) {
      abort();
    }
  }
  return array;
}

static uint32_t choose(Maker* maker, uint32_t limit)
{
  return chance_choose(&maker->chance, limit);
}

/* ---- Moves ------------------------------------------------------------------- */

static ScriptMove* add_move(Maker* maker, ScriptMoveKind kind)
{
  Script* const script = maker->script;
  if (script->move_count == SCRIPT_MOVES_MAX) {
    abort();
  }
  ScriptMove* const move = &script->moves[script->move_count++];
  *move = (ScriptMove){.frame = script->frames, .kind = kind};
  return move;
}

/** Where to jump to, if not a frame or two on or back: that is taken for a host's rounding,
 * and the clock goes on as it was. */
static int64_t jump_frame(const Maker* maker, int64_t frame)
{
  const HostTransport* const now = &maker->transport;
  return now->rolling && llabs(frame - now->frame) <= 2 ? now->frame : frame;
}

static void add_transport(Maker* maker, bool rolling, int64_t frame)
{
  maker->transport.frame = jump_frame(maker, frame);
  maker->transport.rolling = rolling;
  maker->transport.loop_end = 0;
  add_move(maker, SCRIPT_TRANSPORT)->transport = maker->transport;
}

static int64_t quarters(const Maker* maker, uint32_t count)
{
  return llrint(count * maker->script->quarter);
}

/** Roll round and round. */
static void add_host_loop(Maker* maker)
{
  const uint32_t start = choose(maker, 8);
  HostTransport* const transport = &maker->transport;
  transport->loop_start = quarters(maker, start);
  transport->loop_end = quarters(maker, start + 1 + choose(maker, 4));
  transport->frame = jump_frame(maker, transport->loop_start);
  transport->rolling = true;
  add_move(maker, SCRIPT_TRANSPORT)->transport = *transport;
}

static void add_command(Maker* maker, const char* verb, const char* first, const char* second)
{
  ScriptMove* const move = add_move(maker, SCRIPT_COMMAND);
  move->verb = verb;
  move->args[0] = hr_value_text(first);
  move->args[1] = hr_value_text(second);
  move->count = !first ? 0 : !second ? 1 : 2;
}

static void add_value_command(Maker* maker, const char* verb, HrValue value)
{
  ScriptMove* const move = add_move(maker, SCRIPT_COMMAND);
  move->verb = verb;
  move->args[0] = value;
  move->count = 1;
}

static void add_number_command(Maker* maker, const char* verb, uint32_t number)
{
  add_value_command(maker, verb, hr_value_integer(number));
}

static void add_any_command(Maker* maker)
{
  static const struct {
    const char* verb;
    const char* texts[2];
  } commands[] = {
      {"fork", {NULL}},
      {"fork", {"idea"}},
      {"next", {NULL}},
      {"previous", {NULL}},
      {"follow", {NULL}},
      {"overdub", {NULL}},
      {"cancel", {NULL}},
      {"stop", {NULL}},
      {"panic", {NULL}},
      {"replay", {NULL}},
      {"replay/at", {"1.3"}},
      {"fork/at", {"1.2"}},
      {"fork/at", {"2", "old"}},
      {"switch", {"main"}},
      {"switch", {"#18"}},
      {"loop", {NULL}},
      {"loop/range", {"1.2", "2"}},
      {"quantum", {"now"}},
      {"quantum", {"beat"}},
      {"quantum", {"loop end"}},
  };
  const uint32_t which = choose(maker, sizeof commands / sizeof *commands);
  add_command(maker, commands[which].verb, commands[which].texts[0], commands[which].texts[1]);
  maker->script->overdubs |= !strcmp(commands[which].verb, "overdub");
}

/** Begin or end to freewheel, save, restore: seldom, as a new instance takes
 * longer than all the rest of a case. */
static void add_rare_move(Maker* maker)
{
  switch (choose(maker, 24)) {
  case 0:
  case 1:
  case 2:
    add_move(maker, SCRIPT_FREEWHEEL)->on = choose(maker, 3) > 0;
    break;
  case 3:
  case 4:
    add_move(maker, SCRIPT_SAVE);
    maker->saved = true;
    break;
  case 5:
    if (maker->saved) {
      add_move(maker, SCRIPT_RESTORE);
    }
    break;
  case 6:
    add_move(maker, SCRIPT_REOPEN);
    maker->saved = true;
    break;
  default:
    break;
  }
}

/** Bypass the plugin or not, or have it begin anew. */
static void add_off_or_on(Maker* maker)
{
  if (choose(maker, 3)) {
    maker->bypassed = !maker->bypassed;
    add_move(maker, SCRIPT_ENABLE)->on = !maker->bypassed;
  } else {
    add_move(maker, SCRIPT_ACTIVATE);
  }
}

/** Roll, stop, jump, go round; fork, switch, replay. */
static void add_any_move(Maker* maker)
{
  const HostTransport* const transport = &maker->transport;
  switch (choose(maker, 9)) {
  case 0:
    add_transport(maker, false, transport->frame);
    break;
  case 1:
  case 2:
    add_transport(maker, true,
                  choose(maker, 4) ? transport->frame : quarters(maker, choose(maker, 12)));
    break;
  case 3:
    add_transport(maker, transport->rolling, choose(maker, 20) * 11111);
    break;
  case 4:
  case 5:
  case 6:
    add_any_command(maker);
    break;
  case 7:
    if (maker->script->host.policy == HOST_ARDOUR && !choose(maker, 2)) {
      add_host_loop(maker);
    }
    break;
  default:
    add_off_or_on(maker);
    break;
  }
  add_rare_move(maker);
}

/** Fork, switch, follow: at once. */
static void add_song_command(Maker* maker)
{
  switch (choose(maker, 11)) {
  case 0:
  case 1:
    add_command(maker, "fork", NULL, NULL);
    break;
  case 2:
    add_command(maker, "fork", "idea", NULL);
    break;
  case 3:
  case 4:
    add_value_command(maker, "fork/at",
                      hr_value_tick((HrTick)choose(maker, 24) * (HR_TICKS_PER_QUARTER / 2)));
    break;
  case 5:
    add_command(maker, "switch", "main", NULL);
    break;
  case 6:
    add_command(maker, "next", NULL, NULL);
    break;
  case 7:
    add_command(maker, "previous", NULL, NULL);
    break;
  case 8:
    add_number_command(maker, "follow", choose(maker, 2));
    break;
  case 9:
    add_command(maker, "stop", NULL, NULL);
    break;
  default:
    add_number_command(maker, "silence", choose(maker, 3));
    break;
  }
}

/** What tests/host/lv2_model.h knows of. The host jumps to beats and halves of
 * them: elsewhere it may be taken for late news of a jump. */
static void add_song_move(Maker* maker)
{
  const HostTransport* const transport = &maker->transport;
  switch (choose(maker, 11)) {
  case 0:
    add_transport(maker, false, transport->frame);
    break;
  case 1:
    add_transport(maker, true, transport->frame);
    break;
  case 2:
  case 3:
    add_transport(maker, true, quarters(maker, choose(maker, 12)));
    break;
  case 4:
    add_transport(maker, transport->rolling || choose(maker, 3),
                  llrint(choose(maker, 20) * maker->script->quarter / 2));
    break;
  case 5:
  case 6:
  case 7:
    add_song_command(maker);
    break;
  case 8:
  case 9:
    if (maker->script->host.policy == HOST_ARDOUR) {
      add_host_loop(maker);
    }
    break;
  default:
    add_rare_move(maker);
    break;
  }
}

/* ---- Music ------------------------------------------------------------------- */

/** Put an event in its place. */
static ScriptEvent* add_event(Maker* maker, int64_t frame, bool past)
{
  Script* const script = maker->script;
  script->events =
      grow(script->events, &script->event_room, script->event_count, sizeof *script->events);
  size_t at = script->event_count++;
  for (; at; --at) {
    const ScriptEvent* const before = &script->events[at - 1];
    if (before->frame < frame || (before->frame == frame && before->past <= past)) {
      break;
    }
    script->events[at] = *before;
  }
  ScriptEvent* const event = &script->events[at];
  *event = (ScriptEvent){.frame = frame, .past = past};
  return event;
}

static void add_short(Maker* maker, int64_t frame, bool past, uint32_t status, uint32_t first,
                      uint32_t second)
{
  ScriptEvent* const event = add_event(maker, frame, past);
  event->size = 3;
  event->bytes[0] = (uint8_t)status;
  event->bytes[1] = (uint8_t)first;
  event->bytes[2] = (uint8_t)second;
}

static void add_note(Maker* maker, int64_t frame, bool past)
{
  if (maker->notes == NOTES_MAX) {
    return;
  }
  const uint32_t note = maker->notes++;
  const uint32_t channel = note % 3;
  const uint32_t key = note / 3 % 128;
  const int64_t length = 1 + (int64_t)choose(maker, (uint32_t)quarters(maker, 3));
  add_short(maker, frame, past, 0x90 | channel, key, 1 + note / 384 * 50 + choose(maker, 50));
  add_short(maker, frame + length, false, 0x80 | channel, key, 64);
}

/** A SysEx message that its third and fourth byte tell from all others. */
static void add_sysex(Maker* maker, int64_t frame)
{
  const uint32_t least = 6;
  const bool huge = choose(maker, 40) == 0;
  const uint32_t most = huge || maker->sysex_max < 300 ? maker->sysex_max : 300;
  const uint32_t size = least + choose(maker, most - least + 1);
  const uint32_t number = maker->sysexes++;
  ScriptEvent* const event = add_event(maker, frame, false);
  const uint8_t start[] = {0xf0, 0x7d, (uint8_t)(number >> 7 & 127), (uint8_t)(number & 127)};
  event->size = size;
  event->sequence = choose(maker, UINT32_MAX - 1) + 1;
  memcpy(event->bytes, start, sizeof start);
  maker->script->crowded |= size > maker->script->host.out_capacity / 16;
}

const uint8_t* script_bytes(const ScriptEvent* event, uint8_t room[SCRIPT_SYSEX_MAX])
{
  if (event->size <= 3) {
    return event->bytes;
  }
  uint32_t sequence = event->sequence;
  memcpy(room, event->bytes, 4);
  for (uint32_t i = 4; i < event->size - 1; ++i) {
    sequence = sequence * 1664525u + 1013904223u;
    room[i] = (uint8_t)(sequence >> 25);
  }
  room[event->size - 1] = 0xf7;
  return room;
}

/** When to play within so many frames: anywhere, or just where the host jumps
 * back to its loop's start. */
static int64_t choose_frame(Maker* maker, int64_t frames)
{
  const int64_t length = maker->transport.loop_end - maker->transport.loop_start;
  const bool jumps = maker->transport.loop_end && length < frames;
  return jumps && choose(maker, 2) ? length : (int64_t)choose(maker, (uint32_t)frames);
}

static void add_music(Maker* maker, int64_t frames)
{
  for (uint32_t chords = choose(maker, 6); chords > 0; --chords) {
    const int64_t at = maker->script->frames + choose_frame(maker, frames);
    for (uint32_t keys = choose(maker, 4) ? 1 : 1 + choose(maker, 12); keys > 0; --keys) {
      add_note(maker, at, false);
    }
    if (choose(maker, 3) == 0) {
      add_short(maker, at, false, 0xb0, choose(maker, 2) ? 64 : 1, choose(maker, 128));
    }
    if (choose(maker, 8) == 0) {
      add_sysex(maker, at);
    }
  }
}

/* ---- Time -------------------------------------------------------------------- */

uint32_t script_choose_cycle(Chance* chance, int64_t left)
{
  static const uint32_t lengths[] = {0, 1, 16, 64, 100, 256, 333, 1024, 4096, 8192};
  uint32_t length = lengths[chance_choose(chance, sizeof lengths / sizeof *lengths)];
  if (length < 64 && chance_choose(chance, 10)) {
    length = 512; // Small cycles take long
  }
  return left < (int64_t)length ? (uint32_t)left : length;
}

/** Where the transport is after rolling for so many frames. */
static int64_t transport_frame(const HostTransport* transport, int64_t frames)
{
  const int64_t frame = transport->frame + frames;
  const int64_t length = transport->loop_end - transport->loop_start;
  const bool round = transport->frame < transport->loop_end && frame >= transport->loop_end;
  return round ? transport->loop_start + (frame - transport->loop_end) % length : frame;
}

/** Until when the host does not tell of a move: one that tells where it is only if that
 * is not where it was told to be last says nothing of a jump to the start of its last
 * cycle, until the next one is over. INT64_MIN: it tells at once. */
static int64_t untold_until(const Script* script, const ScriptMove* before, const ScriptMove* move)
{
  int64_t start = 0; // Of the cycle
  size_t i = 0;
  for (; start + script->cycles[i] < move->frame; ++i) {
    start += script->cycles[i];
  }
  const bool rolls = before->transport.rolling && move->transport.rolling;
  if (!rolls || host_traits(script->host.policy)->position != POSITION_WHEN_MOVED ||
      move->transport.frame != transport_frame(&before->transport, start - before->frame)) {
    return INT64_MIN;
  }
  while (start <= move->frame) {
    start += script->cycles[i++];
  }
  return start;
}

/** Note where the transport is at each event. */
static void place_events(Script* script)
{
  const ScriptMove* now = script->moves; // The first one sets the transport
  const ScriptMove* next = now + 1;
  const ScriptMove* const end = script->moves + script->move_count;
  int64_t untold = INT64_MIN;
  bool bypassed = false;
  for (size_t i = 0; i < script->event_count; ++i) {
    ScriptEvent* const event = &script->events[i];
    for (; next < end && next->frame <= event->frame; ++next) {
      if (next->kind == SCRIPT_TRANSPORT) {
        untold = untold_until(script, now, next);
        now = next;
      }
      bypassed = next->kind == SCRIPT_ENABLE ? !next->on : bypassed;
    }
    event->bypassed = bypassed;
    event->host_frame = now->transport.rolling && event->frame >= untold
                            ? transport_frame(&now->transport, event->frame - now->frame)
                            : INT64_MIN;
  }
}

/** Add cycles for so many frames; with music, in some hosts a note may be stamped
 * past their end. */
static void add_cycles(Maker* maker, int64_t frames, bool music)
{
  Script* const script = maker->script;
  const bool past = music && host_traits(script->host.policy)->past_the_block;
  const int64_t end = script->frames + frames;
  while (script->frames < end) {
    const uint32_t length = script_choose_cycle(&maker->chance, end - script->frames);
    script->cycles =
        grow(script->cycles, &script->cycle_room, script->cycle_count, sizeof *script->cycles);
    script->cycles[script->cycle_count++] = length;
    script->frames += length;
    if (past && length && choose(maker, 100) == 0) {
      add_note(maker, script->frames - 1, true);
    }
  }
  if (maker->transport.rolling) {
    maker->transport.frame = transport_frame(&maker->transport, frames);
  }
}

/** The host: one of the three, now and then with hardly any room for output. */
static void choose_host(Maker* maker)
{
  static const HostPolicy policies[] = {HOST_ARDOUR, HOST_JALV, HOST_CARLA};
  static const uint32_t capacities[] = {SMALLEST_PORT, 512, 1024, 4096};
  /* Hosts tell the tempo as a float: these are the same as one. */
  static const double tempos[] = {120.0, 120.0, 120.0, 90.0, 140.0, 133.75};
  static const float meters[] = {4.0f, 4.0f, 3.0f, 5.0f};
  Script* const script = maker->script;
  HostOptions* const host = &script->host;
  *host = (HostOptions){.policy = policies[choose(maker, 3)],
                        .seed = 1 + choose(maker, 1u << 30),
                        .linked = true,
                        .rate = SCRIPT_RATE};
  host->notes_first = host->policy == HOST_ARDOUR && host->seed % 2;
  const uint32_t usual = host_traits(host->policy)->out_capacity;
  host->out_capacity = choose(maker, 5) == 0 ? capacities[choose(maker, 4)]
                       : usual               ? usual
                                             : 2 * SCRIPT_SYSEX_MAX;
  script->crowded = host->out_capacity < 8192;
  script->tempo = tempos[choose(maker, sizeof tempos / sizeof *tempos)];
  script->beats_per_bar = meters[choose(maker, sizeof meters / sizeof *meters)];
  script->quarter = 60.0 * SCRIPT_RATE / script->tempo;
  maker->transport = (HostTransport){false, 0, script->tempo, script->beats_per_bar, 4, 0, 0};
  /* A message has 16 bytes before it, as has the sequence, and is padded to 8. */
  maker->sysex_max = ((host->out_capacity - 16) & ~7u) - 16;
  if (maker->sysex_max > SCRIPT_SYSEX_MAX) {
    maker->sysex_max = SCRIPT_SYSEX_MAX;
  }
}

void script_make(Script* script, uint32_t seed)
{
  Maker maker = {.script = script, .chance = chance_of(seed)};
  *script = (Script){.seed = seed, .song = choose(&maker, 5) > 0};
  choose_host(&maker);
  add_move(&maker, SCRIPT_TRANSPORT)->transport = maker.transport;
  if (script->song) {
    add_command(&maker, "quantum", "now", NULL);
  }
  for (uint32_t steps = 3 + choose(&maker, script->song ? 11 : 8); steps > 0; --steps) {
    const int64_t frames = 1 + choose(&maker, (uint32_t)quarters(&maker, 3));
    if (script->song) {
      add_song_move(&maker);
    } else {
      add_any_move(&maker);
    }
    add_music(&maker, frames);
    add_cycles(&maker, frames, true);
  }
  /* Let all that is held go. */
  add_cycles(&maker, quarters(&maker, 4), false);
  add_move(&maker, SCRIPT_FREEWHEEL)->on = false;
  add_move(&maker, SCRIPT_ENABLE)->on = true;
  add_command(&maker, "stop", NULL, NULL);
  add_number_command(&maker, "overdub", 0);
  add_number_command(&maker, "loop", 0);
  add_cycles(&maker, script->crowded ? 40000 : 4000, false);
  place_events(script);
}

void script_free(Script* script)
{
  free(script->events);
  free(script->cycles);
  *script = (Script){0};
}
