/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "tools/midi_file.h"

#include "store/format.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
  STATUS_SYSEX = 0xf0,
  STATUS_END_OF_SYSEX = 0xf7, ///< At the start of an event: escaped bytes, or a SysEx goes on
  STATUS_META = 0xff,
};

/** Sizes of the parts of a file. */
enum { CHUNK_HEADER = 8, FILE_HEADER = 6, TRACK_AT = CHUNK_HEADER + FILE_HEADER };

/** The largest variable-length quantity: 28 bits. */
#define QUANTITY_MAX 0x0fffffffu

/** The largest time: in any resolution its ticks still fit 63 bits. */
#define PULSE_MAX ((uint64_t)1 << 40)

/** Say what is wrong, and be `status`, as hr_error() is: here where a static
 * analyser sees it, too. */
#define REFUSE(error, status, ...) (hr_error((error), (status), __VA_ARGS__), (status))

/** Size of a short message with this status byte; 0 if the size is not fixed. */
static uint32_t short_message_size(uint8_t status)
{
  static const uint8_t system[16] = {0, 2, 3, 2, 0, 0, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1};
  if (status < 0x80) {
    return 0;
  }
  if (status >= 0xf0) {
    return system[status & 0x0f];
  }
  const uint8_t kind = status & 0xf0;
  return kind == 0xc0 || kind == 0xd0 ? 2 : 3;
}

static bool all_data(const uint8_t* bytes, size_t size)
{
  for (size_t i = 0; i < size; ++i) {
    if (bytes[i] & 0x80) {
      return false;
    }
  }
  return true;
}

/* ---- Reading -------------------------------------------------------- */

/** A track being read: `at` is the next event, behind its delta time. */
typedef struct {
  const uint8_t* at;
  const uint8_t* end;
  const uint8_t* escape; ///< Escaped bytes still to be given, at `escape_pulse`
  const uint8_t* escape_end;
  uint64_t escape_pulse;
  uint64_t pulse; ///< Of the event at `at`
  uint32_t number;
  uint8_t running; ///< Status of the last channel message, 0 before the first
} Track;

struct HrMidiReaderImpl {
  const uint8_t* start;
  uint32_t resolution;
  uint32_t count;    ///< Tracks not yet at their end: a heap, the next event's first
  uint8_t* assembly; ///< The last event's bytes, if they do not lie whole in the file
  size_t assembly_room;
  uint64_t end; ///< Of the tracks that are at their end, the last
  uint64_t stray_bytes;
  uint8_t message[3];
  Track tracks[];
};

