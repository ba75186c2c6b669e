/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* The new store is made with the calls that recording makes it with, so that it
 * is sound whatever was read: branches are forked where they were, and their
 * events appended. Only a journal of which nothing is lost is taken over as it is. */

#include "store/part.h"
#include "store/snapshot.h"
#include "store/survey.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
  HrSurvey survey;
  HrStore* store; ///< The new one
  HrTxn* txn;
  HrTempo tempo; ///< In force where the branch that is being made ends
  void (*lost)(void* data, const char* sentence);
  void* data;
  HrSalvageReport* report;
} Salvage;

static void say_lost(Salvage* salvage, const char* format, ...)
    __attribute__((format(printf, 2, 3)));

static void say_lost(Salvage* salvage, const char* format, ...)
{
  char sentence[512];
  va_list args;
  va_start(args, format);
  vsnprintf(sentence, sizeof sentence, format, args);
  va_end(args);
  salvage->report->losses += 1;
  if (salvage->lost) {
    salvage->lost(salvage->data, sentence);
  }
}

static const HrFound* found_at(const Salvage* salvage, size_t index, HrRecordKind kind)
{
  const HrFound* const found = index < salvage->survey.count ? &salvage->survey.found[index] : NULL;
  return found && found->kind == kind ? found : NULL;
}

/* ---- Events ---------------------------------------------------------- */

/** Append one event, and follow the tempo. */
static HrStatus append_event(Salvage* salvage, HrBranchId branch, const HrEvent* event,
                             const HrNodeHeader* node)
{
  const HrAppendOptions options = {node->author, node->wall_clock_ns};
  const HrStatus status = hr_append(salvage->txn, branch, event, &options);
  if (!status && event->kind == HR_EVENT_META) {
    hr_meta_apply(&salvage->tempo, event->bytes, event->size);
  }
  return status;
}

/** A node says what is in force before it. Behind a change that is lost, it is said again. */
static HrStatus restore_tempo(Salvage* salvage, HrBranchId branch, const HrNodeHeader* node)
{
  const HrTempo before = salvage->tempo;
  uint8_t bytes[HR_META_TEMPO_SIZE + HR_META_METER_SIZE];
  HrEvent tempo = {node->base_tick, HR_EVENT_META, HR_META_TEMPO_SIZE, bytes};
  HrEvent meter = {node->base_tick, HR_EVENT_META, HR_META_METER_SIZE, bytes + HR_META_TEMPO_SIZE};
  HrTempo told;
  HrStatus status = HR_OK;
  hr_node_tempo(node, &told);
  hr_meta_tempo(told.tempo, bytes);
  hr_meta_meter(told.beats_per_bar, told.beat_unit, bytes + HR_META_TEMPO_SIZE);
  if (told.tempo != before.tempo) {
    status = append_event(salvage, branch, &tempo, node);
  }
  if (!status &&
      (told.beats_per_bar != before.beats_per_bar || told.beat_unit != before.beat_unit)) {
    status = append_event(salvage, branch, &meter, node);
  }
  return status;
}

/** Where messages go that stand for others, which are lost. */
typedef struct {
  Salvage* salvage;
  HrBranchId branch;
  const HrNodeHeader* node;
  HrStatus status;
  bool any;
} Restoring;

static void append_message(void* data, const uint8_t* bytes, uint32_t size)
{
  Restoring* const restoring = data;
  const HrEvent event = {restoring->node->base_tick, HR_EVENT_MIDI, size, bytes};
  if (!restoring->status) {
    restoring->status =
        append_event(restoring->salvage, restoring->branch, &event, restoring->node);
    restoring->any = true;
  }
}

/** A checkpoint says what is set before it and which notes are held. Behind music that is lost,
 * what was set in that is set here, and what ended is ended. What began in it is not heard. */
static HrStatus restore_state(Salvage* salvage, HrBranchId branch, const HrNodeHeader* node)
{
  Restoring restoring = {.salvage = salvage, .branch = branch, .node = node};
  HrChase made, told;
  hr_checkpoint_read(node, &told);
  restoring.status = hr_chase_at(salvage->txn, branch, INT64_MAX, &made);
  hr_chase_end_notes(&made, &told, append_message, &restoring);
  hr_chase_send(&made, &told, append_message, &restoring);
  if (restoring.any && !restoring.status) {
    char label[HR_NAME_MAX + 32];
    say_lost(salvage,
             "Branch %s: programs, controllers and pedals that were set in lost music are set from "
             "tick %" PRId64 " on only, and notes that ended in it end there.",
             hr_survey_label(&salvage->survey, branch, label), node->base_tick);
  }
  return restoring.status;
}

