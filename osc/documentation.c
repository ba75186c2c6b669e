/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/allow_list.h"
#include "osc/dispatch.h"
#include "osc/feedback.h"
#include "osc/inbox.h"
#include "osc/packet.h"
#include "osc/pattern.h"
#include "osc/rate_limit.h"
#include "osc/request_memory.h"
#include "osc/schedule.h"
#include "osc/socket.h"
#include "osc/subscribers.h"
#include "osc/table.h"
#include "osc/writer.h"

#include <string.h>

static void write_opening(FILE* file)
{
  fprintf(
      file,
      "<!-- Made by hr_osc_write_documentation() from the table in osc/table.c. -->\n"
      "\n"
      "# HalfRemembered over OSC\n"
      "\n"
      "Everything the plugin does can be asked of it by OSC messages over UDP, from TouchOSC, "
      "Open Stage Control,\nPure Data, SuperCollider or a shell, and it tells what is true to "
      "all who subscribe.\n"
      "\n"
      "## First steps\n"
      "\n"
      "Load the plugin, then, in a terminal:\n"
      "\n"
      "    halfremembered osc /hr/1/fork verse\n"
      "    halfremembered osc /hr/1/switch main\n"
      "\n"
      "This shows the answers, which go back to whoever sent. What is told to all who subscribe is "
      "shown by oscdump;\noscsend sends without waiting for an answer:\n"
      "\n"
      "    oscdump 9000 &\n"
      "    oscsend localhost %d /hr/subscribe i 9000\n"
      "    oscsend localhost %d /hr/1/fork s verse\n"
      "\n"
      "The plugin listens on 127.0.0.1, on the first free UDP port from %d up (from "
      "`$HR_OSC_PORT`, where it is set).\nAll plugins of one host share the port. It is shown "
      "in the host as a property, and stands in the file\n"
      "`$XDG_RUNTIME_DIR/halfremembered/osc-<pid>.url`, or in `/tmp/halfremembered-<uid>` where "
      "that variable is not set.\n"
      "\n"
      "**From other machines**, such as a tablet, it is reached only if two variables are set "
      "where the host is started:\n"
      "\n"
      "    HR_OSC_LISTEN=0.0.0.0 HR_OSC_ALLOW=192.168.1.0/24,10.0.0.7 ardour\n"
      "\n"
      "The first is the IPv4 address of this machine to listen on, `0.0.0.0` for all of them; "
      "the second, whom to answer:\naddresses and prefixes, at most %d. With either one missing "
      "or wrong only this machine is answered, and the host's log\nsays why. A packet from "
      "anybody else is dropped unread, counted (`/hr/counters`), and never answered. There is "
      "no\npassword and nothing is encrypted: allow only a network that is yours. Answers come "
      "from the address that was asked.\n"
      "\n"
      "**To be found by itself**, it is announced by zeroconf as a service of the type "
      "`_osc._udp` whenever the Avahi daemon\nruns, and only where it can be reached: on this "
      "machine, or, with `HR_OSC_LISTEN`, on the network of that address.\n`avahi-browse -rt "
      "_osc._udp` shows it, and so do TouchOSC and others that look for such services.\n"
      "\n"
      "It speaks IPv4 only.\n"
      "\n",
      HR_OSC_PORT_DEFAULT, HR_OSC_PORT_DEFAULT, HR_OSC_PORT_DEFAULT, HR_OSC_ALLOWED_MAX);
}

