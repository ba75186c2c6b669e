/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FREE_LIST "free pages"

enum {
  ENTRY_HEADER = 8,
  ENTRY_IS_BIG = 0x01,
  ENTRY_IS_TREE = 0x02,
  TREE_INTEGER_KEYS = 0x08,
  TREE_KINDS = 0x7e, ///< The flags that say how keys sort and values repeat
  KEY_MAX = 511,
  NAME_MAX_SIZE = 32,
};

/** What an empty database begins with; ours knows of no map, unlike those that LMDB makes. */
static void fill_first_pages(uint8_t pages[2][HR_PAGE_SIZE])
{
  const HrPageMeta meta = {
      .magic = HR_PAGES_MAGIC,
      .version = HR_PAGES_VERSION,
      .free_list = {.pad = HR_PAGE_SIZE, .flags = TREE_INTEGER_KEYS, .root = HR_NO_PAGE},
      .main.root = HR_NO_PAGE,
      .last_page = 1};
  for (uint64_t number = 0; number < 2; ++number) {
    const HrPageHeader header = {.number = number, .flags = HR_PAGE_META};
    memset(pages[number], 0, HR_PAGE_SIZE);
    memcpy(pages[number], &header, sizeof header);
    memcpy(pages[number] + sizeof header, &meta, sizeof meta);
  }
}

bool hr_pages_begin(int fd)
{
  uint8_t pages[2][HR_PAGE_SIZE];
  fill_first_pages(pages);
  const ssize_t written = pwrite(fd, pages, sizeof pages, 0);
  if (written == (ssize_t)sizeof pages) {
    return true;
  }
  const int code = written < 0 ? errno : ENOSPC;
  const int emptied = ftruncate(fd, 0);
  errno = emptied ? EIO : code;
  return false;
}

bool hr_pages_to_begin(int fd, uint64_t bytes)
{
  uint8_t wanted[2][HR_PAGE_SIZE];
  uint8_t found[sizeof wanted];
  if (bytes < sizeof(HrPageHeader) + sizeof(HrPageMeta) || bytes >= sizeof wanted) {
    return !bytes;
  }
  fill_first_pages(wanted);
  return pread(fd, found, bytes, 0) == (ssize_t)bytes && !memcmp(found, wanted, bytes);
}

bool hr_page_read(int fd, uint64_t number, uint8_t page[HR_PAGE_SIZE])
{
  return number < (uint64_t)INT64_MAX / HR_PAGE_SIZE &&
         pread(fd, page, HR_PAGE_SIZE, (off_t)(number * HR_PAGE_SIZE)) == (ssize_t)HR_PAGE_SIZE;
}

bool hr_page_read_meta(int fd, uint64_t number, HrPageHeader* header, HrPageMeta* meta)
{
  uint8_t page[sizeof *header + sizeof *meta];
  if (pread(fd, page, sizeof page, (off_t)(number * HR_PAGE_SIZE)) != (ssize_t)sizeof page) {
    return false;
  }
  memcpy(header, page, sizeof *header);
  memcpy(meta, page + sizeof *header, sizeof *meta);
  return true;
}

static HrPageHeader header_of(const uint8_t* page)
{
  HrPageHeader header;
  memcpy(&header, page, sizeof header);
  return header;
}

unsigned hr_page_entries(const uint8_t page[HR_PAGE_SIZE])
{
  const HrPageHeader header = header_of(page);
  const bool holds_entries = header.flags == HR_PAGE_BRANCH || header.flags == HR_PAGE_LEAF;
  return holds_entries && header.lower >= sizeof header && header.lower <= HR_PAGE_SIZE
             ? (header.lower - (unsigned)sizeof header) / 2
             : 0;
}

static uint16_t slot(const uint8_t* page, unsigned index)
{
  uint16_t offset;
  memcpy(&offset, page + sizeof(HrPageHeader) + (size_t)index * 2, sizeof offset);
  return offset;
}

