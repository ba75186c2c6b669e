/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file wav_events.c
 * Reads the MIDI that midi_to_audio.lua wrote into audio.
 *
 *   wav_events FILE.wav
 *     Print the messages of the first channel as an event list (events.h), from
 *     the file's first frame. The file holds 32-bit floats, little-endian. A
 *     sample that stands for no message is complained of: exit status 1.
 */

#include "tests/host/events.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_HEADER = 8, RIFF_HEADER = 12, FORMAT_SIZE = 16, FORMAT_FLOAT = 3, FLOAT_BITS = 32 };

typedef struct {
  uint8_t* bytes;
  size_t size;
} Bytes;

static bool read_file(const char* path, Bytes* bytes)
{
  FILE* file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END)) {
    perror(path);
    return false;
  }
  bytes->size = (size_t)ftell(file);
  bytes->bytes = malloc(bytes->size + 1);
  rewind(file);
  const bool good = bytes->bytes && fread(bytes->bytes, 1, bytes->size, file) == bytes->size;
  fclose(file);
  return good;
}

static uint32_t little_endian(const uint8_t* bytes, size_t count)
{
  uint32_t value = 0;
  for (size_t i = 0; i < count; ++i) {
    value |= (uint32_t)bytes[i] << 8 * i;
  }
  return value;
}

/** The content of the chunk `name`; of size 0 if there is none. */
static Bytes find_chunk(const Bytes* file, const char* name)
{
  size_t at = RIFF_HEADER;
  while (at + CHUNK_HEADER <= file->size) {
    const uint8_t* header = file->bytes + at;
    const size_t size = little_endian(header + 4, 4);
    at += CHUNK_HEADER;
    if (size > file->size - at) {
      break;
    }
    if (!memcmp(header, name, 4)) {
      return (Bytes){file->bytes + at, size};
    }
    at += size + size % 2;
  }
  return (Bytes){NULL, 0};
}

/** Add the message that a sample stands for; false if it stands for none. */
static bool add_message(EventList* list, uint64_t frame, float sample)
{
  const double digits = ldexp((double)sample, 24);
  const long value = lround(digits);
  const uint8_t bytes[3] = {(uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
  if (digits != (double)value || value < 0x800000 || value > 0xffffff) {
    fprintf(stderr, "wav_events: no message at frame %llu: %.9g\n", (unsigned long long)frame,
            (double)sample);
    return false;
  }
  const bool two = (bytes[0] & 0xe0) == 0xc0; // Program and channel pressure have one data byte
  events_add(list, frame, bytes, two ? 2 : 3);
  return true;
}

static bool list_events(const Bytes* file, EventList* list)
{
  const Bytes format = find_chunk(file, "fmt ");
  const Bytes data = find_chunk(file, "data");
  if (format.size < FORMAT_SIZE || little_endian(format.bytes, 2) != FORMAT_FLOAT ||
      little_endian(format.bytes + 14, 2) != FLOAT_BITS || !data.size) {
    fprintf(stderr, "wav_events: no WAV file of 32-bit floats\n");
    return false;
  }
  const size_t frame_size = little_endian(format.bytes + 12, 2);
  bool good = frame_size >= sizeof(float);
  for (size_t i = 0; frame_size && (i + 1) * frame_size <= data.size; ++i) {
    const uint32_t bits = little_endian(data.bytes + i * frame_size, 4);
    float sample;
    memcpy(&sample, &bits, sizeof sample);
    if (sample != 0.0F) {
      good = add_message(list, i, sample) && good;
    }
  }
  return good;
}

int main(int argc, char** argv)
{
  Bytes file = {0};
  EventList list = {0};
  if (argc != 2) {
    fprintf(stderr, "usage: wav_events FILE.wav\n");
    return 2;
  }
  const bool good = read_file(argv[1], &file) && list_events(&file, &list);
  events_write(&list, stdout);
  events_free(&list);
  free(file.bytes);
  return good ? 0 : 1;
}
