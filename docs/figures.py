#!/usr/bin/python3
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

"""figures.py [--check] PAPER

Write the tables, charts, pictures and single figures of the paper between its comments,
from data/*.tsv beside it, and the charts and pictures themselves as figures/*.svg:

    <!-- table: DATA; command: COMMAND; measures: A | B; rows: C | D; title: TITLE; spread: WORDS -->
    <!-- chart: DATA; title: TITLE; command: COMMAND; measure: A; rows: C | D; name: NAME; spread: WORDS -->
    <!-- picture: NAME; title: TITLE -->
    <!-- end -->

and in a sentence <!-- value: DATA / ROW / MEASURE -->12 ns<!-- end -->. Only what is
before the first semicolon is needed. "spread" says what a spread is, else from the least to
the most. --check: write nothing, say what would change.
"""

import math
import os
import re
import sys
from xml.sax.saxutils import escape

# Readable in light and in dark mode.
STYLE = """<style>
  text { font: 13px system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #24292f }
  .small { font-size: 11px } .bold { font-weight: 600 } .mono { font-family: 'DejaVu Sans Mono', monospace; font-size: 11px }
  .faint { fill: #57606a } .end { text-anchor: end } .middle { text-anchor: middle }
  .page { fill: #ffffff } .bar { fill: #4c8dd6 } .ours { fill: #d9822b } .grid { stroke: #d0d7de }
  .line { stroke: #57606a; stroke-width: 1.5; fill: none } .spread { stroke: #24292f; stroke-width: 1.5 }
  .box { fill: #f6f8fa; stroke: #57606a } .blue { fill: #ddebfa; stroke: #4c8dd6 } .orange { fill: #fbe8d3; stroke: #d9822b }
  .old { fill: #eaeef2; stroke: #afb8c1 } .dashed { stroke-dasharray: 4 3 } .thick { stroke-width: 3 }
  .blueline { stroke: #4c8dd6 } .orangeline { stroke: #d9822b } .tip { fill: #57606a }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .faint { fill: #9198a1 } .page { fill: #0d1117 } .grid { stroke: #30363d }
    .line { stroke: #9198a1 } .spread { stroke: #e6edf3 } .tip { fill: #9198a1 }
    .box { fill: #161b22; stroke: #9198a1 } .blue { fill: #12294a } .orange { fill: #43290f } .old { fill: #21262d; stroke: #484f58 }
    .blueline { stroke: #4c8dd6 } .orangeline { stroke: #d9822b }
  }
</style>"""
TIP = ('<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
       '<path class="tip" d="M0 0 8 4 0 8z"/></marker></defs>')


def stop(sentence):
    sys.exit(f"figures.py: {sentence}")


# ---- The data ---------------------------------------------------------------------


class Data:
    """A table of docs/data: {row: {column: (median, least, most)}}, a column a measure and unit."""

    def __init__(self, folder, name):
        self.name = name
        self.rows, self.columns = {}, []
        for row, measure, unit, *values in read_lines(folder, name):
            column = (measure, unit)
            if column not in self.columns:
                self.columns.append(column)
            if column in self.rows.setdefault(row, {}):
                stop(f'{name}.tsv has "{row}", "{measure}" twice: empty it before it is measured anew')
            self.rows[row][column] = tuple(map(float, values))

    def column(self, wanted):
        """By measure, or, where several have it, by "measure (unit)"."""
        found = [column for column in self.columns if wanted in (column[0], f"{column[0]} ({column[1]})")]
        if len(found) != 1:
            stop(f'{self.name}.tsv has {len(found)} measures "{wanted}"')
        return found[0]

    def choose_rows(self, wanted):
        missing = [row for row in wanted if row not in self.rows]
        if missing:
            stop(f'{self.name}.tsv has no row "{missing[0]}"')
        return wanted or list(self.rows)


def read_lines(folder, name):
    path = os.path.join(folder, "data", name + ".tsv")
    if not os.path.exists(path):
        stop(f"{path} is missing: make paper-figures measures it")
    with open(path, encoding="utf-8") as file:
        return [line.rstrip("\n").split("\t") for line in file if line.strip()]


def machine(folder):
    lines = sorted({", ".join(line) for line in read_lines(folder, "machine")})
    if len(lines) != 1:
        stop("machine.tsv tells of several machines: measure all on one")
    return lines[0]


# ---- Numbers ------------------------------------------------------------------------

