/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "tests/host/lv2_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  PEDAL = 128, ///< Held like a key
  /** Branch numbers are set aside in lots: some for commands, the others for playing. */
  LOT = 64,
  LOT_OF_COMMANDS = 16,
  LOT_LOW = 12, ///< Of either: when so many are taken, a new lot may come at any time
  /** Frames until music that was asked for surely plays: a worker's worst delay and two blocks. */
  ASKED = 2048 + 2 * 8192,
};

/** The performance as it goes on. */
typedef struct {
  Model* model;
  const Script* script;
  int64_t frame;
  int here; ///< The current branch
  bool tree;

  HostTransport host;
  int64_t host_since; ///< When it was at `host.frame`
  bool ever_rolled;
  bool own;         ///< The own clock runs ...
  HrTick place;     ///< ... and was here
  int64_t place_at; ///< ... then; or waits here
  HrTick cue;       ///< Where the host stands
  bool unseen;      ///< It stands elsewhere by now, which nobody looked at
  bool tempo_lost;  ///< The own clock has the tempo of a branch that has none

  int home;          ///< Of a side branch, else MODEL_NOWHERE
  HrTick pass_start; ///< INT64_MIN: the host does not go round
  HrTick pass_length;
  unsigned pass;

  bool replay;
  int64_t plays_from; ///< It surely plays from this frame on; INT64_MAX: surely not
  int64_t asked_at;   ///< When music of this branch was last asked for
  HrTick asked_for;   ///< What place it was for
  bool asked;

  int switch_to; ///< At the end of this frame
  bool stops;    ///< Replay: so too
  HrTick last;   ///< Message
  bool straight; ///< Since then nothing jumped
  int64_t silence;
  int saved; ///< Branch
  int64_t saved_silence;

  uint32_t lot, next_number;
  unsigned commands, passes; ///< Numbers taken from the lot
  unsigned held[16][129];
  unsigned host_held[16][128];
  bool pedals[16];  ///< Down, as the synthesizer was last told by playing ...
  bool blurred[16]; ///< ... unless replay told it so, too
} Play;

static ModelBranch* branch(const Play* play)
{
  return &play->model->branches[play->here];
}

/** Who can tell? */
static void give_up(Play* play)
{
  play->model->known = false;
}

/* ---- Time ---------------------------------------------------------------------- */

static HrTick ticks(const Play* play, int64_t frames)
{
  return llrint((double)frames * HR_TICKS_PER_QUARTER / play->script->quarter);
}

static int64_t rolled_to(const Play* play)
{
  return play->host.frame + play->frame - play->host_since;
}

static HrTick now(const Play* play)
{
  return play->host.rolling ? ticks(play, rolled_to(play))
         : play->own        ? play->place + ticks(play, play->frame - play->place_at)
                            : play->place;
}

static HrTick bar_line(const Play* play, HrTick tick)
{
  const HrTick bar = (HrTick)play->script->beats_per_bar * HR_TICKS_PER_QUARTER;
  return (tick + bar - 1) / bar * bar;
}

/** The own clock waits: where the host stands, if it ever rolled. */
static void park(Play* play, HrTick tick)
{
  play->place = play->ever_rolled && play->home == MODEL_NOWHERE ? play->cue : tick;
  play->own = play->straight = false;
}

static HrTick resume_tick(const Play* play)
{
  const ModelBranch* const b = branch(play);
  return b->first == INT64_MAX ? b->head : bar_line(play, b->head + 1);
}

/* ---- The tree ------------------------------------------------------------------ */

static bool is_named(const Model* model, const char* name)
{
  int i = 0;
  while (i < model->count && strcmp(model->branches[i].name, name)) {
    ++i;
  }
  return i < model->count;
}

static void add_branch(Play* play, int parent, HrTick fork, uint32_t number, const char* name)
{
  Model* const model = play->model;
  char unique[HR_NAME_MAX + 1];
  snprintf(unique, sizeof unique, "%s", name);
  for (int n = 2; is_named(model, unique); ++n) {
    snprintf(unique, sizeof unique, "%.100s %d", name, n);
  }
  if (model->count == MODEL_BRANCHES) {
    give_up(play);
    return;
  }
  ModelBranch* const b = &model->branches[model->count];
  *b = (ModelBranch){number, parent, fork, fork, INT64_MAX, ""};
  memcpy(b->name, unique, sizeof unique);
  play->here = model->count++;
}

