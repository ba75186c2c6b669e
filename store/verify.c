/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/internal.h"
#include "store/snapshot.h"
#include "store/survey.h"

#include <ctype.h>
#include <endian.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** Where the text begins in the key of a name (name.c). */
enum { NAME_AT = 9 };

typedef struct {
  HrTxn* txn;
  void (*problem)(void* data, const char* sentence);
  void* data;
  HrVerifyReport* report;
  uint64_t entries; ///< Nodes and extents that belong to a branch
} Verify;

static void complain(Verify* verify, const char* format, ...) __attribute__((format(printf, 2, 3)));

static void complain(Verify* verify, const char* format, ...)
{
  char sentence[512];
  va_list args;
  va_start(args, format);
  vsnprintf(sentence, sizeof sentence, format, args);
  va_end(args);
  verify->report->problems += 1;
  if (verify->problem) {
    verify->problem(verify->data, sentence);
  }
}

/** A branch as messages name it: its name, else its number. */
static const char* label(Verify* verify, HrBranchId id, char text[HR_NAME_MAX + 32])
{
  char name[HR_NAME_MAX + 1];
  if (hr_branch_name(verify->txn, id, name)) {
    snprintf(text, HR_NAME_MAX + 32, "#%u of tree %u", hr_branch_number(id), hr_branch_tree(id));
  } else {
    snprintf(text, HR_NAME_MAX + 32, "\"%s\" (#%u of tree %u)", name, hr_branch_number(id),
             hr_branch_tree(id));
  }
  return text;
}

/** What is in force where a branch begins; a tempo of 0 where that cannot be read. */
static HrTempo tempo_before(const Verify* verify, const HrBranch* branch)
{
  HrTempo tempo = {HR_DEFAULT_TEMPO, 4, 4};
  uint64_t damaged = 0;
  const bool lost = branch->parent &&
                    hr_tempo_read(verify->txn, branch->parent, branch->fork_tick, &tempo, &damaged);
  tempo.tempo = lost || damaged ? 0.0 : tempo.tempo;
  return tempo;
}

/** Check that a node begins with the tempo and meter that were left to it, unless those are not
 * known. */
static void verify_tempo(Verify* verify, const char* name, const HrNodeHeader* node,
                         const HrTempo* left)
{
  if (left->tempo != 0.0 &&
      (node->tempo != left->tempo || node->beats_per_bar != left->beats_per_bar ||
       node->beat_unit != left->beat_unit)) {
    complain(verify,
             "Branch %s: the node at tick %" PRId64
             " has another tempo or meter than what comes before it.",
             name, node->base_tick);
  }
}

/** Check the events of a node that passed its checksum. `tempo` becomes what they leave. */
static void verify_words(Verify* verify, const char* name, const HrNodeHeader* node, HrTempo* tempo)
{
  const HrSpan span = {
      .words = (const HrWord*)(node + 1), .count = node->word_count, .base = node->base_tick};
  uint32_t index = 0;
  uint32_t count = 0;
  uint32_t all = 0; // With those that are not counted
  HrTick last = node->base_tick;
  HrEvent event;
  verify_tempo(verify, name, node, tempo);
  hr_node_tempo(node, tempo);
  while (hr_span_next(&span, &index, &event)) {
    if (event.tick < last) {
      complain(verify, "Branch %s: events out of order at tick %" PRId64 ".", name, event.tick);
    }
    last = event.tick;
    all += 1;
    count += event.kind == HR_EVENT_MIDI || event.bytes[0] != HR_META_STATE;
    if (event.kind == HR_EVENT_META) {
      hr_meta_apply(tempo, event.bytes, event.size);
    }
  }
  if (count != node->event_count || last != node->last_tick) {
    complain(verify, "Branch %s: the node at tick %" PRId64 " miscounts its events.", name,
             node->base_tick);
  }
  if (all != node->word_count && !(node->flags & HR_NODE_HAS_LONG)) {
    complain(verify, "Branch %s: the node at tick %" PRId64 " hides its long events.", name,
             node->base_tick);
  }
}