STEPS = {"ns": [(1, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s")],
         "us": [(1e-3, "ns"), (1, "µs"), (1e3, "ms"), (1e6, "s")],
         "ms": [(1e-6, "ns"), (1e-3, "µs"), (1, "ms"), (1e3, "s")],
         "bytes": [(1, "bytes"), (1e3, "kB"), (1e6, "MB"), (1e9, "GB"), (1e12, "TB")],
         "B": [(1, "B"), (1e3, "kB"), (1e6, "MB"), (1e9, "GB"), (1e12, "TB"), (1e15, "PB")]}


def scale(unit, value):
    """What to divide by, and the unit then."""
    steps = [step for step in STEPS.get(unit, [(1, unit)]) if abs(value) >= step[0]]
    return steps[-1] if steps else STEPS.get(unit, [(1, unit)])[0]


def digits(value):
    """Three that count."""
    if value == 0:
        return "0"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{places}f}" if abs(value) < 1000 else f"{float(f'{value:.3g}'):,.0f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def amount(unit, value):
    by, name = scale(unit, value)
    return f"{digits(value / by)} {name}".strip()


def spread(unit, values):
    """Median, and from where to where, in the median's unit."""
    by, name = scale(unit, values[0])
    median, least, most = (digits(value / by) for value in values)
    return f"{median} {name}".strip() + (f" ({least} to {most})" if least != most else "")


# ---- Charts --------------------------------------------------------------------------


def text(x, y, words, style=""):
    return f'<text x="{x:g}" y="{y:g}" class="{style}">{escape(str(words))}</text>'


def svg(width, height, parts, title):
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
                      f'viewBox="0 0 {width} {height}" role="img">', f"<title>{escape(title)}</title>", STYLE, TIP,
                      f'<rect class="page" width="{width}" height="{height}" rx="6"/>', *parts, "</svg>"]) + "\n"


def ticks(least, most, log):
    if log:
        return [10.0 ** n for n in range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)]
    step = 10.0 ** math.floor(math.log10(most))
    step = next(s for s in (step / 5, step / 2, step, 2 * step) if most / s <= 5.5)
    return [n * step for n in range(math.ceil(most / step) + 1)]


def chart(data, column, rows, title):
    """Horizontal bars, each with a line from the least to the most; the ratio's scale where
    they are far apart."""
    unit = column[1]
    values = [(row, data.rows[row][column]) for row in rows if column in data.rows[row]]
    most = max(value[2] for _, value in values)
    positive = [value[1] for _, value in values if value[1] > 0]
    log = len(positive) == len(values) and most / min(positive) > 50
    marks = ticks(min(positive) if log else 0, most, log)
    left = 24 + max(7.3 * len(row) for row, _ in values)
    width, top, step = 760, 52, 30
    right = width - 30 - max(7.0 * len(spread(unit, value)) for _, value in values)
    bottom = top + step * len(values)

    def place(value):
        if log:
            return left + (right - left) * math.log(value / marks[0]) / math.log(marks[-1] / marks[0])
        return left + (right - left) * value / marks[-1]

    parts = [text(16, 26, title, "bold")]
    parts += [f'<line class="grid" x1="{place(mark):.1f}" x2="{place(mark):.1f}" y1="{top}" y2="{bottom}"/>'
              for mark in marks]
    shown = marks[::max(1, math.ceil(len(marks) * 56 / (right - left)))]
    parts += [text(round(place(mark), 1), bottom + 18, amount(unit, mark) if unit in STEPS else digits(mark),
                   "small faint middle") for mark in shown]
    note = ", ".join(filter(None, [unit if unit not in STEPS else "", "each step ten times as much" if log else ""]))
    parts.append(text(width - 16, bottom + 36, note, "small faint end"))
    for index, (row, value) in enumerate(values):
        y = top + step * index + step / 2
        style = "ours" if re.search(r"halfremembered|\bours\b|\bhr\b", row, re.I) else "bar"
        parts.append(text(left - 8, y + 4.5, row, "end"))
        parts.append(f'<rect class="{style}" x="{left:.1f}" y="{y - 9:g}" width="{max(1.0, place(value[0]) - left):.1f}" '
                     'height="18" rx="2"/>')
        if value[1] != value[2]:
            a, b = place(value[1]), place(value[2])
            parts.append(f'<path class="spread" d="M{a:.1f} {y:g}H{b:.1f}M{a:.1f} {y - 4:g}v8M{b:.1f} {y - 4:g}v8"/>')
        parts.append(text(round(max(place(value[0]), place(value[2])) + 8, 1), y + 4.5, spread(unit, value), "small"))
    return svg(width, bottom + 46, parts, title)


# ---- Pictures --------------------------------------------------------------------------


