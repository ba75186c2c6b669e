/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "tools/show.h"

#include "store/shell_quote.h"
#include "tools/branches.h"
#include "tools/table.h"
#include "tools/text.h"

#include <inttypes.h>
#include <langinfo.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/** Levels a drawn tree can have: log2 of the most branches there can be. */
enum { LEVELS_MAX = 64 };

/** Up to here every branch is drawn one level below its parent; a family that
 * goes on deeper goes straight down. */
enum { LEVELS_INDENTED = 12 };

/** Room for a name behind the lines that lead to it, or a sentence with two names. */
enum { CELL_SIZE = LEVELS_MAX * 5 + 2 * HR_NAME_MAX + 120 };

typedef struct {
  const char* beside; ///< Past a branch drawn to the side
  const char* fork;   ///< To a branch that others follow
  const char* last;   ///< To the branch that goes on
} Lines;

static const Lines box_lines = {"│  ", "├─ ", "└─ "};
static const Lines ascii_lines = {"|  ", "|- ", "`- "};

/** One tree being shown. */
typedef struct {
  HrTxn* txn;
  const HrTree* tree;
  HrBranches branches;
  HrTable table;
  HrStatus status; ///< The first failure to add a cell
} View;

static void add_cell(View* view, const char* cell)
{
  if (!view->status) {
    view->status = hr_table_add(&view->table, cell);
  }
}

static const char* branch_name(const View* view, HrBranchId id, char name[HR_NAME_MAX + 1])
{
  if (hr_branch_name(view->txn, id, name)) {
    snprintf(name, HR_NAME_MAX + 1, "?");
  }
  return name;
}

static const char* author_name(const View* view, uint32_t author, char name[HR_NAME_MAX + 1])
{
  if (hr_author_name(view->txn, author, name)) {
    snprintf(name, HR_NAME_MAX + 1, "?");
  }
  return name;
}

/* ---- Tree ----------------------------------------------------------- */

static void add_headings(View* view)
{
  static const char* const headings[] = {"BRANCH", "NUMBER", "FORKED FROM", "HEAD", "LENGTH",
                                         "EVENTS", "MADE",   "BY",          ""};
  view->table.columns = sizeof headings / sizeof *headings;
  view->table.right[3] = view->table.right[4] = view->table.right[5] = true;
  for (size_t i = 0; i < view->table.columns; ++i) {
    add_cell(view, headings[i]);
  }
}

static void add_fork_point(View* view, const HrBranchRow* row)
{
  char name[HR_NAME_MAX + 1];
  char place_text[HR_TEXT_SIZE];
  char cell[CELL_SIZE] = "";
  if (row->parent != HR_NO_BRANCH) {
    const HrPlace place = hr_timeline_place(&row->timeline, row->branch.fork_tick);
    snprintf(cell, sizeof cell, "%s at %s", branch_name(view, row->branch.parent, name),
             hr_text_place(place_text, &place));
  }
  add_cell(view, cell);
}

static const char* mark(const View* view, const HrBranch* branch)
{
  const bool current = branch->id == view->tree->current;
  if (branch->state == HR_BRANCH_HIDDEN) {
    return current ? "current, hidden" : "hidden";
  }
  return current ? "current" : "";
}

/** Add a row: `level` lines beside it, blank where a family has `closed`, then
 * `lead`, then what is to be said. */
static void add_branch(View* view, const Lines* lines, size_t level, const bool* closed,
                       const char* lead, size_t index)
{
  const HrBranchRow* const row = &view->branches.rows[index];
  const HrPlace head = hr_timeline_place(&row->timeline, row->branch.head_tick);
  char cell[CELL_SIZE] = "";
  char name[HR_NAME_MAX + 1];
  char text[HR_TEXT_SIZE];
  for (size_t i = 0; i < level; ++i) {
    strcat(cell, closed[i] ? "   " : lines->beside);
  }
  strcat(cell, lead);
  strcat(cell, branch_name(view, row->branch.id, name));
  add_cell(view, cell);
  snprintf(text, sizeof text, "#%u", hr_branch_number(row->branch.id));
  add_cell(view, text);
  add_fork_point(view, row);
  add_cell(view, hr_text_place(text, &head));
  add_cell(view, hr_text_duration(text, head.seconds));
  snprintf(text, sizeof text, "%" PRIu64, row->branch.event_count);
  add_cell(view, text);
  add_cell(view, hr_text_wall_clock(text, row->branch.created_ns, false));
  add_cell(view, author_name(view, row->branch.author, name));
  add_cell(view, mark(view, &row->branch));
}

/** Draw what grew from `root`. Deep down, the last child of a branch goes
 * straight on, at the same level; the others are drawn to the side before it.
 * As the last has the largest family, those levels double in what they hold. */
