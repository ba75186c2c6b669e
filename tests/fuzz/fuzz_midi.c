/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Reads any bytes as a MIDI file. What is read comes in order, whole, and comes again out of
 * a file that it is written to. */

#include "tools/midi_file.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

typedef struct {
  uint8_t* bytes; ///< Allocated
  size_t size;
} File;

/** Texts without a word divide long pauses. */
static bool says_nothing(const HrMidiEvent* event)
{
  return event->meta == HR_MIDI_TEXT && !event->size;
}

static void check(bool holds)
{
  if (!holds) {
    abort();
  }
}

/** A file in memory. */
static FILE* open_file(void)
{
  const int fd = memfd_create("midi", MFD_CLOEXEC);
  FILE* const file = fd < 0 ? NULL : fdopen(fd, "w+b");
  check(file != NULL);
  return file;
}

static void take_bytes(FILE* out, File* file)
{
  fseek(out, 0, SEEK_END);
  file->size = (size_t)ftell(out);
  file->bytes = malloc(file->size + 1);
  rewind(out);
  check(file->bytes && fread(file->bytes, 1, file->size, out) == file->size);
}

static void check_event(const HrMidiEvent* event, uint64_t* pulse)
{
  check(event->pulse >= *pulse);
  check(event->meta != HR_MIDI_MESSAGE || (event->size && event->bytes[0] & 0x80));
  check(event->meta != HR_MIDI_END_OF_TRACK);
  *pulse = event->pulse;
}

/** Read all of it, and write what is read to a file; false if it cannot be read to its end. */
static bool copy(const uint8_t* data, size_t size, File* file)
{
  HrMidiReader* reader;
  HrMidiWriter writer;
  HrMidiEvent event;
  HrError error = {0};
  uint64_t pulse = 0;
  HrStatus status = hr_midi_reader_new(data, size, &reader, &error);
  FILE* const out = open_file();
  if (!status) {
    const uint32_t resolution = hr_midi_reader_resolution(reader);
    check(resolution && !hr_midi_writer_begin(&writer, out, (uint16_t)resolution));
  }
  while (!status && !(status = hr_midi_reader_next(reader, &event, &error))) {
    check_event(&event, &pulse);
    check(says_nothing(&event) || !hr_midi_writer_put(&writer, &event));
  }
  if (status == HR_END) {
    check(hr_midi_reader_end(reader) >= pulse);
    check(!hr_midi_writer_end(&writer, hr_midi_reader_end(reader)));
    take_bytes(out, file);
  }
  check(status == HR_END || *error.text);
  hr_midi_reader_free(reader);
  fclose(out);
  return status == HR_END;
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
  File first = {0};
  File second = {0};
  if (copy(data, size, &first)) {
    check(copy(first.bytes, first.size, &second));
    check(first.size == second.size && !memcmp(first.bytes, second.bytes, first.size));
  }
  free(first.bytes);
  free(second.bytes);
  return 0;
}