def box(x, y, width, height, style, *lines):
    """A box with lines of text in its middle; the first is bold."""
    parts = [f'<rect class="{style}" x="{x}" y="{y}" width="{width}" height="{height}" rx="4"/>']
    begin = y + height / 2 + 4.5 - 8 * (len(lines) - 1)
    for index, line in enumerate(lines):
        parts.append(text(x + width / 2, begin + 16 * index, line, "middle " + ("bold" if index == 0 else "small faint")))
    return "\n".join(parts)


def arrow(path, style=""):
    return f'<path class="line {style}" d="{path}" marker-end="url(#tip)"/>'


def line(path, style=""):
    return f'<path class="line {style}" d="{path}"/>'


def tree_picture():
    """Name, from x, to x, y, y of the parent, on the path shown."""
    branches = [("main", 100, 640, 80, None, False), ("take 2", 260, 560, 140, 80, True),
                ("take 3", 400, 690, 200, 140, True), ("take 4", 340, 470, 260, 140, False)]
    parts = [text(16, 26, "A tree: every branch has its own events, and where it left its parent", "bold")]
    for name, begin, end, y, parent, shown in branches:
        style = "thick " + ("orangeline" if shown else "blueline")
        if parent:
            parts.append(line(f"M{begin} {parent}V{y}", style if shown else "blueline dashed"))
            parts.append(f'<circle class="tip" cx="{begin}" cy="{parent}" r="5"/>')
        parts.append(line(f"M{begin} {y}H{end}", style))
        parts += [f'<circle class="{"ours" if shown else "bar"}" cx="{x}" cy="{y}" r="3.5"/>'
                  for x in range(begin + 20, end - 5, 20)]
        parts.append(text(end + 10, y + 4.5, name, "bold"))
    parts.append(line("M100 74H260", "thick orangeline"))
    parts.append(text(100, 60, "The path of take 3: main to its first fork, take 2 to its second, then its own", "small faint"))
    parts.append(arrow("M100 300H690"))
    parts += [text(100, 318, "tick 0", "small faint"), text(690, 318, "musical time", "small faint end")]
    return svg(760, 334, parts, "A tree of branches and the path of one of them")


def pages_picture():
    parts = [text(16, 26, "The file: pages of 4096 bytes", "bold")]
    strip = [("meta 0", "orange"), ("meta 1", "orange"), ("leaf", "blue"), ("node", "box"), ("node", "box"),
             ("branch", "blue"), ("free", "old"), ("node", "box"), ("leaf", "blue"), ("node", "box")]
    for number, (name, style) in enumerate(strip):
        parts.append(box(16 + 73 * number, 44, 68, 40, style, name))
        parts.append(text(50 + 73 * number, 98, number, "small faint middle"))
    parts.append(text(16, 132, "The same pages by what refers to what", "bold"))
    parts.append(box(16, 180, 100, 48, "orange", "meta", "newer of two"))
    parts.append(box(160, 180, 120, 48, "blue", "main", "leaf: databases"))
    parts.append(box(324, 180, 120, 48, "blue", "nodes", "branch page"))
    parts += [box(486, y, 122, 48, "blue", "leaf", "keys, page numbers") for y in (148, 212)]
    parts += [box(642, y, 102, 26, "box", "node: 1 page") for y in (146, 178, 212, 244)]
    parts.append(box(324, 260, 120, 48, "blue", "branches", "leaf: 68 bytes each"))
    parts += [arrow("M116 204H158"), arrow("M280 204H322"), arrow("M280 204L322 280"), arrow("M444 204L484 176"),
              arrow("M444 204L484 234"), arrow("M608 172L640 160"), arrow("M608 172L640 190"), arrow("M608 236L640 226"),
              arrow("M608 236L640 256")]
    parts.append(text(16, 336, "A full node is 4080 bytes: with the 16 of its page header exactly one page. "
                      "Small records lie in the leaves.", "small faint"))
    return svg(760, 352, parts, "The pages of a store")


