/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file items.h
 * The items of an instance's state that subscribers are told, but for its
 * branches and slots.
 *
 * Any thread; nothing here changes.
 */

#ifndef HR_OSC_ITEMS_H
#define HR_OSC_ITEMS_H

#include "osc/writer.h"
#include "plugin/command.h"
#include "plugin/session.h"

/** Most values of one item. */
#define HR_OSC_ITEM_VALUES_MAX 3

/** When a change is told. */
typedef enum {
  HR_OSC_AT_ONCE,
  HR_OSC_PACED,    ///< It changes all the time: at most ten times a second
  HR_OSC_POSITION, ///< The same, as often as the subscriber wishes
} HrOscPace;

/** One item, sent as /hr/<number>/state/<key>. */
typedef struct {
  const char* key;
  const char* values; ///< Like HrCommandInfo::arguments
  const char* summary;
  HrOscPace pace;
  size_t (*read)(const HrSessionState* state, HrValue values[HR_OSC_ITEM_VALUES_MAX]);
  size_t flag;      ///< Where `read` is NULL: the offset of the bool that it is
  const char* echo; ///< The verb that sets its first value, told under that address too; or NULL
} HrOscItem;

const HrOscItem* hr_osc_items(size_t* count);

/** True if two states read the same through `item`. */
bool hr_osc_item_same(const HrOscItem* item, const HrSessionState* a, const HrSessionState* b);

/** Tell an item of instance `number`, under its echo as well. */
void hr_osc_item_write(HrOscWriter* writer, uint32_t number, const HrOscItem* item,
                       const HrSessionState* state);

#endif
