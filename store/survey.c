/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/survey.h"

#include <endian.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** Nodes without a key are tried in so many places at most, and so many places are looked at. */
#define TRIES_MAX 10000000u

/** What is being collected. */
typedef struct {
  HrSurvey* survey;
  size_t room;
  uint64_t page;
  uint8_t rank;
  bool bare; ///< Nodes are taken without a key: of some that is wrong or lost
  uint64_t page_count;
  uint8_t* keyed; ///< A bit for each page, set where a node begins that has its key
} Scan;

static HrStatus add(Scan* scan, const HrFound* found)
{
  HrSurvey* const survey = scan->survey;
  if (survey->count == scan->room) {
    const size_t room = scan->room ? 2 * scan->room : 1024;
    HrFound* const grown = realloc(survey->found, room * sizeof *grown);
    if (!grown) {
      return HR_ERR_NO_MEMORY;
    }
    survey->found = grown;
    scan->room = room;
  }
  survey->found[survey->count++] = *found;
  return HR_OK;
}

/** A node that is whole by its key belongs nowhere else. Where there are many, it is not tried in
 * vain in every place of those that are lost. */
static void note_keyed(Scan* scan, uint64_t page)
{
  if (page < scan->page_count) {
    scan->keyed[page / 8] |= (uint8_t)(1u << page % 8);
  }
}

/* ---- What an entry is ------------------------------------------------ */

/** The whole value, allocated and 8-aligned. */
static void* read_value(int fd, const HrPageEntry* entry)
{
  void* const value = malloc(entry->size ? entry->size : 1); // malloc(0) may be NULL
  if (!value) {
    return NULL;
  }
  if (entry->value) {
    memcpy(value, entry->value, entry->size);
  } else if (!hr_page_read_value(fd, entry, value)) {
    free(value);
    return NULL;
  }
  return value;
}

static bool is_record(HrRecordKind kind, const HrPageEntry* entry, const void* value, size_t* size)
{
  *size = entry->size;
  return hr_record_valid(kind, entry->key, entry->key_size, value, size);
}

/** Fill in what a record with a key of 8 bytes is. */
static bool recognise_numbered(const HrPageEntry* entry, const void* value, HrFound* found)
{
  size_t size;
  memcpy(&found->id, entry->key, sizeof found->id);
  if (is_record(HR_RECORD_BRANCH, entry, value, &size) && size == sizeof(HrBranchRecord)) {
    HrBranchRecord record;
    memcpy(&record, value, sizeof record);
    found->kind = HR_RECORD_BRANCH;
    found->weight = record.event_count;
    found->author = record.author;
    return true;
  }
  if (is_record(HR_RECORD_TREE, entry, value, &size) && size == sizeof(HrTreeRecord)) {
    HrTreeRecord record;
    memcpy(&record, value, sizeof record);
    found->kind = HR_RECORD_TREE;
    found->weight = record.journal_count;
    found->author = record.author;
    return true;
  }
  HrJournalEntry told = {0};
  found->kind = HR_RECORD_JOURNAL;
  const bool known = is_record(HR_RECORD_JOURNAL, entry, value, &size) &&
                     !hr_journal_decode((uint32_t)found->id, value, size, &told);
  found->author = told.author;
  return known;
}

/** Fill in what a node says of itself. */
static void describe_node(HrFound* found, const void* value)
{
  HrNodeHeader start;
  memcpy(&start, value, sizeof start);
  found->kind = HR_SURVEY_NODE;
  found->tick = start.base_tick;
  found->last = start.last_tick;
  found->weight = start.event_count;
  found->author = start.author;
}

/** The same for a key of a branch and a tick. */
static bool recognise_placed(const HrPageEntry* entry, const void* value, HrFound* found)
{
  HrTickKey key;
  HrNote note = {0};
  size_t size;
  memcpy(&key, entry->key, sizeof key);
  const MDB_val whole = {entry->size, (void*)value};
  found->id = hr_tick_key_branch(&key);
  found->tick = hr_tick_key_tick(&key);
  found->order = hr_tick_key_ordinal(&key);
  if (hr_node_valid(&key, &whole)) {
    describe_node(found, value);
    return true;
  }
  found->kind = HR_RECORD_NOTE;
  const bool known =
      is_record(HR_RECORD_NOTE, entry, value, &size) && !hr_note_decode(&key, value, size, &note);
  found->author = note.author;
  return known;
}

