/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "tools/smf.h"

#include "plugin/clock.h"
#include "plugin/timeline.h"
#include "tools/midi_file.h"
#include "tools/output.h"
#include "tools/text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/** Slowest and fastest tempo that a file's 24 bits of microseconds can say. */
#define MICROSECONDS_MAX 0xffffffu
#define MICROSECONDS_MIN 1u

bool hr_smf_resolution_valid(uint32_t ppq)
{
  return ppq > 0 && ppq <= INT16_MAX && HR_TICKS_PER_QUARTER % ppq == 0;
}

/* ---- Export --------------------------------------------------------- */

/** Files know no ranges: behind the name of a mark, this says where it ends. */
#define RANGE_END " (end)"

/** A mark, or where a range that is one ends. */
typedef struct {
  HrTick tick;
  char text[HR_NAME_MAX + sizeof RANGE_END];
} Marker;

typedef struct {
  const HrTool* tool;
  HrMidiWriter writer;
  HrTimeline timeline; ///< Of the whole path
  Marker* markers;     ///< By tick
  size_t marker_count;
  size_t marker_room;
  size_t markers_written;
  HrTempo tempo;       ///< Written last
  HrTick origin;       ///< Becomes pulse 0: tick 0, or a bar line before the first event
  HrTick damaged_from; ///< Where a damaged stretch begins, while `in_damage`
  HrBranchId damaged_branch;
  bool in_damage;
  uint64_t damaged_stretches;
  uint64_t events;
  uint64_t unwritable; ///< Tempo and meter changes that a file cannot say
} Export;

static uint64_t to_pulse(const Export* export, HrTick tick)
{
  const uint64_t since = tick > export->origin ? (uint64_t)(tick - export->origin) : 0;
  const uint64_t rest = since % HR_TICKS_PER_QUARTER * export->tool->ppq;
  return since / HR_TICKS_PER_QUARTER * export->tool->ppq +
         (rest + HR_TICKS_PER_QUARTER / 2) / HR_TICKS_PER_QUARTER;
}

static HrStatus put_meta(Export* export, HrTick tick, int type, const uint8_t* bytes, uint32_t size)
{
  const HrMidiEvent event = {
      .pulse = to_pulse(export, tick), .meta = type, .size = size, .bytes = bytes};
  return hr_midi_writer_put(&export->writer, &event);
}

static HrStatus put_tempo(Export* export, HrTick tick, double tempo)
{
  const double exact = 60e6 / tempo;
  const bool fits = exact < MICROSECONDS_MAX + 0.5 && exact >= MICROSECONDS_MIN - 0.5;
  const uint32_t us = exact >= MICROSECONDS_MAX  ? MICROSECONDS_MAX
                      : exact < MICROSECONDS_MIN ? MICROSECONDS_MIN
                                                 : (uint32_t)lround(exact);
  const uint8_t bytes[] = {(uint8_t)(us >> 16), (uint8_t)(us >> 8), (uint8_t)us};
  export->unwritable += !fits;
  export->tempo.tempo = tempo;
  return put_meta(export, tick, HR_MIDI_TEMPO, bytes, sizeof bytes);
}

static HrStatus put_meter(Export* export, HrTick tick, uint16_t beats, uint16_t unit)
{
  /* 24 MIDI clocks a quarter note, so many from one metronome click to the next. */
  const uint8_t clocks = (uint8_t)(unit <= 96 ? 96 / unit : 1);
  const uint8_t bytes[] = {(uint8_t)beats, (uint8_t)__builtin_ctz(unit), clocks, 8};
  export->tempo.beats_per_bar = beats;
  export->tempo.beat_unit = unit;
  if (beats > UINT8_MAX || (unit & (unit - 1))) {
    export->unwritable += 1;
    return HR_OK;
  }
  return put_meta(export, tick, HR_MIDI_METER, bytes, sizeof bytes);
}

static HrStatus add_marker(Export* export, HrTick tick, const char* name, const char* end)
{
  if (export->marker_count == export->marker_room) {
    const size_t room = 2 * export->marker_room + 16;
    Marker* const markers = realloc(export->markers, room * sizeof *markers);
    if (!markers) {
      return HR_ERR_NO_MEMORY;
    }
    export->markers = markers;
    export->marker_room = room;
  }
  Marker* const marker = &export->markers[export->marker_count++];
  marker->tick = tick;
  snprintf(marker->text, sizeof marker->text, "%s%s", name, end);
  return HR_OK;
}

