/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "tools/verbs.h"

#include "osc/text.h"
#include "tools/branches.h"
#include "tools/table.h"
#include "tools/text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/** What only a plugin that is being played can do. */
static const char* const host_verbs[] = {
    "cancel",  "replay",       "replay/at", "follow",  "stop",        "loop", "loop/range",
    "grab",    "record",       "thru",      "overdub", "quantum",     "snap", "standing",
    "silence", "tempo/source", "panic",     "send",    "slot/replay",
};

/** What this program says in its own way. */
static const char* const own_verbs[] = {"tree", "log"};

/** What is asked of the store as a whole: no tree has to be named. */
static const char* const store_verbs[] = {"trees", "stats"};

static bool is_among(const char* verb, const char* const* verbs, size_t count)
{
  for (size_t i = 0; i < count; ++i) {
    if (!strcmp(verb, verbs[i])) {
      return true;
    }
  }
  return false;
}

bool hr_verbs_needs_host(const char* verb)
{
  return is_among(verb, host_verbs, sizeof host_verbs / sizeof *host_verbs);
}

const HrCommandInfo* hr_verbs_find(const char* verb)
{
  return hr_verbs_needs_host(verb) ||
                 is_among(verb, own_verbs, sizeof own_verbs / sizeof *own_verbs)
             ? NULL
             : hr_command_find(verb);
}

/* ---- Arguments ------------------------------------------------------ */

/** One argument of a row: "name:type" or "name:type?". */
typedef struct {
  const char* name;
  int name_length;
  char type;
  bool optional;
} Argument;

/** Take the next argument off `*specification`; false behind the last. */
static bool next_argument(const char** specification, Argument* argument)
{
  const char* const begin = *specification + strspn(*specification, " ");
  const size_t length = strcspn(begin, " ");
  const size_t name_length = strcspn(begin, ": ?");
  const char* const type = begin[name_length] == ':' ? begin + name_length + 1 : "s";
  if (!length) {
    return false;
  }
  *argument = (Argument){.name = begin,
                         .name_length = (int)name_length,
                         .type = *type,
                         .optional = memchr(begin, '?', length) != NULL};
  *specification = begin + length;
  return true;
}

/** Print what a verb is called with, as "BRANCH [POSITION]". */
static void spell_arguments(const HrCommandInfo* info, char* text, size_t size)
{
  const char* specification = info->arguments;
  size_t used = 0;
  Argument argument;
  text[0] = '\0';
  while (next_argument(&specification, &argument) && used < size) {
    const int added = snprintf(text + used, size - used, "%s%s%.*s%s", used ? " " : "",
                               argument.optional ? "[" : "", argument.name_length, argument.name,
                               argument.optional ? "]" : "");
    for (int i = 0; i < added && used < size - 1; ++i, ++used) {
      text[used] = (char)toupper((unsigned char)text[used]);
    }
  }
}

void hr_verbs_print_help(FILE* file)
{
  for (size_t i = 0; i < hr_command_count(); ++i) {
    const HrCommandInfo* const info = hr_command_info(i);
    char arguments[100];
    char usage[140];
    if (hr_verbs_find(info->verb)) {
      spell_arguments(info, arguments, sizeof arguments);
      snprintf(usage, sizeof usage, "%s %s", info->verb, arguments);
      fprintf(file, "  %-24s %s\n", usage, info->summary);
    }
  }
}

const char* hr_verbs_nearest(const char* verb)
{
  enum { TOO_FAR = 3 };
  const char* nearest = NULL;
  size_t least = TOO_FAR;
  for (size_t i = 0; i < hr_command_count(); ++i) {
    const char* const known = hr_command_info(i)->verb;
    const size_t distance = hr_osc_text_distance(verb, known, TOO_FAR);
    if (distance < least) {
      least = distance;
      nearest = known;
    }
  }
  return nearest;
}

/** Read one argument as its type says. */
static bool read_value(const Argument* argument, const char* text, HrValue* value)
{
  char* end;
  switch (argument->type) {
  case 'i':
    *value = hr_value_integer(strtoll(text, &end, 10));
    return *text && !*end;
  case 'f':
    *value = hr_value_number(strtod(text, &end));
    return *text && !*end;
  default:
    *value = hr_value_text(text); // Branches and positions too: the command layer reads them
    return true;
  }
}

