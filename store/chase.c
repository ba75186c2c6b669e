/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/chase.h"

#include <stdlib.h>
#include <string.h>

enum {
  NOTE_OFF = 0x80,
  NOTE_ON = 0x90,
  KEY_PRESSURE = 0xa0,
  CONTROLLER = 0xb0,
  PROGRAM = 0xc0,
  PRESSURE = 0xd0,
  BEND = 0xe0,

  BANK_MSB = 0,
  MODULATION = 1,
  DATA_MSB = 6,
  EXPRESSION = 11,
  BANK_LSB = 32,
  FIRST_FINE = 32, ///< Fine halves of the controllers that many before them
  DATA_LSB = 38,
  FIRST_PEDAL = 64,
  SOSTENUTO = 66,
  LAST_PEDAL = 67,
  DATA_INCREMENT = 96,
  DATA_DECREMENT = 97,
  NRPN_LSB = 98,
  NRPN_MSB = 99,
  RPN_LSB = 100,
  RPN_MSB = 101,
  ALL_SOUND_OFF = 120,
  RESET = 121,
  ALL_NOTES_OFF = 123,
  BEND_CENTRE = 0x40,
  NULL_PARAMETER = 0x3fff,
  RELEASE_VELOCITY = 64, ///< Where none is known
};

void hr_chase_init(HrChase* chase)
{
  memset(chase, HR_CHASE_UNSET, sizeof *chase);
  for (unsigned i = 0; i < 16; ++i) {
    HrChaseChannel* const channel = &chase->channels[i];
    memset(channel->velocities, 0, sizeof channel->velocities);
    memset(channel->coarse_last, 0, sizeof channel->coarse_last);
    channel->parameter_count = 0;
    channel->bank_coarse_last = false;
  }
}

static bool is_parameter(uint16_t selected)
{
  return selected != HR_CHASE_NO_SELECTED && (selected & NULL_PARAMETER) != NULL_PARAMETER;
}

/** The selected parameter's value; NULL if none is known, or none selected. */
static HrChaseParameter* known_parameter(HrChaseChannel* channel)
{
  for (unsigned i = 0; i < channel->parameter_count; ++i) {
    if (channel->parameters[i].number == channel->selected) {
      return &channel->parameters[i];
    }
  }
  return NULL;
}

/** The same, made if there is room. */
static HrChaseParameter* selected_parameter(HrChaseChannel* channel)
{
  HrChaseParameter* const known = known_parameter(channel);
  if (known || !is_parameter(channel->selected) ||
      channel->parameter_count == HR_CHASE_PARAMETERS) {
    return known;
  }
  HrChaseParameter* const parameter = &channel->parameters[channel->parameter_count++];
  *parameter = (HrChaseParameter){channel->selected, HR_CHASE_UNSET, HR_CHASE_UNSET, false};
  return parameter;
}

/** Add to a parameter's 14-bit value, within its bounds. */
static void step_parameter(HrChaseParameter* parameter, int step)
{
  if (!parameter || parameter->msb == HR_CHASE_UNSET) {
    return; // From where is not known
  }
  const int lsb = parameter->lsb == HR_CHASE_UNSET ? 0 : parameter->lsb;
  const int value = (parameter->msb << 7 | lsb) + step;
  const int bounded = value < 0 ? 0 : value > NULL_PARAMETER ? NULL_PARAMETER : value;
  parameter->msb = (uint8_t)(bounded >> 7);
  parameter->lsb = (uint8_t)(bounded & 0x7f);
  parameter->coarse_last = false;
}

/** Select a parameter by one half of its number. */
static void select_half(HrChaseChannel* channel, bool nrpn, bool msb, uint8_t value)
{
  const bool same_kind =
      channel->selected != HR_CHASE_NO_SELECTED && !(channel->selected & HR_CHASE_NRPN) == !nrpn;
  const unsigned old = same_kind ? channel->selected & NULL_PARAMETER : NULL_PARAMETER;
  const unsigned number = msb ? (unsigned)value << 7 | (old & 0x7f) : (old & 0x3f80) | value;
  channel->selected = (uint16_t)(number | (nrpn ? HR_CHASE_NRPN : 0));
}