static int compare_markers(const void* a, const void* b)
{
  const Marker* const first = a;
  const Marker* const second = b;
  return first->tick != second->tick ? (first->tick < second->tick ? -1 : 1)
                                     : strcmp(first->text, second->text);
}

static HrStatus read_marks(Export* export, HrTxn* txn, HrBranchId branch)
{
  HrNote note = {.tick = INT64_MIN};
  HrStatus status = HR_OK;
  while (!status && !(status = hr_note_next(txn, branch, note.tick, note.id, &note))) {
    if (note.kind != HR_NOTE_MARK || note.hidden) {
      continue;
    }
    status = add_marker(export, note.tick, note.name, "");
    if (!status && note.end_tick > note.tick) {
      status = add_marker(export, note.end_tick, note.name, RANGE_END);
    }
  }
  if (export->marker_count) {
    qsort(export->markers, export->marker_count, sizeof *export->markers, compare_markers);
  }
  return status == HR_END ? HR_OK : status;
}

/** Write the marks up to `tick`. */
static HrStatus put_marks(Export* export, HrTick tick)
{
  HrStatus status = HR_OK;
  while (!status && export->markers_written < export->marker_count &&
         export->markers[export->markers_written].tick <= tick) {
    const Marker* const marker = &export->markers[export->markers_written++];
    status = put_meta(export, marker->tick, HR_MIDI_MARKER, (const uint8_t*)marker->text,
                      (uint32_t)strlen(marker->text));
  }
  return status;
}

static HrStatus export_event(Export* export, const HrEvent* event)
{
  const HrStatus marked = put_marks(export, event->tick);
  if (marked) {
    return marked;
  }
  export->events += 1;
  if (event->kind == HR_EVENT_MIDI) {
    const HrMidiEvent message = {.pulse = to_pulse(export, event->tick),
                                 .meta = HR_MIDI_MESSAGE,
                                 .size = event->size,
                                 .bytes = event->bytes};
    return hr_midi_writer_put(&export->writer, &message);
  }
  HrTempo tempo = export->tempo;
  if (event->bytes[0] == HR_META_MARK) {
    return put_meta(export, event->tick, HR_MIDI_MARKER, event->bytes + 1, event->size - 1);
  }
  if (!hr_meta_apply(&tempo, event->bytes, event->size)) {
    return HR_OK; // Of a kind yet unknown, or without a meaning
  }
  return event->bytes[0] == HR_META_TEMPO
             ? put_tempo(export, event->tick, tempo.tempo)
             : put_meter(export, event->tick, tempo.beats_per_bar, tempo.beat_unit);
}

/** Have the file say what is in force before `span`, if that is not known from
 * what was written: at the start, and behind a damaged stretch. */
static HrStatus catch_up(Export* export, const HrSpan* span, HrTick tick)
{
  HrTempo tempo;
  HrStatus status = HR_OK;
  hr_timeline_span_tempo(span, &tempo);
  if (tempo.tempo != export->tempo.tempo) {
    status = put_tempo(export, tick, tempo.tempo);
  }
  if (!status && (tempo.beats_per_bar != export->tempo.beats_per_bar ||
                  tempo.beat_unit != export->tempo.beat_unit)) {
    status = put_meter(export, tick, tempo.beats_per_bar, tempo.beat_unit);
  }
  return status;
}

/** Say what is missing: all from the last damaged node to `until`. */
static void end_damage(Export* export, HrTxn* txn, HrTick until)
{
  char from_text[HR_TEXT_SIZE], until_text[HR_TEXT_SIZE];
  char from_time[HR_TEXT_SIZE], until_time[HR_TEXT_SIZE];
  char name[HR_NAME_MAX + 1];
  if (!export->in_damage) {
    return;
  }
  const HrPlace from_place = hr_timeline_place(&export->timeline, export->damaged_from);
  const HrPlace until_place = hr_timeline_place(&export->timeline, until);
  if (hr_branch_name(txn, export->damaged_branch, name)) {
    snprintf(name, sizeof name, "#%u", hr_branch_number(export->damaged_branch));
  }
  export->in_damage = false;
  export->damaged_stretches += 1;
  hr_tool_complain(
      "Missing: what was played on \"%s\" from %s (%s) to %s (%s). That part of the "
      "store is damaged.",
      name, hr_text_place(from_text, &from_place), hr_text_duration(from_time, from_place.seconds),
      hr_text_place(until_text, &until_place), hr_text_duration(until_time, until_place.seconds));
}