/** Read what was typed. Complains if it does not fit. */
static bool read_values(const HrCommandInfo* info, char* const* args, size_t count,
                        HrValue values[HR_COMMAND_ARGS_MAX], size_t* value_count)
{
  const char* specification = info->arguments;
  char usage[100];
  Argument argument;
  size_t used = 0;
  size_t read = 0;
  bool fits = true;
  if (info->kind == HR_COMMAND_TRIGGER) {
    values[used++] = hr_value_integer(1); // The press of the button
  }
  while (fits && used < HR_COMMAND_ARGS_MAX && next_argument(&specification, &argument)) {
    if (read == count) {
      fits = argument.optional;
      break;
    }
    fits = read_value(&argument, args[read++], &values[used++]);
  }
  *value_count = used;
  if (fits && read == count) {
    return true;
  }
  spell_arguments(info, usage, sizeof usage);
  hr_tool_complain("Usage: halfremembered %s%s%s", info->verb, *usage ? " " : "", usage);
  return false;
}

/* ---- Answers -------------------------------------------------------- */

/** An answer being put into columns. */
typedef struct {
  HrTable table;
  HrStatus status;
  HrTree tree;
  HrBranches branches;
  Argument columns[HR_TABLE_COLUMNS_MAX];
} Rows;

static void add_cell(Rows* rows, const char* text)
{
  if (!rows->status) {
    rows->status = hr_table_add(&rows->table, text);
  }
}

/** True if values of this name are positions, which are shown as bar and beat;
 * other large numbers, like counts, come in the same type. */
static bool is_position(const char* name, int length)
{
  static const char* const names[] = {"fork", "head",       "position", "start",
                                      "end",  "loop_start", "loop_end"};
  for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
    if (strlen(names[i]) == (size_t)length && !strncmp(names[i], name, (size_t)length)) {
      return true;
    }
  }
  return false;
}

/** The branch that a row is about: the one it numbers, else the current one. */
static size_t row_branch(const Rows* rows, const HrValue* values, size_t count)
{
  HrBranchId id = rows->tree.current;
  for (size_t i = 0; i < count && i < rows->table.columns; ++i) {
    if (rows->columns[i].name_length == 6 && !strncmp(rows->columns[i].name, "number", 6)) {
      id = hr_branch_id(rows->tree.id, (uint32_t)values[i].integer);
    }
  }
  return hr_branches_find(&rows->branches, id);
}

static void add_value(Rows* rows, const HrValue* value, bool position, size_t branch)
{
  char text[HR_TEXT_SIZE] = "";
  HrPlace place;
  switch (value->type) {
  case HR_VALUE_TEXT:
    add_cell(rows, value->text);
    return;
  case HR_VALUE_NUMBER:
    snprintf(text, sizeof text, "%.10g", value->number);
    break;
  case HR_VALUE_TICK:
    if (position && branch != HR_NO_BRANCH) {
      place = hr_branches_place(&rows->branches, branch, value->integer);
      hr_text_place(text, &place);
      break;
    }
    /* fall through */
  case HR_VALUE_INTEGER:
    snprintf(text, sizeof text, "%" PRId64, value->integer);
    break;
  case HR_VALUE_BYTES: // No answer holds any
    break;
  }
  add_cell(rows, text);
}

static void add_row(void* data, const HrValue* values, size_t count)
{
  Rows* const rows = data;
  const size_t branch = row_branch(rows, values, count);
  for (size_t i = 0; i < rows->table.columns; ++i) {
    const Argument* const column = &rows->columns[i];
    /* A row may also be a key and its value. */
    const char* const key = i && values[i - 1].type == HR_VALUE_TEXT ? values[i - 1].text : "";
    if (i < count) {
      add_value(rows, &values[i],
                is_position(column->name, column->name_length) ||
                    is_position(key, (int)strlen(key)),
                branch);
    } else {
      add_cell(rows, "");
    }
  }
}

