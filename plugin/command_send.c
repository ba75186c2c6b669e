/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/command_call.h"
#include "plugin/sends.h"

#include <string.h>

/** True for a number that may be a byte: ticks are a time. */
static bool is_number(const HrValue* value)
{
  return value->type == HR_VALUE_INTEGER || value->type == HR_VALUE_NUMBER;
}

/** Shorten a message of up to three bytes to what its status says: OSC's m always has three. */
static uint32_t short_size(const uint8_t* bytes, uint32_t size)
{
  while (size > 1 && !hr_midi_valid(bytes, size)) {
    --size;
  }
  return size;
}

/** Take the message from its bytes, or from up to three whole numbers; 0 bytes if it is
 * none. `*used` is how many arguments it took. */
static uint32_t read_message(const HrCall* call, uint8_t bytes[HR_SEND_MAX], size_t* used)
{
  enum { SHORT_MAX = 3 };
  uint32_t size = 0;
  *used = 1;
  if (call->count && call->args[0].type == HR_VALUE_BYTES) {
    const HrValue* const value = &call->args[0];
    size = value->integer <= HR_SEND_MAX ? (uint32_t)value->integer : 0;
    memcpy(bytes, value->bytes, size);
  } else {
    for (; size < SHORT_MAX && size < call->count && is_number(&call->args[size]); ++size) {
      int64_t byte;
      if (!hr_call_integer(&call->args[size], &byte) || byte < 0 || byte > UINT8_MAX) {
        return 0;
      }
      bytes[size] = (uint8_t)byte;
    }
    *used = size;
  }
  size = size <= SHORT_MAX ? short_size(bytes, size) : size;
  return size && hr_midi_valid(bytes, size) ? size : 0;
}

/** When it is to be played, by the argument `index` if there is one. */
static HrStatus read_time(HrCall* call, size_t index, HrTick* at)
{
  HrSession* const session = call->session;
  *at = HR_SEND_NOW;
  if (index >= call->count) {
    return HR_OK;
  }
  const HrStatus status = hr_call_position(call, index, at);
  if (status) {
    return status;
  }
  if (*at < hr_call_now(session)) {
    return hr_error(call->error, HR_ERR_ARGUMENT,
                    "That place is past: give one that is still to come, or none for now.");
  }
  const uint64_t done =
      atomic_load_explicit(&session->engine->shared.sends_done, memory_order_relaxed);
  return session->sends - done < HR_SENDS_MAX
             ? HR_OK
             : hr_error(call->error, HR_ERR_LIMIT,
                        "%d messages wait for their time already: send this one later.",
                        HR_SENDS_MAX);
}

/** The engine puts the message out and keeps it, as if it had come in at its port
 * at that time. The sender's name goes with it, so that even a crash leaves it known. */
HrStatus hr_run_send(HrCall* call)
{
  struct {
    HrSendMessage head;
    uint8_t bytes[HR_SEND_MAX + HR_NAME_MAX];
  } message;
  size_t used;
  const size_t author = strnlen(call->author, HR_NAME_MAX);
  message.head.size = read_message(call, message.bytes, &used);
  message.head.author_size = (uint32_t)author;
  if (!message.head.size) {
    return hr_error(call->error, HR_ERR_ARGUMENT,
                    "send takes one whole MIDI message: as OSC m or b, of at most %d bytes, or as "
                    "up to 3 whole numbers, such as 144 60 100.",
                    HR_SEND_MAX);
  }
  if (!call->session->engine) {
    return hr_call_not_playing(call);
  }
  HrStatus status = read_time(call, used, &message.head.at);
  if (status) {
    return status;
  }
  memcpy(message.bytes + message.head.size, call->author, author);
  status = hr_call_send(call, HR_MESSAGE_SEND, &message,
                        (uint32_t)(sizeof message.head + message.head.size + author));
  call->session->sends += !status && message.head.at != HR_SEND_NOW;
  return status;
}
