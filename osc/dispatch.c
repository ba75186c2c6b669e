/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/dispatch.h"
#include "osc/address.h"
#include "osc/packet.h"
#include "osc/pattern.h"
#include "osc/table.h"
#include "osc/text.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLY     "/reply"
#define ERROR     "/error"
#define ID_PREFIX "id="
#define AUTHOR    "osc " // And the sender's IP; not its port, which changes all the time

/* ---- Answers -------------------------------------------------------- */

static void send_answer(void* data, const uint8_t* bytes, size_t size)
{
  HrOscRequest* request = data;
  if (request->record) {
    hr_osc_request_keep(request->record, bytes, size);
  }
  if (!hr_osc_outbox_send(&request->endpoint->outbox, request->from, bytes, size, request->closing,
                          request->now_ns)) {
    request->lost = true;
  }
}

/** Write one message of the answer: `first` values, then `values`, then the id. */
static void write_answer(HrOscRequest* request, const char* address, const char* word,
                         const HrValue* values, size_t count)
{
  HrValue all[HR_OSC_VALUES_MAX];
  size_t size = 0;
  all[size++] = hr_value_text(request->path);
  if (word) {
    all[size++] = hr_value_text(word);
  }
  for (size_t i = 0; i < count && size < HR_OSC_VALUES_MAX - 1; ++i) {
    all[size++] = values[i];
  }
  if (request->id) {
    all[size++] = hr_value_text(request->id);
  }
  hr_osc_write(&request->writer, address, all, size);
}

/** A row, or part of one: its last text begins at `text` and has at most HR_OSC_PIECE_MAX
 * bytes. Returns where the next part begins. */
static const char* write_part(HrOscRequest* request, const HrValue* values, size_t count,
                              const char* text)
{
  HrValue all[HR_OSC_VALUES_MAX];
  char piece[HR_OSC_PIECE_MAX + 1];
  const size_t size = hr_osc_text_cut(text, HR_OSC_PIECE_MAX);
  memcpy(piece, text, size);
  piece[size] = '\0';
  memcpy(all, values, count * sizeof *all);
  all[count - 1] = hr_value_text(piece);
  write_answer(request, REPLY, "row", all, count);
  return text + size;
}

void hr_osc_answer_row(HrOscRequest* request, const HrValue* values, size_t count)
{
  const bool text = count && values[count - 1].type == HR_VALUE_TEXT;
  if (!text || count > HR_OSC_VALUES_MAX) {
    if (!request->lost) {
      write_answer(request, REPLY, "row", values, count);
    }
    return;
  }
  const char* rest = values[count - 1].text;
  do {
    rest = request->lost ? "" : write_part(request, values, count, rest);
  } while (*rest);
}

/** Close the answer: with "ok", or with `error` if that has a status. */
static void close_answer(HrOscRequest* request, const HrError* error)
{
  request->closing = true;
  if (!error->status && !request->lost) {
    write_answer(request, REPLY, "ok", NULL, 0);
    return;
  }
  const HrValue values[] = {
      hr_value_integer(error->status ? error->status : HR_ERR_LIMIT),
      hr_value_text(!error->status ? "Done, but the answer is too long to be sent: ask for less."
                    : *error->text ? error->text
                                   : hr_strerror(error->status))};
  request->lost = false; // The next instance's answer is another one
  write_answer(request, ERROR, NULL, values, 2);
}

/* ---- Arguments ------------------------------------------------------ */

static bool is_zero(const HrValue* value)
{
  switch (value->type) {
  case HR_VALUE_INTEGER:
    return value->integer == 0;
  case HR_VALUE_NUMBER:
    return value->number == 0.0;
  default:
    return false;
  }
}

/** Open Stage Control puts a button's texts first and its value last: texts and
 * then a 0 are that button's release. (A 0 in first place is the command
 * layer's to judge.) */