bool hr_page_entry(const uint8_t page[HR_PAGE_SIZE], unsigned index, HrPageEntry* entry)
{
  struct {
    uint16_t low, high, flags, key_size; ///< Of a branch page, `flags` is the page number's top
  } bytes;
  const size_t offset = slot(page, index);
  if (offset < sizeof(HrPageHeader) || offset + ENTRY_HEADER > HR_PAGE_SIZE) {
    return false;
  }
  memcpy(&bytes, page + offset, sizeof bytes);
  const uint32_t low = bytes.low | (uint32_t)bytes.high << 16;
  const size_t room = HR_PAGE_SIZE - offset - ENTRY_HEADER;
  if (bytes.key_size > room) {
    return false;
  }
  const uint8_t* const value = page + offset + ENTRY_HEADER + bytes.key_size;
  *entry = (HrPageEntry){.key = page + offset + ENTRY_HEADER, .key_size = bytes.key_size};
  if (header_of(page).flags == HR_PAGE_BRANCH) {
    entry->page = low | (uint64_t)bytes.flags << 32;
    return true;
  }
  entry->size = low;
  entry->is_tree = bytes.flags == ENTRY_IS_TREE;
  if (bytes.flags == ENTRY_IS_BIG && room - bytes.key_size >= sizeof entry->page) {
    memcpy(&entry->page, value, sizeof entry->page);
    return entry->page != 0; // A meta page is nobody's
  }
  entry->value = value;
  return (bytes.flags == 0 || entry->is_tree) && low <= room - bytes.key_size;
}

uint64_t hr_page_overflow_count(uint32_t size)
{
  return (sizeof(HrPageHeader) - 1 + (uint64_t)size) / HR_PAGE_SIZE + 1;
}

/** The chain's first page says how many there are: as many as the value takes, or more. */
static bool overflow_sound(int fd, const HrPageEntry* entry, uint32_t* count)
{
  HrPageHeader header;
  const bool whole = pread(fd, &header, sizeof header, (off_t)(entry->page * HR_PAGE_SIZE)) ==
                     (ssize_t)sizeof header;
  *count = header.lower | (uint32_t)header.upper << 16;
  return whole && header.number == entry->page && header.flags == HR_PAGE_OVERFLOW &&
         *count >= hr_page_overflow_count(entry->size);
}

bool hr_page_read_value(int fd, const HrPageEntry* entry, void* value)
{
  uint32_t count;
  return entry->page && entry->page < (uint64_t)INT64_MAX / HR_PAGE_SIZE &&
         overflow_sound(fd, entry, &count) &&
         pread(fd, value, entry->size,
               (off_t)(entry->page * HR_PAGE_SIZE + sizeof(HrPageHeader))) == (ssize_t)entry->size;
}

/* ---- Checking ------------------------------------------------------- */

typedef struct {
  const uint8_t* bytes; ///< NULL: no bound
  size_t size;
} Key;

/** One check, and the database it is at. */
typedef struct {
  const HrPages* pages;
  HrPagesScope scope;
  uint8_t* uses; ///< HrPageUse of each page; NULL if only the spines are looked at
  HrStatus status;
  const char* name;
  bool integers;
  bool is_free_list;
  HrPageTree found; ///< What was counted
} Check;

static void fault(Check* check, uint64_t page, const char* what, Key low, Key high)
{
  check->status = HR_ERR_DAMAGED;
  if (check->pages->fault) {
    check->pages->fault(check->pages->data, &(HrPageFault){.page = page,
                                                           .database = check->name,
                                                           .what = what,
                                                           .low = low.bytes,
                                                           .low_size = low.size,
                                                           .high = high.bytes,
                                                           .high_size = high.size});
  }
}

static int compare(const Check* check, Key a, Key b)
{
  if (check->integers) {
    uint64_t x, y;
    memcpy(&x, a.bytes, sizeof x);
    memcpy(&y, b.bytes, sizeof y);
    return (x > y) - (x < y);
  }
  const int order = memcmp(a.bytes, b.bytes, a.size < b.size ? a.size : b.size);
  return order ? order : (a.size > b.size) - (a.size < b.size);
}

/** Mark what `count` pages are used for: NULL, or what is wrong with them. */
static const char* reach(Check* check, uint64_t page, uint64_t count, HrPageUse use)
{
  if (page < 2 || page > check->pages->meta.last_page ||
      count > check->pages->meta.last_page - page + 1) {
    return "it is referred to, and lies outside the store";
  }
  for (uint64_t i = page; i < page + count && check->uses; ++i) {
    if (check->uses[i]) {
      return "it is referred to twice";
    }
    check->uses[i] = (uint8_t)use;
  }
  return NULL;
}