/** Music before where the branch ends would come into the past of branches that left it: of
 * an empty root without such, none. */
static bool is_past(Play* play, HrTick tick)
{
  const ModelBranch* const b = branch(play);
  const bool untouched = play->model->count == 1 && b->first == INT64_MAX;
  return tick < b->head && !untouched;
}

static void append(Play* play, HrTick tick)
{
  ModelBranch* const b = branch(play);
  b->first = b->first < tick ? b->first : tick;
  b->head = tick;
  play->tree = true;
}

/** What is held ends on this branch. */
static void end_held(Play* play, HrTick tick)
{
  static const unsigned none[16][129];
  if (memcmp(play->held, none, sizeof none)) {
    append(play, tick > branch(play)->head ? tick : branch(play)->head);
    memset(play->held, 0, sizeof play->held);
  }
}

static void fork_branch(Play* play, HrTick tick, uint32_t number, const char* name)
{
  ModelBranch* const all = play->model->branches;
  char take[32];
  int parent = play->here;
  while (all[parent].parent != MODEL_NOWHERE && tick <= all[parent].fork) {
    parent = all[parent].parent; // A fork where the branch itself began is its sibling
  }
  all[parent].head = tick > all[parent].head ? tick : all[parent].head;
  snprintf(take, sizeof take, "take %d", play->model->count + 1);
  add_branch(play, parent, tick, number, name ? name : take);
  play->tree = true;
}

/** A pedal that is down is so in the branch. */
static void hold_pedals(Play* play)
{
  for (unsigned channel = 0; channel < 16; ++channel) {
    play->held[channel][PEDAL] = play->pedals[channel];
    if (play->pedals[channel] && (play->blurred[channel] || play->plays_from != INT64_MAX)) {
      give_up(play);
    }
  }
}

/** Fork by playing. Unless the music there is `heard`, it is with the pedals that are down. */
static void fork_by_playing(Play* play, HrTick tick, const char* name, bool heard)
{
  end_held(play, tick);
  fork_branch(play, tick, play->lot + LOT_OF_COMMANDS + play->passes++, name);
  if (play->passes > LOT - LOT_OF_COMMANDS - LOT_LOW - 4) {
    give_up(play);
  }
  if (!heard) {
    hold_pedals(play);
  }
  play->straight = true;
}

static void go_to(Play* play, int to, HrTick tick)
{
  end_held(play, tick);
  play->here = to;
  play->home = MODEL_NOWHERE;
  play->straight = false;
}

/* ---- Replay: it matters only whether a pass is heard ------------------------------ */

/** Music is asked for now, for a place that the host may jump to. */
static void ask(Play* play, HrTick place)
{
  play->asked = play->replay && play->tree; // Else there is none, and nobody asks again
  play->asked_at = play->frame;
  play->asked_for = place;
}

static void play_from_here(Play* play, bool at_hand)
{
  play->plays_from = !play->replay ? INT64_MAX : at_hand ? play->frame : play->frame + ASKED;
}

static bool is_heard(Play* play)
{
  if (play->plays_from != INT64_MAX && play->frame < play->plays_from) {
    give_up(play); // It depends on the worker
  }
  return play->plays_from != INT64_MAX;
}

/* ---- Playing --------------------------------------------------------------------- */

/** "song" is passed again as "song pass 2", and that as "song pass 3". */
static void name_pass(const Play* play, char name[HR_NAME_MAX + 1])
{
  char before[HR_NAME_MAX + 1];
  memcpy(before, branch(play)->name, sizeof before);
  size_t end = strlen(before);
  while (end && before[end - 1] >= '0' && before[end - 1] <= '9') {
    --end;
  }
  if (before[end] && end >= 6 && !memcmp(before + end - 6, " pass ", 6)) {
    before[end - 6] = '\0';
  }
  snprintf(name, HR_NAME_MAX + 1, "%.100s pass %u", before, play->pass);
}

