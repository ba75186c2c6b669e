/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* What the system charges for a mapped file: bench_map [pages|tables]...
 *
 *   pages    Reading one byte of a page of 4 KiB, at places that lie apart: mapped
 *            already; in memory, and mapped by that read (a minor fault); on the disk (a
 *            major fault), the disk idle, and while another process writes and syncs. By
 *            pread() as well, into a buffer.
 *   tables   Memory for page tables, after one page in each 2 MiB was read.
 *
 * HR_MAP_MB says how large the file is (2048 MB). */

#include "bench/bench.h"
#include "bench/scale_cold.h"
#include "store/format.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  PAGE = HR_PAGE_SIZE,
  AROUND = 32 * PAGE, ///< A fault maps what lies around it, 64 KiB: no two reads share that
  STEP = 7919,        ///< A prime, so that all places are met
  READS = 8000,
};

typedef struct {
  const char* path;
  uint64_t size;
  int fd;
  const uint8_t* map; ///< NULL: read by pread()
} File;

static volatile uint8_t seen;

static void map_file(File* file)
{
  void* const map = mmap(NULL, file->size, PROT_READ, MAP_SHARED, file->fd, 0);
  bench_require(map != MAP_FAILED, "The file cannot be mapped.");
  madvise(map, file->size, MADV_RANDOM); // As MDB_NORDAHEAD has it
  posix_fadvise(file->fd, 0, 0, POSIX_FADV_RANDOM);
  file->map = map;
}

static void unmap_file(File* file)
{
  munmap((void*)file->map, file->size);
  file->map = NULL;
}

