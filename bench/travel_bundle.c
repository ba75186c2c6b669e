/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "bench/travel_bundle.h"

#include "bench/bench.h"

#include <stdlib.h>
#include <string.h>

static const char magic[8] = "HRTRAVEL";

/* ---- Copies -------------------------------------------------------------- */

static void must(HrStatus status)
{
  bench_require(!status, hr_strerror(status));
}

static void* grown(void* items, size_t size, size_t before, size_t room)
{
  char* const more = realloc(items, size * room);
  bench_require(more, "Out of memory.");
  memset(more + size * before, 0, size * (room - before));
  return more;
}

static void make_room(TravelCopy* copy, uint32_t number)
{
  uint32_t room = copy->room ? copy->room : 64;
  while (room <= number) {
    room *= 2;
  }
  if (room > copy->room) {
    copy->ids = grown(copy->ids, sizeof *copy->ids, copy->room, room);
    for (unsigned i = 0; i < TRAVEL_REPLICAS_MAX; ++i) {
      copy->locals[i] = grown(copy->locals[i], sizeof *copy->locals[i], copy->room, room);
    }
    copy->room = room;
  }
}

static void know(TravelCopy* copy, TravelId id, uint32_t number)
{
  make_room(copy, id.number > number ? id.number : number);
  copy->ids[number] = id;
  copy->locals[id.replica][id.number] = number;
}

static uint32_t replica_index(const TravelReplica* replicas, uint32_t count,
                              const TravelReplica* replica)
{
  uint32_t index = 0;
  while (index < count && memcmp(&replicas[index], replica, sizeof *replica) != 0) {
    ++index;
  }
  return index;
}

/** Its index, given to it if it was not known. */
static uint32_t know_replica(TravelCopy* copy, const TravelReplica* replica)
{
  const uint32_t index = replica_index(copy->replicas, copy->replica_count, replica);
  if (index == copy->replica_count) {
    bench_require(index < TRAVEL_REPLICAS_MAX, "Too many replicas.");
    copy->replicas[copy->replica_count++] = *replica;
  }
  return index;
}

/** The next branch of the copy's tree, in the order of numbers: parents come first. */
static bool next_branch(HrTxn* txn, const TravelCopy* copy, HrBranch* branch)
{
  const uint32_t after = branch->id ? hr_branch_number(branch->id) : 0;
  const HrStatus status = hr_branch_next(txn, copy->tree, after, branch);
  if (status != HR_END) {
    must(status);
  }
  return !status;
}

static HrTxn* begin(const TravelCopy* copy, HrTxnMode mode)
{
  HrTxn* txn = NULL;
  must(hr_txn_begin(copy->store, mode, &txn));
  return txn;
}

void travel_begin(TravelCopy* copy, HrStore* store, HrTreeId tree, const TravelReplica* self,
                  const TravelCopy* from)
{
  *copy = (TravelCopy){.store = store, .tree = tree};
  for (uint32_t i = 0; from && i < from->replica_count; ++i) {
    know_replica(copy, &from->replicas[i]);
  }
  copy->self = know_replica(copy, self);
  HrTxn* const txn = begin(copy, HR_READ);
  HrBranch branch = {0};
  while (next_branch(txn, copy, &branch)) {
    const uint32_t number = hr_branch_number(branch.id);
    know(copy, from ? from->ids[number] : (TravelId){copy->self, number}, number);
  }
  hr_txn_abort(txn);
}

void travel_end(TravelCopy* copy)
{
  for (unsigned i = 0; i < TRAVEL_REPLICAS_MAX; ++i) {
    free(copy->locals[i]);
  }
  free(copy->ids);
  hr_store_close(copy->store);
  *copy = (TravelCopy){0};
}

void travel_made(TravelCopy* copy, uint32_t number)
{
  know(copy, (TravelId){copy->self, number}, number);
}

bool travel_is_own(const TravelCopy* copy, uint32_t number)
{
  return copy->ids[number].replica == copy->self;
}

/* ---- What one has ---------------------------------------------------------- */

void travel_have(const TravelCopy* copy, TravelHave* have)
{
  HrBranch branch = {0};
  *have = (TravelHave){.replica_count = copy->replica_count, .room = copy->room};
  memcpy(have->replicas, copy->replicas, sizeof have->replicas);
  for (uint32_t i = 0; i < have->replica_count; ++i) {
    have->events[i] = grown(NULL, sizeof **have->events, 0, have->room);
  }
  have->bytes = have->replica_count * sizeof(TravelReplica);
  HrTxn* const txn = begin(copy, HR_READ);
  while (next_branch(txn, copy, &branch)) {
    const TravelId id = copy->ids[hr_branch_number(branch.id)];
    have->events[id.replica][id.number] = branch.event_count + 1;
    have->bytes += sizeof(TravelHaving);
  }
  hr_txn_abort(txn);
}

