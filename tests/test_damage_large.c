/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What a damaged file does of which not all pages are looked at when it is opened.
 * One byte is another, a page is zeros, or what it was some commits ago, two pages
 * are each other's, or the file is cut short: HR_CASES (60) files, from HR_SEED (1)
 * on, half of them where the keys are. Everything in the store is read as a host
 * reads it, beyond what is damaged too, and recording goes on: no crash, no event
 * that was not played, none missing without a word, and whatever is not as it was
 * is found by a verification. */

#include "store/chase.h"
#include "store/pages.h"
#include "tests/damage_rig.h"

enum {
  TREES = 3,
  LONG = 6,    ///< Branches of a tree with hours of music
  SHORT = 400, ///< And those with seconds
  BRANCHES = TREES * (1 + LONG + SHORT),
  WORDS = 60000, ///< Events of a long branch
  BATCH = 4000,
  COMMIT = 25,     ///< Forks in a commit
  LONG_NOTE = 202, ///< The fork with a note that fills a page
  ENTRIES = 4 * SHORT,
  SPANS_MAX = 200000,
};

/** Everything that is to be seen of a branch. */
typedef struct {
  HrBranch record;
  char name[HR_NAME_MAX + 1];
  size_t first, count; ///< Of its path's spans, in `spans`
  HrTick middle;       ///< Somewhere on its path,
  uint64_t there;      ///< and what is played there
  uint64_t state;      ///< Of a synthesizer there
  uint64_t notes;      ///< On its path
  bool open;           ///< Its last node fills a page but not to the end
} Known;

static Known known[BRANCHES];
static size_t known_count;
static uint64_t spans[SPANS_MAX];
static size_t span_count;
static uint64_t entries[TREES][ENTRIES]; ///< Of the journals
static uint64_t notes[TREES][ENTRIES];   ///< By id; 0: none
static uint32_t long_notes[TREES];       ///< One in each tree that fills a page

/** What was seen of a damaged file. */
typedef struct {
  bool said;    ///< Some call said so
  bool differs; ///< Something was not as it was
  bool wrong;   ///< And no call said so
} Verdict;

static void complain_of(Verdict* verdict, const char* what, uint64_t id)
{
  if (!verdict->wrong) {
    printf("  %s (%" PRIu64 " of tree %" PRIu64 ")\n", what, id & UINT32_MAX, id >> 32);
  }
  verdict->wrong = true;
}

/** The store, and what it was some commits before. */
static struct {
  uint8_t *whole, *former, *damaged;
  size_t size, former_size;
  uint64_t* index; ///< The pages with keys
  size_t index_count;
  uint64_t nodes[BRANCHES]; ///< Those of nodes that will be replaced
  size_t node_count;
  uint64_t notes[TREES]; ///< And of notes
} file;

/* ---- A large store ------------------------------------------------------- */

static void play_words(HrTxn* txn, HrBranchId branch, size_t count)
{
  static HrWord words[BATCH];
  HrBranch at;
  assert_ok(hr_branch_get(txn, branch, &at));
  HrTick base = at.head_tick;
  while (count) {
    const size_t some = count < BATCH ? count : BATCH;
    uint32_t offset = 0;
    for (size_t i = 0; i < some; ++i) {
      const uint64_t chance = draw(UINT64_C(1) << 40);
      static const uint8_t kinds[] = {0x90, 0x90, 0x90, 0x80, 0x80, 0x80, 0xb0, 0xc0};
      const uint8_t kind = kinds[chance % 8];
      offset += (uint32_t)(chance >> 8) % 40000;
      words[i] = (HrWord){.offset = offset,
                          .length = kind == 0xc0 ? 2 : 3,
                          .bytes = {kind, (uint8_t)(chance >> 24 & 0x7f),
                                    kind == 0xc0 ? 0 : (uint8_t)(chance >> 32 & 0x7f)}};
    }
    assert_ok(hr_append_words(txn, branch, base, words, some, NULL));
    base += offset;
    count -= some;
  }
}