def node_picture():
    rows = [[("magic", 4), ("version", 2), ("flags", 2)], [("base tick", 8)], [("last tick", 8)],
            [("events", 4), ("words", 4)], [("wall clock", 8)], [("tempo", 8)],
            [("beats", 2), ("unit", 2), ("author", 4)], [("checksum", 8)],
            [("offset", 4), ("3", 1), ("90", 1), ("3c", 1), ("64", 1)],
            [("offset", 4), ("255", 1), ("size: 6", 3)],
            [("f0", 1), ("7d", 1), ("01", 1), ("02", 1), ("03", 1), ("f7", 1), ("0", 1), ("0", 1)]]
    notes = {0: "header: 64 bytes", 8: "a short message: one word", 9: "a longer one: a word with its size,",
             10: "and its bytes, filled up to whole words"}
    parts = [text(16, 26, "A node: header, then words of 8 bytes, used where they lie", "bold")]
    parts += [text(80 + 50 * n + 25, 50, n, "small faint middle") for n in range(8)]
    for index, row in enumerate(rows):
        y, x = 58 + 28 * index, 80
        parts.append(text(70, y + 18, 8 * index, "small faint end"))
        for name, width in row:
            style = "blue" if index < 8 else "orange" if index == 8 else "box"
            parts.append(f'<rect class="{style}" x="{x}" y="{y}" width="{50 * width}" height="26"/>')
            parts.append(text(x + 25 * width, y + 17.5, name, "small middle"))
            x += 50 * width
        if index in notes:
            parts.append(text(494, y + 18, notes[index], "small faint"))
    parts.append(text(280, 388, "... up to 502 words, 4080 bytes", "small faint middle"))
    return svg(760, 402, parts, "The bytes of a node")


def flow_picture():
    parts = [text(16, 26, "From the keyboard to the disk and back: who runs what", "bold")]
    for x, width, name in ((16, 210, "audio thread: never waits"), (242, 220, "rings: lock-free"),
                           (478, 266, "worker, OSC thread, tool: may wait")):
        parts.append(f'<rect class="box dashed" x="{x}" y="44" width="{width}" height="236" rx="8"/>')
        parts.append(text(x + width / 2, 66, name, "small faint middle"))
    parts += [box(36, 84, 170, 50, "blue", "run: record", "stamps ticks, decides"), box(36, 150, 170, 34, "blue", "run: obey"),
              box(36, 200, 170, 50, "blue", "run: replay", "plays what is due"),
              box(262, 84, 180, 50, "orange", "capture ring", "in shared memory"),
              box(262, 150, 180, 34, "orange", "messages, requests"), box(262, 200, 180, 50, "orange", "streams", "music read ahead"),
              box(498, 84, 226, 50, "blue", "drain", "many events a transaction"), box(498, 150, 226, 34, "blue", "commands"),
              box(498, 200, 226, 50, "blue", "read ahead", "words where they lie"),
              box(400, 312, 190, 44, "orange", "map of the store", "read only, pages by faults"),
              box(634, 312, 110, 44, "old", "file")]
    parts += [arrow("M206 109H260"), arrow("M442 109H496"), arrow("M496 225H444"), arrow("M260 225H208"),
              arrow("M496 162H444"), arrow("M260 162H208"), arrow("M206 173H260"), arrow("M442 173H496"),
              arrow("M545 312V252"), arrow("M634 334H592"), arrow("M724 109H734V310")]
    parts.append(text(16, 330, "A commit writes pages to the file, syncs, then writes", "small faint"))
    parts.append(text(16, 346, "its meta page; the map shows what the file holds.", "small faint"))
    return svg(760, 372, parts, "How events flow between threads, rings and the store")


def fork_picture():
    parts = [text(16, 26, "A fork writes a few small records and the pages that lead to them, and copies no music", "bold")]
    parts += [text(110, 58, "before: meta 0", "small faint"), text(430, 58, "after: meta 1", "small faint")]
    before = [(110, 70, "old", "root"), (30, 150, "old", "branches"), (190, 150, "box", "nodes")]
    after = [(430, 70, "orange", "root'"), (350, 150, "orange", "branches'")]
    parts += [box(x, y, 120, 40, style, name) for x, y, style, name in before + after]
    parts += [box(x, 236, 60, 40, "box", "node") for x in (120, 190, 260, 330)]
    parts += [arrow("M150 110L100 148"), arrow("M190 110L240 148"), arrow("M470 110L420 148", "orangeline"),
              arrow("M440 110L312 162", "orangeline")]
    parts += [arrow(f"M250 190L{x + 30} 234") for x in (120, 190, 260, 330)]
    parts.append(box(500, 150, 244, 126, "orange", "the new branch's record", "parent, fork tick, jump, depth, ...", "68 bytes, however long the music",
                     "beside it, likewise: its name,", "the journal's entry, the tree's record"))
    parts.append(line("M470 170H500", "orangeline"))
    parts.append(text(16, 306, "Grey pages are free as soon as no reader is left that began before the commit.", "small faint"))
    return svg(760, 322, parts, "Copy on write: a fork")


PICTURES = {"tree": tree_picture, "pages": pages_picture, "node": node_picture, "flow": flow_picture, "fork": fork_picture}


# ---- The paper --------------------------------------------------------------------------