static bool is_release(HrCommandKind kind, const HrValue* values, size_t count)
{
  if (count < 2 || (kind != HR_COMMAND_TRIGGER && kind != HR_COMMAND_VALUE)) {
    return false;
  }
  for (size_t i = 0; i + 1 < count; ++i) {
    if (values[i].type != HR_VALUE_TEXT) {
      return false;
    }
  }
  return is_zero(&values[count - 1]);
}

/** Take an id off the end of the arguments. */
static HrStatus take_id(HrOscRequest* request, HrError* error)
{
  const HrValue* last = request->count ? &request->values[request->count - 1] : NULL;
  if (!last || last->type != HR_VALUE_TEXT ||
      strncmp(last->text, ID_PREFIX, strlen(ID_PREFIX)) != 0) {
    return HR_OK;
  }
  request->count -= 1;
  if (strlen(last->text) > HR_OSC_ID_MAX) {
    return hr_error(error, HR_ERR_LIMIT, "An id may have at most %d bytes.", HR_OSC_ID_MAX);
  }
  request->id = last->text;
  return HR_OK;
}

static bool has_bytes(const HrOscRequest* request)
{
  for (size_t i = 0; i < request->count; ++i) {
    if (request->values[i].type == HR_VALUE_BYTES) {
      return true;
    }
  }
  return false;
}

/** For addresses that do not go to the command layer, which sees to it itself. */
static void refuse_bytes(const char* path, HrError* error)
{
  hr_error(error, HR_ERR_ARGUMENT, "%s takes numbers and texts, no bytes.", path);
}

/* ---- Commands ------------------------------------------------------- */

/** True if others have their turn now. */
static bool is_over(const HrOscRequest* request)
{
  return hr_monotonic_ns() >= request->until_ns;
}

/** From here on the answer is kept, if the sender gave an id. Queries change
 * nothing: they are simply run again. */
static void keep_answer(HrOscRequest* request, HrCommandKind kind)
{
  if (request->id && kind != HR_COMMAND_QUERY) {
    request->record =
        hr_osc_request_remember(&request->endpoint->requests, request->from, request->id);
  }
}

static void on_row(void* data, const HrValue* values, size_t count)
{
  hr_osc_answer_row(data, values, count);
}

/** A pad: pressed, it is the command `slot`; let go after a while, `slot/replay`
 * as well. That is so when it is let go, as a release that got lost must not start
 * anything. */
static HrStatus run_pad(HrOscRequest* request, const HrOscInstance* instance, const char* author,
                        const HrAnswer* answer, HrError* error)
{
  const HrOscPress press = {*request->from, instance->number, hr_osc_slot_of_verb(request->verb),
                            request->packet->arrived_ns};
  HrOscPresses* const presses = &request->endpoint->presses;
  const HrValue slot = hr_value_integer(press.slot);
  const bool released = request->count && is_zero(&request->values[0]);
  if (released && hr_osc_release(presses, &press) < HR_OSC_HOLD_NS) {
    return HR_OK;
  }
  if (!released && request->count) {
    hr_osc_press(presses, &press);
  }
  return hr_command_run(instance->session, released ? "slot/replay" : "slot", &slot, 1, author,
                        answer, error);
}

static void run_on_instance(HrOscRequest* request, const HrOscInstance* instance,
                            const HrCommandInfo* command)
{
  char author[sizeof AUTHOR + INET_ADDRSTRLEN] = AUTHOR;
  inet_ntop(AF_INET, &request->from->sin_addr, author + strlen(AUTHOR), INET_ADDRSTRLEN);

  HrError error = {.status = HR_OK};
  const HrAnswer answer = {on_row, request};
  request->closing = false;
  const size_t count = request->count < HR_COMMAND_ARGS_MAX ? request->count : HR_COMMAND_ARGS_MAX;
  if (has_bytes(request) && command == hr_osc_row_pad()) {
    refuse_bytes(request->path, &error);
  } else if (is_release(command->kind, request->values, request->count)) {
    error.status = HR_OK;
  } else if (command == hr_osc_row_pad()) {
    error.status = run_pad(request, instance, author, &answer, &error);
  } else {
    error.status = hr_command_run(instance->session, command->verb, request->values, count, author,
                                  &answer, &error);
  }
  close_answer(request, &error);
}