/** What the nodes so far leave a synthesizer in. */
typedef struct {
  HrChase chase;
  bool known; ///< All of them could be read
} LeftState;

/** The same where a branch begins. */
static LeftState state_before(const Verify* verify, const HrBranch* branch)
{
  LeftState left;
  uint64_t damaged = 0;
  hr_chase_init(&left.chase);
  left.known = !branch->parent || (!hr_chase_read(verify->txn, branch->parent, branch->fork_tick,
                                                  &left.chase, &damaged) &&
                                   !damaged);
  return left;
}

static void note_message(void* data, const uint8_t* bytes, uint32_t size)
{
  (void)bytes;
  (void)size;
  *(bool*)data = true;
}

/** Whether nothing needs to be sent from either state to the other. Their parameters may have been
 * noted in another order. */
static bool sound_alike(const HrChase* a, const HrChase* b)
{
  bool differ = false;
  hr_chase_send(a, b, note_message, &differ);
  hr_chase_send(b, a, note_message, &differ);
  return !differ;
}

/** Check that the state which a node begins with, if one is due, is what the events before it
 * leave. `left` becomes what the node leaves. */
static void verify_state(Verify* verify, const char* name, const HrNodeHeader* node,
                         uint64_t ordinal, LeftState* left)
{
  if (ordinal % HR_CHECKPOINT_NODES == 0) {
    HrChase checkpoint;
    hr_checkpoint_read(node, &checkpoint);
    if (left->known && !sound_alike(&left->chase, &checkpoint)) {
      complain(verify,
               "Branch %s: what is replayed from behind tick %" PRId64
               " begins with other programs, controllers or held notes than those that the events "
               "before it leave.",
               name, node->base_tick);
    }
    *left = (LeftState){checkpoint, true};
  }
  hr_chase_node(&left->chase, node, INT64_MAX);
}

/** Walk a branch's own nodes; their totals must be what its record says. */
static HrStatus verify_nodes(Verify* verify, const HrBranch* branch, const char* name)
{
  HrNodeCursor* cursor = NULL;
  HrTick last = branch->fork_tick;
  HrTempo tempo = tempo_before(verify, branch);
  LeftState state = state_before(verify, branch);
  uint64_t events = 0;
  uint64_t nodes = 0;
  int code = hr_nodes_open(verify->txn, &cursor);
  code = code ? code : hr_nodes_first(cursor, branch->id);
  while (!code && hr_nodes_in(cursor, branch->id)) {
    const HrTick tick = hr_tick_key_tick(&cursor->key);
    const uint64_t ordinal = hr_tick_key_ordinal(&cursor->key);
    if (ordinal != nodes) {
      complain(verify,
               "Branch %s: music is missing before tick %" PRId64 " (node %" PRIu64
               " expected, %" PRIu64 " found).",
               name, tick, nodes, ordinal);
      nodes = ordinal;
      tempo.tempo = 0.0;
      state.known = false;
    }
    if (tick < last && (nodes || branch->parent)) {
      complain(verify, "Branch %s: the node at tick %" PRId64 " overlaps the one before.", name,
               tick);
    }
    if (hr_node_valid(&cursor->key, &cursor->node)) {
      const HrNodeHeader* const node = cursor->node.mv_data;
      verify_words(verify, name, node, &tempo);
      verify_state(verify, name, node, nodes, &state);
      last = node->last_tick;
      events += node->event_count;
    } else {
      complain(verify, "Branch %s: the node at tick %" PRId64 " is damaged; its notes are lost.",
               name, tick);
      tempo.tempo = 0.0;
      state.known = false;
    }
    if (cursor->is_mended && !cursor->index) {
      complain(verify, "Branch %s: the key of the nodes from tick %" PRId64 " on is damaged.", name,
               tick);
    }
    nodes += 1;
    verify->entries += !cursor->index;
    code = hr_nodes_next(cursor);
  }
  hr_nodes_close(cursor);
  if (nodes != branch->node_count || events != branch->event_count) {
    complain(verify,
             "Branch %s: %" PRIu64 " nodes and %" PRIu64 " events found, %u and %" PRIu64
             " recorded.",
             name, nodes, events, branch->node_count, branch->event_count);
  }
  if (events && last > branch->head_tick) {
    complain(verify, "Branch %s: its last event is at tick %" PRId64 ", its head at %" PRId64 ".",
             name, last, branch->head_tick);
  }
  verify->report->events += events;
  verify->report->nodes += nodes;
  return code == MDB_NOTFOUND ? HR_OK : hr_status_from_lmdb(verify->txn->store, code);
}

