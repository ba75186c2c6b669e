/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "bench/travel_git.h"

#include "bench/bench.h"

#include <git2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PPQ = 960, EVENT_BYTES_MAX = 8, HEADER_BYTES = 22 };

typedef struct {
  git_repository* repository;
  git_signature* author;
  const TravelCopy* copy;
  TravelGitKind kind;
  git_oid* tips; ///< By branch number: its last commit
} Git;

static void must(int code)
{
  bench_require(code >= 0,
                code < 0 && git_error_last() ? git_error_last()->message : "git failed.");
}

/* ---- Music as files --------------------------------------------------------- */

static uint8_t* put_length(uint8_t* at, uint32_t value)
{
  for (unsigned shift = 21; shift; shift -= 7) {
    if (value >> shift) {
      *at++ = (uint8_t)(0x80 | (value >> shift & 0x7f));
    }
  }
  *at++ = value & 0x7f;
  return at;
}

/** The path of a branch with the first `own` of its own events, as a MIDI file. */
static void add_midi(const Git* git, HrTxn* txn, const HrBranch* branch, uint64_t own,
                     git_treebuilder* builder)
{
  static const uint8_t head[HEADER_BYTES] = {
      'M', 'T', 'h', 'd', 0, 0, 0, 6, 0, 0, 0, 1, PPQ >> 8, PPQ & 0xff, 'M', 'T', 'r', 'k'};
  static const uint8_t end[] = {0, 0xff, 0x2f, 0};
  HrPath path;
  HrEvent event;
  HrTick last = 0;
  size_t room = 1 << 16;
  uint8_t* bytes = malloc(room);
  size_t size = sizeof head;
  git_oid blob;
  bench_require(bytes, "Out of memory.");
  bench_require(!hr_path_open(txn, branch->id, INT64_MIN, &path), "A branch cannot be read.");
  memcpy(bytes, head, sizeof head);
  while (!hr_path_next(&path, &event) && (path.span.branch != branch->id || own--)) {
    if (size + EVENT_BYTES_MAX + sizeof end > room) {
      bytes = realloc(bytes, room *= 2);
      bench_require(bytes, "Out of memory.");
    }
    const HrTick tick = event.tick * PPQ / HR_TICKS_PER_QUARTER;
    uint8_t* const at = put_length(bytes + size, (uint32_t)(tick - last));
    memcpy(at, event.bytes, event.size);
    size = (size_t)(at - bytes) + event.size;
    last = tick;
  }
  hr_path_close(&path);
  memcpy(bytes + size, end, sizeof end);
  size += sizeof end;
  for (unsigned i = 0; i < 4; ++i) {
    bytes[HEADER_BYTES - 4 + i] = (uint8_t)((size - HEADER_BYTES) >> (24 - 8 * i));
  }
  must(git_blob_create_from_buffer(&blob, git->repository, bytes, size));
  must(git_treebuilder_insert(NULL, builder, "music.mid", &blob, GIT_FILEMODE_BLOB));
  free(bytes);
}

/** The nodes of a branch, as far as they hold the first `own` of its events. */
static void add_nodes(const Git* git, HrTxn* txn, const HrBranch* branch, uint64_t own,
                      git_treebuilder* builder)
{
  HrPath path;
  HrSpan span;
  unsigned number = 0;
  const HrTick from = branch->parent ? branch->fork_tick : INT64_MIN;
  bench_require(!hr_path_open(txn, branch->id, from, &path), "A branch cannot be read.");
  while (own && !hr_path_next_span(&path, &span)) {
    git_oid blob;
    char name[16];
    const uint64_t events = own < span.node->event_count ? own : span.node->event_count;
    const size_t size = sizeof *span.node +
                        (span.node->word_count - span.node->event_count + events) * sizeof(HrWord);
    must(git_blob_create_from_buffer(&blob, git->repository, span.node, size));
    snprintf(name, sizeof name, "%08x", number++);
    must(git_treebuilder_insert(NULL, builder, name, &blob, GIT_FILEMODE_BLOB));
    own -= events;
  }
  hr_path_close(&path);
}

/* ---- Commits ------------------------------------------------------------------- */

/** Commit a branch with the first `own` of its events, on top of `parent`, unless that
 * is zero. */
