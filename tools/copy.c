/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "tools/copy.h"

#include "store/shell_quote.h"
#include "tools/text.h"

#include <stdio.h>

static void say_backup(const HrTool* tool, const char* path, const HrBackupReport* report)
{
  char size[HR_TEXT_SIZE];
  hr_text_size(size, report->bytes);
  if (report->first) {
    printf("%s is a backup of %s now: %s.\n", path, tool->store, size);
  } else if (report->records) {
    printf("%s is up to date: %llu records were new or changed, %llu of them nodes; %s.\n", path,
           (unsigned long long)report->records, (unsigned long long)report->nodes, size);
  } else {
    printf("%s was up to date.\n", path);
  }
  if (report->damaged) {
    hr_tool_complain("%llu records of %s are damaged: run \"halfremembered verify\".",
                     (unsigned long long)report->damaged, tool->store);
  }
}

int hr_copy_backup(const HrTool* tool, const char* path)
{
  HrStore* store;
  HrBackupReport report;
  HrError error = {0};
  if (hr_tool_open_to_read(tool, &store)) {
    return HR_EXIT_FAILURE;
  }
  const HrStatus status = hr_store_backup(store, path, &report, &error);
  if (status) {
    hr_tool_complain("%s", error.text);
  } else {
    say_backup(tool, path, &report);
  }
  hr_store_close(store);
  return status || report.damaged ? HR_EXIT_FAILURE : HR_EXIT_OK;
}

int hr_copy_compact(const HrTool* tool, const char* path)
{
  HrStore* store;
  HrStoreStats stats;
  uint64_t bytes;
  HrError error = {0};
  if (hr_tool_open_to_read(tool, &store)) {
    return HR_EXIT_FAILURE;
  }
  HrStatus status = hr_store_compact(store, path, tool->force, &bytes, &error);
  if (status) {
    hr_tool_complain("%s", error.text);
  } else {
    char copied[HR_TEXT_SIZE], whole[HR_TEXT_SIZE];
    char from[HR_SHELL_QUOTE_SIZE], to[HR_SHELL_QUOTE_SIZE];
    status = hr_store_stats(store, &stats);
    printf("%s is a copy of %s: %s of %s.\n"
           "To use it, end every program that has the store open, and: mv %s %s\n"
           "What is recorded until then is not in it.\n",
           path, hr_store_path(store), hr_text_size(copied, bytes),
           hr_text_size(whole, status ? 0 : stats.file_bytes),
           hr_shell_quote(from, sizeof from, path),
           hr_shell_quote(to, sizeof to, hr_store_path(store)));
  }
  hr_store_close(store);
  return status ? HR_EXIT_FAILURE : HR_EXIT_OK;
}
