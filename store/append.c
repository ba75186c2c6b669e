/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/internal.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

void hr_meta_tempo(double tempo, uint8_t bytes[HR_META_TEMPO_SIZE])
{
  bytes[0] = HR_META_TEMPO;
  memcpy(bytes + 1, &tempo, sizeof tempo);
}

void hr_meta_meter(uint16_t beats, uint16_t unit, uint8_t bytes[HR_META_METER_SIZE])
{
  bytes[0] = HR_META_METER;
  memcpy(bytes + 1, &beats, sizeof beats);
  memcpy(bytes + 3, &unit, sizeof unit);
}

static bool set_tempo(HrTempo* tempo, double value)
{
  const bool sane = value > 0.0 && value < 1e6;
  tempo->tempo = sane ? value : tempo->tempo;
  return sane;
}

static bool set_meter(HrTempo* tempo, uint16_t beats, uint16_t unit)
{
  const bool sane = beats && unit && unit <= 1024;
  tempo->beats_per_bar = sane ? beats : tempo->beats_per_bar;
  tempo->beat_unit = sane ? unit : tempo->beat_unit;
  return sane;
}

bool hr_meta_apply(HrTempo* tempo, const uint8_t* bytes, uint32_t size)
{
  if (size == HR_META_TEMPO_SIZE && bytes[0] == HR_META_TEMPO) {
    double value;
    memcpy(&value, bytes + 1, sizeof value);
    return set_tempo(tempo, value);
  }
  if (size == HR_META_METER_SIZE && bytes[0] == HR_META_METER) {
    uint16_t beats, unit;
    memcpy(&beats, bytes + 1, sizeof beats);
    memcpy(&unit, bytes + 3, sizeof unit);
    return set_meter(tempo, beats, unit);
  }
  return false;
}

void hr_node_tempo(const HrNodeHeader* node, HrTempo* tempo)
{
  *tempo = (HrTempo){HR_DEFAULT_TEMPO, 4, 4};
  set_tempo(tempo, node->tempo);
  set_meter(tempo, node->beats_per_bar, node->beat_unit);
}

void hr_tail_free(HrTail* tail)
{
  free(tail->node);
  free(tail->state);
}

static HrStatus reserve_bytes(HrTail* tail, size_t bytes)
{
  if (bytes <= tail->bytes) {
    return HR_OK;
  }
  void* const node = realloc(tail->node, bytes);
  if (!node) {
    return HR_ERR_NO_MEMORY;
  }
  tail->node = node;
  tail->bytes = bytes;
  return HR_OK;
}

/** Put the open node, if there is one with something new. */
static HrStatus put_open_node(HrTxn* txn)
{
  HrTail* const tail = &txn->tail;
  if (!tail->open || !tail->dirty) {
    return HR_OK;
  }
  tail->node->checksum = hr_node_checksum(tail->node, &tail->key);
  MDB_val value = {hr_node_bytes(tail->node), tail->node};
  return hr_node_put(txn, (MDB_val){sizeof tail->key, &tail->key}, &value);
}

HrStatus hr_tail_flush(HrTxn* txn)
{
  HrTail* const tail = &txn->tail;
  if (!tail->dirty) {
    return HR_OK;
  }
  HrStatus status = put_open_node(txn);
  status = status ? status : hr_branch_put(txn, &tail->branch);
  tail->dirty = status != HR_OK;
  return status;
}

HrStatus hr_tail_close(HrTxn* txn)
{
  HrTail* const tail = &txn->tail;
  const HrStatus status = hr_tail_flush(txn);
  tail->branch.id = 0;
  tail->open = false;
  tail->state_known = false;
  return status;
}

/** The tail's nodes that have ended. */
static uint32_t ended_nodes(const HrTail* tail)
{
  return tail->branch.node_count - tail->open;
}

/** Exchange the state that `store` keeps for the tail's. */
static void exchange_state(HrStore* store, HrTail* tail, HrBranchId branch)
{
  HrChase* const kept = store->ended.state;
  store->ended = (HrEndedState){branch, ended_nodes(tail), tail->state};
  tail->state = kept;
}

