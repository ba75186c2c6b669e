/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* list FILE
 * Print all that a store holds, line by line, by the calls of store/store.h: what
 * tests/paper_format.py has to find by the description alone. */

#include "store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void must(HrStatus status)
{
  if (status) {
    printf("%s\n", hr_strerror(status));
    exit(1);
  }
}

static void print_hex(const uint8_t* bytes, size_t size)
{
  for (size_t i = 0; i < size; ++i) {
    printf("%02x", bytes[i]);
  }
}

static void print_author(HrTxn* txn, uint32_t author)
{
  char name[HR_NAME_MAX + 1];
  must(hr_author_name(txn, author, name));
  printf(" by \"%s\"", name);
}

static void print_span(HrTxn* txn, const HrSpan* span)
{
  const HrNodeHeader* const node = span->node;
  printf("node %" PRId64 " to %" PRId64 " events %u words %u flags %u at %" PRId64
         " tempo %.17g meter %u/%u",
         node->base_tick, node->last_tick, node->event_count, node->word_count, node->flags,
         node->wall_clock_ns, node->tempo, node->beats_per_bar, node->beat_unit);
  print_author(txn, node->author);
  printf("\n");
  HrEvent event;
  for (uint32_t i = 0; hr_span_next(span, &i, &event);) {
    printf("%s %" PRId64 " ", event.kind == HR_EVENT_META ? "meta" : "midi", event.tick);
    print_hex(event.bytes, event.size);
    printf("\n");
  }
}

static void print_branch(HrTxn* txn, const HrBranch* branch)
{
  char name[HR_NAME_MAX + 1];
  must(hr_branch_name(txn, branch->id, name));
  printf("branch %" PRIu64 " \"%s\" parent %" PRIu64 " jump %" PRIu64 " fork %" PRId64
         " head %" PRId64 " events %" PRIu64 " nodes %u depth %u state %u created %" PRId64,
         branch->id, name, branch->parent, branch->jump, branch->fork_tick, branch->head_tick,
         branch->event_count, branch->node_count, branch->depth, (unsigned)branch->state,
         branch->created_ns);
  print_author(txn, branch->author);
  printf("\n");
  HrPath path;
  HrSpan span;
  must(hr_path_open(txn, branch->id, INT64_MIN, &path));
  HrStatus status;
  while (!(status = hr_path_next_span(&path, &span))) {
    if (span.branch == branch->id) {
      print_span(txn, &span);
    }
  }
  must(status == HR_END ? HR_OK : status);
  hr_path_close(&path);
}

static void print_journal(HrTxn* txn, HrTreeId tree)
{
  HrJournalEntry entry = {0};
  while (!hr_journal_next(txn, tree, entry.sequence, &entry)) {
    printf("journal %u at %" PRId64 " operation %u branch %" PRIu64 " other %" PRIu64
           " left %" PRIu64 " tick %" PRId64 " refers %u below %u quiet %d \"%s\" \"%s\"",
           entry.sequence, entry.time_ns, (unsigned)entry.operation, entry.branch, entry.other,
           entry.left, entry.tick, entry.refers, entry.below, entry.quiet, entry.text,
           entry.before);
    print_author(txn, entry.author);
    printf("\n");
    HrNote note;
    if ((entry.operation == HR_OPERATION_MARK || entry.operation == HR_OPERATION_NOTE) &&
        !hr_note_get(txn, tree, entry.sequence, &note)) {
      printf("note %u kind %u branch %" PRIu64 " from %" PRId64 " to %" PRId64 " at %" PRId64
             " hidden %d rating %u emotion %u %.9g %.9g %.9g \"%s\" \"%s\"",
             note.id, (unsigned)note.kind, note.branch, note.tick, note.end_tick, note.time_ns,
             note.hidden, note.rating, note.emotion.known, (double)note.emotion.valence,
             (double)note.emotion.arousal, (double)note.emotion.agency, note.name, note.text);
      print_author(txn, note.author);
      printf("\n");
    }
  }
}

int main(int argc, char** argv)
{
  HrStore* store = NULL;
  HrTxn* txn = NULL;
  must(argc == 2 ? HR_OK : HR_ERR_ARGUMENT);
  must(hr_store_open(argv[1], HR_STORE_READ_ONLY, &store, NULL));
  must(hr_txn_begin(store, HR_READ, &txn));
  HrStoreStats stats;
  must(hr_store_stats(store, &stats));
  printf("store ");
  print_hex(hr_store_uuid(store), 16);
  printf(" map %" PRIu64 "\n", stats.map_bytes);
  HrTree tree = {0};
  while (!hr_tree_next(txn, tree.id, &tree)) {
    printf("tree %u \"%s\" root %" PRIu64 " current %" PRIu64 " branches %u created %" PRId64 "\n",
           tree.id, tree.name, tree.root, tree.current, tree.branch_count, tree.created_ns);
    HrBranch branch;
    uint32_t number = 0;
    while (!hr_branch_next(txn, tree.id, number, &branch)) {
      number = hr_branch_number(branch.id);
      print_branch(txn, &branch);
    }
    print_journal(txn, tree.id);
    HrUndo step = {0};
    printf("undo %u", hr_undo_next(txn, tree.id, HR_UNDO, &step) ? 0 : step.sequence);
    printf(" redo %u\n", hr_undo_next(txn, tree.id, HR_REDO, &step) ? 0 : step.sequence);
  }
  hr_txn_abort(txn);
  hr_store_close(store);
  return 0;
}
