/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/sends.h"

#include <string.h>

void hr_sends_init(HrSends* sends)
{
  for (uint8_t i = 0; i < HR_SENDS_MAX; ++i) {
    sends->order[i] = i;
  }
}

void hr_sends_add(HrSends* sends, const HrSendMessage* message)
{
  if (sends->count == HR_SENDS_MAX) {
    ++sends->done;
    return;
  }
  const uint8_t place = sends->order[sends->count];
  memcpy(&sends->places[place], message, sizeof *message + message->size + message->author_size);
  uint32_t at = sends->count++;
  for (; at > 0 && sends->places[sends->order[at - 1]].head.at > message->at; --at) {
    sends->order[at] = sends->order[at - 1];
  }
  sends->order[at] = place;
}

void hr_sends_drop_first(HrSends* sends)
{
  const uint8_t place = sends->order[0];
  --sends->count;
  memmove(sends->order, sends->order + 1, sends->count);
  sends->order[sends->count] = place;
  ++sends->done;
}

void hr_sends_forget(HrSends* sends, HrTick tick)
{
  while (sends->count && hr_sends_first(sends)->at < tick) {
    hr_sends_drop_first(sends);
  }
}