static void take_kept_state(HrTxn* txn)
{
  HrTail* const tail = &txn->tail;
  HrStore* const store = txn->store;
  pthread_mutex_lock(&store->ended_lock);
  if (store->ended.branch == tail->branch.id && store->ended.nodes == ended_nodes(tail)) {
    exchange_state(store, tail, 0);
    tail->state_known = true;
  }
  pthread_mutex_unlock(&store->ended_lock);
}

void hr_tail_keep_state(HrTxn* txn)
{
  HrTail* const tail = &txn->tail;
  if (tail->state_known) {
    pthread_mutex_lock(&txn->store->ended_lock);
    exchange_state(txn->store, tail, tail->branch.id);
    pthread_mutex_unlock(&txn->store->ended_lock);
    tail->state_known = false;
  }
}

/** True if more can be put into a node that is in the file. */
static bool has_room(const MDB_val* value)
{
  return ((const HrNodeHeader*)value->mv_data)->word_count < HR_NODE_WORDS;
}

/** Make `branch` the one appended to: fetch its record, and its last node unless that is full. */
static HrStatus open_tail(HrTxn* txn, HrBranchId branch)
{
  HrTail* const tail = &txn->tail;
  HrStatus status = hr_tail_close(txn);
  if (status) {
    return status;
  }
  HrBranch record;
  MDB_val value;
  status = hr_branch_get(txn, branch, &record);
  status = status ? status : hr_tempo_at(txn, branch, INT64_MAX, &tail->tempo);
  if (status) {
    return status;
  }
  tail->branch = record;
  tail->anywhere = hr_branch_is_untouched(txn, &record);
  if (!record.node_count) {
    return HR_OK;
  }
  status = hr_node_last(txn, branch, &tail->key, &value);
  if (status == HR_ERR_NOT_FOUND || (!status && !hr_node_valid(&tail->key, &value))) {
    return HR_OK; // What is damaged is left as it is; a new node goes behind it
  }
  if (!status && has_room(&value)) {
    if (!hr_value_replaceable(txn->store, &value)) {
      return HR_OK;
    }
    status = reserve_bytes(tail, HR_NODE_SIZE);
    if (!status) {
      memcpy(tail->node, value.mv_data, value.mv_size);
      tail->open = true;
    }
  }
  if (!status) {
    take_kept_state(txn);
  }
  return status;
}

/** Words of an event that does not fit one. */
static uint32_t words_of(uint32_t size)
{
  return 1 + (size + 7) / 8;
}

uint32_t hr_event_words(const HrEvent* event)
{
  return event->kind == HR_EVENT_MIDI && event->size <= 3 ? 1 : words_of(event->size);
}

void hr_event_put(HrWord* word, HrTick base, const HrEvent* event)
{
  const uint32_t words = hr_event_words(event);
  *word = (HrWord){.offset = (uint32_t)(event->tick - base)};
  if (event->kind == HR_EVENT_MIDI && event->size <= sizeof word->bytes) {
    word->length = (uint8_t)event->size;
    for (uint32_t i = 0; i < sizeof word->bytes; ++i) {
      word->bytes[i] = i < event->size ? event->bytes[i] : 0;
    }
  } else {
    word->length = event->kind == HR_EVENT_META ? HR_WORD_META : HR_WORD_LONG;
    word->bytes[0] = (uint8_t)event->size;
    word->bytes[1] = (uint8_t)(event->size >> 8);
    word->bytes[2] = (uint8_t)(event->size >> 16);
    memset(word + words - 1, 0, sizeof *word);
    memcpy(word + 1, event->bytes, event->size);
  }
}

static void put_event(HrNodeHeader* node, const HrEvent* event)
{
  const uint32_t words = hr_event_words(event);
  hr_event_put((HrWord*)(node + 1) + node->word_count, node->base_tick, event);
  node->flags |= words > 1 ? HR_NODE_HAS_LONG : 0;
  node->word_count += words;
  node->event_count += 1;
  node->last_tick = event->tick;
}

/** True if the branch's next node begins with the state there. */
static bool checkpoint_due(const HrTail* tail)
{
  return tail->branch.node_count % HR_CHECKPOINT_NODES == 0;
}

/** Put the open node, to which nothing more is added, and follow its events if the
 * state before it is known. */