static void write_addressing(FILE* file)
{
  fputs("## Which instance\n"
        "\n"
        "`<instance>` in an address is one of\n"
        "\n"
        "- a number: `/hr/1/fork` (`/hr/instances` lists them),\n"
        "- the name of its tree: `/hr/Piano/fork`, with `_` for a space and for each of "
        "`# * , / ? [ ] { }`,\n"
        "- a pattern: `/hr/*/stop` for all, `/hr/[12]/stop` for the first two.\n"
        "\n"
        "## Arguments\n"
        "\n"
        "| written | is | send as OSC |\n"
        "| --- | --- | --- |\n"
        "| text | UTF-8, no control characters | `s` (also `S`, `c`) |\n"
        "| whole | a whole number | `i`, or `T` for 1 and `F` for 0; `f` and `d` where it has no "
        "fraction |\n"
        "| number | a number | `f`, `d`, `i` |\n"
        "| branch | a branch by name, by number, or by a text such as `#7` | `s`, `i`, `f` |\n"
        "| position | a bar as a number, where 5.5 is the middle of bar 5; a text `bar.beat`, such "
        "as `5.3`, or the name of a mark; ticks as `h`, or a text such as `123t` | `i`, `f`, `h`, "
        "`s` |\n"
        "| MIDI | one whole message | `m`, `b`, or up to three bytes as `i`; behind fewer than "
        "three, a position is `h` or `s` |\n"
        "| ticks | musical time, 1935360 to the quarter note | `h` |\n"
        "\n"
        "What is sent to you has the same types: whole as `i` (as `h` beyond 32 bits), number as "
        "`f` (as `d` beyond 2^24), ticks\nand large counts as `h`.\n"
        "\n"
        "`quantum`, `standing` and `tempo/source` also take the number of a word, from 0 in the "
        "order in which the words\nstand below; for `quantum`, 4, 5 and 6 are 2, 4 and 8 bars.\n"
        "\n"
        "`N` and `I` count as nothing sent; further arguments than a command knows are ignored; "
        "other types (time\ntags, arrays), and MIDI where none is taken, are an error.\n"
        "\n"
        "**Buttons.** Pads send a number on press and another on release; each command says what "
        "it makes of a first number:\n"
        "\n"
        "| kind | a first number means |\n"
        "| --- | --- |\n"
        "| button | 0 is the release and does nothing; any other is the press, and the arguments "
        "follow it |\n"
        "| on/off | 0 off, any other on; without a number it changes over |\n"
        "| value | the argument itself |\n"
        "| question | the argument itself; changes nothing |\n"
        "\n"
        "Open Stage Control sends its `preArgs` first and the button's value last: texts followed "
        "by one 0 (or `F`) at the end\nare a release and do nothing. Set `on` to `null` or the "
        "mode to `tap`, so that the press sends the texts alone.\n"
        "\n",
        file);
}

static const char* type_word(char code)
{
  switch (code) {
  case 's':
    return "text";
  case 'i':
    return "whole";
  case 'f':
  case 'd':
    return "number";
  case 'h':
    return "ticks";
  case 'b':
    return "branch";
  case 'p':
    return "position";
  case 'm':
    return "MIDI";
  default:
    return NULL;
  }
}

/** Write "name:s? at:p?" as "name (text, optional), at (position, optional)". */
static void write_values(FILE* file, const char* values)
{
  if (!*values) {
    fputs("–", file);
  }
  while (*values) {
    const size_t size = strcspn(values, " ");
    const size_t name = strcspn(values, ":? ");
    const char* word = values[name] == ':' ? type_word(values[name + 1]) : NULL;
    const bool optional = values[size - 1] == '?';
    fprintf(file, "%.*s", (int)name, values);
    if (word || optional) {
      fprintf(file, " (%s%s%s)", word ? word : "", word && optional ? ", " : "",
              optional ? "optional" : "");
    }
    values += size;
    while (*values == ' ') {
      ++values;
    }
    fputs(*values ? ", " : "", file);
  }
}

static const char* kind_word(HrCommandKind kind)
{
  switch (kind) {
  case HR_COMMAND_TRIGGER:
    return "button";
  case HR_COMMAND_TOGGLE:
    return "on/off";
  case HR_COMMAND_VALUE:
    return "value";
  case HR_COMMAND_QUERY:
    return "question";
  }
  return "";
}