/** The same for a name by its id; those by text say nothing more. */
static bool recognise_name(const HrPageEntry* entry, const void* value, HrFound* found)
{
  uint64_t big;
  size_t size;
  char name[HR_NAME_MAX + 1] = "";
  const uint8_t letter = entry->key[0];
  if ((letter != 'T' && letter != 'B' && letter != 'A') ||
      !is_record(HR_RECORD_NAME, entry, value, &size) || size > HR_NAME_MAX) {
    return false;
  }
  memcpy(&big, entry->key + 1, sizeof big);
  memcpy(name, value, size);
  found->kind = HR_RECORD_NAME;
  found->id = be64toh(big);
  found->order = entry->key[0];
  return hr_name_valid(name);
}

/** Read an entry's value and fill in what it is: NULL if it is nothing of a store. */
static void* recognise(int fd, const HrPageEntry* entry, HrFound* found)
{
  if (entry->is_tree ||
      (entry->key_size != 8 && entry->key_size != 9 && entry->key_size != sizeof(HrTickKey)) ||
      entry->size > sizeof(HrNodeHeader) + 2 * (size_t)HR_EVENT_SIZE_MAX) {
    return NULL;
  }
  void* const value = read_value(fd, entry);
  const bool known = value && (entry->key_size == 8   ? recognise_numbered(entry, value, found)
                               : entry->key_size == 9 ? recognise_name(entry, value, found)
                                                      : recognise_placed(entry, value, found));
  if (!known) {
    free(value);
    return NULL;
  }
  return value;
}

/** The value of a node by its page alone. */
static void* read_bare(const HrSurvey* survey, const HrFound* found, size_t* size)
{
  uint8_t page[HR_PAGE_SIZE];
  HrNodeHeader start;
  if (!hr_page_read(survey->fd, found->page, page)) {
    return NULL;
  }
  const uint8_t* const node = page + sizeof(HrPageHeader);
  memcpy(&start, node, sizeof start);
  if (start.word_count > 2 * HR_EVENT_SIZE_MAX / sizeof(HrWord)) {
    return NULL;
  }
  *size = hr_node_bytes(&start);
  return read_value(survey->fd, &(HrPageEntry){.page = found->page,
                                               .size = (uint32_t)*size,
                                               .value = *size <= HR_NODE_SIZE ? node : NULL});
}

/** The same of one whose place is known: a node with its own key is found so only if it was lost.
 */
static void* read_placed(const HrSurvey* survey, const HrFound* found, size_t* size)
{
  HrTickKey key;
  void* const value = read_bare(survey, found, size);
  hr_tick_key(&key, found->id, found->tick, found->order);
  if (value && hr_node_valid(&key, &(MDB_val){*size, value})) {
    return value;
  }
  free(value);
  return NULL;
}

/** Add the nodes of an extent, each by its page. */
static HrStatus scan_extent(Scan* scan, const HrPageEntry* entry)
{
  const MDB_val key = {entry->key_size, (void*)entry->key};
  HrStatus status = HR_OK;
  for (uint32_t i = 0; i < hr_extent_nodes(&key) && !status; ++i) {
    HrTickKey place;
    size_t size;
    hr_extent_key(&key, i, &place);
    HrFound found = {.id = hr_tick_key_branch(&place),
                     .order = hr_tick_key_ordinal(&place),
                     .tick = hr_tick_key_tick(&place),
                     .page = entry->page + i,
                     .index = HR_SURVEY_BARE,
                     .rank = scan->rank};
    void* const value = read_placed(scan->survey, &found, &size);
    if (value) {
      describe_node(&found, value);
      note_keyed(scan, found.page);
      status = add(scan, &found);
    }
    free(value);
  }
  return status;
}

static HrStatus scan_entry(Scan* scan, unsigned index, const HrPageEntry* entry)
{
  if (hr_extent_nodes(&(MDB_val){entry->key_size, (void*)entry->key}) > 1) {
    return entry->page ? scan_extent(scan, entry) : HR_OK;
  }
  HrFound found = {.page = scan->page, .index = (uint16_t)index, .rank = scan->rank};
  void* const value = recognise(scan->survey->fd, entry, &found);
  const HrStatus status = value ? add(scan, &found) : HR_OK;
  if (value && found.kind == HR_SURVEY_NODE && entry->page) {
    note_keyed(scan, entry->page);
  }
  free(value);
  return status;
}