static void draw(View* view, const Lines* lines, size_t root)
{
  const HrBranchRow* const rows = view->branches.rows;
  size_t next[LEVELS_MAX]; // The branch to draw next on each level
  bool closed[LEVELS_MAX] = {false};
  size_t level = 0;
  add_branch(view, lines, 0, closed, "", root);
  next[0] = rows[root].first_child;
  for (;;) {
    const size_t row = next[level];
    if (row == HR_NO_BRANCH && level == 0) {
      return;
    }
    if (row == HR_NO_BRANCH) {
      --level;
    } else if (rows[row].next == HR_NO_BRANCH && level >= LEVELS_INDENTED) {
      add_branch(view, lines, level, closed, lines->last, row);
      next[level] = rows[row].first_child;
    } else {
      const bool last = rows[row].next == HR_NO_BRANCH;
      add_branch(view, lines, level, closed, last ? lines->last : lines->fork, row);
      next[level] = rows[row].next;
      closed[level] = last;
      next[++level] = rows[row].first_child;
      closed[level] = false;
    }
  }
}

static void view_branches(View* view)
{
  const Lines* const lines = strcmp(nl_langinfo(CODESET), "UTF-8") == 0 ? &box_lines : &ascii_lines;
  printf("Tree \"%s\" (#%u), %u branch%s\n", view->tree->name, view->tree->id,
         view->tree->branch_count, view->tree->branch_count == 1 ? "" : "es");
  add_headings(view);
  for (size_t i = 0; i < view->branches.count; ++i) {
    if (view->branches.rows[i].parent == HR_NO_BRANCH) {
      draw(view, lines, i);
    }
  }
}

/* ---- Log ------------------------------------------------------------ */

/** " at 5.1", or nothing if the branch is not there. */
static const char* at_place(const View* view, HrBranchId branch, HrTick tick,
                            char text[HR_TEXT_SIZE])
{
  char place_text[HR_TEXT_SIZE];
  const size_t row = hr_branches_find(&view->branches, branch);
  text[0] = '\0';
  if (row != HR_NO_BRANCH) {
    const HrPlace place = hr_branches_place(&view->branches, row, tick);
    snprintf(text, HR_TEXT_SIZE, " at %.30s", hr_text_place(place_text, &place));
  }
  return text;
}

/** What an entry of the journal says. */
static void tell(const View* view, const HrJournalEntry* entry, char sentence[CELL_SIZE])
{
  char name[HR_NAME_MAX + 1];
  char other[HR_NAME_MAX + 1];
  char place[HR_TEXT_SIZE];
  const unsigned number = hr_branch_number(entry->branch);
  branch_name(view, entry->branch, name);
  switch (entry->operation) {
  case HR_OPERATION_CREATE:
    snprintf(sentence, CELL_SIZE, "made the tree with its first branch \"%s\" (#%u)", entry->text,
             number);
    return;
  case HR_OPERATION_FORK:
    snprintf(sentence, CELL_SIZE, "forked \"%s\" (#%u) from \"%s\"%s", entry->text, number,
             branch_name(view, entry->other, other),
             at_place(view, entry->other, entry->tick, place));
    return;
  case HR_OPERATION_SWITCH:
    snprintf(sentence, CELL_SIZE, "switched to \"%s\" (#%u) from \"%s\"%s%s", name, number,
             branch_name(view, entry->other, other),
             at_place(view, entry->branch, entry->tick, place), entry->quiet ? ", unasked" : "");
    return;
  case HR_OPERATION_MERGE:
    snprintf(sentence, CELL_SIZE, "merged \"%s\" into \"%s\" (#%u)%s",
             branch_name(view, entry->other, other), entry->text, number,
             at_place(view, entry->other, entry->tick, place));
    return;
  case HR_OPERATION_RENAME:
    snprintf(sentence, CELL_SIZE, "renamed #%u to \"%s\"", number, entry->text);
    return;
  case HR_OPERATION_HIDE:
    snprintf(sentence, CELL_SIZE, "hid \"%s\" (#%u)", name, number);
    return;
  case HR_OPERATION_RESTORE:
    snprintf(sentence, CELL_SIZE, "brought back \"%s\" (#%u)", name, number);
    return;
  case HR_OPERATION_RENAME_TREE:
    snprintf(sentence, CELL_SIZE, "renamed the tree to \"%s\"", entry->text);
    return;
  case HR_OPERATION_MARK:
    snprintf(sentence, CELL_SIZE, "marked \"%s\" on \"%s\" (#%u)%s", entry->text, name, number,
             at_place(view, entry->branch, entry->tick, place));
    return;
  case HR_OPERATION_NOTE:
    snprintf(sentence, CELL_SIZE, "noted something on \"%s\" (#%u)%s", name, number,
             at_place(view, entry->branch, entry->tick, place));
    return;
  case HR_OPERATION_HIDE_NOTE:
  case HR_OPERATION_RESTORE_NOTE:
    snprintf(sentence, CELL_SIZE, "%s %s%s%s on \"%s\" (#%u)%s",
             entry->operation == HR_OPERATION_HIDE_NOTE ? "hid" : "brought back",
             entry->text[0] ? "the mark \"" : "a note", entry->text, entry->text[0] ? "\"" : "",
             name, number, at_place(view, entry->branch, entry->tick, place));
    return;
  case HR_OPERATION_UNDO:
  case HR_OPERATION_REDO:
    snprintf(sentence, CELL_SIZE, "something that the journal does not hold any more");
    return;
  }
  snprintf(sentence, CELL_SIZE, "did something to \"%s\" (#%u) that this version does not know",
           name, number);
}