def table(data, columns, rows):
    heads = [f"{measure} ({unit})" if unit and unit not in STEPS else measure for measure, unit in columns]
    lines = [["", *heads], ["---", *["---:"] * len(columns)]]
    for row in rows:
        cells = data.rows[row]
        lines.append([row, *[spread("" if column[1] not in STEPS else column[1], cells[column]) if column in cells
                             else "" for column in columns]])
    return "\n".join("| " + " | ".join(cell) + " |" for cell in lines)


class Paper:
    def __init__(self, path):
        self.path = path
        self.folder = os.path.dirname(path)
        self.files = {}  # What is to be in each: {path: text}
        self.tables = {}

    def data(self, name):
        if name not in self.tables:
            self.tables[name] = Data(self.folder, name)
        return self.tables[name]

    def caption(self, options):
        words = [options["title"] + "." if options.get("title") else "",
                 f"Median ({options.get('spread', 'least to most')}).", machine(self.folder) + "."]
        if options.get("command"):
            words.append(f"To repeat: `{options['command']}`.")
        return "*" + " ".join(filter(None, words)) + "*"

    def picture(self, name, title, content):
        self.files[os.path.join(self.folder, "figures", name + ".svg")] = content
        return f"![{title}](figures/{name}.svg)"

    def block(self, match):
        """What a marker stands for, between it and its end."""
        kind, name = match["kind"], match["name"].strip()
        options = dict(part.strip().split(": ", 1) for part in match["options"].split(";") if part.strip())
        unknown = set(options) - {"title", "command", "measure", "measures", "rows", "name", "spread"}
        if unknown:
            stop(f'{kind} {name} has an unknown option "{unknown.pop()}"')
        if kind == "picture":
            if name not in PICTURES:
                stop(f'no picture is called "{name}"')
            content = self.picture(name, options.get("title", name), PICTURES[name]())
            content += f"\n\n*{options['title']}.*" if options.get("title") else ""
        else:
            data = self.data(name)
            rows = data.choose_rows(listed(options.get("rows")))
            if kind == "table":
                content = table(data, [data.column(wanted) for wanted in listed(options.get("measures"))] or data.columns, rows)
            else:
                column = data.column(options["measure"]) if "measure" in options else data.columns[0]
                title = options.pop("title", name)
                content = self.picture(options.get("name", name), title, chart(data, column, rows, title))
            content += "\n\n" + self.caption(options)
        return f"{match['marker']}\n\n{content}\n\n<!-- end -->"

    def value(self, match):
        name, row, measure, *which = [part.strip() for part in match["name"].split(" / ")]
        data = self.data(name)
        column = data.column(measure)
        values = data.rows[data.choose_rows([row])[0]][column]
        which = which[0] if which else "median"
        words = spread(column[1], values) if which == "spread" else \
            amount(column[1], values[("median", "least", "most").index(which)])
        return f"{match['marker']}{words}<!-- end -->"

    def regenerate(self):
        with open(self.path, encoding="utf-8") as file:
            paper = file.read()
        # Code is left alone.
        parts = re.split(r"(^```.*?^```$)", paper, flags=re.M | re.S)
        for index in range(0, len(parts), 2):
            part = re.sub(r"(?P<marker>^<!-- (?P<kind>table|chart|picture): (?P<name>[^;\n]*?)(?P<options>;.*?)? -->)"
                          r"(?:(?!<!-- end).)*?<!-- end -->", lambda match: self.block(with_options(match)),
                          parts[index], flags=re.M | re.S)
            parts[index] = re.sub(r"(?P<marker><!-- value: (?P<name>.*?) -->).*?<!-- end -->", self.value, part)
        self.files[self.path] = "".join(parts)


def with_options(match):
    return {**match.groupdict(), "options": match["options"] or ""}


def listed(option):
    return [part.strip() for part in option.split("|")] if option else []


def main(arguments):
    check = arguments[:1] == ["--check"]
    paper = Paper(arguments[-1])
    paper.regenerate()
    changed = []
    for path, content in paper.files.items():
        old = None
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                old = file.read()
        if old != content:
            changed.append(path)
            if not check:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "w", encoding="utf-8") as file:
                    file.write(content)
    figures = os.path.join(paper.folder, "figures")
    stale = [os.path.join(figures, name) for name in (os.listdir(figures) if os.path.isdir(figures) else [])
             if os.path.join(figures, name) not in paper.files]
    for path in stale:
        print(f"{path}: the paper does not show it")
    for path in changed:
        print(f"{path}: {'differs from what the data give' if check else 'written'}")
    return 1 if check and (changed or stale) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
