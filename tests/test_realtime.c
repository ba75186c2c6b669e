/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Proves what HR_REALTIME promises: the plugin's run() is called on a thread
 * that dies of any system call, with memory allocation and locking watched and
 * page faults counted, while it records, replays, forks and switches. */

#include "plugin/command.h"
#include "plugin/plugin.h"
#include "tests/scratch.h"
#include "tests/uri_map.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

const LV2_Descriptor* lv2_descriptor(uint32_t index);

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

static _Thread_local volatile bool realtime;
static atomic_uint allocations;
static atomic_uint locks;

#ifndef SANITIZED
/* Stand in front of the C library's own. */
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* old, size_t size);
void __libc_free(void* block);

void* malloc(size_t size)
{
  allocations += realtime;
  return __libc_malloc(size);
}

void* calloc(size_t count, size_t size)
{
  allocations += realtime;
  return __libc_calloc(count, size);
}

void* realloc(void* old, size_t size)
{
  allocations += realtime;
  return __libc_realloc(old, size);
}

void free(void* block)
{
  allocations += realtime;
  __libc_free(block);
}

int pthread_mutex_lock(pthread_mutex_t* mutex)
{
  static int (*real)(pthread_mutex_t*);
  if (!real) {
    *(void**)&real = dlsym(RTLD_NEXT, "pthread_mutex_lock");
  }
  locks += realtime;
  return real(mutex);
}

int pthread_mutex_trylock(pthread_mutex_t* mutex)
{
  static int (*real)(pthread_mutex_t*);
  if (!real) {
    *(void**)&real = dlsym(RTLD_NEXT, "pthread_mutex_trylock");
  }
  locks += realtime;
  return real(mutex);
}
#endif

/* ---- A host whose audio thread may do nothing --------------------------------- */

enum { BLOCK = 256, BUFFER = 65536, INPUTS = 64, BLOCKS = 12000 };

typedef union {
  LV2_Atom_Sequence sequence;
  uint8_t bytes[BUFFER];
} Buffer;

static atomic_uint wakes;    ///< Asked for by the audio thread
static atomic_uint answered; ///< Done by the main thread
static atomic_uint at_block; ///< Where the audio thread waits for the script
static atomic_uint allowed;  ///< Up to where it may go
static atomic_int audio_thread;
static atomic_bool finished;
static Buffer inputs[INPUTS];
static Buffer output;
static const LV2_Descriptor* descriptor;
static LV2_Handle handle;

static LV2_Worker_Status schedule(LV2_Worker_Schedule_Handle unused, uint32_t size,
                                  const void* data)
{
  (void)unused;
  (void)size;
  (void)data;
  atomic_fetch_add(&wakes, 1);
  return LV2_WORKER_SUCCESS;
}

/** From now on every system call of this thread ends the process with SIGSYS. */
static void forbid_system_calls(void)
{
  static struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)};
  static const struct sock_fprog program = {1, code};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

/** The host's stack is the host's matter: ours begins below it. */
static __attribute__((noinline)) void touch_stack(void)
{
  volatile uint8_t stack[65536];
  for (size_t i = 0; i < sizeof stack; ++i) {
    stack[i] = 1;
  }
}

extern void* volatile heap; // For all to see, so that no allocation is optimised away
void* volatile heap;

static void* audio(void* sabotage)
{
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  heap = malloc(100); // The thread gets its heap: the next is no system call
  touch_stack();
  const int id = (int)syscall(SYS_gettid);
  forbid_system_calls();
  realtime = true;
  atomic_store(&audio_thread, id);
  while (!atomic_load(&allowed)) {
  }
  for (unsigned block = 0; block < BLOCKS; ++block) {
    atomic_store(&at_block, block);
    while (atomic_load(&allowed) <= block || atomic_load(&answered) != atomic_load(&wakes)) {
    }
    output.sequence.atom.size = BUFFER - sizeof(LV2_Atom);
    descriptor->connect_port(handle, HR_PORT_IN, &inputs[block % INPUTS]);
    descriptor->run(handle, BLOCK);
    if (block == 100 && sabotage) {
      switch (*(const char*)sabotage) {
      case 'm':
        heap = malloc(100);
        break;
      case 'l':
        pthread_mutex_lock(&mutex); // Free, so that it needs no system call
        break;
      case 's':
        syscall(SYS_getpid);
        break;
      default: // a page fault
        *(volatile char*)(uintptr_t)((const uintptr_t*)sabotage)[1] = 1;
        break;
      }
    }
  }
  realtime = false;
  atomic_store(&finished, true);
  for (;;) { // Even the end of a thread is a system call
  }
  return NULL;
}