static File make_file(void)
{
  static uint8_t bytes[1 << 20];
  const char* const wish = getenv("HR_MAP_MB");
  const uint64_t megabytes = wish ? strtoul(wish, NULL, 10) : 2048;
  File file = {.path = bench_path("mapped"), .size = megabytes << 20};
  file.fd = open(file.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  bench_require(file.fd >= 0 && megabytes >= 2, "A file cannot be made.");
  memset(bytes, 0x90, sizeof bytes);
  for (uint64_t i = 0; i < megabytes; ++i) {
    bench_require(write(file.fd, bytes, sizeof bytes) == sizeof bytes,
                  "The file cannot be written: is there room in TMPDIR?");
  }
  return file;
}

/* ---- Pages --------------------------------------------------------------------- */

static long minor_faults(void)
{
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

/** Read at places that lie apart, each once before any comes again. With `faults`, keep
 * only the times of those that were minor faults: one of them may map as much as 2 MiB. */
static void time_reads(const File* file, unsigned count, bool faults, BenchTimes* times)
{
  const uint64_t places = (file->size - PAGE) / AROUND + 1;
  bench_times_begin(times, count);
  for (unsigned i = 0; i < count; ++i) {
    const uint64_t at = i * (uint64_t)STEP % places * AROUND;
    uint8_t page[PAGE];
    const long faulted = faults ? minor_faults() : 0;
    const uint64_t begun = bench_clock();
    if (file->map) {
      seen = file->map[at];
    } else {
      bench_require(pread(file->fd, page, sizeof page, (off_t)at) == PAGE, "A page is not read.");
      seen = page[0];
    }
    const uint64_t ended = bench_clock();
    if (!faults || minor_faults() > faulted) {
      bench_times_add(times, ended - begun);
    }
  }
  bench_times_sort(times);
}

static void report(const char* name, BenchTimes* times)
{
  printf("%-36s %9zu %9.2f %9.2f %9.2f %9.2f\n", name, times->count,
         bench_times_ns(times, 0.5) / 1e3, bench_times_ns(times, 0.99) / 1e3,
         bench_times_ns(times, 0.999) / 1e3, bench_times_ns(times, 1.0) / 1e3);
  bench_data("map", name, "time", "ns", bench_times_spread(times));
  const double worst = bench_times_ns(times, 1.0);
  bench_data("map", name, "worst", "ns", (BenchSpread){worst, worst, worst});
  bench_times_free(times);
}

static pid_t start_writer(void)
{
  static const uint8_t bytes[1 << 20];
  const char* const path = bench_path("written");
  const pid_t writer = fork();
  bench_require(writer >= 0, "No process can be started.");
  if (!writer) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    for (unsigned i = 0; fd >= 0; ++i) {
      if (pwrite(fd, bytes, sizeof bytes, (off_t)(i % 256) << 20) < 0 ||
          (i % 16 == 0 && fdatasync(fd))) {
        break;
      }
    }
    _exit(1);
  }
  return writer;
}

static void end_writer(pid_t writer)
{
  kill(writer, SIGKILL);
  waitpid(writer, NULL, 0);
  unlink(bench_path("written"));
}

static void read_cold(File* file, bool mapped, const char* name)
{
  BenchTimes times = {0};
  cold_drop(file->path);
  if (mapped) {
    map_file(file);
  }
  time_reads(file, READS / 4, false, &times);
  report(name, &times);
  if (mapped) {
    unmap_file(file);
  }
}

static void measure_pages(void)
{
  File file = make_file();
  BenchTimes times = {0};
  printf("%-36s %9s %9s %9s %9s %9s   us\n", "One page", "count", "median", "99 %", "99.9 %",
         "worst");
  map_file(&file);
  time_reads(&file, READS, true, &times);
  report("minor fault", &times);
  time_reads(&file, READS, false, &times);
  report("mapped already", &times);
  unmap_file(&file);
  time_reads(&file, READS, false, &times);
  report("pread, in memory", &times);
  read_cold(&file, true, "major fault");
  read_cold(&file, false, "pread, from the disk");
  const pid_t writer = start_writer();
  read_cold(&file, true, "major fault, another writes");
  end_writer(writer);
  close(file.fd);
  unlink(file.path);
}

/* ---- Page tables ------------------------------------------------------------------- */

static double page_table_bytes(void)
{
  char line[256];
  unsigned long kilobytes = 0;
  FILE* const file = fopen("/proc/self/status", "r");
  bench_require(file, "The process does not know its memory: is /proc mounted?");
  while (fgets(line, sizeof line, file) && sscanf(line, "VmPTE: %lu kB", &kilobytes) != 1) {
  }
  fclose(file);
  return (double)kilobytes * 1024;
}

/** A file of 64 GiB with nothing in it is enough. */
static void measure_tables(void)
{
  const uint64_t each = 2 << 20;
  File file = {.path = bench_path("sparse"), .size = (uint64_t)64 << 30};
  file.fd = open(file.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  bench_require(file.fd >= 0 && !ftruncate(file.fd, (off_t)file.size), "A file cannot be made.");
  const double before = page_table_bytes();
  map_file(&file);
  const double mapped = page_table_bytes() - before;
  for (uint64_t at = 0; at < file.size; at += each) {
    seen = file.map[at];
  }
  const double touched = page_table_bytes() - before;
  madvise((void*)file.map, file.size, MADV_DONTNEED);
  const double given_up = page_table_bytes() - before;
  printf("\nPage tables of a mapped file of 64 GiB: %.0f KiB, %.0f KiB with a page in each 2 MiB "
         "read, %.0f KiB after these were given up\n",
         mapped / 1024, touched / 1024, given_up / 1024);
  bench_data("tables", "mapped", "page tables", "bytes", (BenchSpread){mapped, mapped, mapped});
  bench_data("tables", "a page in each 2 MiB read", "page tables", "bytes",
             (BenchSpread){touched, touched, touched});
  bench_data("tables", "these given up again", "page tables", "bytes",
             (BenchSpread){given_up, given_up, given_up});
  unmap_file(&file);
  close(file.fd);
  unlink(file.path);
}

int main(int argc, char** argv)
{
  static const BenchPart parts[] = {{"pages", measure_pages}, {"tables", measure_tables}};
  bench_begin("What the system charges for a mapped file");
  bench_run_parts(parts, sizeof parts / sizeof *parts, argc, argv);
  return 0;
}