static HrStatus export_span(Export* export, HrTxn* txn, const HrSpan* span)
{
  const HrTick first = span->base + span->words->offset;
  HrStatus status = HR_OK;
  if (export->in_damage || !export->events) {
    end_damage(export, txn, first);
    status = put_marks(export, first);
    status = status ? status : catch_up(export, span, first);
  }
  HrEvent event;
  uint32_t index = 0;
  while (!status && hr_span_next(span, &index, &event)) {
    status = export_event(export, &event);
  }
  return status;
}

static HrStatus export_path(Export* export, HrTxn* txn, const HrBranch* branch)
{
  HrPath path;
  HrStatus status = hr_path_open(txn, branch->id, INT64_MIN, &path);
  while (!status) {
    HrSpan span = {0};
    status = hr_path_next_span(&path, &span);
    if (status == HR_ERR_DAMAGED && span.branch) {
      if (!export->in_damage) {
        export->damaged_from = span.base;
        export->damaged_branch = span.branch;
      }
      export->in_damage = true;
      status = HR_OK;
    } else if (!status) {
      status = export_span(export, txn, &span);
    }
  }
  hr_path_close(&path);
  end_damage(export, txn, branch->head_tick);
  return status == HR_END ? HR_OK : status;
}

/** A path or its marks may begin before tick 0 (a count-in): the file then begins at a bar line
 * before that. */
static HrStatus find_origin(Export* export, HrTxn* txn, HrBranchId branch)
{
  HrPath path;
  HrSpan span = {0};
  HrStatus status = hr_path_open(txn, branch, INT64_MIN, &path);
  status = status ? status : hr_path_next_span(&path, &span);
  hr_path_close(&path);
  if (status && status != HR_END && !(status == HR_ERR_DAMAGED && span.branch)) {
    return status;
  }
  HrTick first = status == HR_END ? 0 : span.base;
  if (export->marker_count && export->markers[0].tick < first) {
    first = export->markers[0].tick;
  }
  if (first < 0) {
    const HrTempo tempo = {HR_DEFAULT_TEMPO, 4, 4};
    const HrTick bar = hr_tempo_bar_length(&tempo);
    export->origin = first / bar * bar - (first % bar ? bar : 0);
  }
  return HR_OK;
}

static HrStatus write_file(Export* export, HrTxn* txn, const HrBranch* branch, FILE* file)
{
  uint64_t damaged = 0;
  HrStatus status =
      hr_timeline_read(&export->timeline, txn, branch->id, INT64_MIN, INT64_MAX, &damaged);
  status = status ? status : read_marks(export, txn, branch->id);
  status = status ? status : find_origin(export, txn, branch->id);
  status =
      status ? status : hr_midi_writer_begin(&export->writer, file, (uint16_t) export->tool->ppq);
  status = status ? status : export_path(export, txn, branch);
  status = status ? status : put_marks(export, INT64_MAX);
  return status ? status : hr_midi_writer_end(&export->writer, to_pulse(export, branch->head_tick));
}

static void report_export(const Export* export, const HrBranch* branch, const char* name,
                          const char* file)
{
  char length[HR_TEXT_SIZE];
  const HrPlace head = hr_timeline_place(&export->timeline, branch->head_tick);
  printf("Wrote \"%s\" to %s: %" PRIu64 " events, %s.\n", name, file, export->events,
         hr_text_duration(length, head.seconds));
  if (export->origin) {
    printf("The music begins before bar 1: bar 1 is %s into the file.\n",
           hr_text_duration(length, -hr_timeline_at(&export->timeline, export->origin).seconds));
  }
  if (export->unwritable) {
    hr_tool_complain("%" PRIu64 " tempo or meter changes are such that a MIDI file cannot say "
                     "them; the nearest tempo was written, such meters were left out.",
                     export->unwritable);
  }
}