/** What is wrong within a page, its entries' keys and sizes among it; NULL if nothing. */
static const char* check_entries(const Check* check, const uint8_t* page, Key low, Key high)
{
  const HrPageHeader header = header_of(page);
  const bool leaf = header.flags == HR_PAGE_LEAF;
  const unsigned count = hr_page_entries(page);
  size_t used = 0;
  Key last = low;
  if (header.lower % 2 || header.lower > header.upper || header.upper > HR_PAGE_SIZE) {
    return "its bounds contradict each other";
  }
  if (count < (leaf || check->is_free_list ? 1 : 2)) {
    return "it holds too few entries";
  }
  for (unsigned i = 0; i < count; ++i) {
    HrPageEntry entry;
    if (slot(page, i) < header.upper || slot(page, i) % 2 || !hr_page_entry(page, i, &entry)) {
      return "an entry lies outside it";
    }
    const size_t value = leaf ? entry.page ? sizeof entry.page : entry.size : 0;
    used += (ENTRY_HEADER + entry.key_size + value + 1) & ~(size_t)1;
    if (i == 0 && !leaf) {
      continue; // The first key of a branch page is never looked at
    }
    const Key key = {entry.key, entry.key_size};
    if (!key.size || key.size > KEY_MAX || (check->integers && key.size != sizeof(uint64_t))) {
      return "a key has an impossible size";
    }
    const int order = last.bytes ? compare(check, key, last) : 1;
    if (order < 0 || (order == 0 && last.bytes != low.bytes) ||
        (high.bytes && compare(check, key, high) >= 0)) {
      return "its keys are out of order";
    }
    last = key;
  }
  return used == (size_t)(HR_PAGE_SIZE - header.upper) ? NULL : "its entries overlap";
}

static void check_leaf_entry(Check* check, uint64_t page, const HrPageEntry* entry)
{
  const Key key = {entry->key, entry->key_size};
  if (entry->is_tree && (*check->name || entry->size != sizeof(HrPageTree))) {
    fault(check, page, "it lists a database where there is none", key, key);
    return;
  }
  check->found.entries += 1;
  if (entry->page) {
    const uint64_t needed = hr_page_overflow_count(entry->size);
    uint32_t count = (uint32_t)needed;
    const char* wrong = reach(check, entry->page, needed, HR_PAGE_IN_TREE);
    if (!wrong && check->scope != HR_PAGES_KEYS &&
        !overflow_sound(check->pages->fd, entry, &count)) {
      wrong = "it is not the beginning of the value that is kept there";
    }
    if (!wrong && count > needed) {
      wrong = reach(check, entry->page + needed, count - needed, HR_PAGE_IN_TREE);
    }
    if (wrong) {
      fault(check, entry->page, wrong, key, key);
      return;
    }
    check->found.overflow_pages += count;
  }
  if (check->pages->entry) {
    check->pages->entry(check->pages->data, check->name, entry);
  }
}

/** Have the system read the pages below one, all at once: a disk takes far less time for
 * them so than for one after the other. */
static void ask_for_children(const Check* check, const uint8_t* page, unsigned count)
{
  for (unsigned i = 0; i < count; ++i) {
    HrPageEntry entry;
    if (hr_page_entry(page, i, &entry) && entry.page <= check->pages->meta.last_page) {
      posix_fadvise(check->pages->fd, (off_t)(entry.page * HR_PAGE_SIZE), HR_PAGE_SIZE,
                    POSIX_FADV_WILLNEED);
    }
  }
}

/** Check a page and all below it, `level` above the leaves. */
static void check_page(Check* check, uint64_t number, unsigned level, Key low, Key high)
{
  uint8_t page[HR_PAGE_SIZE];
  const char* wrong = reach(check, number, 1, HR_PAGE_IN_TREE);
  if (wrong) {
    fault(check, number, wrong, low, high);
    return;
  }
  if (!hr_page_read(check->pages->fd, number, page)) {
    fault(check, number, "it cannot be read", low, high);
    return;
  }
  const HrPageHeader header = header_of(page);
  wrong = header.number != number                                   ? "it bears another number"
          : header.flags != (level ? HR_PAGE_BRANCH : HR_PAGE_LEAF) ? "it is of another kind"
                                                                    : NULL;
  wrong = wrong ? wrong : check_entries(check, page, low, high);
  if (wrong) {
    fault(check, number, wrong, low, high);
    return;
  }
  *(level ? &check->found.branch_pages : &check->found.leaf_pages) += 1;
  const unsigned count = hr_page_entries(page);
  if (level && check->scope != HR_PAGES_SPINES) {
    ask_for_children(check, page, count);
  }
  for (unsigned i = 0; i < count; ++i) {
    HrPageEntry entry, next = {0};
    hr_page_entry(page, i, &entry);
    if (!level) {
      check_leaf_entry(check, number, &entry);
    } else if (check->scope != HR_PAGES_SPINES || i == 0 || i == count - 1) {
      const bool has_next = i + 1 < count && hr_page_entry(page, i + 1, &next);
      check_page(check, entry.page, level - 1, i ? (Key){entry.key, entry.key_size} : low,
                 has_next ? (Key){next.key, next.key_size} : high);
    }
  }
}