static void play_exclusive(HrTxn* txn, HrBranchId branch)
{
  static uint8_t bytes[9000];
  HrBranch at;
  assert_ok(hr_branch_get(txn, branch, &at));
  bytes[0] = 0xf0;
  assert_ok(hr_append(
      txn, branch,
      &(HrEvent){at.head_tick, HR_EVENT_MIDI, 100 + (uint32_t)draw(sizeof bytes - 100), bytes},
      NULL));
}

static void add_note(HrTxn* txn, HrBranchId branch, HrTick tick, unsigned number)
{
  char text[3000];
  uint32_t id;
  memset(text, 'a' + (int)(number % 26), sizeof text);
  text[number == LONG_NOTE ? sizeof text - 1 : 1 + draw(600)] = '\0';
  HrNote note = {.kind = number % 2 ? HR_NOTE_MARK : HR_NOTE_TEXT,
                 .branch = branch,
                 .tick = tick,
                 .end_tick = tick,
                 .text = number % 2 ? NULL : text};
  if (number % 2) {
    snprintf(note.name, sizeof note.name, "mark %u", number);
  }
  assert_ok(hr_note_add(txn, &note, &id));
}

/** A short take from one of those before, mostly from near its end. */
static HrBranchId fork_short(HrTxn* txn, const HrBranchId* ids, unsigned made)
{
  HrBranch from;
  HrBranchId id;
  assert_ok(hr_branch_get(txn, ids[draw(made)], &from));
  const bool is_long = from.event_count > 1000;
  const HrTick own = from.head_tick - from.fork_tick;
  const HrTick tick = from.fork_tick + (is_long ? own / 20 : (HrTick)draw((uint64_t)own + 1));
  assert_ok(hr_branch_fork(txn, from.id, tick, NULL, &id));
  play_words(txn, id, 1 + draw(draw(10) ? 100 : 900));
  if (made % 20 == 0) {
    play_exclusive(txn, id);
  }
  if (made % 4 == 0 || made == LONG_NOTE) {
    add_note(txn, id, tick, made);
  }
  if (made % 5 == 0) {
    char name[HR_NAME_MAX + 1];
    snprintf(name, sizeof name, "the one with the bridge that begins a bar too early, %u", made);
    assert_ok(hr_branch_rename(txn, id, name, 0));
  }
  if (made % 3 == 0) {
    assert_ok(hr_branch_switch(txn, id, tick, 0));
  }
  return id;
}

static void make_tree(HrTreeId tree)
{
  static HrBranchId ids[1 + LONG + SHORT];
  HrTxn* txn = begin(HR_WRITE);
  char name[8];
  HrTreeId made_tree;
  unsigned made = 1;
  snprintf(name, sizeof name, "song %u", (unsigned)tree);
  assert_ok(hr_tree_create(txn, name, 0, &made_tree));
  assert_int_equal(made_tree, tree);
  ids[0] = hr_branch_id(tree, 1);
  play_words(txn, ids[0], WORDS);
  for (; made <= LONG; ++made) {
    HrBranch root;
    assert_ok(hr_branch_get(txn, ids[0], &root));
    assert_ok(hr_branch_fork(txn, ids[0], root.head_tick / (30 * made), NULL, &ids[made]));
    play_words(txn, ids[made], WORDS);
  }
  assert_ok(hr_txn_commit(txn));
  while (made < 1 + LONG + SHORT) {
    txn = begin(HR_WRITE);
    for (unsigned i = 0; i < COMMIT && made < 1 + LONG + SHORT; ++i, ++made) {
      ids[made] = fork_short(txn, ids, made);
    }
    uint8_t ring[16] = {(uint8_t)tree, (uint8_t)made};
    assert_ok(hr_capture_put(txn, ring, &(HrCaptureRecord){.consumed = made, .tree = tree}));
    assert_ok(hr_txn_commit(txn));
    if (tree == TREES && made >= SHORT / 2 && !file.former) {
      file.former = read_file(scratch_path("a/b/test.hr"), &file.former_size);
    }
  }
}

/* ---- Reading all that is in it ------------------------------------------- */