static HrStatus end_node(HrTxn* txn)
{
  HrTail* const tail = &txn->tail;
  const HrStatus status = put_open_node(txn);
  if (!status && tail->open && tail->state_known) {
    hr_chase_node(tail->state, tail->node, INT64_MAX);
  }
  tail->open = tail->open && status;
  return status;
}

/** Make the bytes of a checkpoint at the end of the branch; its last node has ended. A
 * state that is known is carried along: reading all nodes since the last checkpoint
 * again would cost more than writing them. */
static HrStatus make_checkpoint(HrTxn* txn, uint8_t** state, uint32_t* size)
{
  HrTail* const tail = &txn->tail;
  HrStatus status = HR_OK;
  if (!tail->state_known) {
    tail->state = tail->state ? tail->state : malloc(sizeof *tail->state);
    status =
        tail->state ? hr_chase_at(txn, tail->branch.id, INT64_MAX, tail->state) : HR_ERR_NO_MEMORY;
    tail->state_known = status == HR_OK;
  }
  return status ? status : hr_checkpoint_make(tail->state, state, size);
}

/** Make the head of the branch's next node, which begins at `tick`, and count it in. */
static void begin_node(HrTail* tail, HrNodeHeader* node, HrTick tick,
                       const HrAppendOptions* options)
{
  *node = (HrNodeHeader){
      .magic = HR_NODE_MAGIC,
      .version = HR_NODE_VERSION,
      .base_tick = tick,
      .last_tick = tick,
      .wall_clock_ns =
          options && options->wall_clock_ns ? options->wall_clock_ns : hr_wall_clock_ns(),
      .tempo = tail->tempo.tempo,
      .beats_per_bar = tail->tempo.beats_per_bar,
      .beat_unit = tail->tempo.beat_unit,
      .author = options ? options->author : 0,
  };
  tail->branch.node_count += 1;
}

/** Start the branch's next node with an event of `words` words. */
static HrStatus start_node(HrTxn* txn, HrTick tick, uint32_t words, const HrAppendOptions* options)
{
  HrTail* const tail = &txn->tail;
  uint8_t* state = NULL;
  uint32_t state_size = 0;
  HrStatus status = end_node(txn);
  if (!status && checkpoint_due(tail)) {
    status = make_checkpoint(txn, &state, &state_size);
    words += state_size ? words_of(state_size) : 0;
  }
  const size_t bytes = sizeof(HrNodeHeader) + words * sizeof(HrWord);
  status = status ? status : reserve_bytes(tail, bytes > HR_NODE_SIZE ? bytes : HR_NODE_SIZE);
  if (status) {
    free(state);
    return status;
  }
  hr_tick_key(&tail->key, tail->branch.id, tick, tail->branch.node_count);
  begin_node(tail, tail->node, tick, options);
  tail->open = true;
  if (state_size) {
    const HrEvent event = {tick, HR_EVENT_META, state_size, state};
    put_event(tail->node, &event);
    tail->node->event_count = 0;
  }
  free(state);
  return HR_OK;
}

static bool is_past(const HrTail* tail, HrTick tick)
{
  return tick < tail->branch.head_tick && !(tail->anywhere && !tail->branch.event_count);
}

/** Make `branch` the one appended to, if it can take an event at `tick`. */
static HrStatus begin_append(HrTxn* txn, HrBranchId branch, HrTick tick)
{
  HrTail* const tail = &txn->tail;
  if (txn->mode != HR_WRITE) {
    return HR_ERR_READ_ONLY;
  }
  if (!hr_tick_valid(tick)) {
    return HR_ERR_ARGUMENT;
  }
  if (tail->branch.id != branch) {
    const HrStatus status = open_tail(txn, branch);
    if (status) {
      return status;
    }
  }
  return is_past(tail, tick) ? HR_ERR_PAST : HR_OK;
}

/** Words that the open node takes from `tick` on; 0: a new one is needed. */
static uint32_t room_in_node(const HrTail* tail, HrTick tick, const HrAppendOptions* options)
{
  const bool fits = tail->open && tail->node->word_count < HR_NODE_WORDS &&
                    tail->node->author == (options ? options->author : 0) &&
                    tick - tail->node->base_tick <= (HrTick)UINT32_MAX;
  return fits ? HR_NODE_WORDS - tail->node->word_count : 0;
}

