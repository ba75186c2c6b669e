/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/table.h"
#include "osc/address.h"
#include "osc/feedback.h"
#include "osc/own.h"
#include "osc/slots.h"
#include "osc/text.h"

#include <string.h>

typedef struct {
  HrCommandInfo info;
  HrStatus (*run)(HrOscRequest* request, HrError* error);
} OwnRow;

static const OwnRow own_rows[] = {
    {{"ping", HR_COMMAND_QUERY, "", "program:s version:s protocol:i instances:i url:s state:s",
      "Is anybody there? Answers at once, whatever is loaded. The state is the word ready, "
      "or says what keeps the store of an instance from working."},
     hr_osc_run_ping},
    {{"instances", HR_COMMAND_QUERY, "", "number:i tree:s branch:s running:i",
      "The plugins loaded in this host, one row each."},
     hr_osc_run_instances},
    {{"help", HR_COMMAND_QUERY, "verb:s?", "address:s arguments:s summary:s",
      "This table, or the one row asked for."},
     hr_osc_run_help},
    {{"counters", HR_COMMAND_QUERY, "", "foreign:i flooded:i lost:i overrun:i",
      "Packets dropped since the endpoint began: from addresses that are not allowed, from senders "
      "of too many; datagrams to you and others that found no room; and packets that came while "
      "the socket was full."},
     hr_osc_run_counters},
    {{"subscribe", HR_COMMAND_VALUE, "port:i? lease:i?", "port:i lease:i",
      "Be told the whole state now, and everything that changes, for `lease` seconds (60, at most "
      "3600). Send it again before they are over to stay subscribed. `port`, if not 1, is where to "
      "send to on your machine; otherwise it goes to the port you send from."},
     hr_osc_run_subscribe},
    {{"unsubscribe", HR_COMMAND_VALUE, "port:i?", "", "Stop being told."}, hr_osc_run_unsubscribe},
    {{"refresh", HR_COMMAND_VALUE, "port:i?", "",
      "Be told the whole state again. Subscribers only."},
     hr_osc_run_refresh},
    {{"position/rate", HR_COMMAND_VALUE, "hertz:f port:i?", "",
      "Be told positions so many times a second, 0 to 60 (10 unless you say). Subscribers only."},
     hr_osc_run_position_rate},
};

typedef struct {
  const char* address;
  const char* verb;
  const char* values; ///< NULL: the columns of the command `list`
  const char* summary;
} FeedbackRow;

static const FeedbackRow begin_row = {"/hr/state/begin", "begin", "sequence:i instances:i",
                                      "The whole state follows. Forget what you knew. One begin "
                                      "right after another means: start over."};

static const FeedbackRow last_rows[] = {
    {"/hr/<number>/state/slot", "slot", HR_OSC_SLOT_COLUMNS,
     "One of the first 16 visible branches, for a grid of pads: number and name (0 and empty where "
     "there is none), state (0 empty, 1 there, 2 current, 3 pending) and colour (rrggbb, always "
     "the same for one branch). All in the whole state, then each when it changes."},
    {"/hr/<number>/slot/<n>", "slot/<n>", "light:f",
     "The same as the value of the pad: 1 current, 0.5 pending, 0.25 there, 0 empty."},
    {"/hr/<number>/branch", "branch", NULL,
     "One branch of the instance's tree: all of them (the newest 2048) in the whole state, then "
     "each when it is made, renamed, hidden or restored. Its head and events are those of that "
     "moment; `head` above follows the current branch."},
    {"/hr/state/end", "end", "sequence:i",
     "The whole state is complete. From here on come changes."},
    {"/hr/state/heartbeat", "heartbeat", "sequence:i instances:i",
     "Every two seconds: we are there. If `sequence` is not that of the last whole state you got, "
     "you missed one: send /hr/refresh."},
};

enum {
  OWN_COUNT = sizeof own_rows / sizeof own_rows[0],
  LAST_COUNT = sizeof last_rows / sizeof last_rows[0]
};

/** The pads, which the dispatcher makes of the command `slot`. */
static const HrCommandInfo pad_info = {
    "slot/<n>", HR_COMMAND_TRIGGER, "", "number:i name:s",
    "Pad n, from 1: go to the n-th of the visible branches at the next quantum; held for 600 ms, "
    "hear it from its start as well, when it is let go"};

/** What a verb that switches something is echoed as. */
static const char echo_summary[] =
    "Echo for the control that sends to this address: 1 on, 0 off, whoever changed it.";

static size_t echo_count(void)
{
  size_t count = 0;
  size_t echoes = 0;
  const HrOscItem* const items = hr_osc_items(&count);
  for (size_t i = 0; i < count; ++i) {
    echoes += items[i].echo != NULL;
  }
  return echoes;
}