static uint64_t digest_words(uint64_t value, const HrSpan* span)
{
  value = digest(value, &span->branch, sizeof span->branch);
  value = digest(value, &span->base, sizeof span->base);
  for (uint32_t i = 0; i < span->count; ++i) {
    uint64_t word;
    memcpy(&word, &span->words[i], sizeof word);
    value = (value ^ word) * 0x2545f4914f6cdd1du;
    value ^= value >> 29;
  }
  return value;
}

static HrStatus read_there(HrTxn* txn, const Known* branch, uint64_t* value)
{
  HrPath path;
  HrEvent event;
  HrStatus status = hr_path_open(txn, branch->record.id, branch->middle, &path);
  status = status ? status : hr_path_next(&path, &event);
  if (!status) {
    *value = digest(digest(1, &event.tick, sizeof event.tick), event.bytes, event.size);
  }
  hr_path_close(&path);
  return status;
}

static HrStatus read_state(HrTxn* txn, const Known* branch, uint64_t* value)
{
  static HrChase state;
  HrTempo tempo;
  HrStatus status = hr_chase_at(txn, branch->record.id, branch->middle, &state);
  *value = digest(1, &state, sizeof state);
  status = status ? status : hr_tempo_at(txn, branch->record.id, branch->middle, &tempo);
  *value = status ? 0 : digest(*value, &tempo.tempo, sizeof tempo.tempo);
  return status;
}

static uint64_t digest_note(uint64_t value, const HrNote* note)
{
  value = digest(value, &note->id, sizeof note->id);
  value = digest(value, &note->tick, sizeof note->tick);
  value = digest(value, note->name, strlen(note->name));
  return digest(value, note->text, strlen(note->text));
}

static HrStatus read_notes(HrTxn* txn, HrBranchId leaf, uint64_t* value)
{
  HrNote note = {.tick = INT64_MIN};
  HrStatus status;
  *value = 1;
  for (unsigned i = 0;
       i < ENTRIES && !(status = hr_note_next(txn, leaf, note.tick, note.id, &note)); ++i) {
    *value = digest_note(*value, &note);
  }
  return status == HR_END ? HR_OK : status;
}

static HrStatus read_entry(HrTxn* txn, HrTreeId tree, uint32_t sequence, uint64_t* value)
{
  HrJournalEntry entry;
  const HrStatus status = hr_journal_get(txn, tree, sequence, &entry);
  if (!status) {
    *value = digest(1, &entry.operation, sizeof entry.operation);
    *value = digest(*value, &entry.branch, sizeof entry.branch);
    *value = digest(*value, &entry.tick, sizeof entry.tick);
    *value = digest(*value, entry.text, strlen(entry.text));
    *value = digest(*value, entry.before, strlen(entry.before));
  }
  return status;
}

/** The page of a value that has one of its own. */
static uint64_t page_number(const void* value)
{
  HrPageHeader header;
  memcpy(&header, (const uint8_t*)value - sizeof header, sizeof header);
  assert_int_equal(header.flags, HR_PAGE_OVERFLOW);
  return header.number;
}

/** Remember that of a branch's last node, if it has one and there is room in it. */
static void learn_last_node(Known* branch, const HrSpan* span)
{
  const HrNodeHeader* const node = span->node;
  branch->open = branch->count && span->branch == branch->record.id &&
                 node->word_count > HR_NODE_WORDS / 2 && node->word_count < HR_NODE_WORDS;
  if (branch->open) {
    file.nodes[file.node_count++] = page_number(node);
  }
}

static void learn_path(HrTxn* txn, Known* branch)
{
  HrPath path;
  HrSpan span, last = {0};
  HrStatus status;
  branch->first = span_count;
  assert_ok(hr_path_open(txn, branch->record.id, INT64_MIN, &path));
  while (!(status = hr_path_next_span(&path, &span))) {
    assert_true(span_count < SPANS_MAX);
    spans[span_count++] = digest_words(1, &span);
    last = span;
  }
  assert_int_equal(status, HR_END);
  hr_path_close(&path);
  branch->count = span_count - branch->first;
  learn_last_node(branch, &last);
}