static HrStatus append_node(Salvage* salvage, HrBranchId branch, const HrNodeHeader* node,
                            bool checkpoint)
{
  const HrSpan span = {
      .words = (const HrWord*)(node + 1), .count = node->word_count, .base = node->base_tick};
  uint32_t index = 0;
  uint64_t past = 0;
  HrEvent event;
  HrStatus status = restore_tempo(salvage, branch, node);
  status = status || !checkpoint ? status : restore_state(salvage, branch, node);
  status = status == HR_ERR_PAST || status == HR_ERR_ARGUMENT ? HR_OK : status; // As its events
  while (!status && hr_span_next(&span, &index, &event)) {
    const bool own = event.kind == HR_EVENT_META && event.bytes[0] == HR_META_STATE;
    status = own ? HR_OK : append_event(salvage, branch, &event, node);
    const bool misplaced = status == HR_ERR_PAST || !hr_tick_valid(event.tick);
    past += misplaced;
    salvage->report->events += !own && !status;
    status = misplaced ? HR_OK : status;
  }
  if (past) {
    char label[HR_NAME_MAX + 32];
    say_lost(salvage, "Branch %s: %" PRIu64 " events from tick %" PRId64 " on contradict others.",
             hr_survey_label(&salvage->survey, branch, label), past, node->base_tick);
  }
  return status;
}

static HrStatus append_nodes(Salvage* salvage, HrBranchId branch)
{
  HrStatus status = hr_tempo_at(salvage->txn, branch, INT64_MAX, &salvage->tempo);
  for (size_t i = hr_survey_seek(&salvage->survey, HR_SURVEY_NODE, branch);
       i < salvage->survey.count && !status; ++i) {
    const HrFound* const found = &salvage->survey.found[i];
    if (found->kind != HR_SURVEY_NODE || found->id != branch) {
      break;
    }
    size_t size;
    void* const node = hr_survey_value(&salvage->survey, found, &size);
    status = node ? append_node(salvage, branch, node, found->order % HR_CHECKPOINT_NODES == 0)
                  : HR_ERR_IO;
    free(node);
  }
  return status;
}

/* ---- Branches -------------------------------------------------------- */

/** Where a branch whose record is lost forked from: the journal may tell. */
static void guess_branch(const Salvage* salvage, HrBranchId id, HrBranchRecord* record)
{
  const HrTreeId tree = hr_branch_tree(id);
  *record = (HrBranchRecord){.parent = hr_branch_id(tree, 1), .head_tick = INT64_MIN};
  const size_t first = hr_survey_seek(&salvage->survey, HR_SURVEY_NODE, id);
  if (first < salvage->survey.count && salvage->survey.found[first].id == id) {
    record->fork_tick = salvage->survey.found[first].tick;
  }
  const HrFound* found;
  for (size_t i = hr_survey_seek(&salvage->survey, HR_RECORD_JOURNAL, (uint64_t)tree << 32);
       (found = found_at(salvage, i, HR_RECORD_JOURNAL)) && found->id >> 32 == tree; ++i) {
    HrJournalEntry entry = {0};
    size_t size;
    void* const value = hr_survey_value(&salvage->survey, found, &size);
    const bool told = value && !hr_journal_decode((uint32_t)found->id, value, size, &entry);
    free(value);
    const bool made = entry.operation == HR_OPERATION_FORK || entry.operation == HR_OPERATION_MERGE;
    if (told && made && entry.branch == id) {
      record->parent = entry.other;
      record->fork_tick = entry.tick;
      record->created_ns = entry.time_ns;
      record->author = entry.author;
      return;
    }
  }
}

/** Set what appending and forking do not: the head (a stretch that is lost stays
 * empty), the state, for the root what it was made with. */
static HrStatus complete_branch(Salvage* salvage, HrBranchId id, const HrBranchRecord* record)
{
  HrBranch branch;
  HrStatus status = hr_tail_close(salvage->txn);
  status = status ? status : hr_branch_get(salvage->txn, id, &branch);
  if (status) {
    return status;
  }
  branch.head_tick = record->head_tick > branch.head_tick ? record->head_tick : branch.head_tick;
  branch.state = record->state <= HR_BRANCH_HIDDEN ? (HrBranchState)record->state : branch.state;
  branch.author = record->author;
  branch.created_ns = record->created_ns ? record->created_ns : branch.created_ns;
  salvage->report->branches += 1;
  return hr_branch_put(salvage->txn, &branch);
}