static void commit_branch(const Git* git, HrTxn* txn, const HrBranch* branch, uint64_t own,
                          const git_oid* parent)
{
  git_treebuilder* builder;
  git_tree* tree;
  git_oid tree_id;
  git_commit* before = NULL;
  char name[HR_NAME_MAX + 1];
  bench_require(!hr_branch_name(txn, branch->id, name), "A branch has no name.");
  must(git_treebuilder_new(&builder, git->repository, NULL));
  (git->kind == TRAVEL_GIT_MIDI ? add_midi : add_nodes)(git, txn, branch, own, builder);
  must(git_treebuilder_write(&tree_id, builder));
  must(git_tree_lookup(&tree, git->repository, &tree_id));
  if (!git_oid_is_zero(parent)) {
    must(git_commit_lookup(&before, git->repository, parent));
  }
  const git_commit* const parents[] = {before};
  must(git_commit_create(&git->tips[hr_branch_number(branch->id)], git->repository, NULL,
                         git->author, git->author, NULL, name, tree, before ? 1 : 0,
                         (void*)parents));
  git_commit_free(before);
  git_tree_free(tree);
  git_treebuilder_free(builder);
}

/** Commit what is in `have` (or, if `rest`, what is not); returns how many commits. */
static uint64_t commit_all(Git* git, const TravelHave* have, bool rest, git_revwalk* walk)
{
  HrTxn* txn = NULL;
  HrBranch branch = {0};
  uint64_t count = 0;
  bench_require(!hr_txn_begin(git->copy->store, HR_READ, &txn), "A store cannot be read.");
  while (!hr_branch_next(txn, git->copy->tree, hr_branch_number(branch.id), &branch)) {
    const uint32_t number = hr_branch_number(branch.id);
    uint64_t had;
    const bool known = travel_have_events(have, git->copy, number, &had);
    if (rest ? !known || branch.event_count > had : known) {
      const git_oid parent = git->tips[known && rest ? number : hr_branch_number(branch.parent)];
      commit_branch(git, txn, &branch, rest ? branch.event_count : had, &parent);
      must(rest ? git_revwalk_push(walk, &git->tips[number])
                : git_revwalk_hide(walk, &git->tips[number]));
      ++count;
    }
  }
  hr_txn_abort(txn);
  return count;
}

/* ---- Packs ----------------------------------------------------------------------- */

/** Put the objects that `walk` finds into a pack. */
static git_buf make_pack(git_repository* repository, git_revwalk* walk, TravelGitCost* cost)
{
  git_packbuilder* packer;
  git_buf pack = {0};
  must(git_packbuilder_new(&packer, repository));
  git_packbuilder_set_threads(packer, 1);
  must(git_packbuilder_insert_walk(packer, walk));
  must(git_packbuilder_write_buf(&pack, packer));
  cost->objects = git_packbuilder_object_count(packer);
  cost->bytes = pack.size;
  git_packbuilder_free(packer);
  return pack;
}

static void apply_pack(const char* path, const git_buf* pack)
{
  char folder[4200];
  git_repository* repository;
  git_indexer* indexer;
  git_indexer_progress progress = {0};
  must(git_repository_init(&repository, path, true));
  snprintf(folder, sizeof folder, "%s/objects/pack", path);
  must(git_indexer_new(&indexer, folder, 0, NULL, NULL));
  must(git_indexer_append(indexer, pack->ptr, pack->size, &progress));
  must(git_indexer_commit(indexer, &progress));
  bench_require(progress.indexed_objects == progress.total_objects, "A pack was not taken in.");
  git_indexer_free(indexer);
  git_repository_free(repository);
}

static double milliseconds(uint64_t begun)
{
  return bench_ns((double)(bench_clock() - begun)) / 1e6;
}

TravelGitCost travel_git(const char* path, TravelGitKind kind, const TravelCopy* copy,
                         const TravelHave* have)
{
  TravelGitCost cost = {0};
  Git git = {.copy = copy, .kind = kind, .tips = calloc(copy->room, sizeof *git.tips)};
  git_revwalk* walk;
  char other[4096];
  snprintf(other, sizeof other, "%s/other", path);
  bench_require(git.tips, "Out of memory.");
  must(git_libgit2_init());
  must(git_repository_init(&git.repository, path, true));
  must(git_signature_now(&git.author, "A", "a@example.org"));
  must(git_revwalk_new(&walk, git.repository));
  commit_all(&git, have, false, walk);
  uint64_t begun = bench_clock();
  cost.commits = commit_all(&git, have, true, walk);
  git_buf pack = make_pack(git.repository, walk, &cost);
  cost.make_ms = milliseconds(begun);
  begun = bench_clock();
  apply_pack(other, &pack);
  cost.apply_ms = milliseconds(begun);
  git_buf_dispose(&pack);
  git_revwalk_free(walk);
  git_signature_free(git.author);
  git_repository_free(git.repository);
  git_libgit2_shutdown();
  free(git.tips);
  bench_remove(path);
  return cost;
}