static bool counts_differ(const Check* check, const HrPageTree* tree)
{
  const HrPageTree* const found = &check->found;
  return found->branch_pages != tree->branch_pages || found->leaf_pages != tree->leaf_pages ||
         found->entries != tree->entries ||
         (check->scope == HR_PAGES_ALL && found->overflow_pages != tree->overflow_pages);
}

/** True if a database says that it has more pages than there are. */
static bool counts_impossible(const Check* check, const HrPageTree* tree)
{
  const uint64_t most = check->pages->meta.last_page;
  return tree->branch_pages > most || tree->leaf_pages > most || tree->overflow_pages > most;
}

/** What keys a database has (format.h): where they are numbers, all 8 bytes are read. */
static unsigned keys_of(const char* name)
{
  static const char* const numbered[] = {FREE_LIST, "trees", "branches", "journal"};
  for (unsigned i = 0; i < sizeof numbered / sizeof *numbered; ++i) {
    if (!strcmp(name, numbered[i])) {
      return TREE_INTEGER_KEYS;
    }
  }
  return 0;
}

static void check_tree(Check* check, const char* name, const HrPageTree* tree)
{
  const Key none = {NULL, 0};
  const unsigned kinds = tree->flags & TREE_KINDS;
  check->name = name;
  check->integers = kinds == TREE_INTEGER_KEYS;
  check->found = (HrPageTree){0};
  if (kinds != keys_of(name)) {
    fault(check, 0, "its keys are of another kind than they should be", none, none);
  } else if (tree->root != HR_NO_PAGE && (!tree->depth || tree->depth >= HR_PAGES_DEPTH_MAX)) {
    fault(check, tree->root, "its depth is impossible", none, none);
  } else if (tree->root != HR_NO_PAGE) {
    check_page(check, tree->root, tree->depth - 1u, none, none);
  }
  if (!check->status && (check->scope == HR_PAGES_SPINES ? counts_impossible(check, tree)
                                                         : counts_differ(check, tree))) {
    fault(check, 0, "its counts are wrong", none, none);
  }
  check->name = "";
}

bool hr_pages_open(HrPages* pages, int fd, uint64_t transaction)
{
  bool found = false;
  *pages = (HrPages){.fd = fd};
  for (uint64_t number = 0; number < 2; ++number) {
    HrPageHeader header;
    HrPageMeta meta;
    if (hr_page_read_meta(fd, number, &header, &meta) && meta.magic == HR_PAGES_MAGIC &&
        (transaction == UINT64_MAX ? !found || meta.transaction > pages->meta.transaction
                                   : meta.transaction == transaction)) {
      pages->meta = meta;
      found = true;
    }
  }
  return found;
}

/* ---- The databases of a file ----------------------------------------- */

/** Call `visit` for each database that the main one lists in its only page. */
static void each_tree(const HrPages* pages, void* data,
                      void (*visit)(void* data, const char* name, const HrPageTree* tree))
{
  uint8_t page[HR_PAGE_SIZE];
  if (pages->meta.main.root == HR_NO_PAGE || pages->meta.main.depth != 1 ||
      !hr_page_read(pages->fd, pages->meta.main.root, page)) {
    return;
  }
  for (unsigned i = 0; i < hr_page_entries(page); ++i) {
    HrPageEntry entry;
    HrPageTree tree;
    char name[NAME_MAX_SIZE] = "";
    if (hr_page_entry(page, i, &entry) && entry.is_tree && entry.size == sizeof tree &&
        entry.key_size < sizeof name) {
      memcpy(name, entry.key, entry.key_size);
      memcpy(&tree, entry.value, sizeof tree);
      visit(data, name, &tree);
    }
  }
}

typedef struct {
  uint64_t keys, values;
} Count;

static void add_count(void* data, const char* name, const HrPageTree* tree)
{
  (void)name;
  Count* const count = data;
  count->keys += tree->branch_pages + tree->leaf_pages;
  count->values += tree->overflow_pages;
}

