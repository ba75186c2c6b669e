/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

#include "bench/bench.h"

#include "tests/scratch.h"

#include <libgen.h>
#include <limits.h>
#include <linux/magic.h>
#include <lmdb.h>
#include <math.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

static char disk[PATH_MAX];
static double ns_per_clock;

void bench_require(bool condition, const char* message)
{
  if (!condition) {
    fprintf(stderr, "%s\n", message);
    exit(EXIT_FAILURE);
  }
}

/* ---- Folders ----------------------------------------------------------- */

void bench_remove(const char* path)
{
  nftw(path, scratch_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void remove_folders(void)
{
  scratch_remove();
  bench_remove(disk);
}

static void make_folders(void)
{
  char program[PATH_MAX] = "";
  const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  bench_require(length > 0, "The program does not know where it lies: is /proc mounted?");
  const char* const parent = getenv("TMPDIR");
  snprintf(disk, sizeof disk, "%s/hr-bench-XXXXXX", parent ? parent : dirname(program));
  unsetenv("TMPDIR"); // So that the other folder is in memory
  bench_require(mkdtemp(disk) && !scratch_make(), "No folder to work in: set TMPDIR to one.");
  atexit(remove_folders);
}

const char* bench_path(const char* name)
{
  static char paths[8][PATH_MAX + 256];
  static unsigned turn;
  char* const path = paths[turn++ % 8];
  snprintf(path, sizeof paths[0], "%s/%s", disk, name);
  return path;
}

/* ---- The machine ---------------------------------------------------------- */

/** The rest of the first line of `path` that begins with `key`, from its `from`-th
 * character on. The last two results stay valid. */
static const char* file_line(const char* path, const char* key, size_t from)
{
  static char lines[2][256];
  static unsigned turn;
  char* const line = lines[turn++ % 2];
  FILE* const file = fopen(path, "r");
  bool found = false;
  while (file && !found && fgets(line, sizeof lines[0], file)) {
    found = !strncmp(line, key, strlen(key)) && strlen(line) > from;
  }
  if (file) {
    fclose(file);
  }
  line[strcspn(line, "\n")] = '\0';
  return found ? line + from : "unknown";
}

const char* bench_package_version(const char* package)
{
  static char version[128];
  char command[256];
  snprintf(command, sizeof command, "dpkg-query -W -f '${Version}' %s 2>/dev/null", package);
  FILE* const output = popen(command, "r");
  const bool found = output && fgets(version, sizeof version, output);
  if (output) {
    pclose(output);
  }
  return found ? version : "unknown version";
}

#ifdef __clang__
#define COMPILER __VERSION__
#else
#define COMPILER "gcc " __VERSION__
#endif

/** A file of results, to be written on; NULL if none are wanted. */
static FILE* data_file(const char* table)
{
  const char* const folder = getenv("HR_BENCH_DATA");
  char path[PATH_MAX];
  if (!folder) {
    return NULL;
  }
  snprintf(path, sizeof path, "%s/%s.tsv", folder, table);
  FILE* const file = fopen(path, "a");
  bench_require(file, "HR_BENCH_DATA must be a folder that can be written to.");
  return file;
}

static void print_machine(void)
{
  struct utsname system;
  struct statfs folder;
  uname(&system);
  const char* const processor =
      file_line("/proc/cpuinfo", "model name", sizeof "model name\t: " - 1);
  const long processors = sysconf(_SC_NPROCESSORS_ONLN);
  const bool in_memory = !statfs(disk, &folder) && folder.f_type == TMPFS_MAGIC;
  printf("machine   %s, %ld processors, %s %s, load %s\n", processor, processors, system.sysname,
         system.release, file_line("/proc/loadavg", "", 0));
  FILE* const file = data_file("machine");
  if (file) {
    fprintf(file, "%s, %ld processors\t%s %s\t%s\t%s\n", processor, processors, system.sysname,
            system.release, COMPILER, mdb_version(NULL, NULL, NULL));
    fclose(file);
  }
  printf("compiler  " COMPILER "\n");
  printf("versions  HalfRemembered " HR_VERSION ", %s\n", mdb_version(NULL, NULL, NULL));
  printf("store     in %s%s\n", disk,
         in_memory ? ", which is memory, no disk: set TMPDIR to a folder on one" : "");
}

void bench_begin(const char* title)
{
  setvbuf(stdout, NULL, _IOLBF, 0);
  make_folders();
  printf("%s\n\n", title);
  print_machine();
  printf("clock     %.1f ns to read it twice, left out of all times\n\n",
         bench_clock_overhead_ns());
}

static bool is_named(const char* name, int argc, char** argv)
{
  for (int i = 1; i < argc; ++i) {
    if (!strcmp(argv[i], name)) {
      return true;
    }
  }
  return false;
}

void bench_run_parts(const BenchPart* parts, size_t count, int argc, char** argv)
{
  for (size_t i = 0; i < count; ++i) {
    if (argc == 1 || is_named(parts[i].name, argc, argv)) {
      parts[i].run();
    }
  }
}

/* ---- Time ------------------------------------------------------------- */

static uint64_t system_clock_ns(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t bench_clock(void)
{
#if defined(__x86_64__)
  _mm_lfence();
  const uint64_t now = __rdtsc();
  _mm_lfence();
  return now;
#else
  return system_clock_ns();
#endif
}

double bench_ns(double clocks)
{
  if (ns_per_clock == 0.0) {
    const struct timespec while_counting = {.tv_nsec = 100000000};
    const uint64_t ns = system_clock_ns();
    const uint64_t begun = bench_clock();
    nanosleep(&while_counting, NULL);
    ns_per_clock = (double)(system_clock_ns() - ns) / (double)(bench_clock() - begun);
  }
  return clocks * ns_per_clock;
}

double bench_clock_overhead_ns(void)
{
  enum { READINGS = 10001, MEDIAN = READINGS / 2 };
  static double overhead_ns;
  if (overhead_ns == 0.0) {
    BenchTimes times = {0};
    bench_times_begin(&times, READINGS);
    for (unsigned i = 0; i < READINGS; ++i) {
      const uint64_t begun = bench_clock();
      bench_times_add(&times, bench_clock() - begun);
    }
    bench_times_sort(&times);
    overhead_ns = bench_ns((double)times.clocks[MEDIAN]);
    bench_times_free(&times);
  }
  return overhead_ns;
}

void bench_times_begin(BenchTimes* times, size_t room)
{
  bench_times_free(times);
  times->clocks = malloc(room * sizeof *times->clocks);
  bench_require(times->clocks, "Out of memory.");
  memset(times->clocks, 0xff, room * sizeof *times->clocks);
  times->room = room;
}

void bench_times_add(BenchTimes* times, uint64_t clocks)
{
  if (times->count < times->room) {
    times->clocks[times->count++] = clocks < UINT32_MAX ? (uint32_t)clocks : UINT32_MAX;
  }
}

static int compare(const void* a, const void* b)
{
  const uint32_t one = *(const uint32_t*)a;
  const uint32_t other = *(const uint32_t*)b;
  return (one > other) - (one < other);
}

void bench_times_sort(BenchTimes* times)
{
  qsort(times->clocks, times->count, sizeof *times->clocks, compare);
}

double bench_times_ns(const BenchTimes* times, double share)
{
  bench_require(times->count, "Nothing was measured.");
  const size_t rank = (size_t)ceil(share * (double)times->count);
  return fmax(0.0,
              bench_ns((double)times->clocks[rank ? rank - 1 : 0]) - bench_clock_overhead_ns());
}

void bench_times_free(BenchTimes* times)
{
  free(times->clocks);
  *times = (BenchTimes){0};
}

/* ---- Results ------------------------------------------------------------ */

static int compare_values(const void* a, const void* b)
{
  const double one = *(const double*)a;
  const double other = *(const double*)b;
  return (one > other) - (one < other);
}

BenchSpread bench_spread(const double* values, size_t count)
{
  double sorted[16];
  bench_require(count && count <= sizeof sorted / sizeof *sorted, "A spread is of 1 to 16 values.");
  memcpy(sorted, values, count * sizeof *values);
  qsort(sorted, count, sizeof *sorted, compare_values);
  return (BenchSpread){sorted[count / 2], sorted[0], sorted[count - 1]};
}

BenchSpread bench_times_spread(const BenchTimes* times)
{
  return (BenchSpread){bench_times_ns(times, 0.5), bench_times_ns(times, 0.01),
                       bench_times_ns(times, 0.99)};
}

void bench_data(const char* table, const char* row, const char* measure, const char* unit,
                BenchSpread value)
{
  FILE* const file = data_file(table);
  if (file) {
    fprintf(file, "%s\t%s\t%s\t%.6g\t%.6g\t%.6g\n", row, measure, unit, value.median, value.least,
            value.most);
    fclose(file);
  }
}
