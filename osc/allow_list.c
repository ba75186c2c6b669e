/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "osc/allow_list.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEPARATORS ", "
#define ENTRY_SIZE sizeof "255.255.255.255/32"
#define LOCAL_ONLY "OSC answers this machine only. "

enum { ADDRESS_BITS = 32 };

/** Read "24" as the number of bits that count; false if it is none of 0 to 32. */
static bool read_length(const char* text, unsigned* length)
{
  *length = 0;
  const size_t digits = strspn(text, "0123456789");
  if (digits < 1 || digits > 2 || text[digits]) {
    return false;
  }
  *length = (unsigned)strtoul(text, NULL, 10);
  return *length <= ADDRESS_BITS;
}

/** Read one entry; it is changed. False if it is neither an address nor a prefix. */
static bool read_prefix(char* entry, HrOscPrefix* prefix)
{
  unsigned length = ADDRESS_BITS;
  struct in_addr address;
  char* slash = strchr(entry, '/');
  if (slash) {
    *slash = '\0';
  }
  if ((slash && !read_length(slash + 1, &length)) || inet_pton(AF_INET, entry, &address) != 1) {
    return false;
  }
  prefix->mask = length ? UINT32_MAX << (ADDRESS_BITS - length) : 0;
  prefix->address = ntohl(address.s_addr);
  // Bits that do not count are most likely an address mistyped.
  return !(prefix->address & ~prefix->mask);
}

static HrStatus add_entry(HrOscAllowList* list, const char* text, size_t size, HrError* error)
{
  char entry[ENTRY_SIZE] = "";
  if (list->count == HR_OSC_ALLOWED_MAX) {
    return hr_error(error, HR_ERR_LIMIT,
                    LOCAL_ONLY "HR_OSC_ALLOW has more than %d entries: use prefixes, such as "
                               "192.168.1.0/24.",
                    HR_OSC_ALLOWED_MAX);
  }
  if (size < sizeof entry) {
    memcpy(entry, text, size);
  }
  if (!read_prefix(entry, &list->prefixes[list->count])) {
    return hr_error(error, HR_ERR_ARGUMENT,
                    LOCAL_ONLY "\"%.*s\" in HR_OSC_ALLOW is no IPv4 address or prefix, such as "
                               "10.0.0.7 or 192.168.1.0/24.",
                    (int)(size < 40 ? size : 40), text);
  }
  list->count += 1;
  return HR_OK;
}

HrStatus hr_osc_allow_list_read(HrOscAllowList* list, const char* text, HrError* error)
{
  list->count = 0;
  for (text += strspn(text, SEPARATORS); *text; text += strspn(text, SEPARATORS)) {
    const size_t size = strcspn(text, SEPARATORS);
    const HrStatus st = add_entry(list, text, size, error);
    if (st) {
      list->count = 0;
      return st;
    }
    text += size;
  }
  return HR_OK;
}

bool hr_osc_allow_list_admits(const HrOscAllowList* list, struct in_addr from)
{
  const uint32_t address = ntohl(from.s_addr);
  if (address >> 24 == IN_LOOPBACKNET) {
    return true;
  }
  for (size_t i = 0; i < list->count; ++i) {
    if ((address & list->prefixes[i].mask) == list->prefixes[i].address) {
      return true;
    }
  }
  return false;
}

/** True unless the system says that `address` is none of this machine's. */
static bool is_ours(struct in_addr address)
{
  const struct sockaddr_in any_port = {.sin_family = AF_INET, .sin_addr = address};
  const int probe = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const bool ours =
      !bind(probe, (const struct sockaddr*)&any_port, sizeof any_port) || errno != EADDRNOTAVAIL;
  if (probe >= 0) {
    close(probe);
  }
  return ours;
}

HrStatus hr_osc_allow_list_configured(HrOscAllowList* list, struct in_addr* listen, HrError* error)
{
  const char* const at = getenv("HR_OSC_LISTEN");
  const char* const allowed = getenv("HR_OSC_ALLOW");
  const bool has_allowed = allowed && *allowed;
  struct in_addr wanted;

  *listen = (struct in_addr){htonl(INADDR_LOOPBACK)};
  list->count = 0;
  if (!at || !*at) {
    return !has_allowed
               ? HR_OK
               : hr_error(error, HR_ERR_ARGUMENT,
                          LOCAL_ONLY "HR_OSC_ALLOW needs HR_OSC_LISTEN as well: set that to the "
                                     "address to listen on, or to 0.0.0.0 for all.");
  }
  if (inet_pton(AF_INET, at, &wanted) != 1 || !is_ours(wanted)) {
    return hr_error(error, HR_ERR_ARGUMENT,
                    LOCAL_ONLY "HR_OSC_LISTEN is \"%.40s\": set it to an IPv4 address of this "
                               "machine, or to 0.0.0.0 for all.",
                    at);
  }
  const HrStatus st = hr_osc_allow_list_read(list, has_allowed ? allowed : "", error);
  if (st) {
    return st;
  }
  if (!list->count && ntohl(wanted.s_addr) >> 24 != IN_LOOPBACKNET) {
    return hr_error(error, HR_ERR_ARGUMENT,
                    LOCAL_ONLY "HR_OSC_LISTEN needs HR_OSC_ALLOW as well: set that to the "
                               "addresses to answer, such as 192.168.1.0/24.");
  }
  *listen = wanted;
  return HR_OK;
}
