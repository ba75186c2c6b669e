/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/address.h"
#include "store/store.h"

#include <string.h>

#define PATTERN_CHARACTERS  "*?[]{}"
#define REPLACED_CHARACTERS " #*,/?[]{}"

bool hr_osc_address_split(const char* text, HrOscAddress* address)
{
  const size_t prefix = strlen(HR_OSC_PREFIX);
  if (strncmp(text, HR_OSC_PREFIX, prefix) || !text[prefix] || text[prefix] == '/') {
    return false;
  }
  address->instance = text + prefix;
  address->instance_size = strcspn(address->instance, "/");
  address->verb = address->instance + address->instance_size;
  if (*address->verb) {
    ++address->verb;
  }
  return true;
}

bool hr_osc_address_is_pattern(const HrOscAddress* address)
{
  return strpbrk(address->instance, PATTERN_CHARACTERS);
}

uint32_t hr_osc_address_number(const HrOscAddress* address)
{
  uint64_t number = 0;
  for (size_t i = 0; i < address->instance_size; ++i) {
    const char digit = address->instance[i];
    if (digit < '0' || digit > '9') {
      return 0;
    }
    number = number * 10 + (uint64_t)(digit - '0');
    if (number > UINT32_MAX) {
      return 0;
    }
  }
  return (uint32_t)number;
}

void hr_osc_address_part(const char* name, char* part)
{
  strcpy(part, name);
  for (char* at = strpbrk(part, REPLACED_CHARACTERS); at; at = strpbrk(at, REPLACED_CHARACTERS)) {
    *at = '_';
  }
}

bool hr_osc_address_is_name(const HrOscAddress* address, const char* name)
{
  char part[HR_NAME_MAX + 1];
  hr_osc_address_part(name, part);
  return strlen(part) == address->instance_size &&
         !memcmp(part, address->instance, address->instance_size);
}
