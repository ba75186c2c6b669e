/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/internal.h"

#include <string.h>

/** The longest value: record, name, text, NUL. */
enum { VALUE_MAX = sizeof(HrNoteRecord) + HR_NAME_MAX + HR_NOTE_TEXT_MAX + 1 };

/** In range if it is known, else 0; never NaN. */
static bool is_sane(uint8_t known, uint8_t flag, float value)
{
  return known & flag ? value >= -1.0f && value <= 1.0f : value == 0.0f;
}

/** Whether a note, read or to be written, says something, and nothing out of range. */
static bool is_valid(const HrNote* note, size_t text_size)
{
  const HrEmotion* const emotion = &note->emotion;
  const bool speaks = text_size || note->rating || emotion->known;
  const bool named = note->kind == HR_NOTE_MARK   ? hr_name_valid(note->name)
                     : note->kind == HR_NOTE_TEXT ? !note->name[0] && speaks
                                                  : false;
  return named && note->end_tick >= note->tick && note->rating <= HR_NOTE_RATING_MAX &&
         emotion->known <= (HR_NOTE_VALENCE | HR_NOTE_AROUSAL | HR_NOTE_AGENCY) &&
         is_sane(emotion->known, HR_NOTE_VALENCE, emotion->valence) &&
         is_sane(emotion->known, HR_NOTE_AROUSAL, emotion->arousal) &&
         is_sane(emotion->known, HR_NOTE_AGENCY, emotion->agency) &&
         text_size <= HR_NOTE_TEXT_MAX && hr_text_valid(note->text, text_size, true);
}

HrStatus hr_note_decode(const HrTickKey* place, const void* value, size_t size, HrNote* note)
{
  HrNoteRecord record;
  if (size < sizeof record) {
    return HR_ERR_DAMAGED;
  }
  memcpy(&record, value, sizeof record);
  const char* const name = (const char*)value + sizeof record;
  const char* const text = name + record.name_size;
  if (record.name_size > HR_NAME_MAX ||
      size != sizeof record + record.name_size + record.text_size + 1u || text[record.text_size]) {
    return HR_ERR_DAMAGED;
  }
  *note = (HrNote){.id = (uint32_t)hr_tick_key_ordinal(place),
                   .kind = (HrNoteKind)record.kind,
                   .branch = hr_tick_key_branch(place),
                   .tick = hr_tick_key_tick(place),
                   .end_tick = record.end_tick,
                   .time_ns = record.time_ns,
                   .author = record.author,
                   .rating = record.rating,
                   .emotion = {record.known, record.valence, record.arousal, record.agency},
                   .hidden = record.hidden,
                   .text = text};
  memcpy(note->name, name, record.name_size);
  const bool sound = strlen(note->name) == record.name_size && record.hidden <= 1 &&
                     is_valid(note, record.text_size);
  return sound ? HR_OK : HR_ERR_DAMAGED;
}

HrStatus hr_note_read(const HrTxn* txn, const MDB_val* key, const MDB_val* value, HrNote* note)
{
  MDB_val record = *value;
  const HrStatus status = hr_record_open(txn, txn->store->notes, key, &record);
  return status ? status : hr_note_decode(key->mv_data, record.mv_data, record.mv_size, note);
}

static HrStatus put(HrTxn* txn, const HrNote* note)
{
  const size_t name_size = strlen(note->name);
  const size_t text_size = strlen(note->text);
  const HrEmotion* const emotion = &note->emotion;
  const HrNoteRecord record = {.end_tick = note->end_tick,
                               .time_ns = note->time_ns,
                               .author = note->author,
                               .kind = (uint8_t)note->kind,
                               .hidden = note->hidden,
                               .rating = (uint8_t)note->rating,
                               .known = emotion->known,
                               .valence = emotion->valence,
                               .arousal = emotion->arousal,
                               .agency = emotion->agency,
                               .name_size = (uint16_t)name_size,
                               .text_size = (uint16_t)text_size};
  uint8_t value[VALUE_MAX];
  HrTickKey key;
  hr_tick_key(&key, note->branch, note->tick, note->id);
  memcpy(value, &record, sizeof record);
  memcpy(value + sizeof record, note->name, name_size);
  memcpy(value + sizeof record + name_size, note->text, text_size + 1);
  return hr_put(txn, txn->store->notes, &key, sizeof key, value,
                sizeof record + name_size + text_size + 1);
}

