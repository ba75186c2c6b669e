/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Opens any bytes as a store, reads all of it, records into it, verifies and
 * salvages it: nothing may crash. Small files, kept in memory. */

#include "store/store.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SIZE_MAX_BYTES = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

static void read_branch(HrTxn* txn, HrBranchId id)
{
  HrPath path;
  HrEvent event;
  HrTempo tempo;
  char name[HR_NAME_MAX + 1];
  HrStatus status = hr_path_open(txn, id, INT64_MIN, &path);
  while (!status || status == HR_ERR_DAMAGED) {
    status = hr_path_next(&path, &event);
    if (path.ended) {
      break;
    }
  }
  hr_path_close(&path);
  hr_branch_name(txn, id, name);
  hr_tempo_at(txn, id, INT64_MAX, &tempo);
}

static void read_tree(HrTxn* txn, HrTreeId tree)
{
  HrBranch branch = {0};
  HrJournalEntry entry = {0};
  HrNote note;
  HrUndo step;
  while (!hr_branch_next(txn, tree, hr_branch_number(branch.id), &branch)) {
    read_branch(txn, branch.id);
    hr_note_next(txn, branch.id, INT64_MIN, 0, &note);
  }
  while (!hr_journal_next(txn, tree, entry.sequence, &entry)) {
    hr_note_get(txn, tree, entry.sequence, &note);
  }
  hr_undo_next(txn, tree, HR_UNDO, &step);
}

static void record(HrStore* store)
{
  const uint8_t bytes[3] = {0x90, 60, 100};
  HrTxn* txn = NULL;
  HrTree tree;
  HrBranch branch;
  HrBranchId fork;
  HrStatus status = hr_txn_begin(store, HR_WRITE, &txn);
  status = status ? status : hr_tree_next(txn, 0, &tree);
  status = status ? status : hr_branch_get(txn, tree.current, &branch);
  for (int i = 0; i < 600 && !status; ++i) {
    const HrEvent event = {branch.head_tick, HR_EVENT_MIDI, sizeof bytes, bytes};
    status = hr_append(txn, branch.id, &event, NULL);
  }
  status = status ? status : hr_branch_fork(txn, branch.id, branch.head_tick, NULL, &fork);
  if (status) {
    hr_txn_abort(txn);
  } else {
    hr_txn_commit(txn);
  }
}

static void use(const char* path)
{
  HrStore* store;
  HrTxn* txn = NULL;
  HrTree tree = {0};
  HrVerifyReport report;
  if (hr_store_open(path, 0, &store, NULL)) {
    return;
  }
  if (!hr_txn_begin(store, HR_READ, &txn)) {
    while (!hr_tree_next(txn, tree.id, &tree)) {
      read_tree(txn, tree.id);
    }
    hr_txn_abort(txn);
  }
  record(store);
  hr_store_verify(store, NULL, NULL, &report);
  hr_store_close(store);
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
  static char folder[] = "/dev/shm/hr-fuzz-XXXXXX";
  static char path[sizeof folder + 16], lock[sizeof folder + 16], rescued[sizeof folder + 16],
      rescued_lock[sizeof folder + 24];
  HrVerifyReport verified;
  HrSalvageReport report;
  if (!*path) {
    if (!mkdtemp(folder)) {
      abort();
    }
    snprintf(path, sizeof path, "%s/a.hr", folder);
    snprintf(lock, sizeof lock, "%s/a.hr-lock", folder);
    snprintf(rescued, sizeof rescued, "%s/b.hr", folder);
    snprintf(rescued_lock, sizeof rescued_lock, "%s/b.hr-lock", folder);
  }
  const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || size > SIZE_MAX_BYTES || write(fd, data, size) != (ssize_t)size) {
    abort();
  }
  close(fd);
  hr_store_verify_pages(path, HR_VERIFY_CONTENTS, NULL, NULL, &verified, NULL);
  if (!hr_store_salvage(path, rescued, NULL, NULL, &report, NULL)) {
    HrStore* store;
    if (hr_store_open(rescued, 0, &store, NULL) || hr_store_verify(store, NULL, NULL, &verified) ||
        verified.problems) {
      abort();
    }
    hr_store_close(store);
  }
  use(path);
  unlink(path);
  unlink(lock);
  unlink(rescued);
  unlink(rescued_lock);
  rmdir(folder);
  *path = '\0';
  snprintf(folder + sizeof folder - 7, 7, "XXXXXX");
  return 0;
}