/* ---- Pages ----------------------------------------------------------- */

/** Read a page that may be a leaf, as one, whatever its header says of its kind and bounds. */
static bool read_leaf(int fd, uint64_t number, uint8_t page[HR_PAGE_SIZE], HrPageHeader* header)
{
  if (!hr_page_read(fd, number, page)) {
    return false;
  }
  memcpy(header, page, sizeof *header);
  if (header->flags == HR_PAGE_BRANCH || header->flags == HR_PAGE_OVERFLOW) {
    return false;
  }
  HrPageHeader as_leaf = *header;
  as_leaf.flags = HR_PAGE_LEAF;
  if (header->lower % 2 || header->lower < sizeof *header || header->lower > header->upper ||
      header->upper > HR_PAGE_SIZE) {
    as_leaf.lower = HR_PAGE_SIZE;
  }
  memcpy(page, &as_leaf, sizeof as_leaf);
  return true;
}

/** Whether a node lies on a page by itself or in an extent. No page of another kind has this
 * there: it would be an entry outside the page. */
static bool begins_node(const uint8_t page[HR_PAGE_SIZE])
{
  const uint32_t magic = HR_NODE_MAGIC;
  return !memcmp(page + sizeof(HrPageHeader), &magic, sizeof magic);
}

static HrStatus scan_page(Scan* scan)
{
  uint8_t page[HR_PAGE_SIZE] = {0};
  HrPageHeader header;
  const bool leaf = read_leaf(scan->survey->fd, scan->page, page, &header);
  HrStatus status = HR_OK;
  if (begins_node(page)) {
    HrFound bare = {.page = scan->page, .index = HR_SURVEY_BARE, .rank = scan->rank};
    describe_node(&bare, page + sizeof header);
    return scan->bare ? add(scan, &bare) : HR_OK;
  }
  for (unsigned i = 0; leaf && i < hr_page_entries(page) && !status; ++i) {
    HrPageEntry entry;
    if (hr_page_entry(page, i, &entry)) {
      status = scan_entry(scan, i, &entry);
    }
  }
  return status;
}

/* ---- The list -------------------------------------------------------- */

/** A node whose key is lost, and whose place is not known. */
static bool is_bare(const HrFound* found)
{
  return found->index == HR_SURVEY_BARE && !found->id;
}

static int order_of(const HrFound* a, const HrFound* b)
{
  const bool bare_a = is_bare(a);
  const bool bare_b = is_bare(b);
  return a->kind != b->kind     ? (a->kind > b->kind) - (a->kind < b->kind)
         : bare_a != bare_b     ? bare_a - bare_b
         : a->id != b->id       ? (a->id > b->id) - (a->id < b->id)
         : a->order != b->order ? (a->order > b->order) - (a->order < b->order)
         : !bare_a              ? 0
         : a->tick != b->tick   ? (a->tick > b->tick) - (a->tick < b->tick)
                                : (a->page > b->page) - (a->page < b->page);
}

/** Of two versions the better comes first. */
static int compare(const void* first, const void* second)
{
  const HrFound* const a = first;
  const HrFound* const b = second;
  const int order = order_of(a, b);
  return order                    ? order
         : a->rank != b->rank     ? a->rank - b->rank
         : a->weight != b->weight ? (a->weight < b->weight) - (a->weight > b->weight)
                                  : (a->page > b->page) - (a->page < b->page);
}

static void sort(HrSurvey* survey)
{
  size_t kept = 0;
  if (survey->count) {
    qsort(survey->found, survey->count, sizeof *survey->found, compare);
  }
  for (size_t i = 0; i < survey->count; ++i) {
    if (!kept || order_of(&survey->found[kept - 1], &survey->found[i])) {
      survey->found[kept++] = survey->found[i];
    }
  }
  survey->count = kept;
}