static void end_notes(HrChaseChannel* channel)
{
  memset(channel->velocities, 0, sizeof channel->velocities);
}

static bool is_down(uint8_t pedal)
{
  return pedal != HR_CHASE_UNSET && pedal >= 64;
}

/** The sostenuto pedal holds what is held when it goes down, until it comes up. */
static void move_sostenuto(HrChaseChannel* channel, uint8_t value)
{
  const bool was_down = is_down(channel->controllers[SOSTENUTO]);
  channel->controllers[SOSTENUTO] = value;
  for (unsigned note = 0; was_down != is_down(value) && note < 128; ++note) {
    uint8_t* const velocity = &channel->velocities[note];
    *velocity = (uint8_t)(!*velocity ? 0
                          : was_down ? *velocity & ~HR_CHASE_CAUGHT
                                     : *velocity | HR_CHASE_CAUGHT);
  }
}

static void reset_controllers(HrChaseChannel* channel)
{
  channel->controllers[MODULATION] = 0;
  channel->coarse_last[MODULATION] = true;
  channel->controllers[EXPRESSION] = 127;
  channel->coarse_last[EXPRESSION] = true;
  move_sostenuto(channel, 0);
  memset(&channel->controllers[FIRST_PEDAL], 0, LAST_PEDAL - FIRST_PEDAL + 1);
  channel->selected = NULL_PARAMETER;
  channel->pressure = 0;
  channel->bend_lsb = 0;
  channel->bend_msb = BEND_CENTRE;
  memset(channel->key_pressures, HR_CHASE_UNSET, sizeof channel->key_pressures);
}

static void set_controller(HrChaseChannel* channel, uint8_t number, uint8_t value)
{
  channel->controllers[number] = value;
  if (number < 2 * FIRST_FINE) {
    channel->coarse_last[number % FIRST_FINE] = number < FIRST_FINE;
  }
}

/** Data for the selected parameter; where none is, from a slider like any other. */
static void enter_data(HrChaseChannel* channel, uint8_t number, uint8_t value)
{
  HrChaseParameter* const parameter = selected_parameter(channel);
  if (parameter) {
    parameter->msb = number == DATA_MSB ? value : parameter->msb;
    parameter->lsb = number == DATA_LSB ? value : parameter->lsb;
    parameter->coarse_last = number == DATA_MSB;
  } else if (!is_parameter(channel->selected)) {
    set_controller(channel, number, value);
  }
}

static void follow_controller(HrChaseChannel* channel, uint8_t number, uint8_t value)
{
  switch (number) {
  case DATA_MSB:
  case DATA_LSB:
    enter_data(channel, number, value);
    break;
  case DATA_INCREMENT:
  case DATA_DECREMENT:
    step_parameter(known_parameter(channel), number == DATA_INCREMENT ? 1 : -1);
    break;
  case NRPN_LSB:
  case NRPN_MSB:
  case RPN_LSB:
  case RPN_MSB:
    select_half(channel, number <= NRPN_MSB, number & 1, value);
    break;
  case SOSTENUTO:
    move_sostenuto(channel, value);
    break;
  case RESET:
    reset_controllers(channel);
    break;
  default:
    if (number < ALL_SOUND_OFF) {
      set_controller(channel, number, value);
    } else if (number == ALL_SOUND_OFF || number >= ALL_NOTES_OFF) {
      end_notes(channel); // The omni and mono modes end notes as well
    }
    break;
  }
}

void hr_chase_follow_other(HrChase* chase, const uint8_t* bytes, uint32_t size)
{
  if (size < 2 || size > 3 || bytes[0] >= 0xf0) {
    return;
  }
  HrChaseChannel* const channel = &chase->channels[bytes[0] & 0x0f];
  const uint8_t first = bytes[1] & 0x7f;
  const uint8_t second = size == 3 ? bytes[2] & 0x7f : 0;
  switch (bytes[0] & 0xf0) {
  case KEY_PRESSURE:
    channel->key_pressures[first] = second;
    break;
  case CONTROLLER:
    follow_controller(channel, first, second);
    break;
  case PROGRAM:
    channel->program = first;
    channel->bank_msb = channel->controllers[BANK_MSB];
    channel->bank_lsb = channel->controllers[BANK_LSB];
    channel->bank_coarse_last = channel->coarse_last[BANK_MSB];
    break;
  case PRESSURE:
    channel->pressure = first;
    break;
  case BEND:
    channel->bend_lsb = first;
    channel->bend_msb = second;
    break;
  default:
    break; // A note too short to be one
  }
}