static size_t item_count(void)
{
  size_t count = 0;
  hr_osc_items(&count);
  return count;
}

size_t hr_osc_row_count(void)
{
  return OWN_COUNT + hr_command_count() + 2 + item_count() + echo_count() + LAST_COUNT;
}

/** Fill in the row of a command; `instance` is the part of its address between
 * the prefix and the verb. */
static void fill_command(const HrCommandInfo* info, const char* instance, HrOscRow* row)
{
  *row = (HrOscRow){.type = HR_OSC_ROW_COMMAND,
                    .verb = info->verb,
                    .kind = info->kind,
                    .arguments = info->arguments,
                    .answer = info->answer,
                    .summary = info->summary};
  snprintf(row->address, sizeof row->address, HR_OSC_PREFIX "%s%s", instance, info->verb);
}

static void fill_own(const OwnRow* own, HrOscRow* row)
{
  fill_command(&own->info, "", row);
  row->type = HR_OSC_ROW_OWN;
  row->run = own->run;
}

static void fill_item(const HrOscItem* item, HrOscRow* row)
{
  *row = (HrOscRow){.type = HR_OSC_ROW_FEEDBACK,
                    .verb = item->key,
                    .arguments = item->values,
                    .answer = "",
                    .summary = item->summary};
  snprintf(row->address, sizeof row->address, HR_OSC_PREFIX "<number>/state/%s", item->key);
}

static void fill_echo(size_t index, HrOscRow* row)
{
  const HrOscItem* item = hr_osc_items(&(size_t){0});
  while (!item->echo || index--) {
    ++item;
  }
  *row = (HrOscRow){.type = HR_OSC_ROW_FEEDBACK,
                    .verb = item->echo,
                    .arguments = "on:f",
                    .answer = "",
                    .summary = echo_summary};
  snprintf(row->address, sizeof row->address, HR_OSC_PREFIX "<number>/%s", item->echo);
}

static const char* list_columns(void)
{
  const HrCommandInfo* list = hr_command_find("list");
  return list ? list->answer : "";
}

static void fill_feedback(const FeedbackRow* feedback, HrOscRow* row)
{
  *row = (HrOscRow){.type = HR_OSC_ROW_FEEDBACK,
                    .verb = feedback->verb,
                    .arguments = feedback->values ? feedback->values : list_columns(),
                    .answer = "",
                    .summary = feedback->summary};
  snprintf(row->address, sizeof row->address, "%s", feedback->address);
}

void hr_osc_row(size_t index, HrOscRow* row)
{
  if (index < OWN_COUNT) {
    fill_own(&own_rows[index], row);
    return;
  }
  index -= OWN_COUNT;

  if (index < hr_command_count()) {
    fill_command(hr_command_info(index), "<instance>/", row);
    return;
  }
  index -= hr_command_count();

  if (index == 0) {
    fill_command(&pad_info, "<instance>/", row);
    return;
  }
  index -= 1;

  if (index == 0) {
    fill_feedback(&begin_row, row);
    return;
  }
  index -= 1;

  size_t count = 0;
  const HrOscItem* items = hr_osc_items(&count);
  if (index < count) {
    fill_item(&items[index], row);
    return;
  }
  index -= count;

  if (index < echo_count()) {
    fill_echo(index, row);
    return;
  }
  fill_feedback(&last_rows[index - echo_count()], row);
}

bool hr_osc_row_find_own(const char* address, HrOscRow* row)
{
  const size_t prefix = strlen(HR_OSC_PREFIX);
  if (strncmp(address, HR_OSC_PREFIX, prefix)) {
    return false;
  }
  for (size_t i = 0; i < OWN_COUNT; ++i) {
    if (!strcmp(address + prefix, own_rows[i].info.verb)) {
      fill_own(&own_rows[i], row);
      return true;
    }
  }
  return false;
}

const HrCommandInfo* hr_osc_row_pad(void)
{
  return &pad_info;
}

const char* hr_osc_row_nearest(const char* verb)
{
  enum { TOO_FAR = 3 };

  const char* nearest = NULL;
  size_t least = TOO_FAR;
  const size_t count = OWN_COUNT + hr_command_count();
  for (size_t i = 0; i < count; ++i) {
    HrOscRow row;
    hr_osc_row(i, &row);
    const size_t distance = hr_osc_text_distance(verb, row.verb, TOO_FAR);
    // A short word is like any other short word: more must be right than wrong.
    if (distance < least && 2 * distance < strlen(row.verb)) {
      least = distance;
      nearest = row.verb;
    }
  }
  return nearest;
}