/** Check that a child sits where its parent and its jump pointer say. */
static HrStatus verify_links(Verify* verify, const HrBranch* branch, const char* name)
{
  HrBranch parent, first, second;
  HrStatus status = hr_branch_get(verify->txn, branch->parent, &parent);
  if (status == HR_ERR_NOT_FOUND || hr_branch_tree(branch->parent) != hr_branch_tree(branch->id)) {
    complain(verify, "Branch %s: the branch it forked from is missing.", name);
    return HR_OK;
  }
  if (status) {
    return status;
  }
  if (parent.depth + 1 != branch->depth ||
      (parent.parent && parent.fork_tick > branch->fork_tick)) {
    complain(verify, "Branch %s: its depth or fork point contradicts its parent.", name);
    return HR_OK;
  }
  if (parent.head_tick < branch->fork_tick) {
    complain(verify,
             "Branch %s: it begins at tick %" PRId64 ", and where it forked from ends "
             "before that, at %" PRId64 ".",
             name, branch->fork_tick, parent.head_tick);
  }
  status = hr_branch_get(verify->txn, parent.jump, &first);
  status = status ? status : hr_branch_get(verify->txn, first.jump, &second);
  if (status == HR_ERR_NOT_FOUND) {
    complain(verify, "Branch %s: a jump pointer above it leads nowhere.", name);
    return HR_OK;
  }
  if (!status) {
    const bool equal = parent.depth - first.depth == first.depth - second.depth;
    const HrBranchId wanted = equal && parent.id != first.id ? second.id : parent.id;
    if (branch->jump != wanted) {
      complain(verify, "Branch %s: its jump pointer is wrong.", name);
    }
  }
  return status;
}

static HrStatus verify_branch(Verify* verify, const HrBranch* branch)
{
  char text[HR_NAME_MAX + 32];
  char name[HR_NAME_MAX + 1];
  HrBranchId named;
  const char* shown = label(verify, branch->id, text);
  verify->report->branches += 1;
  if (hr_branch_name(verify->txn, branch->id, name) ||
      hr_name_find(verify->txn, HR_NAMES_BRANCH, hr_branch_tree(branch->id), name, &named) ||
      named != branch->id) {
    complain(verify, "Branch %s: its name does not lead back to it.", shown);
  }
  if (branch->state > HR_BRANCH_HIDDEN) {
    complain(verify, "Branch %s: unknown state %d.", shown, (int)branch->state);
  }
  HrStatus status = HR_OK;
  if (branch->parent) {
    status = verify_links(verify, branch, shown);
    if (branch->head_tick < branch->fork_tick) {
      complain(verify, "Branch %s: it ends before it begins.", shown);
    }
  } else if (branch->depth || branch->jump != branch->id) {
    complain(verify, "Branch %s: a root with ancestors.", shown);
  }
  return status ? status : verify_nodes(verify, branch, shown);
}

/** What the journal says up to an entry: the next to be undone and redone. */
typedef struct {
  uint32_t undo, redo;
} Steps;

/** Follow an UNDO or REDO entry. False if it is not about what was next. */
static bool follow_step(Verify* verify, HrTreeId tree, const HrJournalEntry* entry, Steps* steps)
{
  const bool undo = entry->operation == HR_OPERATION_UNDO;
  HrJournalEntry about;
  if (!entry->refers || entry->refers != (undo ? steps->undo : steps->redo) ||
      (undo && entry->below != steps->redo) ||
      hr_journal_get(verify->txn, tree, entry->refers, &about)) {
    return false;
  }
  *steps = undo ? (Steps){about.below, entry->sequence} : (Steps){about.refers, about.below};
  return true;
}