static void learn_tree(HrTxn* txn, HrTreeId tree)
{
  HrBranch branch = {0};
  while (!hr_branch_next(txn, tree, hr_branch_number(branch.id), &branch)) {
    Known* const each = &known[known_count++];
    each->record = branch;
    each->middle = branch.fork_tick / 2 + branch.head_tick / 2;
    assert_ok(hr_branch_name(txn, branch.id, each->name));
    learn_path(txn, each);
    assert_ok(read_there(txn, each, &each->there));
    assert_ok(read_state(txn, each, &each->state));
    assert_ok(read_notes(txn, branch.id, &each->notes));
  }
  for (uint32_t id = 1; id < ENTRIES; ++id) {
    HrNote note;
    if (!hr_note_get(txn, tree, id, &note)) {
      notes[tree - 1][id] = digest_note(1, &note);
      if (strlen(note.text) > HR_PAGE_SIZE / 2) {
        long_notes[tree - 1] = id;
        file.notes[tree - 1] = page_number(note.text - sizeof(HrNoteRecord));
      }
    }
    const HrStatus status = read_entry(txn, tree, id, &entries[tree - 1][id]);
    assert_true(!status || status == HR_ERR_NOT_FOUND);
  }
}

/* ---- Reading a damaged one ----------------------------------------------- */

/** What is read is what was, or the status says that it is not. */
static void judge(Verdict* verdict, HrStatus status, bool same, const char* what, uint64_t id)
{
  verdict->said = verdict->said || status;
  verdict->differs = verdict->differs || status || !same;
  if (!status && !same) {
    complain_of(verdict, what, id);
  }
}

/** Of a path, that stretches are given which were there, in their order, and that
 * none is left out without a word. */
static void judge_path(HrTxn* txn, const Known* branch, Verdict* verdict)
{
  HrPath path;
  HrSpan span;
  size_t next = branch->first;
  const size_t end = branch->first + branch->count;
  bool said = false;
  HrStatus status = hr_path_open(txn, branch->record.id, INT64_MIN, &path);
  for (size_t i = 0; status != HR_END && i < 3 * branch->count + 100; ++i) {
    if (!status && i) {
      const uint64_t found = digest_words(1, &span);
      const size_t before = next;
      while (next < end && spans[next] != found) {
        ++next;
      }
      if (next == end) {
        complain_of(verdict, "music that was not played there", branch->record.id);
        next = before;
      } else if (next++ != before && !said) {
        complain_of(verdict, "music left out", branch->record.id);
      }
    }
    said = said || status;
    status = hr_path_next_span(&path, &span);
  }
  hr_path_close(&path);
  verdict->said = verdict->said || said;
  verdict->differs = verdict->differs || said || next != end;
  if (status != HR_END || (next != end && !said)) {
    complain_of(verdict, "music left out at the end", branch->record.id);
  }
}

static void judge_branch(HrTxn* txn, const Known* branch, Verdict* verdict)
{
  const HrBranchId id = branch->record.id;
  HrBranch record;
  HrBranchId found = 0;
  char name[HR_NAME_MAX + 1];
  uint64_t value = 0;
  HrStatus status = hr_branch_get(txn, id, &record);
  judge(verdict, status, !status && !memcmp(&record, &branch->record, sizeof record),
        "another branch", id);
  status = hr_branch_name(txn, id, name);
  judge(verdict, status, !status && !strcmp(name, branch->name), "another name", id);
  status = hr_branch_find(txn, hr_branch_tree(id), branch->name, &found);
  judge(verdict, status, found == id, "a name leads elsewhere", id);
  judge_path(txn, branch, verdict);
  status = read_there(txn, branch, &value);
  judge(verdict, status, value == branch->there, "another event", id);
  /* These pass over what is damaged, which the path tells of, or the journal. */
  status = read_state(txn, branch, &value);
  verdict->differs = verdict->differs || status || value != branch->state;
  status = read_notes(txn, id, &value);
  verdict->differs = verdict->differs || status || value != branch->notes;
}

