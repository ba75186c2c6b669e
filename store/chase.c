/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/chase.h"

#include <string.h>

enum {
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
  DATA_LSB = 38,
  FIRST_PEDAL = 64,
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
};

void hr_chase_init(HrChase* chase)
{
  memset(chase, HR_CHASE_UNSET, sizeof *chase);
  for (unsigned i = 0; i < 16; ++i) {
    memset(chase->channels[i].velocities, 0, sizeof chase->channels[i].velocities);
    chase->channels[i].parameter_count = 0;
  }
}

/** The selected parameter's value, made if there is room; NULL if none is selected. */
static HrChaseParameter* selected_parameter(HrChaseChannel* channel)
{
  if (channel->selected == HR_CHASE_NO_SELECTED ||
      (channel->selected & NULL_PARAMETER) == NULL_PARAMETER) {
    return NULL;
  }
  for (unsigned i = 0; i < channel->parameter_count; ++i) {
    if (channel->parameters[i].number == channel->selected) {
      return &channel->parameters[i];
    }
  }
  if (channel->parameter_count == HR_CHASE_PARAMETERS) {
    return NULL;
  }
  HrChaseParameter* const parameter = &channel->parameters[channel->parameter_count++];
  *parameter = (HrChaseParameter){channel->selected, HR_CHASE_UNSET, HR_CHASE_UNSET};
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

static void reset_controllers(HrChaseChannel* channel)
{
  channel->controllers[MODULATION] = 0;
  channel->controllers[EXPRESSION] = 127;
  memset(&channel->controllers[FIRST_PEDAL], 0, LAST_PEDAL - FIRST_PEDAL + 1);
  channel->selected = NULL_PARAMETER;
  channel->pressure = 0;
  channel->bend_lsb = 0;
  channel->bend_msb = BEND_CENTRE;
  memset(channel->key_pressures, HR_CHASE_UNSET, sizeof channel->key_pressures);
}

static void follow_controller(HrChaseChannel* channel, uint8_t number, uint8_t value)
{
  HrChaseParameter* parameter;
  switch (number) {
  case DATA_MSB:
    if ((parameter = selected_parameter(channel))) {
      parameter->msb = value;
    }
    break;
  case DATA_LSB:
    if ((parameter = selected_parameter(channel))) {
      parameter->lsb = value;
    }
    break;
  case DATA_INCREMENT:
  case DATA_DECREMENT:
    step_parameter(selected_parameter(channel), number == DATA_INCREMENT ? 1 : -1);
    break;
  case NRPN_LSB:
  case NRPN_MSB:
  case RPN_LSB:
  case RPN_MSB:
    select_half(channel, number <= NRPN_MSB, number & 1, value);
    break;
  case RESET:
    reset_controllers(channel);
    break;
  default:
    if (number < ALL_SOUND_OFF) {
      channel->controllers[number] = value;
    } else if (number == ALL_SOUND_OFF || number >= ALL_NOTES_OFF) {
      end_notes(channel); // The omni and mono modes end notes as well
    }
    break;
  }
}

static void follow_other(HrChaseChannel* channel, uint8_t kind, uint8_t first, uint8_t second)
{
  switch (kind) {
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
    break;
  case PRESSURE:
    channel->pressure = first;
    break;
  default:
    channel->bend_lsb = first;
    channel->bend_msb = second;
    break;
  }
}

void hr_chase_follow(HrChase* chase, const uint8_t* bytes, uint32_t size)
{
  if (size < 2 || size > 3 || bytes[0] >= 0xf0) {
    return;
  }
  HrChaseChannel* const channel = &chase->channels[bytes[0] & 0x0f];
  const uint8_t kind = bytes[0] & 0xf0;
  const uint8_t first = bytes[1] & 0x7f;
  const uint8_t second = size == 3 ? bytes[2] & 0x7f : 0;
  if (kind > NOTE_ON) {
    follow_other(channel, kind, first, second);
    return;
  }
  /* No branch for which of the two it is, as nobody can predict that. */
  channel->velocities[first] = kind == NOTE_ON ? second : 0;
  channel->key_pressures[first] = HR_CHASE_UNSET;
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

static void send_program(const Sender* sender, const HrChaseChannel* have,
                         const HrChaseChannel* want)
{
  uint8_t msb = have->controllers[BANK_MSB];
  uint8_t lsb = have->controllers[BANK_LSB];
  if (want->program != HR_CHASE_UNSET &&
      (have->program != want->program || have->bank_msb != want->bank_msb ||
       have->bank_lsb != want->bank_lsb)) {
    send_controller(sender, BANK_MSB, want->bank_msb);
    send_controller(sender, BANK_LSB, want->bank_lsb);
    send_two(sender, PROGRAM, want->program);
    msb = want->bank_msb;
    lsb = want->bank_lsb;
  }
  /* A bank chosen since, for a program still to come. */
  if (want->controllers[BANK_MSB] != msb) {
    send_controller(sender, BANK_MSB, want->controllers[BANK_MSB]);
  }
  if (want->controllers[BANK_LSB] != lsb) {
    send_controller(sender, BANK_LSB, want->controllers[BANK_LSB]);
  }
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

static void send_parameters(const Sender* sender, const HrChaseChannel* have,
                            const HrChaseChannel* want)
{
  uint16_t selected = have->selected;
  for (unsigned i = 0; i < want->parameter_count; ++i) {
    const HrChaseParameter* const parameter = &want->parameters[i];
    if (!has_parameter(have, parameter)) {
      send_selection(sender, parameter->number);
      send_controller(sender, DATA_MSB, parameter->msb);
      send_controller(sender, DATA_LSB, parameter->lsb);
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
  for (uint8_t number = 0; number < ALL_SOUND_OFF; ++number) {
    if (number != BANK_MSB && number != BANK_LSB &&
        want->controllers[number] != have->controllers[number]) {
      send_controller(sender, number, want->controllers[number]);
    }
  }
}

static void send_notes(const Sender* sender, const HrChaseChannel* have, const HrChaseChannel* want)
{
  for (uint8_t note = 0; note < 128; ++note) {
    if (want->velocities[note] && !have->velocities[note]) {
      send_three(sender, NOTE_ON, note, want->velocities[note]);
    }
    if (want->velocities[note] && want->key_pressures[note] != HR_CHASE_UNSET &&
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
    send_notes(&sender, from, to);
  }
}