static HrStatus make_branch(Salvage* salvage, HrBranchId id, const HrBranchRecord* record)
{
  char name[HR_NAME_MAX + 1];
  const uint32_t number = hr_branch_number(id);
  if (!hr_survey_name(&salvage->survey, HR_NAMES_BRANCH, id, name)) {
    snprintf(name, sizeof name, "recovered %u", number);
  }
  HrBranchId made = id;
  HrStatus status;
  if (number == 1) {
    status = hr_name_set(salvage->txn, HR_NAMES_BRANCH, hr_branch_tree(id), id, name);
  } else {
    const HrForkOptions options = {.name = name,
                                   .author = record->author,
                                   .created_ns = record->created_ns,
                                   .number = number,
                                   .quiet = true};
    const HrTick tick = hr_tick_valid(record->fork_tick) ? record->fork_tick : 0;
    status = hr_branch_fork(salvage->txn, record->parent, tick, &options, &made);
  }
  status = status ? status : append_nodes(salvage, id);
  return status ? status : complete_branch(salvage, id, record);
}

/** Make a branch if what it hangs on is there. `force`: hang it on the root
 * otherwise. HR_END if it has to wait. */
static HrStatus try_branch(Salvage* salvage, HrBranchId id, bool force)
{
  HrBranchRecord record;
  HrBranch parent;
  const HrBranchId root = hr_branch_id(hr_branch_tree(id), 1);
  HrStatus status = hr_branch_get(salvage->txn, id, &parent);
  if (id != root && !status) {
    return HR_OK; // Made before
  }
  const bool known = hr_survey_branch(&salvage->survey, id, &record);
  if (!known) {
    guess_branch(salvage, id, &record);
  }
  if (id == root) {
    return make_branch(salvage, id, &record);
  }
  status = hr_branch_get(salvage->txn, record.parent, &parent);
  if (status == HR_ERR_NOT_FOUND || hr_branch_tree(record.parent) != hr_branch_tree(id)) {
    if (!force) {
      return HR_END;
    }
    char label[HR_NAME_MAX + 32];
    record.parent = root;
    say_lost(salvage, "Branch %s: what it forked from is lost; it hangs on the first branch now.",
             hr_survey_label(&salvage->survey, id, label));
    status = HR_OK;
  }
  return status ? status : make_branch(salvage, id, &record);
}

/** Parents have lower numbers but where numbers were reserved: go round until
 * all are made; what waits for something lost is forced. */
static HrStatus make_branches(Salvage* salvage, HrTreeId tree)
{
  const HrBranchId root = hr_branch_id(tree, 1);
  bool waiting = true;
  bool force = false;
  HrStatus status = try_branch(salvage, root, true);
  while (waiting && !status) {
    bool progress = false;
    waiting = false;
    for (HrBranchId id = hr_survey_next_branch(&salvage->survey, root);
         id && hr_branch_tree(id) == tree && !status;
         id = hr_survey_next_branch(&salvage->survey, id)) {
      HrBranch made;
      const bool there = !hr_branch_get(salvage->txn, id, &made);
      status = there ? HR_OK : try_branch(salvage, id, force);
      progress = progress || (!there && !status);
      force = force && (there || status == HR_END);
      waiting = waiting || status == HR_END;
      status = status == HR_END ? HR_OK : status;
    }
    force = waiting && !progress;
  }
  return status;
}

/* ---- Journal and notes ----------------------------------------------- */

static bool branch_exists(const Salvage* salvage, HrBranchId id)
{
  HrBranch branch;
  return !hr_branch_get(salvage->txn, id, &branch);
}

/** Whether an entry may stand in the new store: all that it tells of is there. */
static bool entry_holds(const Salvage* salvage, const HrJournalEntry* entry)
{
  const bool made = entry->operation == HR_OPERATION_MARK || entry->operation == HR_OPERATION_NOTE;
  const bool about_note =
      entry->operation >= HR_OPERATION_MARK && entry->operation <= HR_OPERATION_RESTORE_NOTE;
  const uint32_t note = made ? entry->sequence : entry->refers;
  return branch_exists(salvage, entry->branch) &&
         (!entry->other || branch_exists(salvage, entry->other)) &&
         (!entry->left || branch_exists(salvage, entry->left)) &&
         (!about_note || hr_survey_find(&salvage->survey, HR_RECORD_NOTE, entry->branch, note));
}

