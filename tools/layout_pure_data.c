/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* A patch is a list of objects, numbered from 0, and of the cords between them.
 * The pads stand on the left as on the page of the other layouts; what works
 * behind them stands on the right. A pad named "fork" is pressed by a bang sent
 * to hr-fork, everything that is told is sent to hr-state, and hr-connect takes
 * "connect 127.0.0.1 9771", say: a patch of your own needs no part of this one. */

#include "tools/layout.h"

#include <stdarg.h>
#include <string.h>

enum {
  UNIT = 44,
  BEHIND = HR_LAYOUT_COLUMNS * UNIT + 40, ///< Where the works begin
  WORK_WIDTH = 220,
  WORK_HEIGHT = 24
};

typedef struct {
  FILE* file;
  unsigned objects; ///< So far
  unsigned column;  ///< Of the works
  unsigned row;
} Patch;

/** Write one object, "obj", "msg" or such, at a place. Returns its number. */
static unsigned add_at(Patch* patch, const char* type, unsigned x, unsigned y, const char* format,
                       va_list args)
{
  fprintf(patch->file, "#X %s %u %u ", type, x, y);
  vfprintf(patch->file, format, args);
  fputs(";\n", patch->file);
  return patch->objects++;
}

__attribute__((format(printf, 5, 6))) static unsigned
add_face(Patch* patch, const char* type, unsigned x, unsigned y, const char* format, ...)
{
  va_list args;
  va_start(args, format);
  const unsigned number = add_at(patch, type, x, y, format, args);
  va_end(args);
  return number;
}

/** Below the last one of the works. */
__attribute__((format(printf, 3, 4))) static unsigned add(Patch* patch, const char* type,
                                                          const char* format, ...)
{
  enum { ROWS = 36 };
  va_list args;
  va_start(args, format);
  const unsigned number = add_at(patch, type, BEHIND + patch->column * WORK_WIDTH,
                                 10 + patch->row * WORK_HEIGHT, format, args);
  va_end(args);
  patch->row = (patch->row + 1) % ROWS;
  patch->column += patch->row == 0;
  return number;
}

static void connect(Patch* patch, unsigned from, unsigned outlet, unsigned to, unsigned inlet)
{
  fprintf(patch->file, "#X connect %u %u %u %u;\n", from, outlet, to, inlet);
}

/** Connect an outlet to the first inlet of `to`, and go on from there. */
static unsigned follow(Patch* patch, unsigned from, unsigned outlet, unsigned to)
{
  connect(patch, from, outlet, to, 0);
  return to;
}

/** Write an address as the arguments of oscformat: "/hr/1/fork" is "hr 1 fork". */
static const char* words(const char* address, char text[64])
{
  size_t size = 0;
  for (++address; *address && size < 63; ++address) {
    text[size] = *address;
    if (text[size] == '/') {
      text[size] = ' ';
    }
    ++size;
  }
  text[size] = '\0';
  return text;
}

/** A text as one symbol of a message. */
static const char* symbol(const char* text, char escaped[64])
{
  size_t size = 0;
  for (; *text && size < 62; ++text) {
    if (strchr(" ,;$", *text)) {
      escaped[size++] = '\\';
    }
    escaped[size++] = *text;
  }
  escaped[size] = '\0';
  return escaped;
}

static void write_network(Patch* patch, unsigned instance)
{
  const unsigned load = add(patch, "obj", "loadbang");
  const unsigned address = follow(patch, load, 0, add(patch, "msg", "connect 127.0.0.1 9770"));
  const unsigned packets = add(patch, "obj", "r hr-packet");
  const unsigned prepend = follow(patch, packets, 0, add(patch, "obj", "list prepend send"));
  const unsigned trim = follow(patch, prepend, 0, add(patch, "obj", "list trim"));
  const unsigned socket = follow(patch, trim, 0, add(patch, "obj", "netsend -u -b"));
  connect(patch, address, 0, socket, 0);
  const unsigned other =
      follow(patch, add(patch, "obj", "r hr-connect"), 0, add(patch, "obj", "t b a b"));
  connect(patch, follow(patch, other, 2, add(patch, "msg", "disconnect")), 0, socket, 0);
  connect(patch, other, 1, socket, 0);
  const unsigned parse = add(patch, "obj", "oscparse");
  connect(patch, socket, 1, parse, 0);
  const unsigned told = follow(patch, parse, 0, add(patch, "obj", "list trim"));
  connect(patch, told, 0, add(patch, "obj", "s hr-state"), 0);

  // Subscribe at first, to another plugin, in good time before the lease ends, and after silence.
  const unsigned ask = add(patch, "obj", "oscformat hr subscribe");
  connect(patch, ask, 0, add(patch, "obj", "s hr-packet"), 0);
  connect(patch, other, 0, ask, 0);
  connect(patch, follow(patch, load, 0, add(patch, "obj", "delay 200")), 0, ask, 0);
  connect(patch, follow(patch, load, 0, add(patch, "obj", "metro %d", HR_LAYOUT_RENEW_S * 1000)), 0,
          ask, 0);
  const unsigned heard = add(patch, "obj", "r hr-state");
  const unsigned any = follow(patch, heard, 0, add(patch, "obj", "t b b"));
  const unsigned silence = add(patch, "obj", "delay %d", HR_LAYOUT_SILENCE_S * 1000);
  connect(patch, any, 0, silence, 0);
  connect(patch, load, 0, silence, 0);
  connect(patch, silence, 0, ask, 0);
  connect(patch, silence, 0, silence, 0);
  connect(patch, follow(patch, any, 1, add(patch, "msg", "1")), 0, add(patch, "obj", "s hr-link"),
          0);
  connect(patch, follow(patch, silence, 0, add(patch, "msg", "0")), 0,
          add(patch, "obj", "s hr-link"), 0);

  const unsigned hr =
      follow(patch, add(patch, "obj", "r hr-state"), 0, add(patch, "obj", "route hr"));
  const unsigned number = follow(patch, hr, 0, add(patch, "obj", "route %u", instance));
  const unsigned state = follow(patch, number, 0, add(patch, "obj", "route state"));
  connect(patch, state, 0, add(patch, "obj", "s hr-items"), 0);
}

