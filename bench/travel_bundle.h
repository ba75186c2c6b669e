/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file travel_bundle.h
 * A simulation of how a tree could travel, of which the product has nothing: what
 * one copy of a tree has and another lacks, as one run of bytes, a *bundle*.
 *
 * A copy is a store and the *replica* that plays into it, 16 random bytes. A branch
 * number is taken by each copy for itself, so a branch is known among them by a
 * TravelId: who made it, and its number there. Only who made a branch plays on it;
 * so how many events of it somebody has says which ones. Others fork, at the latest
 * one tick after the last event that they have.
 *
 * A bundle, all in multiples of 8 bytes:
 *
 *   TravelHeader
 *   the replicas it speaks of, 16 bytes each; ids in it name them by number
 *   TravelBranch, its name, its nodes as they lie in the store, for each branch
 *   HrJournalRecord, its texts, for each entry about these branches
 *   XXH3_128 of all that
 *
 * Threads: the main one. Errors end the program with a sentence. */

#ifndef HR_BENCH_TRAVEL_BUNDLE_H
#define HR_BENCH_TRAVEL_BUNDLE_H

#include "store/store.h"

#include <xxhash.h>

enum { TRAVEL_REPLICAS_MAX = 16, TRAVEL_ID_BYTES = 16 };

typedef struct {
  uint8_t bytes[TRAVEL_ID_BYTES];
} TravelReplica;

typedef struct {
  uint32_t replica; ///< Index: of a copy's replicas in memory, of the bundle's in one
  uint32_t number;  ///< The branch's in the store of its maker
} TravelId;

/** A copy of the tree. The same for all: `tree`, and the store's UUID. What maps the
 * branches to ids lies beside the store, as its format knows nothing of it. */
typedef struct {
  HrStore* store;
  HrTreeId tree;
  uint32_t self;          ///< Index of the replica that plays here
  uint32_t replica_count; ///< Known here
  TravelReplica replicas[TRAVEL_REPLICAS_MAX];
  uint32_t* locals[TRAVEL_REPLICAS_MAX]; ///< Branch number here by number there; 0: not here
  TravelId* ids;                         ///< By branch number here
  uint32_t room;                         ///< Of each of these
} TravelCopy;

/** Begin to play into `store` as a new replica. `from` is whose copy it is, whose ids
 * are taken over; NULL for the first, who made all that is there. */
void travel_begin(TravelCopy* copy, HrStore* store, HrTreeId tree, const TravelReplica* self,
                  const TravelCopy* from);
void travel_end(TravelCopy* copy);

/** Say that the replica of `copy` made the branch `number`. */
void travel_made(TravelCopy* copy, uint32_t number);

bool travel_is_own(const TravelCopy* copy, uint32_t number);

/** How much of every branch a copy has: what it sends to be sent the rest. */
typedef struct {
  uint32_t replica;
  uint32_t number;
  uint64_t events;
} TravelHaving;

typedef struct {
  uint32_t replica_count;
  TravelReplica replicas[TRAVEL_REPLICAS_MAX];
  uint64_t* events[TRAVEL_REPLICAS_MAX]; ///< By number: one more than it has; 0: no such branch
  uint32_t room;
  uint64_t bytes; ///< As a message: replicas, and a TravelHaving for each branch
} TravelHave;

void travel_have(const TravelCopy* copy, TravelHave* have);
void travel_have_free(TravelHave* have);

/** How many events of a branch of `copy` are in `have`; false: it has no such branch. */
bool travel_have_events(const TravelHave* have, const TravelCopy* copy, uint32_t number,
                        uint64_t* events);

typedef struct {
  char magic[8];
  uint8_t store[16]; ///< Its UUID
  uint32_t tree, replica_count, branch_count, journal_count;
} TravelHeader;

typedef struct {
  TravelId id, parent;
  int64_t fork_tick;
  int64_t created_ns;
  uint64_t first_event; ///< Events of the branch before the first node here
  uint32_t node_count;
  uint32_t name_size; ///< Bytes that follow, filled up with zeros to 8
} TravelBranch;

typedef struct {
  uint8_t* bytes;
  size_t size;
  size_t room;
  uint64_t branches; ///< Those not known there, and those that grew
  uint64_t grown;    ///< Of these the latter
  uint64_t nodes, node_bytes;
  uint64_t events; ///< New ones: of a node that grew, only those that came
  uint64_t journal_bytes;
} TravelBundle;

/** Put what `copy` has and `have` lacks into `bundle`. */
void travel_make(const TravelCopy* copy, const TravelHave* have, TravelBundle* bundle);
void travel_bundle_free(TravelBundle* bundle);

/** Take a bundle in, in one transaction. What is there already is passed over, so that
 * it may come twice, or by several ways. Returns the events added. */
uint64_t travel_apply(TravelCopy* copy, const TravelBundle* bundle);

/** A hash of the music of all branches, whatever their numbers here: of each the id and
 * all events of its path, in any order. */
XXH128_hash_t travel_music(const TravelCopy* copy);

/** XXH3_128 of every node of a bundle: their names, were they called by content. Returns
 * how many differ. */
uint64_t travel_content_names(const TravelBundle* bundle);

#endif