static void judge_tree(HrTxn* txn, HrTreeId tree, Verdict* verdict)
{
  HrTree record;
  judge(verdict, hr_tree_get(txn, tree, &record), true, "", tree);
  for (uint32_t id = 1; id < ENTRIES; ++id) {
    uint64_t value = 0;
    HrNote note;
    HrStatus status = HR_OK;
    if (entries[tree - 1][id]) {
      status = read_entry(txn, tree, id, &value);
      judge(verdict, status, value == entries[tree - 1][id], "another journal entry", id);
    }
    if (notes[tree - 1][id]) {
      status = hr_note_get(txn, tree, id, &note);
      judge(verdict, status, !status && digest_note(1, &note) == notes[tree - 1][id],
            "another note", id);
    }
  }
}

/** That all branches are listed, up to where an error is said. */
static void judge_list(HrTxn* txn, Verdict* verdict)
{
  size_t next = 0;
  for (HrTreeId tree = 1; tree <= TREES; ++tree) {
    HrBranch branch = {0};
    HrStatus status;
    while (!(status = hr_branch_next(txn, tree, hr_branch_number(branch.id), &branch)) &&
           next < known_count) {
      judge(verdict, HR_OK, branch.id == known[next++].record.id, "a branch is not listed",
            branch.id);
    }
    judge(verdict, status == HR_END ? HR_OK : status,
          next == known_count || hr_branch_tree(known[next].record.id) > tree,
          "the last branches are not listed", hr_branch_id(tree, 0));
    while (next < known_count && hr_branch_tree(known[next].record.id) == tree) {
      ++next;
    }
  }
}

static bool goes_on(size_t index)
{
  return known[index].open || index % 10 == 3;
}

/** Record on one branch, fork it, name and mark the fork. */
static HrStatus record(size_t index)
{
  HrTxn* txn = NULL;
  HrBranch branch;
  HrBranchId fork = 0;
  uint32_t id;
  const HrBranchId from = known[index].record.id;
  HrNote note = {.kind = HR_NOTE_MARK, .name = "here"};
  HrStatus status = hr_txn_begin(store, HR_WRITE, &txn);
  status = status ? status : hr_branch_get(txn, from, &branch);
  for (unsigned i = 0; i < 700 && !status; ++i) {
    status = append_note(txn, from, branch.head_tick + 1 + i, 60);
  }
  status = status ? status : hr_branch_fork(txn, from, known[index].middle, NULL, &fork);
  status = status ? status : append_note(txn, fork, known[index].middle, 60);
  note.branch = fork;
  note.tick = note.end_tick = known[index].middle;
  status = status ? status : hr_note_add(txn, &note, &id);
  if (status) {
    hr_txn_abort(txn);
    return status;
  }
  return hr_txn_commit(txn);
}

static HrStatus hide_long_note(HrTreeId tree)
{
  HrTxn* txn = NULL;
  HrStatus status = hr_txn_begin(store, HR_WRITE, &txn);
  status = status ? status : hr_note_set_hidden(txn, tree, long_notes[tree - 1], true, 0);
  if (status) {
    hr_txn_abort(txn);
    return status;
  }
  return hr_txn_commit(txn);
}

static int live(const char* path)
{
  Verdict verdict = {false, false, false};
  HrTxn* txn = NULL;
  if (hr_store_open(path, 0, &store, NULL)) {
    return SAID;
  }
  if (hr_txn_begin(store, HR_READ, &txn)) {
    return SAID;
  }
  judge_list(txn, &verdict);
  for (HrTreeId tree = 1; tree <= TREES; ++tree) {
    judge_tree(txn, tree, &verdict);
  }
  for (size_t i = 0; i < known_count; ++i) {
    judge_branch(txn, &known[i], &verdict);
  }
  hr_txn_abort(txn);
  for (HrTreeId tree = 1; tree <= TREES; ++tree) {
    const HrStatus status = hide_long_note(tree);
    verdict.said = verdict.said || status;
  }
  for (size_t i = 0; i < known_count; ++i) {
    const HrStatus status = goes_on(i) ? record(i) : HR_OK;
    verdict.said = verdict.said || status;
  }
  if (hr_txn_begin(store, HR_READ, &txn)) {
    return SAID;
  }
  for (size_t i = 0; i < known_count; ++i) {
    if (!goes_on(i)) {
      judge_path(txn, &known[i], &verdict);
    }
  }
  hr_txn_abort(txn);
  hr_store_close(store);
  return verdict.wrong ? WRONG : verdict.said || verdict.differs ? SAID : INTACT;
}

