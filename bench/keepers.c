/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "bench/keepers.h"

#include "bench/bench.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

/** All is on the first branch of the first tree. */
#define KEPT hr_branch_id(1, 1)

/* ---- Ours ------------------------------------------------------------------- */

typedef struct {
  HrStore* store;
  HrTxn* txn;
} Ours;

static HrTxn* begin(Ours* self, HrTxnMode mode)
{
  if (!self->txn) {
    bench_require(!hr_txn_begin(self->store, mode, &self->txn), "No transaction begins.");
  }
  return self->txn;
}

static void commit_ours(Ours* self)
{
  bench_require(!hr_txn_commit(self->txn), "A transaction is not committed.");
  self->txn = NULL;
}

static void end_reading(Ours* self)
{
  hr_txn_abort(self->txn);
  self->txn = NULL;
}

static void* open_ours(const char* path, EngineMode mode)
{
  static const unsigned flags[] = {[ENGINE_LOAD] = HR_STORE_CREATE | HR_STORE_UNSYNCED,
                                   [ENGINE_DURABLE] = HR_STORE_CREATE,
                                   [ENGINE_READ] = 0};
  static Ours self;
  HrTreeId tree;
  HrError error;
  self = (Ours){0};
  bench_require(!hr_store_open(path, flags[mode], &self.store, &error), error.text);
  if (mode != ENGINE_READ) {
    bench_require(!hr_tree_create(begin(&self, HR_WRITE), "music", 0, &tree), "No tree is made.");
    commit_ours(&self);
  }
  return &self;
}

static void append_ours(Ours* self, HrTick base, const HrWord* words, size_t count)
{
  bench_require(!hr_append_words(begin(self, HR_WRITE), KEPT, base, words, count, NULL),
                "The store does not take the music.");
}

static void find_ours(Ours* self, HrTick tick, HrSpan* span)
{
  HrPath path;
  end_reading(self);
  bench_require(!hr_path_open(begin(self, HR_READ), KEPT, tick, &path) &&
                    !hr_path_next_span(&path, span),
                "The store does not find the music.");
  hr_path_close(&path);
}

static void each_ours(Ours* self, void (*visit)(void* data, const HrSpan* span), void* data)
{
  HrPath path;
  HrSpan span;
  end_reading(self);
  bench_require(!hr_path_open(begin(self, HR_READ), KEPT, 0, &path), "A path does not open.");
  while (!hr_path_next_span(&path, &span)) {
    visit(data, &span);
  }
  hr_path_close(&path);
}

static void close_ours(Ours* self)
{
  end_reading(self);
  hr_store_close(self->store);
}

/* ---- Nodes, in an engine or in an arena ---------------------------------------- */

typedef struct {
  HrNodeHeader header;
  HrWord words[HR_NODE_WORDS];
} Node;

_Static_assert(sizeof(Node) == HR_NODE_SIZE, "a node has the size of ours");

/** What an engine that is an index holds of a node. The arena's last one grows
 * as it is played: only `size` bytes of it are there. */
typedef struct {
  uint64_t offset;
  uint64_t size;
} Place;

typedef struct {
  const Engine* engine;
  void* held;
  EngineMode mode;
  int arena;       ///< -1: there is none
  uint8_t* mapped; ///< The arena, to be read
  size_t mapped_size;
  Place place;    ///< Of the last node: `size` bytes are written
  Node node;      ///< The last one
  uint32_t count; ///< Its words
  void (*visit)(void* data, const HrSpan* span);
  void* visitor;
} Nodes;

static uint64_t checksum(const HrNodeHeader* header)
{
  HrNodeHeader without = *header;
  without.checksum = 0;
  const XXH64_hash_t seed = XXH3_64bits(&without, sizeof without);
  return XXH3_64bits_withSeed(header + 1, header->word_count * sizeof(HrWord), seed);
}

/** Tell the engine of every node of a log; a node that was not wholly written ends it. */
static void read_log(Nodes* self)
{
  const uint8_t* const end = self->mapped + self->mapped_size;
  const uint8_t* at = self->mapped;
  madvise((void*)at, self->mapped_size, MADV_SEQUENTIAL);
  while ((size_t)(end - at) >= sizeof(HrNodeHeader)) {
    const HrNodeHeader* const header = (const void*)at;
    const Place place = {(uint64_t)(at - self->mapped),
                         sizeof *header + header->word_count * sizeof(HrWord)};
    if (place.size > (size_t)(end - at) || header->checksum != checksum(header)) {
      break;
    }
    self->engine->put(self->held, KEPT, header->base_tick, &place, sizeof place);
    at += place.size;
  }
  bench_require(at == end, "The log was torn.");
}

/** Read here and there, as our store has its map. */
static void map_arena(Nodes* self)
{
  struct stat info;
  bench_require(!fstat(self->arena, &info), "The arena is gone.");
  self->mapped_size = (size_t)info.st_size;
  self->mapped = mmap(NULL, self->mapped_size, PROT_READ, MAP_SHARED, self->arena, 0);
  bench_require(self->mapped != MAP_FAILED, "The arena cannot be mapped.");
  if (self->engine->forgets) {
    read_log(self);
  }
  madvise(self->mapped, self->mapped_size, MADV_RANDOM);
}