void travel_have_free(TravelHave* have)
{
  for (uint32_t i = 0; i < have->replica_count; ++i) {
    free(have->events[i]);
  }
  *have = (TravelHave){0};
}

bool travel_have_events(const TravelHave* have, const TravelCopy* copy, uint32_t number,
                        uint64_t* events)
{
  const TravelId id = copy->ids[number];
  const uint32_t index =
      replica_index(have->replicas, have->replica_count, &copy->replicas[id.replica]);
  const uint64_t known =
      index < have->replica_count && id.number < have->room ? have->events[index][id.number] : 0;
  *events = known ? known - 1 : 0;
  return known;
}

/* ---- Making a bundle ------------------------------------------------------- */

/** Room for `size` bytes and zeros up to a multiple of 8, at the end of the bundle. */
static uint8_t* add(TravelBundle* bundle, size_t size)
{
  const size_t padded = (size + 7) / 8 * 8;
  while (bundle->size + padded > bundle->room) {
    const size_t room = bundle->room ? 2 * bundle->room : 1 << 16;
    bundle->bytes = grown(bundle->bytes, 1, bundle->room, room);
    bundle->room = room;
  }
  uint8_t* const at = bundle->bytes + bundle->size;
  memset(at, 0, padded);
  bundle->size += padded;
  return at;
}

static size_t node_bytes(const HrNodeHeader* node)
{
  return sizeof *node + node->word_count * sizeof(HrWord);
}

/** Add the branch's own nodes from the one on that holds the first event after the
 * `had` that are there. Returns how many, their events in `*events`. */
static uint32_t add_nodes(HrTxn* txn, TravelBundle* bundle, const HrBranch* branch, uint64_t had,
                          uint64_t* first_event)
{
  HrPath path;
  HrSpan span;
  uint32_t count = 0;
  uint64_t passed = 0;
  HrStatus status =
      hr_path_open(txn, branch->id, branch->parent ? branch->fork_tick : INT64_MIN, &path);
  for (status = status ? status : hr_path_next_span(&path, &span); !status;
       status = hr_path_next_span(&path, &span)) {
    const size_t size = node_bytes(span.node);
    if (passed + span.node->event_count > had) {
      *first_event = count ? *first_event : passed;
      memcpy(add(bundle, size), span.node, size);
      bundle->node_bytes += size;
      ++count;
    }
    passed += span.node->event_count;
  }
  bench_require(status == HR_END && passed == branch->event_count,
                "A branch could not be read whole.");
  hr_path_close(&path);
  return count;
}

static void add_branch(HrTxn* txn, const TravelCopy* copy, TravelBundle* bundle,
                       const HrBranch* branch, bool known, uint64_t had)
{
  char name[HR_NAME_MAX + 1];
  must(hr_branch_name(txn, branch->id, name));
  const size_t at = bundle->size;
  TravelBranch record = {.id = copy->ids[hr_branch_number(branch->id)],
                         .fork_tick = branch->fork_tick,
                         .created_ns = branch->created_ns,
                         .name_size = known ? 0 : (uint32_t)strlen(name)};
  record.parent = copy->ids[hr_branch_number(branch->parent)]; // That of the root is all zeros
  add(bundle, sizeof record);
  memcpy(add(bundle, record.name_size), name, record.name_size);
  record.node_count = add_nodes(txn, bundle, branch, had, &record.first_event);
  memcpy(bundle->bytes + at, &record, sizeof record);
  bundle->branches += 1;
  bundle->grown += known;
  bundle->nodes += record.node_count;
  bundle->events += branch->event_count - had;
}

/** What the journal says of branches that are new there. */
static uint32_t add_journal(HrTxn* txn, const TravelCopy* copy, const TravelHave* have,
                            TravelBundle* bundle)
{
  HrJournalEntry entry = {0};
  uint32_t count = 0;
  const size_t before = bundle->size;
  while (!hr_journal_next(txn, copy->tree, entry.sequence, &entry)) {
    uint64_t had;
    if (!travel_have_events(have, copy, hr_branch_number(entry.branch), &had)) {
      const size_t text = strlen(entry.text);
      const HrJournalRecord record = {.time_ns = entry.time_ns,
                                      .branch = entry.branch,
                                      .other = entry.other,
                                      .left = entry.left,
                                      .tick = entry.tick,
                                      .operation = (uint16_t)entry.operation,
                                      .text_size = (uint16_t)text};
      memcpy(add(bundle, sizeof record), &record, sizeof record);
      memcpy(add(bundle, text), entry.text, text);
      ++count;
    }
  }
  bundle->journal_bytes = bundle->size - before;
  return count;
}

