/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file address.h
 * The parts of an address, "/hr/<instance>/<verb>". Pure functions, any thread.
 * Either part may be a pattern (pattern.h).
 */

#ifndef HR_OSC_ADDRESS_H
#define HR_OSC_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HR_OSC_PREFIX "/hr/"

typedef struct {
  const char* instance; ///< Not terminated; ends before `verb`
  size_t instance_size;
  const char* verb; ///< "" if the address has but one part
} HrOscAddress;

/** Split an address; false if it does not begin with HR_OSC_PREFIX and a part. */
bool hr_osc_address_split(const char* text, HrOscAddress* address);

/** True if the address holds a character that makes it a pattern. */
bool hr_osc_address_is_pattern(const HrOscAddress* address);

/** The instance part as a number, 0 if it is none. */
uint32_t hr_osc_address_number(const HrOscAddress* address);

/** Write `name` as an address has it: with "_" for each space and each character
 * that means something in an OSC address, # * , / ? [ ] { }. `part` has room for it. */
void hr_osc_address_part(const char* name, char* part);

/** True if the instance part is `name` so written. */
bool hr_osc_address_is_name(const HrOscAddress* address, const char* name);

#endif
