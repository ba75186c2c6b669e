/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/recorder.h"

#include <math.h>
#include <string.h>

enum {
  NOTE_ON = 0x90,
  FIRST_OF_NO_NOTE = 0xb0, ///< Below are notes, and the pressure on their keys
};

/** Begin a record of a header, in which `value` goes into `size`, and `size` bytes.
 * Returns where those belong; NULL if there is no room. */
HR_REALTIME static uint8_t* begin_record(HrRecorder* recorder, uint32_t type, HrTick tick,
                                         uint32_t value, uint32_t size)
{
  HrRing* const ring = recorder->capture ? &recorder->capture->ring : NULL;
  HrCaptureHeader* const header =
      ring ? hr_ring_begin(ring, type, (uint32_t)sizeof *header + size) : NULL;
  if (!header) {
    ++recorder->dropped;
    return NULL;
  }
  *header = (HrCaptureHeader){recorder->target.number, value, tick};
  return (uint8_t*)(header + 1);
}

HR_REALTIME static bool write_record(HrRecorder* recorder, uint32_t type, HrTick tick,
                                     uint32_t value, const void* bytes, uint32_t size)
{
  uint8_t* const room = begin_record(recorder, type, tick, value, size);
  if (room) {
    hr_midi_copy(room, bytes, size);
    hr_ring_end(&recorder->capture->ring);
  }
  return room;
}

/** Write a message and the name of its sender. */
HR_REALTIME_SELDOM static bool write_sent(HrRecorder* recorder, HrTick tick, const uint8_t* bytes,
                                          uint32_t size)
{
  const uint32_t all = size + recorder->sender_size;
  uint8_t* const room = begin_record(recorder, HR_CAPTURE_SENT, tick, size, all);
  if (room) {
    memcpy(room, bytes, size);
    memcpy(room + size, recorder->sender, recorder->sender_size);
    hr_ring_end(&recorder->capture->ring);
  }
  return room;
}

HR_REALTIME static bool write_event(HrRecorder* recorder, uint32_t type, HrTick tick,
                                    const uint8_t* bytes, uint32_t size)
{
  return write_record(recorder, type, tick, size, bytes, size);
}

/** Let an event of the target's own move its end, as appending it will. */
HR_REALTIME static void follow_event(HrTarget* target, const HrRecord* record,
                                     const HrCaptureHeader* header)
{
  if (header->tick > target->head || target->empty) {
    target->head = header->tick;
  }
  target->empty = false;
  target->fresh = false;
  target->tempo_assumed = false;
  if (record->type == HR_CAPTURE_META && record->size - sizeof *header >= header->size) {
    hr_meta_apply(&target->tempo, (const uint8_t*)(header + 1), header->size);
  }
}

bool hr_recorder_follow(const HrRing* ring, uint64_t from, HrTarget* target)
{
  const HrRecord* record;
  bool music = false;
  while ((record = hr_ring_next(ring, &from))) {
    const HrCaptureHeader* const header = (const HrCaptureHeader*)(record + 1);
    const uint32_t type = record->type;
    if (record->size < sizeof *header) {
      continue; // Of a damaged file
    }
    if (type == HR_CAPTURE_FORK) {
      target->empty = false;
      if (header->size == target->number && header->tick > target->head) {
        target->head = header->tick; // A branch ends no earlier than its children begin
      }
    } else if ((type == HR_CAPTURE_MIDI || type == HR_CAPTURE_SENT || type == HR_CAPTURE_META) &&
               header->branch == target->number) {
      follow_event(target, record, header);
      music = true;
    }
  }
  return music;
}

void hr_recorder_attach(HrRecorder* recorder, const HrAttachMessage* message)
{
  HrTarget target = message->target;
  if (recorder->capture) {
    hr_recorder_close_held(recorder, recorder->target.head);
  }
  if (recorder->capture && message->same_tree) {
    hr_recorder_follow(&recorder->capture->ring, message->known, &target);
  }
  recorder->capture = message->capture;
  recorder->target = target;
  recorder->numbers = message->numbers;
  recorder->held = (HrSounding){0};
}

HR_REALTIME static bool same_tempo(const HrTempo* a, const HrTempo* b)
{
  return a->tempo == b->tempo && a->beats_per_bar == b->beats_per_bar &&
         a->beat_unit == b->beat_unit;
}

HR_REALTIME_SELDOM static void write_tempo(HrRecorder* recorder, HrTick tick, const HrTempo* tempo)
{
  HrTempo* const known = &recorder->target.tempo;
  uint8_t bytes[HR_META_TEMPO_SIZE];
  if (known->tempo != tempo->tempo) {
    hr_meta_tempo(tempo->tempo, bytes);
    if (write_event(recorder, HR_CAPTURE_META, tick, bytes, HR_META_TEMPO_SIZE)) {
      known->tempo = tempo->tempo;
    }
  }
  if (known->beats_per_bar != tempo->beats_per_bar || known->beat_unit != tempo->beat_unit) {
    hr_meta_meter(tempo->beats_per_bar, tempo->beat_unit, bytes);
    if (write_event(recorder, HR_CAPTURE_META, tick, bytes, HR_META_METER_SIZE)) {
      known->beats_per_bar = tempo->beats_per_bar;
      known->beat_unit = tempo->beat_unit;
    }
  }
}