/** Take one value of an item to `to`. */
static void write_listener(Patch* patch, const HrLayoutControl* found, unsigned to)
{
  const unsigned items = add(patch, "obj", "r hr-items");
  unsigned item = follow(patch, items, 0, add(patch, "obj", "route %s", found->control->item));
  if (found->slot) {
    item = follow(patch, item, 0, add(patch, "obj", "route %d", found->slot));
  }
  // Of a slot its own number is taken off already.
  const unsigned skipped = found->value - (found->slot ? 1 : 0);
  if (skipped) {
    const unsigned split = follow(patch, item, 0, add(patch, "obj", "list split %u", skipped));
    item = add(patch, "obj", "list split 1");
    connect(patch, split, 1, item, 0);
  } else {
    item = follow(patch, item, 0, add(patch, "obj", "list split 1"));
  }
  if (found->control->text) {
    char text[64];
    item = follow(patch, item, 0, add(patch, "obj", "route symbol"));
    item =
        follow(patch, item, 0, add(patch, "obj", "select %s", symbol(found->control->text, text)));
    connect(patch, follow(patch, item, 0, add(patch, "msg", "1")), 0, to, 0);
    connect(patch, follow(patch, item, 1, add(patch, "msg", "0")), 0, to, 0);
  } else {
    connect(patch, item, 0, to, 0);
  }
}

static void write_pad(Patch* patch, const HrLayoutControl* found)
{
  const HrControl* const control = found->control;
  const unsigned x = (unsigned)control->column * UNIT;
  const unsigned y = (unsigned)control->row * UNIT;
  char text[64];
  unsigned pad;
  if (control->text && strstr(control->text, HR_LAYOUT_TIME)) {
    // No clock that knows the time of day here: the name is typed.
    add_face(patch, "text", x, y, "%s:", control->label);
    pad = add_face(patch, "symbolatom", x, y + 24, "10 0 0 0 - hr-%s -", control->name);
  } else {
    pad = add_face(patch, "obj", x, y,
                   "bng 40 100 50 0 empty hr-%s %s 2 52 0 11 #%06x #000000 #000000", control->name,
                   symbol(control->label, text), (unsigned)control->colour);
    if (control->text) {
      pad = follow(patch, pad, 0, add(patch, "msg", "symbol %s", symbol(control->text, text)));
    }
  }
  const unsigned format =
      follow(patch, pad, 0, add(patch, "obj", "oscformat %s", words(found->address, text)));
  connect(patch, format, 0, add(patch, "obj", "s hr-packet"), 0);
  if (found->slot) {
    write_listener(
        patch, found,
        add_face(patch, "symbolatom", x, y + 62, "10 0 0 0 - - hr-%s-name", control->name));
  } else if (*found->item) {
    write_listener(patch, found,
                   add_face(patch, "obj", x + 44, y,
                            "tgl 20 0 empty empty empty 2 8 0 10 #ffffff #000000 #000000 0 1"));
  }
}

static void write_label(Patch* patch, const HrLayoutControl* found)
{
  const HrControl* const control = found->control;
  const unsigned x = (unsigned)control->column * UNIT;
  const unsigned y = (unsigned)control->row * UNIT;
  if (!*found->item) {
    add_face(patch, "obj", x, y, "tgl 20 0 empty hr-link %s 24 10 0 11 #ffffff #000000 #000000 0 1",
             control->name);
    return;
  }
  add_face(patch, "text", x, y, "%s", control->name);
  write_listener(patch, found,
                 found->type == 's'
                     ? add_face(patch, "symbolatom", x, y + 18, "%d 0 0 0 - - hr-%s-shown",
                                control->columns * 5, control->name)
                     : add_face(patch, "floatatom", x, y + 18, "%d 0 0 0 - - hr-%s-shown",
                                control->columns * 5, control->name));
}

HrStatus hr_layout_write_pure_data(unsigned instance, FILE* file)
{
  Patch patch = {file, 0, 0, 0};
  fprintf(file, "#N canvas 40 40 %d %d 12;\n", HR_LAYOUT_COLUMNS * UNIT, HR_LAYOUT_ROWS * UNIT);
  write_network(&patch, instance);
  for (size_t i = 0; i < hr_layout_count(); ++i) {
    HrLayoutControl found;
    if (!hr_layout_find(i, instance, &found) || found.after_ticks) {
      continue;
    }
    if (found.control->verb) {
      write_pad(&patch, &found);
    } else {
      write_label(&patch, &found);
    }
  }
  return HR_OK;
}