static int export_branch(const HrTool* tool, HrTxn* txn, const char* branch_name, const char* file)
{
  HrTree tree;
  HrBranch branch;
  HrBranchId id = 0;
  HrOutput output;
  HrError error = {0};
  char name[HR_NAME_MAX + 1];
  Export export = {.tool = tool, .tempo = hr_timeline_origin().tempo};
  if (hr_tool_find_tree(tool, txn, &tree) || hr_tool_find_branch(txn, &tree, branch_name, &id)) {
    return HR_EXIT_FAILURE;
  }
  HrStatus status = hr_branch_get(txn, id, &branch);
  status = status ? status : hr_branch_name(txn, id, name);
  if (status) {
    return hr_tool_fail(status, branch_name);
  }
  if (hr_output_open(&output, file, tool->force, &error)) {
    hr_tool_complain("%s", error.text);
    return HR_EXIT_FAILURE;
  }
  status = write_file(&export, txn, &branch, output.file);
  if (status) {
    hr_output_discard(&output);
    hr_tool_complain("%s was not written: %s.", file, hr_strerror(status));
  } else {
    status = hr_output_commit(&output, &error);
    if (status) {
      hr_tool_complain("%s", error.text);
    } else {
      report_export(&export, &branch, name, file);
    }
  }
  hr_timeline_free(&export.timeline);
  free(export.markers);
  return status || export.damaged_stretches ? HR_EXIT_FAILURE : HR_EXIT_OK;
}

static bool is_store(const HrStore* store, const char* file)
{
  struct stat info, own;
  return !stat(file, &info) && !stat(hr_store_path(store), &own) && info.st_dev == own.st_dev &&
         info.st_ino == own.st_ino;
}

int hr_smf_export(const HrTool* tool, const char* branch, const char* file)
{
  HrStore* store;
  HrTxn* txn;
  if (hr_tool_open_to_read(tool, &store)) {
    return HR_EXIT_FAILURE;
  }
  if (is_store(store, file)) {
    hr_tool_complain("%s is the store itself. Name another file.", file);
    hr_store_close(store);
    return HR_EXIT_FAILURE;
  }
  const HrStatus status = hr_txn_begin(store, HR_READ, &txn);
  const int result =
      status ? hr_tool_fail(status, tool->store) : export_branch(tool, txn, branch, file);
  hr_txn_abort(txn);
  hr_store_close(store);
  return result;
}

/* ---- Import --------------------------------------------------------- */

/** More than any piece of music: a gigabyte is a week of playing. */
#define FILE_SIZE_MAX ((off_t)1 << 30)

typedef struct {
  uint8_t* bytes;
  size_t size;
} File;

/** Words put together before the store gets them: as many nodes as two checkpoints are apart. */
enum { WORDS_MAX = HR_CHECKPOINT_NODES * HR_NODE_WORDS };

typedef struct {
  HrTxn* txn;
  HrBranchId branch;
  HrAppendOptions options;
  HrWord words[WORDS_MAX]; ///< `count` of them still to be appended
  size_t count;
  HrTick base; ///< What their offsets count from
  uint32_t resolution;
  uint64_t events;
  uint64_t left_out; ///< Tempo and meter changes without a meaning
  char* text;        ///< Room for a mark being put together
  size_t text_room;
} Import;

static int read_failed(const char* path, const char* why)
{
  hr_tool_complain("%s was not imported: %s.", path, why);
  return HR_EXIT_FAILURE;
}

static bool read_all(int fd, uint8_t* bytes, size_t size)
{
  size_t done = 0;
  while (done < size) {
    const ssize_t got = read(fd, bytes + done, size - done);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      errno = got ? errno : EIO;
      return false;
    }
    done += (size_t)got;
  }
  return true;
}

static int load(const char* path, File* file)
{
  struct stat info;
  const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  *file = (File){0};
  if (fd < 0) {
    return read_failed(path, strerror(errno));
  }
  const char* trouble = NULL;
  if (fstat(fd, &info) || !S_ISREG(info.st_mode)) {
    trouble = "it is not a plain file";
  } else if (info.st_size > FILE_SIZE_MAX) {
    trouble = "it is larger than 1 GiB, which no MIDI file should be";
  } else {
    file->size = (size_t)info.st_size;
    file->bytes = malloc(file->size + 1);
    trouble = !file->bytes                            ? "there is not enough memory"
              : read_all(fd, file->bytes, file->size) ? NULL
                                                      : strerror(errno);
  }
  close(fd);
  if (!trouble) {
    return HR_EXIT_OK;
  }
  free(file->bytes);
  return read_failed(path, trouble);
}

