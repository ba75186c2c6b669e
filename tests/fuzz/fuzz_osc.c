/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* Serves any bytes as an OSC packet, with an instance on a real store behind it:
 * nothing may crash, grow without bound or, if the packet is malformed, change. The
 * dictionary is made from the table of addresses. */

#include "osc/dispatch.h"
#include "osc/feedback.h"
#include "osc/packet.h"
#include "osc/table.h"
#include "plugin/session_internal.h"
#include "store/internal.h"
#include "tests/rig.h"
#include "tests/scratch.h"

#include <arpa/inet.h>

enum {
  PACKETS_PER_STORE = 4096, // Then a new one, so that none grows large
  PACKETS_PER_FEEDBACK = 16,
  STEP_NS = 1000000, // From one packet to the next
};

int LLVMFuzzerInitialize(int* count, char*** arguments);
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

static HrOscEndpoint endpoint;
static HrOscInstance instance;
static Rig rig;
static unsigned packets;
static int64_t now_ns = 1;

/* ---- The dictionary ------------------------------------------------- */

/** Write a table's address as one that can be sent: for the first instance. */
static void write_address(FILE* file, const char* address)
{
  const char* const open = strchr(address, '<');
  const char* const close = open ? strchr(open, '>') : NULL;
  if (close) {
    fprintf(file, "\"%.*s1%s\\x00\"\n", (int)(open - address), address, close + 1);
  } else {
    fprintf(file, "\"%s\\x00\"\n", address);
  }
}

static void write_dictionary(const char* path)
{
  static const char* const others[] = {"#bundle\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01",
                                       "/hr/*/",
                                       "/hr/{1,2}/",
                                       "[!a-z]",
                                       ",s\\x00\\x00",
                                       ",i\\x00\\x00",
                                       ",f\\x00\\x00",
                                       ",ss\\x00",
                                       ",sf\\x00",
                                       ",h\\x00\\x00",
                                       ",b\\x00\\x00",
                                       ",m\\x00\\x00",
                                       ",T\\x00\\x00",
                                       ",sfs\\x00\\x00\\x00\\x00",
                                       "id=",
                                       "main",
                                       "\\x3f\\x80\\x00\\x00",
                                       "5.3\\x00",
                                       "123t"};
  FILE* const file = fopen(path, "w");
  if (!file) {
    abort();
  }
  for (size_t i = 0; i < hr_osc_row_count(); ++i) {
    HrOscRow row;
    hr_osc_row(i, &row);
    write_address(file, row.address);
  }
  for (size_t i = 0; i < sizeof others / sizeof others[0]; ++i) {
    fprintf(file, "\"%s\"\n", others[i]);
  }
  fclose(file);
}

/** Add an option to those of the fuzzer, which reads them after this. */
static void add_option(int* count, char*** arguments, char* option)
{
  char** const more = calloc((size_t)*count + 2, sizeof *more);
  if (!more) {
    abort();
  }
  memcpy(more, *arguments, (size_t)*count * sizeof *more);
  more[(*count)++] = option;
  *arguments = more;
}

/* ---- What is fuzzed ------------------------------------------------- */

static void end_store(void)
{
  hr_osc_inbox_clear(&endpoint.inbox);
  hr_osc_schedule_clear(&endpoint.schedule);
  hr_osc_outbox_clear(&endpoint.outbox);
  free(instance.branches);
  rig_close(&rig);
  remove(scratch_path("fuzz.hr"));
  remove(scratch_path("fuzz.hr-lock"));
}

static void begin_store(void)
{
  if (!rig_open(&rig, &(HrAttachment){.store = scratch_path("fuzz.hr")})) {
    abort();
  }
  rig_play(&rig, 0, 0x90, 60, 100);
  rig_play(&rig, 100, 0x80, 60, 0);
  rig_run(&rig, RIG_RATE);
  endpoint = (HrOscEndpoint){.socket = -1, .url = "", .instances = &instance};
  hr_osc_outbox_init(&endpoint.outbox, -1);
  instance = (HrOscInstance){.session = rig.session, .number = 1, .wake = -1};
}

static void end(void)
{
  end_store();
  scratch_remove();
}

int LLVMFuzzerInitialize(int* count, char*** arguments)
{
  static char option[sizeof scratch + 32];
  if (scratch_make()) {
    abort();
  }
  write_dictionary(scratch_path("dictionary"));
  snprintf(option, sizeof option, "-dict=%s", scratch_path("dictionary"));
  add_option(count, arguments, option);
  begin_store();
  atexit(end);
  return 0;
}

/** A block of just these bytes and `padding` zeros, so that each read beyond is seen. */
static uint8_t* copy(const uint8_t* data, size_t size, size_t padding)
{
  uint8_t* const bytes = calloc(1, size + padding ? size + padding : 1);
  if (!bytes) {
    abort();
  }
  memcpy(bytes, data, size);
  return bytes;
}

static bool is_malformed(const uint8_t* data, size_t size)
{
  uint8_t* const bytes = copy(data, size, 0);
  const bool malformed = hr_osc_packet_check(bytes, size, NULL) != HR_OK;
  free(bytes);
  return malformed;
}

/** Transactions that the store has taken. */
static size_t count_commits(void)
{
  MDB_envinfo info = {0};
  mdb_env_info(rig.session->binding.store->env, &info);
  return info.me_last_txnid;
}

/** Tell whoever has subscribed, and forget them: with no socket nothing reaches
 * them, and they would be owed the whole state for ever. */
static void tell(void)
{
  instance.dirty = true;
  hr_osc_feedback_run(&endpoint, now_ns);
  hr_osc_outbox_run(&endpoint.outbox, now_ns);
  endpoint.subscribers = (HrOscSubscribers){0};
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
  const struct sockaddr_in from = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)(40000 + packets % 3)),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  HrSessionState before;
  HrSessionState after;
  if (++packets % PACKETS_PER_STORE == 0) {
    end_store();
    begin_store();
  }
  now_ns += STEP_NS;
  const bool malformed = is_malformed(data, size);
  uint8_t* const bytes = copy(data, size, HR_OSC_PADDING);
  hr_session_state(rig.session, &before);
  const size_t commits = count_commits();
  hr_osc_dispatch(&endpoint, &from, bytes, size, now_ns);
  while (hr_osc_dispatch_run(&endpoint, now_ns, 0)) { // A turn for each command
  }
  hr_session_state(rig.session, &after);
  free(bytes);
  if (malformed && (before.revision != after.revision || commits != count_commits())) {
    abort();
  }
  hr_osc_dispatch_due(&endpoint, now_ns);
  while (hr_osc_dispatch_run(&endpoint, now_ns, 0)) { // A turn for each command
  }
  rig_run_block(&rig, rig.block);
  rig.output_count = 0;
  if (packets % PACKETS_PER_FEEDBACK == 0) {
    tell();
  }
  return 0;
}