static size_t seek(const HrSurvey* survey, unsigned kind, uint64_t id, uint64_t order)
{
  size_t low = 0;
  size_t high = survey->count;
  const HrFound wanted = {.kind = (uint8_t)kind, .id = id, .order = order};
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (order_of(&survey->found[middle], &wanted) < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

size_t hr_survey_seek(const HrSurvey* survey, unsigned kind, uint64_t id)
{
  return seek(survey, kind, id, 0);
}

const HrFound* hr_survey_find(const HrSurvey* survey, unsigned kind, uint64_t id, uint64_t order)
{
  const size_t at = seek(survey, kind, id, order);
  const HrFound* const found = at < survey->count ? &survey->found[at] : NULL;
  return found && found->kind == kind && found->id == id && found->order == order && !is_bare(found)
             ? found
             : NULL;
}

static const HrFound* find_name(const HrSurvey* survey, HrNameKind kind, uint64_t id)
{
  return hr_survey_find(survey, HR_RECORD_NAME, id, (uint64_t)kind - 'a' + 'A');
}

void* hr_survey_value(const HrSurvey* survey, const HrFound* found, size_t* size)
{
  uint8_t page[HR_PAGE_SIZE];
  HrPageHeader header;
  HrPageEntry entry;
  HrFound now = {0};
  if (found->index == HR_SURVEY_BARE) {
    return read_placed(survey, found, size);
  }
  if (!read_leaf(survey->fd, found->page, page, &header) ||
      !hr_page_entry(page, found->index, &entry)) {
    return NULL;
  }
  void* const value = recognise(survey->fd, &entry, &now);
  if (!value || now.kind != found->kind || now.id != found->id || now.order != found->order) {
    free(value); // Who records has used a free page again
    return NULL;
  }
  *size = entry.size - (found->kind == HR_SURVEY_NODE ? 0 : sizeof(uint32_t));
  return value;
}

static bool read_record(const HrSurvey* survey, const HrFound* found, void* record, size_t size)
{
  size_t bytes = 0;
  void* const value = found ? hr_survey_value(survey, found, &bytes) : NULL;
  if (value && bytes == size) {
    memcpy(record, value, size);
  }
  free(value);
  return value && bytes == size;
}

bool hr_survey_branch(const HrSurvey* survey, HrBranchId id, HrBranchRecord* record)
{
  return read_record(survey, hr_survey_find(survey, HR_RECORD_BRANCH, id, 0), record,
                     sizeof *record);
}

bool hr_survey_tree(const HrSurvey* survey, HrTreeId id, HrTreeRecord* record)
{
  return read_record(survey, hr_survey_find(survey, HR_RECORD_TREE, id, 0), record, sizeof *record);
}

bool hr_survey_name(const HrSurvey* survey, HrNameKind kind, uint64_t id,
                    char name[HR_NAME_MAX + 1])
{
  size_t size = 0;
  const HrFound* const found = find_name(survey, kind, id);
  void* const value = found ? hr_survey_value(survey, found, &size) : NULL;
  name[0] = '\0';
  if (value) {
    memcpy(name, value, size);
    name[size] = '\0';
  }
  free(value);
  return value != NULL;
}

const char* hr_survey_label(const HrSurvey* survey, HrBranchId id, char label[HR_NAME_MAX + 32])
{
  char name[HR_NAME_MAX + 1];
  const bool named = hr_survey_name(survey, HR_NAMES_BRANCH, id, name);
  snprintf(label, HR_NAME_MAX + 32, named ? "\"%s\" (#%u of tree %u)" : "%s#%u of tree %u", name,
           hr_branch_number(id), hr_branch_tree(id));
  return label;
}

/* ---- Nodes that are missing ------------------------------------------ */

/** Nodes that a branch should have and has not: [first, end) between two ticks. */
typedef struct {
  HrBranchId branch;
  uint64_t first, end;
  HrTick from, until;
} Gap;

/** The next gap at or behind `*index` in the list of nodes; false at the end. */
static bool next_gap(const HrSurvey* survey, HrBranchId branch, size_t* index, uint64_t* ordinal,
                     HrTick* tick, Gap* gap)
{
  const HrFound* const found = *index < survey->count ? &survey->found[*index] : NULL;
  const bool ours =
      found && found->kind == HR_SURVEY_NODE && found->id == branch && !is_bare(found);
  HrBranchRecord record;
  *gap = (Gap){.branch = branch, .first = *ordinal, .from = *tick};
  if (ours) {
    gap->end = found->order;
    gap->until = found->tick;
    *ordinal = found->order + 1;
    *tick = found->last;
    *index += 1;
    return true;
  }
  const bool known = hr_survey_branch(survey, branch, &record);
  gap->end = known ? record.node_count : *ordinal;
  gap->until = known ? record.head_tick : *tick;
  return false;
}

/** Give a node without a key this place, if its checksum is right there. */
static bool place_node(const HrSurvey* survey, HrFound* found, HrBranchId branch, uint64_t ordinal)
{
  HrTickKey key;
  size_t size;
  void* const value = read_bare(survey, found, &size);
  hr_tick_key(&key, branch, found->tick, ordinal);
  const bool placed = value && hr_node_valid(&key, &(MDB_val){size, value});
  if (placed) {
    found->id = branch;
    found->order = ordinal;
  }
  free(value);
  return placed;
}

/** Try the nodes without a key at the places of a gap. They lie by tick, as those of a branch do:
 * where one is found, older states of it begin at its tick, and none behind it earlier. */
static void fill_gap(HrSurvey* survey, const Gap* gap, size_t bare, uint32_t* tries)
{
  HrTick from = gap->from;
  for (uint64_t ordinal = gap->first; ordinal < gap->end && ++*tries < TRIES_MAX; ++ordinal) {
    HrTick until = gap->until;
    while (bare < survey->count && survey->found[bare].tick < from) {
      ++bare;
    }
    for (size_t i = bare; i < survey->count && *tries < TRIES_MAX; ++i) {
      HrFound* const found = &survey->found[i];
      if (found->tick > until) {
        break;
      }
      *tries += is_bare(found);
      if (is_bare(found) && place_node(survey, found, gap->branch, ordinal)) {
        from = until = found->tick;
      }
    }
  }
}

uint64_t hr_survey_next_branch(const HrSurvey* survey, uint64_t after)
{
  const unsigned kinds[] = {HR_RECORD_BRANCH, HR_SURVEY_NODE};
  uint64_t next = 0;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i) {
    const size_t at = hr_survey_seek(survey, kinds[i], after + 1);
    const HrFound* const found = at < survey->count ? &survey->found[at] : NULL;
    if (found && found->kind == kinds[i] && !is_bare(found) && (!next || found->id < next)) {
      next = found->id;
    }
  }
  return next;
}

/** Call `each` with every gap of every branch that has a record or a node. */
static void each_gap(HrSurvey* survey, void* data,
                     void (*each)(HrSurvey* survey, const Gap* gap, void* data))
{
  for (uint64_t id = hr_survey_next_branch(survey, 0); id; id = hr_survey_next_branch(survey, id)) {
    HrBranchRecord record = {.fork_tick = INT64_MIN};
    hr_survey_branch(survey, id, &record);
    size_t node = hr_survey_seek(survey, HR_SURVEY_NODE, id);
    uint64_t ordinal = 0;
    HrTick tick = record.parent ? record.fork_tick : INT64_MIN;
    bool more;
    do {
      Gap gap;
      more = next_gap(survey, id, &node, &ordinal, &tick, &gap);
      if (gap.first < gap.end) {
        each(survey, &gap, data);
      }
    } while (more);
  }
}

typedef struct {
  size_t bare;
  uint32_t tries;
} Fill;

static void fill_one(HrSurvey* survey, const Gap* gap, void* data)
{
  Fill* const fill = data;
  fill_gap(survey, gap, fill->bare, &fill->tries);
}

/** Give the nodes whose key is lost their place, and drop those that have none. */
static void place_bare(HrSurvey* survey)
{
  Fill fill = {.bare = hr_survey_seek(survey, HR_SURVEY_NODE, 0)};
  size_t kept = 0;
  while (fill.bare < survey->count && !is_bare(&survey->found[fill.bare])) {
    fill.bare += 1;
  }
  each_gap(survey, &fill, fill_one);
  for (size_t i = 0; i < survey->count; ++i) {
    if (!is_bare(&survey->found[i])) {
      survey->found[kept++] = survey->found[i];
    }
  }
  survey->count = kept;
}

static void drop_keyed(const Scan* scan)
{
  HrSurvey* const survey = scan->survey;
  size_t kept = 0;
  for (size_t i = 0; i < survey->count; ++i) {
    const HrFound* const found = &survey->found[i];
    if (!is_bare(found) || !(scan->keyed[found->page / 8] >> found->page % 8 & 1)) {
      survey->found[kept++] = *found;
    }
  }
  survey->count = kept;
}

HrStatus hr_survey(HrSurvey* survey, int fd, const uint8_t* uses, bool damaged, uint64_t page_count,
                   uint64_t last_page)
{
  Scan scan = {.survey = survey, .bare = damaged, .page_count = page_count};
  HrStatus status = HR_OK;
  *survey = (HrSurvey){.fd = fd};
  scan.keyed = calloc(page_count / 8 + 1, 1);
  if (!scan.keyed) {
    return HR_ERR_NO_MEMORY;
  }
  for (uint64_t page = 2; page < page_count && !status; ++page) {
    const HrPageUse use = uses && page <= last_page ? (HrPageUse)uses[page] : HR_PAGE_UNUSED;
    scan.page = page;
    scan.rank = use == HR_PAGE_IN_TREE ? 0 : use == HR_PAGE_UNUSED ? 1 : 2;
    if (damaged || !scan.rank) {
      status = scan_page(&scan);
    }
  }
  drop_keyed(&scan);
  free(scan.keyed);
  sort(survey);
  place_bare(survey);
  sort(survey);
  return status;
}

void hr_survey_free(HrSurvey* survey)
{
  free(survey->found);
  *survey = (HrSurvey){0};
}

/* ---- In words -------------------------------------------------------- */

typedef struct {
  const HrSurvey* survey;
  void (*tell)(void* data, const char* sentence);
  void* data;
  uint64_t count;
} Teller;

static void say(Teller* teller, const char* format, ...) __attribute__((format(printf, 2, 3)));

static void say(Teller* teller, const char* format, ...)
{
  char sentence[512];
  va_list args;
  va_start(args, format);
  vsnprintf(sentence, sizeof sentence, format, args);
  va_end(args);
  teller->count += 1;
  if (teller->tell) {
    teller->tell(teller->data, sentence);
  }
}

static void tell_gap(HrSurvey* survey, const Gap* gap, void* data)
{
  char label[HR_NAME_MAX + 32];
  char from[64] = "the beginning";
  if (gap->first) {
    snprintf(from, sizeof from, "tick %" PRId64, gap->from);
  }
  say(data,
      "Branch %s: music is lost from %s to tick %" PRId64 " (%" PRIu64
      " nodes). The rest of it is readable.",
      hr_survey_label(survey, gap->branch, label), from, gap->until, gap->end - gap->first);
}

/** Say of a tree or a branch what of its name is lost. */
static void tell_name(Teller* teller, HrNameKind kind, uint64_t id, const char* what,
                      const char* label)
{
  const HrFound* const name = find_name(teller->survey, kind, id);
  if (!name) {
    say(teller, "%s %s: its name is lost.", what, label);
  } else if (name->rank == 2) {
    say(teller, "%s %s: only an older state of its name is readable.", what, label);
  }
}

/** Say of a branch that is known what of its record, or of what it hangs on, is lost. */
static void tell_branch(Teller* teller, HrBranchId id)
{
  char label[HR_NAME_MAX + 32];
  HrBranchRecord record, parent;
  const HrFound* const found = hr_survey_find(teller->survey, HR_RECORD_BRANCH, id, 0);
  hr_survey_label(teller->survey, id, label);
  if (!hr_survey_branch(teller->survey, id, &record)) {
    say(teller, "Branch %s: its record is lost, where it forked from perhaps with it.", label);
  } else if (found->rank == 2) {
    say(teller, "Branch %s: only an older state of its record is readable.", label);
  } else if (record.parent && !hr_survey_branch(teller->survey, record.parent, &parent)) {
    say(teller, "Branch %s: the record of the branch it forked from, #%u, is lost.", label,
        hr_branch_number(record.parent));
  }
  tell_name(teller, HR_NAMES_BRANCH, id, "Branch", label);
}

/** Say of a mark or a note that the journal tells of what of it is lost. */
static void tell_note(Teller* teller, const HrJournalEntry* entry)
{
  char label[HR_NAME_MAX + 32];
  const HrFound* const note =
      hr_survey_find(teller->survey, HR_RECORD_NOTE, entry->branch, entry->sequence);
  if (note && note->rank != 2) {
    return;
  }
  hr_survey_label(teller->survey, entry->branch, label);
  say(teller, "Branch %s: %s%s%s at tick %" PRId64 " is %s.", label,
      *entry->text ? "the mark \"" : "a note", entry->text, *entry->text ? "\"" : "", entry->tick,
      note ? "readable in an older state only" : "lost");
}

static void tell_notes(Teller* teller, HrTreeId tree)
{
  const uint64_t first = (uint64_t)tree << 32;
  for (size_t i = hr_survey_seek(teller->survey, HR_RECORD_JOURNAL, first);
       i < teller->survey->count; ++i) {
    const HrFound* const found = &teller->survey->found[i];
    HrJournalEntry entry;
    size_t size;
    if (found->kind != HR_RECORD_JOURNAL || found->id >> 32 != tree) {
      return;
    }
    void* const value = hr_survey_value(teller->survey, found, &size);
    if (value && !hr_journal_decode((uint32_t)found->id, value, size, &entry) &&
        (entry.operation == HR_OPERATION_MARK || entry.operation == HR_OPERATION_NOTE)) {
      tell_note(teller, &entry);
    }
    free(value);
  }
}

static void tell_old_nodes(Teller* teller)
{
  for (size_t i = hr_survey_seek(teller->survey, HR_SURVEY_NODE, 0); i < teller->survey->count;
       ++i) {
    const HrFound* const found = &teller->survey->found[i];
    char label[HR_NAME_MAX + 32];
    if (found->kind == HR_SURVEY_NODE && found->rank == 2) {
      say(teller, "Branch %s: of the music from tick %" PRId64 " on, an older state is readable.",
          hr_survey_label(teller->survey, found->id, label), found->tick);
    }
  }
}

/** Say how many records of a tree, whose own is there, are lost. */
static void tell_counts(Teller* teller, HrTreeId tree, const HrTreeRecord* record)
{
  const uint64_t first = (uint64_t)tree << 32;
  const size_t entries = hr_survey_seek(teller->survey, HR_RECORD_JOURNAL, first + UINT32_MAX) -
                         hr_survey_seek(teller->survey, HR_RECORD_JOURNAL, first);
  const size_t branches = hr_survey_seek(teller->survey, HR_RECORD_BRANCH, first + UINT32_MAX) -
                          hr_survey_seek(teller->survey, HR_RECORD_BRANCH, first);
  if (entries < record->journal_count) {
    say(teller, "Tree %u: %zu of %u journal entries are lost.", tree,
        record->journal_count - entries, record->journal_count);
  }
  if (branches < record->branch_count) {
    say(teller, "Tree %u: the records of %zu of %u branches are lost.", tree,
        record->branch_count - branches, record->branch_count);
  }
}

static void tell_tree(Teller* teller, HrTreeId tree)
{
  HrTreeRecord record;
  char number[16];
  const HrFound* const found = hr_survey_find(teller->survey, HR_RECORD_TREE, tree, 0);
  if (!hr_survey_tree(teller->survey, tree, &record)) {
    say(teller, "Tree %u: its record is lost, and which branch was current.", tree);
  } else {
    if (found->rank == 2) {
      say(teller, "Tree %u: only an older state of its record is readable.", tree);
    }
    tell_counts(teller, tree, &record);
  }
  snprintf(number, sizeof number, "%u", tree);
  tell_name(teller, HR_NAMES_TREE, tree, "Tree", number);
}

/** The next tree that has a record, or a branch of which something is there; 0 after the last. */
static HrTreeId next_tree(const HrSurvey* survey, HrTreeId after)
{
  const size_t at = hr_survey_seek(survey, HR_RECORD_TREE, (uint64_t)after + 1);
  const bool is_there = at < survey->count && survey->found[at].kind == HR_RECORD_TREE;
  const uint64_t record = is_there ? survey->found[at].id : UINT64_MAX;
  const uint64_t branch = hr_survey_next_branch(survey, (uint64_t)after << 32 | UINT32_MAX) >> 32;
  const uint64_t next = branch && branch < record ? branch : record;
  return next > after && next <= UINT32_MAX ? (HrTreeId)next : 0;
}

uint64_t hr_survey_tell(HrSurvey* survey, void (*tell)(void* data, const char* sentence),
                        void* data)
{
  Teller teller = {.survey = survey, .tell = tell, .data = data};
  for (HrTreeId tree = next_tree(survey, 0); tree; tree = next_tree(survey, tree)) {
    tell_tree(&teller, tree);
    for (uint64_t id = hr_survey_next_branch(survey, (uint64_t)tree << 32);
         id && hr_branch_tree(id) == tree; id = hr_survey_next_branch(survey, id)) {
      tell_branch(&teller, id);
    }
    tell_notes(&teller, tree);
  }
  each_gap(survey, &teller, tell_gap);
  tell_old_nodes(&teller);
  return teller.count;
}