static const HrOscInstance* find_number(const HrOscEndpoint* endpoint, uint32_t number)
{
  const HrOscInstance* instance = endpoint->instances;
  while (instance && instance->number != number) {
    instance = instance->next;
  }
  return instance;
}

static void no_instance(const HrOscAddress* address, HrError* error)
{
  hr_error(error, HR_ERR_NOT_FOUND,
           "There is no instance \"%.*s\": /hr/instances lists those there are.",
           (int)address->instance_size, address->instance);
}

/** Find the instance that an address names; NULL with `error` if that is not
 * exactly one. */
static const HrOscInstance* find_instance(const HrOscEndpoint* endpoint,
                                          const HrOscAddress* address, HrError* error)
{
  const HrOscInstance* found = find_number(endpoint, hr_osc_address_number(address));
  if (found) {
    return found;
  }
  for (const HrOscInstance* instance = endpoint->instances; instance; instance = instance->next) {
    HrSessionState state;
    hr_session_state(instance->session, &state);
    if (!hr_osc_address_is_name(address, state.tree_name)) {
      continue;
    }
    if (found) {
      hr_error(error, HR_ERR_ARGUMENT, "Instances %u and %u are both called %.*s: use a number.",
               found->number, instance->number, (int)address->instance_size, address->instance);
      return NULL;
    }
    found = instance;
  }
  if (!found) {
    no_instance(address, error);
  }
  return found;
}

static void unknown_verb(const char* path, const char* verb, HrError* error)
{
  const char* nearest = hr_osc_row_nearest(verb);
  if (nearest) {
    hr_error(error, HR_ERR_NOT_FOUND, "There is no %s: did you mean %s? /hr/help lists all.", path,
             nearest);
  } else {
    hr_error(error, HR_ERR_NOT_FOUND, "There is no %s: /hr/help lists all.", path);
  }
}

/** Find the command that an address names; NULL with `error` if there is none. */
static const HrCommandInfo* find_command(const char* path, const HrOscAddress* address,
                                         HrError* error)
{
  if (hr_command_find(address->instance)) {
    hr_error(error, HR_ERR_NOT_FOUND,
             "Say which instance: /hr/1/%s for the first, /hr/*/%s for all.", address->instance,
             address->instance);
    return NULL;
  }
  const char* verb = *address->verb ? address->verb : address->instance;
  const HrCommandInfo* command = hr_osc_slot_of_verb(verb) ? hr_osc_row_pad()
                                 : *address->verb          ? hr_command_find(verb)
                                                           : NULL;
  if (!command) {
    unknown_verb(path, verb, error);
  }
  return command;
}

/* ---- Patterns ------------------------------------------------------- */

/** What the two parts of a pattern stand for. */
typedef struct {
  HrOscPattern instance;
  const HrCommandInfo* commands[HR_OSC_MATCHES_MAX];
  const char* verbs[HR_OSC_MATCHES_MAX]; ///< Each one's name; of a pad, with its number
  size_t count;
  HrCommandKind kind; ///< A question if all of them are
} Matches;

/** Find the commands that the last part of a pattern stands for. */
static HrStatus match_commands(Matches* matches, const char* path, const char* verb, HrError* error)
{
  HrOscPattern pattern;
  const HrStatus st = hr_osc_pattern_read(&pattern, verb, strlen(verb), error);
  if (st) {
    return st;
  }
  matches->count = 0;
  matches->kind = HR_COMMAND_QUERY;
  if (hr_osc_slot_of_verb(verb)) { // Only the instance is a pattern
    matches->commands[0] = hr_osc_row_pad();
    matches->verbs[0] = verb;
    matches->kind = matches->commands[0]->kind;
    matches->count = 1;
  }
  for (size_t i = 0; i < hr_command_count() && !hr_osc_slot_of_verb(verb); ++i) {
    const HrCommandInfo* command = hr_command_info(i);
    if (!hr_osc_pattern_matches(&pattern, command->verb)) {
      continue;
    }
    if (matches->count == HR_OSC_MATCHES_MAX) {
      return hr_error(error, HR_ERR_LIMIT,
                      "%s stands for more than %d commands, so none was run: name fewer.", path,
                      HR_OSC_MATCHES_MAX);
    }
    matches->verbs[matches->count] = command->verb;
    matches->commands[matches->count++] = command;
    matches->kind = command->kind == HR_COMMAND_QUERY ? matches->kind : command->kind;
  }
  if (!matches->count) {
    unknown_verb(path, verb, error);
    return HR_ERR_NOT_FOUND;
  }
  return HR_OK;
}