void travel_make(const TravelCopy* copy, const TravelHave* have, TravelBundle* bundle)
{
  *bundle = (TravelBundle){0};
  TravelHeader header = {.tree = copy->tree, .replica_count = copy->replica_count};
  HrBranch branch = {0};
  const size_t replicas = copy->replica_count * sizeof(TravelReplica);
  memcpy(header.magic, magic, sizeof magic);
  memcpy(header.store, hr_store_uuid(copy->store), sizeof header.store);
  add(bundle, sizeof header);
  memcpy(add(bundle, replicas), copy->replicas, replicas);
  HrTxn* const txn = begin(copy, HR_READ);
  while (next_branch(txn, copy, &branch)) {
    uint64_t had;
    const bool known = travel_have_events(have, copy, hr_branch_number(branch.id), &had);
    if (!known || branch.event_count > had) {
      add_branch(txn, copy, bundle, &branch, known, had);
      ++header.branch_count;
    }
  }
  header.journal_count = add_journal(txn, copy, have, bundle);
  hr_txn_abort(txn);
  memcpy(bundle->bytes, &header, sizeof header);
  XXH128_canonical_t hash;
  XXH128_canonicalFromHash(&hash, XXH3_128bits(bundle->bytes, bundle->size));
  memcpy(add(bundle, sizeof hash), &hash, sizeof hash);
}

void travel_bundle_free(TravelBundle* bundle)
{
  free(bundle->bytes);
  *bundle = (TravelBundle){0};
}

/* ---- Taking one in ---------------------------------------------------------- */

static const TravelHeader* checked_header(const TravelBundle* bundle)
{
  XXH128_canonical_t hash;
  bench_require(bundle->size > sizeof(TravelHeader) + sizeof hash, "A bundle is cut short.");
  const size_t size = bundle->size - sizeof hash;
  XXH128_canonicalFromHash(&hash, XXH3_128bits(bundle->bytes, size));
  const TravelHeader* const header = (const void*)bundle->bytes;
  bench_require(!memcmp(bundle->bytes + size, &hash, sizeof hash) &&
                    !memcmp(header->magic, magic, sizeof magic),
                "A bundle is damaged.");
  return header;
}

/** Add the events of a node after the first `passed`. The state that it may begin with is
 * not among them: the store makes it anew. */
static void append_node(HrTxn* txn, HrBranchId branch, const HrNodeHeader* node, uint64_t passed)
{
  const HrAppendOptions options = {.wall_clock_ns = node->wall_clock_ns};
  const HrWord* const words = (const HrWord*)(node + 1);
  const uint32_t state = node->word_count - node->event_count; // Words, as messages have one each
  must(hr_append_words(txn, branch, node->base_tick, words + state + passed,
                       node->event_count - passed, &options));
}

/** The branch of a record, forked if it is not here. */
static HrBranchId branch_of(HrTxn* txn, TravelCopy* copy, const TravelBranch* record,
                            const uint32_t* replicas)
{
  const TravelId id = {replicas[record->id.replica], record->id.number};
  make_room(copy, id.number);
  if (copy->locals[id.replica][id.number]) {
    return hr_branch_id(copy->tree, copy->locals[id.replica][id.number]);
  }
  const uint32_t parent = copy->locals[replicas[record->parent.replica]][record->parent.number];
  HrBranchId branch;
  char name[HR_NAME_MAX + 1] = "";
  bench_require(parent, "A bundle comes before what it grows from.");
  memcpy(name, record + 1, record->name_size);
  const HrForkOptions options = {.name = name, .created_ns = record->created_ns};
  must(hr_branch_fork(txn, hr_branch_id(copy->tree, parent), record->fork_tick, &options, &branch));
  know(copy, id, hr_branch_number(branch));
  return branch;
}