/** Check that an entry about a note leads to one. */
static bool leads_to_note(Verify* verify, HrTreeId tree, const HrJournalEntry* entry)
{
  HrNote note;
  const bool made = entry->operation == HR_OPERATION_MARK || entry->operation == HR_OPERATION_NOTE;
  return !hr_note_get(verify->txn, tree, made ? entry->sequence : entry->refers, &note);
}

/** Check that a branch begins where the journal says that it was made. */
static void verify_beginning(Verify* verify, const HrJournalEntry* entry)
{
  HrBranch branch;
  char text[HR_NAME_MAX + 32];
  const bool made = entry->operation == HR_OPERATION_FORK || entry->operation == HR_OPERATION_MERGE;
  if (made && !hr_branch_get(verify->txn, entry->branch, &branch) &&
      branch.fork_tick != entry->tick) {
    complain(verify, "Branch %s: it begins at tick %" PRId64 ", the journal says %" PRId64 ".",
             label(verify, entry->branch, text), branch.fork_tick, entry->tick);
  }
}

static void verify_entry(Verify* verify, HrTreeId tree, const HrJournalEntry* entry, Steps* steps)
{
  HrBranch branch;
  const HrBranchId ids[] = {entry->branch, entry->other, entry->left};
  for (size_t i = 0; i < sizeof ids / sizeof *ids; ++i) {
    if ((i == 0 || ids[i]) &&
        (hr_branch_tree(ids[i]) != tree || hr_branch_get(verify->txn, ids[i], &branch))) {
      complain(verify, "Tree %u: journal entry %u is about a branch that does not exist.", tree,
               entry->sequence);
    }
  }
  verify_beginning(verify, entry);
  const bool about_note =
      entry->operation >= HR_OPERATION_MARK && entry->operation <= HR_OPERATION_RESTORE_NOTE;
  if (about_note && !leads_to_note(verify, tree, entry)) {
    complain(verify, "Tree %u: the note that journal entry %u tells of is missing or damaged.",
             tree, entry->sequence);
  }
  bool chained = true;
  if (entry->operation == HR_OPERATION_UNDO || entry->operation == HR_OPERATION_REDO) {
    chained = follow_step(verify, tree, entry, steps);
  } else if (hr_operation_undoable(entry->operation) && !entry->quiet) {
    chained = entry->below == steps->undo;
    *steps = (Steps){entry->sequence, 0};
  }
  if (!chained) {
    complain(verify, "Tree %u: journal entry %u does not undo or redo what came before.", tree,
             entry->sequence);
  }
}

static HrStatus verify_journal(Verify* verify, HrTreeId tree, const HrTreeRecord* record)
{
  HrJournalEntry entry = {0};
  HrStatus status;
  uint32_t expected = 1;
  Steps steps = {0, 0};
  while (!(status = hr_journal_next(verify->txn, tree, entry.sequence, &entry))) {
    if (entry.sequence != expected) {
      complain(verify, "Tree %u: journal entry %u is missing.", tree, expected);
    }
    expected = entry.sequence + 1;
    verify->report->journal_entries += 1;
    verify_entry(verify, tree, &entry, &steps);
  }
  if (status == HR_ERR_DAMAGED) {
    complain(verify, "Tree %u: journal entry %u is damaged.", tree, expected);
    return HR_OK;
  }
  if (expected != record->journal_count + 1) {
    complain(verify, "Tree %u: its journal ends at entry %u, not %u.", tree, expected - 1,
             record->journal_count);
  }
  if (steps.undo != record->undo || steps.redo != record->redo) {
    complain(verify, "Tree %u: entries %u and %u are next to be undone and redone, not %u and %u.",
             tree, steps.undo, steps.redo, record->undo, record->redo);
  }
  return status == HR_END ? HR_OK : status;
}