/** True if the pattern stands for the instance's number or for its name. */
static bool matches_instance(const HrOscPattern* pattern, const HrOscInstance* instance)
{
  char number[16];
  char part[HR_NAME_MAX + 1];
  HrSessionState state;
  snprintf(number, sizeof number, "%u", instance->number);
  hr_session_state(instance->session, &state);
  hr_osc_address_part(state.tree_name, part);
  return hr_osc_pattern_matches(pattern, number) ||
         (*part && hr_osc_pattern_matches(pattern, part));
}

/** Run the commands on one instance, each answered under its own address, from the packet's
 * `match` on. False if its turn is over. */
static bool run_matches(HrOscRequest* request, const HrOscInstance* instance,
                        const Matches* matches)
{
  const char* whole = request->path;
  size_t* const match = &request->packet->match;
  bool over = false;
  while (*match < matches->count && !over) {
    char path[HR_OSC_ADDRESS_MAX + 16];
    snprintf(path, sizeof path, HR_OSC_PREFIX "%u/%s", instance->number, matches->verbs[*match]);
    request->path = path;
    request->verb = matches->verbs[*match];
    run_on_instance(request, instance, matches->commands[*match]);
    *match += 1;
    over = is_over(request);
  }
  request->path = whole;
  return !over;
}

/** Run the commands on each instance, from the packet's `instance` on: some may have come or
 * gone since its last turn. False if its turn is over. */
static bool run_on_matching(HrOscRequest* request, const HrOscAddress* address,
                            const Matches* matches)
{
  HrOscPacket* const packet = request->packet;
  for (const HrOscInstance* instance = request->endpoint->instances; instance;
       instance = instance->next) {
    if (instance->number < packet->instance || !matches_instance(&matches->instance, instance)) {
      continue;
    }
    packet->match = instance->number == packet->instance ? packet->match : 0;
    packet->instance = instance->number;
    if (!run_matches(request, instance, matches)) {
      return false;
    }
  }
  if (!packet->instance) {
    HrError error;
    no_instance(address, &error);
    close_answer(request, &error);
  }
  return true;
}

/** False if there is more to do in the packet's next turn. */
static bool run_pattern(HrOscRequest* request, const HrOscAddress* address)
{
  HrError error = {.status = HR_OK};
  Matches matches;
  HrStatus st = match_commands(&matches, request->path, address->verb, &error);
  if (!st) {
    st = hr_osc_pattern_read(&matches.instance, address->instance, address->instance_size, &error);
  }
  if (st) {
    close_answer(request, &error);
    return true;
  }
  keep_answer(request, matches.kind);
  return run_on_matching(request, address, &matches);
}

/** False if there is more to do in the packet's next turn. */
static bool run_command(HrOscRequest* request)
{
  HrError error = {.status = HR_OK};
  HrOscAddress address;
  if (!hr_osc_address_split(request->path, &address)) {
    hr_error(&error, HR_ERR_NOT_FOUND, "Addresses here begin with /hr/: /hr/help lists all.");
    close_answer(request, &error);
    return true;
  }
  if (hr_osc_address_is_pattern(&address)) {
    return run_pattern(request, &address);
  }
  const HrCommandInfo* command = find_command(request->path, &address, &error);
  if (!command) {
    close_answer(request, &error);
    return true;
  }
  request->verb = address.verb;
  const HrOscInstance* instance = find_instance(request->endpoint, &address, &error);
  if (!instance) {
    close_answer(request, &error);
    return true;
  }
  keep_answer(request, command->kind);
  run_on_instance(request, instance, command);
  return true;
}