HrStatus hr_append(HrTxn* txn, HrBranchId branch, const HrEvent* event,
                   const HrAppendOptions* options)
{
  HrTail* const tail = &txn->tail;
  if (!event->size || event->size > HR_EVENT_SIZE_MAX) {
    return HR_ERR_ARGUMENT;
  }
  HrStatus status = begin_append(txn, branch, event->tick);
  if (status) {
    return status;
  }
  const uint32_t words = hr_event_words(event);
  if (room_in_node(tail, event->tick, options) < words) {
    status = start_node(txn, event->tick, words, options);
    if (status) {
      return status;
    }
  }
  put_event(tail->node, event);
  if (event->kind == HR_EVENT_META) {
    hr_meta_apply(&tail->tempo, event->bytes, event->size);
  }
  tail->branch.head_tick = event->tick;
  tail->branch.event_count += 1;
  tail->dirty = true;
  return HR_OK;
}

/** A word as one number: its offset in the lower half, above it its length. */
static inline uint64_t number_of(const HrWord* word)
{
  uint64_t number;
  memcpy(&number, word, sizeof number);
  return number;
}

/** Copy words with their offsets shifted. True if all are short messages, in order. No branch
 * and no comparison in the loop: several words are looked at at a time. */
static bool copy_words(HrWord* restrict out, const HrWord* restrict words, uint32_t count,
                       uint64_t shift)
{
  const uint64_t length_one = (uint64_t)1 << 32;
  const uint64_t first = number_of(words);
  uint64_t lengths = first | (first - length_one); // Of 0 is left 255
  uint64_t backwards = 0; // Bit 32: an offset borrows, as it is below the one before
  memcpy(out, &(uint64_t){first + shift}, sizeof *out);
  for (uint32_t i = 1; i < count; ++i) {
    const uint64_t before = number_of(&words[i - 1]);
    const uint64_t word = number_of(&words[i]);
    const uint64_t shifted = word + shift; // No offset overflows
    lengths |= word | (word - length_one);
    backwards |= word ^ before ^ (word - before);
    memcpy(&out[i], &shifted, sizeof shifted);
  }
  return !(lengths >> 32 & 0xff & ~sizeof words->bytes) && !(backwards >> 32 & 1);
}

/** Put words into the branch's last node, as many as there is room for. HR_ERR_ARGUMENT if one of
 * them is none. */
static HrStatus put_words(HrTail* tail, HrNodeHeader* node, uint32_t room, HrTick base,
                          const HrWord* words, size_t count, size_t* taken)
{
  HrWord* const out = (HrWord*)(node + 1) + node->word_count;
  const HrTick shift = base - node->base_tick;
  uint32_t fit = count < room ? (uint32_t)count : room;
  while (words[fit - 1].offset + shift > (HrTick)UINT32_MAX) {
    --fit; // The first fits: the node was looked at for it
  }
  if (!copy_words(out, words, fit, (uint64_t)shift)) {
    return HR_ERR_ARGUMENT;
  }
  node->word_count += fit;
  node->event_count += fit;
  node->last_tick = base + words[fit - 1].offset;
  tail->branch.head_tick = node->last_tick;
  tail->branch.event_count += fit;
  tail->dirty = true;
  *taken += fit;
  return HR_OK;
}

/** How many nodes to make at once of `count` words before the next checkpoint. */
static uint32_t extent_of(const HrTail* tail, size_t count)
{
  const uint32_t due = HR_CHECKPOINT_NODES - tail->branch.node_count % HR_CHECKPOINT_NODES;
  const size_t whole = count / HR_NODE_WORDS;
  uint32_t nodes = whole < due ? (uint32_t)whole : due;
  nodes = nodes < HR_EXTENT_NODES ? nodes : HR_EXTENT_NODES;
  return nodes - !(nodes % 2);
}

/** Make whole nodes of HR_NODE_WORDS words each, on their pages. No node is open, and no checkpoint
 * is due before the last of them. Their events are still to be followed: those of more, at once. */