/** Check that the branch and the journal entry of a note are there. */
static void verify_note(Verify* verify, const MDB_val* key, const MDB_val* value)
{
  HrNote note;
  HrBranch branch;
  HrJournalEntry entry;
  verify->report->notes += 1;
  if (key->mv_size != sizeof(HrTickKey)) {
    complain(verify, "A note has no place.");
    return;
  }
  const HrBranchId id = hr_tick_key_branch(key->mv_data);
  const HrTick tick = hr_tick_key_tick(key->mv_data);
  const HrTreeId tree = hr_branch_tree(id);
  if (hr_branch_get(verify->txn, id, &branch)) {
    complain(verify, "A note of tree %u is on branch #%u, which does not exist.", tree,
             hr_branch_number(id));
    return;
  }
  char text[HR_NAME_MAX + 32];
  const char* const shown = label(verify, id, text);
  if (hr_note_read(verify->txn, key, value, &note)) {
    complain(verify, "Branch %s: the note at tick %" PRId64 " is damaged.", shown, tick);
    return;
  }
  if (branch.parent && tick < branch.fork_tick) {
    complain(verify, "Branch %s: the note at tick %" PRId64 " lies before the branch.", shown,
             tick);
  }
  if (hr_journal_get(verify->txn, tree, note.id, &entry) || entry.branch != id ||
      entry.tick != tick ||
      entry.operation != (note.kind == HR_NOTE_MARK ? HR_OPERATION_MARK : HR_OPERATION_NOTE)) {
    complain(verify, "Branch %s: the journal does not tell of the note at tick %" PRId64 ".", shown,
             tick);
  }
}

static HrStatus verify_notes(Verify* verify)
{
  MDB_cursor* cursor = NULL;
  MDB_val key, value;
  if (!verify->txn->store->notes) {
    return HR_OK;
  }
  int code = mdb_cursor_open(verify->txn->txn, verify->txn->store->notes, &cursor);
  if (code) {
    return hr_status_from_lmdb(verify->txn->store, code);
  }
  while (!(code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT))) {
    verify_note(verify, &key, &value);
  }
  mdb_cursor_close(cursor);
  return code == MDB_NOTFOUND ? HR_OK : hr_status_from_lmdb(verify->txn->store, code);
}

/** Check that a name kept by text is that of the one it leads to. */
static void verify_text(Verify* verify, HrNameKind kind, const MDB_val* key)
{
  char text[HR_NAME_MAX + 1], name[HR_NAME_MAX + 1];
  uint64_t id;
  snprintf(text, sizeof text, "%.*s", (int)(key->mv_size - NAME_AT),
           (const char*)key->mv_data + NAME_AT);
  if (hr_get_record(verify->txn, verify->txn->store->names, key->mv_data, key->mv_size, &id,
                    sizeof id) ||
      hr_name_get(verify->txn, kind, id, name) || strcmp(name, text) != 0) {
    complain(verify, "The name \"%s\" leads to nothing that is called so.", text);
  }
}

/** Check a name kept by what bears it; those of branches are checked with them. */
static void verify_bearer(Verify* verify, HrNameKind kind, const MDB_val* key)
{
  char name[HR_NAME_MAX + 1];
  uint64_t id, named;
  memcpy(&id, (const char*)key->mv_data + 1, sizeof id);
  id = be64toh(id);
  if (kind != HR_NAMES_BRANCH &&
      (hr_name_get(verify->txn, kind, id, name) ||
       hr_name_find(verify->txn, kind, 0, name, &named) || named != id)) {
    complain(verify, "%s %" PRIu64 ": its name does not lead back to it.",
             kind == HR_NAMES_TREE ? "Tree" : "Author", id);
  }
}

