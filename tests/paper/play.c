/* Copyright 2026 The HalfRemembered authors
 * SPDX-License-Identifier: ISC */

/* play [killed]
 * Have the plugin record some music of all kinds into $HR_STORE, by playing over it
 * a second time on two branches. `killed`: leave it as a host that is killed does. */

#include "tests/host/lv2_host.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { RATE = 48000, NOTES = 1600, APART = 480 };

static void add(EventList* list, uint64_t frame, uint8_t status, uint8_t first, uint8_t second)
{
  const uint8_t bytes[] = {status, first, second};
  events_add(list, frame, bytes, (status & 0xe0) == 0xc0 ? 2 : 3);
}

/** More notes than four nodes hold, among the first of them a long message and a change of program.
 */
static EventList compose(uint8_t low)
{
  static const uint8_t sysex[] = {0xf0, 0x7d, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xf7};
  EventList list = {0};
  add(&list, 0, 0xc0, low, 0);
  add(&list, 0, 0xb0, 64, 127);
  for (unsigned i = 0; i < NOTES; ++i) {
    const uint8_t key = (uint8_t)(low + i * 7 % 24);
    add(&list, (uint64_t)i * APART, 0x90, key, (uint8_t)(1 + i % 127));
    if (i < 300 && i % 100 == 50) {
      events_add(&list, (uint64_t)i * APART, sysex, sizeof sysex);
    }
    add(&list, (uint64_t)i * APART + APART / 2, 0x80, key, 0);
  }
  add(&list, (uint64_t)NOTES * APART, 0xb0, 64, 0);
  return list;
}

static void perform(Host* host, double tempo, int64_t from, uint8_t low)
{
  static const int32_t blocks[] = {256, -1};
  EventList list = compose(low);
  const HostTransport stands = {false, from, tempo, 4.0f, 4, 0, 0};
  HostTransport rolls = stands;
  rolls.rolling = true;
  host_transport(host, &stands);
  host_run_for(host, RATE / 4, 256);
  host_transport(host, &rolls);
  host_play(host, &list, (uint64_t)(NOTES + 10) * APART, blocks);
  rolls.tempo = tempo * 0.75;
  rolls.frame = host_transport_now(host)->frame;
  rolls.beats_per_bar = 3.0f;
  host_transport(host, &rolls);
  host_play(host, &list, (uint64_t)(NOTES + 10) * APART, blocks);
  host_transport(host, &stands);
  host_run_for(host, RATE / 4, 256);
  events_free(&list);
}

int main(int argc, char** argv)
{
  Host* const host = host_new(NULL);
  perform(host, 120.0, 0, 36);
  if (argc > 1 && !strcmp(argv[1], "killed")) {
    sleep(2); // It commits once a second, or when the worker comes to it
    perform(host, 120.0, RATE, 60);
    _exit(0);
  }
  perform(host, 120.0, RATE, 60);
  host_free(host);
  return 0;
}
