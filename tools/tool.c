/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "tools/tool.h"

#include "plugin/session.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void hr_tool_complain(const char* format, ...)
{
  va_list args;
  fflush(stdout); // What was already said comes first, also where both go to one file
  fputs("halfremembered: ", stderr);
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fputc('\n', stderr);
}

int hr_tool_fail(HrStatus status, const char* subject)
{
  const char* const advice = hr_advice(status);
  hr_tool_complain("%s: %s. %s", subject, hr_strerror(status),
                   *advice ? advice : "Nothing was changed.");
  return HR_EXIT_FAILURE;
}

HrStatus hr_tool_open_to_read(const HrTool* tool, HrStore** store)
{
  if (tool->store && !hr_store_open(tool->store, 0, store, NULL)) {
    uint64_t lost;
    const uint64_t events = hr_session_recover(*store, &lost);
    if (events) {
      hr_tool_complain("%llu %s that a killed program had left %s in the store now.",
                       (unsigned long long)events, events == 1 ? "event" : "events",
                       events == 1 ? "is" : "are");
    }
    if (lost) {
      hr_tool_complain("%llu %s damaged in memory as a program ended, and %s lost.",
                       (unsigned long long)lost, lost == 1 ? "event was" : "events were",
                       lost == 1 ? "is" : "are");
    }
    hr_store_close(*store);
  }
  return hr_tool_open(tool, HR_STORE_READ_ONLY, store);
}

HrStatus hr_tool_open(const HrTool* tool, unsigned flags, HrStore** store)
{
  HrError error = {0};
  *store = NULL;
  if (!tool->store) {
    hr_tool_complain("No home folder is known: say where the store is with --store PATH.");
    return HR_ERR_NOT_FOUND;
  }
  const HrStatus status = hr_store_open(tool->store, flags, store, &error);
  if (status) {
    hr_tool_complain("%s%s", error.text,
                     status == HR_ERR_NOT_FOUND
                         ? " Play into the plugin, or name another store with --store PATH."
                         : "");
  }
  return status;
}

/** A plain number, as people type it where a shell takes '#' for a comment,
 * written "#number"; false if `name` is not one. */
static bool as_number(const char* name, char number[16])
{
  const size_t length = strlen(name);
  if (length == 0 || length > 10 || strspn(name, "0123456789") != length) {
    return false;
  }
  snprintf(number, 16, "#%s", name);
  return true;
}

HrStatus hr_tool_lookup_tree(HrTxn* txn, const char* name, HrTreeId* id)
{
  char number[16];
  const HrStatus status = hr_tree_find(txn, name, id);
  return status == HR_ERR_NOT_FOUND && as_number(name, number) ? hr_tree_find(txn, number, id)
                                                               : status;
}

/** Name the trees there are, up to a line's worth. */
static void list_trees(HrTxn* txn, const char* before)
{
  char list[300] = "";
  size_t length = 0;
  HrTree tree = {0};
  while (!hr_tree_next(txn, tree.id, &tree)) {
    const size_t room = sizeof list - length;
    const int added = snprintf(list + length, room, "%s\"%s\"", length ? ", " : "", tree.name);
    if (added < 0 || (size_t)added + sizeof ", ..." > room) {
      strcpy(list + length, length ? ", ..." : "");
      break;
    }
    length += (size_t)added;
  }
  hr_tool_complain("%s: %s. Say which with --tree NAME.", before, list);
}

HrStatus hr_tool_find_tree(const HrTool* tool, HrTxn* txn, HrTree* tree)
{
  char text[HR_NAME_MAX + 80];
  HrTree other;
  HrTreeId id = 0;
  HrStatus status = hr_tree_next(txn, 0, tree);
  if (status == HR_END) {
    hr_tool_complain("%s holds no tree yet: play into the plugin first.", tool->store);
    return HR_ERR_NOT_FOUND;
  }
  if (!status && tool->tree) {
    status = hr_tool_lookup_tree(txn, tool->tree, &id);
    if (status == HR_ERR_NOT_FOUND) {
      snprintf(text, sizeof text, "No tree is called \"%.*s\"; there are", HR_NAME_MAX, tool->tree);
      list_trees(txn, text);
      return status;
    }
    status = status ? status : hr_tree_get(txn, id, tree);
  } else if (!status && !hr_tree_next(txn, tree->id, &other)) {
    list_trees(txn, "The store holds several trees");
    return HR_ERR_NOT_FOUND;
  }
  if (status) {
    hr_tool_fail(status, tool->store);
  }
  return status;
}

HrStatus hr_tool_find_branch(HrTxn* txn, const HrTree* tree, const char* name, HrBranchId* branch)
{
  char number[16];
  HrStatus status = hr_branch_find(txn, tree->id, name, branch);
  if (status == HR_ERR_NOT_FOUND && as_number(name, number)) {
    status = hr_branch_find(txn, tree->id, number, branch);
  }
  if (status == HR_ERR_NOT_FOUND) {
    hr_tool_complain("Tree \"%s\" has no branch \"%s\": \"halfremembered tree\" lists them.",
                     tree->name, name);
  } else if (status) {
    hr_tool_fail(status, name);
  }
  return status;
}