/** Head the columns with the names that the row's answer has. */
static void add_headings(Rows* rows, const HrCommandInfo* info)
{
  const char* specification = info->answer;
  char heading[HR_TEXT_SIZE];
  HrTable* const table = &rows->table;
  Argument column;
  while (table->columns < HR_TABLE_COLUMNS_MAX && next_argument(&specification, &column)) {
    snprintf(heading, sizeof heading, "%.*s", column.name_length, column.name);
    for (char* c = heading; *c; ++c) {
      *c = (char)toupper((unsigned char)*c);
    }
    rows->columns[table->columns] = column;
    table->right[table->columns++] = column.type != 's' && column.type != 'b';
    add_cell(rows, heading);
  }
}

/* ---- Running -------------------------------------------------------- */

/** A call of the command layer. */
typedef struct {
  const HrCommandInfo* info;
  HrValue values[HR_COMMAND_ARGS_MAX];
  size_t count;
  Rows rows;
} Call;

/** The command layer takes plain digits for a number when they come as one: do
 * so for branches that have no such name. */
static void number_branches(Call* call, HrTxn* txn)
{
  const char* specification = call->info->arguments;
  size_t index = call->info->kind == HR_COMMAND_TRIGGER;
  Argument argument;
  for (; index < call->count && next_argument(&specification, &argument); ++index) {
    HrValue* const value = &call->values[index];
    HrBranchId id;
    char* end;
    if (argument.type == 'b' &&
        hr_branch_find(txn, call->rows.tree.id, value->text, &id) == HR_ERR_NOT_FOUND &&
        strspn(value->text, "0123456789") == strlen(value->text)) {
      *value = hr_value_integer(strtoll(value->text, &end, 10));
    }
  }
}

/** Find out by reading alone which tree is meant (to attach with an unknown one
 * would make it), and what its positions are called. None, number 0, where the
 * store as a whole is asked. */
static HrStatus prepare(const HrTool* tool, Call* call)
{
  HrStore* store;
  HrTxn* txn;
  HrStatus status = hr_tool_open_to_read(tool, &store);
  if (status) {
    return status;
  }
  status = hr_txn_begin(store, HR_READ, &txn);
  if (status) {
    hr_tool_fail(status, tool->store);
  } else if (tool->tree ||
             !is_among(call->info->verb, store_verbs, sizeof store_verbs / sizeof *store_verbs)) {
    status = hr_tool_find_tree(tool, txn, &call->rows.tree);
  }
  if (!status && call->rows.tree.id) {
    number_branches(call, txn);
    status = hr_branches_load(&call->rows.branches, txn, call->rows.tree.id);
    if (status) {
      hr_tool_fail(status, tool->store);
    }
  }
  hr_txn_abort(txn);
  hr_store_close(store);
  return status;
}

static HrStatus run(const HrTool* tool, Call* call, HrError* error)
{
  char tree[16];
  const HrAttachment attachment = {.store = tool->store, .tree = tree};
  const HrAnswer answer = {.row = add_row, .data = &call->rows};
  HrSession* const session = hr_session_new(NULL, error);
  if (!session) {
    return error->status;
  }
  snprintf(tree, sizeof tree, "#%u", call->rows.tree.id);
  HrStatus status = hr_session_attach(session, &attachment, error);
  if (!status) {
    status = hr_command_run(session, call->info->verb, call->values, call->count, HR_TOOL_AUTHOR,
                            &answer, error);
  }
  hr_session_free(session);
  return status;
}

int hr_verbs_run(const HrTool* tool, const HrCommandInfo* info, char* const* args, size_t count)
{
  Call call = {.info = info};
  Rows* const rows = &call.rows;
  HrError error = {0};
  int result = HR_EXIT_FAILURE;
  if (!read_values(info, args, count, call.values, &call.count)) {
    return HR_EXIT_USAGE;
  }
  add_headings(rows, info);
  if (prepare(tool, &call)) {
    result = HR_EXIT_FAILURE;
  } else if (run(tool, &call, &error)) {
    hr_tool_complain("%s", error.text);
  } else if (rows->status) {
    hr_tool_fail(rows->status, info->verb);
  } else {
    if (rows->table.columns) {
      hr_table_print(&rows->table, stdout);
    }
    result = HR_EXIT_OK;
  }
  hr_table_free(&rows->table);
  hr_branches_free(&rows->branches);
  return result;
}