/** Over what was played before. */
static void play_over(Play* play, HrTick tick)
{
  const bool pass = play->pass_start != INT64_MIN;
  char name[HR_NAME_MAX + 1];
  name_pass(play, name);
  const bool heard = is_heard(play);
  const bool from_start = pass && play->pass_start < tick && !heard;
  fork_by_playing(play, from_start ? play->pass_start : tick, pass ? name : NULL, heard);
  play->plays_from = INT64_MAX;
  ask(play, play->asked_for);
}

static void start_own_clock(Play* play)
{
  HrTick tick = play->place;
  if (play->unseen || play->tempo_lost) {
    give_up(play);
  }
  if (play->ever_rolled && play->home == MODEL_NOWHERE) {
    const int home = play->here;
    fork_by_playing(play, ++tick, NULL, false);
    play->home = home;
  }
  play->place = tick;
  play->place_at = play->frame;
  play->own = true;
}

/** Keep a message; the event of the script that it is, or MODEL_NOWHERE. */
static void play_message(Play* play, const uint8_t* bytes, uint32_t size, int event)
{
  const unsigned channel = bytes[0] & 15;
  const bool note = size == 3 && (bytes[0] & 0xe0) == 0x80;
  const bool pedal = size == 3 && (bytes[0] & 0xf0) == 0xb0 && bytes[1] == 64;
  const bool starts = note ? (bytes[0] & 0x10) != 0 : pedal && bytes[2] >= 64;
  unsigned* const held = note || pedal ? &play->held[channel][pedal ? PEDAL : bytes[1]] : NULL;
  const bool ends = held && !starts;
  const bool past = is_past(play, now(play));
  if (ends && !*held && (past || !(play->host.rolling || play->own))) {
    return; // The end of nothing
  }
  if (ends && (past || !(play->host.rolling || play->own))) {
    --*held;
    append(play, now(play) > branch(play)->head ? now(play) : branch(play)->head);
    return;
  }
  if (!play->host.rolling && !play->own) {
    start_own_clock(play);
  }
  const HrTick tick = now(play);
  if (is_past(play, tick)) {
    play_over(play, tick);
  } else if (!play->straight) {
    hold_pedals(play);
  }
  append(play, tick);
  play->last = tick;
  play->straight = true;
  if (starts) {
    *held = pedal ? 1 : *held + 1;
  } else if (ends && *held) {
    --*held;
  }
  if (event != MODEL_NOWHERE) {
    play->model->owners[event] = play->here;
    play->model->ticks[event] = tick;
  }
}

/* ---- The host -------------------------------------------------------------------- */

/** It starts, or jumps, to `frame`. */
static void jump(Play* play, bool starts, const HostTransport* to)
{
  const HrTick before = now(play);
  const HrTick place = ticks(play, to->frame);
  end_held(play, before);
  if (starts && play->home != MODEL_NOWHERE) {
    go_to(play, play->home, place);
    ask(play, play->asked_for);
  }
  if (starts || place >= before) {
    play->pass_start = INT64_MIN;
  } else {
    const HrTick length = before - place;
    const bool again =
        play->pass_start != INT64_MIN && llabs(length - play->pass_length) <= ticks(play, 1) + 1;
    play->pass = again ? play->pass + 1 : 2;
    play->pass_start = place;
    play->pass_length = length;
  }
  play_from_here(play,
                 play->asked && play->asked_for == place && play->frame >= play->asked_at + ASKED);
  ask(play, place);
  play->host = *to;
  play->host_since = play->frame;
  play->own = play->unseen = play->tempo_lost = play->straight = false;
  play->ever_rolled = true;
}

static void stand(Play* play, const HostTransport* at)
{
  const bool stops = play->host.rolling;
  const HrTick cue = ticks(play, at->frame);
  if (!stops && at->frame == play->host.frame) {
    return;
  }
  if (stops) {
    end_held(play, now(play));
    play->place = cue;
    play->plays_from = INT64_MAX;
  } else if (play->home != MODEL_NOWHERE) {
    go_to(play, play->home, now(play));
    play->own = false;
  } else if (play->own) {
    play->unseen = cue != play->cue && play->ever_rolled;
  }
  play->host = *at;
  play->host_since = play->frame;
  if (!play->own) {
    play->cue = cue;
    play->unseen = false;
    play->pass_start = INT64_MIN;
    park(play, play->place);
    ask(play, cue);
  }
}