static void run_own(HrOscRequest* request, const HrOscRow* row)
{
  HrError error = {.status = HR_OK};
  keep_answer(request, row->kind);
  if (has_bytes(request)) {
    refuse_bytes(row->address, &error);
  } else if (!is_release(row->kind, request->values, request->count)) {
    error.status = row->run(request, &error);
  }
  close_answer(request, &error);
}

/** Answer a request served before as it was answered then; false if it is new, or goes on. */
static bool repeat_answer(HrOscRequest* request)
{
  if (!request->id || request->packet->instance) {
    return false;
  }
  const HrOscRequestRecord* record =
      hr_osc_request_find(&request->endpoint->requests, request->from, request->id);
  if (!record) {
    return false;
  }
  hr_osc_outbox_send(&request->endpoint->outbox, request->from, record->answer, record->size, true,
                     request->now_ns);
  return true;
}

/* ---- Packets -------------------------------------------------------- */

static void begin_request(HrOscRequest* request, HrOscEndpoint* endpoint,
                          const struct sockaddr_in* from, const char* path, int64_t now_ns)
{
  *request = (HrOscRequest){.endpoint = endpoint, .from = from, .now_ns = now_ns, .path = path};
  hr_osc_writer_init(&request->writer, send_answer, request);
}

static void refuse(HrOscEndpoint* endpoint, const struct sockaddr_in* from, const char* path,
                   const HrError* error, int64_t now_ns)
{
  HrOscRequest request;
  begin_request(&request, endpoint, from, path, now_ns);
  close_answer(&request, error);
  hr_osc_writer_flush(&request.writer);
}

/** True for the address of an answer. Answers are never answered: two endpoints
 * could go on for ever. */
static bool is_answer(const char* path)
{
  return !strcmp(path, REPLY) || !strcmp(path, ERROR);
}

/** Run a message whose arguments are read. False if there is more to do in the packet's next
 * turn. */
static bool run_request(HrOscRequest* request)
{
  HrError error;
  HrOscRow row;
  if (take_id(request, &error)) {
    close_answer(request, &error);
    return true;
  }
  if (repeat_answer(request)) {
    return true;
  }
  if (hr_osc_row_find_own(request->path, &row)) {
    run_own(request, &row);
    return true;
  }
  return run_command(request);
}

/** Run the message at the place in the packet. False if there is more to do in its next turn. */
static bool run_message(HrOscRequest* request, const uint8_t* bytes, size_t size)
{
  HrError error;
  HrOscArguments arguments;
  if (is_answer(request->path)) {
    return true;
  }
  if (hr_osc_arguments_read(&arguments, bytes, size, &error)) {
    close_answer(request, &error);
    hr_osc_writer_flush(&request->writer);
    return true;
  }
  request->values = arguments.values;
  request->count = arguments.count;
  const bool done = run_request(request);
  hr_osc_writer_flush(&request->writer);
  hr_osc_arguments_free(&arguments);
  return done;
}

/** Give a packet its turn. True if it is done. */
static bool run_packet(HrOscEndpoint* endpoint, const struct sockaddr_in* from, HrOscPacket* packet,
                       int64_t now_ns, int64_t until_ns)
{
  const uint8_t* element = NULL;
  size_t size = 0;
  size_t next = packet->offset;
  bool over = false;
  while (!over && hr_osc_bundle_next(packet->bytes, packet->size, &next, &element, &size)) {
    HrOscRequest request;
    begin_request(&request, endpoint, from, (const char*)element, now_ns);
    request.packet = packet;
    request.until_ns = until_ns;
    if (!run_message(&request, element, size)) {
      return false;
    }
    packet->offset = next;
    packet->instance = 0;
    packet->match = 0;
    over = is_over(&request);
  }
  return packet->offset == packet->size;
}

/** Keep a bundle until its time, `ahead` of now. Unless the wall clock was set since
 * something waits, its time tag is that time: those of one time stay in their order. */