HrStatus hr_note_add(HrTxn* txn, const HrNote* note, uint32_t* id)
{
  HrNote added = *note;
  HrTreeRecord tree;
  HrBranch owner;
  added.text = note->text ? note->text : "";
  added.time_ns = note->time_ns ? note->time_ns : hr_wall_clock_ns();
  added.hidden = false;
  if (!is_valid(&added, strnlen(added.text, HR_NOTE_TEXT_MAX + 1))) {
    return HR_ERR_ARGUMENT;
  }
  HrStatus status = hr_branch_owner(txn, note->branch, note->tick, &owner);
  status = status ? status : hr_tree_record(txn, hr_branch_tree(note->branch), &tree);
  if (status) {
    return status;
  }
  added.branch = owner.id;
  HrJournalRecord entry = {.time_ns = added.time_ns,
                           .branch = owner.id,
                           .tick = note->tick,
                           .author = note->author,
                           .operation =
                               note->kind == HR_NOTE_MARK ? HR_OPERATION_MARK : HR_OPERATION_NOTE};
  status = hr_journal_append(txn, &tree, &entry, added.name, NULL);
  added.id = *id = tree.journal_count;
  status = status ? status : put(txn, &added);
  return status ? status : hr_tree_record_put(txn, hr_branch_tree(owner.id), &tree);
}

HrStatus hr_note_get(HrTxn* txn, HrTreeId tree, uint32_t id, HrNote* note)
{
  HrJournalEntry entry;
  HrTickKey place;
  HrStatus status = hr_journal_get(txn, tree, id, &entry);
  if (status) {
    return status;
  }
  if (!txn->store->notes ||
      (entry.operation != HR_OPERATION_MARK && entry.operation != HR_OPERATION_NOTE)) {
    return HR_ERR_NOT_FOUND;
  }
  hr_tick_key(&place, entry.branch, entry.tick, id);
  MDB_val key = {sizeof place, &place};
  MDB_val value;
  const int code = mdb_get(txn->txn, txn->store->notes, &key, &value);
  if (code == MDB_NOTFOUND) {
    return HR_ERR_DAMAGED; // The journal tells of it
  }
  return code ? hr_status_from_lmdb(txn->store, code) : hr_note_read(txn, &key, &value, note);
}

/** The first sound note of a branch at `tick` with an id above `after`, or later. */
static HrStatus next_on_branch(HrTxn* txn, MDB_cursor* cursor, HrBranchId branch, HrTick tick,
                               uint32_t after, HrNote* note)
{
  HrTickKey wanted;
  hr_tick_key(&wanted, branch, tick, (uint64_t)after + 1);
  MDB_val key = {sizeof wanted, &wanted};
  MDB_val value;
  int code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
  while (!code && key.mv_size == sizeof wanted && hr_tick_key_branch(key.mv_data) == branch) {
    if (!hr_note_read(txn, &key, &value, note)) {
      return HR_OK;
    }
    code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
  }
  return !code || code == MDB_NOTFOUND ? HR_END : hr_status_from_lmdb(txn->store, code);
}