/** Some hosts end what is held when they stop or jump. */
static void host_ends_notes(Play* play)
{
  for (unsigned channel = 0; channel < 16; ++channel) {
    for (unsigned key = 0; key < 128; ++key) {
      for (; play->host_held[channel][key]; --play->host_held[channel][key]) {
        const uint8_t end[] = {(uint8_t)(0x80 | channel), (uint8_t)key, 64};
        play_message(play, end, sizeof end, MODEL_NOWHERE);
      }
    }
  }
}

static int64_t loop_frame(const Play* play)
{
  const HostTransport* const host = &play->host;
  return host->rolling && host->frame < host->loop_end
             ? play->host_since + host->loop_end - host->frame
             : INT64_MAX;
}

static void go_round(Play* play)
{
  HostTransport host = play->host;
  host.frame = host.loop_start;
  jump(play, false, &host);
}

static void move_host(Play* play, const HostTransport* to)
{
  const bool was_rolling = play->host.rolling;
  const int64_t expected = !was_rolling                      ? play->host.frame
                           : loop_frame(play) == play->frame ? play->host.loop_start
                                                             : rolled_to(play);
  const bool straight = was_rolling && llabs(rolled_to(play) - to->frame) <= 2;
  const bool ends = (was_rolling && !to->rolling) || to->frame != expected;
  if (was_rolling && to->frame == play->host.frame && play->frame - play->host_since <= 8192 &&
      host_traits(play->script->host.policy)->position == POSITION_WHEN_MOVED) {
    give_up(play); // Where its last cycle began: it may not tell
  }
  if (!to->rolling) {
    stand(play, to);
  } else if (!straight) {
    jump(play, !was_rolling, to);
  } else {
    play->host = *to;
    play->host_since = play->frame;
  }
  if (ends && host_traits(play->script->host.policy)->ends_notes) {
    host_ends_notes(play);
  }
}

/* ---- Commands --------------------------------------------------------------------- */

/** The own clock takes the tempo of the branch: only music tells it. */
static void take_tempo(Play* play)
{
  const ModelBranch* b = branch(play);
  HrTick until = INT64_MAX;
  bool music = b->first < until;
  for (; b->parent != MODEL_NOWHERE && !music; music = b->first < until) {
    until = b->fork < until ? b->fork : until;
    b = &play->model->branches[b->parent];
  }
  play->tempo_lost = !music && (play->script->tempo != 120.0 || play->script->beats_per_bar != 4);
}

static void switch_to(Play* play, int to)
{
  if (to != play->here) {
    go_to(play, to, now(play));
  }
  play->home = MODEL_NOWHERE;
  play->asked = play->replay;
  play->asked_at = play->frame;
  if (play->replay && play->own) {
    give_up(play); // It is heard on the own clock
  } else if (play->replay) {
    play->plays_from = play->host.rolling ? play->frame : INT64_MAX;
  }
  if (!play->host.rolling) { // Also if replay only waits for the host
    park(play, resume_tick(play));
    take_tempo(play);
  }
}

/** Switch: where time goes on, what is played on this very frame comes first. */
static void switch_soon(Play* play, int to)
{
  if (play->host.rolling || play->own) {
    play->switch_to = to;
  } else {
    switch_to(play, to);
  }
}

static int find_next(const Play* play)
{
  const int next = model_next(play->model, branch(play)->number);
  return next == MODEL_NOWHERE ? model_next(play->model, 0) : next;
}

static int find_previous(const Play* play)
{
  int found = MODEL_NOWHERE;
  for (int i = model_next(play->model, 0); i != MODEL_NOWHERE;
       i = model_next(play->model, play->model->branches[i].number)) {
    if (i == play->here && found != MODEL_NOWHERE) {
      return found;
    }
    found = i;
  }
  return found;
}

static void fork_by_command(Play* play, const char* name)
{
  unsigned held[16][129];
  const HrTick tick = now(play);
  memcpy(held, play->held, sizeof held);
  end_held(play, tick);
  memcpy(play->held, held, sizeof held); // It sounds on in the new branch
  fork_branch(play, tick, play->lot + play->commands++, name);
  if (play->commands > LOT_OF_COMMANDS - 4 || (play->replay && !play->host.rolling)) {
    give_up(play);
  }
  play->home = MODEL_NOWHERE;
  play->plays_from = INT64_MAX;
  ask(play, play->asked_for);
}