static HrTick to_tick(const Import* import, uint64_t pulse)
{
  const uint64_t rest = pulse % import->resolution * HR_TICKS_PER_QUARTER;
  return (HrTick)(pulse / import->resolution * HR_TICKS_PER_QUARTER +
                  (rest + import->resolution / 2) / import->resolution);
}

/** Append the words put together. */
static HrStatus append_words(Import* import)
{
  const size_t count = import->count;
  import->count = 0;
  return hr_append_words(import->txn, import->branch, import->base, import->words, count,
                         &import->options);
}

/** Short messages are put together first, which is faster than one by one. */
static HrStatus append(Import* import, uint64_t pulse, HrEventKind kind, const uint8_t* bytes,
                       uint32_t size)
{
  const HrEvent event = {
      .tick = to_tick(import, pulse), .kind = kind, .size = size, .bytes = bytes};
  const bool is_word = size && hr_event_words(&event) == 1 && hr_tick_valid(event.tick);
  import->events += 1;
  if (import->count &&
      (!is_word || import->count == WORDS_MAX || event.tick - import->base > (HrTick)UINT32_MAX)) {
    const HrStatus status = append_words(import);
    if (status) {
      return status;
    }
  }
  if (!is_word) {
    return hr_append(import->txn, import->branch, &event, &import->options);
  }
  import->base = import->count ? import->base : event.tick;
  hr_event_put(&import->words[import->count++], import->base, &event);
  return HR_OK;
}

static HrStatus append_meta(Import* import, uint64_t pulse, const uint8_t* bytes, uint32_t size)
{
  return append(import, pulse, HR_EVENT_META, bytes, size);
}

static HrStatus import_tempo(Import* import, const HrMidiEvent* event)
{
  uint8_t bytes[HR_META_TEMPO_SIZE];
  const uint32_t us = event->size == 3 ? (uint32_t)event->bytes[0] << 16 |
                                             (uint32_t)event->bytes[1] << 8 | event->bytes[2]
                                       : 0;
  HrTempo tempo = hr_timeline_origin().tempo;
  hr_meta_tempo(us ? 60e6 / us : 0.0, bytes);
  if (!hr_meta_apply(&tempo, bytes, sizeof bytes)) {
    import->left_out += 1;
    return HR_OK;
  }
  return append_meta(import, event->pulse, bytes, sizeof bytes);
}

static HrStatus import_meter(Import* import, const HrMidiEvent* event)
{
  uint8_t bytes[HR_META_METER_SIZE];
  HrTempo tempo = hr_timeline_origin().tempo;
  const bool sane = event->size >= 2 && event->bytes[1] < 16;
  hr_meta_meter(sane ? event->bytes[0] : 0, (uint16_t)(1u << (sane ? event->bytes[1] : 0)), bytes);
  if (!hr_meta_apply(&tempo, bytes, sizeof bytes)) {
    import->left_out += 1;
    return HR_OK;
  }
  return append_meta(import, event->pulse, bytes, sizeof bytes);
}

static HrStatus import_mark(Import* import, const HrMidiEvent* event)
{
  uint32_t size = event->size;
  while (size && event->bytes[size - 1] == '\0') {
    --size;
  }
  if (!size) {
    return HR_OK; // Nothing to read; we write such texts ourselves, to divide long pauses
  }
  const size_t room = 2 * (size_t)size + 2;
  if (room > import->text_room) {
    char* const text = realloc(import->text, room);
    if (!text) {
      return HR_ERR_NO_MEMORY;
    }
    import->text = text;
    import->text_room = room;
  }
  import->text[0] = HR_META_MARK;
  const size_t length = 1 + hr_text_to_utf8(event->bytes, size, import->text + 1);
  return length > HR_EVENT_SIZE_MAX
             ? HR_ERR_LIMIT
             : append_meta(import, event->pulse, (const uint8_t*)import->text, (uint32_t)length);
}