static void add_midi(LV2_Atom_Sequence* sequence, const HrUris* uris, uint32_t frame,
                     uint8_t status, uint8_t first, uint8_t second)
{
  const uint8_t bytes[3] = {status, first, second};
  if (!hr_atom_append(sequence, BUFFER - sizeof(LV2_Atom), frame, uris->midi_MidiEvent, bytes, 3)) {
    abort();
  }
}

/** Blocks with nothing, with one note, with a chord and controllers, and one long message. */
static void compose_inputs(const HrUris* uris)
{
  for (unsigned i = 0; i < INPUTS; ++i) {
    LV2_Atom_Sequence* const sequence = &inputs[i].sequence;
    memset(&inputs[i], 0, sizeof inputs[i]);
    sequence->atom.type = uris->atom_Sequence;
    sequence->atom.size = sizeof(LV2_Atom_Sequence_Body);
    const uint8_t key = (uint8_t)(36 + i);
    if (i % 4 == 1) {
      for (uint8_t k = 0; k < (i % 8 == 1 ? 1 : 12); ++k) {
        add_midi(sequence, uris, k * 10u, 0x90, (uint8_t)((key + k) & 0x7f), 100);
        add_midi(sequence, uris, k * 10u, 0xb0, 1, k);
      }
    } else if (i % 4 == 2) {
      for (uint8_t k = 0; k < 12; ++k) {
        add_midi(sequence, uris, 200, 0x80, (uint8_t)((key - 1 + k) & 0x7f), 64);
      }
    } else if (i == 3) {
      uint8_t sysex[4000] = {0xf0};
      sysex[sizeof sysex - 1] = 0xf7;
      hr_atom_append(sequence, BUFFER - sizeof(LV2_Atom), 7, uris->midi_MidiEvent, sysex,
                     sizeof sysex);
    }
  }
}

