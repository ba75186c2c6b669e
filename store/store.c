/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "store/internal.h"
#include "store/preflight.h"

#include "store/memlock.h"
#include "store/pages.h"
#include "store/shell_quote.h"
#include "store/snapshot.h"
#include "store/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/** The largest map that costs little (64 kB of page tables) and never fails on
 * a 47-bit address space; set once, as LMDB cannot grow it under readers. */
#define LARGEST_MAP  ((size_t)64 << 40)
#define SMALLEST_MAP ((size_t)64 << 20)

#define READERS_MAX 512

/** LMDB gives a cache line each to the lock file's head, to the writer and to each reader. */
#define LOCK_FILE_BYTES ((READERS_MAX + 2) * 64)

/** Up to so many pages a store is checked whole before LMDB walks it: within a millisecond. */
#define CHECKED_PAGES 1024u

/** Up to so many with keys, those are: within ten. They index 1.5 GB of music, as a node is
 * a page that only holds a value, and LMDB follows nothing that it finds there. */
#define CHECKED_KEY_PAGES 4096u

/* LMDB breaks when one process opens a file twice: readers lose their locks and
 * two writers get in. So a process holds one HrStore for each device and inode. */
static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static HrStore* registry;

static int64_t read_clock(clockid_t clock)
{
  struct timespec now;
  clock_gettime(clock, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t hr_wall_clock_ns(void)
{
  return read_clock(CLOCK_REALTIME);
}

int64_t hr_monotonic_ns(void)
{
  return read_clock(CLOCK_MONOTONIC);
}

HrStatus hr_store_default_path(char* path, size_t size)
{
  const char* chosen = getenv("HR_STORE");
  const char* data = getenv("XDG_DATA_HOME");
  const char* home = getenv("HOME");
  int length;
  if (chosen && home && *home && !strncmp(chosen, "~/", 2)) {
    length = snprintf(path, size, "%s%s", home, chosen + 1); // Quoted, no shell has done it
  } else if (chosen && *chosen) {
    length = snprintf(path, size, "%s", chosen);
  } else if (data && *data == '/') {
    length = snprintf(path, size, "%s/halfremembered/default.hr", data);
  } else if (home && *home) {
    length = snprintf(path, size, "%s/.local/share/halfremembered/default.hr", home);
  } else {
    return HR_ERR_NOT_FOUND;
  }
  return length >= 0 && (size_t)length < size ? HR_OK : HR_ERR_LIMIT;
}

HrStatus hr_make_folders(const char* path, HrError* error)
{
  char* const copy = strdup(path);
  if (!copy) {
    return hr_error(error, HR_ERR_NO_MEMORY, "Out of memory.");
  }
  HrStatus status = HR_OK;
  for (char* slash = strchr(copy + (*copy == '/'), '/'); slash && !status;
       slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    if (!mkdir(copy, 0700)) {
      chmod(copy, 0700); // Whatever the umask
    } else if (errno != EEXIST) {
      status = hr_error(error, errno == ENOSPC ? HR_ERR_NO_SPACE : HR_ERR_PERMISSION,
                        "Cannot make the folder of the store %s: %s. Plug in its disk, or choose a "
                        "path where you may write.",
                        path, strerror(errno));
    }
    *slash = '/';
  }
  free(copy);
  return status;
}

static HrStatus status_from_errno(int code)
{
  switch (code) {
  case ENOENT:
    return HR_ERR_NOT_FOUND;
  case EACCES:
  case EPERM:
  case ELOOP:
    return HR_ERR_PERMISSION;
  case EROFS:
    return HR_ERR_READ_ONLY;
  case ENOSPC:
  case EDQUOT:
  case EFBIG:
    return HR_ERR_NO_SPACE;
  case ENOMEM:
  case EAGAIN:
    return HR_ERR_NO_MEMORY;
  case EINVAL:
    return HR_ERR_ARGUMENT;
  default:
    return HR_ERR_IO;
  }
}

HrStatus hr_status_from_lmdb(HrStore* store, int code)
{
  switch (code) {
  case MDB_SUCCESS:
    return HR_OK;
  case MDB_NOTFOUND:
    return HR_ERR_NOT_FOUND;
  case MDB_KEYEXIST:
    return HR_ERR_EXISTS;
  case MDB_MAP_FULL:
  case MDB_MAP_RESIZED: // Another process, with more of it, made the store larger than our map
    return HR_ERR_MAP_FULL;
  case MDB_READERS_FULL:
    return HR_ERR_BUSY;
  case MDB_INVALID:
    return HR_ERR_NOT_A_STORE;
  case MDB_VERSION_MISMATCH:
    return HR_ERR_NEWER;
  case MDB_PAGE_NOTFOUND:
  case MDB_CORRUPTED:
    return HR_ERR_DAMAGED;
  case MDB_TXN_FULL:
    return HR_ERR_LIMIT;
  case MDB_PANIC: // What LMDB says once it could not write a meta page
  case EIO:
    if (store) {
      store->failed = true;
    }
    return HR_ERR_IO;
  default:
    return code < 0 ? HR_ERR_DAMAGED : status_from_errno(code);
  }
}

/** Rename without replacing. Where the file system cannot do that, it can link. */
static int rename_to_free(const char* from, const char* to)
{
  if (!renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE)) {
    return 0;
  }
  if (errno != EINVAL || link(from, to)) {
    return errno;
  }
  unlink(from);
  return 0;
}

enum { LOCK_PATH_SIZE = 4096 + 8 }; // With "-lock", or "-XXXXXX"

static bool name_lock_file(const char* path, char name[LOCK_PATH_SIZE])
{
  return snprintf(name, LOCK_PATH_SIZE, "%s-lock", path) < LOCK_PATH_SIZE;
}

/** Make the lock file with room for all that LMDB writes there, by a map: on a full disk that
 * would end the program. An errno. */
static int make_lock_file(const char* path, const char* name)
{
  char made[LOCK_PATH_SIZE];
  HrSizeSignal held;
  snprintf(made, sizeof made, "%s-XXXXXX", path);
  const int fd = mkostemp(made, O_CLOEXEC);
  if (fd < 0) {
    return errno;
  }
  fchmod(fd, 0600); // Whatever the umask
  hr_size_signal_hold(&held);
  int code = posix_fallocate(fd, 0, LOCK_FILE_BYTES);
  hr_size_signal_drop(&held);
  code = code ? code : rename_to_free(made, name);
  if (code) {
    unlink(made);
  }
  close(fd);
  return code;
}

HrStatus hr_prepare_lock_file(const char* path, bool read_only, HrError* error)
{
  char name[LOCK_PATH_SIZE];
  struct stat info;
  if (!name_lock_file(path, name)) {
    return hr_error(error, HR_ERR_ARGUMENT, "The store's path is too long.");
  }
  if (!lstat(name, &info)) {
    return S_ISREG(info.st_mode)
               ? HR_OK
               : hr_error(error, HR_ERR_PERMISSION, "%s is not a plain file. Remove it.", name);
  }
  const int code = make_lock_file(path, name);
  const HrStatus status = code && code != EEXIST ? status_from_errno(code) : HR_OK;
  return status && (!read_only || status == HR_ERR_NO_SPACE)
             ? hr_error(error, status, "Cannot make %s: %s. %s", name, strerror(code),
                        hr_advice(status))
             : HR_OK;
}

/** Notes came later than the rest: a store may be without. */
static int open_notes(MDB_txn* txn, HrStore* store)
{
  const int code = mdb_dbi_open(txn, "notes", store->read_only ? 0 : MDB_CREATE, &store->notes);
  return code == MDB_NOTFOUND && store->read_only ? 0 : code;
}

/** LMDB does not tell where its map is, but the pages in it say which they are. */
static uintptr_t find_map(const MDB_val* value)
{
  const uintptr_t page = (uintptr_t)value->mv_data / HR_PAGE_SIZE * HR_PAGE_SIZE;
  HrPageHeader header;
  memcpy(&header, (const void*)page, sizeof header); // NOLINT(performance-no-int-to-ptr)
  return page - header.number * HR_PAGE_SIZE;
}

bool hr_value_replaceable(const HrStore* store, const MDB_val* value)
{
  const uintptr_t at = (uintptr_t)value->mv_data - store->map;
  HrPageHeader header;
  if (!store->map || at >= store->map_bytes || at % HR_PAGE_SIZE != sizeof header) {
    return true; // Written by this transaction, or among others on a page with keys
  }
  memcpy(&header, (const uint8_t*)value->mv_data - sizeof header, sizeof header);
  return header.number == at / HR_PAGE_SIZE && header.flags == HR_PAGE_OVERFLOW &&
         (header.lower | (uint32_t)header.upper << 16) ==
             hr_page_overflow_count((uint32_t)value->mv_size);
}

static HrStatus open_databases(HrStore* store)
{
  const struct {
    const char* name;
    unsigned flags;
    MDB_dbi* dbi;
  } databases[] = {
      {"trees", MDB_INTEGERKEY, &store->trees},
      {"branches", MDB_INTEGERKEY, &store->branches},
      {"nodes", 0, &store->nodes},
      {"names", 0, &store->names},
      {"journal", MDB_INTEGERKEY, &store->journal},
      {"captures", 0, &store->captures},
  };
  MDB_txn* txn = NULL;
  int code = mdb_txn_begin(store->env, NULL, store->read_only ? MDB_RDONLY : 0, &txn);
  if (code) {
    return hr_status_from_lmdb(store, code);
  }

  MDB_dbi main_dbi;
  MDB_val key = {strlen(HR_HEADER_KEY), (void*)HR_HEADER_KEY};
  MDB_val value;
  code = mdb_dbi_open(txn, NULL, 0, &main_dbi);
  bool is_new = !code && mdb_get(txn, main_dbi, &key, &value) == MDB_NOTFOUND;
  if (!code && is_new && !store->read_only) {
    HrStoreHeader* header = &store->header;
    *header = (HrStoreHeader){.magic = HR_HEADER_MAGIC,
                              .format = HR_FORMAT_VERSION,
                              .page_size = HR_PAGE_SIZE,
                              .created_ns = hr_wall_clock_ns()};
    code =
        getrandom(header->uuid, sizeof header->uuid, 0) == (ssize_t)sizeof header->uuid ? 0 : EIO;
    value = (MDB_val){sizeof *header, header};
    if (!code) {
      code = mdb_put(txn, main_dbi, &key, &value, 0);
    }
  } else if (!code && !is_new && value.mv_size == sizeof store->header) {
    memcpy(&store->header, value.mv_data, sizeof store->header);
    store->map = find_map(&value);
  } else if (!code) {
    code = MDB_CORRUPTED;
  }

  const unsigned create = is_new ? MDB_CREATE : 0;
  for (size_t i = 0; i < sizeof databases / sizeof *databases && !code; ++i) {
    code = mdb_dbi_open(txn, databases[i].name, databases[i].flags | create, databases[i].dbi);
  }
  code = code ? code : open_notes(txn, store);
  if (!code && !store->read_only && store->header.format < HR_FORMAT_VERSION) {
    code = hr_upgrade(store, txn, store->header.format);
    store->header.format = HR_FORMAT_VERSION;
    value = (MDB_val){sizeof store->header, &store->header};
    code = code ? code : mdb_put(txn, main_dbi, &key, &value, 0);
  }
  if (code) {
    mdb_txn_abort(txn);
    return code == MDB_NOTFOUND ? HR_ERR_DAMAGED : hr_status_from_lmdb(store, code);
  }
  return hr_status_from_lmdb(store, mdb_txn_commit(txn));
}

size_t hr_largest_map(void)
{
  struct rlimit limit;
  size_t map = LARGEST_MAP;
  if (!getrlimit(RLIMIT_AS, &limit) && limit.rlim_cur != RLIM_INFINITY) {
    while (map > SMALLEST_MAP && map > limit.rlim_cur / 2) {
      map /= 2;
    }
  }
  for (; map > SMALLEST_MAP; map /= 2) {
    /* Some more, as it must still fit when LMDB maps it: until then memory is allocated, by
     * this thread and others. */
    const size_t tried = map + map / 16;
    void* const room =
        mmap(NULL, tried, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room != MAP_FAILED) {
      munmap(room, tried);
    }
    if (room != MAP_FAILED || errno != ENOMEM) {
      break;
    }
  }
  return map;
}

/** Map the file, as large as the address space (or its limit) allows. */
static int try_environment(HrStore* store, size_t map, unsigned flags)
{
  int code = mdb_env_create(&store->env);
  if (!code) {
    mdb_env_set_maxdbs(store->env, 8);
    mdb_env_set_maxreaders(store->env, READERS_MAX);
    mdb_env_set_mapsize(store->env, map);
    code = mdb_env_open(store->env, store->path, flags, 0600);
  }
  if (code) {
    mdb_env_close(store->env);
    store->env = NULL;
  }
  return code;
}

/** See to it that the file has our pages before LMDB finds it empty, or one that was killed here
 * has left them half. Of two programs that do so at once, one does. */
static HrStatus begin_file(const HrStore* store, HrError* error)
{
  struct stat info;
  const int fd = open(store->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  int code = fd < 0 || fstat(fd, &info) ? errno : 0;
  if (!code && info.st_size < 2 * (off_t)HR_PAGE_SIZE) {
    const bool locked = !flock(fd, LOCK_EX) && !fstat(fd, &info);
    const bool begins = locked && hr_pages_to_begin(fd, (uint64_t)info.st_size);
    code = !locked || (begins && !hr_pages_begin(fd)) ? errno : 0;
  }
  if (fd >= 0) {
    close(fd);
  }
  return code ? hr_error(error, status_from_errno(code), "Cannot open the store %s: %s.",
                         store->path, strerror(code))
              : HR_OK;
}

static HrStatus open_environment(HrStore* store, HrError* error)
{
  const unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD |
                         (store->read_only ? MDB_RDONLY : 0u) |
                         (store->unsynced ? MDB_NOSYNC : 0u) | (store->unnamed ? MDB_NOLOCK : 0u);
  const size_t map = hr_largest_map();
  int code = try_environment(store, map, flags);
  if ((code == EROFS || code == EACCES) && store->read_only) {
    /* Not even a lock file can be made there: then nobody can write either. */
    code = try_environment(store, map, flags | MDB_NOLOCK);
  }
  if (code == EAGAIN) {
    return hr_error(error, HR_ERR_NO_MEMORY,
                    "Cannot map %s: this program locks its memory, and its limit is too low. Raise "
                    "the memlock limit to unlimited (usually by joining the audio group).",
                    store->path);
  }
  if (code == ENOMEM) {
    return hr_error(error, HR_ERR_NO_MEMORY,
                    "Cannot map %s: it is larger than the address space that is left to this "
                    "program. Raise that limit (ulimit -v unlimited).",
                    store->path);
  }
  if (code) {
    return hr_error(error, hr_status_from_lmdb(store, code), "Cannot open the store %s: %s.",
                    store->path, mdb_strerror(code));
  }
  MDB_envinfo info;
  mdb_env_info(store->env, &info);
  store->map_bytes = info.me_mapsize; // At least the file's size, whatever was asked for
  return HR_OK;
}

/** Remember which lock file is in use. */
static void note_lock_file(HrStore* store)
{
  char name[LOCK_PATH_SIZE];
  struct stat info;
  store->lock_inode = 0;
  if (!store->unnamed && name_lock_file(store->path, name) && !stat(name, &info)) {
    store->lock_device = info.st_dev;
    store->lock_inode = info.st_ino;
  }
}

/** LMDB leaves its data descriptor open across exec. */
static void close_on_exec(HrStore* store)
{
  mdb_filehandle_t fd;
  if (!mdb_env_get_fd(store->env, &fd)) {
    fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
}

static void tell_fault(void* data, const HrPageFault* fault)
{
  HrPageFault* const first = data;
  if (!first->what) {
    *first = *fault;
  }
}

/** Two stores with one lock file would write over each other. */
static HrStatus lock_file_is_in_use(const char* path, HrError* error)
{
  return hr_error(error, HR_ERR_BUSY,
                  "%s took the place of a store that is still open. Close the programs that use "
                  "that, or give this one another name.",
                  path);
}

static HrPagesScope scope_of_check(const HrPages* pages)
{
  return hr_pages_count(pages, HR_PAGES_ALL) <= CHECKED_PAGES        ? HR_PAGES_ALL
         : hr_pages_count(pages, HR_PAGES_KEYS) <= CHECKED_KEY_PAGES ? HR_PAGES_KEYS
                                                                     : HR_PAGES_SPINES;
}

/** Decide whether LMDB may walk the file: in a damaged page it would end the
 * program, or write over what is sound. A reader's slot keeps this state while
 * others write. */
static HrStatus check_pages(HrStore* store, HrError* error)
{
  MDB_txn* txn = NULL;
  HrPages pages;
  HrPageFault first = {0};
  mdb_filehandle_t fd;
  int code = mdb_env_get_fd(store->env, &fd);
  code = code ? code : mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
  if (code) {
    return hr_error(error, hr_status_from_lmdb(store, code), "Cannot read the store %s: %s.",
                    store->path, mdb_strerror(code));
  }
  if (!hr_snapshot_pages(txn, fd, &pages)) {
    mdb_txn_abort(txn);
    return lock_file_is_in_use(store->path, error);
  }
  pages.fault = tell_fault;
  pages.data = &first;
  const HrStatus status = hr_pages_check(&pages, scope_of_check(&pages), NULL);
  mdb_txn_abort(txn);
  if (status == HR_ERR_DAMAGED) {
    char quoted[sizeof error->text / 4]; // The path comes twice, and the sentence is as long
    hr_shell_quote(quoted, sizeof quoted, store->path);
    return hr_error(error, status,
                    "%s is damaged (page %llu: %s). It was left as it is: \"halfremembered salvage "
                    "%s NEW\" takes all that can be read into a new store.",
                    store->path, (unsigned long long)first.page, first.what, quoted);
  }
  return status;
}

void hr_store_note_committed(HrStore* store)
{
  MDB_envinfo info;
  if (!mdb_env_info(store->env, &info)) {
    store->committed = info.me_last_txnid;
  }
}

static HrStatus open_store(HrStore* store, HrError* error)
{
  HrStatus status =
      store->unnamed ? HR_OK : hr_prepare_lock_file(store->path, store->read_only, error);
  if (status) {
    return status;
  }
  HrMemlock memlock;
  HrSizeSignal held;
  hr_memlock_suspend(&memlock);
  hr_size_signal_hold(&held);
  status = store->read_only ? HR_OK : begin_file(store, error);
  status = status ? status : open_environment(store, error);
  if (!status) {
    close_on_exec(store);
    note_lock_file(store);
    int dead = 0;
    mdb_reader_check(store->env, &dead);
    status = check_pages(store, error);
    if (!status) {
      status = open_databases(store);
      if (status) {
        hr_error(error, status, "Cannot open the store %s: %s.", store->path, hr_strerror(status));
      }
    }
    if (status) {
      mdb_env_close(store->env);
      store->env = NULL;
    }
  }
  if (!status) {
    hr_store_note_committed(store);
    hr_memlock_release_map(&memlock, store->env, store->map_bytes);
  }
  hr_size_signal_drop(&held);
  hr_memlock_resume(&memlock);
  return status;
}

/** Write back what the page cache holds, and forget it: after a failed write it
 * may show what never reached the disk. */
static HrStatus drop_cache(const HrStore* store)
{
  struct stat info;
  const int fd = open(store->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) {
    return HR_ERR_IO;
  }
  const bool ours =
      !fstat(fd, &info) && info.st_dev == store->device && info.st_ino == store->inode;
  const bool synced = ours && !fsync(fd) && !posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  close(fd);
  return synced ? HR_OK : HR_ERR_IO;
}

HrStatus hr_store_reopen(HrStore* store)
{
  if (store->env) {
    mdb_env_close(store->env);
    store->env = NULL;
  }
  pthread_mutex_lock(&store->ended_lock);
  store->ended.branch = 0; // What is on the disk may be older
  pthread_mutex_unlock(&store->ended_lock);
  hr_ancestors_clear(&store->ancestors);
  if (drop_cache(store) || open_store(store, NULL)) {
    return HR_ERR_IO;
  }
  store->failed = false;
  return HR_OK;
}

/** An HrStore for the file, not open yet. NULL without memory. */
static HrStore* new_entry(const char* path, const struct stat* info, unsigned flags)
{
  char* const absolute = realpath(path, NULL);
  HrStore* const entry = absolute ? calloc(1, sizeof *entry + strlen(absolute) + 1) : NULL;
  if (entry) {
    strcpy(entry->path, absolute);
    entry->references = 1;
    entry->device = info->st_dev;
    entry->inode = info->st_ino;
    entry->read_only = flags & HR_STORE_READ_ONLY;
    entry->unsynced = flags & HR_STORE_UNSYNCED;
    pthread_mutex_init(&entry->gate, NULL);
    pthread_mutex_init(&entry->ended_lock, NULL);
    hr_ancestors_init(&entry->ancestors);
  }
  free(absolute);
  return entry;
}

static void free_entry(HrStore* entry)
{
  if (entry->env) {
    hr_room_give_back(entry);
    mdb_env_close(entry->env);
  }
  pthread_mutex_destroy(&entry->gate);
  pthread_mutex_destroy(&entry->ended_lock);
  hr_ancestors_free(&entry->ancestors);
  free(entry->ended.state);
  free(entry);
}

/** LMDB would take the lock file for nobody's, and release it under whoever has it. */
static bool shares_lock_file(const HrStore* entry)
{
  char name[LOCK_PATH_SIZE];
  struct stat info;
  bool shares = false;
  if (name_lock_file(entry->path, name) && !stat(name, &info)) {
    for (const HrStore* open = registry; open && !shares; open = open->next) {
      shares = open->lock_inode == info.st_ino && open->lock_device == info.st_dev;
    }
  }
  return shares;
}

static HrStatus open_new_entry(const char* path, const struct stat* info, unsigned flags,
                               HrStore** store, HrError* error)
{
  HrStore* const entry = new_entry(path, info, flags);
  if (!entry) {
    return hr_error(error, HR_ERR_NO_MEMORY, "Out of memory opening %s.", path);
  }
  const HrStatus status =
      shares_lock_file(entry) ? lock_file_is_in_use(entry->path, error) : open_store(entry, error);
  if (status) {
    free_entry(entry);
    return status;
  }
  entry->next = registry;
  registry = entry;
  *store = entry;
  return HR_OK;
}

/** Make an empty file into a store that is whole on the disk. */
static HrStatus fill_new_file(const char* name, int fd, HrError* error)
{
  struct stat info;
  HrStore* const entry = fstat(fd, &info) ? NULL : new_entry(name, &info, 0);
  if (!entry) {
    return hr_error(error, HR_ERR_NO_MEMORY, "Out of memory making %s.", name);
  }
  entry->unnamed = true;
  const HrStatus status = open_store(entry, error);
  free_entry(entry);
  return status;
}

static int open_folder_of(const char* path)
{
  char folder[4096];
  const char* const slash = strrchr(path, '/');
  snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
  return open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int hr_store_name_file(const char* from, const char* path)
{
  struct stat info;
  char lock[LOCK_PATH_SIZE];
  const int folder = open_folder_of(path);
  if (folder < 0) {
    return errno;
  }
  /* One at a time: the lock file of the one that came first is in use. */
  flock(folder, LOCK_EX);
  int code = EEXIST;
  if (lstat(path, &info) && name_lock_file(path, lock)) {
    if (!lstat(lock, &info) && S_ISREG(info.st_mode)) {
      unlink(lock); // Anything else is not ours, and refused when the store is opened
    }
    code = rename_to_free(from, path);
  }
  if ((!code || code == EEXIST) && fsync(folder) && errno != EINVAL) {
    code = errno; // Some file systems need and know no sync
  }
  close(folder);
  return code;
}

static HrStatus cannot_make(const char* path, int code, HrError* error)
{
  return hr_error(error, status_from_errno(code),
                  "Cannot make the store %s: %s. Choose a path where you may write.", path,
                  strerror(code));
}

/** Make a store under another name, and give it its own when it is whole: a kill
 * or a power cut leaves no half of one. Of two programs that do so at once, one
 * names its store, and both use that. */
static HrStatus create_store(const char* path, unsigned flags, HrError* error)
{
  char name[4096];
  struct stat info;
  HrStatus status = hr_make_folders(path, error);
  if (status) {
    return status;
  }
  if (snprintf(name, sizeof name, "%s.new-XXXXXX", path) >= (int)sizeof name) {
    return hr_error(error, HR_ERR_ARGUMENT, "The store's path is too long.");
  }
  /* What cannot be opened but is there is a link that leads nowhere, or came just now. */
  const bool link_there = !lstat(path, &info) && S_ISLNK(info.st_mode);
  const int fd = link_there ? -1 : mkostemp(name, O_CLOEXEC);
  if (fd < 0) {
    return cannot_make(path, link_there ? ELOOP : errno, error);
  }
  fchmod(fd, 0600); // Whatever the umask
  status = fill_new_file(name, fd, error);
  int code = status || flags & HR_STORE_UNSYNCED || !fsync(fd) ? 0 : errno;
  code = status || code ? code : hr_store_name_file(name, path);
  if (code && code != EEXIST) {
    status = cannot_make(path, code, error);
  }
  unlink(name);
  close(fd);
  return status;
}

/** Open the file for a look, making it if asked: never a device or a pipe. One
 * that is there may be reached by a link, as people keep a store on another disk
 * so; none is made through a link. */
static HrStatus open_file(const char* path, unsigned flags, int* fd, struct stat* info,
                          HrError* error)
{
  const int mode = (flags & HR_STORE_READ_ONLY ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK;
  *fd = open(path, mode);
  if (*fd < 0 && errno == ENOENT && flags & HR_STORE_CREATE) {
    const HrStatus status = create_store(path, flags, error);
    if (status) {
      return status;
    }
    *fd = open(path, mode);
  }
  if (*fd < 0 && errno == EISDIR) {
    return hr_error(error, HR_ERR_NOT_A_STORE,
                    "%s is a folder. Choose a file in it, like %s/my.hr.", path, path);
  }
  if (*fd < 0) {
    const int code = errno;
    return hr_error(error, status_from_errno(code), "Cannot open %s: %s. %s", path, strerror(code),
                    code == ENOENT ? "Nothing has been recorded there yet."
                                   : "Choose a path where you may read and write.");
  }
  if (fstat(*fd, info) || !S_ISREG(info->st_mode)) {
    close(*fd);
    return hr_error(error, HR_ERR_NOT_A_STORE,
                    "%s is not a plain file. Choose another path for the store.", path);
  }
  return HR_OK;
}

/** Somebody opens an unsynced store to keep something. A commit that is under way sees to
 * itself (hr_txn_commit()). */
static HrStatus become_synced(HrStore* store, HrError* error)
{
  pthread_mutex_lock(&store->gate);
  int code = store->env ? mdb_env_set_flags(store->env, MDB_NOSYNC, 0) : EIO;
  store->unsynced = false;
  code = code ? code : mdb_env_sync(store->env, 1);
  if (code) {
    store->unsynced = true;
  }
  pthread_mutex_unlock(&store->gate);
  return code ? hr_error(error, hr_status_from_lmdb(store, code),
                         "Cannot write what is in %s to the disk: %s.", store->path,
                         mdb_strerror(code))
              : HR_OK;
}

HrStatus hr_store_open(const char* path, unsigned flags, HrStore** store, HrError* error)
{
  int fd = -1;
  struct stat info;
  HrStoreHeader header;
  const bool read_only = flags & HR_STORE_READ_ONLY;
  *store = NULL;

  pthread_mutex_lock(&registry_lock);
  HrStatus status = open_file(path, flags, &fd, &info, error);
  if (!status) {
    for (HrStore* open = registry; open && !*store; open = open->next) {
      if (open->device == info.st_dev && open->inode == info.st_ino) {
        *store = open;
      }
    }
    if (*store && (*store)->read_only && !read_only) {
      *store = NULL;
      status = hr_error(error, HR_ERR_BUSY, "%s is open for reading only in this program.", path);
    } else if (*store) {
      const bool keeps = !(flags & (HR_STORE_UNSYNCED | HR_STORE_READ_ONLY));
      status = keeps && (*store)->unsynced ? become_synced(*store, error) : HR_OK;
      (*store)->references += !status;
      *store = status ? NULL : *store;
    } else {
      status = hr_preflight(fd, path, &header, error);
      if (status == HR_END) {
        status = flags & HR_STORE_CREATE && !read_only
                     ? HR_OK
                     : hr_error(error, HR_ERR_NOT_FOUND, "%s is empty: nothing was recorded there.",
                                path);
      }
      if (!status && read_only && header.format < HR_FORMAT_READABLE) {
        status = hr_error(error, HR_ERR_READ_ONLY,
                          "%s is of an older format (%u, now %u), and opened for reading only. It "
                          "is brought up to date once it is opened for writing: load it in the "
                          "plugin, or import something into it.",
                          path, header.format, HR_FORMAT_VERSION);
      }
      if (!status) {
        status = open_new_entry(path, &info, flags, store, error);
      }
    }
    close(fd);
  }
  pthread_mutex_unlock(&registry_lock);
  return status;
}

void hr_store_close(HrStore* store)
{
  if (!store) {
    return;
  }
  pthread_mutex_lock(&registry_lock);
  if (--store->references == 0) {
    for (HrStore** link = &registry; *link; link = &(*link)->next) {
      if (*link == store) {
        *link = store->next;
        break;
      }
    }
    if (store->env && store->unsynced) {
      mdb_env_sync(store->env, 1);
    }
    free_entry(store);
  }
  pthread_mutex_unlock(&registry_lock);
}

const char* hr_store_path(const HrStore* store)
{
  return store->path;
}

const uint8_t* hr_store_uuid(const HrStore* store)
{
  return store->header.uuid;
}

bool hr_store_is_lost(const HrStore* store)
{
  char lock[LOCK_PATH_SIZE];
  struct stat info;
  if (stat(store->path, &info) || info.st_dev != store->device || info.st_ino != store->inode) {
    return true;
  }
  /* Put back after another had its name: whoever opened it since has a lock file of its own. */
  return store->lock_inode && name_lock_file(store->path, lock) && !stat(lock, &info) &&
         (info.st_dev != store->lock_device || info.st_ino != store->lock_inode);
}

bool hr_store_read_only(const HrStore* store)
{
  return store->read_only;
}

HrStatus hr_store_stats(HrStore* store, HrStoreStats* stats)
{
  HrTxn* txn = NULL;
  HrStatus status = hr_txn_begin(store, HR_READ, &txn);
  if (status) {
    return status;
  }
  MDB_envinfo info;
  MDB_stat trees, branches, nodes;
  int code = mdb_env_info(store->env, &info);
  code = code ? code : mdb_stat(txn->txn, store->trees, &trees);
  code = code ? code : mdb_stat(txn->txn, store->branches, &branches);
  code = code ? code : mdb_stat(txn->txn, store->nodes, &nodes);
  if (!code) {
    *stats = (HrStoreStats){.file_bytes = (info.me_last_pgno + 1) * (uint64_t)nodes.ms_psize,
                            .map_bytes = store->map_bytes,
                            .tree_count = trees.ms_entries,
                            .branch_count = branches.ms_entries,
                            .node_count = nodes.ms_entries,
                            .page_size = nodes.ms_psize};
  }
  hr_txn_abort(txn);
  return hr_status_from_lmdb(store, code);
}