/** Write tempo and meter before what comes at `tick`, if the branch has others. */
HR_REALTIME static void follow_tempo(HrRecorder* recorder, HrTick tick, const HrTempo* tempo)
{
  const HrTarget* const target = &recorder->target;
  if (!same_tempo(&target->tempo, tempo)) {
    const bool known = target->tempo.tempo > 0.0 && !target->tempo_assumed;
    write_tempo(recorder, known || tick < target->head ? tick : target->head, tempo);
  }
}

void hr_recorder_append(HrRecorder* recorder, HrTick tick, const HrTempo* tempo,
                        const uint8_t* bytes, uint32_t size)
{
  follow_tempo(recorder, tick, tempo);
  if (recorder->sender ? write_sent(recorder, tick, bytes, size)
                       : write_event(recorder, HR_CAPTURE_MIDI, tick, bytes, size)) {
    ++recorder->recorded;
    recorder->target.head = tick;
    recorder->target.empty = false;
    recorder->target.fresh = false;
    recorder->target.tempo_assumed = false;
    hr_sounding_follow(&recorder->held, bytes, size);
  }
}

/** Too little to hear by itself, as in each block of a host's tempo ramp. */
HR_REALTIME static bool differs_little(const HrTempo* a, const HrTempo* b)
{
  return fabs(a->tempo - b->tempo) < 0.01 * a->tempo && a->beats_per_bar == b->beats_per_bar &&
         a->beat_unit == b->beat_unit;
}

void hr_recorder_tempo(HrRecorder* recorder, HrTick tick, const HrTempo* tempo)
{
  const HrTarget* const target = &recorder->target;
  if (!target->tempo_assumed && tick >= target->head && !differs_little(&target->tempo, tempo)) {
    write_tempo(recorder, tick, tempo);
    recorder->target.head = tick;
  }
}

void hr_recorder_close_held(HrRecorder* recorder, HrTick tick)
{
  HrTarget* const target = &recorder->target;
  uint8_t bytes[3];
  while (hr_sounding_release(&recorder->held, bytes)) {
    target->head = tick > target->head ? tick : target->head;
    write_event(recorder, HR_CAPTURE_MIDI, target->head, bytes, sizeof bytes);
  }
}

bool hr_recorder_fork(HrRecorder* recorder, HrTick tick, uint32_t number, bool carry,
                      HrCaptureCause cause)
{
  HrNumbers* const numbers = &recorder->numbers;
  const uint32_t taken = number ? number : numbers->next;
  if (!number && numbers->next >= numbers->end) {
    return false;
  }
  const HrSounding held = recorder->held;
  const uint32_t from = recorder->target.number;
  const bool past = tick < recorder->target.head && !recorder->target.tempo_assumed;
  hr_recorder_close_held(recorder, tick);
  recorder->target.number = taken;
  if (!write_record(recorder, HR_CAPTURE_FORK, tick, from, &cause, sizeof cause)) {
    recorder->target.number = from;
    return false;
  }
  if (!number) {
    ++numbers->next;
  }
  if (carry) {
    recorder->held = held;
  }
  if (past) {
    recorder->target.tempo = (HrTempo){0}; // Another one may be in force there: say it again
  }
  recorder->target.head = tick;
  recorder->target.empty = false;
  recorder->target.fresh = true;
  recorder->moved = true;
  return true;
}

/** Where the messages of a state go. */
typedef struct {
  HrSounding* held;
  uint8_t* bytes; ///< NULL: they are counted
  uint32_t size;
} StateWriter;

HR_REALTIME_SELDOM static void write_state_message(StateWriter* writer, const uint8_t* bytes,
                                                   uint32_t size)
{
  if (writer->bytes) {
    hr_midi_copy(writer->bytes + writer->size, bytes, size);
  }
  writer->size += size;
}

HR_REALTIME_SELDOM static void add_state_message(void* data, const uint8_t* bytes, uint32_t size)
{
  StateWriter* const writer = data;
  if (bytes[0] < FIRST_OF_NO_NOTE) {
    return;
  }
  write_state_message(writer, bytes, size);
  if (writer->bytes) {
    hr_sounding_follow(writer->held, bytes, size);
  }
}

/** Write, or count, what makes up the state, and the notes that the record holds. */
HR_REALTIME_SELDOM static void write_state(StateWriter* writer, const HrChase* state)
{
  HrChase none;
  hr_chase_init(&none);
  hr_chase_send(&none, state, add_state_message, writer);
  for (unsigned channel = 0; writer->held->count && channel < 16; ++channel) {
    for (unsigned note = 0; note < 128; ++note) {
      const uint8_t bytes[3] = {(uint8_t)(NOTE_ON | channel), (uint8_t)note, 64};
      if (writer->held->notes[channel][note]) {
        write_state_message(writer, bytes, sizeof bytes);
      }
    }
  }
}

void hr_recorder_state(HrRecorder* recorder, HrTick tick, const HrTempo* tempo,
                       const HrChase* state)
{
  StateWriter writer = {.held = &recorder->held};
  follow_tempo(recorder, tick, tempo);
  write_state(&writer, state);
  const uint32_t size = writer.size;
  writer.bytes = begin_record(recorder, HR_CAPTURE_STATE, tick, size, size);
  if (writer.bytes) {
    writer.size = 0;
    write_state(&writer, state);
    hr_ring_end(&recorder->capture->ring);
  }
}

void hr_recorder_switch(HrRecorder* recorder, HrTick tick, const HrTarget* target,
                        HrCaptureCause cause)
{
  hr_recorder_close_held(recorder, tick);
  recorder->target = *target;
  write_record(recorder, HR_CAPTURE_SWITCH, tick, 0, &cause, sizeof cause);
  recorder->moved = true;
}