static long faults_of_audio_thread(void)
{
  char path[64];
  char text[1024] = "";
  long minor = 0;
  long major = 0;
  snprintf(path, sizeof path, "/proc/self/task/%d/stat", atomic_load(&audio_thread));
  FILE* const file = fopen(path, "r");
  if (!file || !fgets(text, sizeof text, file) ||
      sscanf(strrchr(text, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %ld %*u %ld", &minor, &major) !=
          2) {
    abort();
  }
  fclose(file);
  return minor + major;
}

/** What a musician does at each block of the script. */
static void act(HrPlugin* plugin, unsigned block)
{
  static const struct {
    unsigned block;
    const char* verb;
    const char* text;
    int64_t value;
  } script[] = {
      {500, "fork", "idea", 0},     {1500, "replay", NULL, 1},    {2500, "switch", "main", 0},
      {3000, "overdub", NULL, 1},   {3500, "switch", "idea", 0},  {4000, "stop", NULL, 1},
      {4500, "fork", "another", 0}, {5000, "loop/range", "1", 0}, {5500, "replay", NULL, 1},
      {7000, "loop", NULL, 0},      {7500, "record", NULL, 0},    {8000, "record", NULL, 1},
      {8500, "fork/at", "2.1", 0},  {9000, "replay", NULL, 1},    {9500, "next", NULL, 1},
      {10000, "previous", NULL, 1}, {10500, "panic", NULL, 1},    {11000, "stop", NULL, 1},
  };
  for (size_t i = 0; i < sizeof script / sizeof *script; ++i) {
    if (script[i].block == block) {
      HrError error = {HR_OK, ""};
      const HrValue value =
          script[i].text ? hr_value_text(script[i].text) : hr_value_integer(script[i].value);
      const HrValue args[2] = {value, hr_value_text("3")};
      const size_t count = strcmp(script[i].verb, "loop/range") ? 1 : 2;
      if (hr_command_run(plugin->session, script[i].verb, args, count, "test", NULL, &error)) {
        fprintf(stderr, "block %u: %s: %s\n", block, script[i].verb, error.text);
        _exit(20);
      }
    }
  }
}

/** Runs in a process of its own: prints figures, exits 0 if all was kept. */
static int run_watched(const char* sabotage_kind)
{
  LV2_URID_Map map = {NULL, map_uri};
  LV2_Worker_Schedule worker = {NULL, schedule};
  const LV2_Feature map_feature = {LV2_URID__map, &map};
  const LV2_Feature worker_feature = {LV2_WORKER__schedule, &worker};
  const LV2_Feature* const features[] = {&map_feature, &worker_feature, NULL};
  static float controls[HR_PORTS] = {
      [HR_PORT_RECORD] = 1, [HR_PORT_THRU] = 1, [HR_PORT_ENABLED] = 1};
  static uintptr_t sabotage[2];
  memcpy(sabotage, sabotage_kind, 1);
  sabotage[1] = (uintptr_t)aligned_alloc(4096, (size_t)1 << 22) + ((size_t)1 << 21);

  descriptor = lv2_descriptor(0);
  handle = descriptor->instantiate(descriptor, 48000.0, "", features);
  if (!handle) {
    return 10;
  }
  HrPlugin* const plugin = handle;
  compose_inputs(&plugin->uris);
  memset(&output, 1, sizeof output);
  descriptor->connect_port(handle, HR_PORT_OUT, &output);
  for (uint32_t port = HR_PORT_RECORD; port < HR_PORTS; ++port) {
    descriptor->connect_port(handle, port, &controls[port]);
  }
  descriptor->activate(handle);
  const LV2_Worker_Interface* const interface = descriptor->extension_data(LV2_WORKER__interface);

  pthread_t thread;
  pthread_create(&thread, NULL, audio, *sabotage_kind ? sabotage : NULL);
  while (!atomic_load(&audio_thread)) {
    usleep(1000);
  }
  const long before = faults_of_audio_thread();
  unsigned acted = 0;
  act(plugin, 0);
  atomic_store(&allowed, 1);
  while (!atomic_load(&finished)) {
    const unsigned wanted = atomic_load(&wakes);
    if (wanted != atomic_load(&answered)) {
      interface->work(handle, NULL, NULL, 0, NULL);
      atomic_store(&answered, wanted);
    }
    const unsigned block = atomic_load(&at_block);
    if (block > acted || atomic_load(&allowed) == block) {
      acted = block;
      act(plugin, block);
      atomic_store(&allowed, block / 500 * 500 + 500 > block + 1 && block % 500
                                 ? block / 500 * 500 + 500
                                 : block + 1);
    }
  }
  const long faults = faults_of_audio_thread() - before;
  HrSessionState state;
  hr_session_state(plugin->session, &state);
  printf("%d blocks: 0 system calls, %u allocations, %u locks, %ld page faults; %" PRIu64
         " events recorded, %" PRIu64 " replayed, %" PRIu64 " dropped\n",
         BLOCKS, atomic_load(&allocations), atomic_load(&locks), faults, state.recorded,
         state.replayed, state.dropped);
  fflush(stdout);
  if (!state.recorded || !state.replayed || state.dropped) {
    _exit(11);
  }
  _exit(atomic_load(&allocations) ? 12 : atomic_load(&locks) ? 13 : faults ? 14 : 0);
}

static int watch(const char* sabotage)
{
#ifdef SANITIZED
  skip(); // Sanitizers allocate and fault by themselves
#endif
  assert_int_equal(scratch_make(), 0);
  const pid_t child = fork();
  if (child == 0) {
    setenv("HR_STORE", scratch_path("store.hr"), 1);
    execl("/proc/self/exe", "test_realtime", "watched", sabotage, (char*)NULL);
    _exit(9);
  }
  int result = 0;
  assert_int_equal(waitpid(child, &result, 0), child);
  scratch_remove();
  return result;
}

static void test_run_does_nothing_forbidden(void** state)
{
  (void)state;
  const int result = watch("");
  if (WIFSIGNALED(result)) {
    print_error("killed by signal %d%s\n", WTERMSIG(result),
                WTERMSIG(result) == SIGSYS ? ": a system call in run()" : "");
  }
  assert_int_equal(result, 0);
}

/** The watch itself sees what it is for. */
static void test_the_watch_works(void** state)
{
  (void)state;
  assert_int_equal(WEXITSTATUS(watch("m")), 12);
  const int result = watch("s");
  assert_true(WIFSIGNALED(result));
  assert_int_equal(WTERMSIG(result), SIGSYS);
  assert_int_equal(WEXITSTATUS(watch("l")), 13);
  assert_int_equal(WEXITSTATUS(watch("p")), 14);
}

int main(int argc, char** argv)
{
  if (argc == 3 && !strcmp(argv[1], "watched")) {
    return run_watched(argv[2]);
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_run_does_nothing_forbidden),
      cmocka_unit_test(test_the_watch_works),
  };
  return cmocka_run_group_tests_name("realtime", tests, NULL, NULL);
}
