/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file prelude.h
 * What stands before the C of docs/infinite-canvas-storage.md when it is compiled. */

#ifndef HR_TESTS_PAPER_PRELUDE_H
#define HR_TESTS_PAPER_PRELUDE_H

#include "store/store.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** End the program, saying where in the paper, unless the condition holds. */
#define require(condition)                                                                         \
  ((condition) ? (void)0                                                                           \
               : (printf("%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition), exit(1)))

typedef struct {
  const char* name;
  void (*run)(HrStore* store);
} PaperExample;

/** Run each with an empty store of its own, in the folder where the program is started. */
static inline int paper_run(const PaperExample* examples, size_t count)
{
  for (size_t i = 0; i < count; ++i) {
    HrStore* store = NULL;
    HrError error = {HR_OK, ""};
    char path[256];
    snprintf(path, sizeof path, "%s.hr", examples[i].name);
    if (hr_store_open(path, HR_STORE_CREATE, &store, &error)) {
      printf("not ok %s: %s\n", examples[i].name, error.text);
      return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    examples[i].run(store);
    hr_store_close(store);
    printf("ok %s\n", examples[i].name);
  }
  return 0;
}

#endif
