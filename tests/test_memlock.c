/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* A host that has locked its memory loads the plugin: a store of 1 GB must not
 * be read in and pinned with it. HR_MEMLOCK_MB makes it larger: 10240 megabytes, say. */

#include "plugin/plugin.h"
#include "tests/scratch.h"
#include "tests/uri_map.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { CANNOT_LOCK = 77, BLOCK = 256, MEGABYTE = 1 << 20 };

static bool work_is_wanted;

static LV2_Worker_Status schedule(LV2_Worker_Schedule_Handle unused, uint32_t size,
                                  const void* data)
{
  (void)unused;
  (void)size;
  (void)data;
  work_is_wanted = true;
  return LV2_WORKER_SUCCESS;
}

static long resident_kilobytes(void)
{
  long pages = 0;
  FILE* const file = fopen("/proc/self/statm", "r");
  if (!file || fscanf(file, "%*d %ld", &pages) != 1) {
    abort();
  }
  fclose(file);
  return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/** Kilobytes of the store's map that smaps counts under `field`; -1 if there is no map. */
static long store_kilobytes(const char* field)
{
  FILE* const file = fopen("/proc/self/smaps", "r");
  const char* const path = getenv("HR_STORE");
  char line[4200];
  bool inside = false;
  long sum = -1;
  long value;
  while (file && fgets(line, sizeof line, file)) {
    if (sscanf(line, "%*x-%*x %*4s %*x %*x:%*x %ld", &value) == 1) {
      inside = strstr(line, path) != NULL && !strstr(line, "-lock");
      sum += inside && sum < 0;
    } else if (inside && !strncmp(line, field, strlen(field)) &&
               sscanf(line + strlen(field), ": %ld kB", &value) == 1) {
      sum += value;
    }
  }
  fclose(file);
  return sum;
}

static bool new_pages_are_locked(void)
{
  unsigned char resident = 0;
  void* const page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mincore(page, 4096, &resident);
  munmap(page, 4096);
  return resident & 1;
}

/** Load the built plugin, open the store, hear some of it. */
static int host_with_locked_memory(void)
{
  static LV2_URID_Map map = {NULL, map_uri};
  static LV2_Worker_Schedule worker = {NULL, schedule};
  static const LV2_Feature map_feature = {LV2_URID__map, &map};
  static const LV2_Feature worker_feature = {LV2_WORKER__schedule, &worker};
  static const LV2_Feature* const features[] = {&map_feature, &worker_feature, NULL};
  static union {
    LV2_Atom_Sequence sequence;
    uint8_t bytes[4 * MEGABYTE];
  } in, out;
  static float controls[HR_PORTS] = {[HR_PORT_THRU] = 1, [HR_PORT_ENABLED] = 1};
  if (mlockall(MCL_CURRENT | MCL_FUTURE) || !new_pages_are_locked()) {
    return CANNOT_LOCK;
  }

  const long before = resident_kilobytes();
  void* const library = dlopen(HR_TEST_BUNDLE "halfremembered.so", RTLD_NOW);
  LV2_Descriptor_Function get = NULL;
  if (library) {
    *(void**)&get = dlsym(library, "lv2_descriptor");
  }
  const LV2_Descriptor* const descriptor = get ? get(0) : NULL;
  LV2_Handle const handle =
      descriptor ? descriptor->instantiate(descriptor, 48000.0, "", features) : NULL;
  if (!handle) {
    return 10;
  }
  in.sequence.atom.type = map_uri(NULL, LV2_ATOM__Sequence);
  in.sequence.atom.size = sizeof(LV2_Atom_Sequence_Body);
  descriptor->connect_port(handle, HR_PORT_IN, &in);
  descriptor->connect_port(handle, HR_PORT_OUT, &out);
  for (uint32_t port = HR_PORT_RECORD; port < HR_PORTS; ++port) {
    descriptor->connect_port(handle, port, &controls[port]);
  }
  descriptor->activate(handle);
  const LV2_Worker_Interface* const interface = descriptor->extension_data(LV2_WORKER__interface);
  uint64_t heard = 0;
  long grown = 0;
  for (int block = 0; block < 2000; ++block) {
    if (block == 100) {
      /* Of the store the system has in memory what it likes, and drops it when it likes. */
      grown = resident_kilobytes() - store_kilobytes("Rss") - before;
      controls[HR_PORT_REPLAY] = 1;
    }
    out.sequence.atom.size = sizeof out - sizeof(LV2_Atom);
    descriptor->run(handle, BLOCK);
    heard += out.sequence.atom.size > 100000;
    if (work_is_wanted) {
      work_is_wanted = false;
      interface->work(handle, NULL, NULL, 0, NULL);
    }
  }
  const long pinned = store_kilobytes("Locked");
  const bool locked = new_pages_are_locked();
  descriptor->cleanup(handle);
  printf(
      "locked host: %ld kB more resident with the plugin, its store left out; %ld kB of the store "
      "pinned after %llu long messages were heard\n",
      grown, pinned, (unsigned long long)heard);
  if (heard < 10) {
    return 10;
  }
  return grown >= 8192 ? 11 : pinned ? 12 : locked ? 0 : 13;
}

static void test_a_large_store_is_not_pinned(void** state)
{
  (void)state;
  HrStore* store = NULL;
  HrTxn* txn = NULL;
  HrTreeId tree;
  const char* const wish = getenv("HR_MEMLOCK_MB");
  const unsigned long megabytes = wish ? strtoul(wish, NULL, 10) : 1024;
  assert_int_equal(scratch_make(), 0);
  setenv("HR_STORE", scratch_path("large.hr"), 1);
  setenv("HR_TREE", "large", 1);
  assert_int_equal(
      hr_store_open(scratch_path("large.hr"), HR_STORE_CREATE | HR_STORE_UNSYNCED, &store, NULL),
      HR_OK);
  assert_int_equal(hr_txn_begin(store, HR_WRITE, &txn), HR_OK);
  assert_int_equal(hr_tree_create(txn, "large", 0, &tree), HR_OK);
  uint8_t* const sysex = calloc(1, MEGABYTE);
  sysex[0] = 0xf0;
  const uint32_t size = MEGABYTE / 8;
  sysex[size - 1] = 0xf7;
  for (unsigned long i = 0; i < 8 * megabytes; ++i) {
    const HrEvent event = {(HrTick)i * HR_TICKS_PER_QUARTER / 4, HR_EVENT_MIDI, size, sysex};
    assert_int_equal(hr_append(txn, hr_branch_id(tree, 1), &event, NULL), HR_OK);
    if (i % 1024 == 1023) {
      assert_int_equal(hr_txn_commit(txn), HR_OK);
      assert_int_equal(hr_txn_begin(store, HR_WRITE, &txn), HR_OK);
    }
  }
  free(sysex);
  assert_int_equal(hr_txn_commit(txn), HR_OK);
  HrStoreStats stats;
  assert_int_equal(hr_store_stats(store, &stats), HR_OK);
  assert_true(stats.file_bytes > megabytes << 20);
  hr_store_close(store);

  const pid_t child = fork();
  if (child == 0) {
    execl("/proc/self/exe", "test_memlock", "host", (char*)NULL);
    _exit(9);
  }
  int result = 0;
  assert_int_equal(waitpid(child, &result, 0), child);
  scratch_remove();
  if (WIFEXITED(result) && WEXITSTATUS(result) == CANNOT_LOCK) {
    skip(); // Not allowed to lock memory, or a sanitizer ignores it
  }
  assert_int_equal(result, 0);
}

int main(int argc, char** argv)
{
  if (argc == 2 && !strcmp(argv[1], "host")) {
    return host_with_locked_memory();
  }
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_large_store_is_not_pinned)};
  return cmocka_run_group_tests_name("memlock", tests, NULL, NULL);
}