static void write_commands(FILE* file, HrOscRowType type)
{
  fputs("| address | kind | arguments | what it does | rows of the answer |\n"
        "| --- | --- | --- | --- | --- |\n",
        file);
  const size_t count = hr_osc_row_count();
  for (size_t i = 0; i < count; ++i) {
    HrOscRow row;
    hr_osc_row(i, &row);
    if (row.type == type) {
      fprintf(file, "| `%s` | %s | ", row.address, kind_word(row.kind));
      write_values(file, row.arguments);
      fprintf(file, " | %s | ", row.summary);
      write_values(file, row.answer);
      fputs(" |\n", file);
    }
  }
  fputs("\n", file);
}

static void write_feedback(FILE* file)
{
  fprintf(
      file,
      "## What you are told\n"
      "\n"
      "A subscriber is an IP address and a port: several controllers, also behind one address, "
      "do not disturb each other.\nThere is room for %d. After `/hr/subscribe` (or "
      "`/hr/refresh`) comes the whole state, from `/hr/state/begin` to\n`/hr/state/end`; then "
      "each item again whenever it changes, whoever changed it. When an instance is loaded or "
      "removed,\nor goes to another tree, the whole state comes again by itself; after the "
      "last one is gone, one of 0 instances.\n"
      "Items marked with a * change all the time and come at most ten times a second, those with "
      "** as often as you like:\n`/hr/position/rate`. All of it comes again every second "
      "though nothing changed (of many branches, %d at a time),\nso that a lost packet "
      "does no harm.\n"
      "\n"
      "**After a restart of the host** you are told on without doing anything, if it gets the "
      "same port: subscriptions are kept\nbeside the URL file until their leases end. "
      "Controllers that cannot subscribe stand in `$HR_OSC_TARGETS`, as in\n"
      "`10.0.0.5:9000,10.0.0.6:9000`, and are told for ever.\n"
      "\n"
      "| address | values | meaning |\n"
      "| --- | --- | --- |\n",
      HR_OSC_SUBSCRIBERS_MAX, HR_OSC_ROUND_BRANCHES);
  size_t item_count = 0;
  const HrOscItem* items = hr_osc_items(&item_count);
  const size_t count = hr_osc_row_count();
  for (size_t i = 0; i < count; ++i) {
    HrOscRow row;
    hr_osc_row(i, &row);
    if (row.type != HR_OSC_ROW_FEEDBACK) {
      continue;
    }
    HrOscPace pace = HR_OSC_AT_ONCE;
    for (size_t j = 0; j < item_count; ++j) {
      pace = strcmp(items[j].key, row.verb) ? pace : items[j].pace;
    }
    fprintf(file, "| `%s`%s | ", row.address,
            pace == HR_OSC_PACED      ? " *"
            : pace == HR_OSC_POSITION ? " **"
                                      : "");
    write_values(file, row.arguments);
    fprintf(file, " | %s |\n", row.summary);
  }
  fputs("\n", file);
}

static void write_answers(FILE* file)
{
  fputs("## Answers\n"
        "\n"
        "Every message is answered, to the address and port it came from, by exactly one closing "
        "message:\n"
        "\n"
        "    /reply <address> \"ok\"\n"
        "    /error <address> <code> <text>\n"
        "\n"
        "`<address>` is the one you sent (with a pattern, each instance answers under its own "
        "number; "
        "a packet that is refused\nas a whole, as it is no OSC or beyond a bound, under `/`). The "
        "rows of an answer, where there are any, come before\nit, one message each:\n"
        "\n"
        "    /reply <address> \"row\" <values>\n"
        "\n"
        "A text of more than 700 bytes at the end of a row, such as a long note's, goes on in the "
        "next row, whose other\nvalues are the same.\n"
        "\n"
        "A branch made with a name that is taken gets a number behind it, as in `verse 2`. A "
        "`fork` is made a moment after its\nanswer, which holds the name asked for, or an empty "
        "one: its number is right, and `/hr/<number>/branch` tells its name\nto subscribers.\n"
        "\n"
        "After an error nothing has changed, and its text says what to do. The codes:\n"
        "\n"
        "| code | meaning |\n"
        "| --- | --- |\n",
        file);
  for (int code = HR_ERR_ARGUMENT; code <= HR_ERR_MAP_FULL; ++code) {
    fprintf(file, "| %d | %s |\n", code, hr_strerror((HrStatus)code));
  }
  fprintf(
      file,
      "\n"
      "**Sending twice, running once.** A last argument `\"id=...\"` (at most %d bytes, "
      "`id=` included) names the request. A second\nrequest with the same id from the same "
      "address and port is not run again but answered as the first one was (of an\nanswer in "
      "several datagrams, with the last of them); so a sender that hears no answer may simply "
      "send again. The last %d\nids are remembered. The id comes back as the last value of each "
      "message of the answer. So a last text that begins\nwith `id=` is never a name.\n"
      "\n",
      HR_OSC_ID_MAX, HR_OSC_REQUESTS_MAX);
}