/** Whether no entry of a tree's journal is lost, nor what any tells of, and `count`, which an
 * older record of the tree may say, is that of all. */
static bool journal_holds(const Salvage* salvage, HrTreeId tree, uint32_t count)
{
  const uint64_t first = (uint64_t)tree << 32 | 1;
  const size_t index = hr_survey_seek(&salvage->survey, HR_RECORD_JOURNAL, first);
  for (uint32_t i = 0; i < count; ++i) {
    const HrFound* const found = found_at(salvage, index + i, HR_RECORD_JOURNAL);
    HrJournalEntry entry;
    size_t size;
    if (!found || found->id != first + i) {
      return false;
    }
    void* const value = hr_survey_value(&salvage->survey, found, &size);
    const bool sound = value && !hr_journal_decode(i + 1, value, size, &entry);
    free(value);
    if (!sound || !entry_holds(salvage, &entry)) {
      return false;
    }
  }
  const HrFound* const beyond = found_at(salvage, index + count, HR_RECORD_JOURNAL);
  return !beyond || beyond->id >> 32 != tree;
}

/** Put records of one kind, from `id` to `last`, as they were. */
static HrStatus copy_records(Salvage* salvage, HrRecordKind kind, uint64_t id, uint64_t last)
{
  HrStatus status = HR_OK;
  const HrFound* found;
  for (size_t i = hr_survey_seek(&salvage->survey, kind, id);
       !status && (found = found_at(salvage, i, kind)) && found->id <= last; ++i) {
    size_t size;
    HrTickKey place;
    hr_tick_key(&place, found->id, found->tick, found->order);
    void* const value = hr_survey_value(&salvage->survey, found, &size);
    if (!value) {
      return HR_ERR_IO;
    }
    status = kind == HR_RECORD_NOTE
                 ? hr_put(salvage->txn, salvage->store->notes, &place, sizeof place, value, size)
                 : hr_put(salvage->txn, salvage->store->journal, &found->id, sizeof found->id,
                          value, size);
    free(value);
  }
  return status;
}

/** Replace the journal of the forks just made by the one that was. */
static HrStatus copy_journal(Salvage* salvage, HrTreeId tree, const HrTreeRecord* old,
                             HrTreeRecord* record)
{
  const uint64_t first = (uint64_t)tree << 32;
  for (uint32_t i = 1; i <= record->journal_count; ++i) {
    uint64_t place = first + i;
    MDB_val key = {sizeof place, &place};
    const int code = mdb_del(salvage->txn->txn, salvage->store->journal, &key, NULL);
    if (code) {
      return hr_status_from_lmdb(salvage->store, code);
    }
  }
  record->journal_count = old->journal_count;
  record->undo = old->undo;
  record->redo = old->redo;
  const HrStatus status =
      copy_records(salvage, HR_RECORD_JOURNAL, first + 1, first + old->journal_count);
  return status ? status : copy_records(salvage, HR_RECORD_NOTE, first, first + UINT32_MAX);
}

static HrStatus add_note(Salvage* salvage, const HrFound* found)
{
  HrNote note;
  HrTickKey place;
  size_t size;
  uint32_t id;
  hr_tick_key(&place, found->id, found->tick, found->order);
  void* const value = hr_survey_value(&salvage->survey, found, &size);
  HrStatus status = value ? hr_note_decode(&place, value, size, &note) : HR_ERR_IO;
  if (!status && branch_exists(salvage, note.branch)) {
    status = hr_note_add(salvage->txn, &note, &id);
    status = !status && note.hidden
                 ? hr_note_put_hidden(salvage->txn, hr_branch_tree(note.branch), id, true)
                 : status;
  } else if (!status) {
    say_lost(salvage, "A note is lost with the branch it was on, #%u of tree %u.",
             hr_branch_number(note.branch), hr_branch_tree(note.branch));
  }
  free(value);
  return status;
}

/** Say the notes again, in the journal that has begun anew. */
static HrStatus add_notes(Salvage* salvage, HrTreeId tree)
{
  const HrFound* found;
  HrStatus status = HR_OK;
  for (size_t i = hr_survey_seek(&salvage->survey, HR_RECORD_NOTE, (uint64_t)tree << 32);
       !status && (found = found_at(salvage, i, HR_RECORD_NOTE)) && found->id >> 32 == tree; ++i) {
    status = add_note(salvage, found);
  }
  return status;
}