static uint16_t big_16(const uint8_t* bytes)
{
  return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static uint32_t big_32(const uint8_t* bytes)
{
  return (uint32_t)big_16(bytes) << 16 | big_16(bytes + 2);
}

static HrStatus damaged(const HrMidiReader* reader, const Track* track, const uint8_t* where,
                        const char* what, HrError* error)
{
  return REFUSE(error, HR_ERR_DAMAGED, "track %u is damaged at byte %zu: %s", track->number,
                (size_t)(where - reader->start) + 1, what);
}

/** Take a variable-length quantity. */
static HrStatus take_quantity(const HrMidiReader* reader, Track* track, uint32_t* quantity,
                              HrError* error)
{
  const uint8_t* const begin = track->at;
  uint32_t value = 0;
  for (int i = 0; i < 4 && track->at < track->end; ++i) {
    const uint8_t byte = *track->at++;
    value = value << 7 | (byte & 0x7f);
    if (!(byte & 0x80)) {
      *quantity = value;
      return HR_OK;
    }
  }
  return damaged(reader, track, begin,
                 track->at == track->end ? "it breaks off within a number"
                                         : "a number has more than four bytes",
                 error);
}

/** Take the delta time of the next event; a track without one is at its end. */
static HrStatus take_delta(const HrMidiReader* reader, Track* track, HrError* error)
{
  uint32_t delta;
  if (track->at == track->end) {
    return HR_OK;
  }
  const HrStatus status = take_quantity(reader, track, &delta, error);
  if (status) {
    return status;
  }
  if (track->at == track->end) {
    return damaged(reader, track, track->at, "it breaks off before an event", error);
  }
  track->pulse += delta;
  return track->pulse < PULSE_MAX
             ? HR_OK
             : REFUSE(error, HR_ERR_LIMIT, "track %u is too long in time", track->number);
}

/** Take the size and the content of a SysEx, an escape or a meta event. */
static HrStatus take_content(const HrMidiReader* reader, Track* track, const uint8_t** bytes,
                             uint32_t* size, HrError* error)
{
  const uint8_t* const begin = track->at;
  const HrStatus status = take_quantity(reader, track, size, error);
  if (status) {
    return status;
  }
  if (*size > (size_t)(track->end - track->at)) {
    return damaged(reader, track, begin, "an event reaches beyond the track's end", error);
  }
  *bytes = track->at;
  track->at += *size;
  return HR_OK;
}

static uint64_t next_pulse(const Track* track)
{
  return track->escape ? track->escape_pulse : track->pulse;
}

static bool before(const Track* a, const Track* b)
{
  const uint64_t pulse_a = next_pulse(a);
  const uint64_t pulse_b = next_pulse(b);
  return pulse_a < pulse_b || (pulse_a == pulse_b && a->number < b->number);
}

static void sift_down(HrMidiReader* reader, uint32_t index)
{
  for (;;) {
    uint32_t first = index;
    for (uint32_t child = 2 * index + 1; child <= 2 * index + 2; ++child) {
      if (child < reader->count && before(&reader->tracks[child], &reader->tracks[first])) {
        first = child;
      }
    }
    if (first == index) {
      return;
    }
    const Track moved = reader->tracks[index];
    reader->tracks[index] = reader->tracks[first];
    reader->tracks[first] = moved;
    index = first;
  }
}

/** Check the file header: `*count` tracks follow at TRACK_AT or behind. */
static HrStatus read_header(const uint8_t* bytes, size_t size, uint32_t* resolution,
                            uint32_t* count, size_t* tracks_at, HrError* error)
{
  if (size < CHUNK_HEADER || memcmp(bytes, "MThd", 4) != 0) {
    return REFUSE(error, HR_ERR_ARGUMENT, "it is not a MIDI file");
  }
  const uint32_t length = big_32(bytes + 4);
  if (length < FILE_HEADER || length > size - CHUNK_HEADER) {
    return REFUSE(error, HR_ERR_TRUNCATED, "it breaks off within its header");
  }
  const uint16_t format = big_16(bytes + 8);
  const uint16_t division = big_16(bytes + 12);
  if (format == 2) {
    return REFUSE(error, HR_ERR_ARGUMENT,
                  "it holds several independent pieces (format 2). Save each piece as a file of "
                  "its own and import those");
  }
  if (format > 2) {
    return REFUSE(error, HR_ERR_ARGUMENT, "its format %u is unknown; only 0 and 1 are read",
                  format);
  }
  if (division & 0x8000) {
    return REFUSE(error, HR_ERR_ARGUMENT,
                  "it counts time in film frames (SMPTE), not in beats. Open it in a sequencer "
                  "and save it with a resolution in beats");
  }
  if (!division) {
    return REFUSE(error, HR_ERR_DAMAGED, "its resolution is 0 pulses a quarter note");
  }
  *resolution = division;
  *count = big_16(bytes + 10);
  *tracks_at = CHUNK_HEADER + length;
  return *count ? HR_OK : REFUSE(error, HR_ERR_ARGUMENT, "it holds no track");
}

/** Find the tracks, passing over chunks of other kinds. */
static HrStatus find_tracks(HrMidiReader* reader, const uint8_t* bytes, size_t size, size_t at,
                            uint32_t wanted, HrError* error)
{
  uint32_t number = 0;
  while (number < wanted) {
    if (size - at < CHUNK_HEADER) {
      return REFUSE(error, HR_ERR_TRUNCATED, "it breaks off: of %u tracks it holds %u", wanted,
                    number);
    }
    const uint32_t length = big_32(bytes + at + 4);
    const bool is_track = memcmp(bytes + at, "MTrk", 4) == 0;
    at += CHUNK_HEADER;
    number += is_track;
    if (length > size - at) {
      return REFUSE(error, HR_ERR_TRUNCATED, "it breaks off within track %u of %u",
                    is_track ? number : number + 1, wanted);
    }
    if (is_track && length) {
      Track* const track = &reader->tracks[reader->count++];
      *track = (Track){.at = bytes + at, .end = bytes + at + length, .number = number};
      const HrStatus status = take_delta(reader, track, error);
      if (status) {
        return status;
      }
    }
    at += length;
  }
  return HR_OK;
}

HrStatus hr_midi_reader_new(const uint8_t* bytes, size_t size, HrMidiReader** reader,
                            HrError* error)
{
  uint32_t resolution = 0;
  uint32_t count = 0;
  size_t at = 0;
  *reader = NULL;
  HrStatus status = read_header(bytes, size, &resolution, &count, &at, error);
  if (status) {
    return status;
  }
  HrMidiReader* const self = calloc(1, sizeof *self + count * sizeof(Track));
  if (!self) {
    return REFUSE(error, HR_ERR_NO_MEMORY, "there is not enough memory");
  }
  self->start = bytes;
  self->resolution = resolution;
  status = find_tracks(self, bytes, size, at, count, error);
  if (status) {
    free(self);
    return status;
  }
  for (uint32_t i = self->count / 2; i-- > 0;) {
    sift_down(self, i);
  }
  *reader = self;
  return HR_OK;
}

uint32_t hr_midi_reader_resolution(const HrMidiReader* reader)
{
  return reader->resolution;
}

uint64_t hr_midi_reader_end(const HrMidiReader* reader)
{
  return reader->end;
}

uint64_t hr_midi_reader_stray_bytes(const HrMidiReader* reader)
{
  return reader->stray_bytes;
}

void hr_midi_reader_free(HrMidiReader* reader)
{
  if (reader) {
    free(reader->assembly);
    free(reader);
  }
}

/** Append bytes to the assembly, which holds `*used`. */
static HrStatus assemble(HrMidiReader* reader, size_t* used, const uint8_t* bytes, size_t size,
                         HrError* error)
{
  const size_t needed = *used + size;
  if (needed > HR_EVENT_SIZE_MAX) {
    return REFUSE(error, HR_ERR_LIMIT, "it holds a SysEx of more than %u bytes", HR_EVENT_SIZE_MAX);
  }
  if (needed > reader->assembly_room) {
    const size_t room = needed < 4096 ? 4096 : needed * 2;
    uint8_t* const assembly = realloc(reader->assembly, room);
    if (!assembly) {
      return REFUSE(error, HR_ERR_NO_MEMORY, "there is not enough memory");
    }
    reader->assembly = assembly;
    reader->assembly_room = room;
  }
  if (size) {
    memcpy(reader->assembly + *used, bytes, size);
  }
  *used = needed;
  return HR_OK;
}

/** Put a SysEx together: what follows the 0xf0, then every piece that goes on with it. */
static HrStatus take_sysex(HrMidiReader* reader, Track* track, HrMidiEvent* event, HrError* error)
{
  static const uint8_t first = STATUS_SYSEX;
  static const uint8_t last = STATUS_END_OF_SYSEX;
  size_t used = 0;
  bool more = true;
  HrStatus status = assemble(reader, &used, &first, 1, error);
  while (!status && more) {
    const uint8_t* piece;
    uint32_t size;
    const uint8_t* const begin = track->at;
    status = take_content(reader, track, &piece, &size, error);
    const bool ended = !status && size && piece[size - 1] == last;
    if (!status && !all_data(piece, ended ? size - 1 : size)) {
      status = damaged(reader, track, begin, "a SysEx holds a byte above 127", error);
    }
    status = status ? status : assemble(reader, &used, piece, size, error);
    status = status ? status : take_delta(reader, track, error);
    more = !ended && track->at < track->end && *track->at == STATUS_END_OF_SYSEX;
    track->at += more;
  }
  if (!status && reader->assembly[used - 1] != last) {
    status = assemble(reader, &used, &last, 1, error);
  }
  event->bytes = reader->assembly;
  event->size = (uint32_t)used;
  return status;
}

/** Give the next whole message of the track's escaped bytes, if there is one;
 * what is none is counted and passed over. */
static bool take_escaped(HrMidiReader* reader, Track* track, HrMidiEvent* event)
{
  const uint8_t* const begin = track->escape;
  const size_t room = (size_t)(track->escape_end - begin);
  size_t size = short_message_size(*begin);
  bool whole = size && size <= room && all_data(begin + 1, size - 1);
  if (*begin == STATUS_SYSEX) {
    const uint8_t* const last = memchr(begin, STATUS_END_OF_SYSEX, room);
    size = last ? (size_t)(last - begin) + 1 : room;
    whole = last && size <= HR_EVENT_SIZE_MAX && all_data(begin + 1, size - 2);
  }
  event->pulse = track->escape_pulse;
  event->bytes = begin;
  event->size = (uint32_t)size;
  if (!whole) {
    size = 1;
    reader->stray_bytes += 1;
  }
  track->escape += size;
  if (track->escape == track->escape_end) {
    track->escape = NULL;
  }
  return whole;
}

static HrStatus take_channel_message(HrMidiReader* reader, Track* track, HrMidiEvent* event,
                                     HrError* error)
{
  const uint8_t* const begin = track->at;
  const bool running = !(*begin & 0x80);
  if (running && !track->running) {
    return damaged(reader, track, begin, "a message without a status", error);
  }
  track->running = running ? track->running : *track->at++;
  const uint32_t size = short_message_size(track->running);
  if (size - 1 > (size_t)(track->end - track->at)) {
    return damaged(reader, track, begin, "it breaks off within a message", error);
  }
  if (!all_data(track->at, size - 1)) {
    return damaged(reader, track, begin, "a message holds a byte above 127", error);
  }
  reader->message[0] = track->running;
  memcpy(reader->message + 1, track->at, size - 1);
  track->at += size - 1;
  event->bytes = reader->message;
  event->size = size;
  return take_delta(reader, track, error);
}

/** Take one event off the track; HR_END if it gave none. */
static HrStatus take_event(HrMidiReader* reader, Track* track, HrMidiEvent* event, HrError* error)
{
  const uint8_t* const begin = track->at;
  HrStatus status;
  *event = (HrMidiEvent){.pulse = track->pulse, .meta = HR_MIDI_MESSAGE};
  if (*begin < STATUS_SYSEX) {
    return take_channel_message(reader, track, event, error);
  }
  track->at += 1;
  switch (*begin) {
  case STATUS_SYSEX:
    return take_sysex(reader, track, event, error);
  case STATUS_END_OF_SYSEX:
    status = take_content(reader, track, &event->bytes, &event->size, error);
    track->escape_pulse = track->pulse;
    status = status ? status : take_delta(reader, track, error);
    if (!status && event->size) {
      track->escape = event->bytes;
      track->escape_end = event->bytes + event->size;
    }
    return status ? status : HR_END;
  case STATUS_META:
    if (track->at == track->end) {
      return damaged(reader, track, begin, "it breaks off within an event", error);
    }
    event->meta = *track->at++;
    status = take_content(reader, track, &event->bytes, &event->size, error);
    if (!status && event->meta == HR_MIDI_END_OF_TRACK) {
      track->at = track->end;
      return HR_END;
    }
    return status ? status : take_delta(reader, track, error);
  default:
    return damaged(reader, track, begin, "a system message that is not escaped", error);
  }
}

HrStatus hr_midi_reader_next(HrMidiReader* reader, HrMidiEvent* event, HrError* error)
{
  HrStatus status = HR_END;
  while (status == HR_END && reader->count) {
    Track* const track = &reader->tracks[0];
    if (track->escape) {
      *event = (HrMidiEvent){.meta = HR_MIDI_MESSAGE};
      status = take_escaped(reader, track, event) ? HR_OK : HR_END;
    } else if (track->at < track->end) {
      status = take_event(reader, track, event, error);
    }
    if (status && status != HR_END) {
      return status;
    }
    if (!track->escape && track->at == track->end) {
      reader->end = track->pulse > reader->end ? track->pulse : reader->end;
      *track = reader->tracks[--reader->count];
    }
    sift_down(reader, 0);
  }
  return status;
}

/* ---- Writing -------------------------------------------------------- */

static void put_big_32(uint8_t* bytes, uint32_t value)
{
  for (int i = 0; i < 4; ++i) {
    bytes[i] = (uint8_t)(value >> (24 - 8 * i));
  }
}

static HrStatus failed_write(void)
{
  return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? HR_ERR_NO_SPACE : HR_ERR_IO;
}

static HrStatus write_bytes(FILE* file, const void* bytes, size_t size)
{
  return fwrite(bytes, 1, size, file) == size ? HR_OK : failed_write();
}

/** Spell a variable-length quantity; returns its size, 1 to 4. */
static size_t spell_quantity(uint8_t bytes[4], uint32_t quantity)
{
  size_t size = 0;
  for (int shift = 21; shift >= 0; shift -= 7) {
    if (quantity >> shift || shift == 0) {
      bytes[size++] = (uint8_t)((quantity >> shift & 0x7f) | (shift ? 0x80u : 0u));
    }
  }
  return size;
}

HrStatus hr_midi_writer_begin(HrMidiWriter* writer, FILE* file, uint16_t resolution)
{
  uint8_t header[TRACK_AT + CHUNK_HEADER] = "MThd\0\0\0\6\0\0\0\1\0\0MTrk";
  header[12] = (uint8_t)(resolution >> 8);
  header[13] = (uint8_t)resolution;
  *writer = (HrMidiWriter){.file = file};
  return write_bytes(file, header, sizeof header);
}

/** Write one event's delta time, `head` and content. */
static HrStatus put_event(HrMidiWriter* writer, uint32_t delta, const uint8_t* head,
                          size_t head_size, const uint8_t* content, size_t content_size)
{
  uint8_t bytes[4];
  const size_t delta_size = spell_quantity(bytes, delta);
  const size_t size = delta_size + head_size + content_size;
  if (size > UINT32_MAX - writer->track_bytes) {
    return HR_ERR_LIMIT;
  }
  writer->track_bytes += size;
  HrStatus status = write_bytes(writer->file, bytes, delta_size);
  status = status ? status : write_bytes(writer->file, head, head_size);
  return status ? status : write_bytes(writer->file, content, content_size);
}

/** Move on to `pulse`: `*delta` is what is left for the event there. A pause
 * longer than a delta time can say is divided by empty texts. */
static HrStatus move_to(HrMidiWriter* writer, uint64_t pulse, uint32_t* delta)
{
  static const uint8_t empty_text[] = {STATUS_META, HR_MIDI_TEXT, 0};
  HrStatus status = HR_OK;
  while (!status && pulse > writer->pulse && pulse - writer->pulse > QUANTITY_MAX) {
    status = put_event(writer, QUANTITY_MAX, empty_text, sizeof empty_text, NULL, 0);
    writer->pulse += QUANTITY_MAX;
  }
  *delta = pulse > writer->pulse ? (uint32_t)(pulse - writer->pulse) : 0;
  writer->pulse += *delta;
  return status;
}

HrStatus hr_midi_writer_put(HrMidiWriter* writer, const HrMidiEvent* event)
{
  uint8_t head[6];
  size_t head_size = 0;
  uint32_t delta;
  const uint8_t* content = event->bytes;
  size_t size = event->size;
  HrStatus status = move_to(writer, event->pulse, &delta);
  if (status) {
    return status;
  }
  if (event->meta != HR_MIDI_MESSAGE) {
    head[head_size++] = STATUS_META;
    head[head_size++] = (uint8_t)event->meta;
    head_size += spell_quantity(head + head_size, event->size);
    return put_event(writer, delta, head, head_size, content, size);
  }
  const bool is_channel = *content < STATUS_SYSEX && size == short_message_size(*content) &&
                          all_data(content + 1, size - 1);
  const bool is_sysex = *content == STATUS_SYSEX && size >= 2 &&
                        content[size - 1] == STATUS_END_OF_SYSEX && all_data(content + 1, size - 2);
  if (!is_channel) {
    head[head_size++] = is_sysex ? STATUS_SYSEX : STATUS_END_OF_SYSEX;
    content += is_sysex;
    size -= is_sysex;
    head_size += spell_quantity(head + head_size, (uint32_t)size);
  }
  return put_event(writer, delta, head, head_size, content, size);
}

HrStatus hr_midi_writer_end(HrMidiWriter* writer, uint64_t pulse)
{
  static const uint8_t end[] = {STATUS_META, HR_MIDI_END_OF_TRACK, 0};
  uint8_t length[4];
  uint32_t delta;
  HrStatus status = move_to(writer, pulse, &delta);
  status = status ? status : put_event(writer, delta, end, sizeof end, NULL, 0);
  if (status) {
    return status;
  }
  put_big_32(length, (uint32_t)writer->track_bytes);
  if (fseek(writer->file, TRACK_AT + 4, SEEK_SET)) {
    return failed_write();
  }
  status = write_bytes(writer->file, length, sizeof length);
  return !status && fflush(writer->file) ? failed_write() : status;
}
