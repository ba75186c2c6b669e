/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* xxHash with vectors wider than those that every x86-64 has: half the time. The library's
 * own choice (xxh_x86dispatch.h, 0.8.1) leaves the upper halves of the wide registers in
 * use, and whatever touches the lower ones afterwards, as nearly all code does, waits for
 * them: appending took a sixth longer. */

#include "store/internal.h"

#if defined(__x86_64__) && !defined(__clang__)
#pragma GCC target("avx2")
#endif

/* By itself it asks for what it reads 384 bytes ahead: too late where memory is far away, as on a
 * server. A scan gains a twelfth by this. */
#define XXH_PREFETCH_DIST 1536
#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t hr_hash_wide(const void* bytes, size_t size, uint64_t seed)
{
  return XXH3_64bits_withSeed(bytes, size, seed);
}