/* ---- As `halfremembered verify` does it ----------------------------------- */

static int verify_pages(const char* path)
{
  HrVerifyReport report;
  return hr_store_verify_pages(path, HR_VERIFY_PAGES, NULL, NULL, &report, NULL) || report.problems
             ? SAID
             : INTACT;
}

static int verify_contents(const char* path)
{
  HrVerifyReport report = {0};
  return hr_store_open(path, HR_STORE_READ_ONLY, &store, NULL) ||
                 hr_store_verify(store, NULL, NULL, &report) || report.problems
             ? SAID
             : INTACT;
}

/** True if a verification says that something is damaged. */
static bool verification_finds(const char* path)
{
  const int pages = apart(verify_pages, path);
  assert_true(end_of(pages) <= 1); // It never crashes, whatever the file
  return end_of(pages) == 1 || end_of(apart(verify_contents, path)) != 0;
}

/* ---- Damage ---------------------------------------------------------------- */

static uint8_t* page_of(uint8_t* bytes, uint64_t number)
{
  return bytes + number * HR_PAGE_SIZE;
}

/** Any page, or, half of the time, one with keys. */
static uint64_t draw_page(void)
{
  return draw(2) ? file.index[draw(file.index_count)] : draw(file.size / HR_PAGE_SIZE);
}

static void find_pages(void)
{
  const uint64_t count = file.size / HR_PAGE_SIZE;
  file.index = calloc(count, sizeof *file.index);
  assert_non_null(file.index);
  for (uint64_t i = 0; i < count; ++i) {
    HrPageHeader header;
    memcpy(&header, page_of(file.whole, i), sizeof header);
    if (header.number == i && (header.flags == HR_PAGE_LEAF || header.flags == HR_PAGE_BRANCH)) {
      file.index[file.index_count++] = i;
    }
  }
}

typedef enum { BYTE, BYTE_IN_HEAD, HEAD_OF_VALUE, ZEROED, SWAPPED, FORMER, CUT, DAMAGES } Damage;

typedef struct {
  Damage damage;
  uint64_t page, other; ///< `other`: a page, or the byte in the page
  uint8_t before, after;
  size_t size;
} Case;

/** Damage `file.damaged`, which is whole. */
static Case damage(Damage kind, uint64_t turn)
{
  Case c = {.damage = kind, .page = draw_page(), .other = 0, .size = file.size};
  if (kind == HEAD_OF_VALUE) {
    c.page = turn % 2 ? file.notes[draw(TREES)] : file.nodes[draw(file.node_count)];
  }
  uint8_t* const page = page_of(file.damaged, c.page);
  switch (kind) {
  case BYTE:
  case BYTE_IN_HEAD:
    c.other = draw(kind == BYTE ? HR_PAGE_SIZE : 32);
    c.before = page[c.other];
    c.after = draw(2) ? c.before ^ (uint8_t)(1u << draw(8)) : (uint8_t)draw(256);
    page[c.other] = c.after;
    break;
  case HEAD_OF_VALUE: // What it says of its kind, or of how many pages there are
    c.other = turn % 4 < 2 ? 10 : 12 + draw(4);
    c.before = page[c.other];
    c.after = c.before ^ 0x10;
    page[c.other] = c.after;
    break;
  case ZEROED:
    memset(page, 0, HR_PAGE_SIZE);
    break;
  case SWAPPED:
    c.other = draw_page();
    memcpy(page, page_of(file.whole, c.other), HR_PAGE_SIZE);
    memcpy(page_of(file.damaged, c.other), page_of(file.whole, c.page), HR_PAGE_SIZE);
    break;
  case FORMER:
    while (c.page < 2 || c.page >= file.former_size / HR_PAGE_SIZE ||
           !memcmp(page_of(file.damaged, c.page), page_of(file.former, c.page), HR_PAGE_SIZE)) {
      c.page = draw_page();
    }
    memcpy(page_of(file.damaged, c.page), page_of(file.former, c.page), HR_PAGE_SIZE);
    break;
  default:
    c.size = draw(file.size);
    break;
  }
  return c;
}