/* ---- Many at once --------------------------------------------------------- */

/* Most messages leave nothing behind: a later one of the same status and first data
 * byte sets anew all that they set. So many are looked through from the last to the
 * first, and only those whose like has not been seen are followed, in order. */

enum {
  KINDS = 1 << 15, ///< Status and first data byte, which is below 0x80
  KEPT_MAX = 2048, ///< Messages to be followed; mostly there are a few hundred
  MANY_MIN = 8192, ///< Messages for which it pays
  SEEN_AT_ONCE = 32,
};

/** What others do depends on this message, or what it does on them: all of its kind count. */
static bool depends_on_order(const HrWord* word)
{
  const uint8_t number = word->bytes[1] & 0x7f;
  return (word->bytes[0] & 0xf0) == CONTROLLER &&
         (number == BANK_MSB || number == BANK_LSB || number == DATA_MSB || number == DATA_LSB ||
          number == SOSTENUTO || (number >= DATA_INCREMENT && number <= RPN_MSB) ||
          number == RESET);
}

static bool is_whole(const HrWord* word)
{
  return word->length == 3 || (word->length == 2 && (word->bytes[0] & 0xe0) == PROGRAM);
}

/** Status and first data byte, as they lie side by side. */
static inline uint16_t kind_of(const HrWord* word)
{
  uint16_t kind;
  memcpy(&kind, word->bytes, sizeof kind);
  return kind % KINDS;
}

/** True if the like of all of these has been seen. Four by four: none waits for the one before. */
static inline bool all_seen(const HrWord words[SEEN_AT_ONCE], const uint8_t* seen)
{
  uint8_t a = 1, b = 1, c = 1, d = 1;
  for (unsigned i = 0; i < SEEN_AT_ONCE; i += 4) {
    a &= seen[kind_of(&words[i])];
    b &= seen[kind_of(&words[i + 1])];
    c &= seen[kind_of(&words[i + 2])];
    d &= seen[kind_of(&words[i + 3])];
  }
  return a & b & c & d;
}

/** Find the messages that count, last first; returns how many, KEPT_MAX: too many. */
static uint32_t find_kept(const HrWord* words, size_t count, uint8_t* seen, uint32_t* kept)
{
  uint32_t found = 0;
  while (count && found <= KEPT_MAX - SEEN_AT_ONCE) {
    const size_t rest = count % SEEN_AT_ONCE;
    const size_t end = count - (rest ? rest : SEEN_AT_ONCE);
    if (!rest && all_seen(words + end, seen)) {
      count = end; // As nearly all, once the first few hundred are past
    }
    while (count > end) {
      const HrWord* const word = &words[--count];
      if (!seen[kind_of(word)]) {
        seen[kind_of(word)] = is_whole(word) && !depends_on_order(word);
        kept[found++] = (uint32_t)count;
      }
    }
  }
  return count ? KEPT_MAX : found;
}

void hr_chase_follow_words(HrChase* chase, const HrWord* words, size_t count)
{
  uint32_t kept[KEPT_MAX];
  uint8_t seen[KINDS];
  uint32_t left = KEPT_MAX;
  if (count >= MANY_MIN && count <= UINT32_MAX) {
    memset(seen, 0, sizeof seen);
    left = find_kept(words, count, seen, kept);
  }
  if (left == KEPT_MAX) {
    for (size_t i = 0; i < count; ++i) {
      hr_chase_follow(chase, words[i].bytes, words[i].length);
    }
    return;
  }
  while (left--) {
    hr_chase_follow(chase, words[kept[left]].bytes, words[kept[left]].length);
  }
}