static HrStatus import_event(Import* import, const HrMidiEvent* event)
{
  switch (event->meta) {
  case HR_MIDI_MESSAGE:
    return append(import, event->pulse, HR_EVENT_MIDI, event->bytes, event->size);
  case HR_MIDI_TEMPO:
    return import_tempo(import, event);
  case HR_MIDI_METER:
    return import_meter(import, event);
  case HR_MIDI_TEXT:
  case HR_MIDI_COPYRIGHT:
  case HR_MIDI_LYRIC:
  case HR_MIDI_MARKER:
  case HR_MIDI_CUE:
    return import_mark(import, event);
  default:
    return HR_OK; // Names of tracks, keys, and what belongs to one program
  }
}

/** Read the file to its end once, so that a bad one changes nothing. */
static int check(const char* path, const File* file)
{
  HrError error = {0};
  HrMidiReader* reader;
  HrMidiEvent event;
  HrStatus status = hr_midi_reader_new(file->bytes, file->size, &reader, &error);
  while (!status) {
    status = hr_midi_reader_next(reader, &event, &error);
  }
  if (status == HR_END && hr_midi_reader_stray_bytes(reader)) {
    hr_tool_complain("%s holds %" PRIu64 " bytes that are no MIDI messages; they were left out.",
                     path, hr_midi_reader_stray_bytes(reader));
  }
  hr_midi_reader_free(reader);
  return status == HR_END ? HR_EXIT_OK : read_failed(path, error.text);
}

/** Name for what comes from the file: its own, without folders and ending. */
static void name_from_path(const char* path, char name[HR_NAME_MAX + 1])
{
  const char* const slash = strrchr(path, '/');
  const char* const begin = slash ? slash + 1 : path;
  const char* const dot = strrchr(begin, '.');
  char* const base = strndup(begin, dot && dot != begin ? (size_t)(dot - begin) : strlen(begin));
  hr_text_to_name(base ? base : "", "import", name);
  free(base);
}

/** The tree to import into; made if there is none, or none of the name wanted. */
static HrStatus find_or_make_tree(const HrTool* tool, HrTxn* txn, const char* name, uint32_t author,
                                  HrTree* tree)
{
  HrTree first;
  HrTreeId id;
  HrStatus status =
      tool->tree ? hr_tool_lookup_tree(txn, tool->tree, &id) : hr_tree_next(txn, 0, &first);
  if (status != HR_ERR_NOT_FOUND && status != HR_END) {
    return hr_tool_find_tree(tool, txn, tree);
  }
  status = hr_tree_create(txn, tool->tree ? tool->tree : name, author, &id);
  if (status == HR_ERR_ARGUMENT) {
    hr_tool_complain("There is no tree \"%s\", and none can be made of that name: names have 1 to "
                     "%d bytes of UTF-8 and do not begin with '#'.",
                     tool->tree, HR_NAME_MAX);
    return status;
  }
  status = status ? status : hr_tree_get(txn, id, tree);
  if (status) {
    hr_tool_fail(status, tool->store);
  }
  return status;
}

/** A file that says nothing starts at 120 in 4/4; the tree may have begun otherwise. */
static HrStatus start_as_files_do(Import* import)
{
  const HrTempo usual = hr_timeline_origin().tempo;
  HrTempo tempo;
  uint8_t tempo_bytes[HR_META_TEMPO_SIZE];
  uint8_t meter_bytes[HR_META_METER_SIZE];
  HrStatus status = hr_tempo_at(import->txn, import->branch, 0, &tempo);
  hr_meta_tempo(usual.tempo, tempo_bytes);
  hr_meta_meter(usual.beats_per_bar, usual.beat_unit, meter_bytes);
  if (!status && tempo.tempo != usual.tempo) {
    status = append_meta(import, 0, tempo_bytes, sizeof tempo_bytes);
  }
  if (!status &&
      (tempo.beats_per_bar != usual.beats_per_bar || tempo.beat_unit != usual.beat_unit)) {
    status = append_meta(import, 0, meter_bytes, sizeof meter_bytes);
  }
  return status;
}