static void fork_at(Play* play, HrTick tick)
{
  const int from = play->here;
  play->tree = true;
  if (tick <= branch(play)->head) {
    fork_branch(play, tick, play->next_number++, NULL);
    const int fork = play->here;
    play->here = from;
    switch_soon(play, fork);
  }
}

static void stop_replay(Play* play)
{
  play->replay = false;
  play->plays_from = INT64_MAX;
  if (!play->host.rolling && !play->own) { // What is played on the own clock goes on
    park(play, resume_tick(play));
  }
}

/** Stop: as with a switch, what is played on this very frame comes first. */
static void stop_soon(Play* play)
{
  if (play->host.rolling || play->own) {
    play->stops = true;
  } else {
    stop_replay(play);
  }
}

static void follow(Play* play)
{
  play->replay = true;
  memset(play->blurred, true, sizeof play->blurred);
  ask(play, play->asked_for + 1); // Nobody says when it is there
  play->plays_from = play->host.rolling ? play->frame + ASKED : INT64_MAX;
}

static void run_command(Play* play, const ScriptMove* move)
{
  const char* const verb = move->verb;
  if (play->unseen && !play->own) {
    give_up(play); // It depends on when the host tells it again
  }
  if (!strcmp(verb, "fork")) {
    fork_by_command(play, move->count ? move->args[0].text : NULL);
  } else if (!strcmp(verb, "fork/at")) {
    fork_at(play, move->args[0].integer);
  } else if (!strcmp(verb, "switch")) {
    play->tree = true;
    switch_soon(play, 0);
  } else if (!strcmp(verb, "next") || !strcmp(verb, "previous")) {
    play->tree = true;
    if (play->model->count > 1) {
      switch_soon(play, *verb == 'n' ? find_next(play) : find_previous(play));
    }
  } else if (!strcmp(verb, "silence")) {
    play->silence = move->args[0].integer;
  } else if (!strcmp(verb, "follow") && move->args[0].integer) {
    follow(play);
  } else if (!strcmp(verb, "follow") || !strcmp(verb, "stop")) {
    stop_soon(play);
  }
}

/* ---- Sessions ---------------------------------------------------------------------- */

static void save(Play* play)
{
  play->saved = play->tree ? play->here : MODEL_NOWHERE;
  play->saved_silence = play->silence;
}

static void attach(Play* play, int to)
{
  end_held(play, branch(play)->head);
  play->here = to;
  play->home = MODEL_NOWHERE;
  play->straight = false;
  play->lot = play->next_number;
  play->next_number += LOT;
  play->commands = play->passes = 0;
  if (!play->host.rolling) {
    play->replay = false;
    take_tempo(play);
    park(play, resume_tick(play));
  }
  play_from_here(play, false);
  ask(play, play->asked_for);
}

static void restore(Play* play)
{
  play->silence = play->saved_silence;
  if (play->saved != MODEL_NOWHERE) {
    attach(play, play->saved);
  }
}

/** Replay is stopped, the host runs on for a while and is closed; a new one
 * stands, or rolls, where that one was. */
static void reopen(Play* play)
{
  const int64_t frame = play->frame;
  const HostTransport host = play->host;
  if (play->unseen) {
    give_up(play); // The host may tell it yet
  }
  HostTransport at = host;
  at.frame = loop_frame(play) == frame ? host.loop_start
             : host.rolling            ? rolled_to(play)
                                       : host.frame;
  stop_replay(play);
  play->frame += 1024 * (4 + 60 * play->script->crowded);
  play->frame = loop_frame(play) < play->frame ? loop_frame(play) : play->frame;
  end_held(play, now(play));
  play->frame = frame;
  save(play);
  play->ever_rolled = play->own = false;
  play->host.rolling = false;
  play->place = play->cue = 0;
  play->unseen = false;
  play->pass_start = INT64_MIN;
  memset(play->host_held, 0, sizeof play->host_held);
  memset(play->pedals, 0, sizeof play->pedals);
  restore(play);
  play->tempo_lost = play->tempo_lost && at.rolling; // The new host tells it
  move_host(play, &at);
}

/* ---- The script --------------------------------------------------------------------- */