/* ---- Sending ------------------------------------------------------------- */

typedef struct {
  void (*send)(void* data, const uint8_t* bytes, uint32_t size);
  void* data;
  uint8_t channel;
} Sender;

static void send_three(const Sender* sender, uint8_t status, uint8_t first, uint8_t second)
{
  const uint8_t bytes[3] = {(uint8_t)(status | sender->channel), first, second};
  sender->send(sender->data, bytes, sizeof bytes);
}

static void send_two(const Sender* sender, uint8_t status, uint8_t first)
{
  const uint8_t bytes[2] = {(uint8_t)(status | sender->channel), first};
  sender->send(sender->data, bytes, sizeof bytes);
}

static void send_controller(const Sender* sender, uint8_t number, uint8_t value)
{
  if (value != HR_CHASE_UNSET) {
    send_three(sender, CONTROLLER, number, value);
  }
}

/** The halves of a value of 14 bits. */
typedef struct {
  uint8_t msb, lsb;
  bool coarse_last;
} Pair;

static Pair pair_of(const HrChaseChannel* channel, uint8_t number)
{
  return (Pair){channel->controllers[number], channel->controllers[number + FIRST_FINE],
                channel->coarse_last[number]};
}

static void send_both(const Sender* sender, uint8_t number, Pair want)
{
  if (!want.coarse_last) {
    send_controller(sender, number, want.msb);
  }
  send_controller(sender, number + FIRST_FINE, want.lsb);
  if (want.coarse_last) {
    send_controller(sender, number, want.msb);
  }
}

static bool differs(Pair have, Pair want)
{
  const bool coarse = want.msb != HR_CHASE_UNSET;
  const bool fine = want.lsb != HR_CHASE_UNSET;
  return (coarse && want.msb != have.msb) || (fine && want.lsb != have.lsb) ||
         ((coarse || fine) && want.coarse_last != have.coarse_last);
}

static void send_pair(const Sender* sender, uint8_t number, Pair have, Pair want)
{
  if (differs(have, want)) {
    send_both(sender, number, want);
  }
}

static void send_program(const Sender* sender, const HrChaseChannel* have,
                         const HrChaseChannel* want)
{
  const Pair chosen = {want->bank_msb, want->bank_lsb, want->bank_coarse_last};
  const bool same = have->program == want->program && have->bank_msb == want->bank_msb &&
                    have->bank_lsb == want->bank_lsb &&
                    have->bank_coarse_last == want->bank_coarse_last;
  const bool due = want->program != HR_CHASE_UNSET && !same;
  if (due) {
    send_both(sender, BANK_MSB, chosen);
    send_two(sender, PROGRAM, want->program);
  }
  /* A bank chosen since, for a program still to come. */
  send_pair(sender, BANK_MSB, due ? chosen : pair_of(have, BANK_MSB), pair_of(want, BANK_MSB));
}

static void send_selection(const Sender* sender, uint16_t number)
{
  const bool nrpn = number & HR_CHASE_NRPN;
  send_three(sender, CONTROLLER, nrpn ? NRPN_MSB : RPN_MSB, (uint8_t)(number >> 7 & 0x7f));
  send_three(sender, CONTROLLER, nrpn ? NRPN_LSB : RPN_LSB, (uint8_t)(number & 0x7f));
}

static bool has_parameter(const HrChaseChannel* channel, const HrChaseParameter* parameter)
{
  for (unsigned i = 0; i < channel->parameter_count; ++i) {
    if (!memcmp(&channel->parameters[i], parameter, sizeof *parameter)) {
      return true;
    }
  }
  return false;
}

/** Send what is in place of data where no parameter is selected. Returns which is, then. */
static uint16_t send_data(const Sender* sender, const HrChaseChannel* have,
                          const HrChaseChannel* want)
{
  const Pair data = pair_of(want, DATA_MSB);
  uint16_t selected = have->selected;
  if (differs(pair_of(have, DATA_MSB), data)) {
    if (is_parameter(selected)) {
      selected = NULL_PARAMETER;
      send_selection(sender, selected);
    }
    send_both(sender, DATA_MSB, data);
  }
  return selected;
}

