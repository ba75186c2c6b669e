/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file midi_file.h
 * Standard MIDI Files (MIDI 1.0 detailed specification, RP-001), as a stream of
 * events in time order. Knows nothing of the store.
 *
 * Our own, because libsmf 1.3 will not do for a program that keeps music: it
 * aborts on 730 of 2000 files with up to four damaged bytes, and on correct
 * ones with an escaped message or a divided SysEx; it drops the rest of a track
 * after a text of 128 bytes without a word, and refuses to write one; saving
 * 10^6 events takes it 490 s. The tests use it to check what is written here.
 *
 * One thread. Units: pulses, of which a quarter note has the file's resolution.
 */

#ifndef HR_TOOLS_MIDI_FILE_H
#define HR_TOOLS_MIDI_FILE_H

#include "store/status.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/** Meta event types used here. */
enum {
  HR_MIDI_TEXT = 0x01,
  HR_MIDI_COPYRIGHT = 0x02,
  HR_MIDI_LYRIC = 0x05,
  HR_MIDI_MARKER = 0x06,
  HR_MIDI_CUE = 0x07,
  HR_MIDI_END_OF_TRACK = 0x2f,
  HR_MIDI_TEMPO = 0x51, ///< u24 big-endian, microseconds a quarter note
  HR_MIDI_METER = 0x58, ///< Beats a bar, log2 of the beat unit, two more bytes
};

/** `meta` of an event that is a MIDI message. */
#define HR_MIDI_MESSAGE (-1)

/** One MIDI message as it goes over the wire, or one meta event's content. */
typedef struct {
  uint64_t pulse;
  int meta; ///< Its type, or HR_MIDI_MESSAGE
  uint32_t size;
  const uint8_t* bytes;
} HrMidiEvent;

/* ---- Reading -------------------------------------------------------- */

typedef struct HrMidiReaderImpl HrMidiReader;

/** Read the file that lies in `bytes`, which stay the caller's and must outlive
 * the reader. Formats 0 and 1, resolutions in pulses a quarter note.
 * HR_ERR_ARGUMENT for other kinds of files, HR_ERR_TRUNCATED, HR_ERR_DAMAGED,
 * HR_ERR_NO_MEMORY; `error` says more. On failure `*reader` is NULL. */
HrStatus hr_midi_reader_new(const uint8_t* bytes, size_t size, HrMidiReader** reader,
                            HrError* error);

/** Pulses a quarter note, at least 1. */
uint32_t hr_midi_reader_resolution(const HrMidiReader* reader);

/** The next event of all tracks in time order; at one pulse in the order of the
 * tracks, and within a track as written. A SysEx written in pieces comes whole,
 * where it began; one that nothing ends gets its F7. The bytes of `event` live
 * until the next call. HR_END after the last; HR_ERR_TRUNCATED, HR_ERR_DAMAGED,
 * HR_ERR_LIMIT (a message or a time too large), HR_ERR_NO_MEMORY. */
HrStatus hr_midi_reader_next(HrMidiReader* reader, HrMidiEvent* event, HrError* error);

/** Where the last of the tracks ends, which may be after its last event; behind HR_END. */
uint64_t hr_midi_reader_end(const HrMidiReader* reader);

/** Escaped bytes so far that were no MIDI messages and were left out. */
uint64_t hr_midi_reader_stray_bytes(const HrMidiReader* reader);

void hr_midi_reader_free(HrMidiReader* reader);

/* ---- Writing -------------------------------------------------------- */

/** Writes a file of format 0. Zero-initialise it. */
typedef struct {
  FILE* file; ///< The caller's; at the start, and able to seek
  uint64_t pulse;
  uint64_t track_bytes;
} HrMidiWriter;

/** HR_ERR_IO or HR_ERR_NO_SPACE, as all of these. */
HrStatus hr_midi_writer_begin(HrMidiWriter* writer, FILE* file, uint16_t resolution);

/** Write an event at or after the one before. Messages that have no form of
 * their own in these files (real time, incomplete ones) are escaped: no byte is
 * lost. HR_ERR_LIMIT when the track has no room left (4 GiB). */
HrStatus hr_midi_writer_put(HrMidiWriter* writer, const HrMidiEvent* event);

/** End the track at `pulse`, or at the last event, and flush. */
HrStatus hr_midi_writer_end(HrMidiWriter* writer, uint64_t pulse);

#endif
