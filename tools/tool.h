/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file tool.h
 * What the files of the command-line program share: its options, how it opens
 * a store, how it speaks.
 *
 * One thread. Messages go to stderr as one sentence: what happened, to what,
 * what to do.
 */

#ifndef HR_TOOLS_TOOL_H
#define HR_TOOLS_TOOL_H

#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

/** Exit statuses of the program. */
enum { HR_EXIT_OK = 0, HR_EXIT_FAILURE = 1, HR_EXIT_USAGE = 2 };

/** The author that the journal names for what this program does. */
#define HR_TOOL_AUTHOR "tool"

/** What the options say. Strings are owned by main(). */
typedef struct {
  const char* store; ///< Path; NULL if none was named and no home folder is known
  const char* tree;  ///< Name, number or "#number"; NULL if none was named
  uint32_t ppq;      ///< Resolution of an exported file, pulses a quarter note
  bool force;        ///< Overwrite
} HrTool;

/** Print "halfremembered: ", the sentence and a newline to stderr. */
void hr_tool_complain(const char* format, ...) __attribute__((format(printf, 1, 2)));

/** Complain with what hr_strerror() says of `status` about `subject`. Returns HR_EXIT_FAILURE. */
int hr_tool_fail(HrStatus status, const char* subject);

/** Open the store (`flags` of hr_store_open()). Complains on failure. */
HrStatus hr_tool_open(const HrTool* tool, unsigned flags, HrStore** store);

/** Open the store for reading, with all that killed hosts left for it brought
 * in before, if it may be written. Complains on failure. */
HrStatus hr_tool_open_to_read(const HrTool* tool, HrStore** store);

/** Find the tree that was named, or the only one there is. Complains and says
 * which there are if that is not clear. */
HrStatus hr_tool_find_tree(const HrTool* tool, HrTxn* txn, HrTree* tree);

/** Find a branch by name, number or "#number". Complains on failure. */
HrStatus hr_tool_find_branch(HrTxn* txn, const HrTree* tree, const char* name, HrBranchId* branch);

/** Find a tree by name, number or "#number", silently. HR_ERR_NOT_FOUND. */
HrStatus hr_tool_lookup_tree(HrTxn* txn, const char* name, HrTreeId* id);

#endif