/** Check that names lead both ways. */
static HrStatus verify_names(Verify* verify)
{
  MDB_cursor* cursor = NULL;
  MDB_val key, value;
  int code = mdb_cursor_open(verify->txn->txn, verify->txn->store->names, &cursor);
  if (code) {
    return hr_status_from_lmdb(verify->txn->store, code);
  }
  while (!(code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT))) {
    const int letter = *(const uint8_t*)key.mv_data;
    if (key.mv_size > NAME_AT && islower(letter)) {
      verify_text(verify, (HrNameKind)letter, &key);
    } else if (key.mv_size == NAME_AT && isupper(letter)) {
      verify_bearer(verify, (HrNameKind)tolower(letter), &key);
    } else {
      complain(verify, "There is a name of nothing.");
    }
  }
  mdb_cursor_close(cursor);
  return code == MDB_NOTFOUND ? HR_OK : hr_status_from_lmdb(verify->txn->store, code);
}

static HrStatus verify_tree(Verify* verify, HrTreeId id, const HrTreeRecord* record)
{
  HrBranch branch;
  uint32_t count = 0;
  uint32_t number = 0;
  HrStatus status;
  verify->report->trees += 1;
  while (!(status = hr_branch_next(verify->txn, id, number, &branch))) {
    number = hr_branch_number(branch.id);
    count += 1;
    status = verify_branch(verify, &branch);
    if (status) {
      return status;
    }
  }
  if (status != HR_END) {
    return status;
  }
  if (count != record->branch_count || number >= record->next_number) {
    complain(verify, "Tree %u: %u branches found, %u recorded.", id, count, record->branch_count);
  }
  if (hr_branch_get(verify->txn, record->current, &branch) ||
      hr_branch_tree(record->current) != id) {
    complain(verify, "Tree %u: its current branch does not exist.", id);
  } else if (branch.state == HR_BRANCH_HIDDEN) {
    complain(verify, "Tree %u: its current branch is hidden.", id);
  }
  if (hr_branch_get(verify->txn, hr_branch_id(id, record->root_number), &branch) || branch.parent) {
    complain(verify, "Tree %u: its root is missing.", id);
  }
  return verify_journal(verify, id, record);
}

/** Branches and nodes of no tree would be seen by nobody: count them all. */
static void verify_totals(Verify* verify)
{
  MDB_stat stat;
  if (!mdb_stat(verify->txn->txn, verify->txn->store->branches, &stat) &&
      stat.ms_entries != verify->report->branches) {
    complain(verify, "%zu branches belong to no tree.",
             stat.ms_entries - (size_t)verify->report->branches);
  }
  if (!mdb_stat(verify->txn->txn, verify->txn->store->nodes, &stat) &&
      stat.ms_entries != verify->entries) {
    complain(verify, "%zu nodes and extents found, %" PRIu64 " belong to a branch.",
             stat.ms_entries, verify->entries);
  }
}

HrStatus hr_store_verify(HrStore* store, void (*problem)(void* data, const char* sentence),
                         void* data, HrVerifyReport* report)
{
  Verify verify = {.problem = problem, .data = data, .report = report};
  HrTree tree = {0};
  HrStatus status = hr_txn_begin(store, HR_READ, &verify.txn);
  *report = (HrVerifyReport){0};
  while (!status && !(status = hr_tree_next(verify.txn, tree.id, &tree))) {
    HrTreeRecord record;
    status = hr_tree_record(verify.txn, tree.id, &record);
    status = status ? status : verify_tree(&verify, tree.id, &record);
  }
  if (status == HR_END) {
    verify_totals(&verify);
    status = verify_notes(&verify);
    status = status ? status : verify_names(&verify);
  }
  hr_txn_abort(verify.txn);
  return status;
}

/* ---- Pages ----------------------------------------------------------- */

enum { PLACE_SIZE = HR_NAME_MAX + 40 };

/** What a key of the nodes or the notes says of the music. */
static bool say_tick(const uint8_t* bytes, size_t size, char text[PLACE_SIZE])
{
  HrTickKey key;
  if (!hr_extent_nodes(&(MDB_val){size, (void*)bytes})) {
    return false;
  }
  memcpy(&key, bytes, sizeof key);
  snprintf(text, PLACE_SIZE, "branch #%u of tree %u, tick %" PRId64,
           hr_branch_number(hr_tick_key_branch(&key)), hr_branch_tree(hr_tick_key_branch(&key)),
           hr_tick_key_tick(&key));
  return true;
}