HrStatus hr_note_next(HrTxn* txn, HrBranchId leaf, HrTick tick, uint32_t after, HrNote* note)
{
  MDB_cursor* cursor = NULL;
  HrBranchId owner;
  HrTick until;
  if (!txn->store->notes) {
    return HR_END;
  }
  HrStatus status =
      hr_status_from_lmdb(txn->store, mdb_cursor_open(txn->txn, txn->store->notes, &cursor));
  while (!status) {
    status = hr_branch_stretch(txn, leaf, tick, &owner, &until);
    status = status ? status : next_on_branch(txn, cursor, owner, tick, after, note);
    if ((status && status != HR_END) || (!status && note->tick < until) || owner == leaf) {
      break;
    }
    tick = until;
    after = 0;
    status = HR_OK;
  }
  if (cursor) {
    mdb_cursor_close(cursor);
  }
  return status;
}

/** Keep the newest mark called `name` of a branch before `until` in `newest`. */
static HrStatus find_on_branch(HrTxn* txn, MDB_cursor* cursor, HrBranchId branch, HrTick until,
                               const char* name, HrNote* newest)
{
  HrNote each = {.tick = INT64_MIN};
  HrStatus status;
  while (!(status = next_on_branch(txn, cursor, branch, each.tick, each.id, &each)) &&
         each.tick < until) {
    const bool named = each.kind == HR_NOTE_MARK && !strcmp(each.name, name);
    if (named && !each.hidden && each.id > newest->id) {
      *newest = each;
    }
  }
  return status == HR_END ? HR_OK : status;
}

HrStatus hr_mark_find(HrTxn* txn, HrBranchId leaf, const char* name, HrNote* note)
{
  MDB_cursor* cursor = NULL;
  HrBranch branch;
  HrTick until = INT64_MAX;
  note->id = 0;
  HrStatus status = hr_branch_get(txn, leaf, &branch);
  if (status || !txn->store->notes) {
    return status ? status : HR_ERR_NOT_FOUND;
  }
  status = hr_status_from_lmdb(txn->store, mdb_cursor_open(txn->txn, txn->store->notes, &cursor));
  while (!status) {
    status = find_on_branch(txn, cursor, branch.id, until, name, note);
    if (status || !branch.parent) {
      break;
    }
    until = branch.fork_tick;
    status = hr_branch_climb(txn, branch.parent, &branch);
  }
  if (cursor) {
    mdb_cursor_close(cursor);
  }
  return status ? status : note->id ? HR_OK : HR_ERR_NOT_FOUND;
}

/** A note's value as it lies in the map, its checksum at the end. */
static MDB_val value_of(const HrNote* note)
{
  const size_t before = sizeof(HrNoteRecord) + strlen(note->name);
  const size_t size = before + strlen(note->text) + 1 + sizeof(uint32_t);
  return (MDB_val){size, (char*)note->text - before};
}

HrStatus hr_note_put_hidden(HrTxn* txn, HrTreeId tree, uint32_t id, bool hidden)
{
  HrNote note;
  const HrStatus status = hr_note_get(txn, tree, id, &note);
  if (status) {
    return status;
  }
  const MDB_val value = value_of(&note);
  note.hidden = hidden;
  return hr_value_replaceable(txn->store, &value) ? put(txn, &note) : HR_ERR_DAMAGED;
}

HrStatus hr_note_set_hidden(HrTxn* txn, HrTreeId tree, uint32_t id, bool hidden, uint32_t author)
{
  HrNote note;
  HrTreeRecord record;
  HrStatus status = hr_note_get(txn, tree, id, &note);
  if (status || note.hidden == hidden) {
    return status;
  }
  HrJournalRecord entry = {.branch = note.branch,
                           .tick = note.tick,
                           .author = author,
                           .refers = id,
                           .operation =
                               hidden ? HR_OPERATION_HIDE_NOTE : HR_OPERATION_RESTORE_NOTE};
  status = hr_tree_record(txn, tree, &record);
  status = status ? status : hr_note_put_hidden(txn, tree, id, hidden);
  status = status ? status : hr_journal_append(txn, &record, &entry, note.name, NULL);
  return status ? status : hr_tree_record_put(txn, tree, &record);
}
