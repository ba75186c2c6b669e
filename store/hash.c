/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/internal.h"

/* The library picks the widest vectors that this processor has; a compiler that
 * knows no more of it than "x86-64" would take the narrowest. */
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#define XXH_DISPATCH_DISABLE_REPLACE
#include <xxh_x86dispatch.h>
#define HASH XXH3_64bits_withSeed_dispatch
#else
#include <xxhash.h>
#define HASH XXH3_64bits_withSeed
#endif

uint64_t hr_hash_long(const void* bytes, size_t size, uint64_t seed)
{
  return HASH(bytes, size, seed);
}

/** It picks when it is first called, which is not to be done by two threads at once. */
__attribute__((constructor)) static void pick(void)
{
  static const uint8_t bytes[512];
  hr_hash_long(bytes, sizeof bytes, 0);
}