static HrStatus put_full_nodes(HrTxn* txn, HrTick base, const HrWord* words, uint32_t nodes,
                               const HrAppendOptions* options, size_t* taken)
{
  HrTail* const tail = &txn->tail;
  const HrTick first = base + words->offset;
  HrExtentKey places;
  hr_tick_key(&places.first, tail->branch.id, first, tail->branch.node_count);
  for (uint32_t i = 1; i < nodes; ++i) {
    places.later[i - 1] = words[(size_t)i * HR_NODE_WORDS].offset - words->offset;
  }
  const MDB_val key = {offsetof(HrExtentKey, later[nodes - 1]), &places};
  MDB_val value = {hr_extent_bytes(nodes), NULL};
  HrStatus status = hr_node_put(txn, key, &value);
  for (uint32_t i = 0; i < nodes && !status; ++i) {
    HrTickKey place;
    hr_extent_key(&key, i, &place);
    HrNodeHeader* const node = hr_extent_node(&key, &value, i).mv_data;
    if (is_past(tail, hr_tick_key_tick(&place))) {
      return HR_ERR_ARGUMENT;
    }
    begin_node(tail, node, hr_tick_key_tick(&place), options);
    status = put_words(tail, node, HR_NODE_WORDS, base, words + *taken, HR_NODE_WORDS, taken);
    node->checksum = hr_node_checksum(node, &place);
    if (i + 1 < nodes) {
      memset((char*)node + HR_NODE_SIZE, 0, HR_PAGE_SIZE - HR_NODE_SIZE);
    }
  }
  return status;
}

/** Make whole nodes up to the next checkpoint, as many as the words fill. */
static HrStatus fill_nodes(HrTxn* txn, HrTick base, const HrWord* words, size_t count,
                           const HrAppendOptions* options, size_t* taken)
{
  HrTail* const tail = &txn->tail;
  HrStatus status = HR_OK;
  while (!status && count - *taken >= HR_NODE_WORDS && !checkpoint_due(tail)) {
    size_t more = 0;
    status =
        put_full_nodes(txn, base, words + *taken, extent_of(tail, count - *taken), options, &more);
    *taken += more;
  }
  if (!status && tail->state_known) {
    hr_chase_follow_words(tail->state, words, *taken);
  }
  return status;
}

/** Fill the open node, or whole nodes, or begin one; at least one word is taken. */
static HrStatus append_some(HrTxn* txn, HrTick base, const HrWord* words, size_t count,
                            const HrAppendOptions* options, size_t* taken)
{
  HrTail* const tail = &txn->tail;
  const HrTick tick = base + words->offset;
  HrStatus status = is_past(tail, tick) ? HR_ERR_ARGUMENT : HR_OK;
  uint32_t room = room_in_node(tail, tick, options);
  if (!status && !room) {
    status = end_node(txn);
    status = status ? status : fill_nodes(txn, base, words, count, options, taken);
    if (status || *taken) {
      return status;
    }
    status = start_node(txn, tick, 1, options);
    room = status ? 0 : room_in_node(tail, tick, options);
    room = room ? room : 1; // A long state fills a node by itself
  }
  return status ? status : put_words(tail, tail->node, room, base, words, count, taken);
}

HrStatus hr_append_words(HrTxn* txn, HrBranchId branch, HrTick base, const HrWord* words,
                         size_t count, const HrAppendOptions* options)
{
  HrAppendOptions all = options ? *options : (HrAppendOptions){0};
  all.wall_clock_ns = all.wall_clock_ns ? all.wall_clock_ns : hr_wall_clock_ns();
  HrStatus status = hr_tick_valid(base) ? HR_OK : HR_ERR_ARGUMENT;
  status = !status && count ? begin_append(txn, branch, base + words->offset) : status;
  if (status) {
    txn->spoilt = txn->spoilt || status == HR_ERR_ARGUMENT;
    return status;
  }
  for (size_t taken = 0; !status && taken < count;) {
    size_t more = 0;
    status = append_some(txn, base, words + taken, count - taken, &all, &more);
    taken += more;
  }
  txn->spoilt = txn->spoilt || status == HR_ERR_ARGUMENT;
  return status;
}