static void send_parameters(const Sender* sender, const HrChaseChannel* have,
                            const HrChaseChannel* want)
{
  uint16_t selected = send_data(sender, have, want);
  for (unsigned i = 0; i < want->parameter_count; ++i) {
    const HrChaseParameter* const parameter = &want->parameters[i];
    if (!has_parameter(have, parameter)) {
      send_selection(sender, parameter->number);
      send_both(sender, DATA_MSB, (Pair){parameter->msb, parameter->lsb, parameter->coarse_last});
      selected = parameter->number;
    }
  }
  if (want->selected != selected && want->selected != HR_CHASE_NO_SELECTED) {
    send_selection(sender, want->selected);
  }
}

static void send_controllers(const Sender* sender, const HrChaseChannel* have,
                             const HrChaseChannel* want)
{
  for (uint8_t number = BANK_MSB + 1; number < FIRST_FINE; ++number) {
    if (number != DATA_MSB) {
      send_pair(sender, number, pair_of(have, number), pair_of(want, number));
    }
  }
  for (uint8_t number = 2 * FIRST_FINE; number < ALL_SOUND_OFF; ++number) {
    if (number != SOSTENUTO && want->controllers[number] != have->controllers[number]) {
      send_controller(sender, number, want->controllers[number]);
    }
  }
}

/** Send the notes held that the sostenuto pedal has caught, or has not. */
static void send_notes(const Sender* sender, const HrChaseChannel* have, const HrChaseChannel* want,
                       bool caught)
{
  for (uint8_t note = 0; note < 128; ++note) {
    const uint8_t velocity = want->velocities[note];
    if (!velocity || !(velocity & HR_CHASE_CAUGHT) == caught) {
      continue;
    }
    if (!have->velocities[note]) {
      send_three(sender, NOTE_ON, note, velocity & 0x7f);
    }
    if (want->key_pressures[note] != HR_CHASE_UNSET &&
        want->key_pressures[note] != have->key_pressures[note]) {
      send_three(sender, KEY_PRESSURE, note, want->key_pressures[note]);
    }
  }
}

void hr_chase_send(const HrChase* have, const HrChase* want,
                   void (*send)(void* data, const uint8_t* bytes, uint32_t size), void* data)
{
  for (uint8_t i = 0; i < 16; ++i) {
    const HrChaseChannel* const from = &have->channels[i];
    const HrChaseChannel* const to = &want->channels[i];
    const Sender sender = {send, data, i};
    if (!memcmp(from, to, sizeof *to)) {
      continue; // As most channels are
    }
    send_program(&sender, from, to);
    send_controllers(&sender, from, to);
    send_parameters(&sender, from, to);
    if (to->pressure != HR_CHASE_UNSET && to->pressure != from->pressure) {
      send_two(&sender, PRESSURE, to->pressure);
    }
    if (to->bend_msb != HR_CHASE_UNSET &&
        (to->bend_msb != from->bend_msb || to->bend_lsb != from->bend_lsb)) {
      send_three(&sender, BEND, to->bend_lsb, to->bend_msb);
    }
    send_notes(&sender, from, to, true);
    if (to->controllers[SOSTENUTO] != from->controllers[SOSTENUTO]) {
      send_controller(&sender, SOSTENUTO, to->controllers[SOSTENUTO]);
    }
    send_notes(&sender, from, to, false);
  }
}

void hr_chase_end_notes(HrChase* have, const HrChase* want,
                        void (*send)(void* data, const uint8_t* bytes, uint32_t size), void* data)
{
  for (uint8_t i = 0; i < 16; ++i) {
    uint8_t* const sound = have->channels[i].velocities;
    const uint8_t* const held = want->channels[i].velocities;
    for (uint8_t note = 0; note < 128; ++note) {
      if (sound[note] && !held[note]) {
        send_three(&(Sender){send, data, i}, NOTE_OFF, note, RELEASE_VELOCITY);
      }
      sound[note] = held[note];
    }
  }
}