/* ---- Trees ----------------------------------------------------------- */

/** Set the tree's record to what it was, as far as that is there. */
static HrStatus complete_tree(Salvage* salvage, HrTreeId tree)
{
  HrTreeRecord old, record;
  HrBranch current;
  const bool known = hr_survey_tree(&salvage->survey, tree, &old);
  const bool whole = known && journal_holds(salvage, tree, old.journal_count);
  HrStatus status = whole ? HR_OK : add_notes(salvage, tree);
  status = status ? status : hr_tree_record(salvage->txn, tree, &record);
  if (status) {
    return status;
  }
  if (whole) {
    status = copy_journal(salvage, tree, &old, &record);
  } else {
    say_lost(salvage, "Tree %u: its journal begins anew, with a fork for every branch.", tree);
  }
  if (known) {
    record.created_ns = old.created_ns;
    record.author = old.author;
    record.next_number =
        old.next_number > record.next_number ? old.next_number : record.next_number;
    if (!hr_branch_get(salvage->txn, old.current, &current) && current.state != HR_BRANCH_HIDDEN &&
        hr_branch_tree(old.current) == tree) {
      record.current = old.current;
    }
  }
  salvage->report->trees += 1;
  status = status ? status : hr_branch_put_state(salvage->txn, record.current, HR_BRANCH_ACTIVE);
  return status ? status : hr_tree_record_put(salvage->txn, tree, &record);
}

static HrStatus make_tree(Salvage* salvage, HrTreeId tree)
{
  char name[HR_NAME_MAX + 1];
  HrTreeId made = 0;
  const bool named = hr_survey_name(&salvage->survey, HR_NAMES_TREE, tree, name);
  HrStatus status = hr_txn_begin(salvage->store, HR_WRITE, &salvage->txn);
  if (status) {
    return status;
  }
  status = hr_tree_create(salvage->txn, named ? name : NULL, 0, &made);
  status = status == HR_ERR_EXISTS ? hr_tree_create(salvage->txn, NULL, 0, &made) : status;
  status = status ? status : make_branches(salvage, tree);
  status = status ? status : complete_tree(salvage, tree);
  if (status) {
    hr_txn_abort(salvage->txn);
    return status;
  }
  return hr_txn_commit(salvage->txn);
}

/** Name those whose name is lost: the next new author would get the number of the last of
 * them, and what they played with it. */
static HrStatus name_lost_authors(Salvage* salvage)
{
  uint32_t last = 0;
  HrStatus status = HR_OK;
  for (size_t i = 0; i < salvage->survey.count && !status; ++i) {
    const uint32_t author = salvage->survey.found[i].author;
    char name[HR_NAME_MAX + 1];
    if (!author || author == last) {
      continue;
    }
    last = author;
    status = hr_name_get(salvage->txn, HR_NAMES_AUTHOR, author, name);
    if (status == HR_ERR_NOT_FOUND) {
      say_lost(salvage, "The name of author %u is lost.", author);
      snprintf(name, sizeof name, "recovered %u", author);
      status = hr_name_set_free(salvage->txn, HR_NAMES_AUTHOR, 0, author, name);
    }
  }
  return status;
}

static HrStatus make_authors(Salvage* salvage)
{
  const HrFound* found;
  HrStatus status = hr_txn_begin(salvage->store, HR_WRITE, &salvage->txn);
  if (status) {
    return status;
  }
  for (size_t i = hr_survey_seek(&salvage->survey, HR_RECORD_NAME, 0);
       !status && (found = found_at(salvage, i, HR_RECORD_NAME)); ++i) {
    char name[HR_NAME_MAX + 1];
    if (found->order == 'A' && hr_survey_name(&salvage->survey, HR_NAMES_AUTHOR, found->id, name)) {
      status = hr_name_set_free(salvage->txn, HR_NAMES_AUTHOR, 0, found->id, name);
    }
  }
  status = status ? status : name_lost_authors(salvage);
  if (status) {
    hr_txn_abort(salvage->txn);
    return status;
  }
  return hr_txn_commit(salvage->txn);
}

/** The last tree of which anything is left. */
static HrTreeId last_tree(const HrSurvey* survey)
{
  uint64_t last = 0;
  for (size_t i = 0; i < survey->count; ++i) {
    const HrFound* const found = &survey->found[i];
    const uint64_t tree = found->kind == HR_RECORD_TREE ? found->id
                          : found->kind == HR_RECORD_BRANCH || found->kind == HR_SURVEY_NODE
                              ? found->id >> 32
                              : 0;
    last = tree > last ? tree : last;
  }
  return (HrTreeId)last;
}