/** Put the operation that an undo or redo was about in its place, and return
 * what comes before the sentence about it. */
static const char* follow_undo(const View* view, HrJournalEntry* entry)
{
  const HrOperation first = entry->operation;
  const char* const lead = first == HR_OPERATION_UNDO   ? "undid: "
                           : first == HR_OPERATION_REDO ? "redid: "
                                                        : "";
  HrJournalEntry about = *entry;
  for (int hops = first == HR_OPERATION_UNDO   ? 1
                  : first == HR_OPERATION_REDO ? 2
                                               : 0;
       hops; --hops) {
    if (hr_journal_get(view->txn, view->tree->id, about.refers, &about)) {
      return lead;
    }
  }
  *entry = about;
  return lead;
}

static void view_journal(View* view)
{
  char name[HR_NAME_MAX + 1];
  char text[HR_TEXT_SIZE];
  char sentence[CELL_SIZE];
  char line[CELL_SIZE + 8];
  HrJournalEntry entry = {0};
  HrStatus status;
  printf("Tree \"%s\" (#%u)\n", view->tree->name, view->tree->id);
  view->table.columns = 3;
  while (!(status = hr_journal_next(view->txn, view->tree->id, entry.sequence, &entry))) {
    HrJournalEntry about = entry;
    const char* const lead = follow_undo(view, &about);
    tell(view, &about, sentence);
    snprintf(line, sizeof line, "%s%s", lead, sentence);
    add_cell(view, hr_text_wall_clock(text, entry.time_ns, true));
    add_cell(view, author_name(view, entry.author, name));
    add_cell(view, line);
  }
  if (status != HR_END && !view->status) {
    view->status = status;
  }
}

/* ---- Trees one after the other -------------------------------------- */

static int show_one(const HrTool* tool, HrTxn* txn, const HrTree* tree, void (*fill)(View* view))
{
  View view = {.txn = txn, .tree = tree};
  int result = HR_EXIT_OK;
  view.status = hr_branches_load(&view.branches, txn, tree->id);
  if (!view.status) {
    fill(&view);
    hr_table_print(&view.table, stdout);
  }
  if (view.status) {
    result = hr_tool_fail(view.status, tool->store);
  } else if (view.branches.damaged) {
    hr_tool_complain("Parts of tree \"%s\" are damaged (%" PRIu64
                     "), so that times may be off. Run "
                     "\"halfremembered verify\" to see what is wrong.",
                     tree->name, view.branches.damaged);
    result = HR_EXIT_FAILURE;
  }
  hr_table_free(&view.table);
  hr_branches_free(&view.branches);
  return result;
}

static int show_all(const HrTool* tool, HrTxn* txn, void (*fill)(View* view))
{
  HrTree tree = {0};
  HrStatus status;
  int result = HR_EXIT_OK;
  while (!(status = hr_tree_next(txn, tree.id, &tree))) {
    const int one = show_one(tool, txn, &tree, fill);
    HrTree next;
    result = one ? one : result;
    if (!hr_tree_next(txn, tree.id, &next)) {
      putchar('\n');
    }
  }
  if (status != HR_END) {
    return hr_tool_fail(status, tool->store);
  }
  if (!tree.id) {
    printf("No tree yet: nothing has been recorded in %s.\n", tool->store);
  }
  return result;
}

static int show(const HrTool* tool, void (*fill)(View* view))
{
  HrStore* store;
  HrTxn* txn;
  HrTree tree;
  int result;
  if (hr_tool_open_to_read(tool, &store)) {
    return HR_EXIT_FAILURE;
  }
  const HrStatus status = hr_txn_begin(store, HR_READ, &txn);
  if (status) {
    result = hr_tool_fail(status, tool->store);
  } else if (!tool->tree) {
    result = show_all(tool, txn, fill);
  } else if (hr_tool_find_tree(tool, txn, &tree)) {
    result = HR_EXIT_FAILURE;
  } else {
    result = show_one(tool, txn, &tree, fill);
  }
  hr_txn_abort(txn);
  hr_store_close(store);
  return result;
}

