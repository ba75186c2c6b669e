/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "plugin/prefault.h"

#include <link.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

static bool holds(const struct dl_phdr_info* info, const ElfW(Phdr) * segment, uintptr_t address)
{
  const uintptr_t start = info->dlpi_addr + segment->p_vaddr;
  return segment->p_type == PT_LOAD && address >= start && address - start < segment->p_memsz;
}

/** Between the objects of a module lies what a sanitizer takes for out of bounds. */
__attribute__((no_sanitize("address"))) static void touch(const struct dl_phdr_info* info,
                                                          const ElfW(Phdr) * segment)
{
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  const uintptr_t start = (info->dlpi_addr + segment->p_vaddr) & ~(page - 1);
  const uintptr_t end = info->dlpi_addr + segment->p_vaddr + segment->p_memsz;
  for (uintptr_t at = start; at < end; at += page) {
    (void)*(const volatile char*)at; // NOLINT(performance-no-int-to-ptr)
  }
}

enum { MODULES = 3 };

static int visit(struct dl_phdr_info* info, size_t size, void* data)
{
  const uintptr_t* const addresses = data;
  bool wanted = false;
  (void)size;
  for (unsigned i = 0; i < info->dlpi_phnum; ++i) {
    for (unsigned k = 0; k < MODULES; ++k) {
      wanted = wanted || holds(info, &info->dlpi_phdr[i], addresses[k]);
    }
  }
  for (unsigned i = 0; wanted && i < info->dlpi_phnum; ++i) {
    if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_R) {
      touch(info, &info->dlpi_phdr[i]);
    }
  }
  return 0;
}

void hr_prefault_code(void)
{
  uintptr_t addresses[MODULES] = {(uintptr_t)&hr_prefault_code, (uintptr_t)&memcpy,
                                  (uintptr_t)&llrint};
  dl_iterate_phdr(visit, addresses);
}