/** What a key of the names says: which it is, or whose. */
static bool say_name(const uint8_t* key, size_t size, char text[PLACE_SIZE])
{
  const char* const name = (const char*)key + NAME_AT;
  uint64_t id;
  if (size > NAME_AT && size <= NAME_AT + HR_NAME_MAX &&
      hr_text_valid(name, size - NAME_AT, false)) {
    snprintf(text, PLACE_SIZE, "the name \"%.*s\"", (int)(size - NAME_AT), name);
    return true;
  }
  if (size != NAME_AT) {
    return false;
  }
  memcpy(&id, key + 1, sizeof id);
  id = be64toh(id);
  if (tolower(*key) == HR_NAMES_BRANCH) {
    snprintf(text, PLACE_SIZE, "the name of branch #%u of tree %u", hr_branch_number(id),
             hr_branch_tree(id));
  } else {
    snprintf(text, PLACE_SIZE, "the name of %s %" PRIu64,
             tolower(*key) == HR_NAMES_TREE ? "tree" : "author", id);
  }
  return true;
}

/** What a key says, for people; NULL if nothing. */
static const char* place_of(const char* database, const uint8_t* key, size_t size,
                            char text[PLACE_SIZE])
{
  const bool of_names = !strcmp(database, "names");
  return key && (of_names ? say_name : say_tick)(key, size, text) ? text : NULL;
}

static void tell_fault(void* data, const HrPageFault* fault)
{
  Verify* const verify = data;
  char low[PLACE_SIZE], high[PLACE_SIZE];
  const char* const from = place_of(fault->database, fault->low, fault->low_size, low);
  const char* const to = place_of(fault->database, fault->high, fault->high_size, high);
  const char* const name = *fault->database ? fault->database : "list of databases";
  if (!fault->page) {
    complain(verify, "In the %s: %s.", name, fault->what);
  } else if (from || to) {
    complain(verify, "Page %" PRIu64 " of the %s is damaged: %s. It holds what lies from %s to %s.",
             fault->page, name, fault->what, from ? from : "the beginning", to ? to : "the end");
  } else {
    complain(verify, "Page %" PRIu64 " of the %s is damaged: %s.", fault->page, name, fault->what);
  }
}

HrStatus hr_store_verify_pages(const char* path, HrVerifyDepth depth,
                               void (*problem)(void* data, const char* sentence), void* data,
                               HrVerifyReport* report, HrError* error)
{
  Verify verify = {.problem = problem, .data = data, .report = report};
  HrSnapshot snapshot;
  HrSurvey survey = {0};
  HrError found = {0};
  uint8_t* uses = NULL;
  *report = (HrVerifyReport){0};
  HrStatus status = hr_snapshot_open(&snapshot, path, &found);
  if (status && status != HR_ERR_TRUNCATED && status != HR_ERR_DAMAGED) {
    hr_snapshot_close(&snapshot);
    return hr_error(error, status, "%s", found.text);
  }
  if (status) {
    complain(&verify, "%s", found.text);
  }
  snapshot.pages.fault = tell_fault;
  snapshot.pages.data = &verify;
  status = hr_pages_check(&snapshot.pages, HR_PAGES_ALL, &uses);
  if (status != HR_ERR_NO_MEMORY && (report->problems || depth == HR_VERIFY_CONTENTS)) {
    status = hr_survey(&survey, snapshot.fd, uses, report->problems, snapshot.page_count,
                       snapshot.pages.meta.last_page);
    report->problems += hr_survey_tell(&survey, problem, data);
    hr_survey_free(&survey);
  }
  free(uses);
  hr_snapshot_close(&snapshot);
  return status == HR_ERR_NO_MEMORY ? hr_error(error, status, "Out of memory checking %s.", path)
                                    : HR_OK;
}