static void* open_nodes(const Keeper* keeper, const char* folder, EngineMode mode)
{
  static Nodes self;
  char path[PATH_MAX];
  self = (Nodes){.engine = keeper->engine, .mode = mode, .arena = -1};
  snprintf(path, sizeof path, "%s/engine", folder);
  self.held = self.engine->open(path, mode);
  if (keeper->indexed) {
    snprintf(path, sizeof path, "%s/arena", folder);
    self.arena = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    bench_require(self.arena >= 0, "The arena cannot be made.");
  }
  if (keeper->indexed && mode == ENGINE_READ) {
    map_arena(&self);
  }
  return &self;
}

/** Write of the last node what is not in the arena yet, after what is: nothing
 * that is told of in the index ever changes. */
static void write_arena(Nodes* self, size_t size)
{
  const uint8_t* const bytes = (const uint8_t*)&self->node + self->place.size;
  const size_t more = size - self->place.size;
  const off_t at = (off_t)(self->place.offset + self->place.size);
  if (self->engine->forgets) {
    self->node.header.checksum = checksum(&self->node.header);
  }
  bench_require(pwrite(self->arena, bytes, more, at) == (ssize_t)more,
                "The arena cannot be written.");
  self->place.size = size;
}

static void put_node(Nodes* self)
{
  const HrTick tick = self->node.header.base_tick;
  const size_t size = sizeof self->node.header + self->count * sizeof(HrWord);
  self->node.header.word_count = self->node.header.event_count = self->count;
  if (self->arena < 0) {
    self->engine->put(self->held, KEPT, tick, &self->node, size);
  } else {
    write_arena(self, size);
    self->engine->put(self->held, KEPT, tick, &self->place, sizeof self->place);
  }
}

static void next_node(Nodes* self)
{
  self->place = (Place){self->place.offset + self->place.size, 0};
  self->count = 0;
}

static void append_nodes(Nodes* self, HrTick base, const HrWord* words, size_t count)
{
  for (size_t i = 0; i < count; ++i) {
    const HrTick tick = base + words[i].offset;
    if (!self->count) {
      self->node.header = (HrNodeHeader){.magic = HR_NODE_MAGIC, .base_tick = tick};
    }
    HrWord* const word = &self->node.words[self->count++];
    *word = words[i];
    word->offset = (uint32_t)(tick - self->node.header.base_tick);
    if (self->count == HR_NODE_WORDS) {
      put_node(self);
      next_node(self);
    }
  }
}

/** The last node is put as far as it goes, and put again when there is more of it;
 * in a log it ends. */
static void commit_nodes(Nodes* self)
{
  if (self->count) {
    put_node(self);
    if (self->engine->forgets) {
      next_node(self);
    }
  }
  bench_require(self->arena < 0 || self->mode != ENGINE_DURABLE || !fdatasync(self->arena),
                "The arena cannot be synced.");
  self->engine->commit(self->held);
}

static HrSpan span_of(const Nodes* self, const void* bytes, size_t size)
{
  if (self->arena >= 0) {
    Place place;
    memcpy(&place, bytes, sizeof place);
    bytes = self->mapped + place.offset;
    size = place.size;
  }
  HrNodeHeader header; // Copied, as only LMDB aligns what it holds
  memcpy(&header, bytes, sizeof header);
  return (HrSpan){.node = bytes,
                  .words = (const HrWord*)((const HrNodeHeader*)bytes + 1),
                  .count = (uint32_t)((size - sizeof header) / sizeof(HrWord)),
                  .base = header.base_tick,
                  .branch = KEPT};
}

static void find_node(Nodes* self, HrTick tick, HrSpan* span)
{
  size_t size = 0;
  const void* const bytes = self->engine->find(self->held, KEPT, tick, &size);
  bench_require(bytes, "An engine does not find the music.");
  *span = span_of(self, bytes, size);
}

static void visit_node(void* data, HrTick tick, const void* bytes, size_t size)
{
  const Nodes* const self = data;
  const HrSpan span = span_of(self, bytes, size);
  (void)tick;
  self->visit(self->visitor, &span);
}

static void close_nodes(Nodes* self)
{
  self->engine->close(self->held);
  if (self->mapped) {
    munmap(self->mapped, self->mapped_size);
  }
  if (self->arena >= 0) {
    close(self->arena);
  }
}

/* ---- Either ------------------------------------------------------------------------ */

void* keeper_open(const Keeper* keeper, const char* folder, EngineMode mode)
{
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/music.hr", folder);
  return keeper->engine ? open_nodes(keeper, folder, mode) : open_ours(path, mode);
}

void keeper_append(const Keeper* keeper, void* self, HrTick base, const HrWord* words, size_t count)
{
  if (keeper->engine) {
    append_nodes(self, base, words, count);
  } else {
    append_ours(self, base, words, count);
  }
}

void keeper_commit(const Keeper* keeper, void* self)
{
  if (keeper->engine) {
    commit_nodes(self);
  } else {
    commit_ours(self);
  }
}

void keeper_find(const Keeper* keeper, void* self, HrTick tick, HrSpan* span)
{
  if (keeper->engine) {
    find_node(self, tick, span);
  } else {
    find_ours(self, tick, span);
  }
}

void keeper_each(const Keeper* keeper, void* self, void (*visit)(void* data, const HrSpan* span),
                 void* data)
{
  if (keeper->engine) {
    Nodes* const nodes = self;
    nodes->visit = visit;
    nodes->visitor = data;
    nodes->engine->each(nodes->held, KEPT, visit_node, nodes);
  } else {
    each_ours(self, visit, data);
  }
}

void keeper_close(const Keeper* keeper, void* self)
{
  if (keeper->engine) {
    close_nodes(self);
  } else {
    close_ours(self);
  }
}