static void write_bounds(FILE* file)
{
  fprintf(
      file,
      "## Bundles, times and bounds\n"
      "\n"
      "The messages of a bundle run in their order, and so do the packets of one sender. Senders "
      "take turns: where one's commands\ntake long, the others' come in between. What finds no "
      "room to wait is refused with error %d: nothing of that packet was done.\n"
      "\n"
      "A bundle whose time tag lies ahead waits until then, for at most an hour; %d bundles may "
      "wait, of %d KiB in all.\nOne whose time is past runs at once. What waits waits no longer "
      "and "
      "no shorter when the clock of this machine is set.\n"
      "\n"
      "| | at most |\n"
      "| --- | --- |\n"
      "| bytes of a packet to the plugin | %d |\n"
      "| packets of one sender that wait for their turn | %d, of %d KiB |\n"
      "| the same of all | %d MiB |\n"
      "| bytes of a datagram from the plugin; several messages come in one bundle | %d |\n"
      "| messages in a packet | %d |\n"
      "| bundles inside one another | %d |\n"
      "| arguments of a message | %d |\n"
      "| bytes of an address | %d |\n"
      "| commands that a pattern stands for, on each instance | %d |\n"
      "| characters of the instance and of the command in a pattern | %d |\n"
      "| packets a second from one IP address and port, and at once | %d, %d |\n"
      "\n"
      "Packets beyond the last are dropped, and not answered, as are those that come while the "
      "socket is full: `/hr/counters` tells\nhow many. How long names, notes and sent messages may "
      "be "
      "is told by `stats`.\n"
      "\n"
      "**Patterns.** The instance and the command may be OSC 1.0 address patterns, of `?`, `*`, "
      "`[ ]`, `[! ]` and `{ , }`:\n`/hr/*/{record,thru}`. Each command of each instance that is "
      "meant runs, and answers under its own address. A `*` does\nnot reach over a `/`.\n",
      HR_ERR_BUSY, HR_OSC_SCHEDULE_MAX, HR_OSC_SCHEDULE_BYTES_MAX >> 10, HR_OSC_PACKET_MAX,
      HR_OSC_LANE_MAX, HR_OSC_LANE_BYTES_MAX >> 10, HR_OSC_INBOX_BYTES_MAX >> 20,
      HR_OSC_DATAGRAM_MAX, HR_OSC_MESSAGES_MAX, HR_OSC_DEPTH_MAX, HR_OSC_ARGUMENTS_MAX,
      HR_OSC_ADDRESS_MAX, HR_OSC_MATCHES_MAX, HR_OSC_PATTERN_MAX, HR_OSC_RATE_MAX,
      HR_OSC_RATE_BURST_MAX);
}

HrStatus hr_osc_write_documentation(FILE* file)
{
  write_opening(file);
  write_addressing(file);
  fputs("## Playing\n\n", file);
  write_commands(file, HR_OSC_ROW_COMMAND);
  fputs("## Finding and following the plugin\n\n", file);
  write_commands(file, HR_OSC_ROW_OWN);
  write_feedback(file);
  write_answers(file);
  write_bounds(file);
  return fflush(file) || ferror(file) ? HR_ERR_IO : HR_OK;
}