/** Take in a branch; returns what comes behind it. */
static const uint8_t* apply_branch(HrTxn* txn, TravelCopy* copy, const uint8_t* at,
                                   const uint32_t* replicas, uint64_t* added)
{
  const TravelBranch* const record = (const void*)at;
  const HrBranchId id = branch_of(txn, copy, record, replicas);
  HrBranch branch;
  must(hr_branch_get(txn, id, &branch));
  uint64_t first = record->first_event;
  bench_require(first <= branch.event_count, "A bundle leaves something out.");
  at += sizeof *record + (record->name_size + 7) / 8 * 8;
  for (uint32_t i = 0; i < record->node_count; ++i) {
    const HrNodeHeader* const node = (const void*)at;
    const uint64_t end = first + node->event_count;
    if (end > branch.event_count) {
      append_node(txn, id, node, branch.event_count - first);
      *added += end - branch.event_count;
      branch.event_count = end;
    }
    first = end;
    at += node_bytes(node);
  }
  return at;
}

uint64_t travel_apply(TravelCopy* copy, const TravelBundle* bundle)
{
  const TravelHeader* const header = checked_header(bundle);
  const TravelReplica* const replicas = (const void*)(header + 1);
  uint32_t indexes[TRAVEL_REPLICAS_MAX];
  uint64_t added = 0;
  bench_require(header->replica_count <= TRAVEL_REPLICAS_MAX &&
                    !memcmp(header->store, hr_store_uuid(copy->store), sizeof header->store) &&
                    header->tree == copy->tree,
                "A bundle is of another tree.");
  for (uint32_t i = 0; i < header->replica_count; ++i) {
    indexes[i] = know_replica(copy, &replicas[i]);
  }
  const uint8_t* at = (const uint8_t*)(replicas + header->replica_count);
  HrTxn* const txn = begin(copy, HR_WRITE);
  for (uint32_t i = 0; i < header->branch_count; ++i) {
    at = apply_branch(txn, copy, at, indexes, &added);
  }
  must(hr_txn_commit(txn));
  return added;
}

/* ---- Hashes ----------------------------------------------------------------- */

static XXH128_hash_t path_music(HrTxn* txn, HrBranchId branch)
{
  HrPath path;
  HrEvent event;
  XXH3_state_t* const state = XXH3_createState();
  bench_require(state && !XXH3_128bits_reset(state), "Out of memory.");
  must(hr_path_open(txn, branch, INT64_MIN, &path));
  HrStatus status;
  while (!(status = hr_path_next(&path, &event))) {
    XXH3_128bits_update(state, &event.tick, sizeof event.tick);
    XXH3_128bits_update(state, &event.size, sizeof event.size);
    XXH3_128bits_update(state, event.bytes, event.size);
  }
  bench_require(status == HR_END, "A path could not be read whole.");
  hr_path_close(&path);
  const XXH128_hash_t hash = XXH3_128bits_digest(state);
  XXH3_freeState(state);
  return hash;
}

XXH128_hash_t travel_music(const TravelCopy* copy)
{
  struct {
    TravelReplica replica;
    uint64_t number;
    XXH128_hash_t path;
  } named;
  XXH128_hash_t sum = {0};
  HrBranch branch = {0};
  HrTxn* const txn = begin(copy, HR_READ);
  while (next_branch(txn, copy, &branch)) {
    const TravelId id = copy->ids[hr_branch_number(branch.id)];
    named.replica = copy->replicas[id.replica];
    named.number = id.number;
    named.path = path_music(txn, branch.id);
    const XXH128_hash_t hash = XXH3_128bits(&named, sizeof named);
    sum.low64 += hash.low64;
    sum.high64 += hash.high64;
  }
  hr_txn_abort(txn);
  return sum;
}

static int compare_hashes(const void* a, const void* b)
{
  return XXH128_cmp(a, b);
}

uint64_t travel_content_names(const TravelBundle* bundle)
{
  const TravelHeader* const header = (const void*)bundle->bytes;
  const uint8_t* at = (const uint8_t*)(header + 1) + header->replica_count * sizeof(TravelReplica);
  XXH128_hash_t* const names = malloc((bundle->nodes + 1) * sizeof *names);
  uint64_t count = 0, distinct = 0;
  bench_require(names, "Out of memory.");
  for (uint32_t i = 0; i < header->branch_count; ++i) {
    const TravelBranch* const record = (const void*)at;
    at += sizeof *record + (record->name_size + 7) / 8 * 8;
    for (uint32_t n = 0; n < record->node_count; ++n) {
      const size_t size = node_bytes((const void*)at);
      names[count++] = XXH3_128bits(at, size);
      at += size;
    }
  }
  qsort(names, count, sizeof *names, compare_hashes);
  for (uint64_t i = 0; i < count; ++i) {
    distinct += !i || !XXH128_isEqual(names[i - 1], names[i]);
  }
  free(names);
  return distinct;
}