static HrStatus nothing_kept(HrError* error, HrStatus status, const char* path)
{
  return hr_error(error, status, "%s could not be written, and nothing of it was kept: %s. %s",
                  path, hr_strerror(status), hr_advice(status));
}

static HrStatus exists_already(HrError* error, const char* path)
{
  return hr_error(error, HR_ERR_EXISTS, "%s exists already: name a new file.", path);
}

/** Who opens a store locks its file until it has pages: it has them already. */
static HrStatus begin_part(const HrPart* part)
{
  HrSizeSignal held;
  hr_size_signal_hold(&held);
  const int code = hr_pages_begin(part->fd) ? 0 : errno;
  hr_size_signal_drop(&held);
  return hr_status_from_lmdb(NULL, code);
}

static HrStatus fill_part(Salvage* salvage, const HrPart* part, const char* path, HrError* error)
{
  HrStatus status = hr_store_open(part->path, HR_STORE_CREATE, &salvage->store, error);
  if (status) {
    return status;
  }
  const HrTreeId trees = last_tree(&salvage->survey);
  status = make_authors(salvage);
  for (HrTreeId tree = 1; tree <= trees && !status; ++tree) {
    status = make_tree(salvage, tree);
  }
  hr_store_close(salvage->store);
  return status ? nothing_kept(error, status, path) : HR_OK;
}

static HrStatus build(Salvage* salvage, const char* path, HrError* error)
{
  HrPart part;
  char lock[HR_PART_PATH_SIZE + 8];
  HrStatus status = hr_make_folders(path, error);
  status = status ? status : hr_part_open(&part, path, error);
  if (status) {
    return status;
  }
  snprintf(lock, sizeof lock, "%s-lock", part.path);
  status = begin_part(&part);
  status = status ? nothing_kept(error, status, path) : fill_part(salvage, &part, path, error);
  unlink(lock);
  const int code = status ? 0 : hr_part_publish(&part, path, false);
  if (code) {
    status = code == EEXIST ? exists_already(error, path)
                            : nothing_kept(error, hr_status_from_lmdb(NULL, code), path);
  }
  hr_part_close(&part);
  return status;
}

/** Look at what was given up, too, if anything is missing. */
static HrStatus survey_file(const HrSnapshot* snapshot, const uint8_t* uses, bool damaged,
                            HrSurvey* survey)
{
  const uint64_t last = snapshot->pages.meta.last_page;
  HrStatus status = hr_survey(survey, snapshot->fd, uses, damaged, snapshot->page_count, last);
  if (!status && !damaged && hr_survey_tell(survey, NULL, NULL)) {
    hr_survey_free(survey);
    status = hr_survey(survey, snapshot->fd, uses, true, snapshot->page_count, last);
  }
  return status;
}

HrStatus hr_store_salvage(const char* damaged, const char* path,
                          void (*lost)(void* data, const char* sentence), void* data,
                          HrSalvageReport* report, HrError* error)
{
  HrSnapshot snapshot;
  struct stat info;
  uint8_t* uses = NULL;
  Salvage salvage = {.lost = lost, .data = data, .report = report};
  *report = (HrSalvageReport){0};
  if (!lstat(path, &info)) {
    return exists_already(error, path);
  }
  HrStatus status = hr_snapshot_open(&snapshot, damaged, error);
  const bool readable = !status || status == HR_ERR_TRUNCATED || status == HR_ERR_DAMAGED ||
                        status == HR_ERR_NOT_A_STORE;
  if (readable) {
    const HrStatus checked = hr_pages_check(&snapshot.pages, HR_PAGES_ALL, &uses);
    const HrStatus surveyed =
        checked == HR_ERR_NO_MEMORY
            ? checked
            : survey_file(&snapshot, uses, status || checked, &salvage.survey);
    if (!last_tree(&salvage.survey)) {
      status = status ? status
                      : hr_error(error, surveyed ? surveyed : HR_ERR_NOT_FOUND,
                                 "Nothing of a store can be read in %s.", damaged);
    } else {
      report->losses = hr_survey_tell(&salvage.survey, lost, data);
      status = surveyed ? surveyed : build(&salvage, path, error);
    }
    hr_survey_free(&salvage.survey);
    free(uses);
  }
  hr_snapshot_close(&snapshot);
  return status;
}
