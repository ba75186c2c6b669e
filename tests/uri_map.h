/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/** @file uri_map.h
 * The least that an LV2 host must have: numbers for URIs. One thread. */

#ifndef HR_TESTS_URI_MAP_H
#define HR_TESTS_URI_MAP_H

#include <lv2/urid/urid.h>

#include <string.h>

static inline LV2_URID map_uri(LV2_URID_Map_Handle unused, const char* uri)
{
  static char* known[256];
  static LV2_URID count;
  (void)unused;
  for (LV2_URID i = 0; i < count; ++i) {
    if (!strcmp(known[i], uri)) {
      return i + 1;
    }
  }
  known[count] = strdup(uri);
  return ++count;
}

#endif