/** Make the file as `file.damaged` is, writing only what differs, and forget who had it
 * open. */
static void put_damaged(const char* path, size_t size)
{
  enum { BLOCK = 16 * HR_PAGE_SIZE };
  static uint8_t block[BLOCK];
  char lock[4300];
  snprintf(lock, sizeof lock, "%s-lock", path);
  unlink(lock);
  const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  assert_true(fd >= 0);
  for (size_t at = 0; at < size; at += BLOCK) {
    const ssize_t length = (ssize_t)(size - at < BLOCK ? size - at : BLOCK);
    if (pread(fd, block, (size_t)length, (off_t)at) != length ||
        memcmp(block, file.damaged + at, (size_t)length) != 0) {
      assert_int_equal(pwrite(fd, file.damaged + at, (size_t)length, (off_t)at), length);
    }
  }
  assert_int_equal(ftruncate(fd, (off_t)size), 0);
  close(fd);
}

static void tell(size_t number, const Case* c, const char* what)
{
  static const char* const kinds[] = {"byte",   "byte in the head", "byte in the head of a value",
                                      "zeroed", "swapped",          "former",
                                      "cut"};
  print_message("case %zu: %s: %s: page %" PRIu64 ", other or byte %" PRIu64
                ", %02x -> %02x, %zu bytes\n",
                number, what, kinds[c->damage], c->page, c->other, c->before, c->after, c->size);
}

static void make_store(void)
{
  for (HrTreeId tree = 1; tree <= TREES; ++tree) {
    make_tree(tree);
  }
  HrTxn* const txn = begin(HR_READ);
  for (HrTreeId tree = 1; tree <= TREES; ++tree) {
    learn_tree(txn, tree);
  }
  hr_txn_abort(txn);
  hr_store_close(store);
  store = NULL;
  file.whole = read_file(scratch_path("a/b/test.hr"), &file.size);
  file.damaged = malloc(file.size);
  assert_non_null(file.damaged);
  memcpy(file.damaged, file.whole, file.size);
  find_pages();
}

static void test_large_damaged_files_are_intact_or_said(void** state)
{
  (void)state;
  size_t counts[4] = {0}; // intact, said, wrong, crashed
  size_t unfound = 0;
  static const char* const words[] = {"intact", "said", "silently wrong", "crashed"};
  seed = setting("HR_SEED", 1);
  const uint64_t cases = setting("HR_CASES", 60);
  make_store();
  const char* const path = scratch_path("damaged.hr");
  put_damaged(path, file.size);
  assert_int_equal(WEXITSTATUS(apart(live, path)), INTACT);
  put_damaged(path, file.size);
  assert_false(verification_finds(path));
  for (uint64_t i = 0; i < cases; ++i) {
    const Case c = damage((Damage)(i % DAMAGES), i / DAMAGES);
    put_damaged(path, c.size);
    const bool found = verification_finds(path); // First, as it writes nothing
    const size_t end = end_of(apart(live, path));
    counts[end] += 1;
    if (end >= 2) {
      tell(i, &c, words[end]);
    }
    if (end >= 1 && !found) {
      unfound += 1;
      tell(i, &c, "not found by a verification");
    }
    memcpy(file.damaged, file.whole, file.size);
  }
  print_message("%" PRIu64
                " damaged copies of %zu bytes, %zu branches, %zu of %zu pages with keys: "
                "%zu intact, %zu said, %zu silently wrong, %zu crashed, %zu not found by a "
                "verification\n",
                cases, file.size, known_count, file.index_count, file.size / HR_PAGE_SIZE,
                counts[0], counts[1], counts[2], counts[3], unfound);
  assert_int_equal(counts[2] + counts[3] + unfound, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(test_large_damaged_files_are_intact_or_said),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