static void keep_bundle(HrOscEndpoint* endpoint, const struct sockaddr_in* from,
                        const uint8_t* bytes, size_t size, uint64_t ahead, int64_t now_ns)
{
  HrError error;
  const uint64_t second = UINT64_C(1) << 32;
  const uint64_t most = HR_OSC_AHEAD_SECONDS_MAX * second;
  const uint64_t now = hr_osc_schedule_clock(&endpoint->schedule, now_ns);
  const uint64_t time = hr_osc_bundle_time(bytes);
  const uint64_t due = now + (ahead < most ? ahead : most);
  const bool set = due - time > second && time - due > second;
  if (hr_osc_schedule_add(&endpoint->schedule, set ? due : time, now, from, bytes, size, &error)) {
    refuse(endpoint, from, "/", &error, now_ns);
  }
}

/** Take the messages that are to run now into `packet`, and keep what is ahead of `now`, which
 * is what the sender's clock shows, as a time tag. */
static void take_element(HrOscEndpoint* endpoint, const struct sockaddr_in* from,
                         const uint8_t* bytes, size_t size, uint64_t now, HrOscPacket* packet)
{
  if (!hr_osc_is_bundle(bytes, size)) {
    packet->size = hr_osc_bundle_append(packet->bytes, packet->size, bytes, size);
    return;
  }

  const uint64_t time = hr_osc_bundle_time(bytes);
  if (time > now) {
    keep_bundle(endpoint, from, bytes, size, time - now, packet->arrived_ns);
    return;
  }

  size_t offset = 0;
  const uint8_t* element = NULL;
  size_t element_size = 0;
  while (hr_osc_bundle_next(bytes, size, &offset, &element, &element_size)) {
    take_element(endpoint, from, element, element_size, now, packet);
  }
}

/** Take in a packet that has been checked. */
static void take_packet(HrOscEndpoint* endpoint, const struct sockaddr_in* from,
                        const uint8_t* bytes, size_t size, uint64_t now, int64_t now_ns)
{
  HrError error;
  HrOscPacket* packet = hr_osc_inbox_add(&endpoint->inbox, from, size, now_ns, &error);
  if (packet) {
    take_element(endpoint, from, bytes, size, now, packet);
  } else {
    refuse(endpoint, from, hr_osc_is_bundle(bytes, size) ? "/" : (const char*)bytes, &error,
           now_ns);
  }
}

void hr_osc_dispatch(HrOscEndpoint* endpoint, const struct sockaddr_in* from, const uint8_t* bytes,
                     size_t size, int64_t now_ns)
{
  HrError error;
  if (hr_osc_is_own_address(endpoint, from)) {
    return; // A forged sender must not make us talk to ourselves
  }
  if (hr_osc_packet_check(bytes, size, &error)) {
    refuse(endpoint, from, "/", &error, now_ns);
    return;
  }
  take_packet(endpoint, from, bytes, size, hr_osc_schedule_now(), now_ns);
}

void hr_osc_dispatch_due(HrOscEndpoint* endpoint, int64_t now_ns)
{
  const uint64_t now = hr_osc_schedule_clock(&endpoint->schedule, now_ns);
  HrOscPending* pending = NULL;
  while ((pending = hr_osc_schedule_take(&endpoint->schedule, now))) {
    const uint64_t late = now - pending->time;
    take_packet(endpoint, &pending->from, pending->bytes, pending->size,
                hr_osc_bundle_time(pending->bytes) + late, now_ns);
    free(pending);
  }
}

bool hr_osc_dispatch_run(HrOscEndpoint* endpoint, int64_t now_ns, int64_t until_ns)
{
  const HrOscLane* lane = endpoint->inbox.first;
  while (lane) {
    hr_osc_inbox_turn(&endpoint->inbox,
                      run_packet(endpoint, &lane->from, lane->first, now_ns, until_ns));
    lane = hr_monotonic_ns() < until_ns ? endpoint->inbox.first : NULL;
  }
  return endpoint->inbox.first;
}
