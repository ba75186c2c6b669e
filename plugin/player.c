/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/player.h"

void hr_player_init(HrPlayer* player, HrRing* const* rings, HrOutput* output)
{
  *player = (HrPlayer){.rings = rings, .output = output, .stream.ring = HR_NO_STREAM};
}

bool hr_player_plays(const HrPlayer* player)
{
  return player->stream.ring != HR_NO_STREAM;
}

HrTick hr_player_tick(const HrPlayer* player, const HrStreamEvent* event)
{
  const HrTick laps = (HrTick)event->lap - player->lap;
  return event->tick + player->shift + laps * player->step;
}

void hr_player_drop(const HrPlayer* player, HrStreamStart* stream)
{
  if (stream->ring != HR_NO_STREAM) {
    HrRing* const ring = player->rings[stream->ring];
    hr_ring_release(ring, hr_ring_write_position(ring));
    stream->ring = HR_NO_STREAM;
  }
}

void hr_player_stop(HrPlayer* player)
{
  hr_player_drop(player, &player->stream);
}

HR_REALTIME static bool is_note_off(const HrRecord* record, const HrStreamEvent* event)
{
  const uint8_t* const bytes = (const uint8_t*)(event + 1);
  return record->type == HR_STREAM_MIDI && event->size == 3 && (bytes[0] & 0xe0) == 0x80 &&
         hr_sound_kind(bytes, event->size) == HR_SOUND_RELEASE;
}

/** A held note that ends just where the replay begins is not begun again. */
HR_REALTIME static void drop_ending_notes(HrPlayer* player, HrTick from)
{
  const HrRing* const ring = player->rings[player->stream.ring];
  uint64_t position = player->position;
  const HrRecord* record;
  while ((record = hr_ring_next(ring, &position))) {
    const HrStreamEvent* const event = (const HrStreamEvent*)(record + 1);
    if (event->lap != player->lap || hr_player_tick(player, event) != from) {
      break;
    }
    if (is_note_off(record, event)) {
      hr_chase_follow(&player->wanted, (const uint8_t*)(event + 1), event->size);
    }
  }
}

/** Take from the stream what only counts for the state: what lies before
 * `from`. Then it is at what there is to play. */
HR_REALTIME static void take_state(HrPlayer* player, HrTick from, HrTempo* tempo)
{
  HrRing* const ring = player->rings[player->stream.ring];
  uint64_t position = player->position;
  const HrRecord* record;
  bool in_state = false;
  hr_chase_init(&player->wanted);
  while ((record = hr_ring_next(ring, &position))) {
    const HrStreamEvent* const event = (const HrStreamEvent*)(record + 1);
    const bool ahead = event->lap > player->lap ||
                       (event->lap == player->lap && hr_player_tick(player, event) >= from);
    if (record->type == HR_STREAM_STATE_BEGIN && event->lap <= player->lap) {
      in_state = true;
      hr_chase_init(&player->wanted);
    }
    if (record->type == HR_STREAM_END || (ahead && !in_state)) {
      break;
    }
    in_state = in_state && record->type != HR_STREAM_STATE_END;
    if (record->type == HR_STREAM_META) {
      hr_meta_apply(tempo, (const uint8_t*)(event + 1), event->size);
    } else if (event->size) {
      hr_chase_follow(&player->wanted, (const uint8_t*)(event + 1), event->size);
    }
    player->position = position;
  }
  hr_ring_release(ring, player->position);
  drop_ending_notes(player, from);
}

void hr_player_start(HrPlayer* player, const HrStreamStart* stream, HrTick from, bool straight,
                     HrTempo* tempo)
{
  const HrStreamStart start = *stream;
  hr_player_stop(player);
  player->stream = start;
  player->position = start.start;
  player->shift = player->step = 0;
  player->lap = 0;
  if (straight && hr_loop_valid(&start.loop)) {
    player->step = start.loop.end - start.loop.start;
    player->shift = hr_loop_shift(&start.loop, from);
    player->lap = (uint32_t)((player->shift - (start.at - start.tick)) / player->step);
  }
  *tempo = start.tempo;
  take_state(player, from, tempo);
}

HR_REALTIME static inline void put(HrPlayer* player, uint32_t frame, const uint8_t* bytes,
                                   uint32_t size)
{
  hr_output_put(player->output, frame, bytes, size);
  player->turned += (bytes[0] & 0xe0) != 0x80;
}

/** Where chased messages go. */
typedef struct {
  HrPlayer* player;
  uint32_t frame;
} Chased;

HR_REALTIME static void put_chased(void* data, const uint8_t* bytes, uint32_t size)
{
  const Chased* const chased = data;
  put(chased->player, chased->frame, bytes, size);
  hr_sounding_follow(&chased->player->sounding, bytes, size);
}

void hr_player_chase(HrPlayer* player, uint32_t frame)
{
  Chased chased = {player, frame};
  hr_chase_send(&player->output->heard, &player->wanted, put_chased, &chased);
}

void hr_player_release(HrPlayer* player, uint32_t frame)
{
  uint8_t bytes[3];
  while (hr_sounding_release(&player->sounding, bytes)) {
    put(player, frame, bytes, sizeof bytes);
  }
}

const HrRecord* hr_player_next(const HrPlayer* player, uint64_t* after)
{
  if (!hr_player_plays(player) || player->output->full) {
    return NULL;
  }
  *after = player->position;
  return hr_ring_next(player->rings[player->stream.ring], after);
}

void hr_player_take(HrPlayer* player, uint32_t frame, const HrRecord* record, uint64_t after)
{
  const HrStreamEvent* const event = (const HrStreamEvent*)(record + 1);
  const uint8_t* const bytes = (const uint8_t*)(event + 1);
  switch (record->type) {
  case HR_STREAM_MIDI:
    put(player, frame, bytes, event->size);
    hr_sounding_follow(&player->sounding, bytes, event->size);
    ++player->played;
    break;
  case HR_STREAM_STATE_BEGIN:
    hr_chase_init(&player->wanted);
    break;
  case HR_STREAM_STATE:
    hr_chase_follow(&player->wanted, bytes, event->size);
    break;
  case HR_STREAM_STATE_END:
    hr_player_chase(player, frame);
    break;
  case HR_STREAM_UNHEARD:
    ++player->output->unheard;
    break;
  default:
    break;
  }
  player->position = after;
  hr_ring_release(player->rings[player->stream.ring], after);
}

void hr_player_lap(HrPlayer* player)
{
  ++player->lap;
  player->shift += player->step;
}
