/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file lv2_model.h
 * What a script must come to, said as plainly as can be: which branches there
 * are, where each began and which notes are its own. It knows the script alone,
 * and shares no code with the plugin.
 *
 * One thread. Ticks are the store's. */

#ifndef HR_LV2_MODEL_H
#define HR_LV2_MODEL_H

#include "store/store.h"
#include "tests/host/lv2_script.h"

enum { MODEL_BRANCHES = 256, MODEL_NOWHERE = -1 };

typedef struct {
  uint32_t number; ///< Only their order counts
  int parent;      ///< Index; MODEL_NOWHERE of the root
  HrTick fork;
  HrTick head;
  HrTick first; ///< Of its own messages; INT64_MAX: it has none
  char name[HR_NAME_MAX + 1];
} ModelBranch;

typedef struct {
  bool known; ///< It could be told; else nothing else here counts
  int count;
  ModelBranch branches[MODEL_BRANCHES]; ///< In the order in which they began
  int* owners;                          ///< Of each event of the script: the branch
  HrTick* ticks;                        ///< ... and where on it
} Model;

/** Tell what comes of a script. */
void model_make(Model* model, const Script* script);

void model_free(Model* model);

/** The branch whose number comes after `number`, MODEL_NOWHERE if none does. */
int model_next(const Model* model, uint32_t number);

#endif