uint64_t hr_pages_count(const HrPages* pages, HrPagesScope scope)
{
  Count count = {0, 0};
  add_count(&count, "", &pages->meta.main);
  add_count(&count, "", &pages->meta.free_list);
  each_tree(pages, &count, add_count);
  const uint64_t counted = count.keys + (scope == HR_PAGES_ALL ? count.values : 0);
  const uint64_t pages_there = pages->meta.last_page + 1;
  return counted < pages_there ? counted : pages_there;
}

static void check_named(void* data, const char* name, const HrPageTree* tree)
{
  check_tree(data, name, tree);
}

/** The free list read on its own, as another check goes on while it is. */
typedef struct {
  Check* check;
  uint64_t newest; ///< Last transaction that freed pages
} FreeList;

static void check_free_pages(FreeList* list, const uint64_t* numbers, uint64_t count)
{
  const Key none = {NULL, 0};
  for (uint64_t i = 0; i < count; ++i) {
    const char* wrong = i && numbers[i] >= numbers[i - 1]
                            ? "it is listed out of order"
                            : reach(list->check, numbers[i], 1, HR_PAGE_FREE);
    if (wrong) {
      fault(list->check, numbers[i], wrong, none, none);
    }
  }
}

static void read_free_entry(void* data, const char* database, const HrPageEntry* entry)
{
  (void)database;
  FreeList* const list = data;
  const Key none = {NULL, 0};
  uint64_t* const numbers = malloc(entry->size + sizeof *numbers);
  if (!numbers) {
    list->check->status = HR_ERR_NO_MEMORY;
    return;
  }
  numbers[0] = 0;
  if (entry->value) {
    memcpy(numbers, entry->value, entry->size);
  } else if (!hr_page_read_value(list->check->pages->fd, entry, numbers)) {
    numbers[0] = UINT64_MAX;
  }
  memcpy(&list->newest, entry->key, sizeof list->newest);
  /* LMDB may keep room behind the last. */
  if (entry->size % sizeof *numbers || entry->size / sizeof *numbers < 1 ||
      numbers[0] > entry->size / sizeof *numbers - 1) {
    fault(list->check, entry->page, "a list of free pages has an impossible length", none, none);
  } else {
    check_free_pages(list, numbers + 1, numbers[0]);
  }
  free(numbers);
}

static void check_free_list(Check* check)
{
  FreeList list = {.check = check};
  const Key none = {NULL, 0};
  const HrPages* const whole = check->pages;
  HrPages pages = *whole;
  Check own = *check;
  pages.entry = read_free_entry;
  pages.data = &list;
  pages.fault = NULL;
  own.pages = &pages;
  own.is_free_list = true;
  check->name = FREE_LIST;
  check_tree(&own, FREE_LIST, &whole->meta.free_list);
  if (own.status) {
    fault(check, whole->meta.free_list.root, "the list of free pages is damaged", none, none);
  } else if (check->scope != HR_PAGES_SPINES && list.newest &&
             list.newest != whole->meta.transaction) {
    fault(check, 0, "the free pages are those of another moment", none, none);
  }
}

static void check_all_reached(Check* check)
{
  const Key none = {NULL, 0};
  check->name = "";
  for (uint64_t page = 2; page <= check->pages->meta.last_page; ++page) {
    if (check->uses[page] == HR_PAGE_UNUSED) {
      fault(check, page, "nothing refers to it", none, none);
    }
  }
}

HrStatus hr_pages_check(const HrPages* pages, HrPagesScope scope, uint8_t** uses)
{
  const Key none = {NULL, 0};
  Check check = {.pages = pages, .scope = scope, .name = ""};
  if (scope != HR_PAGES_SPINES) {
    check.uses = calloc(pages->meta.last_page + 1, 1);
    if (!check.uses) {
      return HR_ERR_NO_MEMORY;
    }
  }
  check_tree(&check, "", &pages->meta.main);
  if (pages->meta.main.root != HR_NO_PAGE && pages->meta.main.depth != 1) {
    fault(&check, pages->meta.main.root, "it is no list of a store's databases", none, none);
  }
  each_tree(pages, &check, check_named);
  check_free_list(&check);
  if (scope == HR_PAGES_ALL && !check.status) {
    check_all_reached(&check);
  }
  if (uses) {
    *uses = check.uses;
  } else {
    free(check.uses);
  }
  return check.status;
}