int hr_show_tree(const HrTool* tool)
{
  return show(tool, view_branches);
}

int hr_show_log(const HrTool* tool)
{
  return show(tool, view_journal);
}

/* ---- Verify --------------------------------------------------------- */

static void print_problem(void* data, const char* sentence)
{
  (void)data;
  puts(sentence);
  fflush(stdout); // What comes next may end this process
}

static void print_count(uint64_t count, const char* one, const char* many, const char* after)
{
  printf("%" PRIu64 " %s%s", count, count == 1 ? one : many, after);
}

/** Seconds that the check of a store may take: it reads 1 MB/s, or hangs. */
static unsigned time_limit(const char* path)
{
  struct stat info;
  return stat(path, &info) ? 60 : 60 + (unsigned)(info.st_size >> 20);
}

/** Check without LMDB, and say what to do. */
static int verify_pages(const HrTool* tool, HrVerifyDepth depth)
{
  HrVerifyReport report;
  HrError error = {0};
  if (hr_store_verify_pages(tool->store, depth, print_problem, NULL, &report, &error)) {
    hr_tool_complain("%s", error.text);
    return HR_EXIT_FAILURE;
  }
  if (!report.problems && depth == HR_VERIFY_PAGES) {
    return HR_EXIT_OK;
  }
  char quoted[HR_SHELL_QUOTE_SIZE];
  print_count(report.problems, "problem", "problems", ".\n");
  hr_tool_complain("%s is damaged; everything else in it can be read. \"halfremembered salvage %s "
                   "NEW\" takes that into a new store.",
                   tool->store, hr_shell_quote(quoted, sizeof quoted, tool->store));
  return HR_EXIT_FAILURE;
}

static int verify_structure(const HrTool* tool)
{
  HrStore* store;
  HrVerifyReport report = {0};
  if (hr_tool_open(tool, HR_STORE_READ_ONLY, &store)) {
    return HR_EXIT_FAILURE;
  }
  const HrStatus status = hr_store_verify(store, print_problem, NULL, &report);
  hr_store_close(store);
  if (status == HR_ERR_DAMAGED) {
    return verify_pages(tool, HR_VERIFY_CONTENTS);
  }
  if (status) {
    hr_tool_complain("The check of %s could not be finished: %s. Copy the store to a safe place "
                     "before you go on.",
                     tool->store, hr_strerror(status));
    return HR_EXIT_FAILURE;
  }
  print_count(report.trees, "tree", "trees", ", ");
  print_count(report.branches, "branch", "branches", ", ");
  print_count(report.events, "event", "events", " in ");
  print_count(report.nodes, "node", "nodes", ", ");
  print_count(report.journal_entries, "journal entry", "journal entries", ", ");
  print_count(report.notes, "note", "notes", ": ");
  if (report.problems) {
    print_count(report.problems, "problem", "problems", ".\n");
    return HR_EXIT_FAILURE;
  }
  printf("no problems.\n");
  return HR_EXIT_OK;
}

/** verify_structure() where it can end nothing but itself. */
static int verify_apart(const HrTool* tool)
{
  int status;
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    alarm(time_limit(tool->store));
    const int result = verify_structure(tool);
    fflush(stdout);
    _exit(result);
  }
  if (child < 0 || waitpid(child, &status, 0) != child) {
    hr_tool_complain("The check could not be started: %m.");
    return HR_EXIT_FAILURE;
  }
  if (WIFEXITED(status)) {
    return WEXITSTATUS(status);
  }
  hr_tool_complain("%s is damaged so badly that the check broke off (%s). Copy it to a safe place "
                   "and do not record into it.",
                   tool->store, strsignal(WTERMSIG(status)));
  return HR_EXIT_FAILURE;
}

int hr_show_verify(const HrTool* tool)
{
  if (!tool->store) {
    return verify_structure(tool); // Which says so
  }
  const int result = verify_pages(tool, HR_VERIFY_PAGES);
  return result ? result : verify_apart(tool);
}

/* ---- Salvage -------------------------------------------------------- */

int hr_show_salvage(const char* damaged, const char* path)
{
  HrSalvageReport report;
  HrError error = {0};
  if (hr_store_salvage(damaged, path, print_problem, NULL, &report, &error)) {
    hr_tool_complain("%s", error.text);
    return HR_EXIT_FAILURE;
  }
  print_count(report.trees, "tree", "trees", ", ");
  print_count(report.branches, "branch", "branches", ", ");
  print_count(report.events, "event", "events", " taken into ");
  printf("%s; ", path);
  if (!report.losses) {
    printf("nothing is lost.\n");
    return HR_EXIT_OK;
  }
  print_count(report.losses, "loss", "losses", ".\n");
  return HR_EXIT_FAILURE;
}