static void make_move(Play* play, const ScriptMove* move)
{
  switch (move->kind) {
  case SCRIPT_TRANSPORT:
    move_host(play, &move->transport);
    break;
  case SCRIPT_COMMAND:
    run_command(play, move);
    break;
  case SCRIPT_FREEWHEEL:
  case SCRIPT_ENABLE: // It always is
  case SCRIPT_ACTIVATE:
    break;
  case SCRIPT_SAVE:
    save(play);
    break;
  case SCRIPT_RESTORE:
    restore(play);
    break;
  case SCRIPT_REOPEN:
    reopen(play);
    break;
  }
}

static void play_event(Play* play, int index)
{
  const ScriptEvent* const event = &play->script->events[index];
  const uint8_t* const bytes = event->bytes;
  if ((bytes[0] & 0xe0) == 0x80) {
    unsigned* const held = &play->host_held[bytes[0] & 15][bytes[1]];
    *held = bytes[0] & 0x10 ? *held + 1 : *held ? *held - 1 : 0;
  }
  play_message(play, bytes, event->size, index);
  if ((bytes[0] & 0xf0) == 0xb0 && bytes[1] == 64) {
    play->pedals[bytes[0] & 15] = bytes[2] >= 64;
    play->blurred[bytes[0] & 15] = play->replay;
  }
}

/** A long silence on the own clock ends it. */
static void be_silent(Play* play, int64_t until)
{
  static const unsigned none[16][129];
  const HrTick end = bar_line(play, play->last) + play->silence * bar_line(play, 1);
  const int64_t frames =
      llrint((double)(end - play->place) * play->script->quarter / HR_TICKS_PER_QUARTER);
  if (play->own && play->silence && !memcmp(play->held, none, sizeof none) &&
      play->place_at + frames < until) {
    park(play, bar_line(play, play->last + 1));
  }
}

/** Time goes by: up to the frame `until`. */
static void pass_time(Play* play, int64_t until)
{
  while (loop_frame(play) < until) {
    play->frame = loop_frame(play);
    go_round(play);
  }
  be_silent(play, until);
  play->frame = until;
}

void model_make(Model* model, const Script* script)
{
  size_t move = 0;
  size_t event = 0;
  *model = (Model){.known = script->song};
  model->owners = malloc((script->event_count + 1) * sizeof *model->owners);
  model->ticks = calloc(script->event_count + 1, sizeof *model->ticks);
  for (size_t i = 0; i < script->event_count; ++i) {
    model->owners[i] = MODEL_NOWHERE;
  }
  Play play = {.model = model,
               .script = script,
               .home = MODEL_NOWHERE,
               .saved = MODEL_NOWHERE,
               .silence = 2,
               .pass_start = INT64_MIN,
               .plays_from = INT64_MAX,
               .switch_to = MODEL_NOWHERE,
               .lot = 2,
               .next_number = 2 + LOT};
  add_branch(&play, MODEL_NOWHERE, 0, 1, "main");
  while (model->known && (move < script->move_count || event < script->event_count)) {
    const int64_t next_move = move < script->move_count ? script->moves[move].frame : INT64_MAX;
    const int64_t next_event =
        event < script->event_count ? script->events[event].frame : INT64_MAX;
    pass_time(&play, next_move < next_event ? next_move : next_event);
    for (; move < script->move_count && script->moves[move].frame == play.frame; ++move) {
      make_move(&play, &script->moves[move]);
    }
    if (loop_frame(&play) == play.frame) {
      go_round(&play);
    }
    for (; event < script->event_count && script->events[event].frame == play.frame; ++event) {
      play_event(&play, (int)event);
    }
    if (play.switch_to != MODEL_NOWHERE) {
      switch_to(&play, play.switch_to);
      play.switch_to = MODEL_NOWHERE;
    }
    if (play.stops) {
      stop_replay(&play);
      play.stops = false;
    }
  }
}

void model_free(Model* model)
{
  free(model->owners);
  free(model->ticks);
}

int model_next(const Model* model, uint32_t number)
{
  int next = MODEL_NOWHERE;
  for (int i = 0; i < model->count; ++i) {
    const uint32_t n = model->branches[i].number;
    next = n > number && (next == MODEL_NOWHERE || n < model->branches[next].number) ? i : next;
  }
  return next;
}
