/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* The pictures of the manual are drawn from the same table as the layouts, so
 * they show what is there. A song of two branches lies in the first slots. */

#include "tools/layout.h"

#include <string.h>

/** What a control shows while the picture is taken. */
static const struct {
  const char* name;
  const char* text;
  uint32_t colour;
  bool lit;
} scene[] = {
    {"branch", "main", 0xF0F0F0, false},         {"position", "37.2", 0xF0F0F0, false},
    {"pending", "next: verse", 0xFFB020, false}, {"beats", "in 2.8", 0xFFB020, false},
    {"link", "LINK", 0xF0F0F0, false},           {"tree", "Piano", 0x909090, false},
    {"tempo", "bpm 120.0", 0x909090, false},     {"quantum", "bar", 0x909090, false},
    {"slot1", "main", 0x40A0FF, true},           {"slot2", "verse", 0xFFB020, false},
    {"record", "RECORD", 0xFF4030, true},        {"quantum_bar", "BAR", 0xFFB020, true},
};

static void write_box(const HrLayoutControl* found, FILE* file, const char* text, uint32_t colour,
                      double opacity)
{
  enum { GAP = 4 };
  const HrControl* const control = found->control;
  const int x = control->column * HR_LAYOUT_UNIT;
  const int y = control->row * HR_LAYOUT_UNIT;
  const int w = control->columns * HR_LAYOUT_UNIT;
  const int h = control->rows * HR_LAYOUT_UNIT;
  if (control->verb) {
    fprintf(file,
            "<rect x='%d' y='%d' width='%d' height='%d' rx='8' fill='#%06x' fill-opacity='%.2f' "
            "stroke='#%06x'/>\n",
            x + GAP, y + GAP, w - 2 * GAP, h - 2 * GAP, (unsigned)colour, opacity,
            (unsigned)colour);
  }
  fprintf(file, "<text x='%d' y='%d' fill='#%06x'>", x + w / 2, y + h / 2 + 8,
          !control->verb  ? (unsigned)colour
          : opacity > 0.8 ? 0x000000U
                          : 0xFFFFFFU);
  hr_layout_write_xml_text(text, file);
  fputs("</text>\n", file);
}

static void draw(const HrLayoutControl* found, FILE* file)
{
  const HrControl* const control = found->control;
  for (size_t i = 0; i < sizeof scene / sizeof *scene; ++i) {
    if (!strcmp(scene[i].name, control->name)) {
      write_box(found, file, scene[i].text, scene[i].colour, scene[i].lit ? 1.0 : 0.3);
      return;
    }
  }
  const double opacity = found->slot ? 0.05 : *found->item ? 0.3 : 0.6;
  write_box(found, file, !control->verb || found->slot ? "" : control->label, control->colour,
            opacity);
}

static void begin_picture(FILE* file, const char* ground)
{
  fprintf(file,
          "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' font-family='sans-serif' "
          "font-size='22' text-anchor='middle'>\n"
          "<rect width='100%%' height='100%%' fill='%s'/>\n",
          HR_LAYOUT_COLUMNS * HR_LAYOUT_UNIT, HR_LAYOUT_ROWS * HR_LAYOUT_UNIT, ground);
}

HrStatus hr_layout_write_picture(unsigned instance, FILE* file)
{
  begin_picture(file, "#000000");
  for (size_t i = 0; i < hr_layout_count(); ++i) {
    HrLayoutControl found;
    if (hr_layout_find(i, instance, &found)) {
      draw(&found, file);
    }
  }
  fputs("</svg>\n", file);
  return HR_OK;
}

/** As Pure Data draws them: bangs, toggles and boxes on white. */
static void draw_patch(const HrLayoutControl* found, FILE* file)
{
  const HrControl* const control = found->control;
  const int x = control->column * HR_LAYOUT_UNIT + 6;
  const int y = control->row * HR_LAYOUT_UNIT + 6;
  if (!control->verb && !*found->item) {
    fprintf(file,
            "<rect x='%d' y='%d' width='28' height='28' fill='white' stroke='black'/>"
            "<text x='%d' y='%d'>%s</text>\n",
            x, y, x + 36, y + 18, control->name);
    return;
  }
  if (!control->verb) {
    fprintf(file,
            "<text x='%d' y='%d'>%s</text>"
            "<rect x='%d' y='%d' width='%d' height='24' fill='#f4f4f4' stroke='black'/>\n",
            x, y + 16, control->name, x, y + 24, control->columns * HR_LAYOUT_UNIT - 16);
    return;
  }
  fprintf(file,
          "<rect x='%d' y='%d' width='58' height='58' fill='#%06x' stroke='black'/>"
          "<circle cx='%d' cy='%d' r='28' fill='none' stroke='black'/>"
          "<text x='%d' y='%d'>%s</text>\n",
          x, y, (unsigned)control->colour, x + 29, y + 29, x, y + 78, control->label);
  if (found->slot) {
    fprintf(file, "<rect x='%d' y='%d' width='112' height='24' fill='#f4f4f4' stroke='black'/>\n",
            x, y + 88);
  } else if (*found->item) {
    fprintf(file, "<rect x='%d' y='%d' width='28' height='28' fill='white' stroke='black'/>\n",
            x + 64, y);
  }
}

HrStatus hr_layout_write_patch_picture(unsigned instance, FILE* file)
{
  begin_picture(file, "#ffffff");
  fputs("<g font-size='15' text-anchor='start'>\n", file);
  for (size_t i = 0; i < hr_layout_count(); ++i) {
    HrLayoutControl found;
    if (hr_layout_find(i, instance, &found) && !found.after_ticks) {
      draw_patch(&found, file);
    }
  }
  fputs("</g>\n</svg>\n", file);
  return HR_OK;
}