static HrStatus append_file(Import* import, const File* file)
{
  HrMidiReader* reader;
  HrMidiEvent event;
  HrStatus status = hr_midi_reader_new(file->bytes, file->size, &reader, NULL);
  if (status) {
    return status;
  }
  import->resolution = hr_midi_reader_resolution(reader);
  status = start_as_files_do(import);
  while (!status) {
    status = hr_midi_reader_next(reader, &event, NULL);
    status = status ? status : import_event(import, &event);
  }
  if (status == HR_END) {
    const HrTick end = to_tick(import, hr_midi_reader_end(reader));
    status = append_words(import);
    status = status ? status : hr_branch_extend(import->txn, import->branch, end);
  }
  hr_midi_reader_free(reader);
  return status;
}

/** What was imported, for the sentence that says so once it is on the disk. */
typedef struct {
  char branch[HR_NAME_MAX + 1];
  char length[HR_TEXT_SIZE];
} Summary;

static HrStatus summarise(const Import* import, Summary* summary)
{
  uint64_t damaged = 0;
  HrTimeline timeline = {0};
  HrBranch branch;
  HrStatus status = hr_branch_get(import->txn, import->branch, &branch);
  status = status ? status : hr_branch_name(import->txn, import->branch, summary->branch);
  status = status ? status
                  : hr_timeline_read(&timeline, import->txn, import->branch, INT64_MIN, INT64_MAX,
                                     &damaged);
  if (!status) {
    hr_text_duration(summary->length, hr_timeline_place(&timeline, branch.head_tick).seconds);
  }
  hr_timeline_free(&timeline);
  return status;
}

static void report_import(const Import* import, const HrTree* tree, const char* path,
                          const Summary* summary)
{
  printf("Imported %s as branch \"%s\" (#%u) of tree \"%s\": %" PRIu64 " events, %s.\n", path,
         summary->branch, hr_branch_number(import->branch), tree->name, import->events,
         summary->length);
  if (import->left_out) {
    hr_tool_complain("%" PRIu64 " tempo or meter changes have no meaning and were left out.",
                     import->left_out);
  }
}

/** Import in `*txn`, which is ended, and NULL then, if all went well. */
static int import_file(const HrTool* tool, HrTxn** txn, const char* path, const File* file,
                       const char* name)
{
  Import import = {.txn = *txn, .options.wall_clock_ns = hr_wall_clock_ns()};
  HrForkOptions fork = {.name = name};
  HrTree tree;
  Summary summary;
  HrStatus status = hr_author_id(*txn, HR_TOOL_AUTHOR, &fork.author);
  if (status) {
    return hr_tool_fail(status, tool->store);
  }
  if (find_or_make_tree(tool, *txn, name, fork.author, &tree)) {
    return HR_EXIT_FAILURE;
  }
  import.options.author = fork.author;
  status = hr_branch_fork(*txn, tree.root, 0, &fork, &import.branch);
  status = status ? status : append_file(&import, file);
  status = status ? status : summarise(&import, &summary);
  free(import.text);
  if (!status) {
    status = hr_txn_commit(*txn);
    *txn = NULL;
  }
  if (status) {
    return hr_tool_fail(status, tool->store);
  }
  report_import(&import, &tree, path, &summary);
  return HR_EXIT_OK;
}

int hr_smf_import(const HrTool* tool, const char* path, const char* name)
{
  char own_name[HR_NAME_MAX + 1];
  File file;
  HrStore* store;
  HrTxn* txn;
  if (name && !hr_name_valid(name)) {
    hr_tool_complain("\"%s\" is no name for a branch: names have 1 to %d bytes of UTF-8 and do not "
                     "begin with '#'.",
                     name, HR_NAME_MAX);
    return HR_EXIT_USAGE;
  }
  if (load(path, &file)) {
    return HR_EXIT_FAILURE;
  }
  int result = check(path, &file);
  if (!result && hr_tool_open(tool, HR_STORE_CREATE, &store)) {
    result = HR_EXIT_FAILURE;
  } else if (!result) {
    name_from_path(path, own_name);
    const HrStatus status = hr_txn_begin(store, HR_WRITE, &txn);
    result = status ? hr_tool_fail(status, tool->store)
                    : import_file(tool, &txn, path, &file, name ? name : own_name);
    hr_txn_abort(txn);
    hr_store_close(store);
  }
  free(file.bytes);
  return result;
}
