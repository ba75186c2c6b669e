/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "bench/scale_git.h"

#include "bench/store_maker.h"

#include <git2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EVENT_BYTES_MAX = 7, HEADER_BYTES = 22, PPQ = 960 };

typedef struct {
  uint8_t* bytes;
  size_t size;
} File;

static void put_big(uint8_t* at, uint32_t value)
{
  for (unsigned i = 0; i < 4; ++i) {
    at[i] = (uint8_t)(value >> (24 - 8 * i));
  }
}

/** A MIDI file of one track: the music of the stores (maker_event()). */
static File midi_file(unsigned events)
{
  static const uint8_t head[HEADER_BYTES] = {
      'M', 'T', 'h', 'd', 0, 0, 0, 6, 0, 0, 0, 1, PPQ >> 8, PPQ & 0xff, 'M', 'T', 'r', 'k'};
  static const uint8_t end[] = {0, 0xff, 0x2f, 0};
  File file = {.bytes = malloc(HEADER_BYTES + sizeof end + (size_t)events * EVENT_BYTES_MAX)};
  bench_require(file.bytes, "Out of memory.");
  memcpy(file.bytes, head, sizeof head);
  uint8_t* at = file.bytes + HEADER_BYTES;
  for (unsigned n = 0; n < events; ++n) {
    *at++ = n ? (uint8_t)(PPQ * (uint64_t)MAKER_TICKS_PER_EVENT / HR_TICKS_PER_QUARTER) : 0;
    maker_event(0, n, at);
    at += 3;
  }
  memcpy(at, end, sizeof end);
  file.size = (size_t)(at - file.bytes) + sizeof end;
  put_big(file.bytes + HEADER_BYTES - 4, (uint32_t)(file.size - HEADER_BYTES));
  return file;
}

size_t git_music_bytes(unsigned events)
{
  const File file = midi_file(events);
  free(file.bytes);
  return file.size;
}

static void must(int code)
{
  bench_require(code >= 0,
                code < 0 && git_error_last() ? git_error_last()->message : "git failed.");
}

/** Commit the music on the branch `name`, which is made, on top of `parent`. */
static git_oid fork_by_library(git_repository* repository, const char* name, const git_oid* parent,
                               const File* file)
{
  git_oid blob, tree_id, commit_id;
  git_treebuilder* builder;
  git_tree* tree;
  git_commit *before = NULL, *commit;
  git_reference* reference;
  git_signature* author;
  must(git_blob_create_from_buffer(&blob, repository, file->bytes, file->size));
  must(git_treebuilder_new(&builder, repository, NULL));
  must(git_treebuilder_insert(NULL, builder, "music.mid", &blob, GIT_FILEMODE_BLOB));
  must(git_treebuilder_write(&tree_id, builder));
  must(git_tree_lookup(&tree, repository, &tree_id));
  must(git_signature_now(&author, "A", "a@example.org"));
  if (parent) {
    must(git_commit_lookup(&before, repository, parent));
  }
  const git_commit* const parents[] = {before};
  must(git_commit_create(&commit_id, repository, NULL, author, author, NULL, name, tree,
                         parent ? 1 : 0, (void*)parents));
  must(git_commit_lookup(&commit, repository, &commit_id));
  must(git_branch_create(&reference, repository, name, commit, 0));
  git_reference_free(reference);
  git_commit_free(commit);
  git_commit_free(before);
  git_signature_free(author);
  git_tree_free(tree);
  git_treebuilder_free(builder);
  return commit_id;
}

static void fork_by_program(const char* path, const char* name, const git_oid* parent,
                            const File* file)
{
  char command[4096];
  char id[GIT_OID_HEXSZ + 1];
  git_oid_tostr(id, sizeof id, parent);
  snprintf(
      command, sizeof command,
      "cd '%s' && export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=A "
      "GIT_COMMITTER_EMAIL=a@example.org && blob=$(git hash-object -w --stdin) && "
      "tree=$(printf '100644 blob %%s\\tmusic.mid\\n' $blob | git mktree) && "
      "git branch '%s' $(git commit-tree -p %s -m fork $tree)",
      path, name, id);
  FILE* const shell = popen(command, "w");
  bench_require(shell && fwrite(file->bytes, 1, file->size, shell) == file->size &&
                    pclose(shell) == 0,
                "git could not be run.");
}

void git_forks(const char* path, bool program, unsigned branches, unsigned count, unsigned events,
               BenchTimes* times)
{
  git_repository* repository;
  git_oid parent;
  char name[32];
  must(git_libgit2_init());
  must(git_repository_init(&repository, path, true));
  for (unsigned i = 0; i < branches; ++i) {
    const File file = midi_file(1 + i);
    snprintf(name, sizeof name, "first-%u", i);
    parent = fork_by_library(repository, name, i ? &parent : NULL, &file);
    free(file.bytes);
  }
  bench_times_begin(times, count);
  for (unsigned i = 0; i < count; ++i) {
    const File file = midi_file(events + i);
    snprintf(name, sizeof name, "take-%u", i);
    const uint64_t begun = bench_clock();
    if (program) {
      fork_by_program(path, name, &parent, &file);
    } else {
      parent = fork_by_library(repository, name, &parent, &file);
    }
    bench_times_add(times, bench_clock() - begun);
    free(file.bytes);
  }
  bench_times_sort(times);
  git_repository_free(repository);
  git_libgit2_shutdown();
}
